# Judged where it is asked for: namespaces ["cost"], or ["*"].
package cost

import data.lib.kubernetes
import rego.v1

default budget := 20

budget := data.teams[kubernetes.namespace].replicas

# METADATA
# title: A team stays within its replicas
warn contains msg if {
	input.kind == "Deployment"
	input.spec.replicas > budget
	msg := sprintf("%s has %d replicas of at most %d", [kubernetes.name, input.spec.replicas, budget])
}

# METADATA
# title: A budget is a number
deny_budget contains "the team's replicas in data/teams.yaml are no number" if not is_number(budget)

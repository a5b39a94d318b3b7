# Judged where it is asked for: namespaces ["cost"], or ["*"].
package cost

import data.lib.terraform as tf
import rego.v1

default price(_) := 0

price(resource) := data.prices[resource.values.instance_type] if resource.type == "aws_instance"

price(resource) := data.prices[resource.values.instance_class] if resource.type == "aws_db_instance"

total := sum([price(resource) | some resource in tf.resources])

# METADATA
# title: A configuration stays within its budget
warn contains sprintf("the machines cost %v a month of %v", [total, data.agreed.budget]) if total > data.agreed.budget

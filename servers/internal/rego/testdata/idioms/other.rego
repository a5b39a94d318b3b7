# METADATA
# title: Another namespace
# description: which is judged where it is asked for
package main.sub["a-b"]

import rego.v1

# METADATA
# title: A title
# custom:
#   severity: high
deny_titled contains sprintf("%v", [rego.metadata.rule().title])

warn contains "warned"

package main

import rego.v1

test_deny if deny with input as {"all": true}

package lib.util

import rego.v1

double(x) := x * 2

deny contains "not in namespace main"

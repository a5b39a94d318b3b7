package main

const (
	maxBlamed = 3   // names of what was not known, in one reason
	maxShown  = 200 // bytes of a text of the input that a finding repeats

	maxPolicyDepth = 8 // policies that are put together from policies
	minSecret      = 8 // bytes of a text that may be a secret
)

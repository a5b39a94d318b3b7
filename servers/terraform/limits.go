package main

const (
	maxBlamed = 3   // names of what was not known, in one reason
	maxShown  = 200 // bytes of a text of the input that a finding repeats
)

package main

import "slices"

// rules is the table of all rules, by provider and theme.
func rules() []Rule {
	return slices.Concat(
		awsStorage(), awsNetwork(), awsCompute(), awsDatabases(), awsIdentity(), awsLogging(), awsContainers(),
		googleStorage(), googleCompute(), googleIdentity(),
		azureStorage(), azureCompute(), azureIdentity(),
		anyProvider(),
	)
}

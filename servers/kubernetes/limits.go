package main

// What one check may take. Bytes of an input are bounded where it comes from: the schema of the tool's text,
// the workspace's files, and finding.MaxStdin.
const (
	maxText      = 1 << 20 // bytes of the tool's text
	maxPath      = 1024    // characters of the tool's path
	maxDocuments = 1000    // documents of one input
	maxObjects   = 5000    // objects of one input, in lists or not
	maxListDepth = 8       // lists in lists
	maxNesting   = 200     // values in values

	maxAliasedNodes = 1 << 18 // values that the aliases of one input stand for
	maxAliasedBytes = 8 << 20 // bytes that the aliases of one input stand for

	maxStrict     = 20  // unknown and doubled fields reported of one object
	maxFindings   = 100 // findings in a tool's answer
	maxListed     = 500 // objects in a tool's answer
	maxSkipped    = 50  // skipped kinds in a tool's answer
	maxNameLength = 253 // bytes of a name (RFC 1123 subdomain) that or path that are repeated
)

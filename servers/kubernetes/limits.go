package main

// What one check may take. Bytes of an input are bounded where it comes from: the schema of the tool's text,
// the workspace's files, and finding.MaxInput.
const (
	maxText       = 1 << 20 // bytes of the tool's text
	maxDocuments  = 1000    // documents of one input
	maxObjects    = 5000    // objects of one input, in lists or not
	maxRunObjects = 20_000  // objects of all inputs of a call, or of a check command
	maxListDepth  = 8       // lists in lists
	maxNesting    = 200     // values in values

	// A value costs up to a kilobyte while a document is decoded, so these decide about the memory of a check.
	maxServedValues = 80_000  // values of one document that the server decodes
	maxCheckValues  = 2 << 20 // values of one document that the check subcommand decodes
	maxHeldValues   = 10_000  // values of a document whose two decoded forms may be in memory at once

	maxAliasedNodes = 1 << 16 // values that the aliases of one input stand for
	maxAliasedBytes = 4 << 20 // bytes that the aliases of one input stand for

	maxFaults         = 50         // faults that validate_manifests tells of one object
	maxDigits         = 100        // of a quantity that is parsed
	maxExponent       = 3          // digits of its exponent
	maxHintWork       = 20_000_000 // letters and fields that are compared to guess what is meant by unknown names, in one run
	maxTypos          = 3          // letters by which a misspelled name may differ
	charactersPerTypo = 3          // of the name, for each of these
	fewKeys           = 24         // keys of a mapping that are compared with each other rather than collected
	maxMergeDepth     = 8          // merges in merges that are looked into for duplicate keys

	maxStrict     = 20        // unknown fields reported of one object, and doubled ones of one mapping
	maxKept       = 50_000    // findings of one input that the check subcommand reports
	maxServedKept = 2000      // findings of one input that the server looks through for the gravest
	maxFindings   = 100       // findings in a tool's answer
	maxListed     = 500       // objects in a tool's answer
	maxSkipped    = 50        // skipped kinds in a tool's answer
	maxIgnored    = 50        // lines of an annotation that sets findings aside
	maxCompared   = 5_000_000 // labels that are compared to find what selectors select
	maxNameLength = 253       // bytes of a name (RFC 1123 subdomain) or path that are repeated
)

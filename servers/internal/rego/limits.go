package rego

import "time"

// What is read of a policy folder beside the bounds of [workspace.Root.Read], and what is told of it.
const (
	maxLoadErrors = 20      // errors that a failed [Load] lists
	maxStore      = 1 << 20 // values of all data files
)

// What one document may be, and what is kept of what the policies say about it.
const (
	maxDepth         = 1000     // values in values
	maxRuleResults   = 1000     // messages of one rule about one document
	maxMessage       = 2 << 10  // bytes of a message, a title or a file name
	maxMetadata      = 4 << 10  // bytes of a result's metadata, as JSON
	maxResult        = 64 << 10 // bytes, or values, of a result whose metadata are looked at
	maxBuiltinErrors = 10       // failed calls of built-in functions that are told of one document
	maxReason        = 512      // bytes of why a rule was not judged
	maxNamespaces    = 200      // namespaces that one evaluation may ask for
	maxPattern       = 256      // bytes of a namespace or pattern
	heapSlack        = 32 << 20 // bytes that may be taken between two looks at the heap
	maxStride        = 512      // steps between two looks at the heap
	valueBytes       = 16       // bytes of one more value in a copy
	madeBytes        = 100      // bytes of a value that a function may have made
)

// What one call of a built-in function may be given, where its work grows faster than its arguments.
const (
	maxShift    = 1 << 12   // bits that bits.lsh moves by
	maxPieces   = 200_000   // pieces that split makes
	maxRegex    = 64 << 20  // bytes of a text times instructions of the regular expression
	maxGlob     = 4 << 10   // bytes of the text that glob.match looks at, and of its pattern
	maxPairs    = 16 << 20  // pairs of elements that a function compares
	maxNetworks = 256 << 10 // pairs of networks that net.cidr_contains_matches parses and may return
	maxPatches  = 1000      // operations of json.patch, each of which copies a list
	maxPatched  = 8 << 20   // operations of json.patch times values that they may copy
	maxFactors  = 1000      // factors of product, whose digits add up
	maxAmount   = 64        // characters of an amount that units.parse and units.parse_bytes read
	maxExponent = 3         // digits of its exponent
	maxOptions  = 256       // bytes of json.marshal_with_options's options
	maxFormat   = 4 << 10   // bytes of sprintf's format
	maxMade     = 16 << 20  // bytes that concat makes, and that sprintf might make
	maxWidth    = 1000      // characters that sprintf may pad to
	maxEscaped  = 6         // bytes that sprintf's %q, %x and %U make of one
	maxTrim     = 64 << 20  // bytes of a text times bytes of the characters that are trimmed
	maxDigits   = 1000      // digits of a number in a text
	maxDecoded  = 80_000    // values that json.unmarshal makes of a text
	maxYAML     = 10_000    // values of a text or a document that a yaml function reads or writes, at kilobytes each
	maxMerged   = 1 << 20   // keys of all objects of object.union_n

	maxExpression       = 4 << 10 // bytes of a regular expression
	maxProgram          = 10_000  // instructions of a regular expression, of which OPA keeps a hundred
	maxPrograms         = 1000    // regular expressions whose size is remembered
	runesPerInstruction = 10      // of a character class, in the memory of one instruction
)

// Limits are the bounds of one [Evaluation].
type Limits struct {
	Time     time.Duration // from Start to the last judgement
	Steps    int64         // expressions evaluated
	Heap     uint64        // bytes of live heap in the process while policies run
	Values   int           // values of one document
	Findings int           // findings kept; the gravest stay
}

// Served are the limits of a tool's call, in a container of 256 MiB.
func Served() Limits {
	return Limits{Time: 20 * time.Second, Steps: 10_000_000, Heap: 128 << 20, Values: 80_000, Findings: 100}
}

// Gate are the limits of one input of the check subcommand, which runs where the operator runs it.
func Gate() Limits {
	return Limits{Time: 5 * time.Minute, Steps: 2_000_000_000, Heap: 2 << 30, Values: 2 << 20, Findings: 50_000}
}

package main

// What one check may take. Bytes of files are bounded where they come from: the schema of the tool's texts, the
// workspace, and finding.MaxInput.
const (
	maxTexts       = 200      // files in a tool's text
	maxText        = 1 << 20  // bytes of one of them, and of all together
	maxFolderFiles = 1000     // files of one module
	maxModules     = 2000     // folders that modules are in
	maxNesting     = 400      // brackets, operators and templates inside one another in a source file
	maxProblems    = 100      // problems of one check that are reported
	maxProblemText = 500      // bytes of one
	maxPathLength  = 1024     // bytes of a path that a configuration names
	maxAttributes  = 10_000   // attribute names of a configuration, for resources that are referred to as a whole
	maxExponent    = 1 << 14  // binary digits of a number in a configuration
	maxCallDepth   = 32       // modules in modules
	maxFileContent = 1 << 20  // bytes that file() and its like read at once
	maxFileTotal   = 16 << 20 // bytes that they read in one check
)

// What evaluation may take. It is counted and not timed, so that the same input has the same outcome everywhere.
const (
	maxInstances      = 50_000    // instances of resources and modules
	maxReferenceDepth = 500       // references that lead to references
	maxSteps          = 5_000_000 // expressions that are evaluated, and calls of functions
	maxIterations     = 500_000   // elements that for expressions and dynamic blocks make
	stepsBetweenLooks = 1000      // steps between two looks at the clock
	wholeSteps        = 10        // steps that an attribute of a resource counts for that is referred to as a whole
	dynamicSize       = 5         // elements that a block counts for which a dynamic block makes
	stepNodes         = 20        // values that are compared or passed to a function in one step
	maxTemplateBytes  = 64 << 20  // bytes that templates put together
	maxValueNodes     = 200_000   // values in one value, and in the arguments of one call
	maxValueBytes     = 16 << 20  // bytes of the strings in one value
	maxFunctionBytes  = 8 << 20   // bytes of the strings in the arguments of one call, and of what it returns
	maxSquareElements = 5000      // elements of what a function compares each with each
	maxFormatWidth    = 10_000    // width or precision in a format
	maxOrigins        = 64        // things that one value is remembered to come from
)

// What is read of a plan.
const (
	maxServedPlan     = 16 << 20  // bytes of a plan that the server reads
	maxCheckPlan      = 128 << 20 // bytes of a plan that the check subcommand reads
	maxPlanNesting    = 100       // lists and objects in one another
	maxPlanReferences = 1000      // references that are followed for one attribute
	numberPrecision   = 512       // bits of a number, as Terraform has them
	minHidden         = 4         // bytes of a sensitive text that is looked for in what is said about a plan
)

// What answers show.
const (
	maxFindings = 100 // findings
	maxDelta    = 200 // resources that are destroyed, or replaced
	maxForced   = 20  // attributes that force one replacement
	maxListed   = 500 // entries of any other list
)

// What findings repeat.
const (
	maxBlamed = 3   // names of what was not known, in one reason
	maxShown  = 200 // bytes of a text of the input
)

// What rules look at.
const (
	maxPolicyDocuments = 200 // data sources that one policy is put together from
	maxPlaces          = 50  // further places in one resource that one rule names
	maxRelated         = 100 // resources of one type that refer to one resource
	maxOthers          = 100 // resources that settle something for the whole account, of one type
	minSecret          = 8   // bytes of a text that may be a secret
)

// What policies of the operator judge.
const (
	maxPolicyValues = 500_000 // values of a document
	minCopied       = 8       // bytes of a sensitive text that is hidden wherever it is a part of another text
	maxCopied       = 10_000  // such texts
)

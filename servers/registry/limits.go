package main

import "time"

// What is read of a caller's text.
const (
	maxText      = 1 << 20 // bytes of a tool's text
	maxReference = 512     // bytes of an image reference
	maxLine      = 1 << 10 // bytes of a line that an answer repeats
	maxShown     = 64      // bytes of somebody's name that a message repeats
	maxField     = 256     // bytes of a field's path
	maxMentions  = 1000    // images that one file names
	maxDocuments = 1000    // YAML documents of one file
	maxNodes     = 80_000  // YAML values of one file
	maxLines     = 50_000  // lines of one file
	maxDepth     = 100     // YAML nodes in nodes
	maxWords     = 4096    // words of one Dockerfile instruction
	maxPieces    = 32      // variables and texts that one reference is put together of
	maxArguments = 1000    // ARG of one Dockerfile
	maxHeredocs  = 16      // here-documents of one instruction
)

// What is read of the operator's files.
const (
	maxConfig     = 256 << 10 // bytes of --registries
	maxSecretFile = 64 << 10  // bytes of a file of --credentials
	minSecret     = 6         // bytes; what is shorter would be found in any answer
)

// What is asked of registries and taken from their answers.
const (
	requestTimeout  = 20 * time.Second // less than a call has, so that the caller hears of it
	maxRedirects    = 5
	maxErrorBody    = 64 << 10 // bytes of an error's body that are read and dropped
	maxUpstreamText = 200      // bytes of a connection's error that an answer repeats
	maxManifest     = 2 << 20  // bytes
	maxImageConfig  = 2 << 20  // bytes of an image's configuration
	maxObjects      = 10_000   // JSON objects of either, each of which takes many times its text
	maxBases        = 4        // candidates for a base that are read at once
	maxLayers       = 1000     // layers of an image
	maxPlatforms    = 1000     // entries of an index
	pageSize        = 1000     // names of a page that a list is asked for
	maxPage         = 1 << 20  // bytes of a page
	maxPagesAtOnce  = 10       // that are read at once, of all calls
	maxAllLists     = 16 << 20 // bytes of all lists of a call
	maxPages        = 200      // pages of a list
	maxNames        = 50_000   // names of a list
	maxListBytes    = 8 << 20  // bytes of all pages of a list
	maxQuery        = 2 << 10  // bytes of the query that the next page is asked for with
	maxLayer        = 1 << 30  // bytes of a compressed layer
	layerPart       = 32 << 20 // bytes of a layer that one request asks for; outbound lets 64 MiB through
	maxLanes        = 4        // sets of connections of one call; outbound gives each eight to a host
)

// What is kept.
const (
	cacheBudget   = 32 << 20 // bytes
	maxShare      = 8        // no entry takes more than this part of the budget
	entryOverhead = 256      // bytes that an entry takes beside its value
)

// What one call takes and answers.
const (
	lintTimeout = 5 * time.Minute // of a call that looks through layers; it may have to unpack maxUnpacked
	callTimeout = 2 * time.Minute // of a call; a hundred images at a registry far away take their time
	maxCalls    = 4               // calls that run at once
	maxImages   = 100             // images of one answer
	atOnce      = 32              // images of a call that are looked at at once
	maxExamples = 3               // tags that an answer names for each reason
	maxPlaces   = 20              // mentions of an image that an answer lists
	maxProblems = 50              // unreadable inputs that an answer lists
	maxProblem  = 300             // bytes of one of them
	listLasts   = time.Minute     // a list that is paged through
)

// What an answer shows of one image.
const (
	maxValue          = 1 << 10 // bytes of a text by whoever built the image
	maxValues         = 100     // entries of a list or table of such texts
	maxShownPlatforms = 100
	maxShownLayers    = 200
	maxShownReferrers = 100
	maxYear           = 2200 // a time after it is none
)

// What is read of layers. Nothing of them is kept but what is worth mentioning.
const (
	maxUnpacked   = 2 << 30  // bytes that an image's layers unpack to
	maxEntries    = 500_000  // entries of an image's layers
	maxPathBytes  = 4096     // bytes of a path (PATH_MAX)
	maxWindow     = 32 << 20 // bytes that zstd may need
	maxAccounts   = 1 << 20  // bytes of /etc/passwd and its like
	maxKeyHead    = 4 << 10  // bytes of a file that may be a key
	maxFacts      = 2000     // files of a layer that are worth mentioning
	maxShownPath  = 1 << 10  // bytes of such a path
	maxLints      = 2        // images that are unpacked at once
	maxFindings   = 20       // findings of one rule in an answer
	maxShownFiles = 10       // files of one finding
	maxQuoted     = 160      // bytes of an instruction that a finding repeats
)

// What is read of signatures.
const (
	maxHolders     = 100     // manifests that hold signatures of an image
	maxSignatures  = 100     // signatures and attestations of an image
	maxAtOnce      = 2       // of them that are read at once: each may be as large as the next bound
	maxSignature   = 8 << 20 // bytes of one; an attestation may hold an SBOM
	maxTrustedRoot = 1 << 20 // bytes of --trusted-root
)

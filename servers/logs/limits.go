package main

import "time"

// What is read of the operator's files.
const (
	maxConfig     = 256 << 10 // bytes of --sources
	maxSources    = 100       // entries of --sources
	maxNamespaces = 50        // of a source
	maxPatterns   = 50        // of a source
	maxToken      = 16 << 10  // bytes of a service account's token
)

// What is looked at of a folder.
const (
	maxDepth   = 8      // folders in folders
	maxEntries = 20_000 // entries below one folder
	dirPiece   = 500    // of them that are read at once
	maxStreams = 500    // streams of one source
	maxParts   = 200    // files of one stream: the live one and its rotations
)

// How much of a log is in memory at once. A place in a log is judged by what stands in the window before it, so these
// decide together what a read that begins anywhere finds: a secret or a stack trace that began further off is not seen
// whole, and what may be the inside of a key is redacted.
const (
	window    = 128 << 10       // bytes before what is read, for whatever began there
	maxLine   = 256 << 10       // bytes of a line, or of a message in pieces, that are looked at
	maxTrace  = 64 << 10        // bytes of a stack trace before it may be broken in two
	traceEdge = 256 << 10       // and it is, at the next multiple of this offset
	maxApart  = 8 << 10         // bytes of other streams between the lines of a trace, or the pieces of a message
	maxLines  = 16 << 10        // lines of a block, and as many of its window; a line takes many times its bytes
	maxBehind = 4 << 10         // lines behind a block
	minAhead  = 16 << 10        // bytes read after a block, for what began in it
	maxAhead  = 768 << 10       // at most: a trace of maxTrace, up to an edge, whose last line has maxLine
	minBlock  = 64 << 10        // bytes of the first block that a call reads; the next is twice as long
	maxBlock  = 1 << 20         // bytes of a block
	skipBlock = 4 << 20         // bytes in which a literal is looked for at once
	gzipBack  = 1 << 20         // unpacked bytes of a compressed file that can be read again
	probe     = 16 << 10        // bytes in which a bisection looks for a time
	maxProbe  = 512 << 10       // bytes in which it looks at most
	disorder  = 5 * time.Second // by which lines may be out of order
)

// What one call takes and answers. The gateway gives most agents 64 KiB for a result, and every call half a minute, so the
// first three together are less.
const (
	waitTime       = 5 * time.Second  // for its turn
	scanTime       = 20 * time.Second // in which a call reads; then it says how far it came
	graceTime      = 4 * time.Second  // beyond that, for what is being read and matched
	maxCalls       = 2                // calls that read at once
	maxAnswer      = 44 << 10         // bytes of an answer's lines
	maxShown       = 4 << 10          // bytes of one line in an answer
	lineOverhead   = 64               // bytes of a line's JSON beside its text
	maxGroups      = 10_000           // groups that are told apart; what comes later is counted together
	maxTraces      = 1000             // groups of traces that are told apart
	maxKey         = 256              // bytes of a group's key
	maxFrames      = 12               // frames of a trace in an answer
	groupFrames    = 4                // frames by which traces are told apart
	maxTraceText   = 2 << 10          // bytes of a trace in an answer
	maxBefore      = 5                // lines before a trace in an answer
	maxProblems    = 20               // problems that an answer lists
	maxProblem     = 300              // bytes of one of them
	maxProgram     = 2 << 10          // instructions of a regular expression: each may be looked at for each byte of a message
	maxMatch       = 64 << 20         // instructions of an expression times bytes of a message that it sees: a second or two
	maxWork        = 8 << 20          // of these products, after which the time is looked at
	traceHeadBytes = 512              // bytes of a message by which traces are told apart
)

// What is asked of an API server and taken from its answers.
const (
	apiTimeout    = 10 * time.Second // of one request but those for logs, and of a list of pods
	reviewTimeout = time.Minute      // of all questions at start
	maxReason     = 64               // bytes of the kubelet's word for a state
	maxPodPage    = 8 << 20          // bytes of a page of pods
	podPage       = 100              // pods of a page
	maxPodPages   = 10               // pages of one namespace
	maxReview     = 64 << 10         // bytes of the answer to an access review
	maxStatus     = 16 << 10         // bytes of an error's body
	maxPodLog     = 4 << 20          // bytes of a container's log in memory
	maxPodLines   = 1 << 17          // lines of it
	maxPodRead    = 32 << 20         // bytes of a container's log that one call reads
	podTailLines  = 5_000            // lines that the end of a log is asked for at first
	maxTailLines  = 1 << 20          // and at most
)

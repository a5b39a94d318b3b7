package main

import "time"

// The bounds of this server: of requests to Docker Hub, of what is taken from their answers, and of what a caller gets.
const (
	requestTimeout = 20 * time.Second // one question, with its retries; less than a call has, so that the caller hears of it
	answerMargin   = time.Second      // of a call's time, to say what became of it
	maxBody        = 4 << 20          // bytes of an answer; a page of 100 tags of 16 platforms has some 700 KiB
	maxRedirects   = 2                // within the same origin; there is none to another
	maxRetries     = 2                // of one question, where Docker Hub says when
	maxJitter      = 500 * time.Millisecond
	minTry         = 2 * time.Second // that must be left for a retry to be worth waiting for
	maxReset       = 24 * time.Hour  // ahead of now; no limit of Docker Hub's is reset later
	maxReading     = 8               // answers that are read at once, each into memory

	maxCache      = 32 << 20         // bytes of answers that are kept
	maxFresh      = 10 * time.Minute // an answer is not fresh for longer, whatever it says
	cacheOverhead = 512              // bytes of an entry beside its body and its URL

	maxPageSize    = 100 // rows a page, as Docker Hub documents it
	defaultLimit   = 25
	maxScan        = 10         // pages of tags that one call reads
	maxRecounts    = 3          // times that one page is asked for again because its list has become shorter
	maxRows        = 10_000_000 // of a list; Docker Hub's largest repositories have some hundred thousand tags
	maxSearched    = 10_000     // results that Docker Hub's search can be asked for
	maxSharing     = 200        // tags with a digest that one answer names
	maxCursorBytes = 64

	maxPlatforms    = 30       // platforms of each tag in a list
	maxImages       = 200      // platforms of a tag that an answer shows
	maxLabels       = 30       // architectures or operating systems of a search result
	maxDescription  = 1 << 10  // bytes of a short description
	maxSnippet      = 200      // bytes of one in a search result
	maxLong         = 16 << 10 // bytes of a long one
	maxCategories   = 20
	maxCategory     = 100     // bytes of a category's name
	maxKept         = 201     // items of any other list that are read; one more than is shown, where the answer says so
	maxRules        = 4 << 10 // bytes of all immutable-tag rules
	maxUpstreamText = 200     // bytes of the API's own words that an error repeats

	maxSecretFile  = 4 << 10          // bytes
	minAccessToken = 16               // bytes
	maxAccessToken = 8 << 10          // bytes
	tokenLifetime  = 10 * time.Minute // of an access token, as Docker Hub documents it
	renewBefore    = time.Minute      // an access token ends
	refusedLogin   = time.Minute      // before Docker Hub is asked again whether it takes what it has refused
	rightsLook     = 10 * time.Second // how often a new token is looked for, to find out what it may do
	// From one failed attempt to find out to the next the time doubles, up to some ten minutes.
	maxRightsDoublings = 6
	maxForms           = 16 // tokens of one kind that are kept in mind, since no answer may repeat them
)

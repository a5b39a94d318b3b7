package egresspolicy

// What the egress process and its clients say to each other beyond HTTP.

// CallHeader carries the id of the audit record for which a connection is opened.
const CallHeader = "Bulkhead-Call"

// RefusedHeader holds the [Code] of an answer that egress itself gives, so that a client of plain HTTP can tell it
// from an upstream's. Egress removes it from what upstreams send.
const RefusedHeader = "Bulkhead-Refused"

// Refusal is the JSON body of an answer that egress itself gives, other than 200 to CONNECT.
type Refusal struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// Code says in one word why egress did not do what it was asked.
type Code string

// The codes of a [Refusal] and the status that each comes with.
const (
	CodeInvalid     Code = "invalid_request" // 400
	CodeDenied      Code = "denied"          // 403
	CodeTooLarge    Code = "too_large"       // 431
	CodeUnavailable Code = "unavailable"     // 502
	CodeBusy        Code = "busy"            // 503
	CodeTimeout     Code = "timeout"         // 408, 504
	CodeInternal    Code = "internal"        // 500
)

// ValidCall reports whether id has the form of a call id: 1 to 64 of A-Z, a-z, 0-9, "_" and "-".
func ValidCall(id string) bool {
	if id == "" || len(id) > maxCall {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if !isLDH(c) && c != '_' && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// Package canary has the secrets that the tests of the running bundle plant in everything that a server reads, to see that
// they come out nowhere. They are made when they are asked for, so that no scanner of this repository finds them.
package canary

import (
	"crypto/sha256"
	"fmt"
	"strings"
)

// Place is where secrets are planted.
type Place string

// The places. A server that reads another kind of thing adds one, and TestCanaries what shows it.
const (
	Logs          Place = "logs"           // a file of the folder of logs
	Manifest      Place = "manifest"       // a Kubernetes manifest of the workspace
	Plan          Place = "plan"           // a Terraform configuration and plan of the workspace
	Description   Place = "description"    // of a repository at Docker Hub
	Environment   Place = "environment"    // of an image, with its labels and history
	UpstreamError Place = "upstream error" // what an upstream says of a failure
	Argument      Place = "argument"       // what an agent passes, and the records repeat
)

// Places are all of them.
func Places() []Place {
	return []Place{Logs, Manifest, Plan, Description, Environment, UpstreamError, Argument}
}

// Host is a registry that only the tests have, with Repository in it.
const (
	Host       = "canary.example"
	Repository = Host + "/acme/leaky"
)

// Password is a secret that only its name tells.
func Password(p Place) string { return drawn(p, "password", lower+digits, 20) }

// Token is one of Docker Hub's: it tells itself.
func Token(p Place) string { return "dckr_pat_" + drawn(p, "token", lower+upper+digits, 27) }

// Key is an access key of AWS, which tells itself too.
func Key(p Place) string { return "AKIA" + drawn(p, "key", upper+"234567", 16) }

// Secrets are all that is planted in a place.
func Secrets(p Place) []string { return []string{Password(p), Token(p), Key(p)} }

// Text holds all three, as somebody would write them.
func Text(p Place) string {
	return fmt.Sprintf("connected with password=%s and %s, aws_access_key_id = %s", Password(p), Token(p), Key(p))
}

const (
	digits = "0123456789"
	lower  = "abcdefghijklmnopqrstuvwxyz"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// drawn is n letters that look drawn, the same in every run.
func drawn(p Place, kind, alphabet string, n int) string {
	sum := sha256.Sum256([]byte("canary " + kind + " " + string(p)))
	var out strings.Builder
	for i := range n {
		out.WriteByte(alphabet[int(sum[i])%len(alphabet)])
	}
	return out.String()
}

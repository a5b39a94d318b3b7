package main

import (
	"encoding/base64"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/scrub"
)

// holdsNoSecret demands that no text or map at some paths holds a secret, by its looks or by the name before it.
// A secret that comes from elsewhere is not known, and is none of the code's.
func holdsNoSecret(paths ...string) demand {
	return func(r *Resource) Result {
		var results []Result
		for _, path := range paths {
			results = append(results, noSecretIn(r.Attr(path), path))
		}
		return every(results...)
	}
}

func noSecretIn(v Value, name string) Result {
	if v.IsMap() {
		var results []Result
		for _, key := range v.Keys() {
			results = append(results, noSecretIn(v.key(key), key))
		}
		return every(results...)
	}
	text, ok := v.Text()
	if !ok || !isSecret(name, text) {
		return pass()
	}
	return v.fails("%s holds a secret", v.path)
}

// namedValueIsNoSecret demands of a block with a name and a value that the value is no secret.
func namedValueIsNoSecret(name, value string) demand {
	return func(r *Resource) Result {
		called, _ := r.Attr(name).Text()
		return noSecretIn(r.Attr(value), called)
	}
}

// isSecret says whether a text holds a secret, or is one because of what it is called.
func isSecret(name, text string) bool {
	if decoded, err := base64.StdEncoding.DecodeString(text); err == nil && len(decoded) >= minSecret && marked(scrub.Text(string(decoded))) > 0 {
		return true // user data and custom data are encoded
	}
	if isPlace(text) {
		return marked(scrub.Text(text)) > marked(text)
	}
	return marked(scrub.New().Member(name, text)) > marked(text)
}

// isPlace says whether a text is too short for a secret, or says where one is: a path, a variable, an ARN.
func isPlace(text string) bool {
	if len(text) < minSecret {
		return true
	}
	for _, start := range []string{"/", "$", "arn:", "projects/", "https://", "{{", "@Microsoft.KeyVault("} {
		if strings.HasPrefix(text, start) {
			return true
		}
	}
	return false
}

// marked counts what scrub has put in the place of secrets.
func marked(text string) int { return strings.Count(text, "[redacted:") }

// notLiteral demands that attributes are not written down in the code.
func notLiteral(paths ...string) demand {
	return func(r *Resource) Result {
		var results []Result
		for _, path := range paths {
			results = append(results, r.notLiteral(r.Attr(path)))
		}
		return every(results...)
	}
}

func (r *Resource) notLiteral(v Value) Result {
	text, ok := v.Text()
	switch {
	case !ok || isPlaceholder(text) || len(v.Resources()) > 0:
		return pass()
	case r.Planned && len(v.origins) > 0, !r.Planned && v.sensitive:
		return pass() // given through a variable, which is judged by itself
	default:
		return v.fails("%s is written down here", v.path)
	}
}

// isPlaceholder says whether a text stands for a secret that is not there: nothing, or what tests and emulators take.
func isPlaceholder(text string) bool {
	return isAmong(text, []string{"", "test", "mock", "mock_access_key", "mock_secret_key", "fake", "dummy", "none", "null"})
}

// inDocument demands something of each object of a JSON text, or of the one that it is.
func inDocument(v Value, want func(Value) Result) Result {
	if v.Null() {
		return pass()
	}
	document, ok := v.JSON()
	switch {
	case !ok:
		return pass() // no JSON: the provider refuses it
	case document.Unknown():
		return document.undecided()
	}
	var results []Result
	for _, element := range document.Elements() {
		if element.Unknown() {
			results = append(results, element.undecided())
			continue
		}
		results = append(results, want(element))
	}
	return every(results...)
}

// isTruly demands that a value is a boolean, and there.
func (v Value) isTruly(want bool) Result {
	value, ok := v.Bool()
	switch {
	case v.Unknown():
		return v.undecided()
	case ok && value == want:
		return pass()
	default:
		return v.fails("%s is %s", v.path, v.Show())
	}
}

// isNot demands that a value is not a boolean, where it is there.
func (v Value) isNot(unwanted bool) Result {
	if v.Null() {
		return pass()
	}
	return v.isTruly(!unwanted)
}

// isService says whether a principal is a service of AWS.
func isService(principal string) bool { return strings.HasSuffix(principal, ".amazonaws.com") }

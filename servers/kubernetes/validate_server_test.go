package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	kyaml "sigs.k8s.io/yaml"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/clustertest"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

var (
	mutationsEach = flag.Int("validate.mutations", 60, "mutations of each sample that are sent to the API server")
	mutatedKind   = flag.String("validate.kind", "", "the one kind whose samples are sent")
)

// TestAgainstServer holds validate_manifests and check_pod_security to a real API server.
func TestAgainstServer(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	t.Run("mutations", func(t *testing.T) { testMutations(t, c) })
	t.Run("required", func(t *testing.T) { testRequired(t, c) })
	t.Run("pod security", func(t *testing.T) { testPodSecurity(t, c) })
}

// testMutations changes the samples at random places in ways that one writes by mistake, and some that nobody does, and sends them to
// the server as a dry run. What it calls a decoding error (400) must fail here, and what it accepts must not. What its validation
// refuses (422) is not covered, and counted.
func testMutations(t *testing.T, c *clustertest.Cluster) {
	s := newServed(t, c)
	v, samples := validatorOfSamples(t)
	s.define(t, samples)

	r := rand.New(rand.NewPCG(1, 2))
	var sent, refused, accepted, invalid, kinds int
	notCovered, covered, others := map[string]int{}, map[string]int{}, map[string]int{}
	for _, sample := range samples {
		if *mutatedKind != "" && sample.kind.kind != *mutatedKind {
			continue
		}
		if answer := s.create(t, sample.kind, sample.text, yamlType); answer.code != http.StatusCreated {
			t.Errorf("the sample itself is refused: %d %s\n%s", answer.code, answer.Message, sample.text)
			continue
		}
		kinds++
		if f := fails(v, sample.text); f != "" {
			t.Errorf("the sample itself fails: %s\n%s", f, sample.text)
		}
		for i := range *mutationsEach {
			text, what := mutate(t, r, sample.text)
			if i%5 == 4 {
				text, what = edit(r, sample.text)
			}
			contentType := yamlType
			if i%4 == 3 {
				if asJSON, err := kyaml.YAMLToJSON(text); err == nil {
					text, contentType = asJSON, "application/json"
				}
			}
			answer, ours := s.create(t, sample.kind, text, contentType), fails(v, text)
			sent++
			switch answer.code {
			case http.StatusCreated:
				accepted++
				if ours != "" {
					t.Errorf("%s: accepted, but here: %s\n%s", what, ours, text)
				}
			case http.StatusBadRequest:
				if !answer.decoding() {
					others[answer.Message]++
					continue
				}
				refused++
				if ours == "" {
					t.Errorf("%s: nothing found, but the server: %s\n%s", what, answer.Message, text)
				}
			case http.StatusUnprocessableEntity:
				invalid++
				into := notCovered
				if ours != "" {
					into = covered
				}
				for _, cause := range answer.Details.Causes {
					into[cause.Reason]++
					if _, custom := v.custom[sample.kind]; custom && cause.Reason == "FieldValueTypeInvalid" && ours == "" { // which a schema tells
						t.Errorf("%s: nothing found, but the server: %s\n%s", what, answer.Message, text)
					}
				}
			default:
				others[fmt.Sprintf("%d %s", answer.code, answer.Reason)]++
				t.Logf("%d %s\n%s", answer.code, answer.Message, text)
			}
		}
	}
	t.Logf("%d mutations of %d kinds: %d accepted, %d refused in decoding (400), %d by the server's own validation (422)", sent, kinds, accepted, refused, invalid)
	t.Logf("causes of 422 that were not covered: %v", notCovered)
	t.Logf("causes of 422 in objects that failed here, too: %v", covered)
	t.Logf("other answers: %v", others)
	if sent < 1000 || kinds < 30 || refused < sent/10 || accepted < sent/10 {
		t.Error("too few of some: the comparison does not say much")
	}
}

// testRequired takes every field out of the samples, one at a time: where that is said to fail for want of a required field, the
// server refuses the object, and where the server is said to take it, it does.
func testRequired(t *testing.T, c *clustertest.Cluster) {
	s := newServed(t, c)
	v, samples := validatorOfSamples(t)
	fail, unknown := 0, 0
	for _, sample := range samples {
		for i := range len(places(node(t, sample.text), nil)) {
			root := node(t, sample.text)
			p := places(root, nil)[i]
			mutations()["removed"](nil, p)
			text := encode(t, root)
			var missing []finding.Finding
			for _, f := range findings(v, text) {
				if f.Rule == string(ruleRequired) {
					missing = append(missing, f)
				}
			}
			if len(missing) != 1 {
				continue
			}
			answer := s.create(t, sample.kind, text, yamlType)
			switch taken := answer.code == http.StatusCreated; {
			case missing[0].Verdict == finding.Fail && taken:
				t.Errorf("%s is required, but the server takes a %s without it", p.path, sample.kind)
			case missing[0].Verdict == finding.Unknown && !taken:
				t.Errorf("%s: the server does not take a %s without it: %s", p.path, sample.kind, answer.Message)
			case taken:
				unknown++
			default:
				fail++
			}
		}
	}
	t.Logf("%d required fields without which the server refuses a sample, %d without which it takes it", fail, unknown)
	if fail < 200 {
		t.Error("too few: the comparison does not say much")
	}
}

const yamlType = "application/yaml"

// served is the API server, and where it takes objects of each kind.
type served struct {
	client *http.Client
	url    string
	paths  map[gvk]string
}

type answered struct {
	code            int
	Reason, Message string
	Details         struct {
		Causes []struct{ Reason, Message, Field string }
	}
}

// decoding says whether a bad request (400) is one that could not be decoded. The others are these, of checks that come later.
func (a answered) decoding() bool {
	return !strings.Contains(a.Message, "the namespace of the provided object does not match") &&
		!strings.Contains(a.Message, "no namespace on request") && !strings.Contains(a.Message, "token is required for TokenReview")
}

func newServed(t *testing.T, c *clustertest.Cluster) *served {
	t.Helper()
	s := &served{client: c.Client(clustertest.Admin), url: c.URL}
	t.Cleanup(s.client.CloseIdleConnections)
	s.discover(t)
	return s
}

func (s *served) get(t *testing.T, path string, into any) {
	t.Helper()
	status, answer, err := clustertest.Send(t.Context(), s.client, http.MethodGet, s.url+path, "", nil)
	if err != nil || status != http.StatusOK {
		t.Fatalf("%s: %d %v", path, status, err)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		t.Fatal(err)
	}
}

// discover asks the server for its kinds, and where each of them is created.
func (s *served) discover(t *testing.T) {
	t.Helper()
	var groups struct {
		Groups []struct {
			Versions []struct{ GroupVersion string }
		}
	}
	s.get(t, "/apis", &groups)
	prefixes := map[string]string{"v1": "/api/v1"}
	for _, g := range groups.Groups {
		for _, v := range g.Versions {
			prefixes[v.GroupVersion] = "/apis/" + v.GroupVersion
		}
	}
	s.paths = map[gvk]string{}
	for apiVersion, prefix := range prefixes {
		var list struct {
			Resources []struct {
				Name, Kind string
				Namespaced bool
				Verbs      []string
			}
		}
		s.get(t, prefix, &list)
		for _, r := range list.Resources {
			switch {
			case !slices.Contains(r.Verbs, "create") || strings.Contains(r.Name, "/"):
			case r.Namespaced:
				s.paths[gvk{apiVersion, r.Kind}] = prefix + "/namespaces/default/" + r.Name
			default:
				s.paths[gvk{apiVersion, r.Kind}] = prefix + "/" + r.Name
			}
		}
	}
}

// define creates the CustomResourceDefinitions of the samples, and waits until their kinds are served. Then it gives the samples
// another group, since what exists cannot be created.
func (s *served) define(t *testing.T, samples []sample) {
	t.Helper()
	for i, sample := range samples {
		if sample.kind.kind != crdKind {
			continue
		}
		status, answer, err := clustertest.Send(t.Context(), s.client, http.MethodPost, s.url+s.paths[sample.kind], yamlType, sample.text)
		if err != nil || status != http.StatusCreated {
			t.Fatalf("%d %s %v", status, answer, err)
		}
		var d crd
		if err := kyaml.Unmarshal(sample.text, &d); err != nil {
			t.Fatal(err)
		}
		of := gvk{d.Spec.Group + "/" + d.Spec.Versions[0].Name, d.Spec.Names.Kind}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for s.paths[of] == "" {
			if ctx.Err() != nil {
				t.Fatalf("%s is not served", of)
			}
			time.Sleep(100 * time.Millisecond)
			s.discover(t)
		}
		time.Sleep(time.Second) // it may be listed before all of the server knows its schema
		samples[i].text = bytes.ReplaceAll(sample.text, []byte(d.Spec.Group), []byte("other.example"))
	}
}

// create sends an object as a dry run with strict decoding.
func (s *served) create(t *testing.T, k gvk, object []byte, contentType string) answered {
	t.Helper()
	path := s.paths[k]
	if path == "" {
		t.Fatalf("the server has no %s", k)
	}
	status, answer, err := clustertest.Send(t.Context(), s.client, http.MethodPost, s.url+path+"?dryRun=All&fieldValidation=Strict", contentType, object)
	if err != nil {
		t.Fatal(err)
	}
	a := answered{code: status}
	if err := json.Unmarshal(answer, &a); err != nil && status != http.StatusCreated {
		t.Fatalf("%d %s: %v", status, answer, err)
	}
	if a.code == http.StatusOK {
		a.code = http.StatusCreated
	}
	return a
}

// sample is an object that an API server takes.
type sample struct {
	kind gvk
	text []byte
}

// sampleObjects are the documents of testdata/validate/samples.yaml.
func sampleObjects(t testing.TB) []sample {
	t.Helper()
	data, err := os.ReadFile("testdata/validate/samples.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all []sample
	for text := range bytes.SplitSeq(data, []byte("\n---\n")) {
		var o struct{ APIVersion, Kind string }
		if err := kyaml.Unmarshal(text, &o); err != nil {
			t.Fatal(err)
		}
		all = append(all, sample{gvk{o.APIVersion, o.Kind}, text})
	}
	return all
}

func schemasFor(t testing.TB) *schemas {
	t.Helper()
	s, err := loadSchemas()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validatorOfSamples returns the samples, and a validator of the newest release that knows the kinds that they define.
func validatorOfSamples(t testing.TB) (*manifestValidator, []sample) {
	t.Helper()
	v := newManifestValidator(schemasFor(t), schemasFor(t).newest, customKinds{})
	samples := sampleObjects(t)
	for _, sample := range samples {
		readObjects("", sample.text, maxCheckValues, v.custom.add, func(finding.Finding) {})
	}
	return v, samples
}

// findings are all that the validator has to say of an input; what cannot be read is a finding, too.
func findings(v *manifestValidator, text []byte) []finding.Finding {
	var all []finding.Finding
	note := func(f finding.Finding) { all = append(all, f) }
	for _, err := range readObjects("", text, maxCheckValues, func(o object) { v.validate(o, note) }, note) {
		note(finding.Finding{Rule: string(ruleUnreadable), Verdict: finding.Fail, Message: err.Error()})
	}
	return all
}

// fails returns why an API server that is sent an input refuses it, and nothing if nothing is known.
func fails(v *manifestValidator, text []byte) string {
	var all []string
	for _, f := range findings(v, text) {
		// What is merged and stands there, too, kubectl resolves; but here the server gets the YAML.
		if f.Verdict == finding.Fail || f.Rule == string(ruleDuplicateField) || f.Rule == string(ruleNoObject) {
			all = append(all, f.Rule+": "+f.Message)
		}
	}
	return strings.Join(all, "\n")
}

// node is the content of an object.
func node(t testing.TB, text []byte) *yaml.Node {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Content[0]
}

func encode(t testing.TB, n *yaml.Node) []byte {
	t.Helper()
	text, err := yaml.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// mutate changes one place of an object.
func mutate(t *testing.T, r *rand.Rand, sample []byte) (text []byte, what string) {
	t.Helper()
	names := slices.Sorted(maps.Keys(mutations()))
	for range 100 {
		root := node(t, sample)
		all := places(root, nil)
		p := all[r.IntN(len(all))]
		if name := names[r.IntN(len(names))]; mutations()[name](r, p) {
			return encode(t, root), fmt.Sprintf("%s at %s", name, p.path)
		}
	}
	t.Fatal("nothing to change")
	return nil, ""
}

// edits are what edit puts into a text. None begins or ends a document: a server takes the first and does not look at the rest.
var edits = []string{
	" ", "  ", "\t", "\n", "\n\n", ":", ": ", "-", "- ", "#", " #", "{", "}", "[", "]", ",", "\"", "'", "&a ", "*a", "!", "!!str ", "|", "|\n", ">", "?", "? ", "%", "@", "`",
	"\x00", "\r", "\r\n", "\u0085", "\u2028", "\ufeff", "\xff", "~", "<<: ", "=", "0", "1", "e", "true", "é", "\\", "\\u0000", "\x7f", "\x1b",
}

// edit changes the text below apiVersion and kind as a slip of the finger does.
func edit(r *rand.Rand, sample []byte) (text []byte, what string) {
	below := bytes.Index(sample, []byte("\nkind: "))
	below += 1 + bytes.IndexByte(sample[below+1:], '\n')
	text = slices.Clone(sample)
	for range 1 + r.IntN(2) {
		at := below + r.IntN(len(text)-below)
		if r.IntN(3) == 0 {
			text = slices.Delete(text, at, min(len(text), at+1+r.IntN(3)))
		} else {
			text = slices.Insert(text, at, []byte(edits[r.IntN(len(edits))])...)
		}
	}
	return text, "an edit"
}

// place is a value in an object: the entry of a mapping, or an item of a list. index is of the value in parent.Content.
type place struct {
	parent *yaml.Node
	index  int
	path   fieldPath
}

func (p place) key() *yaml.Node {
	if p.parent.Kind == yaml.MappingNode {
		return p.parent.Content[p.index-1]
	}
	return nil
}

// places are all but apiVersion and kind of the object itself, which say where it is sent.
func places(n *yaml.Node, path fieldPath) []place {
	var all []place
	for i, child := range n.Content {
		var at fieldPath
		switch {
		case n.Kind == yaml.SequenceNode:
			at = path.below(i)
		case i%2 == 0:
			continue
		default:
			if key := n.Content[i-1].Value; len(path) == 0 && (key == "apiVersion" || key == "kind") {
				continue
			}
			at = path.below(n.Content[i-1].Value)
		}
		all = append(all, place{n, i, at})
		all = append(all, places(child, at)...)
	}
	return all
}

// replacements are values as one writes them in YAML.
var replacements = []string{
	`5`, `"5"`, `1.5`, `1.0`, `-1`, `0`, `1e3`, `1E-3`, `2147483647`, `2147483648`, `-2147483649`, `9223372036854775807`, `9223372036854775808`, `1e400`, `"1e400"`,
	`true`, `yes`, `"true"`, `null`, `~`, `""`, `text`, `[]`, `{}`, `[1]`, `[a]`, `{a: b}`, `{a: 1}`, `[{}]`, `[null]`, `{a: null}`, `[[a]]`,
	`0777`, `0o17`, `0x1F`, `0b11`, `1_000`, `1:30`, `+5`, `.5`, `5.`, `on`, `y`, `2026-01-02`, `2026-01-02T03:04:05Z`, `2026-01-02T03:04:05.5+02:00`, `"2026-01-02 03:04:05"`,
	`not base64!`, `aGVsbG8`, `"aGVs\nbG8="`, `aGVsbG8=`, `10Q`, `1Gi`, `1.5.5`, `50%`, `1e`, `1e-3`, `" 1"`, `"1 "`, `1E`, `100m`, `0.1n`, `.inf`, `.nan`, `-.INF`,
	`!!str 5`, `!!int "5"`, `!!float 5`, `!!binary aGk=`, `!other x`, `"\u0000"`, `"\ud83d"`, `é`, `18446744073709551616`, `1e18`, `-0`, `00`, `08`, `"null"`, `[1, 2, 300]`, `[1, 2, 3]`,
}

// mutations are ways to change a place. One that does not apply there returns false.
func mutations() map[string]func(*rand.Rand, place) bool {
	replace := func(r *rand.Rand, p place) bool {
		p.parent.Content[p.index] = snippet(replacements[r.IntN(len(replacements))])
		return true
	}
	onKey := func(change func(*rand.Rand, string) string) func(*rand.Rand, place) bool {
		return func(r *rand.Rand, p place) bool {
			key := p.key()
			if key == nil || len(key.Value) < 2 {
				return false
			}
			name := change(r, key.Value)
			changed := name != key.Value
			key.Value = name
			return changed
		}
	}
	insert := func(p place, key, value *yaml.Node, at int) bool {
		if p.parent.Kind != yaml.MappingNode {
			return false
		}
		p.parent.Content = slices.Insert(p.parent.Content, at, key, value)
		return true
	}
	return map[string]func(*rand.Rand, place) bool{
		"another value":      replace,
		"another value, too": replace,
		"a letter less": onKey(func(r *rand.Rand, s string) string {
			i := r.IntN(len(s))
			return s[:i] + s[i+1:]
		}),
		"two letters swapped": onKey(func(r *rand.Rand, s string) string {
			i := r.IntN(len(s) - 1)
			return s[:i] + s[i+1:i+2] + s[i:i+1] + s[i+2:]
		}),
		"first letter in upper case": onKey(func(_ *rand.Rand, s string) string { return strings.ToUpper(s[:1]) + s[1:] }),
		"key in lower case":          onKey(func(_ *rand.Rand, s string) string { return strings.ToLower(s) }),
		"unknown key": func(_ *rand.Rand, p place) bool {
			return insert(p, snippet("bogus"), snippet("1"), p.index-1)
		},
		"key twice": func(_ *rand.Rand, p place) bool {
			return insert(p, p.key(), p.parent.Content[p.index], p.index-1)
		},
		"key twice, once quoted": func(_ *rand.Rand, p place) bool {
			return p.key() != nil && insert(p, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: p.key().Value, Style: yaml.DoubleQuotedStyle}, snippet("null"), p.index-1)
		},
		"key that is no string": func(r *rand.Rand, p place) bool {
			keys := []string{"1", "true", "1.5", "null", "yes", "0x10", "2026-01-02", "[a]"}
			return insert(p, snippet(keys[r.IntN(len(keys))]), snippet("x"), p.index+1)
		},
		"merged": func(r *rand.Rand, p place) bool {
			merged := []string{"{bogus: 1}", "{name: x}", "{}", "[{name: x}, {name: y}]", "5"}
			return insert(p, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!merge", Value: "<<"}, snippet(merged[r.IntN(len(merged))]), p.index-1)
		},
		"an alias": func(r *rand.Rand, p place) bool {
			value := p.parent.Content[p.index]
			value.Anchor = "a"
			alias := &yaml.Node{Kind: yaml.AliasNode, Value: "a", Alias: value}
			if p.parent.Kind == yaml.SequenceNode {
				p.parent.Content = append(p.parent.Content, alias)
				return true
			}
			return insert(p, snippet([]string{"bogus", "labels", "name"}[r.IntN(3)]), alias, p.index+1)
		},
		"removed": func(_ *rand.Rand, p place) bool {
			from := p.index
			if p.key() != nil {
				from--
			}
			p.parent.Content = slices.Delete(p.parent.Content, from, p.index+1)
			return true
		},
		"in a list": func(_ *rand.Rand, p place) bool {
			value := p.parent.Content[p.index]
			p.parent.Content[p.index] = &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{value}}
			return true
		},
		"in a mapping": func(_ *rand.Rand, p place) bool {
			value := p.parent.Content[p.index]
			p.parent.Content[p.index] = &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{snippet("a"), value}}
			return true
		},
		"what it holds": func(_ *rand.Rand, p place) bool {
			value := p.parent.Content[p.index]
			if len(value.Content) == 0 {
				return false
			}
			p.parent.Content[p.index] = value.Content[len(value.Content)-1]
			return true
		},
		"quoted": func(_ *rand.Rand, p place) bool {
			value := p.parent.Content[p.index]
			if value.Kind != yaml.ScalarNode || value.Style != 0 {
				return false
			}
			value.Style, value.Tag = yaml.DoubleQuotedStyle, "!!str"
			return true
		},
		"unquoted": func(_ *rand.Rand, p place) bool {
			value := p.parent.Content[p.index]
			if value.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) == 0 || value.Value == "" {
				return false
			}
			p.parent.Content[p.index] = snippet(value.Value)
			return true
		},
		"a level up": func(_ *rand.Rand, p place) bool {
			value := p.parent.Content[p.index]
			if value.Kind != yaml.MappingNode || p.key() == nil {
				return false
			}
			p.parent.Content = append(slices.Delete(p.parent.Content, p.index-1, p.index+1), value.Content...)
			return true
		},
	}
}

// snippet is the node of a value in YAML, or else of that text.
func snippet(text string) *yaml.Node {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil || len(doc.Content) == 0 {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	}
	return doc.Content[0]
}

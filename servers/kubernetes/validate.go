package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	kyaml "sigs.k8s.io/yaml"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// The rules of validate_manifests. What the API server's strict decoding refuses fails, and so does what its schema or the schema
// of a custom resource does not allow; what it accepts never does.
const (
	ruleUnknownField   ruleID = "schema/unknown-field"
	ruleDuplicateField ruleID = "schema/duplicate-field"
	ruleType           ruleID = "schema/type"
	ruleRequired       ruleID = "schema/required"
	ruleUnknownKind    ruleID = "schema/unknown-kind"
	ruleRemovedAPI     ruleID = "schema/removed-api"
	ruleDeprecatedAPI  ruleID = "schema/deprecated-api"
	ruleNotServed      ruleID = "schema/not-served"
	ruleNoSchema       ruleID = "schema/no-schema"
)

const (
	fieldValidationURL = "https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation"
	deprecationURL     = "https://kubernetes.io/docs/reference/using-api/deprecation-guide/"
	crdURL             = "https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/"
)

// schemaRules is the table of the rules of validate_manifests.
func schemaRules() []entry {
	return []entry{
		{ID: string(ruleUnknownField), Title: "Fields are those of the schema", Severity: finding.High, References: []string{fieldValidationURL},
			Why: "A field that is misspelled, or stands elsewhere than it should, has no effect: a strict API server refuses the object, a lenient one drops the field.",
			Fix: "Correct the field's name or place, or remove it."},
		{ID: string(ruleDuplicateField), Title: "Fields stand there once", Severity: finding.Medium, References: []string{fieldValidationURL},
			Why: "Of a field that stands there twice the last counts, and a strict API server refuses the object.",
			Fix: "Keep one of them."},
		{ID: string(ruleType), Title: "Fields hold what the schema says", Severity: finding.High, References: []string{fieldValidationURL},
			Why: "The API server refuses an object with a value that it cannot decode: a number where a string belongs, a malformed quantity or time, a number out of range.",
			Fix: "Write a value of the type that is named."},
		{ID: string(ruleRequired), Title: "Required fields are there", Severity: finding.High, References: []string{fieldValidationURL},
			Why: "The schema requires the field, and the API server refuses the object without it.",
			Fix: "Add the field."},
		{ID: string(ruleUnknownKind), Title: "The kind exists", Severity: finding.High, References: []string{deprecationURL},
			Why: "The release of Kubernetes has no such kind in this API version.",
			Fix: "Write an API version and a kind that it has."},
		{ID: string(ruleRemovedAPI), Title: "The API version is still served", Severity: finding.High, References: []string{deprecationURL},
			Why: "The release of Kubernetes does not serve this API version any more.",
			Fix: "Write the one that replaces it; kubectl convert changes the fields that differ."},
		{ID: string(ruleDeprecatedAPI), Title: "The API version is not deprecated", Severity: finding.Low, References: []string{deprecationURL},
			Why: "The API server takes the object with a warning; a later release will not serve this API version.",
			Fix: "Write the one that replaces it."},
		{ID: string(ruleNotServed), Title: "The API version is served without being turned on", Severity: finding.Medium, References: []string{deprecationURL},
			Why: "Alpha and beta API versions are off unless the API server's --runtime-config turns them on.",
			Fix: "Write a stable version, or see that the cluster serves this one."},
		{ID: string(ruleNoSchema), Title: "The kind has a schema here", Severity: finding.Low, References: []string{crdURL},
			Why: "The kind is not one of Kubernetes itself, so what it may hold is not known.",
			Fix: "Give its CustomResourceDefinition in the same input, or mount it with --schemas."},
	}
}

// manifestValidator holds objects to the schemas of one release.
type manifestValidator struct {
	schemas *schemas
	at      release
	custom  customKinds // besides the schemas
	rules   map[ruleID]entry
	hints   int // work that may still go into guessing what is meant
}

func newManifestValidator(s *schemas, at release, custom customKinds) *manifestValidator {
	v := &manifestValidator{schemas: s, at: at, custom: custom, rules: map[ruleID]entry{}, hints: maxHintWork}
	for _, r := range schemaRules() {
		v.rules[ruleID(r.ID)] = r
	}
	return v
}

// newValidator makes the validator of one run: the kinds that its inputs define count before those that are mounted.
func (c *checker) newValidator(inputs []finding.Input) *manifestValidator {
	v := newManifestValidator(c.schemas, c.release, customKinds{})
	maps.Copy(v.custom, c.custom)
	for _, in := range inputs {
		_ = v.custom.read(in, c.values) // told when it is judged
	}
	return v
}

// validate reports what is wrong with one object.
func (v *manifestValidator) validate(o object, note func(finding.Finding)) {
	tell := func(f fault) {
		r := v.rules[f.rule]
		note(finding.Finding{
			Rule: r.ID, Title: r.Title, Severity: r.Severity, Verdict: f.verdict, Reason: f.reason,
			Message: f.message, Fix: f.fix, Object: o.String(), Location: o.location(f.path),
		})
	}
	for _, d := range o.duplicates(maxFaults) {
		f := finding.Finding{
			Rule: string(ruleDuplicateField), Title: v.rules[ruleDuplicateField].Title, Severity: v.rules[ruleDuplicateField].Severity,
			Verdict: finding.Fail, Message: fmt.Sprintf("duplicate field %q", shorten(d.name)), Fix: "keep one of them",
			Object: o.String(), Location: d.location,
		}
		if d.merged {
			f.Verdict, f.Message = finding.Unknown, fmt.Sprintf("field %q is merged (<<), and stands there, too", shorten(d.name))
			f.Reason = "an API server that is sent the YAML refuses that; kubectl sends JSON, in which the later one counts"
		}
		note(f)
	}
	if of := v.shape(o, tell); of != nil {
		if err := v.compare(o.raw, of, tell); err != nil {
			tell(fault{rule: ruleType, verdict: finding.Unknown, message: "not compared", reason: "the object cannot be read as JSON"})
		}
	}
}

// shape returns what the object should be like, and tells what there is to say of its kind. It is nil where that is not known.
func (v *manifestValidator) shape(o object, tell func(fault)) *shape {
	k := gvk{o.apiVersion, o.kind}
	s := v.schemas.kind(k, v.at)
	// What Kubernetes serves itself, no CustomResourceDefinition changes.
	if c, ok := v.custom[k]; ok && s == nil {
		return v.customShape(k, c, tell)
	}
	switch {
	case s != nil:
		v.tellAge(k, tell)
	case v.schemas.groups[group(k.apiVersion)]:
		v.tellMissing(k, tell)
	case v.custom.has(group(k.apiVersion), k.kind):
		tell(fault{rule: ruleUnknownKind, verdict: finding.Fail, path: fieldPath{"apiVersion"},
			message: fmt.Sprintf("the CustomResourceDefinition of %s has no version %s", k.kind, stated(k.apiVersion)),
			fix:     "write a version that it has"})
	default:
		if near := v.nearestVersion(k); near != "" {
			tell(fault{rule: ruleNoSchema, verdict: finding.Unknown, path: fieldPath{"apiVersion"}, message: fmt.Sprintf("not validated; is %s meant?", near),
				reason: fmt.Sprintf("Kubernetes itself has %s only in other groups than %s", k.kind, stated(k.apiVersion)), fix: "write apiVersion: " + near})
			break
		}
		tell(fault{rule: ruleNoSchema, verdict: finding.Unknown, path: fieldPath{"apiVersion"}, message: "not validated",
			reason: fmt.Sprintf("%s in %s is no kind of Kubernetes itself, and its CustomResourceDefinition is not given", shorten(k.kind), stated(k.apiVersion)),
			fix:    "give the CustomResourceDefinition in the same input, or mount it with --schemas"})
	}
	return s
}

func (v *manifestValidator) customShape(k gvk, c customKind, tell func(fault)) *shape {
	at := fieldPath{"apiVersion"}
	switch {
	case !c.served:
		tell(fault{rule: ruleRemovedAPI, verdict: finding.Fail, path: at,
			message: fmt.Sprintf("the CustomResourceDefinition of %s does not serve %s", k.kind, stated(k.apiVersion)), fix: "write a version that it serves"})
	case c.shape == nil:
		tell(fault{rule: ruleNoSchema, verdict: finding.Unknown, path: at, message: "not validated", reason: "its CustomResourceDefinition is given, but " + c.reason})
	case c.deprecated:
		tell(fault{rule: ruleDeprecatedAPI, verdict: finding.Unknown, path: at, message: k.String() + " is deprecated",
			reason: "the API server still takes it, with a warning", fix: "write a version that its CustomResourceDefinition does not call deprecated"})
	}
	return c.shape
}

// tellAge tells of a kind that the release has, and might not serve, or not for long.
func (v *manifestValidator) tellAge(k gvk, tell func(fault)) {
	life := v.schemas.lifecycles[k]
	f := fault{verdict: finding.Unknown, path: fieldPath{"apiVersion"}}
	switch {
	case !onByDefault(k.apiVersion):
		f.rule, f.message = ruleNotServed, fmt.Sprintf("%s is off by default in %s", k.apiVersion, v.at)
		f.reason = "an API server serves it only where --runtime-config says so"
	case life.deprecated > 0 && life.deprecated <= v.at:
		f.rule, f.message = ruleDeprecatedAPI, fmt.Sprintf("%s is deprecated since %s", k, life.deprecated)
		f.reason = fmt.Sprintf("%s still takes it, with a warning", v.at)
		if life.removed > 0 {
			f.reason += fmt.Sprintf("; %s does not", life.removed)
		}
	default:
		return
	}
	if r := v.replacement(k); r != (gvk{}) {
		f.fix = "write " + r.String()
	}
	tell(f)
}

// onByDefault says whether an API server serves an API version that it has without being told to. New beta versions are off since
// v1.24; of those before, this one is the last (legacyBetaEnabledByDefaultResources in pkg/controlplane/instance.go).
func onByDefault(apiVersion string) bool {
	version := apiVersion[strings.LastIndexByte(apiVersion, '/')+1:]
	return !strings.Contains(version, "alpha") && !strings.Contains(version, "beta") || apiVersion == "flowcontrol.apiserver.k8s.io/v1beta3"
}

// replacement is the kind that takes the place of another, as its module tells, or else the same kind in a stable version.
func (v *manifestValidator) replacement(k gvk) gvk {
	if r := v.schemas.lifecycles[k].replacement; r.kind != "" {
		return r
	}
	for _, other := range v.schemas.byKind[k.kind] {
		if group(other.apiVersion) == group(k.apiVersion) && other != k && onByDefault(other.apiVersion) && v.schemas.kind(other, v.at) != nil {
			return other
		}
	}
	return gvk{}
}

// tellMissing tells of a kind that would be one of Kubernetes itself, and that the release does not have.
func (v *manifestValidator) tellMissing(k gvk, tell func(fault)) {
	life := v.schemas.lifecycles[k]
	f := fault{rule: ruleUnknownKind, verdict: finding.Fail, path: fieldPath{"apiVersion"}}
	entries := v.schemas.kinds[k]
	switch {
	case life.removed > 0 && life.removed <= v.at:
		f.rule, f.message = ruleRemovedAPI, fmt.Sprintf("%s is not served since %s", k, life.removed)
	case len(entries) > 0:
		var all []field
		for _, e := range entries {
			all = append(all, field{spans: e.spans})
		}
		f.message = fmt.Sprintf("%s does not have %s, %s", v.at, k, when(all))
	default:
		f.message = fmt.Sprintf("Kubernetes has no %s in %s", shorten(k.kind), stated(k.apiVersion))
	}
	if r := v.replacement(k); r != (gvk{}) {
		f.fix = fmt.Sprintf("write %s (kubectl convert changes the fields that differ)", r)
	} else if others := v.here(v.schemas.byKind[k.kind]); len(others) > 0 {
		f.fix = "write apiVersion: " + others[0].apiVersion
	} else if near := v.nearestKind(k); near != (gvk{}) {
		f.message += fmt.Sprintf("; is %s meant?", near.kind)
		f.fix, f.path = fmt.Sprintf("write %s", near), fieldPath{"kind"}
	}
	tell(f)
}

// here are those of the kinds that the release has, the ones that it serves by default first.
func (v *manifestValidator) here(kinds []gvk) []gvk {
	var on, off []gvk
	for _, k := range kinds {
		switch {
		case v.schemas.kind(k, v.at) == nil:
		case onByDefault(k.apiVersion):
			on = append(on, k)
		default:
			off = append(off, k)
		}
	}
	return append(on, off...)
}

// nearestKind is the kind that a misspelled one is most likely meant to be: one of its API version, else any.
func (v *manifestValidator) nearestKind(k gvk) gvk {
	if v.hints -= len(v.schemas.kinds); v.hints < 0 {
		return gvk{}
	}
	var same, all []string
	for kind, known := range v.schemas.byKind {
		for _, other := range v.here(known) {
			all = append(all, kind)
			if other.apiVersion == k.apiVersion {
				same = append(same, kind)
			}
		}
	}
	slices.Sort(same)
	if near := nearest(k.kind, same, &v.hints); near != "" {
		return gvk{k.apiVersion, near}
	}
	slices.Sort(all)
	if near := nearest(k.kind, all, &v.hints); near != "" {
		return v.here(v.schemas.byKind[near])[0]
	}
	return gvk{}
}

// nearestVersion is the apiVersion that is most likely meant, of those that have the kind.
func (v *manifestValidator) nearestVersion(k gvk) string {
	var versions []string
	for _, other := range v.here(v.schemas.byKind[k.kind]) {
		versions = append(versions, other.apiVersion)
	}
	return nearest(k.apiVersion, versions, &v.hints)
}

// duplicate is a key that stands in one mapping again.
type duplicate struct {
	name     string
	merged   bool // one of the two comes by a merge (<<)
	location finding.Location
}

// duplicates returns the keys of an object that stand twice in one mapping, wherever that is, at their second place.
func (o object) duplicates(most int) []duplicate {
	if o.node == nil {
		return o.doc.repeated
	}
	var found []duplicate
	seen := map[*yaml.Node]bool{} // nodes that aliases stand for
	var visit func(n *yaml.Node)
	visit = func(n *yaml.Node) {
		if n.Kind == yaml.AliasNode {
			if n = n.Alias; seen[n] {
				return
			}
			seen[n] = true
		}
		if n.Kind == yaml.MappingNode {
			for _, key := range repeated(n) {
				name := resolve(key.node).Value
				found = append(found, duplicate{name, key.merged, finding.Location{
					File: o.doc.file, Line: o.doc.offset + key.node.Line, Column: key.node.Column, Field: shorten(name)}})
			}
		}
		for _, child := range n.Content {
			if len(child.Content) > 0 || child.Kind == yaml.AliasNode {
				visit(child)
			}
			if len(found) >= most {
				return
			}
		}
	}
	visit(o.node)
	return found[:min(len(found), most)]
}

type repeatedKey struct {
	node   *yaml.Node
	merged bool
}

// repeated returns the keys of a mapping that stand in it again, after the rule of the API server's strict YAML decoder: what is
// merged counts, too.
func repeated(n *yaml.Node) []repeatedKey {
	merges, odd := false, false
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		merges = merges || isMerge(key)
		odd = odd || key.Kind != yaml.ScalarNode || key.Tag != "!!str" || wasBoolean(key.Value)
	}
	if !merges && !odd && len(n.Content) <= 2*fewKeys {
		return repeatedOfFew(n)
	}
	var again []repeatedKey
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if !isMerge(key) {
			id := keyIdentity(resolve(key))
			if seen[id] {
				again = append(again, repeatedKey{key, merges})
			}
			seen[id] = true
			continue
		}
		for _, id := range mergedKeys(resolve(value), 0) {
			if seen[id] {
				again = append(again, repeatedKey{key, true})
			}
			seen[id] = true
		}
	}
	return again
}

// repeatedOfFew is repeated for the mappings that most are, without taking memory.
func repeatedOfFew(n *yaml.Node) []repeatedKey {
	var again []repeatedKey
	for i := 2; i+1 < len(n.Content); i += 2 {
		for j := 0; j < i; j += 2 {
			if n.Content[i].Value == n.Content[j].Value {
				again = append(again, repeatedKey{node: n.Content[i]})
				break
			}
		}
	}
	return again
}

// mergedKeys are those that a merge adds.
func mergedKeys(n *yaml.Node, depth int) []string {
	var keys []string
	if depth > maxMergeDepth {
		return nil
	}
	switch n.Kind {
	case yaml.SequenceNode:
		for _, child := range n.Content {
			keys = append(keys, mergedKeys(resolve(child), depth+1)...)
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if isMerge(n.Content[i]) {
				keys = append(keys, mergedKeys(resolve(n.Content[i+1]), depth+1)...)
				continue
			}
			keys = append(keys, keyIdentity(resolve(n.Content[i])))
		}
	default: // nothing to merge
	}
	return keys
}

// wasBoolean says whether a plain word was a boolean in YAML 1.1, and is none in YAML 1.2.
func wasBoolean(word string) bool {
	switch strings.ToLower(word) {
	case "y", "yes", "on", "n", "no", "off":
		return true
	}
	return false
}

// keyIdentity tells keys apart as YAML 1.1 does, where 010 and 8 are one key, and 8 and "8" are two.
func keyIdentity(key *yaml.Node) string {
	if key.Kind != yaml.ScalarNode || key.Style != 0 || key.Tag == "!!str" && !wasBoolean(key.Value) {
		return key.Value
	}
	value, err := kyaml.YAMLToJSON([]byte(key.Value))
	if err != nil || len(value) == 0 || value[0] == '"' {
		return key.Value
	}
	return "=" + string(value)
}

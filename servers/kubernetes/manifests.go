package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// object is one Kubernetes object of an input.
type object struct {
	doc              *document
	node             *yaml.Node
	apiVersion, kind string
	namespace, name  string
	raw              json.RawMessage
	bare             string          // the name as it is referred to: whole, and "" where there is none
	metadata         json.RawMessage // undecoded
}

// String names the object as findings do: Kind/namespace/name, or Kind/name where it states no namespace.
func (o object) String() string {
	parts := []string{o.kind}
	if o.namespace != "" {
		parts = append(parts, o.namespace)
	}
	return strings.Join(append(parts, o.name), "/")
}

// location is where the field at path stands, or the nearest one around it.
func (o object) location(path fieldPath) finding.Location {
	l := o.doc.location(o.node, path)
	l.Field = shorten(path.String())
	return l
}

// unknown is the finding that something about the object keeps it from being judged.
func (o object) unknown(rule ruleID, path fieldPath, message, reason, fix string) finding.Finding {
	return finding.Finding{
		Rule: string(rule), Title: rule.title(), Severity: rule.severity(), Verdict: finding.Unknown,
		Message: message, Reason: reason, Fix: fix, Object: o.String(), Location: o.location(path),
	}
}

// readObjects hands every object of an input to yield, with the objects in its lists one by one. What is no
// object comes as a finding instead.
func readObjects(file string, data []byte, values int, yield func(object), note func(finding.Finding)) []error {
	r := objectReader{yield: yield, note: note, left: maxObjects}
	errs := readDocuments(file, data, values, func(doc *document) bool {
		r.read(doc, doc.node, doc.json, "", "", 0)
		return !r.full
	})
	return append(errs, r.errs...)
}

type objectReader struct {
	yield func(object)
	note  func(finding.Finding)
	left  int
	full  bool
	errs  []error
}

func (r *objectReader) fail(doc *document, node *yaml.Node, format string, args ...any) {
	r.errs = append(r.errs, &inputError{file: doc.file, line: doc.location(node, nil).Line, text: fmt.Sprintf(format, args...)})
}

// read reads one object. An item of a typed list states neither apiVersion nor kind; they come from the list.
func (r *objectReader) read(doc *document, node *yaml.Node, raw json.RawMessage, apiVersion, kind string, lists int) {
	var fields map[string]json.RawMessage
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &fields); err != nil || fields == nil {
		r.note(noObject(doc, node, "the document is a list or a plain value"))
		return
	}
	o := object{doc: doc, node: node, raw: raw}
	if !text(fields["apiVersion"], &o.apiVersion) || !text(fields["kind"], &o.kind) {
		r.fail(doc, node, "apiVersion and kind must be strings")
		return
	}
	o.apiVersion, o.kind = cmp.Or(o.apiVersion, apiVersion), cmp.Or(o.kind, kind) // "" states nothing, too
	if o.apiVersion == "" || o.kind == "" {
		r.note(noObject(doc, node, "it has no apiVersion or no kind"))
		return
	}
	if !identifier(o.kind) || len(o.kind) > maxNameLength {
		r.fail(doc, node, "the kind is no identifier")
		return
	}
	o.setName(fields["metadata"])
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if field, ok := typeField(key); ok {
			r.note(o.unknown(ruleStrict, fieldPath{key}, fmt.Sprintf("unknown field %q", shorten(key)),
				fmt.Sprintf("the API server looks for %s without regard to case, and takes the last: it may see another kind than kubectl does", field), "remove it"))
		}
	}
	// kubectl takes what has items for a list, whatever its kind is, and sends the items alone (decodeToList of
	// apimachinery's unstructured scheme). What is no list by its kind may also be sent whole: both are judged.
	if items, ok := fields["items"]; ok && bytes.HasPrefix(items, []byte("[")) {
		r.list(o, items, lists)
		if strings.HasSuffix(o.kind, "List") {
			return
		}
	}
	if r.left == 0 {
		r.full = true
		r.fail(doc, node, "too large: more than %d objects; split the input", maxObjects)
		return
	}
	r.left--
	r.yield(o)
}

func (r *objectReader) list(list object, raw json.RawMessage, lists int) {
	list.reportDoubled(r.note, list.node)
	if lists == maxListDepth {
		r.fail(list.doc, list.node, "too large: lists nested more than %d levels deep", maxListDepth)
		return
	}
	var items []json.RawMessage
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &items); err != nil {
		r.fail(list.doc, list.node, "items cannot be read")
		return
	}
	// A list of its own kind (PodList) says what its items are; a List does not.
	apiVersion, kind := list.apiVersion, strings.TrimSuffix(list.kind, "List")
	if kind == "" {
		apiVersion = ""
	}
	for i, item := range items {
		if r.full {
			return
		}
		_, node, whole := list.doc.find(list.node, fieldPath{"items", i})
		if !whole {
			node = list.node
		}
		r.read(list.doc, node, item, apiVersion, kind, lists+1)
	}
}

// typeField says whether a key is kind or apiVersion but for its case. Of these two fields, and of no other, the API server
// does not heed it (SimpleMetaFactory.Interpret of apimachinery's JSON serializer).
func typeField(key string) (field string, ok bool) {
	for _, field := range []string{"apiVersion", "kind"} {
		if key != field && strings.EqualFold(key, field) {
			return field, true
		}
	}
	return "", false
}

func noObject(doc *document, node *yaml.Node, reason string) finding.Finding {
	return finding.Finding{
		Rule: string(ruleNoObject), Title: ruleNoObject.title(), Severity: ruleNoObject.severity(), Verdict: finding.Unknown,
		Message: "not a Kubernetes object", Reason: reason,
		Fix:      "leave the file out, or give the object its apiVersion and kind",
		Location: doc.location(node, nil),
	}
}

// text reads a JSON string into s, and leaves s alone where there is none.
func text(raw json.RawMessage, s *string) bool {
	return len(raw) == 0 || json.Unmarshal(raw, s) == nil
}

// setName takes the name out of the metadata. What is wrong there the typed decoding tells.
func (o *object) setName(raw json.RawMessage) {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(raw, &fields)
	var generate string
	o.metadata = raw
	text(fields["namespace"], &o.namespace)
	text(fields["name"], &o.name)
	o.bare = o.name
	text(fields["generateName"], &generate)
	switch {
	case o.name == "" && generate != "":
		o.name = generate + "*"
	case o.name == "":
		o.name = "(no name)"
	}
	o.name, o.namespace = shorten(o.name), shorten(o.namespace)
}

// shorten bounds a string of the input that is repeated in the output.
func shorten(s string) string {
	if len(s) <= maxNameLength {
		return s
	}
	return strings.ToValidUTF8(s[:maxNameLength], "") + "…"
}

// reportDoubled reports the keys that stand twice in one mapping of the object.
func (o object) reportDoubled(note func(finding.Finding), n *yaml.Node) {
	for i, key := range doubled(n) {
		if i == maxStrict {
			return
		}
		f := o.unknown(ruleStrict, nil, fmt.Sprintf("duplicate field %q", shorten(key.Value)),
			"a strict API server refuses the object, a lenient one keeps the last", "keep one of them")
		f.Location = finding.Location{File: o.doc.file, Line: o.doc.offset + key.Line, Column: key.Column, Field: shorten(key.Value)}
		note(f)
	}
}

// group returns the API group of an apiVersion; the core group is "".
func group(apiVersion string) string {
	if g, _, ok := strings.Cut(apiVersion, "/"); ok {
		return g
	}
	return ""
}

// stated returns the apiVersion for a message. What does not look like one may be the value of a broken Secret.
func stated(apiVersion string) string {
	g, version, ok := strings.Cut(apiVersion, "/")
	if !ok {
		g, version = "", g
	}
	number, ok := strings.CutPrefix(version, "v")
	for _, stage := range []string{"alpha", "beta"} {
		number = strings.Replace(number, stage, "", 1)
	}
	if !ok || number == "" || strings.Trim(number, "0123456789") != "" || strings.Trim(g, "abcdefghijklmnopqrstuvwxyz0123456789.-") != "" {
		return "an unknown version"
	}
	return shorten(apiVersion)
}

// builtin returns the apiVersion that serves a workload kind, and "" for every other kind.
func builtin(kind string) string {
	switch kind {
	case "Pod", "PodTemplate", "ReplicationController":
		return "v1"
	case "ReplicaSet", "Deployment", "StatefulSet", "DaemonSet":
		return "apps/v1"
	case "Job", "CronJob":
		return "batch/v1"
	default:
		return ""
	}
}

// servedIn returns the apiVersions that serve a kind which something is held to, the newest first.
func servedIn(kind string) []string {
	switch kind {
	case "Service", "ServiceAccount", "ConfigMap", "Secret", "Namespace", "PersistentVolume", "PersistentVolumeClaim", "LimitRange":
		return []string{"v1"}
	case "Ingress", "NetworkPolicy":
		return []string{"networking.k8s.io/v1"}
	case "HorizontalPodAutoscaler":
		return []string{"autoscaling/v2", "autoscaling/v1"}
	case "PodDisruptionBudget":
		return []string{"policy/v1"}
	case "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding":
		return []string{"rbac.authorization.k8s.io/v1"}
	case "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration":
		return []string{"admissionregistration.k8s.io/v1"}
	default:
		if home := builtin(kind); home != "" {
			return []string{home}
		}
		return nil
	}
}

// retired says whether an apiVersion is in a group that has, or once had, the kinds of servedIn. A kind of the same
// name in another group is another kind.
func retired(apiVersion string) bool {
	return slices.Contains([]string{
		"", "apps", "batch", "extensions", "networking.k8s.io", "autoscaling", "policy", "rbac.authorization.k8s.io", "admissionregistration.k8s.io",
	}, group(apiVersion))
}

// removedIn returns the Kubernetes release that stopped serving a kind in an apiVersion, after the deprecated API
// migration guide (kubernetes.io/docs/reference/using-api/deprecation-guide).
func removedIn(apiVersion, kind string) string {
	switch {
	case apiVersion == "extensions/v1beta1" && kind == "Ingress", apiVersion == "networking.k8s.io/v1beta1",
		apiVersion == "rbac.authorization.k8s.io/v1beta1", apiVersion == "admissionregistration.k8s.io/v1beta1":
		return "1.22"
	case apiVersion == "extensions/v1beta1", apiVersion == "apps/v1beta1", apiVersion == "apps/v1beta2":
		return "1.16"
	case apiVersion == "batch/v2alpha1":
		return "1.21"
	case apiVersion == "batch/v1beta1", apiVersion == "policy/v1beta1", apiVersion == "autoscaling/v2beta1":
		return "1.25"
	case apiVersion == "autoscaling/v2beta2":
		return "1.26"
	default:
		return ""
	}
}

// workload is the pod that an object makes, or is a template for.
type workload struct {
	object
	meta       *metav1.ObjectMeta
	spec       *corev1.PodSpec
	given      *corev1.PodSpec // before defaults; the same as spec where that makes no difference
	at         fieldPath       // of the pod in the object: none for a Pod, spec.template for a Deployment
	containers []container
}

// decode reads an object of a kind that something is held to as the API server does. Of a workload, fields that are
// unknown are reported, since a pod without them is another pod than was meant. One without a pod template has no pod.
func (m *manifest) decode(note func(finding.Finding)) error {
	switch m.kind {
	case "Pod":
		return decodePod(m, note, func(p *corev1.Pod) *workload { return &workload{meta: &p.ObjectMeta, spec: &p.Spec} })
	case "PodTemplate":
		return decodePod(m, note, func(t *corev1.PodTemplate) *workload { return ofTemplate(&t.Template, "template") })
	case "ReplicationController":
		return decodePod(m, note, func(c *corev1.ReplicationController) *workload {
			return ofTemplate(c.Spec.Template, "spec", "template")
		})
	case "ReplicaSet":
		return decodePod(m, note, func(s *appsv1.ReplicaSet) *workload { return ofTemplate(&s.Spec.Template, "spec", "template") })
	case "Deployment":
		return decodePod(m, note, func(d *appsv1.Deployment) *workload { return ofTemplate(&d.Spec.Template, "spec", "template") })
	case "StatefulSet":
		return decodePod(m, note, func(s *appsv1.StatefulSet) *workload { return ofTemplate(&s.Spec.Template, "spec", "template") })
	case "DaemonSet":
		return decodePod(m, note, func(d *appsv1.DaemonSet) *workload { return ofTemplate(&d.Spec.Template, "spec", "template") })
	case "Job":
		return decodePod(m, note, func(j *batchv1.Job) *workload { return ofTemplate(&j.Spec.Template, "spec", "template") })
	case "CronJob":
		return decodePod(m, note, func(c *batchv1.CronJob) *workload {
			return ofTemplate(&c.Spec.JobTemplate.Spec.Template, "spec", "jobTemplate", "spec", "template")
		})
	case "Service":
		return decodeAs(m, new(corev1.Service))
	case "ServiceAccount":
		return decodeAs(m, new(corev1.ServiceAccount))
	case "ConfigMap":
		return decodeAs(m, new(corev1.ConfigMap))
	case "Secret":
		return decodeAs(m, new(secret))
	case "Namespace":
		return decodeAs(m, new(corev1.Namespace))
	case "PersistentVolume":
		return decodeAs(m, new(corev1.PersistentVolume))
	case "PersistentVolumeClaim":
		return decodeAs(m, new(corev1.PersistentVolumeClaim))
	case "LimitRange":
		return decodeAs(m, new(corev1.LimitRange))
	case "Ingress":
		return decodeAs(m, new(networkingv1.Ingress))
	case "NetworkPolicy":
		return decodeAs(m, new(networkingv1.NetworkPolicy))
	case "HorizontalPodAutoscaler":
		if m.apiVersion == "autoscaling/v1" {
			return decodeAs(m, new(autoscalingv1.HorizontalPodAutoscaler))
		}
		return decodeAs(m, new(autoscalingv2.HorizontalPodAutoscaler))
	case "PodDisruptionBudget":
		return decodeAs(m, new(policyv1.PodDisruptionBudget))
	case "Role":
		return decodeAs(m, new(rbacv1.Role))
	case "ClusterRole":
		return decodeAs(m, new(rbacv1.ClusterRole))
	case "RoleBinding":
		return decodeAs(m, new(rbacv1.RoleBinding))
	case "ClusterRoleBinding":
		return decodeAs(m, new(rbacv1.ClusterRoleBinding))
	case "ValidatingWebhookConfiguration":
		return decodeAs(m, new(admissionv1.ValidatingWebhookConfiguration))
	case "MutatingWebhookConfiguration":
		return decodeAs(m, new(admissionv1.MutatingWebhookConfiguration))
	default:
		return fmt.Errorf("%s is no kind that anything is held to", m.kind)
	}
}

// secret is a Secret without what it holds: its data stay the bytes that they were, and nobody looks at them.
type secret struct {
	metav1.ObjectMeta `json:"metadata"`

	Type       corev1.SecretType          `json:"type"`
	Data       map[string]json.RawMessage `json:"data"`
	StringData map[string]json.RawMessage `json:"stringData"`
}

func ofTemplate(t *corev1.PodTemplateSpec, at ...any) *workload {
	if t == nil {
		return nil
	}
	return &workload{meta: &t.ObjectMeta, spec: &t.Spec, at: at}
}

func decodeAs[T any](m *manifest, typed *T) error {
	if err := kjson.UnmarshalCaseSensitivePreserveInts(m.raw, typed); err != nil {
		return m.explainType(err)
	}
	m.typed = typed
	return nil
}

func decodePod[T any](m *manifest, note func(finding.Finding), pod func(*T) *workload) error {
	var typed T
	strict, err := kjson.UnmarshalStrict(m.raw, &typed)
	if err != nil {
		return m.explainType(err)
	}
	if len(strict) > maxStrict {
		strict = strict[:maxStrict]
	}
	for _, problem := range strict {
		field, ok := problem.(kjson.FieldError) //nolint:errorlint // the library's contract: each is a FieldError
		if !ok {
			continue
		}
		note(m.unknown(ruleStrict, parsePath(field.FieldPath()), fmt.Sprintf("unknown field %q", shorten(field.FieldPath())),
			"a strict API server refuses the object, a lenient one drops the field", "correct the field's name or place, or remove it"))
	}
	m.reportDoubledBelow(note)
	m.typed, m.pod = &typed, pod(&typed)
	if m.pod != nil {
		m.pod.object, m.pod.given = m.object, m.pod.spec
		m.pod.listContainers()
	}
	return nil
}

// reportDoubledBelow reports the doubled keys below the object's own, which are reported already.
func (o object) reportDoubledBelow(note func(finding.Finding)) {
	if o.node == nil {
		return
	}
	left := maxStrict
	seen := map[*yaml.Node]bool{o.node: true}
	var visit func(*yaml.Node)
	visit = func(n *yaml.Node) {
		n = resolve(n)
		if left == 0 || seen[n] {
			return
		}
		seen[n] = true
		if len(doubled(n)) > 0 {
			left--
			o.reportDoubled(note, n)
		}
		for _, child := range n.Content {
			visit(child)
		}
	}
	for _, child := range o.node.Content {
		visit(child)
	}
}

// explainType says which field has a value of the wrong type, without the value.
func (o object) explainType(err error) error {
	problem := &inputError{file: o.doc.file, line: o.location(nil).Line, object: o.String()}
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong):
		path := pathAt(o.raw, wrong.Offset)
		problem.line = o.location(path).Line
		got, _, _ := strings.Cut(wrong.Value, " ") // "number 1.5" is the value, too
		problem.text = fmt.Sprintf("%s: got %s, want %s", path, got, typeName(wrong.Type.String()))
	case errors.Is(err, resource.ErrFormatWrong), errors.Is(err, resource.ErrNumeric), errors.Is(err, resource.ErrSuffix):
		problem.text = "a resource quantity is malformed (want such as 500m or 128Mi)"
	default:
		problem.text = "a value does not have the type of its field"
	}
	return problem
}

// typeName turns a Go type into what a manifest has there.
func typeName(t string) string {
	t = strings.TrimLeft(t, "*")
	switch {
	case strings.HasPrefix(t, "[]"):
		return "a list"
	case strings.HasPrefix(t, "map["):
		return "a mapping"
	case t == "bool":
		return "true or false"
	case strings.HasPrefix(t, "int"), strings.HasPrefix(t, "uint"):
		return "an integer"
	case t == "string":
		return "a string (quote it)"
	case strings.Contains(t, "."):
		return t[strings.LastIndex(t, ".")+1:]
	default:
		return t
	}
}

// pathAt returns the path of the value that ends at, or holds, a byte offset of raw.
func pathAt(raw json.RawMessage, offset int64) fieldPath {
	dec := json.NewDecoder(bytes.NewReader(raw))
	var path fieldPath
	type level struct {
		list bool
		key  bool // the next token is a key
	}
	var levels []level
	for {
		token, err := dec.Token()
		if err != nil {
			return path
		}
		top := len(levels) - 1
		if delim, ok := token.(json.Delim); ok && (delim == ']' || delim == '}') {
			levels = levels[:top]
			path = path[:len(path)-1]
			if dec.InputOffset() >= offset {
				return path
			}
			continue
		}
		if top >= 0 {
			switch l := &levels[top]; {
			case l.list:
				i, _ := path[len(path)-1].(int)
				path[len(path)-1] = i + 1
			case l.key:
				path[len(path)-1] = token
				l.key = false
				continue
			default:
				l.key = true
			}
		}
		if dec.InputOffset() >= offset {
			return path
		}
		if delim, ok := token.(json.Delim); ok {
			levels = append(levels, level{list: delim == '[', key: delim == '{'})
			if delim == '[' {
				path = append(path, -1)
			} else {
				path = append(path, "")
			}
		}
	}
}

// podLike returns the path of what looks like the spec of a pod in an object of any kind.
func podLike(raw json.RawMessage) (fieldPath, bool) {
	var content any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &content); err != nil {
		return nil, false
	}
	return findPod(content, nil)
}

func findPod(v any, path fieldPath) (fieldPath, bool) {
	switch v := v.(type) {
	case map[string]any:
		if containers, ok := v["containers"].([]any); ok {
			for _, c := range containers {
				if c, ok := c.(map[string]any); ok && (c["image"] != nil || c["name"] != nil) {
					return path, true
				}
			}
		}
		keys := make([]string, 0, len(v))
		for key := range v {
			keys = append(keys, key)
		}
		sort.Strings(keys)
		for _, key := range keys {
			if found, ok := findPod(v[key], path.below(key)); ok {
				return found, true
			}
		}
	case []any:
		for i, item := range v {
			if found, ok := findPod(item, path.below(i)); ok {
				return found, true
			}
		}
	}
	return nil, false
}

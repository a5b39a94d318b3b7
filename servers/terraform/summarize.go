package main

import (
	"cmp"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/json"
	"github.com/hashicorp/terraform-config-inspect/tfconfig"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// pin says how firmly a version is chosen.
type pin string

const (
	pinExact pin = "exact" // one version, or one commit
	pinMoves pin = "moves" // a branch or a tag, which its owner may move
	pinRange pin = "range" // bounded above: ~> 5.0, or >= 4, < 6
	pinOpen  pin = "open"  // not bounded above, such as >= 4
	pinNone  pin = "none"  // whatever is newest
	pinLocal pin = "local" // a module in the same tree
)

// summary is what terraform-config-inspect sees of a module, and what it does not: validations and the backend.
type summary struct {
	module     *tfconfig.Module
	validated  map[string]bool // variables with a validation block
	backend    string
	backendPos string
}

// summarize reads one module. The library is given what is parsed here: its own loader falls back to a parser of
// the language before 2019, which has no bounds.
func (l *loader) summarize(dir string) (*summary, error) {
	names, err := l.files.folder(dir)
	if err != nil {
		return nil, err
	}
	s := &summary{module: tfconfig.NewModule(dir), validated: map[string]bool{}}
	for _, name := range names {
		if !isSource(name) {
			continue
		}
		full := path.Join(dir, name)
		data, err := l.files.read(full)
		if err != nil {
			l.problems.add(&configError{text: err.Error()})
			continue
		}
		body, problems := parseFile(full, data)
		for _, e := range problems {
			l.problems.add(e)
		}
		if body == nil {
			continue
		}
		s.look(body)
		file, diags := hclsyntax.ParseConfig(data, full, hcl.InitialPos)
		if strings.HasSuffix(name, ".json") {
			file, diags = json.Parse(data, full)
		}
		if diags.HasErrors() {
			continue // said already
		}
		for _, e := range diagnosed(tfconfig.LoadModuleFromFile(file, s.module)) {
			l.problems.add(e)
		}
	}
	return s, nil
}

// look takes what the library leaves out.
func (s *summary) look(body *hclsyntax.Body) {
	for _, b := range body.Blocks {
		switch {
		case b.Type == "variable" && len(b.Labels) == 1:
			for _, inner := range b.Body.Blocks {
				if inner.Type == "validation" {
					s.validated[b.Labels[0]] = true
				}
			}
			if b.Body.Attributes["validation"] != nil { // in JSON
				s.validated[b.Labels[0]] = true
			}
		case b.Type == "terraform":
			for _, inner := range b.Body.Blocks {
				if inner.Type == "backend" && len(inner.Labels) == 1 {
					s.backend, s.backendPos = clip(inner.Labels[0]), place(inner.TypeRange).String()
				}
				if inner.Type == "cloud" {
					s.backend, s.backendPos = "cloud", place(inner.TypeRange).String()
				}
			}
			if b.Body.Attributes["cloud"] != nil {
				s.backend = "cloud"
			}
		}
	}
}

// versionPin says how firmly a version constraint chooses.
func versionPin(constraints ...string) pin {
	text := strings.Join(slices.DeleteFunc(slices.Clone(constraints), func(c string) bool { return strings.TrimSpace(c) == "" }), ",")
	if text == "" {
		return pinNone
	}
	parsed, err := version.NewConstraint(text)
	if err != nil {
		return pinOpen
	}
	out := pinOpen
	for _, c := range parsed {
		written := strings.TrimSpace(c.String())
		switch {
		case !strings.ContainsAny(written, "<>~!"):
			return pinExact
		case strings.HasPrefix(written, "<"), strings.HasPrefix(written, "~>"):
			out = pinRange
		}
	}
	return out
}

// sourcePin says how firmly a module's source chooses.
func sourcePin(source, constraint string) pin {
	switch {
	case strings.HasPrefix(source, "./"), strings.HasPrefix(source, "../"):
		return pinLocal
	case registrySource().MatchString(source):
		return versionPin(constraint)
	}
	_, query, _ := strings.Cut(source, "?")
	for part := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(part, "=")
		switch {
		case name == "ref" && commitID().MatchString(value), name == "checksum" && value != "":
			return pinExact
		case name == "ref" && value != "":
			return pinMoves
		}
	}
	return pinNone
}

// registrySource matches [HOST/]NAMESPACE/NAME/PROVIDER, the form of a module in a registry.
func registrySource() *regexp.Regexp {
	return regexp.MustCompile(`^([A-Za-z0-9.-]+\.[A-Za-z0-9-]+(:[0-9]+)?/)?[0-9A-Za-z][0-9A-Za-z_-]*/[0-9A-Za-z][0-9A-Za-z_-]*/[0-9a-z]+(//.*)?$`)
}

// commitID matches a whole commit of git, by SHA-1 or SHA-256.
func commitID() *regexp.Regexp { return regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`) }

// summarizeModuleOut is the answer; see tools.go.
type summarizeModuleOut struct {
	RequiredVersion []string          `json:"required_version"` // constraints on Terraform itself
	Providers       []providerSummary `json:"providers"`
	Modules         []moduleSummary   `json:"modules"`
	Variables       []variableSummary `json:"variables"`
	Outputs         []outputSummary   `json:"outputs"`
	Backend         string            `json:"backend,omitempty"` // where the state is kept; absent is a file on whoever's machine runs it
	Resources       []typeCount       `json:"resources"`         // declared resources by type
	DataSources     []typeCount       `json:"data_sources"`
	Remarks         []string          `json:"remarks"`             // what a reviewer would ask for
	Problems        []string          `json:"problems,omitempty"`  // what could not be read
	Truncated       bool              `json:"truncated,omitempty"` // a list was cut
}

type providerSummary struct {
	Name        string   `json:"name"`
	Source      string   `json:"source,omitempty"`
	Constraints []string `json:"constraints"`
	Pinned      pin      `json:"pinned" enum:"exact,range,open,none"`
}

type moduleSummary struct {
	Name     string `json:"name"`
	Source   string `json:"source"`
	Version  string `json:"version,omitempty"`
	Pinned   pin    `json:"pinned" enum:"exact,moves,range,open,none,local"` // moves is a branch or tag, none whatever is newest
	Location string `json:"location"`
}

type variableSummary struct {
	Name        string `json:"name"`
	Type        string `json:"type,omitempty"`
	Description string `json:"description,omitempty"`
	Required    bool   `json:"required"`
	Sensitive   bool   `json:"sensitive"`
	Validated   bool   `json:"validated"`
	Location    string `json:"location"`
}

type outputSummary struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Sensitive   bool   `json:"sensitive"`
	Location    string `json:"location"`
}

type typeCount struct {
	Type  string `json:"type"`
	Count int    `json:"count"`
}

// answer makes the tool's answer of it.
func (s *summary) answer() summarizeModuleOut {
	m := s.module
	out := summarizeModuleOut{
		RequiredVersion: append([]string{}, m.RequiredCore...), Providers: []providerSummary{}, Modules: []moduleSummary{},
		Variables: []variableSummary{}, Outputs: []outputSummary{}, Backend: s.backend,
		Resources: countTypes(m.ManagedResources), DataSources: countTypes(m.DataResources), Remarks: []string{},
	}
	remark := func(text string) { out.Remarks = append(out.Remarks, text) }
	if versionPin(m.RequiredCore...) == pinNone {
		remark("required_version is not set: any release of Terraform may run it")
	}
	for _, name := range sortedKeys(m.RequiredProviders) {
		p := m.RequiredProviders[name]
		made := providerSummary{Name: clip(name), Source: clip(p.Source), Constraints: []string{}, Pinned: versionPin(p.VersionConstraints...)}
		for _, c := range p.VersionConstraints {
			made.Constraints = append(made.Constraints, clip(c))
		}
		if made.Pinned == pinNone || made.Pinned == pinOpen {
			remark("provider " + made.Name + " may be of any newer version")
		}
		out.Providers = append(out.Providers, made)
	}
	for _, name := range sortedKeys(m.ModuleCalls) {
		c := m.ModuleCalls[name]
		made := moduleSummary{Name: clip(name), Source: clip(c.Source), Version: clip(c.Version), Pinned: sourcePin(c.Source, c.Version), Location: position(c.Pos)}
		if slices.Contains([]pin{pinMoves, pinOpen, pinNone}, made.Pinned) {
			remark("module " + made.Name + " is not pinned to a version or commit")
		}
		out.Modules = append(out.Modules, made)
	}
	for _, name := range sortedKeys(m.Variables) {
		v := m.Variables[name]
		made := variableSummary{
			Name: clip(name), Type: clip(v.Type), Description: clip(v.Description), Required: v.Required, Sensitive: v.Sensitive,
			Validated: s.validated[name], Location: position(v.Pos),
		}
		if lacks := lacking3(made); lacks != "" {
			remark("variable " + made.Name + " has no " + lacks)
		}
		out.Variables = append(out.Variables, made)
	}
	for _, name := range sortedKeys(m.Outputs) {
		o := m.Outputs[name]
		out.Outputs = append(out.Outputs, outputSummary{Name: clip(name), Description: clip(o.Description), Sensitive: o.Sensitive, Location: position(o.Pos)})
	}
	if s.backend == "" && len(m.ProviderConfigs) > 0 {
		remark("no backend: the state is a file on whoever's machine runs it")
	}
	out.cut()
	return out
}

// lacking3 says which of type, description and validation a variable has not.
func lacking3(v variableSummary) string {
	var lacks []string
	if v.Type == "" {
		lacks = append(lacks, "type")
	}
	if v.Description == "" {
		lacks = append(lacks, "description")
	}
	if !v.Validated {
		lacks = append(lacks, "validation")
	}
	return strings.Join(lacks, ", no ")
}

func (out *summarizeModuleOut) cut() {
	out.Truncated = cutTo(&out.Providers) || cutTo(&out.Modules)
	for _, cut := range []bool{cutTo(&out.Variables), cutTo(&out.Outputs), cutTo(&out.Resources), cutTo(&out.DataSources), cutTo(&out.Remarks), cutTo(&out.RequiredVersion)} {
		out.Truncated = out.Truncated || cut
	}
}

func cutTo[T any](list *[]T) bool {
	if len(*list) <= maxListed {
		return false
	}
	*list = slices.Clone((*list)[:maxListed])
	return true
}

func countTypes(resources map[string]*tfconfig.Resource) []typeCount {
	counts := map[string]int{}
	for _, r := range resources {
		counts[clip(r.Type)]++
	}
	out := []typeCount{}
	for _, t := range sortedKeys(counts) {
		out = append(out, typeCount{t, counts[t]})
	}
	slices.SortStableFunc(out, func(a, b typeCount) int { return cmp.Compare(b.Count, a.Count) })
	return out
}

func position(p tfconfig.SourcePos) string {
	return finding.Location{File: p.Filename, Line: p.Line}.String()
}

package finding

import (
	"net/url"
	"path/filepath"
	"strings"
)

// The parts of SARIF 2.1.0 (OASIS Standard, 27 March 2020) that are written here, with its names and in its order.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Invocations []sarifInvocation `json:"invocations"`
		ColumnKind  string            `json:"columnKind"`
		Results     []sarifResult     `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version,omitempty"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID                   string          `json:"id"`
		ShortDescription     *sarifText      `json:"shortDescription,omitempty"`
		Help                 *sarifText      `json:"help,omitempty"`
		HelpURI              string          `json:"helpUri,omitempty"`
		DefaultConfiguration *sarifConfig    `json:"defaultConfiguration,omitempty"`
		Properties           *sarifRuleProps `json:"properties,omitempty"`
	}
	sarifConfig struct {
		Level string `json:"level"`
	}
	sarifRuleProps struct {
		Severity Severity `json:"severity"`
		Score    string   `json:"security-severity,omitempty"` // GitHub's, on CVSS's scale
		Tags     []string `json:"tags"`
	}
	sarifInvocation struct {
		ExecutionSuccessful bool                `json:"executionSuccessful"`
		Notifications       []sarifNotification `json:"toolExecutionNotifications,omitempty"`
	}
	sarifNotification struct {
		Level   string    `json:"level"`
		Message sarifText `json:"message"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID     string          `json:"ruleId"`
		RuleIndex  int             `json:"ruleIndex"`
		Kind       string          `json:"kind"`
		Level      string          `json:"level"`
		Message    sarifText       `json:"message"`
		Locations  []sarifLocation `json:"locations,omitempty"`
		Properties *sarifProps     `json:"properties,omitempty"`

		Suppressions []sarifSuppression `json:"suppressions,omitempty"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Justification string `json:"justification"`
	}
	sarifLocation struct {
		Physical *sarifPhysical `json:"physicalLocation,omitempty"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
	}
	sarifLogical struct {
		Name               string `json:"name,omitempty"`
		FullyQualifiedName string `json:"fullyQualifiedName"`
		Kind               string `json:"kind"`
	}
	sarifProps struct {
		Severity Severity `json:"severity,omitempty"`
		Fix      string   `json:"fix,omitempty"`
		Chain    []string `json:"chain,omitempty"`
	}
)

// sarifLevel maps severities to SARIF's four levels (section 3.27.10).
func sarifLevel(s Severity) string {
	switch s {
	case Low:
		return "note"
	case Medium:
		return "warning"
	default:
		return "error"
	}
}

// score is the middle of the severity's range in CVSS (3.1, section 5), as code scanning sorts by.
func score(s Severity) string {
	switch s {
	case Low:
		return "2.0"
	case Medium:
		return "5.5"
	case High:
		return "8.0"
	case Critical:
		return "9.5"
	default:
		return ""
	}
}

// sarifKind maps verdicts to result kinds (section 3.27.9): "open" is what could not be decided.
func sarifKind(v Verdict) string {
	switch v {
	case Pass:
		return "pass"
	case Unknown:
		return "open"
	default:
		return "fail"
	}
}

func (c Checker) sarif(r report) ([]byte, error) {
	driver := sarifDriver{Name: c.Tool, Version: c.Version, Rules: []sarifRule{}}
	index := map[string]int{}
	for _, rule := range c.Rules {
		index[rule.ID] = len(driver.Rules)
		driver.Rules = append(driver.Rules, sarifRuleOf(rule))
	}
	run := sarifRun{
		Invocations: []sarifInvocation{{ExecutionSuccessful: len(r.errs) == 0}},
		ColumnKind:  "unicodeCodePoints",
		Results:     []sarifResult{},
	}
	for _, f := range r.Findings {
		i, ok := index[f.Rule]
		if !ok {
			// A result must point at a rule that exists.
			i = len(driver.Rules)
			index[f.Rule] = i
			driver.Rules = append(driver.Rules, sarifRule{ID: f.Rule})
		}
		run.Results = append(run.Results, sarifResultOf(f, i))
	}
	for _, err := range r.errs {
		notes := &run.Invocations[0].Notifications
		*notes = append(*notes, sarifNotification{Level: "error", Message: sarifText{err.Error()}})
	}
	run.Tool.Driver = driver
	return indent(sarifLog{
		Schema:  "https://json.schemastore.org/sarif-2.1.0.json",
		Version: "2.1.0",
		Runs:    []sarifRun{run},
	})
}

func sarifRuleOf(r Rule) sarifRule {
	rule := sarifRule{
		ID:                   r.ID,
		HelpURI:              r.URL,
		DefaultConfiguration: &sarifConfig{Level: sarifLevel(r.Severity)},
		Properties:           &sarifRuleProps{Severity: r.Severity, Score: score(r.Severity), Tags: []string{"security"}},
	}
	if r.Title != "" {
		rule.ShortDescription = &sarifText{r.Title}
	}
	if r.Help != "" {
		rule.Help = &sarifText{r.Help}
	}
	return rule
}

func sarifResultOf(f Finding, rule int) sarifResult {
	result := sarifResult{
		RuleID:    f.Rule,
		RuleIndex: rule,
		Kind:      sarifKind(f.Verdict),
		Level:     "none", // as section 3.27.10 wants it of every kind but fail
		Message:   sarifText{f.text()},
	}
	if result.Kind == "fail" {
		result.Level = sarifLevel(f.Severity)
	}
	if f.suppressed() {
		result.Kind, result.Level = sarifKind(Fail), sarifLevel(f.Severity)
		result.Message.Text = f.Message
		result.Suppressions = []sarifSuppression{{Kind: "inSource", Justification: f.Reason}}
	}
	if f.Fix != "" {
		result.Message.Text += ". Fix: " + f.Fix
	}
	if f.Severity != "" || f.Fix != "" || len(f.Chain) > 0 {
		result.Properties = &sarifProps{Severity: f.Severity, Fix: f.Fix, Chain: f.Chain}
	}
	var location sarifLocation
	if f.Location.File != "" {
		location.Physical = &sarifPhysical{Artifact: sarifArtifact{fileURI(f.Location.File)}}
		if f.Location.Line > 0 {
			location.Physical.Region = &sarifRegion{StartLine: f.Location.Line, StartColumn: max(f.Location.Column, 0)}
		}
	}
	if f.Object != "" {
		location.Logical = append(location.Logical, sarifLogical{FullyQualifiedName: f.Object, Kind: "object"})
		if f.Location.Field != "" {
			location.Logical = append(location.Logical, sarifLogical{
				Name: f.Location.Field, FullyQualifiedName: f.Object + "/" + f.Location.Field, Kind: "member",
			})
		}
	}
	if location.Physical != nil || location.Logical != nil {
		result.Locations = []sarifLocation{location}
	}
	return result
}

// fileURI turns a path into a URI reference (RFC 3986, section 4.1): file: for an absolute path, else
// relative, so that a report from a repository's root means the same on another machine.
func fileURI(path string) string {
	path = strings.ToValidUTF8(filepath.ToSlash(path), "\ufffd")
	if strings.HasPrefix(path, "/") {
		return (&url.URL{Scheme: "file", Path: path}).String()
	}
	return (&url.URL{Path: path}).String()
}

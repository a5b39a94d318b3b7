package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/strictyaml"
)

// config is the file of --sources.
type config struct {
	Version int            `yaml:"version"`
	Sources []sourceConfig `yaml:"sources"`
}

// configVersion is the version of the file's form.
const configVersion = 1

// sourceConfig is one source: a folder or pods.
type sourceConfig struct {
	Name  located `yaml:"name"`
	About string  `yaml:"about"` // a sentence that list_sources repeats

	Folder   string   `yaml:"folder"`   // absolute; nothing outside of it is read, by links neither
	Files    []string `yaml:"files"`    // patterns of path.Match, of the name or of the path below the folder; rotations go with their file
	Format   string   `yaml:"format"`   // auto, plain, json-file or cri
	Timezone string   `yaml:"timezone"` // of times that name none; UTC

	Pods *podsConfig `yaml:"pods"`

	NoJoin bool `yaml:"no_join"` // leave the lines of stack traces apart

	zone *time.Location
}

// podsConfig says whose logs an API server is asked for.
type podsConfig struct {
	Server      string   `yaml:"server"`      // https://HOST[:PORT]
	Credentials string   `yaml:"credentials"` // a folder with the file "token"; it is read again when it changes
	Namespaces  []string `yaml:"namespaces"`
	Labels      string   `yaml:"labels"` // a label selector; without one, all pods

	selector labels.Selector
}

// located is a text that remembers its line.
type located struct {
	value string
	line  int
}

func (l *located) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return fmt.Errorf("line %d: a single value is needed here", n.Line)
	}
	*l = located{n.Value, n.Line}
	return nil
}

// sourceName is what a source may be called: it needs no quoting anywhere.
var sourceName = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$`)

// readConfig reads and checks the file at name; without one there are no sources.
func readConfig(name string) (config, error) {
	if name == "" {
		return config{}, nil
	}
	file, err := os.Open(name) //nolint:gosec // the operator names the file on the command line
	if err != nil {
		return config{}, err
	}
	defer func() { _ = file.Close() }()
	var c config
	if err := strictyaml.Decode(name, file, maxConfig, &c); err != nil {
		return config{}, err
	}
	var errs []error
	if c.Version != configVersion {
		errs = append(errs, fmt.Errorf("%s: version is %d; this program reads version: %d", name, c.Version, configVersion))
	}
	if len(c.Sources) > maxSources {
		errs = append(errs, fmt.Errorf("%s: more than %d sources", name, maxSources))
	}
	seen := map[string]bool{}
	for i := range c.Sources {
		s := &c.Sources[i]
		where := name + ":" + strconv.Itoa(s.Name.line)
		if s.Name.line == 0 {
			where = fmt.Sprintf("%s: entry %d", name, i+1)
		}
		for _, err := range s.check(seen) {
			errs = append(errs, fmt.Errorf("%s: %w", where, err))
		}
	}
	return c, errors.Join(errs...)
}

// check says all that is wrong with the entry, and notes its name.
func (s *sourceConfig) check(seen map[string]bool) (errs []error) {
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !sourceName.MatchString(s.Name.value) {
		fail("name %q: lower-case letters, digits, dots, dashes and underscores, at most 63", s.Name.value)
	}
	if seen[s.Name.value] {
		fail("source %s is listed twice", s.Name.value)
	}
	seen[s.Name.value] = true
	if (s.Folder == "") == (s.Pods == nil) {
		fail("source %s: it needs one of folder and pods", s.Name.value)
		return errs
	}
	var err error
	if s.zone, err = time.LoadLocation(s.Timezone); err != nil {
		fail("timezone %q: %w; write a name of the IANA time zone database, such as Europe/Berlin", s.Timezone, err)
	}
	if s.Pods != nil {
		if len(s.Files) > 0 || s.Format != "" || s.Timezone != "" {
			fail("source %s: files, format and timezone go with folder", s.Name.value)
		}
		return append(errs, s.Pods.check()...)
	}
	if !filepath.IsAbs(s.Folder) || filepath.Clean(s.Folder) == "/" {
		fail("folder %q: write an absolute path, and not the root", s.Folder)
	}
	if s.Format == "" {
		s.Format = formatAuto
	}
	if !slices.Contains(formatNames(), s.Format) {
		fail("format %q: one of %v", s.Format, formatNames())
	}
	if len(s.Files) == 0 {
		s.Files = []string{"*.log"}
	}
	if len(s.Files) > maxPatterns {
		fail("more than %d patterns in files", maxPatterns)
	}
	for _, pattern := range s.Files {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			fail("files: %q is no pattern", pattern)
		}
	}
	return errs
}

func (p *podsConfig) check() (errs []error) {
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	u, err := url.Parse(p.Server)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" {
		fail("server %q: write https://HOST or https://HOST:PORT", p.Server)
	}
	if p.Credentials == "" {
		fail("credentials: name the folder with the token")
	}
	if len(p.Namespaces) == 0 || len(p.Namespaces) > maxNamespaces {
		fail("namespaces: name at least one and at most %d", maxNamespaces)
	}
	for _, namespace := range p.Namespaces {
		if len(validation.IsDNS1123Label(namespace)) > 0 {
			fail("namespaces: %q is no name of a namespace", namespace)
		}
	}
	if p.selector, err = labels.Parse(p.Labels); err != nil {
		fail("labels: %w", err)
	}
	return errs
}

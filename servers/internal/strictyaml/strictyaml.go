// Package strictyaml decodes the operator's configuration files and refuses what it does not know:
// an unknown or doubled key, a second document and trailing garbage are errors that name file and line.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
)

// Decode reads the one YAML document in r, at most maxBytes long, into v. name stands for the file in
// errors, which read "name:line: what is wrong", one problem a line.
func Decode(name string, r io.Reader, maxBytes int64, v any) error {
	data, err := limit.ReadAll(r, maxBytes)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	switch err := dec.Decode(v); {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%s: the file is empty", name)
	case err != nil:
		return located(name, err)
	}
	var second yaml.Node
	switch err := dec.Decode(&second); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return located(name, err)
	default:
		return fmt.Errorf("%s:%d: a second document; the file must hold exactly one", name, second.Line)
	}
}

// located turns the library's "line 3: …" into the "name:3: …" that editors and people look for.
func located(name string, err error) error {
	var typeErr *yaml.TypeError
	if !errors.As(err, &typeErr) {
		return errors.New(locatedLine(name, strings.TrimPrefix(err.Error(), "yaml: ")))
	}
	all := make([]error, len(typeErr.Errors))
	for i, e := range typeErr.Errors {
		all[i] = errors.New(locatedLine(name, e))
	}
	return errors.Join(all...)
}

func locatedLine(name, text string) string {
	where := name + ": "
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		line, what, _ := strings.Cut(rest, ": ")
		where, text = name+":"+line+": ", what
	}
	// The library names our Go types, which say nothing to the reader of a configuration file.
	if key, _, ok := strings.Cut(text, " not found in type "); ok {
		text = "unknown key " + strings.TrimPrefix(key, "field ")
	}
	return where + text
}

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"reflect"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/tmccombs/hcl2json/convert"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// policyForm returns a file in the form in which conftest hands it to policies: JSON (a plan, or JSON syntax) as it
// is, and HCL with each block of a kind in an array (resource.TYPE.NAME[0]) and expressions as their source
// ("${var.x}"). Numbers are float64.
func policyForm(name string, data []byte, values int) (any, error) {
	if at := firstInvalid(data); at >= 0 {
		return nil, &configError{
			place: finding.Location{File: name, Line: 1 + bytes.Count(data[:at], []byte("\n"))},
			text:  "not UTF-8: save the file as UTF-8",
		}
	}
	if !isJSON(name, data) {
		var err error
		if data, err = hclForm(name, data); err != nil {
			return nil, err
		}
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if e := tooDeepJSON(name, data); e != nil {
		return nil, e
	}
	if n := valuesOfJSON(data); n > values {
		return nil, &configError{place: finding.Location{File: name}, text: fmt.Sprintf("too large: more than %d values", values)}
	}
	var content any
	if err := json.Unmarshal(data, &content); err != nil {
		e := &configError{place: finding.Location{File: name}, text: "not valid JSON: " + err.Error()}
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			e.place.Line = 1 + bytes.Count(data[:syntax.Offset], []byte("\n"))
		}
		return nil, e
	}
	if e := checkNames(data, typeOfDocument(content)); e != nil {
		return nil, &configError{
			place: finding.Location{File: name, Line: 1 + bytes.Count(data[:e.offset], []byte("\n"))},
			text:  e.text + ": policies would see one thing, and others another",
		}
	}
	hideSensitive(content)
	return content, nil
}

// typeOfDocument is the type whose names a JSON document has: that of a plan, which says the version of its format, or
// none.
func typeOfDocument(content any) reflect.Type {
	object, _ := content.(map[string]any)
	for name := range object {
		if strings.EqualFold(name, "format_version") {
			return reflect.TypeFor[plan]()
		}
	}
	return nil
}

// isJSON says whether a file is JSON by its name, or by how it begins where the name says nothing.
func isJSON(name string, data []byte) bool {
	if path.Ext(name) != "" {
		return path.Ext(name) == ".json"
	}
	data = bytes.TrimLeft(bytes.TrimPrefix(data, []byte("\ufeff")), " \t\r\n")
	return bytes.HasPrefix(data, []byte("{")) || bytes.HasPrefix(data, []byte("["))
}

// hclForm converts HCL to JSON with the library that conftest has.
func hclForm(name string, data []byte) ([]byte, error) {
	if e := tooDeep(name, data); e != nil {
		return nil, e
	}
	file, diags := hclsyntax.ParseConfig(data, name, hcl.InitialPos)
	if problems := diagnosed(diags); len(problems) > 0 {
		return nil, problems[0]
	}
	form, err := convert.File(file, convert.Options{})
	if err != nil {
		return nil, &configError{place: finding.Location{File: name}, text: "has no form for policies: " + err.Error()}
	}
	return form, nil
}

// valuesOfJSON returns how many values a JSON text has, without decoding it: more than a text that is not JSON has.
func valuesOfJSON(data []byte) int {
	values, quoted := 1, false
	for i := 0; i < len(data); i++ {
		switch b := data[i]; {
		case quoted && b == '\\':
			i++
		case b == '"':
			quoted = !quoted
		case quoted:
		case b == ',' || b == '{' || b == '[':
			values++
		}
	}
	return values
}

package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// TestCurrent: the tracked file is what would be written now.
func TestCurrent(t *testing.T) {
	want, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is stale: run make schemas, and review what it changes", output)
	}
}

// TestStructs holds the newest release to the Go types that the API server decodes into: the same kinds, the same fields, and every
// field of the type that the description says. The test of servers/kubernetes against a real server can only try some of them.
func TestStructs(t *testing.T) {
	all := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, apiextensions.AddToScheme, apiregistration.AddToScheme} {
		if err := add(all); err != nil {
			t.Fatal(err)
		}
	}
	newest := releases()[len(releases())-1]
	dir, _, err := fetch(module{"k8s.io/kubernetes", newest.module})
	if err != nil {
		t.Fatal(err)
	}
	swagger, err := os.ReadFile(filepath.Join(dir, "api", "openapi-spec", "swagger.json"))
	if err != nil {
		t.Fatal(err)
	}
	c := newCollection()
	if err := c.addRelease(newest.minor, swagger); err != nil {
		t.Fatal(err)
	}

	s := structs{t: t, c: c, seen: map[string]bool{}}
	known := map[gvk]reflect.Type{}
	for k, typ := range all.AllKnownTypes() {
		known[gvk{k.Group, k.Version, k.Kind}] = typ
	}
	for k := range c.kinds {
		typ, ok := known[k.gvk]
		if !ok {
			t.Errorf("%s: no Go type", k)
			continue
		}
		s.compare(k.typeName, typ)
	}
	t.Logf("%d kinds, %d types", len(c.kinds), len(s.seen))
	if len(c.kinds) < 100 || len(s.seen) < 500 {
		t.Error("that is too few: the comparison did not reach what it should")
	}
}

type structs struct {
	t    *testing.T
	c    *collection
	seen map[string]bool
}

// compare holds what is written of one type, and of all types below it, to its struct.
func (s structs) compare(name string, typ reflect.Type) {
	if s.seen[name] {
		return
	}
	s.seen[name] = true
	written := map[string]string{}
	for f := range s.c.types[name] {
		if f.field != "" {
			written[f.field] = f.holds
		}
	}
	for field, of := range fields(typ) {
		holds, ok := written[field]
		if !ok {
			s.t.Errorf("%s.%s: in the struct only", name, field)
			continue
		}
		delete(written, field)
		s.value(name+"."+field, holds, of)
	}
	for field := range written {
		s.t.Errorf("%s.%s: not in the struct", name, field)
	}
}

func (s structs) value(at, holds string, typ reflect.Type) {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if reflect.PointerTo(typ).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		want := map[string]string{
			"Quantity": "quantity", "Time": "time", "MicroTime": "microtime", "IntOrString": "intorstring", "FieldsV1": "any", "RawExtension": "any", "JSON": "any",
			"JSONSchemaPropsOrArray": "schemaorarray", "JSONSchemaPropsOrBool": "schemaorbool", "JSONSchemaPropsOrStringArray": "schemaorstrings",
		}[typ.Name()]
		if holds != want {
			s.t.Errorf("%s: written as %s, but %s decodes itself", at, holds, typ)
		}
		return
	}
	list, isList := strings.CutPrefix(holds, "[]")
	values, isMap := strings.CutPrefix(holds, "{}")
	switch {
	case typ == reflect.TypeFor[[]byte]():
		s.want(at, holds, "bytes", typ)
	case typ.Kind() == reflect.Slice && isList:
		s.value(at+"[]", list, typ.Elem())
	case typ.Kind() == reflect.Map && isMap && typ.Key().Kind() == reflect.String:
		s.value(at+"{}", values, typ.Elem())
	case typ.Kind() == reflect.Struct && s.c.types[holds] != nil:
		s.compare(holds, typ)
	default:
		s.want(at, holds, map[reflect.Kind]string{
			reflect.String: "string", reflect.Bool: "boolean", reflect.Int32: "int32", reflect.Int64: "int64", reflect.Float64: "double",
		}[typ.Kind()], typ)
	}
}

func (s structs) want(at, holds, want string, typ reflect.Type) {
	if holds != want {
		s.t.Errorf("%s: written as %s, but it is a %s", at, holds, typ)
	}
}

// fields are those that the JSON of a struct has.
func fields(typ reflect.Type) map[string]reflect.Type {
	all := map[string]reflect.Type{}
	for f := range typ.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
		case name == "" && (f.Anonymous || strings.Contains(options, "inline")):
			embedded := f.Type
			if embedded.Kind() == reflect.Pointer {
				embedded = embedded.Elem()
			}
			maps.Copy(all, fields(embedded))
		default:
			all[name] = f.Type
		}
	}
	return all
}

package main

import (
	"bytes"
	"encoding/json"
	"errors"

	kjson "sigs.k8s.io/json"
)

const crdAPIVersion, crdKind = "apiextensions.k8s.io/v1", "CustomResourceDefinition"

// customKind is what a CustomResourceDefinition says of one version of its kind.
type customKind struct {
	shape              *shape // nil where the schema cannot be used
	reason             string // why not
	served, deprecated bool
}

// customKinds are the kinds of CustomResourceDefinitions. Of two that define one kind the last counts.
type customKinds map[gvk]customKind

// has says whether some version of a kind of a group is defined.
func (c customKinds) has(of, kind string) bool {
	for k := range c {
		if k.kind == kind && group(k.apiVersion) == of {
			return true
		}
	}
	return false
}

// crd is a CustomResourceDefinition, as far as it is about structure.
type crd struct {
	Spec struct {
		Group string `json:"group"`
		Names struct {
			Kind string `json:"kind"`
		} `json:"names"`
		Versions []struct {
			Name       string `json:"name"`
			Served     bool   `json:"served"`
			Deprecated bool   `json:"deprecated"`
			Schema     struct {
				OpenAPIV3Schema *crdSchema `json:"openAPIV3Schema"`
			} `json:"schema"`
		} `json:"versions"`
	} `json:"spec"`
}

// crdSchema is a schema of a CustomResourceDefinition: what of it decides which fields there are, and what they hold. It is a
// tree; the API server takes no references, so no schema contains itself.
type crdSchema struct {
	Ref         *string               `json:"$ref"`
	Type        string                `json:"type"`
	Properties  map[string]*crdSchema `json:"properties"`
	Items       *crdSchema            `json:"items"`
	Rest        *crdSchemaOrBool      `json:"additionalProperties"`
	Required    []string              `json:"required"`
	Nullable    bool                  `json:"nullable"`
	Default     json.RawMessage       `json:"default"`
	Open        bool                  `json:"x-kubernetes-preserve-unknown-fields"`
	IntOrString bool                  `json:"x-kubernetes-int-or-string"`
	Embedded    bool                  `json:"x-kubernetes-embedded-resource"`
}

type crdSchemaOrBool struct {
	schema *crdSchema
	allows bool
}

func (s *crdSchemaOrBool) UnmarshalJSON(raw []byte) error {
	if bytes.HasPrefix(raw, []byte("{")) {
		s.allows = true
		return kjson.UnmarshalCaseSensitivePreserveInts(raw, &s.schema)
	}
	return kjson.UnmarshalCaseSensitivePreserveInts(raw, &s.allows)
}

var (
	errReference = errors.New("its schema has a $ref, which the API server does not take")
	errNoSchema  = errors.New("it has no schema")
	errCRD       = errors.New("its schema is not one that can be read")
)

// add takes the kinds that an object defines, if it is a CustomResourceDefinition. What is wrong with the definition itself the
// schema of CustomResourceDefinition tells.
func (c customKinds) add(o object) {
	if o.kind != crdKind || o.apiVersion != crdAPIVersion {
		return
	}
	var d crd
	readable := kjson.UnmarshalCaseSensitivePreserveInts(o.raw, &d) == nil
	for _, v := range d.Spec.Versions {
		k := customKind{served: v.Served, deprecated: v.Deprecated}
		if s, err := customRoot(v.Schema.OpenAPIV3Schema); !readable {
			k.reason = errCRD.Error()
		} else if err != nil {
			k.reason = err.Error()
		} else {
			k.shape = s
		}
		c[gvk{d.Spec.Group + "/" + v.Name, d.Spec.Names.Kind}] = k
	}
}

func customRoot(s *crdSchema) (*shape, error) {
	if s == nil {
		return nil, errNoSchema
	}
	root, err := s.shape()
	if err != nil {
		return nil, err
	}
	if root.form != formObject {
		return nil, errCRD
	}
	root.object.metadata(false)
	return root, nil
}

func (s *crdSchema) shape() (*shape, error) {
	if s.Ref != nil {
		return nil, errReference
	}
	out := &shape{custom: true, nullable: s.Nullable}
	switch {
	case s.IntOrString:
		out.form = formIntOrString
	case s.Type == "string":
		out.form = formString
	case s.Type == "boolean":
		out.form = formBoolean
	case s.Type == "integer":
		out.form = formInteger
	case s.Type == "number":
		out.form = formNumber
	case s.Type == "array":
		out.form = formList
		out.item = &shape{form: formClosed, custom: true}
		if s.Open {
			out.item = &shape{form: formAny, custom: true}
		}
		if s.Items != nil {
			item, err := s.Items.shape()
			if err != nil {
				return nil, err
			}
			out.item = item
		}
	case s.Type == "object":
		fields, err := s.fieldSet()
		if err != nil {
			return nil, err
		}
		out.form, out.object = formObject, fields
	}
	return out, nil
}

func (s *crdSchema) fieldSet() (*fieldSet, error) {
	out := &fieldSet{fields: map[string][]field{}, open: s.Open}
	if s.Rest != nil && s.Rest.allows {
		out.rest = &shape{form: formClosed, custom: true}
		if s.Rest.schema != nil {
			rest, err := s.Rest.schema.shape()
			if err != nil {
				return nil, err
			}
			out.rest = rest
		}
	}
	required := map[string]bool{}
	for _, name := range s.Required {
		required[name] = true
	}
	for name, property := range s.Properties {
		if property == nil {
			return nil, errCRD
		}
		holds, err := property.shape()
		if err != nil {
			return nil, err
		}
		// What has a default is never missing.
		out.add(name, field{shape: holds, required: required[name] && len(property.Default) == 0})
	}
	for name := range required {
		if holds := out.rest; s.Properties[name] == nil && (holds != nil || out.open) {
			if holds == nil {
				holds = &shape{form: formAny, custom: true}
			}
			out.add(name, field{shape: holds, required: true})
		}
	}
	if s.Embedded {
		out.metadata(true)
	}
	return out, nil
}

// metadata makes a set of fields that of an object, whatever its schema says of these three. An object in another one has to say what
// it is.
func (s *fieldSet) metadata(required bool) {
	for _, name := range []string{"apiVersion", "kind"} {
		s.fields[name] = nil
		s.add(name, field{shape: &shape{form: formString, custom: true}, required: required})
	}
	delete(s.fields, "metadata")
	s.meta = true
}

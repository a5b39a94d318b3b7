package mcpserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/scrub"
)

// scrubJSON returns value, one JSON value, with every string made safe to show, names of members included. A secret has
// the same mark wherever in value it stands.
func scrubJSON(value json.RawMessage) (json.RawMessage, error) {
	return (&jsonScrubber{scrubber: scrub.New()}).run(value)
}

// scrubArgs is scrubJSON for what a caller has sent, where a number may be a password too. In a result a mark in the
// place of a number would break the output schema.
func scrubArgs(value json.RawMessage) (json.RawMessage, error) {
	return (&jsonScrubber{scrubber: scrub.New(), numbers: true}).run(value)
}

// jsonScrubber goes through a JSON value and knows of each string in it what it is called.
type jsonScrubber struct {
	scrubber *scrub.Scrubber
	numbers  bool     // are scrubbed as strings are
	around   []nested // the objects and lists around the next token, the innermost last
}

// nested is an object or a list.
type nested struct {
	list   bool
	member string // the name of the member whose value comes; of a list, what its items are called
	called string // the content of an object's "name" or "key": what its "value" is called
}

func (s *jsonScrubber) run(value json.RawMessage) (json.RawMessage, error) {
	s.scrubber.Reserve(string(value)) // a tool that scrubs by itself has numbered what it found
	dec := jsontext.NewDecoder(bytes.NewReader(value))
	var out bytes.Buffer
	out.Grow(len(value))
	enc := jsontext.NewEncoder(&out)
	for values := 0; ; values++ {
		token, err := dec.ReadToken()
		if errors.Is(err, io.EOF) {
			return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
		}
		if err != nil {
			return nil, err
		}
		if values > maxResultValues {
			return nil, fmt.Errorf("more than %d JSON values", maxResultValues)
		}
		if enc.StackDepth() == 0 && enc.OutputOffset() > 0 {
			return nil, errors.New("more than one JSON value")
		}
		switch token.Kind() { //nolint:exhaustive // the other kinds hold no text
		case '{', '[':
			s.around = append(s.around, nested{list: token.Kind() == '[', member: s.name()})
		case '}', ']':
			s.around = s.around[:len(s.around)-1]
		case '"':
			kind, length := dec.StackIndex(dec.StackDepth())
			if kind == '{' && length%2 == 1 {
				s.around[len(s.around)-1].member = token.String()
				token = jsontext.String(s.scrubber.Text(token.String()))
			} else {
				token = jsontext.String(s.text(token.String()))
			}
		case '0':
			number := token.String()
			if !plainNumber(number) {
				return nil, errors.New("a number that no 64-bit float holds")
			}
			if s.numbers {
				if shown := s.scrubber.Member(s.name(), number); shown != number {
					token = jsontext.String(shown)
				}
			}
		}
		if err := enc.WriteToken(token); err != nil {
			return nil, err
		}
	}
}

// text scrubs a string that is no member's name.
func (s *jsonScrubber) text(text string) string {
	name := s.name()
	if name == "name" || name == "key" {
		if object := &s.around[len(s.around)-1]; !object.list {
			object.called = text
		}
	}
	return s.scrubber.Member(name, text)
}

// name is what the next value is called, empty if it has no name.
func (s *jsonScrubber) name() string {
	if len(s.around) == 0 {
		return ""
	}
	innermost := s.around[len(s.around)-1]
	if innermost.member == "value" && innermost.called != "" && !innermost.list {
		return innermost.called
	}
	return innermost.member
}

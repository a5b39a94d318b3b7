package strictyaml

import (
	"strings"
	"testing"
)

func TestDecode(t *testing.T) {
	type inner struct {
		Port int `yaml:"port"`
	}
	type config struct {
		Version int              `yaml:"version"`
		Hosts   map[string]inner `yaml:"hosts"`
	}
	for _, tc := range []struct{ name, in, want string }{
		{"good", "version: 1\nhosts:\n  a: {port: 1}\n", ""},
		{"unknown key", "version: 1\nhost: {}\n", "f.yaml:2: unknown key host"},
		{"unknown inner key", "version: 1\nhosts:\n  a:\n    prot: 1\n", "f.yaml:4: "},
		{"double key", "version: 1\nhosts:\n  a: {port: 1}\n  a: {port: 2}\n", "f.yaml:4: "},
		{"wrong type", "version: one\n", "f.yaml:1: "},
		{"syntax", "version: 1\n\thosts: {}\n", "f.yaml:2: "},
		{"second document", "version: 1\n---\nversion: 2\n", "f.yaml:2: a second document"},
		{"empty", "", "f.yaml: the file is empty"},
		{"too large", "version: 1 # " + strings.Repeat("x", 200), "f.yaml: too large"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var c config
			err := Decode("f.yaml", strings.NewReader(tc.in), 200, &c)
			switch {
			case tc.want == "" && err != nil:
				t.Fatal(err)
			case tc.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tc.want)):
				t.Fatalf("error %v, want it to begin with %q", err, tc.want)
			}
		})
	}
}

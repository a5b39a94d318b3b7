package main

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/outbound"
)

// What is wrong with the file of sources stops the start, with the line.
func TestConfig(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "sources.yaml")
	pods := func(rest string) string {
		return "version: 1\nsources:\n  - name: a\n    pods: {" + rest + "}\n"
	}
	for content, want := range map[string]string{
		"version: 1\nsources:\n  - name: a\n    foldr: /x\n":                                                          "sources.yaml:4: unknown key foldr",
		"version: 1\nsources:\n  - name: [a]\n":                                                                       "sources.yaml:3: a single value is needed here",
		"version: 2\n":                                                                                                "version is 2",
		"version: 1\nsources:\n  - name: A\n    folder: /x\n":                                                         `sources.yaml:3: name "A"`,
		"version: 1\nsources:\n  - folder: /x\n":                                                                      `entry 1: name ""`,
		"version: 1\nsources:\n  - name: a\n":                                                                         "it needs one of folder and pods",
		"version: 1\nsources:\n  - {name: a, folder: /x}\n  - {name: a, folder: /y}\n":                                "sources.yaml:4: source a is listed twice",
		"version: 1\nsources:\n  - {name: a, folder: x}\n":                                                            "write an absolute path",
		"version: 1\nsources:\n  - {name: a, folder: /}\n":                                                            "not the root",
		"version: 1\nsources:\n  - {name: a, folder: /x/..}\n":                                                        "not the root",
		"version: 1\nsources:\n  - {name: a, folder: /x, format: xml}\n":                                              `format "xml"`,
		"version: 1\nsources:\n  - {name: a, folder: /x, timezone: Mars}\n":                                           `timezone "Mars"`,
		"version: 1\nsources:\n  - {name: a, folder: /x, files: [\"[\"]}\n":                                           "is no pattern",
		"version: 1\nsources:\n  - {name: a, folder: " + dir + "/nothing}\n":                                          "no such file or directory",
		pods("server: http://x, credentials: /k, namespaces: [b]"):                                                    "write https://HOST",
		pods("server: https://u:p@x, credentials: /k, namespaces: [b]"):                                               "write https://HOST",
		pods("server: https://x/path, credentials: /k, namespaces: [b]"):                                              "write https://HOST",
		pods("server: https://x, namespaces: [b]"):                                                                    "name the folder with the token",
		pods("server: https://x, credentials: /k"):                                                                    "name at least one",
		pods("server: https://x, credentials: /k, namespaces: [\"../b\"]"):                                            "is no name of a namespace",
		pods("server: https://x, credentials: /k, namespaces: [b], labels: \"a==b=c\""):                               "labels:",
		pods("server: https://x, credentials: /k, namespaces: [b]") + "    format: cri\n":                             "go with folder",
		pods("server: https://x, credentials: /k, namespaces: [b]"):                                                   "no way out",
		"version: 1\nsources: [" + strings.Repeat("{name: a, folder: /x}, ", maxSources) + "{name: b, folder: /x}]\n": "more than",
	} {
		write(t, file, content)
		env := mcpserver.Env{Outbound: func() (*outbound.Client, error) { return nil, errors.New("no way out") }}
		if _, err := newServer(file, env); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n%v, want %q", content, err, want)
		}
	}
}

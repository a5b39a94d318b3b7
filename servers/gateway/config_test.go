package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/dockeragent"
)

const (
	configToken = "0f1e2d3c-the-token"
	configURL   = "http://127.0.0.1:4100/mcp"
)

// configure runs the command as an operator would, whose tokens lie in a folder with a space and quotes in its name.
func configure(t *testing.T, args ...string) (stdout, stderr, tokenFile string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), `it's "here"`)
	tokenFile = filepath.Join(dir, dockeragent.TokenVariable)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tokenFile, []byte(configToken), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, said bytes.Buffer
	all := append([]string{"config"}, args...)
	all = append(all, "--policy", "../../agents/policy.yaml", "--lock", "../../agents/tools.lock.json", "--url", configURL, "--token-file", tokenFile)
	if code := program().Run(t.Context(), all, os.Stdin, &out, &said); code != 0 {
		t.Fatalf("%v: exit code %d: %s", args, code, &said)
	}
	return out.String(), said.String(), tokenFile
}

// strictJSON decodes all of text, and nothing but what v has.
func strictJSON(t *testing.T, text string, v any) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil || decoder.More() {
		t.Fatalf("%v in %s", err, text)
	}
}

// asShell runs a command line in which npx is a program that says what it was given.
func asShell(t *testing.T, command string, args ...string) string {
	t.Helper()
	bin := t.TempDir()
	const echo = "#!/bin/sh\nprintf '%s\\n' \"$@\" \"[$BULKHEAD_AUTHORIZATION]\"\n"
	if err := os.WriteFile(filepath.Join(bin, "npx"), []byte(echo), 0o755); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), command, args...)
	c.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH")}
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

type configuredHTTP struct {
	Type    string `json:"type"`
	URL     string `json:"url"`
	Headers struct {
		Authorization string `json:"Authorization"`
	} `json:"headers"`
}

// Each client's form is what that client reads, with and without the token in it.
func TestConfigForms(t *testing.T) {
	over := func(kind, reference string) func(*testing.T, string, string) {
		return func(t *testing.T, text, token string) {
			var file struct {
				Servers map[string]configuredHTTP `json:"mcpServers"`
			}
			strictJSON(t, text, &file)
			want := configuredHTTP{Type: kind, URL: configURL}
			want.Headers.Authorization = "Bearer " + reference
			if token != "" {
				want.Headers.Authorization = "Bearer " + token
			}
			if diff := cmp.Diff(map[string]configuredHTTP{"bulkhead": want}, file.Servers); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
	}
	checks := map[string]func(t *testing.T, text, token string){
		"claude-code": over("http", "${MCP_GATEWAY_TOKEN}"),
		"cursor":      over("", "${env:MCP_GATEWAY_TOKEN}"),
		"vscode": func(t *testing.T, text, token string) {
			var file struct {
				Inputs []struct {
					Type, ID, Description string
					Password              bool
				} `json:"inputs"`
				Servers map[string]configuredHTTP `json:"servers"`
			}
			strictJSON(t, text, &file)
			server := file.Servers["bulkhead"]
			want := "Bearer " + token
			if token == "" {
				if len(file.Inputs) != 1 || file.Inputs[0].Type != "promptString" || !file.Inputs[0].Password {
					t.Fatalf("inputs %+v", file.Inputs)
				}
				want = "Bearer ${input:" + file.Inputs[0].ID + "}"
			}
			if server.Type != "http" || server.URL != configURL || server.Headers.Authorization != want {
				t.Errorf("%+v", server)
			}
		},
		"claude-desktop": func(t *testing.T, text, token string) {
			var file struct {
				Servers map[string]struct {
					Command string            `json:"command"`
					Args    []string          `json:"args"`
					Env     map[string]string `json:"env"`
				} `json:"mcpServers"`
			}
			strictJSON(t, text, &file)
			server := file.Servers["bulkhead"]
			const remote = "--yes\n" + mcpRemote + "\n" + configURL + "\n--transport\nhttp-only\n--header\nAuthorization:${BULKHEAD_AUTHORIZATION}\n"
			if token != "" {
				if server.Command != "npx" || strings.Join(server.Args, "\n")+"\n" != remote || server.Env["BULKHEAD_AUTHORIZATION"] != "Bearer "+token {
					t.Errorf("%+v", server)
				}
				return
			}
			if got, want := asShell(t, server.Command, server.Args...), remote+"[Bearer "+configToken+"]\n"; got != want || len(server.Env) > 0 {
				t.Errorf("it starts\n%s, not\n%s", got, want)
			}
		},
		"inspector": func(t *testing.T, text, _ string) {
			want := "--yes\n--logs-dir=/dev/null\n" + inspector + "\n--cli\n" + configURL + "\n--transport\nhttp\n--header\nAuthorization: Bearer " + configToken + "\n--method\ntools/list\n[]\n"
			if got := asShell(t, "sh", "-c", text); got != want {
				t.Errorf("it runs\n%s, not\n%s", got, want)
			}
		},
		"docker-agent": func(t *testing.T, text, token string) {
			file, err := dockeragent.Parse("printed", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			set := file.Agents[dockeragent.Root].Toolsets[0]
			want := "Bearer ${env.MCP_GATEWAY_TOKEN}"
			if token != "" {
				want = "Bearer " + token
			}
			if set.Remote.URL != configURL || set.Remote.Headers["Authorization"] != want || !slices.Contains(set.Tools, "kubernetes_check_pod_security") {
				t.Errorf("%+v", set)
			}
		},
	}
	for _, form := range clientForms() {
		check := checks[form.name]
		if check == nil {
			t.Errorf("no check reads what is printed for %s", form.name)
			continue
		}
		t.Run(form.name, func(t *testing.T) {
			text, said, file := configure(t, form.name, "--agent", "policy-gate")
			if strings.Contains(text+said, configToken) {
				t.Errorf("the token is in clear:\n%s%s", text, said)
			}
			if !strings.Contains(said, form.file) || form.reads == "" && !strings.Contains(said, "export MCP_GATEWAY_TOKEN=\"$(cat "+shellQuote(file)) {
				t.Errorf("it does not say what to do: %s", said)
			}
			check(t, text, "")
			text, said, _ = configure(t, form.name, "--agent", "policy-gate", "--show-token")
			if !strings.Contains(text, configToken) || !strings.Contains(said, "whoever reads it") {
				t.Errorf("the token was asked for:\n%s%s", text, said)
			}
			check(t, text, configToken)
		})
	}
}

func TestConfigRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"":                               "usage: gateway config docker-agent|claude-code|",
		"--agent policy-gate":            "usage: gateway config",
		"emacs --agent policy-gate":      `unknown client "emacs": it may be one of docker-agent, claude-code`,
		"cursor":                         `--agent "": ../../agents/policy.yaml has the agents `,
		"cursor --agent gate":            `--agent "gate": ../../agents/policy.yaml has the agents `,
		"cursor --agent policy-gate now": `unexpected argument "now"`,
		"cursor --agent policy-gate --url unix:///g/s":                                     `--url "unix:///g/s": want http://HOST:PORT/mcp`,
		"cursor --agent policy-gate --url http://u:p@h/mcp":                                "want http://HOST:PORT/mcp",
		"cursor --agent policy-gate --show-token --token-file testdata/none/TOKEN":         "make secrets makes it",
		"cursor --agent policy-gate --token TOKEN":                                         "flag provided but not defined",
		"cursor --agent policy-gate --policy testdata/none.yaml --token-file testdata/x/y": "no such file",
	} {
		var out bytes.Buffer
		all := append([]string{"config"}, strings.Fields(args)...)
		if len(all) > 1 && !strings.Contains(args, "--policy") && !strings.HasSuffix(args, "now") {
			all = append(all, "--policy", "../../agents/policy.yaml", "--lock", "../../agents/tools.lock.json")
		}
		if code := program().Run(t.Context(), all, os.Stdin, &out, &out); code == 0 || !strings.Contains(out.String(), want) {
			t.Errorf("config %s: exit code %d, want %q in:\n%s", args, code, want, &out)
		}
	}
}

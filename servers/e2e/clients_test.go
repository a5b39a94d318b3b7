package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// configure is what `gateway config` prints for a client of this bundle, and the folder of npm packages that run it.
func (b *bundle) configure(t *testing.T, client string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), "go", "run", "./servers/gateway", "config", client, "--agent", "policy-gate", "--url", b.url(),
		"--policy", b.path("policy.yaml"), "--lock", b.path("tools.lock.json"), "--token-file", b.path("secrets/agents/policy-gate/MCP_GATEWAY_TOKEN"))
	var stderr strings.Builder
	c.Dir, c.Stderr = b.root, &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	if strings.Contains(string(out), b.token(t, "policy-gate")) {
		t.Errorf("the token is in clear: %s", out)
	}
	return string(out)
}

// packages is the folder of the pinned npm packages.
func (b *bundle) packages(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), filepath.Join(b.root, "scripts/packages")).Output()
	if err == nil {
		return strings.TrimSpace(string(out))
	}
	if os.Getenv("REQUIRE_ENGINE") != "" {
		t.Fatal(err)
	}
	fmt.Fprintln(os.Stderr, "*** NOT TESTED: clients in JavaScript, for want of npm packages ***")
	t.Skip(err)
	return ""
}

// listsAndCalls is what every client must see.
func listsAndCalls(t *testing.T, tools []string, result string) {
	t.Helper()
	slices.Sort(tools)
	if got, want := strings.Join(tools, " "), theBundle.named(t, "policy-gate"); got != want {
		t.Errorf("it lists %q, not %q", got, want)
	}
	if !strings.Contains(result, "pod-security/privileged") {
		t.Errorf("the call: %s", result)
	}
}

const callArguments = `{"path":"kubernetes/shop-web.yaml","level":"baseline"}`

// goClient is the Go SDK's client over a transport.
func goClient(t *testing.T, transport sdk.Transport) {
	t.Helper()
	session := connect(t, transport)
	result, err := session.CallTool(t.Context(), &sdk.CallToolParams{Name: podSecurity, Arguments: json.RawMessage(callArguments)})
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(result.StructuredContent)
	listsAndCalls(t, strings.Fields(toolNames(t, session)), string(text))
}

// Clients that others wrote list and call with what `gateway config` prints, and nothing else but the token.
func TestClients(t *testing.T) {
	b := theBundle
	token := b.token(t, "policy-gate")

	t.Run("Go SDK", func(t *testing.T) {
		var file struct {
			Servers map[string]struct {
				URL     string            `json:"url"`
				Headers map[string]string `json:"headers"`
			} `json:"mcpServers"`
		}
		if err := json.Unmarshal([]byte(b.configure(t, "claude-code")), &file); err != nil {
			t.Fatal(err)
		}
		server := file.Servers["bulkhead"]
		authorization := os.Expand(server.Headers["Authorization"], func(name string) string {
			return map[string]string{"MCP_GATEWAY_TOKEN": token}[name]
		})
		goClient(t, overHTTP(server.URL, strings.TrimPrefix(authorization, "Bearer ")))
	})

	packages := b.packages(t)
	// npx as it is called, with the packages that are pinned here instead of those that it would fetch.
	bin := t.TempDir()
	npx := `#!/bin/sh
set -eu
[ "$1" = --yes ]
shift
case $1 in --logs-dir=*) shift ;; esac
package=$1
shift
name=${package%@*}
version=$("$PACKAGES/.bin/node" -p 'require(process.argv[1]).version' "$PACKAGES/$name/package.json")
[ "$package" = "$name@$version" ] || { echo "pinned is $name@$version, and wanted $package" >&2; exit 1; }
case $name in *inspector) set -- mcp-inspector "$@" ;; *) set -- mcp-remote "$@" ;; esac
command=$1
shift
exec "$PACKAGES/.bin/node" "$PACKAGES/.bin/$command" "$@"
`
	if err := os.WriteFile(filepath.Join(bin, "npx"), []byte(npx), 0o755); err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=" + bin + ":" + filepath.Join(packages, ".bin") + ":" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "PACKAGES=" + packages}

	for _, name := range []string{"@modelcontextprotocol/sdk", "@modelcontextprotocol/client"} {
		t.Run("TypeScript "+name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), ".mcp.json")
			if err := os.WriteFile(file, []byte(b.configure(t, "claude-code")), 0o600); err != nil {
				t.Fatal(err)
			}
			c := exec.CommandContext(t.Context(), filepath.Join(packages, ".bin/node"), "client.mjs", packages, name, file, podSecurity, callArguments)
			c.Env = append(env, "MCP_GATEWAY_TOKEN="+token)
			out, err := c.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			var said struct {
				Tools  []string        `json:"tools"`
				Result json.RawMessage `json:"result"`
			}
			if err := json.Unmarshal(out, &said); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			listsAndCalls(t, said.Tools, string(said.Result))
		})
	}

	t.Run("Inspector CLI", func(t *testing.T) {
		line := b.configure(t, "inspector")
		run := func(line string) string {
			c := exec.CommandContext(t.Context(), "sh", "-c", line)
			c.Env = env
			var stderr strings.Builder
			c.Stderr = &stderr
			out, err := c.Output()
			if err != nil {
				t.Fatalf("%v: %s%s", err, out, &stderr)
			}
			return string(out)
		}
		var list struct {
			Tools []struct{ Name string }
		}
		if out := run(line); json.Unmarshal([]byte(out), &list) != nil {
			t.Fatalf("no JSON: %s", out)
		}
		var tools []string
		for _, tool := range list.Tools {
			tools = append(tools, tool.Name)
		}
		listsAndCalls(t, tools, run(strings.Replace(line, "--method tools/list", "--method tools/call --tool-name "+podSecurity+
			" --tool-arg path=kubernetes/shop-web.yaml level=baseline", 1)))
	})

	t.Run("Claude Desktop", func(t *testing.T) {
		var file struct {
			Servers map[string]struct {
				Command string   `json:"command"`
				Args    []string `json:"args"`
			} `json:"mcpServers"`
		}
		if err := json.Unmarshal([]byte(b.configure(t, "claude-desktop")), &file); err != nil {
			t.Fatal(err)
		}
		server := file.Servers["bulkhead"]
		c := exec.CommandContext(t.Context(), server.Command, server.Args...)
		c.Env = env
		goClient(t, &sdk.CommandTransport{Command: c})
	})
}

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

const (
	lockVersion = 1
	maxLock     = 4 << 20 // bytes
)

// lockFile is agents/tools.lock.json: the definitions that somebody has reviewed.
type lockFile struct {
	Version int                              `json:"version"`
	Servers map[string]map[string]lockedTool `json:"servers"` // server → tool → definition
}

type lockedTool struct {
	SHA256     string               `json:"sha256"` // of the definition's canonical form
	Definition mcpserver.Definition `json:"definition"`

	tool mcpserver.Tool // checked, by parseLock; it cannot be called
}

func readLock(path string) (*lockFile, error) {
	data, err := readFile(path, maxLock)
	if err != nil {
		return nil, err
	}
	return parseLock(path, data)
}

// parseLock reads data, the content of the file at path. Its errors read "path:line: what is wrong", one a line.
func parseLock(path string, data []byte) (*lockFile, error) {
	var lock lockFile
	if err := jsonv2.Unmarshal(data, &lock, jsonv2.RejectUnknownMembers(true)); err != nil {
		return nil, locatedJSON(path, data, err)
	}
	var errs []error
	problem := func(pointer jsontext.Pointer, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s:%d: %w", path, lineOf(data, pointer), fmt.Errorf(format, args...)))
	}
	if lock.Version != lockVersion {
		problem("/version", "version is %d; this gateway reads version %d", lock.Version, lockVersion)
	}
	servers := jsontext.Pointer("/servers")
	for _, server := range sortedKeys(lock.Servers) {
		if !serverName.MatchString(server) {
			problem(servers.AppendToken(server), "server %q: want lower-case letters and digits", server)
		}
		for _, name := range sortedKeys(lock.Servers[server]) {
			locked := lock.Servers[server][name]
			if err := locked.check(server, name); err != nil {
				problem(servers.AppendToken(server).AppendToken(name), "%s_%s: %w", server, name, err)
			}
			lock.Servers[server][name] = locked
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &lock, nil
}

// check says what stands against serving the tool of that name.
func (t *lockedTool) check(server, name string) error {
	digest, err := t.Definition.Digest()
	if err != nil {
		return err
	}
	if digest != t.SHA256 || name != t.Definition.Name {
		return errors.New("the definition is not the one that its sha256 stands for; run make lock and review what it changes")
	}
	definition := t.Definition
	definition.Name = agentToolName(server, name)
	t.tool = mcpserver.Tool{Definition: definition, Server: server, Call: noCall}
	return t.tool.Check()
}

// noCall stands for the way to a server where there is none yet.
func noCall(context.Context, json.RawMessage) (mcpserver.Result, error) {
	return mcpserver.Result{}, errors.New("this tool is not to be called")
}

// locatedJSON is an error of the JSON library in the form of our own.
func locatedJSON(path string, data []byte, err error) error {
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Errorf("%s:%d: %w; run make lock", path, 1+bytes.Count(data[:syntax.ByteOffset], []byte("\n")), syntax.Err)
	}
	if semantic, ok := errors.AsType[*jsonv2.SemanticError](err); ok {
		what := fmt.Sprintf("%s is no %s", semantic.JSONKind, semantic.GoType)
		if semantic.Err != nil {
			what = semantic.Err.Error()
		}
		return fmt.Errorf("%s:%d: %s: %s; run make lock", path, lineOf(data, semantic.JSONPointer), semantic.JSONPointer, what)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// lineOf is the line of data, which is JSON as far as that, on which the member at pointer begins.
func lineOf(data []byte, pointer jsontext.Pointer) int {
	dec := jsontext.NewDecoder(bytes.NewReader(data))
	for {
		if _, err := dec.ReadToken(); err != nil {
			return 1
		}
		if dec.StackPointer() == pointer {
			return 1 + bytes.Count(data[:dec.InputOffset()], []byte("\n"))
		}
	}
}

// tools are the input schemas of all tools, by the names under which agents know them.
func (l *lockFile) tools() map[string]json.RawMessage {
	schemas := map[string]json.RawMessage{}
	for server, tools := range l.Servers {
		for name, tool := range tools {
			schemas[agentToolName(server, name)] = tool.Definition.InputSchema
		}
	}
	return schemas
}

// definition returns a tool by the name under which agents know it.
func (l *lockFile) definition(name string) (mcpserver.Definition, bool) {
	server, tool, _ := strings.Cut(name, "_") // a server's name has no underscore
	locked, ok := l.Servers[server][tool]
	return locked.Definition, ok
}

func agentToolName(server, tool string) string { return server + "_" + tool }

// lockCommand writes a lock file of what servers' tools subcommands printed.
func lockCommand(_ context.Context, args []string, stdout, stderr io.Writer) error {
	set := flag.NewFlagSet("gateway lock", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.Usage = func() {
		_, _ = fmt.Fprintln(stderr, "usage: gateway lock SERVER.json…\nprints a lock file of the definitions that SERVER tools printed into SERVER.json")
	}
	if err := set.Parse(args); err != nil {
		return err
	}
	if set.NArg() == 0 {
		set.Usage()
		return errors.New("no files named")
	}
	lock := lockFile{Version: lockVersion, Servers: map[string]map[string]lockedTool{}}
	for _, path := range set.Args() {
		server, definitions, err := readDefinitions(path)
		if err != nil {
			return err
		}
		if lock.Servers[server] != nil {
			return fmt.Errorf("%s: %s is named twice", path, server)
		}
		tools, err := lockTools(definitions)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		lock.Servers[server] = tools
	}
	enc := json.NewEncoder(stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(lock)
}

// readDefinitions reads what a server's tools command printed into the file at path, SERVER.json.
func readDefinitions(path string) (server string, definitions []json.RawMessage, err error) {
	server, isJSON := strings.CutSuffix(filepath.Base(path), ".json")
	if !isJSON || !serverName.MatchString(server) {
		return "", nil, fmt.Errorf("%s: want SERVER.json: the name of the server in lower-case letters and digits, and what SERVER tools printed", path)
	}
	data, err := readFile(path, maxLock)
	if err != nil {
		return "", nil, err
	}
	if err := json.Unmarshal(data, &definitions); err != nil {
		return "", nil, fmt.Errorf("%s: want the list of definitions that %s tools prints: %w", path, server, err)
	}
	return server, definitions, nil
}

// lockTools takes the definitions of one server for reviewed.
func lockTools(definitions []json.RawMessage) (map[string]lockedTool, error) {
	tools := map[string]lockedTool{}
	for _, data := range definitions {
		var d mcpserver.Definition
		if err := json.Unmarshal(data, &d); err != nil {
			return nil, err
		}
		digest, err := d.Digest()
		if err != nil {
			return nil, err
		}
		if _, twice := tools[d.Name]; twice {
			return nil, fmt.Errorf("tool %q is there twice", d.Name)
		}
		tools[d.Name] = lockedTool{SHA256: digest, Definition: d}
	}
	return tools, nil
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func readFile(path string, maxBytes int64) ([]byte, error) {
	file, err := os.Open(path) //nolint:gosec // the operator's own path
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	data, err := limit.ReadAll(file, maxBytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}

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
}

func readLock(path string) (*lockFile, error) {
	data, err := readFile(path, maxLock)
	if err != nil {
		return nil, fmt.Errorf("reading the lock: %w", err)
	}
	lock, err := parseLock(data)
	if err != nil {
		return nil, fmt.Errorf("reading the lock: %s: %w", path, err)
	}
	return lock, nil
}

func parseLock(data []byte) (*lockFile, error) {
	var lock lockFile
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&lock); err != nil {
		return nil, fmt.Errorf("byte %d: %w", dec.InputOffset(), err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("byte %d: more than one JSON value", dec.InputOffset())
	}
	if lock.Version != lockVersion {
		return nil, fmt.Errorf("version is %d; this gateway reads version %d", lock.Version, lockVersion)
	}
	for server, tools := range lock.Servers {
		if !serverName.MatchString(server) {
			return nil, fmt.Errorf("server %q: want lower-case letters and digits", server)
		}
		for name, tool := range tools {
			digest, err := tool.Definition.Digest()
			if err != nil {
				return nil, fmt.Errorf("%s_%s: %w", server, name, err)
			}
			if digest != tool.SHA256 || name != tool.Definition.Name {
				return nil, fmt.Errorf("%s_%s: the definition is not the one that its sha256 stands for; run make lock and review what it changes", server, name)
			}
		}
	}
	return &lock, nil
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

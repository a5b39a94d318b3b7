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
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/strictyaml"
)

const (
	policyVersion = 1
	maxPolicy     = 1 << 20 // bytes
	maxAgents     = 1000
)

// Why a call is refused, for the record; all but the first are how such a reason begins.
const (
	reasonNotGranted  = "not granted"
	reasonCondition   = "the condition of "
	reasonOverBudget  = "over budget: "
	reasonQuarantined = "quarantined, its definitions are not the locked ones: "
)

// Names of servers and agents; they stand in tool names, file names and records.
var (
	serverName = regexp.MustCompile(`^[a-z][a-z0-9]{0,30}$`)
	agentName  = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	toolGrant  = regexp.MustCompile(`^[a-z][a-z0-9]*_[a-z0-9_]*\*?$`)
)

// policyFile is the grammar of agents/policy.yaml.
type policyFile struct {
	Version count                `yaml:"version"`
	Agents  map[string]agentFile `yaml:"agents"`
}

type agentFile struct {
	line int // of its name

	Identity struct {
		Token scalar `yaml:"token"`
	} `yaml:"identity"`
	Limits limitsFile `yaml:"limits"`
	Allow  []struct {
		Tool   scalar     `yaml:"tool"`
		When   scalar     `yaml:"when"`
		Limits limitsFile `yaml:"limits"`
	} `yaml:"allow"`
}

// scalar is a string that knows its line.
type scalar struct {
	value string
	line  int
}

// UnmarshalYAML reads a scalar node.
func (s *scalar) UnmarshalYAML(node *yaml.Node) error {
	s.line = node.Line
	return node.Decode(&s.value)
}

// policy says who holds a token and what each agent may call. What it does not name is refused.
type policy struct {
	path    string
	agents  map[string]*agent
	byToken map[string]string // holder of a token → agent
}

type agent struct {
	token  string
	budget *budget
	allow  []*grant
}

// grant is one entry of an agent's allow list: a tool's name, or a prefix of names if glob is set.
type grant struct {
	tool   string
	glob   bool
	line   int
	when   map[string]*condition // by tool; nil: whatever the arguments
	budget *budget               // its own, besides the agent's
}

// readPolicy reads the file at path and holds it against the lock: a grant that no locked tool answers to is an
// error, for it is a misspelling or a tool that nobody reviewed, and so is a condition over arguments that a tool
// does not have.
func readPolicy(path string, lock *lockFile) (*policy, error) {
	file, err := readPolicyFile(path)
	if err != nil {
		return nil, err
	}
	return newPolicy(path, file, lock.tools())
}

func readPolicyFile(path string) (policyFile, error) {
	data, err := readFile(path, maxPolicy)
	if err != nil {
		return policyFile{}, err
	}
	return decodePolicy(path, data)
}

func decodePolicy(path string, data []byte) (policyFile, error) {
	var file policyFile
	if err := strictyaml.Decode(path, bytes.NewReader(data), maxPolicy, &file); err != nil {
		return policyFile{}, err
	}
	if err := checkVersion(path, file.Version); err != nil {
		return policyFile{}, err
	}
	for name, line := range agentLines(data) {
		if a, ok := file.Agents[name]; ok {
			a.line = line
			file.Agents[name] = a
		}
	}
	return file, nil
}

func checkVersion(path string, version count) error {
	if version.value != policyVersion {
		return fmt.Errorf("%s:%d: version is %d; this gateway reads version %d", path, max(version.line, 1), version.value, policyVersion)
	}
	return nil
}

// agentLines finds the lines of the agents' names, which a map does not keep.
func agentLines(data []byte) map[string]int {
	var file struct {
		Agents yaml.Node `yaml:"agents"`
	}
	lines := map[string]int{}
	if yaml.Unmarshal(data, &file) != nil || file.Agents.Kind != yaml.MappingNode {
		return lines // an alias or a merge: its agents go without
	}
	for i := 0; i+1 < len(file.Agents.Content); i += 2 {
		lines[file.Agents.Content[i].Value] = file.Agents.Content[i].Line
	}
	return lines
}

// newPolicy checks file against tools, which are the input schemas of all locked tools by name.
func newPolicy(path string, file policyFile, tools map[string]json.RawMessage) (*policy, error) {
	if len(file.Agents) == 0 || len(file.Agents) > maxAgents {
		return nil, fmt.Errorf("%s:%d: agents has %d entries; it needs 1 to %d", path, file.Version.line, len(file.Agents), maxAgents)
	}
	p := &policy{path: path, agents: map[string]*agent{}, byToken: map[string]string{}}
	var errs []error
	for _, name := range sortedKeys(file.Agents) {
		a, problems := parseAgent(name, file.Agents[name], tools)
		for _, problem := range problems {
			errs = append(errs, fmt.Errorf("%s:%d: agent %s: %w", path, problem.line, name, problem.err))
		}
		if other, taken := p.byToken[a.token]; taken && a.token != "" {
			errs = append(errs, fmt.Errorf("%s:%d: agent %s: token %s is already the identity of %s; each agent needs its own",
				path, file.Agents[name].Identity.Token.line, name, a.token, other))
		}
		p.agents[name], p.byToken[a.token] = a, name
	}
	return p, errors.Join(errs...)
}

type problem struct {
	line int
	err  error
}

func parseAgent(name string, file agentFile, tools map[string]json.RawMessage) (*agent, []problem) {
	var problems []problem
	add := func(line int, format string, args ...any) {
		problems = append(problems, problem{cmp.Or(line, file.line), fmt.Errorf(format, args...)})
	}
	limits := func(file limitsFile) *budget {
		for _, found := range file.problems() {
			add(found.line, "limits: %w", found.err)
		}
		return newBudget(file)
	}
	token := file.Identity.Token
	if !agentName.MatchString(name) {
		add(token.line, "a name has lower-case letters, digits, '.', '_' and '-', at most 63")
	}
	if !agentName.MatchString(token.value) {
		add(token.line, "identity: {token: NAME} names the file NAME.sha256 of the tokens folder; got %q", token.value)
	}
	a := &agent{token: token.value, budget: limits(file.Limits)}
	for _, entry := range file.Allow {
		text := entry.Tool.value
		prefix, glob := strings.CutSuffix(text, "*")
		g := &grant{tool: prefix, glob: glob, line: cmp.Or(entry.Tool.line, entry.When.line, file.line), budget: limits(entry.Limits)}
		matched := slices.DeleteFunc(sortedKeys(tools), func(tool string) bool { return !g.covers(tool) })
		switch {
		case !toolGrant.MatchString(text):
			add(g.line, "tool %q: want SERVER_TOOL, or a prefix of such names with a trailing *", text)
		case len(matched) == 0:
			add(g.line, "tool %q: the lock file has no such tool; correct the name, or write the lock anew with make lock", text)
		}
		if entry.When.line > 0 {
			g.when = map[string]*condition{}
			for _, tool := range matched {
				when, err := newCondition(entry.When.value, tool, tools[tool])
				if err != nil {
					add(entry.When.line, "when: %w", err)
					break // the same mistake for the next tool helps nobody
				}
				g.when[tool] = when
			}
		}
		a.allow = append(a.allow, g)
	}
	return a, problems
}

func (g *grant) covers(tool string) bool {
	return tool == g.tool || g.glob && strings.HasPrefix(tool, g.tool)
}

// grants says whether any entry of the agent's names tool, under whatever condition: whether it is listed.
func (p *policy) grants(agent, tool string) bool {
	a := p.agents[agent]
	return a != nil && slices.ContainsFunc(a.allow, func(g *grant) bool { return g.covers(tool) })
}

// decide returns the first entry that lets agent call tool with these arguments, which the tool's schema has
// accepted; else why none does, for the record.
func (p *policy) decide(ctx context.Context, agent, tool string, args json.RawMessage) (*grant, string) {
	a := p.agents[agent]
	if a == nil {
		return nil, reasonNotGranted
	}
	reason := reasonNotGranted
	for _, g := range a.allow {
		if !g.covers(tool) {
			continue
		}
		if g.when == nil {
			return g, ""
		}
		switch holds, err := g.when[tool].holds(ctx, agent, tool, args); {
		case err != nil:
			reason = fmt.Sprintf(reasonCondition+"%s failed: %v", p.entry(g), err)
		case holds:
			return g, ""
		default:
			reason = fmt.Sprintf(reasonCondition+"%s does not hold", p.entry(g))
		}
	}
	return nil, reason
}

// entry names an entry for the record: the file and the line.
func (p *policy) entry(g *grant) string { return fmt.Sprintf("%s:%d", filepath.Base(p.path), g.line) }

// principal returns whose token it is.
func (p *policy) principal(token string) (string, bool) {
	agent, ok := p.byToken[token]
	return agent, ok
}

// holders lists the tokens that must exist.
func (p *policy) holders() []string { return sortedKeys(p.byToken) }

// agentsCommand prints each agent of the policy and the name of its token, a line each, for scripts/secrets.
func agentsCommand(_ context.Context, args []string, stdout, stderr io.Writer) error {
	set := flag.NewFlagSet("gateway agents", flag.ContinueOnError)
	set.SetOutput(stderr)
	path := set.String("policy", "agents/policy.yaml", "the policy")
	if err := set.Parse(args); err != nil {
		return err
	}
	file, err := readPolicyFile(*path)
	if err != nil {
		return err
	}
	for _, name := range sortedKeys(file.Agents) {
		token := file.Agents[name].Identity.Token
		if !agentName.MatchString(name) || !agentName.MatchString(token.value) {
			return fmt.Errorf("%s:%d: agent %s: needs identity: {token: NAME}, both names of the form %s", *path, token.line, name, agentName)
		}
		if _, err := fmt.Fprintln(stdout, name, token.value); err != nil {
			return err
		}
	}
	return nil
}

// configFlags declares where policy and lock are.
func configFlags(set *flag.FlagSet) (policyPath, lockPath *string) {
	return set.String("policy", "agents/policy.yaml", "the policy"), set.String("lock", "agents/tools.lock.json", "the lock")
}

// readConfig reads both as serve does.
func readConfig(policyPath, lockPath string) (*lockFile, *policy, error) {
	lock, err := readLock(lockPath)
	if err != nil {
		return nil, nil, err
	}
	p, err := readPolicy(policyPath, lock)
	return lock, p, err
}

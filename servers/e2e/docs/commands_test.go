package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A command of a page is held to what it calls in one of three ways: it is run here, it is run by another test, or it is parsed: a
// verb of the Makefile by make, a script by its shell, a flag of a binary by that binary.
type rule struct {
	pattern string
	check   func(t *testing.T, at, command string, match []string)
}

// runBy says which test runs the command, and a piece of text that the test must have in it.
func runBy(file, text string) func(*testing.T, string, string, []string) {
	return func(t *testing.T, at, command string, _ []string) {
		t.Helper()
		if !strings.Contains(read(t, file), text) {
			t.Errorf("%s: %s: %s should run it, and does not have %q", at, command, file, text)
		}
	}
}

// here runs the command in the repository.
func here(t *testing.T, at, command string, _ []string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "bash", "-c", command)
	c.Dir, c.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%s: %s: %v: %s", at, command, err, out)
	}
}

// makes lets make say what it would do.
func makes(t *testing.T, at, command string, match []string) {
	t.Helper()
	if out, err := run(t, root, "bash", "-c", "make --dry-run "+match[1]); err != nil {
		t.Errorf("%s: %s: %v: %s", at, command, err, out)
	}
}

// script looks whether there is such a script, and whether its shell can read it.
func script(t *testing.T, at, command string, match []string) {
	t.Helper()
	path := filepath.Join(root, match[1])
	info, err := os.Stat(path)
	if err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("%s: %s: %s cannot be run: %v", at, command, match[1], err)
		return
	}
	if out, err := run(t, root, "sh", "-n", match[1]); err != nil {
		t.Errorf("%s: %s: %v: %s", at, command, err, out)
	}
}

// inBundle parses `docker compose exec SERVICE BINARY …`: the service, the binary, and that the binary has the subcommand.
func inBundle(t *testing.T, at, command string, match []string) {
	t.Helper()
	if !strings.Contains(read(t, "compose.yaml"), "\n  "+match[1]+":\n") {
		t.Errorf("%s: %s: compose.yaml has no service %s", at, command, match[1])
	}
	args, _, _ := strings.Cut(match[3], ">")
	args, _, _ = strings.Cut(args, "<")
	words := append([]string{"run", "./servers/" + match[2]}, strings.Fields(args)...)
	out, _ := run(t, root, "go", append(words, "--audit", t.TempDir())...)
	for _, wrong := range []string{"flag provided but not defined", "usage: gateway", "unknown"} {
		if strings.Contains(out, wrong) {
			t.Errorf("%s: %s: %s", at, command, out)
		}
	}
}

// known is every command of the pages.
var known = []rule{
	{`^make (.+)$`, makes},
	{`^(scripts/[a-z]+)( .*)?$`, script},
	{`^"\$\((scripts/tool) [a-z]+\)" .*$`, script},
	{`^docker compose exec (?:-T )?([a-z-]+) /ko-app/([a-z]+) (audit (?:tail|verify|checkpoint).*)$`, inBundle},
	{`^docker compose exec gateway /ko-app/gateway audit show --results CALL$`, runBy("servers/e2e/audit_test.go", `"show"`)},
	{`^docker compose (?:--profile|logs|up|down) .*$`, composeFlags},
	{`^docker run .*\$BULKHEAD_KUBERNETES_IMAGE( --workspace /workspace)?$`, runBy("servers/e2e/calls_test.go", `"--read-only", "--network", "none", "--cap-drop", "ALL", b.image(t, "kubernetes")`)},
	{`^docker run .*\$BULKHEAD_DOCKERHUB_IMAGE --egress direct$`, runBy("servers/e2e/calls_test.go", `b.image(t, "dockerhub"), "--egress", "direct"`)},
	{`^helm template \./chart$`, nothing},
	{`^docker run .*\$BULKHEAD_KUBERNETES_IMAGE check --fail-on medium -$`, runBy("servers/e2e/calls_test.go", `"check", "--fail-on", "medium", "-"`)},
	{`^docker agent run .*(agents/[a-z-]+\.yaml).*$`, names},
	{`^go run \./servers/gateway config ([a-z-]+) --agent [a-z-]+ >.*$`, runBy("servers/gateway/config_test.go", "TestConfigForms")},
	{`^go run \./servers/(gateway (policy test|check-config) .*|kubernetes check docs/.*)$`, here},
	{`^go test \./servers/internal/confine -run Profiles -update$`, runBy("servers/internal/confine/profile_linux_test.go", "func TestProfiles(")},
	{`^(cosign (verify|verify-attestation|generate-key-pair)|alias cosign=).*$`, runBy("images/release_test.go", `"verify-attestation --type slsaprovenance1"`)},
	{`^by=\(.*$|^--certificate-identity-regexp .*$`, nothing},
	{`^\. \./\.env$|^export [A-Z_]+=\S*$`, nothing},
	{`^export MCP_GATEWAY_TOKEN="\$\(cat secrets/agents/([a-z-]+)/MCP_GATEWAY_TOKEN\)"$`, agentOf},
	{`^printf %s "\$ANTHROPIC_API_KEY" >secrets/agents/([a-z-]+)/ANTHROPIC_API_KEY$`, agentOf},
	{`^rm secrets/agents/([a-z-]+)/MCP_GATEWAY_TOKEN$`, agentOf},
	{`^sed -i 1d secrets/tokens/([a-z-]+)\.sha256$`, agentOf},
	{`^vault agent -config=(docs/secrets/vault-agent.json)$`, runBy("servers/e2e/docs/configurations_test.go", "docs/secrets/vault-agent.json")},
	{`^falco -r \S+ -r (scripts/falco/rules.yaml)$`, runBy("servers/e2e/attack/monitoring_test.go", "scripts/falco/rules.yaml")},
	{`^opa run --server .*(scripts/admission/admission.rego)$`, runBy("scripts/test", "test scripts/admission")},
}

// inProse are commands in the middle of a sentence, with names that stand for one.
var inProse = []rule{
	{`^make agent NAME=.*$|^make release$`, nothing}, // in full elsewhere
	{`^make ([a-z-]+( [A-Z]+=[A-Za-z1]+)*)$`, makes},
	{`^(scripts/[a-z]+)( .*)?$`, script},
	{`^docker run --rm -p 4000:4000 IMAGE$`, runBy("servers/e2e/calls_test.go", "docker run --rm -p 4000:4000 IMAGE")},
	{`^docker run$|^docker login$|^go test \./servers/e2e/[a-z]+$`, nothing},
	{`^docker compose (?:--profile|logs|up|down) .*$`, composeFlags},
	{`^go build -o (?:kubernetes-check|verdict) (\./servers/kubernetes|\./scripts/verdict)$`, builds},
	{`^\./kubernetes-check check --fail-on medium manifests/$|^kubernetes check$`, runBy("servers/kubernetes/testdata/script/kinds.txtar", "exec kubernetes check")},
	{`^gateway audit verify$`, runBy("servers/e2e/audit_test.go", `"verify"`)},
	{`^gateway config( docker-agent --agent NAME)?$`, runBy("servers/gateway/config_test.go", "TestConfigForms")},
	{`^(DOCKER_AGENT=/path/to/docker-agent )go test \./servers/e2e/agents$`, runBy("servers/e2e/agents/turn_test.go", `os.Getenv("DOCKER_AGENT")`)},
}

// program is how a piece of code in a sentence begins if it is a command.
var program = regexp.MustCompile(`^((make|docker|go|gateway|kubernetes|DOCKER_AGENT=\S+) [a-z-]|scripts/[a-z]+( |$))`)

// TestCommandsInProse is TestCommands for commands in the middle of a sentence.
func TestCommandsInProse(t *testing.T) {
	seen := 0
	for _, page := range pages(t) {
		for number, line := range strings.Split(read(t, page), "\n") {
			if strings.HasPrefix(line, "    ") || page == "CONTRIBUTING.md" {
				continue
			}
			for _, code := range inlinePattern.FindAllStringSubmatch(line, -1) {
				if !program.MatchString(code[1]) {
					continue
				}
				for command := range strings.SplitSeq(code[1], " && ") {
					seen++
					check(t, inProse, page+":"+strconv.Itoa(number+1), command)
				}
			}
		}
	}
	t.Logf("%d commands", seen)
}

// check holds a command to the first rule that knows it.
func check(t *testing.T, rules []rule, at, command string) {
	t.Helper()
	for _, r := range rules {
		if match := regexp.MustCompile(r.pattern).FindStringSubmatch(command); match != nil {
			r.check(t, at, command, match)
			return
		}
	}
	t.Errorf("%s: no rule knows the command %q: a page shows just what is tested", at, command)
}

// nothing is to be checked of a line that only sets a variable; bash has read it.
func nothing(*testing.T, string, string, []string) {}

// names looks whether the file is there.
func names(t *testing.T, at, command string, match []string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, match[1])); err != nil {
		t.Errorf("%s: %s: %v", at, command, err)
	}
}

// agentOf looks whether there is such an agent.
func agentOf(t *testing.T, at, command string, match []string) {
	t.Helper()
	names(t, at, command, []string{"", "agents/" + match[1] + ".yaml"})
}

// builds builds the package.
func builds(t *testing.T, at, command string, match []string) {
	t.Helper()
	if out, err := run(t, root, "go", "build", "-o", t.TempDir()+"/", match[1]); err != nil {
		t.Errorf("%s: %s: %v: %s", at, command, err, out)
	}
}

// composeFlags looks whether services and profiles are those of compose.yaml.
func composeFlags(t *testing.T, at, command string, _ []string) {
	t.Helper()
	compose := read(t, "compose.yaml")
	for _, found := range regexp.MustCompile(`--profile ([a-z]+)`).FindAllStringSubmatch(command, -1) {
		if !strings.Contains(compose, "profiles: ["+found[1]+"]") {
			t.Errorf("%s: %s: compose.yaml has no profile %s", at, command, found[1])
		}
	}
	for _, found := range regexp.MustCompile(`logs (?:--\S+ )*([a-z-]+)`).FindAllStringSubmatch(command, -1) {
		if !strings.Contains(compose, "\n  "+found[1]+":\n") {
			t.Errorf("%s: %s: compose.yaml has no service %s", at, command, found[1])
		}
	}
}

// commands are the lines of a block as a shell runs them: without prompts, comments and what was printed.
func commands(b block) []string {
	var all []string
	prompted := strings.HasPrefix(b.text, "$ ")
	text := strings.ReplaceAll(b.text, " \\\n", " ")
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if rest, ok := strings.CutPrefix(line, "$ "); ok {
			line = rest
		} else if prompted {
			continue
		}
		if at := strings.Index(line, " # "); at >= 0 {
			line = line[:at]
		}
		for part := range strings.SplitSeq(line, " && ") {
			for stage := range strings.SplitSeq(part, " | ") {
				if stage = strings.Join(strings.Fields(stage), " "); stage != "" && !strings.HasPrefix(stage, "#") {
					all = append(all, stage)
				}
			}
		}
	}
	return all
}

// filters are what other commands' output is piped into.
var filters = regexp.MustCompile(`^(jq -r \.payload|base64 -d|jq \.predicate(\.buildDefinition)?|grep '"msg":"confined"'|go run \./scripts/verdict)$`)

// Every command of the pages is known to one rule, and holds.
func TestCommands(t *testing.T) {
	seen := 0
	for _, page := range pages(t) {
		for _, b := range blocks(page, read(t, page)) {
			if b.info != "" || page == "CONTRIBUTING.md" {
				continue
			}
			at := page + ":" + lineOf(b)
			if isOutput(b) {
				continue
			}
			parsed := exec.CommandContext(t.Context(), "bash", "-n")
			parsed.Stdin = strings.NewReader(strings.ReplaceAll(b.text, "$ ", ""))
			if out, err := parsed.CombinedOutput(); err != nil {
				t.Errorf("%s: bash cannot read it: %s", at, out)
			}
			for _, command := range commands(b) {
				if filters.MatchString(command) {
					continue
				}
				seen++
				check(t, known, at, command)
			}
		}
	}
	t.Logf("%d commands", seen)
	if seen < 40 {
		t.Errorf("only %d commands were found", seen)
	}
}

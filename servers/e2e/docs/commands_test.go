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
	if out, err := run(t, root, "bash", "-c", command); err != nil {
		t.Errorf("%s: %s: %v: %s", at, command, err, out)
	}
}

// finds runs a check of the samples, in which it must find something.
func finds(t *testing.T, at, command string, _ []string) {
	t.Helper()
	if out, err := run(t, root, "bash", "-c", command); err == nil || !strings.HasSuffix(out, "exit status 1\n") {
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
	out := says(t, match[2], append(strings.Fields(args), "--audit", t.TempDir())...)
	for _, wrong := range []string{"flag provided but not defined", "usage: gateway", "unknown"} {
		if strings.Contains(out, wrong) {
			t.Errorf("%s: %s: %s", at, command, out)
		}
	}
}

// names are those of the programs that users call, as a pattern.
var names = func() string {
	mains, _ := filepath.Glob(filepath.Join(root, "servers/*/main.go"))
	for i, path := range mains {
		mains[i] = filepath.Base(filepath.Dir(path))
	}
	return "(?:" + strings.Join(mains, "|") + ")"
}()

// known is every command of the pages.
var known = []rule{
	{`^make (.+)$`, makes},
	{`^(scripts/[a-z]+)( .*)?$`, script},
	{`^"\$\((scripts/tool) [a-z]+\)" .*$`, script},
	{`^docker compose exec (?:-T )?([a-z-]+) /ko-app/([a-z]+) (audit (?:tail|export|verify|checkpoint).*)$`, inBundle},
	{`^docker compose exec gateway /ko-app/gateway audit show --results CALL$`, runBy("servers/e2e/audit_test.go", `"show"`)},
	{`^docker compose exec gateway /ko-app/(gateway diff .*)$`, program},
	{`^docker compose (?:(?:--profile|logs|up|stop) .*|down)$`, composeFlags},
	{`^docker run .*\$BULKHEAD_KUBERNETES_IMAGE( --workspace /workspace)?$`, runBy("servers/e2e/calls_test.go", `"--read-only", "--network", "none", "--cap-drop", "ALL", b.image(t, "kubernetes")`)},
	{`^docker run .*\$BULKHEAD_DOCKERHUB_IMAGE --egress direct$`, runBy("servers/e2e/calls_test.go", `b.image(t, "dockerhub"), "--egress", "direct"`)},
	{`^(set -o pipefail; )?helm template \./chart$`, nothing},
	{`^docker run .*\$BULKHEAD_KUBERNETES_IMAGE check --fail-on medium -$`, runBy("servers/e2e/calls_test.go", `"check", "--fail-on", "medium", "-"`)},
	{`^docker agent run .*(agents/[a-z-]+\.yaml).*$`, exists},
	{`^go run \./servers/gateway config ([a-z-]+) --agent [a-z-]+ >.*$`, runBy("servers/gateway/config_test.go", "TestConfigForms")},
	{`^go run \./servers/(gateway (policy test|check-config) .*|kubernetes check docs/.*|kubernetes call .*|logs scrub .*)$`, here},
	{`^go run \./servers/(kubernetes|terraform) check agents/workspace/.*$`, finds},
	{`^terraform show -json tfplan$`, nothing}, // HashiCorp's
	{`^terraform-check check --only 'aws/\*' --fail-on high --plan -$`, runBy("servers/terraform/testdata/script/plan.txtar", "exec terraform check --plan -")},
	{`^jq .* images/seccomp\*\.json$`, nothing}, // TestFigures
	{`^go test .*$`, tests},
	{`^(cosign (verify|verify-attestation|generate-key-pair)|alias cosign=).*$`, runBy("images/release_test.go", `"verify-attestation --type slsaprovenance1"`)},
	{`^by=\(.*$|^--certificate-identity-regexp .*$`, nothing},
	{`^\. \./\.env$|^export [A-Z_]+=\S*$|^umask 022$|^mkdir -p \S+$`, nothing},
	{`^export MCP_GATEWAY_TOKEN="\$\(cat secrets/agents/([a-z-]+)/MCP_GATEWAY_TOKEN\)"$`, agentOf},
	{`^printf %s "\$ANTHROPIC_API_KEY" >secrets/agents/([a-z-]+)/ANTHROPIC_API_KEY$`, agentOf},
	{`^rm secrets/agents/([a-z-]+)/MCP_GATEWAY_TOKEN$`, agentOf},
	{`^sed -i 1d secrets/tokens/([a-z-]+)\.sha256$`, agentOf},
	{`^vault agent -config=(docs/secrets/vault-agent.json)$`, runBy("servers/e2e/docs/configurations_test.go", "docs/secrets/vault-agent.json")},
	{`^falco -r \S+ -r (scripts/falco/rules.yaml)$`, runBy("servers/e2e/attack/monitoring_test.go", "scripts/falco/rules.yaml")},
	{`^opa run --server .*(scripts/admission/admission.rego)$`, runBy("scripts/test", "test scripts/admission")},
	{`^docker run .* bulkhead_(audit):.*\$BULKHEAD_GATEWAY_IMAGE audit verify$`, runBy("servers/e2e/audit_test.go", `b.image(t, "gateway"), "audit", "verify"`)},
	{`^docker run -i --rm --read-only --network none --cap-drop ALL IMAGE$`, nothing}, // in full in README
	{`^cp -a "\$\(docker volume inspect .* bulkhead_(audit)\)" broken-log$`, volume},
	{`^docker volume rm bulkhead_(audit)$`, volume},
	{`^printf %s [A-Z]+ >secrets/dockerhub/(identifier|secret)$`, runBy("servers/dockerhub/harness_test.go", "func accountIn(")},
	{`^(` + names + ` .*)$`, program},
}

// inProse are commands in the middle of a sentence, with names that stand for one.
var inProse = []rule{
	{`^make agent NAME=.*$|^make release$`, nothing}, // in full elsewhere
	{`^make ([a-z-]+( [A-Z]+=[A-Za-z1]+)*)$`, makes},
	{`^(scripts/[a-z]+)( .*)?$`, script},
	{`^docker run --rm -p 4000:4000 IMAGE$`, runBy("servers/e2e/calls_test.go", "docker run --rm -p 4000:4000 IMAGE")},
	{`^docker (run|login|pull)$|^go (run|build)$`, nothing},
	{`^go test .*$`, tests},
	{`^docker compose (?:(?:--profile|logs|up) .*|down)$`, composeFlags},
	{`^docker compose exec gateway /ko-app/(gateway) COMMAND$|^go run \./servers/([a-z]+) COMMAND$`, nothing},
	{`^go build -o [a-z-]+ (\./servers/[a-z]+|\./scripts/verdict)$`, builds},
	{`^\./kubernetes-check check --fail-on medium manifests/$|^kubernetes check$`, runBy("servers/kubernetes/testdata/script/kinds.txtar", "exec kubernetes check")},
	{`^gateway audit verify$`, runBy("servers/e2e/audit_test.go", `"verify"`)},
	{`^go run \./servers/gateway policy test .*$`, here},
	{`^(go run \./servers/)?gateway config( (docker-agent|CLIENT) --agent NAME)?( >agents/NAME\.yaml)?$`, runBy("servers/gateway/config_test.go", "TestConfigForms")},
	{`^terraform (show -json( PLANFILE)?|plan)$`, nothing}, // HashiCorp's
	{`^(` + names + ` .*)$`, program},
	{`^(DOCKER_AGENT=/path/to/docker-agent )go test \./servers/e2e/agents$`, runBy("servers/e2e/agents/turn_test.go", `os.Getenv("DOCKER_AGENT")`)},
}

// programPattern is how a piece of code in a sentence begins if it is a command.
var programPattern = regexp.MustCompile(`^((make|docker|go|` + names + `|DOCKER_AGENT=\S+) [a-z-]|scripts/[a-z]+( |$))`)

// stagePattern is what stands between commands of one line.
var stagePattern = regexp.MustCompile(` (?:&&|\|) `)

// TestCommandsInProse is TestCommands for commands in the middle of a sentence.
func TestCommandsInProse(t *testing.T) {
	seen := 0
	for _, page := range pages(t) {
		for number, line := range strings.Split(read(t, page), "\n") {
			if strings.HasPrefix(line, "    ") || page == "CONTRIBUTING.md" {
				continue
			}
			for _, code := range inlinePattern.FindAllStringSubmatch(line, -1) {
				for _, command := range stagePattern.Split(code[1], -1) {
					if programPattern.MatchString(command) {
						seen++
						check(t, inProse, page+":"+strconv.Itoa(number+1), command)
					}
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

// exists looks whether the file is there.
func exists(t *testing.T, at, command string, match []string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, match[1])); err != nil {
		t.Errorf("%s: %s: %v", at, command, err)
	}
}

// agentOf looks whether there is such an agent.
func agentOf(t *testing.T, at, command string, match []string) {
	t.Helper()
	exists(t, at, command, []string{"", "agents/" + match[1] + ".yaml"})
}

// builds builds the package.
func builds(t *testing.T, at, command string, match []string) {
	t.Helper()
	if out, err := run(t, root, "go", "build", "-o", t.TempDir()+"/", match[1]); err != nil {
		t.Errorf("%s: %s: %v: %s", at, command, err, out)
	}
}

// tests looks whether the package has a test of that name, or any.
func tests(t *testing.T, at, command string, _ []string) {
	t.Helper()
	dir, name := "", ""
	words := strings.Fields(command)
	for i, word := range words {
		if word == "-run" && i+1 < len(words) {
			name = words[i+1]
		}
		if strings.HasPrefix(word, "./") {
			dir = word
		}
	}
	files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if regexp.MustCompile(`(?m)^func Test\w*` + name).Match(data) {
			return
		}
	}
	t.Errorf("%s: %s: there is no such test", at, command)
}

// volume looks whether compose.yaml has such a volume, in the project of that name.
func volume(t *testing.T, at, command string, match []string) {
	t.Helper()
	if compose := read(t, "compose.yaml"); !strings.Contains(compose, "\nname: bulkhead\n") || !regexp.MustCompile(`\n  `+match[1]+`:( |\n)`).MatchString(compose) {
		t.Errorf("%s: %s: compose.yaml has no such volume", at, command)
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
	named := regexp.MustCompile(`(?:logs|stop)((?: \S+)+)`).FindStringSubmatch(command)
	if named == nil {
		return
	}
	for service := range strings.FieldsSeq(named[1]) {
		if !strings.HasPrefix(service, "-") && !strings.Contains(compose, "\n  "+service+":\n") {
			t.Errorf("%s: %s: compose.yaml has no service %s", at, command, service)
		}
	}
}

// typed are the lines of a block that somebody types: those behind prompts where there are any, else all.
func typed(b block) []string {
	var lines []string
	prompted := strings.HasPrefix(b.text, prompt)
	for line := range strings.Lines(strings.ReplaceAll(b.text, " \\\n", " ")) {
		line = strings.TrimRight(line, "\n")
		rest, isTyped := strings.CutPrefix(line, prompt)
		if isTyped || !prompted {
			lines = append(lines, rest)
		}
	}
	return lines
}

const prompt = "$ "

// commands are those of a block as a shell runs them, one by one and without comments.
func commands(b block) []string {
	var all []string
	for _, line := range typed(b) {
		if at := strings.Index(line, " # "); at >= 0 {
			line = line[:at]
		}
		for _, stage := range stagePattern.Split(line, -1) {
			if stage = strings.Join(strings.Fields(stage), " "); stage != "" && !strings.HasPrefix(stage, "#") {
				all = append(all, stage)
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
			if isOutput(b) || synopsis(b) != nil { // which TestManuals reads
				continue
			}
			parsed := exec.CommandContext(t.Context(), "bash", "-n")
			parsed.Stdin = strings.NewReader(strings.Join(typed(b), "\n"))
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

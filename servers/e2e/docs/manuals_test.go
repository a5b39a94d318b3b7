package docs

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// bin is the folder of the programs that were asked for.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if bin, err = os.MkdirTemp("", "docs"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(bin) }()
		return m.Run()
	}())
}

// programOf is the name of the program that a manual is about, "" for a page that is no manual or has no program.
func programOf(page string) string {
	dir := filepath.Dir(page)
	if _, err := os.Stat(filepath.Join(root, dir, "main.go")); err != nil || filepath.Base(page) != "README.md" {
		return ""
	}
	return filepath.Base(dir)
}

// binary is the path of a program, which is built when it is first asked for.
func binary(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(bin, name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	for _, page := range pages(t) {
		if programOf(page) != name {
			continue
		}
		// Go keeps what it links for go run, and not for go build.
		if out, err := run(t, filepath.Join(root, filepath.Dir(page)), "go", "run", "-exec", "cp -t "+bin, "."); err != nil {
			_ = os.Remove(path) // what was copied of it
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		return path
	}
	t.Fatalf("no manual is about a program %s", name)
	return ""
}

// usage is a command of a program, in a synopsis or as somebody types it.
type usage struct {
	program string
	words   []string // such as audit, tail
	flags   []string // that stand behind them, without dashes
}

var (
	remarkPattern = regexp.MustCompile(`\s{2,}\p{Ll}.*$`) // what a synopsis says of a line, in the line
	wordPattern   = regexp.MustCompile(`^\[?([a-z][a-z|-]*)\]?$`)
	flagPattern   = regexp.MustCompile(`(?:^|[\s\[|])--?([a-z][a-z-]*)`)
)

// usages are the commands of a line: several, where it has alternatives such as `health | version`.
func usages(line string) []usage {
	program, rest, _ := strings.Cut(remarkPattern.ReplaceAllString(line, ""), " ")
	var all []usage
	var before []string
	for _, alternative := range alternatives(rest) {
		var words []string
		for word := range strings.FieldsSeq(alternative) {
			match := wordPattern.FindStringSubmatch(word)
			if match == nil {
				break
			}
			words = append(words, match[1])
		}
		if len(words) == 0 {
			words = before // other flags of the same command
		} else if len(before) > len(words) {
			words = append(slices.Clone(before[:len(before)-len(words)]), words...)
		}
		before = words
		u := usage{program: filepath.Base(program), words: words}
		for _, found := range flagPattern.FindAllStringSubmatch(alternative, -1) {
			u.flags = append(u.flags, found[1])
		}
		if len(words) == 0 {
			all = append(all, u)
			continue
		}
		last := len(words) - 1
		for choice := range strings.SplitSeq(words[last], "|") {
			u.words = append(slices.Clone(words[:last]), choice)
			all = append(all, u)
		}
	}
	return all
}

// alternatives are what stands between bars that are in no brackets.
func alternatives(text string) []string {
	depth, begin := 0, 0
	var all []string
	for i, r := range text {
		switch {
		case r == '[':
			depth++
		case r == ']':
			depth--
		case depth == 0 && strings.HasPrefix(text[i:], " | "):
			all = append(all, text[begin:i])
			begin = i + len(" | ")
		}
	}
	return append(all, text[begin:])
}

// noSuchFlag ends every command line that is tried, so that nothing is done: a program that has read all before it says so.
const noSuchFlag = "no-such-flag"

// says is what a program prints for a command line that is wrong.
func says(t *testing.T, program string, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), binary(t, program), args...)
	c.Dir = t.TempDir()
	out, err := c.CombinedOutput()
	if c.ProcessState == nil || !c.ProcessState.Exited() {
		t.Fatalf("%s %q did not run to its end: %v: %s", program, args, err, out)
	}
	return string(out)
}

// hasCommand says whether the program has the command.
func hasCommand(t *testing.T, program string, words []string) bool {
	t.Helper()
	if len(words) == 1 && slices.Contains([]string{"help", "version"}, words[0]) { // take no flags
		return !strings.Contains(says(t, program, words...), "unknown command")
	}
	return strings.Contains(says(t, program, append(slices.Clone(words), "--"+noSuchFlag)...), noSuchFlag)
}

// hasFlag says whether a command of the program has the flag.
func hasFlag(t *testing.T, program string, words []string, flag string) bool {
	t.Helper()
	if flag == "h" {
		return true
	}
	out := says(t, program, append(slices.Clone(words), "--"+flag+"=no-such-value", "--"+noSuchFlag)...)
	return regexp.MustCompile(`not defined: -` + noSuchFlag + `|invalid .* for (flag )?-` + flag + `:`).MatchString(out)
}

// program holds a command of one of the programs to it: the program has the command, the command has the flags, and what is
// called is a tool with these arguments.
func program(t *testing.T, at, command string, match []string) {
	t.Helper()
	for _, u := range usages(match[1]) {
		if !hasCommand(t, u.program, u.words) {
			t.Errorf("%s: %s: %s has no command %q", at, command, u.program, strings.Join(u.words, " "))
			continue
		}
		for _, flag := range u.flags {
			if !hasFlag(t, u.program, u.words, flag) {
				t.Errorf("%s: %s: %s has no flag --%s", at, command, strings.Join(append([]string{u.program}, u.words...), " "), flag)
			}
		}
		if call := callPattern.FindStringSubmatch(match[1]); call != nil {
			checkCall(t, at, u.program, call[1], call[2])
		}
	}
}

var callPattern = regexp.MustCompile(` call .*?([a-z_]+) '(\{.*\})'$`)

// checkCall holds a call to the lock: there is such a tool, and it has these arguments.
func checkCall(t *testing.T, at, server, tool, args string) {
	t.Helper()
	var lock struct {
		Servers map[string]map[string]struct {
			Definition struct {
				InputSchema struct {
					Properties map[string]any `json:"properties"`
				} `json:"inputSchema"`
			} `json:"definition"`
		} `json:"servers"`
	}
	if err := json.Unmarshal([]byte(read(t, "agents/tools.lock.json")), &lock); err != nil {
		t.Fatal(err)
	}
	locked, ok := lock.Servers[server][tool]
	if !ok {
		t.Errorf("%s: %s has no tool %s", at, server, tool)
		return
	}
	var given map[string]any
	if err := json.Unmarshal([]byte(args), &given); err != nil {
		t.Errorf("%s: %s: %v", at, args, err)
	}
	for name := range given {
		if _, ok := locked.Definition.InputSchema.Properties[name]; !ok {
			t.Errorf("%s: %s of %s has no argument %s", at, tool, server, name)
		}
	}
}

// synopsis are the lines of a block that says how the program of a manual is called, nil for any other block. A line that
// begins with a space goes on from the one before.
func synopsis(b block) []string {
	name := programOf(b.page)
	if name == "" || b.info != "" {
		return nil
	}
	var lines []string
	for line := range strings.Lines(b.text) {
		line = strings.TrimRight(line, "\n")
		switch first, _, _ := strings.Cut(line, " "); {
		case line == "":
		case first == name || first == "scripts/"+name:
			lines = append(lines, line)
		case first == "" && len(lines) > 0:
			lines[len(lines)-1] += " " + strings.TrimSpace(line)
		default:
			return nil
		}
	}
	return lines
}

var (
	commandsPattern = regexp.MustCompile(`(?m)^commands: (.*)$`)
	printedFlag     = regexp.MustCompile(`(?m)^  -([a-z][a-z-]*)`)
	inlineFlag      = regexp.MustCompile(`^--([a-z][a-z-]+)`)
)

// Every command and every flag of a manual is one that its program has, and the other way round.
func TestManuals(t *testing.T) {
	common := commonFlags(t)
	for _, page := range pages(t) {
		if name := programOf(page); name != "" {
			t.Run(name, func(t *testing.T) { checkManual(t, page, name, common) })
		}
	}
}

func checkManual(t *testing.T, page, name string, common []string) {
	t.Helper()
	text := read(t, page)
	var lines []string
	for _, b := range blocks(page, text) {
		lines = append(lines, synopsis(b)...)
	}
	var all []usage
	hasFlags := false
	for _, line := range lines {
		for _, u := range usages(line) {
			all = append(all, u)
			hasFlags = hasFlags || len(u.flags) > 0
		}
	}
	if len(all) == 0 && !strings.Contains(page, "/e2e/") {
		t.Errorf("%s: it has no synopsis", page)
	}
	if !hasFlags {
		checkWithoutFlags(t, page, name, all)
		return
	}
	for _, line := range lines {
		program(t, page, line, []string{"", line})
	}
	checkComplete(t, page, name, all, common)
	for number, line := range strings.Split(text, "\n") {
		for _, code := range inlinePattern.FindAllStringSubmatch(line, -1) {
			flag := inlineFlag.FindStringSubmatch(code[1])
			if flag != nil && !slices.ContainsFunc(all, func(u usage) bool { return hasFlag(t, name, u.words, flag[1]) }) {
				t.Errorf("%s:%d: no command of %s has the flag --%s", page, number+1, name, flag[1])
			}
		}
	}
}

// commonFlags are those that every server with tools has, and no manual has to tell of.
func commonFlags(t *testing.T) []string {
	t.Helper()
	var common []string
	for i, name := range []string{"kubernetes", "logs"} { // which have no flag of their own in common
		var own []string
		for _, flag := range printedFlag.FindAllStringSubmatch(says(t, name, "serve", "-h"), -1) {
			if i == 0 || slices.Contains(common, flag[1]) {
				own = append(own, flag[1])
			}
		}
		common = own
	}
	if len(common) < 5 {
		t.Fatalf("the servers have only %q in common", common)
	}
	return common
}

// checkWithoutFlags holds a manual to a program that has commands at most: what it says of a wrong one names them all.
func checkWithoutFlags(t *testing.T, page, name string, all []usage) {
	t.Helper()
	if len(all) == 0 {
		return
	}
	said := says(t, name, "no-such-command")
	for _, u := range all {
		if want := strings.Join(append([]string{name}, u.words...), " "); !strings.Contains(strings.ReplaceAll(said, "[", ""), want) {
			t.Errorf("%s: %s has no command %q: %s", page, name, want, said)
		}
	}
}

// checkComplete looks whether a manual has the commands that the program lists, and the flags that these list.
func checkComplete(t *testing.T, page, name string, all []usage, common []string) {
	t.Helper()
	if found := commandsPattern.FindStringSubmatch(says(t, name, "help")); found != nil {
		for listed := range strings.SplitSeq(found[1], ", ") {
			listed, _, _ = strings.Cut(listed, " ")
			if !slices.ContainsFunc(all, func(u usage) bool { return len(u.words) > 0 && u.words[0] == listed }) {
				t.Errorf("%s: it does not tell of %s %s", page, name, listed)
			}
		}
	}
	text := read(t, page)
	for _, u := range all {
		for _, flag := range printedFlag.FindAllStringSubmatch(says(t, name, append(slices.Clone(u.words), "-h")...), -1) {
			if !slices.Contains(common, flag[1]) && !regexp.MustCompile(`--?`+flag[1]+`\b`).MatchString(text) {
				t.Errorf("%s: it does not tell of the flag --%s of %s %s", page, flag[1], name, strings.Join(u.words, " "))
			}
		}
	}
}

// exchange is a command with what a page says that it prints.
type exchange struct {
	command string
	printed []string
}

// exchanges are those of a block with prompts.
func exchanges(b block) []exchange {
	var all []exchange
	if !strings.HasPrefix(b.text, prompt) {
		return nil
	}
	for line := range strings.Lines(b.text) {
		line = strings.TrimRight(line, "\n")
		if command, ok := strings.CutPrefix(line, prompt); ok {
			all = append(all, exchange{command: command})
		} else {
			last := &all[len(all)-1]
			last.printed = append(last.printed, line)
		}
	}
	return all
}

// printedPattern matches what a page says is printed: a part of all that is, in which dots stand for what is left out. Spaces and
// ends of lines do not count, since a page may write an object in one line.
func printedPattern(lines []string) *regexp.Regexp {
	shown := regexp.QuoteMeta(squeeze(strings.Join(lines, "")))
	return regexp.MustCompile(strings.ReplaceAll(shown, "…", ".*"))
}

func squeeze(text string) string { return strings.Join(strings.Fields(text), "") }

// elsewhere are commands whose output takes a bundle, or Docker Hub: that they can be run is TestCommands' matter.
var elsewhere = regexp.MustCompile(`^(docker compose exec|door --listen|registry check --egress direct) `)

// What a manual says that a command prints is what it prints.
func TestPrinted(t *testing.T) {
	work := t.TempDir()
	logs, err := filepath.Abs(filepath.Join(root, "agents/workspace/logs"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(work, "sources.yaml"), strings.ReplaceAll(read(t, "servers/logs/sources.yaml"), " /logs\n", " "+logs+"\n"), 0o644)
	folders := map[string]string{"kubernetes": filepath.Join(root, "agents/workspace/kubernetes"), "logs": work}
	seen := 0
	for _, page := range pages(t) {
		for _, b := range blocks(page, read(t, page)) {
			for _, e := range exchanges(b) {
				if len(e.printed) == 0 || elsewhere.MatchString(e.command) {
					continue
				}
				seen++
				name, _, _ := strings.Cut(e.command, " ")
				dir := cmp.Or(folders[name], root)
				out, _ := run(t, dir, "bash", "-c", binary(t, name)+strings.TrimPrefix(e.command, name))
				if !printedPattern(e.printed).MatchString(squeeze(out)) {
					t.Errorf("%s:%s: %s prints something else:\n%s", page, lineOf(b), e.command, out)
				}
			}
		}
	}
	if seen < 4 {
		t.Errorf("only %d commands were run", seen)
	}
}

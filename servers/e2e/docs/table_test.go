package docs

import (
	"encoding/json"
	"flag"
	"fmt"
	gobuild "go/build"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const root = "../../.."

var update = flag.Bool("update", false, "write README's table of servers")

const (
	tableBegins = "<!-- made by: go test ./servers/e2e/docs -run TestTable -update -->\n"
	tableEnds   = "<!-- end -->\n"
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// table is what README says of the servers: the first sentence of each one's package comment, the tools of the lock, and what
// egress lets it reach.
func table(t *testing.T) string {
	t.Helper()
	var lock struct {
		Servers map[string]map[string]any `json:"servers"`
	}
	if err := json.Unmarshal([]byte(read(t, "agents/tools.lock.json")), &lock); err != nil {
		t.Fatal(err)
	}
	var egress struct {
		Clients map[string]struct {
			Presets []string `yaml:"presets"`
			Hosts   []struct {
				Host string `yaml:"host"`
			} `yaml:"hosts"`
		} `yaml:"clients"`
	}
	if err := yaml.Unmarshal([]byte(read(t, "servers/egress/policy.yaml")), &egress); err != nil {
		t.Fatal(err)
	}
	mains, err := filepath.Glob(filepath.Join(root, "servers/*/main.go"))
	if err != nil || len(mains) == 0 {
		t.Fatalf("no servers: %v", err)
	}
	var withTools, others strings.Builder
	for _, main := range mains {
		name := filepath.Base(filepath.Dir(main))
		pkg, err := gobuild.ImportDir(filepath.Dir(main), 0)
		if err != nil {
			t.Fatal(err)
		}
		purpose := strings.TrimSuffix(strings.TrimPrefix(pkg.Doc, "Command "+name+" "), ".")
		var tools []string
		for _, tool := range slices.Sorted(maps.Keys(lock.Servers[name])) {
			tools = append(tools, "`"+tool+"`")
		}
		client := egress.Clients[name]
		reaches := slices.Clone(client.Presets)
		for _, h := range client.Hosts {
			reaches = append(reaches, h.Host)
		}
		out := &withTools
		if len(tools) == 0 {
			out = &others
		}
		fmt.Fprintf(out, "| [%s](servers/%s/README.md) | %s | %s | %s |\n", name, name, purpose, orNone(tools), orNone(reaches))
	}
	return "| server | what it does | tools | reaches, through egress |\n| --- | --- | --- | --- |\n" + withTools.String() + others.String()
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "–"
	}
	return strings.Join(list, ", ")
}

// TestTable holds README's table to what it is made of.
func TestTable(t *testing.T) {
	readme := read(t, "README.md")
	before, rest, begins := strings.Cut(readme, tableBegins)
	have, after, ends := strings.Cut(rest, tableEnds)
	if !begins || !ends {
		t.Fatalf("README.md has no place for the table, between %q and %q", tableBegins, tableEnds)
	}
	want := table(t)
	if *update {
		if err := os.WriteFile(filepath.Join(root, "README.md"), []byte(before+tableBegins+want+tableEnds+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(have, "\n")); diff != "" {
		t.Errorf("README's table of servers; -update writes it (-made +written):\n%s", diff)
	}
}

// Every link to a file of the repository leads to one, and every heading that is linked to is there.
func TestLinks(t *testing.T) {
	for _, page := range pages(t) {
		for _, link := range links(read(t, page)) {
			file, heading, _ := strings.Cut(link, "#")
			path := page
			if file != "" {
				path = filepath.Join(filepath.Dir(page), file)
			}
			info, err := os.Stat(filepath.Join(root, path))
			if err != nil {
				t.Errorf("%s links to %s: %v", page, link, err)
				continue
			}
			if heading != "" && !info.IsDir() && !slices.Contains(headings(read(t, path)), heading) {
				t.Errorf("%s links to %s: there is no such heading", page, link)
			}
		}
	}
}

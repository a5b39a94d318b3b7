package docs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"

	"go.yaml.in/yaml/v3"

	"github.com/bulkhead-mcp/bulkhead/servers/e2e/fakemodel/model"
)

// Every fenced block is of a kind that something here reads.
func TestConfigurations(t *testing.T) {
	dir := t.TempDir()
	for _, page := range pages(t) {
		for _, b := range blocks(page, read(t, page)) {
			switch info := b.info; {
			case info == "" || info == "picture":
			case page == "CONTRIBUTING.md": // the recipe, which TestRecipe follows
			case info == "json":
				if !json.Valid([]byte(b.text)) {
					t.Errorf("%s:%d: no JSON:\n%s", page, b.line, b.text)
				}
			case info == "yaml" && strings.Contains(b.text, "\nclients:"):
				accepts(t, b, "egress", "check-config", "--policy")
			case info == "yaml" && strings.Contains(b.text, "\nagents:"):
				accepts(t, b, "gateway", "check-config", "--lock", filepath.Join(root, "agents/tools.lock.json"), "--policy")
			case info == "yaml" && strings.Contains(b.text, "\nregistries:"):
				accepts(t, b, "registry", "tools", "--trusted-root", filepath.Join(root, "servers/registry/testdata/keyless/trusted-root-public-good.json"), "--registries")
			case info == "yaml" && strings.Contains(b.text, "\nsources:"):
				checkSources(t, b)
			case info == "yaml" && strings.HasPrefix(b.text, "rules:"):
				checkRights(t, b)
			case info == "yaml" && strings.HasPrefix(b.text, "model:"):
				if _, err := model.ReadScript(strings.NewReader(b.text)); err != nil {
					t.Errorf("%s:%d: %v", page, b.line, err)
				}
			case info == "yaml" && strings.Contains(b.text, "services:"):
				checkComposeFragment(t, b)
			case info == "rego":
				policies := filepath.Join(dir, "policies")
				write(t, filepath.Join(policies, "page.rego"), b.text, 0o644)
				// Whether it starts with the policy; what the policy says of a manifest is another matter.
				if out, err := run(t, root, "go", "run", "./servers/kubernetes", "check", "--policies", policies, "docs/secrets/kubernetes.yaml"); err != nil && !strings.Contains(out, "exit status 1") {
					t.Errorf("%s:%d: %v: %s", page, b.line, err, out)
				}
			default:
				t.Errorf("%s:%d: nobody here reads a block of %q", page, b.line, info)
			}
		}
	}
}

// accepts gives a configuration to the program that reads it.
func accepts(t *testing.T, b block, program string, args ...string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "page.yaml")
	write(t, path, b.text, 0o644)
	if out, err := run(t, ".", binary(t, program), append(args, path)...); err != nil {
		t.Errorf("%s:%d: %s does not take it: %v: %s", b.page, b.line, program, err, out)
	}
}

// checkSources gives a file of sources to logs, with folders that are there. Its cluster takes a way out, and logs asks for that
// once it has understood the file.
func checkSources(t *testing.T, b block) {
	t.Helper()
	b.text = regexp.MustCompile(`folder: \S+`).ReplaceAllLiteralString(b.text, "folder: "+t.TempDir())
	path := filepath.Join(t.TempDir(), "sources.yaml")
	write(t, path, b.text, 0o644)
	if out := says(t, "logs", "tools", "--sources", path); !strings.Contains(out, "no way out") {
		t.Errorf("%s:%d: logs does not take it: %s", b.page, b.line, out)
	}
}

// checkRights looks whether the rules of a Role are those that the test against a real API server grants.
func checkRights(t *testing.T, b block) {
	t.Helper()
	var role struct {
		Rules []struct {
			Groups    []string `json:"apiGroups" yaml:"apiGroups"`
			Resources []string `json:"resources"`
			Verbs     []string `json:"verbs"`
		}
	}
	if err := yaml.Unmarshal([]byte(b.text), &role); err != nil || len(role.Rules) == 0 {
		t.Errorf("%s:%d: no rules: %v", b.page, b.line, err)
	}
	for _, rule := range role.Rules {
		granted, err := json.Marshal(rule)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(read(t, "servers/logs/pods_test.go"), string(granted)) {
			t.Errorf("%s:%d: no test grants %s", b.page, b.line, granted)
		}
	}
}

// checkComposeFragment looks whether the services are the bundle's, and mount where they mount something already.
func checkComposeFragment(t *testing.T, b block) {
	t.Helper()
	var fragment struct {
		Services map[string]struct {
			Secrets []struct{ Source, Target string } `yaml:"secrets"`
		} `yaml:"services"`
		Secrets map[string]struct{ File string } `yaml:"secrets"`
	}
	decoder := yaml.NewDecoder(strings.NewReader(b.text))
	if err := decoder.Decode(&fragment); err != nil {
		t.Errorf("%s:%d: %v", b.page, b.line, err)
		return
	}
	var whole struct {
		Services map[string]struct {
			Volumes []yaml.Node `yaml:"volumes"`
		} `yaml:"services"`
	}
	if err := yaml.Unmarshal([]byte(read(t, "compose.yaml")), &whole); err != nil {
		t.Fatal(err)
	}
	for name, s := range fragment.Services {
		service, ok := whole.Services[name]
		if !ok {
			t.Errorf("%s:%d: there is no service %s", b.page, b.line, name)
		}
		for _, secret := range s.Secrets {
			if _, ok := fragment.Secrets[secret.Source]; !ok {
				t.Errorf("%s:%d: no secret %s", b.page, b.line, secret.Source)
			}
			mounted := false
			for _, v := range service.Volumes {
				var long struct{ Target string }
				mounted = mounted || v.Decode(&long) == nil && long.Target == filepath.Dir(secret.Target)
			}
			if !mounted {
				t.Errorf("%s:%d: %s reads nothing in %s", b.page, b.line, name, filepath.Dir(secret.Target))
			}
		}
	}
}

func run(t *testing.T, dir, command string, args ...string) (string, error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), command, args...)
	c.Dir, c.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath")
	out, err := c.CombinedOutput()
	return string(out), err
}

// Vault Agent's templates write what the gateway and the agent read: rendered here as Vault Agent does it, by Go's templates with
// its functions.
func TestVaultAgent(t *testing.T) {
	var config struct {
		Vault    map[string]string `json:"vault"`
		AutoAuth struct {
			Method []map[string]any `json:"method"`
		} `json:"auto_auth"`
		Settings struct {
			Exit     bool   `json:"exit_on_retry_failure"`
			Interval string `json:"static_secret_render_interval"`
		} `json:"template_config"`
		Templates []struct{ Source, Destination, Perms string } `json:"template"`
	}
	decoder := json.NewDecoder(strings.NewReader(read(t, "docs/secrets/vault-agent.json")))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&config); err != nil {
		t.Fatal(err)
	}
	secrets := map[string]map[string]any{
		"secret/data/bulkhead/agents/image-linter": {"token": "new", "previous": "old"},
		"secret/data/bulkhead/dockerhub":           {"token": "dckr_pat_x"},
	}
	type secret struct{ Data map[string]any }
	functions := template.FuncMap{
		"secret": func(path string) *secret {
			if data, ok := secrets[path]; ok {
				return &secret{map[string]any{"data": data}}
			}
			t.Errorf("a template asks for %s", path)
			return nil
		},
		"sha256Hex": hash,
	}
	dir := t.TempDir()
	written := map[string]string{}
	for _, entry := range config.Templates {
		parsed, err := template.New(entry.Source).Funcs(functions).Parse(read(t, "docs/secrets/"+entry.Source))
		if err != nil {
			t.Error(err)
			continue
		}
		var out bytes.Buffer
		if err := parsed.Execute(&out, nil); err != nil {
			t.Error(err)
			continue
		}
		written[entry.Destination] = out.String()
		path := filepath.Join(dir, entry.Destination)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := written["secrets/agents/image-linter/MCP_GATEWAY_TOKEN"]; got != "new" {
		t.Errorf("the token is %q", got)
	}
	if got := written["secrets/dockerhub/secret"]; got != "dckr_pat_x" {
		t.Errorf("dockerhub's token is %q", got)
	}
	if got, want := written["secrets/tokens/image-linter.sha256"], hash("new")+"\n"+hash("old")+"\n"; got != want {
		t.Errorf("the accepted hashes are %q, not %q", got, want)
	}
	// The gateway takes them.
	policy := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(policy, []byte("version: 1\nagents:\n  image-linter:\n    identity: {token: image-linter}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := run(t, root, "go", "run", "./servers/gateway", "check-config", "--policy", policy, "--tokens", filepath.Join(dir, "secrets/tokens")); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	delete(secrets["secret/data/bulkhead/agents/image-linter"], "previous") // the rotation is over
	parsed := template.Must(template.New("").Funcs(functions).Parse(read(t, "docs/secrets/hashes.ctmpl")))
	var out bytes.Buffer
	if err := parsed.Execute(&out, nil); err != nil || out.String() != hash("new")+"\n" {
		t.Errorf("%q, %v", &out, err)
	}
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// The cluster's manifest is one that Bulkhead's own gate passes, and mounts the secrets where the server reads them.
func TestSecretManagerManifest(t *testing.T) {
	if out, err := run(t, root, "go", "run", "./servers/kubernetes", "check", "docs/secrets/kubernetes.yaml"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	var class struct {
		Kind     string
		Metadata struct{ Name string }
		Spec     struct {
			Parameters struct{ Secrets string }
		}
	}
	var deployment struct {
		Spec struct {
			Template struct {
				Spec struct {
					Containers []struct {
						Args         []string
						VolumeMounts []struct{ Name, MountPath string } `yaml:"volumeMounts"`
					}
					Volumes []struct {
						Name string
						CSI  struct {
							VolumeAttributes map[string]string `yaml:"volumeAttributes"`
						}
					}
				}
			}
		}
	}
	decoder := yaml.NewDecoder(strings.NewReader(read(t, "docs/secrets/kubernetes.yaml")))
	for {
		var node yaml.Node
		if err := decoder.Decode(&node); err == io.EOF { //nolint:errorlint // the decoder's own
			break
		} else if err != nil {
			t.Fatal(err)
		}
		var kind struct{ Kind string }
		if err := node.Decode(&kind); err != nil {
			t.Fatal(err)
		}
		var err error
		switch kind.Kind {
		case "SecretProviderClass":
			err = node.Decode(&class)
		case "Deployment":
			err = node.Decode(&deployment)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var files []struct {
		ResourceName string `yaml:"resourceName"`
		Path         string `yaml:"path"`
	}
	if err := yaml.Unmarshal([]byte(class.Spec.Parameters.Secrets), &files); err != nil || len(files) == 0 || !strings.HasSuffix(files[0].Path, ".sha256") {
		t.Errorf("%v: %+v", err, files)
	}
	pod := deployment.Spec.Template.Spec
	if len(pod.Containers) != 1 || len(pod.Volumes) != 1 || pod.Volumes[0].CSI.VolumeAttributes["secretProviderClass"] != class.Metadata.Name ||
		!strings.Contains(strings.Join(pod.Containers[0].Args, " "), "--tokens="+pod.Containers[0].VolumeMounts[0].MountPath) {
		t.Errorf("%+v", pod)
	}
}

// The pages say how many system calls the engine's profiles allow, and how many they refuse by name.
func TestFigures(t *testing.T) {
	var allowed []int
	for _, name := range []string{"", "-door", "-egress"} {
		var profile struct {
			Syscalls []struct {
				Names  []string `json:"names"`
				Action string   `json:"action"`
			} `json:"syscalls"`
		}
		if err := json.Unmarshal([]byte(read(t, "images/seccomp"+name+".json")), &profile); err != nil {
			t.Fatal(err)
		}
		calls := map[string]bool{}
		for _, s := range profile.Syscalls {
			for _, call := range s.Names {
				if s.Action == "SCMP_ACT_ALLOW" {
					calls[call] = true
				}
			}
		}
		allowed = append(allowed, len(calls))
	}
	allows := fmt.Sprintf("%d to %d", slices.Min(allowed), slices.Max(allowed))
	refuses := fmt.Sprintf("by name, %d calls", strings.Count(read(t, "servers/e2e/attack/refused.go"), "unix.SYS_"))
	for page, figures := range map[string][]string{
		"docs/monitoring.md": {allows + " system calls", refuses},
		"SECURITY.md":        {allows + " of its system calls"},
	} {
		text := strings.Join(strings.Fields(read(t, page)), " ")
		for _, figure := range figures {
			if !strings.Contains(text, figure) {
				t.Errorf("%s: it is %q by now", page, figure)
			}
		}
	}
}

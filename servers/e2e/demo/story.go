package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpclient"
)

var (
	//go:embed fixed.yaml
	fixedManifest []byte
	// plan is what `terraform show -json` says of a change that somebody means to apply.
	//
	//go:embed plan.json
	plan []byte
)

const (
	podSecurity = "kubernetes_check_pod_security"
	manifest    = "kubernetes/shop-web.yaml"
	shownAtMost = 5 // findings of one answer

	// The gateway looks at a server's definitions when it connects anew, which is within seconds.
	retries = 60
	pause   = 500 * time.Millisecond
)

// story is what is told, in order.
func story() []step {
	return []step{
		{"An outdated image", "The agent registry-auditor looks at a Dockerfile of the shop. The registry server asks the shop's registry,\nthrough egress, which lets it reach that host and no other.", outdated},
		{"An unsigned image", "It asks who has signed what runs. The key of the shop's release is the only one that counts here.", unsigned},
		{"Manifests refused, fixed, and passed", "The agent policy-gate checks a deployment before it is one. The fix is a person's: no tool here can write.", gated},
		{"A Terraform plan refused, fixed, and passed", "policy-gate again, with the output of terraform show -json. It says first what the plan would destroy.", planned},
		{"A log with its secrets gone, and a line that gives orders", "The agent devsecops-chatbot reads the shop's log. Secrets are redacted before anything is looked for, and nobody can\nswitch that off. What a log says is data, and whoever believes it has only the tools that were granted.", logged},
		{"A call that the policy refuses", "The agent image-linter has been talked into asking for more. What it was not granted does not exist for it,\nand of what it was granted, the arguments are looked at.", refused},
		{"A tool that has changed", "Somebody has replaced a server. Its tool now gives the model orders in its description. The gateway serves a tool\nonly while its definition is the reviewed one of agents/tools.lock.json.", changed},
		{"The evidence", "Every call so far has a record, written to disk before its answer left, and signed. Then we do what an intruder with\naccess to the disk would: we change one record.", evidence},
	}
}

// ask calls a tool as an agent and decodes the result.
func (b *bundle) ask(ctx context.Context, agent, tool string, args map[string]any, out any) error {
	client, err := b.as(agent)
	if err != nil {
		return err
	}
	result, err := client.CallTool(ctx, tool, args, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", tool, err)
	}
	if result.IsError {
		return fmt.Errorf("%s: %s", tool, result.Text)
	}
	return json.Unmarshal(result.Structured, out)
}

// expect is how the story fails where something else happened.
func expect(is bool, format string, args ...any) error {
	if is {
		return nil
	}
	return fmt.Errorf("this should not be so: "+format, args...)
}

func outdated(ctx context.Context, b *bundle, t *teller) error {
	var out struct {
		Images []struct {
			Image    string `json:"image"`
			Class    string `json:"class"`
			Update   string `json:"update"`
			Mentions []struct {
				File    string `json:"file"`
				Changes []struct {
					Line int    `json:"line"`
					Old  string `json:"old"`
					New  string `json:"new"`
				} `json:"changes"`
			} `json:"mentions"`
		} `json:"images"`
	}
	if err := b.ask(ctx, "registry-auditor", "registry_check_updates", map[string]any{"path": "Dockerfile"}, &out); err != nil {
		return err
	}
	for _, image := range out.Images {
		t.say("%s: there is a newer %s version, %s", image.Image, image.Class, image.Update)
		for _, mention := range image.Mentions {
			for _, change := range mention.Changes {
				t.say("%s:%d: %s", mention.File, change.Line, change.Old)
				t.say("%s becomes: %s", strings.Repeat(" ", len(mention.File)), change.New)
			}
		}
	}
	return expect(len(out.Images) == 1 && out.Images[0].Class == "minor" && strings.HasPrefix(out.Images[0].Update, "1.27.2@sha256:"), "%+v", out)
}

func unsigned(ctx context.Context, b *bundle, t *teller) error {
	for _, look := range []struct{ image, want string }{{"shop/nginx:1.27.2", "absent"}, {"shop/api:2.4.1", "verified"}} {
		var out struct {
			Subjects []struct {
				Signature string `json:"signature"`
				Found     []struct {
					By string `json:"by"`
				} `json:"found"`
			} `json:"subjects"`
		}
		if err := b.ask(ctx, "registry-auditor", "registry_check_signatures", map[string]any{"reference": registryHost + "/" + look.image}, &out); err != nil {
			return err
		}
		if err := expect(len(out.Subjects) > 0 && out.Subjects[0].Signature == look.want, "%s: %+v", look.image, out); err != nil {
			return err
		}
		by := ""
		if found := out.Subjects[0].Found; len(found) > 0 {
			by = ", by the " + found[0].By
		}
		t.say("%s: its signature is %s%s", look.image, look.want, by)
	}
	return nil
}

// verdict is what a check of manifests answers, as far as it is told.
type verdict struct {
	Verdict  string `json:"verdict"`
	Findings []struct {
		Rule     string `json:"rule"`
		Fix      string `json:"fix"`
		Object   string `json:"object"`
		Location struct {
			Line int `json:"line"`
		} `json:"location"`
	} `json:"findings"`
}

func gated(ctx context.Context, b *bundle, t *teller) error {
	args := map[string]any{"path": manifest, "level": "restricted"}
	var before, after verdict
	if err := b.ask(ctx, "policy-gate", podSecurity, args, &before); err != nil {
		return err
	}
	t.say("%s: %s, with %d findings, such as", manifest, before.Verdict, len(before.Findings))
	for _, f := range before.Findings[:min(shownAtMost, len(before.Findings))] {
		t.say("  line %d: %s: %s", f.Location.Line, f.Rule, f.Fix)
	}
	if err := os.WriteFile(b.path("workspace/"+manifest), fixedManifest, 0o644); err != nil { //nolint:gosec // the containers' uid reads it
		return err
	}
	if err := b.ask(ctx, "policy-gate", podSecurity, args, &after); err != nil {
		return err
	}
	t.say("%s, once fixed: %s", manifest, after.Verdict)
	return expect(before.Verdict == "fail" && after.Verdict == "pass", "%s, then %s: %+v", before.Verdict, after.Verdict, after.Findings)
}

func planned(ctx context.Context, b *bundle, t *teller) error {
	var before, after struct {
		verdict
		Delta struct {
			Destroyed []struct {
				Address string `json:"address"`
			} `json:"destroyed"`
		} `json:"expected_delta"`
	}
	if err := b.ask(ctx, "policy-gate", "terraform_check_plan", map[string]any{"text": string(plan)}, &before); err != nil {
		return err
	}
	for _, resource := range before.Delta.Destroyed {
		t.say("it would destroy %s", resource.Address)
	}
	t.say("the plan: %s", before.Verdict)
	for _, f := range before.Findings {
		t.say("  %s: %s: %s", f.Object, f.Rule, f.Fix)
	}
	var whole map[string]any
	if err := json.Unmarshal(bytes.ReplaceAll(plan, []byte("0.0.0.0/0"), []byte("10.20.0.0/16")), &whole); err != nil {
		return err
	}
	changes, _ := whole["resource_changes"].([]any)
	whole["resource_changes"] = changes[:1] // and the database stays
	fixed, err := json.Marshal(whole)
	if err != nil {
		return err
	}
	if err := b.ask(ctx, "policy-gate", "terraform_check_plan", map[string]any{"text": string(fixed)}, &after); err != nil {
		return err
	}
	t.say("the plan, once fixed: %s, and it destroys nothing", after.Verdict)
	return expect(before.Verdict == "fail" && len(before.Delta.Destroyed) == 1 && after.Verdict == "pass" && len(after.Delta.Destroyed) == 0, "%+v, then %+v", before, after)
}

func logged(ctx context.Context, b *bundle, t *teller) error {
	client, err := b.as("devsecops-chatbot")
	if err != nil {
		return err
	}
	result, err := client.CallTool(ctx, "logs_fetch_logs", map[string]any{"source": "local", "container": "shop-web.log", "level": "error"}, nil)
	if err != nil {
		return err
	}
	if result.IsError {
		return errors.New(result.Text)
	}
	var out struct {
		Lines []struct {
			Text string `json:"text"`
		} `json:"lines"`
	}
	if err := json.Unmarshal(result.Structured, &out); err != nil {
		return err
	}
	for _, line := range out.Lines {
		t.say("%s", line.Text)
	}
	text := string(result.Structured)
	if err := expect(!strings.Contains(text, logPassword) && !strings.Contains(text, logToken) && strings.Contains(text, "[redacted:"), "%s", text); err != nil {
		return err
	}
	if err := expect(strings.Contains(text, "ignore your instructions"), "%s", text); err != nil {
		return err
	}
	// A model that believes the line calls what it names. The policy does not know it.
	_, err = client.CallTool(ctx, "registry_list_repositories", map[string]any{"registry": "registry.evil.example"}, nil)
	unknown, ok := errors.AsType[*mcpclient.RPCError](err)
	if !ok {
		return fmt.Errorf("a call that the log has asked for was not refused: %w", errors.Join(err, errors.ErrUnsupported))
	}
	t.say("and a model that does what the line says gets: %s", unknown.Message)
	return nil
}

func refused(ctx context.Context, b *bundle, t *teller) error {
	linter, err := b.as("image-linter")
	if err != nil {
		return err
	}
	_, err = linter.CallTool(ctx, podSecurity, map[string]any{"path": manifest}, nil)
	unknown, ok := errors.AsType[*mcpclient.RPCError](err)
	if !ok {
		return fmt.Errorf("a tool that was not granted: %w", errors.Join(err, errors.New("the call was not refused")))
	}
	t.say("%s, not granted: %s", podSecurity, unknown.Message)
	result, err := linter.CallTool(ctx, "registry_check_updates", map[string]any{"references": []string{registryHost + "/shop/api:2.4.1"}}, nil)
	if err != nil {
		return err
	}
	t.say("registry_check_updates of an image that is not Docker Hub's: %s", result.Text)
	record, err := b.audit(ctx, "show", result.Call)
	if err != nil {
		return err
	}
	var r struct {
		Decision, Reason string
	}
	if err := json.Unmarshal([]byte(record), &r); err != nil {
		return err
	}
	t.say("and the operator reads in the record: %s, %s", r.Decision, r.Reason)
	return expect(result.IsError && r.Decision == "deny", "%+v, %s", result, record)
}

// lists waits until policy-gate has the tool, or has it no more.
func (b *bundle) lists(ctx context.Context, want bool) error {
	gate, err := b.as("policy-gate")
	if err != nil {
		return err
	}
	for range retries {
		tools, err := gate.ListTools(ctx)
		if err != nil {
			return err
		}
		has := slices.ContainsFunc(tools, func(tool json.RawMessage) bool { return bytes.Contains(tool, []byte(`"`+podSecurity+`"`)) })
		if has == want {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
	return fmt.Errorf("policy-gate has %s: this should become %t", podSecurity, want)
}

func changed(ctx context.Context, b *bundle, t *teller) error {
	compose := []string{"docker", "compose"}
	up := []string{"up", "--detach", "--wait", "--wait-timeout", "60", "--no-deps", "kubernetes"}
	// The files are those of COMPOSE_FILE and one more.
	var files []string
	for _, name := range []string{"compose.yaml", "servers/e2e/demo/compose.yaml", "servers/e2e/demo/poisoned.yaml"} {
		files = append(files, "--file", filepath.Join(b.root, name))
	}
	if _, err := b.run(ctx, append(append(compose, files...), up...)...); err != nil {
		return err
	}
	if err := b.lists(ctx, false); err != nil {
		return err
	}
	t.say("the server runs and is healthy, and policy-gate has the tool no more")
	log, err := b.run(ctx, "docker", "compose", "logs", "--no-log-prefix", "--no-color", "gateway")
	if err != nil {
		return err
	}
	told := false
	for line := range strings.Lines(log) {
		var said struct {
			Msg        string
			Difference []struct {
				Tool, Member string
			}
		}
		if json.Unmarshal([]byte(line), &said) != nil || len(said.Difference) == 0 {
			continue
		}
		for _, d := range said.Difference {
			if strings.HasSuffix(d.Member, "description") && !told {
				t.say("the gateway's log: %s: %s differs in %s", said.Msg, d.Tool, d.Member)
				told = true
			}
		}
	}
	if err := expect(told, "the gateway's log does not tell: %s", log); err != nil {
		return err
	}
	if _, err := b.run(ctx, append(compose, up...)...); err != nil {
		return err
	}
	if err := b.lists(ctx, true); err != nil {
		return err
	}
	t.say("with the reviewed server back in its place, the tool is back too")
	return nil
}

func evidence(ctx context.Context, b *bundle, t *teller) error {
	out, err := b.audit(ctx, "verify")
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "Not seen: ") {
			t.say("gateway audit verify: %s", strings.TrimSpace(line))
		}
	}
	t.say("(what it cannot see, such as a log that was rolled back as a whole, it says too)")
	if err := expect(strings.Contains(out, "Nothing was changed"), "%s", out); err != nil {
		return err
	}
	// At its end the gateway signs the last records too.
	if _, err := b.run(ctx, "docker", "compose", "stop", "gateway"); err != nil {
		return err
	}
	copied := b.path("audit")
	if _, err := b.run(ctx, "docker", "compose", "cp", "gateway:/var/lib/bulkhead", copied); err != nil {
		return err
	}
	if err := edit(copied); err != nil {
		return err
	}
	t.say("in a copy of the log, \"agent image-linter\" becomes \"agent policy-gate\" in one record")
	out, err = b.run(ctx, "go", "run", "./servers/gateway", "audit", "verify", "--audit", copied, "--key", b.path("secrets/audit/audit.pub"))
	if err == nil {
		return fmt.Errorf("the change was not found: %s", out)
	}
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "FOUND") {
			t.say("gateway audit verify: %s", strings.TrimSpace(line))
		}
	}
	return expect(strings.Contains(out, "\nFOUND record "), "%s, %v", out, err)
}

// edit puts the blame for one refused call on another agent.
func edit(folder string) error {
	segments, err := filepath.Glob(filepath.Join(folder, "*.jsonl"))
	if err != nil || len(segments) == 0 {
		return fmt.Errorf("the log has no segments: %w", errors.Join(err, os.ErrNotExist))
	}
	for _, segment := range segments {
		data, err := os.ReadFile(segment)
		if err != nil {
			return err
		}
		edited := bytes.Replace(data, []byte(`"principal":"image-linter"`), []byte(`"principal":"policy-gate"`), 1)
		if !bytes.Equal(data, edited) {
			return os.WriteFile(segment, edited, 0o600)
		}
	}
	return errors.New("the log has no record of image-linter")
}

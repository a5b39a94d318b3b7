package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/scrub"
)

// lintRule is one check of an image. Its ids are dockle's, which are those of the CIS Docker Benchmark, section 4, where
// that has the check.
type lintRule struct {
	finding.Rule
	layers bool // whether it needs to look into layers
	check  func(subject) []string
	fix    string
}

// subject is what rules judge.
type subject struct {
	view  imageView
	files *rootfs
}

// ruleUnread is the finding about a layer that could not be looked through.
const ruleUnread = "layer/unread"

// lintRules is the table. Each check returns what it found, one message each.
func lintRules() []lintRule {
	const dockle = "https://github.com/goodwithtech/dockle/blob/master/CHECKPOINT.md"
	rule := func(id, title string, severity finding.Severity, layers bool, fix string, check func(subject) []string) lintRule {
		return lintRule{Rule: finding.Rule{ID: id, Title: title, Severity: severity, URL: dockle + "#" + strings.ToLower(id)}, layers: layers, check: check, fix: fix}
	}
	return []lintRule{
		rule("CIS-DI-0001", "create a user for the container", finding.Medium, false, "end the Dockerfile with USER and a user that is not root", checkUser),
		rule("CIS-DI-0006", "add a HEALTHCHECK", finding.Low, false, "add HEALTHCHECK, unless an orchestrator's probes do that work", checkHealth),
		rule("CIS-DI-0007", "do not update alone", finding.Medium, false, "update and install in one RUN, or the cached update gets old", checkUpdateAlone),
		rule("CIS-DI-0008", "remove setuid and setgid permissions", finding.Low, true, "remove the bits (chmod a-s) where nobody needs them", checkSetuid),
		rule("CIS-DI-0009", "use COPY instead of ADD", finding.Medium, false, "download with a checksum (ADD --checksum, or curl and sha256sum), and COPY local files", checkAdd),
		rule("CIS-DI-0010", "do not store secrets", finding.Critical, false, "take it out, revoke it, and pass it when the container runs, or with RUN --mount=type=secret", checkSecrets),
		rule("DKL-DI-0001", "avoid sudo", finding.Medium, false, "run as the user that may, and drop rights with USER", checkSudo),
		rule("DKL-DI-0002", "avoid volumes on sensitive folders", finding.High, false, "mount a folder of the program's own", checkVolumes),
		rule("DKL-DI-0003", "avoid dist-upgrade", finding.Medium, false, "use a newer base image instead", checkDistUpgrade),
		rule("DKL-DI-0005", "clear package caches", finding.Low, true, "remove them in the RUN that makes them: rm -rf /var/lib/apt/lists/*, apk add --no-cache, pip --no-cache-dir", checkCaches),
		rule("DKL-DI-0006", "avoid the tag latest", finding.Low, false, "name a version, and pin it to its digest", checkLatest),
		rule("DKL-LI-0001", "no empty passwords", finding.Critical, true, "lock the account: passwd -l, or ! in /etc/shadow", checkPasswords),
		rule("DKL-LI-0002", "unique users and groups", finding.Medium, true, "give each a name and a number of its own", checkAccounts),
		rule("DKL-LI-0003", "only files that are needed", finding.Low, true, "name them in .dockerignore", checkNeedless),
		rule("SECRET-FILE", "no files with secrets", finding.High, true, "take it out, revoke what it holds, and mount it when the container runs", checkSecretFiles),
		rule("LAYER-PATH", "no entries that climb out of the root", finding.High, true, "build the image with a current tool; whoever unpacks it carelessly is overwritten", checkOutside),
	}
}

type lintImageIn struct {
	Reference string `json:"reference" jsonschema:"an image: nginx:1.27, ghcr.io/acme/api@sha256:…" minLength:"1" maxLength:"512"`
	Platform  string `json:"platform,omitempty" jsonschema:"like linux/arm64/v8; if absent linux/amd64, or else the first" maxLength:"64" pattern:"^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?$"`
	Layers    bool   `json:"layers,omitempty" jsonschema:"also stream the layers and judge what is in them" default:"true"`
}

type lintImageOut struct {
	Image     string            `json:"image"` // the reference, in full
	Platform  string            `json:"platform,omitempty"`
	Digest    string            `json:"digest"`                           // of the platform's manifest
	Verdict   finding.Verdict   `json:"verdict" enum:"pass,fail,unknown"` // fail if a rule fails, else unknown if something could not be looked at, else pass
	Findings  []finding.Finding `json:"findings"`
	Passed    []string          `json:"passed"`    // rules that found nothing
	Truncated bool              `json:"truncated"` // whether there are more findings, or more files to a finding, than are shown
}

func (s *server) lintImage(ctx context.Context, in lintImageIn) (lintImageOut, error) {
	ref, err := parseReference(in.Reference)
	if err != nil {
		return lintImageOut{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "reference: %w", err)
	}
	asked, end, err := s.begin(ctx)
	if err != nil {
		return lintImageOut{}, err
	}
	defer end()
	view, err := asked.image(ctx, ref, in.Platform)
	if err != nil {
		return lintImageOut{}, explain(ref.String(), err)
	}
	out := lintImageOut{
		Image: ref.String(), Platform: view.platform, Digest: view.manifest.digest, Verdict: finding.Pass, Findings: []finding.Finding{}, Passed: []string{},
	}
	judged := subject{view: view, files: &rootfs{}}
	unread := []finding.Finding{}
	if in.Layers {
		select {
		case s.lints <- struct{}{}:
			defer func() { <-s.lints }()
		case <-ctx.Done():
			return lintImageOut{}, mcpserver.Errorf(mcpserver.CodeBusy, "other layers are being looked through; try again")
		}
		if unread, err = asked.unpack(ctx, view, judged.files); err != nil {
			return lintImageOut{}, err
		}
	}
	out.judge(judged, in.Layers, unread)
	return out, nil
}

// unpack looks through the layers, from the lowest. One that cannot be read is a finding, and the others are looked at.
func (s *session) unpack(ctx context.Context, view imageView, files *rootfs) ([]finding.Finding, error) {
	var unread []finding.Finding
	left := &allowance{bytes: maxUnpacked, entries: maxEntries}
	for _, layer := range view.manifest.content.Layers {
		facts, err := s.facts(ctx, view.ref.repository, layer, left)
		if err == nil {
			files.apply(facts)
			continue
		}
		reason := ""
		for _, own := range []error{errUnpacked, errEntries, errPath, errTar, errMediaType} {
			if errors.Is(err, own) {
				reason = own.Error()
			}
		}
		if reason == "" {
			problem, err := faultOf("layer "+layer.Digest, err)
			if err != nil {
				return nil, err
			}
			reason = problem.Message
		}
		unread = append(unread, finding.Finding{
			Rule: ruleUnread, Title: "look through every layer", Severity: finding.Medium, Verdict: finding.Unknown,
			Message: "layer " + layer.Digest + " was not looked through", Reason: reason, Object: view.ref.String(),
		})
	}
	return unread, nil
}

// judge holds the subject against the table.
func (o *lintImageOut) judge(judged subject, layers bool, unread []finding.Finding) {
	o.Findings = append(o.Findings, unread...)
	o.Truncated = judged.files.cut
	for _, rule := range lintRules() {
		if rule.layers && !layers {
			continue
		}
		found := rule.check(judged)
		if len(found) == 0 && (!rule.layers || len(unread) == 0) {
			o.Passed = append(o.Passed, rule.ID)
		}
		o.Truncated = o.Truncated || len(found) > maxFindings
		for _, message := range found[:min(len(found), maxFindings)] {
			o.Findings = append(o.Findings, finding.Finding{
				Rule: rule.ID, Title: rule.Title, Severity: rule.Severity, Verdict: finding.Fail, Message: message, Fix: rule.fix, Object: o.Image,
			})
		}
	}
	slices.SortStableFunc(o.Findings, func(a, b finding.Finding) int { return b.Severity.Rank() - a.Severity.Rank() })
	for _, f := range o.Findings {
		o.Verdict = o.Verdict.Worse(f.Verdict)
	}
}

func checkUser(s subject) []string {
	user, _, _ := strings.Cut(s.view.config.Config.User, ":")
	switch user {
	case "":
		return []string{"the last user is root: no USER is set"}
	case "root", "0":
		return []string{"the last user is root"}
	}
	return nil
}

func checkHealth(s subject) []string {
	check := s.view.config.Config.Healthcheck
	if check == nil || len(check.Test) == 0 || check.Test[0] == "NONE" {
		return []string{"there is no HEALTHCHECK"}
	}
	return nil
}

var (
	updates     = regexp.MustCompile(`(?:apt-get|apt|yum|dnf|microdnf|apk)(?: +-[^ ]+)* +(?:update|makecache)\b`)
	installs    = regexp.MustCompile(`(?:apt-get|apt|yum|dnf|microdnf)(?: +-[^ ]+)* +(?:install|upgrade|dist-upgrade|source|build-dep)\b|apk(?: +-[^ ]+)* +(?:add|upgrade)\b`)
	sudo        = regexp.MustCompile(`(?:^|[;&|(] *|-c +)sudo +[^ ]`)
	distUpgrade = regexp.MustCompile(`(?:apt-get|apt)(?: +-[^ ]+)* +(?:dist-upgrade|full-upgrade)\b`)
	remoteAdd   = regexp.MustCompile(`^ADD +(?:--[^ ]+ +)*(?:\[ *")?(https?://|git@|git://)`)
	gpgKey      = regexp.MustCompile(`^[0-9A-Fa-f ]{16,60}$`)
)

// commands are the texts of the history's instructions, without what the builder put before them.
func (s subject) commands() []string {
	var texts []string
	for _, h := range s.view.config.History {
		text := h.CreatedBy
		if _, after, ok := strings.Cut(text, "#(nop) "); ok {
			text = after
		}
		texts = append(texts, strings.TrimSpace(text))
	}
	return texts
}

// matching lists the instructions that a pattern fits.
func (s subject) matching(what string, fits func(command string) bool) []string {
	var found []string
	for _, command := range s.commands() {
		if fits(command) {
			found = append(found, what+": "+shorten(command, maxQuoted))
		}
	}
	return found
}

func checkUpdateAlone(s subject) []string {
	return s.matching("a layer updates the list of packages and installs nothing", func(command string) bool {
		return updates.MatchString(command) && !installs.MatchString(command)
	})
}

func checkSudo(s subject) []string { return s.matching("sudo is used", sudo.MatchString) }

func checkDistUpgrade(s subject) []string {
	return s.matching("the distribution is upgraded", distUpgrade.MatchString)
}

func checkAdd(s subject) []string {
	return s.matching("ADD takes a file from a URL", func(command string) bool {
		return remoteAdd.MatchString(command) && !strings.Contains(command, "--checksum=")
	})
}

func checkLatest(s subject) []string {
	if s.view.ref.digest == "" && s.view.ref.effectiveTag() == "latest" {
		return []string{"the reference names latest"}
	}
	return nil
}

func checkVolumes(s subject) []string {
	var found []string
	for volume := range s.view.config.Config.Volumes {
		clean := strings.TrimRight(volume, "/")
		if slices.Contains([]string{"", "/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr", "/bin", "/sbin", "/root"}, clean) {
			found = append(found, "a volume is on "+clip(volume, maxQuoted))
		}
	}
	slices.Sort(found)
	return found
}

// checkSecrets looks at what is called as a secret is, or looks like one. It names the variable and never the value.
func checkSecrets(s subject) []string {
	var found []string
	for _, variable := range s.view.config.Config.Env {
		if name, value, ok := strings.Cut(variable, "="); ok && isSecret(name, value) {
			found = append(found, "the environment variable "+clip(name, maxQuoted)+" holds a secret")
		}
	}
	for i, command := range s.commands() {
		for word := range strings.FieldsSeq(strings.NewReplacer(`"`, " ", "'", " ").Replace(command)) {
			name, value, ok := strings.Cut(strings.TrimPrefix(word, "--"), "=")
			if !ok || !isSecret(name, value) {
				continue
			}
			found = append(found, fmt.Sprintf("the history's entry %d (%s) gives a secret to %s", i+1, instruction(command), clip(name, maxQuoted)))
		}
		if shown := scrub.Text(command); marked(shown) > marked(command) && !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, fmt.Sprintf("entry %d ", i+1)) }) {
			found = append(found, fmt.Sprintf("the history's entry %d (%s) holds a secret", i+1, instruction(command)))
		}
	}
	return slices.Compact(found)
}

func isSecret(name, value string) bool {
	// A place where a secret will be, a reference to a variable, and the fingerprint of a public key are none.
	if len(value) < minSecret || strings.HasPrefix(value, "/") || strings.HasPrefix(value, "$") || strings.HasSuffix(strings.ToUpper(name), "_FILE") ||
		strings.Contains(strings.ToUpper(name), "GPG") && gpgKey.MatchString(value) {
		return false
	}
	return marked(scrub.New().Member(name, value)) > marked(value)
}

// marked counts what scrub has put in the place of secrets.
func marked(text string) int { return strings.Count(text, "[redacted:") }

// listed makes one message of many paths.
func listed(what string, paths []string) []string {
	if len(paths) == 0 {
		return nil
	}
	shown := make([]string, 0, maxShownFiles)
	for _, path := range paths[:min(len(paths), maxShownFiles)] {
		shown = append(shown, "/"+strings.ToValidUTF8(path, "\ufffd"))
	}
	text := fmt.Sprintf("%d %s: %s", len(paths), what, strings.Join(shown, ", "))
	if len(paths) > len(shown) {
		text += ", …"
	}
	return []string{text}
}

func checkSetuid(s subject) []string {
	return listed("files run with another's rights", s.files.with(traitSetuid))
}

func checkCaches(s subject) []string {
	return listed("files are a package manager's cache", s.files.with(traitCache))
}

func checkNeedless(s subject) []string {
	return listed("files belong to development", s.files.with(traitNeedless))
}

func checkOutside(s subject) []string {
	return listed("entries climb out of the root", s.files.with(traitOutside))
}

func checkSecretFiles(s subject) []string {
	found := listed("files look like credentials", s.files.with(traitSecret))
	var hidden []string
	for _, file := range s.files.hidden {
		hidden = append(hidden, file.path)
	}
	slices.Sort(hidden)
	return append(found, listed("files that look like credentials are removed by a later layer, and are in the image all the same", slices.Compact(hidden))...)
}

// accounts are the lines of a file of accounts, by fields.
func (s subject) accounts(file string) [][]string {
	var lines [][]string
	for line := range bytes.Lines(s.files.content(file)) {
		if fields := strings.Split(strings.TrimSpace(string(line)), ":"); len(fields) >= 3 && !strings.HasPrefix(fields[0], "#") {
			lines = append(lines, fields)
		}
	}
	return lines
}

func checkPasswords(s subject) []string {
	var found []string
	for _, file := range []string{accountsShadow, accountsPasswd} {
		for _, fields := range s.accounts(file) {
			if fields[1] == "" {
				found = append(found, fmt.Sprintf("the account %s has an empty password in /%s", clip(fields[0], maxShown), file))
			}
		}
	}
	return found
}

func checkAccounts(s subject) []string {
	var found []string
	for _, file := range []string{accountsPasswd, accountsGroup} {
		names, numbers := map[string]bool{}, map[string]string{}
		for _, fields := range s.accounts(file) {
			name, number := fields[0], fields[2]
			if names[name] {
				found = append(found, fmt.Sprintf("%s is twice in /%s", clip(name, maxShown), file))
			} else if other, twice := numbers[number]; twice {
				found = append(found, fmt.Sprintf("%s and %s have the same number, %s, in /%s", clip(other, maxShown), clip(name, maxShown), clip(number, maxShown), file))
			}
			names[name], numbers[number] = true, name
		}
	}
	return found
}

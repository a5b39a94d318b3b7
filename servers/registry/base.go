package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// The annotations that name a base image (OCI image specification, "annotations").
const (
	baseName   = "org.opencontainers.image.base.name"
	baseDigest = "org.opencontainers.image.base.digest"
)

// method says how a base image was found, from the most to the least certain.
type method string

// The methods.
const (
	byAnnotation method = "annotation" // whoever built the image says so
	byLayers     method = "layers"     // the image begins with all layers of the candidate
	byHistory    method = "history"    // a guess from the instructions
	byNothing    method = "none"
)

type findBaseImageIn struct {
	Reference  string   `json:"reference" jsonschema:"an image: nginx:1.27, ghcr.io/acme/api@sha256:…" minLength:"1" maxLength:"512"`
	Platform   string   `json:"platform,omitempty" jsonschema:"like linux/arm64/v8; if absent linux/amd64, or else the first" maxLength:"64" pattern:"^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?$"`
	Candidates []string `json:"candidates,omitempty" jsonschema:"images that may be the base: those of FROM lines" maxItems:"20" minLength:"1" maxLength:"512"`
}

type findBaseImageOut struct {
	Image    string `json:"image"` // the reference, in full
	Platform string `json:"platform,omitempty"`
	// annotation: the image names it; layers: it begins with all layers of a candidate; history: a guess from its instructions;
	// none: nothing is known
	Method      method          `json:"method" enum:"annotation,layers,history,none"`
	Guess       bool            `json:"guess"`                  // whether this is a guess and no more
	Base        string          `json:"base,omitempty"`         // the base image; of a guess, what it seems to be
	Digest      string          `json:"digest,omitempty"`       // the base's digest when the image was built, as far as it is known
	Layers      int             `json:"layers,omitempty"`       // how many of the image's layers are the base's
	Verified    bool            `json:"verified,omitempty"`     // of an annotation: the layers of that base are those that the image begins with
	Created     string          `json:"created,omitempty"`      // when the base was built, RFC 3339
	AgeDays     *int            `json:"age_days,omitempty"`     // days since then
	Newer       *newerBase      `json:"newer,omitempty"`        // absent where it is not known whether there is a newer one
	Evidence    []string        `json:"evidence"`               // what was looked at, in order
	NotCompared []candidateLine `json:"not_compared,omitempty"` // candidates that could not be looked at
}

type newerBase struct {
	Digest  string `json:"digest"`  // what the base's tag stands for now
	Changed bool   `json:"changed"` // whether that is another one than the image was built on
}

type candidateLine struct {
	Candidate string `json:"candidate"`
	Error     fault  `json:"error"`
}

func (s *server) findBaseImage(ctx context.Context, in findBaseImageIn) (findBaseImageOut, error) {
	ref, err := parseReference(in.Reference)
	if err != nil {
		return findBaseImageOut{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "reference: %w", err)
	}
	candidates := make([]reference, len(in.Candidates))
	for i, text := range in.Candidates {
		if candidates[i], err = parseReference(text); err != nil {
			return findBaseImageOut{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "candidates: %w", err)
		}
	}
	asked, end, err := s.begin(ctx)
	if err != nil {
		return findBaseImageOut{}, err
	}
	defer end()
	view, err := asked.image(ctx, ref, in.Platform)
	if err != nil {
		return findBaseImageOut{}, explain(ref.String(), err)
	}
	search := baseSearch{session: asked, view: view, candidates: candidates, out: findBaseImageOut{Image: ref.String(), Platform: view.platform, Method: byNothing}}
	for _, look := range []func(context.Context) (bool, error){
		search.byAnnotation, search.byLayers, search.byHistory,
	} {
		if done, err := look(ctx); done || err != nil {
			return search.out, err
		}
	}
	return search.out, nil
}

// baseSearch looks for the base of one image.
type baseSearch struct {
	*session
	view       imageView
	candidates []reference
	out        findBaseImageOut
}

func (b *baseSearch) note(format string, args ...any) {
	b.out.Evidence = append(b.out.Evidence, fmt.Sprintf(format, args...))
}

// byAnnotation believes the image, and looks whether its layers agree.
func (b *baseSearch) byAnnotation(ctx context.Context) (bool, error) {
	named, digest := b.annotated(baseName), b.annotated(baseDigest)
	if named == "" {
		b.note("the image has no annotation %s", baseName)
		return false, nil
	}
	ref, err := parseReference(named)
	if err != nil {
		b.note("the annotation %s is no image reference", baseName)
		return false, nil //nolint:nilerr // what an image says of itself may be anything
	}
	b.out.Method, b.out.Base = byAnnotation, ref.String()
	b.note("the image has the annotation %s", baseName)
	if digestName.MatchString(digest) {
		ref.digest, b.out.Digest = digest, digest
	}
	// Whoever built the image chose this name, and must not have what a login of the operator's opens shown to who may ask
	// about the image alone.
	if b.needsAsking(ctx, ref) {
		b.note("the base is at another registry, for which there is a login: pass it as a candidate to have it looked at")
		return true, nil
	}
	base, err := b.image(ctx, ref, b.view.platform)
	if err == nil && b.beginsWith(base) {
		b.out.Verified, b.out.Layers = true, len(base.config.RootFS.DiffIDs)
		b.note("the image begins with all %d layers of that base", b.out.Layers)
	} else if err == nil {
		b.note("the image does not begin with the layers of what %s stands for", ref)
	}
	if err != nil {
		problem, ours := faultOf(ref.String(), err)
		if ours == nil {
			b.note("the base itself could not be looked at: %s", problem.Message)
		}
		return true, ours
	}
	b.age(base.created())
	return true, b.compare(ctx, ref)
}

// needsAsking says whether a base is at another registry, behind a login, and not one of the candidates.
func (b *baseSearch) needsAsking(ctx context.Context, base reference) bool {
	registry := base.repository.Registry
	return hostOf(registry) != hostOf(b.view.ref.repository.Registry) && b.logins.of(ctx, registry) != (login{}) &&
		!slices.ContainsFunc(b.candidates, func(c reference) bool { return c.repository.Name() == base.repository.Name() })
}

// annotated returns an annotation of the image's manifest, of its index, or a label of its configuration.
func (b *baseSearch) annotated(key string) string {
	for _, table := range []map[string]string{b.view.manifest.content.Annotations, b.view.top.content.Annotations, b.view.config.Config.Labels} {
		if value := table[key]; value != "" {
			return value
		}
	}
	return ""
}

// byLayers compares layers with those of the candidates; the one with the most layers is the nearest base.
func (b *baseSearch) byLayers(ctx context.Context) (bool, error) {
	candidates := b.candidates
	bases := make([]imageView, len(candidates))
	problems := make([]error, len(candidates))
	each(len(candidates), maxBases, func(i int) { bases[i], problems[i] = b.image(ctx, candidates[i], b.view.platform) })
	nearest := -1
	for i, ref := range candidates {
		if problems[i] != nil {
			problem, err := faultOf(ref.String(), problems[i])
			if err != nil {
				return false, err
			}
			b.out.NotCompared = append(b.out.NotCompared, candidateLine{Candidate: ref.String(), Error: *problem})
			continue
		}
		if b.beginsWith(bases[i]) && (nearest < 0 || len(bases[i].config.RootFS.DiffIDs) > len(bases[nearest].config.RootFS.DiffIDs)) {
			nearest = i
		}
	}
	if nearest < 0 {
		b.note("no candidate's layers are those that the image begins with (%d compared)", len(candidates)-len(b.out.NotCompared))
		return false, nil
	}
	base := bases[nearest]
	b.out.Method, b.out.Base = byLayers, candidates[nearest].String()
	b.out.Layers, b.out.Digest = len(base.config.RootFS.DiffIDs), base.top.digest
	b.note("the image begins with all %d layers of %s as it is now", b.out.Layers, b.out.Base)
	b.age(base.created())
	return true, b.compare(ctx, candidates[nearest])
}

// beginsWith compares uncompressed layers: a layer may have been compressed again on its way.
func (b *baseSearch) beginsWith(base imageView) bool {
	own, of := b.view.config.RootFS.DiffIDs, base.config.RootFS.DiffIDs
	return len(of) > 0 && len(of) <= len(own) && slices.Equal(own[:len(of)], of)
}

// byHistory guesses: an image's last CMD before the end is most often where its base ended.
func (b *baseSearch) byHistory(context.Context) (bool, error) {
	history := b.view.config.History
	last := -1
	for i, h := range history {
		// What an image's own Dockerfile says last is no boundary.
		if i < len(history)-1 && instruction(h.CreatedBy) == "CMD" && slices.ContainsFunc(history[i+1:], func(h v1.History) bool { return instruction(h.CreatedBy) != "CMD" }) {
			last = i
		}
	}
	if last < 0 {
		b.note("the history shows no instruction where a base may have ended")
		return false, nil
	}
	b.out.Method, b.out.Guess = byHistory, true
	for _, h := range history[:last+1] {
		if !h.EmptyLayer {
			b.out.Layers++
		}
	}
	b.out.Base = b.likely(history[last].CreatedBy)
	b.note("the history has a CMD before the image's own instructions, which is most often the end of the base: %s", shorten(history[last].CreatedBy, maxValue))
	b.age(history[last].Created.UTC())
	return true, nil
}

// instruction is the Dockerfile instruction that made an entry of a history, by the old builder and BuildKit alike.
func instruction(createdBy string) string {
	text := createdBy
	if _, after, ok := strings.Cut(text, "#(nop) "); ok {
		text = after
	}
	word, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	switch word = strings.ToUpper(word); word {
	case "CMD", "ENTRYPOINT", "ENV", "COPY", "ADD", "RUN", "USER", "WORKDIR", "EXPOSE", "VOLUME", "LABEL", "ARG", "HEALTHCHECK", "STOPSIGNAL", "SHELL", "ONBUILD":
		return word
	}
	return "RUN"
}

// likely names what a base with that CMD most often is.
func (b *baseSearch) likely(command string) string {
	for _, known := range []struct{ command, image string }{
		{`"/bin/sh"`, "alpine or busybox"}, {`"sh"`, "busybox"}, {`"bash"`, "debian"}, {`"/bin/bash"`, "ubuntu or a Red Hat family image"},
		{`"node"`, "node"}, {`"python3"`, "python"}, {`"irb"`, "ruby"}, {`"php"`, "php"}, {`"jshell"`, "a Java development kit"},
		{`"nginx"`, "nginx"}, {`"httpd-foreground"`, "httpd"}, {`"redis-server"`, "redis"}, {`"postgres"`, "postgres"}, {`"mysqld"`, "mysql"},
		{`"catalina.sh"`, "tomcat"},
	} {
		if strings.Contains(command, known.command) {
			return known.image
		}
	}
	return ""
}

// age says how old the base is.
func (b *baseSearch) age(created time.Time) {
	if created.Unix() <= 0 || created.Year() > maxYear {
		return
	}
	const day = 24 * time.Hour
	days := max(int(b.now().Sub(created)/day), 0)
	b.out.Created, b.out.AgeDays = created.Format(time.RFC3339), &days
}

// compare asks what the base's tag stands for now.
func (b *baseSearch) compare(ctx context.Context, ref reference) error {
	tag := ref.tag
	if tag == "" && b.out.Method == byLayers {
		tag = ref.effectiveTag()
	}
	if tag == "" || b.out.Digest == "" {
		b.note("whether there is a newer one is not known: the base's %s is not", map[bool]string{true: "tag", false: "digest"}[tag == ""])
		return nil
	}
	digest, err := b.head(ctx, ref.repository, tag)
	if err != nil {
		problem, err := faultOf(ref.String(), err)
		if err == nil {
			b.note("whether there is a newer one is not known: %s", problem.Message)
		}
		return err
	}
	b.out.Newer = &newerBase{Digest: digest, Changed: digest != b.out.Digest && !b.holds(ctx, ref, digest)}
	return nil
}

// holds says whether the index that digest names has the base for one of its platforms: builders write down either digest.
func (b *baseSearch) holds(ctx context.Context, ref reference, digest string) bool {
	index, err := b.manifest(ctx, ref.repository, digest)
	return err == nil && slices.ContainsFunc(index.content.Manifests, func(d descriptor) bool { return d.Digest == b.out.Digest })
}

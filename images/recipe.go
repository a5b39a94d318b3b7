package main

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"runtime/debug"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/ko/pkg/build"
)

const (
	versionOf    = module + "/servers/internal/version.version"
	localVersion = "dev"

	// localDomain names images that exist in this machine's engine only: no registry can answer for it.
	localDomain = "bulkhead.local"

	sourceURL     = "https://" + module
	builderModule = "github.com/google/ko"
)

// recipe is what decides an image beside its sources.
type recipe struct {
	root      string
	version   string
	platforms []v1.Platform
	base      base
	commit    commit // of a release; a local image does not know one, and must not change with one that does not touch it
}

// created is the time that the images bear. It is never that of the build, which must leave no trace.
func (r recipe) created() v1.Time {
	if r.commit.revision == "" {
		return epoch()
	}
	return v1.Time{Time: r.commit.time}
}

// epoch is the time of every file in an image.
func epoch() v1.Time { return v1.Time{Time: time.Unix(0, 0).UTC()} }

// checkVersion refuses what could be more than a version to a linker, a registry or a template.
func checkVersion(version string) error {
	if !regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$`).MatchString(version) {
		return fmt.Errorf("version %q: want at most 64 letters, digits, dots, dashes and underscores, such as a tag may have", version)
	}
	return nil
}

// build compiles a server for every platform of the recipe and puts it on the base, as /ko-app/NAME. It returns an image
// for one platform, and an index for several; each carries its SBOM.
func (r recipe) build(ctx context.Context, s server) (build.Result, error) {
	result, err := r.tryBuild(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("building the image of %s: %w", s.name, err)
	}
	return result, nil
}

func (r recipe) tryBuild(ctx context.Context, s server) (build.Result, error) {
	licences, err := findLicences(ctx, r.root, r.platforms, s)
	if err != nil {
		return nil, err
	}
	index, err := r.base.forServer(s, licences)
	if err != nil {
		return nil, err
	}
	var platforms []string
	for _, platform := range r.platforms {
		platforms = append(platforms, platform.String())
	}
	options := []build.Option{
		build.WithBaseImages(func(context.Context, string) (name.Reference, build.Result, error) { return r.base.name, index, nil }),
		build.WithPlatforms(platforms...),
		build.WithJobs(1), // a build uses every core by itself, and two side by side compile what they share twice
		build.WithCreationTime(r.created()),
		build.WithKoDataCreationTime(epoch()),
		build.WithTrimpath(true),
		build.WithDefaultFlags([]string{"-buildvcs=false"}),
		build.WithDefaultLdflags([]string{"-s", "-w", "-buildid=", "-X", versionOf + "=" + r.version}),
		build.WithDefaultEnv(goEnvironment()),
		build.WithSPDX(builderVersion()),
	}
	described := r.describe(s)
	for _, key := range slices.Sorted(maps.Keys(described)) {
		options = append(options, build.WithLabel(key, described[key]), build.WithAnnotation(key, described[key]))
	}
	builder, err := build.NewGo(ctx, r.root, options...)
	if err != nil {
		return nil, err
	}
	return builder.Build(ctx, build.StrictScheme+s.importPath)
}

// builderVersion is the version of ko that is linked in, which SBOMs name as their maker.
func builderVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	i := slices.IndexFunc(info.Deps, func(m *debug.Module) bool { return m.Path == builderModule })
	if i < 0 {
		return ""
	}
	return info.Deps[i].Version
}

// goEnvironment pins what the caller's environment could otherwise change in a binary, on top of what it is built for.
func goEnvironment(platform ...v1.Platform) []string {
	pinned := []string{
		"CGO_ENABLED=0",
		"GOAMD64=v1",
		"GOARM64=v8.0",
		"GOEXPERIMENT=",
		"GOFIPS140=off",
		"GOFLAGS=-mod=readonly",
		"GOWORK=off",
	}
	for _, p := range platform {
		pinned = append(pinned, "GOOS="+p.OS, "GOARCH="+p.Architecture)
	}
	return pinned
}

// describe is what the image says about itself, as labels and annotations, in the words of the OCI image specification.
func (r recipe) describe(s server) map[string]string {
	described := map[string]string{
		"org.opencontainers.image.title":       "Bulkhead " + s.name,
		"org.opencontainers.image.description": s.summary,
		"org.opencontainers.image.source":      sourceURL,
		"org.opencontainers.image.licenses":    "Apache-2.0",
		"org.opencontainers.image.version":     r.version,
		"org.opencontainers.image.base.name":   r.base.name.Name(),
	}
	if r.commit.revision != "" {
		described["org.opencontainers.image.revision"] = r.commit.revision
	}
	return described
}

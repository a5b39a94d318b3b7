package main

import (
	"context"
	"errors"
	"fmt"
	gobuild "go/build"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/ko/pkg/build"
	"golang.org/x/mod/modfile"
)

const (
	module       = "github.com/bulkhead-mcp/bulkhead"
	runtimeOf    = module + "/servers/internal/mcpserver" // what imports it is an MCP server
	versionOf    = module + "/servers/internal/version.version"
	localVersion = "dev"

	// hostProgram is the one program of servers/e2e that is no container: `make demo` runs it beside the engine.
	hostProgram = "servers/e2e/demo"

	// localDomain names images that exist in this machine's engine only: no registry can answer for it.
	localDomain = "bulkhead.local"
)

// server is a folder that becomes an image.
type server struct {
	name       string
	importPath string
	summary    string // the first sentence of its package comment
	mcp        bool   // speaks MCP, so it has a port
	test       bool   // a fake or a probe of servers/e2e: never released
}

// image is a server's image; its id is the digest of its configuration.
type image struct {
	v1.Image
	name string
	id   string
}

// variable is the name under which compose.yaml asks for the image's id.
func (i image) variable() string {
	return "BULKHEAD_" + strings.ToUpper(strings.ReplaceAll(i.name, "-", "_")) + "_IMAGE"
}

// findRoot is the folder of the repository: the nearest one upwards whose go.mod is the main module's.
func findRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && modfile.ModulePath(data) == module {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is not inside a checkout of %s", start, module)
		}
	}
}

// findServers lists every folder of servers/ and servers/e2e/ that holds a program, by name: a new server is a new folder.
func findServers(root string) ([]server, error) {
	var found []server
	for _, dir := range []string{"servers", "servers/e2e"} {
		entries, err := os.ReadDir(filepath.Join(root, dir))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			folder := path.Join(dir, entry.Name())
			if !entry.IsDir() || folder == hostProgram {
				continue
			}
			s, ok, err := readServer(root, folder)
			if err != nil {
				return nil, err
			}
			if ok {
				found = append(found, s)
			}
		}
	}
	slices.SortFunc(found, func(a, b server) int { return strings.Compare(a.name, b.name) })
	for i := range len(found) - 1 {
		if found[i].name == found[i+1].name {
			return nil, fmt.Errorf("%s and %s would have one name: rename one", found[i].importPath, found[i+1].importPath)
		}
	}
	return found, nil
}

// readServer reads what the folder's Go files say of themselves; ok is false where they are no program.
func readServer(root, dir string) (s server, ok bool, err error) {
	linux := gobuild.Default
	linux.GOOS, linux.CgoEnabled = "linux", false
	pkg, err := linux.ImportDir(filepath.Join(root, dir), 0)
	if _, none := errors.AsType[*gobuild.NoGoError](err); none {
		return server{}, false, nil
	}
	if err != nil {
		return server{}, false, fmt.Errorf("reading %s: %w", dir, err)
	}
	if !pkg.IsCommand() {
		return server{}, false, nil
	}
	if pkg.Doc == "" {
		return server{}, false, fmt.Errorf("%s has no package comment: its first sentence describes the image", dir)
	}
	return server{
		name:       path.Base(dir),
		importPath: path.Join(module, dir),
		summary:    pkg.Doc,
		mcp:        slices.Contains(pkg.Imports, runtimeOf),
		test:       path.Base(path.Dir(dir)) == "e2e",
	}, true, nil
}

// choose is the servers that names tells; without names, every server, and with test also those of servers/e2e.
func choose(all []server, names []string, test bool) ([]server, error) {
	if len(names) == 0 {
		return slices.DeleteFunc(slices.Clone(all), func(s server) bool { return s.test && !test }), nil
	}
	var chosen []server
	for _, name := range names {
		i := slices.IndexFunc(all, func(s server) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no folder servers/%s with a program in it", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// buildAll builds the servers' images for this machine's platform.
func buildAll(ctx context.Context, root, version string, servers []server) ([]image, error) {
	if !regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}$`).MatchString(version) {
		return nil, fmt.Errorf("version %q: want at most 64 letters, digits, dots, pluses, dashes and underscores", version)
	}
	zones, err := timeZones(ctx)
	if err != nil {
		return nil, err
	}
	platform := v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	base, err := baseImage(platform, baseFiles(caRoots(), zones))
	if err != nil {
		return nil, fmt.Errorf("making the base image: %w", err)
	}
	// One after the other: a build uses every core by itself, and two side by side compile the packages that they share twice.
	var images []image
	for _, s := range servers {
		built, err := buildOne(ctx, root, version, base, platform, s)
		if err != nil {
			return nil, fmt.Errorf("building the image of %s: %w", s.name, err)
		}
		images = append(images, built)
	}
	return images, nil
}

// buildOne compiles a server and puts it on the base, as /ko-app/NAME.
func buildOne(ctx context.Context, root, version string, base v1.Image, platform v1.Platform, s server) (image, error) {
	if s.mcp {
		var err error
		if base, err = withPort(base); err != nil {
			return image{}, err
		}
	}
	baseName, err := name.NewTag(localDomain + "/base")
	if err != nil {
		return image{}, err
	}
	options := []build.Option{
		build.WithBaseImages(func(context.Context, string) (name.Reference, build.Result, error) { return baseName, base, nil }),
		build.WithPlatforms(platform.String()),
		build.WithCreationTime(epoch()),
		build.WithKoDataCreationTime(epoch()),
		build.WithTrimpath(true),
		build.WithDefaultFlags([]string{"-buildvcs=false"}),
		build.WithDefaultLdflags([]string{"-s", "-w", "-buildid=", "-X", versionOf + "=" + version}),
		build.WithDefaultEnv(goEnvironment(platform)),
		build.WithDisabledSBOM(),
	}
	described := describe(s, version)
	for _, key := range slices.Sorted(maps.Keys(described)) {
		options = append(options, build.WithLabel(key, described[key]), build.WithAnnotation(key, described[key]))
	}
	builder, err := build.NewGo(ctx, root, options...)
	if err != nil {
		return image{}, err
	}
	result, err := builder.Build(ctx, build.StrictScheme+s.importPath)
	if err != nil {
		return image{}, err
	}
	built, ok := result.(v1.Image)
	if !ok {
		return image{}, fmt.Errorf("ko returned a %T, not an image", result)
	}
	id, err := built.ConfigName()
	if err != nil {
		return image{}, err
	}
	return image{Image: built, name: s.name, id: id.String()}, nil
}

// goEnvironment pins what the caller's environment could otherwise change in a binary.
func goEnvironment(platform v1.Platform) []string {
	return []string{
		"CGO_ENABLED=0",
		"GOOS=" + platform.OS,
		"GOARCH=" + platform.Architecture,
		"GOAMD64=v1",
		"GOARM64=v8.0",
		"GOEXPERIMENT=",
		"GOFIPS140=off",
		"GOFLAGS=-mod=readonly",
		"GOWORK=off",
	}
}

// describe is what the image says about itself, as labels and annotations, in the words of the OCI image specification.
// The revision is no part of it: a local image's id tells what is in it, and must not change with a commit that is not.
func describe(s server, version string) map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":       "Bulkhead " + s.name,
		"org.opencontainers.image.description": s.summary,
		"org.opencontainers.image.source":      "https://" + module,
		"org.opencontainers.image.licenses":    "Apache-2.0",
		"org.opencontainers.image.version":     version,
	}
}

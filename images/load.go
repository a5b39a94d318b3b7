package main

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/daemon"
	"github.com/moby/moby/client"
)

// image is a server's image for this machine's engine; its id is the digest of its configuration.
type image struct {
	v1.Image
	name string
	id   string
}

// imageVariable is the name under which compose.yaml asks for a server's image.
func imageVariable(server string) string {
	return "BULKHEAD_" + strings.ToUpper(strings.ReplaceAll(server, "-", "_")) + "_IMAGE"
}

// localFlags are the flags of the verbs that build for this machine.
func localFlags(flags *flag.FlagSet) (test *bool, version *string) {
	test = flags.Bool("test", false, "build the test-only images of servers/e2e too")
	version = flags.String("version", localVersion, "the version that binaries and labels tell")
	return test, version
}

// idsVerb prints the name and the id of each image.
func idsVerb(flags *flag.FlagSet) func(context.Context, call) error {
	test, version := localFlags(flags)
	return func(ctx context.Context, c call) error {
		images, err := buildLocal(ctx, c.root, *version, c.args, *test)
		if err != nil {
			return err
		}
		for _, image := range images {
			fmt.Fprintf(c.stdout, "%s %s\n", image.name, image.id)
		}
		return nil
	}
}

// loadVerb does as idsVerb, and brings the images into the engine and their ids into a file for compose.
func loadVerb(flags *flag.FlagSet) func(context.Context, call) error {
	test, version := localFlags(flags)
	env := flags.String("env", "", "the `file` that gets the ids (default .env beside compose.yaml)")
	return func(ctx context.Context, c call) error {
		engine, err := connect(ctx) // before the build, which takes minutes the first time
		if err != nil {
			return err
		}
		images, err := buildLocal(ctx, c.root, *version, c.args, *test)
		if err != nil {
			return err
		}
		var variables []variable
		for _, image := range images {
			id, err := engine.load(ctx, image)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.stdout, "%s %s\n", image.name, id)
			variables = append(variables, variable{name: imageVariable(image.name), value: id})
		}
		if *env == "" {
			*env = filepath.Join(c.root, ".env")
		}
		return setVariables(*env, variables)
	}
}

// buildLocal builds the images of the servers that names tells, or all, for this machine's platform.
func buildLocal(ctx context.Context, root, version string, names []string, test bool) ([]image, error) {
	if err := checkVersion(version); err != nil {
		return nil, err
	}
	servers, err := findServers(root)
	if err != nil {
		return nil, err
	}
	if servers, err = choose(servers, names, test); err != nil {
		return nil, err
	}
	platforms := []v1.Platform{{OS: "linux", Architecture: runtime.GOARCH}}
	own, err := ownBase(ctx, platforms)
	if err != nil {
		return nil, fmt.Errorf("making the base image: %w", err)
	}
	recipe := recipe{root: root, version: version, platforms: platforms, base: own}
	var images []image
	for _, s := range servers {
		result, err := recipe.build(ctx, s)
		if err != nil {
			return nil, err
		}
		built, ok := result.(v1.Image)
		if !ok {
			return nil, fmt.Errorf("ko returned a %T for one platform, not an image", result)
		}
		id, err := built.ConfigName()
		if err != nil {
			return nil, err
		}
		images = append(images, image{Image: built, name: s.name, id: id.String()})
	}
	return images, nil
}

// engine is the container engine of this machine, or the one that DOCKER_HOST names.
type engine struct {
	client *client.Client
}

// connect reaches the engine, or says what to do about it.
func connect(ctx context.Context) (engine, error) {
	c, err := client.New(client.FromEnv)
	if err != nil {
		return engine{}, fmt.Errorf("reading DOCKER_HOST and its kin: %w", err)
	}
	if _, err := c.Ping(ctx, client.PingOptions{}); err != nil {
		return engine{}, fmt.Errorf("no engine answers (start it, point DOCKER_HOST to it, or run scripts/engine on Debian): %w", err)
	}
	return engine{client: c}, nil
}

// load gives the engine the image, unless it has it, and returns the id by which the engine knows it.
//
// That id is the image's own, except where the engine keeps images in containerd's store and gives ids of its own making.
// So the engine is asked, and its answer is believed only when it holds the same layers.
func (e engine) load(ctx context.Context, i image) (string, error) {
	tag, err := name.NewTag(localDomain + "/" + i.name + ":latest")
	if err != nil {
		return "", err
	}
	options := []daemon.Option{daemon.WithContext(ctx), daemon.WithClient(e.client)}
	answer, err := daemon.Write(tag, i, options...)
	if err != nil {
		return "", fmt.Errorf("loading %s into the engine: %w", i.name, err)
	}
	loaded, err := daemon.Image(tag, options...)
	if err != nil {
		return "", fmt.Errorf("the engine did not take the image of %s: %w: %s", i.name, err, answer)
	}
	want, err := i.ConfigFile()
	if err != nil {
		return "", err
	}
	have, err := loaded.ConfigFile()
	if err != nil {
		return "", fmt.Errorf("asking the engine for the image of %s: %w", i.name, err)
	}
	if !slices.Equal(want.RootFS.DiffIDs, have.RootFS.DiffIDs) {
		return "", fmt.Errorf("the engine's %s has other layers than the image that was built: %s", tag, answer)
	}
	id, err := loaded.ConfigName()
	if err != nil {
		return "", err
	}
	return id.String(), nil
}

package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/daemon"
	"github.com/moby/moby/client"
)

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

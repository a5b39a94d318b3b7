package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// publishVerb pushes what build has built, and completes the folder of the release with what starts it.
func publishVerb(flags *flag.FlagSet) func(context.Context, call) error {
	registry := flags.String("registry", "", "where the images go, as `REGISTRY/PATH`: each becomes REGISTRY/PATH/NAME:VERSION")
	dist := distFlag(flags)
	return func(ctx context.Context, c call) error {
		if *registry == "" || len(c.args) > 0 {
			return errors.New("say where: images publish --registry REGISTRY/PATH")
		}
		dir := distOr(*dist, c.root)
		r, err := readRelease(dir)
		if err != nil {
			return err
		}
		// What starts the release comes from this checkout, so it must be the one that the images came from.
		if source, err := readCommit(ctx, c.root); err != nil {
			return err
		} else if source.revision != r.Revision {
			return fmt.Errorf("%s was built from %s, and %s is checked out: build again", dir, r.Revision, source.revision)
		}
		r.Registry = *registry
		if err := r.check(); err != nil {
			return err
		}
		if err := push(ctx, dir, r, c.stdout); err != nil {
			return err
		}
		return complete(dir, c.root, r)
	}
}

// push brings every index of the layout to the registry, under the version as tag.
func push(ctx context.Context, dir string, r release, stdout io.Writer) error {
	built, err := layout.ImageIndexFromPath(filepath.Join(dir, layoutFolder))
	if err != nil {
		return fmt.Errorf("reading what was built: %w", err)
	}
	options := registryOptions(ctx)
	for _, image := range r.Images {
		index, err := built.ImageIndex(image.Digest)
		if err != nil {
			return fmt.Errorf("%s is not in the layout: %w", image.Name, err)
		}
		tag, err := name.NewTag(r.Registry + "/" + image.Name + ":" + r.Version)
		if err != nil {
			return err
		}
		if err := isFree(tag, image.Digest, options...); err != nil {
			return err
		}
		if err := remote.WriteIndex(tag, index, options...); err != nil {
			return fmt.Errorf("pushing %s: %w", tag, err)
		}
		fmt.Fprintf(stdout, "pushed %s@%s\n", tag, image.Digest)
	}
	return nil
}

// isFree holds to it that a version means one thing: a tag that is there must be of the same image.
func isFree(tag name.Tag, digest v1.Hash, options ...remote.Option) error {
	there, err := remote.Head(tag, options...)
	if failed, ok := errors.AsType[*transport.Error](err); ok && failed.StatusCode == http.StatusNotFound {
		return nil
	}
	if err != nil {
		return fmt.Errorf("asking for %s: %w", tag, err)
	}
	if there.Digest != digest {
		return fmt.Errorf("%s is published already, with the digest %s: another image needs another version", tag, there.Digest)
	}
	return nil
}

func registryOptions(ctx context.Context) []remote.Option {
	return []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
}

// complete writes the files of the release that name its images, and the sums of all.
func complete(dir, root string, r release) error {
	compose, err := os.ReadFile(filepath.Join(root, "compose.yaml"))
	if err != nil {
		return err
	}
	if compose, err = pinCompose(compose, r); err != nil {
		return err
	}
	lock, err := os.ReadFile(filepath.Join(root, lockSource))
	if err != nil {
		return err
	}
	if err := errors.Join(
		r.write(dir),
		writeFile(filepath.Join(dir, composeFile), compose),
		writeFile(filepath.Join(dir, lockFile), lock),
	); err != nil {
		return err
	}
	all, err := sums(dir)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, sumsFile), all)
}

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// rebuildVerb builds a release again: in a clone that holds nothing but its commit, with the program of that commit and
// the toolchain that it names. The digests must come out the same; then what was signed is what the source says.
func rebuildVerb(flags *flag.FlagSet) func(context.Context, call) error {
	dir := flags.String("release", "", "the `folder` of the release (default images/dist)")
	return func(ctx context.Context, c call) error {
		if len(c.args) > 0 {
			return fmt.Errorf("%q: a release is rebuilt as a whole", c.args)
		}
		released, err := readRelease(distOr(*dir, c.root))
		if err != nil {
			return err
		}
		scratch, err := os.MkdirTemp("", "bulkhead-rebuild-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(scratch) }()
		rebuilt, err := rebuild(ctx, c.root, released, scratch)
		if err != nil {
			return err
		}
		differ := false
		for n, image := range released.Images {
			parts := image.parts()
			for _, part := range slices.Sorted(maps.Keys(parts)) {
				verdict := "same"
				if n >= len(rebuilt.Images) || rebuilt.Images[n].Name != image.Name || rebuilt.Images[n].parts()[part] != parts[part] {
					verdict, differ = "DIFFERS", true
				}
				fmt.Fprintf(c.stdout, "%-7s %s %s %s\n", verdict, image.Name, part, parts[part])
			}
		}
		if differ || len(rebuilt.Images) != len(released.Images) {
			return errors.New("the commit does not make what was released")
		}
		return nil
	}
}

// rebuild builds r again below scratch.
func rebuild(ctx context.Context, root string, r release, scratch string) (release, error) {
	checkout, dist := filepath.Join(scratch, "source"), filepath.Join(scratch, "dist")
	if err := cloneCommit(ctx, root, r.Revision, checkout); err != nil {
		return release{}, fmt.Errorf("%w\nIs the commit here? git fetch --tags", err)
	}
	args := []string{"run", ".", "build", "--dist", dist, "--version", r.Version}
	if r.Base != "" {
		args = append(args, "--base", r.Base)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join(checkout, "images")
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN="+r.Go, "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return release{}, fmt.Errorf("building %s again: %w: %s", r.Revision, err, out)
	}
	return readRelease(dist)
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
)

// commit is what a release is built from.
type commit struct {
	revision string    // the full hash
	time     time.Time // of the commit: the one clock that a release knows
}

// inputs are the paths that decide what a release holds; images/dist is made of them.
func inputs() []string {
	return []string{"go.mod", "go.sum", "LICENSE", "compose.yaml", lockSource, "servers", "images", ":(exclude)images/dist"}
}

// readCommit is the commit that is checked out below root. What decides a release must be there as it was committed: a file
// that git does not know, even one that it ignores, would be in the images and not in the commit that they name.
func readCommit(ctx context.Context, root string) (commit, error) {
	changed, err := git(ctx, root, append([]string{"status", "--porcelain", "--ignored", "--untracked-files=all", "--"}, inputs()...)...)
	if err != nil {
		return commit{}, err
	}
	if changed != "" {
		return commit{}, fmt.Errorf("a release is built from a commit, and this is not in it; commit it, or take it away:\n%s", changed)
	}
	head, err := git(ctx, root, "show", "--no-patch", "--no-show-signature", "--format=%H %ct", "HEAD")
	if err != nil {
		return commit{}, err
	}
	var c commit
	var seconds int64
	if _, err := fmt.Sscanf(head, "%s %d", &c.revision, &seconds); err != nil {
		return commit{}, fmt.Errorf("reading the commit %q: %w", head, err)
	}
	c.time = time.Unix(seconds, 0).UTC()
	return c, nil
}

// describeCommit is the version of a release that was given none: the tag of the commit, else its hash.
func describeCommit(ctx context.Context, root string) (string, error) {
	return git(ctx, root, "describe", "--tags", "--always", "--abbrev=12")
}

// cloneCommit makes a checkout of revision in dir, with nothing in it but what was committed.
func cloneCommit(ctx context.Context, root, revision, dir string) error {
	if _, err := git(ctx, root, "clone", "--quiet", "--shared", "--no-checkout", "--template=", root, dir); err != nil {
		return err
	}
	_, err := git(ctx, dir, "checkout", "--quiet", "--detach", revision)
	return err
}

// git runs git in dir, and returns what it prints. What the operator has set for other work stays out of it: a hook, a
// filter or another line end could put other files into a checkout than the commit holds.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	settings := []string{"-c", "core.hooksPath=" + os.DevNull, "-c", "core.attributesFile=" + os.DevNull, "-c", "core.autocrlf=false", "-c", "core.fsmonitor=false"}
	cmd := exec.CommandContext(ctx, "git", append(settings, args...)...)
	cmd.Dir = dir
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GIT_") })
	cmd.Env = append(cmd.Env, "GIT_ATTR_NOSYSTEM=1", "GIT_OPTIONAL_LOCKS=0", "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimRight(string(out), "\n"), nil
}

// pinnedGo is the Go toolchain that go.mod names. Another one makes other bits of the same source.
func pinnedGo(root string) (string, error) {
	data, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return "", err
	}
	parsed, err := modfile.Parse("go.mod", data, nil)
	if err != nil {
		return "", err
	}
	if parsed.Toolchain == nil {
		return "", errors.New("go.mod names no toolchain: a release needs one that is exact")
	}
	return parsed.Toolchain.Name, nil
}

// usesGo holds the running program and the go command to the toolchain want: the one compresses layers, the other compiles.
func usesGo(ctx context.Context, root, want string) error {
	cmd := exec.CommandContext(ctx, "go", "env", "GOVERSION")
	cmd.Dir = root
	compiler, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("asking go for its version: %w", err)
	}
	for _, have := range []string{runtime.Version(), strings.TrimSpace(string(compiler))} {
		if have != want {
			return fmt.Errorf("this is %s, and go.mod pins releases to %s: set GOTOOLCHAIN=%s", have, want, want)
		}
	}
	return nil
}

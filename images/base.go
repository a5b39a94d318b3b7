package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

const (
	nonroot = 65532 // the uid and gid of every process of Bulkhead; the same number as in other distroless images

	rootsFile = "etc/ssl/certs/ca-certificates.crt"
	zonesFile = "usr/share/zoneinfo.zip"
)

// epoch is the one time that an image bears, so that when it was built leaves no trace in it.
func epoch() v1.Time { return v1.Time{Time: time.Unix(0, 0).UTC()} }

// file is an entry of the base layer; a path that ends in a slash is a folder.
type file struct {
	path  string
	mode  int64
	owner int // uid and gid
	data  []byte
}

// baseFiles is all that an image holds beside the server, parents first. There is no shell, no loader and no /tmp, and a
// server can write to two folders; with a read-only root, to what is mounted there.
func baseFiles(roots, zones []byte) []file {
	return []file{
		{path: "etc/", mode: 0o555},
		{path: "etc/group", mode: 0o444, data: fmt.Appendf(nil, "nonroot:x:%d:\n", nonroot)},
		{path: "etc/passwd", mode: 0o444, data: fmt.Appendf(nil, "nonroot:x:%d:%[1]d:nonroot:/nonexistent:/sbin/nologin\n", nonroot)},
		{path: "etc/ssl/", mode: 0o555},
		{path: "etc/ssl/certs/", mode: 0o555},
		{path: rootsFile, mode: 0o444, data: roots},
		{path: "run/", mode: 0o555},
		{path: "run/bulkhead/", mode: 0o750, owner: nonroot},
		{path: "usr/", mode: 0o555},
		{path: "usr/share/", mode: 0o555},
		{path: zonesFile, mode: 0o444, data: zones},
		{path: "var/", mode: 0o555},
		{path: "var/lib/", mode: 0o555},
		{path: "var/lib/bulkhead/", mode: 0o750, owner: nonroot},
	}
}

// caRoots is Mozilla's root store as PEM, from a Go module, so that it is the one that go.sum names whatever the machine
// trusts. A root that Mozilla trusts only for certificates issued before some date is left out: PEM cannot say so.
func caRoots() []byte {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
		}
	}
	return out.Bytes()
}

// timeZones is the time zone database that comes with the Go toolchain, as the one zip that package time reads.
func timeZones(ctx context.Context) ([]byte, error) {
	goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("asking go for GOROOT: %w", err)
	}
	zones, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(goroot)), "lib", "time", "zoneinfo.zip"))
	if err != nil {
		return nil, fmt.Errorf("this Go comes without time zones, use one from go.dev: %w", err)
	}
	return zones, nil
}

// writeTar writes files as a layer, in which the order, the times and the owners are ours and not the machine's.
func writeTar(w io.Writer, files []file) error {
	out := tar.NewWriter(w)
	for _, f := range files {
		header := &tar.Header{
			Typeflag: tar.TypeReg,
			Name:     f.path,
			Mode:     f.mode,
			Uid:      f.owner,
			Gid:      f.owner,
			Size:     int64(len(f.data)),
			ModTime:  epoch().Time,
		}
		if strings.HasSuffix(f.path, "/") {
			header.Typeflag = tar.TypeDir
		}
		if err := out.WriteHeader(header); err != nil {
			return fmt.Errorf("writing %s: %w", f.path, err)
		}
		if _, err := out.Write(f.data); err != nil {
			return fmt.Errorf("writing %s: %w", f.path, err)
		}
	}
	return out.Close()
}

// baseImage is the image for platform that every server is put on.
func baseImage(platform v1.Platform, files []file) (v1.Image, error) {
	var layer bytes.Buffer
	if err := writeTar(&layer, files); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil }
	base, err := tarball.LayerFromOpener(open, tarball.WithCompressedCaching, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.Append(image, mutate.Addendum{
		Layer:   base,
		History: v1.History{Created: epoch(), CreatedBy: "images", Comment: "users, CA roots, time zones, folders to write to"},
	})
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant = platform.OS, platform.Architecture, platform.Variant
	config.Created = epoch()
	config.Config.User = fmt.Sprintf("%d:%[1]d", nonroot)
	config.Config.Env = []string{
		"container=oci", // systemd's container interface: tells a server that it is in a container
		"SSL_CERT_FILE=/" + rootsFile,
		"ZONEINFO=/" + zonesFile,
	}
	return mutate.ConfigFile(image, config)
}

// withPort declares the port that an MCP server listens on when it is run without arguments.
func withPort(base v1.Image) (v1.Image, error) {
	config, err := base.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Config.ExposedPorts = map[string]struct{}{"4000/tcp": {}}
	return mutate.ConfigFile(base, config)
}

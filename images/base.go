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

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

const (
	nonroot = 65532 // the uid and gid of every process of Bulkhead; the same number as in other distroless images

	rootsFile = "etc/ssl/certs/ca-certificates.crt"
	zonesFile = "usr/share/zoneinfo.zip"
)

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
	files := []file{
		{path: "etc/", mode: 0o555},
		{path: "etc/group", mode: 0o444, data: fmt.Appendf(nil, "nonroot:x:%d:\n", nonroot)},
		{path: "etc/passwd", mode: 0o444, data: fmt.Appendf(nil, "nonroot:x:%d:%[1]d:nonroot:/nonexistent:/sbin/nologin\n", nonroot)},
		{path: "etc/ssl/", mode: 0o555},
		{path: "etc/ssl/certs/", mode: 0o555},
		{path: rootsFile, mode: 0o444, data: roots},
		{path: "usr/", mode: 0o555},
		{path: "usr/share/", mode: 0o555},
		{path: zonesFile, mode: 0o444, data: zones},
	}
	return append(files, writableFolders()...)
}

// writableFolders are those that a server owns, and those above them.
func writableFolders() []file {
	return []file{
		{path: "run/", mode: 0o555},
		{path: "run/bulkhead/", mode: 0o750, owner: nonroot},
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
	goroot, err := goRoot(ctx)
	if err != nil {
		return nil, err
	}
	zones, err := os.ReadFile(filepath.Join(goroot, "lib", "time", "zoneinfo.zip"))
	if err != nil {
		return nil, fmt.Errorf("this Go comes without time zones, use one from go.dev: %w", err)
	}
	return zones, nil
}

// goRoot is the folder of the Go toolchain that compiles.
func goRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("asking go for GOROOT: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
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

// newLayer is files as a layer.
func newLayer(files []file) (v1.Layer, error) {
	var layer bytes.Buffer
	if err := writeTar(&layer, files); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithCompressedCaching, tarball.WithMediaType(types.OCILayer))
}

// base is what servers are put on: an index with an image for each platform, and the name that it goes by.
type base struct {
	name  name.Reference
	index v1.ImageIndex
	own   bool // ours, with everything that a server needs
}

// ownBase assembles the base of this file, for platforms.
func ownBase(ctx context.Context, platforms []v1.Platform) (base, error) {
	zones, err := timeZones(ctx)
	if err != nil {
		return base{}, err
	}
	layer, err := newLayer(baseFiles(caRoots(), zones))
	if err != nil {
		return base{}, err
	}
	baseName, err := name.NewTag(localDomain + "/base")
	if err != nil {
		return base{}, err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, platform := range platforms {
		image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
		image, err := mutate.Append(image, mutate.Addendum{
			Layer:   layer,
			History: v1.History{Created: epoch(), CreatedBy: "images", Comment: "users, CA roots, time zones, folders to write to"},
		})
		if err != nil {
			return base{}, err
		}
		config, err := image.ConfigFile()
		if err != nil {
			return base{}, err
		}
		config = config.DeepCopy()
		config.OS, config.Architecture, config.Variant = platform.OS, platform.Architecture, platform.Variant
		config.Created = epoch()
		config.Config.Env = []string{"SSL_CERT_FILE=/" + rootsFile, "ZONEINFO=/" + zonesFile}
		if image, err = mutate.ConfigFile(image, config); err != nil {
			return base{}, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &platform}})
	}
	return base{name: baseName, index: index, own: true}, nil
}

// pulledBase is somebody else's base, at a registry. It is named by digest: what a tag means may change tomorrow.
func pulledBase(ctx context.Context, reference string) (base, error) {
	digest, err := name.NewDigest(reference, name.StrictValidation)
	if err != nil {
		return base{}, fmt.Errorf("the base %q: want REGISTRY/NAME@sha256:DIGEST: %w", reference, err)
	}
	index, err := remote.Index(digest, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return base{}, fmt.Errorf("the base %s, which must be an index of images: %w", reference, err)
	}
	return base{name: digest, index: index}, nil
}

// extended is a base under its own digest whose images have more in them: ko records the digest that others know, and
// puts the server on the rest too.
type extended struct {
	under
	extend func(v1.Image) (v1.Image, error)
}

// under is the index below, by a name that no method of it has.
type under = v1.ImageIndex

func (e extended) Image(digest v1.Hash) (v1.Image, error) {
	image, err := e.under.Image(digest)
	if err != nil {
		return nil, err
	}
	return e.extend(image)
}

// forServer is the base with what the server s needs and it does not have.
func (b base) forServer(s server, licences []file) (v1.ImageIndex, error) {
	added, comment := licences, "licences"
	if !b.own {
		added, comment = append(writableFolders(), licences...), "folders to write to, licences"
	}
	layer, err := newLayer(added)
	if err != nil {
		return nil, err
	}
	extend := func(image v1.Image) (v1.Image, error) {
		image, err := mutate.Append(image, mutate.Addendum{
			Layer:   layer,
			History: v1.History{Created: epoch(), CreatedBy: "images", Comment: comment},
		})
		if err != nil {
			return nil, err
		}
		config, err := image.ConfigFile()
		if err != nil {
			return nil, err
		}
		config = config.DeepCopy()
		config.Config.User = fmt.Sprintf("%d:%[1]d", nonroot)
		// systemd's container interface: tells a server that it is in a container
		config.Config.Env = append([]string{"container=oci"}, config.Config.Env...)
		if s.mcp {
			config.Config.ExposedPorts = map[string]struct{}{"4000/tcp": {}} // where it listens when run without arguments
		}
		return mutate.ConfigFile(image, config)
	}
	return extended{under: b.index, extend: extend}, nil
}

package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/klauspost/compress/zstd"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
)

// trait is what makes a file of a layer worth mentioning.
type trait string

// The traits.
const (
	traitSetuid    trait = "setuid"       // runs with its owner's or group's rights
	traitSecret    trait = "secret"       // by its name or content a credential
	traitCache     trait = "cache"        // of a package manager
	traitNeedless  trait = "needless"     // of development, and no use in an image
	traitAccounts  trait = "accounts"     // /etc/passwd, /etc/shadow, /etc/group: content is kept
	traitOutside   trait = "outside"      // its name climbs out of the root
	whiteoutPrefix       = ".wh."         // a file that the layer removes (OCI image specification, "layer")
	opaqueWhiteout       = ".wh..wh..opq" // the folder's content below the layer is removed
	accountsPasswd       = "etc/passwd"
	accountsShadow       = "etc/shadow"
	accountsGroup        = "etc/group"
)

// fileFact is a file of a layer that is worth mentioning.
type fileFact struct {
	path    string // relative to the root, clean
	trait   trait
	content []byte // of traitAccounts
}

// layerFacts is what is kept of a layer: not its content.
type layerFacts struct {
	files   []fileFact
	removed []string // paths that the layer removes
	emptied []string // folders whose content below the layer it removes
	cut     bool     // there are more such files than are kept
}

func (f layerFacts) bytes() int {
	const perFile = 64
	total := 0
	for _, file := range f.files {
		total += len(file.path) + len(file.content) + perFile
	}
	for _, text := range append(slices.Clone(f.removed), f.emptied...) {
		total += len(text) + perFile
	}
	return total
}

// allowance is what may still be unpacked of one image.
type allowance struct {
	bytes   int64
	entries int
}

// Why a layer was not looked at to its end.
var (
	errUnpacked  = fmt.Errorf("it unpacks to more than the %d MiB that are looked at of an image", maxUnpacked>>20)
	errEntries   = fmt.Errorf("it has more entries than the %d that are looked at of an image", maxEntries)
	errPath      = fmt.Errorf("it has a path of more than %d bytes", maxPathBytes)
	errTar       = errors.New("it is no tar archive that can be read to its end")
	errMediaType = errors.New("it is compressed in a way that is not understood")
)

// facts looks through a layer, or knows what it found before.
func (s *session) facts(ctx context.Context, repository name.Repository, layer descriptor, left *allowance) (layerFacts, error) {
	key := "layer " + repository.Name() + " " + layer.Digest
	if kept, ok := cached[layerFacts](s.cache, key); ok {
		return kept, nil
	}
	stream, err := s.layer(ctx, repository, layer)
	if err != nil {
		return layerFacts{}, err
	}
	defer stream.Close()
	facts, err := readLayer(stream, left)
	if err == nil {
		// What follows the archive belongs to the blob: only its end shows whether the digest is right.
		_, err = io.Copy(io.Discard, stream)
	}
	if err == nil {
		s.cache.put(key, facts, facts.bytes(), 0)
	}
	return facts, err
}

// readLayer looks through a layer, compressed or not.
func readLayer(stream io.Reader, left *allowance) (layerFacts, error) {
	archive, done, err := decompress(stream)
	if err != nil {
		return layerFacts{}, err
	}
	defer done()
	counted := &meter{from: archive, left: &left.bytes}
	entries := tar.NewReader(counted)
	var facts layerFacts
	for {
		header, err := entries.Next()
		switch {
		case errors.Is(err, io.EOF):
			return facts, nil
		case err != nil:
			return layerFacts{}, layerError(err)
		case left.entries <= 0:
			return layerFacts{}, errEntries
		case len(header.Name) > maxPathBytes || len(header.Linkname) > maxPathBytes:
			return layerFacts{}, errPath
		}
		left.entries--
		if err := facts.add(header, entries); err != nil {
			return layerFacts{}, layerError(err)
		}
	}
}

// layerError tells a registry that lies or fails from an archive that is none.
func layerError(err error) error {
	for _, own := range []error{errUnpacked, errDigest, errSize, context.Canceled, context.DeadlineExceeded, limit.ErrTooLarge} {
		if errors.Is(err, own) {
			return err
		}
	}
	return errTar
}

// decompress goes by the first bytes: media types are often wrong.
func decompress(stream io.Reader) (io.Reader, func(), error) {
	buffered := bufio.NewReader(stream)
	magic, err := buffered.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		unpacked, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, nil, errMediaType
		}
		return unpacked, func() { _ = unpacked.Close() }, nil
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		unpacked, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, nil, errMediaType
		}
		return unpacked, unpacked.Close, nil
	case len(magic) == 0:
		return bytes.NewReader(nil), func() {}, nil
	}
	return buffered, func() {}, nil
}

// meter ends in an error where more is unpacked than may be.
type meter struct {
	from io.Reader
	left *int64
}

func (m *meter) Read(p []byte) (int, error) {
	if *m.left <= 0 {
		return 0, errUnpacked
	}
	n, err := m.from.Read(p[:min(int64(len(p)), *m.left)])
	*m.left -= int64(n)
	return n, err
}

// add notes what an entry is worth mentioning for.
func (f *layerFacts) add(header *tar.Header, content io.Reader) error {
	if slices.Contains(strings.Split(header.Name, "/"), "..") || header.Typeflag == tar.TypeLink && slices.Contains(strings.Split(header.Linkname, "/"), "..") {
		f.keep(fileFact{path: clip(header.Name, maxShownPath), trait: traitOutside})
		return nil
	}
	file := strings.TrimPrefix(path.Clean("/"+header.Name), "/")
	folder, base := path.Split(file)
	if base == opaqueWhiteout {
		f.emptied = f.keepText(f.emptied, folder)
		return nil
	}
	if removed, ok := strings.CutPrefix(base, whiteoutPrefix); ok {
		f.removed = f.keepText(f.removed, folder+removed)
		return nil
	}
	if header.Typeflag != tar.TypeReg && header.Typeflag != tar.TypeLink {
		if header.Typeflag != tar.TypeDir || base != ".git" {
			return nil
		}
		f.keep(fileFact{path: file, trait: traitNeedless})
		return nil
	}
	const setuid, setgid = 0o4000, 0o2000
	if header.Mode&(setuid|setgid) != 0 {
		f.keep(fileFact{path: file, trait: traitSetuid})
	}
	switch {
	case file == accountsPasswd || file == accountsShadow || file == accountsGroup:
		data, err := io.ReadAll(io.LimitReader(content, maxAccounts)) //nolint:forbidigo // bounded by the reader; the rest is of no use
		if err != nil {
			return err
		}
		f.keep(fileFact{path: file, trait: traitAccounts, content: data})
	case isCache(file):
		f.keep(fileFact{path: file, trait: traitCache})
	case secretName(file, base):
		f.keep(fileFact{path: file, trait: traitSecret})
	case keyName(base):
		head := make([]byte, maxKeyHead)
		n, err := io.ReadFull(content, head)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		if bytes.Contains(head[:n], []byte("PRIVATE KEY-----")) {
			f.keep(fileFact{path: file, trait: traitSecret})
		}
	case needlessName(base) && !strings.HasPrefix(file, "usr/"):
		f.keep(fileFact{path: file, trait: traitNeedless})
	}
	return nil
}

func (f *layerFacts) keep(file fileFact) {
	if len(f.files) >= maxFacts || len(file.path) > maxShownPath+len("…") {
		f.cut = true
		return
	}
	f.files = append(f.files, file)
}

func (f *layerFacts) keepText(list []string, text string) []string {
	if len(list) >= maxFacts {
		f.cut = true
		return list
	}
	return append(list, text)
}

func isCache(file string) bool {
	for _, folder := range []string{
		"var/lib/apt/lists/", "var/cache/apt/archives/", "var/cache/apk/", "lib/apk/cache/", "var/cache/yum/", "var/cache/dnf/", "root/.cache/pip/", "root/.npm/_cacache/",
	} {
		if rest, ok := strings.CutPrefix(file, folder); ok {
			return rest != "lock" && rest != ".keep" && !strings.HasPrefix(rest, "partial/")
		}
	}
	return false
}

func secretName(file, base string) bool {
	switch strings.ToLower(base) {
	case ".env", ".netrc", ".pgpass", ".pypirc", ".git-credentials", ".htpasswd", "credentials.json", "password.txt", "passwords.txt",
		"id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "secret_token.rb", "terraform.tfstate", ".dockercfg":
		return true
	case "credentials":
		return strings.Contains(file, ".aws/")
	case "config.json":
		return strings.Contains(file, ".docker/")
	case "config":
		return strings.Contains(file, ".kube/")
	}
	return false
}

func keyName(base string) bool {
	extension := strings.ToLower(path.Ext(base))
	return slices.Contains([]string{".pem", ".key", ".pk8", ".ppk"}, extension)
}

func needlessName(base string) bool {
	switch base {
	case "Dockerfile", "docker-compose.yml", "docker-compose.yaml", "compose.yaml", ".dockerignore", ".gitignore", ".DS_Store", ".vimrc":
		return true
	}
	return false
}

// rootfs is the files of an image that are worth mentioning, and of earlier layers those that are hidden by later ones.
type rootfs struct {
	files map[string]map[trait]fileFact
	// hidden are secrets that a later layer removes: they are in the image all the same.
	hidden []fileFact
	cut    bool
}

// apply puts a layer over what is there.
func (r *rootfs) apply(f layerFacts) {
	if r.files == nil {
		r.files = map[string]map[trait]fileFact{}
	}
	r.cut = r.cut || f.cut
	for _, folder := range f.emptied {
		r.remove(folder, "")
	}
	for _, file := range f.removed {
		r.remove(file+"/", file)
	}
	fresh := map[string]bool{}
	for _, file := range f.files {
		if r.files[file.path] == nil || !fresh[file.path] {
			r.files[file.path] = map[trait]fileFact{}
			fresh[file.path] = true
		}
		r.files[file.path][file.trait] = file
	}
}

// remove takes away a file, and all below a folder.
func (r *rootfs) remove(folder, file string) {
	for at, traits := range r.files {
		if at != file && !strings.HasPrefix(at, folder) {
			continue
		}
		if secret, ok := traits[traitSecret]; ok && len(r.hidden) < maxFacts {
			r.hidden = append(r.hidden, secret)
		}
		delete(r.files, at)
	}
}

// with lists the files that have a trait, sorted.
func (r *rootfs) with(t trait) []string {
	var paths []string
	for at, traits := range r.files {
		if _, ok := traits[t]; ok {
			paths = append(paths, at)
		}
	}
	slices.Sort(paths)
	return paths
}

// content returns what is kept of a file.
func (r *rootfs) content(file string) []byte { return r.files[file][traitAccounts].content }

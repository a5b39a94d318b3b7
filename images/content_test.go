package main

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// maxBinaries is the most that the binaries of all servers may weigh together, in bytes, stripped as they are in the images.
const maxBinaries = 165e6

// TestEveryImage looks into the image of every server of this repository.
func TestEveryImage(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	images, err := buildLocal(t.Context(), root, localVersion, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	var all int64
	for _, image := range images {
		size := checkContent(t, image, image.name)
		t.Logf("%s: %.1f MB", image.name, float64(size)/1e6)
		all += size
	}
	t.Logf("all: %.1f MB", float64(all)/1e6)
	if all > maxBinaries {
		t.Errorf("the binaries have %d bytes together, more than %.0f", all, maxBinaries)
	}
}

// checkContent holds what a container of the image sees to what README.md says: one program, the base's files, licences,
// two folders to write to. It returns the size of the program.
func checkContent(t *testing.T, image v1.Image, name string) (binary int64) {
	t.Helper()
	content := mutate.Extract(image)
	defer content.Close()
	var rest, writable []string
	licences := 0
	for entries := tar.NewReader(content); ; {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir {
			t.Errorf("%s: %s is of type %q: want files and folders only", name, h.Name, h.Typeflag)
		}
		mode := h.FileInfo().Mode()
		if mode&(os.ModeSetuid|os.ModeSetgid|os.ModeSticky) != 0 {
			t.Errorf("%s: %s has mode %s", name, h.Name, mode)
		}
		for key := range h.PAXRecords {
			if strings.Contains(key, "xattr") {
				t.Errorf("%s: %s has %s, which could be a capability", name, h.Name, key)
			}
		}
		if h.Uid == nonroot || h.Gid == nonroot || mode&0o022 != 0 {
			writable = append(writable, h.Name)
		}
		switch path := strings.Trim(h.Name, "/"); {
		case path == "ko-app/"+name:
			binary = h.Size
		case mode.IsRegular() && mode&0o111 != 0:
			t.Errorf("%s: %s can be executed", name, h.Name)
		case strings.HasPrefix(path, licencesFolder):
			licences++
		case mode.IsRegular():
			rest = append(rest, path)
		}
	}
	slices.Sort(rest)
	slices.Sort(writable)
	if diff := cmp.Diff([]string{"etc/group", "etc/passwd", rootsFile, zonesFile}, rest); diff != "" {
		t.Errorf("%s: files beside the program and licences (-want +got):\n%s", name, diff)
	}
	if diff := cmp.Diff([]string{"run/bulkhead", "var/lib/bulkhead"}, writable); diff != "" {
		t.Errorf("%s: what a server can write to (-want +got):\n%s", name, diff)
	}
	if binary == 0 || licences == 0 {
		t.Errorf("%s: a program of %d bytes and %d licences", name, binary, licences)
	}
	return binary
}

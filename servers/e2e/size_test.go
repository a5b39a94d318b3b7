package e2e

import (
	"archive/tar"
	"errors"
	"io"
	"strings"
	"testing"
)

// The most that each server's binary may weigh, in bytes, stripped as it is in its image. A library that drags in
// more than it is worth shows here first.
var maxBinary = map[string]int64{
	"registry": 30e6, "kubernetes": 36e6, "terraform": 32e6, "logs": 20e6, "gateway": 19e6, "dockerhub": 12e6, "egress": 8e6, "door": 8e6,
}

func TestBinarySizes(t *testing.T) {
	b := theBundle
	for name, most := range maxBinary {
		id := strings.TrimSpace(b.docker(t, "create", b.image(t, name)))
		files := tar.NewReader(strings.NewReader(b.docker(t, "cp", id+":/ko-app/"+name, "-")))
		b.docker(t, "rm", id)
		header, err := files.Next()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %.1f MB", name, float64(header.Size)/1e6)
		if header.Size > most {
			t.Errorf("%s has %d bytes, more than %d", name, header.Size, most)
		}
		if _, err := files.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("%s is not one file: %v", name, err)
		}
	}
}

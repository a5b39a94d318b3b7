package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// listing is a layer's entries as lines of mode, owner, group and path, sorted as they are in it.
func listing(t *testing.T, layer io.Reader) []string {
	t.Helper()
	var lines []string
	for entries := tar.NewReader(layer); ; {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(epoch().Time) {
			t.Errorf("%s has the time %s", h.Name, h.ModTime)
		}
		if len(h.PAXRecords) > 0 || h.Uname != "" || h.Gname != "" || h.Linkname != "" {
			t.Errorf("%s has more than a mode and an owner: %+v", h.Name, h)
		}
		lines = append(lines, fmt.Sprintf("%s %d:%d %s", h.FileInfo().Mode(), h.Uid, h.Gid, h.Name))
	}
}

func TestBaseLayer(t *testing.T) {
	var layer bytes.Buffer
	if err := writeTar(&layer, baseFiles([]byte("roots"), []byte("zones"))); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"dr-xr-xr-x 0:0 etc/",
		"-r--r--r-- 0:0 etc/group",
		"-r--r--r-- 0:0 etc/passwd",
		"dr-xr-xr-x 0:0 etc/ssl/",
		"dr-xr-xr-x 0:0 etc/ssl/certs/",
		"-r--r--r-- 0:0 etc/ssl/certs/ca-certificates.crt",
		"dr-xr-xr-x 0:0 usr/",
		"dr-xr-xr-x 0:0 usr/share/",
		"-r--r--r-- 0:0 usr/share/zoneinfo.zip",
		"dr-xr-xr-x 0:0 run/",
		"drwxr-x--- 65532:65532 run/bulkhead/",
		"dr-xr-xr-x 0:0 var/",
		"dr-xr-xr-x 0:0 var/lib/",
		"drwxr-x--- 65532:65532 var/lib/bulkhead/",
	}
	if diff := cmp.Diff(want, listing(t, bytes.NewReader(layer.Bytes()))); diff != "" {
		t.Errorf("entries of the base layer (-want +got):\n%s", diff)
	}
}

func TestUsers(t *testing.T) {
	want := map[string]string{
		"etc/group":  "nonroot:x:65532:\n",
		"etc/passwd": "nonroot:x:65532:65532:nonroot:/nonexistent:/sbin/nologin\n",
	}
	got := map[string]string{}
	for _, f := range baseFiles(nil, nil) {
		if strings.HasPrefix(f.path, "etc/") && len(f.data) > 0 {
			got[f.path] = string(f.data)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("user database (-want +got):\n%s", diff)
	}
}

func TestCARoots(t *testing.T) {
	rest, authorities := caRoots(), 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if root, err := x509.ParseCertificate(block.Bytes); err != nil {
			t.Error(err)
		} else if !root.IsCA {
			t.Errorf("%s is not an authority", root.Subject)
		}
		authorities++
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		t.Errorf("%d bytes are not PEM", len(rest))
	}
	if authorities < 100 {
		t.Errorf("%d roots: Mozilla has more than a hundred", authorities)
	}
}

func TestTimeZones(t *testing.T) {
	data, err := timeZones(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	zones, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	f, err := zones.Open("Asia/Tokyo")
	if err != nil {
		t.Fatal(err)
	}
	tokyo, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	zone, err := time.LoadLocationFromTZData("Asia/Tokyo", tokyo)
	if err != nil {
		t.Fatal(err)
	}
	if got := time.Unix(0, 0).In(zone).Hour(); got != 9 {
		t.Errorf("the epoch in Tokyo is at %d hours, want 9", got)
	}
}

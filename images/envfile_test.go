package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEdit(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"empty":         {"", "A=1\nB=2\n"},
		"others kept":   {"# mine\n\n  X = y=z # w\nexport Q=1\n", "# mine\n\n  X = y=z # w\nexport Q=1\nA=1\nB=2\n"},
		"replaced":      {"A=0\nX=1\nB=0\n", "A=1\nX=1\nB=2\n"},
		"every copy":    {"A=0\nA=00\n", "A=1\nA=1\nB=2\n"},
		"spaced":        {" A = 0\n", "A=1\nB=2\n"},
		"longer name":   {"AA=0\nA_B=0\n#A=0\n", "AA=0\nA_B=0\n#A=0\nA=1\nB=2\n"},
		"no final line": {"X=1", "X=1\nA=1\nB=2\n"},
		"again":         {"A=1\nB=2\n", "A=1\nB=2\n"},
	} {
		if diff := cmp.Diff(test.want, edit(test.text, []variable{{"A", "1"}, {"B", "2"}})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestSetVariables(t *testing.T) {
	file := filepath.Join(t.TempDir(), ".env")
	if err := os.WriteFile(file, []byte("SECRET=s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := setVariables(file, []variable{{"A", "1"}}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %s: the operator's own was lost", info.Mode())
	}
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("%d files in the folder, want .env alone", len(entries))
	}
	if err := setVariables(filepath.Join(t.TempDir(), "none", ".env"), nil); err == nil {
		t.Error("a folder that is not there was taken")
	}
}

package audit

import (
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// Our roots are those of the reference implementation, and its proofs hold against them.
func TestFrontier(t *testing.T) {
	const size = 130
	var (
		f      frontier
		stored []tlog.Hash
		roots  = []tlog.Hash{f.root()}
	)
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var hashes []tlog.Hash
		for _, i := range indexes {
			hashes = append(hashes, stored[i])
		}
		return hashes, nil
	})
	leaf := func(i int64) []byte { return fmt.Appendf(nil, "record %d", i) }
	for i := range int64(size) {
		hashes, err := tlog.StoredHashes(i, leaf(i), reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
		f.append(tlog.RecordHash(leaf(i)))
		roots = append(roots, f.root())

		again, err := parseFrontier(f.encode())
		if err != nil || !again.equal(f) {
			t.Fatalf("%d: %v, %v", i, again, err)
		}
	}
	for n, root := range roots {
		n := int64(n)
		if want, err := tlog.TreeHash(n, reader); err != nil || want != root {
			t.Fatalf("the root of %d records is %v, want %v (%v)", n, root, want, err)
		}
		if n == 0 {
			continue
		}
		for i := range n {
			proof, err := tlog.ProveRecord(n, i, reader)
			if err != nil {
				t.Fatal(err)
			}
			if err := tlog.CheckRecord(proof, n, root, i, tlog.RecordHash(leaf(i))); err != nil {
				t.Fatalf("record %d in %d: %v", i, n, err)
			}
		}
		for m := int64(1); m <= n; m++ {
			proof, err := tlog.ProveTree(n, m, reader)
			if err != nil {
				t.Fatal(err)
			}
			if err := tlog.CheckTree(proof, n, root, m, roots[m]); err != nil {
				t.Fatalf("%d extends %d: %v", n, m, err)
			}
		}
	}
}

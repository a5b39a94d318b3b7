package audit

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/bits"
	"slices"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"
)

// frontier is what a tree must remember to grow (RFC 6962, section 2.1): the hashes of its maximal complete
// subtrees, the largest first. There is one for each bit that is set in its size.
type frontier struct {
	size   uint64
	hashes []tlog.Hash
}

// maxFrontier is the most bytes of an encoded frontier: a size, and a hash for each of its bits.
const maxFrontier = 21 + 64*(44+1)

func (f *frontier) clone() frontier { return frontier{f.size, slices.Clone(f.hashes)} }

func (f *frontier) equal(g frontier) bool {
	return f.size == g.size && slices.Equal(f.hashes, g.hashes)
}

// append adds a leaf. Each trailing one of the old size is a subtree that the leaf completes.
func (f *frontier) append(leaf tlog.Hash) {
	for i := f.size; i&1 == 1; i >>= 1 {
		last := len(f.hashes) - 1
		leaf = tlog.NodeHash(f.hashes[last], leaf)
		f.hashes = f.hashes[:last]
	}
	f.hashes = append(f.hashes, leaf)
	f.size++
}

// root is the Merkle tree hash.
func (f *frontier) root() tlog.Hash {
	if f.size == 0 {
		return sha256.Sum256(nil)
	}
	last := len(f.hashes) - 1
	root := f.hashes[last]
	for _, left := range slices.Backward(f.hashes[:last]) {
		root = tlog.NodeHash(left, root)
	}
	return root
}

// encode returns the size and the hashes, one a line.
func (f *frontier) encode() []byte {
	text := strconv.AppendUint(nil, f.size, 10)
	for _, hash := range f.hashes {
		text = append(text, '\n')
		text = append(text, hash.String()...)
	}
	return append(text, '\n')
}

func parseFrontier(text []byte) (frontier, error) {
	lines := bytes.Split(text, []byte("\n"))
	size, err := strconv.ParseUint(string(lines[0]), 10, 64)
	if err != nil {
		return frontier{}, err
	}
	f := frontier{size: size}
	for _, line := range lines[1 : 1+min(bits.OnesCount64(size), len(lines)-1)] {
		hash, err := tlog.ParseHash(string(line))
		if err != nil {
			return frontier{}, err
		}
		f.hashes = append(f.hashes, hash)
	}
	// One spelling for each frontier: what base64 and numbers tolerate is a sign of an edit.
	if !bytes.Equal(f.encode(), text) {
		return frontier{}, fmt.Errorf("not the frontier of a tree of %d records", size)
	}
	return f, nil
}

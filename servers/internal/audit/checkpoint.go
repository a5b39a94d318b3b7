package audit

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	maxNote = 4 << 10 // bytes of one checkpoint
	maxKey  = 4 << 10 // bytes of a key file
	// notesTail is how much of the checkpoints is read to find the newest one: some hundred notes.
	notesTail = 64 << 10
)

// checkpoint is a signed tree.
type checkpoint struct {
	size uint64
	root tlog.Hash
	note []byte
}

// sign makes a checkpoint (C2SP tlog-checkpoint): a note of the origin, which is the key's name, the size in
// decimal and the root hash in base64.
func sign(signer note.Signer, size uint64, root tlog.Hash) (checkpoint, error) {
	text := fmt.Sprintf("%s\n%d\n%s\n", signer.Name(), size, root)
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	return checkpoint{size, root, signed}, err
}

// openCheckpoint reads a checkpoint that verifier's key has signed. Others may have signed it too.
func openCheckpoint(signed []byte, verifier note.Verifier) (checkpoint, error) {
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return checkpoint{}, err
	}
	parts := strings.Split(opened.Text, "\n")
	if len(parts) != 4 || parts[0] != verifier.Name() || parts[3] != "" {
		return checkpoint{}, fmt.Errorf("signed, but no checkpoint of %s", verifier.Name())
	}
	size, err := strconv.ParseUint(parts[1], 10, 64)
	if err != nil || strconv.FormatUint(size, 10) != parts[1] {
		return checkpoint{}, fmt.Errorf("a checkpoint of %q records", parts[1])
	}
	root, err := tlog.ParseHash(parts[2])
	if err != nil {
		return checkpoint{}, err
	}
	// Only the signatures that were verified: what others wrote behind them is shown to nobody.
	clean, err := note.Sign(&note.Note{Text: opened.Text, Sigs: opened.Sigs})
	return checkpoint{size, root, clean}, err
}

// noteReader splits the checkpoints file: each note is followed by an empty line. A note ends at the first
// empty line after a signature, so that a damaged one spoils at most the next.
type noteReader struct {
	in   *bufio.Reader
	line int   // lines read
	end  int64 // bytes read up to the end of the last note
}

func newNoteReader(in io.Reader) *noteReader {
	return &noteReader{in: bufio.NewReaderSize(in, maxNote)}
}

// next returns a note, valid until the next call, and the line that it begins at; io.EOF at the end, and
// io.ErrUnexpectedEOF if the last note is not whole. What is too long for a note comes in pieces.
func (n *noteReader) next() (signed []byte, line int, err error) {
	line = n.line + 1
	signature := false
	for len(signed) < maxNote {
		text, err := n.in.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(signed)+len(text) == 0 {
			return nil, line, io.EOF
		} else if errors.Is(err, io.EOF) {
			return nil, line, io.ErrUnexpectedEOF
		} else if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, line, err
		}
		n.line++
		signed = append(signed, text...)
		if signature && len(text) == 1 {
			n.end += int64(len(signed))
			return signed[:len(signed)-1], line, nil
		}
		signature = bytes.HasPrefix(text, []byte("— "))
	}
	n.end += int64(len(signed))
	return signed, line, nil
}

// newest returns the checkpoints in the last part of the file that verifier's key has signed, in order, and
// where the last whole note ends.
func newest(f file, verifier note.Verifier) (signed []checkpoint, end int64, err error) {
	size, err := f.size()
	if err != nil {
		return nil, 0, err
	}
	for _, start := range []int64{max(0, size-notesTail), 0} {
		notes := newNoteReader(io.NewSectionReader(f, start, size-start))
		signed = nil
		for {
			text, _, err := notes.next()
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				break
			} else if err != nil {
				return nil, 0, err
			}
			end = start + notes.end
			if c, err := openCheckpoint(text, verifier); err == nil {
				signed = append(signed, c)
				signed = signed[max(0, len(signed)-notesTail/100):]
			}
		}
		if len(signed) > 0 {
			break
		}
	}
	return signed, end, nil
}

// ordered says whether the sizes that the notes in the first end bytes claim never fall, as the writer leaves them. A
// smaller one behind a larger is how a log is made to look as if it had never been longer.
func ordered(f file, end int64) error {
	notes := newNoteReader(io.NewSectionReader(f, 0, end))
	var largest uint64
	for {
		text, line, err := notes.next()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		} else if err != nil {
			return err
		}
		size, ok := claimedSize(text)
		if ok && size < largest {
			return fmt.Errorf("%w: %s: line %d: a checkpoint of %d records stands behind one of %d", ErrBroken, checkpointsName, line, size, largest)
		}
		largest = max(largest, size)
	}
}

// NewestCheckpoint returns the newest checkpoint of the log in dir that verifier's key has signed, a signed note
// (C2SP tlog-checkpoint). Kept elsewhere, it lets [Verify] see that the log was rolled back.
func NewestCheckpoint(dir string, verifier note.Verifier) ([]byte, error) {
	notes, err := disk{dir: dir}.open(checkpointsName)
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoints of the audit log: %w", err)
	}
	defer func() { _ = notes.Close() }()
	signed, _, err := newest(notes, verifier)
	if err == nil && len(signed) == 0 {
		err = fmt.Errorf("%w: none is signed by the key %s", ErrBroken, verifier.Name())
	}
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoints of the audit log in %s: %w", dir, err)
	}
	return signed[len(signed)-1].note, nil
}

// Key files, in the format of [note.GenerateKey].
const (
	SignerFile   = "audit.key" // PRIVATE+KEY+…, mode 0400
	VerifierFile = "audit.pub"
)

// GenerateKey writes a new key of that name into dir: [SignerFile] and [VerifierFile]. The name is the origin
// line of each checkpoint, so it should say which log this is, as in "example.com/bulkhead". It overwrites
// nothing.
func GenerateKey(dir, name string) error {
	private, public, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return fmt.Errorf("making an audit key: %w", err)
	}
	if _, err := note.NewVerifier(public); err != nil {
		return fmt.Errorf("making an audit key: %q cannot be a key's name: it is empty or has a space or a plus sign", name)
	}
	// The public half first: without the private one nothing has been signed yet.
	if err := writeNew(filepath.Join(dir, VerifierFile), public, 0o444); err != nil {
		return fmt.Errorf("making an audit key: %w", err)
	}
	if err := writeNew(filepath.Join(dir, SignerFile), private, 0o400); err != nil {
		_ = os.Remove(filepath.Join(dir, VerifierFile)) // it is ours, and of no use alone
		return fmt.Errorf("making an audit key: %w", err)
	}
	return nil
}

func writeNew(path, text string, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode) //nolint:gosec // the operator's own path
	if err != nil {
		return err
	}
	_, err = f.WriteString(text + "\n")
	return errors.Join(err, f.Sync(), f.Close())
}

// ReadSigner reads a private key file and returns the key and what verifies its signatures.
func ReadSigner(path string) (note.Signer, note.Verifier, error) {
	text, err := readKey(path)
	if err != nil {
		return nil, nil, err
	}
	signer, err := note.NewSigner(text)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: not a signing key as gateway audit keygen writes it: %w", path, err)
	}
	verifier, err := verifierOf(text)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return signer, verifier, nil
}

// verifierOf derives the public half of a private key that note.NewSigner takes:
// PRIVATE+KEY+<name>+<hash>+<base64 of the algorithm and the seed>.
func verifierOf(private string) (note.Verifier, error) {
	fields := strings.SplitN(private, "+", 5)
	if len(fields) != 5 {
		return nil, errors.New("not a signing key")
	}
	key, err := base64.StdEncoding.DecodeString(fields[4])
	if err != nil {
		return nil, err
	}
	if len(key) != 1+ed25519.SeedSize {
		return nil, errors.New("not an Ed25519 key")
	}
	public, ok := ed25519.NewKeyFromSeed(key[1:]).Public().(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("not an Ed25519 key")
	}
	text, err := note.NewEd25519VerifierKey(fields[2], public)
	if err != nil {
		return nil, err
	}
	return note.NewVerifier(text)
}

// ReadVerifier reads a public key file.
func ReadVerifier(path string) (note.Verifier, error) {
	text, err := readKey(path)
	if err != nil {
		return nil, err
	}
	verifier, err := note.NewVerifier(text)
	if err != nil {
		return nil, fmt.Errorf("%s: not a public key as gateway audit keygen writes it: %w", path, err)
	}
	return verifier, nil
}

func readKey(path string) (string, error) {
	text, err := content(disk{dir: filepath.Dir(path)}, filepath.Base(path), maxKey)
	if err != nil {
		return "", fmt.Errorf("reading an audit key: %w", err)
	}
	return strings.TrimSuffix(string(text), "\n"), nil
}

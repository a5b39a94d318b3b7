package audit

import (
	"bufio"
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"slices"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

// A stored result is an entry of four parts: the length of the third (4 bytes, big-endian), the SHA-256 of the
// content, the content compressed with DEFLATE (RFC 1951), and a CRC-32C of all before it. The CRC tells an entry
// that a crash cut short; what tells a forged one is the SHA-256, which stands in the record too.
const (
	entryHead     = 4 + sha256.Size
	entryTail     = crc32.Size
	maxCompressed = MaxStored + MaxStored/1024 + 64 // what does not compress grows by a few bytes a block
	maxEntry      = entryHead + maxCompressed + entryTail
)

// digest is the SHA-256 of a result's content.
type digest = tlog.Hash

func parseDigest(text string) (digest, error) {
	sum, err := hex.DecodeString(text)
	if err != nil || len(sum) != sha256.Size || hex.EncodeToString(sum) != text {
		return digest{}, fmt.Errorf("%q is no SHA-256 in hexadecimal", text)
	}
	return digest(sum), nil
}

// Results reads stored results, best in the order of their records: it keeps in mind where the results of one segment
// stand. It may not be used by two goroutines at once.
type Results struct {
	folder      files
	first, next uint64 // records of the segment that is open: its first, and that of the segment behind it
	in          file
	places      map[digest][]int64 // where entries that claim that content begin
}

// OpenResults reads results of the log in dir.
func OpenResults(dir string) *Results { return &Results{folder: disk{dir: dir}} }

// Close closes what is open.
func (r *Results) Close() error {
	if r.in == nil {
		return nil
	}
	err := r.in.Close()
	r.in, r.first, r.next = nil, 0, 0
	return err
}

// Read returns the stored result of a record, checked against the hash in the record. The error wraps [ErrNoResult] if
// the record says that none was stored, and [ErrBroken] if it is not there.
func (r *Results) Read(record Record) ([]byte, error) {
	content, err := r.read(record)
	if err != nil {
		return nil, fmt.Errorf("reading the result of record %d: %w", record.Seq, err)
	}
	return content, nil
}

func (r *Results) read(record Record) ([]byte, error) {
	if record.Result == nil || !record.Result.Stored {
		return nil, ErrNoResult
	}
	sum, err := parseDigest(record.Result.SHA256)
	if err != nil {
		return nil, err
	}
	if record.Seq < r.first || record.Seq >= r.next {
		err = r.segment(record.Seq)
	}
	if err == nil && r.places[sum] == nil && r.next == lastSegment {
		err = r.segment(record.Seq) // it has grown, maybe
	}
	if err != nil {
		return nil, err
	}
	reason := fmt.Errorf("%w: %s does not have it", ErrBroken, segmentName(r.first, storedKind))
	for _, place := range r.places[sum] {
		_, compressed, err := newEntryReader(io.NewSectionReader(r.in, place, maxEntry)).next()
		if err == nil {
			var content []byte
			if content, err = expand(sum, compressed); err == nil {
				return content, nil
			}
		}
		reason = errors.Join(reason, err)
	}
	return nil, reason
}

// lastSegment is the record behind a segment that is the last.
const lastSegment = math.MaxUint64

// segment finds out where the results of the segment stand that has the record seq.
func (r *Results) segment(seq uint64) error {
	firsts, err := segments(r.folder)
	if err != nil {
		return err
	}
	i, exact := slices.BinarySearch(firsts, seq)
	if !exact {
		i--
	}
	if i < 0 {
		return fmt.Errorf("its segment has expired: %w", fs.ErrNotExist)
	}
	if err := r.Close(); err != nil {
		return err
	}
	in, err := r.folder.open(segmentName(firsts[i], storedKind))
	if err != nil {
		return err
	}
	r.first, r.next, r.in, r.places = firsts[i], lastSegment, in, map[digest][]int64{}
	if i+1 < len(firsts) {
		r.next = firsts[i+1]
	}
	size, err := in.size()
	if err != nil {
		return err
	}
	entries := newEntryReader(io.NewSectionReader(in, 0, min(size, maxResults)))
	for range maxStoredResults {
		place := entries.end
		sum, _, err := entries.next()
		switch {
		case err == nil:
			r.places[sum] = append(r.places[sum], place)
		case errors.Is(err, errChecksum):
		case errors.Is(err, io.EOF) || errors.Is(err, errEntry):
			return nil
		default:
			return err
		}
	}
	return nil
}

// errEntry says that what stands in a file of results is no entry, and errChecksum that it was one.
var (
	errEntry    = errors.New("not a stored result")
	errChecksum = fmt.Errorf("%w: its checksum does not match", errEntry)
)

func castagnoli(data []byte) uint32 { return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)) }

// compressor makes the compressed form of results. It keeps its writers, which are far larger than most results.
type compressor struct{ writers sync.Pool }

func (c *compressor) compress(content []byte) ([]byte, error) {
	var out bytes.Buffer
	w, ok := c.writers.Get().(*flate.Writer)
	if ok {
		w.Reset(&out)
	} else {
		var err error
		if w, err = flate.NewWriter(&out, flate.BestSpeed); err != nil {
			return nil, err
		}
	}
	defer c.writers.Put(w)
	_, err := w.Write(content)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// expand undoes compress, and checks that the content is what sum says.
func expand(sum digest, compressed []byte) ([]byte, error) {
	in := bytes.NewReader(compressed)
	var content bytes.Buffer
	_, err := io.CopyN(&content, flate.NewReader(in), MaxStored+1) // one past the bound tells "exactly full" from "more"
	switch {
	case err == nil:
		return nil, fmt.Errorf("%w: more than %d bytes", errEntry, MaxStored)
	case !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%w: %w", errEntry, err)
	case in.Len() > 0:
		return nil, fmt.Errorf("%w: %d bytes after its end", errEntry, in.Len())
	case sha256.Sum256(content.Bytes()) != sum:
		return nil, fmt.Errorf("%w: its content has another hash", errEntry)
	}
	return content.Bytes(), nil
}

// appendEntry appends an entry.
func appendEntry(to []byte, sum digest, compressed []byte) []byte {
	start := len(to)
	to = binary.BigEndian.AppendUint32(to, uint32(len(compressed))) //nolint:gosec // at most maxCompressed
	to = append(to, sum[:]...)
	to = append(to, compressed...)
	return binary.BigEndian.AppendUint32(to, castagnoli(to[start:]))
}

// entryReader reads entries in order.
type entryReader struct {
	in     *bufio.Reader
	buffer []byte
	end    int64 // of the last entry
}

func newEntryReader(in io.Reader) *entryReader {
	return &entryReader{in: bufio.NewReaderSize(in, 64<<10), buffer: make([]byte, maxEntry)}
}

// next returns the hash and the compressed content of an entry, valid until the next call. It ends with
// io.EOF, or with an error that wraps errEntry where no whole entry stands. After errChecksum, which comes with
// the hash that the entry claims, it can go on behind the entry.
func (e *entryReader) next() (digest, []byte, error) {
	if _, err := io.ReadFull(e.in, e.buffer[:entryHead]); errors.Is(err, io.EOF) {
		return digest{}, nil, io.EOF
	} else if err != nil {
		return digest{}, nil, half(err)
	}
	length := binary.BigEndian.Uint32(e.buffer)
	if length == 0 {
		return digest{}, nil, io.EOF // the zeros that stand ahead, or a hole: no content compresses to nothing
	}
	if length > maxCompressed {
		return digest{}, nil, fmt.Errorf("%w: %d bytes, more than %d", errEntry, length, maxCompressed)
	}
	entry := e.buffer[:entryHead+int(length)+entryTail]
	if _, err := io.ReadFull(e.in, entry[entryHead:]); err != nil {
		return digest{}, nil, half(err)
	}
	e.end += int64(len(entry))
	checked := len(entry) - entryTail
	if castagnoli(entry[:checked]) != binary.BigEndian.Uint32(entry[checked:]) {
		return digest(entry[4:entryHead]), nil, errChecksum
	}
	return digest(entry[4:entryHead]), entry[entryHead:checked], nil
}

func half(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: half an entry", errEntry)
	}
	return err
}

package audit

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
)

var errPower = errors.New("the power is off")

// ram is a folder whose power can be cut after any operation. What was not synced is then lost, or torn.
type ram struct {
	mu      sync.Mutex
	entries map[string]*inode
	durable map[string]*inode
	pending []func(map[string]*inode) // changes of names since the last sync

	ops   int
	cut   int // the operation that the power does not survive; -1 for none
	room  int // bytes that the volume still takes; -1 for any
	syncs map[string]int
	liar  string // the kind of file whose sync does nothing; "names" for the folder's
	bad   string // the kind of file whose sync fails

	readOnly bool
}

type inode struct {
	current, durable []byte
	pending          []change
}

// change is a write at offset, or a truncation to it if data is nil.
type change struct {
	offset int64
	data   []byte
}

func (c change) apply(to []byte) []byte {
	end := int(c.offset) + len(c.data)
	if grow := end - len(to); grow > 0 {
		to = append(to, make([]byte, grow)...)
	}
	if c.data == nil {
		return to[:end]
	}
	copy(to[c.offset:], c.data)
	return to
}

// sector is how many bytes a disk writes whole.
const sector = 512

// punch returns the write c to a file of that content with some sectors as they were, or zero.
func (c change) punch(content []byte, random *rand.Rand) change {
	data := make([]byte, len(c.data))
	if int(c.offset) < len(content) {
		copy(data, content[c.offset:])
	}
	for at := 0; at < len(data); {
		next := min(len(data), at+sector-(int(c.offset)+at)%sector)
		if random.IntN(2) == 0 {
			copy(data[at:next], c.data[at:next])
		}
		at = next
	}
	return change{c.offset, data}
}

func newRAM() *ram {
	return &ram{entries: map[string]*inode{}, durable: map[string]*inode{}, cut: -1, room: -1, syncs: map[string]int{}}
}

// step counts an operation and says whether there was power for it.
func (r *ram) step() bool {
	r.ops++
	return r.cut < 0 || r.ops <= r.cut
}

// What a crash makes of what was not synced.
const (
	lose    = iota // all is lost
	keep           // all is there, as after kill -9
	tear           // a random part is there, the last write cut
	holes          // of each write, any sectors are there
	tearing        // the number of these
)

// reboot returns the folder as it is after a crash.
func (r *ram) reboot(mode int, random *rand.Rand) *ram {
	r.mu.Lock()
	defer r.mu.Unlock()
	part := func(n int) int {
		switch mode {
		case lose:
			return 0
		case keep:
			return n
		default:
			return random.IntN(n + 1)
		}
	}
	names := maps.Clone(r.durable)
	for _, change := range r.pending[:part(len(r.pending))] {
		change(names)
	}
	after := newRAM()
	for name, old := range names {
		data := bytes.Clone(old.durable)
		n := part(len(old.pending))
		for _, c := range old.pending[:n] {
			if mode == holes && c.data != nil {
				c = c.punch(data, random)
			}
			data = c.apply(data)
		}
		if mode == tear && n < len(old.pending) && old.pending[n].data != nil {
			c := old.pending[n]
			data = change{c.offset, c.data[:random.IntN(len(c.data)+1)]}.apply(data)
		}
		node := &inode{current: bytes.Clone(data), durable: data}
		after.entries[name], after.durable[name] = node, node
	}
	return after
}

func (r *ram) names() ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.entries)), nil
}

func (r *ram) open(name string) (file, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	node, ok := r.entries[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return &ramFile{r, name, node}, nil
}

func (r *ram) change(f func(map[string]*inode)) error {
	if !r.step() {
		if r.ops == r.cut+1 {
			r.pending = append(r.pending, f) // it may have happened
		}
		return errPower
	}
	f(r.entries)
	r.pending = append(r.pending, f)
	return nil
}

func (r *ram) create(name string) (file, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if node, ok := r.entries[name]; ok {
		f := &ramFile{r, name, node}
		return f, f.write(change{0, nil})
	}
	if r.room == 0 {
		return nil, syscall.ENOSPC
	}
	node := &inode{}
	return &ramFile{r, name, node}, r.change(func(names map[string]*inode) { names[name] = node })
}

func (r *ram) remove(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.entries[name]; !ok {
		return fs.ErrNotExist
	}
	return r.change(func(names map[string]*inode) { delete(names, name) })
}

func (r *ram) rename(from, to string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.change(func(names map[string]*inode) {
		if node, ok := names[from]; ok {
			names[to] = node
			delete(names, from)
		}
	})
}

func (r *ram) sync() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.step() {
		return errPower
	}
	r.syncs["names"]++
	if r.liar != "names" {
		r.durable, r.pending = maps.Clone(r.entries), nil
	}
	return nil
}

type ramFile struct {
	ram  *ram
	name string
	node *inode
}

func (f *ramFile) kind() string {
	if i := strings.IndexByte(f.name, '.'); i >= 0 {
		return f.name[i:]
	}
	return f.name
}

func (f *ramFile) ReadAt(p []byte, offset int64) (int, error) {
	f.ram.mu.Lock()
	defer f.ram.mu.Unlock()
	if offset >= int64(len(f.node.current)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.current[offset:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *ramFile) write(c change) error {
	if f.ram.readOnly {
		return syscall.EROFS
	}
	if !f.ram.step() {
		if f.ram.ops == f.ram.cut+1 {
			f.node.pending = append(f.node.pending, c) // it may have reached the disk
		}
		return errPower
	}
	f.node.current = c.apply(f.node.current)
	f.node.pending = append(f.node.pending, c)
	return nil
}

func (f *ramFile) WriteAt(p []byte, offset int64) (int, error) {
	f.ram.mu.Lock()
	defer f.ram.mu.Unlock()
	n := len(p)
	grow := max(0, int(offset)+len(p)-len(f.node.current))
	if f.ram.room >= 0 && grow > f.ram.room {
		n -= grow - f.ram.room
		grow = f.ram.room
	}
	if err := f.write(change{offset, bytes.Clone(p[:n])}); err != nil {
		return 0, err
	}
	if f.ram.room >= 0 {
		f.ram.room -= grow
	}
	if n < len(p) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

func (f *ramFile) size() (int64, error) {
	f.ram.mu.Lock()
	defer f.ram.mu.Unlock()
	return int64(len(f.node.current)), nil
}

func (f *ramFile) named(name string) (bool, error) {
	f.ram.mu.Lock()
	defer f.ram.mu.Unlock()
	return f.ram.entries[name] == f.node, nil
}

func (f *ramFile) truncate(size int64) error {
	f.ram.mu.Lock()
	defer f.ram.mu.Unlock()
	if f.ram.room > 0 { // where there was none, somebody else takes what becomes free
		f.ram.room += len(f.node.current) - int(size)
	}
	return f.write(change{size, nil})
}

func (f *ramFile) datasync() error {
	f.ram.mu.Lock()
	defer f.ram.mu.Unlock()
	if !f.ram.step() {
		return errPower
	}
	if f.ram.bad == f.kind() {
		return syscall.EIO
	}
	f.ram.syncs[f.kind()]++
	if f.ram.liar != f.kind() {
		f.node.durable, f.node.pending = bytes.Clone(f.node.current), nil
	}
	return nil
}

func (f *ramFile) Close() error { return nil }

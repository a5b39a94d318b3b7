// Package secretdir reads folders of secrets: the one kind of configuration that is read again when it changes, so that
// whoever adds, rotates or revokes one restarts nothing.
package secretdir

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
)

// LookEvery is how long what was read from a folder may be used before its [Dir.State] is looked at again.
const LookEvery = time.Second

// Dir is a folder. Files whose names do not end in Suffix are not its business.
type Dir struct {
	Path   string
	Suffix string // may be empty: all files but hidden ones
}

// Names returns the names of the files, sorted.
func (d Dir) Names() ([]string, error) {
	entries, err := os.ReadDir(d.Path)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		// An orchestrator keeps what it mounts in hidden folders beside links to it.
		if strings.HasSuffix(entry.Name(), d.Suffix) && !strings.HasPrefix(entry.Name(), ".") {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// State is a text that changes when a file is added, removed or written.
func (d Dir) State() (string, error) {
	names, err := d.Names()
	if err != nil {
		return "", err
	}
	var state strings.Builder
	for _, name := range names {
		info, err := os.Stat(filepath.Join(d.Path, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&state, "%s %d %d\n", name, info.Size(), info.ModTime().UnixNano())
	}
	return state.String(), nil
}

// Read returns the content of a file of at most maxBytes bytes. A pipe or a device is refused, since opening one may wait
// for ever, and so is a link out of the folder: a confined process reads only what is in it, and would not see the
// secret revoked. Errors name the file and hold nothing of its content.
func (d Dir) Read(name string, maxBytes int64) ([]byte, error) {
	path := filepath.Join(d.Path, name)
	folder, err := os.OpenRoot(d.Path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = folder.Close() }()
	if info, err := folder.Stat(name); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file that can be read: %w", path, cmp.Or(err, fs.ErrInvalid))
	}
	file, err := folder.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer func() { _ = file.Close() }()
	data, err := limit.ReadAll(file, maxBytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}

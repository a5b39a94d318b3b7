package main

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
)

// workspaceFiles are the files of the workspace.
type workspaceFiles struct {
	root *workspace.Root
	most int // bytes of one file
}

func (f workspaceFiles) read(name string) ([]byte, error) {
	file, err := f.root.ReadFile(name, f.most)
	return file.Data, err
}

func (f workspaceFiles) folder(dir string) ([]string, error) {
	names, err := f.root.List(dir, false)
	if err != nil && len(names) > 0 {
		// What is no part of a configuration may be what it likes. A part that cannot be looked at is told when it is read.
		_, _ = f.root.Read(dir, func(name string) bool {
			if isPart(name) && path.Dir(name) == path.Clean(dir) {
				names = append(names, name)
			}
			return false
		})
		slices.Sort(names)
		names, err = slices.Compact(names), nil
	}
	return within(dir, names), err
}

func (f workspaceFiles) below(dir string) ([]string, error) {
	names, err := f.root.List(dir, true)
	return within(dir, names), err
}

func (f workspaceFiles) parts(dir string) (names []string, err error) {
	_, err = f.root.Read(dir, func(name string) bool {
		if isPart(name) {
			names = append(names, name)
		}
		return false
	})
	slices.Sort(names)
	return within(dir, names), err
}

// within makes names relative to a folder that they are in.
func within(dir string, names []string) []string {
	for i, name := range names {
		names[i] = strings.TrimPrefix(name, dir+"/")
	}
	return names
}

// textFiles are files that came as text, by name.
type textFiles map[string][]byte

func (f textFiles) read(name string) ([]byte, error) {
	data, ok := f[path.Clean(name)]
	if !ok {
		return nil, fmt.Errorf("%w: %s is not among the texts", workspace.ErrNotFound, clip(name))
	}
	return data, nil
}

func (f textFiles) folder(dir string) ([]string, error) {
	names, err := f.below(dir)
	return slices.DeleteFunc(names, func(name string) bool { return strings.Contains(name, "/") }), err
}

func (f textFiles) below(dir string) ([]string, error) {
	var names []string
	for name := range f {
		switch {
		case dir == ".":
			names = append(names, name)
		case strings.HasPrefix(name, dir+"/"):
			names = append(names, strings.TrimPrefix(name, dir+"/"))
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%w: no text is in the folder %s", workspace.ErrNotFound, clip(dir))
	}
	slices.Sort(names)
	return names, nil
}

func (f textFiles) parts(dir string) ([]string, error) {
	names, err := f.below(dir)
	return slices.DeleteFunc(names, func(name string) bool { return !isPart(name) }), err
}

// add takes one more text.
func (f textFiles) add(name, content string) error {
	clean := path.Clean(name)
	switch {
	case path.IsAbs(name), clean == "..", strings.HasPrefix(clean, "../"), strings.ContainsAny(name, "\x00\n\r"):
		return fmt.Errorf("%q is no name of a file: give one relative to the root, such as main.tf or modules/net/main.tf", clip(name))
	case f[clean] != nil:
		return fmt.Errorf("%q is there twice", clip(name))
	case !strings.Contains(path.Base(clean), "."):
		return errors.New("a text is named like its file, such as main.tf")
	}
	f[clean] = []byte(content)
	return nil
}

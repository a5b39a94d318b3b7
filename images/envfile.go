package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// variable is one line of an environment file as compose reads it.
type variable struct {
	name, value string
}

// setVariables sets variables in the environment file, and leaves every other line as the operator wrote it.
func setVariables(file string, variables []variable) error {
	mode := os.FileMode(0o644)
	if info, err := os.Stat(file); err == nil {
		mode = info.Mode().Perm()
	}
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("reading the environment file: %w", err)
	}
	// Renamed into place: a write cut short never leaves compose half a file.
	scratch, err := os.CreateTemp(filepath.Dir(file), ".env-*")
	if err != nil {
		return fmt.Errorf("writing the environment file: %w", err)
	}
	defer os.Remove(scratch.Name())
	_, err = scratch.WriteString(edit(string(data), variables))
	if err = errors.Join(err, scratch.Chmod(mode), scratch.Close()); err != nil {
		return fmt.Errorf("writing the environment file: %w", err)
	}
	return os.Rename(scratch.Name(), file)
}

// edit replaces the lines that set one of the variables, and appends those that no line sets.
func edit(text string, variables []variable) string {
	var lines []string
	if text = strings.TrimSuffix(text, "\n"); text != "" {
		lines = strings.Split(text, "\n")
	}
	for _, v := range variables {
		set, found := v.name+"="+v.value, false
		for i, line := range lines {
			if name, _, ok := strings.Cut(line, "="); ok && strings.TrimSpace(name) == v.name {
				lines[i], found = set, true
			}
		}
		if !found {
			lines = append(lines, set)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// Package version stands for the real one.
package version

var version = "unset"

// String is what the linker set.
func String() string { return version }

// Package version tells which version of Bulkhead a binary is.
package version

// version is set by the linker when an image is built (see images/build.go). The build information of the Go toolchain
// cannot tell it: images are built without version control stamps, so that equal sources give equal binaries.
var version = "dev"

// String is the version, or "dev" where none was given to the linker.
func String() string { return version }

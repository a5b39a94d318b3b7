//go:build !linux || !(amd64 || arm64)

package confine

import (
	"fmt"
	"runtime"
)

// Apply cannot confine a process here.
func Apply(rules Rules) (Report, error) {
	if rules.LandlockOptional && rules.FilterOptional {
		return Report{Gaps: []string{"nothing is confined on " + runtime.GOOS + "/" + runtime.GOARCH}}, nil
	}
	return Report{}, fmt.Errorf("confine: %w: this is %s/%s, not Linux on amd64 or arm64", ErrNoFilter, runtime.GOOS, runtime.GOARCH)
}

// Unisolated says that a process here always stands in the open.
func Unisolated() []string {
	return []string{"this is " + runtime.GOOS + "/" + runtime.GOARCH + ", where the process cannot be confined: run the container image"}
}

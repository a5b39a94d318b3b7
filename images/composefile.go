package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// imageSetting matches what stands for a server's image in compose.yaml: ${BULKHEAD_NAME_IMAGE:?run make images}.
var imageSetting = regexp.MustCompile(`\$\{(BULKHEAD_[A-Z0-9_]+_IMAGE)[^}]*\}`)

// imageLine matches the line that names a service's image.
var imageLine = regexp.MustCompile(`(?m)^\s+image:\s*(\S.*?)\s*$`)

// pinCompose is compose.yaml with every image by digest: no setting of the environment can put another in its place.
func pinCompose(compose []byte, r release) ([]byte, error) {
	pinned := map[string]string{}
	var references []string
	for _, image := range r.Images {
		reference, err := r.reference(image)
		if err != nil {
			return nil, err
		}
		pinned[imageVariable(image.Name)] = reference.String()
		references = append(references, reference.String())
	}
	out := imageSetting.ReplaceAllStringFunc(string(compose), func(setting string) string {
		return pinned[imageSetting.FindStringSubmatch(setting)[1]]
	})
	for _, line := range imageLine.FindAllStringSubmatch(out, -1) {
		if !slices.Contains(references, line[1]) {
			return nil, fmt.Errorf("compose.yaml has the image %q, which the release does not hold", line[1])
		}
	}
	head := fmt.Sprintf("# Bulkhead %s, from %s at %s, with every image by digest. `make up RELEASE=DIR` verifies and starts it.\n#\n", r.Version, r.Source, r.Revision)
	return []byte(head + strings.TrimLeft(out, "\n")), nil
}

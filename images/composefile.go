package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"
)

// imageSetting matches what stands for a server's image in compose.yaml: ${BULKHEAD_NAME_IMAGE:?run make images}.
var imageSetting = regexp.MustCompile(`\$\{(BULKHEAD_[A-Z0-9_]+_IMAGE)[^}]*\}`)

// operatorsImage is the one image that is none of a release: docker-agent's, which the operator names by digest. Its service is
// in a profile, and so starts for nobody who has not asked for it.
var operatorsImage = regexp.MustCompile(`^\$\{DOCKER_AGENT_IMAGE:-[^}]*\}$`)

// pinCompose is compose.yaml with every image by digest: no setting of the environment can put another in its place.
func pinCompose(compose []byte, r release) ([]byte, error) {
	references, err := r.references()
	if err != nil {
		return nil, err
	}
	out := imageSetting.ReplaceAllStringFunc(string(compose), func(setting string) string {
		if reference, ok := references[imageSetting.FindStringSubmatch(setting)[1]]; ok {
			return reference
		}
		return setting // for checkCompose to refuse
	})
	head := fmt.Sprintf("# Bulkhead %s, from %s at %s, with every image by digest. `make up RELEASE=DIR` verifies and starts it.\n#\n", r.Version, r.Source, r.Revision)
	pinned := []byte(head + out)
	return pinned, checkCompose(pinned, r)
}

// checkCompose holds a compose file to the release: every service runs one of its images, but for an agent.
func checkCompose(compose []byte, r release) error {
	references, err := r.references()
	if err != nil {
		return err
	}
	var file struct {
		Services map[string]struct {
			Image string    `yaml:"image"`
			Build yaml.Node `yaml:"build"`

			Profiles []string `yaml:"profiles"`
		} `yaml:"services"`
	}
	if err := yaml.Unmarshal(compose, &file); err != nil {
		return fmt.Errorf("reading the compose file: %w", err)
	}
	known := slices.Collect(maps.Values(references))
	for name, service := range file.Services {
		if operatorsImage.MatchString(service.Image) && len(service.Profiles) > 0 && service.Build.IsZero() {
			continue
		}
		if !slices.Contains(known, service.Image) || !service.Build.IsZero() {
			return fmt.Errorf("the compose file's service %s runs %q, which the release does not hold", name, service.Image)
		}
	}
	return nil
}

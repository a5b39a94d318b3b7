package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/strictyaml"
)

// options are this server's own flags.
type options struct {
	config      string
	credentials string
	keys        string
	trustedRoot string
}

// flags declares them all.
func (o *options) flags(set *flag.FlagSet) {
	o.askingFlags(set)
	set.StringVar(&o.keys, "keys", "", "folder of public keys (NAME.pub, PEM) that signatures are verified with")
	set.StringVar(&o.trustedRoot, "trusted-root", "", "sigstore trusted root (JSON) that keyless signatures are verified with; it takes signers in --registries")
}

// askingFlags declares those that decide how registries are asked.
func (o *options) askingFlags(set *flag.FlagSet) {
	set.StringVar(&o.config, "registries", "", "YAML file about registries: mirrors, repositories, plain HTTP, and whose keyless signatures count")
	set.StringVar(&o.credentials, "credentials", "", "folder of logins: HOST.token, and config.json in docker's form; it is read again when it changes")
}

// config is the file of --registries.
type config struct {
	Version    int              `yaml:"version"`
	Registries []registryConfig `yaml:"registries"`
	Signers    []signerConfig   `yaml:"signers"`
}

// registryConfig is about one registry.
type registryConfig struct {
	Host         string   `yaml:"host"`
	Mirrors      []string `yaml:"mirrors"`      // HOST or HOST/PREFIX, asked first, in this order
	Repositories []string `yaml:"repositories"` // what list_repositories answers where there is no catalogue
	PlainHTTP    bool     `yaml:"plain_http"`
}

// signerConfig is an identity whose keyless signatures count.
type signerConfig struct {
	Issuer        string `yaml:"issuer"`
	Subject       string `yaml:"subject"`
	SubjectRegexp string `yaml:"subject_regexp"`
}

// configVersion is the version of the file's form.
const configVersion = 1

// readConfig reads the file at path; without one there is nothing to say about any registry.
func readConfig(path string) (config, error) {
	if path == "" {
		return config{}, nil
	}
	file, err := os.Open(path) //nolint:gosec // the operator names the file on the command line
	if err != nil {
		return config{}, err
	}
	defer func() { _ = file.Close() }()
	var c config
	if err := strictyaml.Decode(path, file, maxConfig, &c); err != nil {
		return config{}, err
	}
	if err := c.check(); err != nil {
		return config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func (c config) check() error {
	var errs []error
	if c.Version != configVersion {
		errs = append(errs, fmt.Errorf("version is %d; this program reads version: %d", c.Version, configVersion))
	}
	seen := map[string]bool{}
	for i, r := range c.Registries {
		registry, err := name.NewRegistry(r.Host)
		switch {
		case r.Host == "" || err != nil || !hostForm.MatchString(registry.RegistryStr()):
			errs = append(errs, fmt.Errorf("registries, entry %d: host %q is no registry's host", i+1, r.Host))
			continue
		case seen[hostOf(registry)]:
			errs = append(errs, fmt.Errorf("registries, entry %d: %s is listed twice", i+1, r.Host))
		}
		seen[hostOf(registry)] = true
		for _, mirror := range r.Mirrors {
			if _, err := parseRepository(mirror + "/a/b"); err != nil || strings.ContainsAny(mirror, "@ ") {
				errs = append(errs, fmt.Errorf("registries, entry %d: mirror %q is not HOST or HOST/PREFIX", i+1, mirror))
			}
		}
		for _, repository := range r.Repositories {
			if _, err := parseRepository(r.Host + "/" + repository); err != nil || strings.ContainsAny(repository, ":@") {
				errs = append(errs, fmt.Errorf("registries, entry %d: %q is no repository", i+1, repository))
			}
		}
	}
	for i, s := range c.Signers {
		switch _, err := regexp.Compile(s.SubjectRegexp); {
		case s.Issuer == "" || (s.Subject == "") == (s.SubjectRegexp == ""):
			errs = append(errs, fmt.Errorf("signers, entry %d: it needs an issuer and one of subject and subject_regexp", i+1))
		case err != nil:
			errs = append(errs, fmt.Errorf("signers, entry %d: subject_regexp: %w", i+1, err))
		}
	}
	return errors.Join(errs...)
}

// of returns what the file says about a registry.
func (c config) of(registry name.Registry) registryConfig {
	for _, r := range c.Registries {
		if listed, err := name.NewRegistry(r.Host); err == nil && hostOf(listed) == hostOf(registry) {
			return r
		}
	}
	return registryConfig{}
}

// endpoints are where a repository is asked for, in order: the mirrors, then its own registry.
func (c config) endpoints(repository name.Repository) []name.Repository {
	own := c.of(repository.Registry)
	var all []name.Repository
	for _, mirror := range own.Mirrors {
		mirrored, err := name.NewRepository(mirror + "/" + repository.RepositoryStr())
		if err == nil {
			all = append(all, c.schemed(mirrored))
		}
	}
	return append(all, c.schemed(repository))
}

// schemed lets the file say that a registry has no TLS.
func (c config) schemed(repository name.Repository) name.Repository {
	if c.of(repository.Registry).PlainHTTP {
		if plain, err := name.NewRegistry(repository.RegistryStr(), name.Insecure); err == nil {
			repository.Registry = plain
		}
	}
	return repository
}

// listed returns the repositories that the operator lists for a registry, sorted.
func (c config) listed(registry name.Registry) []string {
	return slices.Sorted(slices.Values(c.of(registry).Repositories))
}

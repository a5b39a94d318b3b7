package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/secretdir"
)

// The files of the folder of --credentials.
const (
	dockerConfig = "config.json" // in docker's form: {"auths": {HOST: {"auth": …}}}
	tokenSuffix  = ".token"      // HOST.token holds USER:TOKEN, or a bearer token alone
)

// credentials are the logins of a folder, which is read again when it changes. Registries without one are asked
// anonymously.
type credentials struct {
	dir    secretdir.Dir // without a path: anonymous everywhere
	logger *slog.Logger

	mu      sync.Mutex
	checked time.Time
	state   string
	logins  map[string]login
}

// login is what one registry is told. Nothing prints it.
type login struct{ config authn.AuthConfig }

// Format keeps a login that gets into a message from showing its secrets.
func (login) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "[login]") }

// authenticator is the login in the library's form.
func (l login) authenticator() authn.Authenticator {
	if l.config == (authn.AuthConfig{}) {
		return authn.Anonymous
	}
	return authn.FromConfig(l.config)
}

// revealed says whether a registry's answer holds the login that it was given.
func (l login) revealed(body []byte) bool {
	forms := []string{l.config.Password, l.config.Auth, l.config.IdentityToken, l.config.RegistryToken}
	if l.config.Username != "" {
		forms = append(forms, base64.StdEncoding.EncodeToString([]byte(l.config.Username+":"+l.config.Password)))
	}
	for _, form := range forms {
		if len(form) >= minSecret && bytes.Contains(body, []byte(form)) {
			return true
		}
	}
	return false
}

// openCredentials reads the folder at path; an empty path is anonymous.
func openCredentials(path string, logger *slog.Logger) (*credentials, error) {
	c := &credentials{dir: secretdir.Dir{Path: path}, logger: logger, checked: time.Now()}
	if path == "" {
		return c, nil
	}
	state, err := c.dir.State()
	if err != nil {
		return nil, err
	}
	if c.logins, err = readLogins(c.dir); err != nil {
		return nil, err
	}
	c.state = state
	return c, nil
}

// of returns the login of now for a registry. A folder that cannot be read leaves the old logins in force.
func (c *credentials) of(ctx context.Context, registry name.Registry) login {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dir.Path != "" && time.Since(c.checked) >= secretdir.LookEvery {
		c.checked = time.Now()
		c.reread(ctx)
	}
	return c.logins[hostOf(registry)]
}

func (c *credentials) reread(ctx context.Context) {
	state, err := c.dir.State()
	if err == nil && state == c.state {
		return
	}
	var logins map[string]login
	if err == nil {
		logins, err = readLogins(c.dir)
	}
	if err != nil {
		c.logger.LogAttrs(ctx, slog.LevelError, "the credentials changed and cannot be read; the old ones stay in force", slog.String("error", err.Error()))
		return
	}
	c.logins, c.state = logins, state
	c.logger.LogAttrs(ctx, slog.LevelInfo, "credentials read again", slog.Int("registries", len(logins)))
}

// readLogins reads a folder. What is wrong with a file is told without its content.
func readLogins(dir secretdir.Dir) (map[string]login, error) {
	names, err := dir.Names()
	if err != nil {
		return nil, err
	}
	logins := map[string]login{}
	add := func(file, host string, config authn.AuthConfig) error {
		registry, err := name.NewRegistry(host)
		if err != nil || !hostForm.MatchString(registry.RegistryStr()) {
			return fmt.Errorf("%s/%s: %q is no registry's host", dir.Path, file, clip(host, maxShown))
		}
		key := hostOf(registry)
		if _, twice := logins[key]; twice {
			return fmt.Errorf("%s/%s: there is another login for %s", dir.Path, file, key)
		}
		logins[key] = login{config}
		return nil
	}
	for _, file := range names {
		host, isToken := strings.CutSuffix(file, tokenSuffix)
		if !isToken && file != dockerConfig {
			return nil, fmt.Errorf("%s/%s: unknown file; logins are in HOST%s and in %s", dir.Path, file, tokenSuffix, dockerConfig)
		}
		data, err := dir.Read(file, maxSecretFile)
		if err != nil {
			return nil, err
		}
		if !isToken {
			if err := readDockerConfig(data, func(host string, config authn.AuthConfig) error { return add(file, host, config) }); err != nil {
				return nil, fmt.Errorf("%s/%s: %w", dir.Path, file, err)
			}
			continue
		}
		config, err := readToken(string(data))
		if err == nil {
			err = add(file, host, config)
		} else {
			err = fmt.Errorf("%s/%s: %w", dir.Path, file, err)
		}
		if err != nil {
			return nil, err
		}
	}
	return logins, nil
}

// readToken reads a token file.
func readToken(text string) (authn.AuthConfig, error) {
	text = strings.TrimSpace(text)
	user, secret, basic := strings.Cut(text, ":")
	switch {
	case text == "" || strings.ContainsAny(text, " \t\r\n") || basic && (user == "" || secret == ""):
		return authn.AuthConfig{}, errors.New("want one line, USER:TOKEN or a bearer token alone")
	case basic:
		return authn.AuthConfig{Username: user, Password: secret}, nil
	}
	return authn.AuthConfig{RegistryToken: text}, nil
}

// readDockerConfig reads docker's own file. What would run a program is an error that says so.
func readDockerConfig(data []byte, add func(host string, config authn.AuthConfig) error) error {
	var file struct {
		Auths       map[string]json.RawMessage `json:"auths"`
		CredsStore  string                     `json:"credsStore"`
		CredHelpers map[string]string          `json:"credHelpers"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return errors.New("not JSON in the form of docker's configuration")
	}
	if file.CredsStore != "" || len(file.CredHelpers) > 0 {
		return errors.New("credsStore and credHelpers name programs to run, and no server here runs one; " +
			"write the login into auths (docker login without a credential store does), or into HOST" + tokenSuffix)
	}
	for key, raw := range file.Auths {
		var config authn.AuthConfig
		if err := json.Unmarshal(raw, &config); err != nil {
			return fmt.Errorf("auths, %q: not a login in docker's form", clip(key, maxShown))
		}
		if config == (authn.AuthConfig{}) {
			return fmt.Errorf("auths, %q: it is empty; a credential store holds the login, and none can be asked here", clip(key, maxShown))
		}
		host := strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
		host, _, _ = strings.Cut(host, "/")
		if err := add(host, config); err != nil {
			return err
		}
	}
	return nil
}

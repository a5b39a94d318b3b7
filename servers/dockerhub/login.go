package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/secretdir"
)

// The files of a login's folder, named as Docker Hub's API names what they hold.
const (
	identifierFile = "identifier" // the user or organization that the token belongs to
	secretFile     = "secret"     // a personal or an organization access token
)

const organizationPrefix = "dckr_oat_" // of an organization access token

var (
	identifierForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{1,62}$`)
	// secretForm is that of access tokens, old ones without a prefix too. What has other characters is a password.
	secretForm      = regexp.MustCompile(`^[A-Za-z0-9_-]{20,255}$`)
	accessTokenForm = regexp.MustCompile(`^[A-Za-z0-9._~+/=-]+$`) // RFC 6750, 2.1
)

// badToken is what a token lacks that Docker Hub does not take.
const badToken = "validity: it is wrong, expired or revoked. Whoever runs this server must put a new one into the folder of --login"

// validToken says whether a token that Docker Hub made can be sent back. A very short one would be found in every answer.
func validToken(token string) bool {
	return len(token) >= minAccessToken && len(token) <= maxAccessToken && accessTokenForm.MatchString(token)
}

// login knows as whom Docker Hub is asked: the account of a folder, which is read again when it changes; nobody
// where there is no folder, or nothing in it.
type login struct {
	dir    secretdir.Dir // without a path: anonymous
	logger *slog.Logger

	mu      sync.Mutex
	checked time.Time
	state   string // of the folder when account was read
	wrong   string // how it could not be read, which the log has once
	account *account
	// What no answer may repeat, the last of each: the secret of every account, in both forms in which it is sent, and the
	// tokens that Docker Hub made of it, for the API and for the registry.
	secrets, access, registry []string
}

// account is one content of the folder. Nothing prints it.
type account struct {
	identifier string
	secret     string
	id         string // another one for each content

	mu           sync.Mutex
	access       string
	renewAt      time.Time
	expires      time.Time
	refused      error // what Docker Hub said of the secret
	refusedUntil time.Time
}

// Format keeps an account that gets into a message from showing its tokens.
func (a *account) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "[account]") }

// key tells apart what is kept for different callers of Docker Hub.
func (a *account) key() string {
	if a == nil {
		return "anonymous"
	}
	return a.id
}

func (a *account) organization() bool { return strings.HasPrefix(a.secret, organizationPrefix) }

// loginFlag declares --login.
func loginFlag(set *flag.FlagSet, folder *string) {
	set.StringVar(folder, "login", "", "folder of an access token: the file "+identifierFile+" with its owner's name, the file "+secretFile+
		" with the token; without it, or while it is empty, Docker Hub is asked anonymously")
}

// openLogin reads the folder at path; an empty path is anonymous.
func openLogin(path string, logger *slog.Logger) (*login, error) {
	l := &login{dir: secretdir.Dir{Path: path}, logger: logger, checked: time.Now()}
	if path == "" {
		return l, nil
	}
	state, err := l.dir.State()
	if err != nil {
		return nil, fmt.Errorf("--login: %w", err)
	}
	if l.account, err = readAccount(l.dir); err != nil {
		return nil, fmt.Errorf("--login: %w", err)
	}
	l.state = state
	l.note(l.account)
	return l, nil
}

// readAccount returns nil if the folder has neither file. What is wrong with a file is told without its content.
func readAccount(dir secretdir.Dir) (*account, error) {
	names, err := dir.Names()
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for name, form := range map[string]*regexp.Regexp{identifierFile: identifierForm, secretFile: secretForm} {
		if !slices.Contains(names, name) {
			continue
		}
		data, err := dir.Read(name, maxSecretFile)
		if err != nil {
			return nil, err
		}
		text := strings.TrimSpace(string(data))
		if !form.MatchString(text) {
			return nil, fmt.Errorf("%s/%s: not what it should be: %s", dir.Path, name, map[string]string{
				identifierFile: "the name of the user or organization that the token belongs to, in lower case",
				secretFile:     "a personal or an organization access token; passwords are not taken, since they may do everything",
			}[name])
		}
		values[name] = text
	}
	switch {
	case len(values) == 0:
		return nil, nil //nolint:nilnil // no account
	case len(values) == 1:
		return nil, fmt.Errorf("%s: needs two files, %s and %s, or none to ask anonymously", dir.Path, identifierFile, secretFile)
	}
	return &account{identifier: values[identifierFile], secret: values[secretFile], id: rand.Text()}, nil
}

// current returns the account of now, or nil. A folder that cannot be read leaves the old one in force.
func (l *login) current(ctx context.Context) *account {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dir.Path == "" || time.Since(l.checked) < secretdir.LookEvery {
		return l.account
	}
	l.checked = time.Now()
	state, err := l.dir.State()
	if err == nil && state == l.state {
		return l.account
	}
	var read *account
	if err == nil {
		read, err = readAccount(l.dir)
	}
	if err != nil {
		if wrong := state + err.Error(); wrong != l.wrong {
			l.wrong = wrong
			l.logger.LogAttrs(ctx, slog.LevelError, "the login changed and cannot be read; the old one stays in force", slog.String("error", err.Error()))
		}
		return l.account
	}
	l.account, l.state, l.wrong = read, state, ""
	l.note(read)
	l.logger.LogAttrs(ctx, slog.LevelInfo, "login read again", slog.Bool("anonymous", read == nil))
	return read
}

// note keeps an account's secret in mind.
func (l *login) note(a *account) {
	if a != nil {
		l.secrets = lately(l.secrets, a.secret, base64.StdEncoding.EncodeToString([]byte(a.identifier+":"+a.secret)))
	}
}

// noteToken keeps a token in mind that Docker Hub made, in one of the login's lists.
func (l *login) noteToken(list *[]string, token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*list = lately(*list, token)
}

func lately(list []string, more ...string) []string {
	list = append(list, more...)
	return slices.Clone(list[max(0, len(list)-maxForms):])
}

// hide returns text without tokens. Their characters are none that JSON escapes.
func (l *login) hide(text string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, form := range slices.Concat(l.secrets, l.access, l.registry) {
		text = strings.ReplaceAll(text, form, "[redacted]")
	}
	return text
}

// reveals says whether text holds a token.
func (l *login) reveals(text string) bool { return l.hide(text) != text }

// accessToken returns a token that is good for now, or "" for nobody. It is renewed before it ends; where that fails, it
// is used to its end.
func (h *hub) accessToken(ctx context.Context, who *account) (string, error) {
	if who == nil {
		return "", nil
	}
	now := h.now()
	who.mu.Lock()
	access, due, usable := who.access, !now.Before(who.renewAt), now.Before(who.expires)
	refused := who.refused
	if !now.Before(who.refusedUntil) {
		refused = nil
	}
	who.mu.Unlock()
	switch {
	case refused != nil:
		return "", refused
	case !due:
		return access, nil
	}
	renewed, err := share(ctx, h, "login "+who.id, func(ctx context.Context) (string, error) { return h.logIn(ctx, who) })
	if err != nil && usable {
		h.logger.LogAttrs(ctx, slog.LevelWarn, "the access token could not be renewed before it ends", slog.String("error", h.login.hide(err.Error())))
		return access, nil
	}
	return renewed, err
}

// forget makes sure that a token is not used again.
func (a *account) forget(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.access == token {
		a.access, a.renewAt, a.expires = "", time.Time{}, time.Time{}
	}
}

// logIn exchanges the account's secret for an access token.
func (h *hub) logIn(ctx context.Context, who *account) (string, error) {
	asked := subject{what: "a login", check: "this server may be too old for Docker Hub", personal: badToken, shared: badToken}
	body, err := json.Marshal(map[string]string{"identifier": who.identifier, "secret": who.secret})
	if err != nil {
		return "", err
	}
	asking := h.now()
	r, err := h.post(ctx, h.base.JoinPath("v2", "auth", "token"), asked, body)
	if err != nil {
		return "", err
	}
	if r.status != http.StatusOK {
		err := h.statusError(asked, who, r)
		if hasCode(err, mcpserver.CodeForbidden) {
			// Docker Hub locks out who tries again and again.
			who.mu.Lock()
			who.refused, who.refusedUntil = err, asking.Add(refusedLogin)
			who.mu.Unlock()
		}
		return "", err
	}
	var form struct {
		AccessToken string `json:"access_token"`
	}
	if err := decode(r.body, &form); err != nil {
		return "", unreadable(asked, errors.New("no JSON of the form that is documented")) // the error might quote the token
	}
	if !validToken(form.AccessToken) {
		return "", unreadable(asked, errors.New("there is no access token in it"))
	}
	h.login.noteToken(&h.login.access, form.AccessToken)
	lives := readClaims(form.AccessToken).lifetime()
	who.mu.Lock()
	defer who.mu.Unlock()
	who.access, who.expires = form.AccessToken, asking.Add(lives)
	who.renewAt = who.expires.Add(-min(renewBefore, lives/4))
	return form.AccessToken, nil
}

// claims are what a JSON Web Token (RFC 7519) says that Docker Hub made. They are read and not verified: they came from
// Docker Hub itself, over TLS.
type claims struct {
	Expires int64 `json:"exp"`
	Issued  int64 `json:"iat"`
	Access  []struct {
		Name    string   `json:"name"`
		Actions []string `json:"actions"`
	} `json:"access"` // of a registry's token (distribution specification, "token authentication implementation")
}

// readClaims returns the zero claims of what is no such token.
func readClaims(token string) claims {
	var c claims
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return claims{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &c) != nil {
		return claims{}
	}
	return c
}

// lifetime is how long the token lives from when it was made, whatever this machine's clock says.
func (c claims) lifetime() time.Duration {
	if c.Issued <= 0 || c.Expires <= c.Issued || c.Expires-c.Issued > int64(tokenLifetime/time.Second) {
		return tokenLifetime
	}
	return time.Duration(c.Expires-c.Issued) * time.Second
}

package mcpserver

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/secretdir"
)

const (
	tokenSuffix    = ".sha256"
	maxTokenFile   = 16 << 10 // bytes
	maxTokens      = 1000     // accepted hashes, over all files
	maxTokenLength = 512      // bytes of a bearer token
)

// tokens knows which bearer tokens are accepted and whose they are. A folder holds one file for each holder,
// NAME.sha256, of accepted SHA-256 hashes in hexadecimal, one a line; it is read again when it changes.
type tokens struct {
	dir    secretdir.Dir // without a path: the one token made at start
	logger *slog.Logger

	mu       sync.Mutex
	checked  time.Time
	state    string // of the folder when it was read: names, sizes, times
	byHolder map[string][]acceptedToken
}

type acceptedToken struct {
	hash   [sha256.Size]byte
	holder string
}

// openTokens reads the folder dir, in which every one of holders must have a token.
func openTokens(dir string, holders []string, logger *slog.Logger) (*tokens, error) {
	t := &tokens{dir: secretdir.Dir{Path: dir, Suffix: tokenSuffix}, logger: logger, checked: time.Now()}
	state, err := t.dir.State()
	if err != nil {
		return nil, fmt.Errorf("reading tokens: %w", err)
	}
	if t.byHolder, err = readTokens(t.dir); err != nil {
		return nil, fmt.Errorf("reading tokens: %w", err)
	}
	t.state = state
	var errs []error
	for _, holder := range holders {
		if len(t.byHolder[holder]) > 0 {
			continue
		}
		path := filepath.Join(dir, holder+tokenSuffix)
		if _, err := os.Stat(path); err != nil {
			errs = append(errs, fmt.Errorf("reading tokens: %s has no token: %w; make secrets makes it", holder, err))
			continue
		}
		logger.LogAttrs(context.Background(), slog.LevelWarn, "a holder has no token: all are revoked", slog.String("holder", holder), slog.String("file", path))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if len(holders) == 0 && len(t.accepted()) == 0 {
		return nil, fmt.Errorf("reading tokens: %s has none; each holder needs a file NAME%s with the SHA-256 of its token", dir, tokenSuffix)
	}
	return t, nil
}

// CheckTokens reads the tokens folder dir as a server does at start, and says what would stop it: a file that is wrong,
// or one of holders without a file.
func CheckTokens(dir string, holders []string) error {
	_, err := openTokens(dir, holders, slog.New(slog.DiscardHandler))
	return err
}

func (t *tokens) accepted() []acceptedToken {
	return slices.Concat(slices.Collect(maps.Values(t.byHolder))...)
}

// randomToken makes tokens that accept one new token of holder, and returns it.
func randomToken(holder string) (*tokens, string) {
	token := rand.Text()
	return &tokens{byHolder: map[string][]acceptedToken{holder: {{sha256.Sum256([]byte(token)), holder}}}}, token
}

// holder returns who holds token. All hashes are compared, each in constant time, so that the time says
// nothing about which one came close.
func (t *tokens) holder(ctx context.Context, token string) (string, bool) {
	if token == "" || len(token) > maxTokenLength {
		return "", false
	}
	hash := sha256.Sum256([]byte(token))
	found := -1
	accepted := t.current(ctx)
	for i := range accepted {
		if subtle.ConstantTimeCompare(hash[:], accepted[i].hash[:]) == 1 {
			found = i
		}
	}
	if found < 0 {
		return "", false
	}
	return accepted[found].holder, true
}

// current reads the folder again if it changed. A file that is wrong leaves the old tokens of its holder in force; one
// that is gone takes them with it.
func (t *tokens) current(ctx context.Context) []acceptedToken {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dir.Path == "" || time.Since(t.checked) < secretdir.LookEvery {
		return t.accepted()
	}
	t.checked = time.Now()
	state, err := t.dir.State()
	if err == nil && state == t.state {
		return t.accepted()
	}
	var byHolder map[string][]acceptedToken
	if err == nil {
		byHolder, err = readTokens(t.dir)
	}
	if err != nil {
		t.logger.LogAttrs(ctx, slog.LevelError, "tokens changed and cannot all be read; where they cannot, the old ones stay in force",
			slog.String("error", err.Error()))
	}
	if byHolder == nil {
		return t.accepted()
	}
	for holder, accepted := range byHolder {
		if accepted == nil {
			byHolder[holder] = t.byHolder[holder]
		}
	}
	t.byHolder, t.state = byHolder, state
	t.logger.LogAttrs(ctx, slog.LevelInfo, "tokens read again", slog.Int("accepted", len(t.accepted())))
	return t.accepted()
}

// readTokens reads every file of dir. Tokens of files that can be read are returned even with an error about others.
func readTokens(dir secretdir.Dir) (map[string][]acceptedToken, error) {
	names, err := dir.Names()
	if err != nil {
		return nil, err
	}
	byHolder := map[string][]acceptedToken{}
	var errs []error
	total := 0
	for _, name := range names {
		holder := strings.TrimSuffix(name, tokenSuffix)
		accepted, err := readTokenFile(dir, name)
		if err != nil {
			errs = append(errs, err)
			byHolder[holder] = nil // known, and not readable
			continue
		}
		if total += len(accepted); total > maxTokens {
			return nil, fmt.Errorf("%s: more than %d tokens", dir.Path, maxTokens)
		}
		byHolder[holder] = append([]acceptedToken{}, accepted...)
	}
	return byHolder, errors.Join(errs...)
}

func readTokenFile(dir secretdir.Dir, name string) ([]acceptedToken, error) {
	path, holder := filepath.Join(dir.Path, name), strings.TrimSuffix(name, dir.Suffix)
	if !principalForm.MatchString(holder) {
		return nil, fmt.Errorf("%s: a holder's name has letters, digits, '.', '_' and '-', at most 64", path)
	}
	data, err := dir.Read(name, maxTokenFile)
	if err != nil {
		return nil, err
	}
	var accepted []acceptedToken
	line := 0
	for text := range strings.Lines(string(data)) {
		line++
		text = strings.TrimSpace(text)
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		token := acceptedToken{holder: holder}
		if hash, err := hex.DecodeString(text); err != nil || copy(token.hash[:], hash) != len(token.hash) || len(hash) != len(token.hash) {
			return nil, fmt.Errorf("%s:%d: not a SHA-256 in hexadecimal", path, line)
		}
		accepted = append(accepted, token)
	}
	return accepted, nil
}

package hub

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The accounts. Robot is a user and a member of Organizations; acme's token is the organization's own.
const (
	Robot        = "robot"
	Organization = "acme"

	ReadToken   = "dckr_pat_" + "fakeReadOnly-0123456789" // Robot's, may read what Robot may read
	PublicToken = "dckr_pat_" + "fakePublicOnly-01234567" // Robot's, for public repositories only
	WriteToken  = "dckr_pat_" + "fakeReadWrite-012345678" // Robot's, may push too
	OrgToken    = "dckr_oat_" + "fakeOrganization-012345" // Organization's
	// OldToken is Robot's, in the form that tokens had before they had a prefix: nothing but its value tells what it is.
	OldToken = "6f1c8a9e-52b0-4f0e-9d5b-2f3f7c1d9a10"
)

// Organizations are what Robot is a member of.
func Organizations() []string { return []string{"acme", "widgets"} }

// grant is what a token may do. The zero grant is anonymous.
type grant struct {
	identifier string
	private    []string // namespaces whose private repositories it may read
	push       bool
	org        bool
}

func (g grant) reads(namespace string) bool { return slices.Contains(g.private, namespace) }

// grants returns what each secret is good for.
func grants() map[string]grant {
	own := append([]string{Robot}, Organizations()...)
	return map[string]grant{
		ReadToken:   {identifier: Robot, private: own},
		OldToken:    {identifier: Robot, private: own},
		PublicToken: {identifier: Robot},
		WriteToken:  {identifier: Robot, private: own, push: true},
		OrgToken:    {identifier: Organization, private: []string{Organization}, org: true},
	}
}

// AccessTokenLifetime is how long an access token lives, unless [Hub.SetLifetime] says otherwise.
const AccessTokenLifetime = 10 * time.Minute

type session struct {
	grant   grant
	expires time.Time
}

// login is POST /v2/auth/token.
func (h *Hub) login(w http.ResponseWriter, r *http.Request) {
	var form struct{ Identifier, Secret string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(&form); err != nil || form.Identifier == "" || form.Secret == "" {
		answer(w, http.StatusBadRequest, `{"detail":"identifier and secret are required","message":"bad request"}`)
		return
	}
	g, ok := grants()[form.Secret]
	if !ok || g.identifier != form.Identifier || h.isRevoked(form.Secret) {
		answer(w, http.StatusUnauthorized, `{"detail":"incorrect authentication credentials"}`)
		return
	}
	answerJSON(w, map[string]string{"access_token": h.issue(g, nil)})
}

// issue makes a token of the form that Docker's have: a JSON Web Token. claims are added to the usual ones.
func (h *Hub) issue(g grant, claims map[string]any) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	expires := time.Now().Add(h.lifetime)
	all := map[string]any{"exp": expires.Unix(), "iat": time.Now().Unix(), "jti": fmt.Sprint("fake-", len(h.sessions)), "sub": g.identifier}
	for name, value := range claims {
		all[name] = value
	}
	payload, err := json.Marshal(all)
	if err != nil {
		panic(err) // a map of strings and numbers marshals
	}
	encode := base64.RawURLEncoding.EncodeToString
	token := encode([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + encode(payload) + "." + encode(fmt.Append(nil, "signature of ", len(h.sessions)))
	h.sessions[token] = session{grant: g, expires: expires}
	return token
}

// Issued returns every token that was handed out, for a test that looks where they went.
func (h *Hub) Issued() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []string
	for token := range h.sessions {
		all = append(all, token)
	}
	return all
}

// SetLifetime says how long access tokens live that are made from now on.
func (h *Hub) SetLifetime(lifetime time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lifetime = lifetime
}

// Revoke makes a secret and every access token that was made of its grant worthless.
func (h *Hub) Revoke(secret string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.revoked[secret] = true
	for token, s := range h.sessions {
		if s.grant.identifier == grants()[secret].identifier {
			s.expires = time.Time{}
			h.sessions[token] = s
		}
	}
}

func (h *Hub) isRevoked(secret string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.revoked[secret]
}

// bearer returns what the request's token is good for; ok is false if it has one that is not.
func (h *Hub) bearer(r *http.Request) (g grant, ok bool) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return grant{}, true
	}
	token, isBearer := strings.CutPrefix(header, "Bearer ")
	h.mu.Lock()
	defer h.mu.Unlock()
	s, known := h.sessions[token]
	return s.grant, isBearer && known && time.Now().Before(s.expires)
}

// organizations is GET /v2/user/orgs.
func (h *Hub) organizations(w http.ResponseWriter, r *http.Request) {
	g, ok := h.bearer(r)
	switch {
	case !ok || g.identifier == "":
		answer(w, http.StatusUnauthorized, `{"detail":"unauthorized","message":"unauthorized"}`)
		return
	case g.org:
		answer(w, http.StatusForbidden, `{"errinfo":{},"message":"access to the resource is forbidden with organization access token"}`)
		return
	}
	type organization struct {
		ID       string `json:"id"`
		Orgname  string `json:"orgname"`
		FullName string `json:"full_name"`
		Type     string `json:"type"`
		Badge    string `json:"badge"`
		IsActive bool   `json:"is_active"`
		UserRole string `json:"user_role"`
		PlanName string `json:"plan_name"`
	}
	var all []organization
	for _, name := range Organizations() {
		all = append(all, organization{ID: name, Orgname: name, FullName: strings.ToUpper(name), Type: "Organization", IsActive: true, UserRole: "Member", PlanName: "team"})
	}
	servePage(w, r, all)
}

// registryToken is GET /token of auth.docker.io (distribution specification, token authentication).
func (h *Hub) registryToken(w http.ResponseWriter, r *http.Request) {
	var g grant
	if user, secret, ok := r.BasicAuth(); ok {
		if g = grants()[secret]; g.identifier == "" || g.identifier != user || h.isRevoked(secret) {
			answer(w, http.StatusUnauthorized, `{"details":"incorrect username or password"}`)
			return
		}
	}
	type access struct {
		Type    string   `json:"type"`
		Name    string   `json:"name"`
		Actions []string `json:"actions"`
	}
	granted := []access{}
	for _, scope := range r.URL.Query()["scope"] {
		parts := strings.Split(scope, ":")
		if len(parts) != 3 {
			answer(w, http.StatusBadRequest, `{"details":"invalid scope"}`)
			return
		}
		namespace, _, _ := strings.Cut(parts[1], "/")
		var actions []string
		for action := range strings.SplitSeq(parts[2], ",") {
			if action == "pull" || g.push && g.reads(namespace) {
				actions = append(actions, action)
			}
		}
		granted = append(granted, access{parts[0], parts[1], actions})
	}
	token := h.issue(g, map[string]any{"access": granted})
	answerJSON(w, map[string]any{"token": token, "access_token": token, "expires_in": 300})
}

// pullLimit is HEAD on the manifest of registry-1.docker.io by which one learns of one's pull limit.
func (h *Hub) pullLimit(w http.ResponseWriter, r *http.Request) {
	g, ok := h.bearer(r)
	if !ok || r.Header.Get("Authorization") == "" {
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://auth.docker.io/token",service="registry.docker.io"`)
		answer(w, http.StatusUnauthorized, `{"errors":[{"code":"UNAUTHORIZED"}]}`)
		return
	}
	limit, source := "100;w=21600", "192.0.2.7"
	if g.identifier != "" {
		limit, source = "200;w=21600", "5f2f8b8e-0000-4000-8000-000000000001"
	}
	w.Header().Set("RateLimit-Limit", limit)
	w.Header().Set("RateLimit-Remaining", "76;w=21600")
	w.Header().Set("Docker-RateLimit-Source", source)
	w.WriteHeader(http.StatusOK)
}

package githubtest

import (
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v4"
)

// An app is a GitHub App in one installation.
type app struct {
	id           int64
	login        string // what it does is done by
	key          *rsa.PublicKey
	repositories []string // empty: all
}

// botSuffix ends the login of an App.
const botSuffix = "[bot]"

// AddApp makes a GitHub App known, with one installation, which makes itself tokens for an hour. What they do is done by
// slug[bot], on repositories ("owner/name") or on all.
func (s *Server) AddApp(id, installation int64, slug string, key *rsa.PublicKey, repositories ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apps[installation] = app{id: id, login: slug + botSuffix, key: key, repositories: repositories}
}

// Revoke ends all tokens of a login.
func (s *Server) Revoke(login string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.tokens, func(_ string, t token) bool { return t.login == login })
}

// installationToken answers an App, which proves with a JSON web token who it is: RS256, issued by its id, valid for ten
// minutes at most.
func (s *Server) installationToken(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	claims := &jwt.RegisteredClaims{}
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	_, err := jwt.ParseWithClaims(bearer, claims, func(*jwt.Token) (any, error) {
		for _, a := range s.apps {
			if strconv.FormatInt(a.id, 10) == claims.Issuer {
				return a.key, nil
			}
		}
		return nil, errors.New("no such App")
	}, jwt.WithValidMethods([]string{"RS256"}))
	const longest = 10 * time.Minute
	switch {
	case err != nil:
		writeError(w, fail(http.StatusUnauthorized, "A JSON web token could not be decoded"))
		return
	case claims.IssuedAt == nil || claims.ExpiresAt == nil || time.Until(claims.ExpiresAt.Time) > longest:
		writeError(w, fail(http.StatusUnauthorized, "'Expiration time' claim ('exp') is too far in the future"))
		return
	}
	installation, err := strconv.ParseInt(r.PathValue("installation"), 10, 64)
	a, ok := s.apps[installation]
	if err != nil || !ok || strconv.FormatInt(a.id, 10) != claims.Issuer {
		writeError(w, notFound)
		return
	}
	secret, from := "ghs_"+rand.Text(), s.clock.now()
	until := from.Add(cmp.Or(s.behaviour.Life, time.Hour))
	s.tokens[secret] = token{login: a.login, repositories: a.repositories, from: from, until: until}
	selection := "all"
	if len(a.repositories) > 0 {
		selection = "selected"
	}
	write(w, http.StatusCreated, object{"token": secret, "expires_at": stamp(s.clock.real(until).Add(s.behaviour.Skew)), "repository_selection": selection,
		"permissions": object{"contents": "write", "metadata": "read", "pull_requests": "write"}})
}

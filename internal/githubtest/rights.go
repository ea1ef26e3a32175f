package githubtest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Rights limit what a token may do in the repositories that it sees. The zero value is no limit.
type Rights struct {
	// Permissions are those of a fine-grained token or of an App, in GitHub's words: {"contents": "write"} allows
	// reading too. What is not named is not allowed; nil: everything is.
	Permissions map[string]string
	// Scopes are those of a classic token, "repo" or "public_repo"; nil: it has no need of any.
	Scopes []string
	// ReadOnly says that the token's owner may not push.
	ReadOnly bool
}

// SetRights limits a token.
func (s *Server) SetRights(secret string, rights Rights) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokens[secret]
	t.rights = rights
	s.tokens[secret] = t
}

// Archive makes a repository one that nobody can write to, or ends that.
func (s *Server) Archive(repository string, archived bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.repository(repository)
	if err != nil {
		return err
	}
	r.archived = archived
	return nil
}

// needs says which permission a request needs: reading a repository itself and its rules is for all who see it.
func needs(r *http.Request) (permission, level string) {
	level = "write"
	if r.Method == http.MethodGet {
		level = "read"
	}
	_, path, _ := strings.Cut(r.Pattern, "/repos/{owner}/{repo}")
	switch {
	case path == "" || strings.HasPrefix(path, "/rules/"):
		return "metadata", "read"
	case strings.HasPrefix(path, "/pulls"):
		return "pull_requests", level
	}
	return "contents", level
}

// forbids says why a token may not do what needs a permission. GitHub looks at that before it looks at what was sent.
func (t token) forbids(permission, level string) *failure {
	writes := level == "write"
	allowed := t.rights.Permissions[permission]
	switch {
	case t.rights.Permissions != nil && permission != "metadata" && allowed != level && allowed != "write":
		by := "personal access token"
		if strings.HasSuffix(t.login, botSuffix) {
			by = "integration"
		}
		return &failure{status: http.StatusForbidden, message: "Resource not accessible by " + by, accepted: fmt.Sprintf("%s=%s", permission, level)}
	case t.rights.Scopes != nil && writes && !slices.Contains(t.rights.Scopes, "repo") && !slices.Contains(t.rights.Scopes, "public_repo"):
		return notFound
	case writes && t.rights.ReadOnly:
		return &failure{status: http.StatusForbidden, message: "Must have push access to the repository"}
	}
	return nil
}

package github

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/operation"
)

// A kind of token, which decides where its permissions are set.
type tokenKind struct {
	name   string
	where  string // to change what it may do
	access string // to choose its repositories, and to accept what it may; empty: there too
}

// kinds of tokens by their beginning (GitHub's blog, "Behind GitHub's new authentication token formats").
var tokenKinds = map[string]tokenKind{
	"ghp_":        {"Classic personal access token", "/settings/tokens", ""},
	"gho_":        {"OAuth token", "/settings/applications", ""},
	"github_pat_": {"Fine-grained personal access token", "/settings/personal-access-tokens", ""},
	"ghs_":        {"App installation token", "/settings/apps", "/settings/installations"},
	"ghu_":        {"App user token", "/settings/apps", "/settings/installations"},
}

func kindOf(token string) tokenKind {
	for beginning, kind := range tokenKinds {
		if strings.HasPrefix(token, beginning) {
			return kind
		}
	}
	return tokenKind{"Token (of a kind that is new to ferry)", "/settings/tokens", ""}
}

// scoped says whether scopes decide what a token may do, instead of permissions.
func (k tokenKind) scoped() bool { return k == tokenKinds["ghp_"] || k == tokenKinds["gho_"] }

// soon is when the end of a token is worth a warning.
const soon = 7 * 24 * time.Hour

// CheckToken looks at the credential itself. The token is in none of what it says.
func (c *Client) CheckToken(ctx context.Context) (s operation.Section) {
	value, err := credential(ctx, c.token)
	if err != nil {
		s.Findings = append(s.Findings, operation.Failure(err))
		return s
	}
	kind := kindOf(value)
	var answer struct {
		Data struct{ Viewer struct{ Login string } }
	}
	begin := time.Now()
	header, err := c.probe(ctx, http.MethodPost, c.graphql, map[string]any{"query": `query { viewer { login } }`}, &answer)
	if err != nil {
		s.Facts = []string{kind.name}
		s.Findings = append(s.Findings, operation.Failure((&repository{c: c}).refuse("ask whose token it uses", err)))
		return s
	}
	s.Facts = []string{fmt.Sprintf("%s of %s", kind.name, answer.Data.Viewer.Login)}
	if scopes := header.Get("X-OAuth-Scopes"); scopes != "" {
		s.Facts = append(s.Facts, "scopes "+strings.TrimSuffix(sentence(scopes), "."))
	}
	s.Findings = append(s.Findings,
		operation.Finding{State: operation.Works, Text: "GitHub accepts the token."},
		operation.Clock("GitHub", gitops.Skew(header.Get("Date"), begin, time.Now())))
	// "2026-12-01 10:00:00 UTC" or "… +0200"
	for _, form := range []string{"2006-01-02 15:04:05 MST", "2006-01-02 15:04:05 -0700"} {
		if end, err := time.Parse(form, header.Get("GitHub-Authentication-Token-Expiration")); err == nil && end.Sub(c.now()) < soon {
			s.Findings = append(s.Findings, operation.Finding{State: operation.Mind,
				Text: fmt.Sprintf("The token ends on %s. Make another at %s.", end.UTC().Format("2 January 15:04 UTC"), c.root+kind.where)})
			break
		}
	}
	return s
}

// probe makes one request and gives the header of its answer.
func (c *Client) probe(ctx context.Context, method, path string, body, into any) (http.Header, error) {
	req, err := c.api.NewRequest(method, path, body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	resp, err := c.api.Do(ctx, req, into)
	if err != nil {
		return nil, err
	}
	return resp.Header, nil
}

// CheckRepository looks at what the credential may do in a repository. Reading is tried. Writing is tried with requests
// that cannot succeed, since GitHub asks for permission before it looks at what is to be written: it answers 403 or 404
// to who may not, and 422 to who may.
func (c *Client) CheckRepository(ctx context.Context, name string, branches []string) (s operation.Section) {
	opened, err := c.Repository(name)
	if err != nil {
		s.Findings = append(s.Findings, operation.Failure(err))
		return s
	}
	value, err := credential(ctx, c.token)
	if err != nil {
		return s // said of the token
	}
	p := &prober{repository: opened.(*repository), kind: kindOf(value), found: &s}
	visible, writable := p.visible(ctx)
	if visible {
		p.reads(ctx, branches)
	}
	if writable {
		p.writes(ctx, branches[0])
	}
	return s
}

// A prober collects what a credential may do in one repository.
type prober struct {
	*repository
	kind    tokenKind
	private bool
	found   *operation.Section
}

func (p *prober) add(state operation.State, format string, args ...any) {
	p.found.Findings = append(p.found.Findings, operation.Finding{State: state, Text: fmt.Sprintf(format, args...)})
}

// visible looks at the repository itself, and says whether it is worth to look whether ferry may read and write there.
func (p *prober) visible(ctx context.Context) (visible, writable bool) {
	var about struct {
		FullName           string `json:"full_name"`
		Archived, Disabled bool
		Private            bool
		Permissions        *struct{ Push bool }
	}
	err := p.c.get(ctx, strings.TrimSuffix(p.path("", ""), "/"), nil, &about)
	a, answered := answerOf(err)
	switch {
	case answered && a.status == http.StatusNotFound:
		how := "give the token access to it: " + p.c.root + cmp.Or(p.kind.access, p.kind.where)
		if p.kind.scoped() {
			how = "give the token's owner access to it and the token the scope repo: " + p.c.root + p.kind.where
		}
		p.add(operation.Missing, "%s does not exist, or ferry's token does not see it. Mend its name, or %s", p.repository, how)
		return false, false
	case err != nil:
		p.found.Findings = append(p.found.Findings, operation.Failure(p.refuse(fmt.Sprintf("look at %s", p.repository), err)))
		return false, false
	}
	p.private = about.Private
	p.add(operation.Works, "ferry's token sees %s.", p.repository)
	if !strings.EqualFold(about.FullName, p.String()) {
		p.add(operation.Mind, "%s is called %s now. Put that into ferry's configuration and into Flux's GitRepository.", p.repository, about.FullName)
	}
	if about.Archived || about.Disabled {
		p.add(operation.Missing, "%s is archived or disabled: nobody can write to it. Unarchive it at %s/%s/settings", p.repository, p.c.root, p.repository)
		return true, false
	}
	if about.Permissions != nil && !about.Permissions.Push && !strings.HasPrefix(p.kind.name, "App") {
		p.add(operation.Missing, "The owner of ferry's token may not write to %s. Give that account the role Write: %s/%s/settings/access", p.repository, p.c.root, p.repository)
		return true, false
	}
	return true, true
}

// reads tries what ferry reads.
func (p *prober) reads(ctx context.Context, branches []string) {
	for _, branch := range branches {
		_, err := p.ref(ctx, branch)
		if a, ok := answerOf(err); ok && a.status == http.StatusNotFound {
			p.add(operation.Missing, "The branch %s does not exist. Create it, or mend its name in ferry's configuration or Flux's GitRepository.", branch)
			continue
		}
		p.outcome(err, fmt.Sprintf("read branch %s", branch), "contents", "read", err == nil)
	}
	var pulls []struct{ Number int }
	err := p.c.get(ctx, p.path("pulls", ""), url.Values{"per_page": {"1"}}, &pulls)
	p.outcome(err, "read pull requests", "pull_requests", "read", err == nil)
}

// impossible is no name of a branch, by Git's own rules, so nothing can come of it.
const impossible = "ferry..check"

// writes tries what ferry writes, in ways that nothing can come of: a branch at the commit that Git defines not to exist,
// and a pull request from a branch whose name cannot be one.
func (p *prober) writes(ctx context.Context, base string) {
	err := p.c.request(ctx, http.MethodPost, p.path("git/refs", ""), nil, map[string]any{"ref": "refs/heads/ferry-check", "sha": strings.Repeat("0", 40)}, nil)
	p.outcome(err, "commit and create branches", "contents", "write", unprocessable(err))
	err = p.c.request(ctx, http.MethodPost, p.path("pulls", ""), nil, map[string]any{"title": "ferry check", "head": impossible, "base": base}, nil)
	p.outcome(err, "open pull requests", "pull_requests", "write", unprocessable(err))
}

func unprocessable(err error) bool {
	a, ok := answerOf(err)
	return ok && !a.limited && a.status == http.StatusUnprocessableEntity
}

// outcome tells what came of an attempt that needs a permission at a level.
func (p *prober) outcome(err error, doing, permission, level string, allowed bool) {
	a, answered := answerOf(err)
	refused := answered && !a.limited && (a.status == http.StatusForbidden || a.status == http.StatusNotFound)
	switch {
	case allowed:
		p.add(operation.Works, "ferry may %s.", doing)
	case refused && a.header.Get("X-GitHub-SSO") != "":
		p.add(operation.Missing, "ferry's token may not %s: authorize it for the organization's single sign-on at %s", doing, p.c.root+p.kind.where)
	case refused && p.kind.scoped():
		scope := "repo"
		if !p.private {
			scope = "public_repo"
		}
		p.add(operation.Missing, "ferry's token may not %s. Give it the scope %s at %s", doing, scope, p.c.root+p.kind.where)
	case refused:
		at := p.c.root + p.kind.where
		if p.kind.access != "" {
			at += ", and accept that at " + p.c.root + p.kind.access
		}
		p.add(operation.Missing, "ferry's token may not %s. Give it the repository permission %s (%s=%s) at %s", doing, permissionName(permission, level), permission, level, at)
	case err == nil:
		p.add(operation.Unknown, "Whether ferry may %s could not be known without writing.", doing)
	default:
		f := operation.Failure(p.refuse(doing, err))
		p.found.Findings = append(p.found.Findings, operation.Finding{State: operation.Unknown, Cause: f.Cause,
			Text: fmt.Sprintf("Whether ferry may %s could not be found out. %s", doing, f.Text)})
	}
}

// permissionName is what GitHub's pages call a permission.
func permissionName(permission, level string) string {
	names := map[string]string{"contents": "Contents", "pull_requests": "Pull requests"}
	levels := map[string]string{"read": "Read-only", "write": "Read and write"}
	return names[permission] + ": " + levels[level]
}

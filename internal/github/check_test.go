package github_test

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ferry-chatops/ferry/internal/github"
	"github.com/ferry-chatops/ferry/internal/githubtest"
	"github.com/ferry-chatops/ferry/internal/githubtest/contract"
	"github.com/ferry-chatops/ferry/internal/operation"
)

// A check is a client with a token of some kind, on a stand-in with acme/fleet.
type check struct {
	*testing.T
	hub    *githubtest.Server
	client *github.Client
	token  string
}

func checking(t *testing.T, token, login string) check {
	t.Helper()
	hub := githubtest.Start(t, contract.Check(t))
	hub.AddToken(token, login)
	must(hub.CreateRepository("acme/fleet", map[string]string{"README.md": "fleet\n"}))(t)
	client := must(github.New(github.Config{
		BaseURL: strings.TrimSuffix(hub.APIURL(), "/api/v3/"),
		Token:   func(context.Context) (string, error) { return token, nil },
		Allowed: func(string) bool { return true },
	}, slog.New(slog.DiscardHandler)))(t)
	return check{t, hub, client, token}
}

// wrong gives what CheckRepository finds wrong, a line each. The token is in none of its words.
func (c check) wrong(branches ...string) (lines []string) {
	c.Helper()
	s := c.client.CheckRepository(c.Context(), "acme/fleet", branches)
	for _, f := range s.Findings {
		if strings.Contains(f.Text+f.Fix, c.token) {
			c.Errorf("%q holds the token", f.Text)
		}
	}
	for _, f := range s.Wrong() {
		lines = append(lines, string(f.State)+": "+f.Text)
	}
	return lines
}

// only fails unless there is one line with all of the texts.
func only(t *testing.T, lines []string, texts ...string) {
	t.Helper()
	if len(lines) != 1 {
		t.Fatalf("%d lines, want one with %q: %q", len(lines), texts, lines)
	}
	for _, text := range texts {
		if !strings.Contains(lines[0], text) {
			t.Errorf("%q lacks %q", lines[0], text)
		}
	}
}

// printed finds a permission in GitHub's own words.
var printed = regexp.MustCompile(`\((\w+)=(\w+)\)`)

// Each permission is taken away in turn. It is named, and with exactly what is printed nothing is missing any more.
func TestEachPermissionOfATokenIsNamed(t *testing.T) {
	all := map[string]string{"contents": "write", "pull_requests": "write"}
	for _, kind := range []struct{ token, login, where string }{
		{"github_pat_c4nary", "ferry-bot", "/settings/personal-access-tokens"}, {"ghs_c4nary", "ferry[bot]", "/settings/apps, and accept that at "},
	} {
		c := checking(t, kind.token, kind.login)
		c.hub.SetRights(kind.token, githubtest.Rights{Permissions: all})
		if wrong := c.wrong("main"); len(wrong) > 0 {
			t.Fatalf("%q", wrong)
		}
		for _, less := range []struct {
			permission, level string
			want              []string
		}{
			{"contents", "read", []string{"Contents: Read and write (contents=write)"}},
			{"contents", "", []string{"Contents: Read-only (contents=read)", "Contents: Read and write (contents=write)"}},
			{"pull_requests", "read", []string{"Pull requests: Read and write (pull_requests=write)"}},
			{"pull_requests", "", []string{"Pull requests: Read-only (pull_requests=read)", "Pull requests: Read and write (pull_requests=write)"}},
		} {
			has := maps.Clone(all)
			has[less.permission] = less.level
			c.hub.SetRights(kind.token, githubtest.Rights{Permissions: has})
			wrong := c.wrong("main")
			if len(wrong) != len(less.want) {
				t.Fatalf("%s=%s: %q", less.permission, less.level, wrong)
			}
			for i, want := range less.want {
				only(t, wrong[i:i+1], "missing: ", want, kind.where)
				m := printed.FindStringSubmatch(wrong[i])
				has[m[1]] = m[2]
			}
			c.hub.SetRights(kind.token, githubtest.Rights{Permissions: has})
			if wrong := c.wrong("main"); len(wrong) > 0 {
				t.Errorf("after %v: %q", has, wrong)
			}
		}
		c.nothingWritten()
	}
}

// nothingWritten looks for a request that was let through, and for branches and pull requests.
func (c check) nothingWritten() {
	c.Helper()
	writes := 0
	for _, r := range c.hub.Requests() {
		if r.Method != http.MethodGet && len(r.Fields) == 0 {
			writes++
			if r.Status < 400 {
				c.Errorf("%s", r)
			}
		}
	}
	if writes == 0 {
		c.Error("writing was not tried")
	}
}

func TestTheScopeOfAClassicTokenIsNamed(t *testing.T) {
	c := checking(t, "ghp_c4nary", "ferry-bot")
	c.hub.SetRights(c.token, githubtest.Rights{Scopes: []string{"read:org"}})
	wrong := c.wrong("main")
	if len(wrong) != 2 {
		t.Fatalf("%q", wrong)
	}
	for _, line := range wrong {
		only(t, []string{line}, "missing: ferry's token may not", "Give it the scope repo at", "/settings/tokens")
	}
	c.hub.SetRights(c.token, githubtest.Rights{Scopes: []string{"read:org", "repo"}})
	if wrong := c.wrong("main"); len(wrong) > 0 {
		t.Errorf("%q", wrong)
	}
	c.nothingWritten()
	about := c.client.CheckToken(t.Context())
	if want := []string{"Classic personal access token of ferry-bot", "scopes read:org, repo"}; !slices.Equal(about.Facts, want) {
		t.Errorf("%q, want %q", about.Facts, want)
	}
}

func TestWhatIsWrongWithARepository(t *testing.T) {
	c := checking(t, "ghp_c4nary", "ferry-bot")
	only(t, c.wrong("main", "gone"), "missing: The branch gone does not exist.")

	c.hub.SetRights(c.token, githubtest.Rights{ReadOnly: true})
	only(t, c.wrong("main"), "missing: The owner of ferry's token may not write to acme/fleet.", "role Write", "/acme/fleet/settings/access")
	c.hub.SetRights(c.token, githubtest.Rights{})

	if err := c.hub.Archive("acme/fleet", true); err != nil {
		t.Fatal(err)
	}
	only(t, c.wrong("main"), "missing: acme/fleet is archived")
	if err := c.hub.Archive("acme/fleet", false); err != nil {
		t.Fatal(err)
	}

	c.hub.AddToken(c.token, "ferry-bot", "acme/other")
	only(t, c.wrong("main"), "missing: acme/fleet does not exist, or ferry's token does not see it.", "scope repo")
	c.hub.AddToken(c.token, "ferry-bot")

	c.hub.Fail(githubtest.Fault{Method: http.MethodPost, Status: http.StatusBadGateway, Times: -1})
	wrong := c.wrong("main")
	if len(wrong) != 2 || !strings.HasPrefix(wrong[0], "unknown: Whether ferry may commit and create branches could not be found out.") {
		t.Errorf("%q", wrong)
	}
}

func TestWhatIsWrongWithAToken(t *testing.T) {
	c := checking(t, "github_pat_c4nary", "ferry-bot")
	find := func() []string {
		var lines []string
		s := c.client.CheckToken(t.Context())
		for _, f := range s.Wrong() {
			lines = append(lines, string(f.State)+": "+f.Text)
		}
		return lines
	}
	if wrong := find(); len(wrong) > 0 {
		t.Errorf("%q", wrong)
	}
	c.hub.Revoke("ferry-bot")
	only(t, find(), "missing: GitHub rejects ferry's token")
}

var _ operation.GitHub = (*github.Client)(nil)

// TestATokenThatEndsSoon: GitHub says so in a header, in two forms.
func TestATokenThatEndsSoon(t *testing.T) {
	soon := time.Now().Add(48 * time.Hour)
	for header, want := range map[string]int{
		soon.UTC().Format("2006-01-02 15:04:05 MST"):                             1,
		soon.In(time.FixedZone("", 2*60*60)).Format("2006-01-02 15:04:05 -0700"): 1,
		soon.Add(30 * 24 * time.Hour).UTC().Format("2006-01-02 15:04:05 MST"):    0,
		"never": 0,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("GitHub-Authentication-Token-Expiration", header)
			_, _ = io.WriteString(w, `{"data": {"viewer": {"login": "ferry-bot"}}}`)
		}))
		t.Cleanup(server.Close)
		token := func(context.Context) (string, error) { return "github_pat_c4nary", nil }
		s := must(github.New(github.Config{BaseURL: server.URL, Token: token}, slog.New(slog.DiscardHandler)))(t).CheckToken(t.Context())
		wrong := s.Wrong()
		if len(wrong) != want {
			t.Errorf("%s: %+v", header, wrong)
		} else if want > 0 && !strings.Contains(wrong[0].Line(), soon.UTC().Format("2 January 15:04 UTC")+". Make another at "+server.URL+"/settings/personal-access-tokens") {
			t.Errorf("%s: %s", header, wrong[0].Line())
		}
	}
}

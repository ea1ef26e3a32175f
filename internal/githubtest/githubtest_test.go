package githubtest_test

import (
	"testing"

	"github.com/google/go-github/v60/github"

	"github.com/ferry-chatops/ferry/internal/githubtest"
)

// start gives a stand-in with acme/fleet, whose bot is "bot", and a client for it.
func start(t *testing.T, options ...githubtest.Option) (*githubtest.Server, *github.Client, string) {
	t.Helper()
	hub := githubtest.Start(t, options...)
	hub.AddToken("t0ken", "bot")
	sha, err := hub.CreateRepository("acme/fleet", map[string]string{"README.md": "fleet\n", "apps/prod/podinfo.yaml": "version: 6.0.0\n"})
	if err != nil {
		t.Fatal(err)
	}
	return hub, client(t, hub, "t0ken"), sha
}

func client(t *testing.T, hub *githubtest.Server, token string) *github.Client {
	t.Helper()
	c, err := github.NewClient(nil).WithAuthToken(token).WithEnterpriseURLs(hub.APIURL(), hub.APIURL())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestFileAtABranch(t *testing.T) {
	_, gh, sha := start(t)
	file, _, _, err := gh.Repositories.GetContents(t.Context(), "acme", "fleet", "apps/prod/podinfo.yaml", &github.RepositoryContentGetOptions{Ref: sha})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := file.GetContent(); err != nil || got != "version: 6.0.0\n" {
		t.Errorf("got %q, %v", got, err)
	}
	b, _, err := gh.Repositories.GetBranch(t.Context(), "acme", "fleet", "main", 0)
	if err != nil || b.GetCommit().GetSHA() != sha {
		t.Errorf("branch: %v, %v", b, err)
	}
}

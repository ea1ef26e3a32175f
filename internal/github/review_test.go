package github_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	gh "github.com/google/go-github/v60/github"

	"github.com/ferry-chatops/ferry/internal/git"
	"github.com/ferry-chatops/ferry/internal/github"
	"github.com/ferry-chatops/ferry/internal/githubtest"
	"github.com/ferry-chatops/ferry/internal/githubtest/contract"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/operation"
)

// A review is a client of acme/fleet on a stand-in, which has a token of acme/fleet alone; and go-github, to open pull requests with.
type review struct {
	*testing.T
	hub *githubtest.Server
	operation.Pulls
	api *gh.Client
}

func reviewing(t *testing.T) *review {
	t.Helper()
	hub := githubtest.Start(t, contract.Check(t))
	hub.AddToken("t0ken", "ferry-bot", "acme/fleet")
	hub.AddToken("alices", "alice")
	if _, err := hub.CreateRepository("acme/fleet", map[string]string{podinfo: "version: 6.0.0\n", "README.md": "fleet\n"}); err != nil {
		t.Fatal(err)
	}
	trees, err := git.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := trees.Close(); err != nil {
			t.Error(err)
		}
	})
	client, err := github.New(github.Config{
		BaseURL: strings.TrimSuffix(hub.APIURL(), "/api/v3/"), Token: func(context.Context) (string, error) { return "t0ken", nil },
		Allowed: func(name string) bool { return name == "acme/fleet" }, Tree: trees.Tree, Merge: trees.Merge,
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	api, err := gh.NewClient(nil).WithAuthToken("alices").WithEnterpriseURLs(hub.APIURL(), hub.APIURL())
	if err != nil {
		t.Fatal(err)
	}
	return &review{t, hub, client, api}
}

func (r *review) commit(repository, branch string, files map[string]string) string {
	r.Helper()
	sha, err := r.hub.Commit(repository, branch, "alice", "Change", files)
	if err != nil {
		r.Fatal(err)
	}
	return sha
}

func (r *review) open(head, base string) {
	r.Helper()
	if _, _, err := r.api.PullRequests.Create(r.Context(), "acme", "fleet", &gh.NewPullRequest{Title: gh.String("Update podinfo"), Head: &head, Base: &base}); err != nil {
		r.Fatal(err)
	}
}

func (r *review) content(sha, file string) string {
	r.Helper()
	tree, err := r.Tree(r.Context(), "acme/fleet", sha)
	if err != nil {
		r.Fatal(err)
	}
	content, err := fs.ReadFile(tree, file)
	if err != nil {
		r.Fatal(err)
	}
	return string(content)
}

// refused is a refusal's code and reason.
func refused(t *testing.T, err error) (gitops.Code, string) {
	t.Helper()
	refusal, ok := errors.AsType[*gitops.Refusal](err)
	if !ok {
		t.Fatalf("no refusal: %v", err)
	}
	return refusal.Code, refusal.Reason
}

func TestPullTellsWhatTheBaseBranchIsNow(t *testing.T) {
	r := reviewing(t)
	head := r.commit("acme/fleet", "update", map[string]string{podinfo: "version: 7.0.0\n"})
	r.open("update", "main")
	now := r.commit("acme/fleet", "main", map[string]string{"README.md": "moved on\n"})
	got, err := r.Pull(t.Context(), "acme/fleet", 1)
	want := operation.Pull{Repository: "acme/fleet", Number: 1, Title: "Update podinfo", URL: strings.TrimSuffix(r.hub.APIURL(), "api/v3/") + "acme/fleet/pull/1",
		State: "open", Author: "alice", Branch: "update", Head: head, Base: "main", BaseCommit: now}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
	common, err := r.MergeBase(t.Context(), "acme/fleet", got.BaseCommit, got.Head)
	if err != nil || r.content(common, podinfo) != "version: 6.0.0\n" || r.content(head, podinfo) != "version: 7.0.0\n" || r.content(now, "README.md") != "moved on\n" {
		t.Errorf("merge base %s, %v", common, err)
	}

	if _, err := r.hub.MergePullRequest("acme/fleet", 1, "alice", "merge"); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Pull(t.Context(), "acme/fleet", 1); err != nil || got.State != "merged" || got.BaseCommit == now {
		t.Errorf("merged: %+v, %v", got, err)
	}
}

// TestForkThatFerryMayNotSee: what is read of a pull request from a fork comes out of the base repository, whether the fork is
// private or gone.
func TestForkThatFerryMayNotSee(t *testing.T) {
	r := reviewing(t)
	if err := r.hub.Fork("acme/fleet", "carol"); err != nil {
		t.Fatal(err)
	}
	head := r.commit("carol/fleet", "fix", map[string]string{podinfo: "version: 7.0.0\n"})
	r.open("carol:fix", "main")
	check := func(fork string) {
		t.Helper()
		got, err := r.Pull(t.Context(), "acme/fleet", 1)
		if err != nil || got.Fork != fork || got.Head != head || got.Branch != "fix" {
			t.Fatalf("%+v, %v", got, err)
		}
		common, err := r.MergeBase(t.Context(), "acme/fleet", got.BaseCommit, head)
		if err != nil || common != got.BaseCommit || r.content(head, podinfo) != "version: 7.0.0\n" {
			t.Errorf("merge base %s, %v", common, err)
		}
	}
	if err := r.hub.Hide("carol/fleet", http.StatusNotFound); err != nil {
		t.Fatal(err)
	}
	check("carol/fleet")
	if err := r.hub.Delete("carol/fleet"); err != nil {
		t.Fatal(err)
	}
	check("-")
}

func TestBranchIsItsNewestOpenPullRequest(t *testing.T) {
	r := reviewing(t)
	main := r.commit("acme/fleet", "main", map[string]string{"README.md": "main\n"})
	r.commit("acme/fleet", "stable", map[string]string{"README.md": "stable\n"})
	head := r.commit("acme/fleet", "feature/a#1%", map[string]string{podinfo: "version: 7.0.0\n"})
	branch := func(base string) operation.Pull {
		t.Helper()
		got, err := r.Branch(t.Context(), "acme/fleet", "feature/a#1%", base)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	want := operation.Pull{Repository: "acme/fleet", State: "open", Branch: "feature/a#1%", Head: head, Base: "main", BaseCommit: main,
		URL: strings.TrimSuffix(r.hub.APIURL(), "api/v3/") + "acme/fleet/tree/feature/a%231%25"}
	if diff := cmp.Diff(want, branch("")); diff != "" {
		t.Errorf("without a pull request: -want +got:\n%s", diff)
	}
	if got := branch("stable"); got.Base != "stable" || got.BaseCommit == main || got.Number != 0 {
		t.Errorf("into another branch: %+v", got)
	}
	r.open("feature/a#1%", "main")
	r.open("feature/a#1%", "stable")
	if got := branch("main"); got.Number != 2 || got.Base != "stable" || got.Head != head {
		t.Errorf("with two: %+v", got)
	}
	for name, reason := range map[string]string{
		"main": "main of acme/fleet is the branch that others are merged into. Name a pull request or another branch.",
		"gone": "acme/fleet has no branch gone, nor an open pull request from one. A pull request from a fork goes by its number.",
		"a..b": `"a..b" is no name of a branch.`,
	} {
		_, err := r.Branch(t.Context(), "acme/fleet", name, "")
		if _, got := refused(t, err); got != reason {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestPullsThatCannotBeRead(t *testing.T) {
	r := reviewing(t)
	r.commit("acme/fleet", "update", map[string]string{podinfo: "version: 7.0.0\n"})
	r.commit("acme/fleet", "old", map[string]string{"README.md": "old\n"})
	r.open("update", "old")
	head, err := r.Pull(t.Context(), "acme/fleet", 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		fault  githubtest.Fault
		number int
		code   gitops.Code
		reason string
	}{
		"none":        {number: 2, code: gitops.NotFound, reason: "There is no pull request 2 in acme/fleet, or ferry's token may not see it."},
		"its base":    {githubtest.Fault{Path: "/repos/*/git/ref/*", Status: 404}, 1, gitops.NotFound, "Pull request 1 of acme/fleet is meant for the branch old, which is gone."},
		"the token":   {githubtest.Fault{Status: 401}, 1, gitops.Denied, "GitHub rejects ferry's token: it is wrong, expired or revoked. Replace it where github.auth in ferry's configuration says."},
		"a limit":     {githubtest.SecondaryLimit(403, 0), 1, gitops.Unreachable, "GitHub's rate limit for ferry's token is used up. Try again in some minutes."},
		"a fault":     {githubtest.Fault{Status: 502, Times: 3}, 1, gitops.Unreachable, "GitHub had a fault (502) when ferry wanted to read pull request 1 of acme/fleet. Try again in a moment; www.githubstatus.com tells more."},
		"no such one": {githubtest.Fault{Status: 200, Body: `{"number": 3}`}, 1, gitops.Unreachable, "GitHub did not answer when ferry wanted to read pull request 1 of acme/fleet. Try again in a moment."},
	} {
		t.Run(name, func(t *testing.T) {
			if test.fault.Status != 0 {
				r.hub.Fail(test.fault)
			}
			_, err := r.Pull(t.Context(), "acme/fleet", test.number)
			if code, reason := refused(t, err); code != test.code || reason != test.reason {
				t.Errorf("%s: %s", code, reason)
			}
			r.hub.Mend()
		})
	}
	r.hub.Fail(githubtest.Fault{Path: "/repos/*/compare/*", Status: 404, Body: `{"message": "No common ancestor between a and b."}`})
	_, err = r.MergeBase(t.Context(), "acme/fleet", head.BaseCommit, head.Head)
	if code, _ := refused(t, err); code != gitops.Layout {
		t.Errorf("no common ancestor: %v", err)
	}
}

// TestNothingIsAskedOfOtherRepositories: the bot's rights are not the user's.
func TestNothingIsAskedOfOtherRepositories(t *testing.T) {
	r := reviewing(t)
	sha := strings.Repeat("1", 40)
	for _, name := range []string{"acme/other", "acme/fleet/../other", "", "acme"} {
		for what, err := range map[string]error{
			"pull":       second(r.Pull(t.Context(), name, 1)),
			"branch":     second(r.Branch(t.Context(), name, "update", "")),
			"merge base": second(r.MergeBase(t.Context(), name, sha, sha)),
			"tree":       second(r.Tree(t.Context(), name, sha)),
		} {
			if err == nil {
				t.Errorf("%s of %q is read", what, name)
			}
		}
	}
	if asked := r.hub.Requests(); len(asked) > 0 {
		t.Errorf("asked %v", asked)
	}
}

func second[T any](_ T, err error) error { return err }

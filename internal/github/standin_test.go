package github_test

import (
	"context"
	"encoding/base64"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/git"
	"github.com/ferry-chatops/ferry/internal/github"
	"github.com/ferry-chatops/ferry/internal/githubtest"
	"github.com/ferry-chatops/ferry/internal/githubtest/contract"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/promotion"
)

const podinfo = "apps/prod/podinfo.yaml"

// fleet gives acme/fleet on a stand-in for GitHub, opened as ferry-bot, and its first commit.
func fleet(t *testing.T) (*githubtest.Server, promotion.Repository, string) {
	t.Helper()
	hub := githubtest.Start(t, contract.Check(t))
	hub.AddToken("t0ken", "ferry-bot")
	sha, err := hub.CreateRepository("acme/fleet", map[string]string{podinfo: "version: 6.0.0\r\n", "README.md": "fleet\n"})
	if err != nil {
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
		BaseURL: strings.TrimSuffix(hub.APIURL(), "/api/v3/"),
		Token:   func(context.Context) (string, error) { return "t0ken", nil },
		Allowed: func(string) bool { return true },
		Tree:    trees.Tree,
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r, err := client.Repository("acme/fleet")
	if err != nil {
		t.Fatal(err)
	}
	return hub, r, sha
}

func edit(version string) []gitops.File {
	return []gitops.File{{Path: podinfo, Content: []byte("version: " + version + "\r\n")}}
}

const text = "Promote podinfo to 7.0.0\n\nOn prod.\n\nFerry-Promotion: 1\nFerry-To: 7.0.0\n"

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// log reads the subjects of a branch, newest first.
func log(t *testing.T, r promotion.Repository, branch string) []string {
	t.Helper()
	var subjects []string
	for _, c := range must(r.Commits(t.Context(), branch, "", 20))(t) {
		subject, _, _ := strings.Cut(c.Message, "\n")
		subjects = append(subjects, subject)
	}
	return subjects
}

func TestCommit(t *testing.T) {
	_, r, first := fleet(t)
	ctx := t.Context()
	written := must(r.Commit(ctx, "main", first, text, edit("7.0.0")))(t)
	if head := must(r.Head(ctx, "main"))(t); head != written.SHA {
		t.Errorf("head %s, written %s", head, written.SHA)
	}
	if content := must(r.File(ctx, podinfo, written.SHA))(t); string(content) != "version: 7.0.0\r\n" {
		t.Errorf("file: %q", content)
	}
	if content := must(r.File(ctx, podinfo, first))(t); string(content) != "version: 6.0.0\r\n" {
		t.Errorf("file before: %q", content)
	}
	if _, err := r.File(ctx, "apps/absent.yaml", "main"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
	if _, err := r.File(ctx, "apps", "main"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("directory: %v", err)
	}

	history := must(r.Commits(ctx, "main", podinfo, 10))(t)
	if len(history) != 2 || history[0].SHA != written.SHA || history[1].SHA != first {
		t.Fatalf("history: %+v", history)
	}
	if got := history[0]; got.Author != must(r.Viewer(ctx))(t) || got.URL != written.URL || got.When.IsZero() {
		t.Errorf("commit: %+v", got)
	}
	if !written.Signed || !history[0].Signed || history[1].Signed {
		t.Errorf("signed: written %v, read %v, pushed %v", written.Signed, history[0].Signed, history[1].Signed)
	}
	if trailers, ok := gitops.ParseTrailers(history[0].Message); !ok || trailers.To != "7.0.0" {
		t.Errorf("message: %q", history[0].Message)
	}
	if only := must(r.Commits(ctx, "main", "", 1))(t); len(only) != 1 {
		t.Errorf("%d commits, asked for one", len(only))
	}

	for _, test := range []struct {
		head, commit string
		want         bool
	}{{written.SHA, first, true}, {first, written.SHA, false}, {first, first, true}, {"main", first, true}} {
		if got := must(r.Contains(ctx, test.head, test.commit))(t); got != test.want {
			t.Errorf("%s contains %s: %v", test.head, test.commit, got)
		}
	}
	old, tree := must(r.Tree(ctx, first))(t), must(r.Tree(ctx, written.SHA))(t)
	if content := must(fs.ReadFile(old, podinfo))(t); string(content) != "version: 6.0.0\r\n" {
		t.Errorf("old tree: %q", content)
	}
	if content := must(fs.ReadFile(tree, podinfo))(t); string(content) != "version: 7.0.0\r\n" {
		t.Errorf("new tree: %q", content)
	}
}

// TestCommandsReadConditionally: what has not changed costs nothing, and what was written is seen at once.
func TestCommandsReadConditionally(t *testing.T) {
	hub, r, first := fleet(t)
	head := func(want string) {
		t.Helper()
		for range 3 {
			if got := must(r.Head(t.Context(), "main"))(t); got != want {
				t.Errorf("head %s, want %s", got, want)
			}
		}
	}
	hub.Load(true)
	head(first)
	if diff := cmp.Diff(map[int]int{200: 1, 304: 2}, hub.Load(true).Statuses); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	commit := must(r.Commit(t.Context(), "main", first, "Promote podinfo\n", edit("7.0.0")))(t)
	head(commit.SHA)
	if file := must(r.File(t.Context(), podinfo, "main"))(t); string(file) != "version: 7.0.0\r\n" {
		t.Errorf("%q", file)
	}
}

func TestCommitOnAMovedBranch(t *testing.T) {
	hub, r, first := fleet(t)
	if _, err := hub.Commit("acme/fleet", "main", "somebody", "Edit README", map[string]string{"README.md": "x\n"}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Commit(t.Context(), "main", first, text, edit("7.0.0")); !errors.Is(err, promotion.ErrMoved) {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]string{"Edit README", "Initial commit"}, log(t, r, "main")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestCommitWhoseOutcomeIsUnknown(t *testing.T) {
	for name, test := range map[string]struct {
		fault   githubtest.Fault
		written bool
	}{
		"written, then 502":     {githubtest.Fault{Mutation: "createCommitOnBranch", Status: 502, Apply: true}, true},
		"written, then dropped": {githubtest.Fault{Mutation: "createCommitOnBranch", Drop: true, Apply: true}, true},
		"not written, 503":      {githubtest.Fault{Mutation: "createCommitOnBranch", Status: 503}, false},
	} {
		t.Run(name, func(t *testing.T) {
			hub, r, first := fleet(t)
			hub.Fail(test.fault)
			if _, err := r.Commit(t.Context(), "main", first, text, edit("7.0.0")); !errors.Is(err, promotion.ErrOutcomeUnknown) {
				t.Errorf("got %v", err)
			}
			want := []string{"Initial commit"}
			if test.written {
				want = []string{"Promote podinfo to 7.0.0", "Initial commit"}
			}
			if diff := cmp.Diff(want, log(t, r, "main")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			// To repeat it blindly does no harm: the branch is not where it was.
			_, err := r.Commit(t.Context(), "main", first, text, edit("7.0.0"))
			if errors.Is(err, promotion.ErrMoved) != test.written {
				t.Errorf("repeated: %v", err)
			}
		})
	}
}

func TestPullRequestWhereRulesAskForIt(t *testing.T) {
	hub, r, first := fleet(t)
	ctx := t.Context()
	if allowed, rule, err := r.Direct(ctx, "main"); !allowed || rule != "" || err != nil {
		t.Errorf("without rules: %v %q %v", allowed, rule, err)
	}
	if err := hub.SetRules("acme/fleet", "main", githubtest.Rule{Type: "pull_request"}); err != nil {
		t.Fatal(err)
	}
	if allowed, rule, err := r.Direct(ctx, "main"); allowed || rule == "" || err != nil {
		t.Errorf("with a rule: %v %q %v", allowed, rule, err)
	}
	if _, err := r.Commit(ctx, "main", first, text, edit("7.0.0")); !errors.Is(err, promotion.ErrPullRequestRequired) || !strings.Contains(err.Error(), "through a pull request") {
		t.Errorf("commit against the rule: %v", err)
	}

	const branch = "ferry/prod/podinfo/1"
	for range 2 { // the second time it is there
		if err := r.CreateBranch(ctx, branch, first); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.OpenPullRequest(ctx, branch, "main", "Promote", "Body"); err == nil {
		t.Error("a pull request without a change is opened")
	}
	written := must(r.Commit(ctx, branch, first, text, edit("7.0.0")))(t)
	if err := r.CreateBranch(ctx, branch, first); !errors.Is(err, promotion.ErrMoved) {
		t.Errorf("branch that is elsewhere: %v", err)
	}
	opened := must(r.OpenPullRequest(ctx, branch, "main", "Promote podinfo", "Because."))(t)
	again := must(r.OpenPullRequest(ctx, branch, "main", "Promote podinfo", "Because."))(t)
	if diff := cmp.Diff(opened, again); diff != "" {
		t.Errorf("opened twice:\n%s", diff)
	}
	want := gitops.PullRequest{Number: opened.Number, URL: opened.URL, Title: "Promote podinfo", Body: "Because.", Branch: branch, Author: "ferry-bot", State: "open", When: opened.When}
	if diff := cmp.Diff(want, opened); diff != "" || opened.URL == "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	merge := must(hub.MergePullRequest("acme/fleet", opened.Number, "alice", "squash"))(t)
	listed := must(r.PullRequests(ctx, "ferry/prod/podinfo/"))(t)
	want.State, want.MergeCommit = "merged", merge
	if diff := cmp.Diff([]gitops.PullRequest{want}, listed); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if none := must(r.PullRequests(ctx, "ferry/stage/"))(t); len(none) > 0 {
		t.Errorf("another prefix: %+v", none)
	}
	if got := must(r.Contains(ctx, "main", merge))(t); !got {
		t.Error("main does not contain the merge")
	}
	if got := must(r.Contains(ctx, merge, written.SHA))(t); got {
		t.Error("a squash contains the branch's commit")
	}
}

func TestWritesThatAreLookedFor(t *testing.T) {
	hub, r, first := fleet(t)
	ctx := t.Context()
	hub.Fail(githubtest.Fault{Method: "POST", Path: "/repos/*/git/refs", Status: 502, Apply: true})
	if err := r.CreateBranch(ctx, "ferry/prod/a/1", first); err != nil {
		t.Errorf("branch that was made: %v", err)
	}
	hub.Fail(githubtest.Fault{Method: "POST", Path: "/repos/*/git/refs", Status: 502})
	if err := r.CreateBranch(ctx, "ferry/prod/a/2", first); !errors.Is(err, promotion.ErrOutcomeUnknown) {
		t.Errorf("branch that was not made: %v", err)
	}
	must(r.Commit(ctx, "ferry/prod/a/1", first, text, edit("7.0.0")))(t)
	hub.Fail(githubtest.Fault{Method: "POST", Path: "/repos/*/pulls", Status: 502})
	if _, err := r.OpenPullRequest(ctx, "ferry/prod/a/1", "main", "Promote", ""); !errors.Is(err, promotion.ErrOutcomeUnknown) {
		t.Errorf("pull request that was not opened: %v", err)
	}
	hub.Fail(githubtest.Fault{Method: "POST", Path: "/repos/*/pulls", Drop: true, Apply: true})
	opened := must(r.OpenPullRequest(ctx, "ferry/prod/a/1", "main", "Promote", ""))(t)
	if all := must(r.PullRequests(ctx, "ferry/"))(t); len(all) != 1 || all[0].Number != opened.Number {
		t.Errorf("opened %d, there are %+v", opened.Number, all)
	}
}

func TestRightsThatAreMissing(t *testing.T) {
	hub, r, first := fleet(t)
	hub.AddToken("t0ken", "ferry-bot", "acme/other") // sees another repository only
	ctx := t.Context()
	_, head := r.Head(ctx, "main")
	_, tree := r.Tree(ctx, first)
	_, commit := r.Commit(ctx, "main", first, text, edit("7.0.0"))
	_, _, direct := r.Direct(ctx, "main")
	for name, err := range map[string]error{"head": head, "tree": tree, "commit": commit, "direct": direct} {
		refusal, ok := errors.AsType[*gitops.Refusal](err)
		if !ok || refusal.Code != gitops.NotFound {
			t.Errorf("%s: %v", name, err)
		}
		if ok && (strings.Contains(err.Error(), "t0ken") || strings.Contains(err.Error(), base64.StdEncoding.EncodeToString([]byte("x-access-token:t0ken")))) {
			t.Errorf("%s shows the token: %v", name, err)
		}
	}
}

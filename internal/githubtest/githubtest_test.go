package githubtest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-github/v60/github"

	"github.com/ferry-chatops/ferry/internal/githubtest"
	"github.com/ferry-chatops/ferry/internal/githubtest/contract"
)

const podinfo = "apps/prod/podinfo.yaml"

// A rig is a stand-in with acme/fleet, at the commit sha, and a client for the account bot.
type rig struct {
	*testing.T
	hub *githubtest.Server
	gh  *github.Client
	sha string
}

func start(t *testing.T, options ...githubtest.Option) rig {
	t.Helper()
	return unchecked(t, append(options, contract.Check(t))...)
}

// unchecked is start without the contract, which objects to what a good client does not send.
func unchecked(t *testing.T, options ...githubtest.Option) rig {
	t.Helper()
	hub := githubtest.Start(t, options...)
	hub.AddToken("t0ken", "bot")
	sha, err := hub.CreateRepository("acme/fleet", map[string]string{"README.md": "fleet\n", podinfo: "version: 6.0.0\n"})
	if err != nil {
		t.Fatal(err)
	}
	return rig{t, hub, client(t, hub, "t0ken"), sha}
}

func client(t *testing.T, hub *githubtest.Server, token string) *github.Client {
	t.Helper()
	c, err := github.NewClient(nil).WithAuthToken(token).WithEnterpriseURLs(hub.APIURL(), hub.APIURL())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// commit lets somebody else commit one file.
func (r rig) commit(branch, path, content string) string {
	r.Helper()
	sha, err := r.hub.Commit("acme/fleet", branch, "alice", "Change "+path, map[string]string{path: content})
	if err != nil {
		r.Fatal(err)
	}
	return sha
}

// head is where a branch points to.
func (r rig) head(branch string) string {
	r.Helper()
	b, _, err := r.gh.Repositories.GetBranch(r.Context(), "acme", "fleet", branch, 0)
	if err != nil {
		r.Fatal(err)
	}
	return b.GetCommit().GetSHA()
}

func (r rig) file(ref, path string) string {
	r.Helper()
	file, _, _, err := r.gh.Repositories.GetContents(r.Context(), "acme", "fleet", path, &github.RepositoryContentGetOptions{Ref: ref})
	if err != nil {
		r.Fatal(err)
	}
	content, err := file.GetContent()
	if err != nil {
		r.Fatal(err)
	}
	return content
}

// refused wants an answer of that status whose text contains every part.
func (r rig) refused(err error, status int, parts ...string) {
	r.Helper()
	e, ok := errors.AsType[*github.ErrorResponse](err)
	if !ok || e.Response.StatusCode != status {
		r.Fatalf("got %v, want status %d", err, status)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			r.Errorf("got %q, want it to contain %q", err, part)
		}
	}
}

func TestRepositoryAndUser(t *testing.T) {
	r := start(t)
	repo, _, err := r.gh.Repositories.Get(t.Context(), "acme", "fleet")
	if err != nil || repo.GetFullName() != "acme/fleet" || repo.GetDefaultBranch() != "main" || !repo.GetPrivate() {
		t.Errorf("got %v, %v", repo, err)
	}
	user, _, err := r.gh.Users.Get(t.Context(), "")
	if err != nil || user.GetLogin() != "bot" {
		t.Errorf("got %v, %v", user, err)
	}
	_, _, err = r.gh.Repositories.Get(t.Context(), "acme", "nothing")
	r.refused(err, 404, "Not Found")
}

func TestTokens(t *testing.T) {
	r := start(t)
	if _, err := r.hub.CreateRepository("acme/secret", nil); err != nil {
		t.Fatal(err)
	}
	r.hub.AddToken("l1mited", "carol", "acme/fleet")
	limited := client(t, r.hub, "l1mited")
	if _, _, err := limited.Repositories.Get(t.Context(), "acme", "fleet"); err != nil {
		t.Errorf("own repository: %v", err)
	}
	_, _, err := limited.Repositories.Get(t.Context(), "acme", "secret")
	r.refused(err, 404)
	_, _, err = client(t, r.hub, "unknown").Repositories.Get(t.Context(), "acme", "fleet")
	r.refused(err, 401, "Bad credentials")
	nobody, err := github.NewClient(nil).WithEnterpriseURLs(r.hub.APIURL(), r.hub.APIURL())
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = nobody.Repositories.Get(t.Context(), "acme", "fleet")
	r.refused(err, 401, "Requires authentication")
}

func TestContents(t *testing.T) {
	r := start(t)
	ctx := t.Context()
	if got := r.file(r.sha, podinfo); got != "version: 6.0.0\n" {
		t.Errorf("got %q", got)
	}
	for dir, want := range map[string]string{"": "README.md apps", "apps": "apps/prod"} {
		_, list, _, err := r.gh.Repositories.GetContents(ctx, "acme", "fleet", dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range list {
			names = append(names, e.GetPath())
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%q holds %q, want %q", dir, got, want)
		}
	}
	_, _, _, err := r.gh.Repositories.GetContents(ctx, "acme", "fleet", "apps/stage", nil)
	r.refused(err, 404)
	_, _, _, err = r.gh.Repositories.GetContents(ctx, "acme", "fleet", podinfo, &github.RepositoryContentGetOptions{Ref: "gone"})
	r.refused(err, 404, "No commit found for the ref gone")

	put := func(sha *string, content string) (*github.RepositoryContentResponse, error) {
		got, _, err := r.gh.Repositories.UpdateFile(ctx, "acme", "fleet", podinfo, &github.RepositoryContentFileOptions{
			Message: github.String("Bump"), Content: []byte(content), SHA: sha, Branch: github.String("main")})
		return got, err
	}
	_, err = put(nil, "version: 7.0.0\n")
	r.refused(err, 422, "wasn't supplied")
	_, err = put(github.String(strings.Repeat("0", 40)), "version: 7.0.0\n")
	r.refused(err, 409, "does not match")
	file, _, _, err := r.gh.Repositories.GetContents(ctx, "acme", "fleet", podinfo, nil)
	if err != nil {
		t.Fatal(err)
	}
	done, err := put(file.SHA, "version: 7.0.0\n")
	if err != nil || done.Commit.GetSHA() != r.head("main") || r.file("main", podinfo) != "version: 7.0.0\n" {
		t.Errorf("got %v, %v", done, err)
	}
}

func TestGitData(t *testing.T) {
	r := start(t)
	ctx := t.Context()
	blob, _, err := r.gh.Git.CreateBlob(ctx, "acme", "fleet", &github.Blob{Content: github.String("#!/bin/sh\n"), Encoding: github.String("utf-8")})
	if err != nil {
		t.Fatal(err)
	}
	base, _, err := r.gh.Git.GetCommit(ctx, "acme", "fleet", r.sha)
	if err != nil {
		t.Fatal(err)
	}
	tree, _, err := r.gh.Git.CreateTree(ctx, "acme", "fleet", base.Tree.GetSHA(), []*github.TreeEntry{
		{Path: github.String("bin/run"), Mode: github.String("100755"), Type: github.String("blob"), SHA: blob.SHA},
		{Path: github.String(podinfo), Mode: github.String("100644"), Type: github.String("blob"), Content: github.String("version: 7.0.0\n")},
		{Path: github.String("README.md"), Mode: github.String("100644"), Type: github.String("blob")}, // SHA null: deleted
	})
	if err != nil {
		t.Fatal(err)
	}
	commit, _, err := r.gh.Git.CreateCommit(ctx, "acme", "fleet", &github.Commit{
		Message: github.String("By hand"), Tree: tree, Parents: []*github.Commit{{SHA: &r.sha}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ref := &github.Reference{Ref: github.String("refs/heads/ferry/prod/podinfo/1"), Object: &github.GitObject{SHA: commit.SHA}}
	if _, _, err := r.gh.Git.CreateRef(ctx, "acme", "fleet", ref); err != nil {
		t.Fatal(err)
	}
	_, _, err = r.gh.Git.CreateRef(ctx, "acme", "fleet", ref)
	r.refused(err, 422, "Reference already exists")

	whole, _, err := r.gh.Git.GetTree(ctx, "acme", "fleet", "ferry/prod/podinfo/1", true)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, e := range whole.Entries {
		paths = append(paths, e.GetMode()+" "+e.GetPath())
	}
	want := []string{"040000 apps", "040000 apps/prod", "100644 " + podinfo, "040000 bin", "100755 bin/run"}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
	raw, _, err := r.gh.Git.GetBlobRaw(ctx, "acme", "fleet", blob.GetSHA())
	if err != nil || string(raw) != "#!/bin/sh\n" {
		t.Errorf("blob: %q, %v", raw, err)
	}

	// main moves on, so the commit is no fast-forward any more.
	r.commit("main", "other", "x")
	main := &github.Reference{Ref: github.String("refs/heads/main"), Object: &github.GitObject{SHA: commit.SHA}}
	_, _, err = r.gh.Git.UpdateRef(ctx, "acme", "fleet", main, false)
	r.refused(err, 422, "not a fast forward")
	if _, _, err = r.gh.Git.UpdateRef(ctx, "acme", "fleet", main, true); err != nil || r.head("main") != commit.GetSHA() {
		t.Errorf("forced: %v", err)
	}
	found, _, err := r.gh.Git.ListMatchingRefs(ctx, "acme", "fleet", &github.ReferenceListOptions{Ref: "heads/ferry/"})
	if err != nil || len(found) != 1 || found[0].GetRef() != "refs/heads/ferry/prod/podinfo/1" {
		t.Errorf("matching: %v, %v", found, err)
	}
	if _, err := r.gh.Git.DeleteRef(ctx, "acme", "fleet", "heads/ferry/prod/podinfo/1"); err != nil {
		t.Fatal(err)
	}
	_, _, err = r.gh.Git.GetRef(ctx, "acme", "fleet", "heads/ferry/prod/podinfo/1")
	r.refused(err, 404)
}

func TestHostileTreesAreRefused(t *testing.T) {
	r := unchecked(t)
	for _, e := range []github.TreeEntry{
		{Path: github.String("../out")}, {Path: github.String("/etc/passwd")}, {Path: github.String("a/.GIT/config")}, {Path: github.String("")},
		{Path: github.String("a\x00b")}, {Path: github.String("a"), Mode: github.String("100644 x\ty\x00")}, {Path: github.String("a"), SHA: github.String("--help")},
	} {
		if e.SHA == nil {
			e.Content = github.String("x")
		}
		_, answer, err := r.gh.Git.CreateTree(t.Context(), "acme", "fleet", "", []*github.TreeEntry{&e})
		if answer == nil || answer.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%v: %v", e, err)
		}
	}
	for _, ref := range []string{"refs/heads/../x", "refs/heads/a b", "refs/heads/-x.lock", "main", "refs/heads/a~1", "refs/heads/@{u}"} {
		_, _, err := r.gh.Git.CreateRef(t.Context(), "acme", "fleet", &github.Reference{Ref: &ref, Object: &github.GitObject{SHA: &r.sha}})
		r.refused(err, 422, "invalid")
	}
}

func TestCommitsInPages(t *testing.T) {
	r := start(t)
	for i := range 5 {
		r.commit("main", podinfo, fmt.Sprintf("version: 6.0.%d\n", i+1))
		r.commit("main", "noise", fmt.Sprint(i))
	}
	options := &github.CommitsListOptions{SHA: "main", Path: podinfo, ListOptions: github.ListOptions{PerPage: 4}}
	var messages []string
	for {
		commits, answer, err := r.gh.Repositories.ListCommits(t.Context(), "acme", "fleet", options)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range commits {
			messages = append(messages, c.GetAuthor().GetLogin()+": "+c.GetCommit().GetMessage())
		}
		if answer.NextPage == 0 {
			break
		}
		// The link is to be followed as it is.
		link := answer.Header.Get("Link")
		next, _, _ := strings.Cut(link[strings.Index(link, "<")+1:], ">")
		request, err := r.gh.NewRequest("GET", next, nil)
		if err != nil {
			t.Fatal(err)
		}
		var linked []*github.RepositoryCommit
		if _, err := r.gh.Do(t.Context(), request, &linked); err != nil || len(linked) != 2 {
			t.Errorf("link %s: %d commits, %v", next, len(linked), err)
		}
		options.Page = answer.NextPage
	}
	want := append(slices.Repeat([]string{"alice: Change " + podinfo}, 5), "acme: Initial commit")
	if diff := cmp.Diff(want, messages); diff != "" {
		t.Errorf("commits (-want +got):\n%s", diff)
	}
	_, _, err := r.gh.Repositories.GetCommit(t.Context(), "acme", "fleet", "gone", nil)
	r.refused(err, 422, "No commit found for SHA: gone")
}

func TestOneCommit(t *testing.T) {
	r := start(t)
	sha := r.commit("feature/x", podinfo, "version: 6.1.0\n")
	c, _, err := r.gh.Repositories.GetCommit(t.Context(), "acme", "fleet", "feature/x", nil)
	if err != nil || c.GetSHA() != sha || c.GetStats().GetTotal() != 2 || len(c.Files) != 1 {
		t.Fatalf("got %v, %v", c, err)
	}
	if got, want := c.Files[0].GetPatch(), "@@ -1 +1 @@\n-version: 6.0.0\n+version: 6.1.0"; got != want {
		t.Errorf("patch %q, want %q", got, want)
	}
	if got, _, err := r.gh.Repositories.GetCommitSHA1(t.Context(), "acme", "fleet", "feature/x", ""); err != nil || got != sha {
		t.Errorf("short form: %s, %v", got, err)
	}
}

func TestCompare(t *testing.T) {
	r := start(t)
	r.commit("feature/x", "a", "1")
	for _, tc := range []struct {
		base, head, status string
		ahead, behind      int
	}{
		{"main", "feature/x", "ahead", 1, 0},
		{"feature/x", "main", "behind", 0, 1},
		{"main", r.sha, "identical", 0, 0},
	} {
		got, _, err := r.gh.Repositories.CompareCommits(t.Context(), "acme", "fleet", tc.base, tc.head, nil)
		if err != nil || got.GetStatus() != tc.status || got.GetAheadBy() != tc.ahead || got.GetBehindBy() != tc.behind {
			t.Errorf("%s...%s: %v, %v", tc.base, tc.head, got, err)
		}
	}
	r.commit("main", "b", "1")
	got, _, err := r.gh.Repositories.CompareCommits(t.Context(), "acme", "fleet", "main", "feature/x", nil)
	if err != nil || got.GetStatus() != "diverged" || got.GetMergeBaseCommit().GetSHA() != r.sha || len(got.Files) != 1 {
		t.Errorf("diverged: %v, %v", got, err)
	}
	_, _, err = r.gh.Repositories.CompareCommits(t.Context(), "acme", "fleet", "main", "gone", nil)
	r.refused(err, 404)
}

func TestRules(t *testing.T) {
	r := start(t)
	ctx := t.Context()
	rules := []githubtest.Rule{{Type: "pull_request"}, {Type: "non_fast_forward"}}
	if err := r.hub.SetRules("acme/fleet", "main", rules...); err != nil {
		t.Fatal(err)
	}
	shown, _, err := r.gh.Repositories.GetRulesForBranch(ctx, "acme", "fleet", "main")
	if err != nil || len(shown) != 2 || shown[0].Type != "pull_request" {
		t.Errorf("rules: %v, %v", shown, err)
	}
	if none, _, err := r.gh.Repositories.GetRulesForBranch(ctx, "acme", "fleet", "ferry/not/there"); err != nil || len(none) != 0 {
		t.Errorf("rules of a branch that does not exist: %v, %v", none, err)
	}
	b, _, err := r.gh.Repositories.GetBranch(ctx, "acme", "fleet", "main", 0)
	if err != nil || !b.GetProtected() {
		t.Errorf("branch: %v, %v", b, err)
	}
	const words = "Repository rule violations found\n\nChanges must be made through a pull request."
	_, _, err = r.gh.Repositories.CreateFile(ctx, "acme", "fleet", "new", &github.RepositoryContentFileOptions{
		Message: github.String("x"), Content: []byte("x"), Branch: github.String("main")})
	r.refused(err, 409, words)
	sha := r.commit("feature", "a", "1")
	_, _, err = r.gh.Git.UpdateRef(ctx, "acme", "fleet", &github.Reference{
		Ref: github.String("refs/heads/main"), Object: &github.GitObject{SHA: &sha}}, false)
	r.refused(err, 422, words)
	if got := r.head("main"); got != r.sha {
		t.Errorf("main moved to %s", got)
	}
	if err := r.hub.SetRules("acme/fleet", "locked", githubtest.Rule{Type: "creation"}); err != nil {
		t.Fatal(err)
	}
	_, _, err = r.gh.Git.CreateRef(ctx, "acme", "fleet", &github.Reference{
		Ref: github.String("refs/heads/locked"), Object: &github.GitObject{SHA: &sha}})
	r.refused(err, 422, "creations being restricted")
}

// open opens a pull request with one commit from a new branch.
func (r rig) open(branch, path, content string) *github.PullRequest {
	r.Helper()
	r.commit(branch, path, content)
	p, _, err := r.gh.PullRequests.Create(r.Context(), "acme", "fleet", &github.NewPullRequest{
		Title: github.String("Change " + path), Head: &branch, Base: github.String("main"), Body: github.String("Because.")})
	if err != nil {
		r.Fatal(err)
	}
	return p
}

func TestPullRequestIsOpenedFoundAndClosed(t *testing.T) {
	r := start(t)
	ctx := t.Context()
	p := r.open("ferry/prod/podinfo/1", podinfo, "version: 7.0.0\n")
	if p.GetUser().GetLogin() != "bot" || p.GetState() != "open" || !p.GetMergeable() || p.GetChangedFiles() != 1 || p.GetAdditions() != 1 {
		t.Errorf("opened %v", p)
	}
	create := func(title, head, base string) error {
		_, _, err := r.gh.PullRequests.Create(ctx, "acme", "fleet", &github.NewPullRequest{Title: &title, Head: &head, Base: &base})
		return err
	}
	r.refused(create("x", "acme:ferry/prod/podinfo/1", "main"), 422, "A pull request already exists for acme:ferry/prod/podinfo/1.")
	r.refused(create("x", "main", "main"), 422, "No commits between main and main")
	r.refused(create("x", "gone", "main"), 422, "head", "invalid")
	r.refused(create("x", "main", "gone"), 422, "base", "invalid")

	other := r.open("other", "b", "1")
	numbers := func(o github.PullRequestListOptions) (n []int) {
		list, _, err := r.gh.PullRequests.List(ctx, "acme", "fleet", &o)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			n = append(n, p.GetNumber())
		}
		return n
	}
	closed, _, err := r.gh.PullRequests.Edit(ctx, "acme", "fleet", other.GetNumber(), &github.PullRequest{State: github.String("closed")})
	if err != nil || closed.GetState() != "closed" || closed.GetMerged() {
		t.Errorf("closed: %v, %v", closed, err)
	}
	for _, tc := range []struct {
		options github.PullRequestListOptions
		want    []int
	}{
		{github.PullRequestListOptions{}, []int{1}},
		{github.PullRequestListOptions{State: "all"}, []int{2, 1}},
		{github.PullRequestListOptions{State: "all", Sort: "created", Direction: "asc"}, []int{1, 2}},
		{github.PullRequestListOptions{State: "all", Sort: "updated", Direction: "desc"}, []int{2, 1}},
		{github.PullRequestListOptions{State: "closed"}, []int{2}},
		{github.PullRequestListOptions{State: "all", Head: "acme:other", Base: "main"}, []int{2}},
		{github.PullRequestListOptions{State: "all", Base: "release"}, nil},
		{github.PullRequestListOptions{State: "all", ListOptions: github.ListOptions{PerPage: 1, Page: 2}}, []int{1}},
	} {
		if diff := cmp.Diff(tc.want, numbers(tc.options)); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", tc.options, diff)
		}
	}
	if _, err := r.gh.Git.DeleteRef(ctx, "acme", "fleet", "heads/ferry/prod/podinfo/1"); err != nil {
		t.Fatal(err)
	}
	if p, _, err = r.gh.PullRequests.Get(ctx, "acme", "fleet", 1); err != nil || p.GetState() != "closed" {
		t.Errorf("after its branch was deleted: %v, %v", p, err)
	}
	_, _, err = r.gh.PullRequests.Get(ctx, "acme", "fleet", 3)
	r.refused(err, 404)
}

func TestPullRequestCountsItsOwnChangesOnly(t *testing.T) {
	r := start(t)
	r.commit("old", "a", "1\n")
	r.commit("main", "b", "1\n")
	p := r.open("old", "c", "1\n2\n")
	if p.GetChangedFiles() != 2 || p.GetAdditions() != 3 || p.GetDeletions() != 0 || p.GetCommits() != 2 {
		t.Errorf("%d files, +%d -%d in %d commits", p.GetChangedFiles(), p.GetAdditions(), p.GetDeletions(), p.GetCommits())
	}
}

func TestMerge(t *testing.T) {
	for method, want := range map[string]struct {
		parents int
		message string
	}{
		"merge":  {2, "Merge pull request #1 from acme/feature\n\nChange a"},
		"squash": {1, "Change a (#1)"},
		"rebase": {1, "Change a"},
	} {
		t.Run(method, func(t *testing.T) {
			r := start(t)
			p := r.open("feature", "a", "1\n")
			base := r.commit("main", "b", "1\n") // so that nothing is a fast-forward
			options := &github.PullRequestOptions{SHA: r.sha, MergeMethod: method}
			_, _, err := r.gh.PullRequests.Merge(t.Context(), "acme", "fleet", 1, "", options)
			r.refused(err, 409, "Head branch was modified")
			options.SHA = p.GetHead().GetSHA()
			done, _, err := r.gh.PullRequests.Merge(t.Context(), "acme", "fleet", 1, "", options)
			if err != nil || !done.GetMerged() || done.GetSHA() != r.head("main") {
				t.Fatalf("got %v, %v", done, err)
			}
			c, _, err := r.gh.Repositories.GetCommit(t.Context(), "acme", "fleet", done.GetSHA(), nil)
			if err != nil || len(c.Parents) != want.parents || c.Parents[0].GetSHA() != base || c.GetCommit().GetMessage() != want.message {
				t.Errorf("commit %v, %v", c, err)
			}
			if r.file("main", "a") != "1\n" || r.file("main", "b") != "1\n" {
				t.Error("a side of the merge is lost")
			}
			p, _, err = r.gh.PullRequests.Get(t.Context(), "acme", "fleet", 1)
			if err != nil || !p.GetMerged() || p.GetMergeCommitSHA() != done.GetSHA() || p.GetMergedBy().GetLogin() != "bot" {
				t.Errorf("pull request %v, %v", p, err)
			}
			if yes, _, err := r.gh.PullRequests.IsMerged(t.Context(), "acme", "fleet", 1); err != nil || !yes {
				t.Errorf("merged: %t, %v", yes, err)
			}
			_, _, err = r.gh.PullRequests.Merge(t.Context(), "acme", "fleet", 1, "", nil)
			r.refused(err, 405, "not mergeable")
		})
	}
}

func TestMergeRefused(t *testing.T) {
	r := start(t)
	p := r.open("feature", podinfo, "version: 7.0.0\n")
	if err := r.hub.SetRules("acme/fleet", "main", githubtest.Rule{Type: "pull_request", Parameters: map[string]any{
		"dismiss_stale_reviews_on_push": false, "require_code_owner_review": false, "require_last_push_approval": false,
		"required_approving_review_count": 1, "required_review_thread_resolution": false}}); err != nil {
		t.Fatal(err)
	}
	_, _, err := r.gh.PullRequests.Merge(t.Context(), "acme", "fleet", 1, "", nil)
	r.refused(err, 405, "At least 1 approving review")
	r.commit("main", podinfo, "version: 6.5.0\n")
	if p, _, err = r.gh.PullRequests.Get(t.Context(), "acme", "fleet", p.GetNumber()); err != nil || p.GetMergeable() || p.GetMergeableState() != "dirty" {
		t.Errorf("with a conflict: %v, %v", p, err)
	}
	if _, err := r.hub.MergePullRequest("acme/fleet", 1, "alice", "merge"); err == nil {
		t.Error("a conflict was merged")
	}
	r.commit("feature", podinfo, "version: 6.5.0\n") // a conflict no more
	if _, err := r.hub.MergePullRequest("acme/fleet", 1, "alice", "squash"); err != nil {
		t.Errorf("by a person: %v", err)
	}
}

func TestAccessLog(t *testing.T) {
	r := unchecked(t)
	r.file("main", podinfo)
	_, _, err := r.gh.Organizations.Get(t.Context(), "acme")
	r.refused(err, 501, "does not serve GET /api/v3/orgs/acme")
	var log []string
	for _, e := range r.hub.Requests() {
		log = append(log, e.Login+" "+e.String())
	}
	want := []string{"bot GET /api/v3/repos/acme/fleet/contents/" + podinfo + "?ref=main 200", "bot GET /api/v3/orgs/acme 501"}
	if diff := cmp.Diff(want, log); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

// query posts a GraphQL document and returns the answer as it came.
func (r rig) query(ctx context.Context, document string, variables map[string]any) string {
	r.Helper()
	request, err := r.gh.NewRequest(http.MethodPost, strings.Replace(r.hub.APIURL(), "/v3/", "/graphql", 1),
		map[string]any{"query": document, "variables": variables})
	if err != nil {
		r.Error(err)
		return ""
	}
	var answer strings.Builder
	if _, err := r.gh.Do(ctx, request, &answer); err != nil {
		r.Error(err)
	}
	return answer.String()
}

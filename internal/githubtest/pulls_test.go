package githubtest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-github/v60/github"

	"github.com/ferry-chatops/ferry/internal/githubtest"
)

// must ends a test whose preparation failed.
func (r rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r rig) pull(number int) *github.PullRequest {
	r.Helper()
	p, _, err := r.gh.PullRequests.Get(r.Context(), "acme", "fleet", number)
	r.must(err)
	return p
}

// list is what a poller reads.
func (r rig) list(options ...github.PullRequestListOptions) []*github.PullRequest {
	r.Helper()
	o := github.PullRequestListOptions{State: "all", Sort: "updated", Direction: "desc"}
	if len(options) > 0 {
		o = options[0]
	}
	list, _, err := r.gh.PullRequests.List(r.Context(), "acme", "fleet", &o)
	r.must(err)
	return list
}

func TestPullRequestFromAFork(t *testing.T) {
	r := start(t, githubtest.AnonymousGit())
	r.must(r.hub.Fork("acme/fleet", "carol"))
	push := func(content string) string {
		sha, err := r.hub.Commit("carol/fleet", "fix", "carol", "Fix", map[string]string{podinfo: content})
		r.must(err)
		return sha
	}
	push("version: 7.0.0\n")
	opened, _, err := r.gh.PullRequests.Create(t.Context(), "acme", "fleet", &github.NewPullRequest{
		Title: github.String("Fix"), Head: github.String("carol:fix"), Base: github.String("main")})
	r.must(err)
	if opened.GetHead().GetLabel() != "carol:fix" || !opened.GetHead().GetRepo().GetFork() || opened.GetChangedFiles() != 1 ||
		opened.GetBase().GetRepo().GetFullName() != "acme/fleet" || opened.GetAuthorAssociation() != "CONTRIBUTOR" {
		t.Errorf("opened %v", opened)
	}
	sha := push("version: 7.1.0\n")
	if p := r.pull(1); p.GetHead().GetSHA() != sha {
		t.Errorf("after a push: %v", p.GetHead())
	}
	if got := mustGit(t, t.TempDir(), "", "ls-remote", r.hub.GitURL("acme/fleet"), "refs/pull/1/head"); !strings.HasPrefix(got, sha) {
		t.Errorf("in the base repository: %q", got)
	}
	r.must(r.hub.Delete("carol/fleet"))
	p := r.list()[0]
	if p.GetState() != "open" || p.Head.Repo != nil || p.Head.User != nil || p.Head.Label != nil || p.GetHead().GetSHA() != sha {
		t.Errorf("after the fork is gone: %v", p)
	}
	if _, err := r.hub.MergePullRequest("acme/fleet", 1, "alice", "merge"); err != nil {
		t.Errorf("merged without its fork: %v", err)
	}
}

func TestLabelsDraftsAndTargets(t *testing.T) {
	r := start(t)
	r.open("feature", "a", "1\n")
	r.commit("release", "b", "1\n")
	for _, c := range []githubtest.Change{
		{Do: githubtest.Label, Label: "b & b"}, {Do: githubtest.Label, Label: "a"}, {Do: githubtest.Draft}, {Do: githubtest.Retarget, Base: "release"},
	} {
		c.Repository, c.Number = "acme/fleet", 1
		r.must(r.hub.Apply(c))
	}
	p := r.list()[0]
	if len(p.Labels) != 2 || p.Labels[0].GetName() != "a" || p.Labels[1].GetName() != "b & b" || !p.GetDraft() || p.GetBase().GetRef() != "release" {
		t.Errorf("got %v", p)
	}
	edited, _, err := r.gh.PullRequests.Edit(t.Context(), "acme", "fleet", 1, &github.PullRequest{Base: &github.PullRequestBranch{Ref: github.String("main")}})
	if err != nil || edited.GetBase().GetRef() != "main" {
		t.Errorf("edited: %v, %v", edited, err)
	}
	for _, c := range []githubtest.Change{
		{Do: githubtest.Label, Label: "a"}, {Do: githubtest.Unlabel, Label: "c"}, {Do: githubtest.Draft}, {Do: githubtest.Retarget, Base: "main"},
		{Do: githubtest.Reopen}, {Do: githubtest.Push}, {Do: "nothing"}, {Do: githubtest.Close, Number: 2},
	} {
		c.Repository, c.Number = "acme/fleet", max(c.Number, 1)
		if err := r.hub.Apply(c); err == nil {
			t.Errorf("%+v was possible", c)
		}
	}
}

func TestFilesInPages(t *testing.T) {
	r := start(t)
	dir := t.TempDir()
	mustGit(t, dir, "t0ken", "clone", "--quiet", r.hub.GitURL("acme/fleet"), ".")
	r.must(os.Mkdir(filepath.Join(dir, "many"), 0o755))
	for i := range 3010 {
		r.must(os.WriteFile(filepath.Join(dir, "many", strconv.Itoa(i)), fmt.Appendf(nil, "line %d\n", i), 0o644))
	}
	mustGit(t, dir, "", "add", "many")
	mustGit(t, dir, "", "commit", "--quiet", "-m", "Add")
	mustGit(t, dir, "t0ken", "push", "--quiet", "origin", "HEAD:main")
	mustGit(t, dir, "", "mv", "many", "moved")
	mustGit(t, dir, "", "commit", "--quiet", "-m", "Move")
	mustGit(t, dir, "t0ken", "push", "--quiet", "origin", "HEAD:refs/heads/feature")
	_, _, err := r.gh.PullRequests.Create(t.Context(), "acme", "fleet", &github.NewPullRequest{
		Title: github.String("Move"), Head: github.String("feature"), Base: github.String("main")})
	r.must(err)
	var names []string
	options := &github.ListOptions{PerPage: 100}
	for {
		page, answer, err := r.gh.PullRequests.ListFiles(t.Context(), "acme", "fleet", 1, options)
		r.must(err)
		for _, f := range page {
			if f.GetStatus() != "renamed" || strings.Replace(f.GetFilename(), "moved/", "many/", 1) != f.GetPreviousFilename() {
				t.Fatalf("got %v", f)
			}
			names = append(names, f.GetFilename())
		}
		if options.Page = answer.NextPage; options.Page == 0 {
			break
		}
	}
	if len(slices.Compact(names)) != 3000 {
		t.Errorf("%d files, want GitHub's 3000", len(names))
	}
	if p := r.pull(1); p.GetChangedFiles() != 3010 {
		t.Errorf("%d files in all", p.GetChangedFiles())
	}
	_, _, err = r.gh.PullRequests.ListFiles(t.Context(), "acme", "fleet", 2, nil)
	r.refused(err, 404)
}

func TestRenamedGoneAndBlocked(t *testing.T) {
	for _, kind := range []string{"over Git", "made up"} {
		t.Run(kind, func(t *testing.T) {
			r := start(t)
			if kind == "over Git" {
				r.open("feature", "a", "1\n")
			} else {
				r.must(r.hub.Delete("acme/fleet"))
				r.must(r.hub.MakeUp("acme/fleet"))
				r.must(r.hub.Apply(githubtest.Change{Repository: "acme/fleet", Do: githubtest.Open}))
			}
			repo, _, err := r.gh.Repositories.Get(t.Context(), "acme", "fleet")
			r.must(err)
			r.must(r.hub.Rename("acme/fleet", "armada"))
			if p := r.list()[0]; p.GetBase().GetRepo().GetID() != repo.GetID() || p.GetBase().GetRepo().GetFullName() != "acme/armada" {
				t.Errorf("after the rename: %v", p.GetBase())
			}
			if now, _, err := r.gh.Repositories.GetByID(t.Context(), repo.GetID()); err != nil || now.GetFullName() != "acme/armada" {
				t.Errorf("by its id: %v, %v", now, err)
			}
			r.hub.AddToken("l1mited", "carol", "acme/other")
			_, _, err = client(t, r.hub, "l1mited").Repositories.Get(t.Context(), "acme", "fleet")
			r.refused(err, 404)
			for _, status := range []int{403, 404, 410, 451} {
				r.must(r.hub.Hide("acme/armada", status))
				_, _, err := r.gh.PullRequests.List(t.Context(), "acme", "fleet", nil)
				r.refused(err, status)
			}
			r.must(r.hub.Hide("acme/armada", 0))
			if got := len(r.list()); got != 1 {
				t.Errorf("%d pull requests when it is back", got)
			}
			r.must(r.hub.Delete("acme/armada"))
			_, _, err = r.gh.PullRequests.List(t.Context(), "acme", "fleet", nil)
			r.refused(err, 404)
		})
	}
}

func TestRenamedRepositoryIsCloned(t *testing.T) {
	r := start(t, githubtest.AnonymousGit())
	r.must(r.hub.Rename("acme/fleet", "armada"))
	if got := mustGit(t, t.TempDir(), "", "ls-remote", r.hub.GitURL("acme/fleet"), "refs/heads/main"); !strings.Contains(got, r.sha+"\t") {
		t.Errorf("got %q", got)
	}
}

// TestMadeUpRepository reads all that a repository without Git serves.
func TestMadeUpRepository(t *testing.T) {
	r := start(t)
	r.must(r.hub.MakeUp("acme/thin"))
	apply := func(changes ...githubtest.Change) {
		t.Helper()
		for _, c := range changes {
			c.Repository = "acme/thin"
			r.must(r.hub.Apply(c))
		}
	}
	pull := func(number int) *github.PullRequest {
		t.Helper()
		p, _, err := r.gh.PullRequests.Get(t.Context(), "acme", "thin", number)
		r.must(err)
		return p
	}
	apply(githubtest.Change{Do: githubtest.Open, Author: "carol", Fork: true, Draft: true, Labels: []string{"z", "a"}, Title: "First",
		Files: []githubtest.File{{Name: "apps/a.yaml", Previous: "apps/b.yaml"}}},
		githubtest.Change{Do: githubtest.Open, FileCount: 3500},
		githubtest.Change{Do: githubtest.Open})
	first := pull(1)
	if first.GetHead().GetRepo().GetFullName() != "carol/thin" || !first.GetDraft() || first.Labels[0].GetName() != "a" || first.GetTitle() != "First" ||
		first.GetChangedFiles() != 1 || first.GetBase().GetRepo().GetOpenIssuesCount() != 3 {
		t.Errorf("first %v", first)
	}
	files, _, err := r.gh.PullRequests.ListFiles(t.Context(), "acme", "thin", 1, nil)
	if err != nil || len(files) != 1 || files[0].GetPreviousFilename() != "apps/b.yaml" {
		t.Errorf("files %v, %v", files, err)
	}
	files, answer, err := r.gh.PullRequests.ListFiles(t.Context(), "acme", "thin", 2, &github.ListOptions{PerPage: 100})
	if err != nil || len(files) != 100 || answer.LastPage != 30 || pull(2).GetChangedFiles() != 3500 {
		t.Errorf("%d files, %d pages, %v", len(files), answer.LastPage, err)
	}

	before := pull(3).GetHead().GetSHA()
	compare := func(from, to string) string {
		t.Helper()
		c, _, err := r.gh.Repositories.CompareCommits(t.Context(), "acme", "thin", from, to, nil)
		r.must(err)
		return fmt.Sprintf("%s +%d -%d", c.GetStatus(), c.GetAheadBy(), c.GetBehindBy())
	}
	apply(githubtest.Change{Do: githubtest.Push, Number: 3}, githubtest.Change{Do: githubtest.Push, Number: 3})
	pushed := pull(3).GetHead().GetSHA()
	apply(githubtest.Change{Do: githubtest.ForcePush, Number: 3})
	forced := pull(3).GetHead().GetSHA()
	got := []string{compare(before, pushed), compare(pushed, before), compare(pushed, pushed), compare(pushed, forced), compare("main", forced)}
	want := []string{"ahead +2 -0", "behind +0 -2", "identical +0 -0", "diverged +1 -3", "ahead +1 -0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("compared (-want +got):\n%s", diff)
	}
	_, _, err = r.gh.Repositories.CompareCommits(t.Context(), "acme", "thin", before, strings.Repeat("0", 40), nil)
	r.refused(err, 404)

	tested := pull(2).GetMergeCommitSHA()
	apply(githubtest.Change{Do: githubtest.Merge, Number: 3}, githubtest.Change{Do: githubtest.DeleteFork, Number: 1},
		githubtest.Change{Do: githubtest.Close, Number: 1}, githubtest.Change{Do: githubtest.Star})
	if p := pull(3); !p.GetMerged() || p.GetMergedBy().GetLogin() != "maintainer" || p.GetState() != "closed" || compare("main", p.GetMergeCommitSHA()) != "identical +0 -0" {
		t.Errorf("merged %v", p)
	}
	if p := pull(1); p.Head.Repo != nil || p.GetState() != "closed" || p.GetMerged() || p.GetBase().GetRepo().GetStargazersCount() != 1 {
		t.Errorf("closed %v", p)
	}
	updated := pull(2).GetUpdatedAt() // that somebody looks lets GitHub try the merge again
	if p := pull(2); p.GetMergeCommitSHA() == tested || !p.GetUpdatedAt().Equal(updated) {
		t.Errorf("the test merge: %s, updated %v", p.GetMergeCommitSHA(), p.GetUpdatedAt())
	}
	list, answer, err := r.gh.PullRequests.List(t.Context(), "acme", "thin", &github.PullRequestListOptions{State: "all", Sort: "created",
		Direction: "asc", ListOptions: github.ListOptions{PerPage: 2}})
	if err != nil || len(list) != 2 || list[0].GetNumber() != 1 || answer.NextPage != 2 || !strings.Contains(answer.Header.Get("Link"), "/repositories/") {
		t.Errorf("list %v, %v", list, err)
	}
	if list, _, err = r.gh.PullRequests.List(t.Context(), "acme", "thin", &github.PullRequestListOptions{Head: "acme:change/2"}); err != nil || len(list) != 1 {
		t.Errorf("by head: %v, %v", list, err)
	}
	_, _, err = r.gh.PullRequests.Get(t.Context(), "acme", "thin", 4)
	r.refused(err, 404)
	_, _, _, err = r.gh.Repositories.GetContents(t.Context(), "acme", "thin", "", nil)
	r.refused(err, 501, "of a made-up repository")
}

// TestItemsAreOfRealSize: GitHub's are of 15 to 22 KB.
func TestItemsAreOfRealSize(t *testing.T) {
	r := start(t)
	r.must(r.hub.MakeUp("acme/thin"))
	r.must(r.hub.Apply(githubtest.Change{Repository: "acme/thin", Do: githubtest.Open}))
	var body strings.Builder
	request, err := r.gh.NewRequest("GET", "repos/acme/thin/pulls", nil)
	r.must(err)
	_, err = r.gh.Do(t.Context(), request, &body)
	r.must(err)
	if body.Len() < 15_000 || body.Len() > 22_000 {
		t.Errorf("%d bytes", body.Len())
	}
}

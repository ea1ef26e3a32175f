package githubtest_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ferry-chatops/ferry/internal/githubtest"
)

// git runs the real client with only our configuration and a token, if there is one.
func git(t *testing.T, dir, token string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=dave", "GIT_AUTHOR_EMAIL=dave@example.org", "GIT_COMMITTER_NAME=dave", "GIT_COMMITTER_EMAIL=dave@example.org"}
	if token != "" {
		request, err := http.NewRequest("GET", "http://x", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.SetBasicAuth("x-access-token", token)
		cmd.Env = append(cmd.Env, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.extraHeader",
			"GIT_CONFIG_VALUE_0=Authorization: "+request.Header.Get("Authorization"))
	}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func mustGit(t *testing.T, dir, token string, args ...string) string {
	t.Helper()
	out, err := git(t, dir, token, args...)
	if err != nil {
		t.Fatalf("git %s: %v: %s", args[0], err, out)
	}
	return out
}

func TestCloneAndPush(t *testing.T) {
	r := start(t)
	dir := t.TempDir()
	mustGit(t, dir, "t0ken", "clone", "--quiet", r.hub.GitURL("acme/fleet"), "fleet")
	work := filepath.Join(dir, "fleet")
	large := strings.Repeat("0123456789abcdef", 1<<17) // over http.postBuffer even when packed: sent in chunks
	if err := os.WriteFile(filepath.Join(work, "large"), []byte(large), 0o644); err != nil {
		t.Fatal(err)
	}
	mustGit(t, work, "", "add", "large")
	mustGit(t, work, "", "commit", "--quiet", "-m", "Pushed")
	mustGit(t, work, "t0ken", "-c", "http.postBuffer=1024", "push", "--quiet", "origin", "HEAD:main")
	c, _, err := r.gh.Repositories.GetCommit(t.Context(), "acme", "fleet", "main", nil)
	if err != nil || c.GetCommit().GetMessage() != "Pushed" || c.Author != nil || c.GetCommit().GetAuthor().GetName() != "dave" {
		t.Errorf("commit %v, %v", c, err)
	}
	mustGit(t, work, "", "-c", "user.email=erin@users.noreply.github.test", "commit", "--quiet", "--allow-empty", "-m", "By an account",
		"--author=erin <erin@users.noreply.github.test>")
	mustGit(t, work, "t0ken", "push", "--quiet", "origin", "HEAD:main")
	if c, _, err = r.gh.Repositories.GetCommit(t.Context(), "acme", "fleet", "main", nil); err != nil || c.GetAuthor().GetLogin() != "erin" {
		t.Errorf("commit %v, %v", c, err)
	}

	if err := r.hub.SetRules("acme/fleet", "main", githubtest.Rule{Type: "pull_request"}); err != nil {
		t.Fatal(err)
	}
	mustGit(t, work, "", "commit", "--quiet", "--allow-empty", "-m", "Against the rules")
	out, err := git(t, work, "t0ken", "push", "origin", "HEAD:main")
	if err == nil || !strings.Contains(out, "GH013: Repository rule violations found for refs/heads/main") {
		t.Errorf("push against the rules: %v: %s", err, out)
	}
	mustGit(t, work, "t0ken", "push", "--quiet", "origin", "HEAD:refs/heads/elsewhere")
}

func TestFetchAnyCommitWithoutBlobs(t *testing.T) {
	r := start(t, githubtest.AnonymousGit())
	r.commit("main", "later", "1")
	dir := t.TempDir()
	mustGit(t, dir, "", "init", "--quiet")
	mustGit(t, dir, "", "fetch", "--quiet", "--depth=1", "--filter=blob:none", r.hub.GitURL("acme/fleet"), r.sha)
	if got := mustGit(t, dir, "", "rev-parse", "FETCH_HEAD"); got != r.sha {
		t.Errorf("fetched %s, want %s", got, r.sha)
	}
	r.open("feature", "a", "1")
	if got := mustGit(t, dir, "", "ls-remote", r.hub.GitURL("acme/fleet"), "refs/pull/1/head"); !strings.Contains(got, "refs/pull/1/head") {
		t.Errorf("refs of the pull request: %q", got)
	}
}

func TestGitAccess(t *testing.T) {
	for name, tc := range map[string]struct {
		options    []githubtest.Option
		token      string
		read, push bool
	}{
		"private, nobody":     {nil, "", false, false},
		"private, bad token":  {nil, "bad", false, false},
		"private, token":      {nil, "t0ken", true, true},
		"private, other repo": {nil, "l1mited", false, false},
		"public, nobody":      {[]githubtest.Option{githubtest.AnonymousGit()}, "", true, false},
		"public, bad token":   {[]githubtest.Option{githubtest.AnonymousGit()}, "bad", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, tc.options...)
			r.hub.AddToken("l1mited", "carol", "acme/elsewhere")
			dir := t.TempDir()
			if _, err := git(t, dir, tc.token, "ls-remote", r.hub.GitURL("acme/fleet")); (err == nil) != tc.read {
				t.Errorf("read: %v", err)
			}
			mustGit(t, dir, "", "init", "--quiet")
			mustGit(t, dir, "", "commit", "--quiet", "--allow-empty", "-m", "x")
			if _, err := git(t, dir, tc.token, "push", r.hub.GitURL("acme/fleet"), "HEAD:refs/heads/new"); (err == nil) != tc.push {
				t.Errorf("push: %v", err)
			}
		})
	}
}

// TestSignaturesAreGitHubsAlone: what is pushed is unsigned, whoever it names as author and committer.
func TestSignaturesAreGitHubsAlone(t *testing.T) {
	r := start(t)
	verified := func(ref string) (bool, string) {
		t.Helper()
		c, _, err := r.gh.Repositories.GetCommit(t.Context(), "acme", "fleet", ref, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.GetCommitter().GetLogin() != "web-flow" {
			t.Errorf("%s is committed by %q", ref, c.GetCommitter().GetLogin())
		}
		return c.GetCommit().GetVerification().GetVerified(), c.GetCommit().GetVerification().GetReason()
	}
	dir := t.TempDir()
	mustGit(t, dir, "t0ken", "clone", "--quiet", r.hub.GitURL("acme/fleet"), "fleet")
	work := filepath.Join(dir, "fleet")
	forged := "tree " + mustGit(t, work, "", "rev-parse", "HEAD^{tree}") + "\nparent " + r.sha + "\nauthor bot <bot@users.noreply.github.test> 1790000000 +0000\n" +
		"committer GitHub <noreply@github.com> 1790000000 +0000\n\nForged\n"
	if err := os.WriteFile(filepath.Join(dir, "commit"), []byte(forged), 0o644); err != nil {
		t.Fatal(err)
	}
	sha := mustGit(t, work, "", "hash-object", "-t", "commit", "-w", filepath.Join(dir, "commit"))
	mustGit(t, work, "t0ken", "push", "--quiet", "origin", sha+":refs/heads/forged")
	if is, reason := verified(sha); is || reason != "unsigned" {
		t.Errorf("what was pushed is verified: %v %s", is, reason)
	}
	for _, method := range []string{"merge", "squash", "rebase"} {
		opened := r.open("by-"+method, "apps/"+method+".yaml", "a: 1\n")
		merged, err := r.hub.MergePullRequest("acme/fleet", opened.GetNumber(), "alice", method)
		if err != nil {
			t.Fatal(err)
		}
		// "Rebase and merge" adds commits without a signature.
		if is, _ := verified(merged); is != (method != "rebase") {
			t.Errorf("%s is verified: %v", method, is)
		}
	}
}

func TestOnlyGitsOwnRequestsReachTheRepositories(t *testing.T) {
	r := start(t, githubtest.AnonymousGit())
	root := strings.TrimSuffix(r.hub.APIURL(), "/api/v3/")
	for _, path := range []string{
		"/acme/fleet.git/config", "/acme/fleet.git/HEAD", "/acme/fleet.git/objects/info/packs", "/acme/fleet.git/info/refs",
		"/acme/fleet.git/info/refs?service=git-upload-archive", "/acme/../acme/fleet.git/config", "/%2e%2e/%2e%2e/etc.git/info/refs?service=git-upload-pack",
		"/acme/gone.git/info/refs?service=git-upload-pack", "/acme%2Ffleet.git/hooks/pre-receive", "/",
	} {
		answer, err := http.Get(root + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, answer.Status)
		}
	}
}

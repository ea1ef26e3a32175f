package promotion_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ferry-chatops/ferry/internal/githubtest"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/promotion"
)

func (w *world) protect() {
	w.Helper()
	if err := w.hub.SetRules(repositoryName, "main", githubtest.Rule{Type: "pull_request"}); err != nil {
		w.Fatal(err)
	}
}

func (w *world) merge(number int, method string) {
	w.Helper()
	if _, err := w.hub.MergePullRequest(repositoryName, number, "alice", method); err != nil {
		w.Fatal(err)
	}
}

// api makes a request to GitHub as the owner of a token, past ferry.
func (w *world) api(token, method, path string, body map[string]string) {
	w.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		w.Fatal(err)
	}
	req, err := http.NewRequestWithContext(w.Context(), method, w.hub.APIURL()+"repos/"+repositoryName+path, bytes.NewReader(raw))
	if err != nil {
		w.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/vnd.github+json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode >= 300 {
		w.Fatalf("%s %s: %s", method, path, resp.Status)
	}
}

func TestPullRequest(t *testing.T) {
	for name, tc := range map[string]struct {
		prepare func(*world)
		option  string
		mode    string // on the card
		method  string
	}{
		"by the branch's rules": {(*world).protect, "", "pull request to main, because of its rule pull_request", "merge"},
		"by the option":         {func(*world) {}, " --pr", "pull request to main", "squash"},
		"by the configuration":  {func(w *world) { w.settings("prod").Mode = promotion.PullRequest }, "", "pull request to main", "rebase"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tc.prepare(w)
			main := w.git("rev-parse", "main")
			card := w.card("promote podinfo@7.0.0 to prod" + tc.option)
			if card.Mode != tc.mode || !strings.HasSuffix(card.Confirm, " --pr") {
				t.Errorf("mode %q, %s", card.Mode, card.Confirm)
			}
			o := w.outcome(card.Confirm)
			w.expect(o, promotion.WaitsForMerge, "6.8.0", "7.0.0")
			pr := o.PullRequest
			if o.Commit.SHA != "" || pr.URL == "" || pr.State != "open" || pr.Branch != "ferry/prod/podinfo/id1" || pr.Title != "Promote podinfo to 7.0.0 in prod" {
				t.Errorf("pull request: %+v", pr)
			}
			if t1, ok := gitops.ParseTrailers(pr.Body); !ok || t1.Promotion != "id1" || t1.To != "7.0.0" || t1.RequestedBy != person ||
				!strings.Contains(pr.Body, "```diff\n"+card.Plan.Diff+"```") {
				t.Errorf("body:\n%s", pr.Body)
			}
			if w.git("rev-parse", "main") != main || w.git("diff", "--numstat", "main", pr.Branch) != "1\t1\t"+podinfoFile {
				t.Errorf("refs:\n%s", w.refs())
			}
			waits := w.outcome("status podinfo on prod")
			w.expect(waits, promotion.WaitsForMerge, "6.8.0", "7.0.0")
			if waits.PullRequest.Number != pr.Number {
				t.Errorf("status names %+v", waits.PullRequest)
			}
			if again := w.card("promote podinfo@7.0.1 to prod" + tc.option); len(again.Warnings) != 1 || !strings.Contains(again.Warnings[0], "#1 for it is still open: "+pr.URL) {
				t.Errorf("the second card warns %q", again.Warnings)
			}

			w.merge(pr.Number, tc.method)
			w.follow()
			w.restart()
			done := w.outcome("status podinfo on prod")
			w.expect(done, promotion.Verified, "6.8.0", "7.0.0")
			if done.PullRequest.Number != pr.Number || done.RequestedBy != person || w.commits() != "1" {
				t.Errorf("%s commits, status: %+v", w.commits(), done)
			}
			w.expect(w.confirmed("rollback podinfo on prod"+tc.option), promotion.WaitsForMerge, "7.0.0", "6.8.0")
		})
	}
}

// GitHub can be told to leave out the commits' messages, and with them our trailers.
func TestSquashWithoutTrailers(t *testing.T) {
	w := newWorld(t)
	w.confirmed("promote podinfo@7.0.0 to prod --pr")
	w.api(secret, http.MethodPut, "/pulls/1/merge", map[string]string{"merge_method": "squash", "commit_title": "Podinfo (#1)", "commit_message": "Reviewed."})
	if got := w.git("log", "-1", "--format=%B", "main"); got != "Podinfo (#1)\n\nReviewed." {
		t.Fatalf("the squash says %q", got)
	}
	w.follow()
	o := w.outcome("status podinfo on prod")
	w.expect(o, promotion.Verified, "6.8.0", "7.0.0")
	if o.PullRequest.Number != 1 || o.Commit.SHA != w.git("rev-parse", "main") || o.RequestedBy != person {
		t.Errorf("%+v", o)
	}
	w.confirmed("rollback podinfo on prod --pr")
	w.api(secret, http.MethodPut, "/pulls/2/merge", map[string]string{"merge_method": "squash", "commit_title": "Podinfo (#2)", "commit_message": "Reviewed."})
	w.follow()
	w.expect(w.outcome("status podinfo on prod"), promotion.Verified, "7.0.0", "6.8.0")
	if r := w.refusal("rollback podinfo on prod"); r.Title != "No earlier release" { // and not forward to 7.0.0
		t.Errorf("%v", r)
	}
}

// The time of a rollout begins with the merge, however long the pull request waited.
func TestPullRequestThatWaitedLong(t *testing.T) {
	w := newWorld(t)
	w.cluster.set(func(c *cluster) { c.held = true })
	o := w.confirmed("promote podinfo@7.0.0 to prod --pr")
	branch := "refs/heads/" + o.PullRequest.Branch
	object := w.git("cat-file", "commit", branch)
	yesterday := regexp.MustCompile(`(?m)^(author|committer) (.*>) \d+ .*$`).ReplaceAllString(object, fmt.Sprintf("$1 $2 %d +0000", w.now().Add(-24*time.Hour).Unix()))
	cmd := exec.Command("git", "-C", w.dir, "hash-object", "-t", "commit", "-w", "--stdin")
	cmd.Stdin = strings.NewReader(yesterday + "\n")
	sha, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	w.git("update-ref", branch, strings.TrimSpace(string(sha)))
	w.merge(1, "merge")
	if got := w.git("log", "--format=%an", "--before="+w.now().Add(-time.Hour).Format(time.RFC3339), "main"); got != bot {
		t.Fatalf("old commits by %q", got)
	}
	waits := w.outcome("status podinfo on prod")
	w.expect(waits, promotion.RollingOut, "6.8.0", "7.0.0")
	if waits.Elapsed > time.Hour {
		t.Errorf("after %s", waits.Elapsed)
	}
	w.follow()
	w.expect(w.outcome("status podinfo on prod"), promotion.Verified, "6.8.0", "7.0.0")
}

func TestPullRequestClosedUnmerged(t *testing.T) {
	w := newWorld(t)
	w.confirmed("promote web@1.1.0 to prod")
	w.confirmed("promote podinfo@7.0.0 to prod --pr")
	recent, err := w.service.Recent(t.Context())
	if err != nil || len(recent.Outcomes) != 2 || recent.Outcomes[0].State != promotion.WaitsForMerge || recent.Outcomes[0].PullRequest.Number != 1 {
		t.Errorf("recent: %+v, %v", recent, err)
	}
	w.api(secret, http.MethodPatch, "/pulls/1", map[string]string{"state": "closed"})
	o := w.outcome("status podinfo on prod")
	w.expect(o, promotion.NotMerged, "6.8.0", "7.0.0")
	if !o.Failed() || !strings.Contains(o.Reason, "closed without being merged") {
		t.Errorf("%+v", o)
	}
	if recent, err = w.service.Recent(t.Context()); err != nil || len(recent.Outcomes) != 1 || recent.Outcomes[0].Application.Name != "web" {
		t.Errorf("recent: %+v, %v", recent, err)
	}
	if card := w.card("promote podinfo@7.0.0 to prod --pr"); len(card.Warnings) > 0 {
		t.Errorf("warned of a closed one: %q", card.Warnings)
	}
}

// A pull request by somebody else from a branch that looks like ours is not ours.
func TestForeignPullRequest(t *testing.T) {
	w := newWorld(t)
	w.hub.AddToken("other", "mallory")
	const branch = "ferry/prod/podinfo/forged"
	if _, err := w.hub.Commit(repositoryName, branch, "mallory", "x", map[string]string{"README.md": "mine"}); err != nil {
		t.Fatal(err)
	}
	w.api("other", http.MethodPost, "/pulls", map[string]string{"title": "x", "head": branch, "base": "main",
		"body": gitops.Trailers{Promotion: "forged", Application: "HelmRelease/apps/podinfo", Environment: "prod", From: "1", To: "2"}.String()})
	w.expect(w.outcome("status podinfo on prod"), promotion.NoChange, "6.8.0", "6.8.0")
}

// The rules change after they were read: the commit is refused, and a pull request is opened in its place.
func TestRulesThatComeInBetween(t *testing.T) {
	w := newWorld(t)
	card := w.card("promote podinfo@7.0.0 to prod")
	w.race(w.protect)
	o := w.outcome(card.Confirm)
	w.expect(o, promotion.WaitsForMerge, "6.8.0", "7.0.0")
	if o.PullRequest.Number != 1 || w.commits() != "0" {
		t.Errorf("%s commits, %+v", w.commits(), o)
	}
}

func TestCommitModeNeverOpensAPullRequest(t *testing.T) {
	w := newWorld(t)
	w.settings("prod").Mode = promotion.Commit
	w.protect()
	card := w.card("promote podinfo@7.0.0 to prod")
	r := w.refusal(card.Confirm)
	if r.Code != gitops.Denied || !strings.Contains(r.Reason, "--pr") {
		t.Errorf("%v", r)
	}
	w.expect(w.confirmed("promote podinfo@7.0.0 to prod --pr"), promotion.WaitsForMerge, "6.8.0", "7.0.0")
}

// Two presses of one button open one pull request.
func TestSecondConfirmationOfAPullRequest(t *testing.T) {
	w := newWorld(t)
	card := w.card("promote podinfo@7.0.0 to prod --pr")
	first, second := w.outcome(card.Confirm), w.outcome(card.Confirm)
	if first.PullRequest.Number != 1 || second.PullRequest.Number != 1 || strings.Count(w.refs(), "refs/heads/ferry/") != 1 {
		t.Errorf("#%d and #%d:\n%s", first.PullRequest.Number, second.PullRequest.Number, w.refs())
	}
	w.expect(second, promotion.WaitsForMerge, "6.8.0", "7.0.0")
}

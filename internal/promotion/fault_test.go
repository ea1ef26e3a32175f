package promotion_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ferry-chatops/ferry/internal/githubtest"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/promotion"
)

const mutation = "createCommitOnBranch"

// However GitHub's answer to a write gets lost, there is exactly one commit in the end.
func TestWriteWhoseOutcomeIsUnknown(t *testing.T) {
	for name, faults := range map[string][]githubtest.Fault{
		"written, then 502":               {{Mutation: mutation, Status: 502, Apply: true}},
		"written, then dropped":           {{Mutation: mutation, Drop: true, Apply: true}},
		"not written, 502":                {{Mutation: mutation, Status: 502}},
		"not written, dropped":            {{Mutation: mutation, Drop: true}},
		"not written, then written, lost": {{Mutation: mutation, Status: 503}, {Mutation: mutation, Status: 502, Apply: true}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			card := w.card("promote podinfo@7.0.0 to prod")
			for _, f := range faults {
				w.hub.Fail(f)
			}
			o := w.outcome(card.Confirm)
			w.expect(o, promotion.Verified, "6.8.0", "7.0.0")
			if w.commits() != "1" || o.Commit.SHA != w.git("rev-parse", "main") {
				t.Errorf("%s commits, the answer names %s", w.commits(), o.Commit.SHA)
			}
		})
	}
}

// The commit arrives, its answer does not, and the branch moves on before ferry looks: its own commit is further down.
func TestOwnCommitBelowAnother(t *testing.T) {
	w := newWorld(t)
	card := w.card("promote podinfo@7.0.0 to prod")
	w.intercept(func(r *http.Request, body []byte, next func() *httptest.ResponseRecorder) *httptest.ResponseRecorder {
		answer := next()
		if isWrite(r, body) {
			w.push("alice", "Meanwhile", map[string]string{"README.md": "x\n"})
			return nil
		}
		return answer
	})
	o := w.outcome(card.Confirm)
	w.expect(o, promotion.Verified, "6.8.0", "7.0.0")
	if w.commits() != "2" || o.Commit.SHA != w.git("rev-parse", "main~1") {
		t.Errorf("%s commits, the answer names %s", w.commits(), o.Commit.SHA)
	}
}

// A trailer of the same promotion by somebody else is not our commit.
func TestOwnCommitIsNotSomebodyElses(t *testing.T) {
	w := newWorld(t)
	card := w.card("promote podinfo@7.0.0 to prod")
	forge := sync.OnceFunc(func() {
		w.push("mallory", "x\n\nFerry-Promotion: id1\n", map[string]string{"README.md": "x\n"})
	})
	w.intercept(func(r *http.Request, body []byte, next func() *httptest.ResponseRecorder) *httptest.ResponseRecorder {
		if isWrite(r, body) {
			forge()
		}
		return next()
	})
	w.hub.Fail(githubtest.Fault{Mutation: mutation, Status: 502})
	o := w.outcome(card.Confirm)
	w.expect(o, promotion.Verified, "6.8.0", "7.0.0")
	if o.Commit.Author != bot || !strings.Contains(w.file(podinfoFile), "7.0.0") {
		t.Errorf("outcome: %+v", o)
	}
}

// Whatever GitHub answers, and wherever, the user reads a sentence, and nothing is written by halves.
func TestGitHubThatDoesNotWork(t *testing.T) {
	type match func(r *http.Request, body []byte) bool
	path := func(method, part string) match {
		return func(r *http.Request, _ []byte) bool { return r.Method == method && strings.Contains(r.URL.Path, part) }
	}
	places := map[string]match{
		"head":     path(http.MethodGet, "/git/ref/"),
		"clone":    func(r *http.Request, _ []byte) bool { return strings.HasPrefix(r.URL.Path, "/acme/fleet.git/") },
		"rules":    path(http.MethodGet, "/rules/"),
		"write":    func(_ *http.Request, body []byte) bool { return bytes.Contains(body, []byte(mutation+"(")) },
		"branch":   path(http.MethodPost, "/git/refs"),
		"pull":     path(http.MethodPost, "/pulls"),
		"requests": path(http.MethodGet, "/pulls"),
	}
	branches := regexp.MustCompile(`refs/heads/ferry/.*\n`)
	faults := map[string]int{"dropped": 0, "late": -1}
	for _, status := range []int{401, 403, 404, 409, 422, 429, 500, 503} {
		faults[fmt.Sprint(status)] = status
	}
	for place, matches := range places {
		t.Run(place, func(t *testing.T) {
			w := newWorld(t)
			line := "promote podinfo@7.0.1 to stage --yes"
			if place == "branch" || place == "pull" || place == "requests" {
				line += " --pr"
			}
			for name, status := range faults {
				w.push("alice", name, map[string]string{"README.md": name}) // no commit is known from before
				before := w.refs()
				ctx, cancel := context.WithCancel(t.Context())
				w.intercept(func(r *http.Request, body []byte, next func() *httptest.ResponseRecorder) *httptest.ResponseRecorder {
					switch {
					case !matches(r, body):
						return next()
					case status <= 0 || status >= 500: // ferry tries again: end that soon
						time.AfterFunc(100*time.Millisecond, cancel)
					}
					switch status {
					case -1:
						select {
						case <-r.Context().Done():
						case <-ctx.Done(): // git asks on its own
						}
						return nil
					case 0:
						return nil
					}
					answer := httptest.NewRecorder()
					answer.Header().Set("Content-Type", "application/json; charset=utf-8")
					answer.WriteHeader(status)
					fmt.Fprintf(answer, `{"message": %q, "documentation_url": "https://docs.github.com/rest"}`, http.StatusText(status))
					return answer
				})
				r, err := w.ask(ctx, line)
				cancel()
				refusal, ok := errors.AsType[*gitops.Refusal](err)
				if !ok || refusal.Reason == "" || refusal.Code == gitops.Internal {
					t.Errorf("%s: %+v, %v", name, r, err)
					continue
				}
				if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), base64.StdEncoding.EncodeToString([]byte("x-access-token:"+secret))) {
					t.Errorf("%s: the token is in the error", name)
				}
				after := w.refs()
				if place == "pull" && (status <= 0 || status >= 500) { // it may be open: its branch is left
					after = branches.ReplaceAllString(after, "")
					before = branches.ReplaceAllString(before, "")
				}
				if after != before {
					t.Errorf("%s: written:\n%s", name, after)
				}
			}
			w.intercept(nil)
			w.push("alice", "Repair", map[string]string{"README.md": "repaired"})
			// Once it works again, so does ferry.
			o := w.outcome(line)
			if o.State != promotion.Verified && o.State != promotion.WaitsForMerge {
				t.Errorf("afterwards: %+v", o)
			}
		})
	}
}

// A process that dies before or after any of its writes leaves at most one commit, and the next one tells the truth.
func TestKilledWhileWriting(t *testing.T) {
	for name, tc := range map[string]struct {
		line   string
		writes int
		states map[string]promotion.State // by "WRITE before" or "WRITE after"
	}{
		"commit": {"promote podinfo@7.0.1 to stage --yes", 1, map[string]promotion.State{"1 before": promotion.NoChange, "1 after": promotion.Verified}},
		"pull request": {"promote podinfo@7.0.1 to stage --yes --pr", 3, map[string]promotion.State{
			"1 before": promotion.NoChange, "1 after": promotion.NoChange, "2 before": promotion.NoChange, "2 after": promotion.NoChange,
			"3 before": promotion.NoChange, "3 after": promotion.WaitsForMerge}},
	} {
		for write := 1; write <= tc.writes; write++ {
			for _, moment := range []string{"before", "after"} {
				t.Run(fmt.Sprintf("%s, %d %s", name, write, moment), func(t *testing.T) {
					w := newWorld(t)
					ctx, kill := context.WithCancel(t.Context())
					defer kill()
					n := 0
					w.intercept(func(r *http.Request, body []byte, next func() *httptest.ResponseRecorder) *httptest.ResponseRecorder {
						if !isWrite(r, body) {
							return next()
						}
						n++
						if n != write {
							return next()
						}
						if moment == "after" {
							next()
						}
						kill()
						return nil
					})
					r, err := w.ask(ctx, tc.line)
					if n != write {
						t.Fatalf("%d writes", n)
					}
					if _, ok := errors.AsType[*gitops.Refusal](err); !ok {
						t.Errorf("%+v, %v", r, err)
					}
					w.intercept(nil)
					w.restart()
					w.follow()
					o := w.outcome("status podinfo on stage")
					if want := tc.states[fmt.Sprintf("%d %s", write, moment)]; o.State != want {
						t.Errorf("%s: %s; want %s", o.State, o.Reason, want)
					}
					if got := w.commits(); (got == "1") != (o.State == promotion.Verified) || got != "0" && got != "1" {
						t.Errorf("%s commits", got)
					}
					// Asked again, it comes to one commit or one pull request.
					again := w.outcome(tc.line)
					if again.Failed() || again.State == promotion.RollingOut {
						t.Errorf("again: %+v", again)
					}
					if n := strings.Count(w.refs(), "refs/pull/"); n > 1 || w.commits() > "1" {
						t.Errorf("again: %s commits, %d pull requests", w.commits(), n)
					}
				})
			}
		}
	}
}

// together asks lines at the same time, the writes held back until all that can write are about to.
func (w *world) together(lines ...string) (results []promotion.Result, errs []error) {
	results, errs = make([]promotion.Result, len(lines)), make([]error, len(lines))
	var wg sync.WaitGroup
	for i, line := range lines {
		wg.Go(func() { results[i], errs[i] = w.ask(w.Context(), line) })
	}
	wg.Wait()
	return results, errs
}

func TestTwoPressTheSameButton(t *testing.T) {
	w := newWorld(t)
	card := w.card("promote podinfo@7.0.0 to prod")
	results, errs := w.together(card.Confirm, card.Confirm, card.Confirm)
	verified := 0
	for i, r := range results {
		refusal, refused := errors.AsType[*gitops.Refusal](errs[i])
		switch {
		case refused && (refusal.Code == gitops.Busy || refusal.Code == gitops.Changed):
			if len(refusal.Next) == 0 || refusal.Next[0] != "status podinfo on prod" {
				t.Errorf("refused without a next step: %v", refusal)
			}
		case errs[i] == nil && r.Outcome != nil && r.Outcome.State == promotion.Verified:
			verified++
		case errs[i] == nil && r.Outcome != nil && r.Outcome.State == promotion.AlreadyThere:
		default:
			t.Errorf("%+v, %v", r, errs[i])
		}
	}
	if verified != 1 || w.commits() != "1" {
		t.Errorf("%d are told that it was them, %s commits", verified, w.commits())
	}
}

// The second press looks at a branch to which the first one's commit comes in between: it is no reason to ask again.
func TestSecondPressInBetween(t *testing.T) {
	w := newWorld(t)
	w.later(-time.Minute)
	card := w.card("promote podinfo@7.0.0 to prod")
	w.later(time.Minute)
	once := false
	w.intercept(func(r *http.Request, _ []byte, next func() *httptest.ResponseRecorder) *httptest.ResponseRecorder {
		if strings.HasSuffix(r.URL.Path, "/commits") && !once {
			once = true
			w.expect(w.outcome(card.Confirm), promotion.Verified, "6.8.0", "7.0.0")
		}
		return next()
	})
	r, err := w.ask(t.Context(), card.Confirm)
	if refusal, ok := errors.AsType[*gitops.Refusal](err); !ok || refusal.Code != gitops.Changed || refusal.Next[0] != "status podinfo on prod" || !once {
		t.Errorf("%+v, %v", r.Card, err)
	}
	if w.commits() != "1" {
		t.Errorf("%s commits", w.commits())
	}
}

// While one change is being written, another of the same application is turned away, a rollback too.
func TestOneChangeAtATime(t *testing.T) {
	w := released(t)
	promote, rollback := w.card("promote podinfo@7.0.1 to prod"), w.card("rollback podinfo on prod")
	var refused error
	once := false
	w.intercept(func(r *http.Request, body []byte, next func() *httptest.ResponseRecorder) *httptest.ResponseRecorder {
		if bytes.Contains(body, []byte(mutation+"(")) && !once {
			once = true
			_, refused = w.ask(t.Context(), rollback.Confirm)
		}
		return next()
	})
	w.expect(w.outcome(promote.Confirm), promotion.Verified, "7.0.0", "7.0.1")
	if refusal, ok := errors.AsType[*gitops.Refusal](refused); !ok || refusal.Code != gitops.Busy || refusal.Next[0] != "status podinfo on prod" {
		t.Errorf("the rollback in between: %v", refused)
	}
	// The claim is given back.
	w.expect(w.confirmed("promote podinfo@7.0.0 to prod"), promotion.Verified, "7.0.1", "7.0.0")
}

func TestTwoApplicationsInOneFile(t *testing.T) {
	w := newWorld(t)
	left, right := w.card("promote left@6.9.0 to prod"), w.card("promote right@7.0.0 to prod")
	results, errs := w.together(left.Confirm, right.Confirm)
	for i, r := range results {
		if errs[i] != nil || r.Outcome == nil || r.Outcome.State != promotion.Verified {
			t.Errorf("%+v, %v", r, errs[i])
		}
	}
	file := w.file("more/pair.yaml")
	if w.commits() != "2" || !strings.Contains(file, "version: 6.9.0") || !strings.Contains(file, "version: 7.0.0") {
		t.Errorf("%s commits:\n%s", w.commits(), file)
	}
	for _, commit := range []string{"main", "main~1"} {
		if got := w.git("diff", "--numstat", commit+"~1", commit); got != "1\t1\tmore/pair.yaml" {
			t.Errorf("changed: %s", got)
		}
	}
}

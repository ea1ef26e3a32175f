package operation

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/report"
)

// shelf keeps documents.
type shelf struct {
	mu    sync.Mutex
	all   map[string][]byte
	saved int
	err   error
}

func (s *shelf) Load(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[key], s.err
}

func (s *shelf) Save(_ context.Context, key string, document []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved++
	if s.err == nil {
		s.all[key] = document
	}
	return s.err
}

// hub is commits whose pull request changes; it counts what is asked.
type hub struct {
	commits
	pull  Pull
	delay time.Duration
	asked []string // repositories
	trees int      // fetched
	wrong error
	mu    sync.Mutex
}

func (h *hub) Pull(_ context.Context, repository string, number int) (Pull, error) {
	h.asked = append(h.asked, repository)
	p := h.pull
	p.Repository, p.Number = repository, number
	return p, nil
}

func (h *hub) Branch(_ context.Context, repository, branch, base string) (Pull, error) {
	p := h.pull
	p.Repository, p.Branch, p.Base = repository, branch, base
	return p, nil
}

func (h *hub) Tree(ctx context.Context, repository, sha string) (fs.FS, error) {
	time.Sleep(h.delay) // of a bubble
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trees++
	if h.wrong != nil {
		return nil, h.wrong
	}
	if h.commits[sha] == nil {
		sha = "head"
	}
	return h.commits.Tree(ctx, repository, sha)
}

// desk is one over a world in which a pull request changes one ConfigMap.
func desk(kept Kept) (*Desk, *hub, *world) {
	w := newWorld().write("apps/web.yaml", mapOf("web", "red"), mapOf("web", "blue")).runs(mapOf("web", "red"))
	h := &hub{commits: commits{"base": w.base, "head": w.head}, pull: Pull{State: "open", Branch: "change", Head: "head", Base: "main", BaseCommit: "base"}}
	r := w.reviews(h.commits)
	r.Pulls, r.Now, r.Host, r.Also = h, time.Now, "github.com", nil
	return &Desk{Reviews: r, Kept: kept, Wait: 30 * time.Second}, h, w
}

var seven = gitops.Review{Number: 7, Repository: "acme/fleet"}

func (d *Desk) ask(t *testing.T, asked gitops.Review) report.Card {
	t.Helper()
	got, err := d.Answer(t.Context(), asked)
	if err != nil || got.Card == nil {
		t.Fatalf("%+v, %v", got, err)
	}
	return *got.Card
}

func TestDoubleClicksAreAnsweredOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, h, _ := desk(nil)
		h.delay = 10 * time.Second
		var group sync.WaitGroup
		made := make([]report.Card, 3)
		for i := range made {
			group.Go(func() { made[i] = d.ask(t, gitops.Review{Number: 7, Repository: "acme/fleet", Refresh: i == 2}) })
		}
		group.Wait()
		if h.trees != 2 || !made[0].Made.Equal(made[1].Made) || !made[0].Made.Equal(made[2].Made) || len(made[2].Environments) != 1 {
			t.Errorf("%d trees for %+v", h.trees, made)
		}
	})
}

// TestReportsAreShownAgainWhileTheyAreRight: in memory and by what is kept, of the same commits, scope and for some minutes.
func TestReportsAreShownAgainWhileTheyAreRight(t *testing.T) {
	kept := &shelf{all: map[string][]byte{}}
	for name, where := range map[string]Kept{"memory": nil, "kept": kept} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, h, _ := desk(where)
				first := d.ask(t, seven)
				synctest.Wait() // until it is kept
				trees := 0
				asks := func(what string, asked gitops.Review, anew bool) report.Card {
					t.Helper()
					if where != nil { // another process
						next, _, _ := desk(kept)
						next.Pulls, next.Scope = h, d.Scope
						d = next
					}
					trees = h.trees
					card := d.ask(t, asked)
					synctest.Wait()
					if (h.trees > trees) != anew {
						t.Errorf("%s: made anew: %t", what, !anew)
					}
					return card
				}
				time.Sleep(4 * time.Minute)
				again := asks("again", seven, false)
				if diff := cmp.Diff(first.Report, again.Report); diff != "" {
					t.Errorf("-first +again:\n%s", diff)
				}
				if one := asks("an environment of it", gitops.Review{Number: 7, Repository: "acme/fleet", Environment: "prod"}, false); one.Environment != "prod" || len(one.Environments) != 1 {
					t.Errorf("an environment: %+v", one)
				}
				time.Sleep(2 * time.Minute)
				asks("another page after some minutes", gitops.Review{Number: 7, Repository: "acme/fleet", Environment: "prod", Page: 2, Head: "head"}, false)
				asks("after some minutes", seven, true)
				asks("refreshed", gitops.Review{Number: 7, Repository: "acme/fleet", Refresh: true}, true)
				asks("another pull request", gitops.Review{Number: 8, Repository: "acme/fleet"}, true)
				h.pull.BaseCommit = "base2"
				asks("the base has moved", seven, true)
				asks("once more", seven, false)
				h.pull.Head = "head2"
				if card := asks("the head has moved", gitops.Review{Number: 7, Repository: "acme/fleet", Environment: "prod", Head: "head", Page: 3}, true); card.Page != 0 || len(card.Notes) == 0 || !strings.Contains(card.Notes[0], "has moved from head to head2") {
					t.Errorf("moved: %+v", card)
				}
				d.Scope = "another"
				asks("another identity", seven, true)
			})
		})
	}
}

func TestWhatFailedIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := &shelf{all: map[string][]byte{}}
		d, h, w := desk(kept)
		w.failing = errors.New("connection refused")
		_, err := d.Answer(t.Context(), seven)
		if err == nil {
			t.Fatal("no environment could be asked")
		}
		w.failing = nil
		h.wrong = &gitops.Refusal{Code: gitops.Unreachable, Reason: "GitHub did not answer."}
		if _, err := d.Answer(t.Context(), seven); !errors.Is(err, h.wrong) {
			t.Errorf("without trees: %v", err)
		}
		h.wrong = nil
		d.ask(t, seven)

		d, h, _ = desk(&shelf{err: errors.New("forbidden")})
		d.ask(t, seven)
		trees := h.trees
		if d.ask(t, seven); h.trees != trees {
			t.Error("what cannot be kept is not in memory either")
		}
	})
}

// TestLongWorkSaysSo: the answer does not wait for ever, and the report is there later.
func TestLongWorkSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, h, _ := desk(nil)
		h.delay = 50 * time.Second
		asked := seven
		asked.Environment, asked.Refresh = "prod", true
		got, err := d.Answer(t.Context(), asked)
		want := &Making{What: "acme/fleet #7", Head: "head", For: 30 * time.Second, Line: "diff pr 7 --env prod --repo acme/fleet"}
		if diff := cmp.Diff(want, got.Making); diff != "" || err != nil {
			t.Errorf("%v, -want +got:\n%s", err, diff)
		}
		asked.Refresh = false
		if got, err := d.Answer(t.Context(), asked); err != nil || got.Card == nil || h.trees != 2 {
			t.Errorf("the one that was begun: %+v, %v", got, err)
		}
	})
}

func TestWhatAReviewIsOf(t *testing.T) {
	for name, test := range map[string]struct {
		asked  gitops.Review
		change func(*world, *Reviews)
		code   gitops.Code
		reason string
		next   []string
	}{
		"another host":        {asked: gitops.Review{Number: 7, Host: "gitlab.com", Repository: "acme/fleet"}, code: gitops.Denied, reason: "That link is to gitlab.com, and ferry is configured for github.com."},
		"another repository":  {asked: gitops.Review{Number: 7, Repository: "acme/other"}, code: gitops.Denied, reason: "No environment follows acme/other, so ferry does not read it. They follow acme/fleet."},
		"another environment": {asked: gitops.Review{Number: 7, Environment: "prdo"}, code: gitops.NotFound, reason: "Did you mean prod? ferry knows prod.", next: []string{"diff pr 7 --env prod"}},
		"several": {asked: gitops.Review{Branch: "change"}, change: func(w *world, _ *Reviews) {
			other := w.kustomizations[0]
			other.Source.URL = "https://github.com/acme/apps"
			w.kustomizations = append(w.kustomizations, other)
		}, code: gitops.Ambiguous, reason: "Environments follow several.", next: []string{"diff pr change --repo acme/apps", "diff pr change --repo acme/fleet"}},
		"none": {asked: gitops.Review{Number: 7}, change: func(w *world, _ *Reviews) { w.kustomizations = nil }, code: gitops.Layout, reason: "No environment follows a repository on github.com, so no pull request there changes one."},
		"a cluster": {asked: gitops.Review{Number: 7}, change: func(w *world, _ *Reviews) {
			w.failing = &gitops.Refusal{Code: gitops.Unreachable, Reason: "prod does not answer."}
		}, code: gitops.Unreachable, reason: "prod does not answer."},
		"only it":    {asked: gitops.Review{Number: 7}},
		"its link":   {asked: gitops.Review{Number: 7, Host: "GitHub.com", Repository: "Acme/Fleet"}},
		"one beside": {asked: gitops.Review{Number: 7, Repository: "acme/Charts"}, change: func(_ *world, r *Reviews) { r.Also = []string{"acme/charts"} }},
	} {
		t.Run(name, func(t *testing.T) {
			d, h, w := desk(nil)
			if test.change != nil {
				test.change(w, d.Reviews)
			}
			_, err := d.Answer(t.Context(), test.asked)
			if test.reason == "" {
				if want := map[string]string{"one beside": "acme/charts"}[name]; err != nil || len(h.asked) != 1 || want != "" && h.asked[0] != want || want == "" && h.asked[0] != "acme/fleet" {
					t.Errorf("asked for %q, %v", h.asked, err)
				}
				return
			}
			refusal, ok := errors.AsType[*gitops.Refusal](err)
			if !ok || refusal.Code != test.code || refusal.Reason != test.reason || !slices.Equal(refusal.Next, test.next) {
				t.Errorf("%v, next %q", err, refusal.Next)
			}
			if len(h.asked)+h.trees > 0 {
				t.Errorf("GitHub was asked for %q", h.asked)
			}
		})
	}
}

// TestRemarks are what is said of a pull request beside what it would do.
func TestRemarks(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Pull)
		want   string
		trees  int
	}{
		"draft":  {func(p *Pull) { p.Draft = true }, "The pull request is a draft.", 2},
		"closed": {func(p *Pull) { p.State = "closed" }, "The pull request is closed.", 2},
		"merged": {func(p *Pull) { p.State = "merged" }, "The pull request is merged already: this is what merging its head again would do.", 2},
		"into another branch": {func(p *Pull) { p.Base = "develop" },
			"It is meant for the branch develop of acme/fleet, and no environment follows it. Followed: main (prod).", 0},
	} {
		t.Run(name, func(t *testing.T) {
			d, h, _ := desk(nil)
			test.change(&h.pull)
			card := d.ask(t, seven)
			if !slices.Contains(card.Notes, test.want) || h.trees != test.trees {
				t.Errorf("%q with %d trees", card.Notes, h.trees)
			}
		})
	}
	d, _, _ := desk(nil)
	if card := d.ask(t, gitops.Review{Branch: "change"}); card.Base != "main" || card.Number != 0 {
		t.Errorf("a branch: %+v", card)
	}
}

package github_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/github"
	"github.com/ferry-chatops/ferry/internal/githubtest"
	"github.com/ferry-chatops/ferry/internal/githubtest/contract"
	"github.com/ferry-chatops/ferry/internal/watch"
)

// A poll is a Reader of acme/fleet on a stand-in, where it is made up.
type poll struct {
	*testing.T
	hub *githubtest.Server
	*github.Reader

	mu    sync.Mutex
	token string
}

func polling(t *testing.T) *poll {
	t.Helper()
	p := &poll{T: t, hub: githubtest.Start(t, contract.Check(t)), token: "t0ken"}
	p.hub.AddToken("t0ken", "ferry-bot")
	p.hub.AddToken("an0ther", "ferry-bot")
	if err := p.hub.MakeUp("acme/fleet"); err != nil {
		t.Fatal(err)
	}
	var err error
	p.Reader, err = github.NewReader(github.ReaderConfig{
		BaseURL: strings.TrimSuffix(p.hub.APIURL(), "/api/v3/"), Factor: 1e6,
		Accounts: []github.Account{{Name: "one", Token: func(context.Context) (string, error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.token, nil
		}}},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *poll) apply(c githubtest.Change) {
	p.Helper()
	c.Repository = "acme/fleet"
	if err := p.hub.Apply(c); err != nil {
		p.Fatal(err)
	}
}

// titles are those of a page, or "unchanged", or the kind of trouble.
func (p *poll) titles() (titles []string) {
	p.Helper()
	page, err := p.Pulls(p.Context(), watch.Request{Repository: "acme/fleet"})
	if fault, ok := errors.AsType[*watch.Fault](err); ok {
		return []string{string(fault.Trouble)}
	}
	if err != nil {
		p.Fatal(err)
	}
	if page.Unchanged {
		return []string{"unchanged"}
	}
	for _, pull := range page.Pulls {
		titles = append(titles, pull.Title)
	}
	return titles
}

func (p *poll) expect(titles ...string) {
	p.Helper()
	if diff := cmp.Diff(titles, p.titles()); diff != "" {
		p.Errorf("-want +got:\n%s", diff)
	}
}

// TestPollsOfAnyGitHub are right whatever its ETags are, and cheap where they can be.
func TestPollsOfAnyGitHub(t *testing.T) {
	for _, kind := range []githubtest.ETag{githubtest.PerToken, githubtest.Derived, githubtest.Body, githubtest.Without} {
		for _, wire := range []githubtest.Wire{"", githubtest.Gzip, githubtest.Chunked} {
			for _, weak := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s,%s,%v", kind, wire, weak), func(t *testing.T) {
					p := polling(t)
					p.hub.SetBehaviour(githubtest.Behaviour{ETag: kind, Wire: wire, Weak: weak})
					page, err := p.Pulls(t.Context(), watch.Request{Repository: "acme/fleet"})
					if err != nil || page.Repository == 0 || len(page.Pulls) != 0 {
						t.Fatalf("%+v, %v", page, err)
					}
					p.apply(githubtest.Change{Do: githubtest.Open, Title: "one"})
					p.expect("one")
					p.expect("unchanged")
					p.mu.Lock()
					p.token = "an0ther"
					p.mu.Unlock()
					p.hub.Load(true)
					p.expect("unchanged")
					rotated := maps.Clone(p.hub.Load(true).Statuses)
					p.expect("unchanged")
					p.apply(githubtest.Change{Do: githubtest.Open, Title: "two"})
					p.expect("two", "one")
					after := p.hub.Load(true).Statuses
					want := map[githubtest.ETag][2]map[int]int{
						githubtest.PerToken: {{200: 1}, {304: 1, 200: 1}},
						githubtest.Derived:  {{304: 1}, {304: 1, 200: 1}},
						githubtest.Body:     {{304: 1}, {304: 1, 200: 1}},
						githubtest.Without:  {{200: 1}, {200: 2}},
					}[kind]
					if diff := cmp.Diff(want, [2]map[int]int{rotated, after}); diff != "" {
						t.Errorf("-want +got:\n%s", diff)
					}
				})
			}
		}
	}
}

// TestAnswersThatAreCutOff are told as trouble, and are read again when they come whole.
func TestAnswersThatAreCutOff(t *testing.T) {
	for _, wire := range []githubtest.Wire{githubtest.Truncated, githubtest.TruncatedChunked, githubtest.Halved} {
		t.Run(string(wire), func(t *testing.T) {
			p := polling(t)
			p.apply(githubtest.Change{Do: githubtest.Open, Title: "one"})
			p.expect("one")
			p.apply(githubtest.Change{Do: githubtest.Open, Title: "two"})
			p.hub.SetBehaviour(githubtest.Behaviour{Wire: wire})
			p.expect("failing")
			p.hub.SetBehaviour(githubtest.Behaviour{})
			p.expect("two", "one")
			p.expect("unchanged")
		})
	}
}

// TestAllPages follows GitHub's own links, by both orders, and finds each once.
func TestAllPages(t *testing.T) {
	p := polling(t)
	var want []int
	for n := range 123 {
		p.apply(githubtest.Change{Do: githubtest.Open, Title: fmt.Sprint(n), Fork: n%2 == 0, Author: "bob"})
		want = append(want, n+1)
	}
	p.apply(githubtest.Change{Do: githubtest.DeleteFork, Number: 1})
	for _, open := range []bool{true, false} {
		var got []int
		request := watch.Request{Repository: "acme/fleet", Open: open}
		for {
			page, err := p.Pulls(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			for _, pull := range page.Pulls {
				got = append(got, pull.Number)
				if pull.Repository != "acme/fleet" || pull.Author != "bob" || (pull.Number == 1) != (pull.Head.Repository == "") {
					t.Errorf("%+v", pull)
				}
			}
			if request.Next = page.Next; page.Next == "" {
				break
			}
		}
		if open && !slices.IsSorted(got) {
			t.Errorf("not the oldest first: %v", got)
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("open %v: -want +got:\n%s", open, diff)
		}
	}
}

func TestFilesOfTheStandIn(t *testing.T) {
	p := polling(t)
	p.apply(githubtest.Change{Do: githubtest.Open, Files: []githubtest.File{{Name: "b", Previous: "a"}, {Name: "c"}}})
	p.apply(githubtest.Change{Do: githubtest.Open, FileCount: 3500})
	files, all, err := p.Files(t.Context(), "acme/fleet", 1)
	if diff := cmp.Diff([]watch.File{{Name: "b", Previous: "a"}, {Name: "c"}}, files); diff != "" || !all || err != nil {
		t.Errorf("all %v, %v, -want +got:\n%s", all, err, diff)
	}
	if files, all, err = p.Files(t.Context(), "acme/fleet", 2); len(files) != 3000 || all || err != nil {
		t.Errorf("%d files, all %v, %v", len(files), all, err)
	}
}

func TestForcePushesOfTheStandIn(t *testing.T) {
	p := polling(t)
	head := func() string {
		page, err := p.Pulls(t.Context(), watch.Request{Repository: "acme/fleet", Fresh: true})
		if err != nil {
			t.Fatal(err)
		}
		return page.Pulls[0].Head.SHA
	}
	p.apply(githubtest.Change{Do: githubtest.Open})
	first := head()
	p.apply(githubtest.Change{Do: githubtest.Push, Number: 1})
	second := head()
	p.apply(githubtest.Change{Do: githubtest.ForcePush, Number: 1})
	third := head()
	for _, test := range []struct {
		before, after string
		want          bool
	}{{first, second, false}, {second, third, true}, {second, first, true}} {
		if got, err := p.Diverged(t.Context(), "acme/fleet", test.before, test.after); err != nil || got != test.want {
			t.Errorf("%+v: %v, %v", test, got, err)
		}
	}
}

// TestRepositoriesThatMoveOrGo keep their number, or are trouble of a kind.
func TestRepositoriesThatMoveOrGo(t *testing.T) {
	p := polling(t)
	p.apply(githubtest.Change{Do: githubtest.Open, Title: "one"})
	before, err := p.Pulls(t.Context(), watch.Request{Repository: "acme/fleet"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.hub.Rename("acme/fleet", "ships"); err != nil {
		t.Fatal(err)
	}
	after, err := p.Pulls(t.Context(), watch.Request{Repository: "acme/fleet"})
	if err != nil || after.Repository != before.Repository || after.Name != "acme/ships" {
		t.Errorf("renamed: %+v, %v", after, err)
	}
	p.expect("unchanged")
	for status, want := range map[int]watch.Trouble{403: watch.Forbidden, 404: watch.Gone, 410: watch.Gone, 451: watch.Forbidden} {
		if err := p.hub.Hide("acme/ships", status); err != nil {
			t.Fatal(err)
		}
		p.expect(string(want))
	}
	if err := p.hub.Hide("acme/ships", 0); err != nil {
		t.Fatal(err)
	}
	p.expect("unchanged")
	p.hub.Revoke("ferry-bot")
	p.expect("unauthorised")
}

// TestLimitsOfTheStandIn are seen by one request, the others wait.
func TestLimitsOfTheStandIn(t *testing.T) {
	for name, limits := range map[string]githubtest.Limits{
		"primary":                 {Hourly: 1},
		"secondary":               {PerMinute: 1},
		"secondary, 429":          {PerMinute: 1, Status: 429},
		"secondary, with its end": {PerMinute: 1, RetryAfter: 60e9},
		"silent":                  {PerMinute: 1, Silent: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := polling(t)
			p.apply(githubtest.Change{Do: githubtest.Open, Title: "one"})
			p.hub.SetBehaviour(githubtest.Behaviour{Limits: limits})
			p.expect("one")
			p.apply(githubtest.Change{Do: githubtest.Open, Title: "two"})
			if got := p.titles(); len(got) != 1 || got[0] != "limited" {
				t.Errorf("got %v", got)
			}
			if got := p.Status().Accounts[0]; name != "silent" && name != "secondary" && name != "secondary, 429" && got.State != github.Paused {
				t.Errorf("%+v", got)
			}
		})
	}
}

package githubtest_test

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-github/v60/github"

	"github.com/ferry-chatops/ferry/internal/githubtest"
)

// A poller is the simplest watcher: it reads everything each time, and tells what differs.
type poller struct {
	rig
	seen map[string]*github.PullRequest
	told []githubtest.Told
}

func digest(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text)))[:12] }

func labelsOf(p *github.PullRequest) (names []string) {
	for _, l := range p.Labels {
		names = append(names, l.GetName())
	}
	return names
}

func stateOf(p *github.PullRequest) string {
	if p.MergedAt != nil {
		return "merged"
	}
	return p.GetState()
}

// poll looks once.
func (p *poller) poll(repositories []string) {
	p.Helper()
	first := p.seen == nil
	if first {
		p.seen = map[string]*github.PullRequest{}
	}
	for _, name := range repositories {
		_, short, _ := strings.Cut(name, "/")
		o := &github.PullRequestListOptions{State: "all", ListOptions: github.ListOptions{PerPage: 100}}
		for {
			list, answer, err := p.gh.PullRequests.List(p.Context(), "acme", short, o)
			p.must(err)
			for _, now := range list {
				p.look(now, first)
			}
			if o.Page = answer.NextPage; o.Page == 0 {
				break
			}
		}
	}
}

func (p *poller) look(now *github.PullRequest, first bool) {
	id := fmt.Sprintf("%d#%d", now.GetBase().GetRepo().GetID(), now.GetNumber())
	before := p.seen[id]
	p.seen[id] = now
	tell := func(so bool, kind, version string) {
		if so {
			p.told = append(p.told, githubtest.Told{Key: id + ":" + kind + ":" + version, At: p.hub.Now()})
		}
	}
	sha := now.GetHead().GetSHA()
	if before == nil {
		tell(!first, strings.Replace(stateOf(now), "open", "opened", 1), sha)
		return
	}
	was, is := labelsOf(before), labelsOf(now)
	lacks := func(a, b []string) bool {
		return slices.ContainsFunc(a, func(s string) bool { return !slices.Contains(b, s) })
	}
	tell(stateOf(before) != stateOf(now), strings.Replace(stateOf(now), "open", "reopened", 1), sha)
	tell(before.GetBase().GetRef() != now.GetBase().GetRef(), "retargeted", digest(now.GetBase().GetRef()))
	tell(before.GetHead().GetSHA() != sha, "synchronize", sha)
	tell(before.GetDraft() && !now.GetDraft(), "ready", sha)
	tell(lacks(is, was), "labelled", digest(strings.Join(is, "\n")))
	tell(lacks(was, is), "unlabelled", digest(strings.Join(is, "\n")))
}

// TestJudge lets a simple watcher look now and then while things happen, and breaks what it told in every way.
func TestJudge(t *testing.T) {
	r := start(t, githubtest.Pace(time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), 1))
	plan := githubtest.Plan{Seed: 3, Pulls: 4, Changes: 400, From: r.hub.Now(), Over: 4 * time.Hour, Noise: 0.3, Gap: time.Second}
	for i := range 3 {
		plan.Repositories = append(plan.Repositories, fmt.Sprintf("acme/repo-%d", i))
		r.must(r.hub.MakeUp(plan.Repositories[i]))
	}
	script, err := r.hub.Script(plan)
	r.must(err)
	r.hub.Play(script)
	p := &poller{rig: r}
	watch := githubtest.Watch{Since: r.hub.Now()}
	random := rand.New(rand.NewPCG(1, 1))
	for p.poll(plan.Repositories); !r.hub.Tick().IsZero(); p.poll(plan.Repositories) {
		r.hub.Advance(time.Duration(1+random.IntN(20)) * time.Minute)
	}
	p.poll(plan.Repositories)
	histories := r.hub.Histories()
	if r.hub.Impossible() != 0 {
		t.Errorf("%d changes of the script were impossible", r.hub.Impossible())
	}
	is := watch.Judge(histories, p.told)
	if is.Told != len(p.told) || len(p.told) < 200 || len(is.Lost)+len(is.Repeated)+len(is.Untrue) > 0 {
		t.Fatalf("%d messages, verdict %+v", len(p.told), is)
	}
	if longest := slices.Max(is.Delays); slices.Min(is.Delays) < 0 || longest > 21*time.Minute {
		t.Errorf("delays up to %s, though it looked every 20 minutes", longest)
	}
	watch.Blind = 22 * time.Minute
	if is := watch.Judge(histories, p.told); len(is.Lost)+len(is.Repeated)+len(is.Untrue) > 0 {
		t.Errorf("without overlooking what lasted 22 minutes: %+v", is)
	}
	watch.Blind = 0

	// Each message is needed and none may come twice, but where it can be that a state was not seen: not every loss of the
	// last message about a pull request shows, nor is it always sure what is wrong. What is wrong is never more than one thing.
	last := map[string]int{}
	for i, told := range p.told {
		pull, _, _ := strings.Cut(told.Key, ":")
		last[pull] = i
	}
	sure, all := 0, 0
	try := func(change string, i int, told []githubtest.Told, found func(githubtest.Verdict) []string) {
		t.Helper()
		is := watch.Judge(histories, told)
		if all++; slices.Equal(found(is), []string{p.told[i].Key}) {
			sure++
		}
		if len(is.Lost)+len(is.Repeated)+len(is.Untrue) > 1 {
			t.Errorf("%s %s: lost %v, repeated %v, untrue %v", change, p.told[i].Key, is.Lost, is.Repeated, is.Untrue)
		}
	}
	for _, i := range last {
		try("without", i, slices.Delete(slices.Clone(p.told), i, i+1), func(is githubtest.Verdict) []string { return is.Lost })
	}
	for range 40 {
		i := random.IntN(len(p.told))
		try("twice", i, slices.Insert(slices.Clone(p.told), i, p.told[i]), func(is githubtest.Verdict) []string { return is.Repeated })
	}
	if sure < all*9/10 {
		t.Errorf("of %d losses and repetitions %d were found", all, sure)
	}
	for _, key := range []string{fmt.Sprintf("%d#1:synchronize:%s", histories[0].Repository, strings.Repeat("0", 40)), "1#1:opened:0"} {
		is := watch.Judge(histories, append(slices.Clone(p.told), githubtest.Told{Key: key}))
		if !slices.Equal(is.Untrue, []string{key}) || len(is.Lost)+len(is.Repeated) > 0 {
			t.Errorf("with %s: %+v", key, is)
		}
	}
	// Nobody who is silent gets away with it, but for what happened and was undone.
	if is := watch.Judge(histories, nil); len(is.Lost) < 50 {
		t.Errorf("silence: %d lost", len(is.Lost))
	}
	watch.Blind = time.Second
	if is := watch.Judge(histories, p.told); len(is.Lost) == 0 {
		t.Error("a watcher that has to see everything has lost nothing")
	}
}

func TestScriptIsRepeatable(t *testing.T) {
	hub := githubtest.Start(t, githubtest.Pace(time.Unix(1e9, 0), 1))
	if err := hub.MakeUp("a/b"); err != nil {
		t.Fatal(err)
	}
	write := func(plan githubtest.Plan) []githubtest.Change {
		t.Helper()
		changes, err := hub.Script(plan)
		if err != nil {
			t.Fatal(err)
		}
		return changes
	}
	plan := githubtest.Plan{Seed: 1, Repositories: []string{"a/b"}, Pulls: 3, Changes: 50, From: time.Unix(1e9, 0), Over: time.Hour, Noise: 0.5}
	first, again := write(plan), write(plan)
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("the same plan (-first +again):\n%s", diff)
	}
	plan.Seed = 2
	if cmp.Equal(first, write(plan)) {
		t.Error("another seed makes the same script")
	}
	if !slices.IsSortedFunc(first, func(a, b githubtest.Change) int { return a.At.Compare(b.At) }) {
		t.Error("not in the order of time")
	}
	hub.Play(first)
	hub.Advance(2 * time.Hour)
	plan.Pulls, plan.From, plan.Noise = 0, plan.From.Add(3*time.Hour), 0
	hub.Play(write(plan)) // it goes on with what there is
	hub.Advance(2 * time.Hour)
	if next := hub.Tick(); !next.IsZero() || hub.Impossible() > 0 {
		t.Errorf("next %v, %d changes were impossible", next, hub.Impossible())
	}
	if _, err := hub.Script(githubtest.Plan{Repositories: []string{"a/none"}}); err == nil {
		t.Error("a script for no repository")
	}
}

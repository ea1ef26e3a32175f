package watch

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// script is what happens in the tests that kill, one thing every 90 s, and what is told of it.
var script = []struct {
	number int
	change func(p *PullRequest)
	told   string
}{
	{1, func(*PullRequest) {}, "1 opened"},
	{1, func(p *PullRequest) { p.Head.SHA = sha(7) }, "1 synchronize"},
	{2, func(*PullRequest) {}, "2 opened"},
	{2, func(p *PullRequest) { p.Labels = []string{"bug"} }, "2 labelled"},
	{1, closeIt, "1 closed"},
	{2, mergeIt, "2 merged"},
	{1, reopenIt, "1 reopened"},
}

// killed runs the script with a process that dies at a step, and then with one that lives. It gives how many steps there were.
func killed(t *testing.T, last int) (steps int) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		mortal := newMortal(last)
		w.mortal = mortal
		w.start("slack", "sink")
		restarted := make(chan struct{})
		go func() {
			defer close(restarted)
			select {
			case <-mortal.died:
				w.stop()
				time.Sleep(20 * time.Second)
				w.mortal = nil
				w.start("slack", "sink")
			case <-t.Context().Done():
			}
		}()
		time.Sleep(90 * time.Second)
		var want []string
		for _, s := range script {
			w.github.change("acme/a", s.number, s.change)
			want = append(want, s.told)
			time.Sleep(90 * time.Second)
		}
		time.Sleep(3 * time.Minute)
		select {
		case <-restarted:
		default:
			if last != 0 {
				t.Fatal("the process did not die")
			}
			steps = mortal.taken()
		}
		w.stop()
		for _, stream := range []string{"slack", "sink"} {
			got := w.told(stream)
			repeated := 0
			for i := 1; i < len(got); i++ {
				if got[i] == got[i-1] {
					got = slices.Delete(got, i, i+1)
					i--
					repeated++
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("killed at step %d: %s: %s", last, stream, diff)
			}
			if repeated > 1 {
				t.Errorf("killed at step %d: %s: %d repeated", last, stream, repeated)
			}
		}
	})
	return steps
}

func TestKilledAtAnyStepNothingIsLostAndOneEventRepeatedAtMost(t *testing.T) {
	steps := killed(t, 0)
	if steps < 50 {
		t.Fatalf("%d steps: the script does not do what it should", steps)
	}
	for last := 1; last <= steps; last++ {
		killed(t, last)
		if t.Failed() {
			return
		}
	}
}

// TestChaos lets many things happen in several repositories while GitHub's replicas lag, requests fail and the process is
// killed, and follows each pull request from event to event: each has to begin where the one before ended.
func TestChaos(t *testing.T) {
	seeds := uint64(4)
	if !testing.Short() {
		seeds = 40
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { chaos(t, seed) })
		})
	}
}

func chaos(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t)
	names := []string{"acme/a", "acme/b", "acme/c"}
	for _, n := range names[1:] {
		w.github.create(n)
		w.config.Repositories = append(w.config.Repositories, Repository{Name: n, Rules: w.config.Repositories[0].Rules})
	}
	faults := rand.New(rand.NewPCG(seed, 1))
	replica := 0
	w.github.lag = func() time.Duration { // two replicas, in turn
		replica++
		return time.Duration(replica%2) * time.Duration(replica*7%60) * time.Second
	}
	start := func() {
		w.mortal = newMortal(0)
		w.start("slack")
	}
	start()
	time.Sleep(5 * time.Minute)
	var mutex sync.Mutex
	w.faults(func(string) error {
		mutex.Lock()
		defer mutex.Unlock()
		switch faults.IntN(20) {
		case 0:
			return &Fault{Trouble: Failing, Reason: "502"}
		case 1:
			return &Fault{Trouble: Limited, Reason: "limit", Until: time.Now().Add(20 * time.Second)}
		}
		return nil
	})

	type model struct {
		open, merged bool
		head         int
		base         string
		labels       []string
	}
	pulls := map[string]*model{}
	kills := 0
	for i := range 400 {
		name := names[random.IntN(len(names))]
		number := 1 + random.IntN(30)
		id := fmt.Sprintf("%s#%d", name, number)
		m := pulls[id]
		switch {
		case m == nil:
			pulls[id] = &model{open: true, head: number, base: "main"}
			w.github.change(name, number, func(*PullRequest) {})
		case m.merged:
			w.github.noise(name, number)
		default:
			switch random.IntN(6) {
			case 0, 1:
				m.head = 1000 + i
				w.github.change(name, number, func(p *PullRequest) { p.Head.SHA = sha(m.head) })
			case 2:
				m.labels = append(slices.Clone(m.labels), fmt.Sprint("label-", 1000+i))
				w.github.change(name, number, func(p *PullRequest) { p.Labels = m.labels })
			case 3:
				m.base = fmt.Sprint("base-", i)
				w.github.change(name, number, func(p *PullRequest) { p.Base.Ref = m.base })
			case 4:
				if m.open {
					w.github.change(name, number, closeIt)
				} else {
					w.github.change(name, number, reopenIt)
				}
				m.open = !m.open
			case 5:
				if m.open && random.IntN(3) == 0 {
					m.open, m.merged = false, true
					w.github.change(name, number, mergeIt)
				}
			}
		}
		if random.IntN(25) == 0 {
			w.mortal.kill()
			w.stop()
			kills++
			time.Sleep(time.Duration(random.IntN(120)) * time.Second)
			start()
		}
		time.Sleep(time.Duration(random.IntN(40_000)) * time.Millisecond)
	}
	time.Sleep(30 * time.Minute)
	w.stop()

	seen := map[string]*model{}
	last := map[string]Event{}
	repeated := 0
	for _, e := range w.events("slack") {
		if e.PullRequest == nil {
			continue
		}
		id := fmt.Sprintf("%s#%d", e.Repository, e.PullRequest.Number)
		was := last[id]
		if was.Key == e.Key && was.Found.Equal(e.Found) {
			repeated++
			continue
		}
		last[id] = e
		m := seen[id]
		wrong := func(what string, args ...any) {
			t.Errorf("%s: %s %s: %s", id, e.Kind, e.Key, fmt.Sprintf(what, args...))
		}
		if m == nil {
			if e.Kind != Opened && e.Kind != Merged && e.Kind != Closed {
				wrong("is the first")
			}
			m = &model{}
			seen[id] = m
		}
		switch e.Kind {
		case Opened:
			if m.head != 0 {
				wrong("again")
			}
		case Synchronize:
			if e.Before != sha(m.head) {
				wrong("from %s, and it was at %s", e.Before, sha(m.head))
			}
		case Retargeted:
			if e.Before != m.base {
				wrong("from %s, and it was at %s", e.Before, m.base)
			}
		case Labelled:
			if slices.ContainsFunc(e.Added, func(l string) bool { return slices.Contains(m.labels, l) }) {
				wrong("%v again", e.Added)
			}
		case Unlabelled:
			wrong("nobody did that")
		case Reopened:
			if m.open && !was.Found.Equal(e.Found) || m.merged {
				wrong("was not closed")
			}
		case Closed, Merged:
			if was.Key != "" && !m.open && e.Kind == Closed && !was.Found.Equal(e.Found) || m.merged && !was.Found.Equal(e.Found) {
				wrong("was closed")
			}
		}
		// A look tells each aspect by an event of its own.
		if m.head == 0 || e.Kind == Synchronize {
			_, _ = fmt.Sscanf(e.PullRequest.Head.SHA, "%x", &m.head)
		}
		if m.base == "" || e.Kind == Retargeted {
			m.base = e.PullRequest.Base.Ref
		}
		if e.Kind == Opened || e.Kind == Labelled || e.Kind == Closed && was.Key == "" || e.Kind == Merged && was.Key == "" {
			m.labels = e.PullRequest.Labels
		}
		m.open = e.PullRequest.State == "open"
		m.merged = !e.PullRequest.Merged.IsZero()
	}
	for id, m := range pulls {
		s := seen[id]
		if s == nil {
			t.Errorf("%s: nothing was told", id)
			continue
		}
		if s.open != m.open || s.merged != m.merged || s.head != m.head || s.base != m.base || !slices.Equal(s.labels, m.labels) {
			t.Errorf("%s: told %+v, is %+v", id, *s, *m)
		}
	}
	if repeated > kills {
		t.Errorf("%d events were repeated by %d kills", repeated, kills)
	}
	t.Logf("%d pull requests, %d events, %d kills, %d repeated", len(pulls), len(w.events("slack")), kills, repeated)
}

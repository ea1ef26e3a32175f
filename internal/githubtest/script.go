package githubtest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// A Plan is what a script is made from. The same plan gives the same script, if there is the same before it.
type Plan struct {
	Seed         uint64
	Repositories []string // made up
	// Pulls is how many more pull requests each repository has from the start, a third of them closed.
	Pulls int
	// Changes happen after From, spread over a time at random, some in the same second.
	Changes int
	From    time.Time
	Over    time.Duration
	// Noise is the part of the changes, 0 to 1, of which a watcher tells nothing.
	Noise float64
	// Gap is the least time between two changes of one pull request.
	Gap time.Duration
}

// A sketch is what a script has to know of a pull request, so that it asks for nothing impossible.
type sketch struct {
	open, merged, draft, fork, gone bool
	base                            string
	labels                          []string
	changed                         time.Time
}

var (
	someLabels  = []string{"bug", "do not merge", "size/XL", "staging", "🚀"}
	someAuthors = []string{"alice", "bob", "carol", "renovate[bot]", "dave-0"}
	someBases   = []string{"main", "release/1.0", "release/2.0"}
	// Titles are strangers' texts.
	someTitles = []string{"Bump podinfo to 6.5.1", "@here <!channel> look", "[click](https://example.org) `rm -rf`", "{{ .Secret }}", "Übung: 日本語 \u202e", "*bold* _it_ | table |"}
)

// Script makes changes up, in the order of their times, which begin with what there is.
func (s *Server) Script(p Plan) ([]Change, error) {
	random := rand.New(rand.NewPCG(p.Seed, 7))
	w := writer{random: random, pulls: map[string][]*sketch{}, plan: p}
	if err := w.begin(s); err != nil {
		return nil, err
	}
	for _, name := range p.Repositories {
		for n := range p.Pulls {
			at := p.From.Add(-time.Hour * time.Duration(p.Pulls-n+1))
			w.add(name, at, Open)
			if n%3 == 2 {
				w.add(name, at.Add(time.Minute), pick(random, []Action{Close, Merge}))
			}
		}
	}
	times := make([]time.Duration, p.Changes)
	for i := range times {
		times[i] = time.Duration(random.Int64N(int64(max(p.Over, 1))))
		if i > 0 && random.IntN(10) == 0 {
			times[i] = times[i-1]
		}
	}
	slices.Sort(times)
	for _, after := range times {
		at := p.From.Add(after)
		for !w.happen(at) { // another one: what was drawn is impossible
		}
	}
	slices.SortStableFunc(w.changes, func(a, b Change) int { return a.At.Compare(b.At) })
	return w.changes, nil
}

// begin takes down what there is.
func (w *writer) begin(s *Server) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.catchUp()
	for _, name := range w.plan.Repositories {
		r, err := s.repository(name)
		if err != nil {
			return err
		}
		for _, p := range r.pulls {
			w.pulls[name] = append(w.pulls[name], &sketch{open: p.state == "open", merged: !p.merged.IsZero(), draft: p.draft, base: p.base,
				fork: p.source != nil && p.source != r, gone: p.source == nil, labels: slices.Clone(p.labels), changed: p.updated})
		}
	}
	return nil
}

func pick[T any](random *rand.Rand, from []T) T { return from[random.IntN(len(from))] }

type writer struct {
	plan    Plan
	random  *rand.Rand
	pulls   map[string][]*sketch
	changes []Change
}

// likely actions, each as often as it is likely.
var likely = func() []Action {
	var all []Action
	for action, times := range map[Action]int{
		Open: 14, Push: 18, ForcePush: 5, Ready: 6, Draft: 3, Label: 12, Unlabel: 9, Retarget: 4, Close: 7, Reopen: 4, Merge: 8,
	} {
		all = append(all, slices.Repeat([]Action{action}, times)...)
	}
	slices.Sort(all)
	return all
}()

var noise = []Action{Retitle, Comment, Comment, Star, Star, PushAside, TestMerge, DeleteFork}

// happen draws a change; false if it cannot be.
func (w *writer) happen(at time.Time) bool {
	action := pick(w.random, likely)
	if w.random.Float64() < w.plan.Noise {
		action = pick(w.random, noise)
	}
	return w.add(pick(w.random, w.plan.Repositories), at, action)
}

// add adds a change to a repository, of any of its pull requests for which it is possible; false if there is none.
func (w *writer) add(name string, at time.Time, action Action) bool {
	c, pulls := Change{At: at, Repository: name, Do: action}, w.pulls[name]
	var s *sketch
	switch action {
	case Star, PushAside:
		w.changes = append(w.changes, c)
		return true
	case Open:
		s = &sketch{open: true, draft: w.random.IntN(4) == 0, fork: w.random.IntN(4) == 0, base: pick(w.random, someBases)}
		for _, label := range someLabels {
			if w.random.IntN(5) == 0 {
				s.labels = append(s.labels, label)
			}
		}
		c.Author, c.Draft, c.Fork, c.Base, c.Labels = pick(w.random, someAuthors), s.draft, s.fork, s.base, slices.Clone(s.labels)
		c.Title, c.FileCount = pick(w.random, someTitles), 1+w.random.IntN(20)
		if w.random.IntN(2000) == 0 {
			c.FileCount = 3500
		}
		w.pulls[name] = append(pulls, s)
	default:
		from := 0 // a pull request is tried by chance, then those after it
		if len(pulls) > 0 {
			from = w.random.IntN(len(pulls))
		}
		for i := range pulls {
			n := (from + i) % len(pulls)
			if at.Sub(pulls[n].changed) >= w.plan.Gap && pulls[n].allows(action) {
				s, c.Number = pulls[n], n+1
				break
			}
		}
		if s == nil {
			return false
		}
	}
	s.changed = at
	switch action {
	case Ready, Draft:
		s.draft = action == Draft
	case Label:
		c.Label = pick(w.random, without(someLabels, s.labels))
		s.labels = append(s.labels, c.Label)
	case Unlabel:
		c.Label = pick(w.random, s.labels)
		s.labels = without(s.labels, []string{c.Label})
	case Retarget:
		s.base = pick(w.random, without(someBases, []string{s.base}))
		c.Base = s.base
	case Close, Merge:
		s.open, s.merged = false, action == Merge
	case Reopen:
		s.open = true
	case DeleteFork:
		s.fork, s.gone = false, true
	case Retitle:
		c.Title = fmt.Sprintf("%s, again", pick(w.random, someTitles))
	case Push, ForcePush:
		c.FileCount = 1 + w.random.IntN(20)
	}
	w.changes = append(w.changes, c)
	return true
}

// allows says whether something can happen. A pull request without its fork is left alone, for who knows.
func (s *sketch) allows(action Action) bool {
	switch action {
	case Push, ForcePush, TestMerge, Retarget, Close:
		return s.open
	case Merge:
		return s.open && !s.draft
	case Ready:
		return s.open && s.draft
	case Draft:
		return s.open && !s.draft
	case Label:
		return len(s.labels) < len(someLabels)
	case Unlabel:
		return len(s.labels) > 0
	case Reopen:
		return !s.open && !s.merged && !s.gone
	case DeleteFork:
		return s.fork && !s.open
	}
	return true
}

// without gives the names that others lack.
func without(names, others []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(others, n) })
}

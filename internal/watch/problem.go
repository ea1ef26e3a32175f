package watch

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// severalAt is how many repositories with the same trouble at the same time are one event.
	severalAt = 4
	// allAgain is how long the first of several that can be read again wait for the others.
	allAgain = 10 * time.Minute
)

// lasting says whether trouble is worth telling of: not what may be over with the next look.
func (t *trouble) lasting(now time.Time, scaled func(time.Duration) time.Duration) bool {
	switch t.Trouble {
	case Unauthorised:
		return true
	case Gone, Forbidden:
		return t.tries >= 2
	case Limited:
		return now.Sub(t.since) >= scaled(15*time.Minute)
	}
	return t.tries >= 5
}

// report puts events on record for the problems that came and went since people were told. Lost is a sentence about state that
// could not be read; empty without.
func (w *Watcher) report(ctx context.Context) error {
	now := w.ports.Now()
	w.mutex.Lock()
	facts := map[string]trouble{}
	healthy := map[string]time.Time{} // since when
	for _, s := range w.watched {
		switch {
		case s.trouble != nil && s.trouble.lasting(now, w.scaled):
			facts[s.name] = *s.trouble
		case s.trouble == nil && !s.LastSuccess.IsZero():
			healthy[s.name] = s.recovered
		}
	}
	lost := w.losses
	w.mutex.Unlock()

	common := w.state.get("")
	problems := maps.Clone(common.Common.Problems)
	if problems == nil {
		problems = map[string]told{}
	}
	came, went := map[Trouble][]string{}, map[Trouble][]string{}
	since := map[string]time.Time{}
	changed := false
	for repository, t := range facts {
		if problems[repository].Trouble != t.Trouble {
			came[t.Trouble] = append(came[t.Trouble], repository)
			since[repository] = t.since
			problems[repository] = told{t.Trouble, t.since}
		}
	}
	waiting := w.waiting(problems, healthy, now)
	for repository, t := range problems {
		_, well := healthy[repository]
		switch {
		case well && waiting[t.Trouble]:
		case well:
			went[t.Trouble] = append(went[t.Trouble], repository)
			since[repository] = t.Since
			delete(problems, repository)
		case !w.configured(name(repository)) && !w.config.Partial:
			changed = true
			delete(problems, repository)
		}
	}
	var events []Event
	for _, text := range lost {
		events = append(events, Event{Key: ":problem:lost", Kind: Problem, Problem: &ProblemFacts{Trouble: Lost, Reason: text, Since: now}})
	}
	for _, t := range slices.Sorted(maps.Keys(came)) {
		events = append(events, grouped(Problem, t, came[t], since, func(repository string) string { return facts[repository].reason })...)
	}
	for _, t := range slices.Sorted(maps.Keys(went)) {
		events = append(events, grouped(Solved, t, went[t], since, func(repository string) string { return repository + " can be read again." })...)
	}
	if len(events) == 0 && !changed {
		return nil
	}
	to := w.state.addressees()
	var entries []entry
	for _, e := range events {
		e.Found, e.FileCount = now, -1
		entries = append(entries, newEntry(w.newID(), e, to))
	}
	err := w.state.commit(ctx, w.state.all()[0], "", common.Generation, func(r *record) bool {
		c := *r.Common
		c.Problems, r.Common = problems, &c
		r.Outbox = append(slices.Clone(r.Outbox), entries...)
		return true
	})
	if err != nil {
		return fmt.Errorf("put problems on record: %w", err)
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.losses = w.losses[len(lost):]
	return nil
}

// waiting says for which troubles it is too early to tell who can be read again, since several were concerned and some are.
func (w *Watcher) waiting(problems map[string]told, healthy map[string]time.Time, now time.Time) map[Trouble]bool {
	concerned, ill := map[Trouble]int{}, map[Trouble]int{}
	first := map[Trouble]time.Time{}
	for repository, t := range problems {
		concerned[t.Trouble]++
		since, well := healthy[repository]
		if !well {
			ill[t.Trouble]++
		} else if first[t.Trouble].IsZero() || since.Before(first[t.Trouble]) {
			first[t.Trouble] = since
		}
	}
	waiting := map[Trouble]bool{}
	for t, n := range concerned {
		waiting[t] = n >= severalAt && ill[t] > 0 && now.Sub(first[t]) < w.scaled(allAgain)
	}
	return waiting
}

// grouped makes one event of each repository, or one of all if they are several: when GitHub is down, nobody wants to hear of it
// a thousand times.
func grouped(kind Kind, t Trouble, repositories []string, since map[string]time.Time, reason func(repository string) string) []Event {
	slices.Sort(repositories)
	if len(repositories) < severalAt {
		var events []Event
		for _, r := range repositories {
			events = append(events, Event{
				Key: r + ":" + string(kind) + ":" + string(t), Kind: kind, Repository: r,
				Problem: &ProblemFacts{Trouble: t, Repositories: []string{r}, Reason: reason(r), Since: since[r]},
			})
		}
		return events
	}
	first := slices.MinFunc(repositories, func(a, b string) int { return cmp.Or(since[a].Compare(since[b]), strings.Compare(a, b)) })
	text := fmt.Sprintf("%d repositories can be read again.", len(repositories))
	if kind == Problem {
		text = fmt.Sprintf("%d repositories cannot be read; %s: %s", len(repositories), first, reason(first))
	}
	return []Event{{
		Key: ":" + string(kind) + ":" + string(t), Kind: kind,
		Problem: &ProblemFacts{Trouble: t, Repositories: repositories, Reason: text, Since: since[first]},
	}}
}

package githubtest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A History is all that became of a pull request of a made-up repository, by the script's own account.
type History struct {
	Repository int64 // its id
	Number     int
	States     []State
}

// A State is what of a pull request events can be about.
type State struct {
	At     time.Time // it begins, on the stand-in's clock
	State  string    // open, closed or merged
	Draft  bool
	SHA    string
	Base   string
	Labels []string // sorted
}

// Histories are those of all pull requests of made-up repositories.
func (s *Server) Histories() []History {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.catchUp()
	var all []History
	for id := int64(0); len(s.ids) > 0 && id < int64(len(s.ids)); id++ {
		r := s.ids[1000+id]
		if r == nil || !r.madeUp() {
			continue
		}
		for i, moments := range r.made.moments {
			h := History{Repository: r.id, Number: i + 1}
			for _, m := range moments {
				p := m.pull
				state := State{At: r.made.facts[m.fact].at, State: p.state, Draft: p.draft, SHA: p.headSHA, Base: p.base, Labels: p.labels}
				if !p.merged.IsZero() {
					state.State = "merged"
				}
				if n := len(h.States); n == 0 || !state.same(h.States[n-1]) {
					h.States = append(h.States, state)
				}
			}
			all = append(all, h)
		}
	}
	return all
}

func (s State) same(o State) bool {
	return s.State == o.State && s.Draft == o.Draft && s.SHA == o.SHA && s.Base == o.Base && slices.Equal(s.Labels, o.Labels)
}

// transitions are what a watcher has to tell that saw one state and then another; before is nil if it is new to it. Each is
// KIND:VERSION.
func transitions(before *State, now State) []string {
	digest := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return hex.EncodeToString(sum[:])[:12]
	}
	if before == nil {
		kind := now.State
		if kind == "open" {
			kind = "opened"
		}
		return []string{kind + ":" + now.SHA}
	}
	var all []string
	tell := func(so bool, kind, version string) {
		if so {
			all = append(all, kind+":"+version)
		}
	}
	labels := digest(strings.Join(now.Labels, "\n"))
	tell(before.State != "open" && now.State == "open", "reopened", now.SHA)
	tell(before.Base != now.Base, "retargeted", digest(now.Base))
	tell(before.SHA != now.SHA, "synchronize", now.SHA)
	tell(before.Draft && !now.Draft, "ready", now.SHA)
	tell(len(without(now.Labels, before.Labels)) > 0, "labelled", labels)
	tell(len(without(before.Labels, now.Labels)) > 0, "unlabelled", labels)
	tell(before.State != now.State && now.State != "open", now.State, now.SHA)
	return all
}

// A Told is a message that a watcher told: its event key, REPOSITORY-ID#NUMBER:KIND:VERSION, and when it arrived on the
// stand-in's clock.
type Told struct {
	Key string
	At  time.Time
}

// A Watch is what is known of a watcher.
type Watch struct {
	// Since is when it had seen everything for the first time, which it does not tell. Of what happened within Slack before
	// and after, it may have seen as much as it likes; zero: two minutes.
	Since time.Time
	Slack time.Duration
	// Blind is how long a state may last at most without being seen; zero: any state but the last may be missed, as one look
	// comes after another.
	Blind time.Duration
}

// A Verdict is what became of what a watcher had to tell.
type Verdict struct {
	Told     int      // as it should be
	Lost     []string // keys
	Repeated []string
	Untrue   []string // told, though it never happened so
	// Delays are how long after it happened, for the last time before it was seen, it was told; of what was told as it should be.
	Delays []time.Duration
}

// Judge holds what a watcher told to what happened. A watcher looks now and then, so that what happened and was undone
// between two looks, or happened twice, need not be told: for each pull request there must be looks that explain the
// messages, in their order. It chooses those looks which leave least unexplained.
func (w Watch) Judge(histories []History, told []Told) Verdict {
	if w.Slack == 0 {
		w.Slack = 2 * time.Minute
	}
	byPull := map[string][]Told{}
	for _, t := range told {
		pull, _, _ := strings.Cut(t.Key, ":")
		byPull[pull] = append(byPull[pull], t)
	}
	var v Verdict
	for _, h := range histories {
		pull := fmt.Sprintf("%d#%d", h.Repository, h.Number)
		w.one(&v, pull, h.States, byPull[pull])
		delete(byPull, pull)
	}
	for _, rest := range byPull { // of no pull request that there is
		for _, t := range rest {
			v.Untrue = append(v.Untrue, t.Key)
		}
	}
	slices.Sort(v.Untrue)
	return v
}

// A step is the best way to where a watcher has seen a state, and so many messages are explained.
type step struct {
	cost     int           // what is lost and what is too much
	late     time.Duration // between states and the messages about them
	from, at int           // the step before: its state, -1 for none, and its messages; -2 as state: there is none
	reached  bool
}

// one judges a pull request by the cheapest way to its end; of several, by that with the quickest messages.
func (w Watch) one(v *Verdict, pull string, states []State, told []Told) {
	n, m := len(states), len(told)
	if n == 0 {
		return
	}
	kinds := make([]string, m)
	for i, t := range told {
		_, kinds[i], _ = strings.Cut(t.Key, ":")
	}
	// Row 0 is a pull request that was not seen yet; row i+1 the one whose state i was seen.
	grid := make([][]step, n+1)
	for i := range grid {
		grid[i] = make([]step, m+1)
	}
	reach := func(i, k, cost int, late time.Duration, from, at int) {
		if s := &grid[i][k]; !s.reached || cost < s.cost || cost == s.cost && late < s.late {
			*s = step{cost, late, from, at, true}
		}
	}
	early, late := w.Since.Add(-w.Slack), w.Since.Add(w.Slack)
	if states[0].At.After(early) { // it may have been new
		reach(0, 0, 0, 0, -1, 0)
	}
	for i, s := range states {
		ended := i+1 < n && !states[i+1].At.After(early)
		if !s.At.After(late) && !ended {
			reach(i+1, 0, 0, 0, -1, 0)
		}
	}
	for i := range grid {
		for k := 0; k <= m; k++ {
			here := grid[i][k]
			if !here.reached {
				continue
			}
			if k < m {
				reach(i, k+1, here.cost+1, here.late, i, k) // a message too many
			}
			for j := i + 1; j <= n; j++ {
				if w.Blind > 0 && j-1 > i && states[j-1].At.Sub(states[j-2].At) >= w.Blind {
					break // state j-2 lasted too long to be missed
				}
				due := w.due(states, i, j)
				for used := 0; used <= len(due)+2 && k+used <= m; used++ { // two may be too many among them
					if used > 0 && told[k].At.Before(states[j-1].At) {
						continue // it was told before it was so
					}
					matched := common(due, kinds[k:k+used])
					late := here.late
					for _, t := range told[k : k+used] {
						late += t.At.Sub(states[j-1].At)
					}
					reach(j, k+used, here.cost+len(due)+used-2*matched, late, i, k)
				}
			}
		}
	}
	for i, k := n, m; ; {
		s := grid[i][k]
		if s.from < 0 {
			break
		}
		v.explain(w, pull, states, told, kinds, s.from, i, s.at, k)
		i, k = s.from, s.at
	}
}

// due is what has to be told between two rows.
func (w Watch) due(states []State, i, j int) []string {
	if i == 0 {
		return transitions(nil, states[j-1])
	}
	return transitions(&states[i-1], states[j-1])
}

// common counts what two lists have in common.
func common(a, b []string) int {
	count, rest := 0, slices.Clone(b)
	for _, x := range a {
		if i := slices.Index(rest, x); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
			count++
		}
	}
	return count
}

// explain adds one step to the verdict: from row i to j, by the messages from k to l.
func (v *Verdict) explain(w Watch, pull string, states []State, told []Told, kinds []string, i, j, k, l int) {
	var due []string
	if j > i {
		due = w.due(states, i, j)
	}
	for x := k; x < l; x++ {
		if at := slices.Index(due, kinds[x]); at >= 0 {
			due = slices.Delete(due, at, at+1)
			v.Told++
			v.Delays = append(v.Delays, told[x].At.Sub(began(states, i, j, kinds[x])))
			continue
		}
		if slices.Contains(kinds[:x], kinds[x]) || slices.Contains(kinds[x+1:], kinds[x]) {
			v.Repeated = append(v.Repeated, told[x].Key)
		} else {
			v.Untrue = append(v.Untrue, told[x].Key)
		}
	}
	for _, lost := range due {
		v.Lost = append(v.Lost, pull+":"+lost)
	}
}

// began is when something happened for the last time between two rows, of which the later one saw it.
func began(states []State, i, j int, transition string) time.Time {
	kind, _, _ := strings.Cut(transition, ":")
	for x := j - 1; x > 0 && x >= i; x-- {
		for _, t := range transitions(&states[x-1], states[x]) {
			if strings.HasPrefix(t, kind+":") {
				return states[x].At
			}
		}
	}
	return states[i].At
}

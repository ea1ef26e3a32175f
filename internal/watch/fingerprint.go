package watch

import (
	"slices"
	"time"
)

// A fingerprint is all of a pull request that an event can be about. What else there is changes by itself: the repository's
// stars, the test merge, comments (ferry's own too).
type fingerprint struct {
	Number  int       `json:"n"`
	State   string    `json:"s"` // stateOpen, stateClosed, stateMerged
	Draft   bool      `json:"d,omitempty"`
	Head    string    `json:"h"`
	Base    string    `json:"b"`
	Labels  []string  `json:"l,omitempty"` // sorted
	Updated time.Time `json:"u"`           // by GitHub's clock, as are all but those that say otherwise
	Closed  time.Time `json:"c,omitzero"`
	// Told is the head at which it was told of because it is open.
	Told string `json:"t,omitempty"`
}

const (
	stateOpen   = "o"
	stateClosed = "c"
	stateMerged = "m"
)

func printOf(p *PullRequest) fingerprint {
	f := fingerprint{
		Number: p.Number, State: stateOpen, Draft: p.Draft, Head: p.Head.SHA, Base: p.Base.Ref,
		Labels: slices.Sorted(slices.Values(p.Labels)), Updated: p.Updated, Closed: p.Closed,
	}
	switch {
	case !p.Merged.IsZero():
		f.State = stateMerged
	case p.State != "open":
		f.State = stateClosed
	}
	return f
}

// same says whether there is no difference that an event could be about. That a pull request became a draft is recorded,
// though no event tells of it.
func (f fingerprint) same(o fingerprint) bool {
	return f.State == o.State && f.Draft == o.Draft && f.Head == o.Head && f.Base == o.Base && slices.Equal(f.Labels, o.Labels)
}

// Windows of GitHub's own times.
const (
	// young is how long before the cursor a pull request may have been created that is not known, and still be new.
	young = 24 * time.Hour
	// remembered is how long a closed pull request is known, so that reopening it is seen as that.
	remembered = 7 * 24 * time.Hour
	// lag is how far GitHub's replicas are apart at most.
	lag = 2 * time.Minute
)

// changed lists what happened to a pull request between two fingerprints, in the order in which it is told. Without a former
// one, the pull request is not among those known, which are all that were open and those closed lately: it is new if it was
// created after fresh.
func changed(before *fingerprint, now fingerprint, created, fresh time.Time) []Kind {
	var kinds []Kind
	if before == nil {
		switch isNew := created.After(fresh); {
		case now.State == stateOpen && isNew:
			return []Kind{Opened}
		case now.State == stateOpen:
			return []Kind{Reopened}
		case now.State == stateMerged && isNew:
			return []Kind{Merged}
		case isNew:
			return []Kind{Closed}
		}
		return nil // closed long ago, and somebody commented
	}
	if before.State != stateOpen && now.State == stateOpen {
		kinds = append(kinds, Reopened)
	}
	if before.Base != now.Base {
		kinds = append(kinds, Retargeted)
	}
	if before.Head != now.Head {
		kinds = append(kinds, Synchronize)
	}
	if before.Draft && !now.Draft {
		kinds = append(kinds, Ready)
	}
	if len(without(now.Labels, before.Labels)) > 0 {
		kinds = append(kinds, Labelled)
	}
	if len(without(before.Labels, now.Labels)) > 0 {
		kinds = append(kinds, Unlabelled)
	}
	switch {
	case now.State == stateMerged && before.State != stateMerged:
		kinds = append(kinds, Merged)
	case now.State == stateClosed && before.State != stateClosed:
		kinds = append(kinds, Closed)
	}
	return kinds
}

// without gives the names that others lack.
func without(names, others []string) []string {
	var rest []string
	for _, n := range names {
		if !slices.Contains(others, n) {
			rest = append(rest, n)
		}
	}
	return rest
}

package github

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// errUncovered says that no account is for an owner.
var errUncovered = errors.New("no credential is for this owner")

// accountsFor gives the account for a repository, always the same, and the one to use while GitHub limits or rejects
// that one; nil where there is none.
func (r *Reader) accountsFor(owner, name string) (first, second *account) {
	for _, wanted := range [...]bool{true, false} { // those that name the owner come first
		for _, a := range r.accounts {
			serves, named := a.serves(owner)
			switch {
			case !serves || named != wanted:
			case first == nil:
				first = a
			case second == nil && a.ready() && r.covers(a, name):
				second = a
			}
		}
	}
	return first, second
}

// covers says that a second account is not known to see nothing of a repository.
func (r *Reader) covers(a *account, name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.clock.now().After(r.uncovered[a.Name+"\n"+name])
}

// An AccountState is what polls may do with an account.
type AccountState string

// The states of an account.
const (
	Good   AccountState = "good"
	Paused AccountState = "paused" // a limit, or what is left of the budget is kept for commands
	Dead   AccountState = "dead"   // GitHub rejects the credential
)

// An AccountStatus is how an account fares.
type AccountStatus struct {
	Name    string
	State   AccountState
	Reason  string    // of a state that is not good
	Until   time.Time // when a paused one goes on, by our clock
	Budgets []Budget  // by resource
	Counts  Counts
}

// A Status is how a Reader fares.
type Status struct {
	Accounts []AccountStatus
	// Entries are the answers that are kept, Memory and Disk their bytes.
	Entries      int
	Memory, Disk int64
	// Computing says that GitHub's ETags are those that ferry computes, so that a new token costs nothing.
	Computing bool
}

// Status tells it without a request.
func (r *Reader) Status() Status {
	var s Status
	for _, a := range r.accounts {
		counts, budgets := a.gate.told()
		is := AccountStatus{Name: a.Name, State: Good, Counts: counts,
			Budgets: slices.SortedFunc(maps.Values(budgets), func(x, y Budget) int { return cmp.Compare(x.Resource, y.Resource) })}
		if until, why := a.gate.state(); !until.IsZero() {
			is.State, is.Reason, is.Until = Paused, sentence(why), until
		}
		a.mu.Lock()
		if a.dead != nil {
			why := a.dead.why.Error()
			if refusal, ok := errors.AsType[*gitops.Refusal](a.dead.why); ok {
				why = refusal.Reason
			}
			is.State, is.Reason, is.Until = Dead, why, time.Time{}
		}
		a.mu.Unlock()
		s.Accounts = append(s.Accounts, is)
	}
	s.Entries, s.Memory, s.Disk = r.cache.store.size()
	s.Computing, _ = r.cache.guard.may()
	return s
}

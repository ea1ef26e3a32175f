package watch

import (
	"context"
	"time"
)

// GitHub is what watch asks of GitHub. An implementation keeps limits, credentials and unchanged answers to itself: a request
// waits in it for its turn, and those that ask first are answered first.
type GitHub interface {
	// Pulls reads one page of a repository's pull requests. An error is one of the kinds of Trouble where it can be told.
	Pulls(ctx context.Context, request Request) (Page, error)
	// Files lists what a pull request changes at a head, all pages of it. All is false where GitHub lists no more than its
	// maximum of 3,000.
	Files(ctx context.Context, repository string, number int) (files []File, all bool, err error)
	// Diverged says whether a branch that moved from one commit to another was rewritten: a force-push.
	Diverged(ctx context.Context, repository, before, after string) (bool, error)
}

// A Request is for one page of a repository's pull requests.
type Request struct {
	Repository string // owner/name, as configured
	// Open asks for all that are open, oldest first; otherwise all are meant, those that changed last first.
	Open bool
	Next string // of the page before; empty for the first
	// Fresh reads the page even if it is known to be unchanged.
	Fresh bool
}

// A Page holds pull requests in GitHub's order.
type Page struct {
	Unchanged  bool   // since it was read last through this GitHub; all but Interval is empty then
	Repository int64  // GitHub's number of it, which a rename does not change
	Name       string // its present owner/name where it is told
	Pulls      []PullRequest
	Next       string        // where more follow
	Interval   time.Duration // before GitHub wants to be asked again; 0 where it does not say
}

// A PullRequest is one, as GitHub's list describes it. Every text in it is a stranger's.
type PullRequest struct {
	Repository string // owner/name
	Number     int
	URL        string // of its page
	Title      string
	Author     string // login; empty where the account is gone
	State      string // open or closed
	Draft      bool
	Labels     []string // sorted
	Head, Base Side
	Created    time.Time
	Updated    time.Time
	Closed     time.Time // zero while it is open
	Merged     time.Time // zero where it was not merged
	// Raw is GitHub's own description, JSON, for templates and for those who get events as data.
	Raw []byte
}

// A Side is one of the two branches of a pull request.
type Side struct {
	Repository string // owner/name; empty where a fork is gone
	Ref        string // branch, without refs/heads/
	SHA        string
}

// A File is one that a pull request changes.
type File struct {
	Name     string
	Previous string // its name before, where it was renamed
}

// A Trouble is why GitHub gave no answer that can be used.
type Trouble string

// The kinds of trouble.
const (
	Gone         Trouble = "gone"         // 404, 410: there is none, or the credential may not see it
	Forbidden    Trouble = "forbidden"    // 403 without a limit, 451
	Unauthorised Trouble = "unauthorised" // 401 that a new token does not mend: the credential is dead
	Limited      Trouble = "limited"      // a primary or secondary limit: the credential pauses
	Failing      Trouble = "failing"      // 5xx, a broken or truncated answer, no connection
)

// A Fault is a Trouble with its reason.
type Fault struct {
	Trouble Trouble
	Reason  string    // a sentence for people, without secrets
	Until   time.Time // no earlier try helps; zero where it is not known
	Err     error
}

// Error is the reason.
func (f *Fault) Error() string { return f.Reason }

// Unwrap gives what happened below.
func (f *Fault) Unwrap() error { return f.Err }

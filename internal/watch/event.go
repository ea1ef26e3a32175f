package watch

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Kind is what happened.
type Kind string

// The kinds of events. A pull request has one event for each aspect in which it differs from what was seen before: what
// happened and was undone between two looks is not told.
const (
	Opened      Kind = "opened"
	Reopened    Kind = "reopened"
	Retargeted  Kind = "retargeted"  // it has another base branch
	Synchronize Kind = "synchronize" // its branch has another head, GitHub's word for it
	Ready       Kind = "ready"       // it is a draft no more
	Labelled    Kind = "labelled"
	Unlabelled  Kind = "unlabelled"
	Closed      Kind = "closed" // without being merged
	Merged      Kind = "merged"

	Problem Kind = "problem" // something keeps ferry from seeing what happens
	Solved  Kind = "solved"
)

// An Event is what people are told, once per stream.
type Event struct {
	// Key is "ID#NUMBER:KIND:VERSION". ID is GitHub's number of the repository, VERSION what KIND is about: the first 12
	// digits of SHA-256 over the sorted labels, joined by newlines, for labelled and unlabelled; of SHA-256 over the base
	// branch for retargeted; otherwise the head's SHA. It is the same however often something is found, so people can tell a
	// repetition from news. For problem and solved it is "REPOSITORY:KIND:TROUBLE"; REPOSITORY is missing where several are
	// concerned.
	Key        string
	Kind       Kind
	Repository string    // owner/name; empty for a problem that is no single repository's
	Found      time.Time // by our clock
	Rule       string    // the first that matches: its path in the configuration; empty for problems

	PullRequest *PullRequest `json:",omitempty"` // as it was found; nil for problems
	Before      string       `json:",omitempty"` // head before synchronize, base branch before retargeted
	Forced      bool         `json:",omitempty"` // the branch was rewritten, not continued
	Added       []string     `json:",omitempty"` // labels
	Removed     []string     `json:",omitempty"` // labels
	// FileCount is how many files it changes, -1 where that was not asked or not answered. Files are they; there may be none
	// where they took too much room on record.
	FileCount int
	Files     []File `json:",omitempty"`

	Problem *ProblemFacts `json:",omitempty"` // for problem and solved
	Notes   []string      `json:",omitempty"` // sentences about what ferry could not find out
}

// ProblemFacts are those of a problem that came or went.
type ProblemFacts struct {
	Trouble      Trouble
	Repositories []string // concerned, sorted; empty where all are
	Reason       string   // a sentence
	Since        time.Time
}

// Lost is the Trouble of stored state that is gone or cannot be read.
const Lost Trouble = "lost"

// key is an Event's Key for a pull request.
func key(repository int64, p *PullRequest, kind Kind) string {
	version := p.Head.SHA
	switch kind {
	case Labelled, Unlabelled:
		version = digest(strings.Join(slices.Sorted(slices.Values(p.Labels)), "\n"))
	case Retargeted:
		version = digest(p.Base.Ref)
	}
	return fmt.Sprintf("%d#%d:%s:%s", repository, p.Number, kind, version)
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])[:12]
}

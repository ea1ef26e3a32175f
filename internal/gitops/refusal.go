package gitops

import (
	"fmt"
	"strings"
)

// A Code classes a refusal for programs; the reason says it in words.
type Code string

// The codes of a refusal.
const (
	NotFound      Code = "not-found"
	Ambiguous     Code = "ambiguous"
	Shared        Code = "shared"
	BadVersion    Code = "bad-version"
	NoSuchVersion Code = "no-such-version"
	Range         Code = "range"
	Digest        Code = "digest"
	Alias         Code = "alias"
	DuplicateKey  Code = "duplicate-key"
	Secret        Code = "secret"
	NotYAML       Code = "not-yaml"
	Layout        Code = "layout"
	NotInGit      Code = "not-in-git"
	NotWritable   Code = "not-writable"
	OutsideSource Code = "outside-source"
	BranchOnly    Code = "branch-only"
	Template      Code = "template"
	Unproved      Code = "unproved"

	// Beyond locating and editing:

	Usage       Code = "usage"       // the line could not be read
	Unreachable Code = "unreachable" // a cluster or GitHub did not answer
	Denied      Code = "denied"      // a cluster, GitHub or the configuration forbids it
	Changed     Code = "changed"     // what was confirmed is not what would be done now
	Expired     Code = "expired"     // a confirmation came too late
	Config      Code = "config"      // the configuration is absent or wrong
	Busy        Code = "busy"        // something else is under way for the same application
	Internal    Code = "internal"    // a fault of ferry's own
)

// A Candidate is a version field among which --field chooses: as FILE:PATH.
type Candidate struct {
	File  string      `json:"file"`
	Line  int         `json:"line"`
	Path  string      `json:"path"`
	Kind  VersionKind `json:"kind"`
	Value string      `json:"value"`
}

// String is the candidate as a line for people.
func (c Candidate) String() string {
	return fmt.Sprintf("%s:%d: %s is %q (%s)", c.File, c.Line, c.Path, c.Value, c.Kind)
}

// A Refusal is an expected failure, told to the user: what is the matter and what to do next. It is an error, so that
// it travels like one, and it is a message, so it is worded for people.
type Refusal struct {
	Code Code `json:"code"`
	// Title is a short headline without a full stop; empty: the code's own.
	Title string `json:"title,omitempty"`
	// Reason is one or two whole sentences.
	Reason string `json:"reason"`
	// Details are what the reason speaks of, a line each: candidates, versions, files.
	Details []string `json:"details,omitempty"`
	// Candidates are the fields that could be meant, where one has to be chosen.
	Candidates []Candidate `json:"candidates,omitempty"`
	// AlsoFeeds and AlsoChanges are, of a change with code Shared, the other environments and what else in its own that it
	// would reach: for programs, the reason says so in words.
	AlsoFeeds, AlsoChanges []string `json:"-"`
	// Snippet is text to copy as it is, configuration above all; its line breaks and blanks count.
	Snippet string `json:"snippet,omitempty"`
	// Next are commands to try, without the bot's name: "list podinfo". The first is offered as a button too.
	Next []string `json:"next,omitempty"`
	// Cause is for the log alone: it is not shown.
	Cause error `json:"-"`
}

// Error gives code, reason and cause, for logs.
func (r *Refusal) Error() string {
	s := string(r.Code) + ": " + r.Reason
	if len(r.Details) > 0 {
		s += " (" + strings.Join(r.Details, "; ") + ")"
	}
	if r.Cause != nil {
		s += ": " + r.Cause.Error()
	}
	return s
}

// Unwrap gives the cause.
func (r *Refusal) Unwrap() error { return r.Cause }

// Headline is the title, or a general one for the code.
func (r *Refusal) Headline() string {
	if r.Title != "" {
		return r.Title
	}
	switch r.Code {
	case Usage:
		return "That is not a command"
	case Ambiguous:
		return "Which one?"
	case Unreachable:
		return "No answer"
	case Changed:
		return "This changed in the meantime"
	case Expired:
		return "This confirmation has expired"
	case Config:
		return "ferry is not configured for this"
	case Internal:
		return "ferry made a mistake"
	case NotFound, NoSuchVersion:
		return "Not found"
	default:
		return "Not done"
	}
}

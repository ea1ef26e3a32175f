package gitops

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// An Edit replaces the text of one scalar in one file.
type Edit struct {
	File string `json:"file"` // in the repository, slash-separated
	Line int    `json:"line"` // 1-based, of the scalar
	Path string `json:"path"` // in the file: "spec.chart.spec.version", "images[0].newTag"
	// Kind is what the version counts.
	Kind VersionKind `json:"kind"`
	Old  string      `json:"old"`
	New  string      `json:"new"`
}

// A Rendered change is one field of one object that differs between the builds before and after an edit.
type Rendered struct {
	Object Object `json:"object"`
	Path   string `json:"path"`
	Old    string `json:"old"`
	New    string `json:"new"`
}

// A Plan is the exact edit and what it will do.
type Plan struct {
	Application Key         `json:"application"`
	Kind        VersionKind `json:"kind"`
	VersionName string      `json:"versionName"` // the chart or image that the version counts
	Repository  string      `json:"repository"`  // owner/name
	Branch      string      `json:"branch"`
	From        string      `json:"from"` // the version in Git now
	To          string      `json:"to"`
	Edits       []Edit      `json:"edits"`
	Shared      []string    `json:"shared,omitempty"`   // other environments that the same bytes feed
	Rendered    []Rendered  `json:"rendered,omitempty"` // in the application's environment
	// Elsewhere is what changes in the environments of Shared.
	Elsewhere map[string][]Rendered `json:"elsewhere,omitempty"`
	// Digests stand, by environment, for the same changes with what is masked in them, so that the hash is bound to it too.
	Digests map[string]string `json:"digests,omitempty"`
	// Blind are sentences about what could not be read or built, of which it is not known whether the same bytes feed it.
	Blind []string `json:"blind,omitempty"`
	// PullRequest says how it gets into the branch: by a pull request, or by a commit.
	PullRequest bool `json:"pullRequest,omitempty"`
	// RollbackOf names the promotion, or else the commit, that a rollback undoes; empty for a promotion.
	RollbackOf string `json:"rollbackOf,omitempty"`

	// What follows is not part of the hash.

	Base    string   `json:"-"` // the commit it was planned on
	Diff    string   `json:"-"` // unified diff of the files
	Lines   Lines    `json:"-"`
	Follow  []string `json:"-"` // sentences about other applications whose version the same field states
	Content []File   `json:"-"` // the files after the edit
	Unseen  []string `json:"-"` // the environments that Blind is about
}

// Lines counts those of all files that differ after a plan's edits.
type Lines struct{ Changed, Added, Removed int }

// A File is a file's whole content.
type File struct {
	Path    string
	Content []byte
}

// Hash identifies what a user agrees to: SHA-256 over the plan's facts, 32 hex digits of it. Neither the base
// commit nor live state is part of it, so a branch that moved elsewhere is no reason to ask again; nor are line numbers,
// which move with what stands above.
func (p Plan) Hash() string {
	p.Edits = slices.Clone(p.Edits)
	for i := range p.Edits {
		p.Edits[i].Line = 0
	}
	raw, err := json.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("encode plan: %v", err)) // strings and slices of them: cannot fail
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:16])
}

// Trailers are the audit lines at the end of a commit message, one spelling for all. Empty values are left out.
type Trailers struct {
	Promotion   string // random id, made at confirm
	Home        string // UID of the home cluster's kube-system namespace
	Application string // KIND/NAMESPACE/NAME
	Environment string
	From, To    string
	RollbackOf  string
	RequestedBy string
	ApprovedBy  string
	Reason      string
}

var lineBreaks = regexp.MustCompile(`[\s\p{C}]+`)

// calls are what GitHub acts on in a commit message, as the bot: mentions, issues that are closed or linked, and words
// such as [skip ci]. A zero-width space behind makes them plain text.
var calls = regexp.MustCompile(`[@#\[]|://|(?i)gh-`)

// fields gives names and values in the order they are written.
func (t *Trailers) fields() []struct {
	name  string
	value *string
} {
	return []struct {
		name  string
		value *string
	}{
		{"Ferry-Promotion", &t.Promotion}, {"Ferry-Home", &t.Home}, {"Ferry-Application", &t.Application},
		{"Ferry-Environment", &t.Environment}, {"Ferry-From", &t.From}, {"Ferry-To", &t.To}, {"Ferry-Rollback-Of", &t.RollbackOf},
		{"Ferry-Requested-By", &t.RequestedBy}, {"Ferry-Approved-By", &t.ApprovedBy}, {"Ferry-Reason", &t.Reason},
	}
}

// String gives the trailers, a line each with its line end. Values lose line breaks and control characters, so that
// nobody writes a trailer of their own through a reason or a name.
func (t Trailers) String() string {
	var b strings.Builder
	for _, f := range t.fields() {
		v := strings.TrimSpace(lineBreaks.ReplaceAllString(*f.value, " "))
		if f.value == &t.Reason || f.value == &t.RequestedBy {
			v = calls.ReplaceAllString(v, "$0\u200b")
		}
		if v != "" {
			fmt.Fprintf(&b, "%s: %s\n", f.name, v)
		}
	}
	return b.String()
}

// ParseTrailers reads the trailers from the last paragraph of a commit message. It is false without Ferry-Promotion.
// Anyone who can push can write them: whoever relies on them checks the author too.
func ParseTrailers(message string) (Trailers, bool) {
	paragraphs := strings.Split(strings.TrimSpace(strings.ReplaceAll(message, "\r\n", "\n")), "\n\n")
	var t Trailers
	for line := range strings.SplitSeq(paragraphs[len(paragraphs)-1], "\n") {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		for _, f := range t.fields() {
			if name == f.name && *f.value == "" {
				*f.value = strings.TrimSpace(value)
			}
		}
	}
	return t, t.Promotion != ""
}

// A Commit is one commit of a branch.
type Commit struct {
	SHA     string
	URL     string // for people
	Message string
	Author  string // login of the GitHub account, empty if the e-mail address belongs to none
	// Signed says that GitHub itself made the commit, and signed it: only then the author is more than an e-mail address
	// that anybody who pushes can write.
	Signed bool
	When   time.Time
}

// A PullRequest is one of ferry's own.
type PullRequest struct {
	Number int
	URL    string
	Title  string
	Body   string
	Branch string // head
	Author string // login
	State  string // open, closed or merged
	// MergeCommit is the commit on the base branch, once merged.
	MergeCommit string
	When        time.Time // created
}

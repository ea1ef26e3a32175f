package gitops

import (
	"fmt"
	"regexp"
	"strings"
)

var (
	// plainReason needs nothing, spacedReason only quotes, to pass through the host's parsing unchanged.
	// An @ is not among them: it could call people where the line is shown.
	plainReason  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.,:_/+-]*$`)
	spacedReason = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.,:_/+-]*( [A-Za-z0-9.,:_/+-]+)*$`)
)

// Line writes a request as a line that command.Parse reads as the same request, without the plugin's name. It survives the
// host's own parsing, which refuses parentheses, doubles apostrophes and stops at operators.
func Line(r Request) string {
	words := []string{r.Verb()}
	add := func(w ...string) { words = append(words, w...) }
	switch r := r.(type) {
	case List:
		if r.Application != "" {
			add(r.Application)
		}
	case Diff:
		add(r.Environment)
		if r.Other != "" {
			add(r.Other)
		}
	case Review:
		add("pr", subject(r))
		if r.Environment != "" {
			add("--env", r.Environment)
		}
		if r.Page > 0 {
			add("--page", fmt.Sprint(r.Page))
		}
		if r.Refresh {
			add("--refresh")
		}
		if r.Repository != "" && r.Host == "" {
			add("--repo", r.Repository)
		}
		if r.Head != "" {
			add("--head", r.Head)
		}
	case Status:
		if r.Application != "" {
			add(r.Application, "on", r.Environment)
		}
		if r.Refresh {
			add("--refresh")
		}
	case Sources:
		add("source")
	case Check:
		if r.Environment != "" {
			add(r.Environment)
		}
	case Help:
		if r.Topic != "" { // Botkube answers "help" itself and drops the words behind
			words = []string{r.Topic, "--help"}
		}
	case Promote:
		if r.Version != "" {
			add(r.Application+"@"+r.Version, "to", r.Environment)
		} else {
			add(r.Application, "from", r.From, "to", r.Environment)
		}
		add(options(r.Change)...)
	case Rollback:
		add(r.Application, "on", r.Environment)
		if r.To != "" {
			add("to", r.To)
		}
		add(options(r.Change)...)
	}
	return strings.Join(words, " ")
}

// likeOthers are names of branches that a line could be read as something else for.
var likeOthers = regexp.MustCompile(`^#?[0-9]+$|://|/((?i:pull)|tree)/`)

// subject is what a review is of: a number, the name of a branch, or a link where one was typed. What differs between the
// buttons of a message comes before the repository, which may be long: the host makes a button's id of the line's first
// 250 characters.
func subject(r Review) string {
	branch := encode(r.Branch)
	if likeOthers.MatchString(r.Branch) {
		branch = fmt.Sprintf("%%%02X", r.Branch[0]) + escape(r.Branch[1:])
	}
	switch {
	case r.Host != "" && r.Number > 0:
		return fmt.Sprintf("https://%s/%s/pull/%d", r.Host, r.Repository, r.Number)
	case r.Host != "":
		return fmt.Sprintf("https://%s/%s/tree/%s", r.Host, r.Repository, escape(r.Branch))
	case r.Number > 0:
		return fmt.Sprint(r.Number)
	}
	return branch
}

// options writes the confirmation first: the host makes a button's id of the line's first 250 characters.
func options(c Change) []string {
	var words []string
	if c.Confirm != "" {
		words = append(words, "--confirm", c.Confirm, "--until", fmt.Sprint(c.Until.Unix()))
	}
	for _, flag := range []struct {
		set  bool
		word string
	}{{c.Chart, "--chart"}, {c.Shared, "--shared"}, {c.Override, "--override"}, {c.Pin, "--pin"}, {c.DropDigest, "--drop-digest"}, {c.PullRequest, "--pr"}, {c.Yes, "--yes"}} {
		if flag.set {
			words = append(words, flag.word)
		}
	}
	if c.Image != "" {
		words = append(words, "--image", c.Image)
	}
	if c.Field != "" {
		words = append(words, "--field", encode(c.Field))
	}
	if c.Reason != "" {
		words = append(words, "--reason", encode(c.Reason))
	}
	return words
}

// encode leaves a harmless text readable and percent-encodes any other.
func encode(text string) string {
	switch {
	case plainReason.MatchString(text):
		return text
	case spacedReason.MatchString(text) && !strings.Contains(text, " -"):
		return `"` + text + `"`
	}
	return escape(text)
}

// escape percent-encodes all but letters, digits, dots and underscores.
func escape(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

package command

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

var (
	// plainReason needs nothing, spacedReason only quotes, to pass through the host's parsing unchanged.
	// An @ is not among them: it could call people where the line is shown.
	plainReason  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.,:_/+-]*$`)
	spacedReason = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.,:_/+-]*( [A-Za-z0-9.,:_/+-]+)*$`)
	blanks       = regexp.MustCompile(`[\s\p{Z}]+`)
)

// Line writes a request as a line that Parse reads as the same request, without the plugin's name. It survives the
// host's own parsing, which refuses parentheses, doubles apostrophes and stops at operators.
func Line(r gitops.Request) string {
	words := []string{r.Verb()}
	add := func(w ...string) { words = append(words, w...) }
	switch r := r.(type) {
	case gitops.List:
		if r.Application != "" {
			add(r.Application)
		}
	case gitops.Diff:
		add(r.Environment)
		if r.Other != "" {
			add(r.Other)
		}
	case gitops.Status:
		if r.Application != "" {
			add(r.Application, "on", r.Environment)
		}
	case gitops.Help:
		if r.Topic != "" {
			add(r.Topic)
		}
	case gitops.Promote:
		if r.Version != "" {
			add(r.Application+"@"+r.Version, "to", r.Environment)
		} else {
			add(r.Application, "from", r.From, "to", r.Environment)
		}
		add(options(r.Change)...)
	case gitops.Rollback:
		add(r.Application, "on", r.Environment)
		if r.To != "" {
			add("to", r.To)
		}
		add(options(r.Change)...)
	}
	return strings.Join(words, " ")
}

// options writes the confirmation first: the host makes a button's id of the line's first 250 characters.
func options(c gitops.Change) []string {
	var words []string
	if c.Confirm != "" {
		words = append(words, "--confirm", c.Confirm, "--until", fmt.Sprint(c.Until.Unix()))
	}
	for _, flag := range []struct {
		set  bool
		word string
	}{{c.Chart, "--chart"}, {c.Shared, "--shared"}, {c.PullRequest, "--pr"}, {c.Yes, "--yes"}} {
		if flag.set {
			words = append(words, flag.word)
		}
	}
	if c.Image != "" {
		words = append(words, "--image", c.Image)
	}
	if c.Reason != "" {
		words = append(words, "--reason", encodeReason(c.Reason))
	}
	return words
}

// encodeReason leaves a harmless text readable and percent-encodes any other.
func encodeReason(reason string) string {
	switch {
	case plainReason.MatchString(reason):
		return reason
	case spacedReason.MatchString(reason) && !strings.Contains(reason, " -"):
		return `"` + reason + `"`
	}
	var b strings.Builder
	for _, c := range []byte(reason) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// decodeReason reads both forms. A text with blanks is never taken for an encoded one, nor is one like "at 80%".
func decodeReason(value string) (string, error) {
	reason := value
	if !blanks.MatchString(value) {
		if decoded, err := url.PathUnescape(value); err == nil {
			reason = decoded
		}
	}
	if !utf8.ValidString(reason) {
		return "", errors.New("the reason is not valid UTF-8 text once it is percent-decoded")
	}
	if reason == value {
		reason = doubled.ReplaceAllString(reason, "$1'$2")
	}
	reason = strings.TrimSpace(blanks.ReplaceAllString(strings.Map(visible, reason), " "))
	switch {
	case reason == "":
		return "", errors.New("the option --reason needs a value")
	case strings.ContainsFunc(reason, isForbidden):
		return "", errors.New("the reason holds a control character, which could hide what it says")
	case len(reason) > maxReason:
		return "", fmt.Errorf("the reason is %d bytes long: %d are the limit", len(reason), maxReason)
	}
	return reason, nil
}

// join writes words back as a line, for a second attempt at reading them.
func join(words []token) string {
	var parts []string
	for _, w := range words {
		if w.quoted {
			w.text = `"` + strings.ReplaceAll(w.text, `"`, "") + `"`
		}
		parts = append(parts, w.text)
	}
	return strings.Join(parts, " ")
}

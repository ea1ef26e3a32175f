package report

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ferry-chatops/ferry/internal/compare"
)

// How much of one change is shown in chat; the rest is counted. The pull request has it all.
const (
	maxChangeLines = 200
	maxObjectLines = 12  // of an object that is created; of one that is deleted, none
	maxShort       = 100 // characters of a change that is told in one line
)

// signs are how a verdict looks in a list.
var signs = map[Verdict]string{Created: "+", Configured: "~", Deleted: "-", Skipped: "?", Unchanged: "="}

// flagWords are those of an object's line; a flag without one is told by the verdict and the kind.
var flagWords = map[Flag]string{Immutable: "refused", Unready: "refused", Replaced: "deleted and made anew", Data: "with its data", Secret: "secret value", Restart: "restarts"}

// title is an object in a line: "~ Deployment shop/web (restarts)".
func (o Object) title() string {
	s := signs[o.Verdict] + " " + Name(o.Object)
	words := make([]string, 0, len(o.Flags)+1)
	if o.Verdict != Configured && o.Verdict != "" {
		words = append(words, string(o.Verdict))
	}
	for _, f := range o.Flags {
		if flagWords[f] != "" {
			words = append(words, flagWords[f])
		}
	}
	if len(words) > 0 {
		s += " (" + strings.Join(words, ", ") + ")"
	}
	return s
}

// by is what applies an object; empty where it speaks for what it applies itself.
func (o Object) by() string {
	if o.Source == o.Kind+" "+o.Namespace+"/"+o.Name {
		return ""
	}
	return o.Source
}

// lines are an object and its changes for a chat or a terminal.
func (o Object) lines() []string {
	out := []string{o.title()}
	if by := o.by(); by != "" {
		out[0] += "  of " + oneLine(by)
	}
	if o.Reason != "" {
		out = append(out, "    "+oneLine(o.Reason))
	}
	for _, c := range o.Changes {
		out = append(out, c.lines()...)
	}
	if o.Folded > 0 {
		out = append(out, "    "+o.folded())
	}
	return out
}

func (o Object) folded() string {
	if o.Folded == 1 {
		return "… and 1 change of noise"
	}
	return fmt.Sprintf("… and %d changes of noise", o.Folded)
}

func (c Change) lines() (out []string) {
	add := func(indent string, lines []string, most int) {
		for i, l := range lines {
			if i == most && len(lines) > most+1 {
				out = append(out, fmt.Sprintf("%s… %d more lines", indent, len(lines)-i))
				return
			}
			out = append(out, strings.TrimRight(indent+l, " "))
		}
	}
	switch {
	case c.Path == "" && c.After != "":
		add("    ", strings.Split(c.After, "\n"), maxObjectLines)
		return out
	case c.Path == "":
		return nil
	}
	if s := c.short(); s != "" {
		return []string{"    " + s}
	}
	out = append(out, "    "+oneLine(c.Path)+":")
	add("    ", c.diff(), maxChangeLines)
	return out
}

// short is a change in a line; empty where it takes more.
func (c Change) short() string {
	if strings.ContainsAny(c.Before+c.After, "\n\r") {
		return ""
	}
	s := oneLine(c.Path) + ": "
	switch {
	case c.Before == "" && c.After == "":
		s += `from "" to ""`
	case c.Before == "":
		s += "+ " + c.After
	case c.After == "":
		s += "- " + c.Before
	default:
		s += c.Before + " → " + c.After
	}
	if utf8.RuneCountInString(s) > maxShort {
		return ""
	}
	return s
}

// diff are the lines of a change, each with its sign; hunks where both sides have several.
func (c Change) diff() (lines []string) {
	if strings.Contains(c.Before, "\n") && strings.Contains(c.After, "\n") {
		end := func(s string) []byte { return []byte(strings.TrimSuffix(s, "\n") + "\n") }
		if text := compare.Unified("x", end(c.Before), end(c.After), func(l []string) []string { return l }); text != "" {
			return strings.Split(strings.TrimSuffix(text, "\n"), "\n")[2:] // without names of files
		}
	}
	for _, side := range []struct{ sign, text string }{{"- ", c.Before}, {"+ ", c.After}} {
		if side.text != "" {
			for l := range strings.SplitSeq(strings.TrimSuffix(side.text, "\n"), "\n") {
				lines = append(lines, side.sign+strings.TrimSuffix(l, "\r"))
			}
		}
	}
	return lines
}

// lines are an environment with all that is told of its objects.
func (e Environment) lines() (out []string) {
	for _, o := range e.Sorted() {
		out = append(out, o.lines()...)
	}
	if n := e.Counts().Noise; n > 0 {
		out = append(out, fmt.Sprintf("= %s with noise alone: labels with a chart's version, checksums", plural(n, "object")))
	}
	if len(e.Drift) > 0 {
		if len(out) > 0 {
			out = append(out, "")
		}
		out = append(out, "Drift: the cluster differs from Git already, and this does not change it.")
		for _, o := range e.Drift {
			out = append(out, o.lines()...)
		}
	}
	return out
}

// Text is the whole report for a terminal.
func Text(r Report) string {
	var b strings.Builder
	line := func(s string) { b.WriteString(s + "\n") }
	line(r.Headline())
	if t := r.Table(); t != "" && len(r.Environments) > 1 {
		line("\n" + t)
	}
	for _, s := range slices.Concat(r.Failures(), r.Risks(), r.Notes) {
		line("! " + oneLine(s))
	}
	for _, e := range r.Environments {
		if lines := e.lines(); len(lines)+len(e.Notes) > 0 {
			line("\n" + oneLine(e.Environment))
			for _, s := range e.Notes {
				line("  ! " + oneLine(s))
			}
			for _, l := range lines {
				line("  " + l)
			}
		}
	}
	return clean(b.String())
}

// clean drops what would move a terminal's cursor, colour it, or hide text: control characters and changes of direction.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x200e || r == 0x200f || r == 0x061c:
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

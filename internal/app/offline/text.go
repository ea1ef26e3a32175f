package offline

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/operation"
)

// writeJSON writes a value and nothing beside it.
func writeJSON(out io.Writer, value any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(value)
}

// refusalJSON is what programs get of a refusal.
type refusalJSON struct {
	Refused struct {
		Code    gitops.Code `json:"code"`
		Reason  string      `json:"reason"`
		Details []string    `json:"details,omitempty"`

		AlsoFeeds   []string `json:"alsoFeeds,omitempty"`
		AlsoChanges []string `json:"alsoChanges,omitempty"`

		Candidates []gitops.Candidate `json:"candidates"`
	} `json:"refused"`
}

func writeRefusalJSON(out io.Writer, r *gitops.Refusal) error {
	var v refusalJSON
	v.Refused.Code, v.Refused.Reason, v.Refused.Details = r.Code, r.Reason, details(r)
	v.Refused.AlsoFeeds, v.Refused.AlsoChanges = r.AlsoFeeds, r.AlsoChanges
	v.Refused.Candidates = append([]gitops.Candidate{}, r.Candidates...)
	return writeJSON(out, v)
}

// details are those of a refusal that no candidate says.
func details(r *gitops.Refusal) []string {
	return slices.DeleteFunc(slices.Clone(r.Details), func(d string) bool {
		return slices.ContainsFunc(r.Candidates, func(c gitops.Candidate) bool { return d == c.String() })
	})
}

// A palette styles text for a terminal; the zero palette leaves it plain.
type palette struct{ on bool }

func (p palette) style(code, text string) string {
	if !p.on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p palette) bold(text string) string { return p.style("1", text) }
func (p palette) dim(text string) string  { return p.style("2", text) }

// diff colours a patch.
func (p palette) diff(patch string) string {
	if !p.on {
		return patch
	}
	var b strings.Builder
	for line := range strings.SplitAfterSeq(patch, "\n") {
		text, end := strings.CutSuffix(line, "\n")
		switch {
		case strings.HasPrefix(text, "diff "), strings.HasPrefix(text, "--- "), strings.HasPrefix(text, "+++ "), strings.HasPrefix(text, "new file"):
			text = p.bold(text)
		case strings.HasPrefix(text, "@@"):
			text = p.style("36", text)
		case strings.HasPrefix(text, "-"):
			text = p.style("31", text)
		case strings.HasPrefix(text, "+"):
			text = p.style("32", text)
		}
		b.WriteString(text)
		if end {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// plain takes out of a text from a repository what would steer a terminal.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, text)
}

// count writes a number with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// writePlaces shows where: a line of summary, then a table.
func writePlaces(out io.Writer, places operation.Places, root string, p palette) error {
	applications := map[gitops.Key]bool{}
	locked, versions := 0, 0
	for _, at := range places.Places {
		applications[at.Owner] = true
		if !at.Beside {
			versions++
		}
		if at.Refusal != nil {
			locked++
		}
	}
	summary := fmt.Sprintf("%s of %s in %s", count(versions, "version", "versions"), count(len(applications), "application", "applications"), root)
	if locked > 0 {
		summary += fmt.Sprintf("; %d of them ferry does not edit", locked)
	}
	if len(places.Others) == 0 && len(places.Places) > 0 {
		summary += "; which other environments they feed is not known: no file tells of one"
	}
	fmt.Fprintln(out, p.bold(plain(summary)))
	if len(places.Places) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "APPLICATION\tKIND\tVERSION\tFILE\tPATH\tNOTE") // FILE:PATH is what --field takes
	last := ""
	for _, at := range places.Places {
		name := at.Owner.String()
		if name == last {
			name = ""
		} else {
			last = name
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s:%d\t%s\t%s\n", plain(name), plain(kind(at)), plain(short(at.Value)), plain(at.File), at.Line, plain(at.Path), plain(note(at)))
	}
	return w.Flush()
}

// kind is what a version counts, and of which image or variable.
func kind(at operation.Place) string {
	if at.Kind == gitops.ChartVersion || at.Name == "" || at.Name == at.Application {
		return string(at.Kind)
	}
	return string(at.Kind) + " " + path.Base(at.Name)
}

// note says what is special about a place.
func note(at operation.Place) string {
	var notes []string
	if at.Beside {
		notes = append(notes, "digest beside the tag")
	}
	if len(at.AlsoFeeds) > 0 {
		notes = append(notes, "also feeds "+strings.Join(at.AlsoFeeds, ", "))
	}
	if r := (*gitops.Refusal)(nil); errors.As(at.Refusal, &r) {
		notes = append(notes, "not edited: "+string(r.Code))
	} else if !at.Proved {
		notes = append(notes, "not proved by a build")
	}
	return strings.Join(notes, "; ")
}

// short cuts digests to what people compare.
func short(value string) string {
	before, digest, ok := strings.Cut(value, "sha256:")
	if !ok || len(digest) < 20 {
		return value
	}
	return before + "sha256:" + digest[:12] + "…"
}

// writePlanned shows a plan: what changes, the patch, and what to do next.
func writePlanned(out io.Writer, planned operation.Planned, written bool, p palette) error {
	name := fmt.Sprintf("%s on %s", planned.Application, planned.Environment)
	if len(planned.Edits) == 0 {
		_, err := fmt.Fprintln(out, p.bold(plain(fmt.Sprintf("%s is at %s already: nothing to change.", name, planned.Version))))
		return err
	}
	fmt.Fprintln(out, p.bold(plain(fmt.Sprintf("%s: %s → %s (%s)", name, cmp.Or(short(planned.Previous), "nothing"), short(planned.Version), planned.Kind))))
	feeds := ""
	switch {
	case len(planned.Others) == 0:
		feeds = "which other environments it feeds is not known: no file tells of one. Name their directories with --also"
	case len(planned.AlsoFeeds) > 0:
		feeds = "it also feeds " + strings.Join(planned.AlsoFeeds, ", ")
	case len(planned.Others) == 1:
		feeds = fmt.Sprintf("%s, the other environment that is known, is not fed by it", planned.Others[0])
	default:
		feeds = fmt.Sprintf("none of the %d other environments that are known is fed by it", len(planned.Others))
	}
	if len(planned.AlsoChanges) > 0 {
		feeds = fmt.Sprintf("it also changes %s in %s; %s", strings.Join(planned.AlsoChanges, ", "), planned.Environment, feeds)
	}
	fmt.Fprintln(out, plain(fmt.Sprintf("%s in %s; %s.", count(len(planned.Edits), "edit", "edits"), count(len(planned.Content), "file", "files"), feeds)))
	for _, warning := range planned.Warnings {
		fmt.Fprintln(out, p.style("33", "! "+plain(warning)))
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, e := range planned.Edits {
		fmt.Fprintf(w, "%s:%d\t%s\t%s → %s\n", plain(e.File), e.Line, plain(e.Path), plain(cmp.Or(short(e.Old), "nothing")), plain(short(e.New)))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%s\n", p.diff(shown(planned.Patch)))
	last := "Nothing is written. Add --write to write it, or -o diff for git apply."
	if written {
		last = fmt.Sprintf("Written: %s.", strings.Join(names(planned.Content), ", "))
	}
	_, err := fmt.Fprintln(out, p.dim(plain(last)))
	return err
}

// shown is a patch for people to read.
func shown(patch string) string {
	lines := strings.Split(patch, "\n")
	for i, l := range lines {
		l = strings.TrimSuffix(l, "\r")
		lines[i] = strings.ReplaceAll(plain(strings.ReplaceAll(l, "\t", "    ")), "\uFEFF", "")
	}
	return strings.Join(lines, "\n")
}

func names(files []gitops.File) (names []string) {
	for _, f := range files {
		names = append(names, f.Path)
	}
	return names
}

// writeRefusal shows a refusal: what and why, what could be meant, what to do.
func writeRefusal(out io.Writer, r *gitops.Refusal, p palette) error {
	fmt.Fprintln(out, p.bold(plain(fmt.Sprintf("%s (%s)", r.Headline(), r.Code))))
	fmt.Fprintln(out, plain(r.Reason))
	for _, d := range details(r) {
		fmt.Fprintln(out, "  "+plain(d))
	}
	if len(r.Candidates) > 0 {
		fmt.Fprintln(out, "\nThe fields that could be meant, each as --field takes it:")
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		for _, c := range r.Candidates {
			fmt.Fprintf(w, "  %s\t%s\t%s\n", plain(c.File+":"+c.Path), c.Kind, plain(short(c.Value)))
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

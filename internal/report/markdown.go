package report

import (
	"fmt"
	"html"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxMarkdown is how many characters GitHub takes in a comment or a description, with room for a marker.
const maxMarkdown = 65_536 - 536

// Markdown is the whole report for GitHub, in as many parts as comments take, each for itself well formed: what is open at
// the end of one is opened again in the next.
func Markdown(r Report) []string {
	m := &markdown{}
	title := "### Diff report"
	if r.Head != "" {
		title += ": " + escape(Card{Report: r}.What())
	}
	m.line(title)
	m.line("")
	m.line(escape(r.Headline()))
	if len(r.Environments) > 0 {
		m.line("")
		m.table(r)
	}
	if risks := slices.Concat(r.Failures(), r.Risks(), r.Notes); len(risks) > 0 {
		m.line("")
		for _, s := range risks {
			m.line("- " + escape(oneLine(s)))
		}
	}
	for _, e := range r.Environments {
		m.environment(e)
	}
	if r.Head != "" { // else of two trees, that nobody knows the commits of
		m.line("")
		m.line("<sub>" + escape(Card{Report: r}.Basis()) + "</sub>")
	}
	return m.end()
}

// A markdown writer knows what is open.
type markdown struct {
	parts []string
	b     strings.Builder
	used  int // characters
	open  []frame
}

type frame struct{ open, close string }

const partNote = 60 // characters that a part's number takes

func (m *markdown) line(s string) {
	n := utf8.RuneCountInString(s) + 1
	if room := maxMarkdown - partNote - m.closing() - m.opening(); n > room {
		runes := []rune(s)
		m.line(string(runes[:room/2]))
		m.line(string(runes[room/2:]))
		return
	}
	if m.used+n+m.closing() > maxMarkdown-partNote {
		m.flush()
	}
	m.write(s)
}

func (m *markdown) write(s string) {
	m.b.WriteString(s + "\n")
	m.used += utf8.RuneCountInString(s) + 1
}

func (m *markdown) closing() (n int) {
	for _, f := range m.open {
		n += utf8.RuneCountInString(f.close) + 1
	}
	return n
}

func (m *markdown) opening() (n int) {
	for _, f := range m.open {
		n += utf8.RuneCountInString(f.open) + 1
	}
	return n
}

// flush ends a part and opens in the next what was open.
func (m *markdown) flush() {
	for _, f := range slices.Backward(m.open) {
		m.write(f.close)
	}
	m.parts = append(m.parts, m.b.String())
	m.b.Reset()
	m.used = 0
	for _, f := range m.open {
		m.write(f.open)
	}
}

// within writes lines between what opens and closes them.
func (m *markdown) within(f frame, write func()) {
	if m.used+m.closing()+utf8.RuneCountInString(f.open+f.close)+200 > maxMarkdown-partNote {
		m.flush() // nothing is opened at the end of a part
	}
	m.write(f.open)
	m.open = append(m.open, f)
	write()
	m.open = m.open[:len(m.open)-1]
	m.write(f.close)
}

func (m *markdown) end() []string {
	m.parts = append(m.parts, m.b.String())
	if len(m.parts) > 1 {
		for i := range m.parts {
			m.parts[i] = fmt.Sprintf("*Part %d of %d*\n\n%s", i+1, len(m.parts), m.parts[i])
		}
	}
	return m.parts
}

func (m *markdown) table(r Report) {
	for i, row := range strings.Split(r.Table(), "\n") {
		cells := strings.Fields(row)
		for i := range cells {
			cells[i] = escape(cells[i])
		}
		m.line("| " + strings.Join(cells, " | ") + " |")
		if i == 0 {
			m.line("|---" + strings.Repeat("|--:", len(cells)-1) + "|")
		}
	}
}

func (m *markdown) environment(e Environment) {
	objects := e.Sorted()
	noise := e.Counts().Noise
	if len(objects)+len(e.Drift)+len(e.Notes)+noise == 0 {
		return
	}
	m.line("")
	m.within(frame{"<details><summary>" + summary(e.Environment) + ": " + plural(len(objects), "object") + "</summary>\n", "\n</details>"}, func() {
		for _, s := range e.Notes {
			m.line("- " + escape(oneLine(s)))
		}
		for _, o := range objects {
			m.object(o)
		}
		if noise > 0 {
			m.line(fmt.Sprintf("\n%s with noise alone: labels with a chart's version, checksums.", plural(noise, "object")))
		}
		if len(e.Drift) > 0 {
			m.line("\nDrift: the cluster differs from Git already, and this does not change it.")
			for _, o := range e.Drift {
				m.object(o)
			}
		}
	})
}

func (m *markdown) object(o Object) {
	m.line("")
	title := "**" + inline(o.title()) + "**"
	if by := o.by(); by != "" {
		title += " of " + escape(oneLine(by))
	}
	m.line(title)
	if o.Reason != "" {
		m.line("\n" + escape(oneLine(o.Reason)))
	}
	var lines []string
	for _, c := range o.Changes {
		lines = append(lines, c.markdown()...)
	}
	if o.Folded > 0 {
		lines = append(lines, "  "+o.folded())
	}
	if len(lines) == 0 {
		return
	}
	fence := strings.Repeat("`", 3)
	for _, l := range lines {
		for _, run := range backQuotes.FindAllString(l, -1) {
			if len(run) >= len(fence) {
				fence = strings.Repeat("`", len(run)+1)
			}
		}
	}
	m.line("")
	if len(fence) > 100 { // no honest text has that
		fence = strings.Repeat("~", 3)
		for i := range lines {
			lines[i] = strings.ReplaceAll(lines[i], "~~~", "~ ~ ~")
		}
	}
	m.within(frame{fence + "diff", fence}, func() {
		for _, l := range lines {
			m.line(l)
		}
	})
}

var backQuotes = regexp.MustCompile("`{3,}")

// markdown are the lines of a change as GitHub colours a diff.
func (c Change) markdown() (out []string) {
	if c.Path != "" {
		out = append(out, "@@ "+oneLine(c.Path)+" @@")
	}
	for _, l := range c.diff() {
		out = append(out, clean(l))
	}
	return out
}

var marks = regexp.MustCompile("([\\\\`*_{}\\[\\]()#|~!])")

// escape writes text that Markdown has no say in, and that calls nobody.
func escape(s string) string {
	s = marks.ReplaceAllString(html.EscapeString(clean(s)), `\$1`)
	s = strings.ReplaceAll(s, `&\#`, `&#`)
	return strings.ReplaceAll(s, "@", "@\u200b")
}

// summary writes text into HTML.
func summary(s string) string {
	return "<b>" + strings.ReplaceAll(html.EscapeString(clean(oneLine(s))), "@", "@\u200b") + "</b>"
}

// inline writes code of one line.
func inline(s string) string {
	s = strings.ReplaceAll(oneLine(clean(s)), "@", "@\u200b")
	fence := "`"
	for strings.Contains(s, fence) {
		fence += "`"
		if len(fence) > 20 {
			return escape(s)
		}
	}
	if len(fence) > 1 {
		return fence + " " + s + " " + fence
	}
	return fence + s + fence
}

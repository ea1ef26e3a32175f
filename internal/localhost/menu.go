package localhost

import (
	"fmt"
	"strings"

	"charm.land/lipgloss/v2"
)

// A menu is a list below the prompt to choose from with the arrow keys.
type menu struct {
	kind  menuKind
	title string
	all   []choice
	at    int    // in what the filter leaves; -1: none yet
	typed string // options only: the filter; words: the line before the word
}

type menuKind int

const (
	choicesMenu menuKind = iota // the numbered choices of an answer
	optionsMenu                 // the options of a select; what is typed narrows them
	wordsMenu                   // what the last word of the line can be
)

func selectMenu(c choice) *menu { return &menu{kind: optionsMenu, title: c.name, all: c.options} }

// items are the entries that the filter leaves.
func (m *menu) items() []choice {
	if m.kind != optionsMenu || m.typed == "" {
		return m.all
	}
	var out []choice
	for _, item := range m.all {
		if strings.Contains(strings.ToLower(item.name), strings.ToLower(m.typed)) {
			out = append(out, item)
		}
	}
	return out
}

// move goes up or down, around the end.
func (m *menu) move(by int) {
	n := len(m.items())
	if n == 0 {
		return
	}
	if m.at < 0 && by < 0 {
		m.at = 0
	}
	m.at = (m.at + by + n) % n
}

// chosen is the entry under the mark, if there is one.
func (m *menu) chosen() (choice, bool) {
	items := m.items()
	if m.at < 0 || m.at >= len(items) {
		return choice{}, false
	}
	return items[m.at], true
}

// lines shows so many entries around the mark, each beside the line that it stands for, and how many more there are.
func (m *menu) lines(r renderer, rows int) []string {
	items := m.items()
	rows = max(1, rows)
	first := max(0, min(m.at-rows/2, len(items)-rows))
	last := min(len(items), first+rows)
	widest := 0
	for _, item := range items[first:last] {
		widest = max(widest, lipgloss.Width(m.name(item)))
	}
	widest = min(widest, r.width/2)
	var out []string
	for i := first; i < last; i++ {
		mark, style := "  ", lipgloss.NewStyle()
		if i == m.at {
			mark, style = "› ", numberStyle
		}
		name := shorten(m.name(items[i]), widest)
		line := r.style(style, mark+name)
		if detail := items[i].line; detail != "" {
			pad := strings.Repeat(" ", widest-lipgloss.Width(name)+columnGap)
			line += pad + r.style(faintStyle, shorten(oneLine(detail), r.width-2-widest-columnGap))
		}
		out = append(out, line)
	}
	if more := len(items) - (last - first); more > 0 {
		out = append(out, r.style(faintStyle, fmt.Sprintf("  … %d more", more)))
	}
	if len(items) == 0 {
		out = append(out, r.style(faintStyle, "  nothing of that name"))
	}
	return out
}

func (m *menu) name(item choice) string {
	name := oneLine(item.name)
	if len(item.options) > 0 {
		name += " ▾"
	}
	return name
}

// shorten cuts a text to so many cells.
func shorten(s string, cells int) string {
	if cells < 1 {
		return ""
	}
	if head(s, cells) == s {
		return s
	}
	return head(s, cells-1) + "…"
}

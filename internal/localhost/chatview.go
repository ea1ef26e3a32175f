package localhost

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"
)

const prompt = pluginName + "> "

func (m *model) style() renderer { return renderer{styled: m.chat.Styled, width: m.width} }

// exchangeText is the newest exchange as it stands on the screen, with a newline at its end.
func (m *model) exchangeText() string {
	r := m.style()
	text := m.echo(m.last.command)
	if m.last.problem == "" {
		return text + m.shown.text
	}
	r.line(dangerStyle, m.last.problem)
	return text + r.text()
}

// echo is a line as it was typed, behind the prompt.
func (m *model) echo(command string) string {
	r := m.style()
	lines := wrap(oneLine(clean(command)), m.width-len(prompt), m.width-len(prompt), "")
	for i, line := range lines {
		lines[i] = strings.Repeat(" ", len(prompt)) + r.style(headerStyle, line)
		if i == 0 {
			lines[i] = r.style(numberStyle, prompt) + r.style(headerStyle, line)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

var spinner = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

// View draws what can still change: the newest exchange, the prompt and what is below it. It never gets lower while a
// program runs: Bubble Tea would lose its place.
func (m *model) View() tea.View {
	lines, cursor := m.lines()
	cut := max(0, len(lines)-m.height)
	lines = lines[cut:]
	m.tall = min(max(m.tall, len(lines)), m.height)
	v := tea.NewView(strings.Join(lines, "\n") + strings.Repeat("\n", m.tall-len(lines)))
	if v.Cursor = cursor; cursor != nil {
		cursor.Y -= cut
	}
	return v
}

// lines are those of the view, one at least.
func (m *model) lines() ([]string, *tea.Cursor) {
	if m.leaves != "" || m.quit || !m.ready {
		return []string{""}, nil
	}
	r := m.style()
	var lines []string
	if m.live {
		lines = strings.Split(m.exchangeText(), "\n")
	}
	if w := m.waiting; w != nil {
		passed := w.now.Sub(w.since)
		lines = append(lines, strings.Split(strings.TrimSuffix(m.echo(w.command), "\n"), "\n")...)
		sign := string(spinner[int(passed/frame)%len(spinner)])
		text := fmt.Sprintf("waiting for the answer… %s, Ctrl-C to stop waiting", seconds(passed))
		lines = append(lines, r.style(numberStyle, sign)+" "+r.style(faintStyle, shorten(text, m.width-2)))
		if len(m.input.text) == 0 {
			return lines, nil
		}
	}
	typed, x, y := m.prompt(r)
	cursor := tea.NewCursor(x, y+len(lines))
	lines = append(lines, typed...)
	if m.menu != nil {
		lines = append(lines, m.menu.lines(r, min(8, m.height-len(lines)-2))...)
	}
	if m.waiting == nil {
		style := faintStyle
		if m.note != "" {
			style = noteStyle
		}
		lines = append(lines, r.style(style, shorten(m.hint(), m.width)))
	}
	return lines, cursor
}

// prompt is the line being typed, or as much of a very long one as is around the cursor.
func (m *model) prompt(r renderer) (lines []string, x, y int) {
	input, start := &m.input, prompt
	if m.menu != nil && m.menu.kind == optionsMenu {
		input, start = &editor{}, shorten(oneLine(m.menu.title), m.width/2)+"> "
		input.set(m.menu.typed)
	}
	lines, x, y = input.lines(start, m.width)
	rows := max(1, m.height/4)
	first := max(0, min(y-rows/2, len(lines)-rows))
	lines = lines[first:min(len(lines), first+rows)]
	if first == 0 {
		lines[0] = r.style(numberStyle, start) + strings.TrimPrefix(lines[0], start)
	}
	return lines, x, y - first
}

// hint is what can be done now.
func (m *model) hint() string {
	switch {
	case m.note != "":
		return oneLine(clean(m.note))
	case m.menu != nil && m.menu.kind == choicesMenu:
		return "↑ ↓ move · Enter runs it · Esc goes back"
	case m.menu != nil && m.menu.kind == optionsMenu:
		return "↑ ↓ move · type to narrow · Enter runs it · Esc goes back"
	case m.menu != nil:
		return "Tab or ↑ ↓ choose · Enter takes it · Esc closes"
	case len(m.input.text) > 0:
		return strings.Join(m.chat.Grammar.usages(m.input.left()), " · ")
	}
	hints := []string{"Tab completes", "Ctrl-D leaves"}
	if len(m.history.lines) > 0 {
		hints = append([]string{"↑ earlier lines"}, hints...)
	}
	if len(m.shown.choices) > 0 {
		hints = append([]string{"↓ or a number chooses"}, hints...)
	}
	return strings.Join(hints, " · ")
}

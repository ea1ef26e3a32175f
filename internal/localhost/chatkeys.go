package localhost

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"
)

// key does what a key is for.
func (m *model) key(k tea.KeyPressMsg) tea.Cmd {
	name := k.String()
	leaving := m.leaving
	m.note, m.leaving = "", false
	switch {
	case m.waiting != nil && name == "ctrl+c":
		return m.stop()
	case m.waiting != nil, m.leaves != "", m.quit:
		m.keyMeanwhile(name, k.Text)
		return nil
	}
	if m.menu != nil {
		if cmd, done := m.keyInMenu(name, k.Text); done {
			return cmd
		}
		m.menu = nil
	}
	browsing := m.browsing
	m.browsing = nil
	switch name {
	case "ctrl+c":
		switch {
		case len(m.input.text) > 0:
			m.input.set("")
		case leaving:
			return m.end()
		default:
			m.leaving, m.note = true, "Ctrl-C again or Ctrl-D leaves."
		}
	case "ctrl+d":
		if len(m.input.text) == 0 {
			return m.end()
		}
		m.edit(name, "")
	case "enter", "ctrl+j":
		return m.submit(m.input.String())
	case "tab":
		m.complete()
	case "up", "ctrl+p":
		m.recall(browsing, m.history.before)
	case "down", "ctrl+n":
		if browsing == nil && len(m.input.text) == 0 && len(m.shown.choices) > 0 {
			m.menu = &menu{kind: choicesMenu, all: m.shown.choices}
			return nil
		}
		m.recall(browsing, m.history.after)
	case "esc":
	default:
		m.edit(name, k.Text)
	}
	return nil
}

func (m *model) edit(key, text string) {
	if !m.input.key(key, text) {
		m.note = fmt.Sprintf("A line has at most %d characters.", maxTyped)
	}
}

// keyMeanwhile edits the next line, which can only be sent once there is a prompt again.
func (m *model) keyMeanwhile(name, text string) {
	switch name {
	case "ctrl+c", "ctrl+d", "enter", "ctrl+j", "tab", "shift+tab", "up", "down", "ctrl+p", "ctrl+n", "esc":
	default:
		m.edit(name, text)
	}
}

// A browse is a walk through the history.
type browse struct {
	at     int    // the line shown
	prefix string // what was typed before; only lines that begin so are shown
}

// recall shows another line of the history. after, at the newest end, gives back what was typed.
func (m *model) recall(b *browse, step func(at int, prefix string) (string, int)) {
	if b == nil {
		b = &browse{at: len(m.history.lines), prefix: m.input.String()}
	}
	m.browsing = b
	if line, at := step(b.at, b.prefix); at >= 0 {
		b.at = at
		m.input.set(line)
	}
}

// complete writes what the word before the cursor can only be, or opens a menu of what it can be.
func (m *model) complete() {
	left := m.input.left()
	candidates, partial := m.chat.Grammar.complete(left, &m.known)
	if len(candidates) == 0 {
		return
	}
	before := strings.TrimSuffix(left, partial)
	if len(candidates) == 1 {
		m.input.setLeft(before + completed(candidates[0]))
		return
	}
	m.input.setLeft(before + commonPrefix(candidates))
	words := &menu{kind: wordsMenu, at: -1, typed: before}
	for _, c := range candidates {
		item := choice{name: c}
		if strings.TrimSpace(before) == "" {
			item.line = strings.Join(m.chat.Grammar.usages(c), ", ")
		}
		words.all = append(words.all, item)
	}
	m.menu = words
}

// completed is a word with what follows it.
func completed(word string) string {
	if strings.HasSuffix(word, "@") {
		return word
	}
	return word + " "
}

// keyInMenu says whether the key was for the menu.
func (m *model) keyInMenu(name, text string) (cmd tea.Cmd, done bool) {
	menu := m.menu
	switch name {
	case "up", "shift+tab", "ctrl+p":
		menu.move(-1)
	case "down", "tab", "ctrl+n":
		menu.move(1)
	case "enter":
		item, ok := menu.chosen()
		switch {
		case menu.kind == wordsMenu && !ok:
			return nil, false
		case !ok:
		case menu.kind == wordsMenu:
			m.input.setLeft(menu.typed + completed(item.name))
			m.menu = nil
		default:
			return m.take(item), true
		}
		return nil, true
	case "esc", "ctrl+c":
		m.menu = nil
		return nil, true
	case "backspace":
		if menu.kind == optionsMenu {
			typed := []rune(menu.typed)
			menu.typed, menu.at = string(typed[:max(0, len(typed)-1)]), 0
			return nil, true
		}
		return nil, false
	default:
		if menu.kind == optionsMenu && text != "" {
			menu.typed, menu.at = shorten(menu.typed+clean(text), m.width/2), 0
			return nil, true
		}
		return nil, false
	}
	if item, ok := menu.chosen(); ok && menu.kind == wordsMenu {
		m.input.setLeft(menu.typed + item.name)
	}
	return nil, true
}

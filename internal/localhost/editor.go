package localhost

import (
	"slices"
	"strings"
	"unicode"

	"charm.land/lipgloss/v2"
)

// maxTyped is how long a typed line may be, in characters. No command comes near it.
const maxTyped = 4000

// An editor is a line being typed, with the keys of readline.
type editor struct {
	text   []rune
	at     int // the cursor is before this character
	killed []rune
}

func (e *editor) String() string { return string(e.text) }

// left is the text before the cursor.
func (e *editor) left() string { return string(e.text[:e.at]) }

// set replaces the line; the cursor is at its end.
func (e *editor) set(s string) { e.text, e.at = []rune(s), len([]rune(s)) }

// setLeft replaces what is before the cursor.
func (e *editor) setLeft(s string) {
	before := []rune(s)
	e.text, e.at = append(before, e.text[e.at:]...), len(before)
}

// insert puts text at the cursor. It says whether there was room.
func (e *editor) insert(s string) bool {
	added := []rune(s)
	if len(e.text)+len(added) > maxTyped {
		return false
	}
	e.text = slices.Insert(e.text, e.at, added...)
	e.at += len(added)
	return true
}

// kill takes out what is between two places, for Ctrl-Y.
func (e *editor) kill(from, to int) {
	if from < to {
		e.killed = slices.Clone(e.text[from:to])
		e.remove(from, to)
	}
}

func (e *editor) remove(from, to int) {
	if from < 0 || to > len(e.text) {
		return
	}
	e.text, e.at = slices.Delete(e.text, from, to), from
}

// wordLeft is where the word before the cursor begins, wordRight where the one behind it ends.
func (e *editor) wordLeft() int {
	i := e.at
	for i > 0 && unicode.IsSpace(e.text[i-1]) {
		i--
	}
	for i > 0 && !unicode.IsSpace(e.text[i-1]) {
		i--
	}
	return i
}

func (e *editor) wordRight() int {
	i := e.at
	for i < len(e.text) && unicode.IsSpace(e.text[i]) {
		i++
	}
	for i < len(e.text) && !unicode.IsSpace(e.text[i]) {
		i++
	}
	return i
}

// key takes a key, with the text that it stands for. It says whether there was room for it.
func (e *editor) key(name, text string) bool {
	switch name {
	case "left", "ctrl+b":
		e.at = max(0, e.at-1)
	case "right", "ctrl+f":
		e.at = min(len(e.text), e.at+1)
	case "home", "ctrl+a":
		e.at = 0
	case "end", "ctrl+e":
		e.at = len(e.text)
	case "alt+left", "ctrl+left", "alt+b":
		e.at = e.wordLeft()
	case "alt+right", "ctrl+right", "alt+f":
		e.at = e.wordRight()
	case "backspace", "ctrl+h", "shift+backspace":
		e.remove(e.at-1, e.at)
	case "delete", "ctrl+d":
		e.remove(e.at, e.at+1)
	case "ctrl+w", "alt+backspace", "ctrl+backspace":
		e.kill(e.wordLeft(), e.at)
	case "alt+d":
		e.kill(e.at, e.wordRight())
	case "ctrl+u":
		e.kill(0, e.at)
	case "ctrl+k":
		e.kill(e.at, len(e.text))
	case "ctrl+y":
		return e.insert(string(e.killed))
	default:
		return e.insert(clean(text))
	}
	return true
}

// lines shows the line behind a prompt, broken at the terminal's width; x and y are the cursor's place in them.
func (e *editor) lines(prompt string, width int) (lines []string, x, y int) {
	current, cells := prompt, lipgloss.Width(prompt)
	for i, c := range append(slices.Clone(e.text), ' ') { // the blank is for the cursor behind the end
		w := lipgloss.Width(string(c))
		if cells+w > width {
			lines = append(lines, current)
			current, cells = "", 0
		}
		if i == e.at {
			x, y = cells, len(lines)
		}
		current += string(c)
		cells += w
	}
	return append(lines, strings.TrimSuffix(current, " ")), x, y
}

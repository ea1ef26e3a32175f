package localhost

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// show is the line with | for the cursor.
func show(e *editor) string { return e.left() + "|" + string(e.text[e.at:]) }

func TestEditorKeys(t *testing.T) {
	for name, test := range map[string]struct {
		before string
		keys   []string
		want   string
	}{
		"type":                   {"", []string{"a", "ü", "語"}, "aü語|"},
		"type inside":            {"lst", []string{"left", "left", "i"}, "li|st"},
		"left and right stop":    {"a", []string{"left", "left", "right", "right", "b"}, "ab|"},
		"home and end":           {"b", []string{"home", "a", "end", "c"}, "abc|"},
		"readline's":             {"b", []string{"ctrl+a", "a", "ctrl+e", "c", "ctrl+b", "ctrl+f"}, "abc|"},
		"backspace":              {"ab", []string{"left", "backspace", "backspace"}, "|b"},
		"delete":                 {"ab", []string{"home", "delete", "ctrl+d", "delete"}, "|"},
		"by words":               {"one  two", []string{"alt+left", "x", "ctrl+left", "ctrl+left", "y", "alt+right", "z"}, "yonez|  xtwo"},
		"kill a word":            {"one two ", []string{"ctrl+w"}, "one |"},
		"kill words at the end":  {"one", []string{"ctrl+w", "ctrl+w"}, "|"},
		"kill the next word":     {"one two", []string{"home", "alt+d"}, "| two"},
		"kill to both ends":      {"one two", []string{"alt+left", "ctrl+k", "ctrl+u"}, "|"},
		"yank":                   {"one two", []string{"ctrl+w", "home", "ctrl+y"}, "two|one "},
		"what hides is not text": {"a", []string{"\u202e", "\u200b", "\x1b"}, "a|"},
	} {
		t.Run(name, func(t *testing.T) {
			var e editor
			e.set(test.before)
			for _, key := range test.keys {
				text := key
				if len([]rune(key)) > 1 {
					text = ""
				}
				if !e.key(key, text) {
					t.Fatalf("no room for %q", key)
				}
			}
			if got := show(&e); got != test.want {
				t.Errorf("line %q, want %q", got, test.want)
			}
		})
	}
}

func TestEditorLinesHoldTheCursor(t *testing.T) {
	var e editor
	e.set("abc語def")
	e.at = 4
	lines, x, y := e.lines("> ", 6)
	if diff := cmp.Diff([]string{"> abc", "語def", ""}, append(lines, "")[:3]); diff != "" {
		t.Error(diff)
	}
	if x != 2 || y != 1 {
		t.Errorf("cursor at %d, %d", x, y)
	}
	e.set("abcd")
	if _, x, y := e.lines("> ", 6); x != 0 || y != 1 {
		t.Errorf("behind a full line the cursor is at %d, %d", x, y)
	}
}

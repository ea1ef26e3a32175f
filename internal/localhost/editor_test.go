package localhost

import (
	"strings"
	"testing"

	"charm.land/lipgloss/v2"
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

func TestWrap(t *testing.T) {
	for _, test := range []struct {
		text   string
		indent int
		want   string
	}{
		{"short", 2, "short"},
		{"• one two three four", 2, "• one two\n  three\n  four"},
		{"exactly 10", 0, "exactly 10"},
		{"exactly 10 more", 0, "exactly 10\nmore"},
		{"  indented text", 4, "  indented\n    text"},
		{"averyveryverylongword", 2, "averyveryv\n  erylongw\n  ord"},
		{"a/path/to/somewhere", 0, "a/path/to/\nsomewhere"},
		{"語語語語語語", 0, "語語語語語\n語"},
		{"", 2, ""},
		{"a\n\nb", 0, "a\n\nb"},
	} {
		if got := strings.Join(fill(test.text, 10, test.indent, "/"), "\n"); got != test.want {
			t.Errorf("%q becomes %q, want %q", test.text, got, test.want)
		}
	}
}

func TestTablesFit(t *testing.T) {
	const differences = `APPLICATION  FIELD          stage                               prod
podinfo      version        7.0.0                               6.9.2
             image podinfo  ghcr.io/stefanprodan/podinfo:7.0.0  ghcr.io/stefanprodan/podinfo:6.9.2`
	for width, want := range map[int]string{
		120: differences,
		80: `APPLICATION  FIELD          stage                      prod
podinfo      version        7.0.0                      6.9.2
             image podinfo  ghcr.io/stefanprodan/      ghcr.io/stefanprodan/
                            podinfo:7.0.0              podinfo:6.9.2`,
		20: `APPLICATION  FIELD
      stage
      prod
podinfo      version
      7.0.0
      6.9.2`,
	} {
		block := differences
		if width == 20 {
			block, _, _ = strings.Cut(differences, "\n             image")
		}
		r := renderer{width: width}
		r.code(block)
		if diff := cmp.Diff(want+"\n", r.text()); diff != "" {
			t.Errorf("at width %d:\n%s", width, diff)
		}
	}
}

func TestNoTable(t *testing.T) {
	for _, block := range []string{
		"", "--- a\n+++ b", "promote APP@VERSION to ENV  [OPTIONS]", "APPLICATION", "APPLICATION  prod\nlonger-than-its-column  x", "kind:  x\nname:  y",
	} {
		if parsed, ok := parseTable(block); ok {
			t.Errorf("%q is read as a table: %v", block, parsed)
		}
	}
}

func FuzzFit(f *testing.F) {
	f.Add(listTable, 40)
	f.Add("A  b\n語語  \x1b[31m", 7)
	f.Fuzz(func(t *testing.T, text string, width int) {
		width = 20 + max(0, width)%200
		r := renderer{width: width}
		r.code(r.read(text, false))
		r.prose(r.read(text, false), 0)
		for line := range strings.SplitSeq(r.text(), "\n") {
			if lipgloss.Width(line) > width {
				t.Errorf("%q at width %d", line, width)
			}
		}
	})
}

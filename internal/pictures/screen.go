package main

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// A screen is what a terminal shows: as much of one as programs of this repository make use of. It has as many rows as it
// takes, so that nothing leaves it at the top.
type screen struct {
	columns int
	rows    [][]glyph
	x, y    int
	look    look
	rest    string // an escape sequence, or a character, that is not complete
}

// A glyph is a character and how it looks.
type glyph struct {
	char rune
	look look
}

type look struct {
	colour      int // 0 for the terminal's own, or 30 to 37 and 90 to 97 as in ECMA-48
	bold, faint bool
}

func (s *screen) Write(p []byte) (int, error) {
	text := s.rest + string(p)
	s.rest = ""
	for text != "" {
		n := s.take(text)
		if n == 0 {
			s.rest = text
			break
		}
		text = text[n:]
	}
	return len(p), nil
}

// take obeys what text begins with and says how long that was; 0 if the rest of it is missing.
func (s *screen) take(text string) int {
	switch c := text[0]; c {
	case '\r':
		s.x = 0
	case '\n':
		s.y++
	case '\b':
		s.x = max(0, s.x-1)
	case '\t':
		s.x = min(s.columns-1, s.x/8*8+8)
	case '\x1b':
		return s.escape(text)
	default:
		if c < ' ' || c == 0x7f {
			break
		}
		if !utf8.FullRuneInString(text) {
			return 0
		}
		char, n := utf8.DecodeRuneInString(text)
		s.put(char)
		return n
	}
	return 1
}

func (s *screen) put(char rune) {
	if s.x >= s.columns {
		s.x, s.y = 0, s.y+1
	}
	row := s.row()
	row[s.x] = glyph{char, s.look}
	s.x++
}

// row is the one with the cursor.
func (s *screen) row() []glyph {
	for len(s.rows) <= s.y {
		s.rows = append(s.rows, make([]glyph, s.columns))
	}
	return s.rows[s.y]
}

// escape obeys a control sequence. Those that ask or set what no picture shows are passed over.
func (s *screen) escape(text string) int {
	if len(text) < 2 {
		return 0
	}
	switch text[1] {
	case '[':
		end := strings.IndexFunc(text[2:], func(r rune) bool { return r >= '@' && r <= '~' })
		if end < 0 {
			return 0
		}
		s.control(text[2:2+end], text[2+end])
		return end + 3
	case ']', 'P', '_', '^':
		for _, terminator := range []string{"\x07", "\x1b\\"} {
			if end := strings.Index(text, terminator); end >= 0 {
				return end + len(terminator)
			}
		}
		return 0
	case 'M':
		s.y = max(0, s.y-1)
	case '(', ')':
		return min(3, len(text))
	}
	return 2
}

func (s *screen) control(parameters string, final byte) {
	if parameters != "" && strings.ContainsRune("?<=>", rune(parameters[0])) {
		return
	}
	var numbers []int
	for p := range strings.SplitSeq(parameters, ";") {
		n, _ := strconv.Atoi(p)
		numbers = append(numbers, n)
	}
	n := max(1, numbers[0])
	switch final {
	case 'A':
		s.y = max(0, s.y-n)
	case 'B':
		s.y += n
	case 'C':
		s.x = min(s.columns-1, s.x+n)
	case 'D':
		s.x = max(0, s.x-n)
	case 'G', '`':
		s.x = n - 1
	case 'd':
		s.y = n - 1
	case 'H', 'f':
		s.y, s.x = n-1, 0
		if len(numbers) > 1 {
			s.x = max(1, numbers[1]) - 1
		}
	case 'J':
		clear(s.row()[min(s.x, s.columns):])
		s.rows = s.rows[:s.y+1]
	case 'K':
		row := s.row()
		switch numbers[0] {
		case 0:
			clear(row[min(s.x, s.columns):])
		case 1:
			clear(row[:min(s.x+1, s.columns)])
		default:
			clear(row)
		}
	case 'X':
		clear(s.row()[min(s.x, s.columns):min(s.x+n, s.columns)])
	case 'b':
		if s.x > 0 {
			char := s.row()[s.x-1].char
			for range n {
				s.put(char)
			}
		}
	case 'm':
		s.style(numbers)
	}
}

func (s *screen) style(numbers []int) {
	for _, n := range numbers {
		switch {
		case n == 0:
			s.look = look{}
		case n == 1:
			s.look.bold = true
		case n == 2:
			s.look.faint = true
		case n == 22:
			s.look.bold, s.look.faint = false, false
		case n == 39:
			s.look.colour = 0
		case n >= 30 && n <= 37, n >= 90 && n <= 97:
			s.look.colour = n
		}
	}
}

// text is a row without its style, and without blanks at its end.
func text(row []glyph) string {
	var b strings.Builder
	for _, g := range row {
		if g.char == 0 {
			g.char = ' '
		}
		b.WriteRune(g.char)
	}
	return strings.TrimRight(b.String(), " ")
}

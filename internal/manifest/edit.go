package manifest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	k8syaml "sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// A Replacement is the value that a scalar is to get.
type Replacement struct {
	Scalar Scalar
	Value  string
}

// Replace returns the file with the scalar's text replaced, everything else kept to the byte, and proves it: both
// texts parse to the same documents but for this one value, and that value reads as the string wanted (in a block
// scalar, with the line end it had). Codes: those of Scalar.Refusal; Unproved if it cannot be shown.
func (f *File) Replace(s Scalar, value string) ([]byte, error) {
	return f.ReplaceAll([]Replacement{{s, value}})
}

// ReplaceAll is Replace for several scalars at once.
func (f *File) ReplaceAll(all []Replacement) ([]byte, error) {
	for _, r := range all {
		if err := r.Scalar.shared(); err != nil {
			return nil, err
		}
	}
	return f.replace(all, true)
}

// Trial is ReplaceAll for finding out where values arrive. It replaces also what has other uses through an anchor, is
// in an encrypted document or under a key written twice; it leaves out what cannot be replaced, and what holds YAML
// itself; and it proves nothing, so what it returns must not be written.
func (f *File) Trial(all []Replacement) ([]byte, error) {
	all = slices.DeleteFunc(slices.Clone(all), func(r Replacement) bool {
		if r.Scalar.Holds || r.Scalar.unwritten() != nil {
			return true
		}
		_, _, err := r.Scalar.file.edit(r.Scalar, r.Value)
		return err != nil
	})
	return f.replace(all, false)
}

// An edit replaces the bytes from start to end.
type edit struct {
	start, end int
	text       string
}

// changes are what is to happen to one file: the real one, or YAML within a scalar.
type changes struct {
	edits []edit
	want  map[*yaml.Node]string     // what the scalars shall read as
	grown map[*yaml.Node]*yaml.Node // what maps and lists shall read as that are added to
	at    *place                    // of the last of them
}

func (f *File) replace(all []Replacement, proved bool) ([]byte, error) {
	todo := map[*File]*changes{f: {want: map[*yaml.Node]string{}}}
	files := []*File{f}
	for _, r := range all {
		s := r.Scalar
		if err := s.unwritten(); err != nil {
			return nil, err
		}
		for g := s.file; todo[g] == nil; g = g.holder.file {
			if g.holder == nil {
				return nil, fmt.Errorf("replace %s: it is of another file", s.Path)
			}
			todo[g] = &changes{want: map[*yaml.Node]string{}}
			files = append(files, g)
		}
		e, want, err := s.file.edit(s, r.Value)
		if err != nil {
			return nil, err
		}
		c := todo[s.file]
		c.edits = append(c.edits, e)
		c.want[s.node], c.at = want, s.at
	}
	slices.SortStableFunc(files, func(a, b *File) int { return cmp.Compare(b.holder.depth(), a.holder.depth()) })
	for _, g := range files {
		out, err := g.apply(*todo[g], proved)
		if err != nil || g == f {
			return out, err
		}
		h := g.holder
		c := todo[h.file]
		for _, e := range todo[g].edits {
			outer, err := h.outward(g, e)
			if err != nil {
				return nil, err
			}
			c.edits = append(c.edits, outer)
		}
		c.want[h.node], c.at = string(out), h.at
	}
	return nil, errors.New("replace: no file") // f is among files
}

// edit says which bytes of f to replace so that s, a scalar of f itself, reads as value, and what it then reads as.
func (f *File) edit(s Scalar, value string) (edit, string, error) {
	n := s.node
	if !utf8.ValidString(value) {
		return edit{}, "", refuse(gitops.Unproved, "the new value of %s is not UTF-8 text", s.Path)
	}
	start, end, err := f.token(n)
	if err != nil {
		return edit{}, "", refuse(gitops.Unproved, "%s in line %d %s", s.Path, s.Line, err)
	}
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		text := strings.TrimRight(value, "\n")
		if text == "" || strings.TrimLeft(text, " \t") != text || !simple(text) {
			return edit{}, "", refuse(gitops.Unproved, "%s in line %d is a block of text, which cannot hold %q", s.Path, s.Line, value)
		}
		return edit{start, end, text}, text + n.Value[len(strings.TrimRight(n.Value, "\n")):], nil
	}
	flow := s.at != nil && s.at.node.Style&yaml.FlowStyle != 0
	return edit{start, end, f.encode(n.Style, flow, value)}, value, nil
}

// apply makes the edits, which must not overlap, and proves them if asked.
func (f *File) apply(c changes, prove bool) ([]byte, error) {
	slices.SortFunc(c.edits, func(a, b edit) int { return cmp.Compare(a.start, b.start) })
	var out []byte
	at := 0
	for _, e := range c.edits {
		if e.start < at {
			return nil, refuse(gitops.Unproved, "two of the edits overlap")
		}
		out = append(append(out, f.data[at:e.start]...), e.text...)
		at = e.end
	}
	out = append(out, f.data[at:]...)
	if !prove {
		return out, nil
	}
	return out, f.prove(out, c)
}

// outward turns an edit within the scalar into one of the file around it. g is the file within.
func (h *holder) outward(g *File, e edit) (edit, error) {
	unproved := refuse(gitops.Unproved, "the text in line %d cannot be mapped to the file's characters", h.file.lineOf(h.first))
	if h.style&yaml.LiteralStyle != 0 {
		line := g.lines.at(e.start)
		if h.first+line-1 > len(h.file.lines.start) || g.lines.at(e.end) != line {
			return edit{}, unproved
		}
		start := h.file.lines.start[h.first+line-2] + h.indent + e.start - g.lines.start[line-1]
		return edit{start, start + e.end - e.start, e.text}, nil
	}
	escape := func(s string) string { return s }
	length := func(string) (raw, read int) { return 1, 1 }
	switch {
	case h.style&yaml.DoubleQuotedStyle != 0:
		escape, length = func(s string) string { q := quoted(s); return q[1 : len(q)-1] }, escapeLength
	case h.style&yaml.SingleQuotedStyle != 0:
		escape = func(s string) string { return strings.ReplaceAll(s, "'", "''") }
		length = func(s string) (int, int) {
			if strings.HasPrefix(s, "''") {
				return 2, 1
			}
			return 1, 1
		}
	}
	start, end := -1, -1
	for raw, read := 0, 0; raw <= len(h.raw); {
		if read == e.start {
			start = raw
		}
		if read == e.end {
			end = raw
			break
		}
		a, b := length(string(h.raw[raw:min(raw+10, len(h.raw))]))
		raw, read = raw+a, read+b
	}
	if start < 0 || end < 0 || h.style&yaml.DoubleQuotedStyle == 0 && !simple(e.text) {
		return edit{}, unproved
	}
	return edit{h.start + start, h.start + end, escape(e.text)}, nil
}

// escapeLength returns how many bytes the character at the beginning of the text of a double quoted scalar is written
// with, and how many bytes it is.
func escapeLength(s string) (raw, read int) {
	if len(s) < 2 || s[0] != '\\' {
		return 1, 1
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[1]]
	switch {
	case digits > 0 && len(s) >= 2+digits:
		code, err := strconv.ParseUint(s[2:2+digits], 16, 32)
		if err != nil {
			return 1, 1
		}
		return 2 + digits, utf8.RuneLen(rune(code))
	case s[1] == 'N' || s[1] == '_':
		return 2, 2
	case s[1] == 'L' || s[1] == 'P':
		return 2, 3
	}
	return 2, 1
}

// header is the offset of a scalar's own text, after its anchor and tag. The parser gives line and column in
// characters (a byte order mark not counted), at an anchor or tag the column of that.
func (f *File) header(n *yaml.Node) int {
	start := f.lines.offset(n.Line, n.Column)
	for start < len(f.data) && (f.data[start] == '&' || f.data[start] == '!') {
		for start < len(f.data) && !isBlank(f.data[start]) {
			start++
		}
		for start < len(f.data) && isBlank(f.data[start]) {
			start++
		}
	}
	return start
}

// token returns the bytes of a scalar as written, its quotes included; of a block scalar its one line of content. The
// error completes a sentence that begins with the scalar.
func (f *File) token(n *yaml.Node) (start, end int, err error) {
	start = f.header(n)
	rest := f.data[start:]
	switch {
	case n.Style&yaml.DoubleQuotedStyle != 0:
		end = closing(rest, '"', '\\')
	case n.Style&yaml.SingleQuotedStyle != 0:
		end = closing(rest, '\'', '\'')
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return f.content(n, start)
	case n.Value == "":
		return 0, 0, errors.New("has no value")
	case bytes.HasPrefix(rest, []byte(n.Value)):
		end = len(n.Value)
	default:
		end = -1 // a plain scalar over several lines
	}
	if end < 0 {
		return 0, 0, errors.New("is not written in one line")
	}
	return start, start + end, nil
}

// content returns the one line of content of the block scalar whose indicator is at start.
func (f *File) content(n *yaml.Node, start int) (int, int, error) {
	text := strings.TrimRight(n.Value, "\n")
	line := f.lines.at(start) + 1
	if text == "" || strings.Contains(text, "\n") || line > len(f.lines.start) {
		return 0, 0, errors.New("is a text of several lines")
	}
	written := f.lines.line(line)
	if !bytes.HasSuffix(written, []byte(text)) {
		return 0, 0, errors.New("is not written in one line")
	}
	end := f.lines.start[line-1] + len(written)
	return end - len(text), end, nil
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// closing returns the length of a quoted token on one line, or -1. escape takes the next character with it; where it
// is the quote itself, a doubled one stands for one.
func closing(text []byte, quote, escape byte) int {
	if len(text) == 0 || text[0] != quote {
		return -1
	}
	for i := 1; i < len(text) && text[i] != '\n'; i++ {
		switch {
		case escape != quote && text[i] == escape && i+1 < len(text) && (text[i+1] == '\r' || text[i+1] == '\n'):
			return -1
		case text[i] == escape && i+1 < len(text) && (escape != quote || text[i+1] == quote):
			i++
		case text[i] == quote:
			return i + 1
		}
	}
	return -1
}

// encode writes a value in the style that the old one had, or in quotes where a plain one would not read as that
// string: in those that the file uses, double ones by preference, and always in a file that is JSON. flow says that it
// stands within {…} or […].
func (f *File) encode(style yaml.Style, flow bool, value string) string {
	single := style&yaml.SingleQuotedStyle != 0
	if style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0 {
		if plain(value) && (!flow || !strings.ContainsAny(value, ",[]{}") && !f.json()) {
			return value
		}
		single = f.quotes[yaml.SingleQuotedStyle] && !f.quotes[yaml.DoubleQuotedStyle]
	}
	if single && simple(value) {
		return "'" + strings.ReplaceAll(value, "'", "''") + "'"
	}
	return quoted(value)
}

// quoted writes a value in double quotes as both JSON and YAML read them.
func quoted(value string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range value {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case !printable(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// printable says that YAML takes a character as it is, and as no line's end.
func printable(r rune) bool {
	return r >= ' ' && r < 0x7f || r >= 0xa0 && r != '\u2028' && r != '\u2029' && r != '\ufeff' && r != '\ufffe' && r != '\uffff'
}

// simple says that a value needs no escapes.
func simple(value string) bool {
	return !strings.ContainsFunc(value, func(r rune) bool { return !printable(r) })
}

// plain says that a value needs no quotes for any reader: YAML 1.2's, and YAML 1.1's through which Kubernetes reads,
// where on, no and y are booleans.
func plain(value string) bool {
	if value == "" || !simple(value) || strings.Trim(value, " ") != value ||
		strings.Contains(value, ": ") || strings.HasSuffix(value, ":") || strings.Contains(value, " #") ||
		strings.ContainsRune("*&!%@>|#?-:=<,[]{}\"'`", rune(value[0])) || strings.HasPrefix(value, "...") {
		return false
	}
	var v3 yaml.Node
	if err := yaml.Unmarshal([]byte(value), &v3); err != nil || len(v3.Content) != 1 || v3.Content[0].Tag != "!!str" || v3.Content[0].Value != value {
		return false
	}
	var v1 any
	err := k8syaml.Unmarshal([]byte(value), &v1)
	return err == nil && v1 == value && !number.MatchString(value)
}

// number matches what some reader of YAML takes for a number although the two here do not: 190:20:30, 1_000.5_0, 0888.
var number = regexp.MustCompile(`^[-+]?(0[box])?[0-9_]*\.?[0-9_]*([eE][-+]?[0-9_]+)?$|^[-+]?[0-9_]+(:[0-9_]+)+(\.[0-9_]*)?$`)

package manifest

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// prove shows that out, which is f with the edits made, reads as f but for the scalars wanted. A large file is not
// parsed again for one edit: what stands around it suffices.
func (f *File) prove(out []byte, c changes) error {
	if len(c.edits) == 1 && len(c.want) == 1 {
		for n, want := range c.want {
			if proved, err := f.proveNear(n, c.at, want, c.edits[0]); proved || err != nil {
				return err
			}
		}
	}
	return f.proveWhole(out, c)
}

// proveWhole parses out.
func (f *File) proveWhole(out []byte, c changes) error {
	docs, err := documents(out)
	if err != nil {
		return &gitops.Refusal{Code: gitops.Unproved, Reason: "the file would no longer parse", Cause: err}
	}
	if len(docs) != len(f.docs) {
		return refuse(gitops.Unproved, "the number of documents would change")
	}
	for i := range docs {
		if err := sameBut(f.docs[i], docs[i], c); err != nil {
			return err
		}
	}
	return nil
}

// sameBut compares what a node was with what it would be: equal everywhere, but for the scalars wanted, which must read
// as those strings, and what has grown.
func sameBut(a, b *yaml.Node, c changes) error {
	if a == nil || b == nil {
		if a != b {
			return refuse(gitops.Unproved, "a document would vanish")
		}
		return nil
	}
	if grown, ok := c.grown[a]; ok {
		a = grown
	}
	if text, ok := c.want[a]; ok {
		switch {
		case b.Kind != yaml.ScalarNode || a.Anchor != b.Anchor:
			return refuse(gitops.Unproved, "the value would be another kind of thing")
		case b.Tag != "!!str" || b.Value != text:
			return refuse(gitops.Unproved, "the value would read as %s %q", strings.TrimPrefix(b.Tag, "!!"), b.Value)
		}
		return nil
	}
	if a.Kind != b.Kind || a.Value != b.Value || a.Tag != b.Tag || a.Anchor != b.Anchor || len(a.Content) != len(b.Content) {
		return refuse(gitops.Unproved, "more than the one value would change")
	}
	for i := range a.Content {
		if err := sameBut(a.Content[i], b.Content[i], c); err != nil {
			return err
		}
	}
	return nil
}

// proveNear proves one edit, of the scalar n at a place, on the smallest part of the file that a parser reads the same
// by itself. It is false without an error where there is none.
//
// Why that is enough: a parser goes from front to back. What is before the edit it reads as before. If the part alone
// reads as the very nodes that the whole file has there, then the parser ends it in no middle of anything; if the part
// with the edit does so too, it goes on after it as before.
func (f *File) proveNear(n *yaml.Node, at *place, want string, e edit) (bool, error) {
	if at == nil || n.Style&yaml.TaggedStyle != 0 || len(f.data)+len(e.text) > maxSize {
		return false, nil
	}
	if at.node.Style&yaml.FlowStyle != 0 {
		return f.proveInFlow(n, want, e)
	}
	if n.Style&yaml.LiteralStyle != 0 && f.proveInBlock(n, at, want, e) {
		return true, nil
	}
	wanted := changes{want: map[*yaml.Node]string{n: want}}
	for tries := 3; at != nil && tries > 0; at = at.up {
		start, end, ok := f.entry(at)
		if !ok || start > e.start || end < e.end {
			continue
		}
		tries--
		part := &yaml.Node{Kind: at.node.Kind, Tag: at.node.Tag}
		if part.Kind == yaml.MappingNode {
			part.Content = at.node.Content[at.child-1 : at.child+1]
		} else {
			part.Content = at.node.Content[at.child : at.child+1]
		}
		before, err := documents(f.data[start:end])
		if err != nil || len(before) != 1 || sameBut(part, before[0], changes{}) != nil {
			continue
		}
		after, err := documents(slices.Concat(f.data[start:e.start], []byte(e.text), f.data[e.end:end]))
		if err != nil {
			return false, &gitops.Refusal{Code: gitops.Unproved, Reason: "the file would no longer parse", Cause: err}
		}
		if len(after) != 1 {
			return false, refuse(gitops.Unproved, "the number of documents would change")
		}
		return true, sameBut(part, after[0], wanted)
	}
	return false, nil
}

// proveInFlow proves an edit within {…} or […], where neither columns nor lines mean anything, on the scalar alone.
func (f *File) proveInFlow(n *yaml.Node, want string, e edit) (bool, error) {
	rest := f.data[e.end:]
	for {
		rest = bytes.TrimLeft(rest, " \t\r\n")
		if len(rest) == 0 || rest[0] != '#' {
			break
		}
		_, rest, _ = bytes.Cut(rest, []byte("\n"))
	}
	if len(rest) == 0 || !strings.ContainsRune(",]}", rune(rest[0])) || e.text[0] != '"' && f.json() {
		return false, nil
	}
	alone := func(text string) *yaml.Node {
		docs, err := documents([]byte("[" + text + "]"))
		if err != nil || len(docs) != 1 || docs[0].Kind != yaml.SequenceNode || len(docs[0].Content) != 1 {
			return nil
		}
		return docs[0].Content[0]
	}
	bare := *n
	bare.Anchor = ""
	before, after := alone(string(f.data[e.start:e.end])), alone(e.text)
	if before == nil || sameBut(&bare, before, changes{}) != nil {
		return false, nil
	}
	if after == nil {
		return false, refuse(gitops.Unproved, "the file would no longer parse")
	}
	return true, sameBut(&bare, after, changes{want: map[*yaml.Node]string{&bare: want}})
}

// proveInBlock proves an edit within a line of a block that is literal, with its key, that line, and one before it
// that settles the indentation: what a line reads as depends on nothing else.
func (f *File) proveInBlock(n *yaml.Node, at *place, want string, e edit) bool {
	start, end, ok := f.entry(at)
	first := f.lines.at(f.header(n)) + 1
	line := f.lines.at(e.start)
	inner := f.inner[n]
	if !ok || inner == nil || start > e.start || end < e.end || line < first || line-first >= len(inner.lines.start) {
		return false
	}
	begin, written := f.lines.start[line-1], f.lines.line(line)
	old := string(inner.lines.line(line - first + 1))
	blanks := len(written) - len(old)
	if old == "" || blanks < 1 || indent(written) < blanks || e.end > begin+len(written) {
		return false
	}
	edited := slices.Concat(f.data[begin:e.start], []byte(e.text), f.data[e.end:begin+len(written)])
	before := inner.lines.start[line-first]
	if indent(edited) != indent(written) || want != n.Value[:before]+string(edited[blanks:])+n.Value[before+len(old):] {
		return false
	}
	head := slices.Concat(f.data[start:f.lines.start[first-1]], bytes.Repeat([]byte(" "), blanks), []byte("x\n"))
	reads := func(line []byte, text string) bool {
		docs, err := documents(slices.Concat(head, line, []byte("\n")))
		if err != nil || len(docs) != 1 || docs[0].Kind != at.node.Kind || len(docs[0].Content) == 0 {
			return false
		}
		got := docs[0].Content[len(docs[0].Content)-1]
		return got.Kind == yaml.ScalarNode && got.Tag == "!!str" && got.Style == n.Style && got.Anchor == n.Anchor &&
			strings.TrimRight(got.Value, "\n") == "x\n"+text
	}
	return reads(written, old) && reads(edited, string(edited[blanks:]))
}

// entry returns the lines of a key and its value, or of a list's item, in a block: from the line whose first characters
// are the key or the dash to the next one that is not indented more.
func (f *File) entry(at *place) (start, end int, ok bool) {
	first, column := at.node.Content[at.child].Line, at.node.Column
	mapping := at.node.Kind == yaml.MappingNode
	if mapping {
		first, column = at.node.Content[at.child-1].Line, at.node.Content[at.child-1].Column
	}
	text := f.lines.line(first)
	if at.node.Style&yaml.FlowStyle != 0 || indent(text) != column-1 || !mapping && !dash(text[column-1:]) {
		return 0, 0, false
	}
	for line := first + 1; line <= len(f.lines.start); line++ {
		text := f.lines.line(line)
		in := indent(text)
		switch {
		case in == len(text) || text[in] == '#' || in >= column:
		case in == column-1 && mapping && dash(text[in:]): // a list may stand as far left as its key
		default:
			return f.lines.start[first-1], f.lines.start[line-1], true
		}
	}
	return f.lines.start[first-1], len(f.data), true
}

// indent is the number of blanks that a line begins with.
func indent(line []byte) int { return len(line) - len(bytes.TrimLeft(line, " ")) }

// dash says that a text begins with a list's item.
func dash(text []byte) bool {
	return len(text) > 0 && text[0] == '-' && (len(text) == 1 || isBlank(text[1]))
}

// json says that the file is JSON, so that it must stay so.
func (f *File) json() bool {
	text := bytes.TrimLeft(f.data, " \t\r\n")
	return len(text) > 0 && (text[0] == '{' || text[0] == '[') && json.Valid(f.data)
}

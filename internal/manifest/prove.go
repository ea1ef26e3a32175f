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
	return f.proveWhole(out, c.want)
}

// proveWhole parses out.
func (f *File) proveWhole(out []byte, want map[*yaml.Node]string) error {
	docs, err := documents(out)
	if err != nil {
		return &gitops.Refusal{Code: gitops.Unproved, Reason: "the file would no longer parse", Cause: err}
	}
	if len(docs) != len(f.docs) {
		return refuse(gitops.Unproved, "the number of documents would change")
	}
	for i := range docs {
		if err := sameBut(f.docs[i], docs[i], want); err != nil {
			return err
		}
	}
	return nil
}

// sameBut compares what a node was with what it would be: equal everywhere, but for the scalars in want, which must
// read as those strings.
func sameBut(a, b *yaml.Node, want map[*yaml.Node]string) error {
	if a == nil || b == nil {
		if a != b {
			return refuse(gitops.Unproved, "a document would vanish")
		}
		return nil
	}
	if text, ok := want[a]; ok {
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
		if err := sameBut(a.Content[i], b.Content[i], want); err != nil {
			return err
		}
	}
	return nil
}

// proveNear proves one edit, of the scalar n at a place, on the smallest part of the file that a parser reads the same by itself.
// It is false without an error where there is none.
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
	wanted := map[*yaml.Node]string{n: want}
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
		if err != nil || len(before) != 1 || sameBut(part, before[0], nil) != nil {
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
	if len(rest) == 0 || !strings.ContainsRune(",]}", rune(rest[0])) || f.json() && e.text[0] != '"' {
		return false, nil
	}
	alone := func(text string) *yaml.Node {
		docs, err := documents([]byte("[" + text + "]"))
		if err != nil || len(docs) != 1 || docs[0].Kind != yaml.SequenceNode || len(docs[0].Content) != 1 {
			return nil
		}
		return docs[0].Content[0]
	}
	plain := *n
	plain.Anchor = ""
	before, after := alone(string(f.data[e.start:e.end])), alone(e.text)
	if before == nil || sameBut(&plain, before, nil) != nil {
		return false, nil
	}
	if after == nil {
		return false, refuse(gitops.Unproved, "the file would no longer parse")
	}
	return true, sameBut(&plain, after, map[*yaml.Node]string{&plain: want})
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

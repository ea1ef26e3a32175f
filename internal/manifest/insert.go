package manifest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// A Map is what Append and Insert add: keys in order, each with a string, a Map or a List.
type Map []Entry

// An Entry is a key of a Map.
type Entry struct {
	Key   string
	Value any
}

// A List is a list of strings, Maps and Lists.
type List []any

// Append returns the file with item added to the end of the list at path; the list, and the maps around it, are made
// where they are not there. It is written as its neighbours are, and proved: nothing else is added or changed. Codes:
// those of Scalar.Refusal; NotFound and Ambiguous (the path leads nowhere); Unproved.
func (f *File) Append(path string, item any) ([]byte, error) {
	t, err := f.target(path)
	if err != nil {
		return nil, err
	}
	if len(t.missing) == 0 && t.node.Kind == yaml.SequenceNode && len(t.node.Content) > 0 {
		return f.add(t, item)
	}
	if len(t.missing) == 0 && !vacant(t.node) {
		return nil, refuse(gitops.Unproved, "%s is no list", path)
	}
	return f.add(t, List{item})
}

// Insert returns the file with value added at path, where nothing is yet, with the maps around it where they are not
// there either. Style, proof and codes are those of Append.
func (f *File) Insert(path string, value any) ([]byte, error) {
	t, err := f.target(path)
	if err != nil {
		return nil, err
	}
	if len(t.missing) == 0 && !vacant(t.node) {
		return nil, refuse(gitops.Unproved, "%s is there already", path)
	}
	return f.add(t, value)
}

// vacant says that nothing is lost if something else stands there: null, [] and {}.
func vacant(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Tag == "!!null" || n.Kind != yaml.ScalarNode && n.Style&yaml.FlowStyle != 0 && len(n.Content) == 0
}

// A target is where something is to be added: the deepest node of a path that is there, and the keys that are not.
type target struct {
	document int
	node     *yaml.Node
	at       *place // of node
	missing  []string
}

func (f *File) target(path string) (target, error) {
	levels, err := parsePath(path)
	if err != nil {
		return target{}, err
	}
	if len(levels) > 1 {
		return target{}, refuse(gitops.Unproved, "%s stands in a text; ferry adds nothing there", path)
	}
	t := target{document: -1}
	for d, name := range f.names {
		if f.docs[d] == nil || levels[0].document != "" && levels[0].document != name && !f.only(d, levels[0].document) {
			continue
		}
		if t.document >= 0 {
			return target{}, refuse(gitops.Ambiguous, "the file has several documents; the path must begin with that of one")
		}
		t.document, t.node = d, f.docs[d]
	}
	switch {
	case t.document < 0:
		return target{}, refuse(gitops.NotFound, "there is no document for %s", path)
	case f.encrypted(t.document):
		return target{}, refuse(gitops.Secret, "the document is encrypted by SOPS")
	}
	for i, s := range levels[0].steps {
		p := into(t.at, t.node, s)
		if p == nil {
			if merged := mergedFrom(t.node, s); merged != nil {
				return target{}, refuse(gitops.Alias, "%s comes from the map merged with << in line %d", path, merged.Line)
			}
			for _, s := range levels[0].steps[i:] {
				if !s.keyed {
					return target{}, refuse(gitops.NotFound, "there is no %s", path)
				}
				t.missing = append(t.missing, s.key)
			}
			break
		}
		if p.twice {
			return target{}, refuse(gitops.DuplicateKey, "the key %q is written more than once", s.key)
		}
		t.at, t.node = p, p.node.Content[p.child]
		if line := f.aliases[t.node]; line > 0 || t.node.Kind == yaml.AliasNode {
			return target{}, refuse(gitops.Alias, "%s is used in several places, through an anchor", path)
		}
	}
	if len(t.missing) > 0 && t.node.Kind != yaml.MappingNode && !vacant(t.node) {
		return target{}, refuse(gitops.NotFound, "there is no %s", path)
	}
	return t, nil
}

// add writes value at t: as a new item of a list, under a new key of a map, or in the stead of nothing.
func (f *File) add(t target, value any) ([]byte, error) {
	for i := len(t.missing) - 1; i > 0 || i == 0 && vacant(t.node); i-- {
		value = Map{{t.missing[i], value}}
	}
	made, err := node(value)
	if err != nil {
		return nil, err
	}
	byHand := refuse(gitops.Unproved, "ferry cannot add to what is in line %d; do it by hand", t.node.Line)
	w := f.writer(t)
	grown := *t.node
	var lines []string
	var edits []edit
	var places []int
	switch {
	case vacant(t.node):
		if made.Kind == yaml.ScalarNode || t.at == nil || t.at.node.Kind != yaml.MappingNode || t.at.node.Style&yaml.FlowStyle != 0 {
			return nil, byHand
		}
		grown = *made
		if t.node.Value != "" || t.node.Kind != yaml.ScalarNode {
			start := f.header(t.node)
			end := start + len(t.node.Value)
			if t.node.Kind != yaml.ScalarNode {
				end = start + bytes.IndexAny(f.data[start:], "]}") + 1
			}
			blanks := len(f.data[:start]) - len(bytes.TrimRight(f.data[:start], " "))
			edits = append(edits, edit{start - blanks, end, ""})
		}
		column := t.at.node.Content[t.at.child-1].Column - 1
		lines = w.below(value, column)
		places = []int{f.after(t.node.Line)}
	case t.node.Style&yaml.FlowStyle != 0 || len(t.node.Content) == 0:
		return nil, byHand
	case t.node.Kind == yaml.SequenceNode:
		grown.Content = append(slices.Clone(t.node.Content), made)
		lines = w.item(value, t.node.Column-1)
		places = f.behind(t)
	default:
		grown.Content = append(slices.Clone(t.node.Content), &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: t.missing[0]}, made)
		lines = w.entry(Entry{t.missing[0], value}, t.node.Content[0].Column-1)
		places = f.behind(t)
	}
	failed := error(byHand)
	for _, at := range places {
		out, err := f.apply(changes{edits: append(slices.Clone(edits), edit{at, at, f.paragraph(at, lines)})}, false)
		if err != nil {
			return nil, err
		}
		if failed = f.proveWhole(out, changes{grown: map[*yaml.Node]*yaml.Node{t.node: &grown}}); failed == nil {
			return out, nil
		}
	}
	return nil, failed
}

// node is what a value reads as.
func node(value any) (*yaml.Node, error) {
	text := func(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }
	switch v := value.(type) {
	case string:
		return text(v), nil
	case List:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, item := range v {
			made, err := node(item)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, made)
		}
		return n, nil
	case Map:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, e := range v {
			made, err := node(e.Value)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, text(e.Key), made)
		}
		return n, nil
	}
	return nil, fmt.Errorf("add a %T: only strings, Maps and Lists can be added", value)
}

// behind returns where lines can go that follow the last child of t: before blank lines and comments that stand to its
// left or below it, or after them (they belong to a text where its last line ends are kept).
func (f *File) behind(t target) []int {
	p := &place{up: t.at, node: t.node, child: len(t.node.Content) - 1}
	column := t.node.Column - 1
	if t.node.Kind == yaml.MappingNode {
		column = t.node.Content[0].Column - 1
	}
	for ; p != nil; p = p.up {
		_, end, ok := f.entry(p)
		if !ok {
			continue // it begins behind the dash of a list, whose item ends with it
		}
		line := f.lines.at(end)
		if end == len(f.data) && end > f.lines.start[line-1] {
			line++
		}
		for ; line > t.node.Line+1; line-- {
			text := f.lines.line(line - 1)
			if in := indent(text); len(bytes.TrimSpace(text)) > 0 && (text[in] != '#' || in > column) {
				break
			}
		}
		if tight := f.after(line - 1); tight != end {
			return []int{tight, end}
		}
		return []int{end}
	}
	return nil
}

// after is the offset of the line after a line.
func (f *File) after(line int) int {
	if line >= len(f.lines.start) {
		return len(f.data)
	}
	return f.lines.start[line]
}

// paragraph joins lines for a place, which is the begin of a line or the end of the file, with the line ends that the
// line before has.
func (f *File) paragraph(at int, lines []string) string {
	before := f.data[:at]
	end := "\n"
	if bytes.HasSuffix(bytes.TrimRight(before, "\n"), []byte("\r")) || bytes.Contains(f.data[:min(at, f.after(1))], []byte("\r\n")) {
		end = "\r\n"
	}
	text := strings.Join(lines, end)
	if len(before) > 0 && before[len(before)-1] != '\n' {
		return end + text // a file without a final line end stays one
	}
	return text + end
}

// A writer writes values as their neighbours are.
type writer struct {
	file *File
	step int // by which a map in a map is indented
	list int // by which a list in a map is
	gap  int // from a list's dash to what it lists
	// like is the value whose quotes a string gets that is the value of a key, or an item (""), of what is added.
	like func(key string) *yaml.Node
}

// writer looks at how a document is written.
func (f *File) writer(t target) writer {
	w := writer{file: f, step: -1, list: -1, gap: 2, like: func(string) *yaml.Node { return nil }}
	var look func(n *yaml.Node)
	look = func(n *yaml.Node) {
		for i := 1; i < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
			key, value := n.Content[i-1], n.Content[i]
			if len(value.Content) == 0 || value.Style&yaml.FlowStyle != 0 || value.Line == key.Line {
				continue
			}
			switch by := value.Content[0].Column - key.Column; {
			case value.Kind == yaml.MappingNode && w.step < 0:
				w.step = by
			case value.Kind == yaml.SequenceNode && w.list < 0:
				w.list = value.Column - key.Column
			}
		}
		for _, c := range n.Content {
			look(c)
		}
	}
	look(f.docs[t.document])
	if w.step < 1 {
		w.step = 2
	}
	if w.list < 0 {
		w.list = 2
	}
	if len(t.node.Content) > 0 {
		last := t.node.Content[len(t.node.Content)-1]
		w.like = func(string) *yaml.Node { return last }
		if t.node.Kind == yaml.SequenceNode {
			if last.Line == t.node.Line || last.Column > t.node.Column {
				w.gap = max(2, last.Column-t.node.Column)
			}
			w.like = func(key string) *yaml.Node {
				if i := child(last, step{keyed: true, key: key}); i >= 0 {
					return last.Content[i]
				}
				return last
			}
		}
	}
	return w
}

// deeper is the writer of what stands within the value: it has no neighbours.
func (w writer) deeper() writer {
	w.like = func(string) *yaml.Node { return nil }
	return w
}

// entry writes a key and its value, indented by so many blanks.
func (w writer) entry(e Entry, by int) []string {
	key := strings.Repeat(" ", by) + w.file.encode(0, false, e.Key) + ":"
	if lines := w.below(e.Value, by); lines != nil {
		return append([]string{key}, lines...)
	}
	inline := w.inline(e.Key, e.Value, by+w.step)
	return append([]string{key + " " + inline[0]}, inline[1:]...)
}

// below writes a map or list that has something in it, for under a key that is indented by so many blanks.
func (w writer) below(value any, by int) []string {
	var lines []string
	switch v := value.(type) {
	case Map:
		for _, e := range v {
			lines = append(lines, w.deeper().entry(e, by+w.step)...)
		}
	case List:
		for _, item := range v {
			lines = append(lines, w.deeper().item(item, by+w.list)...)
		}
	}
	return lines
}

// item writes a list's item, its dash indented by so many blanks.
func (w writer) item(value any, by int) []string {
	var lines []string
	switch v := value.(type) {
	case Map:
		for _, e := range v {
			lines = append(lines, w.entry(e, by+w.gap)...)
		}
	case List:
		for _, item := range v {
			lines = append(lines, w.deeper().item(item, by+w.gap)...)
		}
	}
	if lines == nil {
		lines = w.inline("", value, by+w.step)
		lines[0] = strings.Repeat(" ", by+w.gap) + lines[0]
	}
	lines[0] = strings.Repeat(" ", by) + "-" + lines[0][by+1:]
	return lines
}

// inline writes what begins on the line of its key or dash: a string, with the lines of a text below, indented by so
// many blanks; or an empty map or list.
func (w writer) inline(key string, value any, by int) []string {
	text, ok := value.(string)
	if !ok {
		if _, ok := value.(List); ok {
			return []string{"[]"}
		}
		return []string{"{}"}
	}
	body := strings.TrimSuffix(text, "\n")
	if strings.Contains(text, "\n") && body != "" && !strings.ContainsAny(body[:1], " \t\n") && !strings.HasSuffix(body, "\n") && simple(strings.ReplaceAll(body, "\n", "")) {
		lines := []string{"|"}
		if body == text {
			lines[0] = "|-"
		}
		for line := range strings.SplitSeq(body, "\n") {
			if line != "" {
				line = strings.Repeat(" ", by) + line
			}
			lines = append(lines, line)
		}
		return lines
	}
	var like yaml.Style
	if n := w.like(key); n != nil && n.Kind == yaml.ScalarNode {
		like = n.Style & (yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle)
	}
	return []string{w.file.encode(like, false, text)}
}

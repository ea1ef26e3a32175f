// Package manifest treats YAML as bytes: it finds one scalar, replaces exactly its characters, and proves that nothing
// else changed. It never writes a document anew, because that would lose comments, quotes and line ends.
package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// A File is the text of a YAML file and its documents.
type File struct {
	data []byte
	docs []*yaml.Node // root nodes; nil for an empty document
}

// Limits that keep hostile files from costing more than they are worth.
const (
	maxSize  = 1 << 20
	maxDepth = 100
)

// Parse reads a file. What it refuses has code NotYAML: text that is no YAML, or whose positions the parser counts
// otherwise than a byte would (lone CR, NEL, LS and PS end a line for it).
func Parse(data []byte) (*File, error) {
	switch {
	case len(data) > maxSize:
		return nil, refuse(gitops.NotYAML, "the file is larger than %d KiB", maxSize>>10)
	case !utf8.Valid(data):
		return nil, refuse(gitops.NotYAML, "the file is not UTF-8 text")
	case bytes.Contains(bytes.ReplaceAll(data, []byte("\r\n"), nil), []byte("\r")) || bytes.ContainsAny(data, "\u0085\u2028\u2029"):
		return nil, refuse(gitops.NotYAML, "the file has line separators other than LF and CR LF")
	}
	f := &File{data: data}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return f, nil
		}
		if err != nil {
			return nil, refuse(gitops.NotYAML, "%s", strings.TrimPrefix(err.Error(), "yaml: "))
		}
		var root *yaml.Node
		if len(doc.Content) == 1 {
			root = doc.Content[0]
		}
		if depth(root, 0) > maxDepth {
			return nil, refuse(gitops.NotYAML, "the file is nested deeper than %d levels", maxDepth)
		}
		f.docs = append(f.docs, root)
	}
}

// refuse words a refusal; the caller names the file.
func refuse(code gitops.Code, format string, args ...any) *gitops.Refusal {
	return &gitops.Refusal{Code: code, Reason: fmt.Sprintf(format, args...)}
}

func depth(n *yaml.Node, at int) int {
	deepest := at
	if n == nil || at > maxDepth {
		return at
	}
	for _, c := range n.Content {
		deepest = max(deepest, depth(c, at+1))
	}
	return deepest
}

// Len is the number of documents, empty ones included.
func (f *File) Len() int { return len(f.docs) }

// A Step leads from a node into one of its children: Key into a map; Name to the list item whose "name" it is; else
// Index into a list.
type Step struct {
	Key   string
	Name  string
	Index int
}

// Key is a step into a map for each of names.
func Key(names ...string) []Step {
	steps := make([]Step, len(names))
	for i, n := range names {
		steps[i] = Step{Key: n}
	}
	return steps
}

// Path writes steps as people do: spec.containers[name=app].image, images[0].newTag.
func Path(steps []Step) string {
	var b strings.Builder
	for _, s := range steps {
		switch {
		case s.Key != "":
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s.Key)
		case s.Name != "":
			fmt.Fprintf(&b, "[name=%s]", s.Name)
		default:
			fmt.Fprintf(&b, "[%d]", s.Index)
		}
	}
	return b.String()
}

// A Scalar is one scalar of a file, as found.
type Scalar struct {
	Document int // 0-based
	Steps    []Step
	Line     int // 1-based
	Value    string
	node     *yaml.Node
}

// Text returns the value at keys of a document, empty where there is none or it is no scalar.
func (f *File) Text(document int, keys ...string) string {
	n, err := walk(f.docs[document], Key(keys...))
	if err != nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

// Items returns how many items the list at steps has; 0 where it is no list.
func (f *File) Items(document int, steps ...Step) int {
	n, err := walk(f.docs[document], steps)
	if err != nil || n.Kind != yaml.SequenceNode {
		return 0
	}
	return len(n.Content)
}

// Scalar finds the scalar at steps. Codes: NotFound, Alias (the value is an alias, or its anchor is used elsewhere),
// DuplicateKey.
func (f *File) Scalar(document int, steps ...Step) (Scalar, error) {
	n, err := walk(f.docs[document], steps)
	if err != nil {
		return Scalar{}, err
	}
	switch {
	case n.Kind == yaml.AliasNode:
		return Scalar{}, refuse(gitops.Alias, "%s is an alias of another value (*%s)", Path(steps), n.Value)
	case n.Kind != yaml.ScalarNode:
		return Scalar{}, refuse(gitops.NotFound, "%s is not a single value", Path(steps))
	case n.Anchor != "" && aliased(f.docs[document], n):
		return Scalar{}, refuse(gitops.Alias, "the value of %s is used elsewhere too, through its anchor &%s", Path(steps), n.Anchor)
	}
	return Scalar{Document: document, Steps: slices.Clone(steps), Line: n.Line, Value: n.Value, node: n}, nil
}

func aliased(n, anchor *yaml.Node) bool {
	if n == nil {
		return false
	}
	if n.Kind == yaml.AliasNode {
		return n.Alias == anchor
	}
	return slices.ContainsFunc(n.Content, func(c *yaml.Node) bool { return aliased(c, anchor) })
}

func walk(n *yaml.Node, steps []Step) (*yaml.Node, error) {
	for i, s := range steps {
		at := Path(steps[:i+1])
		var next *yaml.Node
		switch {
		case n == nil:
		case n.Kind == yaml.AliasNode:
			return nil, refuse(gitops.Alias, "%s is reached through the alias *%s", at, n.Value)
		case s.Key != "" && n.Kind == yaml.MappingNode:
			for j := 0; j+1 < len(n.Content); j += 2 {
				if n.Content[j].Value != s.Key {
					continue
				}
				if next != nil {
					return nil, refuse(gitops.DuplicateKey, "%s is written twice, in lines %d and %d", at, next.Line, n.Content[j+1].Line)
				}
				next = n.Content[j+1]
			}
		case s.Name != "" && n.Kind == yaml.SequenceNode:
			for _, item := range n.Content {
				if named, err := walk(item, Key("name")); err == nil && named.Value == s.Name {
					if next != nil {
						return nil, refuse(gitops.Ambiguous, "%s stands there twice, in lines %d and %d", at, next.Line, item.Line)
					}
					next = item
				}
			}
		case s.Key == "" && s.Name == "" && n.Kind == yaml.SequenceNode && s.Index < len(n.Content):
			next = n.Content[s.Index]
		}
		if next == nil {
			return nil, refuse(gitops.NotFound, "there is no %s", at)
		}
		n = next
	}
	if n == nil {
		return nil, refuse(gitops.NotFound, "the document is empty")
	}
	return n, nil
}

// Replace returns the file with the scalar's text replaced, everything else kept to the byte, and proves it: both
// texts parse to the same documents but for this one value, and that value reads as the string wanted. Code Unproved
// if it cannot be shown.
func (f *File) Replace(s Scalar, value string) ([]byte, error) {
	start, end, err := f.token(s.node)
	if err != nil {
		return nil, err
	}
	text := encode(s.node.Style, value)
	out := slices.Concat(f.data[:start], []byte(text), f.data[end:])
	changed, err := Parse(out)
	if err != nil {
		return nil, &gitops.Refusal{Code: gitops.Unproved, Reason: "the file would no longer parse", Cause: err}
	}
	if len(changed.docs) != len(f.docs) {
		return nil, refuse(gitops.Unproved, "the number of documents would change")
	}
	for i := range f.docs {
		var want []Step
		if i == s.Document {
			want = s.Steps
		}
		if err := sameBut(f.docs[i], changed.docs[i], want, i == s.Document, value); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// sameBut compares two nodes: equal everywhere, but if differ is set for the value at steps, which must read as the
// string want.
func sameBut(a, b *yaml.Node, steps []Step, differ bool, want string) error {
	if a == nil || b == nil {
		if a != b {
			return refuse(gitops.Unproved, "a document would vanish")
		}
		return nil
	}
	target := (*yaml.Node)(nil)
	if differ {
		n, err := walk(b, steps)
		if err != nil {
			return err
		}
		if n.Kind != yaml.ScalarNode || n.Tag != "!!str" || n.Value != want {
			return refuse(gitops.Unproved, "the value would read as %s %q", strings.TrimPrefix(n.Tag, "!!"), n.Value)
		}
		target = n
	}
	var same func(a, b *yaml.Node) bool
	same = func(a, b *yaml.Node) bool {
		if b == target {
			return a.Kind == yaml.ScalarNode && a.Anchor == b.Anchor
		}
		if a.Kind != b.Kind || a.Value != b.Value || a.Tag != b.Tag || a.Anchor != b.Anchor || len(a.Content) != len(b.Content) {
			return false
		}
		for i := range a.Content {
			if !same(a.Content[i], b.Content[i]) {
				return false
			}
		}
		return true
	}
	if !same(a, b) {
		return refuse(gitops.Unproved, "more than the one value would change")
	}
	return nil
}

// token returns the bytes of a scalar as written, its quotes included. The parser gives line and column in characters
// (a byte order mark not counted), at an anchor or tag the column of that.
func (f *File) token(n *yaml.Node) (start, end int, err error) {
	start = f.offset(n.Line, n.Column)
	for start < len(f.data) && (f.data[start] == '&' || f.data[start] == '!') { // anchor, tag
		for start < len(f.data) && !isBlank(f.data[start]) {
			start++
		}
		for start < len(f.data) && isBlank(f.data[start]) {
			start++
		}
	}
	rest := f.data[start:]
	switch {
	case n.Style&yaml.DoubleQuotedStyle != 0:
		end = closing(rest, '"', '\\')
	case n.Style&yaml.SingleQuotedStyle != 0:
		end = closing(rest, '\'', '\'')
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return 0, 0, refuse(gitops.Unproved, "the value in line %d is a block of text", n.Line)
	case len(n.Value) > 0 && bytes.HasPrefix(rest, []byte(n.Value)):
		end = len(n.Value)
	default:
		end = -1 // a plain scalar over several lines, or an empty one
	}
	if end < 0 {
		return 0, 0, refuse(gitops.Unproved, "the value in line %d is not written in one line", n.Line)
	}
	return start, start + end, nil
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
		case text[i] == escape && i+1 < len(text) && (escape != quote || text[i+1] == quote):
			i++
		case text[i] == quote:
			return i + 1
		}
	}
	return -1
}

func (f *File) offset(line, column int) int {
	at := 0
	if bytes.HasPrefix(f.data, []byte("\xef\xbb\xbf")) {
		at = 3
	}
	for range line - 1 {
		next := bytes.IndexByte(f.data[at:], '\n')
		if next < 0 {
			return len(f.data)
		}
		at += next + 1
	}
	for range column - 1 {
		_, size := utf8.DecodeRune(f.data[at:])
		at += size
	}
	return min(at, len(f.data))
}

// encode writes a value in the style that the old one had, or in double quotes where a plain one would not read as
// that string.
func encode(style yaml.Style, value string) string {
	switch {
	case style&yaml.SingleQuotedStyle != 0:
		return "'" + strings.ReplaceAll(value, "'", "''") + "'"
	case style&yaml.DoubleQuotedStyle == 0 && plain(value):
		return value
	default:
		return strconv.Quote(value)
	}
}

// plain says that a value needs no quotes for any reader: YAML 1.2's, and YAML 1.1's through which Kubernetes reads,
// where on, no and y are booleans.
func plain(value string) bool {
	if value == "" || strings.Trim(value, " \t") != value || strings.ContainsAny(value, ",[]{}\"'`\n") ||
		strings.Contains(value, ": ") || strings.HasSuffix(value, ":") || strings.Contains(value, " #") ||
		strings.ContainsRune("*&!%@>|#?-", rune(value[0])) {
		return false
	}
	switch strings.ToLower(value) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", ".nan", ".inf", "-.inf", "+.inf":
		return false
	}
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(value), &n); err != nil || len(n.Content) != 1 {
		return false
	}
	return n.Content[0].Tag == "!!str" && n.Content[0].Value == value && !number.MatchString(value)
}

// number matches what YAML 1.1 or 1.2 reads as a number, and what looks like one closely enough to be quoted:
// 0888, 1_000, 0b11, 1e5, .5, 190:20:30.
var number = regexp.MustCompile(`^[-+]?(0[box])?[0-9a-fA-F_]*[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9_]+)?$|^[-+]?\.[0-9_]+([eE][-+]?[0-9]+)?$|^[-+]?[0-9_]+(:[0-9_]+)+(\.[0-9_]*)?$`)

// Package manifest treats YAML as bytes: it finds one scalar, replaces exactly its characters, and proves that nothing
// else changed. It never writes a document anew, because that would lose comments, quotes and line ends.
//
// A scalar is named by its path (see Scalar). YAML that stands inside a scalar, as in a ConfigMap's "values.yaml: |" or
// an inline patch, is a File of its own within the outer one; an edit there is proved on every level.
package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// A File is the text of a YAML file and its documents. It does not change, so it may be used by several goroutines.
type File struct {
	data    []byte
	lines   lines
	docs    []*yaml.Node         // root nodes; nil for an empty document
	aliases map[*yaml.Node]int   // the line of the first alias of a node that has one
	inner   map[*yaml.Node]*File // YAML within scalars
	texts   *int                 // how many scalars have been looked into, in all
	names   []string             // of the documents, as paths begin with them
	holder  *holder              // the scalar this file stands in; nil for a real file
	quotes  map[yaml.Style]bool  // which kinds of quotes are in use
}

// Limits that keep hostile files from costing more than they are worth: the parser needs about 250 bytes for each
// value, and a second for a few million of them.
const (
	maxSize       = 2 << 20
	maxSeparators = 400_000 // of what may separate two values: about the most keys and values that there can be
	maxDepth      = 100
	maxInner      = 3    // levels of YAML within scalars
	maxTexts      = 1000 // texts of a file that are looked into for YAML
	maxPath       = 1024 // bytes; what is deeper or has longer keys is no version
)

// Parse reads a file. What it refuses has code NotYAML: text that is no YAML, or whose positions the parser counts
// otherwise than a byte would (lone CR, NEL, LS and PS end a line for it). The reason names the line.
func Parse(data []byte) (*File, error) { return parse(data, nil) }

func parse(data []byte, in *holder) (*File, error) {
	docs, err := documents(data)
	if err != nil {
		return nil, err
	}
	f := &File{data: data, lines: linesOf(data), docs: docs, holder: in,
		texts: new(int), aliases: map[*yaml.Node]int{}, inner: map[*yaml.Node]*File{}, quotes: map[yaml.Style]bool{}}
	f.names = f.identities()
	for _, root := range docs {
		f.note(root)
	}
	if in != nil {
		f.texts = in.file.texts
	}
	if in.depth() < maxInner {
		for d := range docs {
			f.visit(d, func(n *yaml.Node, at *place) bool {
				f.open(d, n, at)
				return true
			})
		}
	}
	return f, nil
}

// note keeps what is asked of all nodes.
func (f *File) note(n *yaml.Node) {
	if n == nil {
		return
	}
	if n.Kind == yaml.AliasNode && f.aliases[n.Alias] == 0 {
		f.aliases[n.Alias] = n.Line
	}
	f.quotes[n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle)] = true
	for _, c := range n.Content {
		f.note(c)
	}
}

// documents parses the root nodes of all documents and enforces the limits.
func documents(data []byte) (docs []*yaml.Node, err error) {
	if err := readable(data); err != nil {
		return nil, err
	}
	defer func() {
		if r := recover(); r != nil { // the parser's way to say that it is at its end
			docs, err = nil, refuse(gitops.NotYAML, "the parser of YAML fails: %v", r)
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, wrong(data, err)
		}
		var root *yaml.Node
		if len(doc.Content) == 1 && !empty(doc.Content[0]) {
			root = doc.Content[0]
		}
		if err := sound(root, 0); err != nil {
			return nil, err
		}
		docs = append(docs, root)
	}
}

// empty says that a document is only what separates it from others.
func empty(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == "" && n.Style == 0 && n.Anchor == ""
}

// readable refuses what need not be parsed.
func readable(data []byte) error {
	if len(data) > maxSize {
		return refuse(gitops.NotYAML, "the file is larger than %d KiB", maxSize>>10)
	}
	if bytes.HasPrefix(data, []byte("version https://git-lfs.github.com/spec/")) {
		return refuse(gitops.NotYAML, "the file is a pointer of Git LFS; its content is elsewhere")
	}
	line, separators := 1, 0
	for i := 0; i < len(data); {
		r, size := rune(data[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(data[i:])
		}
		switch {
		case r == utf8.RuneError && size == 1:
			return refuse(gitops.NotYAML, "line %d is not UTF-8 text", line)
		case r == '\n':
			line++
			separators++
		case r == '\r' && (i+1 == len(data) || data[i+1] != '\n'), r == '\u0085', r == '\u2028', r == '\u2029':
			return refuse(gitops.NotYAML, "line %d has a line separator other than LF and CR LF", line)
		case r < ' ' && r != '\t' && r != '\r', r == 0x7f, r > 0x7f && r < 0xa0:
			return refuse(gitops.NotYAML, "line %d has a control character", line)
		case r == ',' || r == '[' || r == '{', (r == '-' || r == '?' || r == ':') && i+1 < len(data) && isBlank(data[i+1]):
			separators++
		}
		i += size
	}
	if separators > maxSeparators {
		return refuse(gitops.NotYAML, "the file has more values than ferry reads")
	}
	return nil
}

var (
	atLine   = regexp.MustCompile(`^line (\d+): `)
	anchor   = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
	template = regexp.MustCompile(`(?m)^[^#"'\n]*\{\{`)
)

// wrong words an error of the parser, whose lines are those where it noticed, or one off.
func wrong(data []byte, err error) error {
	if at := template.FindIndex(data); at != nil {
		return refuse(gitops.NotYAML, "line %d has a template ({{ … }}), so the file is not YAML yet", 1+bytes.Count(data[:at[1]], []byte("\n")))
	}
	reason := strings.TrimPrefix(err.Error(), "yaml: ")
	if strings.Contains(reason, "found character that cannot start any token") || strings.Contains(reason, "found a tab") {
		for i, l := range bytes.Split(data, []byte("\n")) {
			if rest := bytes.TrimLeft(l, " "); bytes.HasPrefix(rest, []byte("\t")) && len(bytes.TrimSpace(rest)) > 0 {
				return refuse(gitops.NotYAML, "line %d is indented with a tab, which YAML does not allow", i+1)
			}
		}
	}
	line := "1" // the parser leaves the first line out
	if m := atLine.FindStringSubmatch(reason); m != nil {
		line, reason = m[1], strings.TrimPrefix(reason, m[0])
	} else if m := anchor.FindStringSubmatch(reason); m != nil {
		line = strconv.Itoa(1 + bytes.Count(data[:max(0, bytes.Index(data, []byte("*"+m[1])))], []byte("\n")))
	}
	return refuse(gitops.NotYAML, "it cannot be read as YAML, near line %s: %s", line, reason)
}

// sound refuses what parses and yet nothing can be done with.
func sound(n *yaml.Node, depth int) error {
	if n == nil {
		return nil
	}
	if depth > maxDepth {
		return refuse(gitops.NotYAML, "line %d is nested deeper than %d levels", n.Line, maxDepth)
	}
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && n.Style&yaml.FlowStyle != 0 && i%2 == 0 && c.Kind == yaml.MappingNode && c.Style&yaml.FlowStyle != 0 {
			return refuse(gitops.NotYAML, "line %d has a template ({{ … }}), so the file is not YAML yet", c.Line)
		}
		if err := sound(c, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// refuse words a refusal; the caller names the file.
func refuse(code gitops.Code, format string, args ...any) *gitops.Refusal {
	return &gitops.Refusal{Code: code, Reason: fmt.Sprintf(format, args...)}
}

// Len is the number of documents, empty ones included.
func (f *File) Len() int { return len(f.docs) }

// encrypted says that a document is one of SOPS: its checksum breaks with any edit.
func (f *File) encrypted(document int) bool {
	return f.Text(document, "sops", "mac") != "" || f.Text(document, "sops", "version") != ""
}

// Text returns the value at keys of a document, empty where there is none or it is no scalar.
func (f *File) Text(document int, keys ...string) string {
	n := f.docs[document]
	for _, key := range keys {
		if n == nil || n.Kind != yaml.MappingNode {
			return ""
		}
		i := child(n, step{key: key, keyed: true})
		if i < 0 {
			return ""
		}
		n = n.Content[i]
	}
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

// lines knows where lines begin. Columns are counted in characters: long lines with wide ones have marks along them,
// so that a file of one line does not cost its square.
type lines struct {
	data  []byte
	start []int         // offset of each line; a byte order mark is not part of the first
	marks map[int][]int // by line, 0-based: offsets of the characters 0, markStep, 2·markStep …; only where wide ones are
}

const markStep = 1024

func linesOf(data []byte) lines {
	l := lines{data: data, marks: map[int][]int{}}
	at := 0
	if bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) {
		at = 3
	}
	for {
		l.start = append(l.start, at)
		end := bytes.IndexByte(data[at:], '\n')
		next := at + end + 1
		if end < 0 {
			next = len(data)
		}
		if text := data[at:next]; utf8.RuneCount(text) != len(text) {
			var marks []int
			for i, n := 0, 0; i < len(text); n++ {
				if n%markStep == 0 {
					marks = append(marks, at+i)
				}
				_, size := utf8.DecodeRune(text[i:])
				i += size
			}
			l.marks[len(l.start)-1] = marks
		}
		if end < 0 {
			return l
		}
		at = next
	}
}

// offset turns the parser's line and column, both from 1, into a byte offset.
func (l lines) offset(line, column int) int {
	if line > len(l.start) {
		return len(l.data)
	}
	at, rest := l.start[line-1], column-1
	marks := l.marks[line-1]
	if marks == nil {
		return min(at+rest, len(l.data))
	}
	if m := min(rest/markStep, len(marks)-1); m >= 0 {
		at, rest = marks[m], rest-m*markStep
	}
	for range rest {
		_, size := utf8.DecodeRune(l.data[at:])
		at += size
	}
	return at
}

// line is the text of a line, from 1, without its end.
func (l lines) line(line int) []byte {
	if line > len(l.start) {
		return nil
	}
	text := l.data[l.start[line-1]:]
	if end := bytes.IndexByte(text, '\n'); end >= 0 {
		text = text[:end]
	}
	return bytes.TrimSuffix(text, []byte("\r"))
}

// at returns the line of an offset, from 1.
func (l lines) at(offset int) int {
	return sort.Search(len(l.start), func(i int) bool { return l.start[i] > offset })
}

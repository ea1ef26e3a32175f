package manifest

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// A Scalar is one scalar value of a file, as found.
type Scalar struct {
	Document int    // 0-based, of the real file
	Line     int    // 1-based, of the real file: where the value's characters begin
	Value    string // as YAML reads it; of a block scalar with its final line end; of an alias, what it stands for
	// Path is unique in its file: spec.values.image.tag, images[0].newTag, data["values.yaml"]|image.tag; in a file of
	// several documents it begins with KIND/NAMESPACE/NAME:. The second of two equal keys or documents gets "#2".
	Path string
	// Holds says that the value is YAML itself, whose scalars are listed too, with this path, "|" and their own.
	Holds bool

	file *File // the innermost
	node *yaml.Node
	at   *place // in file; nil for a document that is a scalar
}

// Scalars calls yield for every scalar value (keys are none) of every document in order, those of YAML within scalars
// after the one that holds them, until yield is false. Values under keys that are no scalars, and those with a path of
// more than 1,024 bytes, are left out.
func (f *File) Scalars(yield func(Scalar) bool) {
	f.scalars(yield)
}

func (f *File) scalars(yield func(Scalar) bool) bool {
	for d := range f.docs {
		if !f.visit(d, func(n *yaml.Node, at *place) bool {
			if s, ok := f.scalar(d, n, at); ok && !yield(s) {
				return false
			}
			inner := f.inner[n]
			return inner == nil || inner.scalars(yield)
		}) {
			return false
		}
	}
	return true
}

// visit calls each for every scalar value of a document and every alias of one, in order, until one call is false.
func (f *File) visit(document int, each func(*yaml.Node, *place) bool) bool {
	var visit func(n *yaml.Node, at *place) bool
	visit = func(n *yaml.Node, at *place) bool {
		switch {
		case n == nil:
		case isScalar(n):
			return each(n, at)
		case n.Kind == yaml.SequenceNode:
			for i, c := range n.Content {
				if !visit(c, &place{up: at, node: n, child: i}) {
					return false
				}
			}
		case n.Kind == yaml.MappingNode:
			count := make(map[string]int, len(n.Content)/2)
			for i := 0; i+1 < len(n.Content); i += 2 {
				if isScalar(n.Content[i]) {
					count[keyOf(n.Content[i])]++
				}
			}
			seen := map[string]int{}
			for i := 0; i+1 < len(n.Content); i += 2 {
				if !isScalar(n.Content[i]) {
					continue
				}
				key := keyOf(n.Content[i])
				p := &place{up: at, node: n, child: i + 1, nth: 1, twice: count[key] > 1}
				if p.twice {
					seen[key]++
					p.nth = seen[key]
				}
				if !visit(n.Content[i+1], p) {
					return false
				}
			}
		}
		return true
	}
	return visit(f.docs[document], nil)
}

func (f *File) scalar(document int, n *yaml.Node, at *place) (Scalar, bool) {
	path, ok := f.path(document, at)
	if !ok {
		return Scalar{}, false
	}
	s := Scalar{Document: document, Line: n.Line, Value: n.Value, Path: path, Holds: f.inner[n] != nil, file: f, node: n, at: at}
	if n.Kind == yaml.AliasNode {
		s.Value = n.Alias.Value
	}
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		if start, _, err := f.token(n); err == nil {
			s.Line = f.lines.at(start)
		}
	}
	s.Line = f.lineOf(s.Line)
	for h := f.holder; h != nil; h = h.file.holder {
		s.Document = h.document
	}
	return s, true
}

// lineOf turns a line of f into one of the real file.
func (f *File) lineOf(line int) int {
	h := f.holder
	switch {
	case h == nil:
		return line
	case h.style&yaml.LiteralStyle != 0:
		return h.file.lineOf(h.first + line - 1)
	default:
		return h.file.lineOf(h.first)
	}
}

// Refusal says why a scalar cannot be replaced, nil if it can. Codes: Secret (its document is encrypted by SOPS),
// DuplicateKey, Alias (it is one, or it has other uses through an anchor), Unproved (it is not written in one line, has a
// tag that makes it no string, or stands in YAML whose characters are not those of the file).
func (s Scalar) Refusal() error {
	if err := s.shared(); err != nil {
		return err
	}
	return s.unwritten()
}

// shared refuses what is written in one place and read in several, or the other way round.
func (s Scalar) shared() error {
	at, node := s.at, s.node
	for f := s.file; ; f = f.holder.file {
		if node.Kind == yaml.AliasNode {
			return refuse(gitops.Alias, "%s in line %d is the alias *%s; its anchor is in line %d", s.Path, s.Line, node.Value, f.lineOf(node.Alias.Line))
		}
		for n, p := node, at; ; n, p = p.node, p.up {
			if line := f.aliases[n]; line > 0 {
				return refuse(gitops.Alias, "%s in line %d is used elsewhere too, through the anchor &%s: in line %d", s.Path, s.Line, n.Anchor, f.lineOf(line))
			}
			if p == nil {
				break
			}
			if p.twice {
				return refuse(gitops.DuplicateKey, "the key %q of %s is written more than once", keyOf(p.node.Content[p.child-1]), s.Path)
			}
		}
		if f.holder == nil {
			if f.encrypted(s.Document) {
				return refuse(gitops.Secret, "the document is encrypted by SOPS")
			}
			return nil
		}
		at, node = f.holder.at, f.holder.node
	}
}

// unwritten refuses what has no characters of its own to replace.
func (s Scalar) unwritten() error {
	if s.node.Kind == yaml.AliasNode {
		return refuse(gitops.Alias, "%s in line %d is the alias *%s", s.Path, s.Line, s.node.Value)
	}
	if s.node.Style&yaml.TaggedStyle != 0 && s.node.Tag != "!!str" {
		return refuse(gitops.Unproved, "%s in line %d has the tag %s, so it is no string", s.Path, s.Line, s.node.Tag)
	}
	if _, _, err := s.file.token(s.node); err != nil {
		return refuse(gitops.Unproved, "%s in line %d %s", s.Path, s.Line, err)
	}
	for h := s.file.holder; h != nil; h = h.file.holder {
		if h.refusal != "" {
			return refuse(gitops.Unproved, "%s in line %d stands in text that %s", s.Path, s.Line, h.refusal)
		}
	}
	return nil
}

// A holder is a scalar with YAML in it.
type holder struct {
	file     *File
	document int
	node     *yaml.Node
	at       *place

	style   yaml.Style
	refusal string // why the characters within are not those of the file; empty if they are
	first   int    // line of the first character within, of file
	indent  int    // bytes before each line within, of a literal block
	start   int    // offset of the first character within, of a quoted or plain scalar
	raw     []byte // the text of a quoted or plain scalar, as written between its quotes
}

func (h *holder) depth() int {
	if h == nil {
		return 0
	}
	return 1 + h.file.holder.depth()
}

// open looks for YAML in a scalar: a map or list in a block, or in a quoted text that begins as JSON or has lines.
func (f *File) open(document int, n *yaml.Node, at *place) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" || !strings.ContainsAny(n.Value, ":-[{") {
		return
	}
	h := &holder{file: f, document: document, node: n, at: at, style: n.Style, first: n.Line}
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		h.block()
	} else if trimmed := strings.TrimLeft(n.Value, " \n\t"); strings.HasPrefix(trimmed, "{") || strings.HasPrefix(trimmed, "[") || strings.Contains(trimmed, "\n") {
		start, end, err := f.token(n)
		if err != nil {
			h.refusal = err.Error()
		} else {
			h.raw = f.data[start:end]
			if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
				start, h.raw = start+1, h.raw[1:len(h.raw)-1]
			}
			h.start, h.first = start, f.lines.at(start)
		}
	} else {
		return
	}
	if *f.texts++; *f.texts > maxTexts {
		return
	}
	inner, err := parse([]byte(n.Value), h)
	if err != nil {
		return // it is another kind of text
	}
	for _, root := range inner.docs {
		if root != nil && !isScalar(root) && len(root.Content) > 0 {
			f.inner[n] = inner
			return
		}
	}
}

// block measures a block scalar.
func (h *holder) block() {
	header := h.file.header(h.node)
	h.first = h.file.lines.at(header) + 1
	switch text := h.file.data[header:]; {
	case h.node.Style&yaml.FoldedStyle != 0:
		h.refusal = "is folded (>)"
	case len(text) > 1 && strings.ContainsAny(strings.TrimLeft(string(text[1:min(3, len(text))]), "+-")[:1], "123456789"):
		h.refusal = "has an indentation indicator"
	}
	for i, line := range strings.Split(h.node.Value, "\n") {
		if line != "" {
			h.indent = len(h.file.lines.line(h.first+i)) - len(line)
			return
		}
	}
}

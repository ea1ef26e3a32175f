package manifest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// A step leads from a map or list into a child.
type step struct {
	keyed bool
	key   string // if keyed
	nth   int    // if keyed: which of several equal keys, from 2; 0 and 1 are the first
	index int    // else: of a list item
}

// A level is the way through one file: a real one, or YAML within a scalar.
type level struct {
	document string // "KIND/NAMESPACE/NAME:", as identities writes it; empty where none is named
	steps    []step
}

// bare matches keys that are written without quotes, barePart what may be so in a document's name.
var (
	bare     = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	barePart = regexp.MustCompile(`^[A-Za-z0-9._-]*$`)
)

// write appends a step as people write it.
func (s step) write(b *strings.Builder, first bool) {
	switch {
	case !s.keyed:
		b.WriteString("[" + strconv.Itoa(s.index) + "]")
	case bare.MatchString(s.key):
		if !first {
			b.WriteByte('.')
		}
		b.WriteString(s.key)
	default:
		b.WriteString("[" + quoted(s.key) + "]")
	}
	if s.nth > 1 {
		b.WriteString("#" + strconv.Itoa(s.nth))
	}
}

// identities names each document: empty in a file of one, where empty documents do not count, else
// "KIND/NAMESPACE/NAME:", from the second of that name "KIND/NAMESPACE/NAME#2:".
func (f *File) identities() []string {
	names := make([]string, len(f.docs))
	count, filled := map[string]int{}, 0
	for d, root := range f.docs {
		if root == nil {
			continue
		}
		filled++
		part := func(keys ...string) string {
			text := f.Text(d, keys...)
			if !barePart.MatchString(text) {
				return quoted(text)
			}
			return text
		}
		name := part("kind") + "/" + part("metadata", "namespace") + "/" + part("metadata", "name")
		count[name]++
		if n := count[name]; n > 1 {
			name += "#" + strconv.Itoa(n)
		}
		names[d] = name + ":"
	}
	if filled < 2 {
		clear(names)
	}
	return names
}

// parsePath reads:  [KIND/NAMESPACE/NAME[#N]:]STEPS[|…]  with STEPS of key, .key, ["any key"], [0], and #N after a key
// that is written more than once.
func parsePath(path string) ([]level, error) {
	r := reader{rest: path}
	var levels []level
	for {
		l := level{document: r.document()}
		for r.rest != "" && r.rest[0] != '|' {
			s, ok := r.step(len(l.steps) == 0)
			if !ok {
				return nil, refuse(gitops.NotFound, "%q is not a path: it cannot be read from %q on", path, r.rest)
			}
			l.steps = append(l.steps, s)
		}
		levels = append(levels, l)
		if r.rest == "" {
			return levels, nil
		}
		r.rest = r.rest[1:]
	}
}

type reader struct{ rest string }

var (
	documentName = regexp.MustCompile(`^(?:` + namePart + `/){2}` + namePart + `(?:#[0-9]+)?:`)
	stepKey      = regexp.MustCompile(`^\.?([A-Za-z0-9_-]+)`)
	stepIndex    = regexp.MustCompile(`^\[([0-9]{1,9})\]`)
	stepQuoted   = regexp.MustCompile(`^\[("(?:[^"\\]|\\.)*")\]`)
	stepNth      = regexp.MustCompile(`^#([0-9]{1,9})`)
)

const namePart = `(?:[A-Za-z0-9._-]*|"(?:[^"\\]|\\.)*")`

func (r *reader) take(pattern *regexp.Regexp) (string, bool) {
	m := pattern.FindStringSubmatch(r.rest)
	if m == nil {
		return "", false
	}
	r.rest = r.rest[len(m[0]):]
	return m[len(m)-1], true
}

func (r *reader) document() string {
	name, _ := r.take(documentName)
	return name
}

func (r *reader) step(first bool) (step, bool) {
	if text, ok := r.take(stepIndex); ok {
		n, err := strconv.Atoi(text)
		return step{index: n}, err == nil
	}
	s := step{keyed: true}
	if text, ok := r.take(stepQuoted); ok {
		if err := json.Unmarshal([]byte(text), &s.key); err != nil {
			return s, false
		}
	} else if first == strings.HasPrefix(r.rest, ".") {
		return s, false
	} else if s.key, ok = r.take(stepKey); !ok {
		return s, false
	}
	if text, ok := r.take(stepNth); ok {
		n, err := strconv.Atoi(text)
		s.nth = n
		return s, err == nil && n > 1
	}
	return s, true
}

// A place is a child of a map or list, and how it is reached.
type place struct {
	up    *place
	node  *yaml.Node // the map or list
	child int        // index into node.Content
	nth   int        // of several equal keys, from 1; 0 in a list
	twice bool       // its key is written more than once
}

func (p *place) step() step {
	if p.node.Kind == yaml.SequenceNode {
		return step{index: p.child}
	}
	return step{keyed: true, key: keyOf(p.node.Content[p.child-1]), nth: p.nth}
}

// keyOf is the text of a key, an alias resolved.
func keyOf(key *yaml.Node) string {
	if key.Kind == yaml.AliasNode {
		key = key.Alias
	}
	return key.Value
}

func isScalar(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode || n.Kind == yaml.AliasNode && n.Alias.Kind == yaml.ScalarNode
}

// child returns the index into n.Content that s leads to, -1 where there is none.
func child(n *yaml.Node, s step) int {
	switch {
	case n.Kind == yaml.SequenceNode && !s.keyed && s.index < len(n.Content):
		return s.index
	case n.Kind == yaml.MappingNode && s.keyed:
		nth := max(s.nth, 1)
		for i := 0; i+1 < len(n.Content); i += 2 {
			if isScalar(n.Content[i]) && keyOf(n.Content[i]) == s.key {
				if nth--; nth == 0 {
					return i + 1
				}
			}
		}
	}
	return -1
}

// into returns the place that s leads to, nil where there is none.
func into(up *place, n *yaml.Node, s step) *place {
	i := child(n, s)
	if i < 0 {
		return nil
	}
	p := &place{up: up, node: n, child: i}
	if s.keyed {
		p.nth = max(s.nth, 1)
		p.twice = p.nth > 1 || child(n, step{keyed: true, key: s.key, nth: 2}) >= 0
	}
	return p
}

// path writes how at is reached, and whether it is short enough to be worth it.
func (f *File) path(document int, at *place) (string, bool) {
	var trail []*place
	for p := at; p != nil; p = p.up {
		trail = append(trail, p)
	}
	var b strings.Builder
	if h := f.holder; h != nil {
		outer, ok := h.file.path(h.document, h.at)
		if !ok {
			return "", false
		}
		b.WriteString(outer + "|")
	}
	b.WriteString(f.names[document])
	for i := len(trail) - 1; i >= 0; i-- {
		s := trail[i].step()
		if b.Len()+len(s.key) > maxPath {
			return "", false
		}
		s.write(&b, i == len(trail)-1)
	}
	return b.String(), b.Len() <= maxPath
}

// Find returns the scalar at a path as Scalar.Path has it. In a file of several documents the document may be left out
// where only one has such a scalar. Codes: NotFound; Ambiguous; Alias (there is no such scalar, an alias or a merged map
// supplies the value).
func (f *File) Find(path string) (Scalar, error) {
	levels, err := parsePath(path)
	if err != nil {
		return Scalar{}, err
	}
	return f.find(levels)
}

func (f *File) find(levels []level) (Scalar, error) {
	var found []Scalar
	err := error(refuse(gitops.NotFound, "there is no document %s", strings.TrimSuffix(levels[0].document, ":")))
	if levels[0].document == "" {
		err = refuse(gitops.NotFound, "the file is empty")
	}
	for d := range f.docs {
		if want := levels[0].document; want != "" && want != f.names[d] && !f.only(d, want) || f.docs[d] == nil {
			continue
		}
		s, missing := f.descend(d, levels)
		if missing != nil {
			err = missing
			continue
		}
		found = append(found, s)
	}
	if len(found) > 1 {
		refusal := refuse(gitops.Ambiguous, "the file has several such values; the path must say in which document")
		for _, s := range found {
			refusal.Details = append(refusal.Details, fmt.Sprintf("line %d: %s", s.Line, s.Path))
		}
		return Scalar{}, refusal
	}
	if len(found) == 0 {
		return Scalar{}, err
	}
	return found[0], nil
}

// only says that document d, the file's only one, is what identities would call want if there were others.
func (f *File) only(d int, want string) bool {
	if f.names[d] != "" || f.docs[d] == nil {
		return false
	}
	pair := &File{docs: []*yaml.Node{f.docs[d], f.docs[d]}}
	return pair.identities()[0] == want
}

func (f *File) descend(document int, levels []level) (Scalar, error) {
	n, at := f.docs[document], (*place)(nil)
	var so strings.Builder
	for i, s := range levels[0].steps {
		s.write(&so, i == 0)
		if n.Kind == yaml.AliasNode {
			return Scalar{}, refuse(gitops.Alias, "%s is reached through the alias *%s in line %d; its anchor is in line %d", so.String(), n.Value, f.lineOf(n.Line), f.lineOf(n.Alias.Line))
		}
		p := into(at, n, s)
		if p == nil {
			if merged := mergedFrom(n, s); merged != nil {
				return Scalar{}, refuse(gitops.Alias, "%s comes from the map merged with << in line %d", so.String(), f.lineOf(merged.Line))
			}
			return Scalar{}, refuse(gitops.NotFound, "there is no %s", so.String())
		}
		at, n = p, p.node.Content[p.child]
	}
	if len(levels) > 1 {
		inner := f.inner[n]
		if inner == nil {
			return Scalar{}, refuse(gitops.NotFound, "%s holds no YAML that ferry can read", so.String())
		}
		return inner.find(levels[1:])
	}
	if !isScalar(n) {
		return Scalar{}, refuse(gitops.NotFound, "%s is not a single value", so.String())
	}
	s, ok := f.scalar(document, n, at)
	if !ok {
		return Scalar{}, refuse(gitops.NotFound, "the path is longer than %d bytes", maxPath)
	}
	return s, nil
}

// mergedFrom returns the merge of n that supplies the child s, nil if none does. It looks at few maps.
func mergedFrom(n *yaml.Node, s step) *yaml.Node {
	budget := maxDepth
	var merge func(n *yaml.Node) *yaml.Node
	var supplies func(n *yaml.Node) bool
	supplies = func(n *yaml.Node) bool {
		if budget--; budget < 0 {
			return false
		}
		switch n.Kind {
		case yaml.AliasNode:
			return supplies(n.Alias)
		case yaml.SequenceNode:
			return slices.ContainsFunc(n.Content, supplies)
		}
		return child(n, s) >= 0 || merge(n) != nil
	}
	merge = func(n *yaml.Node) *yaml.Node {
		i := child(n, step{keyed: true, key: "<<"})
		if i < 0 || n.Content[i-1].Tag != "!!merge" || !supplies(n.Content[i]) {
			return nil
		}
		return n.Content[i]
	}
	return merge(n)
}

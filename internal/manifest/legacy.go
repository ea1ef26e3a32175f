package manifest

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

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

// Items returns how many items the list at steps has; 0 where it is no list.
func (f *File) Items(document int, steps ...Step) int {
	n, _, err := walk(f.docs[document], steps)
	if err != nil || n.Kind != yaml.SequenceNode {
		return 0
	}
	return len(n.Content)
}

// Scalar finds the scalar at steps. Codes: NotFound, and those of Scalar.Refusal.
func (f *File) Scalar(document int, steps ...Step) (Scalar, error) {
	n, at, err := walk(f.docs[document], steps)
	if err != nil {
		return Scalar{}, err
	}
	if !isScalar(n) {
		return Scalar{}, refuse(gitops.NotFound, "%s is not a single value", Path(steps))
	}
	s, _ := f.scalar(document, n, at)
	s.Steps = slices.Clone(steps)
	return s, s.shared()
}

func walk(n *yaml.Node, steps []Step) (*yaml.Node, *place, error) {
	var at *place
	for i, s := range steps {
		var next *place
		switch {
		case n == nil:
		case n.Kind == yaml.AliasNode:
			return nil, nil, refuse(gitops.Alias, "%s is reached through the alias *%s", Path(steps[:i+1]), n.Value)
		case s.Key != "":
			next = into(at, n, step{keyed: true, key: s.Key})
		case s.Name != "" && n.Kind == yaml.SequenceNode:
			for j, item := range n.Content {
				if named, _, err := walk(item, Key("name")); err == nil && named.Value == s.Name {
					if next != nil {
						return nil, nil, refuse(gitops.Ambiguous, "%s stands there twice, in lines %d and %d", Path(steps[:i+1]), n.Content[next.child].Line, item.Line)
					}
					next = &place{up: at, node: n, child: j}
				}
			}
		case s.Name == "":
			next = into(at, n, step{index: s.Index})
		}
		if next == nil {
			return nil, nil, refuse(gitops.NotFound, "there is no %s", Path(steps[:i+1]))
		}
		at, n = next, next.node.Content[next.child]
	}
	if n == nil {
		return nil, nil, refuse(gitops.NotFound, "the document is empty")
	}
	return n, at, nil
}

package blueprint

import (
	"errors"
	"fmt"
	"reflect"
	texttemplate "text/template"
	syntax "text/template/parse"
)

// A Text is one template that an operator writes outside of a blueprint, with the functions and limits of those in it. A
// value that is not there is shown as nothing, a pointer as what it points to.
type Text struct {
	source   string
	template *template
}

// ErrValue says that a value is not one that may stand where a Text puts it.
var ErrValue = errors.New("a value that may not stand there")

// ParseText reads a template. allowed, if it is there, is asked about every value that the template puts into its own
// words; Execute ends with ErrValue if it says no.
func ParseText(text string, allowed func(value string) bool) (*Text, error) {
	t := &template{texts: map[string]*texttemplate.Template{}}
	if err := t.compile(reflect.ValueOf(text), "template"); err != nil {
		return nil, err
	}
	if parsed := t.texts[text]; parsed != nil {
		parsed.Funcs(texttemplate.FuncMap{"shown": func(value any) (string, error) {
			s := shown(value)
			if allowed != nil && !allowed(s) {
				return "", ErrValue
			}
			return s, nil
		}})
		showValues(parsed.Root, parsed.Tree)
	}
	return &Text{source: text, template: t}, nil
}

// Execute fills the template in.
func (t *Text) Execute(data any) (string, error) {
	e := &execution{texts: t.template.texts, root: data}
	text := e.text(t.source, item{value: data})
	return text, e.err
}

// shown is a value as text.
func shown(value any) string {
	for v := reflect.ValueOf(value); ; v = v.Elem() {
		switch {
		case !v.IsValid(), v.Kind() == reflect.Pointer && v.IsNil():
			return ""
		case v.Kind() != reflect.Pointer && v.Kind() != reflect.Interface:
			return fmt.Sprint(v.Interface())
		}
	}
}

// showValues has every action of a template that prints a value do it through the function shown.
func showValues(list *syntax.ListNode, tree *syntax.Tree) {
	if list == nil {
		return
	}
	for _, node := range list.Nodes {
		switch node := node.(type) {
		case *syntax.ActionNode:
			if len(node.Pipe.Decl) > 0 || node.String() == step.String() {
				continue
			}
			name := syntax.NewIdentifier("shown").SetTree(tree).SetPos(node.Pos)
			node.Pipe.Cmds = append(node.Pipe.Cmds, &syntax.CommandNode{NodeType: syntax.NodeCommand, Pos: node.Pos, Args: []syntax.Node{name}})
		case *syntax.IfNode:
			showValues(node.List, tree)
			showValues(node.ElseList, tree)
		case *syntax.WithNode:
			showValues(node.List, tree)
			showValues(node.ElseList, tree)
		case *syntax.RangeNode:
			showValues(node.List, tree)
			showValues(node.ElseList, tree)
		}
	}
}

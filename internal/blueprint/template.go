package blueprint

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	texttemplate "text/template"
	syntax "text/template/parse"
	"time"
	"unicode"
	"unicode/utf8"
)

// A template is a blueprint with all its strings parsed.
type template struct {
	blueprint Blueprint
	texts     map[string]*texttemplate.Template // by source text
}

// An answer is a blueprint executed: plain text in the order it is shown, nothing escaped or cut yet.
type answer struct {
	refused  bool
	sections []section
	details  []detail
}

type section struct {
	header, description string
	fields              []field
	code                string
	head                int
	more                string
	bulletTitle         string
	bullets             []string
	buttons             []button
	selects             []choice
	context             []string
}

type field struct{ key, value string }

type button struct {
	name, command, url, style string
	foreign, replace          bool
}

type choice struct {
	name, command string
	options       []field // name and value
}

type detail struct {
	title, code, more string
	head              int
}

// A scope is what a template is executed over. The item is wrapped in a slice of one, which a range unpacks into the
// dot whatever it is; a with would skip an empty one.
type scope struct {
	Root  any
	Index int
	Item  []any
	// taken is the value of a forEach expression.
	taken any
	count func() error
}

// Step is called by every turn of every range: a template could count for ever.
func (s *scope) Step() (string, error) { return "", s.count() }

// Limits of one execution. A template is only as long as its file, but what it makes of its data is not.
const (
	maxSteps    = 50_000    // strings executed, and turns of loops
	maxBytes    = 32 << 20  // of text in all
	maxTemplate = 4000      // bytes of one string; a message has less
	maxValue    = 256 << 10 // bytes that print makes: a template may keep as many such as it has room to write
)

// Take keeps the value of an expression.
func (s *scope) Take(v any) string { s.taken = v; return "" }

const (
	opening = "{{ $scope := . }}{{ $root := .Root }}{{ $index := .Index }}{{ range .Item }}"
	closing = "{{ end }}"
)

// functions are all that templates may call beside the language's own. There is none that reaches outside.
var functions = texttemplate.FuncMap{
	// code puts a value between back-quotes.
	"code": func(v any) string { return "`" + strings.ReplaceAll(oneLine(fmt.Sprint(v)), "`", "ˋ") + "`" },
	// join joins strings.
	"join": join,
	// print and println are those of the language, bounded. The others have no use here, and could grow without bound.
	"print":    func(args ...any) (string, error) { return bounded(fmt.Sprint, args) },
	"println":  func(args ...any) (string, error) { return bounded(fmt.Sprintln, args) },
	"printf":   useless,
	"html":     useless,
	"js":       useless,
	"urlquery": useless,
	// first keeps the first items of a list; after gives those behind them.
	"first": func(n int, list any) any { return part(list, 0, n) },
	"after": func(n int, list any) any { return part(list, n, math.MaxInt) },
	// label makes a button's name of a command: "promote a@1 to b --yes" is "Promote a@1 to b", "list --help" "Help list".
	"label": label,
	// begins says whether a text begins so.
	"begins": func(beginning, text string) bool { return strings.HasPrefix(text, beginning) },
	// plural counts: plural 2 "environment" "environments" is "2 environments".
	"plural": func(n int, one, many string) string {
		if n == 1 {
			return "1 " + one
		}
		return fmt.Sprintf("%d %s", n, many)
	},
	// seconds rounds a duration for people.
	"seconds": func(d time.Duration) string { return d.Round(time.Second).String() },
	// clock gives a time of day.
	"clock": func(t time.Time) string { return t.UTC().Format("15:04 UTC") },
	// short cuts a commit's hash.
	"short": func(sha string) string { return sha[:min(len(sha), 7)] },
}

// join joins strings, as many of the first as a file may hold, and says how many it left out.
func join(separator string, items []string) string {
	n := 0
	for i, item := range items {
		if n += len(item) + len(separator); n > maxFile {
			return strings.Join(append(slices.Clone(items[:i]), fmt.Sprintf("… and %d more", len(items)-i)), separator)
		}
	}
	return strings.Join(items, separator)
}

func bounded(print func(...any) string, args []any) (string, error) {
	n := 0
	for _, a := range args {
		if n += len(fmt.Sprint(a)); n > maxValue {
			return "", fmt.Errorf("a value of more than %d bytes", maxValue)
		}
	}
	return print(args...), nil
}

func useless(...any) (string, error) {
	return "", errors.New("there is no printf, html, js or urlquery in a message: use print")
}

// part slices a list, which may be shorter.
func part(list any, from, to int) any {
	v := reflect.ValueOf(list)
	to = min(to, v.Len())
	return v.Slice(min(from, to), to).Interface()
}

func label(command string) string {
	if command == "--help" {
		return "Help"
	}
	if verb, ok := strings.CutSuffix(command, " --help"); ok {
		return "Help " + verb
	}
	command, options, _ := strings.Cut(command, " --")
	options, _, _ = strings.Cut("--"+options, "--reason ")
	words := strings.Fields(options)
	for i, word := range words {
		switch {
		case word == "--shared":
			command += " and all that shares it"
		case word == "--chart":
			command += " (chart)"
		case word == "--image" && i+1 < len(words):
			command += " (image " + words[i+1] + ")"
		}
	}
	r, size := utf8.DecodeRuneInString(command)
	return string(unicode.ToUpper(r)) + command[size:]
}

func compile(b Blueprint) (*template, error) {
	t := &template{blueprint: b, texts: map[string]*texttemplate.Template{}}
	if err := t.compile(reflect.ValueOf(b), ""); err != nil {
		return nil, err
	}
	return t, nil
}

// compile goes through all strings of the blueprint; those of fields When, ForEach, Refused and Replace are expressions.
func (t *template) compile(v reflect.Value, at string) error {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return t.compile(v.Elem(), at)
		}
	case reflect.Slice:
		for i := range v.Len() {
			if err := t.compile(v.Index(i), fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			value := v.Field(i)
			if value.Kind() == reflect.String && value.String() != "" {
				switch name {
				case "when", "refused", "replace":
					value = reflect.ValueOf(condition(value.String()))
				case "forEach":
					value = reflect.ValueOf(selection(value.String()))
				}
			}
			if err := t.compile(value, strings.TrimPrefix(at+"."+name, ".")); err != nil {
				return err
			}
		}
	case reflect.String:
		text := v.String()
		if len(text) > maxTemplate {
			return fmt.Errorf("%s: %d bytes, where %d are the limit", at, len(text), maxTemplate)
		}
		parsed, err := texttemplate.New(at).Option("missingkey=error").Funcs(functions).Parse(opening + text + closing)
		if err != nil {
			return err
		}
		if len(parsed.Templates()) > 1 {
			return fmt.Errorf("%s: a blueprint defines no templates", at)
		}
		countTurns(parsed.Root)
		t.texts[text] = parsed
	}
	return nil
}

// step is "{{ $scope.Step }}".
var step = texttemplate.Must(texttemplate.New("").Parse("{{ $scope := . }}{{ $scope.Step }}")).Root.Nodes[1]

// countTurns has every turn of every range below a list call Step.
func countTurns(list *syntax.ListNode) {
	if list == nil {
		return
	}
	for _, node := range list.Nodes {
		switch node := node.(type) {
		case *syntax.IfNode:
			countTurns(node.List)
			countTurns(node.ElseList)
		case *syntax.WithNode:
			countTurns(node.List)
			countTurns(node.ElseList)
		case *syntax.RangeNode:
			countTurns(node.List)
			countTurns(node.ElseList)
			node.List.Nodes = append([]syntax.Node{step.Copy()}, node.List.Nodes...)
		}
	}
}

func condition(expression string) string { return "{{ if " + expression + " }}true{{ end }}" }
func selection(expression string) string { return "{{ $scope.Take (" + expression + ") }}" }

// An execution runs a template's strings and keeps the first error.
type execution struct {
	texts map[string]*texttemplate.Template
	root  any
	steps int
	out   output
	err   error
}

func (e *execution) count() error {
	if e.steps++; e.steps > maxSteps {
		return fmt.Errorf("more than %d steps", maxSteps)
	}
	return nil
}

// An output takes the texts of an execution, one after another.
type output struct {
	text  strings.Builder
	total int
}

func (o *output) Write(p []byte) (int, error) {
	if o.total += len(p); o.total > maxBytes {
		return 0, fmt.Errorf("more than %d bytes of text", maxBytes)
	}
	return o.text.Write(p)
}

// An item is where an execution stands: the blueprint's data or an item of it.
type item struct {
	index int
	value any
}

func (e *execution) run(text string, at item) (string, *scope) {
	s := &scope{Root: e.root, Index: at.index, Item: []any{at.value}, count: e.count}
	if e.err != nil || text == "" {
		return "", s
	}
	e.out.text.Reset()
	e.err = e.texts[text].Execute(&e.out, s)
	return e.out.text.String(), s
}

// text executes a string that may have several lines.
func (e *execution) text(text string, at item) string {
	s, _ := e.run(text, at)
	return strings.Trim(clean(s), "\n")
}

// line executes a string of one line.
func (e *execution) line(text string, at item) string { return oneLine(e.text(text, at)) }

func (e *execution) when(expression string, at item) bool {
	if expression == "" {
		return true
	}
	s, _ := e.run(condition(expression), at)
	return s == "true"
}

// each gives the items of a forEach for which when holds; without a forEach, the place itself.
func (e *execution) each(forEach, when string, at item) []item {
	items := []item{at}
	if forEach != "" {
		items = nil
		_, s := e.run(selection(forEach), at)
		if e.err != nil {
			return nil
		}
		list := reflect.ValueOf(s.taken)
		if !list.IsValid() {
			return nil
		}
		if list.Kind() != reflect.Slice && list.Kind() != reflect.Array {
			e.err = fmt.Errorf("forEach: %s is not a list", forEach)
			return nil
		}
		for i := range list.Len() {
			items = append(items, item{i, list.Index(i).Interface()})
		}
	}
	var kept []item
	for _, i := range items {
		if e.when(when, i) {
			kept = append(kept, i)
		}
	}
	return kept
}

func (t *template) execute(data any) (answer, error) {
	e := &execution{texts: t.texts, root: data}
	top := item{value: data}
	a := answer{refused: t.blueprint.Refused != "" && e.when(t.blueprint.Refused, top)}
	for _, s := range t.blueprint.Sections {
		for _, at := range e.each(s.ForEach, s.When, top) {
			if one := e.section(s, at); !one.empty() {
				a.sections = append(a.sections, one)
			}
		}
	}
	for _, d := range t.blueprint.Details {
		for _, at := range e.each(d.ForEach, d.When, top) {
			if code := e.text(d.Code, at); code != "" {
				a.details = append(a.details, detail{title: e.line(d.Title, at), code: code, more: e.line(d.More, at), head: d.Head})
			}
		}
	}
	if e.err == nil && len(a.sections) == 0 {
		e.err = fmt.Errorf("it shows nothing for %T", data)
	}
	return a, e.err
}

func (e *execution) section(s Section, at item) section {
	out := section{header: e.line(s.Header, at), description: e.text(s.Description, at), code: e.text(s.Code, at), head: s.Head, more: e.line(s.More, at)}
	for _, f := range s.TextFields {
		for _, i := range e.each(f.ForEach, f.When, at) {
			if value := e.line(f.Value, i); value != "" {
				out.fields = append(out.fields, field{cut(e.line(f.Key, i), 50), cut(value, maxLine/2)})
			}
		}
	}
	if s.BulletList != nil {
		out.bulletTitle = e.line(s.BulletList.Title, at)
		out.bullets = e.lines(s.BulletList.Items, at)
	}
	for _, b := range s.Buttons {
		for _, i := range e.each(b.ForEach, b.When, at) {
			out.buttons = append(out.buttons, button{
				e.line(b.Name, i), e.line(b.Command, i), e.line(b.URL, i), e.line(b.Style, i), b.Foreign, b.Replace != "" && e.when(b.Replace, i),
			})
		}
	}
	for _, c := range s.Selects {
		for _, i := range e.each("", c.When, at) {
			one := choice{name: e.line(c.Name, i), command: e.line(c.Command, i)}
			for _, o := range c.Options {
				for _, j := range e.each(o.ForEach, o.When, i) {
					one.options = append(one.options, field{e.line(o.Name, j), e.line(o.Value, j)})
				}
			}
			out.selects = append(out.selects, one)
		}
	}
	out.context = e.lines(s.Context, at)
	return out
}

func (e *execution) lines(lines []Line, at item) []string {
	var out []string
	for _, l := range lines {
		for _, i := range e.each(l.ForEach, l.When, at) {
			if text := e.line(l.Text, i); text != "" {
				out = append(out, cut(text, maxLine))
			}
		}
	}
	return out
}

func (s section) empty() bool {
	return s.header == "" && s.description == "" && s.code == "" &&
		len(s.fields)+len(s.bullets)+len(s.buttons)+len(s.selects)+len(s.context) == 0
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// sequences move a terminal's cursor or change its colours.
var sequences = regexp.MustCompile("\x1b\\[[0-9;?]*[ -/]*[@-~]")

// clean drops what hides or reorders text on a screen: control characters, terminal sequences, changes of direction.
func clean(s string) string {
	s = sequences.ReplaceAllString(strings.ToValidUTF8(s, "\uFFFD"), "")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return r
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, s)
}

package blueprint

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"
	"unicode/utf8"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/kubeshop/botkube/pkg/api"
)

var update = flag.Bool("update", false, "write the schema and golden files anew")

var slack = Platform{Interactive: true, Plugin: "ferry"}

func parse(t *testing.T, text string) *Set {
	t.Helper()
	set, err := Load(fstest.MapFS{"x.yaml": {Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func show(t *testing.T, text string, data any, p Platform) []api.Message {
	t.Helper()
	messages, err := parse(t, text).Messages("x", data, p)
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

func TestSchemaIsCurrent(t *testing.T) {
	const file = "../../blueprints/schema.json"
	schema, err := jsonschema.For[Blueprint](nil)
	if err != nil {
		t.Fatal(err)
	}
	schema.Schema = "https://json-schema.org/draft/2020-12/schema"
	schema.Title = "A message of ferry"
	want, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("schema.json is not what the types say: go test ./internal/blueprint -update")
	}
}

func TestLoadRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"sections: []":                                               "at least one",
		"sections: [{haeder: x}]":                                    "haeder",
		"sections: [{header: '{{ .X'}]":                              "sections[0].header",
		"sections: [{header: '{{ end }}'}]":                          "sections[0].header",
		"sections: [{header: '{{ env \"HOME\" }}'}]":                 `function "env" not defined`,
		"sections: [{when: 'not ('}]":                                "sections[0].when",
		"sections: [{buttons: [{name: a}]}]":                         "either command or url",
		"sections: [{buttons: [{name: a, command: b, style: red}]}]": "neither primary nor danger",
		"sections: [{header: '{{ define \"a\" }}x{{ end }}'}]":       "sections[0].header",
	} {
		_, err := Load(fstest.MapFS{"x.yaml": {Data: []byte(text)}})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "x.yaml") {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
	}
}

func TestMessagesRefusesDataThatDoesNotFit(t *testing.T) {
	set := parse(t, "sections: [{header: '{{ .Name }}'}]")
	if _, err := set.Messages("x", map[string]any{"Other": 1}, slack); err == nil {
		t.Error("a missing key is shown as nothing")
	}
	if _, err := set.Messages("y", nil, slack); err == nil {
		t.Error("a blueprint that does not exist shows something")
	}
	set = parse(t, "sections: [{forEach: .Name, header: x}]")
	if _, err := set.Messages("x", map[string]any{"Name": "a"}, slack); err == nil {
		t.Error("forEach goes over a string")
	}
}

// A value that looks like YAML or like a template stays the text that it is.
func TestValuesAddNoStructure(t *testing.T) {
	value := "x\"\n  buttons: [{name: Own, command: list}]\n{{ .Secret }}{{BotName}} <!channel> @everyone ``` 100%d"
	m := show(t, "sections: [{header: '{{ . }}', description: '{{ . }}', code: '{{ . }}', buttons: [{name: Go, command: list}]}]", value, slack)[0]
	if len(m.Sections) != 1 || len(m.Sections[0].Buttons) != 1 {
		t.Fatalf("%+v", m)
	}
	s := m.Sections[0]
	for _, text := range []string{s.Header, s.Description, s.Body.CodeBlock} {
		for _, bad := range []string{"<!", "@everyone", api.MessageBotNamePlaceholder} {
			if strings.Contains(text, bad) {
				t.Errorf("%q holds %s", text, bad)
			}
		}
		if !strings.Contains(text, "{{ .Secret }}") {
			t.Errorf("%q lost or executed the value's template", text)
		}
	}
	if strings.Contains(s.Body.CodeBlock, "```") {
		t.Errorf("%q ends its code block", s.Body.CodeBlock)
	}
	if !strings.Contains(s.Description, "100%%d") || !strings.Contains(s.Header, "100%d") {
		t.Errorf("percent signs: description %q, header %q", s.Description, s.Header)
	}
}

func TestCommandsGetAddressAndTitle(t *testing.T) {
	m := show(t, `sections:
- buttons:
  - {name: "It's (a) 'go'", command: "list podinfo"}
  - {name: Go, command: "promote a@1 to b --reason xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx1"}
  - {name: Go, command: "promote a@1 to b --reason xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx2"}
  - {name: Again, command: "list podinfo"}
  - {name: Bad, url: "javascript:alert(1)"}
  - {name: Site, url: "https://example.com/x"}
`, nil, slack)[0]
	buttons := m.Sections[0].Buttons
	if len(buttons) != 4 {
		t.Fatalf("%d buttons: %+v", len(buttons), buttons)
	}
	if want := "{{BotName}} ferry --bk-cmd-header='Its a go' list podinfo"; buttons[0].Command != want {
		t.Errorf("got %q, want %q", buttons[0].Command, want)
	}
	if buttons[1].Command[:200] == buttons[2].Command[:200] {
		t.Error("two buttons have the same id in Slack")
	}
	if buttons[3].URL != "https://example.com/x" || buttons[3].Command != "" {
		t.Errorf("%+v", buttons[3])
	}
}

func TestRefusedMarksTheFirstMessage(t *testing.T) {
	for _, p := range []Platform{slack, {Plugin: "ferry"}} {
		for data, want := range map[bool]api.MessageType{true: Refused, false: api.DefaultMessage} {
			m := show(t, "refused: .\nsections: [{header: x}]", data, p)
			if m[0].Type != want {
				t.Errorf("%v on %+v: type %q", data, p, m[0].Type)
			}
		}
	}
}

func TestLongDetailBecomesPages(t *testing.T) {
	var code strings.Builder
	code.WriteString("--- a/file\n+++ b/file\n")
	for range 200 {
		code.WriteString(" " + strings.Repeat("é", 40) + "\n")
	}
	m := show(t, "sections: [{header: x}]\ndetails: [{title: Diff, head: 2, code: '{{ . }}'}]", code.String(), slack)
	lines := 0
	for i, page := range m[1:] {
		if !strings.HasPrefix(page.BaseBody.CodeBlock, "--- a/file\n+++ b/file\n ") || len(page.Sections) != 0 {
			t.Errorf("page %d begins %.40q", i, page.BaseBody.CodeBlock)
		}
		if n := size(page); n > maxMessage {
			t.Errorf("page %d has %d bytes", i, n)
		}
		lines += strings.Count(page.BaseBody.CodeBlock, "é\n") + 1
	}
	if lines != 200 || !strings.HasPrefix(m[1].BaseBody.Plaintext, "Diff (1 of ") {
		t.Errorf("%d lines on %d pages, the first titled %q", lines, len(m)-1, m[1].BaseBody.Plaintext)
	}
}

// TestAnAnswerThatReplacesIsOneMessage: of what has details it says how to see them, and keeps the limits.
func TestAnAnswerThatReplacesIsOneMessage(t *testing.T) {
	p := slack
	p.Replaces = "status podinfo on prod"
	const note = "… the details are left out. `ferry status podinfo on prod` shows them."
	for text, want := range map[string]bool{
		"sections: [{header: x}]": false,
		"sections: [{header: x}]\ndetails: [{title: Diff, code: '{{ . }}'}]":                                                 true,
		"sections: [{header: x, code: '{{ . }}'}]":                                                                           true,
		"sections: [{header: x, bulletList: {items: [{text: '{{ . }}'}]}}]\ndetails: [{title: Diff, code: '{{ . }}'}]":       true,
		"sections: [" + strings.Repeat("{header: x, description: y}, ", 60) + "]\ndetails: [{title: Diff, code: '{{ . }}'}]": true,
	} {
		m := show(t, text, strings.Repeat("a long line\n", 400), p)
		if len(m) != 1 || !m[0].ReplaceOriginal || size(m[0]) > maxMessage || count(m[0]) > maxBlocks {
			t.Fatalf("%.60s: %d messages, replaces %v, %d bytes, %d blocks", text, len(m), m[0].ReplaceOriginal, size(m[0]), count(m[0]))
		}
		last := m[0].Sections[len(m[0].Sections)-1].Context
		if got := len(last) > 0 && last[len(last)-1].Text == note; got != want {
			t.Errorf("%.60s: says what is left out: %v, want %v", text, got, want)
		}
		p := p
		if p.Interactive = false; show(t, text, "x", p)[0].ReplaceOriginal {
			t.Errorf("%.60s: replaces where there are no buttons", text)
		}
	}
}

func TestTooManyPagesSayWhatIsLeftOut(t *testing.T) {
	code := strings.Repeat(strings.Repeat("x", 99)+"\n", 1000)
	m := show(t, "sections: [{header: x}]\ndetails: [{code: '{{ . }}', more: Ask for one.}]", code, slack)
	if len(m) != maxMessages {
		t.Fatalf("%d messages", len(m))
	}
	shown := 0
	for _, page := range m[1:] {
		shown += strings.Count(page.BaseBody.CodeBlock, strings.Repeat("x", 99))
	}
	last := m[len(m)-1].BaseBody.CodeBlock
	var left int
	if m := regexpLeft.FindStringSubmatch(last); m != nil {
		left = atoi(m[1])
	}
	if shown+left != 1000 || left == 0 || !strings.Contains(last, "Ask for one.") {
		t.Errorf("%d lines shown, %d said to be left out", shown, left)
	}
}

// Slack refuses a list of more than 100 options, and one that ends there would hide the rest.
func TestListsOfOptionsAreWholeOrAbsent(t *testing.T) {
	const blueprint = `sections: [{header: x, selects: [{name: Pick, command: list, options: [{forEach: ., name: "{{ . }}", value: "{{ . }}"}]}]}]`
	for n, want := range map[int]int{0: 0, 1: 1, 100: 100, 101: 0, 500: 0} {
		names := make([]string, n)
		for i := range names {
			names[i] = strconv.Itoa(i)
		}
		got := 0
		for _, c := range show(t, blueprint, names, slack)[0].Sections[0].Selects.Items {
			for i, o := range c.OptionGroups[0].Options {
				if o.Value != names[i] {
					t.Errorf("option %d of %d is %s", i, n, o.Value)
				}
				got++
			}
		}
		if got != want {
			t.Errorf("%d of %d options, want %d", got, n, want)
		}
	}
}

// The renderers trim code, show a single line between back-quotes, and end a block at the next three of them.
func TestCodeKeepsItsShape(t *testing.T) {
	for text, want := range map[string]string{
		" a\n b":         "\u200b a\n b",
		"a\n b":          "a\n b",
		"one `line`":     "one ˋlineˋ",
		"two `a`\nb":     "two `a`\nb",
		"a\n```\nb````c": "a\nˋˋˋ\nbˋˋˋˋc",
	} {
		if got := show(t, "sections: [{header: x, code: '{{ . }}'}]", text, slack)[0].Sections[0].Body.CodeBlock; got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}

// Templates are parsed once and shared by all that are answered at the same time. It shows what the race detector finds.
func TestMessagesSideBySide(t *testing.T) {
	set := parse(t, "sections: [{header: '{{ . }}', bulletList: {items: [{text: '{{ code . }}'}]}}]")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 50 {
				want := strconv.Itoa(i)
				if m, err := set.Messages("x", want, slack); err != nil || m[0].Sections[0].Header != want {
					t.Errorf("%v %+v", err, m)
				}
			}
		})
	}
	all.Wait()
}

// What does not fit is not passed over in silence.
func TestSectionsThatAreNotShownAreCounted(t *testing.T) {
	for _, n := range []int{20, 500} {
		m := show(t, "sections: [{forEach: ., header: 'Part {{ . }}'}]", make([]int, n), slack)[0]
		last := m.Sections[len(m.Sections)-1].Context
		if want := fmt.Sprintf("… and %d more, not shown here", n-len(m.Sections)); len(last) == 0 || last[len(last)-1].Text != want {
			t.Errorf("%d of %d sections, the last with %+v; want %s", len(m.Sections), n, last, want)
		}
	}
}

// A button that the host would turn into another command, or refuse, is left out.
func TestCommandsThatTheHostWouldChangeAreLeftOut(t *testing.T) {
	for command, kept := range map[string]bool{
		"list podinfo": true, `promote a@1 to b --reason "two words"`: true, "promote a@1 to b --reason don%27t": true,
		"list don't": false, "list a; b": false, "list (a)": false, "list `a`": false, `list "a`: false, "list <http://a>": false, "list “a”": false, "list {{BotName}}": false, `list a\b`: false,
	} {
		m := show(t, "sections: [{header: x, buttons: [{name: Go, command: '{{ . }}'}], selects: [{name: Pick, command: list, options: [{name: a, value: '{{ . }}'}, {name: b, value: b}]}]}]", command, slack)[0]
		if got := len(m.Sections[0].Buttons) == 1; got != kept {
			t.Errorf("%q: kept %v", command, got)
		}
		if options := m.Sections[0].Selects.Items[0].OptionGroups[0].Options; len(options) != 1 {
			t.Errorf("%q is an option: %+v", command, options)
		}
	}
}

func TestTextIsOneMessage(t *testing.T) {
	const blueprint = `sections:
- header: Head
  buttons:
  - {name: Promote, command: promote a@1 to b, style: primary}
  - {name: Pull request, url: "https://example.com/1"}
details: [{title: Diff, code: '{{ . }}'}]`
	for _, c := range []struct {
		name  string
		code  string
		least int
		most  int
	}{
		{"short", "-a\n+b", 10, 1700},
		{"cut", strings.Repeat("line é\n", 280), 1000, 1700},
		{"file", strings.Repeat("line é\n", 1000), 2500, 10000},
		{"large", "aa" + strings.Repeat("line é\n", 200_000), 1 << 19, 1 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := show(t, blueprint, c.code, Platform{Plugin: "ferry"})
			text := m[0].BaseBody.Plaintext
			if len(m) != 1 || len(m[0].Sections) != 0 || !utf8.ValidString(text) {
				t.Fatalf("%+v", m)
			}
			if len(text) < c.least || len(text) > c.most {
				t.Errorf("%d bytes", len(text))
			}
			if strings.Count(text, "```") != 2 || !strings.Contains(text, "To promote: `ferry promote a@1 to b`") || !strings.Contains(text, "Pull request: https://example.com/1") {
				t.Error(text)
			}
			if (c.name == "cut" || c.name == "large") && !strings.Contains(text, "left out") {
				t.Error("it does not say that it was cut")
			}
		})
	}
}

var regexpLeft = regexp.MustCompile(`… (\d+) more lines are left out`)

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

func FuzzText(f *testing.F) {
	for _, seed := range []string{"", "a", "```", "%!s(x)", "<@U1> @everyone", "0@everyone", "@@Everyone", strings.Repeat("é`", 3000), "{{BotName}}", "\x1b[1m\u202e", strings.Repeat("&\n", 2000)} {
		f.Add(seed)
	}
	set, err := Load(fstest.MapFS{"x.yaml": {Data: []byte(`sections:
- {header: 'H {{ . }}', description: '{{ . }}', code: '{{ . }}', textFields: [{key: k, value: '{{ . }}'}], bulletList: {items: [{text: '{{ code . }}'}]}, context: [{text: '{{ . }}'}]}
details: [{title: '{{ . }}', code: '{{ . }}'}]`)}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, p := range []Platform{slack, {Plugin: "ferry"}} {
			messages, err := set.Messages("x", value, p)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range messages {
				if p.Interactive && size(m) > maxMessage {
					t.Errorf("%d bytes", size(m))
				}
				raw, err := json.Marshal(m)
				if err != nil || strings.Contains(string(raw), api.MessageBotNamePlaceholder) || strings.Contains(strings.ToLower(string(raw)), "@everyone") {
					t.Errorf("%v: %s", err, raw)
				}
			}
		}
	})
}

// TestReplaceIsToldByTheCommand: the host learns only from an answer that it replaces a message, so the command says it.
func TestReplaceIsToldByTheCommand(t *testing.T) {
	const text = `sections: [{header: x, buttons: [{name: Refresh, command: "status {{ . }}", replace: eq . "a on b", style: primary}]}]`
	for data, want := range map[string]string{"a on b": "status a on b --refresh", "c on d": "status c on d"} {
		s := show(t, text, data, slack)[0].Sections[0]
		if got := s.Buttons[0].Command; !strings.HasSuffix(got, "' "+want) {
			t.Errorf("%q, want it to end with %q", got, want)
		}
		if typed := "Or type `ferry status " + data + "`"; s.Context[0].Text != typed {
			t.Errorf("%q, want %q", s.Context[0].Text, typed)
		}
	}
}

func TestWithReplacesOneBlueprint(t *testing.T) {
	set := parse(t, "sections: [{header: old}]")
	with, err := set.With("x", []byte("sections: [{header: new}]"))
	if err != nil {
		t.Fatal(err)
	}
	for want, s := range map[string]*Set{"old": set, "new": with} {
		if m, err := s.Messages("x", nil, slack); err != nil || m[0].Sections[0].Header != want {
			t.Errorf("%v %+v, want %s", err, m, want)
		}
	}
	if _, err := set.With("y", []byte("sections: [{header: new}]")); err == nil || !strings.Contains(err.Error(), "there are x") {
		t.Errorf("another name: %v", err)
	}
	if _, err := set.With("x", []byte("sections: []")); err == nil {
		t.Error("a blueprint without sections")
	}
}

// TestTemplatesEnd: what counts or writes for ever is an error, soon.
func TestTemplatesEnd(t *testing.T) {
	for name, text := range map[string]string{
		"a long loop":       `sections: [{header: '{{ range 1000000000000 }}{{ end }}x'}]`,
		"loops in loops":    `sections: [{header: '{{ range 9999 }}{{ range 9999 }}{{ if true }}{{ else }}{{ end }}{{ end }}{{ end }}x'}]`,
		"a loop in a with":  `sections: [{header: '{{ if false }}{{ else }}{{ with 1 }}{{ range 99999999999 }}{{ end }}{{ end }}{{ end }}x'}]`,
		"in a condition":    `sections: [{when: 'true }}{{ range 99999999999 }}{{ end }}{{ end }}{{ if true', header: x}]`,
		"a hidden counter":  `sections: [{header: '{{ $scope := 1 }}{{ range 99999999999 }}{{ end }}x'}]`,
		"much text":         `sections: [{header: '{{ range 45000 }}` + strings.Repeat("x", 999) + `{{ end }}'}]`,
		"very many strings": `sections: [{forEach: ., bulletList: {items: [{forEach: $root, text: x}]}}]`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parse(t, text).Messages("x", make([]int, 1000), slack); err == nil {
				t.Error("no error")
			}
		})
	}
}

// TestTemplatesStaySmall: what grows without writing is an error before it is large.
func TestTemplatesStaySmall(t *testing.T) {
	words := slices.Repeat([]string{strings.Repeat("x", 100)}, 1000)
	for name, text := range map[string]string{
		"doubled":        `{{ $x := "aaaaaaaa" }}` + strings.Repeat(`{{ $x = print $x $x }}`, 23),
		"doubled lines":  `{{ $x := "aaaaaaaa" }}` + strings.Repeat(`{{ $x = println $x $x }}`, 23),
		"wide":           `{{ $x := printf "` + strings.Repeat("%999999[1]d", 30) + `" 1 }}`,
		"escaped again":  `{{ $x := "\\" ` + strings.Repeat("| js ", 23) + `}}`,
		"lists in lists": `{{ $x := print ` + strings.Repeat("$root ", 10) + `}}`,
		"long":           strings.Repeat("x", maxTemplate+1),
	} {
		t.Run(name, func(t *testing.T) {
			set, err := Load(fstest.MapFS{"x.yaml": {Data: []byte("sections: [{header: '" + text + "x'}]")}})
			if err == nil {
				_, err = set.Messages("x", words, slack)
			}
			if err == nil {
				t.Error("no error")
			}
		})
	}
	far := strings.Repeat("x", 1999)
	if got := show(t, `sections: [{header: '{{ print "a" 1 (len (join "`+far+`" $root)) }} {{ join "," (after 997 $root) }}'}]`, words, slack)[0].Sections[0].Header; !strings.HasPrefix(got, "a1 1047417 ") {
		t.Errorf("shown: %.40s", got)
	}
}

func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("../../blueprints/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte("refused: .Empty\nsections: [{forEach: .List, when: ne . \"a\", header: '{{ range 999999999 }}{{ . }}{{ end }}', code: '{{ $root.Name }}', head: 1}]"))
	f.Add([]byte("a: &a [{text: x}, {text: '{{ code .Name }}'}]\nsections: [{bulletList: {title: '{{ plural .Number \"a\" \"b\" }}', items: *a}, selects: [{name: s, command: list, options: [{forEach: .List, name: '{{ . }}', value: '{{ . }}'}]}]}]"))
	f.Add([]byte("sections: [{buttons: [{name: b, command: 'status {{ .Name }} on prod', replace: 'true', style: danger}], context: [{text: '{{ join \", \" (first 1 .List) }}'}]}]\ndetails: [{code: '{{ print .Name 1 }}', more: more}]"))
	data := map[string]any{"Name": "podinfo", "List": []string{"a", "b"}, "Number": 3, "Empty": ""}
	f.Fuzz(func(t *testing.T, raw []byte) {
		begin := time.Now()
		defer func() {
			if took := time.Since(begin); took > 30*time.Second {
				t.Errorf("it took %s", took)
			}
		}()
		set, err := Load(fstest.MapFS{"x.yaml": {Data: raw}})
		if err != nil {
			return
		}
		for _, p := range []Platform{slack, {Plugin: "ferry"}} {
			messages, err := set.Messages("x", data, p)
			if err != nil {
				continue
			}
			if len(messages) == 0 || len(messages) > maxMessages || !p.Interactive && len(messages) != 1 {
				t.Errorf("%d messages", len(messages))
			}
			for _, m := range messages {
				if p.Interactive && size(m) > maxMessage {
					t.Errorf("%d bytes", size(m))
				}
			}
		}
	})
}

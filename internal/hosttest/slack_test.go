package hosttest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"github.com/kubeshop/botkube/pkg/api"
	"github.com/kubeshop/botkube/pkg/bot"
	"github.com/kubeshop/botkube/pkg/bot/interactive"
)

// echo is the line that Botkube puts before every answer: the command or its short header, the cluster and, for a click,
// the user. It is part of the message's size.
const echo = "`ferry promote podinfo@7.0.0 to production` on `a-cluster-of-ours` by <@U024BE7LH>"

// asSent is the message as the host sends it: with the echo, and the bot's name filled in.
func asSent(t *testing.T, m api.Message) interactive.CoreMessage {
	t.Helper()
	raw, err := json.Marshal(m) // a copy: the host's replacement writes into the message
	if err != nil {
		t.Fatal(err)
	}
	var sent interactive.CoreMessage
	if err := json.Unmarshal(raw, &sent.Message); err != nil {
		t.Fatal(err)
	}
	sent.ReplaceBotNamePlaceholder("<@UBOT>")
	if !sent.OnlyVisibleForYou {
		sent.Description = echo
	}
	return sent
}

// slackProblems are the reasons for which Slack would refuse a message, or Botkube send it as a file without buttons.
func slackProblems(t *testing.T, m api.Message) []string {
	t.Helper()
	sent, renderer := asSent(t, m), bot.NewSlackRenderer()
	var problems []string
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }

	// Botkube measures this form, in bytes.
	if size := len(renderer.MessageToMarkdown(sent)); size == 0 || size > 3000 {
		complain("%d bytes of Markdown, not 1 to 3000", size)
	}
	values := slackValues(t, sent)
	for name, value := range values {
		if strings.Contains(value, "MISSING") || strings.Contains(value, "%!") {
			complain("a percent sign was taken for a format in %s: %s", name, value)
		}
	}
	if !sent.HasSections() && !sent.HasInputs() {
		return problems
	}
	var blocks []block
	if err := json.Unmarshal([]byte(values["blocks"]), &blocks); err != nil {
		t.Fatal(err)
	}
	return append(problems, blockProblems(blocks)...)
}

// slackValues is the form in which slack-go would post the message.
func slackValues(t *testing.T, m interactive.CoreMessage) map[string]string {
	t.Helper()
	_, form, err := slack.UnsafeApplyMsgOptions("token", "C1", "https://slack.invalid/", bot.NewSlackRenderer().RenderInteractiveMessage(m))
	if err != nil {
		t.Fatal(err)
	}
	return flat(form)
}

func flat(form url.Values) map[string]string {
	values := map[string]string{}
	for name := range form {
		values[name] = form.Get(name)
	}
	return values
}

// A block has the fields of Slack's blocks and elements that have limits
// (https://api.slack.com/reference/block-kit/blocks).
type block struct {
	Type         string        `json:"type"`
	BlockID      string        `json:"block_id"`
	ActionID     string        `json:"action_id"`
	Text         *text         `json:"text"`
	Fields       []text        `json:"fields"`
	Elements     []element     `json:"elements"`
	Element      *element      `json:"element"`
	Accessory    *element      `json:"accessory"`
	Label        *text         `json:"label"`
	Value        string        `json:"value"`
	URL          string        `json:"url"`
	Placeholder  *text         `json:"placeholder"`
	Options      []option      `json:"options"`
	OptionGroups []optionGroup `json:"option_groups"`
}

type element struct{ block }

// UnmarshalJSON reads an element of a context too, whose text is a string where that of others is an object.
func (e *element) UnmarshalJSON(raw []byte) error {
	var context struct{ Type, Text string }
	if json.Unmarshal(raw, &context) == nil && context.Text != "" {
		e.Type, e.Text = context.Type, &text{Text: context.Text}
		return nil
	}
	return json.Unmarshal(raw, &e.block)
}

type text struct {
	Text string `json:"text"`
}

type option struct {
	Text  text   `json:"text"`
	Value string `json:"value"`
}

type optionGroup struct {
	Label   text     `json:"label"`
	Options []option `json:"options"`
}

// blockProblems are the limits that the blocks exceed.
func blockProblems(blocks []block) []string {
	var problems []string
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	within := func(what, value string, least, most int) {
		if n := utf8.RuneCountInString(value); n < least || n > most {
			complain("%s of %d characters, not %d to %d: %.80q", what, n, least, most, value)
		}
	}
	options := func(all []option) {
		if len(all) == 0 || len(all) > 100 {
			complain("%d options, not 1 to 100", len(all))
		}
		for _, o := range all {
			within("option", o.Text.Text, 1, 75)
			within("value of an option", o.Value, 1, 75)
		}
	}
	interactiveElement := func(e block) {
		within("action_id", e.ActionID, 1, 255)
		switch e.Type {
		case "button":
			within("button", e.Text.Text, 1, 75)
			within("command of a button", e.Value, 0, 2000)
			within("URL of a button", e.URL, 0, 3000)
		case "static_select", "multi_static_select":
			within("placeholder", e.Placeholder.Text, 1, 150)
			if len(e.OptionGroups) == 0 {
				options(e.Options)
			}
			if len(e.OptionGroups) > 100 {
				complain("%d option groups, more than 100", len(e.OptionGroups))
			}
			for _, group := range e.OptionGroups {
				within("label of an option group", group.Label.Text, 1, 75)
				options(group.Options)
			}
		case "plain_text_input":
			if e.Placeholder != nil {
				within("placeholder", e.Placeholder.Text, 0, 150)
			}
		default:
			complain("element of type %q, which ferry does not use", e.Type)
		}
	}

	if len(blocks) > 50 {
		complain("%d blocks, more than 50", len(blocks))
	}
	all, blockIDs := 0, map[string]bool{}
	for _, b := range blocks {
		if b.BlockID != "" {
			within("block_id", b.BlockID, 1, 255)
			if blockIDs[b.BlockID] {
				complain("two blocks with the block_id %q", b.BlockID)
			}
			blockIDs[b.BlockID] = true
		}
		if b.Text != nil {
			within("text of a section", b.Text.Text, 1, 3000)
			all += utf8.RuneCountInString(b.Text.Text)
		}
		switch b.Type {
		case "section":
			if b.Text == nil && len(b.Fields) == 0 {
				complain("section without text and fields")
			}
			if len(b.Fields) > 10 {
				complain("%d fields in a section, more than 10", len(b.Fields))
			}
			for _, field := range b.Fields {
				within("field", field.Text, 1, 2000)
				all += utf8.RuneCountInString(field.Text)
			}
			if b.Accessory != nil {
				interactiveElement(b.Accessory.block)
			}
		case "actions":
			if len(b.Elements) == 0 || len(b.Elements) > 25 {
				complain("%d elements in a row, not 1 to 25", len(b.Elements))
			}
			actionIDs := map[string]bool{}
			for _, e := range b.Elements {
				interactiveElement(e.block)
				if actionIDs[e.ActionID] {
					complain("two elements with the action_id %q in a row", e.ActionID)
				}
				actionIDs[e.ActionID] = true
			}
		case "context":
			if len(b.Elements) == 0 || len(b.Elements) > 10 {
				complain("%d elements in a context, not 1 to 10", len(b.Elements))
			}
			for _, e := range b.Elements {
				within("context", e.Text.Text, 1, 3000)
				all += utf8.RuneCountInString(e.Text.Text)
			}
		case "input":
			within("label of an input", b.Label.Text, 1, 2000)
			interactiveElement(b.Element.block)
		case "divider":
		default:
			complain("block of type %q, which ferry does not use", b.Type)
		}
	}
	if all > 13000 {
		complain("%d characters of text in all, more than 13000", all)
	}
	return problems
}

func TestSlackTakesEveryMessage(t *testing.T) {
	for _, a := range answers(t) {
		if !a.Interactive {
			continue
		}
		t.Run(a.Name, func(t *testing.T) {
			if len(a.Messages) > 16 {
				t.Errorf("%d messages, of which Botkube drops all behind the 16th", len(a.Messages))
			}
			for i, m := range a.Messages {
				for _, problem := range slackProblems(t, m) {
					t.Errorf("message %d: %s", i, problem)
				}
			}
		})
	}
}

// The limits above are only worth something if they find what exceeds them.
func TestSlackLimitsAreFound(t *testing.T) {
	button := func(command string) api.Button {
		return api.Button{Name: "Go", Command: "{{BotName}} ferry " + command}
	}
	section := func(change func(*api.Section)) api.Message {
		s := api.Section{Base: api.Base{Header: "Header"}}
		change(&s)
		return api.Message{Sections: []api.Section{s}}
	}
	items := make([]api.OptionItem, 101)
	for i := range items {
		items[i] = api.OptionItem{Name: "n", Value: fmt.Sprint(i)}
	}
	for name, test := range map[string]struct {
		message api.Message
		want    string // empty: Slack takes it
	}{
		"a card": {section(func(s *api.Section) {
			s.Description, s.Buttons = "100%% sure", api.Buttons{button("list"), button("help")}
			s.TextFields = api.TextFields{{Key: "Version", Value: "7.0.0"}}
			s.Context = api.ContextItems{{Text: "80% done"}}
			s.Selects = api.Selects{ID: "x", Items: []api.Select{{Type: api.StaticSelect, Name: "Pick", Command: "{{BotName}} ferry list",
				OptionGroups: []api.OptionGroup{{Name: "All", Options: items[:2]}}}}}
		}), ""},
		"a percent sign in a description": {section(func(s *api.Section) { s.Description = "80%" }), "percent sign"},
		"a percent sign in plain text":    {api.NewPlaintextMessage("80%\nof 100% done", false), ""},
		"3,001 bytes":                     {api.NewPlaintextMessage(strings.Repeat("é", 1500), false), "bytes of Markdown"},
		"long button":                     {section(func(s *api.Section) { s.Buttons = api.Buttons{{Name: strings.Repeat("x", 76), URL: "https://x"}} }), "button of 76"},
		"equal starts of commands": {section(func(s *api.Section) {
			long := strings.Repeat("x", 250)
			s.Buttons = api.Buttons{button(long + "1"), button(long + "2")}
		}), "two elements with the action_id"},
		"26 buttons": {section(func(s *api.Section) {
			for i := range 26 {
				s.Buttons = append(s.Buttons, button(fmt.Sprint(i)))
			}
		}), "26 elements in a row"},
		"101 options": {section(func(s *api.Section) {
			s.Selects = api.Selects{ID: "x", Items: []api.Select{{Type: api.StaticSelect, Name: "Pick", Command: "c", OptionGroups: []api.OptionGroup{{Name: "g", Options: items}}}}}
		}), "101 options"},
		"a group without options": {section(func(s *api.Section) {
			s.Selects = api.Selects{ID: "x", Items: []api.Select{{Type: api.StaticSelect, Name: "Pick", Command: "c", OptionGroups: []api.OptionGroup{{Name: "g"}}}}}
		}), "0 options"},
		"11 fields": {section(func(s *api.Section) {
			for range 11 {
				s.TextFields = append(s.TextFields, api.TextField{Key: "k", Value: "v"})
			}
		}), "11 fields"},
		"51 blocks": {section(func(s *api.Section) {
			for i := range 51 {
				s.Buttons = append(s.Buttons, api.Button{Name: "Go", Description: "d", Command: fmt.Sprint(i)})
			}
		}), "blocks, more than 50"},
		"equal ids of selects": {api.Message{Sections: []api.Section{
			{Selects: api.Selects{ID: "x", Items: []api.Select{{Type: api.StaticSelect, Name: "a", Command: "a", OptionGroups: []api.OptionGroup{{Name: "g", Options: items[:1]}}}}}},
			{Selects: api.Selects{ID: "x", Items: []api.Select{{Type: api.StaticSelect, Name: "b", Command: "b", OptionGroups: []api.OptionGroup{{Name: "g", Options: items[:1]}}}}}},
		}}, "two blocks with the block_id"},
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(slackProblems(t, test.message), "\n")
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("found %q, want %q", got, test.want)
			}
		})
	}
}

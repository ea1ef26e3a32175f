package localhost

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/kubeshop/botkube/pkg/api"
)

// card has every element that a message can have, as ferry writes them for Slack.
var card = api.Message{
	BaseBody:  api.Body{Plaintext: "80%% of <https://example.org/7|pull request 7>"},
	Timestamp: time.Date(2026, 11, 20, 7, 0, 0, 0, time.UTC),
	Sections: []api.Section{
		{
			Base: api.Base{
				Header: "Promote podinfo to prod?", Description: "a &lt;b&gt; &amp;amp; 100%%",
				Body: api.Body{Plaintext: "Mention {{BotName}} and type:", CodeBlock: "--- a\n+++ b\n-tag: 6.0.0\n+tag: 7.0.0\n kept"},
			},
			TextFields:  api.TextFields{{Key: "Version", Value: "6.0.0 → 7.0.0"}, {Key: "By", Value: "commit, 50%%"}, {}},
			BulletLists: api.BulletLists{{Title: "Mind", Items: []string{"one", "two"}}},
			Buttons: api.Buttons{
				{Name: "Promote", Command: "{{BotName}} ferry --bk-cmd-header='Promote' promote podinfo@7.0.0 to prod --confirm abc", Style: api.ButtonStylePrimary},
				{Name: "Roll back", Description: "to 6.0.0", Command: "{{BotName}} ferry rollback podinfo on prod", Style: api.ButtonStyleDanger},
				{Name: "R&amp;D", Description: "{{BotName}} ferry list", Command: "{{BotName}} ferry list"},
				{Name: "Commit", URL: "https://example.org/c?a=1&b=2"},
			},
			Context: api.ContextItems{{Text: "until 08:00"}},
		},
		{
			Selects: api.Selects{Items: []api.Select{{
				Name: "Show one", Command: "{{BotName}} ferry --bk-cmd-header='Show one' list",
				OptionGroups: []api.OptionGroup{
					{Name: "Show one", Options: []api.OptionItem{{Name: "api", Value: "apps/api"}}},
					{Name: "prod", Options: []api.OptionItem{{Name: "web", Value: "web"}}},
				},
			}}},
			MultiSelect: api.MultiSelect{
				Name: "Several", Command: "{{BotName}} ferry diff", Description: api.Body{Plaintext: "of these"},
				Options: []api.OptionItem{{Name: "Prod", Value: "prod"}},
			},
			PlaintextInputs: api.LabelInputs{{Text: "Reason", Command: "{{BotName}} ferry promote --reason="}},
		},
	},
}

const cardAsText = `80% of pull request 7 (https://example.org/7)

Promote podinfo to prod?
a <b> &amp; 100%
Version: 6.0.0 → 7.0.0
By:      commit, 50%%
Mention ferry and type:
--- a
+++ b
-tag: 6.0.0
+tag: 7.0.0
 kept
Mind
• one
• two
[1] Promote   ferry promote podinfo@7.0.0 to prod --confirm abc
[2] Roll back – to 6.0.0   ferry rollback podinfo on prod
[3] R&amp;D   ferry list
Commit: https://example.org/c?a=1&b=2
until 08:00

Reason: type ferry promote --reason=…
Show one:
[4] api   ferry list apps/api
[5] prod: web   ferry list web
Several:
of these
[6] Prod   ferry diff prod
2026-11-20 07:00:00 UTC

details
`

func TestRenderPlain(t *testing.T) {
	text, choices := Answer{Messages: []api.Message{card, api.NewPlaintextMessage("details", false)}}.Render(false)
	if diff := cmp.Diff(cardAsText, text); diff != "" {
		t.Error(diff)
	}
	want := []string{
		"ferry promote podinfo@7.0.0 to prod --confirm abc", "ferry rollback podinfo on prod", "ferry list",
		"ferry list apps/api", "ferry list web", "ferry diff prod",
	}
	if diff := cmp.Diff(want, choices); diff != "" {
		t.Error(diff)
	}
}

func TestRenderStyledIsPlainWithoutTheLines(t *testing.T) {
	text, choices := Answer{Messages: []api.Message{card}}.Render(true)
	if len(choices) != 6 || !strings.Contains(text, "\x1b[") {
		t.Errorf("%d choices, text %q", len(choices), text)
	}
	if strings.Contains(text, "--confirm") {
		t.Error("a line is beside its number on a terminal")
	}
}

func TestPageFitsAndSaysWhatToType(t *testing.T) {
	m := api.Message{Sections: []api.Section{{
		Base:       api.Base{Header: "Promote podinfo on prod?", Description: "One line changes in one file; only `prod` is fed by it."},
		TextFields: api.TextFields{{Key: "By", Value: "commit to main, as there are no rules for it"}},
		Buttons:    api.Buttons{button("Promote", "promote podinfo@7.0.0 to prod --confirm abc")},
		Selects:    card.Sections[1].Selects,
	}}}
	const want = `Promote podinfo on prod?
One line changes in one file; only
` + "`prod`" + ` is fed by it.
By: commit to main, as there are no
    rules for it
[1] Promote   ferry promote
    podinfo@7.0.0 to prod --confirm abc
Show one:
[2] api   ferry list apps/api
[3] prod: web   ferry list web
`
	answer := Answer{Messages: []api.Message{m}}
	if diff := cmp.Diff(want, answer.Page(false, 40)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(strings.ReplaceAll(want, "`", ""), escapes.ReplaceAllString(answer.Page(true, 40), "")); diff != "" {
		t.Error(diff)
	}
}

// What goes on from an item is below its text, whether Botkube has the item in a list or, without a title, as text.
func TestItemsHang(t *testing.T) {
	items := api.Message{Sections: []api.Section{{
		Base:        api.Base{Body: api.Body{Plaintext: "• ✓ GitRepository flux-system/fleet\n• one two three four five"}},
		BulletLists: api.BulletLists{{Title: "Mind", Items: []string{"✗ one two three four five", "one two three four five"}}},
	}}}
	want := `✓ GitRepository
  flux-system/fleet
• one two three four
  five
Mind
✗ one two three four
  five
• one two three four
  five
`
	if diff := cmp.Diff(want, (Answer{Messages: []api.Message{items}}).fit(false, 20).text); diff != "" {
		t.Error(diff)
	}
}

func TestRenderColoursDiffsOnly(t *testing.T) {
	for block, coloured := range map[string]bool{"--- a\n+++ b\n-x\n+y": true, " x\n@@ -1 +1 @@\n+y": true, "- a list\n+ of things": false, "": false} {
		text, _ := Answer{Messages: []api.Message{api.NewCodeBlockMessage(block, false)}}.Render(true)
		if strings.Contains(text, "\x1b[") != coloured {
			t.Errorf("%q is shown as %q", block, text)
		}
	}
}

func TestRenderForTextPlatformsIsLeftAsItIs(t *testing.T) {
	const plain = "**podinfo** 100%% &amp; <https://example.org|x>"
	text, _ := Answer{TextOnly: true, Messages: []api.Message{{Sections: []api.Section{{Base: api.Base{Description: plain}}}}}}.Render(false)
	if text != plain+"\n" {
		t.Errorf("text %q, want %q", text, plain)
	}
}

// Whatever a stranger wrote into a version or a title, the terminal shows it and does not obey it.
func TestRenderShowsNoControlCharacter(t *testing.T) {
	const hostile = "a\x1b]0;title\x07\x1b[2J\r\u202eb\u200b\u0085c\u2028d\xff"
	m := api.Message{
		BaseBody: api.Body{Plaintext: hostile, CodeBlock: hostile},
		Sections: []api.Section{{
			Base:            api.Base{Header: hostile, Description: hostile, Body: api.Body{Plaintext: hostile, CodeBlock: hostile}},
			TextFields:      api.TextFields{{Key: hostile, Value: hostile}},
			BulletLists:     api.BulletLists{{Title: hostile, Items: []string{hostile}}},
			Buttons:         api.Buttons{{Name: hostile, Description: hostile, Command: hostile}, {Name: hostile, URL: hostile}},
			Context:         api.ContextItems{{Text: hostile}},
			PlaintextInputs: api.LabelInputs{{Text: hostile, Command: hostile}},
			MultiSelect:     api.MultiSelect{Name: hostile, Description: api.Body{Plaintext: hostile}, Command: hostile, Options: []api.OptionItem{{Name: hostile, Value: hostile}}},
			Selects:         api.Selects{Items: []api.Select{{Name: hostile, Command: hostile, OptionGroups: []api.OptionGroup{{Name: hostile, Options: []api.OptionItem{{Name: hostile, Value: hostile}}}}}}},
		}},
		PlaintextInputs: api.LabelInputs{{Text: hostile, Command: hostile}},
	}
	for _, textOnly := range []bool{false, true} {
		text, choices := Answer{Messages: []api.Message{m}, TextOnly: textOnly}.Render(false)
		for _, s := range append(choices, text) {
			if i := strings.IndexAny(s, "\x1b\x07\r\u202e\u200b\u0085\u2028\ufffd"); i >= 0 || !utf8.ValidString(s) {
				t.Errorf("at %d in %q", i, s)
			}
		}
		if n := strings.Count(text, "]0;title"); n < 20 {
			t.Errorf("the text itself is shown %d times only", n)
		}
	}
}

func TestEndOfTextIsOneLine(t *testing.T) {
	if text, _ := (Answer{Messages: []api.Message{{}}}).Render(false); text != "\n" {
		t.Errorf("an empty message is %q", text)
	}
}

// TestWhatNobodyAskedForTakesNoNumbers: they are those of the answer before it.
func TestWhatNobodyAskedForTakesNoNumbers(t *testing.T) {
	event := Answer{Messages: []api.Message{{Sections: []api.Section{{
		Base:    api.Base{Header: "acme/fleet #1 opened", Description: "Run 4 replicas"},
		Buttons: api.Buttons{{Name: "View", URL: "https://github.com/acme/fleet/pull/1"}, {Name: "Flux Diff", Command: api.MessageBotNamePlaceholder + " flux diff ks podinfo"}},
	}}}}}
	want := "acme/fleet #1 opened\nRun 4 replicas\nView: https://github.com/acme/fleet/pull/1\n• Flux Diff   flux diff ks podinfo\n"
	for _, styled := range []bool{false, true} {
		if diff := cmp.Diff(want, escapes.ReplaceAllString(event.unasked(styled, 80), "")); diff != "" {
			t.Errorf("styled %v: %s", styled, diff)
		}
	}
}

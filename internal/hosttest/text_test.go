package hosttest

import (
	"os"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/kubeshop/botkube/pkg/api"
	"github.com/kubeshop/botkube/pkg/bot"
	"github.com/kubeshop/botkube/pkg/bot/interactive"
	"github.com/kubeshop/botkube/pkg/execute"
	"github.com/kubeshop/botkube/pkg/formatx"
)

// textProblems are the reasons for which a message would not arrive as it is on platforms without buttons.
func textProblems(t *testing.T, m api.Message) []string {
	t.Helper()
	sent := asSent(t, m)
	var problems []string
	// Discord refuses more than 2000 characters. Botkube makes a file of as many bytes, but measures without the echo, the
	// bold and the fences.
	plain := interactive.MessageToPlaintext(sent, interactive.NewlineFormatter)
	switch size := len(plain); {
	case size == 0:
		problems = append(problems, "no text")
	case size > 1700 && size <= 2000:
		problems = append(problems, "neither at most 1,700 bytes nor plainly more than 2,000, where it becomes a file")
	case size <= 1700:
		if rendered := bot.NewDiscordRenderer().MessageToMarkdown(sent); len([]rune(rendered)) > 2000 {
			problems = append(problems, "more than the 2,000 characters that Discord takes")
		}
	}
	for platform, rendered := range map[string]string{
		"Discord":    bot.NewDiscordRenderer().MessageToMarkdown(sent),
		"Mattermost": bot.NewMattermostRenderer().MessageToMarkdown(sent),
		"Teams":      bot.NewTeamsRenderer().MessageToMarkdown(sent),
	} {
		if strings.Contains(rendered, "MISSING") || strings.Contains(rendered, "{{BotName}}") {
			problems = append(problems, platform+" would show: "+rendered)
		}
	}
	return problems
}

func TestTextPlatformsTakeEveryMessage(t *testing.T) {
	for _, a := range answers(t) {
		if a.Interactive {
			continue
		}
		t.Run(a.Name, func(t *testing.T) {
			if len(a.Messages) != 1 {
				t.Fatalf("%d messages, of which only the first arrives", len(a.Messages))
			}
			for _, problem := range textProblems(t, a.Messages[0]) {
				t.Error(problem)
			}
		})
	}
}

func TestTextLimitsAreFound(t *testing.T) {
	for name, test := range map[string]struct {
		message api.Message
		found   bool
	}{
		"a line":          {api.NewPlaintextMessage("100% done", false), false},
		"1,800 bytes":     {api.NewPlaintextMessage(strings.Repeat("x", 1800), false), true},
		"a file":          {api.NewPlaintextMessage(strings.Repeat("x", 2500), false), false},
		"nothing":         {api.Message{}, true},
		"many bold lines": {api.Message{Sections: slices.Repeat([]api.Section{{Base: api.Base{Header: "h"}}}, 420)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if problems := textProblems(t, test.message); len(problems) > 0 != test.found {
				t.Errorf("found %q", problems)
			}
		})
	}
}

// commandsOf are the commands in a message, a select's for each of its options.
func commandsOf(m api.Message) []string {
	var all []string
	inputs := m.PlaintextInputs
	for _, s := range m.Sections {
		inputs = append(slices.Clone(inputs), s.PlaintextInputs...)
		for _, b := range s.Buttons {
			if b.Command != "" {
				all = append(all, b.Command)
			}
		}
		for _, item := range s.Selects.Items {
			for _, group := range item.OptionGroups {
				for _, o := range group.Options {
					all = append(all, item.Command+" "+o.Value)
				}
			}
		}
	}
	for _, input := range inputs {
		all = append(all, input.Command)
	}
	return all
}

// arrives is what Botkube makes of a line that is typed, or of a command that is clicked: the line that it hands to a plugin,
// and the words by which it chooses one; an error where it refuses the line. It does the same as Botkube's executor.go,
// whose first step is not exported.
func arrives(line string) (clean string, words []string, err error) {
	line = strings.TrimPrefix(line, api.MessageBotNamePlaceholder)
	line = formatx.RemoveHyperlinks(line)
	line = strings.TrimSpace(strings.NewReplacer("“", `"`, "”", `"`, "‘", `"`, "’", `"`).Replace(line))
	flags, err := execute.ParseFlags(line)
	return flags.CleanCmd, flags.TokenizedCmd, err
}

// comesBack holds a command against what ferry wrote.
func comesBack(t *testing.T, c command) {
	t.Helper()
	if !strings.HasPrefix(c.Command, api.MessageBotNamePlaceholder+" ") {
		t.Errorf("%q does not begin with the bot's name", c.Command)
	}
	clean, words, err := arrives(c.Command)
	if err != nil || clean != c.Arrives || !slices.Equal(words, c.Tokens) {
		t.Errorf("%q arrives as %q with the words %q (%v), written as %q with %q", c.Command, clean, words, err, c.Arrives, c.Tokens)
	}
	if len(words) > 2 && words[1] == "help" {
		t.Errorf("%q: the host answers \"ferry help\" itself, with the general help, and drops the words behind", c.Command)
	}
}

func TestCommandsOfEveryMessageComeBack(t *testing.T) {
	for _, a := range answers(t) {
		t.Run(a.Name, func(t *testing.T) {
			written := map[string]command{}
			for _, c := range a.Commands {
				written[c.Command] = c
			}
			for _, m := range a.Messages {
				for _, found := range commandsOf(m) {
					if c, ok := written[found]; ok {
						comesBack(t, c)
					} else {
						t.Errorf("the words of %q are not given", found)
					}
				}
			}
		})
	}
}

func TestStrangeCommandsComeBack(t *testing.T) {
	for _, commands := range read[[]command](t, "commands") {
		if len(commands) < 1000 {
			t.Errorf("only %d commands", len(commands))
		}
		for _, c := range commands {
			comesBack(t, c)
		}
	}
}

func TestHostReadsWords(t *testing.T) {
	for command, want := range map[string][]string{
		`{{BotName}} ferry list --bk-cmd-header='All applications'`: {"ferry", "list"},
		`{{BotName}} ferry rollback x on y --reason "two words"`:    {"ferry", "rollback", "x", "on", "y", "--reason", "two words"},
		`{{BotName}} ferry list; rm`:                                {"ferry", "list"}, // and so this is one that ferry must not write
	} {
		if _, got, err := arrives(command); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q is read as %q (%v), want %q", command, got, err, want)
		}
	}
}

// What becomes of the lines then is shown in internal/command.
func TestLinesArriveAsThisSays(t *testing.T) {
	raw, err := os.ReadFile("../command/testdata/typed.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var lines []struct{ Typed, Arrives, Means, Refused string }
	if err := yaml.Unmarshal(raw, &lines); err != nil || len(lines) == 0 {
		t.Fatal(len(lines), err)
	}
	for _, line := range lines {
		got, _, err := arrives(line.Typed)
		if refused := line.Arrives == "-"; refused != (err != nil) || !refused && got != line.Arrives {
			t.Errorf("%q arrives as %q (%v), not as %q", line.Typed, got, err, line.Arrives)
		}
	}
}

package chatops

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kubeshop/botkube/pkg/api"
	"github.com/rogpeppe/go-internal/txtar"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/blueprints"
	"github.com/ferry-chatops/ferry/internal/blueprint"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/operation"
)

var update = flag.Bool("update", false, "write the messages in testdata anew")

// chat gives a Chat and what it logs. Its clock stands still.
func chat(t *testing.T) (*Chat, *bytes.Buffer) {
	t.Helper()
	set, err := blueprint.Load(blueprints.Files)
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	return &Chat{Blueprints: set, Log: slog.New(slog.NewTextHandler(&logged, nil)), Now: func() time.Time { return noon }}, &logged
}

// Each file of testdata is a line, the message of text that answers it, and the buttons where there are buttons; of the
// environments in fake_test.go. Add a file with a line, get a test; -update writes the rest.
func TestLines(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			archive := txtar.Parse(raw)
			if len(archive.Files) == 0 || archive.Files[0].Name != "line" {
				t.Fatalf("%s does not begin with a line", file)
			}
			line := archive.Files[0]
			archive.Files = []txtar.File{line, {Name: "text", Data: []byte(plain(t, string(line.Data)))}, {Name: "buttons", Data: []byte(buttons(t, string(line.Data)))}}
			got := txtar.Format(archive)
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(raw), string(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func respond(t *testing.T, line string, interactive bool) []api.Message {
	t.Helper()
	c, _ := chat(t)
	return c.Respond(t.Context(), Question{Line: strings.TrimSpace(line), Interactive: interactive, Mention: "<@U024BE7LH>", DisplayName: "jane", Core: made})
}

// plain is the message where there are no buttons.
func plain(t *testing.T, line string) string {
	t.Helper()
	m := respond(t, line, false)[0]
	text := m.BaseBody.Plaintext + "\n"
	if m.Type == blueprint.Refused {
		text = "(refused)\n" + text
	}
	return text
}

// buttons are those of the same answer, a line each, and what they do.
func buttons(t *testing.T, line string) string {
	t.Helper()
	var b strings.Builder
	for _, m := range respond(t, line, true) {
		for _, s := range m.Sections {
			for _, button := range s.Buttons {
				fmt.Fprintf(&b, "%s: %s%s\n", button.Name, button.Command, button.URL)
			}
		}
	}
	return b.String()
}

// text is everything that a message shows.
func text(t *testing.T, messages []api.Message) string {
	t.Helper()
	raw, err := yaml.Marshal(messages)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestRespondAlwaysAnswers(t *testing.T) {
	c, _ := chat(t)
	for _, line := range []string{"", "ferry", "\x00", strings.Repeat("a ", 5000), "promote", "promote podinfo", "promote podinfo@", "rollback", "status podinfo", "diff",
		"deploy podinfo", "list podinfo please", "promote podinfo@7.0.0 to prod --confirm", "help nothing", "💥", "list \"", "promote podinfo@7.0.0 to prod-eu",
		"rollback podinfo on stage", "status", "promote podinfo@7.0.0 to prod --until 1 --confirm 0123456789abcdef0123456789abcdef"} {
		for _, interactive := range []bool{true, false} {
			messages := c.Respond(t.Context(), Question{Line: line, Interactive: interactive, Core: made})
			if len(messages) == 0 || !interactive && len(messages) != 1 {
				t.Errorf("%.20q: %d messages", line, len(messages))
			}
			for i, m := range messages {
				if m.IsEmpty() {
					t.Errorf("%.20q: message %d is empty", line, i)
				}
			}
		}
	}
}

// The order of buttons and lines is not that of a map.
func TestAnswersAreTheSameEveryTime(t *testing.T) {
	for _, line := range []string{"list", "diff stage", "status", "promote podinfo@7.0.0 to prod", "list nothing", "help", "rollback podinfo on prod"} {
		first := text(t, respond(t, line, true))
		for range 20 {
			if diff := cmp.Diff(first, text(t, respond(t, line, true))); diff != "" {
				t.Fatalf("%s: %s", line, diff)
			}
		}
	}
}

func TestRefusalsAreMarked(t *testing.T) {
	c, _ := chat(t)
	for line, refused := range map[string]bool{
		"list": false, "help": false, "diff stage": false, "promote podinfo@7.0.0 to prod": false, "promote podinfo@7.0.0 to stage": true,
		"list nothing": true, "diff test": true, "promote podinfo@9.9.9 to prod": true, "deploy": true, "": false, "rollback podinfo on prod to 1.0.0": true,
		"promote podinfo@7.0.0 to prod --confirm 0123456789abcdef0123456789abcdef --until 1": true,
		// cards, though a change was asked for
		"promote podinfo@7.0.0 to prod --yes": true, "rollback podinfo on prod --yes": true, "rollback podinfo on prod": false,
		fmt.Sprintf("promote podinfo@7.0.0 to prod --confirm 0123456789abcdef0123456789abcdef --until %d", noon.Add(time.Minute).Unix()): true,
		fmt.Sprintf("rollback podinfo on prod --confirm 0123456789abcdef0123456789abcdef --until %d", noon.Add(time.Minute).Unix()):      true,
	} {
		m := c.Respond(t.Context(), Question{Line: line, Interactive: true, Core: made})[0]
		if got := m.Type == blueprint.Refused; got != refused {
			t.Errorf("%q: refused %v\n%s", line, got, text(t, []api.Message{m}))
		}
	}
}

// Silence is not the news that nothing was changed, or that all is well.
func TestEnvironmentsThatDoNotAnswer(t *testing.T) {
	c, _ := chat(t)
	for _, tc := range []struct {
		down    []string
		line    string
		refused bool
		says    string
	}{
		{[]string{"stage", "prod"}, "status", true, "prod: connection refused"},
		{[]string{"stage", "prod"}, "list", true, "No environment could be read."},
		{[]string{"stage", "prod"}, "list podinfo", true, "No environment could be read."},
		{[]string{"stage"}, "status", true, "stage: connection refused"}, // and nothing was found elsewhere
		{[]string{"stage"}, "list", false, "Everything that could be read is Ready."},
		{[]string{"stage"}, "list api", true, "stage gave no answer: connection refused"},
		{nil, "status", false, "No change yet"},
	} {
		for _, interactive := range []bool{true, false} {
			f := environments()
			f.down = tc.down
			messages := c.Respond(t.Context(), Question{Line: tc.line, Interactive: interactive, Core: func() (Core, error) { return Core{Fleet: f, Promotions: service(f)}, nil }})
			shown := text(t, messages)
			if got := messages[0].Type == blueprint.Refused; got != tc.refused || !strings.Contains(shown, tc.says) {
				t.Errorf("%s with %v down: refused %v\n%s", tc.line, tc.down, got, shown)
			}
			if strings.Contains(shown, "No change yet") && len(tc.down) > 0 {
				t.Errorf("%s with %v down:\n%s", tc.line, tc.down, shown)
			}
		}
	}
}

// What no one worded for people stays in the log.
func TestFaultsAreNotShownRaw(t *testing.T) {
	const canary = "gh0-canary"
	for name, tc := range map[string]struct {
		err    error
		want   string
		logged bool
	}{
		"any error":       {errors.New(canary), "no word for", true},
		"out of time":     {fmt.Errorf("%s: %w", canary, context.DeadlineExceeded), "in time", true},
		"a refusal":       {&gitops.Refusal{Code: gitops.Denied, Reason: "This is forbidden.", Cause: errors.New(canary)}, "This is forbidden.", true},
		"refusal, inside": {fmt.Errorf("%s: %w", canary, &gitops.Refusal{Code: gitops.Config, Reason: "No token."}), "No token.", false},
	} {
		c, logged := chat(t)
		for _, interactive := range []bool{true, false} {
			messages := c.Respond(t.Context(), Question{Line: "list", Interactive: interactive, Core: func() (Core, error) { return Core{}, tc.err }})
			shown := text(t, messages)
			if strings.Contains(shown, canary) || !strings.Contains(shown, tc.want) || messages[0].Type != blueprint.Refused {
				t.Errorf("%s shows\n%s", name, shown)
			}
		}
		if strings.Contains(logged.String(), canary) != tc.logged {
			t.Errorf("%s logs\n%s", name, logged)
		}
	}
}

// failing are clusters of which one thing cannot be said, by a plain error.
type failing struct {
	*fleet
	err error
}

func (f failing) Probe(context.Context, string) []operation.Cluster {
	return []operation.Cluster{{Err: f.err}}
}
func (f failing) Kustomizations(context.Context, string) ([]gitops.Kustomization, error) {
	return nil, f.err
}

// TestCheckLogsWhatItDoesNotSay: the cause of a finding that has no word for it, once.
func TestCheckLogsWhatItDoesNotSay(t *testing.T) {
	const canary = "gh0-canary"
	for name, test := range map[string]struct {
		err    error
		logged int
	}{
		"any error":             {errors.New(canary), 1},
		"a refusal":             {&gitops.Refusal{Code: gitops.Unreachable, Reason: "It is down."}, 0},
		"a refusal for a cause": {&gitops.Refusal{Code: gitops.Unreachable, Reason: "It is down.", Cause: errors.New(canary)}, 1},
	} {
		c, logged := chat(t)
		f := failing{environments(), test.err}
		service := service(f.fleet)
		service.Cluster = f
		answer := text(t, c.Respond(t.Context(), Question{Line: "check prod", Interactive: true, Core: func() (Core, error) {
			return Core{Fleet: f, Promotions: service, Clusters: f, GitHub: hub{}}, nil
		}}))
		if strings.Contains(answer, canary) || !strings.Contains(answer, "could not be read from Flux") {
			t.Errorf("%s shows\n%s", name, answer)
		}
		if n := strings.Count(logged.String(), canary); n != test.logged || strings.Count(logged.String(), "level=WARN") != n {
			t.Errorf("%s is logged %d times, want %d:\n%s", name, n, test.logged, logged)
		}
	}
}

func TestBlueprintThatDoesNotFit(t *testing.T) {
	c, logged := chat(t)
	asked := Question{Interactive: true, Core: made}
	messages := c.show(t.Context(), "list", "no listing", asked, "")
	if shown := text(t, messages); !strings.Contains(shown, "could not be shown") || messages[0].Type != blueprint.Refused || !strings.Contains(logged.String(), "blueprint=list") {
		t.Errorf("%s\n%s", shown, logged)
	}
	c.Blueprints = &blueprint.Set{}
	if messages = c.show(t.Context(), "list", "no listing", asked, ""); len(messages) != 1 || messages[0].IsEmpty() {
		t.Errorf("without any blueprint: %+v", messages)
	}
}

func TestHelpNeedsNoConfiguration(t *testing.T) {
	c, _ := chat(t)
	for _, line := range []string{"help", "help promote", "promote --help", "", "nonsense"} {
		messages := c.Respond(t.Context(), Question{Line: line, Interactive: true, Core: func() (Core, error) { return Core{}, errors.New("no") }})
		if got, want := text(t, messages), text(t, respond(t, line, true)); got != want {
			t.Errorf("%q without a configuration: %s\nwith one: %s", line, got, want)
		}
	}
}

// TestOperatorsBlueprints are shown, and ferry's own where they turn out not to fit.
func TestOperatorsBlueprints(t *testing.T) {
	c, logged := chat(t)
	own, err := c.Blueprints.With("help", []byte("sections: [{header: '{{ if .Topic }}{{ .Nothing }}{{ end }}Ask the platform team'}]"))
	if err != nil {
		t.Fatal(err)
	}
	core := func() (Core, error) {
		return Core{Blueprints: func(context.Context) *blueprint.Set { return own }}, nil
	}
	for line, want := range map[string]string{"help": "Ask the platform team", "promote --help": "Promote"} {
		if got := c.Respond(t.Context(), Question{Line: line, Interactive: true, Core: core})[0].Sections[0].Header; got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	if n := strings.Count(logged.String(), "level=WARN"); n != 1 || !strings.Contains(logged.String(), "blueprint=help") {
		t.Errorf("%d warnings:\n%s", n, logged)
	}
}

// TestOperatorsButtons: none of them writes without a card but the one that ferry's own message has.
func TestOperatorsButtons(t *testing.T) {
	const list, help = "sections: [{header: Mine, buttons: [{name: List, command: list}]}]",
		"sections: [{header: Mine, selects: [{name: Topic, command: promote podinfo@6.6.6 to, options: [{name: A, value: stage}, {name: B, value: prod}]}]}]"
	for _, tc := range []struct {
		line, name, text string
		own              bool // ferry's is shown
	}{
		{"help", "help", list, false},
		{"help", "help", help, false}, // which shows a card
		{"help", "help", strings.Replace(help, "podinfo@6.6.6", "podinfo@6.6.6 --yes", 1), true},
		{"help", "help", strings.Replace(list, "command: list", "command: promote podinfo@6.6.6 to prod --yes", 1), true},
		{"help", "help", strings.Replace(list, "command: list", `command: 'rollback podinfo on prod {{ print "--y" "es" }}'`, 1), true},
		{"promote podinfo@7.0.0 to prod", "card", strings.Replace(list, "command: list", `command: "{{ .Confirm }}"`, 1), false},
		{"promote podinfo@7.0.0 to prod", "card", strings.Replace(list, "command: list",
			`command: "promote podinfo@6.6.6 to prod --confirm `+strings.Repeat("0", 32)+` --until {{ .Until.Unix }}"`, 1), true},
	} {
		c, logged := chat(t)
		set, err := c.Blueprints.With(tc.name, []byte(tc.text))
		if err != nil {
			t.Fatal(err)
		}
		core := func() (Core, error) {
			core, err := made()
			core.Blueprints = func(context.Context) *blueprint.Set { return set }
			return core, err
		}
		got := c.Respond(t.Context(), Question{Line: tc.line, Interactive: true, Core: core})[0].Sections[0].Header
		if (got != "Mine") != tc.own || tc.own != strings.Contains(logged.String(), "a button would confirm") {
			t.Errorf("%s: %q\n%s", tc.text, got, logged)
		}
	}
}

func TestPrincipal(t *testing.T) {
	for _, tc := range []struct {
		mention, displayName, want string
	}{
		{"<@U024BE7LH>", "jane", "slack:U024BE7LH"},
		{"<@W012A3CDE>", "jane", "slack:W012A3CDE"},
		{"<@U024BE7LH>", "", "slack:U024BE7LH"},
		{"<@!80351110224678912>", "jane", "discord:80351110224678912"},
		{"<@80351110224678912>", "jane", "discord:80351110224678912"},
		{`Automation "deploy"`, `Automation "deploy"`, "automation:deploy"},
		{`Automation "the \"big\" deploy"`, `Automation "the \"big\" deploy"`, `automation:the "big" deploy`}, // as Go quotes it
		{`Automation "slack:U1"`, `Automation "slack:U1"`, "automation:slack:U1"},
		{"", "jane", "name:jane"},
		{"", "slack:U024BE7LH", "name:slack:U024BE7LH"},
		{"", "<@U024BE7LH>", "name:<@U024BE7LH>"},
		{"", `Automation "deploy"`, `name:Automation "deploy"`},
		{"", "", "name:"},
		{"@jane", "jane", "name:jane"},
		{"<@U024BE7LH|jane>", "jane", "name:jane"}, // Botkube makes mentions of the id alone
		{"<@U024BE7LH> <@U1>", "jane", "name:jane"},
		{"x<@U024BE7LH>", "jane", "name:jane"},
		{"<@u024be7lh>", "jane", "name:jane"},
		{"<@U024BE7LH>\n", "jane", "name:jane"},
		{"<@*>", "jane", "name:jane"},
		{"<@>", "jane", "name:jane"},
		{"<@B1>", "jane", "name:jane"},
		{"<!channel>", "jane", "name:jane"},
		{`Automation "deploy"`, "jane", "name:jane"}, // an automation is called like its mention
		{`automation "deploy"`, `automation "deploy"`, `name:automation "deploy"`},
		{"Automation deploy", "Automation deploy", "name:Automation deploy"},
		{"Automation 'deploy'", "Automation 'deploy'", "name:Automation 'deploy'"},
		{`Automation "deploy`, `Automation "deploy`, `name:Automation "deploy`},
		{`Automation ""`, `Automation ""`, `name:Automation ""`},
		{`Automation "a" b"`, `Automation "a" b"`, `name:Automation "a" b"`},
		{`Automation "deploy" `, `Automation "deploy" `, `name:Automation "deploy" `},
		{"Automation \"de\nploy\"", "jane", "name:jane"},
		{`x Automation "deploy"`, `x Automation "deploy"`, `name:x Automation "deploy"`},
	} {
		if got := Principal(tc.mention, tc.displayName, false); got != tc.want {
			t.Errorf("%q, %q: %q", tc.mention, tc.displayName, got)
		}
	}
}

// FuzzPrincipal: whatever people call themselves, they are who their platform says, and name:NAME where it says nothing.
func FuzzPrincipal(f *testing.F) {
	for _, name := range []string{"", "jane", "slack:U1", "slack:*", "discord:1", "automation:deploy", "<@U024BE7LH>", "<@!1>", `Automation "deploy"`, "\nslack:U1", "*"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		for platform, tc := range map[string]struct {
			mention     string
			interactive bool
			want        string
		}{
			"Slack":      {"<@U024BE7LH>", true, "slack:U024BE7LH"},
			"Discord":    {"<@80351110224678912>", false, "discord:80351110224678912"},
			"Mattermost": {"", false, "name:" + name},
			"Teams":      {name, true, "name:" + name}, // Botkube passes the name as the mention
		} {
			got := Principal(tc.mention, name, tc.interactive)
			if got != tc.want && tc.mention != name {
				t.Errorf("%s: %q is %q", platform, name, got)
			}
			if tc.mention == name && !strings.HasPrefix(got, "name:") {
				t.Errorf("%s: %q passes for %q", platform, name, got)
			}
		}
	})
}

// A change's answer may wait, and the deadline of the command lies behind that.
func TestDeadlines(t *testing.T) {
	c, _ := chat(t)
	fleet := environments()
	open := func() (Core, error) { return Core{Fleet: fleet, Promotions: service(fleet)}, nil }
	for line, want := range map[string]time.Duration{"list": readTime, "diff stage": readTime, "promote podinfo@7.0.0 to prod": writeTime + time.Minute, "rollback podinfo on prod": writeTime + time.Minute} {
		begin := time.Now()
		c.Respond(t.Context(), Question{Line: line, Core: open})
		if left := fleet.deadline.Sub(begin); left < want || left > want+10*time.Second {
			t.Errorf("%s: the deadline is %s ahead", line, left)
		}
	}
}

// TestRefreshReplacesTheMessage: only an answer does, and only where messages can be replaced.
func TestRefreshReplacesTheMessage(t *testing.T) {
	for line, want := range map[string]bool{
		"status podinfo on prod --refresh": true, "status --refresh": true, "status podinfo on prod": false,
		"status absent on prod --refresh": false, "list": false,
	} {
		if got := respond(t, line, true)[0].ReplaceOriginal; got != want {
			t.Errorf("%s: replaces %v, want %v", line, got, want)
		}
		if respond(t, line, false)[0].ReplaceOriginal {
			t.Errorf("%s replaces a message where there are no buttons", line)
		}
	}
}

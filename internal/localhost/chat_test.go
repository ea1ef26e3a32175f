package localhost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/kubeshop/botkube/pkg/api"
)

var testGrammar = Grammar{
	{Line: "list [APP]"},
	{Line: "diff pr NUMBER|URL|BRANCH", Options: []string{"--env ENV"}},
	{Line: "diff ENV [ENV]"},
	{Line: "promote APP@VERSION to ENV", Options: []string{"--pr", "--reason TEXT"}},
	{Line: "promote APP from ENV to ENV", Options: []string{"--pr", "--reason TEXT"}},
	{Line: "rollback APP on ENV [to VERSION]", Options: []string{"--pr"}},
	{Line: "help [VERB]"},
}

const listTable = "APPLICATION  NAMESPACE  KIND   stage    prod\n" +
	"podinfo      podinfo    chart  ✓ 7.0.0  … 6.9.2\n" +
	"web          web        image  ✗ 1.5.0  ✓ 1.4.2"

func button(name, command string) api.Button {
	return api.Button{Name: name, Command: "{{BotName}} ferry " + command}
}

// listing is an answer with a table, buttons and a select.
var listing = api.Message{Sections: []api.Section{{
	Base:    api.Base{Header: "2 applications", Body: api.Body{CodeBlock: listTable}},
	Buttons: api.Buttons{button("List again", "list"), button("Refresh", "state 1")},
	Selects: api.Selects{Items: []api.Select{{
		Name: "Show one", Command: "{{BotName}} ferry list",
		OptionGroups: []api.OptionGroup{{Name: "Show one", Options: []api.OptionItem{{Name: "podinfo", Value: "podinfo"}, {Name: "web", Value: "web"}}}},
	}}},
}}}

// A talk is a person at the terminal of a conversation. It does for the model what Bubble Tea would do.
type talk struct {
	*testing.T
	m     *model
	lines []string     // executed
	out   bytes.Buffer // written for good
}

func newTalk(t *testing.T, change func(*Chat)) *talk {
	t.Helper()
	p := &talk{T: t}
	chat := Chat{Grammar: testGrammar, Execute: p.execute}
	if change != nil {
		change(&chat)
	}
	p.m = newModel(t.Context(), chat)
	p.do(tea.WindowSizeMsg{Width: 80, Height: 24})
	p.run(p.m.Init())
	return p
}

func (p *talk) execute(ctx context.Context, line string) (Answer, error) {
	p.lines = append(p.lines, line)
	verb, rest, _ := strings.Cut(strings.TrimPrefix(line, "ferry "), " ")
	m := api.Message{BaseBody: api.Body{Plaintext: "answer to " + line}}
	switch verb {
	case "list":
		m = listing
	case "state":
		m.ReplaceOriginal = true
		m.Sections = []api.Section{{Buttons: api.Buttons{button("Refresh", "state "+rest+"1")}}}
	case "tall":
		m.BaseBody.Plaintext = strings.Repeat("line\n", 30)
		m.Sections = []api.Section{{Buttons: api.Buttons{button("List", "list")}}}
	case "break":
		return Answer{}, errors.New("the plugin\x1b[2J ended")
	case "wait":
		<-ctx.Done()
		return Answer{}, ctx.Err()
	}
	return Answer{Messages: []api.Message{m}}, nil
}

func (p *talk) do(msg tea.Msg) {
	_, cmd := p.m.Update(msg)
	p.run(cmd)
}

// run does what the model asks for, but does not wait for the next frame of the spinner or the next event.
func (p *talk) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	switch msg := cmd().(type) {
	case nil, tick, listen:
	case tea.BatchMsg:
		for _, cmd := range msg {
			p.run(cmd)
		}
	case tea.QuitMsg:
		if err := p.m.write(&p.out); err != nil {
			p.Fatal(err)
		}
		if !p.m.quit {
			p.run(p.m.Init())
		}
	default:
		p.do(msg)
	}
}

var keys = map[string]tea.Key{
	"enter": {Code: tea.KeyEnter}, "tab": {Code: tea.KeyTab}, "shift+tab": {Code: tea.KeyTab, Mod: tea.ModShift},
	"up": {Code: tea.KeyUp}, "down": {Code: tea.KeyDown}, "left": {Code: tea.KeyLeft}, "esc": {Code: tea.KeyEscape},
	"backspace": {Code: tea.KeyBackspace}, "ctrl+c": {Code: 'c', Mod: tea.ModCtrl}, "ctrl+d": {Code: 'd', Mod: tea.ModCtrl},
}

// press presses keys by their names; anything else is typed.
func (p *talk) press(names ...string) {
	p.Helper()
	for _, name := range names {
		if key, ok := keys[name]; ok {
			p.do(tea.KeyPressMsg(key))
			continue
		}
		for _, c := range name {
			p.do(tea.KeyPressMsg{Code: c, Text: string(c)})
		}
	}
}

// screen is the view without the blank lines at its end.
func (p *talk) screen() string { return strings.TrimRight(p.m.View().Content, "\n") }

func (p *talk) expect(want string) {
	p.Helper()
	if diff := cmp.Diff(strings.Trim(want, "\n"), p.screen()); diff != "" {
		p.Errorf("screen -want +got:\n%s", diff)
	}
}

func (p *talk) expectLines(want ...string) {
	p.Helper()
	if diff := cmp.Diff(want, p.lines); diff != "" {
		p.Errorf("lines executed -want +got:\n%s", diff)
	}
}

// inBubble runs a conversation in virtual time.
func inBubble(t *testing.T, change func(*Chat), converse func(p *talk)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { converse(newTalk(t, change)) })
}

func TestChatShowsAnAnswerAboveThePrompt(t *testing.T) {
	inBubble(t, nil, func(p *talk) {
		p.expect("ferry> \nTab completes · Ctrl-D leaves")
		p.press("list", "enter")
		p.expect(`
ferry> list
2 applications
APPLICATION  NAMESPACE  KIND   stage    prod
podinfo      podinfo    chart  ✓ 7.0.0  … 6.9.2
web          web        image  ✗ 1.5.0  ✓ 1.4.2

[1] List again   [2] Refresh   [3] Show one ▾

ferry> 
↓ or a number chooses · ↑ earlier lines · Tab completes · Ctrl-D leaves`)
		if c := p.m.View().Cursor; c == nil || c.X != 7 || c.Y != 8 {
			t.Errorf("cursor %v, want it behind the prompt", c)
		}
	})
}

func TestChatShowsWhatHappens(t *testing.T) {
	events := make(chan Answer, 1)
	inBubble(t, func(c *Chat) { c.Events = events }, func(p *talk) {
		p.press("list", "enter")
		p.press("hal")
		events <- Answer{TextOnly: true, Messages: []api.Message{api.NewPlaintextMessage("**acme/fleet #7 opened**\x1b[2J", false)}}
		p.do(listen{})
		p.expect("ferry> hal")
		if text := p.out.String(); !strings.Contains(text, "2 applications") || !strings.HasSuffix(text, "#7 opened**\n\n") && !strings.Contains(text, "acme/fleet #7 opened") || strings.Contains(text, "\x1b[2J") {
			t.Errorf("what was written is %q", text)
		}
		p.do(listen{}) // nothing more has happened
		p.expect("ferry> hal")
		p.press("backspace", "backspace", "backspace", "1", "enter")
		p.expectLines("ferry list", "ferry list")
	})
}

func TestChatChooses(t *testing.T) {
	for name, test := range map[string]struct {
		keys []string
		want []string
	}{
		"a number":                        {[]string{"1", "enter"}, []string{"ferry list", "ferry list"}},
		"a number beyond":                 {[]string{"4", "enter"}, []string{"ferry list"}},
		"an arrow":                        {[]string{"down", "down", "enter"}, []string{"ferry list", "ferry state 1"}},
		"around the end":                  {[]string{"down", "up", "enter", "enter"}, []string{"ferry list", "ferry list podinfo"}},
		"the number of a select opens it": {[]string{"3", "enter", "down", "enter"}, []string{"ferry list", "ferry list web"}},
		"what is typed narrows a select":  {[]string{"3", "enter", "Wx", "backspace", "enter"}, []string{"ferry list", "ferry list web"}},
		"nothing of that name":            {[]string{"3", "enter", "x", "enter", "esc"}, []string{"ferry list"}},
		"escape":                          {[]string{"down", "esc", "enter"}, []string{"ferry list"}},
		"typing leaves the menu":          {[]string{"down", "diff stage", "enter"}, []string{"ferry list", "ferry diff stage"}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(p *talk) {
				p.press("list", "enter")
				p.press(test.keys...)
				p.expectLines(test.want...)
			})
		})
	}
}

func TestChatMenusLook(t *testing.T) {
	inBubble(t, nil, func(p *talk) {
		p.press("list", "enter", "down", "down")
		_, menu, _ := strings.Cut(p.screen(), "\n\nferry> ")
		if diff := cmp.Diff(`
  List again  ferry list
› Refresh     ferry state 1
  Show one ▾
↑ ↓ move · Enter runs it · Esc goes back`, menu); diff != "" {
			t.Error(diff)
		}
		p.press("down", "enter", "w")
		_, menu, _ = strings.Cut(p.screen(), "\n\nShow one> ")
		if diff := cmp.Diff("w\n› web  ferry list web\n↑ ↓ move · type to narrow · Enter runs it · Esc goes back", menu); diff != "" {
			t.Error(diff)
		}
	})
}

func TestLongMenuScrolls(t *testing.T) {
	m := &menu{kind: optionsMenu}
	for i := range 30 {
		m.all = append(m.all, choice{name: fmt.Sprintf("app-%02d", i), line: "ferry list app"})
	}
	m.move(-1)
	want := []string{"  app-27  ferry list app", "  app-28  ferry list app", "› app-29  ferry list app", "  … 27 more"}
	if diff := cmp.Diff(want, m.lines(renderer{width: 80}, 3)); diff != "" {
		t.Error(diff)
	}
}

func TestAnswerThatReplacesStandsWhereTheButtonWas(t *testing.T) {
	inBubble(t, nil, func(p *talk) {
		p.press("list", "enter", "2", "enter", "1", "enter")
		if strings.Contains(p.screen(), "2 applications") || strings.Contains(p.screen(), "state 1\n") || p.out.Len() > 0 {
			t.Errorf("what was replaced is still there, written %q, on the screen:\n%s", p.out.String(), p.screen())
		}
		if !strings.Contains(p.screen(), "answer to ferry state 11\n") {
			t.Errorf("the answer is not on the screen:\n%s", p.screen())
		}
		p.press("state 5", "enter") // typed: nothing was clicked that could be replaced
		if !strings.Contains(p.out.String(), "answer to ferry state 11\n") || !strings.Contains(p.screen(), "answer to ferry state 5\n") {
			t.Errorf("written %q, on the screen:\n%s", p.out.String(), p.screen())
		}
	})
}

func TestAnswersLeaveTheViewWhole(t *testing.T) {
	inBubble(t, nil, func(p *talk) {
		p.press("list", "enter", "tall", "enter")
		p.expect("ferry> \n↓ or a number chooses · ↑ earlier lines · Tab completes · Ctrl-D leaves")
		out := p.out.String()
		if !strings.Contains(out, "ferry> list\n2 applications\n") || strings.Count(out, "line\n") != 30 || !strings.HasSuffix(out, "\n[1] List\n\n") {
			t.Errorf("written: %s", out)
		}
		p.press("1", "enter")
		p.expectLines("ferry list", "ferry tall", "ferry list")
	})
}

// Bubble Tea loses its place when a view gets lower, and cuts one that is higher than the screen.
func TestViewKeepsItsHeight(t *testing.T) {
	inBubble(t, nil, func(p *talk) {
		p.press("list", "enter")
		highest := 0
		for _, key := range []string{"down", "down", "esc", "3", "enter", "w", "esc", "ctrl+c"} {
			p.press(key)
			height := lipgloss.Height(p.m.View().Content)
			if height < highest || height > 24 {
				t.Fatalf("after %s the view has %d lines, before %d", key, height, highest)
			}
			highest = height
		}
		p.press("tall", "enter")
		if want := fmt.Sprintf("\x1b[%dA\x1b[Jferry> list\n", highest-1); !strings.HasPrefix(p.out.String(), want) {
			t.Errorf("written %q, want it to begin with %q", p.out.String(), want)
		}
	})
}

func TestChatWithoutAnAnswer(t *testing.T) {
	inBubble(t, nil, func(p *talk) {
		p.press("list", "enter", "break", "enter")
		if want := "ferry> break\nthe plugin[2J ended\n"; !strings.HasPrefix(p.screen(), want) {
			t.Errorf("screen %q, want %q", p.screen(), want)
		}
		p.press("1", "enter") // of the last answer
		p.expectLines("ferry list", "ferry break", "ferry list")
	})
}

func TestWaitIsShownAndCanBeEnded(t *testing.T) {
	inBubble(t, nil, func(p *talk) {
		p.press("wait for it")
		_, cmd := p.m.Update(tea.KeyPressMsg(keys["enter"]))
		p.expect("ferry> wait for it\n⠋ waiting for the answer… 0s, Ctrl-C to stop waiting")
		p.m.Update(tick{number: 1, now: time.Now().Add(3100 * time.Millisecond)})
		p.press("di", "enter")
		p.expect("ferry> wait for it\n⠙ waiting for the answer… 3s, Ctrl-C to stop waiting\nferry> di")

		p.press("ctrl+c")
		p.expect("ferry> wait for it\n" +
			"Stopped waiting after 3s. If a change was asked for, it may go on: see status.\n\n" +
			"ferry> di")
		p.run(cmd) // the plugin notices, and its answer comes late
		if !strings.Contains(p.screen(), "Stopped waiting") {
			t.Errorf("the late answer is shown:\n%s", p.screen())
		}
		p.press("ff stage", "enter")
		p.expectLines("ferry wait for it", "ferry diff stage")
	})
}

func TestChatEnds(t *testing.T) {
	for name, keys := range map[string][]string{
		"quit":              {"quit", "enter"},
		"exit":              {"exit", "enter"},
		"Ctrl-D":            {"ctrl+d"},
		"Ctrl-C twice":      {"ctrl+c", "ctrl+c"},
		"Ctrl-C with words": {"words", "ctrl+c", "ctrl+c", "ctrl+c"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(p *talk) {
				p.press("list", "enter")
				for i, key := range keys {
					if p.m.quit {
						t.Errorf("it ended before key %d", i+1)
					}
					p.press(key)
				}
				if !p.m.quit || !strings.HasSuffix(p.out.String(), "[3] Show one ▾\n") {
					t.Errorf("ended: %t, left on the screen: %q", p.m.quit, p.out.String())
				}
			})
		})
	}
	t.Run("not with words", func(t *testing.T) {
		inBubble(t, nil, func(p *talk) {
			p.press("words", "ctrl+d", "ctrl+c", "x", "ctrl+c", "ctrl+c", "y")
			if p.m.quit {
				t.Error("it ended")
			}
		})
	})
}

func TestPasteRunsNothing(t *testing.T) {
	inBubble(t, nil, func(p *talk) {
		p.press("x ")
		p.do(tea.PasteMsg{Content: "promote a\x1b[2J\r\nlist\rdiff\tb\n"})
		p.expect("ferry> x promote a[2J list diff b")
		p.expectLines()
		p.do(tea.PasteMsg{Content: strings.Repeat("x", maxTyped)})
		if !strings.Contains(p.screen(), "nothing was pasted") || len(p.m.input.text) > 100 {
			t.Errorf("screen:\n%s", p.screen())
		}
	})
}

func TestChatCompletes(t *testing.T) {
	inBubble(t, func(c *Chat) { c.Welcome = "list" }, func(p *talk) {
		p.press("pr", "tab", "p", "tab", "tab")
		p.expect(`
ferry> promote podinfo@7.0.0
› podinfo@7.0.0
  podinfo@6.9.2
  podinfo
Tab or ↑ ↓ choose · Enter takes it · Esc closes`)
		p.press("tab", "shift+tab", "enter", "t", "tab", "tab", "down", "enter", "--p", "tab", "enter")
		p.expectLines("ferry list", "ferry promote podinfo@7.0.0 to stage --pr")
	})
}

func TestFirstTabShowsWhatThereIs(t *testing.T) {
	inBubble(t, nil, func(p *talk) {
		p.press("tab")
		p.expect(`
ferry> 
  list      list [APP]
  diff      diff pr NUMBER|URL|BRANCH, diff ENV [ENV]
  promote   promote APP@VERSION to ENV, promote APP from ENV to ENV
  rollback  rollback APP on ENV [to VERSION]
  help      help [VERB]
Tab or ↑ ↓ choose · Enter takes it · Esc closes`)
	})
}

func TestArrowsRecallLines(t *testing.T) {
	inBubble(t, nil, func(p *talk) {
		p.press("list a", "enter", "diff b", "enter", "list c", "enter")
		for _, step := range []struct{ key, want string }{
			{"up", "list c"}, {"up", "diff b"}, {"up", "list a"}, {"up", "list a"}, {"down", "diff b"}, {"down", "list c"}, {"down", ""},
			{"li", "li"}, {"up", "list c"}, {"up", "list a"}, {"down", "list c"}, {"down", "li"},
		} {
			if step.key == "li" {
				p.press("li")
			} else {
				p.press(step.key)
			}
			if got := p.m.input.String(); got != step.want {
				t.Fatalf("after %s the line is %q, want %q", step.key, got, step.want)
			}
		}
	})
}

func TestNumbersAreNoHistory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state", "history")
	inBubble(t, func(c *Chat) { c.History = file }, func(p *talk) {
		p.press("list", "enter", "1", "enter", "9", "enter", "diff stage", "enter", "quit", "enter")
	})
	if got := read(t, file); got != "list\ndiff stage\n" {
		t.Errorf("history %q", got)
	}
}

var escapes = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// Whatever an answer holds and however narrow the terminal is: no line is wider than it, nothing in it is obeyed, and
// the colours are all that the plain form lacks.
func TestNothingIsWiderThanTheTerminal(t *testing.T) {
	long := strings.Repeat("https://example.org/a/b,", 20)
	wide := api.Message{Sections: []api.Section{{
		Base:        api.Base{Header: long, Description: "語" + long + "\ttab `code " + long + "`", Body: api.Body{CodeBlock: "APPLICATION  stage  prod\n" + long + "  x\n\tweb"}},
		TextFields:  api.TextFields{{Key: "Version", Value: long}, {Key: long, Value: long}},
		BulletLists: api.BulletLists{{Title: long, Items: []string{"✓ " + long}}},
		Buttons:     api.Buttons{button(long, "list"), button("a\nb\tc", "list")},
		Context:     api.ContextItems{{Text: long}},
	}, {Base: api.Base{Body: api.Body{CodeBlock: "APPLICATION  " + strings.Repeat("environment  ", 30) + "\napp"}}}}}
	for _, m := range []api.Message{wide, card, listing} {
		for width := 20; width <= 130; width += 11 {
			plain := Answer{Messages: []api.Message{m}}.fit(false, width).text
			for line := range strings.SplitSeq(plain, "\n") {
				if lipgloss.Width(line) > width || strings.ContainsAny(line, "\x1b\t") {
					t.Errorf("at width %d: %q", width, line)
				}
			}
			styled := Answer{Messages: []api.Message{m}}.fit(true, width).text
			if bare := escapes.ReplaceAllString(styled, ""); strings.ReplaceAll(bare, "`", "") != strings.ReplaceAll(plain, "`", "") {
				t.Errorf("at width %d:\n%s\nwith colours:\n%s", width, plain, bare)
			}
		}
	}
}

func TestChatOnANarrowTerminal(t *testing.T) {
	inBubble(t, func(c *Chat) { c.Styled = true }, func(p *talk) {
		p.do(tea.WindowSizeMsg{Width: 30, Height: 12})
		p.press("list", "enter", "tab", "ctrl+c", "a rather long line that does not fit", "left", "left")
		view := p.m.View()
		lines := strings.Split(view.Content, "\n")
		if len(lines) > 12 || view.Cursor == nil || view.Cursor.Y >= len(lines) || view.Cursor.X >= 30 {
			t.Errorf("%d lines, cursor %v", len(lines), view.Cursor)
		}
		for _, line := range lines {
			if lipgloss.Width(line) > 30 {
				t.Errorf("too wide: %q", line)
			}
		}
	})
}

func TestChatReturnsWhenItsContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	chat := Chat{Execute: new(answers).execute, In: strings.NewReader(""), Out: new(bytes.Buffer)}
	if err := chat.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

package localhost

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kubeshop/botkube/pkg/api"
)

// answers notes the lines it is given and answers each with a button that lists the environment it names.
type answers struct{ lines []string }

func (a *answers) execute(_ context.Context, line string) (Answer, error) {
	a.lines = append(a.lines, line)
	if line == "ferry break" {
		return Answer{}, errors.New("the plugin\x1b[2J ended")
	}
	m := api.Message{BaseBody: api.Body{Plaintext: "answer to " + line}}
	if line != "ferry quiet" {
		m.Sections = []api.Section{{Buttons: api.Buttons{{Name: "Again", Command: "{{BotName}} ferry again"}}}}
	}
	return Answer{Messages: []api.Message{m}}, nil
}

// converse types input and gives the lines that were executed and what was written to both outputs.
func converse(t *testing.T, input string, change func(*Session)) (lines []string, out, log string, err error) {
	t.Helper()
	var a answers
	var stdout, stderr bytes.Buffer
	session := Session{Execute: a.execute, In: strings.NewReader(input), Out: &stdout, Err: &stderr}
	if change != nil {
		change(&session)
	}
	err = session.Run(t.Context())
	return a.lines, stdout.String(), stderr.String(), err
}

func TestLines(t *testing.T) {
	for name, test := range map[string]struct {
		input string
		want  []string
	}{
		"the plugin's name is added":      {"list\nferry list\n  ferry\n", []string{"ferry list", "ferry list", "ferry"}},
		"not to a word that begins alike": {"ferryboat\n", []string{"ferry ferryboat"}},
		"empty lines say nothing":         {"\n \nlist\n", []string{"ferry list"}},
		"quit ends":                       {"list\nquit\nlist\n", []string{"ferry list"}},
		"exit ends":                       {"exit\nlist\n", nil},
		"without a newline at the end":    {"list", []string{"ferry list"}},
		"a number runs its button":        {"list\n1\n", []string{"ferry list", "ferry again"}},
		"only of the last answer":         {"list\nquiet\n1\n", []string{"ferry list", "ferry quiet"}},
		"a number beyond runs nothing":    {"list\n2\n0\n-1\n", []string{"ferry list"}},
		"a number before any answer":      {"1\n", nil},
		"the host's options are dropped":  {"list --bk-cmd-header='All of it' api --cluster-name x\n", []string{"ferry list api"}},
		"Windows line ends":               {"list\r\nquit\r\n", []string{"ferry list"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, _, _, err := converse(t, test.input, nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOutputFromAPipe(t *testing.T) {
	_, out, log, err := converse(t, "list\n1\n7\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := `> ferry list
answer to ferry list

[1] Again   ferry again

> ferry again
answer to ferry again

[1] Again   ferry again

`
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
	if want := "choose a number from 1 to 1, or type a command\n"; log != want {
		t.Errorf("standard error %q, want %q", log, want)
	}
}

func TestOutputOnATerminal(t *testing.T) {
	_, out, _, err := converse(t, "list\n1\n", func(s *Session) { s.Prompt = true })
	if err != nil {
		t.Fatal(err)
	}
	want := `ferry> answer to ferry list

[1] Again   ferry again

ferry> > ferry again
answer to ferry again

[1] Again   ferry again

ferry> 
`
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
}

func TestUnansweredLineIsAnErrorInTheEnd(t *testing.T) {
	lines, out, log, err := converse(t, "break\nlist\n", nil)
	if err == nil || len(lines) != 2 || !strings.Contains(out, "answer to ferry list") {
		t.Errorf("error %v, lines %q, output %q", err, lines, out)
	}
	if log != "the plugin[2J ended\n" {
		t.Errorf("standard error %q", log)
	}
}

func TestLineThatIsTooLong(t *testing.T) {
	_, _, _, err := converse(t, strings.Repeat("x", maxLine+1), nil)
	if err == nil || !strings.Contains(err.Error(), "read a line") {
		t.Errorf("error %v", err)
	}
}

func TestInterruptEndsASessionThatWaitsForInput(t *testing.T) {
	in, keep := io.Pipe()
	defer keep.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	session := Session{Execute: new(answers).execute, In: in, Out: io.Discard, Err: io.Discard}
	if err := session.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func TestProgressIsShownAndWiped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a answers
		var stderr bytes.Buffer
		session := Session{
			Execute: func(ctx context.Context, line string) (Answer, error) {
				<-time.After(2500 * time.Millisecond)
				return a.execute(ctx, line)
			},
			In: strings.NewReader("list\n"), Out: io.Discard, Err: &stderr, Progress: true,
		}
		if err := session.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if want := "\rferry is working … 1 s\rferry is working … 2 s\r\x1b[K"; stderr.String() != want {
			t.Errorf("standard error %q, want %q", stderr.String(), want)
		}
	})
}

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ferry-chatops/ferry/internal/localhost"
)

type chat struct {
	plugin
}

// Run talks until the end of input.
func (c chat) Run(ctx context.Context, t terminal) error {
	host, err := c.start(ctx, t)
	if err != nil {
		return err
	}
	defer host.Close()
	if c.Verbose && isTerminal(t.err) {
		return converseInLines(ctx, t, host.Execute) // the plugin's log would be written across anything else
	}
	return converse(ctx, t, host.Execute)
}

// execute answers a line that begins with the plugin's name.
type execute = func(ctx context.Context, line string) (localhost.Answer, error)

// converse is a session: on a terminal for a person, elsewhere in lines.
func converse(ctx context.Context, t terminal, execute execute) error {
	if isTerminal(t.in) && isTerminal(t.out) && os.Getenv("TERM") != "dumb" {
		history, err := historyFile()
		if err != nil {
			fmt.Fprintln(t.err, "ferry: typed lines are not kept:", err)
		}
		return localhost.Chat{
			Execute: execute, In: t.in, Out: t.out, Styled: styled(t.out),
			Grammar: grammar, Welcome: "list", History: history,
		}.Run(ctx)
	}
	return converseInLines(ctx, t, execute)
}

// converseInLines is a session that only adds lines to its output, as a file, a pipe or a plain terminal needs.
func converseInLines(ctx context.Context, t terminal, execute execute) error {
	session := localhost.Session{
		Execute: execute,
		In:      t.in, Out: t.out, Err: t.err,
		Prompt: isTerminal(t.in) && isTerminal(t.out), Styled: styled(t.out), Progress: isTerminal(t.err),
	}
	return session.Run(ctx)
}

// historyFile is where the lines typed are kept (https://specifications.freedesktop.org/basedir-spec).
func historyFile() (string, error) {
	state := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "ferry", "history"), nil
}

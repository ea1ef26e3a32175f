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
	Source []string `placeholder:"FILE" type:"path" help:"Start ferry's source too, with this configuration, as under sources in Botkube's, and show what it says."`
}

// Run talks until the end of input.
func (c chat) Run(ctx context.Context, t terminal) error {
	host, err := c.start(ctx, t)
	if err != nil {
		return err
	}
	defer host.Close()
	var events *localhost.Events
	if len(c.Source) > 0 {
		if events, err = c.follow(ctx, t, c.Source); err != nil {
			return err
		}
		defer events.Close()
	}
	if c.Verbose && isTerminal(t.err) {
		return converseInLines(ctx, t, host.Execute, events) // the plugin's log would be written across anything else
	}
	return converse(ctx, t, host.Execute, events)
}

// execute answers a line that begins with the plugin's name.
type execute = func(ctx context.Context, line string) (localhost.Answer, error)

// converse is a session: on a terminal for a person, elsewhere in lines.
func converse(ctx context.Context, t terminal, execute execute, events *localhost.Events) error {
	if isTerminal(t.in) && isTerminal(t.out) && os.Getenv("TERM") != "dumb" {
		history, err := historyFile()
		if err != nil {
			fmt.Fprintln(t.err, "ferry: typed lines are not kept:", err)
		}
		return localhost.Chat{
			Execute: execute, Events: messages(events), In: t.in, Out: t.out, Styled: styled(t.out),
			Grammar: grammar, Welcome: "list", History: history,
		}.Run(ctx)
	}
	return converseInLines(ctx, t, execute, events)
}

// converseInLines is a session that only adds lines to its output, as a file, a pipe or a plain terminal needs.
func converseInLines(ctx context.Context, t terminal, execute execute, events *localhost.Events) error {
	session := localhost.Session{
		Execute: execute, Events: messages(events),
		In: t.in, Out: t.out, Err: t.err,
		Prompt: isTerminal(t.in) && isTerminal(t.out), Styled: styled(t.out), Progress: isTerminal(t.err),
	}
	return session.Run(ctx)
}

// messages are those of events; nil without a source.
func messages(events *localhost.Events) <-chan localhost.Answer {
	if events == nil {
		return nil
	}
	return events.C
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

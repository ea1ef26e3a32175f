package main

import (
	"context"

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
	return converse(ctx, t, host)
}

// converse is a session with host on the terminal.
func converse(ctx context.Context, t terminal, host *localhost.Host) error {
	session := localhost.Session{
		Execute: host.Execute,
		In:      t.in, Out: t.out, Err: t.err,
		Prompt: isTerminal(t.in) && isTerminal(t.out), Styled: styled(t.out), Progress: isTerminal(t.err),
	}
	return session.Run(ctx)
}

package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/charmbracelet/x/term"

	"github.com/ferry-chatops/ferry/internal/localhost"
)

type runLine struct {
	plugin
	Output string   `enum:"text,json" default:"text" help:"text, or json: the messages as Botkube gets them."`
	Line   []string `arg:"" help:"The line as typed in chat, behind --."`
}

// Run answers one line. It returns errRefused where the answer is a refusal.
func (r runLine) Run(ctx context.Context, t terminal) error {
	host, err := r.start(ctx, t)
	if err != nil {
		return err
	}
	defer host.Close()
	line, err := joinLine(r.Line)
	if err != nil {
		return err
	}
	answer, err := host.Execute(ctx, localhost.Command(line))
	if err != nil {
		return err
	}
	if err := r.print(t, answer); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	if answer.Refused() {
		return errRefused
	}
	return nil
}

func (r runLine) print(t terminal, answer localhost.Answer) error {
	if r.Output == "json" {
		return answer.WriteJSON(t.out)
	}
	text, _ := answer.Render(false)
	if width, _, err := term.GetSize(t.out.Fd()); err == nil && width > 0 {
		text = answer.Page(styled(t.out), width)
	}
	_, err := fmt.Fprint(t.out, text)
	return err
}

// joinLine makes a line of arguments. A single one is the line already; several lost their quotes to the shell, so those
// that need some get them back. The language has no escape for a quote; a reason with any is percent-encoded.
func joinLine(args []string) (string, error) {
	if len(args) == 1 {
		return args[0], nil
	}
	words := make([]string, len(args))
	for i, arg := range args {
		value, isReason := strings.CutPrefix(arg, "--reason=")
		isReason = isReason || i > 0 && args[i-1] == "--reason"
		switch {
		case isReason && strings.ContainsAny(arg, `"'`):
			words[i] = strings.TrimSuffix(arg, value) + strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
		case arg != "" && !strings.ContainsAny(arg, " \t\n\"'`;&|<>()"):
			words[i] = arg
		case !strings.Contains(arg, `"`):
			words[i] = `"` + arg + `"`
		case !strings.Contains(arg, "'"):
			words[i] = "'" + arg + "'"
		default:
			return "", fmt.Errorf("only a reason may hold both kinds of quotes, and this is none: %s", arg)
		}
	}
	return strings.Join(words, " "), nil
}

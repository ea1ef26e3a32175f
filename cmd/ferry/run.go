package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/kubeshop/botkube/pkg/api"

	"github.com/ferry-chatops/ferry/internal/localhost"
	"github.com/ferry-chatops/ferry/internal/plugin/executor"
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
	messages, err := host.Execute(ctx, localhost.Command(joinLine(r.Line)))
	if err != nil {
		return err
	}
	if err := r.print(t, messages); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	if messages[0].Type == executor.Refused {
		return errRefused
	}
	return nil
}

func (r runLine) print(t terminal, messages []api.Message) error {
	if r.Output == "json" {
		encoder := json.NewEncoder(t.out)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		return encoder.Encode(messages)
	}
	text, _ := localhost.Render(messages, styled(t.out))
	_, err := fmt.Fprint(t.out, text)
	return err
}

// joinLine makes a line of arguments. A single one is the line already; several lost their quotes to the shell, so those
// that need some get them back.
func joinLine(args []string) string {
	if len(args) == 1 {
		return args[0]
	}
	quoted := make([]string, len(args))
	for i, arg := range args {
		if quoted[i] = arg; arg == "" || strings.ContainsAny(arg, " \t\n\"'`\\;&|<>()") {
			quoted[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(arg) + `"`
		}
	}
	return strings.Join(quoted, " ")
}

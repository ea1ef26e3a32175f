package main

import "context"

type check struct {
	plugin
	Output      string `enum:"text,json" default:"text" help:"text, or json: the messages as Botkube gets them."`
	Environment string `arg:"" optional:"" help:"The one environment to look at. Default: all."`
}

// Run answers the line check. It returns errRefused where something is missing.
func (c check) Run(ctx context.Context, t terminal) error {
	line := []string{"check"}
	if c.Environment != "" {
		line = append(line, c.Environment)
	}
	return runLine{plugin: c.plugin, Output: c.Output, Line: line}.Run(ctx, t)
}

package main

import (
	"context"
	"fmt"
	"os"

	"github.com/ferry-chatops/ferry/internal/app/overrides"
)

type blueprintFiles struct {
	Check checkBlueprints `cmd:"" help:"Check a folder of blueprints, as ferry does before it uses them. Exit code: 0 all are good, 1 some are not."`
	Show  showBlueprint   `cmd:"" help:"Print one of ferry's own blueprints, as a beginning for another."`
}

type checkBlueprints struct {
	Dir string `arg:"" type:"existingdir" help:"The folder."`
}

// Run prints each fault. It returns errRefused where there is one.
func (c checkBlueprints) Run(_ context.Context, t terminal) error {
	own, err := overrides.Own()
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(c.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	_, faults := overrides.Read(own, root.FS())
	for _, fault := range faults {
		fmt.Fprintln(t.out, "✗", fault)
	}
	if len(faults) > 0 {
		return errRefused
	}
	_, err = fmt.Fprintln(t.out, "✓ ferry would use them all")
	return err
}

type showBlueprint struct {
	Name string `arg:"" help:"Of the message: card, diff, outcome …"`
}

// Run prints the blueprint's file.
func (s showBlueprint) Run(_ context.Context, t terminal) error {
	raw, err := overrides.Source(s.Name)
	if err != nil {
		return err
	}
	_, err = t.out.Write(raw)
	return err
}

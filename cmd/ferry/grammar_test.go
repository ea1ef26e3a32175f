package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ferry-chatops/ferry/internal/command"
)

// Whatever the manual has, Tab completes, and nothing else.
func TestGrammarIsThatOfThePlugin(t *testing.T) {
	manual, err := command.Usage("")
	if err != nil {
		t.Fatal(err)
	}
	want, got := map[string][]string{}, map[string][]string{}
	for _, verb := range manual.Verbs {
		for _, usage := range verb.Usage {
			switch usage {
			case "VERB --help": // an option of every verb here
				continue
			case "help":
				usage = "help [VERB]"
			}
			usage, takes := strings.CutSuffix(strings.ReplaceAll(usage, "OTHER", "ENV"), " [OPTIONS]")
			want[usage] = []string{}
			for _, option := range verb.Options {
				if !takes {
					break
				}
				want[usage] = append(want[usage], option.Name)
			}
			if verb.Name != "help" {
				want[usage] = append(want[usage], "--help")
			}
		}
	}
	for _, usage := range grammar {
		got[usage.Line] = append([]string{}, usage.Options...)
	}
	anyOrder := cmpopts.SortSlices(strings.Compare)
	if diff := cmp.Diff(want, got, anyOrder); diff != "" {
		t.Error(diff)
	}
}

package main

import (
	"io"
	"os/exec"
	"strings"
	"testing"
)

// TestKills is a short version of what `make measure` does, over programs that it builds.
func TestKills(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	o := options{bin: t.TempDir(), seed: 1, changes: 1000, kills: 10, repositories: 20, factor: 60}
	for program, folder := range map[string]string{o.hub(): "internal/githubtest/hub", o.source(): "cmd/source/ferry"} {
		build := exec.Command("go", "build", "-trimpath", "-o", program, "./"+folder)
		build.Dir = "../.."
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v: %s", folder, err, out)
		}
	}
	results, err := kills(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if !r.met {
			t.Errorf("%s: %s, want %s (%s)", r.name, r.value, r.target, r.how)
		}
	}
	if len(results) == 0 || !strings.Contains(results[0].how, " 10 kills") || strings.Contains(results[0].how, " 0 told") {
		t.Errorf("results %+v", results)
	}
}

func TestNoSuchTrial(t *testing.T) {
	if err := run(t.Context(), options{}, []string{"nothing"}, io.Discard); err == nil {
		t.Error("there is a trial of nothing")
	}
}

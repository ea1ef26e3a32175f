package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// TestREADMEShowsTrueOutput runs what the README shows behind $ on the demo's repository, with a directory for each
// environment's Flux.
func TestREADMEShowsTrueOutput(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	archive, err := txtar.ParseFile("../../internal/testenv/fleet/fleet.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, env := range []string{"stage", "prod"} {
		archive.Files = append(archive.Files, txtar.File{Name: "clusters/" + env + "/apps.yaml", Data: []byte(`apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: apps, namespace: flux-system}
spec: {interval: 10m, path: ./apps/` + env + `, prune: true, sourceRef: {kind: GitRepository, name: flux-system}}
`)})
	}
	dir := t.TempDir()
	for _, f := range archive.Files {
		at := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(at), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shown := regexp.MustCompile("(?ms)^```\n\\$ ferry .*?^```$").FindAllString(string(readme), -1)
	if len(shown) < 2 {
		t.Fatalf("the README shows %d commands", len(shown))
	}
	for _, block := range shown {
		for _, one := range strings.Split(strings.TrimSuffix(block, "```"), "$ ferry ")[1:] {
			line, want, _ := strings.Cut(one, "\n")
			_, out, log := ferry(t, "", append(strings.Fields(line), "--tree", dir)...)
			if diff := cmp.Diff(strings.TrimSpace(want), strings.TrimSpace(trimmed(out))); diff != "" || log != "" {
				t.Errorf("ferry %s: -README +now:\n%s%s", line, diff, log)
			}
		}
	}
}

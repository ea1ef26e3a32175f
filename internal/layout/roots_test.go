package layout

import (
	"testing"
	"testing/fstest"

	gocmp "github.com/google/go-cmp/cmp"
)

// TestRoots: an environment is counted once, however many of its directories sync themselves, and examples are none.
func TestRoots(t *testing.T) {
	sync := func(name, path string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: " + name + ", namespace: flux-system}\n" +
			"spec: {path: " + path + ", prune: true, sourceRef: {kind: GitRepository, name: flux-system}}\n")}
	}
	opened := Open(fstest.MapFS{
		"clusters/prod/flux-system/gotk-sync.yaml":    sync("flux-system", "./clusters/prod"),
		"clusters/prod/apps/ks.yaml":                  sync("apps", "./clusters/prod/apps"),
		"clusters/staging/flux-system/gotk-sync.yaml": sync("flux-system", "./clusters/staging"),
		"clusters/staging/infrastructure.yaml":        sync("infrastructure", "./infrastructure"),
		"infrastructure/ks.yaml":                      sync("infrastructure", "./infrastructure"),
		"clusters/tests/apps.yaml":                    sync("apps", "./clusters/prod/apps"),
		"clusters/test/apps.yaml":                     sync("apps", "./apps"),
		"pkg/testdata/clusters/prod/gotk-sync.yaml":   sync("flux-system", "./pkg/testdata/clusters/prod"),
		".old/clusters/prod/gotk-sync.yaml":           sync("flux-system", "./.old/clusters/prod"),
	})
	for root, want := range map[string][]string{
		"clusters/prod":    {"clusters/staging", "clusters/test"},
		"clusters/staging": {"clusters/prod", "clusters/test"},
	} {
		env, err := opened.Root(t.Context(), root, "own")
		if err != nil {
			t.Fatal(err)
		}
		got, err := opened.Roots(t.Context(), env)
		if err != nil {
			t.Fatal(err)
		}
		if d := gocmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", root, d)
		}
	}
}

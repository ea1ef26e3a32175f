package layout

import (
	"errors"
	"slices"
	"testing"
	"testing/fstest"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/gitops"
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

// rootsOf are the other roots that a tree tells of, seen from one of its roots.
func rootsOf(t *testing.T, opened *Tree, own string) []string {
	t.Helper()
	env, err := opened.Root(t.Context(), own, "own")
	if err != nil {
		t.Fatal(err)
	}
	roots, err := opened.Roots(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	return roots
}

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

// ks is a Flux Kustomization.
func ks(name, path string) *fstest.MapFile {
	return file("apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: " + name + ", namespace: flux-system}\n" +
		"spec: {path: " + path + ", prune: true, sourceRef: {kind: GitRepository, name: flux-system}}\n")
}

// TestRootsOfFluxOperator: what a FluxInstance syncs is a root, wherever that is said.
func TestRootsOfFluxOperator(t *testing.T) {
	const sync = "sync: {kind: GitRepository, url: 'https://git.example.com/acme/fleet', ref: refs/heads/main, path: "
	app := file("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: b}\n")
	opened := Open(fstest.MapFS{
		"clusters/a/apps.yaml":  ks("apps", "./apps"),
		"fleet/b/config/x.yaml": app,
		"fleet/c/config/x.yaml": app,
		"fleet/d/x.yaml":        app,
		"e/x.yaml":              app,
		"f/x.yaml":              app,
		"apps/x.yaml":           app,
		"apps/instance.yaml":    file("apiVersion: fluxcd.controlplane.io/v1\nkind: FluxInstance\nmetadata: {name: flux, namespace: flux-system}\nspec:\n  " + sync + "clusters/a}\n"),
		"bootstrap/b.yaml":      file("apiVersion: fluxcd.controlplane.io/v1\nkind: FluxInstance\nmetadata: {name: flux, namespace: flux-system}\nspec:\n  " + sync + "./fleet/b/config}\n"),
		"bootstrap/c.yaml": file("apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: flux-instance, namespace: flux-system}\nspec:\n" +
			"  chartRef: {kind: OCIRepository, name: flux-instance}\n  values:\n    instance:\n      " + sync + "fleet/c/config}\n"),
		"terraform/d/values.yaml": file("instance:\n  cluster: {type: kubernetes}\n  " + sync + "/fleet/d/}\n"),
		"bootstrap/e.yaml":        file("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: values, namespace: flux-system}\ndata:\n  values.yaml: |\n    instance:\n      " + sync + "e}\n"),
		"bootstrap/gone.yaml":     file("instance:\n  " + sync + "clusters/gone}\n"),
		"bootstrap/open.yaml":     file("instance:\n  " + sync + "'clusters/${NAME}'}\n"),
		"bootstrap/other.yaml":    file("instance:\n  sync: {path: f}\n"), // of something else: it has no address
	})
	want := []string{"e", "fleet/b/config", "fleet/c/config", "fleet/d"}
	if d := gocmp.Diff(want, rootsOf(t, opened, "clusters/a")); d != "" {
		t.Error(d)
	}
	all, err := opened.All(t.Context())
	if d := gocmp.Diff(append([]string{"clusters/a"}, want...), all); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
}

// TestRootsThatNothingBuilds: where no Flux Kustomization is built of another directory, its own is a root.
func TestRootsThatNothingBuilds(t *testing.T) {
	app := file("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: b}\n")
	list := func(resources string) *fstest.MapFile { return file("resources: [" + resources + "]\n") }
	for name, test := range map[string]struct {
		files fstest.MapFS
		own   string
		want  []string // with own
	}{
		"each its directory, a base is none": {fstest.MapFS{
			"clusters/folly/flux-system/kustomization.yaml":   list("../../base/flux-system, apps.yaml"),
			"clusters/folly/flux-system/apps.yaml":            ks("apps", "./clusters/folly/apps"),
			"clusters/folly/apps/x.yaml":                      app,
			"clusters/offsite/flux-system/kustomization.yaml": list("../../base/flux-system, apps.yaml"),
			"clusters/offsite/flux-system/apps.yaml":          ks("apps", "./clusters/offsite/apps"),
			"clusters/offsite/apps/x.yaml":                    app,
			"clusters/base/flux-system/kustomization.yaml":    list("platform.yaml"),
			"clusters/base/flux-system/platform.yaml":         ks("platform", "./clusters/base/platform"),
			"clusters/base/platform/x.yaml":                   app,
		}, "clusters/folly/flux-system", []string{"clusters/folly/flux-system", "clusters/offsite/flux-system"}},
		"the outermost kustomization": {fstest.MapFS{
			"sites/a/ks.yaml":                     ks("apps", "./apps"),
			"far/away/b/kustomization.yaml":       list("parts"),
			"far/away/b/parts/flux/apps.yaml":     ks("apps", "./apps"),
			"far/away/b/parts/kustomization.yaml": list("flux/apps.yaml"),
			"apps/x.yaml":                         app,
		}, "sites/a", []string{"far/away/b", "sites/a"}},
		"what is left out of what is built is none": {fstest.MapFS{
			"clusters/a/flux.yaml":           ks("flux-system", "./clusters/a"),
			"clusters/a/apps.yaml":           ks("apps", "./apps"),
			"apps/kustomization.yaml":        list("on/ks.yaml"),
			"apps/on/ks.yaml":                ks("on", "./apps/on/app"),
			"apps/on/app/x.yaml":             app,
			"apps/off/ks.yaml":               ks("off", "./apps/off/app"),
			"apps/off/app/x.yaml":            app,
			"elsewhere/kustomization.yaml":   list("x.yaml"),
			"elsewhere/x.yaml":               app,
			"elsewhere/tenant.yaml":          ks("tenant", "./tenant"),
			"tenant/x.yaml":                  app,
			"far/other/repository/deep.yaml": ks("other", "./not/here"),
		}, "clusters/a", []string{"clusters/a", "tenant"}},
		"a directory for several clusters": {fstest.MapFS{
			"bootstrap/prod.yaml":        ks("flux-system", "./sites/prod/flux"),
			"bootstrap/stage.yaml":       ks("flux-system", "./sites/stage/flux"),
			"sites/prod/flux/apps.yaml":  ks("apps", "./apps"),
			"sites/stage/flux/apps.yaml": ks("apps", "./apps"),
			"apps/x.yaml":                app,
		}, "sites/prod/flux", []string{"sites/prod/flux", "sites/stage/flux"}},
		"a directory that applies the asked one": {fstest.MapFS{
			"bootstrap/prod.yaml":        ks("prod", "./sites/prod/flux"),
			"bootstrap/stage.yaml":       ks("stage", "./sites/stage/flux"),
			"sites/prod/flux/apps.yaml":  ks("apps", "./apps"),
			"sites/stage/flux/apps.yaml": ks("apps", "./apps"),
			"apps/x.yaml":                app,
		}, "sites/prod/flux", []string{"sites/prod/flux", "sites/stage/flux"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := append(rootsOf(t, Open(test.files), test.own), test.own)
			slices.Sort(got)
			if d := gocmp.Diff(test.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestAllOfNoneNamesSome: without anything of Flux, the directories that could be roots are named.
func TestAllOfNoneNamesSome(t *testing.T) {
	_, err := Open(fstest.MapFS{
		"base/kustomization.yaml":           file("resources: []\n"),
		"overlays/prod/kustomization.yaml":  file("resources: [../../base]\n"),
		"overlays/stage/kustomization.yaml": file("resources: [../../base]\n"),
		"tests/kustomization.yaml":          file("resources: [../base]\n"),
	}).All(t.Context())
	r := (*gitops.Refusal)(nil)
	if !errors.As(err, &r) || r.Code != gitops.NotFound || !gocmp.Equal(r.Details, []string{"--path overlays/prod", "--path overlays/stage"}) {
		t.Errorf("%v", err)
	}
}

// TestAllOfBootstrapsWithoutASync: flux bootstrap points Flux at the directory that holds flux-system.
func TestAllOfBootstrapsWithoutASync(t *testing.T) {
	_, err := Open(fstest.MapFS{
		"apps/prod/kustomization.yaml":                  file("resources: []\n"),
		"clusters/prod/flux-system/kustomization.yaml":  file("resources: [gotk-sync.yaml]\n"),
		"clusters/prod/flux-system/gotk-sync.yaml":      file("# made by flux bootstrap\n"),
		"clusters/stage/flux-system/kustomization.yaml": file("resources: [gotk-sync.yaml]\n"),
		"clusters/stage/flux-system/gotk-sync.yaml":     file("# made by flux bootstrap\n"),
	}).All(t.Context())
	r := (*gitops.Refusal)(nil)
	if !errors.As(err, &r) || !gocmp.Equal(r.Details, []string{"--path clusters/prod", "--path clusters/stage"}) {
		t.Errorf("%v", err)
	}
}

// TestWhatAKustomizationIsAppliedFrom: that a directory is not here is told with the source that has it.
func TestWhatAKustomizationIsAppliedFrom(t *testing.T) {
	opened := Open(fstest.MapFS{
		"clusters/prod/tenant.yaml": file("apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: tenant, namespace: team}\n" +
			"spec: {path: ./production, sourceRef: {kind: GitRepository, name: tenant}}\n---\n" +
			"apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: tenant, namespace: team}\nspec: {url: 'https://git.example.com/acme/tenant.git'}\n"),
		"clusters/prod/gone.yaml": ks("gone", "./gone"),
	})
	env, err := opened.Root(t.Context(), "clusters/prod", "prod")
	if err != nil {
		t.Fatal(err)
	}
	_, problems, err := opened.Survey(t.Context(), env, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range problems {
		got = append(got, reasonOf(p.Err))
	}
	slices.Sort(got)
	want := []string{
		"Flux Kustomization flux-system/gone is applied from the directory gone of GitRepository/flux-system/flux-system, which no file here defines. This repository has no such directory",
		"Flux Kustomization team/tenant is applied from the directory production of GitRepository/team/tenant, which is of git.example.com/acme/tenant. This repository has no such directory",
	}
	if d := gocmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestVariablesThatAreNoVersions: an address is none.
func TestVariablesThatAreNoVersions(t *testing.T) {
	opened := Open(fstest.MapFS{
		"clusters/prod/apps.yaml": file("apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: apps, namespace: flux-system}\n" +
			"spec: {path: ./apps, sourceRef: {kind: GitRepository, name: flux-system}, postBuild: {substitute: {DNS: 10.3.0.10, TOOL: 1.2.3.4-5}}}\n"),
		"apps/x.yaml": file("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: b}\ndata: {dns: \"${DNS}\", tool: \"${TOOL}\"}\n"),
	})
	env, err := opened.Root(t.Context(), "clusters/prod", "prod")
	if err != nil {
		t.Fatal(err)
	}
	fields, _, err := opened.Survey(t.Context(), env, nil, "")
	if err != nil || len(fields) != 1 || fields[0].Value != "1.2.3.4-5" {
		t.Errorf("%v, %v", fields, err)
	}
	chosen, err := opened.Choose(t.Context(), env, Change{Application: "apps", Field: "clusters/prod/apps.yaml:4"})
	if err != nil || chosen.Value != "1.2.3.4-5" {
		t.Errorf("by its line: %v, %v", chosen, err)
	}
}

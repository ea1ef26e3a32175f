package layout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// fleet is the layout of flux2-kustomize-helm-example, and beside it plain kustomize.
const fleet = `
-- apps/base/podinfo/kustomization.yaml --
resources: [release.yaml]
-- apps/base/podinfo/release.yaml --
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: podinfo, namespace: podinfo}
spec:
  chart:
    spec:
      chart: podinfo
      version: 6.0.0 # the oldest that works
      sourceRef: {kind: HelmRepository, name: podinfo}
-- apps/base/cache/kustomization.yaml --
resources: [release.yaml]
-- apps/base/cache/release.yaml --
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: cache, namespace: cache}
spec: {chart: {spec: {chart: cache, version: "1.0.0", sourceRef: {kind: HelmRepository, name: podinfo}}}}
-- apps/stage/kustomization.yaml --
resources: [../base/podinfo, ../base/cache, oci.yaml, web]
patches:
- path: podinfo.yaml
-- apps/stage/podinfo.yaml --
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: podinfo, namespace: podinfo}
spec: {chart: {spec: {version: 7.0.0}}}
-- apps/stage/oci.yaml --
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {name: queue, namespace: queue}
spec: {url: "oci://example.com/queue", ref: {tag: 2.0.0}}
-- apps/stage/web/kustomization.yaml --
resources: [../../../web/base]
images:
- {name: example/web, newTag: "3.1.0"}
-- apps/prod/kustomization.yaml --
resources: [../base/podinfo, ../base/cache, api.yaml, tools.yaml]
patches:
- path: podinfo.yaml
  target: {kind: HelmRelease, name: podinfo}
-- apps/prod/podinfo.yaml --
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: anything, namespace: podinfo}
spec:
  chart:
    spec:
      version: "6.9.2"
-- apps/prod/api.yaml --
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: api}
spec: {template: {spec: {containers: [{name: proxy, image: "registry.example.com:5000/proxy:1"}, {name: api, image: "registry.example.com:5000/api:2.2.2"}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: pinned, namespace: api}
spec: {template: {spec: {containers: [{name: pinned, image: "example/pinned:1.0.0@sha256:00"}]}}}
-- apps/prod/tools.yaml --
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: ranged, namespace: tools}
spec: {chart: {spec: {version: ">=1.0.0"}}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: newest, namespace: tools}
spec: {chart: {spec: {chart: newest}}}
-- web/base/kustomization.yaml --
resources: [web.yaml]
-- web/base/web.yaml --
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: web}
spec: {template: {spec: {containers: [{name: web, image: "example/web:1.0.0"}]}}}
-- broken/kustomization.yaml --
resources: ["https://example.com/elsewhere"]
`

func parse(t *testing.T, text string) fstest.MapFS {
	t.Helper()
	tree := fstest.MapFS{}
	for _, f := range txtar.Parse([]byte(text)).Files {
		tree[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	return tree
}

func sites(paths ...string) []Site {
	var all []Site
	for _, p := range paths {
		environment, path, _ := strings.Cut(p, "=")
		all = append(all, Site{Environment: environment, Kustomization: gitops.Kustomization{Namespace: "flux-system", Name: strings.ReplaceAll(path, "/", "-"), Path: path}})
	}
	return all
}

func version(environment, kind, namespace, name, container string) (gitops.Application, gitops.Version) {
	v := gitops.Version{Kind: gitops.ChartVersion, Object: gitops.Object{Kind: kind, Namespace: namespace, Name: name}, Container: container}
	if container != "" {
		v.Kind = gitops.ImageTag
	}
	return gitops.Application{Key: gitops.Key{Environment: environment, Namespace: namespace, Kind: kind, Name: name}}, v
}

var everywhere = sites("stage=apps/stage", "prod=apps/prod", "other=broken")

func TestLocate(t *testing.T) {
	for name, tc := range map[string]struct {
		environment, kind, namespace, name, container string
		want, edited                                  string
		shared                                        []string
	}{
		"patch without target": {"stage", "HelmRelease", "podinfo", "podinfo", "", "apps/stage/podinfo.yaml:4 spec.chart.spec.version 7.0.0", "{version: 9.0.0}", nil},
		"patch with target":    {"prod", "HelmRelease", "podinfo", "podinfo", "", "apps/prod/podinfo.yaml:7 spec.chart.spec.version 6.9.2", `version: "9.0.0"`, nil},
		"shared base":          {"prod", "HelmRelease", "cache", "cache", "", "apps/base/cache/release.yaml:4 spec.chart.spec.version 1.0.0", `version: "9.0.0"`, []string{"stage"}},
		"artifact":             {"stage", "OCIRepository", "queue", "queue", "", "apps/stage/oci.yaml:4 spec.ref.tag 2.0.0", "tag: 9.0.0", nil},
		"kustomize image":      {"stage", "Deployment", "web", "web", "web", "apps/stage/web/kustomization.yaml:3 images[name=example/web].newTag 3.1.0", `newTag: "9.0.0"`, nil},
		"container with port": {"prod", "Deployment", "api", "api", "api", "apps/prod/api.yaml:4 spec.template.spec.containers[name=api].image 2.2.2",
			`"registry.example.com:5000/api:9.0.0"`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			tree := parse(t, fleet)
			app, v := version(tc.environment, tc.kind, tc.namespace, tc.name, tc.container)
			f, err := Locate(t.Context(), tree, everywhere, app, v)
			if err != nil {
				t.Fatal(err)
			}
			edit, file, err := f.Edit("9.0.0")
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join([]string{edit.File + ":" + string(rune('0'+edit.Line)), edit.Path, edit.Old}, " ")
			if got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if !strings.Contains(string(file.Content), tc.edited) {
				t.Errorf("%s is not in %s", tc.edited, file.Content)
			}
			effect, unchecked, err := Effects(t.Context(), tree, everywhere, file)
			if err != nil {
				t.Fatal(err)
			}
			if len(unchecked) != 1 || unchecked[0].Environment != "other" {
				t.Errorf("unchecked: %v", unchecked)
			}
			if e := effect[tc.environment]; len(e.Changes) != 1 || e.Digest == "" {
				t.Errorf("effect: %v", effect)
			}
			if besides, err := f.Prove(t.Context(), tree, file, "9.0.0"); err != nil || len(besides) > 0 {
				t.Errorf("it is not proved: %v %v", besides, err)
			}
			delete(effect, tc.environment)
			var shared []string
			for e := range effect {
				shared = append(shared, e)
			}
			if d := cmp.Diff(tc.shared, shared); d != "" {
				t.Error(d)
			}
			if stated, ok := f.StatedIn(file.Content); !ok || stated != "9.0.0" {
				t.Errorf("the edited file states %q", stated)
			}
		})
	}
}

func TestLocateRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		environment, kind, namespace, name, container string
		code                                          gitops.Code
	}{
		"range":             {"prod", "HelmRelease", "tools", "ranged", "", gitops.Range},
		"no version":        {"prod", "HelmRelease", "tools", "newest", "", gitops.NotFound},
		"digest":            {"prod", "Deployment", "api", "pinned", "pinned", gitops.Digest},
		"not in repository": {"prod", "HelmRelease", "live", "only", "", gitops.NotInGit},
		"remote base":       {"other", "HelmRelease", "podinfo", "podinfo", "", gitops.Layout},
		"unknown container": {"prod", "Deployment", "api", "api", "none", gitops.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			app, v := version(tc.environment, tc.kind, tc.namespace, tc.name, tc.container)
			_, err := Locate(t.Context(), parse(t, fleet), everywhere, app, v)
			var refusal *gitops.Refusal
			if !errors.As(err, &refusal) || refusal.Code != tc.code {
				t.Errorf("got %v, want %s", err, tc.code)
			}
		})
	}
}

// A patch that names only a kind changes every HelmRelease: all of it has to show.
func TestEffectShowsAllThatAPatchChanges(t *testing.T) {
	tree := parse(t, strings.Replace(fleet, "target: {kind: HelmRelease, name: podinfo}", "target: {kind: HelmRelease}", 1))
	app, v := version("prod", "HelmRelease", "podinfo", "podinfo", "")
	f, err := Locate(t.Context(), tree, everywhere, app, v)
	if err != nil {
		t.Fatal(err)
	}
	_, file, err := f.Edit("9.0.0")
	if err != nil {
		t.Fatal(err)
	}
	effect, _, err := Effects(t.Context(), tree, everywhere, file)
	if err != nil {
		t.Fatal(err)
	}
	if len(effect["prod"].Changes) != 4 {
		t.Errorf("want the four HelmReleases of prod, got %v", effect["prod"])
	}
}

func TestLocateRefusesEncryptedAndUneditableFiles(t *testing.T) {
	for name, tc := range map[string]struct {
		old, new string
		code     gitops.Code
	}{
		"sops":     {"\nspec:\n  chart:\n    spec:\n      version: \"6.9.2\"\n", "\nspec: {chart: {spec: {version: 6.9.2}}}\nsops: {version: 3.8.0}\n", gitops.Secret},
		"alias":    {"version: \"6.9.2\"\n", "version: &v \"6.9.2\"\n  interval: *v\n", gitops.Alias},
		"lines":    {"version: \"6.9.2\"\n", "version: \"6.9.\\\n        2\"\n", gitops.Unproved},
		"variable": {"version: \"6.9.2\"\n", "version: ${PODINFO_VERSION}\n", gitops.Layout},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(fleet, tc.old, tc.new, 1)
			if text == fleet {
				t.Fatal("nothing replaced")
			}
			app, v := version("prod", "HelmRelease", "podinfo", "podinfo", "")
			_, err := Locate(t.Context(), parse(t, text), everywhere, app, v)
			var refusal *gitops.Refusal
			if !errors.As(err, &refusal) || refusal.Code != tc.code {
				t.Errorf("got %v, want %s", err, tc.code)
			}
		})
	}
}

// Two environments in one cluster: one Kustomization builds both, and each is judged by its own namespaces.
func TestEnvironmentsThatShareACluster(t *testing.T) {
	text := fleet
	for _, e := range []string{"stage", "prod"} {
		text += strings.ReplaceAll(`
-- shared/ENV.yaml --
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: podinfo, namespace: ENV}
spec: {chart: {spec: {version: 6.0.0}}}
`, "ENV", e)
	}
	tree := parse(t, text)
	both := sites("stage=shared", "prod=shared")
	both[0].Namespaces, both[1].Namespaces = []string{"stage"}, []string{"prod"}
	app, v := version("prod", "HelmRelease", "prod", "podinfo", "")
	f, err := Locate(t.Context(), tree, both, app, v)
	if err != nil {
		t.Fatal(err)
	}
	if f.File != "shared/prod.yaml" {
		t.Errorf("the field is in %s", f.File)
	}
	_, file, err := f.Edit("7.0.0")
	if err != nil {
		t.Fatal(err)
	}
	effect, _, err := Effects(t.Context(), tree, both, file)
	if err != nil {
		t.Fatal(err)
	}
	if len(effect["prod"].Changes) != 1 || len(effect["stage"].Changes) != 0 {
		t.Errorf("effect: %v", effect)
	}
}

// Many applications at the same version: the one that is meant is tried first.
func TestLocateAmongMany(t *testing.T) {
	var releases, images, workloads strings.Builder
	for i := range 200 {
		fmt.Fprintf(&releases, "---\napiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: a%d, namespace: apps}\nspec: {chart: {spec: {chart: a, version: 1.0.0}}}\n", i)
	}
	for i := range 40 {
		fmt.Fprintf(&images, "- {name: example/a%d, newTag: 1.0.0}\n", i)
		fmt.Fprintf(&workloads, "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w%d, namespace: apps}\nspec: {template: {spec: {containers: [{name: c, image: example/a%d}]}}}\n", i, i)
	}
	tree := &counting{MapFS: parse(t, "-- releases/all.yaml --\n"+releases.String()+
		"-- images/kustomization.yaml --\nresources: [all.yaml]\nimages:\n"+images.String()+"-- images/all.yaml --\n"+workloads.String())}
	for _, tc := range []struct{ path, kind, name, container, image, want string }{
		{"releases", "HelmRelease", "a170", "", "", "spec.chart.spec.version"},
		{"images", "Deployment", "w37", "c", "example/a37", "images[name=example/a37].newTag"},
	} {
		app, v := version("prod", tc.kind, "apps", tc.name, tc.container)
		v.Name = tc.image
		tree.read = 0
		f, err := Locate(t.Context(), tree, sites("prod="+tc.path), app, v)
		if err != nil {
			t.Fatal(err)
		}
		if f.Path != tc.want {
			t.Errorf("got %s:%d %s", f.File, f.Line, f.Path)
		}
		if tree.read > 12 {
			t.Errorf("%s: its file was opened %d times: more than for one trial", tc.name, tree.read)
		}
	}
	app, v := version("prod", "HelmRelease", "apps", "a170", "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Locate(ctx, tree, sites("prod=releases"), app, v); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// counting counts how often all.yaml is opened, which is a few times a build.
type counting struct {
	fstest.MapFS
	read int
}

func (c *counting) Open(name string) (fs.File, error) {
	if strings.HasSuffix(name, "/all.yaml") {
		c.read++
	}
	return c.MapFS.Open(name)
}

// What no name leads to is tried up to a limit.
func TestLocateGivesUp(t *testing.T) {
	text := "-- many/all.yaml --\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w, namespace: apps}\nspec: {template: {spec: {containers: [{name: c, image: 'example/a:0'}]}}}\n" +
		"-- many/kustomization.yaml --\nresources: [all.yaml]\npatches:\n- target: {kind: Deployment}\n  patch: '" +
		`[{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "example/a:1.0.0"}]` + "'\nimages:\n"
	for i := range maxTrials + 1 {
		text += fmt.Sprintf("- {name: example/b%d, newTag: 1.0.0}\n", i)
	}
	app, v := version("prod", "Deployment", "apps", "w", "c")
	_, err := Locate(t.Context(), parse(t, text), sites("prod=many"), app, v)
	var refusal *gitops.Refusal
	if !errors.As(err, &refusal) || refusal.Code != gitops.Unproved {
		t.Errorf("got %v", err)
	}
}

// A tree that knows trial values could answer them and not the real one: only the real edit is proof.
func TestProveHoldsAgainstTheTree(t *testing.T) {
	text := strings.Replace(fleet, "\npatches:\n- path: podinfo.yaml\n-- apps/stage/podinfo.yaml", `
patches:
- path: podinfo.yaml
replacements:
- source: {kind: HelmRelease, name: podinfo, fieldPath: spec.chart.spec.version, options: {delimiter: -, index: 0}}
  targets: [{select: {kind: HelmRelease, name: podinfo}, fieldPaths: [spec.note], options: {create: true}}]
-- apps/stage/podinfo.yaml`, 1)
	if text == fleet {
		t.Fatal("nothing replaced")
	}
	tree := parse(t, text)
	app, v := version("stage", "HelmRelease", "podinfo", "podinfo", "")
	f, err := Locate(t.Context(), tree, everywhere, app, v)
	if err != nil {
		t.Fatal(err)
	}
	_, file, err := f.Edit("9.0.0")
	if err != nil {
		t.Fatal(err)
	}
	besides, err := f.Prove(t.Context(), tree, file, "9.0.0")
	if err != nil {
		t.Fatal(err)
	}
	want := []gitops.Rendered{{Object: v.Object, Path: "spec.note", Old: "7.0.0", New: "9.0.0"}}
	if d := cmp.Diff(want, besides); d != "" {
		t.Error(d)
	}
	_, err = f.Prove(t.Context(), tree, file, "9.0.1")
	var refusal *gitops.Refusal
	if !errors.As(err, &refusal) || refusal.Code != gitops.Unproved || refusal.Reason != "After the edit, HelmRelease/podinfo/podinfo would state 9.0.0, not 9.0.1." {
		t.Errorf("got %v", err)
	}
	file.Content = []byte("a: [")
	if _, err = f.Prove(t.Context(), tree, file, "9.0.0"); !errors.As(err, &refusal) || refusal.Code != gitops.Unproved {
		t.Errorf("got %v", err)
	}
}

// A kind of another group is not Flux's, whatever it is called.
func TestLocatePassesOverKindsOfTheSameName(t *testing.T) {
	text := strings.Replace(fleet, "resources: [../base/podinfo, ../base/cache, api.yaml, tools.yaml]", "resources: [fake.yaml, ../base/podinfo, ../base/cache, api.yaml, tools.yaml]", 1) + `
-- apps/prod/fake.yaml --
apiVersion: a.example.com/v1
kind: HelmRelease
metadata: {name: cache, namespace: cache}
spec: {chart: {spec: {version: 1.0.0}}}
`
	app, v := version("prod", "HelmRelease", "cache", "cache", "")
	f, err := Locate(t.Context(), parse(t, text), everywhere, app, v)
	if err != nil {
		t.Fatal(err)
	}
	if f.File != "apps/base/cache/release.yaml" {
		t.Errorf("the field is in %s", f.File)
	}
}

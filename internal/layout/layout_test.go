package layout

import (
	"errors"
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
			effect, unchecked, err := Effect(t.Context(), tree, everywhere, file)
			if err != nil {
				t.Fatal(err)
			}
			if len(unchecked) != 1 || unchecked[0].Environment != "other" {
				t.Errorf("unchecked: %v", unchecked)
			}
			if len(effect[tc.environment]) != 1 {
				t.Errorf("effect: %v", effect)
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
	effect, _, err := Effect(t.Context(), tree, everywhere, file)
	if err != nil {
		t.Fatal(err)
	}
	if len(effect["prod"]) != 4 {
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
		"block":    {"version: \"6.9.2\"\n", "version: |-\n        6.9.2\n", gitops.Unproved},
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

func TestSplitImage(t *testing.T) {
	for image, want := range map[string][3]string{
		"a":                         {"a", "", ""},
		"a:1":                       {"a", "1", ""},
		"h:5000/a":                  {"h:5000/a", "", ""},
		"h:5000/a:1":                {"h:5000/a", "1", ""},
		"h:5000/a/b:1@sha256:0":     {"h:5000/a/b", "1", "sha256:0"},
		"docker.io/library/a@sha:0": {"docker.io/library/a", "", "sha:0"},
	} {
		repository, tag, digest := splitImage(image)
		if got := [3]string{repository, tag, digest}; got != want {
			t.Errorf("%s: got %q, want %q", image, got, want)
		}
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
	effect, _, err := Effect(t.Context(), tree, both, file)
	if err != nil {
		t.Fatal(err)
	}
	if len(effect["prod"]) != 1 || len(effect["stage"]) != 0 {
		t.Errorf("effect: %v", effect)
	}
}

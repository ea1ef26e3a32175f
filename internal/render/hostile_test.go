package render

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// both runs what ferry runs on a tree, and fails where only the build finds what the check should have.
func both(t *testing.T, files fs.FS, k gitops.Kustomization) error {
	t.Helper()
	_, err := load(t.Context(), files, k, nil)
	_, buildErr := Build(t.Context(), files, k)
	if err != nil && buildErr == nil {
		t.Errorf("built although it is refused: %v", err)
	}
	if err == nil {
		return buildErr
	}
	return err
}

func refused(t *testing.T, err error, code gitops.Code) {
	t.Helper()
	var refusal *gitops.Refusal
	if !errors.As(err, &refusal) || refusal.Code != code {
		t.Errorf("got %v, want a refusal of code %s", err, code)
	}
}

// outsideWorld is a git that leaves a mark and an HTTP server that counts: nothing may reach either.
func outsideWorld(t *testing.T) (server string, untouched func(t *testing.T)) {
	dir := t.TempDir()
	mark := filepath.Join(dir, "mark")
	if err := os.WriteFile(filepath.Join(dir, "git"), []byte("#!/bin/sh\necho \"$*\" >> "+mark+"\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	var hits atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		hits.Add(1)
		fmt.Fprint(w, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fetched}\n")
	}))
	t.Cleanup(s.Close)
	return s.URL, func(t *testing.T) {
		t.Helper()
		if n := hits.Swap(0); n > 0 {
			t.Errorf("%d requests went over the network", n)
		}
		if ran, err := os.ReadFile(mark); err == nil {
			t.Errorf("git was run: %s", ran)
			os.Remove(mark)
		}
	}
}

// fields are all the places of a kustomization that can name something, with %s for its name.
var fields = []string{
	"resources: [%s]", "bases: [%s]", "components: [%s]", "crds: [%s]", "configurations: [%s]", "openapi: {path: %s}",
	"generators: [%s]", "transformers: [%s]", "validators: [%s]", "Resources: [%s]\nresources: []", "resources: []\nreSources: [%s]",
	"resources: [web.yaml]\npatches: [{path: %s}]", "resources: [web.yaml]\npatchesStrategicMerge: [%s]",
	"resources: [web.yaml]\npatchesJson6902: [{path: %s, target: {kind: Deployment, name: web, version: v1, group: apps}}]",
	"resources: [web.yaml]\nreplacements: [{path: %s}]", "resources: [web.yaml]\npatches: [{patch: %s}]",
	"configMapGenerator: [{name: a, files: [%s]}]", "configMapGenerator: [{name: a, env: %s}]", "configMapGenerator: [{name: a, envs: [%s]}]",
	"secretGenerator: [{name: a, files: [%s]}]", "secretGenerator: [{name: a, env: %s}]", "secretGenerator: [{name: a, envs: [%s]}]",
	"helmCharts: [{name: a, repo: %s}]", "helmChartInflationGenerator: [{chartName: a, chartRepoUrl: %s}]", "helmGlobals: {chartHome: %s}",
	"<<: {resources: [%s]}",
}

func TestNothingReachesTheOutsideWorld(t *testing.T) {
	server, untouched := outsideWorld(t)
	host := strings.TrimPrefix(server, "http://")
	for _, ref := range []string{
		server + "/a.yaml", server + "/a.yaml\n", "\n" + server + "/a.yaml", server + "/a.yaml#\n", " " + server + "/a.yaml", "k=" + server + "/a.yaml", "HTTP://" + host + "/a.yaml",
		"file:///x?ref=--upload-pack=id", "file:///x?ref=--upload-pack=id\n", "ssh://git@" + host + "/o/r.git", "ssh://-oProxyCommand=id/o/r", server + "/o/r.git?ref=main&timeout=3s",
		"git@" + host + ":o/r", "git@example.com/o/r", "github.com/o/r", "GitHub.com/o/r", "github.com:o/r", "github.com/o/r?ref=--upload-pack=id",
		"git::" + server + "/o/r", "git::github.com/o/r", "./github.com/o/r", "a//b", "x/../github.com/o/r",
		"kind: X\nmetadata: {name: \"" + server + "\"}\n", server + "/a#\nkind: X\n",
	} {
		for i, field := range fields {
			for _, place := range []string{"prod", "nested"} {
				t.Run(fmt.Sprintf("%s/%d/%q", place, i, ref), func(t *testing.T) {
					kustomization := fmt.Sprintf(field, fmt.Sprintf("%q", ref))
					files := map[string]string{"prod/kustomization.yaml": kustomization, "prod/web.yaml": deployment}
					if place == "nested" {
						files = map[string]string{"prod/kustomization.yaml": "resources: [../n]", "n/kustomization.yaml": kustomization, "n/web.yaml": deployment}
					}
					// a file or directory of just that name must not make it a path
					root := filepath.Dir(firstKey(files, "web.yaml"))
					for _, named := range []string{filepath.Join(root, ref), filepath.Join(root, ref, "kustomization.yaml")} {
						if !fs.ValidPath(named) {
							continue
						}
						more := maps.Clone(files)
						more[named] = "resources: []"
						_ = both(t, tree(more), gitops.Kustomization{Path: "prod"})
					}
					_ = both(t, tree(files), gitops.Kustomization{Path: "prod"})
					untouched(t)
				})
			}
		}
		t.Run(fmt.Sprintf("spec/%q", ref), func(t *testing.T) {
			files := tree(map[string]string{"prod/web.yaml": deployment})
			for _, k := range []gitops.Kustomization{
				{Path: "prod", Components: []string{ref}}, {Path: "prod", Patches: []map[string]any{{"path": ref}}}, {Path: "prod", Patches: []map[string]any{{"patch": ref}}},
			} {
				if err := both(t, files, k); err == nil {
					t.Errorf("%+v was built", k)
				}
			}
			untouched(t)
		})
	}
}

func firstKey(files map[string]string, suffix string) string {
	for name := range files {
		if strings.HasSuffix(name, suffix) {
			return name
		}
	}
	return ""
}

// A directory without a kustomization gets one that lists what is in it: no name there may become an address.
func TestNamesInTheTreeAreNoAddresses(t *testing.T) {
	_, untouched := outsideWorld(t)
	for _, name := range []string{"prod/github.com/o/r/kustomization.yaml", "prod/git@example.com:o/r/kustomization.yaml", "prod/a?ref=b/kustomization.yaml", "prod/http:/127.0.0.1/a.yaml"} {
		t.Run(name, func(t *testing.T) {
			refused(t, both(t, tree(map[string]string{name: "resources: []", "prod/web.yaml": deployment}), gitops.Kustomization{Path: "prod"}), gitops.Layout)
			untouched(t)
		})
	}
}

func laughs(n int) string {
	text := "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < n; i++ {
		text += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 9), ","))
	}
	return text
}

func doubling(levels int) map[string]string {
	files := map[string]string{"d0/kustomization.yaml": "resources: [web.yaml]", "d0/web.yaml": deployment, "prod/kustomization.yaml": fmt.Sprintf("resources: [../d%d]", levels)}
	for i := 1; i <= levels; i++ {
		files[fmt.Sprintf("p%d/kustomization.yaml", i)] = fmt.Sprintf("resources: [../d%d]\nnamePrefix: a", i-1)
		files[fmt.Sprintf("q%d/kustomization.yaml", i)] = fmt.Sprintf("resources: [../d%d]\nnamePrefix: b", i-1)
		files[fmt.Sprintf("d%d/kustomization.yaml", i)] = fmt.Sprintf("resources: [../p%d, ../q%d]", i, i)
	}
	return files
}

const crd = `{"x.Foo": {"Schema": {"description": "x", "properties": {"spec": {"$ref": "x.Foo"}, "metadata": {"$ref": "x.Foo"}, "apiVersion": {}, "kind": {}}}}}`

// replacing gives a kustomization in which one replacement copies source to targets of the same object.
func replacing(source string, options string, targets ...string) string {
	return fmt.Sprintf("resources: [web.yaml]\nreplacements: [{source: {kind: Deployment, fieldPath: %s}, targets: [{select: {kind: Deployment}, fieldPaths: [%s], options: {create: true%s}}]}]",
		source, strings.Join(targets, ", "), options)
}

func hostile() map[string]map[string]string {
	app := func(kustomization string) map[string]string {
		return map[string]string{"prod/kustomization.yaml": kustomization, "prod/web.yaml": deployment}
	}
	with := func(files map[string]string, name, content string) map[string]string {
		files[name] = content
		return files
	}
	var many, list string
	for i := range 1501 {
		many += fmt.Sprintf("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a%d}\n", i)
		list += fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: a%d}},", i)
	}
	list = "apiVersion: v1\nkind: List\nitems: [" + list + "]\n"
	var grows []string
	for i := range 40 {
		grows = append(grows, fmt.Sprintf("spec.template.x%d", i))
	}
	return map[string]map[string]string{
		"cycle":                      {"prod/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: &a {x: *a}\n"},
		"cycle in a list":            with(app("resources: [web.yaml, a.yaml]"), "prod/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\nspec: {a: &a [*a]}\n"),
		"cycle by merge":             with(app("resources: [web.yaml, a.yaml]"), "prod/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: &a {<<: *a}\n"),
		"cycle in the second":        with(app("resources: [web.yaml, a.yaml]"), "prod/a.yaml", deployment+"---\n"+"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: &a {x: *a}\n"),
		"cycle in a patch":           app("resources: [web.yaml]\npatches: [{patch: 'x: &a {x: *a}'}]"),
		"cycle in a merge patch":     app("resources: [web.yaml]\npatchesStrategicMerge: ['{kind: X, x: &a {x: *a}}']"),
		"cycle in a JSON patch":      app("resources: [web.yaml]\npatchesJson6902: [{patch: '[{op: add, path: /a, value: &a [*a]}]', target: {kind: Deployment, name: web, version: v1, group: apps}}]"),
		"cycle in a patch file":      with(app("resources: [web.yaml]\npatches: [{path: p.yaml}]"), "prod/p.yaml", "x: &a {x: *a}"),
		"cycle in replacements":      with(app("resources: [web.yaml]\nreplacements: [{path: p.yaml}]"), "prod/p.yaml", "&a [*a]"),
		"cycle in the kustomization": app("resources: [web.yaml]\nlabels: &a [*a]"),
		"laughs":                     {"prod/a.yaml": "apiVersion: v1\nkind: X\nmetadata: {name: x}\n" + laughs(8)},
		"laughs in a kustomization":  app(laughs(8) + "resources: []"),
		"laughs in a patch":          with(app("resources: [web.yaml]\npatches: [{path: p.yaml}]"), "prod/p.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\n"+laughs(8)),
		"depth":                      {"prod/a.yaml": "apiVersion: v1\nkind: X\nmetadata: {name: x}\na: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000)},
		"crds":                       with(app("crds: [c.json]\nresources: [web.yaml]"), "prod/c.json", crd),
		"openapi":                    with(app("openapi: {path: c.json}\nresources: [web.yaml]"), "prod/c.json", crd),
		"openapi version":            app("openapi: {version: v1.21.2}\nresources: [web.yaml]"),
		"configurations":             with(app("configurations: [c.yaml]\nresources: [web.yaml]"), "prod/c.yaml", "varReference: []"),
		"doubling":                   doubling(12),
		"component cycle": {"prod/kustomization.yaml": "kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\ncomponents: [../c]",
			"c/kustomization.yaml": "kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\ncomponents: [../prod]"},
		"itself":                 {"prod/kustomization.yaml": "resources: [../prod]"},
		"many objects":           {"prod/a.yaml": many},
		"many in a list":         {"prod/a.yaml": list},
		"many in lists of lists": {"prod/a.yaml": "kind: List\nitems:\n- " + strings.ReplaceAll(strings.TrimSpace(list), "\n", "\n  ")},
		"same file often":        app("resources: [web.yaml]\nconfigMapGenerator:" + strings.Repeat("\n- {name: a, files: [big]}", 20)),
		"long prefix":            with(app("namePrefix: "+strings.Repeat("a", 1<<20)+"\nresources: [a.yaml]"), "prod/a.yaml", strings.Repeat("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: a}\n", 1000)),
		"many images":            with(app("resources: [a.yaml]\nimages: ["+strings.Repeat("{name: a, newTag: b},", 1000)+"]"), "prod/a.yaml", strings.Repeat("---\n"+deployment, 300)),
		"doubling copies":        app("resources: [web.yaml]\npatches: [{target: {kind: Deployment}, patch: \"" + strings.Repeat("- {op: copy, from: /spec, path: /spec/x}\\n", 40) + "\"}]"),
		"doubling replacements":  app(replacing("spec", "", grows...)),
		"large replacements": with(app("resources: [web.yaml]\nreplacements: [{source: {kind: X, fieldPath: data.x}, targets: ["+
			strings.Repeat("{select: {kind: Deployment}, fieldPaths: [spec.x], options: {create: true}},", 2000)+"]}]\nconfigMapGenerator: [{name: a, files: [big]}]"), "prod/x.yaml", ""),
		"large variables": with(app("resources: [a.yaml]\nvars: [{name: V, objref: {kind: ConfigMap, name: a, apiVersion: v1}, fieldref: {fieldpath: data.a}}]"), "prod/a.yaml",
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {b: '"+strings.Repeat("$(V)", 100_000)+"', a: '"+strings.Repeat("x", 1<<20)+"'}\n"),
		"growing replacements": app(replacing("metadata.name", ", delimiter: x, index: 99", strings.Split(strings.Repeat("metadata.name ", 20)+"metadata.name", " ")...)),
	}
}

func TestHostileTreesAreRefused(t *testing.T) {
	for name, files := range hostile() {
		t.Run(name, func(t *testing.T) {
			files["prod/big"] = strings.Repeat("x", 1<<20)
			begin := time.Now()
			err := both(t, tree(files), gitops.Kustomization{Path: "prod"})
			var refusal *gitops.Refusal
			if !errors.As(err, &refusal) || refusal.Code != gitops.Layout && refusal.Code != gitops.NotYAML {
				t.Errorf("got %v, want a refusal", err)
			}
			if took := time.Since(begin); took > time.Minute { // without the limits they take hours, or all memory
				t.Errorf("it took %v to refuse", took)
			}
		})
	}
}

// What is large but honest builds.
func TestLargeTreesBuild(t *testing.T) {
	var text strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&text, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a%d}\ndata: {a: b}\n", i)
	}
	for name, files := range map[string]map[string]string{
		"a thousand objects": {"prod/a.yaml": text.String()},
		"some doubling":      doubling(4),
		"replacements": {"prod/web.yaml": deployment, "prod/kustomization.yaml": "resources: [web.yaml]\nreplacements: [{source: {kind: Deployment, name: web, fieldPath: metadata.name}, " +
			"targets: [{select: {kind: Deployment}, fieldPaths: ['spec.template.spec.containers.0.image'], options: {delimiter: ':', index: 0}}]}]"},
		"anchors":      {"prod/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: &a b, c: *a}\n"},
		"inline merge": {"prod/web.yaml": deployment, "prod/kustomization.yaml": "resources: [web.yaml]\npatchesStrategicMerge:\n- |-\n  apiVersion: apps/v1\n  kind: Deployment\n  metadata: {name: web, namespace: shop}\n  spec: {replicas: 3}\n"},
		"binary data":  {"prod/kustomization.yaml": "configMapGenerator: [{name: a, files: [logo.png, k=logo.png, 'values.yaml']}]", "prod/logo.png": "\x89PNG\xff\x00", "prod/values.yaml": "{{ not yaml"},
		"odd names":    {"prod/kustomization.yaml": "resources: ['a b+c~d_e.yaml', ../x/./y/../y]", "prod/a b+c~d_e.yaml": deployment, "x/y/kustomization.yaml": "configMapGenerator: [{name: a, literals: [a=b]}]"},
		"UTF-16":       {"prod/a.yaml": utf16("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")}, // Flux builds it as well
		"CRLF":         {"prod/a.yaml": strings.ReplaceAll("---\n"+deployment+"--- # next\nkind: ConfigMap\napiVersion: v1\nmetadata: {name: b}\n---\n", "\n", "\r\n")},
	} {
		t.Run(name, func(t *testing.T) {
			if err := both(t, tree(files), gitops.Kustomization{Path: "prod"}); err != nil {
				t.Error(err)
			}
		})
	}
}

// utf16 is a text of ASCII as Windows writes it to a file when asked for Unicode.
func utf16(text string) string {
	return "\xff\xfe" + strings.ReplaceAll(text, "", "\x00")[1:]
}

func TestBuildGivesUpWaitingForItsTurn(t *testing.T) {
	for range cap(turns) {
		turns <- struct{}{}
		defer func() { <-turns }()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := Build(ctx, tree(map[string]string{"web.yaml": deployment}), gitops.Kustomization{Path: "."}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// FuzzBuild looks for trees that crash the process or take long: a fuzz worker that dies or hangs is a failure.
func FuzzBuild(f *testing.F) {
	for _, files := range hostile() {
		f.Add(files["prod/kustomization.yaml"], files["prod/a.yaml"], files["prod/p.yaml"])
	}
	for _, field := range fields {
		f.Add(fmt.Sprintf(field, "a.yaml"), deployment, "resources: [../prod/a.yaml]")
	}
	f.Add("resources: [a.yaml]\npatches: [{path: p.yaml, target: {kind: Deployment}}]", deployment, "[{op: add, path: /metadata/labels, value: {a: b}}]")
	f.Add("resources: [a.yaml, ../base]\nreplicas: [{name: web, count: 3}]\nvars: [{name: X, objref: {kind: Deployment, name: web, apiVersion: apps/v1}}]", deployment, "kind: Kustomization\nnamePrefix: $(X)\n")
	f.Fuzz(func(t *testing.T, kustomization, a, p string) {
		files := map[string]string{"prod/a.yaml": a, "prod/p.yaml": p, "base/kustomization.yaml": p, "base/web.yaml": deployment}
		if kustomization != "" {
			files["prod/kustomization.yaml"] = kustomization
		}
		k := gitops.Kustomization{Path: "prod"}
		built, err := Build(t.Context(), tree(files), k)
		if err == nil {
			if _, digest := Changes(built.Objects, built.Objects); digest != "" {
				t.Error("a build differs from itself")
			}
		}
	})
}

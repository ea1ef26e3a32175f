package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// checkouts writes two trees: files, and the same with others in their place; an empty one is removed.
func checkouts(t *testing.T, files, changed map[string]string) (base, head string) {
	t.Helper()
	after := maps.Clone(files)
	maps.Copy(after, changed)
	write := func(files map[string]string) string {
		dir := t.TempDir()
		for name, content := range files {
			at := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(at), 0o750); err != nil {
				t.Fatal(err)
			}
			if content != "" {
				if err := os.WriteFile(at, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		return dir
	}
	return write(files), write(after)
}

// store is a repository with two environments; each installs a chart of it, and one has a variable that a Secret holds.
var store = map[string]string{
	"charts/web/Chart.yaml":             "apiVersion: v2\nname: web\nversion: 1.0.0\n",
	"charts/web/values.yaml":            "size: 1\n",
	"charts/web/templates/web.yaml":     "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-settings}\ndata: {size: {{ .Values.size | quote }}, colour: blue}\n",
	"clusters/stage/apps.yaml":          ofApps("stage", ""),
	"clusters/prod/apps.yaml":           ofApps("prod", ", postBuild: {substituteFrom: [{kind: Secret, name: settings}]}"),
	"clusters/stage/flux.yaml":          ofFlux("stage"),
	"clusters/prod/flux.yaml":           ofFlux("prod"),
	"apps/base/web.yaml":                "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: web, namespace: shop}\nspec: {interval: 1m, chart: {spec: {chart: ./charts/web, sourceRef: {kind: GitRepository, name: flux-system, namespace: flux-system}}}}\n",
	"apps/base/map.yaml":                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map, namespace: shop}\ndata: {colour: red, token: \"x-${token}\"}\n",
	"apps/base/kustomization.yaml":      "resources: [web.yaml, map.yaml]\n",
	"apps/stage/kustomization.yaml":     "resources: [../base]\n",
	"apps/prod/kustomization.yaml":      "resources: [../base]\n",
	"apps/stage/unused/README.markdown": "x",
}

func ofApps(environment, more string) string {
	return "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: apps, namespace: flux-system}\nspec: {interval: 10m, path: ./apps/" + environment + ", prune: true, sourceRef: {kind: GitRepository, name: flux-system}" + more + "}\n"
}

func ofFlux(environment string) string {
	return "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: flux-system, namespace: flux-system}\nspec: {interval: 1m, url: https://github.com/acme/store, ref: {branch: main}}\n---\n" +
		"apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: flux-system, namespace: flux-system}\nspec: {interval: 10m, path: ./clusters/" + environment + ", prune: true, sourceRef: {kind: GitRepository, name: flux-system}}\n"
}

func TestDiff(t *testing.T) {
	base, head := checkouts(t, store, map[string]string{
		"charts/web/Chart.yaml":        "apiVersion: v2\nname: web\nversion: 1.0.1\n",
		"charts/web/values.yaml":       "size: 2\n",
		"apps/base/map.yaml":           strings.Replace(store["apps/base/map.yaml"], "red", "green", 1),
		"apps/prod/kustomization.yaml": "resources: [../base, more.yaml]\n",
		"apps/prod/more.yaml":          "apiVersion: v1\nkind: Namespace\nmetadata: {name: more}\n",
	})
	code, out, log := ferry(t, "", "diff", "--tree", head, "--base", base, "-o", "json")
	var got []struct {
		Environment, Error string
		Objects            []struct {
			Kind, Namespace, Name, Source, Verdict string
			Flags                                  []string
			Changes                                []struct{ Path, Before, After string }
		}
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 1 || log != "" {
		t.Fatalf("code %d, %v: %s%s", code, err, out, log)
	}
	told := map[string][]string{}
	for _, e := range got {
		told[e.Environment] = []string{}
		for _, o := range e.Objects {
			line := strings.Join([]string{o.Source, o.Verdict, o.Kind, o.Namespace, o.Name}, " ")
			for _, c := range o.Changes {
				if c.Path != "" {
					line += " " + c.Path + ":" + c.Before + ">" + c.After
				}
			}
			told[e.Environment] = append(told[e.Environment], line)
		}
	}
	both := []string{"HelmRelease shop/web configured ConfigMap shop web-settings data.size:1>2", "Kustomization flux-system/apps configured ConfigMap shop map data.colour:red>green"}
	want := map[string][]string{"clusters/stage": both, "clusters/prod": {both[0], both[1], "Kustomization flux-system/apps created Namespace  more"}}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	for _, output := range []string{"text", "markdown"} {
		code, out, log := ferry(t, "", "diff", "--tree", head, "--base", base, "--path", "clusters/prod", "-o", output)
		if code != 1 || log != "" || !strings.Contains(out, "web-settings") || strings.Contains(out, "clusters/stage") {
			t.Errorf("%s: code %d\n%s%s", output, code, out, log)
		}
	}
	// neither directory is told of by a file
	code, out, log = ferry(t, "", "diff", "--tree", filepath.Join(head, "apps"), "--base", filepath.Join(base, "apps"), "--also", "prod", "--also", "stage")
	if code != 1 || log != "" || !strings.Contains(out, "in prod and stage") {
		t.Errorf("--also alone: code %d\n%s%s", code, out, log)
	}
	code, out, log = ferry(t, "", "diff", "--tree", head, "--base", base, "--also", "apps/base")
	if code != 1 || log != "" || !strings.Contains(out, "apps/base, clusters/prod and clusters/stage") {
		t.Errorf("--also: code %d\n%s%s", code, out, log)
	}
	if code, out, log := ferry(t, "", "diff", "--tree", base, "--base", base); code != 0 {
		t.Errorf("the same: code %d: %s%s", code, out, log)
	}
	if code, out, _ := ferry(t, "", "diff", "--tree", head, "--base", base, "--path", "clusters/none"); code != 2 || !strings.Contains(out, "clusters/none") {
		t.Errorf("no such root: code %d: %s", code, out)
	}
	if code, _, log := ferry(t, "", "diff", "--tree", head); code != 2 || !strings.Contains(log, "--base") || strings.Contains(log, "for chat") {
		t.Errorf("without a base: code %d: %s", code, log)
	}
	if code, _, log := ferry(t, "", "diff", "stage", "prod"); code != 2 || !strings.Contains(log, "for chat") {
		t.Errorf("a line of chat: code %d: %s", code, log)
	}
}

// TestDiffOfWhatDoesNotBuild: that is no deletion of all that was there.
func TestDiffOfWhatDoesNotBuild(t *testing.T) {
	base, head := checkouts(t, store, map[string]string{"apps/prod/kustomization.yaml": "resources: [../other]\n"})
	code, out, log := ferry(t, "", "diff", "--tree", head, "--base", base)
	if code != 2 || !strings.Contains(out, "does not build with this change") || strings.Contains(out, "deleted") {
		t.Errorf("code %d: %s%s", code, out, log)
	}
}

// TestDiffOfReleasesAsFluxTakesThem: a chart that keeps its version is not taken, and a release that is known by something else
// is uninstalled first.
func TestDiffOfReleasesAsFluxTakesThem(t *testing.T) {
	release := store["apps/base/web.yaml"]
	for name, tc := range map[string]struct {
		changed map[string]string
		want    []string // of them, in the text
		not     string
	}{
		"a chart that keeps its version": {map[string]string{"charts/web/values.yaml": "size: 2\n"},
			[]string{"HelmRelease shop/web", "Its chart in charts/web changes and keeps the version 1.0.0, so Flux keeps the chart that it has"}, "web-settings"},
		"and other values": {map[string]string{"charts/web/templates/web.yaml": strings.Replace(store["charts/web/templates/web.yaml"], "blue", "red", 1), "apps/base/web.yaml": strings.Replace(release, "interval: 1m,", "interval: 1m, values: {size: 3},", 1)},
			[]string{"keeps the version 1.0.0", "data.size"}, "data.colour"},
		"one of each revision": {map[string]string{"charts/web/values.yaml": "size: 2\n", "apps/base/web.yaml": strings.Replace(release, "chart: ./charts/web,", "chart: ./charts/web, reconcileStrategy: Revision,", 1)},
			[]string{"data.size"}, "keeps the version"},
		"another release name": {map[string]string{"apps/base/web.yaml": strings.Replace(release, "interval: 1m,", "interval: 1m, releaseName: site,", 1)},
			[]string{"HelmRelease shop/web: its release name changes, so Flux uninstalls it", "site-settings", "web-settings"}, "none"},
		"another namespace of records": {map[string]string{"apps/base/web.yaml": strings.Replace(release, "interval: 1m,", "interval: 1m, storageNamespace: store,", 1)},
			[]string{"HelmRelease shop/web: its storage namespace changes, so Flux uninstalls it", "ConfigMap shop/web-settings is deleted and made anew"}, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			base, head := checkouts(t, store, tc.changed)
			code, out, log := ferry(t, "", "diff", "--tree", head, "--base", base, "--path", "clusters/stage")
			if code != 1 || log != "" || strings.Contains(out, tc.not) {
				t.Errorf("code %d: %s%s", code, out, log)
			}
			for _, want := range tc.want {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
		})
	}
}

// TestDiffOfWhatLiesElsewhere: a release is looked into where only its source changes, or a chart that its chart depends on, and
// its source is found in what does not change.
func TestDiffOfWhatLiesElsewhere(t *testing.T) {
	files := map[string]string{
		"clusters/prod/flux.yaml":          ofFlux("prod"),
		"clusters/prod/apps.yaml":          ofApps("prod", ""),
		"clusters/prod/infra.yaml":         strings.NewReplacer("./apps/prod", "./infra", "name: apps", "name: infra").Replace(ofApps("prod", "")),
		"infra/charts.yaml":                "apiVersion: source.toolkit.fluxcd.io/v1\nkind: OCIRepository\nmetadata: {name: web, namespace: infra}\nspec: {interval: 1m, url: \"oci://charts.example/web\", ref: {tag: 1.0.0}}\n",
		"apps/prod/web.yaml":               "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: web, namespace: shop}\nspec: {interval: 1m, chartRef: {kind: OCIRepository, name: web, namespace: infra}}\n",
		"infra/own.yaml":                   "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: own, namespace: shop}\nspec: {interval: 1m, chart: {spec: {chart: ./charts/own, reconcileStrategy: Revision, sourceRef: {kind: GitRepository, name: flux-system, namespace: flux-system}}}}\n",
		"charts/own/Chart.yaml":            "apiVersion: v2\nname: own\nversion: 1.0.0\ndependencies: [{name: common, version: 1.x, repository: \"file://../common\"}]\n",
		"charts/own/templates/own.yaml":    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: own}\ndata: {colour: {{ include \"colour\" . }}}\n",
		"charts/common/Chart.yaml":         "apiVersion: v2\nname: common\nversion: 1.0.0\ntype: library\n",
		"charts/common/templates/_all.tpl": "{{ define \"colour\" }}red{{ end }}",
	}
	for file, tc := range map[string]struct{ from, to, want string }{
		"infra/charts.yaml":                {"1.0.0", "1.0.1", "What it installs is not known. It cannot be rendered as it is now. Its chart comes from oci://charts.example/web."},
		"apps/prod/web.yaml":               {"interval: 1m,", "interval: 1m, values: {size: 1},", "What it installs is not known. It cannot be rendered as it is now. Its chart comes from oci://charts.example/web."},
		"charts/common/templates/_all.tpl": {"red", "blue", "data.colour: red → blue"},
	} {
		base, head := checkouts(t, files, map[string]string{file: strings.Replace(files[file], tc.from, tc.to, 1)})
		code, out, log := ferry(t, "", "diff", "--tree", head, "--base", base, "--path", "clusters/prod")
		if code != 1 || log != "" || !strings.Contains(out, tc.want) {
			t.Errorf("%s: code %d: %s%s", file, code, out, log)
		}
	}
}

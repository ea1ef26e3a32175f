package helm

import (
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/render"
	"github.com/ferry-chatops/ferry/internal/testenv/charts"
)

var _ render.ChartRenderer = (*Renderer)(nil)

// object reads one from YAML.
func object(t testing.TB, text string) render.Object {
	t.Helper()
	var fields map[string]any
	if err := yaml.Unmarshal([]byte(text), &fields); err != nil {
		t.Fatal(err)
	}
	return objects([]map[string]any{fields})[0]
}

const fromGit = `apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: web, namespace: shop}
spec:
  chart: {spec: {chart: ./charts/web, sourceRef: {kind: GitRepository, name: fleet}}}
  values: {replicas: 3}
`

const gitRepository = "{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {name: fleet, namespace: shop}, spec: {url: https://example.com/fleet}}"

func files(all map[string]string) fs.FS {
	tree := fstest.MapFS{}
	for name, text := range all {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return tree
}

// chartOf is a chart in the directory charts/web with these templates, by name.
func chartOf(templates map[string]string) map[string]string {
	all := map[string]string{
		"charts/web/Chart.yaml":  "apiVersion: v2\nname: web\nversion: 1.2.3\n",
		"charts/web/values.yaml": "replicas: 1\nname: web\n",
	}
	for name, text := range templates {
		all["charts/web/templates/"+name] = text
	}
	return all
}

func TestAChartInGit(t *testing.T) {
	got, err := NewRenderer(New(time.Now)).Expand(t.Context(), render.Release{
		Object: object(t, fromGit), Source: object(t, gitRepository),
		Files: files(chartOf(map[string]string{
			"deployment.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ .Values.name }}\n  labels: {chart: {{ .Chart.Version }}}\nspec:\n  replicas: {{ .Values.replicas }}\n",
			"role.yaml":       "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: {{ .Release.Name }}}\n",
			"tests/test.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: test, annotations: {helm.sh/hook: test}}\n",
			"hook.yaml":       "apiVersion: batch/v1\nkind: Job\nmetadata: {name: migrate, annotations: {helm.sh/hook: \"pre-install,pre-upgrade\"}}\n",
			"NOTES.txt":       "Thank you.",
		})),
	})
	if err != nil {
		t.Fatal(err)
	}
	origin := map[string]any{"app.kubernetes.io/managed-by": "Helm", "helm.toolkit.fluxcd.io/name": "web", "helm.toolkit.fluxcd.io/namespace": "shop"}
	labelled := map[string]any{"chart": "1.2.3", "app.kubernetes.io/managed-by": "Helm", "helm.toolkit.fluxcd.io/name": "web", "helm.toolkit.fluxcd.io/namespace": "shop"}
	meta := map[string]any{"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "shop"}
	want := render.Expansion{
		Chart: "web", Version: "1.2.3",
		Objects: []render.Object{
			{Object: gitops.Object{Kind: "ClusterRole", Name: "web"}, Fields: map[string]any{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
				"metadata": map[string]any{"name": "web", "labels": origin, "annotations": meta}}},
			{Object: gitops.Object{Kind: "Deployment", Namespace: "shop", Name: "web"}, Fields: map[string]any{"apiVersion": "apps/v1", "kind": "Deployment",
				"metadata": map[string]any{"name": "web", "namespace": "shop", "labels": labelled, "annotations": meta}, "spec": map[string]any{"replicas": 3.0}}},
		},
		Hooks: []render.Object{{Object: gitops.Object{Kind: "Job", Namespace: "shop", Name: "migrate"}, Fields: map[string]any{"apiVersion": "batch/v1", "kind": "Job",
			"metadata": map[string]any{"name": "migrate", "namespace": "shop", "annotations": map[string]any{"helm.sh/hook": "pre-install,pre-upgrade"}}}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAChartOfARepository(t *testing.T) {
	server, err := charts.Serve(charts.Chart{Name: "podinfo", Version: "6.9.0"}, charts.Chart{Name: "podinfo", Version: "7.0.0"}, charts.Chart{Name: "podinfo", Version: "7.1.0-rc.1"})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	renderer := NewRenderer(New(time.Now))
	for version, want := range map[string]string{"6.x": "6.9.0", "": "7.0.0", "*": "7.0.0", ">=7.0.0-0": "7.1.0-rc.1", "6.9.0": "6.9.0"} {
		for kind, source := range map[string]string{"default": server.HTTPURL, "oci": server.OCIURL} {
			got, err := renderer.Expand(t.Context(), render.Release{
				Object: object(t, `{apiVersion: helm.toolkit.fluxcd.io/v2, kind: HelmRelease, metadata: {name: web, namespace: shop},
  spec: {chart: {spec: {chart: podinfo, version: "`+version+`", sourceRef: {kind: HelmRepository, name: charts}}}}}`),
				Source: object(t, `{apiVersion: source.toolkit.fluxcd.io/v1, kind: HelmRepository, metadata: {name: charts, namespace: shop}, spec: {url: "`+source+`", type: `+kind+`, insecure: true}}`),
			})
			if err != nil {
				t.Fatal(err)
			}
			if got.Version != want || len(got.Objects) != 2 {
				t.Errorf("%s %q: version %s with %d objects, want %s", kind, version, got.Version, len(got.Objects), want)
			}
		}
	}
}

func BenchmarkExpand(b *testing.B) {
	r := NewRenderer(New(time.Now))
	release := render.Release{Object: object(b, fromGit), Source: object(b, gitRepository), Files: files(chartOf(map[string]string{
		"a.yaml": "{{ range until 20 }}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a{{ . }}}\nspec: {replicas: 2, template: {spec: {containers: [{name: a, image: a}]}}}\n{{ end }}",
	}))}
	for b.Loop() {
		if _, err := r.Expand(b.Context(), release); err != nil {
			b.Fatal(err)
		}
	}
}

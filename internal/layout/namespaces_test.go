package layout

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// Environments that share a cluster are fed by what lies in the namespaces of neither.
func TestSharedOutsideTheNamespaces(t *testing.T) {
	kustomization := func(name, more string) string {
		return "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: " + name + ", namespace: flux-system}\n" +
			"spec: {path: ./apps/" + name + ", sourceRef: {kind: GitRepository, name: flux-system}" + more + "}\n---\n"
	}
	both := func(more string) string { return kustomization("prod", more) + kustomization("stage", more) }
	for name, one := range map[string]struct{ flux, shared, app string }{
		"variables": {both(", postBuild: {substituteFrom: [{kind: ConfigMap, name: versions}]}"),
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: versions, namespace: flux-system}\ndata: {version: 1.0.0}\n",
			"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: ENV}\nspec: {template: {spec: {containers: [{name: web, image: 'acme/web:${version}'}]}}}\n"},
		"source": {both(""),
			"apiVersion: source.toolkit.fluxcd.io/v1\nkind: OCIRepository\nmetadata: {name: web, namespace: flux-system}\nspec: {url: oci://acme.example/charts/web, ref: {tag: 1.0.0}}\n",
			"apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: web, namespace: ENV}\nspec: {chartRef: {kind: OCIRepository, name: web, namespace: flux-system}}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			app := func(env string) *fstest.MapFile {
				return &fstest.MapFile{Data: []byte(strings.ReplaceAll(one.app, "ENV", env))}
			}
			tree := Open(fstest.MapFS{
				"clusters/one/apps.yaml": {Data: []byte(one.flux)}, "clusters/one/shared.yaml": {Data: []byte(one.shared)},
				"apps/prod/web.yaml": app("prod"), "apps/stage/web.yaml": app("stage"),
			})
			prod, err := tree.Root(t.Context(), "clusters/one", "prod")
			if err != nil {
				t.Fatal(err)
			}
			stage, other := prod, prod
			prod.Namespaces = []string{"prod"}
			stage.Name, stage.Namespaces = "stage", []string{"stage"}
			other.Name, other.Namespaces = "other", []string{"other"}
			change := Change{Application: "web", Version: "2.0.0"}
			result, err := tree.Plan(t.Context(), prod, []Environment{stage, other}, change)
			if !isRefusal(err, gitops.Shared) {
				t.Errorf("it is planned for %v: %v", result.AlsoFeeds, err)
			}
			change.Shared = true
			if result, err = tree.Plan(t.Context(), prod, []Environment{stage, other}, change); err != nil {
				t.Fatal(err)
			}
			if want := []string{"stage"}; !slices.Equal(result.AlsoFeeds, want) {
				t.Errorf("it also feeds %v, want %v", result.AlsoFeeds, want)
			}
		})
	}
}

package render

import (
	"errors"
	"io/fs"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

func tree(files map[string]string) fs.FS {
	m := fstest.MapFS{}
	for name, content := range files {
		m[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return m
}

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {template: {spec: {containers: [{name: web, image: "example/web:1.0.0"}]}}}
`

func image(t *testing.T, objects []Object) string {
	t.Helper()
	for _, o := range objects {
		if o.Kind == "Deployment" {
			containers := o.Fields["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)["containers"].([]any)
			return containers[0].(map[string]any)["image"].(string)
		}
	}
	t.Fatalf("no Deployment in %v", objects)
	return ""
}

func TestBuild(t *testing.T) {
	base := map[string]string{
		"base/kustomization.yaml":     "resources: [web.yaml]",
		"base/web.yaml":               deployment,
		"prod/kustomization.yaml":     "resources: [../base]\nimages: [{name: example/web, newTag: 2.0.0}]\n",
		"plain/a.yaml":                deployment,
		"plain/README.md":             "# not yaml",
		"nested/x/web.yml":            deployment,
		"nested/k/kustomization.yaml": "resources: [../../base]\nnamePrefix: k-\n",
	}
	for name, tc := range map[string]struct {
		k     gitops.Kustomization
		image string
		files []string
	}{
		"base":                  {gitops.Kustomization{Path: "base"}, "example/web:1.0.0", []string{"base/kustomization.yaml", "base/web.yaml"}},
		"overlay":               {gitops.Kustomization{Path: "prod"}, "example/web:2.0.0", []string{"base/kustomization.yaml", "base/web.yaml", "prod/kustomization.yaml"}},
		"without kustomization": {gitops.Kustomization{Path: "plain"}, "example/web:1.0.0", []string{"plain/a.yaml"}},
		"generated with nested": {gitops.Kustomization{Path: "nested"}, "example/web:1.0.0", []string{"base/kustomization.yaml", "base/web.yaml", "nested/k/kustomization.yaml", "nested/x/web.yml"}},
		"images of the object": {gitops.Kustomization{Path: "prod", Images: []map[string]any{{"name": "example/web", "newTag": "3.0.0"}}}, "example/web:3.0.0",
			[]string{"base/kustomization.yaml", "base/web.yaml", "prod/kustomization.yaml"}},
		"patches of the object": {gitops.Kustomization{Path: "plain", Patches: []map[string]any{{
			"patch":  "- {op: replace, path: /spec/template/spec/containers/0/image, value: other:4}",
			"target": map[string]any{"kind": "Deployment"}}}}, "other:4", []string{"plain/a.yaml"}},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := Files(tree(base), tc.k)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.files, files); d != "" {
				t.Error(d)
			}
			objects, err := Build(tree(base), tc.k)
			if err != nil {
				t.Fatal(err)
			}
			if got := image(t, objects); got != tc.image {
				t.Errorf("image is %s, want %s", got, tc.image)
			}
		})
	}
}

func TestBuildAtTheRoot(t *testing.T) {
	objects, err := Build(tree(map[string]string{"web.yaml": deployment}), gitops.Kustomization{Path: ".", TargetNamespace: "other"})
	if err != nil {
		t.Fatal(err)
	}
	if objects[0].Namespace != "other" {
		t.Errorf("namespace is %s", objects[0].Namespace)
	}
}

// Whatever would make kustomize look beyond the tree is refused before it runs.
func TestFilesRefusesWhatIsElsewhere(t *testing.T) {
	for name, kustomization := range map[string]string{
		"remote base":      "resources: ['https://example.com/base?ref=v1']",
		"git base":         "resources: ['git@example.com:a/b.git']",
		"remote file":      "resources: ['https://example.com/web.yaml']",
		"remote patch":     "resources: [web.yaml]\npatches: [{path: 'https://example.com/p.yaml'}]",
		"remote generator": "configMapGenerator: [{name: a, files: ['x=http://example.com/']}]",
		"absolute":         "resources: [/etc/passwd]",
		"outside":          "resources: [../../etc]",
		"helm":             "helmCharts: [{name: a}]",
		"exec plugin":      "generators: [web.yaml]",
		"missing":          "resources: [gone.yaml]",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Files(tree(map[string]string{"app/kustomization.yaml": kustomization, "app/web.yaml": deployment}), gitops.Kustomization{Path: "app"})
			var refusal *gitops.Refusal
			if !errors.As(err, &refusal) || refusal.Code != gitops.Layout {
				t.Errorf("got %v", err)
			}
		})
	}
	_, err := Files(tree(map[string]string{"a/kustomization.yaml": "resources: [../b]", "b/kustomization.yaml": "resources: [../a]"}), gitops.Kustomization{Path: "a"})
	if err != nil {
		t.Errorf("a cycle is kustomize's to report: %v", err)
	}
}

func TestChanges(t *testing.T) {
	files := map[string]string{"web.yaml": deployment}
	k := gitops.Kustomization{Path: "."}
	before, err := Build(tree(files), k)
	if err != nil {
		t.Fatal(err)
	}
	changed := With(tree(files), "web.yaml", []byte(deployment[:len(deployment)-1-len(`1.0.0"}]}}}`)]+`1.1.0"}]}}}`))
	after, err := Build(changed, k)
	if err != nil {
		t.Fatal(err)
	}
	want := []gitops.Rendered{{Object: gitops.Object{Kind: "Deployment", Namespace: "shop", Name: "web"},
		Path: "spec.template.spec.containers[name=web].image", Old: "example/web:1.0.0", New: "example/web:1.1.0"}}
	if d := cmp.Diff(want, Changes(before, after)); d != "" {
		t.Error(d)
	}
	if got := Changes(before, before); len(got) != 0 {
		t.Errorf("a build differs from itself: %v", got)
	}
	if got := Changes(before, nil); !slices.ContainsFunc(got, func(r gitops.Rendered) bool { return r.New == "" }) {
		t.Errorf("a deleted object is no change: %v", got)
	}
}

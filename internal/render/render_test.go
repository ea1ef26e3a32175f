package render

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

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
			built, err := Build(t.Context(), tree(base), tc.k)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.files, built.Files); d != "" {
				t.Error(d)
			}
			if got := image(t, built.Objects); got != tc.image {
				t.Errorf("image is %s, want %s", got, tc.image)
			}
		})
	}
}

func TestBuildAtTheRoot(t *testing.T) {
	built, err := Build(t.Context(), tree(map[string]string{".web.yaml": deployment}), gitops.Kustomization{Path: ".", TargetNamespace: "other"})
	if err != nil {
		t.Fatal(err)
	}
	if built.Objects[0].Namespace != "other" {
		t.Errorf("namespace is %s", built.Objects[0].Namespace)
	}
}

// Whatever would make kustomize look beyond the tree is refused before it runs.
func TestBuildRefusesWhatIsElsewhere(t *testing.T) {
	for name, kustomization := range map[string]string{
		"remote component":  "components: ['https://example.com/base?ref=v1']",
		"remote patch":      "resources: [web.yaml]\npatches: [{path: 'https://example.com/p.yaml'}]",
		"outside generator": "configMapGenerator: [{name: a, files: ['x=../../etc/passwd']}]",
		"absolute":          "resources: [/etc/passwd]",
		"outside":           "resources: [../../etc]",
		"helm":              "helmCharts: [{name: a}]",
		"exec plugin":       "generators: [web.yaml]",
		"transformer":       "transformers: [web.yaml]",
		"patch transformer": "transformers: [\"{apiVersion: builtin, kind: PatchTransformer, metadata: {name: a}, path: /etc/passwd}\\n\"]",
		"missing":           "resources: [gone.yaml]",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Build(t.Context(), tree(map[string]string{"app/kustomization.yaml": kustomization, "app/web.yaml": deployment}), gitops.Kustomization{Path: "app"})
			var refusal *gitops.Refusal
			if !errors.As(err, &refusal) || refusal.Code != gitops.Layout {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Transformers may be listed by a kustomization of their own, which may do nothing else.
func TestBuildWithTransformersOfADirectory(t *testing.T) {
	files := map[string]string{
		"app/kustomization.yaml":      "resources: [web.yaml]\ntransformers: [./more]",
		"app/web.yaml":                deployment,
		"app/more/kustomization.yaml": "resources: [../../common]",
		"common/kustomization.yaml":   "resources: [image.yaml]",
		"common/image.yaml":           "apiVersion: builtin\nkind: ImageTagTransformer\nmetadata: {name: a}\nimageTag: {name: example/web, newTag: 5.0.0}",
	}
	built, err := Build(t.Context(), tree(files), gitops.Kustomization{Path: "app"})
	if err != nil {
		t.Fatal(err)
	}
	if got := image(t, built.Objects); got != "example/web:5.0.0" {
		t.Errorf("image is %s", got)
	}
	for name, kustomization := range map[string]string{
		"patches":    "resources: [image.yaml]\npatches: [{patch: '- {op: replace, path: /kind, value: Other}'}]",
		"itself":     "resources: [../app/more]",
		"other kind": "resources: [../app/web.yaml]",
		"outside":    "resources: [../../etc]",
		"nothing":    "",
	} {
		t.Run(name, func(t *testing.T) {
			files["common/kustomization.yaml"] = kustomization
			if _, err := Build(t.Context(), tree(files), gitops.Kustomization{Path: "app"}); err == nil {
				t.Error("it is built")
			}
		})
	}
}

// Resources that lie elsewhere are left out and named; what is here is built without them.
func TestBuildLeavesRemoteResourcesOut(t *testing.T) {
	files := tree(map[string]string{"app/kustomization.yaml": "resources: [web.yaml, ../crds, 'https://example.com/base?ref=v1']\nconfigMapGenerator: [{name: a, files: ['a.json=https://example.com/a.json']}]",
		"app/web.yaml": deployment, "crds/kustomization.yaml": "bases: ['github.com/acme/crds//deploy?ref=v2', 'git@example.com:a/b.git']"})
	built, err := Build(t.Context(), files, gitops.Kustomization{Path: "app"})
	if err != nil {
		t.Fatal(err)
	}
	want := []Remote{{"app/kustomization.yaml", "https://example.com/base?ref=v1"}, {"app/kustomization.yaml", "https://example.com/a.json"},
		{"crds/kustomization.yaml", "github.com/acme/crds//deploy?ref=v2"}, {"crds/kustomization.yaml", "git@example.com:a/b.git"}}
	if d := cmp.Diff(want, built.Remote); d != "" {
		t.Error(d)
	}
	if len(built.Objects) != 2 {
		t.Errorf("got %v", built.Objects)
	}
}

func TestChanges(t *testing.T) {
	files := map[string]string{"web.yaml": deployment}
	k := gitops.Kustomization{Path: "."}
	before, err := Build(t.Context(), tree(files), k)
	if err != nil {
		t.Fatal(err)
	}
	changed := With(tree(files), map[string][]byte{"web.yaml": []byte(deployment[:len(deployment)-1-len(`1.0.0"}]}}}`)] + `1.1.0"}]}}}`)})
	after, err := Build(t.Context(), changed, k)
	if err != nil {
		t.Fatal(err)
	}
	want := []gitops.Rendered{{Object: gitops.Object{Kind: "Deployment", Namespace: "shop", Name: "web"},
		Path: "spec.template.spec.containers[name=web].image", Old: "example/web:1.0.0", New: "example/web:1.1.0"}}
	got, _ := Changes(before.Objects, after.Objects)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got, digest := Changes(before.Objects, before.Objects); len(got) != 0 || digest != "" {
		t.Errorf("a build differs from itself: %v", got)
	}
	gone := []gitops.Rendered{{Object: want[0].Object, New: "deleted"}}
	if got, _ := Changes(before.Objects, nil); !cmp.Equal(gone, got) {
		t.Errorf("a deleted object is %v", got)
	}
	gone[0].New = "created"
	if got, _ := Changes(nil, before.Objects); !cmp.Equal(gone, got) {
		t.Errorf("a new object is %v", got)
	}
}

// A number that becomes a string is a change, and so is the second of two objects that differ in their group alone.
func TestChangesMissesNothing(t *testing.T) {
	object := func(group string, port any) Object {
		return Object{gitops.Object{Kind: "Service", Name: "a"}, map[string]any{"apiVersion": group, "port": port}}
	}
	before := []Object{object("v1", 80.0), object("serving.knative.dev/v1", 80.0)}
	changes, _ := Changes(before, []Object{object("v1", "80"), object("serving.knative.dev/v1", 81.0)})
	if len(changes) != 2 {
		t.Errorf("got %v", changes)
	}
}

// What is secret is not told, but a change of it changes the digest.
func TestChangesMasksSecrets(t *testing.T) {
	object := func(kind string, fields map[string]any) []Object {
		return []Object{{gitops.Object{Kind: kind, Name: "a"}, fields}}
	}
	for name, tc := range map[string]struct {
		kind   string
		fields func(value string) map[string]any
		path   string
	}{
		"data":   {"Secret", func(v string) map[string]any { return map[string]any{"data": map[string]any{"dsn": v}} }, "data.dsn"},
		"string": {"Secret", func(v string) map[string]any { return map[string]any{"stringData": map[string]any{"dsn": "x " + v}} }, "stringData.dsn"},
		"binary": {"Secret", func(v string) map[string]any { return map[string]any{"binaryData": map[string]any{"x": v}} }, "binaryData.x"},
		"key":    {"HelmRelease", func(v string) map[string]any { return map[string]any{"values": map[string]any{"adminPassword": v}} }, "values.adminPassword"},
		"below":  {"HelmRelease", func(v string) map[string]any { return map[string]any{"apiKeys": map[string]any{"x": v}} }, "apiKeys.x"},
		"list":   {"HelmRelease", func(v string) map[string]any { return map[string]any{"tokens": []any{"a", v}} }, "tokens[1]"},
		"variable": {"Deployment", func(v string) map[string]any {
			return map[string]any{"env": []any{map[string]any{"name": "DB_PASSWD", "value": v}}}
		}, "env[name=DB_PASSWD].value"},
	} {
		t.Run(name, func(t *testing.T) {
			changes, one := Changes(object(tc.kind, tc.fields("hunter1")), object(tc.kind, tc.fields("hunter2")))
			want := []gitops.Rendered{{Object: gitops.Object{Kind: tc.kind, Name: "a"}, Path: tc.path, Old: "***", New: "*** (changed)"}}
			if d := cmp.Diff(want, changes); d != "" {
				t.Error(d)
			}
			if _, other := Changes(object(tc.kind, tc.fields("hunter1")), object(tc.kind, tc.fields("hunter3"))); one == other || one == "" {
				t.Error("the digest is the same for another value")
			}
		})
	}
	// parts that are shown as a whole
	was := map[string]any{"a": []any{"x"}, "ref": map[string]any{"secretName": "pull"}}
	is := map[string]any{"a": []any{"x", map[string]any{"password": "hunter1", "user": "me"}, map[string]any{"name": "TOKEN", "value": "hunter2"}},
		"ref": map[string]any{"secretName": "other"}}
	changes, _ := Changes(object("X", was), object("X", is))
	want := []gitops.Rendered{
		{Object: gitops.Object{Kind: "X", Name: "a"}, Path: "a[1]", New: `{"password":"***","user":"me"}`},
		{Object: gitops.Object{Kind: "X", Name: "a"}, Path: "a[2]", New: `{"name":"TOKEN","value":"***"}`},
		{Object: gitops.Object{Kind: "X", Name: "a"}, Path: "ref.secretName", Old: "pull", New: "other"},
	}
	if d := cmp.Diff(want, changes); d != "" {
		t.Error(d)
	}
	if changes, _ = Changes(nil, object("Secret", map[string]any{"data": "hunter2"})); strings.Contains(fmt.Sprint(changes), "hunter2") {
		t.Errorf("a new Secret shows: %v", changes)
	}
}

func TestSubstituteRefusesWhatWouldTakeForEver(t *testing.T) {
	o := newObject(map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "a"}, "data": map[string]any{"a": strings.Repeat("${A}", 200_000)}})
	begin := time.Now()
	_, err := Substitute([]Object{o}, Variables{Open: true}, false)
	refused(t, err, gitops.Layout)
	if took := time.Since(begin); took > 10*time.Second { // it was minutes
		t.Errorf("it took %v to refuse", took)
	}
}

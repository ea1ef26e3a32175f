package gitops

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// sha is a digest.
const sha = "sha256:5f1390bc43fe5f1390bc43fe5f1390bc43fe5f1390bc43fe5f1390bc43fe5f13"

func TestImageValues(t *testing.T) {
	for name, tc := range map[string]struct {
		values string
		want   []ImageValue
	}{
		"nothing": {"replicas: 2\ntag: 1.2.3\nname: web\n", nil},
		"repository and tag": {"image: {repository: ghcr.io/acme/web, tag: 1.2.3}",
			[]ImageValue{{Image: "ghcr.io/acme/web", Path: "spec.values.image.tag", Text: "1.2.3", Version: "1.2.3"}}},
		"a tag alone": {"image: {tag: 1.2.3}",
			[]ImageValue{{Path: "spec.values.image.tag", Text: "1.2.3", Version: "1.2.3"}}},
		"a number": {"backend: {image: {registry: ghcr.io, repository: acme/web, tag: 7}}",
			[]ImageValue{{Image: "ghcr.io/acme/web", Of: "backend", Path: "spec.values.backend.image.tag", Text: "7", Version: "7"}}},
		"tag and digest in one": {"controllers: {main: {containers: {app: {image: {repository: a/b, tag: 'v1@" + sha + "'}}}}}",
			[]ImageValue{{Image: "a/b", Of: "app", Path: "spec.values.controllers.main.containers.app.image.tag", Text: "v1@" + sha, Version: "v1@" + sha}}},
		"a digest beside": {"image: {repository: a/b, tag: v1, digest: '" + sha + "'}",
			[]ImageValue{{Image: "a/b", Path: "spec.values.image.tag", Text: "v1", Version: "v1", DigestPath: "spec.values.image.digest", Digest: sha}}},
		"a digest alone": {"image: {repository: a/b, sha: '" + sha + "'}",
			[]ImageValue{{Image: "a/b", Path: "spec.values.image.sha", Text: sha, Version: sha}}},
		"a whole reference": {"java: {image: 'localhost:5000/shop/orders:stg-1'}",
			[]ImageValue{{Image: "localhost:5000/shop/orders", Of: "java", Path: "spec.values.java.image", Text: "localhost:5000/shop/orders:stg-1", Version: "stg-1"}}},
		"a reference among words": {"args: ['--sidecar', ghcr.io/acme/side:2]",
			[]ImageValue{{Image: "ghcr.io/acme/side", Path: "spec.values.args[1]", Text: "ghcr.io/acme/side:2", Version: "2"}}},
		"tags of their own": {"webTag: 1.2.3\nimageTag: 2.0\nother: {image_tag: 4.0.0}",
			[]ImageValue{
				{Path: "spec.values.imageTag", Text: "2", Version: "2"},
				{Of: "other", Path: "spec.values.other.image_tag", Text: "4.0.0", Version: "4.0.0"},
				{Image: "web", Path: "spec.values.webTag", Text: "1.2.3", Version: "1.2.3"},
			}},
		"by the name of a container": {"containers: [{name: app, image: 'a/b:1'}]",
			[]ImageValue{{Image: "a/b", Of: "app", Path: "spec.values.containers[name=app].image", Text: "a/b:1", Version: "1"}}},
	} {
		var values any
		if err := yaml.Unmarshal([]byte(tc.values), &values); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.want, ImageValues(values, "spec.values", "values")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestReleaseImages(t *testing.T) {
	var release map[string]any
	if err := yaml.Unmarshal([]byte(`
spec:
  values: {image: {repository: a/b, tag: "1"}}
  postRenderers:
  - kustomize:
      images:
      - {name: c/d, newName: e/f, newTag: "2", digest: "`+sha+`"}
      - {name: g/h}
`), &release); err != nil {
		t.Fatal(err)
	}
	under := "spec.postRenderers[0].kustomize.images[0]."
	want := []ImageValue{
		{Image: "a/b", Path: "spec.values.image.tag", Text: "1", Version: "1"},
		{Image: "e/f", Path: under + "newTag", Text: "2", Version: "2", DigestPath: under + "digest", Digest: sha},
	}
	if diff := cmp.Diff(want, ReleaseImages(release)); diff != "" {
		t.Error(diff)
	}
	for _, odd := range []map[string]any{nil, {"spec": 1}, {"spec": map[string]any{"values": []any{1}, "postRenderers": []any{"x", nil}}}} {
		if got := ReleaseImages(odd); len(got) > 0 {
			t.Errorf("%v: %v", odd, got)
		}
	}
}

func TestImagesAreNamedWithOrWithoutRegistry(t *testing.T) {
	for _, tc := range []struct {
		stated, live string
		want         bool
	}{
		{"ghcr.io/acme/web", "ghcr.io/acme/web", true}, {"acme/web", "ghcr.io/acme/web", true}, {"web", "ghcr.io/acme/web", true},
		{"", "web", false}, {"eb", "ghcr.io/acme/web", false}, {"ghcr.io/acme/web", "web", false},
	} {
		if got := (ImageValue{Image: tc.stated}).Names(tc.live); got != tc.want {
			t.Errorf("%q names %q: %v", tc.stated, tc.live, got)
		}
	}
}

package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// valued is HelmRelease shop/web with values as YAML, and with ConfigMaps to take more from.
func valued(t *testing.T, values string, maps ...string) *helmv2.HelmRelease {
	t.Helper()
	r := helmRelease("shop", "web")
	if err := yaml.Unmarshal([]byte("values:\n  "+strings.ReplaceAll(values, "\n", "\n  ")), &r.Spec); err != nil {
		t.Fatal(err)
	}
	for _, name := range maps {
		r.Spec.ValuesFrom = append(r.Spec.ValuesFrom, meta.ValuesReference{Kind: "ConfigMap", Name: name})
	}
	return r
}

// imageLines writes the images among an application's versions, a line each.
func imageLines(app gitops.Application) (lines []string) {
	for _, v := range app.Versions {
		if v.Kind == gitops.ImageTag {
			lines = append(lines, fmt.Sprintf("%s in %s/%s: %s, asked for %s by %s", v.Name, v.Object.Name, v.Container, v.Value, v.Desired, v.Path))
		}
	}
	return lines
}

func TestImagesThatValuesName(t *testing.T) {
	owned := byRelease("shop", "web")
	configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-values"},
		Data: map[string]string{"values.yaml": "backend: {image: {repository: acme/web, tag: 1.4.0}}\n"}}
	front, back := deployment("shop", "front", owned, "ghcr.io/acme/web:1.3.0", "envoy:1"), deployment("shop", "back", owned, "ghcr.io/acme/web:1.3.0")
	for name, tc := range map[string]struct {
		release *helmv2.HelmRelease
		objects []client.Object
		want    []string
	}{
		"none": {valued(t, "replicas: 2"), []client.Object{front}, nil},
		"by its name, once for all that run it, and not the chart's own": {valued(t, "image: {repository: ghcr.io/acme/web, tag: 1.3.0}"), []client.Object{front, back},
			[]string{"ghcr.io/acme/web in back/main: 1.3.0, asked for 1.3.0 by spec.values.image.tag"}},
		"while the new one is not deployed": {valued(t, "java: {image: 'ghcr.io/acme/web:1.4.0@sha256:00'}"), []client.Object{back},
			[]string{"ghcr.io/acme/web in back/main: 1.3.0, asked for 1.4.0 by spec.values.java.image"}},
		"a tag alone, by the container's name": {valued(t, "main: {image: {tag: 1.4.0}}"), []client.Object{front},
			[]string{"ghcr.io/acme/web in front/main: 1.3.0, asked for 1.4.0 by spec.values.main.image.tag"}},
		"a tag alone, by what runs": {valued(t, "image: {tag: 1.3.0}"), []client.Object{front},
			[]string{"ghcr.io/acme/web in front/main: 1.3.0, asked for 1.3.0 by spec.values.image.tag"}},
		"a tag alone, the only image": {valued(t, "image: {tag: 1.4.0}"), []client.Object{back},
			[]string{"ghcr.io/acme/web in back/main: 1.3.0, asked for 1.4.0 by spec.values.image.tag"}},
		"a tag alone, of which it is not known": {valued(t, "image: {tag: 1.4.0}"), []client.Object{front}, nil},
		"in a ConfigMap": {valued(t, "{}", "web-values"), []client.Object{back, configMap},
			[]string{`ghcr.io/acme/web in back/main: 1.3.0, asked for 1.4.0 by data["values.yaml"]|backend.image.tag`}},
		"in a ConfigMap that is not there": {valued(t, "{}", "gone"), []client.Object{back}, nil},
	} {
		f, _ := faked(t, interceptor.Funcs{}, append(tc.objects, tc.release)...)
		apps, err := f.Applications(t.Context(), "prod")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.want, imageLines(apps[0])); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		one, err := f.Application(t.Context(), apps[0].Key)
		if err != nil || cmp.Diff(apps[0], one) != "" {
			t.Errorf("%s: looked at closely: %v %s", name, err, cmp.Diff(apps[0], one))
		}
	}
}

// TestValuesThatMayNotBeRead: any image may be one that they name.
func TestValuesThatMayNotBeRead(t *testing.T) {
	f, _ := faked(t, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
		if _, ok := o.(*corev1.ConfigMap); ok {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, key.Name, errors.New("no"))
		}
		return c.Get(ctx, key, o, options...)
	}}, valued(t, "{}", "web-values"), deployment("shop", "front", byRelease("shop", "web"), "ghcr.io/acme/web:1.3.0", "envoy:1"))
	apps, err := f.Applications(t.Context(), "prod")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"ghcr.io/acme/web in front/main: 1.3.0, asked for 1.3.0 by ", "envoy in front/front: 1, asked for 1 by "}
	if diff := cmp.Diff(want, imageLines(apps[0])); diff != "" {
		t.Error(diff)
	}
}

// TestVariablesOfConfigMaps: they are read, and Secrets are not even asked for.
func TestVariablesOfConfigMaps(t *testing.T) {
	k := kustomization("apps")
	k.Spec.PostBuild = &kustomizev1.PostBuild{SubstituteFrom: []kustomizev1.SubstituteReference{
		{Kind: "ConfigMap", Name: "settings"}, {Kind: "Secret", Name: "secrets"}, {Kind: "ConfigMap", Name: "gone", Optional: true}}}
	f, _ := faked(t, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
		if strings.HasPrefix(fmt.Sprintf("%T", o), "*v1.Secret") {
			t.Errorf("Secret %s is read", key)
		}
		return c.Get(ctx, key, o, options...)
	}}, gitRepository(), k,
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "flux-system", Name: "settings"}, Data: map[string]string{"VERSION": "1.2.3"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "flux-system", Name: "secrets"}, Data: map[string][]byte{"TOKEN": []byte("canary")}})
	all, err := f.Kustomizations(t.Context(), "prod")
	if err != nil {
		t.Fatal(err)
	}
	want := []gitops.VariableSource{{Kind: "ConfigMap", Name: "settings", Live: map[string]string{"VERSION": "1.2.3"}}, {Kind: "Secret", Name: "secrets"},
		{Kind: "ConfigMap", Name: "gone", Optional: true}}
	if diff := cmp.Diff(want, all[0].Substitution.From); diff != "" {
		t.Error(diff)
	}
}

package cluster

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/render"
)

func secretOf(name string, data map[string]string) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "flux-system", Name: name}, Data: map[string][]byte{}}
	for key, value := range data {
		s.Data[key] = []byte(value)
	}
	return s
}

// TestKeysOfASecret: names and paths, never a value.
func TestKeysOfASecret(t *testing.T) {
	bomb := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 'b'; i < 'k'; i++ {
		bomb += fmt.Sprintf("%c: &%[1]c [%[2]s]\n", i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c, ", i-1), 10), ", "))
	}
	f, _ := faked(t, interceptor.Funcs{}, secretOf("values", map[string]string{
		"values.yaml": "ingress: {host: hunter2, paths: [hunter2, {a.b: hunter2}]}\nbase: &base {x: hunter2}\nover: {<<: *base, y: hunter2}\n",
		"token":       "hunter2", "broken": "a: [hunter2", "list": "[hunter2]",
	}), secretOf("bomb", map[string]string{"values.yaml": bomb}))
	keys, leaves, known, err := f.Keys(t.Context(), "prod", "flux-system", "values")
	if err != nil || !known {
		t.Fatal(known, err)
	}
	if diff := cmp.Diff([]string{"broken", "list", "token", "values.yaml"}, keys); diff != "" {
		t.Error(diff)
	}
	want := map[string][]string{"values.yaml": {"ingress.host", "ingress.paths[0]", `ingress.paths[1]["a.b"]`, "base.x", "over.x", "over.y"}}
	if diff := cmp.Diff(want, leaves); diff != "" {
		t.Error(diff)
	}
	if _, leaves, _, err := f.Keys(t.Context(), "prod", "flux-system", "bomb"); err != nil || len(leaves["values.yaml"]) > maxLeaves {
		t.Errorf("%d leaves, %v", len(leaves["values.yaml"]), err)
	}
	if keys, _, known, err := f.Keys(t.Context(), "prod", "flux-system", "nobody"); err != nil || !known || len(keys) > 0 {
		t.Error(keys, known, err)
	}
}

func TestCredentialOfASource(t *testing.T) {
	basic := map[string]string{"username": "u", "password": "p"}
	auth := base64.StdEncoding.EncodeToString([]byte("u:p:q"))
	f, _ := faked(t, interceptor.Funcs{},
		secretOf("basic", basic), secretOf("tls", map[string]string{"ca.crt": "ca", "tls.crt": "cert", "tls.key": "key"}),
		secretOf("older", map[string]string{"username": "u", "password": "p", "caFile": "ca"}), secretOf("ssh", map[string]string{"identity": "key"}),
		secretOf("registry", map[string]string{corev1.DockerConfigJsonKey: `{"auths": {"https://other.example/v1/": {"username": "x"}, "registry.example": {"auth": "` + auth + `"}}}`}))
	source := func(kind string, spec map[string]any) render.Object {
		return render.Object{Object: gitops.Object{Kind: kind, Namespace: "flux-system", Name: "charts"}, Fields: map[string]any{"spec": spec}}
	}
	ref := func(name string) map[string]any { return map[string]any{"name": name} }
	for name, c := range map[string]struct {
		source  render.Object
		want    *render.Credential
		refused string
	}{
		"none":     {source: source("HelmRepository", map[string]any{"url": "https://a.example"})},
		"password": {source: source("HelmRepository", map[string]any{"url": "https://a.example", "passCredentials": true, "secretRef": ref("basic")}), want: &render.Credential{Username: "u", Password: "p"}},
		"certificates": {source: source("HelmRepository", map[string]any{"url": "https://a.example", "secretRef": ref("basic"), "certSecretRef": ref("tls")}),
			want: &render.Credential{Username: "u", Password: "p", CA: []byte("ca"), Cert: []byte("cert"), Key: []byte("key")}},
		"as it was": {source: source("HelmRepository", map[string]any{"url": "https://a.example", "secretRef": ref("older")}), want: &render.Credential{Username: "u", Password: "p", CA: []byte("ca")}},
		"a registry": {source: source("OCIRepository", map[string]any{"url": "oci://registry.example/charts/a", "provider": "generic", "secretRef": ref("registry")}),
			want: &render.Credential{Username: "u", Password: "p:q"}},
		"another registry": {source: source("OCIRepository", map[string]any{"url": "oci://third.example/charts/a", "secretRef": ref("registry")}), want: &render.Credential{}},
		"a cloud":          {source: source("OCIRepository", map[string]any{"url": "oci://a", "provider": "aws"}), refused: "the cluster's identity"},
		"an account":       {source: source("OCIRepository", map[string]any{"url": "oci://a", "serviceAccountName": "a"}), refused: "service account"},
		"a proxy":          {source: source("OCIRepository", map[string]any{"url": "oci://a", "proxySecretRef": ref("a")}), refused: "proxy"},
		"SSH":              {source: source("GitRepository", map[string]any{"url": "ssh://git@a.example/b", "secretRef": ref("ssh")}), refused: "signs in to Git"},
		"not there":        {source: source("HelmRepository", map[string]any{"url": "https://a.example", "secretRef": ref("nobody")}), refused: "not there"},
	} {
		got, err := f.Credential(t.Context(), "prod", c.source)
		if c.refused != "" {
			if r := refused(t, err, gitops.Secret); !strings.Contains(r.Reason, c.refused) {
				t.Errorf("%s: %s", name, r.Reason)
			}
			continue
		}
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
}

// TestFluxObjects: Flux's own, and the ConfigMaps that they name.
func TestFluxObjects(t *testing.T) {
	release := helmRelease("shop", "podinfo")
	f, _ := faked(t, interceptor.Funcs{}, gitRepository(), kustomization("apps"), release, deployment("shop", "api", nil, "api:2"))
	all, err := f.Flux(t.Context(), "prod")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range all {
		names = append(names, o.String())
		if o.Fields["kind"] != o.Kind || o.Fields["apiVersion"] == nil {
			t.Errorf("%s is a %v", o.Object, o.Fields["kind"])
		}
	}
	want := []string{"GitRepository/flux-system/fleet", "HelmRelease/shop/podinfo", "Kustomization/flux-system/apps"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}

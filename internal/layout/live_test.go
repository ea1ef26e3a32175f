package layout

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// TestVariablesThatOnlyTheClusterHas: what a ConfigMap in the cluster fills in is built, and a version in it is said to be there.
func TestVariablesThatOnlyTheClusterHas(t *testing.T) {
	files := fstest.MapFS{"apps/web.yaml": {Data: []byte(`apiVersion: apps/v1
kind: Deployment
metadata: {name: "web-${REGION}", namespace: shop}
spec: {template: {spec: {containers: [{name: web, image: "example/web:${VERSION}"}]}}}
`)}}
	of := func(from ...gitops.VariableSource) Environment {
		return Environment{Name: "prod", Sites: []gitops.Kustomization{{Namespace: "flux-system", Name: "apps", Path: "apps", Substitution: &gitops.Substitution{From: from}}}}
	}
	settings := map[string]string{"REGION": "eu", "VERSION": "1.2.3"}
	for name, tc := range map[string]struct {
		env    Environment
		app    string
		code   gitops.Code
		reason string
	}{
		"live": {of(gitops.VariableSource{Kind: "ConfigMap", Name: "settings", Live: settings}), "web-eu", gitops.NotInGit,
			"The version of web-eu is the variable VERSION of ConfigMap flux-system/settings, which is in the cluster and in no file of this repository."},
		"live, beside a Secret that does not state it": {of(gitops.VariableSource{Kind: "ConfigMap", Name: "settings", Live: settings}, gitops.VariableSource{Kind: "ConfigMap", Name: "more", Live: map[string]string{}}),
			"web-eu", gitops.NotInGit, "ConfigMap flux-system/settings"},
		"not read": {of(gitops.VariableSource{Kind: "ConfigMap", Name: "settings"}), "web-${REGION}", gitops.Unproved,
			"ConfigMap flux-system/settings may, which is not in it either"},
		"a Secret may state it": {of(gitops.VariableSource{Kind: "ConfigMap", Name: "settings"}, gitops.VariableSource{Kind: "Secret", Name: "secrets"}), "web-${REGION}", gitops.Secret,
			"not in Git or is secret"},
	} {
		tree := Open(files)
		_, err := tree.Plan(t.Context(), tc.env, nil, Change{Application: tc.app, Version: "1.2.4"})
		if r := (*gitops.Refusal)(nil); !errors.As(err, &r) || r.Code != tc.code || !strings.Contains(r.Reason, tc.reason) {
			t.Errorf("%s: %v", name, err)
		}
		v := gitops.Version{Kind: gitops.ImageTag, Name: "example/web", Value: "1.2.3", Container: "web", Object: gitops.Object{Kind: "Deployment", Namespace: "shop", Name: tc.app}}
		if _, err := tree.Locate(t.Context(), tc.env, gitops.Key{Environment: "prod", Namespace: "shop", Kind: "Deployment", Name: tc.app}, v); !isRefusal(err, tc.code) {
			t.Errorf("%s: located: %v", name, err)
		}
	}
	// A file's own word wins over the cluster's, and no file can claim to be the cluster.
	files["apps/settings.yaml"] = &fstest.MapFile{Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: flux-system}\ndata: {REGION: eu, VERSION: 1.2.0}\n")}
	result, err := Open(files).Plan(t.Context(), of(gitops.VariableSource{Kind: "ConfigMap", Name: "settings", Live: settings}), nil, Change{Application: "web-eu", Version: "1.2.4"})
	if err != nil || len(result.Edits) != 1 || result.Edits[0].File != "apps/settings.yaml" || result.Edits[0].Old != "1.2.0" {
		t.Errorf("in a file: %+v, %v", result.Edits, err)
	}
	root := fstest.MapFS{"apps/web.yaml": files["apps/web.yaml"], "clusters/prod/apps.yaml": {Data: []byte(`apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: apps, namespace: flux-system}
spec:
  path: ./apps
  sourceRef: {kind: GitRepository, name: flux-system}
  postBuild: {substituteFrom: [{kind: ConfigMap, name: settings, live: {REGION: eu, VERSION: 1.2.3}}]}
`)}}
	tree := Open(root)
	env, err := tree.Root(t.Context(), "clusters/prod", "prod")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Plan(t.Context(), env, nil, Change{Application: "web-${REGION}", Version: "1.2.4"}); !isRefusal(err, gitops.Unproved) {
		t.Errorf("as a file claims: %v", err)
	}
}

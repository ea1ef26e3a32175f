package layout

import (
	"fmt"
	"maps"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/render"
)

func secretsOf(secrets ...string) [2]*Secrets {
	var both [2]*Secrets
	for i, shape := range []render.Shape{render.Words, render.Digits} {
		both[i] = &Secrets{Stand: render.Sentinels{Key: "key", Shape: shape}, Map: func(o gitops.Object) (map[string]string, bool) {
			values := map[string]string{}
			for _, name := range secrets {
				values[name] = ""
			}
			return values, o.Kind == "Secret" && len(secrets) > 0
		}}
	}
	return both
}

// TestCompareBuildsWhatIsTouched: of many Kustomizations, those are built that read a changed file, that are specified otherwise
// or that get other variables, and those that lead to others.
func TestCompareBuildsWhatIsTouched(t *testing.T) {
	base := fstest.MapFS{}
	for _, name := range []string{"one", "two", "three", "four"} {
		base["apps/"+name+"/web.yaml"] = &fstest.MapFile{Data: fmt.Appendf(nil, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: %s, namespace: shop}\nspec: {replicas: 1}\n", name)}
		base["cluster/"+name+".yaml"] = &fstest.MapFile{Data: fmt.Appendf(nil, "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: %s, namespace: flux-system}\nspec: {path: ./apps/%[1]s, sourceRef: {kind: GitRepository, name: fleet}, postBuild: {substituteFrom: [{kind: ConfigMap, name: settings, optional: true}]}}\n", name)}
	}
	head := maps.Clone(base)
	head["apps/one/web.yaml"] = &fstest.MapFile{Data: []byte("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: one, namespace: shop}\nspec: {replicas: 2}\n")}
	head["cluster/two.yaml"] = &fstest.MapFile{Data: append([]byte(nil), []byte("apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: two, namespace: flux-system}\nspec: {path: ./apps/two, prune: true, sourceRef: {kind: GitRepository, name: fleet}}\n")...)}
	delete(head, "cluster/four.yaml")
	source := gitops.Source{Object: gitops.Object{Kind: "GitRepository", Namespace: "flux-system", Name: "fleet"}}
	env := Environment{Name: "prod", Sources: []gitops.Object{source.Object}, Sites: []gitops.Kustomization{{Namespace: "flux-system", Name: "cluster", Path: "cluster", Source: source}}}
	for _, name := range []string{"one", "two", "three", "four"} { // as the cluster has them
		env.Sites = append(env.Sites, gitops.Kustomization{Namespace: "flux-system", Name: name, Path: "apps/" + name, Source: source})
	}
	pairs, err := Compare(t.Context(), Side{Tree: Open(base), Environment: env}, Side{Tree: Open(head), Environment: env}, []string{"apps/one/web.yaml", "cluster/four.yaml", "cluster/two.yaml"}, secretsOf())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, p := range pairs {
		built := func(b *Built) string {
			switch {
			case b == nil:
				return "none"
			case b.Err != nil:
				return b.Err.Error()
			}
			return fmt.Sprint(len(b.Objects))
		}
		got[p.Key().Name] = fmt.Sprintf("%t %s %s", p.Touched, built(p.Base), built(p.Head))
	}
	want := map[string]string{"cluster": "true 4 3", "one": "true 1 1", "two": "true 1 1", "three": "false 0 0", "four": "true 1 none"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("touched, objects in base and head (-want +got):\n%s", diff)
	}
}

// TestCompareWithSecrets: each side is built with both sentinels, where there is a Secret.
func TestCompareWithSecrets(t *testing.T) {
	const text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web, namespace: shop}\ndata: {secret: \"${PASSWORD}\", colour: %s}\n"
	base, head := fstest.MapFS{"apps/web.yaml": {Data: fmt.Appendf(nil, text, "red")}}, fstest.MapFS{"apps/web.yaml": {Data: fmt.Appendf(nil, text, "blue")}}
	env := Environment{Name: "prod", Sites: []gitops.Kustomization{{Namespace: "flux-system", Name: "apps", Path: "apps",
		Substitution: &gitops.Substitution{From: []gitops.VariableSource{{Kind: "Secret", Name: "settings"}}}}}}
	for name, secrets := range map[string][2]*Secrets{"names known": secretsOf("PASSWORD"), "names unknown": secretsOf()} {
		pairs, err := Compare(t.Context(), Side{Tree: Open(base), Environment: env}, Side{Tree: Open(head), Environment: env}, []string{"apps/web.yaml"}, secrets)
		if err != nil || len(pairs) != 1 {
			t.Fatalf("%s: %d pairs, %v", name, len(pairs), err)
		}
		for _, b := range []*Built{pairs[0].Base, pairs[0].Head} {
			first, again := at(b.Objects[0].Fields, "data", "secret"), at(b.Again[0].Fields, "data", "secret")
			if first != secrets[0].Stand.For("PASSWORD") || again != secrets[1].Stand.For("PASSWORD") {
				t.Errorf("%s: %v and %v", name, first, again)
			}
		}
	}
}

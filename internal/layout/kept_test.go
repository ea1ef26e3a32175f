package layout

import (
	"fmt"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// A Kustomization that builds itself without variables is filled with none, though it was filled before.
func TestVariablesThatAreGoneAreNotFilledIn(t *testing.T) {
	tree := Open(fstest.MapFS{"apps/apps.yaml": {Data: []byte(`apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: apps, namespace: flux-system}
spec: {path: ./apps, sourceRef: {kind: GitRepository, name: flux-system}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: a, namespace: a}
data: {version: "${version}"}
`)}})
	env := Environment{Name: "prod", Sources: []gitops.Object{{Kind: "GitRepository", Namespace: "flux-system", Name: "flux-system"}}, Sites: []gitops.Kustomization{{
		Namespace: "flux-system", Name: "apps", Path: "apps", Substitution: &gitops.Substitution{Values: map[string]string{"version": "1.0.0"}}}}}
	w, err := tree.base(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	if got := textAt(w.sites[0].objects[1].Fields, "data", "version"); got != "${version}" {
		t.Errorf("data.version is %s", got)
	}
}

// Who is surveyed together with whom makes no difference to what the same bytes feed.
func TestSurveysOfOthersBefore(t *testing.T) {
	files := fstest.MapFS{}
	app := func(file, name string) {
		files[file] = &fstest.MapFile{Data: fmt.Appendf(nil, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: %s, namespace: a}\nspec: {template: {spec: {containers: [{name: c, image: 'acme/%s:1.0.0'}]}}}\n", name, name)}
	}
	app("base/shared.yaml", "shared")
	root := func(name string, own int, resources string) {
		for i := range own {
			app(fmt.Sprintf("%s/own-%d.yaml", name, i), fmt.Sprintf("own-%d", i))
			resources += fmt.Sprintf(", own-%d.yaml", i)
		}
		files[name+"/kustomization.yaml"] = &fstest.MapFile{Data: []byte("resources: [" + resources + "]\n")}
	}
	root("a", 1, "../base/shared.yaml")
	root("ab", 3, "../base/other.yaml")
	app("base/other.yaml", "other")
	root("b", 1, "../base/shared.yaml")
	root("c", 0, "../base/other.yaml")
	tree := Open(files)
	surveys := func(tree *Tree, names ...string) (found []string) {
		var environments []Environment
		for _, name := range names {
			env, err := tree.Root(t.Context(), name, name)
			if err != nil {
				t.Fatal(err)
			}
			environments = append(environments, env)
		}
		all, err := tree.Surveys(t.Context(), environments, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range all {
			found = append(found, described(one.Fields, one.Problems))
		}
		return found
	}
	surveys(tree, "a", "ab")
	surveys(tree, "b", "c")
	if d := cmp.Diff(surveys(Open(files), "a", "b"), surveys(tree, "a", "b")); d != "" {
		t.Error(d)
	}
}

// A Tree that lives long keeps no more for another question: for another version, or after the cluster has gone on.
func TestQuestionsAreNotKept(t *testing.T) {
	tree := Open(fstest.MapFS{"clusters/prod/apps.yaml": {Data: []byte(`apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: apps, namespace: flux-system}
spec:
  path: ./apps
  sourceRef: {kind: GitRepository, name: flux-system}
  images:
  - {name: acme/web, newTag: 1.0.0}
  postBuild: {substitute: {version: 2.0.0}}
`)}, "apps/apps.yaml": {Data: []byte(`apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: a}
spec: {template: {spec: {containers: [{name: web, image: acme/web}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: a}
spec: {template: {spec: {containers: [{name: api, image: "acme/api:${version}"}]}}}
`)}})
	kept := func() (walks, builds, fillings int) {
		for _, b := range tree.builds {
			fillings = max(fillings, len(b.filled))
		}
		return len(tree.walks), len(tree.builds), fillings
	}
	env := Environment{Name: "prod", Sources: []gitops.Object{{Kind: "GitRepository", Namespace: "flux-system", Name: "flux-system"}},
		Sites: []gitops.Kustomization{{Namespace: "flux-system", Name: "flux-system", Path: "clusters/prod"}}}
	ask := func(i int) {
		env.Sites[0].Applied, env.Sites[0].Source.Revision = fmt.Sprint(i), fmt.Sprint(i)
		for _, app := range []string{"web", "api"} {
			if _, err := tree.Plan(t.Context(), env, nil, Change{Application: app, Version: fmt.Sprintf("3.0.%d", i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	ask(0)
	walks, builds, _ := kept()
	for i := range 2 * maxFilled {
		ask(i + 1)
	}
	if w, b, f := kept(); w != walks || b != builds || f > maxFilled {
		t.Errorf("%d walks were kept and then %d, %d builds and then %d, and %d fillings of one", walks, w, builds, b, f)
	}
}

package layout

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// TestKustomizationsOfThemselves: many that each build all of them end at a limit, with a sentence.
func TestKustomizationsOfThemselves(t *testing.T) {
	var text strings.Builder
	for i := range 400 {
		fmt.Fprintf(&text, "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: k%d, namespace: flux-system}\nspec: {path: ./all, prune: true, sourceRef: {kind: GitRepository, name: fleet}}\n---\n", i)
	}
	source := gitops.Source{Object: gitops.Object{Kind: "GitRepository", Namespace: "flux-system", Name: "fleet"}}
	env := Environment{Name: "prod", Sources: []gitops.Object{source.Object}, Sites: []gitops.Kustomization{{Namespace: "flux-system", Name: "all", Path: "all", Source: source}}}
	w, err := Open(fstest.MapFS{"all/all.yaml": {Data: []byte(text.String())}}).walk(t.Context(), env, view{})
	if err != nil {
		t.Fatal(err)
	}
	built, refused := 0, 0
	for _, s := range w.sites {
		built += len(s.objects)
		if s.err != nil && strings.Contains(s.err.Error(), "more than 50000 objects") {
			refused++
		}
	}
	if built > maxBuilt+20*400 || refused == 0 {
		t.Errorf("%d objects, %d refused", built, refused)
	}
}

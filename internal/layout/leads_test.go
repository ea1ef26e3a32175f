package layout

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf16"
)

// What leads an environment to shared files is followed however it is written.
func TestHowAWordIsWrittenHidesNoEnvironment(t *testing.T) {
	sync := func(name, dir string) string {
		return "apiVersion: \"kustomize.toolkit.fluxcd.io/v1\"\nkind: Kustomization\nmetadata: {name: " + name + ", namespace: flux-system}\n" +
			"spec: {path: ./" + dir + ", sourceRef: {kind: \"GitRepository\", name: flux-system}}\n"
	}
	hidden := strings.NewReplacer("toolkit", `t\x6folkit`, "GitRepository", `G\u0069tRepository`)
	wide := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(sync("apps", "base"))) {
		wide = append(wide, byte(unit), byte(unit>>8))
	}
	for name, content := range map[string][]byte{
		"plain":   []byte(sync("apps", "base")),
		"escaped": []byte(hidden.Replace(sync("apps", "base"))),
		"folded":  []byte(strings.ReplaceAll(strings.ReplaceAll(sync("apps", "base"), "toolkit", "tool\\\n  kit"), "GitRepository", "Git\\\n  Repository")),
		"wide":    wide,
	} {
		t.Run(name, func(t *testing.T) {
			tree := Open(fstest.MapFS{
				"clusters/prod/apps.yaml":   {Data: []byte(sync("apps", "base"))},
				"clusters/stage/infra.yaml": {Data: []byte(sync("infra", "infra"))},
				"infra/apps.yaml":           {Data: content},
				"base/web.yaml":             {Data: []byte("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: a}\nspec: {template: {spec: {containers: [{name: web, image: 'acme/web:1.0.0'}]}}}\n")},
			})
			env, err := tree.Root(t.Context(), "clusters/prod", "prod")
			if err != nil {
				t.Fatal(err)
			}
			stage, err := tree.Root(t.Context(), "clusters/stage", "stage")
			if err != nil {
				t.Fatal(err)
			}
			result, err := tree.Plan(t.Context(), env, []Environment{stage}, Change{Application: "web", Version: "2.0.0", Shared: true})
			if err != nil {
				t.Fatal(err)
			}
			if want := []string{"stage"}; !slices.Equal(result.AlsoFeeds, want) {
				t.Errorf("it also feeds %v, want %v", result.AlsoFeeds, want)
			}
		})
	}
}

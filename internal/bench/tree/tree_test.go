package tree

import (
	"bytes"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/render"
)

func contents(t *testing.T, tree fs.FS) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := fs.WalkDir(tree, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(tree, file)
		all[file] = string(content)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTheSameSeedGivesTheSameBytes(t *testing.T) {
	one := contents(t, Make(1))
	if diff := cmp.Diff(one, contents(t, Make(1))); diff != "" {
		t.Error(diff)
	}
	if cmp.Equal(one, contents(t, Make(2))) {
		t.Error("another seed gives the same")
	}
}

func TestThereIsAsMuchAsIsSaid(t *testing.T) {
	files := contents(t, Make(1))
	kustomizations, releases := 0, map[string]bool{}
	for file, content := range files {
		if path.Base(file) == "kustomization.yaml" {
			kustomizations++
		}
		if strings.Contains(content, "kind: HelmRelease\n") && path.Base(file) == "helmrelease.yaml" {
			releases[file] = true
		}
	}
	if n := len(files); n != 1700 {
		t.Errorf("%d YAML files", n)
	}
	if n := len(releases); n != 600 {
		t.Errorf("%d HelmReleases", n)
	}
	if kustomizations < 400 {
		t.Errorf("%d kustomizations", kustomizations)
	}
}

// TestEveryRootBuilds builds what each root's Flux does, with the files that all of them read.
func TestEveryRootBuilds(t *testing.T) {
	tree := Make(1)
	reads := map[string]int{}
	for root := range Roots {
		for dir, want := range map[string]int{Dir(root): 0, "apps/" + name(root): own, "platform/overlays/" + name(root): shared} {
			k := gitops.Kustomization{Path: dir}
			built, err := render.Build(t.Context(), tree, k)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range built.Files {
				reads[f]++
			}
			releases := 0
			for _, o := range built.Objects {
				if o.Kind == "HelmRelease" {
					releases++
				}
			}
			if releases != want {
				t.Errorf("%s: %d HelmReleases, want %d", dir, releases, want)
			}
		}
	}
	everywhere := 0
	for _, n := range reads {
		if n >= Roots {
			everywhere++
		}
	}
	if everywhere < len(contents(t, tree))/10 {
		t.Errorf("%d files are read by all roots", everywhere)
	}
}

func TestNothingIsLeftOfAFormat(t *testing.T) {
	for file, content := range contents(t, Make(1)) {
		if bytes.Contains([]byte(content), []byte("%!")) {
			t.Errorf("%s:\n%s", file, content)
		}
	}
}

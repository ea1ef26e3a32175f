package layout

import (
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/manifest"
	"github.com/ferry-chatops/ferry/internal/render"
)

// A part of a build is what the whole makes of the same files, whatever scalar changes in them.
func TestAPartIsBuiltAsTheWholeIs(t *testing.T) {
	parts, scalars := 0, 0
	for name, one := range fluxTrees(t) {
		t.Run(name, func(t *testing.T) {
			var fields map[string]any
			if err := yaml.Unmarshal(one.flux, &fields); err != nil {
				t.Fatal(err)
			}
			k, ok := kustomization(render.Object{Object: gitops.Object{Kind: "Kustomization"}, Fields: fields})
			if !ok {
				t.Skip("no Kustomization")
			}
			whole, err := render.Build(t.Context(), one.files, k)
			if err != nil {
				t.Skip("it does not build: ", err)
			}
			p, s := compareParts(t, whole, one.files, k)
			parts, scalars = parts+p, scalars+s
		})
	}
	if parts < 30 || scalars < 300 {
		t.Errorf("only %d parts and %d scalars", parts, scalars)
	}
}

// In these trees something that a part leaves out, or finds by another name, makes no difference until a version changes.
func TestAPartSeesWhatMakesNoDifferenceYet(t *testing.T) {
	found, err := filepath.Glob("testdata/parts/*.txtar")
	if err != nil || len(found) == 0 {
		t.Fatalf("no trees: %v", err)
	}
	for _, file := range found {
		t.Run(filepath.Base(file), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			files := fstest.MapFS{}
			for _, f := range archive.Files {
				files[f.Name] = &fstest.MapFile{Data: f.Data, Mode: 0o644}
			}
			k := gitops.Kustomization{Path: "."}
			whole, err := render.Build(t.Context(), files, k)
			if err != nil {
				t.Fatal(err)
			}
			compareParts(t, whole, files, k)
		})
	}
}

// compareParts changes every scalar of every file that has a part, and counts both.
func compareParts(t *testing.T, whole render.Built, files fstest.MapFS, k gitops.Kustomization) (parts, scalars int) {
	t.Helper()
	for _, file := range whole.Files {
		part, ok := whole.Part(t.Context(), files, k, []string{file})
		if !ok {
			continue
		}
		parts++
		parsed, err := manifest.Parse(files[file].Data)
		if err != nil {
			continue
		}
		var all []manifest.Scalar
		parsed.Scalars(func(s manifest.Scalar) bool { all = append(all, s); return true })
		for _, s := range all {
			content, err := parsed.Trial([]manifest.Replacement{{Scalar: s, Value: s.Value + "9"}})
			if err != nil {
				continue
			}
			changed := map[string][]byte{file: content}
			objects, ok := part.Build(t.Context(), whole.Objects, changed)
			if !ok {
				continue
			}
			scalars++
			want, err := render.Build(t.Context(), render.With(files, changed), k)
			if err != nil {
				t.Errorf("%s %s: the whole does not build: %v", file, s.Path, err)
				continue
			}
			got := slices.Clone(whole.Objects)
			for i, o := range objects {
				got[part.Places[i]] = o
			}
			if d := cmp.Diff(want.Objects, got); d != "" {
				t.Errorf("%s %s: %s", file, s.Path, d)
			}
		}
	}
	return parts, scalars
}

package layout

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
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
			for _, file := range whole.Files {
				part, ok := whole.Part(t.Context(), one.files, k, []string{file})
				if !ok {
					continue
				}
				parts++
				parsed, err := manifest.Parse(one.files[file].Data)
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
					want, err := render.Build(t.Context(), render.With(one.files, changed), k)
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
		})
	}
	if parts < 30 || scalars < 300 {
		t.Errorf("only %d parts and %d scalars", parts, scalars)
	}
}

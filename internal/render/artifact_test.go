package render

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

func TestArtifact(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"defaults": {map[string]string{"a.yaml": "", ".github/workflows/ci.yaml": "", "docs/logo.png": "", "deep/.sops.yaml": "", "cloudbuild.yaml": "", ".gitignore": "", "deep/b.yaml": ""},
			[]string{"a.yaml", "deep/b.yaml"}},
		"own in place of the defaults": {map[string]string{".sourceignore": "# all\n\n/*\n!/clusters\n", "a.yaml": "", "clusters/logo.png": "", "clusters/.gitignore": ""},
			[]string{"clusters/.gitignore", "clusters/logo.png"}},
		"a comment alone is none": {map[string]string{".sourceignore": "# none\n", "logo.png": ""}, []string{".sourceignore"}},
		"below its directory":     {map[string]string{"x/.sourceignore": "b.yaml\n", "b.yaml": "", "x/b.yaml": "", "x/y/b.yaml": ""}, []string{"b.yaml", "x/.sourceignore"}},
		"the inner wins": {map[string]string{".sourceignore": "*.yaml\n", ".a/.sourceignore": "!*.yaml\n", ".a/b.yaml": "", "b.yaml": ""},
			[]string{".a/.sourceignore", ".a/b.yaml", ".sourceignore"}},
		"directories": {map[string]string{".sourceignore": "drafts/\n", "drafts/a.yaml": "", "x/drafts/a.yaml": "", "x/drafts.yaml": ""}, []string{".sourceignore", "x/drafts.yaml"}},
	} {
		t.Run(name, func(t *testing.T) {
			shown := Artifact(tree(tc.files))
			var got []string
			if err := fs.WalkDir(shown, ".", func(at string, e fs.DirEntry, err error) error {
				if err == nil && !e.IsDir() {
					got = append(got, at)
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
			for f := range tc.files {
				if _, err := fs.Stat(shown, f); (err == nil) != slices.Contains(tc.want, f) {
					t.Errorf("%s: %v", f, err)
				}
			}
			if err := fstest.TestFS(shown, tc.want...); err != nil {
				t.Error(err)
			}
		})
	}
}

// source-controller leaves out what is no regular file.
func TestArtifactHasNoLinks(t *testing.T) {
	dir := t.TempDir()
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "real"), 0o755), os.WriteFile(filepath.Join(dir, "real", "a.yaml"), nil, 0o644),
		os.Symlink("a.yaml", filepath.Join(dir, "real", "link.yaml")), os.Symlink("real", filepath.Join(dir, "dir")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	shown := Artifact(os.DirFS(dir))
	for file, there := range map[string]bool{"real/a.yaml": true, "real/link.yaml": false, "dir/a.yaml": false} {
		if _, err := fs.Stat(shown, file); (err == nil) != there {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestArtifactRefusesTooManyPatterns(t *testing.T) {
	files := map[string]string{".sourceignore": strings.Repeat("a\n", maxMatches/1000+1)}
	for i := range 1000 {
		files[strings.Repeat("b", i+1)] = ""
	}
	_, err := fs.Stat(Artifact(tree(files)), "b")
	refused(t, err, gitops.Layout)
}

func TestLeftOut(t *testing.T) {
	source := gitops.Object{Kind: "GitRepository", Namespace: "flux-system", Name: "fleet"}
	files := []string{"apps/a.yaml", "clusters/prod/apps.yaml"}
	if err := LeftOut(source, "# only these\n/*\n!/apps\n!/clusters\n", files); err != nil {
		t.Error(err)
	}
	refused(t, LeftOut(source, "/*\n!/apps\n", files), gitops.OutsideSource)
	refused(t, LeftOut(source, strings.Repeat("a\n", maxMatches/2+1), files), gitops.Layout)
}

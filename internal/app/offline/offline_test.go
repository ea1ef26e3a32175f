package offline

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// checkout is a directory with files, and links by what they point to.
func checkout(t *testing.T, files, links map[string]string) (*Checkout, string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range links {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, dir
}

func listed(t *testing.T, tree fs.FS) (names []string) {
	t.Helper()
	if err := fs.WalkDir(tree, ".", func(name string, _ fs.DirEntry, err error) error {
		names = append(names, name)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return names
}

func TestLinksAreNotThere(t *testing.T) {
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret.yaml"), []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _ := checkout(t, map[string]string{"apps/a.yaml": "a", ".git/config": "x", "apps/.git": "gitdir: elsewhere"},
		map[string]string{"apps/link.yaml": "a.yaml", "apps/out.yaml": filepath.Join(outside, "secret.yaml"), "away": outside, "same": "apps"})
	if diff := cmp.Diff([]string{".", "apps", "apps/a.yaml"}, listed(t, c)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, name := range []string{"apps/link.yaml", "apps/out.yaml", "away", "away/secret.yaml", "same/a.yaml", ".git/config", "../x", "/etc/passwd", ""} {
		if content, err := fs.ReadFile(c, name); err == nil {
			t.Errorf("%s is read: %q", name, content)
		}
		if _, err := fs.Stat(c, name); err == nil {
			t.Errorf("%s is there", name)
		}
		if f, err := c.Open(name); err == nil {
			f.Close()
			t.Errorf("%s is opened", name)
		}
	}
	if content, err := fs.ReadFile(c, "apps/a.yaml"); err != nil || string(content) != "a" {
		t.Errorf("%q, %v", content, err)
	}
}

func TestWriteReplacesAndAddsWholeFiles(t *testing.T) {
	c, dir := checkout(t, map[string]string{"a.yaml": "old", "b/b.yaml": "old b"}, nil)
	if err := os.Chmod(filepath.Join(dir, "a.yaml"), 0o755); err != nil { //nolint:gosec // the mode is what is tested
		t.Fatal(err)
	}
	err := c.Write([]gitops.File{{Path: "a.yaml", Content: []byte("new")}, {Path: "b/added.yaml", Content: []byte("more")}},
		map[string][]byte{"a.yaml": []byte("old")})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{".", "a.yaml", "b", "b/added.yaml", "b/b.yaml"}, listed(t, c)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for name, want := range map[string]string{"a.yaml": "new", "b/b.yaml": "old b", "b/added.yaml": "more"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "a.yaml")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestNothingIsWrittenOverAnothersChange(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "target")
	if err := os.WriteFile(outside, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, dir := checkout(t, map[string]string{"a.yaml": "old", "b.yaml": "changed"}, map[string]string{"link.yaml": outside})
	for file, before := range map[string]map[string][]byte{
		"b.yaml":      {"a.yaml": []byte("old"), "b.yaml": []byte("old b")},
		"link.yaml":   {"a.yaml": []byte("old"), "link.yaml": []byte("old")},
		"gone.yaml":   {"a.yaml": []byte("old"), "gone.yaml": []byte("x")},
		"../out.yaml": {"a.yaml": []byte("old")},
	} {
		err := c.Write([]gitops.File{{Path: "a.yaml", Content: []byte("new")}, {Path: file, Content: []byte("new")}}, before)
		if err == nil {
			t.Errorf("%s was written", file)
		}
		if r := (*gitops.Refusal)(nil); file == "b.yaml" && (!errors.As(err, &r) || r.Code != gitops.Changed) {
			t.Errorf("%s: %v", file, err)
		}
	}
	if diff := cmp.Diff([]string{".", "a.yaml", "b.yaml"}, listed(t, c)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, name := range []string{filepath.Join(dir, "a.yaml"), outside} {
		if got, err := os.ReadFile(name); err != nil || string(got) != "old" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

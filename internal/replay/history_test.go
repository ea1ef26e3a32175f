package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// repository makes one of commits, each a set of files; an empty text removes a file.
func repository(t *testing.T, commits ...map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull,
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com"}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git("init", "--quiet", "--initial-branch=main", ".")
	for _, files := range commits {
		for name, content := range files {
			at := filepath.Join(dir, name)
			if content == "" {
				if err := os.Remove(at); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if err := os.MkdirAll(filepath.Dir(at), 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(at, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		git("add", "--all")
		git("commit", "--quiet", "--message=x")
	}
	return dir
}

func TestHistory(t *testing.T) {
	dir := repository(t,
		map[string]string{"a.yaml": "version: 1.0.0\n", "b c/ü.yml": "tag: v1\n", "README.md": "x"},
		map[string]string{"a.yaml": "version: 1.0.1\n"},
		map[string]string{"a.yaml": "version: 1.0.2\n", "README.md": "y"},                            // what is not YAML does not matter
		map[string]string{"README.md": "z"},                                                          // no YAML
		map[string]string{"a.yaml": "version: 1.0.3\n", "new.yaml": "a: b\n"},                        // a file more
		map[string]string{"a.yaml": "version: 1.0.4\n", "new.yaml": ""},                              // a file less
		map[string]string{"a.yaml": "version: 1.0.5\n", "b c/ü.yml": "tag: v2\nmore: true\n"},        // more than versions
		map[string]string{"a.yaml": "version: 1.0.6\n", "b c/ü.yml": "tag: v3\nmore: true\n# end\n"}, // a line more
		map[string]string{"a.yaml": "version: 1.0.7\n", "b c/ü.yml": "tag: v4\nmore: true\n# end\n"},
	)
	for _, at := range []string{dir, filepath.Join(dir, ".git")} {
		h, err := open(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		blobs, err := h.objects(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		if err := h.commits(t.Context(), func(c commit) error {
			found, err := c.versions(blobs)
			for _, b := range found {
				got = append(got, b.file+" "+b.old+" "+b.new)
			}
			if err == nil || err == errOther { //nolint:errorlint // never wrapped
				return nil
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if err := blobs.close(); err != nil {
			t.Error(err)
		}
		want := []string{"a.yaml 1.0.6 1.0.7", "b c/ü.yml v3 v4", "a.yaml 1.0.1 1.0.2", "a.yaml 1.0.0 1.0.1"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	if _, err := open(t.Context(), t.TempDir()); err == nil {
		t.Error("an empty directory is a repository")
	}
}

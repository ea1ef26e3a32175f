package operation

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ferry-chatops/ferry/internal/compare"
)

// TestPatchesAreTakenByGit applies each patch with git and compares bytes.
func TestPatchesAreTakenByGit(t *testing.T) {
	long := strings.Repeat("x: 1\n", 30)
	for name, test := range map[string]struct {
		file, before, after string
		added               bool
	}{
		"one line":                 {"a.yaml", "a: 1\nb: 2\nc: 3\n", "a: 1\nb: 9\nc: 3\n", false},
		"the only line":            {"a.yaml", "a: 1\n", "a: 2\n", false},
		"no final newline":         {"a.yaml", "a: 1\nb: 2", "a: 1\nb: 3", false},
		"CRLF":                     {"a.yaml", "a: 1\r\nb: 2\r\n", "a: 1\r\nb: 3\r\n", false},
		"far apart":                {"a.yaml", "a: 1\n" + long + "b: 1\n" + long + "c: 1\n", "a: 2\n" + long + "b: 2\n" + long + "c: 2\n", false},
		"close to one another":     {"a.yaml", "a: 1\nb: 1\nc: 1\nd: 1\n", "a: 2\nb: 1\nc: 1\nd: 2\n", false},
		"more lines":               {"a.yaml", long + "a: 1\n" + long, long + "a: 1\nb: 2\nc: 3\n" + long, false},
		"more lines at the end":    {"a.yaml", long, long + "b: 2\n", false},
		"more lines at the start":  {"a.yaml", long, "b: 2\n" + long, false},
		"fewer lines":              {"a.yaml", "a: 1\nb: 2\nc: 3\n", "a: 1\nc: 3\n", false},
		"was empty":                {"a.yaml", "", "a: 1\n", false},
		"a new file":               {"apps/new.yaml", "", "a: 1\nb: 2\n", true},
		"a name with blanks":       {"my apps/a file.yaml", "a: 1\n", "a: 2\n", false},
		"a name with other things": {"q\"u\\o\t\n.yaml", "a: 1\n", "a: 2\n", false},
		"a name beyond ASCII":      {"bücher/ü.yaml", "a: ü\n", "a: ö\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			at := filepath.Join(dir, test.file)
			if err := os.MkdirAll(filepath.Dir(at), 0o750); err != nil {
				t.Fatal(err)
			}
			before := []byte(test.before)
			if test.added {
				before = nil
			} else if err := os.WriteFile(at, before, 0o600); err != nil {
				t.Fatal(err)
			}
			patch := Patch(test.file, before, []byte(test.after))
			git := exec.Command("git", "apply", "--verbose", "-")
			git.Dir, git.Stdin = dir, strings.NewReader(patch)
			git.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CEILING_DIRECTORIES=" + filepath.Dir(dir)}
			if out, err := git.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s\n%s", err, out, patch)
			}
			if got, err := os.ReadFile(at); err != nil || string(got) != test.after {
				t.Errorf("got %q, want %q, %v\n%s", got, test.after, err, patch)
			}
		})
	}
}

func TestPatchShowsThreeLinesAround(t *testing.T) {
	before := "1\n2\n3\n4\n5\n6\n7\n8\n9\n"
	want := "diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+x\n 6\n 7\n 8\n"
	if got := Patch("f", []byte(before), []byte(strings.Replace(before, "5", "x", 1))); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := Patch("f", []byte(before), []byte(before)); got != "" {
		t.Errorf("of the same: %q", got)
	}
}

func TestCountLines(t *testing.T) {
	for _, tc := range []struct {
		before, after           string
		changed, added, removed int
	}{
		{"a\nb\nc\n", "a\nb\nc\n", 0, 0, 0},
		{"a\nb\nc\n", "a\nx\nc\n", 1, 0, 0},
		{"a\nb\nc\n", "x\nb\ny\n", 2, 0, 0},
		{"a\nc\n", "a\nb\nb\nc\n", 0, 2, 0},
		{"a\nb\nc\n", "a\nc\n", 0, 0, 1},
		{"a: {b: 1}\nc\n", "a:\n  b: 2\n  d: 3\nc\n", 1, 2, 0},
		{"a", "a\n", 1, 0, 0},
		{"", "a\nb\n", 0, 2, 0},
	} {
		changed, added, removed := compare.CountLines([]byte(tc.before), []byte(tc.after))
		if changed != tc.changed || added != tc.added || removed != tc.removed {
			t.Errorf("%q to %q: %d changed, %d added, %d removed", tc.before, tc.after, changed, added, removed)
		}
		if tc.before == "" {
			continue
		}
		minus, plus := 0, 0
		for i, line := range strings.Split(Patch("x", []byte(tc.before), []byte(tc.after)), "\n") {
			if i > 2 && strings.HasPrefix(line, "-") {
				minus++
			} else if i > 2 && strings.HasPrefix(line, "+") {
				plus++
			}
		}
		if minus != changed+removed || plus != changed+added {
			t.Errorf("%q to %q: the patch has %d and %d lines", tc.before, tc.after, minus, plus)
		}
	}
}

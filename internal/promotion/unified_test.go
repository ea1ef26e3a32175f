package promotion

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// gitDiff lets git compare two texts, under the same name.
func gitDiff(t *testing.T, before, after string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"a": before, "b": after} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "f.yaml"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "git", "diff", "--no-index", "--no-color", "--no-ext-diff", "--no-prefix", "-U3", "a/f.yaml", "b/f.yaml")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output() // exit status 1 says that they differ
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() > 1 {
		t.Fatalf("git diff: %v: %s", err, &stderr)
	}
	_, diff, ok := strings.Cut(string(out), "\n--- ")
	if !ok {
		t.Fatalf("git says:\n%s", out)
	}
	var lines []string
	for line := range strings.SplitSeq("--- "+diff, "\n") {
		if strings.HasPrefix(line, "@@") { // git adds the nearest line without indentation
			line = line[:strings.LastIndex(line, "@@")+2]
		}
		lines = append(lines, strings.TrimSuffix(line, "\r"))
	}
	return strings.Join(lines, "\n")
}

func TestUnifiedIsGitsDiff(t *testing.T) {
	const nine = "1\n2\n3\n4\n5\n6\n7\n8\n9\n"
	for name, texts := range map[string][2]string{
		"middle":                  {nine, strings.Replace(nine, "5", "five", 1)},
		"first line":              {nine, strings.Replace(nine, "1", "one", 1)},
		"second line":             {nine, strings.Replace(nine, "2", "two", 1)},
		"fourth line":             {nine, strings.Replace(nine, "4", "four", 1)},
		"last but three":          {nine, strings.Replace(nine, "6", "six", 1)},
		"last but one":            {nine, strings.Replace(nine, "8", "eight", 1)},
		"last line":               {nine, strings.Replace(nine, "9", "nine", 1)},
		"two neighbours":          {nine, strings.Replace(nine, "5\n6", "five\nsix", 1)},
		"no final newline":        {strings.TrimSpace(nine), strings.Replace(strings.TrimSpace(nine), "9", "nine", 1)},
		"no final newline far":    {strings.TrimSpace(nine), strings.Replace(strings.TrimSpace(nine), "2", "two", 1)},
		"no final newline in":     {strings.TrimSpace(nine), strings.Replace(strings.TrimSpace(nine), "7", "seven", 1)},
		"CRLF":                    {strings.ReplaceAll(nine, "\n", "\r\n"), strings.Replace(strings.ReplaceAll(nine, "\n", "\r\n"), "5", "five", 1)},
		"one line":                {"version: 1\n", "version: 2\n"},
		"one line, no end":        {"version: 1", "version: 2"},
		"two lines":               {"a\nb\n", "a\nc\n"},
		"repeated lines":          {"a\na\na\na\na\na\na\na\n", "a\na\na\nb\na\na\na\na\n"},
		"lines that look like it": {"--- a\n+++ b\n@@ -1 +1 @@\n-x\n", "--- a\n+++ b\n@@ -1 +1 @@\n-y\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got := unified("f.yaml", []byte(texts[0]), []byte(texts[1]))
			if diff := cmp.Diff(gitDiff(t, texts[0], texts[1]), got); diff != "" {
				t.Errorf("-git +ferry:\n%s", diff)
			}
		})
	}
}

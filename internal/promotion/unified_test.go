package promotion

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/compare"
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

// A diff shows the lines beside the version to a whole channel, and to whoever reads the pull request.
func TestUnifiedMasksSecrets(t *testing.T) {
	const canary = "hunter2"
	for name, text := range map[string]string{
		"plain":               "adminPassword: hunter2\n§",
		"behind":              "§password: hunter2\n",
		"quoted, all signs":   "password: \"a, {b} # hunter2\" # hunter2\n§",
		"single quotes":       "api-key: 'it''s, hunter2'\n§",
		"quoted key":          "\"token\": hunter2\n§",
		"JSON":                "{\"user\":\"x\",\"password\":\"y, hunter2\",\"a\":1}\n§",
		"braces":              "db: {password: hunter2, name: x}\n§",
		"last in braces":      "db: {name: x, clientSecret: hunter2}\n§",
		"list":                "tokens: \n- hunter2\n- hunter2\n§",
		"list of maps":        "- credential: hunter2\n  user: x\n§",
		"block":               "privateKey: |\n  first\n\n  hunter2\n§",
		"folded, continued":   "passphrase: one\n  hunter2\n§",
		"map":                 "credentials:\n  user: hunter2\n  more:\n  - hunter2\n§",
		"block far above":     "secret: >-\n  1\n  2\n  3\n  4\n  5\n  6\n  hunter2\n§",
		"env":                 "env:\n- name: DB_PASSWORD\n  value: hunter2\n§",
		"env, quoted":         "env:\n  - name: \"API_TOKEN\"\n    value: \"hunter2\"\n§",
		"argument":            "args: [--db-password=hunter2, -v]\n§",
		"address":             "url: postgres://app:hunter2@db.example/app\n§",
		"CRLF":                "password: hunter2\r\n§",
		"in the line itself":  "spec: {token: hunter2, §}\n",
		"without a final end": "§password: hunter2",
	} {
		t.Run(name, func(t *testing.T) {
			before, after := "version: 1.0.0", "version: 2.0.0"
			put := func(version string) []byte {
				if name != "in the line itself" {
					version += "\n"
				}
				return []byte(strings.Replace(text, "§", version, 1))
			}
			got := unified("f.yaml", put(before), put(after))
			if strings.Contains(got, canary) || !strings.Contains(got, compare.Masked) {
				t.Errorf("the diff is\n%s", got)
			}
			for sign, version := range map[string]string{"-": before, "+": after} {
				if !strings.Contains(got, "\n"+sign) || !strings.Contains(got, version) {
					t.Errorf("without %s%s:\n%s", sign, version, got)
				}
			}
		})
	}
}

// A line is read once, whatever it holds.
func TestMaskingTakesNoTime(t *testing.T) {
	for _, part := range []string{"secretName: ", "{secretName: ", "token", "password=", "{password: x},", "://a:", "\"token\":"} {
		begin := time.Now()
		compare.Lines([]string{strings.Repeat(part, 1<<19/len(part)) + "\n"})
		if took := time.Since(begin); took > 5*time.Second { // it would be, going back over the line for each
			t.Errorf("%q takes %s", part, took)
		}
	}
}

// What only sounds like a secret stays readable, the changed line first of all.
func TestUnifiedShowsWhatIsNotSecret(t *testing.T) {
	for name, text := range map[string]string{
		"image of a service": "  - name: token-issuer\n    image: registry.example.com:5000/acme/token-issuer:§\n    ports: []\n",
		"image in braces":    "containers: [{name: secret-sync, image: \"acme/secret-sync:§\"}]\n",
		"kustomize image":    "images:\n- name: acme/credential-proxy\n  newTag: \"§\"\n",
		"chart":              "chart: token-exchange\nversion: §\n",
		"names of Secrets":   "secretName: tls\nexistingSecret: db\ntokenSecretName: x\nversion: §\nsecretKeyRef:\n  name: db\n  key: user\n",
		"references":         "secretRef: {name: registry}\nversion: §\nimagePullSecrets: [{name: pull}]\n",
		"files and switches": "tokenFile: /etc/token\nversion: §\nautomountServiceAccountToken: false\n",
		"ports":              "version: §\nurl: https://charts.example.com:8443/a@b\n",
	} {
		t.Run(name, func(t *testing.T) {
			before, after := strings.Replace(text, "§", "1.0.0", 1), strings.Replace(text, "§", "2.0.0", 1)
			if diff := cmp.Diff(gitDiff(t, before, after), unified("f.yaml", []byte(before), []byte(after))); diff != "" {
				t.Errorf("-git +ferry:\n%s", diff)
			}
		})
	}
}

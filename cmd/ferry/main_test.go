package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/kubeshop/botkube/pkg/api"

	"github.com/ferry-chatops/ferry/internal/blueprint"
	"github.com/ferry-chatops/ferry/internal/helm"
	"github.com/ferry-chatops/ferry/internal/plugin/executor"
)

// TestMain makes the test binary the plugin too, and what renders charts.
func TestMain(m *testing.M) {
	if helm.Work() {
		return
	}
	if os.Getenv(api.HandshakeConfig.MagicCookieKey) == "" {
		os.Exit(m.Run())
	}
	about := executor.About{Version: "v1.2.3", Description: "Answers tests"}
	executor.Serve(executor.New(echo{}, about, slog.New(slog.DiscardHandler)))
}

// echo tells what it was given.
type echo struct{}

func (echo) Respond(_ context.Context, in executor.Input) []api.Message {
	text := fmt.Sprintf("%s|%s|%s|%s|%t|%s", in.Line, in.Kubeconfig, in.DisplayName, in.Mention, in.Interactive, os.Getenv("EXTRA"))
	for _, config := range in.Configs {
		text += "|" + string(config)
	}
	m := api.NewPlaintextMessage(text, false)
	if strings.Contains(in.Line, "refuse") {
		m.Type = blueprint.Refused
	}
	return []api.Message{m}
}

// ferry runs a command line and gives the exit code and both outputs.
func ferry(t *testing.T, input string, args ...string) (code int, out, log string) {
	t.Helper()
	dir := t.TempDir()
	file := func(name, content string) *os.File {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	stdin, stdout, stderr := file("in", input), file("out", ""), file("err", "")
	code = run(t.Context(), args, terminal{in: stdin, out: stdout, err: stderr})
	return code, read(t, stdout.Name()), read(t, stderr.Name())
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// plugins is a directory with the plugin. What a user's own files and variables hold is out of the test's sight.
func plugins(t *testing.T) string {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(program, filepath.Join(dir, fmt.Sprintf("executor_ferry_%s_%s", runtime.GOOS, runtime.GOARCH))); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", dir)
	t.Setenv("KUBECONFIG", "")
	t.Setenv("FERRY_CONFIG", "")
	t.Chdir(dir)
	return dir
}

func TestRunExitCodes(t *testing.T) {
	dir := plugins(t)
	for name, test := range map[string]struct {
		args []string
		code int
		out  string
		log  string
	}{
		"an answer":                {[]string{"run", "--plugins", dir, "--as", "ada", "--", "list"}, 0, "ferry list||ada||true|\n", ""},
		"one argument is the line": {[]string{"run", "--plugins", dir, "--as", "ada", "--", "list  'x y'"}, 0, "ferry list  'x y'||ada||true|\n", ""},
		"several get their quotes": {[]string{"run", "--plugins", dir, "--as", "ada", "--", "promote", "--reason", "time to go", ""}, 0, "ferry promote --reason \"time to go\" \"\"||ada||true|\n", ""},
		"a reason with quotes":     {[]string{"run", "--plugins", dir, "--as", "ada", "--", "promote", "--reason", `it's "time"`}, 0, "ferry promote --reason it%27s%20%22time%22||ada||true|\n", ""},
		"one behind an =":          {[]string{"run", "--plugins", dir, "--as", "ada", "--", "promote", `--reason=+1 "x"`}, 0, "ferry promote --reason=%2B1%20%22x%22||ada||true|\n", ""},
		"a refusal":                {[]string{"run", "--plugins", dir, "--as", "ada", "--", "refuse"}, 1, "ferry refuse||ada||true|\n", ""},
		"for text platforms":       {[]string{"run", "--plugins", dir, "--as", "ada", "--mention", "<@U1>", "--text-only", "--", "x"}, 0, "ferry x||ada|<@U1>|false|\n", ""},
		"no line":                  {[]string{"run", "--plugins", dir}, 2, "", "expected \"<line> ...\""},
		"both kinds of quotes":     {[]string{"run", "--plugins", dir, "--", "a", `"'`}, 2, "", "both kinds of quotes"},
		"no plugin":                {[]string{"run", "--plugins", filepath.Join(dir, "absent"), "--", "list"}, 2, "", "look for plugins"},
		"no such configuration":    {[]string{"run", "--plugins", dir, "--config", "absent.yaml", "--", "list"}, 2, "", "read configuration"},
		"no such kubeconfig":       {[]string{"run", "--plugins", dir, "--kubeconfig", "absent", "--", "list"}, 2, "", "read kubeconfig"},
		"several kubeconfigs":      {[]string{"run", "--plugins", dir, "--kubeconfig", "a" + string(filepath.ListSeparator) + "b", "--", "list"}, 2, "", "several files"},
		"an unknown command":       {[]string{"deploy"}, 2, "", "unexpected argument deploy"},
		"a line for chat":          {[]string{"promote", "web@1.5.0", "to", "prod"}, 2, "", "here, write: ferry run -- promote web@1.5.0 to prod"},
		"nobody's mention":         {[]string{"run", "--plugins", dir, "--mention", "jane", "--", "list"}, 2, "", "--mention is written as"},
		"an automation":            {[]string{"run", "--plugins", dir, "--as", `Automation "a"`, "--mention", `Automation "a"`, "--", "x"}, 0, "ferry x||Automation \"a\"|Automation \"a\"|true|\n", ""},
		"an unknown output":        {[]string{"run", "--output", "xml", "--", "list"}, 2, "", "--output"},
		"a check":                  {[]string{"check", "--plugins", dir, "--as", "ada"}, 0, "ferry check||ada||true|\n", ""},
		"a check of one":           {[]string{"check", "--plugins", dir, "--as", "ada", "prod"}, 0, "ferry check prod||ada||true|\n", ""},
		"a check that fails":       {[]string{"check", "--plugins", dir, "--as", "ada", "refuse"}, 1, "ferry check refuse||ada||true|\n", ""},
		"a check without a plugin": {[]string{"check", "--plugins", filepath.Join(dir, "absent")}, 2, "", "look for plugins"},
		"the version":              {[]string{"version"}, 0, version + "\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, log := ferry(t, "", test.args...)
			if code != test.code || out != test.out || !strings.Contains(log, test.log) || test.log == "" && log != "" {
				t.Errorf("code %d, want %d\nstandard output %q, want %q\nstandard error %q, want %q", code, test.code, out, test.out, log, test.log)
			}
		})
	}
}

func TestHelpNamesTheCommands(t *testing.T) {
	for _, args := range [][]string{{"--help"}, nil} {
		code, out, log := ferry(t, "", args...)
		for _, command := range []string{"chat", "run <line>", "check [<environment>]", "index build", "version"} {
			if code != 0 || log != "" || !strings.Contains(out, "  "+command) {
				t.Errorf("%q: code %d, no %s in:\n%s%s", args, code, command, out, log)
			}
		}
	}
}

func TestRunAsJSON(t *testing.T) {
	_, out, _ := ferry(t, "", "run", "--plugins", plugins(t), "--output", "json", "--mention", "<@U1>", "--", "refuse")
	var messages []api.Message
	if err := json.Unmarshal([]byte(out), &messages); err != nil {
		t.Fatal(err)
	}
	if len(messages) != 1 || messages[0].Type != blueprint.Refused || !strings.Contains(out, "<@U1>") {
		t.Errorf("output %s", out)
	}
}

func TestFilesAreFoundAndHandedOver(t *testing.T) {
	dir := plugins(t)
	write := func(name, content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("ferry.yaml", "here")
	write("a.yaml", "one")
	write("b.yaml", "two")
	write(".kube/config", "home")
	write("kube", "named")
	base := []string{"run", "--plugins", dir, "--as", "ada"}

	for name, test := range map[string]struct {
		environment map[string]string
		args        []string
		want        string
	}{
		"by their usual names":      {nil, nil, "home|ada||true||here"},
		"by flags":                  {nil, []string{"--config", "a.yaml", "--config", "b.yaml", "--kubeconfig", "kube"}, "named|ada||true||one|two"},
		"by the environment":        {map[string]string{"FERRY_CONFIG": "b.yaml", "KUBECONFIG": "kube"}, nil, "named|ada||true||two"},
		"a variable for the plugin": {map[string]string{"EXTRA": "x", "OTHER": "y"}, []string{"--env", "EXTRA"}, "home|ada||true|x|here"},
		"a variable not asked for":  {map[string]string{"EXTRA": "x"}, nil, "home|ada||true||here"},
	} {
		t.Run(name, func(t *testing.T) {
			for name, value := range test.environment {
				t.Setenv(name, value)
			}
			code, out, log := ferry(t, "", append(append(base, test.args...), "--", "list")...)
			if want := "ferry list|" + test.want + "\n"; code != 0 || out != want {
				t.Errorf("code %d, output %q, want %q; %s", code, out, want, log)
			}
		})
	}
}

func TestChatFromAPipe(t *testing.T) {
	code, out, log := ferry(t, "list\nrefuse\nquit\n", "chat", "--plugins", plugins(t), "--as", "ada")
	want := "> ferry list\nferry list||ada||true|\n\n> ferry refuse\nferry refuse||ada||true|\n\n"
	if code != 0 || out != want || log != "" {
		t.Errorf("code %d, output %q, want %q; %s", code, out, want, log)
	}
}

func TestIndexBuild(t *testing.T) {
	dir := plugins(t)
	file := filepath.Join(dir, "index.yaml")
	if code, _, log := ferry(t, "", "index", "build", "--binaries", dir, "--url-base", "https://example.org/v1.2.3", "--output", file); code != 0 {
		t.Fatal(log)
	}
	if index := read(t, file); !strings.Contains(index, "url: https://example.org/v1.2.3/executor_ferry_") {
		t.Errorf("index:\n%s", index)
	}
	if code, out, log := ferry(t, "", "run", "--plugins", file, "--as", "ada", "--", "list"); code != 0 || out != "ferry list||ada||true|\n" {
		t.Errorf("through the index: code %d, output %q; %s", code, out, log)
	}
}

func TestTokenOfGitHubsTool(t *testing.T) {
	dir := plugins(t)
	t.Setenv("GH_CONFIG_DIR", dir)
	t.Setenv("GH_PATH", filepath.Join(dir, "absent"))
	t.Setenv("GITHUB_TOKEN", "")
	t.Setenv("GH_TOKEN", "")
	code, _, log := ferry(t, "", "run", "--plugins", dir, "--github-token-from-gh", "--", "list")
	if code != 2 || !strings.Contains(log, "gh auth login") {
		t.Errorf("code %d, %s", code, log)
	}
	t.Setenv("GH_TOKEN", "not-a-real-token")
	if token, err := githubToken(); err != nil || token != "not-a-real-token" {
		t.Errorf("token %q, %v", token, err)
	}
}

func TestInterruptHasItsCode(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	in, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if code := run(ctx, []string{"run", "--plugins", plugins(t), "--", "list"}, terminal{in: in, out: in, err: in}); code != exitInterrupted {
		t.Errorf("code %d, want %d", code, exitInterrupted)
	}
}

// TestBlueprints: what show prints is a good beginning, and check names each fault.
func TestBlueprints(t *testing.T) {
	dir := t.TempDir()
	code, own, log := ferry(t, "", "blueprints", "show", "card")
	if code != exitDone || !strings.HasPrefix(own, "# Shown after") {
		t.Fatalf("%d: %s%s", code, own, log)
	}
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("card.yaml", own)
	if code, out, log := ferry(t, "", "blueprints", "check", dir); code != exitDone || !strings.HasPrefix(out, "✓") {
		t.Errorf("%d: %s%s", code, out, log)
	}
	write("list.yaml", "sections: [{header: '{{ .X }}'}]")
	write("cards.yaml", own)
	code, out, _ := ferry(t, "", "blueprints", "check", dir)
	if lines := strings.Split(strings.TrimSpace(out), "\n"); code != exitRefused || len(lines) != 2 || !strings.HasPrefix(lines[0], "✗ cards.yaml: ") || !strings.HasPrefix(lines[1], "✗ list.yaml: ") {
		t.Errorf("%d: %s", code, out)
	}
	if code, _, log := ferry(t, "", "blueprints", "show", "../schema"); code != exitUsage || !strings.Contains(log, "card, check, details, diff") {
		t.Errorf("%d: %s", code, log)
	}
}

package localhost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/kubeshop/botkube/pkg/api"
	"github.com/kubeshop/botkube/pkg/api/source"

	"github.com/ferry-chatops/ferry/internal/blueprint"
	"github.com/ferry-chatops/ferry/internal/plugin/executor"
)

// TestMain makes the test binary the plugin too: started by a host, it is an executor or, by its name, a source.
func TestMain(m *testing.M) {
	if os.Getenv(api.HandshakeConfig.MagicCookieKey) == "" {
		os.Exit(m.Run())
	}
	if strings.HasPrefix(filepath.Base(os.Args[0]), sourceType) {
		source.Serve(map[string]goplugin.Plugin{sourceType: &source.Plugin{Source: webhooks{}}})
		return
	}
	fmt.Fprintln(os.Stderr, "plugin log")
	about := executor.About{Version: "v1.2.3", Description: "Answers tests", DocumentationURL: "https://example.org", Schema: `{"type":"object"}`}
	executor.Serve(executor.New(echo{}, about, slog.New(slog.DiscardHandler)))
}

// echo is the plugin under host: it tells what it was given.
type echo struct{}

func (echo) Respond(ctx context.Context, in executor.Input) []api.Message {
	var text string
	switch command := strings.TrimPrefix(in.Line, "ferry "); command {
	case "pid":
		text = strconv.Itoa(os.Getpid())
	case "die":
		go panic("it wrote: panic: last words")
		<-ctx.Done()
	case "wait":
		<-ctx.Done()
	case "environment":
		text = strings.Join(os.Environ(), "\n")
	case "refuse":
		return []api.Message{{Type: blueprint.Refused, BaseBody: api.Body{Plaintext: "no"}}}
	default:
		text = fmt.Sprintf("%s|%t|%s|%s|%s|%s", in.Line, in.Interactive, in.Mention, in.DisplayName, in.Kubeconfig, bytes.Join(in.Configs, []byte("+")))
	}
	return []api.Message{api.NewPlaintextMessage(text, false), api.NewPlaintextMessage("details", false)}
}

// webhooks is a source that says what it is.
type webhooks struct{ source.Source }

func (webhooks) Metadata(context.Context) (api.MetadataOutput, error) {
	about := api.MetadataOutput{Version: "v1.2.3", Description: "Watches tests", Dependencies: map[string]api.Dependency{
		"tool": {URLs: api.URLs{runtime.GOOS + "/" + runtime.GOARCH: "https://example.org/tool"}},
	}}
	about.ExternalRequest.Payload.JSONSchema.Value = "{}"
	return about, nil
}

// install puts the test binary into a new directory under the names given and gives the directory.
func install(t *testing.T, names ...string) string {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range names {
		if err := os.Symlink(program, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var (
	executorFile = fmt.Sprintf("executor_ferry_%s_%s", runtime.GOOS, runtime.GOARCH)
	sourceFile   = fmt.Sprintf("source_ferry_%s_%s", runtime.GOOS, runtime.GOARCH)
)

func start(t *testing.T, options Options) *Host {
	t.Helper()
	if options.Log == nil {
		options.Log = io.Discard
	}
	host, err := Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(host.Close)
	return host
}

func execute(t *testing.T, host *Host, line string) string {
	t.Helper()
	answer, err := host.Execute(t.Context(), line)
	if err != nil {
		t.Fatal(err)
	}
	return answer.Messages[0].BaseBody.Plaintext
}

func TestPluginGetsWhatBotkubeWouldSend(t *testing.T) {
	for name, test := range map[string]struct {
		options  Options
		want     string
		messages int
	}{
		"all": {
			Options{Mention: "<@U1>", DisplayName: "Ada", Kubeconfig: []byte("kube"), Configs: [][]byte{[]byte("a: 1"), []byte("b: 2")}},
			"ferry list|true|<@U1>|Ada|kube|a: 1+b: 2", 2,
		},
		"nothing": {Options{TextOnly: true}, "ferry list|false||||", 1},
	} {
		t.Run(name, func(t *testing.T) {
			test.options.Plugins, test.options.Log = install(t, executorFile), io.Discard
			answer, err := start(t, test.options).Execute(t.Context(), "ferry list")
			if err != nil {
				t.Fatal(err)
			}
			if messages := answer.Messages; len(messages) != test.messages || messages[0].BaseBody.Plaintext != test.want {
				t.Errorf("got %d messages, the first %q, want %d and %q", len(messages), messages[0].BaseBody.Plaintext, test.messages, test.want)
			}
		})
	}
}

func TestRefusalIsTold(t *testing.T) {
	host := start(t, Options{Plugins: install(t, executorFile)})
	for line, want := range map[string]bool{"ferry refuse": true, "ferry list": false} {
		answer, err := host.Execute(t.Context(), line)
		if err != nil {
			t.Fatal(err)
		}
		if answer.Refused() != want {
			t.Errorf("%s: refused is %t, want %t", line, answer.Refused(), want)
		}
	}
}

func TestEnvironmentIsSmall(t *testing.T) {
	t.Setenv("SLACK_TOKEN", "xoxb-secret")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	got := execute(t, start(t, Options{Plugins: install(t, executorFile), Environment: []string{"GH_TOKEN=x"}}), "ferry environment")
	if strings.Contains(got, "SLACK_TOKEN") {
		t.Error("the plugin got a variable that it has no use for")
	}
	for _, want := range []string{"GH_TOKEN=x", "HTTPS_PROXY=http://127.0.0.1:1"} {
		if !strings.Contains(got, want) {
			t.Errorf("the plugin did not get %s", want)
		}
	}
}

func TestPluginKilledBetweenLinesIsStartedAgain(t *testing.T) {
	host := start(t, Options{Plugins: install(t, executorFile)})
	first := execute(t, host, "ferry pid")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if second := execute(t, host, "ferry pid"); second == first {
		t.Error("the answer came from the process that was killed")
	}
}

func TestPluginThatDiesWhileAnsweringIsNotAskedTwice(t *testing.T) {
	host := start(t, Options{Plugins: install(t, executorFile)})
	_, err := host.Execute(t.Context(), "ferry die")
	if err == nil || !strings.Contains(err.Error(), "look whether the line was carried out") || !strings.Contains(err.Error(), "it wrote: panic: last words") {
		t.Fatalf("error %v", err)
	}
	if got := execute(t, host, "ferry list"); !strings.HasPrefix(got, "ferry list|") {
		t.Errorf("the line after: %q", got)
	}
}

func TestInterruptEndsTheWait(t *testing.T) {
	host := start(t, Options{Plugins: install(t, executorFile)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := host.Execute(ctx, "ferry wait"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func TestLinesAreAnsweredBesideOneAnother(t *testing.T) {
	host := start(t, Options{Plugins: install(t, executorFile)})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := host.Execute(ctx, "ferry wait")
		ended <- err
	}()
	if got := execute(t, host, "ferry list"); !strings.HasPrefix(got, "ferry list|") {
		t.Errorf("answer %q", got)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func TestLineAfterTheEndStartsNothing(t *testing.T) {
	host := start(t, Options{Plugins: install(t, executorFile)})
	host.Close()
	if _, err := host.Execute(t.Context(), "ferry list"); err == nil || host.plugin != nil {
		t.Errorf("error %v, process %v", err, host.plugin)
	}
}

func TestIndexDescribesEveryBinary(t *testing.T) {
	dir := install(t, executorFile, sourceFile, "ferry")
	if err := os.WriteFile(filepath.Join(dir, "executor_ferry_plan9_mips"), []byte("other platform"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "index.yaml")
	if err := WriteIndex(t.Context(), dir, "https://example.org/v1.2.3/", file); err != nil {
		t.Fatal(err)
	}
	index, err := readIndex(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	checksum, err := hashFile(filepath.Join(dir, executorFile))
	if err != nil {
		t.Fatal(err)
	}
	request := &ExternalRequest{}
	request.Payload.JSONSchema.Value = "{}"
	want := Index{Entries: []Entry{
		{
			Name: "ferry", Type: "executor", Version: "v1.2.3", Description: "Answers tests", DocumentationURL: "https://example.org",
			JSONSchema: Schema{Value: `{"type":"object"}`},
			URLs: []Binary{
				{URL: "https://example.org/v1.2.3/" + executorFile, Checksum: checksum, Platform: thisPlatform},
				{
					URL: "https://example.org/v1.2.3/executor_ferry_plan9_mips", Platform: Platform{OS: "plan9", Arch: "mips"},
					Checksum: "0dfa314220eb33f9776c2877239b34a89a660b3abc79972e36ad76cbcdfb3a22", // printf 'other platform' | sha256sum
				},
			},
		},
		{
			Name: "ferry", Type: "source", Version: "v1.2.3", Description: "Watches tests", ExternalRequest: request,
			URLs: []Binary{{
				URL: "https://example.org/v1.2.3/" + sourceFile, Checksum: checksum, Platform: thisPlatform,
				Dependencies: map[string]Dependency{"tool": {URL: "https://example.org/tool"}},
			}},
		},
	}}
	if diff := cmp.Diff(want, index); diff != "" {
		t.Error(diff)
	}

	again := filepath.Join(dir, "again.yaml")
	if err := WriteIndex(t.Context(), dir, "https://example.org/v1.2.3/", again); err != nil {
		t.Fatal(err)
	}
	first, second := read(t, file), read(t, again)
	if first != second {
		t.Error("the same binaries gave two different indexes")
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestIndexRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		files []string
		want  string
	}{
		"an empty directory":          {nil, "no plugin binaries"},
		"a name without a platform":   {[]string{"executor_ferry"}, "not named TYPE_NAME_OS_ARCH"},
		"an underscore in the name":   {[]string{"executor_fer_ry_linux_amd64"}, "not named TYPE_NAME_OS_ARCH"},
		"an empty part":               {[]string{"executor__linux_amd64"}, "not named TYPE_NAME_OS_ARCH"},
		"no binary for this platform": {[]string{"executor_ferry_plan9_mips"}, "ask executor_ferry_"},
	} {
		t.Run(name, func(t *testing.T) {
			err := WriteIndex(t.Context(), install(t, test.files...), "https://example.org", filepath.Join(t.TempDir(), "index.yaml"))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestPluginComesFromTheNetwork(t *testing.T) {
	dir := install(t, executorFile)
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	if err := WriteIndex(t.Context(), dir, server.URL, filepath.Join(dir, "index.yaml")); err != nil {
		t.Fatal(err)
	}
	host := start(t, Options{Plugins: server.URL + "/index.yaml"})
	if got := execute(t, host, "ferry list"); !strings.HasPrefix(got, "ferry list|") {
		t.Errorf("answer %q", got)
	}
	cache := host.cache
	host.Close()
	if exists(cache) {
		t.Error("the download is still there")
	}
}

func TestStartRefuses(t *testing.T) {
	changed := install(t, executorFile)
	if err := WriteIndex(t.Context(), changed, "https://example.org", filepath.Join(changed, "index.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(changed, executorFile)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(changed, executorFile), []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	script := t.TempDir()
	if err := os.WriteFile(filepath.Join(script, executorFile), []byte("#!/bin/sh\necho no plugin >&2\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()

	for name, test := range map[string]struct{ plugins, want string }{
		"a changed binary":            {changed, "is not the file that the index"},
		"a program that is no plugin": {script, "it wrote: no plugin"},
		"an index without executor":   {install(t, sourceFile), "the index has no executor ferry"},
		"a missing directory":         {filepath.Join(script, "absent"), "look for plugins"},
		"a missing index":             {server.URL, "404 Not Found"},
	} {
		t.Run(name, func(t *testing.T) {
			host, err := Start(t.Context(), Options{Plugins: test.plugins, Log: io.Discard})
			if err == nil {
				host.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestPluginLogGoesToTheLog(t *testing.T) {
	log := &tail{next: io.Discard}
	host := start(t, Options{Plugins: install(t, executorFile), Log: log})
	execute(t, host, "ferry list")
	host.Close()
	if !strings.Contains(log.String(), "plugin log") {
		t.Errorf("log %q", log.String())
	}
}

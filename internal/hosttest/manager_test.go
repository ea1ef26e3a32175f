package hosttest

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/xeipuuv/gojsonschema"
	"gopkg.in/yaml.v3"

	"github.com/kubeshop/botkube/pkg/api"
	"github.com/kubeshop/botkube/pkg/api/executor"
	"github.com/kubeshop/botkube/pkg/bot/interactive"
	"github.com/kubeshop/botkube/pkg/config"
	"github.com/kubeshop/botkube/pkg/plugin"
)

// key is how a Botkube configuration names the plugin: repository and name.
const key = "ferry/ferry"

// host is Botkube's plugin manager with ferry's executor running.
type host struct {
	*plugin.Manager
	cache string // holds the binary that runs
}

// start serves the built index and binaries and has the manager find, download, check and start the executor.
func start(t *testing.T) host {
	t.Helper()
	return startWith(t, []string{key}, nil)
}

func startWith(t *testing.T, executors, sources []string) host {
	t.Helper()
	index := readIndex(t)
	server := httptest.NewServer(nil)
	t.Cleanup(server.Close)
	for _, entry := range index.Entries {
		for i := range entry.URLs { // published later; here the same files are at the server's address
			entry.URLs[i].URL = server.URL + "/" + path.Base(entry.URLs[i].URL)
		}
	}
	document, err := yaml.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	files := http.FileServer(http.Dir(plugins(t)))
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/index.yaml" {
			_, _ = w.Write(document)
			return
		}
		files.ServeHTTP(w, r)
	})

	log := logrus.New()
	log.SetOutput(io.Discard)
	cache := t.TempDir()
	manager := plugin.NewManager(log, config.Logger{Level: "info", Formatter: config.FormatterJSON}, config.PluginManagement{
		CacheDir:            cache,
		Repositories:        map[string]config.PluginsRepository{"ferry": {URL: server.URL + "/index.yaml"}},
		RestartPolicy:       config.PluginRestartPolicy{Type: config.KeepAgentRunningWhenThresholdReached, Threshold: 3},
		HealthCheckInterval: time.Second,
	}, executors, sources, make(chan string, 8), plugin.NewHealthStats(3))
	ctx, cancel := context.WithCancel(context.Background())
	if err := manager.Start(ctx); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		manager.Shutdown()
	})
	return host{manager, cache}
}

// execute gives the text of the answer to in.
func (h host) execute(t *testing.T, in executor.ExecuteInput) string {
	t.Helper()
	ferry, err := h.GetExecutor(key)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := ferry.Execute(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	if out.Message.IsEmpty() {
		t.Fatal("the answer's first message is empty")
	}
	return plaintext(out.Message)
}

func plaintext(m api.Message) string {
	return interactive.MessageToPlaintext(interactive.CoreMessage{Message: m}, interactive.NewlineFormatter)
}

func TestIndexIsValid(t *testing.T) {
	index := readIndex(t)
	if err := index.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, entry := range index.Entries {
		if entry.JSONSchema.Value == "" {
			t.Errorf("%s %s has no schema of its configuration", entry.Type, entry.Name)
			continue
		}
		loader := gojsonschema.NewSchemaLoader()
		loader.Draft, loader.AutoDetect, loader.Validate = gojsonschema.Draft7, false, true
		if _, err := loader.Compile(gojsonschema.NewStringLoader(entry.JSONSchema.Value)); err != nil {
			t.Errorf("schema of %s %s: %v", entry.Type, entry.Name, err)
		}
	}
}

func TestMetadataIsTheIndexs(t *testing.T) {
	ferry, err := start(t).GetExecutor(key)
	if err != nil {
		t.Fatal(err)
	}
	about, err := ferry.Metadata(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range readIndex(t).Entries {
		if entry.Type != plugin.TypeExecutor {
			continue
		}
		if about.Version != entry.Version || about.Description != entry.Description || about.JSONSchema.Value != entry.JSONSchema.Value {
			t.Errorf("the plugin says %+v, the index %+v", about, entry)
		}
	}
}

func TestHelp(t *testing.T) {
	h := start(t)
	ferry, err := h.GetExecutor(key)
	if err != nil {
		t.Fatal(err)
	}
	help, err := ferry.Help(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"the host's help":     plaintext(help),
		"as a command":        h.execute(t, executor.ExecuteInput{Command: "ferry help"}),
		"the bare name":       h.execute(t, executor.ExecuteInput{Command: "ferry"}),
		"as a flag":           h.execute(t, executor.ExecuteInput{Command: "ferry --help"}),
		"on a button's click": h.execute(t, executor.ExecuteInput{Command: "ferry help", Context: executor.ExecuteInputContext{IsInteractivitySupported: true}}),
	} {
		for _, verb := range []string{"list", "diff", "promote", "rollback", "status"} {
			if !strings.Contains(text, verb) {
				t.Errorf("%s does not name %s:\n%s", name, verb, text)
			}
		}
	}
}

func TestAnswerSaysWhatIsNotConfigured(t *testing.T) {
	h := start(t)
	home := &executor.Config{RawYAML: []byte("environments: [{name: stage}]\n")} // in the cluster whose kubeconfig the host passes
	for name, test := range map[string]struct {
		configs    []*executor.Config
		kubeconfig string
		want       string
	}{
		"no configuration":      {nil, deadCluster, "environments"},
		"a null one":            {[]*executor.Config{{RawYAML: []byte("null\n")}}, deadCluster, "environments"},
		"one without content":   {[]*executor.Config{{}}, deadCluster, "environments"},
		"no kubeconfig":         {[]*executor.Config{home}, "", "rbac"},
		"nothing at all":        {nil, "", "environments"},
		"a cluster that is off": {[]*executor.Config{home}, deadCluster, "stage"},
	} {
		in := executor.ExecuteInput{Command: "ferry list", Configs: test.configs, Context: executor.ExecuteInputContext{KubeConfig: []byte(test.kubeconfig)}}
		if text := h.execute(t, in); !strings.Contains(text, test.want) {
			t.Errorf("%s: the answer does not name %s:\n%s", name, test.want, text)
		}
	}
}

// TestReviewThroughTheHost: lines about pull requests, as typed, come to the plugin, and its answers are fit to be sent.
func TestReviewThroughTheHost(t *testing.T) {
	ferry, err := start(t).GetExecutor(key)
	if err != nil {
		t.Fatal(err)
	}
	home := []*executor.Config{{RawYAML: []byte("environments: [{name: stage}]\n")}}
	for line, want := range map[string]string{
		"ferry diff pr 1": "stage does not answer",
		"ferry diff pr <https://gitlab.com/acme/fleet/pull/1>":                                        "gitlab.com, and ferry is configured for github.com",
		"ferry diff pr <https://github.com/acme/fleet/pull/1/files|github.com/acme/fleet/pull/1>":     "stage does not answer",
		"{{BotName}} ferry --bk-cmd-header='Diff report' diff pr 1 --repo acme/fleet --head 3f2a1bc0": "not a whole commit id",
	} {
		command, _, err := arrives(line)
		if err != nil {
			t.Fatal(err)
		}
		for _, interactive := range []bool{true, false} {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			out, err := ferry.Execute(ctx, executor.ExecuteInput{Command: command, Configs: home,
				Context: executor.ExecuteInputContext{KubeConfig: []byte(deadCluster), IsInteractivitySupported: interactive}})
			cancel()
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			problems := textProblems
			if interactive {
				problems = slackProblems
			}
			for _, m := range append([]api.Message{out.Message}, out.Messages...) {
				for _, problem := range problems(t, m) {
					t.Errorf("%s: %s", line, problem)
				}
			}
			if text := plaintext(out.Message); !strings.Contains(text, want) {
				t.Errorf("the answer to %s does not say %q:\n%s", line, want, text)
			}
		}
	}
}

func TestConfigurationOfAllGroupsIsRead(t *testing.T) {
	h := start(t)
	good, wrong := &executor.Config{RawYAML: []byte("namespace: ferry\n")}, &executor.Config{RawYAML: []byte("nonsense: true\n")}
	for name, configs := range map[string][]*executor.Config{"first": {wrong, good}, "second": {good, wrong}} {
		in := executor.ExecuteInput{Command: "ferry list", Configs: configs, Context: executor.ExecuteInputContext{KubeConfig: []byte(deadCluster)}}
		if text := h.execute(t, in); !strings.Contains(text, "nonsense") {
			t.Errorf("the answer does not name the unknown key of the %s group:\n%s", name, text)
		}
	}
}

// deadCluster is a kubeconfig as the host writes it, of an API server that does not listen.
const deadCluster = `apiVersion: v1
kind: Config
current-context: local
clusters: [{name: local, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: local, context: {cluster: local, user: local, namespace: default}}]
users: [{name: local, user: {as: botkube-internal-static-user, as-groups: [ferry]}}]
`

func TestLineBeyondTheDefaultLimitOfGRPC(t *testing.T) {
	if text := start(t).execute(t, executor.ExecuteInput{Command: "ferry list " + strings.Repeat("x", 5<<20)}); len(text) > 2000 {
		t.Errorf("an answer of %d bytes to a line that is no command", len(text))
	}
}

func TestKilledPluginIsRestarted(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the plugin's process is looked for in /proc")
	}
	h := start(t)
	before := h.process()
	if before == 0 {
		t.Fatal("the plugin's process is not to be found")
	}
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	deadline, tick := time.After(30*time.Second), time.NewTicker(100*time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-deadline:
			t.Fatal("no answer from a new process within 30 s")
		case <-tick.C:
			ferry, err := h.GetExecutor(key)
			if err != nil {
				continue
			}
			out, err := ferry.Execute(context.Background(), executor.ExecuteInput{Command: "ferry help"})
			if after := h.process(); err == nil && !out.Message.IsEmpty() && after != 0 && after != before {
				return
			}
		}
	}
}

// process is the id of the process that runs a binary of the cache, or 0.
func (h host) process() int {
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, link := range links {
		if program, err := os.Readlink(link); err == nil && strings.HasPrefix(program, h.cache) {
			id, _ := strconv.Atoi(path.Base(path.Dir(link)))
			return id
		}
	}
	return 0
}

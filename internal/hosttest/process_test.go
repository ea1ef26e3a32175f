package hosttest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	goplugin "github.com/hashicorp/go-plugin"

	"github.com/kubeshop/botkube/pkg/api"
	"github.com/kubeshop/botkube/pkg/api/executor"
)

// A request as no host sends it, to the built program: Botkube's own server dies of one without a context.
func TestBareRequestsEndNothing(t *testing.T) {
	program := filepath.Join(plugins(t), fmt.Sprintf("executor_ferry_%s_%s", runtime.GOOS, runtime.GOARCH))
	var stdout bytes.Buffer
	client := goplugin.NewClient(&goplugin.ClientConfig{
		SyncStdout: &stdout,
		HandshakeConfig: goplugin.HandshakeConfig{ProtocolVersion: executor.ProtocolVersion,
			MagicCookieKey: api.HandshakeConfig.MagicCookieKey, MagicCookieValue: api.HandshakeConfig.MagicCookieValue},
		Plugins:          goplugin.PluginSet{"executor": &executor.Plugin{}},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		Cmd:              exec.Command(program),
	})
	t.Cleanup(client.Kill)
	protocol, err := client.Client()
	if err != nil {
		t.Fatal(err)
	}
	bare := executor.NewExecutorClient(protocol.(*goplugin.GRPCClient).Conn)
	for name, request := range map[string]*executor.ExecuteRequest{
		"no context":            {Command: "ferry list"},
		"an empty one":          {Command: "ferry help", Context: &executor.ExecuteContext{}},
		"no command":            {},
		"malformed Slack state": {Command: "ferry help", Context: &executor.ExecuteContext{SlackState: []byte("{")}},
		"configuration of junk": {Command: "ferry list", Configs: []*executor.Config{nil, {RawYAML: []byte("\xff: [")}}, Context: &executor.ExecuteContext{KubeConfig: []byte("\x00")}},
		"10 MB":                 {Command: strings.Repeat("x", 10_000_000)},
	} {
		answer, err := bare.Execute(context.Background(), request)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var m api.Message
		if err := json.Unmarshal(answer.Message, &m); err != nil || m.IsEmpty() {
			t.Errorf("%s: answered by %s (%v)", name, answer.Message, err)
		}
	}
	if client.Exited() {
		t.Error("the process has ended")
	}
	client.Kill()
	if stdout.Len() > 0 {
		t.Errorf("it printed %q", stdout.String())
	}
}

// What ferry logs reaches the agent's log with its level and its fields; below info only where that is asked for.
func TestLogHasLevelsAndFields(t *testing.T) {
	refused := executor.ExecuteInput{Command: "ferry promote podinfo@7.0.0 to stage --reason canary-of-the-line",
		Configs: []*executor.Config{{RawYAML: []byte("environments: [{name: stage}]\n")}}, Context: executor.ExecuteInputContext{KubeConfig: []byte(deadCluster)}}
	for level, debugs := range map[string]bool{"": false, "debug": true} {
		t.Run("level "+level, func(t *testing.T) {
			t.Setenv("LOG_LEVEL_EXECUTOR_FERRY_FERRY", level)
			file, err := os.Create(filepath.Join(t.TempDir(), "log"))
			if err != nil {
				t.Fatal(err)
			}
			stdout := os.Stdout
			os.Stdout = file // where the agent logs; it is asked for when the plugin starts
			h := start(t)
			os.Stdout = stdout
			h.execute(t, refused)
			h.Shutdown() // so that all has been read
			raw, err := os.ReadFile(file.Name())
			if err != nil {
				t.Fatal(err)
			}
			levels := map[string]string{}
			for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
				var record map[string]any
				if err := json.Unmarshal(lines.Bytes(), &record); err != nil {
					t.Fatalf("%s: %v", lines.Text(), err)
				}
				if record["verb"] == "promote" {
					levels[fmt.Sprint(record["msg"])] = fmt.Sprint(record["level"])
				}
			}
			if levels["refused"] != "warning" || (levels["answered"] == "debug") != debugs {
				t.Errorf("logged %v in\n%s", levels, raw)
			}
			if strings.Contains(string(raw), "canary-of-the-line") {
				t.Errorf("the log has the line that was typed:\n%s", raw)
			}
		})
	}
}

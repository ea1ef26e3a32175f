package executor

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/kubeshop/botkube/pkg/api"
	botkube "github.com/kubeshop/botkube/pkg/api/executor"
	"google.golang.org/grpc"

	"github.com/ferry-chatops/ferry/internal/blueprint"
	"github.com/ferry-chatops/ferry/internal/plugin/guard"
	"github.com/ferry-chatops/ferry/internal/plugin/hostlog"
)

// respond makes a function a Responder.
type respond func(context.Context, Input) []api.Message

func (f respond) Respond(ctx context.Context, in Input) []api.Message { return f(ctx, in) }

// connect serves responder as the plugin process does and gives the host's two ends: Botkube's client and the bare
// connection. What is logged goes to log.
func connect(t *testing.T, responder respond, log *slog.Logger) (botkube.Executor, *grpc.ClientConn) {
	t.Helper()
	config := serveConfig(New(responder, About{Version: "v1.2.3", Description: "Moves releases", DocumentationURL: "https://example.org", Schema: "{}"}, log))
	ctx, stop := context.WithCancel(context.Background())
	reattach, done := make(chan *goplugin.ReattachConfig, 1), make(chan struct{})
	config.Test = &goplugin.ServeTestConfig{Context: ctx, ReattachConfigCh: reattach, CloseCh: done}
	go goplugin.Serve(config)

	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  config.HandshakeConfig,
		Plugins:          goplugin.PluginSet{"executor": &botkube.Plugin{}},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		Reattach:         <-reattach,
	})
	t.Cleanup(func() {
		client.Kill()
		stop()
		<-done
	})
	protocol, err := client.Client()
	if err != nil {
		t.Fatal(err)
	}
	host, err := protocol.Dispense("executor")
	if err != nil {
		t.Fatal(err)
	}
	return host.(botkube.Executor), protocol.(*goplugin.GRPCClient).Conn
}

func texts(n int) []api.Message {
	messages := make([]api.Message, n)
	for i := range messages {
		messages[i] = api.NewPlaintextMessage(fmt.Sprintf("message %d", i), false)
	}
	return messages
}

func TestResponderGetsWhatTheHostSays(t *testing.T) {
	var got Input
	host, _ := connect(t, func(_ context.Context, in Input) []api.Message { got = in; return texts(1) }, slog.New(slog.DiscardHandler))
	_, err := host.Execute(t.Context(), botkube.ExecuteInput{
		Command: "ferry  list &amp;",
		Configs: []*botkube.Config{{RawYAML: []byte("a: 1")}, {}, {RawYAML: []byte("null\n")}},
		Context: botkube.ExecuteInputContext{
			IsInteractivitySupported: true,
			KubeConfig:               []byte("kube"),
			Message:                  botkube.Message{User: botkube.User{Mention: "<@U1>", DisplayName: "Ada"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Input{
		Line: "ferry  list &amp;", Interactive: true, Mention: "<@U1>", DisplayName: "Ada",
		Kubeconfig: []byte("kube"), Configs: [][]byte{[]byte("a: 1"), []byte("null\n")},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMessagesPerPlatform(t *testing.T) {
	for name, test := range map[string]struct {
		interactive bool
		answer      []api.Message
		want        []string
	}{
		"text platforms take the first alone":    {false, texts(3), []string{"message 0"}},
		"interactive ones take the details":      {true, texts(3), []string{"message 0", "message 1", "message 2"}},
		"an empty message is passed over":        {false, append([]api.Message{{}}, texts(1)...), []string{"message 0"}},
		"no message at all is a mistake of ours": {true, nil, []string{"ferry found nothing to say to this line."}},
		"empty messages alone are one as well":   {false, []api.Message{{}, {}}, []string{"ferry found nothing to say to this line."}},
		"a percent sign stays what it is":        {false, []api.Message{api.NewPlaintextMessage("80% done", false)}, []string{"80% done"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := execute(t, test.interactive, test.answer)
			if len(got) != len(test.want) {
				t.Fatalf("got %d messages, want %d", len(got), len(test.want))
			}
			for i, want := range test.want {
				if text := got[i].BaseBody.Plaintext; !strings.HasPrefix(text, want) {
					t.Errorf("message %d is %q, want %q", i, text, want)
				}
			}
		})
	}
}

func TestMessagesBeyondTheHostsLimitAreCounted(t *testing.T) {
	for n, want := range map[int]string{16: "message 15", 17: "2 more messages are left out.", 20: "5 more messages are left out."} {
		got := execute(t, true, texts(n))
		if len(got) != 16 || got[15].BaseBody.Plaintext != want {
			t.Errorf("%d messages: got %d, the last of them %q, want 16 and %q", n, len(got), got[len(got)-1].BaseBody.Plaintext, want)
		}
	}
}

func TestMarkOfARefusalReachesTheHost(t *testing.T) {
	for name, answer := range map[string][]api.Message{
		"of the responder": {{Type: blueprint.Refused, BaseBody: api.Body{Plaintext: "no"}}},
		"of a mistake":     nil,
	} {
		if got := execute(t, true, answer); got[0].Type != blueprint.Refused {
			t.Errorf("%s: type %q, want %q", name, got[0].Type, blueprint.Refused)
		}
	}
}

// execute gives what the host gets of answer.
func execute(t *testing.T, interactive bool, answer []api.Message) []api.Message {
	t.Helper()
	host, _ := connect(t, func(context.Context, Input) []api.Message { return answer }, slog.New(slog.DiscardHandler))
	out, err := host.Execute(t.Context(), botkube.ExecuteInput{Context: botkube.ExecuteInputContext{IsInteractivitySupported: interactive}})
	if err != nil {
		t.Fatal(err)
	}
	return append([]api.Message{out.Message}, out.Messages...)
}

func TestAnswerHasADeadline(t *testing.T) {
	host, _ := connect(t, func(ctx context.Context, _ Input) []api.Message {
		if _, ok := ctx.Deadline(); !ok {
			return nil
		}
		return texts(1)
	}, slog.New(slog.DiscardHandler))
	out, err := host.Execute(t.Context(), botkube.ExecuteInput{Command: "ferry list"})
	if err != nil || out.Message.BaseBody.Plaintext != "message 0" {
		t.Errorf("answer %q, %v", out.Message.BaseBody.Plaintext, err)
	}
}

func TestPanicIsAnsweredAndLogged(t *testing.T) {
	var log bytes.Buffer
	panics := true
	host, _ := connect(t, func(context.Context, Input) []api.Message {
		if panics {
			panic("token ghp_secret")
		}
		return texts(1)
	}, hostlog.New(&log, slog.LevelInfo))

	out, err := host.Execute(t.Context(), botkube.ExecuteInput{Command: "ferry list"})
	if err != nil {
		t.Fatal(err)
	}
	if got := out.Message.BaseBody.Plaintext; out.Message.Type != blueprint.Refused || !strings.Contains(got, "mistake") || strings.Contains(got, "ghp_") || strings.Contains(got, "%") {
		t.Errorf("answer %q of type %q", got, out.Message.Type)
	}
	if !strings.Contains(log.String(), "executor_test.go") {
		t.Errorf("the log has no stack: %s", log.String())
	}
	panics = false
	out, err = host.Execute(t.Context(), botkube.ExecuteInput{Command: "ferry list"})
	if err != nil || out.Message.BaseBody.Plaintext != "message 0" {
		t.Errorf("after the panic: %q, %v", out.Message.BaseBody.Plaintext, err)
	}
}

func TestBareRequestsAreAnswered(t *testing.T) {
	_, conn := connect(t, func(_ context.Context, in Input) []api.Message {
		return []api.Message{api.NewPlaintextMessage(fmt.Sprint(len(in.Line)), false)}
	}, slog.New(slog.DiscardHandler))
	client := botkube.NewExecutorClient(conn)

	for name, request := range map[string]*botkube.ExecuteRequest{
		"no context":            {Command: "ferry"},
		"an empty context":      {Command: "ferry", Context: &botkube.ExecuteContext{}},
		"a missing user":        {Command: "ferry", Context: &botkube.ExecuteContext{Message: &botkube.MessageContext{}}},
		"malformed Slack state": {Command: "ferry", Context: &botkube.ExecuteContext{SlackState: []byte("{")}},
		"10 MB":                 {Command: strings.Repeat("x", 10_000_000)},
	} {
		t.Run(name, func(t *testing.T) {
			response, err := client.Execute(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("%q", fmt.Sprint(len(request.Command))); !bytes.Contains(response.Message, []byte(want)) {
				t.Errorf("answer %s, want %s in it", response.Message, want)
			}
		})
	}
}

func TestPanicOutsideTheResponderFailsOneCall(t *testing.T) {
	var log bytes.Buffer
	_, err := guard.Unary(hostlog.New(&log, slog.LevelInfo))(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: "/x"},
		func(context.Context, any) (any, error) { panic("100% wrong") })
	if err == nil || strings.Contains(err.Error(), "%") || !strings.Contains(log.String(), "100% wrong") {
		t.Errorf("error %v, log %s", err, log.String())
	}
}

func TestMetadataAndHelp(t *testing.T) {
	host, _ := connect(t, func(_ context.Context, in Input) []api.Message {
		return []api.Message{api.NewPlaintextMessage(fmt.Sprintf("%s %t", in.Line, in.Interactive), false)}
	}, slog.New(slog.DiscardHandler))
	about, err := host.Metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := about.Validate(); err != nil {
		t.Error(err)
	}
	want := api.MetadataOutput{Version: "v1.2.3", Description: "Moves releases", DocumentationURL: "https://example.org",
		JSONSchema: api.JSONSchema{Value: "{}"}, Dependencies: map[string]api.Dependency{}}
	if diff := cmp.Diff(want, about); diff != "" {
		t.Error(diff)
	}
	help, err := host.Help(t.Context())
	if err != nil || help.BaseBody.Plaintext != "ferry help false" {
		t.Errorf("help %q, %v", help.BaseBody.Plaintext, err)
	}
}

// The host logs as an error whatever a library writes to standard error.
func TestWhatLibrariesWriteIsDropped(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	own := os.Stderr
	os.Stderr = file
	t.Cleanup(func() { os.Stderr = own })
	host, _ := connect(t, func(context.Context, Input) []api.Message {
		fmt.Fprintln(os.Stderr, "# Warning: 'commonLabels' is deprecated.")
		return []api.Message{api.NewPlaintextMessage("done", false)}
	}, slog.New(slog.DiscardHandler))
	if _, err := host.Execute(t.Context(), botkube.ExecuteInput{Command: "ferry list"}); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(file.Name())
	if err != nil || strings.Contains(string(written), "Warning") {
		t.Errorf("%s, %v", written, err)
	}
}

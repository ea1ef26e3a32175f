package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/kubeshop/botkube/pkg/api"
	botkube "github.com/kubeshop/botkube/pkg/api/source"
	"google.golang.org/grpc"

	"github.com/ferry-chatops/ferry/internal/plugin/guard"
	"github.com/ferry-chatops/ferry/internal/plugin/hostlog"
)

// feed is a Feed of functions.
type feed struct {
	follow func(ctx context.Context, in Input, send Send)
	hint   func(in Input, body []byte) error
}

func (f feed) Follow(ctx context.Context, in Input, send Send) { f.follow(ctx, in, send) }
func (f feed) Hint(in Input, body []byte) error                { return f.hint(in, body) }

// telling sends messages of texts and then waits.
func telling(texts ...string) feed {
	return feed{follow: func(ctx context.Context, _ Input, send Send) {
		for _, text := range texts {
			send(ctx, Event{Message: api.NewPlaintextMessage(text, false)})
		}
		<-ctx.Done()
	}}
}

// connect serves a feed as the plugin process does and gives the host's two ends: Botkube's client and the bare connection.
func connect(t *testing.T, f Feed, log *slog.Logger) (botkube.Source, *grpc.ClientConn) {
	t.Helper()
	config := serveConfig(New(f, About{Version: "v1.2.3", Description: "Tells", DocumentationURL: "https://example.org", Schema: "{}", PayloadSchema: `{"type": "object"}`}, log))
	ctx, stop := context.WithCancel(context.Background())
	reattach, done := make(chan *goplugin.ReattachConfig, 1), make(chan struct{})
	config.Test = &goplugin.ServeTestConfig{Context: ctx, ReattachConfigCh: reattach, CloseCh: done}
	go goplugin.Serve(config)
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  config.HandshakeConfig,
		Plugins:          goplugin.PluginSet{"source": &botkube.Plugin{}},
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
	host, err := protocol.Dispense("source")
	if err != nil {
		t.Fatal(err)
	}
	return host.(botkube.Source), protocol.(*goplugin.GRPCClient).Conn
}

var silent = slog.New(slog.DiscardHandler)

func next(t *testing.T, events <-chan botkube.Event) botkube.Event {
	t.Helper()
	select {
	case e, open := <-events:
		if !open {
			t.Fatal("the stream has ended")
		}
		return e
	case <-time.After(10 * time.Second):
		t.Fatal("no event")
	}
	return botkube.Event{}
}

func TestFeedGetsWhatTheHostSays(t *testing.T) {
	got := make(chan Input, 1)
	host, _ := connect(t, feed{follow: func(ctx context.Context, in Input, _ Send) {
		got <- in
		<-ctx.Done()
	}}, silent)
	_, err := host.Stream(t.Context(), botkube.StreamInput{
		Configs: []*botkube.Config{{RawYAML: []byte("a: 1")}, {}},
		Context: botkube.StreamInputContext{KubeConfig: []byte("kube"), CommonSourceContext: botkube.CommonSourceContext{IsInteractivitySupported: true, SourceName: "pulls"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Input{Source: "pulls", Interactive: true, Kubeconfig: []byte("kube"), Configs: [][]byte{[]byte("a: 1")}}
	if diff := cmp.Diff(want, <-got); diff != "" {
		t.Error(diff)
	}
}

func TestEventsArriveInOrder(t *testing.T) {
	host, _ := connect(t, telling("one", "two", "80% done"), silent)
	out, err := host.Stream(t.Context(), botkube.StreamInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"one", "two", "80% done"} {
		if got := next(t, out.Event).Message.BaseBody.Plaintext; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// The host drops a source for good whose stream ends, with an error or without.
func TestStreamOutlivesItsFeed(t *testing.T) {
	for name, end := range map[string]func(){"a return": func() {}, "a panic": func() { panic("token ghp_secret") }} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			var calls atomic.Int32
			host, _ := connect(t, feed{follow: func(ctx context.Context, _ Input, send Send) {
				if calls.Add(1) == 1 {
					end()
					return
				}
				send(ctx, Event{Message: api.NewPlaintextMessage("still here", false)})
				<-ctx.Done()
			}}, hostlog.New(&log, slog.LevelInfo))
			out, err := host.Stream(t.Context(), botkube.StreamInput{})
			if err != nil {
				t.Fatal(err)
			}
			if got := next(t, out.Event).Message.BaseBody.Plaintext; got != "still here" {
				t.Error(got)
			}
			if name == "a panic" && !strings.Contains(log.String(), "source_test.go") {
				t.Errorf("the log has no stack: %s", log.String())
			}
		})
	}
}

func TestFeedIsCalledAgainWithPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		begin := time.Now()
		var at []time.Duration
		s := New(feed{follow: func(context.Context, Input, Send) {
			at = append(at, time.Since(begin))
			if len(at) == 9 {
				cancel()
			}
			panic("again")
		}}, About{}, silent)
		out, err := s.Stream(ctx, botkube.StreamInput{})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		<-ctx.Done()
		synctest.Wait()
		second := time.Second
		want := []time.Duration{0, second, 3 * second, 7 * second, 15 * second, 31 * second, 63 * second, 123 * second, 183 * second}
		if diff := cmp.Diff(want, at); diff != "" {
			t.Error(diff)
		}
		select {
		case _, open := <-out.Event:
			t.Errorf("an event, or the end of the channel: %v", open)
		default:
		}
	})
}

// Botkube stops to read when a stream ends; whoever sends then would wait for ever.
func TestNobodyWaitsForAStreamThatEnded(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan bool, 1)
	s := New(feed{follow: func(ctx context.Context, _ Input, send Send) {
		close(begun)
		ended <- send(ctx, Event{Message: api.NewPlaintextMessage("late", false)})
		<-ctx.Done()
	}}, About{}, silent)
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := s.Stream(ctx, botkube.StreamInput{}); err != nil {
		t.Fatal(err)
	}
	<-begun
	cancel()
	if handed := <-ended; handed {
		t.Error("it was handed over to nobody")
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

func TestEventsAreFitForAStream(t *testing.T) {
	private := api.Message{OnlyVisibleForYou: true, ReplaceOriginal: true, BaseBody: api.Body{Plaintext: "x"}}
	host, _ := connect(t, feed{follow: func(ctx context.Context, _ Input, send Send) {
		send(ctx, Event{Message: private, Raw: json.RawMessage(`{"Level": "info"}`)})
		send(ctx, Event{Message: private, Raw: json.RawMessage(`{"broken`)}) // would end the stream
		send(ctx, Event{Message: private})
		<-ctx.Done()
	}}, silent)
	out, err := host.Stream(t.Context(), botkube.StreamInput{})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []any{map[string]any{"Level": "info"}, nil, nil} {
		e := next(t, out.Event)
		if e.Message.OnlyVisibleForYou || e.Message.ReplaceOriginal {
			t.Errorf("message %d is private or replaces another", i)
		}
		if diff := cmp.Diff(want, e.RawObject); diff != "" {
			t.Errorf("message %d: %s", i, diff)
		}
	}
}

func TestBareRequestsAreAnswered(t *testing.T) {
	_, conn := connect(t, feed{
		follow: telling("hello").follow,
		hint:   func(_ Input, body []byte) error { return errors.New(string(body[:min(len(body), 10)])) },
	}, silent)
	client := botkube.NewSourceClient(conn)
	for name, request := range map[string]*botkube.StreamRequest{"no context": {}, "an empty context": {Context: &botkube.StreamContext{}}, "an empty configuration": {Configs: []*botkube.Config{nil, {}}}} {
		stream, err := client.Stream(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		if response, err := stream.Recv(); err != nil || !strings.Contains(string(response.Event), "hello") {
			t.Errorf("%s: %v, %v", name, response, err)
		}
	}
	for name, request := range map[string]*botkube.ExternalRequest{"no context": {Payload: []byte("body")}, "10 MB": {Payload: bytes.Repeat([]byte("x"), 10_000_000), Context: &botkube.ExternalRequestContext{}}} {
		_, err := client.HandleExternalRequest(t.Context(), request)
		if want := string(request.Payload[:min(10, len(request.Payload))]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWebhooks(t *testing.T) {
	var got Input
	panics := false
	host, _ := connect(t, feed{hint: func(in Input, body []byte) error {
		if got = in; panics {
			panic("100% wrong")
		}
		if string(body) != "fine" {
			return errors.New("this is no webhook")
		}
		return nil
	}}, silent)
	in := botkube.ExternalRequestInput{Payload: []byte("fine"), Config: &botkube.Config{RawYAML: []byte("a: 1")},
		Context: botkube.ExternalRequestInputContext{CommonSourceContext: botkube.CommonSourceContext{SourceName: "pulls"}}}
	out, err := host.HandleExternalRequest(t.Context(), in)
	if err != nil || !out.Event.Message.IsEmpty() || out.Event.RawObject != nil {
		t.Errorf("%+v, %v", out, err)
	}
	if diff := cmp.Diff(Input{Source: "pulls", Configs: [][]byte{[]byte("a: 1")}}, got); diff != "" {
		t.Error(diff)
	}
	in.Payload = []byte("garbage")
	if _, err := host.HandleExternalRequest(t.Context(), in); err == nil || !strings.Contains(err.Error(), "this is no webhook") {
		t.Error(err)
	}
	in.Payload = make([]byte, maxHint+1)
	if _, err := host.HandleExternalRequest(t.Context(), in); err == nil || !strings.Contains(err.Error(), "more than 25 MB") {
		t.Error(err)
	}
	panics = true
	in.Payload = []byte("fine")
	if _, err := host.HandleExternalRequest(t.Context(), in); err == nil || strings.Contains(err.Error(), "%") {
		t.Error(err)
	}
	panics = false
	if _, err := host.HandleExternalRequest(t.Context(), in); err != nil {
		t.Error(err)
	}
}

// A fault in Botkube's adapter, or in gRPC's part of ferry, ends one call and not the process.
func TestPanicOutsideTheFeedEndsOneStream(t *testing.T) {
	var log bytes.Buffer
	err := guard.Stream(hostlog.New(&log, slog.LevelInfo))(nil, taken{ctx: t.Context()}, &grpc.StreamServerInfo{FullMethod: "/x"},
		func(any, grpc.ServerStream) error { panic("100% wrong") })
	if err == nil || strings.Contains(err.Error(), "%") || !strings.Contains(log.String(), "100% wrong") {
		t.Errorf("error %v, log %s", err, log.String())
	}
}

func TestMetadata(t *testing.T) {
	host, _ := connect(t, telling(), silent)
	about, err := host.Metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := about.Validate(); err != nil {
		t.Error(err)
	}
	want := api.MetadataOutput{Version: "v1.2.3", Description: "Tells", DocumentationURL: "https://example.org", JSONSchema: api.JSONSchema{Value: "{}"},
		ExternalRequest: api.ExternalRequestMetadata{Payload: api.ExternalRequestPayload{JSONSchema: api.JSONSchema{Value: `{"type": "object"}`}}}, Dependencies: map[string]api.Dependency{}}
	if diff := cmp.Diff(want, about); diff != "" {
		t.Error(diff)
	}
}

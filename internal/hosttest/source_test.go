package hosttest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kubeshop/botkube/pkg/api/source"
	"github.com/kubeshop/botkube/pkg/plugin"
)

// hub answers as GitHub would for one repository, acme/fleet.
type hub struct {
	*httptest.Server

	mu    sync.Mutex
	pulls []map[string]any
	looks int
}

func github(t *testing.T) *hub {
	t.Helper()
	h := &hub{pulls: []map[string]any{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v3/repos/acme/fleet/pulls", func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.looks++
		h.answer(w, h.pulls)
	})
	mux.HandleFunc("GET /api/v3/repos/acme/fleet/pulls/{number}/files", func(w http.ResponseWriter, r *http.Request) {
		h.answer(w, []map[string]any{{"filename": "apps/prod/podinfo.yaml", "status": "modified"}})
	})
	mux.HandleFunc("GET /api/v3/repos/acme/fleet", func(w http.ResponseWriter, r *http.Request) { h.answer(w, repository()) })
	h.Server = httptest.NewServer(mux)
	t.Cleanup(h.Close)
	return h
}

func (h *hub) answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}

func repository() map[string]any {
	return map[string]any{"id": 1, "name": "fleet", "full_name": "acme/fleet", "owner": map[string]any{"login": "acme"}}
}

// open adds a pull request.
func (h *hub) open(number int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now().UTC().Format(time.RFC3339)
	side := func(ref string) map[string]any {
		return map[string]any{"ref": ref, "label": "acme:" + ref, "sha": fmt.Sprintf("%040d", number), "repo": repository(), "user": map[string]any{"login": "acme"}}
	}
	h.pulls = append([]map[string]any{{
		"id": number, "number": number, "state": "open", "title": "Update <!channel> podinfo", "html_url": fmt.Sprintf("https://github.com/acme/fleet/pull/%d", number),
		"user": map[string]any{"login": "jane"}, "labels": []any{}, "draft": false, "created_at": now, "updated_at": now, "head": side("update"), "base": side("main"),
	}}, h.pulls...)
}

func (h *hub) looked() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.looks
}

// until waits for something that another process does.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline, tick := time.After(30*time.Second), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("within 30 s not: %s", what)
		case <-tick.C:
		}
	}
}

// configuration is one of the source's, as the host passes it.
func (h *hub) configuration(dir, more string) *source.Config {
	return &source.Config{RawYAML: fmt.Appendf(nil, "github: {baseURL: %q, auth: {tokenEnv: FERRY_TEST_TOKEN}}\nstateDir: %q\n%s", h.URL, dir, more)}
}

const fleet = "repositories: [{name: acme/fleet}]\ninterval: 5s\nbudget: {factor: 50}\n"

// stream opens one as the host's scheduler does.
func (h host) stream(t *testing.T, config *source.Config, interactive bool) <-chan source.Event {
	t.Helper()
	t.Setenv("FERRY_TEST_TOKEN", "x")
	ferry, err := h.GetSource(key)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	out, err := ferry.Stream(ctx, source.StreamInput{Configs: []*source.Config{config},
		Context: source.StreamInputContext{CommonSourceContext: source.CommonSourceContext{IsInteractivitySupported: interactive, SourceName: "pulls"}}})
	if err != nil {
		t.Fatal(err)
	}
	return out.Event
}

func next(t *testing.T, events <-chan source.Event) source.Event {
	t.Helper()
	select {
	case e, open := <-events:
		if !open {
			t.Fatal("the stream has ended")
		}
		return e
	case <-time.After(30 * time.Second):
		t.Fatal("no event within 30 s")
		return source.Event{}
	}
}

func startSource(t *testing.T) host {
	t.Helper()
	t.Setenv("FERRY_TEST_TOKEN", "x") // which the plugin inherits
	return startWith(t, nil, []string{key})
}

func TestTwoStreamsArePolledOnce(t *testing.T) {
	hub, h := github(t), startSource(t)
	config := hub.configuration(t.TempDir(), fleet)
	blocks, text := h.stream(t, config, true), h.stream(t, config, false)
	until(t, "a baseline", func() bool { return hub.looked() > 2 })
	hub.open(7)
	for name, events := range map[string]<-chan source.Event{"blocks": blocks, "text": text} {
		e := next(t, events)
		shown := plaintext(e.Message)
		if !strings.Contains(shown, "acme/fleet #7 opened") || strings.Contains(shown, "<!channel>") || !strings.Contains(shown, "https://github.com/acme/fleet/pull/7") {
			t.Errorf("%s: %s", name, shown)
		}
		if len(e.Message.Sections) > 0 != (name == "blocks") || e.Message.OnlyVisibleForYou {
			t.Errorf("%s: %+v", name, e.Message)
		}
		raw, ok := e.RawObject.(map[string]any)
		if !ok || raw["Level"] != "info" || raw["number"] != 7.0 || raw["title"] != "Update <!channel> podinfo" {
			t.Errorf("%s: raw object %v", name, e.RawObject)
		}
	}
	// At 5 s and a factor of 50 there are ten looks a second, and twice as many by two.
	before, begin := hub.looked(), time.Now()
	until(t, "ten looks", func() bool { return hub.looked() >= before+10 })
	if took := time.Since(begin); took < 700*time.Millisecond {
		t.Errorf("ten looks took %s: more than one looks", took)
	}
}

func TestKilledSourceGoesOn(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the plugin's process is looked for in /proc")
	}
	hub, h := github(t), startSource(t)
	config := hub.configuration(t.TempDir(), fleet)
	events := h.stream(t, config, false)
	until(t, "a baseline", func() bool { return hub.looked() > 2 })
	hub.open(7)
	if shown := plaintext(next(t, events).Message); !strings.Contains(shown, "#7 opened") {
		t.Error(shown)
	}
	before := h.process()
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	hub.open(8) // while nobody looks
	until(t, "another process", func() bool { after := h.process(); return after != 0 && after != before })
	var again <-chan source.Event
	until(t, "another stream", func() bool {
		ferry, err := h.GetSource(key)
		if err != nil {
			return false
		}
		ctx, cancel := context.WithCancel(context.Background())
		t.Cleanup(cancel)
		out, err := ferry.Stream(ctx, source.StreamInput{Configs: []*source.Config{config}, Context: source.StreamInputContext{CommonSourceContext: source.CommonSourceContext{SourceName: "pulls"}}})
		again = out.Event
		return err == nil && h.process() != before
	})
	seen := map[string]int{}
	for seen["8"] == 0 {
		shown := plaintext(next(t, again).Message)
		for _, number := range []string{"7", "8"} {
			if strings.Contains(shown, "#"+number+" opened") {
				seen[number]++
			}
		}
	}
	if seen["7"] > 1 {
		t.Errorf("told %v", seen) // once more is what the guarantee allows, since the kill came right behind
	}
}

func TestWrongConfigurationDoesNotEndTheStream(t *testing.T) {
	hub, h := github(t), startSource(t)
	for name, test := range map[string]struct{ config, want string }{
		"a malformed name": {fleet + "environments: [{name: to}]\n", "environments[0].name"},
		"nothing":          {"", "repositories"},
		"an inline token":  {"github: {auth: {accessToken: canary}}\n" + fleet, "tokenFile: /etc/ferry/github-token"},
	} {
		config := &source.Config{RawYAML: []byte(test.config)}
		if name == "a malformed name" {
			config = hub.configuration(t.TempDir(), test.config)
		}
		events := h.stream(t, config, true)
		e := next(t, events)
		if shown := plaintext(e.Message); !strings.Contains(shown, test.want) || strings.Contains(shown, "canary") {
			t.Errorf("%s: %s", name, shown)
		}
		select {
		case _, open := <-events:
			if !open {
				t.Errorf("%s ends the stream", name)
			}
		case <-time.After(300 * time.Millisecond):
		}
		if name == "a malformed name" { // the rest is followed
			before := hub.looked()
			until(t, "looks", func() bool { return hub.looked() > before+2 })
			hub.open(7)
			if shown := plaintext(next(t, events).Message); !strings.Contains(shown, "#7 opened") {
				t.Error(shown)
			}
		}
	}
}

func TestWebhook(t *testing.T) {
	hub, h := github(t), startSource(t)
	config := hub.configuration(t.TempDir(), "repositories: [{name: acme/fleet}]\ninterval: 24h\n")
	h.stream(t, config, true)
	until(t, "a first look", func() bool { return hub.looked() > 0 })
	ferry, err := h.GetSource(key)
	if err != nil {
		t.Fatal(err)
	}
	call := func(payload string) (source.ExternalRequestOutput, error) {
		return ferry.HandleExternalRequest(context.Background(), source.ExternalRequestInput{Payload: []byte(payload), Config: config,
			Context: source.ExternalRequestInputContext{CommonSourceContext: source.CommonSourceContext{SourceName: "pulls", IsInteractivitySupported: true}}})
	}
	before := hub.looked()
	out, err := call(`{"action": "opened", "number": 7, "repository": {"full_name": "acme/fleet"}}`)
	if err != nil || !out.Event.Message.IsEmpty() || out.Event.RawObject != nil {
		t.Errorf("%+v, %v", out, err)
	}
	until(t, "a look for the hint", func() bool { return hub.looked() > before })
	for payload, want := range map[string]string{"": "no webhook of GitHub's", "garbage": "no webhook of GitHub's", "{}": "names no repository",
		`{"repository": {"full_name": "acme/other"}}`: "acme/other", `{"x": "` + strings.Repeat("x", 5<<20) + `"}`: "names no repository"} {
		if _, err := call(payload); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v", payload, err)
		}
	}
}

func TestSourceSaysWhatItIs(t *testing.T) {
	ferry, err := startSource(t).GetSource(key)
	if err != nil {
		t.Fatal(err)
	}
	about, err := ferry.Metadata(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range readIndex(t).Entries {
		if entry.Type == plugin.TypeSource && (about.Version != entry.Version || about.JSONSchema.Value != entry.JSONSchema.Value || entry.ExternalRequest.Payload.JSONSchema.Value == "") {
			t.Errorf("the plugin says %+v, the index %+v", about, entry)
		}
	}
}

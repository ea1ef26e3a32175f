package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kubeshop/botkube/pkg/api"

	"github.com/ferry-chatops/ferry/internal/app/config"
	"github.com/ferry-chatops/ferry/internal/chatops"
	"github.com/ferry-chatops/ferry/internal/github"
	"github.com/ferry-chatops/ferry/internal/githubtest/contract"
	plugin "github.com/ferry-chatops/ferry/internal/plugin/source"
	"github.com/ferry-chatops/ferry/internal/promotion"
	"github.com/ferry-chatops/ferry/internal/watch"
)

// pulls is GitHub with one repository, acme/fleet.
type pulls struct {
	mu    sync.Mutex
	all   []watch.PullRequest
	fault error
	looks int
	at    chan struct{} // takes a token for each look
	stuck chan struct{} // looks do not end before it is closed; nil: they do
}

func newPulls() *pulls { return &pulls{at: make(chan struct{}, 1000)} }

func (p *pulls) Pulls(_ context.Context, request watch.Request) (watch.Page, error) {
	select {
	case p.at <- struct{}{}:
	default:
	}
	if p.stuck != nil {
		<-p.stuck
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looks++
	page := watch.Page{Repository: 1, Name: "acme/fleet"}
	for _, one := range p.all {
		if !request.Open || one.State == "open" {
			page.Pulls = append(page.Pulls, one)
		}
	}
	return page, p.fault
}

func (p *pulls) Files(context.Context, string, int) ([]watch.File, bool, error) {
	return []watch.File{{Name: "apps/prod/podinfo.yaml"}, {Name: "README.md"}}, true, nil
}

func (p *pulls) Diverged(context.Context, string, string, string) (bool, error) { return false, nil }

func (p *pulls) Status() github.Status {
	return github.Status{Accounts: []github.AccountStatus{{Name: "token", State: github.Good, Counts: github.Counts{OK: 3, Unchanged: 40},
		Budgets: []github.Budget{{Resource: "core", Limit: 5000, Remaining: 4990, Reset: time.Unix(1767366600, 0)}}}}}
}

// open adds a pull request.
func (p *pulls) open(number int, title string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now().Add(time.Duration(number) * time.Second)
	sha := fmt.Sprintf("%040d", number)
	raw := fmt.Sprintf(`{"number": %d, "state": "open", "title": %q, "html_url": "https://github.com/acme/fleet/pull/%d", "user": {"login": "jane"}, "head": {"ref": "update", "sha": %q}, "base": {"ref": "main"}}`, number, title, number, sha)
	p.all = append(p.all, watch.PullRequest{Repository: "acme/fleet", Number: number, URL: fmt.Sprintf("https://github.com/acme/fleet/pull/%d", number), Title: title, Author: "jane", State: "open",
		Head: watch.Side{Repository: "acme/fleet", Ref: "update", SHA: sha}, Base: watch.Side{Repository: "acme/fleet", Ref: "main", SHA: strings.Repeat("b", 40)}, Created: now, Updated: now, Raw: []byte(raw)})
}

// settled waits until GitHub was looked at some times more.
func (p *pulls) settled(t *testing.T, looks int) {
	t.Helper()
	for range looks {
		select {
		case <-p.at:
		case <-time.After(20 * time.Second):
			t.Fatal("GitHub is not looked at")
		}
	}
}

// begin gives Sources whose GitHub is from, and how often it was opened.
func begin(t *testing.T, from *pulls) (*Sources, *int) {
	t.Helper()
	s, err := New("v1.2.3", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	opened := new(int)
	s.hub = func(config.Source, []github.Account, *github.Disk, *slog.Logger) (hub, error) {
		*opened++
		return from, nil
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, opened
}

// stream follows, and gives what arrives.
func (s *Sources) stream(t *testing.T, in plugin.Input) <-chan plugin.Event {
	t.Helper()
	events := make(chan plugin.Event)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Follow(ctx, in, func(ctx context.Context, e plugin.Event) bool {
			select {
			case events <- e:
				return true
			case <-ctx.Done():
				return false
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return events
}

func next(t *testing.T, events <-chan plugin.Event) (text string, raw map[string]any) {
	t.Helper()
	select {
	case e := <-events:
		if len(e.Raw) > 0 {
			if err := json.Unmarshal(e.Raw, &raw); err != nil {
				t.Fatal(err)
			}
		}
		return textOf(e.Message), raw
	case <-time.After(20 * time.Second):
		t.Fatal("no event")
		return "", nil
	}
}

func textOf(m api.Message) string {
	all := []string{m.BaseBody.Plaintext, m.BaseBody.CodeBlock}
	for _, s := range m.Sections {
		all = append(all, s.Header, s.Description, s.Body.Plaintext, s.Body.CodeBlock)
		for _, f := range s.TextFields {
			all = append(all, f.Key+": "+f.Value)
		}
		for _, b := range s.Buttons {
			all = append(all, "["+b.Name+"] "+b.Command+b.URL)
		}
		for _, c := range s.Context {
			all = append(all, c.Text)
		}
	}
	return strings.Join(all, "\n")
}

func has(t *testing.T, text string, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
}

// quick is a configuration whose times are short.
func quick(t *testing.T, more string) [][]byte {
	return [][]byte{fmt.Appendf(nil, "stateDir: %s\nbudget: {factor: 100}\n%s", t.TempDir(), more)}
}

const fleet = "repositories: [{name: acme/fleet}]"

// connected waits until all that is followed has a number of streams.
func (s *Sources) connected(t *testing.T, hub *pulls, streams int) {
	t.Helper()
	for all := false; !all; hub.settled(t, 1) {
		all = true
		s.mu.Lock()
		for _, w := range s.watching {
			all = all && len(w.present().Status().Streams) == streams
		}
		s.mu.Unlock()
	}
}

// The host opens a stream for platforms with buttons and one for those without.
func TestTwoStreamsHaveOneWatcher(t *testing.T) {
	hub := newPulls()
	s, opened := begin(t, hub)
	configs := quick(t, fleet)
	blocks := s.stream(t, plugin.Input{Source: "pulls", Configs: configs, Interactive: true})
	text := s.stream(t, plugin.Input{Source: "pulls", Configs: configs})
	hub.settled(t, 3)
	s.connected(t, hub, 2)
	hub.open(7, "Update <!channel> podinfo")
	shown, raw := next(t, blocks)
	has(t, shown, "acme/fleet #7 opened", "Update &lt;!channel&gt; podinfo", "Author: jane", "Files: 2", "[View] https://github.com/acme/fleet/pull/7", "1#7:opened:")
	if raw["Level"] != "info" || raw["Kind"] != "opened" || raw["number"] != 7.0 || raw["html_url"] != "https://github.com/acme/fleet/pull/7" || raw["Key"] == "" {
		t.Errorf("raw %v", raw)
	}
	shown, _ = next(t, text)
	has(t, shown, "**acme/fleet #7 opened**", "View: https://github.com/acme/fleet/pull/7")
	if strings.Contains(shown, "<!channel>") {
		t.Errorf("it calls everybody: %s", shown)
	}
	if *opened != 1 {
		t.Errorf("%d watchers", *opened)
	}
}

// Another source group, or another configuration, has its own.
func TestDistinctConfigurationsHaveTheirOwn(t *testing.T) {
	hub := newPulls()
	s, opened := begin(t, hub)
	s.stream(t, plugin.Input{Source: "a", Configs: quick(t, fleet)})
	s.stream(t, plugin.Input{Source: "a", Configs: quick(t, fleet+"\nnamespace: x")})
	s.stream(t, plugin.Input{Source: "b", Configs: quick(t, fleet)})
	hub.settled(t, 6)
	s.mu.Lock()
	defer s.mu.Unlock()
	if *opened != 3 {
		t.Errorf("%d watchers", *opened)
	}
}

func TestWhatWasToldIsNotToldAgain(t *testing.T) {
	hub := newPulls()
	configs := quick(t, fleet)
	in := plugin.Input{Source: "pulls", Configs: configs, Interactive: true}
	t.Run("first", func(t *testing.T) {
		s, _ := begin(t, hub)
		events := s.stream(t, in)
		hub.settled(t, 3)
		hub.open(7, "One")
		shown, _ := next(t, events)
		has(t, shown, "#7 opened")
	})
	hub.open(8, "Two") // while nobody looks
	t.Run("second", func(t *testing.T) {
		s, _ := begin(t, hub)
		shown, _ := next(t, s.stream(t, in))
		has(t, shown, "#8 opened", "Two")
	})
}

const buttons = `repositories:
- name: acme/fleet
  on:
    pullRequests:
    - notificationTemplate:
        previewTpl: "PR {{ .Number }} by {{ .User.Login }}: {{ .PullRequest.Title }} @everyone"
        extraButtons:
        - {displayName: Flux Diff, commandTpl: "flux diff ks podinfo --github-ref {{ .HTMLURL }} "}
        - {displayName: Unsafe, commandTpl: "flux diff ks {{ .Title }}"}
        - {displayName: Docs, url: "https://wiki.example/{{ .Number }}", style: primary}
        - {displayName: Plain, url: "http://wiki.example/{{ .Number }}"}
`

func TestTemplatesOfTheConfiguration(t *testing.T) {
	hub := newPulls()
	s, _ := begin(t, hub)
	configs := quick(t, buttons)
	blocks := s.stream(t, plugin.Input{Source: "pulls", Configs: configs, Interactive: true})
	text := s.stream(t, plugin.Input{Source: "pulls", Configs: configs})
	hub.settled(t, 3)
	s.connected(t, hub, 2)
	hub.open(7, "x --yes; rm")
	shown, _ := next(t, blocks)
	has(t, shown, "PR 7 by jane: x --yes; rm @\u200beveryone", "[Flux Diff] {{BotName}} flux --bk-cmd-header='Flux Diff' diff ks podinfo --github-ref https://github.com/acme/fleet/pull/7",
		"[Docs] https://wiki.example/7", "The button Unsafe is left out: what this pull request would put into its command is not safe there.", "The button Plain is left out: what comes of its template is no address with https")
	if strings.Contains(shown, "[Unsafe]") || strings.Contains(shown, "[Plain]") || strings.Contains(shown, "Author:") {
		t.Error(shown)
	}
	shown, _ = next(t, text)
	has(t, shown, "Flux Diff: `flux diff ks podinfo --github-ref https://github.com/acme/fleet/pull/7`", "Docs: https://wiki.example/7")
}

// TestAStateDirGoesBeforeTheCluster, which is not asked.
func TestAStateDirGoesBeforeTheCluster(t *testing.T) {
	hub := newPulls()
	s, _ := begin(t, hub)
	dir := t.TempDir()
	kubeconfig := []byte(`{"apiVersion": "v1", "kind": "Config", "current-context": "c",
		"contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}], "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
		"users": [{"name": "u", "user": {"token": "t"}}]}`)
	events := s.stream(t, plugin.Input{Source: "pulls", Configs: [][]byte{fmt.Appendf(nil, "stateDir: %s\nbudget: {factor: 100}\n%s", dir, fleet)}, Kubeconfig: kubeconfig})
	hub.settled(t, 3)
	hub.open(7, "One")
	shown, _ := next(t, events)
	has(t, shown, "#7 opened")
	if kept, err := os.ReadDir(filepath.Join(dir, "pulls")); err != nil || len(kept) == 0 {
		t.Error(kept, err)
	}
}

// TestAJournalIsFoundAgain though the host has another token since, or the configuration was changed.
func TestAJournalIsFoundAgain(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	at := func(server, token, namespace string) string {
		w := &watching{config: config.Source{Namespace: namespace}}
		if _, err := w.openState(plugin.Input{Source: "pulls", Configs: [][]byte{[]byte(token)}, Kubeconfig: fmt.Appendf(nil, `{"apiVersion": "v1", "kind": "Config", "current-context": "c",
			"contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}], "clusters": [{"name": "c", "cluster": {"server": %q}}],
			"users": [{"name": "u", "user": {"token": %q}}]}`, server, token)}); err != nil {
			t.Fatal(err)
		}
		return w.state.journal
	}
	first := at("https://127.0.0.1:1", "one", "ferry")
	if again := at("https://127.0.0.1:1", "two", "ferry"); first == "" || again != first {
		t.Errorf("%q is %q with another token", first, again)
	}
	for _, other := range []string{at("https://127.0.0.1:2", "one", "ferry"), at("https://127.0.0.1:1", "one", "other")} {
		if other == first {
			t.Errorf("two places have the journal %s", other)
		}
	}
}

// TestAPullRequestDoesNotChooseWhereAButtonLeads, whatever its branch is called.
func TestAPullRequestDoesNotChooseWhereAButtonLeads(t *testing.T) {
	s, _ := begin(t, newPulls())
	raw := []byte(`{"number": 7, "html_url": "https://github.com/acme/fleet/pull/7", "title": "a@evil.example", "body": ".evil.example", "head": {"ref": "evil.example/x", "repo": {"homepage": "https://evil.example"}}}`)
	for url, want := range map[config.Template]string{
		"https://{{ .Head.Ref }}.preview.example/":                                           "",
		"https://{{ .Title }}.preview.example/":                                              "",
		"https://pr-{{ .Number }}.preview.example/{{ .Head.Ref }}":                           "https://pr-7.preview.example/evil.example/x",
		"https://wiki.example/{{ .Number }}?q={{ .Head.Ref }}":                               "https://wiki.example/7?q=evil.example/x",
		"https://wiki.example{{ if .Number }}/{{ .Head.Ref }}{{ end }}":                      "https://wiki.example/evil.example/x",
		"https://wiki.example{{ if .Number }}.{{ .Title }}{{ end }}":                         "",
		"https://wiki{{ .Body }}":                                                            "",
		"https://{{ .Title }}":                                                               "",
		"https://wiki.example":                                                               "https://wiki.example",
		"{{ .HTMLURL }}/files":                                                               "https://github.com/acme/fleet/pull/7/files",
		"{{ .HTMLURL }}?to=https://wiki.example":                                             "https://github.com/acme/fleet/pull/7?to=https://wiki.example",
		"{{ with .Head }}https://{{ .Ref }}.preview.example/{{ end }}":                       "",
		"{{ with .Head.Ref }}https://{{ . }}{{ end }}":                                       "",
		"HTTPS://{{ .Head.Ref }}.preview.example/":                                           "",
		"{{ print `https://` .Head.GetRef }}":                                                "",
		"{{ .Head.Repo.Homepage }}":                                                          "",
		"{{ if .Draft }}https://a.example{{ else }}https://b.example/{{ .Number }}{{ end }}": "https://b.example/7",
		"{{ with .Head }}https://pr.preview.example/{{ .Ref }}{{ end }}":                     "https://pr.preview.example/evil.example/x",
	} {
		templates, err := config.NotificationTemplate{ExtraButtons: []config.ExtraButton{{DisplayName: "Go", URL: url}}}.Templates()
		if err != nil {
			t.Fatal(err)
		}
		p := s.pull(t.Context(), &watching{reacher: &reacher{}}, rule{Templates: templates}, watch.Event{PullRequest: &watch.PullRequest{Raw: raw}})
		got := ""
		if len(p.Buttons) > 0 {
			got = p.Buttons[0].URL
		}
		if got != want || (len(p.Notes) > 0) != (want == "") {
			t.Errorf("%s: %q, %q", url, got, p.Notes)
		}
	}
}

func TestFaultsAreToldOnceAndTheRestIsFollowed(t *testing.T) {
	hub := newPulls()
	configs := quick(t, "repositories: [{name: not a name}, {name: acme/fleet}]")
	in := plugin.Input{Source: "pulls", Configs: configs}
	t.Run("first", func(t *testing.T) {
		s, _ := begin(t, hub)
		events := s.stream(t, in)
		shown, raw := next(t, events)
		has(t, shown, "repositories[0].name: write OWNER/NAME")
		if raw["Level"] != "error" {
			t.Errorf("raw %v", raw)
		}
		hub.settled(t, 3)
		hub.open(7, "One")
		shown, _ = next(t, events)
		has(t, shown, "#7 opened")
	})
	t.Run("after a restart", func(t *testing.T) {
		s, _ := begin(t, hub)
		events := s.stream(t, in)
		hub.settled(t, 3)
		hub.open(8, "Two")
		shown, _ := next(t, events)
		has(t, shown, "#8 opened")
	})
}

func TestNothingToFollowIsToldAndNothingElseHappens(t *testing.T) {
	for name, test := range map[string]struct {
		in   plugin.Input
		want string
	}{
		"nothing":              {plugin.Input{}, "no configuration yet"},
		"no YAML":              {plugin.Input{Configs: [][]byte{[]byte("{")}}, "document 1 cannot be read"},
		"an inline token":      {plugin.Input{Configs: quick(t, fleet+"\ngithub: {auth: {accessToken: canary}}")}, "write github: {auth: {tokenFile: /etc/ferry/github-token}}"},
		"a broken kubeconfig":  {plugin.Input{Configs: quick(t, fleet), Kubeconfig: []byte("{canary")}, "is not a kubeconfig"},
		"neither place":        {plugin.Input{Configs: [][]byte{[]byte(fleet + "\nbudget: {factor: 100}")}}, "neither a kubeconfig nor a stateDir"},
		"a missing blueprint":  {plugin.Input{Configs: quick(t, "repositories: [{name: acme/fleet, on: {pullRequests: [{notificationTemplate: {blueprint: /nowhere/x.yaml}}]}}]")}, "/nowhere/x.yaml"},
		"a cacheDir in a file": {plugin.Input{Configs: quick(t, fleet+"\ncacheDir: /dev/null/x")}, "The cacheDir of ferry's source is not used"},
		"a wrong kind of list": {plugin.Input{Configs: quick(t, "repositories: {acme/fleet: {}}")}, "repositories: a list"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := begin(t, newPulls())
			events := s.stream(t, test.in)
			shown, _ := next(t, events)
			has(t, shown, test.want)
			if strings.Contains(shown, "canary") {
				t.Error(shown)
			}
			select {
			case e := <-events:
				t.Errorf("more: %s", textOf(e.Message))
			case <-time.After(100 * time.Millisecond):
			}
		})
	}
}

func TestProblemsAreToldOnceAndTheirEnd(t *testing.T) {
	hub := newPulls()
	s, _ := begin(t, hub)
	events := s.stream(t, plugin.Input{Source: "pulls", Configs: quick(t, fleet)})
	hub.settled(t, 2)
	hub.mu.Lock()
	hub.fault = &watch.Fault{Trouble: watch.Gone, Reason: "There is no repository acme/fleet, or ferry may not see it."}
	hub.mu.Unlock()
	shown, raw := next(t, events)
	has(t, shown, "**ferry cannot follow acme/fleet**", "There is no repository acme/fleet")
	if raw["Level"] != "error" {
		t.Errorf("raw %v", raw)
	}
	hub.mu.Lock()
	hub.fault = nil
	hub.mu.Unlock()
	shown, raw = next(t, events)
	has(t, shown, "**acme/fleet can be followed again**")
	if raw["Level"] != "info" {
		t.Errorf("raw %v", raw)
	}
}

// TestStateThatCannotBeKeptIsTold when it begins and when it ends, and what happened in between comes after that.
func TestStateThatCannotBeKeptIsTold(t *testing.T) {
	hub := newPulls()
	s, _ := begin(t, hub)
	in := plugin.Input{Source: "pulls", Configs: quick(t, fleet)}
	loaded, err := config.LoadSource(in.Configs)
	if err != nil {
		t.Fatal(err)
	}
	events := s.stream(t, in)
	hub.settled(t, 3)
	state := filepath.Join(loaded.StateDir, "pulls")
	for i := 0; ; i++ { // ferry may make it again in between
		if err := os.Rename(state, fmt.Sprint(state, i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if os.WriteFile(state, nil, 0o600) == nil {
			break
		}
	}
	hub.open(7, "One")
	shown, raw := next(t, events)
	has(t, shown, "ferry cannot keep what it saw", "Nothing is told before it can")
	if raw["Level"] != "error" || raw["Kind"] != "problem" {
		t.Error(raw)
	}
	if err := os.Remove(state); err != nil {
		t.Fatal(err)
	}
	var all string
	for range 2 {
		shown, _ := next(t, events)
		all += shown
	}
	has(t, all, "ferry can keep what it sees again", "#7 opened")
}

// TestStateIsKeptAgainWhenItCanBeWritten, and not because nothing had to be.
func TestStateIsKeptAgainWhenItCanBeWritten(t *testing.T) {
	hub := newPulls()
	s, _ := begin(t, hub)
	in := plugin.Input{Source: "pulls", Configs: quick(t, fleet)}
	loaded, err := config.LoadSource(in.Configs)
	if err != nil {
		t.Fatal(err)
	}
	wall := filepath.Join(loaded.StateDir, "pulls", "notices.json")
	if err := os.MkdirAll(wall, 0o700); err != nil {
		t.Fatal(err)
	}
	events := s.stream(t, in)
	shown, _ := next(t, events)
	has(t, shown, "ferry cannot keep what it saw")
	select {
	case e := <-events:
		t.Errorf("told too soon: %s", textOf(e.Message))
	case <-time.After(4 * stateEvery / 100):
	}
	if err := os.Remove(wall); err != nil {
		t.Fatal(err)
	}
	shown, _ = next(t, events)
	has(t, shown, "ferry can keep what it sees again")
}

// TestAStreamThatEndsHoldsUpNoOther, though it takes a while until everything is saved; but what follows the same begins after
// that.
func TestAStreamThatEndsHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := newPulls()
		hub.stuck = make(chan struct{})
		s, _ := begin(t, hub)
		same, other := plugin.Input{Source: "pulls", Configs: quick(t, fleet)}, plugin.Input{Source: "others"}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.Follow(ctx, same, func(context.Context, plugin.Event) bool { return true })
		}()
		hub.settled(t, 1)
		cancel()
		synctest.Wait()
		next(t, s.stream(t, other))
		events := s.stream(t, same)
		time.Sleep(time.Minute)
		if len(hub.at) > 0 {
			t.Error("two watchers follow the same")
		}
		close(hub.stuck)
		<-ended
		hub.settled(t, 2)
		hub.open(7, "One")
		shown, _ := next(t, events)
		has(t, shown, "#7 opened")
	})
}

// A watcher that a fault of ferry's ends is replaced, and its streams go on.
func TestWatcherThatEndsIsReplaced(t *testing.T) {
	hub := newPulls()
	s, _ := begin(t, hub)
	var asked atomic.Int32
	s.now = func() time.Time {
		if asked.Add(1) == 1 { // by the watcher, when it begins
			panic("no clock")
		}
		return time.Now()
	}
	events := s.stream(t, plugin.Input{Source: "pulls", Configs: quick(t, fleet)})
	hub.settled(t, 3)
	hub.open(7, "One")
	shown, _ := next(t, events)
	has(t, shown, "#7 opened")
}

func TestHints(t *testing.T) {
	for body, want := range map[string]string{
		`{"action": "opened", "number": 7, "repository": {"full_name": "acme/fleet"}}`:                   "acme/fleet",
		"payload=%7B%22repository%22%3A%7B%22full_name%22%3A%22acme%2Ffleet%22%7D%7D&x=1":                "acme/fleet",
		` {"repository": {"full_name": "acme/fleet", "private": true}, "sender": {"login": "x"}}` + "\n": "acme/fleet",
	} {
		if got, err := hinted([]byte(body)); got != want || err != nil {
			t.Errorf("%s: %q, %v", body, got, err)
		}
	}
	for body, want := range map[string]error{
		"": errNoWebhook, "hello": errNoWebhook, "[]": errNoWebhook, "{": errNoWebhook, "payload=%zz": errNoWebhook, "payload=[1]": errNoWebhook, "null": errNoWebhook, "7": errNoWebhook,
		"{}": errNoRepository, `{"repository": 7}`: errNoRepository, `{"repository": {"full_name": "../../x"}}`: errNoRepository, `{"repository": {"full_name": 7}}`: errNoRepository,
		`{"repository": {"full_name": "a/b/c"}}`: errNoRepository,
	} {
		if got, err := hinted([]byte(body)); got != "" || err != want { //nolint:errorlint // it is this one
			t.Errorf("%s: %q, %v", body, got, err)
		}
	}
	hub := newPulls()
	s, _ := begin(t, hub)
	in := plugin.Input{Source: "pulls", Configs: quick(t, "interval: 24h\nbudget: {factor: 1}\n"+fleet), Kubeconfig: nil}
	in.Configs[0] = []byte(strings.Replace(string(in.Configs[0]), "budget: {factor: 100}\n", "", 1))
	body := func(name string) []byte { return fmt.Appendf(nil, `{"repository": {"full_name": %q}}`, name) }
	if err := s.Hint(in, body("acme/fleet")); err == nil || !strings.Contains(err.Error(), "does not follow any repository here yet") {
		t.Error(err)
	}
	s.stream(t, in)
	hub.settled(t, 1)
	if err := s.Hint(in, body("acme/other")); err == nil || !strings.Contains(err.Error(), "acme/other") {
		t.Error(err)
	}
	if err := s.Hint(in, []byte("garbage")); err != errNoWebhook { //nolint:errorlint // it is this one
		t.Error(err)
	}
	for range 2 { // once for each mode
		if err := s.Hint(in, body("Acme/Fleet")); err != nil {
			t.Error(err)
		}
	}
	hub.settled(t, 1)
}

// GitHub's own examples, as JSON and as a form.
func TestHintsOfGitHubsWebhooks(t *testing.T) {
	payloads := contract.Payloads(t, "pull_request")
	if len(payloads) != 29 {
		t.Errorf("%d payloads", len(payloads))
	}
	hub := newPulls()
	s, _ := begin(t, hub)
	in := plugin.Input{Source: "pulls", Configs: quick(t, "repositories: [{name: codertocat/hello-world}]")}
	s.stream(t, in)
	hub.settled(t, 1)
	for i, body := range payloads {
		form := []byte("payload=" + url.QueryEscape(string(body)))
		for _, body := range [][]byte{body, form} {
			if name, err := hinted(body); name != "Codertocat/Hello-World" || err != nil {
				t.Errorf("payload %d: %q, %v", i, name, err)
			}
			if err := s.Hint(in, body); err != nil {
				t.Errorf("payload %d: %v", i, err)
			}
		}
	}
}

// Without the right to keep state nothing is told, and it is said what grants it.
func TestStateThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	hub := newPulls()
	s, _ := begin(t, hub)
	in := plugin.Input{Source: "pulls", Configs: [][]byte{fmt.Appendf(nil, "stateDir: %s/below\nbudget: {factor: 100}\n%s", file, fleet)}}
	events := s.stream(t, in)
	shown, _ := next(t, events)
	has(t, shown, "ferry cannot keep what it saw", "Nothing is told")
	select {
	case e := <-events:
		t.Errorf("more: %s", textOf(e.Message))
	case <-time.After(200 * time.Millisecond):
	}
}

func TestReportAndFigures(t *testing.T) {
	hub := newPulls()
	s, _ := begin(t, hub)
	in := plugin.Input{Source: "pulls", Configs: quick(t, fleet)}
	events := s.stream(t, in)
	hub.settled(t, 3)
	hub.open(7, "One")
	next(t, events)
	s.mu.Lock()
	w := s.watching[key(in)]
	s.mu.Unlock()
	r := s.report(w, "pulls")
	if len(r.Repositories) != 1 || r.Repositories[0].Name != "acme/fleet" || r.Repositories[0].Success.IsZero() || r.Trouble != "" {
		t.Errorf("%+v", r)
	}
	if a := r.Accounts; len(a) != 1 || a[0].Remaining != 4990 || a[0].Limit != 5000 || a[0].Unchanged != 40 {
		t.Errorf("%+v", a)
	}
	r.Repositories[0].Name = "a\"b\\c\n"
	var b strings.Builder
	metrics(&b, r, hub.Status())
	for _, want := range []string{
		`ferry_github_budget_remaining{source="pulls",account="token",resource="core"} 4990`, `ferry_github_responses_total{source="pulls",account="token",kind="unchanged"} 40`,
		`ferry_source_repository_failures{source="pulls",repository="a\"b\\c\n"} 0`, `ferry_source_telling{source="pulls"} 1`, `ferry_github_account_state{source="pulls",account="token",state="good"} 1`,
	} {
		if !strings.Contains(b.String(), want+"\n") {
			t.Errorf("%s is missing in:\n%s", want, b.String())
		}
	}
	for line := range strings.Lines(b.String()) {
		if !regexp.MustCompile(`^(# (HELP|TYPE) ferry_[a-z_]+ .+|ferry_[a-z_]+\{[^\n]+\} [0-9.e+]+)\n$`).MatchString(line) {
			t.Errorf("not of the format: %q", line)
		}
	}
}

func TestFiguresAreServed(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().(*net.TCPAddr)
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	hub := newPulls()
	s, _ := begin(t, hub)
	s.stream(t, plugin.Input{Source: "pulls", Configs: quick(t, fmt.Sprintf("metrics: {port: %d}\n%s", address.Port, fleet))})
	for deadline := time.Now().Add(10 * time.Second); ; hub.settled(t, 1) {
		response, err := http.Get("http://" + address.String() + "/metrics")
		if err == nil {
			body, err := io.ReadAll(response.Body)
			if cerr := response.Body.Close(); err != nil || cerr != nil || !strings.Contains(string(body), `ferry_source_telling{source="pulls"} 1`) {
				t.Errorf("%s, %v, %v", body, err, cerr)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// trees is a repository with one commit, counted how often it is fetched.
type trees struct {
	promotion.Repository
	fetched int
	err     error
}

func (r *trees) Tree(context.Context, string) (fs.FS, error) {
	r.fetched++
	return fstest.MapFS{
		"apps/prod/kustomization.yaml":  {Data: []byte("resources: [podinfo.yaml]\n")},
		"apps/prod/podinfo.yaml":        {Data: []byte("apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: podinfo, namespace: podinfo}\n")},
		"apps/stage/kustomization.yaml": {Data: []byte("resources: [web.yaml]\n")},
		"apps/stage/web.yaml":           {Data: []byte("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: web}\n")},
	}, r.err
}

func TestWhatAPullRequestTouches(t *testing.T) {
	place := func(name, repository, branch string) config.Place {
		return config.Place{Name: name, Repository: config.PlaceRepository{Name: repository, Branch: branch, Path: "apps/" + name}}
	}
	from := &trees{}
	r := reacher{places: []config.Place{place("prod", "Acme/Fleet", "main"), place("stage", "acme/fleet", ""), place("other", "acme/apps", "")},
		repository: func(string) (promotion.Repository, error) { return from, nil }}
	event := func(base, sha string, files ...watch.File) watch.Event {
		return watch.Event{Repository: "acme/fleet", Files: files, PullRequest: &watch.PullRequest{Base: watch.Side{Ref: base, SHA: sha}}}
	}
	for name, test := range map[string]struct {
		event watch.Event
		want  chatops.Touched
	}{
		"one":            {event("main", "a", watch.File{Name: "apps/prod/podinfo.yaml"}), chatops.Touched{Environments: []string{"prod"}, Applications: []string{"podinfo"}}},
		"a renamed file": {event("main", "a", watch.File{Name: "x.yaml", Previous: "apps/stage/web.yaml"}), chatops.Touched{Environments: []string{"stage"}, Applications: []string{"web"}}},
		"another branch": {event("next", "a", watch.File{Name: "apps/prod/podinfo.yaml"}), chatops.Touched{}},
		"nothing":        {event("main", "a", watch.File{Name: "README.md"}), chatops.Touched{}},
		"no files":       {event("main", "b"), chatops.Touched{}},
		"no commit":      {event("main", "", watch.File{Name: "apps/prod/podinfo.yaml"}), chatops.Touched{}},
	} {
		got, err := r.reaches(t.Context(), test.event)
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
	if from.fetched != 1 {
		t.Errorf("the commit is fetched %d times", from.fetched)
	}
	from.err = errors.New("no git")
	if got, err := r.reaches(t.Context(), event("main", "c", watch.File{Name: "apps/prod/podinfo.yaml"})); err == nil || len(got.Environments) != 0 {
		t.Errorf("%v, %v", got, err)
	}
	for _, sha := range []string{"c", "d", "e"} { // each event would wait, and the next one behind it
		if _, err := r.reaches(t.Context(), event("main", sha, watch.File{Name: "apps/prod/podinfo.yaml"})); err == nil || from.fetched != 2 {
			t.Errorf("%s: %v, fetched %d times", sha, err, from.fetched)
		}
	}
}

func FuzzHinted(f *testing.F) {
	f.Add([]byte(`{"repository": {"full_name": "acme/fleet"}}`))
	f.Add([]byte("payload=%7B%22repository%22%3A%7B%22full_name%22%3A%22acme%2Ffleet%22%7D%7D"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if name, err := hinted(body); err == nil && strings.Count(name, "/") != 1 {
			t.Errorf("%q names %q", body, name)
		}
	})
}

// TestStatusSpeaksToPeople: a missing file is told by its place in the configuration, once, and without ferry's own words.
func TestStatusSpeaksToPeople(t *testing.T) {
	var auth config.SourceGitHub
	auth.Owners = []config.OwnerAuth{{Owner: "acme", Auth: config.Auth{TokenFile: filepath.Join(t.TempDir(), "absent")}}}
	reader, err := openHub(config.Source{GitHub: auth}, accounts(auth, nil), nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	_, err = reader.Pulls(t.Context(), watch.Request{Repository: "acme/fleet", Open: true})
	const want = "The file of github.owners[0].auth.tokenFile cannot be read where ferry runs: no such file or directory."
	if got := said(fmt.Errorf("list pull requests: %w", err)); got != want {
		t.Errorf("got %q", got)
	}
	for _, a := range reader.Status().Accounts {
		if a.Name == "token for acme" && a.Reason != want {
			t.Errorf("the account: %q", a.Reason)
		}
	}
}

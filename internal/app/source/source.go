// Package source wires the source plugin: configuration, GitHub, the watcher and its state behind the streams.
package source

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ferry-chatops/ferry/internal/app/config"
	"github.com/ferry-chatops/ferry/internal/app/overrides"
	"github.com/ferry-chatops/ferry/internal/blueprint"
	"github.com/ferry-chatops/ferry/internal/chatops"
	"github.com/ferry-chatops/ferry/internal/cluster"
	"github.com/ferry-chatops/ferry/internal/git"
	"github.com/ferry-chatops/ferry/internal/github"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/plugin/hostlog"
	plugin "github.com/ferry-chatops/ferry/internal/plugin/source"
	"github.com/ferry-chatops/ferry/internal/watch"
)

// Serve answers the host until it ends the process. stderr is the process's own standard error.
func Serve(version string, stderr io.Writer) error {
	log := hostlog.New(stderr, slog.LevelDebug)
	cluster.UseLogger(log)
	about, err := about(version)
	if err != nil {
		return err
	}
	sources, err := New(version, log)
	if err != nil {
		return err
	}
	defer sources.Close() // a temporary directory, at the end of the process
	// Most of what is read is done with at once. By Go's default the heap would grow to twice of what stays.
	debug.SetGCPercent(40)
	// It waits nearly always. With more, each answer of GitHub's would wake another thread to look for work that is not there.
	runtime.GOMAXPROCS(1)
	// git is found: from now on no library starts anything by its name.
	if err := os.Setenv("PATH", ""); err != nil {
		return fmt.Errorf("empty PATH: %w", err)
	}
	plugin.Serve(plugin.New(sources, about, log))
	return nil
}

// payloadSchema describes what a webhook may bring.
const payloadSchema = `{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "title": "A webhook of GitHub's",
  "type": "object",
  "properties": {"repository": {"type": "object", "properties": {"full_name": {"type": "string"}}, "required": ["full_name"]}},
  "required": ["repository"]
}`

// about describes the plugin to the host and to its index.
func about(version string) (plugin.About, error) {
	schema, err := config.SourceSchema()
	if err != nil {
		return plugin.About{}, err
	}
	return plugin.About{Version: version, Description: "Tells what happens to pull requests on GitHub.",
		DocumentationURL: "https://github.com/ferry-chatops/ferry", Schema: schema, PayloadSchema: payloadSchema}, nil
}

// Sources follow what the configurations of streams name: one watcher for each configuration, whatever the number of its
// streams.
type Sources struct {
	version string
	chat    *chatops.Chat
	log     *slog.Logger
	trees   *git.Trees
	shown   *overrides.Loader
	now     func() time.Time
	hub     func(config.Source, []github.Account, *github.Disk, *slog.Logger) (hub, error)

	mu       sync.Mutex
	watching map[string]*watching
	leaving  map[string]<-chan struct{} // closed when what was followed before has ended
}

// New makes Sources; the caller closes them.
func New(version string, log *slog.Logger) (*Sources, error) {
	set, err := overrides.Own()
	if err != nil {
		return nil, err
	}
	trees, err := git.New("")
	if err != nil {
		return nil, err
	}
	return &Sources{
		version: version, chat: &chatops.Chat{Blueprints: set, Log: log, Now: time.Now}, log: log, trees: trees, now: time.Now, hub: openHub,
		shown: overrides.New(set, trees.Tree, time.Now, log), watching: map[string]*watching{}, leaving: map[string]<-chan struct{}{},
	}, nil
}

// Close removes what git left on disk.
func (s *Sources) Close() error { return s.trees.Close() }

// interactiveStream is the one for platforms with buttons.
const interactiveStream = "interactive"

// stateEvery is how often a stream looks whether anything can be put on record.
const stateEvery = 30 * time.Second

// Follow hands the events of one stream to send, until ctx ends.
func (s *Sources) Follow(ctx context.Context, in plugin.Input, send plugin.Send) {
	w := s.enter(in)
	defer s.leave(in, w)
	stream := "text"
	if in.Interactive {
		stream = interactiveStream
	}
	w.state.forget(ctx, w.notices)
	notices := w.notices
	kept := true
	if w.make != nil {
		if unwritable := w.state.unwritable(ctx); unwritable != nil {
			notices, kept = append(slices.Clone(notices), unwritable), false
		}
	}
	for _, notice := range notices {
		if w.state.told(ctx, stream, notice.Error()) {
			continue
		}
		if !send(ctx, plugin.Event{Message: s.chat.Announce(nil, notice, in.Interactive), Raw: raw(watch.Problem, notice)}) {
			return
		}
		w.state.tell(ctx, stream, notice.Error())
	}
	if w.make == nil {
		<-ctx.Done()
		return
	}
	tell := func(e plugin.Event) bool { return send(ctx, e) }
	for ctx.Err() == nil {
		watcher, renewed := w.renewal()
		kept = s.deliver(ctx, w, watcher, stream, renewed, kept, tell)
	}
}

// deliver hands over what a watcher has, until ctx ends or another watcher has taken its place. What cannot be put on record
// cannot be told by way of it, so that is told here, and its end: kept says what the stream knows, before and after.
func (s *Sources) deliver(ctx context.Context, w *watching, watcher *watch.Watcher, stream string, renewed <-chan struct{}, kept bool, tell func(plugin.Event) bool) bool {
	interactive := stream == interactiveStream
	deliveries := watcher.Subscribe(ctx, stream)
	looks := time.NewTicker(time.Duration(float64(stateEvery) / cmp.Or(w.config.Budget.Factor, 1)))
	defer looks.Stop()
	for others := 0; ; {
		select {
		case <-ctx.Done():
			return kept
		case <-renewed:
			return kept
		case <-looks.C:
			trouble := watcher.Status().State
			if well := trouble == nil && (kept || w.state.unwritable(ctx) == nil); well == kept {
				others = 0
				continue
			}
			if others++; others < 2 { // it may pass
				continue
			}
			kind, notice := watch.Solved, &gitops.Refusal{Code: gitops.Config, Title: "ferry can keep what it sees again", Reason: "What happened in the meantime is told now."}
			if trouble != nil {
				kind, notice = watch.Problem, forgetful(trouble)
			}
			if !tell(plugin.Event{Message: s.chat.Announce(nil, notice, interactive), Raw: raw(kind, notice)}) {
				return kept
			}
			kept = trouble == nil
		case d := <-deliveries:
			if !tell(s.event(ctx, w, d.Event, interactive)) {
				return kept
			}
			d.Done()
		}
	}
}

// A watching is a configuration that is followed.
type watching struct {
	streams int
	stop    context.CancelFunc
	ended   chan struct{}

	config  config.Source
	notices []*gitops.Refusal // what the configuration's owner is told in the beginning
	state   *state
	hub     hub
	reacher *reacher
	make    func() *watch.Watcher // nil where there is nothing that can be followed
	rules   map[string]rule
	shown   func(context.Context) *blueprint.Set // the operator's; nil where there are none

	mu      sync.Mutex
	watcher *watch.Watcher // runs at present
	renewed chan struct{}  // closed when another one does
}

// present is the watcher that runs.
func (w *watching) present() *watch.Watcher {
	watcher, _ := w.renewal()
	return watcher
}

func (w *watching) renewal() (*watch.Watcher, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.watcher, w.renewed
}

// renew puts another watcher in the place of one that has ended: each runs once.
func (w *watching) renew() *watch.Watcher {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.renewed != nil {
		close(w.renewed)
	}
	w.watcher, w.renewed = w.make(), make(chan struct{})
	return w.watcher
}

// A rule is how what a rule tells is shown.
type rule struct {
	config.Templates
	shown *blueprint.Set // with a blueprint of its own; nil without
}

// key tells configurations apart. A webhook comes without a kubeconfig, so that is not in it.
func key(in plugin.Input) string {
	return in.Source + "\x00" + string(bytes.Join(in.Configs, []byte{0}))
}

// enter gives what is followed for a stream, begun for the first one.
func (s *Sources) enter(in plugin.Input) *watching {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.watching[key(in)]
	if w == nil {
		w = s.open(in, s.leaving[key(in)])
		s.watching[key(in)] = w
	}
	w.streams++
	return w
}

// leave ends what is followed with the last stream. What it has yet to save takes seconds, in which others go on.
func (s *Sources) leave(in plugin.Input, w *watching) {
	s.mu.Lock()
	if w.streams--; w.streams > 0 {
		s.mu.Unlock()
		return
	}
	delete(s.watching, key(in))
	s.leaving[key(in)] = w.ended
	s.mu.Unlock()
	w.stop()
	<-w.ended
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving[key(in)] == w.ended {
		delete(s.leaving, key(in))
	}
}

// open begins to follow, once what was followed before by the same configuration has ended; nil: nothing was. What is wrong
// with the configuration is in the notices; the rest is followed.
func (s *Sources) open(in plugin.Input, former <-chan struct{}) *watching {
	ctx, stop := context.WithCancel(context.Background())
	w := &watching{stop: stop, ended: make(chan struct{})}
	notice := func(err error) {
		refusal, ok := errors.AsType[*gitops.Refusal](err)
		if !ok {
			s.log.Error("the source cannot be opened", "source", in.Source, "error", err)
			refusal = &gitops.Refusal{Code: gitops.Internal, Reason: "ferry cannot follow what its source's configuration names. Its log has the details."}
		}
		w.notices = append(w.notices, refusal)
	}
	var err error
	if w.config, err = config.LoadSource(in.Configs); err != nil {
		notice(err)
	}
	secret, err := w.openState(in)
	if err != nil {
		notice(err)
	}
	if len(w.config.Repositories) > 0 && w.state.store != nil {
		disk, err := openDisk(w.config.CacheDir, w.state.answers, s.log)
		if err != nil {
			notice(err)
		}
		if err := s.follow(w, disk, secret); err != nil {
			notice(err)
		}
	}
	if w.make == nil {
		close(w.ended)
		return w
	}
	first := w.renew()
	go func() {
		defer close(w.ended)
		if former != nil {
			<-former
		}
		s.run(ctx, w, in.Source, first)
	}()
	return w
}

// follow makes the watcher and what shows its events.
func (s *Sources) follow(w *watching, disk *github.Disk, secret config.ReadSecret) (err error) {
	all := accounts(w.config.GitHub, secret)
	if w.hub, err = s.hub(w.config, all, disk, s.log); err != nil {
		return err
	}
	w.reacher = &reacher{places: w.config.Environments, repository: s.repositories(w.config, all)}
	if from := w.config.Blueprints; from != "" {
		w.shown = func(ctx context.Context) *blueprint.Set { return s.shown.Set(ctx, from) }
	}
	w.rules = map[string]rule{}
	for i, r := range w.config.Repositories {
		for j, configured := range r.On.PullRequests {
			shown := rule{}
			if shown.Templates, err = configured.NotificationTemplate.Templates(); err != nil {
				return fmt.Errorf("read templates: %w", err)
			}
			if file := configured.NotificationTemplate.Blueprint; file != "" {
				if shown.shown, err = overrides.File(s.chat.Blueprints, "pull", file); err != nil {
					w.notices = append(w.notices, &gitops.Refusal{Code: gitops.Config, Title: "A blueprint of ferry's source is not used",
						Reason: "ferry's own is shown in its place.", Details: []string{fmt.Sprintf("%s: %v", file, err)}})
				}
			}
			w.rules[fmt.Sprintf("repositories[%d].on.pullRequests[%d]", i, j)] = shown
		}
	}
	w.make = func() *watch.Watcher {
		watcher, _ := watch.New(w.config.Watch(), watch.Ports{ // mistakes were told of the configuration
			GitHub: w.hub, Store: w.state.store, Journal: w.state.journal, Now: s.now, Random: rand.Float64, Log: s.log,
		})
		return watcher
	}
	return nil
}

// run watches and reports until ctx ends, and begins again after a panic.
func (s *Sources) run(ctx context.Context, w *watching, name string, first *watch.Watcher) {
	tasks := []func(context.Context){
		func(ctx context.Context) {
			if first == nil {
				w.renew().Run(ctx)
				return
			}
			watcher := first
			first = nil
			watcher.Run(ctx)
		},
		func(ctx context.Context) { s.reporting(ctx, w, name) },
	}
	if w.config.Metrics.Port > 0 {
		tasks = append(tasks, func(ctx context.Context) { s.serving(ctx, w, name) })
	}
	var all sync.WaitGroup
	for _, task := range tasks {
		all.Go(func() { restarted(ctx, s.log.With("source", name), task) })
	}
	all.Wait()
}

// restarted does a task until ctx ends, again and again where it ends or panics.
func restarted(ctx context.Context, log *slog.Logger, task func(context.Context)) {
	for pause := time.Second; ctx.Err() == nil; pause = min(2*pause, time.Minute) {
		guarded(log, func() { task(ctx) })
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// Hint has the repository of a webhook looked at.
func (s *Sources) Hint(in plugin.Input, body []byte) error {
	repository, err := hinted(body)
	if err != nil {
		return err
	}
	s.mu.Lock()
	w := s.watching[key(in)]
	s.mu.Unlock()
	if w == nil || w.make == nil {
		return errors.New("ferry does not follow any repository here yet")
	}
	return w.present().Hint(repository)
}

// openState opens what keeps state, and what reads Secrets beside it. The error is a Refusal; without a store nothing can
// be followed.
func (w *watching) openState(in plugin.Input) (config.ReadSecret, error) {
	name := stateName(in.Source)
	w.state = &state{}
	refs := secrets(w.config.GitHub)
	noSecret := func(context.Context, config.SecretKey) ([]byte, error) {
		return nil, &gitops.Refusal{Code: gitops.Config, Reason: "ferry's source was given no kubeconfig, so it can read no Secret. Give it context.rbac in Botkube's values, or name a file."}
	}
	secret := noSecret
	var fleet *cluster.Fleet
	if len(in.Kubeconfig) > 0 {
		var err error
		if fleet, err = cluster.New(in.Kubeconfig, nil, refs...); err != nil {
			return noSecret, err
		}
		secret = func(ctx context.Context, key config.SecretKey) ([]byte, error) {
			return fleet.Secret(ctx, cluster.SecretRef(key), "ferry's credential for GitHub")
		}
	}
	switch {
	case w.config.StateDir != "":
		directory := filesOf(w.config.StateDir, name)
		w.state.store, w.state.records = &watch.Files{Directory: directory.path}, directory
		w.state.journal, w.state.answers = directory.journal(), directory.path
		return secret, nil
	case fleet != nil:
		home := fleet.State(cmp.Or(w.config.Namespace, "ferry"), name) // what cannot be read names none
		w.state.store, w.state.records = home, home
		if dir := scratch(); dir != "" {
			w.state.journal, w.state.answers = journal(home.Place(), dir, name), filepath.Join(dir, name)
		}
		return secret, nil
	default:
		memory := newMemory()
		w.state.store, w.state.records = memory, memory
		if len(w.config.Repositories) == 0 { // there is nothing to be forgotten
			return noSecret, nil
		}
		return noSecret, &gitops.Refusal{Code: gitops.Config, Title: "ferry's source forgets at its end",
			Reason:  "It was given neither a kubeconfig nor a stateDir, so it keeps in memory what was seen and told. What happens while it does not run is not told. Name a directory as stateDir, or in Botkube give the source an rbac block:",
			Snippet: "context:\n  rbac:\n    group:\n      type: Static\n      static: {values: [ferry]}"}
	}
}

// secrets are those with credentials for GitHub.
func secrets(hub config.SourceGitHub) (all []cluster.SecretRef) {
	auths := []config.Auth{hub.Auth}
	for _, o := range hub.Owners {
		auths = append(auths, o.Auth)
	}
	for _, a := range auths {
		if a.TokenSecret != nil {
			all = append(all, cluster.SecretRef(*a.TokenSecret))
		}
		if a.App != nil && a.App.KeySecret != nil {
			all = append(all, cluster.SecretRef(*a.App.KeySecret))
		}
	}
	return all
}

// stateName is a source's name as the API server takes one. What is lost on the way is told apart by a digest.
func stateName(source string) string {
	plain := strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(source)), "-")
	plain = strings.Trim(plain[:min(len(plain), 40)], "-")
	if plain == source {
		return cmp.Or(plain, "source")
	}
	sum := sha256.Sum256([]byte(source))
	return strings.TrimPrefix(plain+"-"+hex.EncodeToString(sum[:3]), "-")
}

func guarded(log *slog.Logger, do func()) (panicked bool) {
	defer func() {
		if cause := recover(); cause != nil {
			log.Error("panic", "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
			panicked = true
		}
	}()
	do()
	return false
}

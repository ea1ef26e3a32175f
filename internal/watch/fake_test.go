package watch

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// github is GitHub in memory, in virtual time. What it tells can lag behind what happens, and fail.
type github struct {
	mutex    sync.Mutex
	pageSize int
	latency  time.Duration
	every    time.Duration          // one request after another is begun
	turn     time.Time              // of the next
	lag      func() time.Duration   // of the replica that answers next; nil: none
	fault    func(ask string) error // nil: none. Ask is "pulls acme/a", "files acme/a#1", "diverged acme/a"
	files    map[string][]File      // by "acme/a#1"
	cut      map[string]bool        // by "acme/a#1": there are more files than are told
	rewrites map[string]bool        // by "before...after"
	repos    map[string]*repo       // by name
	told     map[string]string      // by page, what was told last
	interval time.Duration          // that GitHub wants between looks
	asked    []ask
	busy     int
	busiest  int
}

type ask struct {
	at   time.Time
	what string
	same bool // the answer was that nothing changed
}

type repo struct {
	id      int64
	history []snapshot
}

type snapshot struct {
	at    time.Time
	pulls map[int]PullRequest
}

func newGitHub() *github {
	return &github{
		pageSize: 10, latency: 50 * time.Millisecond, every: 103 * time.Millisecond, files: map[string][]File{}, cut: map[string]bool{}, rewrites: map[string]bool{},
		repos: map[string]*repo{}, told: map[string]string{},
	}
}

func (g *github) create(name string) *repo {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	r := &repo{id: int64(1000 + len(g.repos)), history: []snapshot{{time.Now(), map[int]PullRequest{}}}}
	g.repos[name] = r
	return r
}

// change makes a pull request, or changes it.
func (g *github) change(name string, number int, change func(p *PullRequest)) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	r := g.repos[name]
	now := time.Now().Truncate(time.Second)
	pulls := maps.Clone(r.history[len(r.history)-1].pulls)
	p, known := pulls[number]
	if !known {
		p = PullRequest{
			Repository: name, Number: number, URL: fmt.Sprintf("https://github.example/%s/pull/%d", name, number),
			Title: fmt.Sprintf("Change %d", number), Author: "ann", State: "open", Created: now,
			Head: Side{Repository: name, Ref: fmt.Sprintf("branch-%d", number), SHA: sha(number)}, Base: Side{Repository: name, Ref: "main", SHA: "base"},
		}
	}
	p.Updated = now
	change(&p)
	p.Raw, _ = json.Marshal(map[string]any{"number": number, "title": p.Title, "head": p.Head.SHA})
	pulls[number] = p
	r.history = append(r.history, snapshot{time.Now(), pulls})
}

func sha(n int) string { return fmt.Sprintf("%040x", n) }

// noise changes what no event is about.
func (g *github) noise(name string, number int) {
	g.change(name, number, func(p *PullRequest) { p.Title += "!" })
}

// untitled takes the title from a pull request, and leaves it in GitHub's own description.
func (g *github) untitled(number int) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	history := g.repos["acme/a"].history
	p := history[len(history)-1].pulls[number]
	p.Title = ""
	history[len(history)-1].pulls[number] = p
}

func closeIt(p *PullRequest) {
	p.State, p.Closed = "closed", time.Now().Truncate(time.Second)
}

func mergeIt(p *PullRequest) {
	closeIt(p)
	p.Merged = p.Closed
}

func reopenIt(p *PullRequest) { p.State, p.Closed = "open", time.Time{} }

func (g *github) begin(ctx context.Context, what string) error {
	g.mutex.Lock()
	if now := time.Now(); g.turn.Before(now) {
		g.turn = now
	}
	wait := time.Until(g.turn)
	g.turn = g.turn.Add(g.every)
	g.mutex.Unlock()
	time.Sleep(wait)
	g.mutex.Lock()
	g.asked = append(g.asked, ask{at: time.Now(), what: what})
	g.busy++
	g.busiest = max(g.busiest, g.busy)
	fault := g.fault
	g.mutex.Unlock()
	defer func() {
		g.mutex.Lock()
		defer g.mutex.Unlock()
		g.busy--
	}()
	select {
	case <-time.After(g.latency):
	case <-ctx.Done():
		return ctx.Err()
	}
	if fault != nil {
		return fault(what)
	}
	return nil
}

func (g *github) Pulls(ctx context.Context, request Request) (Page, error) {
	if err := g.begin(ctx, "pulls "+request.Repository); err != nil {
		return Page{}, err
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	r := g.repos[request.Repository]
	if r == nil {
		return Page{}, &Fault{Trouble: Gone, Reason: request.Repository + " is not there."}
	}
	at := time.Now()
	if g.lag != nil {
		at = at.Add(-g.lag())
	}
	shown := r.history[0]
	for _, s := range r.history {
		if !s.at.After(at) {
			shown = s
		}
	}
	all := slices.SortedFunc(maps.Values(shown.pulls), func(a, b PullRequest) int {
		if request.Open {
			return cmp.Compare(a.Number, b.Number)
		}
		return cmp.Or(b.Updated.Compare(a.Updated), cmp.Compare(b.Number, a.Number))
	})
	if request.Open {
		all = slices.DeleteFunc(all, func(p PullRequest) bool { return p.State != "open" })
	}
	from, _ := strconv.Atoi(request.Next)
	page := Page{Repository: r.id, Name: request.Repository, Interval: g.interval}
	if from < len(all) {
		page.Pulls = slices.Clone(all[from:min(from+g.pageSize, len(all))])
	}
	if from+g.pageSize < len(all) {
		page.Next = strconv.Itoa(from + g.pageSize)
	}
	text, err := json.Marshal(page)
	if err != nil {
		return Page{}, err
	}
	id := fmt.Sprintf("%s %t %s", request.Repository, request.Open, request.Next)
	if g.told[id] == string(text) && !request.Fresh {
		g.asked[len(g.asked)-1].same = true
		return Page{Unchanged: true, Interval: g.interval}, nil
	}
	g.told[id] = string(text)
	return page, nil
}

func (g *github) Files(ctx context.Context, repository string, number int) ([]File, bool, error) {
	id := fmt.Sprintf("%s#%d", repository, number)
	if err := g.begin(ctx, "files "+id); err != nil {
		return nil, false, err
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return g.files[id], !g.cut[id], nil
}

func (g *github) Diverged(ctx context.Context, repository, before, after string) (bool, error) {
	if err := g.begin(ctx, "diverged "+repository); err != nil {
		return false, err
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return g.rewrites[before+"..."+after], nil
}

// count is how many requests there were that begin with a text.
func (g *github) count(what string) int {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	n := 0
	for _, a := range g.asked {
		if strings.HasPrefix(a.what, what) {
			n++
		}
	}
	return n
}

// memory is a Store in memory.
type memory struct {
	mutex  sync.Mutex
	shards map[int][]byte
	fail   func(save bool) error // nil: never
	late   error                 // of a save that happens all the same
}

func newMemory() *memory { return &memory{shards: map[int][]byte{}} }

func (m *memory) Load(_ context.Context, shard int) ([]byte, string, error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.fail != nil {
		if err := m.fail(false); err != nil {
			return nil, "", err
		}
	}
	data, has := m.shards[shard]
	if !has {
		return nil, "", nil
	}
	return slices.Clone(data), version(data), nil
}

func (m *memory) Save(_ context.Context, shard int, data []byte, was string) (string, error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.fail != nil {
		if err := m.fail(true); err != nil {
			return "", err
		}
	}
	is := ""
	if stored, has := m.shards[shard]; has {
		is = version(stored)
	}
	if is != was {
		return "", ErrConflict
	}
	m.shards[shard] = slices.Clone(data)
	return version(data), m.late
}

// lines is a journal in memory.
type lines struct {
	mutex sync.Mutex
	all   []handover
	there bool
}

func (l *lines) read() ([]handover, bool, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return slices.Clone(l.all), l.there, nil
}

func (l *lines) add(h handover) error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.all, l.there = append(l.all, h), true
	return nil
}

func (l *lines) replace(all []handover) error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.all, l.there = slices.Clone(all), true
	return nil
}

// world is a GitHub, what is stored, and the watcher that runs at present.
type world struct {
	*testing.T
	github  *github
	store   Store
	journal journal
	config  Config

	mortal *mortal // nil: no death

	watcher *Watcher
	stop    func()
	starts  uint64
	skew    time.Duration // of our clock
	mutex   sync.Mutex
	got     map[string][]Event // by stream
}

func newWorld(t *testing.T, rules ...Rule) *world {
	w := &world{T: t, github: newGitHub(), store: newMemory(), journal: &lines{}, got: map[string][]Event{}}
	if len(rules) == 0 {
		rules = []Rule{{Types: slices.Sorted(maps.Keys(words))}}
	}
	w.github.create("acme/a")
	w.config = Config{Repositories: []Repository{{Name: "acme/a", Rules: rules}}}
	return w
}

// start runs a watcher, with streams that take all they get.
func (w *world) start(streams ...string) {
	w.Helper()
	w.starts++
	random := rand.New(rand.NewPCG(1, w.starts))
	var mutex sync.Mutex
	var mistakes []Mistake
	store, journal := w.store, w.journal
	if w.mortal != nil {
		store, journal = mortalStore{store, w.mortal}, mortalJournal{journal, w.mortal}
	}
	w.watcher, mistakes = New(w.config, Ports{
		GitHub: w.github, Store: store, Now: func() time.Time { return time.Now().Add(w.skew) }, Log: slog.New(slog.DiscardHandler),
		Random: func() float64 {
			mutex.Lock()
			defer mutex.Unlock()
			return random.Float64()
		},
	})
	if len(mistakes) > 0 {
		w.Fatal(mistakes)
	}
	w.watcher.journal = journal
	ctx, cancel := context.WithCancel(w.Context())
	var running sync.WaitGroup
	running.Go(func() { w.watcher.Run(ctx) })
	for _, id := range streams {
		deliveries := w.watcher.Subscribe(ctx, id)
		running.Go(func() { w.take(ctx, id, deliveries) })
	}
	w.stop = func() {
		cancel()
		running.Wait()
	}
}

func (w *world) take(ctx context.Context, id string, deliveries <-chan Delivery) {
	for {
		select {
		case d := <-deliveries:
			if !w.mortal.step() {
				return
			}
			w.mutex.Lock()
			w.got[id] = append(w.got[id], d.Event)
			w.mutex.Unlock()
			if !w.mortal.step() {
				return
			}
			d.Done()
		case <-ctx.Done():
			return
		}
	}
}

// told gives the keys of what a stream got, since told was asked last, without the repository's number.
func (w *world) told(id string) []string {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	keys := []string{}
	for _, e := range w.got[id] {
		keys = append(keys, brief(e))
	}
	w.got[id] = nil
	return keys
}

// events are what a stream got since told was asked last.
func (w *world) events(id string) []Event {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return slices.Clone(w.got[id])
}

// faults makes GitHub fail from now on; nil: no more.
func (w *world) faults(fault func(ask string) error) {
	w.github.mutex.Lock()
	defer w.github.mutex.Unlock()
	w.github.fault = fault
}

// asked is what GitHub was asked.
func (w *world) asked() []ask {
	w.github.mutex.Lock()
	defer w.github.mutex.Unlock()
	return slices.Clone(w.github.asked)
}

// pull is a pull request as it is.
func (w *world) pull(number int) PullRequest {
	w.github.mutex.Lock()
	defer w.github.mutex.Unlock()
	history := w.github.repos["acme/a"].history
	return history[len(history)-1].pulls[number]
}

// brief is "1 opened", or "acme/a problem gone".
func brief(e Event) string {
	if e.PullRequest == nil {
		return strings.TrimSpace(fmt.Sprintf("%s %s %s", e.Repository, e.Kind, e.Problem.Trouble))
	}
	return fmt.Sprintf("%d %s", e.PullRequest.Number, e.Kind)
}

// mortal stops a process at a step: what it did before is done, and it does no more. Nil lives on.
type mortal struct {
	mutex sync.Mutex
	steps int
	last  int // 0: none
	died  chan struct{}
}

func newMortal(last int) *mortal { return &mortal{last: last, died: make(chan struct{})} }

// step says whether the process still lives.
func (m *mortal) step() bool {
	if m == nil {
		return true
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.steps++
	if m.steps == m.last {
		close(m.died)
	}
	return m.last == 0 || m.steps < m.last
}

// taken is how many steps there were.
func (m *mortal) taken() int {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.steps
}

// kill ends it now.
func (m *mortal) kill() {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.last == 0 {
		m.last = m.steps
	}
}

// mortalStore is a store as a mortal process sees it; its journal likewise.
type mortalStore struct {
	Store
	*mortal
}

func (m mortalStore) Load(ctx context.Context, shard int) ([]byte, string, error) {
	if !m.step() {
		return nil, "", errTest
	}
	return m.Store.Load(ctx, shard)
}

func (m mortalStore) Save(ctx context.Context, shard int, data []byte, was string) (string, error) {
	if !m.step() {
		return "", errTest
	}
	version, err := m.Store.Save(ctx, shard, data, was)
	if !m.step() {
		return "", errTest // it is saved, and the process does not know
	}
	return version, err
}

type mortalJournal struct {
	journal
	*mortal
}

func (m mortalJournal) add(h handover) error {
	if !m.step() {
		return errTest
	}
	return m.journal.add(h)
}

func (m mortalJournal) replace(all []handover) error {
	if !m.step() {
		return errTest
	}
	return m.journal.replace(all)
}

var errTest = errors.New("made for the test")

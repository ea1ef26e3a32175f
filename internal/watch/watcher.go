package watch

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"
)

// flushEvery is how long the store may lack what is in memory and in the journal.
const flushEvery = 30 * time.Second

// Ports are what a Watcher works with. All but Journal are needed.
type Ports struct {
	GitHub  GitHub
	Store   Store
	Journal string // path of a file for hand-overs that are not in the store yet; empty: none
	Now     func() time.Time
	Random  func() float64 // from 0 to below 1; may be called side by side
	Log     *slog.Logger
}

// A Watcher looks at repositories and hands over what happens there. Its methods may be called side by side.
type Watcher struct {
	ports   Ports
	config  Config
	watched []*watched          // in configuration order; neither it nor byName ever changes
	byName  map[string]*watched // as name gives it
	state   *state
	files   fileCache
	loaded  chan struct{} // closed once the state is there
	lost    bool          // some of it was there and is not; set before loaded is closed

	handing sync.Mutex // held while a hand-over is noted
	journal journal
	unsaved []handover // in the journal, and not in the store

	mutex     sync.Mutex
	wake      chan struct{} // closed, and replaced, when a look is due before awaited
	awaited   time.Time     // zero: nothing is
	queue     queue
	hints     []*watched // that have wakes
	inOrder   bool       // the next look goes by the queue, hints or not
	streams   map[string]*stream
	losses    []string // sentences about lost state that are to be told
	weighed   time.Time
	stretched bool
	stretch   float64
	loading   error // why the state is not there yet

	complaints map[string]string // that were logged last
}

// New reads a configuration. With mistakes, the Watcher watches what is left.
func New(config Config, ports Ports) (*Watcher, []Mistake) {
	w := &Watcher{
		ports: ports, state: newState(ports.Store), loaded: make(chan struct{}), wake: make(chan struct{}), streams: map[string]*stream{},
		journal: noJournal{}, byName: map[string]*watched{}, complaints: map[string]string{},
	}
	var sources []*source
	var mistakes []Mistake
	w.config, sources, mistakes = config.compile()
	for _, s := range sources {
		one := &watched{
			source: s, fresh: true, place: -1, completeAfter: w.jittered(w.scaled(completeEvery), 0.1), interval: w.scaled(s.interval),
			RepositoryStatus: RepositoryStatus{Name: s.name},
		}
		w.watched = append(w.watched, one)
		w.byName[name(s.name)] = one
	}
	if ports.Journal != "" {
		w.journal = &fileJournal{path: ports.Journal}
	}
	return w, mistakes
}

func (w *Watcher) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) / w.config.Factor)
}

// jittered is a time that differs from another by a share of it at most.
func (w *Watcher) jittered(d time.Duration, share float64) time.Duration {
	return time.Duration(float64(d) * (1 + share*(2*w.ports.Random()-1)))
}

// newID names an entry.
func (w *Watcher) newID() string {
	return strconv.FormatUint(uint64(w.ports.Random()*(1<<53)), 36) + "-" + strconv.FormatUint(uint64(w.ports.Random()*(1<<53)), 36)
}

func (w *Watcher) configured(name string) bool { return w.byName[name] != nil }

// Run watches until ctx ends. What goes wrong is in the Status, and told as an event once it lasts. It may be called once.
func (w *Watcher) Run(ctx context.Context) {
	if !w.load(ctx) {
		return
	}
	var flushing sync.WaitGroup
	flushing.Go(func() {
		ticks := time.NewTicker(w.scaled(flushEvery))
		defer ticks.Stop()
		for {
			select {
			case <-ticks.C:
				w.flush(ctx)
			case <-ctx.Done():
				return
			}
		}
	})
	w.schedule(ctx)
	flushing.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	w.flush(last)
}

// load reads what is stored, trying again until it can be read: without it, everything would look new.
func (w *Watcher) load(ctx context.Context) bool {
	var lost []int
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		var err error
		if lost, err = w.state.load(ctx); err == nil {
			break
		}
		w.mutex.Lock()
		w.loading = fmt.Errorf("read state: %w", err)
		w.mutex.Unlock()
		w.complain("state cannot be read; nothing is watched until it can", err)
		select {
		case <-time.After(w.jittered(w.scaled(wait), 0.1)):
		case <-ctx.Done():
			return false
		}
	}
	now := w.ports.Now()
	handed, journalled, err := w.journal.read()
	if journalled && err == nil {
		err = w.journal.replace(handed) // without a line that was not written to its end
	}
	if err != nil {
		w.ports.Log.Error("journal cannot be read; what was handed over last may come again", "error", err)
	}
	for _, h := range handed {
		w.state.redeem(h)
	}
	w.state.expect(now)
	isNew := w.state.empty()
	if isNew && journalled { // there is none before something was handed over
		lost = append(lost, 0)
	}

	w.mutex.Lock()
	w.loading = nil
	w.unsaved = handed
	if len(lost) > 0 {
		w.lost = true
		w.losses = append(w.losses, "Stored state was lost, wholly or in part. What happened while ferry did not run may be missing; from now on nothing is.")
		w.ports.Log.Error("stored state was lost", "shards", lost)
	}
	var order []*watched
	for _, s := range w.watched {
		if r := w.state.get(s.name); r != nil {
			s.active, s.Known = r.Cursor, len(r.Pulls)
		}
		order = append(order, s)
	}
	slices.SortStableFunc(order, func(a, b *watched) int { return b.active.Compare(a.active) })
	if isNew { // the streams come one after the other, and are to get what is replayed
		now = now.Add(w.scaled(time.Second))
	}
	for i, s := range order {
		s.due = now.Add(time.Duration(i))
		w.enqueue(s)
	}
	w.mutex.Unlock()
	close(w.loaded)
	return true
}

// flush saves what is not saved yet.
func (w *Watcher) flush(ctx context.Context) {
	defer w.guard()
	w.complain("problems cannot be told", w.report(ctx))
	w.mutex.Lock()
	all := !slices.ContainsFunc(w.watched, func(s *watched) bool { return s.LastSuccess.IsZero() })
	connected := slices.Collect(maps.Keys(w.streams))
	w.mutex.Unlock()
	w.state.tidy(w.ports.Now(), connected, w.scaled)
	if all && !w.config.Partial { // one that is renamed has taken over its record
		w.state.forget(w.configured)
	}
	w.complain("state cannot be spread over more shards", w.state.spread(ctx))
	w.handing.Lock()
	n := len(w.unsaved)
	w.handing.Unlock()
	err := w.state.flush(ctx)
	if w.complain("state cannot be saved", err); err != nil {
		return
	}
	w.handing.Lock()
	defer w.handing.Unlock()
	if n == 0 {
		return
	}
	w.unsaved = slices.Clone(w.unsaved[n:])
	w.complain("hand-overs that are saved stay in the journal", w.journal.replace(w.unsaved))
}

// complain logs what goes wrong, unless it went wrong in the same way before.
func (w *Watcher) complain(what string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	w.mutex.Lock()
	was := w.complaints[what]
	w.complaints[what] = text
	w.mutex.Unlock()
	if text != "" && text != was {
		w.ports.Log.Error("watching goes wrong", "what", what, "error", err)
	}
}

// guard keeps a fault of ours from ending the process: deferred, it logs a panic.
func (w *Watcher) guard() {
	if r := recover(); r != nil {
		w.ports.Log.Error("watching failed by a fault of ferry's", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
	}
}

// Status says how the watching goes.
func (w *Watcher) Status() Status {
	outstanding, byRecord, unsaved := w.state.outstanding()
	w.mutex.Lock()
	defer w.mutex.Unlock()
	status := Status{State: cmp.Or(w.loading, unsaved), Stretched: w.stretched}
	for _, s := range w.watched {
		r := s.RepositoryStatus
		r.Interval, r.Next, r.Outbox = s.interval, s.next, byRecord[name(s.name)]
		status.Repositories = append(status.Repositories, r)
	}
	for id, s := range w.streams {
		status.Streams = append(status.Streams, StreamStatus{ID: id, Connected: true, Outstanding: outstanding[id], Delivered: s.delivered})
		delete(outstanding, id)
	}
	for id, n := range outstanding {
		status.Streams = append(status.Streams, StreamStatus{ID: id, Outstanding: n})
	}
	slices.SortFunc(status.Streams, func(a, b StreamStatus) int { return cmp.Compare(a.ID, b.ID) })
	return status
}

// Recent are the events that were handed over last, newest first.
func (w *Watcher) Recent() []Event { return w.state.recent() }

// A fileCache keeps the files of pull requests, those that were asked for last.
type fileCache struct {
	mutex sync.Mutex
	byID  map[string]listed
	order []string // oldest first
	size  int      // bytes
}

// mostFiles bounds the cache, in bytes. The last list stays in any case.
const mostFiles = 10 << 20

// size is about how many bytes a list takes.
func (l listed) size() int {
	n := 200
	for _, f := range l.files {
		n += 32 + len(f.Name) + len(f.Previous)
	}
	return n
}

func (c *fileCache) get(id string) (listed, bool) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	l, has := c.byID[id]
	return l, has
}

func (c *fileCache) put(id string, l listed) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.byID == nil {
		c.byID = map[string]listed{}
	}
	if _, has := c.byID[id]; has {
		return
	}
	c.byID[id] = l
	c.order = append(c.order, id)
	c.size += l.size()
	for c.size > mostFiles && len(c.order) > 1 {
		c.size -= c.byID[c.order[0]].size()
		delete(c.byID, c.order[0])
		c.order = slices.Delete(c.order, 0, 1)
	}
}

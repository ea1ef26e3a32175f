package watch

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

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
	ports    Ports
	config   Config
	sources  []*source
	mistakes []Mistake

	mutex   sync.Mutex
	streams map[string]chan Delivery
}

// A Delivery is an event on its way to a stream.
type Delivery struct {
	Event Event
	// Done says that it was handed over. The next one comes after that; without it, this one comes again after a restart.
	Done func()
}

// New reads a configuration. With mistakes, the Watcher watches what is left.
func New(config Config, ports Ports) (*Watcher, []Mistake) {
	w := &Watcher{ports: ports, streams: map[string]chan Delivery{}}
	w.config, w.sources, w.mistakes = config.compile()
	return w, w.mistakes
}

// Run watches until ctx ends. What goes wrong is in the Status, and told as an event once it lasts.
func (w *Watcher) Run(ctx context.Context) { <-ctx.Done() }

// Hint says that something may have happened in a repository ("owner/name"), which is then looked at now, after 5 s and
// after 15 s: GitHub's answers may be older than its webhooks. Hints follow each other every 5 s at most. An error means that
// the repository is not watched.
func (w *Watcher) Hint(repository string) error {
	for _, s := range w.sources {
		if strings.EqualFold(s.name, repository) {
			return nil
		}
	}
	return fmt.Errorf("%s is not watched", short(repository))
}

// Subscribe hands over, until ctx ends, what the stream of an id has not got yet, oldest first and one at a time. A stream
// that is new gets what happens from now on. An id that comes again takes the place of its former self. The channel is never
// closed.
func (w *Watcher) Subscribe(_ context.Context, stream string) <-chan Delivery {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.streams[stream] == nil {
		w.streams[stream] = make(chan Delivery)
	}
	return w.streams[stream]
}

// Status says how the watching goes.
func (w *Watcher) Status() Status {
	s := Status{Mistakes: w.mistakes}
	for _, r := range w.sources {
		s.Repositories = append(s.Repositories, RepositoryStatus{Name: r.name, Interval: r.interval})
	}
	return s
}

// Recent are the events that were handed over last, newest first.
func (w *Watcher) Recent() []Event { return nil }

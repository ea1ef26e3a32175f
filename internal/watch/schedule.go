package watch

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

const (
	concurrent = 8                // looks
	hot        = time.Hour        // since the last change
	warm       = 24 * time.Hour   // since the last change
	warmEvery  = 2 * time.Minute  // where not all can be looked at at their interval
	coldEvery  = 5 * time.Minute  // likewise
	gather     = 5 * time.Second  // at most, between looks that could begin together
	hintEvery  = 5 * time.Second  // hints of a repository follow each other
	lookWithin = 10 * time.Minute // a complete look at a large repository takes a while

	failingAtMost = 5 * time.Minute // between tries where GitHub may work again
	goneAtMost    = time.Hour       // between tries where somebody has to mend something
	pauseAtLeast  = time.Minute     // where a limit does not say how long
	completeAfter = 5               // failures in a row
)

// A watched source is one with what is known of it in memory.
type watched struct {
	*source

	// Of the look under way alone:
	fresh         bool           // the last answer was not dealt with, so it has to be seen again
	complete      bool           // everything has to be read
	completeAfter time.Duration  // since everything was read
	completed     time.Time      // when everything was read that may be, in this process
	again         time.Time      // when pages that changed are read once more
	ties          map[int]tie    // by number
	tries         map[string]int // to list files
	hurry         bool           // look again at once

	// Guarded by Watcher's mutex:
	due      time.Time
	wakes    []time.Time   // sooner looks, after a hint, sorted
	paused   time.Time     // no look before
	hinted   time.Time     // when a hint was heeded last, or will be
	next     time.Time     // by all of these
	place    int           // in the queue; -1 while a look is under way
	active   time.Time     // newest change
	interval time.Duration // between looks at present, scaled
	trouble  *trouble
	// recovered is when the last trouble was over.
	recovered time.Time
	RepositoryStatus
}

// trouble is what keeps a repository from being looked at.
type trouble struct {
	Trouble
	reason string
	since  time.Time
	tries  int
}

func troubleOf(err error) Trouble {
	if fault, ok := errors.AsType[*Fault](err); ok {
		return fault.Trouble
	}
	return Failing
}

// schedule looks at each repository when it is due, until ctx ends and all looks have.
func (w *Watcher) schedule(ctx context.Context) {
	var looks sync.WaitGroup
	defer looks.Wait()
	due := make(chan *watched)
	defer close(due)
	free := make(chan struct{}, concurrent)
	for range concurrent {
		looks.Go(func() {
			for s := range due {
				w.visit(ctx, s)
				<-free
			}
		})
	}
	for {
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			return
		}
		s := w.await(ctx) // the most urgent when somebody is free for it
		if s == nil {
			return
		}
		due <- s
	}
}

// await gives the source that is to be looked at next, once it is due; nil when ctx ends.
func (w *Watcher) await(ctx context.Context) *watched {
	for {
		w.mutex.Lock()
		now := w.ports.Now()
		s, at := w.earliest(now)
		wake := w.wake
		if w.awaited = at; s == nil {
			w.awaited = now.AddDate(100, 0, 0)
		}
		if s != nil && !at.After(now) {
			heap.Remove(&w.queue, s.place)
			w.inOrder = !w.inOrder
			s.wakes = slices.DeleteFunc(s.wakes, func(t time.Time) bool { return !t.After(now) })
			w.mutex.Unlock()
			return s
		}
		w.mutex.Unlock()
		var timer <-chan time.Time
		if s != nil {
			t := time.NewTimer(at.Sub(now))
			defer t.Stop()
			timer = t.C
		}
		select {
		case <-timer:
		case <-wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// earliest is the source that is due first, or, every other time, one that a hint is about and its time has come: hints are
// everybody's to send, so they must not take all. The caller has the mutex.
func (w *Watcher) earliest(now time.Time) (*watched, time.Time) {
	var best *watched
	w.hints = slices.DeleteFunc(w.hints, func(s *watched) bool {
		if len(s.wakes) == 0 {
			return true
		}
		heeded := s.place < 0 || s.wakes[0].After(now) || s.paused.After(now)
		if !heeded && (best == nil || s.wakes[0].Before(best.wakes[0])) {
			best = s
		}
		return false
	})
	if len(w.queue) > 0 && (best == nil || w.inOrder && !w.queue[0].next.After(now)) {
		best = w.queue[0]
	}
	if best == nil {
		return nil, time.Time{}
	}
	return best, best.next
}

// A queue holds the sources that are not being looked at; the first is the one that is due first.
type queue []*watched

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].next.Before(q[j].next) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// Push is heap's.
func (q *queue) Push(x any) {
	s := x.(*watched)
	s.place = len(*q)
	*q = append(*q, s)
}

// Pop is heap's.
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	last.place = -1
	*q = (*q)[:len(*q)-1]
	return last
}

// enqueue puts a source where it belongs by when it is to be looked at. The caller has the mutex.
func (w *Watcher) enqueue(s *watched) {
	s.next = s.due
	if len(s.wakes) > 0 && s.wakes[0].Before(s.next) {
		s.next = s.wakes[0]
	}
	if s.next.Before(s.paused) {
		s.next = s.paused
	}
	if s.place >= 0 {
		heap.Fix(&w.queue, s.place)
	} else {
		heap.Push(&w.queue, s)
	}
	w.wakeUp(s.next)
}

// wakeUp makes await think again, if a look is due sooner than it thought. The caller has the mutex.
func (w *Watcher) wakeUp(due time.Time) {
	if due.Before(w.awaited) {
		close(w.wake)
		w.wake = make(chan struct{})
	}
}

// visit looks at a repository, and says when to do so again.
func (w *Watcher) visit(ctx context.Context, s *watched) {
	started := w.ports.Now()
	looking, cancel := context.WithTimeout(ctx, lookWithin)
	wanted, err := w.guarded(looking, s)
	cancel()
	if ctx.Err() != nil {
		return
	}
	r := w.state.get(s.name)
	w.mutex.Lock()
	defer w.mutex.Unlock()
	defer w.enqueue(s)
	if r != nil {
		s.active, s.Known = r.Cursor, len(r.Pulls)
	}
	now := w.ports.Now()
	interval := max(w.scaled(w.effective(s, now)), wanted)
	s.interval = interval
	if err == nil {
		if s.trouble != nil {
			w.ports.Log.Info("the repository can be read again", "repository", s.name)
			s.recovered = now
		}
		spread := 0.1
		if s.LastSuccess.IsZero() { // all begin together, so they part here
			spread = 0.5
		}
		s.LastSuccess, s.Failures, s.LastError, s.trouble, s.paused = started, 0, nil, nil, time.Time{}
		s.due = w.gathered(started.Add(w.jittered(interval, spread)), interval)
		if s.hurry {
			s.due, s.hurry = now, false
		}
		return
	}
	s.LastError = err
	if _, ok := errors.AsType[*unkept](err); ok { // GitHub did answer
		s.due = now.Add(w.jittered(interval, 0.1))
		if errors.Is(err, errOvertaken) {
			s.due = now.Add(w.scaled(time.Second))
		}
		return
	}
	s.fresh = true
	w.failed(s, err, now, interval)
}

// gathered moves a time, by a twentieth of the interval at most, to one that others are moved to as well: the process then
// wakes once for many looks. To wake takes as much of a processor as a look. What Round gives is by the clock on the wall, which
// may be set; the time that is moved is not.
func (w *Watcher) gathered(due time.Time, interval time.Duration) time.Time {
	return due.Add(due.Round(min(w.scaled(gather), interval/10)).Sub(due))
}

// failed backs off. The caller has the mutex.
func (w *Watcher) failed(s *watched, err error, now time.Time, interval time.Duration) {
	kind := troubleOf(err)
	if s.trouble == nil || s.trouble.Trouble != kind {
		s.trouble = &trouble{Trouble: kind, since: now}
		w.ports.Log.Warn("the repository cannot be read", "repository", s.name, "trouble", string(kind), "error", err)
	}
	s.trouble.reason = err.Error()
	s.trouble.tries++
	var until time.Time
	if fault, ok := errors.AsType[*Fault](err); ok {
		s.trouble.reason, until = cmp.Or(fault.Reason, s.trouble.reason), fault.Until
	}
	delay := interval
	if kind == Limited {
		// The credential pauses, which is no fault of the repository's.
		if until.IsZero() {
			delay = max(interval, w.scaled(pauseAtLeast))
		}
	} else {
		if s.Failures++; s.Failures%completeAfter == 0 {
			s.complete = true
		}
		most := w.scaled(failingAtMost)
		if kind == Gone || kind == Forbidden {
			most = w.scaled(goneAtMost)
		}
		for range min(s.Failures-1, 20) {
			delay *= 2
			if delay > most {
				break
			}
		}
		delay = max(min(delay, most), interval)
	}
	s.due = now.Add(w.jittered(delay, 0.1))
	s.paused = until
	if s.due.Before(until) {
		s.due = until.Add(w.jittered(interval/10, 1))
	}
}

// guarded is look, which a fault of ours does not end everything with.
func (w *Watcher) guarded(ctx context.Context, s *watched) (wanted time.Duration, err error) {
	defer func() {
		if r := recover(); r != nil {
			w.ports.Log.Error("a look at a repository failed by a fault of ferry's", "repository", s.name, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = &Fault{Trouble: Failing, Reason: "ferry failed to read the answer; its log says where."}
		}
	}()
	return w.look(ctx, s)
}

// effective is how often a repository is looked at: at its interval while all can be, by its last change beyond that. It is
// not scaled. The caller has the mutex.
func (w *Watcher) effective(s *watched, now time.Time) time.Duration {
	if now.Sub(w.weighed) >= w.scaled(5*time.Second) || w.weighed.IsZero() {
		w.weighed = now
		perMinute := func(every func(*watched) time.Duration) float64 {
			sum := 0.0
			for _, s := range w.watched {
				sum += float64(time.Minute) / float64(every(s))
			}
			return sum
		}
		ceiling := float64(w.config.Ceiling)
		w.stretched, w.stretch = perMinute(func(s *watched) time.Duration { return s.source.interval }) > ceiling, 1
		if w.stretched {
			w.stretch = max(1, perMinute(func(s *watched) time.Duration { return w.byHeat(s, now) })/ceiling)
		}
	}
	if !w.stretched {
		return s.source.interval
	}
	return time.Duration(float64(w.byHeat(s, now)) * w.stretch)
}

func (w *Watcher) byHeat(s *watched, now time.Time) time.Duration {
	last := s.active
	if s.hinted.After(last) {
		last = s.hinted
	}
	switch quiet := now.Sub(last); {
	case quiet <= w.scaled(hot):
		return s.source.interval
	case quiet <= w.scaled(warm):
		return max(s.source.interval, warmEvery)
	}
	return max(s.source.interval, coldEvery)
}

// Hint says that something may have happened in a repository ("owner/name"), which is then looked at now, after 5 s and
// after 15 s: GitHub's answers may be older than its webhooks. Hints follow each other every 5 s at most, and every minute
// while the repository cannot be read. An error means that the repository is not watched.
func (w *Watcher) Hint(repository string) error {
	s := w.byName[name(repository)]
	if s == nil {
		return fmt.Errorf("%q is not watched", short(repository))
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	now := w.ports.Now()
	if s.hinted.After(now) {
		return nil // one is on its way
	}
	apart, after := hintEvery, []time.Duration{0, 5 * time.Second, 15 * time.Second}
	if s.trouble != nil {
		apart, after = time.Minute, after[:1]
	}
	s.hinted = s.hinted.Add(w.scaled(apart))
	if s.hinted.Before(now) {
		s.hinted = now
	}
	for _, d := range after {
		if t := s.hinted.Add(w.scaled(d)); !slices.ContainsFunc(s.wakes, t.Equal) {
			s.wakes = append(s.wakes, t)
		}
	}
	slices.SortFunc(s.wakes, time.Time.Compare)
	if !slices.Contains(w.hints, s) {
		w.hints = append(w.hints, s)
	}
	if s.place >= 0 {
		w.enqueue(s)
	}
	return nil
}

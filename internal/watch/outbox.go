package watch

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// kept is how many events that were handed over a shard keeps.
	kept = 50
	// patience is how long an event waits for a stream that does not come.
	patience = 7 * 24 * time.Hour
	// absence is after how long a stream that is not there is forgotten.
	absence = 24 * time.Hour
)

// A Delivery is an event on its way to a stream.
type Delivery struct {
	Event Event
	// Done says that it was handed over. The next one comes after that; without it, this one comes again after a restart.
	Done func()
}

// A stream is one that is connected.
type stream struct {
	cancel    context.CancelFunc
	ended     chan struct{}
	delivered int
}

// Subscribe hands over, until ctx ends, what the stream of an id has not got yet, oldest first and one at a time. A stream
// that is new gets what happens from now on. An id that comes again takes the place of its former self. The channel is never
// closed.
func (w *Watcher) Subscribe(ctx context.Context, id string) <-chan Delivery {
	ctx, cancel := context.WithCancel(ctx)
	deliveries := make(chan Delivery)
	s := &stream{cancel: cancel, ended: make(chan struct{})}
	w.mutex.Lock()
	former := w.streams[id]
	w.streams[id] = s
	w.mutex.Unlock()
	go func() {
		defer close(s.ended)
		defer cancel()
		defer w.guard()
		if former != nil {
			former.cancel()
			<-former.ended
		}
		w.deliver(ctx, id, s, deliveries)
		w.mutex.Lock()
		defer w.mutex.Unlock()
		if w.streams[id] == s {
			delete(w.streams, id)
		}
	}()
	return deliveries
}

func (w *Watcher) deliver(ctx context.Context, id string, s *stream, deliveries chan<- Delivery) {
	select {
	case <-w.loaded:
	case <-ctx.Done():
		return
	}
	w.state.present(id, w.ports.Now())
	for {
		e, repository, news := w.state.next(id)
		if e == nil {
			select {
			case <-news:
				continue
			case <-ctx.Done():
				return
			}
		}
		done := make(chan struct{})
		d := Delivery{Event: e.event(), Done: func() {
			if w.handedOver(repository, handover{e.ID, id}) {
				w.mutex.Lock()
				s.delivered++
				w.mutex.Unlock()
				close(done)
			}
		}}
		select {
		case deliveries <- d:
		case <-ctx.Done():
			return
		}
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
	}
}

// handedOver marks that a stream has an event, if it was not marked before.
func (w *Watcher) handedOver(repository string, h handover) bool {
	w.handing.Lock()
	defer w.handing.Unlock()
	if !w.state.mark(repository, h) {
		return false
	}
	w.unsaved = append(w.unsaved, h)
	w.complain("hand-overs cannot be written to the journal", w.journal.add(h))
	return true
}

// present notes that a stream is there.
func (s *state) present(id string, now time.Time) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.alterCommon(func(c *shared) { c.setStream(id, now) })
}

func (c *shared) setStream(id string, now time.Time) {
	streams := map[string]time.Time{id: now}
	for s, t := range c.Streams {
		if s != id {
			streams[s] = t
		}
	}
	c.Streams = streams
}

// next is the oldest event that a stream has yet to get, and the name of its record. Without one, the channel is closed when
// there may be one.
func (s *state) next(id string) (*entry, string, <-chan struct{}) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var oldest *entry
	var of string
	for n, h := range s.records {
		i := slices.IndexFunc(h.Outbox, func(e entry) bool { return e.outstanding(id) })
		if i < 0 {
			continue
		}
		e := &h.Outbox[i]
		if oldest == nil || e.Created.Before(oldest.Created) || e.Created.Equal(oldest.Created) && n < of {
			oldest, of = e, n
		}
	}
	return oldest, of, s.news
}

// mark notes in memory that a stream has an event, and says whether that is new.
func (s *state) mark(repository string, m handover) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	r := s.at(repository)
	if r == nil {
		return false
	}
	i := slices.IndexFunc(r.Outbox, func(e entry) bool { return e.ID == m.entry })
	if i < 0 || slices.Contains(r.Outbox[i].Delivered, m.stream) {
		return false
	}
	streams := s.at("").Common.Streams
	s.alter(repository, func(r *record) {
		r.Outbox = slices.Clone(r.Outbox)
		e := &r.Outbox[i]
		e.Delivered = append(slices.Clone(e.Delivered), m.stream)
		e.finish(streams)
	})
	return true
}

// finish makes it done once all streams have it that it is for, of those that there are.
func (e *entry) finish(streams map[string]time.Time) {
	if e.Done {
		return
	}
	for id := range streams {
		if e.outstanding(id) {
			return
		}
	}
	if len(e.To) > 0 || len(e.Delivered) > 0 {
		e.Done = true
		e.trim()
	}
}

// redeem marks a hand-over of which only the entry is known.
func (s *state) redeem(h handover) {
	s.mutex.Lock()
	var of string
	for n, r := range s.records {
		if slices.ContainsFunc(r.Outbox, func(e entry) bool { return e.ID == h.entry }) {
			of = n
		}
	}
	s.mutex.Unlock()
	s.mark(of, h)
}

// outstanding counts what each stream, and each record, still has to hand over, and gives why nothing can be saved.
func (s *state) outstanding() (byStream, byRecord map[string]int, trouble error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	byStream, byRecord = map[string]int{}, map[string]int{}
	common := s.at("")
	if common == nil {
		return byStream, byRecord, nil
	}
	for id := range common.Common.Streams {
		byStream[id] = 0
	}
	for _, home := range s.shards {
		trouble = cmp.Or(trouble, home.trouble)
	}
	for n, h := range s.records {
		for _, e := range h.Outbox {
			if e.Done {
				continue
			}
			byRecord[n]++
			for id := range byStream {
				if e.outstanding(id) {
					byStream[id]++
				}
			}
		}
	}
	return byStream, byRecord, trouble
}

// addressees are the streams that an event of now is for.
func (s *state) addressees() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var ids []string
	for id := range s.at("").Common.Streams {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// expect makes known every stream that an event on record waits for.
func (s *state) expect(now time.Time) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	streams := s.at("").Common.Streams
	for _, h := range s.records {
		for _, e := range h.Outbox {
			for _, id := range e.To {
				if _, known := streams[id]; !known && e.outstanding(id) {
					s.alterCommon(func(c *shared) { c.setStream(id, now) })
					streams = s.at("").Common.Streams
				}
			}
		}
	}
}

// tidy forgets streams that stayed away, gives up events that nobody came for, and keeps no more of those delivered than a
// shard should have. Connected says which streams are there.
func (s *state) tidy(now time.Time, connected []string, scaled func(time.Duration) time.Duration) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	streams := s.at("").Common.Streams
	for id, seen := range streams {
		switch away := now.Sub(seen); {
		case slices.Contains(connected, id) && away > scaled(absence)/4:
			s.alterCommon(func(c *shared) { c.setStream(id, now) })
		case !slices.Contains(connected, id) && away > scaled(absence):
			s.alterCommon(func(c *shared) {
				c.setStream(id, now)
				delete(c.Streams, id)
			})
		}
	}
	streams = s.at("").Common.Streams
	done := map[*shard][]time.Time{}
	for n, h := range s.records {
		old := func(e entry) bool { return !e.Done && now.Sub(e.Created) > scaled(patience) }
		stale := func(e entry) bool {
			e.finish(streams)
			return e.Done
		}
		if slices.ContainsFunc(h.Outbox, func(e entry) bool { return !e.Done && (old(e) || stale(e)) }) {
			s.alter(n, func(r *record) {
				r.Outbox = slices.DeleteFunc(slices.Clone(r.Outbox), old)
				for i := range r.Outbox {
					r.Outbox[i].finish(streams)
				}
			})
		}
		for _, e := range h.Outbox {
			if e.Done {
				done[h.home] = append(done[h.home], e.Created)
			}
		}
	}
	for home, times := range done {
		if len(times) <= kept {
			continue
		}
		slices.SortFunc(times, time.Time.Compare)
		since := times[len(times)-kept]
		old := func(e entry) bool { return e.Done && e.Created.Before(since) }
		for n, h := range s.records {
			if h.home == home && slices.ContainsFunc(h.Outbox, old) {
				s.alter(n, func(r *record) { r.Outbox = slices.DeleteFunc(slices.Clone(r.Outbox), old) })
			}
		}
	}
}

// recent are events that were handed over, newest first.
func (s *state) recent() []Event {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var entries []*entry
	for _, h := range s.records {
		for i := range h.Outbox {
			if len(h.Outbox[i].Delivered) > 0 {
				entries = append(entries, &h.Outbox[i])
			}
		}
	}
	slices.SortFunc(entries, func(a, b *entry) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	events := make([]Event, len(entries))
	for i, e := range entries {
		events[i] = e.event()
	}
	return events
}

// A handover says that a stream has an entry.
type handover struct{ entry, stream string }

// A journal keeps hand-overs until the store has them.
type journal interface {
	// read gives all, and whether the journal was there.
	read() ([]handover, bool, error)
	add(handover) error
	replace([]handover) error
}

// noJournal is for a watcher without one.
type noJournal struct{}

func (noJournal) read() ([]handover, bool, error) { return nil, false, nil }
func (noJournal) add(handover) error              { return nil }
func (noJournal) replace([]handover) error        { return nil }

// fileJournal is a file of lines: an entry and a stream, both quoted as Go does.
type fileJournal struct {
	path string
	file *os.File
}

func (j *fileJournal) read() ([]handover, bool, error) {
	data, err := os.ReadFile(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	return parseJournal(data), err == nil, err
}

// parseJournal reads the lines that are whole: the process may have ended while it wrote.
func parseJournal(data []byte) []handover {
	var all []handover
	whole := data[:bytes.LastIndexByte(data, '\n')+1]
	for lines := bufio.NewScanner(bytes.NewReader(whole)); lines.Scan(); {
		var h handover
		if n, err := fmt.Sscanf(lines.Text(), "%q %q", &h.entry, &h.stream); n == 2 && err == nil {
			all = append(all, h)
		}
	}
	return all
}

func (h handover) line() string { return fmt.Sprintf("%q %q\n", h.entry, h.stream) }

func (j *fileJournal) add(h handover) error {
	if j.file == nil {
		if err := os.MkdirAll(filepath.Dir(j.path), 0o700); err != nil {
			return err
		}
		file, err := os.OpenFile(j.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		j.file = file
	}
	_, err := j.file.WriteString(h.line())
	return err
}

func (j *fileJournal) replace(all []handover) error {
	if j.file != nil {
		_ = j.file.Close()
		j.file = nil
	}
	var b strings.Builder
	for _, h := range all {
		b.WriteString(h.line())
	}
	if err := os.MkdirAll(filepath.Dir(j.path), 0o700); err != nil {
		return err
	}
	return replace(j.path, []byte(b.String()))
}

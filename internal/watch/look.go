package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

const (
	pagesOfLook     = 10  // beyond them, a complete look follows
	pagesOfComplete = 100 // of what changed
	pagesOfOpen     = 200 // of what is open
	completeEvery   = 6 * time.Hour
	filesTries      = 3 // after them, a rule that needs the files matches
)

// A tie is a pull request that differs from what is known, though GitHub says that it has not changed since. One of both is
// an old answer. If the difference is there for as long as replicas may be apart, it is real.
type tie struct {
	print fingerprint
	since time.Time // by our clock
}

// A reading is what one look found.
type reading struct {
	page      Page // the first one
	pulls     map[int]*PullRequest
	newest    time.Time
	pages     int
	unchanged bool
	cut       bool // there is more that changed
	complete  bool // every open pull request was read
}

// add takes a page. Bare says of which pull requests GitHub's own description is not needed: there may be thousands.
func (r *reading) add(p Page, bare func(*PullRequest) bool) {
	for i := range p.Pulls {
		pull := &p.Pulls[i]
		if bare(pull) {
			pull.Raw = nil
		}
		// One that moves while pages are read can be in two.
		if was := r.pulls[pull.Number]; was == nil || pull.Updated.After(was.Updated) {
			r.pulls[pull.Number] = pull
		}
	}
	r.pages++
}

// read asks for what changed since what was known of the repository, and with complete for all that is open as well. Those
// that were open, and are not any more, are looked for among the closed ones. Nothing known is a first look.
func (w *Watcher) read(ctx context.Context, s *watched, known *record, complete, fresh bool) (*reading, error) {
	first := !known.seen()
	since := known.Cursor.Add(-lag)
	bare := func(p *PullRequest) bool { // no event is about it
		before := known.pull(p.Number)
		return first && s.before == 0 || !first && before != nil && before.same(printOf(p))
	}
	page, err := w.pulls(ctx, Request{Repository: s.name, Fresh: fresh || complete})
	if err != nil {
		return nil, err
	}
	r := &reading{page: page, pulls: map[int]*PullRequest{}, unchanged: page.Unchanged}
	if page.Unchanged {
		return r, nil
	}
	r.add(page, bare)
	for _, p := range page.Pulls {
		if p.Updated.After(r.newest) {
			r.newest = p.Updated
		}
	}
	most := pagesOfLook
	switch {
	case first:
		since = r.newest.Add(-young) // what was closed lately is known from the start
	case complete:
		most = pagesOfComplete
	}
	// follow reads on while the list, newest changes first, is at what interests.
	follow := func(interests func(last *PullRequest) bool, most int) error {
		for len(page.Pulls) > 0 && page.Next != "" && interests(&page.Pulls[len(page.Pulls)-1]) {
			if most--; most < 0 {
				r.cut = true
				return nil
			}
			if page, err = w.pulls(ctx, Request{Repository: s.name, Next: page.Next, Fresh: true}); err != nil {
				return err
			}
			r.add(page, bare)
		}
		return nil
	}
	if err := follow(func(last *PullRequest) bool { return !last.Updated.Before(since) }, most-1); err != nil {
		return nil, err
	}
	r.complete = page.Next == ""
	if r.complete || !complete {
		return r, nil
	}
	closed := page
	open := map[int]bool{}
	page = Page{Next: "first"}
	for n, request := 0, (Request{Repository: s.name, Open: true, Fresh: true}); page.Next != "" && n < pagesOfOpen; n++ {
		if page, err = w.pulls(ctx, request); err != nil {
			return nil, err
		}
		request.Next = page.Next
		r.add(page, bare)
		for _, p := range page.Pulls {
			open[p.Number] = true
		}
	}
	r.complete = page.Next == ""
	var gone []int
	for _, p := range known.Pulls {
		if p.State == stateOpen && !open[p.Number] {
			gone = append(gone, p.Number)
		}
	}
	page, err = closed, nil
	cut := r.cut
	err = follow(func(*PullRequest) bool {
		gone = slices.DeleteFunc(gone, func(n int) bool { return r.pulls[n] != nil })
		return len(gone) > 0
	}, pagesOfComplete)
	r.cut = cut
	return r, err
}

func (w *Watcher) pulls(ctx context.Context, request Request) (Page, error) {
	page, err := w.ports.GitHub.Pulls(ctx, request)
	if err != nil {
		return Page{}, fmt.Errorf("list pull requests of %s: %w", request.Repository, err)
	}
	return page, nil
}

// look reads a repository, and puts on record what happened there. It gives how long GitHub wants to be left alone.
func (w *Watcher) look(ctx context.Context, s *watched) (time.Duration, error) {
	now := w.ports.Now()
	r := w.state.get(s.name)
	unknown := r == nil
	if unknown {
		r = &record{Name: s.name}
	}
	first, generation := !r.seen(), r.Generation
	complete := first || s.complete || now.Sub(r.Complete).Abs() > s.completeAfter && now.Sub(s.completed) > s.completeAfter
	again := !s.again.IsZero() && !now.Before(s.again)
	fresh := s.fresh || len(s.ties) > 0 || again
	got, err := w.read(ctx, s, r, complete, fresh)
	if err != nil {
		return 0, err
	}
	w.mutex.Lock()
	s.Looks++
	if got.unchanged {
		s.Unchanged++
	}
	w.mutex.Unlock()
	if got.unchanged {
		return got.page.Interval, nil
	}
	if unknown && w.state.rename(got.page.Repository, s.name, w.configured) {
		s.fresh, s.hurry = true, true
		return got.page.Interval, nil
	}
	if id := got.page.Repository; r.ID != 0 && id != 0 && id != r.ID {
		w.ports.Log.Warn("another repository has this name now, so it is seen for the first time", "repository", s.name)
		s.fresh, s.hurry = true, true
		return got.page.Interval, w.keep(ctx, &decisions{s: s, r: r, first: true}, generation, time.Time{}, false)
	}

	d := &decisions{w: w, s: s, r: r, id: cmp.Or(got.page.Repository, r.ID), now: now, first: first, to: w.state.addressees(), prints: map[int]fingerprint{}}
	for _, p := range slices.SortedFunc(maps.Values(got.pulls), func(a, b *PullRequest) int {
		return cmp.Or(a.Updated.Compare(b.Updated), cmp.Compare(a.Number, b.Number))
	}) {
		if err := d.decide(ctx, p); err != nil {
			d.failed = errors.Join(d.failed, err)
			if ctx.Err() != nil {
				break
			}
		}
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return 0, ctx.Err()
	case ctx.Err() != nil: // what is decided is kept, or a look that takes too long would come no further than the one before
		ctx = context.WithoutCancel(ctx)
	}
	if first && d.failed != nil {
		return 0, d.failed // once it has been seen, nothing would be replayed
	}
	// Pages can come from replicas that are apart: what moved from one to the other in between is on none of them.
	apart := got.pages > 1 && !again
	cursor := got.newest
	if cursor.IsZero() || (got.cut || apart) && !complete || d.failed != nil {
		cursor = r.Cursor // there is more behind it
	}
	for _, t := range d.ties {
		if t.print.Updated.Before(cursor) && !t.print.Updated.Before(r.pull(t.print.Number).Updated) {
			cursor = t.print.Updated
		}
	}
	if err := w.keep(ctx, d, generation, cursor, got.complete && d.failed == nil); err != nil {
		s.fresh = true
		return 0, err
	}
	s.ties = d.ties
	s.fresh = d.failed != nil || got.cut && !complete
	s.complete = got.cut && !complete
	if s.complete {
		s.hurry = true
		w.ports.Log.Info("more has changed than one look reads; a complete look follows", "repository", s.name)
	}
	switch {
	case again:
		s.again = time.Time{}
	case apart && s.again.IsZero():
		s.again = w.ports.Now().Add(w.scaled(lag))
	}
	if complete && got.cut && !first {
		w.ports.Log.Warn("more has changed than ferry reads; what is missing is told when it changes again", "repository", s.name)
	}
	if complete || got.complete {
		s.completed = now
		s.completeAfter = w.jittered(w.scaled(completeEvery), 0.1)
	}
	return got.page.Interval, d.failed
}

// keep puts on record what a look found: at once if anything happened, otherwise with what is saved next.
func (w *Watcher) keep(ctx context.Context, d *decisions, generation uint64, cursor time.Time, complete bool) error {
	change := func(r *record) bool {
		if d.first {
			*r = record{Outbox: r.Outbox, Generation: r.Generation}
		}
		r.Name, r.Cursor = d.s.name, cursor
		r.ID = d.id
		if complete {
			r.Complete = d.now
		}
		if len(d.prints) > 0 || len(r.Pulls) > 0 {
			r.Pulls = r.with(d.prints, cursor.Add(-remembered))
		}
		r.Outbox = append(slices.Clone(r.Outbox), d.entries...)
		return true
	}
	if !d.changed && !d.first {
		if len(d.prints) > 0 || complete || !cursor.Equal(d.r.Cursor) {
			w.state.adjust(d.s.name, generation, change)
		}
		return nil
	}
	if err := w.state.commit(ctx, w.state.home(d.id, d.s.name), name(d.s.name), generation, change); err != nil {
		return &unkept{fmt.Errorf("put on record what happened in %s: %w", d.s.name, err)}
	}
	w.mutex.Lock()
	d.s.Events += len(d.entries)
	w.mutex.Unlock()
	return nil
}

// unkept is an error of the store, not of GitHub.
type unkept struct{ error }

func (u *unkept) Unwrap() error { return u.error }

// decisions are about the pull requests of one look.
type decisions struct {
	w     *Watcher
	s     *watched
	r     *record // as it was before
	id    int64
	now   time.Time
	first bool
	to    []string

	prints  map[int]fingerprint // what is known from now on
	entries []entry
	ties    map[int]tie
	changed bool  // something differs that an event could be about
	failed  error // what is not decided yet
}

// decide compares a pull request with what is known of it, and makes the events that rules ask for. With an error, it stays
// undecided: as it was.
func (d *decisions) decide(ctx context.Context, p *PullRequest) error {
	now, before := printOf(p), d.r.pull(p.Number)
	var kinds []Kind
	switch {
	case d.first:
		if now.State == stateOpen && d.s.before > 0 && !d.w.lost && p.Updated.After(d.now.Add(-d.s.before)) {
			kinds = []Kind{Opened}
		}
	case before == nil:
		if now.State != stateOpen && now.Closed.Before(d.r.Cursor.Add(-remembered)) {
			return nil
		}
		kinds = changed(nil, now, p.Created, d.r.Cursor.Add(-young))
	case before.same(now):
		if now.Updated.After(before.Updated) {
			now.Told = before.Told
			d.prints[p.Number] = now
		}
		return nil
	case !now.Updated.After(before.Updated):
		t, waiting := d.s.ties[p.Number]
		if !waiting || !t.print.same(now) || !t.print.Updated.Equal(now.Updated) {
			t = tie{print: now, since: d.now}
		}
		if d.now.Sub(t.since) < d.w.scaled(lag) {
			if d.ties == nil {
				d.ties = map[int]tie{}
			}
			d.ties[p.Number] = t
			return nil
		}
		kinds = changed(before, now, p.Created, time.Time{})
	default:
		kinds = changed(before, now, p.Created, time.Time{})
	}
	if before != nil {
		now.Told = before.Told
	}
	var entries []entry
	for _, kind := range kinds {
		event, told, err := d.match(ctx, p, before, now, kind)
		if err != nil {
			return err
		}
		if event == nil {
			continue
		}
		if told {
			now.Told = now.Head
		}
		entries = append(entries, newEntry(d.w.newID(), *event, d.to))
	}
	d.entries = append(d.entries, entries...)
	d.prints[p.Number] = now
	d.changed = true
	return nil
}

// match finds the first rule that asks for an event, and completes the event. Told says that a rule for what is open asked.
func (d *decisions) match(ctx context.Context, p *PullRequest, before *fingerprint, now fingerprint, kind Kind) (event *Event, told bool, err error) {
	for _, r := range d.s.rules {
		open := r.open && r.becomesOpen(p.Author, before, now, kind)
		if !open && !slices.Contains(r.kinds, kind) || !r.cheap(p.Author, now.Base, now.Draft, now.Labels) {
			continue
		}
		e := &Event{
			Key: key(d.id, p, kind), Kind: kind, Repository: d.s.name, Found: d.now, Rule: r.path, PullRequest: p, FileCount: -1,
		}
		if !r.paths.none() || d.w.config.Files {
			files, err := d.files(ctx, p)
			switch {
			case err == nil && !r.paths.none() && !r.touches(files.files, files.all):
				continue
			case err == nil:
				e.FileCount, e.Files = len(files.files), files.files
				if !files.all {
					e.Notes = append(e.Notes, fmt.Sprintf("GitHub lists no more than %d of its files, so its files count as matching.", len(files.files)))
				}
			case r.paths.none():
				e.Notes = append(e.Notes, "Its files could not be listed.")
			case d.undecided(p, err):
				return nil, false, err
			default:
				e.Notes = append(e.Notes, "Its files could not be listed, so they count as matching.")
			}
		}
		switch kind {
		case Synchronize:
			e.Before = before.Head
			e.Forced, err = d.w.ports.GitHub.Diverged(ctx, d.s.name, before.Head, now.Head)
			if err != nil {
				e.Notes = append(e.Notes, "Whether its branch was rewritten could not be found out.")
			}
		case Retargeted:
			e.Before = before.Base
		case Labelled:
			e.Added = without(now.Labels, before.Labels)
		case Unlabelled:
			e.Removed = without(before.Labels, now.Labels)
		}
		return e, open, nil
	}
	return nil, false, nil
}

// becomesOpen says whether a rule for what is open asks for an event: once for each head, when the pull request is new or
// renewed, or got through the rule's filters by what happened.
func (r *rule) becomesOpen(author string, before *fingerprint, now fingerprint, kind Kind) bool {
	if now.State != stateOpen || now.Told == now.Head {
		return false
	}
	switch kind {
	case Opened, Reopened, Synchronize:
		return true
	}
	return !r.cheap(author, before.Base, before.Draft, before.Labels)
}

// listed are the files of a pull request.
type listed struct {
	files []File
	all   bool
}

// files lists what a pull request changes, once for each head and base.
func (d *decisions) files(ctx context.Context, p *PullRequest) (listed, error) {
	id := fmt.Sprintf("%s#%d %s %s", d.s.name, p.Number, p.Head.SHA, p.Base.SHA)
	if l, has := d.w.files.get(id); has {
		return l, nil
	}
	files, all, err := d.w.ports.GitHub.Files(ctx, d.s.name, p.Number)
	if err != nil {
		return listed{}, fmt.Errorf("list files of %s#%d: %w", d.s.name, p.Number, err)
	}
	delete(d.s.tries, p.try())
	l := listed{files, all}
	d.w.files.put(id, l)
	return l, nil
}

// undecided says whether to ask for the files again, with the next look, rather than take them as matching.
func (d *decisions) undecided(p *PullRequest, err error) bool {
	switch troubleOf(err) {
	case Gone, Forbidden:
		return false
	case Limited, Unauthorised:
		return true
	}
	if d.s.tries == nil {
		d.s.tries = map[string]int{}
	}
	at := p.try()
	d.s.tries[at]++
	if d.s.tries[at] < filesTries {
		return true
	}
	delete(d.s.tries, at)
	return false
}

// try names what is tried again.
func (p *PullRequest) try() string { return strconv.Itoa(p.Number) + " " + p.Head.SHA }

// rename gives the record of a repository, which the configuration had under another name, the name that it has now. It says
// whether there was one.
func (s *state) rename(id int64, to string, configured func(name string) bool) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for n, h := range s.records {
		if id != 0 && h.ID == id && !configured(n) {
			delete(s.records, n)
			s.records[name(to)] = h
			s.alter(name(to), func(r *record) { r.Name = to })
			return true
		}
	}
	return false
}

// home is the shard of a record, or the one where it is to be.
func (s *state) home(id int64, repository string) *shard {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if h := s.records[name(repository)]; h != nil {
		return h.home
	}
	return s.place(id, repository)
}

// adjust changes a record in memory alone, if it still is of a generation, and leaves it that: nothing was found that should hold
// against what another process finds.
func (s *state) adjust(repository string, generation uint64, change func(r *record) bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	n := name(repository)
	if r := s.at(n); r == nil || r.Generation != generation {
		return
	}
	s.alter(n, func(r *record) { change(r) })
}

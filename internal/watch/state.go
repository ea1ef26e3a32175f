package watch

import (
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	shardsAtFirst = 8
	shardsAtMost  = 64
	saveTimeout   = 30 * time.Second
	saveTries     = 5
)

// errOvertaken says that somebody else has put on record what happened in a repository.
var errOvertaken = errors.New("somebody else has written the state of this repository")

// state is what is stored, in memory: the records of all shards. Those of a shard are saved together.
type state struct {
	store Store

	mutex   sync.Mutex
	shards  []*shard
	records map[string]*held // by name
	// news is closed, and another takes its place, when there may be something to hand over.
	news   chan struct{}
	packer *gzip.Writer
}

type shard struct {
	number int
	// saving is held from reading what is to be saved until it is; the rest is guarded by state's mutex.
	saving         sync.Mutex
	version        string
	size           int
	changes, saved int   // a shard is dirty while they differ
	trouble        error // why the last save failed; nil after one that did not
}

// A held record has its place.
type held struct {
	*record
	home   *shard
	packed []byte // nil: has to be packed anew
}

func newState(store Store) *state {
	s := &state{store: store, records: map[string]*held{}, news: make(chan struct{}), packer: newPacker()}
	s.grow(shardsAtFirst)
	return s
}

func (s *state) grow(count int) {
	for len(s.shards) < min(count, shardsAtMost) {
		s.shards = append(s.shards, &shard{number: len(s.shards)})
	}
}

// load reads all shards. Lost are those that should be there and are not, or hold what cannot be read.
func (s *state) load(ctx context.Context) (lost []int, err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	found := 0
	for n := 0; n < len(s.shards); n++ {
		home := s.shards[n]
		data, version, err := s.store.Load(ctx, n)
		if err != nil {
			return nil, err
		}
		home.version, home.size = version, len(data)
		if version == "" {
			continue
		}
		found++
		if n == len(s.shards)-1 { // there may be one more, which was made when the process ended
			s.grow(n + 2)
		}
		records, err := unpack(data)
		if err != nil {
			lost = append(lost, n)
		}
		for _, r := range records {
			if was := s.records[name(r.Name)]; was != nil && was.Generation >= r.Generation {
				continue // it was on its way to another shard
			}
			s.records[name(r.Name)] = &held{record: r, home: home}
			if r.Common != nil {
				s.grow(slices.Max(append(r.Common.Shards, 0)) + 1)
			}
		}
	}
	common := s.records[""]
	if common == nil {
		if found > 0 && !slices.Contains(lost, 0) {
			lost = append(lost, 0)
		}
		s.records[""] = &held{record: &record{Common: &shared{}}, home: s.shards[0]}
		return lost, nil
	}
	for _, n := range common.Common.Shards {
		if n >= 0 && n < len(s.shards) && s.shards[n].version == "" {
			lost = append(lost, n)
		}
	}
	return lost, nil
}

// place chooses the shard of a new record. The caller has the mutex.
func (s *state) place(id int64, repository string) *shard {
	h := fnv.New32a()
	if id != 0 {
		repository = strconv.FormatInt(id, 10)
	}
	_, _ = h.Write([]byte(repository))
	if home := s.shards[h.Sum32()%shardsAtFirst]; home.size < roomy {
		return home
	}
	return s.emptiest()
}

// emptiest is the shard with most room, a new one if all are near their size. The caller has the mutex.
func (s *state) emptiest() *shard {
	least := slices.MinFunc(s.shards, func(a, b *shard) int { return cmp.Compare(a.size, b.size) })
	if least.size > roomy*3/4 && len(s.shards) < shardsAtMost {
		s.grow(len(s.shards) + 1)
		return s.shards[len(s.shards)-1]
	}
	return least
}

// get is a record, or nil.
func (s *state) get(repository string) *record {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.at(name(repository))
}

// at is get for those who have the mutex and the name.
func (s *state) at(name string) *record {
	if h := s.records[name]; h != nil {
		return h.record
	}
	return nil
}

// alter changes a record in memory; it is saved with the next change, or when the shards are flushed. The caller has the mutex.
func (s *state) alter(name string, change func(r *record)) {
	h := s.records[name]
	if h == nil {
		return
	}
	r := *h.record
	change(&r)
	h.record, h.packed = &r, nil
	h.home.changes++
}

// commit saves a change of one record, and all that was altered in its shard. Once it is saved it is seen; with an error,
// nothing happened. Change gets a copy, of an empty record where there is none, and says whether the record stays. It may be
// called several times. A record that has another generation than the caller knows is left alone: errOvertaken.
func (s *state) commit(ctx context.Context, home *shard, name string, generation uint64, change func(r *record) bool) error {
	if first := s.all()[0]; home != first && s.unsaved(first) {
		// So that one without it is a loss, and no beginning.
		if err := s.commit(ctx, first, "", 0, nil); err != nil {
			return err
		}
	}
	home.saving.Lock()
	defer home.saving.Unlock()
	for range saveTries {
		p, err := s.prepare(home, name, generation, change)
		if err != nil {
			return s.result(home, err)
		}
		saving, cancel := context.WithTimeout(ctx, saveTimeout)
		version, err := s.store.Save(saving, home.number, p.data, p.version)
		cancel()
		switch {
		case err == nil:
			s.apply(home, p, version, name, change)
			return s.result(home, nil)
		case !errors.Is(err, ErrConflict):
			return s.result(home, err)
		}
		if err := s.reload(ctx, home); err != nil {
			return s.result(home, err)
		}
	}
	return s.result(home, ErrConflict)
}

func (s *state) unsaved(home *shard) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return home.version == ""
}

// result keeps what became of a save, for all to see.
func (s *state) result(home *shard, err error) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if !errors.Is(err, errOvertaken) {
		home.trouble = err
	}
	return err
}

// prepared is a shard as it is about to be saved.
type prepared struct {
	was, now map[string]*record
	packed   map[string][]byte
	data     []byte
	unpacked int64 // bytes: what packs well has to be read again, too
	version  string
	changes  int
}

func (s *state) prepare(home *shard, name string, generation uint64, change func(r *record) bool) (*prepared, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	p := &prepared{was: map[string]*record{}, now: map[string]*record{}, packed: map[string][]byte{}, version: home.version, changes: home.changes}
	for n, h := range s.records {
		if h.home == home {
			p.was[n], p.now[n], p.packed[n] = h.record, h.record, h.packed
		}
	}
	if change != nil {
		r := record{}
		if was := s.at(name); was != nil { // in another shard, if this is how it moves here
			r, p.was[name] = *was, was
		}
		if r.Generation != generation {
			return nil, errOvertaken
		}
		delete(p.now, name)
		delete(p.packed, name)
		if change(&r) {
			r.Generation++
			p.now[name] = &r
		}
	}
	for {
		if err := p.pack(s.packer); err != nil {
			return nil, err
		}
		if len(p.data) <= roomy && p.unpacked <= largest/2 || !p.shrink() {
			break
		}
	}
	if len(p.data) > full || p.unpacked > largest {
		return nil, fmt.Errorf("shard %d of the state is full: %d bytes, unpacked %d", home.number, len(p.data), p.unpacked)
	}
	return p, nil
}

func (p *prepared) pack(z *gzip.Writer) error {
	all := [][]byte{[]byte(header)}
	p.unpacked = 0
	for _, n := range slices.Sorted(maps.Keys(p.now)) {
		if p.packed[n] == nil {
			packed, err := p.now[n].pack(z)
			if err != nil {
				return err
			}
			p.packed[n] = packed
		}
		all = append(all, p.packed[n])
		p.unpacked += unpackedSize(p.packed[n])
	}
	p.data = slices.Concat(all...)
	return nil
}

// shrink trims the older half of what can be trimmed, and says whether there was any.
func (p *prepared) shrink() bool {
	var times []time.Time
	heavy := func(e entry) bool { return e.Raw != nil || e.Event.Files != nil }
	for _, r := range p.now {
		for _, e := range r.Outbox {
			if heavy(e) {
				times = append(times, e.Created)
			}
		}
	}
	if len(times) == 0 {
		return false
	}
	slices.SortFunc(times, time.Time.Compare)
	until := times[len(times)/2]
	for n, r := range p.now {
		if !slices.ContainsFunc(r.Outbox, func(e entry) bool { return heavy(e) && !e.Created.After(until) }) {
			continue
		}
		smaller := *r
		smaller.Outbox = slices.Clone(r.Outbox)
		for i := range smaller.Outbox {
			if !smaller.Outbox[i].Created.After(until) {
				smaller.Outbox[i].trim()
			}
		}
		p.now[n], p.packed[n] = &smaller, nil
	}
	return true
}

// apply makes what was saved what holds. Meanwhile entries may have been marked as delivered; that is kept, for the next save.
func (s *state) apply(home *shard, p *prepared, version, target string, change func(r *record) bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	home.version, home.size, home.saved = version, len(p.data), p.changes
	for n, r := range p.now {
		h := s.records[n]
		if h == nil {
			s.records[n] = &held{record: r, home: home, packed: p.packed[n]}
			continue
		}
		if h.home != home {
			h.home.changes++ // it is to go from there
			h.home = home
		}
		switch {
		case h.record == p.was[n]:
			h.record, h.packed = r, p.packed[n]
		case n == target && change != nil:
			s.alter(n, func(r *record) {
				change(r)
				r.Generation++
			})
		}
	}
	if p.now[target] == nil && change != nil {
		delete(s.records, target)
	}
	if len(p.now) > 0 {
		s.use(home.number)
	}
	s.tell()
}

// use notes that a shard holds something. The caller has the mutex.
func (s *state) use(number int) {
	if !slices.Contains(s.at("").Common.Shards, number) {
		s.alterCommon(func(c *shared) { c.Shards = append(slices.Clone(c.Shards), number) })
	}
}

// alterCommon changes what concerns all. What is in it has to be cloned before it is changed. The caller has the mutex.
func (s *state) alterCommon(change func(c *shared)) {
	s.alter("", func(r *record) {
		c := *r.Common
		change(&c)
		r.Common = &c
	})
}

// tell wakes all who wait for something to hand over. The caller has the mutex.
func (s *state) tell() {
	close(s.news)
	s.news = make(chan struct{})
}

// reload reads a shard that somebody else has written or removed. What they found later than we did holds, and what either
// delivered is delivered. The caller has the shard's saving lock.
func (s *state) reload(ctx context.Context, home *shard) error {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	data, version, err := s.store.Load(ctx, home.number)
	if err != nil {
		return err
	}
	var records []*record
	if version != "" {
		records, _ = unpack(data) // what cannot be read is written again from memory
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if version == "" { // removed, and maybe not alone
		for _, other := range s.shards {
			if other.version != "" {
				other.changes++
			}
		}
	}
	home.version = version
	home.changes++
	for _, theirs := range records {
		ours := s.records[name(theirs.Name)]
		switch {
		case ours == nil && theirs.Common == nil:
			s.records[name(theirs.Name)] = &held{record: theirs, home: home}
		case ours == nil || ours.home != home:
		case theirs.Generation > ours.Generation:
			theirs.delivered(ours.record)
			ours.record, ours.packed = theirs, nil
		default:
			r := *ours.record
			r.delivered(theirs)
			ours.record, ours.packed = &r, nil
		}
	}
	s.tell()
	return nil
}

// delivered takes over what another version of a record knows to be delivered.
func (r *record) delivered(other *record) {
	r.Outbox = slices.Clone(r.Outbox)
	for i := range r.Outbox {
		e := &r.Outbox[i]
		for _, o := range other.Outbox {
			if o.ID == e.ID {
				e.Delivered = append(slices.Clone(e.Delivered), without(o.Delivered, e.Delivered)...)
				e.Done = e.Done || o.Done
			}
		}
	}
}

// flush saves every shard in which something was altered.
func (s *state) flush(ctx context.Context) error {
	var failed error
	for _, home := range s.all() {
		s.mutex.Lock()
		dirty := home.changes != home.saved
		s.mutex.Unlock()
		if dirty {
			failed = errors.Join(failed, s.commit(ctx, home, "", 0, nil))
		}
	}
	return failed
}

func (s *state) all() []*shard {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return slices.Clone(s.shards)
}

// empty says whether nothing was stored.
func (s *state) empty() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return !slices.ContainsFunc(s.shards, func(home *shard) bool { return home.version != "" })
}

// forget drops records of repositories that are not configured any more, once all that was found in them is handed over.
func (s *state) forget(configured func(name string) bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for n, h := range s.records {
		if n != "" && !configured(n) && !slices.ContainsFunc(h.Outbox, func(e entry) bool { return !e.Done }) {
			h.home.changes++
			delete(s.records, n)
		}
	}
}

// spread moves the largest record out of each shard that is over its size.
func (s *state) spread(ctx context.Context) error {
	var failed error
	for _, home := range s.all() {
		s.mutex.Lock()
		var largest *held
		var of string
		for n, h := range s.records {
			movable := h.home == home && n != "" && len(h.packed) <= roomy/2
			if movable && (largest == nil || len(h.packed) > len(largest.packed)) {
				largest, of = h, n
			}
		}
		if home.size <= roomy || largest == nil {
			s.mutex.Unlock()
			continue
		}
		to, generation := s.emptiest(), largest.Generation
		s.mutex.Unlock()
		if err := s.commit(ctx, to, of, generation, func(*record) bool { return true }); err != nil && !errors.Is(err, errOvertaken) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

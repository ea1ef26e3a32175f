package watch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// failing makes the store fail from now on, or no more.
func (w *world) failing(fail func(save bool) error) {
	m := w.store.(*memory)
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.fail = fail
}

func TestWhatCannotBePutOnRecordIsNotToldUntilItCan(t *testing.T) {
	in(t, func(w *world) {
		w.start("slack")
		pass(time.Minute)
		w.failing(func(save bool) error {
			if save {
				return errTest
			}
			return nil
		})
		w.github.change("acme/a", 2, func(*PullRequest) {})
		pass(time.Hour)
		w.github.change("acme/a", 1, mergeIt)
		pass(time.Hour)
		w.expect("slack")
		status := w.watcher.Status()
		if !errors.Is(status.State, errTest) || status.Repositories[0].Failures != 0 || status.Repositories[0].LastError == nil {
			t.Errorf("%+v", status)
		}
		w.failing(nil)
		pass(time.Minute)
		w.expect("slack", "2 opened", "1 merged")
		if status := w.watcher.Status(); status.State != nil || status.Repositories[0].LastError != nil {
			t.Errorf("%+v", status)
		}
	})
}

func TestNothingIsWatchedBeforeTheStateIsRead(t *testing.T) {
	in(t, func(w *world) {
		w.start("slack")
		pass(time.Minute)
		w.stop()
		w.failing(func(bool) error { return errTest })
		w.github.change("acme/a", 2, func(*PullRequest) {})
		asked := w.github.count("")
		w.start("slack")
		pass(time.Hour)
		w.expect("slack")
		if n := w.github.count("") - asked; n != 0 {
			t.Errorf("%d requests", n)
		}
		if status := w.watcher.Status(); !errors.Is(status.State, errTest) {
			t.Errorf("%+v", status)
		}
		w.failing(nil)
		pass(2 * time.Minute)
		w.expect("slack", "2 opened")
	})
}

func TestASaveThatTimesOutAndYetHappensIsToldOnce(t *testing.T) {
	in(t, func(w *world) {
		w.start("slack")
		pass(time.Minute)
		late := func(err error) {
			m := w.store.(*memory)
			m.mutex.Lock()
			defer m.mutex.Unlock()
			m.late = err
		}
		late(context.DeadlineExceeded)
		w.github.change("acme/a", 2, func(*PullRequest) {})
		pass(time.Minute)
		late(nil)
		pass(2 * time.Minute)
		w.expect("slack", "2 opened")
	})
}

// TestStateThatIsLost is about state that was there: people are told, once, and nothing old is.
func TestStateThatIsLost(t *testing.T) {
	for _, test := range []struct {
		name string
		lose func(m *memory, shard int)
		want []string
	}{
		{"removed", func(m *memory, _ int) { clear(m.shards) }, []string{" problem lost"}},
		{"a shard removed", func(m *memory, shard int) { delete(m.shards, shard) }, []string{" problem lost"}},
		{"the common shard removed", func(m *memory, _ int) { delete(m.shards, 0) }, []string{" problem lost", "2 opened"}},
		{"a shard overwritten", func(m *memory, shard int) { m.shards[shard] = []byte("{}") }, []string{" problem lost"}},
		{"a byte flipped", func(m *memory, shard int) { m.shards[shard][len(m.shards[shard])-6] ^= 1 }, []string{" problem lost"}},
		{"cut", func(m *memory, shard int) { m.shards[shard] = m.shards[shard][:len(m.shards[shard])/2] }, []string{" problem lost"}},
		{"emptied", func(m *memory, shard int) { m.shards[shard] = []byte{} }, []string{" problem lost"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			in(t, func(w *world) {
				w.config.Repositories[0].Before = 1000 * time.Hour
				w.start("slack")
				pass(5 * time.Minute)
				w.expect("slack", "1 opened")
				home := w.watcher.state.home(0, "acme/a").number
				if home == 0 {
					t.Fatal("choose another name, so that the shards differ")
				}
				w.stop()
				test.lose(w.store.(*memory), home)
				w.github.change("acme/a", 2, func(*PullRequest) {})
				pass(time.Hour)
				w.start("slack")
				pass(5 * time.Minute)
				got := w.told("slack")
				slices.Sort(got)
				for i := range test.want {
					test.want[i] = strings.TrimSpace(test.want[i])
				}
				slices.Sort(test.want)
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Error(diff)
				}
				w.stop()
				w.start("slack")
				pass(5 * time.Minute)
				w.expect("slack")
				w.github.change("acme/a", 3, func(*PullRequest) {})
				pass(time.Minute)
				w.expect("slack", "3 opened")
			})
		})
	}
}

func TestStateRemovedWhileFerryRunsIsWrittenAgain(t *testing.T) {
	in(t, func(w *world) {
		w.start("slack")
		pass(time.Minute)
		m := w.store.(*memory)
		m.mutex.Lock()
		clear(m.shards)
		m.mutex.Unlock()
		w.github.change("acme/a", 2, func(*PullRequest) {})
		pass(time.Minute)
		w.expect("slack", "2 opened")
		w.stop()
		w.github.change("acme/a", 2, mergeIt)
		w.start("slack")
		pass(time.Minute)
		w.expect("slack", "2 merged")
	})
}

func TestWhatAnotherProcessFoundLaterHolds(t *testing.T) {
	store := newMemory()
	now := time.Now()
	open := func() *state {
		s := newState(store)
		if _, err := s.load(t.Context()); err != nil {
			t.Fatal(err)
		}
		return s
	}
	put := func(s *state, repository string, entries ...string) error {
		var generation uint64
		if r := s.get(repository); r != nil {
			generation = r.Generation
		}
		return s.commit(t.Context(), s.shards[0], repository, generation, func(r *record) bool {
			r.Name = repository
			for _, id := range entries {
				r.Outbox = append(slices.Clone(r.Outbox), entry{ID: id, Created: now, Event: Event{Key: id}})
			}
			return true
		})
	}
	a := open()
	if err := errors.Join(put(a, "acme/a", "1"), put(a, "acme/b", "2")); err != nil {
		t.Fatal(err)
	}
	b := open()
	b.mark("acme/a", handover{"1", "slack"})
	if err := put(b, "acme/b", "3"); err != nil {
		t.Fatal(err)
	}
	if err := put(a, "acme/b", "3 too"); !errors.Is(err, errOvertaken) {
		t.Errorf("a change of what was overtaken: %v", err)
	}
	if err := put(a, "acme/a", "4"); err != nil {
		t.Error(err)
	}
	last := open()
	outbox := func(s *state, repository string) (ids []string) {
		for _, e := range s.get(repository).Outbox {
			ids = append(ids, e.ID+" "+strings.Join(e.Delivered, ","))
		}
		return ids
	}
	for _, s := range []*state{a, last} {
		if diff := cmp.Diff([]string{"1 slack", "4 "}, outbox(s, "acme/a")); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"2 ", "3 "}, outbox(s, "acme/b")); diff != "" {
			t.Error(diff)
		}
	}
}

func TestWhatIsNotWorthASaveOvertakesNothing(t *testing.T) {
	store := newMemory()
	var both []*state
	for range 2 {
		s := newState(store)
		if _, err := s.load(t.Context()); err != nil {
			t.Fatal(err)
		}
		err := s.commit(t.Context(), s.shards[0], "acme/a", s.generation("acme/a"), func(r *record) bool {
			r.Name = "acme/a"
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, s)
	}
	a, b := both[0], both[1]
	b.adjust("acme/a", b.generation("acme/a"), func(r *record) bool { // a comment on a pull request
		r.Cursor = time.Unix(1, 0)
		return true
	})
	if err := a.flush(t.Context()); err != nil { // learns of b's
		t.Fatal(err)
	}
	if err := a.reload(t.Context(), a.shards[0]); err != nil {
		t.Fatal(err)
	}
	err := a.commit(t.Context(), a.shards[0], "acme/a", a.generation("acme/a"), func(r *record) bool {
		r.Cursor = time.Unix(2, 0)
		r.Outbox = []entry{{ID: "1", Event: Event{Key: "1"}}}
		return true
	})
	if err := errors.Join(err, b.flush(t.Context())); err != nil {
		t.Fatal(err)
	}
	last := newState(store)
	if _, err := last.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := last.get("acme/a"); len(r.Outbox) != 1 || !r.Cursor.Equal(time.Unix(2, 0)) {
		t.Errorf("%+v", r)
	}
}

// generation is that of a record; 0 without.
func (s *state) generation(repository string) uint64 {
	if r := s.get(repository); r != nil {
		return r.Generation
	}
	return 0
}

func TestRoomIsMadeByDroppingTheOldestDescriptions(t *testing.T) {
	in(t, func(w *world) {
		w.start()
		pass(time.Minute)
		random := rand.NewChaCha8([32]byte{})
		for n := 2; n < 60; n++ {
			noise := make([]byte, 30_000)
			_, _ = random.Read(noise)
			w.github.change("acme/a", n, func(p *PullRequest) { p.Title = fmt.Sprintf("%x", noise) })
			w.github.untitled(n) // the event has no room problem of its own
			pass(time.Minute)
		}
		w.stop()
		for n, data := range w.store.(*memory).shards {
			if len(data) > roomy {
				t.Errorf("shard %d has %d bytes", n, len(data))
			}
		}
		w.start("slack")
		pass(10 * time.Minute)
		events := w.events("slack")
		if len(events) != 58 {
			t.Fatalf("%d events", len(events))
		}
		if e := events[0]; e.PullRequest.Raw != nil || len(e.Notes) != 1 {
			t.Errorf("the oldest: %d bytes, %v", len(e.PullRequest.Raw), e.Notes)
		}
		if e := events[57]; !json.Valid(e.PullRequest.Raw) || e.Notes != nil {
			t.Errorf("the newest: %d bytes, %v", len(e.PullRequest.Raw), e.Notes)
		}
	})
}

// TestWhatPacksWellIsReadAgain: a stranger's pull request may have thousands of files whose long names are nearly the same.
func TestWhatPacksWellIsReadAgain(t *testing.T) {
	ctx := t.Context()
	store := newMemory()
	s := newState(store)
	if _, err := s.load(ctx); err != nil {
		t.Fatal(err)
	}
	files := make([]File, 3000)
	for i := range files {
		files[i].Name = strings.Repeat("<", 4000) + fmt.Sprint(i)
	}
	if err := s.commit(ctx, s.shards[1], "acme/a", 0, func(r *record) bool {
		r.Name, r.Outbox = "acme/a", []entry{newEntry("1", Event{Key: "1#7:opened:x", Files: files}, nil)}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	again := newState(store)
	lost, err := again.load(ctx)
	if err != nil || len(lost) > 0 {
		t.Fatalf("lost %v, %v; %d bytes are stored", lost, err, len(store.shards[1]))
	}
	if r := again.get("acme/a"); r == nil || len(r.Outbox) != 1 || r.Outbox[0].Event.Key != "1#7:opened:x" || !r.Outbox[0].Trimmed {
		t.Errorf("%+v", r)
	}
}

func TestManyPullRequestsSpreadOverMoreShards(t *testing.T) {
	ctx := t.Context()
	store := newMemory()
	s := newState(store)
	if _, err := s.load(ctx); err != nil {
		t.Fatal(err)
	}
	random := rand.NewChaCha8([32]byte{})
	fill := func(r *record) {
		for n := range 1500 {
			head := make([]byte, 20)
			_, _ = random.Read(head)
			r.Pulls = append(r.Pulls, fingerprint{Number: n + 1, State: stateOpen, Head: fmt.Sprintf("%x", head), Base: "main"})
		}
	}
	for i := range 30 {
		repository := fmt.Sprintf("acme/%d", i)
		if err := s.commit(ctx, s.shards[1], repository, 0, func(r *record) bool {
			r.Name = repository
			fill(r)
			return true
		}); err != nil {
			t.Fatalf("%s: %v", repository, err)
		}
		if err := errors.Join(s.spread(ctx), s.flush(ctx)); err != nil {
			t.Fatal(err)
		}
	}
	again := newState(store)
	if lost, err := again.load(ctx); err != nil || len(lost) > 0 {
		t.Fatal(lost, err)
	}
	for i := range 30 {
		if r := again.get(fmt.Sprintf("acme/%d", i)); r == nil || len(r.Pulls) != 1500 {
			t.Errorf("acme/%d: %v", i, r)
		}
	}
	for n, data := range store.shards {
		if len(data) > full {
			t.Errorf("shard %d has %d bytes", n, len(data))
		}
	}
}

func TestAShardIsFoundThatWasMadeWhenTheProcessEnded(t *testing.T) {
	ctx := t.Context()
	store := newMemory()
	s := newState(store)
	if _, err := s.load(ctx); err != nil {
		t.Fatal(err)
	}
	commit := func(home *shard, repository string, generation uint64) {
		t.Helper()
		if err := s.commit(ctx, home, repository, generation, func(r *record) bool {
			r.Name, r.ID = repository, 7
			return true
		}); err != nil {
			t.Fatal(err)
		}
	}
	for n := range shardsAtFirst {
		commit(s.shards[n], fmt.Sprintf("acme/%d", n), 0)
	}
	s.grow(shardsAtFirst + 1)
	commit(s.shards[shardsAtFirst], "acme/1", 1) // it moves there
	commit(s.shards[1], "acme/more", 0)          // so it is gone from here
	again := newState(store)                     // before the first shard tells of the new one
	if lost, err := again.load(ctx); err != nil || len(lost) > 0 {
		t.Fatal(lost, err)
	}
	if again.get("acme/1") == nil {
		t.Error("the record that moved is not found")
	}
}

func TestFilesStore(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "state")
	ctx := t.Context()
	a, b := &Files{Directory: directory}, &Files{Directory: directory}
	data, was, err := a.Load(ctx, 3)
	if data != nil || was != "" || err != nil {
		t.Fatal(data, was, err)
	}
	first, err := a.Save(ctx, 3, []byte("one"), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Save(ctx, 3, []byte("two"), ""); !errors.Is(err, ErrConflict) {
		t.Error(err)
	}
	data, was, err = b.Load(ctx, 3)
	if string(data) != "one" || was != first || err != nil {
		t.Error(string(data), was, err)
	}
	if _, err := b.Save(ctx, 3, []byte("two"), was); err != nil {
		t.Error(err)
	}
	if _, err := a.Save(ctx, 3, []byte("three"), first); !errors.Is(err, ErrConflict) {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(directory, "shard-3")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Save(ctx, 3, []byte("four"), version([]byte("two"))); !errors.Is(err, ErrConflict) {
		t.Error(err)
	}
	// A directory that cannot be written.
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (&Files{Directory: file}).Save(ctx, 0, []byte("x"), ""); err == nil || errors.Is(err, ErrConflict) {
		t.Error(err)
	}
	left, err := os.ReadDir(directory)
	if err != nil || len(left) != 0 {
		t.Error("left behind: ", left, err)
	}
}

func TestWatcherWithFiles(t *testing.T) {
	directory := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.store = &Files{Directory: filepath.Join(directory, "state")}
		w.journal = &fileJournal{path: filepath.Join(directory, "local", "journal")}
		w.start("slack")
		pass(time.Minute)
		w.github.change("acme/a", 2, func(*PullRequest) {})
		pass(40 * time.Second)
		w.expect("slack", "2 opened")
		w.stop()
		w.mortal = newMortal(0)
		w.start("slack")
		pass(5 * time.Second)
		w.github.change("acme/a", 3, func(*PullRequest) {})
		pass(time.Minute)
		w.mortal.kill()
		w.stop()
		w.mortal = nil
		w.start("slack")
		pass(5 * time.Minute)
		w.stop()
		w.expect("slack", "3 opened")
	})
}

func FuzzUnpack(f *testing.F) {
	z := newPacker()
	common, err := (&record{Common: &shared{Streams: map[string]time.Time{"slack": time.Unix(1, 0)}, Shards: []int{-1, 1 << 40}}}).pack(z)
	if err != nil {
		f.Fatal(err)
	}
	one, err := (&record{ID: 1, Name: "acme/a", Pulls: []fingerprint{{Number: 2}, {Number: 1}}, Outbox: []entry{{ID: "x", To: []string{"slack"}}}}).pack(z)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(header))
	f.Add(slices.Concat([]byte(header), common, one))
	f.Add(slices.Concat([]byte(header), one, one[:9]))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		store := newMemory()
		store.shards[0], store.shards[1] = data, data
		s := newState(store)
		if _, err := s.load(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.expect(time.Unix(10, 0))
		s.tidy(time.Unix(20, 0), nil, func(d time.Duration) time.Duration { return d })
		for range 3 {
			if e, of, _ := s.next("slack"); e != nil {
				s.mark(of, handover{e.ID, "slack"})
			}
		}
		if err := s.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, home := range s.shards {
			if _, err := unpack(store.shards[home.number]); err != nil && home.changes > 0 {
				t.Errorf("what was saved cannot be read: %v", err)
			}
		}
	})
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte("\"a\" \"slack\"\n\"b\" \"si"))
	f.Add([]byte("a\n\n\"a\" \n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var b bytes.Buffer
		all := parseJournal(data)
		for _, h := range all {
			b.WriteString(h.line())
		}
		if diff := cmp.Diff(all, parseJournal(b.Bytes()), cmp.AllowUnexported(handover{})); diff != "" {
			t.Error(diff)
		}
	})
}

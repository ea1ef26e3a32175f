package watch

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTwoStreamsOnePollEachGetsAll(t *testing.T) {
	in(t, func(w *world) {
		w.start("slack", "sink")
		pass(time.Minute)
		asked := w.github.count("pulls")
		for n := 2; n < 12; n++ {
			w.github.change("acme/a", n, func(*PullRequest) {})
			pass(time.Minute)
			w.expect("slack", fmt.Sprintf("%d opened", n))
			w.expect("sink", fmt.Sprintf("%d opened", n))
		}
		if n := w.github.count("pulls") - asked; n > 25 {
			t.Errorf("%d looks in 10 minutes", n)
		}
	})
}

func TestAStreamThatComesLaterGetsWhatIsItsAndNoHistory(t *testing.T) {
	in(t, func(w *world) {
		w.start("slack")
		pass(time.Minute)
		w.github.change("acme/a", 2, func(*PullRequest) {})
		pass(time.Minute)
		w.expect("slack", "2 opened")
		w.stop()
		w.start("sink") // for the first time
		pass(time.Minute)
		w.expect("sink")
		w.github.change("acme/a", 3, func(*PullRequest) {})
		pass(time.Minute)
		w.expect("sink", "3 opened")
		w.stop()
		w.start("slack", "sink")
		pass(time.Minute)
		w.expect("slack", "3 opened") // it was away
		w.expect("sink")
	})
}

func TestAStreamThatDoesNotTakeHoldsUpNoOther(t *testing.T) {
	in(t, func(w *world) {
		w.start("slack")
		ctx, cancel := context.WithCancel(w.Context())
		w.watcher.Subscribe(ctx, "stuck") // nobody reads it
		pass(time.Minute)
		for n := 2; n < 5; n++ {
			w.github.change("acme/a", n, func(*PullRequest) {})
			pass(time.Minute)
		}
		w.expect("slack", "2 opened", "3 opened", "4 opened")
		want := []StreamStatus{{ID: "slack", Connected: true, Delivered: 3}, {ID: "stuck", Connected: true, Outstanding: 3}}
		if diff := cmp.Diff(want, w.watcher.Status().Streams); diff != "" {
			t.Error(diff)
		}
		cancel()
		synctest.Wait()
		if w.watcher.Status().Streams[1].Connected {
			t.Error("the stream is still there")
		}
	})
}

func TestOneThatComesAgainTakesThePlaceOfItsFormerSelf(t *testing.T) {
	in(t, func(w *world) {
		w.start()
		former := w.watcher.Subscribe(w.Context(), "slack")
		synctest.Wait()
		ctx, cancel := context.WithCancel(w.Context())
		later := w.watcher.Subscribe(ctx, "slack")
		pass(time.Minute)
		w.github.change("acme/a", 2, func(*PullRequest) {})
		pass(time.Minute)
		select {
		case d := <-former:
			t.Errorf("the former one got %s", d.Event.Key)
		case d := <-later:
			d.Done()
			d.Done() // twice does no harm
		case <-time.After(time.Minute):
			t.Error("nobody got it")
		}
		cancel()
	})
}

func TestWhatIsFoundBeforeAnyStreamComesIsKept(t *testing.T) {
	in(t, func(w *world) {
		w.start()
		pass(time.Minute)
		w.github.change("acme/a", 2, func(*PullRequest) {})
		pass(time.Hour)
		ctx, cancel := context.WithCancel(w.Context())
		ended := make(chan struct{})
		deliveries := w.watcher.Subscribe(ctx, "slack")
		go func() {
			defer close(ended)
			w.take(ctx, "slack", deliveries)
		}()
		pass(time.Second)
		w.expect("slack", "2 opened")
		cancel()
		<-ended
	})
}

// TestWhatAnEndedPluginRepeats says how much comes again: nothing where it ended in order or its journal is there, the
// hand-overs since the last flush where all but the store is lost.
func TestWhatAnEndedPluginRepeats(t *testing.T) {
	for _, test := range []struct {
		name    string
		journal bool
		kill    bool
		want    []string
	}{
		{"ended", false, false, nil},
		{"killed", true, true, nil},
		{"killed, and the journal lost", false, true, []string{"3 opened"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			in(t, func(w *world) {
				if !test.journal {
					w.journal = noJournal{}
				}
				w.mortal = newMortal(0)
				w.start("slack")
				pass(time.Minute)
				w.github.change("acme/a", 2, func(*PullRequest) {})
				pass(2 * time.Minute) // flushed
				w.watcher.flush(w.Context())
				w.github.change("acme/a", 3, func(*PullRequest) {})
				_ = w.watcher.Hint("acme/a")
				pass(time.Second)
				w.expect("slack", "2 opened", "3 opened")
				if test.kill {
					w.mortal.kill()
				}
				w.stop()
				w.mortal = nil
				w.start("slack")
				pass(time.Minute)
				w.expect("slack", test.want...)
			})
		})
	}
}

func TestStreamsAndEventsThatNobodyComesForAreForgotten(t *testing.T) {
	in(t, func(w *world) {
		w.start("slack", "sink")
		pass(time.Minute)
		w.stop()
		w.start("slack")
		w.github.change("acme/a", 2, func(*PullRequest) {})
		pass(time.Minute)
		if n := w.watcher.Status().Repositories[0].Outbox; n != 1 {
			t.Errorf("%d wait", n)
		}
		pass(25 * time.Hour)
		if s := w.watcher.Status(); s.Repositories[0].Outbox != 0 || len(s.Streams) != 1 {
			t.Errorf("%+v", s)
		}
		w.stop()
		w.start() // nobody comes
		w.github.change("acme/a", 3, func(*PullRequest) {})
		pass(8 * 24 * time.Hour)
		if n := w.watcher.Status().Repositories[0].Outbox; n != 0 {
			t.Errorf("%d wait", n)
		}
	})
}

// TestWhatCouldNotBeReadIsNotForgotten: a repository whose configuration has a fault for a while loses nothing.
func TestWhatCouldNotBeReadIsNotForgotten(t *testing.T) {
	for _, partial := range []bool{true, false} {
		t.Run(fmt.Sprint(partial), func(t *testing.T) {
			in(t, func(w *world) {
				w.many(2)
				all := w.config.Repositories
				w.start("slack")
				pass(5 * time.Minute)
				w.stop()
				w.config.Repositories, w.config.Partial = all[:1], partial
				w.start("slack")
				pass(5 * time.Minute)
				w.github.change(all[1].Name, 2, func(*PullRequest) {})
				w.stop()
				w.config.Repositories, w.config.Partial = all, false
				w.start("slack")
				pass(5 * time.Minute)
				if n := len(w.told("slack")); (n == 1) != partial {
					t.Errorf("%d events", n)
				}
			})
		})
	}
}

// TestAProblemOfWhatCouldNotBeReadIsNotToldTwice: its configuration has a fault for a while, and the problem stays.
func TestAProblemOfWhatCouldNotBeReadIsNotToldTwice(t *testing.T) {
	in(t, func(w *world) {
		w.many(2)
		all := w.config.Repositories
		w.faults(func(ask string) error {
			if ask == "pulls "+all[1].Name {
				return &Fault{Trouble: Gone, Reason: "It is not there."}
			}
			return nil
		})
		w.start("slack")
		pass(10 * time.Minute)
		w.expect("slack", "acme/1 problem gone")
		w.stop()
		w.config.Repositories, w.config.Partial = all[:1], true
		w.start("slack")
		pass(10 * time.Minute)
		w.stop()
		w.config.Repositories, w.config.Partial = all, false
		w.start("slack")
		pass(10 * time.Minute)
		w.expect("slack")
		w.faults(nil)
		pass(2 * time.Hour)
		w.expect("slack", "acme/1 solved gone")
	})
}

func TestRecentIsWhatWasHandedOverLast(t *testing.T) {
	in(t, func(w *world) {
		w.start("slack")
		pass(time.Minute)
		for n := 2; n < 80; n++ {
			w.github.change("acme/a", n, func(*PullRequest) {})
			pass(time.Minute)
		}
		w.stop()
		w.start("slack")
		pass(time.Minute)
		recent := w.watcher.Recent()
		if len(recent) != kept || brief(recent[0]) != "79 opened" || recent[0].PullRequest.Raw != nil || recent[0].Notes != nil {
			t.Errorf("%d events, first %+v", len(recent), recent[0])
		}
	})
}

func TestAJournalThatEndsInTheMiddleOfALineCounts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "local", "journal")
	j := &fileJournal{path: path}
	want := []handover{{"1", "slack"}, {"2", "a \"stream\"\n"}}
	for _, h := range want {
		if err := j.add(h); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := j.file.WriteString(`"3" "sl`); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.journal, w.mortal = &fileJournal{path: path}, newMortal(0)
		w.start("slack")
		pass(time.Second)
		w.mortal.kill()
		w.stop()
	})
	if err := (&fileJournal{path: path}).add(handover{"4", "slack"}); err != nil {
		t.Fatal(err)
	}
	all, there, err := (&fileJournal{path: path}).read()
	if diff := cmp.Diff(append(want, handover{"4", "slack"}), all, cmp.AllowUnexported(handover{})); diff != "" || !there || err != nil {
		t.Error(diff, there, err)
	}
}

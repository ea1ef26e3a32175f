package watch

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// many adds repositories acme/0 … with a pull request each.
func (w *world) many(count int) {
	w.config.Repositories = w.config.Repositories[:0]
	for i := range count {
		n := fmt.Sprintf("acme/%d", i)
		w.github.create(n)
		w.github.change(n, 1, func(*PullRequest) {})
		w.config.Repositories = append(w.config.Repositories, Repository{Name: n, Rules: []Rule{{}}})
	}
}

// looks are the times of the looks at a repository since a time.
func (w *world) looks(repository string, since time.Time) []time.Duration {
	w.github.mutex.Lock()
	defer w.github.mutex.Unlock()
	var times []time.Duration
	for _, a := range w.github.asked {
		if a.what == "pulls "+repository && !a.at.Before(since) {
			times = append(times, a.at.Sub(since))
		}
	}
	return times
}

// busiest is the largest number of requests within a minute.
func (w *world) busiest(minute time.Duration) int {
	w.github.mutex.Lock()
	defer w.github.mutex.Unlock()
	most, from := 0, 0
	for i, a := range w.github.asked {
		for a.at.Sub(w.github.asked[from].at) >= minute {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

func TestAllAreLookedAtAtTheirIntervalWhileTheCeilingHolds(t *testing.T) {
	in(t, func(w *world) {
		w.many(100)
		w.config.Interval = time.Minute
		w.config.Repositories[7].Interval = 20 * time.Second
		w.start("slack")
		pass(5 * time.Minute)
		from := time.Now()
		pass(20 * time.Minute)
		for i, want := range map[int]int{3: 20, 50: 20, 7: 60} {
			if n := len(w.looks(fmt.Sprintf("acme/%d", i), from)); n < want-2 || n > want+2 {
				t.Errorf("acme/%d: %d looks in 20 minutes", i, n)
			}
		}
		if n := w.busiest(time.Minute); n > 540 {
			t.Errorf("%d requests in a minute", n)
		}
		// A second has no more than a few: they are not all looked at together.
		if n := w.busiest(time.Second); n > 10 {
			t.Errorf("%d requests in a second", n)
		}
	})
}

// TestLooksBeginTogether: the process wakes for many looks at once, and no repository pays for it.
func TestLooksBeginTogether(t *testing.T) {
	in(t, func(w *world) {
		w.many(100)
		w.config.Interval = time.Minute
		w.github.every = 0
		w.start("slack")
		pass(5 * time.Minute)
		from := time.Now()
		pass(20 * time.Minute)
		wakes, looks := map[time.Duration]bool{}, 0
		for i := range 100 {
			times := w.looks(fmt.Sprintf("acme/%d", i), from)
			looks += len(times)
			for i, at := range times {
				wakes[at] = true
				if i > 0 && (at-times[i-1] < 50*time.Second || at-times[i-1] > 70*time.Second) {
					t.Errorf("acme/%d: %s after the one before", i, at-times[i-1])
				}
			}
		}
		if looks < 1960 || looks > 2040 {
			t.Errorf("%d looks in 20 minutes", looks)
		}
		if len(wakes) > looks/4 {
			t.Errorf("%d looks begin at %d times", looks, len(wakes))
		}
	})
}

// TestAClockThatIsSetMovesNoLook: a look that is due in a minute is not due in an hour because the clock is set back.
func TestAClockThatIsSetMovesNoLook(t *testing.T) {
	w := &Watcher{config: Config{Factor: 1}}
	for _, interval := range []time.Duration{0, 5 * time.Second, time.Minute, 24 * time.Hour} {
		due := time.Now().Add(interval)
		moved := w.gathered(due, interval)
		if !strings.Contains(moved.String(), " m=") {
			t.Errorf("%s: %s is not by the monotonic clock", interval, moved)
		}
		if by := moved.Sub(due).Abs(); by > interval/20 || by > gather/2 || interval > 0 && moved.UnixNano()%int64(min(gather, interval/10)) != 0 {
			t.Errorf("%s: moved by %s to %s", interval, by, moved)
		}
	}
}

// TestThousandRepositories is about the load that ferry may put on GitHub: little for long, and 8 requests at once; after a
// restart the first look within 2 s, those that were active lately within 15 s, all within 120 s.
func TestThousandRepositories(t *testing.T) {
	for _, factor := range []float64{1, 10} {
		t.Run(fmt.Sprint(factor), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				scaled := func(d time.Duration) time.Duration { return time.Duration(float64(d) / factor) }
				w := newWorld(t)
				w.many(1000)
				w.config.Factor = factor
				w.github.latency, w.github.every = scaled(200*time.Millisecond), scaled(103*time.Millisecond)
				pass(scaled(48 * time.Hour))
				w.start("slack")
				pass(scaled(10 * time.Minute))
				for i := range 20 {
					w.github.change(fmt.Sprintf("acme/%d", 950+i), 2, func(*PullRequest) {})
				}
				pass(scaled(10 * time.Minute))
				if n := len(w.told("slack")); n != 20 {
					t.Errorf("%d events", n)
				}
				from := time.Now()
				asked := w.github.count("pulls")
				pass(scaled(30 * time.Minute))
				if n := (w.github.count("pulls") - asked) / 30; n > 330 {
					t.Errorf("%d requests a minute for long", n)
				}
				for i, want := range map[int]time.Duration{950: 30 * time.Second, 10: 5 * time.Minute} {
					n := len(w.looks(fmt.Sprintf("acme/%d", i), from))
					if expected := int(30 * time.Minute / want); n < expected-1-expected/5 || n > expected+1+expected/5 {
						t.Errorf("acme/%d: %d looks in 30 minutes", i, n)
					}
				}
				if !w.watcher.Status().Stretched {
					t.Error("the status does not say that intervals are stretched")
				}

				w.stop()
				from = time.Now()
				w.start("slack")
				pass(scaled(2 * time.Minute))
				first, last := map[string]time.Duration{}, time.Duration(0)
				for i := range 1000 {
					n := fmt.Sprintf("acme/%d", i)
					looks := w.looks(n, from)
					if len(looks) == 0 {
						t.Fatalf("%s was not looked at", n)
					}
					first[n], last = looks[0], max(last, looks[0])
				}
				for i := range 20 {
					if d := first[fmt.Sprintf("acme/%d", 950+i)]; d > scaled(15*time.Second) {
						t.Errorf("acme/%d, which is active, was looked at after %s", 950+i, d)
					}
				}
				if d := first["acme/950"]; d > scaled(2*time.Second) && d > scaled(4*time.Second) {
					t.Errorf("the first look after %s", d)
				}
				if last > scaled(110*time.Second) {
					t.Errorf("all after %s", last)
				}
				if w.github.busiest > 8 {
					t.Errorf("%d requests at once", w.github.busiest)
				}
				w.stop()
			})
		})
	}
}

func TestSlowRepositoryDelaysNoOther(t *testing.T) {
	in(t, func(w *world) {
		w.github.create("acme/slow")
		w.config.Repositories = append(w.config.Repositories, Repository{Name: "acme/slow", Rules: []Rule{{}}})
		w.github.fault = func(ask string) error {
			if ask == "pulls acme/slow" {
				time.Sleep(20 * time.Minute) // a server that does not answer
			}
			return nil
		}
		w.start("slack")
		pass(time.Minute)
		for n := 2; n < 10; n++ {
			w.github.change("acme/a", n, func(*PullRequest) {})
			pass(35 * time.Second)
			w.expect("slack", fmt.Sprintf("%d opened", n))
		}
		pass(20 * time.Minute)
	})
}

func TestHintIsHeededAtOnceAndAgainSinceReplicasLag(t *testing.T) {
	in(t, func(w *world) {
		w.config.Interval = time.Hour
		w.start("slack")
		pass(time.Minute)
		from := time.Now()
		w.github.change("acme/a", 2, func(*PullRequest) {})
		if err := w.watcher.Hint("Acme/A"); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		w.expect("slack", "2 opened")
		pass(time.Minute)
		round := func(times []time.Duration) []time.Duration {
			for i := range times {
				times[i] = times[i].Round(time.Second)
			}
			return times
		}
		if diff := cmp.Diff([]time.Duration{0, 5 * time.Second, 15 * time.Second}, round(w.looks("acme/a", from))[:3]); diff != "" {
			t.Error(diff)
		}
		from = time.Now()
		for range 60 { // many webhooks of one push
			for range 50 {
				_ = w.watcher.Hint("acme/a")
			}
			pass(time.Second)
		}
		pass(20 * time.Second)
		if n := len(w.looks("acme/a", from)); n > 80/5+4 {
			t.Errorf("%d looks in 80 s", n)
		}
		if err := w.watcher.Hint("acme/other\n<!channel>"); err == nil || err.Error() != `"acme/other\n<!channel>" is not watched` {
			t.Error(err)
		}
	})
}

func TestHintsStarveNoOther(t *testing.T) {
	in(t, func(w *world) {
		w.many(100)
		w.config.Interval = time.Minute
		w.github.latency = 2 * time.Second // so that hints take more than there is
		w.start("slack")
		pass(5 * time.Minute)
		from := time.Now()
		for range 300 { // anybody can send them
			for i := range 90 {
				_ = w.watcher.Hint(fmt.Sprintf("acme/%d", i)) // for each of them; all are watched
			}
			pass(time.Second)
		}
		for i := 90; i < 100; i++ {
			if n := len(w.looks(fmt.Sprintf("acme/%d", i), from)); n < 3 {
				t.Errorf("%d looks at acme/%d in 5 minutes", n, i)
			}
		}
	})
}

func TestHintsDoNotHammerWhatCannotBeRead(t *testing.T) {
	in(t, func(w *world) {
		w.github.fault = func(string) error { return &Fault{Trouble: Gone, Reason: "gone"} }
		w.start("slack")
		pass(time.Hour)
		from := time.Now()
		for range 600 {
			_ = w.watcher.Hint("acme/a")
			pass(time.Second)
		}
		if n := len(w.looks("acme/a", from)); n > 12 {
			t.Errorf("%d looks in 10 minutes", n)
		}
	})
}

func TestWhatGitHubAsksForIsHonoured(t *testing.T) {
	in(t, func(w *world) {
		w.start("slack")
		pass(time.Minute)
		from := time.Now()
		w.faults(func(string) error {
			return &Fault{Trouble: Limited, Reason: "GitHub pauses us.", Until: from.Add(10 * time.Minute)}
		})
		pass(9 * time.Minute)
		looks := w.looks("acme/a", from)
		if len(looks) != 1 {
			t.Errorf("looks during a pause: %v", looks)
		}
		w.faults(nil)
		w.github.change("acme/a", 2, func(*PullRequest) {})
		pass(2 * time.Minute)
		w.expect("slack", "2 opened")
	})
}

// TestTroubleOfOneRepository is about backing off, for that repository alone, and about saying so once for each change.
func TestTroubleOfOneRepository(t *testing.T) {
	for _, test := range []struct {
		trouble Trouble
		most    int // looks within 6 hours
		least   int
	}{
		{Gone, 30, 8}, {Forbidden, 30, 8}, {Failing, 100, 50}, {Unauthorised, 100, 50},
	} {
		t.Run(string(test.trouble), func(t *testing.T) {
			in(t, func(w *world) {
				w.github.create("acme/bad")
				w.config.Repositories = append(w.config.Repositories, Repository{Name: "acme/bad", Rules: []Rule{{}}})
				w.start("slack")
				pass(time.Minute)
				from := time.Now()
				w.faults(func(ask string) error {
					if strings.HasSuffix(ask, "acme/bad") {
						return &Fault{Trouble: test.trouble, Reason: "It is not there."}
					}
					return nil
				})
				pass(6 * time.Hour)
				looks := w.looks("acme/bad", from)
				if len(looks) > test.most || len(looks) < test.least {
					t.Errorf("%d looks in 6 hours", len(looks))
				}
				if n := len(w.looks("acme/a", from)); n < 600 {
					t.Errorf("%d looks at the other", n)
				}
				if diff := cmp.Diff("It is not there.", w.events("slack")[0].Problem.Reason); diff != "" {
					t.Error(diff)
				}
				w.expect("slack", "acme/bad problem "+string(test.trouble))
				w.stop()
				w.start("slack") // which is no change
				pass(3 * time.Hour)
				w.expect("slack")
				w.faults(nil)
				pass(90 * time.Minute)
				w.expect("slack", "acme/bad solved "+string(test.trouble))
				s := w.watcher.Status().Repositories[1]
				if s.Failures != 0 || s.LastError != nil {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

func TestOneFailureIsNoProblem(t *testing.T) {
	in(t, func(w *world) {
		var i atomic.Int32
		w.github.fault = func(string) error {
			if i.Add(1)%3 != 0 {
				return errTest
			}
			return nil
		}
		w.start("slack")
		pass(time.Hour)
		w.github.change("acme/a", 2, func(*PullRequest) {})
		pass(5 * time.Minute)
		w.expect("slack", "2 opened")
	})
}

func TestGitHubDownIsOneEventNotOneForEachRepository(t *testing.T) {
	in(t, func(w *world) {
		w.many(50)
		w.start("slack")
		pass(5 * time.Minute)
		w.faults(func(string) error { return &Fault{Trouble: Failing, Reason: "GitHub answers 503."} })
		pass(2 * time.Hour)
		events := w.events("slack")
		if len(events) == 0 || len(events) > 4 {
			t.Errorf("%d events: %v", len(events), w.told("slack"))
		}
		sum := 0
		for _, e := range events {
			sum += len(e.Problem.Repositories)
		}
		if sum != 50 {
			t.Errorf("%d repositories", sum)
		}
		w.told("slack")
		w.faults(nil)
		pass(time.Hour)
		if n := len(w.told("slack")); n == 0 || n > 3 {
			t.Errorf("%d events when it was over", n)
		}
	})
}

func TestAfterFiveFailuresEverythingIsRead(t *testing.T) {
	in(t, func(w *world) {
		for n := 2; n < 30; n++ {
			w.github.change("acme/a", n, func(*PullRequest) {})
			pass(time.Hour)
		}
		w.start("slack")
		pass(time.Minute)
		w.faults(func(string) error { return errTest })
		pass(time.Hour)
		w.faults(nil)
		asked := len(w.asked())
		pass(6 * time.Minute)
		n := 0
		for _, a := range w.asked()[asked:] {
			if !a.same {
				n++
			}
		}
		if n < 4 { // a page of all, three of those that are open
			t.Errorf("%d answers were read", n)
		}
	})
}

// TestLatency is how long it takes from a change to its event at an interval of a minute, at the ceiling.
func TestLatency(t *testing.T) {
	in(t, func(w *world) {
		w.many(300)
		w.config.Interval = time.Minute
		w.start("slack")
		pass(10 * time.Minute)
		random := rand.New(rand.NewPCG(3, 4))
		happened := map[string]time.Time{}
		for n := range 600 {
			name := fmt.Sprintf("acme/%d", random.IntN(300))
			w.github.change(name, 10+n, func(*PullRequest) {})
			happened[fmt.Sprintf("%s#%d", name, 10+n)] = time.Now()
			pass(time.Duration(random.IntN(4000)) * time.Millisecond)
		}
		pass(2 * time.Minute)
		var latencies []time.Duration
		for _, e := range w.events("slack") {
			latencies = append(latencies, e.Found.Sub(happened[fmt.Sprintf("%s#%d", e.Repository, e.PullRequest.Number)]))
		}
		if len(latencies) != 600 {
			t.Fatalf("%d events", len(latencies))
		}
		slices.Sort(latencies)
		median, most := latencies[300], latencies[594]
		t.Log(median, most)
		if median > 35*time.Second || most > 65*time.Second {
			t.Errorf("half within %s, 99 %% within %s", median, most)
		}
	})
}

func TestGitHubsOwnIntervalHolds(t *testing.T) {
	in(t, func(w *world) {
		w.github.interval = 5 * time.Minute
		w.start("slack")
		pass(time.Minute)
		from := time.Now()
		pass(time.Hour)
		if n := len(w.looks("acme/a", from)); n > 14 {
			t.Errorf("%d looks in an hour", n)
		}
		if d := w.watcher.Status().Repositories[0].Interval; d != 5*time.Minute {
			t.Errorf("the status says %s", d)
		}
	})
}

func TestAFaultOfOursEndsNothing(t *testing.T) {
	in(t, func(w *world) {
		w.start("slack")
		pass(time.Minute)
		w.faults(func(string) error { panic("made for the test") })
		pass(time.Minute)
		w.faults(nil)
		w.github.change("acme/a", 2, func(*PullRequest) {})
		pass(5 * time.Minute)
		w.expect("slack", "2 opened")
	})
}

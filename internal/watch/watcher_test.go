package watch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// in runs a test in virtual time, in a world with one repository, acme/a, where pull request 1 has been open for a while.
func in(t *testing.T, test func(w *world), rules ...Rule) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, rules...)
		w.github.change("acme/a", 1, func(*PullRequest) {})
		time.Sleep(48 * time.Hour)
		test(w)
		if w.stop != nil {
			w.stop()
		}
	})
}

func (w *world) expect(stream string, want ...string) {
	w.Helper()
	if want == nil {
		want = []string{}
	}
	if diff := cmp.Diff(want, w.told(stream)); diff != "" {
		w.Error(diff)
	}
}

func pass(d time.Duration) { time.Sleep(d) }

func TestFirstSightIsSilentAndWhatHappensThenIsTold(t *testing.T) {
	in(t, func(w *world) {
		w.start("slack")
		pass(time.Minute)
		w.expect("slack")
		w.github.change("acme/a", 2, func(*PullRequest) {})
		w.github.change("acme/a", 1, func(p *PullRequest) { p.Head.SHA = sha(100) })
		pass(time.Minute)
		w.github.change("acme/a", 2, mergeIt)
		pass(time.Minute)
		w.expect("slack", "1 synchronize", "2 opened", "2 merged")
	})
}

func TestMergedIsToldToARuleThatAsksForThatAlone(t *testing.T) {
	in(t, func(w *world) {
		w.start("slack")
		pass(time.Minute)
		w.github.change("acme/a", 2, func(*PullRequest) {})
		pass(time.Minute)
		w.github.change("acme/a", 2, mergeIt)
		w.github.change("acme/a", 1, closeIt)
		pass(time.Minute)
		w.expect("slack", "2 merged")
	}, Rule{Types: []string{"merged"}})
}

func TestWhatNoEventIsAboutIsNotTold(t *testing.T) {
	in(t, func(w *world) {
		w.start("slack")
		pass(time.Minute)
		asked := w.github.count("")
		for range 50 { // comments, stars, a title
			w.github.noise("acme/a", 1)
			pass(30 * time.Second)
		}
		w.expect("slack")
		if got := w.github.count("") - asked; got > 60 {
			t.Errorf("%d requests for 50 changes that are none", got)
		}
	})
}

func TestEachKindIsToldWithWhatItIsAbout(t *testing.T) {
	in(t, func(w *world) {
		w.github.rewrites[sha(1)+"..."+sha(100)] = true
		w.start("slack")
		pass(time.Minute)
		for _, change := range []func(p *PullRequest){
			func(p *PullRequest) { p.Head.SHA = sha(100) },
			func(p *PullRequest) { p.Head.SHA = sha(101) },
			func(p *PullRequest) { p.Draft = true },
			func(p *PullRequest) { p.Draft = false },
			func(p *PullRequest) { p.Labels = []string{"a", "b"} },
			func(p *PullRequest) { p.Labels = []string{"b", "c"} },
			func(p *PullRequest) { p.Base.Ref = "next" },
			closeIt, reopenIt, mergeIt,
		} {
			w.github.change("acme/a", 1, change)
			pass(time.Minute)
		}
		var got []string
		for _, e := range w.events("slack") {
			line := string(e.Kind)
			if e.Before != "" {
				line += " from " + strings.TrimLeft(e.Before, "0")
			}
			if e.Forced {
				line += " forced"
			}
			if e.Added != nil {
				line += " +" + strings.Join(e.Added, ",")
			}
			if e.Removed != nil {
				line += " -" + strings.Join(e.Removed, ",")
			}
			got = append(got, line)
		}
		if diff := cmp.Diff([]string{
			"synchronize from 1 forced", "synchronize from 64", "ready", "labelled +a,b", "labelled +c", "unlabelled -a",
			"retargeted from main", "closed", "reopened", "merged",
		}, got); diff != "" {
			t.Error(diff)
		}
		if n := w.github.count("diverged"); n != 2 {
			t.Errorf("asked %d times whether a branch was rewritten", n)
		}
	})
}

func TestBotkubesOpenIsToldForEachHeadAndForNothingElse(t *testing.T) {
	in(t, func(w *world) {
		w.start("slack")
		pass(time.Minute)
		for _, change := range []func(p *PullRequest){
			func(*PullRequest) {},                             // opened
			func(p *PullRequest) { p.Labels = []string{"a"} }, // the same head
			closeIt, reopenIt, // likewise
			func(p *PullRequest) { p.Head.SHA = sha(9) }, // told
			func(p *PullRequest) { p.Base.Ref = "next" }, // the same head
		} {
			w.github.change("acme/a", 2, change)
			pass(time.Minute)
		}
		w.github.change("acme/a", 1, func(p *PullRequest) { p.Labels = []string{"a"} }) // open all the time
		pass(time.Minute)
		w.expect("slack", "2 opened", "2 synchronize")
		if n := w.github.count("diverged"); n != 1 {
			t.Errorf("asked %d times whether a branch was rewritten", n)
		}
	}, Rule{Types: []string{"open"}})
}

func TestFirstRuleThatMatchesTells(t *testing.T) {
	in(t, func(w *world) {
		w.start("slack")
		pass(time.Minute)
		w.github.change("acme/a", 2, func(*PullRequest) {})
		w.github.change("acme/a", 3, func(p *PullRequest) { p.Labels = []string{"hot"} })
		pass(time.Minute)
		var got []string
		for _, e := range w.events("slack") {
			got = append(got, brief(e)+" "+e.Rule)
		}
		if diff := cmp.Diff([]string{"2 opened repositories[0].on.pullRequests[1]", "3 opened repositories[0].on.pullRequests[0]"}, got); diff != "" {
			t.Error(diff)
		}
	}, Rule{Types: []string{"opened"}, Labels: Filter{Include: []string{"hot"}}}, Rule{Types: []string{"opened"}})
}

func TestFilesAreAskedForOnlyWhereEverythingElseMatchesAndOnce(t *testing.T) {
	in(t, func(w *world) {
		w.github.files["acme/a#2"] = []File{{Name: "docs/a"}}
		w.github.files["acme/a#3"] = []File{{Name: "apps/a"}}
		w.github.files["acme/a#4"] = []File{{Name: "moved", Previous: "apps/b"}}
		w.github.files["acme/a#5"] = []File{{Name: "docs/a"}}
		w.github.cut["acme/a#5"] = true
		w.start("slack")
		pass(time.Minute)
		for n := 2; n <= 5; n++ {
			w.github.change("acme/a", n, func(*PullRequest) {})
		}
		w.github.change("acme/a", 6, func(p *PullRequest) { p.Author = "renovate[bot]" })
		pass(time.Minute)
		w.expect("slack", "3 opened", "4 opened", "5 opened")
		if n := w.github.count("files"); n != 4 {
			t.Errorf("files asked for %d times", n)
		}
		w.github.change("acme/a", 3, func(p *PullRequest) { p.Labels = []string{"a"} }) // neither head nor base changed
		pass(time.Minute)
		if n := w.github.count("files"); n != 4 {
			t.Errorf("files asked for %d times after a label", n)
		}
		if e := w.events("slack")[0]; e.FileCount != 1 || len(e.Files) != 1 {
			t.Errorf("%d files, %v", e.FileCount, e.Files)
		}
	}, Rule{Types: []string{"opened", "labelled"}, Authors: Filter{Exclude: []string{"renovate.*"}}, Paths: Filter{Include: []string{"apps/.*"}}})
}

// TestFilesTakeNoMoreRoomThanTheyMay: a stranger's pull requests may have thousands of files with long names.
func TestFilesTakeNoMoreRoomThanTheyMay(t *testing.T) {
	var c fileCache
	many := slices.Repeat([]File{{Name: strings.Repeat("x", 4000)}}, 3000)
	for i := range 1000 {
		c.put(fmt.Sprint(i), listed{[]File{{Name: "apps/a"}}, true})
	}
	if n := len(c.byID); n != 1000 {
		t.Errorf("%d lists of one file", n)
	}
	for i := range 50 {
		c.put(fmt.Sprintf("many %d", i), listed{many, true})
	}
	names := 0
	for _, l := range c.byID {
		for _, f := range l.files {
			names += len(f.Name)
		}
	}
	if _, has := c.get("many 49"); !has || names > 20<<20 {
		t.Errorf("names of %d bytes, the last list: %t", names, has)
	}
}

// TestALookThatTakesTooLongComesFurtherWithEach: a stranger may open more pull requests than one look can list the files of.
func TestALookThatTakesTooLongComesFurtherWithEach(t *testing.T) {
	in(t, func(w *world) {
		w.start("slack")
		pass(time.Minute)
		w.faults(func(ask string) error {
			if strings.HasPrefix(ask, "files") {
				time.Sleep(3 * time.Minute)
			}
			return nil
		})
		var want []string
		for n := 2; n < 8; n++ {
			w.github.files[fmt.Sprintf("acme/a#%d", n)] = slices.Repeat([]File{{Name: strings.Repeat("x", 4000)}}, 1000)
			w.github.change("acme/a", n, func(*PullRequest) {})
			want = append(want, fmt.Sprintf("%d opened", n))
		}
		pass(2 * time.Hour)
		w.expect("slack", want...)
	}, Rule{Types: []string{"opened"}, Paths: Filter{Include: []string{"x+"}}})
}

func TestMoreFilesThanGitHubListsCountAsMatchingAndItIsSaid(t *testing.T) {
	in(t, func(w *world) {
		w.github.files["acme/a#2"] = make([]File, 3000)
		w.github.cut["acme/a#2"] = true
		w.start("slack")
		pass(time.Minute)
		w.github.change("acme/a", 2, func(*PullRequest) {})
		pass(time.Minute)
		if len(w.events("slack")) != 1 {
			t.Fatalf("%d events", len(w.events("slack")))
		}
		if diff := cmp.Diff([]string{"GitHub lists no more than 3000 of its files, so its files count as matching."}, w.events("slack")[0].Notes); diff != "" {
			t.Error(diff)
		}
	}, Rule{Types: []string{"opened"}, Paths: Filter{Include: []string{"apps/.*"}}})
}

func TestFilesThatCannotBeListedDelayTheirEventAloneAndNotForEver(t *testing.T) {
	in(t, func(w *world) {
		w.github.files["acme/a#3"] = []File{{Name: "apps/a"}}
		w.start("slack")
		pass(time.Minute)
		w.faults(func(ask string) error {
			if ask == "files acme/a#2" {
				return &Fault{Trouble: Failing, Reason: "502"}
			}
			return nil
		})
		w.github.change("acme/a", 2, func(*PullRequest) {})
		pass(5 * time.Second)
		w.github.change("acme/a", 3, func(*PullRequest) {})
		pass(40 * time.Second)
		w.expect("slack", "3 opened")
		pass(10 * time.Minute)
		if len(w.events("slack")) != 1 || !strings.Contains(fmt.Sprint(w.events("slack")[0].Notes), "could not be listed") {
			t.Errorf("%v", w.events("slack"))
		}
		w.expect("slack", "2 opened")
	}, Rule{Types: []string{"opened"}, Paths: Filter{Include: []string{"apps/.*"}}})
}

func TestForksThatAreGoneAndAccountsThatAreGoneAreTold(t *testing.T) {
	in(t, func(w *world) {
		w.start("slack")
		pass(time.Minute)
		w.github.change("acme/a", 2, func(p *PullRequest) { p.Author, p.Head.Repository, p.Head.Ref = "", "", "" })
		pass(time.Minute)
		w.expect("slack", "2 opened")
	}, Rule{Types: []string{"open"}, Authors: Filter{Exclude: []string{"bot"}}})
}

func TestWhatHappenedWhileFerryDidNotRunIsToldOnce(t *testing.T) {
	in(t, func(w *world) {
		w.config.Repositories[0].Before = 365 * 24 * time.Hour
		w.start("slack")
		pass(time.Minute)
		w.expect("slack", "1 opened") // replayed
		for range 3 {
			w.stop()
			pass(time.Hour)
			w.start("slack")
			pass(time.Minute)
			w.expect("slack")
		}
		w.stop()
		w.github.change("acme/a", 2, func(*PullRequest) {})
		w.github.change("acme/a", 1, closeIt)
		w.github.change("acme/a", 3, mergeIt)
		pass(12 * time.Hour)
		w.start("slack")
		pass(time.Minute)
		w.expect("slack", "1 closed", "2 opened", "3 merged")
	})
}

func TestReplayHasNoMoreThanWasAskedFor(t *testing.T) {
	in(t, func(w *world) {
		w.config.Repositories[0].Before = 3 * time.Hour
		w.github.change("acme/a", 2, func(*PullRequest) {})
		w.github.change("acme/a", 3, mergeIt)
		pass(2 * time.Hour)
		w.start("slack", "sink")
		pass(time.Minute)
		w.expect("slack", "2 opened")
		w.expect("sink", "2 opened")
	})
}

func TestOurClockDecidesNothing(t *testing.T) {
	for _, skew := range []time.Duration{-48 * time.Hour, 48 * time.Hour} {
		in(t, func(w *world) {
			w.skew = skew
			w.start("slack")
			pass(time.Minute)
			w.github.change("acme/a", 2, func(*PullRequest) {})
			pass(time.Minute)
			w.stop()
			w.github.change("acme/a", 2, mergeIt)
			pass(time.Hour)
			w.start("slack")
			pass(time.Minute)
			w.expect("slack", "2 opened", "2 merged")
		})
	}
}

func TestWhatHappensWhileALookIsUnderWayIsNotLost(t *testing.T) {
	in(t, func(w *world) {
		w.github.latency = 10 * time.Second
		w.start("slack")
		pass(time.Minute)
		var want []string
		for n := 2; n < 60; n++ { // with every phase of a look
			w.github.change("acme/a", n, func(*PullRequest) {})
			want = append(want, fmt.Sprintf("%d opened", n))
			pass(3700 * time.Millisecond)
		}
		pass(5 * time.Minute)
		w.expect("slack", want...)
	})
}

func TestMoreChangesThanAPageHoldsAreAllTold(t *testing.T) {
	for _, changes := range []int{9, 10, 11, 35, 130, 420} { // the last two are more than one look reads
		t.Run(fmt.Sprint(changes), func(t *testing.T) {
			in(t, func(w *world) {
				w.start("slack")
				pass(time.Minute)
				w.stop()
				for n := 2; n < 2+changes; n++ {
					w.github.change("acme/a", n, func(*PullRequest) {})
					if n%3 == 0 {
						w.github.change("acme/a", n, mergeIt)
					}
					pass(time.Second)
				}
				pass(time.Hour)
				w.start("slack")
				pass(10 * time.Minute)
				told := map[string]bool{}
				for _, line := range w.told("slack") {
					if told[line] {
						t.Errorf("%s twice", line)
					}
					told[line] = true
				}
				for n := 2; n < 2+changes; n++ {
					kind := Opened
					if n%3 == 0 {
						kind = Merged
					}
					if line := fmt.Sprintf("%d %s", n, kind); !told[line] {
						t.Errorf("%s is missing", line)
					}
				}
			})
		})
	}
}

func TestCompleteLookFindsWhatPagesMissed(t *testing.T) {
	in(t, func(w *world) {
		for n := 2; n < 60; n++ {
			w.github.change("acme/a", n, func(*PullRequest) {})
			pass(time.Minute)
		}
		w.start("slack")
		pass(time.Minute)
		// They change without moving to the top, which GitHub does not do as far as is known.
		hidden := func(n int, change func(p *PullRequest)) {
			updated := w.pull(n).Updated
			w.github.change("acme/a", n, func(p *PullRequest) {
				change(p)
				p.Updated = updated
			})
		}
		hidden(5, func(p *PullRequest) { p.Head.SHA = sha(500) })
		hidden(7, closeIt)
		pass(5 * time.Hour)
		w.expect("slack")
		pass(3 * time.Hour)
		w.expect("slack", "5 synchronize", "7 closed")
	})
}

func TestWhatPagesOfReplicasThatAreApartMissedIsToldSoon(t *testing.T) {
	in(t, func(w *world) {
		for n := 2; n < 30; n++ {
			w.github.change("acme/a", n, func(*PullRequest) {})
			pass(time.Minute)
		}
		w.start("slack")
		pass(time.Minute)
		w.stop()
		var want []string
		for n := 1; n <= 12; n++ {
			if n == 12 {
				pass(20 * time.Minute)
			}
			w.github.change("acme/a", n, func(p *PullRequest) { p.Head.SHA = sha(100 + n) })
			want = append(want, fmt.Sprintf("%d synchronize", n))
			pass(30 * time.Second)
		}
		// 12 was the last. The replica that has the first page knows it, so 2 is on the second; that of the second does not.
		w.github.mutex.Lock()
		answers := 0
		w.github.lag = func() time.Duration {
			if answers++; answers == 2 {
				return time.Minute
			}
			return 0
		}
		w.github.mutex.Unlock()
		w.start("slack")
		pass(10 * time.Minute)
		got := w.told("slack")
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAClockThatWasAheadKeepsNoCompleteLookAway(t *testing.T) {
	in(t, func(w *world) {
		for n := 2; n < 30; n++ {
			w.github.change("acme/a", n, func(*PullRequest) {})
			pass(time.Minute)
		}
		w.skew = 30 * 24 * time.Hour
		w.start("slack")
		pass(time.Minute)
		w.stop()
		w.skew = 0
		w.start("slack")
		updated := w.pull(5).Updated
		w.github.change("acme/a", 5, func(p *PullRequest) {
			closeIt(p)
			p.Updated = updated
		})
		pass(8 * time.Hour)
		w.expect("slack", "5 closed")
	})
}

func TestAnOldAnswerIsNoNews(t *testing.T) {
	in(t, func(w *world) {
		w.start("slack")
		pass(time.Minute)
		replica := 0
		w.github.mutex.Lock()
		w.github.lag = func() time.Duration { // every other one is a minute behind
			replica++
			return time.Duration(replica%2) * time.Minute
		}
		w.github.mutex.Unlock()
		var want []string
		for i := range 20 {
			w.github.change("acme/a", 1, func(p *PullRequest) { p.Head.SHA = sha(100 + i) })
			want = append(want, "1 synchronize")
			pass(5 * time.Minute)
		}
		w.expect("slack", want...)
	})
}

func TestTwoChangesWithinASecondAreBothTold(t *testing.T) {
	in(t, func(w *world) {
		w.start("slack")
		pass(time.Minute)
		w.github.change("acme/a", 1, func(p *PullRequest) { p.Head.SHA = sha(100) })
		pass(time.Minute)
		updated := w.pull(1).Updated
		w.github.change("acme/a", 1, func(p *PullRequest) {
			p.Labels = []string{"a"}
			p.Updated = updated
		})
		// What else happens moves it off the first page.
		for n := 2; n < 20; n++ {
			pass(8 * time.Second)
			w.github.noise("acme/a", n)
		}
		w.stop() // what is waited for has to be found again
		w.start("slack")
		pass(5 * time.Minute)
		labelled := 0
		for _, line := range w.told("slack") {
			if line == "1 labelled" {
				labelled++
			}
		}
		if labelled != 1 {
			t.Errorf("the label was told %d times", labelled)
		}
	})
}

func TestRenamedRepositoryKeepsWhatIsKnown(t *testing.T) {
	in(t, func(w *world) {
		w.start("slack")
		pass(time.Minute)
		w.stop()
		w.github.repos["acme/new"] = w.github.repos["acme/a"]
		w.config.Repositories[0].Name = "acme/new"
		w.github.change("acme/new", 2, func(*PullRequest) {})
		w.start("slack")
		pass(time.Minute)
		w.expect("slack", "2 opened")
		w.stop()
		w.start("slack")
		pass(time.Minute)
		w.expect("slack")
	})
}

func TestAnotherRepositoryUnderTheSameNameIsNoNews(t *testing.T) {
	in(t, func(w *world) {
		w.start("slack")
		pass(time.Minute)
		w.github.create("acme/b")
		for n := 1; n < 35; n++ {
			w.github.change("acme/b", n, func(p *PullRequest) { p.Head.SHA = sha(50 + n) })
			pass(time.Hour)
		}
		pass(48 * time.Hour)
		w.github.mutex.Lock()
		w.github.repos["acme/a"] = w.github.repos["acme/b"]
		w.github.mutex.Unlock()
		pass(5 * time.Minute)
		w.github.noise("acme/a", 1)
		pass(5 * time.Minute)
		w.expect("slack")
		w.github.change("acme/a", 35, func(*PullRequest) {})
		pass(time.Minute)
		w.expect("slack", "35 opened")
	})
}

func TestAddingARepositoryIsSilentForThatOne(t *testing.T) {
	in(t, func(w *world) {
		w.start("slack")
		pass(time.Minute)
		w.stop()
		w.github.create("acme/b")
		w.github.change("acme/b", 1, func(*PullRequest) {})
		w.github.change("acme/a", 2, func(*PullRequest) {})
		w.config.Repositories = append(w.config.Repositories, Repository{Name: "acme/b", Rules: []Rule{{}}})
		w.start("slack")
		pass(time.Minute)
		w.expect("slack", "2 opened")
	})
}

func TestRawIsHandedOverAfterARestartToo(t *testing.T) {
	in(t, func(w *world) {
		w.start("slack")
		pass(time.Minute)
		w.stop()
		w.start() // nobody takes what it finds
		w.github.change("acme/a", 2, func(p *PullRequest) { p.Title = "<!channel> &" })
		pass(time.Minute)
		w.stop()
		pass(time.Hour)
		w.start("slack")
		pass(time.Minute)
		if len(w.events("slack")) != 1 {
			t.Fatalf("%d events", len(w.events("slack")))
		}
		e := w.events("slack")[0]
		if diff := cmp.Diff(`{"head":"`+sha(2)+`","number":2,"title":"\u003c!channel\u003e \u0026"}`, string(e.PullRequest.Raw)); diff != "" {
			t.Error(diff)
		}
		if e.Key != "1000#2:opened:"+sha(2) || e.PullRequest.Title != "<!channel> &" || e.Notes != nil {
			t.Errorf("%+v", e)
		}
	})
}

func TestWhatCouldNotBeFoundOutIsSaid(t *testing.T) {
	in(t, func(w *world) {
		w.config.Files = true
		w.start("slack")
		pass(time.Minute)
		w.faults(func(ask string) error {
			if strings.HasPrefix(ask, "pulls") {
				return nil
			}
			return errTest
		})
		w.github.change("acme/a", 1, func(p *PullRequest) { p.Head.SHA = sha(100) })
		pass(time.Minute)
		w.faults(nil)
		w.github.files["acme/a#2"] = []File{{Name: "a"}, {Name: "b"}}
		w.github.change("acme/a", 2, func(*PullRequest) {})
		pass(time.Minute)
		events := w.events("slack")
		if len(events) != 2 {
			t.Fatalf("%d events", len(events))
		}
		want := []string{"Its files could not be listed.", "Whether its branch was rewritten could not be found out."}
		if diff := cmp.Diff(want, events[0].Notes); diff != "" || events[0].FileCount != -1 {
			t.Error(diff, events[0].FileCount)
		}
		if events[1].Notes != nil || events[1].FileCount != 2 {
			t.Errorf("%+v", events[1])
		}
	})
}

// TestWhatNoEventIsAboutIsNotKept while a large repository is read: GitHub's own description has 20 KB for each.
func TestWhatNoEventIsAboutIsNotKept(t *testing.T) {
	in(t, func(w *world) {
		for n := range 25 {
			w.github.change("acme/a", n+1, func(*PullRequest) {})
		}
		w.start("slack")
		pass(time.Minute)
		w.stop()
		known := w.watcher.state.get("acme/a")
		s := w.watcher.byName["acme/a"]
		for what, test := range map[string]struct {
			known  *record
			before time.Duration
			kept   int
		}{
			"a first look": {&record{}, 0, 0}, "one that replays": {&record{}, time.Hour, 25}, "nothing new": {known, 0, 0},
			"a new one": {&record{Cursor: known.Cursor, Pulls: known.Pulls[1:]}, 0, 1},
		} {
			s.before = test.before
			got, err := w.watcher.read(w.Context(), s, test.known, true, true)
			if err != nil || len(got.pulls) != 25 {
				t.Fatalf("%s: %+v, %v", what, got, err)
			}
			kept := 0
			for _, p := range got.pulls {
				if p.Raw != nil {
					kept++
				}
			}
			if kept != test.kept {
				t.Errorf("%s: %d descriptions kept, want %d", what, kept, test.kept)
			}
		}
	})
}

package github

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/watch"
)

// limits answers with the headers of the primary limit.
func limits(remaining int, reset time.Time, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-RateLimit-Limit", "5000")
		w.Header().Set("X-RateLimit-Remaining", fmt.Sprint(remaining))
		w.Header().Set("X-RateLimit-Reset", fmt.Sprint(reset.Unix()))
		w.Header().Set("X-RateLimit-Resource", "core")
		next(w, r)
	}
}

// faultOf polls and expects trouble.
func faultOf(t *testing.T, r *Reader, repository string) *watch.Fault {
	t.Helper()
	page, err := r.Pulls(t.Context(), watch.Request{Repository: repository})
	fault, ok := errors.AsType[*watch.Fault](err)
	if !ok {
		t.Fatalf("no fault: %+v, %v", page, err)
	}
	for err := error(fault); err != nil; err = errors.Unwrap(err) {
		if strings.Contains(err.Error(), token) {
			t.Errorf("the error shows the token: %v", err)
		}
	}
	return fault
}

// TestLimits: each answer pauses polls of the whole account, for as long as it says.
func TestLimits(t *testing.T) {
	page := say(200, "["+item(1, "one")+"]")
	for name, test := range map[string]struct {
		answer func(now time.Time) http.HandlerFunc
		pause  time.Duration
	}{
		"primary": {func(now time.Time) http.HandlerFunc {
			return limits(0, now.Add(20*time.Minute), say(403, message("API rate limit exceeded for user ID 1.")))
		}, 20 * time.Minute},
		"primary, 429": {func(now time.Time) http.HandlerFunc {
			return limits(0, now.Add(20*time.Minute), say(429, message("slow")))
		}, 20 * time.Minute},
		"the last point": {func(now time.Time) http.HandlerFunc { return limits(0, now.Add(20*time.Minute), page) }, 20 * time.Minute},
		"GitHub's clock is an hour ahead": {func(now time.Time) http.HandlerFunc {
			return limits(0, now.Add(80*time.Minute), say(403, message("API rate limit exceeded."), "Date", now.Add(time.Hour).UTC().Format(http.TimeFormat)))
		}, 20 * time.Minute},
		"GitHub's clock is a day behind": {func(now time.Time) http.HandlerFunc {
			return limits(0, now.Add(20*time.Minute-24*time.Hour), say(403, message("API rate limit exceeded."), "Date", now.Add(-24*time.Hour).UTC().Format(http.TimeFormat)))
		}, 20 * time.Minute},
		"an end that cannot be": {func(now time.Time) http.HandlerFunc {
			return limits(0, now.Add(1000*time.Hour), say(403, message("API rate limit exceeded.")))
		}, longestReset},
		"secondary, 403": {func(time.Time) http.HandlerFunc { return say(403, message("no"), "Retry-After", "90") }, 90 * time.Second},
		"secondary, 429": {func(time.Time) http.HandlerFunc { return say(429, message("no"), "Retry-After", "90") }, 90 * time.Second},
		"secondary, with a date": {func(now time.Time) http.HandlerFunc {
			return say(429, message("no"), "Retry-After", now.Add(90*time.Second).UTC().Format(http.TimeFormat))
		}, 90 * time.Second},
		"secondary, in words alone": {func(time.Time) http.HandlerFunc {
			return say(403, message("You have exceeded a secondary rate limit. Please wait a few minutes."))
		}, time.Minute},
		"secondary, by its link": {func(time.Time) http.HandlerFunc {
			return say(403, `{"message": "no", "documentation_url": "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`)
		}, time.Minute},
		"429 alone": {func(time.Time) http.HandlerFunc { return say(429, "<html>") }, time.Minute},
		"secondary, with budget left": {func(now time.Time) http.HandlerFunc {
			return limits(4000, now.Add(20*time.Minute), say(403, message("a secondary rate limit")))
		}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				o := &origin{answer: test.answer(time.Now())}
				r := readerOf(t, o, Account{Name: "one", Token: (&turning{value: token}).token})
				start := time.Now()
				if name == "the last point" {
					pulls(t, r, "acme/fleet")
				} else if f := faultOf(t, r, "acme/fleet"); f.Trouble != watch.Limited || f.Until.Sub(start) != test.pause {
					t.Errorf("%s until %s: %s", f.Trouble, f.Until.Sub(start), f.Reason)
				}
				if f := faultOf(t, r, "acme/other"); f.Trouble != watch.Limited || f.Until.Sub(start) != test.pause || !strings.Contains(f.Reason, "(one)") {
					t.Errorf("another repository: %+v", f)
				}
				if s := r.Status().Accounts[0]; s.State != Paused || s.Until.Sub(start) != test.pause || s.Reason == "" {
					t.Errorf("status: %+v", s)
				}
				if n := len(o.seen()); n != 1 {
					t.Errorf("%d requests", n)
				}
				time.Sleep(test.pause)
				o.answer = limits(4999, time.Now().Add(time.Hour), page)
				pulls(t, r, "acme/other")
				if s := r.Status().Accounts[0]; s.State != Good || cmp.Diff([]Budget{{"core", 5000, 4999, time.Now().Add(time.Hour)}}, s.Budgets) != "" {
					t.Errorf("status: %+v", s)
				}
			})
		})
	}
}

// TestACredentialThatIsSentBackIsNotTold: a proxy may put the request into its message, and what GitHub says is told to people.
func TestACredentialThatIsSentBackIsNotTold(t *testing.T) {
	for _, status := range []int{400, 403, 404, 422, 451, 500} {
		virtual(t, func(t *testing.T) {
			o := &origin{answer: func(w http.ResponseWriter, r *http.Request) {
				say(status, message("no, with Authorization: "+r.Header.Get("Authorization")))(w, r)
			}}
			r := readerOf(t, o, Account{Name: "one", Token: (&turning{value: token}).token})
			f := faultOf(t, r, "acme/fleet")
			if said := "GitHub says: no, with Authorization: Bearer …"; (status == 403 || status == 422) && !strings.Contains(f.Reason, said) {
				t.Errorf("%d: %s", status, f.Reason)
			}
			if _, _, err := r.Files(t.Context(), "acme/fleet", 1); err == nil || strings.Contains(fmt.Sprintf("%v %v", err, errors.Unwrap(err)), token) {
				t.Errorf("%d: %v", status, err)
			}
		})
	}
}

// TestPausesWithoutATimeAreDoubled, once for requests that were under way together, until one was answered.
func TestPausesWithoutATimeAreDoubled(t *testing.T) {
	virtual(t, func(t *testing.T) {
		o := &origin{answer: say(429, message("slow")), delay: time.Second}
		r := readerOf(t, o, Account{Token: (&turning{value: token}).token})
		round := func() time.Duration {
			answered := time.Now().Add(o.delay)
			var wg sync.WaitGroup
			for i := range concurrent {
				wg.Go(func() {
					if f := faultOf(t, r, fmt.Sprintf("acme/r%d", i)); f.Trouble != watch.Limited {
						t.Errorf("%+v", f)
					}
				})
			}
			wg.Wait()
			until, _ := r.accounts[0].gate.state()
			time.Sleep(time.Until(until))
			return until.Sub(answered)
		}
		var pauses []time.Duration
		for range 6 {
			pauses = append(pauses, round())
		}
		if diff := cmp.Diff([]time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 15 * time.Minute, 15 * time.Minute}, pauses); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		o.answer = say(200, "["+item(1, "one")+"]")
		pulls(t, r, "acme/fleet")
		o.answer = say(429, message("slow"))
		if pause := round(); pause != time.Minute {
			t.Errorf("after an answer: %s", pause)
		}
	})
}

// TestPace: a thousand repositories at once are under 600 requests in any minute and 8 at a time, also after a pause. Those
// that wait begin together.
func TestPace(t *testing.T) {
	virtual(t, func(t *testing.T) {
		o := &origin{answer: say(200, "["+item(1, "one")+"]"), delay: 300 * time.Millisecond}
		r := readerOf(t, o, Account{Token: (&turning{value: token}).token})
		everything := func() {
			var wg sync.WaitGroup
			for i := range 1000 {
				wg.Go(func() { pulls(t, r, fmt.Sprintf("acme/r%d", i)) })
			}
			wg.Wait()
		}
		everything()
		time.Sleep(2 * time.Minute)
		everything()
		most, wakes := 0, map[time.Time]bool{}
		for i, first := range o.log {
			n := 0
			wakes[first.at] = true
			for _, e := range o.log[i:] {
				if e.at.Sub(first.at) < time.Minute {
					n++
				}
			}
			most = max(most, n)
		}
		if most > 600 || most < 550 || o.most > concurrent {
			t.Errorf("%d in a minute, %d at once", most, o.most)
		}
		if n := len(wakes); n > len(o.log)/concurrent+10 {
			t.Errorf("the process woke %d times for %d requests", n, len(o.log))
		}
	})
}

// TestPaceOverARestart: GitHub does not know that the process is another one.
func TestPaceOverARestart(t *testing.T) {
	virtual(t, func(t *testing.T) {
		o := &origin{answer: say(200, "["+item(1, "one")+"]"), delay: 300 * time.Millisecond}
		for _, lives := range []time.Duration{20 * time.Second, 20 * time.Second, 2 * time.Minute} {
			r := readerOf(t, o, Account{Token: (&turning{value: token}).token})
			ctx, end := context.WithTimeout(t.Context(), lives)
			var all sync.WaitGroup
			for i := range concurrent {
				all.Go(func() {
					for n := 0; ctx.Err() == nil; n++ {
						_, _ = r.Pulls(ctx, watch.Request{Repository: fmt.Sprintf("acme/r%d-%d", i, n)})
					}
				})
			}
			all.Wait()
			end()
		}
		for i, first := range o.log {
			if i+600 < len(o.log) && o.log[i+600].at.Sub(first.at) < time.Minute {
				t.Fatalf("more than 600 requests in the minute from %s", first.at.Sub(o.log[0].at))
			}
		}
	})
}

// TestCommandsGoFirst: they have a burst of their own, and the last fifth of the budget.
func TestCommandsGoFirst(t *testing.T) {
	virtual(t, func(t *testing.T) {
		reset := time.Now().Add(time.Hour)
		o := &origin{etag: etags["random for each token"], answer: limits(999, reset, say(200, "["+item(1, "one")+"]"))}
		r := readerOf(t, o, Account{Token: (&turning{value: token}).token})
		command := &http.Client{Transport: r.accounts[0]}
		time.Sleep(2 * time.Second) // right after its start a reader is slower
		start := time.Now()
		for i := range 50 {
			get(t, command, fmt.Sprintf("https://api.github.com/%d", i))
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("commands took %s", took)
		}
		pulls(t, r, "acme/fleet") // costs one of the last fifth
		if f := faultOf(t, r, "acme/other"); f.Trouble != watch.Limited || time.Until(f.Until) < 2*time.Minute || time.Until(f.Until) > 4*time.Minute {
			t.Errorf("%+v, in %s", f, time.Until(f.Until))
		}
		get(t, command, "https://api.github.com/more")
		time.Sleep(4 * time.Minute)
		for range 100 { // these cost nothing
			if !pulls(t, r, "acme/fleet").Unchanged {
				t.Fatal("changed")
			}
		}
		o.answer = limits(3000, reset, say(200, "["+item(1, "one")+"]"))
		pulls(t, r, "acme/other")
		pulls(t, r, "acme/third")
	})
}

// TestALimitOfCommands: they wait a little, or say when it ends; where GitHub does not tell, they try.
func TestALimitOfCommands(t *testing.T) {
	virtual(t, func(t *testing.T) {
		o := &origin{answer: say(429, message("slow"), "Retry-After", "3")}
		r := readerOf(t, o, Account{Token: (&turning{value: token}).token})
		command := &http.Client{Transport: r.accounts[0]}
		ask := func() error {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.github.com/x", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := command.Do(req)
			if err == nil {
				resp.Body.Close()
			}
			return err
		}
		if a, ok := answerOf(ask()); !ok || !a.limited || a.until.IsZero() {
			t.Errorf("%+v", a)
		}
		o.answer = say(429, message("slow"), "Retry-After", "300")
		start := time.Now()
		if a, _ := answerOf(ask()); !a.limited || time.Since(start) != 3*time.Second {
			t.Errorf("%+v after %s", a, time.Since(start))
		}
		if a, _ := answerOf(ask()); !a.limited || time.Since(start) != 3*time.Second || len(o.seen()) != 2 {
			t.Errorf("%+v after %s", a, time.Since(start))
		}
		time.Sleep(5 * time.Minute)
		o.answer = say(429, message("slow"))
		for range 2 {
			if a, _ := answerOf(ask()); !a.limited || !a.until.IsZero() {
				t.Errorf("%+v", a)
			}
		}
		if n := len(o.seen()); n != 2 {
			t.Errorf("%d requests", n)
		}
	})
}

// TestAnotherBudget: what GraphQL has used up does not stop REST.
func TestAnotherBudget(t *testing.T) {
	virtual(t, func(t *testing.T) {
		o := &origin{answer: func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/graphql" {
				w.Header().Set("X-RateLimit-Resource", "graphql")
				say(403, message("API rate limit exceeded"), "X-RateLimit-Remaining", "0", "X-RateLimit-Limit", "5000", "X-RateLimit-Reset", fmt.Sprint(time.Now().Add(time.Hour).Unix()))(w, r)
				return
			}
			say(200, "["+item(1, "one")+"]")(w, r)
		}}
		r := readerOf(t, o, Account{Token: (&turning{value: token}).token})
		command := &http.Client{Transport: r.accounts[0]}
		for range 2 {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.github.com/graphql", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			if resp, err := command.Do(req); err == nil {
				resp.Body.Close()
				t.Error("not limited")
			}
		}
		pulls(t, r, "acme/fleet")
		if diff := cmp.Diff([]int{403, 200}, o.seen()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// TestWhoGoesAway leaves nothing behind: neither a place among those at once, nor a wait.
func TestWhoGoesAway(t *testing.T) {
	virtual(t, func(t *testing.T) {
		o := &origin{answer: say(200, "["+item(1, "one")+"]"), delay: 10 * time.Second}
		var log bytes.Buffer
		r, err := newReader(ReaderConfig{Accounts: []Account{{Token: (&turning{value: token}).token}}}, o, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for i := range 3 * concurrent {
			wg.Go(func() {
				_, err := r.Pulls(ctx, watch.Request{Repository: fmt.Sprintf("acme/r%d", i)})
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
			})
		}
		wg.Wait()
		if len(r.accounts[0].gate.slots) != 0 || len(r.cache.flights) != 0 || r.Status().Accounts[0].State != Good {
			t.Errorf("%d places are taken, %d requests under way", len(r.accounts[0].gate.slots), len(r.cache.flights))
		}
		pulls(t, r, "acme/fleet")
		if strings.Contains(log.String(), token) {
			t.Error("the log shows the token")
		}
	})
}

// TestCounts are by class.
func TestCounts(t *testing.T) {
	virtual(t, func(t *testing.T) {
		o := &origin{etag: etags["weak"], answer: say(200, "[1]")}
		r := readerOf(t, o, Account{Token: (&turning{value: token}).token})
		client := &http.Client{Transport: r.accounts[0]}
		get(t, client, "https://api.github.com/x")
		get(t, client, "https://api.github.com/x")
		o.answer = say(404, "gone")
		get(t, client, "https://api.github.com/y")
		o.answer = say(502, "")
		get(t, client, "https://api.github.com/y")
		if diff := cmp.Diff(Counts{OK: 1, Unchanged: 1, Refused: 1, Failed: 1, Bytes: 7}, r.Status().Accounts[0].Counts); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

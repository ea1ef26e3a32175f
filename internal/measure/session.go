package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ferry-chatops/ferry/internal/githubtest"
	"github.com/ferry-chatops/ferry/internal/githubtest/control"
)

// A session is a stand-in and a source plugin that follows it.
type session struct {
	setting
	ctx    context.Context
	dir    string
	hub    *control.Process
	clock  clock
	plugin *plugin

	seen   []request // of the access log, as far as it was read
	offset int64
	keep   bool // what they wrote, as evidence
}

// setting says how both are set up.
type setting struct {
	options
	factor       float64
	interval     time.Duration
	repositories int
	check        int  // each so many-th exchange is held to GitHub's description; 0: none
	app          bool // the plugin is a GitHub App, not a user
	flags        []string
}

// open starts the stand-in alone.
func open(ctx context.Context, s setting) (_ *session, err error) {
	dir, err := os.MkdirTemp("", "ferry-measure-")
	if err != nil {
		return nil, err
	}
	one := &session{setting: s, ctx: ctx, dir: dir}
	defer func() {
		if err != nil {
			one.end()
		}
	}()
	flags := append([]string{"-seed", strconv.FormatUint(s.seed, 10), "-factor", fmt.Sprint(s.factor), "-repositories", strconv.Itoa(s.repositories),
		"-check", strconv.Itoa(s.check), "-log", one.requests()}, s.flags...)
	if one.hub, err = control.Start(ctx, s.hub(), flags...); err != nil {
		return nil, err
	}
	status, err := one.status(false)
	one.clock = clock{status.Now, time.Now(), s.factor}
	return one, err
}

// begin starts both and waits until the plugin has seen everything.
func begin(ctx context.Context, s setting) (*session, error) {
	one, err := open(ctx, s)
	if err != nil {
		return nil, err
	}
	f := follow{dir: one.dir, cache: filepath.Join(one.dir, "cache"), factor: s.factor, interval: s.interval, app: s.app}
	if err = one.prepare(f); err == nil {
		err = one.plugin.start()
	}
	if err == nil {
		err = one.quiet()
	}
	if err != nil {
		one.end()
		return nil, err
	}
	return one, nil
}

// prepare makes a plugin, which is not started.
func (s *session) prepare(f follow) error {
	config, err := f.configuration(s.hub.Ready)
	if err != nil {
		return err
	}
	out, err := os.Create(filepath.Join(f.dir, "plugin.log"))
	if err != nil {
		return err
	}
	s.plugin = &plugin{binary: s.source(), config: config, log: out, clock: s.clock}
	return nil
}

// requests is the stand-in's access log.
func (s *session) requests() string { return filepath.Join(s.dir, "requests.log") }

// end stops both.
func (s *session) end() {
	if s.plugin != nil && s.plugin.cmd != nil {
		_ = s.plugin.kill() // gone already
	}
	if s.hub != nil {
		_ = s.hub.Stop() // an interrupt stopped it already
	}
	if s.keep {
		var told strings.Builder
		for _, t := range s.plugin.told {
			fmt.Fprintf(&told, "%s %s\n", t.At.Format(time.RFC3339Nano), t.Key)
		}
		err := os.WriteFile(filepath.Join(s.dir, "told"), []byte(told.String()), 0o600)
		log.Printf("what they wrote, and what was told, is in %s (%v)", s.dir, err)
		return
	}
	_ = os.RemoveAll(s.dir)
}

func (s *session) post(path string, in, out any) error {
	return s.hub.Call(s.ctx, http.MethodPost, path, in, out)
}

func (s *session) status(anew bool) (control.Status, error) {
	path := "/"
	if anew {
		path = "/?anew=1"
	}
	var status control.Status
	err := s.hub.Call(s.ctx, http.MethodGet, path, nil, &status)
	return status, err
}

// wait lets real time pass.
func (s *session) wait(d time.Duration) error {
	select {
	case <-s.ctx.Done():
		return s.ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// quiet waits until three times in a row nothing was read anew for an interval and a half, and nothing told.
func (s *session) quiet() error {
	calm, told := 0, -1
	for deadline := time.Now().Add(5 * time.Minute); calm < 3; {
		if time.Now().After(deadline) {
			return errors.New("the source does not come to rest")
		}
		status, err := s.status(true)
		if err != nil {
			return err
		}
		if now := s.plugin.count(); status.Load.Statuses[http.StatusOK] == 0 && status.Load.Statuses[http.StatusNotModified] > 0 && now == told {
			calm++
		} else {
			calm, told = 0, now
		}
		if err := s.wait(s.clock.real(s.interval*3/2) + 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// silent waits until nothing was told for more than an hour of the stand-in's clock. Where each look costs a point, the
// budget of an hour may be used up, and no other sign tells whether all was seen.
func (s *session) silent() error {
	for told, deadline := -1, time.Now().Add(10*time.Minute); told != s.plugin.count(); {
		if time.Now().After(deadline) {
			return errors.New("the source does not come to rest")
		}
		told = s.plugin.count()
		if err := s.wait(s.clock.real(65 * time.Minute)); err != nil {
			return err
		}
	}
	return nil
}

// play lets a script happen and waits for its end, and until all of it was told. Meanwhile, done with now and then, does what
// it likes.
func (s *session) play(plan githubtest.Plan, behaviour githubtest.Behaviour, faults []githubtest.Fault, meanwhile func() error) (githubtest.Verdict, control.Status, error) {
	var verdict githubtest.Verdict
	plan.From = s.clock.now().Add(2 * time.Minute)
	if err := s.post("/behaviour", behaviour, nil); err != nil {
		return verdict, control.Status{}, err
	}
	for _, f := range faults {
		if err := s.post("/faults", f, nil); err != nil {
			return verdict, control.Status{}, err
		}
	}
	if _, err := s.status(true); err != nil {
		return verdict, control.Status{}, err
	}
	if err := s.post("/play", plan, nil); err != nil {
		return verdict, control.Status{}, err
	}
	for said := time.Now(); ; {
		status, err := s.status(false)
		if err != nil {
			return verdict, status, err
		}
		if status.Next.IsZero() {
			break
		}
		if time.Since(said) > time.Minute {
			said = time.Now()
			log.Printf("%s to go on the stand-in's clock, %d told", plan.From.Add(plan.Over).Sub(status.Now).Round(time.Minute), s.plugin.count())
		}
		if err := meanwhile(); err != nil {
			return verdict, status, err
		}
		if err := s.wait(50 * time.Millisecond); err != nil {
			return verdict, status, err
		}
	}
	end, err := s.status(false)
	if err != nil {
		return verdict, end, err
	}
	if err := s.hub.Call(s.ctx, http.MethodDelete, "/faults", nil, nil); err != nil {
		return verdict, end, err
	}
	behaviour.Lag = 0
	if err := s.post("/behaviour", behaviour, nil); err != nil {
		return verdict, end, err
	}
	if behaviour.ETag == githubtest.Without {
		err = s.silent()
	} else {
		err = s.quiet()
	}
	if err != nil {
		return verdict, end, err
	}
	s.plugin.mu.Lock()
	defer s.plugin.mu.Unlock()
	err = s.post("/judge", control.Case{Watch: githubtest.Watch{Since: plan.From.Add(-time.Minute), Slack: 30 * time.Second}, Told: s.plugin.told}, &verdict)
	return verdict, end, errors.Join(err, s.plugin.odd)
}

// said says what became of it, and logs what should not be.
func (s *session) said(v githubtest.Verdict) string {
	s.keep = len(v.Lost)+len(v.Untrue) > 0
	for what, keys := range map[string][]string{"lost": v.Lost, "repeated": v.Repeated, "untrue": v.Untrue} {
		for _, key := range keys[:min(len(keys), 10)] {
			log.Printf("%s: %s", what, key)
		}
	}
	for _, other := range s.plugin.other[:min(len(s.plugin.other), 10)] {
		log.Printf("also told: %s", other)
	}
	return fmt.Sprintf("%d told", v.Told)
}

// A request is one of the access log.
type request struct {
	at         time.Time // it arrived, in real time
	repository string    // of a list, OWNER/NAME; else empty
	look       bool      // at the first page of a list
	status     int       // 0: the connection was dropped
}

// free says whether it cost nothing of a primary limit.
func (r request) free() bool { return r.status == http.StatusNotModified }

// logged gives all requests so far, those of a time after it, in the order in which they arrived.
func (s *session) logged(since time.Time) ([]request, error) {
	file, err := os.Open(s.requests())
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if _, err := file.Seek(s.offset, io.SeekStart); err != nil {
		return nil, err
	}
	for lines := bufio.NewReader(file); ; {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			break // what is not a whole line yet is read the next time
		}
		if err != nil {
			return nil, err
		}
		s.offset += int64(len(line))
		if r, ok := parseRequest(line); ok {
			s.seen = append(s.seen, r)
		}
	}
	slices.SortStableFunc(s.seen, func(a, b request) int { return a.at.Compare(b.at) })
	from, _ := slices.BinarySearchFunc(s.seen, since, func(r request, t time.Time) int { return r.at.Compare(t) })
	return s.seen[from:], nil
}

// parseRequest reads a line of the access log: TIME LOGIN METHOD PATH[?QUERY] STATUS N bytes in TIME.
func parseRequest(line string) (request, bool) {
	f := strings.Fields(line)
	if len(f) < 5 {
		return request{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, f[0])
	status, bad := strconv.Atoi(f[4])
	if err != nil || bad != nil {
		return request{}, false
	}
	r := request{at: at, status: status}
	path, query, _ := strings.Cut(strings.TrimPrefix(f[3], "/api/v3/repos/"), "?")
	if name, ok := strings.CutSuffix(path, "/pulls"); ok && !strings.HasPrefix(path, "/") {
		r.repository, r.look = name, !strings.Contains("&"+query, "&page=")
	}
	return r, true
}

// peak is the most requests that arrived within d of real time; they are in order.
func peak(all []request, d time.Duration) int {
	most, first := 0, 0
	for i, r := range all {
		for r.at.Sub(all[first].at) >= d {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// load is T4 over the requests since a time.
func (s *session) load(what string, since time.Time, how string) ([]result, error) {
	all, err := s.logged(since)
	if err != nil {
		return nil, err
	}
	most := peak(all, s.clock.real(time.Minute))
	return []result{{"T4 requests in a minute, " + what, "<= 600", strconv.Itoa(most), most <= 600 && most > 0, how}}, nil
}

// valid is T12: what the plugin asks is what GitHub describes, and so is what the stand-in answers.
func (s *session) valid(status control.Status) result {
	for _, v := range status.Violations {
		log.Printf("not as GitHub's API is described: %s", v)
	}
	each := "each request and answer"
	if s.check > 1 {
		each = fmt.Sprintf("each %dth request and answer", s.check)
	}
	return result{"T12 not as described", "0", strconv.Itoa(len(status.Violations)), len(status.Violations) == 0, fmt.Sprintf("%s of %d at the end", each, status.Load.Requests)}
}

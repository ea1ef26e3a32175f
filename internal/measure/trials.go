package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ferry-chatops/ferry/internal/githubtest"
	"github.com/ferry-chatops/ferry/internal/githubtest/control"
)

// A session is a stand-in and a source plugin that follows it.
type session struct {
	ctx    context.Context
	dir    string
	hub    *control.Process
	plugin *plugin
}

// setting says how both are set up.
type setting struct {
	options
	factor       float64
	interval     time.Duration
	repositories int
	app          bool
	flags        []string // more of the stand-in's
}

// begin starts both and waits until the plugin has seen everything.
func begin(ctx context.Context, s setting) (_ *session, err error) {
	dir, err := os.MkdirTemp("", "ferry-measure-")
	if err != nil {
		return nil, err
	}
	one := &session{ctx: ctx, dir: dir}
	defer func() {
		if err != nil {
			one.end()
		}
	}()
	flags := append([]string{"-seed", strconv.FormatUint(s.seed, 10), "-factor", fmt.Sprint(s.factor), "-repositories", strconv.Itoa(s.repositories),
		"-check", "100", "-log", one.requests()}, s.flags...)
	if one.hub, err = control.Start(ctx, s.hub(), flags...); err != nil {
		return nil, err
	}
	config, err := follow{dir: dir, factor: s.factor, interval: s.interval, app: s.app}.configuration(one.hub.Ready)
	if err != nil {
		return nil, err
	}
	status, err := one.status(false)
	if err != nil {
		return nil, err
	}
	out, err := os.Create(filepath.Join(dir, "plugin.log"))
	if err != nil {
		return nil, err
	}
	one.plugin = &plugin{binary: s.source(), config: config, log: out, clock: clock{status.Now, time.Now(), s.factor}}
	if err = one.plugin.start(); err == nil {
		err = one.quiet(s.interval)
	}
	return one, err
}

// requests is the stand-in's access log.
func (s *session) requests() string { return filepath.Join(s.dir, "requests.log") }

// end stops both. What they wrote stays where a trial failed.
func (s *session) end() {
	if s.plugin != nil && s.plugin.cmd != nil {
		_ = s.plugin.kill() // gone already
	}
	if s.hub != nil {
		_ = s.hub.Stop() // an interrupt stopped it already
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
func (s *session) quiet(interval time.Duration) error {
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
		if err := s.wait(s.plugin.clock.real(interval*3/2) + 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// play lets a script happen and waits for its end, and until all of it was told. Meanwhile, done with now and then, does what
// it likes.
func (s *session) play(plan githubtest.Plan, behaviour githubtest.Behaviour, faults []githubtest.Fault, interval time.Duration, meanwhile func() error) (githubtest.Verdict, control.Status, error) {
	var verdict githubtest.Verdict
	plan.From = s.plugin.clock.now().Add(2 * time.Minute)
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
	for {
		status, err := s.status(false)
		if err != nil {
			return verdict, status, err
		}
		if status.Next.IsZero() {
			break
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
	if behaviour.ETag == githubtest.Without { // there is no sign of rest but time
		err = s.wait(s.plugin.clock.real(20*interval) + 5*time.Second)
	} else {
		err = s.quiet(interval)
	}
	if err != nil {
		return verdict, end, err
	}
	s.plugin.mu.Lock()
	defer s.plugin.mu.Unlock()
	err = s.post("/judge", control.Case{Watch: githubtest.Watch{Since: plan.From.Add(-time.Minute), Slack: 30 * time.Second}, Told: s.plugin.told}, &verdict)
	return verdict, end, errors.Join(err, s.plugin.odd)
}

// storms are what goes wrong by chance.
func storms() []githubtest.Fault {
	limited := githubtest.SecondaryLimit(http.StatusTooManyRequests, 1)
	limited.Times, limited.Probability = -1, 0.0005
	all := []githubtest.Fault{limited}
	for _, f := range []githubtest.Fault{
		{Status: http.StatusBadGateway, Body: "<html>"}, {Drop: true}, {Wire: githubtest.Truncated}, {Wire: githubtest.TruncatedChunked}, {Wire: githubtest.Halved},
		{Wire: githubtest.Gzip}, {Wire: githubtest.Chunked},
	} {
		f.Path, f.Times, f.Probability = "/*", -1, 0.005
		all = append(all, f)
	}
	return all
}

const minute = time.Minute

// said says what became of it, and logs what should not be.
func (s *session) said(v githubtest.Verdict) string {
	for what, keys := range map[string][]string{"lost": v.Lost, "repeated": v.Repeated, "untrue": v.Untrue} {
		for i, key := range keys {
			if i < 10 {
				log.Printf("%s: %s", what, key)
			}
		}
	}
	for i, other := range s.plugin.other {
		if i < 10 {
			log.Printf("also told: %s", other)
		}
	}
	return fmt.Sprintf("%d told", v.Told)
}

// kills is T1 and T2: nothing is lost, and little told twice, whatever happens.
func kills(ctx context.Context, o options) ([]result, error) {
	const interval = 30 * time.Second
	s, err := begin(ctx, setting{options: o, factor: o.factor, interval: interval, repositories: o.repositories})
	if err != nil {
		return nil, err
	}
	defer s.end()
	over := time.Duration(o.changes) * 24 * time.Hour / 100_000
	plan := githubtest.Plan{Seed: o.seed, Changes: o.changes, Over: over, Noise: 0.3, Gap: 2 * time.Second}
	random := rand.New(rand.NewPCG(o.seed, 1))
	killed, every := 0, s.plugin.clock.real(over)/time.Duration(max(o.kills, 1)+1)
	next := time.Now().Add(every)
	v, status, err := s.play(plan, githubtest.Behaviour{Lag: minute}, storms(), interval, func() error {
		if killed >= o.kills || time.Now().Before(next) {
			return nil
		}
		killed++
		next = next.Add(every*3/4 + time.Duration(random.Int64N(int64(every/2)+1)))
		if err := s.plugin.kill(); err != nil {
			return err
		}
		return s.plugin.start()
	})
	if err != nil {
		return nil, err
	}
	how := fmt.Sprintf("%d changes in %d repositories, %d kills, replicas up to 60 s behind, 5xx, 429, broken answers; factor %g; %s, %d requests",
		o.changes, o.repositories, killed, o.factor, s.said(v), status.Load.Requests)
	return []result{
		{"T1 lost events", "0", strconv.Itoa(len(v.Lost)), len(v.Lost) == 0, how},
		{"T2 told twice", fmt.Sprintf("<= %d", killed), strconv.Itoa(len(v.Repeated)), len(v.Repeated) <= killed, how},
		{"T2 told though it never was so", "0", strconv.Itoa(len(v.Untrue)), len(v.Untrue) == 0, how},
		valid(status),
	}, nil
}

// valid is T12: what the plugin asks is what GitHub describes, and so is what the stand-in answers.
func valid(status control.Status) result {
	for _, v := range status.Violations {
		log.Printf("not as GitHub's API is described: %s", v)
	}
	return result{"T12 not as described", "0", strconv.Itoa(len(status.Violations)), len(status.Violations) == 0, "every 100th request and answer"}
}

// etags is T14: servers whose ETags cannot be foreseen, or that have none.
func etags(ctx context.Context, o options) ([]result, error) {
	const interval = 30 * time.Second
	var all []result
	for _, kind := range []githubtest.ETag{githubtest.PerToken, githubtest.Without} {
		name := map[githubtest.ETag]string{githubtest.PerToken: "random ETags", githubtest.Without: "no ETags"}[kind]
		changes := min(o.changes, 5_000)
		s, err := begin(ctx, setting{options: o, factor: o.factor, interval: interval, repositories: o.repositories})
		if err != nil {
			return nil, err
		}
		plan := githubtest.Plan{Seed: o.seed, Changes: changes, Over: time.Duration(changes) * 24 * time.Hour / 100_000, Noise: 0.3, Gap: 2 * time.Second}
		v, status, err := s.play(plan, githubtest.Behaviour{ETag: kind}, nil, interval, func() error { return nil })
		how := ""
		if err == nil {
			how = fmt.Sprintf("%s; %d changes without faults; factor %g; %s", name, changes, o.factor, s.said(v))
		}
		s.end()
		if err != nil {
			return nil, err
		}
		points, wrong := status.Load.Points["ferry-bot"], len(v.Lost)+len(v.Repeated)+len(v.Untrue)
		all = append(all,
			result{"T14 lost, twice or untrue", "0", strconv.Itoa(wrong), wrong == 0, how},
			result{"T14 points a request", "<= 1", fmt.Sprintf("%.2f", float64(points)/float64(max(status.Load.Requests, 1))), points <= status.Load.Requests, how})
	}
	return all, nil
}

// noise is T9: what changes GitHub's answers without being news.
func noise(ctx context.Context, o options) ([]result, error) {
	const interval = 30 * time.Second
	const changes = 2_000
	s, err := begin(ctx, setting{options: o, factor: o.factor, interval: interval, repositories: o.repositories})
	if err != nil {
		return nil, err
	}
	defer s.end()
	plan := githubtest.Plan{Seed: o.seed, Changes: changes, Over: 4 * time.Hour, Noise: 1}
	v, status, err := s.play(plan, githubtest.Behaviour{}, nil, interval, func() error { return nil })
	if err != nil {
		return nil, err
	}
	how := fmt.Sprintf("%d stars, pushes, comments and test merges; factor %g; %s", changes, o.factor, s.said(v))
	points := status.Load.Points["ferry-bot"]
	return []result{
		{"T9 messages about nothing", "0", strconv.Itoa(s.plugin.count()), s.plugin.count() == 0, how},
		{"T9 points", fmt.Sprintf("<= %d", changes), strconv.Itoa(points), points <= changes, how},
	}, nil
}

// idle is T3 and T4: a thousand repositories in which nothing happens, followed by an App whose token changes every hour.
func idle(ctx context.Context, o options) ([]result, error) {
	const interval = 30 * time.Second
	const repositories = 1000
	s, err := begin(ctx, setting{options: o, factor: o.factor, interval: interval, repositories: repositories, app: true, flags: []string{"-etag", "derived"}})
	if err != nil {
		return nil, err
	}
	defer s.end()
	if err := s.wait(s.plugin.clock.real(o.idle)); err != nil {
		return nil, err
	}
	points, err := s.spent()
	if err != nil {
		return nil, err
	}
	status, err := s.status(false)
	if err != nil {
		return nil, err
	}
	how := fmt.Sprintf("%d repositories, %s, a token an hour; factor %g; %d requests", repositories, o.idle, o.factor, status.Load.Requests)
	return []result{
		{"T3 points from the first start", "<= 1000", strconv.Itoa(points), points <= 1000, how},
		{"T4 requests a minute", "<= 600", strconv.Itoa(status.Load.PerMinute), status.Load.PerMinute <= 600, how},
		{"T4 requests at once", "<= 8", strconv.Itoa(status.Load.Concurrent), status.Load.Concurrent <= 8, how},
		valid(status),
	}, nil
}

// A request is one of the access log.
type request struct {
	at     time.Time
	path   string
	status string
}

// read reads the access log.
func (s *session) read() ([]request, error) {
	file, err := os.Open(s.requests())
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var all []request
	for lines := bufio.NewScanner(file); lines.Scan(); {
		// TIME LOGIN METHOD PATH STATUS N bytes in TIME
		f := strings.Fields(lines.Text())
		if len(f) < 5 {
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, f[0])
		if err != nil {
			return nil, err
		}
		path, _, _ := strings.Cut(f[3], "?")
		all = append(all, request{at, path, f[4]})
	}
	return all, nil
}

// spent counts the points of reading lists, since the start.
func (s *session) spent() (points int, err error) {
	all, err := s.read()
	for _, r := range all {
		if r.status != "304" && strings.HasSuffix(r.path, "/pulls") {
			points++
		}
	}
	return points, err
}

// delay is T7: how long after it happened something is told, without and with a webhook.
func delay(ctx context.Context, o options) ([]result, error) {
	const factor, interval, repositories, changes = 10, time.Minute, 300, 1000
	s, err := begin(ctx, setting{options: o, factor: factor, interval: interval, repositories: repositories})
	if err != nil {
		return nil, err
	}
	defer s.end()
	plan := githubtest.Plan{Seed: o.seed, Changes: changes, Over: 40 * time.Minute, Gap: 2 * time.Second}
	v, status, err := s.play(plan, githubtest.Behaviour{}, nil, interval, func() error { return nil })
	if err != nil {
		return nil, err
	}
	how := fmt.Sprintf("%d repositories every %s, %d changes; factor %d; %s", repositories, interval, changes, factor, s.said(v))
	p50, p99 := percentile(v.Delays, 0.5), percentile(v.Delays, 0.99)
	results := []result{
		{"T7 median delay", "<= 35 s", p50.Round(100 * time.Millisecond).String(), p50 <= 35*time.Second, how},
		{"T7 99th percentile", "<= 1m5s", p99.Round(100 * time.Millisecond).String(), p99 <= 65*time.Second, how},
		{"T4 requests a minute", "<= 600", strconv.Itoa(status.Load.PerMinute), status.Load.PerMinute <= 600, how},
		{"T4 requests at once", "<= 8", strconv.Itoa(status.Load.Concurrent), status.Load.Concurrent <= 8, how},
	}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = s.plugin.hint(r.Context(), bytes.TrimSpace(body))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	})}
	defer server.Close()
	go func() { _ = server.Serve(listener) }() // ends with Close
	if err := s.post("/hints", map[string]string{"URL": "http://" + listener.Addr().String()}, nil); err != nil {
		return nil, err
	}
	hinted, err := s.hinted(repositories)
	if err != nil {
		return nil, err
	}
	p99 = percentile(hinted, 0.99)
	return append(results, result{"T7 99th percentile with a webhook, in real time", "<= 2 s", p99.Round(time.Millisecond).String(), p99 <= 2*time.Second && len(hinted) == repositories,
		fmt.Sprintf("%d of %d labels told", len(hinted), repositories)}), nil
}

// hinted puts a label on a pull request of each repository, one after another, and takes how long each needs to be told.
func (s *session) hinted(repositories int) ([]time.Duration, error) {
	var all []time.Duration
	for i := range repositories {
		s.plugin.mu.Lock()
		known := len(s.plugin.told)
		s.plugin.mu.Unlock()
		begin := time.Now()
		if err := s.post("/apply", githubtest.Change{Repository: s.hub.Repositories[i], Do: githubtest.Label, Number: 1, Label: "hinted"}, nil); err != nil {
			return nil, err
		}
		for s.plugin.count() == known && time.Since(begin) < 10*time.Second {
			if err := s.wait(2 * time.Millisecond); err != nil {
				return nil, err
			}
		}
		if s.plugin.count() > known {
			all = append(all, time.Since(begin))
		}
	}
	return all, nil
}

// restart is T8: a thousand repositories after a crash, with what was read before on disk.
func restart(ctx context.Context, o options) ([]result, error) {
	const factor, interval, repositories = 10, 30 * time.Second, 1000
	s, err := begin(ctx, setting{options: o, factor: factor, interval: interval, repositories: repositories, app: true, flags: []string{"-etag", "derived"}})
	if err != nil {
		return nil, err
	}
	defer s.end()
	if err := s.plugin.kill(); err != nil {
		return nil, err
	}
	before, err := s.read()
	if err != nil {
		return nil, err
	}
	if _, err := s.status(true); err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := s.plugin.start(); err != nil {
		return nil, err
	}
	if err := s.wait(s.plugin.clock.real(10 * time.Minute)); err != nil {
		return nil, err
	}
	after, err := s.read()
	if err != nil {
		return nil, err
	}
	var first, last time.Duration
	seen, whole := map[string]bool{}, 0
	for _, r := range after[len(before):] {
		if !strings.HasSuffix(r.path, "/pulls") {
			continue
		}
		if first == 0 {
			first = r.at.Sub(begin)
		}
		if !seen[r.path] {
			seen[r.path], last = true, r.at.Sub(begin)
		}
		if r.status == "200" {
			whole++
		}
	}
	status, err := s.status(false)
	if err != nil {
		return nil, err
	}
	last = time.Duration(float64(last) * factor)
	how := fmt.Sprintf("%d repositories, answers on disk; factor %d, the first look in real time; %d seen again", repositories, factor, len(seen))
	return []result{
		{"T8 restart to the first look", "<= 2 s", first.Round(time.Millisecond).String(), first > 0 && first <= 2*time.Second, how},
		{"T8 restart to the last of all", "<= 2m0s", last.Round(time.Second).String(), len(seen) == repositories && last <= 2*time.Minute, how},
		{"T8 answers read anew", "0", strconv.Itoa(whole), whole == 0, how},
		{"T4 requests a minute after a restart", "<= 600", strconv.Itoa(status.Load.PerMinute), status.Load.PerMinute <= 600, how},
	}, nil
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/ferry-chatops/ferry/internal/githubtest"
	"github.com/ferry-chatops/ferry/internal/githubtest/control"
)

const interval = 30 * time.Second

// Factors where a second of real time counts.
const (
	delayFactor   = 10
	restartFactor = 5
)

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

// A storm is changes amid faults and kills, and what became of them.
type storm struct {
	githubtest.Verdict
	status control.Status // at the end of the changes
	killed int
	how    string
}

// storm lets as many changes happen as there are in a busy day, or a part of it.
func (s *session) storm(changes, kills int, etag githubtest.ETag) (w storm, err error) {
	over := time.Duration(changes) * 24 * time.Hour / 100_000
	plan := githubtest.Plan{Seed: s.seed, Changes: changes, Over: over, Noise: 0.3, Gap: 2 * time.Second}
	random := rand.New(rand.NewPCG(s.seed, 1))
	every := s.clock.real(over) / time.Duration(kills+1)
	next := time.Now().Add(every)
	w.Verdict, w.status, err = s.play(plan, githubtest.Behaviour{Lag: time.Minute, ETag: etag}, storms(), func() error {
		if w.killed >= kills || time.Now().Before(next) {
			return nil
		}
		w.killed++
		next = next.Add(every*3/4 + time.Duration(random.Int64N(int64(every/2)+1)))
		if err := s.plugin.kill(); err != nil {
			return err
		}
		return s.plugin.start()
	})
	w.how = fmt.Sprintf("%d changes in %d repositories, %d kills, replicas up to 60 s behind, 5xx, 429, broken answers; factor %g; %s, %d requests",
		changes, s.repositories, w.killed, s.factor, s.said(w.Verdict), w.status.Load.Requests)
	return w, err
}

// results say it by the name of a target.
func (w storm) results(name string) []result {
	return []result{
		{name + " lost events", "0", strconv.Itoa(len(w.Lost)), len(w.Lost) == 0, w.how},
		{name + " told twice", fmt.Sprintf("<= %d, one a kill", w.killed), strconv.Itoa(len(w.Repeated)), len(w.Repeated) <= w.killed, w.how},
		{name + " told though it never was so", "0", strconv.Itoa(len(w.Untrue)), len(w.Untrue) == 0, w.how},
	}
}

// kills is T1 and T2: nothing is lost, and little told twice, whatever happens.
func kills(ctx context.Context, o options) ([]result, error) {
	s, err := begin(ctx, setting{options: o, factor: o.factor, interval: interval, repositories: o.repositories, check: 100})
	if err != nil {
		return nil, err
	}
	defer s.end()
	w, err := s.storm(o.changes, o.kills, githubtest.PerToken)
	if err != nil {
		return nil, err
	}
	return append(w.results("T1, T2"), s.valid(w.status)), nil
}

// etags is T14: the same with servers whose ETags cannot be foreseen, or that have none.
func etags(ctx context.Context, o options) ([]result, error) {
	var all []result
	for _, kind := range []struct {
		name string
		etag githubtest.ETag
	}{{"random ETags", githubtest.PerToken}, {"no ETags", githubtest.Without}} {
		results, err := odd(ctx, o, "T14 "+kind.name+":", kind.etag)
		if all = append(all, results...); err != nil {
			return all, err
		}
	}
	return all, nil
}

func odd(ctx context.Context, o options, name string, etag githubtest.ETag) ([]result, error) {
	s, err := begin(ctx, setting{options: o, factor: o.factor, interval: interval, repositories: o.repositories, check: 20})
	if err != nil {
		return nil, err
	}
	defer s.end()
	w, err := s.storm(min(o.changes, 5_000), min(o.kills, 10), etag)
	if err != nil {
		return nil, err
	}
	all := append(w.results(name), s.valid(w.status))
	since := time.Now()
	if err := s.wait(s.clock.real(20 * interval)); err != nil {
		return all, err
	}
	requests, err := s.logged(since)
	looks, points := 0, 0
	for _, r := range requests {
		if r.look {
			looks++
		}
		if !r.free() {
			points++
		}
	}
	return append(all, result{name + " points a look", "<= 1", fmt.Sprintf("%.2f", float64(points)/float64(max(looks, 1))), points <= looks && looks > 0,
		fmt.Sprintf("all %d requests of 10 minutes without changes, %d of them looks; factor %g", len(requests), looks, o.factor)}), err
}

// noise is T9: what changes GitHub's answers without being news.
func noise(ctx context.Context, o options) ([]result, error) {
	const changes = 2_000
	s, err := begin(ctx, setting{options: o, factor: o.factor, interval: interval, repositories: o.repositories, check: 1})
	if err != nil {
		return nil, err
	}
	defer s.end()
	plan := githubtest.Plan{Seed: o.seed, Changes: changes, Over: 4 * time.Hour, Noise: 1}
	v, status, err := s.play(plan, githubtest.Behaviour{}, nil, func() error { return nil })
	if err != nil {
		return nil, err
	}
	how := fmt.Sprintf("%d stars, pushes, comments and test merges; factor %g; %s", changes, o.factor, s.said(v))
	points := status.Load.Points["ferry-bot"]
	return []result{
		{"T9 messages about nothing", "0", strconv.Itoa(s.plugin.count()), s.plugin.count() == 0, how},
		{"T9 points", fmt.Sprintf("<= %d", changes), strconv.Itoa(points), points <= changes, how},
		s.valid(status),
	}, nil
}

// idle is T3 and T4: a thousand repositories in which nothing happens, followed by an App whose token changes every hour.
func idle(ctx context.Context, o options) ([]result, error) {
	s, err := begin(ctx, setting{options: o, factor: o.factor, interval: interval, repositories: o.fleet, check: 20, app: true, flags: []string{"-etag", "derived"}})
	if err != nil {
		return nil, err
	}
	defer s.end()
	if err := s.wait(s.clock.real(o.idle)); err != nil {
		return nil, err
	}
	all, err := s.logged(time.Time{})
	if err != nil {
		return nil, err
	}
	points := 0
	for _, r := range all {
		if r.repository != "" && !r.free() {
			points++
		}
	}
	status, err := s.status(false)
	if err != nil {
		return nil, err
	}
	how := fmt.Sprintf("%d repositories, %s, a token an hour; factor %g; %d requests", o.fleet, o.idle, o.factor, len(all))
	load, err := s.load("all the time", time.Time{}, how)
	return append(load,
		result{"T3 points from the first start", fmt.Sprintf("<= %d", o.fleet), strconv.Itoa(points), points <= o.fleet, how},
		result{"T4 requests at once", "<= 8", strconv.Itoa(status.Load.Concurrent), status.Load.Concurrent <= 8, how},
		s.valid(status)), err
}

// delay is T7: how long after it happened something is told, without and with a webhook.
func delay(ctx context.Context, o options) ([]result, error) {
	const repositories, changes = 300, 1000
	s, err := begin(ctx, setting{options: o, factor: delayFactor, interval: time.Minute, repositories: repositories, check: 1})
	if err != nil {
		return nil, err
	}
	defer s.end()
	plan := githubtest.Plan{Seed: o.seed, Changes: changes, Over: 40 * time.Minute, Gap: 2 * time.Second}
	v, status, err := s.play(plan, githubtest.Behaviour{}, nil, func() error { return nil })
	if err != nil {
		return nil, err
	}
	how := fmt.Sprintf("%d repositories every %s, %d changes; factor %d; %s", repositories, s.interval, changes, delayFactor, s.said(v))
	p50, p99 := percentile(v.Delays, 0.5), percentile(v.Delays, 0.99)
	results, err := s.load("busy", time.Time{}, how)
	if err != nil {
		return nil, err
	}
	results = append(results,
		result{"T7 median delay", "<= 35 s", p50.Round(100 * time.Millisecond).String(), p50 > 0 && p50 <= 35*time.Second, how},
		result{"T7 99th percentile", "<= 1m5s", p99.Round(100 * time.Millisecond).String(), p99 > 0 && p99 <= 65*time.Second, how},
		result{"T4 requests at once, busy", "<= 8", strconv.Itoa(status.Load.Concurrent), status.Load.Concurrent <= 8, how},
		s.valid(status))
	hinted, err := s.hints()
	if err != nil {
		return results, err
	}
	p99 = percentile(hinted, 0.99)
	return append(results, result{"T7 99th percentile with a webhook", "<= 2 s", p99.Round(time.Millisecond).String(), p99 <= 2*time.Second && len(hinted) == repositories,
		fmt.Sprintf("%d of %d labels told; in real time", len(hinted), repositories)}), nil
}

// hints sends webhooks to the plugin, and takes how long each change needs to be told.
func (s *session) hints() ([]time.Duration, error) {
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
	return s.hinted()
}

// hinted puts a label on a pull request of each repository, one after another, and takes how long each needs to be told.
func (s *session) hinted() ([]time.Duration, error) {
	var all []time.Duration
	for _, repository := range s.hub.Repositories {
		s.plugin.mu.Lock()
		known := len(s.plugin.told)
		s.plugin.mu.Unlock()
		begin := time.Now()
		if err := s.post("/apply", githubtest.Change{Repository: repository, Do: githubtest.Label, Number: 1, Label: "hinted"}, nil); err != nil {
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

// busy is how many repositories something happened in within the last hour.
const busy = 20

// restart is T8, and T4 where it is hardest: a thousand repositories after a start, after a crash with what was read before on
// disk, and after a limit.
func restart(ctx context.Context, o options) ([]result, error) {
	s, err := begin(ctx, setting{options: o, factor: restartFactor, interval: interval, repositories: o.fleet, check: 20, app: true, flags: []string{"-etag", "derived"}})
	if err != nil {
		return nil, err
	}
	defer s.end()
	where := fmt.Sprintf("%d repositories; factor %d", o.fleet, restartFactor)
	all, err := s.load("from the first start", time.Time{}, where)
	if err != nil {
		return nil, err
	}
	for _, repository := range s.hub.Repositories[:min(busy, o.fleet)] {
		if err := s.post("/apply", githubtest.Change{Repository: repository, Do: githubtest.Label, Number: 1, Label: "hot"}, nil); err != nil {
			return all, err
		}
	}
	if err := s.quiet(); err != nil {
		return all, err
	}
	crashed := time.Now()
	var first, hot, last []time.Duration
	whole := 0
	for range o.runs {
		c, err := s.crash()
		if err != nil {
			return all, err
		}
		first, hot, last, whole = append(first, c.first), append(hot, c.hot), append(last, c.last), whole+c.whole
	}
	say := func(all []time.Duration, to time.Duration) (value, how string) {
		return median(all).Round(to).String(), fmt.Sprintf("%s, answers on disk; median of %d, %s to %s", where, len(all), percentile(all, 0).Round(to), percentile(all, 1).Round(to))
	}
	value, how := say(first, time.Millisecond)
	all = append(all, result{"T8 restart to the first look", "<= 2 s", value, median(first) <= 2*time.Second, how + ", in real time"})
	value, how = say(hot, 100*time.Millisecond)
	all = append(all, result{fmt.Sprintf("T8 restart to the last of %d hot ones", busy), "<= 15 s", value, median(hot) <= 15*time.Second, how})
	value, how = say(last, time.Second)
	all = append(all, result{"T8 restart to the last of all", "<= 2m0s", value, median(last) <= 2*time.Minute, how},
		result{"T8 answers read anew", "0", strconv.Itoa(whole), whole == 0, fmt.Sprintf("%s, answers on disk; in %d restarts", where, o.runs)})
	load, err := s.load("around crashes", crashed.Add(-s.clock.real(time.Minute)), where)
	if all = append(all, load...); err != nil {
		return all, err
	}
	status, err := s.status(false)
	if err != nil {
		return all, err
	}
	all = append(all, result{"T4 requests at once, after a crash", "<= 8", strconv.Itoa(status.Load.Concurrent), status.Load.Concurrent <= 8, where}, s.valid(status))
	load, err = s.pause(where)
	return append(all, load...), err
}

// A crash is how long after one things were looked at again: the first in real time, the others on the stand-in's clock.
type crash struct {
	first, hot, last time.Duration
	whole            int // answers that were not 304
}

func (s *session) crash() (c crash, err error) {
	if err := s.plugin.kill(); err != nil {
		return c, err
	}
	begin := time.Now()
	if err := s.plugin.start(); err != nil {
		return c, err
	}
	if _, err := s.looks(begin, func(by map[string]int, _ int) bool { return len(by) == len(s.hub.Repositories) }); err != nil {
		return c, err
	}
	requests, err := s.logged(begin)
	seen := map[string]bool{}
	for _, r := range requests {
		if r.repository != "" && !r.free() {
			c.whole++
		}
		if !r.look {
			continue
		}
		if c.first == 0 {
			c.first = r.at.Sub(begin)
		}
		if !seen[r.repository] {
			seen[r.repository] = true
			c.last = c.first + time.Duration(float64(r.at.Sub(begin)-c.first)*s.factor)
			if slices.Contains(s.hub.Repositories[:min(busy, len(s.hub.Repositories))], r.repository) {
				c.hot = c.last
			}
		}
	}
	return c, err
}

// pause lets GitHub ask for a pause of two minutes, after which everything is overdue.
func (s *session) pause(where string) ([]result, error) {
	length := s.clock.real(2 * time.Minute)
	since := time.Now()
	if err := s.post("/faults", githubtest.SecondaryLimit(http.StatusTooManyRequests, int(length.Seconds())), nil); err != nil {
		return nil, err
	}
	if err := s.wait(length + s.clock.real(4*time.Minute)); err != nil {
		return nil, err
	}
	all, err := s.logged(since)
	if err != nil {
		return nil, err
	}
	limited := slices.IndexFunc(all, func(r request) bool { return r.status == http.StatusTooManyRequests })
	if limited < 0 {
		return nil, errors.New("there was no limit")
	}
	at, during, after := all[limited].at, 0, 0
	for _, r := range all {
		switch since := r.at.Sub(at); {
		case since > length:
			after++
		case since > time.Second/2: // others were under way
			during++
		}
	}
	how := fmt.Sprintf("%s; 429 with a Retry-After of 2 minutes; %d requests in the next 4", where, after)
	load, err := s.load("after a pause", at.Add(length), how)
	return append(load, result{"T4 requests while GitHub asked for a pause", "0", strconv.Itoa(during), during == 0 && after > 0, how}), err
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ferry-chatops/ferry/internal/githubtest"
	"github.com/ferry-chatops/ferry/internal/githubtest/control"
)

// cycles are how often each list is read: the first time anew, of which the memory comes, and then as it was.
const cycles = 3

// A cost is what a process took of this machine.
type cost struct {
	look   time.Duration // of processors, for a look at a list that has not changed
	memory float64       // most, over what it had before its first look, in MB
}

// An arm is one way to read lists.
type arm struct {
	name, how string
	etag      githubtest.ETag
	ferry     bool
	flags     []string // of a peer
	disk      bool     // ferry keeps answers on one
}

var arms = []arm{
	{name: "go-github", how: "go-github v60, nothing cached"},
	{name: "httpcache", how: "go-github v60 over gregjones/httpcache, made to ask each time", flags: []string{"-httpcache"}},
	{name: "ferry", how: "the built plugin, ETags that cannot be computed", ferry: true},
	{name: "ferry, computable ETags", how: "the built plugin, no cacheDir", etag: githubtest.Derived, ferry: true},
	{name: "ferry, computable ETags, on disk", how: "the built plugin with a cacheDir", etag: githubtest.Derived, ferry: true, disk: true},
}

// costs is T5 and T6: what it takes to look at lists of which none changes, each way in a process of its own.
func costs(ctx context.Context, o options) ([]result, error) {
	byArm := map[string][]cost{}
	var ratios []float64
	for run := range o.runs {
		round, err := compare(ctx, o, o.seed+uint64(run))
		if err != nil {
			return nil, err
		}
		for name, c := range round {
			byArm[name] = append(byArm[name], c)
		}
		ratios = append(ratios, float64(round["ferry"].look)/float64(round["httpcache"].look))
	}
	spread := func(name string, of func(cost) float64) (float64, string) {
		var all []float64
		for _, c := range byArm[name] {
			all = append(all, of(c))
		}
		return median(all), fmt.Sprintf("median of %d, %.1f to %.1f", len(all), percentile(all, 0), percentile(all, 1))
	}
	where := fmt.Sprintf("; %d repositories with 10 pull requests each; factor %g for ferry", o.fleet, o.factor)
	var all []result
	for _, a := range arms {
		look, how := spread(a.name, func(c cost) float64 { return float64(c.look) / float64(time.Microsecond) })
		r := result{name: "T5 processor's time for an unchanged look, " + a.name, value: fmt.Sprintf("%.0f µs", look), how: a.how + "; " + how + where}
		if a.ferry {
			r.target, r.met = "<= 150 µs", look <= 150
		}
		all = append(all, r)
	}
	ratio := median(ratios)
	all = append(all, result{"T5 ferry's share of httpcache's", "<= 0.25", fmt.Sprintf("%.3f", ratio), ratio <= 0.25,
		fmt.Sprintf("in the same run; median of %d, %.3f to %.3f", len(ratios), percentile(ratios, 0), percentile(ratios, 1))})
	where = fmt.Sprintf("; VmHWM after %d looks at each list, less VmRSS before", cycles)
	for _, a := range arms {
		memory, how := spread(a.name, func(c cost) float64 { return c.memory })
		r := result{name: "T6 memory over idle, " + a.name, value: fmt.Sprintf("%.1f MB", memory), how: a.how + "; " + how + where}
		if a.ferry {
			r.target, r.met = "<= 25 MB", memory <= 25
		}
		all = append(all, r)
	}
	return all, nil
}

// compare takes each arm once.
func compare(ctx context.Context, o options, seed uint64) (map[string]cost, error) {
	o.seed = seed
	s, err := open(ctx, setting{options: o, factor: o.factor, interval: 30 * time.Second, repositories: o.fleet})
	if err != nil {
		return nil, err
	}
	defer s.end()
	all := map[string]cost{}
	for i, a := range arms {
		if err := s.post("/behaviour", githubtest.Behaviour{ETag: a.etag}, nil); err != nil {
			return nil, err
		}
		take := s.peer
		if a.ferry {
			take = s.ferry
		}
		c, err := take(a, filepath.Join(s.dir, strconv.Itoa(i)))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.name, err)
		}
		all[a.name] = c
	}
	return all, nil
}

// peer takes the cost of another program.
func (s *session) peer(a arm, _ string) (c cost, err error) {
	cmd := exec.CommandContext(s.ctx, s.peers(), a.flags...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return c, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return c, err
	}
	if err := cmd.Start(); err != nil {
		return c, err
	}
	defer func() {
		_ = in.Close() // by which it ends
		err = errors.Join(err, cmd.Wait())
	}()
	lines := bufio.NewReader(out)
	ready, err := lines.ReadString('\n')
	if err != nil {
		return c, fmt.Errorf("it said %q: %w", ready, err)
	}
	before, err := taken(cmd.Process.Pid)
	if err != nil {
		return c, err
	}
	if err := json.NewEncoder(in).Encode(control.Ready{API: s.hub.API, Token: s.hub.Token, Repositories: s.hub.Repositories}); err != nil {
		return c, err
	}
	var first, last took
	for i := range cycles {
		if _, err := io.WriteString(in, "again\n"); err != nil {
			return c, err
		}
		if _, err := lines.ReadString('\n'); err != nil {
			return c, err
		}
		if last, err = taken(cmd.Process.Pid); err != nil {
			return c, err
		}
		if i == 0 {
			first = last
		}
	}
	return cost{look: (last.processor - first.processor) / time.Duration((cycles-1)*len(s.hub.Repositories)), memory: last.most - before.now}, nil
}

// ferry takes the cost of the plugin.
func (s *session) ferry(a arm, dir string) (c cost, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return c, err
	}
	f := follow{dir: dir, factor: s.factor, interval: s.interval}
	if a.disk {
		f.cache = filepath.Join(dir, "cache")
	}
	if err := s.prepare(f); err != nil {
		return c, err
	}
	if err := s.plugin.run(); err != nil {
		return c, err
	}
	defer func() {
		err = errors.Join(err, s.plugin.kill())
		s.plugin = nil
	}()
	pid := s.plugin.cmd.Process.Pid
	before, err := taken(pid)
	if err != nil {
		return c, err
	}
	begin := time.Now()
	if err := s.plugin.open(); err != nil {
		return c, err
	}
	looks, err := s.looks(begin, func(byRepository map[string]int, _ int) bool {
		for _, name := range s.hub.Repositories {
			if byRepository[name] < cycles {
				return false
			}
		}
		return true
	})
	if err != nil {
		return c, fmt.Errorf("%d looks: %w", looks, err)
	}
	first, err := taken(pid)
	if err != nil {
		return c, err
	}
	c.memory = first.most - before.now
	since := time.Now()
	looks, err = s.looks(since, func(_ map[string]int, all int) bool { return all >= cycles*len(s.hub.Repositories) })
	if err != nil {
		return c, err
	}
	last, err := taken(pid)
	if err != nil {
		return c, err
	}
	requests, err := s.logged(since)
	for _, r := range requests {
		if !r.free() {
			return c, fmt.Errorf("something was read anew, where nothing changed: %+v", r)
		}
	}
	c.look = (last.processor - first.processor) / time.Duration(looks)
	return c, err
}

// looks waits until there were enough since a time, and counts them.
func (s *session) looks(since time.Time, enough func(byRepository map[string]int, all int) bool) (int, error) {
	for deadline := time.Now().Add(10 * time.Minute); time.Now().Before(deadline); {
		requests, err := s.logged(since)
		if err != nil {
			return 0, err
		}
		by, all := map[string]int{}, 0
		for _, r := range requests {
			if r.look {
				by[r.repository]++
				all++
			}
		}
		if enough(by, all) {
			return all, nil
		}
		if err := s.wait(200 * time.Millisecond); err != nil {
			return all, err
		}
	}
	return 0, errors.New("not all repositories are looked at")
}

// took is what a process took so far.
type took struct {
	processor time.Duration
	now, most float64 // resident memory in MB
}

// taken asks Linux, see proc(5).
func taken(pid int) (t took, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return t, err
	}
	_, after, _ := strings.Cut(string(stat), ") ") // the name before may hold spaces, and is ours
	fields := strings.Fields(after)
	if len(fields) < 13 {
		return t, fmt.Errorf("odd /proc/%d/stat", pid)
	}
	for _, ticks := range fields[11:13] { // utime and stime
		n, err := strconv.Atoi(ticks)
		if err != nil {
			return t, err
		}
		t.processor += time.Duration(n) * time.Second / 100
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return t, err
	}
	for name, into := range map[string]*float64{"VmRSS:": &t.now, "VmHWM:": &t.most} {
		_, after, _ := strings.Cut(string(status), name)
		if _, err := fmt.Sscan(after, into); err != nil {
			return t, fmt.Errorf("read %s of process %d: %w", name, pid, err)
		}
		*into /= 1024
	}
	return t, nil
}

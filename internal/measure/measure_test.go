package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ferry-chatops/ferry/internal/githubtest"
)

// build builds programs of this repository, the stand-in and the plugin always.
func build(t *testing.T, o options) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes a minute")
	}
	for _, program := range []struct{ file, module, folder string }{
		{o.hub(), "../..", "./internal/githubtest/hub"}, {o.source(), "../..", "./cmd/source/ferry"}, {o.peers(), "peers", "."},
	} {
		build := exec.Command("go", "build", "-trimpath", "-o", program.file, program.folder)
		build.Dir = program.module
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v: %s", program.folder, err, out)
		}
	}
}

// troubled is a session whose repositories can be told apart by what is wrong with them.
type troubled struct {
	*testing.T
	*session
}

// until waits for something that another process does.
func (s troubled) until(what string, done func(told, other string) bool) {
	s.Helper()
	var told, other string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		s.plugin.mu.Lock()
		var keys []string
		for _, t := range s.plugin.told {
			keys = append(keys, t.Key)
		}
		told, other = strings.Join(keys, "\n"), strings.Join(s.plugin.other, "\n")
		s.plugin.mu.Unlock()
		if done(told, other) {
			return
		}
		if err := s.wait(20 * time.Millisecond); err != nil {
			break
		}
	}
	s.Fatalf("not within a minute: %s; told:\n%s\n%s", what, told, other)
}

// do steers the stand-in.
func (s troubled) do(path string, in any) {
	s.Helper()
	if err := s.post(path, in, nil); err != nil {
		s.Fatal(err)
	}
}

// news makes something happen in a repository that has to be told once, by a message with a text.
func (s troubled) news(c githubtest.Change, text string) {
	s.Helper()
	s.do("/apply", c)
	s.until(fmt.Sprintf("%s of %s", text, c.Repository), func(told, _ string) bool { return strings.Contains(told, text) })
	s.plugin.mu.Lock()
	defer s.plugin.mu.Unlock()
	if len(s.plugin.told) != 1 {
		s.Errorf("told %v", s.plugin.told)
	}
	s.plugin.told = nil
}

// problem waits for a message about a trouble of a repository, empty for several.
func (s troubled) problem(kind, trouble, repository string) {
	s.Helper()
	key := fmt.Sprintf(`"Key":"%s:%s:%s"`, repository, kind, trouble)
	s.until(key, func(_, other string) bool { return strings.Contains(other, key) })
	s.plugin.mu.Lock()
	defer s.plugin.mu.Unlock()
	if all := strings.Join(s.plugin.other, "\n"); strings.Count(all, key) != 1 || strings.Contains(all, s.hub.Token) {
		s.Errorf("told %s", all)
	}
	s.plugin.other = nil
}

// again kills the plugin, does something to its state, and starts it.
func (s troubled) again(dir string, between func(state string) error) {
	s.Helper()
	if err := s.plugin.kill(); err != nil {
		s.Fatal(err)
	}
	if err := between(filepath.Join(dir, "state")); err != nil {
		s.Fatal(err)
	}
	if err := s.plugin.start(); err != nil {
		s.Fatal(err)
	}
}

// testTroubles is what can be wrong at GitHub, in the configuration, and on disk.
func testTroubles(t *testing.T, o options) {
	one, err := open(t.Context(), setting{options: o, factor: 60, interval: interval, repositories: 6, check: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(one.end)
	s, dir := troubled{t, one}, one.dir
	if err := s.prepare(follow{dir: dir, factor: 60, interval: interval, paths: "glob:apps/**", more: `- {name: not a name}
- {name: acme/other, on: {pullRequests: [{types: [opend]}, {base: ["("]}, {notificationTemplate: {previewTpl: "{{ .Titel }}"}}]}}
`}); err != nil {
		t.Fatal(err)
	}
	if err := s.plugin.start(); err != nil {
		t.Fatal(err)
	}
	s.until("all faults of the configuration", func(_, other string) bool {
		for _, path := range []string{"repositories[6].name", "repositories[7].on.pullRequests[0].types[0]", "repositories[7].on.pullRequests[1].base[0]",
			"repositories[7].on.pullRequests[2].notificationTemplate.previewTpl"} {
			if !strings.Contains(other, path) {
				return false
			}
		}
		return true
	})
	s.plugin.other = nil
	if err := s.quiet(); err != nil {
		t.Fatal(err)
	}
	repository := func(i int) string { return s.hub.Repositories[i] }
	label := func(i int, label string) githubtest.Change {
		return githubtest.Change{Repository: repository(i), Do: githubtest.Label, Number: 1, Label: label}
	}
	s.news(label(0, "first"), "1000#1:labelled:")

	for status, trouble := range map[int]string{404: "gone", 403: "forbidden", 451: "forbidden"} { // 404 is a private one, too
		s.do("/hide", map[string]any{"Repository": repository(0), "Status": status})
		s.problem("problem", trouble, repository(0))
		s.news(label(1, fmt.Sprint("meanwhile ", status)), "1001#1:labelled:")
		s.do("/hide", map[string]any{"Repository": repository(0)})
		s.problem("solved", trouble, repository(0))
	}

	s.do("/rename", map[string]any{"Repository": repository(1), "Name": "moved"})
	moved := label(1, "moved")
	moved.Repository = "acme/moved"
	s.news(moved, "1001#1:labelled:")

	// Eleven, since each has ten from the start.
	s.news(githubtest.Change{Repository: repository(2), Do: githubtest.Open, Author: "mallory", Fork: true, Files: []githubtest.File{{Name: "docs/a", Previous: "apps/a"}}}, "1002#11:opened:")
	s.do("/apply", githubtest.Change{Repository: repository(2), Do: githubtest.DeleteFork, Number: 11})
	s.news(githubtest.Change{Repository: repository(2), Do: githubtest.Label, Number: 11, Label: "orphan"}, "1002#11:labelled:")

	many := make([]githubtest.File, 3500)
	for i := range many {
		many[i].Name = fmt.Sprintf("docs/%d", i)
	}
	s.do("/apply", githubtest.Change{Repository: repository(3), Do: githubtest.Open, Files: many[:2999]}) // none of its files is meant
	s.news(githubtest.Change{Repository: repository(3), Do: githubtest.Open, Files: many}, "1003#12:opened:")
	many[2998].Name = "apps/last"
	s.news(githubtest.Change{Repository: repository(3), Do: githubtest.Open, Files: many[:2999]}, "1003#13:opened:")

	for _, skew := range []time.Duration{48 * time.Hour, -48 * time.Hour} {
		s.do("/behaviour", githubtest.Behaviour{Skew: skew})
		s.news(label(4, skew.String()), "1004#1:labelled:")
	}
	s.do("/behaviour", githubtest.Behaviour{})

	s.do("/revoke", map[string]any{"Login": "ferry-bot"})
	s.problem("problem", "unauthorised", "")
	s.do("/tokens", map[string]any{"Secret": s.hub.Token, "Login": "ferry-bot"})
	s.problem("solved", "unauthorised", "")

	s.again(dir, func(state string) error {
		return filepath.WalkDir(state, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasPrefix(d.Name(), "shard-") {
				return err
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			raw[len(raw)/2] ^= 1
			return os.WriteFile(path, raw, 0o600)
		})
	})
	s.problem("problem", "lost", "")
	if err := s.quiet(); err != nil {
		t.Fatal(err)
	}
	s.news(label(5, "after it was corrupt"), "1005#1:labelled:")

	s.again(dir, os.RemoveAll)
	if err := s.quiet(); err != nil {
		t.Fatal(err)
	}
	s.news(label(5, "after it was deleted"), "1005#1:labelled:")

	s.again(dir, func(state string) error { return errors.Join(os.RemoveAll(state), os.WriteFile(state, nil, 0o400)) })
	s.until("that state cannot be kept", func(_, other string) bool { return strings.Contains(other, "ferry cannot keep what it saw") })
	s.do("/apply", label(5, "while it cannot be written"))
	s.again(dir, os.Remove)
	if err := s.quiet(); err != nil {
		t.Fatal(err)
	}
	s.news(label(5, "after it could not be written"), "1005#1:labelled:")
}

// TestTrials are short versions of what `make measure` does, over programs that are built for it.
func TestTrials(t *testing.T) {
	o := options{bin: t.TempDir(), seed: 1, changes: 1000, kills: 10, repositories: 20, fleet: 30, runs: 1, factor: 60, idle: 10 * time.Minute}
	build(t, o)
	t.Run("kills", func(t *testing.T) {
		results, err := kills(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if !r.met {
				t.Errorf("%s: %s, want %s (%s)", r.name, r.value, r.target, r.how)
			}
		}
		if len(results) < 3 || !strings.Contains(results[0].how, " 10 kills") || strings.Contains(results[0].how, " 0 told") {
			t.Errorf("results %+v", results)
		}
	})
	t.Run("troubles", func(t *testing.T) { testTroubles(t, o) })
	t.Run("costs", func(t *testing.T) {
		results, err := costs(t.Context(), o) // of a few looks, which are not held to targets
		if err != nil || len(results) != 2*len(arms)+1 {
			t.Fatalf("%+v, %v", results, err)
		}
		for _, r := range results {
			if strings.HasPrefix(r.value, "0") && r.name != "T5 ferry's share of httpcache's" || strings.HasPrefix(r.value, "-") {
				t.Errorf("%+v", r)
			}
		}
	})
}

func TestFlags(t *testing.T) {
	o, only, err := parse([]string{"-full", "-seed", "7"})
	if err != nil || o.kills != 200 || o.changes != 100_000 || o.idle != 24*time.Hour || o.seed != 7 || len(only) != len(trials) {
		t.Errorf("%+v %v %v", o, only, err)
	}
	if _, only, err := parse([]string{"-only", "idle,kills"}); err != nil || !slices.Equal(only, []string{"idle", "kills"}) {
		t.Errorf("%v %v", only, err)
	}
	for _, args := range [][]string{{"-only", "nothing"}, {"-factor", "0"}, {"-runs", "0"}, {"argument"}} {
		if _, _, err := parse(args); err == nil {
			t.Errorf("%v were taken", args)
		}
	}
}

// What was measured is printed though something else failed, and what was missed is named.
func TestTable(t *testing.T) {
	was := trials
	t.Cleanup(func() { trials = was })
	ctx, stop := context.WithCancel(t.Context())
	trials = trials[:0:0]
	for name, trial := range map[string]func(context.Context, options) ([]result, error){
		"one": func(context.Context, options) ([]result, error) {
			return []result{{"T91 good", "<= 2", "1", true, "quickly"}, {"T92 bad", "<= 2", "3", false, "slowly"}, {name: "T93 beside", value: "4"}}, nil
		},
		"two": func(context.Context, options) ([]result, error) { return nil, io.ErrUnexpectedEOF },
		"three": func(context.Context, options) ([]result, error) {
			stop()
			return []result{{"T94 half", "0", "0", true, ""}}, ctx.Err()
		},
		"four": func(context.Context, options) ([]result, error) { t.Error("it goes on"); return nil, nil },
	} {
		trials = append(trials, struct {
			name  string
			trial func(context.Context, options) ([]result, error)
		}{name, trial})
	}
	order := []string{"one", "two", "three", "four"}
	slices.SortFunc(trials, func(a, b struct {
		name  string
		trial func(context.Context, options) ([]result, error)
	}) int {
		return slices.Index(order, a.name) - slices.Index(order, b.name)
	})
	var out strings.Builder
	err := run(ctx, options{seed: 5}, order, &out)
	if err == nil || !strings.Contains(err.Error(), "missed: T92 bad") || strings.Contains(err.Error(), "T93") || !strings.Contains(err.Error(), "trial two: unexpected EOF") {
		t.Errorf("error %v", err)
	}
	_, table, _ := strings.Cut(out.String(), "measure")
	for _, want := range []string{"T91 good", "MISSED", "T93 beside", "T94 half"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
	if !strings.Contains(out.String(), "seed 5") {
		t.Error(out.String())
	}
}

func TestRequests(t *testing.T) {
	for line, want := range map[string]request{
		"2026-11-20T10:00:00.5Z ferry-bot GET /api/v3/repos/acme/one/pulls?per_page=10 304 0 bytes in 1ms": {repository: "acme/one", look: true, status: 304},
		"2026-11-20T10:00:00.5Z - GET /api/v3/repos/acme/one/pulls?page=2&per_page=10 200 9 bytes in 1ms":  {repository: "acme/one", status: 200},
		"2026-11-20T10:00:00.5Z - GET /api/v3/repositories/1000/pulls?page=2 200 9 bytes in 1ms":           {status: 200},
		"2026-11-20T10:00:00.5Z - POST /api/v3/app/installations/10/access_tokens 201 9 bytes in 1ms":      {status: 201},
	} {
		got, ok := parseRequest(line)
		want.at = time.Date(2026, 11, 20, 10, 0, 0, 5e8, time.UTC)
		if !ok || got != want {
			t.Errorf("%s is %+v", line, got)
		}
	}
	for _, line := range []string{"", "a b c d e", "2026-11-20T10:00:00Z a GET / x"} {
		if got, ok := parseRequest(line); ok {
			t.Errorf("%q is %+v", line, got)
		}
	}
}

func TestPeak(t *testing.T) {
	at := func(seconds ...int) (all []request) {
		for _, s := range seconds {
			all = append(all, request{at: time.Unix(int64(s), 0)})
		}
		return all
	}
	for _, c := range []struct {
		all  []request
		want int
	}{{nil, 0}, {at(1), 1}, {at(0, 59, 60), 2}, {at(0, 1, 59, 61, 62, 63), 4}, {at(0, 60, 120), 1}} {
		if got := peak(c.all, time.Minute); got != c.want {
			t.Errorf("%v: %d", c.all, got)
		}
	}
}

func TestNoPrograms(t *testing.T) {
	if err := run(t.Context(), options{bin: filepath.Join(t.TempDir(), "none"), factor: 1, repositories: 1}, []string{"noise"}, io.Discard); err == nil {
		t.Error("nothing was measured")
	}
}

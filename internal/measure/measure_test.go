package main

import (
	"context"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
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

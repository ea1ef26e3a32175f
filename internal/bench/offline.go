package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ferry-chatops/ferry/internal/bench/tree"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/manifest"
	"github.com/ferry-chatops/ferry/internal/operation"
)

const (
	seed      = 1
	fields    = 250 // planned, drawn from all roots
	processes = 40  // of them by a process of their own: each builds from nothing
)

// A question is a plan of one field.
type question struct {
	root string
	gitops.Promote
}

// locate measures where and plan on a made-up repository: cold with the terminal program, a process for each question;
// warm with what it calls.
func locate(ctx context.Context, t table) error {
	files := tree.Make(seed)
	dir, err := os.MkdirTemp("", "ferry-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, files); err != nil {
		return err
	}
	what := fmt.Sprintf("tree of seed %d", seed)
	peak := int64(0)
	ferry := func(args ...string) (time.Duration, error) {
		cmd := exec.CommandContext(ctx, filepath.Join(bin, "ferry"), append(args, "--tree", dir, "-o", "json")...)
		var out, failure bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &failure
		begin := time.Now()
		err := cmd.Run()
		took := time.Since(begin)
		if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			peak = max(peak, usage.Maxrss)
		}
		if err != nil {
			return 0, fmt.Errorf("ferry %s: %w: %s%s", strings.Join(args, " "), err, &failure, &out)
		}
		return took, nil
	}

	var cold []time.Duration
	for root := range tree.Roots {
		took, err := ferry("where", "--path", tree.Dir(root))
		if err != nil {
			return err
		}
		cold = append(cold, took)
	}
	t.times("where/cold", cold, "all applications of a root, a process each; "+what)

	begin := time.Now()
	repository := operation.Open(files)
	roots, everywhere, err := repository.Everywhere(ctx, "")
	if err != nil {
		return err
	}
	took := time.Since(begin)
	var all []question
	for i, places := range everywhere {
		if len(places.Problems) > 0 {
			return fmt.Errorf("%s: %s", roots[i], places.Problems[0])
		}
		for _, p := range places.Places {
			all = append(all, question{roots[i], gitops.Promote{Version: another(p.Value), Change: gitops.Change{
				Application: p.Owner.Kind + "/" + p.Owner.String(), Environment: roots[i], Field: p.File + ":" + p.Path, Shared: true}}})
		}
	}
	t.row("where/tree", fmt.Sprintf("%.1f", took.Seconds()), "s",
		fmt.Sprintf("what each of %d fields of all %d roots feeds, from nothing", len(all), tree.Roots))

	random := rand.New(rand.NewPCG(seed, 0))
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	all = all[:min(fields, len(all))]
	var again []time.Duration
	for _, q := range all {
		begin := time.Now()
		if _, err := repository.Plan(ctx, q.root, q.Promote); err != nil {
			return fmt.Errorf("plan %s: %w", q.Field, err)
		}
		again = append(again, time.Since(begin))
	}
	t.times("plan/again", again, fmt.Sprintf("fields drawn from all roots, shared ones too; p95 %.0f ms", p95(again)))
	cold = nil
	for _, q := range all[:min(processes, len(all))] {
		took, err := ferry("plan", q.Application+"@"+q.Version, "to", "bench", "--path", q.root, "--field", q.Field, "--shared")
		if err != nil {
			return err
		}
		cold = append(cold, took)
	}
	t.times("plan/cold", cold, fmt.Sprintf("the first of them, a process each; p95 %.0f ms", p95(cold)))
	t.row("where/memory", fmt.Sprintf("%.0f", float64(peak)/1e3), "MB", "the most that one of these processes had")
	return splice(t)
}

// p95 is in milliseconds.
func p95(all []time.Duration) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return float64(sorted[len(sorted)*95/100].Microseconds()) / 1000
}

// another is a version of the same shape.
func another(value string) string {
	const hex = "5f1390bc43fe5f1390bc43fe5f1390bc43fe5f1390bc43fe5f1390bc43fe5f13"
	switch {
	case strings.HasPrefix(value, "sha256:"):
		return "sha256:" + hex
	case strings.Contains(value, "@"):
		return "99.0.1@sha256:" + hex
	default:
		return "99.0.1"
	}
}

// splice measures the edit of one scalar of a large file that is parsed already, proof included.
func splice(t table) error {
	const size = 1 << 20
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: map-%05d\ndata:\n  version: \"1.2.%d\" # of this one\n  text: some more words that are only there to fill the file\n", i, i)
	}
	data := []byte(b.String())
	f, err := manifest.Parse(data)
	if err != nil {
		return err
	}
	var scalars []manifest.Scalar
	f.Scalars(func(s manifest.Scalar) bool {
		if strings.HasSuffix(s.Path, "data.version") {
			scalars = append(scalars, s)
		}
		return true
	})
	var took []time.Duration
	for i := range runs {
		s := scalars[i*(len(scalars)-1)/(runs-1)]
		begin := time.Now()
		if _, err := f.Replace(s, "99.0.1"); err != nil {
			return err
		}
		took = append(took, time.Since(begin))
	}
	t.times("splice", took, "one scalar of a file of 1 MiB, proved")
	return nil
}

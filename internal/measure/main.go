// Command measure holds the built source plugin to what is promised of it: it runs it against the GitHub stand-in, a process of
// its own with a faster clock, and prints a table of targets and results. `make measure` runs it.
//
// All times of the source, and those of the stand-in, are divided by a factor, by configuration; the table says which.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// trials are in the order in which they run.
var trials = []struct {
	name  string
	trial func(context.Context, options) ([]result, error)
}{{"costs", costs}, {"restart", restart}, {"delay", delay}, {"noise", noise}, {"etags", etags}, {"kills", kills}, {"idle", idle}}

func main() {
	log.SetFlags(log.Ltime)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	o, only, err := parse(os.Args[1:])
	if err == nil {
		err = run(ctx, o, only, os.Stdout)
	}
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		log.Fatalf("measure: %v", err)
	}
}

// options are the flags.
type options struct {
	bin                                       string
	seed                                      uint64
	changes, kills, repositories, fleet, runs int
	factor                                    float64
	idle                                      time.Duration
}

// parse reads the flags, and which trials to run.
func parse(args []string) (options, []string, error) {
	var o options
	var all []string
	for _, t := range trials {
		all = append(all, t.name)
	}
	flags := flag.NewFlagSet("measure", flag.ContinueOnError)
	only := flags.String("only", strings.Join(all, ","), "which trials, with commas between")
	full := flags.Bool("full", false, "at full length: 100,000 changes with 200 kills, and a day without changes; 50 minutes more")
	flags.StringVar(&o.bin, "bin", "bin", "where the built programs are")
	flags.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of scripts and chance")
	flags.IntVar(&o.changes, "changes", 10_000, "of the trial kills")
	flags.IntVar(&o.kills, "kills", 20, "of the trial kills")
	flags.IntVar(&o.repositories, "repositories", 100, "of the trials kills, etags and noise")
	flags.IntVar(&o.fleet, "fleet", 1000, "repositories of the trials costs, restart and idle")
	flags.IntVar(&o.runs, "runs", 5, "of the trials costs and restart, of which the median counts")
	flags.Float64Var(&o.factor, "factor", 60, "of all trials but delay, whose is 10, and restart, whose is 5")
	flags.DurationVar(&o.idle, "idle", 2*time.Hour, "how long the trial idle takes on the stand-in's clock")
	if err := flags.Parse(args); err != nil {
		return o, nil, err
	}
	if *full {
		o.changes, o.kills, o.idle = 100_000, 200, 24*time.Hour
	}
	names := strings.Split(*only, ",")
	for _, name := range names {
		if !slices.Contains(all, name) {
			return o, nil, fmt.Errorf("there is no trial %q, but %s", name, strings.Join(all, ", "))
		}
	}
	if o.factor <= 0 || o.runs < 1 || o.repositories < 1 || o.fleet < 1 || o.changes < 1 || o.kills < 0 || flags.NArg() > 0 {
		return o, nil, errors.New("a number is out of range, or an argument is no flag")
	}
	return o, names, nil
}

// hub is the stand-in's program, which the Makefile builds.
func (o options) hub() string { return filepath.Join(o.bin, "hub") }

// peers is the program that ferry is held against.
func (o options) peers() string { return filepath.Join(o.bin, "peers") }

// source is the plugin.
func (o options) source() string {
	return filepath.Join(o.bin, fmt.Sprintf("source_ferry_%s_%s", runtime.GOOS, runtime.GOARCH))
}

// A result is one line of the table. Without a target it is there to compare with.
type result struct {
	name, target, value string
	met                 bool
	how                 string
}

func (r result) verdict() string {
	switch {
	case r.target == "":
		return ""
	case r.met:
		return "met"
	}
	return "MISSED"
}

// run prints the results of each trial as they come, and all of them in a table at the end, an early one too. The error
// names what was missed.
func run(ctx context.Context, o options, only []string, out io.Writer) error {
	var all []result
	var failed error
	missed := map[string]bool{}
	for _, t := range trials {
		if !slices.Contains(only, t.name) || ctx.Err() != nil {
			continue
		}
		log.Printf("trial %s, seed %d", t.name, o.seed)
		begin := time.Now()
		results, err := t.trial(ctx, o)
		for _, r := range results {
			fmt.Fprintf(out, "%s: %s (%s) %s\n", r.name, r.value, cmp.Or(r.target, "no target"), r.verdict())
			if all = append(all, r); r.verdict() == "MISSED" {
				missed[r.name] = true
			}
		}
		log.Printf("trial %s took %s", t.name, time.Since(begin).Round(time.Second))
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("trial %s: %w", t.name, err))
		}
	}
	fmt.Fprintf(out, "\nseed %d, on %d processors\n", o.seed, runtime.NumCPU())
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "measure\ttarget\tresult\t\thow")
	for _, r := range all {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", r.name, r.target, r.value, r.verdict(), r.how)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(missed) > 0 {
		failed = errors.Join(failed, fmt.Errorf("missed: %s", strings.Join(slices.Sorted(maps.Keys(missed)), "; ")))
	}
	return failed
}

// percentile is that of durations or numbers, 0 to 1.
func percentile[T cmp.Ordered](all []T, p float64) T {
	var none T
	if len(all) == 0 {
		return none
	}
	all = slices.Sorted(slices.Values(all))
	return all[min(int(p*float64(len(all))), len(all)-1)]
}

func median[T cmp.Ordered](all []T) T { return percentile(all, 0.5) }

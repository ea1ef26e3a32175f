// Command measure holds the built source plugin to what is promised of it: it runs it against the GitHub stand-in, a process of
// its own with a faster clock, and prints a table of targets and results. `make measure` runs it.
//
// All times of the source, and those of the stand-in, are divided by one factor; the table says which.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
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

func main() {
	log.SetFlags(log.Ltime)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	o := options{}
	only := flag.String("only", "kills,etags,noise,idle,delay,restart", "which trials, with commas between")
	flag.StringVar(&o.bin, "bin", "bin", "where the built plugin and the stand-in are")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of scripts and chance")
	flag.IntVar(&o.changes, "changes", 100_000, "of the trial kills")
	flag.IntVar(&o.kills, "kills", 200, "of the trial kills")
	flag.IntVar(&o.repositories, "repositories", 100, "of the trial kills")
	flag.Float64Var(&o.factor, "factor", 60, "of the trials kills, etags, noise and idle")
	flag.DurationVar(&o.idle, "idle", 24*time.Hour, "how long the trial idle takes on the stand-in's clock")
	flag.Parse()
	err := run(ctx, o, strings.Split(*only, ","), os.Stdout)
	stop()
	if err != nil {
		log.Fatalf("measure: %v", err)
	}
}

// options are the flags.
type options struct {
	bin                          string
	seed                         uint64
	changes, kills, repositories int
	factor                       float64
	idle                         time.Duration
}

// hub is the stand-in's program, which the Makefile builds.
func (o options) hub() string { return filepath.Join(o.bin, "hub") }

// source is the plugin.
func (o options) source() string {
	return filepath.Join(o.bin, fmt.Sprintf("source_ferry_%s_%s", runtime.GOOS, runtime.GOARCH))
}

// A result is one line of the table.
type result struct {
	name, target, value string
	met                 bool
	how                 string
}

func run(ctx context.Context, o options, only []string, out io.Writer) error {
	trials := map[string]func(context.Context, options) ([]result, error){
		"kills": kills, "etags": etags, "noise": noise, "idle": idle, "delay": delay, "restart": restart,
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "measure\ttarget\tresult\t\thow")
	for _, name := range only {
		trial := trials[name]
		if trial == nil {
			return fmt.Errorf("there is no trial %q", name)
		}
		log.Printf("trial %s, seed %d", name, o.seed)
		results, err := trial(ctx, o)
		if err != nil {
			return fmt.Errorf("trial %s: %w", name, err)
		}
		for _, r := range results {
			verdict := map[bool]string{true: "met", false: "MISSED"}[r.met]
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s, seed %d\n", r.name, r.target, r.value, verdict, r.how, o.seed)
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// percentile is that of durations, 0 to 1.
func percentile(all []time.Duration, p float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(int(p*float64(len(all))), len(all)-1)]
}

// Package testenv runs real clusters as plain processes on the loopback interface: etcd, kube-apiserver,
// controller-manager, scheduler, kwok in place of a kubelet, and the controllers of Flux. Nothing is faked but the
// containers: pods become ready without running, except those whose image tag starts with "bad", which never do.
//
// The programs are built by `make testenv`; nothing here compiles. Each run has a directory and a record of its own, and
// begins by ending what a killed run left.
package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	crlog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/ferry-chatops/ferry/internal/testenv/tools"
)

// startTimeout is long for a busy machine: two clusters with Flux are ready after about 8 seconds on two idle cores.
const startTimeout = 3 * time.Minute

// Options say what to run.
type Options struct {
	Clusters []string                         // their names, each also that of its kubeconfig context
	Flux     bool                             // with source-, kustomize- and helm-controller in every cluster
	Dir      string                           // where to create the run's directory; empty: below os.TempDir()
	Log      func(format string, args ...any) // progress, one line a call; nil: none
}

// Env is a running environment.
type Env struct {
	Dir      string // of the state and the logs, DIR/CLUSTER/PROGRAM.log; removed by Stop
	Clusters map[string]*Cluster

	tools     *tools.Set
	flux      bool
	log       func(format string, args ...any)
	record    *record
	launcher  launcher
	stopOnce  sync.Once
	mu        sync.Mutex
	stopping  bool
	processes []*process
}

// Start starts the clusters side by side and returns when all are ready. They run until Stop, until ctx ends, or until
// this process dies. The error of missing programs names the command that builds them.
func Start(ctx context.Context, o Options) (*Env, error) {
	set, err := tools.Find(ctx)
	if err != nil {
		return nil, err
	}
	return start(ctx, set, o)
}

func start(ctx context.Context, set *tools.Set, o Options) (*Env, error) {
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	records, err := recordsDir()
	if err != nil {
		return nil, err
	}
	if err := removeLeftovers(records, o.Log); err != nil {
		return nil, err
	}
	if o.Dir == "" {
		o.Dir = records
	}
	rec, err := newRun(records, o.Dir)
	if err != nil {
		return nil, err
	}
	e := &Env{
		Dir: rec.Dir, Clusters: map[string]*Cluster{}, tools: set, flux: o.Flux,
		log: o.Log, record: rec, launcher: newLauncher(),
	}
	context.AfterFunc(ctx, e.Stop)
	if err := e.startClusters(ctx, o.Clusters); err != nil {
		e.Stop()
		return nil, err
	}
	return e, nil
}

func (e *Env) startClusters(ctx context.Context, names []string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	begin := time.Now()
	clusters := make([]*Cluster, len(names))
	g, ctx := errgroup.WithContext(ctx)
	for i, name := range names {
		g.Go(func() (err error) {
			if clusters[i], err = e.startCluster(ctx, name); err != nil {
				return fmt.Errorf("start cluster %s: %w", name, err)
			}
			e.log("cluster %s is ready after %s", name, time.Since(begin).Round(10*time.Millisecond))
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, name := range names {
		e.Clusters[name] = clusters[i]
	}
	return nil
}

// Stop ends every process and removes the run's directory. It may be called again and from anywhere.
func (e *Env) Stop() { e.stop(false) }

func (e *Env) stop(keepLogs bool) {
	e.stopOnce.Do(func() {
		e.mu.Lock()
		e.stopping = true
		processes := slices.Clone(e.processes)
		e.mu.Unlock()
		var ends sync.WaitGroup
		for _, p := range processes {
			ends.Go(p.end)
		}
		ends.Wait()
		close(e.launcher)
		if keepLogs {
			return // the next run removes them
		}
		if err := e.record.remove(); err != nil {
			e.log("stop: %v", err)
		}
	})
}

// Need gives a test a running environment and stops it at the test's end; after a failure the logs stay until the next
// run. With -short, or where programs are missing, the test is skipped; with CI=true missing programs are a failure.
// Starting takes seconds and nearly a gigabyte a cluster, so have one test start it and run subtests in it.
func Need(t testing.TB, o Options) *Env {
	t.Helper()
	set := find(t)
	if o.Log == nil {
		o.Log = t.Logf
	}
	crlog.SetLogger(logr.Discard()) // or controller-runtime complains after 30 s
	// not t.Context(): that ends before the test's clean-up, which may still need the clusters
	e, err := start(context.Background(), set, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("logs: %s", e.Dir)
		}
		e.stop(t.Failed())
	})
	return e
}

// Tool gives a test one program, by its name in package tools, where Need would give it clusters.
func Tool(t testing.TB, name string) string {
	t.Helper()
	return find(t).Path(name)
}

// find locates the programs for a test, or skips or fails it.
func find(t testing.TB) *tools.Set {
	t.Helper()
	if testing.Short() {
		t.Skip("needs programs of the test environment, not run with -short")
	}
	set, err := tools.Find(t.Context())
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return set
}

// errNotYet is what a poll's condition says while it waits.
var errNotYet = errors.New("not yet")

// Tool is the path of one program, by its name in package tools.
func (e *Env) Tool(name string) string { return e.tools.Path(name) }

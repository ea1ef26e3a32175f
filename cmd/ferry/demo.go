package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/ferry-chatops/ferry/internal/localhost"
	"github.com/ferry-chatops/ferry/internal/testenv"
	"github.com/ferry-chatops/ferry/internal/testenv/fleet"
)

type demo struct {
	Dir string `placeholder:"DIR" type:"path" help:"Where to keep the repository and the configuration; emptied first if it is a demo's. Default: ferry-demo in the user's cache directory."`
}

// What the demo says once it is ready, for a terminal of 80 columns.
const (
	real = `
API servers, Flux and Helm are real. Nodes and pods are simulated: any image
runs whose tag does not begin with bad.
`
	toTry = `
Try:
  list
  diff stage
  promote podinfo@7.0.0 to prod
  rollback podinfo on prod
  promote podinfo@7.2.0 to prod       its image is bad: fails after a minute
  demo pr                             somebody opens a pull request
  diff pr 1                           what merging it would do
  merge 1                             merges it, as somebody would on GitHub
  promote redis@1.1.0 to prod --pr    then merge its number, and status
  status source
  check
  quit

From another terminal, with "ferry run -- list" for example:
  export FERRY_CONFIG=%s
  export KUBECONFIG=%s

`
)

// Run sets up two environments and talks about them until the end of input. The repository stays for a look at its log,
// until the next demo.
func (d demo) Run(ctx context.Context, t terminal) error {
	begin := time.Now()
	say := func(format string, args ...any) {
		fmt.Fprintf(t.err, "[%3.0fs] %s\n", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
	}
	dir, release, err := d.empty()
	if err != nil {
		return err
	}
	defer release()
	say("starting two clusters with Flux: stage and prod")
	env, err := testenv.Start(ctx, testenv.Options{Clusters: fleet.Environments, Flux: true, Log: say})
	if err != nil {
		return err
	}
	defer env.Stop()
	say("waiting until Flux has rolled out everything")
	f, err := fleet.Start(ctx, env, dir)
	if err != nil {
		return err
	}
	defer f.Close()
	say("ready; the repository is %s", f.GitDir)
	fmt.Fprint(t.err, real)
	if isTerminal(t.in) {
		fmt.Fprintf(t.err, toTry, f.ConfigFile, f.HomeFile)
	}
	host, err := plugin{Config: []string{f.ConfigFile}, Kubeconfig: f.HomeFile}.start(ctx, t)
	if err != nil {
		return err
	}
	defer host.Close()
	events, err := plugin{Kubeconfig: f.HomeFile}.follow(ctx, t, []string{f.SourceFile})
	if err != nil {
		return err
	}
	defer events.Close()
	return converse(ctx, t, opening(f, merging(f, host.Execute)), events)
}

// opening adds one line to the conversation: "demo pr" opens a pull request, as a person would on GitHub's page.
func opening(f *fleet.Fleet, next execute) execute {
	return func(ctx context.Context, line string) (localhost.Answer, error) {
		if line != "ferry demo pr" {
			return next(ctx, line)
		}
		number, err := f.OpenPullRequest(ctx)
		if err != nil {
			return localhost.Answer{}, err
		}
		return localhost.Text(fmt.Sprintf("alice opened pull request #%d. ferry's source tells of it in a moment.", number)), nil
	}
}

// merging adds one line to the conversation: "merge N" merges pull request N, as a person would on GitHub's page.
func merging(f *fleet.Fleet, next execute) execute {
	return func(ctx context.Context, line string) (localhost.Answer, error) {
		var number int
		if n, err := fmt.Sscanf(line, "ferry merge %d", &number); err != nil || n != 1 {
			return next(ctx, line)
		}
		sha, err := f.Hub.MergePullRequest(fleet.Repository, number, "alice", "merge")
		if err != nil {
			return localhost.Answer{}, err
		}
		return localhost.Text(fmt.Sprintf("alice merged pull request #%d as %s. If it is ferry's, status asks Flux for it and shows the rollout; else Flux looks within ten minutes.", number, sha[:7])), nil
	}
}

// empty provides the demo's directory, for this demo alone until release is called. What an ended demo left there goes;
// anything else is somebody's, and stays.
func (d demo) empty() (dir string, release func(), err error) {
	dir = d.Dir
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", nil, fmt.Errorf("find a directory for the demo: %w", err)
		}
		dir = filepath.Join(base, "ferry-demo")
	}
	const mark = ".ferry-demo"
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", nil, fmt.Errorf("look into the demo's directory: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, mark)); err != nil && len(entries) > 0 {
		return "", nil, fmt.Errorf("%s is not empty and no demo's; name another directory with --dir", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, fmt.Errorf("make a directory for the demo: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, mark), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", nil, fmt.Errorf("mark the demo's directory: %w", err)
	}
	release = func() { lock.Close() } // and with it the lock, which the kernel takes back from a dead process too
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		release()
		return "", nil, fmt.Errorf("a demo is running in %s; end it, or name another directory with --dir", dir)
	}
	for _, e := range entries {
		if e.Name() == mark {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			release()
			return "", nil, fmt.Errorf("remove the last demo: %w", err)
		}
	}
	return dir, release, nil
}

package testenv

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// helperVariable turns the test binary into a run that waits to be killed.
const helperVariable = "FERRY_TESTENV_TEST_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperVariable) != "" {
		env, err := Start(context.Background(), Options{Clusters: []string{"killed"}})
		if err != nil {
			println(err.Error())
			os.Exit(1)
		}
		os.Stdout.WriteString(env.Dir + "\n")
		select {}
	}
	os.Exit(m.Run())
}

// ownTemp gives the test a temporary directory that holds no other runs.
func ownTemp(t *testing.T) (records string) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	records, err := recordsDir()
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// sleeper starts a process that does nothing and is reaped when it ends.
func sleeper(t *testing.T) (i identity, ended chan struct{}) {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended = make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	return identify("sleeper", cmd.Process.Pid), ended
}

func gone(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

func TestLeftoversOfADeadRun(t *testing.T) {
	records := ownTemp(t)
	dead, ended := sleeper(t)
	left, leftEnded := sleeper(t)
	stranger, strangerEnded := sleeper(t)
	run, err := newRun(records, records)
	if err != nil {
		t.Fatal(err)
	}
	run.Owner = dead
	for _, p := range []identity{left, {Name: "reused", PID: stranger.PID, Started: "another boot 1"}, {Name: "long gone", PID: 1 << 22, Started: "x"}} {
		if err := run.add(p); err != nil {
			t.Fatal(err)
		}
	}

	// as long as the owner lives, nothing is touched
	if err := removeLeftovers(records, t.Logf); err != nil {
		t.Fatal(err)
	}
	if !left.alive() || gone(run.Dir) || gone(run.path) {
		t.Fatal("a living run was cleaned up")
	}

	owner, err := os.FindProcess(dead.PID)
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	if err := removeLeftovers(records, t.Logf); err != nil {
		t.Fatal(err)
	}
	<-leftEnded
	select {
	case <-strangerEnded:
		t.Error("a process that got a recorded number later was ended")
	default:
	}
	if !gone(run.Dir) || !gone(run.path) {
		t.Error("the dead run's directory or record is still there")
	}
}

func TestRunDirectoryIsAbsolute(t *testing.T) {
	records := ownTemp(t)
	t.Chdir(t.TempDir())
	run, err := newRun(records, ".")
	if err != nil {
		t.Fatal(err)
	}
	if !filepath.IsAbs(run.Dir) {
		t.Errorf("a run in another directory cannot remove %s", run.Dir)
	}
}

func TestRecordsOfAnotherUserAreRefused(t *testing.T) {
	records := ownTemp(t)
	if err := os.Chmod(records, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := recordsDir(); err == nil {
		t.Error("took a folder that anybody may write to")
	}
}

func TestStartTriesOtherPorts(t *testing.T) {
	records := ownTemp(t)
	rec, err := newRun(records, records)
	if err != nil {
		t.Fatal(err)
	}
	e := &Env{Dir: rec.Dir, log: t.Logf, record: rec, launcher: newLauncher()}
	t.Cleanup(e.Stop)
	attempts := 0
	p, err := e.start(t.Context(), program{
		name: "shell", path: "/bin/sh", ports: 1,
		args: func([]int) []string {
			if attempts++; attempts < 3 {
				return []string{"-c", "echo listen tcp 127.0.0.1:1: bind: address already in use; exit 1"}
			}
			return []string{"-c", "echo up > up; exec sleep 600"}
		},
		ready: func(context.Context, *process) error { _, err := os.Stat(filepath.Join(rec.Dir, "up")); return err },
	})
	if err != nil {
		t.Fatal(err)
	}
	if attempts != 3 {
		t.Errorf("%d attempts", attempts)
	}
	started := identify("shell", p.cmd.Process.Pid)
	if !started.alive() {
		t.Error("it does not run")
	}
	e.Stop()
	if started.alive() || !gone(e.Dir) || !gone(rec.path) {
		t.Error("Stop left the process, the directory or the record")
	}
	if _, err := e.start(t.Context(), p.program); err == nil {
		t.Error("a stopped environment started a process")
	}
}

func TestStartShowsWhyAProgramEnded(t *testing.T) {
	records := ownTemp(t)
	rec, err := newRun(records, records)
	if err != nil {
		t.Fatal(err)
	}
	e := &Env{Dir: rec.Dir, log: t.Logf, record: rec, launcher: newLauncher()}
	t.Cleanup(e.Stop)
	_, err = e.start(t.Context(), program{
		name: "shell", path: "/bin/sh", args: func([]int) []string { return []string{"-c", "echo unknown flag: --colour >&2; exit 3"} },
		ready: func(context.Context, *process) error { return errNotYet },
	})
	if err == nil || !strings.Contains(err.Error(), "unknown flag: --colour") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v", err)
	}
}

// TestKill9 kills a run as nothing can be prepared for: its processes end with it, and the next run removes its state.
func TestKill9(t *testing.T) {
	find(t)
	records := ownTemp(t)
	helper := exec.Command(os.Args[0])
	helper.Env = append(os.Environ(), helperVariable+"=1")
	helper.Stderr = os.Stderr
	out, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	dir, err := bufio.NewReader(out).ReadString('\n')
	dir = strings.TrimSpace(dir)
	processes := runOf(t, dir)
	_ = helper.Process.Kill()
	_ = helper.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if len(processes) != 5 {
		t.Errorf("%d processes recorded, want etcd, API server, controller-manager, scheduler and kwok", len(processes))
	}
	if err := removeLeftovers(records, t.Logf); err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		if p.alive() {
			t.Errorf("%s still runs", p.Name)
		}
	}
	if !gone(dir) {
		t.Errorf("%s is still there", dir)
	}
}

// TestCancel ends a run by its context, as Ctrl-C does.
func TestCancel(t *testing.T) {
	find(t)
	records := ownTemp(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	env, err := Start(ctx, Options{Clusters: []string{"cancelled"}, Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	processes := runOf(t, env.Dir)
	cancel()
	env.Stop() // waits for the other
	for _, p := range processes {
		if p.alive() {
			t.Errorf("%s still runs", p.Name)
		}
	}
	if left, err := os.ReadDir(records); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// runOf are the processes of the run in that directory, from its record.
func runOf(t *testing.T, dir string) []identity {
	t.Helper()
	records, err := recordsDir()
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(records, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		r, err := readRecord(path)
		if err != nil {
			t.Fatal(err)
		}
		if r.Dir == dir {
			return r.Processes
		}
	}
	t.Fatalf("no record of %s", dir)
	return nil
}

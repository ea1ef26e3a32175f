package testenv

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// An identity names one process for good: its number alone is given to another after its end.
type identity struct {
	Name    string `json:"name"`
	PID     int    `json:"pid"`
	Started string `json:"started"` // as processStart says
}

func identify(name string, pid int) identity {
	return identity{Name: name, PID: pid, Started: processStart(pid)}
}

// alive says whether the very process still runs.
func (i identity) alive() bool {
	return i.PID > 0 && i.Started != "" && processStart(i.PID) == i.Started
}

// A record is the pid file of one run. It is on disk before a run's first process, so that the next run can end what a
// killed one left.
type record struct {
	path string
	mu   sync.Mutex

	Owner     identity   `json:"owner"`
	Dir       string     `json:"dir"`
	Processes []identity `json:"processes"`
}

// recordsDir is the folder of all records of this user. Whoever writes there decides which processes are ended, so it
// must belong to the user alone.
func recordsDir() (string, error) {
	dir := filepath.Join(os.TempDir(), "ferry-testenv-"+strconv.Itoa(os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("create the folder of runs: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", fmt.Errorf("look at the folder of runs: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 || !ok || int(stat.Uid) != os.Getuid() {
		return "", fmt.Errorf("%s is not a folder of this user alone: remove it", dir)
	}
	return dir, nil
}

// newRun creates the directory of a run below parent and its record in records.
func newRun(records, parent string) (*record, error) {
	parent, err := filepath.Abs(parent) // the next run may have another working directory
	if err != nil {
		return nil, fmt.Errorf("find the run's directory: %w", err)
	}
	dir, err := os.MkdirTemp(parent, "run-")
	if err != nil {
		return nil, fmt.Errorf("create the run's directory: %w", err)
	}
	r := &record{path: filepath.Join(records, rand.Text()+".json"), Owner: identify("owner", os.Getpid()), Dir: dir}
	if err := r.save(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return r, nil
}

func (r *record) add(p identity) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Processes = append(r.Processes, p)
	return r.save()
}

func (r *record) save() error {
	content, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode the run's record: %w", err)
	}
	tmp := r.path + ".new"
	if err := os.WriteFile(tmp, content, 0o600); err != nil {
		return fmt.Errorf("write the run's record: %w", err)
	}
	return os.Rename(tmp, r.path)
}

// remove deletes the run's state, then its record.
func (r *record) remove() error {
	if err := os.RemoveAll(r.Dir); err != nil {
		return fmt.Errorf("remove the run's directory: %w", err)
	}
	return os.Remove(r.path)
}

func readRecord(path string) (*record, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read a run's record: %w", err)
	}
	r := &record{path: path}
	if err := json.Unmarshal(content, r); err != nil {
		return nil, fmt.Errorf("read a run's record %s: %w", path, err)
	}
	return r, nil
}

// removeLeftovers ends the processes and removes the state of every run whose owner is gone. Runs that are alive, and
// processes that merely have a recorded number, stay.
func removeLeftovers(records string, log func(format string, args ...any)) error {
	paths, err := filepath.Glob(filepath.Join(records, "*.json"))
	if err != nil {
		return fmt.Errorf("list earlier runs: %w", err)
	}
	for _, path := range paths {
		r, err := readRecord(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // another run removed it first
		}
		if err != nil {
			return err
		}
		if r.Owner.alive() {
			continue
		}
		ended := 0
		for _, p := range r.Processes {
			if !p.alive() {
				continue
			}
			if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("end %s of an earlier run: %w", p.Name, err)
			}
			ended++
			for deadline := time.Now().Add(10 * time.Second); p.alive(); time.Sleep(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					return fmt.Errorf("%s of an earlier run, process %d, does not end", p.Name, p.PID)
				}
			}
		}
		if err := r.remove(); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("clean up after an earlier run: %w", err)
		}
		log("removed what an earlier run left: %d processes, %s", ended, r.Dir)
	}
	return nil
}

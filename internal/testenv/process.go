package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"
)

// A program is one process to start.
type program struct {
	name  string // "CLUSTER/PROGRAM"; its log is DIR/CLUSTER/PROGRAM.log
	path  string
	ports int // how many free ports args needs
	args  func(ports []int) []string
	env   []string
	ready func(ctx context.Context, p *process) error // nil: it is not waited for
}

// A process is a program that was started.
type process struct {
	program
	taken    []int // its ports
	cmd      *exec.Cmd
	log      string        // path
	expected atomic.Bool   // it is ended on purpose
	ended    chan struct{} // closed after its end
}

// A launcher starts processes from one thread that lives as long as they may: Linux ends a child with the thread that
// started it, not with the process.
type launcher chan func()

func newLauncher() launcher {
	l := make(launcher)
	go func() {
		runtime.LockOSThread() // without an unlock: the thread ends with the goroutine
		for f := range l {
			f()
		}
	}()
	return l
}

func (l launcher) start(cmd *exec.Cmd) error {
	result := make(chan error)
	l <- func() { result <- cmd.Start() }
	return <-result
}

// start starts a program on free ports and waits until it is ready. A port can be taken by somebody else between its
// choice and its use; then it tries others.
func (e *Env) start(ctx context.Context, p program) (*process, error) {
	for attempt := 1; ; attempt++ {
		ports, err := freePorts(p.ports)
		if err != nil {
			return nil, err
		}
		proc, err := e.startOn(ctx, p, ports)
		if err == nil {
			return proc, nil
		}
		if attempt == 5 || !errors.Is(err, errPortTaken) {
			return nil, err
		}
		e.log("%s: a port was taken meanwhile, trying others", p.name)
	}
}

// errPortTaken has the words of the operating system, which every program here repeats in its log.
var errPortTaken = errors.New("address already in use")

// startOn starts a program on these ports and waits until it is ready. Its error is errPortTaken where a port is.
func (e *Env) startOn(ctx context.Context, p program, ports []int) (*process, error) {
	// only this process's words: an earlier one's would be taken for a sign that it is ready, or why it ended
	log, err := os.Create(filepath.Join(e.Dir, p.name+".log"))
	if err != nil {
		return nil, fmt.Errorf("create the log of %s: %w", p.name, err)
	}
	defer log.Close()
	proc := &process{program: p, taken: ports, log: log.Name(), ended: make(chan struct{})}
	proc.cmd = exec.Command(p.path, p.args(ports)...)
	proc.cmd.Dir = filepath.Join(e.Dir, filepath.Dir(p.name))
	// nothing of the caller's environment: no proxy, no kubeconfig, no home of a person
	proc.cmd.Env = append([]string{"HOME=" + proc.cmd.Dir, "TMPDIR=" + proc.cmd.Dir}, p.env...)
	proc.cmd.Stdout, proc.cmd.Stderr = log, log
	proc.cmd.SysProcAttr = childAttributes()
	if err := e.launch(proc); err != nil {
		return nil, err
	}
	if p.ready == nil {
		return proc, nil
	}
	err = poll(ctx, "wait for "+p.name, func(ctx context.Context) error {
		if proc.hasEnded() {
			return final{proc.failure()}
		}
		return p.ready(ctx, proc)
	})
	return proc, err
}

// launch starts the process, records it and watches for its end. It refuses once the environment is being stopped.
func (e *Env) launch(proc *process) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopping {
		return errors.New("the test environment was stopped")
	}
	if err := e.launcher.start(proc.cmd); err != nil {
		return fmt.Errorf("start %s: %w", proc.name, err)
	}
	e.processes = append(e.processes, proc)
	recorded := e.record.add(identify(proc.name, proc.cmd.Process.Pid))
	go func() {
		_ = proc.cmd.Wait() // failure tells how it ended
		if !proc.expected.Load() {
			e.log("%v", proc.failure())
		}
		close(proc.ended)
	}()
	return recorded
}

// end kills the process and waits for its end: what it holds is thrown away anyway.
func (p *process) end() {
	p.expected.Store(true)
	_ = p.cmd.Process.Kill() // fails only where it has ended already
	<-p.ended
}

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// failure explains the end of a process with the last lines of its log.
func (p *process) failure() error {
	content, err := os.ReadFile(p.log)
	if err != nil {
		return fmt.Errorf("%s ended: %s, its log cannot be read: %w", p.name, p.cmd.ProcessState, err)
	}
	content = content[max(0, len(content)-2000):]
	if bytes.Contains(content, []byte(errPortTaken.Error())) {
		return fmt.Errorf("%s: %w", p.name, errPortTaken)
	}
	return fmt.Errorf("%s ended: %s, its log says:\n%s", p.name, p.cmd.ProcessState, content)
}

// freePorts are ports that the kernel chose. All are held until the last is chosen, so that they differ.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// A final error ends a poll: waiting longer would not help.
type final struct{ error }

// poll calls f until it returns nil or a final error, or until the context ends.
func poll(ctx context.Context, what string, f func(context.Context) error) error {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		if f, ok := errors.AsType[final](err); ok {
			return f.error
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w (%w)", what, context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

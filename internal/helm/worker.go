package helm

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// workArgument makes a worker of a program. It has the form of a flag, so that a program that does not know it ends.
	workArgument = "--render-charts"

	renderTimeout = 20 * time.Second // one chart; the largest public ones take 2 s
	maxMemory     = 384 << 20        // bytes that a worker may take
	softMemory    = 256 << 20        // from there on it collects garbage all the time
	lookEvery     = 5 * time.Millisecond
	maxMessage    = 64 << 20 // bytes of a job or an outcome
	maxWorkers    = 2
	idleFor       = 10 * time.Second

	// Exit codes of a worker that ends itself.
	exitMemory = 61
	exitTime   = 62
)

// Work renders charts for the process that started this one, if that is what it was started for, and says so. Whatever has
// a Renderer calls it first of all in main, and tests in TestMain.
//
// Templates are rendered in a process of their own because nothing else bounds them: Helm cannot stop a template that loops,
// and a single call of "repeat" or "until" takes as much memory as it is told. This process looks after itself, and ends
// when it has taken too much of either; it also ends with the one that started it. It reads no file, has no environment and
// opens no connection.
func Work() bool {
	if len(os.Args) != 2 || os.Args[1] != workArgument {
		return false
	}
	out := os.Stdout
	os.Stdout = os.Stderr     // for what libraries print
	log.SetOutput(io.Discard) // Helm warns through it
	debug.SetMemoryLimit(softMemory)
	var end atomic.Int64 // of the job; zero: there is none
	go watch(&end)
	in := bufio.NewReader(os.Stdin)
	for {
		var j job
		if receive(in, &j) != nil {
			return true // nobody is there any more
		}
		end.Store(time.Now().Add(j.Limit).UnixNano())
		err := send(out, expand(j))
		if errors.Is(err, errLarge) {
			err = send(out, outcome{Refused: fmt.Sprintf("The chart renders more than %d MB.", maxMessage>>20)})
		}
		if err != nil {
			return true
		}
		end.Store(0)
		debug.FreeOSMemory()
	}
}

// watch ends the process when it takes too much.
func watch(end *atomic.Int64) {
	taken := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	for range time.Tick(lookEvery) {
		if metrics.Read(taken); taken[0].Value.Uint64()-taken[1].Value.Uint64() > maxMemory {
			os.Exit(exitMemory)
		}
		if end := end.Load(); end != 0 && time.Now().UnixNano() > end {
			os.Exit(exitTime)
		}
	}
}

// send writes a message: its length in 8 bytes, and JSON.
func send(to io.Writer, message any) error {
	raw, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(raw) > maxMessage {
		return errLarge
	}
	if _, err := to.Write(binary.BigEndian.AppendUint64(nil, uint64(len(raw)))); err != nil {
		return err
	}
	_, err = to.Write(raw)
	return err
}

var errLarge = errors.New("too large")

func receive(from io.Reader, message any) error {
	var size [8]byte
	if _, err := io.ReadFull(from, size[:]); err != nil {
		return err
	}
	length := binary.BigEndian.Uint64(size[:])
	if length > maxMessage {
		return errLarge
	}
	raw := make([]byte, length)
	if _, err := io.ReadFull(from, raw); err != nil {
		return err
	}
	return json.Unmarshal(raw, message)
}

// workers are processes that render. One that has finished is kept for a while, since a report renders many charts.
type workers struct {
	busy  chan struct{} // an entry for each that is at work
	limit time.Duration // of a job

	mu   sync.Mutex
	idle []*worker
}

type worker struct {
	process *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	leave   *time.Timer // when it has been idle for long; nil: it has done nothing yet
}

// do has a job done. A worker that was ended from outside while it was idle is replaced.
func (w *workers) do(ctx context.Context, j job) (outcome, error) {
	select {
	case w.busy <- struct{}{}:
		defer func() { <-w.busy }()
	case <-ctx.Done():
		return outcome{}, ctx.Err()
	}
	j.Limit = w.limit
	for {
		one, err := w.take()
		if err != nil {
			return outcome{}, fmt.Errorf("start a process that renders charts: %w", err)
		}
		o, err := one.do(ctx, j)
		if err == nil {
			w.put(one)
			return o, nil
		}
		if errors.Is(err, errLarge) {
			_ = one.process.Process.Kill() // it may still be writing
		}
		ended := one.end()
		switch {
		case ctx.Err() != nil:
			return outcome{}, ctx.Err()
		case errors.Is(err, errLarge):
			return outcome{Refused: fmt.Sprintf("The chart, or what it renders, is larger than %d MB.", maxMessage>>20)}, nil
		case ended == exitMemory:
			return outcome{Refused: fmt.Sprintf("Rendering the chart takes more than %d MB of memory.", maxMemory>>20)}, nil
		case ended == exitTime:
			return outcome{Refused: fmt.Sprintf("Rendering the chart takes longer than %s.", w.limit)}, nil
		case ended == 2: // Go's own: a stack that is too deep, say
			return outcome{Refused: "Helm cannot render the chart: it crashed."}, nil
		case one.leave == nil: // a new one
			return outcome{}, fmt.Errorf("render in a process of its own (exit code %d): %w", ended, err)
		}
	}
}

// do has a job done by one worker, which cannot be used any more after an error.
func (w *worker) do(ctx context.Context, j job) (o outcome, err error) {
	stop := context.AfterFunc(ctx, func() { _ = w.process.Process.Kill() }) // it may have ended by itself
	if err = send(w.in, j); err == nil {
		err = receive(w.out, &o)
	}
	if !stop() {
		return outcome{}, ctx.Err()
	}
	return o, err
}

// take gives an idle worker, or starts one.
func (w *workers) take() (*worker, error) {
	w.mu.Lock()
	for len(w.idle) > 0 {
		one := w.idle[len(w.idle)-1]
		w.idle = w.idle[:len(w.idle)-1]
		if one.leave.Stop() {
			w.mu.Unlock()
			return one, nil
		}
	}
	w.mu.Unlock()
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	one := &worker{process: exec.Command(program, workArgument)}
	one.process.Env = []string{}
	if one.in, err = one.process.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := one.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	one.out = bufio.NewReader(out)
	return one, one.process.Start()
}

// put keeps a worker for a while.
func (w *workers) put(one *worker) {
	w.mu.Lock()
	defer w.mu.Unlock()
	one.leave = time.AfterFunc(idleFor, func() {
		w.mu.Lock()
		for i, other := range w.idle {
			if other == one {
				w.idle = append(w.idle[:i], w.idle[i+1:]...)
				break
			}
		}
		w.mu.Unlock()
		one.end()
	})
	w.idle = append(w.idle, one)
}

// end ends a worker and gives its exit code.
func (w *worker) end() int {
	_ = w.in.Close() // what it waits for
	_ = w.process.Wait()
	return w.process.ProcessState.ExitCode()
}

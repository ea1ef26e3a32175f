package operation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/report"
)

// Kept keeps documents across processes, the newest ones. Neither way of it is needed for an answer.
type Kept interface {
	// Load gives the document of a key, lower-case hexadecimal digits; nil where there is none.
	Load(ctx context.Context, key string) ([]byte, error)
	// Save puts a document in the place of an older one of the key.
	Save(ctx context.Context, key string, document []byte) error
}

// How old a report may be that is shown again. Git is asked each time; this is about the clusters, which change by themselves.
const (
	fresh    = 5 * time.Minute
	freshFor = 30 * time.Minute // the pages behind the first, which go on with what was shown
	failing  = time.Minute      // one without an environment that failed, after it was made
	inMemory = 8                // reports that a process keeps beside the others
	makeTime = 5 * time.Minute  // that making one may take, whoever waits for it
	keepTime = 10 * time.Second // that keeping one may take
)

// A Desk answers diff pr. What is asked twice at once is made once, and shown again for some minutes. Who asks does not wait
// for longer than Wait: the report is made meanwhile, and then there. It is safe for concurrent use.
type Desk struct {
	*Reviews
	Kept Kept // nil: none
	Wait time.Duration
	// Scope tells apart what different identities and configurations may see: reports are not shared between them.
	Scope string

	mu      sync.Mutex
	flights map[string]*flight
	recent  []recent // the newest last
}

// A flight is a report that is being made.
type flight struct {
	began time.Time
	done  chan struct{} // closed when the others are set
	made  report.Report
	err   error
}

type recent struct {
	key    string
	made   report.Report
	landed time.Time
}

// Answered is a report, or that it is being made.
type Answered struct {
	Card   *report.Card
	Making *Making
}

// Making is a report that takes a while.
type Making struct {
	What string // "acme/fleet #12", or the branch
	Head string // commit
	For  time.Duration
	Line string // that shows the report once it is there
}

// Answer shows what merging would do.
func (d *Desk) Answer(ctx context.Context, asked gitops.Review) (Answered, error) {
	pull, err := d.find(ctx, asked)
	if err != nil {
		return Answered{}, err
	}
	made, ok := report.Report{}, false
	if !asked.Refresh {
		made, ok = d.kept(ctx, pull.Pull, asked)
	}
	if !ok {
		f := d.fly(ctx, pull, asked.Environment)
		wait, cancel := context.WithTimeout(ctx, d.Wait)
		defer cancel()
		select {
		case <-f.done:
			made, err = f.made, f.err
		case <-wait.Done():
			line := gitops.Review{Number: pull.Number, Repository: pull.Repository, Environment: asked.Environment}
			if pull.Number == 0 {
				line.Branch = pull.Branch
			}
			return Answered{Making: &Making{What: report.Card{Report: report.Report{Repository: pull.Repository, Number: pull.Number, Branch: pull.Branch}}.What(),
				Head: pull.Head, For: d.Now().Sub(f.began).Round(time.Second), Line: gitops.Line(line)}}, nil
		}
	}
	if err != nil {
		return Answered{}, err
	}
	made.Notes = append(pull.remarks(asked), made.Notes...)
	page := asked.Page
	if asked.Head != "" && asked.Head != pull.Head {
		page = 0 // of another report
	}
	return Answered{Card: &report.Card{Report: made, Environment: asked.Environment, Page: page}}, nil
}

// key names the report of a pull request for one environment, or for all.
func (d *Desk) key(pull Pull, environment string) string {
	what := []string{d.Scope, strings.ToLower(pull.Repository), fmt.Sprint(pull.Number), pull.Branch, pull.Head, pull.Base, pull.BaseCommit, environment}
	sum := sha256.Sum256([]byte(strings.Join(what, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// kept is a report that was made before and is right still: of the same commits, and of clusters as they were a moment ago.
func (d *Desk) kept(ctx context.Context, pull Pull, asked gitops.Review) (report.Report, bool) {
	old := fresh
	if asked.Page > 1 {
		old = freshFor
	}
	for _, environment := range slices.Compact([]string{asked.Environment, ""}) {
		made, ok := d.load(ctx, d.key(pull, environment))
		age := d.Now().Sub(made.Made)
		if !ok || age < -time.Minute || age > old || made.Repository != pull.Repository || made.Number != pull.Number ||
			made.Branch != pull.Branch || made.Head != pull.Head || made.Base != pull.Base || made.BaseCommit != pull.BaseCommit {
			continue
		}
		if asked.Environment != "" {
			made.Environments = slices.DeleteFunc(slices.Clone(made.Environments), func(e report.Environment) bool { return e.Environment != asked.Environment })
		}
		return made, true
	}
	return report.Report{}, false
}

func (d *Desk) load(ctx context.Context, key string) (report.Report, bool) {
	d.mu.Lock()
	i := slices.IndexFunc(d.recent, func(r recent) bool { return r.key == key })
	if i >= 0 {
		defer d.mu.Unlock()
		r := d.recent[i]
		return r.made, !failed(r.made) || d.Now().Sub(r.landed) < failing
	}
	d.mu.Unlock()
	if d.Kept == nil {
		return report.Report{}, false
	}
	raw, err := d.Kept.Load(ctx, key)
	var made report.Report
	if err == nil && raw != nil {
		made, err = report.Decode(raw)
	}
	if err != nil {
		d.Log.Warn("a kept report cannot be read", "error", err)
	}
	return made, err == nil && raw != nil
}

// failed says that a report lacks an environment.
func failed(r report.Report) bool {
	return slices.ContainsFunc(r.Environments, func(e report.Environment) bool { return e.Error != "" })
}

// fly has a report made, once however many ask for it.
func (d *Desk) fly(ctx context.Context, pull found, environment string) *flight {
	key := d.key(pull.Pull, environment)
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.flights[key]; f != nil {
		return f
	}
	f := &flight{began: d.Now(), done: make(chan struct{})}
	if d.flights == nil {
		d.flights = map[string]*flight{}
	}
	d.flights[key] = f
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), makeTime)
		defer cancel()
		defer func() {
			if cause := recover(); cause != nil {
				f.err = fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
			}
			d.land(key, f)
		}()
		f.made, f.err = d.of(ctx, pull, environment)
	}()
	return f
}

// land ends a flight and keeps the report.
func (d *Desk) land(key string, f *flight) {
	d.mu.Lock()
	delete(d.flights, key)
	if f.err == nil {
		d.recent = append(slices.DeleteFunc(d.recent, func(r recent) bool { return r.key == key }), recent{key, f.made, d.Now()})
		d.recent = slices.Delete(d.recent, 0, max(0, len(d.recent)-inMemory))
	}
	d.mu.Unlock()
	close(f.done)
	if f.err != nil || d.Kept == nil || failed(f.made) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), keepTime)
	defer cancel()
	packed, err := report.Encode(f.made)
	if err == nil {
		err = d.Kept.Save(ctx, key, packed)
	}
	if err != nil {
		d.Log.Warn("a report is not kept", "error", err)
	}
}

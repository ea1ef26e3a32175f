// Package control steers a GitHub stand-in that runs as a process of its own, over plain HTTP, and asks what it knows:
// what happened, what was asked of it, and what of that a watcher had to tell.
//
// Each path takes and gives JSON: that of the types of package githubtest.
//
//	GET    /            a Status; ?anew=1 begins to count the Load anew
//	GET    /histories   []githubtest.History
//	POST   /judge       a Case, answered by a githubtest.Verdict
//	POST   /play        a githubtest.Plan: From and Repositories may be left out, for now and for all that are made up
//	POST   /apply       a githubtest.Change
//	POST   /advance     {"By": nanoseconds}
//	POST   /behaviour   a githubtest.Behaviour
//	POST   /faults      a githubtest.Fault; DELETE ends all
//	POST   /tokens      {"Secret", "Login", "Repositories"}
//	POST   /apps        {"ID", "Installation", "Slug", "Key", "Repositories"}: Key is a public key, PKIX in PEM
//	POST   /revoke      {"Login"}
//	POST   /hide        {"Repository", "Status"}
//	POST   /rename      {"Repository", "Name"}
//	POST   /hints       {"URL"}: a webhook's body goes there for each change; empty: no more
package control

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/ferry-chatops/ferry/internal/githubtest"
)

// A Status is how the stand-in is.
type Status struct {
	Now    time.Time // on its clock
	Factor float64   // by which the clock is faster than real time
	// Next is when something happens; zero: the script is at its end. Impossible changes of it were left out.
	Next       time.Time
	Impossible int
	Load       githubtest.Load
	// Violations say what was not as GitHub's API is described, at most a hundred of them.
	Violations []string
	Hints      Hints
}

// Hints counts the webhooks that were sent.
type Hints struct{ Sent, Failed int }

// A Case is what is to be judged.
type Case struct {
	Watch githubtest.Watch
	Told  []githubtest.Told
}

// A Panel steers one stand-in.
type Panel struct {
	Factor       float64
	Repositories []string // made up: what a script is about

	hub     *githubtest.Server
	woken   chan struct{}
	hints   chan githubtest.Change
	deliver http.Client

	mu         sync.Mutex
	violations []string
	hintURL    string
	sent       Hints
}

// New makes a panel, whose OnChange and Violation are there before the stand-in is.
func New() *Panel {
	return &Panel{woken: make(chan struct{}, 1), hints: make(chan githubtest.Change, 10_000), deliver: http.Client{Timeout: 10 * time.Second}}
}

// OnChange takes what happens, for hints.
func (p *Panel) OnChange(c githubtest.Change) {
	select {
	case p.hints <- c:
	default: // more than can be sent: GitHub loses deliveries as well
	}
}

// Violation takes what is not as GitHub's API is described.
func (p *Panel) Violation(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.violations) < 100 {
		p.violations = append(p.violations, err.Error())
	}
}

// Run lets the script of a stand-in happen, and sends hints, until the context ends.
func (p *Panel) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case c := <-p.hints:
					p.hint(ctx, c)
				}
			}
		})
	}
	for ctx.Err() == nil {
		wait := time.Hour
		if next := p.hub.Tick(); !next.IsZero() {
			wait = time.Duration(float64(next.Sub(p.hub.Now())) / p.Factor)
		}
		select {
		case <-ctx.Done():
		case <-p.woken:
		case <-time.After(wait):
		}
	}
	wg.Wait()
}

// hint sends what a webhook of GitHub says, as far as it is of use.
func (p *Panel) hint(ctx context.Context, c githubtest.Change) {
	p.mu.Lock()
	url := p.hintURL
	p.mu.Unlock()
	if url == "" || c.Number == 0 {
		return
	}
	body, err := json.Marshal(map[string]any{"action": c.Do, "number": c.Number, "repository": map[string]any{"full_name": c.Repository},
		"pull_request": map[string]any{"number": c.Number}})
	if err == nil {
		err = p.post(ctx, url, body)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent.Sent++
	if err != nil {
		p.sent.Failed++
	}
}

func (p *Panel) post(ctx context.Context, url string, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := p.deliver.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		return fmt.Errorf("hint was answered with %s", answer.Status)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// Handler serves the paths of this package for a stand-in.
func (p *Panel) Handler(hub *githubtest.Server) http.Handler {
	p.hub = hub
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { answer(w, p.status(r.URL.Query().Has("anew")), nil) })
	mux.HandleFunc("GET /histories", func(w http.ResponseWriter, _ *http.Request) { answer(w, hub.Histories(), nil) })
	mux.HandleFunc("DELETE /faults", func(w http.ResponseWriter, _ *http.Request) {
		hub.Mend()
		answer(w, struct{}{}, nil)
	})
	handle(mux, "/judge", func(c Case) (any, error) { return c.Watch.Judge(hub.Histories(), c.Told), nil })
	handle(mux, "/play", p.play)
	handle(mux, "/apply", func(c githubtest.Change) (any, error) { return struct{}{}, hub.Apply(c) })
	handle(mux, "/advance", func(in struct{ By time.Duration }) (any, error) {
		hub.Advance(in.By)
		p.wake()
		return struct{}{}, nil
	})
	handle(mux, "/behaviour", func(b githubtest.Behaviour) (any, error) {
		hub.SetBehaviour(b)
		return struct{}{}, nil
	})
	handle(mux, "/faults", func(f githubtest.Fault) (any, error) {
		hub.Fail(f)
		return struct{}{}, nil
	})
	handle(mux, "/tokens", func(in struct {
		Secret, Login string
		Repositories  []string
	}) (any, error) {
		hub.AddToken(in.Secret, in.Login, in.Repositories...)
		return struct{}{}, nil
	})
	handle(mux, "/apps", func(in struct {
		ID, Installation int64
		Slug, Key        string
		Repositories     []string
	}) (any, error) {
		key, err := publicKey(in.Key)
		if err == nil {
			hub.AddApp(in.ID, in.Installation, in.Slug, key, in.Repositories...)
		}
		return struct{}{}, err
	})
	handle(mux, "/revoke", func(in struct{ Login string }) (any, error) {
		hub.Revoke(in.Login)
		return struct{}{}, nil
	})
	handle(mux, "/hide", func(in struct {
		Repository string
		Status     int
	}) (any, error) {
		return struct{}{}, hub.Hide(in.Repository, in.Status)
	})
	handle(mux, "/rename", func(in struct{ Repository, Name string }) (any, error) {
		return struct{}{}, hub.Rename(in.Repository, in.Name)
	})
	handle(mux, "/hints", func(in struct{ URL string }) (any, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.hintURL = in.URL
		return struct{}{}, nil
	})
	return mux
}

func publicKey(text string) (*rsa.PublicKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("key is not PEM")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	public, ok := key.(*rsa.PublicKey)
	if !ok {
		return nil, errors.New("key is not RSA")
	}
	return public, nil
}

// handle serves POST with a JSON body.
func handle[T any](mux *http.ServeMux, path string, do func(T) (any, error)) {
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		var in T
		decoder := json.NewDecoder(r.Body)
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		out, err := do(in)
		answer(w, out, err)
	})
}

func answer(w http.ResponseWriter, out any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // a client that went away
}

func (p *Panel) status(anew bool) Status {
	next := p.hub.Tick()
	p.mu.Lock()
	defer p.mu.Unlock()
	return Status{
		Now: p.hub.Now(), Factor: p.Factor, Next: next, Impossible: p.hub.Impossible(), Load: p.hub.Load(anew), Violations: p.violations, Hints: p.sent,
	}
}

// play lets a script happen.
func (p *Panel) play(plan githubtest.Plan) (any, error) {
	if plan.From.IsZero() {
		plan.From = p.hub.Now()
	}
	if plan.Repositories == nil {
		plan.Repositories = p.Repositories
	}
	if plan.Changes < 0 || plan.Pulls < 0 || plan.Noise < 0 || plan.Noise > 1 || len(plan.Repositories) == 0 {
		return nil, errors.New("no repositories, or a number is out of range")
	}
	script, err := p.hub.Script(plan)
	if err != nil {
		return nil, err
	}
	p.hub.Play(script)
	p.wake()
	return struct{}{}, nil
}

func (p *Panel) wake() {
	select {
	case p.woken <- struct{}{}:
	default: // it will be awake
	}
}

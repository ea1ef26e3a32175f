// Command hub runs the GitHub stand-in as a process of its own, over repositories that are made up, with a script of changes
// and a clock that may be faster than real time. It prints one line of JSON when it serves (control.Ready), and ends with an
// interrupt. Package control says how to steer it:
//
//	go run ./internal/githubtest/hub -seed 1 -factor 60 -repositories 1000 -changes 10000
package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ferry-chatops/ferry/internal/githubtest"
	"github.com/ferry-chatops/ferry/internal/githubtest/contract"
	"github.com/ferry-chatops/ferry/internal/githubtest/control"
)

const account = "ferry-bot"

// options are the flags.
type options struct {
	seed                                uint64
	factor, noise                       float64
	repositories, pulls, changes, check int
	over, gap                           time.Duration
	behaviour                           githubtest.Behaviour
	listen, control, log                string
	attached                            bool
}

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	o, err := parse(os.Args[1:])
	if err == nil {
		err = run(ctx, o, os.Stdin, os.Stdout)
	}
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		log.Fatalf("hub: %v", err)
	}
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("hub", flag.ContinueOnError)
	flags.Uint64Var(&o.seed, "seed", 1, "of the script, and of what happens by chance")
	flags.Float64Var(&o.factor, "factor", 1, "how many times faster than real time the clock is")
	flags.IntVar(&o.repositories, "repositories", 10, "how many there are: acme/repo-0000 and so on")
	flags.IntVar(&o.pulls, "pulls", 10, "how many pull requests each has from the start")
	flags.IntVar(&o.changes, "changes", 0, "how many happen from the start on; more come by POST /play")
	flags.DurationVar(&o.over, "over", 24*time.Hour, "within which, on the stand-in's clock")
	flags.Float64Var(&o.noise, "noise", 0.3, "which part of the changes is nothing to tell of")
	flags.DurationVar(&o.gap, "gap", 2*time.Second, "at least between two changes of a pull request")
	flags.IntVar(&o.check, "check", 1, "hold every so many-th exchange to GitHub's description of its API; 0: none")
	flags.StringVar((*string)(&o.behaviour.ETag), "etag", "", "how ETags are made: derived, body, none, or empty for one that cannot be foreseen")
	flags.DurationVar(&o.behaviour.Lag, "lag", 0, "how far two replicas are behind at most")
	flags.IntVar(&o.behaviour.Limits.Hourly, "hourly", 0, "primary limit; 0: announced as 5000, but not held to")
	flags.StringVar(&o.listen, "listen", "127.0.0.1:0", "loopback address of the API")
	flags.StringVar(&o.control, "control", "127.0.0.1:0", "loopback address of the control")
	flags.StringVar(&o.log, "log", "", "file of the access log")
	flags.BoolVar(&o.attached, "attached", false, "end when standard input ends")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.factor <= 0 || o.repositories < 1 || o.noise < 0 || o.noise > 1 || o.pulls < 0 || o.changes < 0 || o.check < 0 || flags.NArg() > 0 {
		return o, errors.New("a number is out of range, or an argument is no flag")
	}
	return o, nil
}

func run(ctx context.Context, o options, stdin io.Reader, stdout io.Writer) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.attached {
		go func() {
			_, _ = io.Copy(io.Discard, stdin) // whoever started this ends
			cancel()
		}()
	}
	requests := io.Discard
	if o.log != "" {
		file, err := os.Create(o.log)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		requests = file
	}
	dir, err := os.MkdirTemp("", "ferry-hub-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	panel := control.New()
	panel.Factor = o.factor
	checked, err := check(o.check, panel.Violation)
	if err != nil {
		return err
	}
	hub, err := githubtest.Serve(dir, o.listen, githubtest.Seed(o.seed), githubtest.Pace(time.Now(), o.factor), githubtest.LogTo(requests),
		githubtest.OnChange(panel.OnChange), checked)
	if err != nil {
		return err
	}
	defer hub.Close()
	ready, err := prepare(hub, o)
	if err != nil {
		return err
	}
	panel.Repositories = ready.Repositories
	listener, err := net.Listen("tcp", o.control)
	if err != nil {
		return fmt.Errorf("serve the control: %w", err)
	}
	server := &http.Server{Handler: panel.Handler(hub), ReadHeaderTimeout: 10 * time.Second}
	defer server.Close()
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Printf("hub: serve the control: %v", err)
			cancel()
		}
	}()
	ready.Control = "http://" + listener.Addr().String()
	if err := json.NewEncoder(stdout).Encode(ready); err != nil {
		return err
	}
	panel.Run(ctx)
	return nil
}

// check holds each so many-th exchange to the contract.
func check(each int, report func(error)) (githubtest.Option, error) {
	if each == 0 {
		return githubtest.Wrap(func(next http.Handler) http.Handler { return next }), nil
	}
	openAPI, sdl, err := contract.Files()
	if err != nil {
		return nil, err
	}
	c, err := contract.Load(openAPI, sdl)
	if err != nil {
		return nil, fmt.Errorf("%w (make testenv fetches GitHub's API descriptions; -check 0 goes without)", err)
	}
	var count atomic.Int64
	return githubtest.Wrap(func(next http.Handler) http.Handler {
		checked := c.Handler(next, report)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if count.Add(1)%int64(each) == 0 {
				checked.ServeHTTP(w, r)
			} else {
				next.ServeHTTP(w, r)
			}
		})
	}), nil
}

// prepare makes repositories, credentials and the script.
func prepare(hub *githubtest.Server, o options) (control.Ready, error) {
	ready := control.Ready{API: hub.APIURL(), Token: "ghp_" + rand.Text(), App: 1, Installation: 10}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return ready, err
	}
	ready.Key = string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	hub.AddApp(ready.App, ready.Installation, account, &key.PublicKey)
	hub.AddToken(ready.Token, account)
	for i := range o.repositories {
		name := fmt.Sprintf("acme/repo-%04d", i)
		if err := hub.MakeUp(name); err != nil {
			return ready, err
		}
		ready.Repositories = append(ready.Repositories, name)
	}
	hub.SetBehaviour(o.behaviour)
	script, err := hub.Script(githubtest.Plan{
		Seed: o.seed, Repositories: ready.Repositories, Pulls: o.pulls, Changes: o.changes, From: hub.Now(), Over: o.over, Noise: o.noise, Gap: o.gap,
	})
	hub.Play(script)
	return ready, err
}

package main

import (
	"bufio"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/ferry-chatops/ferry/internal/githubtest"
	"github.com/ferry-chatops/ferry/internal/githubtest/contract"
	"github.com/ferry-chatops/ferry/internal/githubtest/control"
)

// begin runs the program, until its standard input ends with the test.
func begin(t *testing.T, args ...string) control.Ready {
	t.Helper()
	if openAPI, _, err := contract.Files(); err == nil {
		if _, err := os.Stat(openAPI); err != nil && os.Getenv("CI") != "true" {
			args = append(args, "-check", "0") // make testenv fetches it
		}
	}
	o, err := parse(append([]string{"-attached"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	stdin, end := io.Pipe()
	stdout, printed := io.Pipe()
	done := make(chan error)
	go func() { done <- run(t.Context(), o, stdin, printed) }()
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = end.Close() // a pipe always closes
		if err := <-done; err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
	var ready control.Ready
	if err := json.Unmarshal(line, &ready); err != nil {
		t.Fatal(err)
	}
	return ready
}

// desk asks the control.
type desk struct {
	*testing.T
	control.Ready
}

func (d desk) post(path string, in, out any) {
	d.Helper()
	if err := d.Call(d.Context(), http.MethodPost, path, in, out); err != nil {
		d.Error(err)
	}
}

func (d desk) status() (s control.Status) {
	d.Helper()
	if err := d.Call(d.Context(), http.MethodGet, "/", nil, &s); err != nil {
		d.Error(err)
	}
	return s
}

type m = map[string]any

func TestHub(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	d := desk{t, begin(t, "-repositories", "3", "-pulls", "4", "-changes", "20", "-over", "1h", "-log", log, "-seed", "5")}
	gh, err := github.NewClient(nil).WithAuthToken(d.Token).WithEnterpriseURLs(d.API, d.API)
	if err != nil {
		t.Fatal(err)
	}
	list := func(c *github.Client, repository string) (int, error) {
		all, _, err := c.PullRequests.List(t.Context(), "acme", repository, &github.PullRequestListOptions{State: "all"})
		return len(all), err
	}
	want := func(c *github.Client, repository string, status int) {
		t.Helper()
		_, answer, err := c.PullRequests.List(t.Context(), "acme", repository, nil)
		if answer == nil || answer.StatusCode != status {
			t.Errorf("%s: %v, want %d", repository, err, status)
		}
	}
	if n, err := list(gh, "repo-0001"); err != nil || n < 4 {
		t.Fatalf("%d pull requests, %v", n, err)
	}

	hints := make(chan string, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // shown if it is not what it should be
		hints <- string(body)
	}))
	defer receiver.Close()
	d.post("/hints", m{"URL": receiver.URL}, nil)
	d.post("/apply", githubtest.Change{Repository: "acme/repo-0001", Do: githubtest.Label, Number: 1, Label: "new"}, nil)
	if got := <-hints; !strings.Contains(got, `"full_name":"acme/repo-0001"`) || !strings.Contains(got, `"number":1`) {
		t.Errorf("hint %s", got)
	}
	d.post("/hints", m{"URL": ""}, nil)

	since := d.status().Now
	d.post("/advance", m{"By": 2 * time.Hour}, nil)
	if s := d.status(); !s.Next.IsZero() || s.Impossible != 0 || s.Now.Sub(since) < 2*time.Hour || s.Factor != 1 {
		t.Errorf("at the end of the script: %+v", s)
	}
	var verdict githubtest.Verdict
	d.post("/judge", control.Case{Watch: githubtest.Watch{Since: since, Slack: time.Minute}}, &verdict)
	if len(verdict.Lost) == 0 {
		t.Errorf("silence: %+v", verdict)
	}
	d.post("/play", githubtest.Plan{Seed: 1, Changes: 5, Over: time.Hour, Noise: 0.5}, nil)
	if s := d.status(); s.Next.IsZero() {
		t.Errorf("another script: %+v", s)
	}
	var histories []githubtest.History
	if err := d.Call(t.Context(), http.MethodGet, "/histories", nil, &histories); err != nil || len(histories) < 12 || len(histories[0].States) == 0 {
		t.Errorf("%d histories, %v", len(histories), err)
	}

	d.post("/tokens", m{"Secret": "l1mited", "Login": "carol", "Repositories": []string{"acme/repo-0002"}}, nil)
	carol := github.NewClient(nil).WithAuthToken("l1mited")
	carol.BaseURL = gh.BaseURL
	want(carol, "repo-0001", 404)
	want(carol, "repo-0002", 200)
	d.post("/revoke", m{"Login": "carol"}, nil)
	want(carol, "repo-0002", 401)
	d.post("/hide", m{"Repository": "acme/repo-0002", "Status": 451}, nil)
	want(gh, "repo-0002", 451)
	d.post("/rename", m{"Repository": "acme/repo-0001", "Name": "moved"}, nil)
	if _, err := list(gh, "repo-0001"); err != nil {
		t.Errorf("renamed: %v", err)
	}
	d.post("/faults", githubtest.Fault{Path: "/repos/*", Status: 503, Times: -1}, nil)
	want(gh, "repo-0000", 503)
	if err := d.Call(t.Context(), http.MethodDelete, "/faults", nil, nil); err != nil {
		t.Error(err)
	}
	d.post("/behaviour", githubtest.Behaviour{Limits: githubtest.Limits{Hourly: 1}}, nil)
	want(gh, "repo-0000", 403)
	d.post("/behaviour", githubtest.Behaviour{}, nil)

	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	d.post("/apps", m{"ID": 2, "Installation": 20, "Slug": "other", "Key": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))}, nil)
	for path, in := range map[string]any{
		"/apps": m{"Key": "x"}, "/apply": githubtest.Change{Repository: "acme/none"}, "/play": githubtest.Plan{Noise: 2}, "/nothing": m{}, "/advance": m{"by how much": 1},
	} {
		if err := d.Call(t.Context(), http.MethodPost, path, in, nil); err == nil {
			t.Errorf("%s took %v", path, in)
		}
	}

	s := d.status()
	if len(s.Violations) > 0 || s.Load.Points["ferry-bot"] == 0 || s.Load.Statuses[503] != 1 || s.Hints != (control.Hints{Sent: 1}) {
		t.Errorf("status %+v", s)
	}
	if raw, err := os.ReadFile(log); err != nil || strings.Count(string(raw), "\n") < s.Load.Requests-1 {
		t.Errorf("access log %s, %v", raw, err)
	}
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{{"-factor", "0"}, {"-repositories", "0"}, {"-noise", "1.1"}, {"argument"}, {"-check", "-1"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%v were taken", args)
		}
	}
	o, err := parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	o.listen = "0.0.0.0:0"
	if err := run(t.Context(), o, strings.NewReader(""), io.Discard); err == nil || !strings.Contains(err.Error(), "not a loopback address") {
		t.Errorf("on all interfaces: %v", err)
	}
}

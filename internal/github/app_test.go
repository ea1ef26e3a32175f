package github

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/githubtest"
	"github.com/ferry-chatops/ferry/internal/githubtest/contract"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/promotion"
	"github.com/ferry-chatops/ferry/internal/watch"
)

// appKey is the private key of the App, which takes some time to make.
var appKey = sync.OnceValues(func() (*rsa.PrivateKey, []byte) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
})

// An appWorld is acme/fleet on a stand-in with an App in installation 7, opened as that App.
type appWorld struct {
	*testing.T
	hub    *githubtest.Server
	client *Client
	r      promotion.Repository
	first  string
	app    App
	now    time.Time
	slept  []time.Duration
}

func asApp(t *testing.T) *appWorld {
	t.Helper()
	private, text := appKey()
	w := &appWorld{T: t, hub: githubtest.Start(t, contract.Check(t)), now: time.Now(),
		app: App{ID: 4711, InstallationID: 7, Key: func(context.Context) ([]byte, error) { return text, nil }}}
	w.hub.AddApp(4711, 7, "ferry", &private.PublicKey, "acme/fleet")
	var err error
	if w.first, err = w.hub.CreateRepository("acme/fleet", map[string]string{"podinfo.yaml": "version: 6.0.0\n"}); err != nil {
		t.Fatal(err)
	}
	w.open()
	return w
}

// open makes a client for w.app.
func (w *appWorld) open() {
	w.Helper()
	var err error
	w.client, err = New(Config{BaseURL: strings.TrimSuffix(w.hub.APIURL(), "/api/v3/"), App: &w.app, Allowed: func(string) bool { return true }}, slog.New(slog.DiscardHandler))
	if err != nil {
		w.Fatal(err)
	}
	w.client.now = func() time.Time { return w.now }
	w.client.sleep = func(_ context.Context, d time.Duration) error {
		w.slept = append(w.slept, d)
		return nil
	}
	if w.r, err = w.client.Repository("acme/fleet"); err != nil {
		w.Fatal(err)
	}
}

// made counts the tokens that were asked for.
func (w *appWorld) made() (n int) {
	for _, r := range w.hub.Requests() {
		if r.Method == http.MethodPost && strings.HasSuffix(r.Path, "/access_tokens") {
			n++
		}
	}
	return n
}

func (w *appWorld) head() {
	w.Helper()
	if _, err := w.r.Head(w.Context(), "main"); err != nil {
		w.Error(err)
	}
}

func TestAnAppMakesItsTokens(t *testing.T) {
	w := asApp(t)
	commit, err := w.r.Commit(t.Context(), "main", w.first, "Promote podinfo\n", []gitops.File{{Path: "podinfo.yaml", Content: []byte("version: 7.0.0\n")}})
	if err != nil {
		t.Fatal(err)
	}
	commits, err := w.r.Commits(t.Context(), "main", "", 1)
	if err != nil || len(commits) != 1 || commits[0].SHA != commit.SHA {
		t.Fatalf("%v, %v", commits, err)
	}
	if login, err := w.r.Viewer(t.Context()); err != nil || login != "ferry[bot]" || commits[0].Author != login {
		t.Errorf("it is %q (%v), and the commit is of %q", login, err, commits[0].Author)
	}
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(w.head)
	}
	wg.Wait()
	if w.made() != 1 {
		t.Errorf("%d tokens", w.made())
	}
	w.now = w.now.Add(54 * time.Minute)
	w.head()
	if w.made() != 1 {
		t.Errorf("%d tokens after 54 minutes", w.made())
	}
	w.now = w.now.Add(2 * time.Minute)
	w.head()
	if w.made() != 2 {
		t.Errorf("%d tokens, four minutes before the end of the first", w.made())
	}
}

// TestATokenThatIsNotTaken is replaced at once, and a fresh one is given the time to be known everywhere.
func TestATokenThatIsNotTaken(t *testing.T) {
	w := asApp(t)
	w.head()
	w.hub.Revoke("ferry[bot]")
	w.now = w.now.Add(2 * time.Minute)
	if _, err := w.r.Commit(t.Context(), "main", w.first, "Promote podinfo\n", []gitops.File{{Path: "podinfo.yaml", Content: []byte("version: 7.0.0\n")}}); err != nil {
		t.Error(err)
	}
	if w.made() != 2 || len(w.slept) > 0 {
		t.Errorf("%d tokens, waited %s", w.made(), w.slept)
	}
	w.hub.Revoke("ferry[bot]")
	_, err := w.r.Head(t.Context(), "main")
	if r := refusalOf(t, err); r.Code != gitops.Denied || !strings.Contains(r.Reason, "rejects ferry's token") {
		t.Errorf("got %v", r)
	}
	if diff := cmp.Diff([]time.Duration{time.Second, 2 * time.Second, 4 * time.Second}, w.slept); diff != "" || w.made() != 2 {
		t.Errorf("%d tokens, waited %s", w.made(), w.slept)
	}
	w.now = w.now.Add(time.Minute)
	w.head()
}

// TestARotatedKey counts with the next token.
func TestARotatedKey(t *testing.T) {
	w := asApp(t)
	good, broken := w.app.Key, true
	w.app.Key = func(ctx context.Context) ([]byte, error) {
		if broken {
			return []byte("-----BEGIN nothing"), nil
		}
		return good(ctx)
	}
	w.open()
	if _, err := w.r.Head(t.Context(), "main"); err == nil {
		t.Error("a key that is none")
	}
	broken = false
	w.head()
}

func TestNoTokenForTheApp(t *testing.T) {
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	foreign := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(other)})
	key := func(text string, err error) func(context.Context) ([]byte, error) {
		return func(context.Context) ([]byte, error) { return []byte(text), err }
	}
	for name, tc := range map[string]struct {
		change func(w *appWorld)
		code   gitops.Code
		says   string
		asked  int
	}{
		"another key":          {func(w *appWorld) { w.app.Key = key(string(foreign), nil) }, gitops.Denied, "private key is none of the App", 1},
		"another App":          {func(w *appWorld) { w.app.ID = 1 }, gitops.Denied, "private key is none of the App", 1},
		"another installation": {func(w *appWorld) { w.app.InstallationID = 8 }, gitops.Denied, "has no installation 8", 1},
		"no key":               {func(w *appWorld) { w.app.Key = key("canary-token-1234", nil) }, gitops.Config, "RSA key in PEM", 0},
		"half a key":           {func(w *appWorld) { w.app.Key = key(string(foreign[:len(foreign)/2]), nil) }, gitops.Config, "RSA key in PEM", 0},
		"a key that cannot be read": {func(w *appWorld) {
			w.app.Key = key("", &gitops.Refusal{Code: gitops.Config, Reason: "No such Secret."})
		}, gitops.Config, "No such Secret.", 0},
		"a file that cannot be read": {func(w *appWorld) { w.app.Key = key("", fs.ErrPermission) }, gitops.Config, "cannot be read", 0},
		"a fault":                    {func(w *appWorld) { w.hub.Fail(githubtest.Fault{Path: "/app/*", Status: 502, Times: 3}) }, gitops.Unreachable, "did not answer", 3},
		"suspended": {func(w *appWorld) {
			w.hub.Fail(githubtest.Fault{Path: "/app/*", Status: 403, Body: message("This installation has been suspended")})
		}, gitops.Denied, "(403). GitHub says: This installation has been suspended.", 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := asApp(t)
			tc.change(w)
			w.open()
			_, err := w.r.Commit(t.Context(), "main", w.first, "Promote podinfo\n", []gitops.File{{Path: "podinfo.yaml", Content: []byte("version: 7.0.0\n")}})
			r := refusalOf(t, err)
			if r.Code != tc.code || !strings.Contains(r.Reason, tc.says) || errors.Is(err, promotion.ErrOutcomeUnknown) {
				t.Errorf("got %v", err)
			}
			if strings.Contains(err.Error(), "BEGIN") || strings.Contains(err.Error(), "eyJ") {
				t.Errorf("it shows a key: %v", err)
			}
			if w.made() != tc.asked {
				t.Errorf("asked %d times", w.made())
			}
		})
	}
}

// polling is a Reader as an App on an origin, which knows a token from some time after it was made.
type polling struct {
	r      *Reader
	o      *origin
	made   int
	lives  time.Duration
	ahead  time.Duration                                // of GitHub's clock is ours
	known  time.Duration                                // after it was made
	until  func(w http.ResponseWriter, r *http.Request) // answers until then
	fails  http.HandlerFunc                             // answers who wants a token, if it is there
	births map[string]time.Time
}

func pollAsApp(t *testing.T) *polling {
	t.Helper()
	_, text := appKey()
	p := &polling{lives: time.Hour, births: map[string]time.Time{}, until: say(401, message("Bad credentials"))}
	p.o = &origin{etag: etags["computable"], answer: func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/access_tokens") {
			if p.fails != nil {
				p.fails(w, r)
				return
			}
			p.made++
			value := fmt.Sprintf("canary-token-%d", p.made)
			p.births[value] = time.Now()
			say(201, fmt.Sprintf(`{"token": %q, "expires_at": %q}`, value, time.Now().Add(p.lives-p.ahead).UTC().Format(time.RFC3339)))(w, r)
			return
		}
		born, ok := p.births[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
		switch age := time.Since(born); {
		case !ok || age >= p.lives:
			say(401, message("Bad credentials"))(w, r)
		case age < p.known:
			p.until(w, r)
		default:
			say(200, "["+item(1, "one")+"]")(w, r)
		}
	}}
	p.r = readerOf(t, p.o, Account{Name: "App 1", App: &App{ID: 1, InstallationID: 2, Key: func(context.Context) ([]byte, error) { return text, nil }}})
	return p
}

// TestPollsAsAnAppForADay cost one full answer, though the token is replaced each hour.
func TestPollsAsAnAppForADay(t *testing.T) {
	virtual(t, func(t *testing.T) {
		p := pollAsApp(t)
		pulls(t, p.r, "acme/fleet")
		for range 24 * 12 {
			time.Sleep(5 * time.Minute)
			if !pulls(t, p.r, "acme/fleet").Unchanged {
				t.Fatal("told again")
			}
		}
		full := 0
		for _, status := range p.o.seen() {
			if status == 200 {
				full++
			}
		}
		if full != 1 || p.made < 24 || p.made > 27 {
			t.Errorf("%d full answers, %d tokens", full, p.made)
		}
	})
}

// TestAFreshToken may be refused for some seconds, with 401 or 403.
func TestAFreshToken(t *testing.T) {
	for _, status := range []int{401, 403} {
		virtual(t, func(t *testing.T) {
			p := pollAsApp(t)
			p.known, p.until = 3*time.Second, say(status, message("Resource not accessible by integration"))
			start := time.Now()
			pulls(t, p.r, "acme/fleet")
			if took := time.Since(start); took != 3*time.Second || p.made != 1 {
				t.Errorf("%d: %s, %d tokens", status, took, p.made)
			}
			p.known, p.until = 2*time.Hour, say(403, message("Resource not accessible by integration"))
			start = time.Now()
			for range 2 { // the second knows that it does not help to wait
				if f := faultOf(t, p.r, "acme/other"); f.Trouble != watch.Forbidden {
					t.Errorf("%+v", f)
				}
			}
			if took := time.Since(start); took != 7*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// TestTokensAreNotMadeForEachPoll, whatever a server says of their ends: to make one is a request that the pace does not know.
func TestTokensAreNotMadeForEachPoll(t *testing.T) {
	for name, p := range map[string]polling{
		"short-lived":        {lives: 3 * time.Minute},
		"over as it is made": {lives: time.Hour, ahead: 2 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				polls := pollAsApp(t)
				polls.lives, polls.ahead = p.lives, p.ahead
				for range 10 * 60 {
					pulls(t, polls.r, "acme/fleet")
					time.Sleep(time.Second)
				}
				if polls.made < 2 || polls.made > 11 {
					t.Errorf("%d tokens for 600 polls in 10 minutes", polls.made)
				}
			})
		})
	}
}

// TestATokenThatCannotBeReplaced is used until its end, and others are not asked for all the time.
func TestATokenThatCannotBeReplaced(t *testing.T) {
	virtual(t, func(t *testing.T) {
		p := pollAsApp(t)
		pulls(t, p.r, "acme/fleet")
		asked := 0
		p.fails = func(w http.ResponseWriter, r *http.Request) {
			asked++
			say(403, message("This installation has been suspended"))(w, r)
		}
		time.Sleep(56 * time.Minute)
		for range 60 {
			pulls(t, p.r, "acme/fleet")
			time.Sleep(time.Second)
		}
		if asked != 1 {
			t.Errorf("asked %d times in a minute", asked)
		}
		time.Sleep(4 * time.Minute)
		for i := range 10 {
			if f := faultOf(t, p.r, fmt.Sprintf("acme/r%d", i)); f.Trouble != watch.Unauthorised || !strings.Contains(f.Reason, "suspended") {
				t.Errorf("%+v", f)
			}
		}
		if s := p.r.Status().Accounts[0]; asked != 2 || s.State != Dead {
			t.Errorf("asked %d times, %+v", asked, s)
		}
		p.fails = nil
		time.Sleep(time.Minute)
		if !pulls(t, p.r, "acme/fleet").Unchanged || p.r.Status().Accounts[0].State != Good {
			t.Errorf("%+v", p.r.Status().Accounts[0])
		}
	})
}

// TestAnAppThatGitHubRejects: a new token does not help.
func TestAnAppThatGitHubRejects(t *testing.T) {
	virtual(t, func(t *testing.T) {
		p := pollAsApp(t)
		pulls(t, p.r, "acme/fleet")
		time.Sleep(2 * time.Minute)
		p.known = 2 * time.Hour
		for range 3 {
			if f := faultOf(t, p.r, "acme/fleet"); f.Trouble != watch.Unauthorised {
				t.Errorf("%+v", f)
			}
		}
		if s := p.r.Status().Accounts[0]; p.made != 2 || s.State != Dead {
			t.Errorf("%d tokens, %+v", p.made, s)
		}
	})
}

// TestWhoWaitsForAToken gets one though whoever asked first went away.
func TestWhoWaitsForAToken(t *testing.T) {
	virtual(t, func(t *testing.T) {
		p := pollAsApp(t)
		p.o.delay = time.Second
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := p.r.Pulls(ctx, watch.Request{Repository: "acme/fleet"}); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
		time.Sleep(time.Millisecond)
		for i := range 3 {
			wg.Go(func() { pulls(t, p.r, fmt.Sprintf("acme/r%d", i)) })
		}
		time.Sleep(time.Millisecond)
		cancel()
		wg.Wait()
		if p.made != 1 {
			t.Errorf("%d tokens", p.made)
		}

		// While a token is replaced the one before serves.
		time.Sleep(56 * time.Minute)
		p.o.delay = 10 * time.Second
		wg.Go(func() { pulls(t, p.r, "acme/r0") })
		time.Sleep(time.Millisecond)
		start := time.Now()
		pulls(t, p.r, "acme/r1")
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("it took %s", took)
		}
		wg.Wait()
	})
}

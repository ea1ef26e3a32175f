package github

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ferry-chatops/ferry/internal/watch"
)

// An origin is a GitHub without a network, so that its time may be virtual: the bottom of a transport under test.
type origin struct {
	answer    http.HandlerFunc // before ETags and conditions
	answering sync.Mutex       // one at a time

	mu    sync.Mutex
	etag  func(r *http.Request, body []byte) (etag, vary string)
	log   []exchange
	now   int // requests under way
	most  int
	delay time.Duration
}

// An exchange is one request as it arrived, with what came of it.
type exchange struct {
	at     time.Time
	method string
	path   string // with the query
	asked  string // If-None-Match
	auth   string
	status int
}

func (o *origin) RoundTrip(r *http.Request) (*http.Response, error) {
	o.mu.Lock()
	o.now++
	o.most = max(o.most, o.now)
	at, delay := time.Now(), o.delay
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		o.now--
		o.mu.Unlock()
	}()
	if err := sleep(r.Context(), delay); err != nil {
		return nil, err
	}
	rec := httptest.NewRecorder()
	rec.Header().Set("Content-Type", "application/json; charset=utf-8")
	rec.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	o.answering.Lock()
	o.answer(rec, r)
	o.answering.Unlock()
	resp := rec.Result()
	raw, _ := io.ReadAll(resp.Body)
	resp.ContentLength = int64(len(raw))
	o.mu.Lock()
	defer o.mu.Unlock()
	if resp.StatusCode == http.StatusOK && o.etag != nil && r.Method == http.MethodGet {
		etag, vary := o.etag(r, raw)
		resp.Header.Set("Vary", vary)
		if etag != "" {
			resp.Header.Set("Etag", etag)
			if opaque(r.Header.Get("If-None-Match")) == opaque(etag) {
				resp.StatusCode, raw, resp.ContentLength = http.StatusNotModified, nil, 0
			}
		}
	}
	resp.Body, resp.Request = io.NopCloser(bytes.NewReader(raw)), r
	o.log = append(o.log, exchange{at, r.Method, r.URL.RequestURI(), r.Header.Get("If-None-Match"), r.Header.Get("Authorization"), resp.StatusCode})
	if r.Header.Get("If-Modified-Since") != "" {
		return nil, fmt.Errorf("If-Modified-Since was sent")
	}
	return resp, nil
}

// seen are the statuses of the requests since the last call.
func (o *origin) seen() (statuses []int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.log {
		statuses = append(statuses, e.status)
	}
	o.log = nil
	return statuses
}

// The ways to make ETags that ferry has to be right with.
var etags = map[string]func(r *http.Request, body []byte) (etag, vary string){
	"computable": func(r *http.Request, body []byte) (string, string) {
		return `"` + github2025(r, body) + `"`, "Accept, Authorization, Cookie, X-GitHub-OTP, Accept-Encoding, Accept, X-Requested-With"
	},
	"weak": func(r *http.Request, body []byte) (string, string) {
		return `W/"` + github2025(r, body) + `"`, "Accept, Authorization, Cookie"
	},
	"random for each token": func(r *http.Request, body []byte) (string, string) {
		sum := sha256.Sum256(append([]byte("salt"+r.Header.Get("Authorization")), body...))
		return `W/"` + hex.EncodeToString(sum[:16]) + `"`, "Accept, Authorization, Cookie"
	},
	"of the body alone": func(_ *http.Request, body []byte) (string, string) {
		sum := sha256.Sum256(append([]byte("salt"), body...))
		return `"` + hex.EncodeToString(sum[:8]) + `"`, "Accept, Accept-Encoding"
	},
	"none": func(*http.Request, []byte) (string, string) { return "", "Accept, Authorization, Cookie" },
}

// github2025 is what GitHub was found to hash, written down a second time.
func github2025(r *http.Request, body []byte) string {
	text := ""
	for _, name := range []string{"Accept", "Authorization", "Cookie"} {
		if lines := r.Header.Values(name); len(lines) > 0 {
			text += strings.Join(lines, ":") + ":"
		}
	}
	sum := sha256.Sum256(append([]byte(text), body...))
	return hex.EncodeToString(sum[:])
}

// readerOf is a Reader of an origin, with accounts whose tokens are in turn.
func readerOf(t *testing.T, o *origin, accounts ...Account) *Reader {
	t.Helper()
	r, err := newReader(ReaderConfig{Accounts: accounts}, o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// a turning token may be changed between requests.
type turning struct {
	mu    sync.Mutex
	value string
}

func (k *turning) set(value string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.value = value
}

func (k *turning) token(context.Context) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.value, nil
}

// item is a pull request as it is listed.
func item(number int, title string) string {
	return fmt.Sprintf(`{"number": %d, "html_url": "https://github.com/acme/fleet/pull/%[1]d", "title": %q, "user": {"login": "ada"}, "state": "open",
"labels": [{"name": "b"}, {"name": "a"}], "head": {"ref": "topic", "sha": %q, "repo": null}, "base": {"ref": "main", "sha": %q, "repo": {"id": 42, "full_name": "acme/fleet"}},
"created_at": "2026-11-20T07:00:00Z", "updated_at": "2026-11-20T08:00:00Z", "closed_at": null, "merged_at": null}`, number, title, sha, other)
}

func pulls(t *testing.T, r *Reader, repository string) watch.Page {
	t.Helper()
	page, err := r.Pulls(t.Context(), watch.Request{Repository: repository})
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// through is a client whose requests go through a cache over an origin.
func through(c *conditional, o *origin, value string) *http.Client {
	api := &url.URL{Scheme: "https", Host: "api.github.com", Path: "/"}
	return &http.Client{Transport: newAccount(Account{Token: (&turning{value: value}).token}, api, o, c, newClock(1), slog.New(slog.DiscardHandler))}
}

// get reads an address.
func get(t *testing.T, client *http.Client, address string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(raw)
}

// virtual runs a test in virtual time.
func virtual(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

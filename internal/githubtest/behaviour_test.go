package githubtest_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/google/go-github/v60/github"

	"github.com/ferry-chatops/ferry/internal/githubtest"
)

// An answer is one as it came.
type answer struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body
}

// get asks without any client's cleverness. Headers are name and value in turn.
func (r rig) get(path, token string, headers ...string) answer {
	r.Helper()
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, strings.TrimSuffix(r.hub.APIURL(), "/")+path, nil)
	r.must(err)
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("User-Agent", "ferry/test")
	for i := 0; i < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
	}
	got, err := (&http.Transport{DisableCompression: true, DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return answer{err: err}
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	return answer{got.StatusCode, got.Header, string(body), err}
}

const polled = "/repos/acme/thin/pulls?state=all&sort=updated&direction=desc&per_page=10"

// thin starts a stand-in with a made-up repository of some pull requests, acme/thin, and a second token.
func thin(t *testing.T, options ...githubtest.Option) rig {
	t.Helper()
	r := start(t, options...)
	r.must(r.hub.MakeUp("acme/thin"))
	for range 3 {
		r.apply(githubtest.Open, 0)
	}
	r.hub.AddToken("0ther", "bot")
	return r
}

func (r rig) apply(do githubtest.Action, number int) {
	r.Helper()
	r.must(r.hub.Apply(githubtest.Change{Repository: "acme/thin", Do: do, Number: number, Label: "x"}))
}

func TestETags(t *testing.T) {
	// As it was found out about GitHub: what Vary names takes part.
	derive := func(body string, values ...string) string {
		sum := sha256.Sum256([]byte(strings.Join(append(values, body), ":")))
		return `"` + hex.EncodeToString(sum[:]) + `"`
	}
	for name, b := range map[string]githubtest.Behaviour{
		"per token":     {},
		"derived":       {ETag: githubtest.Derived},
		"derived, weak": {ETag: githubtest.Derived, Weak: true},
		"body":          {ETag: githubtest.Body},
		"none":          {ETag: githubtest.Without},
	} {
		t.Run(name, func(t *testing.T) {
			r := thin(t)
			r.hub.SetBehaviour(b)
			points := func() int { return r.hub.Load(false).Points["bot"] }
			accept := []string{"Accept", "application/json"}
			first := r.get(polled, "t0ken", accept...)
			etag := first.header.Get("ETag")
			if first.status != 200 || (etag == "") != (b.ETag == githubtest.Without) || strings.HasPrefix(etag, "W/") != b.Weak {
				t.Fatalf("%d, ETag %s", first.status, etag)
			}
			if got := first.header.Get("Cache-Control"); got != "private, max-age=60, s-maxage=60" {
				t.Errorf("Cache-Control %s", got)
			}
			if varies := strings.Contains(first.header.Get("Vary"), "Authorization"); varies == (b.ETag == githubtest.Body) {
				t.Errorf("Vary %s", first.header.Get("Vary"))
			}
			other := etag // what another token has to ask with
			switch b.ETag {
			case githubtest.Derived:
				if want := derive(first.body, "application/json", "Bearer t0ken"); strings.TrimPrefix(etag, "W/") != want {
					t.Errorf("ETag %s, want %s", etag, want)
				}
				other = derive(first.body, "application/json", "Bearer 0ther")
			case githubtest.Body:
				if want := derive(first.body); etag != want {
					t.Errorf("ETag %s, want %s", etag, want)
				}
			case githubtest.PerToken:
				if again := r.get(polled, "t0ken").header.Get("ETag"); again != etag {
					t.Errorf("again %s, first %s", again, etag)
				}
			}
			spent := points()
			ask := func(token, etag string) int {
				got := r.get(polled, token, append(accept, "If-None-Match", etag)...)
				if got.status == 304 && (got.body != "" || got.header.Get("X-RateLimit-Remaining") == "" || got.header.Get("ETag") == "") {
					t.Errorf("304 with body %q, headers %v", got.body, got.header)
				}
				return got.status
			}
			want := map[bool]int{true: 304, false: 200}
			if got := ask("t0ken", strings.TrimPrefix(etag, "W/")); got != want[b.ETag != githubtest.Without] {
				t.Errorf("unchanged: %d", got)
			}
			if got := ask("0ther", other); got != want[b.ETag == githubtest.Derived || b.ETag == githubtest.Body] {
				t.Errorf("another token: %d", got)
			}
			if want := map[githubtest.ETag]int{githubtest.PerToken: 1, githubtest.Without: 2}[b.ETag]; points()-spent != want {
				t.Errorf("%d points spent, want %d: 304 costs nothing", points()-spent, want)
			}
			r.apply(githubtest.Star, 0)
			if got := ask("t0ken", etag); got != 200 {
				t.Errorf("after a star: %d", got)
			}
			empty := r.get("/repos/acme/fleet/pulls", "t0ken", accept...)
			if b.ETag == githubtest.Derived && strings.TrimPrefix(empty.header.Get("ETag"), "W/") != derive("[]", "application/json", "Bearer t0ken") {
				t.Errorf("of an empty list: %s, %q", empty.header.Get("ETag"), empty.body)
			}
		})
	}
}

// TestPrettyPrintedAfterItWasNamed: GitHub prints for people what it named before.
func TestPrettyPrintedAfterItWasNamed(t *testing.T) {
	r := thin(t)
	r.hub.SetBehaviour(githubtest.Behaviour{ETag: githubtest.Body})
	plain, lines := r.get(polled, "t0ken"), r.get(polled, "t0ken", "User-Agent", "curl/8")
	if plain.header.Get("ETag") != lines.header.Get("ETag") || strings.Contains(plain.body, "\n") {
		t.Errorf("%s and %s", plain.header.Get("ETag"), lines.header.Get("ETag"))
	}
	request, err := http.NewRequest(http.MethodGet, strings.TrimSuffix(r.hub.APIURL(), "/")+polled, nil)
	r.must(err)
	request.Header = http.Header{"Authorization": {"token t0ken"}, "User-Agent": {"curl/8"}}
	got, err := http.DefaultClient.Do(request)
	r.must(err)
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	r.must(err)
	if !bytes.HasPrefix(body, []byte("[\n  {\n")) {
		t.Errorf("%.40q", body)
	}
}

func TestPrimaryLimit(t *testing.T) {
	r := thin(t, githubtest.Pace(time.Now(), 1))
	r.hub.SetBehaviour(githubtest.Behaviour{Limits: githubtest.Limits{Hourly: 3}})
	for want := 2; want >= 0; want-- {
		list, got, err := r.gh.PullRequests.List(t.Context(), "acme", "thin", nil)
		if err != nil || len(list) != 3 || got.Rate.Limit != 3 || got.Rate.Remaining != want {
			t.Fatalf("%v, %+v", err, got.Rate)
		}
	}
	_, _, err := r.gh.PullRequests.List(t.Context(), "acme", "thin", nil)
	limited, ok := errors.AsType[*github.RateLimitError](err)
	if !ok || limited.Rate.Remaining != 0 || limited.Response.StatusCode != 403 {
		t.Fatalf("over the limit: %v", err)
	}
	if left := time.Until(limited.Rate.Reset.Time); left < 59*time.Minute || left > time.Hour+time.Second {
		t.Errorf("reset in %s", left)
	}
	// The budget is the account's: another token of it has none either, and another account has its own.
	r.hub.AddToken("alien", "carol")
	if got := r.get(polled, "0ther"); got.status != 403 || got.header.Get("X-RateLimit-Remaining") != "0" {
		t.Errorf("another token: %d", got.status)
	}
	if got := r.get(polled, "alien"); got.status != 200 {
		t.Errorf("another account: %d", got.status)
	}
	r.hub.Advance(time.Hour)
	if got := r.get(polled, "0ther"); got.status != 200 || got.header.Get("X-RateLimit-Remaining") != "2" || got.header.Get("X-RateLimit-Resource") != "core" {
		t.Errorf("an hour later: %d, %v", got.status, got.header)
	}
	r.hub.SetBehaviour(githubtest.Behaviour{Limits: githubtest.Limits{Silent: true}})
	for range 3 {
		if got := r.get(polled, "t0ken"); got.status != 200 || got.header.Get("X-RateLimit-Limit") != "" {
			t.Errorf("without limits: %d, %v", got.status, got.header)
		}
	}
}

func TestSecondaryLimits(t *testing.T) {
	for _, tc := range []struct {
		status int
		after  time.Duration
		header string
	}{{403, 0, ""}, {403, time.Minute, "60"}, {429, 0, ""}, {429, 90 * time.Second, "90"}} {
		r := thin(t)
		r.hub.SetBehaviour(githubtest.Behaviour{Limits: githubtest.Limits{PerMinute: 4, Status: tc.status, RetryAfter: tc.after}})
		for range 4 {
			if got := r.get(polled, "t0ken"); got.status != 200 {
				t.Fatalf("within the limit: %d", got.status)
			}
		}
		got := r.get(polled, "t0ken")
		if got.status != tc.status || got.header.Get("Retry-After") != tc.header || !strings.Contains(got.body, "secondary rate limit") {
			t.Errorf("over the limit: %d, %v, %s", got.status, got.header, got.body)
		}
		r.hub.Advance(time.Minute)
		if got := r.get(polled, "t0ken"); got.status != 200 {
			t.Errorf("a minute later: %d", got.status)
		}
		load := r.hub.Load(true)
		if load.PerMinute != 5 || load.Concurrent != 1 || load.Requests != 6 || load.Statuses[200] != 5 || load.Statuses[tc.status] != 1 || load.Points["bot"] != 5 {
			t.Errorf("load %+v", load)
		}
		if again := r.hub.Load(false); again.Requests != 0 {
			t.Errorf("anew: %+v", again)
		}
	}
	// The same by a script, for no reason that the client could know.
	r := thin(t)
	for _, status := range []int{403, 429} {
		r.hub.Fail(githubtest.SecondaryLimit(status, 7))
		if got := r.get(polled, "t0ken"); got.status != status || got.header.Get("Retry-After") != "7" || !json.Valid([]byte(got.body)) {
			t.Errorf("scripted: %d %v %s", got.status, got.header, got.body)
		}
	}
}

func TestConcurrencyIsLimited(t *testing.T) {
	r := thin(t)
	r.hub.SetBehaviour(githubtest.Behaviour{Limits: githubtest.Limits{Concurrent: 1}})
	r.hub.Fail(githubtest.Fault{Path: "/user", Delay: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	held := make(chan error)
	go func() {
		_, _, err := r.gh.Users.Get(ctx, "")
		held <- err
	}()
	for tick := time.Tick(time.Millisecond); r.hub.Load(false).Requests == 0; {
		<-tick // the request has not arrived yet
	}
	if got := r.get(polled, "t0ken"); got.status != 403 || r.hub.Load(false).Concurrent != 2 {
		t.Errorf("beside another: %d, %+v", got.status, r.hub.Load(false))
	}
	cancel()
	if err := <-held; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestTokensOfAnApp(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	r := thin(t)
	r.hub.AddApp(7, 70, "ferry", &key.PublicKey, "acme/thin")
	r.hub.SetBehaviour(githubtest.Behaviour{Fresh: 3 * time.Second, Life: 30 * time.Minute, Skew: time.Hour})
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	token := func() string {
		t.Helper()
		transport, err := ghinstallation.New(http.DefaultTransport, 7, 70, private)
		r.must(err)
		transport.InstallationTokenOptions = &github.InstallationTokenOptions{} // a body that is described
		transport.BaseURL = strings.TrimSuffix(r.hub.APIURL(), "/")
		secret, err := transport.Token(t.Context())
		r.must(err)
		if ends, _, err := transport.Expiry(); err != nil || time.Until(ends) < 89*time.Minute || time.Until(ends) > 91*time.Minute {
			t.Errorf("expires %v, %v: half an hour by a clock that is an hour ahead", ends, err)
		}
		return secret
	}
	want := func(secret, path string, status int) {
		t.Helper()
		if got := r.get(path, secret); got.status != status {
			t.Errorf("%s: %d, want %d", path, got.status, status)
		}
	}
	first := token()
	want(first, polled, 401) // too new
	r.hub.Advance(3 * time.Second)
	want(first, polled, 200)
	want(first, "/repos/acme/fleet/pulls", 404) // not of this installation
	r.hub.Advance(29 * time.Minute)
	second := token()
	want(first, polled, 200) // beside the next one
	r.hub.Advance(time.Minute)
	want(first, polled, 401)
	want(second, polled, 200)
	r.hub.Revoke("ferry[bot]")
	want(second, polled, 401)
	got := r.get(polled, "t0ken")
	date, err := http.ParseTime(got.header.Get("Date"))
	if err != nil || time.Until(date) < 59*time.Minute {
		t.Errorf("Date %s", got.header.Get("Date"))
	}
	reset, err := strconv.ParseInt(got.header.Get("X-RateLimit-Reset"), 10, 64)
	if left := time.Unix(reset, 0).Sub(date); err != nil || left < 29*time.Minute || left > time.Hour+time.Second {
		t.Errorf("reset %s after Date", left)
	}
}

func TestWires(t *testing.T) {
	r := thin(t)
	whole := r.get(polled, "t0ken")
	for wire, check := range map[githubtest.Wire]func(answer) bool{
		githubtest.Chunked: func(a answer) bool {
			return a.err == nil && a.body == whole.body && a.header.Get("Content-Length") == ""
		},
		githubtest.Gzip: func(a answer) bool {
			return a.err == nil && a.header.Get("Content-Encoding") == "gzip" && len(a.body) < len(whole.body)/2 && a.header.Get("ETag") == "W/"+whole.header.Get("ETag")
		},
		githubtest.Truncated: func(a answer) bool {
			return a.err != nil && a.header.Get("Content-Length") == strconv.Itoa(len(whole.body)) && strings.HasPrefix(whole.body, a.body)
		},
		githubtest.TruncatedChunked: func(a answer) bool { return a.err != nil && a.header.Get("Content-Length") == "" },
		githubtest.Halved:           func(a answer) bool { return a.err == nil && len(a.body) == len(whole.body)/2 },
	} {
		r.hub.Fail(githubtest.Fault{Path: "/repos/*/pulls", Wire: wire})
		if got := r.get(polled, "t0ken", "Accept-Encoding", "gzip"); !check(got) {
			t.Errorf("%s: %d, %d bytes, %v, %v", wire, got.status, len(got.body), got.err, got.header)
		}
		if got := r.get(polled, "t0ken"); got.body != whole.body {
			t.Errorf("after %s: %d, %v", wire, got.status, got.err)
		}
		r.hub.SetBehaviour(githubtest.Behaviour{Wire: wire})
		if got := r.get(polled, "t0ken", "Accept-Encoding", "gzip"); !check(got) {
			t.Errorf("%s always: %d, %d bytes, %v, %v", wire, got.status, len(got.body), got.err, got.header)
		}
		if got := r.get(polled, "t0ken", "If-None-Match", whole.header.Get("ETag")); got.status != 304 || got.err != nil {
			t.Errorf("%s: %d, %v", wire, got.status, got.err)
		}
		r.hub.SetBehaviour(githubtest.Behaviour{})
	}
	r.hub.SetBehaviour(githubtest.Behaviour{Wire: githubtest.Gzip, Latency: time.Microsecond})
	if list, _, err := r.gh.PullRequests.List(t.Context(), "acme", "thin", nil); err != nil || len(list) != 3 {
		t.Errorf("go-github: %v, %v", list, err)
	}
}

func TestFaultsByChance(t *testing.T) {
	run := func(seed uint64) (statuses []int) {
		r := thin(t, githubtest.Seed(seed))
		r.hub.Fail(githubtest.Fault{Path: "/repos/*/pulls", Status: 502, Probability: 0.3, Times: -1})
		for range 40 {
			statuses = append(statuses, r.get(polled, "t0ken").status)
		}
		r.hub.Mend()
		if got := r.get(polled, "t0ken"); got.status != 200 {
			t.Errorf("mended: %d", got.status)
		}
		return statuses
	}
	first := run(1)
	if !slices.Contains(first, 502) || !slices.Contains(first, 200) || !slices.Equal(first, run(1)) || slices.Equal(first, run(2)) {
		t.Errorf("%v", first)
	}
}

func TestReplicasLag(t *testing.T) {
	const lag = time.Minute
	r := thin(t, githubtest.Pace(time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), 1))
	r.hub.SetBehaviour(githubtest.Behaviour{Lag: lag})
	r.hub.Advance(lag)
	// Two pull requests change in one second; each replica puts them in its own order.
	r.apply(githubtest.Label, 1)
	r.apply(githubtest.Label, 2)
	labelled := func() (found []int, order string) {
		list, _, err := r.gh.PullRequests.List(t.Context(), "acme", "thin", &github.PullRequestListOptions{State: "all", Sort: "updated", Direction: "desc"})
		r.must(err)
		for _, p := range list {
			order += fmt.Sprint(p.GetNumber())
			if len(p.Labels) > 0 {
				found = append(found, p.GetNumber())
			}
		}
		return found, order
	}
	var late bool
	seen := [2]int{}
	for i := range 40 {
		found, _ := labelled()
		if replica := i % 2; len(found) < seen[replica] {
			t.Errorf("a replica forgot: %d, then %d", seen[replica], len(found))
		} else {
			seen[replica] = len(found)
		}
		late = late || len(found) == 0
		r.hub.Advance(3 * time.Second)
	}
	if !late || seen != [2]int{2, 2} {
		t.Errorf("late: %t; at the end the replicas know %v", late, seen)
	}
	_, one := labelled()
	_, other := labelled()
	if orders := []string{one, other}; !slices.Contains(orders, "213") || !slices.Contains(orders, "123") {
		t.Errorf("orders %v", orders)
	}
}

func TestAccessLogIsWritten(t *testing.T) {
	var log bytes.Buffer
	hub, err := githubtest.Serve(t.TempDir(), "127.0.0.1:0", githubtest.LogTo(&log))
	if err != nil {
		t.Fatal(err)
	}
	hub.AddToken("t0ken", "bot")
	r := rig{T: t, hub: hub}
	r.get("/user?x=1", "t0ken")
	hub.Close()
	if got := log.String(); !strings.Contains(got, " bot GET /api/v3/user?x=1 200 ") || strings.Count(got, "\n") != 1 || len(hub.Requests()) != 0 {
		t.Errorf("%q", got)
	}
}

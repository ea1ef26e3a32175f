package github

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// GitHub's numbers are in its documentation, "Rate limits for the REST API": at most 100 requests at once and 900 points
// a minute. ferry stays well below, since it does not know who else uses the account: in any minute polls make at most
// pollBurst + concurrent + 558 requests, which is 590.
const (
	concurrent   = 8
	spacing      = time.Second * 60 / 558 // between requests in the long run
	pollBurst    = 24                     // requests that polls may make as fast as GitHub answers
	commandBurst = 60                     // and commands, for which somebody waits

	reserve        = 5               // a part of this many of the primary budget is left to commands
	shortPause     = 5 * time.Second // a command waits for it
	secondaryPause = time.Minute     // without a time from GitHub, doubled each time
	longestPause   = 15 * time.Minute
	longestReset   = 65 * time.Minute // GitHub's primary limits last an hour
	longestRetry   = 2 * time.Hour
	maxMessage     = 64 << 10 // bytes of an answer that refuses
)

// A manner is how a request is to be made. It travels in the request's context.
type manner struct {
	poll  bool // by the clock, not because somebody waits
	once  bool // the answer is not kept
	list  bool // it may be "[]"
	whole bool // a poll wants the body though it may be known
}

type mannerKey struct{}

func with(ctx context.Context, m manner) context.Context {
	return context.WithValue(ctx, mannerKey{}, m)
}

func mannerOf(ctx context.Context) manner {
	m, _ := ctx.Value(mannerKey{}).(manner)
	return m
}

// A limitError is an answer that names a rate limit, or stands for one that it would get.
type limitError struct {
	answer
	resume time.Time // by our own clock
}

func (e *limitError) Error() string {
	return fmt.Sprintf("GitHub's rate limit is reached (%d): %s", e.status, sentence(e.message))
}

// A Budget is one of GitHub's primary rate limits, as its last answer told it.
type Budget struct {
	Resource         string // GitHub's name of it: "core", "graphql"
	Limit, Remaining int
	Reset            time.Time // by our clock
}

// Counts are what an account's requests came to.
type Counts struct {
	OK, Unchanged, Refused, Failed, Broken int64 // 2xx and 3xx, 304, 4xx, 5xx, no whole answer
	Bytes                                  int64 // of bodies, unpacked
}

// A gate keeps the requests of one account under GitHub's limits: their pace, how many at once, and pauses. It turns
// answers about limits into a *limitError.
type gate struct {
	next  http.RoundTripper
	clock *clock
	log   *slog.Logger
	name  string // of the account
	slots chan struct{}

	mu      sync.Mutex
	due     time.Time         // when the pace alone would have the next request
	limits  map[string]*limit // by resource; "" is for all of them: the secondary limits
	budgets map[string]Budget
	charged time.Time // until when polls wait, after one that cost a point of the reserve
	strikes int       // secondary limits in a row
	since   time.Time // the last of them
	broken  int       // failures in a row
	counts  Counts
}

type limit struct {
	until time.Time
	said  answer
	guess bool // GitHub gave no time: a command, for which somebody waits, may try all the same
}

func newGate(next http.RoundTripper, clock *clock, name string, log *slog.Logger) *gate {
	return &gate{next: next, clock: clock, log: log, name: name, slots: make(chan struct{}, concurrent),
		limits: map[string]*limit{}, budgets: map[string]Budget{}}
}

// RoundTrip waits for its turn. A poll does not wait for the end of a limit, and a command only a short time.
func (g *gate) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, poll := req.Context(), mannerOf(req.Context()).poll
	resource := "core"
	if strings.HasSuffix(req.URL.Path, "/graphql") {
		resource = "graphql"
	}
	if err := g.wait(ctx, resource, poll); err != nil {
		return nil, err
	}
	select {
	case g.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := g.limited(resource, poll); err != nil { // by an answer in the meantime
		<-g.slots
		return nil, err
	}
	begin := g.clock.now()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	resp, err := g.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel()
		<-g.slots
		g.mu.Lock()
		defer g.mu.Unlock()
		g.counts.Broken++
		g.broken++
		return nil, err
	}
	resp.Body = &metered{ReadCloser: resp.Body, g: g, cancel: cancel}
	if resp.StatusCode == http.StatusNotModified {
		_ = resp.Body.Close() // it has none
		resp.Body = http.NoBody
	}
	if resp.StatusCode >= 400 {
		hide(resp, req.Header.Get("Authorization"))
	}
	if limited := g.note(resp, resource, poll, begin); limited != nil {
		return nil, limited
	}
	return resp, nil
}

// wait takes the next place in the pace.
func (g *gate) wait(ctx context.Context, resource string, poll bool) error {
	err := g.limited(resource, poll)
	if err != nil && (poll || err.resume.Sub(g.clock.now()) > g.clock.own(shortPause)) {
		return err
	}
	if err != nil {
		if err := g.clock.sleep(ctx, err.resume.Sub(g.clock.now())); err != nil {
			return err
		}
	}
	burst := commandBurst
	if poll {
		burst = pollBurst
	}
	space := g.clock.own(spacing)
	g.mu.Lock()
	now := g.clock.now()
	if g.due.Before(now) {
		g.due = now
	}
	ahead := g.due.Sub(now) - time.Duration(burst-1)*space
	g.due = g.due.Add(space)
	g.mu.Unlock()
	if ahead <= 0 {
		return ctx.Err()
	}
	if poll { // those that wait go on together: to wake the process takes as much of a processor as a poll
		ahead = now.Add(ahead + concurrent*space - 1).Truncate(concurrent * space).Sub(now)
	}
	return g.clock.sleep(ctx, ahead)
}

// limited says whether a request would meet a limit that is known.
func (g *gate) limited(resource string, poll bool) *limitError {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock.now()
	for _, name := range [...]string{"", resource} {
		if l := g.limits[name]; l != nil && now.Before(l.until) && (poll || !l.guess) {
			return &limitError{answer: l.said, resume: l.until}
		}
	}
	if poll && now.Before(g.charged) {
		return &limitError{resume: g.charged, answer: answer{status: http.StatusTooManyRequests, limited: true,
			message: "what is left of the budget is kept for commands"}}
	}
	return nil
}

// note keeps what an answer says of limits.
func (g *gate) note(resp *http.Response, resource string, poll bool, begin time.Time) *limitError {
	header, said := resp.Header, answer{}
	if resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusTooManyRequests {
		said = refusalIn(resp)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock.now()
	switch code := resp.StatusCode; {
	case code == http.StatusNotModified:
		g.counts.Unchanged++
	case code >= 500:
		g.counts.Failed++
		g.broken++
	case code >= 400:
		g.counts.Refused++
	default:
		g.counts.OK++
	}
	if resp.StatusCode < 500 {
		g.broken = 0
	}
	left, reset := g.budget(resp, resource, poll, now)
	if !said.limited {
		if resp.StatusCode < 400 {
			if begin.After(g.since) {
				g.strikes = 0
			}
			if left == 0 {
				used := answer{status: http.StatusForbidden, header: header, limited: true, message: "the budget of this hour is used up"}
				used.until = used.reset()
				g.limits[resource] = &limit{until: reset, said: used}
			}
		}
		return nil
	}
	var until time.Time
	name, guess := "", false
	retry, told := retryAfter(header)
	switch {
	case told:
		until = now.Add(min(retry, longestRetry))
	case left == 0:
		name, until = resource, reset
	default:
		guess = true
		if begin.After(g.since) { // not one of several that were under way together
			g.strikes++
		}
		until = now.Add(min(g.clock.own(secondaryPause)<<min(max(g.strikes-1, 0), 10), g.clock.own(longestPause)))
	}
	g.since = now
	known := g.limits[name]
	if known == nil || known.until.Before(until) {
		if known == nil || known.until.Before(now) {
			g.log.Warn("GitHub limits requests", "account", g.name, "status", resp.StatusCode, "pause", until.Sub(now).Round(time.Second))
		}
		g.limits[name] = &limit{until: until, said: said, guess: guess}
	}
	return &limitError{answer: said, resume: until}
}

// budget reads the headers of the primary limit, if they are there: what remains, -1 without, and when it begins again
// by our clock. Reset is by GitHub's clock, which the header Date tells.
func (g *gate) budget(resp *http.Response, resource string, poll bool, now time.Time) (left int, reset time.Time) {
	header := resp.Header
	left, err := strconv.Atoi(header.Get("X-RateLimit-Remaining"))
	if err != nil || left < 0 {
		return -1, time.Time{}
	}
	whole, _ := strconv.Atoi(header.Get("X-RateLimit-Limit"))
	if r := header.Get("X-RateLimit-Resource"); r != "" && len(r) < 40 {
		resource = r
	}
	wait := time.Duration(0)
	if unix, err := strconv.ParseInt(header.Get("X-RateLimit-Reset"), 10, 64); err == nil {
		theirs, err := http.ParseTime(header.Get("Date"))
		if err != nil {
			theirs = now
		}
		wait = time.Unix(unix, 0).Sub(theirs)
	}
	reset = now.Add(min(max(wait, time.Second), longestReset))
	before, known := g.budgets[resource]
	if known || len(g.budgets) < 20 { // GitHub has about ten
		g.budgets[resource] = Budget{Resource: resource, Limit: whole, Remaining: left, Reset: reset}
	}
	// The last fifth is for commands. Polls that cost nothing go on; after one that did, polls wait for a part of the
	// time that is left.
	if resource == "core" && left < whole/reserve && resp.StatusCode != http.StatusNotModified && poll {
		if !known || before.Remaining >= whole/reserve {
			g.log.Warn("the last fifth of GitHub's budget is kept for commands", "account", g.name, "remaining", left, "limit", whole)
		}
		g.charged = now.Add(max(reset.Sub(now)/20, g.clock.own(10*time.Second)))
	}
	return left, reset
}

// state is what polls may do: when they may go on, zero for now, and why not before.
func (g *gate) state() (until time.Time, why string) {
	if l := g.limited("core", true); l != nil {
		return l.resume, l.message
	}
	return time.Time{}, ""
}

// failing says that GitHub has not answered for a while: nothing is repeated at once then.
func (g *gate) failing() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.broken > 2*concurrent
}

// told are the counts and budgets.
func (g *gate) told() (Counts, map[string]Budget) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.counts, maps.Clone(g.budgets)
}

// retryAfter reads the header of this name: seconds, or a date.
func retryAfter(header http.Header) (time.Duration, bool) {
	value := header.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil && seconds >= 0 {
		return max(time.Duration(min(seconds, 1<<20))*time.Second, time.Second), true
	}
	at, err := http.ParseTime(value)
	now, bad := http.ParseTime(header.Get("Date"))
	if err != nil || bad != nil {
		return 0, false
	}
	return max(at.Sub(now), time.Second), true
}

// hide takes the credential out of an answer that refuses: people are told what it says, and what stands before a server may
// repeat what it was sent.
func hide(resp *http.Response, authorization string) {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxMessage)) // of half a message the status still tells
	_ = resp.Body.Close()
	if _, value, _ := strings.Cut(authorization, " "); value != "" {
		body = bytes.ReplaceAll(body, []byte(value), []byte("…"))
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
}

// refusalIn reads an answer that refuses, and puts its body back.
func refusalIn(resp *http.Response) answer {
	body, _ := io.ReadAll(resp.Body) // from memory
	resp.Body = io.NopCloser(bytes.NewReader(body))
	var text struct {
		Message string
		Link    string `json:"documentation_url"`
	}
	_ = json.Unmarshal(body, &text) // a page of a proxy says nothing
	a := answer{status: resp.StatusCode, header: resp.Header, message: cmp.Or(text.Message, http.StatusText(resp.StatusCode))}
	a.limited = a.limits() || contains(text.Link, "secondary-rate-limits")
	if a.limited {
		a.until = a.reset()
	}
	return a
}

// metered counts a body, and ends its request with it.
type metered struct {
	io.ReadCloser
	g      *gate
	cancel context.CancelFunc
	count  int64
	ended  bool
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	m.count += int64(n)
	if err != nil {
		m.end(err)
	}
	return n, err
}

func (m *metered) Close() error {
	err := m.ReadCloser.Close()
	m.end(nil)
	return err
}

func (m *metered) end(err error) {
	if m.ended {
		return
	}
	m.ended = true
	m.cancel()
	m.g.mu.Lock()
	m.g.counts.Bytes += m.count
	if err != nil && err != io.EOF { //nolint:errorlint // io.Reader's contract is EOF itself
		m.g.counts.Broken++
	}
	m.g.mu.Unlock()
	<-m.g.slots
}

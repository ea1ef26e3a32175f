package githubtest

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Behaviour is how the stand-in answers, beside what it answers. Durations are on the stand-in's own clock (see
// Pace) where nothing else is said.
type Behaviour struct {
	ETag ETag
	Weak bool // ETags have the form W/"…", as GitHub's mostly have
	// Wire is how the body of every answer travels; empty: with a Content-Length.
	Wire Wire
	// Skew is what GitHub's clock is ahead of this machine's: in Date, X-RateLimit-Reset and the end of a token.
	Skew time.Duration
	// Latency comes before every answer of the API, in real time.
	Latency time.Duration
	// Fresh is for how long GitHub refuses a new token of an App with 401.
	Fresh time.Duration
	// Life is how long a token of an App is valid; zero: an hour.
	Life time.Duration
	// Lag is how far behind the two replicas are at most that answer in turn for made-up repositories.
	Lag    time.Duration
	Limits Limits
}

// Limits are those of one account: of a user, whichever of its tokens is used, or of an installation.
type Limits struct {
	// Hourly is the primary limit: answers other than 304 in an hour. Zero: 5,000 are announced and none are counted off.
	Hourly int
	// PerMinute and Concurrent are secondary limits: requests of any outcome. Zero: none.
	PerMinute, Concurrent int
	// Status is that of a secondary limit; zero: 403.
	Status int
	// RetryAfter is told with a secondary limit; zero: it is not told.
	RetryAfter time.Duration
	// Silent leaves out all headers of limits, as GitHub Enterprise Server does from the start.
	Silent bool
}

// ETag is the way in which answers are named.
type ETag string

// The ways. GitHub's own is Derived, for all that is known; whoever relies on it has to get along with the others.
const (
	PerToken ETag = ""        // another one for each token, which cannot be foreseen
	Derived  ETag = "derived" // SHA-256 of the request's headers that Vary names, and the body
	Body     ETag = "body"    // of the body alone; Vary does not name Authorization
	Without  ETag = "none"
)

// SetBehaviour replaces how the stand-in answers.
func (s *Server) SetBehaviour(b Behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behaviour = b
}

// Behaviour is how it answers now.
func (s *Server) Behaviour() Behaviour {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.behaviour
}

// vary is what GitHub's answers vary with. Cookie is not named: nobody here sends one.
const (
	vary       = "Accept, Authorization, Cookie, X-GitHub-OTP,Accept-Encoding, Accept, X-Requested-With"
	varyPublic = "X-GitHub-OTP,Accept-Encoding, X-Requested-With"
)

// A document is the body of an answer, which need not be at hand.
type document struct {
	sum     [sha256.Size]byte // of the body
	body    func() []byte
	derived map[string]string // ETags by the headers that they depend on
}

func newDocument(body []byte) *document {
	return &document{sum: sha256.Sum256(body), body: func() []byte { return body }, derived: map[string]string{}}
}

// etag names a document for a request, or is empty.
func (s *Server) etag(r *http.Request, kind ETag, d *document) string {
	switch kind {
	case Derived:
		prefix := ""
		for _, name := range []string{"Accept", "Authorization", "Cookie"} {
			for _, value := range r.Header.Values(name) {
				prefix += value + ":"
			}
		}
		if d.derived[prefix] == "" {
			sum := sha256.Sum256(append([]byte(prefix), d.body()...))
			d.derived[prefix] = hex.EncodeToString(sum[:])
		}
		return d.derived[prefix]
	case Body:
		return hex.EncodeToString(d.sum[:])
	case Without:
		return ""
	}
	h := hmac.New(sha256.New, s.secret)
	h.Write([]byte(r.Header.Get("Authorization") + "\n" + r.URL.RequestURI() + "\n"))
	h.Write(d.sum[:])
	return hex.EncodeToString(h.Sum(nil))
}

// known says whether If-None-Match names an ETag; the comparison is weak.
func known(r *http.Request, etag string) bool {
	for name := range strings.SplitSeq(strings.Join(r.Header.Values("If-None-Match"), ","), ",") {
		name = strings.TrimPrefix(strings.TrimSpace(name), "W/")
		if etag != "" && (name == "*" || name == `"`+etag+`"`) {
			return true
		}
	}
	return false
}

// pretty says whether GitHub prints JSON in lines for a client, which it does after it named the body.
func pretty(r *http.Request) bool {
	agent := r.Header.Get("User-Agent")
	return slices.ContainsFunc([]string{"curl", "Wget", "Safari", "Firefox"}, func(name string) bool { return strings.Contains(agent, name) })
}

// A Load is what was asked of the stand-in's API.
type Load struct {
	Requests int         // all, dropped ones included
	Statuses map[int]int // of their answers; 0: dropped
	// Points are those of the primary limits, by account.
	Points map[string]int
	// PerMinute and Concurrent are the most requests in a sliding minute, of the stand-in's clock, and at once.
	PerMinute, Concurrent int
}

// Load returns what was asked since the start, or since the last call that said to begin anew.
func (s *Server) Load(anew bool) Load {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	load := s.load.Load
	load.Statuses, load.Points = maps.Clone(load.Statuses), maps.Clone(load.Points)
	if anew {
		s.load.Load = Load{}
	}
	return load
}

// meter counts requests. It is guarded by logMu.
type meter struct {
	Load
	now    int         // being answered
	minute []time.Time // arrivals within the last minute
	hours  map[string]*hour
}

// hour is an account's window of the primary limit.
type hour struct {
	until time.Time
	used  int
}

// begin counts a request of the API; it returns how many there were in the minute and are at once.
func (s *Server) begin() (perMinute, concurrent int) {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	m, at := &s.load, s.clock.now()
	m.Requests++
	m.now++
	m.minute = append(m.minute, at)
	old := 0
	for old < len(m.minute) && at.Sub(m.minute[old]) >= time.Minute {
		old++
	}
	m.minute = slices.Delete(m.minute, 0, old)
	m.PerMinute, m.Concurrent = max(m.PerMinute, len(m.minute)), max(m.Concurrent, m.now)
	return len(m.minute), m.now
}

// end counts the answer to a request, once: before it is sent, since a client may ask again before it was seen to the end.
func (s *Server) end(e *exchange, status int) {
	if e.ended {
		return
	}
	e.ended = true
	s.logMu.Lock()
	defer s.logMu.Unlock()
	s.load.now--
	if s.load.Statuses == nil {
		s.load.Statuses = map[int]int{}
	}
	s.load.Statuses[status]++
}

// charge spends points of an account, none to look, and sets the headers that tell what is left. It is false where
// nothing was left.
func (s *Server) charge(header http.Header, account, resource string, points int, b Behaviour) bool {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	key, now := account+" "+resource, s.clock.now()
	if s.load.hours == nil {
		s.load.hours = map[string]*hour{}
	}
	window := s.load.hours[key]
	if window == nil || !now.Before(window.until) {
		window = &hour{until: now.Add(time.Hour)}
		s.load.hours[key] = window
	}
	limit := cmp.Or(b.Limits.Hourly, 5000)
	enough := b.Limits.Hourly == 0 || window.used < limit
	if enough && points > 0 {
		window.used += points
		if s.load.Points == nil {
			s.load.Points = map[string]int{}
		}
		s.load.Points[account] += points
	}
	if !b.Limits.Silent {
		used := window.used
		if b.Limits.Hourly == 0 {
			used = min(used, limit-1)
		}
		reset := s.clock.real(window.until).Add(b.Skew).Add(time.Second - 1)
		header.Set("X-RateLimit-Limit", strconv.Itoa(limit))
		header.Set("X-RateLimit-Remaining", strconv.Itoa(limit-used))
		header.Set("X-RateLimit-Used", strconv.Itoa(used))
		header.Set("X-RateLimit-Reset", strconv.FormatInt(reset.Unix(), 10))
		header.Set("X-RateLimit-Resource", resource)
	}
	return enough
}

const secondaryMessage = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."

// exceeded says whether a request is over a secondary limit.
func (l Limits) exceeded(e *exchange) bool {
	return l.PerMinute > 0 && e.perMinute > l.PerMinute || l.Concurrent > 0 && e.concurrent > l.Concurrent
}

// A clock is the stand-in's own: it may be faster than real time, and be put forward. Limits, tokens of Apps and made-up
// repositories go by it. Answers tell real time, as clients know no other.
type clock struct {
	mu          sync.Mutex
	began, base time.Time
	origin      time.Time // that it shows as it is
	factor      float64
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.base.Add(time.Duration(float64(time.Since(c.began)) * c.factor))
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base = c.base.Add(d)
}

// shown is what a time is told as: seconds of the clock are told as parts of a second where it is faster than real time, so
// that clients which do everything by as much faster see what they would see otherwise.
func (c *clock) shown(t time.Time) time.Time {
	return c.origin.Add(time.Duration(float64(t.Sub(c.origin)) / c.factor)).Truncate(time.Second)
}

// real is the time on this machine when the clock shows t.
func (c *clock) real(t time.Time) time.Time {
	return time.Now().Add(time.Duration(float64(t.Sub(c.now())) / c.factor))
}

// seconds are those of real time in d, rounded up.
func (c *clock) seconds(d time.Duration) int {
	return int((time.Duration(float64(d)/c.factor) + time.Second - 1) / time.Second)
}

// Pace sets the stand-in's clock to a time, and how many times faster than real time it goes on. Otherwise it is this
// machine's.
func Pace(at time.Time, factor float64) Option {
	return func(s *Server) { s.clock.base, s.clock.origin, s.clock.factor = at.UTC(), at.UTC(), factor }
}

// Now is the time on the stand-in's clock.
func (s *Server) Now() time.Time { return s.clock.now() }

// Advance puts the stand-in's clock forward.
func (s *Server) Advance(d time.Duration) { s.clock.advance(d) }

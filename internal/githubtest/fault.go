package githubtest

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// FaultHeader marks answers that a Fault made.
const FaultHeader = "X-Stand-In-Fault"

// A Fault makes matching requests go wrong. With neither Status nor Drop the answer is the real one, late by Delay, sent
// by Wire.
type Fault struct {
	Method string // empty: all
	// Path is matched against the whole path without "/api/v3"; * stands for any run of characters, slashes included:
	// "/repos/*/pulls". Empty: all, unless Mutation is set.
	Path string
	// Mutation is a top-level field of a GraphQL document, queries included: "createCommitOnBranch".
	Mutation string

	Status int
	Body   string // as it is; empty: a message in GitHub's form
	Header http.Header
	Delay  time.Duration // before the answer
	// Apply does what the request asks for before going wrong: the outcome that a client cannot know.
	Apply bool
	// Drop closes the connection without an answer.
	Drop bool
	// Wire is how the body of the answer travels; empty: as usual.
	Wire Wire
	// Times is how often it happens; zero: once, negative: always.
	Times int
	// Probability is that of a matching request to be hit; zero: all are.
	Probability float64
}

// SecondaryLimit is GitHub's answer to too much at once, with 403 or 429. It tells when to come again where retryAfter,
// in seconds of real time, is not zero.
func SecondaryLimit(status, retryAfter int) Fault {
	f := Fault{Path: "/*", Status: status, Header: http.Header{}, Body: fmt.Sprintf(`{"message":%q,"documentation_url":%q}`, secondaryMessage,
		"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits")}
	if retryAfter > 0 {
		f.Header.Set("Retry-After", strconv.Itoa(retryAfter))
	}
	return f
}

func (f *Fault) matches(r *http.Request) bool {
	if f.Method != "" && f.Method != r.Method {
		return false
	}
	if f.Mutation != "" {
		return slices.Contains(exchanged(r).fields, f.Mutation)
	}
	if f.Path == "" {
		return true
	}
	glob := strings.ReplaceAll(regexp.QuoteMeta(f.Path), `\*`, ".*")
	return regexp.MustCompile("^" + glob + "$").MatchString(strings.TrimPrefix(r.URL.Path, "/api/v3"))
}

// Fail arms a fault. Of several that match a request the one armed first acts.
func (s *Server) Fail(f Fault) {
	f.Times = cmp.Or(f.Times, 1)
	s.logMu.Lock()
	defer s.logMu.Unlock()
	s.faults = append(s.faults, &f)
}

// Mend disarms all faults.
func (s *Server) Mend() {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	s.faults = nil
}

// fault returns the fault that acts on a request, and counts it.
func (s *Server) fault(r *http.Request) *Fault {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	for i, f := range s.faults {
		if f.matches(r) && (f.Probability == 0 || s.random.Float64() < f.Probability) {
			if f.Times--; f.Times == 0 {
				s.faults = slices.Delete(s.faults, i, i+1)
			}
			return f
		}
	}
	return nil
}

func (s *Server) faulty(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := s.fault(r)
		if f == nil {
			next.ServeHTTP(w, r)
			return
		}
		real := f.Status == 0 && !f.Drop
		exchanged(r).wire = f.Wire
		held := &buffer{header: http.Header{}}
		if f.Apply {
			next.ServeHTTP(held, r)
		}
		select {
		case <-time.After(f.Delay):
		case <-r.Context().Done(): // the client went away
			panic(http.ErrAbortHandler)
		}
		switch {
		case f.Drop:
			panic(http.ErrAbortHandler)
		case real && !f.Apply:
			next.ServeHTTP(w, r)
		case real:
			maps.Copy(w.Header(), held.header)
			write(w, held.status, held.body.Bytes())
		default:
			maps.Copy(w.Header(), f.Header)
			w.Header().Set(FaultHeader, "1")
			if f.Body == "" {
				writeError(w, fail(f.Status, "%s", http.StatusText(f.Status)))
				return
			}
			write(w, f.Status, []byte(f.Body))
		}
	})
}

// A buffer holds an answer back.
type buffer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (b *buffer) Header() http.Header { return b.header }

func (b *buffer) WriteHeader(status int) { b.status = cmp.Or(b.status, status) }

func (b *buffer) Write(p []byte) (int, error) {
	b.WriteHeader(http.StatusOK)
	return b.body.Write(p)
}

package github

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// A digest is a SHA-256.
type digest = [sha256.Size]byte

// emptyList is a body whose ETag can be computed without having read it.
var emptyList = []byte("[]")

// A conditional asks GitHub whether an answer that it keeps is still the right one: each time, by If-None-Match alone.
// An answer of 304 costs nothing of the primary limit. It lies below what adds the credential, since ETags depend on it,
// and serves several accounts. A body goes to another account only after GitHub said for that account's own request that
// it would send the same.
//
// Polls for the same with the same credential at the same time are one request, and see a status of 304. All others see
// the body with a status of 200 and the header of the answer that confirmed it; they are requests of their own, since a
// command is to see what GitHub had after it was given, not what somebody asked for a moment before.
type conditional struct {
	store *store
	guard guard
	clock *clock
	log   *slog.Logger

	mu      sync.Mutex
	flights map[flightKey]*flight
}

type flightKey struct{ key, auth digest }

// A flight is a request under way, that others wait for.
type flight struct {
	done  chan struct{}
	found *found
	err   error
	left  bool // whoever asked has gone away
}

// A found answer is shared, so nobody changes it.
type found struct {
	status int
	header http.Header
	body   *content
}

// A content is a body, in memory or where the store has it.
type content struct {
	key   digest // that it is or may be kept under
	sum   digest
	raw   []byte // nil where it is kept packed alone
	entry *entry
	store *store
}

func (c *content) bytes() ([]byte, error) {
	if c.entry == nil || c.raw != nil {
		return c.raw, nil
	}
	return c.store.body(c.entry)
}

// forget makes the next request for it one without a condition: what is in it is of no use.
func (c *content) forget() { c.store.forget(c.key) }

func newConditional(s *store, clock *clock, log *slog.Logger) *conditional {
	return &conditional{store: s, clock: clock, log: log, guard: guard{clock: clock, log: log}, flights: map[flightKey]*flight{}}
}

// over gives the transport of an account.
func (c *conditional) over(next http.RoundTripper) http.RoundTripper {
	return &conditionalOver{c, next}
}

type conditionalOver struct {
	*conditional
	next http.RoundTripper
}

// A body is that of an answer, for who knows about contents. Polls do not read it.
type body struct {
	io.ReadCloser
	*content
}

func (c *conditionalOver) RoundTrip(req *http.Request) (*http.Response, error) {
	how := mannerOf(req.Context())
	if req.Method != http.MethodGet || how.once || req.Header.Get("Range") != "" {
		return c.next.RoundTrip(req)
	}
	key := flightKey{keyOf(req), sha256.Sum256([]byte(req.Header.Get("Authorization")))}
	ask := c.ask
	if how.poll {
		ask = c.shared
	}
	found, err := ask(req, key, how)
	if err != nil {
		return nil, err
	}
	resp := &http.Response{StatusCode: found.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: found.header, Request: req}
	if how.poll {
		resp.Body = body{http.NoBody, found.body}
		return resp, nil
	}
	raw, err := found.body.bytes()
	if err != nil {
		return nil, err
	}
	if found.status == http.StatusNotModified {
		resp.StatusCode = http.StatusOK
	}
	resp.Status = fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	resp.Header = found.header.Clone() // others may have the same answer
	resp.Header.Set("Content-Length", strconv.Itoa(len(raw)))
	resp.ContentLength, resp.Body = int64(len(raw)), body{io.NopCloser(bytes.NewReader(raw)), found.body}
	return resp, nil
}

// shared makes a request, or waits for the same that is under way.
func (c *conditionalOver) shared(req *http.Request, key flightKey, how manner) (*found, error) {
	ctx := req.Context()
	for {
		c.mu.Lock()
		f := c.flights[key]
		if f == nil {
			f = &flight{done: make(chan struct{}), left: true}
			c.flights[key] = f
			c.mu.Unlock()
			return c.fly(req, key, how, f)
		}
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-f.done:
		}
		if !f.left {
			return f.found, f.err
		}
	}
}

// fly makes the request that others wait for.
func (c *conditionalOver) fly(req *http.Request, key flightKey, how manner, f *flight) (*found, error) {
	defer func() {
		c.mu.Lock()
		delete(c.flights, key)
		c.mu.Unlock()
		close(f.done)
	}()
	f.found, f.err = c.ask(req, key, how)
	f.left = f.err != nil && req.Context().Err() != nil
	return f.found, f.err
}

// keyOf names what a request asks for, whoever asks.
func keyOf(req *http.Request) digest {
	var room [512]byte
	b := append(room[:0], req.URL.String()...)
	for _, name := range [...]string{"Accept", "X-Github-Api-Version"} {
		for _, line := range req.Header[name] {
			b = append(append(b, '\n'), line...)
		}
		b = append(b, '\n')
	}
	return sha256.Sum256(b)
}

// ask makes a request that says which answer is kept.
func (c *conditionalOver) ask(req *http.Request, key flightKey, how manner) (*found, error) {
	kept := c.store.find(key.key)
	etag := c.etag(req, key.auth, kept, how)
	resp, err := c.send(req, etag)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusNotModified {
		return c.read(req, resp, key)
	}
	_ = resp.Body.Close() // there is none
	if etag == "" {
		kept = nil // it was not asked about, and may be another account's
	} else if kept == nil { // a guess that was right
		kept = c.store.keep(key.key, entry{auth: key.auth, etag: etag, vary: resp.Header.Get("Vary"), kind: resp.Header.Get("Content-Type"), sum: sha256.Sum256(emptyList)}, emptyList, true)
	}
	if kept != nil {
		content := &content{key: key.key, sum: kept.sum, entry: kept, store: c.store}
		if !how.poll {
			content.raw, err = c.store.body(kept)
		}
		if err == nil {
			c.confirmed(resp.Header, key, kept, etag)
			return &found{resp.StatusCode, resp.Header, content}, nil
		}
	}
	c.store.forget(key.key)
	if resp, err = c.send(req, ""); err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusNotModified {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("GitHub answers that nothing has changed, without having been asked: %w", io.ErrUnexpectedEOF)
	}
	return c.read(req, resp, key)
}

// etag chooses what to send as If-None-Match; empty for nothing.
func (c *conditionalOver) etag(req *http.Request, auth digest, kept *entry, how manner) string {
	may, vary := c.guard.may()
	switch {
	case kept != nil && !kept.whole() && (how.whole || !how.poll):
		return ""
	case kept == nil:
		if how.list && may {
			return `"` + etagOf(vary, req.Header, emptyList) + `"`
		}
		return ""
	case kept.auth == auth, kept.vary != "" && !names(kept.vary, "Authorization"):
		return kept.etag
	case !may:
		return ""
	}
	raw, err := c.store.body(kept)
	if err != nil {
		return ""
	}
	return `"` + etagOf(kept.vary, req.Header, raw) + `"`
}

// send makes one request with one condition or none.
func (c *conditionalOver) send(req *http.Request, etag string) (*http.Response, error) {
	sent := *req
	sent.Header = maps.Clone(req.Header)
	for _, name := range [...]string{"If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since"} {
		delete(sent.Header, name)
	}
	if etag != "" {
		sent.Header["If-None-Match"] = []string{etag}
	}
	return c.next.RoundTrip(&sent)
}

// confirmed takes note of an answer of 304, and adds to its header what the kept one had and this one leaves out.
func (c *conditionalOver) confirmed(header http.Header, key flightKey, kept *entry, sent string) {
	etag := header.Get("Etag")
	if etag == "" {
		etag = sent
	}
	if kept.auth != key.auth || opaque(kept.etag) != opaque(etag) {
		changed := *kept
		changed.auth, changed.etag = key.auth, etag
		c.store.amend(key.key, changed)
	}
	if kept.link != "" && header.Get("Link") == "" {
		header.Set("Link", kept.link)
	}
	if kept.kind != "" && header.Get("Content-Type") == "" {
		header.Set("Content-Type", kept.kind)
	}
}

// read reads a new answer to its end and keeps it where it is whole.
func (c *conditionalOver) read(req *http.Request, resp *http.Response, key flightKey) (*found, error) {
	raw, err := readAll(resp)
	if err != nil {
		return nil, err
	}
	content := &content{key: key.key, sum: sha256.Sum256(raw), raw: raw, store: c.store}
	etag := resp.Header.Get("Etag")
	if resp.StatusCode != http.StatusOK {
		return &found{resp.StatusCode, resp.Header, content}, nil
	}
	// What is cut off in a way that looks whole is no JSON any more.
	if etag == "" || !framed(resp) || !strings.Contains(resp.Header.Get("Content-Type"), "json") || !json.Valid(raw) {
		c.store.forget(key.key)
		return &found{resp.StatusCode, resp.Header, content}, nil
	}
	vary := strings.Join(resp.Header["Vary"], ", ")
	c.guard.saw(vary, etag, req.Header, raw)
	// A poll reads a body once. After that it is of use for the ETag with another token alone.
	may, _ := c.guard.may()
	useful := !mannerOf(req.Context()).poll || may && names(vary, "Authorization")
	c.store.keep(key.key, entry{auth: key.auth, etag: etag, vary: vary, link: resp.Header.Get("Link"), kind: resp.Header.Get("Content-Type"), sum: content.sum}, raw, useful)
	return &found{resp.StatusCode, resp.Header, content}, nil
}

// framed says whether the end of the body was marked, so that a broken connection is no end: by its length, by the last
// chunk, by a frame of HTTP/2, or by the checksum of what is packed.
func framed(resp *http.Response) bool {
	return resp.ContentLength >= 0 || resp.ProtoMajor >= 2 || resp.Uncompressed || len(resp.TransferEncoding) > 0 && resp.TransferEncoding[0] == "chunked"
}

// readAll reads a body that has as many bytes as announced.
func readAll(resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	var b bytes.Buffer
	if n := resp.ContentLength; n > 0 && n <= maxBody {
		b.Grow(int(n) + bytes.MinRead)
	}
	if _, err := b.ReadFrom(resp.Body); err != nil {
		return nil, fmt.Errorf("read GitHub's answer: %w", err)
	}
	if n := resp.ContentLength; n >= 0 && int64(b.Len()) != n {
		return nil, fmt.Errorf("read GitHub's answer: %w", io.ErrUnexpectedEOF)
	}
	return b.Bytes(), nil
}

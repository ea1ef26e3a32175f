package github

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
)

// defaultVary is what GitHub's answers depend on, before one has said it.
const defaultVary = "Accept, Authorization, Cookie"

const (
	probeEach  = 50 // new answers are compared with what ferry computes
	driftAfter = 3  // of them in a row that differ
	probeAfter = 24 * time.Hour
)

// hashed are the headers that GitHub hashes before the body.
var hashed = [...]string{"Accept", "Authorization", "Cookie"}

// etagOf computes the ETag that GitHub gives to a body for a request, without quotes. GitHub does not document this; it
// was found out by others: SHA-256 over the value and ":" of each header among hashed that the answer's Vary names, line
// by line, then the body as it is before it is packed.
func etagOf(vary string, request http.Header, body []byte) string {
	sum := sha256.New()
	for _, name := range hashed {
		if !names(vary, name) {
			continue
		}
		for _, line := range request[name] {
			sum.Write([]byte(line))
			sum.Write([]byte{':'})
		}
	}
	sum.Write(body)
	var digest [sha256.Size]byte
	return hex.EncodeToString(sum.Sum(digest[:0]))
}

// names says whether a Vary header names a header.
func names(vary, header string) bool {
	for field := range strings.SplitSeq(vary, ",") {
		if field = strings.TrimSpace(field); field == "*" || strings.EqualFold(field, header) {
			return true
		}
	}
	return false
}

// opaque is an ETag without its quotes and without the sign of a weak one.
func opaque(etag string) string { return strings.Trim(strings.TrimPrefix(etag, "W/"), `"`) }

// A guard watches whether GitHub's ETags are still the ones that ferry computes. If not, ferry sends none that it has
// not been given, which costs a full answer for each page when a token is replaced.
type guard struct {
	clock *clock
	log   *slog.Logger

	mu     sync.Mutex
	vary   string // of the last answer
	seen   int    // new answers since the last probe
	wrong  int    // probes in a row that differed
	off    bool
	probed time.Time
}

// may says whether computed ETags are worth to be sent, and what answers depend on.
func (g *guard) may() (bool, string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.vary == "" {
		return !g.off, defaultVary
	}
	return !g.off, g.vary
}

// saw hears of a new answer, and looks at some of them.
func (g *guard) saw(vary, etag string, request http.Header, body []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.vary = vary
	now := g.clock.now()
	if g.off {
		if now.Sub(g.probed) < g.clock.own(probeAfter) {
			return
		}
	} else if g.seen++; g.wrong == 0 && g.seen%probeEach != 1 {
		return
	}
	g.probed = now
	if opaque(etag) == etagOf(vary, request, body) {
		if g.off {
			g.log.Info("GitHub's ETags can be computed again")
		}
		g.off, g.wrong = false, 0
		return
	}
	if g.wrong++; g.wrong == driftAfter && !g.off {
		g.off = true
		g.log.Info("GitHub's ETags are not those that ferry computes: a new token costs a full answer for each page")
	}
}

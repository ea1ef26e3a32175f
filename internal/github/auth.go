package github

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// An Account is a credential and whose repositories it is for. GitHub counts by account, not by token: tokens of one
// user share what is left.
type Account struct {
	// Name is for people, as in "App 4711 for acme".
	Name string
	// Owners are the users and organizations whose repositories it reads; empty: all others.
	Owners []string
	// Token returns the credential. It is asked for each request of a command, for polls every few seconds, and when GitHub
	// refuses the one before: so a rotated token counts at once.
	Token func(ctx context.Context) (string, error)
	// App makes tokens instead, if it is there.
	App *App
}

const (
	// lookAgain is how long polls leave an account alone that GitHub rejects, unless its token changes.
	lookAgain = 10 * time.Minute
	// holdToken is how long polls use a token that they were given. To get it may be a request to the cluster.
	holdToken = 10 * time.Second
)

// An account signs requests for the API's own host, with all of the transport below it.
type account struct {
	Account
	api    *url.URL
	next   http.RoundTripper
	gate   *gate
	token  func(ctx context.Context) (string, error)
	minter *minter // nil where the token is given
	clock  *clock
	log    *slog.Logger

	mu   sync.Mutex
	dead *death // nil while GitHub takes the credential
	held held
}

// held is a token that polls use until it is to be asked for again.
type held struct {
	value string
	until time.Time
}

// A death is a credential that GitHub has rejected.
type death struct {
	digest [sha256.Size]byte // of the token; zero where there is none
	why    error
	look   time.Time // again
}

func newAccount(of Account, api *url.URL, network http.RoundTripper, c *conditional, clock *clock, log *slog.Logger) *account {
	a := &account{Account: of, api: api, token: of.Token, clock: clock, log: log}
	a.gate = newGate(network, clock, of.Name, log)
	a.next = c.over(a.gate)
	if of.App != nil {
		a.minter = &minter{app: *of.App, api: api, base: network, clock: clock, log: log}
		a.token = a.minter.token
	}
	return a
}

// serves says whether the account is for the repositories of an owner, and whether it names it.
func (a *account) serves(owner string) (yes, named bool) {
	named = slices.ContainsFunc(a.Owners, func(o string) bool { return strings.EqualFold(o, owner) })
	return named || len(a.Owners) == 0, named
}

// RoundTrip adds the credential.
func (a *account) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host != a.api.Host || req.URL.Scheme != a.api.Scheme {
		return nil, fmt.Errorf("request to %s instead of %s", req.URL.Host, a.api.Host)
	}
	ctx := req.Context()
	for try := 0; ; try++ {
		value, err := a.credential(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if refusal, ok := errors.AsType[*gitops.Refusal](err); ok && refusal.Code != gitops.Unreachable {
				a.lost([sha256.Size]byte{}, err)
			}
			return nil, err
		}
		digest := sha256.Sum256([]byte(value))
		if why := a.gone(digest); why != nil && mannerOf(ctx).poll {
			return nil, why
		}
		sent := *req
		sent.Header = maps.Clone(req.Header)
		if sent.GetBody != nil {
			if sent.Body, err = sent.GetBody(); err != nil {
				return nil, fmt.Errorf("read the request's body: %w", err)
			}
		}
		sent.Header["Authorization"] = []string{"Bearer " + value}
		resp, err := a.next.RoundTrip(&sent)
		if err != nil {
			return nil, err
		}
		resp.Request = req // without the credential, since errors hold it
		if resp.StatusCode != http.StatusUnauthorized {
			a.alive()
		}
		repeatable := req.Body == nil || req.GetBody != nil
		if repeatable && a.again(ctx, value, resp.StatusCode, try) {
			_ = resp.Body.Close() // an answer that says no more
			continue
		}
		if resp.StatusCode == http.StatusUnauthorized && ctx.Err() == nil {
			a.lost(digest, &deadError{account: a.Name})
		}
		return resp, nil
	}
}

// again says whether an answer that refuses may be another with the token that is there now, or in a moment.
func (a *account) again(ctx context.Context, value string, status, try int) bool {
	switch {
	case status != http.StatusUnauthorized && status != http.StatusForbidden:
		return false
	case a.minter != nil:
		return a.minter.rejected(ctx, value, status, try)
	}
	if try > 0 || status != http.StatusUnauthorized {
		return false
	}
	a.mu.Lock()
	a.held = held{}
	a.mu.Unlock()
	now, err := a.credential(ctx)
	return err == nil && now != value
}

// credential is the token to use.
func (a *account) credential(ctx context.Context) (string, error) {
	a.mu.Lock()
	known, usable := a.held, a.dead == nil && a.minter == nil
	a.mu.Unlock()
	if usable && mannerOf(ctx).poll && a.clock.now().Before(known.until) {
		return known.value, nil
	}
	value, err := credential(ctx, a.token)
	if err == nil {
		a.mu.Lock()
		a.held = held{value, a.clock.now().Add(a.clock.own(holdToken))}
		a.mu.Unlock()
	}
	return value, err
}

// A deadError is a credential that GitHub rejected before.
type deadError struct{ account string }

func (e *deadError) Error() string { return "GitHub rejects the credential " + e.account }

// gone says why a credential is not to be used by polls, if so.
func (a *account) gone(digest [sha256.Size]byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dead == nil || a.dead.digest != digest {
		return nil
	}
	if now := a.clock.now(); !now.Before(a.dead.look) {
		a.dead.look = now.Add(a.clock.own(lookAgain)) // one looks whether it is taken again
		return nil
	}
	return a.dead.why
}

// lost remembers that there is no credential that GitHub takes, and tells it once.
func (a *account) lost(digest [sha256.Size]byte, why error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dead == nil {
		a.log.Error("GitHub does not take ferry's credential", "account", a.Name, "error", why)
	}
	a.dead = &death{digest: digest, why: why, look: a.clock.now().Add(a.clock.own(lookAgain))}
}

// alive forgets that, since GitHub took it.
func (a *account) alive() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dead != nil {
		a.log.Info("GitHub takes ferry's credential again", "account", a.Name)
		a.dead = nil
	}
}

// ready says whether polls may use the account, which is so too when it is time to look whether GitHub takes it again.
func (a *account) ready() bool {
	a.mu.Lock()
	dead := a.dead != nil && a.clock.now().Before(a.dead.look)
	a.mu.Unlock()
	until, _ := a.gate.state()
	return !dead && until.IsZero()
}

var plainToken = regexp.MustCompile(`^[!-~]+$`)

// credential reads the token and keeps everything out that could not be one.
func credential(ctx context.Context, token func(ctx context.Context) (string, error)) (string, error) {
	value, err := token(ctx)
	if err != nil {
		if refusal, ok := errors.AsType[*gitops.Refusal](err); ok {
			return "", refusal
		}
		return "", &gitops.Refusal{Code: gitops.Config, Cause: err,
			Reason: "ferry's token for GitHub cannot be read. Check what github.auth in ferry's configuration names."}
	}
	value = strings.TrimSpace(value)
	if !plainToken.MatchString(value) {
		return "", &gitops.Refusal{Code: gitops.Config,
			Reason: "ferry's token for GitHub is empty or malformed. Check what github.auth in ferry's configuration names: it has to hold the token and nothing else."}
	}
	return value, nil
}

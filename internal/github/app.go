package github

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/google/go-github/v60/github"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// An App is ferry as a GitHub App, in one of its installations.
type App struct {
	ID, InstallationID int64
	// Key returns the App's private key, PEM. It is asked for each token that is made, once in an hour.
	Key func(ctx context.Context) ([]byte, error)
}

const (
	renewBefore = 5 * time.Minute  // its end, a token is replaced; GitHub's live an hour
	renewJitter = 30 * time.Second // before that, so that not all are replaced at once
	fresh       = time.Minute      // for which a new token may not be known to all of GitHub's servers
	mintTime    = 10 * time.Second
	mintPause   = time.Minute // between tokens, and after a failure; commands try again at once where there is no token at all
)

// settle is how long to wait, try by try, for a fresh token to be known.
var settle = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}

// A minter makes installation tokens, and keeps one until shortly before its end.
type minter struct {
	app   App
	api   *url.URL
	base  http.RoundTripper
	clock *clock
	log   *slog.Logger

	mu     sync.Mutex
	making chan struct{} // closed when the one is made that is under way; nil without
	value  string
	since  time.Time // made
	until  time.Time // to be replaced
	end    time.Time // good no longer
	known  bool      // to all of GitHub's servers: a refusal was waited for in vain
	fault  error     // of the last try
	again  time.Time // to be tried
}

// token returns the present token or makes one, once for all who ask. A token that is being replaced, or cannot be, is
// used until its end.
func (m *minter) token(ctx context.Context) (string, error) {
	for {
		m.mu.Lock()
		now := m.clock.now()
		usable := m.value != "" && now.Before(m.end)
		making := m.making
		switch {
		case usable && (making != nil || now.Before(m.until) || now.Before(m.again)):
			defer m.mu.Unlock()
			return m.value, nil
		case making == nil && m.fault != nil && mannerOf(ctx).poll && now.Before(m.again):
			defer m.mu.Unlock()
			return "", m.fault
		case making == nil:
			m.making = make(chan struct{})
			m.mu.Unlock()
			return m.renew(ctx)
		}
		m.mu.Unlock()
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-making:
		}
	}
}

// renew makes a token, and lets those go on who wait for it.
func (m *minter) renew(ctx context.Context) (string, error) {
	value, end, err := m.new(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.making)
	m.making = nil
	now := m.clock.now()
	switch {
	case err == nil:
		// Whatever a server says of its end, a new one is used for a while: the server's clock may be wrong, or its tokens short-lived.
		m.again = now.Add(m.clock.own(mintPause))
		if end.Before(m.again) {
			end = m.again
		}
		m.value, m.since, m.end, m.known, m.fault = value, now, end, false, nil
		m.until = end.Add(-m.clock.own(renewBefore) - m.clock.upTo(renewJitter))
		return value, nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	}
	m.fault, m.again = err, now.Add(m.clock.own(mintPause))
	if m.value != "" && now.Before(m.end) {
		m.log.Warn("the App's token is not replaced yet", "error", err)
		return m.value, nil
	}
	return "", err
}

// new asks GitHub for a token.
func (m *minter) new(ctx context.Context) (value string, end time.Time, err error) {
	key, err := m.app.Key(ctx)
	if err != nil {
		return "", time.Time{}, err
	}
	err = m.clock.again(ctx, m.log, "make an installation token", func() (err error) {
		value, end, err = m.mint(ctx, key)
		return err
	}, passing)
	if err != nil {
		return "", time.Time{}, m.refuse(err)
	}
	return value, end, nil
}

// errKey says that the private key cannot be read. What is wrong with it is not told: that may show parts of it.
var errKey = errors.New("no RSA private key in PEM")

func (m *minter) mint(ctx context.Context, key []byte) (value string, until time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, mintTime)
	defer cancel()
	installation, err := ghinstallation.New(m.base, m.app.ID, m.app.InstallationID, key)
	if err != nil {
		return "", time.Time{}, errKey
	}
	installation.InstallationTokenOptions = &github.InstallationTokenOptions{} // all that it may; without them the body would be "null"
	installation.BaseURL = strings.TrimSuffix(m.api.String(), "/")
	value, err = installation.Token(ctx)
	if answered, ok := errors.AsType[*ghinstallation.HTTPError](err); ok && answered.Response != nil {
		defer answered.Response.Body.Close()
		if err := github.CheckResponse(answered.Response); err != nil {
			return "", time.Time{}, err
		}
		return "", time.Time{}, fmt.Errorf("GitHub answers %s", answered.Response.Status) // a redirect, which nobody follows with a key
	}
	if err != nil {
		return "", time.Time{}, err
	}
	until, _, err = installation.Expiry()
	return value, until, err
}

// rejected hears that GitHub did not take a token, and says whether to try again: with another one, or after a moment
// with the same where it is fresh. A status of 403 counts for a fresh one alone: its rights may not be known yet.
func (m *minter) rejected(ctx context.Context, value string, status, try int) bool {
	m.mu.Lock()
	old := m.value == value && m.clock.now().Sub(m.since) >= m.clock.own(fresh)
	if old && status == http.StatusUnauthorized {
		m.value = ""
	}
	another := m.value != value // maybe made by somebody else
	if !another && try >= len(settle) {
		m.known = true
	}
	settled := status == http.StatusForbidden && (old || m.known)
	m.mu.Unlock()
	if try >= len(settle) || settled {
		return false
	}
	return another || m.clock.pause(ctx, settle[try]) == nil
}

// refuse words why there is no token. It is a refusal in any case: whatever was to be done with it was not sent.
func (m *minter) refuse(err error) error {
	refusal := &gitops.Refusal{Code: gitops.Denied, Title: "ferry has no GitHub token", Cause: fmt.Errorf("make an installation token: %w", err)}
	if errors.Is(err, errKey) {
		refusal.Code = gitops.Config
		refusal.Reason = "The private key of github.auth.app cannot be read. It has to be the RSA key in PEM that GitHub gives, and nothing else."
		return refusal
	}
	a, ok := answerOf(err)
	said := ""
	if a.message != "" {
		said = " GitHub says: " + sentence(a.message)
	}
	switch {
	case !ok, a.status >= 500:
		refusal.Code = gitops.Unreachable
		refusal.Reason = "GitHub did not answer when ferry wanted a token for its App. Try again in a moment."
	case a.limited:
		refusal.Code = gitops.Unreachable
		refusal.Reason = "GitHub's rate limit for ferry's App is used up. " + waitFor(a.until)
	case a.status == http.StatusUnauthorized:
		refusal.Reason = "GitHub does not take ferry for its App: the private key is none of the App github.auth.app.id, or the clock here is wrong." + said
	case a.status == http.StatusNotFound:
		refusal.Reason = fmt.Sprintf("The App %d has no installation %d. Look both up, for github.auth.app.id and installationID.", m.app.ID, m.app.InstallationID)
	default:
		refusal.Reason = fmt.Sprintf("GitHub gives ferry's App no token (%d).%s", a.status, said)
	}
	return refusal
}

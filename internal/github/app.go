package github

import (
	"context"
	"errors"
	"fmt"
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
	renewBefore = 5 * time.Minute // its end, a token is replaced; GitHub's live an hour
	fresh       = time.Minute     // for which a new token may not be known to all of GitHub's servers
	mintTime    = 10 * time.Second
)

// settle is how long to wait, try by try, for a fresh token to be known.
var settle = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}

// A minter makes installation tokens, and keeps one until shortly before its end.
type minter struct {
	app    App
	api    *url.URL
	base   http.RoundTripper
	client *Client

	mu    sync.Mutex // held while one is made, so that all wait for the same
	value string
	since time.Time // made
	until time.Time // to be replaced
}

// token returns the present token or makes one.
func (m *minter) token(ctx context.Context) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.value != "" && m.client.now().Before(m.until) {
		return m.value, nil
	}
	key, err := m.app.Key(ctx)
	if err != nil {
		return "", err
	}
	var value string
	var until time.Time
	err = m.client.again(ctx, "make an installation token", func() (err error) {
		value, until, err = m.mint(ctx, key)
		return err
	})
	if err != nil {
		return "", m.refuse(err)
	}
	m.value, m.since, m.until = value, m.client.now(), until.Add(-renewBefore)
	return value, nil
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
// with the same where it is fresh.
func (m *minter) rejected(ctx context.Context, value string, try int) bool {
	m.mu.Lock()
	if m.value == value && m.client.now().Sub(m.since) >= fresh {
		m.value = ""
	}
	again := m.value != value // or somebody else has made another one
	m.mu.Unlock()
	if try >= len(settle) {
		return false
	}
	return again || m.client.sleep(ctx, settle[try]) == nil
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

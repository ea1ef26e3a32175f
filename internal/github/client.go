// Package github reads and writes repositories through GitHub's REST and GraphQL interfaces, on github.com or an
// Enterprise Server. It knows requests, answers and GitHub's rules; what to write, and why, is decided elsewhere.
package github

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/promotion"
)

const (
	keepViewer     = 5 * time.Minute  // a login is changed once in years
	requestTimeout = 30 * time.Second // one request with its answer
	headerTimeout  = 20 * time.Second
	maxBody        = 32 << 20 // bytes of an answer; a page of 100 pull requests has about 2 MB
	maxRedirects   = 3
)

// Config says which GitHub, as whom, and what of it.
type Config struct {
	// BaseURL is the root of an Enterprise Server, "https://github.example.com"; empty for github.com. It begins with
	// https, but for this machine itself.
	BaseURL string
	// Token returns the credential. It is asked for each request, so that a rotated token counts at once.
	Token func(ctx context.Context) (string, error)
	// App makes tokens instead, if it is there.
	App *App
	// Allowed says whether the configuration lets ferry use a repository, "owner/name".
	Allowed func(name string) bool
	// Tree fetches the files of a commit from a clone URL, with a whole HTTP header as credential.
	Tree func(ctx context.Context, remote, header, sha string) (fs.FS, error)
}

// A Client opens repositories. It implements promotion.Repositories.
type Client struct {
	config  Config
	api     *github.Client
	token   func(ctx context.Context) (string, error)
	graphql string // URL
	root    string // of clone URLs, without a slash at the end
	log     *slog.Logger
	sleep   func(context.Context, time.Duration) error
	now     func() time.Time

	mu      sync.Mutex
	viewers map[[sha256.Size]byte]viewer // by digest of the token
}

// A viewer is whose a token is.
type viewer struct {
	login string
	until time.Time // known no longer
}

// New checks the configuration; it makes no request.
func New(config Config, log *slog.Logger) (*Client, error) {
	root, err := Root(config.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("read GitHub's URL: %w", err)
	}
	apiURL, graphqlURL := root.JoinPath("/api/v3/"), root.JoinPath("/api/graphql")
	if root.Host == "github.com" {
		apiURL = &url.URL{Scheme: "https", Host: "api.github.com", Path: "/"}
		graphqlURL = apiURL.JoinPath("graphql")
	}
	network := http.DefaultTransport.(*http.Transport).Clone()
	network.ResponseHeaderTimeout = headerTimeout
	base := bounded{network}
	c := &Client{
		config: config, token: config.Token, graphql: graphqlURL.String(), root: strings.TrimSuffix(root.String(), "/"),
		log: log, sleep: sleep, now: time.Now, viewers: map[[sha256.Size]byte]viewer{},
	}
	t := &transport{base: base, api: apiURL, client: c}
	if config.App != nil {
		t.minter = &minter{app: *config.App, api: apiURL, base: base, client: c}
		c.token = t.minter.token
	}
	c.api = github.NewClient(&http.Client{Transport: t, CheckRedirect: checkRedirect, Timeout: requestTimeout})
	c.api.BaseURL, c.api.UserAgent = apiURL, "ferry"
	return c, nil
}

// Root reads the address of an Enterprise Server; empty is github.com. An error says what to write, and repeats nothing:
// there may be a password.
func Root(base string) (*url.URL, error) {
	u, err := url.Parse(cmp.Or(base, "https://github.com"))
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("write the root of the Enterprise Server as a plain URL, as in https://github.example.com")
	}
	ip := net.ParseIP(u.Hostname())
	if here := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback(); u.Scheme != "https" && (u.Scheme != "http" || !here) {
		return nil, errors.New("write it with https://, or ferry's token could be read on the way")
	}
	return u, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// checkRedirect follows reads that GitHub answers with a repository's new address, on the same host only. A write is
// never repeated elsewhere.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0]
	if first.Method != http.MethodGet || req.URL.Host != first.URL.Host || req.URL.Scheme != first.URL.Scheme || len(via) > maxRedirects {
		return http.ErrUseLastResponse
	}
	return nil
}

// bounded ends answers that are too long.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(req)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxBody)
	}
	return resp, err
}

// transport adds the credential to requests for the API's own host.
type transport struct {
	base   http.RoundTripper
	api    *url.URL
	client *Client
	minter *minter // nil where the token is given
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host != t.api.Host || req.URL.Scheme != t.api.Scheme {
		return nil, fmt.Errorf("request to %s instead of %s", req.URL.Host, t.api.Host)
	}
	for try := 0; ; try++ {
		value, err := credential(req.Context(), t.client.token)
		if err != nil {
			return nil, err
		}
		sent := req.Clone(req.Context())
		if sent.GetBody != nil {
			if sent.Body, err = sent.GetBody(); err != nil {
				return nil, fmt.Errorf("read the request's body: %w", err)
			}
		}
		sent.Header.Set("Authorization", "Bearer "+value)
		resp, err := t.base.RoundTrip(sent)
		repeatable := t.minter != nil && (req.Body == nil || req.GetBody != nil)
		if err != nil || resp.StatusCode != http.StatusUnauthorized || !repeatable || !t.minter.rejected(req.Context(), value, try) {
			return resp, err
		}
		_ = resp.Body.Close() // an answer that says no more
	}
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

// Repository opens one that the configuration allows. It makes no request.
func (c *Client) Repository(name string) (promotion.Repository, error) {
	owner, short, ok := gitops.SplitRepository(name)
	if !ok {
		return nil, &gitops.Refusal{Code: gitops.Config, Reason: "The repository of an environment is not named like OWNER/NAME. Mend it in ferry's configuration."}
	}
	if !c.config.Allowed(name) {
		return nil, &gitops.Refusal{Code: gitops.Denied, Reason: fmt.Sprintf(
			"ferry's configuration does not name the repository %s, so ferry does not use it. Name it as the repository of an environment, or under github.repositories.", name)}
	}
	return &repository{c: c, owner: owner, name: short}, nil
}

// A repository implements promotion.Repository.
type repository struct {
	c           *Client
	owner, name string
}

func (r *repository) String() string { return r.owner + "/" + r.name }

// path gives the path of an API request below this repository. The value is one segment, whatever is in it; it may be
// empty.
func (r *repository) path(kind, value string) string {
	return strings.TrimSuffix("repos/"+r.owner+"/"+r.name+"/"+kind+"/"+url.PathEscape(value), "/")
}

// request makes one request and decodes the answer into into.
func (c *Client) request(ctx context.Context, method, path string, query url.Values, body, into any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	req, err := c.api.NewRequest(method, path, body)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	_, err = c.api.Do(ctx, req, into)
	return err
}

var backoff = []time.Duration{time.Second, 3 * time.Second}

// get reads, and tries again where the fault may pass.
func (c *Client) get(ctx context.Context, path string, query url.Values, into any) error {
	return c.again(ctx, path, func() error { return c.request(ctx, http.MethodGet, path, query, nil, into) })
}

// again repeats a read after server errors and broken connections.
func (c *Client) again(ctx context.Context, what string, read func() error) error {
	for try := 0; ; try++ {
		err := read()
		if err == nil || ctx.Err() != nil || try == len(backoff) || !passing(err) {
			return err
		}
		c.log.Debug("read GitHub again", "what", what, "after", backoff[try], "error", err)
		if c.sleep(ctx, backoff[try]) != nil {
			return err
		}
	}
}

// query posts a GraphQL document. Errors in the answer are a *graphqlError.
func (c *Client) query(ctx context.Context, document string, variables map[string]any, data any) error {
	answer := struct {
		Data   any            `json:"data"`
		Errors []graphqlFault `json:"errors"`
	}{Data: data}
	err := c.request(ctx, http.MethodPost, c.graphql, nil, map[string]any{"query": document, "variables": variables}, &answer)
	if err == nil && len(answer.Errors) > 0 {
		return &graphqlError{answer.Errors}
	}
	return err
}

// cloneURL and header are for the Tree function. GitHub takes a token as a password over Git's protocol.
func (r *repository) cloneURL() string { return r.c.root + "/" + r.owner + "/" + r.name + ".git" }

func (r *repository) header(ctx context.Context) (string, error) {
	value, err := credential(ctx, r.c.token)
	if err != nil {
		return "", err
	}
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("x-access-token:"+value)), nil
}

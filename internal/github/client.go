// Package github reads and writes repositories through GitHub's REST and GraphQL interfaces, on github.com or an
// Enterprise Server. It knows requests, answers and GitHub's rules; what to write, and why, is decided elsewhere.
//
// A Client is for commands, a Reader for those who watch pull requests. Both send their requests down the same way:
//
//	account      adds the credential, for the API's own host alone; makes an App's tokens
//	conditional  asks whether a kept answer is still right: it has to see the credential, since ETags depend on it
//	gate         keeps the pace and GitHub's limits, one for each account
//	network      bounds times and sizes
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
	maxHeader      = 64 << 10 // bytes; GitHub's have about 3 KB, of which some are kept
	maxBody        = 32 << 20 // bytes of an answer; a page of 100 pull requests has about 2 MB
	maxRedirects   = 3
	commandCache   = 16 << 20 // bytes of answers that commands keep
	agent          = "ferry"  // GitHub sends other bytes to some that look like browsers
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
	// Merge merges two versions of a file line by line, as operation.Pulls has it; nil where nobody reviews pull requests.
	Merge func(ctx context.Context, ancestor, base, head []byte) ([]byte, bool, error)
}

// A Client opens repositories. It implements promotion.Repositories and operation.Pulls.
type Client struct {
	config  Config
	api     *github.Client
	token   func(ctx context.Context) (string, error)
	graphql string // URL
	root    string // of clone URLs, without a slash at the end
	log     *slog.Logger
	*clock

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
	apiURL, graphqlURL := endpoints(root)
	clock := newClock(1)
	conditional := newConditional(newStore(commandCache, commandCache, nil), clock, log)
	account := newAccount(Account{Token: config.Token, App: config.App}, apiURL, network(), conditional, clock, log)
	c := &Client{
		config: config, clock: clock, token: account.token, graphql: graphqlURL.String(), root: strings.TrimSuffix(root.String(), "/"),
		log: log, viewers: map[[sha256.Size]byte]viewer{},
	}
	c.api = github.NewClient(&http.Client{Transport: account, CheckRedirect: checkRedirect, Timeout: requestTimeout})
	c.api.BaseURL, c.api.UserAgent = apiURL, agent
	return c, nil
}

// network is the bottom of all requests.
func network() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout, t.MaxResponseHeaderBytes = headerTimeout, maxHeader
	t.MaxIdleConnsPerHost = concurrent // or those above two would be opened again and again
	return bounded{t}
}

// endpoints are where a GitHub, named as in Config, answers to REST and GraphQL.
func endpoints(root *url.URL) (rest, graphql *url.URL) {
	if root.Host == "github.com" {
		rest = &url.URL{Scheme: "https", Host: "api.github.com", Path: "/"}
		return rest, rest.JoinPath("graphql")
	}
	if root.Path == "" {
		root = root.JoinPath("/") // or what is joined would have no slash before it
	}
	return root.JoinPath("api/v3/"), root.JoinPath("api/graphql")
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

// Repository opens one that the configuration allows. It makes no request.
func (c *Client) Repository(name string) (promotion.Repository, error) { return c.repository(name) }

func (c *Client) repository(name string) (*repository, error) {
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

// path gives the path of an API request below this repository. The value is one segment, whatever is in it; both may
// be empty.
func (r *repository) path(kind, value string) string {
	return strings.TrimRight("repos/"+r.owner+"/"+r.name+"/"+kind+"/"+url.PathEscape(value), "/")
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

// get reads, and tries again where the fault may pass.
func (c *Client) get(ctx context.Context, path string, query url.Values, into any) error {
	return c.again(ctx, c.log, path, func() error { return c.request(ctx, http.MethodGet, path, query, nil, into) }, passing)
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

package github

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-github/v60/github"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/watch"
)

// A target is a repository that is read, with what is being done for the words of a fault.
type target struct {
	r           *Reader
	owner, name string // name is the whole
	doing       string
	account     *account // that was used last
}

func (r *Reader) target(repository, doing string) (*target, *watch.Fault) {
	owner, _, ok := gitops.SplitRepository(repository)
	if !ok {
		return nil, &watch.Fault{Trouble: watch.Gone, Reason: fmt.Sprintf("%q is no repository: write OWNER/NAME.", repository)}
	}
	return &target{r: r, owner: owner, name: repository, doing: doing}, nil
}

// address is that of something below the repository, where it is now.
func (t *target) address(path, query string) string {
	r := t.r
	r.mu.Lock()
	at, ok := r.moved[strings.ToLower(t.name)]
	r.mu.Unlock()
	where := r.api.Path + "repos/" + t.name
	if ok && r.clock.now().Before(at.until) {
		where = at.path
	}
	return r.api.Scheme + "://" + r.api.Host + where + path + query
}

// again repeats a read, unless GitHub answers nobody.
func (t *target) again(ctx context.Context, read func() error) error {
	return t.r.clock.again(ctx, t.r.log, t.doing, read, func(err error) bool {
		a, _ := answerOf(err)
		_, later := retryAfter(a.header)
		return (passing(err) || errors.Is(err, errBroken)) && !later && t.account != nil && !t.account.gate.failing()
	})
}

// errElsewhere is an answer that names another host. Nobody goes there: it could be to collect credentials.
var errElsewhere = errors.New("GitHub's answer leads to another host")

// kept reads an address whose answer is kept. The header is shared with others.
func (t *target) kept(ctx context.Context, address string, how manner) (*content, http.Header, error) {
	resp, err := t.get(ctx, address, how)
	if err != nil {
		return nil, nil, err
	}
	_ = resp.Body.Close() // it is read already
	return resp.Body.(body).content, resp.Header, nil
}

// get reads an address, and follows a repository that was renamed. The body of an answer is to be closed.
func (t *target) get(ctx context.Context, address string, how manner) (*http.Response, error) {
	for range maxRedirects {
		resp, err := t.request(ctx, address, how)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusNotModified {
			return resp, nil
		}
		to, err := t.elsewhere(resp, address)
		if resp.StatusCode == http.StatusNotFound { // if it was renamed, the next try is by its name
			t.r.mu.Lock()
			delete(t.r.moved, strings.ToLower(t.name))
			t.r.mu.Unlock()
		}
		if err != nil {
			return nil, err
		}
		address = to
	}
	return nil, fmt.Errorf("%w: it leads in circles", errBroken)
}

// elsewhere is where an answer leads, or the error that it is.
func (t *target) elsewhere(resp *http.Response, from string) (string, error) {
	code := resp.StatusCode
	if code != http.StatusMovedPermanently && code != http.StatusFound && code != http.StatusTemporaryRedirect && code != http.StatusPermanentRedirect {
		if b, ok := resp.Body.(body); ok { // for go-github to read it
			raw, err := b.bytes()
			if err != nil {
				return "", err
			}
			resp.Body = io.NopCloser(strings.NewReader(string(raw)))
		}
		defer resp.Body.Close()
		if err := github.CheckResponse(resp); err != nil {
			return "", err
		}
		return "", fmt.Errorf("%w: status %d", errBroken, code)
	}
	_ = resp.Body.Close()
	was, err := url.Parse(from)
	if err != nil {
		return "", err
	}
	to, err := was.Parse(resp.Header.Get("Location"))
	if err != nil || resp.Header.Get("Location") == "" {
		return "", errElsewhere
	}
	if err := t.r.ours(to.String()); err != nil {
		return "", err
	}
	if to.RawQuery == "" {
		to.RawQuery = was.RawQuery
	}
	t.remember(code, was.Path, to.Path)
	return to.String(), nil
}

// remember keeps where a renamed repository is, "/repositories/1", so that not each poll costs a point for the way.
func (t *target) remember(code int, was, to string) {
	r := t.r
	below, ok := strings.CutPrefix(was, r.api.Path+"repos/"+t.name)
	at, found := strings.CutSuffix(to, below)
	if permanent := code == http.StatusMovedPermanently || code == http.StatusPermanentRedirect; !ok || !found || !permanent || !strings.HasPrefix(at, r.api.Path+"repositories/") {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.moved[strings.ToLower(t.name)] = move{at, r.clock.now().Add(r.clock.own(keepMoved))}
}

// request makes one request with the account of the repository's owner.
func (t *target) request(ctx context.Context, address string, how manner) (*http.Response, error) {
	req, err := http.NewRequestWithContext(with(ctx, how), http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header["Accept"] = accept
	req.Header["X-Github-Api-Version"] = apiVersion
	req.Header["User-Agent"] = userAgent
	first, second := t.r.accountsFor(t.owner, t.name)
	if first == nil {
		return nil, errUncovered
	}
	if t.account = first; second == nil || first.ready() {
		return first.RoundTrip(req)
	}
	t.account = second
	resp, err := second.RoundTrip(req)
	if err == nil && (resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusForbidden) {
		_ = resp.Body.Close()
		t.r.mu.Lock()
		t.r.uncovered[second.Name+"\n"+t.name] = t.r.clock.now().Add(t.r.clock.own(keepUncovered))
		t.r.mu.Unlock()
		t.account = first
		return first.RoundTrip(req)
	}
	return resp, err
}

// Headers that do not change are shared by all requests.
var (
	accept     = []string{"application/vnd.github+json"}
	apiVersion = []string{"2022-11-28"}
	userAgent  = []string{agent}
)

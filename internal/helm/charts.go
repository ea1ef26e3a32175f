// Package helm reads where charts come from: which versions the index of a chart repository, or an OCI registry, offers.
package helm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Masterminds/semver/v3"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/render"
)

const (
	fetchTimeout = 30 * time.Second // one list of versions, with all its requests
	maxLoading   = 4
	maxTagPages  = 100
	// keepFor is short: who has just published a version must not be told that it does not exist. It spares the requests
	// of one answer, and of many at once.
	keepFor = 2 * time.Second
)

// Charts lists the versions of charts. It sends no credentials and starts no credential helpers: sources that need them
// are an error. It is safe for concurrent use.
type Charts struct {
	now     func() time.Time
	loading chan struct{} // an entry for each index on its way, which takes up to maxIndex of memory
	parsing sync.Mutex    // one index at a time, which takes more

	mu      sync.Mutex
	kept    map[address]answer
	running map[address]*fetch
}

// An address is all that decides about an answer.
type address struct {
	kind, url, chart string
	insecure         bool
}

type answer struct {
	versions []string
	until    time.Time
}

// A fetch is under way for all who want the same, and ends early when none of them waits any more.
type fetch struct {
	done     chan struct{}
	cancel   context.CancelFunc
	waiting  int
	versions []string
	err      error
}

// New makes Charts that keep an answer for two seconds.
func New(now func() time.Time) *Charts {
	return &Charts{now: now, loading: make(chan struct{}, maxLoading), kept: map[address]answer{}, running: map[address]*fetch{}}
}

// Versions lists what a chart's source offers, newest first by semantic versioning; what is no such version is left out.
// Versions are in the form that the version field takes: a tag of an OCIRepository as it is, all others with the "+" for
// which OCI tags have "_". Any error means: cannot be checked.
func (c *Charts) Versions(ctx context.Context, chart gitops.Chart) ([]string, error) {
	if chart.Private {
		return nil, fmt.Errorf("list versions of chart %s: %s needs credentials, which ferry does not read", chart.Name, chart.Source)
	}
	versions, err := c.versions(ctx, address{chart.Source.Kind, chart.URL, chart.Name, chart.Insecure})
	if err != nil {
		return nil, fmt.Errorf("list versions of chart %s: %w", chart.Name, withoutQueries(err))
	}
	return slices.Clone(versions), nil
}

// versions looks at what is kept, joins the fetch that is under way, or begins one.
func (c *Charts) versions(ctx context.Context, at address) ([]string, error) {
	c.mu.Lock()
	if known, ok := c.kept[at]; ok && c.now().Before(known.until) {
		c.mu.Unlock()
		return known.versions, nil
	}
	f := c.running[at]
	if f == nil {
		running, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		f = &fetch{done: make(chan struct{}), cancel: cancel}
		c.running[at] = f
		go c.run(running, at, f)
	}
	f.waiting++
	c.mu.Unlock()
	select {
	case <-f.done:
		return f.versions, f.err
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		c.forget(at, f)
	}
	return nil, ctx.Err()
}

// run fetches and tells all who wait.
func (c *Charts) run(ctx context.Context, at address, f *fetch) {
	defer f.cancel()
	defer close(f.done)
	defer func() {
		if p := recover(); p != nil { // a stranger's bytes; nobody else would catch it here
			f.err = fmt.Errorf("panic: %v", p)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.forget(at, f)
		now := c.now()
		for k, v := range c.kept {
			if !now.Before(v.until) {
				delete(c.kept, k)
			}
		}
		if f.err == nil {
			c.kept[at] = answer{f.versions, now.Add(keepFor)}
		}
	}()
	f.versions, f.err = c.fetch(ctx, at)
}

// forget drops a fetch unless another one has taken its place. The caller holds the lock.
func (c *Charts) forget(at address, f *fetch) {
	if c.running[at] == f {
		delete(c.running, at)
	}
}

var queries = regexp.MustCompile(`\?[^\s"]*`)

// withoutQueries keeps addresses out of an error, or their queries at least, which hold keys if anything.
func withoutQueries(err error) error {
	if errors.Is(err, errInside) { // nor what a name stands for inside
		return errInside
	}
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err
	}
	if failed, ok := errors.AsType[*errcode.ErrorResponse](err); ok { // it repeats what the server wrote
		err = fmt.Errorf("the registry answers %d %s", failed.StatusCode, http.StatusText(failed.StatusCode))
	}
	if strings.Contains(err.Error(), "?") {
		err = errors.New(queries.ReplaceAllString(err.Error(), ""))
	}
	return err
}

func (c *Charts) fetch(ctx context.Context, at address) ([]string, error) {
	repository, oci := strings.CutPrefix(at.url, "oci://")
	switch {
	case at.kind == "OCIRepository" && oci:
		return tagged(ctx, repository, at.insecure)
	case at.kind == "HelmRepository" && oci:
		tags, err := tagged(ctx, strings.TrimSuffix(repository, "/")+"/"+at.chart, at.insecure)
		for i, tag := range tags {
			tags[i] = strings.ReplaceAll(tag, "_", "+")
		}
		return tags, err
	case at.kind == "HelmRepository":
		found, err := c.index(ctx, at.url, at.chart, nil)
		versions := make([]string, len(found))
		for i, e := range found {
			versions[i] = e.Version
		}
		return newestFirst(versions), err
	}
	return nil, fmt.Errorf("a %s has no list of versions", cmp.Or(at.kind, "chart without a source"))
}

// tagged lists the versions among the tags of a repository in an OCI registry.
func tagged(ctx context.Context, name string, insecure bool) ([]string, error) {
	repository, end, err := openRegistry(name, insecure, nil)
	if err != nil {
		return nil, err
	}
	defer end()
	found, err := tags(ctx, repository)
	return newestFirst(found), err
}

// index reads what the index of a chart repository has of one chart.
func (c *Charts) index(ctx context.Context, repository, chart string, credential *render.Credential) ([]entry, error) {
	u, err := url.Parse(repository)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("the repository's URL is neither http:// nor https:// nor oci://")
	}
	select {
	case c.loading <- struct{}{}:
		defer func() { <-c.loading }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	client, err := client(u.Scheme, u.Host, credential)
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	raw, err := get(ctx, client, u.JoinPath("index.yaml").String(), maxIndex)
	if err != nil {
		return nil, fmt.Errorf("fetch index: %w", err)
	}
	c.parsing.Lock()
	defer c.parsing.Unlock()
	return entries(raw, chart)
}

// get fetches what is at an address, up to a number of bytes.
func get(ctx context.Context, client *http.Client, address string, limit int) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, withoutQueries(err)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, withoutQueries(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%d %s", response.StatusCode, http.StatusText(response.StatusCode))
	}
	return readUpTo(response.Body, limit)
}

// readUpTo reads all there is, up to a number of bytes.
func readUpTo(from io.Reader, limit int) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(from, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > limit {
		return nil, fmt.Errorf("it is larger than %d MB", limit>>20)
	}
	return raw, nil
}

// openRegistry opens a repository in an OCI registry. The caller ends its connections.
func openRegistry(name string, insecure bool, credential *render.Credential) (repository *remote.Repository, end func(), err error) {
	repository, err = remote.NewRepository(name)
	if err != nil {
		return nil, nil, fmt.Errorf("read address: %w", err)
	}
	scheme := "https"
	if insecure {
		scheme = "http"
	}
	with := &auth.Client{} // without Credential: anonymous
	var certificates *render.Credential
	if credential != nil {
		certificates = &render.Credential{CA: credential.CA, Cert: credential.Cert, Key: credential.Key}
		if credential.Username+credential.Password != "" {
			with.Credential = auth.StaticCredential(repository.Reference.Host(), auth.Credential{Username: credential.Username, Password: credential.Password})
		}
	}
	client, err := client(scheme, repository.Reference.Host(), certificates)
	if err != nil {
		return nil, nil, err
	}
	with.Client = client
	repository.Client = with
	repository.PlainHTTP = insecure
	repository.TagListMaxPages = maxTagPages
	return repository, client.CloseIdleConnections, nil
}

// tags reads the tags of a repository in an OCI registry.
func tags(ctx context.Context, repository *remote.Repository) ([]string, error) {
	var all []string
	if err := repository.Tags(ctx, "", func(tags []string) error {
		all = append(all, tags...)
		return nil
	}); err != nil {
		return nil, fmt.Errorf("list tags: %w", withoutQueries(err))
	}
	return all, nil
}

// newestFirst sorts versions by precedence, and equal ones by their text. Only whole versions stay, "1.2.3" or "v1.2.3":
// registries hold signatures and the like under tags too.
func newestFirst(versions []string) []string {
	type parsed struct {
		text    string
		version *semver.Version
	}
	var all []parsed
	for _, text := range versions {
		// An OCI tag has "_" where a version has "+".
		if v, err := semver.StrictNewVersion(strings.ReplaceAll(strings.TrimPrefix(text, "v"), "_", "+")); err == nil {
			all = append(all, parsed{text, v})
		}
	}
	slices.SortFunc(all, func(a, b parsed) int {
		return cmp.Or(b.version.Compare(a.version), cmp.Compare(b.text, a.text))
	})
	sorted := make([]string, len(all))
	for i, p := range all {
		sorted[i] = p.text
	}
	return slices.Compact(sorted)
}

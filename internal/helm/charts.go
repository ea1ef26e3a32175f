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
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Masterminds/semver/v3"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

const (
	requestTimeout = 15 * time.Second
	maxIndex       = 64 << 20 // bytes; the largest public index has some 20 MB
	maxTagPages    = 100
	// keepFor is short: who has just published a version must not be told that it does not exist. It spares the requests
	// of one answer, and of many at once.
	keepFor = 2 * time.Second
)

// Charts lists the versions of charts. It sends no credentials and starts no credential helpers: sources that need them
// are an error. It is safe for concurrent use.
type Charts struct {
	http *http.Client
	now  func() time.Time

	mu   sync.Mutex
	kept map[address]answer
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

// New makes Charts that keep an answer for two seconds.
func New(now func() time.Time) *Charts {
	return &Charts{http: &http.Client{Timeout: requestTimeout}, now: now, kept: map[address]answer{}}
}

// Versions lists what a chart's source offers, newest first by semantic versioning; what is no such version is left out.
// Versions are in the form that the version field takes: a tag of an OCIRepository as it is, all others with the "+" for
// which OCI tags have "_". Any error means: cannot be checked.
func (c *Charts) Versions(ctx context.Context, chart gitops.Chart) ([]string, error) {
	if chart.Private {
		return nil, fmt.Errorf("list versions of chart %s: %s needs credentials, which ferry does not read", chart.Name, chart.Source)
	}
	at := address{chart.Source.Kind, chart.URL, chart.Name, chart.Insecure}
	c.mu.Lock()
	known, ok := c.kept[at]
	c.mu.Unlock()
	if ok && c.now().Before(known.until) {
		return slices.Clone(known.versions), nil
	}
	versions, err := c.fetch(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("list versions of chart %s: %w", chart.Name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	for k, v := range c.kept {
		if !now.Before(v.until) {
			delete(c.kept, k)
		}
	}
	c.kept[at] = answer{versions, now.Add(keepFor)}
	return slices.Clone(versions), nil
}

func (c *Charts) fetch(ctx context.Context, at address) ([]string, error) {
	repository, oci := strings.CutPrefix(at.url, "oci://")
	switch {
	case at.kind == "OCIRepository" && oci:
		return c.tags(ctx, repository, at.insecure, func(tag string) string { return tag })
	case at.kind == "HelmRepository" && oci:
		return c.tags(ctx, strings.TrimSuffix(repository, "/")+"/"+at.chart, at.insecure,
			func(tag string) string { return strings.ReplaceAll(tag, "_", "+") })
	case at.kind == "HelmRepository":
		return c.index(ctx, at.url, at.chart)
	}
	return nil, fmt.Errorf("a %s has no list of versions", cmp.Or(at.kind, "chart without a source"))
}

// index reads index.yaml of a chart repository.
func (c *Charts) index(ctx context.Context, repository, chart string) ([]string, error) {
	u, err := url.Parse(repository)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("the repository's URL is neither http:// nor https:// nor oci://")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.JoinPath("index.yaml").String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err // without the address, which a redirect may have put a key into
	}
	if err != nil {
		return nil, fmt.Errorf("fetch index: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch index: %s", response.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxIndex+1))
	if err != nil {
		return nil, fmt.Errorf("fetch index: %w", err)
	}
	if len(raw) > maxIndex {
		return nil, fmt.Errorf("fetch index: it is larger than %d MB", maxIndex>>20)
	}
	var index struct {
		Entries map[string][]struct {
			Version string `json:"version"`
		} `json:"entries"`
	}
	if err := yaml.Unmarshal(raw, &index); err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	entries, ok := index.Entries[chart]
	if !ok {
		return nil, errors.New("the index does not have this chart")
	}
	var versions []string
	for _, e := range entries {
		versions = append(versions, e.Version)
	}
	return newestFirst(versions), nil
}

// tags reads the tags of a repository in an OCI registry; spell makes a version of a tag.
func (c *Charts) tags(ctx context.Context, name string, insecure bool, spell func(tag string) string) ([]string, error) {
	repository, err := remote.NewRepository(name)
	if err != nil {
		return nil, fmt.Errorf("read address: %w", err)
	}
	repository.Client = &auth.Client{Client: c.http} // without Credential: anonymous
	repository.PlainHTTP = insecure
	repository.TagListMaxPages = maxTagPages
	var versions []string
	if err := repository.Tags(ctx, "", func(tags []string) error {
		for _, tag := range tags {
			versions = append(versions, spell(tag))
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("list tags: %w", err)
	}
	return newestFirst(versions), nil
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

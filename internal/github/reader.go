package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ferry-chatops/ferry/internal/watch"
)

const (
	pollCache     = 32 << 20  // bytes of what is known of answers, in memory
	pollBodies    = 4 << 20   // of their bodies, packed, where there is no disk
	diskCache     = 128 << 20 // on disk
	maxFiles      = 3000      // GitHub lists no more of a pull request
	filesPages    = maxFiles/perPage + 1
	pollPage      = 10        // pull requests, 15 to 22 KB each
	openPage      = 50        // likewise; strangers may write 65,536 characters about each, which JSON may take six bytes for
	keepMoved     = time.Hour // the new address of a repository, and its number: its name may get another one
	keepUncovered = time.Hour
)

// ReaderConfig says which GitHub, as whom.
type ReaderConfig struct {
	// BaseURL is as in Config.
	BaseURL string
	// Accounts are tried in their order, those first that name the owner of a repository.
	Accounts []Account
	// Disk is where answers are kept that outlive the process; nil: in memory, with few of their bodies.
	Disk *Disk
	// Factor divides ferry's own times, for trials; 0 is 1.
	Factor float64
}

// A Reader reads pull requests for those who watch them. It implements watch.GitHub.
type Reader struct {
	api      *url.URL
	accounts []*account
	cache    *conditional
	clock    *clock
	log      *slog.Logger

	mu        sync.Mutex
	told      map[told]digest      // body of the first page that was handed out last
	ids       map[string]identity  // of repositories without pull requests, by lower-case name
	moved     map[string]move      // renamed repositories, by lower-case name
	uncovered map[string]time.Time // "account\nowner/name" that a second account may not see, until when that counts
}

// A move is where a repository is found that has another name now.
type move struct {
	path  string // "/repositories/1", with what stands before it on an Enterprise Server
	until time.Time
}

// An identity is which repository a name stands for.
type identity struct {
	id    int64
	name  string
	until time.Time
}

// told names a first page.
type told struct {
	repository string
	open       bool
}

// NewReader checks the configuration; it makes no request.
func NewReader(config ReaderConfig, log *slog.Logger) (*Reader, error) {
	return newReader(config, network(), log)
}

func newReader(config ReaderConfig, network http.RoundTripper, log *slog.Logger) (*Reader, error) {
	root, err := Root(config.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("read GitHub's URL: %w", err)
	}
	if len(config.Accounts) == 0 {
		return nil, errors.New("no credential for GitHub")
	}
	api, _ := endpoints(root)
	clock := newClock(config.Factor)
	r := &Reader{api: api, clock: clock, log: log, cache: newConditional(newStore(pollCache, pollBodies, config.Disk), clock, log),
		told: map[told]digest{}, ids: map[string]identity{}, moved: map[string]move{}, uncovered: map[string]time.Time{}}
	for _, of := range config.Accounts {
		a := newAccount(of, api, network, r.cache, clock, log)
		// The process before may have used its burst a moment ago, and GitHub does not know that this is another one.
		a.gate.due = clock.now().Add((pollBurst - concurrent) * clock.own(spacing))
		r.accounts = append(r.accounts, a)
	}
	return r, nil
}

// Pulls reads one page of a repository's pull requests.
func (r *Reader) Pulls(ctx context.Context, request watch.Request) (watch.Page, error) {
	t, fault := r.target(request.Repository, "read the pull requests of "+request.Repository)
	if fault != nil {
		return watch.Page{}, fault
	}
	address := request.Next
	if address == "" {
		address = t.address("/pulls", listQuery(request.Open))
	} else if err := r.ours(address); err != nil {
		return watch.Page{}, t.fault(err)
	}
	var page watch.Page
	err := t.again(ctx, func() (err error) {
		page, err = r.page(ctx, t, address, request)
		return err
	})
	if err != nil {
		return watch.Page{}, t.fault(err)
	}
	return page, nil
}

func listQuery(open bool) string {
	if open {
		return "?state=open&sort=created&direction=asc&per_page=" + strconv.Itoa(openPage)
	}
	return "?state=all&sort=updated&direction=desc&per_page=" + strconv.Itoa(pollPage)
}

// page reads and decodes one page, or says that it is as it was when it was handed out last.
func (r *Reader) page(ctx context.Context, t *target, address string, request watch.Request) (watch.Page, error) {
	first := told{request.Repository, request.Open}
	r.mu.Lock()
	last, before := r.told[first]
	r.mu.Unlock()
	known := before && request.Next == "" && !request.Fresh
	content, header, err := t.kept(ctx, address, manner{poll: true, list: true, whole: !known})
	if err != nil {
		return watch.Page{}, err
	}
	var page watch.Page
	if seconds, err := strconv.Atoi(header.Get("X-Poll-Interval")); err == nil && seconds > 0 {
		page.Interval = time.Duration(min(seconds, 3600)) * time.Second
	}
	if known && content.sum == last {
		page.Unchanged = true
		return page, nil
	}
	raw, err := content.bytes()
	if err != nil { // lost between the question and now
		content.forget()
		return watch.Page{}, fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err)
	}
	if err := r.decode(&page, raw); err != nil {
		content.forget()
		return watch.Page{}, err
	}
	if page.Next, err = r.next(header); err != nil {
		return watch.Page{}, err
	}
	if page.Repository == 0 {
		if page.Repository, page.Name, err = r.identity(ctx, t); err != nil {
			return watch.Page{}, err
		}
	}
	if request.Next == "" { // others are asked for where this one has changed
		r.mu.Lock()
		r.told[first] = content.sum
		r.mu.Unlock()
	}
	return page, nil
}

// A listed pull request is what ferry reads of an item.
type listed struct {
	Number    int
	HTMLURL   string `json:"html_url"`
	Title     string
	User      *struct{ Login string } // nil if the account is gone
	State     string
	Draft     bool
	Labels    []struct{ Name string }
	Head      side
	Base      side
	CreatedAt time.Time  `json:"created_at"`
	UpdatedAt time.Time  `json:"updated_at"`
	ClosedAt  *time.Time `json:"closed_at"`
	MergedAt  *time.Time `json:"merged_at"`
}

type side struct {
	Ref  string
	SHA  string
	Repo *struct { // nil if a fork is gone
		ID       int64
		FullName string `json:"full_name"`
	}
}

func (s side) word() watch.Side {
	w := watch.Side{Ref: s.Ref, SHA: s.SHA}
	if s.Repo != nil {
		w.Repository = s.Repo.FullName
	}
	return w
}

// errBroken is an answer that is not what GitHub's documentation says.
var errBroken = errors.New("GitHub's answer cannot be read")

// decode reads the items of a page.
func (r *Reader) decode(page *watch.Page, raw []byte) error {
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		return fmt.Errorf("%w: %w", errBroken, err)
	}
	for _, item := range items {
		var is listed
		if err := json.Unmarshal(item, &is); err != nil {
			return fmt.Errorf("%w: %w", errBroken, err)
		}
		if is.Number <= 0 || is.Base.Repo == nil || is.Base.Repo.ID == 0 {
			return fmt.Errorf("%w: a pull request without its number or repository", errBroken)
		}
		page.Repository, page.Name = is.Base.Repo.ID, is.Base.Repo.FullName
		p := watch.PullRequest{
			Repository: is.Base.Repo.FullName, Number: is.Number, URL: is.HTMLURL, Title: is.Title, State: is.State, Draft: is.Draft,
			Head: is.Head.word(), Base: is.Base.word(), Created: is.CreatedAt, Updated: is.UpdatedAt, Raw: item,
		}
		if is.User != nil {
			p.Author = is.User.Login
		}
		for _, l := range is.Labels {
			p.Labels = append(p.Labels, l.Name)
		}
		slices.Sort(p.Labels)
		if is.ClosedAt != nil {
			p.Closed = *is.ClosedAt
		}
		if is.MergedAt != nil {
			p.Merged = *is.MergedAt
		}
		page.Pulls = append(page.Pulls, p)
	}
	return nil
}

// identity asks once for the number of a repository, where its pull requests do not tell.
func (r *Reader) identity(ctx context.Context, t *target) (int64, string, error) {
	key := strings.ToLower(t.name)
	r.mu.Lock()
	is := r.ids[key]
	r.mu.Unlock()
	if r.clock.now().Before(is.until) {
		return is.id, is.name, nil
	}
	content, _, err := t.kept(ctx, t.address("", ""), manner{poll: true, whole: true})
	if err != nil {
		return 0, "", err
	}
	raw, err := content.bytes()
	if err != nil {
		return 0, "", fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err)
	}
	var about struct {
		ID       int64
		FullName string `json:"full_name"`
	}
	if err := json.Unmarshal(raw, &about); err != nil || about.ID == 0 {
		return 0, "", fmt.Errorf("%w: a repository without its number", errBroken)
	}
	r.mu.Lock()
	r.ids[key] = identity{about.ID, about.FullName, r.clock.now().Add(r.clock.own(keepMoved))}
	r.mu.Unlock()
	return about.ID, about.FullName, nil
}

// next finds the page that follows. It is followed literally, but not to another host.
func (r *Reader) next(header http.Header) (string, error) {
	for _, line := range header["Link"] {
		for part := range strings.SplitSeq(line, ",") {
			address, about, _ := strings.Cut(strings.TrimSpace(part), ">")
			if !strings.HasPrefix(address, "<") || !slices.ContainsFunc(strings.Split(about, ";"), func(p string) bool {
				p = strings.TrimSpace(p)
				return p == `rel="next"` || p == "rel=next"
			}) {
				continue
			}
			return address[1:], r.ours(address[1:])
		}
	}
	return "", nil
}

// ours refuses an address that is not below GitHub's API.
func (r *Reader) ours(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != r.api.Scheme || u.Host != r.api.Host || u.User != nil || !strings.HasPrefix(u.Path, r.api.Path) {
		return errElsewhere
	}
	return nil
}

// Files lists what a pull request changes, all pages of it.
func (r *Reader) Files(ctx context.Context, repository string, number int) ([]watch.File, bool, error) {
	t, fault := r.target(repository, fmt.Sprintf("read the files of pull request %d of %s", number, repository))
	if fault != nil {
		return nil, false, fault
	}
	var files []watch.File
	next := t.address("/pulls/"+strconv.Itoa(number)+"/files", "?per_page="+strconv.Itoa(perPage))
	for page := 0; next != "" && page < filesPages; page++ {
		address, before := next, len(files)
		err := t.again(ctx, func() error {
			files = files[:before]
			resp, err := t.get(ctx, address, manner{poll: true, once: true})
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if next, err = r.next(resp.Header); err != nil {
				return err
			}
			return items(resp.Body, func(f struct {
				Filename string
				Previous string `json:"previous_filename"`
			}) {
				if len(files) < maxFiles { // what lists more is not GitHub
					files = append(files, watch.File{Name: f.Filename, Previous: f.Previous})
				}
			})
		})
		if err != nil {
			return nil, false, t.fault(err)
		}
	}
	return files, next == "" && len(files) < maxFiles, nil
}

// items decodes an array one by one, since patches of files can be long, and reads it to its end.
func items[T any](from io.Reader, each func(T)) error {
	d := json.NewDecoder(from)
	if start, err := d.Token(); err != nil || start != json.Delim('[') {
		return broken(err)
	}
	for d.More() {
		var item T
		if err := d.Decode(&item); err != nil {
			return broken(err)
		}
		each(item)
	}
	if _, err := d.Token(); err != nil {
		return broken(err)
	}
	if _, err := io.Copy(io.Discard, from); err != nil {
		return broken(err)
	}
	return nil
}

func broken(err error) error {
	if err == nil {
		return errBroken
	}
	return fmt.Errorf("%w: %w", errBroken, err)
}

// Diverged says whether a branch that moved from one commit to another was rewritten: whether the first is no ancestor
// of the second.
func (r *Reader) Diverged(ctx context.Context, repository, before, after string) (bool, error) {
	t, fault := r.target(repository, fmt.Sprintf("compare two commits of %s", repository))
	if fault != nil {
		return false, fault
	}
	if err := errors.Join(checkCommit(before), checkCommit(after)); err != nil {
		return false, t.fault(err)
	}
	var comparison struct{ Status string }
	err := t.again(ctx, func() error {
		resp, err := t.get(ctx, t.address("/compare/"+before+"..."+after, "?per_page=1"), manner{poll: true, once: true})
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&comparison); err != nil {
			return broken(err)
		}
		return nil
	})
	if a, ok := answerOf(err); ok && a.status == http.StatusNotFound && a.says("no common ancestor") {
		return true, nil
	}
	if err != nil {
		return false, t.fault(err)
	}
	return comparison.Status == "diverged" || comparison.Status == "behind", nil
}

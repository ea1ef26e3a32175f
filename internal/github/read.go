package github

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

const (
	perPage  = 100 // GitHub's maximum
	maxPages = 5   // of one list, which bounds the time of an answer
	maxOlder = 10  // branches whose pull requests are looked for one by one
)

func checkBranch(branch string) error {
	if !gitops.ValidBranch(branch) {
		return &gitops.Refusal{Code: gitops.Config, Reason: fmt.Sprintf("%q is no name of a branch.", branch)}
	}
	return nil
}

func checkCommit(sha string) error {
	if !gitops.ValidCommit(sha) {
		return fmt.Errorf("%q is not a whole commit id", sha)
	}
	return nil
}

// checkRevision takes a commit id or the name of a branch.
func checkRevision(ref string) error {
	if checkCommit(ref) == nil {
		return nil
	}
	return checkBranch(ref)
}

// Head returns the commit that a branch points to.
func (r *repository) Head(ctx context.Context, branch string) (string, error) {
	if err := checkBranch(branch); err != nil {
		return "", err
	}
	sha, err := r.ref(ctx, branch)
	if err != nil {
		return "", r.refuse(fmt.Sprintf("read branch %s of %s", branch, r), err)
	}
	return sha, nil
}

func (r *repository) ref(ctx context.Context, branch string) (string, error) {
	var ref struct{ Object struct{ SHA string } }
	if err := r.c.get(ctx, r.path("git/ref", "heads/"+branch), nil, &ref); err != nil {
		return "", err
	}
	return ref.Object.SHA, checkCommit(ref.Object.SHA)
}

// Tree returns the files of a commit.
func (r *repository) Tree(ctx context.Context, sha string) (fs.FS, error) {
	header, err := r.header(ctx)
	if err != nil {
		return nil, err
	}
	return r.c.config.Tree(ctx, r.cloneURL(), header, sha)
}

// File returns one file at a commit or branch, of up to 1 MiB as in Tree.
func (r *repository) File(ctx context.Context, path, ref string) ([]byte, error) {
	if !fs.ValidPath(path) || path == "." {
		return nil, fmt.Errorf("read file %q: %w", path, fs.ErrInvalid)
	}
	if err := checkRevision(ref); err != nil {
		return nil, err
	}
	var raw json.RawMessage
	err := r.c.get(ctx, r.path("contents", path), url.Values{"ref": {ref}}, &raw)
	if a, ok := answerOf(err); ok && a.status == http.StatusNotFound {
		return nil, fmt.Errorf("read %s at %s of %s: %w", path, ref, r, fs.ErrNotExist)
	}
	if err != nil {
		return nil, r.refuse(fmt.Sprintf("read %s of %s", path, r), err)
	}
	var file struct{ Type, Encoding, Content string }
	if err := json.Unmarshal(raw, &file); err != nil || file.Type != "file" { // a directory is a list
		return nil, fmt.Errorf("read %s at %s of %s: no regular file: %w", path, ref, r, fs.ErrNotExist)
	}
	// GitHub gives files over 1 MiB the encoding "none", and breaks base64 into lines.
	content, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(file.Content, "\n", ""))
	if err != nil || file.Encoding != "base64" {
		return nil, &gitops.Refusal{Code: gitops.Layout, Reason: fmt.Sprintf("%s of %s is too large: ferry reads files of up to 1 MiB.", path, r), Cause: err}
	}
	return content, nil
}

// A commit is what ferry reads of one.
type commit struct {
	SHA     string
	HTMLURL string `json:"html_url"`
	Commit  struct {
		Message   string
		Committer struct{ Date time.Time }
		// Verification is of the committer's signature; the author may be anybody.
		Verification struct{ Verified bool }
	}
	Author    *struct{ Login string } // nil if the e-mail address belongs to no account
	Committer *struct{ Login string }
}

// webFlow is the account that GitHub commits as, with a key that nobody else has.
const webFlow = "web-flow"

func (c commit) word() gitops.Commit {
	found := gitops.Commit{SHA: c.SHA, URL: c.HTMLURL, Message: c.Commit.Message, When: c.Commit.Committer.Date}
	if c.Author != nil {
		found.Author = c.Author.Login
	}
	found.Signed = c.Commit.Verification.Verified && c.Committer != nil && c.Committer.Login == webFlow
	return found
}

// Commits returns the newest commits of a branch that changed path, newest first.
func (r *repository) Commits(ctx context.Context, branch, path string, limit int) ([]gitops.Commit, error) {
	if err := checkRevision(branch); err != nil {
		return nil, err
	}
	query := url.Values{"sha": {branch}}
	if path != "" {
		query.Set("path", path)
	}
	var found []gitops.Commit
	for c, err := range pages[commit](ctx, r.c, r.path("commits", ""), query, min(limit, perPage)) {
		if err != nil {
			return nil, r.refuse(fmt.Sprintf("read the history of %s in %s", branch, r), err)
		}
		if len(found) == limit {
			break
		}
		found = append(found, c.word())
	}
	return found, nil
}

// pages yields the items of a list, page by page as they are needed, or one error as the last.
func pages[T any](ctx context.Context, c *Client, path string, query url.Values, size int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		query.Set("per_page", strconv.Itoa(size))
		for page := 1; page <= maxPages; page++ {
			query.Set("page", strconv.Itoa(page))
			var items []T
			if err := c.get(ctx, path, query, &items); err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if len(items) < size {
				return
			}
		}
	}
}

// Contains says whether commit is head or one of its ancestors.
func (r *repository) Contains(ctx context.Context, head, commit string) (bool, error) {
	if err := errors.Join(checkRevision(head), checkRevision(commit)); err != nil {
		return false, err
	}
	if head == commit {
		return true, nil
	}
	var comparison struct{ Status string }
	err := r.c.get(ctx, r.path("compare", commit+"..."+head), url.Values{"per_page": {"1"}}, &comparison)
	if a, ok := answerOf(err); ok && a.status == http.StatusNotFound && a.says("no common ancestor") {
		return false, nil
	}
	if err != nil {
		return false, r.refuse(fmt.Sprintf("compare %s with %s in %s", commit, head, r), err)
	}
	return comparison.Status == "ahead" || comparison.Status == "identical", nil
}

// Viewer is the login of our own credential; of an App "name[bot]". It is asked for once in five minutes for each token.
func (r *repository) Viewer(ctx context.Context) (string, error) {
	value, err := credential(ctx, r.c.token)
	if err != nil {
		return "", err
	}
	key := sha256.Sum256([]byte(value))
	r.c.mu.Lock()
	known := r.c.viewers[key]
	r.c.mu.Unlock()
	if r.c.now().Before(known.until) {
		return known.login, nil
	}
	var data struct{ Viewer struct{ Login string } }
	err = r.c.again(ctx, r.c.log, "viewer", func() error { return r.c.query(ctx, `query { viewer { login } }`, nil, &data) }, passing)
	if err == nil && data.Viewer.Login == "" {
		err = errors.New("no login in the answer")
	}
	if err != nil {
		return "", r.refuse("ask whose token it uses", err)
	}
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	clear(r.c.viewers) // of the tokens before
	r.c.viewers[key] = viewer{data.Viewer.Login, r.c.now().Add(keepViewer)}
	return data.Viewer.Login, nil
}

// harmless are the types of rules that a commit on an existing branch through the API meets. Commits by
// createCommitOnBranch are signed by GitHub, have one parent, and never rewrite. A pattern for messages or addresses is
// not among them: ferry cannot know that it holds.
var harmless = map[string]bool{
	"creation": true, "deletion": true, "non_fast_forward": true, "required_signatures": true, "required_linear_history": true,
	"branch_name_pattern": true, "tag_name_pattern": true, "max_file_size": true, "max_file_path_length": true,
	"file_extension_restriction": true, "copilot_code_review": true,
}

// Direct says whether the branch's rules let us commit to it. If not, the rule is the type of one, "pull_request", or
// "branch protection". A right to bypass rules is not used.
func (r *repository) Direct(ctx context.Context, branch string) (bool, string, error) {
	if err := checkBranch(branch); err != nil {
		return false, "", err
	}
	var types []string
	// GitHub calls a branch protected for rules as well as for classic protection; protection is about the latter alone.
	var about struct {
		Protected  bool
		Protection *struct{ Enabled bool }
	}
	group, reading := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		types, err = r.rules(reading, branch)
		return err
	})
	group.Go(func() error { return r.c.get(reading, r.path("branches", branch), nil, &about) })
	if err := group.Wait(); err != nil {
		return false, "", r.refuse(fmt.Sprintf("read the rules of branch %s of %s", branch, r), err)
	}
	for _, kind := range types {
		if !harmless[kind] {
			return false, kind, nil
		}
	}
	// The details of classic protection need the right to administer: without them, take it for a no.
	explained := len(types) > 0 && about.Protection != nil && !about.Protection.Enabled
	if about.Protected && !explained {
		return false, "branch protection", nil
	}
	return true, "", nil
}

// rules are the types of the rules of a branch.
func (r *repository) rules(ctx context.Context, branch string) ([]string, error) {
	type rule struct{ Type string }
	var types []string
	for found, err := range pages[rule](ctx, r.c, r.path("rules/branches", branch), url.Values{}, perPage) {
		// Private repositories of a plan without rulesets have no rules, and say so like this.
		if a, ok := answerOf(err); ok && a.status == http.StatusForbidden && a.says("upgrade to") {
			return types, nil
		}
		if err != nil {
			return nil, err
		}
		types = append(types, found.Type)
	}
	return types, nil
}

// A pullRequest is what ferry reads of one.
type pullRequest struct {
	Number         int
	HTMLURL        string `json:"html_url"`
	Title          string
	Body           string
	State          string
	Draft          bool
	CreatedAt      time.Time  `json:"created_at"`
	MergedAt       *time.Time `json:"merged_at"`
	MergeCommitSHA string     `json:"merge_commit_sha"` // before the merge that of a trial
	User           *struct{ Login string }
	Head           struct {
		Ref, SHA string
		Repo     *struct { // nil if a fork is gone
			FullName string `json:"full_name"`
		}
	}
	Base struct {
		Ref  string
		Repo struct {
			FullName string `json:"full_name"`
		}
	}
}

func (p pullRequest) word() gitops.PullRequest {
	found := gitops.PullRequest{Number: p.Number, URL: p.HTMLURL, Title: p.Title, Body: p.Body, Branch: p.Head.Ref, State: p.State, When: p.CreatedAt}
	if p.User != nil {
		found.Author = p.User.Login
	}
	if p.MergedAt != nil {
		found.State, found.MergeCommit = "merged", p.MergeCommitSHA
	}
	return found
}

// PullRequests returns pull requests from branches of this repository that begin with prefix, newest first. It looks
// through the newest 100 of all, and at the older ones of up to 10 such branches that still exist: what was merged long
// ago and has lost its branch is not found.
func (r *repository) PullRequests(ctx context.Context, prefix string) ([]gitops.PullRequest, error) {
	found, err := r.pulls(ctx, url.Values{"state": {"all"}}, func(p pullRequest) bool { return strings.HasPrefix(p.Head.Ref, prefix) })
	if err != nil {
		return nil, err
	}
	var refs []struct{ Ref string }
	if err := r.c.get(ctx, r.path("git/matching-refs", "heads/"+prefix), nil, &refs); err != nil {
		return nil, r.refuse(fmt.Sprintf("list the branches of %s", r), err)
	}
	looked := 0
	for _, ref := range refs {
		branch, ok := strings.CutPrefix(ref.Ref, "refs/heads/"+prefix)
		branch = prefix + branch
		if !ok || looked == maxOlder || slices.ContainsFunc(found, func(p gitops.PullRequest) bool { return p.Branch == branch }) {
			continue
		}
		looked++
		older, err := r.from(ctx, url.Values{"state": {"all"}}, branch)
		if err != nil {
			return nil, err
		}
		found = append(found, older...)
	}
	slices.SortFunc(found, func(a, b gitops.PullRequest) int { return cmp.Compare(b.Number, a.Number) })
	return found, nil
}

// from returns the newest pull requests from one branch, newest first.
func (r *repository) from(ctx context.Context, query url.Values, branch string) ([]gitops.PullRequest, error) {
	query.Set("head", r.owner+":"+branch) // without the owner GitHub does not filter by head at all
	return r.pulls(ctx, query, func(p pullRequest) bool { return p.Head.Ref == branch })
}

// pulls returns the newest pull requests that are wanted, newest first, out of one page.
func (r *repository) pulls(ctx context.Context, query url.Values, wanted func(pullRequest) bool) ([]gitops.PullRequest, error) {
	listed, err := r.list(ctx, query, wanted)
	var found []gitops.PullRequest
	for _, p := range listed {
		found = append(found, p.word())
	}
	return found, err
}

// list is pulls, as GitHub has them.
func (r *repository) list(ctx context.Context, query url.Values, wanted func(pullRequest) bool) ([]pullRequest, error) {
	query.Set("sort", "created")
	query.Set("direction", "desc")
	query.Set("per_page", strconv.Itoa(perPage))
	var listed []pullRequest
	if err := r.c.get(ctx, r.path("pulls", ""), query, &listed); err != nil {
		return nil, r.refuse(fmt.Sprintf("list the pull requests of %s", r), err)
	}
	return slices.DeleteFunc(listed, func(p pullRequest) bool {
		return p.Head.Repo == nil || !strings.EqualFold(p.Head.Repo.FullName, r.String()) || !wanted(p)
	}), nil
}

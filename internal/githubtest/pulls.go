package githubtest

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A pull is a pull request between two branches, of one repository or of a fork and its parent.
type pull struct {
	number                           int
	title, body, author              string
	labels                           []string    // sorted; replaced, never changed in place
	head, base                       string      // branches
	source                           *repository // of the head; nil: a fork that is gone
	headSHA, baseSHA                 string
	state                            string // open or closed
	draft                            bool
	created, updated, closed, merged time.Time
	mergedBy                         string
	// mergeCommit is the commit on the base branch that a merge left; of an open one, the one that tries whether it merges.
	mergeCommit string

	// Of a made-up one.
	pushes    int    // and tests whether it merges
	tested    string // the commit of the base branch in the last such test
	files     []File
	fileCount int // where there are no files
}

// sync follows the head branches of open pull requests: a push moves refs/pull/N/head, deleting the branch closes.
func (r *repository) sync() {
	if r.madeUp() {
		return
	}
	for _, p := range r.pulls {
		if p.state != "open" || p.source == nil {
			continue
		}
		sha, err := p.source.branch(p.head)
		switch {
		case err != nil:
			p.close()
		case sha != p.headSHA:
			if err := r.follow(p, sha, p.headSHA); err == nil {
				p.headSHA, p.updated = sha, now()
			}
		}
	}
}

// follow moves refs/pull/N/head, of which GitHub keeps the objects in the base repository.
func (r *repository) follow(p *pull, sha, old string) error {
	if p.source != r {
		if _, err := r.git("fetch", "--quiet", "--no-tags", p.source.dir, "refs/heads/"+p.head); err != nil {
			return err
		}
	}
	return r.setRef(fmt.Sprintf("refs/pull/%d/head", p.number), sha, old)
}

func (p *pull) close() {
	p.state, p.closed, p.updated = "closed", now(), now()
}

func (r *repository) pull(number int) *pull {
	if number < 1 || number > len(r.pulls) {
		return nil
	}
	r.sync()
	return r.pulls[number-1]
}

// reviewsMissing says that the base branch's rules want approvals; nobody can give any here.
func (p *pull) reviewsMissing(r *repository) string {
	for _, rule := range r.rules[p.base] {
		if n := fmt.Sprint(rule.parameters()["required_approving_review_count"]); rule.Type == "pull_request" && n != "0" && n != "<nil>" {
			return fmt.Sprintf("At least %s approving review is required by reviewers with write access.", n)
		}
	}
	return ""
}

// owner is whose the head is, empty where it is gone.
func (p *pull) owner() string {
	if p.source == nil {
		return ""
	}
	return p.source.owner
}

// mergedTree merges a commit into a branch and returns the tree; false if there are conflicts.
func (r *repository) mergedTree(branch, sha string) (tree string, clean bool) {
	tree, err := r.line("merge-tree", "--write-tree", "refs/heads/"+branch, sha)
	return tree, err == nil
}

// notMergeable is GitHub's answer to a merge that has conflicts or comes too late.
var notMergeable = &failure{status: http.StatusMethodNotAllowed, message: "Pull Request is not mergeable"}

// merge merges with one of GitHub's three methods. Its errors are *failure for what GitHub refuses.
func (r *repository) merge(p *pull, login, method, title, message string) error {
	if p.state != "open" || p.draft {
		return notMergeable
	}
	base, err := r.branch(p.base)
	if err != nil {
		return fail(http.StatusMethodNotAllowed, "Base branch does not exist")
	}
	tree, clean := r.mergedTree(p.base, p.headSHA)
	if !clean {
		return notMergeable
	}
	commits, err := r.log("--reverse", "--topo-order", base+".."+p.headSHA)
	if err != nil {
		return err
	}
	var sha string
	switch method {
	case "", "merge":
		text := cmp.Or(title, fmt.Sprintf("Merge pull request #%d from %s/%s", p.number, p.owner(), p.head)) + "\n\n" + cmp.Or(message, p.title)
		sha, err = r.writeSigned(tree, []string{base, p.headSHA}, person(login), text)
	case "squash":
		sha, err = r.writeSigned(tree, []string{base}, person(p.author), p.squashed(commits, title, message))
	case "rebase":
		sha, err = r.rebased(base, commits)
	default:
		return invalid("PullRequest", "merge_method", "invalid", "")
	}
	if err != nil {
		return err
	}
	if err := r.setRef("refs/heads/"+p.base, sha, base); err != nil {
		return fail(http.StatusMethodNotAllowed, "Base branch was modified. Review and try the merge again.")
	}
	p.close()
	p.merged, p.mergedBy, p.mergeCommit = p.closed, login, sha
	return nil
}

// squashed is the message of a squash: that of the only commit, or the title and a list of the commits.
func (p *pull) squashed(commits []commit, title, message string) string {
	headline, body := p.title, ""
	if len(commits) == 1 {
		headline, body, _ = strings.Cut(commits[0].message, "\n")
		body = strings.TrimPrefix(body, "\n")
	} else {
		for _, c := range commits {
			body += "* " + c.message + "\n\n"
		}
	}
	return strings.TrimSpace(cmp.Or(title, fmt.Sprintf("%s (#%d)", headline, p.number)) + "\n\n" + cmp.Or(message, body))
}

// rebased writes the commits anew on top of base. Git 2.39's merge-tree takes no merge base, so each step is given one
// by a commit with base's tree and the parent of the commit that is picked.
func (r *repository) rebased(base string, commits []commit) (string, error) {
	for _, c := range commits {
		if len(c.parents) != 1 {
			return "", fail(http.StatusMethodNotAllowed, "This branch can't be rebased")
		}
		onto, err := r.commit(base)
		if err != nil {
			return "", err
		}
		step, err := r.writeCommit(onto.tree, c.parents, gitHub, gitHub, "step")
		if err != nil {
			return "", err
		}
		tree, err := r.line("merge-tree", "--write-tree", step, c.sha)
		if err != nil {
			return "", fail(http.StatusMethodNotAllowed, "This branch can't be rebased due to conflicts")
		}
		if base, err = r.writeCommit(tree, []string{base}, c.author, gitHub, c.message); err != nil {
			return "", err
		}
	}
	return base, nil
}

func (c *call) pulls() (int, any, error) {
	q := c.URL.Query()
	state, sort := cmp.Or(q.Get("state"), "open"), cmp.Or(q.Get("sort"), "created")
	descending := q.Get("direction") == "desc" || q.Get("direction") == "" && sort == "created"
	matches := func(p *pull) bool {
		head := q.Get("head")
		return (state == "all" || state == p.state) && (head == "" || head == p.owner()+":"+p.head) && (q.Get("base") == "" || q.Get("base") == p.base)
	}
	order := func(a, b *pull, ties int) int {
		order := cmp.Compare(a.number, b.number)
		if sort == "updated" {
			order = cmp.Or(a.updated.Compare(b.updated), ties*order)
		}
		if descending {
			return -order
		}
		return order
	}
	if c.repo.madeUp() {
		return c.madeUpPulls(matches, order)
	}
	var found []*pull
	for _, p := range c.repo.pulls {
		if matches(p) {
			found = append(found, p)
		}
	}
	slices.SortFunc(found, func(a, b *pull) int { return order(a, b, 1) })
	list := []object{}
	for _, p := range page(c, found) {
		list = append(list, c.s.pullObject(c.repo, p))
	}
	return http.StatusOK, list, nil
}

func (c *call) createPull() (int, any, error) {
	var in struct {
		Title, Body, Head, Base string
		Draft                   bool
	}
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	source, head := c.repo, in.Head
	if owner, branch, ok := strings.Cut(in.Head, ":"); ok {
		head = branch
		if owner != c.repo.owner {
			source = c.fork(owner)
		}
	}
	if source == nil {
		return 0, nil, invalid("PullRequest", "head", "invalid", "")
	}
	if in.Title == "" {
		return 0, nil, invalid("PullRequest", "title", "missing_field", "")
	}
	headSHA, err := source.branch(head)
	if err != nil {
		return 0, nil, invalid("PullRequest", "head", "invalid", "")
	}
	baseSHA, err := c.repo.branch(in.Base)
	if err != nil {
		return 0, nil, invalid("PullRequest", "base", "invalid", "")
	}
	if source == c.repo && c.repo.isAncestor(headSHA, baseSHA) {
		return 0, nil, invalid("PullRequest", "", "custom", fmt.Sprintf("No commits between %s and %s", in.Base, head))
	}
	for _, p := range c.repo.pulls {
		if p.state == "open" && p.source == source && p.head == head && p.base == in.Base {
			return 0, nil, invalid("PullRequest", "", "custom", fmt.Sprintf("A pull request already exists for %s:%s.", source.owner, head))
		}
	}
	p := &pull{
		number: len(c.repo.pulls) + 1, title: in.Title, body: in.Body, author: c.login, head: head, base: in.Base, source: source, headSHA: headSHA,
		baseSHA: baseSHA, state: "open", draft: in.Draft, created: now(), updated: now(),
	}
	if err := c.repo.follow(p, headSHA, zero); err != nil {
		return 0, nil, err
	}
	c.repo.pulls = append(c.repo.pulls, p)
	return c.whole(http.StatusCreated, p)
}

// thePull is the one that the path names, or nil.
func (c *call) thePull() *pull {
	n, err := strconv.Atoi(c.PathValue("number"))
	if err != nil {
		return nil
	}
	return c.repo.pull(n)
}

// fork finds the fork of the call's repository that an owner has, or nil.
func (c *call) fork(owner string) *repository {
	for _, r := range c.s.repositories {
		if r.parent == c.repo && r.owner == owner && r.gone == 0 {
			return r
		}
	}
	return nil
}

// mostFiles is how many files of a pull request GitHub lists.
const mostFiles = 3000

func (c *call) pullFiles() (int, any, error) {
	p := c.thePull()
	if p == nil {
		return 0, nil, notFound
	}
	files, err := p.diff(c.repo)
	if err != nil {
		return 0, nil, err
	}
	list := []object{}
	for _, f := range page(c, files[:min(len(files), mostFiles)]) {
		list = append(list, c.s.fileObject(c.repo, f))
	}
	return http.StatusOK, list, nil
}

func (c *call) pull() (int, any, error) {
	if c.repo.madeUp() {
		return c.madeUpPull()
	}
	p := c.thePull()
	if p == nil {
		return 0, nil, notFound
	}
	return c.whole(http.StatusOK, p)
}

// whole answers with all that is known of a pull request.
func (c *call) whole(status int, p *pull) (int, any, error) {
	o, err := c.s.wholeObject(c.repo, p)
	return status, o, err
}

func (c *call) updatePull() (int, any, error) {
	p := c.thePull()
	if p == nil {
		return 0, nil, notFound
	}
	var in struct{ Title, Body, State, Base *string }
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	if in.State != nil && *in.State != "open" && *in.State != "closed" {
		return 0, nil, invalid("PullRequest", "state", "invalid", "")
	}
	if in.State != nil && *in.State == "open" && p.state == "closed" {
		if p.source == nil || !p.merged.IsZero() {
			return 0, nil, invalid("PullRequest", "", "custom", "state cannot be changed. The pull request cannot be reopened.")
		}
		if _, err := p.source.branch(p.head); err != nil {
			return 0, nil, invalid("PullRequest", "", "custom", "state cannot be changed. The pull request cannot be reopened.")
		}
		p.state, p.closed = "open", time.Time{}
		c.repo.sync()
	}
	if in.State != nil && *in.State == "closed" && p.state == "open" {
		p.close()
	}
	if in.Base != nil && *in.Base != p.base {
		sha, err := c.repo.branch(*in.Base)
		if err != nil {
			return 0, nil, invalid("PullRequest", "base", "invalid", "")
		}
		p.base, p.baseSHA = *in.Base, sha
	}
	if in.Title != nil {
		p.title = *in.Title
	}
	if in.Body != nil {
		p.body = *in.Body
	}
	p.updated = now()
	return c.whole(http.StatusOK, p)
}

func (c *call) pullMerged() (int, any, error) {
	if p := c.thePull(); p == nil || p.merged.IsZero() {
		return 0, nil, notFound
	}
	return http.StatusNoContent, nil, nil
}

func (c *call) mergePull() (int, any, error) {
	p := c.thePull()
	if p == nil {
		return 0, nil, notFound
	}
	var in struct {
		CommitTitle   string `json:"commit_title"`
		CommitMessage string `json:"commit_message"`
		SHA           string `json:"sha"`
		MergeMethod   string `json:"merge_method"`
	}
	if c.ContentLength > 0 {
		if err := c.decode(&in); err != nil {
			return 0, nil, err
		}
	}
	if in.SHA != "" && in.SHA != p.headSHA {
		return 0, nil, fail(http.StatusConflict, "Head branch was modified. Review and try the merge again.")
	}
	if reason := p.reviewsMissing(c.repo); reason != "" && p.state == "open" {
		return 0, nil, fail(http.StatusMethodNotAllowed, "%s", reason)
	}
	if err := c.repo.merge(p, c.login, in.MergeMethod, in.CommitTitle, in.CommitMessage); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, object{"sha": p.mergeCommit, "merged": true, "message": "Pull Request successfully merged"}, nil
}

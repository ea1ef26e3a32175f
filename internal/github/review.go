package github

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/operation"
)

// Pull finds a pull request by its number, with the commit that its base branch points to now: the one that GitHub tells
// with it is that of the last push.
func (c *Client) Pull(ctx context.Context, name string, number int) (operation.Pull, error) {
	r, err := c.repository(name)
	if err != nil {
		return operation.Pull{}, err
	}
	var p pullRequest
	err = c.get(ctx, r.path("pulls", strconv.Itoa(number)), nil, &p)
	if a, ok := answerOf(err); ok && a.status == http.StatusNotFound {
		return operation.Pull{}, &gitops.Refusal{Code: gitops.NotFound, Cause: err,
			Reason: fmt.Sprintf("There is no pull request %d in %s, or ferry's token may not see it.", number, r)}
	}
	if err == nil && p.Number != number {
		err = errors.New("another pull request in the answer")
	}
	if err != nil {
		return operation.Pull{}, r.refuse(fmt.Sprintf("read pull request %d of %s", number, r), err)
	}
	return r.reviewed(ctx, p)
}

// Branch finds the newest open pull request from a branch, or else the branch itself.
func (c *Client) Branch(ctx context.Context, name, branch, base string) (operation.Pull, error) {
	r, err := c.repository(name)
	if err != nil {
		return operation.Pull{}, err
	}
	if err := checkBranch(branch); err != nil {
		return operation.Pull{}, err
	}
	open, err := r.list(ctx, url.Values{"state": {"open"}, "head": {r.owner + ":" + branch}}, func(p pullRequest) bool { return p.Head.Ref == branch })
	if err != nil {
		return operation.Pull{}, err
	}
	if len(open) > 0 {
		return r.reviewed(ctx, open[0])
	}
	if base == "" {
		var about struct {
			DefaultBranch string `json:"default_branch"`
		}
		if err := c.get(ctx, r.path("", ""), nil, &about); err != nil {
			return operation.Pull{}, r.refuse(fmt.Sprintf("read %s", r), err)
		}
		base = about.DefaultBranch
	}
	if branch == base {
		return operation.Pull{}, &gitops.Refusal{Code: gitops.Usage, Title: "Nothing to merge",
			Reason: fmt.Sprintf("%s of %s is the branch that others are merged into. Name a pull request or another branch.", branch, r)}
	}
	found := operation.Pull{Repository: r.String(), Branch: branch, Base: base, State: "open", URL: fmt.Sprintf("%s/%s/tree/%s", c.root, r, strings.ReplaceAll(url.PathEscape(branch), "%2F", "/"))}
	found.Head, err = r.ref(ctx, branch)
	if a, ok := answerOf(err); ok && a.status == http.StatusNotFound {
		return operation.Pull{}, &gitops.Refusal{Code: gitops.NotFound, Cause: err,
			Reason: fmt.Sprintf("%s has no branch %s, nor an open pull request from one. A pull request from a fork goes by its number.", r, branch)}
	}
	if err != nil {
		return operation.Pull{}, r.refuse(fmt.Sprintf("read branch %s of %s", branch, r), err)
	}
	found.BaseCommit, err = r.Head(ctx, base)
	return found, err
}

// reviewed adds the commit of the base branch.
func (r *repository) reviewed(ctx context.Context, p pullRequest) (operation.Pull, error) {
	word := p.word()
	found := operation.Pull{Repository: r.String(), Number: p.Number, Title: p.Title, URL: p.HTMLURL, State: word.State, Draft: p.Draft,
		Author: word.Author, Branch: p.Head.Ref, Head: p.Head.SHA, Base: p.Base.Ref}
	switch {
	case p.Head.Repo == nil:
		found.Fork = "-"
	case !strings.EqualFold(p.Head.Repo.FullName, p.Base.Repo.FullName):
		found.Fork = p.Head.Repo.FullName
	}
	if err := errors.Join(checkCommit(p.Head.SHA), checkBranch(p.Base.Ref)); err != nil {
		return operation.Pull{}, r.refuse(fmt.Sprintf("read pull request %d of %s", p.Number, r), err)
	}
	var err error
	found.BaseCommit, err = r.ref(ctx, p.Base.Ref)
	if a, ok := answerOf(err); ok && a.status == http.StatusNotFound {
		return operation.Pull{}, &gitops.Refusal{Code: gitops.NotFound, Cause: err,
			Reason: fmt.Sprintf("Pull request %d of %s is meant for the branch %s, which is gone.", p.Number, r, p.Base.Ref)}
	}
	if err != nil {
		return operation.Pull{}, r.refuse(fmt.Sprintf("read branch %s of %s", p.Base.Ref, r), err)
	}
	return found, nil
}

// MergeBase is the newest commit that both have. Commits of forks are known in the base repository.
func (c *Client) MergeBase(ctx context.Context, name, base, head string) (string, error) {
	r, err := c.repository(name)
	if err != nil {
		return "", err
	}
	if err := errors.Join(checkCommit(base), checkCommit(head)); err != nil {
		return "", err
	}
	var comparison struct {
		Common struct{ SHA string } `json:"merge_base_commit"`
	}
	err = c.get(ctx, r.path("compare", base+"..."+head), url.Values{"per_page": {"1"}}, &comparison)
	if a, ok := answerOf(err); ok && a.status == http.StatusNotFound && a.says("no common ancestor") {
		return "", &gitops.Refusal{Code: gitops.Layout, Cause: err,
			Reason: fmt.Sprintf("The two branches of %s have no commit in common, so GitHub cannot merge them.", r)}
	}
	if err == nil {
		err = checkCommit(comparison.Common.SHA)
	}
	if err != nil {
		return "", r.refuse(fmt.Sprintf("compare %s with %s in %s", base, head, r), err)
	}
	return comparison.Common.SHA, nil
}

// Tree returns the files of a commit. That of a pull request from a fork comes out of the base repository, where GitHub
// keeps it as refs/pull/N/head: it needs no right to the fork, and stays when the fork is gone.
func (c *Client) Tree(ctx context.Context, name, sha string) (fs.FS, error) {
	r, err := c.repository(name)
	if err != nil {
		return nil, err
	}
	return r.Tree(ctx, sha)
}

// Merge merges two versions of a file as the configuration says.
func (c *Client) Merge(ctx context.Context, ancestor, base, head []byte) ([]byte, bool, error) {
	return c.config.Merge(ctx, ancestor, base, head)
}

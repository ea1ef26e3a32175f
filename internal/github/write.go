package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/promotion"
)

const commitMutation = `mutation($input: CreateCommitOnBranchInput!) {
  createCommitOnBranch(input: $input) {
    commit { oid url message committedDate author { user { login } } signature { isValid wasSignedByGitHub } }
  }
}`

// Commit writes files on top of expected. GitHub compares and writes in one step, and signs the commit; its author is
// the token's owner.
func (r *repository) Commit(ctx context.Context, branch, expected, message string, files []gitops.File) (gitops.Commit, error) {
	if err := errors.Join(checkBranch(branch), checkCommit(expected)); err != nil {
		return gitops.Commit{}, err
	}
	type addition struct {
		Path     string `json:"path"`
		Contents []byte `json:"contents"` // JSON makes base64 of it, as GitHub asks for
	}
	var additions []addition
	for _, f := range files {
		additions = append(additions, addition{f.Path, f.Content})
	}
	headline, body, _ := strings.Cut(message, "\n")
	input := map[string]any{
		"branch":          map[string]any{"repositoryNameWithOwner": r.String(), "branchName": branch},
		"expectedHeadOid": expected,
		"message":         map[string]any{"headline": headline, "body": strings.TrimLeft(body, "\n")},
		"fileChanges":     map[string]any{"additions": additions},
	}
	var data struct {
		CreateCommitOnBranch *struct {
			Commit *struct {
				OID           string
				URL           string
				Message       string
				CommittedDate time.Time
				Author        *struct{ User *struct{ Login string } } // an App has no user
				Signature     *struct{ IsValid, WasSignedByGitHub bool }
			}
		}
	}
	doing := fmt.Sprintf("commit to %s of %s", branch, r)
	if err := r.c.query(ctx, commitMutation, map[string]any{"input": input}, &data); err != nil {
		return gitops.Commit{}, r.refuseWrite(doing, err)
	}
	if data.CreateCommitOnBranch == nil || data.CreateCommitOnBranch.Commit == nil || checkCommit(data.CreateCommitOnBranch.Commit.OID) != nil {
		return gitops.Commit{}, r.unknown(doing, errors.New("no commit in the answer"))
	}
	c := data.CreateCommitOnBranch.Commit
	written := gitops.Commit{SHA: c.OID, URL: c.URL, Message: c.Message, When: c.CommittedDate}
	if c.Author != nil && c.Author.User != nil {
		written.Author = c.Author.User.Login
	}
	written.Signed = c.Signature != nil && c.Signature.IsValid && c.Signature.WasSignedByGitHub
	return written, nil
}

// CreateBranch makes a branch at a commit. It is no error if it exists there already, and ErrMoved if it exists elsewhere.
func (r *repository) CreateBranch(ctx context.Context, branch, sha string) error {
	if err := errors.Join(checkBranch(branch), checkCommit(sha)); err != nil {
		return err
	}
	var created struct{ Ref string }
	err := r.c.request(ctx, http.MethodPost, r.path("git/refs", ""), nil, map[string]any{"ref": "refs/heads/" + branch, "sha": sha}, &created)
	if err == nil {
		return nil
	}
	doing := fmt.Sprintf("create branch %s of %s", branch, r)
	a, ok := answerOf(err)
	exists := ok && a.status == http.StatusUnprocessableEntity && a.says("already exists")
	refused := r.refuseWrite(doing, err)
	if !exists && !errors.Is(refused, promotion.ErrOutcomeUnknown) {
		return refused
	}
	switch at, err := r.ref(ctx, branch); {
	case err == nil && at == sha:
		return nil
	case err == nil:
		return r.moved(fmt.Errorf("branch %s is at %s", branch, at))
	}
	return refused
}

// DeleteBranch removes a branch.
func (r *repository) DeleteBranch(ctx context.Context, branch string) error {
	if err := checkBranch(branch); err != nil {
		return err
	}
	if err := r.c.request(ctx, http.MethodDelete, r.path("git/refs", "heads/"+branch), nil, nil, nil); err != nil {
		return r.refuseWrite(fmt.Sprintf("delete branch %s of %s", branch, r), err)
	}
	return nil
}

// OpenPullRequest opens one, or returns the one that is already open for the branch.
func (r *repository) OpenPullRequest(ctx context.Context, branch, base, title, body string) (gitops.PullRequest, error) {
	if err := errors.Join(checkBranch(branch), checkBranch(base)); err != nil {
		return gitops.PullRequest{}, err
	}
	doing := fmt.Sprintf("open a pull request from %s to %s in %s", branch, base, r)
	var opened pullRequest
	err := r.c.request(ctx, http.MethodPost, r.path("pulls", ""), nil,
		map[string]any{"title": title, "head": branch, "base": base, "body": body}, &opened)
	if err == nil && opened.Number > 0 {
		return opened.word(), nil
	}
	if err == nil {
		err = errors.New("no pull request in the answer")
	}
	a, ok := answerOf(err)
	exists := ok && a.status == http.StatusUnprocessableEntity && a.says("already exists")
	if ok && a.status == http.StatusUnprocessableEntity && a.says("no commits between") {
		return gitops.PullRequest{}, &gitops.Refusal{Code: gitops.Changed, Cause: err,
			Reason: fmt.Sprintf("%s has the change already, so there is nothing to open a pull request for.", base)}
	}
	refused := r.refuseWrite(doing, err)
	if !exists && !errors.Is(refused, promotion.ErrOutcomeUnknown) {
		return gitops.PullRequest{}, refused
	}
	found, err := r.from(ctx, url.Values{"state": {"open"}, "base": {base}}, branch)
	if err == nil && len(found) > 0 {
		return found[0], nil
	}
	return gitops.PullRequest{}, refused
}

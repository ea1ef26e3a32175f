package github

import (
	"encoding/json"
	"fmt"

	"github.com/google/go-github/v60/github"
)

// A Dot is what templates of operators are executed over: go-github's PullRequest, whose fields and methods are those of
// the dot itself, and of .PullRequest too.
type Dot struct{ *github.PullRequest }

// PullDot reads a pull request as GitHub describes it.
func PullDot(raw []byte) (Dot, error) {
	var pull github.PullRequest
	if err := json.Unmarshal(raw, &pull); err != nil {
		return Dot{}, fmt.Errorf("read a pull request: %w", err)
	}
	// Fields that may be missing, so that templates need not ask first.
	for _, side := range []**github.PullRequestBranch{&pull.Head, &pull.Base} {
		if *side == nil {
			*side = &github.PullRequestBranch{}
		}
		if (*side).Repo == nil { // a fork that is gone
			(*side).Repo = &github.Repository{}
		}
		if (*side).User == nil {
			(*side).User = &github.User{}
		}
		if (*side).Repo.Owner == nil {
			(*side).Repo.Owner = &github.User{}
		}
	}
	if pull.User == nil { // an account that is gone
		pull.User = &github.User{}
	}
	return Dot{&pull}, nil
}

// SamplePull is a pull request to try templates on.
func SamplePull() Dot {
	dot, err := PullDot([]byte(`{"number": 7, "state": "open", "draft": false, "title": "Update podinfo", "body": "To 7.0.0.",
		"html_url": "https://github.com/acme/fleet/pull/7", "url": "https://api.github.com/repos/acme/fleet/pulls/7",
		"diff_url": "https://github.com/acme/fleet/pull/7.diff", "user": {"login": "jane"}, "labels": [{"name": "release"}],
		"created_at": "2026-01-02T15:04:05Z", "updated_at": "2026-01-02T15:04:05Z", "milestone": {"title": "next"},
		"head": {"ref": "update", "label": "acme:update", "sha": "3f2a1bc0000000000000000000000000000000aa",
			"user": {"login": "acme"}, "repo": {"name": "fleet", "full_name": "acme/fleet", "owner": {"login": "acme"}}},
		"base": {"ref": "main", "label": "acme:main", "sha": "90de3c10000000000000000000000000000000aa",
			"user": {"login": "acme"}, "repo": {"name": "fleet", "full_name": "acme/fleet", "owner": {"login": "acme"}}}}`))
	if err != nil {
		panic(err)
	}
	return dot
}

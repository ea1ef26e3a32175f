package githubtest

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// A Rule is a rule of a branch, as GET …/rules/branches/{branch} shows it: pull_request, required_status_checks,
// update, creation, deletion, non_fast_forward or required_signatures are held against writes; of others only the
// showing is done. The parameters of pull_request default to a rule without required reviews.
type Rule struct {
	Type       string
	Parameters map[string]any
}

func (r Rule) parameters() map[string]any {
	if r.Type == "pull_request" && r.Parameters == nil {
		return map[string]any{
			"dismiss_stale_reviews_on_push": false, "require_code_owner_review": false, "require_last_push_approval": false,
			"required_approving_review_count": 0, "required_review_thread_resolution": false,
		}
	}
	return r.Parameters
}

// forbids says why the rule turns away a direct write to an existing branch, in GitHub's words; empty if it does not.
func (r Rule) forbids() string {
	switch r.Type {
	case "pull_request":
		return "Changes must be made through a pull request."
	case "update":
		return "Cannot update this protected ref."
	case "required_status_checks":
		return "Required status checks are expected."
	}
	return ""
}

// An effect is something that a write does to a branch and that rules may forbid.
type effect int

const (
	update effect = iota
	create
	force
	remove
	unsigned
)

// violation says which rule of a branch forbids a write, or nothing.
func (r *repository) violation(branch string, writes ...effect) string {
	for _, rule := range r.rules[branch] {
		if reason := rule.forbids(); reason != "" && slices.Contains(writes, update) {
			return reason
		}
		switch {
		case rule.Type == "creation" && slices.Contains(writes, create):
			return "Cannot create ref due to creations being restricted."
		case rule.Type == "deletion" && slices.Contains(writes, remove):
			return "Cannot delete this protected ref."
		case rule.Type == "non_fast_forward" && slices.Contains(writes, force):
			return "Cannot force-push to this protected ref."
		case rule.Type == "required_signatures" && slices.Contains(writes, unsigned):
			return "Commits must have verified signatures."
		}
	}
	return ""
}

// violationMessage is the message of an API answer about it.
func violationMessage(reason string) string {
	return "Repository rule violations found\n\n" + reason + "\n\n"
}

// preReceive turns pushes away by the file that writeRules leaves.
const preReceive = `#!/bin/sh
while read -r old new ref; do
	while read -r protected reason; do
		if [ "$ref" = "$protected" ]; then
			echo "error: GH013: Repository rule violations found for $ref." >&2
			echo "- $reason" >&2
			exit 1
		fi
	done <ferry-protected
done
`

// writeRules leaves for the hook which branches take no push, and why: a line "REF REASON" each.
func (r *repository) writeRules() error {
	var b bytes.Buffer
	for _, branch := range slices.Sorted(maps.Keys(r.rules)) {
		for _, rule := range r.rules[branch] {
			if reason := rule.forbids(); reason != "" {
				fmt.Fprintf(&b, "refs/heads/%s %s\n", branch, reason)
			}
		}
	}
	return os.WriteFile(filepath.Join(r.dir, "ferry-protected"), b.Bytes(), 0o644)
}

package operation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// found is what is to be merged, and who follows what.
type found struct {
	Pull
	followed []following
	unread   bool // not all environments could be asked what they follow
}

// following is an environment that has something from a branch of a repository.
type following struct{ environment, repository, branch string }

// find finds what a review is of. Other repositories than those that environments follow, or that the configuration names
// besides, are refused before GitHub is asked anything.
func (r *Reviews) find(ctx context.Context, asked gitops.Review) (found, error) {
	if asked.Environment != "" {
		if err := Known(r.Live.Environments(), asked.Environment, func(e string) string {
			again := asked
			again.Environment = e
			return gitops.Line(again)
		}); err != nil {
			return found{}, err
		}
	}
	if asked.Host != "" && !strings.EqualFold(asked.Host, r.Host) {
		return found{}, &gitops.Refusal{Code: gitops.Denied, Reason: fmt.Sprintf("That link is to %s, and ferry is configured for %s.", asked.Host, r.Host)}
	}
	followed, failed := r.followed(ctx)
	repository, err := r.repository(asked, followed, failed)
	if err != nil {
		return found{}, err
	}
	var pull Pull
	if asked.Number > 0 {
		pull, err = r.Pulls.Pull(ctx, repository, asked.Number)
	} else {
		pull, err = r.Pulls.Branch(ctx, repository, asked.Branch, baseOf(followed, repository))
	}
	return found{pull, followed, failed != nil}, err
}

// baseOf is the one branch of a repository that environments follow; empty where there are several or none.
func baseOf(followed []following, repository string) (branch string) {
	for _, f := range followed {
		if !strings.EqualFold(f.repository, repository) || f.branch == "" {
			continue
		}
		if branch != "" && branch != f.branch {
			return ""
		}
		branch = f.branch
	}
	return branch
}

// repository is the one that is meant, in the spelling of what follows it. failed is why some environments could not be
// asked what they follow.
func (r *Reviews) repository(asked gitops.Review, followed []following, failed error) (string, error) {
	var all []string
	for _, f := range followed {
		all = append(all, f.repository)
	}
	all = distinct(all)
	if asked.Repository != "" {
		for _, name := range slices.Concat(all, r.Also) {
			if strings.EqualFold(name, asked.Repository) {
				return name, nil
			}
		}
		if len(all) == 0 && failed != nil {
			return "", failed
		}
		refusal := &gitops.Refusal{Code: gitops.Denied, Title: "Not a repository of ferry's", Cause: failed,
			Reason: fmt.Sprintf("No environment follows %s, so ferry does not read it.", asked.Repository)}
		if len(all) > 0 {
			refusal.Reason += fmt.Sprintf(" They follow %s.", enumerate(all))
		}
		if failed != nil {
			refusal.Reason += " Not all environments could be asked."
		}
		return "", refusal
	}
	configured := distinct(r.Also)
	switch {
	case len(all) == 1 && failed == nil:
		return all[0], nil
	case failed != nil && len(configured) == 1:
		return configured[0], nil
	case len(all) == 0 && failed != nil:
		return "", failed
	case len(all) == 0:
		return "", &gitops.Refusal{Code: gitops.Layout, Reason: fmt.Sprintf("No environment follows a repository on %s, so no pull request there changes one.", r.Host)}
	}
	refusal := &gitops.Refusal{Code: gitops.Ambiguous, Title: "Which repository?", Cause: failed, Reason: "Environments follow several."}
	if len(all) == 1 {
		refusal.Reason = "Not all environments could be asked which one they follow."
	}
	for _, name := range all {
		again := asked
		again.Repository = name
		refusal.Next = append(refusal.Next, gitops.Line(again))
	}
	return "", refusal
}

// distinct are names of repositories, each once, sorted.
func distinct(names []string) (all []string) {
	for _, name := range names {
		if !slices.ContainsFunc(all, func(one string) bool { return strings.EqualFold(one, name) }) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// followed tells who follows what, in the order of the configuration, as far as environments could be asked; the error is of
// the others.
func (r *Reviews) followed(ctx context.Context) ([]following, error) {
	names := r.Live.Environments()
	listed := make([][]gitops.Kustomization, len(names))
	failed := errors.Join(Together(len(names), func(i int) error {
		some, err := r.Live.Kustomizations(ctx, names[i])
		if err == nil {
			listed[i] = some
		}
		return err
	})...)
	var all []following
	for i, some := range listed {
		for _, k := range some {
			repository, branch, ok := r.Follows(names[i], k.Source)
			if f := (following{names[i], repository, branch}); ok && !slices.Contains(all, f) {
				all = append(all, f)
			}
		}
	}
	return all, failed
}

// remarks are what is to be known about what was found, before what it would do.
func (f found) remarks(asked gitops.Review) (notes []string) {
	if asked.Head != "" && asked.Head != f.Head {
		notes = append(notes, fmt.Sprintf("%s has moved from %s to %s since that was shown. This is about %[3]s.", f.Branch, short(asked.Head), short(f.Head)))
	}
	switch {
	case f.State == "merged":
		notes = append(notes, "The pull request is merged already: this is what merging its head again would do.")
	case f.State == "closed":
		notes = append(notes, "The pull request is closed.")
	case f.Draft:
		notes = append(notes, "The pull request is a draft.")
	}
	return notes
}

// unfollowed says that nobody follows the base branch, and what is followed; empty where somebody does.
func (f found) unfollowed(environment string) string {
	if f.unread {
		return ""
	}
	var branches []string
	by := map[string][]string{}
	for _, one := range f.followed {
		if environment != "" && one.environment != environment || !strings.EqualFold(one.repository, f.Repository) {
			continue
		}
		if one.branch == f.Base {
			return ""
		}
		branch := cmp.Or(one.branch, "a tag or a commit")
		if by[branch] == nil {
			branches = append(branches, branch)
		}
		by[branch] = append(by[branch], one.environment)
	}
	who := "no environment follows it"
	if environment != "" {
		who = environment + " does not follow it"
	}
	note := fmt.Sprintf("It is meant for the branch %s of %s, and %s.", f.Base, f.Repository, who)
	for i, branch := range branches {
		branches[i] = fmt.Sprintf("%s (%s)", branch, strings.Join(by[branch], ", "))
	}
	if len(branches) > 0 {
		note += fmt.Sprintf(" Followed: %s.", enumerate(branches))
	}
	return note
}

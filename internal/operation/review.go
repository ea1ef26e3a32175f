package operation

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/layout"
	"github.com/ferry-chatops/ferry/internal/render"
	"github.com/ferry-chatops/ferry/internal/report"
)

// Reviews find out what merging a pull request would do to the environments that it touches. Nothing is written.
type Reviews struct {
	Pulls  Pulls
	Live   Live
	Charts Charts
	// Host is GitHub's, that links have to name.
	Host string
	// Also are the repositories that the configuration names.
	Also []string
	// Follows tells the repository and the branch that a source of an environment stands for; false for what is none.
	Follows func(environment string, source gitops.Source) (repository, branch string, ok bool)
	// Allowed are the addresses that charts may come from besides those that the clusters have them from: all below one.
	Allowed []string
	Ignore  report.Rules
	Now     func() time.Time
	Key     func() string // what sentinels are drawn from: another text each time, which nobody can guess
	Log     *slog.Logger
}

// Charts render what HelmReleases install.
type Charts = render.ChartRenderer

// environmentTime is how long an environment may take: one that does not answer holds up no other.
const environmentTime = 2 * time.Minute

// Review finds what is to be merged and makes the report. It refuses what cannot be found; what fails for one environment
// alone is in its place there.
func (r *Reviews) Review(ctx context.Context, asked gitops.Review) (report.Report, error) {
	found, err := r.find(ctx, asked)
	if err != nil {
		return report.Report{}, err
	}
	made, err := r.of(ctx, found, asked.Environment)
	made.Notes = append(found.remarks(asked), made.Notes...)
	return made, err
}

// of makes the report of what was found, for one environment or for all.
func (r *Reviews) of(ctx context.Context, pull found, environment string) (report.Report, error) {
	names := r.Live.Environments()
	if environment != "" {
		names = []string{environment}
	}
	made := report.Report{Repository: pull.Repository, Number: pull.Number, Title: pull.Title, URL: pull.URL, Branch: pull.Branch, Head: pull.Head,
		Base: pull.Base, BaseCommit: pull.BaseCommit, Made: r.Now(), Environments: []report.Environment{}}
	if note := pull.unfollowed(environment); note != "" {
		made.Notes = append(made.Notes, note)
		return made, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	seen := make([]*seen, len(names))
	for i, name := range names {
		seen[i] = r.see(ctx, name) // while the commits are fetched
	}
	merging, err := r.merge(ctx, pull.Pull)
	if err != nil {
		return report.Report{}, err
	}
	made.Notes = append(made.Notes, merging.notes...)
	if len(merging.changed) == 0 {
		made.Notes = append(made.Notes, fmt.Sprintf("%s has everything in it that is to be merged.", pull.Base))
		return made, nil
	}
	key := r.Key()
	changed := make([]*report.Environment, len(names))
	for i, err := range Together(len(names), func(i int) (err error) {
		ctx, cancel := context.WithTimeout(ctx, environmentTime)
		defer cancel()
		changed[i], err = r.environment(ctx, names[i], seen[i], pull.Pull, merging, key)
		return err
	}) {
		switch {
		case err != nil && ctx.Err() != nil:
			return report.Report{}, ctx.Err()
		case err != nil:
			r.Log.Warn("environment of a review", "environment", names[i], "error", err)
			made.Environments = append(made.Environments, report.Environment{Environment: names[i], Error: reason(err), Objects: []report.Object{}})
		case changed[i] != nil:
			made.Environments = append(made.Environments, *changed[i])
		}
	}
	return made, nil
}

// A merging is what two trees hold: the base branch now, and with the pull request merged.
type merging struct {
	base, head *layout.Tree
	changed    []string // the files that differ, sorted
	notes      []string
}

// merge finds out what merging makes of the base branch: its files, with those that the pull request changed.
func (r *Reviews) merge(ctx context.Context, pull Pull) (merging, error) {
	ancestor, err := r.Pulls.MergeBase(ctx, pull.Repository, pull.BaseCommit, pull.Head)
	if err != nil {
		return merging{}, err
	}
	trees := make([]fs.FS, 3)
	shas := []string{pull.BaseCommit, pull.Head, ancestor}
	if err := errors.Join(Together(len(shas), func(i int) (err error) {
		if i == 2 && ancestor == pull.BaseCommit {
			return nil
		}
		trees[i], err = r.Pulls.Tree(ctx, pull.Repository, shas[i])
		return err
	})...); err != nil {
		return merging{}, err
	}
	base, head, was := trees[0], trees[1], trees[2]
	m := merging{base: layout.Open(base)}
	left := map[string][]byte{}
	for _, file := range tooLarge(head) {
		if !slices.Contains(tooLarge(base), file) {
			left[file] = content(base, file)
			m.notes = append(m.notes, fmt.Sprintf("%s is too large with this change to be looked into. This is with what the base branch has of it.", file))
		}
	}
	if len(left) > 0 {
		if head, err = with(head, left); err != nil {
			return merging{}, err
		}
	}
	if ancestor == pull.BaseCommit {
		m.head = layout.Open(head)
		m.changed, err = differing(ctx, base, head)
		return m, err
	}
	theirs, err := differing(ctx, was, head)
	if err != nil {
		return merging{}, err
	}
	changes, renamed := map[string][]byte{}, map[string][]byte{}
	for _, file := range theirs {
		if _, out := left[file]; out {
			continue
		}
		ours, old, now := content(base, file), content(was, file), content(head, file)
		switch {
		case same(ours, now):
			continue
		case same(ours, old):
		case ours != nil && old != nil && now != nil:
			merged, ok, err := r.Pulls.Merge(ctx, old, ours, now)
			if err != nil {
				return merging{}, err
			}
			if ok {
				now = merged
				break
			}
			fallthrough
		default:
			to, merged, err := r.renamed(ctx, file, was, base, head)
			if err != nil {
				return merging{}, err
			}
			if to != "" {
				renamed[to] = merged
				now = nil
				break
			}
			m.notes = append(m.notes, fmt.Sprintf("%s changes on %s too, and the two changes conflict. This is with the pull request's own.", file, pull.Base))
		}
		changes[file] = now
	}
	maps.Copy(changes, renamed)
	m.changed = slices.Sorted(maps.Keys(changes))
	merged, err := with(base, changes)
	m.head = layout.Open(merged)
	return m, err
}

// tooLarge are the manifests that a commit has and its tree has not.
func tooLarge(tree fs.FS) []string {
	if t, ok := tree.(interface{ Large() []string }); ok {
		return t.Large()
	}
	return nil
}

func same(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

// content is that of a file; nil if there is none.
func content(tree fs.FS, file string) []byte {
	raw, err := fs.ReadFile(tree, file)
	if err != nil {
		return nil
	}
	return append([]byte{}, raw...)
}

// short is a commit as people write it.
func short(sha string) string { return sha[:min(len(sha), 7)] }

// A seen is what an environment's cluster has of Flux, once it is done.
type seen struct {
	done           chan struct{}
	kustomizations []gitops.Kustomization
	flux           []render.Object
	err            error
}

// see begins to read an environment.
func (r *Reviews) see(ctx context.Context, name string) *seen {
	s := &seen{done: make(chan struct{})}
	go func() {
		defer close(s.done)
		ctx, cancel := context.WithTimeout(ctx, environmentTime)
		defer cancel()
		errs := Together(2, func(i int) (err error) {
			if i == 0 {
				s.kustomizations, err = r.Live.Kustomizations(ctx, name)
			} else {
				s.flux, err = r.Live.Flux(ctx, name)
			}
			return err
		})
		s.err = cmp.Or(errs[0], errs[1])
	}()
	return s
}

// environment reports on one; nil if the change does not touch it.
func (r *Reviews) environment(ctx context.Context, name string, live *seen, pull Pull, m merging, key string) (*report.Environment, error) {
	if <-live.done; live.err != nil {
		return nil, live.err
	}
	env := layout.Environment{Name: name}
	for _, k := range live.kustomizations {
		repository, branch, ok := r.Follows(name, k.Source)
		if !ok || !strings.EqualFold(repository, pull.Repository) || branch != pull.Base {
			continue
		}
		env.Sites = append(env.Sites, k)
		if !slices.Contains(env.Sources, k.Source.Object) {
			env.Sources = append(env.Sources, k.Source.Object)
		}
	}
	if len(env.Sites) == 0 {
		return nil, nil
	}
	e := newReviewing(r, name, env, live.flux)
	env.Sites = e.unsealed(env.Sites)
	e.env.Sites = env.Sites
	secrets := [2]*layout.Secrets{}
	for i, shape := range []render.Shape{render.Words, render.Digits} {
		e.stand[i] = render.Sentinels{Key: key, Shape: shape}
		secrets[i] = &layout.Secrets{Stand: e.stand[i], Map: func(o gitops.Object) (map[string]string, bool) { return e.variables(ctx, o) }}
	}
	e.trees = [2]*layout.Tree{m.base, m.head}
	e.changed = m.changed
	pairs, err := layout.Compare(ctx, layout.Side{Tree: m.base, Environment: env}, layout.Side{Tree: m.head, Environment: env}, m.changed, secrets)
	if err != nil {
		return nil, err
	}
	e.review(pairs)
	if err := e.releases(ctx); err != nil {
		return nil, err
	}
	if len(e.tasks)+len(e.found) == 0 && len(e.notes) == 0 {
		return nil, nil
	}
	if err := e.try(ctx); err != nil {
		return nil, err
	}
	return e.report(), nil
}

// byName orders objects for people: what is in the same namespace together.
func byName(a, b report.Object) int {
	return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

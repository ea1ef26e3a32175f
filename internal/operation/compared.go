package operation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/layout"
	"github.com/ferry-chatops/ferry/internal/render"
	"github.com/ferry-chatops/ferry/internal/report"
)

// Trees says in what two trees of a repository differ for the environments whose Flux applies a directory of them, which
// they are called by; an empty root is all that either tree tells of, also are more. No cluster is asked: what the base
// builds counts as what is there. Charts come from the trees themselves and from what is Allowed, without a credential.
func (r *Reviews) Trees(ctx context.Context, base, head fs.FS, root string, also ...string) ([]report.Environment, error) {
	changed, err := differing(ctx, base, head)
	if err != nil {
		return nil, err
	}
	trees := [2]*layout.Tree{layout.Open(base), layout.Open(head)}
	roots := []string{root}
	if root == "" {
		if roots, err = allRoots(ctx, trees); err != nil && len(also) == 0 {
			return nil, err
		}
	}
	roots = append(roots, also...)
	slices.Sort(roots)
	roots = slices.Compact(roots)
	key := r.Key()
	made := make([]report.Environment, len(roots))
	for i, err := range Together(len(roots), func(i int) (err error) {
		made[i], err = r.compared(ctx, roots[i], trees, changed, key)
		return err
	}) {
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil && len(roots) == 1 && (root != "" || len(also) > 0):
			return nil, err
		case err != nil:
			made[i] = report.Environment{Environment: roots[i], Error: buildReason(err), Objects: []report.Object{}}
		}
	}
	return made, nil
}

// allRoots are those that either tree tells of, sorted.
func allRoots(ctx context.Context, trees [2]*layout.Tree) ([]string, error) {
	found := map[string]bool{}
	var errs []error
	for _, t := range trees {
		roots, err := t.All(ctx)
		if err != nil {
			errs = append(errs, err)
		}
		for _, root := range roots {
			found[root] = true
		}
	}
	if len(found) == 0 {
		return nil, errs[0]
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// compared compares one environment.
func (r *Reviews) compared(ctx context.Context, root string, trees [2]*layout.Tree, changed []string, key string) (report.Environment, error) {
	var sides [2]layout.Side
	var errs [2]error
	for i, t := range trees {
		sides[i].Tree, sides[i].Alone = t, true
		sides[i].Environment, errs[i] = t.Root(ctx, root, root)
		if refusal := (*gitops.Refusal)(nil); errs[i] != nil && (!errors.As(errs[i], &refusal) || refusal.Code != gitops.NotInGit) {
			return report.Environment{}, errs[i]
		}
	}
	if errs[0] != nil && errs[1] != nil {
		return report.Environment{}, errs[1]
	}
	e := newReviewing(r, root, layout.Environment{Name: root}, nil)
	e.offline, e.trees, e.changed = true, trees, changed
	var secrets [2]*layout.Secrets
	for i, shape := range []render.Shape{render.Words, render.Digits} {
		e.stand[i] = render.Sentinels{Key: key, Shape: shape}
		secrets[i] = &layout.Secrets{Stand: e.stand[i], Map: func(gitops.Object) (map[string]string, bool) { return nil, false }}
	}
	pairs, err := layout.Compare(ctx, sides[0], sides[1], changed, secrets)
	if err != nil {
		return report.Environment{}, err
	}
	e.review(pairs)
	if err := e.releases(ctx); err != nil {
		return report.Environment{}, err
	}
	e.bound()
	e.compare()
	made := *e.report()
	if more := len(e.broken) - maxBroken; more > 0 {
		e.broken = append(e.broken[:maxBroken], fmt.Sprintf("%d others do not build either.", more))
	}
	made.Error = strings.Join(e.broken, " ")
	return made, nil
}

// maxBroken is how many Flux Kustomizations that do not build are named.
const maxBroken = 5

// compare takes down what becomes of all objects where there is no cluster.
func (e *reviewing) compare() {
	for _, t := range e.tasks {
		if t.drift {
			continue
		}
		p := report.Pair{Object: t.Object.Object, Source: t.source, Before: t.base.Fields, After: t.head.Fields, Hidden: t.hidden, Moved: moved(t), Replaced: t.anew}
		if p.Before != nil && p.After != nil {
			p.Before, p.After = e.cover(t, p.Before, p.After)
		}
		if made := report.Compare(p, e.Ignore); made.Verdict != report.Unchanged || made.Folded > 0 {
			e.found = append(e.found, made)
		}
	}
}

// sources are those that Kustomizations of either side are applied from.
func sources(pairs []layout.Pair) (all []gitops.Object) {
	for _, p := range pairs {
		for _, b := range []*layout.Built{p.Base, p.Head} {
			if b != nil && b.Kustomization.Source.Name != "" && !slices.Contains(all, b.Kustomization.Source.Object) {
				all = append(all, b.Kustomization.Source.Object)
			}
		}
	}
	return all
}

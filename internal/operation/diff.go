package operation

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/Masterminds/semver/v3"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// Diff answers diff ENVIRONMENT [OTHER]: versions, images and replicas that differ between one environment and
// another, or every other. It fails where the environment itself is unknown or cannot be read.
func Diff(ctx context.Context, fleet Fleet, request gitops.Diff) (Difference, error) {
	if err := Known(fleet.Environments(), request.Environment, func(e string) string {
		return gitops.Line(gitops.Diff{Environment: e, Other: request.Other})
	}); err != nil {
		return Difference{}, err
	}
	var others []string
	switch {
	case request.Other == request.Environment:
		return Difference{}, &gitops.Refusal{Code: gitops.Usage, Title: "Nothing to compare", Reason: "Both sides are the same environment.",
			Next: []string{"diff " + request.Environment}}
	case request.Other != "":
		if err := Known(fleet.Environments(), request.Other, func(e string) string {
			return gitops.Line(gitops.Diff{Environment: request.Environment, Other: e})
		}); err != nil {
			return Difference{}, err
		}
		others = []string{request.Other}
	default:
		others = slices.DeleteFunc(slices.Clone(fleet.Environments()), func(e string) bool { return e == request.Environment })
	}
	all := observe(ctx, fleet, append([]string{request.Environment}, others...))
	if err := all[0].err; err != nil {
		return Difference{}, &gitops.Refusal{Code: gitops.Unreachable, Title: request.Environment + " cannot be read", Reason: reason(err),
			Next: []string{"list"}, Cause: err}
	}
	difference := Difference{Environment: request.Environment}
	for _, there := range all[1:] {
		c := Comparison{Other: there.environment, Rows: []DiffRow{}}
		if there.err != nil {
			c.Unreachable = reason(there.err)
		} else {
			c.compare(all[0], there)
		}
		difference.Comparisons = append(difference.Comparisons, c)
	}
	return difference, nil
}

func (c *Comparison) compare(here, there observed) {
	of := identities([]observed{here, there})
	type pair struct{ here, there *gitops.Application }
	pairs := map[identity]*pair{}
	var order []identity
	side := func(apps []gitops.Application, set func(*pair, *gitops.Application)) {
		for i := range apps {
			id := of(apps[i])
			if pairs[id] == nil {
				pairs[id] = &pair{}
				order = append(order, id)
			}
			set(pairs[id], &apps[i])
		}
	}
	side(here.apps, func(p *pair, a *gitops.Application) { p.here = a })
	side(there.apps, func(p *pair, a *gitops.Application) { p.there = a })
	slices.SortFunc(order, func(a, b identity) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.kind, b.kind))
	})
	for _, id := range order {
		name := id.name
		if id.namespace != "" {
			name = id.namespace + "/" + id.name
		}
		for other := range pairs {
			if other != id && other.name == id.name && other.kind != id.kind {
				name = id.kind + "/" + cmp.Or(pairs[id].here, pairs[id].there).Key.String()
			}
		}
		before := len(c.Rows)
		p := pairs[id]
		if p.here == nil || p.there == nil {
			c.Rows = append(c.Rows, DiffRow{name, "application", only(p.here), only(p.there)})
			continue
		}
		c.versions(name, *p.here, *p.there)
		c.row(name, "replicas", replicas(*p.here), replicas(*p.there))
		if len(c.Rows) == before {
			c.Same++
		}
	}
}

func only(a *gitops.Application) string {
	if a == nil {
		return "-"
	}
	if v, ok := a.Release(); ok {
		return cmp.Or(v.Value, v.Desired, "no version")
	}
	return several(*a)
}

func (c *Comparison) row(application, field, here, there string) {
	if here != there {
		c.Rows = append(c.Rows, DiffRow{application, field, cmp.Or(here, "-"), cmp.Or(there, "-")})
	}
}

func (c *Comparison) versions(name string, here, there gitops.Application) {
	a, okA := here.Release()
	b, okB := there.Release()
	if okA && okB && a.Kind == b.Kind && a.Value != b.Value {
		c.row(name, "version", a.Value+unwell(here), b.Value+unwell(there))
		if s, ok := suggest(gitops.Change{Application: name}, a, b, here, there); ok {
			c.Suggestions = append(c.Suggestions, s)
		}
	}
	if !okA || !okB { // a user has to choose
		c.row(name, "chart", chart(here), chart(there))
		for _, v := range here.Versions {
			asked := gitops.Change{Application: name, Chart: v.Kind == gitops.ChartVersion}
			if !asked.Chart {
				asked.Image = here.Option(v)
			}
			other, err := there.Select(asked.Chart, asked.Image)
			if s, ok := suggest(asked, v, other, here, there); err == nil && ok {
				c.Suggestions = append(c.Suggestions, s)
			}
		}
	}
	x, y := images(here), images(there)
	for _, image := range slices.Sorted(keys(x, y)) {
		c.row(name, "image "+image, x[image], y[image])
	}
}

// chart is the version of an application's chart; empty where it has none.
func chart(a gitops.Application) string {
	for _, v := range a.Versions {
		if v.Kind == gitops.ChartVersion {
			return cmp.Or(v.Value, v.Desired)
		}
	}
	return ""
}

// unwell notes beside a version that it is not simply running.
func unwell(a gitops.Application) string {
	if a.Health == gitops.Ready {
		return ""
	}
	return fmt.Sprintf(" (%s)", a.Health)
}

// suggest offers to bring the older side to the newer version, where both are versions that have an order and the newer
// one runs well. asked has the application, and what says which version is meant.
func suggest(asked gitops.Change, a, b gitops.Version, here, there gitops.Application) (Suggestion, bool) {
	x, errX := semver.NewVersion(a.Value)
	y, errY := semver.NewVersion(b.Value)
	if errX != nil || errY != nil || x.Equal(y) {
		return Suggestion{}, false
	}
	newer, s := here, Suggestion{Application: asked.Application, Version: a.Value, To: there.Environment}
	if x.LessThan(y) {
		newer, s.Version, s.To = there, b.Value, here.Environment
	}
	asked.Environment = s.To
	s.Command = gitops.Line(gitops.Promote{Change: asked, Version: s.Version})
	return s, newer.Health == gitops.Ready
}

func keys(maps ...map[string]string) func(func(string) bool) {
	all := map[string]bool{}
	for _, m := range maps {
		for k := range m {
			all[k] = true
		}
	}
	return func(yield func(string) bool) {
		for k := range all {
			if !yield(k) {
				return
			}
		}
	}
}

// images gives each container's tag or digest, by container; the workload's name goes before it where there are several.
func images(a gitops.Application) map[string]string {
	tags := map[string]string{}
	for _, w := range a.Workloads {
		for _, c := range w.Containers {
			key := c.Name
			if len(a.Workloads) > 1 {
				key = w.Name + "/" + c.Name
			}
			tags[key] = c.Image
		}
	}
	if v, ok := a.Release(); ok && v.Kind == gitops.ImageTag {
		if _, ok := tags[v.Container]; ok {
			tags[v.Container] = v.Name // its tag is the version row already
		}
	}
	return tags
}

func replicas(a gitops.Application) string {
	if len(a.Workloads) == 1 {
		return strconv.Itoa(int(a.Workloads[0].Replicas))
	}
	text := ""
	for i, w := range a.Workloads {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%s %d", w.Name, w.Replicas)
	}
	return text
}

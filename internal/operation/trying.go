package operation

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/ferry-chatops/ferry/internal/compare"
	"github.com/ferry-chatops/ferry/internal/report"
)

// try looks into all objects: those that the change touches by dry runs, the others by reading them; of these, what differs
// from Git is confirmed by a dry run.
func (e *reviewing) try(ctx context.Context) error {
	e.bound()
	if len(e.tasks) == 0 {
		return nil
	}
	trials := make([]Trial, len(e.tasks))
	for i, t := range e.tasks {
		trials[i] = t.Trial
		if t.drift {
			trials[i].Way, trials[i].Base = Looked, nil
		}
	}
	tried, err := e.Live.Try(ctx, e.name, trials)
	if err != nil {
		return err
	}
	var again []int
	settled := make([]bool, len(e.tasks))
	trials = nil
	for i, t := range e.tasks {
		switch {
		case t.Way == Looked || tried[i].Err == nil && !t.drift:
			continue
		case t.drift && (tried[i].Err != nil || tried[i].Live != nil && stated(t.Object.Fields, tried[i].Live)):
			tried[i].After = tried[i].Live
			continue // as Git says, or not to be found out
		case t.drift:
			trials = append(trials, t.Trial)
		case len(t.hidden) > 0 && !tried[i].Immutable: // perhaps for what was left out
			looked := t.Trial
			looked.Way, looked.Base = Looked, nil
			trials = append(trials, looked)
		default:
			continue
		}
		again, settled[i] = append(again, i), true
	}
	if len(again) > 0 {
		more, err := e.Live.Try(ctx, e.name, trials)
		if err != nil {
			return err
		}
		for j, i := range again {
			t, now := e.tasks[i], more[j]
			if t.drift {
				now.Live, tried[i] = orElse(now.Live, tried[i].Live), now
				continue
			}
			if now.Err == nil {
				now.After = laid(now.Live, t.Object.Fields)
				now.Without = "Values of Secrets are left out of dry runs, and the API server refuses the object without them. It is compared with the live object instead."
				tried[i] = now
			}
		}
	}
	for i, t := range e.tasks {
		if !t.drift || t.Way == Looked || settled[i] { // else it is as Git says
			e.settle(t, tried[i])
		}
	}
	return nil
}

func orElse(a, b map[string]any) map[string]any {
	if a != nil {
		return a
	}
	return b
}

// bound leaves out objects beyond the limit, those that the change does not touch first.
func (e *reviewing) bound() {
	if len(e.tasks) <= maxTasks {
		return
	}
	slices.SortStableFunc(e.tasks, func(a, b task) int {
		switch {
		case a.drift == b.drift:
			return 0
		case a.drift:
			return 1
		}
		return -1
	})
	left := len(e.tasks) - maxTasks
	e.note("More than %d objects are concerned. The other %d are not in this report.", maxTasks, left)
	e.tasks = e.tasks[:maxTasks]
}

// settle takes down what was found out about an object.
func (e *reviewing) settle(t task, found Tried) {
	o := t.Object.Object
	skip := func(why string) {
		if !t.drift {
			e.skip(o, t.source, why)
		}
	}
	metadata, _ := found.Live["metadata"].(map[string]any)
	switch {
	case found.Err != nil && !found.Immutable && t.head.Fields == nil:
		skip("It could not be read. " + refusedBecause(found.Err))
		return
	case found.Live == nil && t.head.Fields == nil:
		return // it is gone already
	case t.head.Fields == nil && t.owner != nil && e.others(t, metadata):
		skip("Something else has taken it over: it stays.")
		return
	case t.head.Fields == nil && t.owner != nil && (markedIn(metadata, "prune", "disabled") || markedIn(metadata, "reconcile", "disabled")):
		skip("An annotation or label of it in the cluster keeps Flux from deleting it.")
		return
	case t.head.Fields == nil && t.owner == nil && resourcePolicy(metadata) == "keep":
		skip("Its annotation helm.sh/resource-policy: keep keeps Helm from deleting it.")
		return
	case t.owner != nil && t.head.Fields != nil && markedIn(metadata, "reconcile", "disabled"):
		skip("Its annotation or label kustomize.toolkit.fluxcd.io/reconcile: disabled in the cluster keeps Flux from it.")
		return
	case t.owner != nil && t.head.Fields != nil && markedIn(metadata, "ssa", "ignore"):
		skip("Its annotation or label kustomize.toolkit.fluxcd.io/ssa: Ignore in the cluster keeps Flux from it.")
		return
	case t.ifMissing && found.Live != nil:
		skip("It is there, and its annotation or label kustomize.toolkit.fluxcd.io/ssa: IfNotPresent keeps Flux from changing it.")
		return
	}
	if t.anew && found.Live != nil {
		if found.Replaced = true; found.Immutable { // which keeps nobody from making it anew
			found.Immutable, found.Err = false, nil
		}
	}
	p := report.Pair{Object: o, Source: t.source, Stored: found.Without == "" && found.Err == nil, Hidden: t.hidden, Replaced: found.Replaced, Immutable: found.Immutable}
	p.Before, p.After = found.Live, found.After
	p.Veiled = t.unsure
	if t.head.Fields == nil {
		p.After = nil
	} else if p.After == nil {
		p.After = laid(found.Live, t.Object.Fields)
	}
	if found.Err != nil {
		p.Refused = refusedBecause(found.Err)
		if t.owner != nil { // kustomize-controller tries all of a Kustomization before it applies any of it
			e.note("As long as the API server refuses %s, Flux applies little or nothing of what else %s has.", title(o), t.source)
		}
	}
	if found.Without != "" {
		e.note("%s", found.Without)
	}
	if len(t.hidden) > 0 {
		p.Before, p.After = e.cover(t, p.Before, p.After)
		p.Moved = moved(t)
	}
	made := report.Compare(p, e.Ignore)
	if !t.drift {
		e.found = append(e.found, made)
	} else if made.Verdict != report.Unchanged && len(made.Changes) > 0 {
		e.drift = append(e.drift, made)
	}
}

// cover keeps what depends on a Secret out of both sides: in their place is what Git says, as far as that is text with more
// in it than that.
func (e *reviewing) cover(t task, before, after map[string]any) (map[string]any, map[string]any) {
	before, after = compare.Without(before, t.hidden), compare.Without(after, t.hidden)
	switch {
	case before == nil: // shown as a whole, with masks
		return nil, t.head.Fields
	case after == nil:
		return compare.Graft(before, t.base.Fields, t.hidden), nil
	case t.base.Fields == nil:
		return before, after
	}
	return compare.Graft(before, t.base.Fields, t.hidden), compare.Graft(after, t.head.Fields, t.hidden)
}

// moved are those of the hidden paths where Git says something else with the change.
func moved(t task) (paths []string) {
	if t.base.Fields == nil || t.head.Fields == nil {
		return nil
	}
	for _, d := range compare.Objects(t.head.Kind, t.base.Fields, t.head.Fields, compare.Options{}) {
		for _, h := range t.hidden {
			if (compare.Below(d.Path, h) || compare.Below(h, d.Path)) && !slices.Contains(paths, h) {
				paths = append(paths, h)
			}
		}
	}
	return paths
}

// others says whether the labels of an object name another owner than the one that would delete it.
func (e *reviewing) others(t task, metadata map[string]any) bool {
	labels, _ := metadata["labels"].(map[string]any)
	for key, value := range t.owner {
		if labels[key] != value {
			return true
		}
	}
	return false
}

func resourcePolicy(metadata map[string]any) string {
	annotations, _ := metadata["annotations"].(map[string]any)
	policy, _ := annotations["helm.sh/resource-policy"].(string)
	return policy
}

// refusedBecause words an error about an object.
func refusedBecause(err error) string {
	text := strings.TrimSpace(err.Error())
	if text == "" {
		return ""
	}
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// stated says whether a live object has every field as it is stated. Where it is not sure, it is false.
func stated(fields, live any) bool {
	switch x := fields.(type) {
	case map[string]any:
		y, ok := live.(map[string]any)
		if !ok {
			return len(x) == 0 && live == nil
		}
		for key, v := range x {
			if !stated(v, y[key]) {
				return false
			}
		}
		return true
	case []any:
		y, _ := live.([]any)
		if len(x) != len(y) {
			return false
		}
		for i := range x {
			if !stated(x[i], y[i]) {
				return false
			}
		}
		return true
	case nil:
		return live == nil
	case string:
		return x == live || x == "" && live == nil
	}
	return reflect.DeepEqual(fields, live) || fmt.Sprint(fields) == fmt.Sprint(live)
}

// laid lays what Git says over a live object.
func laid(live, fields map[string]any) map[string]any {
	if live == nil {
		return fields
	}
	out := map[string]any{}
	for key, v := range live {
		out[key] = v
	}
	for key, v := range fields {
		x, ok := v.(map[string]any)
		y, both := out[key].(map[string]any)
		if ok && both {
			out[key] = laid(y, x)
		} else {
			out[key] = v
		}
	}
	return out
}

// report is what was found out.
func (e *reviewing) report() *report.Environment {
	slices.SortStableFunc(e.found, byName)
	slices.SortStableFunc(e.drift, byName)
	if e.found == nil {
		e.found = []report.Object{}
	}
	return &report.Environment{Environment: e.name, Objects: e.found, Drift: e.drift, Notes: e.notes}
}

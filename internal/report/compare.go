package report

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/ferry-chatops/ferry/internal/compare"
	"github.com/ferry-chatops/ferry/internal/gitops"
)

// A Pair is the two sides of an object, and what else was found out about it.
type Pair struct {
	gitops.Object
	Source string // Object.Source
	// Before and After are the object in the cluster and after a dry run, or in two renders; nil: not there.
	Before, After map[string]any
	// Stored says that the API server wrote both sides, so that the smallest difference is one.
	Stored bool
	// Hidden are paths, as compare.Depends gives them, of fields that depend on a Secret: neither side is told. Of those in
	// Moved it is told that what Git says there changes.
	Hidden, Moved []string
	// Veiled says that nobody knows what of Before depends on a Secret: of it no more is told than where it is another.
	Veiled    bool
	Replaced  bool // Flux deletes it and makes it anew
	Immutable bool // the API server refuses to change what cannot be changed
	// Refused says why the API server refuses it, a sentence; After is what Git says then.
	Refused string
}

// Compare says what becomes of an object. Changes that a rule ignores are counted alone.
func Compare(p Pair, ignore Rules) Object {
	o := Object{Object: p.Object, Source: p.Source, Changes: []Change{}}
	switch {
	case p.Before == nil && p.After == nil:
		o.Verdict = Unchanged
	case p.Before == nil:
		o.Verdict = Created
		o.Changes = append(o.Changes, Change{After: shown(p, p.After)})
	case p.After == nil:
		o.Verdict = Deleted
		if p.Veiled {
			p.Before = bare(p.Before)
		}
		o.Changes = append(o.Changes, Change{Before: shown(p, p.Before)})
	default:
		o.configure(p, ignore)
	}
	o.flag(p)
	return o
}

func (o *Object) configure(p Pair, ignore Rules) {
	differences := compare.Objects(p.Kind, p.Before, p.After, compare.Options{Loose: !p.Stored, Hidden: p.Hidden})
	for _, d := range differences {
		if unwritten(d.Path) {
			continue
		}
		if slices.Contains(workloads, p.Kind) && strings.HasPrefix(d.Path, "spec.template.") {
			o.add(Restart) // whether it is told or not
		}
		if ignore.match(p.Object, d.Path) {
			o.Folded++
			continue
		}
		before, after := d.Text(true)
		path := compare.Text(d.Path)
		if p.Veiled && d.Before != nil {
			if before = compare.Masked; d.After == nil {
				path = place.ReplaceAllString(path, "[…]") // what lists tell their items apart by
			}
		}
		o.Changes = append(o.Changes, Change{Path: path, Before: before, After: after})
		if d.Secret {
			o.add(Secret)
		}
	}
	for _, path := range p.Moved {
		told := slices.ContainsFunc(differences, func(d compare.Difference) bool {
			return compare.Below(d.Path, path) || compare.Below(path, d.Path)
		})
		if !told {
			o.Changes = append(o.Changes, Change{Path: compare.Text(path), Before: compare.Masked, After: compare.Changed})
			o.add(Secret)
		}
	}
	if o.Verdict = Configured; len(o.Changes) == 0 && !p.Replaced {
		o.Verdict = Unchanged
	}
}

// place is an item's in a list.
var place = regexp.MustCompile(`\[[^\]"]*=.*\]`)

// bare is what an object is called.
func bare(object map[string]any) map[string]any {
	metadata, _ := object["metadata"].(map[string]any)
	name := map[string]any{"name": metadata["name"]}
	if namespace, ok := metadata["namespace"]; ok {
		name["namespace"] = namespace
	}
	return map[string]any{"apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": name}
}

func (o *Object) add(f Flag) {
	if !slices.Contains(o.Flags, f) {
		o.Flags = append(o.Flags, f)
	}
}

// flag adds what is to be looked at twice, and words it.
func (o *Object) flag(p Pair) {
	gone := o.Verdict == Deleted || p.Replaced
	if o.Verdict != Unchanged {
		switch o.Kind {
		case "CustomResourceDefinition":
			o.add(CRD)
			if lost := missing(served(p.Before), served(p.After)); o.Verdict == Configured && len(lost) > 0 {
				o.Reason = fmt.Sprintf("It no longer serves %s.", strings.Join(lost, ", "))
			}
		case "Secret":
			o.add(Secret)
		}
	}
	switch {
	case gone && o.Kind == "Namespace":
		o.add(Namespace)
	case gone && (o.Kind == "PersistentVolumeClaim" || o.Kind == "PersistentVolume"):
		o.add(Data)
	}
	if p.Replaced {
		o.add(Replaced)
	}
	if p.Immutable {
		o.add(Immutable)
	}
	if p.Refused != "" {
		if !p.Immutable {
			o.add(Unready)
		}
		o.Reason = compare.Text(p.Refused)
	}
}

// workloads start their pods anew when their template changes.
var workloads = []string{"Deployment", "StatefulSet", "DaemonSet"}

// served are the versions that a CustomResourceDefinition serves.
func served(crd map[string]any) (versions []string) {
	spec, _ := crd["spec"].(map[string]any)
	all, _ := spec["versions"].([]any)
	for _, v := range all {
		if m, ok := v.(map[string]any); ok && m["served"] != false {
			versions = append(versions, fmt.Sprint(m["name"]))
		}
	}
	return versions
}

func missing(before, after []string) []string {
	return slices.DeleteFunc(before, func(v string) bool { return slices.Contains(after, v) })
}

// unwritten says that a field is none that anybody writes in Git: the API server does.
func unwritten(path string) bool {
	for _, root := range written {
		if compare.Below(path, root) {
			return true
		}
	}
	return false
}

var written = []string{
	"status", "metadata.managedFields", "metadata.uid", "metadata.resourceVersion", "metadata.generation",
	"metadata.creationTimestamp", "metadata.selfLink",
}

// shown is a whole object as YAML, as it may be shown.
func shown(p Pair, object map[string]any) string {
	masked := compare.Mask(p.Kind, object, p.Hidden)
	delete(masked, "status")
	if metadata, ok := masked["metadata"].(map[string]any); ok {
		metadata = maps.Clone(metadata)
		for _, path := range written[1:] {
			delete(metadata, strings.TrimPrefix(path, "metadata."))
		}
		masked["metadata"] = metadata
	}
	return compare.Block(masked)
}

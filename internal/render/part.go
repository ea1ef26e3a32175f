package render

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"reflect"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/resid"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// A graph is how the files of a build hang together.
type graph struct {
	parents map[string][]string // the directories whose kustomizations take a resource or component, by its path
	other   map[string]bool     // files that are read for something else than the objects in them
	copies  bool                // objects take values from one another: replacements, variables of kustomize's own
	renames bool                // objects get other names or kinds than they have in their files
}

func newGraph() graph { return graph{parents: map[string][]string{}, other: map[string]bool{}} }

// A Part is what a build makes of some files, built without the rest: for builds that differ in nothing but scalars of
// these files. Kustomize treats every object by itself, and what it does across objects (names that are changed where they
// are referred to, generators, replacements) either rules a Part out or shows when the Part is held against the whole.
type Part struct {
	// Places are where its objects stand among those of the whole build.
	Places []int

	tree fs.FS
	k    gitops.Kustomization
	only *selection
}

// Part finds what a build made of files that hold objects. It is not ok if that cannot be built without the rest, or comes
// out in another way.
func (b Built) Part(ctx context.Context, tree fs.FS, k gitops.Kustomization, files []string) (part *Part, ok bool) {
	if b.graph.copies {
		return nil, false
	}
	only := &selection{leads: map[string]bool{}, objects: map[string]string{}, renamed: b.graph.renames}
	for _, file := range files {
		if len(b.graph.parents[file]) == 0 || b.graph.other[file] || !only.read(tree, file) {
			return nil, false
		}
	}
	for todo := slices.Clone(files); len(todo) > 0; {
		at := todo[0]
		todo = todo[1:]
		if !only.leads[at] {
			only.leads[at] = true
			todo = append(todo, b.graph.parents[at]...)
		}
	}
	part = &Part{tree: tree, k: k, only: only}
	objects, err := part.objects(ctx, nil)
	if err != nil || len(objects) == 0 {
		return nil, false
	}
	for _, o := range objects {
		i := slices.IndexFunc(b.Objects, func(was Object) bool { return was.Object == o.Object && reflect.DeepEqual(was.Fields, o.Fields) })
		if i < 0 {
			return nil, false
		}
		part.Places = append(part.Places, i)
	}
	return part, true
}

// Build builds it with the content of its files changed: for each of Places the object that stands there then. It is not ok
// if others come out than before; then the whole has to be built.
func (p *Part) Build(ctx context.Context, whole []Object, changed map[string][]byte) (objects []Object, ok bool) {
	objects, err := p.objects(ctx, changed)
	if err != nil || len(objects) != len(p.Places) {
		return nil, false
	}
	for i, o := range objects {
		was := whole[p.Places[i]]
		if o.Object != was.Object || o.Fields["apiVersion"] != was.Fields["apiVersion"] { // others may refer to it so
			return nil, false
		}
	}
	return objects, true
}

func (p *Part) objects(ctx context.Context, changed map[string][]byte) ([]Object, error) {
	w, err := load(ctx, With(p.tree, changed), p.k, p.only)
	if err != nil {
		return nil, err
	}
	return w.build(p.k.Path)
}

// A selection is what of the files of a build is loaded.
type selection struct {
	leads   map[string]bool   // the files, and the directories on the way to them
	objects map[string]string // the namespaces of what is in the files, by kind and name
	renamed bool              // they may get other names
}

// errApart says that what is selected cannot be built without the rest.
var errApart = errors.New("not a part")

// namesAlone is all files, for their names alone.
var namesAlone = &selection{}

// part says whether less than all is loaded.
func (s *selection) part() bool { return s != nil && s != namesAlone }

// read notes the objects of a file. It is false if there are none, if there are more than one of a kind and name, or any that are
// no documents of their own: kustomize takes the items out of every kind that ends in List.
func (s *selection) read(tree fs.FS, file string) bool {
	raw, err := fs.ReadFile(tree, file)
	if err != nil {
		return false
	}
	all, ok := documents(string(raw))
	for _, o := range all {
		metadata, _ := o["metadata"].(map[string]any)
		id := kindAndName(o["kind"], metadata["name"])
		if _, again := s.objects[id]; again || strings.HasSuffix(fmt.Sprint(o["kind"]), "List") {
			return false
		}
		s.objects[id] = inNamespace(metadata)
	}
	return ok
}

// has says whether one of the objects is of a kind and name. It fails where that cannot be told: kustomize knows an object by
// every name that it has had, and names a Namespace after the one that it puts objects in.
func (s *selection) has(kind, name any) (found bool, err error) {
	if s.renamed || kind == "Namespace" {
		return false, errApart
	}
	_, found = s.objects[kindAndName(kind, name)]
	return found, nil
}

// patched says whether a patch is for one of the objects. It fails too if the patch means a namespace that an object may come
// to, or one that another of its name is in.
func (s *selection) patched(patch map[string]any) (found bool, err error) {
	metadata, _ := patch["metadata"].(map[string]any)
	found, err = s.has(patch["kind"], metadata["name"])
	if found && inNamespace(metadata) != s.objects[kindAndName(patch["kind"], metadata["name"])] {
		return false, errApart
	}
	return found, err
}

func kindAndName(kind, name any) string { return fmt.Sprintf("%v %v", kind, name) }

// inNamespace is the namespace that kustomize takes an object to be in.
func inNamespace(metadata map[string]any) string {
	namespace, _ := metadata["namespace"].(string)
	return cmp.Or(namespace, resid.DefaultNamespace)
}

// prune takes out of a kustomization what leads elsewhere, and what fails without the object that it is for. It fails if that
// object may be one of the selection.
func (s *selection) prune(dir string, fields map[string]any) (err error) {
	keep := func(key string, wanted func(v any) bool) {
		list, _ := fields[key].([]any)
		if list = slices.DeleteFunc(list, func(v any) bool { return !wanted(v) }); len(list) == 0 {
			delete(fields, key)
		} else {
			fields[key] = list
		}
	}
	has := func(kind string, name any) bool {
		found, failed := s.has(kind, name)
		err = cmp.Or(err, failed)
		return found
	}
	for _, key := range []string{"resources", "bases"} {
		keep(key, func(v any) bool {
			ref, _ := v.(string)
			return s.leads[path.Join(dir, ref)]
		})
	}
	for key, kind := range map[string]string{"configMapGenerator": "ConfigMap", "secretGenerator": "Secret"} {
		keep(key, func(v any) bool {
			generator, _ := v.(map[string]any)
			if behavior := generator["behavior"]; (behavior == "merge" || behavior == "replace") && has(kind, generator["name"]) {
				err = errApart
			}
			return false
		})
	}
	keep("replicas", func(v any) bool {
		replica, _ := v.(map[string]any)
		return slices.ContainsFunc([]string{"Deployment", "StatefulSet", "ReplicaSet", "ReplicationController"}, func(kind string) bool {
			return has(kind, replica["name"])
		})
	})
	s.fill(fields)
	return err
}

// fill gives a kustomization that does nothing something to do: an empty one does not build.
func (s *selection) fill(fields map[string]any) {
	for key, v := range fields {
		if list, ok := v.([]any); key != "apiVersion" && key != "kind" && key != "metadata" && (!ok || len(list) > 0) {
			return
		}
	}
	fields["buildMetadata"] = []any{"originAnnotations"}
}

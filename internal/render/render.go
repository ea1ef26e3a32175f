// Package render builds what Flux would build from a repository tree: the objects of a Flux Kustomization. It is pure:
// it reads the tree and nothing else, and refuses what would make kustomize read anything else.
package render

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// An Object is one object of a build.
type Object struct {
	gitops.Object
	Fields map[string]any // the whole object, as decoded from JSON
}

// turn lets one build run at a time: kustomize keeps its OpenAPI schema in global variables that it reads without a lock
// while another build fills them. Flux's kustomize-controller does the same.
var turn = make(chan struct{}, 1)

// Files returns every file that the build of a Kustomization reads, sorted. It refuses, with code Layout, what is not
// in the tree (a remote base, a path outside), what renders by other means than kustomize's own (Helm, plugins), what
// changes how kustomize reads objects (crds, openapi, configurations), and what is too much to build.
func Files(ctx context.Context, tree fs.FS, k gitops.Kustomization) ([]string, error) {
	w, err := load(ctx, tree, k)
	if err != nil {
		return nil, err
	}
	files := slices.DeleteFunc(slices.Collect(maps.Keys(w.files)), func(f string) bool {
		_, err := fs.Stat(tree, f)
		return err != nil // the kustomization made for a directory that has none
	})
	slices.Sort(files)
	return files, nil
}

// Build returns the objects of a Kustomization in build order, but for its variables (postBuild), which stay as they
// are written. It refuses what Files refuses. It returns when ctx ends.
func Build(ctx context.Context, tree fs.FS, k gitops.Kustomization) ([]Object, error) {
	w, err := load(ctx, tree, k)
	if err != nil {
		return nil, err
	}
	built, err := w.kustomize(k.Path)
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", k.Path, err)
	}
	objects := make([]Object, 0, built.Size())
	for _, r := range built.Resources() {
		raw, err := r.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", r.CurId(), err)
		}
		var fields map[string]any
		if err := json.Unmarshal(raw, &fields); err != nil {
			return nil, fmt.Errorf("decode %s: %w", r.CurId(), err)
		}
		objects = append(objects, Object{gitops.Object{Kind: r.GetKind(), Namespace: r.GetNamespace(), Name: r.GetName()}, fields})
	}
	return objects, nil
}

// kustomize builds a directory of what was loaded, when it is its turn. Nothing stops kustomize once it runs: who gives up
// waiting leaves it to its end, and the turn with it.
func (w *walker) kustomize(dir string) (resmap.ResMap, error) {
	select {
	case turn <- struct{}{}:
	case <-w.ctx.Done():
		return nil, w.ctx.Err()
	}
	type result struct {
		built resmap.ResMap
		err   error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if p := recover(); p != nil { // it does panic, on objects of unexpected shapes
				r = result{err: fmt.Errorf("kustomize panicked: %v", p)}
			}
			<-turn
			done <- r
		}()
		options := krusty.MakeDefaultOptions()
		options.LoadRestrictions = types.LoadRestrictionsNone // as Flux does; what was loaded is all there is
		r.built, r.err = krusty.MakeKustomizer(options).Run(newDisk(w.files), path.Join("/", dir))
	}()
	select {
	case r := <-done:
		return r.built, r.err
	case <-w.ctx.Done():
		return nil, w.ctx.Err()
	}
}

// add puts into a directory's kustomization what the Flux Kustomization's spec adds to it, as kustomize-controller does:
// its patches come last, and an image of its own replaces one of the same name.
func add(kustomization map[string]any, k gitops.Kustomization) {
	if k.TargetNamespace != "" {
		kustomization["namespace"] = k.TargetNamespace
	}
	list := func(key string) []any { l, _ := kustomization[key].([]any); return l }
	for _, c := range k.Components {
		kustomization["components"] = append(list("components"), c)
	}
	for _, p := range k.Patches {
		kustomization["patches"] = append(list("patches"), p)
	}
	for _, image := range k.Images {
		kept := slices.DeleteFunc(slices.Clone(list("images")), func(v any) bool {
			m, _ := v.(map[string]any)
			return m != nil && m["name"] == image["name"]
		})
		kustomization["images"] = append(kept, image)
	}
}

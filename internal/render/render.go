// Package render builds what Flux would build from a repository tree: the objects of a Flux Kustomization. It is pure:
// it reads the tree and nothing else, and refuses what would make kustomize read anything else.
package render

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/openapi"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// An Object is one object of a build.
type Object struct {
	gitops.Object
	Fields map[string]any // the whole object, as decoded from JSON
}

// turns are how many builds run at the same time. Kustomize keeps its OpenAPI schema in global variables that it fills
// without regard for who reads them, so prepare fills them before the first; nothing that is built changes them (supported).
var turns = make(chan struct{}, runtime.GOMAXPROCS(0))

var prepare = sync.OnceFunc(func() { openapi.Schema() })

// Built is what one Flux Kustomization builds.
type Built struct {
	// Objects are in build order. Variables (postBuild) stay in them as they are written: see Substitute.
	Objects []Object
	// Files are what was read for it, sorted: all of it, or what was read before an error.
	Files []string
	// Remote are the resources that lie elsewhere. They are left out: no other object depends on them.
	Remote []Remote

	graph graph
}

// Remote is a resource of a kustomization that is not in the repository.
type Remote struct {
	File      string // the kustomization
	Reference string // "https://github.com/acme/base?ref=v1.0.0"
}

// Files returns every file that Build would read, sorted, without building. It refuses what Build refuses in
// kustomizations; it does not look into objects.
func Files(ctx context.Context, tree fs.FS, k gitops.Kustomization) ([]string, error) {
	w, err := load(ctx, tree, k, namesAlone)
	return w.names(tree), err
}

// Build builds a Kustomization. It refuses, with code Layout, what is not in the tree (remote components and patches, a
// path outside), what renders by other means than kustomize's own (Helm, plugins), what changes how kustomize reads objects
// (crds, openapi), and what is too much to build. It returns when ctx ends.
func Build(ctx context.Context, tree fs.FS, k gitops.Kustomization) (Built, error) {
	w, err := load(ctx, tree, k, nil)
	result := Built{Files: w.names(tree), Remote: w.remote, graph: w.graph}
	if err != nil {
		return result, err
	}
	result.Objects, err = w.build(k.Path)
	return result, err
}

// build gives the objects of a directory of what was loaded.
func (w *walker) build(dir string) ([]Object, error) {
	built, err := w.kustomize(dir)
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", dir, err)
	}
	objects := make([]Object, 0, built.Size())
	for _, r := range built.Resources() {
		fields, err := decoded(&r.RNode)
		if err != nil {
			return nil, fmt.Errorf("decode %s: %w", r.CurId(), err)
		}
		if o := newObject(fields); !dropped(o) {
			objects = append(objects, o)
		}
	}
	return objects, nil
}

// dropped says that Flux applies nothing for what was built: it has no name, or is a kustomization under another file's name.
func dropped(o Object) bool {
	version, _ := o.Fields["apiVersion"].(string)
	return o.Name == "" || o.Kind == "" || version == "" || strings.EqualFold(o.Kind, "Kustomization") && strings.HasPrefix(version, "kustomize.config.k8s.io/")
}

// kustomize builds a directory of what was loaded, when it is its turn. Nothing stops kustomize once it runs: who gives up
// waiting leaves it to its end, and the turn with it.
func (w *walker) kustomize(dir string) (resmap.ResMap, error) {
	prepare()
	select {
	case turns <- struct{}{}:
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
			<-turns
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

// add puts into a directory's kustomization what the Flux Kustomization's spec adds to it, as the kustomize-controller of
// Flux 2.7 does: patches and components come last, and an image takes the place of one of the same name. Where there are
// no resources, it asks for annotations of origin, since kustomize builds nothing from nothing.
func add(tree fs.FS, kustomization *types.Kustomization, k gitops.Kustomization) error {
	if len(kustomization.Resources) == 0 {
		kustomization.BuildMetadata = []string{types.OriginAnnotations}
	}
	kustomization.Namespace = cmp.Or(k.TargetNamespace, kustomization.Namespace)
	kustomization.NamePrefix = cmp.Or(k.NamePrefix, kustomization.NamePrefix)
	kustomization.NameSuffix = cmp.Or(k.NameSuffix, kustomization.NameSuffix)
	var spec struct {
		Patches []struct {
			Patch  string
			Target *types.Selector
		}
		Images []types.Image
	}
	raw, err := json.Marshal(map[string]any{"patches": k.Patches, "images": k.Images})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &spec); err != nil {
		return err
	}
	for _, p := range spec.Patches {
		kustomization.Patches = append(kustomization.Patches, types.Patch{Patch: p.Patch, Target: p.Target})
	}
	for _, c := range k.Components {
		if at := path.Join(k.Path, c); k.IgnoreMissingComponents && plain(c) && fs.ValidPath(at) {
			if _, err := fs.Stat(tree, at); errors.Is(err, fs.ErrNotExist) {
				continue
			}
		}
		kustomization.Components = append(kustomization.Components, c)
	}
	for _, image := range spec.Images {
		i := slices.IndexFunc(kustomization.Images, func(other types.Image) bool { return other.Name == image.Name })
		if i < 0 {
			kustomization.Images = append(kustomization.Images, image)
		} else {
			kustomization.Images[i] = image
		}
	}
	return nil
}

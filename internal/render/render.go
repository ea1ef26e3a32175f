// Package render builds what Flux would build from a repository tree: the objects of a Flux Kustomization. It is pure:
// it reads the tree and nothing else, and refuses what would make kustomize read anything else.
package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// An Object is one object of a build.
type Object struct {
	gitops.Object
	Fields map[string]any // the whole object, as decoded from JSON
}

// Limits on what a build may read.
const (
	maxFiles = 5000
	maxNest  = 50
)

// building lets one build run at a time: kustomize keeps its OpenAPI schema in global variables that it reads without a
// lock while another build fills them. Flux's kustomize-controller does the same.
var building sync.Mutex

// Files returns every file that the build of a Kustomization reads, sorted. It refuses, with code Layout, what is not
// in the tree (a remote base, a path outside) and what renders by other means than kustomize's own (Helm, plugins).
func Files(tree fs.FS, k gitops.Kustomization) ([]string, error) {
	w := walker{tree: tree, seen: map[string]bool{}}
	if err := w.directory(k.Path, 0); err != nil {
		return nil, err
	}
	for _, c := range k.Components {
		if err := w.reference(k.Path, c, 1); err != nil {
			return nil, err
		}
	}
	files := slices.DeleteFunc(slices.Collect(maps.Keys(w.seen)), func(f string) bool { return isDir(tree, f) })
	slices.Sort(files)
	return files, nil
}

// Build returns the objects of a Kustomization in build order, but for its variables (postBuild), which stay as they
// are written. Call it only for trees that Files accepted.
func Build(tree fs.FS, k gitops.Kustomization) ([]Object, error) {
	file := kustomizationFile(tree, k.Path)
	kustomization := map[string]any{}
	if file == "" {
		file = path.Join(k.Path, "kustomization.yaml")
		resources, err := manifests(tree, k.Path)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", k.Path, err)
		}
		var list []any
		for _, r := range resources {
			list = append(list, strings.TrimPrefix(strings.TrimPrefix(r, k.Path), "/"))
		}
		kustomization["resources"] = list
	} else {
		raw, err := fs.ReadFile(tree, file)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		if err := yaml.Unmarshal(raw, &kustomization); err != nil {
			return nil, fmt.Errorf("decode %s: %w", file, err)
		}
	}
	add(kustomization, k)
	raw, err := yaml.Marshal(kustomization)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", file, err)
	}
	options := krusty.MakeDefaultOptions()
	options.LoadRestrictions = types.LoadRestrictionsNone // as Flux does; the tree is all there is to load from
	built, err := func() (resmap.ResMap, error) {
		building.Lock()
		defer building.Unlock() // whatever a hostile tree makes of the build
		return krusty.MakeKustomizer(options).Run(newDisk(With(tree, file, raw)), path.Join("/", k.Path))
	}()
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

// Changes compares two builds of the same Kustomization, field by field, sorted by object and path.
func Changes(before, after []Object) []gitops.Rendered {
	var changes []gitops.Rendered
	index := map[gitops.Object]map[string]any{}
	for _, o := range before {
		index[o.Object] = o.Fields
	}
	for _, o := range after {
		compare(&changes, o.Object, "", index[o.Object], o.Fields)
		delete(index, o.Object)
	}
	for o, fields := range index {
		compare(&changes, o, "", fields, map[string]any(nil))
	}
	slices.SortFunc(changes, func(a, b gitops.Rendered) int {
		return strings.Compare(a.Object.String()+"\x00"+a.Path, b.Object.String()+"\x00"+b.Path)
	})
	return changes
}

func compare(changes *[]gitops.Rendered, object gitops.Object, at string, a, b any) {
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok && x != nil && y != nil {
			keys := maps.Clone(x)
			maps.Copy(keys, y)
			for k := range keys {
				compare(changes, object, strings.TrimPrefix(at+"."+k, "."), x[k], y[k])
			}
			return
		}
	case []any:
		if y, ok := b.([]any); ok && len(x) == len(y) {
			for i := range x {
				compare(changes, object, at+item(x[i], i), x[i], y[i])
			}
			return
		}
	}
	if p, q := text(a), text(b); p != q {
		*changes = append(*changes, gitops.Rendered{Object: object, Path: at, Old: p, New: q})
	}
}

// item names a list item by its name where it has one.
func item(v any, i int) string {
	if m, ok := v.(map[string]any); ok {
		if n, ok := m["name"].(string); ok {
			return "[name=" + n + "]"
		}
	}
	return fmt.Sprintf("[%d]", i)
}

func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case map[string]any:
		if v == nil {
			return ""
		}
	case string:
		return v
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(raw)
}

// A walker follows the references of kustomizations.
type walker struct {
	tree fs.FS
	seen map[string]bool // files and directories
}

func outside(what, why string) error {
	return &gitops.Refusal{Code: gitops.Layout, Reason: fmt.Sprintf("%s %s, so what Flux builds from it cannot be told from this repository alone.", what, why)}
}

func (w *walker) visit(at string) (again bool, err error) {
	if w.seen[at] {
		return true, nil
	}
	if len(w.seen) >= maxFiles {
		return false, outside(at, fmt.Sprintf("is one of more than %d files of one build", maxFiles))
	}
	w.seen[at] = true
	return false, nil
}

func (w *walker) directory(dir string, nest int) error {
	if nest > maxNest {
		return outside(dir, fmt.Sprintf("is nested deeper than %d kustomizations", maxNest))
	}
	if again, err := w.visit(dir); again || err != nil {
		return err
	}
	if !isDir(w.tree, dir) {
		return &gitops.Refusal{Code: gitops.NotInGit, Reason: fmt.Sprintf("The repository has no directory %s at this commit.", dir)}
	}
	file := kustomizationFile(w.tree, dir)
	if file == "" {
		found, err := manifests(w.tree, dir)
		if err != nil {
			return fmt.Errorf("list %s: %w", dir, err)
		}
		for _, f := range found {
			if err := w.reference(".", f, nest+1); err != nil {
				return err
			}
		}
		return nil
	}
	if _, err := w.visit(file); err != nil {
		return err
	}
	raw, err := fs.ReadFile(w.tree, file)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	var k references
	if err := yaml.Unmarshal(raw, &k); err != nil {
		return &gitops.Refusal{Code: gitops.NotYAML, Reason: fmt.Sprintf("%s cannot be read as a kustomization.", file), Cause: err}
	}
	if k.HelmCharts != nil || k.HelmChartInflationGenerator != nil {
		return outside(file, "renders Helm charts")
	}
	if len(k.Generators)+len(k.Transformers)+len(k.Validators) > 0 {
		return outside(file, "uses generators, transformers or validators of its own")
	}
	for _, ref := range k.all() {
		if err := w.reference(dir, ref, nest+1); err != nil {
			return err
		}
	}
	return nil
}

// reference follows one reference from a directory: a file, a directory, or YAML written in its place.
func (w *walker) reference(dir, ref string, nest int) error {
	if strings.Contains(ref, "\n") {
		return nil
	}
	at := path.Join(dir, ref)
	info, err := fs.Stat(w.tree, at)
	if path.IsAbs(ref) || !fs.ValidPath(at) || err != nil {
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid) {
			return fmt.Errorf("look at %s: %w", at, err)
		}
		return outside(fmt.Sprintf("%s in %s", ref, dir), "is not in the repository at this commit")
	}
	if info.IsDir() {
		return w.directory(at, nest)
	}
	_, err = w.visit(at)
	return err
}

// references are the fields of a kustomization that name files, directories or addresses.
type references struct {
	Resources, Bases, Components, CRDs, Configurations []string
	Generators, Transformers, Validators               []string
	PatchesStrategicMerge                              []string
	Patches, PatchesJSON6902, Replacements             []struct{ Path string }
	ConfigMapGenerator, SecretGenerator                []struct {
		Files, Envs []string
		Env         string
	}
	OpenAPI                                 struct{ Path string }
	HelmCharts, HelmChartInflationGenerator any
}

func (k references) all() []string {
	refs := slices.Concat(k.Resources, k.Bases, k.Components, k.CRDs, k.Configurations, k.PatchesStrategicMerge)
	for _, p := range slices.Concat(k.Patches, k.PatchesJSON6902, k.Replacements) {
		refs = append(refs, p.Path)
	}
	for _, g := range slices.Concat(k.ConfigMapGenerator, k.SecretGenerator) {
		refs = append(refs, g.Env)
		refs = append(refs, g.Envs...)
		for _, f := range g.Files {
			refs = append(refs, f[strings.Index(f, "=")+1:])
		}
	}
	refs = append(refs, k.OpenAPI.Path)
	return slices.DeleteFunc(refs, func(r string) bool { return r == "" })
}

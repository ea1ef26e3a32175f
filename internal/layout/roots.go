package layout

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/render"
)

// All lists the directories that are the roots of environments, sorted. It refuses a tree in which none is told, with code
// NotFound and directories that could be some as details.
func (t *Tree) All(ctx context.Context) ([]string, error) {
	told, err := t.told(ctx, ".")
	if err != nil {
		return nil, err
	}
	if _, err = t.distinct(ctx, told.roots); err != nil {
		return nil, err
	}
	if len(told.roots) == 0 {
		if told.roots, err = t.unapplied(ctx, told.files, nil, ""); err != nil {
			return nil, err
		}
	}
	if len(told.roots) == 0 {
		refusal := &gitops.Refusal{Code: gitops.NotFound, Reason: "No file here tells which directory Flux points at. Say which is an environment's with --path."}
		for _, dir := range t.overlays(ctx) {
			refusal.Details = append(refusal.Details, "--path "+dir)
		}
		return nil, refusal
	}
	first := slices.Min(slices.Collect(maps.Keys(told.roots)))
	env, err := t.Root(ctx, first, first)
	if err != nil {
		return nil, err
	}
	others, err := t.Roots(ctx, env)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(slices.Values(append(others, first))), nil
}

// Builds says why the root of an environment does not build; nil if it does.
func (t *Tree) Builds(ctx context.Context, env Environment) error {
	w, err := t.base(ctx, env)
	if err != nil {
		return err
	}
	return w.sites[0].err
}

// Roots lists the directories that are the roots of other environments than the one given: those that a Flux Kustomization
// in them syncs; those that a FluxInstance or the values of its chart name; those beside it that hold Flux Kustomizations
// and that it does not read itself; and those that hold Flux Kustomizations which nothing of all these builds. They are sorted.
func (t *Tree) Roots(ctx context.Context, env Environment) ([]string, error) {
	w, err := t.base(ctx, env)
	if err != nil {
		return nil, err
	}
	own := w.sites[0].Path
	beside := path.Dir(own)
	told, err := t.told(ctx, own)
	if err != nil {
		return nil, err
	}
	roots := told.roots
	if entries, err := fs.ReadDir(t.files, beside); err == nil && own != "." {
		for _, e := range entries { // an overlay whose Flux Kustomizations lie elsewhere
			dir := path.Join(beside, e.Name())
			if files, err := render.Files(ctx, t.files, gitops.Kustomization{Path: dir}); e.IsDir() && !roots[dir] && !fixtures.MatchString(e.Name()) && err == nil && t.overlay(dir) && t.mention(files) {
				roots[dir] = true
			}
		}
	}
	delete(roots, own)
	for root := range maps.Clone(roots) {
		for _, s := range w.sites {
			if within(root, s.Path) || slices.ContainsFunc(s.files, func(f string) bool { return within(root, f) }) {
				delete(roots, root) // a part of this environment
			}
		}
	}
	walks, err := t.distinct(ctx, roots)
	if err != nil {
		return nil, err
	}
	more, err := t.unapplied(ctx, told.files, append(walks, w), own)
	if err != nil {
		return nil, err
	}
	maps.Copy(roots, more)
	return slices.Sorted(maps.Keys(roots)), ctx.Err()
}

// distinct leaves out of some roots those that another of them applies, and gives the outlines of all.
func (t *Tree) distinct(ctx context.Context, roots map[string]bool) ([]*walk, error) {
	sorted := slices.Sorted(maps.Keys(roots))
	walks, err := t.outlines(ctx, sorted)
	if err != nil {
		return nil, err
	}
	for i, root := range sorted {
		if !roots[root] {
			continue
		}
		for _, s := range walks[i].sites[1:] {
			if s.Path != root {
				delete(roots, s.Path)
			}
		}
	}
	return walks, nil
}

func (t *Tree) outlines(ctx context.Context, roots []string) ([]*walk, error) {
	walks, errs := make([]*walk, len(roots)), make([]error, len(roots))
	sideBySide(len(roots), func(i int) { walks[i], errs[i] = t.outline(ctx, roots[i]) })
	return walks, errors.Join(errs...)
}

// A telling is what the files of a tree tell of environments.
type telling struct {
	// roots are the directories that a Flux Kustomization in them syncs, those that a FluxInstance names, and those beside
	// an environment's own, if that is not the tree's top, that hold Flux Kustomizations.
	roots map[string]bool
	files []string // with Flux Kustomizations of directories that are here
}

func (t *Tree) told(ctx context.Context, own string) (telling, error) {
	told := telling{roots: map[string]bool{}}
	beside := path.Dir(own)
	return told, fs.WalkDir(t.files, ".", func(file string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && file != "." && fixtures.MatchString(e.Name()) && !within(file, own) {
			return fs.SkipDir
		}
		if err != nil || e.IsDir() || !yamlFile(file) || path.Ext(file) == "" {
			return nil //nolint:nilerr // a directory that cannot be read holds no root that could be built
		}
		content, err := t.files.ReadFile(file)
		if err != nil || !tells(content) {
			return nil //nolint:nilerr // likewise
		}
		parsed, err := t.parse(file)
		if err != nil {
			return nil //nolint:nilerr // likewise
		}
		for _, dir := range parsed.syncs {
			if dir = cleanPath(dir); dir == "." && path.Dir(file) == "." || dir != "." && strings.HasPrefix(file, dir+"/") {
				told.roots[dir] = true
			}
		}
		for _, dir := range parsed.instances {
			if dir = cleanPath(dir); t.isDir(dir) {
				told.roots[dir] = true
			}
		}
		if len(t.applied(file)) > 0 {
			told.files = append(told.files, file)
		}
		if rest, ok := strings.CutPrefix(file, strings.TrimPrefix(beside+"/", "./")); ok && len(parsed.syncs) > 0 && own != "." {
			if name, _, inside := strings.Cut(rest, "/"); inside {
				told.roots[path.Join(beside, name)] = true
			}
		}
		return ctx.Err()
	})
}

// tells is false for files that hold neither a Flux Kustomization nor what a FluxInstance syncs.
func tells(content []byte) bool {
	has := func(word string) bool { return bytes.Contains(content, []byte(word)) }
	return has("kustomize.toolkit.fluxcd.io") || has("sync") && (has("FluxInstance") || has("instance:") || has(`"instance"`))
}

// applied are the directories of this tree, other than its top, that the Flux Kustomizations in a file apply.
func (t *Tree) applied(file string) (dirs []string) {
	parsed, err := t.parse(file)
	if err != nil {
		return nil
	}
	for _, dir := range parsed.syncs {
		if dir = cleanPath(dir); dir != "." && t.isDir(dir) && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// maxUnapplied is how many directories are looked into for the environments of Flux Kustomizations that nothing builds.
const maxUnapplied = 200

// unapplied are the roots of environments that only their Flux Kustomizations tell of: no walk builds these, so something
// else applies them. Files with some are given. A root is the directory with the file, or the outermost kustomization
// that reads it; where that cannot be one environment, the directories that are applied. A file in a directory that a walk
// builds is left out there on purpose.
func (t *Tree) unapplied(ctx context.Context, files []string, walks []*walk, own string) (map[string]bool, error) {
	read := map[string]bool{}
	var built []string
	for _, w := range walks {
		for _, file := range w.files() {
			read[file] = true
		}
		for _, s := range w.sites {
			built = append(built, s.Path)
		}
	}
	left := map[string][]string{} // files by what may be their root
	roots := map[string]bool{}
	for _, file := range files {
		if read[file] || slices.ContainsFunc(built, func(dir string) bool { return within(dir, file) }) || len(left) == maxUnapplied {
			continue
		}
		if dir := t.reader(ctx, file); dir != "" {
			left[dir] = append(left[dir], file)
		} else {
			for _, dir := range t.applied(file) {
				roots[dir] = true
			}
		}
	}
	dirs := slices.Sorted(maps.Keys(left))
	outlines, err := t.outlines(ctx, dirs)
	if err != nil {
		return nil, err
	}
	reads := make([]map[string]bool, len(dirs))
	for i, w := range outlines {
		reads[i] = map[string]bool{}
		for _, file := range w.files() {
			reads[i][file] = true
		}
	}
	all := func(files []string, in map[string]bool) bool {
		return !slices.ContainsFunc(files, func(f string) bool { return !in[f] })
	}
	for i, dir := range dirs {
		sites := outlines[i].sites
		switch {
		case slices.ContainsFunc(dirs, func(other string) bool { // another root reads it
			j := slices.Index(dirs, other)
			return j != i && all(left[dir], reads[j]) && (j < i || !all(left[other], reads[i]))
		}):
		case sites[0].err != nil || slices.ContainsFunc(sites, func(s *site) bool { return s.Path == own }):
			for _, file := range left[dir] {
				for _, dir := range t.applied(file) {
					roots[dir] = true
				}
			}
		case len(sites) > 1:
			roots[dir] = true
		}
	}
	delete(roots, own)
	_, err = t.distinct(ctx, roots)
	return roots, err
}

// reader is the directory to build for a file to be read: the outermost whose kustomization leads to it, or the file's
// own, if that has no kustomization, which may leave it out; then it is empty.
func (t *Tree) reader(ctx context.Context, file string) (dir string) {
	dir = path.Dir(file)
	if t.overlay(dir) {
		dir = ""
	}
	for at := path.Dir(file); ; at = path.Dir(at) {
		if t.overlay(at) {
			if files, err := render.Files(ctx, t.files, gitops.Kustomization{Path: at}); err == nil && slices.Contains(files, file) {
				dir = at
			}
		}
		if at == "." {
			return dir
		}
	}
}

// overlays are some directories whose kustomizations no other one leads to, sorted; where there are any that flux bootstrap
// made, which calls them flux-system, those that hold these, as they are what it points Flux at.
func (t *Tree) overlays(ctx context.Context) []string {
	const looked, shown = 300, 5
	var dirs []string
	reads := map[string]int{} // by how many kustomizations
	err := fs.WalkDir(t.files, ".", func(dir string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return nil //nolint:nilerr // what cannot be read is no root
		}
		if dir != "." && fixtures.MatchString(e.Name()) {
			return fs.SkipDir
		}
		if !t.overlay(dir) {
			return ctx.Err()
		}
		if len(dirs) == looked {
			return fs.SkipAll
		}
		dirs = append(dirs, dir)
		if files, err := render.Files(ctx, t.files, gitops.Kustomization{Path: dir}); err == nil {
			for _, file := range files {
				if isKustomization(file) {
					reads[path.Dir(file)]++
				}
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return nil
	}
	dirs = slices.DeleteFunc(dirs, func(dir string) bool { return reads[dir] > 1 })
	var bootstrapped []string
	for _, dir := range dirs {
		if path.Base(dir) == "flux-system" {
			bootstrapped = append(bootstrapped, path.Dir(dir))
		}
	}
	if len(bootstrapped) > 0 {
		dirs = bootstrapped
	}
	return dirs[:min(shown, len(dirs))]
}

// fixtures are directories that hold examples for tests, and nothing that a cluster applies.
var fixtures = regexp.MustCompile(`^(tests|testdata|\..*)$`)

// overlay says whether a directory has a kustomization.
func (t *Tree) overlay(dir string) bool {
	for _, name := range []string{"kustomization.yaml", "kustomization.yml", "Kustomization"} {
		if info, err := fs.Stat(t.files, path.Join(dir, name)); err == nil && !info.IsDir() {
			return true
		}
	}
	return false
}

func (t *Tree) isDir(dir string) bool {
	info, err := fs.Stat(t.files, dir)
	return err == nil && info.IsDir()
}

// mention says whether one of some files holds a Flux Kustomization.
func (t *Tree) mention(files []string) bool {
	return slices.ContainsFunc(files, func(file string) bool {
		parsed, err := t.parse(file)
		return err == nil && len(parsed.syncs) > 0
	})
}

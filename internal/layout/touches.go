package layout

import (
	"context"
	"maps"
	"path"
	"slices"
)

// applied are the kinds that applications are made of.
var applied = []string{"HelmRelease", "Deployment", "StatefulSet", "DaemonSet"}

// Touches says whether what Flux builds of an environment reads one of some files, and names the applications that stand
// in those, or else beside them: a kustomization or a file of values may change any that it is read with. A name may be
// that of what no cluster runs, since nothing is built but what leads to other Kustomizations. A file that is not in the
// tree yet counts where Flux takes whatever is in its directory.
func (t *Tree) Touches(ctx context.Context, env Environment, files []string) (applications []string, touched bool, err error) {
	w, err := t.walk(ctx, env, view{needed: func([]string) bool { return false }})
	if err != nil {
		return nil, false, err
	}
	names := map[string]bool{}
	for _, s := range w.sites {
		all := slices.Clone(s.files)
		slices.Sort(all)
		for _, file := range files {
			_, read := slices.BinarySearch(all, file)
			if dir := cleanPath(s.Path); !read && (!within(dir, file) || !yamlFile(file) || t.overlay(dir)) {
				continue
			}
			touched = true
			found := t.named(file)
			if len(found) == 0 {
				found = t.namedIn(path.Dir(file), all)
			}
			if len(found) == 0 {
				found = t.namedIn(".", all)
			}
			for _, name := range found {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names)), touched, nil
}

// namedIn are the names of the applications in those of some files that lie in a directory.
func (t *Tree) namedIn(dir string, files []string) (names []string) {
	for _, file := range files {
		if within(dir, file) {
			names = append(names, t.named(file)...)
		}
	}
	return names
}

// named are the names of the applications in a file.
func (t *Tree) named(file string) (names []string) {
	if !yamlFile(file) {
		return nil
	}
	parsed, err := t.parse(file)
	if err != nil {
		return nil
	}
	for d := range parsed.file.Len() {
		if name := parsed.file.Text(d, "metadata", "name"); name != "" && slices.Contains(applied, parsed.file.Text(d, "kind")) {
			names = append(names, name)
		}
	}
	return names
}

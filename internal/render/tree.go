package render

import (
	"cmp"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing/fstest"

	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// With returns the tree with the content of files, by path, replaced or added.
func With(tree fs.FS, files map[string][]byte) fs.FS {
	return overlay{tree, files}
}

// An overlay shows files in front of a tree. Its files are
// found by name, not by listing their directory: they replace files of the tree, or add the kustomization of a directory.
type overlay struct {
	fs.FS
	files map[string][]byte
}

func (o overlay) Open(name string) (fs.File, error) {
	if content, ok := o.files[name]; ok {
		return fstest.MapFS{name: {Data: content}}.Open(name)
	}
	return o.FS.Open(name)
}

// Stat looks at what is in front first.
func (o overlay) Stat(name string) (fs.FileInfo, error) {
	if content, ok := o.files[name]; ok {
		return fs.Stat(fstest.MapFS{name: {Data: content}}, name)
	}
	return fs.Stat(o.FS, name)
}

// ReadFile reads what is in front first.
func (o overlay) ReadFile(name string) ([]byte, error) {
	if content, ok := o.files[name]; ok {
		return content, nil
	}
	return fs.ReadFile(o.FS, name)
}

// disk shows a tree to kustomize as a file system whose root directory is the tree's. Kustomize writes nothing when it
// builds; what it might write lands in the embedded empty file system, which nobody reads.
type disk struct {
	filesys.FileSystem
	tree fs.FS
}

func newDisk(tree fs.FS) disk { return disk{filesys.MakeFsInMemory(), tree} }

// name turns a path of kustomize's into one of the tree's.
func name(p string) string {
	return cmp.Or(strings.TrimPrefix(path.Clean("/"+filepath.ToSlash(p)), "/"), ".")
}

func (d disk) Exists(p string) bool {
	_, err := fs.Stat(d.tree, name(p))
	return err == nil
}

func (d disk) IsDir(p string) bool { return isDir(d.tree, name(p)) }

func isDir(tree fs.FS, name string) bool {
	info, err := fs.Stat(tree, name)
	return err == nil && info.IsDir()
}

func (d disk) ReadFile(p string) ([]byte, error) { return fs.ReadFile(d.tree, name(p)) }

func (d disk) ReadDir(p string) ([]string, error) {
	entries, err := fs.ReadDir(d.tree, name(p))
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (d disk) Glob(pattern string) ([]string, error) {
	found, err := fs.Glob(d.tree, name(pattern))
	for i := range found {
		found[i] = "/" + found[i]
	}
	return found, err
}

func (d disk) Walk(p string, visit filepath.WalkFunc) error {
	return fs.WalkDir(d.tree, name(p), func(at string, e fs.DirEntry, err error) error {
		if err != nil {
			return visit("/"+at, nil, err)
		}
		info, err := e.Info()
		return visit("/"+at, info, err)
	})
}

func (d disk) CleanedAbs(p string) (filesys.ConfirmedDir, string, error) {
	at := name(p)
	info, err := fs.Stat(d.tree, at)
	if err != nil {
		return "", "", &os.PathError{Op: "open", Path: at, Err: os.ErrNotExist}
	}
	if info.IsDir() {
		return filesys.ConfirmedDir(path.Join("/", at)), "", nil
	}
	return filesys.ConfirmedDir(path.Join("/", path.Dir(at))), path.Base(at), nil
}

// manifests lists the YAML files of a directory and, in directories without a kustomization of their own, below it;
// directories with one are listed themselves. So Flux makes a kustomization for a directory that has none.
func manifests(tree fs.FS, dir string) ([]string, error) {
	var found []string
	err := fs.WalkDir(tree, dir, func(at string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir():
			if at != dir && kustomizationFile(tree, at) != "" {
				found = append(found, at)
				return fs.SkipDir
			}
		case slices.Contains([]string{".yaml", ".yml"}, path.Ext(at)):
			found = append(found, at)
		}
		return nil
	})
	return found, err
}

// kustomizationFile returns the path of a directory's kustomization, or "".
func kustomizationFile(tree fs.FS, dir string) string {
	for _, n := range []string{"kustomization.yaml", "kustomization.yml", "Kustomization"} {
		at := path.Join(dir, n)
		if info, err := fs.Stat(tree, at); err == nil && !info.IsDir() {
			return at
		}
	}
	return ""
}

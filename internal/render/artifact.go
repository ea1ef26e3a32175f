package render

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/fluxcd/pkg/sourceignore"
	"github.com/fluxcd/pkg/sourceignore/gitignore"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// Artifact shows what Flux's source-controller keeps of a repository: regular files that no .sourceignore names. Without
// any .sourceignore it leaves out what its defaults name: pictures, archives, files of CI systems, .sops.yaml and
// .flux.yaml. The tree is looked through once, at first use.
func Artifact(tree fs.FS) fs.FS {
	return artifact{tree, sync.OnceValues(func() (map[string]bool, error) { return kept(tree) })}
}

type artifact struct {
	fs.FS
	kept func() (map[string]bool, error) // files and directories, by path
}

func (a artifact) Open(name string) (fs.File, error) {
	kept, err := a.kept()
	if err != nil {
		return nil, err
	}
	if fs.ValidPath(name) && !kept[name] {
		if _, ignored := kept[name]; ignored {
			return nil, &fs.PathError{Op: "open", Path: name, Err: errIgnored}
		}
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	file, err := a.FS.Open(name)
	if dir, ok := file.(fs.ReadDirFile); ok && err == nil {
		return listing{dir, name, kept}, nil
	}
	return file, err
}

// errIgnored says of a file that Flux does not see it.
var errIgnored = fmt.Errorf("left out by .sourceignore or its defaults: %w", fs.ErrNotExist)

// ignored refuses a file that is in the repository and not in what Flux sees of it; nil for any other.
func ignored(tree fs.FS, file string) error {
	if _, err := fs.Stat(tree, file); !errors.Is(err, errIgnored) {
		return nil
	}
	return &gitops.Refusal{Code: gitops.OutsideSource, Reason: fmt.Sprintf("%s is left out of what Flux sees of this repository, by .sourceignore or its defaults.", file)}
}

// LeftOut refuses the first of some files that the spec.ignore of a source leaves out of what Flux sees; nil for none.
func LeftOut(source gitops.Object, ignore string, files []string) error {
	patterns := sourceignore.ReadPatterns(strings.NewReader(ignore), nil)
	if len(patterns)*len(files) > maxMatches {
		return tooMuch("spec.ignore of "+source.String(), fmt.Sprintf("is beyond %d patterns for %d files", maxMatches/len(files), len(files)))
	}
	matcher := sourceignore.NewMatcher(patterns)
	i := slices.IndexFunc(files, func(f string) bool { return matcher.Match(steps(f), false) })
	if i < 0 {
		return nil
	}
	return &gitops.Refusal{Code: gitops.OutsideSource, Reason: fmt.Sprintf("%s is left out of what Flux sees of this repository, by spec.ignore of %s.", files[i], source)}
}

// A listing is an open directory.
type listing struct {
	fs.ReadDirFile
	dir  string
	kept map[string]bool
}

func (l listing) ReadDir(n int) ([]fs.DirEntry, error) {
	for {
		entries, err := l.ReadDirFile.ReadDir(n)
		some := len(entries) > 0
		entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !l.kept[path.Join(l.dir, e.Name())] })
		if n <= 0 || len(entries) > 0 || !some || err != nil {
			return entries, err
		}
	}
}

// maxMatches limits how many times a pattern of a .sourceignore is held against a file.
const maxMatches = 5_000_000

// kept looks through a tree. A pattern of a .sourceignore holds below its directory, and wins over those above.
func kept(tree fs.FS) (map[string]bool, error) {
	kept := map[string]bool{}
	var files, ignores []string
	err := fs.WalkDir(tree, ".", func(at string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && e.Name() == ".git":
			return fs.SkipDir
		case e.IsDir():
			kept[at] = true
		case e.Type().IsRegular():
			files = append(files, at)
			if e.Name() == sourceignore.IgnoreFile {
				ignores = append(ignores, at)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look through the repository: %w", err)
	}
	slices.SortStableFunc(ignores, func(a, b string) int { return strings.Count(a, "/") - strings.Count(b, "/") })
	var patterns []gitignore.Pattern
	for _, at := range ignores {
		raw, err := fs.ReadFile(tree, at)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", at, err)
		}
		patterns = append(patterns, sourceignore.ReadPatterns(bytes.NewReader(raw), steps(path.Dir(at)))...)
		if len(patterns)*len(files) > maxMatches {
			return nil, tooMuch(at, fmt.Sprintf("is beyond %d patterns for %d files", maxMatches/len(files), len(files)))
		}
	}
	if len(patterns) == 0 {
		patterns = sourceignore.DefaultPatterns(nil)
	}
	matcher := sourceignore.NewMatcher(slices.Concat(sourceignore.VCSPatterns(nil), patterns))
	for _, f := range files {
		kept[f] = !matcher.Match(steps(f), false)
	}
	return kept, nil
}

// steps are the names on the way to a path.
func steps(at string) []string {
	if at == "." {
		return nil
	}
	return strings.Split(at, "/")
}

package helm

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/fluxcd/pkg/sourceignore"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
)

const (
	maxArchive  = 10 << 20 // bytes of a packed chart, source-controller's limit too
	maxUnpacked = 32 << 20 // bytes of a chart in a directory
	maxFile     = 5 << 20  // bytes of one file of a chart, source-controller's limit too
	maxFiles    = 5000
)

// local takes a chart from the files of a GitRepository.
func local(j *job, files fs.FS, source sourcev1.GitRepositorySpec, want sourcev1.HelmChartSpec) error {
	if files == nil {
		return refusal("The files of its GitRepository are not at hand.")
	}
	t := tree{FS: files}
	if source.Ignore != nil {
		t.ignore = sourceignore.NewMatcher(sourceignore.ReadPatterns(strings.NewReader(*source.Ignore), nil)).Match
	}
	at := within(want.Chart)
	info, err := t.stat(at)
	if err != nil {
		return refusal(fmt.Sprintf("The directory %s that its chart is to be in is not in the repository.", at))
	}
	if !info.IsDir() {
		j.Chart.Archive, err = t.read(at, maxArchive)
	} else {
		j.Chart.Files, err = t.files(at)
		j.Beside = map[string]bundle{}
		for dependency, beside := range besides(j.Chart.Files) {
			found, dirErr := t.files(within(at, beside))
			if errors.Is(dirErr, fs.ErrNotExist) {
				continue // it may be in the folder charts
			}
			err = errors.Join(err, dirErr)
			j.Beside[dependency] = bundle{Files: found}
		}
	}
	if err != nil {
		return err
	}
	if len(j.ValuesFiles) > 0 {
		j.Given = map[string][]byte{}
	}
	for _, name := range j.ValuesFiles {
		raw, err := t.read(within(name), maxFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		j.Given[name] = raw
	}
	return nil
}

// A tree is what Flux sees of a repository.
type tree struct {
	fs.FS
	ignore func(steps []string, dir bool) bool // spec.ignore; nil: none
	count  int                                 // of files read
	size   int                                 // of them all
}

func (t *tree) stat(name string) (fs.FileInfo, error) {
	info, err := fs.Stat(t.FS, name)
	if err == nil && t.ignore != nil && !info.IsDir() && t.ignore(strings.Split(name, "/"), false) {
		return nil, fs.ErrNotExist
	}
	return info, err
}

// files reads all files of a directory, by their paths in it.
func (t *tree) files(dir string) (map[string][]byte, error) {
	all := map[string][]byte{}
	err := fs.WalkDir(t.FS, dir, func(at string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		raw, err := t.read(at, maxFile)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		all[strings.TrimPrefix(strings.TrimPrefix(at, dir), "/")] = raw
		return err
	})
	return all, err
}

func (t *tree) read(name string, limit int) ([]byte, error) {
	if _, err := t.stat(name); err != nil {
		return nil, err
	}
	file, err := t.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	t.count, t.size = t.count+1, t.size+len(raw)
	switch {
	case len(raw) > limit:
		return nil, refusal(fmt.Sprintf("The file %s of its chart is larger than %d MB.", name, limit>>20))
	case t.size > maxUnpacked:
		return nil, refusal(fmt.Sprintf("Its chart is larger than %d MB.", maxUnpacked>>20))
	case t.count > maxFiles:
		return nil, refusal(fmt.Sprintf("Its chart has more than %d files.", maxFiles))
	}
	return raw, nil
}

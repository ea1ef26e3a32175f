package executor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// mostKept is how many files there are at most.
const mostKept = 50

// files keeps documents in files of a directory that are called by their keys, the newest ones. It implements operation.Kept.
type files struct{ dir string }

// Load reads one; nil where there is none.
func (f files) Load(_ context.Context, key string) ([]byte, error) {
	raw, err := os.ReadFile(filepath.Join(f.dir, key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return raw, err
}

// Save writes one as a whole, and removes the oldest where there are too many.
func (f files) Save(_ context.Context, key string, document []byte) error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("make directory of reports: %w", err)
	}
	temporary, err := os.CreateTemp(f.dir, ".new-")
	if err != nil {
		return fmt.Errorf("write a report: %w", err)
	}
	_, err = temporary.Write(document)
	if err = errors.Join(err, temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), filepath.Join(f.dir, key))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write a report: %w", err), os.Remove(temporary.Name()))
	}
	return f.prune()
}

func (f files) prune() error {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return fmt.Errorf("list reports: %w", err)
	}
	var all []fs.FileInfo
	for _, e := range entries {
		if about, err := e.Info(); err == nil && about.Mode().IsRegular() {
			all = append(all, about)
		}
	}
	slices.SortFunc(all, func(a, b fs.FileInfo) int {
		return cmp.Or(b.ModTime().Compare(a.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	for i := mostKept; i < len(all); i++ {
		if err := os.Remove(filepath.Join(f.dir, all[i].Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove an old report: %w", err)
		}
	}
	return nil
}

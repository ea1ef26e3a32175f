package operation

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
)

// differing are the files that two trees do not have alike, sorted.
func differing(ctx context.Context, one, other fs.FS) ([]string, error) {
	a, err := sizes(ctx, one)
	if err != nil {
		return nil, err
	}
	b, err := sizes(ctx, other)
	if err != nil {
		return nil, err
	}
	var files []string
	for file, size := range a {
		if is, ok := b[file]; !ok || is != size || !bytes.Equal(content(one, file), content(other, file)) {
			files = append(files, file)
		}
		delete(b, file)
	}
	files = slices.AppendSeq(files, maps.Keys(b))
	slices.Sort(files)
	return files, ctx.Err()
}

// sizes are those of a tree's files.
func sizes(ctx context.Context, tree fs.FS) (map[string]int64, error) {
	sizes := map[string]int64{}
	err := fs.WalkDir(tree, ".", func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return errors.Join(err, ctx.Err())
		}
		info, err := e.Info()
		if err == nil {
			sizes[file] = info.Size()
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look through a commit: %w", err)
	}
	return sizes, nil
}

// with gives a tree with some files changed, and those removed whose content is nil.
func with(tree fs.FS, changes map[string][]byte) (fs.FS, error) {
	var raw bytes.Buffer
	archive := zip.NewWriter(&raw)
	add := func(file string, content []byte) error {
		w, err := archive.CreateHeader(&zip.FileHeader{Name: file, Method: zip.Store})
		if err == nil {
			_, err = w.Write(content)
		}
		return err
	}
	err := fs.WalkDir(tree, ".", func(file string, e fs.DirEntry, err error) error {
		if _, changed := changes[file]; err != nil || e.IsDir() || changed {
			return err
		}
		content, err := fs.ReadFile(tree, file)
		if err != nil {
			return err
		}
		return add(file, content)
	})
	for _, file := range slices.Sorted(maps.Keys(changes)) {
		if content := changes[file]; err == nil && content != nil {
			err = add(file, content)
		}
	}
	if err = errors.Join(err, archive.Close()); err != nil {
		return nil, fmt.Errorf("merge: %w", err)
	}
	merged, err := zip.NewReader(bytes.NewReader(raw.Bytes()), int64(raw.Len()))
	if err != nil {
		return nil, fmt.Errorf("merge: %w", err)
	}
	return merged, nil
}

package operation

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
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

// renamed finds where a file went that one side has renamed and the other changed, as git does: to a file that is new there and
// has at least half of its lines. merged is what both make of it. It is empty where nobody renamed it, or both changed the
// same.
func (r *Reviews) renamed(ctx context.Context, file string, was, base, head fs.FS) (to string, merged []byte, err error) {
	old, sides := content(was, file), []fs.FS{base, head}
	versions := [][]byte{content(base, file), content(head, file)}
	by := slices.IndexFunc(versions, func(v []byte) bool { return v == nil }) // the side that has it no more
	if old == nil || by < 0 || versions[1-by] == nil {
		return "", nil, nil
	}
	added, err := differing(ctx, was, sides[by])
	if err != nil {
		return "", nil, err
	}
	best := 0.5
	for _, other := range added {
		if path.Ext(other) != path.Ext(file) || content(was, other) != nil || content(sides[1-by], other) != nil {
			continue
		}
		version := content(sides[by], other)
		if is := alike(old, version); is > best || is == best && to == "" {
			to, best, versions[by] = other, is, version
		}
	}
	if to == "" {
		return "", nil, nil
	}
	merged, ok, err := r.Pulls.Merge(ctx, old, versions[0], versions[1])
	if !ok {
		to = ""
	}
	return to, merged, err
}

// alike is the part of the lines of two files that both have; 1 is all.
func alike(one, other []byte) float64 {
	count := map[string]int{}
	a, b := bytes.SplitAfter(one, []byte("\n")), bytes.SplitAfter(other, []byte("\n"))
	for _, line := range a {
		count[string(line)]++
	}
	both := 0
	for _, line := range b {
		if count[string(line)]--; count[string(line)] >= 0 {
			both++
		}
	}
	return float64(both) / float64(max(len(a), len(b)))
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

// Package offline opens a checkout on this machine for those who ask about it without a cluster: read-only, but for the
// files that a plan is written to.
package offline

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"sync"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// A Checkout is a directory as an fs.FS that shows what Flux would fetch: regular files and directories. Symbolic links
// are not in it, wherever they lead, nor is what lies behind them, nor .git; source-controller archives neither.
type Checkout struct {
	root *os.Root

	mu    sync.Mutex
	plain map[string]bool // directories: whether no symbolic link leads to them
}

// Open opens a directory; the caller closes the Checkout.
func Open(dir string) (*Checkout, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open checkout: %w", err)
	}
	return &Checkout{root: root, plain: map[string]bool{".": true}}, nil
}

// Close closes the directory.
func (c *Checkout) Close() error { return c.root.Close() }

// shown says whether a name is one that the checkout shows.
func (c *Checkout) shown(op, name string) (fs.FileInfo, error) {
	fail := func(err error) (fs.FileInfo, error) { return nil, &fs.PathError{Op: op, Path: name, Err: err} }
	if !fs.ValidPath(name) {
		return fail(fs.ErrInvalid)
	}
	if !c.directory(path.Dir(name)) {
		return fail(fs.ErrNotExist)
	}
	info, err := c.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if mode := info.Mode(); !mode.IsRegular() && !mode.IsDir() || path.Base(name) == ".git" {
		return fail(fs.ErrNotExist)
	}
	return info, nil
}

// directory says whether a name and all above it are directories.
func (c *Checkout) directory(name string) bool {
	c.mu.Lock()
	known, ok := c.plain[name]
	c.mu.Unlock()
	if ok {
		return known
	}
	info, err := c.shown("stat", name)
	plain := err == nil && info.IsDir()
	c.mu.Lock()
	c.plain[name] = plain
	c.mu.Unlock()
	return plain
}

// Open opens a file or directory to read.
func (c *Checkout) Open(name string) (fs.File, error) {
	if _, err := c.shown("open", name); err != nil {
		return nil, err
	}
	return c.root.Open(name)
}

// Stat describes a file or directory.
func (c *Checkout) Stat(name string) (fs.FileInfo, error) { return c.shown("stat", name) }

// ReadFile reads a whole file.
func (c *Checkout) ReadFile(name string) ([]byte, error) {
	if _, err := c.shown("read", name); err != nil {
		return nil, err
	}
	return c.root.ReadFile(name)
}

// ReadDir lists a directory, sorted by name.
func (c *Checkout) ReadDir(name string) ([]fs.DirEntry, error) {
	if _, err := c.shown("readdir", name); err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(c.root.FS(), name)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return !e.Type().IsRegular() && !e.IsDir() || e.Name() == ".git"
	}), err
}

// Write puts files in the place of those that were planned with. Each is replaced as a whole or not at all, with its mode;
// none is when one of them is no longer what it was, which is a refusal of code Changed. What before holds is by path.
func (c *Checkout) Write(files []gitops.File, before map[string][]byte) (err error) {
	type swap struct{ temporary, file string }
	var swaps []swap
	defer func() {
		for _, s := range swaps { // what was renamed is not there any more
			_ = c.root.Remove(s.temporary)
		}
	}()
	for _, f := range files {
		was, err := c.ReadFile(f.Path)
		if err != nil && (before[f.Path] != nil || !errors.Is(err, fs.ErrNotExist)) {
			return fmt.Errorf("write %s: %w", f.Path, err)
		}
		if !bytes.Equal(was, before[f.Path]) {
			return &gitops.Refusal{Code: gitops.Changed, Reason: fmt.Sprintf("%s changed while the plan was made: nothing is written. Plan again.", f.Path)}
		}
		mode := fs.FileMode(0o644)
		if info, err := c.Stat(f.Path); err == nil {
			mode = info.Mode().Perm()
		}
		s := swap{path.Join(path.Dir(f.Path), ".ferry-"+rand.Text()), f.Path}
		swaps = append(swaps, s)
		if err := c.create(s.temporary, f.Content, mode); err != nil {
			return fmt.Errorf("write %s: %w", f.Path, err)
		}
	}
	for _, s := range swaps {
		if err := c.root.Rename(s.temporary, s.file); err != nil {
			return fmt.Errorf("write %s: %w", s.file, err)
		}
	}
	return nil
}

// create writes a file that is not there yet, to the disk.
func (c *Checkout) create(name string, content []byte, mode fs.FileMode) error {
	f, err := c.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A history reads a repository by git, which gets nothing of the surroundings but PATH.
type history struct{ dir string }

// open finds the repository of a checkout, or a bare one.
func open(ctx context.Context, checkout string) (history, error) {
	absolute, err := filepath.Abs(checkout)
	if err != nil {
		return history{}, fmt.Errorf("open repository: %w", err)
	}
	for _, dir := range []string{filepath.Join(absolute, ".git"), absolute} {
		h := history{dir}
		if out, err := h.git(ctx, "rev-parse", "--absolute-git-dir").Output(); err == nil {
			return history{strings.TrimSpace(string(out))}, nil
		}
	}
	return history{}, fmt.Errorf("%s is no git repository", checkout)
}

func (h history) git(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = h.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + h.dir, "GIT_DIR=" + h.dir, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_ATTR_NOSYSTEM=1", "GIT_NO_REPLACE_OBJECTS=1", "GIT_NO_LAZY_FETCH=1", "GIT_OPTIONAL_LOCKS=0"}
	return cmd
}

// A commit is one of the first-parent history, with what it changed in YAML files.
type commit struct {
	id, parent string
	changed    []change
}

type change struct{ file, before, after string } // object ids

// commits gives those with a parent that changed YAML files, all of which were there before, newest first.
func (h history) commits(ctx context.Context, yield func(commit) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := h.git(ctx, "log", "--first-parent", "--diff-merges=first-parent", "--raw", "--no-abbrev", "--no-renames", "-z", "--format=commit %H %P", "HEAD", "--")
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("read history: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("read history: %w", err)
	}
	err = scan(bufio.NewReaderSize(pipe, 1<<20), yield)
	if err != nil {
		cancel()
	}
	if waited := cmd.Wait(); err == nil && waited != nil {
		err = fmt.Errorf("read history: %w", waited)
	}
	return err
}

// scan reads what git log writes with -z: "commit ID PARENT …", and for each file ":MODE MODE ID ID LETTER" and its path,
// each ended by NUL.
func scan(in *bufio.Reader, yield func(commit) error) error {
	var c commit
	whole := true // nothing but files changed in place
	done := func() error {
		if c.parent == "" || !whole || len(c.changed) == 0 {
			return nil
		}
		return yield(c)
	}
	for {
		word, err := in.ReadString(0)
		word = strings.TrimLeft(strings.TrimSuffix(word, "\x00"), "\n")
		switch {
		case strings.HasPrefix(word, "commit "):
			if err := done(); err != nil {
				return err
			}
			ids := strings.Fields(word)
			c, whole = commit{id: ids[1]}, true
			if len(ids) > 2 {
				c.parent = ids[2]
			}
		case strings.HasPrefix(word, ":"):
			about := strings.Fields(word)
			file, err := in.ReadString(0)
			if err != nil || len(about) != 5 {
				return fmt.Errorf("read history: unexpected %q", word)
			}
			file = strings.TrimSuffix(file, "\x00")
			if !slices.Contains([]string{".yaml", ".yml"}, path.Ext(file)) {
				break
			}
			if about[4] != "M" || about[0] != ":100644" && about[0] != ":100755" || about[0] != ":"+about[1] {
				whole = false
			}
			c.changed = append(c.changed, change{file, about[2], about[3]})
		}
		if errors.Is(err, io.EOF) {
			return done()
		}
		if err != nil {
			return fmt.Errorf("read history: %w", err)
		}
	}
}

// objects reads blobs of the repository one after another.
type objects struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func (h history) objects(ctx context.Context) (*objects, error) {
	o := &objects{cmd: h.git(ctx, "cat-file", "--batch")}
	in, err := o.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("read objects: %w", err)
	}
	out, err := o.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("read objects: %w", err)
	}
	o.in, o.out = in, bufio.NewReaderSize(out, 1<<20)
	if err := o.cmd.Start(); err != nil {
		return nil, fmt.Errorf("read objects: %w", err)
	}
	return o, nil
}

func (o *objects) close() error {
	o.in.Close()
	return o.cmd.Wait()
}

func (o *objects) read(id string) ([]byte, error) {
	if _, err := fmt.Fprintln(o.in, id); err != nil {
		return nil, fmt.Errorf("read object: %w", err)
	}
	header, err := o.out.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("read object: %w", err)
	}
	var name, kind string
	var size int64
	if _, err := fmt.Sscan(header, &name, &kind, &size); err != nil {
		return nil, fmt.Errorf("read object: %q", strings.TrimSpace(header))
	}
	var content bytes.Buffer
	if _, err := io.CopyN(&content, o.out, size); err != nil {
		return nil, fmt.Errorf("read object: %w", err)
	}
	_, err = o.out.Discard(1)
	return content.Bytes(), err
}

// versions gives the bumps of a commit that changed nothing but versions in its YAML files, else errOther.
func (c commit) versions(o *objects) ([]bump, error) {
	const most = 100 // files
	if len(c.changed) > most {
		return nil, errOther
	}
	var all []bump
	for _, ch := range c.changed {
		before, err := o.read(ch.before)
		if err != nil {
			return nil, err
		}
		after, err := o.read(ch.after)
		if err != nil {
			return nil, err
		}
		found, err := bumps(ch.file, before, after)
		if err != nil {
			return nil, errOther
		}
		all = append(all, found...)
	}
	if len(all) == 0 {
		return nil, errOther // comments alone
	}
	return all, nil
}

package tools

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Build provides every tool that Find would miss and reports on progress, a line per step. Two that run at the same
// time share the work: the second waits for the first. With nothing to do it returns at once and prints nothing.
func Build(ctx context.Context, progress io.Writer) error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	if len(missing(ctx, cache)) == 0 {
		return nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return fmt.Errorf("create the cache: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(cache, "lock"), progress)
	if err != nil {
		return err
	}
	defer unlock()
	todo := missing(ctx, cache) // again: the other may have built them
	if len(todo) == 0 {
		return nil
	}
	dir, err := sourceDir(ctx)
	if err != nil {
		return err
	}
	if err := checkSums(dir); err != nil {
		return err
	}
	if err := removeHalves(cache); err != nil {
		return err
	}
	b := builder{cache: cache, dir: dir, progress: progress}
	var takes time.Duration
	for _, t := range todo {
		takes += t.takes
	}
	fmt.Fprintf(progress, "testenv: %d of %d tools are missing in %s; building them takes up to %s on two cores, once\n",
		len(todo), len(all), cache, takes.Round(time.Minute))
	for i, t := range todo {
		b.step = fmt.Sprintf("testenv: [%d/%d] %s", i+1, len(todo), t.name)
		if err := b.provide(ctx, t); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return nil
}

func missing(ctx context.Context, cache string) []tool {
	var missing []tool
	for _, t := range all {
		if t.find(ctx, cache) == "" {
			missing = append(missing, t)
		}
	}
	return missing
}

// removeHalves deletes what a killed build left; the caller holds the lock.
func removeHalves(cache string) error {
	halves, err := filepath.Glob(filepath.Join(cache, "new-*"))
	for _, half := range halves {
		err = errors.Join(err, os.RemoveAll(half))
	}
	if err != nil {
		return fmt.Errorf("remove what a killed build left: %w", err)
	}
	return nil
}

// sourceDir is this folder in the checkout that the command was started in.
func sourceDir(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}")
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("find the module's directory: %w", withStderr(err))
	}
	return filepath.Join(strings.TrimSpace(string(out)), "internal", "testenv", "tools"), nil
}

type builder struct {
	cache, dir string
	progress   io.Writer
	step       string // starts each line
}

// provide makes the tool in a folder beside its place and renames the folder, so that a tool is there whole or not at
// all.
func (b builder) provide(ctx context.Context, t tool) error {
	tmp, err := os.MkdirTemp(b.cache, "new-")
	if err != nil {
		return fmt.Errorf("create a folder in the cache: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return fmt.Errorf("open the folder to its readers: %w", err)
	}
	start := time.Now()
	switch {
	case t.pkg != "":
		err = b.program(ctx, t, tmp)
	case t.types != nil:
		err = b.generate(ctx, t, tmp)
	default:
		err = b.copyFiles(ctx, t, tmp)
	}
	if err != nil {
		return err
	}
	to := filepath.Join(b.cache, t.name+"-"+t.key())
	if err := os.RemoveAll(to); err != nil { // an earlier folder without its program
		return fmt.Errorf("make room in the cache: %w", err)
	}
	if err := os.Rename(tmp, to); err != nil {
		return fmt.Errorf("move into the cache: %w", err)
	}
	fmt.Fprintf(b.progress, "%s: ready after %s\n", b.step, time.Since(start).Round(100*time.Millisecond))
	return nil
}

func (b builder) program(ctx context.Context, t tool, dir string) error {
	fmt.Fprintf(b.progress, "%s: building %s, up to %s with nothing compiled before\n", b.step, t.pkg, t.takes)
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"build"}, t.buildFlags()...), "-o", filepath.Join(dir, t.name), t.pkg)...)
	if t.fork == (fork{}) {
		return b.run(cmd, t)
	}
	source, err := b.module(ctx, t, t.fork.module)
	if err != nil {
		return err
	}
	if cmd.Dir, err = os.MkdirTemp(b.cache, "new-"); err != nil {
		return fmt.Errorf("create a folder in the cache: %w", err)
	}
	defer os.RemoveAll(cmd.Dir)
	if err := t.fork.copy(source, cmd.Dir); err != nil {
		return fmt.Errorf("copy module %s: %w", t.fork.module, err)
	}
	return b.run(cmd, t)
}

// copy writes the fork of a module's directory into an empty one.
func (f fork) copy(source, dir string) error {
	if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
		return err
	}
	file := filepath.Join(dir, filepath.FromSlash(f.file))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(f.content), 0o644)
}

// run runs a go command, in the tool's wrapper module unless it has a directory, and says every 15 seconds that it
// still does.
func (b builder) run(cmd *exec.Cmd, t tool) error {
	if cmd.Dir == "" {
		cmd.Dir = filepath.Join(b.dir, t.module)
	}
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	var output bytes.Buffer
	cmd.Stderr = &output
	if cmd.Stdout == nil {
		cmd.Stdout = &output
	}
	start := time.Now()
	done := make(chan error, 1)
	go func() { done <- cmd.Run() }()
	tick := time.NewTicker(15 * time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if err != nil {
				return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, output.Bytes())
			}
			return nil
		case <-tick.C:
			fmt.Fprintf(b.progress, "%s: still building, %s\n", b.step, time.Since(start).Round(time.Second))
		}
	}
}

// generate writes a folder's custom resources, as the controllers' own builds do.
func (b builder) generate(ctx context.Context, t tool, dir string) error {
	fmt.Fprintf(b.progress, "%s: generating, up to %s with nothing compiled before\n", b.step, t.takes)
	args := []string{"tool", "controller-gen", "crd"}
	for _, pkg := range t.types {
		args = append(args, "paths="+pkg)
	}
	return b.run(exec.CommandContext(ctx, "go", append(args, "output:crd:dir="+dir)...), t)
}

// copyFiles takes a folder's files from the module cache, so that running needs none.
func (b builder) copyFiles(ctx context.Context, t tool, dir string) error {
	for _, f := range t.files {
		module, glob, _ := strings.Cut(f, ":")
		source, err := b.module(ctx, t, module)
		if err != nil {
			return err
		}
		paths, err := filepath.Glob(filepath.Join(source, filepath.FromSlash(glob)))
		if err != nil || len(paths) == 0 {
			return fmt.Errorf("module %s has no files %s: %w", module, glob, errors.Join(err, os.ErrNotExist))
		}
		for _, path := range paths {
			content, err := os.ReadFile(path)
			if err != nil {
				return fmt.Errorf("read from the module cache: %w", err)
			}
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), content, 0o644); err != nil {
				return fmt.Errorf("write into the cache: %w", err)
			}
		}
	}
	return nil
}

// module is the directory in the module cache of a module that the tool's wrapper requires.
func (b builder) module(ctx context.Context, t tool, module string) (string, error) {
	if err := b.run(exec.CommandContext(ctx, "go", "mod", "download", module), t); err != nil {
		return "", err
	}
	var dir bytes.Buffer
	list := exec.CommandContext(ctx, "go", "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", module)
	list.Stdout = &dir
	if err := b.run(list, t); err != nil {
		return "", err
	}
	return strings.TrimSpace(dir.String()), nil
}

// lock holds the file's lock until unlock is called. The kernel gives it back when the holder dies.
func lock(ctx context.Context, path string, progress io.Writer) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the cache's lock: %w", err)
	}
	said := false
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("lock the cache: %w", err)
		}
		if !said {
			said = true
			fmt.Fprintln(progress, "testenv: another build is running, waiting for it")
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// withStderr adds what a program said to its exit code.
func withStderr(err error) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && len(exit.Stderr) > 0 {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
	}
	return err
}

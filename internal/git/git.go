// Package git reads the files of one commit from a remote repository, byte for byte.
//
// Nothing is ever checked out: the files come out of Git's object store. So attributes, filters, hooks, symbolic links and
// submodules of the repository, which are a stranger's, have no say in what ferry reads.
package git

import (
	"archive/zip"
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// Limits of a tree. Larger files are left out, larger trees are refused.
const (
	maxFile  = 1 << 20  // bytes of one file
	maxYAML  = 8 << 20  // bytes of one file of YAML or JSON: bundles of CustomResourceDefinitions have some
	maxTotal = 64 << 20 // bytes of all files
	maxFiles = 20_000
)

const (
	kept         = 4               // trees in memory
	fetchTimeout = 2 * time.Minute // a fetch that others may wait for too, whoever began it
	maxFetches   = 100             // into one object store, before it starts anew: nothing is pruned in between
	maxStore     = 256 << 20       // bytes of one object store, before it starts anew
	killDelay    = 5 * time.Second // between ending a process and closing its pipes
	maxMessage   = 4 << 10         // bytes kept of what git writes to standard error
)

// Trees fetches trees and keeps the newest few. It is safe for concurrent use. Make one with New.
type Trees struct {
	program string // git's absolute path; empty: there is none
	home    string // private directory: object stores, and HOME of git
	lock    *os.File
	stop    context.CancelFunc
	running context.Context // ends with Close
	fetches singleflight.Group
	largest int64 // bytes of one object store

	mu     sync.Mutex
	recent []tree // last used last
	stores map[string]*store
}

type tree struct {
	key   string
	files fs.FS
}

// A store is a bare repository for one remote. Git locks parts of it, so one fetch at a time.
type store struct {
	mu      sync.Mutex
	dir     string
	fetches int
}

const prefix = "ferry-git-"

// New makes a Trees with a private directory below dir, or below the system's temporary directory if dir is empty.
// Close removes it. What processes left behind that were killed is removed too.
//
// The program git is looked for in PATH now, and never again: the process may empty PATH afterwards.
func New(dir string) (*Trees, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	sweep(dir)
	home, lock, err := private(dir)
	if err != nil {
		return nil, fmt.Errorf("make directory for git: %w", err)
	}
	program, err := exec.LookPath("git")
	if err == nil {
		program, err = filepath.Abs(program)
	}
	if err != nil {
		program = "" // which is told when it is needed
	}
	running, stop := context.WithCancel(context.Background())
	return &Trees{program: program, largest: maxStore, home: home, lock: lock, running: running, stop: stop, stores: map[string]*store{}}, nil
}

// private makes a directory and locks it. The lock ends with the process, however that ends.
func private(dir string) (string, *os.File, error) {
	for {
		home, err := os.MkdirTemp(dir, prefix)
		if err != nil {
			return "", nil, err
		}
		lock, err := os.Open(home)
		if errors.Is(err, fs.ErrNotExist) {
			continue // swept by another process before it was locked
		}
		if err != nil {
			return "", nil, err
		}
		if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
			return "", nil, errors.Join(err, lock.Close())
		}
		if _, err := os.Stat(home); err == nil {
			return home, lock, nil
		}
		lock.Close()
	}
}

// sweep removes directories that nobody holds a lock on. It does what it can: they are a waste of space, no fault.
func sweep(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		left := filepath.Join(dir, e.Name())
		lock, err := os.Open(left)
		if err != nil {
			continue
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(left)
		}
		lock.Close()
	}
}

// Close ends what is under way and removes all files.
func (t *Trees) Close() error {
	t.stop()
	t.mu.Lock()
	stores := t.stores
	t.stores, t.recent = map[string]*store{}, nil
	t.mu.Unlock()
	for _, s := range stores { // wait for git to end: it would write on
		s.mu.Lock()
		defer s.mu.Unlock()
	}
	if err := errors.Join(os.RemoveAll(t.home), t.lock.Close()); err != nil {
		return fmt.Errorf("remove git's directory: %w", err)
	}
	return nil
}

// Tree returns the regular files of a commit, named by its whole hexadecimal id, in the repository at an http or https
// URL. Symbolic links, submodules, files over 1 MiB, or 8 MiB of YAML or JSON, and names that are no valid fs.FS paths are not in it.
//
// header is a whole HTTP header, "Authorization: Basic …", or empty; it goes to that URL only, never into an argument or
// a file. Callers that ask for the same commit with the same header share one fetch, and ctx ends only the wait for it.
func (t *Trees) Tree(ctx context.Context, remote, header, sha string) (fs.FS, error) {
	if err := check(remote, header, sha); err != nil {
		return nil, err
	}
	// Whoever has no right to a commit does not get it from what others fetched.
	key := fmt.Sprintf("%s %s %x", remote, sha, sha256.Sum256([]byte(header)))
	if files := t.cached(key); files != nil {
		return files, nil
	}
	result := t.fetches.DoChan(key, func() (any, error) {
		if files := t.cached(key); files != nil {
			return files, nil
		}
		ctx, cancel := context.WithTimeout(t.running, fetchTimeout)
		defer cancel()
		files, err := t.fetch(ctx, remote, header, sha)
		if err != nil {
			return nil, err
		}
		t.keep(key, files)
		return files, nil
	})
	select {
	case <-ctx.Done():
		return nil, &gitops.Refusal{Code: gitops.Unreachable, Reason: fmt.Sprintf("The files of %s did not arrive in time. Try again.", remote), Cause: ctx.Err()}
	case r := <-result:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(fs.FS), nil
	}
}

// Local returns the files of a commit of a repository on this machine, by its git directory. The same are left out as
// by Tree. The program git is looked for in PATH.
func Local(ctx context.Context, dir, sha string) (fs.FS, error) {
	if !gitops.ValidCommit(sha) {
		return nil, fmt.Errorf("read %s: %q is not a whole commit id", dir, sha)
	}
	program, err := exec.LookPath("git")
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", dir, err)
	}
	g := command{program: program, home: dir, dir: dir}
	entries, large, err := list(ctx, g, sha)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", dir, err)
	}
	return read(ctx, g, entries, large)
}

func check(remote, header, sha string) error {
	if !gitops.ValidCommit(sha) {
		return fmt.Errorf("fetch from %q: %q is not a whole commit id", remote, sha)
	}
	u, err := url.Parse(remote)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("fetch %s: remote is not a plain http or https URL", sha) // it may hold a password: not shown
	}
	if strings.ContainsAny(header, "\r\n\x00") || (header != "" && !strings.Contains(header, ": ")) {
		return fmt.Errorf("fetch from %q: malformed header", remote)
	}
	return nil
}

func (t *Trees) cached(key string) fs.FS {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.recent, func(x tree) bool { return x.key == key })
	if i < 0 {
		return nil
	}
	found := t.recent[i]
	t.recent = append(slices.Delete(t.recent, i, i+1), found)
	return found.files
}

func (t *Trees) keep(key string, files fs.FS) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.recent = append(t.recent, tree{key, files})
	if len(t.recent) > kept {
		t.recent = slices.Delete(t.recent, 0, len(t.recent)-kept)
	}
}

// fetch brings one commit without its history into the remote's store and reads its files.
func (t *Trees) fetch(ctx context.Context, remote, header, sha string) (files fs.FS, err error) {
	format := "sha1"
	if len(sha) == 64 {
		format = "sha256"
	}
	s := t.store(remote, format)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := t.running.Err(); err != nil {
		return nil, fmt.Errorf("fetch from %s: %w", remote, err)
	}

	defer func() {
		// A git that was killed leaves locks behind, which would fail all that follow.
		if err != nil || s.fetches >= maxFetches || size(s.dir) > t.largest {
			s.fetches = 0
			_ = os.RemoveAll(s.dir) // tried again before the next fetch
		}
	}()
	g := command{program: t.program, home: t.home, dir: s.dir, header: header}
	if s.fetches == 0 {
		if err := os.RemoveAll(s.dir); err != nil {
			return nil, fmt.Errorf("remove git's objects: %w", err)
		}
		if err := g.run(ctx, nil, nil, "init", "--quiet", "--bare", "--template=", "--object-format="+format, s.dir); err != nil {
			return nil, refuse(ctx, remote, sha, err)
		}
	}
	config, err := os.ReadFile(filepath.Join(s.dir, "config"))
	if err != nil {
		return nil, fmt.Errorf("read git's configuration: %w", err)
	}
	s.fetches++
	// The reference makes git offer what it has already when it fetches again. A server that cannot filter sends all.
	err = g.run(ctx, nil, nil, "fetch", "--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance",
		"--no-recurse-submodules", fmt.Sprintf("--filter=blob:limit=%d", maxYAML+1), "--", remote, "+"+sha+":refs/heads/tree")
	if err != nil {
		return nil, refuse(ctx, remote, sha, err)
	}
	// The filter made git note that it may fetch what is missing whenever something asks for it: take the note back.
	if err := os.WriteFile(filepath.Join(s.dir, "config"), config, 0o600); err != nil {
		return nil, fmt.Errorf("write git's configuration: %w", err)
	}
	g.header = "" // reading needs no network

	entries, large, err := list(ctx, g, sha)
	if err != nil {
		return nil, refuse(ctx, remote, sha, err)
	}
	files, err = read(ctx, g, entries, large)
	if err != nil {
		return nil, refuse(ctx, remote, sha, err)
	}
	return files, nil
}

func (t *Trees) store(remote, format string) *store {
	sum := sha256.Sum256([]byte(format + " " + remote))
	name := hex.EncodeToString(sum[:])
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.stores[name]
	if s == nil {
		s = &store{dir: filepath.Join(t.home, name)}
		t.stores[name] = s
	}
	return s
}

// size is that of the files below a directory, in bytes, as far as it can be read.
func size(dir string) int64 {
	var total int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // git moves its files about
		}
		if about, err := d.Info(); err == nil && about.Mode().IsRegular() {
			total += about.Size()
		}
		return nil
	})
	return total
}

// An entry is a blob of a tree.
type entry struct {
	object string
	size   int64
	path   string
}

// list reads git ls-tree's lines, "MODE TYPE OBJECT SIZE<tab>PATH<nul>", and returns what ferry takes, and the manifests that
// are left out because of their size. The size of a file that is too large to have been fetched is "BAD".
func list(ctx context.Context, g command, sha string) (entries []entry, large []string, err error) {
	var total int64
	err = g.run(ctx, nil, func(out *bufio.Reader) error {
		for {
			line, err := out.ReadString(0)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			about, path, ok := strings.Cut(strings.TrimSuffix(line, "\x00"), "\t")
			fields := strings.Fields(about)
			if !ok || len(fields) != 4 {
				return errors.New("git ls-tree: unexpected line")
			}
			// zip.Reader takes a backslash for a slash.
			if (fields[0] != "100644" && fields[0] != "100755") || !fs.ValidPath(path) || strings.Contains(path, `\`) {
				continue
			}
			if fields[3] == "BAD" {
				large = appendManifest(large, path)
				continue
			}
			size, err := strconv.ParseInt(fields[3], 10, 64)
			if err != nil {
				return fmt.Errorf("git ls-tree: size of a file: %w", err)
			}
			if size > maxYAML || size > maxFile && !manifest(path) {
				large = appendManifest(large, path)
				continue
			}
			entries = append(entries, entry{fields[2], size, path})
			total += size
			if len(entries) > maxFiles || total > maxTotal {
				return errTooLarge
			}
		}
	}, "ls-tree", "-r", "-z", "-l", "--full-tree", sha, "--")
	return entries, large, err
}

func appendManifest(all []string, path string) []string {
	if manifest(path) && len(all) < maxFiles {
		return append(all, path)
	}
	return all
}

// A partial tree lacks manifests that are too large.
type partial struct {
	fs.FS
	large []string
}

// Large are the paths of what is left out, sorted as git does.
func (p partial) Large() []string { return p.large }

var errTooLarge = errors.New("tree over the limits")

// manifest says whether a file may be YAML or JSON by its name.
func manifest(name string) bool {
	return strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml") || strings.HasSuffix(name, ".json")
}

// read copies blobs, as git cat-file prints them, into an uncompressed archive in memory, which is an fs.FS.
func read(ctx context.Context, g command, entries []entry, large []string) (fs.FS, error) {
	var names strings.Builder
	var total int
	for _, e := range entries {
		fmt.Fprintln(&names, e.object)
		total += int(e.size)
	}
	var archive bytes.Buffer
	archive.Grow(total)
	err := g.run(ctx, strings.NewReader(names.String()), func(out *bufio.Reader) error {
		w := zip.NewWriter(&archive)
		for _, e := range entries {
			header, err := out.ReadString('\n')
			if err != nil {
				return fmt.Errorf("git cat-file: %w", err)
			}
			if header != fmt.Sprintf("%s blob %d\n", e.object, e.size) {
				return errors.New("git cat-file: unexpected object")
			}
			file, err := w.CreateHeader(&zip.FileHeader{Name: e.path, Method: zip.Store})
			if err != nil {
				return fmt.Errorf("keep a file of the tree: %w", err)
			}
			if _, err := io.CopyN(file, out, e.size); err != nil {
				return fmt.Errorf("git cat-file: %w", err)
			}
			if _, err := out.Discard(1); err != nil { // the line end behind each object
				return fmt.Errorf("git cat-file: %w", err)
			}
		}
		return w.Close()
	}, "cat-file", "--batch")
	if err != nil {
		return nil, err
	}
	files, err := zip.NewReader(bytes.NewReader(archive.Bytes()), int64(archive.Len()))
	if err != nil || len(large) == 0 {
		return files, err
	}
	return partial{files, large}, nil
}

// A command runs git with nothing from the surroundings but the network's proxy. git finds its own programs beside itself.
type command struct {
	program, home, dir, header string
}

// failure is a git process that failed, with what it wrote, credentials removed.
type failure struct {
	verb, message string
	err           error
}

func (f *failure) Error() string { return fmt.Sprintf("git %s: %v: %s", f.verb, f.err, f.message) }
func (f *failure) Unwrap() error { return f.err }

// run starts git, gives it in, and has consume read its output to the end. An error of consume ends git.
func (g command) run(ctx context.Context, in io.Reader, consume func(*bufio.Reader) error, args ...string) error {
	if g.program == "" {
		return exec.ErrNotFound
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, g.program, args...)
	cmd.Dir, cmd.Env, cmd.Stdin = g.home, g.environment(), in
	// git starts helpers for the network: end the whole group.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = killDelay
	stderr := &head{}
	cmd.Stderr = stderr

	failed := func(err error) error {
		return &failure{args[0], g.scrub(strings.TrimSpace(stderr.String())), err}
	}
	if consume == nil {
		if err := cmd.Run(); err != nil {
			return failed(cmp.Or(ctx.Err(), err))
		}
		return nil
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start git: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return failed(err)
	}
	consumed := consume(bufio.NewReaderSize(out, 64<<10))
	if consumed != nil {
		cancel()
	}
	err = cmd.Wait()
	switch {
	case errors.Is(consumed, errTooLarge):
		return consumed
	case err != nil || consumed != nil:
		return failed(errors.Join(consumed, err))
	}
	return nil
}

// environment keeps the machine's and the user's configuration out. The credential is here because arguments can be
// seen by everybody on the machine.
func (g command) environment() []string {
	env := []string{
		"HOME=" + g.home, "XDG_CONFIG_HOME=" + g.home, "LC_ALL=C",
		"GIT_DIR=" + g.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL=http:https", "GIT_NO_REPLACE_OBJECTS=1", "GIT_NO_LAZY_FETCH=1",
		"PATH=" + filepath.Dir(g.program),
	}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	if file := os.Getenv("SSL_CERT_FILE"); file != "" { // where git's own library does not look, but Go does
		env = append(env, "GIT_SSL_CAINFO="+file)
	}
	config := [][2]string{
		{"http.followRedirects", "false"}, // the header would go along
		{"http.lowSpeedLimit", "1000"},    // bytes a second …
		{"http.lowSpeedTime", "30"},       // … for so many seconds end a transfer
		{"credential.helper", ""},
		{"core.hooksPath", os.DevNull},
	}
	if g.header != "" {
		config = append(config, [2]string{"http.extraHeader", g.header})
	}
	env = append(env, "GIT_CONFIG_COUNT="+strconv.Itoa(len(config)))
	for i, c := range config {
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, c[0]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, c[1]))
	}
	return env
}

// scrub takes the credential out of git's words: the header, its value, and each part of the value.
func (g command) scrub(message string) string {
	_, value, _ := strings.Cut(g.header, ": ")
	for _, secret := range append([]string{g.header, value}, strings.Fields(value)...) {
		if len(secret) > len("Bearer") {
			message = strings.ReplaceAll(message, secret, "[hidden]")
		}
	}
	return message
}

// head keeps the beginning of what is written to it.
type head struct{ bytes.Buffer }

func (h *head) Write(p []byte) (int, error) {
	h.Buffer.Write(p[:min(len(p), max(0, maxMessage-h.Len()))])
	return len(p), nil
}

// refuse words a failure for people. Git has no codes for its failures: the words are those of Git 2.30 to 2.50 in the
// C locale, and of curl below it.
func refuse(ctx context.Context, remote, sha string, err error) error {
	if errors.Is(err, errTooLarge) {
		return &gitops.Refusal{Code: gitops.Layout, Reason: fmt.Sprintf(
			"%s is too large for ferry: it reads repositories of up to %d files and %d MiB. Move the manifests to a repository of their own.",
			remote, maxFiles, maxTotal>>20)}
	}
	if errors.Is(err, exec.ErrNotFound) {
		return &gitops.Refusal{Code: gitops.Config, Reason: "ferry needs the program git where it runs, and did not find it. Install it there and start ferry again.", Cause: err}
	}
	var f *failure
	if !errors.As(err, &f) {
		return fmt.Errorf("read %s of %s: %w", sha, remote, err)
	}
	says := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(f.message, w) })
	}
	refusal := &gitops.Refusal{Code: gitops.Unreachable, Cause: err}
	switch {
	case ctx.Err() != nil:
		refusal.Reason = fmt.Sprintf("The files of %s did not arrive in time. Try again.", remote)
	case f.verb != "fetch":
		return fmt.Errorf("read %s of %s: %w", sha, remote, err)
	case says("not our ref", "couldn't find remote ref", "no such remote ref"):
		refusal.Code = gitops.NotFound
		refusal.Reason = fmt.Sprintf("%s has no commit %s any more. Try again.", remote, sha)
	case says("Authentication failed", "could not read Username", "returned error: 401", "returned error: 403"):
		refusal.Code = gitops.Denied
		refusal.Reason = fmt.Sprintf("%s does not let ferry read. Check the token that github.auth in ferry's configuration names: it needs read access to the repository's contents.", remote)
	case says("not found", "returned error: 404"):
		refusal.Code = gitops.NotFound
		refusal.Reason = fmt.Sprintf("There is no repository at %s, or ferry's token may not see it.", remote)
	case says("redirect", "returned error: 301", "returned error: 302", "returned error: 307", "returned error: 308"):
		refusal.Code = gitops.Config
		refusal.Reason = fmt.Sprintf("The repository at %s has moved. Put its new name into ferry's configuration.", remote)
	default:
		refusal.Reason = fmt.Sprintf("The files of %s could not be fetched. Try again in a moment.", remote)
	}
	return refusal
}

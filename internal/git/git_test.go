package git_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/git"
	"github.com/ferry-chatops/ferry/internal/gitops"
)

const header = "Authorization: Basic c2VjcmV0LXRva2Vu"

// A remote serves bare repositories over Git's smart HTTP protocol.
type remote struct {
	*httptest.Server
	dir     string
	fetches atomic.Int32                                                      // packs asked for
	before  atomic.Pointer[func(w http.ResponseWriter, r *http.Request) bool] // true: it has answered
}

func serve(t *testing.T) *remote {
	t.Helper()
	r := &remote{dir: t.TempDir()}
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := &cgi.Handler{
		Path:   filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"),
		Env:    []string{"GIT_PROJECT_ROOT=" + r.dir, "GIT_HTTP_EXPORT_ALL=1"},
		Stderr: t.Output(),
	}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if before := r.before.Load(); before != nil && (*before)(w, req) {
			return
		}
		if got := req.Header.Get("Authorization"); got != strings.TrimPrefix(header, "Authorization: ") {
			w.Header().Set("WWW-Authenticate", "Basic")
			http.Error(w, "token "+got+" is bad", http.StatusUnauthorized)
			return
		}
		if strings.HasSuffix(req.URL.Path, "/git-upload-pack") {
			r.fetches.Add(1)
		}
		if protocol := req.Header.Get("Git-Protocol"); protocol != "" {
			h := *backend
			h.Env = append(slices.Clone(h.Env), "GIT_PROTOCOL="+protocol)
			h.ServeHTTP(w, req)
			return
		}
		backend.ServeHTTP(w, req)
	}))
	t.Cleanup(r.Close)
	r.git(t, nil, "init", "--quiet", "--bare", "fleet.git")
	r.git(t, nil, "-C", "fleet.git", "config", "uploadpack.allowFilter", "true") // as GitHub does
	return r
}

func (r *remote) url() string { return r.URL + "/fleet.git" }

func (r *remote) git(t *testing.T, in []byte, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Stdin = r.dir, bytes.NewReader(in)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// blob is one entry of a tree, written without Git's checks of names.
type blob struct{ mode, path, content string }

// commit writes a tree of nested directories and commits it on main.
func (r *remote) commit(t *testing.T, blobs ...blob) string {
	t.Helper()
	repo := filepath.Join(r.dir, "fleet.git")
	objects := map[string]string{} // by content
	var write func(prefix string) string
	write = func(prefix string) string {
		var lines bytes.Buffer
		done := map[string]bool{}
		for _, b := range blobs {
			rest, ok := strings.CutPrefix(b.path, prefix)
			if !ok {
				continue
			}
			name, _, nested := strings.Cut(rest, "/")
			switch {
			case done[name]:
			case nested:
				fmt.Fprintf(&lines, "040000 tree %s\t%s\x00", write(prefix+name+"/"), name)
			case b.mode == "160000":
				fmt.Fprintf(&lines, "160000 commit %s\t%s\x00", strings.Repeat("1", 40), name)
			default:
				if objects[b.content] == "" {
					objects[b.content] = r.git(t, []byte(b.content), "-C", repo, "hash-object", "-w", "--stdin", "--no-filters")
				}
				fmt.Fprintf(&lines, "%s blob %s\t%s\x00", b.mode, objects[b.content], name)
			}
			done[name] = true
		}
		return r.git(t, lines.Bytes(), "-C", repo, "mktree", "-z", "--missing")
	}
	sha := r.git(t, nil, "-C", repo, "commit-tree", "-m", "change", write(""))
	r.git(t, nil, "-C", repo, "update-ref", "refs/heads/main", sha)
	return sha
}

func trees(t *testing.T) *git.Trees {
	t.Helper()
	trees, err := git.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := trees.Close(); err != nil {
			t.Error(err)
		}
	})
	return trees
}

func files(t *testing.T, tree fs.FS) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !d.Type().IsRegular() {
			t.Errorf("%s is no regular file: %v", path, d.Type())
		}
		content, err := fs.ReadFile(tree, path)
		all[path] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTreeHasExactlyTheBytesOfRegularFiles(t *testing.T) {
	r := serve(t)
	large, largest := strings.Repeat("x", 1<<20+1), strings.Repeat("y", 1<<20)
	bundle := strings.Repeat("z: 0\n", (8<<20)/5)
	sha := r.commit(t,
		blob{"100644", ".gitattributes", "*.yaml text eol=crlf ident filter=lfs\nsecret.yaml export-ignore\nsubst.yaml export-subst\n"},
		blob{"100644", "apps/prod/podinfo.yaml", "a: 1\r\nb: $Id$\n"},
		blob{"100755", "apps/run.sh", "#!/bin/sh\n"},
		blob{"100644", "secret.yaml", "still: here\n"},
		blob{"100644", "subst.yaml", "commit: $Format:%H$\n"},
		blob{"100644", "empty.yaml", ""},
		blob{"100644", "ünïcode name.yaml", "\x00\xff binary"},
		blob{"100644", "line\nbreak.yaml", "odd: name\n"},
		blob{"100644", "-rf", "looks like an option\n"},
		blob{"100644", "largest.png", largest},
		blob{"100644", "large.png", large},
		blob{"100644", "bundle.yaml", bundle},
		blob{"100644", "larger.yaml", bundle + "a: 1\n"},
		blob{"120000", "link.yaml", "/etc/passwd"},
		blob{"120000", "apps/up", "../../.."},
		blob{"160000", "module", ""},
		blob{"100644", "../escape.yaml", "no\n"},
		blob{"100644", "apps/../../escape.yaml", "no\n"},
		blob{"100644", `apps\prod\podinfo.yaml`, "not: a path\n"},
		blob{"100644", "not\xffutf8.yaml", "no\n"},
	)
	tree, err := trees(t).Tree(t.Context(), r.url(), header, sha)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		".gitattributes":         "*.yaml text eol=crlf ident filter=lfs\nsecret.yaml export-ignore\nsubst.yaml export-subst\n",
		"apps/prod/podinfo.yaml": "a: 1\r\nb: $Id$\n",
		"apps/run.sh":            "#!/bin/sh\n",
		"secret.yaml":            "still: here\n",
		"subst.yaml":             "commit: $Format:%H$\n",
		"empty.yaml":             "",
		"ünïcode name.yaml":      "\x00\xff binary",
		"line\nbreak.yaml":       "odd: name\n",
		"-rf":                    "looks like an option\n",
		"largest.png":            largest,
		"bundle.yaml":            bundle,
	}
	if diff := cmp.Diff(want, files(t, tree)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if err := fstest.TestFS(tree, "apps/prod/podinfo.yaml", "secret.yaml"); err != nil {
		t.Error(err)
	}
	local, err := git.Local(t.Context(), filepath.Join(r.dir, "fleet.git"), sha)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, files(t, local)); diff != "" {
		t.Errorf("of the repository on this machine: -want +got:\n%s", diff)
	}
}

func TestLocalNeedsACommit(t *testing.T) {
	r := serve(t)
	for _, sha := range []string{"main", "--all", strings.Repeat("1", 40)} {
		if _, err := git.Local(t.Context(), filepath.Join(r.dir, "fleet.git"), sha); err == nil {
			t.Errorf("%s is read", sha)
		}
	}
}

func TestHistoryAndUpdates(t *testing.T) {
	r, cache := serve(t), trees(t)
	old := r.commit(t, blob{"100644", "a.yaml", "1"}, blob{"100644", "b.yaml", "same"})
	first, err := cache.Tree(t.Context(), r.url(), header, old)
	if err != nil {
		t.Fatal(err)
	}
	newer := r.commit(t, blob{"100644", "a.yaml", "2"}, blob{"100644", "b.yaml", "same"})
	second, err := cache.Tree(t.Context(), r.url(), header, newer)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a.yaml": "1", "b.yaml": "same"}, files(t, first)); diff != "" {
		t.Errorf("old -want +got:\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"a.yaml": "2", "b.yaml": "same"}, files(t, second)); diff != "" {
		t.Errorf("new -want +got:\n%s", diff)
	}
}

// TestWhatAFailedFetchLeavesIsNoHindrance: a git that is killed leaves its locks behind, before and after a good fetch.
func TestWhatAFailedFetchLeavesIsNoHindrance(t *testing.T) {
	r, dir := serve(t), t.TempDir()
	cache, err := git.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cache.Close(); err != nil {
			t.Error(err)
		}
	})
	fail := func(http.ResponseWriter, *http.Request) bool {
		stores, err := filepath.Glob(filepath.Join(dir, "*", "*", "objects"))
		if err != nil || len(stores) != 1 {
			t.Errorf("stores %q, %v", stores, err)
			return false
		}
		if err := os.WriteFile(filepath.Join(filepath.Dir(stores[0]), "shallow.lock"), nil, 0o600); err != nil {
			t.Error(err)
		}
		panic(http.ErrAbortHandler)
	}
	for _, content := range []string{"1", "2"} {
		sha := r.commit(t, blob{"100644", "a.yaml", content})
		r.before.Store(&fail)
		_, err := cache.Tree(t.Context(), r.url(), header, sha)
		if refusal, ok := errors.AsType[*gitops.Refusal](err); !ok || refusal.Code != gitops.Unreachable {
			t.Errorf("a connection that breaks: %v", err)
		}
		r.before.Store(nil)
		tree, err := cache.Tree(t.Context(), r.url(), header, sha)
		if err != nil {
			t.Fatalf("after it: %v", err)
		}
		if diff := cmp.Diff(map[string]string{"a.yaml": content}, files(t, tree)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

// TestLargeFilesStayWhereTheyAre: a stranger's repository may hold anything, and ferry's disk is small.
func TestLargeFilesStayWhereTheyAre(t *testing.T) {
	for name, filters := range map[string]string{"filter": "true", "no filter": "false"} {
		t.Run(name, func(t *testing.T) {
			r, dir := serve(t), t.TempDir()
			r.git(t, nil, "-C", "fleet.git", "config", "uploadpack.allowFilter", filters)
			cache, err := git.New(dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { cache.Close() })
			noise := make([]byte, 10<<20)
			rand.Read(noise)                                                                       //nolint:errcheck // documented never to fail
			small, large, largest := string(noise[:1<<20-8]), string(noise[:1<<20]), string(noise) // by what is taken; the last by what is fetched
			for _, step := range []struct{ shrinks, grows, want string }{
				{largest, small, small},
				{large, largest, ""}, // in few bytes on the wire, made of what was left out
				{small, large, large},
			} {
				sha := r.commit(t, blob{"100644", "shrinks.bin", step.shrinks}, blob{"100644", "grows.bin", step.grows}, blob{"100644", "a.yaml", "a: 1"})
				r.git(t, nil, "-C", "fleet.git", "repack", "-adq", "--window=50")
				r.fetches.Store(0)
				tree, err := cache.Tree(t.Context(), r.url(), header, sha)
				if err != nil {
					t.Fatal(err)
				}
				if asked := r.fetches.Load(); asked > 2 { // one for what there is, one for the pack
					t.Errorf("%d requests: git fetched what it had left out", asked)
				}
				want := map[string]string{"a.yaml": "a: 1"}
				for name, content := range map[string]string{"shrinks.bin": step.shrinks, "grows.bin": step.grows} {
					if len(content) <= 1<<20 {
						want[name] = content
					}
				}
				if got := files(t, tree); !maps.Equal(want, got) {
					t.Errorf("got %d files, want %d", len(got), len(want))
				}
			}
			if used := used(t, dir); filters == "true" && used > 7<<19 {
				t.Errorf("%d KB on disk", used>>10)
			}
		})
	}
}

// used is the size of all files below a directory, in bytes.
func used(t *testing.T, dir string) int64 {
	t.Helper()
	var total int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		about, err := d.Info()
		if err == nil && !d.IsDir() {
			total += about.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

func TestAStoreThatGrowsTooLargeStartsAnew(t *testing.T) {
	r, dir := serve(t), t.TempDir()
	cache, err := git.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close() })
	cache.LimitStores(2 << 20)
	noise := make([]byte, 1<<20)
	for i := range 4 {
		rand.Read(noise) //nolint:errcheck // documented never to fail
		sha := r.commit(t, blob{"100644", "a.bin", string(noise)})
		tree, err := cache.Tree(t.Context(), r.url(), header, sha)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]string{"a.bin": string(noise)}, files(t, tree)); diff != "" {
			t.Errorf("tree %d differs", i)
		}
		if used := used(t, dir); used > 2<<20 {
			t.Errorf("%d KB on disk after tree %d", used>>10, i)
		}
	}
}

// TestGitIsFoundOnce: a process that empties PATH runs nothing but git.
func TestGitIsFoundOnce(t *testing.T) {
	r, cache := serve(t), trees(t)
	sha := r.commit(t, blob{"100644", "a.yaml", "1"})
	t.Setenv("PATH", "")
	tree, err := cache.Tree(t.Context(), r.url(), header, sha)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a.yaml": "1"}, files(t, tree)); diff != "" {
		t.Error(diff)
	}
}

func TestOneFetchForManyCallers(t *testing.T) {
	r, cache := serve(t), trees(t)
	var alone int32
	for _, content := range []string{"1", "2"} { // the second one tells the server what is there, in a request more
		sha := r.commit(t, blob{"100644", "a.yaml", content})
		if _, err := cache.Tree(t.Context(), r.url(), header, sha); err != nil {
			t.Fatal(err)
		}
		alone = r.fetches.Swap(0)
	}

	sha := r.commit(t, blob{"100644", "a.yaml", "3"})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := cache.Tree(t.Context(), r.url(), header, sha); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := r.fetches.Load(); got != alone {
		t.Errorf("10 callers made %d requests, one makes %d", got, alone)
	}
}

func TestWhatOthersFetchedIsNotForEverybody(t *testing.T) {
	r, cache := serve(t), trees(t)
	sha := r.commit(t, blob{"100644", "a.yaml", "1"})
	if _, err := cache.Tree(t.Context(), r.url(), header, sha); err != nil {
		t.Fatal(err)
	}
	_, err := cache.Tree(t.Context(), r.url(), "Authorization: Basic d3Jvbmc=", sha)
	if refusal, ok := errors.AsType[*gitops.Refusal](err); !ok || refusal.Code != gitops.Denied {
		t.Errorf("with a wrong token: %v", err)
	}
	if _, err := cache.Tree(t.Context(), r.url(), header, sha); err != nil {
		t.Errorf("with the right one again: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	r := serve(t)
	sha := r.commit(t, blob{"100644", "a.yaml", "1"})
	var many []blob
	for i := range 65 {
		many = append(many, blob{"100644", fmt.Sprintf("%d.bin", i), strings.Repeat("z", 1<<20)})
	}
	large := r.commit(t, many...)
	many = nil
	for i := range 20_001 {
		many = append(many, blob{"100644", fmt.Sprintf("%d.yaml", i), ""})
	}
	full := r.commit(t, many...)

	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the redirect was followed")
	}))
	t.Cleanup(elsewhere.Close)

	for name, test := range map[string]struct {
		url, header, sha string
		before           func(http.ResponseWriter, *http.Request) bool
		code             gitops.Code
	}{
		"token rejected": {r.url(), "Authorization: Basic d3Jvbmctc2VjcmV0", sha, nil, gitops.Denied},
		"no token":       {r.url(), "", sha, nil, gitops.Denied},
		"no commit":      {r.url(), header, strings.Repeat("0", 39) + "1", nil, gitops.NotFound},
		"no repository":  {r.URL + "/other.git", header, sha, nil, gitops.NotFound},
		"too large":      {r.url(), header, large, nil, gitops.Layout},
		"too many":       {r.url(), header, full, nil, gitops.Layout},
		"nobody there":   {"http://127.0.0.1:1/fleet.git", header, sha, nil, gitops.Unreachable},
		"server error":   {r.url(), header, sha, func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(502); return true }, gitops.Unreachable},
		"moved elsewhere": {r.url(), header, sha, func(w http.ResponseWriter, req *http.Request) bool {
			http.Redirect(w, req, elsewhere.URL+req.URL.Path, http.StatusMovedPermanently)
			return true
		}, gitops.Config},
	} {
		t.Run(name, func(t *testing.T) {
			r.before.Store(nil)
			if test.before != nil {
				r.before.Store(&test.before)
			}
			_, err := trees(t).Tree(t.Context(), test.url, test.header, test.sha)
			refusal, ok := errors.AsType[*gitops.Refusal](err)
			if !ok {
				t.Fatalf("not a refusal: %v", err)
			}
			if refusal.Code != test.code {
				t.Errorf("code %s, want %s: %v", refusal.Code, test.code, err)
			}
			for _, secret := range []string{"d3Jvbmctc2VjcmV0", "c2VjcmV0LXRva2Vu"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error shows the credential: %v", err)
				}
			}
		})
	}
}

func TestNothingIsRunForBadNames(t *testing.T) {
	t.Setenv("PATH", "") // there is no git to run
	sha := strings.Repeat("a", 40)
	for _, test := range []struct{ url, header, sha string }{
		{"http://127.0.0.1:1/x.git", header, "main"},
		{"http://127.0.0.1:1/x.git", header, "--upload-pack=touch"},
		{"http://127.0.0.1:1/x.git", header, sha[:39]},
		{"http://127.0.0.1:1/x.git", header, strings.ToUpper(sha)},
		{"http://127.0.0.1:1/x.git", header, sha + "\n"},
		{"http://127.0.0.1:1/x.git", "Authorization: x\r\nHost: y", sha},
		{"http://user:password@127.0.0.1:1/x.git", header, sha},
		{"ext::sh -c touch", header, sha},
		{"file:///etc", header, sha},
		{"--upload-pack=touch", header, sha},
	} {
		_, err := trees(t).Tree(t.Context(), test.url, test.header, test.sha)
		if _, ran := errors.AsType[*gitops.Refusal](err); err == nil || ran {
			t.Errorf("%q %q %q: %v", test.url, test.header, test.sha, err)
		} else if strings.Contains(err.Error(), "password") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
	_, err := trees(t).Tree(t.Context(), "http://127.0.0.1:1/x.git", header, sha)
	if refusal, ok := errors.AsType[*gitops.Refusal](err); !ok || refusal.Code != gitops.Config {
		t.Errorf("without git: %v", err)
	}
}

func TestCloseEndsAFetchAndLeavesNothing(t *testing.T) {
	r, dir := serve(t), t.TempDir()
	sha := r.commit(t, blob{"100644", "a.yaml", "1"})
	asked, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	hold := func(http.ResponseWriter, *http.Request) bool {
		once.Do(func() { close(asked) })
		<-release
		return true
	}
	r.before.Store(&hold)
	t.Cleanup(func() { close(release) })
	cache, err := git.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() {
		_, err := cache.Tree(t.Context(), r.url(), header, sha)
		result <- err
	}()
	<-asked
	if err := cache.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-result:
		if err == nil {
			t.Error("a tree came out of a closed cache")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("git was not ended")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestWhatTheKilledLeaveIsRemoved(t *testing.T) {
	r, dir := serve(t), t.TempDir()
	sha := r.commit(t, blob{"100644", "a.yaml", "1"})
	for _, name := range []string{"ferry-git-killed/store/objects", "other"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	running, err := git.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	newer, err := git.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := newer.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := running.Tree(t.Context(), r.url(), header, sha); err != nil {
		t.Errorf("the other one's directory was removed: %v", err)
	}
	if err := running.Close(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "other" {
		t.Errorf("left: %v %v", left, err)
	}
}

// The credential and the surroundings' configuration: a git that tells what it was given.
func TestWhatGitIsGiven(t *testing.T) {
	bin, told := t.TempDir(), filepath.Join(t.TempDir(), "told")
	script := "#!/bin/sh\n{ echo \"args: $*\"; /usr/bin/env; } >>" + told + "\nexit 1\n"
	if err := os.WriteFile(filepath.Join(bin, "git"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("GITHUB_TOKEN", "canary-of-the-environment")
	t.Setenv("GIT_SSH_COMMAND", "canary-command")
	dir := t.TempDir()
	cache, err := git.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close() })
	if _, err := cache.Tree(t.Context(), "http://127.0.0.1:1/x.git", header, strings.Repeat("a", 40)); err == nil {
		t.Fatal("no error")
	}
	raw, err := os.ReadFile(told)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if strings.Contains(line, "canary") {
			t.Errorf("git got %q", line)
		}
		if strings.HasPrefix(line, "args: ") && strings.Contains(line, "c2VjcmV0") {
			t.Errorf("the credential is an argument: %q", line)
		}
	}
	if !strings.Contains(string(raw), "=Authorization: Basic c2VjcmV0LXRva2Vu\n") {
		t.Errorf("git was not given the credential:\n%s", raw)
	}
}

// TestOldServers: servers that speak Git's first protocol send what one of their references points to, by its id.
func TestOldServers(t *testing.T) {
	r := serve(t)
	old := func(_ http.ResponseWriter, req *http.Request) bool {
		req.Header.Del("Git-Protocol")
		return false
	}
	r.before.Store(&old)
	sha := r.commit(t, blob{"100644", "a.yaml", "1"})
	r.git(t, nil, "-C", "fleet.git", "update-ref", "refs/pull/1/head", sha)
	r.commit(t, blob{"100644", "a.yaml", "2"})
	tree, err := trees(t).Tree(t.Context(), r.url(), header, sha)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a.yaml": "1"}, files(t, tree)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestMerge(t *testing.T) {
	cache := trees(t)
	for name, test := range map[string]struct {
		ancestor, base, head, want string
		conflict                   bool
	}{
		"both":                {ancestor: "a\nb\nc\nd\ne\n", base: "A\nb\nc\nd\ne\n", head: "a\nb\nc\nd\nE\n", want: "A\nb\nc\nd\nE\n"},
		"the same":            {ancestor: "a\n", base: "b\n", head: "b\n", want: "b\n"},
		"head alone":          {ancestor: "a\n", base: "a\n", head: "b\n", want: "b\n"},
		"base alone":          {ancestor: "a\n", base: "b\n", head: "a\n", want: "b\n"},
		"line ends":           {ancestor: "a\r\nb\r\nc\r\nd", base: "A\r\nb\r\nc\r\nd", head: "a\r\nb\r\nc\r\nD", want: "A\r\nb\r\nc\r\nD"},
		"conflict":            {ancestor: "a\n", base: "b\n", head: "c\n", conflict: true},
		"two of them":         {ancestor: "a\n1\n2\n3\n4\n5\nb\n", base: "c\n1\n2\n3\n4\n5\nd\n", head: "e\n1\n2\n3\n4\n5\nf\n", conflict: true},
		"binary":              {ancestor: "a\x00\n", base: "b\x00\n", head: "c\x00\n", conflict: true},
		"added on both sides": {base: "b\n", head: "c\n", conflict: true},
		"looks like conflict": {ancestor: "<<<<<<< x\nb\nc\nd\n", base: "<<<<<<< x\nb\nc\nD\n", head: "<<<<<<< y\nb\nc\nd\n", want: "<<<<<<< y\nb\nc\nD\n"},
	} {
		merged, ok, err := cache.Merge(t.Context(), []byte(test.ancestor), []byte(test.base), []byte(test.head))
		if err != nil || ok == test.conflict || string(merged) != test.want {
			t.Errorf("%s: %q, %t, %v", name, merged, ok, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := cache.Merge(ctx, []byte("a"), []byte("b"), []byte("c")); err == nil {
		t.Error("merged after its end")
	}
}

package tools

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSumsAreThoseOfTheWrapperModules(t *testing.T) {
	if err := checkSums("."); err != nil {
		t.Error(err)
	}
	for _, tool := range all {
		if strings.Count(sums, "  "+tool.module+"/go.") != 2 {
			t.Errorf("tools.sum lacks go.mod or go.sum of %s, which %s comes from", tool.module, tool.name)
		}
	}
}

func TestChangedWrapperModuleIsNoticed(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(".")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kwok", "go.mod"), []byte("module other\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := checkSums(dir); err == nil || !strings.Contains(err.Error(), "kwok/go.mod") || !strings.Contains(err.Error(), "go generate") {
		t.Errorf("got %v", err)
	}
}

func TestKeyDependsOnWhatDecidesTheBytes(t *testing.T) {
	base := tool{name: "a", module: "kube", pkg: "p"}
	keys := map[string]string{base.key(): "base"}
	for what, other := range map[string]tool{
		"another module":  {name: "a", module: "kwok", pkg: "p"},
		"another package": {name: "a", module: "kube", pkg: "q"},
		"other flags":     {name: "a", module: "kube", pkg: "p", ldflags: "-X a=b"},
		"a fork":          {name: "a", module: "kube", pkg: "p", fork: fork{module: "m", file: "f", content: "c"}},
		"another fork":    {name: "a", module: "kube", pkg: "p", fork: fork{module: "m", file: "f", content: "d"}},
		"a folder":        {name: "a", module: "kube", files: []string{"m:*.yaml"}},
		"another folder":  {name: "a", module: "kube", types: []string{"m/api"}},
	} {
		if same, ok := keys[other.key()]; ok {
			t.Errorf("%s has the key of %s", what, same)
		}
		keys[other.key()] = what
	}
}

// script writes an executable that prints a version.
func script(t *testing.T, path, version string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho '"+version+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestFindLooksInOrder(t *testing.T) {
	assets, cache, path := t.TempDir(), t.TempDir(), t.TempDir()
	t.Setenv("KUBEBUILDER_ASSETS", assets)
	t.Setenv("FERRY_TESTENV_CACHE", cache)
	t.Setenv("PATH", path)

	if _, err := Find(t.Context()); err == nil || !strings.Contains(err.Error(), "kube-apiserver") || !strings.Contains(err.Error(), "make testenv") {
		t.Fatalf("with nothing there: %v", err)
	}
	for _, tool := range all {
		script(t, tool.cached(cache), "")
	}
	script(t, filepath.Join(path, "kube-apiserver"), "Kubernetes v1.34.9")
	set, err := Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := set.Path("kube-apiserver"); !strings.HasPrefix(got, cache) {
		t.Errorf("%s, want the cached one before PATH's", got)
	}

	script(t, filepath.Join(assets, "kube-apiserver"), "Kubernetes v1.33.1")
	script(t, filepath.Join(assets, "etcd"), "etcd Version: 3.6.4")
	if set, err = Find(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := set.Path("kube-apiserver"); !strings.HasPrefix(got, cache) {
		t.Errorf("%s, want the cached one: KUBEBUILDER_ASSETS has another minor version", got)
	}
	if got, want := set.Path("etcd"), filepath.Join(assets, "etcd"); got != want {
		t.Errorf("%s, want %s", got, want)
	}

	if err := os.RemoveAll(filepath.Dir(all[1].cached(cache))); err != nil {
		t.Fatal(err)
	}
	if set, err = Find(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := set.Path("kube-apiserver"), filepath.Join(path, "kube-apiserver"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestBuildWithNothingToDoIsSilent(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("KUBEBUILDER_ASSETS", "")
	t.Setenv("FERRY_TESTENV_CACHE", cache)
	for _, tool := range all {
		script(t, tool.cached(cache), "")
	}
	var progress strings.Builder
	if err := Build(t.Context(), &progress); err != nil {
		t.Fatal(err)
	}
	if progress.Len() > 0 {
		t.Errorf("it said %q", &progress)
	}
}

func TestProvideIsAllOrNothing(t *testing.T) {
	dir, cache := t.TempDir(), t.TempDir()
	write(t, dir, map[string]string{
		"hello/go.mod":       "module example.com/hello\n\ngo 1.24\n",
		"hello/good/main.go": "package main\n\nfunc main() {}\n", "hello/bad/main.go": "package main\n\nfunc main() { undefined() }\n",
	})
	b := builder{cache: cache, dir: dir, progress: io.Discard}
	good := tool{name: "good", module: "hello", pkg: "example.com/hello/good"}
	if err := b.provide(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(good.cached(cache)); err != nil || info.Mode().Perm()&0o111 == 0 {
		t.Errorf("no program in the cache: %v", err)
	}
	bad := tool{name: "bad", module: "hello", pkg: "example.com/hello/bad"}
	if err := b.provide(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "undefined: undefined") {
		t.Errorf("got %v, want the compiler's words", err)
	}
	if left, err := os.ReadDir(cache); err != nil || len(left) != 1 {
		t.Errorf("the cache holds %v, %v, want the good program alone", left, err)
	}
}

// A module that lacks a file which its release build generates is built in a copy that has one.
func TestProvideBuildsFork(t *testing.T) {
	dir, cache := t.TempDir(), t.TempDir()
	write(t, dir, map[string]string{
		"wrapper/go.mod":        "module example.com/wrapper\n\ngo 1.24\n\nrequire example.com/lacks v0.0.0\n\nreplace example.com/lacks => ../lacks\n",
		"lacks/go.mod":          "module example.com/lacks\n\ngo 1.24\n",
		"lacks/program/main.go": "package main\n\nimport \"embed\"\n\n//go:embed made/*.yaml\nvar made embed.FS\n\nfunc main() { _, _ = made.ReadFile(\"made/none.yaml\") }\n",
	})
	b := builder{cache: cache, dir: dir, progress: io.Discard}
	whole := tool{name: "whole", module: "wrapper", pkg: "./program", fork: fork{module: "example.com/lacks", file: "program/made/none.yaml", content: "# none\n"}}
	if err := b.provide(t.Context(), whole); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(whole.cached(cache)); err != nil || info.Mode().Perm()&0o111 == 0 {
		t.Errorf("no program in the cache: %v", err)
	}
	elsewhere := whole
	elsewhere.fork.file = "none.yaml"
	if err := b.provide(t.Context(), elsewhere); err == nil || !strings.Contains(err.Error(), "made/*.yaml") {
		t.Errorf("got %v, want the compiler's words", err)
	}
	if left, err := os.ReadDir(cache); err != nil || len(left) != 1 {
		t.Errorf("the cache holds %v, %v, want the program alone", left, err)
	}
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var progress strings.Builder
	if _, err := lock(ctx, path, &progress); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second lock: %v", err)
	}
	if !strings.Contains(progress.String(), "waiting") {
		t.Errorf("it said %q", &progress)
	}
	unlock()
	again, err := lock(t.Context(), path, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

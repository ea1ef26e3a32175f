// Package tools locates and builds the programs that the test environment runs.
//
// The programs come from modules of their own below this folder, so that nothing of Kubernetes or Flux enters the
// product's module graph. Each is built once into a cache outside the checkout, in a folder whose name holds a hash of
// everything that decides its bytes: the wrapper module, the package, the flags, the Go version and the platform. A
// fresh clone therefore finds what an earlier one built.
package tools

import (
	"bufio"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// sums are the checksums of the wrapper modules, as sha256sum prints them. They are kept in a file because go:embed
// reaches into no other module, and a built binary has to find its cache without the checkout.
//
//go:generate sh -c "sha256sum */go.mod */go.sum > tools.sum"
//go:embed tools.sum
var sums string

// kubeVersion is what k8s.io/kubernetes is told to report; without it everything calls itself v0.0.0-master.
const kubeVersion = "v1.34.2"

const kubeFlags = "-X k8s.io/component-base/version.gitVersion=" + kubeVersion +
	" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34" +
	" -X k8s.io/client-go/pkg/version.gitVersion=" + kubeVersion

// A tool is a program, or a folder of files that a program needs.
type tool struct {
	name   string
	module string // the wrapper module, a folder beside this file

	pkg     string        // of a program
	fork    fork          // of a program that does not build from what its module holds
	ldflags string        // of a program, besides -s -w
	takes   time.Duration // of a program: to build it on two cores, nothing compiled before
	fits    string        // of a program: what `--version` of an installed one must print; empty: installed ones are not looked for

	files []string // of a folder: MODULE:GLOB
	types []string // of a folder: packages with the types that its custom resources are generated from
}

// A fork is a copy of a module with a file added that its release build generates and the published module lacks. The
// program is built inside, since Go lets nothing be laid over the module cache.
type fork struct{ module, file, content string }

// all is in the order of building: what shares the most comes together.
var all = []tool{
	// Before 3.4.25 and 3.5.8 etcd cannot report the progress of watches. kwok watches with that, so with Debian 12's
	// etcd 3.4.23 it falls back to listing, at up to 30 seconds' distance, and rollouts stand still meanwhile.
	{name: "etcd", module: "etcd", pkg: "go.etcd.io/etcd/server/v3", takes: time.Minute, fits: "etcd Version: 3.6."},
	{name: "kube-apiserver", module: "kube", pkg: "k8s.io/kubernetes/cmd/kube-apiserver", ldflags: kubeFlags, takes: 5 * time.Minute, fits: "Kubernetes v1.34."},
	{name: "kube-controller-manager", module: "kube", pkg: "k8s.io/kubernetes/cmd/kube-controller-manager", ldflags: kubeFlags, takes: 90 * time.Second, fits: "Kubernetes v1.34."},
	{name: "kube-scheduler", module: "kube", pkg: "k8s.io/kubernetes/cmd/kube-scheduler", ldflags: kubeFlags, takes: 10 * time.Second, fits: "Kubernetes v1.34."},
	{name: "kwok", module: "kwok", pkg: "sigs.k8s.io/kwok/cmd/kwok", takes: 2 * time.Minute, fits: "v0.7."},
	{name: "kustomize-controller", module: "flux", pkg: "github.com/fluxcd/kustomize-controller", takes: 4 * time.Minute},
	{name: "source-controller", module: "flux", pkg: "github.com/fluxcd/source-controller", takes: 90 * time.Second},
	{name: "helm-controller", module: "flux", pkg: "github.com/fluxcd/helm-controller", takes: 15 * time.Second},
	{
		// With its manifests it could install Flux, which nobody here asks of it.
		name: "flux", module: "fluxcli", pkg: "./cmd/flux", ldflags: "-X main.VERSION=2.7.3", takes: 3 * time.Minute, fits: "flux version 2.7.3",
		fork: fork{module: "github.com/fluxcd/flux2/v2", file: "cmd/flux/manifests/none.yaml", content: "# none\n"},
	},
	{name: "flux-crds", module: "flux", files: []string{
		"github.com/fluxcd/source-controller:config/crd/bases/*.yaml",
		"github.com/fluxcd/kustomize-controller:config/crd/bases/*.yaml",
		"github.com/fluxcd/helm-controller:config/crd/bases/*.yaml",
	}},
	{name: "flux-image-crds", module: "fluximage", takes: time.Minute, types: []string{
		"github.com/fluxcd/image-automation-controller/api/...", "github.com/fluxcd/image-reflector-controller/api/...",
	}},
	{name: "kwok-stages", module: "kwok", files: []string{"sigs.k8s.io/kwok:kustomize/stage/pod/fast/pod-*.yaml"}},
}

// Set is where the tools are.
type Set struct{ paths map[string]string }

// Path is a program's file or, for "flux-crds", "flux-image-crds" and "kwok-stages", a folder of YAML files. A name that is not in the
// set is a mistake of the caller and panics.
func (s *Set) Path(name string) string {
	path, ok := s.paths[name]
	if !ok {
		panic("testenv: no tool is called " + name)
	}
	return path
}

// Find locates all tools: programs in KUBEBUILDER_ASSETS first, then the cache, then installed programs of a fitting
// version in PATH. It builds nothing. Its error names what is missing and the command that provides it.
func Find(ctx context.Context) (*Set, error) {
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	set := &Set{paths: map[string]string{}}
	var missing []string
	for _, t := range all {
		if path := t.find(ctx, cache); path != "" {
			set.paths[t.name] = path
		} else {
			missing = append(missing, t.name)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("the test environment lacks %s: run `make testenv`", strings.Join(missing, ", "))
	}
	return set, nil
}

// find is the tool's path, or "".
func (t tool) find(ctx context.Context, cache string) string {
	if assets := os.Getenv("KUBEBUILDER_ASSETS"); assets != "" {
		if path := filepath.Join(assets, t.name); t.installed(ctx, path) {
			return path
		}
	}
	if path := t.cached(cache); exists(path) {
		return path
	}
	if path, err := exec.LookPath(t.name); err == nil && t.installed(ctx, path) {
		return path
	}
	return ""
}

// installed says whether path is a program of a version that fits.
func (t tool) installed(ctx context.Context, path string) bool {
	if t.fits == "" || !exists(path) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").CombinedOutput()
	return err == nil && strings.Contains(string(out), t.fits)
}

// cached is where the cache keeps the tool: CACHE/NAME-KEY/NAME for a program, CACHE/NAME-KEY for a folder.
func (t tool) cached(cache string) string {
	dir := filepath.Join(cache, t.name+"-"+t.key())
	if t.pkg == "" {
		return dir
	}
	return filepath.Join(dir, t.name)
}

// buildFlags never vary: another CGO_ENABLED or -trimpath would compile every dependency again.
func (t tool) buildFlags() []string {
	return []string{"-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", strings.TrimSpace("-s -w " + t.ldflags)}
}

// key stands for everything that decides the tool's bytes.
func (t tool) key() string {
	h := sha256.New()
	for line := range strings.Lines(sums) {
		if _, file, ok := parseSum(line); ok && filepath.Dir(file) == t.module {
			fmt.Fprint(h, line)
		}
	}
	if t.pkg == "" {
		fmt.Fprintln(h, t.files)
		for _, pkg := range t.types {
			fmt.Fprintln(h, pkg)
		}
	} else {
		fmt.Fprintln(h, t.pkg, t.buildFlags(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		if t.fork != (fork{}) {
			fmt.Fprintln(h, t.fork)
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// checkSums compares the embedded checksums with the wrapper modules in dir, this folder in a checkout.
func checkSums(dir string) error {
	lines := bufio.NewScanner(strings.NewReader(sums))
	for lines.Scan() {
		want, file, ok := parseSum(lines.Text())
		if !ok {
			return fmt.Errorf("tools.sum: not a checksum: %q", lines.Text())
		}
		content, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return fmt.Errorf("read a wrapper module: %w", err)
		}
		if got := sha256.Sum256(content); hex.EncodeToString(got[:]) != want {
			return fmt.Errorf("%s changed since tools.sum was written: run `go generate ./internal/testenv/tools`", file)
		}
	}
	return lines.Err()
}

// parseSum reads one line of sha256sum: the digest in hexadecimal, two spaces, the file.
func parseSum(line string) (digest, file string, ok bool) {
	digest, file, ok = strings.Cut(strings.TrimSpace(line), "  ")
	return digest, file, ok && len(digest) == hex.EncodedLen(sha256.Size)
}

// cacheDir is $FERRY_TESTENV_CACHE, else ferry-testenv in the user's cache directory.
func cacheDir() (string, error) {
	if dir := os.Getenv("FERRY_TESTENV_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the user's cache directory (or set FERRY_TESTENV_CACHE): %w", err)
	}
	return filepath.Join(dir, "ferry-testenv"), nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

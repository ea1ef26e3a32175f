// Package archtest holds ferry's architecture: which package may import which, where libraries with a weight or a meaning
// of their own may appear, and what lies at the top of the repository.
//
// It reads the sources themselves. A test that asked "go list" would be answered from the test cache after a violation
// was added, since only files that a test opens are watched.
package archtest

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/ferry-chatops/ferry/"

// arrows: the code of a folder, its subfolders included, may import these, and itself. Tests may import anything, since
// they put together what is apart. A new folder needs a line here before it compiles into anything.
var arrows = map[string][]string{
	"cmd/executor": {"internal/app"},
	"cmd/source":   {"internal/app"},
	"cmd/ferry":    {"internal/app", "internal/helm", "internal/localhost", "internal/testenv", "internal/githubtest"},

	// Wiring: it alone knows everybody.
	"internal/app": {
		"blueprints", "internal/blueprint", "internal/chatops", "internal/cluster", "internal/command", "internal/git", "internal/github",
		"internal/gitops", "internal/helm", "internal/operation", "internal/plugin", "internal/promotion", "internal/report", "internal/watch",
	},

	// Edges.
	"internal/plugin":    {"internal/chatops", "internal/watch"},
	"internal/localhost": {},
	"internal/chatops": {
		"internal/blueprint", "internal/command", "internal/gitops", "internal/operation", "internal/promotion", "internal/report", "internal/watch",
	},

	// What ferry does, through ports.
	"internal/promotion": {"internal/compare", "internal/gitops", "internal/layout", "internal/manifest", "internal/operation"},
	"internal/watch":     {"internal/gitops", "internal/operation"},
	"internal/operation": {"internal/compare", "internal/gitops", "internal/layout", "internal/manifest", "internal/render", "internal/report"},

	// Behind the ports. Adapters never import one another.
	"internal/cluster": ports,
	"internal/git":     ports,
	"internal/github":  ports,
	"internal/helm":    ports,

	// Pure. A refusal is the error that all of them share, and it lives in gitops.
	"internal/layout":    {"internal/gitops", "internal/manifest", "internal/render"},
	"internal/render":    {"internal/compare", "internal/gitops", "internal/manifest"},
	"internal/report":    {"internal/compare", "internal/gitops"},
	"internal/compare":   {"internal/gitops"},
	"internal/command":   {"internal/gitops"},
	"internal/manifest":  {"internal/gitops"},
	"internal/blueprint": {},
	"internal/gitops":    {},
	"blueprints":         {},

	// For tests and the demo.
	"internal/archtest":   {},
	"internal/githubtest": {},
	"internal/testenv":    {"internal/githubtest"},
	"internal/bench":      {"internal/gitops", "internal/localhost", "internal/manifest", "internal/operation", "internal/testenv"},
	"internal/measure":    {"internal/githubtest"},
	"internal/replay":     {"internal/git", "internal/gitops", "internal/operation"},
	"internal/pictures":   {},
}

var ports = []string{"internal/gitops", "internal/manifest", "internal/operation", "internal/promotion", "internal/render", "internal/watch"}

// libraries may be imported by these folders alone, tests aside.
var libraries = map[string][]string{
	"github.com/kubeshop/botkube":     {"internal/plugin", "internal/blueprint", "internal/chatops", "internal/localhost", "internal/measure"},
	"github.com/hashicorp/go-plugin":  {"internal/plugin", "internal/localhost", "internal/measure"},
	"github.com/hashicorp/go-getter":  {"internal/app"},
	"github.com/cli/go-gh":            {"cmd/ferry"},
	"github.com/google/go-github":     {"internal/github"},
	"github.com/bradleyfalzon":        {"internal/github"},
	"helm.sh/helm":                    {"internal/helm"},
	"github.com/getkin/kin-openapi":   {"internal/githubtest"},
	"github.com/vektah/gqlparser":     {"internal/githubtest"},
	"github.com/rogpeppe/go-internal": {"internal/testenv"},
	"github.com/google/go-cmp":        {},
	// 45 MB against 12: only the module of internal/hosttest has these.
	"github.com/kubeshop/botkube/pkg/bot":    {},
	"github.com/kubeshop/botkube/pkg/plugin": {},
	// Who starts processes. The plugin is the first two alone, git and itself: nothing that people type becomes a command line.
	"os/exec": {"internal/git", "internal/helm", "internal/localhost", "internal/testenv", "internal/githubtest", "internal/pictures", "cmd/ferry", "internal/bench", "internal/replay", "internal/measure"},
}

// top is all that the repository has at its top.
var top = []string{
	".ci", ".github", ".gitignore", ".golangci.yaml", ".goreleaser.yaml", "LICENSE", "Makefile", "README.md",
	"blueprints", "cmd", "go.mod", "go.sum", "helm", "internal",
}

// local is at the top of a checkout and never committed: see .gitignore.
var local = []string{".git", "bin", "dist"}

// below says whether an import path or folder is another or lies below it; "/v2" of a module counts as below.
func below(name, root string) bool { return name == root || strings.HasPrefix(name, root+"/") }

func isBelow(name string) func(root string) bool {
	return func(root string) bool { return below(name, root) }
}

// violations reads a checkout and says what breaks the rules, in the order of files.
func violations(checkout fs.FS) ([]string, error) {
	var found []string
	entries, err := fs.ReadDir(checkout, ".")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !slices.Contains(top, e.Name()) && !slices.Contains(local, e.Name()) {
			found = append(found, e.Name()+": not at the top of the repository")
		}
	}
	err = fs.WalkDir(checkout, ".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != ".":
			_, err := fs.Stat(checkout, path.Join(file, "go.mod"))
			if nested := err == nil; nested || slices.Contains(local, file) || d.Name() == "testdata" {
				return fs.SkipDir // another module, or no code of ours
			}
			return nil
		case path.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		source, err := fs.ReadFile(checkout, file)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, source, parser.ImportsOnly)
		if err != nil {
			return fmt.Errorf("read imports: %w", err)
		}
		for _, spec := range parsed.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return fmt.Errorf("read imports of %s: %w", file, err)
			}
			if why := forbidden(path.Dir(file), name); why != "" {
				found = append(found, file+": "+why)
			}
		}
		return nil
	})
	return found, err
}

// forbidden says why a folder may not import something; it is empty if it may.
func forbidden(folder, imported string) string {
	for library, homes := range libraries {
		if below(imported, library) && !slices.ContainsFunc(homes, isBelow(folder)) {
			return fmt.Sprintf("%s has no place in %s", imported, folder)
		}
	}
	ours, ok := strings.CutPrefix(imported, module)
	if !ok {
		return ""
	}
	for root, allowed := range arrows {
		if below(folder, root) {
			if below(ours, root) || slices.ContainsFunc(allowed, isBelow(ours)) {
				return ""
			}
			return fmt.Sprintf("%s may not import %s", root, ours)
		}
	}
	return fmt.Sprintf("%s is in no arrow", folder)
}

func TestRepository(t *testing.T) {
	found, err := violations(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range found {
		t.Error(v)
	}
}

func TestEveryFolderHasItsArrow(t *testing.T) {
	for _, root := range []string{"../../internal", "../../cmd"} {
		folders, err := os.ReadDir(root)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range folders {
			folder := path.Join(path.Base(root), d.Name())
			_, nested := os.Stat(path.Join(root, d.Name(), "go.mod"))
			if _, ok := arrows[folder]; !ok && d.IsDir() && nested != nil {
				t.Errorf("%s is in no arrow", folder)
			}
		}
	}
}

// TestViolationsAreFound breaks each kind of rule once, and keeps to each once.
func TestViolationsAreFound(t *testing.T) {
	checkout := fstest.MapFS{}
	add := func(file string, imports ...string) {
		source := "package p\nimport (\n_ \"" + strings.Join(imports, "\"\n_ \"") + "\"\n)\n"
		checkout[file] = &fstest.MapFile{Data: []byte(source)}
	}
	add("go.mod")
	add("dist/x.go", module+"internal/nowhere")
	add("util/x.go", module+"internal/gitops")
	add("cmd/executor/ferry/main.go", module+"internal/app/executor", module+"internal/cluster")
	add("cmd/ferry/main.go", module+"internal/app/executor", "github.com/cli/go-gh/v2/pkg/auth", module+"internal/githubtest")
	add("internal/app/executor/x.go", module+"internal/app/config", "github.com/hashicorp/go-getter/v2", module+"internal/testenv")
	add("internal/chatops/x.go", "github.com/kubeshop/botkube/pkg/api", module+"internal/github")
	add("internal/cluster/x.go", module+"internal/promotion", "github.com/cli/go-gh/v2/pkg/auth", "k8s.io/client-go/rest")
	add("internal/cluster/x_test.go", module+"internal/testenv", "github.com/google/go-cmp/cmp")
	add("internal/git/x.go", module+"internal/github")
	add("internal/github/x.go", module+"internal/git", module+"internal/githubtest", "github.com/google/go-github/v60/github")
	add("internal/gitops/x.go", module+"internal/manifest", "github.com/google/go-cmp/cmp")
	add("internal/hosttest/go.mod")
	add("internal/hosttest/x.go", module+"internal/app")
	add("internal/new/x.go", module+"internal/gitops")
	add("internal/operation/x.go", "github.com/kubeshop/botkube/pkg/api", "github.com/hashicorp/go-getter/v2", "os/exec")
	add("internal/plugin/executor/x.go", "github.com/hashicorp/go-plugin", module+"internal/plugin/hostlog", "github.com/kubeshop/botkube/pkg/bot/interactive")
	add("internal/watch/x.go", module+"internal/gitopsplus")

	want := []string{
		"util: not at the top of the repository",
		"cmd/executor/ferry/main.go: cmd/executor may not import internal/cluster",
		"internal/app/executor/x.go: internal/app may not import internal/testenv",
		"internal/chatops/x.go: internal/chatops may not import internal/github",
		"internal/cluster/x.go: github.com/cli/go-gh/v2/pkg/auth has no place in internal/cluster",
		"internal/git/x.go: internal/git may not import internal/github",
		"internal/github/x.go: internal/github may not import internal/git",
		"internal/github/x.go: internal/github may not import internal/githubtest",
		"internal/gitops/x.go: internal/gitops may not import internal/manifest",
		"internal/gitops/x.go: github.com/google/go-cmp/cmp has no place in internal/gitops",
		"internal/new/x.go: internal/new is in no arrow",
		"internal/operation/x.go: github.com/kubeshop/botkube/pkg/api has no place in internal/operation",
		"internal/operation/x.go: github.com/hashicorp/go-getter/v2 has no place in internal/operation",
		"internal/operation/x.go: os/exec has no place in internal/operation",
		"internal/plugin/executor/x.go: github.com/kubeshop/botkube/pkg/bot/interactive has no place in internal/plugin/executor",
		"internal/watch/x.go: internal/watch may not import internal/gitopsplus",
		"util/x.go: util is in no arrow",
	}
	got, err := violations(checkout)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// reaches finds the way from a package of ours to a library, over all packages of ours that it imports, or nothing. What
// libraries import themselves is not followed: none that the source has imports Helm.
func reaches(checkout fs.FS, from, library string) ([]string, error) {
	seen := map[string]bool{}
	var follow func(folder string) ([]string, error)
	follow = func(folder string) ([]string, error) {
		if seen[folder] {
			return nil, nil
		}
		seen[folder] = true
		files, err := fs.Glob(checkout, path.Join(folder, "*.go"))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			source, err := fs.ReadFile(checkout, file)
			if err != nil {
				return nil, err
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, source, parser.ImportsOnly)
			if err != nil {
				return nil, fmt.Errorf("read imports: %w", err)
			}
			for _, spec := range parsed.Imports {
				name, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					return nil, fmt.Errorf("read imports of %s: %w", file, err)
				}
				if below(name, library) {
					return []string{folder, name}, nil
				}
				if ours, ok := strings.CutPrefix(name, module); ok {
					if way, err := follow(ours); err != nil || way != nil {
						return append([]string{folder}, way...), err
					}
				}
			}
		}
		return nil, nil
	}
	return follow(from)
}

// The source renders no charts, so neither Helm nor what stands for it here is in its binary.
func TestTheSourceDoesNotReachHelm(t *testing.T) {
	for _, helm := range []string{"helm.sh/helm", module + "internal/helm"} {
		way, err := reaches(os.DirFS("../.."), "cmd/source/ferry", helm)
		if err != nil || way != nil {
			t.Errorf("%q, %v", way, err)
		}
	}
	way, err := reaches(os.DirFS("../.."), "cmd/executor/ferry", module+"internal/helm")
	if err != nil || len(way) != 3 {
		t.Errorf("the executor's way is %q, %v", way, err)
	}
}

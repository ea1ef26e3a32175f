// Package layout finds where in a repository the versions live that an environment runs. It imitates no rule of
// kustomize or Flux: it builds what Flux would build, from an environment's root through every Flux Kustomization found on
// the way, reads the versions off the objects, and then gives every scalar that could be the source of one a value of its
// own, a dye, and builds once more. The dye that arrives in a field names the scalar that decides it. A plan is proved the
// same way, by building with the edit what reads the file.
package layout

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/render"
)

// A Tree is a repository at one commit, and what was read and built of it so far. Its methods may be called side by side.
type Tree struct {
	files *memory

	mu     sync.Mutex
	builds map[string]*build // by specification
	parsed map[string]*text  // by file
	walks  map[string]*walked
}

// Open makes a Tree of the files of a commit.
func Open(tree fs.FS) *Tree {
	return &Tree{files: &memory{FS: render.Artifact(tree), entries: map[string]entry{}}, builds: map[string]*build{}, parsed: map[string]*text{}, walks: map[string]*walked{}}
}

// FS are the tree's files.
func (t *Tree) FS() fs.FS { return t.files }

// A build is one of a Flux Kustomization, its variables not filled in.
type build struct {
	mu   sync.Mutex
	done bool
	render.Built
	err error

	listed  bool // Files and listErr are known
	listErr error
}

// An edition is the tree with the content of some files changed, and what was built of that.
type edition struct {
	files map[string][]byte

	mu     sync.Mutex
	builds map[string]*build
}

func edit(files map[string][]byte) *edition {
	return &edition{files: files, builds: map[string]*build{}}
}

// touches says whether an edition changes one of some files, which are sorted. None, nil, changes nothing.
func (e *edition) touches(files []string) bool {
	if e == nil {
		return false
	}
	for file := range e.files {
		if _, found := slices.BinarySearch(files, file); found {
			return true
		}
	}
	return false
}

// entry is the build of a specification, made or not.
func entryOf(mu *sync.Mutex, builds map[string]*build, key string) *build {
	mu.Lock()
	defer mu.Unlock()
	b := builds[key]
	if b == nil {
		b = &build{}
		builds[key] = b
	}
	return b
}

// specification is a Kustomization without what makes no difference to its build.
func specification(k gitops.Kustomization) (gitops.Kustomization, string, error) {
	k.Namespace, k.Name, k.Substitution, k.Source, k.Condition = "", "", nil, gitops.Source{}, gitops.Condition{}
	k.Applied, k.Attempted, k.Labels, k.Annotations = "", "", nil, nil
	key, err := json.Marshal(k)
	return k, string(key), err
}

// build builds a Kustomization from an edition of the tree. What reads none of its changes is built once for all.
func (t *Tree) build(ctx context.Context, k gitops.Kustomization, e *edition) (render.Built, error) {
	k, key, err := specification(k)
	if err != nil {
		return render.Built{}, err
	}
	b := entryOf(&t.mu, t.builds, key)
	if e != nil {
		b.mu.Lock()
		files, err := b.list(ctx, t.files, k)
		b.mu.Unlock()
		if ctx.Err() != nil {
			return render.Built{}, ctx.Err()
		}
		if e.touches(files) {
			b = entryOf(&e.mu, e.builds, key)
			return b.make(ctx, render.With(t.files, e.files), k)
		}
		if err != nil {
			return render.Built{Files: files}, err
		}
	}
	return b.make(ctx, t.files, k)
}

// make builds once.
func (b *build) make(ctx context.Context, tree fs.FS, k gitops.Kustomization) (render.Built, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.done {
		b.Built, b.err = render.Build(ctx, tree, k)
		b.done = ctx.Err() == nil
	}
	if ctx.Err() != nil {
		return render.Built{}, ctx.Err()
	}
	return b.Built, b.err
}

// list names the files that a build reads, if it has not read them yet.
func (b *build) list(ctx context.Context, tree fs.FS, k gitops.Kustomization) ([]string, error) {
	if !b.done && !b.listed {
		b.Files, b.listErr = render.Files(ctx, tree, k)
		b.listed = ctx.Err() == nil
	}
	if b.done {
		return b.Files, nil
	}
	return b.Files, b.listErr
}

// leading are words in files without which what is built of them leads to no other Kustomization, and changes what none
// of them is filled with.
var leading = []string{"kustomize.toolkit.fluxcd.io", "GitRepository", "ConfigMap", "configMapGenerator", "secretGenerator", "FluxInstance"}

// leads says whether a Kustomization has to be built to know what an environment consists of. Else it is enough to know
// what it reads.
func (t *Tree) leads(ctx context.Context, k gitops.Kustomization) (files []string, leads bool) {
	k, key, err := specification(k)
	if err != nil {
		return nil, true
	}
	b := entryOf(&t.mu, t.builds, key)
	b.mu.Lock()
	defer b.mu.Unlock()
	files, err = b.list(ctx, t.files, k)
	if err != nil {
		return files, true
	}
	for _, file := range files {
		content, err := t.files.ReadFile(file)
		if err != nil || slices.ContainsFunc(leading, func(word string) bool { return bytes.Contains(content, []byte(word)) }) {
			return files, true
		}
	}
	return files, false
}

// memory keeps in memory what was read of a tree, up to a limit.
type memory struct {
	fs.FS

	mu      sync.Mutex
	entries map[string]entry
	size    int
}

type entry struct {
	info    fs.FileInfo
	content []byte
	read    bool
	err     error
}

const maxMemory = 96 << 20

// Stat looks once.
func (m *memory) Stat(name string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, known := m.entries[name]
	if !known {
		if e.info, e.err = fs.Stat(m.FS, name); e.err != nil && !errors.Is(e.err, fs.ErrNotExist) {
			return nil, e.err
		}
		m.entries[name] = e
	}
	return e.info, e.err
}

// ReadFile reads once.
func (m *memory) ReadFile(name string) ([]byte, error) {
	m.mu.Lock()
	e := m.entries[name]
	m.mu.Unlock()
	if e.read {
		return e.content, nil
	}
	content, err := fs.ReadFile(m.FS, name)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, known := m.entries[name]; known && e.err == nil && m.size+len(content) <= maxMemory {
		e.content, e.read = content, true
		m.size += len(content)
		m.entries[name] = e
	}
	return content, nil
}

// yamlFile says whether a file's scalars are looked at.
func yamlFile(name string) bool {
	base := name[strings.LastIndexByte(name, '/')+1:]
	return strings.HasSuffix(base, ".yaml") || strings.HasSuffix(base, ".yml") || strings.HasSuffix(base, ".json") || !strings.Contains(base, ".")
}

// firstLine is what a refusal tells of an error of kustomize's: not the configuration that it quotes between backquotes.
func firstLine(err error) string {
	text := err.Error()
	if before, rest, quotes := strings.Cut(text, " with config: `"); quotes {
		text = before + rest[strings.LastIndexByte(rest, '`')+1:]
	}
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// Package layout finds where in a repository the versions live that an environment runs. It imitates no rule of
// kustomize or Flux: it builds what Flux would build, from an environment's root through every Flux Kustomization found on
// the way, reads the versions off the objects, and then gives every scalar that could be the source of one a value of its
// own, a dye, and builds once more. The dye that arrives in a field names the scalar that decides it. A plan is proved the
// same way, by building with the edit what reads the file.
package layout

import (
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
}

// build builds a Kustomization from the tree, with the content of some files changed. What reads none of these is built
// once.
func (t *Tree) build(ctx context.Context, k gitops.Kustomization, changed map[string][]byte) (render.Built, error) {
	k.Namespace, k.Name, k.Substitution, k.Source, k.Condition = "", "", nil, gitops.Source{}, gitops.Condition{}
	k.Applied, k.Attempted, k.Labels, k.Annotations = "", "", nil, nil
	key, err := json.Marshal(k)
	if err != nil {
		return render.Built{}, err
	}
	t.mu.Lock()
	b := t.builds[string(key)]
	if b == nil {
		b = &build{}
		t.builds[string(key)] = b
	}
	t.mu.Unlock()
	b.mu.Lock()
	if !b.done {
		b.Built, b.err = render.Build(ctx, t.files, k)
		b.done = ctx.Err() == nil
	}
	b.mu.Unlock()
	if ctx.Err() != nil {
		return render.Built{}, ctx.Err()
	}
	for file := range changed {
		if _, found := slices.BinarySearch(b.Files, file); found {
			return render.Build(ctx, render.With(t.files, changed), k)
		}
	}
	return b.Built, b.err
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

// firstLine is what a refusal tells of an error of kustomize's.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

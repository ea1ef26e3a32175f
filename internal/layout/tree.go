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
	all   fs.FS   // of the repository
	files *memory // those that Flux sees

	mu     sync.Mutex
	builds map[string]*build // by specification
	parsed map[string]*text  // by file
	walks  map[string]*walked

	locating sync.Mutex // held while walks get their fields
}

// Open makes a Tree of the files of a commit.
func Open(tree fs.FS) *Tree {
	return &Tree{all: tree, files: &memory{FS: render.Artifact(tree), entries: map[string]entry{}}, builds: map[string]*build{}, parsed: map[string]*text{}, walks: map[string]*walked{}}
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
	leads   *bool // once looked

	from   *build // of which it is a change; nil: it was built from nothing
	places []int  // of the objects that are others than there
	parts  map[string]*render.Part
	filled map[string]filled
}

// filled are a build's objects with variables and metadata put in: for each of them what becomes of it, one or none.
type filled struct {
	objects [][]render.Object
	err     error
}

// An edition is the tree with the content of some files changed, and what was built of that.
type edition struct {
	files map[string][]byte

	mu     sync.Mutex
	builds map[string]*build
	own    map[string]*build // of the tree as it is, by specifications that this edition alone has
}

func edit(files map[string][]byte) *edition {
	return &edition{files: files, builds: map[string]*build{}, own: map[string]*build{}}
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

// entry is the build of a specification from the tree as it is. It is kept with the tree, unless an edition alone has the
// specification: there are as many of these as versions that somebody asks about.
func (t *Tree) entry(key string, e *edition) *build {
	t.mu.Lock()
	_, known := t.builds[key]
	t.mu.Unlock()
	if known || e == nil {
		return entryOf(&t.mu, t.builds, key)
	}
	return entryOf(&e.mu, e.own, key)
}

// entryOf is the build of a specification, made or not.
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
	k.Applied, k.Attempted, k.Labels, k.Annotations, k.DependsOn = "", "", nil, nil, nil
	key, err := json.Marshal(k)
	return k, string(key), err
}

// build builds a Kustomization from an edition of the tree. What reads none of its changes is built once for all. The
// build is there with an error too, for its files.
func (t *Tree) build(ctx context.Context, k gitops.Kustomization, e *edition) (*build, error) {
	k, key, err := specification(k)
	if err != nil {
		return &build{}, err
	}
	b := t.entry(key, e)
	if e != nil {
		b.mu.Lock()
		files, err := b.list(ctx, t.files, k)
		b.mu.Unlock()
		if ctx.Err() != nil {
			return &build{}, ctx.Err()
		}
		if e.touches(files) {
			return entryOf(&e.mu, e.builds, key).change(ctx, t.files, k, e, b)
		}
		if err != nil {
			return &build{Built: render.Built{Files: files}}, err
		}
	}
	return b.make(ctx, t.files, k)
}

// make builds once.
func (b *build) make(ctx context.Context, tree fs.FS, k gitops.Kustomization) (*build, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.done {
		b.Built, b.err = render.Build(ctx, tree, k)
		b.done = ctx.Err() == nil
	}
	if ctx.Err() != nil {
		return &build{}, ctx.Err()
	}
	return b, b.err
}

// change builds once what another build has become by an edition: no more than what comes from the files that differ, where
// that is enough.
func (b *build) change(ctx context.Context, tree fs.FS, k gitops.Kustomization, e *edition, from *build) (*build, error) {
	b.mu.Lock()
	if part := from.part(ctx, tree, k, e); part != nil && !b.done {
		if objects, ok := part.Build(ctx, from.Objects, e.files); ok {
			b.Built, b.from, b.places, b.done = from.Built, from, part.Places, true
			b.Objects = slices.Clone(from.Objects)
			for i, o := range objects {
				b.Objects[part.Places[i]] = o
			}
		}
	}
	b.mu.Unlock()
	return b.make(ctx, render.With(tree, e.files), k)
}

// maxPart is how many files a part of a build may come from: with more of them, building it saves nothing.
const maxPart = 4

// part is what a build makes of the files that differ in an edition; nil if that cannot be built by itself.
func (b *build) part(ctx context.Context, tree fs.FS, k gitops.Kustomization, e *edition) *render.Part {
	b.mu.Lock()
	defer b.mu.Unlock()
	var files []string
	for file := range e.files {
		if _, read := slices.BinarySearch(b.Files, file); read {
			files = append(files, file)
		}
	}
	if !b.done || b.err != nil || len(files) > maxPart {
		return nil
	}
	slices.Sort(files)
	key := strings.Join(files, "\n")
	part, looked := b.parts[key]
	if !looked {
		part, _ = b.Part(ctx, tree, k, files)
		if ctx.Err() != nil {
			return nil
		}
		if b.parts == nil {
			b.parts = map[string]*render.Part{}
		}
		b.parts[key] = part
	}
	return part
}

// fill gives a build's objects as a Kustomization fills them with variables and metadata, once for the same.
func (b *build) fill(k gitops.Kustomization, v render.Variables) ([]render.Object, error) {
	key, err := json.Marshal([]any{v, k.Substitution != nil && k.Substitution.Always, k.Labels, k.Annotations})
	if err != nil {
		return nil, err
	}
	all := b.fillEach(string(key), k, v)
	if all.err != nil {
		return nil, all.err
	}
	objects := make([]render.Object, 0, len(all.objects))
	for _, one := range all.objects {
		objects = append(objects, one...)
	}
	return objects, nil
}

// maxFilled is how many fillings of a build are kept. Environments share builds; versions that somebody asks about come as variables.
const maxFilled = 16

func (b *build) fillEach(key string, k gitops.Kustomization, v render.Variables) filled {
	b.mu.Lock()
	defer b.mu.Unlock()
	if known, ok := b.filled[key]; ok {
		return known
	}
	all := filled{objects: make([][]render.Object, len(b.Objects))}
	places := b.places
	var before filled
	if b.from != nil {
		before = b.from.fillEach(key, k, v)
		copy(all.objects, before.objects)
	}
	if b.from == nil || before.err != nil {
		places = nil
		for i := range b.Objects {
			places = append(places, i)
		}
	}
	for _, i := range places {
		one, err := b.Objects[i:i+1], error(nil)
		if k.Substitution != nil {
			if one, err = render.Substitute(one, v, k.Substitution.Always); err != nil && all.err == nil {
				all.err = err
			}
		}
		all.objects[i] = render.Mark(one, k.Labels, k.Annotations)
	}
	if b.filled == nil || len(b.filled) == maxFilled {
		b.filled = map[string]filled{}
	}
	b.filled[key] = all
	return all
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
var leading = append([]string{"kustomize.toolkit.fluxcd.io", "GitRepository", "ConfigMap", "configMapGenerator", "secretGenerator", "FluxInstance"}, hiding...)

// hiding is what a word may be hidden by: escapes in quoted text, and UTF-16.
var hiding = []string{`\x`, `\u`, `\U`, "\\\n", "\\\r", "\x00"}

// say says whether files hold one of some words, or may.
func (t *Tree) say(files, words []string) bool {
	return slices.ContainsFunc(files, func(file string) bool {
		content, err := t.files.ReadFile(file)
		return err != nil || slices.ContainsFunc(words, func(word string) bool { return bytes.Contains(content, []byte(word)) })
	})
}

// leads says whether a Kustomization has to be built to know what an environment consists of. Else it is enough to know
// what it reads.
func (t *Tree) leads(ctx context.Context, k gitops.Kustomization, e *edition) (files []string, leads bool) {
	k, key, err := specification(k)
	if err != nil {
		return nil, true
	}
	b := t.entry(key, e)
	b.mu.Lock()
	defer b.mu.Unlock()
	files, err = b.list(ctx, t.files, k)
	if err != nil {
		return files, true
	}
	if b.leads == nil {
		leads := t.say(files, leading)
		b.leads = &leads
	}
	return files, *b.leads
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
	e, known := m.entries[name]
	m.mu.Unlock()
	if known {
		return e.info, e.err
	}
	info, err := fs.Stat(m.FS, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, known = m.entries[name]; !known {
		e = entry{info: info, err: err}
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

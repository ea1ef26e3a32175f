package layout

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"path"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/render"
)

// An Environment is where building begins.
type Environment struct {
	Name string
	// Namespaces are the environment's, if it has not the whole cluster: objects elsewhere are another environment's.
	Namespaces []string
	// Sites are the Flux Kustomizations that are known: live, all whose source is this repository and branch; offline,
	// one that has nothing but the path of the environment's root.
	Sites []gitops.Kustomization
	// Sources are the GitRepositories that stand for this repository and branch. Empty: it is told from the tree.
	Sources []gitops.Object
}

// A Problem is a part of an environment that could not be built or looked into.
type Problem struct {
	Environment   string
	Kustomization string // NAMESPACE/NAME, or the path of the root
	Path          string
	Err           error
}

// beginning is the part of the path that is known.
func (p Problem) beginning() string {
	if known, _, open := strings.Cut(p.Path, "${"); open {
		return path.Dir(known + "x")
	}
	return p.Path
}

// A site is one Flux Kustomization of a walk.
type site struct {
	gitops.Kustomization
	objects []render.Object // variables filled in
	files   []string
	remote  []render.Remote
	vars    render.Variables
	err     error
	left    bool          // it was not built: it makes no difference
	applied string        // the path in its source; Path, but for an assembled artifact's
	defined render.Object // as it is built; zero: it is known from elsewhere alone
	parent  *site         // that builds it; nil: none, or only itself
	sealed  bool          // sentinels were filled in
}

func (s *site) key() string { return s.Namespace + "/" + s.Name }

// title names a site for people.
func (s *site) title() string {
	if s.Name == "" {
		return s.Path
	}
	return s.key()
}

// A walk is everything that is built of an environment, each Flux Kustomization once, parents first.
type walk struct {
	environment Environment
	sites       []*site
	problems    []Problem
	known       known

	finds    *finds           // once there are; guarded by Tree.locating
	readings func() []reading // what is read off its objects, see read
}

// known is what one round of a walk finds out and the next one needs: what variables are filled in, and which source is
// this repository.
type known struct {
	maps    map[gitops.Object]map[string]string // ConfigMaps, and Secrets with empty values
	sources map[gitops.Object]source
	anchor  gitops.Object // the source that the root itself is applied from

	assemblies map[gitops.Object]assembly // by artifact

	live map[gitops.Object]map[string]string // ConfigMaps of variables, as the cluster has them
}

// A source is a Flux source that the tree defines.
type source struct {
	url    string // host and path, normalized
	ref    string // as JSON
	ignore string // what of it Flux does not see, beside what .sourceignore says
}

// Limits on a walk.
const (
	maxSites  = 2000
	maxBuilt  = 50_000 // objects of all Flux Kustomizations: each may build all of a tree, and name others that do
	maxRounds = 6
)

// Root describes the environment whose Flux applies a directory. It refuses what is no directory with code NotInGit.
func (t *Tree) Root(ctx context.Context, dir, name string) (Environment, error) {
	at := cleanPath(dir)
	info, err := fs.Stat(t.files, at)
	if r := (*gitops.Refusal)(nil); errors.As(err, &r) {
		return Environment{}, r
	}
	if err != nil || !info.IsDir() {
		return Environment{}, &gitops.Refusal{Code: gitops.NotInGit, Reason: fmt.Sprintf("There is no directory %s.", dir)}
	}
	w, err := t.outline(ctx, at)
	if err != nil {
		return Environment{}, err
	}
	env := w.environment
	env.Name = name
	return env, nil
}

// outline walks the environment of a directory, which it is called by, without building what leads nowhere; once.
func (t *Tree) outline(ctx context.Context, dir string) (*walk, error) {
	return t.once(ctx, "outline of "+dir, Environment{Name: dir, Sites: []gitops.Kustomization{{Path: dir}}}, view{needed: func([]string) bool { return false }})
}

func cleanPath(p string) string {
	return cmp.Or(strings.TrimPrefix(path.Clean("/"+p), "/"), ".")
}

// walked is a walk of the tree as it is.
type walked struct {
	mu   sync.Mutex
	done *walk
}

// base is the walk of an environment in the tree as it is, made once, whatever the state of its Kustomizations.
func (t *Tree) base(ctx context.Context, env Environment) (*walk, error) {
	env.Sites = slices.Clone(env.Sites)
	for i := range env.Sites {
		k := &env.Sites[i]
		k.Applied, k.Attempted, k.Condition, k.Source.Revision, k.Source.Condition = "", "", gitops.Condition{}, "", gitops.Condition{}
	}
	key, err := json.Marshal(env)
	if err != nil {
		return nil, err
	}
	return t.once(ctx, string(key), env, view{})
}

// once walks once for each key.
func (t *Tree) once(ctx context.Context, key string, env Environment, in view) (_ *walk, err error) {
	t.mu.Lock()
	w := t.walks[key]
	if w == nil {
		w = &walked{}
		t.walks[key] = w
	}
	t.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done == nil {
		if w.done, err = t.walk(ctx, env, in); err != nil {
			return nil, err
		}
	}
	return w.done, nil
}

// A view is what a walk looks at: an edition of the tree, and of what leads nowhere only what is needed, by its files;
// nil: all. With secrets, values that are not known or not to be read are filled in as sentinels.
type view struct {
	*edition
	needed  func(files []string) bool
	secrets *Secrets
	built   *atomic.Int64 // objects so far; nil: none
}

// walk builds an environment.
func (t *Tree) walk(ctx context.Context, env Environment, in view) (*walk, error) {
	start, err := t.start(ctx, env, in)
	if err != nil {
		return nil, err
	}
	var w *walk
	var now known
	for range maxRounds {
		if w, err = t.round(ctx, env, start, now, in); err != nil {
			return nil, err
		}
		if self, ok := w.self(); ok && env.Sites[0].Name == "" { // what syncs the root is known now
			env.Sites, start = []gitops.Kustomization{self}, []gitops.Kustomization{self}
			now = w.known
			continue
		}
		if reflect.DeepEqual(now, w.known) {
			break
		}
		now = w.known
	}
	return w, nil
}

// self finds the Flux Kustomization that applies the root it is in, as gotk-sync has it.
func (w *walk) self() (gitops.Kustomization, bool) {
	root := w.sites[0]
	for _, o := range root.objects {
		if k, ok := kustomization(o); ok && k.Path == root.Path && k.Name != "" {
			return k, true
		}
	}
	return gitops.Kustomization{}, false
}

// start are the Kustomizations of an environment that no other one builds.
func (t *Tree) start(ctx context.Context, env Environment, in view) ([]gitops.Kustomization, error) {
	if len(env.Sites) < 2 {
		return env.Sites, nil
	}
	sites := make([]*site, len(env.Sites))
	for i, k := range env.Sites {
		sites[i] = &site{Kustomization: k}
	}
	if err := t.buildAll(ctx, sites, known{}, in); err != nil {
		return nil, err
	}
	built := map[string]bool{}
	for _, s := range sites {
		for _, o := range s.objects {
			if k, ok := kustomization(o); ok && (&site{Kustomization: k}).key() != s.key() {
				built[(&site{Kustomization: k}).key()] = true
			}
		}
	}
	var start []gitops.Kustomization
	for _, s := range sites {
		if !built[s.key()] {
			start = append(start, s.Kustomization)
		}
	}
	return start, nil
}

// round walks once, with what is known from the round before.
func (t *Tree) round(ctx context.Context, env Environment, start []gitops.Kustomization, now known, in view) (*walk, error) {
	w := &walk{environment: env, known: known{maps: map[gitops.Object]map[string]string{}, sources: map[gitops.Object]source{},
		assemblies: map[gitops.Object]assembly{}, live: env.live()}}
	seen := map[string]bool{}
	var level []*site
	add := func(k gitops.Kustomization, applied string, parent *site, defined render.Object) {
		s := &site{Kustomization: k, applied: applied, parent: parent, defined: defined}
		if !seen[s.key()] && len(seen) < maxSites {
			seen[s.key()] = true
			level = append(level, s)
		}
	}
	for _, k := range start {
		add(k, k.Path, nil, render.Object{})
	}
	judge := newJudge(t, env, now)
	in.built = &atomic.Int64{}
	for len(level) > 0 {
		sites := level
		level = nil
		if err := t.buildAll(ctx, sites, now, in); err != nil {
			return nil, err
		}
		w.sites = append(w.sites, sites...)
		for _, s := range sites {
			judge.keeps(s)
			w.learn(s)
			for _, o := range s.objects {
				k, ok := kustomization(o)
				if !ok || k.Name == "" || k.Namespace+"/"+k.Name == s.key() {
					continue
				}
				dir, err := judge.follows(k)
				if err != nil {
					if !seen[k.Namespace+"/"+k.Name] {
						seen[k.Namespace+"/"+k.Name] = true
						w.problems = append(w.problems, Problem{env.Name, k.Namespace + "/" + k.Name, k.Path, err})
					}
					continue
				}
				applied := k.Path
				k.Path = dir
				add(k, applied, s, o)
			}
		}
		if len(level) == 0 { // live ones that only one another build
			for _, k := range env.Sites {
				if add(k, k.Path, nil, render.Object{}); len(level) > 0 {
					break
				}
			}
		}
	}
	for _, s := range w.sites {
		if s.err != nil {
			w.problems = append(w.problems, Problem{env.Name, s.title(), s.Path, s.err})
		}
		for _, r := range s.remote {
			w.problems = append(w.problems, Problem{env.Name, s.title(), s.Path, &gitops.Refusal{Code: gitops.Layout,
				Reason: fmt.Sprintf("%s takes %s, which is not in this repository.", r.File, r.Reference)}})
		}
	}
	w.readings = sync.OnceValue(w.read)
	return w, nil
}

// buildAll builds sites side by side. It fails with the context alone: what a site fails with is in it.
func (t *Tree) buildAll(ctx context.Context, sites []*site, now known, in view) error {
	built := cmp.Or(in.built, &atomic.Int64{})
	sideBySide(len(sites), func(i int) {
		if built.Load() > maxBuilt {
			sites[i].err = &gitops.Refusal{Code: gitops.Layout, Reason: fmt.Sprintf("The Flux Kustomizations of this environment make more than %d objects: ferry does not build the others.", maxBuilt)}
			return
		}
		t.buildSite(ctx, sites[i], now, in)
		built.Add(int64(len(sites[i].objects)))
	})
	return ctx.Err()
}

func (t *Tree) buildSite(ctx context.Context, s *site, now known, in view) {
	if in.needed != nil {
		if files, leads := t.leads(ctx, s.Kustomization, in.edition); !leads && !in.needed(files) {
			s.files, s.left = files, true
			return
		}
	}
	for range maxRounds {
		if t.fill(ctx, s, now, in); !s.settle() {
			break
		}
	}
	if s.err != nil {
		s.err = t.blame(s)
	}
}

// blame words the error of a site as one of the file and line at fault, where they are found: kustomize does not always say.
func (t *Tree) blame(s *site) error {
	r := (*gitops.Refusal)(nil)
	if errors.As(s.err, &r) && r.Code != gitops.NotYAML {
		return s.err
	}
	for _, file := range s.files {
		if !yamlFile(file) || path.Ext(file) == "" || r != nil && !strings.HasPrefix(r.Reason, file+" ") {
			continue
		}
		parsed, err := t.parse(file)
		if isRefusal(err, gitops.NotYAML) || isRefusal(err, gitops.Template) {
			return err
		}
		if err != nil || strings.HasPrefix(path.Base(file), "kustomization.") { // there the last one counts
			continue
		}
		for _, scalar := range parsed.scalars {
			if err := scalar.Refusal(); isRefusal(err, gitops.DuplicateKey) {
				return &gitops.Refusal{Code: gitops.DuplicateKey, Cause: s.err, Reason: fmt.Sprintf("%s line %d: %s.", file, scalar.Line, reasonOf(err))}
			}
		}
	}
	if r != nil {
		return s.err
	}
	return &gitops.Refusal{Code: gitops.Layout, Cause: s.err, Reason: fmt.Sprintf("What Flux builds from %s does not build at this commit.", s.Path),
		Details: []string{firstLine(s.err)}}
}

// fill builds a site as its specification is so far.
func (t *Tree) fill(ctx context.Context, s *site, now known, in view) {
	built, err := t.build(ctx, s.Kustomization, in.edition)
	s.objects, s.files, s.remote, s.vars, s.err = nil, built.Files, built.Remote, render.Variables{}, err
	if err != nil {
		return
	}
	if s.Substitution != nil {
		s.vars = now.variables(s.Kustomization, in.secrets)
		s.sealed = in.secrets.stand(&s.vars)
	}
	s.objects, s.err = built.fill(s.Kustomization, s.vars)
}

// settle takes over what a site itself builds of its own Kustomization, as that of a root may: Flux applies it and then
// builds again. It is false if nothing changes.
func (s *site) settle() bool {
	for _, o := range s.objects {
		k, ok := kustomization(o)
		if !ok || s.Name == "" || (&site{Kustomization: k}).key() != s.key() || k.Path != s.Path {
			continue
		}
		k.Source, k.Applied, k.Attempted, k.Condition = s.Source, s.Applied, s.Attempted, s.Condition
		changed := !reflect.DeepEqual(k, s.Kustomization)
		s.Kustomization, s.defined = k, o
		return changed
	}
	return false
}

// learn takes from what a site builds what others need.
func (w *walk) learn(s *site) {
	for _, o := range s.objects {
		switch group := group(o); {
		case group == "" && (o.Kind == "ConfigMap" || o.Kind == "Secret"):
			values := map[string]string{}
			for _, key := range []string{"data", "stringData"} {
				data, _ := o.Fields[key].(map[string]any)
				for k, v := range data {
					values[k] = ""
					if text, ok := v.(string); ok && o.Kind == "ConfigMap" {
						values[k] = text
					}
				}
			}
			w.known.maps[gitops.Object{Kind: o.Kind, Namespace: cmp.Or(o.Namespace, s.TargetNamespace), Name: o.Name}] = values
		case group == "source.toolkit.fluxcd.io":
			ref, _ := json.Marshal(at(o.Fields, "spec", "ref"))
			w.known.sources[o.Object] = source{RepositoryURL(textAt(o.Fields, "spec", "url")), string(ref), textAt(o.Fields, "spec", "ignore")}
		case group == "source.extensions.fluxcd.io" && o.Kind == "ArtifactGenerator":
			maps.Copy(w.known.assemblies, assemblies(o))
		case group == "fluxcd.controlplane.io" && o.Kind == "FluxInstance":
			if sync := at(o.Fields, "spec", "sync"); sync != nil && textAt(o.Fields, "spec", "sync", "kind") == "GitRepository" {
				object := gitops.Object{Kind: "GitRepository", Namespace: o.Namespace, Name: cmp.Or(textAt(o.Fields, "spec", "sync", "name"), o.Namespace)}
				w.known.sources[object] = source{url: RepositoryURL(textAt(o.Fields, "spec", "sync", "url"))}
				if cleanPath(textAt(o.Fields, "spec", "sync", "path")) == w.sites[0].Path {
					w.known.anchor = object
				}
			}
		case group == "kustomize.toolkit.fluxcd.io":
			if k, ok := kustomization(o); ok && k.Path == w.sites[0].Path && k.Source.Kind == "GitRepository" {
				w.known.anchor = k.Source.Object
			}
		}
	}
}

// variables are those that are filled into what a Kustomization builds.
func (n known) variables(k gitops.Kustomization, secrets *Secrets) render.Variables {
	v := render.Variables{Values: map[string]string{}, Hidden: map[string]bool{}}
	for _, from := range k.Substitution.From {
		data, ok := n.maps[gitops.Object{Kind: from.Kind, Namespace: k.Namespace, Name: from.Name}]
		if !ok {
			data, ok = n.maps[gitops.Object{Kind: from.Kind, Name: from.Name}]
		}
		if live := n.live[gitops.Object{Kind: from.Kind, Namespace: k.Namespace, Name: from.Name}]; !ok && live != nil {
			for name, value := range live {
				delete(v.Hidden, name)
				delete(v.Values, name)
				// A version that nobody can change in Git stays a variable, so that it is seen to be one.
				if _, version := gitops.SplitVersion(value); secrets == nil && (version != "" || gitops.LooksLikeVersion(value)) {
					v.Hidden[name] = true
				} else {
					v.Values[name] = value
				}
			}
			continue
		}
		if !ok && secrets != nil {
			data, ok = secrets.Map(gitops.Object{Kind: from.Kind, Namespace: k.Namespace, Name: from.Name})
		}
		if !ok && !from.Optional {
			v.Open = true
		}
		for name, value := range data {
			delete(v.Hidden, name)
			delete(v.Values, name)
			if from.Kind == "ConfigMap" {
				v.Values[name] = value
			} else {
				v.Hidden[name] = true
			}
		}
	}
	for name, value := range k.Substitution.Values {
		delete(v.Hidden, name)
		v.Values[name] = value
	}
	return v
}

// live are the ConfigMaps of variables that were read in the cluster; nil: none was.
func (e Environment) live() (maps map[gitops.Object]map[string]string) {
	for _, k := range e.Sites {
		if k.Substitution == nil {
			continue
		}
		for _, from := range k.Substitution.From {
			if from.Live != nil && from.Kind == "ConfigMap" {
				if maps == nil {
					maps = map[gitops.Object]map[string]string{}
				}
				maps[gitops.Object{Kind: from.Kind, Namespace: k.Namespace, Name: from.Name}] = from.Live
			}
		}
	}
	return maps
}

// A judge tells which Flux Kustomizations are applied from this repository.
type judge struct {
	tree    *Tree
	env     Environment
	known   known
	ours    map[gitops.Object]bool // live
	anchor  source
	defined bool
}

func newJudge(t *Tree, env Environment, now known) *judge {
	j := &judge{tree: t, env: env, known: now, ours: map[gitops.Object]bool{}}
	for _, o := range env.Sources {
		j.ours[o] = true
	}
	j.anchor, j.defined = now.sources[now.anchor]
	return j
}

// follows gives the directory of this repository that a Kustomization is applied from, or the refusal that says what else
// it is applied from.
func (j *judge) follows(k gitops.Kustomization) (dir string, err error) {
	ref, dir := k.Source.Object, k.Path
	refuse := func(what string) (string, error) {
		return "", &gitops.Refusal{Code: gitops.Layout, Reason: fmt.Sprintf("Flux Kustomization %s/%s is applied from %s, %s. ferry does not look into that.", k.Namespace, k.Name, k.Source.Object, what)}
	}
	if m := variable.FindStringSubmatch(dir); m != nil {
		return "", &gitops.Refusal{Code: gitops.NotInGit, Reason: fmt.Sprintf("Flux Kustomization %s/%s is applied from the directory %s, and the value of %s is not in this repository.", k.Namespace, k.Name, dir, m[1])}
	}
	if ref.Kind == "ExternalArtifact" {
		c := j.known.assemblies[ref].covering(k.Path)
		if c == nil {
			return refuse("an artifact that Flux's ArtifactGenerator assembles")
		}
		ref, dir = c.Source, c.inRepository(k.Path)
	}
	switch defined, ok := j.known.sources[ref]; {
	case ref.Kind != "GitRepository":
		return refuse("which is no Git repository")
	case len(j.ours) > 0:
		if !j.ours[ref] {
			return refuse("another repository or branch")
		}
	case ref == j.known.anchor:
	case ok && j.defined && defined.url == j.anchor.url && (defined.ref == j.anchor.ref || j.anchor.ref == ""):
	case ok && (j.known.anchor != gitops.Object{} || dir == "."):
		return refuse("another repository or branch")
	case !j.tree.isDir(dir):
		of := "which no file here defines"
		if ok {
			of = "which is of " + defined.url
		}
		return "", &gitops.Refusal{Code: gitops.NotInGit, Reason: fmt.Sprintf("Flux Kustomization %s/%s is applied from the directory %s of %s, %s. This repository has no such directory.", k.Namespace, k.Name, dir, ref, of)}
	}
	return dir, nil
}

// keeps fails a site whose source does not hold the files that were built.
func (j *judge) keeps(s *site) {
	from := s.Source.Object
	if s.err != nil {
		return
	}
	if a, ok := j.known.assemblies[from]; ok {
		c := a.covering(s.applied)
		if c == nil || !a.keeps(c.Source, s.Path, s.applied, s.files) {
			s.objects, s.err = nil, &gitops.Refusal{Code: gitops.Layout, Reason: fmt.Sprintf("Flux Kustomization %s is applied from %s, which %s assembles of other files than those in %s. ferry does not look into that.",
				s.key(), from, a.Generator, s.Path)}
			return
		}
		from = c.Source
	}
	if err := render.LeftOut(from, j.known.sources[from].ignore, s.files); err != nil {
		s.objects, s.err = nil, err
	}
}

// RepositoryURL gives host and path of a repository's address, without what differs between its spellings.
func RepositoryURL(address string) string {
	if before, after, ok := strings.Cut(address, ":"); ok && strings.Contains(before, "@") && !strings.Contains(before, "/") {
		address = "ssh://" + before + "/" + after
	}
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return strings.ToLower(u.Hostname() + "/" + strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git"))
}

// kustomization reads a Flux Kustomization.
func kustomization(o render.Object) (k gitops.Kustomization, ok bool) {
	if o.Kind != "Kustomization" || group(o) != "kustomize.toolkit.fluxcd.io" {
		return k, false
	}
	raw, err := json.Marshal(o.Fields["spec"])
	if err != nil {
		return k, false
	}
	var spec struct {
		Path, TargetNamespace, NamePrefix, NameSuffix string
		Components                                    []string
		IgnoreMissingComponents                       bool
		CommonMetadata                                struct{ Labels, Annotations map[string]string }
		Images, Patches                               []map[string]any
		SourceRef                                     struct{ Kind, Namespace, Name string }
		PostBuild                                     *struct {
			Substitute         map[string]any
			SubstituteFrom     []gitops.VariableSource
			SubstituteStrategy string
		}
	}
	if err := json.Unmarshal(raw, &spec); err != nil {
		return k, false // Kubernetes does not take it either
	}
	k = gitops.Kustomization{
		Namespace: o.Namespace, Name: o.Name, Path: cleanPath(spec.Path), TargetNamespace: spec.TargetNamespace,
		NamePrefix: spec.NamePrefix, NameSuffix: spec.NameSuffix, Components: spec.Components, IgnoreMissingComponents: spec.IgnoreMissingComponents,
		Images: spec.Images, Patches: spec.Patches, Labels: spec.CommonMetadata.Labels, Annotations: spec.CommonMetadata.Annotations,
		Source: gitops.Source{Object: gitops.Object{Kind: spec.SourceRef.Kind, Namespace: cmp.Or(spec.SourceRef.Namespace, o.Namespace), Name: spec.SourceRef.Name}},
	}
	if build := spec.PostBuild; build != nil {
		k.Substitution = &gitops.Substitution{From: build.SubstituteFrom, Always: build.SubstituteStrategy == "Always"}
		for i := range k.Substitution.From {
			k.Substitution.From[i].Live = nil // which no file states
		}
		for name, value := range build.Substitute {
			if k.Substitution.Values == nil {
				k.Substitution.Values = map[string]string{}
			}
			k.Substitution.Values[name] = scalar(value)
		}
	}
	return k, true
}

// group is the API group of an object; that of the core is empty.
func group(o render.Object) string {
	version, _ := o.Fields["apiVersion"].(string)
	if group, _, ok := strings.Cut(version, "/"); ok {
		return group
	}
	return ""
}

// at returns what stands at keys, or nil.
func at(fields map[string]any, keys ...string) any {
	var v any = fields
	for _, k := range keys {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	return v
}

func textAt(fields map[string]any, keys ...string) string { return scalar(at(fields, keys...)) }

// scalar is a value as people write it; empty for what is none.
func scalar(v any) string { return gitops.ScalarText(v) }

// within says whether a path is a directory or lies in it.
func within(dir, p string) bool { return p == dir || dir == "." || strings.HasPrefix(p, dir+"/") }

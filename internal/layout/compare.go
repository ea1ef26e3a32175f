package layout

import (
	"cmp"
	"context"
	"maps"
	"reflect"
	"slices"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/render"
)

// Secrets are what a comparison knows of values that no file of the repository states.
type Secrets struct {
	// Stand are in the place of values that are secret or not known.
	Stand render.Sentinels
	// Map gives the values of a ConfigMap in the cluster, or the names of those of a Secret; false: they are not known.
	Map func(o gitops.Object) (values map[string]string, known bool)
}

// stand puts sentinels in the place of what is hidden. It is false if there is nothing.
func (s *Secrets) stand(v *render.Variables) bool {
	if s == nil {
		return false
	}
	sealed := v.Open || len(v.Hidden) > 0
	for name := range v.Hidden {
		v.Values[name] = s.Stand.For(name)
	}
	v.Hidden = nil
	if v.Open {
		v.Unknown = &s.Stand
	}
	return sealed
}

// A Side is one of two trees that are compared, and where building begins in it.
type Side struct {
	Tree        *Tree
	Environment Environment
	// Alone says that no cluster is asked: Flux's own objects are built too where they do not change, for what refers to them.
	Alone bool
}

// A Pair is one Flux Kustomization in two trees. A side is nil where the tree has none.
type Pair struct {
	Base, Head *Built
	// Touched says that the two may differ; the sides of others are not built, unless something else needed it.
	Touched bool
}

// Key is the Kustomization's NAMESPACE/NAME; empty for a directory that stands for one.
func (p Pair) Key() gitops.Object {
	b := p.Head
	if b == nil {
		b = p.Base
	}
	return gitops.Object{Kind: "Kustomization", Namespace: b.Kustomization.Namespace, Name: b.Kustomization.Name}
}

// Built is what a Flux Kustomization applies, by one tree.
type Built struct {
	Kustomization gitops.Kustomization
	Defined       render.Object // the Kustomization in that tree; zero: the tree has none
	Parent        gitops.Object // the Kustomization that applies it; zero: none that is known
	Objects       []render.Object
	// Again are the same objects with the second sentinels in them, in the same order unless a sentinel changes that.
	Again  []render.Object
	Files  []string
	Remote []render.Remote // what it takes from elsewhere, which is not among the objects
	Err    error           // why it cannot be built
}

// Compare builds the Flux Kustomizations of an environment in two trees, as far as changed files, specifications or
// variables make a difference; changed are the files that differ, sorted. Each side is built with both of the secrets.
// What the head itself defines of a Kustomization wins over what is known from elsewhere, and what the base defines and the
// head does not is gone. It fails with the context alone.
func Compare(ctx context.Context, base, head Side, changed []string, secrets [2]*Secrets) ([]Pair, error) {
	c := comparison{sides: [2]Side{base, head}, changed: changed, secrets: secrets}
	var errs [2]error
	sideBySide(2, func(i int) { c.walks[i], errs[i] = c.walk(ctx, i, 0) })
	if err := cmp.Or(errs[0], errs[1]); err != nil {
		return nil, err
	}
	own := &c.sides[1].Environment
	sites := slices.DeleteFunc(slices.Clone(own.Sites), func(k gitops.Kustomization) bool {
		s := c.walks[0].site((&site{Kustomization: k}).key())
		return s != nil && s.parent != nil
	})
	var err error
	if len(sites) < len(own.Sites) { // what was built is there
		own.Sites = sites
		if c.walks[1], err = c.walk(ctx, 1, 0); err != nil {
			return nil, err
		}
	}
	touched := c.touched()
	again := c.walks
	for i := range c.walks {
		if err := c.complete(ctx, c.walks[i], i, 0, touched); err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(c.walks[i].sites, func(s *site) bool { return s.sealed }) {
			continue
		}
		if again[i], err = c.walk(ctx, i, 1); err != nil {
			return nil, err
		}
		if err := c.complete(ctx, again[i], i, 1, touched); err != nil {
			return nil, err
		}
	}
	var pairs []Pair
	for _, key := range c.keys() {
		p := Pair{Touched: touched[key]}
		for i, side := range []**Built{&p.Base, &p.Head} {
			*side = c.walks[i].built(key, again[i])
		}
		p.Base, p.Head = c.gone(key, 0, p.Base, p.Head), c.gone(key, 1, p.Head, p.Base)
		pairs = append(pairs, p)
	}
	return pairs, nil
}

type comparison struct {
	sides   [2]Side
	changed []string
	secrets [2]*Secrets
	walks   [2]*walk
}

// walk outlines one side with one of the secrets; what reads changed files is built.
func (c *comparison) walk(ctx context.Context, side, secret int) (*walk, error) {
	s := c.sides[side]
	if len(s.Environment.Sites) == 0 { // the tree has nothing of it
		return &walk{environment: s.Environment}, nil
	}
	needed := c.reads
	if s.Alone {
		words := append([]string{"toolkit.fluxcd.io"}, hiding...)
		needed = func(files []string) bool { return c.reads(files) || s.Tree.say(files, words) }
	}
	return s.Tree.walk(ctx, s.Environment, view{secrets: c.secrets[secret], needed: needed})
}

// reads says whether one of some files is changed.
func (c *comparison) reads(files []string) bool {
	return slices.ContainsFunc(files, func(f string) bool { _, found := slices.BinarySearch(c.changed, f); return found })
}

// keys are the Kustomizations of both sides, those of the head first, parents first.
func (c *comparison) keys() []string {
	var keys []string
	seen := map[string]bool{}
	for _, w := range []*walk{c.walks[1], c.walks[0]} {
		for _, s := range w.sites {
			if !seen[s.key()] {
				seen[s.key()] = true
				keys = append(keys, s.key())
			}
		}
	}
	return keys
}

// touched are the Kustomizations that may differ.
func (c *comparison) touched() map[string]bool {
	touched := map[string]bool{}
	for _, key := range c.keys() {
		a, b := c.walks[0].site(key), c.walks[1].site(key)
		touched[key] = a == nil || b == nil || c.reads(a.files) || c.reads(b.files) || !same(a.Kustomization, b.Kustomization) ||
			!reflect.DeepEqual(a.defined.Fields, b.defined.Fields) || !reflect.DeepEqual(c.variables(0, a), c.variables(1, b))
	}
	return touched
}

// same says whether two Kustomizations ask for the same.
func same(a, b gitops.Kustomization) bool {
	_, x, err := specification(a)
	_, y, err2 := specification(b)
	return err == nil && err2 == nil && x == y && reflect.DeepEqual(a.Substitution, b.Substitution) && maps.Equal(a.Labels, b.Labels) &&
		maps.Equal(a.Annotations, b.Annotations) && a.Source.Object == b.Source.Object
}

// variables are those that are filled into a site.
func (c *comparison) variables(side int, s *site) render.Variables {
	if s.Substitution == nil {
		return render.Variables{}
	}
	v := c.walks[side].known.variables(s.Kustomization, c.secrets[0])
	v.Hidden = maps.Clone(v.Hidden)
	return v
}

// complete builds what was left out of a walk and is touched.
func (c *comparison) complete(ctx context.Context, w *walk, side, secret int, touched map[string]bool) error {
	var left []*site
	for _, s := range w.sites {
		if s.left && touched[s.key()] {
			s.left = false
			left = append(left, s)
		}
	}
	t := c.sides[side].Tree
	if err := t.buildAll(ctx, left, w.known, view{secrets: c.secrets[secret]}); err != nil {
		return err
	}
	judge := newJudge(t, w.environment, w.known)
	for _, s := range left {
		judge.keeps(s)
	}
	return nil
}

// site finds a Kustomization of a walk; nil: there is none.
func (w *walk) site(key string) *site {
	if i := slices.IndexFunc(w.sites, func(s *site) bool { return s.key() == key }); i >= 0 {
		return w.sites[i]
	}
	return nil
}

// built is what a walk has of a Kustomization, and another walk of the same tree; nil if it has none.
func (w *walk) built(key string, again *walk) *Built {
	s := w.site(key)
	if s == nil {
		return nil
	}
	b := &Built{Kustomization: s.Kustomization, Defined: s.defined, Objects: s.objects, Again: s.objects, Files: s.files, Remote: s.remote, Err: s.err}
	if s.parent != nil {
		b.Parent = gitops.Object{Kind: "Kustomization", Namespace: s.parent.Namespace, Name: s.parent.Name}
	}
	if other := again.site(key); again != w && other != nil {
		b.Again = make([]render.Object, len(other.objects))
		for i, o := range other.objects {
			b.Again[i] = render.Quoted(o)
		}
		if b.Err == nil {
			b.Err = other.err
		}
	}
	return b
}

// gone gives the side of a Kustomization that a walk has not: nil where the tree has none, else why it could not be built.
func (c *comparison) gone(key string, side int, own, other *Built) *Built {
	if own != nil || other == nil {
		return own
	}
	w := c.walks[side]
	if i := slices.IndexFunc(w.problems, func(p Problem) bool { return p.Kustomization == key }); i >= 0 {
		return &Built{Kustomization: other.Kustomization, Parent: other.Parent, Err: w.problems[i].Err}
	}
	for s := c.walks[1-side].site(key); s != nil && s.parent != nil; s = s.parent {
		if parent := w.site(s.parent.key()); parent != nil && parent.err != nil {
			return &Built{Kustomization: other.Kustomization, Parent: other.Parent, Err: parent.err}
		}
	}
	return nil
}

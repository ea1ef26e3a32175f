package operation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/layout"
)

// Places is the answer to where: the version fields of an environment.
type Places struct {
	Places []Place
	// Others are the other environments that AlsoFeeds is about.
	Others []string
	// Problems are sentences about what could not be built or read, whose fields are not among them.
	Problems []string
}

// A Place is one version field of an application: where it stands in the repository.
type Place struct {
	Application string             `json:"application"`
	Namespace   string             `json:"namespace"`
	Kind        gitops.VersionKind `json:"kind"`
	File        string             `json:"file"`
	Line        int                `json:"line"`
	Path        string             `json:"path"` // in the file, unique there
	Value       string             `json:"value"`
	AlsoFeeds   []string           `json:"alsoFeeds"` // other environments that the same bytes feed; nil where none is known to look at
	Proved      bool               `json:"proved"`    // a build showed that the field follows these bytes

	// Refusal is why the field cannot be edited; nil where it can.
	Refusal error `json:"-"`
	// Owner names the application whole, Name the chart, image or variable.
	Owner gitops.Key `json:"-"`
	Name  string     `json:"-"`
	// Beside says that it is the digest beside the tag of another place, with which it changes.
	Beside bool `json:"-"`
}

// A Repository answers where and plan about one tree of files, and keeps what it learned of it.
type Repository struct {
	files fs.FS
	tree  *layout.Tree
	also  []string

	mu     sync.Mutex
	opened map[[2]string]opened // by root and name
}

// opened is an environment, and all others that the tree has.
type opened struct {
	environment layout.Environment
	others      []layout.Environment
}

// Open makes a Repository of files that do not change. Environments have their root directories in also, besides those
// that the files tell of.
func Open(files fs.FS, also ...string) *Repository {
	return &Repository{files: files, tree: layout.Open(files), also: also, opened: map[[2]string]opened{}}
}

// Where locates the version fields of an application, or of all where application is empty, in what the Flux of a root
// directory builds. The environment is called name.
func (r *Repository) Where(ctx context.Context, root, name, application string) (Places, error) {
	o, err := r.open(ctx, root, name)
	if err != nil {
		return Places{}, err
	}
	if err := r.builds(ctx, o.environment, root); err != nil {
		return Places{}, err
	}
	fields, problems, err := r.tree.Survey(ctx, o.environment, o.others, application)
	if err != nil {
		return Places{}, err
	}
	if application != "" && len(fields) == 0 {
		_, err := r.tree.Plan(ctx, o.environment, nil, layout.Change{Application: application}) // which says why
		return Places{}, err
	}
	return placesOf(fields, problems, o.others), nil
}

func placesOf(fields []layout.Field, problems []layout.Problem, others []layout.Environment) Places {
	places := Places{Places: []Place{}, Others: called(others)}
	for _, f := range fields {
		places.Places = append(places.Places, Place{Application: f.Application.Name, Namespace: f.Application.Namespace, Kind: f.Version.Kind,
			File: f.File, Line: f.Line, Path: f.Path, Value: f.Value, AlsoFeeds: fed(f.AlsoFeeds, others), Proved: f.Proved,
			Refusal: f.Refusal, Owner: f.Application, Name: f.Name(), Beside: f.Beside()})
	}
	for _, p := range problems {
		if sentence := problem(p); slices.Contains(places.Others, p.Environment) {
			places.Problems = append(places.Problems, fmt.Sprintf("Whether any of these feeds %s is not known. %s", p.Environment, sentence))
		} else {
			places.Problems = append(places.Problems, sentence)
		}
	}
	return places
}

// called are the names of environments.
func called(environments []layout.Environment) []string {
	all := []string{}
	for _, e := range environments {
		all = append(all, e.Name)
	}
	return all
}

// fed is nil where there is no other environment to look at, and empty where there is and none is fed.
func fed(alsoFeeds []string, others []layout.Environment) []string {
	if len(others) == 0 {
		return nil
	}
	return append([]string{}, alsoFeeds...)
}

// Everywhere is Where in all environments, which are called by their root directories and sorted.
func (r *Repository) Everywhere(ctx context.Context, application string) (roots []string, all []Places, err error) {
	roots, err = r.tree.All(ctx)
	if err != nil && len(r.also) == 0 {
		return nil, nil, err
	}
	roots = append(roots, r.also...)
	slices.Sort(roots)
	roots = slices.Compact(roots)
	environments, err := r.environments(ctx, roots)
	if err != nil {
		return nil, nil, err
	}
	var broken error
	for _, e := range environments {
		if broken = r.builds(ctx, e, e.Name); broken == nil {
			break
		}
	}
	if broken != nil { // all of them
		return nil, nil, broken
	}
	found, err := r.tree.Surveys(ctx, environments, application)
	any := false
	for i, f := range found {
		all = append(all, placesOf(f.Fields, f.Problems, slices.Delete(slices.Clone(environments), i, i+1)))
		any = any || len(f.Fields) > 0
	}
	if err == nil && application != "" && !any {
		err = &gitops.Refusal{Code: gitops.NotFound, Reason: fmt.Sprintf("Nothing that is built for %s is called %s and has a version.", strings.Join(roots, ", "), application)}
	}
	return roots, all, err
}

// Reads says whether what the Flux of a root directory builds reads a file.
func (r *Repository) Reads(ctx context.Context, root, file string) bool {
	o, err := r.open(ctx, root, root)
	return err == nil && r.tree.Reads(ctx, o.environment, file)
}

// problem is a sentence about what could not be built.
func problem(p layout.Problem) string {
	if r := (*gitops.Refusal)(nil); errors.As(p.Err, &r) {
		return fmt.Sprintf("%s: %s", p.Kustomization, strings.Join(append([]string{r.Reason}, r.Details...), " "))
	}
	return fmt.Sprintf("%s: %v", p.Kustomization, p.Err)
}

// builds refuses an environment whose root does not build.
func (r *Repository) builds(ctx context.Context, env layout.Environment, root string) error {
	err := r.tree.Builds(ctx, env)
	refusal := (*gitops.Refusal)(nil)
	if !errors.As(err, &refusal) {
		return err
	}
	titled := *refusal
	titled.Title = root + " does not build"
	return &titled
}

// open finds the environment of a root directory and all others, once.
func (r *Repository) open(ctx context.Context, root, name string) (opened, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := [2]string{root, name}
	if o, ok := r.opened[key]; ok {
		return o, nil
	}
	env, err := r.tree.Root(ctx, root, name)
	if err != nil {
		return opened{}, err
	}
	roots, err := r.tree.Roots(ctx, env)
	if err != nil {
		return opened{}, err
	}
	roots = slices.DeleteFunc(append(roots, r.also...), func(other string) bool { return other == root })
	slices.Sort(roots)
	roots = slices.Compact(roots)
	if slices.Contains(roots, name) {
		return opened{}, fmt.Errorf("%s cannot be called %s: another environment of this repository is there", root, name)
	}
	others, err := r.environments(ctx, roots)
	if err != nil {
		return opened{}, err
	}
	o := opened{env, others}
	r.opened[key] = o
	return o, nil
}

// environments finds those of root directories, which they are called by.
func (r *Repository) environments(ctx context.Context, roots []string) ([]layout.Environment, error) {
	all := make([]layout.Environment, len(roots))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, root := range roots {
		group.Go(func() (err error) {
			all[i], err = r.tree.Root(ctx, root, root)
			return err
		})
	}
	return all, group.Wait()
}

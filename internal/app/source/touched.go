package source

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ferry-chatops/ferry/internal/app/config"
	"github.com/ferry-chatops/ferry/internal/chatops"
	"github.com/ferry-chatops/ferry/internal/github"
	"github.com/ferry-chatops/ferry/internal/operation"
	"github.com/ferry-chatops/ferry/internal/promotion"
	"github.com/ferry-chatops/ferry/internal/watch"
)

const (
	touchTime = 20 * time.Second // to fetch a commit and to look; the message goes without an answer then
	touchHold = time.Minute      // after a commit that could not be fetched, no other is tried: each event would wait for it
	maxTrees  = 4                // commits that are kept: a branch's head is that of many pull requests
)

// A reacher says what the files of pull requests reach, in the trees of their base branches.
type reacher struct {
	places     []config.Place
	repository func(name string) (promotion.Repository, error)

	mu   sync.Mutex // held while one is fetched: the other stream is about to ask for the same
	kept []keptTree
	held map[string]time.Time // repositories, by lower-case name, and until when nothing is fetched of them
}

// touched is what an event's pull request touches; zero where it cannot be told.
func (s *Sources) touched(ctx context.Context, w *watching, e watch.Event) chatops.Touched {
	touched, err := w.reacher.reaches(ctx, e)
	if err != nil {
		s.log.Warn("environments of a pull request are not known", "event", e.Key, "error", err)
		return chatops.Touched{}
	}
	return touched
}

type keptTree struct {
	name string // REPOSITORY@SHA
	operation.Reach
}

// reaches tells it; zero where it cannot be told.
func (r *reacher) reaches(ctx context.Context, e watch.Event) (chatops.Touched, error) {
	p, places := e.PullRequest, r.roots(e)
	if len(places) == 0 || len(e.Files) == 0 || p.Base.SHA == "" {
		return chatops.Touched{}, nil
	}
	var files []string
	for _, f := range e.Files {
		files = append(files, f.Name)
		if f.Previous != "" {
			files = append(files, f.Previous)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, touchTime)
	defer cancel()
	tree, err := r.tree(ctx, e.Repository, p.Base.SHA)
	if err != nil {
		return chatops.Touched{}, err
	}
	environments, applications, err := tree.Of(ctx, places, files)
	return chatops.Touched{Environments: environments, Applications: applications}, err
}

// errHeld says that a commit of the repository could not be fetched a moment ago.
var errHeld = errors.New("not tried again so soon")

// roots are the environments that follow the branch that an event's pull request is meant for.
func (r *reacher) roots(e watch.Event) (places []operation.Root) {
	for _, one := range r.places {
		if at := one.Repository; strings.EqualFold(at.Name, e.Repository) && (at.Branch == "" || at.Branch == e.PullRequest.Base.Ref) {
			places = append(places, operation.Root{Environment: one.Name, Path: at.Path})
		}
	}
	return places
}

// tree is that of a commit, fetched once.
func (r *reacher) tree(ctx context.Context, repository, sha string) (operation.Reach, error) {
	place := strings.ToLower(repository)
	name := place + "@" + sha
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.IndexFunc(r.kept, func(k keptTree) bool { return k.name == name }); i >= 0 {
		return r.kept[i].Reach, nil
	}
	if time.Now().Before(r.held[place]) {
		return operation.Reach{}, errHeld
	}
	from, err := r.repository(repository)
	if err != nil {
		return operation.Reach{}, err
	}
	files, err := from.Tree(ctx, sha)
	if err != nil {
		if !errors.Is(ctx.Err(), context.Canceled) { // by the stream's end
			if r.held == nil {
				r.held = map[string]time.Time{}
			}
			r.held[place] = time.Now().Add(touchHold)
		}
		return operation.Reach{}, err
	}
	tree := operation.NewReach(files)
	r.kept = append(r.kept, keptTree{name, tree})
	r.kept = r.kept[max(0, len(r.kept)-maxTrees):]
	return tree, nil
}

// repositories opens those of the configuration with the credentials of their owners.
func (s *Sources) repositories(c config.Source, accounts []github.Account) func(name string) (promotion.Repository, error) {
	clients := map[string]*github.Client{} // by account; used below a lock of the reacher's
	return func(name string) (promotion.Repository, error) {
		a := accountOf(accounts, name)
		client := clients[a.Name]
		if client == nil {
			var err error
			client, err = github.New(github.Config{
				BaseURL: c.GitHub.BaseURL, Token: a.Token, App: a.App, Allowed: func(string) bool { return true }, // what is watched is configured
				Tree: func(ctx context.Context, remote, header, sha string) (fs.FS, error) {
					return s.trees.Tree(ctx, remote, header, sha)
				},
			}, s.log)
			if err != nil {
				return nil, err
			}
			clients[a.Name] = client
		}
		return client.Repository(name)
	}
}

// accountOf is the one for a repository: the first that names its owner, else one for all others.
func accountOf(accounts []github.Account, repository string) github.Account {
	owner, _, _ := strings.Cut(repository, "/")
	for _, a := range accounts {
		if slices.ContainsFunc(a.Owners, func(o string) bool { return strings.EqualFold(o, owner) }) {
			return a
		}
	}
	for _, a := range accounts {
		if len(a.Owners) == 0 {
			return a
		}
	}
	return github.Account{}
}

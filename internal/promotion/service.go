package promotion

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/layout"
	"github.com/ferry-chatops/ferry/internal/operation"
)

// A Mode is how a change gets into a branch.
type Mode string

// The modes. Auto commits where the branch's rules allow it, and opens a pull request where they do not.
const (
	Auto        Mode = "auto"
	Commit      Mode = "commit"
	PullRequest Mode = "pullRequest"
)

// Settings are an environment's rules for changes.
type Settings struct {
	Environment string
	// Repository ("owner/name") and Branch override what the Flux source of an application says.
	Repository, Branch string
	Mode               Mode
	ConfirmOptional    bool          // --yes may skip the card
	Wait               time.Duration // how long an answer waits for the end
	Timeout            time.Duration // when verification gives up
}

// A Service changes versions. Its fields are set once; methods may be called side by side.
type Service struct {
	Cluster      Cluster
	Repositories Repositories
	Charts       Charts
	Settings     []Settings // in configuration order
	Host         string     // of repositories in the URLs of Flux sources: "github.com"
	Now          func() time.Time
	NewID        func() string // a promotion's random id
	Log          *slog.Logger
	Claims       *Claims // shared by all services of a process

	lag time.Duration // how far GitHub's replicas may be behind; zero: 3 s
}

// A Result is a card to confirm, or what became of the change. One of both is set.
type Result struct {
	Card    *Card
	Outcome *Outcome
}

func (s *Service) environments() []string {
	names := make([]string, len(s.Settings))
	for i, e := range s.Settings {
		names[i] = e.Environment
	}
	return names
}

func (s *Service) settings(environment string) (Settings, error) {
	if err := operation.Known(s.environments(), environment); err != nil {
		return Settings{}, err
	}
	return s.Settings[slices.Index(s.environments(), environment)], nil
}

// find returns the application that a name means in an environment.
func (s *Service) find(ctx context.Context, environment, name string, again func(name string) string) (gitops.Application, error) {
	apps, err := s.Cluster.Applications(ctx, environment)
	if err != nil {
		return gitops.Application{}, err
	}
	app, _, err := operation.Find(apps, environment, name, again)
	return app, err
}

// A place is a repository at one commit, with everything that Flux builds from its branch.
type place struct {
	repository Repository
	name       string
	branch     string
	head       string
	tree       fs.FS
	sites      []layout.Site
	unread     []string // environments whose Kustomizations could not be listed
}

// place opens the repository that an application comes from, at the head of its branch.
func (s *Service) place(ctx context.Context, app gitops.Application, settings Settings) (place, error) {
	p, err := s.origin(app, settings)
	if err != nil {
		return place{}, err
	}
	p.sites, p.unread = s.sites(ctx, p.name, p.branch)
	if slices.Contains(p.unread, app.Environment) {
		return place{}, &gitops.Refusal{Code: gitops.Unreachable, Title: app.Environment + " cannot be read",
			Reason: fmt.Sprintf("The Flux Kustomizations of %s could not be listed.", app.Environment), Next: []string{"list " + app.Name}}
	}
	if err := s.refresh(ctx, &p); err != nil {
		return place{}, err
	}
	return p, nil
}

// refresh moves a place to the branch's present head.
func (s *Service) refresh(ctx context.Context, p *place) (err error) {
	if p.head, err = p.repository.Head(ctx, p.branch); err != nil {
		return err
	}
	p.tree, err = p.repository.Tree(ctx, p.head)
	return err
}

// origin says which repository and branch an application comes from.
func (s *Service) origin(app gitops.Application, settings Settings) (place, error) {
	if app.Owner == nil {
		return place{}, &gitops.Refusal{Code: gitops.NotInGit,
			Reason: fmt.Sprintf("No Flux Kustomization applies %s in %s, so no file in Git decides its version.", app.Name, app.Environment)}
	}
	source := app.Owner.Source
	name, branch := settings.Repository, cmp.Or(settings.Branch, source.Branch)
	if name == "" {
		var ok bool
		if name, ok = repositoryName(source.URL, s.Host); source.Kind != "GitRepository" || !ok {
			return place{}, &gitops.Refusal{Code: gitops.Layout,
				Reason: fmt.Sprintf("%s in %s comes from %s, which is no repository on %s.", app.Name, app.Environment, source.Object, s.Host)}
		}
	}
	if branch == "" {
		return place{}, &gitops.Refusal{Code: gitops.BranchOnly,
			Reason: fmt.Sprintf("%s follows a tag or a commit, not a branch, so a commit would not arrive in %s.", source.Object, app.Environment)}
	}
	repository, err := s.Repositories.Repository(name)
	if err != nil {
		return place{}, err
	}
	return place{repository: repository, name: name, branch: branch}, nil
}

// sites lists the Flux Kustomizations of all environments that follow a branch, and the environments that could not
// be asked.
func (s *Service) sites(ctx context.Context, repository, branch string) (sites []layout.Site, unread []string) {
	answers := make([][]gitops.Kustomization, len(s.Settings))
	failures := make([]error, len(s.Settings))
	var wg sync.WaitGroup
	for i, e := range s.Settings {
		wg.Go(func() { answers[i], failures[i] = s.Cluster.Kustomizations(ctx, e.Environment) })
	}
	wg.Wait()
	for i, e := range s.Settings {
		if failures[i] != nil {
			s.Log.Warn("list Kustomizations", "environment", e.Environment, "error", failures[i])
			unread = append(unread, e.Environment)
		}
		for _, k := range answers[i] {
			name, ok := repositoryName(k.Source.URL, s.Host)
			if e.Repository != "" {
				name, ok = e.Repository, true
			}
			if ok && k.Source.Kind == "GitRepository" && strings.EqualFold(name, repository) && cmp.Or(e.Branch, k.Source.Branch) == branch {
				sites = append(sites, layout.Site{Environment: e.Environment, Kustomization: k})
			}
		}
	}
	return sites, unread
}

// repositoryName reads owner/name from the URL of a Flux source: https://host/owner/name(.git), ssh://git@host/… or the
// short form git@host:owner/name. It is false for another host.
func repositoryName(address, host string) (string, bool) {
	if before, after, ok := strings.Cut(address, ":"); ok && strings.Contains(before, "@") && !strings.Contains(before, "/") {
		address = "ssh://" + before + "/" + after
	}
	u, err := url.Parse(address)
	if err != nil || !strings.EqualFold(u.Host, host) && !strings.EqualFold(u.Hostname(), host) {
		return "", false
	}
	parts := strings.Split(strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git"), "/")
	if len(parts) != 2 || parts[0] == "" || parts[1] == "" {
		return "", false
	}
	return parts[0] + "/" + parts[1], true
}

// Claims keeps two changes of the same application from being written at once, whoever asked for them in whatever
// channel. The zero value is ready.
type Claims struct {
	mu    sync.Mutex
	taken map[gitops.Key]bool
}

// claim takes the right to change one application until release is called.
func (c *Claims) claim(key gitops.Key) (release func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.taken[key] {
		return nil, &gitops.Refusal{Code: gitops.Busy, Title: "One at a time",
			Reason: fmt.Sprintf("Another change of %s in %s is under way at this moment.", key.Name, key.Environment),
			Next:   []string{fmt.Sprintf("status %s on %s", key.Name, key.Environment)}}
	}
	if c.taken == nil {
		c.taken = map[gitops.Key]bool{}
	}
	c.taken[key] = true
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.taken, key)
	}, nil
}

// Wait is how long an answer to a change of an environment may wait for the end; zero for an unknown environment.
func (s *Service) Wait(environment string) time.Duration {
	settings, err := s.settings(environment)
	if err != nil {
		return 0
	}
	return settings.Wait
}

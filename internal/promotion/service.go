package promotion

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
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
	// Namespaces are the environment's, if it has not the whole cluster.
	Namespaces      []string
	Mode            Mode
	Access          gitops.Access // who may change it
	ConfirmOptional bool          // --yes may skip the card
	Wait            time.Duration // how long an answer waits for the end
	Timeout         time.Duration // when verification gives up
	// Fields decide the versions of their applications, whatever else would be found.
	Fields []gitops.Located
}

// A Service changes versions. Its fields are set once; methods may be called side by side.
type Service struct {
	Cluster      Cluster
	Repositories Repositories
	Charts       Charts
	Settings     []Settings // in configuration order
	Also         []string   // repositories ("owner/name") that applications may come from, whatever their environment's is
	Host         string     // of repositories in the URLs of Flux sources: "github.com"
	Signed       bool       // GitHub signs what is committed through its API, as github.com does; an Enterprise Server may not
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

func (s *Service) settings(environment string, again func(environment string) string) (Settings, error) {
	if err := operation.Known(s.environments(), environment, again); err != nil {
		return Settings{}, err
	}
	return s.Settings[slices.Index(s.environments(), environment)], nil
}

// permit refuses somebody who may not change one of the environments. It is asked for the environment of a change before
// anything is read for it, and for those that change with it as soon as they are known.
func (s *Service) permit(by string, environments ...string) error {
	for _, e := range s.Settings {
		if slices.Contains(environments, e.Environment) && !e.Access.Permits(by) {
			s.Log.Warn("refused by the configuration", "rule", e.Access.Rule, "environment", e.Environment, "by", by)
			return e.Access.Refuse(e.Environment, by)
		}
	}
	return nil
}

// find returns the application that a name means in an environment. note says so where the name is that of a part.
func (s *Service) find(ctx context.Context, environment, name string, again func(name string) string) (app gitops.Application, note []string, err error) {
	apps, err := s.Cluster.Applications(ctx, environment)
	if err != nil {
		return gitops.Application{}, nil, err
	}
	app, via, err := operation.Find(apps, environment, name, again)
	if via != "" {
		note = []string{fmt.Sprintf("%s is a part of %s %s, which is what this is about.", via, app.Kind, app.Key)}
	}
	return app, note, err
}

// A place is a repository at one commit, with everything that Flux builds from its branch.
type place struct {
	repository Repository
	name       string
	branch     string
	head       string
	tree       *layout.Tree
	all        []layout.Environment // that follow the branch
	unread     []string             // environments whose Kustomizations could not be listed
	after      []gitops.Object      // the Kustomizations that wait for the application's
}

// environment is the one of a name, and the others.
func (p place) environment(name string) (own layout.Environment, others []layout.Environment) {
	own.Name = name
	for _, e := range p.all {
		if e.Name == name {
			own = e
		} else {
			others = append(others, e)
		}
	}
	return own, others
}

// place opens the repository that an application comes from, at the head of its branch.
func (s *Service) place(ctx context.Context, app gitops.Application, settings Settings) (place, error) {
	p, err := s.origin(app, settings)
	if err != nil {
		return place{}, err
	}
	var listed map[string][]gitops.Kustomization
	p.all, p.unread, listed = s.followers(ctx, p.name, p.branch)
	owner := gitops.Object{Kind: "Kustomization", Namespace: app.Owner.Namespace, Name: app.Owner.Name}
	for _, k := range listed[app.Environment] {
		if slices.Contains(k.DependsOn, owner) {
			p.after = append(p.after, gitops.Object{Kind: "Kustomization", Namespace: k.Namespace, Name: k.Name})
		}
	}
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
	p.tree, err = s.Claims.tree(p.name+"@"+p.head, func() (fs.FS, error) { return p.repository.Tree(ctx, p.head) })
	return err
}

// origin says which repository and branch an application comes from.
func (s *Service) origin(app gitops.Application, settings Settings) (place, error) {
	if app.Owner == nil {
		return place{}, &gitops.Refusal{Code: gitops.NotInGit,
			Reason: fmt.Sprintf("No Flux Kustomization applies %s in %s, so no file in Git decides its version.", app.Name, app.Environment)}
	}
	source := app.Owner.Source
	name, branch, ok := s.follows(source, settings)
	if !ok {
		refusal := &gitops.Refusal{Code: gitops.Layout,
			Reason: fmt.Sprintf("%s in %s comes from %s, which is no repository on %s.", app.Name, app.Environment, source.Object, s.Host)}
		if settings.Repository != "" && source.Kind == "GitRepository" {
			refusal.Reason = fmt.Sprintf("%s in %s comes from %s, which is another repository than the configured %s. If ferry may change it, name it under github.repositories.", app.Name, app.Environment, source.Object, settings.Repository)
		}
		return place{}, refusal
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

// Follows gives the repository and the branch that a source stands for in an environment; the branch is empty where it
// follows a tag or a commit. It is false for what is no repository on GitHub that ferry may use.
func (s *Service) Follows(environment string, source gitops.Source) (repository, branch string, ok bool) {
	settings, ok := s.of(environment)
	if !ok {
		return "", "", false
	}
	return s.follows(source, settings)
}

// follows gives the repository that a source is of, and its branch. A configured one counts where the source's URL is one
// of another host: a mirror. A source of another repository on GitHub is not the configured one, and counts only where
// that is named too.
func (s *Service) follows(source gitops.Source, settings Settings) (name, branch string, ok bool) {
	if source.Kind != "GitRepository" {
		return "", "", false
	}
	name, ok = repositoryName(source.URL, s.Host)
	branch = cmp.Or(settings.Branch, source.Branch)
	switch {
	case settings.Repository == "":
		return name, branch, ok
	case !ok && elsewhere(source.URL, s.Host), strings.EqualFold(name, settings.Repository):
		return settings.Repository, branch, true
	default:
		return name, source.Branch, slices.ContainsFunc(s.Also, func(also string) bool { return strings.EqualFold(also, name) })
	}
}

// followers lists the environments with Flux Kustomizations that follow a branch, those that could not be asked, and all
// Kustomizations of the others.
func (s *Service) followers(ctx context.Context, repository, branch string) (all []layout.Environment, unread []string, listed map[string][]gitops.Kustomization) {
	listed = map[string][]gitops.Kustomization{}
	answers := make([][]gitops.Kustomization, len(s.Settings))
	failures := operation.Together(len(s.Settings), func(i int) (err error) {
		answers[i], err = s.Cluster.Kustomizations(ctx, s.Settings[i].Environment)
		return err
	})
	for i, e := range s.Settings {
		if failures[i] != nil {
			s.Log.Warn("list Kustomizations", "environment", e.Environment, "error", failures[i])
			unread = append(unread, e.Environment)
		}
		listed[e.Environment] = answers[i]
		env := layout.Environment{Name: e.Environment, Namespaces: e.Namespaces}
		for _, k := range answers[i] {
			if name, of, ok := s.follows(k.Source, e); ok && strings.EqualFold(name, repository) && of == branch {
				env.Sites = append(env.Sites, k)
				if !slices.Contains(env.Sources, k.Source.Object) {
					env.Sources = append(env.Sources, k.Source.Object)
				}
			}
		}
		if len(env.Sites) > 0 {
			all = append(all, env)
		}
	}
	return all, unread, listed
}

// repositoryName reads owner/name from the URL of a Flux source: https://host/owner/name(.git), ssh://git@host/… or the
// short form git@host:owner/name. It is false for anything else, plain HTTP but on this machine among it.
func repositoryName(address, host string) (string, bool) {
	u, err := parseSource(address)
	if err != nil || !onHost(address, host) || u.RawQuery != "" || u.Fragment != "" || u.EscapedPath() != u.Path {
		return "", false
	}
	parts := strings.Split(strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git"), "/")
	if len(parts) != 2 || parts[0] == "" || parts[1] == "" {
		return "", false
	}
	return parts[0] + "/" + parts[1], true
}

func parseSource(address string) (*url.URL, error) {
	if before, after, ok := strings.Cut(address, ":"); ok && strings.Contains(before, "@") && !strings.Contains(before, "/") {
		address = "ssh://" + before + "/" + after
	}
	return url.Parse(address)
}

// elsewhere says whether a source's URL names another host than the GitHub in use, whatever the port and protocol.
func elsewhere(address, host string) bool {
	u, err := parseSource(address)
	name, _, _ := strings.Cut(host, ":")
	return err == nil && u.Hostname() != "" && !strings.EqualFold(u.Hostname(), name)
}

// onHost says whether a source's URL is one of the GitHub in use.
func onHost(address, host string) bool {
	u, err := parseSource(address)
	if err != nil {
		return false
	}
	switch name, _, _ := strings.Cut(host, ":"); u.Scheme {
	case "https":
		return strings.EqualFold(u.Host, host)
	case "http":
		ip := net.ParseIP(u.Hostname())
		return strings.EqualFold(u.Host, host) && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
	case "ssh":
		return strings.EqualFold(u.Hostname(), name) && (u.Port() == "" || u.Port() == "22")
	default:
		return false
	}
}

// Claims is what all services of a process share. It keeps answers from waiting in too great a number, and two changes
// of the same field from being written at once, whoever asked for them in whatever channel. The zero value is ready.
type Claims struct {
	mu      sync.Mutex
	taken   map[string]bool
	waiting int
	trees   []opened // the newest last
}

// opened is a tree at a commit, with what was built of it.
type opened struct {
	commit string // REPOSITORY@SHA
	tree   *layout.Tree
}

// maxTrees is how many commits are kept: a question and its confirmation are about the same one.
const maxTrees = 2

// tree gives the tree of a commit, which is opened at most once while it is kept.
func (c *Claims) tree(commit string, open func() (fs.FS, error)) (*layout.Tree, error) {
	c.mu.Lock()
	for _, o := range c.trees {
		if o.commit == commit {
			c.mu.Unlock()
			return o.tree, nil
		}
	}
	c.mu.Unlock()
	files, err := open()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	tree := layout.Open(files)
	c.trees = append(c.trees, opened{commit, tree})
	c.trees = c.trees[max(0, len(c.trees)-maxTrees):]
	return tree, nil
}

// maxWaiting is how many answers may wait for a rollout at once: the host has ten workers for all plugins together.
const maxWaiting = 3

// wait takes one of the places for waiting until done is called. It is false where all are taken.
func (c *Claims) wait() (done func(), ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting >= maxWaiting {
		return nil, false
	}
	c.waiting++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.waiting--
	}, true
}

// claim takes the right to change one field until release is called.
func (c *Claims) claim(in intent, plan gitops.Plan) (release func(), err error) {
	field := strings.Join([]string{plan.Repository, plan.Branch, plan.Edits[0].File, strconv.Itoa(plan.Edits[0].Line), plan.Edits[0].Path}, "\x00")
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.taken[field] {
		return nil, &gitops.Refusal{Code: gitops.Busy, Title: "One at a time",
			Reason: fmt.Sprintf("Another change of %s in %s is being written at this moment.", in.app.Name, in.app.Environment),
			Next:   []string{in.status()}}
	}
	if c.taken == nil {
		c.taken = map[string]bool{}
	}
	c.taken[field] = true
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.taken, field)
	}, nil
}

// Wait is how long an answer to a change of an environment may wait for the end; zero for an unknown environment.
func (s *Service) Wait(environment string) time.Duration {
	i := slices.Index(s.environments(), environment)
	if i < 0 {
		return 0
	}
	return s.Settings[i].Wait
}

// Package executor wires the executor plugin: configuration, clusters, GitHub and git behind the chat.
package executor

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	stdlog "log"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ferry-chatops/ferry/internal/app/config"
	"github.com/ferry-chatops/ferry/internal/app/overrides"
	"github.com/ferry-chatops/ferry/internal/blueprint"
	"github.com/ferry-chatops/ferry/internal/chatops"
	"github.com/ferry-chatops/ferry/internal/cluster"
	"github.com/ferry-chatops/ferry/internal/git"
	"github.com/ferry-chatops/ferry/internal/github"
	"github.com/ferry-chatops/ferry/internal/helm"
	"github.com/ferry-chatops/ferry/internal/operation"
	plugin "github.com/ferry-chatops/ferry/internal/plugin/executor"
	"github.com/ferry-chatops/ferry/internal/plugin/hostlog"
	"github.com/ferry-chatops/ferry/internal/promotion"
	"github.com/ferry-chatops/ferry/internal/report"
)

// Serve answers the host until it ends the process. stderr is the process's own standard error. Started by itself to render
// charts, it does that instead.
func Serve(version string, stderr io.Writer) error {
	if helm.Work() {
		return nil
	}
	log := hostlog.New(stderr, slog.LevelDebug)
	cluster.UseLogger(log)
	stdlog.SetFlags(0) // kustomize warns through it, in words that a repository may choose
	stdlog.SetOutput(slog.NewLogLogger(log.Handler(), slog.LevelDebug).Writer())
	about, err := about(version)
	if err != nil {
		return err
	}
	responder, err := New(log)
	if err != nil {
		return err
	}
	defer responder.Close() // a temporary directory, at the end of the process
	// git is found: from now on no library starts anything by its name.
	if err := os.Setenv("PATH", ""); err != nil {
		return fmt.Errorf("empty PATH: %w", err)
	}
	plugin.Serve(plugin.New(responder, about, log))
	return nil
}

// about describes the plugin to the host and to its index.
func about(version string) (plugin.About, error) {
	schema, err := config.Schema()
	if err != nil {
		return plugin.About{}, err
	}
	return plugin.About{Version: version, Description: "Moves releases between Kubernetes environments, the GitOps way.",
		DocumentationURL: "https://github.com/ferry-chatops/ferry", Schema: schema}, nil
}

// A Responder answers lines, each with the configuration and the identity that came with it.
type Responder struct {
	chat     *chatops.Chat
	log      *slog.Logger
	trees    *git.Trees
	charts   *helm.Charts
	renderer *helm.Renderer
	claims   promotion.Claims
	shown    *overrides.Loader

	mu    sync.Mutex
	cores map[[sha256.Size]byte]chatops.Core
}

// maxCores bounds what is kept for configurations and identities; hosts have a handful, one for each bound channel.
const maxCores = 32

// New makes a Responder; the caller closes it.
func New(log *slog.Logger) (*Responder, error) {
	set, err := overrides.Own()
	if err != nil {
		return nil, err
	}
	trees, err := git.New("")
	if err != nil {
		return nil, err
	}
	charts := helm.New(time.Now)
	return &Responder{
		chat: &chatops.Chat{Blueprints: set, Log: log, Now: time.Now}, log: log, trees: trees, charts: charts, renderer: helm.NewRenderer(charts),
		shown: overrides.New(set, trees.Tree, time.Now, log),
		cores: map[[sha256.Size]byte]chatops.Core{},
	}, nil
}

// Close removes what git left on disk.
func (r *Responder) Close() error { return r.trees.Close() }

// Respond answers one line.
func (r *Responder) Respond(ctx context.Context, in plugin.Input) plugin.Messages {
	return r.chat.Respond(ctx, chatops.Question{
		Line: in.Line, Interactive: in.Interactive, Mention: in.Mention, DisplayName: in.DisplayName,
		Core: func() (chatops.Core, error) { return r.core(in.Kubeconfig, in.Configs) },
	})
}

// core opens what a configuration describes, or returns what was opened for the same bytes before: clients, with the
// connections and discovery that they hold.
func (r *Responder) core(kubeconfig []byte, documents [][]byte) (chatops.Core, error) {
	key := sha256.Sum256(bytes.Join(append(documents, kubeconfig), []byte{0}))
	r.mu.Lock()
	defer r.mu.Unlock()
	if core, ok := r.cores[key]; ok {
		return core, nil
	}
	core, err := r.open(kubeconfig, documents, key)
	if err != nil {
		return chatops.Core{}, err
	}
	if len(r.cores) >= maxCores {
		clear(r.cores)
	}
	r.cores[key] = core
	return core, nil
}

// open opens it. The key tells apart what different configurations and identities may see.
func (r *Responder) open(kubeconfig []byte, documents [][]byte, key [sha256.Size]byte) (chatops.Core, error) {
	c, err := config.Load(documents)
	if err != nil {
		return chatops.Core{}, err
	}
	fleet, err := cluster.New(kubeconfig, environments(c), secrets(c.GitHub.Auth)...)
	if err != nil {
		return chatops.Core{}, err
	}
	secret := func(ctx context.Context, key config.SecretKey) ([]byte, error) {
		return fleet.Secret(ctx, cluster.SecretRef(key), "ferry's credential for GitHub")
	}
	token := func(ctx context.Context) (string, error) { return c.GitHub.Auth.Token(ctx, secret) }
	var app *github.App
	if a := c.GitHub.Auth.App; a != nil {
		app = &github.App{ID: a.ID, InstallationID: a.InstallationID, Key: func(ctx context.Context) ([]byte, error) { return a.Key(ctx, secret) }}
	}
	hub, err := github.New(github.Config{
		BaseURL: c.GitHub.BaseURL, Token: token, App: app, Allowed: allowed(c),
		Tree: func(ctx context.Context, remote, header, sha string) (fs.FS, error) {
			return r.trees.Tree(ctx, remote, header, sha)
		},
		Merge: r.trees.Merge,
	}, r.log)
	if err != nil {
		return chatops.Core{}, err
	}
	root, err := github.Root(c.GitHub.BaseURL)
	if err != nil {
		return chatops.Core{}, fmt.Errorf("read github.baseURL: %w", err)
	}
	var shown func(context.Context) *blueprint.Set
	if c.Blueprints != "" {
		shown = func(ctx context.Context) *blueprint.Set { return r.shown.Set(ctx, c.Blueprints) }
	}
	ignore, err := report.Compile(slices.Concat(report.Defaults, c.Report.Ignore))
	if err != nil {
		return chatops.Core{}, fmt.Errorf("read report.ignore: %w", err)
	}
	promotions := &promotion.Service{
		Cluster: fleet, Repositories: hub, Charts: r.charts, Settings: settings(c), Also: c.GitHub.Repositories, Host: root.Host, Signed: root.Host == "github.com",
		Now: time.Now, NewID: newID, Log: r.log, Claims: &r.claims,
	}
	namespace := cmp.Or(c.Namespace, "ferry")
	var kept operation.Kept = files{filepath.Join(c.StateDir, "reviews")}
	if c.StateDir == "" {
		kept = fleet.Kept(namespace)
		fleet.Expect(namespace, c.Namespace != "")
	}
	return chatops.Core{
		Fleet: fleet, Clusters: fleet, GitHub: hub, Sources: reports{fleet: fleet, namespace: namespace, dir: c.StateDir}, Blueprints: shown, Promotions: promotions,
		Reviews: &operation.Desk{
			Reviews: &operation.Reviews{
				Pulls: hub, Live: fleet, Charts: r.renderer, Host: root.Host, Also: named(c), Follows: promotions.Follows,
				Allowed: c.Render.AllowedSources, Ignore: ignore, Now: time.Now, Key: rand.Text, Log: r.log,
			},
			Kept: kept, Wait: reviewWait, Scope: hex.EncodeToString(key[:]),
		},
	}, nil
}

// reviewWait is how long the answer to diff pr waits for a report; it is asked for again after that. Ten answers that wait
// keep the host from all others.
const reviewWait = 30 * time.Second

// reports are what sources wrote of themselves, in the home cluster or a directory.
type reports struct {
	fleet          *cluster.Fleet
	namespace, dir string
}

// Reports reads them.
func (r reports) Reports(ctx context.Context) ([][]byte, error) {
	if r.dir == "" {
		return r.fleet.Reports(ctx, r.namespace, "report")
	}
	files, err := filepath.Glob(filepath.Join(r.dir, "*", "report.json"))
	if err != nil {
		return nil, fmt.Errorf("list reports: %w", err)
	}
	var all [][]byte
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read a report: %w", err)
		}
		all = append(all, raw)
	}
	return all, nil
}

func environments(c config.Config) []cluster.Environment {
	var all []cluster.Environment
	for _, e := range c.Environments {
		itself := e.Impersonate == "none"
		out := cluster.Environment{Name: e.Name, Cluster: access(e.Cluster, itself), Flux: access(e.Cluster, itself), Namespaces: e.Namespaces}
		if e.Flux != nil {
			out.FluxNamespaces = e.Flux.Namespaces
			if e.Flux.Cluster != nil {
				out.Flux = access(*e.Flux.Cluster, itself)
			}
		}
		all = append(all, out)
	}
	return all
}

// secrets are those with the credential for GitHub.
func secrets(a config.Auth) (all []cluster.SecretRef) {
	if a.TokenSecret != nil {
		all = append(all, cluster.SecretRef(*a.TokenSecret))
	}
	if a.App != nil && a.App.KeySecret != nil {
		all = append(all, cluster.SecretRef(*a.App.KeySecret))
	}
	return all
}

func access(c config.Cluster, itself bool) cluster.Access {
	a := cluster.Access{Context: c.Context, KubeconfigFile: c.KubeconfigFile, AsItself: itself}
	if s := c.SecretRef; s != nil {
		a.Secret = &cluster.SecretRef{Namespace: s.Namespace, Name: s.Name, Key: cmp.Or(s.Key, "kubeconfig")}
	}
	return a
}

func settings(c config.Config) []promotion.Settings {
	var all []promotion.Settings
	for i, e := range c.Environments {
		all = append(all, promotion.Settings{
			Environment: e.Name, Namespaces: namespaces(e), Repository: cmp.Or(e.Repository.Name, c.Repository.Name), Branch: cmp.Or(e.Repository.Branch, c.Repository.Branch),
			Mode: cmp.Or(promotion.Mode(e.Promotion.Mode), promotion.Auto), ConfirmOptional: e.Promotion.Confirm == "optional", Access: c.Rule(i),
			Wait: e.Promotion.Wait.Or(15 * time.Second), Timeout: e.Promotion.Timeout.Or(15 * time.Minute), Fields: c.Fields(i),
		})
	}
	return all
}

// namespaces are those of an environment's workloads and Flux objects; none where it has the whole cluster.
func namespaces(e config.Environment) []string {
	if len(e.Namespaces) == 0 || e.Flux == nil {
		return e.Namespaces
	}
	return append(slices.Clone(e.Namespaces), e.Flux.Namespaces...)
}

// named are the repositories that the configuration names, for environments or besides them.
func named(c config.Config) (all []string) {
	for _, s := range settings(c) {
		if s.Repository != "" {
			all = append(all, s.Repository)
		}
	}
	return append(all, c.GitHub.Repositories...)
}

// allowed lets ferry use the repositories that the configuration names; where an environment leaves it to Flux, any
// repository that its Flux objects follow. Only such names reach the client at all.
func allowed(c config.Config) func(string) bool {
	all := named(c)
	discovered := slices.ContainsFunc(settings(c), func(s promotion.Settings) bool { return s.Repository == "" })
	return func(name string) bool {
		return discovered || slices.ContainsFunc(all, func(one string) bool { return strings.EqualFold(one, name) })
	}
}

// newID is a promotion's id: 64 random bits, short enough to read aloud.
func newID() string {
	var b [8]byte
	rand.Read(b[:]) //nolint:errcheck // documented never to fail
	return hex.EncodeToString(b[:])
}

package promotion_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/command"
	"github.com/ferry-chatops/ferry/internal/git"
	"github.com/ferry-chatops/ferry/internal/github"
	"github.com/ferry-chatops/ferry/internal/githubtest"
	"github.com/ferry-chatops/ferry/internal/githubtest/contract"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/promotion"
	"github.com/ferry-chatops/ferry/internal/render"
)

const (
	repositoryName = "acme/fleet"
	secret         = "gh0-t0ken-that-nobody-may-see"
	bot            = "ferry-bot"
	person         = "slack:U024BE7LH" // who asks
	podinfoFile    = "apps/prod/podinfo.yaml"
)

// fleet is a repository for two environments, with every kind of field that decides a version.
const fleet = `
-- README.md --
The fleet of acme.
-- apps/base/podinfo/kustomization.yaml --
resources: [release.yaml]
-- apps/base/podinfo/release.yaml --
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: podinfo, namespace: apps}
spec: {chart: {spec: {chart: podinfo, version: 6.0.0, sourceRef: {kind: HelmRepository, name: charts}}}}
-- apps/base/cache/kustomization.yaml --
resources: [release.yaml]
-- apps/base/cache/release.yaml --
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: cache, namespace: apps}
spec: {chart: {spec: {chart: cache, version: "1.0.0", sourceRef: {kind: HelmRepository, name: charts}}}}
-- apps/stage/kustomization.yaml --
resources: [../base/podinfo, ../base/cache, web]
patches: [{path: podinfo.yaml}]
-- apps/stage/podinfo.yaml --
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: podinfo, namespace: apps}
spec: {chart: {spec: {version: 7.0.0}}}
-- apps/stage/web/kustomization.yaml --
resources: [../../../web]
images: [{name: example/web, newTag: "2.0.0"}]
-- apps/prod/kustomization.yaml --
resources: [../base/podinfo, ../base/cache, queue.yaml, web]
patches:
- path: podinfo.yaml
-- apps/prod/podinfo.yaml --
# What prod runs. Änderungen: nur per Chat.
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata:
  name: podinfo
  namespace: apps
spec:
  chart:
    spec:
      version: "6.8.0"   # ferry: ask in #releases
-- apps/prod/queue.yaml --
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {name: queue, namespace: apps}
spec: {url: "oci://registry.example.com/charts/queue", ref: {tag: 1.0.0}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: queue, namespace: apps}
spec: {chartRef: {kind: OCIRepository, name: queue}}
-- more/kustomization.yaml --
resources: [twins.yaml, pair.yaml, workloads.yaml, valued.yaml]
configMapGenerator:
- name: mail-values
  namespace: apps
  files: [values.yaml=mail.yaml]
generatorOptions: {disableNameSuffixHash: true}
-- more/valued.yaml --
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: player, namespace: apps}
spec:
  chart: {spec: {chart: app-template, version: 4.0.0, sourceRef: {kind: HelmRepository, name: charts}}}
  values:
    controllers:
      player:
        containers:
          app:
            image: {repository: ghcr.io/example/player, tag: 1.1.0}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: mail, namespace: apps}
spec:
  chart: {spec: {chart: app-template, version: 4.0.0, sourceRef: {kind: HelmRepository, name: charts}}}
  valuesFrom: [{kind: ConfigMap, name: mail-values}]
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {name: general, namespace: apps}
spec: {url: "oci://registry.example.com/charts/general", ref: {tag: 1.0.0}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: first, namespace: apps}
spec: {chartRef: {kind: OCIRepository, name: general}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: second, namespace: apps}
spec: {chartRef: {kind: OCIRepository, name: general}}
-- more/mail.yaml --
image:
  tag: 2.0.0 # the chart knows its name
-- more/twins.yaml --
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: twin, namespace: north}
spec: {chart: {spec: {chart: podinfo, version: 6.8.0, sourceRef: {kind: HelmRepository, name: charts}}}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: twin, namespace: south}
spec: {chart: {spec: {chart: podinfo, version: 6.9.0, sourceRef: {kind: HelmRepository, name: charts}}}}
-- more/pair.yaml --
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: left, namespace: apps}
spec: {chart: {spec: {chart: podinfo, version: 6.8.0, sourceRef: {kind: HelmRepository, name: charts}}}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: right, namespace: apps}
spec: {chart: {spec: {chart: podinfo, version: 6.8.0, sourceRef: {kind: HelmRepository, name: charts}}}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: ranged, namespace: apps}
spec: {chart: {spec: {chart: podinfo, version: ">=6.0.0", sourceRef: {kind: HelmRepository, name: charts}}}}
-- more/workloads.yaml --
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: apps}
spec: {template: {spec: {containers: [{name: proxy, image: "registry.example.com:5000/proxy:1.0.0"}, {name: api, image: "registry.example.com:5000/api:2.2.2"}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: pinned, namespace: apps}
spec: {template: {spec: {containers: [{name: pinned, image: "example/pinned:1.0.0@sha256:0000000000000000000000000000000000000000000000000000000000000000"}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: several, namespace: apps}
spec: {template: {spec: {containers: [{name: one, image: "example/one:1"}, {name: two, image: "example/two:2"}]}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: twin, namespace: north}
spec: {template: {spec: {containers: [{name: twin, image: "example/twin:3.0.0"}]}}}
-- apps/prod/web/kustomization.yaml --
resources: [../../../web]
images:
- name: example/web
  newTag: "1.0.0"
-- web/kustomization.yaml --
resources: [web.yaml]
-- web/web.yaml --
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: apps}
spec: {template: {spec: {containers: [{name: web, image: "example/web:0.0.1"}]}}}
`

// A world is a repository on the GitHub stand-in, clusters that follow it, and ferry between them.
type world struct {
	*testing.T
	*fixture
}

type fixture struct {
	hub        *githubtest.Server
	dir        string // of the bare repository
	repository promotion.Repository
	cluster    *cluster
	charts     *charts
	service    *promotion.Service

	mu    sync.Mutex
	ahead time.Duration // of the clock
	hook  func(r *http.Request, body []byte, next func() *httptest.ResponseRecorder) *httptest.ResponseRecorder
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	w := &world{t, &fixture{}}
	dir := t.TempDir()
	hub, err := githubtest.Serve(dir, "127.0.0.1:0", contract.Check(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hub.Close)
	w.hub, w.dir = hub, filepath.Join(dir, repositoryName+".git")
	hub.AddToken(secret, bot)
	files := map[string]string{}
	for _, f := range txtar.Parse([]byte(fleet)).Files {
		files[f.Name] = string(f.Data)
	}
	if _, err := hub.CreateRepository(repositoryName, files); err != nil {
		t.Fatal(err)
	}
	address := w.proxy()
	trees, err := git.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = trees.Close() }) // below the test's own directory
	client, err := github.New(github.Config{
		BaseURL: address, Token: func(context.Context) (string, error) { return secret, nil }, Allowed: func(name string) bool { return name == repositoryName }, Tree: trees.Tree,
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if w.repository, err = client.Repository(repositoryName); err != nil {
		t.Fatal(err)
	}
	w.cluster = &cluster{repository: w.repository, url: address + "/" + repositoryName + ".git", paths: map[string][]string{"stage": {"apps/stage"}, "prod": {"apps/prod", "more"}},
		live: map[gitops.Key]gitops.Application{}, revision: map[string]string{}}
	w.charts = &charts{versions: map[string][]string{"podinfo": {"16.5.3", "7.0.1", "7.0.0", "6.9.2", "6.9.0", "6.8.0", "6.5.3"}, "cache": {"1.1.0", "1.0.0"}, "queue": {"1.1.0", "1.0.0"}}}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	w.service = &promotion.Service{
		Cluster: w.cluster, Repositories: client, Charts: w.charts, Host: u.Host, Signed: true, Now: w.now, Log: slog.New(slog.DiscardHandler), Claims: &promotion.Claims{},
		Settings: []promotion.Settings{
			{Environment: "stage", Mode: promotion.Auto, ConfirmOptional: true, Wait: time.Millisecond, Timeout: 15 * time.Minute},
			{Environment: "prod", Mode: promotion.Auto, Wait: time.Millisecond, Timeout: 15 * time.Minute},
		},
	}
	w.service.SetLag(time.Millisecond)
	var ids int
	w.service.NewID = func() string {
		w.mu.Lock()
		defer w.mu.Unlock()
		ids++
		return fmt.Sprintf("id%d", ids)
	}
	w.follow()
	return w
}

// in is the same world for a subtest.
func (w *world) in(t *testing.T) *world { return &world{t, w.fixture} }

// proxy stands between ferry and GitHub, so that a test can do something in the middle of an exchange.
func (w *world) proxy() string {
	target, err := url.Parse(strings.TrimSuffix(w.hub.APIURL(), "/api/v3/"))
	if err != nil {
		w.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	forward.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) } // a dropped connection stays one
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		hook := w.hook
		w.mu.Unlock()
		if hook == nil {
			forward.ServeHTTP(rw, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer := hook(r, body, func() *httptest.ResponseRecorder {
			answer := httptest.NewRecorder()
			forward.ServeHTTP(answer, r.WithContext(context.WithoutCancel(r.Context())))
			return answer
		})
		if answer == nil {
			panic(http.ErrAbortHandler)
		}
		for k, v := range answer.Header() {
			rw.Header()[k] = v
		}
		rw.WriteHeader(answer.Code)
		_, _ = rw.Write(answer.Body.Bytes()) // a client that is gone
	}))
	w.Cleanup(server.Close)
	return server.URL
}

// isWrite says whether a request to GitHub could change something.
func isWrite(r *http.Request, body []byte) bool {
	return r.Method == http.MethodPost && (strings.HasPrefix(r.URL.Path, "/api/v3/") || bytes.Contains(body, []byte("createCommitOnBranch(")))
}

func (w *world) intercept(hook func(r *http.Request, body []byte, next func() *httptest.ResponseRecorder) *httptest.ResponseRecorder) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hook = hook
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.ahead)
}

func (w *world) later(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ahead += d
}

func (w *world) settings(environment string) *promotion.Settings {
	for i := range w.service.Settings {
		if w.service.Settings[i].Environment == environment {
			return &w.service.Settings[i]
		}
	}
	w.Fatalf("no environment %s", environment)
	return nil
}

// follow lets Flux bring every cluster to the head of the branch.
func (w *world) follow() {
	w.Helper()
	for e := range w.cluster.paths {
		if err := w.cluster.follow(w.Context(), e); err != nil {
			w.Fatal(err)
		}
	}
}

// git reads the bare repository, past ferry and the stand-in.
func (w *world) git(args ...string) string {
	w.Helper()
	out, err := exec.Command("git", append([]string{"-C", w.dir}, args...)...).CombinedOutput()
	if err != nil {
		w.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (w *world) refs() string {
	w.Helper()
	return w.git("for-each-ref", "--format=%(refname) %(objectname)")
}

// commits counts those on main since the first.
func (w *world) commits() string {
	w.Helper()
	return w.git("rev-list", "--count", "--no-merges", "main", "^"+w.git("rev-list", "--max-parents=0", "main"))
}

func (w *world) file(path string) string {
	w.Helper()
	out, err := exec.Command("git", "-C", w.dir, "show", "main:"+path).Output()
	if err != nil {
		w.Fatalf("read %s: %v", path, err)
	}
	return string(out)
}

// somebody pushes to main: the first occurrence of old in a file becomes new.
func (w *world) somebody(path, old, new string) {
	w.Helper()
	before := w.file(path)
	if !strings.Contains(before, old) {
		w.Fatalf("%s has no %q", path, old)
	}
	w.push("alice", "Edit "+path, map[string]string{path: strings.Replace(before, old, new, 1)})
}

func (w *world) push(author, message string, files map[string]string) {
	w.Helper()
	if _, err := w.hub.Commit(repositoryName, "main", author, message, files); err != nil {
		w.Fatal(err)
	}
}

// ask has a line done as chat does.
func (w *world) ask(ctx context.Context, line string) (promotion.Result, error) {
	request, err := command.Parse(line)
	if err != nil {
		return promotion.Result{}, err
	}
	switch r := request.(type) {
	case gitops.Promote:
		return w.service.Promote(ctx, r, person)
	case gitops.Rollback:
		return w.service.Rollback(ctx, r, person)
	case gitops.Status:
		o, err := w.service.Status(ctx, r)
		return promotion.Result{Outcome: &o}, err
	}
	return promotion.Result{}, fmt.Errorf("cannot ask %q", line)
}

// card asks a line that shows one.
func (w *world) card(line string) *promotion.Card {
	w.Helper()
	r, err := w.ask(w.Context(), line)
	if err != nil || r.Card == nil {
		w.Fatalf("%s: %+v, %v; want a card", line, r.Outcome, err)
	}
	return r.Card
}

// outcome asks a line that has one.
func (w *world) outcome(line string) promotion.Outcome {
	w.Helper()
	r, err := w.ask(w.Context(), line)
	if err != nil || r.Outcome == nil {
		w.Fatalf("%s: card %+v, %v; want an outcome", line, r.Card, err)
	}
	return *r.Outcome
}

// confirmed asks a line and presses the button of its card.
func (w *world) confirmed(line string) promotion.Outcome {
	w.Helper()
	return w.outcome(w.card(line).Confirm)
}

// refusal asks a line that is refused, and holds that nothing was written.
func (w *world) refusal(line string) *gitops.Refusal {
	w.Helper()
	before := w.refs()
	r, err := w.ask(w.Context(), line)
	refusal, ok := errors.AsType[*gitops.Refusal](err)
	if !ok {
		w.Fatalf("%s: %+v %+v, %v; want a refusal", line, r.Card, r.Outcome, err)
	}
	if refusal.Reason == "" || refusal.Code == gitops.Internal {
		w.Errorf("%s: refused without a reason: %v", line, err)
	}
	if after := w.refs(); after != before {
		w.Errorf("%s: refused, and written:\n%s\nbefore:\n%s", line, after, before)
	}
	return refusal
}

func (w *world) expect(o promotion.Outcome, state promotion.State, from, to string) {
	w.Helper()
	if o.State != state || o.From != from || o.To != to {
		w.Errorf("%s from %s to %s (%s %v); want %s from %s to %s", o.State, o.From, o.To, o.Reason, o.Steps, state, from, to)
	}
}

// charts are the sources of charts.
type charts struct {
	versions map[string][]string // newest first
	err      error
}

func (c *charts) Versions(_ context.Context, chart gitops.Chart) ([]string, error) {
	return c.versions[chart.Name], c.err
}

// A cluster is what ferry sees of all clusters: it builds what Git states and runs it at once, as far as it is let.
type cluster struct {
	repository promotion.Repository
	url        string
	paths      map[string][]string // of the Flux Kustomizations, by environment

	mu       sync.Mutex
	live     map[gitops.Key]gitops.Application
	revision map[string]string // by environment
	held     bool              // Flux does not follow when it is asked
	denied   bool              // Flux may not be asked
	fails    string            // version whose rollout fails
	change   func(*gitops.Application)
	silent   []string                            // environments that do not answer
	robots   map[string][]gitops.ImageAutomation // by environment
	blind    error                               // why they cannot be listed
	after    map[string]string                   // the Kustomization that one of a name depends on
	// namespaces are those of an environment, where several share a cluster.
	namespaces map[string][]string
}

var _ promotion.Cluster = (*cluster)(nil)

func (c *cluster) kustomization(environment, path string) gitops.Kustomization {
	ready := gitops.Condition{Status: "True", Reason: "ReconciliationSucceeded"}
	revision := "main@sha1:" + c.revision[environment]
	name := strings.Split(path, "/")[0]
	var after []gitops.Object
	if on := c.after[name]; on != "" {
		after = []gitops.Object{{Kind: "Kustomization", Namespace: "flux-system", Name: on}}
	}
	return gitops.Kustomization{
		Namespace: "flux-system", Name: name, Path: path, Applied: revision, Attempted: revision, Condition: ready, DependsOn: after,
		Source: gitops.Source{Object: gitops.Object{Kind: "GitRepository", Namespace: "flux-system", Name: "fleet"}, URL: c.url, Branch: "main", Revision: revision, Condition: ready},
	}
}

// follow builds the head of main for an environment and rolls it out.
func (c *cluster) follow(ctx context.Context, environment string) error {
	head, err := c.repository.Head(ctx, "main")
	if err != nil {
		return err
	}
	tree, err := c.repository.Tree(ctx, head)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revision[environment] = head
	for _, path := range c.paths[environment] {
		owner := c.kustomization(environment, path)
		built, err := render.Build(ctx, tree, owner)
		if err != nil {
			return err
		}
		objects := built.Objects
		for _, o := range objects {
			key := gitops.Key{Environment: environment, Namespace: o.Namespace, Kind: o.Kind, Name: o.Name}
			if only := c.namespaces[environment]; len(only) > 0 && !slices.Contains(only, o.Namespace) {
				continue
			}
			switch o.Kind {
			case "HelmRelease":
				c.live[key] = c.release(key, o.Fields, objects)
			case "Deployment", "StatefulSet":
				c.live[key] = c.workload(key, o.Fields)
			default:
				continue
			}
			app := c.live[key]
			app.Owner = &owner
			c.live[key] = app
		}
	}
	return nil
}

func at(fields map[string]any, keys ...string) any {
	var v any = fields
	for _, k := range keys {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	return v
}

func (c *cluster) release(key gitops.Key, fields map[string]any, objects []render.Object) gitops.Application {
	v := gitops.Version{Kind: gitops.ChartVersion, Object: gitops.Object{Kind: "HelmRelease", Namespace: key.Namespace, Name: key.Name}}
	source := gitops.Object{Kind: "HelmRepository", Namespace: "apps", Name: "charts"}
	if name, ok := at(fields, "spec", "chartRef", "name").(string); ok {
		source = gitops.Object{Kind: "OCIRepository", Namespace: key.Namespace, Name: name}
		v.Name, v.Object = name, source
		for _, o := range objects {
			if o.Kind == source.Kind && o.Name == name {
				v.Desired = fmt.Sprint(at(o.Fields, "spec", "ref", "tag"))
			}
		}
	} else {
		v.Name, v.Desired = fmt.Sprint(at(fields, "spec", "chart", "spec", "chart")), fmt.Sprint(at(fields, "spec", "chart", "spec", "version"))
	}
	ready := gitops.Condition{Status: "True", Reason: "UpgradeSucceeded"}
	app := gitops.Application{Key: key, Health: gitops.Ready, Helm: &gitops.HelmRelease{Attempted: v.Desired, Condition: ready,
		Chart: gitops.Chart{Name: v.Name, Source: source, URL: "https://charts.example.com", Version: v.Desired, Condition: gitops.Condition{Status: "True"}}}}
	if was, ok := c.live[key]; ok {
		app.Helm.History = slices.Clone(was.Helm.History)
		v.Value = was.Versions[0].Value
	}
	switch {
	case v.Desired == c.fails:
		app.Health, app.Helm.Condition = gitops.Failed, gitops.Condition{Status: "False", Reason: "UpgradeFailed", Message: "timed out waiting for the condition", Stalled: true}
		app.Helm.History = slices.Insert(app.Helm.History, 0, gitops.HelmDeployment{Version: v.Desired, Status: "failed"})
	case v.Value != v.Desired || len(app.Helm.History) > 0 && app.Helm.History[0].Status == "failed":
		v.Value = v.Desired
		for i := range app.Helm.History {
			if app.Helm.History[i].Status == "deployed" {
				app.Helm.History[i].Status = "superseded"
			}
		}
		app.Helm.History = slices.Insert(app.Helm.History, 0, gitops.HelmDeployment{Version: v.Desired, Status: "deployed"})
	}
	app.Versions = []gitops.Version{v}
	w := gitops.Workload{Object: gitops.Object{Kind: "Deployment", Namespace: key.Namespace, Name: key.Name + "-server"}, Health: gitops.Ready, Replicas: 1, Ready: 1}
	images := gitops.ReleaseImages(fields)
	for _, o := range objects {
		var values any
		if text, ok := at(o.Fields, "data", "values.yaml").(string); ok && o.Name == key.Name+"-values" && yaml.Unmarshal([]byte(text), &values) == nil {
			images = append(images, gitops.ImageValues(values, `data["values.yaml"]|`, "values")...)
		}
	}
	for _, image := range images {
		name := cmp.Or(image.Image, "example/"+key.Name)
		w.Containers = append(w.Containers, gitops.Container{Name: cmp.Or(image.Of, key.Name), Image: name + ":" + image.Version})
		app.Versions = append(app.Versions, gitops.Version{Kind: gitops.ImageTag, Name: name, Value: image.Version, Desired: image.Version, Object: w.Object,
			Container: cmp.Or(image.Of, key.Name), Path: image.Path})
	}
	app.Workloads = []gitops.Workload{w}
	return app
}

func (c *cluster) workload(key gitops.Key, fields map[string]any) gitops.Application {
	app := gitops.Application{Key: key, Health: gitops.Ready}
	w := gitops.Workload{Object: gitops.Object{Kind: key.Kind, Namespace: key.Namespace, Name: key.Name}, Health: gitops.Ready, Replicas: 1, Ready: 1}
	list, _ := at(fields, "spec", "template", "spec", "containers").([]any)
	for _, item := range list {
		m, _ := item.(map[string]any)
		image := fmt.Sprint(m["image"])
		reference, digest, _ := strings.Cut(image, "@")
		i := strings.LastIndexByte(reference, ':')
		w.Containers = append(w.Containers, gitops.Container{Name: fmt.Sprint(m["name"]), Image: image})
		app.Versions = append(app.Versions, gitops.Version{Kind: gitops.ImageTag, Name: reference[:i], Value: reference[i+1:], Desired: reference[i+1:], Digest: digest,
			Object: w.Object, Container: fmt.Sprint(m["name"])})
	}
	app.Workloads = []gitops.Workload{w}
	return app
}

func (c *cluster) answers(environment string) error {
	if slices.Contains(c.silent, environment) {
		return &gitops.Refusal{Code: gitops.Unreachable, Reason: environment + " did not answer."}
	}
	return nil
}

func (c *cluster) observed(a gitops.Application) gitops.Application {
	owner := c.kustomization(a.Environment, a.Owner.Path)
	a.Owner = &owner
	if a.Helm != nil {
		helm := *a.Helm
		a.Helm = &helm
	}
	a.Workloads, a.Versions = slices.Clone(a.Workloads), slices.Clone(a.Versions)
	if c.change != nil {
		c.change(&a)
	}
	return a
}

func (c *cluster) Applications(_ context.Context, environment string) ([]gitops.Application, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.answers(environment); err != nil {
		return nil, err
	}
	var apps []gitops.Application
	for key, a := range c.live {
		if key.Environment == environment {
			apps = append(apps, c.observed(a))
		}
	}
	slices.SortFunc(apps, func(a, b gitops.Application) int { return a.Compare(b.Key) })
	return apps, nil
}

func (c *cluster) Application(_ context.Context, key gitops.Key) (gitops.Application, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.answers(key.Environment); err != nil {
		return gitops.Application{}, err
	}
	a, ok := c.live[key]
	if !ok {
		return gitops.Application{}, &gitops.Refusal{Code: gitops.NotFound, Reason: key.String() + " is gone."}
	}
	return c.observed(a), nil
}

func (c *cluster) Kustomizations(_ context.Context, environment string) ([]gitops.Kustomization, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.answers(environment); err != nil {
		return nil, err
	}
	var all []gitops.Kustomization
	for _, path := range c.paths[environment] {
		all = append(all, c.kustomization(environment, path))
	}
	return all, nil
}

func (c *cluster) Automations(_ context.Context, environment string) ([]gitops.ImageAutomation, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.robots[environment], c.blind
}

func (c *cluster) Reconcile(ctx context.Context, app gitops.Application) error {
	c.mu.Lock()
	held, denied := c.held, c.denied
	c.mu.Unlock()
	switch {
	case denied:
		return &gitops.Refusal{Code: gitops.Denied, Reason: "ferry may not annotate."}
	case held:
		return nil
	}
	return c.follow(ctx, app.Environment)
}

func (c *cluster) Home(context.Context) (string, error) { return "home-uid", nil }

// set changes how the cluster behaves from now on.
func (c *cluster) set(f func(*cluster)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

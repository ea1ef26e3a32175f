// Package fleet sets up what the demo and the end-to-end tests work on: the environments stage and prod, a cluster with
// Flux each, that follow one repository on a GitHub stand-in, with charts from a chart repository and a registry.
package fleet

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/rogpeppe/go-internal/txtar"
	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ferry-chatops/ferry/internal/githubtest"
	"github.com/ferry-chatops/ferry/internal/testenv"
	"github.com/ferry-chatops/ferry/internal/testenv/charts"
)

// Repository is the one that both environments follow, Bot the login that ferry's credential has there.
const (
	Repository = "acme/fleet"
	Bot        = "ferry-bot"
	token      = "demo-token" // of a stand-in on the loopback interface: no secret
)

// Environments are the names of the clusters; the first is home.
var Environments = []string{"stage", "prod"}

// The charts on offer. podinfo 7.2.0 has an image that cannot be pulled.
var published = []charts.Chart{
	{Name: "podinfo", Version: "6.8.0"}, {Name: "podinfo", Version: "6.9.0"}, {Name: "podinfo", Version: "6.9.2"},
	{Name: "podinfo", Version: "7.0.0"}, {Name: "podinfo", Version: "7.1.0"}, {Name: "podinfo", Version: "7.2.0", Tag: "bad-7.2.0"},
	{Name: "redis", Version: "1.0.0"}, {Name: "redis", Version: "1.1.0"}, {Name: "redis", Version: "1.2.0"},
}

//go:embed fleet.txtar
var files []byte

// A Fleet runs until Close.
type Fleet struct {
	*testenv.Env
	Hub        *githubtest.Server
	Charts     *charts.Server
	Dir        string // configuration and repositories
	ConfigFile string // ferry's
	SourceFile string // that of its source
	HomeFile   string // the home cluster's kubeconfig
	GitDir     string // the bare repository
	Token      string // of Bot

	opened int // pull requests
}

// Start sets everything up on a running environment and waits until all applications are ready. dir is an existing
// directory for the repositories and the configuration. options are the stand-in's.
func Start(ctx context.Context, env *testenv.Env, dir string, options ...githubtest.Option) (f *Fleet, err error) {
	f = &Fleet{Env: env, Dir: dir, ConfigFile: filepath.Join(dir, "ferry.yaml"), SourceFile: filepath.Join(dir, "ferry-source.yaml"), HomeFile: env.Clusters[Environments[0]].KubeconfigFile,
		GitDir: filepath.Join(dir, "git", Repository+".git"), Token: token}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if f.Charts, err = charts.Serve(published...); err != nil {
		return nil, err
	}
	if f.Hub, err = githubtest.Serve(filepath.Join(dir, "git"), "127.0.0.1:0", append(options, githubtest.AnonymousGit())...); err != nil {
		return nil, err
	}
	if err := f.push(); err != nil {
		return nil, err
	}
	if err := f.configure(); err != nil {
		return nil, err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, e := range Environments {
		g.Go(func() error {
			if err := env.Clusters[e].Apply(ctx, f.flux(e)); err != nil {
				return err
			}
			if e == Environments[0] { // home, where the source keeps its state
				if err := env.Clusters[e].Apply(ctx, []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: ferry}\n")); err != nil {
					return err
				}
			}
			return f.ready(ctx, env.Clusters[e])
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return f, nil
}

// Close ends the servers; the environment is its owner's to stop. The repository stays.
func (f *Fleet) Close() {
	if f.Hub != nil {
		f.Hub.Close()
	}
	if f.Charts != nil {
		f.Charts.Close()
	}
}

// push makes the repository, with a history: prod ran podinfo 6.8.0 and 6.9.0 before.
func (f *Fleet) push() error {
	f.Hub.AddToken(token, Bot)
	content := map[string]string{}
	for _, file := range txtar.Parse(files).Files {
		content[file.Name] = strings.NewReplacer("$CHARTS", f.Charts.HTTPURL, "$OCI", f.Charts.OCIURL).Replace(string(file.Data))
	}
	const prod = "apps/prod/podinfo.yaml"
	newest := content[prod]
	at := func(version string) string { return strings.Replace(newest, `"6.9.2"`, `"`+version+`"`, 1) }
	content[prod] = at("6.8.0")
	if _, err := f.Hub.CreateRepository(Repository, content); err != nil {
		return err
	}
	for _, version := range []string{"6.9.0", "6.9.2"} {
		if _, err := f.Hub.Commit(Repository, "main", "alice", "podinfo "+version+" in prod", map[string]string{prod: at(version)}); err != nil {
			return err
		}
	}
	return nil
}

// configure writes what a user would: the plugin's configuration and the token's file.
func (f *Fleet) configure() error {
	secret := filepath.Join(f.Dir, "github-token")
	if err := os.WriteFile(secret, []byte(token+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the token: %w", err)
	}
	var b strings.Builder
	b.WriteString("environments:\n")
	for _, e := range Environments {
		fmt.Fprintf(&b, "- name: %s\n  cluster: {kubeconfigFile: %s}\n  promotion: {confirm: optional, wait: 2m}\n", e, f.Clusters[e].KubeconfigFile)
	}
	fmt.Fprintf(&b, "github:\n  baseURL: %s\n  auth: {tokenFile: %s}\n", strings.TrimSuffix(f.Hub.APIURL(), "/api/v3/"), secret)
	if err := os.WriteFile(f.ConfigFile, []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	b.Reset()
	fmt.Fprintf(&b, "interval: 5s\nrepositories:\n- name: %s\ngithub:\n  baseURL: %s\n  auth: {tokenFile: %s}\nenvironments:\n", Repository, strings.TrimSuffix(f.Hub.APIURL(), "/api/v3/"), secret)
	for _, e := range Environments {
		fmt.Fprintf(&b, "- {name: %s, repository: {name: %s, branch: main, path: apps/%s}}\n", e, Repository, e)
	}
	if err := os.WriteFile(f.SourceFile, []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("write the source's configuration: %w", err)
	}
	return nil
}

// flux is what bootstrapping Flux would leave in a cluster.
func (f *Fleet) flux(environment string) []byte {
	return fmt.Appendf(nil, `
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: fleet, namespace: flux-system}
spec: {interval: 10m, url: %q, ref: {branch: main}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: apps, namespace: flux-system}
spec: {interval: 10m, path: ./apps/%s, prune: true, timeout: 1m, sourceRef: {kind: GitRepository, name: fleet}}
`, f.Hub.GitURL(Repository), environment)
}

// ready waits until Flux has applied everything and all of it is rolled out.
func (f *Fleet) ready(ctx context.Context, c *testenv.Cluster) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := look(ctx, c.Client())
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the applications of %s: %w", c.Name, err)
		case <-ticker.C:
		}
	}
}

func look(ctx context.Context, c client.Client) error {
	var kustomizations kustomizev1.KustomizationList
	var releases helmv2.HelmReleaseList
	var deployments appsv1.DeploymentList
	for _, list := range []client.ObjectList{&kustomizations, &releases, &deployments} {
		if err := c.List(ctx, list); err != nil {
			return err
		}
	}
	if len(kustomizations.Items) == 0 || len(releases.Items) == 0 {
		return errors.New("nothing is applied yet")
	}
	isReady := func(kind, name string, conditions []metav1.Condition) error {
		if meta.IsStatusConditionTrue(conditions, "Ready") {
			return nil
		}
		if c := meta.FindStatusCondition(conditions, "Ready"); c != nil {
			return fmt.Errorf("%s %s: %s: %s", kind, name, c.Reason, c.Message)
		}
		return fmt.Errorf("%s %s has no status yet", kind, name)
	}
	for _, k := range kustomizations.Items {
		if err := isReady("Kustomization", k.Name, k.Status.Conditions); err != nil {
			return err
		}
	}
	for _, r := range releases.Items {
		if err := isReady("HelmRelease", r.Name, r.Status.Conditions); err != nil {
			return err
		}
	}
	for _, d := range deployments.Items {
		if d.Status.ReadyReplicas != *d.Spec.Replicas {
			return fmt.Errorf("%s has %d of %d ready", d.Name, d.Status.ReadyReplicas, *d.Spec.Replicas)
		}
	}
	return nil
}

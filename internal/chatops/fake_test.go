package chatops

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing/fstest"
	"time"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/operation"
	"github.com/ferry-chatops/ferry/internal/promotion"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// fleet are two environments, stage and prod, and one that does not answer, dr. podinfo is in the first two, api in stage.
type fleet struct {
	mu       sync.Mutex
	deadline time.Time // of the latest question
	down     []string  // environments that do not answer either
}

func environments() *fleet { return &fleet{} }

func (*fleet) Environments() []string { return []string{"stage", "prod", "dr"} }

func (f *fleet) Applications(ctx context.Context, environment string) ([]gitops.Application, error) {
	f.mu.Lock()
	f.deadline, _ = ctx.Deadline()
	f.mu.Unlock()
	if slices.Contains(f.down, environment) {
		return nil, &gitops.Refusal{Code: gitops.Unreachable, Reason: "connection refused"}
	}
	owner := kustomization(environment)
	podinfo := gitops.Application{Key: gitops.Key{Environment: environment, Namespace: "apps", Kind: "HelmRelease", Name: "podinfo"}, Health: gitops.Ready, Owner: &owner,
		Versions: []gitops.Version{{Kind: gitops.ChartVersion, Name: "podinfo", Value: "7.0.0", Desired: "7.0.0", Object: gitops.Object{Kind: "HelmRelease", Namespace: "apps", Name: "podinfo"}}},
		Helm: &gitops.HelmRelease{Attempted: "7.0.0", Condition: gitops.Condition{Status: "True"}, History: []gitops.HelmDeployment{{Version: "7.0.0", Status: "deployed"}},
			Chart: gitops.Chart{Name: "podinfo", Source: gitops.Object{Kind: "HelmRepository", Namespace: "apps", Name: "charts"}}},
		Workloads: []gitops.Workload{{Object: gitops.Object{Kind: "Deployment", Namespace: "apps", Name: "podinfo"}, Health: gitops.Ready, Replicas: 1, Ready: 1,
			Containers: []gitops.Container{{Name: "podinfo", Image: "example/podinfo:7.0.0"}}}},
	}
	switch environment {
	case "stage":
		return []gitops.Application{{Key: gitops.Key{Environment: environment, Namespace: "apps", Kind: "Deployment", Name: "api"}, Health: gitops.Progressing,
			Reason: "InProgress", Message: "1 of 2 updated", Owner: &owner,
			Versions:  []gitops.Version{{Kind: gitops.ImageTag, Name: "example/api", Value: "v1.4.0", Container: "api", Object: gitops.Object{Kind: "Deployment", Namespace: "apps", Name: "api"}}},
			Workloads: []gitops.Workload{{Object: gitops.Object{Kind: "Deployment", Namespace: "apps", Name: "api"}, Health: gitops.Progressing, Replicas: 2, Ready: 1}}}, podinfo}, nil
	case "prod":
		podinfo.Versions[0].Value, podinfo.Versions[0].Desired, podinfo.Helm.Attempted, podinfo.Helm.History[0].Version = "6.9.2", "6.9.2", "6.9.2", "6.9.2"
		podinfo.Workloads[0].Containers[0].Image, podinfo.Workloads[0].Replicas, podinfo.Workloads[0].Ready = "example/podinfo:6.9.2", 3, 3
		return []gitops.Application{podinfo}, nil
	}
	return nil, &gitops.Refusal{Code: gitops.Unreachable, Reason: "connection refused"}
}

func kustomization(environment string) gitops.Kustomization {
	return gitops.Kustomization{Namespace: "flux-system", Name: "apps", Path: environment, Condition: gitops.Condition{Status: "True"}, Source: gitops.Source{
		Object: gitops.Object{Kind: "GitRepository", Namespace: "flux-system", Name: "fleet"}, URL: "https://github.com/acme/fleet", Branch: "main"}}
}

func (f *fleet) Application(ctx context.Context, key gitops.Key) (gitops.Application, error) {
	apps, err := f.Applications(ctx, key.Environment)
	for _, a := range apps {
		if a.Key == key {
			return a, nil
		}
	}
	return gitops.Application{}, err
}

func (f *fleet) Kustomizations(_ context.Context, environment string) ([]gitops.Kustomization, error) {
	return []gitops.Kustomization{kustomization(environment)}, nil
}

func (*fleet) Automations(context.Context, string) ([]gitops.ImageAutomation, error) {
	return nil, nil
}

func (*fleet) Reconcile(context.Context, gitops.Application) error { return nil }
func (*fleet) Home(context.Context) (string, error)                { return "home", nil }

// service promotes in a repository that cannot be written to.
func service(f *fleet) *promotion.Service {
	return &promotion.Service{
		Cluster: f, Repositories: repository{}, Charts: charts{}, Host: "github.com", Now: func() time.Time { return noon }, NewID: func() string { return "id" },
		Log: slog.New(slog.DiscardHandler), Claims: &promotion.Claims{},
		Settings: []promotion.Settings{{Environment: "stage", Mode: promotion.Auto, Wait: time.Minute,
			Access: gitops.Access{Rule: "environments[0].promotion.promoters", Principals: []string{"slack:W012A3CDE", "discord:*", "name:@all"}}}, {Environment: "prod", Mode: promotion.Auto, Wait: time.Minute}},
	}
}

func made() (Core, error) {
	f := environments()
	return Core{Fleet: f, Promotions: service(f), Clusters: f, GitHub: hub{}}, nil
}

func (*fleet) Probe(_ context.Context, environment string) []operation.Cluster {
	c := operation.Cluster{Kubernetes: "v1.34.2", Subjects: []operation.Subject{{Kind: "Group", Name: "ferry"}}, Rights: []operation.Right{
		{Verb: "list", Group: "apps", Resource: "deployments", Allowed: true}, {Verb: "list", Resource: "pods", Allowed: environment == "stage"}}}
	if environment == "dr" {
		c = operation.Cluster{Err: &gitops.Refusal{Code: gitops.Unreachable, Reason: "dr does not answer: connection refused."}}
	}
	return []operation.Cluster{c}
}

func (*fleet) ProbeHome(context.Context, []string) operation.Cluster {
	return operation.Cluster{Kubernetes: "v1.34.2"}
}

// hub is GitHub with a token that may do everything.
type hub struct{}

func (hub) CheckToken(context.Context) operation.Section {
	return operation.Section{Facts: []string{"Classic personal access token of ferry-bot"}, Findings: []operation.Finding{{State: operation.Works, Text: "GitHub accepts the token."}}}
}

func (hub) CheckRepository(context.Context, string, []string) operation.Section {
	return operation.Section{Findings: []operation.Finding{{State: operation.Works, Text: "ferry may open pull requests."}}}
}

type charts struct{}

func (charts) Versions(context.Context, gitops.Chart) ([]string, error) {
	return []string{"7.0.0", "6.9.2", "6.9.0"}, nil
}

const release = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: podinfo, namespace: apps}\nspec:\n  chart:\n    spec:\n      chart: podinfo\n      version: %s\n"

// repository is acme/fleet, with three commits to prod's release.
type repository struct{}

var versions = map[string]string{strings.Repeat("3", 40): "6.9.2", strings.Repeat("2", 40): "6.9.0", strings.Repeat("1", 40): "6.8.0"}

func (r repository) Repository(string) (promotion.Repository, error) { return r, nil }

func (repository) Head(context.Context, string) (string, error) { return strings.Repeat("3", 40), nil }

func (repository) Tree(_ context.Context, sha string) (fs.FS, error) {
	tree := fstest.MapFS{}
	for path, content := range map[string]string{"stage/kustomization.yaml": "resources: [podinfo.yaml]\n", "prod/kustomization.yaml": "resources: [podinfo.yaml]\n",
		"stage/podinfo.yaml": fmt.Sprintf(release, "7.0.0"), "prod/podinfo.yaml": fmt.Sprintf(release, versions[sha])} {
		tree[path] = &fstest.MapFile{Data: []byte(content)}
	}
	return tree, nil
}

func (repository) File(_ context.Context, _, ref string) ([]byte, error) {
	return fmt.Appendf(nil, release, versions[ref]), nil
}

func (repository) Commits(context.Context, string, string, int) ([]gitops.Commit, error) {
	var commits []gitops.Commit
	for _, digit := range []string{"3", "2", "1"} {
		sha := strings.Repeat(digit, 40)
		commits = append(commits, gitops.Commit{SHA: sha, URL: "https://github.com/acme/fleet/commit/" + sha, Message: "Podinfo " + versions[sha], Author: "alice", When: noon.Add(-time.Hour)})
	}
	return commits, nil
}

func (repository) Contains(context.Context, string, string) (bool, error) { return true, nil }
func (repository) Viewer(context.Context) (string, error)                 { return "ferry-bot", nil }
func (repository) Direct(context.Context, string) (bool, string, error)   { return true, "", nil }

func (repository) Commit(context.Context, string, string, string, []gitops.File) (gitops.Commit, error) {
	return gitops.Commit{}, &gitops.Refusal{Code: gitops.Denied, Reason: "ferry's token may not write to acme/fleet."}
}

func (repository) CreateBranch(context.Context, string, string) error { return nil }
func (repository) DeleteBranch(context.Context, string) error         { return nil }

func (repository) OpenPullRequest(context.Context, string, string, string, string) (gitops.PullRequest, error) {
	return gitops.PullRequest{}, nil
}

func (repository) PullRequests(context.Context, string) ([]gitops.PullRequest, error) {
	return nil, nil
}

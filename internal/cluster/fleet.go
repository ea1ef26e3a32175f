// Package cluster reads the clusters behind the environments: what Flux applies there, in which version and how well,
// as gitops.Application. It writes Flux's annotation reconcile.fluxcd.io/requestedAt, and ferry's own state in ConfigMaps of
// the home cluster.
//
// An application is a HelmRelease, or a Deployment, StatefulSet or DaemonSet that a Flux Kustomization applies and no
// HelmRelease does. Workloads without Flux's labels are left out, and so are Flux's own controllers: nobody promotes
// them through ferry. The candidates for a HelmRelease's version are its chart and the images that its values name, in the
// version that its workloads run.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// An Environment is a name that people promote to, and where it is found.
type Environment struct {
	Name    string
	Cluster Access // where its pods run
	Flux    Access // where its Flux objects are; the same as Cluster unless a hub manages it
	// Namespaces holds its workloads; empty: all. A HelmRelease belongs to the environment if it lies in one of them or
	// installs into one of them.
	Namespaces []string
	// FluxNamespaces are the ones in which Kustomizations and HelmReleases are looked for; empty: all. What they name, a
	// source say, is read wherever it is.
	FluxNamespaces []string
}

// Access says how a cluster is reached. The zero value is the current context of the home kubeconfig.
type Access struct {
	Context        string // empty: the current one
	KubeconfigFile string // empty: Secret, or else the home kubeconfig
	Secret         *SecretRef
	// AsItself acts with the kubeconfig's own credential as it is, and not as the user whom the home kubeconfig impersonates.
	AsItself bool
}

// identity tells one client from another: where it goes, and as whom.
func (a Access) identity() string { return fmt.Sprintf("%t %s", a.AsItself, a) }

// A SecretRef names a key of a Secret in the home cluster.
type SecretRef struct{ Namespace, Name, Key string }

// String names the place of the kubeconfig for people.
func (a Access) String() string {
	s := "the kubeconfig that Botkube passes"
	switch {
	case a.KubeconfigFile != "":
		s = "the kubeconfig file " + a.KubeconfigFile
	case a.Secret != nil:
		s = fmt.Sprintf("the kubeconfig in key %s of Secret %s/%s", a.Secret.Key, a.Secret.Namespace, a.Secret.Name)
	}
	if a.Context != "" {
		s += ", context " + a.Context
	}
	return s
}

// Fleet reads the clusters of the environments. Kubeconfigs are read again for every call; clients live as long as the
// content they were made from. It is safe for concurrent use.
type Fleet struct {
	home         []byte
	where        string // the home cluster, whoever ferry is there: credentials are replaced
	impersonate  rest.ImpersonationConfig
	environments []Environment
	secrets      []SecretRef // that Secret is asked for
	kept         string      // namespace of reports that are kept; empty: none
	source       bool        // ferry's source keeps its state there too
	now          func() time.Time
	open         func(*rest.Config) (client.Client, error)

	mu      sync.Mutex
	clients map[string]opened // by Access.identity
}

// UseLogger makes log that of the libraries below, for the whole process: they write to standard error otherwise, which
// the host takes for errors.
func UseLogger(log *slog.Logger) {
	ctrllog.SetLogger(logr.FromSlogHandler(log.Handler()))
	klog.SetSlogLogger(log)
}

// Expect tells ProbeHome of a namespace in which reports are kept, and whether ferry's source keeps its state there too. It is
// called before the Fleet is used.
func (f *Fleet) Expect(namespace string, source bool) { f.kept, f.source = namespace, source }

// New makes a Fleet from the kubeconfig that the host passed and the environments in configuration order. The user and
// groups that the host's kubeconfig impersonates are impersonated in every cluster but those with AsItself. Without a kubeconfig it returns a
// Refusal of code Config that says what to configure. No cluster is contacted.
// secrets are those of the home cluster that Secret will be asked for.
func New(home []byte, environments []Environment, secrets ...SecretRef) (*Fleet, error) {
	if len(home) == 0 {
		return nil, &gitops.Refusal{
			Code: gitops.Config,
			Reason: "ferry was given no kubeconfig of its home cluster. It needs that one even where every environment names its own: it says " +
				"who ferry is in all of them. In a terminal, name it with --kubeconfig or KUBECONFIG. In Botkube, give the plugin an rbac block:",
			Snippet: `context:
  rbac:
    group:
      type: Static
      prefix: ""
      static: {values: [ferry]}`,
		}
	}
	config, err := restConfig(home, Access{})
	if err != nil {
		return nil, err
	}
	return &Fleet{
		home:         home,
		where:        config.Host + "\n" + config.CAFile + "\n" + string(config.CAData),
		impersonate:  config.Impersonate,
		environments: environments,
		secrets:      secrets,
		now:          time.Now,
		open:         open,
		clients:      map[string]opened{},
	}, nil
}

// Environments returns the configured names, in configuration order.
func (f *Fleet) Environments() []string {
	names := make([]string, len(f.environments))
	for i, e := range f.environments {
		names[i] = e.Name
	}
	return names
}

// Applications observes all applications of an environment, sorted by gitops.Key. Pods are not looked at. The API
// server answers from its cache: what it says may be some milliseconds old.
func (f *Fleet) Applications(ctx context.Context, environment string) ([]gitops.Application, error) {
	e, workloads, flux, err := f.connect(ctx, environment)
	if err != nil {
		return nil, err
	}
	seen, parent := newSnapshot(), ctx
	group, ctx := together(ctx)
	for _, k := range fluxKinds {
		flux.list(ctx, group, seen, k, cached{})
	}
	for _, k := range workloadKinds {
		workloads.list(ctx, group, seen, k, cached{})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := flux.follow(parent, seen, true); err != nil {
		return nil, err
	}
	return applications(e, seen), nil
}

// Application observes one application closely, the problems of its pods included. It is a Refusal of code NotFound if
// the application is gone.
func (f *Fleet) Application(ctx context.Context, key gitops.Key) (gitops.Application, error) {
	e, workloads, flux, err := f.connect(ctx, key.Environment)
	if err != nil {
		return gitops.Application{}, err
	}
	seen := newSnapshot()
	if err := closely(ctx, workloads, flux, seen, key); err != nil {
		return gitops.Application{}, err
	}
	for _, app := range applications(e, seen) {
		if app.Key == key {
			err := workloads.problems(ctx, seen, app.Workloads)
			return app, err
		}
	}
	return gitops.Application{}, &gitops.Refusal{
		Code:   gitops.NotFound,
		Reason: fmt.Sprintf("%s %s is not in %s.", key.Kind, key, key.Environment),
		Next:   []string{"list"},
	}
}

// Kustomizations returns all Flux Kustomizations of an environment, sorted by namespace and name.
func (f *Fleet) Kustomizations(ctx context.Context, environment string) ([]gitops.Kustomization, error) {
	_, _, flux, err := f.connect(ctx, environment)
	if err != nil {
		return nil, err
	}
	seen, parent := newSnapshot(), ctx
	group, ctx := together(ctx)
	for _, k := range []kind{kustomizations, gitRepositories, ociRepositories} {
		flux.list(ctx, group, seen, k)
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := flux.follow(parent, seen, true); err != nil {
		return nil, err
	}
	return seen.kustomizations(), nil
}

// Reconcile asks Flux to look again at the application's source, the index of its chart repository, Kustomization and
// HelmRelease now, in this order. What is not there is passed over. Without the right to annotate it returns a Refusal
// of code Denied; without that for the chart repository alone, it goes on.
func (f *Fleet) Reconcile(ctx context.Context, app gitops.Application) error {
	_, _, flux, err := f.connect(ctx, app.Environment)
	if err != nil {
		return err
	}
	var objects []gitops.Object
	if app.Owner != nil {
		objects = append(objects, app.Owner.Source.Object)
	}
	// Flux looks for a chart's version in the index that it stored last. A repository in a registry has none.
	index := app.Helm != nil && app.Helm.Chart.Source.Kind == helmRepositories.name && !strings.HasPrefix(app.Helm.Chart.URL, "oci://")
	if index {
		objects = append(objects, app.Helm.Chart.Source)
	}
	if app.Owner != nil {
		objects = append(objects, gitops.Object{Kind: kustomizations.name, Namespace: app.Owner.Namespace, Name: app.Owner.Name})
	}
	if app.Kind == helmReleases.name {
		objects = append(objects, gitops.Object{Kind: app.Kind, Namespace: app.Namespace, Name: app.Name})
	}
	for _, o := range objects {
		i := slices.IndexFunc(fluxKinds, func(k kind) bool { return k.name == o.Kind })
		if i < 0 {
			continue // a Bucket, say: it keeps to its interval
		}
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, meta.ReconcileRequestAnnotation, f.now().UTC().Format(time.RFC3339Nano))
		err := flux.patch(ctx, fluxKinds[i], o, patch)
		if refusal, ok := errors.AsType[*gitops.Refusal](err); ok && refusal.Code == gitops.Denied && index && o == app.Helm.Chart.Source {
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Home is the UID of the home cluster's kube-system namespace, which tells clusters apart.
func (f *Fleet) Home(ctx context.Context) (string, error) {
	home, err := f.client(ctx, "the home cluster", Access{})
	if err != nil {
		return "", err
	}
	var system corev1.Namespace
	if err := home.Get(ctx, client.ObjectKey{Name: "kube-system"}, &system); err != nil {
		return "", refusal(ctx, home.environment, "get", "namespace kube-system", "", err)
	}
	return string(system.UID), nil
}

// Secret reads a key of a Secret in the home cluster, now. What is what it holds, for people: "GitHub's token".
func (f *Fleet) Secret(ctx context.Context, ref SecretRef, what string) ([]byte, error) {
	home, err := f.client(ctx, "the home cluster", Access{})
	if err != nil {
		return nil, err
	}
	var secret corev1.Secret
	err = home.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, &secret)
	switch place := fmt.Sprintf("%s belongs into key %s of Secret %s/%s in the home cluster", what, ref.Key, ref.Namespace, ref.Name); {
	case absent(err):
		return nil, &gitops.Refusal{Code: gitops.Config, Reason: place + ", which has no such Secret.", Cause: err}
	case err != nil:
		return nil, refusal(ctx, home.environment, "get", fmt.Sprintf("secret %s with %s", ref.Name, what), ref.Namespace, err)
	case len(secret.Data[ref.Key]) == 0:
		return nil, &gitops.Refusal{Code: gitops.Config, Reason: place + ", which has no such key or an empty one."}
	}
	return secret.Data[ref.Key], nil
}

// environment finds one by its name.
func (f *Fleet) environment(name string) (Environment, error) {
	i := slices.IndexFunc(f.environments, func(e Environment) bool { return e.Name == name })
	if i < 0 {
		return Environment{}, &gitops.Refusal{
			Code:   gitops.NotFound,
			Reason: fmt.Sprintf("There is no environment %q. ferry knows %s.", name, strings.Join(f.Environments(), ", ")),
			Next:   []string{"list"},
		}
	}
	return f.environments[i], nil
}

// connect returns an environment and readers of the cluster of its workloads and of the one of its Flux objects.
func (f *Fleet) connect(ctx context.Context, name string) (Environment, reader, reader, error) {
	e, err := f.environment(name)
	if err != nil {
		return Environment{}, reader{}, reader{}, err
	}
	workloads, err := f.client(ctx, name, e.Cluster)
	if err != nil {
		return Environment{}, reader{}, reader{}, err
	}
	flux, err := f.client(ctx, name, e.Flux)
	workloads.namespaces, flux.namespaces = e.Namespaces, e.FluxNamespaces
	return e, workloads, flux, err
}

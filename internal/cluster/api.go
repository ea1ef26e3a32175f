package cluster

import (
	"context"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// What is known about the kinds of a cluster is read again when it is older than maxKnown, and where a kind is not among them
// when it is older than maxMissed: somebody may have added it meanwhile.
const (
	maxKnown  = 10 * time.Minute
	maxMissed = 2 * time.Second
)

// An api is all that a cluster serves, of any kind. It lives as long as the client beside it.
type api struct {
	dynamic   dynamic.Interface
	discovery *discovery.DiscoveryClient
	now       func() time.Time

	mu    sync.Mutex
	known served
}

// served is what a cluster says about itself.
type served struct {
	kubernetes string   // its version, "v1.34.2"
	apis       []string // "apps/v1" and "apps/v1/Deployment", as Helm's capabilities have them
	mapper     apimeta.RESTMapper
	read       time.Time
}

// api returns what the environment's own cluster serves, or else that of its Flux objects.
func (f *Fleet) api(ctx context.Context, environment string, remote bool) (*api, error) {
	e, err := f.environment(environment)
	if err != nil {
		return nil, err
	}
	access := e.Flux
	if remote {
		access = e.Cluster
	}
	_, config, err := f.connected(ctx, environment, access)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	client := f.clients[access.identity()]
	if client.config == config && client.api != nil {
		return client.api, nil
	}
	made, err := newAPI(config, f.now)
	if err != nil {
		return nil, unusable(access, "has certificates or addresses that cannot be used", err)
	}
	if client.config == config { // else the kubeconfig is another one by now
		client.api = made
		f.clients[access.identity()] = client
	}
	return made, nil
}

func newAPI(config *rest.Config, now func() time.Time) (*api, error) {
	transport, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("make an HTTP client: %w", err)
	}
	d, err := dynamic.NewForConfigAndClient(config, transport)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	about, err := discovery.NewDiscoveryClientForConfigAndClient(config, transport)
	if err != nil {
		return nil, fmt.Errorf("make a discovery client: %w", err)
	}
	return &api{dynamic: d, discovery: about, now: now}, nil
}

// serves returns what is known, read again if it is older than age.
func (a *api) serves(ctx context.Context, environment string, age time.Duration) (served, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known.mapper != nil && a.now().Sub(a.known.read) < age {
		return a.known, nil
	}
	info, err := a.discovery.ServerVersionWithContext(ctx)
	if err != nil {
		return served{}, refusal(ctx, environment, "get", "the version", "", err)
	}
	groups, err := restmapper.GetAPIGroupResourcesWithContext(ctx, a.discovery)
	if err != nil {
		return served{}, refusal(ctx, environment, "get", "the kinds that it serves", "", err)
	}
	known := served{kubernetes: info.GitVersion, mapper: restmapper.NewDiscoveryRESTMapper(groups), read: a.now()}
	for _, group := range groups {
		for version, resources := range group.VersionedResources {
			name := schema.GroupVersion{Group: group.Group.Name, Version: version}.String()
			known.apis = append(known.apis, name)
			for _, r := range resources {
				known.apis = append(known.apis, path.Join(name, r.Kind))
			}
		}
	}
	slices.Sort(known.apis)
	known.apis = slices.Compact(known.apis)
	a.known = known
	return known, nil
}

// mapping finds the resource of a kind. It is a NoMatch error where the cluster does not serve it.
func (a *api) mapping(ctx context.Context, environment string, kind schema.GroupVersionKind) (*apimeta.RESTMapping, error) {
	for _, age := range []time.Duration{maxKnown, maxMissed} {
		known, err := a.serves(ctx, environment, age)
		if err != nil {
			return nil, err
		}
		found, err := known.mapper.RESTMapping(kind.GroupKind(), kind.Version)
		if err == nil || !apimeta.IsNoMatchError(err) || age == maxMissed {
			return found, err
		}
	}
	return nil, &apimeta.NoKindMatchError{GroupKind: kind.GroupKind(), SearchedVersions: []string{kind.Version}}
}

// Serves tells the version of the cluster that releases are installed into and the APIs that it serves: the environment's
// own, or that of its Flux objects.
func (f *Fleet) Serves(ctx context.Context, environment string, remote bool) (kubernetes string, apis []string, err error) {
	a, err := f.api(ctx, environment, remote)
	if err != nil {
		return "", nil, err
	}
	known, err := a.serves(ctx, environment, maxKnown)
	return known.kubernetes, known.apis, err
}

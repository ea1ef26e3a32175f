package cluster

import (
	"context"
	"maps"
	"slices"
	"sync"

	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// A kind of object that ferry reads.
type kind struct {
	name     string
	resource string // as a role names it
	version  schema.GroupVersion
	object   func() client.Object
	list     func() client.ObjectList
}

var (
	kustomizations = kind{"Kustomization", "kustomizations", kustomizev1.GroupVersion,
		func() client.Object { return &kustomizev1.Kustomization{} }, func() client.ObjectList { return &kustomizev1.KustomizationList{} }}
	helmReleases = kind{"HelmRelease", "helmreleases", helmv2.GroupVersion,
		func() client.Object { return &helmv2.HelmRelease{} }, func() client.ObjectList { return &helmv2.HelmReleaseList{} }}
	gitRepositories = kind{"GitRepository", "gitrepositories", sourcev1.GroupVersion,
		func() client.Object { return &sourcev1.GitRepository{} }, func() client.ObjectList { return &sourcev1.GitRepositoryList{} }}
	ociRepositories = kind{"OCIRepository", "ocirepositories", sourcev1.GroupVersion,
		func() client.Object { return &sourcev1.OCIRepository{} }, func() client.ObjectList { return &sourcev1.OCIRepositoryList{} }}
	helmRepositories = kind{"HelmRepository", "helmrepositories", sourcev1.GroupVersion,
		func() client.Object { return &sourcev1.HelmRepository{} }, func() client.ObjectList { return &sourcev1.HelmRepositoryList{} }}
	helmCharts = kind{"HelmChart", "helmcharts", sourcev1.GroupVersion,
		func() client.Object { return &sourcev1.HelmChart{} }, func() client.ObjectList { return &sourcev1.HelmChartList{} }}
	deployments = kind{"Deployment", "deployments", appsv1.SchemeGroupVersion,
		func() client.Object { return &appsv1.Deployment{} }, func() client.ObjectList { return &appsv1.DeploymentList{} }}
	statefulSets = kind{"StatefulSet", "statefulsets", appsv1.SchemeGroupVersion,
		func() client.Object { return &appsv1.StatefulSet{} }, func() client.ObjectList { return &appsv1.StatefulSetList{} }}
	daemonSets = kind{"DaemonSet", "daemonsets", appsv1.SchemeGroupVersion,
		func() client.Object { return &appsv1.DaemonSet{} }, func() client.ObjectList { return &appsv1.DaemonSetList{} }}

	fluxKinds     = []kind{kustomizations, helmReleases, gitRepositories, ociRepositories, helmRepositories, helmCharts}
	workloadKinds = []kind{deployments, statefulSets, daemonSets}
)

// cached lets the API server answer a list from memory, without asking etcd how new that is.
var cached = &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: "0"}}

// A snapshot holds the objects of one observation. Reads may add to it at the same time.
type snapshot struct {
	mu      sync.Mutex
	objects map[gitops.Object]client.Object
}

func newSnapshot() *snapshot { return &snapshot{objects: map[gitops.Object]client.Object{}} }

func (s *snapshot) add(k kind, o client.Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[gitops.Object{Kind: k.name, Namespace: o.GetNamespace(), Name: o.GetName()}] = o
}

// sorted returns the objects by kind, namespace and name.
func (s *snapshot) sorted() []client.Object {
	var all []client.Object
	for _, key := range slices.SortedFunc(maps.Keys(s.objects), func(a, b gitops.Object) int {
		return gitops.Key{Kind: a.Kind, Namespace: a.Namespace, Name: a.Name}.Compare(gitops.Key{Kind: b.Kind, Namespace: b.Namespace, Name: b.Name})
	}) {
		all = append(all, s.objects[key])
	}
	return all
}

// find returns the object of kind k, or false if the snapshot lacks it.
func find[T client.Object](s *snapshot, k kind, namespace, name string) (T, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[gitops.Object{Kind: k.name, Namespace: namespace, Name: name}].(T)
	return o, ok
}

// together is a group of requests that run at the same time, so many at once that a cluster does not mind.
func together(ctx context.Context) (*errgroup.Group, context.Context) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	return group, ctx
}

// A reader is the client of one cluster, for one environment.
type reader struct {
	client.Client
	environment string   // for what goes wrong
	namespaces  []string // that it looks into; empty: all
}

// list adds all objects of a kind to seen, one request for each namespace or one for all. A kind that the cluster does
// not have has no objects.
func (r reader) list(ctx context.Context, group *errgroup.Group, seen *snapshot, k kind, options ...client.ListOption) {
	namespaces := r.namespaces
	if len(namespaces) == 0 {
		namespaces = []string{""}
	}
	for _, namespace := range namespaces {
		group.Go(func() error {
			found := k.list()
			err := r.List(ctx, found, append(slices.Clone(options), client.InNamespace(namespace))...)
			if absent(err) {
				return nil
			}
			if err != nil {
				return refusal(ctx, r.environment, "list", k.resource, namespace, err)
			}
			return apimeta.EachListItem(found, func(o runtime.Object) error {
				seen.add(k, o.(client.Object))
				return nil
			})
		})
	}
}

// get adds one object to seen; nothing if it is not there, or in a namespace that a list would not look into.
func (r reader) get(ctx context.Context, seen *snapshot, k kind, namespace, name string) error {
	if len(r.namespaces) > 0 && !slices.Contains(r.namespaces, namespace) {
		return nil
	}
	o := k.object()
	err := r.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, o)
	if absent(err) {
		return nil
	}
	if err != nil {
		return refusal(ctx, r.environment, "get", k.resource, namespace, err)
	}
	seen.add(k, o)
	return nil
}

// patch merges into one object. It is no error if that is not there.
func (r reader) patch(ctx context.Context, k kind, o gitops.Object, merge []byte) error {
	object := k.object()
	object.SetNamespace(o.Namespace)
	object.SetName(o.Name)
	err := r.Patch(ctx, object, client.RawPatch(types.MergePatchType, merge))
	if err != nil && !absent(err) {
		return refusal(ctx, r.environment, "patch", k.resource, o.Namespace, err)
	}
	return nil
}

// closely adds to seen the object behind key and what belongs to it, as new as etcd has it.
func closely(ctx context.Context, workloads, flux reader, seen *snapshot, key gitops.Key) error {
	from, kinds := flux, fluxKinds
	if key.Kind != helmReleases.name {
		from, kinds = workloads, workloadKinds
	}
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == key.Kind })
	if i < 0 {
		return nil
	}
	if err := from.get(ctx, seen, kinds[i], key.Namespace, key.Name); err != nil {
		return err
	}
	object, ok := find[client.Object](seen, kinds[i], key.Namespace, key.Name)
	if !ok {
		return nil
	}
	group, ctx := together(ctx)
	group.Go(func() error { return flux.owner(ctx, seen, object) })
	if release, ok := object.(*helmv2.HelmRelease); ok {
		group.Go(func() error { return flux.chart(ctx, seen, release) })
		for _, k := range workloadKinds {
			workloads.list(ctx, group, seen, k, client.MatchingLabels{helmName: release.Name, helmNamespace: release.Namespace})
		}
	}
	return group.Wait()
}

// owner adds the Kustomization that applies object, and its source.
func (r reader) owner(ctx context.Context, seen *snapshot, object client.Object) error {
	namespace, name := object.GetLabels()[kustomizeNamespace], object.GetLabels()[kustomizeName]
	if name == "" {
		return nil
	}
	if err := r.get(ctx, seen, kustomizations, namespace, name); err != nil {
		return err
	}
	k, ok := find[*kustomizev1.Kustomization](seen, kustomizations, namespace, name)
	if !ok {
		return nil
	}
	return r.source(ctx, seen, sourceOf(k))
}

// chart adds the objects that a HelmRelease's chart comes from.
func (r reader) chart(ctx context.Context, seen *snapshot, release *helmv2.HelmRelease) error {
	o := chartObject(release)
	if o.Kind != helmCharts.name {
		return r.source(ctx, seen, o)
	}
	if err := r.get(ctx, seen, helmCharts, o.Namespace, o.Name); err != nil {
		return err
	}
	if release.Spec.Chart != nil {
		return r.source(ctx, seen, templateSource(release))
	}
	chart, ok := find[*sourcev1.HelmChart](seen, helmCharts, o.Namespace, o.Name)
	if !ok {
		return nil
	}
	return r.source(ctx, seen, gitops.Object{Kind: chart.Spec.SourceRef.Kind, Namespace: chart.Namespace, Name: chart.Spec.SourceRef.Name})
}

// source adds a source if it is of a kind that ferry reads.
func (r reader) source(ctx context.Context, seen *snapshot, o gitops.Object) error {
	i := slices.IndexFunc(fluxKinds, func(k kind) bool { return k.name == o.Kind })
	if i < 0 {
		return nil
	}
	return r.get(ctx, seen, fluxKinds[i], o.Namespace, o.Name)
}

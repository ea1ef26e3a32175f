package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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

	configMaps = kind{"ConfigMap", "configmaps", corev1.SchemeGroupVersion,
		func() client.Object { return &corev1.ConfigMap{} }, func() client.ObjectList { return &corev1.ConfigMapList{} }}

	fluxKinds     = []kind{kustomizations, helmReleases, gitRepositories, ociRepositories, helmRepositories, helmCharts}
	sourceKinds   = []kind{gitRepositories, ociRepositories, helmRepositories, helmCharts}
	followedKinds = []kind{gitRepositories, ociRepositories, helmRepositories, helmCharts, configMaps}
	workloadKinds = []kind{deployments, statefulSets, daemonSets}
)

// cached lets the API server answer a list from memory, without asking etcd how new that is. Each request gets a Raw of its
// own: the client writes the other options into it.
type cached struct{}

func (cached) ApplyToList(o *client.ListOptions) { o.Raw = &metav1.ListOptions{ResourceVersion: "0"} }

// A snapshot holds the objects of one observation. Reads may add to it at the same time.
type snapshot struct {
	mu      sync.Mutex
	objects map[gitops.Object]client.Object
	unread  map[gitops.Object]string // sources and ConfigMaps that were not read, and why
}

func newSnapshot() *snapshot {
	return &snapshot{objects: map[gitops.Object]client.Object{}, unread: map[gitops.Object]string{}}
}

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
			found, err := r.all(ctx, k, append(slices.Clone(options), client.InNamespace(namespace))...)
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

// olderOCI is the version of OCIRepository that Flux before 2.6 has alone. What ferry reads of it is the same as in v1.
var olderOCI = schema.GroupVersion{Group: ociRepositories.version.Group, Version: "v1beta2"}

// all lists a kind, in the older version where the cluster has no other.
func (r reader) all(ctx context.Context, k kind, options ...client.ListOption) (client.ObjectList, error) {
	found := k.list()
	err := r.List(ctx, found, options...)
	if !absent(err) || k.name != ociRepositories.name {
		return found, err
	}
	older := &unstructured.UnstructuredList{}
	older.SetGroupVersionKind(olderOCI.WithKind(k.name + "List"))
	if err := r.List(ctx, older, options...); err != nil {
		return nil, err
	}
	return found, runtime.DefaultUnstructuredConverter.FromUnstructured(older.UnstructuredContent(), found)
}

// one reads an object, in the older version where the cluster has no other.
func (r reader) one(ctx context.Context, k kind, namespace, name string) (client.Object, error) {
	found, key := k.object(), client.ObjectKey{Namespace: namespace, Name: name}
	err := r.Get(ctx, key, found)
	if !absent(err) || k.name != ociRepositories.name {
		return found, err
	}
	older := &unstructured.Unstructured{}
	older.SetGroupVersionKind(olderOCI.WithKind(k.name))
	if err := r.Get(ctx, key, older); err != nil {
		return nil, err
	}
	return found, runtime.DefaultUnstructuredConverter.FromUnstructured(older.Object, found)
}

// get adds one object to seen that is looked for, not named by another; nothing if it is not there, or in a namespace that a list would not look into.
func (r reader) get(ctx context.Context, seen *snapshot, k kind, namespace, name string) error {
	if len(r.namespaces) > 0 && !slices.Contains(r.namespaces, namespace) {
		return nil
	}
	o, err := r.one(ctx, k, namespace, name)
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
	if absent(err) && k.name == ociRepositories.name {
		older := &unstructured.Unstructured{}
		older.SetGroupVersionKind(olderOCI.WithKind(k.name))
		older.SetNamespace(o.Namespace)
		older.SetName(o.Name)
		err = r.Patch(ctx, older, client.RawPatch(types.MergePatchType, merge))
	}
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
	parent := ctx
	group, ctx := together(ctx)
	if name := object.GetLabels()[kustomizeName]; name != "" {
		group.Go(func() error { return flux.get(ctx, seen, kustomizations, object.GetLabels()[kustomizeNamespace], name) })
	}
	if release, ok := object.(*helmv2.HelmRelease); ok {
		for _, k := range workloadKinds {
			workloads.list(ctx, group, seen, k, client.MatchingLabels{helmName: release.Name, helmNamespace: release.Namespace})
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return flux.follow(parent, seen, false)
}

// maxFollowed bounds the sources and ConfigMaps that are read one by one. Each chart from a HelmRepository is one.
const maxFollowed = 200

// follow adds the sources and ConfigMaps that the Flux objects in seen name and that seen lacks, wherever they are. listed
// says that the reader's own namespaces were looked into already for sources. One that ferry may not read is one that
// nothing is known about; the reason is in seen.
func (r reader) follow(ctx context.Context, seen *snapshot, listed bool) error {
	followed := 0
	for range 2 { // a HelmRelease may name a HelmChart, and that a repository
		group, ctx := together(ctx)
		for _, o := range seen.references() {
			i := slices.IndexFunc(followedKinds, func(k kind) bool { return k.name == o.Kind })
			known := listed && o.Kind != configMaps.name && (len(r.namespaces) == 0 || slices.Contains(r.namespaces, o.Namespace))
			// The API server takes no other names; the client fails at them.
			if i < 0 || known || len(content.IsPathSegmentName(o.Name)) > 0 || len(content.IsPathSegmentName(o.Namespace)) > 0 {
				continue
			}
			if followed++; followed > maxFollowed {
				seen.lacks(o, fmt.Sprintf("%s names more than %d sources and ConfigMaps to read one by one, and ferry read no more than these", r.environment, maxFollowed))
				continue
			}
			group.Go(func() error { return r.source(ctx, seen, followedKinds[i], o) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// source adds one source or ConfigMap, if it is there.
func (r reader) source(ctx context.Context, seen *snapshot, k kind, o gitops.Object) error {
	object, err := r.one(ctx, k, o.Namespace, o.Name)
	switch {
	case err == nil:
		seen.add(k, object)
	case absent(err):
		seen.lacks(o, "")
	case apierrors.IsForbidden(err):
		seen.lacks(o, fmt.Sprintf("ferry may not get %s in namespace %s", k.resource, o.Namespace))
	default:
		return refusal(ctx, r.environment, "get", k.resource, o.Namespace, err)
	}
	return nil
}

// lacks notes that a source is not in the snapshot, and why; no reason: it does not exist.
func (s *snapshot) lacks(o gitops.Object, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unread[o] = reason
}

// unknown is the condition of a source that is not in the snapshot.
func (s *snapshot) unknown(o gitops.Object) gitops.Condition {
	c := gitops.Condition{Status: string(metav1.ConditionUnknown), Message: s.unread[o]}
	if c.Message != "" {
		c.Reason = "NotRead"
	}
	return c
}

// references are the sources and ConfigMaps that objects of the snapshot name and that it does not have, each once; those
// of Kustomizations first, and of HelmReleases the charts and ConfigMaps, which are the most, last.
func (s *snapshot) references() []gitops.Object {
	var first, second, last, maps []gitops.Object
	for _, o := range s.sorted() {
		switch o := o.(type) {
		case *kustomizev1.Kustomization:
			first = append(first, sourceOf(o))
			second = append(second, variableMaps(o)...)
		case *helmv2.HelmRelease:
			second = append(second, templateSource(o))
			last = append(last, chartObject(o))
			maps = append(maps, valuesMaps(o)...)
		case *sourcev1.HelmChart:
			second = append(second, gitops.Object{Kind: o.Spec.SourceRef.Kind, Namespace: o.Namespace, Name: o.Spec.SourceRef.Name})
		}
	}
	named := map[gitops.Object]bool{}
	return slices.DeleteFunc(slices.Concat(first, second, last, maps), func(o gitops.Object) bool {
		_, known := s.objects[o]
		_, asked := s.unread[o]
		again := named[o]
		named[o] = true
		return known || asked || again
	})
}

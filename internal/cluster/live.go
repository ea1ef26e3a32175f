package cluster

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"sync"

	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/operation"
	"github.com/ferry-chatops/ferry/internal/render"
)

var _ operation.Live = (*Fleet)(nil)

// Flux returns Flux's own objects of an environment as the cluster has them, sorted by kind, namespace and name:
// Kustomizations, HelmReleases, HelmCharts and sources; and the ConfigMaps that they take values and variables from, as far as
// ferry may read them.
func (f *Fleet) Flux(ctx context.Context, environment string) ([]render.Object, error) {
	_, _, flux, err := f.connect(ctx, environment)
	if err != nil {
		return nil, err
	}
	seen, listed, err := flux.raw(ctx)
	if err != nil {
		return nil, err
	}
	if err := flux.follow(ctx, seen, true); err != nil {
		return nil, err
	}
	for at, o := range seen.objects {
		if _, ok := listed[at]; ok {
			continue
		}
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			continue // it was read as its type, so it can be written as such
		}
		i := slices.IndexFunc(followedKinds, func(k kind) bool { return k.name == at.Kind })
		fields["apiVersion"], fields["kind"] = followedKinds[i].version.String(), at.Kind
		listed[at] = fields
	}
	all := make([]render.Object, 0, len(listed))
	for at, fields := range listed {
		all = append(all, render.Object{Object: at, Fields: fields})
	}
	slices.SortFunc(all, func(a, b render.Object) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return all, nil
}

// raw lists Flux's objects with all fields that the cluster has, those that ferry does not know too. The snapshot has the same
// ones, as far as they can be read as their types.
func (r reader) raw(ctx context.Context) (*snapshot, map[gitops.Object]map[string]any, error) {
	seen, listed := newSnapshot(), map[gitops.Object]map[string]any{}
	var mu sync.Mutex
	namespaces := r.namespaces
	if len(namespaces) == 0 {
		namespaces = []string{""}
	}
	group, ctx := together(ctx)
	for _, k := range fluxKinds {
		for _, namespace := range namespaces {
			group.Go(func() error {
				found := &unstructured.UnstructuredList{}
				found.SetGroupVersionKind(k.version.WithKind(k.name + "List"))
				err := r.List(ctx, found, client.InNamespace(namespace))
				if absent(err) && k.name == ociRepositories.name {
					found.SetGroupVersionKind(olderOCI.WithKind(k.name + "List"))
					err = r.List(ctx, found, client.InNamespace(namespace))
				}
				switch {
				case absent(err):
					return nil
				case err != nil:
					return refusal(ctx, r.environment, "list", k.resource, namespace, err)
				}
				mu.Lock()
				defer mu.Unlock()
				for _, o := range found.Items {
					listed[gitops.Object{Kind: k.name, Namespace: o.GetNamespace(), Name: o.GetName()}] = o.Object
					typed := k.object()
					if runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, typed) == nil {
						seen.add(k, typed)
					}
				}
				return nil
			})
		}
	}
	return seen, listed, group.Wait()
}

// maxLeaves are named of one value of a Secret.
const maxLeaves = 5000

// Keys are the names of the values in a Secret beside Flux's objects, and the paths of the scalars in those that are YAML
// documents. It is false where the Secret may not be read; one that is not there has no keys.
func (f *Fleet) Keys(ctx context.Context, environment, namespace, name string) (keys []string, leaves map[string][]string, known bool, err error) {
	_, _, flux, err := f.connect(ctx, environment)
	if err != nil {
		return nil, nil, false, err
	}
	secret, err := flux.secret(ctx, namespace, name)
	switch {
	case denied(err):
		return nil, nil, false, nil
	case err != nil:
		return nil, nil, false, err
	}
	leaves = map[string][]string{}
	for key, value := range secret.Data {
		keys = append(keys, key)
		var document yaml.Node
		if yaml.Unmarshal(value, &document) != nil || len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
			continue
		}
		w := walk{left: maxLeaves}
		w.node(document.Content[0], "")
		leaves[key] = w.paths
	}
	slices.Sort(keys)
	return keys, leaves, true, nil
}

// secret reads one; a Secret that is not there is empty.
func (r reader) secret(ctx context.Context, namespace, name string) (corev1.Secret, error) {
	var secret corev1.Secret
	err := r.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &secret)
	if err != nil && !absent(err) {
		return corev1.Secret{}, refusal(ctx, r.environment, "get", "secrets", namespace, err)
	}
	return secret, nil
}

// A walk collects the paths of scalars. left bounds its steps, which aliases of aliases could multiply without end.
type walk struct {
	paths []string
	left  int
}

func (w *walk) node(n *yaml.Node, path string) {
	if w.left--; w.left < 0 {
		return
	}
	switch n.Kind {
	case yaml.AliasNode:
		w.node(n.Alias, path)
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Tag == "!!merge" {
				w.node(n.Content[i+1], path)
				continue
			}
			w.node(n.Content[i+1], gitops.PathKey(path, n.Content[i].Value))
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			w.node(item, path+"["+strconv.Itoa(i)+"]")
		}
	case yaml.ScalarNode:
		w.paths = append(w.paths, path)
	}
}

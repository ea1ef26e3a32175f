package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/dynamic"
	"k8s.io/utils/ptr"

	"github.com/ferry-chatops/ferry/internal/operation"
)

// Try finds out what becomes of objects. Those of a kind that are looked at in numbers come from lists. It fails as a whole
// only where a cluster cannot be asked; what a cluster says about one object is in its entry.
func (f *Fleet) Try(ctx context.Context, environment string, trials []operation.Trial) ([]operation.Tried, error) {
	e, err := f.environment(environment)
	if err != nil {
		return nil, err
	}
	tried := make([]operation.Tried, len(trials))
	var open []*trial
	for i := range trials {
		t := &trial{Trial: trials[i], environment: environment, result: &tried[i], namespaces: e.FluxNamespaces}
		if t.Remote {
			t.namespaces = e.Namespaces
		}
		if t.api, err = f.api(ctx, environment, t.Remote); err != nil {
			return nil, err
		}
		more, err := t.place(ctx)
		if err != nil {
			return nil, err
		}
		if more {
			open = append(open, t)
		}
	}
	if err := look(ctx, open); err != nil {
		return nil, err
	}
	group, inner := together(ctx)
	for _, t := range open {
		if t.result.Err == nil {
			group.Go(func() error { return t.try(inner) })
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for i := range tried {
		strip(tried[i].Live)
		strip(tried[i].After)
	}
	return tried, nil
}

// A trial on its way.
type trial struct {
	operation.Trial
	environment string
	namespaces  []string // that the environment is confined to; empty: none
	api         *api
	mapping     *apimeta.RESTMapping
	object      *unstructured.Unstructured // as it is sent
	live        *unstructured.Unstructured // nil: not there
	result      *operation.Tried
}

// place finds the resource that serves the object. It is false where the result stands already.
func (t *trial) place(ctx context.Context) (bool, error) {
	var err error
	if t.object, err = sent(t.Object.Fields); err != nil {
		t.result.Err = err
		return false, nil
	}
	kind := t.object.GroupVersionKind()
	if kind.Kind == "" || kind.Version == "" || t.object.GetName() == "" {
		t.result.Err = errors.New("it has no apiVersion, kind or name")
		return false, nil
	}
	t.mapping, err = t.api.mapping(ctx, t.environment, kind)
	switch {
	case apimeta.IsNoMatchError(err):
		if t.Way != operation.Looked {
			t.result.After = t.object.Object
			t.result.Without = fmt.Sprintf("%s does not serve the kind %s of %s, so there was no dry run.", t.environment, kind.Kind, t.object.GetAPIVersion())
		}
		return false, nil
	case err != nil:
		return false, err
	case t.mapping.Scope.Name() == apimeta.RESTScopeNameNamespace && t.object.GetNamespace() == "":
		t.result.Err = errors.New("it has no namespace")
		return false, nil
	case t.mapping.Scope.Name() == apimeta.RESTScopeNameRoot:
		t.object.SetNamespace("")
	}
	return true, nil
}

// resource is where requests about the object go.
func (t *trial) resource() dynamic.ResourceInterface { return t.in(t.object.GetNamespace()) }

func (t *trial) in(namespace string) dynamic.ResourceInterface {
	all := t.api.dynamic.Resource(t.mapping.Resource)
	if namespace == "" {
		return all
	}
	return all.Namespace(namespace)
}

// deny words that ferry lacks a right.
func (t *trial) deny(ctx context.Context, verb string, err error) error {
	return refusal(ctx, t.environment, verb, t.mapping.Resource.Resource, t.object.GetNamespace(), err)
}

// broken says that a request failed and all others will too: nobody answered, or the credential does not count. It is nil where
// the API server said something about this object.
func (t *trial) broken(ctx context.Context, verb string, err error) error {
	var answer apierrors.APIStatus
	if ctx.Err() == nil && errors.As(err, &answer) && !apierrors.IsUnauthorized(err) {
		return nil
	}
	return t.deny(ctx, verb, err)
}

// A request for many objects costs about as much as fewest requests for one. Objects of more than maxNamespaces namespaces are asked
// for at once.
const (
	fewest        = 4
	maxNamespaces = 3
)

// look reads the live objects: a list where several are wanted, else each by itself.
func look(ctx context.Context, trials []*trial) error {
	group, ctx := together(ctx)
	for _, same := range gather(trials, func(t *trial) any {
		type key struct {
			api                *api
			resource, selector string
		}
		return key{t.api, t.mapping.Resource.String(), t.owner()}
	}) {
		namespaces := gather(same, func(t *trial) any { return t.object.GetNamespace() })
		first := same[0]
		if len(namespaces) > maxNamespaces && len(first.namespaces) == 0 && first.owner() != "" {
			group.Go(func() error { return list(ctx, same, metav1.NamespaceAll) })
			continue
		}
		for _, in := range namespaces {
			group.Go(func() error { return list(ctx, in, in[0].object.GetNamespace()) })
		}
	}
	return group.Wait()
}

// gather sorts trials into those that are the same by a key, in order.
func gather(trials []*trial, by func(*trial) any) (all [][]*trial) {
	place := map[any]int{}
	for _, t := range trials {
		key := by(t)
		i, ok := place[key]
		if !ok {
			i = len(all)
			place[key] = i
			all = append(all, nil)
		}
		all[i] = append(all[i], t)
	}
	return all
}

// owner selects what the object's owner applied, by the labels that Flux's controllers put on all they apply.
func (t *trial) owner() string {
	labels := t.object.GetLabels()
	for _, keys := range [][2]string{{kustomizeName, kustomizeNamespace}, {helmName, helmNamespace}} {
		if labels[keys[0]] != "" {
			return keys[0] + "=" + labels[keys[0]] + "," + keys[1] + "=" + labels[keys[1]]
		}
	}
	return ""
}

// The pages of a list: how long one is, and how many are read before ferry asks for the objects one by one.
const (
	pageLength = 500
	maxPages   = 20
)

// list reads trials of one resource and owner, at once if there are several. What the list lacks, because it has other
// labels than its owner's, is asked for by itself, and so is all of it where ferry may get but not list.
func list(ctx context.Context, trials []*trial, namespace string) error {
	first := trials[0]
	missing := trials
	if len(trials) >= fewest {
		type key struct{ namespace, name string }
		wanted := map[key]*trial{}
		for _, t := range trials {
			wanted[key{t.object.GetNamespace(), t.object.GetName()}] = t
		}
		options := metav1.ListOptions{LabelSelector: first.owner(), Limit: pageLength}
		for range maxPages {
			page, err := first.in(namespace).List(ctx, options)
			if err != nil {
				if broken := first.broken(ctx, "list", err); broken != nil {
					return broken
				}
				break
			}
			for i := range page.Items {
				at := key{page.Items[i].GetNamespace(), page.Items[i].GetName()}
				if t, ok := wanted[at]; ok {
					t.live = &page.Items[i]
					delete(wanted, at)
				}
			}
			if options.Continue = page.GetContinue(); options.Continue == "" || len(wanted) == 0 {
				break
			}
		}
		missing = slices.DeleteFunc(slices.Clone(trials), func(t *trial) bool { return t.live != nil })
	}
	group, ctx := together(ctx)
	for _, t := range missing {
		group.Go(func() error { return t.get(ctx) })
	}
	return group.Wait()
}

// get reads one live object.
func (t *trial) get(ctx context.Context) error {
	found, err := t.resource().Get(ctx, t.object.GetName(), metav1.GetOptions{})
	switch {
	case err == nil:
		t.live = found
	case apierrors.IsNotFound(err):
	case forbidden(err):
		t.result.Err = t.deny(ctx, "get", err)
	default:
		if broken := t.broken(ctx, "get", err); broken != nil {
			return broken
		}
		t.result.Err = worded(err)
	}
	return nil
}

// try does the dry run. The live object is known.
func (t *trial) try(ctx context.Context) error {
	if t.live != nil {
		t.result.Live = runtime.DeepCopyJSON(t.live.Object)
	}
	switch t.Way {
	case operation.Applied:
		return t.apply(ctx)
	case operation.Patched:
		return t.patch(ctx)
	default:
		return nil
	}
}

// again reads the live object once more where the dry run met another state of it than the one that was read: controllers
// write too.
func (t *trial) again(ctx context.Context, found *unstructured.Unstructured) error {
	version := ""
	if t.live != nil {
		version = t.live.GetResourceVersion()
	}
	if found.GetResourceVersion() == version {
		return nil
	}
	return t.read(ctx)
}

// read reads the live object anew.
func (t *trial) read(ctx context.Context) error {
	t.live, t.result.Live = nil, nil
	if err := t.get(ctx); err != nil || t.live == nil {
		return err
	}
	t.result.Live = runtime.DeepCopyJSON(t.live.Object)
	return nil
}

// without ends a trial that had no dry run, or whose dry run said nothing: because ferry lacks the right, since the namespace
// does not exist yet, or as an admission webhook takes no dry runs. It is false for other errors. lay makes what Git says laid over
// the live object.
func (t *trial) without(verb string, err error, lay func() map[string]any) bool {
	where := ""
	if t.object.GetNamespace() != "" {
		where = " in namespace " + t.object.GetNamespace()
	}
	switch {
	case forbidden(err):
		t.result.Without = fmt.Sprintf("ferry may not %s %s%s (%s), so there was no dry run.", verb, t.mapping.Resource.Resource, where, t.environment)
	case dryRunless.MatchString(err.Error()):
		name := "An admission webhook"
		if m := webhook.FindStringSubmatch(err.Error()); m != nil {
			name = "The admission webhook " + m[1]
		}
		t.result.Without = name + " does not support dry runs, so there was none."
	case t.live == nil && apierrors.IsNotFound(err):
		t.result.Without = fmt.Sprintf("Namespace %s does not exist yet, so there was no dry run.", t.object.GetNamespace())
	default:
		return false
	}
	t.result.After = lay()
	return true
}

// refused ends a trial whose dry run the API server refused. lay makes what was to become of it.
func (t *trial) refused(ctx context.Context, verb string, err error, lay func() map[string]any) error {
	if broken := t.broken(ctx, verb, err); broken != nil {
		return broken
	}
	t.result.Immutable = t.live != nil && immutable(err)
	t.result.Err = worded(err)
	t.result.After = lay()
	return nil
}

// dry are the options of a dry run by a field manager, whose conflicts with others it wins.
func dry(manager string, force *bool) metav1.PatchOptions {
	return metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: manager, Force: force}
}

var always = ptr.To(true)

// strip removes what the API server and controllers alone write.
func strip(object map[string]any) {
	if object == nil {
		return
	}
	delete(object, "status")
	metadata, _ := object["metadata"].(map[string]any)
	for _, key := range []string{"managedFields", "uid", "resourceVersion", "generation", "creationTimestamp", "selfLink"} {
		delete(metadata, key)
	}
	if annotations, ok := metadata["annotations"].(map[string]any); ok {
		delete(annotations, "deployment.kubernetes.io/revision")
		delete(annotations, appsv1.DeprecatedTemplateGeneration)
		if len(annotations) == 0 {
			delete(metadata, "annotations")
		}
	}
}

// sent makes an object what decoding its JSON as Kubernetes does would make: whole numbers are int64.
func sent(fields map[string]any) (*unstructured.Unstructured, error) {
	raw, err := json.Marshal(fields)
	if err != nil {
		return nil, errors.New("it cannot be written as JSON")
	}
	object := map[string]any{}
	if err := utiljson.Unmarshal(raw, &object); err != nil {
		return nil, errors.New("it cannot be read as JSON")
	}
	return &unstructured.Unstructured{Object: object}, nil
}

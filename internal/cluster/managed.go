package cluster

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	kubernetes "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// cleanedAnnotations and cleanedLabels are what kustomize-controller removes from all that it applies.
var (
	cleanedAnnotations = []string{corev1.LastAppliedConfigAnnotation, "kustomize.toolkit.fluxcd.io/checksum", "fluxcd.io/sync-checksum"}
	cleanedLabels      = []string{"fluxcd.io/sync-gc-mark"}
)

// takenOver says whether kustomize-controller takes the fields of a manager for its own, so that they go where Git does not
// have them. Its option --override-manager can add others; which is not known.
func takenOver(entry metav1.ManagedFieldsEntry) bool {
	switch {
	case entry.Subresource != "":
		return false
	case entry.Operation == metav1.ManagedFieldsOperationApply:
		return strings.HasPrefix(entry.Manager, "kubectl")
	default:
		return slices.ContainsFunc([]string{"kubectl", "before-first-apply", kustomizeManager}, func(name string) bool { return strings.HasPrefix(entry.Manager, name) })
	}
}

// cleaned is what becomes of the object when kustomize-controller has taken over the fields that kubectl left, which it does
// between its dry run and the apply. found is the dry run's result. Where that changes it, what is left goes through the API
// server again, for its defaults.
func (t *trial) cleaned(ctx context.Context, found *unstructured.Unstructured) (map[string]any, error) {
	if t.live == nil || marked(kustomizeSSA, "merge", t.object, t.live) {
		return found.Object, nil
	}
	before := map[[2]string]bool{}
	for _, entry := range t.live.GetManagedFields() {
		before[[2]string{entry.Manager, string(entry.Operation)}] = takenOver(entry)
	}
	taken, kept := fieldpath.NewSet(), fieldpath.NewSet()
	for _, entry := range found.GetManagedFields() {
		if takenOver(entry) && before[[2]string{entry.Manager, string(entry.Operation)}] {
			taken = taken.Union(fieldsOf(entry))
		} else {
			kept = kept.Union(fieldsOf(entry))
		}
	}
	after := found.DeepCopy()
	release(after.Object, taken, kept)
	drop(after.Object, t.object.GetAnnotations(), "annotations", cleanedAnnotations)
	drop(after.Object, t.object.GetLabels(), "labels", cleanedLabels)
	if reflect.DeepEqual(found.Object, after.Object) {
		return found.Object, nil
	}
	raw, err := json.Marshal(replacing(t.live.Object, after.Object))
	if err != nil {
		return after.Object, nil
	}
	done, err := t.resource().Patch(ctx, t.object.GetName(), types.JSONPatchType, raw, dry(kustomizeManager, nil))
	if err != nil {
		return after.Object, t.broken(ctx, "patch", err)
	}
	return done.Object, nil
}

// drop removes keys from an object's labels or annotations, unless wanted has them.
func drop(object map[string]any, wanted map[string]string, field string, keys []string) {
	for _, key := range keys {
		if _, ok := wanted[key]; !ok {
			unstructured.RemoveNestedField(object, "metadata", field, key)
		}
	}
}

// An edit is an operation of a JSON patch.
type edit struct {
	Operation string `json:"op"`
	Path      string `json:"path"`
	Value     any    `json:"value,omitempty"`
}

// replacing makes a live object another one, as a JSON patch of whole fields.
func replacing(live, after map[string]any) (edits []edit) {
	within := func(path string, live, after map[string]any, keys []string) {
		for _, key := range keys {
			was, is := live[key], after[key]
			switch {
			case reflect.DeepEqual(was, is):
			case is == nil:
				edits = append(edits, edit{Operation: "remove", Path: path + key})
			default:
				edits = append(edits, edit{Operation: "add", Path: path + key, Value: is})
			}
		}
	}
	keys := slices.Compact(slices.Sorted(func(yield func(string) bool) {
		for _, m := range []map[string]any{live, after} {
			for key := range m {
				if !slices.Contains([]string{"apiVersion", "kind", "metadata", "status"}, key) && !yield(key) {
					return
				}
			}
		}
	}))
	within("/", live, after, keys)
	was, _ := live["metadata"].(map[string]any)
	is, _ := after["metadata"].(map[string]any)
	within("/metadata/", was, is, []string{"annotations", "finalizers", "labels", "ownerReferences"})
	return edits
}

// fieldsOf reads the fields that a manager has; none where they cannot be read.
func fieldsOf(entry metav1.ManagedFieldsEntry) *fieldpath.Set {
	set := fieldpath.NewSet()
	if entry.FieldsV1 == nil || set.FromJSON(entry.FieldsV1.GetRawReader()) != nil {
		return fieldpath.NewSet()
	}
	return set
}

// release removes from an object the fields of a set, but for those in kept, or with such below them.
func release(object map[string]any, taken, kept *fieldpath.Set) {
	taken.Difference(kept).Iterate(func(path fieldpath.Path) {
		below := kept
		for _, step := range path {
			below = below.WithPrefix(step)
		}
		if below.Empty() {
			without(object, path)
		}
	})
}

// without removes a path from a decoded object and returns what is left.
func without(v any, path fieldpath.Path) any {
	step, last := path[0], len(path) == 1
	switch v := v.(type) {
	case map[string]any:
		if step.FieldName == nil {
			break
		}
		child, ok := v[*step.FieldName]
		switch {
		case !ok:
		case last:
			delete(v, *step.FieldName)
		default:
			v[*step.FieldName] = without(child, path[1:])
		}
	case []any:
		i := item(v, step)
		switch {
		case i < 0:
		case last:
			return slices.Delete(slices.Clone(v), i, i+1)
		default:
			v[i] = without(v[i], path[1:])
		}
	}
	return v
}

// has says whether a decoded object has a path.
func has(v any, path fieldpath.Path) bool {
	for _, step := range path {
		switch at := v.(type) {
		case map[string]any:
			child, ok := at[ptrOr(step.FieldName)]
			if !ok || step.FieldName == nil {
				return false
			}
			v = child
		case []any:
			i := item(at, step)
			if i < 0 {
				return false
			}
			v = at[i]
		default:
			return false
		}
	}
	return true
}

func ptrOr(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// item finds what a step into a list means: the item with these keys, that value, or at that place.
func item(list []any, step fieldpath.PathElement) int {
	switch {
	case step.Key != nil:
		return slices.IndexFunc(list, func(v any) bool {
			fields, _ := v.(map[string]any)
			for _, key := range *step.Key {
				if got, ok := fields[key.Name]; !ok || !value.Equals(key.Value, value.NewValueInterface(got)) {
					return false
				}
			}
			return fields != nil
		})
	case step.Value != nil:
		return slices.IndexFunc(list, func(v any) bool { return value.Equals(*step.Value, value.NewValueInterface(v)) })
	case step.Index != nil && *step.Index < len(list):
		return *step.Index
	}
	return -1
}

// laid is what Git says laid over the live object: fields that kustomize-controller has and Git does not are gone, lists whose
// items have keys are merged by them where Kubernetes' own types say so, other lists are replaced.
func (t *trial) laid() map[string]any {
	wanted := runtime.DeepCopyJSON(t.object.Object)
	if metadata, ok := wanted["metadata"].(map[string]any); ok {
		delete(metadata, "creationTimestamp") // null would remove it
	}
	if t.live == nil {
		return wanted
	}
	live := t.live.DeepCopy()
	own, others := fieldpath.NewSet(), fieldpath.NewSet()
	for _, entry := range live.GetManagedFields() {
		if takenOver(entry) || entry.Manager == kustomizeManager && entry.Operation == metav1.ManagedFieldsOperationApply && entry.Subresource == "" {
			own = own.Union(fieldsOf(entry))
		} else {
			others = others.Union(fieldsOf(entry))
		}
	}
	gone := fieldpath.NewSet()
	own.Iterate(func(path fieldpath.Path) {
		if !has(wanted, path) {
			gone.Insert(path.Copy())
		}
	})
	release(live.Object, gone, others)
	if typed, err := kubernetes.Scheme.New(live.GroupVersionKind()); err == nil {
		if merged, err := strategicpatch.StrategicMergeMapPatch(live.Object, wanted, typed); err == nil {
			return merged
		}
	}
	return overlaid(live.Object, wanted)
}

// overlaid puts the fields of one map over those of another.
func overlaid(under, over map[string]any) map[string]any {
	for key, value := range over {
		below, ok := under[key].(map[string]any)
		if above, both := value.(map[string]any); ok && both {
			value = overlaid(below, above)
		}
		under[key] = value
	}
	return under
}

package cluster

import (
	"context"
	"encoding/json"
	"errors"

	jsonpatch "github.com/evanphx/json-patch/v5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	kubernetes "k8s.io/client-go/kubernetes/scheme"
)

// helmManager is the field manager of helm-controller.
const helmManager = "helm-controller"

// How Helm knows what belongs to a release.
const (
	helmManaged          = "app.kubernetes.io/managed-by"
	helmReleaseName      = "meta.helm.sh/release-name"
	helmReleaseNamespace = "meta.helm.sh/release-namespace"
)

// patch does what Helm 3 does with an object in an upgrade (pkg/kube/client.go): create it, or send what makes of the live
// object what the release wants, and removes what the release had and has no more; with force, put it in the place of the
// live one.
func (t *trial) patch(ctx context.Context) error {
	switch {
	case t.live == nil:
		return t.create(ctx)
	case t.Base == nil && !t.ours():
		t.result.Err = errors.New("it exists and belongs to something else, so Helm does not take it over")
		return nil
	case t.Force:
		return t.put(ctx)
	}
	patch, kind, local, err := t.difference()
	if err != nil {
		t.result.Err = err
		return nil
	}
	if string(patch) == "{}" {
		t.result.After = runtime.DeepCopyJSON(t.live.Object)
		return nil
	}
	found, err := t.resource().Patch(ctx, t.object.GetName(), kind, patch, dry(helmManager, nil))
	switch {
	case err == nil:
		t.result.After = found.Object
		return t.again(ctx, found)
	case t.without("patch", err, local):
		return nil
	}
	return t.refused(ctx, "patch", err, local)
}

// ours says that the live object belongs to the release already: Helm then takes it for what the release has of it.
func (t *trial) ours() bool {
	is, wants := t.live.GetAnnotations(), t.object.GetAnnotations()
	return t.live.GetLabels()[helmManaged] == "Helm" && is[helmReleaseName] == wants[helmReleaseName] && is[helmReleaseNamespace] == wants[helmReleaseNamespace]
}

func (t *trial) create(ctx context.Context) error {
	options := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: helmManager}
	found, err := t.resource().Create(ctx, t.object, options)
	switch {
	case err == nil:
		unforeseen(t.object.Object, found.Object)
		t.result.After = found.Object
		return nil
	case t.without("create", err, func() map[string]any { return t.object.Object }):
		return nil
	}
	return t.refused(ctx, "create", err, func() map[string]any { return t.object.Object })
}

// putTries is how often an object is read again that controllers write meanwhile: they do a few times while it is new.
const putTries = 10

// put replaces the live object.
func (t *trial) put(ctx context.Context) error {
	object := t.object.DeepCopy()
	options := metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: helmManager}
	var found *unstructured.Unstructured
	var err error
	for range putTries {
		object.SetResourceVersion(t.live.GetResourceVersion())
		if found, err = t.resource().Update(ctx, object, options); !apierrors.IsConflict(err) {
			break
		}
		if err := t.read(ctx); err != nil {
			return err
		}
		if t.live == nil {
			return t.create(ctx)
		}
	}
	switch {
	case err == nil:
		t.result.After = found.Object
		return nil
	case apierrors.IsConflict(err):
		t.result.Err = errors.New("it changed while ferry looked")
		return nil
	case t.without("update", err, func() map[string]any { return t.object.Object }):
		return nil
	}
	return t.refused(ctx, "update", err, func() map[string]any { return t.object.Object })
}

// difference is the patch that Helm sends, and what it makes of the live object if the API server adds nothing.
func (t *trial) difference() (patch []byte, kind types.PatchType, local func() map[string]any, err error) {
	base := t.Base
	if base == nil {
		base = t.object.Object
	}
	failed := errors.New("what changes cannot be worked out")
	original, err1 := json.Marshal(base)
	modified, err2 := json.Marshal(t.object.Object)
	live, err3 := json.Marshal(t.live.Object)
	if errors.Join(err1, err2, err3) != nil {
		return nil, "", nil, failed
	}
	typed, err := kubernetes.Scheme.New(t.object.GroupVersionKind())
	if err != nil { // a custom resource: the live object does not count
		patch, err := jsonpatch.CreateMergePatch(original, modified)
		if err != nil {
			return nil, "", nil, failed
		}
		return patch, types.MergePatchType, func() map[string]any {
			return t.merged(jsonpatch.MergePatch(live, patch))
		}, nil
	}
	meta, err := strategicpatch.NewPatchMetaFromStruct(typed)
	if err != nil {
		return nil, "", nil, failed
	}
	if patch, err = strategicpatch.CreateThreeWayMergePatch(original, modified, live, meta, true); err != nil {
		return nil, "", nil, failed
	}
	return patch, types.StrategicMergePatchType, func() map[string]any {
		return t.merged(strategicpatch.StrategicMergePatch(live, patch, typed))
	}, nil
}

// merged decodes a merged object; where merging failed, it is what Git says.
func (t *trial) merged(raw []byte, err error) map[string]any {
	var object unstructured.Unstructured
	if err != nil || object.UnmarshalJSON(raw) != nil {
		return t.object.Object
	}
	return object.Object
}

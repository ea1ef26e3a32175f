package cluster

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	kubernetes "k8s.io/client-go/kubernetes/scheme"
)

// kustomizeManager is the field manager of kustomize-controller.
const kustomizeManager = "kustomize-controller"

// What annotations or labels have kustomize-controller do with an object.
const (
	kustomizeReconcile = "kustomize.toolkit.fluxcd.io/reconcile"
	kustomizeSSA       = "kustomize.toolkit.fluxcd.io/ssa"
	kustomizeForce     = "kustomize.toolkit.fluxcd.io/force"
)

// apply does what kustomize-controller does with an object (internal/controller/kustomization_controller.go, and
// ResourceManager.ApplyAll of github.com/fluxcd/pkg/ssa): leave it alone where it is marked so, apply it, replace it where it may,
// and take over the fields that kubectl left. That library is not used: it tells nothing of what is created or replaced, its
// Diff leaves the last step out, and it brings kubectl along.
func (t *trial) apply(ctx context.Context) error {
	if t.skipped() {
		t.result.After = t.result.Live
		return nil
	}
	normalise(t.object)
	found, err := t.dryApply(ctx, t.object)
	switch {
	case err == nil:
		if err := t.again(ctx, found); err != nil {
			return err
		}
		after, err := t.cleaned(ctx, found)
		if err != nil {
			return err
		}
		if t.live == nil {
			unforeseen(t.object.Object, after)
		}
		t.result.After = after
		return nil
	case t.without("patch", err, t.laid):
		return nil
	case t.live != nil && replaceable(err) && (t.Force || marked(kustomizeForce, "enabled", t.object, t.live)):
		return t.replace(ctx)
	}
	return t.refused(ctx, "patch", err, t.laid)
}

// skipped says that kustomize-controller leaves the object as it is.
func (t *trial) skipped() bool {
	return marked(kustomizeReconcile, "disabled", t.object, t.live) || marked(kustomizeSSA, "ignore", t.object, t.live) ||
		t.live != nil && marked(kustomizeSSA, "ifnotpresent", t.object)
}

// marked says that one of the objects has a label or annotation with that value. Flux compares without regard for case.
func marked(key, value string, objects ...*unstructured.Unstructured) bool {
	return slices.ContainsFunc(objects, func(o *unstructured.Unstructured) bool {
		return o != nil && (strings.EqualFold(o.GetLabels()[key], value) || strings.EqualFold(o.GetAnnotations()[key], value))
	})
}

// replaceable says that kustomize-controller, told to force, would delete the object and create it anew: it takes each of these
// for a change of what cannot be changed.
func replaceable(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsConflict(err) || immutable(err)
}

func (t *trial) dryApply(ctx context.Context, object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	raw, err := json.Marshal(object.Object)
	if err != nil {
		return nil, err
	}
	return t.resource().Patch(ctx, object.GetName(), types.ApplyPatchType, raw, dry(kustomizeManager, always))
}

// replace finds out what the object would be when created anew. One of that name is there, so it is tried under another.
func (t *trial) replace(ctx context.Context) error {
	t.result.Replaced = true
	unforeseen(t.object.Object, t.result.Live)
	name := t.object.GetName()
	other := t.object.DeepCopy()
	other.SetName(name[:min(len(name), 40)] + "-as-new")
	found, err := t.dryApply(ctx, other)
	switch {
	case err == nil:
		unforeseen(t.object.Object, found.Object)
		rename(found.Object, other.GetName(), name)
		t.result.After = found.Object
		return nil
	case t.broken(ctx, "patch", err) != nil:
		return t.broken(ctx, "patch", err)
	case apierrors.IsInvalid(err) && t.mapping.Resource.Group != "apiextensions.k8s.io": // whose name is part of the rest
		t.result.Err = worded(err)
		return nil
	}
	t.result.After = t.object.Object
	return nil
}

// rename puts the name wherever a value is the other one: the API server derives a Job's labels from it.
func rename(v any, other, name string) {
	put := func(child any, set func(string)) {
		if child == any(other) {
			set(name)
			return
		}
		rename(child, other, name)
	}
	switch v := v.(type) {
	case map[string]any:
		for key, child := range v {
			put(child, func(name string) { v[key] = name })
		}
	case []any:
		for i, child := range v {
			put(child, func(name string) { v[i] = name })
		}
	}
}

// normalise is what kustomize-controller does to objects before it applies them (github.com/fluxcd/pkg/ssa/normalize v0.60 to
// v0.78, and RemoveCABundleFromCRD): fields that a type of Kubernetes does not have go, ports get their protocol, and a Secret's
// stringData becomes data.
func normalise(object *unstructured.Unstructured) {
	kind := object.GroupVersionKind()
	if kind.Group == "rbac.authorization.k8s.io" && (kind.Kind == "Role" || kind.Kind == "ClusterRole") {
		return
	}
	if typed, err := kubernetes.Scheme.New(kind); err == nil && runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, typed) == nil {
		switch o := typed.(type) {
		case *corev1.Pod:
			protocols(o.Spec)
		case *appsv1.Deployment:
			protocols(o.Spec.Template.Spec)
		case *appsv1.StatefulSet:
			protocols(o.Spec.Template.Spec)
		case *appsv1.DaemonSet:
			protocols(o.Spec.Template.Spec)
		case *appsv1.ReplicaSet:
			protocols(o.Spec.Template.Spec)
		case *batchv1.Job:
			protocols(o.Spec.Template.Spec)
		case *batchv1.CronJob:
			protocols(o.Spec.JobTemplate.Spec.Template.Spec)
		case *corev1.Service:
			for i := range o.Spec.Ports {
				o.Spec.Ports[i].Protocol = protocol(o.Spec.Ports[i].Protocol)
			}
		case *corev1.Secret:
			if o.Data == nil && len(o.StringData) > 0 {
				o.Data = map[string][]byte{}
			}
			for key, value := range o.StringData {
				o.Data[key] = []byte(value)
			}
			o.StringData = nil
		}
		if fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed); err == nil {
			object.Object = fields
		}
	}
	metadata, _ := object.Object["metadata"].(map[string]any)
	metadata["creationTimestamp"] = nil
	if kind.Kind == "CustomResourceDefinition" {
		webhook := []string{"spec", "conversion", "webhook", "clientConfig", "caBundle"}
		if bundle, ok, _ := unstructured.NestedString(object.Object, webhook...); ok && !certificates(bundle) {
			unstructured.RemoveNestedField(object.Object, webhook...)
		}
		return
	}
	delete(object.Object, "status")
}

// certificates says that a CA bundle is one, as the API server wants it; an empty one is.
func certificates(bundle string) bool {
	pem, err := base64.StdEncoding.DecodeString(bundle)
	return err == nil && (len(pem) == 0 || x509.NewCertPool().AppendCertsFromPEM(pem))
}

func protocols(pod corev1.PodSpec) {
	for _, c := range pod.Containers {
		for i := range c.Ports {
			c.Ports[i].Protocol = protocol(c.Ports[i].Protocol)
		}
	}
}

func protocol(p corev1.Protocol) corev1.Protocol {
	if p == "" {
		return corev1.ProtocolTCP
	}
	return p
}

// unforeseen removes from a created object what the API server makes up each time: addresses and ports of a Service, the
// labels with the UID of a Job.
func unforeseen(object, after map[string]any) {
	kind, _ := after["kind"].(string)
	version, _ := after["apiVersion"].(string)
	switch {
	case kind == "Service" && version == "v1":
		if ip, _, _ := unstructured.NestedString(object, "spec", "clusterIP"); ip == "" {
			unstructured.RemoveNestedField(after, "spec", "clusterIP")
			unstructured.RemoveNestedField(after, "spec", "clusterIPs")
		}
		if _, asked, _ := unstructured.NestedFieldNoCopy(object, "spec", "healthCheckNodePort"); !asked {
			unstructured.RemoveNestedField(after, "spec", "healthCheckNodePort")
		}
		asked, _, _ := unstructured.NestedSlice(object, "spec", "ports")
		given, _, _ := unstructured.NestedFieldNoCopy(after, "spec", "ports")
		ports, _ := given.([]any)
		for i, p := range ports {
			var own map[string]any
			if i < len(asked) {
				own, _ = asked[i].(map[string]any)
			}
			if port, ok := p.(map[string]any); ok && own["nodePort"] == nil {
				delete(port, "nodePort")
			}
		}
	case kind == "Job" && strings.HasPrefix(version, "batch/"):
		for _, path := range [][]string{{"metadata", "labels"}, {"spec", "selector", "matchLabels"}, {"spec", "template", "metadata", "labels"}} {
			labels, _, _ := unstructured.NestedFieldNoCopy(after, path...)
			if m, ok := labels.(map[string]any); ok {
				maps.DeleteFunc(m, func(key string, _ any) bool { return key == "controller-uid" || key == batchv1.ControllerUidLabel })
			}
		}
	}
}

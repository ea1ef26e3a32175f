package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// The labels that Flux's controllers put on all they apply.
const (
	kustomizeName      = "kustomize.toolkit.fluxcd.io/name"
	kustomizeNamespace = "kustomize.toolkit.fluxcd.io/namespace"
	helmName           = "helm.toolkit.fluxcd.io/name"
	helmNamespace      = "helm.toolkit.fluxcd.io/namespace"
)

// applications makes the applications of an environment from what was seen in its clusters, sorted by key.
func applications(e Environment, s *snapshot) []gitops.Application {
	parts := map[client.ObjectKey][]gitops.Workload{} // by HelmRelease
	var apps []gitops.Application
	objects := s.sorted()
	for _, o := range objects {
		w, _, ok := workload(o)
		if !ok {
			continue
		}
		labels := o.GetLabels()
		if labels[helmName] != "" {
			release := client.ObjectKey{Namespace: labels[helmNamespace], Name: labels[helmName]}
			parts[release] = append(parts[release], w)
		} else if labels[kustomizeName] != "" && labels["app.kubernetes.io/part-of"] != "flux" {
			apps = append(apps, s.plainApplication(e, o, w))
		}
	}
	for _, o := range objects {
		if r, ok := o.(*helmv2.HelmRelease); ok && e.holds(r) {
			apps = append(apps, s.helmApplication(e, r, parts[client.ObjectKeyFromObject(r)]))
		}
	}
	slices.SortFunc(apps, func(a, b gitops.Application) int { return a.Key.Compare(b.Key) })
	return apps
}

// holds says whether a HelmRelease belongs to the environment.
func (e Environment) holds(r *helmv2.HelmRelease) bool {
	return len(e.Namespaces) == 0 || slices.Contains(e.Namespaces, r.Namespace) || slices.Contains(e.Namespaces, r.GetReleaseNamespace())
}

func (s *snapshot) helmApplication(e Environment, r *helmv2.HelmRelease, parts []gitops.Workload) gitops.Application {
	release, version := s.release(r)
	app := gitops.Application{
		Key:       gitops.Key{Environment: e.Name, Namespace: r.Namespace, Kind: helmReleases.name, Name: r.Name},
		Versions:  []gitops.Version{version},
		Helm:      release,
		Workloads: parts,
		Owner:     s.ownerOf(r),
	}
	app.Versions = append(app.Versions, s.releaseImages(r, parts)...)
	app.Health, app.Reason, app.Message = releaseHealth(release.Condition, release.Chart.Condition)
	if r.DeletionTimestamp != nil {
		app.Health, app.Reason, app.Message = gitops.Progressing, "Terminating", "The HelmRelease is being deleted"
	}
	if app.Health == gitops.Ready {
		app.Health, app.Reason, app.Message = worst(app, parts)
	}
	suspend(&app, r)
	return app
}

// releaseImages are the images that the workloads of a HelmRelease run and that its values name, each once however many
// containers run it in that version. Where the values could not all be read, they are all that the workloads run.
func (s *snapshot) releaseImages(r *helmv2.HelmRelease, parts []gitops.Workload) (versions []gitops.Version) {
	var run []gitops.Version
	for _, w := range parts {
		for _, v := range containerVersions(w) {
			same := slices.IndexFunc(run, func(o gitops.Version) bool { return o.Name == v.Name && o.Value == v.Value && o.Digest == v.Digest })
			switch {
			case same < 0:
				run = append(run, v)
			case run[same].Init && !v.Init, run[same].Container != r.Name && v.Container == r.Name && !v.Init:
				run[same] = v
			}
		}
	}
	images, whole := s.named(r)
	for _, v := range run {
		image, ok := naming(images, v, run)
		if ok {
			v.Path = image.Path
			if tag, _, _ := strings.Cut(image.Version, "@"); !strings.HasPrefix(tag, "sha256:") {
				v.Desired = tag
			}
		}
		if ok || !whole {
			versions = append(versions, v)
		}
	}
	return versions
}

// naming picks among values the one that states the image v, which is one of those that run: by the image's name; where the
// chart alone knows that, by the container's name, the tag, or because there is no other.
func naming(images []gitops.ImageValue, v gitops.Version, run []gitops.Version) (gitops.ImageValue, bool) {
	named := slices.DeleteFunc(slices.Clone(images), func(i gitops.ImageValue) bool { return !i.Names(v.Name) })
	nameless := slices.DeleteFunc(slices.Clone(images), func(i gitops.ImageValue) bool {
		return slices.ContainsFunc(run, func(o gitops.Version) bool { return i.Names(o.Name) })
	})
	its := func(i gitops.ImageValue) bool { return i.Of == v.Container }
	running := func(i gitops.ImageValue) bool {
		tag, _, _ := strings.Cut(i.Version, "@")
		return tag == v.Value
	}
	every := func(gitops.ImageValue) bool { return true }
	only := func(gitops.ImageValue) bool { return len(run) == 1 && len(images) == 1 }
	for _, rule := range []struct {
		among []gitops.ImageValue
		is    func(gitops.ImageValue) bool
	}{{named, its}, {named, running}, {named, every}, {nameless, its}, {nameless, running}, {nameless, only}} {
		if i := slices.IndexFunc(rule.among, rule.is); i >= 0 {
			return rule.among[i], true
		}
	}
	return gitops.ImageValue{}, false
}

// containerVersions are the images of a workload's template.
func containerVersions(w gitops.Workload) (versions []gitops.Version) {
	for _, c := range w.Containers {
		name, tag, digest := gitops.SplitImage(c.Image)
		versions = append(versions, gitops.Version{
			Kind: gitops.ImageTag, Name: name, Value: tag, Desired: tag, Digest: digest, Object: w.Object, Container: c.Name, Init: c.Init,
		})
	}
	return versions
}

func (s *snapshot) plainApplication(e Environment, o client.Object, w gitops.Workload) gitops.Application {
	app := gitops.Application{
		Key:       gitops.Key{Environment: e.Name, Namespace: w.Namespace, Kind: w.Kind, Name: w.Name},
		Workloads: []gitops.Workload{w},
		Versions:  containerVersions(w),
		Owner:     s.ownerOf(o),
		Health:    w.Health,
		Reason:    string(w.Health),
		Message:   w.Message,
	}
	if i := slices.IndexFunc(app.Versions, func(v gitops.Version) bool { return v.Container == w.Name && !v.Init }); i > 0 {
		own := app.Versions[i] // the release's own first
		app.Versions = slices.Insert(slices.Delete(app.Versions, i, i+1), 0, own)
	}
	suspend(&app, o)
	return app
}

// ownerOf is the Kustomization that applies o; nil if none does, or it is not among the Flux objects that were read.
func (s *snapshot) ownerOf(o client.Object) *gitops.Kustomization {
	k, ok := find[*kustomizev1.Kustomization](s, kustomizations, o.GetLabels()[kustomizeNamespace], o.GetLabels()[kustomizeName])
	if !ok {
		return nil
	}
	owner := s.kustomization(k)
	return &owner
}

// releaseHealth reads the Ready condition of a HelmRelease. While it waits for another object it is not failed, unless
// it waits for a chart that failed.
func releaseHealth(release, chart gitops.Condition) (health gitops.Health, reason, message string) {
	switch {
	case release.Suspended:
		return gitops.Suspended, "Suspended", cmp.Or(release.Message, "The HelmRelease is suspended")
	case release.Status == string(metav1.ConditionTrue):
		return gitops.Ready, release.Reason, release.Message
	case release.Status == string(metav1.ConditionUnknown):
		return gitops.Progressing, release.Reason, release.Message
	case release.Reason == "SourceNotReady" && chart.Status == string(metav1.ConditionFalse):
		return gitops.Failed, chart.Reason, chart.Message
	case release.Reason == "SourceNotReady", release.Reason == helmv2.DependencyNotReadyReason:
		return gitops.Progressing, release.Reason, release.Message
	}
	return gitops.Failed, release.Reason, release.Message
}

// worst is the health of an application whose release is Ready: that of its workload that is farthest from Ready.
func worst(app gitops.Application, parts []gitops.Workload) (gitops.Health, string, string) {
	for _, h := range []gitops.Health{gitops.Failed, gitops.Progressing, gitops.Unknown} {
		for _, w := range parts {
			if w.Health == h {
				return h, string(h), fmt.Sprintf("%s %s: %s", w.Kind, w.Name, w.Message)
			}
		}
	}
	return app.Health, app.Reason, app.Message
}

// suspend marks an application that runs well, but which changes in Git would not reach.
func suspend(app *gitops.Application, o client.Object) {
	if app.Health != gitops.Ready {
		return
	}
	switch {
	case strings.EqualFold(o.GetAnnotations()[kustomizev1.GroupVersion.Group+"/reconcile"], kustomizev1.DisabledValue):
		app.Health, app.Reason = gitops.Suspended, "ReconcileDisabled"
		app.Message = fmt.Sprintf("%s %s has the annotation %s/reconcile: disabled", app.Kind, app.Key, kustomizev1.GroupVersion.Group)
	case app.Owner != nil && app.Owner.Condition.Suspended:
		app.Health, app.Reason = gitops.Suspended, "Suspended"
		app.Message = fmt.Sprintf("Its Kustomization %s/%s is suspended", app.Owner.Namespace, app.Owner.Name)
	}
}

// workload reads a Deployment, StatefulSet or DaemonSet and its pods' selector; false for all other objects.
func workload(o client.Object) (gitops.Workload, *metav1.LabelSelector, bool) {
	w := gitops.Workload{Object: gitops.Object{Namespace: o.GetNamespace(), Name: o.GetName()}}
	var template corev1.PodTemplateSpec
	var selector *metav1.LabelSelector
	switch o := o.(type) {
	case *appsv1.Deployment:
		w.Kind, w.Replicas, w.Ready = deployments.name, replicas(o.Spec.Replicas), o.Status.ReadyReplicas
		template, selector = o.Spec.Template, o.Spec.Selector
	case *appsv1.StatefulSet:
		w.Kind, w.Replicas, w.Ready = statefulSets.name, replicas(o.Spec.Replicas), o.Status.ReadyReplicas
		template, selector = o.Spec.Template, o.Spec.Selector
	case *appsv1.DaemonSet:
		w.Kind, w.Replicas, w.Ready = daemonSets.name, o.Status.DesiredNumberScheduled, o.Status.NumberReady
		template, selector = o.Spec.Template, o.Spec.Selector
	default:
		return gitops.Workload{}, nil, false
	}
	for _, c := range template.Spec.Containers {
		w.Containers = append(w.Containers, gitops.Container{Name: c.Name, Image: c.Image})
	}
	for _, c := range template.Spec.InitContainers {
		w.Containers = append(w.Containers, gitops.Container{Name: c.Name, Image: c.Image, Init: true})
	}
	w.Health, w.Message = workloadHealth(w.Kind, o)
	return w, selector, true
}

// replicas is the number wanted; Kubernetes takes one where none is given.
func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// workloadHealth computes kstatus. What is being deleted is Progressing.
func workloadHealth(kind string, o client.Object) (gitops.Health, string) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return gitops.Unknown, "its state cannot be read"
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(appsv1.SchemeGroupVersion.WithKind(kind)) // objects of a list do not say what they are
	result, err := status.Compute(u)
	if err != nil {
		return gitops.Unknown, "its state cannot be computed"
	}
	switch result.Status {
	case status.CurrentStatus:
		return gitops.Ready, result.Message
	case status.InProgressStatus, status.TerminatingStatus:
		return gitops.Progressing, result.Message
	case status.FailedStatus:
		return gitops.Failed, result.Message
	}
	return gitops.Unknown, result.Message
}

package cluster

import (
	"fmt"
	"testing"

	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// deployment makes one that has rolled out, with a container for each image, the first of them named main.
func deployment(namespace, name string, labels map[string]string, images ...string) *appsv1.Deployment {
	one := int32(1)
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Generation: 1, Labels: labels, UID: "uid-of-deployment"},
		Spec:       appsv1.DeploymentSpec{Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}},
		Status: appsv1.DeploymentStatus{
			ObservedGeneration: 1, Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1,
			Conditions: []appsv1.DeploymentCondition{{Type: appsv1.DeploymentAvailable, Status: "True"}, {Type: appsv1.DeploymentProgressing, Status: "True", Reason: "NewReplicaSetAvailable"}},
		},
	}
	for i, image := range images {
		d.Spec.Template.Spec.Containers = append(d.Spec.Template.Spec.Containers, corev1.Container{Name: []string{"main", name, "third"}[i], Image: image})
	}
	return d
}

func byKustomization(name string) map[string]string {
	return map[string]string{kustomizeName: name, kustomizeNamespace: "flux-system"}
}

func byRelease(namespace, name string) map[string]string {
	return map[string]string{helmName: name, helmNamespace: namespace}
}

func kustomization(name string) *kustomizev1.Kustomization {
	return &kustomizev1.Kustomization{
		ObjectMeta: metav1.ObjectMeta{Namespace: "flux-system", Name: name},
		Spec:       kustomizev1.KustomizationSpec{Path: "apps", SourceRef: kustomizev1.CrossNamespaceSourceReference{Kind: "GitRepository", Name: "fleet"}},
		Status:     kustomizev1.KustomizationStatus{Conditions: []metav1.Condition{{Type: "Ready", Status: "True", Reason: "ReconciliationSucceeded"}}},
	}
}

func gitRepository() *sourcev1.GitRepository {
	return &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: "flux-system", Name: "fleet"}, Spec: sourcev1.GitRepositorySpec{URL: "https://github.com/acme/fleet"}}
}

func helmRelease(namespace, name string) *helmv2.HelmRelease {
	return &helmv2.HelmRelease{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: byKustomization("apps")},
		Spec: helmv2.HelmReleaseSpec{Chart: &helmv2.HelmChartTemplate{Spec: helmv2.HelmChartTemplateSpec{
			Chart: "podinfo", Version: "6.5.3", SourceRef: helmv2.CrossNamespaceObjectReference{Kind: "HelmRepository", Name: "charts"},
		}}},
		Status: helmv2.HelmReleaseStatus{
			History:    snapshots("6.5.3", "deployed"),
			Conditions: []metav1.Condition{{Type: "Ready", Status: "True", Reason: "UpgradeSucceeded", Message: "Helm upgrade succeeded"}},
		},
	}
}

// summary says of each application what a list shows.
func summary(apps []gitops.Application) []string {
	var lines []string
	for _, a := range apps {
		line := fmt.Sprintf("%s/%s %s", a.Kind, a.Key, a.Health)
		for _, v := range a.Versions {
			line += fmt.Sprintf(" %s=%s", v.Name, v.Value)
		}
		if a.Owner != nil {
			line += " by " + a.Owner.Name + " from " + a.Owner.Source.URL
		}
		for _, w := range a.Workloads {
			line += " with " + w.Name
		}
		lines = append(lines, line)
	}
	return lines
}

func TestApplications(t *testing.T) {
	elsewhere := helmRelease("flux-system", "metrics")
	elsewhere.Spec.TargetNamespace = "monitoring"
	controller := deployment("flux-system", "source-controller", byKustomization("flux-system"), "ghcr.io/fluxcd/source-controller:v1.7.3")
	controller.Labels["app.kubernetes.io/part-of"] = "flux"
	s := seen(
		gitRepository(), kustomization("apps"), helmRelease("shop", "podinfo"), elsewhere, controller,
		deployment("shop", "podinfo-web", byRelease("shop", "podinfo"), "podinfo:6.5.3"),
		deployment("shop", "podinfo-redis", byRelease("shop", "podinfo"), "redis:7"),
		deployment("shop", "orphan", byRelease("shop", "gone"), "orphan:1"),
		deployment("shop", "worker", byKustomization("apps"), "localhost:5000/team/worker:1.2.3@"+digest),
		deployment("shop", "api", byKustomization("apps"), "envoy:1", "api:2", "log:3"),
		deployment("kube-system", "coredns", nil, "coredns:1"),
		&appsv1.DaemonSet{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "agent", Labels: byKustomization("removed")},
			Spec:       appsv1.DaemonSetSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "agent", Image: "localhost:5000/agent"}}}}},
			Status:     appsv1.DaemonSetStatus{DesiredNumberScheduled: 3, NumberReady: 1},
		},
	)
	want := []string{
		"DaemonSet/shop/agent Progressing localhost:5000/agent= with agent",
		"Deployment/shop/api Ready api=2 envoy=1 log=3 by apps from https://github.com/acme/fleet with api",
		"HelmRelease/flux-system/metrics Ready podinfo=6.5.3 by apps from https://github.com/acme/fleet",
		"HelmRelease/shop/podinfo Ready podinfo=6.5.3 by apps from https://github.com/acme/fleet with podinfo-redis with podinfo-web",
		"Deployment/shop/worker Ready localhost:5000/team/worker=1.2.3 by apps from https://github.com/acme/fleet with worker",
	}
	if diff := cmp.Diff(want, summary(applications(Environment{Name: "prod"}, s))); diff != "" {
		t.Error(diff)
	}
	releases := func(namespaces ...string) (names []string) {
		for _, a := range applications(Environment{Name: "prod", Namespaces: namespaces}, s) {
			if a.Kind == "HelmRelease" {
				names = append(names, a.Name)
			}
		}
		return names
	}
	for namespace, want := range map[string][]string{"shop": {"podinfo"}, "monitoring": {"metrics"}, "flux-system": {"metrics"}, "other": nil} {
		if diff := cmp.Diff(want, releases(namespace)); diff != "" {
			t.Errorf("releases of an environment in %s: %s", namespace, diff)
		}
	}
}

func TestHealth(t *testing.T) {
	ready := func(status metav1.ConditionStatus, reason string) []metav1.Condition {
		return []metav1.Condition{{Type: "Ready", Status: status, Reason: reason, Message: "Flux's words"}}
	}
	for name, test := range map[string]struct {
		change          func(*helmv2.HelmRelease, *appsv1.Deployment, *kustomizev1.Kustomization)
		health          gitops.Health
		reason, message string
	}{
		"all well": {func(*helmv2.HelmRelease, *appsv1.Deployment, *kustomizev1.Kustomization) {},
			gitops.Ready, "UpgradeSucceeded", "Helm upgrade succeeded"},
		"upgrade failed": {func(r *helmv2.HelmRelease, _ *appsv1.Deployment, _ *kustomizev1.Kustomization) {
			r.Status.Conditions = ready("False", "UpgradeFailed")
		}, gitops.Failed, "UpgradeFailed", "Flux's words"},
		"waits for another": {func(r *helmv2.HelmRelease, _ *appsv1.Deployment, _ *kustomizev1.Kustomization) {
			r.Status.Conditions = ready("False", "DependencyNotReady")
		}, gitops.Progressing, "DependencyNotReady", "Flux's words"},
		"waits for its chart": {func(r *helmv2.HelmRelease, _ *appsv1.Deployment, _ *kustomizev1.Kustomization) {
			r.Status.Conditions = ready("False", "SourceNotReady")
		}, gitops.Progressing, "SourceNotReady", "Flux's words"},
		"under way": {func(r *helmv2.HelmRelease, _ *appsv1.Deployment, _ *kustomizev1.Kustomization) {
			r.Status.Conditions = ready("Unknown", "Progressing")
		}, gitops.Progressing, "Progressing", "Flux's words"},
		"new generation": {func(r *helmv2.HelmRelease, _ *appsv1.Deployment, _ *kustomizev1.Kustomization) { r.Generation = 2 },
			gitops.Progressing, "Progressing", "Flux has not looked at its newest state yet"},
		"suspended": {func(r *helmv2.HelmRelease, _ *appsv1.Deployment, _ *kustomizev1.Kustomization) { r.Spec.Suspend = true },
			gitops.Suspended, "Suspended", "Helm upgrade succeeded"},
		"deleted": {func(r *helmv2.HelmRelease, _ *appsv1.Deployment, _ *kustomizev1.Kustomization) {
			r.DeletionTimestamp = &metav1.Time{}
		}, gitops.Progressing, "Terminating", "The HelmRelease is being deleted"},
		"workload behind": {func(_ *helmv2.HelmRelease, d *appsv1.Deployment, _ *kustomizev1.Kustomization) { d.Generation = 2 },
			gitops.Progressing, "Progressing", "Deployment web: Deployment generation is 2, but latest observed generation is 1"},
		"workload stuck": {func(_ *helmv2.HelmRelease, d *appsv1.Deployment, _ *kustomizev1.Kustomization) {
			d.Status.Conditions[1] = appsv1.DeploymentCondition{Type: appsv1.DeploymentProgressing, Status: "False", Reason: "ProgressDeadlineExceeded"}
		}, gitops.Failed, "Failed", "Deployment web: Progress deadline exceeded"},
		"Kustomization suspended": {func(_ *helmv2.HelmRelease, _ *appsv1.Deployment, k *kustomizev1.Kustomization) { k.Spec.Suspend = true },
			gitops.Suspended, "Suspended", "Its Kustomization flux-system/apps is suspended"},
		"reconcile disabled": {func(r *helmv2.HelmRelease, _ *appsv1.Deployment, _ *kustomizev1.Kustomization) {
			r.Annotations = map[string]string{"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}
		}, gitops.Suspended, "ReconcileDisabled", "HelmRelease shop/podinfo has the annotation kustomize.toolkit.fluxcd.io/reconcile: disabled"},
	} {
		t.Run(name, func(t *testing.T) {
			r, d, k := helmRelease("shop", "podinfo"), deployment("shop", "web", byRelease("shop", "podinfo"), "podinfo:6.5.3"), kustomization("apps")
			test.change(r, d, k)
			apps := applications(Environment{Name: "prod"}, seen(r, d, k))
			if len(apps) != 1 {
				t.Fatalf("%d applications, want one", len(apps))
			}
			got := []string{string(apps[0].Health), apps[0].Reason, apps[0].Message}
			if diff := cmp.Diff([]string{string(test.health), test.reason, test.message}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestInitContainersAreCandidatesToo(t *testing.T) {
	d := deployment("shop", "api", byKustomization("apps"), "api:2")
	d.Spec.Template.Spec.InitContainers = []corev1.Container{{Name: "api", Image: "migrate:1"}, {Name: "wait", Image: "busybox"}}
	app := applications(Environment{Name: "prod"}, seen(d))[0]
	object := gitops.Object{Kind: "Deployment", Namespace: "shop", Name: "api"}
	want := []gitops.Version{
		{Kind: gitops.ImageTag, Name: "api", Value: "2", Desired: "2", Object: object, Container: "main"},
		{Kind: gitops.ImageTag, Name: "migrate", Value: "1", Desired: "1", Object: object, Container: "api", Init: true},
		{Kind: gitops.ImageTag, Name: "busybox", Object: object, Container: "wait", Init: true},
	}
	if diff := cmp.Diff(want, app.Versions); diff != "" {
		t.Error(diff)
	}
	if release, ok := app.Release(); !ok || release != want[0] {
		t.Errorf("the release is %+v", release)
	}
	containers := []gitops.Container{{Name: "main", Image: "api:2"}, {Name: "api", Image: "migrate:1", Init: true}, {Name: "wait", Image: "busybox", Init: true}}
	if diff := cmp.Diff(containers, app.Workloads[0].Containers); diff != "" {
		t.Error(diff)
	}
}

func TestAChartThatFailedFailsItsRelease(t *testing.T) {
	r := helmRelease("shop", "podinfo")
	r.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: "False", Reason: "SourceNotReady"}}
	chart := &sourcev1.HelmChart{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "shop-podinfo"},
		Status:     sourcev1.HelmChartStatus{Conditions: []metav1.Condition{{Type: "Ready", Status: "False", Reason: "InvalidChartReference", Message: "no 99.0.0"}}},
	}
	app := applications(Environment{Name: "prod"}, seen(r, chart))[0]
	if app.Health != gitops.Failed || app.Reason != "InvalidChartReference" || app.Message != "no 99.0.0" {
		t.Errorf("got %s %s %q, want Failed with the chart's words", app.Health, app.Reason, app.Message)
	}
}

func TestPodProblems(t *testing.T) {
	waiting := func(reason, message string) corev1.PodStatus {
		return corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "main", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}}}
	}
	for want, status := range map[string]corev1.PodStatus{
		"ImagePullBackOff: Back-off pulling image": waiting("ImagePullBackOff", "Back-off\npulling image"),
		"CrashLoopBackOff: back-off 5m":            waiting("CrashLoopBackOff", "back-off 5m"),
		"CreateContainerConfigError: no secret":    waiting("CreateContainerConfigError", "no secret"),
		"OOMKilled: container main ended with exit code 137": {ContainerStatuses: []corev1.ContainerStatus{{
			Name: "main", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"}},
		}}},
		"Unschedulable: 0/1 nodes are available": {Conditions: []corev1.PodCondition{{
			Type: corev1.PodScheduled, Status: "False", Reason: "Unschedulable", Message: "0/1 nodes are available",
		}}},
		"Evicted: low on memory": {Phase: corev1.PodFailed, Reason: "Evicted", Message: "low on memory"},
		"ErrImagePull: init": {InitContainerStatuses: []corev1.ContainerStatus{{
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "init"}},
		}}},
	} {
		pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-1"}, Status: status}
		if diff := cmp.Diff([]string{"web-1: " + want}, podProblems(deployment("shop", "web", nil), []corev1.Pod{pod})); diff != "" {
			t.Error(diff)
		}
	}
	for _, status := range []corev1.PodStatus{{}, waiting("ContainerCreating", ""), waiting("PodInitializing", ""), {
		InitContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed"}}}},
	}} {
		if got := podProblems(deployment("shop", "web", nil), []corev1.Pod{{Status: status}}); len(got) > 0 {
			t.Errorf("%q of a pod that starts as usual", got)
		}
	}
	var many []corev1.Pod
	for i := range 30 {
		many = append(many, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("web-%02d", 29-i)}, Status: waiting("ErrImagePull", "")})
	}
	want := []string{"web-00: ErrImagePull", "web-01: ErrImagePull", "web-02: ErrImagePull", "web-03: ErrImagePull", "web-04: ErrImagePull"}
	if diff := cmp.Diff(want, podProblems(deployment("shop", "web", nil), many)); diff != "" {
		t.Error(diff)
	}
}

// BenchmarkApplications makes the applications of an environment of 50: half of them HelmReleases.
func BenchmarkApplications(b *testing.B) {
	objects := []client.Object{gitRepository(), kustomization("apps")}
	for i := range 25 {
		name := fmt.Sprintf("app-%d", i)
		objects = append(objects, helmRelease("shop", name), deployment("shop", name+"-web", byRelease("shop", name), "web:1"),
			deployment("shop", "plain-"+name, byKustomization("apps"), "plain:1"))
	}
	s := seen(objects...)
	for b.Loop() {
		if got := len(applications(Environment{Name: "prod"}, s)); got != 50 {
			b.Fatalf("%d applications, want 50", got)
		}
	}
}

package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// maxProblems of a workload are told: more pods say the same.
const maxProblems = 5

// problems fills in what the pods of the workloads' newest templates wait for. Workloads that are Ready have none: an
// evicted pod that has been replaced is nobody's problem.
func (r reader) problems(ctx context.Context, seen *snapshot, workloads []gitops.Workload) error {
	group, ctx := together(ctx)
	for i := range workloads {
		w := &workloads[i]
		object := seen.objects[w.Object]
		_, selector, ok := workload(object)
		if !ok || w.Health == gitops.Ready {
			continue
		}
		group.Go(func() error {
			matching, err := metav1.LabelSelectorAsSelector(selector)
			if err != nil {
				return fmt.Errorf("read selector of %s: %w", w.Object, err)
			}
			pods, err := r.newestPods(ctx, object, matching)
			if err != nil {
				return err
			}
			w.Problems = podProblems(object, pods)
			return nil
		})
	}
	return group.Wait()
}

// newestPods are the pods of a workload's present template: those of the newest ReplicaSet, or of the update revision.
func (r reader) newestPods(ctx context.Context, workload client.Object, matching labels.Selector) ([]corev1.Pod, error) {
	options := []client.ListOption{client.InNamespace(workload.GetNamespace()), client.MatchingLabelsSelector{Selector: matching}}
	label, value := "", ""
	owner := workload
	switch w := workload.(type) {
	case *appsv1.Deployment:
		var sets appsv1.ReplicaSetList
		if err := r.List(ctx, &sets, options...); err != nil {
			return nil, refusal(ctx, r.environment, "list", "replicasets", workload.GetNamespace(), err)
		}
		newest := newestReplicaSet(w, sets.Items)
		if newest == nil {
			return nil, nil
		}
		owner = newest
	case *appsv1.StatefulSet:
		label, value = appsv1.ControllerRevisionHashLabelKey, w.Status.UpdateRevision
	case *appsv1.DaemonSet: // the controller numbers templates, and labels each pod with its number
		if value = w.Annotations[appsv1.DeprecatedTemplateGeneration]; value != "" {
			label = "pod-template-generation"
		}
	}
	var pods corev1.PodList
	if err := r.List(ctx, &pods, options...); err != nil {
		return nil, refusal(ctx, r.environment, "list", "pods", workload.GetNamespace(), err)
	}
	return slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool {
		return !metav1.IsControlledBy(&p, owner) || p.DeletionTimestamp != nil || label != "" && p.Labels[label] != value
	}), nil
}

// newestReplicaSet is the one with the highest revision among those of a Deployment; nil if it has none.
func newestReplicaSet(d *appsv1.Deployment, sets []appsv1.ReplicaSet) *appsv1.ReplicaSet {
	var newest *appsv1.ReplicaSet
	highest := -1
	for i := range sets {
		revision, err := strconv.Atoi(sets[i].Annotations["deployment.kubernetes.io/revision"])
		if err == nil && revision > highest && metav1.IsControlledBy(&sets[i], d) {
			newest, highest = &sets[i], revision
		}
	}
	return newest
}

// podProblems says for each pod that is stuck where it is stuck, a line each, by name.
func podProblems(workload client.Object, pods []corev1.Pod) []string {
	var problems []string
	if d, ok := workload.(*appsv1.Deployment); ok {
		for _, c := range d.Status.Conditions {
			if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
				problems = append(problems, line(d.Name, c.Reason, c.Message))
			}
		}
	}
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	for _, p := range pods {
		if reason, message := podProblem(p); reason != "" {
			problems = append(problems, line(p.Name, reason, message))
		}
	}
	return problems[:min(len(problems), maxProblems)]
}

// podProblem is what a pod is stuck at; empty while it runs or starts as usual.
func podProblem(p corev1.Pod) (reason, message string) {
	if p.Status.Phase == corev1.PodFailed {
		return cmp.Or(p.Status.Reason, "Failed"), p.Status.Message
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if w := c.State.Waiting; w != nil && w.Reason != "" && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
			return w.Reason, w.Message
		}
		if t := c.State.Terminated; t != nil && t.ExitCode != 0 {
			return cmp.Or(t.Reason, "Error"), cmp.Or(t.Message, fmt.Sprintf("container %s ended with exit code %d", c.Name, t.ExitCode))
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return cmp.Or(c.Reason, corev1.PodReasonUnschedulable), c.Message
		}
	}
	return "", ""
}

// line joins name, reason and message to one line of at most 300 characters.
func line(name, reason, message string) string {
	s := []rune(strings.Join(strings.Fields(strings.TrimSuffix(fmt.Sprintf("%s: %s: %s", name, reason, message), ": ")), " "))
	if len(s) > 300 {
		s = append(s[:299], '…')
	}
	return string(s)
}

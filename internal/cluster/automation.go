package cluster

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// imageGroup is that of Flux's image automation, which most clusters lack.
const imageGroup = "image.toolkit.fluxcd.io"

// imageVersions that clusters serve, the newest first. What ferry reads is the same in all, but for the newest image.
var imageVersions = []string{"v1", "v1beta2", "v1beta1"}

// imageKinds are what ferry reads of image automation.
var imageKinds = []struct{ name, resource string }{{"ImageUpdateAutomation", "imageupdateautomations"}, {"ImagePolicy", "imagepolicies"}}

// imageUpdate is what ferry reads of an ImageUpdateAutomation.
type imageUpdate struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		SourceRef struct {
			Kind      string `json:"kind"`
			Namespace string `json:"namespace"`
			Name      string `json:"name"`
		} `json:"sourceRef"`
		Git struct {
			Checkout struct {
				Ref struct {
					Branch string `json:"branch"`
				} `json:"ref"`
			} `json:"checkout"`
			Push struct {
				Branch  string `json:"branch"`
				Refspec string `json:"refspec"`
			} `json:"push"`
		} `json:"git"`
		PolicySelector *metav1.LabelSelector `json:"policySelector"`
		Update         struct {
			Path string `json:"path"`
		} `json:"update"`
		Suspend bool `json:"suspend"`
	} `json:"spec"`
}

// imagePolicy is what ferry reads of an ImagePolicy. LatestImage is the newest image in v1beta1.
type imagePolicy struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Status   struct {
		LatestImage string `json:"latestImage"`
		LatestRef   struct {
			Name   string `json:"name"`
			Tag    string `json:"tag"`
			Digest string `json:"digest"`
		} `json:"latestRef"`
	} `json:"status"`
}

// Automations returns the image automations of an environment with the policies that they follow: those of their
// namespace that they select. A cluster without image automation has none.
func (f *Fleet) Automations(ctx context.Context, environment string) ([]gitops.ImageAutomation, error) {
	_, _, flux, err := f.connect(ctx, environment)
	if err != nil {
		return nil, err
	}
	updates, err := images[imageUpdate](ctx, flux, imageKinds[0].name, imageKinds[0].resource)
	if err != nil || len(updates) == 0 {
		return nil, err
	}
	policies, err := images[imagePolicy](ctx, flux, imageKinds[1].name, imageKinds[1].resource)
	if err != nil {
		return nil, err
	}
	seen := newSnapshot()
	var all []gitops.ImageAutomation
	for _, u := range updates {
		ref := u.Spec.SourceRef
		source := gitops.Object{Kind: cmp.Or(ref.Kind, gitRepositories.name), Namespace: cmp.Or(ref.Namespace, u.Metadata.Namespace), Name: ref.Name}
		if source.Kind != gitRepositories.name {
			continue
		}
		if err := flux.source(ctx, seen, gitRepositories, source); err != nil {
			return nil, err
		}
		a := gitops.ImageAutomation{
			Object:    gitops.Object{Kind: "ImageUpdateAutomation", Namespace: u.Metadata.Namespace, Name: u.Metadata.Name},
			Source:    seen.source(source),
			Path:      cmp.Or(strings.TrimPrefix(path.Clean("/"+u.Spec.Update.Path), "/"), "."),
			Suspended: u.Spec.Suspend,
		}
		git := u.Spec.Git
		_, pushed, _ := strings.Cut(git.Push.Refspec, ":")
		a.Branch = cmp.Or(git.Push.Branch, strings.TrimPrefix(pushed, "refs/heads/"), git.Checkout.Ref.Branch, a.Source.Branch)
		selects := labels.Everything()
		if s := u.Spec.PolicySelector; s != nil {
			if selects, err = metav1.LabelSelectorAsSelector(s); err != nil {
				continue // its controller refuses it too
			}
		}
		for _, p := range policies {
			if p.Metadata.Namespace == a.Namespace && selects.Matches(labels.Set(p.Metadata.Labels)) {
				a.Policies = append(a.Policies, p.policy())
			}
		}
		all = append(all, a)
	}
	return all, nil
}

func (p imagePolicy) policy() gitops.ImagePolicy {
	latest := p.Status.LatestRef
	if latest.Tag == "" { // registry:5000/name:tag
		reference, digest, _ := strings.Cut(p.Status.LatestImage, "@")
		if i := strings.LastIndexByte(reference, ':'); i > strings.LastIndexByte(reference, '/') {
			latest.Name, latest.Tag, latest.Digest = reference[:i], reference[i+1:], digest
		}
	}
	return gitops.ImagePolicy{Object: gitops.Object{Kind: "ImagePolicy", Namespace: p.Metadata.Namespace, Name: p.Metadata.Name},
		Image: latest.Name, Tag: latest.Tag, Digest: latest.Digest}
}

// images lists a kind of image automation in the newest version that the cluster serves, sorted by namespace and name.
func images[T any](ctx context.Context, r reader, kind, resource string) ([]T, error) {
	namespaces := r.namespaces
	if len(namespaces) == 0 {
		namespaces = []string{""}
	}
	var found []unstructured.Unstructured
	for _, namespace := range namespaces {
		list, err := r.served(ctx, kind, namespace)
		if absent(err) {
			return nil, nil
		}
		if err != nil {
			return nil, refusal(ctx, r.environment, "list", resource, namespace, err)
		}
		found = append(found, list.Items...)
	}
	slices.SortFunc(found, func(a, b unstructured.Unstructured) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	var all []T
	for _, o := range found {
		var one T
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &one); err != nil {
			return nil, fmt.Errorf("read %s %s/%s of %s: %w", kind, o.GetNamespace(), o.GetName(), r.environment, err)
		}
		all = append(all, one)
	}
	return all, nil
}

// served lists in the first version that is there.
func (r reader) served(ctx context.Context, kind, namespace string) (*unstructured.UnstructuredList, error) {
	var last error
	for _, version := range imageVersions {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(schema.GroupVersionKind{Group: imageGroup, Version: version, Kind: kind + "List"})
		if last = r.List(ctx, list, client.InNamespace(namespace)); !absent(last) {
			return list, last
		}
	}
	return nil, last
}

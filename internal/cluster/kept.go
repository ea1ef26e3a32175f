package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/operation"
)

const (
	keptPrefix = "ferry-report-"
	keptKind   = "review" // of stateLabel: how sources do is a report too
	keptAt     = "ferry.dev/kept-at"
	keptKey    = "report"
	mostKept   = 50
)

// keptVerbs are what a Kept needs to be allowed with ConfigMaps.
var keptVerbs = []string{"get", "list", "create", "update", "delete"}

// Kept keeps documents in ConfigMaps of a namespace of the home cluster that are called ferry-report-KEY, the newest 50. Of
// two that write one at once the first wins; the other's is no better.
type Kept struct {
	fleet     *Fleet
	namespace string
}

var _ operation.Kept = (*Kept)(nil)

// Kept is what is kept in a namespace. No cluster is contacted.
func (f *Fleet) Kept(namespace string) *Kept { return &Kept{f, namespace} }

// Load gives the document of a key; nil where there is none.
func (k *Kept) Load(ctx context.Context, key string) ([]byte, error) {
	home, err := k.fleet.client(ctx, "the home cluster", Access{})
	if err != nil {
		return nil, err
	}
	var found corev1.ConfigMap
	switch err := home.Get(ctx, client.ObjectKey{Namespace: k.namespace, Name: keptPrefix + key}, &found); {
	case absent(err):
		return nil, nil
	case err != nil:
		return nil, k.refuse(ctx, "get", err)
	}
	return found.BinaryData[keptKey], nil
}

// Save writes a document, and removes the oldest where there are too many.
func (k *Kept) Save(ctx context.Context, key string, document []byte) error {
	home, err := k.fleet.client(ctx, "the home cluster", Access{})
	if err != nil {
		return err
	}
	return k.save(ctx, home, key, document)
}

func (k *Kept) save(ctx context.Context, home client.Client, key string, document []byte) error {
	written := corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.namespace, Name: keptPrefix + key, Labels: map[string]string{managedBy: "ferry", stateLabel: keptKind},
			Annotations: map[string]string{keptAt: time.Now().UTC().Format(time.RFC3339Nano)}},
		BinaryData: map[string][]byte{keptKey: document},
	}
	verb := "create"
	err := home.Create(ctx, &written)
	if apierrors.IsAlreadyExists(err) {
		var old metav1.PartialObjectMetadata
		old.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
		verb = "get"
		if err = home.Get(ctx, client.ObjectKeyFromObject(&written), &old); err == nil {
			verb, written.ResourceVersion = "update", old.ResourceVersion
			err = home.Update(ctx, &written)
		}
	}
	switch {
	case apierrors.IsConflict(err), verb != "create" && apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return k.refuse(ctx, verb, err)
	}
	return k.prune(ctx, home)
}

// prune removes all but the newest, unless one was written again since it was listed.
func (k *Kept) prune(ctx context.Context, home client.Client) error {
	var all metav1.PartialObjectMetadataList
	all.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMapList"))
	if err := home.List(ctx, &all, client.InNamespace(k.namespace), client.MatchingLabels{managedBy: "ferry", stateLabel: keptKind}); err != nil {
		return k.refuse(ctx, "list", err)
	}
	kept := slices.DeleteFunc(all.Items, func(o metav1.PartialObjectMetadata) bool { return !strings.HasPrefix(o.Name, keptPrefix) })
	slices.SortFunc(kept, func(a, b metav1.PartialObjectMetadata) int {
		return cmp.Or(cmp.Compare(b.Annotations[keptAt], a.Annotations[keptAt]), cmp.Compare(a.Name, b.Name))
	})
	for i := mostKept; i < len(kept); i++ {
		err := home.Delete(ctx, &kept[i], client.Preconditions{ResourceVersion: &kept[i].ResourceVersion})
		if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return k.refuse(ctx, "delete", err)
		}
	}
	return nil
}

func (k *Kept) refuse(ctx context.Context, verb string, err error) error {
	if apierrors.IsForbidden(err) {
		return &gitops.Refusal{Code: gitops.Denied, Cause: err,
			Reason:  fmt.Sprintf("ferry may not %s ConfigMaps in namespace %s of the home cluster, where it keeps reports.", verb, k.namespace),
			Snippet: "kubectl create role ferry-reports --namespace " + k.namespace + " --verb " + strings.Join(keptVerbs, ",") + " --resource configmaps"}
	}
	return refusal(ctx, "the home cluster", verb, "configmaps "+keptPrefix+"*", k.namespace, err)
}

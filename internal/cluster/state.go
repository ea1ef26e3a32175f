package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/watch"
)

// Labels of the ConfigMaps with state, and the key of its bytes.
const (
	managedBy   = "app.kubernetes.io/managed-by"
	stateLabel  = "ferry.dev/state"
	sourceLabel = "ferry.dev/source"
	stateKey    = "state"
)

// stateVerbs are what a State needs to be allowed with ConfigMaps.
var stateVerbs = []string{"get", "list", "create", "update"}

// A State keeps what a source of ferry's has to remember, in ConfigMaps of a namespace of the home cluster that are called
// ferry-SOURCE-SHARD. It implements watch.Store: resourceVersion decides who wins. Beside the shards it keeps documents
// by name. Its refusals say which right is missing.
type State struct {
	fleet             *Fleet
	namespace, source string
}

var _ watch.Store = (*State)(nil)

// State is that of a source, whose name may be part of a ConfigMap's. No cluster is contacted.
func (f *Fleet) State(namespace, source string) *State {
	return &State{fleet: f, namespace: namespace, source: source}
}

// Place tells apart what is kept in different clusters and namespaces.
func (s *State) Place() string { return s.namespace + "\n" + s.fleet.where }

// Load reads a shard.
func (s *State) Load(ctx context.Context, shard int) ([]byte, string, error) {
	return s.load(ctx, strconv.Itoa(shard))
}

func (s *State) load(ctx context.Context, name string) ([]byte, string, error) {
	home, err := s.fleet.client(ctx, "the home cluster", Access{})
	if err != nil {
		return nil, "", err
	}
	var found corev1.ConfigMap
	switch err := home.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: s.object(name)}, &found); {
	case absent(err):
		return nil, "", nil
	case err != nil:
		return nil, "", s.refuse(ctx, "get", name, err)
	}
	return found.BinaryData[stateKey], found.ResourceVersion, nil
}

// Save writes a shard, if it has the version that was read.
func (s *State) Save(ctx context.Context, shard int, data []byte, version string) (string, error) {
	return s.save(ctx, strconv.Itoa(shard), "shard", data, version)
}

func (s *State) save(ctx context.Context, name, kind string, data []byte, version string) (string, error) {
	home, err := s.fleet.client(ctx, "the home cluster", Access{})
	if err != nil {
		return "", err
	}
	written := corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: s.object(name), ResourceVersion: version,
			Labels: map[string]string{managedBy: "ferry", sourceLabel: s.source, stateLabel: kind}},
		BinaryData: map[string][]byte{stateKey: data},
	}
	verb := "update"
	if version == "" {
		verb = "create"
		err = home.Create(ctx, &written)
	} else {
		err = home.Update(ctx, &written)
	}
	switch {
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), version != "" && apierrors.IsNotFound(err):
		return "", watch.ErrConflict
	case apierrors.IsNotFound(err):
		return "", &gitops.Refusal{Code: gitops.Config, Cause: err, Snippet: "kubectl create namespace " + s.namespace,
			Reason: fmt.Sprintf("The home cluster has no namespace %s, in which ferry keeps what it has to remember. Create it, or name another one as namespace in ferry's configuration.", s.namespace)}
	case err != nil:
		return "", s.refuse(ctx, verb, name, err)
	}
	return written.ResourceVersion, nil
}

// Read gives a document; where there is none, nothing.
func (s *State) Read(ctx context.Context, name string) ([]byte, error) {
	data, _, err := s.load(ctx, name)
	return data, err
}

// Write puts a document in the place of what is there, whoever wrote that.
func (s *State) Write(ctx context.Context, name string, data []byte) error {
	for try := 0; ; try++ {
		_, version, err := s.load(ctx, name)
		if err != nil {
			return err
		}
		if _, err = s.save(ctx, name, name, data, version); err == nil || try == 2 || !isConflict(err) {
			return err
		}
	}
}

func isConflict(err error) bool { return errors.Is(err, watch.ErrConflict) }

func (s *State) object(name string) string { return "ferry-" + s.source + "-" + name }

func (s *State) refuse(ctx context.Context, verb, name string, err error) error {
	if apierrors.IsForbidden(err) {
		return &gitops.Refusal{Code: gitops.Denied, Cause: err,
			Reason: fmt.Sprintf("ferry may not %s the ConfigMap %s in namespace %s of the home cluster, where its source keeps what it saw and told. Grant it with a role:", verb, s.object(name), s.namespace),
			Snippet: strings.Join([]string{
				"kubectl create role ferry-state --namespace " + s.namespace + " --verb " + strings.Join(stateVerbs, ",") + " --resource configmaps",
				"kubectl create rolebinding ferry-state --namespace " + s.namespace + " --role ferry-state" + s.fleet.subjects(),
			}, "\n")}
	}
	return refusal(ctx, "the home cluster", verb, "configmap "+s.object(name), s.namespace, err)
}

// subjects are those that ferry is in the home cluster, as kubectl takes them.
func (f *Fleet) subjects() string {
	text := ""
	for _, group := range f.impersonate.Groups {
		text += " --group " + group
	}
	if text == "" && f.impersonate.UserName != "" {
		text = " --user " + f.impersonate.UserName
	}
	return cmp.Or(text, " --user USER")
}

// Reports gives the documents of a name of all sources that keep state in a namespace of the home cluster.
func (f *Fleet) Reports(ctx context.Context, namespace, name string) ([][]byte, error) {
	home, err := f.client(ctx, "the home cluster", Access{})
	if err != nil {
		return nil, err
	}
	var found corev1.ConfigMapList
	if err := home.List(ctx, &found, client.InNamespace(namespace), client.MatchingLabels{managedBy: "ferry", stateLabel: name}); err != nil {
		return nil, refusal(ctx, "the home cluster", "list", "configmaps", namespace, err)
	}
	var all [][]byte
	for _, c := range found.Items {
		all = append(all, c.BinaryData[stateKey])
	}
	return all, nil
}

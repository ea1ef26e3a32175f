package cluster

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/operation"
	"github.com/ferry-chatops/ferry/internal/render"
	"github.com/ferry-chatops/ferry/internal/testenv"
)

// TestOnAPIServer asks a real API server, since nothing else knows what a dry run does.
func TestOnAPIServer(t *testing.T) {
	env := testenv.Need(t, testenv.Options{Clusters: []string{"prod"}})
	s := &apiServer{Cluster: env.Clusters["prod"]}
	s.fleet = newFleet(t, s.kubeconfig(t, ""), Environment{Name: "prod"})
	s.apply(t, "kustomize-controller", "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")

	t.Run("a field changes", s.testField)
}

// apiServer is a cluster whose environment is prod.
type apiServer struct {
	*testenv.Cluster
	fleet *Fleet
}

// kubeconfig is that of the cluster's administrator, or of somebody in a group alone.
func (s *apiServer) kubeconfig(t *testing.T, group string) []byte {
	t.Helper()
	config, err := clientcmd.LoadFromFile(s.KubeconfigFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range config.AuthInfos {
		if group != "" {
			user.Impersonate, user.ImpersonateGroups = "somebody", []string{group}
		}
	}
	raw, err := clientcmd.Write(*config)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// apply writes objects as a field manager.
func (s *apiServer) apply(t *testing.T, manager, manifest string) {
	t.Helper()
	for _, o := range objects(t, manifest) {
		u := &unstructured.Unstructured{Object: o.Fields}
		if err := s.Client().Apply(t.Context(), client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(manager), client.ForceOwnership); err != nil {
			t.Fatal(err)
		}
	}
}

// objects decodes a manifest.
func objects(t *testing.T, manifest string) (all []render.Object) {
	t.Helper()
	for document := range strings.SplitSeq(manifest, "\n---\n") {
		fields := map[string]any{}
		if err := yaml.Unmarshal([]byte(document), &fields); err != nil {
			t.Fatal(err)
		}
		u := unstructured.Unstructured{Object: fields}
		all = append(all, render.Object{Object: gitops.Object{Kind: u.GetKind(), Namespace: u.GetNamespace(), Name: u.GetName()}, Fields: fields})
	}
	return all
}

// try asks for one trial of a manifest.
func (s *apiServer) try(t *testing.T, way operation.Way, manifest string) operation.Tried {
	t.Helper()
	return s.trial(t, operation.Trial{Way: way, Object: objects(t, manifest)[0]})
}

func (s *apiServer) trial(t *testing.T, trial operation.Trial) operation.Tried {
	t.Helper()
	tried, err := s.fleet.Try(t.Context(), "prod", []operation.Trial{trial})
	if err != nil {
		t.Fatal(err)
	}
	return tried[0]
}

func deploymentOf(name, image string, more string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata:
  name: %s
  namespace: shop
  labels: {kustomize.toolkit.fluxcd.io/name: apps, kustomize.toolkit.fluxcd.io/namespace: flux-system}
spec:
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      containers:
      - {name: web, image: %q, ports: [{containerPort: 80}]%s}
`, name, image, more)
}

func (s *apiServer) testField(t *testing.T) {
	s.apply(t, kustomizeManager, deploymentOf("field", "web:1", ""))
	got := s.try(t, operation.Applied, deploymentOf("field", "web:2", ""))
	if got.Err != nil || got.Without != "" {
		t.Fatalf("%+v", got)
	}
	want := map[string]any{"spec.template.spec.containers.0.image": [2]any{"web:1", "web:2"}}
	if diff := cmp.Diff(want, differences(got.Live, got.After)); diff != "" {
		t.Error(diff)
	}
}

// differences of two objects, by path: what each side has.
func differences(a, b any) map[string]any {
	all := map[string]any{}
	var compare func(path string, a, b any)
	compare = func(path string, a, b any) {
		am, aok := a.(map[string]any)
		bm, bok := b.(map[string]any)
		al, alok := a.([]any)
		bl, blok := b.([]any)
		switch {
		case aok && bok:
			keys := map[string]bool{}
			for k := range am {
				keys[k] = true
			}
			for k := range bm {
				keys[k] = true
			}
			for k := range keys {
				compare(strings.TrimPrefix(path+"."+k, "."), am[k], bm[k])
			}
		case alok && blok && len(al) == len(bl):
			for i := range al {
				compare(fmt.Sprintf("%s.%d", path, i), al[i], bl[i])
			}
		case !cmp.Equal(a, b):
			all[path] = [2]any{a, b}
		}
	}
	compare("", a, b)
	return all
}

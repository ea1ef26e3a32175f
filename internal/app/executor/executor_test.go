package executor

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/app/config"
	"github.com/ferry-chatops/ferry/internal/cluster"
)

func load(t *testing.T, document string) config.Config {
	t.Helper()
	c, err := config.Load([][]byte{[]byte(document)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestWhereFluxIs: with the pods, unless another cluster is named; an empty name is the home cluster.
func TestWhereFluxIs(t *testing.T) {
	got := environments(load(t, `
environments:
- {name: plain, cluster: {kubeconfigFile: /prod}}
- {name: narrow, cluster: {kubeconfigFile: /prod}, namespaces: [shop], flux: {namespaces: [apps]}}
- {name: hub, cluster: {secretRef: {namespace: ferry, name: prod}}, flux: {cluster: {}, namespaces: [prod]}}
- {name: other, cluster: {kubeconfigFile: /prod}, flux: {cluster: {kubeconfigFile: /hub, context: eu}}}
- {name: home}
`))
	prod := cluster.Access{KubeconfigFile: "/prod"}
	want := []cluster.Environment{
		{Name: "plain", Cluster: prod, Flux: prod},
		{Name: "narrow", Cluster: prod, Flux: prod, Namespaces: []string{"shop"}, FluxNamespaces: []string{"apps"}},
		{Name: "hub", Cluster: cluster.Access{Secret: &cluster.SecretRef{Namespace: "ferry", Name: "prod", Key: "kubeconfig"}}, FluxNamespaces: []string{"prod"}},
		{Name: "other", Cluster: prod, Flux: cluster.Access{KubeconfigFile: "/hub", Context: "eu"}},
		{Name: "home"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestHowLongAnAnswerWaits(t *testing.T) {
	got := settings(load(t, "environments: [{name: a}, {name: b, promotion: {wait: 0s, timeout: 1m}}]"))
	if got[0].Wait != 15*time.Second || got[0].Timeout != 15*time.Minute || got[1].Wait != 0 || got[1].Timeout != time.Minute {
		t.Errorf("got %+v", got)
	}
}

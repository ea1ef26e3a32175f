package executor

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/app/config"
	"github.com/ferry-chatops/ferry/internal/cluster"
	plugin "github.com/ferry-chatops/ferry/internal/plugin/executor"
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
- {name: itself, impersonate: none, cluster: {kubeconfigFile: /prod}, flux: {cluster: {kubeconfigFile: /hub}}}
- {name: himself, impersonate: host, cluster: {kubeconfigFile: /prod}}
`))
	prod := cluster.Access{KubeconfigFile: "/prod"}
	want := []cluster.Environment{
		{Name: "plain", Cluster: prod, Flux: prod},
		{Name: "narrow", Cluster: prod, Flux: prod, Namespaces: []string{"shop"}, FluxNamespaces: []string{"apps"}},
		{Name: "hub", Cluster: cluster.Access{Secret: &cluster.SecretRef{Namespace: "ferry", Name: "prod", Key: "kubeconfig"}}, FluxNamespaces: []string{"prod"}},
		{Name: "other", Cluster: prod, Flux: cluster.Access{KubeconfigFile: "/hub", Context: "eu"}},
		{Name: "home"},
		{Name: "itself", Cluster: cluster.Access{KubeconfigFile: "/prod", AsItself: true}, Flux: cluster.Access{KubeconfigFile: "/hub", AsItself: true}},
		{Name: "himself", Cluster: prod, Flux: prod},
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

// TestOperatorsBlueprints: a line that needs no cluster shows them too, and a faulty one changes nothing.
func TestOperatorsBlueprints(t *testing.T) {
	var logged bytes.Buffer
	r, err := New(slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	dir := t.TempDir()
	document := fmt.Appendf(nil, "environments: [{name: prod}]\nblueprints: %s\n", dir)
	for text, want := range map[string]string{"sections: [{header: Mine}]": "**Mine**", "sections: [{header: '{{ .X }}'}]": "**ferry moves releases between environments**"} {
		if err := os.WriteFile(filepath.Join(dir, "help.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got := r.Respond(t.Context(), plugin.Input{Line: "ferry help", Kubeconfig: kubeconfig, Configs: [][]byte{document}})
		if first, _, _ := strings.Cut(got[0].BaseBody.Plaintext, "\n"); first != want {
			t.Errorf("%s: %q, want %q\n%s", text, first, want, &logged)
		}
	}
	if n := strings.Count(logged.String(), "level=WARN"); n != 1 || !strings.Contains(logged.String(), "help.yaml") {
		t.Errorf("%d warnings:\n%s", n, &logged)
	}
}

var kubeconfig = []byte("{apiVersion: v1, kind: Config, current-context: a, contexts: [{name: a, context: {cluster: a, user: a}}], clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}], users: [{name: a, user: {token: x}}]}")

// TestAllowed: what the configuration names, and nothing else, unless an environment leaves it to Flux.
func TestAllowed(t *testing.T) {
	only := allowed(load(t, "environments: [{name: a, repository: {name: acme/fleet}}, {name: b}]\nrepository: {name: acme/all}\ngithub: {repositories: [acme/Apps]}"))
	for name, want := range map[string]bool{"acme/fleet": true, "acme/all": true, "acme/apps": true, "Acme/Fleet": true, "acme/fleets": false, "acme": false, "": false} {
		if only(name) != want {
			t.Errorf("%q: %t", name, !want)
		}
	}
	if found := allowed(load(t, "environments: [{name: a, repository: {name: acme/fleet}}, {name: b}]\ngithub: {repositories: [acme/apps]}")); !found("acme/any") {
		t.Error("what Flux follows where nothing is named")
	}
}

func TestWhoMay(t *testing.T) {
	got := settings(load(t, "environments: [{name: a}, {name: b, promotion: {promoters: [\"slack:U1\"]}}]\naccess: {default: [\"slack:*\"]}"))
	if got[0].Access.Rule != "access.default" || !got[0].Access.Permits("slack:U2") || got[1].Access.Permits("slack:U2") || !got[1].Access.Permits("slack:U1") {
		t.Errorf("got %+v", got)
	}
}

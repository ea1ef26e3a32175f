package fleet_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/app/executor"
	"github.com/ferry-chatops/ferry/internal/blueprint"
	"github.com/ferry-chatops/ferry/internal/cluster"
	plugin "github.com/ferry-chatops/ferry/internal/plugin/executor"
	"github.com/ferry-chatops/ferry/internal/testenv"
)

func TestCheckFindsNothingMissing(t *testing.T) {
	c := start(t)
	c.sees("check", "Everything that ferry needs is there", "stage: Kubernetes v1.34.2, Flux 2.6 or later", "acme/fleet: stage: commit to main, prod: commit to main",
		"To ferry you are slack:U0TEST.", "Anybody in a channel with ferry may change stage and prod")
	c.sees("check prod", "prod: Kubernetes", "Check again")
}

// A checker asks ferry what is missing in stage, with the rights of a group that has none at first, as a channel's in
// Botkube may be.
type checker struct {
	*testing.T
	cluster    *testenv.Cluster
	responder  *executor.Responder
	kubeconfig []byte
	config     []byte
}

func checking(t *testing.T, c chat, group, environment, auth string) checker {
	t.Helper()
	cluster.UseLogger(slog.New(slog.DiscardHandler))
	stage := c.Clusters["stage"]
	admin, err := clientcmd.LoadFromFile(stage.KubeconfigFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range admin.AuthInfos { // as Botkube writes it
		user.Impersonate, user.ImpersonateGroups = "botkube-internal-static-user", []string{group}
	}
	home, err := clientcmd.Write(*admin)
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Appendf(nil, "environments: [%s]\naccess: {default: [\"slack:U0TEST\"]}\ngithub: {baseURL: %q, auth: %s}\n",
		environment, strings.TrimSuffix(c.Hub.APIURL(), "/api/v3/"), auth)
	responder, err := executor.New(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := responder.Close(); err != nil {
			t.Error(err)
		}
	})
	return checker{t, stage, responder, home, config}
}

func (c checker) ask(line string) plugin.Messages {
	return c.responder.Respond(c.Context(), plugin.Input{Line: line, Interactive: true, Mention: "<@U0TEST>", DisplayName: "tester",
		Kubeconfig: c.kubeconfig, Configs: [][]byte{c.config}})
}

// check gives the answer: whether something is missing, all it shows, and the manifest to apply.
func (c checker) check() (missing bool, text string, manifest []byte) {
	c.Helper()
	messages := c.ask("check")
	var all strings.Builder // what is too long for one message goes on in the next
	for _, m := range messages {
		text += m.BaseBody.Plaintext
		bodies := []string{m.BaseBody.CodeBlock}
		for _, s := range m.Sections {
			text += fmt.Sprintf("%s\n%s\n%s\n", s.Header, s.Description, s.Body.Plaintext)
			bodies = append(bodies, s.Body.CodeBlock)
		}
		for _, code := range bodies {
			if all.Len() > 0 && (strings.HasPrefix(code, "apiVersion:") || strings.HasPrefix(code, "#")) {
				all.WriteString("---\n")
			}
			if code != "" {
				all.WriteString(strings.TrimSuffix(code, "\n") + "\n")
			}
		}
	}
	return messages[0].Type == blueprint.Refused, text, []byte(all.String())
}

// until asks until the answer is as wanted: the API server hears of a changed role after some milliseconds.
func (c checker) until(what string, wanted func(missing bool, text string, manifest []byte) bool) (text string, manifest []byte) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), 15*time.Second)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		missing, text, manifest := c.check()
		if wanted(missing, text, manifest) {
			return text, manifest
		}
		select {
		case <-ctx.Done():
			c.Fatalf("%s: ferry check never says so:\n%s", what, text)
		case <-ticker.C:
		}
	}
}

func (c checker) fine(what string) {
	c.Helper()
	c.until(what, func(_ bool, text string, _ []byte) bool { return strings.Contains(text, "All is fine\n") })
}

// An atom is one right out of a role that was printed.
type atom struct {
	role client.ObjectKey // of the namespace that is empty for a ClusterRole
	rule rbacv1.PolicyRule
}

func (a atom) String() string {
	return fmt.Sprintf("%s %s %s %s", a.role.Namespace, a.rule.Verbs[0], a.rule.Resources[0], strings.Join(a.rule.ResourceNames, ""))
}

// covers says whether a right is had anyway by this one of the whole cluster.
func (a atom) covers(other atom) bool {
	return a.role.Namespace == "" && len(a.rule.ResourceNames) == 0 && a.rule.Verbs[0] == other.rule.Verbs[0] &&
		a.rule.Resources[0] == other.rule.Resources[0] && a.rule.APIGroups[0] == other.rule.APIGroups[0]
}

// printed reads the roles of a manifest.
func (c checker) printed(manifest []byte) (atoms []atom) {
	c.Helper()
	for document := range bytes.SplitSeq(manifest, []byte("\n---\n")) {
		var role rbacv1.ClusterRole // a Role has the same fields
		if len(bytes.TrimSpace(document)) == 0 {
			continue
		}
		if err := yaml.Unmarshal(document, &role); err != nil {
			c.Fatalf("%v:\n%s", err, document)
		}
		for _, rule := range role.Rules {
			for _, verb := range rule.Verbs {
				for _, resource := range rule.Resources {
					one := rbacv1.PolicyRule{APIGroups: rule.APIGroups, Resources: []string{resource}, Verbs: []string{verb}, ResourceNames: rule.ResourceNames}
					atoms = append(atoms, atom{client.ObjectKeyFromObject(&role), one})
				}
			}
		}
	}
	return atoms
}

// remove deletes what was printed.
func (c checker) remove(manifest []byte) {
	c.Helper()
	for document := range bytes.SplitSeq(manifest, []byte("\n---\n")) {
		var object metav1.PartialObjectMetadata
		if err := yaml.Unmarshal(document, &object); err != nil {
			c.Fatal(err)
		}
		if object.Kind == "" { // a remark, where the message ends behind it
			continue
		}
		if err := c.cluster.Client().Delete(context.WithoutCancel(c.Context()), &object); err != nil {
			c.Error(err)
		}
	}
}

// set gives a printed role all rules of atoms that are its own, but one.
func (c checker) set(key client.ObjectKey, atoms []atom, but int) {
	c.Helper()
	var rules []rbacv1.PolicyRule
	for i, a := range atoms {
		if a.role == key && i != but {
			rules = append(rules, a.rule)
		}
	}
	var object client.Object = &rbacv1.ClusterRole{}
	if key.Namespace != "" {
		object = &rbacv1.Role{}
	}
	object.SetNamespace(key.Namespace)
	object.SetName(key.Name)
	raw, err := yaml.Marshal(map[string]any{"rules": rules})
	if err != nil {
		c.Fatal(err)
	}
	merge, err := yaml.YAMLToJSON(raw)
	if err != nil {
		c.Fatal(err)
	}
	if err := c.cluster.Client().Patch(c.Context(), object, client.RawPatch("application/merge-patch+json", merge)); err != nil {
		c.Fatal(err)
	}
}

// namesEachMissingRight begins without any right and applies what check prints. Then it takes each right away
// in turn: check prints that and nothing else, and applying it makes all well again.
func namesEachMissingRight(t *testing.T, name string, configured func(c chat) (environment, auth string), count int) {
	t.Helper()
	chat := start(t)
	if err := chat.Clusters["stage"].Apply(t.Context(), []byte(elsewhere)); err != nil {
		t.Fatal(err)
	}
	if err := chat.Clusters["stage"].InstallImageAutomation(t.Context()); err != nil {
		t.Fatal(err)
	}
	environment, auth := configured(chat)
	c := checking(t, chat, "ferry "+name, environment, auth)
	var applied [][]byte
	defer func() {
		for _, manifest := range applied {
			c.remove(manifest)
		}
	}()
	// What Kustomizations name is known only once they can be listed, and what somebody may once he can be impersonated.
	for {
		given := c.printed(bytes.Join(applied, []byte("\n---\n")))
		_, manifest := c.until("what was applied", func(missing bool, _ string, manifest []byte) bool {
			return (missing || len(applied) > 0) && !slices.ContainsFunc(c.printed(manifest), func(a atom) bool {
				return slices.ContainsFunc(given, func(b atom) bool { return a.String() == b.String() })
			})
		})
		if len(manifest) == 0 {
			break
		}
		if err := c.cluster.Apply(t.Context(), manifest); err != nil {
			t.Fatalf("%v:\n%s", err, manifest)
		}
		applied = append(applied, manifest)
	}
	c.fine("everything that was printed")
	if list := c.ask("list"); list[0].Type == blueprint.Refused || strings.Contains(fmt.Sprint(list), "may not") {
		t.Errorf("with all that was printed, list answers %v", list)
	}
	if name == "the whole cluster" { // once: it takes some seconds
		for _, line := range []string{"promote podinfo@6.9.2 to stage --yes", "status podinfo on stage", "rollback podinfo on stage --yes"} {
			if answer := c.ask(line); !strings.Contains(fmt.Sprint(answer), ": Verified") {
				t.Errorf("with all that was printed, %s answers %v", line, answer)
			}
		}
	}
	atoms := c.printed(bytes.Join(applied, []byte("\n---\n")))
	if len(atoms) != count {
		t.Fatalf("%d rights, want %d: %v", len(atoms), count, atoms)
	}
	for i, a := range atoms {
		if slices.ContainsFunc(atoms, func(b atom) bool { return b.role != a.role && b.covers(a) }) {
			continue // it is not missed
		}
		c.set(a.role, atoms, i)
		text, manifest := c.until(a.String()+" taken away", func(_ bool, _ string, manifest []byte) bool {
			named := c.printed(manifest)
			return len(named) == 1 && named[0].String() == a.String()
		})
		if want := "ferry may not " + a.rule.Verbs[0] + " " + a.rule.Resources[0]; !strings.Contains(text, want) {
			t.Errorf("%s taken away, and no %q in\n%s", a, want, text)
		}
		if err := c.cluster.Apply(t.Context(), manifest); err != nil {
			t.Fatal(err)
		}
		c.fine(a.String() + " given back")
		if named := c.printed(manifest); named[0].role != a.role { // a role of one right is printed the same again
			c.remove(manifest)
		}
		c.set(a.role, atoms, -1)
	}
}

// A test for each way to give rights, since one takes a minute.

func TestCheckNamesRightsOfTheWholeCluster(t *testing.T) {
	// 3 × list, get, patch, create; replicasets, pods; 6 × list, get and 5 × patch; ConfigMaps, Secrets and image automation;
	// kube-system and 5 to keep reports
	namesEachMissingRight(t, "the whole cluster", func(c chat) (environment, auth string) {
		return "{name: stage, promotion: {confirm: optional, wait: 1m}}", tokenFile(c)
	}, 14+17+4+1+5)
}

func TestCheckNamesRightsInSomeNamespaces(t *testing.T) {
	// one role each for podinfo, web and flux-system, and one for what both with Flux's objects may lack
	namesEachMissingRight(t, "some namespaces", func(c chat) (environment, auth string) {
		return "{name: stage, namespaces: [podinfo, web], flux: {namespaces: [flux-system, podinfo]}}", tokenFile(c)
	}, 8+12+8+12+6+5+4+1+5)
}

func TestCheckNamesRightsWhereASourceIsElsewhere(t *testing.T) {
	// and get and patch where the source is
	namesEachMissingRight(t, "a source elsewhere", func(c chat) (environment, auth string) {
		return "{name: stage, namespaces: [web], flux: {namespaces: [checks]}}", tokenFile(c)
	}, 14+17+4+1+5+2)
}

func TestCheckNamesRightsOfAnAccount(t *testing.T) {
	// and users and groups to impersonate, and the Secret
	namesEachMissingRight(t, "by an account", func(c chat) (environment, auth string) {
		return fmt.Sprintf("{name: stage, cluster: {kubeconfigFile: %q}}", account(t, c)), "{tokenSecret: {namespace: checks, name: github, key: token}}"
	}, 14+17+4+1+5+2+1)
}

func tokenFile(c chat) string {
	return fmt.Sprintf("{tokenFile: %q}", filepath.Join(c.Dir, "github-token"))
}

// account makes a service account, which may nothing, and the file of a kubeconfig with its token.
func account(t *testing.T, c chat) (file string) {
	t.Helper()
	stage := c.Clusters["stage"]
	secret := fmt.Appendf(nil, "apiVersion: v1\nkind: Secret\nmetadata: {name: github, namespace: checks}\nstringData: {token: %q}\n---\n"+
		"apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: ferry, namespace: checks}\n", c.Token)
	if err := stage.Apply(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	var token authenticationv1.TokenRequest
	owner := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "checks", Name: "ferry"}}
	if err := stage.Client().SubResource("token").Create(t.Context(), owner, &token); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.LoadFromFile(stage.KubeconfigFile)
	if err != nil {
		t.Fatal(err)
	}
	for name := range config.AuthInfos {
		config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	}
	file = filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// elsewhere is a Kustomization, suspended, whose source is in another namespace.
const elsewhere = `
apiVersion: v1
kind: Namespace
metadata: {name: checks}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: elsewhere, namespace: checks}
spec: {interval: 10m, path: ./apps/stage, prune: false, suspend: true, sourceRef: {kind: GitRepository, name: fleet, namespace: flux-system}}
`

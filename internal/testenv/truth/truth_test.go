// Package truth holds reports against what Flux does: each file of testdata is a commit, of which a report is made before it is
// merged, and then the API server is asked what has changed. The same is asked of the command line of Flux.
package truth

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rogpeppe/go-internal/txtar"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/cluster"
	"github.com/ferry-chatops/ferry/internal/compare"
	"github.com/ferry-chatops/ferry/internal/githubtest"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/helm"
	"github.com/ferry-chatops/ferry/internal/operation"
	"github.com/ferry-chatops/ferry/internal/report"
	"github.com/ferry-chatops/ferry/internal/testenv"
	"github.com/ferry-chatops/ferry/internal/testenv/charts"
)

func TestMain(m *testing.M) {
	if !helm.Work() {
		os.Exit(m.Run())
	}
}

// published are the charts on offer.
var published = []charts.Chart{{Name: "podinfo", Version: "6.9.0"}, {Name: "podinfo", Version: "7.0.0"}, {Name: "redis", Version: "1.0.0"}, {Name: "redis", Version: "1.1.0"}}

// TestReportsAgainstFlux: what the report says is what Flux then does, object by object and field by field. A commit of testdata
// has files below base/ and head/, which has those of base too; flux.yaml is in the cluster from the start, and live.yaml
// what somebody wrote there since, with kubectl. Its namespace is its name, and names of objects without one begin with it.
func TestReportsAgainstFlux(t *testing.T) {
	flux := testenv.Tool(t, "flux")
	env := testenv.Need(t, testenv.Options{Clusters: []string{"prod"}, Flux: true})
	hub, err := githubtest.Serve(t.TempDir(), "127.0.0.1:0", githubtest.AnonymousGit())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hub.Close)
	store, err := charts.Serve(published...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no commits: %v", err)
	}
	home, err := os.ReadFile(env.Clusters["prod"].KubeconfigFile)
	if err != nil {
		t.Fatal(err)
	}
	changes := 0
	t.Run("commits", func(t *testing.T) {
		for _, file := range files {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			changes += len(numbered.FindAll(archive.Comment, -1))
			name := strings.TrimSuffix(filepath.Base(file), ".txtar")
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c := &commit{T: t, Cluster: env.Clusters["prod"], name: name, hub: hub, store: store, flux: flux, home: home}
				c.read(archive)
				c.run()
			})
		}
	})
	if changes < 40 || len(files) > 6 {
		t.Errorf("%d changes in %d commits", changes, len(files))
	}
}

// numbered are the changes that a commit says it makes.
var numbered = regexp.MustCompile(`(?m)^[0-9]+\. `)

// A commit of testdata, and the environment of its name.
type commit struct {
	*testing.T
	*testenv.Cluster
	name, flux string
	hub        *githubtest.Server
	store      *charts.Server
	home       []byte
	files      map[string]string
	cli        map[string]string // what flux diff says otherwise than Flux does, by object: why
}

func (c *commit) repository() string { return "acme/" + c.name }

func (c *commit) read(archive *txtar.Archive) {
	c.files, c.cli = map[string]string{}, map[string]string{}
	replace := strings.NewReplacer("$CHARTS", c.store.HTTPURL, "$OCI", c.store.OCIURL, "$URL", c.hub.GitURL(c.repository()), "$NS", c.name)
	for _, f := range archive.Files {
		c.files[f.Name] = replace.Replace(string(f.Data))
	}
	for line := range strings.Lines(c.files["cli"]) {
		object, why, _ := strings.Cut(strings.TrimSpace(line), ": ")
		c.cli[object] = why
	}
}

// below are the files of a folder of the archive.
func (c *commit) below(folders ...string) map[string]string {
	all := map[string]string{}
	for _, folder := range folders {
		for name, content := range c.files {
			if file, ok := strings.CutPrefix(name, folder+"/"); ok {
				all[file] = content
			}
		}
	}
	return all
}

func (c *commit) run() {
	ctx := c.Context()
	base, err := c.hub.CreateRepository(c.repository(), c.below("base"))
	c.must(err)
	c.must(c.Apply(ctx, []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: "+c.name+"}\n")))
	c.must(c.Apply(ctx, []byte(c.files["flux.yaml"])))
	c.settled(base)
	var before map[gitops.Object]map[string]any
	var reports report.Environment
	var cli map[string]string
	for still := false; !still; { // Flux may be at it once more, and undo what was done by hand while the report is made
		c.tamper()
		before = c.snapshot()
		reports, cli = c.report(), c.diff()
		still = maps.EqualFunc(before, c.snapshot(), func(a, b map[string]any) bool { return reflect.DeepEqual(plain(a, false), plain(b, false)) })
	}
	head, err := c.hub.Commit(c.repository(), "main", "alice", "The change", c.below("head"))
	c.must(err)
	c.must(c.Apply(ctx, fmt.Appendf(nil, "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: %[1]s, namespace: %[1]s, annotations: {reconcile.fluxcd.io/requestedAt: %q}}\nspec: {interval: 10m, url: %q, ref: {branch: main}}\n",
		c.name, time.Now().Format(time.RFC3339Nano), c.hub.GitURL(c.repository()))))
	c.settled(head)
	var wrong []string
	_ = wait.PollUntilContextTimeout(ctx, time.Second, 40*time.Second, true, func(context.Context) (bool, error) {
		wrong = c.compare(reports, before, c.snapshot())
		return len(wrong) == 0, nil
	})
	for _, w := range wrong {
		c.Error(w)
	}
	c.compareCLI(reports, cli)
	c.Logf("%d objects in the report, %d drifted, notes %q", len(reports.Objects), len(reports.Drift), reports.Notes)
}

func (c *commit) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// settled waits until every Kustomization and HelmRelease of the commit is done with a revision, well or not.
func (c *commit) settled(sha string) {
	c.Helper()
	var why error
	err := wait.PollUntilContextTimeout(c.Context(), 250*time.Millisecond, 90*time.Second, true, func(ctx context.Context) (bool, error) {
		why = c.done(ctx, sha)
		return why == nil, nil
	})
	if err != nil {
		c.Fatal(errors.Join(err, why))
	}
}

func (c *commit) done(ctx context.Context, sha string) error {
	for _, kind := range []schema.GroupVersionKind{
		{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Kind: "Kustomization"}, {Group: "helm.toolkit.fluxcd.io", Version: "v2", Kind: "HelmRelease"},
	} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind)
		if err := c.Client().List(ctx, list, client.InNamespace(c.name)); err != nil {
			return err
		}
		if len(list.Items) == 0 && kind.Kind == "Kustomization" {
			return errors.New("no Kustomization yet")
		}
		for _, o := range list.Items {
			suspended, _, _ := unstructured.NestedBool(o.Object, "spec", "suspend")
			if suspended {
				continue
			}
			observed, _, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
			attempted, _, _ := unstructured.NestedString(o.Object, "status", "lastAttemptedRevision")
			conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
			state, message := "", ""
			for _, v := range conditions {
				if m, ok := v.(map[string]any); ok && m["type"] == "Ready" {
					state, message = fmt.Sprint(m["status"]), fmt.Sprint(m["message"])
				}
			}
			switch {
			case kind.Kind == "Kustomization" && !strings.Contains(attempted, sha):
				return fmt.Errorf("%s %s is at %s: %s", o.GetKind(), o.GetName(), attempted, message)
			case observed >= 0 && observed < o.GetGeneration() && state != "False" || state != "True" && state != "False" || strings.Contains(message, "dependency") || strings.Contains(message, "not ready"):
				return fmt.Errorf("%s %s is %s: %s", o.GetKind(), o.GetName(), state, message)
			}
		}
	}
	return nil
}

// tamper does what somebody did by hand.
func (c *commit) tamper() {
	for document := range strings.SplitSeq(c.files["live.yaml"], "---\n") {
		object := map[string]any{}
		c.must(yaml.Unmarshal([]byte(document), &object))
		if len(object) == 0 {
			continue
		}
		raw, err := json.Marshal(object)
		c.must(err)
		manager := "kubectl-edit"
		if m, ok := object["manager"].(string); ok {
			manager = m
		}
		c.must(c.Client().Patch(c.Context(), &unstructured.Unstructured{Object: object}, client.RawPatch("application/merge-patch+json", raw), client.FieldOwner(manager)))
	}
}

// kinds are what is looked at; what controllers make of these is not.
var kinds = []schema.GroupVersionKind{
	{Version: "v1", Kind: "ConfigMap"}, {Version: "v1", Kind: "Secret"}, {Version: "v1", Kind: "Service"}, {Version: "v1", Kind: "ServiceAccount"},
	{Version: "v1", Kind: "Namespace"}, {Version: "v1", Kind: "PersistentVolumeClaim"}, {Version: "v1", Kind: "LimitRange"}, {Version: "v1", Kind: "ResourceQuota"},
	{Group: "apps", Version: "v1", Kind: "Deployment"}, {Group: "apps", Version: "v1", Kind: "StatefulSet"}, {Group: "apps", Version: "v1", Kind: "DaemonSet"},
	{Group: "batch", Version: "v1", Kind: "Job"}, {Group: "batch", Version: "v1", Kind: "CronJob"},
	{Group: "networking.k8s.io", Version: "v1", Kind: "Ingress"}, {Group: "networking.k8s.io", Version: "v1", Kind: "NetworkPolicy"},
	{Group: "autoscaling", Version: "v2", Kind: "HorizontalPodAutoscaler"}, {Group: "policy", Version: "v1", Kind: "PodDisruptionBudget"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "Role"}, {Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "RoleBinding"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRole"}, {Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRoleBinding"},
	{Group: "scheduling.k8s.io", Version: "v1", Kind: "PriorityClass"}, {Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"},
	{Group: "custom.example", Version: "v1", Kind: "Widget"}, {Group: "custom.example", Version: "v1", Kind: "Gadget"},
	{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Kind: "Kustomization"}, {Group: "helm.toolkit.fluxcd.io", Version: "v2", Kind: "HelmRelease"},
	{Group: "source.toolkit.fluxcd.io", Version: "v1", Kind: "HelmRepository"}, {Group: "source.toolkit.fluxcd.io", Version: "v1", Kind: "OCIRepository"},
}

// snapshot is what the API server has of the commit's objects.
func (c *commit) snapshot() map[gitops.Object]map[string]any {
	all := map[gitops.Object]map[string]any{}
	for _, kind := range kinds {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind)
		err := c.Client().List(c.Context(), list)
		if err != nil && client.IgnoreNotFound(err) != nil && !strings.Contains(err.Error(), "no matches") {
			c.Fatal(err)
		}
		for _, o := range list.Items {
			place := o.GetNamespace()
			if place == "" {
				place = o.GetName()
			}
			ours := place == c.name || strings.HasPrefix(place, c.name+"-") || strings.HasSuffix(place, "."+c.name+".example")
			if !ours || o.GetDeletionTimestamp() != nil || len(o.GetOwnerReferences()) > 0 || o.GetName() == "kube-root-ca.crt" ||
				kind.Kind == "ServiceAccount" && o.GetName() == "default" || strings.HasPrefix(o.GetName(), "sh.helm.release") {
				continue
			}
			all[gitops.Object{Kind: kind.Kind, Namespace: o.GetNamespace(), Name: o.GetName()}] = o.Object
		}
	}
	return all
}

// plain removes from an object what is no doing of Flux, and what nobody can foresee.
func plain(object map[string]any, created bool) map[string]any {
	if object == nil {
		return nil
	}
	u := (&unstructured.Unstructured{Object: object}).DeepCopy()
	for _, key := range []string{"managedFields", "uid", "resourceVersion", "generation", "creationTimestamp"} {
		unstructured.RemoveNestedField(u.Object, "metadata", key)
	}
	delete(u.Object, "status")
	for _, key := range []string{"deployment.kubernetes.io/revision", "deprecated.daemonset.template.generation"} { // controllers count
		unstructured.RemoveNestedField(u.Object, "metadata", "annotations", key)
	}
	if len(u.GetAnnotations()) == 0 {
		unstructured.RemoveNestedField(u.Object, "metadata", "annotations")
	}
	if strings.HasSuffix(u.GroupVersionKind().Group, "toolkit.fluxcd.io") {
		u.SetFinalizers(nil) // its own controller's
	}
	if created && u.GetKind() == "Service" {
		unstructured.RemoveNestedField(u.Object, "spec", "clusterIP")
		unstructured.RemoveNestedField(u.Object, "spec", "clusterIPs")
	}
	if created && u.GetKind() == "Job" {
		for _, path := range [][]string{{"metadata", "labels"}, {"spec", "selector", "matchLabels"}, {"spec", "template", "metadata", "labels"}} {
			for _, key := range []string{"controller-uid", "batch.kubernetes.io/controller-uid"} {
				unstructured.RemoveNestedField(u.Object, append(path, key)...)
			}
		}
	}
	return u.Object
}

// trees are the two commits.
type trees struct{ base, head fs.FS }

func (trees) Pull(context.Context, string, int) (operation.Pull, error) {
	return operation.Pull{}, errors.New("there is none")
}

func (trees) Branch(_ context.Context, repository, branch, _ string) (operation.Pull, error) {
	return operation.Pull{Repository: repository, Branch: branch, Head: "head", Base: "main", BaseCommit: "base"}, nil
}

func (trees) MergeBase(context.Context, string, string, string) (string, error) { return "base", nil }

func (t trees) Tree(_ context.Context, _, sha string) (fs.FS, error) {
	if sha == "head" {
		return t.head, nil
	}
	return t.base, nil
}

func (trees) Merge(context.Context, []byte, []byte, []byte) ([]byte, bool, error) {
	return nil, false, nil
}

func mapped(files map[string]string) fs.FS {
	tree := fstest.MapFS{}
	for name, content := range files {
		tree[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return tree
}

// report is what merging would do.
func (c *commit) report() report.Environment {
	fleet, err := cluster.New(c.home, []cluster.Environment{{Name: c.name, FluxNamespaces: []string{c.name}}})
	c.must(err)
	reviews := &operation.Reviews{
		Pulls: trees{mapped(c.below("base")), mapped(c.below("base", "head"))}, Live: fleet, Charts: helm.NewRenderer(helm.New(time.Now)),
		Follows: func(_ string, source gitops.Source) (string, string, bool) {
			return c.repository(), source.Branch, source.URL == c.hub.GitURL(c.repository())
		},
		Now: time.Now, Key: rand.Text, Log: slog.New(slog.DiscardHandler),
	}
	made, err := reviews.Review(c.Context(), gitops.Review{Repository: c.repository(), Branch: "change"})
	c.must(err)
	if len(made.Environments) != 1 || made.Environments[0].Error != "" {
		c.Fatalf("%+v", made)
	}
	return made.Environments[0]
}

// compare holds the report against what the API server had and has.
func (c *commit) compare(made report.Environment, before, after map[gitops.Object]map[string]any) (wrong []string) {
	said := map[gitops.Object]report.Object{}
	for _, o := range slices.Concat(made.Drift, made.Objects) {
		said[o.Object] = o
	}
	all := maps.Clone(before)
	maps.Copy(all, after)
	for at := range said {
		all[at] = nil
	}
	for _, at := range slices.SortedFunc(maps.Keys(all), func(a, b gitops.Object) int { return strings.Compare(a.String(), b.String()) }) {
		was, is := before[at], after[at]
		replaced := was != nil && is != nil && uid(was) != uid(is)
		truth := report.Compare(report.Pair{Object: at, Before: plain(was, replaced || is == nil), After: plain(is, was == nil || replaced), Stored: true}, nil)
		got, told := said[at]
		if !told || got.Verdict == report.Skipped || refused(got) {
			got = report.Object{Object: at, Verdict: report.Unchanged, Changes: []report.Change{}}
		}
		byPath := func(a, b report.Change) int { return strings.Compare(a.Path, b.Path) }
		got.Changes = slices.SortedFunc(slices.Values(got.Changes), byPath)
		slices.SortFunc(truth.Changes, byPath)
		if is == nil { // what was there is shown as it was then
			truth.Changes, got.Changes = nil, nil
		}
		for i := range got.Changes { // what depends on a Secret is told to change, no more
			for j := range truth.Changes {
				if got.Changes[i].After == compare.Changed && compare.Below(truth.Changes[j].Path, got.Changes[i].Path) {
					truth.Changes[j] = got.Changes[i]
				}
			}
		}
		if diff := cmp.Diff(truth.Changes, got.Changes, cmpopts.EquateEmpty()); truth.Verdict != got.Verdict || diff != "" {
			wrong = append(wrong, fmt.Sprintf("%s: Flux: %s, the report: %s (told: %t, %s) %s", at, truth.Verdict, got.Verdict, told, said[at].Reason, diff))
		}
		if replaced != slices.Contains(got.Flags, report.Replaced) {
			wrong = append(wrong, fmt.Sprintf("%s: replaced: %t, the report: %v", at, replaced, got.Flags))
		}
	}
	return wrong
}

// refused says that the report tells that the API server refuses the object.
func refused(o report.Object) bool {
	return slices.Contains(o.Flags, report.Immutable) || slices.Contains(o.Flags, report.Unready)
}

func uid(object map[string]any) string {
	return string((&unstructured.Unstructured{Object: object}).GetUID())
}

// verdictLine is one of flux diff's.
var verdictLine = regexp.MustCompile(`(?m)^► (\S+) (created|drifted|deleted|skipped)`)

// diff asks the command line of Flux about the Kustomizations that are there: verdicts by object, and its error by Kustomization.
func (c *commit) diff() map[string]string {
	verdicts := map[string]string{}
	dir := c.TempDir()
	for name, content := range c.below("base", "head") {
		file := filepath.Join(dir, filepath.FromSlash(name))
		c.must(os.MkdirAll(filepath.Dir(file), 0o700))
		c.must(os.WriteFile(file, []byte(content), 0o600))
	}
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(schema.GroupVersionKind{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Kind: "Kustomization"})
	c.must(c.Client().List(c.Context(), list, client.InNamespace(c.name)))
	for _, k := range list.Items {
		path, _, _ := unstructured.NestedString(k.Object, "spec", "path")
		cmd := exec.CommandContext(c.Context(), c.flux, "diff", "kustomization", k.GetName(), "-n", c.name, "--path", filepath.Join(dir, path), "--progress-bar=false", "--kubeconfig", c.KubeconfigFile)
		var out, failed bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &failed
		err := cmd.Run()
		for _, m := range verdictLine.FindAllStringSubmatch(out.String(), -1) {
			verdicts[m[1]] = m[2]
		}
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() > 1 {
			verdicts["Kustomization "+k.GetName()] = "fails"
			c.Logf("flux diff %s: %s", k.GetName(), failed.String())
		}
	}
	return verdicts
}

// compareCLI holds the report against flux diff, whose differences are in the file cli of the commit, each with its cause.
func (c *commit) compareCLI(made report.Environment, cli map[string]string) {
	words := map[report.Verdict]string{report.Created: "created", report.Configured: "drifted", report.Deleted: "deleted"}
	ours := map[string]string{}
	for _, o := range slices.Concat(made.Objects, made.Drift) {
		if word, ok := words[o.Verdict]; ok && !refused(o) && strings.HasPrefix(o.Source, "Kustomization ") {
			ours[strings.Replace(o.String(), "//", "/", 1)] = word
		}
	}
	all := maps.Clone(ours)
	maps.Copy(all, cli)
	unused := maps.Clone(c.cli)
	for _, at := range slices.Sorted(maps.Keys(all)) {
		if ours[at] == cli[at] {
			continue
		}
		if c.cli[at] == "" {
			c.Errorf("%s: flux diff says %q, the report %q, and no cause is given", at, cli[at], ours[at])
		}
		delete(unused, at)
		c.Logf("%s: flux diff %q, the report %q: %s", at, cli[at], ours[at], c.cli[at])
	}
	for at := range unused {
		c.Errorf("%s: flux diff and the report agree, and yet a cause is given", at)
	}
}

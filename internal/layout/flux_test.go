package layout

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/githubtest"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/render"
	"github.com/ferry-chatops/ferry/internal/testenv"
)

// A fluxTree is one file of render's testdata/trees: add a file, get a test, and
//
//	go test ./internal/layout -run FluxBuilds -update
//
// writes what Flux says. Its first line says what it shows; a second line "applied" has it applied to a cluster too.
type fluxTree struct {
	file    string
	applied bool
	flux    []byte // the Flux Kustomization
	files   fstest.MapFS
	built   []byte // what flux build prints, or nil if it fails
	failed  string // its error
}

func fluxTrees(t *testing.T) map[string]fluxTree {
	t.Helper()
	found, err := filepath.Glob("../render/testdata/trees/*.txtar")
	if err != nil || len(found) == 0 {
		t.Fatalf("no trees: %v", err)
	}
	all := map[string]fluxTree{}
	for _, file := range found {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		one := fluxTree{file: file, applied: strings.HasSuffix(string(archive.Comment), "\napplied\n"), files: fstest.MapFS{}}
		for _, f := range archive.Files {
			switch f.Name {
			case "flux.yaml":
				one.flux = f.Data
			case "want.yaml":
				one.built = f.Data
			case "want.error":
				one.failed = strings.TrimSpace(string(f.Data))
			default:
				if name == "crlf" {
					f.Data = bytes.ReplaceAll(f.Data, []byte("\n"), []byte("\r\n"))
				}
				one.files[f.Name] = &fstest.MapFile{Data: f.Data, Mode: 0o644}
			}
		}
		all[name] = one
	}
	return all
}

// fluxDifferences are what ferry does not build as Flux 2.7.3 does, by tree and field, and why. "" stands for the whole tree.
//
// Flux 2.7.3 has kustomize 0.20.1, ferry 0.21.2.
var fluxDifferences = map[string]map[string]string{
	"image-digest-algorithm":     {"Pod//a spec.containers[name=a].image": "kustomize 0.21 matches images by digests of any algorithm, 0.20 by SHA-256 alone"},
	"image-volume-cron":          {"CronJob//a spec.jobTemplate.spec.template.spec.volumes[name=v].image.reference": "kustomize 0.21 looks for images in the volumes of a CronJob"},
	"labels-claims":              {"StatefulSet//db spec.volumeClaimTemplates[0].metadata.labels": "kustomize 0.21 wants includeVolumeClaimTemplates for that"},
	"namespace-admission-policy": {"ValidatingAdmissionPolicy//a": "kustomize 0.21 knows that the kind has no namespace", "ValidatingAdmissionPolicy/shop/a": "the same"},
	"replacements-regex":         {"ConfigMap//web-a data.version": "kustomize 0.21 takes the target of a replacement for a regular expression"},
	"replacements-structured":    {"": "kustomize 0.21 puts replacements into text that is YAML itself"},
	"secrets-merged-text":        {"Secret//s data.a": "kustomize 0.21 merges what stringData of a Secret has"},

	"substitute-from":          {"ConfigMap//a data.other": "what a ConfigMap may hold that nobody builds stays as it is written; a dry run of the flux command takes it for empty"},
	"sourceignore-defaults":    {"failure": "the flux command knows the defaults only beside a .sourceignore"},
	"sourceignore-no-defaults": {"failure": "the flux command keeps the defaults beside a .sourceignore, source-controller does not"},

	"substitute-from-built": {"": "a dry run of the flux command does not look at ConfigMaps, ferry at those that are built"},

	"decryption": {"Secret//s sops": "the flux command masks what is encrypted", "Secret//s stringData.token": "the same"},
	"crds-field": {"": "refused: such schemas change what kustomize does in the whole process"},
}

func TestBuildIsWhatFluxBuilds(t *testing.T) {
	all := fluxTrees(t)
	for name := range fluxDifferences {
		if _, ok := all[name]; !ok {
			t.Errorf("differences of %s: no such tree", name)
		}
	}
	for name, one := range all {
		t.Run(name, func(t *testing.T) {
			known := maps.Clone(fluxDifferences[name])
			_, whole := known[""]
			for _, d := range one.differences(t) {
				if _, ok := known[d.at]; !ok && !whole {
					t.Errorf("%s\nFlux:  %s\nferry: %s", d.at, d.flux, d.ferry)
				}
				delete(known, d.at)
				delete(known, "")
			}
			for at, reason := range known {
				t.Errorf("%q is no difference any more: %s", at, reason)
			}
		})
	}
}

// A difference is one field, one object by its identity, their order, or that one of the two fails.
type difference struct{ at, flux, ferry string }

func (one fluxTree) differences(t *testing.T) (found []difference) {
	t.Helper()
	ferry, err := fluxBuilt(t, one)
	if err != nil || one.failed != "" {
		if err == nil || one.failed == "" {
			return []difference{{"failure", one.failed, fmt.Sprint(err)}}
		}
		return nil
	}
	flux := decode(t, one.built)
	changes, _ := render.Changes(flux, ferry)
	for _, c := range changes {
		found = append(found, difference{strings.TrimSpace(c.Object.String() + " " + c.Path), c.Old, c.New})
	}
	order := func(objects []render.Object) (names []string) {
		for _, o := range objects {
			names = append(names, o.Object.String())
		}
		return names
	}
	if a, b := order(flux), order(ferry); len(found) == 0 && !slices.Equal(a, b) {
		found = append(found, difference{"order", fmt.Sprint(a), fmt.Sprint(b)})
	}
	return found
}

// What the trees say that Flux builds is what its command line says, dry run, without a cluster.
func TestFluxBuildsWhatTheTreesSay(t *testing.T) {
	flux := testenv.Tool(t, "flux")
	for name, one := range fluxTrees(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			built, failed := fluxBuild(t, flux, one)
			if *update {
				one.write(t, built, failed)
				return
			}
			if d := cmp.Diff(string(one.built), string(built)); d != "" {
				t.Error(d)
			}
			if failed != one.failed {
				t.Errorf("it says %q, not %q", failed, one.failed)
			}
		})
	}
}

// fluxBuild runs the command of Flux over a tree on disk.
func fluxBuild(t *testing.T, flux string, one fluxTree) (built []byte, failed string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "tree"), one.files); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "flux.yaml"), one.flux, 0o644); err != nil {
		t.Fatal(err)
	}
	k := fluxObject(t, one)
	cmd := exec.CommandContext(t.Context(), flux, "build", "kustomization", k.Name, "--namespace", k.Namespace, "--dry-run", "--recursive",
		"--path", filepath.Join("tree", k.Spec.Path), "--kustomization-file", "flux.yaml", "--local-sources", "GitRepository/flux-system/"+k.Spec.SourceRef.Name+"=tree")
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + dir, "KUBECONFIG=" + filepath.Join(dir, "none")}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	built, err := cmd.Output()
	if _, exit := errors.AsType[*exec.ExitError](err); err != nil && !exit {
		t.Fatal(err)
	}
	if err != nil {
		return nil, strings.ReplaceAll(strings.TrimSpace(stderr.String()), dir, "DIR")
	}
	return built, ""
}

func (one fluxTree) write(t *testing.T, built []byte, failed string) {
	t.Helper()
	archive, err := txtar.ParseFile(one.file)
	if err != nil {
		t.Fatal(err)
	}
	archive.Files = slices.DeleteFunc(archive.Files, func(f txtar.File) bool { return strings.HasPrefix(f.Name, "want.") })
	if failed != "" {
		archive.Files = append(archive.Files, txtar.File{Name: "want.error", Data: []byte(failed + "\n")})
	} else {
		archive.Files = append(archive.Files, txtar.File{Name: "want.yaml", Data: built})
	}
	if err := os.WriteFile(one.file, txtar.Format(archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

func fluxObject(t *testing.T, one fluxTree) kustomizev1.Kustomization {
	t.Helper()
	var k kustomizev1.Kustomization
	if err := sigsyaml.Unmarshal(one.flux, &k); err != nil {
		t.Fatal(err)
	}
	return k
}

// fluxBuilt is what ferry builds of a tree: all that the walk of an environment finds.
func fluxBuilt(t *testing.T, one fluxTree) (objects []render.Object, err error) {
	t.Helper()
	root := render.Object{}
	if err := sigsyaml.Unmarshal(one.flux, &root.Fields); err != nil {
		t.Fatal(err)
	}
	named := fluxObject(t, one)
	root.Object = gitops.Object{Kind: named.Kind, Namespace: named.Namespace, Name: named.Name}
	k, ok := kustomization(root)
	if !ok {
		t.Fatal("flux.yaml is no Flux Kustomization")
	}
	w, err := Open(one.files).walk(t.Context(), Environment{Sites: []gitops.Kustomization{k}, Sources: []gitops.Object{k.Source.Object}}, view{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range w.sites {
		objects = append(objects, s.objects...)
	}
	for _, p := range w.problems {
		err = errors.Join(err, p.Err)
	}
	return objects, err
}

// decode reads the objects that flux build prints, but for the labels that name their owner.
func decode(t *testing.T, built []byte) []render.Object {
	t.Helper()
	var objects []render.Object
	decoder := yaml.NewYAMLToJSONDecoder(bytes.NewReader(built))
	for {
		var fields map[string]any
		err := decoder.Decode(&fields)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		if fields == nil {
			continue
		}
		metadata := fields["metadata"].(map[string]any)
		labels := metadata["labels"].(map[string]any)
		delete(labels, "kustomize.toolkit.fluxcd.io/name")
		delete(labels, "kustomize.toolkit.fluxcd.io/namespace")
		if len(labels) == 0 {
			delete(metadata, "labels")
		}
		o := render.Object{Fields: fields}
		o.Kind, _ = fields["kind"].(string)
		o.Namespace, _ = metadata["namespace"].(string)
		o.Name, _ = metadata["name"].(string)
		objects = append(objects, o)
	}
}

// What ferry builds is what kustomize-controller applies: every field that ferry states, and no object more.
func TestBuildIsWhatFluxApplies(t *testing.T) {
	env := testenv.Need(t, testenv.Options{Clusters: []string{"truth"}, Flux: true})
	cluster, hub := env.Clusters["truth"], githubtest.Start(t, githubtest.AnonymousGit())
	applied := maps.Collect(func(yield func(string, fluxTree) bool) {
		for name, one := range fluxTrees(t) {
			if one.applied && !yield(name, one) {
				return
			}
		}
	})
	if len(applied) < 10 {
		t.Errorf("only %d trees are applied", len(applied))
	}
	t.Run("trees", func(t *testing.T) { // which share the cluster until all are done
		for name, one := range applied {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				one.apply(t, name, cluster, hub)
			})
		}
	})
}

func (one fluxTree) apply(t *testing.T, name string, cluster *testenv.Cluster, hub *githubtest.Server) {
	t.Helper()
	files := map[string]string{}
	for file, content := range one.files {
		files[file] = string(content.Data)
	}
	if _, err := hub.CreateRepository("acme/"+name, files); err != nil {
		t.Fatal(err)
	}
	objects, err := fluxBuilt(t, one)
	if err != nil {
		t.Fatal(err)
	}
	var setup bytes.Buffer
	spaces := map[string]bool{}
	for _, o := range objects {
		if o.Namespace != "" && o.Namespace != "flux-system" {
			spaces[o.Namespace] = true
		}
	}
	for space := range spaces {
		fmt.Fprintf(&setup, "{apiVersion: v1, kind: Namespace, metadata: {name: %s}}\n---\n", space)
	}
	fmt.Fprintf(&setup, `{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {name: %s, namespace: flux-system}, spec: {interval: 10m, url: %q, ref: {branch: main}}}`+"\n---\n",
		name, hub.GitURL("acme/"+name))
	setup.Write(one.flux)
	if err := cluster.Apply(t.Context(), setup.Bytes()); err != nil {
		t.Fatal(err)
	}
	kustomizations := []string{fluxObject(t, one).Name}
	for _, o := range objects {
		if o.Kind == "Kustomization" {
			kustomizations = append(kustomizations, o.Name)
		}
	}
	var inventory []string
	for _, k := range kustomizations {
		inventory = append(inventory, ready(t, cluster.Client(), k)...)
	}
	var stated []string
	for _, o := range objects {
		var live unstructured.Unstructured
		live.SetAPIVersion(o.Fields["apiVersion"].(string))
		live.SetKind(o.Kind)
		group := live.GroupVersionKind().Group
		stated = append(stated, fmt.Sprintf("%s_%s_%s_%s", o.Namespace, strings.ReplaceAll(o.Name, ":", "__"), group, o.Kind))
		if err := cluster.Client().Get(t.Context(), client.ObjectKey{Namespace: o.Namespace, Name: o.Name}, &live); err != nil {
			t.Error(err)
			continue
		}
		for _, d := range missing("", jsonOf(t, asStored(o)), jsonOf(t, live.Object)) {
			t.Errorf("%s %s", o.Object, d)
		}
	}
	slices.Sort(inventory)
	slices.Sort(stated)
	if d := cmp.Diff(inventory, stated); d != "" {
		t.Errorf("Flux applied other objects than ferry builds:\n%s", d)
	}
}

// ready waits until a Kustomization is applied and returns its inventory: NAMESPACE_NAME_GROUP_KIND.
func ready(t *testing.T, c client.Client, name string) (ids []string) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(time.Minute)
	for {
		var k kustomizev1.Kustomization
		err := c.Get(t.Context(), client.ObjectKey{Namespace: "flux-system", Name: name}, &k)
		if err == nil && k.Status.Inventory != nil && meta.IsStatusConditionTrue(k.Status.Conditions, "Ready") {
			for _, e := range k.Status.Inventory.Entries {
				ids = append(ids, e.ID)
			}
			return ids
		}
		select {
		case <-timeout:
			t.Fatalf("Kustomization %s is not ready: %v %v", name, err, k.Status.Conditions)
		case <-tick.C:
		}
	}
}

// asStored gives an object's fields as the API server keeps them: the text of a Secret among its data.
func asStored(o render.Object) map[string]any {
	text, ok := o.Fields["stringData"].(map[string]any)
	if o.Kind != "Secret" || !ok {
		return o.Fields
	}
	stored := maps.Clone(o.Fields)
	delete(stored, "stringData")
	data, _ := o.Fields["data"].(map[string]any)
	data = maps.Collect(maps.All(data))
	for key, value := range text {
		data[key] = base64.StdEncoding.EncodeToString([]byte(value.(string)))
	}
	stored["data"] = data
	return stored
}

// plain gives a value as JSON has it, with one kind of number.
func jsonOf(t *testing.T, v any) any {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var again any
	if err := json.Unmarshal(raw, &again); err != nil {
		t.Fatal(err)
	}
	return again
}

// missing lists what is stated and not so in the cluster, which may have more fields.
func missing(at string, stated, live any) (found []string) {
	switch stated := stated.(type) {
	case map[string]any:
		live, _ := live.(map[string]any)
		for key, value := range stated {
			found = append(found, missing(at+"."+key, value, live[key])...)
		}
		return found
	case []any:
		live, _ := live.([]any)
		if len(stated) != len(live) {
			return []string{fmt.Sprintf("%s: %d items in the cluster, %d are stated", at, len(live), len(stated))}
		}
		for i := range stated {
			found = append(found, missing(fmt.Sprintf("%s[%d]", at, i), stated[i], live[i])...)
		}
		return found
	}
	if stated != live {
		return []string{fmt.Sprintf("%s: %v in the cluster, %v is stated", at, live, stated)}
	}
	return nil
}

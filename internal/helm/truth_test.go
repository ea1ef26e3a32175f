package helm

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/txtar"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery"
	ctrl "sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/githubtest"
	"github.com/ferry-chatops/ferry/internal/render"
	"github.com/ferry-chatops/ferry/internal/testenv"
)

// packed is a chart's archive, of its files by their paths below its name.
func packed(t testing.TB, name string, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	archive := tar.NewWriter(zip)
	for _, file := range slices.Sorted(keys(files)) {
		if err := archive.WriteHeader(&tar.Header{Name: path.Join(name, file), Mode: 0o644, Size: int64(len(files[file]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(files[file])); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func keys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// A shop publishes charts: an index with archives, and a registry.
type shop struct {
	*httptest.Server
	HTTP, OCI string
	mux       *http.ServeMux
	entries   map[string][]entry
	files     map[string][]byte
}

func openShop(t testing.TB) *shop {
	s := &shop{mux: http.NewServeMux(), entries: map[string][]entry{}, files: map[string][]byte{}}
	s.mux.Handle("/v2/", registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	s.mux.HandleFunc("GET /charts/{file}", func(w http.ResponseWriter, r *http.Request) {
		if content, ok := s.files[r.PathValue("file")]; ok {
			_, _ = w.Write(content)
			return
		}
		http.NotFound(w, r)
	})
	s.Server = httptest.NewServer(s.mux)
	t.Cleanup(s.Close)
	s.HTTP, s.OCI = s.URL+"/charts", "oci://"+s.Listener.Addr().String()+"/charts"
	return s
}

// publish puts a chart into both, and returns the digest of its image.
func (s *shop) publish(t testing.TB, name, version string, archive []byte) digest.Digest {
	t.Helper()
	file := name + "-" + version + ".tgz"
	s.files[file] = archive
	s.entries[name] = append(s.entries[name], entry{Version: version, URLs: []string{file}, Digest: text(digest.FromBytes(archive).Encoded())})
	all := map[string][]map[string]any{}
	for name, entries := range s.entries {
		for _, e := range entries {
			all[name] = append(all[name], map[string]any{"apiVersion": "v2", "name": name, "version": e.Version, "urls": e.URLs, "digest": e.Digest, "created": "2026-01-01T00:00:00Z"})
		}
	}
	index, err := yaml.Marshal(map[string]any{"apiVersion": "v1", "entries": all})
	if err != nil {
		t.Fatal(err)
	}
	s.files["index.yaml"] = index

	repository, end, err := openRegistry(strings.TrimPrefix(s.OCI, "oci://")+"/"+name, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	push := func(mediaType string, content []byte) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
		if err := repository.Push(t.Context(), d, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		return d
	}
	manifest, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: push("application/vnd.cncf.helm.config.v1+json", fmt.Appendf(nil, `{"name": %q, "version": %q, "apiVersion": "v2"}`, name, version)),
		Layers: []ocispec.Descriptor{push(chartTypes[0], archive)},
	})
	if err != nil {
		t.Fatal(err)
	}
	image := push(ocispec.MediaTypeImageManifest, manifest)
	if err := repository.Tag(t.Context(), image, strings.ReplaceAll(version, "+", "_")); err != nil {
		t.Fatal(err)
	}
	return image.Digest
}

// TestTruth holds what is rendered against what the real helm-controller installs and upgrades.
func TestTruth(t *testing.T) {
	env := testenv.Need(t, testenv.Options{Clusters: []string{"truth"}, Flux: true})
	cluster := env.Clusters["truth"]
	archive, err := txtar.ParseFile("testdata/truth.txtar")
	if err != nil {
		t.Fatal(err)
	}
	git, published, objects := map[string]string{}, map[string]map[string]string{}, ""
	for _, f := range archive.Files {
		switch parts := strings.SplitN(f.Name, "/", 3); parts[0] {
		case "git":
			git[strings.TrimPrefix(f.Name, "git/")] = string(f.Data)
		case "published":
			if published[parts[1]] == nil {
				published[parts[1]] = map[string]string{}
			}
			published[parts[1]][parts[2]] = string(f.Data)
		default:
			objects = string(f.Data)
		}
	}
	s := openShop(t)
	var image digest.Digest
	for name, files := range published {
		var chart struct{ Version string }
		if err := yaml.Unmarshal([]byte(files["Chart.yaml"]), &chart); err != nil {
			t.Fatal(err)
		}
		if d := s.publish(t, name, chart.Version, packed(t, name, files)); name == "plain" {
			image = d
			files["Chart.yaml"] = strings.Replace(files["Chart.yaml"], chart.Version, "0.2.0", 1)
			s.publish(t, name, "0.2.0", packed(t, name, files))
		}
	}
	hub, err := githubtest.Serve(t.TempDir(), "127.0.0.1:0", githubtest.AnonymousGit())
	if err != nil {
		t.Fatal(err)
	}
	defer hub.Close()
	if _, err := hub.CreateRepository("acme/fleet", git); err != nil {
		t.Fatal(err)
	}
	manifest := strings.NewReplacer("$HTTP", s.HTTP, "$OCI", s.OCI, "$GIT", hub.GitURL("acme/fleet"), "$DIGEST", image.String()).Replace(objects)
	if err := cluster.Apply(t.Context(), []byte(manifest)); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, Client: cluster.Client(), files: git, renderer: NewRenderer(New(time.Now))}
	names := w.releases()
	for _, name := range names {
		w.ready(name, 1)
	}
	w.serves(discovery.NewDiscoveryClientForConfigOrDie(cluster.Config))
	for _, name := range names {
		t.Run("install "+name, func(t *testing.T) { w.compare(t, name, 0) })
	}
	// And again as an upgrade: every chart that says so, says another revision. That of operator brings another CRD and
	// changes the one that is there.
	next := maps.Clone(published["operator"])
	next["Chart.yaml"] = strings.Replace(next["Chart.yaml"], "0.3.0", "0.4.0", 1)
	const crds = "crds/crds.yaml"
	next["crds/gadgets.yaml"] = strings.NewReplacer("widget", "gadget", "Widget", "Gadget").Replace(next[crds])
	next[crds] = strings.Replace(next[crds], `own: "yes"`, `own: "no"`, 1)
	s.publish(t, "operator", "0.4.0", packed(t, "operator", next))
	var operator helmv2.HelmRelease
	if err := w.Get(t.Context(), ctrl.ObjectKey{Namespace: "shop", Name: "operator"}, &operator); err != nil {
		t.Fatal(err)
	}
	if err := w.Patch(t.Context(), &operator, ctrl.RawPatch("application/merge-patch+json", []byte(`{"spec": {"chart": {"spec": {"version": "0.4.0"}}}}`))); err != nil {
		t.Fatal(err)
	}
	w.ready("operator", 2)
	t.Run("upgrade of CRDs", func(t *testing.T) {
		got, err := w.renderer.Expand(t.Context(), w.release(t, "operator", 1))
		if err != nil || len(got.CRDs) != 2 || got.Version != "0.4.0" {
			t.Fatalf("%d CRDs of %s, %v", len(got.CRDs), got.Version, err)
		}
		for _, crd := range got.CRDs {
			live := w.read(t, "apiextensions.k8s.io/v1", crd.Kind, "", crd.Name)
			if own := (&unstructured.Unstructured{Object: live.Fields}).GetLabels()["own"]; own != "yes" { // the old one, and the new one that is made of it
				t.Errorf("%s is %q", crd.Name, own)
			}
		}
	})
	for _, name := range names {
		var hr helmv2.HelmRelease
		if err := w.Get(t.Context(), ctrl.ObjectKey{Namespace: "shop", Name: name}, &hr); err != nil {
			t.Fatal(err)
		}
		patch := ctrl.RawPatch("application/merge-patch+json", []byte(`{"spec": {"upgrade": {"disableWait": true}, "values": {"replicas": 3, "removed": {"b": null}, "added": [1, 2.5, "x"]}}}`))
		if err := w.Patch(t.Context(), &hr, patch); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		revision := 2
		if name == "operator" {
			revision = 3
		}
		w.ready(name, revision)
		t.Run("upgrade "+name, func(t *testing.T) { w.compare(t, name, revision-1) })
	}
}

type world struct {
	ctrl.Client
	t          *testing.T
	files      map[string]string
	renderer   *Renderer
	kubernetes string
	apis       []string
}

func (w *world) releases() (names []string) {
	var all helmv2.HelmReleaseList
	if err := w.List(w.t.Context(), &all); err != nil {
		w.t.Fatal(err)
	}
	for _, hr := range all.Items {
		names = append(names, hr.Name)
	}
	if len(names) < 9 {
		w.t.Fatalf("only %q", names)
	}
	return names
}

// ready waits until a revision of a release is deployed.
func (w *world) ready(name string, revision int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		var hr helmv2.HelmRelease
		if err := w.Get(w.t.Context(), ctrl.ObjectKey{Namespace: "shop", Name: name}, &hr); err != nil {
			w.t.Fatal(err)
		}
		is := meta.IsStatusConditionTrue(hr.Status.Conditions, "Ready") && hr.Status.ObservedGeneration == hr.Generation
		if is && len(hr.Status.History) > 0 && hr.Status.History[0].Version == revision {
			return
		}
		select {
		case <-ctx.Done():
			w.t.Fatalf("%s has no revision %d: %+v", name, revision, hr.Status.Conditions)
		case <-tick.C:
		}
	}
}

func (w *world) serves(client *discovery.DiscoveryClient) {
	w.t.Helper()
	version, err := client.ServerVersion()
	if err != nil {
		w.t.Fatal(err)
	}
	_, resources, err := client.ServerGroupsAndResources()
	if err != nil {
		w.t.Fatal(err)
	}
	w.kubernetes = version.GitVersion
	for _, list := range resources {
		w.apis = append(w.apis, list.GroupVersion)
		for _, r := range list.APIResources {
			w.apis = append(w.apis, list.GroupVersion+"/"+r.Kind)
		}
	}
}

// read gives an object as JSON would have it.
func (w *world) read(t *testing.T, version, kind, namespace, name string) render.Object {
	t.Helper()
	u := &unstructured.Unstructured{}
	u.SetAPIVersion(version)
	u.SetKind(kind)
	if err := w.Get(t.Context(), ctrl.ObjectKey{Namespace: namespace, Name: name}, u); err != nil {
		t.Fatal(err)
	}
	raw, err := u.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return object(t, string(raw))
}

// release is what Expand is told: everything as the cluster has it.
func (w *world) release(t *testing.T, name string, installed int) render.Release {
	const group = "source.toolkit.fluxcd.io/v1"
	r := render.Release{
		Object: w.read(t, "helm.toolkit.fluxcd.io/v2", "HelmRelease", "shop", name), Files: render.Artifact(files(w.files)),
		Installed: installed, Kubernetes: w.kubernetes, APIs: w.apis,
	}
	var hr helmv2.HelmRelease
	if err := into(r.Object, &hr); err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{"ConfigMap base", "Secret keys"} {
		kind, name, _ := strings.Cut(m, " ")
		r.Maps = append(r.Maps, w.read(t, "v1", kind, "shop", name))
	}
	switch ref := hr.Spec.ChartRef; {
	case ref != nil && ref.Kind == "OCIRepository":
		r.Source = w.read(t, group, ref.Kind, "shop", ref.Name)
	case ref != nil:
		r.Chart = w.read(t, group, ref.Kind, "shop", ref.Name)
		r.Source = w.read(t, group, "HelmRepository", "shop", "http")
	default:
		r.Chart = w.read(t, group, "HelmChart", "shop", "shop-"+name)
		r.Source = w.read(t, group, hr.Spec.Chart.Spec.SourceRef.Kind, "shop", hr.Spec.Chart.Spec.SourceRef.Name)
	}
	return r
}

// A stored release is what Helm keeps.
type stored struct {
	Name, Namespace, Manifest string
	Hooks                     []struct {
		Manifest string
		Events   []string
	}
	Chart struct {
		Metadata struct{ Name, Version string }
	}
}

func (w *world) stored(t *testing.T, of helmv2.HelmRelease, revision int) (s stored) {
	t.Helper()
	var secret corev1.Secret
	name := fmt.Sprintf("sh.helm.release.v1.%s.v%d", releaseName(of.GetReleaseName()), revision)
	if err := w.Get(t.Context(), ctrl.ObjectKey{Namespace: cmp.Or(of.Spec.StorageNamespace, of.Namespace), Name: name}, &secret); err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(string(secret.Data["release"]))
	if err != nil {
		t.Fatal(err)
	}
	zip, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(zip).Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

// compare holds a release's next revision, as it is rendered, against Helm's record of it and against the live objects.
func (w *world) compare(t *testing.T, name string, installed int) {
	got, err := w.renderer.Expand(t.Context(), w.release(t, name, installed))
	if err != nil {
		t.Fatal(err)
	}
	var hr helmv2.HelmRelease
	if err := w.Get(t.Context(), ctrl.ObjectKey{Namespace: "shop", Name: name}, &hr); err != nil {
		t.Fatal(err)
	}
	record := w.stored(t, hr, installed+1)
	if got.Chart != record.Chart.Metadata.Name || got.Version != record.Chart.Metadata.Version {
		t.Errorf("chart %s %s, Helm has %s %s", got.Chart, got.Version, record.Chart.Metadata.Name, record.Chart.Metadata.Version)
	}
	manifest, err := decode(record.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	var bare []map[string]any // without what Helm adds as it sends them
	for _, o := range got.Objects {
		bare = append(bare, w.bare(t, o.Fields, manifest))
	}
	if diff := gocmp.Diff(manifest, bare); diff != "" || len(bare) == 0 {
		t.Errorf("manifest of %d objects: %s", len(bare), diff)
	}
	var want, hooks []map[string]any
	for _, h := range record.Hooks {
		if !slices.Equal(h.Events, []string{"test"}) {
			objects, err := decode(h.Manifest)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, objects...)
		}
	}
	for _, o := range got.Hooks {
		hooks = append(hooks, w.bare(t, o.Fields, want))
	}
	if installs := hr.GetInstall(); installs.DisableHooks && installed == 0 {
		want = nil
	}
	if diff := gocmp.Diff(want, hooks); diff != "" {
		t.Errorf("hooks: %s", diff)
	}
	live := got.Objects
	if installed == 0 && hr.GetInstall().CRDs != helmv2.Skip {
		live = append(slices.Clone(live), got.CRDs...)
	}
	for _, o := range live {
		is := w.read(t, o.Fields["apiVersion"].(string), o.Kind, o.Namespace, o.Name)
		holds(t, o.String(), o.Fields, is.Fields)
	}
}

// bare takes off what Helm adds to an object as it sends it, and the namespace that the manifest leaves out.
func (w *world) bare(t *testing.T, fields map[string]any, manifest []map[string]any) map[string]any {
	u := (&unstructured.Unstructured{Object: fields}).DeepCopy()
	i := slices.IndexFunc(manifest, func(m map[string]any) bool {
		o := unstructured.Unstructured{Object: m}
		return o.GetKind() == u.GetKind() && o.GetName() == u.GetName()
	})
	if i < 0 {
		t.Errorf("Helm has no %s %s", u.GetKind(), u.GetName())
		return nil
	}
	was := unstructured.Unstructured{Object: manifest[i]}
	u.SetNamespace(was.GetNamespace())
	strip := func(from, has map[string]string, names ...string) map[string]string {
		for _, n := range names {
			if v, ok := has[n]; ok {
				from[n] = v
			} else {
				delete(from, n)
			}
		}
		if len(from) == 0 {
			return nil
		}
		return from
	}
	u.SetLabels(strip(u.GetLabels(), was.GetLabels(), "app.kubernetes.io/managed-by"))
	u.SetAnnotations(strip(u.GetAnnotations(), was.GetAnnotations(), "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"))
	return u.Object
}

// holds says where a live object lacks something of what was rendered.
func holds(t *testing.T, at string, want, live any) {
	t.Helper()
	switch want := want.(type) {
	case map[string]any:
		has, _ := live.(map[string]any)
		for key, v := range want {
			if key == "stringData" { // the API server keeps it as data
				key, v = "data", encoded(v)
			}
			holds(t, at+"."+key, v, has[key])
		}
	case []any:
		has, _ := live.([]any)
		if len(has) != len(want) {
			t.Errorf("%s: %d live, %d rendered", at, len(has), len(want))
			return
		}
		for i := range want {
			holds(t, fmt.Sprintf("%s[%d]", at, i), want[i], has[i])
		}
	default:
		if diff := gocmp.Diff(want, live); diff != "" {
			t.Errorf("%s: %s", at, diff)
		}
	}
}

func encoded(plain any) map[string]any {
	data := map[string]any{}
	for k, v := range plain.(map[string]any) {
		data[k] = base64.StdEncoding.EncodeToString([]byte(v.(string)))
	}
	return data
}

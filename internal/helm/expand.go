package helm

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	fluxchart "github.com/fluxcd/pkg/chartutil"
	"github.com/go-logr/logr"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/ignore"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	ctrl "sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/kustomize/kyaml/openapi"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"
	"sigs.k8s.io/yaml"
)

const (
	maxObjects  = 3000
	maxValues   = 500_000  // in all objects
	maxManifest = 16 << 20 // bytes of all that a chart renders
	// recentKubernetes is what a chart is told where nobody knows: the version that Flux 2.7's Helm is built with.
	recentKubernetes = "v1.34.0"
)

// A job is all that a rendering depends on, and what a worker is told.
type job struct {
	Release   map[string]any   // the HelmRelease, with its namespace
	Maps      []map[string]any // ConfigMaps and Secrets of spec.valuesFrom
	Chart     bundle
	Beside    map[string]bundle // charts of the same repository that this one depends on, by repository and name of the dependency
	Installed int               // revision of the release that is there; zero: none

	ValuesFiles   []string          // take the place of the chart's values.yaml, one laid over another
	IgnoreMissing bool              // of ValuesFiles
	Given         map[string][]byte // ValuesFiles from beside the chart; nil: they are the chart's own

	Build    string // metadata that Flux adds to the version, "1" in "6.9.0+1"; empty: none
	Tag      string // whose version the chart's must be, where it is one; empty: any
	Revision string // a digest's beginning that takes the place of the version's metadata; empty: none

	Kubernetes string
	APIs       []string

	Limit time.Duration // for the worker
}

// A bundle is a chart: an archive, or the files of a directory.
type bundle struct {
	Archive []byte
	Files   map[string][]byte
}

// An outcome is what a rendering comes to.
type outcome struct {
	Objects, Hooks, CRDs []map[string]any
	Chart, Version       string
	Looks                bool
	Notes                []string

	Refused string // a sentence: nothing was rendered
}

// A refusal ends a rendering with a sentence.
type refusal string

func (r refusal) Error() string { return string(r) }

// expand renders a release as the helm-controller of Flux 2.7 does (internal/action and internal/postrender there), which
// is on Helm 3.19. It reads nothing but the job.
func expand(j job) (o outcome) {
	defer func() {
		if p := recover(); p != nil { // Helm and kustomize do panic, on charts of unexpected shapes
			o = outcome{Refused: "Helm cannot render the chart: it ended in a panic."}
		}
	}()
	if err := o.expand(j); err != nil {
		refused, ok := errors.AsType[refusal](err)
		if !ok {
			refused = refusal("Helm cannot render the chart: " + oneLine(err) + ".")
		}
		return outcome{Refused: string(refused)}
	}
	return o
}

// oneLine shortens what a library says, which may repeat what the chart's author wrote.
func oneLine(err error) string {
	const limit = 300
	text := strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
	if runes := []rune(text); len(runes) > limit {
		text = string(runes[:limit]) + "…"
	}
	return strings.TrimRight(strings.ToValidUTF8(text, "?"), ". ")
}

func (o *outcome) expand(j job) error {
	var hr helmv2.HelmRelease
	raw, err := json.Marshal(j.Release)
	if err != nil {
		return fmt.Errorf("encode the HelmRelease: %w", err)
	}
	if err := json.Unmarshal(raw, &hr); err != nil {
		return refusal("The HelmRelease is not as its custom resource wants it: " + oneLine(err) + ".")
	}
	merged, err := fluxchart.ChartValuesFromReferences(context.Background(), logr.Discard(), known{maps: j.Maps}, hr.Namespace, hr.GetValues(), hr.Spec.ValuesFrom...)
	if err != nil {
		return refusal("The values cannot be put together: " + oneLine(err) + ".")
	}
	given := chartutil.Values(merged).AsMap()
	c, err := load(j)
	if err != nil {
		return err
	}
	o.Chart, o.Version = c.Metadata.Name, c.Metadata.Version
	with, crds, disableHooks, skipSchema := action(&hr, j.Installed)
	if hr.GetUpgrade().PreserveValues && j.Installed > 0 {
		o.Notes = append(o.Notes, "spec.upgrade.preserveValues keeps values of the releases before, which are not known here.")
	}
	if hr.GetInstall().CreateNamespace && hr.Spec.TargetNamespace != "" && j.Installed == 0 {
		o.Notes = append(o.Notes, fmt.Sprintf("Helm also creates the namespace %s if there is none.", with.Namespace))
	}
	if len(c.CRDObjects()) > 0 && crds != helmv2.Skip { // helm-controller does it once for them and once for the rest
		if err := chartutil.ProcessDependenciesWithMerge(c, given); err != nil {
			return err
		}
	}
	if err := chartutil.ProcessDependenciesWithMerge(c, given); err != nil {
		return err
	}
	for _, crd := range c.CRDObjects() {
		objects, err := decode(string(crd.File.Data))
		if err != nil {
			return fmt.Errorf("read %s: %w", crd.Filename, err)
		}
		for _, object := range objects {
			label(object, map[string]string{helmv2.GroupVersion.Group + "/name": hr.Name, helmv2.GroupVersion.Group + "/namespace": hr.Namespace}, nil)
		}
		o.CRDs = append(o.CRDs, objects...)
	}
	var served []map[string]any // CRDs that are there when the chart is rendered
	if crds != helmv2.Skip {
		served = o.CRDs
	}
	capabilities, err := capable(j, served)
	if err != nil {
		return err
	}
	if !skipSchema && schemas(c) {
		o.Notes = append(o.Notes, "The values were not held against the chart's schema: it refers to others elsewhere.")
	}
	all, err := chartutil.ToRenderValuesWithSchemaValidation(c, given, with, capabilities, skipSchema)
	if err != nil {
		return err
	}
	if want := c.Metadata.KubeVersion; want != "" && !chartutil.IsCompatibleRange(want, capabilities.KubeVersion.String()) {
		return refusal(fmt.Sprintf("The chart wants Kubernetes %s, and the cluster has %s.", oneLine(errors.New(want)), capabilities.KubeVersion.String()))
	}
	cluster := &absent{}
	files, err := engine.RenderWithClientProvider(c, all, cluster)
	if err != nil {
		return err
	}
	if o.Looks = cluster.asked; o.Looks {
		o.Notes = append(o.Notes, "The chart looks into the cluster (lookup); here it found nothing there.")
	}
	maps.DeleteFunc(files, func(name, _ string) bool { return strings.HasSuffix(name, "NOTES.txt") })
	size := 0
	for _, text := range files {
		if size += len(text); size > maxManifest {
			return refusal(fmt.Sprintf("The chart renders more than %d MB.", maxManifest>>20))
		}
	}
	hooks, manifests, err := releaseutil.SortManifests(files, nil, releaseutil.InstallOrder)
	if err != nil {
		return err
	}
	if len(hooks)+len(manifests) > maxObjects {
		return many
	}
	var manifest bytes.Buffer
	for _, m := range manifests {
		fmt.Fprintf(&manifest, "---\n# Source: %s\n%s\n", m.Name, m.Content)
	}
	final, err := postRender(manifest.Bytes(), &hr)
	if err != nil {
		return err
	}
	if o.Objects, err = decode(string(final)); err != nil {
		return err
	}
	for _, object := range o.Objects {
		label(object, map[string]string{"app.kubernetes.io/managed-by": "Helm"},
			map[string]string{"meta.helm.sh/release-name": with.Name, "meta.helm.sh/release-namespace": with.Namespace})
	}
	if !disableHooks {
		for _, hook := range hooks {
			if !slices.ContainsFunc(hook.Events, func(e release.HookEvent) bool { return e != release.HookTest }) {
				continue
			}
			objects, err := decode(hook.Manifest)
			if err != nil {
				return err
			}
			o.Hooks = append(o.Hooks, objects...)
		}
	}
	settle(o, with.Namespace)
	return o.weigh()
}

// weigh refuses what is too much for those who compare it.
func (o *outcome) weigh() error {
	all := slices.Concat(o.Objects, o.Hooks, o.CRDs)
	if len(all) > maxObjects {
		return many
	}
	n := 0
	for _, object := range all {
		if n += values(object); n > maxValues {
			return refusal(fmt.Sprintf("The chart renders more than %d values.", maxValues))
		}
	}
	return nil
}

// values counts them, with the maps and lists that they are in.
func values(v any) int {
	n := 1
	switch v := v.(type) {
	case map[string]any:
		for _, item := range v {
			n += values(item)
		}
	case []any:
		for _, item := range v {
			n += values(item)
		}
	}
	return n
}

// action is how the release is installed, or upgraded where it is there.
func action(hr *helmv2.HelmRelease, installed int) (with chartutil.ReleaseOptions, crds helmv2.CRDsPolicy, disableHooks, skipSchema bool) {
	with = chartutil.ReleaseOptions{
		Name: releaseName(hr.GetReleaseName()), Namespace: hr.GetReleaseNamespace(), Revision: installed + 1,
		IsInstall: installed == 0, IsUpgrade: installed > 0,
	}
	crds, disableHooks, skipSchema = hr.GetInstall().CRDs, hr.GetInstall().DisableHooks, hr.GetInstall().DisableSchemaValidation
	if installed > 0 {
		crds, disableHooks, skipSchema = hr.GetUpgrade().CRDs, hr.GetUpgrade().DisableHooks, hr.GetUpgrade().DisableSchemaValidation
	}
	return with, cmp.Or(crds, helmv2.Create), disableHooks, skipSchema
}

// load reads the chart, and does to it what source-controller does when it packs it and helm-controller when it has it.
func load(j job) (*chart.Chart, error) {
	c, err := j.Chart.load()
	if err != nil {
		return nil, err
	}
	lacks := missing(c)
	if j.Chart.Files == nil {
		lacks = nil // a packed chart is as it is
	}
	for _, dependency := range lacks {
		beside, ok := j.Beside[dependency.Repository+" "+dependency.Name]
		if !ok {
			return nil, refusal(fmt.Sprintf("The chart depends on %s of %s, which is not in its folder charts.", dependency.Name, cmp.Or(dependency.Repository, "no repository")))
		}
		sub, err := beside.load()
		if err != nil {
			return nil, err
		}
		want, err := semver.NewConstraint(dependency.Version)
		if err != nil {
			return nil, fmt.Errorf("dependency %s: %w", dependency.Name, err)
		}
		if version, err := semver.NewVersion(sub.Metadata.Version); err != nil || !want.Check(version) {
			return nil, refusal(fmt.Sprintf("The chart depends on %s %s, and its repository has %s.", dependency.Name, dependency.Version, sub.Metadata.Version))
		}
		sub.Metadata.Name = cmp.Or(dependency.Alias, sub.Metadata.Name)
		c.AddDependency(sub)
	}
	if err := overlay(c, j); err != nil {
		return nil, err
	}
	if j.Build+j.Revision == "" {
		return c, nil
	}
	version, err := semver.NewVersion(c.Metadata.Version)
	if err != nil {
		return nil, fmt.Errorf("version %q of the chart: %w", c.Metadata.Version, err)
	}
	if tag, err := semver.NewVersion(strings.ReplaceAll(j.Tag, "_", "+")); j.Tag != "" && err == nil && !tag.Equal(version) {
		return nil, refusal(fmt.Sprintf("The chart under the tag %s has version %s.", j.Tag, c.Metadata.Version))
	}
	built, err := version.SetMetadata(cmp.Or(j.Revision, j.Build))
	if err != nil {
		return nil, fmt.Errorf("version %q of the chart: %w", c.Metadata.Version, err)
	}
	c.Metadata.Version = built.String()
	return c, nil
}

// load reads a chart, from a directory without what its .helmignore names.
func (b bundle) load() (*chart.Chart, error) {
	if b.Files == nil {
		c, err := loader.LoadArchive(bytes.NewReader(b.Archive))
		if err != nil {
			return nil, refusal("The chart's archive cannot be read: " + oneLine(err) + ".")
		}
		return validated(c)
	}
	rules, err := ignore.Parse(bytes.NewReader(b.Files[ignore.HelmIgnore]))
	if err != nil {
		return nil, refusal("The chart's " + ignore.HelmIgnore + " cannot be read: " + oneLine(err) + ".")
	}
	rules.AddDefaults()
	var files []*loader.BufferedFile
	for _, name := range slices.Sorted(maps.Keys(b.Files)) {
		if !leftOut(rules, name) {
			files = append(files, &loader.BufferedFile{Name: name, Data: bytes.TrimPrefix(b.Files[name], []byte("\xef\xbb\xbf"))})
		}
	}
	c, err := loader.LoadFiles(files)
	if err != nil {
		return nil, refusal("The chart's directory cannot be read: " + oneLine(err) + ".")
	}
	return validated(c)
}

// leftOut says whether a file, or a directory that it lies in, is ignored.
func leftOut(rules *ignore.Rules, name string) bool {
	for i, r := range name {
		if r == '/' && rules.Ignore(name[:i], entryInfo{path.Base(name[:i]), true}) {
			return true
		}
	}
	return rules.Ignore(name, entryInfo{path.Base(name), false})
}

// An entryInfo is what ignore rules look at.
type entryInfo struct {
	name string
	dir  bool
}

func (e entryInfo) Name() string     { return e.name }
func (entryInfo) Size() int64        { return 0 }
func (entryInfo) Mode() fs.FileMode  { return 0 }
func (entryInfo) ModTime() time.Time { return time.Time{} }
func (e entryInfo) IsDir() bool      { return e.dir }
func (entryInfo) Sys() any           { return nil }

func validated(c *chart.Chart) (*chart.Chart, error) {
	if err := c.Validate(); err != nil {
		return nil, refusal("The chart is not valid: " + oneLine(err) + ".")
	}
	return c, nil
}

// missing are the dependencies that a chart lacks, as source-controller finds them: it looks no further where their number
// is right.
func missing(c *chart.Chart) []*chart.Dependency {
	wanted := c.Metadata.Dependencies
	if c.Lock != nil {
		wanted = c.Lock.Dependencies
	}
	if len(c.Dependencies()) == len(wanted) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(wanted), func(d *chart.Dependency) bool {
		return slices.ContainsFunc(c.Dependencies(), func(has *chart.Chart) bool { return has.Name() == cmp.Or(d.Alias, d.Name) })
	})
}

// overlay puts spec.valuesFiles in the place of the chart's values.
func overlay(c *chart.Chart, j job) error {
	if len(j.ValuesFiles) == 0 {
		return nil
	}
	merged := map[string]any{}
	for _, file := range j.ValuesFiles {
		name := path.Clean(file)
		var raw []byte
		var there bool
		switch {
		case j.Given != nil:
			raw, there = j.Given[file]
		case name == chartutil.ValuesfileName:
			merged = fluxchart.MergeMaps(merged, c.Values)
			continue
		default:
			i := slices.IndexFunc(c.Files, func(f *chart.File) bool { return f.Name == name })
			if there = i >= 0; there {
				raw = c.Files[i].Data
			}
		}
		if !there {
			if j.IgnoreMissing {
				continue
			}
			return refusal(fmt.Sprintf("The file %s that spec.valuesFiles names is not there.", file))
		}
		one := map[string]any{}
		if err := yaml.Unmarshal(raw, &one); err != nil {
			return refusal(fmt.Sprintf("The file %s that spec.valuesFiles names cannot be read: %s.", file, oneLine(err)))
		}
		merged = fluxchart.MergeMaps(merged, one)
	}
	// As YAML and back, as the packed chart has them.
	raw, err := yaml.Marshal(merged)
	if err != nil {
		return err
	}
	c.Values = map[string]any{}
	return yaml.Unmarshal(raw, &c.Values)
}

// capable is what a chart is told of the cluster, which then has the CRDs that come with the chart.
func capable(j job, crds []map[string]any) (*chartutil.Capabilities, error) {
	version, err := chartutil.ParseKubeVersion(cmp.Or(j.Kubernetes, recentKubernetes))
	if err != nil {
		return nil, fmt.Errorf("version of Kubernetes: %w", err)
	}
	version.Version = cmp.Or(j.Kubernetes, recentKubernetes)
	capabilities := chartutil.DefaultCapabilities.Copy()
	capabilities.KubeVersion = *version
	if len(j.APIs) > 0 {
		capabilities.APIVersions = j.APIs
	}
	capabilities.APIVersions = slices.Clone(capabilities.APIVersions)
	for _, crd := range crds {
		group, _, _ := unstructured.NestedString(crd, "spec", "group")
		kind, _, _ := unstructured.NestedString(crd, "spec", "names", "kind")
		versions, _, _ := unstructured.NestedSlice(crd, "spec", "versions")
		for _, v := range versions {
			if v, ok := v.(map[string]any); ok && v["served"] == true {
				served := fmt.Sprintf("%s/%s", group, v["name"])
				capabilities.APIVersions = append(capabilities.APIVersions, served, served+"/"+kind)
			}
		}
	}
	return capabilities, nil
}

// drafts are the schemas of schemas that Helm's library has in itself.
var drafts = regexp.MustCompile(`^https?://json-schema\.org/(draft-0[467]|draft/2019-09|draft/2020-12)/schema#?$`)

// schemas removes schemas that refer to files and addresses outside, which Helm would read, and says whether there were any.
func schemas(c *chart.Chart) (removed bool) {
	for _, sub := range c.Dependencies() {
		removed = schemas(sub) || removed
	}
	var schema any
	if c.Schema == nil || json.Unmarshal(c.Schema, &schema) == nil && !elsewhere(schema) {
		return removed
	}
	c.Schema = nil
	return true
}

func elsewhere(schema any) bool {
	switch schema := schema.(type) {
	case []any:
		return slices.ContainsFunc(schema, elsewhere)
	case map[string]any:
		for key, v := range schema {
			to, _ := v.(string)
			switch key {
			case "$ref", "$dynamicRef", "$recursiveRef":
				if to != "" && !strings.HasPrefix(to, "#") {
					return true
				}
			case "$schema":
				if to != "" && !drafts.MatchString(to) {
					return true
				}
			}
			if elsewhere(v) {
				return true
			}
		}
	}
	return false
}

var many = refusal(fmt.Sprintf("The chart renders more than %d objects.", maxObjects))

// decode reads the objects of a manifest.
func decode(manifest string) ([]map[string]any, error) {
	decoder := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), 4096)
	var objects []map[string]any
	for {
		var one map[string]any
		err := decoder.Decode(&one)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if len(one) == 0 {
			continue
		}
		if objects = append(objects, one); len(objects) > maxObjects {
			return nil, many
		}
	}
}

// label adds to an object's labels and annotations.
func label(object map[string]any, labels, annotations map[string]string) {
	u := &unstructured.Unstructured{Object: object}
	add := func(to, what map[string]string) map[string]string {
		to = maps.Clone(to)
		if to == nil {
			to = map[string]string{}
		}
		maps.Copy(to, what)
		return to
	}
	if len(labels) > 0 {
		u.SetLabels(add(u.GetLabels(), labels))
	}
	if len(annotations) > 0 {
		u.SetAnnotations(add(u.GetAnnotations(), annotations))
	}
}

// settle gives a namespace to objects that have none and live in one. The scope of a custom resource is that of the
// CustomResourceDefinition that comes with it; of one that comes from elsewhere it is not known, and taken for the usual.
func settle(o *outcome, namespace string) {
	wide := map[schema.GroupKind]bool{}
	for _, object := range slices.Concat(o.CRDs, o.Objects) {
		if scope, _, _ := unstructured.NestedString(object, "spec", "scope"); object["kind"] == "CustomResourceDefinition" && scope == "Cluster" {
			group, _, _ := unstructured.NestedString(object, "spec", "group")
			kind, _, _ := unstructured.NestedString(object, "spec", "names", "kind")
			wide[schema.GroupKind{Group: group, Kind: kind}] = true
		}
	}
	for _, object := range slices.Concat(o.Objects, o.Hooks) {
		u := &unstructured.Unstructured{Object: object}
		namespaced, known := openapi.IsNamespaceScoped(kyaml.TypeMeta{APIVersion: u.GetAPIVersion(), Kind: u.GetKind()})
		if !known {
			namespaced = !wide[u.GroupVersionKind().GroupKind()]
		}
		switch {
		case !namespaced:
			u.SetNamespace("")
		case u.GetNamespace() == "":
			u.SetNamespace(namespace)
		}
	}
}

// known reads ConfigMaps and Secrets from a job.
type known struct {
	ctrl.Client // for its type: nothing else of it is called
	maps        []map[string]any
}

// Get reads one.
func (k known) Get(_ context.Context, key ctrl.ObjectKey, into ctrl.Object, _ ...ctrl.GetOption) error {
	kind := "ConfigMap"
	if _, ok := into.(*corev1.Secret); ok {
		kind = "Secret"
	}
	for _, m := range k.maps {
		u := unstructured.Unstructured{Object: m}
		if u.GetKind() != kind || u.GetName() != key.Name || u.GetNamespace() != key.Namespace {
			continue
		}
		if kind == "Secret" { // stringData wins, as in the API server
			secret := into.(*corev1.Secret)
			secret.Data = map[string][]byte{}
			encoded, _, _ := unstructured.NestedStringMap(m, "data")
			for name, value := range encoded {
				raw, err := base64.StdEncoding.DecodeString(value)
				if err != nil {
					return fmt.Errorf("the value %s of Secret %s is not in base64", name, key)
				}
				secret.Data[name] = raw
			}
			plain, _, _ := unstructured.NestedStringMap(m, "stringData")
			for name, value := range plain {
				secret.Data[name] = []byte(value)
			}
			return nil
		}
		into.(*corev1.ConfigMap).Data, _, _ = unstructured.NestedStringMap(m, "data")
		return nil
	}
	return apierrors.NewNotFound(schema.GroupResource{Resource: strings.ToLower(kind) + "s"}, key.Name)
}

// absent is a cluster in which lookup finds nothing.
type absent struct {
	dynamic.NamespaceableResourceInterface // for its type: nothing else of it is called
	asked                                  bool
}

// GetClientFor gives itself.
func (a *absent) GetClientFor(string, string) (dynamic.NamespaceableResourceInterface, bool, error) {
	a.asked = true
	return a, true, nil
}

// Namespace gives itself.
func (a *absent) Namespace(string) dynamic.ResourceInterface { return a }

// Get finds nothing.
func (a *absent) Get(context.Context, string, metav1.GetOptions, ...string) (*unstructured.Unstructured, error) {
	return nil, apierrors.NewNotFound(schema.GroupResource{}, "")
}

// List finds nothing.
func (a *absent) List(context.Context, metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	return nil, apierrors.NewNotFound(schema.GroupResource{}, "")
}

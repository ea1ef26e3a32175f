package cluster

import (
	"cmp"
	"encoding/json"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// condition reads Ready and Stalled. An object's controller may leave status.observedGeneration behind while it retries
// and yet set conditions for the newest generation, so the newer of both counts.
func condition(generation, observed int64, suspended bool, conditions []metav1.Condition) gitops.Condition {
	result := gitops.Condition{Status: string(metav1.ConditionUnknown), Suspended: suspended}
	ready := apimeta.FindStatusCondition(conditions, meta.ReadyCondition)
	if ready == nil || max(ready.ObservedGeneration, observed) < generation {
		result.Reason, result.Message = meta.ProgressingReason, "Flux has not looked at its newest state yet"
		return result
	}
	result.Status, result.Reason, result.Message = string(ready.Status), ready.Reason, ready.Message
	stalled := apimeta.FindStatusCondition(conditions, meta.StalledCondition)
	result.Stalled = stalled != nil && stalled.Status == metav1.ConditionTrue && max(stalled.ObservedGeneration, observed) >= generation
	return result
}

// publicURL drops passwords, from web addresses user names too, and queries, which hold keys if anything. It says whether
// there were any.
func publicURL(raw string) (string, bool) {
	u, err := url.Parse(raw)
	if err != nil && strings.Contains(raw, "://") {
		return "", true // there may be a password in it
	}
	if err != nil || u.User == nil && u.RawQuery == "" {
		return raw, false
	}
	_, secret := u.User.Password()
	secret = secret || u.RawQuery != ""
	u.RawQuery = ""
	switch {
	case u.User == nil:
	case u.Scheme != "ssh":
		u.User, secret = nil, true
	default:
		u.User = url.User(u.User.Username())
	}
	return u.String(), secret
}

func sourceOf(k *kustomizev1.Kustomization) gitops.Object {
	ref := k.Spec.SourceRef
	return gitops.Object{Kind: ref.Kind, Namespace: cmp.Or(ref.Namespace, k.Namespace), Name: ref.Name}
}

// source reads what a Kustomization follows. Of a kind that ferry does not read, a Bucket say, there is the name alone.
func (s *snapshot) source(o gitops.Object) gitops.Source {
	result := gitops.Source{Object: o, Condition: s.unknown(o)}
	if git, ok := find[*sourcev1.GitRepository](s, gitRepositories, o.Namespace, o.Name); ok && o.Kind == gitRepositories.name {
		result.URL, _ = publicURL(git.Spec.URL)
		result.Branch = branch(git.Spec.Reference)
		result.Revision = revision(git.Status.Artifact)
		result.Condition = condition(git.Generation, git.Status.ObservedGeneration, git.Spec.Suspend, git.Status.Conditions)
	}
	if oci, ok := find[*sourcev1.OCIRepository](s, ociRepositories, o.Namespace, o.Name); ok && o.Kind == ociRepositories.name {
		result.URL, _ = publicURL(oci.Spec.URL)
		result.Revision = revision(oci.Status.Artifact)
		result.Condition = condition(oci.Generation, oci.Status.ObservedGeneration, oci.Spec.Suspend, oci.Status.Conditions)
	}
	return result
}

// branch is the branch that a GitRepository follows. Flux prefers commit, name, semver and tag, and defaults to master.
func branch(ref *sourcev1.GitRepositoryRef) string {
	switch {
	case ref == nil:
		return "master"
	case ref.Name != "" && ref.Commit == "":
		name, _ := strings.CutPrefix(ref.Name, "refs/heads/")
		if name == ref.Name {
			return ""
		}
		return name
	case ref.Commit != "" || ref.SemVer != "" || ref.Tag != "":
		return ""
	}
	return cmp.Or(ref.Branch, "master")
}

func revision(a *meta.Artifact) string {
	if a == nil {
		return ""
	}
	return a.Revision
}

func (s *snapshot) kustomization(k *kustomizev1.Kustomization) gitops.Kustomization {
	common := cmp.Or(k.Spec.CommonMetadata, &kustomizev1.CommonMetadata{})
	return gitops.Kustomization{
		Namespace:               k.Namespace,
		Name:                    k.Name,
		Path:                    cmp.Or(strings.TrimPrefix(path.Clean("/"+k.Spec.Path), "/"), "."),
		TargetNamespace:         k.Spec.TargetNamespace,
		NamePrefix:              k.Spec.NamePrefix,
		NameSuffix:              k.Spec.NameSuffix,
		Components:              k.Spec.Components,
		IgnoreMissingComponents: k.Spec.IgnoreMissingComponents,
		Images:                  plain(k.Spec.Images),
		Patches:                 plain(k.Spec.Patches),
		Substitution:            s.substitution(k),
		Labels:                  common.Labels,
		Annotations:             common.Annotations,
		DependsOn:               dependencies(k),
		Source:                  s.source(sourceOf(k)),
		Applied:                 k.Status.LastAppliedRevision,
		Attempted:               k.Status.LastAttemptedRevision,
		Condition:               condition(k.Generation, k.Status.ObservedGeneration, k.Spec.Suspend, k.Status.Conditions),
	}
}

func dependencies(k *kustomizev1.Kustomization) (all []gitops.Object) {
	for _, d := range k.Spec.DependsOn {
		all = append(all, gitops.Object{Kind: kustomizations.name, Namespace: cmp.Or(d.Namespace, k.Namespace), Name: d.Name})
	}
	return all
}

// substitution reads what is filled in after the build, the ConfigMaps that were read included. Secrets are not read.
func (s *snapshot) substitution(k *kustomizev1.Kustomization) *gitops.Substitution {
	build := k.Spec.PostBuild
	if build == nil {
		return nil
	}
	result := &gitops.Substitution{Values: build.Substitute, Always: build.SubstituteStrategy == kustomizev1.SubstituteStrategyAlways}
	for _, from := range build.SubstituteFrom {
		source := gitops.VariableSource{Kind: from.Kind, Name: from.Name, Optional: from.Optional}
		if m, ok := find[*corev1.ConfigMap](s, configMaps, k.Namespace, from.Name); ok && from.Kind == configMaps.name {
			source.Live = m.Data
		}
		result.From = append(result.From, source)
	}
	return result
}

// variableMaps are the ConfigMaps that a Kustomization takes variables from.
func variableMaps(k *kustomizev1.Kustomization) (all []gitops.Object) {
	if k.Spec.PostBuild == nil {
		return nil
	}
	for _, from := range k.Spec.PostBuild.SubstituteFrom {
		if from.Kind == configMaps.name {
			all = append(all, gitops.Object{Kind: from.Kind, Namespace: k.Namespace, Name: from.Name})
		}
	}
	return all
}

// valuesMaps are the ConfigMaps that a HelmRelease takes whole values from.
func valuesMaps(r *helmv2.HelmRelease) (all []gitops.Object) {
	for _, from := range r.Spec.ValuesFrom {
		if from.Kind == configMaps.name && from.TargetPath == "" {
			all = append(all, gitops.Object{Kind: from.Kind, Namespace: r.Namespace, Name: from.Name})
		}
	}
	return all
}

// named are the images that a HelmRelease's values name, those in ConfigMaps included. It is false where ferry may not read
// one of these. Values in Secrets are not read.
func (s *snapshot) named(r *helmv2.HelmRelease) (images []gitops.ImageValue, whole bool) {
	if spec, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&r.Spec); err == nil {
		images = gitops.ReleaseImages(map[string]any{"spec": spec})
	}
	whole = true
	for _, from := range r.Spec.ValuesFrom {
		if from.Kind != configMaps.name || from.TargetPath != "" {
			continue
		}
		m, ok := find[*corev1.ConfigMap](s, configMaps, r.Namespace, from.Name)
		if !ok {
			whole = whole && s.unread[gitops.Object{Kind: configMaps.name, Namespace: r.Namespace, Name: from.Name}] == ""
			continue
		}
		key := cmp.Or(from.ValuesKey, "values.yaml")
		var values map[string]any
		if yaml.Unmarshal([]byte(m.Data[key]), &values) == nil {
			images = append(images, gitops.ImageValues(values, gitops.PathKey("data", key)+"|", "values")...)
		}
	}
	return images, whole
}

func (s *snapshot) kustomizations() []gitops.Kustomization {
	var all []gitops.Kustomization
	for _, o := range s.sorted() {
		if k, ok := o.(*kustomizev1.Kustomization); ok {
			all = append(all, s.kustomization(k))
		}
	}
	slices.SortFunc(all, func(a, b gitops.Kustomization) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// plain turns typed entries into the maps that they are in YAML.
func plain[T any](entries []T) []map[string]any {
	var all []map[string]any
	for _, e := range entries {
		raw, err := json.Marshal(e)
		var m map[string]any
		if err == nil && json.Unmarshal(raw, &m) == nil {
			all = append(all, m)
		}
	}
	return all
}

// chartObject is the HelmChart or OCIRepository that a HelmRelease waits for.
func chartObject(r *helmv2.HelmRelease) gitops.Object {
	if ref := r.Spec.ChartRef; ref != nil {
		return gitops.Object{Kind: ref.Kind, Namespace: cmp.Or(ref.Namespace, r.Namespace), Name: ref.Name}
	}
	if namespace, name := r.Status.GetHelmChart(); name != "" {
		return gitops.Object{Kind: helmCharts.name, Namespace: namespace, Name: name}
	}
	return gitops.Object{Kind: helmCharts.name, Namespace: templateSource(r).Namespace, Name: r.GetHelmChartName()}
}

// templateSource is the source that spec.chart of a HelmRelease names, if it has one.
func templateSource(r *helmv2.HelmRelease) gitops.Object {
	if r.Spec.Chart == nil {
		return gitops.Object{}
	}
	ref := r.Spec.Chart.Spec.SourceRef
	return gitops.Object{Kind: ref.Kind, Namespace: cmp.Or(ref.Namespace, r.Namespace), Name: ref.Name}
}

// release reads a HelmRelease and the version field of its chart.
func (s *snapshot) release(r *helmv2.HelmRelease) (*gitops.HelmRelease, gitops.Version) {
	history := slices.DeleteFunc(slices.Clone(r.Status.History), func(h *helmv2.Snapshot) bool { return h == nil })
	history.SortByVersion()

	offered := chartObject(r)
	release := &gitops.HelmRelease{
		Condition: condition(r.Generation, r.Status.ObservedGeneration, r.Spec.Suspend, r.Status.Conditions),
		Attempted: undigested(offered.Kind, r.Status.LastAttemptedRevision),
	}
	version := gitops.Version{Kind: gitops.ChartVersion, Object: offered}
	release.Chart.Condition = s.unknown(offered)
	if offered.Kind == helmCharts.name {
		if chart, ok := find[*sourcev1.HelmChart](s, helmCharts, offered.Namespace, offered.Name); ok {
			release.Chart.Name = path.Base(chart.Spec.Chart)
			release.Chart.Source = gitops.Object{Kind: chart.Spec.SourceRef.Kind, Namespace: chart.Namespace, Name: chart.Spec.SourceRef.Name}
			release.Chart.Version = revision(chart.Status.Artifact)
			release.Chart.Condition = condition(chart.Generation, chart.Status.ObservedGeneration, chart.Spec.Suspend, chart.Status.Conditions)
			version.Desired = chart.Spec.Version
		}
	} else {
		release.Chart.Source = offered
	}
	if template := r.Spec.Chart; template != nil { // newer than the HelmChart that Flux makes from it
		release.Chart.Name = path.Base(template.Spec.Chart)
		release.Chart.Source = templateSource(r)
		version.Desired = template.Spec.Version
		version.Object = gitops.Object{Kind: helmReleases.name, Namespace: r.Namespace, Name: r.Name}
	}
	if version.Desired == "*" { // the default, which means the same as none
		version.Desired = ""
	}
	if c := s.unknown(release.Chart.Source); c.Reason != "" && release.Chart.Condition.Reason == "" {
		release.Chart.Condition = c
	}
	s.address(&release.Chart, &version)
	if release.Chart.Name == "" && len(history) > 0 {
		release.Chart.Name = history[0].ChartName
	}
	version.Name = release.Chart.Name

	for _, h := range history {
		entry := gitops.HelmDeployment{Version: undigested(offered.Kind, h.ChartVersion), Status: h.Status}
		release.History = append(release.History, entry)
		if version.Value == "" && (h.Status == "deployed" || h.Status == "superseded") {
			version.Value = entry.Version
		}
	}
	return release, version
}

// address fills in where the chart is fetched from, and what an OCIRepository asks for.
func (s *snapshot) address(chart *gitops.Chart, version *gitops.Version) {
	o := chart.Source
	secret := false
	if helm, ok := find[*sourcev1.HelmRepository](s, helmRepositories, o.Namespace, o.Name); ok && o.Kind == helmRepositories.name {
		chart.URL, secret = publicURL(helm.Spec.URL)
		chart.Insecure = helm.Spec.Insecure
		chart.Private = secret || helm.Spec.SecretRef != nil || helm.Spec.CertSecretRef != nil || !generic(helm.Spec.Provider)
	}
	if git, ok := find[*sourcev1.GitRepository](s, gitRepositories, o.Namespace, o.Name); ok && o.Kind == gitRepositories.name {
		chart.URL, secret = publicURL(git.Spec.URL)
		chart.Private = secret || git.Spec.SecretRef != nil
	}
	oci, ok := find[*sourcev1.OCIRepository](s, ociRepositories, o.Namespace, o.Name)
	if !ok || o.Kind != ociRepositories.name {
		return
	}
	spec := oci.Spec
	chart.URL, secret = publicURL(spec.URL)
	chart.Insecure = spec.Insecure
	chart.Private = secret || spec.SecretRef != nil || spec.CertSecretRef != nil || spec.ProxySecretRef != nil || spec.ServiceAccountName != "" || !generic(spec.Provider)
	chart.Name = path.Base(chart.URL)
	chart.Condition = condition(oci.Generation, oci.Status.ObservedGeneration, spec.Suspend, oci.Status.Conditions)
	if tag, _, tagged := strings.Cut(revision(oci.Status.Artifact), "@"); tagged {
		chart.Version = tag
	}
	if ref := spec.Reference; ref != nil { // digest before semver before tag: Flux's precedence
		version.Digest = ref.Digest
		version.Desired = cmp.Or(ref.SemVer, ref.Tag)
	}
}

func generic(provider string) bool {
	return provider == "" || provider == sourcev1.GenericOCIProvider
}

// digestSuffix is what helm-controller makes of the artifact's digest: twelve hex digits as build metadata.
var digestSuffix = regexp.MustCompile(`\+[0-9a-f]{12}$`)

// undigested cuts the artifact's digest off a chart version, where Flux appends it: not to charts of a HelmChart.
func undigested(source, version string) string {
	if source == helmCharts.name {
		return version
	}
	return digestSuffix.ReplaceAllString(version, "")
}

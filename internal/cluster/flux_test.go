package cluster

import (
	"testing"

	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// seen makes a snapshot of objects.
const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func seen(objects ...client.Object) *snapshot {
	s := newSnapshot()
	for _, o := range objects {
		for _, k := range append(fluxKinds, workloadKinds...) {
			if gvks, _, _ := scheme.ObjectKinds(o); gvks[0].Kind == k.name {
				s.add(k, o)
			}
		}
	}
	return s
}

func TestCondition(t *testing.T) {
	ready := func(status metav1.ConditionStatus, generation int64) metav1.Condition {
		return metav1.Condition{Type: "Ready", Status: status, Reason: "Reason", Message: "Message.", ObservedGeneration: generation}
	}
	stalled := func(generation int64) metav1.Condition {
		return metav1.Condition{Type: "Stalled", Status: "True", ObservedGeneration: generation}
	}
	unseen := gitops.Condition{Status: "Unknown", Reason: "Progressing", Message: "Flux has not looked at its newest state yet"}
	for name, test := range map[string]struct {
		generation, observed int64
		conditions           []metav1.Condition
		want                 gitops.Condition
	}{
		"none":                                  {1, 0, nil, unseen},
		"ready":                                 {2, 2, []metav1.Condition{ready("True", 2)}, gitops.Condition{Status: "True", Reason: "Reason", Message: "Message."}},
		"ready for before":                      {3, 2, []metav1.Condition{ready("True", 2)}, unseen},
		"failed for before, and not seen since": {3, -1, []metav1.Condition{ready("False", 2)}, unseen},
		// helm-controller keeps status.observedGeneration while it retries.
		"failed while retrying": {3, 2, []metav1.Condition{ready("False", 3)}, gitops.Condition{Status: "False", Reason: "Reason", Message: "Message."}},
		"gave up":               {3, 3, []metav1.Condition{ready("False", 3), stalled(3)}, gitops.Condition{Status: "False", Reason: "Reason", Message: "Message.", Stalled: true}},
		"gave up before":        {3, 2, []metav1.Condition{ready("Unknown", 3), stalled(2)}, gitops.Condition{Status: "Unknown", Reason: "Reason", Message: "Message."}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, condition(test.generation, test.observed, false, test.conditions)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBranch(t *testing.T) {
	for want, refs := range map[string][]*sourcev1.GitRepositoryRef{
		"master": {nil, {}},
		"main":   {{Branch: "main"}, {Name: "refs/heads/main"}, {Name: "refs/heads/main", Tag: "v1"}},
		"":       {{Branch: "main", Tag: "v1"}, {SemVer: ">=1"}, {Branch: "main", Commit: "abc"}, {Name: "refs/tags/v1"}, {Name: "refs/heads/main", Commit: "abc"}},
	} {
		for _, ref := range refs {
			if got := branch(ref); got != want {
				t.Errorf("branch of %+v is %q, want %q", ref, got, want)
			}
		}
	}
}

func TestPublicURLHasNoCredentials(t *testing.T) {
	for raw, want := range map[string]struct {
		url    string
		secret bool
	}{
		"https://github.com/acme/fleet":                {"https://github.com/acme/fleet", false},
		"https://user:canary@github.com/acme/fleet":    {"https://github.com/acme/fleet", true},
		"https://canary@github.com/acme/fleet":         {"https://github.com/acme/fleet", true},
		"ssh://git@github.com/acme/fleet":              {"ssh://git@github.com/acme/fleet", false},
		"ssh://git:canary@github.com/acme/fleet":       {"ssh://git@github.com/acme/fleet", true},
		"oci://user:canary@registry.example/a/podinfo": {"oci://registry.example/a/podinfo", true},
		"https://user:canary%zz@github.com/acme/fleet": {"", true},
		"https://charts.example/stable?key=canary":     {"https://charts.example/stable", true},
		"git@github.com:acme/fleet":                    {"git@github.com:acme/fleet", false},
	} {
		if got, secret := publicURL(raw); got != want.url || secret != want.secret {
			t.Errorf("publicURL(%q) = %q, %t; want %q, %t", raw, got, secret, want.url, want.secret)
		}
	}
}

func TestKustomization(t *testing.T) {
	k := &kustomizev1.Kustomization{
		ObjectMeta: metav1.ObjectMeta{Namespace: "flux-system", Name: "apps", Generation: 1},
		Spec: kustomizev1.KustomizationSpec{
			Path: "./apps//prod/", TargetNamespace: "shop", Components: []string{"../c"},
			Images:    []kustomize.Image{{Name: "podinfo", NewTag: "7.0.0"}},
			Patches:   []kustomize.Patch{{Patch: "[]", Target: &kustomize.Selector{Kind: "HelmRelease"}}},
			PostBuild: &kustomizev1.PostBuild{Substitute: map[string]string{"A": "b"}},
			SourceRef: kustomizev1.CrossNamespaceSourceReference{Kind: "GitRepository", Name: "fleet"},
			DependsOn: []kustomizev1.DependencyReference{{Name: "infra"}, {Namespace: "other", Name: "crds"}},
			Suspend:   true,
		},
		Status: kustomizev1.KustomizationStatus{LastAppliedRevision: "main@sha1:a", LastAttemptedRevision: "main@sha1:b"},
	}
	git := &sourcev1.GitRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: "flux-system", Name: "fleet", Generation: 1},
		Spec:       sourcev1.GitRepositorySpec{URL: "https://canary@github.com/acme/fleet", Reference: &sourcev1.GitRepositoryRef{Branch: "main"}},
		Status: sourcev1.GitRepositoryStatus{
			ObservedGeneration: 1, Artifact: &meta.Artifact{Revision: "main@sha1:b"},
			Conditions: []metav1.Condition{{Type: "Ready", Status: "True", Reason: "Succeeded", ObservedGeneration: 1}},
		},
	}
	unseen := gitops.Condition{Status: "Unknown", Reason: "Progressing", Message: "Flux has not looked at its newest state yet", Suspended: true}
	want := gitops.Kustomization{
		Namespace: "flux-system", Name: "apps", Path: "apps/prod", TargetNamespace: "shop", Components: []string{"../c"},
		DependsOn:    []gitops.Object{{Kind: "Kustomization", Namespace: "flux-system", Name: "infra"}, {Kind: "Kustomization", Namespace: "other", Name: "crds"}},
		Images:       []map[string]any{{"name": "podinfo", "newTag": "7.0.0"}},
		Patches:      []map[string]any{{"patch": "[]", "target": map[string]any{"kind": "HelmRelease"}}},
		Substitution: &gitops.Substitution{Values: map[string]string{"A": "b"}}, Applied: "main@sha1:a", Attempted: "main@sha1:b", Condition: unseen,
		Source: gitops.Source{
			Object: gitops.Object{Kind: "GitRepository", Namespace: "flux-system", Name: "fleet"},
			URL:    "https://github.com/acme/fleet", Branch: "main", Revision: "main@sha1:b",
			Condition: gitops.Condition{Status: "True", Reason: "Succeeded"},
		},
	}
	if diff := cmp.Diff([]gitops.Kustomization{want}, seen(k, git).kustomizations()); diff != "" {
		t.Error(diff)
	}
	for path, want := range map[string]string{"": ".", "./": ".", "/": ".", "../../etc": "etc", "apps": "apps", "/apps/": "apps"} {
		k.Spec.Path = path
		if got := seen().kustomization(k).Path; got != want {
			t.Errorf("path %q becomes %q, want %q", path, got, want)
		}
	}
}

func snapshots(entries ...string) helmv2.Snapshots {
	var all helmv2.Snapshots
	for i := 0; i < len(entries); i += 2 {
		all = append(all, &helmv2.Snapshot{Version: len(entries) - i, ChartName: "podinfo", ChartVersion: entries[i], Status: entries[i+1]})
	}
	return all
}

func TestReleaseOfAChartRepository(t *testing.T) {
	r := &helmv2.HelmRelease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "podinfo"},
		Spec: helmv2.HelmReleaseSpec{Chart: &helmv2.HelmChartTemplate{Spec: helmv2.HelmChartTemplateSpec{
			Chart: "podinfo", Version: "7.0.0", SourceRef: helmv2.CrossNamespaceObjectReference{Kind: "HelmRepository", Name: "charts", Namespace: "flux-system"},
		}}},
		Status: helmv2.HelmReleaseStatus{
			HelmChart: "flux-system/shop-podinfo", LastAttemptedRevision: "7.0.0",
			History: snapshots("7.0.0", "failed", "6.5.3+0123456789ab", "deployed", "6.5.2", "superseded"),
		},
	}
	chart := &sourcev1.HelmChart{
		ObjectMeta: metav1.ObjectMeta{Namespace: "flux-system", Name: "shop-podinfo", Generation: 2},
		Spec:       sourcev1.HelmChartSpec{Chart: "podinfo", Version: "6.5.3", SourceRef: sourcev1.LocalHelmChartSourceReference{Kind: "HelmRepository", Name: "charts"}},
		Status: sourcev1.HelmChartStatus{
			ObservedGeneration: 2, Artifact: &meta.Artifact{Revision: "6.5.3"},
			Conditions: []metav1.Condition{{Type: "Ready", Status: "False", Reason: "ChartPullFailed", Message: "no such version", ObservedGeneration: 2}},
		},
	}
	repository := &sourcev1.HelmRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: "flux-system", Name: "charts"},
		Spec:       sourcev1.HelmRepositorySpec{URL: "https://charts.example/stable", SecretRef: &meta.LocalObjectReference{Name: "login"}},
	}
	release, version := seen(r, chart, repository).release(r)
	wantVersion := gitops.Version{
		Kind: gitops.ChartVersion, Name: "podinfo", Desired: "7.0.0", Object: gitops.Object{Kind: "HelmRelease", Namespace: "shop", Name: "podinfo"},
		Value: "6.5.3+0123456789ab", // build metadata of the chart's own: no digest is appended here
	}
	if diff := cmp.Diff(wantVersion, version); diff != "" {
		t.Error(diff)
	}
	want := &gitops.HelmRelease{
		Attempted: "7.0.0",
		History:   []gitops.HelmDeployment{{Version: "7.0.0", Status: "failed"}, {Version: "6.5.3+0123456789ab", Status: "deployed"}, {Version: "6.5.2", Status: "superseded"}},
		Chart: gitops.Chart{
			Name: "podinfo", Source: gitops.Object{Kind: "HelmRepository", Namespace: "flux-system", Name: "charts"},
			URL: "https://charts.example/stable", Private: true, Version: "6.5.3",
			Condition: gitops.Condition{Status: "False", Reason: "ChartPullFailed", Message: "no such version"},
		},
		Condition: gitops.Condition{Status: "Unknown", Reason: "Progressing", Message: "Flux has not looked at its newest state yet"},
	}
	if diff := cmp.Diff(want, release); diff != "" {
		t.Error(diff)
	}

	for desired, want := range map[string]string{"*": "", "": "", "6.x": "6.x"} {
		r.Spec.Chart.Spec.Version = desired
		if _, version := seen(r).release(r); version.Desired != want {
			t.Errorf("version %q is desired as %q, want %q", desired, version.Desired, want)
		}
	}
	r.Status.History = snapshots("7.0.0", "failed")
	if _, version := seen(r).release(r); version.Value != "" {
		t.Errorf("%q runs, although the only release failed", version.Value)
	}
}

func TestReleaseOfAnOCIRepository(t *testing.T) {
	r := &helmv2.HelmRelease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec:       helmv2.HelmReleaseSpec{ChartRef: &helmv2.CrossNamespaceSourceReference{Kind: "OCIRepository", Name: "podinfo"}},
		Status: helmv2.HelmReleaseStatus{
			LastAttemptedRevision: "16.5.3+0123456789ab",
			History:               snapshots("16.5.3+0123456789ab", "deployed", "6.5.3+cdefcdefcdef", "superseded", "6.5.2+build", "superseded"),
		},
	}
	oci := &sourcev1.OCIRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "podinfo"},
		Spec:       sourcev1.OCIRepositorySpec{URL: "oci://localhost:5000/charts/podinfo", Insecure: true, Reference: &sourcev1.OCIRepositoryRef{Tag: "16.5.3"}},
		Status: sourcev1.OCIRepositoryStatus{
			Artifact:   &meta.Artifact{Revision: "16.5.3@" + digest},
			Conditions: []metav1.Condition{{Type: "Ready", Status: "True", Reason: "Succeeded"}},
		},
	}
	release, version := seen(r, oci).release(r)
	object := gitops.Object{Kind: "OCIRepository", Namespace: "shop", Name: "podinfo"}
	if diff := cmp.Diff(gitops.Version{Kind: gitops.ChartVersion, Name: "podinfo", Value: "16.5.3", Desired: "16.5.3", Object: object}, version); diff != "" {
		t.Error(diff)
	}
	wantChart := gitops.Chart{
		Name: "podinfo", Source: object, URL: "oci://localhost:5000/charts/podinfo", Insecure: true, Version: "16.5.3",
		Condition: gitops.Condition{Status: "True", Reason: "Succeeded"},
	}
	if diff := cmp.Diff(wantChart, release.Chart); diff != "" {
		t.Error(diff)
	}
	wantHistory := []gitops.HelmDeployment{{Version: "16.5.3", Status: "deployed"}, {Version: "6.5.3", Status: "superseded"}, {Version: "6.5.2+build", Status: "superseded"}}
	if diff := cmp.Diff(wantHistory, release.History); diff != "" {
		t.Error(diff)
	}
	if release.Attempted != "16.5.3" {
		t.Errorf("attempted %q, want 16.5.3", release.Attempted)
	}

	oci.Spec.Reference = &sourcev1.OCIRepositoryRef{Tag: "1.0.0", SemVer: ">=6", Digest: digest}
	oci.Spec.Provider = "aws"
	release, version = seen(r, oci).release(r)
	if version.Desired != ">=6" || version.Digest != digest || !release.Chart.Private {
		t.Errorf("got desired %q, digest %q, private %t; want >=6, the digest and true", version.Desired, version.Digest, release.Chart.Private)
	}
}

func TestReleaseOfAHelmChart(t *testing.T) {
	r := &helmv2.HelmRelease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec:       helmv2.HelmReleaseSpec{ChartRef: &helmv2.CrossNamespaceSourceReference{Kind: "HelmChart", Name: "podinfo", Namespace: "charts"}},
		Status:     helmv2.HelmReleaseStatus{History: snapshots("6.5.3", "deployed")},
	}
	chart := &sourcev1.HelmChart{
		ObjectMeta: metav1.ObjectMeta{Namespace: "charts", Name: "podinfo"},
		Spec:       sourcev1.HelmChartSpec{Chart: "./charts/podinfo", Version: "6.x", SourceRef: sourcev1.LocalHelmChartSourceReference{Kind: "GitRepository", Name: "fleet"}},
	}
	release, version := seen(r, chart).release(r)
	want := gitops.Version{Kind: gitops.ChartVersion, Name: "podinfo", Value: "6.5.3", Desired: "6.x", Object: gitops.Object{Kind: "HelmChart", Namespace: "charts", Name: "podinfo"}}
	if diff := cmp.Diff(want, version); diff != "" {
		t.Error(diff)
	}
	if want := (gitops.Object{Kind: "GitRepository", Namespace: "charts", Name: "fleet"}); release.Chart.Source != want {
		t.Errorf("source is %s, want %s", release.Chart.Source, want)
	}
}

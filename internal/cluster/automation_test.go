package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// object reads a YAML document of a version.
func object(t *testing.T, version, document string) client.Object {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(document), &o.Object); err != nil {
		t.Fatal(err)
	}
	o.SetAPIVersion("image.toolkit.fluxcd.io/" + version)
	return o
}

// serving answers lists of image automation in the given versions alone.
func serving(versions ...string) interceptor.Funcs {
	return interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
		if kind := list.GetObjectKind().GroupVersionKind(); kind.Group == imageGroup && !slices.Contains(versions, kind.Version) {
			return &apimeta.NoKindMatchError{GroupKind: kind.GroupKind(), SearchedVersions: []string{kind.Version}}
		}
		return c.List(ctx, list, options...)
	}}
}

func TestAutomationsInEachVersion(t *testing.T) {
	git := &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: "flux-system", Name: "fleet"},
		Spec: sourcev1.GitRepositorySpec{URL: "https://github.com/acme/fleet", Reference: &sourcev1.GitRepositoryRef{Branch: "main"}}}
	for version, latest := range map[string]string{
		"v1":      "latestRef: {name: 'registry:5000/podinfo', tag: 7.0.0}",
		"v1beta2": "latestRef: {name: 'registry:5000/podinfo', tag: 7.0.0}, latestImage: 'registry:5000/podinfo:7.0.0'",
		"v1beta1": "latestImage: 'registry:5000/podinfo:7.0.0'",
	} {
		t.Run(version, func(t *testing.T) {
			policy := func(namespace, name, labels string) client.Object {
				return object(t, version, fmt.Sprintf("kind: ImagePolicy\nmetadata: {namespace: %s, name: %s, labels: {%s}}\nstatus: {%s}", namespace, name, labels, latest))
			}
			update := func(name, spec string) client.Object {
				return object(t, version, fmt.Sprintf("kind: ImageUpdateAutomation\nmetadata: {namespace: flux-system, name: %s}\nspec: {sourceRef: {kind: GitRepository, name: fleet}, %s}", name, spec))
			}
			f, _ := faked(t, serving(version), git,
				policy("flux-system", "one", "team: a"), policy("flux-system", "two", ""), policy("other", "three", "team: a"),
				update("all", "interval: 1m"), update("narrow", "update: {path: ./apps//prod/}, policySelector: {matchLabels: {team: a}}, suspend: true"),
				update("pushing", "update: {path: ./}, git: {checkout: {ref: {branch: main}}, push: {branch: updates}}"),
				update("refspec", "git: {push: {refspec: 'refs/heads/main:refs/heads/auto'}}"),
				update("zz-bad", "policySelector: {matchExpressions: [{key: a, operator: Nonsense}]}"))
			got, err := f.Automations(t.Context(), "prod")
			if err != nil {
				t.Fatal(err)
			}
			lines := []string{}
			for _, a := range got {
				line := fmt.Sprintf("%s %s %s %s", a.Name, a.Branch, a.Path, a.Source.URL)
				if a.Suspended {
					line += " suspended"
				}
				for _, p := range a.Policies {
					line += fmt.Sprintf(" %s=%s:%s", p.Name, p.Image, p.Tag)
				}
				lines = append(lines, line)
			}
			const one, two = " one=registry:5000/podinfo:7.0.0", " two=registry:5000/podinfo:7.0.0"
			if diff := cmp.Diff([]string{
				"all main . https://github.com/acme/fleet" + one + two,
				"narrow main apps/prod https://github.com/acme/fleet suspended" + one,
				"pushing updates . https://github.com/acme/fleet" + one + two,
				"refspec auto . https://github.com/acme/fleet" + one + two,
			}, lines); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestClustersWithoutImageAutomation(t *testing.T) {
	f, _ := faked(t, serving())
	if got, err := f.Automations(t.Context(), "prod"); err != nil || len(got) > 0 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestAutomationsThatMayNotBeListed(t *testing.T) {
	f, _ := faked(t, interceptor.Funcs{List: func(_ context.Context, _ client.WithWatch, list client.ObjectList, _ ...client.ListOption) error {
		return apierrors.NewForbidden(schema.GroupResource{Group: imageGroup, Resource: "imageupdateautomations"}, "", nil)
	}})
	_, err := f.Automations(t.Context(), "prod")
	if r := refused(t, err, gitops.Denied); !strings.Contains(r.Reason, "ferry may not list imageupdateautomations") {
		t.Errorf("%q", r.Reason)
	}
}

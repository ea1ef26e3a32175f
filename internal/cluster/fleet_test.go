package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/operation"
	"github.com/ferry-chatops/ferry/internal/promotion"
)

var (
	_ operation.Fleet   = (*Fleet)(nil)
	_ promotion.Cluster = (*Fleet)(nil)
)

// kubeconfig makes one with a context home for the server, and user's fields. It trusts any certificate if there is a
// token, since tokens are sent over TLS alone.
func kubeconfig(server, user string) []byte {
	return fmt.Appendf(nil, `{"apiVersion": "v1", "kind": "Config", "current-context": "home",
		"contexts": [{"name": "home", "context": {"cluster": "c", "user": "u"}}],
		"clusters": [{"name": "c", "cluster": {"server": %q, "insecure-skip-tls-verify": %t}}],
		"users": [{"name": "u", "user": {%s}}]}`, server, strings.Contains(user, "token"), user)
}

// clustered makes one with fields of its cluster, such as people put into a Secret, and a token.
func clustered(server, cluster string) []byte {
	fields := strings.TrimSuffix(fmt.Sprintf(`"server": %q, %s`, server, cluster), ", ")
	return fmt.Appendf(nil, `{"apiVersion": "v1", "kind": "Config", "current-context": "c",
		"contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
		"clusters": [{"name": "c", "cluster": {%s}}],
		"users": [{"name": "u", "user": {"token": "t"}}]}`, fields)
}

func newFleet(t *testing.T, home []byte, environments ...Environment) *Fleet {
	t.Helper()
	f, err := New(home, environments)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// faked makes a Fleet of one environment prod, whose cluster holds objects and whose requests pass through funcs.
func faked(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) (*Fleet, client.Client) {
	t.Helper()
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(funcs).Build()
	f := newFleet(t, kubeconfig("http://127.0.0.1:1", ""), Environment{Name: "prod"})
	f.open = func(*rest.Config) (client.Client, error) { return c, nil }
	return f, c
}

// refused returns err as a refusal of code, or fails.
func refused(t *testing.T, err error, code gitops.Code) gitops.Refusal {
	t.Helper()
	var r *gitops.Refusal
	if !errors.As(err, &r) || r.Code != code {
		t.Fatalf("got %v, want a refusal of code %s", err, code)
	}
	return *r
}

func TestNoKubeconfigIsToldWithTheBlockToAdd(t *testing.T) {
	_, err := New(nil, nil)
	r := refused(t, err, gitops.Config)
	if !strings.Contains(r.Snippet, "rbac:") {
		t.Errorf("%q lacks the rbac block", r.Snippet)
	}
}

func TestApplicationsOfACluster(t *testing.T) {
	f, _ := faked(t, interceptor.Funcs{}, gitRepository(), kustomization("apps"), helmRelease("shop", "podinfo"),
		deployment("shop", "podinfo-web", byRelease("shop", "podinfo"), "podinfo:6.5.3"), deployment("shop", "api", byKustomization("apps"), "api:2"))
	apps, err := f.Applications(t.Context(), "prod")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"Deployment/shop/api Ready api=2 by apps from https://github.com/acme/fleet with api",
		"HelmRelease/shop/podinfo Ready podinfo=6.5.3 by apps from https://github.com/acme/fleet with podinfo-web",
	}
	if diff := cmp.Diff(want, summary(apps)); diff != "" {
		t.Error(diff)
	}
	for _, listed := range apps { // looked at closely, it is the same
		one, err := f.Application(t.Context(), listed.Key)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(listed, one); diff != "" {
			t.Errorf("%s: %s", listed.Key, diff)
		}
	}
}

func TestEveryListIsOneRequest(t *testing.T) {
	var mu sync.Mutex
	lists := map[string]int{}
	count := interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
		applied := (&client.ListOptions{}).ApplyOptions(options)
		mu.Lock()
		lists[fmt.Sprintf("%T %s %s", list, applied.Namespace, applied.AsListOptions().ResourceVersion)]++
		mu.Unlock()
		return c.List(ctx, list, options...)
	}}
	f, _ := faked(t, count)
	f.environments[0].Namespaces = []string{"a", "b"}
	if _, err := f.Applications(t.Context(), "prod"); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{}
	for _, k := range []string{"v1.Deployment", "v1.StatefulSet", "v1.DaemonSet"} {
		want["*"+k+"List a 0"], want["*"+k+"List b 0"] = 1, 1
	}
	for _, k := range []string{"v1.Kustomization", "v2.HelmRelease", "v1.GitRepository", "v1.OCIRepository", "v1.HelmRepository", "v1.HelmChart"} {
		want["*"+k+"List  0"] = 1
	}
	if diff := cmp.Diff(want, lists); diff != "" {
		t.Error(diff)
	}
}

func TestApplicationThatIsGone(t *testing.T) {
	f, _ := faked(t, interceptor.Funcs{}, deployment("shop", "unmanaged", nil, "x:1"))
	for _, key := range []gitops.Key{
		{Environment: "prod", Namespace: "shop", Kind: "HelmRelease", Name: "podinfo"},
		{Environment: "prod", Namespace: "shop", Kind: "Deployment", Name: "podinfo"},
		{Environment: "prod", Namespace: "shop", Kind: "Deployment", Name: "unmanaged"},
		{Environment: "prod", Namespace: "shop", Kind: "Secret", Name: "podinfo"},
		{Environment: "prod-eu", Namespace: "shop", Kind: "Deployment", Name: "podinfo"},
	} {
		_, err := f.Application(t.Context(), key)
		refused(t, err, gitops.NotFound)
	}
}

// TestProblemsAreThoseOfTheNewestReplicaSet: pods of older templates are going anyway.
func TestProblemsAreThoseOfTheNewestReplicaSet(t *testing.T) {
	d := deployment("shop", "web", byKustomization("apps"), "web:bad")
	d.Status.UpdatedReplicas, d.Status.AvailableReplicas = 0, 0
	yes := true
	set := func(name, revision string) *appsv1.ReplicaSet {
		return &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, UID: types.UID("uid-of-" + name), Labels: map[string]string{"app": "web"},
			Annotations:     map[string]string{"deployment.kubernetes.io/revision": revision},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: "web", UID: d.UID, Controller: &yes}},
		}}
	}
	pod := func(name, owner, reason string) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "shop", Name: name, Labels: map[string]string{"app": "web"},
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: owner, UID: types.UID("uid-of-" + owner), Controller: &yes}},
			},
			Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}}}},
		}
	}
	f, _ := faked(t, interceptor.Funcs{}, d, set("web-9", "9"), set("web-10", "10"),
		pod("web-9-x", "web-9", "CrashLoopBackOff"), pod("web-10-x", "web-10", "ImagePullBackOff"))
	app, err := f.Application(t.Context(), gitops.Key{Environment: "prod", Namespace: "shop", Kind: "Deployment", Name: "web"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"web-10-x: ImagePullBackOff"}, app.Workloads[0].Problems); diff != "" {
		t.Error(diff)
	}
}

// TestReconcileAsksInTheOrderOfTheChain, with the chart repository's index before what asks for a version from it.
func TestReconcileAsksInTheOrderOfTheChain(t *testing.T) {
	var patched []string
	record := interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
		body, err := patch.Data(o)
		if err != nil {
			return err
		}
		patched = append(patched, fmt.Sprintf("%T %s %s %s", o, client.ObjectKeyFromObject(o), patch.Type(), body))
		return c.Patch(ctx, o, patch, options...)
	}}
	repository := &sourcev1.HelmRepository{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "charts"}, Spec: sourcev1.HelmRepositorySpec{URL: "https://charts.example"}}
	f, c := faked(t, record, gitRepository(), kustomization("apps"), helmRelease("shop", "podinfo"), repository)
	f.now = func() time.Time { return time.Date(2026, 11, 20, 13, 0, 0, 1, time.FixedZone("CET", 3600)) }
	app, err := f.Application(t.Context(), gitops.Key{Environment: "prod", Namespace: "shop", Kind: "HelmRelease", Name: "podinfo"})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Reconcile(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	body := ` application/merge-patch+json {"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":"2026-11-20T12:00:00.000000001Z"}}}`
	want := []string{"*v1.GitRepository flux-system/fleet" + body, "*v1.HelmRepository shop/charts" + body, "*v1.Kustomization flux-system/apps" + body, "*v2.HelmRelease shop/podinfo" + body}
	if diff := cmp.Diff(want, patched); diff != "" {
		t.Error(diff)
	}
	patched = nil
	app.Helm.Chart.URL = "oci://registry.example/charts" // without an index
	if err := f.Reconcile(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Delete(want, 1, 2), patched); diff != "" {
		t.Error(diff)
	}
	for _, o := range []client.Object{gitRepository(), kustomization("apps"), helmRelease("shop", "podinfo")} {
		if err := c.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Reconcile(t.Context(), app); err != nil {
		t.Errorf("reconcile what is gone: %v", err)
	}
}

func TestErrorsOfRequests(t *testing.T) {
	resource := schema.GroupResource{Group: "apps", Resource: "deployments"}
	for name, test := range map[string]struct {
		err    error
		code   gitops.Code
		reason string
	}{
		"forbidden":    {apierrors.NewForbidden(resource, "", errors.New("user canary")), gitops.Denied, "ferry may not list deployments in all namespaces (prod). Grant it with a role, or narrow the environment's namespaces."},
		"unauthorized": {apierrors.NewUnauthorized("canary"), gitops.Denied, "prod does not accept the credentials of its kubeconfig."},
		"unavailable":  {apierrors.NewServiceUnavailable("canary"), gitops.Unreachable, "prod does not answer: its API server says ServiceUnavailable."},
		"too many":     {apierrors.NewTooManyRequests("canary", 1), gitops.Unreachable, "prod does not answer: its API server says TooManyRequests."},
		"deadline":     {context.DeadlineExceeded, gitops.Unreachable, "prod does not answer: no response in time."},
		"odd gateway":  {&apierrors.StatusError{ErrStatus: metav1.Status{Code: 502, Reason: "BadGateway", Message: "canary"}}, gitops.Unreachable, "prod does not answer: its API server says BadGateway."},
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := faked(t, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
				if _, ok := list.(*appsv1.DeploymentList); ok {
					return test.err
				}
				return c.List(ctx, list, options...)
			}})
			_, err := f.Applications(t.Context(), "prod")
			if r := refused(t, err, test.code); r.Reason != test.reason {
				t.Errorf("reason %q, want %q", r.Reason, test.reason)
			}
		})
	}
	t.Run("patch forbidden", func(t *testing.T) {
		f, _ := faked(t, interceptor.Funcs{Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
			return apierrors.NewForbidden(resource, "", nil)
		}}, gitRepository())
		err := f.Reconcile(t.Context(), gitops.Application{Key: gitops.Key{Environment: "prod"}, Owner: &gitops.Kustomization{
			Source: gitops.Source{Object: gitops.Object{Kind: "GitRepository", Namespace: "flux-system", Name: "fleet"}},
		}})
		if r := refused(t, err, gitops.Denied); !strings.HasPrefix(r.Reason, "ferry may not patch gitrepositories in namespace flux-system (prod)") {
			t.Errorf("reason %q does not say what is forbidden where", r.Reason)
		}
	})
	t.Run("patch of the chart repository forbidden", func(t *testing.T) {
		var patched []string
		f, _ := faked(t, interceptor.Funcs{Patch: func(_ context.Context, _ client.WithWatch, o client.Object, _ client.Patch, _ ...client.PatchOption) error {
			if _, ok := o.(*sourcev1.HelmRepository); ok {
				return apierrors.NewForbidden(resource, "", nil)
			}
			patched = append(patched, fmt.Sprintf("%T", o))
			return nil
		}}, gitRepository(), kustomization("apps"), helmRelease("shop", "podinfo"))
		app, err := f.Application(t.Context(), gitops.Key{Environment: "prod", Namespace: "shop", Kind: "HelmRelease", Name: "podinfo"})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Reconcile(t.Context(), app); err != nil {
			t.Errorf("got %v; the rest is allowed", err)
		}
		if diff := cmp.Diff([]string{"*v1.GitRepository", "*v1.Kustomization", "*v2.HelmRelease"}, patched); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("unexpected", func(t *testing.T) {
		f, _ := faked(t, interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			return errors.New("boom")
		}})
		var r *gitops.Refusal
		if _, err := f.Kustomizations(t.Context(), "prod"); err == nil || errors.As(err, &r) {
			t.Errorf("got %v, want an error that is no refusal", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f, _ := faked(t, interceptor.Funcs{List: func(ctx context.Context, _ client.WithWatch, _ client.ObjectList, _ ...client.ListOption) error {
			cancel()
			<-ctx.Done()
			return ctx.Err()
		}})
		if _, err := f.Applications(ctx, "prod"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	})
	t.Run("no Flux", func(t *testing.T) {
		f, _ := faked(t, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if strings.Contains(fmt.Sprintf("%T", list), "Helm") {
				return &apimeta.NoKindMatchError{}
			}
			return c.List(ctx, list, options...)
		}}, deployment("shop", "api", byKustomization("apps"), "api:2"))
		apps, err := f.Applications(t.Context(), "prod")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"Deployment/shop/api Ready api=2 with api"}, summary(apps)); diff != "" {
			t.Error(diff)
		}
	})
}

// TestTheRealClient speaks HTTP to a stand-in API server without Flux, and with one Deployment.
func TestTheRealClient(t *testing.T) {
	var mu sync.Mutex
	var paths []string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		paths = append(paths, r.URL.Path)
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("Impersonate-User") != "ferry" || !slices.Equal(r.Header.Values("Impersonate-Group"), []string{"deployers"}) || r.Header.Get("Authorization") != "Bearer canary" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		switch r.URL.Path {
		case "/apis/apps/v1/deployments":
			d := *deployment("shop", "api", byKustomization("apps"), "api:2")
			_ = json.NewEncoder(w).Encode(appsv1.DeploymentList{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "DeploymentList"}, Items: []appsv1.Deployment{d}})
		case "/apis/apps/v1/statefulsets":
			fmt.Fprint(w, `{"apiVersion": "apps/v1", "kind": "StatefulSetList", "items": []}`)
		case "/apis/apps/v1/daemonsets":
			fmt.Fprint(w, `{"apiVersion": "apps/v1", "kind": "DaemonSetList", "items": []}`)
		case "/api/v1/namespaces/kube-system":
			fmt.Fprint(w, `{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system", "uid": "1-2-3"}}`)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	home := kubeconfig(server.URL, `"token": "canary", "as": "ferry", "as-groups": ["deployers"]`)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	write := func(content []byte) {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(kubeconfig(server.URL, `"token": "canary"`))
	f := newFleet(t, home, Environment{Name: "prod"}, Environment{Name: "stage", Cluster: Access{KubeconfigFile: file}, Flux: Access{KubeconfigFile: file}})
	if diff := cmp.Diff([]string{"prod", "stage"}, f.Environments()); diff != "" {
		t.Error(diff)
	}
	for _, environment := range f.Environments() {
		apps, err := f.Applications(t.Context(), environment)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"Deployment/shop/api Ready api=2 with api"}, summary(apps)); diff != "" {
			t.Errorf("%s: %s", environment, diff)
		}
	}
	if len(paths) != 20 { // without Flux, one kind is asked for in two versions
		t.Errorf("%d requests for two environments, want 10 each: %q", len(paths), paths)
	}
	if uid, err := f.Home(t.Context()); err != nil || uid != "1-2-3" {
		t.Errorf("home is %q, %v; want 1-2-3", uid, err)
	}

	write(kubeconfig(server.URL, `"token": "stale"`)) // read again for the next command
	_, err := f.Applications(t.Context(), "stage")
	refused(t, err, gitops.Denied)

	server.Close()
	_, err = f.Applications(t.Context(), "prod")
	if r := refused(t, err, gitops.Unreachable); r.Reason != "prod does not answer: connection refused." {
		t.Errorf("reason %q", r.Reason)
	}
	_, err = f.Home(t.Context())
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("error %q shows a token", err)
	}
}

func TestASilentClusterEndsWithTheDeadline(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer server.Close()
	f := newFleet(t, kubeconfig(server.URL, ""), Environment{Name: "prod"})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := f.Applications(ctx, "prod")
	if r := refused(t, err, gitops.Unreachable); r.Reason != "prod does not answer: no response in time." {
		t.Errorf("reason %q", r.Reason)
	}
}

func TestAnUntrustedClusterIsTold(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	defer server.Close()
	f := newFleet(t, kubeconfig(server.URL, ""), Environment{Name: "prod"})
	_, err := f.Applications(t.Context(), "prod")
	if r := refused(t, err, gitops.Unreachable); r.Reason != "prod does not answer: its certificate is not trusted." {
		t.Errorf("reason %q", r.Reason)
	}
}

func TestKubeconfigsThatAreRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kubeconfig")
	inFile, inSecret := Access{KubeconfigFile: file}, Access{Secret: &SecretRef{Namespace: "ferry", Name: "prod", Key: "kubeconfig"}}
	server := "https://127.0.0.1:1"
	for name, test := range map[string]struct {
		access  Access
		content []byte
		want    string
	}{
		"exec":               {inFile, kubeconfig(server, `"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "canary"}`), "runs no credential programs"},
		"auth provider":      {inFile, kubeconfig(server, `"auth-provider": {"name": "gcp"}`), "runs no credential programs"},
		"exec in Secret":     {inSecret, kubeconfig(server, `"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "canary"}`), "runs no credential programs"},
		"proxy in Secret":    {inSecret, clustered(server, `"proxy-url": "http://canary:1"`), "names a proxy-url"},
		"insecure in Secret": {inSecret, clustered(server, `"insecure-skip-tls-verify": true`), "has insecure-skip-tls-verify"},
		"authority file":     {inSecret, clustered(server, `"certificate-authority": "/etc/canary"`), "points to files"},
		"token file":         {inSecret, kubeconfig(server, `"tokenFile": "/var/run/secrets/kubernetes.io/serviceaccount/token"`), "points to files"},
		"not YAML":           {inFile, []byte("token: [canary"), "is not a kubeconfig"},
		"empty":              {inFile, nil, `has no context ""`},
		"context":            {Access{KubeconfigFile: file, Context: "prod-eu"}, kubeconfig(server, ""), `has no context "prod-eu"`},
		"no file":            {Access{KubeconfigFile: file + "-missing"}, nil, "cannot be read"},
		"no Secret":          {Access{Secret: &SecretRef{Namespace: "ferry", Name: "missing", Key: "kubeconfig"}}, nil, "has no such Secret"},
		"no key":             {Access{Secret: &SecretRef{Namespace: "ferry", Name: "prod", Key: "missing"}}, nil, "has no such key"},
		"bad address":        {inFile, kubeconfig("http://%zz", ""), "cannot be used"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(file, test.content, 0o600); err != nil {
				t.Fatal(err)
			}
			home := fake.NewClientBuilder().WithScheme(scheme).WithObjects(&corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: "ferry", Name: "prod"}, Data: map[string][]byte{"kubeconfig": test.content},
			}).Build()
			f := newFleet(t, kubeconfig("http://127.0.0.1:1", ""), Environment{Name: "prod", Cluster: test.access, Flux: test.access})
			f.open = func(config *rest.Config) (client.Client, error) {
				if config.Host == "http://127.0.0.1:1" {
					return home, nil
				}
				return open(config)
			}
			_, err := f.Applications(t.Context(), "prod")
			r := refused(t, err, gitops.Config)
			if !strings.Contains(r.Reason, test.want) {
				t.Errorf("reason %q, want one with %q", r.Reason, test.want)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("error %q shows the content", err)
			}
		})
	}
}

func TestAKubeconfigFromASecretIsUsed(t *testing.T) {
	ref := &SecretRef{Namespace: "ferry", Name: "prod", Key: "kubeconfig"}
	hub := fake.NewClientBuilder().WithScheme(scheme).WithObjects(gitRepository(), kustomization("apps"), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ferry", Name: "prod"}, Data: map[string][]byte{"kubeconfig": clustered("https://prod", "")},
	}).Build()
	remote := fake.NewClientBuilder().WithScheme(scheme).WithObjects(deployment("shop", "api", byKustomization("apps"), "api:2")).Build()
	f := newFleet(t, kubeconfig("http://home", `"as": "ferry"`), Environment{Name: "prod", Cluster: Access{Secret: ref}})
	clients := map[string]client.Client{"http://home": hub, "https://prod": remote}
	var as []string
	f.open = func(config *rest.Config) (client.Client, error) {
		as = append(as, config.Host+" as "+config.Impersonate.UserName)
		return clients[config.Host], nil
	}
	for range 2 { // the second time with the same clients
		apps, err := f.Applications(t.Context(), "prod")
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"Deployment/shop/api Ready api=2 by apps from https://github.com/acme/fleet with api"}
		if diff := cmp.Diff(want, summary(apps)); diff != "" {
			t.Error(diff)
		}
	}
	if diff := cmp.Diff([]string{"http://home as ferry", "https://prod as ferry"}, as); diff != "" {
		t.Error(diff)
	}
}

// TestAsWhom: the user of the home kubeconfig goes along unless an environment is to be itself, and never as another's.
func TestAsWhom(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, kubeconfig("https://prod", `"as": "deployer", "as-groups": ["team"]`), 0o600); err != nil {
		t.Fatal(err)
	}
	host, itself := Access{KubeconfigFile: file}, Access{KubeconfigFile: file, AsItself: true}
	f := newFleet(t, kubeconfig("http://home", `"as": "ferry", "as-groups": ["channel"]`), Environment{Name: "prod", Cluster: host, Flux: host},
		Environment{Name: "same", Cluster: itself, Flux: itself}, Environment{Name: "home", Cluster: Access{AsItself: true}, Flux: Access{AsItself: true}})
	var as []string
	empty := fake.NewClientBuilder().WithScheme(scheme).Build()
	f.open = func(config *rest.Config) (client.Client, error) {
		as = append(as, fmt.Sprintf("%s as %s %s", config.Host, config.Impersonate.UserName, config.Impersonate.Groups))
		return empty, nil
	}
	for _, e := range []string{"prod", "same", "home", "prod", "same"} { // each client is kept for its own identity
		if _, err := f.Applications(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"https://prod as ferry [channel]", "https://prod as deployer [team]", "http://home as ferry [channel]"}
	if diff := cmp.Diff(want, as); diff != "" {
		t.Error(diff)
	}
}

// TestSecret: it is read anew each time, and its errors say what belongs where.
func TestSecret(t *testing.T) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ferry", Name: "github"}, Data: map[string][]byte{"token": []byte("one"), "empty": nil}}
	home := fake.NewClientBuilder().WithScheme(scheme).WithObjects(secret).Build()
	f := newFleet(t, kubeconfig("http://home", ""))
	f.open = func(*rest.Config) (client.Client, error) { return home, nil }
	for _, want := range []string{"one", "two"} {
		secret.Data["token"] = []byte(want)
		if err := home.Update(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Secret(t.Context(), SecretRef{"ferry", "github", "token"}, "ferry's credential for GitHub"); err != nil || string(got) != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	for ref, want := range map[SecretRef]string{
		{"ferry", "github", "empty"}: "ferry's credential for GitHub belongs into key empty of Secret ferry/github in the home cluster, which has no such key",
		{"ferry", "github", "other"}: "which has no such key",
		{"ferry", "other", "token"}:  "belongs into key token of Secret ferry/other in the home cluster, which has no such Secret.",
	} {
		_, err := f.Secret(t.Context(), ref, "ferry's credential for GitHub")
		if r := refused(t, err, gitops.Config); !strings.Contains(r.Reason, want) || strings.Contains(err.Error(), "two") {
			t.Errorf("%v: %v", ref, err)
		}
	}
}

func TestAKubeconfigInAFileMayNameAProxy(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, clustered("https://prod", `"proxy-url": "http://proxy:3128", "insecure-skip-tls-verify": true`), 0o600); err != nil {
		t.Fatal(err)
	}
	access := Access{KubeconfigFile: file}
	f := newFleet(t, kubeconfig("http://home", ""), Environment{Name: "prod", Cluster: access, Flux: access})
	empty := fake.NewClientBuilder().WithScheme(scheme).Build()
	f.open = func(config *rest.Config) (client.Client, error) {
		if config.Proxy == nil || !config.Insecure {
			t.Errorf("proxy set: %v, insecure: %v", config.Proxy != nil, config.Insecure)
		}
		return empty, nil
	}
	if _, err := f.Applications(t.Context(), "prod"); err != nil {
		t.Error(err)
	}
}

// TestListsShareNoOptions: the client writes into what a list's options point to, and lists run at the same time.
func TestListsShareNoOptions(t *testing.T) {
	var mu sync.Mutex
	seen := map[*metav1.ListOptions]bool{}
	lists := 0
	f, _ := faked(t, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
		var all client.ListOptions
		all.ApplyOptions(options)
		mu.Lock()
		defer mu.Unlock()
		lists++
		if all.Raw == nil || all.Raw.ResourceVersion != "0" {
			t.Errorf("%T is not read from memory: %v", list, all.Raw)
		}
		seen[all.Raw] = true
		return c.List(ctx, list, options...)
	}})
	f.environments[0].Namespaces = []string{"shop", "bank"}
	if _, err := f.Applications(t.Context(), "prod"); err != nil {
		t.Fatal(err)
	}
	if lists == 0 || len(seen) != lists {
		t.Errorf("%d lists with %d options", lists, len(seen))
	}
}

func TestNamespacesBoundWhatIsRead(t *testing.T) {
	f, _ := faked(t, interceptor.Funcs{}, gitRepository(), kustomization("apps"), helmRelease("shop", "podinfo"), deployment("bank", "api", byKustomization("apps"), "api:2"))
	f.environments[0].Namespaces, f.environments[0].FluxNamespaces = []string{"shop"}, []string{"shop"}
	apps, err := f.Applications(t.Context(), "prod")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"HelmRelease/shop/podinfo Ready podinfo=6.5.3"}, summary(apps)); diff != "" {
		t.Error(diff)
	}
	one, err := f.Application(t.Context(), apps[0].Key)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(apps[0], one); diff != "" {
		t.Error(diff)
	}
	_, err = f.Application(t.Context(), gitops.Key{Environment: "prod", Namespace: "bank", Kind: "Deployment", Name: "api"})
	refused(t, err, gitops.NotFound)
}

// narrow makes a Fleet whose Flux objects are looked for in namespace shop alone. It names sources in others: a release by
// its template twice, one by an OCIRepository and one by a HelmChart, and the Kustomization.
func narrow(t *testing.T, funcs interceptor.Funcs) *Fleet {
	t.Helper()
	meta := func(namespace, name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: namespace, Name: name}
	}
	release := func(name string) *helmv2.HelmRelease {
		r := helmRelease("shop", name)
		r.Labels[kustomizeNamespace] = "shop"
		r.Spec.Chart.Spec.SourceRef.Namespace = "sources"
		return r
	}
	byOCI, byChart := release("by-oci"), release("by-chart")
	byOCI.Spec = helmv2.HelmReleaseSpec{ChartRef: &helmv2.CrossNamespaceSourceReference{Kind: "OCIRepository", Name: "podinfo", Namespace: "sources"}}
	byChart.Spec = helmv2.HelmReleaseSpec{ChartRef: &helmv2.CrossNamespaceSourceReference{Kind: "HelmChart", Name: "shared", Namespace: "sources"}}
	apps := kustomization("apps")
	apps.Namespace, apps.Spec.SourceRef.Namespace = "shop", "flux-system"
	stranger := kustomization("stranger")
	f, _ := faked(t, funcs, gitRepository(), apps, stranger, release("one"), release("two"), byOCI, byChart,
		&sourcev1.HelmRepository{ObjectMeta: meta("sources", "charts"), Spec: sourcev1.HelmRepositorySpec{URL: "https://charts.example"}},
		&sourcev1.HelmRepository{ObjectMeta: meta("sources", "other"), Spec: sourcev1.HelmRepositorySpec{URL: "https://other.example"}},
		&sourcev1.OCIRepository{ObjectMeta: meta("sources", "podinfo"), Spec: sourcev1.OCIRepositorySpec{URL: "oci://registry.example/podinfo"}},
		&sourcev1.HelmChart{ObjectMeta: meta("sources", "shared"), Spec: sourcev1.HelmChartSpec{Chart: "podinfo", SourceRef: sourcev1.LocalHelmChartSourceReference{Kind: "HelmRepository", Name: "other"}}},
	)
	f.environments[0].FluxNamespaces = []string{"shop"}
	return f
}

// TestSourcesAreFollowedWhereverTheyAre: namespaces bound what is discovered, not what that names.
func TestSourcesAreFollowedWhereverTheyAre(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	f := narrow(t, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, fmt.Sprintf("%T %s", o, key))
		return c.Get(ctx, key, o, options...)
	}})
	apps, err := f.Applications(t.Context(), "prod")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(asked)
	want := []string{
		"*v1.GitRepository flux-system/fleet", "*v1.HelmChart sources/shared", "*v1.HelmChart sources/shop-one", "*v1.HelmChart sources/shop-two",
		"*v1.HelmRepository sources/charts", "*v1.HelmRepository sources/other", "*v1.OCIRepository sources/podinfo",
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("each once: %s", diff)
	}
	charts := map[string]string{}
	for _, app := range apps {
		charts[app.Name] = app.Helm.Chart.URL
		if app.Owner == nil || app.Owner.Source.URL != "https://github.com/acme/fleet" {
			t.Errorf("%s is applied by %+v", app.Name, app.Owner)
		}
		one, err := f.Application(t.Context(), app.Key)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(app, one); diff != "" {
			t.Errorf("%s looked at closely: %s", app.Name, diff)
		}
	}
	wantCharts := map[string]string{"one": "https://charts.example", "two": "https://charts.example", "by-oci": "oci://registry.example/podinfo", "by-chart": "https://other.example"}
	if diff := cmp.Diff(wantCharts, charts); diff != "" {
		t.Error(diff)
	}
	all, err := f.Kustomizations(t.Context(), "prod")
	if err != nil || len(all) != 1 || all[0].Source.URL != "https://github.com/acme/fleet" {
		t.Errorf("Kustomizations: %+v, %v", all, err)
	}
}

func TestSourcesThatMayNotBeRead(t *testing.T) {
	refuse := apierrors.NewForbidden(schema.GroupResource{Resource: "x"}, "", errors.New("user canary"))
	get := func(err error) interceptor.Funcs {
		return interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			if key.Namespace == "sources" || key.Namespace == "flux-system" {
				return err
			}
			return c.Get(ctx, key, o, options...)
		}}
	}
	f := narrow(t, get(refuse))
	apps, err := f.Applications(t.Context(), "prod")
	if err != nil || len(apps) != 4 {
		t.Fatalf("%d applications, %v", len(apps), err)
	}
	unread := func(resource, namespace string) gitops.Condition {
		return gitops.Condition{Status: "Unknown", Reason: "NotRead", Message: fmt.Sprintf("ferry may not get %s in namespace %s", resource, namespace)}
	}
	for _, app := range apps {
		if diff := cmp.Diff(unread("gitrepositories", "flux-system"), app.Owner.Source.Condition); diff != "" {
			t.Errorf("%s: source: %s", app.Name, diff)
		}
		want := unread("helmcharts", "sources")
		if app.Name == "by-oci" {
			want = unread("ocirepositories", "sources")
		}
		if diff := cmp.Diff(want, app.Helm.Chart.Condition); diff != "" {
			t.Errorf("%s: chart: %s", app.Name, diff)
		}
		if one, err := f.Application(t.Context(), app.Key); err != nil || cmp.Diff(app, one) != "" {
			t.Errorf("%s looked at closely: %v %s", app.Name, err, cmp.Diff(app, one))
		}
	}
	_, err = narrow(t, get(context.DeadlineExceeded)).Applications(t.Context(), "prod")
	refused(t, err, gitops.Unreachable)
}

// TestOCIRepositoriesBeforeFlux26: a cluster that has them in v1beta2 alone is read and asked to look again the same.
func TestOCIRepositoriesBeforeFlux26(t *testing.T) {
	gone := apierrors.NewNotFound(schema.GroupResource{}, "")
	older := func(o client.Object) *unstructured.Unstructured {
		u, ok := o.(*unstructured.Unstructured)
		if !ok || u.GroupVersionKind() != olderOCI.WithKind("OCIRepository") {
			return nil
		}
		return u
	}
	source := map[string]any{
		"apiVersion": olderOCI.String(), "kind": "OCIRepository", "metadata": map[string]any{"namespace": "flux-system", "name": "fleet"},
		"spec":   map[string]any{"url": "oci://registry.example/fleet", "interval": "1m", "ref": map[string]any{"tag": "7.0.0"}},
		"status": map[string]any{"artifact": map[string]any{"revision": "7.0.0@sha256:abc", "path": "", "url": "", "lastUpdateTime": "2026-01-01T00:00:00Z", "digest": "sha256:abc"}},
	}
	var patched []string
	k := kustomization("apps")
	k.Spec.SourceRef.Kind = ociRepositories.name
	f, _ := faked(t, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if u, ok := list.(*unstructured.UnstructuredList); ok && u.GroupVersionKind() == olderOCI.WithKind("OCIRepositoryList") {
				u.Items = []unstructured.Unstructured{{Object: source}}
				return nil
			}
			if _, ok := list.(*sourcev1.OCIRepositoryList); ok {
				return gone
			}
			return c.List(ctx, list, options...)
		},
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			if u := older(o); u != nil {
				u.Object = source
				return nil
			}
			if _, ok := o.(*sourcev1.OCIRepository); ok {
				return gone
			}
			return c.Get(ctx, key, o, options...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
			if u := older(o); u != nil {
				patched = append(patched, u.GetNamespace()+"/"+u.GetName())
				return nil
			}
			if _, ok := o.(*sourcev1.OCIRepository); ok {
				return gone
			}
			return c.Patch(ctx, o, patch, options...)
		},
	}, k, deployment("shop", "api", byKustomization("apps"), "api:2"))
	apps, err := f.Applications(t.Context(), "prod")
	if err != nil {
		t.Fatal(err)
	}
	closely, err := f.Application(t.Context(), apps[0].Key)
	if err != nil {
		t.Fatal(err)
	}
	for _, app := range []gitops.Application{apps[0], closely} {
		if s := app.Owner.Source; s.URL != "oci://registry.example/fleet" || s.Revision != "7.0.0@sha256:abc" {
			t.Errorf("source %+v", s)
		}
	}
	if err := f.Reconcile(t.Context(), apps[0]); err != nil || !slices.Equal(patched, []string{"flux-system/fleet"}) {
		t.Errorf("patched %q, %v", patched, err)
	}
}

func TestSoManySourcesAreFollowed(t *testing.T) {
	var mu sync.Mutex
	asked := 0
	objects := []client.Object{}
	for i := range maxFollowed + 10 {
		k := kustomization(fmt.Sprintf("k%03d", i))
		k.Namespace, k.Spec.SourceRef.Namespace, k.Spec.SourceRef.Name = "shop", "elsewhere", fmt.Sprintf("source-%03d", i)
		if i < 3 { // no names that an API server takes, and a kind that ferry does not read
			k.Spec.SourceRef.Name = []string{"..", "a/b", "bucket"}[i]
			k.Spec.SourceRef.Kind = []string{"GitRepository", "GitRepository", "Bucket"}[i]
		}
		objects = append(objects, k)
	}
	f, _ := faked(t, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
		mu.Lock()
		asked++
		mu.Unlock()
		return c.Get(ctx, key, o, options...)
	}}, objects...)
	f.environments[0].FluxNamespaces = []string{"shop"}
	all, err := f.Kustomizations(t.Context(), "prod")
	if err != nil || len(all) != maxFollowed+10 || asked != maxFollowed {
		t.Fatalf("%d Kustomizations, %d requests, %v", len(all), asked, err)
	}
	for i, want := range map[int]string{0: "", 2: "", maxFollowed + 2: "", maxFollowed + 3: "names more than 200 sources", maxFollowed + 9: "names more than 200 sources"} {
		if c := all[i].Source.Condition; c.Status != "Unknown" || !strings.Contains(c.Message, want) || (want == "") != (c.Message == "") {
			t.Errorf("%s: %+v", all[i].Name, c)
		}
	}
}

// TestUseLogger: what the libraries below write goes where the process says, whatever Fleets are made.
func TestUseLogger(t *testing.T) {
	var written bytes.Buffer
	UseLogger(slog.New(slog.NewTextHandler(&written, nil)))
	t.Cleanup(func() { UseLogger(slog.New(slog.DiscardHandler)) })
	newFleet(t, kubeconfig("http://127.0.0.1:1", ""), Environment{Name: "prod"})
	klog.InfoS("canary one")
	ctrllog.Log.Info("canary two")
	for _, want := range []string{"canary one", "canary two"} {
		if !strings.Contains(written.String(), want) {
			t.Errorf("%q is not in %q", want, written.String())
		}
	}
}

func TestAServerThatIsNoAPIServerIsUnreachable(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	f := newFleet(t, kubeconfig(strings.Replace(server.URL, "http://", "https://", 1), ""), Environment{Name: "prod"})
	_, err := f.Applications(t.Context(), "prod")
	if r := refused(t, err, gitops.Unreachable); r.Reason != "prod does not answer: the connection failed." {
		t.Errorf("reason %q", r.Reason)
	}
}

// TestAReleaseIsReadCloselyWithItsChart for each way in which a HelmRelease names its chart: close and in a list alike.
func TestAReleaseIsReadCloselyWithItsChart(t *testing.T) {
	repository := &sourcev1.HelmRepository{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "charts"}, Spec: sourcev1.HelmRepositorySpec{URL: "https://charts.example"}}
	oci := &sourcev1.OCIRepository{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "podinfo"}, Spec: sourcev1.OCIRepositorySpec{URL: "oci://registry.example/podinfo"}}
	chart := &sourcev1.HelmChart{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "shared"},
		Spec:       sourcev1.HelmChartSpec{Chart: "podinfo", SourceRef: sourcev1.LocalHelmChartSourceReference{Kind: "HelmRepository", Name: "charts"}},
	}
	byChart, byOCI := helmRelease("shop", "by-chart"), helmRelease("shop", "by-oci")
	byChart.Spec = helmv2.HelmReleaseSpec{ChartRef: &helmv2.CrossNamespaceSourceReference{Kind: "HelmChart", Name: "shared"}}
	byOCI.Spec = helmv2.HelmReleaseSpec{ChartRef: &helmv2.CrossNamespaceSourceReference{Kind: "OCIRepository", Name: "podinfo"}}
	f, _ := faked(t, interceptor.Funcs{}, repository, oci, chart, helmRelease("shop", "by-template"), byChart, byOCI)
	apps, err := f.Applications(t.Context(), "prod")
	if err != nil {
		t.Fatal(err)
	}
	urls := map[string]string{}
	for _, app := range apps {
		one, err := f.Application(t.Context(), app.Key)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(app, one); diff != "" {
			t.Errorf("%s: %s", app.Key, diff)
		}
		urls[app.Name] = one.Helm.Chart.URL
	}
	want := map[string]string{"by-template": "https://charts.example", "by-chart": "https://charts.example", "by-oci": "oci://registry.example/podinfo"}
	if diff := cmp.Diff(want, urls); diff != "" {
		t.Error(diff)
	}
}

// TestProblemsAreThoseOfTheUpdateRevision, where there are no ReplicaSets.
func TestProblemsAreThoseOfTheUpdateRevision(t *testing.T) {
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}}
	set := &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db", UID: "set", Generation: 2, Labels: byKustomization("apps")},
		Spec:       appsv1.StatefulSetSpec{Selector: selector},
		Status:     appsv1.StatefulSetStatus{UpdateRevision: "db-2"},
	}
	agents := &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "agent", UID: "daemons", Generation: 2, Labels: byKustomization("apps"),
			Annotations: map[string]string{"deprecated.daemonset.template.generation": "7"},
		},
		Spec: appsv1.DaemonSetSpec{Selector: selector},
	}
	yes := true
	pod := func(name string, owner types.UID, label, value string) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "shop", Name: name, Labels: map[string]string{"app": "db", label: value},
				OwnerReferences: []metav1.OwnerReference{{UID: owner, Controller: &yes}},
			},
			Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull"}}}}},
		}
	}
	f, _ := faked(t, interceptor.Funcs{}, set, agents,
		pod("db-0", "set", "controller-revision-hash", "db-1"), pod("db-1", "set", "controller-revision-hash", "db-2"),
		pod("agent-x", "daemons", "pod-template-generation", "6"), pod("agent-y", "daemons", "pod-template-generation", "7"))
	for key, want := range map[gitops.Key]string{
		{Environment: "prod", Namespace: "shop", Kind: "StatefulSet", Name: "db"}:  "db-1: ErrImagePull",
		{Environment: "prod", Namespace: "shop", Kind: "DaemonSet", Name: "agent"}: "agent-y: ErrImagePull",
	} {
		app, err := f.Application(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{want}, app.Workloads[0].Problems); diff != "" {
			t.Errorf("%s: %s", key, diff)
		}
	}
}

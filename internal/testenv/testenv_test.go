package testenv_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	"github.com/fluxcd/pkg/apis/meta"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ferry-chatops/ferry/internal/testenv"
	"github.com/ferry-chatops/ferry/internal/testenv/charts"
)

// startLimit is what two clusters with Flux may take on two cores.
const startLimit = 30 * time.Second

func TestClusters(t *testing.T) {
	begin := time.Now()
	env := testenv.Need(t, testenv.Options{Clusters: []string{"stage", "prod"}, Flux: true})
	took := time.Since(begin)
	t.Logf("two clusters with Flux are ready after %s", took.Round(time.Millisecond))
	if took > startLimit {
		t.Errorf("that is more than %s", startLimit)
	}

	t.Run("charts reach a cluster over HTTP and OCI", func(t *testing.T) { testCharts(t, env.Clusters["stage"]) })
	t.Run("a commit reaches a cluster", func(t *testing.T) { testCommit(t, env.Clusters["prod"]) })
	t.Run("rights are enforced", func(t *testing.T) { testRights(t, env.Clusters["prod"]) })
	t.Run("an API server freezes and goes on", func(t *testing.T) { testPause(t, env.Clusters["prod"]) })
	t.Run("an API server dies and comes back", func(t *testing.T) { testKill(t, env.Clusters["prod"]) })
}

func testCharts(t *testing.T, c *testenv.Cluster) {
	server, err := charts.Serve(
		charts.Chart{Name: "podinfo", Version: "6.9.0"},
		charts.Chart{Name: "podinfo", Version: "7.0.0"},
		charts.Chart{Name: "podinfo", Version: "7.2.0", Tag: "bad-7.2.0"},
		charts.Chart{Name: "redis", Version: "20.1.0", AppVersion: "7.4.1"},
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	manifest := fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata: {name: apps}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
metadata: {name: http, namespace: apps}
spec: {interval: 1m, url: %[1]q}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
metadata: {name: oci, namespace: apps}
spec: {interval: 1m, type: oci, insecure: true, url: %[2]q}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {name: redis, namespace: apps}
spec:
  interval: 1m
  insecure: true
  url: %[2]s/redis
  ref: {tag: 20.1.0}
  layerSelector: {mediaType: application/vnd.cncf.helm.chart.content.v1.tar+gzip, operation: copy}
---
%[3]s
---
%[4]s
---
%[5]s
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: reference, namespace: apps}
spec: {interval: 1m, chartRef: {kind: OCIRepository, name: redis}}
`, server.HTTPURL, server.OCIURL,
		release("over-http", "http", "podinfo", "6.9.0", "2m"), release("over-oci", "oci", "podinfo", "7.0.0", "2m"), release("bad", "http", "podinfo", "7.2.0", "20s"))
	if err := c.Apply(t.Context(), []byte(manifest)); err != nil {
		t.Fatal(err)
	}

	for name, image := range map[string]string{"over-http": "ghcr.io/stefanprodan/podinfo:6.9.0", "over-oci": "ghcr.io/stefanprodan/podinfo:7.0.0"} {
		t.Run(name, func(t *testing.T) {
			waitForRelease(t, c, name, metav1.ConditionTrue)
			deployment := &appsv1.Deployment{}
			if err := c.Client().Get(t.Context(), client.ObjectKey{Namespace: "apps", Name: name}, deployment); err != nil {
				t.Fatal(err)
			}
			if got := deployment.Spec.Template.Spec.Containers[0].Image; got != image || deployment.Status.ReadyReplicas != 1 {
				t.Errorf("image %s, %d ready, want %s", got, deployment.Status.ReadyReplicas, image)
			}
		})
	}
	t.Run("reference", func(t *testing.T) {
		waitForRelease(t, c, "reference", metav1.ConditionTrue)
		set := &appsv1.StatefulSet{}
		if err := c.Client().Get(t.Context(), client.ObjectKey{Namespace: "apps", Name: "reference"}, set); err != nil {
			t.Fatal(err)
		}
		if got := set.Spec.Template.Spec.Containers[0].Image; got != "docker.io/library/redis:7.4.1" || set.Status.ReadyReplicas != 1 {
			t.Errorf("image %s, %d ready", got, set.Status.ReadyReplicas)
		}
	})
	t.Run("a bad image never becomes ready", func(t *testing.T) {
		r := waitForRelease(t, c, "bad", metav1.ConditionFalse)
		if ready := apimeta.FindStatusCondition(r.Status.Conditions, meta.ReadyCondition); ready.Reason != helmv2.InstallFailedReason {
			t.Errorf("%s: %s", ready.Reason, ready.Message)
		}
		deployment := &appsv1.Deployment{}
		if err := c.Client().Get(t.Context(), client.ObjectKey{Namespace: "apps", Name: "bad"}, deployment); err != nil {
			t.Fatal(err)
		}
		for _, condition := range deployment.Status.Conditions {
			if condition.Type == appsv1.DeploymentProgressing && condition.Reason == "ProgressDeadlineExceeded" {
				return
			}
		}
		t.Errorf("the Deployment did not give up after its deadline: %+v", deployment.Status.Conditions)
	})
}

func release(name, repository, chart, version, timeout string) string {
	return fmt.Sprintf(`
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: %s, namespace: apps}
spec:
  interval: 1m
  timeout: %s
  chart: {spec: {chart: %s, version: %s, sourceRef: {kind: HelmRepository, name: %s}}}
`, name, timeout, chart, version, repository)
}

// waitForRelease returns the HelmRelease of namespace apps when its Ready condition has that status for good.
func waitForRelease(t *testing.T, c *testenv.Cluster, name string, status metav1.ConditionStatus) *helmv2.HelmRelease {
	t.Helper()
	r := &helmv2.HelmRelease{}
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		if err := c.Client().Get(ctx, client.ObjectKey{Namespace: "apps", Name: name}, r); err != nil {
			return false, err
		}
		ready := apimeta.FindStatusCondition(r.Status.Conditions, meta.ReadyCondition)
		waits := ready != nil && strings.HasSuffix(ready.Reason, "NotReady") // for its source
		return ready != nil && ready.Status == status && !waits, nil
	})
	if err != nil {
		t.Fatalf("HelmRelease %s is not Ready=%s: %v: %+v", name, status, err, r.Status.Conditions)
	}
	return r
}

func testCommit(t *testing.T, c *testenv.Cluster) {
	root := t.TempDir()
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	work := filepath.Join(root, "fleet")
	git("init", "-q", "-b", "main", work)
	manifest := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: default}\ndata: {color: blue}\n"
	if err := os.WriteFile(filepath.Join(work, "settings.yaml"), []byte(manifest), 0o644); err != nil {
		t.Fatal(err)
	}
	git("-C", work, "add", "-A")
	git("-C", work, "-c", "user.name=test", "-c", "user.email=test@example.com", "commit", "-qm", "one")
	server := httptest.NewServer(&cgi.Handler{
		Path: filepath.Join(git("--exec-path"), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1"},
	})
	t.Cleanup(server.Close)
	err := c.Apply(t.Context(), fmt.Appendf(nil, `
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: fleet, namespace: flux-system}
spec: {interval: 1m, url: "%s/fleet/.git", ref: {branch: main}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: fleet, namespace: flux-system}
spec: {interval: 1m, path: ./, prune: true, sourceRef: {kind: GitRepository, name: fleet}}
`, server.URL))
	if err != nil {
		t.Fatal(err)
	}
	settings := &corev1.ConfigMap{}
	err = wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		err := c.Client().Get(ctx, client.ObjectKey{Namespace: "default", Name: "settings"}, settings)
		return err == nil, client.IgnoreNotFound(err)
	})
	if err != nil {
		t.Fatal(err)
	}
	if settings.Data["color"] != "blue" {
		t.Errorf("the cluster has %v", settings.Data)
	}
}

func testRights(t *testing.T, c *testenv.Cluster) {
	config := rest.CopyConfig(c.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "alice", Groups: []string{"ferry"}}
	alice, err := client.New(config, client.Options{Scheme: c.Client().Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.List(t.Context(), &corev1.PodList{}); !apierrors.IsForbidden(err) {
		t.Errorf("a group without rights listed pods: %v", err)
	}
}

func testPause(t *testing.T, c *testenv.Cluster) {
	if err := c.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := c.Client().List(ctx, &corev1.NodeList{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("frozen, it answered %v", err)
	}
	if err := c.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := c.Client().List(t.Context(), &corev1.NodeList{}); err != nil {
		t.Error(err)
	}
}

func testKill(t *testing.T, c *testenv.Cluster) {
	c.Kill()
	if err := c.Client().List(t.Context(), &corev1.NodeList{}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dead, it answered %v", err)
	}
	if err := c.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Client().Get(t.Context(), client.ObjectKey{Name: "kwok-0"}, &corev1.Node{}); err != nil {
		t.Errorf("after the restart: %v", err)
	}
}

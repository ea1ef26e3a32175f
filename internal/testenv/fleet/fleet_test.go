package fleet_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ferry-chatops/ferry/internal/githubtest"
	"github.com/ferry-chatops/ferry/internal/localhost"
	"github.com/ferry-chatops/ferry/internal/testenv"
	"github.com/ferry-chatops/ferry/internal/testenv/fleet"
)

// One fleet serves all tests of this file: each works on an application and an environment of its own.
var (
	environment *testenv.Env
	shared      = sync.OnceValues(func() (*fleet.Fleet, error) {
		var err error
		if environment, err = testenv.Start(context.Background(), testenv.Options{Clusters: fleet.Environments, Flux: true, Log: log.Printf}); err != nil {
			return nil, err
		}
		dir, err := os.MkdirTemp("", "ferry-fleet-")
		if err != nil {
			return nil, err
		}
		return fleet.Start(context.Background(), environment, dir)
	})
)

func TestMain(m *testing.M) {
	code := m.Run()
	if environment != nil {
		if f, err := shared(); err == nil {
			f.Close()
			os.RemoveAll(f.Dir)
		}
		environment.Stop()
	}
	os.Exit(code)
}

// A chat is ferry's built plugin, started as Botkube starts it, on the fleet.
type chat struct {
	*testing.T
	*fleet.Fleet
	host *localhost.Host
}

// start gives a chat. Without the built plugin or the clusters' programs the test is skipped, and fails with CI=true.
func start(t *testing.T) chat {
	t.Helper()
	if testing.Short() {
		t.Skip("needs clusters, not run with -short")
	}
	bin, err := filepath.Abs(filepath.Join("..", "..", "..", "bin"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(bin, fmt.Sprintf("executor_ferry_%s_%s", runtime.GOOS, runtime.GOARCH))); err != nil {
		absent(t, fmt.Errorf("%w; run make build", err))
	}
	f, err := shared()
	if err != nil {
		absent(t, err)
	}
	config, err := os.ReadFile(f.ConfigFile)
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.ReadFile(f.HomeFile)
	if err != nil {
		t.Fatal(err)
	}
	host, err := localhost.Start(t.Context(), localhost.Options{Plugins: bin, Configs: [][]byte{config}, Kubeconfig: home, Mention: "<@U0TEST>", Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(host.Close)
	return chat{t, f, host}
}

func absent(t *testing.T, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	t.Skip(err)
}

// say types a line and returns the answer as text, with the lines behind its buttons.
func (c chat) say(line string) (text string, buttons []string) {
	c.Helper()
	begin := time.Now()
	answer, err := c.host.Execute(c.Context(), "ferry "+line)
	if err != nil {
		c.Fatalf("%s: %v", line, err)
	}
	text, buttons = answer.Render(false)
	c.Logf("%s (%.1fs)\n%s", line, time.Since(begin).Seconds(), text)
	return text, buttons
}

// sees types a line and fails unless the answer has all of the texts.
func (c chat) sees(line string, texts ...string) []string {
	c.Helper()
	answer, buttons := c.say(line)
	for _, text := range texts {
		if !strings.Contains(answer, text) {
			c.Errorf("the answer to %q lacks %q", line, text)
		}
	}
	return buttons
}

// press follows the button whose line begins so.
func (c chat) press(buttons []string, beginning string, texts ...string) []string {
	c.Helper()
	i := slices.IndexFunc(buttons, func(b string) bool { return strings.HasPrefix(b, "ferry "+beginning) })
	if i < 0 {
		c.Fatalf("no button begins with %q: %q", beginning, buttons)
	}
	return c.sees(strings.TrimPrefix(buttons[i], "ferry "), texts...)
}

// commits counts the commits of main.
func (c chat) commits() string {
	c.Helper()
	return c.git("rev-list", "--count", "main")
}

func (c chat) git(args ...string) string {
	c.Helper()
	out, err := exec.CommandContext(c.Context(), "git", append([]string{"-C", c.GitDir}, args...)...).CombinedOutput()
	if err != nil {
		c.Fatalf("git %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// release asks an API server which chart version Helm last deployed.
func (c chat) release(cluster, namespace, name string) string {
	c.Helper()
	var r helmv2.HelmRelease
	c.read(cluster, namespace, name, &r)
	if len(r.Status.History) == 0 || r.Status.History[0].Status != "deployed" {
		return ""
	}
	version, _, _ := strings.Cut(r.Status.History[0].ChartVersion, "+")
	return version
}

// image asks an API server for the image of a Deployment's first container, once all replicas run it.
func (c chat) image(cluster, namespace, name string) string {
	c.Helper()
	var d appsv1.Deployment
	c.read(cluster, namespace, name, &d)
	if d.Status.ObservedGeneration != d.Generation || d.Status.UpdatedReplicas != *d.Spec.Replicas || d.Status.ReadyReplicas != *d.Spec.Replicas {
		return ""
	}
	return d.Spec.Template.Spec.Containers[0].Image
}

func (c chat) read(cluster, namespace, name string, into client.Object) {
	c.Helper()
	if err := c.Clusters[cluster].Client().Get(c.Context(), client.ObjectKey{Namespace: namespace, Name: name}, into); err != nil {
		c.Fatal(err)
	}
}

func (c chat) want(what, got, want string) {
	c.Helper()
	if got != want {
		c.Errorf("%s is %q, want %q", what, got, want)
	}
}

func TestListAndDiffShowEveryEnvironment(t *testing.T) {
	c := start(t)
	c.sees("list", "APPLICATION", "podinfo", "✓ 7.0.0", "✓ 1.5.0", "stage", "prod")
	c.sees("list redis", "✓ 1.1.0", "✓ 1.0.0")
	c.sees("diff stage", "redis", "1.1.0", "1.0.0", "replicas")
	c.sees("list nosuch", "nosuch is not in stage and prod")
	c.sees("diff nowhere", "There is no environment nowhere", "stage and prod")
}

func TestPromoteAndRollBackARelease(t *testing.T) {
	c := start(t)
	before := c.commits()
	card := c.sees("promote podinfo@7.0.0 to prod", "Promote podinfo on prod?", `-      version: "6.9.2"   # keep the quotes`, `+      version: "7.0.0"   # keep the quotes`, "upgrade")
	c.want("number of commits after the card", c.commits(), before)
	c.press(card, "promote podinfo@7.0.0 to prod --confirm", "Verified", "slack:U0TEST")
	c.want("release", c.release("prod", "podinfo", "podinfo"), "7.0.0")
	c.want("changed lines", c.git("log", "-1", "--format=", "--numstat"), "1\t1\tapps/prod/podinfo.yaml")
	trailers := c.git("log", "-1", "--format=%(trailers:only)")
	for _, want := range []string{"Ferry-Promotion: ", "Ferry-Home: ", "Ferry-Application: HelmRelease/podinfo/podinfo\nFerry-Environment: prod\nFerry-From: 6.9.2\nFerry-To: 7.0.0\nFerry-Requested-By: slack:U0TEST"} {
		if !strings.Contains(trailers, want) {
			t.Errorf("trailers lack %q:\n%s", want, trailers)
		}
	}
	c.sees("status podinfo on prod", "podinfo 7.0.0 on prod: Verified")
	c.sees("promote podinfo@7.0.0 to prod --yes", "Already there")
	c.press(card, "promote podinfo@7.0.0 to prod --confirm", "Already there")

	c.sees("rollback podinfo on prod", "Git history of apps/prod/podinfo.yaml", "confirmed by Helm's history")
	for _, version := range []string{"6.9.2", "6.9.0", "6.8.0"} {
		c.sees("rollback podinfo on prod --yes", "podinfo "+version+" on prod: Verified")
		c.want("release", c.release("prod", "podinfo", "podinfo"), version)
	}
	c.sees("rollback podinfo on prod --yes", "No earlier release")
	c.sees("rollback podinfo on prod to 5.0.0", "prod never ran 5.0.0")
	c.sees("promote podinfo@16.9.2 to prod --yes", "podinfo has no version 16.9.2", "7.2.0, 7.1.0, 7.0.0")
	c.want("release", c.release("prod", "podinfo", "podinfo"), "6.8.0")
}

func TestPromoteTheKindsOfVersion(t *testing.T) {
	c := start(t)
	c.press(c.sees("promote redis from stage to prod", "tag: 1.0.0", "tag: 1.1.0"), "promote redis@1.1.0 to prod --confirm", "redis 1.1.0 on prod: Verified")
	c.want("release", c.release("prod", "cache", "redis"), "1.1.0")

	c.sees("promote web@1.5.0 to prod", "Whether the registry has ghcr.io/acme/web:1.5.0 is not checked.", "+  newTag: 1.5.0 # pinned while the new design is tested")
	c.sees("promote web@1.5.0 to prod --yes", "web 1.5.0 on prod: Verified")
	c.want("image", c.image("prod", "web", "web"), "ghcr.io/acme/web:1.5.0")

	c.sees("promote api@2.3.0 to prod --yes --reason \"the new checkout\"", "api 2.3.0 on prod: Verified")
	c.want("image", c.image("prod", "shop", "api"), "ghcr.io/acme/api:2.3.0")
	c.want("reason", c.git("log", "-1", "--format=%(trailers:key=Ferry-Reason,valueonly)"), "the new checkout")
	c.sees("promote api@9.9.9 to prod --image proxy", "This would change more than api in prod", "stage: Deployment/shop/api", "--shared")
}

func TestPromoteByPullRequest(t *testing.T) {
	c := start(t)
	if err := c.Hub.SetRules(fleet.Repository, "main", githubtest.Rule{Type: "pull_request"}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Hub.SetRules(fleet.Repository, "main"); err != nil {
			t.Error(err)
		}
	}()
	c.sees("promote redis@1.2.0 to stage", "pull request to main, because of its rule")
	c.sees("promote redis@1.2.0 to stage --yes", "Waits for merge", "/pull/1")
	c.sees("status redis on stage", "Waits for merge")
	c.want("release", c.release("stage", "cache", "redis"), "1.1.0")
	c.sees("promote redis@1.2.0 to stage", "Pull request #1 for it is still open")
	if _, err := c.Hub.MergePullRequest(fleet.Repository, 1, "alice", "squash"); err != nil {
		t.Fatal(err)
	}
	c.eventually("status redis on stage", "redis 1.2.0 on stage: Verified")
	c.want("release", c.release("stage", "cache", "redis"), "1.2.0")
}

// eventually repeats a line until the answer has the text.
func (c chat) eventually(line, text string) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	got := ""
	for {
		answer, err := c.host.Execute(ctx, "ferry "+line)
		if err == nil {
			if got, _ = answer.Render(false); strings.Contains(got, text) {
				return
			}
		}
		select {
		case <-ctx.Done():
			c.Fatalf("%q never answers %q, but at last\n%s", line, text, got)
		case <-ticker.C:
		}
	}
}

func TestARolloutThatFails(t *testing.T) {
	c := start(t)
	failed := c.sees("promote web@bad-1 to stage --yes", "web bad-1 on stage: Failed", "ImagePullBackOff")
	c.sees("list web", "✗ bad-1 Failed")
	c.press(c.press(failed, "rollback web on stage", "Roll back web on stage?"), "rollback web on stage to 1.5.0 --confirm", "web 1.5.0 on stage: Verified")
	c.want("image", c.image("stage", "web", "web"), "ghcr.io/acme/web:1.5.0")

	release := c.git("show", "main:apps/base/podinfo/release.yaml") + "\n"
	if _, err := c.Hub.Commit(fleet.Repository, "main", "alice", "Fail fast", map[string]string{
		"apps/base/podinfo/release.yaml": strings.Replace(release, "timeout: 1m", "timeout: 20s", 1)}); err != nil {
		t.Fatal(err)
	}
	c.sees("promote podinfo@7.2.0 to stage --yes", "podinfo 7.2.0 on stage: Failed", "HelmRelease podinfo/podinfo: UpgradeFailed", "ImagePullBackOff")
	c.sees("rollback podinfo on stage --yes", "podinfo 7.0.0 on stage: Verified")
	c.want("release", c.release("stage", "podinfo", "podinfo"), "7.0.0")
}

func TestSuspendedIsSaidBeforehand(t *testing.T) {
	c := start(t)
	var k kustomizev1.Kustomization
	c.read("stage", "flux-system", "apps", &k)
	suspend := func(yes bool) {
		patch := client.MergeFrom(k.DeepCopy())
		k.Spec.Suspend = yes
		if err := c.Clusters["stage"].Client().Patch(context.WithoutCancel(t.Context()), &k, patch); err != nil {
			t.Fatal(err)
		}
	}
	suspend(true)
	defer suspend(false)
	before := c.commits()
	card := c.sees("promote api@2.4.0 to stage --yes", "Kustomization/flux-system/apps is suspended", "--yes does not count")
	c.want("number of commits", c.commits(), before)
	c.press(card, "promote api@2.4.0 to stage --confirm", "api 2.4.0 on stage: Suspended")
	suspend(false)
	c.eventually("status api on stage", "api 2.4.0 on stage: Verified")
}

func TestAnEnvironmentThatDoesNotAnswer(t *testing.T) {
	c := start(t)
	prod := c.Clusters["prod"]
	if err := prod.Pause(); err != nil {
		t.Fatal(err)
	}
	resumed := false
	resume := func() {
		if !resumed {
			resumed = true
			if err := prod.Resume(); err != nil {
				t.Error(err)
			}
		}
	}
	defer resume()
	before := c.commits()
	c.sees("list podinfo", "No answer", "prod: ", "✓ 7.0.0")
	c.sees("promote web@9.9.9 to prod --yes", "No answer")
	c.sees("promote web@1.5.1 to stage", "prod could not be read: whether this file feeds it too is not known.")
	c.want("number of commits", c.commits(), before)
	resume()
	c.eventually("list redis", "✓")
}

// What happens on GitHub's side while ferry writes leaves exactly one commit, or none.
func TestGitHubMisbehaves(t *testing.T) {
	c := start(t)
	count := func(env, app string) int {
		return len(strings.Fields(c.git("log", "main", "--format=%h", "--grep", "^Ferry-Application: Deployment/"+app, "--grep", "^Ferry-Environment: "+env, "--all-match")))
	}
	before := count("stage", "web/web")
	c.Hub.Fail(githubtest.Fault{Mutation: "createCommitOnBranch", Status: 502, Apply: true, Times: 1})
	c.sees("promote web@1.5.7 to stage --yes", "web 1.5.7 on stage: Verified")
	if got := count("stage", "web/web"); got != before+1 {
		t.Errorf("%d commits instead of one", got-before)
	}
	c.Hub.Fail(githubtest.Fault{Mutation: "createCommitOnBranch", Status: 403, Times: 1})
	c.sees("promote web@1.5.8 to stage --yes", "GitHub")
	if got := count("stage", "web/web"); got != before+1 {
		t.Errorf("a refused write left %d commits", got-before-1)
	}
	c.want("image", c.image("stage", "web", "web"), "ghcr.io/acme/web:1.5.7")
}

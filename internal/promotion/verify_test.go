package promotion

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

const (
	ours  = "1111111111111111111111111111111111111111" // the promotion's commit
	after = "2222222222222222222222222222222222222222" // a descendant of it
	older = "0000000000000000000000000000000000000000"
)

func condition(status, reason, message string) gitops.Condition {
	return gitops.Condition{Status: status, Reason: reason, Message: message}
}

// released is podinfo once 7.0.0 runs, and everything on the way to it is done.
func released() gitops.Application {
	ready := condition("True", "Succeeded", "")
	return gitops.Application{
		Key: gitops.Key{Environment: "prod", Namespace: "apps", Kind: "HelmRelease", Name: "podinfo"},
		Versions: []gitops.Version{{Kind: gitops.ChartVersion, Name: "podinfo", Value: "7.0.0", Desired: "7.0.0",
			Object: gitops.Object{Kind: "HelmRelease", Namespace: "apps", Name: "podinfo"}}},
		Health: gitops.Ready,
		Helm: &gitops.HelmRelease{Attempted: "7.0.0", History: []gitops.HelmDeployment{{Version: "7.0.0", Status: "deployed"}, {Version: "6.9.2", Status: "superseded"}},
			Condition: ready, Chart: gitops.Chart{Name: "podinfo", Version: "7.0.0", Condition: ready}},
		Workloads: []gitops.Workload{{Object: gitops.Object{Kind: "Deployment", Namespace: "apps", Name: "podinfo"}, Health: gitops.Ready, Replicas: 2, Ready: 2}},
		Owner: &gitops.Kustomization{Namespace: "flux-system", Name: "apps", Applied: "main@sha1:" + ours, Attempted: "main@sha1:" + ours, Condition: ready,
			Source: gitops.Source{Object: gitops.Object{Kind: "GitRepository", Namespace: "flux-system", Name: "fleet"}, Revision: "main@sha1:" + ours, Condition: ready}},
	}
}

// pending is podinfo while 6.9.2 runs and nothing of the commit has arrived.
func pending() gitops.Application {
	app := released()
	app.Versions[0].Value, app.Versions[0].Desired = "6.9.2", "6.9.2"
	app.Helm.Attempted, app.Helm.History, app.Helm.Chart.Version = "6.9.2", app.Helm.History[1:], "6.9.2"
	app.Helm.History[0].Status = "deployed"
	app.Owner.Applied, app.Owner.Attempted, app.Owner.Source.Revision = "main@sha1:"+older, "main@sha1:"+older, "main@sha1:"+older
	return app
}

// applied is podinfo once the Kustomization has applied the commit, and Helm has not begun.
func applied() gitops.Application {
	app := pending()
	app.Owner = released().Owner
	app.Versions[0].Desired = "7.0.0"
	app.Helm.Condition = condition("Unknown", "Progressing", "")
	return app
}

// upgrading is podinfo while Helm deploys 7.0.0.
func upgrading() gitops.Application {
	app := applied()
	app.Helm.Attempted, app.Helm.Chart.Version = "7.0.0", "7.0.0"
	app.Helm.Condition = condition("Unknown", "Progressing", "Running 'upgrade' action")
	app.Workloads[0].Health, app.Workloads[0].Ready = gitops.Progressing, 1
	return app
}

func TestVerifyChart(t *testing.T) {
	for name, tc := range map[string]struct {
		from   func() gitops.Application
		change func(*gitops.Application)
		state  State
		reason string   // whole
		steps  []string // as a user sees them
	}{
		"done": {released, nil, Verified, "", []string{"✓ GitRepository flux-system/fleet: has the commit", "✓ Kustomization flux-system/apps: applied it",
			"✓ HelmRelease apps/podinfo: deployed 7.0.0", "✓ Deployment apps/podinfo: 2 of 2 ready"}},
		"done by a later commit": {released, func(a *gitops.Application) {
			a.Owner.Source.Revision, a.Owner.Applied, a.Owner.Attempted = "main@sha1:"+after, "main@sha1:"+after, "main@sha1:"+after
		}, Verified, "", nil},
		"a revision in the old form": {released, func(a *gitops.Application) { a.Owner.Source.Revision, a.Owner.Applied = "main/"+ours, "main/"+ours }, Verified, "", nil},
		"nothing fetched":            {pending, nil, RollingOut, "Waiting for GitRepository flux-system/fleet: has not fetched the commit yet", nil},
		"never fetched anything":     {pending, func(a *gitops.Application) { a.Owner.Source.Revision = "" }, RollingOut, "Waiting for GitRepository flux-system/fleet: has not fetched the commit yet", nil},
		"source cannot fetch": {pending, func(a *gitops.Application) {
			a.Owner.Source.Condition = condition("False", "GitOperationFailed", "authentication required")
		}, RollingOut, "Waiting for GitRepository flux-system/fleet: GitOperationFailed: authentication required", nil},
		"source gave up": {pending, func(a *gitops.Application) {
			a.Owner.Source.Condition = gitops.Condition{Status: "False", Reason: "URLInvalid", Message: "no such scheme", Stalled: true}
		}, RolloutFailed, "GitRepository flux-system/fleet: URLInvalid: no such scheme", nil},
		"source suspended": {pending, func(a *gitops.Application) { a.Owner.Source.Condition.Suspended = true }, Paused, "GitRepository flux-system/fleet is suspended.", nil},
		"not applied": {pending, func(a *gitops.Application) { a.Owner.Source = released().Owner.Source }, RollingOut,
			"Waiting for Kustomization flux-system/apps: has not applied the commit yet", nil},
		"kustomization suspended": {pending, func(a *gitops.Application) {
			a.Owner.Source, a.Owner.Condition.Suspended = released().Owner.Source, true
		}, Paused,
			"Kustomization flux-system/apps is suspended.", nil},
		"dependency not ready": {pending, func(a *gitops.Application) {
			a.Owner.Source, a.Owner.Condition = released().Owner.Source, condition("False", "DependencyNotReady", "dependency 'flux-system/infra' is not ready")
		}, RollingOut, "Waiting for Kustomization flux-system/apps: DependencyNotReady: dependency 'flux-system/infra' is not ready", nil},
		"dependency not ready after the attempt": {released, func(a *gitops.Application) {
			a.Owner.Applied, a.Owner.Condition = "main@sha1:"+older, condition("False", "DependencyNotReady", "dependency 'flux-system/infra' is not ready")
		}, RollingOut, "Waiting for Kustomization flux-system/apps: DependencyNotReady: dependency 'flux-system/infra' is not ready", nil},
		"failure of an older commit": {pending, func(a *gitops.Application) {
			a.Owner.Source, a.Owner.Condition = released().Owner.Source, condition("False", "BuildFailed", "of the commit before")
		}, RollingOut, "Waiting for Kustomization flux-system/apps: BuildFailed: of the commit before", nil},
		"build fails": {applied, func(a *gitops.Application) {
			a.Owner.Applied, a.Owner.Condition = "main@sha1:"+older, condition("False", "BuildFailed", "accumulating resources")
		}, RolloutFailed, "Kustomization flux-system/apps: BuildFailed: accumulating resources", nil},
		"health check fails": {upgrading, func(a *gitops.Application) {
			a.Owner.Applied, a.Owner.Condition = "main@sha1:"+older, condition("False", "HealthCheckFailed", "timeout waiting for: [HelmRelease/apps/podinfo]")
		}, RollingOut, "Waiting for HelmRelease apps/podinfo: Progressing: Running 'upgrade' action", nil},
		"health check of another application fails": {released, func(a *gitops.Application) {
			a.Owner.Applied, a.Owner.Condition = "main@sha1:"+older, condition("False", "HealthCheckFailed", "timeout waiting for: [Deployment/apps/other]")
		}, Verified, "", nil},
		"kustomization gave up": {applied, func(a *gitops.Application) {
			a.Owner.Applied, a.Owner.Condition = "", gitops.Condition{Status: "False", Reason: "InvalidURL", Stalled: true}
		}, RolloutFailed, "Kustomization flux-system/apps: InvalidURL", nil},
		"applying": {applied, func(a *gitops.Application) {
			a.Owner.Applied, a.Owner.Condition = "main@sha1:"+older, condition("Unknown", "Progressing", "Running health checks")
		}, RollingOut, "Waiting for Kustomization flux-system/apps: Progressing: Running health checks", nil},
		"helm has not begun": {applied, nil, RollingOut, "Waiting for HelmRelease apps/podinfo: runs 6.9.2 still", nil},
		"helm still states the previous success": {applied, func(a *gitops.Application) { a.Helm.Condition = condition("True", "UpgradeSucceeded", "podinfo@6.9.2") },
			RollingOut, "Waiting for HelmRelease apps/podinfo: runs 6.9.2 still", nil},
		"helm still states the previous failure": {applied, func(a *gitops.Application) {
			a.Helm.Condition = condition("False", "UpgradeFailed", "podinfo@6.9.2 timed out")
		},
			RollingOut, "Waiting for HelmRelease apps/podinfo: UpgradeFailed: podinfo@6.9.2 timed out", nil},
		"chart not found": {applied, func(a *gitops.Application) {
			a.Helm.Chart.Condition = condition("False", "InvalidChartReference", "no chart version found for podinfo-7.0.0")
			a.Helm.Condition = condition("False", "SourceNotReady", "HelmChart is not ready")
		}, RollingOut, "Waiting for HelmRelease apps/podinfo: InvalidChartReference: no chart version found for podinfo-7.0.0", nil},
		"helm dependency not ready": {applied, func(a *gitops.Application) {
			a.Helm.Condition = condition("False", "DependencyNotReady", "dependency 'apps/db' is not ready")
		},
			RollingOut, "Waiting for HelmRelease apps/podinfo: DependencyNotReady: dependency 'apps/db' is not ready", nil},
		"upgrading":      {upgrading, nil, RollingOut, "Waiting for HelmRelease apps/podinfo: Progressing: Running 'upgrade' action", nil},
		"helm suspended": {applied, func(a *gitops.Application) { a.Helm.Condition.Suspended = true }, Paused, "HelmRelease apps/podinfo is suspended.", nil},
		"a pod waits while helm upgrades": {upgrading, func(a *gitops.Application) {
			a.Workloads[0].Problems = []string{"podinfo-7d4: ImagePullBackOff: Back-off pulling image \"podinfo:bad\""}
		}, RollingOut, "Waiting for HelmRelease apps/podinfo: Progressing: Running 'upgrade' action. podinfo-7d4: ImagePullBackOff: Back-off pulling image \"podinfo:bad\"", nil},
		"the previous release failed while helm upgrades": {upgrading, func(a *gitops.Application) {
			a.Workloads[0].Health, a.Workloads[0].Message = gitops.Failed, "Deployment exceeded its progress deadline"
		},
			RollingOut, "Waiting for HelmRelease apps/podinfo: Progressing: Running 'upgrade' action", nil},
		"upgrade fails": {upgrading, func(a *gitops.Application) {
			a.Helm.Condition = stalled("UpgradeFailed", "timed out waiting for the condition")
			a.Helm.History = append([]gitops.HelmDeployment{{Version: "7.0.0", Status: "failed"}}, a.Helm.History...)
			a.Workloads[0].Problems = []string{"podinfo-7d4: CrashLoopBackOff: back-off restarting"}
		}, RolloutFailed, "HelmRelease apps/podinfo: UpgradeFailed: timed out waiting for the condition. podinfo-7d4: CrashLoopBackOff: back-off restarting", nil},
		"helm went back": {upgrading, func(a *gitops.Application) {
			a.Helm.Condition = stalled("RollbackSucceeded", "rolled back to podinfo@6.9.2")
		},
			RolloutFailed, "HelmRelease apps/podinfo: RollbackSucceeded: rolled back to podinfo@6.9.2", nil},
		"upgrade fails and is tried again": {upgrading, func(a *gitops.Application) {
			a.Helm.Condition = condition("False", "UpgradeFailed", "timed out.")
		}, RollingOut, "Waiting for HelmRelease apps/podinfo: UpgradeFailed: timed out. Flux tries again", nil},
		"helm ran out of retries": {upgrading, func(a *gitops.Application) {
			a.Helm.Condition = gitops.Condition{Status: "False", Reason: "RetriesExceeded", Message: "Failed to upgrade after 3 attempts", Stalled: true}
		}, RolloutFailed, "HelmRelease apps/podinfo: RetriesExceeded: Failed to upgrade after 3 attempts", nil},
		"ready at another version": {released, func(a *gitops.Application) { a.Helm.History[0].Version = "17.0.0" }, RollingOut,
			"Waiting for HelmRelease apps/podinfo: Succeeded", nil},
		"attempted a version that ends like it": {applied, func(a *gitops.Application) {
			a.Helm.Attempted, a.Helm.History[0].Version = "17.0.0", "17.0.0"
			a.Helm.Condition = condition("True", "UpgradeSucceeded", "")
		}, RollingOut, "Waiting for HelmRelease apps/podinfo: runs 17.0.0 still", nil},
		"deployed, pods not ready": {released, func(a *gitops.Application) {
			a.Workloads[0].Health, a.Workloads[0].Ready, a.Workloads[0].Problems = gitops.Progressing, 1, []string{"podinfo-1: Unschedulable: 0/1 nodes"}
		}, RollingOut, "Waiting for Deployment apps/podinfo: 1 of 2 ready. podinfo-1: Unschedulable: 0/1 nodes", nil},
		"nothing installed": {applied, func(a *gitops.Application) { a.Helm.History, a.Helm.Attempted, a.Workloads = nil, "", nil }, RollingOut,
			"Waiting for HelmRelease apps/podinfo: runs nothing still", nil},
		"install fails": {upgrading, func(a *gitops.Application) {
			a.Helm.History, a.Workloads, a.Helm.Condition = nil, nil, stalled("InstallFailed", "no such kind")
		}, RolloutFailed, "HelmRelease apps/podinfo: InstallFailed: no such kind", nil},
	} {
		t.Run(name, func(t *testing.T) {
			app := tc.from()
			if tc.change != nil {
				tc.change(&app)
			}
			e := expectation{version: app.Versions[0], to: "7.0.0", known: true, contains: func(head string) bool { return head == ours || head == after }}
			check(t, e, app, tc.state, tc.reason, tc.steps)
		})
	}
}

func check(t *testing.T, e expectation, app gitops.Application, state State, reason string, steps []string) {
	t.Helper()
	gotState, gotSteps, gotReason := e.verify(app)
	if gotState != state || gotReason != reason {
		t.Errorf("got %s, %q\nwant %s, %q", gotState, gotReason, state, reason)
	}
	var texts []string
	for _, s := range gotSteps {
		texts = append(texts, s.Text())
	}
	if text := strings.Join(texts, "\n"); steps != nil && text != strings.Join(steps, "\n") {
		t.Errorf("steps:\n%s", text)
	}
}

// web is a Deployment without Helm, once the new image runs.
func web() gitops.Application {
	app := released()
	app.Kind, app.Name, app.Helm = "Deployment", "web", nil
	app.Versions = []gitops.Version{{Kind: gitops.ImageTag, Name: "registry.example.com:5000/web", Value: "2.0.0", Desired: "2.0.0",
		Object: gitops.Object{Kind: "Deployment", Namespace: "apps", Name: "web"}, Container: "web"}}
	app.Workloads[0].Name = "web"
	app.Workloads[0].Containers = []gitops.Container{{Name: "web", Image: "registry.example.com:5000/web:2.0.0"}}
	return app
}

func TestVerifyImage(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*gitops.Application)
		state  State
		reason string
	}{
		"done": {nil, Verified, ""},
		"the old image": {func(a *gitops.Application) {
			a.Workloads[0].Containers[0].Image = "registry.example.com:5000/web:1.0.0"
		}, RollingOut, "Waiting for Deployment apps/web: has not got the new image yet"},
		"an image that ends like it": {func(a *gitops.Application) {
			a.Workloads[0].Containers[0].Image = "registry.example.com:5000/web:12.0.0"
		}, RollingOut, "Waiting for Deployment apps/web: has not got the new image yet"},
		"the old image failed": {func(a *gitops.Application) {
			a.Workloads[0].Containers[0].Image, a.Workloads[0].Health = "registry.example.com:5000/web:1.0.0", gitops.Failed
		}, RollingOut, "Waiting for Deployment apps/web: has not got the new image yet"},
		"another container has it": {func(a *gitops.Application) { a.Workloads[0].Containers[0].Name = "sidecar" }, RollingOut, "Waiting for Deployment apps/web: has not got the new image yet"},
		"rolling": {func(a *gitops.Application) { a.Workloads[0].Health, a.Workloads[0].Ready = gitops.Progressing, 0 }, RollingOut,
			"Waiting for Deployment apps/web: 0 of 2 ready"},
		"over its deadline": {func(a *gitops.Application) {
			a.Workloads[0].Health, a.Workloads[0].Message = gitops.Failed, "ReplicaSet \"web-5\" has timed out progressing."
			a.Workloads[0].Problems = []string{"web-5-x: ErrImagePull: not found"}
		}, RolloutFailed, "Deployment apps/web: ReplicaSet \"web-5\" has timed out progressing. web-5-x: ErrImagePull: not found"},
		"over its deadline while Flux waits for it": {func(a *gitops.Application) {
			a.Owner.Applied, a.Owner.Condition = "main@sha1:"+older, condition("Unknown", "Progressing", "Running health checks")
			a.Workloads[0].Health, a.Workloads[0].Message = gitops.Failed, "progress deadline exceeded"
		}, RolloutFailed, "Deployment apps/web: progress deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			app := web()
			e := expectation{version: app.Versions[0], to: "2.0.0", known: true, contains: func(head string) bool { return head == ours }}
			if tc.change != nil {
				tc.change(&app)
			}
			check(t, e, app, tc.state, tc.reason, nil)
		})
	}
}

// TestVerifyImageOfARelease: a HelmRelease that is Ready proves nothing about the image that its values name.
func TestVerifyImageOfARelease(t *testing.T) {
	const digest = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	image := func(images ...string) func(*gitops.Application) {
		return func(a *gitops.Application) {
			for i, image := range images {
				a.Workloads[0].Containers[i].Image = image
			}
		}
	}
	for name, tc := range map[string]struct {
		to     string
		change func(*gitops.Application)
		state  State
		reason string
	}{
		"done":                        {"2.0.0", nil, Verified, ""},
		"ready with the old image":    {"2.0.0", image("example/web:1.0.0"), RollingOut, "Waiting for Deployment apps/podinfo: has not got the new image yet"},
		"another image of that tag":   {"2.0.0", image("example/web:1.0.0", "example/proxy:2.0.0"), RollingOut, "Waiting for Deployment apps/podinfo: has not got the new image yet"},
		"with its digest":             {"2.0.0@" + digest, image("example/web:2.0.0@" + digest), Verified, ""},
		"without its digest":          {"2.0.0@" + digest, nil, RollingOut, "Waiting for Deployment apps/podinfo: has not got the new image yet"},
		"a digest alone":              {digest, image("example/web@" + digest), Verified, ""},
		"another digest":              {digest, image("example/web@sha256:00"), RollingOut, "Waiting for Deployment apps/podinfo: has not got the new image yet"},
		"a container of another name": {"2.0.0", func(a *gitops.Application) { a.Workloads[0].Containers[0].Name = "main" }, Verified, ""},
		"no workload left":            {"2.0.0", func(a *gitops.Application) { a.Workloads = nil }, RollingOut, "Waiting for Image example/web: no workload of the release runs 2.0.0 yet"},
		"Helm upgrades": {"2.0.0", func(a *gitops.Application) {
			a.Helm.Condition = condition("Unknown", "Progressing", "Running 'upgrade' action")
		}, RollingOut,
			"Waiting for HelmRelease apps/podinfo: Progressing: Running 'upgrade' action"},
		"Helm gave up": {"2.0.0", func(a *gitops.Application) {
			a.Helm.Condition = condition("False", "UpgradeFailed", "timed out")
			a.Helm.Condition.Stalled = true
		}, RolloutFailed,
			"HelmRelease apps/podinfo: UpgradeFailed: timed out"},
		"Helm gave up on the release before": {"2.0.0", func(a *gitops.Application) {
			a.Owner, a.Helm.Condition = pending().Owner, condition("False", "UpgradeFailed", "timed out")
			a.Helm.Condition.Stalled = true
		}, RollingOut, "Waiting for GitRepository flux-system/fleet: has not fetched the commit yet"},
		"Helm gave up while Flux checks its health": {"2.0.0", func(a *gitops.Application) {
			a.Owner.Applied, a.Owner.Condition = "main@sha1:"+older, condition("Unknown", "Progressing", "Running health checks for revision main")
			a.Helm.Condition = condition("False", "UpgradeFailed", "timed out")
			a.Helm.Condition.Stalled = true
		}, RolloutFailed, "HelmRelease apps/podinfo: UpgradeFailed: timed out"},
	} {
		t.Run(name, func(t *testing.T) {
			app := released()
			app.Workloads[0].Containers = []gitops.Container{{Name: "web", Image: "example/web:2.0.0"}, {Name: "proxy", Image: "example/proxy:1.0.0"}}
			if tc.change != nil {
				tc.change(&app)
			}
			e := expectation{version: gitops.Version{Kind: gitops.ImageTag, Name: "example/web", Object: gitops.Object{Kind: "Deployment", Namespace: "apps", Name: "podinfo"},
				Container: "web", Path: "spec.values.image.tag"}, to: tc.to, known: true, contains: func(head string) bool { return head == ours }}
			check(t, e, app, tc.state, tc.reason, nil)
			e.version.Path = `data["values.yaml"]|image.tag` // the HelmRelease stays as it is, whatever comes
			if state, _, _ := e.verify(app); state == Verified && tc.state != Verified {
				t.Errorf("in a ConfigMap it is %s", state)
			}
		})
	}
	app := released()
	app.Workloads[0].Containers = []gitops.Container{{Name: "web", Image: "example/web:1.0.0"}}
	app.Helm.Condition = condition("False", "UpgradeFailed", "timed out")
	app.Helm.Condition.Stalled = true
	e := expectation{version: gitops.Version{Kind: gitops.ImageTag, Name: "example/web", Object: gitops.Object{Kind: "Deployment", Namespace: "apps", Name: "podinfo"},
		Container: "web", Path: `data["values.yaml"]|image.tag`}, to: "2.0.0", known: true, contains: func(head string) bool { return head == ours }}
	check(t, e, app, RollingOut, "Waiting for HelmRelease apps/podinfo: has not got the new values yet", nil)
}

// What Git states already came by no commit of ours: only versions are compared.
func TestVerifyWithoutACommitComparesVersionsAlone(t *testing.T) {
	app := pending()
	e := expectation{version: app.Versions[0], to: "6.9.2", contains: func(string) bool { t.Error("asked about a commit"); return false }}
	check(t, e, app, Verified, "", []string{"✓ HelmRelease apps/podinfo: deployed 6.9.2", "✓ Deployment apps/podinfo: 2 of 2 ready"})
	e.to = "7.0.0"
	check(t, e, app, RollingOut, "Waiting for HelmRelease apps/podinfo: runs 6.9.2 still", nil)
}

func TestSuspendedNamesEverythingOnTheWay(t *testing.T) {
	app := released()
	if got := suspended(app); got != nil {
		t.Error(got)
	}
	app.Helm.Chart.Source = gitops.Object{Kind: "HelmRepository", Namespace: "apps", Name: "charts"}
	for _, c := range []*gitops.Condition{&app.Owner.Source.Condition, &app.Owner.Condition, &app.Helm.Chart.Condition, &app.Helm.Condition} {
		c.Suspended = true
	}
	want := "GitRepository/flux-system/fleet Kustomization/flux-system/apps HelmRepository/apps/charts HelmRelease/apps/podinfo"
	if got := strings.Join(suspended(app), " "); got != want {
		t.Error(got)
	}
}

func TestRepositoryName(t *testing.T) {
	for address, want := range map[string]string{
		"https://github.com/acme/fleet": "acme/fleet", "https://github.com/acme/fleet.git": "acme/fleet", "https://GitHub.com/acme/fleet/": "acme/fleet",
		"ssh://git@github.com/acme/fleet": "acme/fleet", "ssh://git@github.com:22/acme/fleet.git": "acme/fleet", "git@github.com:acme/fleet.git": "acme/fleet",
		"https://token@github.com/acme/fleet":      "acme/fleet",
		"https://github.com.evil.example/acme/f":   "",
		"https://evil.example/github.com/acme":     "",
		"https://evil.example/acme/fleet":          "",
		"https://github.com/acme":                  "",
		"https://github.com/acme/fleet/tree/main":  "",
		"https://github.com//fleet":                "",
		"git@evil.example:github.com/acme/fleet":   "",
		"https://evil.example#@github.com/acme/fl": "",
		"": "", "%zz": "",
		"https://github.com:8443/acme/fleet":     "",
		"https://github.com:443/acme/fleet":      "",
		"http://github.com/acme/fleet":           "",
		"http://github.com:80/acme/fleet":        "",
		"ftp://github.com/acme/fleet":            "",
		"file://github.com/acme/fleet":           "",
		"git://github.com/acme/fleet":            "",
		"//github.com/acme/fleet":                "",
		"github.com/acme/fleet":                  "",
		"ssh://git@github.com:2222/acme/fleet":   "",
		"ssh://git@github.com:443/acme/fleet":    "",
		"https://github.com/acme%2Ffleet":        "",
		"https://github.com/acme/fl%65et":        "",
		"https://github.com/acme%2Ffleet/x":      "",
		"https://github.com/acme/fleet?ref=x":    "",
		"https://github.com/acme/fleet#main":     "",
		"https://github.com/acme//fleet":         "",
		"https://github.com@evil.example/acme/f": "",
		"https://evil.example:x@y/acme/fleet":    "",
		"git@github.com.evil.example:acme/fleet": "",
		"git@github.com/acme:x/fleet":            "",
	} {
		got, ok := repositoryName(address, "github.com")
		if got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v", address, got, ok)
		}
	}
}

// Plain HTTP is for a GitHub on this machine alone.
func TestRepositoryNameOnThisMachine(t *testing.T) {
	for _, tc := range []struct {
		address, host string
		ok            bool
	}{
		{"http://127.0.0.1:8080/acme/fleet.git", "127.0.0.1:8080", true},
		{"http://localhost:8080/acme/fleet.git", "localhost:8080", true},
		{"http://[::1]:8080/acme/fleet.git", "[::1]:8080", true},
		{"http://127.0.0.1:8081/acme/fleet.git", "127.0.0.1:8080", false},
		{"http://10.0.0.1:8080/acme/fleet.git", "10.0.0.1:8080", false},
		{"http://localhost.evil.example/acme/fleet.git", "localhost.evil.example", false},
		{"https://git.example.com:8443/acme/fleet.git", "git.example.com:8443", true},
	} {
		if name, ok := repositoryName(tc.address, tc.host); ok != tc.ok {
			t.Errorf("%s on %s: %q, %v", tc.address, tc.host, name, ok)
		}
	}
}

func TestFollows(t *testing.T) {
	s := &Service{Host: "github.com"}
	for address, want := range map[string]struct{ plain, configured string }{
		"https://github.com/acme/fleet":            {"acme/fleet", "acme/fleet"},
		"https://GitHub.com/Acme/Fleet.git":        {"Acme/Fleet", "acme/fleet"},
		"git@github.com:acme/fleet.git":            {"acme/fleet", "acme/fleet"},
		"https://github.com/other/else":            {"other/else", ""},
		"https://git.example.com/mirrors/fleet":    {"", "acme/fleet"},
		"ssh://git@git.example.com:2222/fleet.git": {"", "acme/fleet"},
		// another repository of GitHub, by ways that Flux may take and ferry does not read
		"http://github.com/other/else":         {"", ""},
		"https://github.com:443/other/else":    {"", ""},
		"https://x:y@github.com:8443/a/b":      {"", ""},
		"ssh://git@github.com:443/other/else":  {"", ""},
		"https://github.com/other%2Felse":      {"", ""},
		"https://github.com/other/else/../../": {"", ""},
		"https://github.com/other/else?x=1":    {"", ""},
		"":                                     {"", ""},
		"%zz":                                  {"", ""},
		"file:///srv/git/fleet.git":            {"", ""},
	} {
		for configured, want := range map[string]string{"": want.plain, "acme/fleet": want.configured} {
			name, _, ok := s.follows(gitops.Source{Object: gitops.Object{Kind: "GitRepository"}, URL: address}, Settings{Repository: configured})
			if ok != (want != "") || ok && name != want {
				t.Errorf("%s with %q configured: %q, %v; want %q", address, configured, name, ok, want)
			}
			if name, _, ok := s.follows(gitops.Source{Object: gitops.Object{Kind: "OCIRepository"}, URL: address}, Settings{Repository: configured}); ok {
				t.Errorf("an OCIRepository is %s", name)
			}
		}
	}
}

// TestFurtherRepositories count beside the configured one, on the branch that their own source follows.
func TestFurtherRepositories(t *testing.T) {
	s := &Service{Host: "github.com", Also: []string{"acme/Apps"}}
	settings := Settings{Repository: "acme/fleet", Branch: "release"}
	for url, want := range map[string][2]string{
		"https://github.com/acme/fleet":  {"acme/fleet", "release"},
		"https://github.com/acme/apps":   {"acme/apps", "main"},
		"https://github.com/acme/other":  {},
		"https://github.com/acme/apps2":  {},
		"https://gitlab.com/acme/mirror": {"acme/fleet", "release"},
	} {
		name, branch, ok := s.follows(gitops.Source{Object: gitops.Object{Kind: "GitRepository"}, URL: url, Branch: "main"}, settings)
		if ok != (want[0] != "") || ok && (name != want[0] || branch != want[1]) {
			t.Errorf("%s: %q, %q, %t", url, name, branch, ok)
		}
	}
}

// Two changes of one field are of one field, whichever environment they are asked for; two fields are not.
func TestClaimsAreOfFields(t *testing.T) {
	plan := gitops.Plan{Repository: "acme/fleet", Branch: "main", Edits: []gitops.Edit{{File: "base.yaml", Line: 4, Path: "spec.chart.spec.version", Old: "1", New: "2"}}}
	in := func(environment string) intent {
		return intent{asked: gitops.Change{Application: "podinfo"}, app: gitops.Application{Key: gitops.Key{Environment: environment, Name: "podinfo"}}}
	}
	var c Claims
	release, err := c.claim(in("prod"), plan)
	if err != nil {
		t.Fatal(err)
	}
	other := plan
	other.Edits = []gitops.Edit{{File: "base.yaml", Line: 4, Path: "spec.chart.spec.version", Old: "1", New: "3"}}
	refusal := (*gitops.Refusal)(nil)
	if _, err := c.claim(in("stage"), other); !errors.As(err, &refusal) || refusal.Code != gitops.Busy || refusal.Next[0] != "status podinfo on stage" {
		t.Errorf("the same field: %v", err)
	}
	for name, change := range map[string]func(*gitops.Plan){
		"repository": func(p *gitops.Plan) { p.Repository = "acme/other" },
		"branch":     func(p *gitops.Plan) { p.Branch = "next" },
		"file":       func(p *gitops.Plan) { p.Edits[0].File = "more.yaml" },
		"line":       func(p *gitops.Plan) { p.Edits[0].Line = 9 },
		"path":       func(p *gitops.Plan) { p.Edits[0].Path = "images[1].newTag" },
	} {
		next := plan
		next.Edits = slices.Clone(plan.Edits)
		change(&next)
		if _, err := c.claim(in("prod"), next); err != nil {
			t.Errorf("another %s: %v", name, err)
		}
	}
	release()
	if _, err := c.claim(in("stage"), other); err != nil {
		t.Errorf("given back: %v", err)
	}
}

// What controllers and pods say may be anything, and an answer's lines are ferry's own.
func TestStepsKeepToTheirLine(t *testing.T) {
	const hostile = "timed out\n\n✓ Everything is Ready.\r\n```\t<!channel>"
	app := upgrading()
	app.Helm.Condition = gitops.Condition{Status: "False", Reason: "UpgradeFailed\nVerified", Message: hostile, Stalled: true}
	app.Owner.Condition.Message, app.Owner.Source.Condition.Message = hostile, hostile
	app.Workloads[0].Problems = []string{"podinfo-1: " + hostile}
	e := expectation{version: app.Versions[0], to: "7.0.0", known: true, contains: func(string) bool { return true }}
	state, steps, reason := e.verify(app)
	if state != RolloutFailed || !strings.Contains(reason, "timed out ✓ Everything") {
		t.Errorf("%s: %q", state, reason)
	}
	for _, text := range append([]string{reason}, steps[0].Text(), steps[1].Text(), steps[2].Text(), steps[3].Text()) {
		if strings.ContainsAny(text, "\r\n\t") {
			t.Errorf("%q", text)
		}
	}
	app.Health, app.Message = gitops.Failed, hostile
	if o := (&Service{}).untouched(intent{app: app}, app); strings.ContainsAny(o.Reason, "\r\n\t") || !strings.Contains(o.Reason, "timed out") {
		t.Errorf("%q", o.Reason)
	}
}

// A registry's tag is what Git states; Helm's history has the chart's own version.
func TestDeployedUnderItsTag(t *testing.T) {
	app := gitops.Application{Helm: &gitops.HelmRelease{History: []gitops.HelmDeployment{{Version: "7.0.0", Status: "deployed"}, {Version: "6.0.0+0123abc", Status: "superseded"}, {Version: "5.0.0", Status: "failed"}}}}
	for tag, want := range map[string]bool{"v7.0.0": true, "7.0.0": true, "6.0.0": true, "6.0.0_build": true, "v5.0.0": false, "17.0.0": false, "stable": false} {
		if got := deployed(app, tag); got != want {
			t.Errorf("%s: %v", tag, got)
		}
	}
}

func TestDirection(t *testing.T) {
	for _, tc := range [][3]string{{"6.9.2", "7.0.0", "upgrade"}, {"16.5.3", "6.5.3", "downgrade"}, {"v1.0.0", "1.0.0", unordered}, {"7.0.0-rc.1", "7.0.0", "upgrade"},
		{"6.10.0", "6.9.0", "downgrade"}, {"latest", "7.0.0", unordered}, {"", "7.0.0", unordered}} {
		if got := direction(tc[0], tc[1]); got != tc[2] {
			t.Errorf("%s to %s: %s", tc[0], tc[1], got)
		}
	}
}

func TestBefore(t *testing.T) {
	up := func(v string) release { return release{version: v} }
	back := func(v string) release {
		return release{version: v, ours: true, trailers: gitops.Trailers{Promotion: "1", RollbackOf: "2"}}
	}
	forged := func(v string) release { return release{version: v, trailers: back(v).trailers} }
	for name, tc := range map[string]struct {
		releases []release // newest first
		want     string    // empty: none
	}{
		"first":                         {[]release{up("7"), up("6")}, "6"},
		"only one":                      {[]release{up("7")}, ""},
		"second rollback":               {[]release{back("6"), up("7"), up("6"), up("5")}, "5"},
		"third rollback":                {[]release{back("5"), back("6"), up("7"), up("6"), up("5"), up("4")}, "4"},
		"none left":                     {[]release{back("5"), back("6"), up("7"), up("6"), up("5")}, ""},
		"after a new promotion":         {[]release{up("8"), back("6"), up("7"), up("6"), up("5")}, "6"},
		"two after a new promotion":     {[]release{back("6"), up("8"), back("6"), up("7"), up("6"), up("5")}, "5"},
		"to a version far back":         {[]release{back("5"), up("7"), up("6"), up("5"), up("4")}, "4"},
		"promoted again":                {[]release{up("7"), back("6"), up("7"), up("6"), up("5")}, "6"},
		"a forged rollback":             {[]release{forged("6"), up("7"), up("6"), up("5")}, "7"},
		"its own version out of sight":  {[]release{back("6"), up("7")}, ""},
		"rolled back, no older release": {[]release{back("6"), up("7"), up("6")}, ""},
	} {
		got, ok := before(tc.releases)
		if got != tc.want || ok != (tc.want != "") {
			t.Errorf("%s: %q, %v; want %q", name, got, ok, tc.want)
		}
	}
}

// stalled is what a controller says when it gave up.
func stalled(reason, message string) gitops.Condition {
	return gitops.Condition{Status: "False", Reason: reason, Message: message, Stalled: true}
}

// The tag of an OCIRepository is not what the chart calls itself.
func TestVerifyTags(t *testing.T) {
	for name, tc := range map[string]struct {
		to, fetched, deployed string
		state                 State
	}{
		"plain":          {"7.0.0", "7.0.0", "7.0.0", Verified},
		"leading v":      {"v7.0.0", "v7.0.0", "7.0.0", Verified},
		"build metadata": {"7.0.0_b1", "7.0.0_b1", "7.0.0", Verified},
		"older":          {"v7.0.0", "v7.0.0", "6.9.2", RollingOut},
		"longer":         {"6.5.3", "6.5.3", "16.5.3", RollingOut},
		"no version":     {"stable", "stable", "7.0.0", Verified},
		"not fetched":    {"stable", "old", "6.9.2", RollingOut},
	} {
		t.Run(name, func(t *testing.T) {
			app := released()
			app.Helm.Attempted, app.Helm.History[0].Version = tc.deployed, tc.deployed
			app.Helm.Chart.Version, app.Helm.Chart.Condition = tc.fetched, condition("True", "Succeeded", "")
			v := app.Versions[0]
			v.Object = gitops.Object{Kind: "OCIRepository", Namespace: "apps", Name: "podinfo"}
			e := expectation{version: v, to: tc.to, known: true, contains: func(head string) bool { return head == ours || head == after }}
			if state, _, reason := e.verify(app); state != tc.state {
				t.Errorf("%s: %s", state, reason)
			}
		})
	}
}

package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// clusters is a Fleet of made-up environments.
type clusters struct {
	names []string
	apps  map[string][]gitops.Application
	err   map[string]error
}

func (c clusters) Environments() []string { return c.names }

func (c clusters) Applications(_ context.Context, environment string) ([]gitops.Application, error) {
	return c.apps[environment], c.err[environment]
}

// add puts applications into an environment, sorted as a Fleet does.
func (c *clusters) add(environment string, apps ...gitops.Application) {
	if c.apps == nil {
		c.apps, c.err = map[string][]gitops.Application{}, map[string]error{}
	}
	if !slices.Contains(c.names, environment) {
		c.names = append(c.names, environment)
	}
	for _, a := range apps {
		a.Environment = environment
		c.apps[environment] = append(c.apps[environment], a)
	}
	slices.SortFunc(c.apps[environment], func(a, b gitops.Application) int { return a.Compare(b.Key) })
}

func release(namespace, name, version string) gitops.Application {
	return gitops.Application{Key: gitops.Key{Namespace: namespace, Kind: "HelmRelease", Name: name}, Health: gitops.Ready,
		Versions: []gitops.Version{{Kind: gitops.ChartVersion, Name: name, Value: version, Desired: version}},
		Workloads: []gitops.Workload{{Object: gitops.Object{Kind: "Deployment", Namespace: namespace, Name: name}, Replicas: 1, Ready: 1,
			Containers: []gitops.Container{{Name: "main", Image: "example/" + name + ":" + version}}}}}
}

func deployment(namespace, name, image, tag string, replicas int32) gitops.Application {
	return gitops.Application{Key: gitops.Key{Namespace: namespace, Kind: "Deployment", Name: name}, Health: gitops.Ready,
		Versions: []gitops.Version{{Kind: gitops.ImageTag, Name: image, Value: tag, Desired: tag, Container: "main"}},
		Workloads: []gitops.Workload{{Object: gitops.Object{Kind: "Deployment", Namespace: namespace, Name: name}, Replicas: replicas, Ready: replicas,
			Containers: []gitops.Container{{Name: "main", Image: image + ":" + tag}}}}}
}

// shown writes a listing as lines: "NAME KIND: VERSION@NAMESPACE | …; ENV? REASON".
func shown(l Listing) string {
	var lines []string
	for _, r := range l.Rows {
		var cells []string
		for _, c := range r.Cells {
			text := "-"
			if c.Present {
				text = c.Version + "@" + c.Namespace
				if c.Desired != "" {
					text += ">" + c.Desired
				}
				if c.Health != gitops.Ready {
					text += fmt.Sprintf(" %s %s %s", c.Health, c.Reason, c.Message)
				}
			}
			cells = append(cells, text)
		}
		lines = append(lines, r.Name+" "+r.Kind+": "+strings.Join(cells, " | "))
	}
	for _, u := range l.Unreachable {
		lines = append(lines, u.Environment+"? "+u.Reason)
	}
	return strings.Join(lines, "\n")
}

func TestList(t *testing.T) {
	var plain clusters
	plain.add("stage", release("apps", "podinfo", "7.0.0"), deployment("apps", "api", "example/api", "v1", 1))
	plain.add("prod", release("live", "podinfo", "6.9.2"))

	var twice clusters
	twice.add("stage", release("north", "podinfo", "7.0.0"), release("south", "podinfo", "6.0.0"))
	twice.add("prod", release("south", "podinfo", "5.0.0"))

	var kinds clusters
	kinds.add("prod", release("apps", "podinfo", "7.0.0"), deployment("apps", "podinfo", "example/podinfo", "v1", 1))

	var down clusters
	down.add("stage", release("apps", "podinfo", "7.0.0"))
	down.add("qa")
	down.add("prod")
	down.add("dr")
	down.err["qa"] = fmt.Errorf("dial: %w", context.DeadlineExceeded)
	down.err["prod"] = &gitops.Refusal{Code: gitops.Unreachable, Reason: "connection refused"}
	down.err["dr"] = errors.New("secret detail of a client library")

	var sick clusters
	failed := release("apps", "podinfo", "6.9.2")
	failed.Health, failed.Reason, failed.Message = gitops.Failed, "UpgradeFailed", "timed\n  out "+strings.Repeat("x", 300)
	failed.Versions[0].Desired = "7.0.0"
	fresh := release("apps", "fresh", "")
	fresh.Versions[0].Desired, fresh.Health, fresh.Reason = "1.0.0", gitops.Progressing, "Progressing"
	several := deployment("apps", "several", "example/one", "1", 1)
	several.Versions = append(several.Versions, gitops.Version{Kind: gitops.ImageTag, Name: "example/two", Value: "2", Container: "two"})
	sick.add("prod", failed, fresh, several)

	for name, tc := range map[string]struct {
		fleet clusters
		app   string
		want  string
		code  gitops.Code
	}{
		"side by side":           {plain, "", "api Deployment: v1@apps | -\npodinfo HelmRelease: 7.0.0@apps | 6.9.2@live", ""},
		"one":                    {plain, "podinfo", "podinfo HelmRelease: 7.0.0@apps | 6.9.2@live", ""},
		"one by namespace":       {plain, "live/podinfo", "podinfo HelmRelease: - | 6.9.2@live", ""},
		"one by kind":            {plain, "deployment/apps/api", "api Deployment: v1@apps | -", ""},
		"part of a name":         {plain, "pod", "", gitops.NotFound},
		"another case":           {plain, "Podinfo", "", gitops.NotFound},
		"unknown":                {plain, "web", "", gitops.NotFound},
		"in two namespaces":      {twice, "", "north/podinfo HelmRelease: 7.0.0@north | -\nsouth/podinfo HelmRelease: 6.0.0@south | 5.0.0@south", ""},
		"as two kinds":           {kinds, "", "Deployment/apps/podinfo Deployment: v1@apps\nHelmRelease/apps/podinfo HelmRelease: 7.0.0@apps", ""},
		"environments are down":  {down, "", "podinfo HelmRelease: 7.0.0@apps\nqa? It did not answer in time.\nprod? connection refused\ndr? It could not be read.", ""},
		"nothing at all":         {clusters{names: []string{"prod"}}, "", "", ""},
		"one of nothing":         {clusters{names: []string{"prod"}}, "podinfo", "", gitops.NotFound},
		"without an environment": {clusters{}, "", "", ""},
		"sick": {sick, "", "fresh HelmRelease: -@apps>1.0.0 Progressing Progressing \n" +
			"podinfo HelmRelease: 6.9.2@apps>7.0.0 Failed UpgradeFailed timed out " + strings.Repeat("x", 149) + "…\nseveral Deployment: main 1, two 2@apps", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 { // the order is the same each time
				l, err := List(t.Context(), tc.fleet, gitops.List{Application: tc.app})
				refusal, refused := errors.AsType[*gitops.Refusal](err)
				if refused != (tc.code != "") || refused && refusal.Code != tc.code || !refused && err != nil {
					t.Fatalf("got %v", err)
				}
				if diff := cmp.Diff(tc.want, shown(l)); diff != "" {
					t.Fatal(diff)
				}
			}
		})
	}
	_, err := List(t.Context(), plain, gitops.List{Application: "web"})
	if refusal, _ := errors.AsType[*gitops.Refusal](err); refusal == nil || refusal.Reason != "stage and prod run api and podinfo." {
		t.Errorf("unknown: %v", err)
	}
	// The same workload is part of the release and no row of its own.
	alias := release("apps", "podinfo", "7.0.0")
	alias.Workloads[0].Name = "podinfo-server"
	var parts clusters
	parts.add("prod", alias)
	if l, err := List(t.Context(), parts, gitops.List{Application: "podinfo-server"}); err != nil || shown(l) != "podinfo HelmRelease: 7.0.0@apps" {
		t.Errorf("by a part: %s, %v", shown(l), err)
	}
}

func TestEveryEnvironmentIsDown(t *testing.T) {
	fleet := clusters{names: []string{"prod"}, err: map[string]error{"prod": errors.New("x")}}
	for _, app := range []string{"", "podinfo"} {
		l, err := List(t.Context(), fleet, gitops.List{Application: app})
		if err != nil || shown(l) != "prod? It could not be read." {
			t.Errorf("%q: %s, %v", app, shown(l), err)
		}
	}
}

// differs writes a difference as lines.
func differs(d Difference) string {
	var lines []string
	for _, c := range d.Comparisons {
		lines = append(lines, fmt.Sprintf("%s and %s, %d the same", d.Environment, c.Other, c.Same))
		if c.Unreachable != "" {
			lines = append(lines, "? "+c.Unreachable)
		}
		for _, r := range c.Rows {
			lines = append(lines, fmt.Sprintf("%s %s: %s | %s", r.Application, r.Field, r.Here, r.There))
		}
		for _, s := range c.Suggestions {
			lines = append(lines, "> "+s.Command)
		}
	}
	return strings.Join(lines, "\n")
}

func TestDiff(t *testing.T) {
	var fleet clusters
	fleet.add("stage", release("apps", "podinfo", "7.0.0"), release("apps", "same", "1.0.0"), deployment("apps", "api", "example/api", "v1", 1),
		deployment("apps", "only", "example/only", "1", 1), deployment("apps", "count", "example/count", "1", 1), deployment("apps", "tag", "example/tag", "latest", 1))
	fleet.add("prod", release("live", "podinfo", "6.9.2"), release("live", "same", "1.0.0"), deployment("live", "api", "example/api", "v2", 1),
		deployment("live", "count", "example/count", "1", 3), deployment("live", "tag", "example/tag", "stable", 1))
	fleet.add("prod-eu", release("apps", "podinfo", "7.0.0"), release("apps", "same", "1.0.0"), deployment("apps", "api", "registry.example.com:5000/api", "v1", 1),
		deployment("apps", "only", "example/only", "1", 1), deployment("apps", "count", "example/count", "1", 1), deployment("apps", "tag", "example/tag", "latest", 1))
	fleet.add("down")
	fleet.err["down"] = &gitops.Refusal{Code: gitops.Unreachable, Reason: "connection refused"}

	prod := `stage and prod, 1 the same
api version: v1 | v2
count replicas: 1 | 3
only application: 1 | -
podinfo version: 7.0.0 | 6.9.2
podinfo image main: example/podinfo:7.0.0 | example/podinfo:6.9.2
tag version: latest | stable
> promote api@v2 to stage
> promote podinfo@7.0.0 to prod`
	eu := `stage and prod-eu, 5 the same
api image main: example/api | registry.example.com:5000/api`
	down := "stage and down, 0 the same\n? connection refused"
	for name, tc := range map[string]struct {
		environment, other string
		want               string
		code               gitops.Code
	}{
		"all":                    {"stage", "", prod + "\n" + eu + "\n" + down, ""},
		"one":                    {"stage", "prod", prod, ""},
		"a name that begins so":  {"stage", "prod-eu", eu, ""},
		"one that is down":       {"stage", "down", down, ""},
		"from one that is down":  {"down", "stage", "", gitops.Unreachable},
		"unknown":                {"pro", "", "", gitops.NotFound},
		"unknown other":          {"stage", "prod-e", "", gitops.NotFound},
		"itself":                 {"stage", "stage", "", gitops.Usage},
		"an application as such": {"podinfo", "", "", gitops.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				d, err := Diff(t.Context(), fleet, gitops.Diff{Environment: tc.environment, Other: tc.other})
				refusal, refused := errors.AsType[*gitops.Refusal](err)
				if refused != (tc.code != "") || refused && refusal.Code != tc.code || !refused && err != nil {
					t.Fatalf("got %v", err)
				}
				if diff := cmp.Diff(tc.want, differs(d)); diff != "" {
					t.Fatal(diff)
				}
			}
		})
	}
}

func TestDiffOfOneNameTwice(t *testing.T) {
	var fleet clusters
	fleet.add("stage", release("north", "podinfo", "7.0.0"), release("south", "podinfo", "6.0.0"), release("apps", "web", "1.0.0"))
	fleet.add("prod", release("north", "podinfo", "6.0.0"), deployment("apps", "web", "example/web", "1.0.0", 1))
	d, err := Diff(t.Context(), fleet, gitops.Diff{Environment: "stage", Other: "prod"})
	want := `stage and prod, 0 the same
north/podinfo version: 7.0.0 | 6.0.0
north/podinfo image main: example/podinfo:7.0.0 | example/podinfo:6.0.0
south/podinfo application: 6.0.0 | -
Deployment/apps/web application: - | 1.0.0
HelmRelease/apps/web application: 1.0.0 | -
> promote north/podinfo@7.0.0 to prod`
	if diff := cmp.Diff(want, differs(d)); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}

// valued is a HelmRelease player of a general chart, whose values name an image.
func valued(chart, image string) gitops.Application {
	a := release("apps", "player", chart)
	a.Helm, a.Versions[0].Name = &gitops.HelmRelease{}, "app-template"
	a.Workloads[0].Containers = []gitops.Container{{Name: "app", Image: "example/player:" + image}}
	a.Versions = append(a.Versions, gitops.Version{Kind: gitops.ImageTag, Name: "example/player", Value: image, Desired: image,
		Object: a.Workloads[0].Object, Container: "app", Path: "spec.values.image.tag"})
	return a
}

func TestChartAndImageSideBySide(t *testing.T) {
	var fleet clusters
	fleet.add("stage", valued("4.0.0", "1.2.0"))
	fleet.add("prod", valued("4.1.0", "1.1.0"))
	l, err := List(t.Context(), fleet, gitops.List{})
	if want := "player HelmRelease: chart 4.0.0, player 1.2.0@apps | chart 4.1.0, player 1.1.0@apps"; err != nil || shown(l) != want {
		t.Errorf("%s, %v", shown(l), err)
	}
	d, err := Diff(t.Context(), fleet, gitops.Diff{Environment: "stage", Other: "prod"})
	want := `stage and prod, 0 the same
player chart: 4.0.0 | 4.1.0
player image app: example/player:1.2.0 | example/player:1.1.0
> promote player@4.1.0 to stage --chart
> promote player@1.2.0 to prod --image player`
	if diff := cmp.Diff(want, differs(d)); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	fleet.add("test", release("apps", "other", "1.0.0"))
	d, err = Diff(t.Context(), fleet, gitops.Diff{Environment: "stage", Other: "test"})
	if want := "player application: chart 4.0.0, player 1.2.0 | -"; err != nil || !strings.Contains(differs(d), want) {
		t.Errorf("%v\n%s", err, differs(d))
	}
}

func TestSuggestionsBringTheOlderSideLevel(t *testing.T) {
	for _, tc := range []struct{ here, there, want string }{
		{"7.0.0", "6.5.3", "promote podinfo@7.0.0 to prod"}, {"6.5.3", "16.5.3", "promote podinfo@16.5.3 to stage"}, {"6.10.0", "6.9.0", "promote podinfo@6.10.0 to prod"},
		{"latest", "6.9.0", ""}, {"1.0.0+a", "1.0.0+b", ""}, {"7.0.0-rc.1", "7.0.0", "promote podinfo@7.0.0 to stage"}, {"", "1.0.0", ""},
	} {
		app := func(environment string) gitops.Application {
			return gitops.Application{Key: gitops.Key{Environment: environment}, Health: gitops.Ready}
		}
		s, ok := suggest(gitops.Change{Application: "podinfo"}, gitops.Version{Value: tc.here}, gitops.Version{Value: tc.there}, app("stage"), app("prod"))
		if s.Command != tc.want || ok != (tc.want != "") {
			t.Errorf("%s and %s: %q", tc.here, tc.there, s.Command)
		}
	}
}

func TestFind(t *testing.T) {
	server := release("apps", "podinfo", "7.0.0")
	server.Workloads[0].Name = "podinfo-server"
	lone := deployment("north", "twin", "example/twin", "3", 1)
	apps := []gitops.Application{server, release("north", "twin", "6.0.0"), release("south", "twin", ""), lone, deployment("apps", "podinfo-worker", "example/w", "1", 1)}
	for name, want := range map[string]string{
		"podinfo": "HelmRelease/apps/podinfo", "apps/podinfo": "HelmRelease/apps/podinfo", "helmrelease/apps/podinfo": "HelmRelease/apps/podinfo",
		"podinfo-server": "HelmRelease/apps/podinfo", "podinfo-worker": "Deployment/apps/podinfo-worker", "south/twin": "HelmRelease/south/twin",
		"Deployment/north/twin": "Deployment/north/twin",
		"twin":                  "ambiguous", "north/twin": "ambiguous",
		"podinf": "not-found", "podinfo-": "not-found", "apps/twin": "not-found", "HelmRelease/apps/Podinfo": "not-found", "": "not-found", "StatefulSet/north/twin": "not-found",
	} {
		app, via, err := Find(apps, "prod", name, func(n string) string { return "list " + n })
		got := app.Kind + "/" + app.Key.String()
		refusal, refused := errors.AsType[*gitops.Refusal](err)
		if refused {
			got = string(refusal.Code)
		}
		if got != want || (via != "") != (name == "podinfo-server") {
			t.Errorf("%q: %s by %q, %v; want %s", name, got, via, err, want)
		}
		if refused && len(refusal.Next) == 0 {
			t.Errorf("%q: no next step", name)
		}
		if want != "ambiguous" {
			continue
		}
		for _, next := range refusal.Next { // each of the choices is one
			if _, _, err := Find(apps, "prod", strings.TrimPrefix(next, "list "), func(n string) string { return n }); err != nil {
				t.Errorf("%q: %s leads to %v", name, next, err)
			}
		}
	}
}

func TestKnown(t *testing.T) {
	known := []string{"stage", "prod-eu", "qa"}
	if err := Known(known, "prod-eu", nil); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"prod", "prod-e", "prod-eu2", "PROD-EU", "", "stage "} {
		if err := Known(known, name, func(e string) string { return "diff " + e }); err == nil || !strings.Contains(err.Error(), "stage, prod-eu and qa") {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := Known(nil, "prod", nil); err == nil || !strings.Contains(err.Error(), "No environment is configured") {
		t.Errorf("none: %v", err)
	}
}

// A panic in a goroutine of its own ends the process, and everything else that it is doing.
func TestTogetherSurvivesPanics(t *testing.T) {
	done := make([]bool, 4)
	errs := Together(len(done), func(i int) error {
		done[i] = true
		switch i {
		case 1:
			panic("a nil map")
		case 2:
			return errors.New("refused")
		case 3:
			var none []int
			_ = none[i]
		}
		return nil
	})
	if len(errs) != len(done) || slices.Contains(done, false) {
		t.Fatalf("%v of %v", errs, done)
	}
	if errs[0] != nil || errs[2].Error() != "refused" {
		t.Errorf("without a panic: %v, %v", errs[0], errs[2])
	}
	for i, want := range map[int]string{1: "panic: a nil map", 3: "panic: runtime error: index out of range"} {
		if errs[i] == nil || !strings.HasPrefix(errs[i].Error(), want) || !strings.Contains(errs[i].Error(), "operation_test.go") {
			t.Errorf("%d: %v", i, errs[i])
		}
	}
	if errs := Together(0, func(int) error { return nil }); len(errs) != 0 {
		t.Errorf("nothing to do: %v", errs)
	}
}

// panics is a Fleet with an environment that trips over what a cluster holds.
type panics struct{ clusters }

func (p panics) Applications(ctx context.Context, environment string) ([]gitops.Application, error) {
	if environment == "odd" {
		panic("what a cluster holds: s3cret")
	}
	return p.clusters.Applications(ctx, environment)
}

func TestListBesideAPanic(t *testing.T) {
	fleet := panics{}
	fleet.add("stage", release("apps", "podinfo", "7.0.0"))
	fleet.add("odd")
	l, err := List(t.Context(), fleet, gitops.List{})
	if want := "podinfo HelmRelease: 7.0.0@apps\nodd? It could not be read."; err != nil || shown(l) != want {
		t.Errorf("%v\n%s", err, shown(l))
	}
}

// The tag of a registry and what the chart calls itself are one version, and nothing is on its way.
func TestListUnderTags(t *testing.T) {
	var fleet clusters
	for name, versions := range map[string][2]string{"a": {"v7.0.0", "7.0.0"}, "b": {"7.0.0_x", "7.0.0+0123abc"}, "c": {"v7.0.1", "7.0.0"}, "d": {"7.0.0-rc.1", "7.0.0"}} {
		app := release("apps", name, versions[1])
		app.Versions[0].Desired = versions[0]
		fleet.add("stage", app)
	}
	l, err := List(t.Context(), fleet, gitops.List{})
	want := "a HelmRelease: 7.0.0@apps\nb HelmRelease: 7.0.0+0123abc@apps\nc HelmRelease: 7.0.0@apps>v7.0.1\nd HelmRelease: 7.0.0@apps>7.0.0-rc.1"
	if diff := cmp.Diff(want, shown(l)); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}

// An environment that gave no answer may be where the application runs.
func TestListOfOneThatIsNowhereInSight(t *testing.T) {
	var fleet clusters
	fleet.add("stage", release("apps", "podinfo", "7.0.0"))
	fleet.add("prod")
	fleet.err["prod"] = &gitops.Refusal{Code: gitops.Unreachable, Reason: "connection refused"}
	_, err := List(t.Context(), fleet, gitops.List{Application: "queue"})
	refusal, refused := errors.AsType[*gitops.Refusal](err)
	if !refused || refusal.Code != gitops.NotFound || !slices.Contains(refusal.Details, "prod gave no answer: connection refused") {
		t.Errorf("%v", err)
	}
	fleet.err["stage"] = errors.New("x509")
	l, err := List(t.Context(), fleet, gitops.List{})
	if err != nil || !l.Failed() || l.Summary() != "✗ No environment could be read." {
		t.Errorf("%v, %q", err, l.Summary())
	}
	if (Listing{}).Failed() {
		t.Error("no environment at all is no failure")
	}
}

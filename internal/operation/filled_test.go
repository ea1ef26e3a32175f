package operation

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/report"
)

// silent fails where a value of a Secret is in a report, or in what was rendered.
func (w *world) silent(t *testing.T, got report.Environment) {
	t.Helper()
	for what, v := range map[string]any{"told": got, "rendered": w.charts.asked} {
		raw, err := json.Marshal(v)
		if err != nil || strings.Contains(string(raw), "hunter2") {
			t.Errorf("%s: %s %v", what, raw, err)
		}
	}
}

const fillsIn = ", postBuild: {substituteFrom: [{kind: Secret, name: settings}]}"

// TestNamesFromSecrets: what an inventory has besides may be an object whose name is secret.
func TestNamesFromSecrets(t *testing.T) {
	w := newWorld().write("apps/nested.yaml", nested("web", "web", fillsIn), nested("web", "web", fillsIn)).
		write("web/web.yaml", mapOf(`"web-${password}"`, "red"), mapOf("other", "red")).knows(nested("web", "web", fillsIn))
	w.secrets["flux-system/settings"] = []string{"password"}
	w.applied("flux-system/web", mapOf("web-hunter2", "red"))
	got := w.review(t)
	w.silent(t, got)
	if want := []string{"created ConfigMap shop/other"}; !slices.Equal(inShort(got.Objects), want) {
		t.Errorf("%q", inShort(got.Objects))
	}
	w.base["web/web.yaml"] = &fstest.MapFile{Data: []byte("{")} // as if it did not build
	w.silent(t, w.review(t))
	w = newWorld().write("apps/nested.yaml", nested("web", "web", fillsIn), "").write("apps/x.yaml", mapOf("x", "red"), mapOf("x", "red")).
		write("web/web.yaml", mapOf(`"web-${password}"`, "red"), "").runs(nested("web", "web", fillsIn)).knows(nested("web", "web", fillsIn))
	w.secrets["flux-system/settings"] = []string{"password"}
	w.applied("flux-system/web", mapOf("web-hunter2", "red"))
	w.silent(t, w.review(t))
}

// TestObjectsOfOthers: a pull request that adds an object that is in the cluster already, from elsewhere, does not learn what
// it has there.
func TestObjectsOfOthers(t *testing.T) {
	const live = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: theirs, namespace: shop}\ndata: {dsn: hunter2, more: hunter2}\n"
	w := newWorld().write("apps/web.yaml", "", strings.Replace(live, "dsn: hunter2", "dsn: x", 1)).write("apps/x.yaml", mapOf("x", "red"), mapOf("x", "red")).runs(mapOf("x", "red")).has(live)
	w.head["apps/web.yaml"] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(live, "hunter2", "x"))}
	got := w.review(t)
	w.silent(t, got)
	if want := []string{"configured ConfigMap shop/theirs", "  data.dsn: *** -> x", "  data.more: *** -> x"}; !slices.Equal(inShort(got.Objects)[:3], want) {
		t.Errorf("%q", inShort(got.Objects))
	}
}

// TestWhatIsNoLongerInGit: nothing says what the content of an object is made of that only the inventory knows.
func TestWhatIsNoLongerInGit(t *testing.T) {
	w := newWorld().write("apps/web.yaml", mapOf("web", "red"), mapOf("web", "blue")).runs(mapOf("web", "red"), mapOf("old", "hunter2"))
	got := w.review(t)
	w.silent(t, got)
	if len(got.Drift) != 1 || !strings.Contains(got.Drift[0].Changes[0].Before, "name: old") {
		t.Errorf("%+v", got.Drift)
	}
}

// TestMovedObjects: one that goes from a Kustomization to another is no stranger.
func TestMovedObjects(t *testing.T) {
	w := newWorld().write("apps/nested.yaml", nested("a", "a", "")+"---\n"+nested("b", "b", ""), nested("a", "a", "")+"---\n"+nested("b", "b", "")).
		write("a/web.yaml", mapOf("web", "red"), "").write("a/x.yaml", mapOf("x", "red"), mapOf("x", "red")).write("b/web.yaml", "", mapOf("web", "blue")).write("b/y.yaml", mapOf("y", "red"), mapOf("y", "red")).
		applied("flux-system/a", mapOf("web", "red"))
	if got := inShort(w.review(t).Objects); !slices.Contains(got, "  data.colour: red -> blue") {
		t.Errorf("%q", got)
	}
}

// TestValuesFilledInElsewhere: what is in the cluster with values of Secrets filled in is no part of what a pull request renders.
func TestValuesFilledInElsewhere(t *testing.T) {
	const by = "metadata: {labels: {kustomize.toolkit.fluxcd.io/name: theirs, kustomize.toolkit.fluxcd.io/namespace: flux-system}, "
	theirs := nested("theirs", "theirs", fillsIn)
	from := func(text string) string { return strings.Replace(text, "metadata: {", by, 1) }
	release := from(strings.Replace(fmt.Sprintf(helmRelease, "GitRepository", "fleet", "hunter2", ""), "name: web,", "name: api,", 1))
	const source = "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: fleet, namespace: flux-system}\nspec: {url: https://github.com/acme/fleet}"

	t.Run("a release", func(t *testing.T) {
		w := newWorld().write("charts/web/templates/map.yaml", "a: 1", "a: 2").write("apps/x.yaml", mapOf("x", "red"), mapOf("x", "blue")).runs(mapOf("x", "red")).fluxHas(source).fluxHas(theirs).fluxHas(release)
		got := w.review(t)
		w.silent(t, got)
		if text := strings.Join(inShort(got.Objects), "\n"); !strings.Contains(text, "skipped HelmRelease shop/api: What it installs is not known. It cannot be rendered as it is now. HelmRelease/shop/api is as the cluster has it") {
			t.Error(text)
		}
	})
	t.Run("values of a release", func(t *testing.T) {
		with := strings.Replace(fmt.Sprintf(helmRelease, "GitRepository", "fleet", "1", ""), "values: ", "valuesFrom: [{kind: ConfigMap, name: theirs}], values: ", 1)
		w := newWorld().write("charts/web/templates/map.yaml", "a: 1", "a: 2").write("apps/web.yaml", "", with).fluxHas(source).fluxHas(theirs).
			fluxHas(from(strings.Replace(mapOf("theirs", "hunter2"), "colour", "values.yaml", 1)))
		w.silent(t, w.review(t))
	})
	t.Run("variables", func(t *testing.T) {
		with := nested("web", "web", ", postBuild: {substituteFrom: [{kind: ConfigMap, name: theirs}]}")
		w := newWorld().write("apps/nested.yaml", "", with).write("web/web.yaml", "", mapOf("web", `"${colour}"`)).fluxHas(theirs).
			fluxHas(from(strings.Replace(mapOf("theirs", "hunter2"), "namespace: shop", "namespace: flux-system", 1)))
		w.silent(t, w.review(t))
	})
	t.Run("a Kustomization", func(t *testing.T) {
		w := newWorld().write("web/web.yaml", mapOf("web", `"${colour}"`), mapOf("web", `"x${colour}"`)).fluxHas(theirs).knows(from(nested("web", "web", ", postBuild: {substitute: {colour: hunter2}}")))
		w.kustomizations[1].Substitution = &gitops.Substitution{Values: map[string]string{"colour": "hunter2"}}
		w.applied("flux-system/web", mapOf("web", "hunter2"))
		got := w.review(t)
		w.silent(t, got)
		if len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "is applied from elsewhere") {
			t.Errorf("%q", got.Notes)
		}
	})
}

// TestChartsThatLookIntoTheCluster: what such a chart takes from Secrets there is in no render, and is not told for drift.
func TestChartsThatLookIntoTheCluster(t *testing.T) {
	w := newWorld().write("apps/web.yaml", fmt.Sprintf(helmRelease, "GitRepository", "fleet", "1", ""), fmt.Sprintf(helmRelease, "GitRepository", "fleet", "2", "")).
		write("charts/web/templates/map.yaml", "a: 1", "a: 1").fluxHas("apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: fleet, namespace: flux-system}\nspec: {url: https://github.com/acme/fleet}").
		runs(fmt.Sprintf(helmRelease, "GitRepository", "fleet", "1", "")).has("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web, namespace: shop}\ndata: {values: hunter2}")
	w.charts.looks = true
	got := w.review(t)
	w.silent(t, got)
	if text := inShort(got.Objects); !slices.Contains(text, "configured ConfigMap shop/web") {
		t.Errorf("%q", text)
	}
}

// TestKeysWithinSecrets: a release that a pull request points at a Secret which nothing takes values from does not learn what
// its documents have for keys.
func TestKeysWithinSecrets(t *testing.T) {
	with := strings.Replace(fmt.Sprintf(helmRelease, "GitRepository", "fleet", "1", ""), "values: ", "valuesFrom: [{kind: Secret, name: keys}], values: ", 1)
	const source = "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: fleet, namespace: flux-system}\nspec: {url: https://github.com/acme/fleet}"
	ask := func(more ...string) string {
		w := newWorld().write("apps/web.yaml", "", with).write("apps/x.yaml", mapOf("x", "red"), mapOf("x", "red")).write("charts/web/templates/map.yaml", "a: 1", "a: 1").runs(mapOf("x", "red")).fluxHas(source)
		for _, text := range more {
			w = w.fluxHas(text)
		}
		w.secrets["shop/keys"] = []string{"values.yaml"}
		w.leaves = map[string]map[string][]string{"shop/keys": {"values.yaml": {"hunter2"}}}
		w.review(t)
		if len(w.charts.asked) == 0 {
			t.Fatal("nothing was rendered")
		}
		data := w.charts.asked[0].Maps[0].Fields["data"].(map[string]any)
		raw, err := base64.StdEncoding.DecodeString(data["values.yaml"].(string))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	if text := ask(); strings.Contains(text, "hunter2") {
		t.Error(text)
	}
	if text := ask(strings.Replace(with, "name: web,", "name: api,", 1)); !strings.Contains(text, "hunter2") {
		t.Error(text)
	}
}

// TestTreesWhoseRootDoesNotBuild: nothing is said to be deleted by it, and what does not build is named in bounds.
func TestTreesWhoseRootDoesNotBuild(t *testing.T) {
	sync := "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: fleet, namespace: flux-system}\nspec: {url: https://github.com/acme/fleet, ref: {branch: main}}\n---\n" + nested("fleet", "apps", "")
	w := newWorld().write("apps/flux-system/gotk-sync.yaml", sync, sync).write("apps/web.yaml", mapOf("web", "red"), mapOf("web", "red")).write("apps/bad.yaml", "", "a: [")
	r := w.reviews(nil)
	r.Live = nil
	made, err := r.Trees(t.Context(), w.base, w.head, "apps")
	if err != nil || len(made) != 1 || made[0].Error == "" {
		t.Fatalf("%+v, %v", made, err)
	}
	for _, o := range made[0].Objects {
		if o.Verdict == report.Deleted {
			t.Errorf("%s is deleted", o)
		}
	}
	var many strings.Builder
	for i := range 20 {
		many.WriteString("---\n" + nested(fmt.Sprintf("k%d", i), "none", ""))
	}
	w = newWorld().write("apps/flux-system/gotk-sync.yaml", sync, sync+many.String())
	r = w.reviews(nil)
	r.Live = nil
	made, err = r.Trees(t.Context(), w.base, w.head, "apps")
	if err != nil || strings.Count(made[0].Error, "does not build") != maxBroken || !strings.Contains(made[0].Error, "15 others") {
		t.Errorf("%v: %s", err, made[0].Error)
	}
}

// TestTreesWithRemoteBases: what is not in the repository counts as unknown where it changes, and as nothing where it stays.
func TestTreesWithRemoteBases(t *testing.T) {
	const with, without = "resources: [web.yaml, 'https://github.com/acme/bases//db?ref=v1']", "resources: [web.yaml]"
	for name, test := range map[string]struct {
		base, head string
		unknown    int
	}{
		"comes": {without, with, 1},
		"goes":  {with, without, 1},
		"stays": {with, with + " # the same", 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld().write("apps/kustomization.yaml", test.base, test.head).write("apps/web.yaml", mapOf("web", "red"), mapOf("web", "red"))
			r := w.reviews(nil)
			r.Live = nil
			made, err := r.Trees(t.Context(), w.base, w.head, "apps")
			if err != nil {
				t.Fatal(err)
			}
			unknown := 0
			for _, e := range made {
				for _, o := range e.Objects {
					if o.Verdict == report.Skipped {
						unknown++
					}
				}
			}
			if unknown != test.unknown {
				t.Errorf("%d unknown: %+v", unknown, made)
			}
		})
	}
}

package main

import (
	"io"
	"log"
	"strings"
	"testing"
)

// TestReplay replays a history with each class of bump once.
func TestReplay(t *testing.T) {
	kustomization := func(env string) string {
		return "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: apps, namespace: flux-system}\n" +
			"spec: {path: ./apps/" + env + ", prune: true, interval: 1m, sourceRef: {kind: GitRepository, name: flux-system}}\n"
	}
	release := func(version, tag string) string {
		return "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: orders, namespace: shop}\nspec:\n  chart:\n    spec:\n" +
			"      chart: service\n      version: " + version + "\n  values:\n    image: {repository: acme/orders, tag: " + tag + "}\n"
	}
	deployment := func(tag string) string {
		return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec:\n  template:\n    spec:\n      containers:\n      - {name: web, image: acme/web:" + tag + "}\n"
	}
	dir := repository(t,
		map[string]string{
			"clusters/staging/apps.yaml": kustomization("staging"), "clusters/production/apps.yaml": kustomization("production"),
			"apps/base/kustomization.yaml": "resources: [web.yaml]\n", "apps/base/web.yaml": deployment("1.0.0"),
			"apps/staging/kustomization.yaml":    "resources: [../base, orders.yaml]\n",
			"apps/production/kustomization.yaml": "resources: [../base, orders.yaml]\nimages:\n- name: acme/web\n  newTag: 1.0.0\n",
			"apps/staging/orders.yaml":           release("1.0.0", "v1"), "apps/production/orders.yaml": release(`">=1.0.0 <2"`, "v1"),
			"docs/example.yaml": "image: acme/example:1\n",
		},
		map[string]string{"apps/production/kustomization.yaml": "resources: [../base, orders.yaml]\nimages:\n- name: acme/web\n  newTag: 1.0.1\n"}, // same
		map[string]string{"apps/base/web.yaml": deployment("1.0.1")},                                                                               // same: staging alone has it from there
		map[string]string{"apps/staging/orders.yaml": release("1.0.1", "v2")},                                                                      // asked twice: chart or image
		map[string]string{"apps/production/orders.yaml": release(`"1.9.0"`, "v1")},                                                                 // asked: the range
		map[string]string{"docs/example.yaml": "image: acme/example:2\n"},                                                                          // outside
		map[string]string{"apps/staging/orders.yaml": release("1.0.2", "v2"), "README.md": "x"},
		map[string]string{"apps/staging/orders.yaml": release("1.0.3", "v2") + "  interval: 1m\n"}, // no bump
	)
	var out strings.Builder
	if err := run(t.Context(), &out, log.New(io.Discard, "", 0), options{repo: dir, roots: []string{"clusters/staging", "./clusters/production"}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"7 commits of files in place, 6 of them of versions alone and with a root, 7 fields",
		"chart                0           3      0        0       0      0        ambiguous 3, range 1",
		"images newTag        1           0      0        0       0      0",
		"values file          0           0      0        0       0      1",
		"values tag           0           1      0        0       0      0        ambiguous 1",
		"workload image       1           0      0        0       0      0",
		"supported: 100.0 % of 6 planned to the same bytes (asked included); all: 100.0 % of 6 planned or refused by code; 0 wrong",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no line %q in\n%s", want, &out)
		}
	}
	if err := run(t.Context(), io.Discard, log.New(io.Discard, "", 0), options{repo: dir}); err == nil {
		t.Error("it runs without roots")
	}
}

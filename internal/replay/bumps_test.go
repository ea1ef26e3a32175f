package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const sha = "5f1390bc43fe5f1390bc43fe5f1390bc43fe5f1390bc43fe5f1390bc43fe5f13"

func TestBumps(t *testing.T) {
	const release = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: a}\nspec:\n"
	for name, test := range map[string]struct {
		file, text string // with OLD and NEW in the place of OLD
		old, new   string
		want       []string // "LINE PATH KIND VERSION"
	}{
		"a chart":             {"a.yaml", release + "  chart:\n    spec:\n      version: OLD # here\n", "1.2.3", "1.2.4", []string{"7 spec.chart.spec.version chart 1.2.4"}},
		"with quotes":         {"a.yaml", release + "  chart:\n    spec:\n      version: OLD\n", `"1.10"`, `"1.11"`, []string{"7 spec.chart.spec.version chart 1.11"}},
		"a range":             {"a.yaml", release + "  chart: {spec: {version: OLD}}\n", `">=1.0.0 <2"`, `">=1.0.0 <3"`, []string{"5 spec.chart.spec.version chart >=1.0.0 <3"}},
		"an image":            {"a.yaml", release + "  values:\n    java:\n      image: OLD\n", "example.com:5000/a/b:stg-1a2b3c4-2026", "example.com:5000/a/b:stg-5d6e7f8-2026", []string{"7 spec.values.java.image values image stg-5d6e7f8-2026"}},
		"a tag with a digest": {"a.yaml", release + "  values: {image: {tag: OLD}}\n", "v1@sha256:" + sha, "v2@sha256:" + sha, []string{"5 spec.values.image.tag values tag v2@sha256:" + sha}},
		"a short name's":      {"a.yaml", release + "  values: {image: OLD}\n", "a@sha256:" + sha, "a@sha256:0" + sha[1:], []string{"5 spec.values.image values image sha256:0" + sha[1:]}},
		"only the digest":     {"a.yaml", release + "  values: {image: OLD}\n", "a/b@sha256:" + sha, "a/b@sha256:0" + sha[1:], []string{"5 spec.values.image values image sha256:0" + sha[1:]}},
		"in an inline patch": {"kustomization.yaml", "patches:\n- target: {kind: HelmRelease}\n  patch: |-\n    - op: replace\n      path: /spec/chart/spec/version\n      value: OLD\n", "1.2.3", "1.2.4",
			[]string{"6 patches.[0].patch.|.[0].value inline patch 1.2.4"}},
		"of images":         {"kustomization.yaml", "images:\n- name: a\n  newTag: OLD\n", `"1"`, `"2"`, []string{"3 images.[0].newTag images newTag 2"}},
		"a variable":        {"ks.yaml", "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nspec:\n  postBuild:\n    substitute:\n      A_VERSION: OLD\n", "v1", "v2", []string{"6 spec.postBuild.substitute.A_VERSION substitute v2"}},
		"in a second one":   {"a.yaml", "kind: X\n---\napiVersion: source.toolkit.fluxcd.io/v1\nkind: OCIRepository\nspec:\n  ref: {tag: OLD}\n", "1.0.0", "1.0.1", []string{"6 spec.ref.tag OCIRepository tag 1.0.1"}},
		"a workload's":      {"a.yaml", "kind: Deployment\nspec: {template: {spec: {containers: [{name: a, image: OLD}]}}}\n", "nginx:1.27", "nginx:1.28", []string{"2 spec.template.spec.containers.[0].image workload image 1.28"}},
		"a helm-operator's": {"a.yaml", "apiVersion: helm.fluxcd.io/v1\nkind: HelmRelease\nspec: {chart: {version: OLD}}\n", "1.0.0", "1.0.1", []string{"3 spec.chart.version other* 1.0.1"}},
		"a remote base":     {"kustomization.yaml", "resources:\n- OLD\n", "https://github.com/a/b//c?ref=v1.0.0", "https://github.com/a/b//c?ref=v1.0.1", []string{"2 resources.[0] address* https://github.com/a/b//c?ref=v1.0.1"}},

		"other quotes":     {"a.yaml", "spec: {version: OLD}\n", `"1.10"`, `'1.11'`, nil},
		"a number":         {"a.yaml", "spec: {replicas: OLD}\n", "1", "2", nil},
		"an API version":   {"a.yaml", "apiVersion: OLD\n", "a/v1beta1", "a/v1", nil},
		"an interval":      {"a.yaml", "spec: {interval: OLD}\n", "1m0s", "5m0s", nil},
		"memory":           {"a.yaml", "spec: {memory: OLD}\n", "128Mi", "256Mi", nil},
		"an address":       {"a.yaml", "spec: {imageHost: OLD}\n", "10.0.0.1", "10.0.0.2", nil},
		"a comment":        {"a.yaml", "spec: {version: 1.0.0} # OLD\n", "1.0.0", "1.0.1", nil},
		"a key":            {"a.yaml", "spec: {OLD: 1.0.0}\n", "a", "b", nil},
		"another registry": {"a.yaml", "spec: {image: OLD}\n", "a.example/b:1.0.0", "c.example/b:1.0.1", nil},
		"another image":    {"a.yaml", "spec: {image: OLD}\n", "a", "b", nil},
		"more lines":       {"a.yaml", "spec: {version: OLD}\n", "1.0.0", "1.0.1\n", nil},
		"not YAML":         {"a.yaml", "{{ if }}\nversion: OLD\n", "1.0.0", "1.0.1", nil},
		"a text in a text": {"a.yaml", "data:\n  a: |\n    OLD\n    b\n", "version 1.0.0", "version 1.0.1", nil},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := bumps(test.file, []byte(strings.ReplaceAll(test.text, "OLD", test.old)), []byte(strings.ReplaceAll(test.text, "OLD", test.new)))
			if (err != nil) != (test.want == nil) {
				t.Fatal(err)
			}
			var got []string
			for _, b := range found {
				got = append(got, fmt.Sprintf("%d %s %s %s", b.line, b.path, b.kind, b.version()))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestATagAndItsDigestAreOneVersion(t *testing.T) {
	text := func(tag, digest string) []byte {
		return []byte("images:\n- name: a\n  newTag: " + tag + "\n  digest: sha256:" + digest + "\n")
	}
	found, err := bumps("kustomization.yaml", text("v1", sha), text("v2", "0"+sha[1:]))
	if err != nil || len(found) != 2 {
		t.Fatal(found, err)
	}
	for _, b := range found {
		if want := "v2@sha256:0" + sha[1:]; b.version() != want {
			t.Errorf("%s: %s, want %s", b.path, b.version(), want)
		}
	}
}

func TestMoreThanVersions(t *testing.T) {
	if _, err := bumps("a.yaml", []byte("version: 1.0.0\na: b\n"), []byte("version: 1.0.1\na: c\n")); !errors.Is(err, errOther) {
		t.Error(err)
	}
}

package manifest

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

func TestAppendAndInsert(t *testing.T) {
	override := Map{
		{"target", Map{{"kind", "HelmRelease"}, {"name", "orders"}}},
		{"patch", "- op: replace\n  path: /spec/chart/spec/version\n\n  value: \"1.10\"\n"},
	}
	for name, tc := range map[string]struct {
		in, path string
		value    any
		list     bool
		want     string
	}{
		"a new list": {"resources:\n- ../base\n", "patches", override, true,
			"resources:\n- ../base\npatches:\n- target:\n    kind: HelmRelease\n    name: orders\n  patch: |\n    - op: replace\n      path: /spec/chart/spec/version\n\n      value: \"1.10\"\n"},
		"a list's next item": {"patches:\n  - path: a.yaml\n    target:\n      kind: X\n\n  # - path: old.yaml\n# next\nimages: []\n", "patches", override, true,
			"patches:\n  - path: a.yaml\n    target:\n      kind: X\n  - target:\n      kind: HelmRelease\n      name: orders\n    patch: |\n      - op: replace\n        path: /spec/chart/spec/version\n\n        value: \"1.10\"\n\n  # - path: old.yaml\n# next\nimages: []\n"},
		"an empty list, comment kept": {"resources:\n  - ../base\npatches: [] # none\n# end\n", "patches", Map{{"path", "x.yaml"}}, true,
			"resources:\n  - ../base\npatches: # none\n  - path: x.yaml\n# end\n"},
		"a key without value": {"patches:\n# end\nresources:\n- ../base\n", "patches", Map{{"path", "x.yaml"}}, true,
			"patches:\n- path: x.yaml\n# end\nresources:\n- ../base\n"},
		"a null": {"a:\n    b: null\n", "a.b", Map{{"c", "1"}}, false, "a:\n    b:\n        c: \"1\"\n"},
		"no final line end": {"resources:\n  - ../base", "images", Map{{"name", "app"}, {"newTag", "2024"}}, true,
			"resources:\n  - ../base\nimages:\n  - name: app\n    newTag: \"2024\""},
		"CR LF":                     {"resources:\r\n  - ../base\r\n", "resources", "../more", true, "resources:\r\n  - ../base\r\n  - ../more\r\n"},
		"CR LF without a final one": {"resources:\r\n  - ../base", "resources", "../more", true, "resources:\r\n  - ../base\r\n  - ../more"},
		"wide dashes": {"images:\n-   name: a\n    newTag: '1.2.3'\n", "images", Map{{"name", "b"}, {"newTag", "1.2.3"}}, true,
			"images:\n-   name: a\n    newTag: '1.2.3'\n-   name: b\n    newTag: '1.2.3'\n"},
		"quotes as the neighbour's": {"spec:\n  postBuild:\n    substitute:\n      A: \"1.2.3\" # c\n  prune: true\n", "spec.postBuild.substitute.B", "1.2.4", false,
			"spec:\n  postBuild:\n    substitute:\n      A: \"1.2.3\" # c\n      B: \"1.2.4\"\n  prune: true\n"},
		"maps on the way": {"spec:\n  prune: true\nstatus: {}\n", "spec.postBuild.substitute[\"a.b\"]", "1.2.4", false,
			"spec:\n  prune: true\n  postBuild:\n    substitute:\n      a.b: 1.2.4\nstatus: {}\n"},
		"a key in an item":                           {"images:\n  - name: a\n  - name: b\n", "images[0].newTag", "v1", false, "images:\n  - name: a\n    newTag: v1\n  - name: b\n"},
		"after a text whose line ends are kept":      {"a: |+\n  text\n\nb: c\n", "d", "e", false, "a: |+\n  text\n\nb: c\nd: e\n"},
		"within one":                                 {"x:\n  a: |+\n    text\n\nb: c\n", "x.d", "e", false, "x:\n  a: |+\n    text\n\n  d: e\nb: c\n"},
		"after a text with what looks like comments": {"a:\n  - |\n    text\n    # text\n\n# comment\n", "a", "e", true, "a:\n  - |\n    text\n    # text\n  - e\n\n# comment\n"},
		"one of several documents": {"---\nkind: A\nmetadata:\n  name: x\n---\nkind: B\nmetadata:\n  name: x\n...\n", "A//x:metadata.namespace", "shop", false,
			"---\nkind: A\nmetadata:\n  name: x\n  namespace: shop\n---\nkind: B\nmetadata:\n  name: x\n...\n"},
		"a list in a list, an empty map, text without a last line end": {"a:\n- b\n", "a", List{List{"c", Map{}}, "d\ne"}, true,
			"a:\n- b\n- - - c\n    - {}\n  - |-\n    d\n    e\n"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Parse([]byte(tc.in))
			if err != nil {
				t.Fatal(err)
			}
			add := f.Insert
			if tc.list {
				add = f.Append
			}
			out, err := add(tc.path, tc.value)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, string(out)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAddingIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		in, path string
		code     gitops.Code
	}{
		"there already":       {"a:\n  b: 1\n", "a.b", gitops.Unproved},
		"in one line":         {"a: {b: 1}\n", "a.c", gitops.Unproved},
		"JSON":                {"{\"a\": {}}\n", "a.c", gitops.Unproved},
		"no map":              {"a: 1\n", "a.c", gitops.NotFound},
		"no such item":        {"a:\n- b\n", "a[1].c", gitops.NotFound},
		"empty":               {"# nothing\n", "a", gitops.NotFound},
		"which document":      {"a: b\n---\na: c\n", "d", gitops.Ambiguous},
		"an anchor":           {"a: &x\n  b: c\nd: *x\n", "a.e", gitops.Alias},
		"an alias":            {"a: &x\n  b: c\nd: *x\n", "d.e", gitops.Alias},
		"merged":              {"a: &x\n  b: c\nd:\n  <<: *x\n", "d.b", gitops.Alias},
		"twice":               {"a:\n  b: c\na:\n  b: c\n", "a.e", gitops.DuplicateKey},
		"SOPS":                {"a:\n  b: c\nsops:\n  mac: x\n", "a.e", gitops.Secret},
		"text":                {"a: |\n  b: c\n", "a|d", gitops.Unproved},
		"no path":             {"a: b\n", "a..b", gitops.NotFound},
		"root that is no map": {"- a\n", "b", gitops.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Parse([]byte(tc.in))
			if err != nil {
				t.Fatal(err)
			}
			out, err := f.Insert(tc.path, "x")
			var refusal *gitops.Refusal
			if !errors.As(err, &refusal) || refusal.Code != tc.code {
				t.Errorf("got %q, %v, want %s", out, err, tc.code)
			}
		})
	}
}

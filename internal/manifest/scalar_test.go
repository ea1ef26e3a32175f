package manifest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// listed writes each scalar of a file as "LINE PATH = VALUE", and what refuses its replacement.
func listed(t *testing.T, text string) []string {
	t.Helper()
	f, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for s := range f.Scalars {
		line := fmt.Sprintf("%d %s = %q", s.Line, s.Path, s.Value)
		if s.Holds {
			line = fmt.Sprintf("%d %s holds YAML", s.Line, s.Path)
		}
		if err := s.Refusal(); err != nil {
			code, _, _ := strings.Cut(err.Error(), ":")
			line += " (" + code + ")"
		}
		all = append(all, line)
	}
	return all
}

func TestScalars(t *testing.T) {
	for name, tc := range map[string]struct {
		in   string
		want []string
	}{
		"a map, a list, other keys": {"spec:\n  a.b: 1\n  \"x y\": [p, {q: r}]\nimages:\n- newTag: 1.2.3\n", []string{
			`2 spec["a.b"] = "1"`, `3 spec["x y"][0] = "p"`, `3 spec["x y"][1].q = "r"`, `5 images[0].newTag = "1.2.3"`}},
		"documents": {"kind: A\nmetadata: {name: x, namespace: n}\n---\nkind: A\nmetadata: {name: x, namespace: n}\n---\nkind: ClusterRole\nmetadata: {name: \"system:a\"}\n---\n", []string{
			`1 A/n/x:kind = "A"`, `2 A/n/x:metadata.name = "x"`, `2 A/n/x:metadata.namespace = "n"`,
			`4 A/n/x#2:kind = "A"`, `5 A/n/x#2:metadata.name = "x"`, `5 A/n/x#2:metadata.namespace = "n"`,
			`7 ClusterRole//"system:a":kind = "ClusterRole"`, `8 ClusterRole//"system:a":metadata.name = "system:a"`}},
		"one document between empty ones": {"---\n# nothing\n---\na: b\n---\n", []string{`4 a = "b"`}},
		"YAML in a block": {"data:\n  values.yaml: |\n\n    image:\n      tag: 1.2.3\n  z: 1\n", []string{
			`2 data["values.yaml"] holds YAML (unproved)`, `5 data["values.yaml"]|image.tag = "1.2.3"`, `6 data.z = "1"`}},
		"an inline patch of several documents": {"patches:\n- patch: |-\n    kind: A\n    metadata: {name: x}\n    v: 1\n    ---\n    - op: add\n      value: \"2\"\n", []string{
			`2 patches[0].patch holds YAML (unproved)`, `3 patches[0].patch|A//x:kind = "A"`, `4 patches[0].patch|A//x:metadata.name = "x"`,
			`5 patches[0].patch|A//x:v = "1"`, `7 patches[0].patch|//:[0].op = "add"`, `8 patches[0].patch|//:[0].value = "2"`}},
		"three levels": {"a: |\n  b: |\n    c: |\n      d: |\n        e: f\n", []string{
			`1 a holds YAML (unproved)`, `2 a|b holds YAML (unproved)`, `3 a|b|c holds YAML (unproved)`, `5 a|b|c|d = "e: f\n"`}},
		"quoted JSON": {"a: '{\"b\": [\"it''s\"]}'\nc: \"{\\\"d\\\": \\\"1\\\"}\"\nd: 'note: text'\n", []string{
			`1 a holds YAML`, `1 a|b[0] = "it's"`, `2 c holds YAML`, `2 c|d = "1"`, `3 d = "note: text"`}},
		"text that only looks like YAML": {"a: |\n  {{ if x }}\n  b: c\nd: |\n  just: text: here\n", []string{
			`1 a = "{{ if x }}\nb: c\n" (unproved)`, `5 d = "just: text: here\n"`}},
		"folded, and with an indicator": {"a: >\n  {b: 1}\nc: |2\n   d: 1\n", []string{
			`2 a holds YAML`, `2 a|b = "1" (unproved)`, `4 c holds YAML`, `4 c|d = "1" (unproved)`}},
		"aliases": {"a: &x 1\nb: *x\nc: &m {d: 1, e: [2]}\nf: {<<: *m, g: 3}\nh: &alone 4\n", []string{
			`1 a = "1" (alias)`, `2 b = "1" (alias)`, `3 c.d = "1" (alias)`, `3 c.e[0] = "2" (alias)`, `4 f.g = "3"`, `5 h = "4"`}},
		"a key twice":   {"a: 1\nb: {c: 2}\nb: {c: 3}\n", []string{`1 a = "1"`, `2 b.c = "2" (duplicate-key)`, `3 b#2.c = "3" (duplicate-key)`}},
		"SOPS":          {"a: 1\nsops:\n  mac: ENC[x]\n  version: 3.9\n", []string{`1 a = "1" (secret)`, `3 sops.mac = "ENC[x]" (secret)`, `4 sops.version = "3.9" (secret)`}},
		"no value":      {"a:\nb: ~\nc: \"\"\n", []string{`1 a = "" (unproved)`, `2 b = "~"`, `3 c = ""`}},
		"other keys":    {"? [a]\n: b\n? {c: d}\n: e\n1: f\n\"\": g\n", []string{`5 1 = "f"`, `6 [""] = "g"`}},
		"just a scalar": {"abc\n", []string{`1  = "abc"`}},
		"several lines": {"a: b\n  c\nd: \"e\n  f\"\ng: |-\n  h\n", []string{`1 a = "b c" (unproved)`, `3 d = "e f" (unproved)`, `6 g = "h"`}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, listed(t, tc.in)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

package render

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// FuzzDecoded holds the short way of decoding against kustomize's own.
func FuzzDecoded(f *testing.F) {
	for _, text := range []string{
		"a: 1\nb: [1.5, -0, 0x1F, 0o17, 017, 1e3, .inf, .NaN, 18446744073709551615, 1_000]\n",
		"a: 2001-01-01\nb: 2001-12-14t21:59:43.10-05:00\nc: !!timestamp 2001-01-01\n",
		"a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}\n",
		"a: yes\nb: 'on'\nc: ~\nd: !!str 12\ne: !!binary aGVsbG8=\nf: !!binary /w==\ng: |\n  text\n",
		"1: a\ntrue: b\nnull: c\n", "a: {1: b}\n", "a: \"\\u0000\\xff\"\n", "a: 1\na: 2\n", "- 1\n", "a: !own b\n", "a: 1.10\nb: 0123\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := yaml.Parse(text)
		if err != nil || n.YNode() == nil || n.YNode().Kind != yaml.MappingNode {
			return
		}
		var want map[string]any
		raw, wantErr := n.MarshalJSON()
		if wantErr == nil {
			wantErr = json.Unmarshal(raw, &want)
		}
		got, err := decoded(n)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%v, want %v", err, wantErr)
		}
		if d := cmp.Diff(want, got); err == nil && d != "" {
			t.Error(d)
		}
	})
}

package manifest

import (
	"fmt"
	"strings"
	"testing"
)

// large are files of 1 MB, each with a scalar to replace in its middle.
func large() map[string]struct{ text, path string } {
	const half = 1 << 19
	fill := func(format string) (string, int) {
		var b strings.Builder
		n := 0
		for ; b.Len() < half; n++ {
			fmt.Fprintf(&b, format, n)
		}
		return b.String(), n
	}
	object := "---\nkind: HelmRelease\nmetadata: {name: a%d}\nspec:\n  chart:\n    spec:\n      version: \"1.2.3\" # keep\n  values:\n    replicas: 2\n    image: {tag: v1, x: y}\n"
	objects, n := fill(object)
	keys, _ := fill("key%d: some text\n")
	items, i := fill("- newTag: v1.2.3\n  name: example/%d\n")
	nested, _ := fill("    key%d:\n      some: text\n")
	json, j := fill(`{"name":"größe %d","image":{"tag":"v1"}},`)
	return map[string]struct{ text, path string }{
		"objects":  {objects + objects, fmt.Sprintf("HelmRelease//a%d:spec.chart.spec.version", n-1)},
		"keys":     {keys + "version: 1.2.3\n" + strings.ReplaceAll(keys, "key", "other"), "version"},
		"items":    {"images:\n" + items + items, fmt.Sprintf("images[%d].newTag", i)},
		"in text":  {"data:\n  values.yaml: |\n" + nested + "    image: {tag: 1.2.3}\n" + strings.ReplaceAll(nested, "key", "other"), `data["values.yaml"]|image.tag`},
		"one line": {"[" + json + strings.TrimSuffix(json, ",") + "]", fmt.Sprintf("[%d].image.tag", j)},
	}
}

func BenchmarkReplace(b *testing.B) {
	for name, l := range large() {
		b.Run(name, func(b *testing.B) {
			f, err := Parse([]byte(l.text))
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(l.text)))
			for b.Loop() {
				s, err := f.Find(l.path)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := f.Replace(s, "7.0.0"); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/Parse", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse([]byte(l.text)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

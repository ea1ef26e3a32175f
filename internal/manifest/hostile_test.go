package manifest

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

func TestWhatIsNoYAML(t *testing.T) {
	for in, want := range map[string]string{
		"a: b\rc: d\n":                                 "line 1 has a line separator other than LF and CR LF",
		"a: b\r\nc: d\u0085e: f\n":                     "line 2 has a line separator other than LF and CR LF",
		"a: b\n# \u2028\n":                             "line 2 has a line separator other than LF and CR LF",
		"a: b\n# \u2029\n":                             "line 2 has a line separator other than LF and CR LF",
		"a: b\nc: \xff\n":                              "line 2 is not UTF-8 text",
		"a: b\nc: \x00\n":                              "line 2 has a control character",
		"a:\n  b: c\n\tc: d\n":                         "line 3 is indented with a tab, which YAML does not allow",
		"a: b\n{{- if .x }}\nc: d\n{{- end }}\n":       "line 2 has a template ({{ … }}), so the file is not YAML yet",
		"# {{\na: \"{{ x }}\"\nb: {{ .Values.tag }}\n": "line 3 has a template ({{ … }}), so the file is not YAML yet",
		"a: b\nc: *d\n":                                "it cannot be read as YAML, near line 2: unknown anchor 'd' referenced",
		"%YAML 1.2\n---\na: b\n":                       "it cannot be read as YAML, near line 1: found incompatible YAML document",
		"a: b\nc: \"d\n":                               "it cannot be read as YAML, near line 2: found unexpected end of stream",
		"a: b\nc: d: e\n":                              "it cannot be read as YAML, near line 2: mapping values are not allowed in this context",
		"a:\n  " + strings.Repeat("[", 101) + strings.Repeat("]", 101):              "line 2 is nested deeper than 100 levels",
		strings.Repeat("a", maxSize+1):                                              "the file is larger than 2048 KiB",
		"[" + strings.Repeat("1,", maxSeparators) + "]":                             "the file has more values than ferry reads",
		"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n": "the file is a pointer of Git LFS; its content is elsewhere",
	} {
		_, err := Parse([]byte(in))
		var refusal *gitops.Refusal
		if !errors.As(err, &refusal) || refusal.Code != gitops.NotYAML || refusal.Reason != want {
			t.Errorf("%.60q: got %v, want %s", in, err, want)
		}
	}
}

// What a stranger may write costs memory in proportion to its size, and a parser's time.
func TestHostileFilesAreBounded(t *testing.T) {
	bomb := "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 60; i++ {
		bomb += fmt.Sprintf("a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d,", i-1), 8), i-1)
	}
	deep := ""
	for i := range 99 {
		deep += strings.Repeat(" ", i) + strings.Repeat("k", 900) + ":\n"
	}
	for name, in := range map[string]string{
		"aliases of aliases":    bomb,
		"itself":                "a: &a [*a, *a]\nb: &b {<<: *b, c: *b}\nd: {<<: [*b, *b]}\n",
		"merges":                "a: &a {b: c}\nd: {<<: [*a" + strings.Repeat(", *a", 20_000) + "]}\n",
		"brackets":              strings.Repeat("[", 30_000),
		"dashes":                strings.Repeat("- ", 9_000),
		"question marks":        strings.Repeat("? ", 9_000),
		"long keys, nested":     deep + strings.Repeat(strings.Repeat(" ", 99)+"k: v\n", 3_000),
		"a long key":            "? " + strings.Repeat("k", 200_000) + "\n: [" + strings.Repeat("1,", 20_000) + "]\n",
		"texts in texts":        "a: |\n" + strings.Repeat("  - |\n    - |\n      - a: b\n", 6_000),
		"many JSON texts":       strings.Repeat("- '{\"a\": [1]}'\n", 10_000),
		"one key, many times":   strings.Repeat("a: b\n", 20_000),
		"one document, often":   strings.Repeat("---\nkind: A\nmetadata: {name: x}\n", 5_000),
		"comments":              strings.Repeat("# c\na: b\n\n", 10_000),
		"wide letters, no line": "[" + strings.Repeat("\"größe\", ", 20_000) + "]",
		"escapes":               "a: \"{" + strings.Repeat(`\u0020`, 20_000) + "}\"",
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f, err := Parse([]byte(in))
		scalars := 0
		if err == nil {
			for s := range f.Scalars {
				scalars++
				if scalars%1000 == 1 {
					_ = s.Refusal()
				}
			}
			_, _ = f.Find("d.b")
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 10<<20+400*uint64(len(in)) {
			t.Errorf("%s: %d KB for %d KB (%d scalars, %.100v)", name, used>>10, len(in)>>10, scalars, err)
		}
	}
}

// A path that can be read is written the same way again.
func FuzzPath(f *testing.F) {
	for _, path := range []string{"spec.chart.spec.version", "images[0].newTag", `data["values.yaml"]|image.tag`, `A/n/x#2:a["\""]#3|B//"c:d":[0]`, "", "|", `[""]`} {
		f.Add(path)
	}
	write := func(levels []level) string {
		var b strings.Builder
		for i, l := range levels {
			if i > 0 {
				b.WriteByte('|')
			}
			b.WriteString(l.document)
			for j, s := range l.steps {
				s.write(&b, j == 0)
			}
		}
		return b.String()
	}
	f.Fuzz(func(t *testing.T, path string) {
		levels, err := parsePath(path)
		if err != nil {
			return
		}
		written := write(levels)
		again, err := parsePath(written)
		if err != nil || write(again) != written || fmt.Sprint(levels) != fmt.Sprint(again) {
			t.Fatalf("%q was written as %q (%v)", path, written, err)
		}
	})
}

package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	goyaml "sigs.k8s.io/yaml/goyaml.v2"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// samples are files of every shape; the properties below hold for each of their scalars.
func samples(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/*")
	if err != nil || len(names) == 0 {
		t.Fatalf("no samples (%v)", err)
	}
	all := map[string][]byte{}
	for _, name := range names {
		if info, err := os.Stat(name); err != nil || info.IsDir() {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		base := filepath.Base(name)
		all[base] = text
		all[base+" with CR LF"] = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
		all[base+" with a mark"] = append([]byte("\xef\xbb\xbf"), bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))...)
		all[base+" without a final line end"] = bytes.TrimRight(text, "\r\n")
	}
	return all
}

// Every path names one scalar, and finds it.
func TestPathsNameOneScalar(t *testing.T) {
	for name, text := range samples(t) {
		f, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		seen := map[string]bool{}
		for s := range f.Scalars {
			if seen[s.Path] {
				t.Errorf("%s: two scalars have the path %s", name, s.Path)
			}
			seen[s.Path] = true
			if got, err := f.Find(s.Path); err != nil || got.node != s.node || got.Path != s.Path || got.Line != s.Line {
				t.Errorf("%s: %s finds %+v (%v)", name, s.Path, got, err)
			}
		}
	}
}

// Replacing a scalar changes it alone; replacing it back restores the bytes, where the old text is what ferry itself
// would write.
func TestThereAndBack(t *testing.T) {
	const other = "7.77.777-there"
	for name, text := range samples(t) {
		f, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		replaced, back := 0, 0
		for s := range f.Scalars {
			if s.Refusal() != nil || s.Holds {
				continue
			}
			out, err := f.Replace(s, other)
			if err != nil {
				if canHold(s) {
					t.Errorf("%s: %s: %v", name, s.Path, err)
				}
				continue
			}
			replaced++
			changed, err := Parse(out)
			if err != nil {
				t.Errorf("%s: %s: %v", name, s.Path, err)
				continue
			}
			now, err := changed.Find(s.Path)
			if err != nil || strings.TrimRight(now.Value, "\n") != other || now.Line != s.Line {
				if canHold(s) {
					t.Errorf("%s: %s is now %+v (%v)", name, s.Path, now, err)
				}
				continue
			}
			start, end, err := s.file.token(s.node)
			if s.node.Tag != "!!str" || s.node.Style&yaml.TaggedStyle != 0 || err != nil || bytes.Contains(s.file.data[start:end], []byte(`\`)) {
				continue // a number returns in quotes, a letter without needless escape
			}
			again, err := changed.Replace(now, s.Value)
			if err != nil || !bytes.Equal(again, text) {
				t.Errorf("%s: %s did not return to %q (%v)", name, s.Path, s.Value, err)
			}
			back++
		}
		if replaced < 5 || back < 5 {
			t.Errorf("%s: only %d values could be replaced, %d put back", name, replaced, back)
		}
	}
}

// canHold says that a scalar can become another string without a change of what its path or its document is.
func canHold(s Scalar) bool {
	return s.node.Style&yaml.TaggedStyle == 0 && !strings.HasSuffix(s.Path, "kind") && !strings.HasSuffix(s.Path, "metadata.name") && !strings.HasSuffix(s.Path, "metadata.namespace")
}

// The proof near an edit and the proof on the whole file agree.
func agree(t *testing.T, s Scalar, value string) {
	t.Helper()
	e, want, err := s.file.edit(s, value)
	if err != nil || s.unwritten() != nil {
		return
	}
	for g, n, at := s.file, s.node, s.at; ; {
		c := changes{edits: []edit{e}, want: map[*yaml.Node]string{n: want}}
		out, err := g.apply(c, false)
		if err != nil {
			t.Fatal(err)
		}
		proved, near := g.proveNear(n, at, want, e)
		whole := g.proveWhole(out, c)
		if (proved || near != nil) && (near == nil) != (whole == nil) {
			t.Fatalf("%s to %q: near %v, whole %v\n%q\n%q", s.Path, value, near, whole, g.data, out)
		}
		h := g.holder
		if h == nil || near != nil {
			return
		}
		if e, err = h.outward(g, e); err != nil {
			return
		}
		g, n, at, want = h.file, h.node, h.at, string(out)
	}
}

func FuzzReplace(f *testing.F) {
	for _, text := range samples(f) {
		f.Add(string(text), uint16(3), "7.0.0")
	}
	f.Add("spec: {version: '6.9.2'}\r\n---\n# second\n", uint16(0), "1.10")
	f.Add("a: &v \"6\"\nb: [1, x: y]\n", uint16(1), "on")
	f.Add("- - a: b\n    c: d\n  - e\n", uint16(2), "a: b")
	f.Add("? a\n: b\nc: |+\n  d\n\n\ne: f\n", uint16(1), "---")
	f.Fuzz(func(t *testing.T, in string, which uint16, value string) {
		file, err := Parse([]byte(in))
		if err != nil {
			return
		}
		var all []Scalar
		for s := range file.Scalars {
			all = append(all, s)
		}
		if len(all) == 0 {
			return
		}
		s := all[int(which)%len(all)]
		agree(t, s, value)
		out, err := file.Replace(s, value)
		if err != nil {
			if r := (*gitops.Refusal)(nil); !errors.As(err, &r) || r.Reason == "" {
				t.Fatalf("no refusal: %v", err)
			}
			return
		}
		if err := onlyThat([]byte(in), out, s, value); err != nil {
			t.Fatalf("%s (line %d) to %q: %v\n%q\n%q", s.Path, s.Line, value, err, in, out)
		}
	})
}

// onlyThat decodes two texts with another library, that of Kubernetes, and fails if anything but the one scalar differs,
// or that is not the string wanted. Where that library cannot read the first, it says nothing.
func onlyThat(in, out []byte, s Scalar, value string) error {
	levels := s.file.holder.depth()
	for level := 0; ; level++ {
		before, err := decode(in)
		if twice, _ := decode(in); err != nil || !reflect.DeepEqual(before, twice) { // a key that is NaN
			return nil
		}
		after, err := decode(out)
		if err != nil {
			return fmt.Errorf("could be decoded, and no longer: %w", err)
		}
		var changed [][2]any
		differences(before, after, &changed)
		switch {
		case len(changed) > 1:
			return fmt.Errorf("differs at %d places", len(changed))
		case len(changed) == 0:
			return nil // it was that string; or something else wins over a merged map
		}
		old, oldText := changed[0][0].(string)
		now, nowText := changed[0][1].(string)
		switch {
		case !nowText:
			return fmt.Errorf("is now %#v", changed[0][1])
		case level < levels && oldText:
			in, out = []byte(old), []byte(now)
			continue
		case now != value && (s.node.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0 || strings.TrimRight(now, "\n") != strings.TrimRight(value, "\n")):
			return fmt.Errorf("is now %q", now)
		}
		return nil
	}
}

// decode reads all documents.
func decode(text []byte) (docs []any, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("decode: %v", r)
		}
	}()
	decoder := goyaml.NewDecoder(bytes.NewReader(text))
	for {
		var doc any
		if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
			return docs, nil
		} else if err != nil {
			return nil, err
		}
		docs = append(docs, doc)
	}
}

// differences collects where two decoded values differ.
func differences(a, b any, found *[][2]any) {
	if am, ok := a.(map[any]any); ok {
		if bm, ok := b.(map[any]any); ok && len(am) == len(bm) && !slices.ContainsFunc(slices.Collect(maps.Keys(am)), func(k any) bool { _, ok := bm[k]; return !ok }) {
			for k := range am {
				differences(am[k], bm[k], found)
			}
			return
		}
	}
	if al, ok := a.([]any); ok {
		if bl, ok := b.([]any); ok && len(al) == len(bl) {
			for i := range al {
				differences(al[i], bl[i], found)
			}
			return
		}
	}
	if !reflect.DeepEqual(a, b) {
		*found = append(*found, [2]any{a, b})
	}
}

// What is added can be decoded by another library, and is all that it finds new.
func FuzzAppend(f *testing.F) {
	for _, text := range samples(f) {
		f.Add(string(text), "patches", "x")
	}
	f.Add("a:\n- b: |+\n    c\n\n# d\n", "a", "---\n")
	f.Add("a: [] # c\n", "a", "b: c")
	f.Add("- a:\n    b: c", "[0].a.d.e", "# x\ny")
	f.Fuzz(func(t *testing.T, in, path, value string) {
		file, err := Parse([]byte(in))
		if err != nil {
			return
		}
		before, err := decode([]byte(in))
		if twice, _ := decode([]byte(in)); err != nil || !reflect.DeepEqual(before, twice) {
			return
		}
		out, err := file.Append(path, Map{{"key", value}})
		if err != nil {
			if r := (*gitops.Refusal)(nil); !errors.As(err, &r) || r.Reason == "" {
				t.Fatalf("no refusal: %v", err)
			}
			return
		}
		after, err := decode(out)
		if err != nil {
			t.Fatalf("%q, with %q at %s, can no longer be decoded: %v\n%q", in, value, path, err, out)
		}
		var changed [][2]any
		differences(before, after, &changed)
		if len(changed) != 1 {
			t.Fatalf("%q, with %q at %s, differs at %d places: %q", in, value, path, len(changed), out)
		}
		if n := count(after) - count(before); n < 1 || !strings.Contains(fmt.Sprintf("%#v", changed[0][1]), fmt.Sprintf("%#v", map[any]any{"key": value})) {
			t.Fatalf("%q, with %q at %s, has %d new values: %q", in, value, path, n, out)
		}
	})
}

// count is the number of values in one that was decoded.
func count(v any) int {
	n := 1
	switch v := v.(type) {
	case map[any]any:
		for _, c := range v {
			n += count(c)
		}
	case []any:
		for _, c := range v {
			n += count(c)
		}
	}
	return n
}

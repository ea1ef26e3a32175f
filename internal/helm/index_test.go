package helm

import (
	"compress/gzip"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func TestStylesOfAnIndex(t *testing.T) {
	for name, test := range map[string]struct {
		index string
		whole bool // it is not in block style
		want  []string
	}{
		"Helm's own": {"apiVersion: v1\nentries:\n  a:\n  - version: 9.0.0\n  podinfo:\n  - annotations:\n      x: |\n        podinfo:\n        - version: 8.0.0\n    version: 1.0.0\n  - version: 2.0.0\n  z:\n  - version: 7.0.0\ngenerated: now\n", false, []string{"1.0.0", "2.0.0"}},
		"indented":   {"entries: # all\n# the first\n    podinfo:\n\n      - version: 1.0.0\n# a comment\n      - version: 2.0.0\n    z:\n      - version: 7.0.0\n", false, []string{"1.0.0", "2.0.0"}},
		"last":       {"entries:\n  a: []\n  \"podinfo\":\n  - {version: 1.0.0}\n  - {version: 2.0.0}", false, []string{"1.0.0", "2.0.0"}},
		"Windows":    {"entries:\r\n  podinfo:\r\n  - version: 1.0.0\r\n  - version: 2.0.0\r\ngenerated: x\r\n", false, []string{"1.0.0", "2.0.0"}},
		"flow":       {"entries: {podinfo: [{version: 1.0.0}, {version: 2.0.0}]}", true, []string{"1.0.0", "2.0.0"}},
		"JSON":       {`{"entries": {"a": 1, "podinfo": [{"version": "1.0.0"}, {"version": "2.0.0"}]}}`, true, []string{"1.0.0", "2.0.0"}},
		"no such":    {"entries:\n  podinfo2:\n  - version: 1.0.0\n", false, nil},
		"elsewhere":  {"other:\n  podinfo:\n  - version: 1.0.0\nentries:\n  a:\n  - version: 1.0.0\n", false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if _, ok := cut([]byte(test.index), "podinfo"); ok == test.whole {
				t.Errorf("cut: %v", ok)
			}
			found, err := entries([]byte(test.index), "podinfo")
			var got []string
			for _, e := range found {
				got = append(got, e.Version)
			}
			if diff := cmp.Diff(test.want, got); diff != "" || (err != nil) != (test.want == nil) {
				t.Errorf("%v: %s", err, diff)
			}
		})
	}
}

// Whatever is cut out says what the whole says.
func FuzzCut(f *testing.F) {
	f.Add("entries:\n  podinfo:\n  - version: 1.0.0\n  - a: |\n      x\n    version: 2.0.0\n  z:\n  - version: 7.0.0\n")
	f.Add("entries:\n podinfo:\n - {version: 1.0.0}\nx: 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		type index struct {
			Entries map[string][]entry `json:"entries"`
		}
		part, ok := cut([]byte(text), "podinfo")
		var cut, whole index
		if !ok || yaml.Unmarshal([]byte(text), &whole) != nil {
			return
		}
		if err := yaml.Unmarshal(part, &cut); err != nil {
			return // an alias of what stands elsewhere: the versions cannot be told, which is said
		}
		if diff := cmp.Diff(whole.Entries["podinfo"], cut.Entries["podinfo"]); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	})
}

// TestLargeIndexes: what is packed small may be large, and what is read of it many times larger.
func TestLargeIndexes(t *testing.T) {
	bodies := map[string]func(w *strings.Builder){
		"/public": func(w *strings.Builder) { // as large ones are: many charts with many versions
			for i := range 200 {
				fmt.Fprintf(w, "  chart-%d:\n", i)
				for range 400 {
					w.WriteString("  - description: one of many charts, with a text like others have it\n    version: 1.0.0\n")
				}
			}
			w.WriteString("  x:\n  - version: 1.0.0\n")
		},
		"/hostile": func(w *strings.Builder) { w.WriteString("  x:\n" + strings.Repeat("  - {}\n", maxPart/7+1)) },
		"/endless": func(w *strings.Builder) { w.WriteString("  x:\n" + strings.Repeat("  # nothing\n", maxIndex/12+1)) },
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var text strings.Builder
		text.WriteString("entries:\n")
		bodies[strings.TrimSuffix(r.URL.Path, "/index.yaml")](&text)
		w.Header().Set("Content-Encoding", "gzip")
		packed, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = packed.Write([]byte(text.String())) // the reader may have seen enough
		_ = packed.Close()
	}))
	defer server.Close()
	for path, want := range map[string]string{"/public": "", "/hostile": "this chart is larger than 4 MB", "/endless": "larger than 24 MB"} {
		got, err := New(time.Now).Versions(t.Context(), helmRepository(server.URL+path, "x"))
		if want == "" && (err != nil || cmp.Diff([]string{"1.0.0"}, got) != "") || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
}

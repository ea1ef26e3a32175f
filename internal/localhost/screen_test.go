package localhost

import (
	"strings"
	"testing"

	"charm.land/lipgloss/v2"
	"github.com/google/go-cmp/cmp"
)

func TestWrap(t *testing.T) {
	for _, test := range []struct {
		text   string
		indent int
		want   string
	}{
		{"short", 2, "short"},
		{"• one two three four", 2, "• one two\n  three\n  four"},
		{"exactly 10", 0, "exactly 10"},
		{"exactly 10 more", 0, "exactly 10\nmore"},
		{"  indented text", 4, "  indented\n    text"},
		{"averyveryverylongword", 2, "averyveryv\n  erylongw\n  ord"},
		{"a/path/to/somewhere", 0, "a/path/to/\nsomewhere"},
		{"語語語語語語", 0, "語語語語語\n語"},
		{"", 2, ""},
		{"a\n\nb", 0, "a\n\nb"},
	} {
		if got := strings.Join(fill(test.text, 10, test.indent, "/"), "\n"); got != test.want {
			t.Errorf("%q becomes %q, want %q", test.text, got, test.want)
		}
	}
}

func TestTablesFit(t *testing.T) {
	const differences = `APPLICATION  FIELD          stage                               prod
podinfo      version        7.0.0                               6.9.2
             image podinfo  ghcr.io/stefanprodan/podinfo:7.0.0  ghcr.io/stefanprodan/podinfo:6.9.2`
	for width, want := range map[int]string{
		120: differences,
		80: `APPLICATION  FIELD          stage                      prod
podinfo      version        7.0.0                      6.9.2
             image podinfo  ghcr.io/stefanprodan/      ghcr.io/stefanprodan/
                            podinfo:7.0.0              podinfo:6.9.2`,
		40: `APPLICATION  FIELD
podinfo      version
             image podinfo

APPLICATION  stage
podinfo      7.0.0
             ghcr.io/stefanprodan/
             podinfo:7.0.0

APPLICATION  prod
podinfo      6.9.2
             ghcr.io/stefanprodan/
             podinfo:6.9.2`,
		20: `APPLICATION  FIELD
podinfo      version

APPLICATION  stage
podinfo      7.0.0

APPLICATION  prod
podinfo      6.9.2`,
		13: `APPLICATION
      FIELD
      stage
      prod
podinfo
      version
      7.0.0
      6.9.2`,
	} {
		block := differences
		if width <= 20 {
			block, _, _ = strings.Cut(differences, "\n             image")
		}
		r := renderer{width: width}
		r.code(block)
		if diff := cmp.Diff(want+"\n", r.text()); diff != "" {
			t.Errorf("at width %d:\n%s", width, diff)
		}
	}
}

func TestTablesAreSplitBetweenEnvironments(t *testing.T) {
	r := renderer{width: 50}
	r.code(`APPLICATION  NAMESPACE  KIND   dev      stage    prod-eu  prod-us
podinfo      podinfo    chart  ✓ 7.0.0  ✓ 7.0.0  … 6.9.2  ✗ 6.9.2
web          web        image  ✓ 1.5.0           ‖ 1.4.2  ? 1.4.2`)
	const want = `APPLICATION  NAMESPACE  KIND   dev      stage
podinfo      podinfo    chart  ✓ 7.0.0  ✓ 7.0.0
web          web        image  ✓ 1.5.0

APPLICATION  NAMESPACE  KIND   prod-eu  prod-us
podinfo      podinfo    chart  … 6.9.2  ✗ 6.9.2
web          web        image  ‖ 1.4.2  ? 1.4.2
`
	if diff := cmp.Diff(want, r.text()); diff != "" {
		t.Error(diff)
	}
}

func TestNoTable(t *testing.T) {
	for _, block := range []string{
		"", "--- a\n+++ b", "promote APP@VERSION to ENV  [OPTIONS]", "APPLICATION", "APPLICATION  prod\nlonger-than-its-column  x", "kind:  x\nname:  y",
	} {
		if parsed, ok := parseTable(block); ok {
			t.Errorf("%q is read as a table: %v", block, parsed)
		}
	}
}

func FuzzFit(f *testing.F) {
	f.Add(listTable, 40)
	f.Add("A  b\n語語  \x1b[31m", 7)
	f.Fuzz(func(t *testing.T, text string, width int) {
		width = 20 + max(0, width)%200
		r := renderer{width: width}
		r.code(r.read(text, false))
		r.prose(r.read(text, false), 0)
		for line := range strings.SplitSeq(r.text(), "\n") {
			if lipgloss.Width(line) > width {
				t.Errorf("%q at width %d", line, width)
			}
		}
	})
}

package operation

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

func TestTableAlignsWideAndCombiningLetters(t *testing.T) {
	got := table([][]string{{"NAME", "VERSION"}, {"日本", "1"}, {"e\u0301te", "a\nb"}, {"x", strings.Repeat("v", 70)}})
	want := "NAME  VERSION\n日本  1\ne\u0301te   a b\nx     " + strings.Repeat("v", 59) + "…"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestListingTable(t *testing.T) {
	cell := func(namespace, version string, kind gitops.VersionKind, health gitops.Health) Cell {
		return Cell{Present: true, Namespace: namespace, Version: version, Kind: kind, Health: health}
	}
	l := Listing{Environments: []string{"stage", "prod"}, Rows: []ListRow{
		{Name: "podinfo", Namespace: "apps", Cells: []Cell{cell("apps", "7.0.0", gitops.ChartVersion, gitops.Ready), cell("live", "6.9.4", gitops.ChartVersion, gitops.Failed)}},
		{Name: "api", Namespace: "apps", Cells: []Cell{{}, cell("apps", "v1", gitops.ImageTag, gitops.Progressing)}},
		{Name: "mixed", Namespace: "apps", Cells: []Cell{cell("apps", "1", gitops.ChartVersion, gitops.Suspended), cell("apps", "2", gitops.ImageTag, gitops.Unknown)}},
	}}
	want := strings.TrimSpace(`
APPLICATION  NAMESPACE  KIND   stage                  prod
podinfo      apps       chart  ✓ 7.0.0                ✗ 6.9.4 Failed in live
api          apps       image  -                      … v1 Progressing
mixed        apps       -      ‖ 1 chart Suspended    ? 2 image Unknown`)
	got := l.Table()
	if diff := cmp.Diff(strings.Fields(want), strings.Fields(got)); diff != "" {
		t.Error(diff)
	}
	column := -1
	for line := range strings.SplitSeq(got, "\n") {
		if c := len([]rune(line[:strings.LastIndex(line, "  ")])); column >= 0 && c != column {
			t.Errorf("the last column is not aligned:\n%s", got)
		} else {
			column = c
		}
	}
	if got := l.Summary(); got != "1 of 5 are Ready." {
		t.Error(got)
	}
	if got := (Listing{}).Table(); got != "" {
		t.Errorf("a listing without rows has the table %q", got)
	}
}

func TestWideListingHasARowForEachEnvironment(t *testing.T) {
	l := Listing{Rows: []ListRow{{Name: "podinfo", Namespace: "apps"}}}
	for i := range 20 {
		l.Environments = append(l.Environments, fmt.Sprintf("environment-%02d", i))
		l.Rows[0].Cells = append(l.Rows[0].Cells, Cell{Present: true, Namespace: "apps", Version: fmt.Sprint(i), Kind: gitops.ChartVersion, Health: gitops.Ready})
	}
	lines := strings.Split(l.Table(), "\n")
	if len(lines) != 21 || !strings.HasSuffix(lines[20], "environment-19  ✓ 19") {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
	for _, line := range lines {
		if width(line) > maxTable {
			t.Errorf("%q is %d columns wide", line, width(line))
		}
	}
}

func TestComparisonSaysWhatDiffers(t *testing.T) {
	for want, c := range map[string]Comparison{
		"✓ No difference in 2 of 2 applications.":       {Other: "prod", Same: 2},
		"1 of 3 applications differ.":                   {Other: "prod", Same: 2, Rows: []DiffRow{{Application: "a", Field: "version"}, {Application: "a", Field: "replicas"}}},
		"? No answer from prod: refused":                {Other: "prod", Unreachable: "refused"},
		"Neither runs anything that ferry can promote.": {Other: "prod"},
	} {
		if got := c.Summary(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

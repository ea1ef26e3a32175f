package operation

import (
	"cmp"
	"fmt"
	"strings"
	"unicode"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// maxTable is the widest table in columns of a fixed-width font that chat windows show without wrapping its lines.
const maxTable = 110

// table aligns rows of cells in a fixed-width font, with two blanks between the columns and none at line ends. A cell is
// one line of at most 60 characters.
func table(rows [][]string) string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			cell = cellText(cell)
			row[i] = cell
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], width(cell))
		}
	}
	var b strings.Builder
	for i, row := range rows {
		if i > 0 {
			b.WriteByte('\n')
		}
		var line strings.Builder
		for j, cell := range row {
			line.WriteString(cell + strings.Repeat(" ", widths[j]-width(cell)+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
	}
	return b.String()
}

// width counts the columns of a text: none for marks that combine, two for the wide letters of East Asia and emoji.
func width(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3, r >= 0xf900 && r <= 0xfaff,
			r >= 0xfe30 && r <= 0xfe6f, r >= 0xff00 && r <= 0xff60, r >= 0xffe0 && r <= 0xffe6, r >= 0x1f300 && r <= 0x1faff, r >= 0x20000 && r <= 0x3fffd:
			n += 2
		default:
			n++
		}
	}
	return n
}

// Table shows applications in rows and environments in columns; where that is too wide, a row for each application in
// each environment.
func (l Listing) Table() string {
	if len(l.Rows) == 0 {
		return ""
	}
	head := []string{"APPLICATION", "NAMESPACE", "KIND"}
	rows := [][]string{append(head, l.Environments...)}
	for _, r := range l.Rows {
		kind := r.versionKind()
		row := []string{r.Name, r.Namespace, cmp.Or(kind, "-")}
		for _, c := range r.Cells {
			row = append(row, c.text(r.Namespace, kind))
		}
		rows = append(rows, row)
	}
	text := table(rows)
	widest := 0
	for line := range strings.SplitSeq(text, "\n") {
		widest = max(widest, width(line))
	}
	if widest <= maxTable || len(l.Environments) < 2 {
		return text
	}
	rows = [][]string{append(head, "ENVIRONMENT", "VERSION")}
	for _, r := range l.Rows {
		for i, c := range r.Cells {
			if c.Present {
				rows = append(rows, []string{r.Name, c.Namespace, string(c.Kind), l.Environments[i], c.text(c.Namespace, string(c.Kind))})
			}
		}
	}
	return table(rows)
}

// versionKind is the kind of version that the row counts, "" where the environments differ or it runs nowhere.
func (r ListRow) versionKind() string {
	kind := ""
	for _, c := range r.Cells {
		if c.Present && kind != "" && kind != string(c.Kind) {
			return ""
		}
		if c.Present {
			kind = string(c.Kind)
		}
	}
	return kind
}

// text gives version and health; namespace and kind only where they differ from the row's.
func (c Cell) text(namespace, kind string) string {
	if !c.Present {
		return "-"
	}
	text := mark(c.Health) + " " + c.Version
	if c.Desired != "" {
		text += " → " + c.Desired
	}
	if kind == "" && c.Kind != "" {
		text += " " + string(c.Kind)
	}
	if c.Health != gitops.Ready {
		text += " " + string(c.Health)
	}
	if c.Namespace != namespace {
		text += " in " + c.Namespace
	}
	return text
}

func mark(h gitops.Health) string {
	switch h {
	case gitops.Ready:
		return "✓"
	case gitops.Failed:
		return "✗"
	case gitops.Progressing:
		return "…"
	case gitops.Suspended:
		return "‖"
	}
	return "?"
}

// Failed says that nothing could be read at all.
func (l Listing) Failed() bool { return len(l.Environments) == 0 && len(l.Unreachable) > 0 }

// Summary says in a sentence whether all is well.
func (l Listing) Summary() string {
	present, ready := 0, 0
	for _, r := range l.Rows {
		for _, c := range r.Cells {
			if c.Present {
				present++
			}
			if c.Present && c.Health == gitops.Ready {
				ready++
			}
		}
	}
	switch {
	case l.Failed():
		return "✗ No environment could be read."
	case present == 0:
		return "Nothing that ferry can promote runs here."
	case ready == present && len(l.Unreachable) > 0:
		return "✓ Everything that could be read is Ready."
	case ready == present:
		return "✓ Everything is Ready."
	}
	return fmt.Sprintf("%d of %d are Ready.", ready, present)
}

// Problems are what is not Ready, a line each: "podinfo in prod: ✗ InstallFailed: timed out".
func (l Listing) Problems() []string {
	var lines []string
	for _, r := range l.Rows {
		for i, c := range r.Cells {
			if !c.Present || c.Health == gitops.Ready {
				continue
			}
			line := fmt.Sprintf("%s %s in %s: %s", mark(c.Health), r.Name, l.Environments[i], cmp.Or(c.Reason, string(c.Health)))
			if c.Message != "" {
				line += ": " + c.Message
			}
			lines = append(lines, line)
		}
	}
	return lines
}

// Table shows what differs, a row for each field; environment is Difference.Environment.
func (c Comparison) Table(environment string) string {
	if len(c.Rows) == 0 {
		return ""
	}
	rows := [][]string{{"APPLICATION", "FIELD", environment, c.Other}}
	for i, r := range c.Rows {
		name := r.Application
		if i > 0 && c.Rows[i-1].Application == name {
			name = ""
		}
		rows = append(rows, []string{name, r.Field, r.Here, r.There})
	}
	return table(rows)
}

// Summary counts what differs, in a sentence.
func (c Comparison) Summary() string {
	differ := map[string]bool{}
	for _, r := range c.Rows {
		differ[r.Application] = true
	}
	switch {
	case c.Unreachable != "":
		return "? No answer from " + c.Other + ": " + c.Unreachable
	case len(differ) == 0 && c.Same == 0:
		return "Neither runs anything that ferry can promote."
	case len(differ) == 0:
		return fmt.Sprintf("✓ No difference in %d of %d applications.", c.Same, c.Same)
	}
	return fmt.Sprintf("%d of %d applications differ.", len(differ), len(differ)+c.Same)
}

// cellText keeps a value of any kind inside its cell.
func cellText(s string) string {
	runes := []rune(strings.Join(strings.Fields(s), " "))
	if len(runes) > 60 {
		return string(runes[:59]) + "…"
	}
	return string(runes)
}

package localhost

import (
	"regexp"
	"slices"
	"strings"

	"charm.land/lipgloss/v2"
)

// head is as much of a text as fits into so many cells of a terminal. A first character that does not fit is in it
// nevertheless, so that who takes heads off a text comes to an end.
func head(s string, cells int) string {
	used := 0
	for i, c := range s {
		if used += lipgloss.Width(string(c)); used > cells && i > 0 {
			return s[:i]
		}
	}
	return s
}

// wrap breaks a line where it has blanks, else after one of the characters in at, else anywhere. The first piece has at
// most so many cells as first says, every other at most rest.
func wrap(line string, first, rest int, at string) []string {
	var pieces []string
	cells := first
	for {
		piece := head(line, cells)
		if piece == line {
			return append(pieces, line)
		}
		if line[len(piece)] != ' ' {
			indent := len(piece) - len(strings.TrimLeft(piece, " "))
			if i := strings.LastIndex(piece, " "); i > indent {
				piece = piece[:i]
			} else if i := strings.LastIndexAny(piece, at); i > indent {
				piece = piece[:i+1]
			}
		}
		pieces = append(pieces, strings.TrimRight(piece, " "))
		line = strings.TrimLeft(line[len(piece):], " ")
		cells = rest
	}
}

// fill breaks the lines of a text; pieces after a line's first are indented by so many blanks. A width of 0 breaks none.
func fill(text string, width, indent int, at string) []string {
	lines := strings.Split(text, "\n")
	if width <= 0 {
		return lines
	}
	var out []string
	for _, line := range lines {
		for i, piece := range wrap(line, width, max(1, width-indent), at) {
			if i > 0 {
				piece = strings.Repeat(" ", indent) + piece
			}
			out = append(out, piece)
		}
	}
	return out
}

const (
	columnGap    = 2  // blanks between the columns of a table
	narrowColumn = 16 // cells that a column keeps when a table is made to fit
	maxColumns   = 50
)

var columnEnd = regexp.MustCompile(` {2,}`)

// A table is a code block whose first line names columns: the first in capitals, each two blanks or more from the next.
type table struct {
	rows   [][]string // of as many cells as there are columns; the first has the names
	widths []int      // of the columns, in cells of a terminal
}

// parseTable reads a block as a table. It is none when a row has something where the columns are apart.
func parseTable(block string) (table, bool) {
	lines := strings.Split(strings.TrimRight(block, "\n"), "\n")
	ends := columnEnd.FindAllStringIndex(lines[0], -1)
	name, _, _ := strings.Cut(lines[0], " ")
	if len(ends) == 0 || len(ends) >= maxColumns || name == "" || name != strings.ToUpper(name) || name == strings.ToLower(name) {
		return table{}, false
	}
	starts := []int{0} // in cells
	for _, end := range ends {
		starts = append(starts, lipgloss.Width(lines[0][:end[1]]))
	}
	t := table{widths: make([]int, len(starts))}
	for _, line := range lines {
		row := make([]string, len(starts))
		for i := range starts {
			field := line
			if i+1 < len(starts) {
				field = head(line, starts[i+1]-starts[i])
				if line = line[len(field):]; line != "" && !strings.HasSuffix(field, strings.Repeat(" ", columnGap)) {
					return table{}, false
				}
			}
			row[i] = strings.TrimRight(field, " ")
			t.widths[i] = max(t.widths[i], lipgloss.Width(row[i]))
		}
		t.rows = append(t.rows, row)
	}
	return t, true
}

// lines writes a row. Cells that are too long for their columns go on below.
func (t table) lines(row []string) []string {
	cells, height := make([][]string, len(row)), 0
	for i, cell := range row {
		cells[i] = wrap(cell, t.widths[i], t.widths[i], "/:@,-")
		height = max(height, len(cells[i]))
	}
	var out []string
	for y := range height {
		var line strings.Builder
		for i, pieces := range cells {
			piece := ""
			if y < len(pieces) {
				piece = pieces[y]
			}
			line.WriteString(piece + strings.Repeat(" ", max(0, t.widths[i]-lipgloss.Width(piece))+columnGap))
		}
		out = append(out, strings.TrimRight(line.String(), " "))
	}
	return out
}

// fit makes tables of at most so many cells out of one: narrower columns if that is enough, else several tables below
// one another that repeat the columns in capitals, or only the first. It says whether that went.
func (t table) fit(width int) ([]table, bool) {
	if narrow, ok := t.narrow(width); ok {
		return []table{narrow}, true
	}
	names := slices.IndexFunc(t.rows[0], func(head string) bool { return head != strings.ToUpper(head) })
	for _, names := range []int{max(1, names), 1} {
		if parts, ok := t.split(names, width); ok {
			return parts, true
		}
	}
	return nil, false
}

// least is how narrow a column may become.
func (t table) least(column int) int {
	return min(t.widths[column], max(narrowColumn, lipgloss.Width(t.rows[0][column])))
}

// narrow takes cells from the widest columns.
func (t table) narrow(width int) (table, bool) {
	t.widths = slices.Clone(t.widths)
	total := -columnGap
	for _, w := range t.widths {
		total += w + columnGap
	}
	for ; total > width; total-- {
		widest := -1
		for i, w := range t.widths {
			if w > t.least(i) && (widest < 0 || w > t.widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return table{}, false
		}
		t.widths[widest]--
	}
	return t, true
}

// split puts as many columns as there is room for behind so many that every part has.
func (t table) split(names, width int) ([]table, bool) {
	var parts []table
	for next := names; next < len(t.widths); {
		var columns []int
		for name := range names {
			columns = append(columns, name)
		}
		var part table
		for ; next < len(t.widths); next++ {
			columns = append(columns, next)
			wider, ok := t.part(columns).narrow(width)
			if !ok {
				break
			}
			part = wider
		}
		if part.rows == nil {
			return nil, false
		}
		parts = append(parts, part)
	}
	return parts, len(parts) > 0
}

// part is the table of some columns.
func (t table) part(columns []int) table {
	out := table{}
	for _, i := range columns {
		out.widths = append(out.widths, t.widths[i])
	}
	for _, row := range t.rows {
		var cells []string
		for _, i := range columns {
			cells = append(cells, row[i])
		}
		out.rows = append(out.rows, cells)
	}
	return out
}

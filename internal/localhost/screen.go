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
	columnGap    = 2 // blanks between the columns of a table
	narrowColumn = 6 // cells that a column keeps when a table is made to fit
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

// fit narrows the widest columns until the table has at most so many cells; it says whether that went.
func (t table) fit(width int) bool {
	total := columnGap * (len(t.widths) - 1)
	least := total
	for _, w := range t.widths {
		total += w
		least += min(w, narrowColumn)
	}
	if least > width {
		return false
	}
	for ; total > width; total-- {
		t.widths[slices.Index(t.widths, slices.Max(t.widths))]--
	}
	return true
}

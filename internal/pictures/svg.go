package main

import (
	"fmt"
	"html"
	"strings"
	"unicode"
	"unicode/utf8"
)

// An svg is a picture that is being drawn. Fonts are those of whoever looks at it, so nothing depends on their widths but
// where lines are broken.
type svg struct{ strings.Builder }

const (
	sans      = "-apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
	monospace = "ui-monospace, Menlo, Consolas, monospace"
)

// A run is text of one style.
type run struct {
	text       string
	size       float64
	bold, mono bool
	fill       string
}

// file is the whole picture, on a page of a colour with a border.
func (s *svg) file(width, height float64, title, page, border string) []byte {
	head := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" role="img" font-family="%s">
<title>%s</title>
<rect x=".5" y=".5" width="%.0f" height="%.0f" rx="8" fill="%s" stroke="%s"/>
`, width, height, width, height, sans, html.EscapeString(title), width-1, height-1, page, border)
	return []byte(head + s.String() + "</svg>\n")
}

func (s *svg) box(x, y, width, height, radius float64, fill, stroke string) {
	if stroke == "" {
		stroke = "none"
	}
	fmt.Fprintf(s, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="%.0f" fill="%s" stroke="%s"/>`+"\n", x, y, width, height, radius, fill, stroke)
}

func (s *svg) rule(x, y, width float64) {
	fmt.Fprintf(s, `<path d="M%.1f %.1fh%.1f" stroke="%s"/>`+"\n", x, y, width, line)
}

// words writes runs one behind the other, from x or, with the anchor "middle", around it.
func (s *svg) words(x, y float64, anchor string, row []run) {
	if anchor != "" {
		anchor = ` text-anchor="` + anchor + `"`
	}
	fmt.Fprintf(s, `<text x="%.1f" y="%.1f"%s xml:space="preserve">`, x, y, anchor)
	for _, r := range row {
		style := fmt.Sprintf(` font-size="%g" fill="%s"`, r.size, r.fill)
		if r.bold {
			style += ` font-weight="bold"`
		}
		if r.mono {
			style = fmt.Sprintf(` font-size="%g" fill="%s" font-family="%s"`, r.size*0.86, r.fill, monospace)
		}
		fmt.Fprintf(s, `<tspan%s>%s</tspan>`, style, html.EscapeString(r.text))
	}
	s.WriteString("</text>\n")
}

// A cell is how characters of a grid look.
type cell struct {
	fill        string
	bold, faint bool
}

// grid writes text of which every character has its place. Signs that many fonts lack stand alone: a font that helps out
// has other widths.
func (s *svg) grid(x, y, size, width float64, text string, c cell) {
	style := ""
	if c.bold {
		style += ` font-weight="bold"`
	}
	if c.faint {
		style += ` opacity=".65"`
	}
	column := 0
	put := func(part string, exact bool) {
		n := utf8.RuneCountInString(part)
		if kept := strings.TrimLeft(part, " "); kept != "" {
			at := column + n - utf8.RuneCountInString(kept)
			kept = strings.TrimRight(kept, " ")
			length := ""
			if exact {
				length = fmt.Sprintf(` textLength="%.1f"`, float64(utf8.RuneCountInString(kept))*width)
			}
			fmt.Fprintf(s, `<text x="%.1f" y="%.1f" font-size="%g" font-family="%s" fill="%s"%s%s xml:space="preserve">%s</text>`+"\n",
				x+float64(at)*width, y, size, monospace, c.fill, style, length, html.EscapeString(kept))
		}
		column += n
	}
	part := ""
	for _, r := range text {
		if r < 0x2000 {
			part += string(r)
			continue
		}
		put(part, true)
		put(string(r), false)
		part = ""
	}
	put(part, true)
}

// measure is how wide a run may be: fonts without serifs differ, and this is meant for the wider ones.
func measure(r run) float64 {
	if r.mono {
		return float64(utf8.RuneCountInString(r.text)) * r.size * 0.86 * 0.602
	}
	width := 0.0
	for _, c := range r.text {
		switch {
		case strings.ContainsRune("ijl.,:;'|!I ", c):
			width += 0.28
		case strings.ContainsRune("ftr()[]-/\"`", c):
			width += 0.36
		case strings.ContainsRune("mwMW@→…", c):
			width += 0.88
		case unicode.IsUpper(c):
			width += 0.7
		default:
			width += 0.56
		}
	}
	if r.bold {
		width *= 1.07
	}
	return width * r.size * 1.1
}

// wrap breaks runs into rows at blanks; a word that is wider than a row is broken where the row ends.
func wrap(all []run, width float64) [][]run {
	var rows [][]run
	var row []run
	used := 0.0
	add := func(r run) {
		if n := len(row); n > 0 && row[n-1].bold == r.bold && row[n-1].mono == r.mono && row[n-1].fill == r.fill {
			row[n-1].text += r.text
		} else {
			row = append(row, r)
		}
		used += measure(r)
	}
	end := func() {
		rows, row, used = append(rows, row), nil, 0
	}
	for _, r := range all {
		for _, word := range strings.SplitAfter(r.text, " ") {
			part := r
			part.text = word
			bare := part
			bare.text = strings.TrimRight(word, " ")
			if used > 0 && used+measure(bare) > width {
				end()
			}
			for measure(bare) > width {
				chars := []rune(part.text)
				n := len(chars)
				for n > 1 && measure(run{text: string(chars[:n]), size: r.size, bold: r.bold, mono: r.mono}) > width {
					n--
				}
				head := part
				head.text = string(chars[:n])
				add(head)
				end()
				part.text = string(chars[n:])
				bare.text = strings.TrimRight(part.text, " ")
			}
			if part.text != "" {
				add(part)
			}
		}
	}
	if len(row) > 0 {
		end()
	}
	return rows
}

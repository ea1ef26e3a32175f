package operation

import (
	"fmt"
	"strconv"
	"strings"
)

// Patch writes the difference of a file before and after as git diff does, for git apply; before is nil where the file is
// new.
func Patch(file string, before, after []byte) string {
	hunks := Unified(file, before, after, func(lines []string) []string { return lines })
	if hunks == "" {
		return ""
	}
	mode := ""
	if before == nil {
		mode = "new file mode 100644\n"
	}
	return fmt.Sprintf("diff --git %s %s\n%s%s", gitName("a/"+file), gitName("b/"+file), mode, hunks)
}

// Unified writes the difference as diff -u does; show may replace the text of lines, not how many there are. It pairs lines
// by number between the first and the last that differ, unless their count changes: exact for edits that replace lines or
// add some in one place.
func Unified(file string, before, after []byte, show func(lines []string) []string) string {
	const around = 3
	a, b := lines(before), lines(after)
	changes := spans(a, b)
	if len(changes) == 0 && before != nil {
		return ""
	}
	var out strings.Builder
	old, name := gitName("a/"+file), gitName("b/"+file)
	if before == nil {
		old = "/dev/null"
	}
	fmt.Fprintf(&out, "--- %s\n+++ %s\n", old, name)

	a, b = show(a), show(b)
	for len(changes) > 0 {
		n := 1
		for n < len(changes) && changes[n].fromA-changes[n-1].toA <= 2*around {
			n++
		}
		first, last := changes[0], changes[n-1]
		before := min(around, first.fromA)
		behind := min(around, len(a)-last.toA)
		fmt.Fprintf(&out, "@@ -%s +%s @@\n", span(first.fromA-before, last.toA+behind), span(first.fromB-before, last.toB+behind))
		at := first.fromA - before
		for _, c := range changes[:n] {
			write(&out, " ", a[at:c.fromA])
			write(&out, "-", a[c.fromA:c.toA])
			write(&out, "+", b[c.fromB:c.toB])
			at = c.toA
		}
		write(&out, " ", a[at:last.toA+behind])
		changes = changes[n:]
	}
	return out.String()
}

// CountLines says how many lines of a file change, are added and are removed, by the pairs of Unified.
func CountLines(before, after []byte) (changed, added, removed int) {
	for _, s := range spans(lines(before), lines(after)) {
		minus, plus := s.toA-s.fromA, s.toB-s.fromB
		changed += min(minus, plus)
		added += max(0, plus-minus)
		removed += max(0, minus-plus)
	}
	return changed, added, removed
}

// A change is a span of lines, in a and in b, that differs.
type change struct{ fromA, toA, fromB, toB int }

// spans are where two texts differ.
func spans(a, b []string) (changes []change) {
	head, tail := 0, 0
	for head < min(len(a), len(b)) && a[head] == b[head] {
		head++
	}
	for tail < min(len(a), len(b))-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	switch {
	case head == len(a) && head == len(b):
		return nil
	case len(a) != len(b):
		return []change{{head, len(a) - tail, head, len(b) - tail}}
	}
	for i := head; i < len(a)-tail; i++ {
		switch last := len(changes) - 1; {
		case a[i] == b[i]:
		case last >= 0 && changes[last].toA == i:
			changes[last].toA, changes[last].toB = i+1, i+1
		default:
			changes = append(changes, change{i, i + 1, i, i + 1})
		}
	}
	return changes
}

// lines splits a text behind each line end.
func lines(text []byte) []string {
	all := strings.SplitAfter(string(text), "\n")
	if all[len(all)-1] == "" {
		all = all[:len(all)-1]
	}
	return all
}

func write(out *strings.Builder, sign string, lines []string) {
	for _, l := range lines {
		out.WriteString(sign + l)
		if !strings.HasSuffix(l, "\n") {
			out.WriteString("\n\\ No newline at end of file\n")
		}
	}
}

// span gives the first line of a hunk and how many there are; diff leaves out a count of one, and an empty hunk is
// behind a line.
func span(from, to int) string {
	switch to - from {
	case 0:
		return fmt.Sprintf("%d,0", from)
	case 1:
		return strconv.Itoa(from + 1)
	default:
		return fmt.Sprintf("%d,%d", from+1, to-from)
	}
}

// gitName writes a name as git does where it has characters that would end it.
func gitName(name string) string {
	var b strings.Builder
	plain := true
	for i := range len(name) {
		switch c := name[i]; {
		case c == '"' || c == '\\':
			b.WriteString(`\` + string(c))
			plain = false
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\%03o`, c)
			plain = false
		default:
			b.WriteByte(c)
		}
	}
	if plain {
		return name
	}
	return `"` + b.String() + `"`
}

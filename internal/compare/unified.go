package compare

import (
	"fmt"
	"strconv"
	"strings"
)

// Unified writes the difference as diff -u does; show may replace the text of lines, not how many there are. It is as
// short as can be.
func Unified(file string, before, after []byte, show func(lines []string) []string) string {
	const around = 3
	a, b := lines(before), lines(after)
	changes := align(a, b)
	if len(changes) == 0 && before != nil {
		return ""
	}
	var out strings.Builder
	old, name := GitName("a/"+file), GitName("b/"+file)
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
		fmt.Fprintf(&out, "@@ -%s +%s @@\n", lineSpan(first.fromA-before, last.toA+behind), lineSpan(first.fromB-before, last.toB+behind))
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
	for _, s := range align(lines(before), lines(after)) {
		minus, plus := s.toA-s.fromA, s.toB-s.fromB
		changed += min(minus, plus)
		added += max(0, plus-minus)
		removed += max(0, minus-plus)
	}
	return changed, added, removed
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

// lineSpan gives the first line of a hunk and how many there are; diff leaves out a count of one, and an empty hunk is
// behind a line.
func lineSpan(from, to int) string {
	switch to - from {
	case 0:
		return fmt.Sprintf("%d,0", from)
	case 1:
		return strconv.Itoa(from + 1)
	default:
		return fmt.Sprintf("%d,%d", from+1, to-from)
	}
}

// GitName writes a name as git does where it has characters that would end it.
func GitName(name string) string {
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

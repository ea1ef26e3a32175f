package promotion

import (
	"fmt"
	"regexp"
	"strings"
)

// unified writes the difference of two texts as one hunk with three lines around it, as diff -u does. An edit touches
// neighbouring lines only, so what lies between the first and the last difference is shown whole.
func unified(file string, before, after []byte) string {
	const around = 3
	a, b := strings.SplitAfter(string(before), "\n"), strings.SplitAfter(string(after), "\n")
	head := 0
	for head < min(len(a), len(b)) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < min(len(a), len(b))-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	from, endA, endB := max(0, head-around), min(len(a), len(a)-tail+around), min(len(b), len(b)-tail+around)
	var out strings.Builder
	fmt.Fprintf(&out, "--- a/%s\n+++ b/%s\n@@ -%s +%s @@\n", file, file, span(from, a[from:endA]), span(from, b[from:endB]))
	write := func(sign string, list []string) {
		for _, l := range list {
			if l == "" { // what follows the last line end
				continue
			}
			out.WriteString(sign + secrets.ReplaceAllString(strings.TrimRight(l, "\r\n"), "$1***") + "\n")
			if !strings.HasSuffix(l, "\n") {
				out.WriteString("\\ No newline at end of file\n")
			}
		}
	}
	write(" ", a[from:head])
	write("-", a[head:len(a)-tail])
	write("+", b[head:len(b)-tail])
	write(" ", a[len(a)-tail:endA])
	return out.String()
}

// secrets are values that a neighbouring line may hold, by the names that people give them. A diff is read in chat and in
// pull requests.
var secrets = regexp.MustCompile(`(?i)(\S*(?:passw(?:or)?d|passphrase|secret|token|api[-_]?key|credential|private[-_]?key)[^\s:]*\s*:\s*)[^\s{}\[\],#][^{}\[\],#]*`)

// span gives the first line of a hunk and how many there are; diff leaves out a count of one.
func span(from int, list []string) string {
	n := len(list)
	if n > 0 && list[n-1] == "" {
		n--
	}
	if n == 1 {
		return fmt.Sprint(from + 1)
	}
	return fmt.Sprintf("%d,%d", from+1, n)
}

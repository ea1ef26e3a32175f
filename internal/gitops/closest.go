package gitops

import "strings"

// maxCompared bounds how long a word may be to be compared with others.
const maxCompared = 80

// Closest finds the only candidate with the fewest edits, at most a third of its length and never more than two.
// A beginning of three letters counts too: "prom" is promote.
func Closest(word string, among []string) string {
	best, least, tie := "", 3, false
	for _, candidate := range among {
		d := distance(word, candidate)
		if len(word) >= 3 && strings.HasPrefix(candidate, word) {
			d = min(d, 1)
		}
		if d > max(1, len(candidate)/3) || d > least {
			continue
		}
		best, least, tie = candidate, d, d == least && best != ""
	}
	if tie || len(word) > maxCompared {
		return ""
	}
	return best
}

// distance counts inserted, dropped, changed and swapped letters (optimal string alignment).
func distance(a, b string) int {
	if len(a) > maxCompared {
		return maxCompared
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

package compare

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// What lies between the spans is the same on both sides, and there is as much of it as can be.
func TestAlign(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same every time
	text := func() (s []byte) {
		for range r.IntN(30) {
			s = append(s, "abcdefgh"[r.IntN(2+r.IntN(7))])
		}
		return s
	}
	for range 5000 {
		a, b := text(), text()
		var made []byte
		kept, i, j := 0, 0, 0
		for _, s := range append(align(a, b), span{len(a), len(a), len(b), len(b)}) {
			if !slices.Equal(a[i:s.fromA], b[j:s.fromB]) {
				t.Fatalf("%s and %s: %v", a, b, align(a, b))
			}
			kept += s.fromA - i
			made = append(append(made, a[i:s.fromA]...), b[s.fromB:s.toB]...)
			i, j = s.toA, s.toB
		}
		if string(made) != string(b) || kept != longest(a, b) {
			t.Fatalf("%s and %s: %v makes %s and keeps %d of %d", a, b, align(a, b), made, kept, longest(a, b))
		}
	}
}

// longest is the length of the longest common subsequence.
func longest(a, b []byte) int {
	row := make([]int, len(b)+1)
	for i := range a {
		diagonal := 0
		for j := range b {
			up := row[j+1]
			if a[i] == b[j] {
				row[j+1] = diagonal + 1
			} else {
				row[j+1] = max(up, row[j])
			}
			diagonal = up
		}
	}
	return row[len(b)]
}

package promotion

import (
	"strings"

	"github.com/ferry-chatops/ferry/internal/compare"
)

// unified writes the difference of two texts for people: without what is secret, and without carriage returns.
func unified(file string, before, after []byte) string {
	return compare.Unified(file, before, after, func(lines []string) []string {
		shown := compare.Lines(lines)
		for i, l := range shown {
			if text, ok := strings.CutSuffix(l, "\r\n"); ok {
				shown[i] = text + "\n"
			}
		}
		return shown
	})
}

package compare

import (
	"strings"
	"testing"
)

// BenchmarkText masks a megabyte of a usual text.
func BenchmarkText(b *testing.B) {
	text := strings.Repeat("    - name: DB_HOST\n      value: db.shop.svc\n      image: ghcr.io/acme/web:1.4.2 # a comment\n", 1<<20/100)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		Text(text)
	}
}

package githubtest

import (
	"bytes"
	"compress/flate"
	"math/rand/v2"
	"testing"
)

// Bodies that a compressor makes nothing of would make measures of memory look better than they are.
func TestProse(t *testing.T) {
	var all bytes.Buffer
	for i := range uint64(100) {
		text := prose(rand.New(rand.NewPCG(1, i)))
		if len(text) < 200 || len(text) > 6000 {
			t.Errorf("%d bytes: %s", len(text), text)
		}
		all.WriteString(text)
	}
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.DefaultCompression)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(all.Bytes()) // into memory
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if share := float64(packed.Len()) / float64(all.Len()); all.Len() < 50_000 || share < 0.3 || share > 0.6 { // English: 0.35 to 0.45
		t.Errorf("%d bytes are packed to %.2f of them", all.Len(), share)
	}
}

package executor

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestReportsInFiles(t *testing.T) {
	kept := files{filepath.Join(t.TempDir(), "state", "reviews")}
	if raw, err := kept.Load(t.Context(), "00"); raw != nil || err != nil {
		t.Errorf("before any: %q, %v", raw, err)
	}
	for i := range mostKept + 3 {
		key := fmt.Sprintf("%02x", i)
		if err := kept.Save(t.Context(), key, fmt.Append(nil, "report ", i)); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(int64(1000+i), 0)
		if err := os.Chtimes(filepath.Join(kept.dir, key), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := kept.Save(t.Context(), "30", []byte("again")); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"00": "", "02": "", "03": "report 3", "30": "again", "34": "report 52"} {
		if raw, err := kept.Load(t.Context(), key); string(raw) != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", key, raw, err, want)
		}
	}
	if entries, err := os.ReadDir(kept.dir); err != nil || len(entries) != mostKept {
		t.Errorf("%d files, %v", len(entries), err)
	}
}

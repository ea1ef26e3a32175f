package hostlog

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRecordIsALineOfHclogJSON(t *testing.T) {
	var out bytes.Buffer
	New(&out, slog.LevelInfo).With("verb", "list").WithGroup("cluster").Warn("environment did not answer", "name", "prod", "level", "x")

	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	stamp, _ := got["@timestamp"].(string)
	if _, err := time.Parse(timestamp, stamp); err != nil {
		t.Errorf("timestamp: %v", err)
	}
	delete(got, "@timestamp")
	want := map[string]any{
		"@level": "warn", "@message": "environment did not answer", "verb": "list",
		"cluster": map[string]any{"name": "prod", "level": "x"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("%d lines, want 1", n)
	}
}

func TestLevels(t *testing.T) {
	var out bytes.Buffer
	log := New(&out, slog.LevelInfo)
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelInfo + 1, slog.LevelError + 4} {
		log.Log(t.Context(), level, "x")
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		var record map[string]string
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatal(err)
		}
		got = append(got, record["@level"])
	}
	if diff := cmp.Diff([]string{"info", "info", "error"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestLongValueStaysBelowTheHostsLine(t *testing.T) {
	var out bytes.Buffer
	New(&out, slog.LevelInfo).Error("x", "stack", strings.Repeat("s", 1<<20))
	if out.Len() > 64<<10 {
		t.Errorf("%d bytes, want at most 64 KiB", out.Len())
	}
}

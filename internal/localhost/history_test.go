package localhost

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHistoryIsKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state", "ferry", "history")
	h, err := openHistory(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"list", "list", "", "diff stage"} {
		if err := h.add(line); err != nil {
			t.Fatal(err)
		}
	}
	stat, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if stat.Mode() != 0o600 {
		t.Errorf("mode %v, want 0600", stat.Mode())
	}
	if h, err = openHistory(file); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"list", "diff stage"}, h.lines); diff != "" {
		t.Error(diff)
	}
}

func TestHistoryOfOthersIsClosed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "history")
	if err := os.WriteFile(file, []byte("list\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	h, err := openHistory(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.add("diff"); err != nil {
		t.Fatal(err)
	}
	if stat, err := os.Stat(file); err != nil || stat.Mode() != 0o600 {
		t.Errorf("mode %v, error %v", stat.Mode(), err)
	}
}

func TestHistoryIsCut(t *testing.T) {
	file := filepath.Join(t.TempDir(), "history")
	var content strings.Builder
	for i := range 40_000 {
		fmt.Fprintf(&content, "list application-with-a-name-%d\x1b[2J\n", i)
	}
	if err := os.WriteFile(file, []byte(content.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		h, err := openHistory(file)
		if err != nil {
			t.Fatal(err)
		}
		if newest := h.lines[len(h.lines)-1]; len(h.lines) != maxHistory || newest != "list application-with-a-name-39999[2J" {
			t.Errorf("%d lines, the newest %q", len(h.lines), newest)
		}
	}
	if lines := strings.Count(read(t, file), "\n"); lines != maxHistory {
		t.Errorf("%d lines in the file, want %d", lines, maxHistory)
	}
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestHistoryThatCannotBeReadIsNoObstacle(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{dir, pipe} {
		h, err := openHistory(file)
		if err == nil {
			t.Errorf("no error for %s", file)
		}
		if err := h.add("list"); err != nil || len(h.lines) != 1 {
			t.Errorf("error %v, lines %q", err, h.lines)
		}
	}
	m := newModel(t.Context(), Chat{History: dir})
	if !strings.Contains(m.hint(), "read history") {
		t.Errorf("hint %q", m.hint())
	}
}

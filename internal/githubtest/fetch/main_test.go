package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ferry-chatops/ferry/internal/githubtest/contract"
)

// npm puts a program of that name into PATH that packs an archive with one member.
func npm(t *testing.T, member, content string) {
	t.Helper()
	dir := t.TempDir()
	var archive bytes.Buffer
	zipped := gzip.NewWriter(&archive)
	w := tar.NewWriter(zipped)
	if err := w.WriteHeader(&tar.Header{Name: member, Mode: 0o644, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\n[ \"$*\" = 'pack --silent --ignore-scripts @o/p@1.0.0' ] && cp \"" + dir + "/archive\" o-p-1.0.0.tgz\n"
	for name, content := range map[string]string{"archive": archive.String(), "npm": script} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

func TestProvide(t *testing.T) {
	sum := sha256.Sum256([]byte("content"))
	source := contract.Source{Package: "@o/p", Version: "1.0.0", Member: "package/a", SHA256: hex.EncodeToString(sum[:])}
	shout := func(raw []byte) ([]byte, error) { return bytes.ToUpper(raw), nil }
	for name, tc := range map[string]struct{ member, content, want string }{
		"good":           {"package/a", "content", ""},
		"other content":  {"package/a", "contents", "expected " + source.SHA256},
		"member missing": {"package/b", "content", "package/a is not in the archive"},
	} {
		t.Run(name, func(t *testing.T) {
			npm(t, tc.member, tc.content)
			file := filepath.Join(t.TempDir(), "new", "a")
			err := provide(t.Context(), file, source, shout)
			got, readErr := os.ReadFile(file)
			switch {
			case tc.want == "" && (err != nil || string(got) != "CONTENT"):
				t.Errorf("got %q, %v", got, err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || readErr == nil):
				t.Errorf("got %v, want %q; file %q", err, tc.want, got)
			}
		})
	}
}

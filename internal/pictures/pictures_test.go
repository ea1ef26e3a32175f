package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSlackPicturesAreCurrent: what they are drawn from is held to the present messages by internal/hosttest.
func TestSlackPicturesAreCurrent(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	want := map[string]bool{}
	for _, file := range files {
		name, picture, err := slackPicture(file)
		if err != nil {
			t.Fatal(err)
		}
		want[name] = true
		if got, err := os.ReadFile(filepath.Join("../..", github, name)); err != nil || !bytes.Equal(got, picture) {
			t.Errorf("%s is not what is drawn now (%v): make pictures", name, err)
		}
	}
	shown, err := filepath.Glob(filepath.Join("../..", github, "slack-*.svg"))
	if err != nil || len(shown) != len(want) {
		t.Errorf("%d pictures of %d messages: %v", len(shown), len(want), err)
	}
}

// TestPicturesAreShown: each is well-formed and in the README.
func TestPicturesAreShown(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	pictures, err := filepath.Glob(filepath.Join("../..", github, "*.svg"))
	if err != nil || len(pictures) == 0 {
		t.Fatal(pictures, err)
	}
	for _, file := range pictures {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d := xml.NewDecoder(bytes.NewReader(raw))
		for err == nil {
			_, err = d.Token()
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", file, err)
		}
		if !strings.Contains(string(readme), "(.github/"+filepath.Base(file)+")") {
			t.Errorf("the README does not show %s", filepath.Base(file))
		}
	}
}

func TestScreen(t *testing.T) {
	for name, test := range map[string]struct {
		written []string
		want    string
	}{
		"lines":              {[]string{"one\r\n", "two"}, "one\ntwo"},
		"written over":       {[]string{"waiting\rdone\x1b[K"}, "done"},
		"up and erased":      {[]string{"a\r\nb\r\nc\r\x1b[2A\x1b[Jx"}, "x"},
		"a line back":        {[]string{"a\r\nb\r\x1bMc"}, "c\nb"},
		"a sequence in two":  {[]string{"a\x1b[", "2Cb"}, "a  b"},
		"a character in two": {[]string{"\xe2\x9c", "\x93 ok"}, "✓ ok"},
		"a whole terminal's": {[]string{"\x1b]0;title\x07\x1b[?25l\x1b[>4;2m\x1b(Bok"}, "ok"},
		"tabs and repeats":   {[]string{"a\tb\x1b[3b"}, "a       bbbb"},
		"a full row":         {[]string{strings.Repeat("x", 20) + "y"}, strings.Repeat("x", 20) + "\ny"},
		"back and forth":     {[]string{"abc\x1b[2DX\x1b[3G!\x1b[1;1H?\x1b[2;2Hy"}, "?X!\n y"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &screen{columns: 20}
			for _, w := range test.written {
				if _, err := s.Write([]byte(w)); err != nil {
					t.Fatal(err)
				}
			}
			var rows []string
			for _, row := range s.rows {
				rows = append(rows, text(row))
			}
			if diff := cmp.Diff(test.want, strings.Join(rows, "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
	s := &screen{columns: 20}
	if _, err := s.Write([]byte("\x1b[1;36ma\x1b[22;39mb\x1b[2mc\x1b[md")); err != nil {
		t.Fatal(err)
	}
	want := []look{{colour: 36, bold: true}, {}, {faint: true}, {}}
	for i, l := range want {
		if got := s.rows[0][i].look; got != l {
			t.Errorf("%c looks %+v, want %+v", s.rows[0][i].char, got, l)
		}
	}
}

func TestWrap(t *testing.T) {
	for in, want := range map[string]string{
		"short":                            "short",
		"several words that are too long ": "several words |that are too |long ",
		strings.Repeat("w", 20):            "wwwwwwww|wwwwwwww|wwww",
		"`code that is too long` and text": "code that is |too long and |text",
	} {
		var rows []string
		for _, row := range wrap(runs(in, 15, ink), 120) {
			line := ""
			for _, r := range row {
				line += r.text
			}
			rows = append(rows, line)
		}
		if diff := cmp.Diff(want, strings.Join(rows, "|")); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
}

package fetch

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	commit, sum := strings.Repeat("a1", 20), strings.Repeat("b2", 32)
	for text, want := range map[string]Address{
		"/etc/ferry/blueprints/":                                               {folder: "/etc/ferry/blueprints"},
		"git::https://git.example.com/x.git?ref=" + commit:                     {remote: "https://git.example.com/x.git", commit: commit},
		"git::https://git.example.com:8443/x.git//a/b?ref=" + sum:              {remote: "https://git.example.com:8443/x.git", commit: sum, subdir: "a/b"},
		"https://example.com/x.tar.gz?checksum=sha256:" + sum:                  {remote: "https://example.com/x.tar.gz", checksum: sum},
		"https://example.com/x-1.0.zip//x-1.0/messages?checksum=sha256:" + sum: {remote: "https://example.com/x-1.0.zip", checksum: sum, subdir: "x-1.0/messages"},
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("%s: %+v %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"":                                 "absolute path",
		"blueprints":                       "absolute path",
		"./blueprints":                     "absolute path",
		"github.com/acme/x":                "absolute path",
		"git@github.com:acme/x.git":        "absolute path",
		"file:///etc":                      "absolute path",
		"git::ssh://git@example.com/x.git": "absolute path",
		"git::file:///x.git?ref=" + commit: "absolute path",
		"git::/x.git?ref=" + commit:        "absolute path",
		"hg::https://example.com/x":        "absolute path",
		"s3::https://example.com/x.zip":    "absolute path",
		"http://example.com/x.zip?checksum=sha256:" + sum:                       "absolute path",
		"git::https://example.com/x.git":                                        "not pinned",
		"git::https://example.com/x.git?ref=main":                               "not pinned",
		"git::https://example.com/x.git?ref=v1.0.0":                             "not pinned",
		"git::https://example.com/x.git?ref=" + commit[:12]:                     "not pinned",
		"git::https://example.com/x.git?ref=--upload-pack=x":                    "not pinned",
		"git::https://example.com/x.git?sshkey=YQ==&ref=" + commit:              "nothing but ref",
		"git::https://example.com/x.git?depth=1&ref=" + commit:                  "nothing but ref",
		"git::https://example.com/x.git?ref=" + commit + "#x":                   "nothing but ref",
		"git::https://jane:secret@example.com/x.git?ref=" + commit:              "credentials",
		"git::https://example.com/x.git//../../etc?ref=" + commit:               "leads out",
		"git::https://example.com/x.git//a/../../etc?ref=" + commit:             "leads out",
		"https://example.com/x.zip":                                             "not pinned",
		"https://example.com/x.zip?checksum=" + sum:                             "not pinned",
		"https://example.com/x.zip?checksum=md5:" + sum[:32]:                    "not pinned",
		"https://example.com/x.zip?checksum=file:https://example.com/sums":      "not pinned",
		"https://example.com/x.zip?archive=false&checksum=sha256:" + sum:        "nothing but checksum",
		"https://example.com/x.zip?filename=y&checksum=sha256:" + sum:           "nothing but checksum",
		"https://example.com/x.zip?checksum=sha256:" + sum + "&checksum=file:x": "nothing but checksum",
		"https://example.com/x?checksum=sha256:" + sum:                          "an archive is",
		"https://example.com/x.tar.xz?checksum=sha256:" + sum:                   "an archive is",
	} {
		_, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
			continue
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%v tells the password", err)
		}
	}
}

package gitops

import "testing"

func TestWrites(t *testing.T) {
	const old, now = "sha256:" + "aaaa", "sha256:" + "bbbb"
	for _, tc := range []struct {
		tag, digest   string // of the policy
		part, version string
		want          string // empty: it leaves the version alone
	}{
		{"1.1.0", "", "tag", "1.0.0", "1.1.0"},
		{"1.1.0", "", "tag", "1.1.0", ""},
		{"1.1.0", "", "", "1.0.0", "1.1.0"},
		{"1.1.0", "", "", "1.1.0", ""},
		{"1.1.0", now, "", "1.1.0@" + old, "1.1.0@" + now},
		{"1.1.0", now, "", "1.1.0@" + now, ""},
		{"1.1.0", now, "", "1.1.0", ""}, // it adds the digest and leaves the version
		{"1.1.0", now, "digest", old, now},
		{"1.1.0", now, "digest", now, ""},
		{"1.1.0", "", "digest", old, ""},
		{"1.1.0", "", "name", "example/other", ""},
		{"", "", "tag", "1.0.0", ""},
	} {
		got, undoes := ImagePolicy{Tag: tc.tag, Digest: tc.digest}.Writes(tc.part, tc.version)
		if got = map[bool]string{true: got}[undoes]; got != tc.want {
			t.Errorf("%+v: %q", tc, got)
		}
	}
}

func TestCovers(t *testing.T) {
	for path, want := range map[string]bool{".": true, "apps": true, "apps/prod": true, "apps/prod/a.yaml": true, "apps/pro": false, "web": false} {
		if got := (ImageAutomation{Path: path}).Covers("apps/prod/a.yaml"); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

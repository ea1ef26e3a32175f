package gitops

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
)

const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestSplitImage(t *testing.T) {
	for reference, want := range map[string][3]string{
		"podinfo":                                              {"podinfo", "", ""},
		"podinfo:6.5.3":                                        {"podinfo", "6.5.3", ""},
		"ghcr.io/stefanprodan/podinfo:6.5.3":                   {"ghcr.io/stefanprodan/podinfo", "6.5.3", ""},
		"localhost:5000/podinfo":                               {"localhost:5000/podinfo", "", ""},
		"localhost:5000/podinfo:6.5.3":                         {"localhost:5000/podinfo", "6.5.3", ""},
		"localhost:5000/team/podinfo@" + digest:                {"localhost:5000/team/podinfo", "", digest},
		"registry.example:443/podinfo:v1.0.0_rc-1.x@" + digest: {"registry.example:443/podinfo", "v1.0.0_rc-1.x", digest},
		"[::1]:5000/podinfo:1":                                 {"[::1]:5000/podinfo", "1", ""},
		"":                                                     {"", "", ""},
		"podinfo:":                                             {"podinfo:", "", ""},
		"podinfo:<script>":                                     {"podinfo:<script>", "", ""},
		"podinfo:1.0.0 --yes":                                  {"podinfo:1.0.0 --yes", "", ""},
	} {
		n, tag, digest := SplitImage(reference)
		if diff := cmp.Diff(want, [3]string{n, tag, digest}); diff != "" {
			t.Errorf("%s: %s", reference, diff)
		}
	}
}

// FuzzSplitImage holds the tag against the parser of go-containerregistry wherever that accepts the reference.
func FuzzSplitImage(f *testing.F) {
	for _, s := range []string{"podinfo:6.5.3", "localhost:5000/podinfo", "a.b:1/c/d:x", "a:b:c", "a/b:c/d:e", "0:.0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, reference string) {
		want, err := name.NewTag(reference, name.WithDefaultTag(""))
		if err != nil {
			return
		}
		expected := want.TagStr()
		if !tagPattern.MatchString(expected) { // that parser takes a tag that begins with a dot or a dash; registries do not
			expected = ""
		}
		if _, tag, _ := SplitImage(reference); tag != expected {
			t.Errorf("tag of %q is %q, want %q", reference, tag, expected)
		}
	})
}

func TestSplitImageOfOtherDigests(t *testing.T) {
	for image, want := range map[string][3]string{
		"a":                         {"a", "", ""},
		"a:1":                       {"a", "1", ""},
		"h:5000/a":                  {"h:5000/a", "", ""},
		"h:5000/a:1":                {"h:5000/a", "1", ""},
		"h:5000/a/b:1@sha256:0":     {"h:5000/a/b", "1", "sha256:0"},
		"docker.io/library/a@sha:0": {"docker.io/library/a", "", "sha:0"},
	} {
		repository, tag, digest := SplitImage(image)
		if got := [3]string{repository, tag, digest}; got != want {
			t.Errorf("%s: got %q, want %q", image, got, want)
		}
	}
}

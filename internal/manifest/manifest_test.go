package manifest

import (
	"errors"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

func TestReplaceKeepsEverythingElse(t *testing.T) {
	for name, tc := range map[string]struct{ in, value, out string }{
		"plain":                    {"spec:\n  version: 6.9.2 # keep\n", "7.0.0", "spec:\n  version: 7.0.0 # keep\n"},
		"double quoted":            {"spec:\n  version: \"6.9.2\"   # {\"$imagepolicy\": \"a:b\"}\n", "7.0.0", "spec:\n  version: \"7.0.0\"   # {\"$imagepolicy\": \"a:b\"}\n"},
		"single quoted":            {"spec: {version: '6.9.2', other: 1}\n", "7.0.0", "spec: {version: '7.0.0', other: 1}\n"},
		"flow":                     {"{spec: {version: 6.9.2}}", "7.0.0", "{spec: {version: 7.0.0}}"},
		"json":                     {`{"spec": {"version": "6.9.2", "x": [1]}}`, "7.0.0", `{"spec": {"version": "7.0.0", "x": [1]}}`},
		"crlf":                     {"spec:\r\n  version: 6.9.2\r\n  x: 1\r\n", "7.0.0", "spec:\r\n  version: 7.0.0\r\n  x: 1\r\n"},
		"mark":                     {"\ufeffspec: {version: 6.9.2}\n", "7.0.0", "\ufeffspec: {version: 7.0.0}\n"},
		"no final line":            {"spec:\n  version: 6.9.2", "7.0.0", "spec:\n  version: 7.0.0"},
		"wide letters":             {"spec: {name: \"größe→\", version: 6.9.2}\n", "7.0.0", "spec: {name: \"größe→\", version: 7.0.0}\n"},
		"own anchor":               {"spec:\n  version: &v 6.9.2\n", "7.0.0", "spec:\n  version: &v 7.0.0\n"},
		"needs quotes":             {"spec:\n  version: 1.9\n", "1.10", "spec:\n  version: \"1.10\"\n"},
		"was a number":             {"spec:\n  version: 1.10 # c\n", "1.11.0", "spec:\n  version: 1.11.0 # c\n"},
		"a variable":               {"spec:\n  version: ${V:=6.9.2}\n", "${V:=7.0.0}", "spec:\n  version: ${V:=7.0.0}\n"},
		"one, in flow":             {"spec: {version: a}\n", "${V:=7.0.0}", "spec: {version: \"${V:=7.0.0}\"}\n"},
		"a list":                   {"spec:\n  version: a, b [c]\n", "a, \"d\" [e]", "spec:\n  version: a, \"d\" [e]\n"},
		"its own tag":              {"spec:\n  version: !!str 6.9.2\n", "7.0.0", "spec:\n  version: !!str 7.0.0\n"},
		"single quotes where used": {"a: 'b'\nspec:\n  version: 6.9.2\n", "1.10", "a: 'b'\nspec:\n  version: '1.10'\n"},
		"JSON's number":            {"{\"spec\": {\"version\": 6.9, \"x\": null}}", "v7", "{\"spec\": {\"version\": \"v7\", \"x\": null}}"},
		"a block":                  {"spec:\n  version: |-  # c\n      6.9.2\n", "7.0.0", "spec:\n  version: |-  # c\n      7.0.0\n"},
		"a null":                   {"spec:\n  version: ~\n", "7.0.0", "spec:\n  version: 7.0.0\n"},
		"mixed ends":               {"spec:\r\n  version: 6.9.2\n  x: 1\r\n", "7.0.0", "spec:\r\n  version: 7.0.0\n  x: 1\r\n"},
		"a word":                   {"spec:\n  version: main\n", "on", "spec:\n  version: \"on\"\n"},
		"escapes":                  {"spec:\n  version: \"6\\x2e9\"\n", "7.0.0", "spec:\n  version: \"7.0.0\"\n"},
		"tabs and tail":            {"---\n# head\n\nspec:\n    version:   6.9.2\t \n\n\n", "7.0.0", "---\n# head\n\nspec:\n    version:   7.0.0\t \n\n\n"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Parse([]byte(tc.in))
			if err != nil {
				t.Fatal(err)
			}
			s, err := f.Find("spec.version")
			if err != nil {
				t.Fatal(err)
			}
			out, err := f.Replace(s, tc.value)
			if err != nil {
				t.Fatal(err)
			}
			if string(out) != tc.out {
				t.Errorf("got %q\nwant %q", out, tc.out)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		in   string
		code gitops.Code
	}{
		"alias":             {"a: &v 6.9.2\nspec:\n  version: *v\n", gitops.Alias},
		"aliased elsewhere": {"spec:\n  version: &v 6.9.2\nother: *v\n", gitops.Alias},
		"merged":            {"d: &d {version: 6.9.2}\nspec:\n  <<: *d\n", gitops.Alias},
		"twice":             {"spec:\n  version: 1\n  version: 2\n", gitops.DuplicateKey},
		"map twice":         {"spec: {version: 1}\nspec: {version: 2}\n", gitops.DuplicateKey},
		"absent":            {"spec: {}\n", gitops.NotFound},
		"a map":             {"spec: {version: {a: b}}\n", gitops.NotFound},
		"empty":             {"", gitops.NotFound},
		"several lines":     {"spec:\n  version: a\n    b\n", gitops.Unproved},
		"block":             {"spec:\n  version: |-\n    6.9.2\n    7\n", gitops.Unproved},
		"null":              {"spec:\n  version:\n", gitops.Unproved},
		"tagged number":     {"spec:\n  version: !!float 6.9\n", gitops.Unproved},
		"lone return":       {"spec:\r  version: 6.9.2\n", gitops.NotYAML},
		"next line":         {"# a\u0085spec: {version: 6.9.2}\n", gitops.NotYAML},
		"no text":           {"spec: \xff", gitops.NotYAML},
		"template":          {"spec: {{ if }}\n  version: 1\n", gitops.NotYAML},
		"deep":              {strings.Repeat("[", 200) + strings.Repeat("]", 200), gitops.NotYAML},
	} {
		t.Run(name, func(t *testing.T) {
			var refusal *gitops.Refusal
			if err := change(tc.in, "7.0.0"); !errors.As(err, &refusal) || refusal.Code != tc.code {
				t.Errorf("got %v, want code %s", err, tc.code)
			}
		})
	}
}

func change(in, value string) error {
	f, err := Parse([]byte(in))
	if err != nil {
		return err
	}
	s, err := f.Find("spec.version")
	if err != nil {
		return err
	}
	_, err = f.Replace(s, value)
	return err
}

// What ferry writes must be a string for the decoder that Kubernetes uses, whatever it looks like.
func TestEveryVersionStaysAString(t *testing.T) {
	for _, v := range []string{"1.10", "1.0", "2024", "0123", "1e5", "7e45", "0x1F", "0b11", "0o17", "1_000", ".5", "+1", "0888", "1234567",
		"true", "null", "~", "on", "off", "yes", "NO", "y", "n", "2024-01-01", "12:30:45", ">=1.0.0", "*", "1.x", "v1.2.3", "1.2.3+build",
		"7.0.0", "16.5.3", "1.2.3-rc.1", "a: b", "a #b", "-", "=", "<<", "0.0", "1e1000", ".inf", "stg-1a2b3c4", "it's", `say "x"`, "a,b", "1.", "0x", "1:2"} {
		for _, in := range []string{"spec:\n  version: 6.9.2\n", "spec: {version: 6.9.2, b: c}\n", "spec:\n  version: '6.9.2'\n", "spec:\n  version: \"6.9.2\"\n"} {
			f, err := Parse([]byte(in))
			if err != nil {
				t.Fatal(err)
			}
			s, err := f.Find("spec.version")
			if err != nil {
				t.Fatal(err)
			}
			out, err := f.Replace(s, v)
			if err != nil {
				t.Errorf("%q into %q: %v", v, in, err)
				continue
			}
			var doc struct{ Spec struct{ Version any } }
			if err := yaml.Unmarshal(out, &doc); err != nil || doc.Spec.Version != v {
				t.Errorf("%q was written as %q and reads as %#v (%v)", v, out, doc.Spec.Version, err)
			}
		}
	}
	for _, v := range []string{"7.0.0", "16.5.3", "1.x", "v1.2.3", "1.2.3+build", "1.2.3-rc.1"} {
		if !plain(v) {
			t.Errorf("%q gets quotes it does not need", v)
		}
	}
}

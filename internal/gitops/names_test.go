package gitops

import (
	"strings"
	"testing"
)

func TestEnvironmentsThatCommandsCanAddress(t *testing.T) {
	for _, good := range []string{"a", "stage", "prod-eu", "Prod.1", "eu_west", "8", "tomorrow", "pr-1", "from.here", strings.Repeat("a", 63)} {
		if err := ValidEnvironment(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for bad, says := range map[string]string{
		"": "a name is needed", "prod eu": "letters, digits", "--yes": "letters, digits", "prod.": "letter or digit at both ends", "-a": "both ends", "a\n": "letters, digits",
		"prod/eu": "letters, digits", "prød": "letters, digits", strings.Repeat("a", 64): "64 characters long: 63",
		"to": "ferry's own", "on": "ferry's own", "in": "ferry's own", "from": "ferry's own", "with": "ferry's own", "and": "ferry's own", "against": "ferry's own", "pr": "ferry's own", "TO": "ferry's own",
	} {
		if err := ValidEnvironment(bad); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want a sentence with %q", bad, err, says)
		}
	}
}

func TestRepositoryNames(t *testing.T) {
	for name, want := range map[string][2]string{
		"acme/fleet": {"acme", "fleet"}, "octo_corp/fleet": {"octo_corp", "fleet"}, "a-b/.github": {"a-b", ".github"}, "1/a.b_c-d": {"1", "a.b_c-d"},
	} {
		if owner, short, ok := SplitRepository(name); !ok || owner != want[0] || short != want[1] {
			t.Errorf("%q: %q, %q, %t", name, owner, short, ok)
		}
	}
	for _, bad := range []string{"", "acme", "acme/", "/fleet", "acme/..", "acme/.", "acme/fleet/x", "../fleet", "acme/fl eet", "acme/fleet\n", "-acme/fleet", "https://github.com/acme/fleet"} {
		if _, _, ok := SplitRepository(bad); ok {
			t.Errorf("%q is taken", bad)
		}
	}
}

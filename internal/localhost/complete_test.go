package localhost

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/kubeshop/botkube/pkg/api"
)

// seen are the names in the answer of list.
func seen() *names {
	var n names
	n.learn(testGrammar, Answer{Messages: []api.Message{listing}}.fit(false, 80))
	return &n
}

func TestNamesComeFromAnswers(t *testing.T) {
	n := seen()
	want := names{
		applications: []string{"podinfo", "web"}, environments: []string{"stage", "prod"},
		versions: map[string][]string{"podinfo": {"7.0.0", "6.9.2"}, "web": {"1.5.0", "1.4.2"}},
	}
	if diff := cmp.Diff(want, *n, cmp.AllowUnexported(names{})); diff != "" {
		t.Error(diff)
	}
	n.learnTable("APPLICATION  FIELD     stage   dev\nredis        version   1.1.0   1.0.0\n             replicas  2       3\napi          image x   x:1     x:2")
	n.learnLine(testGrammar, "ferry promote podinfo@7.1.0 on qa --reason 'list me' --pr")
	n.learnLine(testGrammar, "ferry rollback api on prod to 0.1")
	n.learnLine(testGrammar, "ferry help promote")
	want = names{
		applications: []string{"podinfo", "web", "redis", "api"}, environments: []string{"stage", "prod", "dev", "qa"},
		versions: map[string][]string{"podinfo": {"7.0.0", "6.9.2", "7.1.0"}, "web": {"1.5.0", "1.4.2"}, "redis": {"1.1.0", "1.0.0"}, "api": {"0.1"}},
	}
	if diff := cmp.Diff(want, *n, cmp.AllowUnexported(names{})); diff != "" {
		t.Error(diff)
	}
}

func TestNamesAreBounded(t *testing.T) {
	var n names
	for i := range 2 * maxNames {
		n.learnLine(testGrammar, fmt.Sprintf("ferry promote app@1.%d to env-%d", i, i))
		n.learnLine(testGrammar, fmt.Sprintf("ferry list app-%d", i))
	}
	if len(n.applications) > maxNames || len(n.environments) > maxNames || len(n.versions["app"]) > maxVersions {
		t.Errorf("%d applications, %d environments, %d versions", len(n.applications), len(n.environments), len(n.versions["app"]))
	}
	for _, hostile := range []string{"a\x1b[2Jb", "$(reboot)", "-rf", "語", strings.Repeat("x", 500)} {
		n = names{}
		n.learnLine(testGrammar, "ferry list "+hostile)
		n.learnTable("APPLICATION  " + hostile + "\n" + hostile + "  1.0")
		if len(n.applications)+len(n.environments)+len(n.versions) > 0 {
			t.Errorf("%q is taken for a name: %v", hostile, n)
		}
	}
}

func TestComplete(t *testing.T) {
	for line, want := range map[string][]string{
		"":                                     {"list", "diff", "promote", "rollback", "help"},
		"pro":                                  {"promote"},
		"ferry pro":                            {"promote"},
		"list ":                                {"podinfo", "web"},
		"list w":                               {"web"},
		"list web ":                            nil,
		"nonsense ":                            nil,
		"help r":                               {"rollback"},
		"diff ":                                {"pr", "stage", "prod"},
		"diff pr ":                             nil,
		"diff pr 7 -":                          {"--env"},
		"diff stage ":                          {"prod"},
		"diff stage prod ":                     nil,
		"promote ":                             {"podinfo@", "web@", "podinfo", "web"},
		"promote p":                            {"podinfo@7.0.0", "podinfo@6.9.2", "podinfo"},
		"promote podinfo@":                     {"podinfo@7.0.0", "podinfo@6.9.2"},
		"promote podinfo@6":                    {"podinfo@6.9.2"},
		"promote other@":                       nil,
		"promote podinfo@7.0.0 ":               {"to"},
		"promote podinfo@7.0.0 to ":            {"stage", "prod"},
		"promote podinfo@7.0.0 on p":           {"prod"},
		"promote podinfo ":                     {"from"},
		"promote podinfo from stage ":          {"to"},
		"promote podinfo from stage to ":       {"prod"},
		"promote podinfo@7.0.0 to prod -":      {"--pr", "--reason"},
		"promote podinfo@7.0.0 to prod --pr -": {"--reason"},
		"promote podinfo@7.0.0 --pr to ":       {"stage", "prod"},
		"promote podinfo@7.0.0 to prod --reason ":     nil,
		"promote podinfo@7.0.0 --reason why to ":      {"stage", "prod"},
		`promote podinfo@7.0.0 --reason "it is why `:  nil,
		`promote podinfo@7.0.0 --reason "it is" to s`: {"stage"},
		"rollback web on prod to ":                    {"1.5.0", "1.4.2"},
		"rollback web in prod to 1.4":                 {"1.4.2"},
		"-":                                           nil,
		"list -":                                      nil,
	} {
		got, partial := testGrammar.complete(line, seen())
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", line, diff)
		}
		if !strings.HasSuffix(line, partial) || strings.Contains(partial, " ") {
			t.Errorf("%q: partial word %q", line, partial)
		}
	}
}

func TestCompleteBeforeAnyAnswer(t *testing.T) {
	for _, line := range []string{"list ", "diff stage ", "diff pr ", "promote a", "rollback x on y to "} {
		if got, _ := testGrammar.complete(line, &names{}); len(got) > 0 {
			t.Errorf("%q: %q from nowhere", line, got)
		}
	}
}

func FuzzComplete(f *testing.F) {
	for _, line := range []string{"", "promote podinfo@7.0.0 to prod --reason \"x", "list '", "ferry ferry", "diff\tstage "} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		candidates, partial := testGrammar.complete(line, seen())
		for _, c := range candidates {
			if !strings.HasPrefix(c, partial) || !strings.HasPrefix(c, commonPrefix(candidates)) {
				t.Errorf("%q: candidate %q, partial word %q", line, c, partial)
			}
		}
	})
}

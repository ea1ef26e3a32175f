package watch

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPatterns(t *testing.T) {
	for _, test := range []struct {
		pattern  string
		yes, not []string
	}{
		{"main", []string{"main"}, []string{"maintenance", "a/main", "mai"}},
		{"apps/.*", []string{"apps/a/b.yaml", "apps/"}, []string{"my/apps/a", "apps"}},
		{"a|b", []string{"a", "b"}, []string{"ab", "xb"}},
		{"dependabot[bot]", []string{"dependabot[bot]", "dependabotb"}, []string{"dependabot"}}, // itself, and what it says
		{"a.c", []string{"abc", "a\nc"}, []string{"ac"}},
		{"(?i)HOT.*", []string{"hotfix"}, []string{"a hotfix"}},
		{"glob:apps/*/values.yaml", []string{"apps/a/values.yaml"}, []string{"apps/a/b/values.yaml", "apps/values.yaml"}},
		{"glob:apps/**", []string{"apps/a", "apps/a/b/c"}, []string{"apps", "my/apps/a"}},
		{"glob:**/kustomization.yaml", []string{"kustomization.yaml", "a/b/kustomization.yaml"}, []string{"a/xkustomization.yaml"}},
		{"glob:*.{yaml,yml}", []string{"a.yaml", "a.yml"}, []string{"a/b.yaml", "a.yamlx", "ayaml"}},
		{"glob:v[0-9].?", []string{"v1.2"}, []string{"vx.2", "v1.", "v1./"}},
		{"glob:[!a]b", []string{"xb"}, []string{"ab"}},
		{"glob:a+b(c)", []string{"a+b(c)"}, []string{"aab(c)", "abc"}},
		{`glob:\*`, []string{"*"}, []string{"a"}},
		{"glob:größe/*", []string{"größe/ä"}, []string{"grosse/a"}},
	} {
		p, err := compilePattern(test.pattern)
		if err != nil {
			t.Errorf("%s: %v", test.pattern, err)
			continue
		}
		for _, text := range test.yes {
			if !p.match(text) {
				t.Errorf("%s does not match %q", test.pattern, text)
			}
		}
		for _, text := range test.not {
			if p.match(text) {
				t.Errorf("%s matches %q", test.pattern, text)
			}
		}
	}
}

func TestAllMistakesAreListedWithTheirPathAndHealthyRulesStay(t *testing.T) {
	_, sources, mistakes := Config{Repositories: []Repository{
		{Name: "https://github.com/acme/a", Rules: []Rule{{}}},
		{Name: "acme/..", Rules: []Rule{{}}},
		{Name: "acme/empty"},
		{Name: "acme/b", Rules: []Rule{
			{Types: []string{"open", "mergd", "starred"}, Base: Filter{Include: []string{"main", "("}}},
			{Types: []string{"merged"}},
			{Paths: Filter{Exclude: []string{"a)|(b", "glob:{a", "glob:[a", "", "glob:", strings.Repeat("a", 1001)}}},
		}},
		{Name: "ACME/B", Rules: []Rule{{Types: []string{"closed"}}}},
	}}.compile()
	var got []string
	for _, m := range mistakes {
		got = append(got, m.String())
	}
	want := []string{
		`repositories[0].name: "https://github.com/acme/a" is no repository; write OWNER/NAME`,
		`repositories[1].name: "acme/.." is no repository; write OWNER/NAME`,
		`repositories[2].on.pullRequests: is empty, so nothing would be told of acme/empty`,
		`repositories[3].on.pullRequests[0].types[1]: "mergd" is no type; did you mean merged?`,
		`repositories[3].on.pullRequests[0].types[2]: "starred" is none of closed, labeled, labelled, merged, open, opened, ready, reopened, retargeted, synchronize, unlabeled, unlabelled`,
		"repositories[3].on.pullRequests[0].base.include[1]: \"(\" is no regular expression: missing closing )",
		"repositories[3].on.pullRequests[2].paths.exclude[0]: \"a)|(b\" is no regular expression: unexpected )",
		`repositories[3].on.pullRequests[2].paths.exclude[1]: "{a" is no glob: a { without its }`,
		`repositories[3].on.pullRequests[2].paths.exclude[2]: "[a" is no glob: a [ without its ]`,
		`repositories[3].on.pullRequests[2].paths.exclude[3]: is empty`,
		`repositories[3].on.pullRequests[2].paths.exclude[4]: is empty`,
		`repositories[3].on.pullRequests[2].paths.exclude[5]: is longer than 1000 bytes`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var rules []string
	for _, s := range sources {
		for _, r := range s.rules {
			rules = append(rules, s.name+" "+r.path)
		}
	}
	if diff := cmp.Diff([]string{"acme/b repositories[3].on.pullRequests[1]", "acme/b repositories[4].on.pullRequests[0]"}, rules); diff != "" {
		t.Error("rules that run: ", diff)
	}
}

// TestExcludesVetoAndExcludeOnlyLetsTheRestThrough is about filters of every kind: one excluded label keeps out a pull request
// though another is included, and a filter that only excludes matches what it does not.
func TestExcludesVetoAndExcludeOnlyLetsTheRestThrough(t *testing.T) {
	no := false
	pull := func(labels ...string) fingerprint {
		return fingerprint{State: stateOpen, Base: "main", Labels: labels}
	}
	draft := pull()
	draft.Draft = true
	files := func(names ...string) []File {
		var all []File
		for _, n := range names {
			all = append(all, File{Name: n})
		}
		return all
	}
	for _, test := range []struct {
		name  string
		rule  Rule
		pull  fingerprint
		files []File
		cut   bool
		want  bool
	}{
		{name: "no filter", pull: pull(), want: true},
		{name: "label included", rule: Rule{Labels: Filter{Include: []string{"a"}}}, pull: pull("a", "b"), want: true},
		{name: "no label", rule: Rule{Labels: Filter{Include: []string{"a"}}}, pull: pull()},
		{name: "label excluded beside one included", rule: Rule{Labels: Filter{Include: []string{"a"}, Exclude: []string{"b"}}}, pull: pull("a", "b")},
		{name: "labels exclude only", rule: Rule{Labels: Filter{Exclude: []string{"b"}}}, pull: pull("a"), want: true},
		{name: "labels exclude only, none", rule: Rule{Labels: Filter{Exclude: []string{"b"}}}, pull: pull(), want: true},
		{name: "another base", rule: Rule{Base: Filter{Include: []string{"release-.*"}}}, pull: pull()},
		{name: "base excluded", rule: Rule{Base: Filter{Exclude: []string{"main"}}}, pull: pull()},
		{name: "author excluded", rule: Rule{Authors: Filter{Exclude: []string{"an.*"}}}, pull: pull()},
		{name: "authors exclude only", rule: Rule{Authors: Filter{Exclude: []string{"renovate.*"}}}, pull: pull(), want: true},
		{name: "draft", rule: Rule{Drafts: &no}, pull: draft},
		{name: "draft where they count", pull: draft, want: true},
		{name: "path included", rule: Rule{Paths: Filter{Include: []string{"apps/.*"}}}, pull: pull(), files: files("docs/a", "apps/a"), want: true},
		{name: "no path included", rule: Rule{Paths: Filter{Include: []string{"apps/.*"}}}, pull: pull(), files: files("docs/a")},
		{name: "path excluded beside one included", rule: Rule{Paths: Filter{Include: []string{"apps/.*"}, Exclude: []string{"docs/.*"}}}, pull: pull(), files: files("docs/a", "apps/a")},
		{name: "paths exclude only", rule: Rule{Paths: Filter{Exclude: []string{"docs/.*"}}}, pull: pull(), files: files("apps/a"), want: true},
		{name: "no files", rule: Rule{Paths: Filter{Exclude: []string{"docs/.*"}}}, pull: pull(), want: true},
		{name: "old name included", rule: Rule{Paths: Filter{Include: []string{"apps/.*"}}}, pull: pull(), files: []File{{Name: "b", Previous: "apps/a"}}, want: true},
		{name: "new name included", rule: Rule{Paths: Filter{Include: []string{"apps/.*"}}}, pull: pull(), files: []File{{Name: "apps/a", Previous: "b"}}, want: true},
		{name: "old name excluded", rule: Rule{Paths: Filter{Exclude: []string{"apps/.*"}}}, pull: pull(), files: []File{{Name: "b", Previous: "apps/a"}}},
		{name: "more files than are told", rule: Rule{Paths: Filter{Include: []string{"apps/.*"}}}, pull: pull(), files: files("docs/a"), cut: true, want: true},
		{name: "more files, one excluded", rule: Rule{Paths: Filter{Exclude: []string{"docs/.*"}}}, pull: pull(), files: files("docs/a"), cut: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, mistakes := test.rule.compile("rule")
			if len(mistakes) > 0 {
				t.Fatal(mistakes)
			}
			got := r.cheap("ann", test.pull.Base, test.pull.Draft, test.pull.Labels)
			if !r.paths.none() {
				got = got && r.touches(test.files, !test.cut)
			}
			if got != test.want {
				t.Errorf("matches: %t", got)
			}
		})
	}
}

func TestOpenIsToldOncePerHead(t *testing.T) {
	no := false
	rule, _ := Rule{Types: []string{"open"}, Drafts: &no, Labels: Filter{Include: []string{"ship"}}}.compile("rule")
	open := fingerprint{State: stateOpen, Head: "1", Labels: []string{"ship"}}
	with := func(change func(f *fingerprint)) fingerprint {
		f := open
		change(&f)
		return f
	}
	told := with(func(f *fingerprint) { f.Told = "1" })
	unlabelled := with(func(f *fingerprint) { f.Labels = nil })
	draft := with(func(f *fingerprint) { f.Draft = true })
	more := with(func(f *fingerprint) { f.Labels = []string{"more", "ship"} })
	for i, test := range []struct {
		before *fingerprint
		now    fingerprint
		kind   Kind
		want   bool
	}{
		{nil, open, Opened, true},
		{&open, with(func(f *fingerprint) { f.Head = "2" }), Synchronize, true},
		{&told, with(func(f *fingerprint) { f.Head, f.Told = "2", "1" }), Synchronize, true},
		{&told, told, Reopened, false},
		{&open, open, Reopened, true},
		{&draft, open, Ready, true},
		{&unlabelled, open, Labelled, true},
		{&open, more, Labelled, false}, // it got through before
		{&told, with(func(f *fingerprint) { f.State, f.Told = stateMerged, "1" }), Merged, false},
	} {
		if got := rule.becomesOpen("ann", test.before, test.now, test.kind); got != test.want {
			t.Errorf("%d: %s: %t", i, test.kind, got)
		}
	}
}

func FuzzPatterns(f *testing.F) {
	for _, s := range []string{"main", "apps/.*", "glob:**/{a,b}/[!c]?", "a)|(b", "glob:[", `glob:\`, "(?i)x", "glob:{a,{b,c}}", "[[:alpha:]]"} {
		f.Add(s, "apps/main")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		p, err := compilePattern(text)
		if err != nil {
			return
		}
		if !p.match(text) {
			t.Errorf("%q does not match itself", text)
		}
		matches := p.match(name)
		if glob, is := strings.CutPrefix(text, "glob:"); is && !strings.ContainsAny(glob, `*?{[\`) && matches != (name == glob || name == text) {
			t.Errorf("%q and %q: %t", text, name, matches)
		}
		// Anchored: what is found within a longer text is no match.
		if !strings.HasPrefix(text, "glob:") {
			whole := regexp.MustCompile(fmt.Sprintf(`\A(?s:%s)\z`, text)).MatchString(name)
			if matches != (whole || name == text) {
				t.Errorf("%q and %q: %t", text, name, matches)
			}
		}
	})
}

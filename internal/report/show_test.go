package report

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// many is a report of n changed objects in each of these environments.
func many(n int, environments ...string) Report {
	r := Report{Repository: "acme/fleet", Number: 12, Title: "Update", Head: strings.Repeat("1", 40), Base: "main", BaseCommit: strings.Repeat("2", 40), Made: time.Unix(0, 0)}
	for _, name := range environments {
		e := Environment{Environment: name}
		for i := range n {
			e.Objects = append(e.Objects, Object{Object: gitops.Object{Kind: "Deployment", Namespace: "shop", Name: fmt.Sprintf("web-%04d", i)}, Source: "Kustomization flux-system/shop", Verdict: Configured,
				Flags: []Flag{Restart}, Changes: []Change{{"spec.replicas", "1", "2"}, {"data.conf", "one\ntwo\nthree & <four>\n", "one\n2\nthree & <four>\n"}}})
		}
		r.Environments = append(r.Environments, e)
	}
	return r
}

// long is a report with one change of many lines, of which each differs.
func long(lines int) Report {
	r := many(1, "prod")
	var before, after strings.Builder
	for i := range lines {
		fmt.Fprintf(&before, "line %d ``` <b> 80%%\n", i)
		fmt.Fprintf(&after, "line %d ````` <i> 90%%\n", i)
	}
	r.Environments[0].Objects[0].Changes = append(r.Environments[0].Objects[0].Changes, Change{"data.big", before.String(), after.String()})
	return r
}

func TestHeadline(t *testing.T) {
	with := func(verdict Verdict, folded int) Report {
		return Report{Environments: []Environment{{Environment: "prod", Objects: []Object{{Verdict: verdict, Folded: folded}}}, {Environment: "eu"}}}
	}
	mixed := many(2, "stage", "prod", "a", "b", "c")
	mixed.Environments[0].Objects[0].Verdict, mixed.Environments[1].Objects[0].Verdict = Created, Deleted
	some := with(Configured, 0)
	some.Environments[1].Objects = []Object{{Verdict: Skipped}, {Verdict: Skipped}}
	failed := many(1, "stage", "prod")
	failed.Environments[1] = Environment{Environment: "prod", Error: "It does not answer."}
	none := Report{Environments: []Environment{{Environment: "prod", Error: "It does not answer."}}}
	for want, r := range map[string]Report{
		"Merging this changes nothing in any environment.":                                                     {},
		"Merging this changes no object.":                                                                      with(Unchanged, 0),
		"Merging this changes nothing but noise, such as labels with a chart's version, in 1 object.":          with(Unchanged, 2),
		"Merging this changes nothing that ferry could compare; 1 object could not be.":                        with(Skipped, 0),
		"Merging this changes 1 object in prod.":                                                               with(Configured, 0),
		"Merging this changes 1 object in prod. What becomes of more is not known: 2 skipped.":                 some,
		"Merging this changes 1 object in prod: 1 deleted.":                                                    with(Deleted, 0),
		"Merging this changes 10 objects in stage, prod, a, b and 1 more: 1 created, 8 configured, 1 deleted.": mixed,
		"Merging this changes 1 object in stage. prod could not be compared.":                                  failed,
		"What merging this would change is not known: prod could not be compared.":                             none,
	} {
		if got := r.Headline(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestRisks(t *testing.T) {
	object := func(kind, name string, verdict Verdict, reason string, flags ...Flag) Object {
		return Object{Object: gitops.Object{Kind: kind, Name: name}, Verdict: verdict, Flags: flags, Reason: reason}
	}
	both := []Object{object("CustomResourceDefinition", "a.b", Deleted, "", CRD), object("Secret", "x", Configured, "", Secret), object("Deployment", "a", Configured, "", Restart)}
	var claims []Object
	for i := range 9 {
		claims = append(claims, object("PersistentVolumeClaim", fmt.Sprint("c", i), Deleted, "", Data))
	}
	r := Report{Environments: []Environment{
		{Environment: "stage", Objects: both},
		{Environment: "prod", Objects: append(append(both, object("Deployment", "b", Configured, "", Restart), object("Namespace", "n", Deleted, "", Namespace), object("Job", "j", Configured, "It is immutable.", Immutable, Replaced),
			object("Pod", "p", Configured, "No quota.", Unready), object("CustomResourceDefinition", "c.d", Configured, "It no longer serves v1.", CRD)), claims...)},
	}}
	want := []string{
		"prod: Namespace n is deleted, with all that is in it.",
		"prod: PersistentVolumeClaim c0 is deleted; its data may go with it.", "prod: PersistentVolumeClaim c1 is deleted; its data may go with it.",
		"prod: PersistentVolumeClaim c2 is deleted; its data may go with it.", "prod: PersistentVolumeClaim c3 is deleted; its data may go with it.", "prod: … and so for 5 more.",
		"stage and prod: CustomResourceDefinition a.b is deleted, with all objects of its kind.",
		"prod: Job j cannot be changed like this. It is immutable.",
		"prod: Job j is deleted and made anew.",
		"prod: the API server refuses Pod p. No quota.",
		"prod: CustomResourceDefinition c.d changes. It no longer serves v1.",
		"stage and prod: Secret x has a secret value that changes.",
		"stage: Deployment a restarts.", "prod: 2 workloads restart.",
	}
	if d := cmp.Diff(want, r.Risks()); d != "" {
		t.Error(d)
	}
}

// Pages hold every line once, in order, and each fits.
func TestPages(t *testing.T) {
	for name, r := range map[string]Report{"one": many(1, "prod"), "forty": many(40, "prod"), "three thousand": many(3000, "prod"), "long": long(15000)} {
		card := Card{Report: r, Environment: "prod", Page: 1}
		n := card.Pages()
		all := card.pages()
		for _, card.Page = range []int{1, 2, n - 1, n} {
			if card.Page < 1 || card.Page > n {
				continue
			}
			if code := card.Code(); code != all[card.Page-1] || size(code) > maxPage {
				t.Errorf("%s: page %d has %d bytes", name, card.Page, size(code))
			}
			turns := len(card.Turns())
			if want := 2; n > 1 && card.Page > 1 && card.Page < n && turns != want || n == 1 && turns != 0 || n > 1 && (card.Page == 1 || card.Page == n) && turns != 1 {
				t.Errorf("%s: page %d of %d has %d buttons to others", name, card.Page, n, turns)
			}
		}
		if d := cmp.Diff(strings.Join(r.Environments[0].lines(), "\n"), strings.Join(all, "\n")); d != "" {
			t.Errorf("%s: %.500s", name, d)
		}
		if card.Page = n + 7; card.Code() != all[n-1] {
			t.Errorf("%s: a page behind the last is not the last", name)
		}
	}
}

var fences = regexp.MustCompile("(?m)^(`{3,}|~{3,})(diff)?$")

// Every part of Markdown stands for itself: what is opened is closed, and no content closes it.
func TestMarkdown(t *testing.T) {
	hostile := many(3, "prod")
	hostile.Environments[0].Objects[0].Name = "@acme/all `x` <img src=x> [a](b) | # \u202e </details>"
	hostile.Environments[0].Objects[0].Reason = "</details> @everyone `"
	hostile.Environments[0].Objects[1].Changes = []Change{{"a\n```\nb", "```\n</details>", "````\n@x"}, {"x", strings.Repeat("`", 500), "~~~"}}
	for name, r := range map[string]Report{"none": {}, "one": many(1, "prod"), "many": many(3000, "stage", "prod"), "long": long(15000), "hostile": hostile} {
		parts := Markdown(r)
		for i, part := range parts {
			if n := utf8.RuneCountInString(part); n > 65536 {
				t.Errorf("%s: part %d has %d characters", name, i, n)
			}
			if len(parts) > 1 && !strings.HasPrefix(part, fmt.Sprintf("*Part %d of %d*\n", i+1, len(parts))) {
				t.Errorf("%s: part %d begins %.40q", name, i, part)
			}
			open, details := "", 0
			for line := range strings.SplitSeq(part, "\n") {
				m := fences.FindStringSubmatch(line)
				switch {
				case open == "" && m != nil:
					open = m[1]
				case open != "" && m != nil && m[1][0] == open[0] && len(m[1]) >= len(open) && m[2] == "":
					open = ""
				case open == "" && strings.HasPrefix(line, "<details>"):
					details++
				case open == "" && line == "</details>":
					details--
				case open == "" && strings.Contains(line, "@everyone"), open == "" && strings.Contains(line, "@acme"):
					t.Errorf("%s calls people: %s", name, line)
				case open == "" && strings.Contains(line, "<img"):
					if !strings.Contains(line, "`") {
						t.Errorf("%s has HTML: %s", name, line)
					}
				}
			}
			if open != "" || details != 0 {
				t.Errorf("%s: part %d of %d leaves %q and %d details open", name, i+1, len(parts), open, details)
			}
		}
	}
	if n := len(Markdown(long(15000))); n < 5 {
		t.Errorf("15,000 lines take %d parts", n)
	}
}

// What is kept is read again as it was, and never too large.
func TestKeep(t *testing.T) {
	noisy := long(10)
	for i := range 800 {
		noisy.Environments[0].Objects = append(noisy.Environments[0].Objects, Object{Object: gitops.Object{Kind: "ConfigMap", Name: fmt.Sprint(i)}, Verdict: Configured, Changes: []Change{{"data.a", random(i, 2000), random(i+1, 2000)}, {"spec.x", "1", "2"}}})
	}
	for name, tc := range map[string]struct {
		report Report
		whole  bool
	}{"none": {Report{Environments: []Environment{}}, true}, "usual": {many(40, "stage", "prod"), true}, "long": {long(15000), true}, "too long": {noisy, false}} {
		packed, err := Encode(tc.report)
		if err != nil {
			t.Fatal(err)
		}
		if len(packed) > MaxKept {
			t.Errorf("%s takes %d bytes", name, len(packed))
		}
		kept, err := Decode(packed)
		if err != nil {
			t.Fatal(err)
		}
		if tc.whole {
			if !tc.report.Made.Equal(kept.Made) {
				t.Errorf("%s was made %v, and then %v", name, tc.report.Made, kept.Made)
			}
			kept.Made = tc.report.Made
			if d := cmp.Diff(tc.report, kept); d != "" {
				t.Errorf("%s: %.500s", name, d)
			}
			continue
		}
		e, was := kept.Environments[0], tc.report.Environments[0]
		if len(e.Objects) != len(was.Objects) || e.Counts() != was.Counts() || len(e.Notes) != 1 {
			t.Errorf("%s: %d objects of %d, %v", name, len(e.Objects), len(was.Objects), e.Notes)
		}
		if d := cmp.Diff([]Change{{Path: "data.a", After: notKept}, {"spec.x", "1", "2"}}, e.Objects[7].Changes); d != "" {
			t.Error(d)
		}
	}
	for _, bad := range []string{"", "x", "\x1f\x8b", string(must(pack([]byte("{")))), string(must(pack(make([]byte, maxUnpacked+1))))} {
		if _, err := Decode([]byte(bad)); err == nil {
			t.Errorf("%.10q is read", bad)
		}
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// random is text that cannot be compressed much.
func random(seed, n int) string {
	x := uint64(seed)*2862933555777941757 + 3037000493
	b := make([]byte, n)
	for i := range b {
		x = x*6364136223846793005 + 1442695040888963407
		b[i] = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-_"[x>>58]
	}
	return string(b)
}

// Programs rely on the names of fields, and on lists that are there.
func TestJSON(t *testing.T) {
	r := many(1, "prod")
	r.Environments[0].Objects[0].Changes = r.Environments[0].Objects[0].Changes[:1]
	r.Environments = append(r.Environments, Environment{Environment: "eu", Error: "It does not answer."})
	raw, err := JSON(r)
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	want := []any{
		map[string]any{"environment": "prod", "error": "", "objects": []any{map[string]any{"kind": "Deployment", "namespace": "shop", "name": "web-0000", "source": "Kustomization flux-system/shop", "verdict": "configured",
			"flags": []any{"restart"}, "changes": []any{map[string]any{"path": "spec.replicas", "before": "1", "after": "2"}}}}},
		map[string]any{"environment": "eu", "error": "It does not answer.", "objects": []any{}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestText(t *testing.T) {
	r := many(1, "prod")
	r.Notes = []string{"main has moved."}
	r.Environments[0].Objects[0].Name = "web\x1b[31m"
	want := "Merging this changes 1 object in prod.\n! Deployment shop/web[31m restarts.\n! main has moved.\n\nprod\n  ~ Deployment shop/web[31m (restarts)  of Kustomization flux-system/shop\n      spec.replicas: 1 → 2\n      data.conf:\n" +
		"      @@ -1,3 +1,3 @@\n       one\n      -two\n      +2\n       three & <four>\n"
	if d := cmp.Diff(want, Text(r)); d != "" {
		t.Error(d)
	}
}

func TestAnObjectIsNotSaidToBeOfItself(t *testing.T) {
	o := Object{Object: gitops.Object{Kind: "HelmRelease", Namespace: "shop", Name: "web"}, Source: "HelmRelease shop/web", Verdict: Skipped, Reason: "It is suspended."}
	r := Report{Environments: []Environment{{Environment: "prod", Objects: []Object{o}}}}
	for _, text := range append(Markdown(r), Text(r)) {
		if strings.Contains(text, " of HelmRelease") {
			t.Error(text)
		}
	}
}

func TestASummaryThatIsRefreshedOffersTheDetails(t *testing.T) {
	made := Report{Repository: "acme/fleet", Number: 7, Environments: []Environment{{Environment: "prod", Objects: []Object{{Verdict: Configured, Changes: []Change{{Path: "data.a", Before: "1", After: "2"}}}}}}}
	if (Card{Report: made}).InFull() == "" {
		t.Fatal("a small report is not shown in full")
	}
	if brief := (Card{Report: made, Brief: true}); brief.InFull() != "" || len(brief.Details()) != 1 {
		t.Errorf("%q, %v", brief.InFull(), brief.Details())
	}
}

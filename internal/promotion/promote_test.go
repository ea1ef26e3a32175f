package promotion_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/promotion"
)

func TestPromoteWithACard(t *testing.T) {
	w := newWorld(t)
	before, refs := w.file(podinfoFile), w.refs()
	card := w.card(`promote podinfo@7.0.0 to prod --reason "fixes the login"`)
	if after := w.refs(); after != refs {
		t.Errorf("a card writes:\n%s", after)
	}
	wantDiff := `--- a/apps/prod/podinfo.yaml
+++ b/apps/prod/podinfo.yaml
@@ -7,4 +7,4 @@
 spec:
   chart:
     spec:
-      version: "6.8.0"   # ferry: ask in #releases
+      version: "7.0.0"   # ferry: ask in #releases
`
	if diff := cmp.Diff(wantDiff, card.Plan.Diff); diff != "" {
		t.Error(diff)
	}
	if card.Direction != "upgrade" || card.Mode != "commit to main" || card.Rollback || len(card.Warnings) > 0 {
		t.Errorf("card: %+v", card)
	}
	if got, want := card.Changes(), []string{"HelmRelease/apps/podinfo spec.chart.spec.version: 6.8.0 → 7.0.0"}; cmp.Diff(want, got) != "" {
		t.Errorf("in the cluster: %q", got)
	}
	if left := card.Until.Sub(w.now()); left > 15*time.Minute || left < 14*time.Minute {
		t.Errorf("the card lives %s", left)
	}

	o := w.outcome(card.Confirm)
	w.expect(o, promotion.Verified, "6.8.0", "7.0.0")
	if o.RequestedBy != person || o.Rollback || o.Commit.URL == "" {
		t.Errorf("outcome: %+v", o)
	}
	if got := w.commits(); got != "1" {
		t.Errorf("%s commits", got)
	}
	if got, want := w.file(podinfoFile), strings.Replace(before, "6.8.0", "7.0.0", 1); got != want {
		t.Errorf("the file is\n%s", got)
	}
	if got := w.git("diff", "--numstat", "main~1", "main"); got != "1\t1\t"+podinfoFile {
		t.Errorf("changed: %s", got)
	}
	want := `Promote podinfo to 7.0.0 in prod

Ferry-Promotion: id1
Ferry-Home: home-uid
Ferry-Application: HelmRelease/apps/podinfo
Ferry-Environment: prod
Ferry-From: 6.8.0
Ferry-To: 7.0.0
Ferry-Requested-By: slack:U024BE7LH
Ferry-Reason: fixes the login`
	if diff := cmp.Diff(want, w.git("log", "-1", "--format=%B", "main")); diff != "" {
		t.Error(diff)
	}
	if got := w.git("rev-parse", "main"); got != o.Commit.SHA {
		t.Errorf("main is at %s, the answer names %s", got, o.Commit.SHA)
	}

	again := w.outcome("promote podinfo@7.0.0 to prod --yes")
	w.expect(again, promotion.AlreadyThere, "7.0.0", "7.0.0")
	if again.Failed() || !strings.Contains(again.Reason, "prod runs it") || w.commits() != "1" {
		t.Errorf("the second time: %+v", again)
	}
}

func TestPromoteWithoutACard(t *testing.T) {
	w := newWorld(t)
	o := w.outcome("promote podinfo@7.0.1 to stage --yes")
	w.expect(o, promotion.Verified, "7.0.0", "7.0.1")
	if got := w.git("diff", "--numstat", "main~1", "main"); got != "1\t1\tapps/stage/podinfo.yaml" {
		t.Errorf("changed: %s", got)
	}

	refs := w.refs()
	card := w.card("promote podinfo@7.0.0 to prod --yes")
	if !strings.Contains(card.Note, "in prod, --yes does not count") || w.refs() != refs {
		t.Errorf("where cards are required: %q", card.Warnings)
	}
	if strings.Contains(card.Confirm, "--yes") {
		t.Errorf("the card's line is %s", card.Confirm)
	}
}

func TestConfirmations(t *testing.T) {
	w := newWorld(t)
	card := w.card("promote podinfo@7.0.0 to prod")
	hash := card.Plan.Hash()
	confirm := func(hash string, in time.Duration) string {
		return fmt.Sprintf("promote podinfo@7.0.0 to prod --confirm %s --until %d", hash, w.now().Add(in).Unix())
	}
	if r := w.refusal(confirm(hash, -time.Minute)); r.Code != gitops.Expired || len(r.Next) != 1 || r.Next[0] != "promote podinfo@7.0.0 to prod" {
		t.Errorf("expired: %v", r)
	}
	if r := w.refusal(confirm(hash, 31*time.Minute)); r.Code != gitops.Usage || !strings.Contains(r.Reason, "30 minutes") {
		t.Errorf("too far ahead: %v", r)
	}
	refs := w.refs()
	for name, line := range map[string]string{
		"another hash":    confirm("0123456789abcdef0123456789abcdef", time.Minute),
		"another version": strings.Replace(card.Confirm, "7.0.0", "7.0.1", 1),
	} {
		again := w.card(line)
		if !strings.Contains(again.Note, "the plan has changed") || again.Plan.Hash() == "0123456789abcdef0123456789abcdef" || w.refs() != refs {
			t.Errorf("%s: %+v", name, again)
		}
	}
	w.later(16 * time.Minute)
	if r := w.refusal(card.Confirm); r.Code != gitops.Expired {
		t.Errorf("the card after 16 minutes: %v", r)
	}
}

func TestBranchMovesBetweenCardAndConfirm(t *testing.T) {
	for name, move := range map[string]func(w *world){
		"elsewhere":              func(w *world) { w.somebody("README.md", "fleet", "whole fleet") },
		"in the same file":       func(w *world) { w.somebody(podinfoFile, "# What", "# This is\n# what") },
		"to another application": func(w *world) { w.somebody("more/pair.yaml", "version: 6.8.0", "version: 6.9.0") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			card := w.card("promote podinfo@7.0.0 to prod")
			move(w)
			w.expect(w.outcome(card.Confirm), promotion.Verified, "6.8.0", "7.0.0")
			if got := w.git("diff", "--numstat", "main~1", "main"); got != "1\t1\t"+podinfoFile || w.commits() != "2" {
				t.Errorf("%s commits, the last of %s", w.commits(), got)
			}
		})
	}
}

func TestSomebodyChangesTheSameField(t *testing.T) {
	w := newWorld(t)
	card := w.card("promote podinfo@7.0.0 to prod")
	w.somebody(podinfoFile, "6.8.0", "6.9.0")
	refs := w.refs()
	again := w.card(card.Confirm)
	if again.Plan.From != "6.9.0" || !strings.Contains(again.Note, "the plan has changed") || w.refs() != refs {
		t.Errorf("card: %+v", again)
	}
	w.somebody(podinfoFile, "6.9.0", "7.0.0")
	refs = w.refs()
	o := w.outcome(again.Confirm)
	w.expect(o, promotion.AlreadyThere, "7.0.0", "7.0.0")
	if !strings.Contains(o.Reason, "does not run it") || w.refs() != refs {
		t.Errorf("outcome: %+v", o)
	}
}

// race lets somebody act at the moment in which ferry's commit arrives at GitHub.
func (w *world) race(act func()) {
	acted := false
	w.intercept(func(r *http.Request, body []byte, next func() *httptest.ResponseRecorder) *httptest.ResponseRecorder {
		if isWrite(r, body) && !acted {
			acted = true
			act()
		}
		return next()
	})
}

func TestBranchMovesWhileItIsWritten(t *testing.T) {
	t.Run("elsewhere", func(t *testing.T) {
		w := newWorld(t)
		card := w.card("promote podinfo@7.0.0 to prod")
		w.race(func() { w.somebody("README.md", "fleet", "whole fleet") })
		w.expect(w.outcome(card.Confirm), promotion.Verified, "6.8.0", "7.0.0")
		if w.commits() != "2" || !strings.Contains(w.file("README.md"), "whole") {
			t.Errorf("%s commits", w.commits())
		}
	})
	t.Run("same field", func(t *testing.T) {
		w := newWorld(t)
		card := w.card("promote podinfo@7.0.0 to prod")
		w.race(func() { w.somebody(podinfoFile, "6.8.0", "6.9.0") })
		again := w.card(card.Confirm)
		if again.Plan.From != "6.9.0" || !strings.Contains(again.Note, "the branch moved") || w.commits() != "1" {
			t.Errorf("card: %+v", again)
		}
		w.intercept(nil)
		w.expect(w.outcome(again.Confirm), promotion.Verified, "6.9.0", "7.0.0")
	})
	t.Run("same change", func(t *testing.T) {
		w := newWorld(t)
		card := w.card("promote podinfo@7.0.0 to prod")
		w.race(func() { w.somebody(podinfoFile, "6.8.0", "7.0.0") })
		r, err := w.ask(t.Context(), card.Confirm)
		if err == nil || !strings.Contains(err.Error(), "Nothing was written") || w.commits() != "1" {
			t.Errorf("%+v, %v", r, err)
		}
	})
	t.Run("all the time", func(t *testing.T) {
		w := newWorld(t)
		card := w.card("promote podinfo@7.0.0 to prod")
		n := 0
		w.intercept(func(r *http.Request, body []byte, next func() *httptest.ResponseRecorder) *httptest.ResponseRecorder {
			if isWrite(r, body) {
				n++
				w.push("alice", "Again", map[string]string{"README.md": fmt.Sprint(n)})
			}
			return next()
		})
		_, err := w.ask(t.Context(), card.Confirm)
		if err == nil || !strings.HasPrefix(err.Error(), "busy: main moved 5 times") || w.git("log", "--author="+bot, "--format=%s", "main") != "" {
			t.Errorf("%v", err)
		}
	})
}

func TestKindsOfFields(t *testing.T) {
	w := newWorld(t)
	first := w.git("rev-parse", "main")
	for name, tc := range map[string]struct {
		line, file, old, new string
		kind                 gitops.VersionKind
		from, to             string
	}{
		"artifact's tag":             {"promote queue@1.1.0 to prod", "apps/prod/queue.yaml", "tag: 1.0.0", "tag: 1.1.0", gitops.ChartVersion, "1.0.0", "1.1.0"},
		"kustomize image":            {"promote web@1.1.0 to prod", "apps/prod/web/kustomization.yaml", `"1.0.0"`, `"1.1.0"`, gitops.ImageTag, "1.0.0", "1.1.0"},
		"container, registry's port": {"promote api@3.0.0 to prod", "more/workloads.yaml", "5000/api:2.2.2", "5000/api:3.0.0", gitops.ImageTag, "2.2.2", "3.0.0"},
		"another container": {"promote api@1.0.1 to prod --image proxy", "more/workloads.yaml", "5000/proxy:1.0.0", "5000/proxy:1.0.1", gitops.ImageTag,
			"1.0.0", "1.0.1"},
		"one of two namespaces":   {"promote south/twin@7.0.0 to prod", "more/twins.yaml", "6.9.0", "7.0.0", gitops.ChartVersion, "6.9.0", "7.0.0"},
		"one of two kinds":        {"promote StatefulSet/north/twin@4.0.0 to prod", "more/workloads.yaml", "twin:3.0.0", "twin:4.0.0", gitops.ImageTag, "3.0.0", "4.0.0"},
		"by a part's name":        {"promote podinfo-server@7.0.0 to prod", podinfoFile, "6.8.0", "7.0.0", gitops.ChartVersion, "6.8.0", "7.0.0"},
		"from another":            {"promote podinfo from stage to prod", podinfoFile, "6.8.0", "7.0.0", gitops.ChartVersion, "6.8.0", "7.0.0"},
		"an image from another":   {"promote web from stage to prod", "apps/prod/web/kustomization.yaml", `"1.0.0"`, `"2.0.0"`, gitops.ImageTag, "1.0.0", "2.0.0"},
		"contains the one before": {"promote podinfo@16.5.3 to prod", podinfoFile, "6.8.0", "16.5.3", gitops.ChartVersion, "6.8.0", "16.5.3"},
		"shared, agreed":          {"promote cache@1.1.0 to prod --shared", "apps/base/cache/release.yaml", `"1.0.0"`, `"1.1.0"`, gitops.ChartVersion, "1.0.0", "1.1.0"},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			w.git("update-ref", "refs/heads/main", first)
			w.follow()
			before := w.file(tc.file)
			o := w.confirmed(tc.line)
			w.expect(o, promotion.Verified, tc.from, tc.to)
			if o.Kind != tc.kind {
				t.Errorf("kind %s", o.Kind)
			}
			if got, want := w.file(tc.file), strings.Replace(before, tc.old, tc.new, 1); got != want || w.commits() != "1" {
				t.Errorf("%s commits, the file:\n%s", w.commits(), got)
			}
			if got := w.git("diff", "--numstat", "main~1", "main"); got != "1\t1\t"+tc.file {
				t.Errorf("changed: %s", got)
			}
			w.expect(w.outcome("status "+o.Application.Kind+"/"+o.Application.String()+" on prod"), promotion.Verified, tc.from, tc.to)
		})
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	for line, tc := range map[string]struct {
		code  gitops.Code
		words string // a regular expression on reason and details
		next  string // the first
	}{
		"promote cache@1.1.0 to prod":                {gitops.Shared, `apps/base/cache/release.yaml line 4 .*--shared.*stage: HelmRelease/apps/cache`, ""},
		"promote twin@7.0.0 to prod":                 {gitops.Ambiguous, `3 applications.*north/twin.*south/twin`, "promote HelmRelease/north/twin@7.0.0 to prod"},
		"promote north/twin@7.0.0 to prod":           {gitops.Ambiguous, `HelmRelease/north/twin: .*StatefulSet/north/twin: `, "promote HelmRelease/north/twin@7.0.0 to prod"},
		"promote several@3 to prod":                  {gitops.Ambiguous, `--image one.*--image two`, ""},
		"promote podinfo@6.5 to prod":                {gitops.NoSuchVersion, `16\.5\.3, 7\.0\.1, 7\.0\.0, 6\.9\.2, 6\.9\.0, 6\.8\.0, 6\.5\.3`, ""},
		"promote podinfo@5.3 to prod":                {gitops.NoSuchVersion, `16\.5\.3, 7\.0\.1`, ""},
		"promote podinfo@latest to prod":             {gitops.BadVersion, `latest is not a chart version`, ""},
		"promote queue@9.0.0 to prod":                {gitops.NoSuchVersion, `OCIRepository/apps/queue has 1\.1\.0, 1\.0\.0`, ""},
		"promote pinned@2.0.0 to prod":               {gitops.Digest, `pinned by its digest`, ""},
		"promote ranged@7.0.0 to prod":               {gitops.Range, `>=6\.0\.0`, ""},
		"promote podinfo@7.0.0 to prod-eu":           {gitops.NotFound, `stage and prod`, ""},
		"promote podinfo@7.0.0 to production":        {gitops.NotFound, `stage and prod`, ""},
		"promote podinfo from test to prod":          {gitops.NotFound, `stage and prod`, ""},
		"promote podinfo from prod to prod":          {gitops.Usage, `to itself`, ""},
		"promote podinfos@7.0.0 to prod":             {gitops.NotFound, `prod runs `, "promote podinfo@7.0.0 to prod"},
		"promote queue from stage to prod":           {gitops.NotFound, `stage runs `, "list"},
		"promote podinfo@7.0.0 to prod --image x":    {gitops.NotFound, `no such version field`, ""},
		"promote api@7.0.0 to prod --chart":          {gitops.NotFound, `no such version field`, ""},
		"rollback podinfo on prod":                   {gitops.NotFound, `no release before 6\.8\.0`, "list podinfo"},
		"rollback podinfo on prod to 6.9.0":          {gitops.NotFound, `has no 6\.9\.0`, "promote podinfo@6.9.0 to prod"},
		"promote podinfo@7.0.0 to prod now":          {gitops.Usage, `now`, ""},
		"status podinfos on prod":                    {gitops.NotFound, `prod runs `, "status podinfo on prod"},
		"promote podinfo@7.0.0;reboot to prod":       {gitops.Usage, ``, ""},
		"promote podinfo@$(reboot) to prod":          {gitops.Usage, ``, ""},
		"promote ../podinfo@7.0.0 to prod":           {gitops.Usage, ``, ""},
		"promote podinfo@7.0.0 to prod --confirm zz": {gitops.Usage, ``, ""},
	} {
		r := w.refusal(line)
		if text := r.Reason + " " + strings.Join(r.Details, " "); r.Code != tc.code || !regexp.MustCompile(tc.words).MatchString(text) {
			t.Errorf("%s: %s: %s", line, r.Code, text)
		}
		if tc.next != "" && (len(r.Next) == 0 || r.Next[0] != tc.next) {
			t.Errorf("%s: next %q", line, r.Next)
		}
	}
}

func TestVersionsAreNeverTakenByPart(t *testing.T) {
	w := newWorld(t)
	w.expect(w.confirmed("promote podinfo@16.5.3 to prod"), promotion.Verified, "6.8.0", "16.5.3")
	card := w.card("promote podinfo@6.5.3 to prod") // the seed took 16.5.3 for it
	if card.Direction != "downgrade" || card.Plan.From != "16.5.3" {
		t.Errorf("card: %+v", card)
	}
	w.expect(w.outcome(card.Confirm), promotion.Verified, "16.5.3", "6.5.3")
}

func TestCardsWarn(t *testing.T) {
	for name, tc := range map[string]struct {
		line    string
		prepare func(*world)
		words   string
	}{
		"charts cannot be read": {"promote podinfo@9.9.9 to prod", func(w *world) { w.charts.err = http.ErrHandlerTimeout }, `Whether podinfo has version 9\.9\.9 could not be checked`},
		"image tags":            {"promote api@9.9.9 to prod", func(*world) {}, `Whether the registry has registry\.example\.com:5000/api:9\.9\.9 is not checked`},
		"suspended": {"promote podinfo@7.0.1 to stage --yes", func(w *world) {
			w.cluster.set(func(c *cluster) { c.change = func(a *gitops.Application) { a.Owner.Condition.Suspended = true } })
		}, `--yes does not count while something is suspended.*Kustomization/flux-system/apps is suspended`},
		"source not ready": {"promote podinfo from stage to prod", func(w *world) {
			w.cluster.set(func(c *cluster) {
				c.change = func(a *gitops.Application) {
					if a.Environment == "stage" {
						a.Health = gitops.Failed
					}
				}
			})
		}, `podinfo is Failed in stage, not Ready`},
		"another environment is silent": {"promote podinfo@7.0.0 to prod", func(w *world) { w.cluster.set(func(c *cluster) { c.silent = []string{"stage"} }) },
			`stage could not be read: whether this file feeds it too is not known`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tc.prepare(w)
			refs := w.refs()
			card := w.card(tc.line)
			if text := card.Note + strings.Join(card.Warnings, " "); !regexp.MustCompile(tc.words).MatchString(text) || w.refs() != refs {
				t.Errorf("warnings: %q", card.Warnings)
			}
		})
	}
}

func TestSharedNamesWhatElseChanges(t *testing.T) {
	w := newWorld(t)
	card := w.card("promote cache@1.1.0 to prod --shared")
	if cmp.Diff([]string{"stage"}, card.Plan.Shared) != "" || !strings.Contains(card.Confirm, " --shared") || !strings.Contains(strings.Join(card.Changes(), " "), "stage: HelmRelease/apps/cache") || !strings.Contains(card.Blast(), "reaches stage") {
		t.Errorf("card: %+v", card)
	}
}

// What others share stays, and the environment's own kustomization states another version. Going back states the former
// version there.
func TestOverrideLeavesTheOthersAsTheyAre(t *testing.T) {
	w := newWorld(t)
	if r := w.refusal("promote cache@1.1.0 to prod"); cmp.Diff([]string{"promote cache@1.1.0 to prod --override", "promote cache@1.1.0 to prod --shared"}, r.Next) != "" {
		t.Errorf("next %q", r.Next)
	}
	card := w.card("promote cache@1.1.0 to prod --override")
	want := []gitops.Edit{{File: "apps/prod/kustomization.yaml", Line: 12, Path: "patches[1].patch|spec.chart.spec.version", Kind: gitops.ChartVersion, Old: "1.0.0", New: "1.1.0"}}
	if d := cmp.Diff(want, card.Plan.Edits); d != "" || len(card.Plan.Shared) > 0 || !strings.Contains(card.Confirm, " --override") || len(card.Changes()) != 1 {
		t.Errorf("card %+v: %s", card, d)
	}
	plus := strings.Count(card.Plan.Diff, "\n+") - 1
	if got := card.Blast(); got != fmt.Sprintf("%d lines are added in 1 file; only prod is fed by it.", plus) || plus < 2 {
		t.Errorf("it says %q of\n%s", got, card.Plan.Diff)
	}
	w.expect(w.confirmed("promote cache@1.1.0 to prod --override"), promotion.Verified, "1.0.0", "1.1.0")
	there, err := w.cluster.Application(t.Context(), gitops.Key{Environment: "stage", Namespace: "apps", Kind: "HelmRelease", Name: "cache"})
	if err != nil || there.Versions[0].Value != "1.0.0" {
		t.Errorf("stage runs %+v, %v", there.Versions, err)
	}
	w.expect(w.confirmed("rollback cache on prod"), promotion.Verified, "1.1.0", "1.0.0")
}

// What changes elsewhere too is asked for there, and is not claimed to have come.
func TestSharedChangeReachesTheOthers(t *testing.T) {
	w := newWorld(t)
	o := w.confirmed("promote cache@1.1.0 to prod --shared")
	w.expect(o, promotion.Verified, "1.0.0", "1.1.0")
	if cmp.Diff([]string{"stage"}, o.Shared) != "" || !strings.Contains(strings.Join(o.Warnings, " "), "stage changes with it.") {
		t.Errorf("shared %q, warnings %q", o.Shared, o.Warnings)
	}
	if cmp.Diff([]string{"list cache", "rollback cache on prod --shared"}, o.Next) != "" {
		t.Errorf("next %q", o.Next)
	}
	there, err := w.cluster.Application(t.Context(), gitops.Key{Environment: "stage", Namespace: "apps", Kind: "HelmRelease", Name: "cache"})
	if err != nil || there.Versions[0].Value != "1.1.0" {
		t.Errorf("stage runs %+v, %v", there.Versions, err)
	}
	w.expect(w.confirmed("rollback cache on prod --shared"), promotion.Verified, "1.1.0", "1.0.0")
}

func TestRolloutsThatDoNotEndWell(t *testing.T) {
	t.Run("fails", func(t *testing.T) {
		w := newWorld(t)
		w.cluster.set(func(c *cluster) { c.fails = "7.0.0" })
		o := w.confirmed("promote podinfo@7.0.0 to prod")
		w.expect(o, promotion.RolloutFailed, "6.8.0", "7.0.0")
		if !strings.Contains(o.Reason, "UpgradeFailed: timed out") || len(o.Next) == 0 || o.Next[0] != "rollback podinfo on prod" {
			t.Errorf("%q, next %q", o.Reason, o.Next)
		}
		w.expect(w.outcome("status podinfo on prod"), promotion.RolloutFailed, "6.8.0", "7.0.0")
		w.expect(w.confirmed("rollback podinfo on prod"), promotion.Verified, "7.0.0", "6.8.0")
	})
	t.Run("takes longer", func(t *testing.T) {
		w := newWorld(t)
		w.cluster.set(func(c *cluster) { c.held = true })
		o := w.confirmed("promote podinfo@7.0.0 to prod")
		w.expect(o, promotion.RollingOut, "6.8.0", "7.0.0")
		if !strings.HasPrefix(o.Reason, "Waiting for GitRepository flux-system/fleet") || cmp.Diff([]string{"status podinfo on prod", "rollback podinfo on prod"}, o.Next) != "" {
			t.Errorf("%q, next %q", o.Reason, o.Next)
		}
		w.expect(w.outcome("status podinfo on prod"), promotion.RollingOut, "6.8.0", "7.0.0")
		w.later(16 * time.Minute)
		late := w.outcome("status podinfo on prod")
		w.expect(late, promotion.Unconfirmed, "6.8.0", "7.0.0")
		if !late.Failed() || late.Next[0] != "status podinfo on prod" || late.Elapsed < 15*time.Minute {
			t.Errorf("late: %+v", late)
		}
		w.follow()
		w.expect(w.outcome("status podinfo on prod"), promotion.Verified, "6.8.0", "7.0.0")
	})
	t.Run("Flux may not be asked", func(t *testing.T) {
		w := newWorld(t)
		w.cluster.set(func(c *cluster) { c.denied = true })
		o := w.confirmed("promote podinfo@7.0.0 to prod")
		w.expect(o, promotion.RollingOut, "6.8.0", "7.0.0")
		if len(o.Warnings) != 1 || !strings.Contains(o.Warnings[0], "its own interval") {
			t.Errorf("warnings: %q", o.Warnings)
		}
	})
	t.Run("suspended", func(t *testing.T) {
		w := newWorld(t)
		w.cluster.set(func(c *cluster) {
			c.held, c.change = true, func(a *gitops.Application) { a.Owner.Source.Condition.Suspended = true }
		})
		o := w.confirmed("promote podinfo@7.0.0 to prod")
		w.expect(o, promotion.Paused, "6.8.0", "7.0.0")
		if o.Reason != "GitRepository flux-system/fleet is suspended." || o.Next[0] != "status podinfo on prod" {
			t.Errorf("%q, next %q", o.Reason, o.Next)
		}
	})
}

// TestFieldIsOneOfTheCandidates: --field chooses among the fields of the application and names nothing else.
func TestFieldIsOneOfTheCandidates(t *testing.T) {
	w := newWorld(t)
	card := w.card("promote podinfo@7.0.0 to prod --field " + podinfoFile + ":spec.chart.spec.version")
	if len(card.Plan.Edits) != 1 || card.Plan.Edits[0].File != podinfoFile || !strings.Contains(card.Confirm, "--field "+podinfoFile+":spec.chart.spec.version") {
		t.Errorf("card: %+v", card)
	}
	for _, field := range []string{podinfoFile + ":metadata.name", podinfoFile + ":spec.chart.spec.chart", "apps/prod/absent.yaml:spec.chart.spec.version", ".git/config:x",
		"git::https://example.com/x.git//a.yaml:x", "apps/stage/podinfo.yaml:spec.chart.spec.version"} {
		refusal := w.refusal("promote podinfo@7.0.0 to prod --field " + field)
		if refusal.Code != gitops.NotFound || len(refusal.Candidates) == 0 || refusal.Candidates[0].File != podinfoFile {
			t.Errorf("%s: %+v", field, refusal)
		}
	}
}

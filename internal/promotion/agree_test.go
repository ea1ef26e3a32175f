package promotion_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/promotion"
)

// notWritten asks a line that shows a card though a change was asked for.
func (w *world) notWritten(line, note string) *promotion.Card {
	w.Helper()
	before := w.refs()
	card := w.card(line)
	if !strings.HasPrefix(card.Note, "Nothing was written: ") || !strings.Contains(card.Note, note) {
		w.Errorf("%s: the note is %q", line, card.Note)
	}
	if after := w.refs(); after != before {
		w.Errorf("%s: written:\n%s\nbefore:\n%s", line, after, before)
	}
	return card
}

// Who confirms agrees to what changes in the other environments too.
func TestBytesThatFeedMoreThanWasShown(t *testing.T) {
	w := newWorld(t)
	card := w.card("promote cache@1.1.0 to prod --shared")
	const file = "apps/stage/kustomization.yaml"
	w.push("alice", "Let podinfo follow cache", map[string]string{file: w.file(file) +
		"\nreplacements: [{source: {kind: HelmRelease, name: cache, fieldPath: spec.chart.spec.version}, targets: [{select: {kind: HelmRelease, name: podinfo}, fieldPaths: [spec.chart.spec.version]}]}]\n"})
	again := w.notWritten(card.Confirm, "the plan has changed")
	if shown := strings.Join(again.Changes(), "\n"); !strings.Contains(shown, "stage: HelmRelease/apps/podinfo spec.chart.spec.version") || strings.Contains(strings.Join(card.Changes(), "\n"), "podinfo") {
		t.Errorf("shown at first %q, then %q", card.Changes(), again.Changes())
	}
	w.expect(w.outcome(again.Confirm), promotion.Verified, "1.0.0", "1.1.0")
}

// A commit is not what was agreed to where the card said pull request, and the other way round.
func TestModeIsPartOfWhatIsConfirmed(t *testing.T) {
	w := newWorld(t)
	line := "promote podinfo@7.0.0 to prod"
	request := w.card(line + " --pr")
	w.notWritten(strings.Replace(request.Confirm, " --pr", "", 1), "the plan has changed")
	commit := w.card(line)
	w.notWritten(commit.Confirm+" --pr", "the plan has changed")

	w.settings("prod").Mode = promotion.PullRequest
	configured := w.card(line)
	if !strings.HasSuffix(configured.Confirm, " --pr") || configured.Plan.Hash() != request.Plan.Hash() {
		t.Errorf("by the configuration: %s", configured.Confirm)
	}
	w.notWritten(commit.Confirm, "the plan has changed")
	w.settings("prod").Mode = promotion.Auto
	w.expect(w.outcome(configured.Confirm), promotion.WaitsForMerge, "6.8.0", "7.0.0") // its line says so itself

	w.protect()
	again := w.notWritten(commit.Confirm, "the plan has changed")
	if again.Mode != "pull request to main, because of its rule pull_request" {
		t.Errorf("by the branch's rules: %q", again.Mode)
	}
}

// The button of a card that was used stays where it is. Pressed at once, it does nothing; pressed after the change was
// taken back, it would bring it back.
func TestButtonThatWasPressedBefore(t *testing.T) {
	w := newWorld(t)
	w.later(-time.Minute) // Git counts in seconds
	promote := w.card("promote podinfo@7.0.0 to prod")
	w.later(time.Minute)
	w.expect(w.outcome(promote.Confirm), promotion.Verified, "6.8.0", "7.0.0")
	w.expect(w.outcome(promote.Confirm), promotion.AlreadyThere, "7.0.0", "7.0.0")
	if w.commits() != "1" {
		t.Fatalf("%s commits of two presses", w.commits())
	}
	w.expect(w.confirmed("rollback podinfo on prod"), promotion.Verified, "7.0.0", "6.8.0")
	w.restart() // it is not memory that tells
	again := w.notWritten(promote.Confirm, "ferry has changed it since this was shown")
	if again.Plan.Hash() != promote.Plan.Hash() {
		t.Error("the plan is another one")
	}
	w.expect(w.outcome(again.Confirm), promotion.Verified, "6.8.0", "7.0.0")
}

// The same where pull requests are merged in a way that leaves no trailers on the branch.
func TestButtonOfAMergedPullRequest(t *testing.T) {
	w := newWorld(t)
	squash := func(number int) {
		w.api(secret, http.MethodPut, fmt.Sprintf("/pulls/%d/merge", number), map[string]string{"merge_method": "squash", "commit_title": "Podinfo", "commit_message": "Reviewed."})
		w.follow()
	}
	w.later(-time.Minute)
	promote := w.card("promote podinfo@7.0.0 to prod --pr")
	w.later(time.Minute)
	w.expect(w.outcome(promote.Confirm), promotion.WaitsForMerge, "6.8.0", "7.0.0")
	w.api(secret, http.MethodPatch, "/pulls/1", map[string]string{"state": "closed"})
	w.expect(w.outcome(promote.Confirm), promotion.WaitsForMerge, "6.8.0", "7.0.0") // nothing came of the first
	squash(2)
	w.expect(w.outcome(promote.Confirm), promotion.AlreadyThere, "7.0.0", "7.0.0")
	w.expect(w.confirmed("rollback podinfo on prod --pr"), promotion.WaitsForMerge, "7.0.0", "6.8.0")
	squash(3)
	w.notWritten(promote.Confirm, "ferry has changed it since this was shown")
}

// Without a card somebody has to be sure of all that changes.
func TestYesCountsOnlyWhereAllIsKnown(t *testing.T) {
	w := newWorld(t)
	w.settings("prod").ConfirmOptional = true
	w.cluster.set(func(c *cluster) { c.silent = []string{"stage"} })
	card := w.notWritten("promote cache@1.1.0 to prod --yes", "--yes does not count while it is not known what else changes")
	if got := card.Blast(); got != "1 line changes in 1 file; what else it feeds could not all be read." {
		t.Errorf("it says %q", got)
	}
	if strings.Contains(card.Confirm, "--yes") {
		t.Errorf("its line is %s", card.Confirm)
	}
	// The same with stage in sight is another plan.
	w.cluster.set(func(c *cluster) { c.silent = nil })
	if r := w.refusal(card.Confirm); r.Code != gitops.Shared {
		t.Errorf("%v", r)
	}
	w.expect(w.outcome("promote podinfo@7.0.0 to prod --yes"), promotion.Verified, "6.8.0", "7.0.0")
}

// Two environments in one cluster see all of its Flux objects; what counts for each are its namespaces.
func TestEnvironmentsThatShareACluster(t *testing.T) {
	w := newWorld(t)
	files := map[string]string{"one/kustomization.yaml": "resources: [stage, prod]\n"}
	for _, e := range []string{"stage", "prod"} {
		files["one/"+e+"/kustomization.yaml"] = fmt.Sprintf("namespace: %s\nresources: [podinfo.yaml, ../../apps/base/cache]\n", e)
		files["one/"+e+"/podinfo.yaml"] = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: podinfo}\n" +
			"spec: {chart: {spec: {chart: podinfo, version: 6.8.0, sourceRef: {kind: HelmRepository, name: charts}}}}\n"
	}
	w.push("alice", "One cluster", files)
	w.cluster.set(func(c *cluster) {
		c.paths = map[string][]string{"stage": {"one"}, "prod": {"one"}}
		c.namespaces = map[string][]string{"stage": {"stage"}, "prod": {"prod"}}
		c.live = map[gitops.Key]gitops.Application{}
	})
	for _, e := range []string{"stage", "prod"} {
		w.settings(e).Namespaces = []string{e}
	}
	w.follow()
	card := w.card("promote podinfo@7.0.0 to prod")
	if want := []string{"HelmRelease/prod/podinfo spec.chart.spec.version: 6.8.0 → 7.0.0"}; cmp.Diff(want, card.Changes()) != "" || len(card.Plan.Shared)+len(card.Warnings) > 0 {
		t.Errorf("changes %q, shared %q, warnings %q", card.Changes(), card.Plan.Shared, card.Warnings)
	}
	w.expect(w.outcome(card.Confirm), promotion.Verified, "6.8.0", "7.0.0")
	if got := w.git("diff", "--numstat", "main~1", "main"); got != "1\t1\tone/prod/podinfo.yaml" {
		t.Errorf("changed: %s", got)
	}
	if r := w.refusal("promote cache@1.1.0 to prod"); r.Code != gitops.Shared || cmp.Diff([]string{"stage: HelmRelease/stage/cache spec.chart.spec.version from 1.0.0 to 1.1.0"}, r.Details) != "" {
		t.Errorf("what both share: %v %q", r, r.Details)
	}
}

// A build can be made to state another version than the one written.
func TestEditThatArrivesAsAnotherVersion(t *testing.T) {
	w := newWorld(t)
	w.push("mallory", "Tidy up", map[string]string{
		"apps/mid/kustomization.yaml": "resources: [../prod2]\nreplacements: [{source: {kind: HelmRelease, name: podinfo, fieldPath: spec.chart.spec.version}, " +
			"targets: [{select: {kind: HelmRelease, name: podinfo}, fieldPaths: [metadata.labels.v], options: {create: true}}]}]\n",
		"apps/prod2/kustomization.yaml": "resources: [../base/podinfo, ../base/cache]\npatches: [{path: podinfo.yaml}]\n",
		"apps/prod2/podinfo.yaml":       w.file(podinfoFile),
		"apps/prod/kustomization.yaml": "resources: [../mid]\npatches: [{target: {kind: HelmRelease, labelSelector: 'v=7.0.0'}, " +
			"patch: '- {op: replace, path: /spec/chart/spec/version, value: 6.5.3}'}]\n",
	})
	w.follow()
	if r := w.refusal("promote podinfo@7.0.0 to prod"); r.Code != gitops.Unproved {
		t.Errorf("%v", r)
	}
	w.expect(w.confirmed("promote podinfo@7.0.1 to prod --shared"), promotion.Verified, "6.8.0", "7.0.1") // its label changes too
}

// What a source or the history calls a version may be anything; lines, titles and trailers take words only.
func TestVersionsThatAreNoWords(t *testing.T) {
	w := newWorld(t)
	w.charts.versions["queue"] = []string{"2.0.0; reboot", "1.1.0", "--yes", "1.0.0"}
	r := w.refusal("promote queue@3.0.0 to prod")
	if diff := cmp.Diff([]string{"promote queue@1.1.0 to prod"}, r.Next); diff != "" {
		t.Error(diff)
	}
	w.charts.err = fmt.Errorf("connection refused")
	w.somebody("apps/prod/queue.yaml", "tag: 1.0.0", `tag: "closes #5 for everyone"`)
	w.follow()
	if r := w.refusal("promote queue@1.1.0 to prod"); r.Code != gitops.BadVersion || !strings.Contains(r.Reason, "apps/prod/queue.yaml line 4") {
		t.Errorf("from it: %v", r)
	}
	w.somebody("apps/prod/queue.yaml", `"closes #5 for everyone"`, "1.1.0")
	w.follow()
	if r := w.refusal("rollback queue on prod"); r.Code != gitops.BadVersion {
		t.Errorf("back to it: %v", r)
	}
	w.expect(w.confirmed("rollback queue on prod to 1.0.0"), promotion.Verified, "1.1.0", "1.0.0")
}

func TestVersionsOfUnusualShape(t *testing.T) {
	w := newWorld(t)
	w.charts.versions["podinfo"] = append([]string{"8.0.0-next.1", "1.2.3-linux"}, w.charts.versions["podinfo"]...)
	w.charts.versions["queue"] = append([]string{"v2.0.0", "fix1"}, w.charts.versions["queue"]...)
	for _, step := range [][4]string{{"podinfo", "6.8.0", "8.0.0-next.1"}, {"podinfo", "8.0.0-next.1", "1.2.3-linux"}, {"podinfo", "1.2.3-linux", "7.0.0"},
		{"queue", "1.0.0", "v2.0.0"}, {"queue", "v2.0.0", "fix1"}, {"web", "1.0.0", "fix1"}} {
		w.expect(w.confirmed(fmt.Sprintf("promote %s@%s to prod", step[0], step[2])), promotion.Verified, step[1], step[2])
	}
	w.expect(w.outcome("status podinfo on prod"), promotion.Verified, "1.2.3-linux", "7.0.0")
	w.expect(w.confirmed("rollback queue on prod"), promotion.Verified, "fix1", "v2.0.0")
	w.charts.err = fmt.Errorf("connection refused")
	for _, part := range []string{"7", "7.0", "7.x"} { // Helm would read a range
		if r := w.refusal("promote podinfo@" + part + " to prod"); r.Code != gitops.BadVersion {
			t.Errorf("%s: %v", part, r)
		}
	}
}

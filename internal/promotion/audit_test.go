package promotion_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/promotion"
)

// forge pushes a commit with the bot's e-mail address as its author, as anyone can who may push, and with trailers.
func (w *world) forge(t gitops.Trailers, files map[string]string) {
	w.Helper()
	w.push(bot, "Promote podinfo\n\n"+t.String(), files)
	if got := w.git("log", "-1", "--format=%an", "main"); got != bot {
		w.Fatalf("the author is %q", got)
	}
}

// An author is an address that anyone can write; what GitHub signs for the bot, only the bot can make.
func TestPushInTheNameOfTheBot(t *testing.T) {
	forged := gitops.Trailers{Promotion: "id99", Application: "HelmRelease/apps/podinfo", Environment: "prod", From: "7.0.0", To: "6.9.2", RollbackOf: "id1", RequestedBy: "slack:UBOSS"}
	w := released(t)
	w.forge(forged, map[string]string{podinfoFile: strings.Replace(w.file(podinfoFile), "7.0.0", "6.9.2", 1)})
	w.follow()
	ours := w.git("rev-parse", "main~1")

	o := w.outcome("status podinfo on prod")
	w.expect(o, promotion.Superseded, "6.9.2", "7.0.0")
	if o.Commit.SHA != ours || o.RequestedBy != person {
		t.Errorf("status: %+v", o)
	}
	card := w.card("rollback podinfo on prod") // were it a rollback of ours, 7.0.0 would have been rolled away from
	if card.Plan.To != "7.0.0" || card.Plan.RollbackOf != w.git("rev-parse", "main") {
		t.Errorf("back to %s, of %s", card.Plan.To, card.Plan.RollbackOf)
	}
	recent, err := w.service.Recent(t.Context())
	if err != nil || len(recent.Outcomes) != 1 || recent.Outcomes[0].Commit.SHA != ours {
		t.Errorf("recent: %+v, %v", recent, err)
	}
	// A commit that ferry makes is signed, and takes its place.
	w.expect(w.outcome(card.Confirm), promotion.Verified, "6.9.2", "7.0.0")
	w.expect(w.outcome("status podinfo on prod"), promotion.Verified, "6.9.2", "7.0.0")

	// A GitHub that signs nothing leaves the address alone to go by.
	w.service.Signed = false
	w.forge(forged, map[string]string{"README.md": "x"})
	if o := w.outcome("status podinfo on prod"); o.RequestedBy != "slack:UBOSS" {
		t.Errorf("without signatures: %+v", o)
	}
}

// Trailers become commands of buttons and cells of tables.
func TestRecentLeavesOutWhatIsNoApplication(t *testing.T) {
	w := newWorld(t)
	w.service.Signed = false // or else none of them would be read at all
	for _, forged := range []gitops.Trailers{
		{Application: "HelmRelease/apps/podinfo on prod --bk-cmd-header='Approve'", Environment: "prod"},
		{Application: "HelmRelease/apps/podinfo", Environment: "prod `rm` <!channel> @everyone"},
		{Application: "HelmRelease/apps/podinfo", Environment: "dr"},
		{Application: "HelmRelease/apps/", Environment: "prod"},
		{Application: "HelmRelease/../podinfo", Environment: "prod"},
		{Application: "HelmRelease/apps/a/b", Environment: "prod"},
		{Application: "HelmRelease/apps/podinfo;reboot", Environment: "prod"},
		{Application: "Secret/apps/podinfo", Environment: "prod"},
		{Application: "podinfo", Environment: "prod"},
		{Environment: "prod"},
		{Application: "Deployment/apps/web", Environment: "stage"}, // this one is possible
	} {
		forged.Promotion, forged.To = "id99", "7.0.0"
		w.forge(forged, map[string]string{"README.md": forged.String()})
	}
	recent, err := w.service.Recent(t.Context())
	if err != nil || len(recent.Outcomes) != 1 || recent.Outcomes[0].Application != (gitops.Key{Environment: "stage", Kind: "Deployment", Namespace: "apps", Name: "web"}) {
		t.Errorf("%+v, %v", recent, err)
	}
}

// What GitHub would act on in the bot's name is text in its commits and pull requests.
func TestReasonsCallNobody(t *testing.T) {
	const reason = "[skip ci] fixes acme/other#5 @acme/everyone https://github.com/a/b/issues/1 GH-5 gh-6"
	w := newWorld(t)
	w.somebody(podinfoFile, "in #releases\n", "in #releases\n  values:\n    note: |\n      ````\n      @acme/admins ![](https://evil.example/x.png)\n")
	line := func(option bool) string {
		return gitops.Line(gitops.Promote{Change: gitops.Change{Application: "podinfo", Environment: "prod", Reason: reason, PullRequest: option}, Version: "7.0.0"})
	}
	held := func(where, text string) {
		t.Helper()
		for _, call := range []string{"[skip", "#5", "@acme/everyone", "://github.com/a", "GH-5", "gh-6"} {
			if strings.Contains(text, call) {
				t.Errorf("%s has %q:\n%s", where, call, text)
			}
		}
		if !strings.Contains(strings.ReplaceAll(text, "\u200b", ""), "Ferry-Reason: "+reason) {
			t.Errorf("%s is not readable:\n%s", where, text)
		}
	}
	card := w.card(line(true))
	pr := w.outcome(card.Confirm).PullRequest
	held("the pull request", pr.Title+"\n"+pr.Body)
	held("its commit", w.git("log", "-1", "--format=%B", pr.Branch))
	if !strings.Contains(card.Plan.Diff, "\n       ````\n") || !strings.Contains(pr.Body, "\n\n`````diff\n"+card.Plan.Diff+"`````\n\n") {
		t.Errorf("the diff can leave its fence:\n%s", pr.Body)
	}
	w.confirmed(line(false))
	held("the commit", w.git("log", "-1", "--format=%B", "main"))
}

// The lines beside the version go to the channel and to whoever reads the pull request.
func TestNeighboursThatAreSecret(t *testing.T) {
	const canary = "hunter2"
	w := newWorld(t)
	w.somebody(podinfoFile, "in #releases\n", "in #releases\n  values:\n    adminPassword: hunter2\n    env: [{name: x}]\n")
	card := w.card("promote podinfo@7.0.0 to prod --pr")
	pr := w.outcome(card.Confirm).PullRequest
	for where, text := range map[string]string{"card": card.Plan.Diff, "pull request": pr.Body} {
		if strings.Contains(text, canary) || !strings.Contains(text, "\n     adminPassword: ***\n") ||
			!strings.Contains(text, "\n-      version: \"6.8.0\"   # ferry: ask in #releases\n+      version: \"7.0.0\"   # ferry: ask in #releases\n") {
			t.Errorf("the %s shows\n%s", where, text)
		}
	}
	if !strings.Contains(w.git("show", pr.Branch+":"+podinfoFile), "adminPassword: "+canary) {
		t.Error("the mask is in the file")
	}
}

// A configured repository is where a mirror's changes go. It is not another repository of the same GitHub.
func TestConfiguredRepository(t *testing.T) {
	w := newWorld(t)
	w.settings("prod").Repository, w.settings("prod").Branch = repositoryName, "main"
	w.expect(w.confirmed("promote podinfo@7.0.0 to prod"), promotion.Verified, "6.8.0", "7.0.0")
	ours := w.cluster.url
	for _, address := range []string{strings.Replace(ours, repositoryName, "other/else", 1), "ssh://git@" + w.service.Host + "/other/else", "%zz"} {
		w.cluster.set(func(c *cluster) { c.url = address })
		if r := w.refusal("promote podinfo@7.0.1 to prod"); r.Code != gitops.Layout || !strings.Contains(r.Reason, "another repository than the configured acme/fleet") {
			t.Errorf("%s: %v", address, r)
		}
	}
	w.cluster.set(func(c *cluster) { c.url = "https://mirror.example.com/git/fleet.git" })
	w.expect(w.confirmed("promote podinfo@7.0.1 to prod"), promotion.Verified, "7.0.0", "7.0.1")
}

// A rollback goes on from a rollback by ferry, whatever the merge left of its commit.
func TestSecondRollbackAfterASquash(t *testing.T) {
	w := newWorld(t)
	for _, version := range []string{"6.9.2", "7.0.0"} {
		w.confirmed("promote podinfo@" + version + " to prod")
	}
	w.expect(w.confirmed("rollback podinfo on prod --pr"), promotion.WaitsForMerge, "7.0.0", "6.9.2")
	w.api(secret, http.MethodPut, "/pulls/1/merge", map[string]string{"merge_method": "squash", "commit_title": "Back (#1)", "commit_message": "Reviewed."})
	w.follow()
	card := w.card("rollback podinfo on prod")
	if card.Plan.From != "6.9.2" || card.Plan.To != "6.8.0" {
		t.Errorf("from %s to %s", card.Plan.From, card.Plan.To)
	}
}

// Two containers can have one tag; the commit says which of them it was about.
func TestStatusOfOneOfTwoContainers(t *testing.T) {
	const file = "more/workloads.yaml"
	w := newWorld(t)
	isTwo := func(o promotion.Outcome, state promotion.State, from, to string) {
		t.Helper()
		w.expect(o, state, from, to)
		if o.Of != "two" || !strings.Contains(o.Headline(), "several (image two) "+to+" on prod") {
			t.Errorf("%s, of %q", o.Headline(), o.Of)
		}
		if state != promotion.Verified {
			return
		}
		if diff := cmp.Diff([]string{"list several", "rollback several on prod --image two"}, o.Next); diff != "" {
			t.Error(diff)
		}
	}
	w.somebody(file, "example/one:1", "example/one:9") // the other has the tag before
	w.follow()
	isTwo(w.confirmed("promote several@9 to prod --image two"), promotion.Verified, "2", "9")
	isTwo(w.outcome("status several on prod"), promotion.Verified, "2", "9")
	w.somebody(file, "example/two:9", "example/two:3") // the other has it still
	w.follow()
	isTwo(w.outcome("status several on prod"), promotion.Superseded, "2", "9")
	isTwo(w.confirmed("promote several@4 to prod --image two"), promotion.Verified, "3", "4")
	w.somebody(file, "example/one:9", "example/one:4") // the other gets it later
	w.follow()
	isTwo(w.outcome("status several on prod"), promotion.Verified, "3", "4")
}

// A name of a part stands for its application, and every answer says so.
func TestAnswersNameTheApplicationOfAPart(t *testing.T) {
	const note = "podinfo-server is a part of HelmRelease apps/podinfo, which is what this is about."
	w := newWorld(t)
	says := func(what string, warnings []string) {
		t.Helper()
		if !strings.Contains(strings.Join(warnings, "\n"), note) {
			t.Errorf("%s warns %q", what, warnings)
		}
	}
	says("status before", w.outcome("status podinfo-server on prod").Warnings)
	card := w.card("promote podinfo-server@7.0.0 to prod")
	says("card", card.Warnings)
	says("outcome", w.outcome(card.Confirm).Warnings)
	says("already there", w.outcome(card.Confirm).Warnings)
	says("status", w.outcome("status podinfo-server on prod").Warnings)
	says("rollback", w.card("rollback podinfo-server on prod").Warnings)
	w.confirmed("promote podinfo@7.0.1 to prod --pr")
	says("status of a pull request", w.outcome("status podinfo-server on prod").Warnings)
	if card := w.card("promote podinfo@6.9.0 to prod"); strings.Contains(strings.Join(card.Warnings, " "), "part of") {
		t.Errorf("by its own name: %q", card.Warnings)
	}
}

// Two applications of one name have branches that begin alike.
func TestOpenPullRequestOfANamesake(t *testing.T) {
	w := newWorld(t)
	w.expect(w.confirmed("promote HelmRelease/north/twin@6.9.0 to prod --pr"), promotion.WaitsForMerge, "6.8.0", "6.9.0")
	if card := w.card("promote HelmRelease/south/twin@7.0.0 to prod"); len(card.Warnings) > 0 {
		t.Errorf("the other one warns %q", card.Warnings)
	}
	w.expect(w.outcome("status HelmRelease/south/twin on prod"), promotion.NoChange, "6.9.0", "6.9.0")
	if card := w.card("promote HelmRelease/north/twin@7.0.0 to prod"); len(card.Warnings) != 1 || !strings.Contains(card.Warnings[0], "#1 for it is still open") {
		t.Errorf("the same one warns %q", card.Warnings)
	}
}

// A release that the source has no longer cannot be returned to, and a newer one is not what was asked for.
func TestRollbackToAReleaseThatIsGone(t *testing.T) {
	w := newWorld(t)
	w.confirmed("promote podinfo@7.0.0 to prod")
	w.charts.versions["podinfo"] = []string{"16.5.3", "7.0.1", "7.0.0"}
	r := w.refusal("rollback podinfo on prod")
	if r.Code != gitops.NoSuchVersion || !strings.HasPrefix(r.Reason, "It ran here once, but its source has it no longer. ") || cmp.Diff([]string{"list podinfo"}, r.Next) != "" {
		t.Errorf("%v, next %q", r, r.Next)
	}
}

// What Git states is not what runs.
func TestAlreadyThereInGitOnly(t *testing.T) {
	w := newWorld(t)
	w.cluster.set(func(c *cluster) { c.held = true })
	w.somebody(podinfoFile, "6.8.0", "7.0.0")
	o := w.outcome("promote podinfo@7.0.0 to prod")
	w.expect(o, promotion.AlreadyThere, "7.0.0", "7.0.0")
	if !strings.HasPrefix(o.Headline(), "? podinfo") || !strings.Contains(o.Reason, "prod does not run it") {
		t.Errorf("%s: %s", o.Headline(), o.Reason)
	}
	w.follow()
	if o = w.outcome("promote podinfo@7.0.0 to prod"); !strings.HasPrefix(o.Headline(), "✓ podinfo") {
		t.Errorf("%s: %s", o.Headline(), o.Reason)
	}
}

package promotion_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ferry-chatops/ferry/internal/githubtest"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/promotion"
)

// restart forgets all that a process could remember.
func (w *world) restart() {
	s := *w.service
	s.Claims = &promotion.Claims{}
	w.service = &s
}

// released gives podinfo in prod the history 6.8.0, 6.9.0, 6.9.2 by hand, and 7.0.0 by ferry.
func released(t *testing.T) *world {
	w := newWorld(t)
	for _, step := range [][2]string{{"6.8.0", "6.9.0"}, {"6.9.0", "6.9.2"}} {
		w.somebody(podinfoFile, step[0], step[1])
		w.follow()
	}
	w.expect(w.confirmed("promote podinfo@7.0.0 to prod"), promotion.Verified, "6.9.2", "7.0.0")
	return w
}

func TestRollbackGoesBackStepByStep(t *testing.T) {
	w := released(t)
	from := "7.0.0"
	for _, to := range []string{"6.9.2", "6.9.0", "6.8.0"} {
		w.restart()
		card := w.card("rollback podinfo on prod")
		if card.Basis != "Git history of apps/prod/podinfo.yaml, confirmed by Helm's history" || !card.Rollback || card.Direction != "downgrade" || card.Verb() != "Roll back" {
			t.Errorf("to %s: card %+v", to, card)
		}
		o := w.outcome(card.Confirm)
		w.expect(o, promotion.Verified, from, to)
		if !o.Rollback {
			t.Error("the outcome is no rollback")
		}
		if got := w.git("diff", "--numstat", "main~1", "main"); got != "1\t1\t"+podinfoFile {
			t.Errorf("changed: %s", got)
		}
		from = to
	}
	want := "Roll back podinfo to 6.9.2 in prod\n\nFerry-Promotion: id2\nFerry-Home: home-uid\nFerry-Application: HelmRelease/apps/podinfo\n" +
		"Ferry-Environment: prod\nFerry-From: 7.0.0\nFerry-To: 6.9.2\nFerry-Rollback-Of: id1\nFerry-Requested-By: slack:U024BE7LH"
	if got := w.git("log", "-1", "--format=%B", "main~2"); got != want {
		t.Errorf("the first rollback says\n%s", got)
	}
	r := w.refusal("rollback podinfo on prod")
	if r.Title != "No earlier release" || len(r.Details) != 4 || !strings.HasPrefix(r.Details[0], "6.8.0, since ") {
		t.Errorf("%v", r)
	}

	w.expect(w.confirmed("promote podinfo@7.0.1 to prod"), promotion.Verified, "6.8.0", "7.0.1")
	w.expect(w.confirmed("rollback podinfo on prod"), promotion.Verified, "7.0.1", "6.8.0")
	_ = w.refusal("rollback podinfo on prod")
}

// Looking at a card, and trying in vain, use nothing up.
func TestRollbackThatWasNotDone(t *testing.T) {
	w := released(t)
	first := w.card("rollback podinfo on prod")
	w.hub.Fail(githubtest.Fault{Mutation: mutation, Status: 403})
	_ = w.refusal(first.Confirm)
	w.restart()
	again := w.card("rollback podinfo on prod")
	if first.Plan.To != "6.9.2" || again.Plan.Hash() != first.Plan.Hash() {
		t.Errorf("to %s, then to %s", first.Plan.To, again.Plan.To)
	}
	w.expect(w.outcome(again.Confirm), promotion.Verified, "7.0.0", "6.9.2")
}

func TestRollbackToAVersion(t *testing.T) {
	w := released(t)
	if r := w.refusal("rollback podinfo on prod to 6.5.3"); r.Title != "prod never ran 6.5.3" || r.Next[0] != "promote podinfo@6.5.3 to prod" {
		t.Errorf("%v", r)
	}
	w.expect(w.confirmed("rollback podinfo on prod to 6.9.0"), promotion.Verified, "7.0.0", "6.9.0")
	w.expect(w.confirmed("rollback podinfo on prod"), promotion.Verified, "6.9.0", "6.8.0")
}

func TestRollbackSaysWhereHelmDoesNotReach(t *testing.T) {
	w := released(t)
	w.cluster.set(func(c *cluster) {
		c.change = func(a *gitops.Application) {
			if a.Helm != nil {
				a.Helm.History = a.Helm.History[:1]
			}
		}
	})
	if card := w.card("rollback podinfo on prod"); card.Basis != "Git history of apps/prod/podinfo.yaml; Helm's history here does not reach back to it" {
		t.Errorf("basis %q", card.Basis)
	}
}

func TestRollbackOfAnImage(t *testing.T) {
	w := newWorld(t)
	w.expect(w.confirmed("promote web@1.1.0 to prod"), promotion.Verified, "1.0.0", "1.1.0")
	w.expect(w.confirmed("promote web@1.2.0 to prod"), promotion.Verified, "1.1.0", "1.2.0")
	card := w.card("rollback web on prod")
	if card.Basis != "Git history of apps/prod/web/kustomization.yaml" {
		t.Errorf("basis %q", card.Basis)
	}
	w.expect(w.outcome(card.Confirm), promotion.Verified, "1.2.0", "1.1.0")
	w.expect(w.confirmed("rollback web on prod"), promotion.Verified, "1.1.0", "1.0.0")
	_ = w.refusal("rollback web on prod")
}

// Two applications share a file: the history of one is not that of the other.
func TestRollbackReadsTheFieldNotTheFile(t *testing.T) {
	w := newWorld(t)
	w.expect(w.confirmed("promote left@6.9.0 to prod"), promotion.Verified, "6.8.0", "6.9.0")
	w.expect(w.confirmed("promote right@7.0.0 to prod"), promotion.Verified, "6.8.0", "7.0.0")
	w.expect(w.confirmed("promote right@7.0.1 to prod"), promotion.Verified, "7.0.0", "7.0.1")
	w.expect(w.confirmed("rollback left on prod"), promotion.Verified, "6.9.0", "6.8.0")
	w.expect(w.confirmed("rollback right on prod"), promotion.Verified, "7.0.1", "7.0.0")
	_ = w.refusal("rollback left on prod")
}

// Anyone who can push can write our trailers.
func TestForgedTrailersAreNotBelieved(t *testing.T) {
	w := released(t)
	trailers := func(to, rollbackOf string) string {
		return "Roll back podinfo\n\n" + gitops.Trailers{Promotion: "forged", Application: "HelmRelease/apps/podinfo", Environment: "prod", From: "7.0.0", To: to,
			RollbackOf: rollbackOf, RequestedBy: person}.String()
	}
	w.push("mallory", trailers("6.9.2", "id1"), map[string]string{podinfoFile: strings.Replace(w.file(podinfoFile), "7.0.0", "6.9.2", 1)})
	w.follow()
	// Were it believed, 7.0.0 would count as rolled away from, and the rollback would end at 6.9.0.
	if card := w.card("rollback podinfo on prod"); card.Plan.To != "7.0.0" || card.Plan.RollbackOf == "forged" {
		t.Errorf("back to %s of %s", card.Plan.To, card.Plan.RollbackOf)
	}
	o := w.outcome("status podinfo on prod")
	if o.State != promotion.Superseded || o.To != "7.0.0" || o.Commit.Author != bot {
		t.Errorf("status: %+v", o)
	}
	recent, err := w.service.Recent(t.Context())
	if err != nil || len(recent.Outcomes) != 1 || recent.Outcomes[0].To != "7.0.0" || recent.Outcomes[0].Rollback {
		t.Errorf("recent: %+v, %v", recent, err)
	}
}

func TestStatus(t *testing.T) {
	w := newWorld(t)
	o := w.outcome("status podinfo on prod")
	w.expect(o, promotion.NoChange, "6.8.0", "6.8.0")
	if o.Failed() || !strings.Contains(o.Reason, "no change of its own") {
		t.Errorf("nothing so far: %+v", o)
	}
	recent, err := w.service.Recent(t.Context())
	if err != nil || len(recent.Outcomes)+len(recent.Unreachable) > 0 {
		t.Errorf("nothing so far: %+v, %v", recent, err)
	}

	w.confirmed("promote podinfo@7.0.0 to prod")
	w.confirmed("promote web@1.1.0 to prod")
	w.outcome("promote podinfo@7.0.1 to stage --yes")
	w.restart()
	o = w.outcome("status podinfo on prod")
	w.expect(o, promotion.Verified, "6.8.0", "7.0.0")
	if o.Commit.SHA != w.git("rev-parse", "main~2") || o.RequestedBy != person || len(o.Steps) != 4 {
		t.Errorf("status: %+v", o)
	}
	w.cluster.set(func(c *cluster) { c.silent = []string{"stage"} })
	if recent, err = w.service.Recent(t.Context()); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, o := range recent.Outcomes {
		lines = append(lines, fmt.Sprintf("%s/%s %s %s→%s", o.Application.Environment, o.Application, o.State, o.From, o.To))
	}
	want := "stage/apps/podinfo Committed 7.0.0→7.0.1, prod/apps/web Verified 1.0.0→1.1.0, prod/apps/podinfo Verified 6.8.0→7.0.0"
	if got := strings.Join(lines, ", "); got != want || len(recent.Unreachable) != 1 || recent.Unreachable[0] != "stage: stage did not answer." {
		t.Errorf("recent: %s, %q", got, recent.Unreachable)
	}

	w.somebody(podinfoFile, "7.0.0", "7.0.1")
	o = w.outcome("status podinfo on prod")
	w.expect(o, promotion.Superseded, "6.8.0", "7.0.0")
	if o.Failed() || !strings.Contains(o.Reason, "Git states 7.0.1 by now") {
		t.Errorf("superseded: %+v", o)
	}
	// A later commit elsewhere supersedes nothing.
	w.somebody("README.md", "fleet", "ships")
	w.follow()
	w.expect(w.outcome("status web on prod"), promotion.Verified, "1.0.0", "1.1.0")
}

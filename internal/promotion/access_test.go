package promotion_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/ferry-chatops/ferry/internal/command"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/promotion"
)

func rule(principals ...string) gitops.Access {
	return gitops.Access{Rule: "access.default", Principals: principals}
}

// by has a line done for somebody else.
func (w *world) by(who, line string) (promotion.Result, error) {
	w.Helper()
	request, err := command.Parse(line)
	if err != nil {
		w.Fatal(err)
	}
	if r, ok := request.(gitops.Rollback); ok {
		return w.service.Rollback(w.Context(), r, who)
	}
	return w.service.Promote(w.Context(), request.(gitops.Promote), who)
}

// TestOnlyThoseWhoMay: the rule counts when a change is asked for and when it is confirmed, whoever saw the card, before
// anything is read or written.
func TestOnlyThoseWhoMay(t *testing.T) {
	w := newWorld(t)
	w.confirmed("promote podinfo@7.0.0 to prod")
	promote, rollback := w.card("promote podinfo@7.0.1 to prod").Confirm, w.card("rollback podinfo on prod").Confirm
	w.settings("prod").Access = gitops.Access{Rule: "environments[1].promotion.promoters", Principals: []string{"slack:U1", "name:jane"}}
	w.settings("stage").Access = rule("slack:*")
	asked := 0
	w.intercept(func(_ *http.Request, _ []byte, next func() *httptest.ResponseRecorder) *httptest.ResponseRecorder {
		asked++
		return next()
	})
	w.cluster.set(func(c *cluster) { c.silent = []string{"prod"} }) // it would be an error to ask
	for _, line := range []string{"promote podinfo@7.0.1 to prod", "promote podinfo@7.0.1 to prod --yes", "promote podinfo@7.0.1 to prod --pr", promote,
		"promote podinfo from stage to prod", "rollback podinfo on prod", rollback} {
		r := w.refusal(line)
		if r.Code != gitops.Denied || r.Title != "You may not change prod" || !strings.Contains(r.Reason, "environments[1].promotion.promoters") ||
			!strings.Contains(r.Reason, "you are "+person) || !slices.Equal(r.Details, []string{"slack:U1", "name:jane"}) {
			t.Errorf("%s: %v", line, r)
		}
	}
	if asked > 0 {
		t.Errorf("GitHub was asked %d times", asked)
	}
	w.intercept(nil)
	w.cluster.set(func(c *cluster) { c.silent = nil })

	if r, err := w.by("name:jane", promote); err != nil || r.Outcome == nil || r.Outcome.State != promotion.Verified || r.Outcome.RequestedBy != "name:jane" {
		t.Errorf("who may, of a card that somebody else saw: %+v, %v", r, err)
	}
	w.expect(w.outcome("promote podinfo@7.0.1 to stage --yes"), promotion.Verified, "7.0.0", "7.0.1")
	if _, err := w.ask(w.Context(), "status podinfo on prod"); err != nil {
		t.Errorf("reading is for all: %v", err)
	}
	w.settings("stage").Access = rule()
	if r := w.refusal("rollback podinfo on stage"); !strings.Contains(r.Reason, "nobody may change stage") {
		t.Errorf("an empty list: %v", r)
	}
}

// TestOnlyThoseWhoMayChangeAll: what is shared needs the right for each environment that changes with it.
func TestOnlyThoseWhoMayChangeAll(t *testing.T) {
	w := newWorld(t)
	confirm := w.card("promote cache@1.1.0 to stage --shared").Confirm
	w.settings("prod").Access = rule("slack:U1")
	w.settings("stage").Access = rule(person)
	for _, line := range []string{"promote cache@1.1.0 to stage --shared", "promote cache@1.1.0 to stage --shared --yes", confirm} {
		if r := w.refusal(line); r.Code != gitops.Denied || r.Title != "You may not change prod" {
			t.Errorf("%s: %v", line, r)
		}
	}
	w.settings("prod").Access = rule(person)
	card := w.card("promote cache@1.1.0 to stage --shared --yes")
	if !strings.Contains(card.Note, "in prod, --yes does not count") {
		t.Errorf("a card is required in prod alone: %q", card.Note)
	}
	w.expect(w.outcome(card.Confirm), promotion.Verified, "1.0.0", "1.1.0")
}

// TestReviewOfAll: where an environment takes pull requests only, what changes it along with another is one.
func TestReviewOfAll(t *testing.T) {
	w := newWorld(t)
	w.settings("prod").Mode = promotion.PullRequest
	w.settings("stage").Mode = promotion.Commit
	card := w.card("promote cache@1.1.0 to stage --shared")
	if !card.Plan.PullRequest || card.Mode != "pull request to main, because prod takes no other change" {
		t.Errorf("by %q", card.Mode)
	}
	if o := w.outcome(card.Confirm); o.State != promotion.WaitsForMerge || w.commits() != "0" {
		t.Errorf("%s, with %s commits", o.State, w.commits())
	}
	w.expect(w.outcome("promote podinfo@7.0.1 to stage --yes"), promotion.Verified, "7.0.0", "7.0.1")
}

// TestWhatIsNotSeenIsReviewed: an environment that does not answer is no way around its rules.
func TestWhatIsNotSeenIsReviewed(t *testing.T) {
	for name, protect := range map[string]func(prod *promotion.Settings){
		"who asks may not change it": func(prod *promotion.Settings) { prod.Access = rule("slack:U1") },
		"it takes pull requests":     func(prod *promotion.Settings) { prod.Mode = promotion.PullRequest },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			protect(w.settings("prod"))
			w.cluster.set(func(c *cluster) { c.silent = []string{"prod"} })
			card := w.card("promote cache@1.1.0 to stage")
			if !card.Plan.PullRequest || !strings.Contains(card.Mode, "because it may change prod too") {
				t.Errorf("by %q", card.Mode)
			}
			if o := w.outcome(card.Confirm); o.State != promotion.WaitsForMerge || w.commits() != "0" {
				t.Errorf("%s, with %s commits", o.State, w.commits())
			}
		})
	}
	w := newWorld(t)
	w.settings("prod").Access = rule(person)
	w.cluster.set(func(c *cluster) { c.silent = []string{"prod"} })
	if card := w.card("promote cache@1.1.0 to stage"); card.Plan.PullRequest {
		t.Errorf("who may change it: %s", card.Mode)
	}
}

func TestCardsSayThatAnybodyMay(t *testing.T) {
	w := newWorld(t)
	if !w.card("promote podinfo@7.0.0 to prod").Open {
		t.Error("no rule")
	}
	w.settings("prod").Access = rule("slack:*")
	if w.card("promote podinfo@7.0.0 to prod").Open {
		t.Error("a rule for prod")
	}
	if !w.card("promote cache@1.1.0 to prod --shared").Open {
		t.Error("no rule for stage, which changes too")
	}
}

// TestAutomationsAreNamed: their --yes counts only where a rule has them written out.
func TestAutomationsAreNamed(t *testing.T) {
	w := newWorld(t)
	const automation, line = "automation:nightly", "promote podinfo@7.0.1 to stage --yes"
	refs := w.refs()
	r, err := w.by(automation, line)
	if err != nil || r.Card == nil || !strings.Contains(r.Card.Note, "counts only where a rule of access names it, and none for stage does") || w.refs() != refs {
		t.Errorf("without a rule: %+v, %v", r, err)
	}
	w.settings("stage").Access = rule("slack:*", "discord:*", "name:nightly")
	if _, err := w.by(automation, line); err == nil || w.refs() != refs {
		t.Error("a rule that names others permits it")
	}
	w.settings("stage").Access = rule(automation)
	if r, err := w.by(automation, line); err != nil || r.Outcome == nil || r.Outcome.State != promotion.Verified {
		t.Errorf("named: %+v, %v", r, err)
	}
}

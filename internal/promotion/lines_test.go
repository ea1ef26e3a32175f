package promotion_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/command"
	"github.com/ferry-chatops/ferry/internal/gitops"
)

// change is the common part of a request that changes something.
func change(r gitops.Request) (gitops.Change, bool) {
	switch r := r.(type) {
	case gitops.Promote:
		return r.Change, true
	case gitops.Rollback:
		return r.Change, true
	}
	return gitops.Change{}, false
}

// Whatever is asked: each line that an answer offers can be typed, and means what was asked but for what it is to change.
func TestLinesThatAnswersOffer(t *testing.T) {
	w := newWorld(t)
	w.charts.versions["podinfo"] = append([]string{"8.0.0-next.1"}, w.charts.versions["podinfo"]...)
	random := rand.New(rand.NewPCG(7, 11))
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	often := func(n int) bool { return random.IntN(n) == 0 }
	offered := map[string]int{} // by what offered them
	for range 60 {
		c := gitops.Change{
			Application: pick("podinfo", "apps/podinfo", "HelmRelease/apps/podinfo", "podinfo-server", "cache", "queue", "web", "api", "several", "ranged", "twin", "north/twin", "left", "none"),
			Environment: pick("prod", "prod", "prod", "prod", "prod", "stage", "prod-eu"),
			Reason: pick("", "", "login", "fixes the login", "-1 day before the freeze", "[skip ci] @acme/everyone", `100% "sure" 'a' (b); rm -rf & | > x`, "ümlaut — «so»", "a--yes --shared",
				"--pr"),
			Shared: often(3), PullRequest: often(4), Yes: often(4),
		}
		c.Override = !c.Shared && often(4)
		switch {
		case often(8):
			c.Chart = true
		case often(7):
			c.Image = pick("proxy", "registry.example.com:5000/api", "example/web", "x")
		case c.Application == "several":
			c.Image = pick("one", "two")
		}
		if often(8) {
			c.Confirm, c.Until, c.Yes = "0123456789abcdef0123456789abcdef", w.now().Add(time.Duration(random.IntN(50)-10)*time.Minute).Truncate(time.Second).UTC(), false
		}
		var asked gitops.Request = gitops.Promote{Change: c, Version: pick("7.0.0", "7.0.1", "6.9.0", "8.0.0-next.1", "1.1.0", "1.0.0", "9.9.9", "v7.0.0", "latest", "7")}
		switch {
		case often(3):
			asked = gitops.Rollback{Change: c, To: pick("", "", "6.9.0", "1.0.0")}
		case often(4):
			from := "stage"
			if c.Environment == from {
				from = "prod"
			}
			asked = gitops.Promote{Change: c, From: pick(from, "test")}
		}
		line := gitops.Line(asked)
		if parsed, err := command.Parse(line); err != nil || cmp.Diff(asked, parsed) != "" {
			t.Fatalf("%s: %+v, %v; was %+v", line, parsed, err, asked)
		}
		refs := w.refs()
		result, err := w.ask(t.Context(), line)
		check := func(by, next string, keeps bool) {
			t.Helper()
			offered[by]++
			parsed, err := command.Parse(next)
			if err != nil {
				t.Errorf("%s: %s offers %s: %v", line, by, next, err)
				return
			}
			got, ok := change(parsed)
			if !ok {
				return
			}
			if got.Environment != c.Environment && err == nil && by != "refusal" || got.Yes || got.Chart != c.Chart {
				t.Errorf("%s: %s offers %s", line, by, next)
			}
			if c.Image != "" && got.Image != c.Image || keeps && (got.Image != c.Image || got.Reason != c.Reason || c.Shared && !got.Shared || c.Override && !got.Override && !got.Shared) {
				t.Errorf("%s: %s offers %s", line, by, next)
			}
			if by != "card" && got.Confirm != "" {
				t.Errorf("%s: %s offers a confirmation: %s", line, by, next)
			}
		}
		refusal, refused := errors.AsType[*gitops.Refusal](err)
		switch {
		case err != nil && !refused:
			t.Errorf("%s: %v", line, err)
		case refused:
			for _, next := range refusal.Next {
				check("refusal", next, true)
			}
		case result.Card != nil:
			card := result.Card
			check("card", card.Confirm, true)
			parsed, err := command.Parse(card.Confirm)
			if err != nil {
				continue
			}
			if got, _ := change(parsed); parsed.Verb() != asked.Verb() || got.Application != c.Application || got.Confirm != card.Plan.Hash() || !got.Until.Equal(card.Until) ||
				got.PullRequest != card.Plan.PullRequest || got.Shared != c.Shared || got.Override != c.Override {
				t.Errorf("%s: the card's line is %s", line, card.Confirm)
			}
			if after := w.refs(); after != refs {
				t.Errorf("%s: a card writes", line)
			}
			if often(4) {
				continue
			}
			if result, err = w.ask(t.Context(), card.Confirm); err != nil || result.Outcome == nil {
				t.Errorf("%s: confirmed by %s: %+v, %v", line, card.Confirm, result.Card, err)
				continue
			}
			fallthrough
		default:
			for _, next := range result.Outcome.Next {
				check("outcome", next, false)
			}
		}
	}
	for _, by := range []string{"refusal", "card", "outcome"} {
		if offered[by] < 5 {
			t.Errorf("%d lines of a %s: not enough to tell", offered[by], by)
		}
	}
}

// An expired button's answer asks for the same again.
func TestExpiredLineKeepsItsOptions(t *testing.T) {
	w := newWorld(t)
	card := w.card(`promote several@9 to prod --image two --reason "because of this" --pr`)
	w.later(time.Hour)
	if r := w.refusal(card.Confirm); r.Code != gitops.Expired || cmp.Diff([]string{`promote several@9 to prod --pr --image two --reason "because of this"`}, r.Next) != "" {
		t.Errorf("%v, next %q", r, r.Next)
	}
}

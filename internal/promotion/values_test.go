package promotion_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/promotion"
)

const valuedFile = "more/valued.yaml"

// TestPromoteAnImageInValues: the chart is a general one, so the image may be meant as well.
func TestPromoteAnImageInValues(t *testing.T) {
	w := newWorld(t)
	r := w.refusal("promote player@1.2.0 to prod --reason new")
	want := []string{"promote player@1.2.0 to prod --chart --reason new", "promote player@1.2.0 to prod --image app --reason new"}
	if r.Code != gitops.Ambiguous || cmp.Diff(want, r.Next) != "" || cmp.Diff([]string{"chart app-template is at 4.0.0: --chart", "image ghcr.io/example/player is at 1.1.0: --image app"}, r.Details) != "" {
		t.Errorf("%+v", r)
	}
	for _, name := range []string{"app", "player", "ghcr.io/example/player"} {
		if card := w.card("promote player@1.2.0 to prod --image " + name); card.Plan.VersionName != "ghcr.io/example/player" || card.Direction != "upgrade" {
			t.Errorf("%s: %+v", name, card.Plan)
		}
	}
	done := w.confirmed("promote player@1.2.0 to prod --image app")
	w.expect(done, promotion.Verified, "1.1.0", "1.2.0")
	if done.Of != "app" || done.Kind != gitops.ImageTag {
		t.Errorf("it is about %s %s", done.Kind, done.Of)
	}
	if got := w.file(valuedFile); !strings.Contains(got, "player, tag: 1.2.0}") || strings.Count(got, "4.0.0") != 2 {
		t.Errorf("the file is\n%s", got)
	}
	w.expect(w.outcome("status player on prod"), promotion.Verified, "1.1.0", "1.2.0")
	back := w.card("rollback player on prod --image app")
	if back.Plan.To != "1.1.0" || back.Basis != "Git history of "+valuedFile {
		t.Errorf("%+v", back)
	}
	w.expect(w.outcome(back.Confirm), promotion.Verified, "1.2.0", "1.1.0")
	if next := done.Next; cmp.Diff([]string{"list player", "rollback player on prod --image app"}, next) != "" {
		t.Errorf("next are %q", next)
	}
	// Its chart is another version, with a history of its own.
	w.charts.versions["app-template"] = []string{"4.1.0", "4.0.0"}
	w.expect(w.confirmed("promote player@4.1.0 to prod --chart"), promotion.Verified, "4.0.0", "4.1.0")
	w.expect(w.outcome("status player on prod"), promotion.Verified, "4.0.0", "4.1.0")
	if card := w.card("rollback player on prod --chart"); card.Plan.To != "4.0.0" || !strings.HasSuffix(card.Basis, "confirmed by Helm's history") {
		t.Errorf("%+v", card)
	}
}

// TestPromoteAnImageInAConfigMap: the file names no image, and the HelmRelease does not change.
func TestPromoteAnImageInAConfigMap(t *testing.T) {
	w := newWorld(t)
	w.expect(w.confirmed("promote mail@2.1.0 to prod --image mail"), promotion.Verified, "2.0.0", "2.1.0")
	if got := w.file("more/mail.yaml"); got != "image:\n  tag: 2.1.0 # the chart knows its name\n" {
		t.Errorf("the file is\n%s", got)
	}
	w.expect(w.confirmed("rollback mail on prod --image mail"), promotion.Verified, "2.1.0", "2.0.0")
	// The field tells which version is meant.
	if card := w.card("promote mail@2.2.0 to prod --field more/mail.yaml:image.tag"); card.Plan.VersionName != "example/mail" {
		t.Errorf("%+v", card.Plan)
	}
	w.charts.versions["app-template"] = []string{"4.1.0", "4.0.0"}
	if card := w.card("promote mail@4.1.0 to prod --field more/valued.yaml:HelmRelease/apps/mail:spec.chart.spec.version"); card.Plan.VersionName != "app-template" {
		t.Errorf("%+v", card.Plan)
	}
}

// TestReleasesOfOneSource: who agrees to change it reads which others change with it.
func TestReleasesOfOneSource(t *testing.T) {
	w := newWorld(t)
	w.charts.versions["general"] = []string{"1.1.0", "1.0.0"}
	const other = "HelmRelease/apps/second follows OCIRepository/apps/general"
	if r := w.refusal("promote first@1.1.0 to prod"); r.Code != gitops.Shared || cmp.Diff([]string{other}, r.Details) != "" {
		t.Errorf("%+v", r)
	}
	if card := w.card("promote first@1.1.0 to prod --shared"); cmp.Diff([]string{"This changes with it. " + other}, card.Warnings) != "" {
		t.Errorf("%q", card.Warnings)
	}
}

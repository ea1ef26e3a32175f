package promotion_test

import (
	"strings"
	"testing"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

const severalFile = "more/workloads.yaml"

// names has the configuration name fields for prod.
func (w *world) names(fields ...gitops.Located) { w.settings("prod").Fields = fields }

func TestFieldThatTheConfigurationNames(t *testing.T) {
	w := newWorld(t)
	two := gitops.Located{Application: "several", Kind: gitops.ImageTag, File: severalFile, Path: "Deployment/apps/several:spec.template.spec.containers[1].image"}

	if r := w.refusal("promote several@3 to prod"); r.Code != gitops.Ambiguous { // which one is not known
		t.Errorf("%+v", r)
	}
	w.names(two)
	card := w.card("promote several@3 to prod")
	if e := card.Plan.Edits; len(e) != 1 || e[0].Path != two.Path || e[0].Old != "2" || card.Plan.VersionName != "example/two" {
		t.Errorf("%+v", card.Plan)
	}
	w.outcome(card.Confirm)
	if got := w.file(severalFile); !strings.Contains(got, "example/one:1") || !strings.Contains(got, "example/two:3") {
		t.Errorf("the file is\n%s", got)
	}
	if o, err := w.service.Status(t.Context(), gitops.Status{Application: "several", Environment: "prod"}); err != nil || o.To != "3" || o.Of != "two" {
		t.Errorf("%+v, %v", o, err)
	}
	if back := w.card("rollback several on prod"); back.Plan.To != "2" || back.Plan.Edits[0].Path != two.Path {
		t.Errorf("%+v", back.Plan)
	}
	// What the line names wins.
	if card := w.card("promote several@4 to prod --image one"); card.Plan.Edits[0].Old != "1" {
		t.Errorf("%+v", card.Plan)
	}
	// It is about no other application of that name, and no other environment.
	elsewhere := two
	elsewhere.Namespace = "other"
	w.names(elsewhere)
	if r := w.refusal("promote several@3 to prod"); r.Code != gitops.Ambiguous {
		t.Errorf("%+v", r)
	}
}

func TestFieldThatIsNoCandidate(t *testing.T) {
	for name, tc := range map[string]struct {
		field  gitops.Located
		reason string
	}{
		"another place": {gitops.Located{Kind: gitops.ChartVersion, File: podinfoFile, Path: "metadata.name"}, "is none of the fields that hold a version of"},
		"another file":  {gitops.Located{Kind: gitops.ChartVersion, File: "apps/stage/podinfo.yaml", Path: "spec.chart.spec.version"}, "is none of the fields that hold a version of"},
		"another kind":  {gitops.Located{Kind: gitops.ImageTag, File: podinfoFile, Path: "spec.chart.spec.version"}, "holds the chart version of podinfo, not the image version"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tc.field.Application = "podinfo"
			w.names(tc.field)
			r := w.refusal("promote podinfo@7.0.0 to prod")
			if r.Code != gitops.NotFound || !strings.Contains(r.Reason, tc.reason) || !strings.Contains(r.Reason, "applications") ||
				len(r.Candidates) != 1 || r.Candidates[0].File != podinfoFile || r.Candidates[0].Path != "spec.chart.spec.version" {
				t.Errorf("%+v", r)
			}
		})
	}
}

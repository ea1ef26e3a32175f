package gitops

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func plan() Plan {
	return Plan{
		Application: Key{Environment: "prod", Namespace: "apps", Kind: "HelmRelease", Name: "podinfo"}, Kind: ChartVersion, VersionName: "podinfo",
		Repository: "acme/fleet", Branch: "main", From: "6.9.2", To: "7.0.0",
		Edits:    []Edit{{File: "apps/prod/podinfo.yaml", Line: 8, Path: "spec.chart.spec.version", Old: "6.9.2", New: "7.0.0"}},
		Shared:   []string{"dr"},
		Rendered: []Rendered{{Object: Object{Kind: "HelmRelease", Namespace: "apps", Name: "podinfo"}, Path: "spec.chart.spec.version", Old: "6.9.2", New: "7.0.0"}},
		Base:     "1111111111111111111111111111111111111111", Diff: "-a\n+b\n", Content: []File{{Path: "apps/prod/podinfo.yaml", Content: []byte("x")}},
	}
}

func TestHashIsOfWhatTheUserAgreesTo(t *testing.T) {
	agreed := plan().Hash()
	if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(agreed) {
		t.Errorf("hash %q", agreed)
	}
	for name, change := range map[string]func(*Plan){
		"application":       func(p *Plan) { p.Application.Name = "api" },
		"namespace":         func(p *Plan) { p.Application.Namespace = "live" },
		"kind":              func(p *Plan) { p.Application.Kind = "Deployment" },
		"environment":       func(p *Plan) { p.Application.Environment = "prod-eu" },
		"what it counts":    func(p *Plan) { p.Kind = ImageTag },
		"repository":        func(p *Plan) { p.Repository = "acme/other" },
		"branch":            func(p *Plan) { p.Branch = "next" },
		"file":              func(p *Plan) { p.Edits[0].File = "apps/base/podinfo.yaml" },
		"path":              func(p *Plan) { p.Edits[0].Path = "spec.version" },
		"old":               func(p *Plan) { p.Edits[0].Old = "6.9.1" },
		"new":               func(p *Plan) { p.Edits[0].New = "7.0.1" },
		"another edit":      func(p *Plan) { p.Edits = append(p.Edits, p.Edits[0]) },
		"elsewhere":         func(p *Plan) { p.Elsewhere = map[string][]Rendered{"dr": p.Rendered} },
		"what is masked":    func(p *Plan) { p.Digests = map[string]string{"prod": "00"} },
		"not seen":          func(p *Plan) { p.Blind = []string{"dr could not be read."} },
		"pull request":      func(p *Plan) { p.PullRequest = true },
		"other environment": func(p *Plan) { p.Shared = []string{"dr", "qa"} },
		"no environment":    func(p *Plan) { p.Shared = nil },
		"rendered":          func(p *Plan) { p.Rendered[0].New = "7.0.1" },
		"rendered object":   func(p *Plan) { p.Rendered[0].Object.Name = "api" },
		"rollback":          func(p *Plan) { p.RollbackOf = "abc" },
	} {
		p := plan()
		change(&p)
		if p.Hash() == agreed {
			t.Errorf("another %s has the same hash", name)
		}
	}
	for name, change := range map[string]func(*Plan){
		"base":    func(p *Plan) { p.Base = "2222222222222222222222222222222222222222" },
		"diff":    func(p *Plan) { p.Diff = "-a\n+b\n c\n" },
		"content": func(p *Plan) { p.Content[0].Content = []byte("y") },
		"line":    func(p *Plan) { p.Edits[0].Line = 9 }, // somebody wrote a comment above
	} {
		p := plan()
		change(&p)
		if p.Hash() != agreed {
			t.Errorf("another %s has another hash", name)
		}
	}
	if p := plan(); p.Hash() != agreed || p.Edits[0].Line != 8 {
		t.Error("the hash of the same plan differs, or taking it changes the plan")
	}
}

func TestTrailersRoundTrip(t *testing.T) {
	all := Trailers{Promotion: "0123456789abcdef0123456789abcdef", Home: "8a7f", Application: "HelmRelease/apps/podinfo", Environment: "prod", From: "6.9.2", To: "7.0.0",
		RollbackOf: "fedcba", RequestedBy: "slack:U024BE7LH", ApprovedBy: "slack:U1", Reason: "fixes: the login"}
	want := `Ferry-Promotion: 0123456789abcdef0123456789abcdef
Ferry-Home: 8a7f
Ferry-Application: HelmRelease/apps/podinfo
Ferry-Environment: prod
Ferry-From: 6.9.2
Ferry-To: 7.0.0
Ferry-Rollback-Of: fedcba
Ferry-Requested-By: slack:U024BE7LH
Ferry-Approved-By: slack:U1
Ferry-Reason: fixes: the login
`
	if diff := cmp.Diff(want, all.String()); diff != "" {
		t.Error(diff)
	}
	for name, message := range map[string]string{
		"commit":          "Promote podinfo\n\n" + want,
		"CRLF":            strings.ReplaceAll("Promote podinfo\n\n"+want, "\n", "\r\n"),
		"no end":          strings.TrimSpace("Promote podinfo\n\nA body.\n\n" + want),
		"beside others":   "Promote podinfo\n\nSigned-off-by: a\n" + want + "Co-authored-by: b\n",
		"repeated":        "Promote podinfo\n\n" + want + "Ferry-To: 9.9.9\n",
		"blank lines end": "Promote podinfo\n\n" + want + "\n\n",
	} {
		got, ok := ParseTrailers(message)
		if diff := cmp.Diff(all, got); diff != "" || !ok {
			t.Errorf("%s: %v\n%s", name, ok, diff)
		}
	}
	some := Trailers{Promotion: "1", To: "7.0.0"}
	if got := some.String(); got != "Ferry-Promotion: 1\nFerry-To: 7.0.0\n" {
		t.Errorf("empty values are written: %q", got)
	}
}

func TestTrailersThatAreNone(t *testing.T) {
	for name, message := range map[string]string{
		"empty":             "",
		"plain":             "Fix the build",
		"without promotion": "x\n\nFerry-To: 7.0.0\n",
		"in the body":       "x\n\nFerry-Promotion: 1\n\nSigned-off-by: a\n",
		"another case":      "x\n\nferry-promotion: 1\n",
		"indented":          "x\n\n Ferry-Promotion: 1\n",
		"no value":          "x\n\nFerry-Promotion:\n",
		"another name":      "x\n\nFerry-Promotion-Of: 1\n",
	} {
		if got, ok := ParseTrailers(message); ok {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// Whatever a user types as a reason, the trailers read back are those that ferry wrote.
func TestTrailersCannotBeInjected(t *testing.T) {
	for _, hostile := range []string{
		"x\nFerry-To: 9.9.9", "x\r\nFerry-Promotion: forged", "x\n\nFerry-Promotion: forged", "\n\n\nFerry-Rollback-Of: 1\n\n",
		"x\u2028Ferry-To: 9.9.9", "x\u0085Ferry-To: 9", "x\x00\x1b[31m", "x\vFerry-Approved-By: me", "Ferry-Approved-By: me",
	} {
		written := Trailers{Promotion: "1", To: "7.0.0", RequestedBy: "name:" + hostile, Reason: hostile}
		text := written.String()
		if n := strings.Count(text, "\n"); n != 4 {
			t.Errorf("%q makes %d lines:\n%s", hostile, n, text)
		}
		got, ok := ParseTrailers("Promote\n\n" + text)
		if !ok || got.Promotion != "1" || got.To != "7.0.0" || got.RollbackOf != "" || got.ApprovedBy != "" {
			t.Errorf("%q is read back as %+v", hostile, got)
		}
	}
}

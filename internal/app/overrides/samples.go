package overrides

import (
	"slices"
	"sync"
	"time"

	"github.com/ferry-chatops/ferry/internal/chatops"
	"github.com/ferry-chatops/ferry/internal/command"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/operation"
	"github.com/ferry-chatops/ferry/internal/promotion"
	"github.com/ferry-chatops/ferry/internal/report"
	"github.com/ferry-chatops/ferry/internal/watch"
)

// samples are values to try blueprints on, by the blueprint's name: one with all that can be there, and one with little.
var samples = sync.OnceValue(func() map[string][]any {
	key := gitops.Key{Environment: "prod", Namespace: "apps", Kind: "HelmRelease", Name: "podinfo"}
	until := time.Date(2026, 1, 2, 15, 30, 0, 0, time.UTC)
	change := gitops.Change{Application: "podinfo", Environment: "prod", Confirm: "0123456789abcdef0123456789abcdef", Until: until}
	plan := gitops.Plan{
		Application: key, Kind: gitops.ChartVersion, VersionName: "podinfo", Repository: "acme/fleet", Branch: "main", From: "6.9.4", To: "7.0.0",
		Edits:    []gitops.Edit{{File: "apps/prod/podinfo.yaml", Line: 14, Path: "spec.chart.spec.version", Old: "6.9.4", New: "7.0.0"}},
		Rendered: []gitops.Rendered{{Object: gitops.Object{Kind: "HelmRelease", Namespace: "apps", Name: "podinfo"}, Path: "spec.chart.spec.version", Old: "6.9.4", New: "7.0.0"}},
		Diff:     "--- a/apps/prod/podinfo.yaml\n+++ b/apps/prod/podinfo.yaml\n@@ -14 +14 @@\n-      version: 6.9.4\n+      version: 7.0.0\n",
		Lines:    gitops.Lines{Changed: 1},
		Shared:   []string{"prod-eu"},
	}
	card := promotion.Card{Plan: plan, Direction: "upgrade", Mode: "commit to main", Until: until, Warnings: []string{"Anyone in this channel may promote."},
		Confirm: gitops.Line(gitops.Promote{Change: change, Version: "7.0.0"})}
	back := promotion.Card{Plan: plan, Rollback: true, Basis: "Git history of apps/prod/podinfo.yaml", Note: "The plan has changed.",
		Confirm: gitops.Line(gitops.Rollback{Change: change, To: "6.9.4"})}
	outcome := promotion.Outcome{
		State: promotion.RolloutFailed, Application: key, Kind: gitops.ChartVersion, From: "6.9.4", To: "7.0.0", RequestedBy: "slack:U024BE7LH", Elapsed: 12 * time.Second,
		Reason: "ImagePullBackOff", Warnings: []string{"The branch has moved."},
		Commit:      gitops.Commit{SHA: "3f2a1bc0000000000000000000000000000000aa", URL: "https://github.com/acme/fleet/commit/3f2a1bc"},
		PullRequest: gitops.PullRequest{Number: 7, URL: "https://github.com/acme/fleet/pull/7", State: "merged"},
		Steps:       []promotion.Step{{Name: "Commit", Done: true, Detail: "3f2a1bc on main"}, {Name: "Deployment apps/podinfo", Failed: true, Detail: "ImagePullBackOff"}},
		Next:        []string{"status podinfo on prod", "rollback podinfo on prod", "list podinfo"},
	}
	cell := operation.Cell{Present: true, Namespace: "apps", Version: "6.9.4", Desired: "7.0.0", Kind: gitops.ChartVersion, Health: gitops.Failed, Reason: "UpgradeFailed", Message: "timed out"}
	rows := []operation.ListRow{
		{Name: "api", Namespace: "apps", Kind: "Deployment", Cells: []operation.Cell{cell, {}}},
		{Name: "podinfo", Namespace: "apps", Kind: "HelmRelease", Cells: []operation.Cell{cell, cell}},
	}
	suggestion := operation.Suggestion{Application: "podinfo", Version: "7.0.0", To: "prod", Command: "promote podinfo@7.0.0 to prod"}
	var suggestions []operation.Suggestion
	for range 6 {
		suggestions = append(suggestions, suggestion)
	}
	all := map[string][]any{
		"card":    {card, back, promotion.Card{Plan: gitops.Plan{Application: key}}},
		"outcome": {outcome, promotion.Outcome{State: promotion.NoChange, Application: key}},
		"recent":  {promotion.Recent{Outcomes: []promotion.Outcome{outcome}, Unreachable: []string{"eu"}}, promotion.Recent{}},
		"check": {
			operation.Checkup{By: "name:root", Environments: []string{"stage", "prod"}, Sections: []operation.Section{
				operation.Observed("stage", operation.Cluster{Kubernetes: "v1.34.2", Skew: time.Minute, Subjects: []operation.Subject{{Kind: "Group", Name: "ferry"}},
					Rights: []operation.Right{{Verb: "list", Resource: "pods"}}}),
				{Title: "acme/fleet", Facts: []string{"stage: commit to main"}},
			}},
			operation.Checkup{By: "slack:U024BE7LH", Environments: []string{"prod"}},
		},
		"list": {
			operation.Listing{Environments: []string{"stage", "prod"}, Rows: rows, Unreachable: []operation.Unanswered{{Environment: "eu", Reason: "connection refused"}}},
			operation.Listing{Environments: []string{"prod"}},
		},
		"diff": {
			operation.Difference{Environment: "stage", Comparisons: []operation.Comparison{
				{Other: "prod", Same: 3, Suggestions: suggestions, Rows: []operation.DiffRow{{Application: "podinfo", Field: "version", Here: "7.0.0", There: "6.9.4"}}},
				{Other: "eu", Unreachable: "connection refused"},
			}},
			operation.Difference{Environment: "prod"},
		},
		"refusal": {
			&gitops.Refusal{Code: gitops.Ambiguous, Title: "Which one?", Reason: "podinfo runs in two namespaces.", Details: []string{"apps/podinfo"}, Snippet: "a: 1", Next: []string{"list apps/podinfo"}},
			&gitops.Refusal{},
		},
	}
	at := until.Add(-time.Hour)
	pull := watch.PullRequest{Repository: "acme/fleet", Number: 7, URL: "https://github.com/acme/fleet/pull/7", Title: "Update podinfo", Author: "jane", State: "open", Labels: []string{"release"},
		Head: watch.Side{Repository: "jane/fleet", Ref: "update", SHA: "3f2a1bc0000000000000000000000000000000aa"}, Base: watch.Side{Repository: "acme/fleet", Ref: "main"}, Created: at}
	moved := watch.Event{Key: "1#7:synchronize:3f2a1bc", Kind: watch.Synchronize, Repository: "acme/fleet", Found: at, PullRequest: &pull, Before: "90de3c1", Forced: true,
		Added: []string{"release"}, FileCount: 3, Files: []watch.File{{Name: "apps/prod/podinfo.yaml"}}, Notes: []string{"A note."}}
	bare := watch.PullRequest{Repository: "acme/fleet", Number: 8, State: "closed"}
	gone := watch.Event{Key: "acme/fleet:problem:gone", Kind: watch.Problem, Repository: "acme/fleet", Found: until, Problem: &watch.ProblemFacts{Trouble: watch.Gone, Repositories: []string{"acme/fleet"}, Reason: "It is gone.", Since: at}}
	solved := gone
	solved.Kind = watch.Solved
	all["pull"] = []any{
		chatops.Pull{Event: moved, Touched: chatops.Touched{Environments: []string{"prod"}, Applications: []string{"podinfo"}},
			Buttons: []chatops.Button{{Name: "Diff", Command: "flux diff ks podinfo"}, {Name: "Docs", URL: "https://wiki.example/7"}}},
		chatops.Pull{Event: moved, Preview: "#7"},
		chatops.Pull{Event: watch.Event{Kind: watch.Closed, Repository: "acme/fleet", PullRequest: &bare}},
	}
	all["trouble"] = []any{chatops.Trouble{Event: gone}, chatops.Trouble{Event: solved}, chatops.Trouble{Event: watch.Event{Kind: watch.Problem, Problem: &watch.ProblemFacts{}}}}
	all["sources"] = []any{
		operation.Overview{Now: until, Sources: []operation.SourceReport{{Source: "pulls", Version: "v1.2.3", Written: at, Faults: []string{"interval: wrong"}, Trouble: "It may not write.", Stretched: true,
			Accounts:     []operation.SourceAccount{{Name: "App 1", State: "paused", Reason: "limit", Until: until, Remaining: 1, Limit: 5000, Reset: until}},
			Repositories: []operation.SourceRepository{{Name: "acme/fleet", Success: at, Interval: time.Minute, Failures: 1, Error: "gone", Outbox: 1}}}}},
		operation.Overview{Now: until}, operation.Overview{Broken: 1},
	}
	object := report.Object{Object: gitops.Object{Kind: "Deployment", Namespace: "shop", Name: "web"}, Source: "Kustomization flux-system/shop", Verdict: report.Configured,
		Flags: []report.Flag{report.Restart, report.Immutable}, Reason: "It is refused.", Changes: []report.Change{{Path: "spec.replicas", Before: "1", After: "2"}}, Folded: 1}
	merging := report.Report{Repository: "acme/fleet", Number: 7, Title: "Update podinfo", URL: pull.URL, Branch: "update", Head: pull.Head.SHA, Base: "main", BaseCommit: pull.Head.SHA, Made: at, Notes: []string{"A note."},
		Environments: []report.Environment{{Environment: "prod", Objects: slices.Repeat([]report.Object{object}, 200), Drift: []report.Object{object}, Notes: []string{"A note."}}, {Environment: "eu", Error: "It does not answer."}}}
	branch := report.Report{Repository: "acme/fleet", Branch: "update", Head: pull.Head.SHA, Base: "main", BaseCommit: pull.Head.SHA}
	all["report"] = []any{report.Card{Report: merging}, report.Card{Report: branch}}
	all["making"] = []any{operation.Making{What: "acme/fleet #7", Head: pull.Head.SHA, For: 31 * time.Second, Line: "diff pr 7 --repo acme/fleet"}, operation.Making{What: "acme/fleet update", Line: "diff pr update"}}
	all["details"] = []any{report.Card{Report: merging, Environment: "prod", Page: 2}, report.Card{Report: branch, Environment: "prod"}}
	for _, topic := range []string{"", "list", "promote"} {
		if manual, err := command.Usage(topic); err == nil {
			all["help"] = append(all["help"], manual)
		}
	}
	return all
})

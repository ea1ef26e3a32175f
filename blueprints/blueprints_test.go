package blueprints_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"
	"github.com/kubeshop/botkube/pkg/api"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/blueprints"
	"github.com/ferry-chatops/ferry/internal/blueprint"
	"github.com/ferry-chatops/ferry/internal/chatops"
	"github.com/ferry-chatops/ferry/internal/command"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/operation"
	"github.com/ferry-chatops/ferry/internal/promotion"
	"github.com/ferry-chatops/ferry/internal/watch"
)

var update = flag.Bool("update", false, "write the golden files anew")

// hostile is what a stranger could put into any field that reaches a message.
const hostile = "<!channel> @everyone <@U1> 100%s 80%\n``` `x` **b** ![i](http://x/y) {{BotName}} {{ .Name }} \x1b[31m\u202etxt & \"q\" 'a'"

// A sample is a value to show by a blueprint.
type sample struct {
	name   string // BLUEPRINT-CASE
	data   any
	golden bool // small enough to be read
}

var samples = sync.OnceValue(func() []sample {
	key := gitops.Key{Environment: "prod", Namespace: "apps", Kind: "HelmRelease", Name: "podinfo"}
	cell := func(version string, health gitops.Health, reason string) operation.Cell {
		return operation.Cell{Present: true, Namespace: "apps", Version: version, Kind: gitops.ChartVersion, Health: health, Reason: reason}
	}
	listing := operation.Listing{
		Environments: []string{"stage", "prod"},
		Rows: []operation.ListRow{
			{Name: "api", Namespace: "apps", Kind: "Deployment", Cells: []operation.Cell{
				{Present: true, Namespace: "apps", Version: "v1.4.0", Kind: gitops.ImageTag, Health: gitops.Ready}, {}}},
			{Name: "podinfo", Namespace: "apps", Kind: "HelmRelease", Cells: []operation.Cell{
				cell("7.0.0", gitops.Ready, ""),
				{Present: true, Namespace: "apps", Version: "6.9.4", Desired: "7.0.0", Kind: gitops.ChartVersion, Health: gitops.Failed, Reason: "UpgradeFailed", Message: "timed out waiting for the condition"}}},
		},
	}
	unreachable := operation.Listing{Environments: []string{"stage"}, Rows: listing.Rows[1:2],
		Unreachable: []operation.Unanswered{{Environment: "prod", Reason: "connection refused"}}}
	unreachable.Rows = []operation.ListRow{{Name: "podinfo", Namespace: "apps", Kind: "HelmRelease", Cells: listing.Rows[1].Cells[:1]}}
	many := func(applications, environments int, text string) operation.Listing {
		l := operation.Listing{}
		for e := range environments {
			l.Environments = append(l.Environments, fmt.Sprintf("env-%d", e))
		}
		for a := range applications {
			row := operation.ListRow{Name: fmt.Sprintf("application-%03d", a), Namespace: "apps", Kind: "HelmRelease"}
			for e := range environments {
				c := cell(fmt.Sprintf("1.%d.%d", a, e), gitops.Ready, "")
				if (a+e)%3 == 0 {
					c.Health, c.Reason, c.Message = gitops.Failed, "UpgradeFailed", text
				}
				row.Cells = append(row.Cells, c)
			}
			l.Rows = append(l.Rows, row)
		}
		return l
	}
	hostileListing := operation.Listing{Environments: []string{"prod"}, Rows: []operation.ListRow{{Name: "podinfo", Namespace: "apps", Kind: "HelmRelease",
		Cells: []operation.Cell{{Present: true, Namespace: "apps", Version: hostile, Desired: hostile, Kind: gitops.ImageTag, Health: gitops.Failed, Reason: "X", Message: hostile}}}},
		Unreachable: []operation.Unanswered{{Environment: "eu", Reason: hostile}}}

	suggestion := operation.Suggestion{Application: "podinfo", Version: "7.0.0", To: "prod", Command: "promote podinfo@7.0.0 to prod"}
	difference := operation.Difference{Environment: "stage", Comparisons: []operation.Comparison{
		{Other: "prod", Same: 3, Suggestions: []operation.Suggestion{suggestion}, Rows: []operation.DiffRow{
			{Application: "podinfo", Field: "version", Here: "7.0.0", There: "6.9.4"}, {Application: "podinfo", Field: "replicas", Here: "1", There: "3"},
			{Application: "worker", Field: "application", Here: "0.3.0", There: "-"}}},
		{Other: "test", Same: 4}, {Other: "eu", Unreachable: "connection refused"}}}
	manyDifferences := operation.Difference{Environment: "stage"}
	for e := range 12 {
		c := operation.Comparison{Other: fmt.Sprintf("env-%d", e)}
		for a := range 500 {
			name := fmt.Sprintf("application-%03d", a)
			c.Rows = append(c.Rows, operation.DiffRow{Application: name, Field: "version", Here: strings.Repeat("7", 5000), There: "6"})
			c.Suggestions = append(c.Suggestions, operation.Suggestion{Application: name, Version: "7", To: c.Other, Command: "promote " + name + "@7 to " + c.Other})
		}
		manyDifferences.Comparisons = append(manyDifferences.Comparisons, c)
	}
	hostileDifference := operation.Difference{Environment: "stage", Comparisons: []operation.Comparison{
		{Other: "prod", Rows: []operation.DiffRow{{Application: "podinfo", Field: "image " + hostile, Here: hostile, There: "1"}}}, {Other: "eu", Unreachable: hostile}}}

	plan := gitops.Plan{Application: key, Kind: gitops.ChartVersion, VersionName: "podinfo", Repository: "acme/fleet", Branch: "main", From: "6.9.4", To: "7.0.0",
		Edits:    []gitops.Edit{{File: "apps/prod/podinfo.yaml", Line: 14, Path: "spec.chart.spec.version", Old: "6.9.4", New: "7.0.0"}},
		Rendered: []gitops.Rendered{{Object: gitops.Object{Kind: "HelmRelease", Namespace: "apps", Name: "podinfo"}, Path: "spec.chart.spec.version", Old: "6.9.4", New: "7.0.0"}},
		Lines:    gitops.Lines{Changed: 1},
		Diff:     "--- a/apps/prod/podinfo.yaml\n+++ b/apps/prod/podinfo.yaml\n@@ -11,7 +11,7 @@\n   chart:\n     spec:\n       chart: podinfo\n-      version: 6.9.4\n+      version: 7.0.0\n       sourceRef:\n         kind: HelmRepository\n         name: podinfo\n"}
	until := time.Date(2026, 1, 2, 15, 30, 0, 0, time.UTC)
	confirm := func(change gitops.Change) string {
		change.Application, change.Environment, change.Confirm, change.Until = "podinfo", "prod", "0123456789abcdef0123456789abcdef", until
		return gitops.Line(gitops.Promote{Change: change, Version: "7.0.0"})
	}
	card := promotion.Card{Plan: plan, Direction: "upgrade", Mode: "commit to main", Until: until, Confirm: confirm(gitops.Change{}),
		Warnings: []string{"Pull request #7 for it is still open: https://github.com/acme/fleet/pull/7"}, Open: true}
	back := card
	back.Open, back.Rollback, back.Basis, back.Direction = false, true, "Git history of apps/prod/podinfo.yaml and Helm's history", "downgrade"
	back.Confirm = gitops.Line(gitops.Rollback{Change: gitops.Change{Application: "podinfo", Environment: "prod", Confirm: "0123456789abcdef0123456789abcdef", Until: until}, To: "6.9.4"})
	back.Plan.From, back.Plan.To = plan.To, plan.From
	back.Plan.Rendered = []gitops.Rendered{{Object: plan.Rendered[0].Object, Path: plan.Rendered[0].Path, Old: plan.To, New: plan.From}}
	back.Plan.Diff = strings.NewReplacer("-      version: 6.9.4", "-      version: 7.0.0", "+      version: 7.0.0", "+      version: 6.9.4").Replace(plan.Diff)
	override := card
	override.Plan.Application, override.Plan.Kind, override.Plan.VersionName = gitops.Key{Environment: "prod", Namespace: "shop", Kind: "Deployment", Name: "api"}, gitops.ImageTag, "ghcr.io/acme/proxy"
	override.Plan.From, override.Plan.To, override.Direction, override.Open = "1.4.0", "stable", "newer or older is not known", false
	override.Plan.Edits = []gitops.Edit{{File: "apps/prod/kustomization.yaml", Line: 13, Path: "images[1].newTag", Old: "1.4.0", New: "stable"}}
	override.Plan.Lines, override.Plan.Diff = gitops.Lines{Added: 2}, "--- a/apps/prod/kustomization.yaml\n+++ b/apps/prod/kustomization.yaml\n@@ -11,2 +11,4 @@\n - name: ghcr.io/acme/web\n   newTag: 1.4.2\n+- name: ghcr.io/acme/proxy\n+  newTag: stable\n"
	override.Plan.Rendered = []gitops.Rendered{{Object: gitops.Object{Kind: "Deployment", Namespace: "shop", Name: "api"}, Path: "spec.template.spec.containers[name=proxy].image", Old: "ghcr.io/acme/proxy:1.4.0", New: "ghcr.io/acme/proxy:stable"}}
	override.Warnings = []string{
		"Whether the registry has ghcr.io/acme/proxy:stable is not checked.",
		"Flux has not applied ferry's commit 3f2a1bc for it yet (1.3.0 → 1.4.0): ferry status api on prod tells how far that is.",
		"2 Kustomizations depend on what changes here, flux-system/jobs, flux-system/site: Flux holds back changes there until this one is applied and ready.",
	}
	override.Confirm = gitops.Line(gitops.Promote{Change: gitops.Change{Application: "api", Environment: "prod", Image: "proxy", Override: true, Confirm: "0123456789abcdef0123456789abcdef", Until: until}, Version: "stable"})
	hostileCard := card
	hostileCard.Warnings = []string{hostile, hostile}
	hostileCard.Plan.From, hostileCard.Plan.VersionName, hostileCard.Mode, hostileCard.Plan.Diff = hostile, hostile, hostile, hostile+"\n"+hostile
	hostileCard.Plan.Rendered = []gitops.Rendered{{Object: gitops.Object{Kind: "A", Namespace: "b", Name: "c"}, Path: "x", Old: hostile, New: hostile}}
	hostileCard.Confirm = confirm(gitops.Change{Reason: strings.Join(strings.Fields(strings.NewReplacer("\x1b", "", "\u202e", "").Replace(hostile)), " ")})
	hugeCard := card
	hugeCard.Plan.Diff = "--- a/x.yaml\n+++ b/x.yaml\n" + strings.Repeat(" unchanged: &anchor <line> 100%\n", 5000)
	hugeCard.Plan.From, hugeCard.Mode, hugeCard.Basis = strings.Repeat("6", 5000), strings.Repeat("commit ", 700), strings.Repeat("é", 5000)
	hugeCard.Confirm = confirm(gitops.Change{Reason: strings.Repeat("ü", 150), Image: strings.Repeat("a", 250)})
	for i := range 500 {
		hugeCard.Plan.Shared = append(hugeCard.Plan.Shared, fmt.Sprintf("env-%d", i))
		hugeCard.Warnings = append(hugeCard.Warnings, strings.Repeat("warning ", 600))
		hugeCard.Plan.Rendered = append(hugeCard.Plan.Rendered, gitops.Rendered{Object: gitops.Object{Kind: "ConfigMap", Namespace: "apps", Name: fmt.Sprint(i)}, Path: "data", Old: strings.Repeat("o", 5000), New: "n"})
	}

	commit := gitops.Commit{SHA: "3f2a1bc0000000000000000000000000000000aa", URL: "https://github.com/acme/fleet/commit/3f2a1bc"}
	outcome := promotion.Outcome{State: promotion.Verified, Application: key, Kind: gitops.ChartVersion, From: "6.9.4", To: "7.0.0", Commit: commit, RequestedBy: "slack:U024BE7LH", Elapsed: 12300 * time.Millisecond,
		Steps: []promotion.Step{{Name: "GitRepository flux-system/fleet", Done: true, Detail: "has the commit"}, {Name: "Kustomization flux-system/apps", Done: true, Detail: "applied it"},
			{Name: "HelmRelease apps/podinfo", Done: true, Detail: "deployed 7.0.0"}, {Name: "Deployment apps/podinfo", Done: true, Detail: "3 of 3 ready"}},
		Next: []string{"list podinfo", "rollback podinfo on prod"}}
	waiting := outcome
	waiting.State, waiting.Reason, waiting.Next, waiting.Commit = promotion.WaitsForMerge, "It goes on when somebody has merged the pull request.", []string{"status podinfo on prod"}, gitops.Commit{}
	waiting.PullRequest = gitops.PullRequest{Number: 7, URL: "https://github.com/acme/fleet/pull/7", State: "open"}
	waiting.Steps = nil
	failed := outcome
	failed.State, failed.Reason, failed.Next = promotion.RolloutFailed, "podinfo-7d8: ImagePullBackOff: Back-off pulling image", []string{"status podinfo on prod", "rollback podinfo on prod"}
	failed.Steps = append(append([]promotion.Step{}, outcome.Steps[:3]...), promotion.Step{Name: "Deployment apps/podinfo", Failed: true, Detail: "ImagePullBackOff"})
	hostileOutcome := failed
	hostileOutcome.Reason, hostileOutcome.RequestedBy, hostileOutcome.From, hostileOutcome.Warnings = hostile, hostile, hostile, []string{hostile}
	hostileOutcome.Steps = []promotion.Step{{Name: hostile, Failed: true, Detail: hostile}}
	hostileOutcome.Commit.URL = "javascript:alert(1)"
	hugeOutcome := failed
	hugeOutcome.Reason = strings.Repeat("reason & <more> % ", 300)
	hugeOutcome.PullRequest.URL = "https://github.com/" + strings.Repeat("x", 5000)
	for i := range 500 {
		hugeOutcome.Warnings = append(hugeOutcome.Warnings, strings.Repeat("w", 5000))
		hugeOutcome.Steps = append(hugeOutcome.Steps, promotion.Step{Name: fmt.Sprint("step ", i), Detail: strings.Repeat("d", 5000)})
		hugeOutcome.Next = append(hugeOutcome.Next, fmt.Sprintf("status application-%03d on prod", i))
	}
	var recents []promotion.Outcome
	for range 500 {
		recents = append(recents, hugeOutcome)
	}

	right := func(verb, resource string) operation.Right {
		return operation.Right{Verb: verb, Group: "apps", Resource: resource, Namespace: "shop"}
	}
	fine := operation.Checkup{By: "slack:U024BE7LH", Environments: []string{"prod"}, Sections: []operation.Section{
		{Title: "prod", Facts: []string{"Kubernetes v1.34.2", "Flux 2.6 or later"}, Findings: []operation.Finding{operation.Clock("the API server", 0)}},
		{Title: "acme/fleet", Facts: []string{"prod: commit to main"}}}}
	checkup := operation.Checkup{By: "slack:U024BE7LH", Environments: []string{"stage", "prod"}, Sections: []operation.Section{
		operation.Observed("stage", operation.Cluster{Kubernetes: "v1.34.2", Skew: time.Minute, Subjects: []operation.Subject{{Kind: "Group", Name: "ferry"}},
			Rights: []operation.Right{right("get", "deployments"), right("list", "deployments"), right("list", "replicasets")}}),
		operation.Observed("prod", operation.Cluster{Err: &gitops.Refusal{Reason: "prod does not answer: connection refused."}}),
		fine.Sections[1]}}
	hostileCheckup := operation.Checkup{By: "name:" + hostile, Environments: []string{"prod"}, Sections: []operation.Section{
		operation.Observed("prod", operation.Cluster{Kubernetes: hostile, Subjects: []operation.Subject{{Kind: "User", Name: hostile}}, Rights: []operation.Right{right("list", "pods")}}),
		{Title: "acme/fleet", Facts: []string{hostile}, Findings: []operation.Finding{{State: operation.Missing, Text: hostile, Fix: hostile, With: hostile}}}}}
	hugeCheckup := operation.Checkup{By: strings.Repeat("b", 5000)}
	for i := range 500 {
		e := fmt.Sprintf("env-%d", i)
		hugeCheckup.Environments = append(hugeCheckup.Environments, e)
		hugeCheckup.Sections = append(hugeCheckup.Sections, operation.Section{Title: e, Facts: []string{strings.Repeat("fact ", 1000)}, Findings: []operation.Finding{
			{State: operation.Missing, Text: strings.Repeat("text ", 1000), Fix: strings.Repeat("fix\n", 1000), With: "by hand"}}})
	}

	_, usage := command.Parse("promote podinfo")
	refusal := &gitops.Refusal{Code: gitops.Ambiguous, Reason: "podinfo runs in two namespaces.", Details: []string{"apps/podinfo", "demo/podinfo"}, Next: []string{"list apps/podinfo", "list demo/podinfo"}}
	hugeRefusal := &gitops.Refusal{Code: gitops.NoSuchVersion, Reason: strings.Repeat("no ", 1700)}
	for i := range 500 {
		hugeRefusal.Details = append(hugeRefusal.Details, strings.Repeat("detail ", 700))
		hugeRefusal.Next = append(hugeRefusal.Next, fmt.Sprintf("list application-%03d", i))
	}

	all := []sample{
		{"list-small", listing, true}, {"list-unreachable", unreachable, true}, {"list-empty", operation.Listing{Environments: []string{"prod"}}, true}, {"list-hostile", hostileListing, true},
		{"list-thirty", many(30, 2, "timed out"), false}, {"list-wide", many(3, 12, "timed out"), false}, {"list-huge", many(500, 3, strings.Repeat("long ", 1000)), false},
		{"diff-small", difference, true}, {"diff-empty", operation.Difference{Environment: "prod"}, true}, {"diff-hostile", hostileDifference, true}, {"diff-huge", manyDifferences, false},
		{"card-small", card, true}, {"card-rollback", back, true}, {"card-override", override, true}, {"card-empty", promotion.Card{Plan: gitops.Plan{Application: key}}, true}, {"card-hostile", hostileCard, true}, {"card-huge", hugeCard, false},
		{"outcome-small", outcome, true}, {"outcome-waiting", waiting, true}, {"outcome-failed", failed, true}, {"outcome-empty", promotion.Outcome{State: promotion.NoChange, Application: key}, true}, {"outcome-hostile", hostileOutcome, true}, {"outcome-huge", hugeOutcome, false},
		{"refusal-small", refusal, true}, {"refusal-usage", usage, true}, {"refusal-empty", &gitops.Refusal{}, true}, {"refusal-huge", hugeRefusal, false},
		{"refusal-hostile", &gitops.Refusal{Title: hostile, Reason: hostile, Details: []string{hostile}}, true},
		{"recent-small", promotion.Recent{Outcomes: []promotion.Outcome{outcome, failed}}, true}, {"recent-empty", promotion.Recent{}, true}, {"recent-unreachable", promotion.Recent{Unreachable: []string{"prod: It did not answer in time."}}, true}, {"recent-hostile", promotion.Recent{Outcomes: []promotion.Outcome{hostileOutcome}}, true}, {"recent-huge", promotion.Recent{Outcomes: recents}, false},
	}
	all = append(all, sample{"check-fine", fine, true}, sample{"check-small", checkup, true}, sample{"check-empty", operation.Checkup{}, true},
		sample{"check-hostile", hostileCheckup, true}, sample{"check-huge", hugeCheckup, false})
	all = append(all, pulls()...)
	all = append(all, reports()...)
	all = append(all, diffs()...)
	for _, topic := range []string{"", "list", "diff", "promote", "rollback", "status", "check", "help"} {
		manual, err := command.Usage(topic)
		if err != nil {
			panic(err)
		}
		all = append(all, sample{"help-" + topic, manual, topic == "" || topic == "promote"})
	}
	return all
})

// pulls are those of what the source tells.
func pulls() []sample {
	at := time.Date(2026, 1, 2, 15, 0, 0, 0, time.UTC)
	pull := watch.PullRequest{Repository: "acme/fleet", Number: 7, URL: "https://github.com/acme/fleet/pull/7", Title: "Update podinfo to 7.0.0", Author: "jane", State: "open",
		Labels: []string{"bug", "release"}, Head: watch.Side{Repository: "jane/fleet", Ref: "update", SHA: "3f2a1bc0000000000000000000000000000000aa"},
		Base: watch.Side{Repository: "acme/fleet", Ref: "main", SHA: "90de3c10000000000000000000000000000000aa"}, Created: at, Updated: at}
	opened := chatops.Pull{Event: watch.Event{Key: "1#7:opened:3f2a1bc0000000000000000000000000000000aa", Kind: watch.Opened, Repository: "acme/fleet", Found: at, PullRequest: &pull, FileCount: 3},
		Followed: true, Touched: chatops.Touched{Environments: []string{"prod", "stage"}, Applications: []string{"podinfo"}},
		Buttons: []chatops.Button{{Name: "Flux Diff", Command: "flux diff ks podinfo --path ./kustomize --github-ref https://github.com/acme/fleet/pull/7"}, {Name: "Docs", URL: "https://wiki.example/7", Style: "danger"}}}
	pushed := opened
	pushed.Event.Kind, pushed.Event.Before, pushed.Event.Forced, pushed.Event.FileCount = watch.Synchronize, "90de3c10000000000000000000000000000000aa", true, -1
	pushed.Buttons, pushed.Touched = nil, chatops.Touched{}
	pushed.Notes = []string{"The button Flux Diff is left out: what this pull request would put into its command is not safe there."}
	gone := watch.PullRequest{Repository: "acme/fleet", Number: 8, URL: "https://github.com/acme/fleet/pull/8", State: "closed", Merged: at}
	empty := chatops.Pull{Event: watch.Event{Key: "1#8:merged:", Kind: watch.Merged, Repository: "acme/fleet", PullRequest: &gone}}
	preview := opened
	preview.Preview = "Update podinfo\n\n#7 by jane\nState: open"
	bad := watch.PullRequest{Repository: "acme/fleet", Number: 9, URL: "https://github.com/acme/fleet/pull/9", Title: hostile, Author: hostile, State: "open", Draft: true,
		Labels: []string{hostile}, Head: watch.Side{Repository: "jane/fleet", Ref: hostile}, Base: watch.Side{Repository: "acme/fleet", Ref: hostile}}
	strange := chatops.Pull{Event: watch.Event{Key: "1#9:labelled:0", Kind: watch.Labelled, Repository: "acme/fleet", PullRequest: &bad, Added: []string{hostile}, Notes: []string{hostile}},
		Touched: chatops.Touched{Environments: []string{"prod"}, Applications: []string{hostile}}, Buttons: []chatops.Button{{Name: hostile, URL: "https://wiki.example/9"}}}
	strangePreview := strange
	strangePreview.Preview = hostile
	long := bad
	long.Title, long.Author, long.Labels = strings.Repeat("title ", 2000), strings.Repeat("a", 500), slices.Repeat([]string{strings.Repeat("label ", 100)}, 100)
	long.Head.Ref, long.Base.Ref = strings.Repeat("h", 5000), strings.Repeat("b", 5000)
	huge := chatops.Pull{Event: watch.Event{Key: "1#9:retargeted:0", Kind: watch.Retargeted, Repository: "acme/" + strings.Repeat("r", 100), PullRequest: &long, Before: strings.Repeat("c", 5000),
		Notes: slices.Repeat([]string{strings.Repeat("note ", 100)}, 50)}, Preview: strings.Repeat("preview\n", 1000),
		Touched: chatops.Touched{Environments: slices.Repeat([]string{"environment"}, 500), Applications: slices.Repeat([]string{"application"}, 500)}}
	for i := range 40 {
		huge.Buttons = append(huge.Buttons, chatops.Button{Name: strings.Repeat("name ", 20), Command: fmt.Sprintf("flux get %d %s", i, strings.Repeat("x", 300))},
			chatops.Button{Name: "Site", URL: fmt.Sprintf("https://wiki.example/%d/%s", i, strings.Repeat("x", 300))})
	}
	facts := watch.ProblemFacts{Trouble: watch.Gone, Repositories: []string{"acme/fleet"}, Reason: "GitHub says that there is no such repository, or ferry's credential may not see it.", Since: at.Add(-time.Hour)}
	trouble := chatops.Trouble{Event: watch.Event{Key: "acme/fleet:problem:gone", Kind: watch.Problem, Repository: "acme/fleet", Found: at, Problem: &facts}}
	solved := trouble
	solved.Event.Kind = watch.Solved
	all := trouble
	all.Event.Problem = &watch.ProblemFacts{Trouble: watch.Lost}
	worst := trouble
	worst.Event.Problem = &watch.ProblemFacts{Trouble: watch.Failing, Repositories: slices.Repeat([]string{"acme/" + strings.Repeat("r", 90)}, 300), Reason: strings.Repeat(hostile, 50)}
	return []sample{
		{"pull-opened", opened, true}, {"pull-pushed", pushed, true}, {"pull-empty", empty, true}, {"pull-preview", preview, true}, {"pull-hostile", strange, true},
		{"pull-hostilepreview", strangePreview, true}, {"pull-huge", huge, false},
		{"trouble-problem", trouble, true}, {"trouble-solved", solved, true}, {"trouble-empty", all, true}, {"trouble-hostile", worst, false},
	}
}

// reports are those of what sources write of themselves.
func reports() []sample {
	now := time.Date(2026, 1, 2, 15, 0, 0, 0, time.UTC)
	fine := operation.SourceReport{Source: "pulls", Version: "v1.2.3", Written: now.Add(-12 * time.Second),
		Accounts:     []operation.SourceAccount{{Name: "App 1", State: "good", Remaining: 4980, Limit: 5000, Reset: now.Add(time.Hour), Points: 20, Unchanged: 411}},
		Repositories: []operation.SourceRepository{{Name: "acme/apps", Success: now.Add(-31 * time.Second), Interval: 30 * time.Second}, {Name: "acme/fleet", Interval: 30 * time.Second, Failures: 3, Error: "GitHub says that there is no such repository", Outbox: 1}}}
	late := operation.SourceReport{Source: "old", Written: now.Add(-time.Hour), Stretched: true, Trouble: "ferry may not update the ConfigMap.", Faults: []string{"repositories[1].name: write OWNER/NAME"},
		Accounts: []operation.SourceAccount{{Name: "token for acme", State: "paused", Reason: "the budget of this hour is used up", Until: now.Add(time.Minute)}}}
	bad := operation.SourceReport{Source: hostile, Version: hostile, Trouble: hostile, Faults: []string{hostile}, Accounts: []operation.SourceAccount{{Name: hostile, State: hostile, Reason: hostile}},
		Repositories: []operation.SourceRepository{{Name: hostile, Failures: 1, Error: hostile}}}
	huge := operation.Overview{Now: now}
	for range 20 {
		r := bad
		r.Repositories = slices.Repeat([]operation.SourceRepository{{Name: "acme/" + strings.Repeat("r", 100), Failures: 1, Error: strings.Repeat("error ", 1000)}}, 1000)
		r.Accounts = slices.Repeat(late.Accounts, 100)
		huge.Sources = append(huge.Sources, r)
	}
	return []sample{
		{"sources-small", operation.Overview{Now: now, Sources: []operation.SourceReport{late, fine}}, true}, {"sources-empty", operation.Overview{Now: now}, true},
		{"sources-broken", operation.Overview{Now: now, Broken: 1}, true}, {"sources-hostile", operation.Overview{Now: now, Sources: []operation.SourceReport{bad}}, true}, {"sources-huge", huge, false},
	}
}

// unasked says that nobody asked for a message: it is one post, whatever is in it.
func (s sample) unasked() bool { return s.blueprint() == "pull" || s.blueprint() == "trouble" }

func (s sample) platform(kind string) blueprint.Platform {
	p := platforms[kind]
	p.Unasked = s.unasked()
	return p
}

func (s sample) blueprint() string {
	name, _, _ := strings.Cut(s.name, "-")
	return name
}

func load(t *testing.T) *blueprint.Set {
	t.Helper()
	set, err := blueprint.Load(blueprints.Files)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

var platforms = map[string]blueprint.Platform{
	"blocks": {Interactive: true, Plugin: "ferry"},
	"text":   {Plugin: "ferry"},
}

func TestGolden(t *testing.T) {
	set := load(t)
	for _, s := range samples() {
		if !s.golden {
			continue
		}
		for kind := range platforms {
			t.Run(s.name+"/"+kind, func(t *testing.T) {
				messages, err := set.Messages(s.blueprint(), s.data, s.platform(kind))
				if err != nil {
					t.Fatal(err)
				}
				got, err := readable(messages)
				if err != nil {
					t.Fatal(err)
				}
				file := filepath.Join("testdata", s.name+"."+kind+".yaml")
				if *update {
					if err := os.WriteFile(file, got, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), string(got)); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// readable writes messages as YAML without empty fields.
func readable(messages []api.Message) ([]byte, error) {
	raw, err := json.Marshal(messages)
	if err != nil {
		return nil, err
	}
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return nil, err
	}
	return yaml.Marshal(withoutEmpty(value))
}

func withoutEmpty(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			value = withoutEmpty(value)
			if m, ok := value.(map[string]any); ok && len(m) == 0 || value == "" || value == false || key == "timestamp" {
				delete(v, key)
			}
		}
	case []any:
		for i := range v {
			v[i] = withoutEmpty(v[i])
		}
	}
	return v
}

func TestEveryBlueprintHasSamplesAndFitsTheSchema(t *testing.T) {
	raw, err := fs.ReadFile(blueprints.Files, "schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema jsonschema.Schema
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	resolved, err := schema.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Glob(blueprints.Files, "*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	first := regexp.MustCompile(`^# Shown (when|after) .+\. Data: .+\.\n`)
	for _, file := range files {
		raw, err := fs.ReadFile(blueprints.Files, file)
		if err != nil {
			t.Fatal(err)
		}
		if !first.Match(raw) {
			t.Errorf("%s does not begin with a comment that says when it is shown and what its data are", file)
		}
		var value any
		if err := yaml.Unmarshal(raw, &value); err != nil {
			t.Fatal(err)
		}
		if err := resolved.Validate(value); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		n := 0
		for _, s := range samples() {
			if s.blueprint()+".yaml" == file {
				n++
			}
		}
		if n < 3 {
			t.Errorf("%s has %d samples", file, n)
		}
	}
}

// What Slack, Botkube and Discord refuse, cut or change, no message may hold.
func TestLimits(t *testing.T) {
	set := load(t)
	for _, s := range allSamples() {
		t.Run(s.name, func(t *testing.T) {
			messages, err := set.Messages(s.blueprint(), s.data, s.platform("blocks"))
			if err != nil {
				t.Fatal(err)
			}
			if len(messages) == 0 || len(messages) > 15 || s.unasked() && len(messages) > 1 {
				t.Errorf("%d messages", len(messages))
			}
			for i, m := range messages {
				checkSlack(t, i, m)
			}
			messages, err = set.Messages(s.blueprint(), s.data, s.platform("text"))
			if err != nil {
				t.Fatal(err)
			}
			if len(messages) != 1 || len(messages[0].Sections) != 0 {
				t.Fatalf("%d messages, want one of text", len(messages))
			}
			text := messages[0].BaseBody.Plaintext
			if n := len(text); n == 0 || n > 1700 && (n <= 2000 || s.unasked()) {
				t.Errorf("%d bytes are too long for Discord and too short for a file", n)
			}
			if strings.Count(text, "```")%2 != 0 || !utf8.ValidString(text) {
				t.Errorf("broken text: %s", text)
			}
			harmless(t, text)
			if strings.Contains(text, "](") {
				t.Errorf("%q holds a link or an image", text)
			}
			for _, typed := range regexp.MustCompile("`ferry ([^`]*)`").FindAllStringSubmatch(text, -1) {
				if _, err := command.Parse(typed[1]); err != nil {
					t.Errorf("%q: %v", typed[1], err)
				}
			}
		})
	}
}

func checkSlack(t *testing.T, i int, m api.Message) {
	t.Helper()
	const bot = "<@U024BE7LHXY>"
	if m.Type != api.DefaultMessage && m.Type != blueprint.Refused {
		t.Errorf("message %d is a %s: Slack's dialogs get no title from Botkube, and other types lose their body elsewhere", i, m.Type)
	}
	if len(m.PlaintextInputs) > 0 || m.OnlyVisibleForYou || m.UserHandle != "" || m.ParentActivityID != "" {
		t.Errorf("message %d asks for what Botkube drops where the message is a file", i)
	}
	m.ReplaceBotNamePlaceholder(bot)
	if n := len(markdown(m)); n >= 2900 || n == 0 {
		t.Errorf("message %d has %d bytes of Markdown", i, n)
	}
	long := func(what string, text string, limit int) {
		if n := utf8.RuneCountInString(text); n > limit {
			t.Errorf("message %d: %s has %d characters, %d are the limit", i, what, n, limit)
		}
		if !utf8.ValidString(text) {
			t.Errorf("message %d: %s is not valid UTF-8: %q", i, what, text)
		}
	}
	// shown is text that Slack's renderer formats first; sprintf says so.
	shown := func(what, text string, sprintf bool) {
		if sprintf {
			if text = fmt.Sprintf(text, []any{}...); strings.Contains(text, "%!") {
				t.Errorf("message %d: %s becomes %s", i, what, text)
			}
		}
		long(what, text, 3000)
		harmless(t, text)
		if strings.ContainsAny(text, "<>") {
			t.Errorf("message %d: %s is not escaped: %s", i, what, text)
		}
	}
	if len(m.Sections) == 0 {
		shown("base body", m.BaseBody.Plaintext, false)
		shown("code", m.BaseBody.CodeBlock, false)
		if m.BaseBody.CodeBlock == "" || strings.Contains(m.BaseBody.CodeBlock, "```") {
			t.Errorf("message %d: code %q", i, m.BaseBody.CodeBlock)
		}
		return
	}
	ids := map[string]bool{}
	unique := func(id string) {
		if ids[id] {
			t.Errorf("message %d: id %q is used twice", i, id)
		}
		ids[id] = true
	}
	blocks := 0
	runs := func(cmd string) {
		plugin, rest, ok := strings.Cut(strings.TrimPrefix(cmd, bot+" "), " --bk-cmd-header='")
		if !ok || strings.Contains(plugin, " ") || !strings.HasPrefix(cmd, bot+" ") {
			t.Errorf("message %d: command %q has no address", i, cmd)
		}
		if _, err := command.Parse(cmd); err != nil && plugin == "ferry" {
			t.Errorf("message %d: %q: %v", i, cmd, err)
		}
		if strings.ContainsAny(rest, "()`;&|<>\\\n") || strings.Count(rest, "'") != 1 || strings.Count(rest, `"`)%2 != 0 {
			t.Errorf("message %d: %q does not pass through the host", i, cmd)
		}
	}
	for _, s := range m.Sections {
		blocks += 5
		if s.Header == "" && s.Description == "" && s.Body == (api.Body{}) && len(s.TextFields)+len(s.BulletLists)+len(s.Buttons)+len(s.Selects.Items)+len(s.Context) == 0 {
			t.Errorf("message %d has an empty section", i)
		}
		shown("header", s.Header, false)
		shown("description", s.Description, true)
		shown("plain text", s.Body.Plaintext, true)
		shown("code", s.Body.CodeBlock, true)
		if strings.Contains(s.Body.CodeBlock, "```") {
			t.Errorf("message %d: code %q", i, s.Body.CodeBlock)
		}
		if len(s.TextFields) > 10 {
			t.Errorf("message %d: %d fields", i, len(s.TextFields))
		}
		for _, f := range s.TextFields {
			shown("field", f.Key+f.Value, false)
			long("field", f.Key+f.Value, 1990)
		}
		for _, l := range s.BulletLists {
			if l.Title == "" || len(l.Items) == 0 {
				t.Errorf("message %d: list %+v", i, l)
			}
			shown("list", l.Title+strings.Join(l.Items, "\n• "), true)
		}
		if len(s.Buttons) > 25 {
			t.Errorf("message %d: %d buttons", i, len(s.Buttons))
		}
		for _, b := range s.Buttons {
			long("button name", b.Name, 75)
			long("button command", b.Command, 2000)
			long("button address", b.URL, 3000)
			if b.Name == "" {
				t.Errorf("message %d: a button without a name", i)
			}
			if b.Command != "" {
				unique(b.Command[:min(len(b.Command), 250)])
				runs(b.Command)
			} else {
				unique(b.URL[:min(len(b.URL), 250)])
			}
		}
		if len(s.Selects.Items) > 0 {
			unique(s.Selects.ID)
		}
		for _, c := range s.Selects.Items {
			unique(c.Command)
			long("select command", c.Command, 255)
			long("placeholder", c.Name, 150)
			for _, g := range c.OptionGroups {
				long("group", g.Name, 75)
				if len(g.Options) == 0 || len(g.Options) > 100 {
					t.Errorf("message %d: %d options", i, len(g.Options))
				}
				for _, o := range g.Options {
					long("option", o.Name, 75)
					long("option", o.Value, 75)
					runs(c.Command + " " + o.Value)
				}
			}
		}
		for _, c := range s.Context {
			blocks++
			shown("context", c.Text, false)
		}
	}
	if blocks > 50 {
		t.Errorf("message %d: %d blocks", i, blocks)
	}
}

func harmless(t *testing.T, text string) {
	t.Helper()
	for _, bad := range []string{"@everyone", "@here", "@channel", "@all", "<!", "<@", "<#", "{{BotName}}", "\x00", "\x1b", "\u202e", "\u2066", "\u061c"} {
		if strings.Contains(text, bad) {
			t.Errorf("%q holds %q", text, bad)
		}
	}
}

// markdown is what Botkube measures: its interactive.RenderMessage with Slack's formatters.
func markdown(m api.Message) string {
	var b strings.Builder
	line := func(s string) { b.WriteString(s + "\n") }
	bold := func(s string) string { return "*" + s + "*" }
	block := func(s string) string { return "```\n" + strings.TrimSpace(s) + "\n```" }
	if m.BaseBody.Plaintext != "" {
		line(m.BaseBody.Plaintext)
	}
	if m.BaseBody.CodeBlock != "" {
		line(block(m.BaseBody.CodeBlock))
	}
	for _, s := range m.Sections {
		line("")
		line(bold(s.Header))
		if len(s.TextFields) > 0 {
			line(bold("Fields"))
			for _, f := range s.TextFields {
				line(fmt.Sprintf(" • %s: %s", bold(f.Key), f.Value))
			}
			line("")
		}
		line(s.Description)
		line(s.Body.Plaintext)
		if s.Body.CodeBlock != "" {
			line(block(s.Body.CodeBlock))
		}
		for _, l := range s.BulletLists {
			line("")
			line(bold(l.Title))
			for _, item := range l.Items {
				line(" • " + item)
			}
		}
		if len(s.Selects.Items) > 0 {
			line("")
			line(bold("Available options"))
		}
		for _, c := range s.Selects.Items {
			for _, g := range c.OptionGroups {
				line(" • " + g.Name)
				for _, o := range g.Options {
					line("    • `" + o.Value + "`")
				}
			}
		}
		for _, button := range s.Buttons {
			if button.URL != "" {
				line(button.Name + ": " + button.URL)
			} else {
				line("  • `" + button.Command + "`")
			}
		}
		for _, c := range s.Context {
			line(c.Text)
		}
	}
	return b.String()
}

// messagesDir is where internal/hosttest finds what it sends through Botkube.
func messagesDir() string {
	if dir := os.Getenv("FERRY_MESSAGES_OUT"); dir != "" {
		return dir
	}
	return filepath.Join("..", "bin", "messages")
}

// TestWriteMessages writes every sample as JSON, for a run through Botkube's own renderers and its command parser,
// which live in a module of their own.
func TestWriteMessages(t *testing.T) {
	dir := messagesDir()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	type file struct {
		Name        string        `json:"name"`
		Interactive bool          `json:"interactive"`
		Messages    []api.Message `json:"messages"`
		Commands    []written     `json:"commands"`
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.json")) // of samples that there are no more
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range old {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	set := load(t)
	for _, s := range allSamples() {
		for kind, platform := range platforms {
			messages, err := set.Messages(s.blueprint(), s.data, s.platform(kind))
			if err != nil {
				t.Fatal(err)
			}
			out := file{s.name, platform.Interactive, messages, commands(t, messages)}
			raw, err := json.MarshalIndent(out, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			name := filepath.Join(dir, s.name+"."+kind+".json")
			if err := os.WriteFile(name, raw, 0o644); err != nil {
				t.Fatal(err)
			}
			if back, err := os.ReadFile(name); err != nil || !bytes.Equal(back, raw) {
				t.Fatalf("read %s back: %v", name, err)
			}
		}
	}
}

package blueprints_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/operation"
	"github.com/ferry-chatops/ferry/internal/report"
)

// diffs are those of what merging a pull request would do.
func diffs() []sample {
	object := func(kind, name string) gitops.Object { return gitops.Object{Kind: kind, Namespace: "shop", Name: name} }
	image := report.Change{Path: "spec.template.spec.containers[name=web].image", Before: "ghcr.io/acme/web:1.4.2", After: "ghcr.io/acme/web:1.5.0"}
	web := report.Object{Object: object("Deployment", "web"), Source: "Kustomization flux-system/shop", Verdict: report.Configured, Flags: []report.Flag{report.Restart}, Changes: []report.Change{image}}
	config := report.Object{Object: object("ConfigMap", "web"), Source: "Kustomization flux-system/shop", Verdict: report.Configured, Changes: []report.Change{
		{Path: `data["nginx.conf"]`, Before: "server {\n  listen 80;\n  location / {\n    proxy_pass http://web;\n  }\n}\n", After: "server {\n  listen 8080;\n  location / {\n    proxy_pass http://web;\n    proxy_read_timeout 90%s;\n  }\n}\n"},
		{Path: `data["values.yaml"]|db.password`, Before: "***", After: "*** (changed)"},
	}, Folded: 2}
	config.Flags = []report.Flag{report.Secret}
	gone := report.Object{Object: gitops.Object{Kind: "Namespace", Name: "legacy"}, Source: "Kustomization flux-system/shop", Verdict: report.Deleted, Flags: []report.Flag{report.Namespace}, Changes: []report.Change{{Before: "kind: Namespace"}}}
	added := report.Object{Object: object("Service", "web-metrics"), Source: "HelmRelease shop/web", Verdict: report.Created, Changes: []report.Change{{After: "apiVersion: v1\nkind: Service\nmetadata:\n  name: web-metrics\n  namespace: shop\nspec:\n  ports:\n  - name: metrics\n    port: 9797"}}}
	job := report.Object{Object: object("Job", "migrate"), Source: "Kustomization flux-system/shop", Verdict: report.Configured, Flags: []report.Flag{report.Immutable}, Reason: "spec.template: field is immutable.",
		Changes: []report.Change{{Path: "spec.template.spec.containers[name=migrate].image", Before: "ghcr.io/acme/web:1.4.2", After: "ghcr.io/acme/web:1.5.0"}}}
	noise := report.Object{Object: object("ServiceAccount", "web"), Source: "HelmRelease shop/web", Verdict: report.Unchanged, Folded: 1}
	drifted := report.Object{Object: object("Deployment", "api"), Source: "Kustomization flux-system/shop", Verdict: report.Configured, Changes: []report.Change{{Path: "spec.replicas", Before: "5", After: "2"}}}

	small := report.Report{Repository: "acme/fleet", Number: 12, Title: "Update web to 1.5.0", URL: "https://github.com/acme/fleet/pull/12", Branch: "web-1.5.0", Head: "3f2a1bc0000000000000000000000000000000aa",
		Base: "main", BaseCommit: "90de3c10000000000000000000000000000000aa", Made: time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC),
		Environments: []report.Environment{{Environment: "stage", Objects: []report.Object{web}}}}
	usual := small
	usual.Notes = []string{"apps/base/web.yaml was changed on main too; the merged file is shown."}
	usual.Environments = []report.Environment{
		{Environment: "stage", Objects: []report.Object{web, config, noise, added}},
		{Environment: "prod", Objects: []report.Object{web, config, gone, job, noise, added}, Drift: []report.Object{drifted}, Notes: []string{"ferry may not do a dry run in shop: compared with the live objects."}},
		{Environment: "eu", Error: "The cluster does not answer: connection refused."},
	}
	branch := small
	branch.Number, branch.URL, branch.Title, branch.Environments = 0, "", "", nil

	forty := small
	forty.Environments = nil
	for _, name := range []string{"dev", "stage", "prod", "prod-eu"} {
		e := report.Environment{Environment: name}
		for i := range 40 {
			o := web
			o.Name = fmt.Sprintf("service-%02d", i)
			if i%10 == 3 {
				o = config
				o.Name = fmt.Sprintf("service-%02d", i)
			}
			e.Objects = append(e.Objects, o)
		}
		e.Objects = append(e.Objects, gone)
		forty.Environments = append(forty.Environments, e)
	}
	huge := small
	huge.Title = strings.Repeat("title ", 500)
	huge.Environments = nil
	for n := range 30 {
		e := report.Environment{Environment: fmt.Sprintf("cluster-%02d", n)}
		for i := range 100 {
			o := config
			o.Name, o.Flags, o.Reason = fmt.Sprintf("%s-%04d", strings.Repeat("n", 200), n*100+i), []report.Flag{report.CRD, report.Immutable, report.Replaced, report.Unready, report.Namespace}, strings.Repeat("because ", 500)
			e.Objects = append(e.Objects, o)
		}
		e.Notes = []string{strings.Repeat("note ", 1000)}
		huge.Environments = append(huge.Environments, e)
	}
	long := small
	var before, after strings.Builder
	for i := range 15000 {
		fmt.Fprintf(&before, "line %d <b>%%\n", i)
		fmt.Fprintf(&after, "line %d <i>%%\n", i)
	}
	long.Environments = []report.Environment{{Environment: "prod", Objects: []report.Object{{Object: object("ConfigMap", "big"), Verdict: report.Configured, Changes: []report.Change{
		{Path: "data.big", Before: before.String(), After: after.String()}, {Path: "data.line", Before: strings.Repeat("x", 20000), After: strings.Repeat("é", 20000)}}}}}}
	for i := range 400 {
		o := config
		o.Name = fmt.Sprint("more-", i)
		long.Environments[0].Objects = append(long.Environments[0].Objects, o)
	}
	bad := usual
	bad.Title, bad.Branch, bad.Base, bad.Notes = hostile, hostile, hostile, []string{hostile}
	strange := report.Object{Object: gitops.Object{Kind: hostile, Namespace: hostile, Name: hostile}, Source: hostile, Verdict: report.Configured, Reason: hostile,
		Flags:   []report.Flag{report.Immutable, report.CRD},
		Changes: []report.Change{{Path: hostile, Before: hostile, After: "a\n" + hostile}, {Path: "x", Before: "80%", After: "`90%` ``` &<>"}}}
	bad.Environments = []report.Environment{{Environment: "prod", Objects: []report.Object{strange}, Notes: []string{hostile}}, {Environment: "eu", Error: hostile}}

	making := operation.Making{What: "acme/fleet #7", Head: small.Head, For: 31 * time.Second, Line: "diff pr 7 --repo acme/fleet"}
	return []sample{
		{"making-small", making, true}, {"making-branch", operation.Making{What: "acme/fleet update", Head: small.Head, Line: "diff pr update"}, true}, {"making-hostile", operation.Making{What: hostile, Head: small.Head, Line: making.Line}, true},
		{"report-small", report.Card{Report: small}, true}, {"report-usual", report.Card{Report: usual}, true}, {"report-empty", report.Card{Report: branch}, true},
		{"report-hostile", report.Card{Report: bad}, true}, {"report-forty", report.Card{Report: forty}, true}, {"report-huge", report.Card{Report: huge}, false}, {"report-long", report.Card{Report: long}, false},
		{"details-small", report.Card{Report: small, Environment: "stage", Page: 1}, true}, {"details-usual", report.Card{Report: usual, Environment: "prod", Page: 1}, true},
		{"details-empty", report.Card{Report: branch, Environment: "prod", Page: 1}, true}, {"details-failed", report.Card{Report: usual, Environment: "eu", Page: 1}, true},
		{"details-hostile", report.Card{Report: bad, Environment: "prod", Page: 1}, true}, {"details-forty", report.Card{Report: forty, Environment: "prod", Page: 2}, false},
		{"details-huge", report.Card{Report: huge, Environment: "cluster-07", Page: 3}, false}, {"details-long", report.Card{Report: long, Environment: "prod", Page: 2}, false},
	}
}

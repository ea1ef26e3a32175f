package command

import (
	"errors"
	"fmt"
	"html"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

func change(app, env string) gitops.Change { return gitops.Change{Application: app, Environment: env} }

func TestParse(t *testing.T) {
	zeros, ones := strings.Repeat("0", 64), strings.Repeat("1", 40)
	linked := gitops.Review{Number: 7, Host: "github.com", Repository: "acme/fleet"}
	confirmed := change("podinfo", "prod")
	confirmed.Confirm, confirmed.Until = "0123456789abcdef0123456789abcdef", time.Unix(1750000000, 0).UTC()
	all := change("HelmRelease/apps/podinfo", "prod")
	all.Image, all.Reason, all.Shared, all.PullRequest, all.Yes = "ghcr.io/x/podinfo", "fixes it", true, true, true
	chart := change("apps/podinfo", "prod")
	chart.Chart = true
	reason := func(text string) gitops.Request {
		c := change("a", "b")
		c.Reason = text
		return gitops.Promote{Change: c, Version: "1"}
	}
	plain := gitops.Promote{Change: change("podinfo", "prod"), Version: "7.0.0"}

	for line, want := range map[string]gitops.Request{
		"":                                       gitops.Help{},
		"   ":                                    gitops.Help{},
		"ferry":                                  gitops.Help{},
		"ferry --help":                           gitops.Help{},
		"promote -h":                             gitops.Help{Topic: "promote"},
		"promote podinfo --help":                 gitops.Help{Topic: "promote"},
		"help":                                   gitops.Help{},
		"help Promote":                           gitops.Help{Topic: "promote"},
		"list":                                   gitops.List{},
		"LIST":                                   gitops.List{},
		"@botkube ferry list":                    gitops.List{},
		"<@U024BE7LH> ferry list":                gitops.List{},
		"ferry list podinfo":                     gitops.List{Application: "podinfo"},
		"list diff":                              gitops.List{Application: "diff"},
		"diff list":                              gitops.Diff{Environment: "list"},
		"promote promote@1 to list":              gitops.Promote{Change: change("promote", "list"), Version: "1"},
		"list ferry":                             gitops.List{Application: "ferry"},
		"list apps/podinfo":                      gitops.List{Application: "apps/podinfo"},
		"list helmrelease/apps/Pod":              gitops.List{Application: "HelmRelease/apps/Pod"},
		"list apps/source":                       gitops.List{Application: "apps/source"},
		"diff stage":                             gitops.Diff{Environment: "stage"},
		"diff stage prod":                        gitops.Diff{Environment: "stage", Other: "prod"},
		"diff stage to prod":                     gitops.Diff{Environment: "stage", Other: "prod"},
		"diff on stage with prod":                gitops.Diff{Environment: "stage", Other: "prod"},
		"diff prod-eu against prod":              gitops.Diff{Environment: "prod-eu", Other: "prod"},
		"diff pr 7":                              gitops.Review{Number: 7},
		"ferry diff PR #7":                       gitops.Review{Number: 7},
		"diff pr 7 --repo acme/fleet --env prod": gitops.Review{Number: 7, Repository: "acme/fleet", Environment: "prod"},
		"diff pr --env=prod 7":                   gitops.Review{Number: 7, Environment: "prod"},
		"diff pr 7 on prod":                      gitops.Review{Number: 7, Environment: "prod"},
		"diff pr 7 --env prod --page 2 --refresh --repo acme/fleet --head " + ones: gitops.Review{Number: 7, Environment: "prod", Page: 2, Refresh: true, Repository: "acme/fleet", Head: ones},
		"diff pr feature/login":  gitops.Review{Branch: "feature/login"},
		"diff pr prod":           gitops.Review{Branch: "prod"},
		"diff pr v7":             gitops.Review{Branch: "v7"},
		"diff pr %37":            gitops.Review{Branch: "7"},
		"diff pr fix%28api%29":   gitops.Review{Branch: "fix(api)"},
		`diff pr "fix(api)"`:     gitops.Review{Branch: "fix(api)"},
		"diff pr acme/fleet#7":   gitops.Review{Branch: "acme/fleet#7"},
		"diff pr release/pull/7": gitops.Review{Branch: "release/pull/7"},
		"diff pr https://github.com/acme/fleet/pull/7":                                 linked,
		"diff pr HTTPS://GitHub.com/acme/fleet/Pull/7":                                 linked,
		"diff pr <https://GitHub.com/acme/fleet/pull/7|Update podinfo, really>":        linked,
		"diff pr <https://github.com/acme/fleet/pull/7|github.com/acme/fleet/pull/7>":  linked,
		"diff pr github.com/acme/fleet/pull/7":                                         linked,
		"diff pr https://github.com/acme/fleet/pull/7/files":                           linked,
		"diff pr https://github.com/acme/fleet/pull/7/files?diff=split&amp;w=1#diff-1": linked,
		"diff pr https://github.com/acme/fleet/pull/7#issuecomment-1":                  linked,
		"diff pr https://github.com/acme/fleet/pull/7/commits/" + ones:                 linked,
		"diff pr https://github.com/acme/fleet/pull/7 --repo Acme/Fleet":               linked,
		"diff pr https://git.example.com:8443/Acme/Fleet/pull/7 --env prod":            gitops.Review{Number: 7, Host: "git.example.com:8443", Repository: "Acme/Fleet", Environment: "prod"},
		"diff pr http://127.0.0.1:4000/acme/fleet/pull/7":                              gitops.Review{Number: 7, Host: "127.0.0.1:4000", Repository: "acme/fleet"},
		"diff pr https://github.com/acme/fleet/tree/feature/a%23b":                     gitops.Review{Branch: "feature/a#b", Host: "github.com", Repository: "acme/fleet"},
		"status":                           gitops.Status{},
		"check":                            gitops.Check{},
		"check prod":                       gitops.Check{Environment: "prod"},
		"check in prod":                    gitops.Check{Environment: "prod"},
		"status podinfo on prod":           gitops.Status{Application: "podinfo", Environment: "prod"},
		"status podinfo on prod --refresh": gitops.Status{Application: "podinfo", Environment: "prod", Refresh: true},
		"status --refresh":                 gitops.Status{Refresh: true},
		"status podinfo in prod-eu":        gitops.Status{Application: "podinfo", Environment: "prod-eu"},
		"rollback podinfo on prod":         gitops.Rollback{Change: change("podinfo", "prod")},
		"rollback podinfo to prod":         gitops.Rollback{Change: change("podinfo", "prod")},
		"rollback a on b to 6.0.0":         gitops.Rollback{Change: change("a", "b"), To: "6.0.0"},
		"promote podinfo@7.0.0 to prod":    plain,
		"Promote podinfo@7.0.0 ON prod":    plain,
		"promote <mailto:podinfo@7.0.0|podinfo@7.0.0> to prod":                              plain,
		"promote <mailto:podinfo@7.0.0> to prod":                                            plain,
		"promote “podinfo@7.0.0” to prod":                                                   plain,
		"promote pod\u200binfo@7.0.0 to\u00a0prod":                                          plain,
		"promote podinfo@7.0.0 to prod --cluster-name=\"x y\" ":                             plain,
		"promote --filter=7 podinfo@7.0.0 --all-clusters to prod":                           plain,
		"promote podinfo@7.0.0 to prod --cluster-name x --filter 'to stage' --all-clusters": plain,
		"promote podinfo@7.0.0 to prod --filter":                                            plain,
		"promote <mailto:podinfo@7.0.0|Podinfo@7.0.0> to prod":                              gitops.Promote{Change: change("Podinfo", "prod"), Version: "7.0.0"},
		`promote a@1 to b --reason "ask <mailto:bob@example.com|Bob>"`:                      reason("ask mailto:bob@example.com"),
		"promote podinfo@7.0.0 to prod --bk-cmd-header='Do it'":                             plain,
		"promote a@v1.2.3+build_4 to prod":                                                  gitops.Promote{Change: change("a", "prod"), Version: "v1.2.3+build_4"},
		"promote <http://podinfo.io|podinfo.io>@1 to prod":                                  gitops.Promote{Change: change("podinfo.io", "prod"), Version: "1"},
		"promote a@v1@sha256:" + zeros + " to prod":                                         gitops.Promote{Change: change("a", "prod"), Version: "v1@sha256:" + zeros},
		"promote a@sha256:" + zeros + " to prod":                                            gitops.Promote{Change: change("a", "prod"), Version: "sha256:" + zeros},
		"promote a@1 to prod --pin --drop-digest --override --field apps/a.yaml:spec.chart.spec.version": gitops.Promote{Version: "1",
			Change: gitops.Change{Application: "a", Environment: "prod", Pin: true, DropDigest: true, Override: true, Field: "apps/a.yaml:spec.chart.spec.version"}},
		`promote a@1 to prod --field 'k.yaml:data["values.yaml"]|image.tag'`: gitops.Promote{Version: "1",
			Change: gitops.Change{Application: "a", Environment: "prod", Field: `k.yaml:data["values.yaml"]|image.tag`}},
		"promote podinfo from stage to prod":                                                                          gitops.Promote{Change: change("podinfo", "prod"), From: "stage"},
		"promote podinfo to prod from stage":                                                                          gitops.Promote{Change: change("podinfo", "prod"), From: "stage"},
		"promote podinfo@7 to prod --confirm 0123456789abcdef0123456789abcdef --until 1750000000":                     gitops.Promote{Change: confirmed, Version: "7"},
		"promote apps/podinfo@7 --chart to prod":                                                                      gitops.Promote{Change: chart, Version: "7"},
		"promote —chart apps/podinfo@7 to prod":                                                                       gitops.Promote{Change: chart, Version: "7"},
		`rollback helmRELEASE/apps/podinfo on prod --image=ghcr.io/x/podinfo --reason "fixes it" --shared --pr --yes`: gitops.Rollback{Change: all},
		"promote a@1 to b --reason don''t":                                                                            reason("don't"),
		`promote a@1 to b --reason "don''t stop"`:                                                                     reason("don't stop"),
		"promote a@1 to b --reason don’t":                                                                             reason("don't"),
		`promote a@1 to b --reason 'a  b'`:                                                                            reason("a b"),
		`promote a@1 to b --reason="a; b | (c) &amp; &lt;d&gt;"`:                                                      reason("a; b | (c) & <d>"),
		`promote a@1 to b --reason ''it's fine'`:                                                                      reason("it's fine"),  // from Botkube, for 'it's fine'
		`promote a@1 to b --reason "it"s Bob"s"`:                                                                      reason("it's Bob's"), // from Botkube, for “it’s Bob’s”
		`promote a@1 to b --reason 'rock'n'roll'`:                                                                     reason("rock'n'roll"),
		`promote a@1 to b --reason 'he said "it's"'`:                                                                  reason(`he said "it's"`),
		`promote a@1 to b --reason "list diff --yes"`:                                                                 reason("list diff --yes"),
		"promote a@1 to b --reason fixes%20%22it%22":                                                                  reason(`fixes "it"`),
		"promote a@1 to b --reason 80%":                                                                               reason("80%"),
		`promote a@1 to b --reason "at 80%25 of it"`:                                                                  reason("at 80%25 of it"),
		`promote a@1 to b --reason "--yes"`:                                                                           reason("--yes"),
		`promote a@1 to b --reason "see <https://x.io/Y|that page>"`:                                                  reason("see https://x.io/Y"),
	} {
		t.Run(line, func(t *testing.T) {
			got, err := Parse(line)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Lines on their whole way from the keyboard; the first half of it, through Botkube's own code, is shown in internal/hosttest.
func TestLinesAsTheyArrive(t *testing.T) {
	raw, err := os.ReadFile("testdata/typed.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var lines []struct{ Typed, Arrives, Means, Refused string }
	if err := yaml.UnmarshalStrict(raw, &lines); err != nil || len(lines) == 0 {
		t.Fatal(len(lines), err)
	}
	for _, line := range lines {
		got, err := Parse(line.Arrives)
		switch {
		case line.Arrives == "-":
		case line.Refused != "":
			if r := (*gitops.Refusal)(nil); !errors.As(err, &r) || !strings.Contains(r.Reason, line.Refused) {
				t.Errorf("%q: %#v, %v; want it refused: %s", line.Arrives, got, err, line.Refused)
			}
		case err != nil:
			t.Errorf("%q: %v", line.Arrives, err)
		default:
			// The plain line is the one that ferry writes, so it is none that merely means the same.
			if written := gitops.Line(got); written != line.Means {
				t.Errorf("%q means %s, want %s", line.Arrives, written, line.Means)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for line, want := range map[string]struct{ reason, detail, next string }{
		"promot podinfo@7.0.0 to prod":   {"Did you mean promote?", "Example: promote podinfo@7.0.0 to prod", "promote podinfo@7.0.0 to prod"},
		"lsit":                           {"Did you mean list?", "Usage: list [APP]", "list"},
		"prom":                           {"Did you mean promote?", "Usage: promote APP@VERSION to ENV [OPTIONS]", "promote --help"},
		"deploy it":                      {`"deploy" is not one of ferry's commands.`, "promote APP@VERSION to ENV [OPTIONS]", "--help"},
		"promote":                        {"The application, its version and the environment are missing.", "Example: promote podinfo@7.0.0 to prod", "promote --help"},
		"promote podinfo":                {"The version and the environment are missing.", "Example: promote podinfo@7.0.0 to prod", "promote --help"},
		"promote api to live":            {"The version is missing", "Example: promote api@7.0.0 to live", "promote --help"},
		"promote api@2":                  {"The environment to promote to is missing.", "Example: promote api@7.0.0 to prod", "promote --help"},
		"promote api@2 to":               {`After "to" the environment is missing.`, "", "promote --help"},
		"promote api@ to prod":           {"The version after the @ is missing.", "", "promote --help"},
		"promote @1 to prod":             {"The application is missing.", "", ""},
		"promote api 2 to prod":          {"A version follows the application after an @: api@2.", "", ""},
		"promote api@2 to prod now":      {`I do not know what "now" means here.`, "", ""},
		"promote api@2 to prod to stage": {`I do not know what "to" means here.`, "", ""},
		"promote api@2 to prod --reason so be it":                                      {"If it belongs to the reason, put all of that in double quotes, with none inside.", "", ""},
		"promote api@2 from stage to prod":                                             {"The version is given twice", "", ""},
		"promote api from prod to prod":                                                {"from prod to itself", "", ""},
		"promote api@${X} to prod":                                                     {`"${X}" is not a version`, "", ""},
		"promote api@{{.X}} to prod":                                                   {"is not a version", "", ""},
		"promote api@-1 to prod":                                                       {"is not a version", "", ""},
		"promote api@1 to pr":                                                          {`"pr" is a word of ferry's own, so no environment can be called that.`, "", ""},
		"promote source@1 to prod":                                                     {`An application cannot be called "source"`, "", ""},
		"promote a/b/c@1 to prod":                                                      {`"a" is not a kind of application`, "", ""},
		"promote a/b/c/d@1 to prod":                                                    {"is not an application", "", ""},
		"promote api@sha256:0123 to prod":                                              {"is not an image's digest", "", ""},
		"promote api@v1@sha256:0123 to prod":                                           {"is not an image's digest", "", ""},
		"promote api@v1@v2 to prod":                                                    {"is not an image's digest", "", ""},
		"promote api@@sha256:" + strings.Repeat("0", 64) + " to prod":                  {"is not an image's digest", "", ""},
		"promote api@1 to prod --tree .":                                               {"only the program ferry in a terminal has it", "", ""},
		"promote api@1 to prod --tree=git::https://example.com/x.git":                  {"only the program ferry in a terminal has it", "", ""},
		"promote api@1 to prod --path clusters/prod":                                   {"only the program ferry in a terminal has it", "", ""},
		"rollback api on prod --write":                                                 {"only the program ferry in a terminal has it", "", ""},
		"promote api@1 to prod --write":                                                {"only the program ferry in a terminal has it", "", ""},
		"status --path=clusters/prod":                                                  {"only the program ferry in a terminal has it", "", ""},
		"diff prod --tree https://example.com/x.tar.gz":                                {"only the program ferry in a terminal has it", "", ""},
		"promote git::https://example.com/x.git@1 to prod":                             {"is not an application", "", ""},
		"promote api@git::https://example.com/x.git to prod":                           {"is not a version", "", ""},
		"promote api@1 to https://example.com/x.git":                                   {"is not a name", "", ""},
		"list --tree /":                                                                {"only the program ferry in a terminal has it", "", ""},
		"promote api@1 to prod --field a.yaml":                                         {"is not a field", "", ""},
		"promote api@1 to prod --field ../a.yaml:x":                                    {"is not a field", "", ""},
		"promote api@1 to prod --field https://example.com/a.yaml:x":                   {"is not a field", "", ""},
		"promote api@1 to prod --field %2Fetc%2Fpasswd:x":                              {"is not a field", "", ""},
		"promote api@1 to prod --shared --override":                                    {"exclude each other", "", ""},
		"promote api@" + strings.Repeat("1", 129) + " to prod":                         {"129 characters long", "", ""},
		"promote api@1 to prod --force":                                                {"There is no option --force.", "", ""},
		"promote api@1 to prod --raeson x":                                             {"Did you mean --reason?", "", ""},
		"promote api@1 to prod --pr --pr":                                              {"--pr is given twice", "", ""},
		"promote api@1 to prod --pr=no":                                                {"--pr takes no value", "", ""},
		"promote api@1 to prod --reason":                                               {"--reason needs a value", "", ""},
		"promote api@1 to prod --reason --yes":                                         {"--reason needs a value", "", ""},
		`promote api@1 to prod --reason ""`:                                            {"--reason needs a value", "", ""},
		"promote api@1 to prod --chart --image x":                                      {"exclude each other", "", ""},
		"promote api@1 to prod --confirm xyz --until 1":                                {"is not the hash of a plan", "", ""},
		"promote api@1 to prod --confirm 0123456789abcdef0123456789abcdef":             {"--confirm needs --until", "", ""},
		"promote api@1 to prod --until 1":                                              {"--until needs --confirm", "", ""},
		"promote api@1 to prod --confirm 0123456789abcdef0123456789abcdef --until -1":  {"--until needs a value", "", ""},
		"promote api@1 to prod --confirm 0123456789abcdef0123456789abcdef --until 1e9": {"is not a time", "", ""},
		"promote api@1 to prod --reason " + strings.Repeat("x", 301):                   {"301 bytes long", "", ""},
		"promote api@1 to prod --reason a%0Ab%07":                                      {"control character", "", ""},
		"promote api@1 to prod; list":                                                  {"The character ; has no meaning here", "", "--help"},
		"list &amp; list":                                                              {"The character & has no meaning here", "", "--help"},
		"list `id`":                                                                    {"The character ` has no meaning here", "", "--help"},
		"list $(id)":                                                                   {"The character ( has no meaning here", "", "--help"},
		`list "podinfo`:                                                                {"opened and never closed", "", "--help"},
		"list a\u202eb":                                                                {"control character U+202E", "", "--help"},
		"list a\x1b[1m":                                                                {"control character U+001B", "", "--help"},
		"list \xff":                                                                    {"not valid UTF-8", "", "--help"},
		"list " + strings.Repeat("a", 64<<10):                                          {"longer than 64 KB", "", "--help"},
		"list " + strings.Repeat("a", 300):                                             {"is not an application", "", ""},
		"list podinfo prod":                                                            {`I do not know what "prod" means here.`, "", "list --help"},
		"list --refresh":                                                               {"list takes no options", "", "list --help"},
		"status podinfo on prod --refresh --refresh":                                   {"--refresh is given twice", "", "status --help"},
		"check prod stage":                                                             {`I do not know what "stage" means here.`, "", "check --help"},
		"check to":                                                                     {`"to" is a word of ferry's own`, "", "check --help"},
		"list --chart":                                                                 {"list takes no options", "", "list --help"},
		"diff":                                                                         {"The environment is missing.", "Example: diff stage prod", "diff --help"},
		"diff pr":                                                                      {"The pull request is missing: its number, its link or its branch.", "Usage: diff pr NUMBER|URL|BRANCH", "diff --help"},
		"diff pr 0":                                                                    {`"0" is not the number of a pull request.`, "Example: diff pr 7", ""},
		"diff pr 99999999999":                                                          {"is not the number of a pull request.", "", ""},
		"diff pr 7 prod":                                                               {"Before the environment prod an --env is missing.", "", "diff pr 7 --env prod"},
		"diff pr 7 prod now":                                                           {`I do not know what "prod" means here.`, "", ""},
		"diff pr 7 on pr":                                                              {`"pr" is a word of ferry's own, so no environment can be called that.`, "", ""},
		"diff pr 7 --env pr":                                                           {`"pr" is a word of ferry's own, so no environment can be called that.`, "", ""},
		"diff pr 7 --repo fleet":                                                       {`"fleet" is not a repository: write OWNER/NAME.`, "", ""},
		"diff pr 7 --repo":                                                             {"The option --repo needs a value.", "", ""},
		"diff pr 7 --repoo acme/fleet":                                                 {"There is no option --repoo. Did you mean --repo?", "", ""},
		"diff pr 7 --env a --env b":                                                    {"The option --env is given twice.", "", ""},
		"diff pr 7 --path clusters/prod":                                               {"only the program ferry in a terminal has it", "", ""},
		"diff pr 7 --head main":                                                        {`"main" is not a whole commit id.`, "", ""},
		"diff pr 7 --page 0":                                                           {`"0" is not the number of a page.`, "", ""},
		"diff pr 7 --page 1000":                                                        {"is not the number of a page.", "", ""},
		"diff pr 7 --refresh=yes":                                                      {"The option --refresh takes no value.", "", ""},
		"diff pr a..b":                                                                 {`"a..b" is not a pull request: write its number, its link or its branch.`, "", ""},
		"diff pr https://github.com/acme/fleet":                                        {"This is not a link to a pull request: those end like OWNER/NAME/pull/7.", "", ""},
		"diff pr https://github.com/acme/fleet/issues/7":                               {"is not a link to a pull request", "", ""},
		"diff pr https://alice:secret@github.com/acme/fleet/pull/7":                    {"is not a link to a pull request", "", ""},
		"diff pr https://github.com/acme/fleet/pull/7 --repo acme/apps":                {"The link is of acme/fleet, and --repo names acme/apps: leave --repo out.", "", ""},
		"diff https://github.com/acme/fleet/pull/7":                                    {`Before a pull request a "pr" is missing.`, "", "diff pr https://github.com/acme/fleet/pull/7"},
		"diff stage --env prod":                                                        {"--env belongs to a pull request: diff pr NUMBER.", "", ""},
		"diff stage --chart":                                                           {"diff takes no options; --chart is one.", "", ""},
		"pr 7":                                                                         {"Did you mean diff?", "Usage: diff pr NUMBER|URL|BRANCH", "diff pr 7"},
		"diff stage to":                                                                {`After "to" the other environment is missing.`, "", ""},
		"diff stage stage":                                                             {"stage is compared with itself", "", ""},
		"diff stage prod test":                                                         {`I do not know what "test" means here.`, "", ""},
		"status podinfo":                                                               {"The environment is missing.", "Example: status podinfo on prod", "status --help"},
		"status podinfo prod":                                                          {`Before prod an "on" is missing.`, "Example: status podinfo on prod", "status podinfo on prod"},
		"status podinfo prod now":                                                      {`After the application come "on" and an environment, not "prod".`, "", ""},
		"rollback api live --pr":                                                       {`Before live an "on" is missing.`, "", "rollback api on live --pr"},
		"promote podinfo@7.0.0 prod":                                                   {`Before prod a "to" is missing.`, "Example: promote podinfo@7.0.0 to prod", "promote podinfo@7.0.0 to prod"},
		"promote api from stage live --chart":                                          {`Before live a "to" is missing.`, "", "promote api from stage to live --chart"},
		"promote api@2 now to prod":                                                    {`I do not know what "now" means here.`, "", ""},
		"promote api@1 to From":                                                        {"is a word of ferry's own", "", ""},
		"promote api@1 to " + strings.Repeat("x", 64):                                  {"64 characters long: 63 are the limit", "", ""},
		"promote podinfo@7 to --cluster-name prod stage":                               {"--cluster-name is a flag of Botkube's own.", "", "--help"},
		"promote --filter 7 podinfo@7.0.0 to prod":                                     {"--filter is a flag of Botkube's own. Write it at the end of the line, or as --filter=VALUE.", "", "--help"},
		"promote api@1 to prod --filter x --yes":                                       {"--filter is a flag of Botkube's own.", "", "--help"},
		"promote api@1 to prod --filter --yes":                                         {"--filter is a flag of Botkube's own.", "", "--help"},
		"promote api@1 to --filter prod":                                               {`After "to" the environment is missing.`, "", ""},
		"promote <mailto:podinfo@7.0.0|other@8.0.0> to prod":                           {`"mailto:podinfo" is not an application`, "", ""},
		"rollback":                       {"The application and the environment are missing.", "", "rollback --help"},
		"rollback podinfo":               {"The environment is missing.", "Example: rollback podinfo on prod", ""},
		"rollback podinfo on prod 6.0.0": {`I do not know what "6.0.0" means here.`, "", ""},
		"rollback podinfo on prod to":    {`After "to" the version is missing.`, "", ""},
		"help me":                        {`"me" is not one of ferry's commands.`, "", "--help"},
		"help promot":                    {"Did you mean promote?", "", "promote --help"},
	} {
		t.Run(line[:min(len(line), 60)], func(t *testing.T) {
			got, err := Parse(line)
			var r *gitops.Refusal
			if !errors.As(err, &r) {
				t.Fatalf("got %#v, %v; want a refusal", got, err)
			}
			if r.Code != gitops.Usage || !strings.Contains(r.Reason, want.reason) {
				t.Errorf("refused with %s: %s\nwant %s", r.Code, r.Reason, want.reason)
			}
			if details := strings.Join(r.Details, "\n"); !strings.Contains(details, want.detail) {
				t.Errorf("details:\n%s\nwant %s", details, want.detail)
			}
			if len(r.Next) == 0 || want.next != "" && r.Next[0] != want.next {
				t.Errorf("next: %q, want first %q", r.Next, want.next)
			}
			for _, next := range r.Next {
				if _, err := Parse(next); err != nil {
					t.Errorf("next %q: %v", next, err)
				}
			}
		})
	}
}

// What help shows has to work.
func TestManualIsTruthful(t *testing.T) {
	manual, err := Usage("")
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range manual.Verbs {
		for _, line := range verb.Examples {
			r, err := Parse(line)
			if err != nil {
				t.Errorf("%q: %v", line, err)
			} else if r.Verb() != verb.Name {
				t.Errorf("%q is a %s", line, r.Verb())
			}
		}
		for _, usage := range verb.Usage {
			if first, _, _ := strings.Cut(usage, " "); first != verb.Name && !strings.HasSuffix(usage, " --help") {
				t.Errorf("usage %q of %s", usage, verb.Name)
			}
		}
		one, err := Usage(verb.Name)
		if err != nil || len(one.Verbs) != 1 || one.Verbs[0].Name != verb.Name {
			t.Errorf("Usage(%s) = %v, %v", verb.Name, one, err)
		}
		for _, o := range verb.Options {
			value := map[string]string{"--confirm": " 0123456789abcdef0123456789abcdef --until 1", "--until": " 1 --confirm 0123456789abcdef0123456789abcdef",
				"--repo": " acme/fleet", "--env": " prod"}[o.word()]
			if value == "" && o.takesValue() {
				value = " x:x" // --field wants a file, too
			}
			example := verb.Examples[0]
			if verb.Name == "diff" {
				example = reviewExample
			}
			if line := fmt.Sprintf("%s %s%s", example, o.word(), value); !parses(line) {
				t.Errorf("%q does not parse", line)
			}
		}
	}
}

func parses(line string) bool {
	_, err := Parse(line)
	return err == nil
}

func FuzzTokens(f *testing.F) {
	for _, seed := range []string{"", `a "b c" 'd "e"'`, `it's don''t "it"s"`, "<mailto:a@1|a@1> <https://X.io/Y|y> <#C1|x> <@U1> a", "&lt;a&gt; &amp;amp; &#0;", "a\u200bb\u00a0c\u202ed",
		"—chart –pr", `"" '' x="y z"`, "--filter x --cluster-name='y' --bk-cmd-header", "a;b|c&d`e`(f)", strings.Repeat("a ", 1000), "“a” „b“ ‘c’"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := tokens(line)
		if err != nil {
			if r := (*gitops.Refusal)(nil); !errors.As(err, &r) || r.Reason == "" {
				t.Fatalf("%q: %#v", line, err)
			}
			return
		}
		plain := true // may be written back and read again
		for _, w := range words {
			if !utf8.ValidString(w.text) || strings.ContainsFunc(w.text, isForbidden) || strings.ContainsRune(w.text, literal) {
				t.Errorf("%q has the word %q", line, w.text)
			}
			if !w.quoted && !anyLink.MatchString(w.text) && (w.text == "" || strings.ContainsAny(w.text, ";&|<>`()") && !strings.ContainsAny(html.UnescapeString(line), `"'‘’“”„`)) {
				t.Errorf("%q has the word %q without quotes", line, w.text)
			}
			plain = plain && !strings.ContainsAny(w.text, "\"'‘’“”„&<>") && (w.quoted || !strings.ContainsFunc(w.text, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(";|`()", r) }))
		}
		if !plain {
			return
		}
		again, err := tokens(join(words))
		if err != nil || !slices.Equal(again, words) {
			t.Errorf("%q is read as %+v, and that as %+v (%v)", line, words, again, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "list", "diff stage to prod", "promote podinfo@7.0.0 to prod --reason don''t --pr", "rollback a/b on c to v1",
		"promote <mailto:a@1|a@1> to b --confirm 0123456789abcdef0123456789abcdef --until 1750000000", "status podinfo on prod",
		`promote a@1 to b --reason "x; (y) 'z' 80%" --image q/w`, "promote a@1 to b --reason a%20b%27c --shared --yes",
		"promote a@1 to b --field a.yaml:x%5B0%5D --pin --override --drop-digest",
		"promot a@1 to b", "help promote", "list “a”", "list &lt;a", "diff in on", "promote a@1 to b --reason=%E2%80%99x --chart",
		"diff pr 7 on prod --repo a/b --head 1111111111111111111111111111111111111111 --page 2 --refresh", "diff pr https://x.io/a/b/pull/7/files?w=1&amp;y;(z)#q", "diff pr x.io/a/b/tree/c%23d", "diff pr %61.b/c/d/Pull/7", "pr %37", "diff x.io/a/b/pull/7",
		"promote a@1 to b --reason \"--filter x\" --filter y", "promote a@1 to b --reason '&amp;lt;'",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		request, err := Parse(line)
		if err != nil {
			var refusal *gitops.Refusal
			if !errors.As(err, &refusal) || refusal.Reason == "" || len(refusal.Next) == 0 {
				t.Fatalf("Parse(%q): %#v", line, err)
			}
			for _, next := range refusal.Next {
				if !parses(next) {
					t.Fatalf("Parse(%q) advises %q, which does not parse", line, next)
				}
			}
			return
		}
		written := gitops.Line(request)
		again, err := Parse(written)
		if err != nil {
			t.Fatalf("Parse(%q) as %q: %v", line, written, err)
		}
		if diff := cmp.Diff(request, again); diff != "" {
			t.Fatalf("Parse(%q) as %q: %s", line, written, diff)
		}
		if gitops.Line(again) != written {
			t.Fatalf("Line is not stable: %q, then %q", written, gitops.Line(again))
		}
		if strings.ContainsAny(written, "()`';&|<>\\\n") || strings.Count(written, `"`)%2 != 0 {
			t.Fatalf("Line(%#v) = %q does not pass through the host", request, written)
		}
	})
}

// Any reason that is accepted in its encoded form comes back as it was.
func FuzzReason(f *testing.F) {
	for _, seed := range []string{"fixes it", "don't", "a (b) \"c\" `d`; e & f | <g>", "-x", "a -b", "80%", "%20", "日本", "--filter x", "''", "a  b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, reason string) {
		c := change("a", "b")
		c.Reason = reason
		got, err := Parse(gitops.Line(gitops.Promote{Change: c, Version: "1"}))
		if err != nil {
			return // too long, control characters
		}
		want := strings.TrimSpace(blanks.ReplaceAllString(strings.Map(visible, reason), " "))
		if p := got.(gitops.Promote); p.Reason != want {
			t.Errorf("%q became %q", reason, p.Reason)
		}
	})
}

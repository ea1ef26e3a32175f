package config

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/github"
	"github.com/ferry-chatops/ferry/internal/gitops"
)

const wholeSource = `
namespace: ferry
github:
  auth: {app: {id: 1, installationID: 2, keyFile: /etc/ferry/app.pem}}
  owners:
  - {owner: other-org, auth: {tokenFile: /etc/ferry/other}}
interval: 1m
repositories:
- name: acme/fleet
  beforeDuration: 0s
  on:
    pullRequests:
    - types: [open, merged]
      base: [main]
      drafts: false
      authors: {exclude: ["renovate.*"]}
      paths: {include: ["apps/.*"]}
      labels: {exclude: [skip-ferry]}
      notificationTemplate:
        previewTpl: |
          #{{ .Number }} {{ .PullRequest.Title }}
        extraButtons: [{displayName: Docs, url: "https://wiki.example/{{ .Number }}"}]
- name: other-org/apps
environments:
- name: prod
  repository: {name: acme/fleet, branch: main, path: clusters/prod}
stateDir: /var/lib/ferry
budget: {perMinute: 600, factor: 2.5}
cacheDir: /var/cache/ferry
metrics: {port: 9090}
`

func TestLoadSource(t *testing.T) {
	got, err := LoadSource(documents(wholeSource))
	if err != nil {
		t.Fatal(err)
	}
	drafts := false
	want := Source{
		Namespace: "ferry", Interval: duration(time.Minute), StateDir: "/var/lib/ferry", Budget: Budget{PerMinute: 600, Factor: 2.5}, CacheDir: "/var/cache/ferry", Metrics: Metrics{Port: 9090},
		GitHub: SourceGitHub{Auth: Auth{App: &App{ID: 1, InstallationID: 2, KeyFile: "/etc/ferry/app.pem"}},
			Owners: []OwnerAuth{{Owner: "other-org", Auth: Auth{TokenFile: "/etc/ferry/other"}}}},
		Repositories: []Followed{
			{Name: "acme/fleet", BeforeDuration: duration(0), On: On{PullRequests: []PullRequestRule{{
				Types: []Type{"open", "merged"}, Base: []string{"main"}, Drafts: &drafts,
				Authors: Patterns{Exclude: []string{"renovate.*"}}, Paths: Patterns{Include: []string{"apps/.*"}}, Labels: Patterns{Exclude: []string{"skip-ferry"}},
				NotificationTemplate: NotificationTemplate{PreviewTpl: "#{{ .Number }} {{ .PullRequest.Title }}\n",
					ExtraButtons: []ExtraButton{{DisplayName: "Docs", URL: "https://wiki.example/{{ .Number }}"}}},
			}}}},
			{Name: "other-org/apps", On: On{PullRequests: []PullRequestRule{{}}}},
		},
		Environments: []Place{{Name: "prod", Repository: PlaceRepository{Name: "acme/fleet", Branch: "main", Path: "clusters/prod"}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// botkube is what Botkube's documentation of github-events shows, for the credential.
const botkube = `
log:
  level: info
  format: json
github:
  auth:
    accessToken: %TOKEN%
    app:
      id: ""
      installationId: ""
      privateKey: ""
  baseUrl: ""
  uploadUrl: ""
refreshDuration: 10s
repositories:
  - name: owner/repo1
    on:
      pullRequests:
        - types: [open, merged]
          paths:
            include: ["kustomize/.*"]
          labels:
            include: ["bug"]
          notificationTemplate:
            extraButtons:
              - displayName: "Flux Diff"
                commandTpl: "flux diff ks podinfo --path ./kustomize --github-ref {{ .HTMLURL }} "
  - name: owner/repo2
    on:
      events:
        - type: "WatchEvent"
        - type: "IssuesEvent"
          jsonPath: ".action"
          value: "opened"
          notificationTemplate:
            previewTpl: |-
              Issue Opened

              #{{ .Issue.Number }} {{ .Issue.Title }}
            extraButtons:
              - displayName: Open
                url: "{{ .Issue.HTMLURL }}"
                style: primary
`

func faultsOf(t *testing.T, err error) []string {
	t.Helper()
	var refusal *gitops.Refusal
	if !errors.As(err, &refusal) || refusal.Code != gitops.Config {
		t.Fatalf("not a refusal: %v", err)
	}
	return refusal.Details
}

func TestConfigurationOfGitHubEvents(t *testing.T) {
	got, err := LoadSource(documents(strings.Replace(botkube, "%TOKEN%", `""`, 1)))
	if faults := faultsOf(t, err); len(faults) != 1 || !strings.HasPrefix(faults[0], "repositories[1].on.events: ferry follows pull requests alone") {
		t.Errorf("faults %q", faults)
	}
	want := []Followed{{Name: "owner/repo1", On: On{PullRequests: []PullRequestRule{{
		Types: []Type{"open", "merged"}, Paths: Patterns{Include: []string{"kustomize/.*"}}, Labels: Patterns{Include: []string{"bug"}},
		NotificationTemplate: NotificationTemplate{ExtraButtons: []ExtraButton{{DisplayName: "Flux Diff",
			CommandTpl: "flux diff ks podinfo --path ./kustomize --github-ref {{ .HTMLURL }} "}}},
	}}}}}
	if diff := cmp.Diff(want, got.Repositories); diff != "" {
		t.Error(diff)
	}
	if time.Duration(*got.Interval) != 10*time.Second || got.GitHub.Auth != (Auth{}) || got.GitHub.BaseURL != "" {
		t.Errorf("interval %v, GitHub %+v", got.Interval, got.GitHub)
	}

	templates, err := got.Repositories[0].On.PullRequests[0].NotificationTemplate.Templates()
	if err != nil {
		t.Fatal(err)
	}
	line, err := templates.Buttons[0].Command.Execute(github.SamplePull())
	if want := "flux diff ks podinfo --path ./kustomize --github-ref https://github.com/acme/fleet/pull/7 "; line != want || err != nil {
		t.Errorf("command %q, %v; want %q", line, err, want)
	}
}

func TestInlineTokenOfGitHubEvents(t *testing.T) {
	got, err := LoadSource(documents(strings.Replace(botkube, "%TOKEN%", "canary-token", 1)))
	faults := strings.Join(faultsOf(t, err), "\n")
	if want := "github.auth.accessToken: secrets are never written here; put it into a file and write github: {auth: {tokenFile: /etc/ferry/github-token}}"; !strings.Contains(faults, want) {
		t.Errorf("faults %s", faults)
	}
	if strings.Contains(faults, "canary") || len(got.Repositories) != 0 {
		t.Errorf("faults %s, repositories %v", faults, got.Repositories)
	}
	_, err = LoadSource(documents(`
github: {auth: {app: {id: "12", installationId: "34", privateKey: canary-key}}, baseUrl: https://github.example.com/api/v3/}
repositories: [{name: a/b}]`))
	faults = strings.Join(faultsOf(t, err), "\n")
	if want := "github.auth.app.privateKey: secrets are never written here; put it into a file and write github: {auth: {app: {id: 1, installationID: 2, keyFile: /etc/ferry/app.pem}}}"; !strings.Contains(faults, want) || strings.Contains(faults, "canary") {
		t.Errorf("faults %s", faults)
	}
}

func TestEnterpriseOfGitHubEvents(t *testing.T) {
	for base, want := range map[string]string{"https://api.github.com/": "", "https://github.example.com/api/v3/": "https://github.example.com", "https://github.example.com": "https://github.example.com"} {
		got, err := LoadSource(documents("github: {baseUrl: '" + base + "', auth: {app: {id: '12', installationId: '34', keyFile: /a}}}\nrepositories: [{name: a/b, on: {pullRequests: []}}]"))
		if err != nil {
			t.Fatal(err)
		}
		if app := got.GitHub.Auth.App; got.GitHub.BaseURL != want || app.ID != 12 || app.InstallationID != 34 || len(got.Repositories[0].On.PullRequests) != 1 {
			t.Errorf("%s: %+v", base, got)
		}
	}
}

// A malformed repository name was the end of Botkube's plugin; here the rest goes on.
// TestNamesOfAccounts: those of managed users have an underscore, and some old ones end with a dash. None is passed over.
func TestNamesOfAccounts(t *testing.T) {
	got, err := LoadSource(documents(`
github:
  auth: {tokenFile: /etc/ferry/token}
  owners: [{owner: jane_acme, auth: {tokenFile: /etc/ferry/jane}}]
repositories: [{name: jane_acme/fleet}, {name: acme-/fleet}]
`))
	if err != nil {
		t.Fatal(err)
	}
	if mistakes := got.Watch().Mistakes(); len(got.Repositories) != 2 || len(mistakes) > 0 {
		t.Errorf("%+v, %v", got.Repositories, mistakes)
	}
}

func TestHealthyRulesRunBesideFaultyOnes(t *testing.T) {
	got, err := LoadSource(documents(`
interval: soon
colour: red
repositories:
- name: not a name
- name: acme/fleet
  on:
    pullRequests:
    - types: [opend]
    - notificationTemplate: {previewTpl: "{{ .Title"}
    - notificationTemplate: {previewTpl: "{{ .Titel }}"}
    - notificationTemplate: {extraButtons: [{displayName: Go}, {commandTpl: "x {{ .Number }}", style: red}]}
    - drafts: maybe
    - {types: [closed], notificationTemplate: {extraButtons: [{displayName: Diff, commandTpl: "flux diff {{ .Title }}"}]}}
- acme/apps
- {name: acme/more, on: {pullRequests: [{paths: {include: ["glob:**/*.yaml", "**/*.yaml"]}}]}}
- {name: acme/rest, beforeDuration: 5, on: {pullRequests: [{labels: {include: bug}}, {base: [main]}, {base: ['(']}]}}
environments:
- {name: to, repository: {name: acme/fleet, path: clusters/to}}
- {name: prod, repository: {name: acme/fleet, path: ../x}}
- {name: stage, repository: {name: acme/fleet, path: ./clusters/stage}}
`))
	faults := faultsOf(t, err)
	for _, want := range []string{
		"interval: a duration", `unknown field "colour"`, "repositories[0].name: write OWNER/NAME",
		`repositories[1].on.pullRequests[0].types[0]: "opend" is none of closed, `,
		"repositories[1].on.pullRequests[1].notificationTemplate.previewTpl: ", "repositories[1].on.pullRequests[2].notificationTemplate.previewTpl: ",
		"repositories[1].on.pullRequests[3].notificationTemplate.extraButtons[0]: a button has a commandTpl or a url",
		"repositories[1].on.pullRequests[3].notificationTemplate.extraButtons[1].displayName: a button has a name",
		`repositories[1].on.pullRequests[3].notificationTemplate.extraButtons[1].style: "red" is neither`,
		"repositories[1].on.pullRequests[4].drafts: true or false belongs here, not a text", "repositories[2]: a map belongs here, not a text",
		"repositories[3].on.pullRequests[0].paths.include[1]: ", "repositories[4].beforeDuration: a duration", "repositories[4].on.pullRequests[0].labels.include: a list",
		"repositories[4].on.pullRequests[2].base[0]: ", `environments[0].name: "to" is a word`, "environments[1].repository.path: write the directory",
	} {
		found := 0
		for _, f := range faults {
			if strings.HasPrefix(f, want) {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%d faults begin with %q:\n%s", found, want, strings.Join(faults, "\n"))
		}
	}
	if len(faults) != 17 {
		t.Errorf("%d faults:\n%s", len(faults), strings.Join(faults, "\n"))
	}
	var names []string
	for _, r := range got.Repositories {
		for _, rule := range r.On.PullRequests {
			names = append(names, r.Name+" "+strings.Join(rule.Base, "")+string(append(rule.Types, "")[0]))
		}
	}
	if diff := cmp.Diff([]string{"acme/fleet closed", "acme/rest main"}, names); diff != "" {
		t.Error(diff)
	}
	if len(got.Environments) != 1 || got.Environments[0].Name != "stage" || time.Duration(*got.Interval) != 30*time.Second {
		t.Errorf("%+v, interval %v", got.Environments, got.Interval)
	}
}

func TestSourceWithoutConfigurationShowsOne(t *testing.T) {
	for _, text := range []string{"", "null", "{}"} {
		var refusal *gitops.Refusal
		if _, err := LoadSource(documents(text)); !errors.As(err, &refusal) || !strings.Contains(refusal.Snippet, "repositories:") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestREADMEOfTheSource(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(raw), "\n## Pull requests in chat\n")
	section, _, _ = strings.Cut(section, "\n## ")
	_, example, _ := strings.Cut(section, "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	var values struct {
		Sources map[string]map[string]any
	}
	if err := yaml.Unmarshal([]byte(example), &values); err != nil {
		t.Fatal(err)
	}
	document, err := yaml.Marshal(values.Sources["pulls"]["ferry/ferry"].(map[string]any)["config"])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LoadSource([][]byte{document}); err != nil {
		t.Errorf("what it shows does not load: %v", err)
	}
	text, err := SourceSchema()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`"([a-zA-Z]+)": \{`).FindAllStringSubmatch(text, -1) {
		if key := m[1]; !slices.Contains([]string{"properties", "items", "tokenEnv", "tokenSecret", "key", "keySecret", "blueprints", "baseURL", "style"}, key) && !regexp.MustCompile(`\b`+key+`\b`).MatchString(section) {
			t.Errorf("it says nothing of %s", key)
		}
	}
}

func TestSourceSchema(t *testing.T) {
	text, err := SourceSchema()
	if err != nil {
		t.Fatal(err)
	}
	var schema jsonschema.Schema
	if err := json.Unmarshal([]byte(text), &schema); err != nil {
		t.Fatal(err)
	}
	if schema.Schema != "http://json-schema.org/draft-07/schema#" {
		t.Error(schema.Schema)
	}
	schema.Schema = ""
	resolved, err := schema.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	for text, fine := range map[string]bool{
		wholeSource:                 true,
		"repositories: [{name: a}]": true,
		"interval: 30s":             false, // no repositories
		"repositories: [{nam: a}]":  false,
		"repositories: [{name: a, 'on': {pullRequests: [{types: [opend]}]}}]":                                                     false,
		"repositories: [{name: a, 'on': {pullRequests: [{drafts: maybe}]}}]":                                                      false,
		"repositories: [{name: a, beforeDuration: 5}]":                                                                            false,
		"github: {auth: {accessToken: x}}\nrepositories: [{name: a}]":                                                             false,
		"repositories: [{name: a, 'on': {pullRequests: [{notificationTemplate: {extraButtons: [{displayName: a, style: b}]}}]}}]": false,
	} {
		text = strings.Replace(text, "  on:", "  'on':", 1)
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		if err := resolved.Validate(value); (err == nil) != fine {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestFaultsSayWhatToWrite: each sentence has the next step, and nothing is told that a faulty line may have meant to leave out.
func TestFaultsSayWhatToWrite(t *testing.T) {
	const rule = "repositories: [{name: a/b, 'on': {pullRequests: [{%s}]}}]"
	for text, want := range map[string][]string{
		"intervall: 5s\nrepositories: [{name: a/b}]":                           {`unknown field "intervall": did you mean interval?`},
		"repositories: [{name: a/b, 'on': {pullrequests: [{drafts: false}]}}]": {`unknown field "repositories[0].on.pullrequests": did you mean pullRequests?`},
		"repositories: [{name: a/b, 'on': null, pullRequests: [{base: [x]}]}]": {`unknown field "repositories[0].pullRequests"`, "repositories[0].on.pullRequests: is empty, so nothing would be told of a/b"},
		strings.Replace(rule, "%s", "paths: {include: ['*.yaml']}", 1):         {`repositories[0].on.pullRequests[0].paths.include[0]: "*.yaml" is no regular expression: missing argument to repetition operator; for a glob, write glob: before it`},
		strings.Replace(rule, "%s", "paths: {include: ['apps/**']}", 1):        {`repositories[0].on.pullRequests[0].paths.include[0]: "apps/**" is no regular expression: invalid nested repetition operator; for a glob, write glob: before it`},
		strings.Replace(rule, "%s", "notificationTemplate: {previewTpl: '{{ .User.Logn }}'}", 1): {
			"repositories[0].on.pullRequests[0].notificationTemplate.previewTpl: a pull request has no .User.Logn; it has what go-github's PullRequest has, such as .Number, .Title and .User.Login"},
		"repositories: [":       {"document 1 cannot be read: yaml: line 1: did not find expected node content"},
		"- repositories: [a/b]": {"document 1 is a list; a map belongs there"},
	} {
		got, err := LoadSource(documents(text))
		if diff := cmp.Diff(want, faultsOf(t, err)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", text, diff)
		}
		if strings.HasPrefix(text, "intervall") != (len(got.Repositories) == 1) {
			t.Errorf("%s: follows %v", text, got.Repositories)
		}
	}
	_, err := LoadSource(documents("'-': true\nrepositories: [{name: a/b}]")) // what is in the Source alone
	if diff := cmp.Diff([]string{`unknown field "-"`}, faultsOf(t, err)); diff != "" {
		t.Error(diff)
	}
}

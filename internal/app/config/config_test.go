package config

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/report"
)

const whole = `
environments:
- name: stage
  cluster: {context: stage, kubeconfigFile: /etc/ferry/stage}
  namespaces: [podinfo]
  promotion: {confirm: optional}
- name: prod
  cluster: {secretRef: {namespace: ferry, name: prod, key: kubeconfig}}
  flux: {cluster: {}, namespaces: [prod]}
  promotion: {mode: auto, confirm: required, wait: 15s, timeout: 1h30m, promoters: ["slack:U024BE7LH", "automation:nightly"]}
  repository: {name: acme/fleet, branch: main}
- name: prod-eu
  impersonate: none
  flux: {namespaces: [prod-eu]}
  promotion: {wait: 0s, promoters: []}
repository: {name: acme/fleet.configs, branch: main}
github:
  baseURL: https://github.example.com
  repositories: [acme/apps]
  auth: {tokenFile: /etc/ferry/github-token}
blueprints: /etc/ferry/blueprints
applications:
- {application: orders, namespace: shop, environment: prod, kind: chart, file: apps/prod/orders.yaml, path: spec.chart.spec.version}
- {application: web, kind: image, file: web.yaml, path: "Deployment/web/web:spec.template.spec.containers[0].image"}
access: {default: ["slack:*", "discord:*", "name:jane"]}
`

func duration(d time.Duration) *Duration { return (*Duration)(&d) }

func documents(texts ...string) [][]byte {
	var all [][]byte
	for _, t := range texts {
		all = append(all, []byte(t))
	}
	return all
}

func TestLoad(t *testing.T) {
	got, err := Load(documents(whole))
	want := Config{
		Environments: []Environment{
			{Name: "stage", Cluster: Cluster{Context: "stage", KubeconfigFile: "/etc/ferry/stage"}, Namespaces: []string{"podinfo"}, Promotion: Promotion{Confirm: "optional"}},
			{Name: "prod", Cluster: Cluster{SecretRef: &SecretRef{Namespace: "ferry", Name: "prod", Key: "kubeconfig"}}, Flux: &Flux{Cluster: &Cluster{}, Namespaces: []string{"prod"}},
				Promotion: Promotion{Mode: "auto", Confirm: "required", Wait: duration(15 * time.Second), Timeout: duration(90 * time.Minute),
					Promoters: Principals{"slack:U024BE7LH", "automation:nightly"}},
				Repository: Repository{Name: "acme/fleet", Branch: "main"}},
			{Name: "prod-eu", Impersonate: "none", Flux: &Flux{Namespaces: []string{"prod-eu"}}, Promotion: Promotion{Wait: duration(0), Promoters: Principals{}}},
		},
		Repository: Repository{Name: "acme/fleet.configs", Branch: "main"},
		GitHub:     GitHub{BaseURL: "https://github.example.com", Repositories: []string{"acme/apps"}, Auth: Auth{TokenFile: "/etc/ferry/github-token"}},
		Access:     &Access{Default: Principals{"slack:*", "discord:*", "name:jane"}},
		Blueprints: "/etc/ferry/blueprints",
		Applications: []Application{
			{Application: "orders", Namespace: "shop", Environment: "prod", Kind: "chart", File: "apps/prod/orders.yaml", Path: "spec.chart.spec.version"},
			{Application: "web", Kind: "image", File: "web.yaml", Path: "Deployment/web/web:spec.template.spec.containers[0].image"}},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if got.Environments[0].Promotion.Wait.Or(15*time.Second) != 15*time.Second || got.Environments[1].Promotion.Timeout.Or(time.Minute) != 90*time.Minute ||
		got.Environments[2].Promotion.Wait.Or(15*time.Second) != 0 {
		t.Error("defaults")
	}
	web := gitops.Located{Application: "web", Kind: gitops.ImageTag, File: "web.yaml", Path: "Deployment/web/web:spec.template.spec.containers[0].image"}
	orders := gitops.Located{Application: "orders", Namespace: "shop", Kind: gitops.ChartVersion, File: "apps/prod/orders.yaml", Path: "spec.chart.spec.version"}
	for i, want := range [][]gitops.Located{{web}, {orders, web}, {web}} {
		if diff := cmp.Diff(want, got.Fields(i)); diff != "" {
			t.Errorf("fields of %s: %s", got.Environments[i].Name, diff)
		}
	}
}

// TestRule: promoters replace the default, and an empty list of them does too.
func TestRule(t *testing.T) {
	for _, tc := range []struct {
		document string
		want     []gitops.Access
	}{
		{whole, []gitops.Access{{Rule: "access.default", Principals: []string{"slack:*", "discord:*", "name:jane"}},
			{Rule: "environments[1].promotion.promoters", Principals: []string{"slack:U024BE7LH", "automation:nightly"}},
			{Rule: "environments[2].promotion.promoters", Principals: []string{}}}},
		{"environments: [{name: a, promotion: {promoters: [name:jane]}}, {name: b}]",
			[]gitops.Access{{Rule: "environments[0].promotion.promoters", Principals: []string{"name:jane"}}, {}}},
		{"environments: [{name: a}]\naccess: {default: []}", []gitops.Access{{Rule: "access.default", Principals: []string{}}}},
	} {
		c, err := Load(documents(tc.document))
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range tc.want {
			if diff := cmp.Diff(want, c.Rule(i)); diff != "" {
				t.Errorf("%s\n%s", tc.document, diff)
			}
		}
	}
}

// The host passes a document for each configuration group that a channel binds, in order.
func TestLaterDocumentsWin(t *testing.T) {
	got, err := Load(documents(
		"environments: [{name: stage}, {name: prod}]\ngithub: {baseURL: https://a.example, auth: {tokenEnv: A}}\nrepository: {name: acme/a, branch: main}",
		"", "null", "github: {auth: {tokenEnv: B}}", "environments: [{name: dr}]\nrepository: {name: acme/b}"))
	want := Config{Environments: []Environment{{Name: "dr"}}, GitHub: GitHub{BaseURL: "https://a.example", Auth: Auth{TokenEnv: "B"}},
		Repository: Repository{Name: "acme/b", Branch: "main"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestNoConfigurationShowsOne(t *testing.T) {
	for name, docs := range map[string][][]byte{"no document": nil, "empty": documents(""), "null": documents("null"), "empty map": documents("{}"), "only comments": documents("# nothing\n")} {
		_, err := Load(docs)
		refusal, ok := errors.AsType[*gitops.Refusal](err)
		if !ok || refusal.Code != gitops.Config || refusal.Title != "ferry has no configuration yet" {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var example struct{ Config any }
		if err := yaml.Unmarshal([]byte(refusal.Snippet), &example); err != nil {
			t.Fatal(err)
		}
		raw, err := yaml.Marshal(example.Config)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := Load([][]byte{raw}); err != nil || len(c.Environments) == 0 {
			t.Errorf("%s: the example that is shown does not load: %v", name, err)
		}
	}
}

// bad are documents with faults: each fault begins with the path of what is wrong. Faults that the schema finds too
// are marked by bySchema.
var bad = map[string]struct {
	document string
	faults   []string
	bySchema bool
}{
	"blueprints that are not pinned": {"environments: [{name: a}]\nblueprints: 'git::https://gh0-canary@git.example.com/x.git?ref=main'", []string{"blueprints: "}, false},
	"unknown key":                    {"environments: [{name: a}]\nenvironment: x", []string{`unknown field "environment"`}, true},
	"as in Botkube's values":         {"config: {environments: [{name: a}]}", []string{`unknown field "config": write what stands below it`, "environments: at least one is needed"}, true},
	"unknown key inside":             {"environments: [{name: a}, {name: b, promotion: {confirms: optional}}]", []string{`unknown field "environments[1].promotion.confirms"`}, true},
	"another case":                   {"environments: [{name: a}]\nGitHub: {}", []string{`unknown field "GitHub"`}, true},
	"an inline token":                {"environments: [{name: a}]\ngithub: {auth: {token: gh0-canary}}", []string{"github.auth.token: secrets are never written here; put it into a file and write github: {auth: {tokenFile: "}, true},
	"Botkube's inline token":         {"environments: [{name: a}]\ngithub: {auth: {accessToken: gh0-canary}}", []string{"github.auth.accessToken: secrets are never written here"}, true},
	"an inline key":                  {"environments: [{name: a}]\ngithub: {auth: {app: {id: 1, installationID: 2, keyFile: /a, privateKey: gh0-canary}}}", []string{"github.auth.app.privateKey: secrets are never written here; put it into a file and write github: {auth: {app: "}, true},
	"an inline kubeconfig":           {"environments: [{name: a, cluster: {kubeconfig: {users: [{token: gh0-canary}]}}}]", []string{"environments[0].cluster.kubeconfig: secrets are never written here; put it into a file and write cluster: {kubeconfigFile: "}, true},
	"a cluster's token":              {"environments: [{name: a, cluster: {token: gh0-canary}}]", []string{"environments[0].cluster.token: secrets are never written here; put it into a file and write cluster: {kubeconfigFile: "}, true},
	"a token of Flux's cluster":      {"environments: [{name: a, flux: {password: gh0-canary}}]", []string{"environments[0].flux.password: secrets are never written here; put it into a file and write flux: {kubeconfigFile: "}, true},
	"an environment's key":           {"environments: [{name: a, key: gh0-canary}]", []string{"environments[0].key: secrets are never written here; put it into a file and write cluster: {kubeconfigFile: "}, true},
	"a repository's token":           {"environments: [{name: a, repository: {token: gh0-canary}}]", []string{"environments[0].repository.token: secrets are never written here; put it into a file and write github: {auth: {tokenFile: "}, true},
	"a token for a file":             {"environments: [{name: a}]\ngithub: {auth: {tokenFile: github_pat_gh0-canary}}", []string{"github.auth.tokenFile: this looks like a secret itself; secrets are never written here: name the file"}, false},
	"a token for a variable":         {"environments: [{name: a}]\ngithub: {auth: {tokenEnv: ghp_0123456789abcdefghijKLMNOPQRSTUVWXYZ}}", []string{"github.auth.tokenEnv: this looks like a secret itself"}, false},
	"no variable":                    {"environments: [{name: a}]\ngithub: {auth: {tokenEnv: gh0-canary}}", []string{"github.auth.tokenEnv: the name of an environment variable belongs here"}, false},
	"a key for a file":               {"environments: [{name: a}]\ngithub: {auth: {app: {id: 1, installationID: 2, keyFile: \"-----BEGIN RSA PRIVATE KEY-----\\ngh0-canary\"}}}", []string{"github.auth.app.keyFile: this looks like a secret itself"}, false},
	"a secret for a Secret":          {"environments: [{name: a}]\ngithub: {auth: {tokenSecret: gh0-canary}}", []string{"github.auth.tokenSecret: a map belongs here, not a text"}, true},
	"a secret for a duration":        {"environments: [{name: a, promotion: {wait: {token: gh0-canary}}}]", []string{"environments[0].promotion.wait: a duration is written like 15s or 2m, not as a map"}, true},
	"a key that is no text":          {"environments: [{name: a}]\ngithub: {auth: {~: gh0-canary}}", []string{"document 1 cannot be read: a key is no text"}, false},
	"half a tokenSecret":             {"environments: [{name: a}]\ngithub: {auth: {tokenSecret: {namespace: ferry, name: github}}}", []string{"github.auth.tokenSecret: namespace, name and key are needed"}, true},
	"an App without a key":           {"environments: [{name: a}]\ngithub: {auth: {app: {id: 1, installationID: 2}}}", []string{"github.auth.app: the private key is needed, as keyFile or as keySecret"}, false},
	"an App with two":                {"environments: [{name: a}]\ngithub: {auth: {app: {id: 1, installationID: 2, keyFile: /a, keySecret: {namespace: a, name: b, key: c}}}}", []string{"github.auth.app: the private key is needed, as keyFile or as keySecret"}, false},
	"half an App":                    {"environments: [{name: a}]\ngithub: {auth: {app: {id: 1, keySecret: {namespace: a, name: b}}}}", []string{"github.auth.app: id and installationID are needed", "github.auth.app.keySecret: namespace, name and key are needed"}, true},
	"an id in quotes":                {"environments: [{name: a}]\ngithub: {auth: {app: {id: \"1\", installationID: 2, keyFile: /a}}}", []string{"github.auth.app.id: a whole number belongs here"}, true},
	"no id at all":                   {"environments: [{name: a}]\ngithub: {auth: {app: {id: 1.5, installationID: -2, keyFile: /a}}}", []string{"github.auth.app.id: a whole number belongs here", "github.auth.app.installationID: a whole number belongs here"}, true},
	"a huge id":                      {"environments: [{name: a}]\ngithub: {auth: {app: {id: 1e300, installationID: 2, keyFile: /a}}}", []string{"github.auth.app.id: a whole number belongs here"}, false},
	"App and token":                  {"environments: [{name: a}]\ngithub: {auth: {tokenFile: /a, app: {id: 1, installationID: 2, keyFile: /a}}}", []string{"github.auth: tokenFile, tokenEnv, tokenSecret and app exclude each other"}, false},
	"an allowed URL":                 {"environments: [{name: a}]\ngithub: {repositories: [acme/apps, https://bot:gh0-canary@github.com/acme/x]}", []string{"github.repositories[1]: write OWNER/NAME"}, false},
	"a URL without TLS":              {"environments: [{name: a}]\ngithub: {baseURL: http://github.example.com, repositories: [apps]}", []string{"github.baseURL: write it with https://", "github.repositories[0]: "}, false},
	"a URL with a password":          {"environments: [{name: a}]\ngithub: {baseURL: https://bot:gh0-canary@github.example.com}", []string{"github.baseURL: write the root of the Enterprise Server"}, false},
	"no namespace":                   {"environments: [{name: a, namespaces: [shop, \"\"], flux: {namespaces: [null, Shop]}}]", []string{`environments[0].namespaces[1]: "" is no name of a namespace`, "environments[0].flux.namespaces[0]: ", `environments[0].flux.namespaces[1]: "Shop" is`}, false},
	"unknown identity":               {"environments: [{name: a, impersonate: me}]", []string{`environments[0].impersonate: "me" is none of host none`}, true},
	"no environment":                 {"repository: {name: acme/fleet}", []string{"environments: at least one is needed"}, false},
	"no name":                        {"environments: [{namespaces: [a]}]", []string{"environments[0].name: a name is needed"}, true},
	"a name with blanks":             {"environments: [{name: prod eu}]", []string{`environments[0].name: "prod eu" is not a name that commands can address`}, false},
	"a name that is an option":       {"environments: [{name: --yes}]", []string{`environments[0].name: "--yes" is not a name that commands can address`}, false},
	"pr":                             {"environments: [{name: pr}]", []string{`environments[0].name: "pr" is a word of ferry's own`}, false},
	"a preposition":                  {"environments: [{name: to}]", []string{`environments[0].name: "to" is a word of ferry's own`}, false},
	"a name with a dot at last":      {"environments: [{name: prod.}]", []string{`environments[0].name: "prod." is not a name that commands can address`}, false},
	"a name twice":                   {"environments: [{name: a}, {name: a}]", []string{`environments[1].name: "a" is there twice`}, false},
	"two kubeconfigs": {"environments: [{name: a, cluster: {kubeconfigFile: /a, secretRef: {namespace: a, name: b}}}]",
		[]string{"environments[0].cluster: kubeconfigFile and secretRef exclude each other"}, false},
	"half a secret":            {"environments: [{name: a, flux: {cluster: {secretRef: {name: b}}}}]", []string{"environments[0].flux.cluster.secretRef: namespace and name are needed"}, true},
	"a repository's URL":       {"environments: [{name: a}]\nrepository: {name: https://bot:gh0-canary@github.com/acme/fleet}", []string{"repository.name: write OWNER/NAME"}, false},
	"an environment's repo":    {"environments: [{name: a, repository: {name: fleet}}]", []string{"environments[0].repository.name: write OWNER/NAME"}, false},
	"unknown mode":             {"environments: [{name: a, promotion: {mode: push}}]", []string{`environments[0].promotion.mode: "push" is none of auto commit pullRequest`}, true},
	"unknown confirm":          {"environments: [{name: a, promotion: {confirm: \"no\"}}]", []string{`environments[0].promotion.confirm: "no" is none of required optional`}, true},
	"a wildcard for names":     {"environments: [{name: a}]\naccess: {default: [\"slack:*\", \"name:*\"]}", []string{`access.default[1]: "name:*" has a *`}, true},
	"a mention":                {"environments: [{name: a, promotion: {promoters: [\"<@U024BE7LH>\"]}}]", []string{"environments[0].promotion.promoters[0]: somebody is written as"}, true},
	"no id":                    {"environments: [{name: a, promotion: {promoters: [slack:jane]}}]", []string{`environments[0].promotion.promoters[0]: "slack:jane" has no id of slack`}, true},
	"a map for somebody":       {"environments: [{name: a}]\naccess: {default: [name: jane]}", []string{"access.default[0]: a text, "}, true},
	"one, not a list":          {"environments: [{name: a}]\naccess: {default: slack:U1}", []string{"access.default: a list, with a dash before each entry, belongs here, not a text"}, true},
	"promoters left empty":     {"environments: [{name: a, promotion: {promoters: }}]", []string{"environments[0].promotion.promoters: say who may"}, true},
	"access left empty":        {"environments: [{name: a}]\naccess:\n# default: [slack:U1]", []string{"access: say who may"}, false},
	"a default left empty":     {"environments: [{name: a}]\naccess:\n  default:\n  # - slack:U1", []string{"access.default: say who may"}, true},
	"access without one":       {"environments: [{name: a}]\naccess: {}", []string{"access.default: say who may"}, true},
	"nobody in a list":         {"environments: [{name: a}]\naccess: {default: [null]}", []string{`access.default[0]: somebody is written as`}, true},
	"two tokens":               {"environments: [{name: a}]\ngithub: {auth: {tokenFile: /a, tokenEnv: A}}", []string{"github.auth: tokenFile, tokenEnv, tokenSecret and app exclude each other"}, false},
	"a number of seconds":      {"environments: [{name: a, promotion: {wait: 15}}]", []string{"environments[0].promotion.wait: a duration is written like 15s or 2m, not as a number"}, true},
	"no duration":              {"environments: [{name: a, promotion: {wait: soon}}]", []string{"environments[0].promotion.wait: a duration is written like 15s or 2m, not \"soon\""}, true},
	"a tiny duration":          {"environments: [{name: a, promotion: {timeout: 1us}}]", []string{"environments[0].promotion.timeout: a duration is written like 15s or 2m, not \"1us\""}, true},
	"a signed duration":        {"environments: [{name: a, promotion: {timeout: +1m}}]", []string{"environments[0].promotion.timeout: a duration is written like 15s or 2m, not \"+1m\""}, true},
	"what cannot be seen":      {"environments: [{name: a, cluster: {context: \"pr\\u200bod\"}}]", []string{"environments[0].cluster.context: there are characters in it that cannot be seen"}, false},
	"a negative duration":      {"environments: [{name: a, promotion: {timeout: -1m}}]", []string{"environments[0].promotion.timeout: a duration is written like 15s or 2m, not \"-1m\""}, true},
	"a long wait":              {"environments: [{name: a, promotion: {wait: 5m1s}}]", []string{"environments[0].promotion.wait: an answer waits for five minutes at most"}, false},
	"no time at all":           {"environments: [{name: a, promotion: {timeout: 0s}}]", []string{"environments[0].promotion.timeout: a rollout takes some time"}, false},
	"an empty map":             {"environments: {}", []string{"environments: a list, with a dash before each entry, belongs here, not a map"}, true},
	"a list for a map":         {"environments: {stage: {}}", []string{"environments: a list, with a dash before each entry, belongs here, not a map"}, true},
	"a map for a text":         {"environments: [{name: {a: b}}]", []string{"environments[0].name: a text, in quotes if it looks like a number or like yes or no, belongs here, not a map"}, true},
	"a word that is none":      {"environments: [{name: a, promotion: {confirm: no}}]", []string{"environments[0].promotion.confirm: a text, in quotes if it looks like a number or like yes or no, belongs here, not a boolean"}, true},
	"a number for a text":      {"environments: [{name: a}, {name: 8}]", []string{"environments[1].name: a text, in quotes if it looks like a number or like yes or no, belongs here, not a number"}, true},
	"a text for a map":         {"environments: [{name: a, cluster: stage}]", []string{"environments[0].cluster: a map belongs here, not a text"}, true},
	"no map":                   {"- name: stage", []string{"document 1 is a list; a map belongs there"}, true},
	"no YAML":                  {"environments: [", []string{"document 1 cannot be read: yaml: line 1: "}, false},
	"a key twice":              {"environments: [{name: a}]\nenvironments: [{name: b}]", []string{"document 1 cannot be read: yaml: unmarshal errors: line 2: key \"environments\" already set in map"}, false},
	"half an application":      {"environments: [{name: a}]\napplications: [{application: orders, kind: chart}]", []string{"applications[0].file: it is needed", "applications[0].path: it is needed"}, true},
	"an application elsewhere": {"environments: [{name: a}]\napplications: [{application: o, environment: b, namespace: Shop, kind: tag, file: f, path: p, line: 3}]", []string{`unknown field "applications[0].line"`, `applications[0].environment: "b" is no environment`, `applications[0].namespace: "Shop" is no name`, `applications[0].kind: "tag" is none of chart image`}, true},
	"an application twice":     {"environments: [{name: a}]\napplications: [{application: o, kind: chart, file: f, path: p}, {application: o, environment: a, kind: chart, file: g, path: p}]", []string{"applications[1]: an entry before it is about the same"}, false},
	"many at once": {"colour: red\nenvironments: [{name: pr, size: 3, promotion: {mode: x, confirm: never}}, {name: a}, {name: a}]\ngithub: {auth: {tokenFile: a, tokenEnv: b}}", []string{
		`unknown field "colour"`, `unknown field "environments[0].size"`, `environments[0].name: "pr" is`, "environments[0].promotion.mode", "environments[0].promotion.confirm",
		`environments[2].name: "a" is there twice`, "github.auth: "}, true},
}

func TestFaultsAreToldTogether(t *testing.T) {
	for name, tc := range bad {
		t.Run(name, func(t *testing.T) {
			_, err := Load(documents(tc.document))
			refusal, ok := errors.AsType[*gitops.Refusal](err)
			if !ok || refusal.Code != gitops.Config || refusal.Reason == "" {
				t.Fatalf("got %v", err)
			}
			if len(refusal.Details) != len(tc.faults) {
				t.Errorf("%d faults: %q", len(refusal.Details), refusal.Details)
			}
			for _, want := range tc.faults {
				found := false
				for _, got := range refusal.Details {
					found = found || strings.HasPrefix(got, want)
				}
				if !found {
					t.Errorf("%q is not among %q", want, refusal.Details)
				}
			}
			for _, never := range []string{"gh0-canary", "ghp_", "Go ", "[]", "config."} {
				if strings.Contains(err.Error(), never) {
					t.Errorf("%q is shown: %v", never, err)
				}
			}
		})
	}
}

func TestSchema(t *testing.T) {
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var raw map[string]any
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		t.Fatal(err)
	}
	if raw["$schema"] != "http://json-schema.org/draft-07/schema#" {
		t.Errorf("$schema is %v", raw["$schema"])
	}
	strict(t, "", raw)
	resolved := resolve(t)
	validate := func(document string) error {
		var value any
		if err := yaml.Unmarshal([]byte(document), &value); err != nil {
			t.Fatal(err)
		}
		return resolved.Validate(value)
	}
	for name, good := range map[string]string{"whole": whole, "least": "environments: [{name: stage}]", "a group of its own": "github: {auth: {tokenEnv: GITHUB_TOKEN}}",
		"a Secret": "github: {auth: {tokenSecret: {namespace: a, name: b, key: c}}}", "an App": "github: {auth: {app: {id: 1, installationID: 2, keySecret: {namespace: a, name: b, key: c}}}}"} {
		if err := validate(good); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, tc := range bad {
		if tc.bySchema && validate(tc.document) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, d := range []string{"15s", "2m", "1h30m", "1.5h", "250ms"} {
		document := "environments: [{name: a, promotion: {timeout: " + d + "}}]"
		if err := validate(document); err != nil {
			t.Errorf("%s: %v", d, err)
		}
		if _, err := Load(documents(document)); err != nil {
			t.Errorf("%s: %v", d, err)
		}
	}
}

// resolve gives the schema to validate with.
func resolve(t testing.TB) *jsonschema.Resolved {
	t.Helper()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var schema jsonschema.Schema
	if err := json.Unmarshal([]byte(text), &schema); err != nil {
		t.Fatal(err)
	}
	resolved, err := schema.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return resolved
}

// strict holds that every object of the schema closes its keys and describes them.
func strict(t *testing.T, path string, schema map[string]any) {
	t.Helper()
	properties, _ := schema["properties"].(map[string]any)
	if properties != nil && schema["additionalProperties"] != false {
		t.Errorf("%s takes unknown keys", path)
	}
	for name, property := range properties {
		p, ok := property.(map[string]any)
		if !ok {
			t.Errorf("%s.%s is %v", path, name, property)
			continue
		}
		if p["description"] == nil {
			t.Errorf("%s.%s has no description", path, name)
		}
		strict(t, path+"."+name, p)
	}
	if items, ok := schema["items"].(map[string]any); ok {
		strict(t, path+"[]", items)
	}
}

func TestToken(t *testing.T) {
	const secret = "gh0-canary"
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("GITHUB_TOKEN", "")
	t.Setenv("GH_TOKEN", "from-gh")
	t.Setenv("FERRY_TEST_TOKEN", " "+secret+"\n")
	t.Setenv("FERRY_TEST_EMPTY", "")
	read := func(_ context.Context, key SecretKey) ([]byte, error) {
		if key != (SecretKey{"ferry", "github", "token"}) {
			return nil, &gitops.Refusal{Code: gitops.Config, Reason: "no such Secret"}
		}
		return []byte(secret + "\n"), nil
	}
	for name, tc := range map[string]struct {
		auth        Auth
		want, fault string
	}{
		"file":             {Auth{TokenFile: file("good", secret+"\r\n")}, secret, ""},
		"variable":         {Auth{TokenEnv: "FERRY_TEST_TOKEN"}, secret, ""},
		"Secret":           {Auth{TokenSecret: &SecretKey{"ferry", "github", "token"}}, secret, ""},
		"no Secret":        {Auth{TokenSecret: &SecretKey{"ferry", "github", "key"}}, "", "no such Secret"},
		"by default":       {Auth{}, "from-gh", ""},
		"no file":          {Auth{TokenFile: filepath.Join(dir, "absent")}, "", "github.auth.tokenFile cannot be read"},
		"the token itself": {Auth{TokenFile: secret}, "", "github.auth.tokenFile cannot be read"},
		"a folder":         {Auth{TokenFile: dir}, "", "github.auth.tokenFile cannot be read"},
		"empty file":       {Auth{TokenFile: file("empty", "\n")}, "", "no GitHub token in the file of github.auth.tokenFile"},
		"empty variable":   {Auth{TokenEnv: "FERRY_TEST_EMPTY"}, "", "no GitHub token in the environment variable of github.auth.tokenEnv"},
		"two lines":        {Auth{TokenFile: file("two", secret+"\n"+secret)}, "", "is not a token"},
		"a word before":    {Auth{TokenFile: file("word", "token "+secret)}, "", "is not a token"},
		"control":          {Auth{TokenFile: file("control", secret+"\x00")}, "", "is not a token"},
		"other characters": {Auth{TokenFile: file("other", secret+"é")}, "", "is not a token"},
	} {
		got, err := tc.auth.Token(t.Context(), read)
		refusal, refused := errors.AsType[*gitops.Refusal](err)
		if got != tc.want || refused != (tc.fault != "") || err != nil && !refused {
			t.Errorf("%s: %q, %v", name, got, err)
			continue
		}
		if refused && (refusal.Code != gitops.Config || !strings.Contains(refusal.Reason, tc.fault) || strings.Contains(err.Error(), secret)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Setenv("GITHUB_TOKEN", "first")
	if got, err := (Auth{}).Token(t.Context(), nil); got != "first" || err != nil {
		t.Errorf("GITHUB_TOKEN: %q, %v", got, err)
	}
	t.Setenv("GITHUB_TOKEN", "")
	t.Setenv("GH_TOKEN", "")
	if _, err := (Auth{}).Token(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "github.auth.tokenFile, tokenEnv, tokenSecret or app") {
		t.Errorf("none: %v", err)
	}
}

func TestAppKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, []byte("in a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	read := func(context.Context, SecretKey) ([]byte, error) { return []byte("in a Secret"), nil }
	if got, err := (App{KeyFile: file}).Key(t.Context(), read); string(got) != "in a file" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := (App{KeySecret: &SecretKey{}}).Key(t.Context(), read); string(got) != "in a Secret" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	_, err := (App{KeyFile: "gh0-canary"}).Key(t.Context(), read)
	if err == nil || !strings.Contains(err.Error(), "github.auth.app.keyFile cannot be read") || strings.Contains(err.Error(), "canary") {
		t.Errorf("no file: %v", err)
	}
}

// TestREADME: the configuration that it shows loads, and it speaks of every key.
func TestREADME(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(raw), "\n## Configuration\n")
	section, _, _ = strings.Cut(section, "\n## ")
	_, example, _ := strings.Cut(section, "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	var values struct {
		Executors map[string]map[string]struct{ Config any }
	}
	if err := yaml.Unmarshal([]byte(example), &values); err != nil {
		t.Fatal(err)
	}
	document, err := yaml.Marshal(values.Executors["ferry"]["ferry/ferry"].Config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Load([][]byte{document}); err != nil {
		t.Errorf("what it shows does not load: %v", err)
	}
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`"([a-zA-Z]+)": \{`).FindAllStringSubmatch(text, -1) {
		if key := m[1]; key != "properties" && key != "items" && !regexp.MustCompile(`\b`+key+`\b`).MatchString(section) {
			t.Errorf("it says nothing of %s", key)
		}
	}
}

func TestReportsOfPullRequests(t *testing.T) {
	const environment = "environments: [{name: prod}]\n"
	got, err := Load(documents(environment + `render: {allowedSources: ["https://charts.example/stable", "oci://ghcr.io/acme"]}
report: {ignore: [{kind: ConfigMap, path: data.build}]}`))
	want := []report.Rule{{Kind: "ConfigMap", Path: "data.build"}}
	if diff := cmp.Diff(want, got.Report.Ignore); diff != "" || err != nil || len(got.Render.AllowedSources) != 2 {
		t.Errorf("%+v, %v, -want +got:\n%s", got.Render, err, diff)
	}
	for document, fault := range map[string]string{
		`render: {allowedSources: ["http://charts.example"]}`:          "render.allowedSources[0]: write https://HOST/PATH or oci://HOST/PATH, without a user, query or fragment",
		`render: {allowedSources: ["https://user:x@charts.example/"]}`: "render.allowedSources[0]: write https://HOST/PATH or oci://HOST/PATH, without a user, query or fragment",
		`render: {allowedSources: [charts.example]}`:                   "render.allowedSources[0]: write https://HOST/PATH or oci://HOST/PATH, without a user, query or fragment",
		`report: {ignore: [{kind: ConfigMap}]}`:                        "report.ignore[0].path: a field is needed, such as metadata.labels.chart",
		`report: {ignore: [{path: data, field: data}]}`:                `unknown field "report.ignore[0].field"`,
	} {
		_, err := Load(documents(environment + document))
		if refusal, ok := errors.AsType[*gitops.Refusal](err); !ok || len(refusal.Details) != 1 || refusal.Details[0] != fault {
			t.Errorf("%s: %v", document, err)
		}
	}
}

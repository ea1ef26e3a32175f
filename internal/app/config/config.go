// Package config reads the plugin's configuration: YAML documents of the host's configuration groups, merged, checked to
// the last key, and its JSON schema, made from the same Go types.
package config

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	sigsjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// Config is the executor's configuration.
type Config struct {
	Environments []Environment `json:"environments,omitempty" jsonschema:"what releases are promoted to, in the order in which answers show them"`
	Repository   Repository    `json:"repository,omitzero" jsonschema:"the Git repository of all environments; read from Flux's GitRepository objects where absent"`
	GitHub       GitHub        `json:"github,omitzero" jsonschema:"access to GitHub"`
}

// Environment is one name to promote to.
type Environment struct {
	Name       string     `json:"name" jsonschema:"the name that people type"`
	Cluster    Cluster    `json:"cluster,omitzero" jsonschema:"where its pods run; the cluster of the host's kubeconfig where absent"`
	Flux       *Flux      `json:"flux,omitempty" jsonschema:"where its Flux objects are, if that is another cluster or other namespaces"`
	Namespaces []string   `json:"namespaces,omitempty" jsonschema:"the namespaces that belong to it; all where absent"`
	Repository Repository `json:"repository,omitzero" jsonschema:"the Git repository of this environment"`
	Promotion  Promotion  `json:"promotion,omitzero" jsonschema:"rules for changes"`
}

// Cluster says how to reach one. All empty: the host's own kubeconfig.
type Cluster struct {
	Context        string     `json:"context,omitempty" jsonschema:"context in the kubeconfig; its current one where absent"`
	KubeconfigFile string     `json:"kubeconfigFile,omitempty" jsonschema:"a mounted kubeconfig, read again for every command"`
	SecretRef      *SecretRef `json:"secretRef,omitempty" jsonschema:"a kubeconfig in a Secret of the home cluster"`
}

// SecretRef is a key of a Secret.
type SecretRef struct {
	Namespace string `json:"namespace" jsonschema:"of the Secret"`
	Name      string `json:"name" jsonschema:"of the Secret"`
	Key       string `json:"key,omitempty" jsonschema:"in the Secret; default: kubeconfig"`
}

// Flux says where an environment's Flux objects are.
type Flux struct {
	Cluster    Cluster  `json:"cluster,omitzero" jsonschema:"the cluster of the Flux objects; the host's where empty"`
	Namespaces []string `json:"namespaces,omitempty" jsonschema:"the namespaces of its Flux objects; all where absent"`
}

// Repository is a repository on GitHub and a branch.
type Repository struct {
	Name   string `json:"name,omitempty" jsonschema:"owner/name"`
	Branch string `json:"branch,omitempty" jsonschema:"the branch that Flux follows; read from Flux where absent"`
}

// Promotion holds the rules for changes of an environment.
type Promotion struct {
	Mode    Mode     `json:"mode,omitempty" jsonschema:"auto (default): a commit where the branch's rules allow it, else a pull request; commit; pullRequest"`
	Confirm Confirm  `json:"confirm,omitempty" jsonschema:"required (default): every change shows a card first; optional: --yes skips it"`
	Wait    Duration `json:"wait,omitzero" jsonschema:"how long an answer waits for the end of a rollout; default 15s"`
	Timeout Duration `json:"timeout,omitzero" jsonschema:"when a rollout counts as not confirmed; default 15m"`
}

// Mode is how a change gets into a branch.
type Mode string

// Confirm says whether a change may go without a card.
type Confirm string

var (
	modes    = []any{"auto", "commit", "pullRequest"}
	confirms = []any{"required", "optional"}
)

// GitHub says which GitHub and as whom.
type GitHub struct {
	BaseURL string `json:"baseURL,omitempty" jsonschema:"root of an Enterprise Server, https://github.example.com; github.com where absent"`
	Auth    Auth   `json:"auth,omitzero" jsonschema:"the credential; never written here itself"`
}

// Auth says where the token is. Both empty: the environment variable GITHUB_TOKEN or GH_TOKEN.
type Auth struct {
	TokenFile string `json:"tokenFile,omitempty" jsonschema:"a mounted file with the token, read for every request"`
	TokenEnv  string `json:"tokenEnv,omitempty" jsonschema:"name of an environment variable with the token"`
}

// A Duration is written as Go writes them: 15s, 2m, 1h30m.
type Duration time.Duration

// UnmarshalJSON reads a duration; a bare number is refused, since it has no unit.
func (d *Duration) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return fmt.Errorf("a duration is written like 15s or 2m, not %s", raw)
	}
	v, err := time.ParseDuration(text)
	if err != nil || v < 0 {
		return fmt.Errorf("a duration is written like 15s or 2m, not %q", text)
	}
	*d = Duration(v)
	return nil
}

// Or gives the duration, or a default where it is not set.
func (d Duration) Or(otherwise time.Duration) time.Duration {
	return cmp.Or(time.Duration(d), otherwise)
}

// Load merges documents and checks the result. A later document wins key by key; lists are replaced whole. All faults
// are reported together, in one Refusal of code Config.
func Load(documents [][]byte) (Config, error) {
	merged := map[string]any{}
	for i, raw := range documents {
		var document map[string]any
		if err := yaml.UnmarshalStrict(raw, &document); err != nil { // strict: no key twice
			return Config{}, wrong([]string{fmt.Sprintf("document %d is not a YAML map: %v", i+1, err)})
		}
		merge(merged, document)
	}
	if len(merged) == 0 {
		return Config{}, firstSteps()
	}
	raw, err := json.Marshal(merged)
	if err != nil {
		return Config{}, fmt.Errorf("encode configuration: %w", err)
	}
	var c Config
	strict, err := sigsjson.UnmarshalStrict(raw, &c)
	if err != nil {
		return Config{}, wrong([]string{mistyped(err)})
	}
	var faults []string
	for _, err := range strict {
		faults = append(faults, err.Error())
	}
	if faults = append(faults, c.faults()...); len(faults) > 0 {
		return Config{}, wrong(faults)
	}
	return c, nil
}

// mistyped words a value of the wrong type: "environments.promotion.confirm: a bool does not belong here …".
func mistyped(err error) string {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		kind, _, _ := strings.Cut(e.Value, " ") // of a number the value follows
		return fmt.Sprintf("%s: a value of type %s does not belong here; YAML takes words such as yes and no for something else than text unless they are in quotes", e.Field, kind)
	}
	return err.Error()
}

func merge(into, from map[string]any) {
	for k, v := range from {
		a, okA := into[k].(map[string]any)
		b, okB := v.(map[string]any)
		if okA && okB {
			merge(a, b)
			continue
		}
		into[k] = v
	}
}

func wrong(faults []string) error {
	return &gitops.Refusal{Code: gitops.Config, Title: "ferry's configuration is wrong",
		Reason: "Botkube passes ferry a configuration with faults. Nothing is done before they are mended.", Details: faults}
}

func firstSteps() error {
	return &gitops.Refusal{Code: gitops.Config, Title: "ferry has no configuration yet",
		Reason: "Name the environments in the plugin's config, in Botkube's values under executors. This is enough to begin:",
		Snippet: `config:
  environments:
  - name: stage
    cluster: {kubeconfigFile: /etc/ferry/stage}
  - name: prod
    cluster: {kubeconfigFile: /etc/ferry/prod}
  github:
    auth: {tokenFile: /etc/ferry/github-token}`}
}

var (
	environmentName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	repositoryName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$`)
)

// faults finds what the types cannot say, each with its path.
func (c Config) faults() (faults []string) {
	fault := func(path, format string, args ...any) {
		faults = append(faults, path+": "+fmt.Sprintf(format, args...))
	}
	repository := func(path string, r Repository) {
		if r.Name != "" && !repositoryName.MatchString(r.Name) {
			fault(path+".name", "%q is not of the form owner/name", r.Name)
		}
	}
	cluster := func(path string, c Cluster) {
		if c.KubeconfigFile != "" && c.SecretRef != nil {
			fault(path, "kubeconfigFile and secretRef exclude each other")
		}
		if r := c.SecretRef; r != nil && (r.Namespace == "" || r.Name == "") {
			fault(path+".secretRef", "namespace and name are needed")
		}
	}
	choice := func(path, value string, allowed []any) {
		if value != "" && !slices.Contains(allowed, any(value)) {
			fault(path, "%q is none of %s", value, strings.Trim(fmt.Sprint(allowed), "[]"))
		}
	}
	if len(c.Environments) == 0 {
		fault("environments", "at least one is needed")
	}
	seen := map[string]bool{}
	for i, e := range c.Environments {
		at := fmt.Sprintf("environments[%d]", i)
		switch {
		case e.Name == "":
			fault(at+".name", "a name is needed")
		case !environmentName.MatchString(e.Name):
			fault(at+".name", "%q has other characters than letters, digits, dots, dashes and underscores", e.Name)
		case e.Name == "pr":
			fault(at+".name", "pr stands for pull requests in commands; choose another")
		case seen[e.Name]:
			fault(at+".name", "%q is there twice", e.Name)
		}
		seen[e.Name] = true
		cluster(at+".cluster", e.Cluster)
		if e.Flux != nil {
			cluster(at+".flux.cluster", e.Flux.Cluster)
		}
		repository(at+".repository", e.Repository)
		choice(at+".promotion.mode", string(e.Promotion.Mode), modes)
		choice(at+".promotion.confirm", string(e.Promotion.Confirm), confirms)
	}
	repository("repository", c.Repository)
	if c.GitHub.Auth.TokenFile != "" && c.GitHub.Auth.TokenEnv != "" {
		fault("github.auth", "tokenFile and tokenEnv exclude each other")
	}
	return faults
}

// Token reads the credential from where the configuration says, without the white space around it.
func (a Auth) Token() (string, error) {
	token, where := "", ""
	switch {
	case a.TokenFile != "":
		where = "the file of github.auth.tokenFile"
		raw, err := os.ReadFile(a.TokenFile)
		if err != nil {
			return "", noToken("The file of github.auth.tokenFile cannot be read.", err)
		}
		token = string(raw)
	case a.TokenEnv != "":
		where = "the environment variable " + a.TokenEnv
		token = os.Getenv(a.TokenEnv)
	default:
		where = "the environment variable GITHUB_TOKEN; name another place with github.auth.tokenFile or github.auth.tokenEnv"
		token = cmp.Or(os.Getenv("GITHUB_TOKEN"), os.Getenv("GH_TOKEN"))
	}
	token = strings.TrimSpace(token)
	if token == "" {
		return "", noToken(fmt.Sprintf("There is no GitHub token in %s.", where), nil)
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", noToken(fmt.Sprintf("What is in %s is not a token.", where), errors.New("blank or control character"))
	}
	return token, nil
}

func noToken(reason string, cause error) error {
	return &gitops.Refusal{Code: gitops.Config, Title: "ferry has no GitHub token", Reason: reason, Cause: cause}
}

// Schema is the configuration's JSON schema, draft-07 as Botkube expects.
func Schema() (string, error) {
	schema, err := jsonschema.For[Config](&jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[Mode]():     {Type: "string", Enum: modes},
		reflect.TypeFor[Confirm]():  {Type: "string", Enum: confirms},
		reflect.TypeFor[Duration](): {Type: "string", Pattern: `^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`},
	}})
	if err != nil {
		return "", fmt.Errorf("make the configuration's schema: %w", err)
	}
	schema.Schema = "http://json-schema.org/draft-07/schema#"
	schema.Title = "ferry"
	raw, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		return "", fmt.Errorf("encode the configuration's schema: %w", err)
	}
	return string(raw), nil
}

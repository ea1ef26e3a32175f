// Package config reads the plugin's configuration: YAML documents of the host's configuration groups, merged, checked to
// the last key, and its JSON schema, made from the same Go types.
package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/url"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/google/jsonschema-go/jsonschema"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/app/fetch"
	"github.com/ferry-chatops/ferry/internal/github"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/report"
)

// Config is the executor's configuration.
type Config struct {
	Environments []Environment `json:"environments,omitzero" jsonschema:"what releases are promoted to, in the order in which answers show them"`
	Repository   Repository    `json:"repository,omitzero" jsonschema:"the Git repository of all environments; read from Flux's GitRepository objects where absent"`
	GitHub       GitHub        `json:"github,omitzero" jsonschema:"access to GitHub"`
	Namespace    string        `json:"namespace,omitempty" jsonschema:"the namespace of the home cluster in which ferry keeps what it has to remember; default: ferry"`
	StateDir     string        `json:"stateDir,omitempty" jsonschema:"an absolute path: where ferry's source keeps its state, if not in the home cluster"`
	Blueprints   string        `json:"blueprints,omitempty" jsonschema:"messages in the place of ferry's own: the absolute path of a folder, git::https://HOST/REPOSITORY.git//FOLDER?ref=COMMIT, or https://HOST/FILE.tar.gz//FOLDER?checksum=sha256:SUM"`
	Applications []Application `json:"applications,omitzero" jsonschema:"the fields that decide versions, where ferry finds several of an application or takes another; in the words of ferry where"`
	Render       Render        `json:"render,omitzero" jsonschema:"what reports about pull requests may fetch"`
	Report       Report        `json:"report,omitzero" jsonschema:"what reports about pull requests show"`
	Access       *Access       `json:"access,omitempty" jsonschema:"who may promote and roll back; anybody in a bound channel where absent. Reading is for all"`
}

// Render says what a pull request's content may have ferry fetch.
type Render struct {
	AllowedSources []string `json:"allowedSources,omitzero" jsonschema:"addresses that charts may come from besides those that the clusters have them from: https://HOST/PATH or oci://HOST/PATH, and all below; fetched without credentials"`
}

// Report says what reports leave out.
type Report struct {
	Ignore []report.Rule `json:"ignore,omitzero" jsonschema:"fields whose changes are noise, besides those that ferry knows"`
}

// Access says who may change environments.
type Access struct {
	Default Principals `json:"default" jsonschema:"who may where an environment names no promoters, each as slack:ID, discord:ID, automation:NAME or name:NAME; slack:* and discord:* are everybody there; an empty list is nobody"`
}

// Principals are people and automations as gitops.ValidPrincipal reads them. Empty is nobody, and another thing than
// absent; a key without a value is neither.
type Principals []string

// Environment is one name to promote to.
type Environment struct {
	Name       string     `json:"name" jsonschema:"the name that people type"`
	Cluster    Cluster    `json:"cluster,omitzero" jsonschema:"where its pods run; the cluster of the host's kubeconfig where absent"`
	Flux       *Flux      `json:"flux,omitempty" jsonschema:"where its Flux objects are, if that is another cluster or other namespaces"`
	Namespaces []string   `json:"namespaces,omitzero" jsonschema:"the namespaces that belong to it; all where absent"`
	Repository Repository `json:"repository,omitzero" jsonschema:"the Git repository of this environment"`
	Promotion  Promotion  `json:"promotion,omitzero" jsonschema:"rules for changes"`
	// Impersonate says as whom ferry acts in the environment's clusters.
	Impersonate Impersonate `json:"impersonate,omitempty" jsonschema:"host (default): the user and groups of the host's kubeconfig, so that rights that Botkube gives a channel hold there too; none: the environment's own credential as it is"`
}

// Application names the field that decides a version of one, as ferry where prints it.
type Application struct {
	Application string `json:"application" jsonschema:"its name"`
	Namespace   string `json:"namespace,omitempty" jsonschema:"its namespace; any where absent"`
	Environment string `json:"environment,omitempty" jsonschema:"the environment that it is in; all where absent"`
	Kind        Kind   `json:"kind" jsonschema:"what the version counts"`
	File        string `json:"file" jsonschema:"the file in the repository"`
	Path        string `json:"path" jsonschema:"the field in the file"`
}

// Kind is what a version counts.
type Kind string

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
	Cluster    *Cluster `json:"cluster,omitempty" jsonschema:"the cluster of the Flux objects; the environment's own where absent, and the cluster of the host's kubeconfig where empty"`
	Namespaces []string `json:"namespaces,omitzero" jsonschema:"the namespaces in which Kustomizations and HelmReleases are looked for, all where absent; the sources that they name are read wherever they are"`
}

// Repository is a repository on GitHub and a branch.
type Repository struct {
	Name   string `json:"name,omitempty" jsonschema:"owner/name"`
	Branch string `json:"branch,omitempty" jsonschema:"the branch that Flux follows; read from Flux where absent"`
}

// Promotion holds the rules for changes of an environment.
type Promotion struct {
	Mode    Mode      `json:"mode,omitempty" jsonschema:"auto (default): a commit where the branch's rules allow it, else a pull request; commit; pullRequest"`
	Confirm Confirm   `json:"confirm,omitempty" jsonschema:"required (default): every change shows a card first; optional: --yes skips it"`
	Wait    *Duration `json:"wait,omitempty" jsonschema:"how long an answer waits for the end of a rollout, at most 5m; default 15s"`
	Timeout *Duration `json:"timeout,omitempty" jsonschema:"when a rollout counts as not confirmed; default 15m"`
	// Promoters replace Access.Default where they are not nil.
	Promoters Principals `json:"promoters,omitzero" jsonschema:"who may change this environment, instead of access.default and written as there"`
}

// Mode is how a change gets into a branch.
type Mode string

// Confirm says whether a change may go without a card.
type Confirm string

// Impersonate says whether the host's identity goes with ferry into other clusters.
type Impersonate string

var (
	modes        = []any{"auto", "commit", "pullRequest"}
	confirms     = []any{"required", "optional"}
	impersonates = []any{"host", "none"}
	kinds        = []any{string(gitops.ChartVersion), string(gitops.ImageTag), string(gitops.Reference), string(gitops.Substitute), string(gitops.Artifact)}
)

// GitHub says which GitHub, what of it and as whom.
type GitHub struct {
	BaseURL      string   `json:"baseURL,omitempty" jsonschema:"root of an Enterprise Server, https://github.example.com; github.com where absent"`
	Repositories []string `json:"repositories,omitzero" jsonschema:"repositories, owner/name, that applications may come from besides those that environments follow; all others are refused"`
	Auth         Auth     `json:"auth,omitzero" jsonschema:"the credential; never written here itself"`
}

// A Duration is written as Go writes them: 15s, 2m, 1h30m.
type Duration time.Duration

// maxWait of an answer: the plugin gives up after ten minutes, and a change takes some of them before it waits.
const maxWait = 5 * time.Minute

// UnmarshalJSON reads a duration; a bare number is refused, since it has no unit.
func (d *Duration) UnmarshalJSON(raw []byte) error {
	var text any
	if err := json.Unmarshal(raw, &text); err != nil {
		return err
	}
	v, err := parseDuration(text)
	*d = Duration(v)
	return err
}

// durationPattern is for the schema too. Nothing here is finer than a millisecond.
const durationPattern = `^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`

var durationText = regexp.MustCompile(durationPattern)

func parseDuration(value any) (time.Duration, error) {
	text, ok := value.(string)
	if !ok {
		return 0, fmt.Errorf("a duration is written like 15s or 2m, not as %s", kind(value))
	}
	d, err := time.ParseDuration(text)
	if err != nil || !durationText.MatchString(text) || d%time.Millisecond != 0 {
		return 0, fmt.Errorf("a duration is written like 15s or 2m, not %.20q", text)
	}
	return d, nil
}

// MarshalJSON writes a duration as it is read.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// Or gives the duration, or a default where there is none.
func (d *Duration) Or(otherwise time.Duration) time.Duration {
	if d == nil {
		return otherwise
	}
	return time.Duration(*d)
}

// Load merges documents and checks the result. All faults are reported together, in one Refusal of code Config.
func Load(documents [][]byte) (Config, error) {
	merged, err := mergeAll(documents)
	if err != nil {
		return Config{}, err
	}
	if len(merged) == 0 {
		return Config{}, firstSteps()
	}
	raw, err := json.Marshal(merged)
	if err != nil {
		return Config{}, fmt.Errorf("encode configuration: %w", err)
	}
	faults := misfits("", merged, reflect.TypeFor[Config]())
	var c Config
	switch err := json.Unmarshal(raw, &c); {
	case err == nil:
		faults = append(faults, c.faults()...)
	case len(faults) == 0:
		return Config{}, fmt.Errorf("decode configuration: %w", err)
	}
	if len(faults) > 0 {
		return Config{}, wrong(faults)
	}
	return c, nil
}

// nothing is the fault of an access rule that is begun and not written, where silence could mean anybody or nobody.
const nothing = ": say who may promote, with an empty list for nobody, or leave the key out"

// keysOf are the keys of a struct in a document, with their types.
func keysOf(of reflect.Type) map[string]reflect.Type {
	keys := map[string]reflect.Type{}
	for i := range of.NumField() {
		if name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ","); name != "-" {
			keys[name] = of.Field(i).Type
		}
	}
	return keys
}

// misfits finds keys that there are not, and values of another type than want, each with its path.
func misfits(path string, value any, want reflect.Type) (faults []string) {
	if want.Kind() == reflect.Pointer {
		want = want.Elem()
	}
	misfit := func(belongs string) []string {
		return []string{fmt.Sprintf("%s: %s belongs here, not %s", path, belongs, kind(value))}
	}
	if value == nil { // the same as no key, but where nothing stands for everything
		switch want {
		case reflect.TypeFor[Principals](), reflect.TypeFor[Access]():
			return []string{path + nothing}
		}
		return nil
	}
	if want == reflect.TypeFor[Duration]() {
		if _, err := parseDuration(value); err != nil {
			return []string{path + ": " + err.Error()}
		}
		return nil
	}
	switch want.Kind() {
	case reflect.Struct:
		keys, ok := value.(map[string]any)
		if !ok {
			return misfit("a map")
		}
		if _, ok := keys["default"]; !ok && want == reflect.TypeFor[Access]() {
			faults = append(faults, path+".default"+nothing)
		}
		known := keysOf(want)
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			at := strings.TrimPrefix(path+"."+key, ".")
			if known[key] == nil {
				faults = append(faults, unknown(path, key, maps.Keys(known)))
				continue
			}
			faults = append(faults, misfits(at, keys[key], known[key])...)
		}
	case reflect.Slice:
		entries, ok := value.([]any)
		if !ok {
			return misfit("a list, with a dash before each entry,")
		}
		for i, entry := range entries {
			faults = append(faults, misfits(fmt.Sprintf("%s[%d]", path, i), entry, want.Elem())...)
		}
	case reflect.Int64:
		if n, ok := value.(float64); !ok || n != math.Trunc(n) || n < 1 || n >= 1<<53 {
			return []string{path + ": a whole number belongs here"}
		}
	case reflect.Float64:
		if n, ok := value.(float64); !ok || !(n > 0) || n > 1e6 {
			return []string{path + ": a number above 0 belongs here"}
		}
	case reflect.Bool:
		if _, ok := value.(bool); !ok {
			return misfit("true or false")
		}
	case reflect.String:
		text, ok := value.(string)
		if !ok {
			return misfit("a text, in quotes if it looks like a number or like yes or no,")
		}
		if secret.MatchString(text) {
			return []string{path + ": this looks like a secret itself; " + elsewhere}
		}
		lines := want == reflect.TypeFor[Template]()
		if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && (!lines || r != '\n' && r != '\t') }) {
			return []string{path + ": there are characters in it that cannot be seen"}
		}
	}
	return faults
}

// kind names the type of a value for people.
func kind(value any) string {
	switch value.(type) {
	case map[string]any:
		return "a map"
	case []any:
		return "a list"
	case string:
		return "a text"
	case bool:
		return "a boolean"
	}
	return "a number"
}

// mergeAll reads documents one over another: a later one wins key by key, lists are replaced whole. It is what
// plugin.MergeExecutorConfigs of Botkube does with texts, numbers, maps and lists. Only words such as no and on are truth
// values here, as everywhere in Kubernetes, and are a fault where a text belongs.
func mergeAll(documents [][]byte) (map[string]any, error) {
	merged := map[string]any{}
	for i, raw := range documents {
		var document any
		if err := yaml.UnmarshalStrict(raw, &document); err != nil { // strict: no key twice
			why := strings.TrimPrefix(err.Error(), "error converting YAML to JSON: ")
			if strings.Contains(why, "map key") { // whose value would be shown
				why = "a key is no text"
			}
			return nil, wrong([]string{fmt.Sprintf("document %d cannot be read: %s", i+1, strings.Join(strings.Fields(why), " "))})
		}
		keys, ok := document.(map[string]any)
		if !ok && document != nil {
			return nil, wrong([]string{fmt.Sprintf("document %d is %s; a map belongs there", i+1, kind(document))})
		}
		merge(merged, keys)
	}
	return merged, nil
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
		Reason: "Its configuration has faults. Nothing is done before they are mended.", Details: faults}
}

func firstSteps() error {
	return &gitops.Refusal{Code: gitops.Config, Title: "ferry has no configuration yet",
		Reason: "Name the environments in the plugin's config, in Botkube's values under executors; in a terminal, in ferry.yaml, without the line \"config:\". This is enough to begin:",
		Snippet: `config:
  environments:
  - name: stage
    cluster: {kubeconfigFile: /etc/ferry/stage}
  - name: prod
    cluster: {kubeconfigFile: /etc/ferry/prod}
  github:
    auth: {tokenFile: /etc/ferry/github-token}`}
}

// namespaceName is a label of RFC 1123, as Kubernetes names namespaces.
var namespaceName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// faults finds what the types cannot say, each with its path.
func (c Config) faults() (faults []string) {
	fault := func(path, format string, args ...any) {
		faults = append(faults, path+": "+fmt.Sprintf(format, args...))
	}
	repository := func(path string, r Repository) {
		if _, _, ok := gitops.SplitRepository(r.Name); r.Name != "" && !ok { // which may be a URL with a password: not shown
			fault(path+".name", "write OWNER/NAME as on GitHub, without the address")
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
	namespaces := func(path string, names []string) {
		for i, name := range names {
			if !namespaceName.MatchString(name) { // an empty one would be all of them
				fault(fmt.Sprintf("%s[%d]", path, i), "%q is no name of a namespace", name)
			}
		}
	}
	choice := func(path, value string, allowed []any) {
		if value != "" && !slices.Contains(allowed, any(value)) {
			fault(path, "%q is none of %s", value, strings.Trim(fmt.Sprint(allowed), "[]"))
		}
	}
	principals := func(path string, all Principals) {
		for i, p := range all {
			if err := gitops.ValidPrincipal(p); err != nil {
				fault(fmt.Sprintf("%s[%d]", path, i), "%v", err)
			}
		}
	}
	if c.Access != nil {
		principals("access.default", c.Access.Default)
	}
	if len(c.Environments) == 0 {
		fault("environments", "at least one is needed")
	}
	seen := map[string]bool{}
	for i, e := range c.Environments {
		at := fmt.Sprintf("environments[%d]", i)
		if err := gitops.ValidEnvironment(e.Name); err != nil {
			fault(at+".name", "%v", err)
		} else if seen[e.Name] {
			fault(at+".name", "%q is there twice", e.Name)
		}
		seen[e.Name] = true
		cluster(at+".cluster", e.Cluster)
		namespaces(at+".namespaces", e.Namespaces)
		if e.Flux != nil {
			namespaces(at+".flux.namespaces", e.Flux.Namespaces)
			if e.Flux.Cluster != nil {
				cluster(at+".flux.cluster", *e.Flux.Cluster)
			}
		}
		repository(at+".repository", e.Repository)
		choice(at+".promotion.mode", string(e.Promotion.Mode), modes)
		choice(at+".promotion.confirm", string(e.Promotion.Confirm), confirms)
		choice(at+".impersonate", string(e.Impersonate), impersonates)
		principals(at+".promotion.promoters", e.Promotion.Promoters)
		if e.Promotion.Wait.Or(0) > maxWait {
			fault(at+".promotion.wait", "an answer waits for five minutes at most: write 5m or less")
		}
		if e.Promotion.Timeout.Or(1) == 0 {
			fault(at+".promotion.timeout", "a rollout takes some time: write more than 0s")
		}
	}
	for i, a := range c.Applications {
		at := fmt.Sprintf("applications[%d]", i)
		for _, needed := range [][2]string{{"application", a.Application}, {"kind", string(a.Kind)}, {"file", a.File}, {"path", a.Path}} {
			if needed[1] == "" {
				fault(at+"."+needed[0], "it is needed: write what ferry where prints")
			}
		}
		choice(at+".kind", string(a.Kind), kinds)
		if a.Namespace != "" && !namespaceName.MatchString(a.Namespace) {
			fault(at+".namespace", "%q is no name of a namespace", a.Namespace)
		}
		if a.Environment != "" && !seen[a.Environment] {
			fault(at+".environment", "%q is no environment of this configuration", a.Environment)
		}
		if slices.ContainsFunc(c.Applications[:i], a.meets) {
			fault(at, "an entry before it is about the same application, environment and kind")
		}
	}
	repository("repository", c.Repository)
	if c.Namespace != "" && !namespaceName.MatchString(c.Namespace) {
		fault("namespace", "%q is no name of a namespace", c.Namespace)
	}
	if c.StateDir != "" && !filepath.IsAbs(c.StateDir) {
		fault("stateDir", "write an absolute path")
	}
	if c.Blueprints != "" {
		if _, err := fetch.Parse(c.Blueprints); err != nil {
			fault("blueprints", "%v", err)
		}
	}
	if _, err := github.Root(c.GitHub.BaseURL); err != nil {
		fault("github.baseURL", "%v", err)
	}
	for i, name := range c.GitHub.Repositories {
		if _, _, ok := gitops.SplitRepository(name); !ok {
			fault(fmt.Sprintf("github.repositories[%d]", i), "write OWNER/NAME as on GitHub, without the address")
		}
	}
	for i, address := range c.Render.AllowedSources {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "https" && u.Scheme != "oci" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			fault(fmt.Sprintf("render.allowedSources[%d]", i), "write https://HOST/PATH or oci://HOST/PATH, without a user, query or fragment")
		}
	}
	if _, err := report.Compile(c.Report.Ignore); err != nil {
		faults = append(faults, "report.ignore"+err.Error())
	}
	c.GitHub.Auth.faults("github.auth", fault)
	return faults
}

// meets says that two entries may be about the same field.
func (a Application) meets(b Application) bool {
	same := func(x, y string) bool { return x == "" || y == "" || x == y }
	return a.Application == b.Application && a.Kind == b.Kind && same(a.Namespace, b.Namespace) && same(a.Environment, b.Environment)
}

// Fields are those that the configuration names for the environment of an index.
func (c Config) Fields(environment int) (fields []gitops.Located) {
	for _, a := range c.Applications {
		if a.Environment == "" || a.Environment == c.Environments[environment].Name {
			fields = append(fields, gitops.Located{Application: a.Application, Namespace: a.Namespace, Kind: gitops.VersionKind(a.Kind), File: a.File, Path: a.Path})
		}
	}
	return fields
}

// Rule says who may change the environment of an index: its own promoters, or those by default, or anybody.
func (c Config) Rule(environment int) gitops.Access {
	switch promoters := c.Environments[environment].Promotion.Promoters; {
	case promoters != nil:
		return gitops.Access{Rule: fmt.Sprintf("environments[%d].promotion.promoters", environment), Principals: promoters}
	case c.Access != nil:
		return gitops.Access{Rule: "access.default", Principals: c.Access.Default}
	}
	return gitops.Access{}
}

// Schema is the configuration's JSON schema, draft-07 as Botkube expects.
func Schema() (string, error) { return schemaOf[Config]("ferry") }

func schemaOf[T any](title string) (string, error) {
	schema, err := jsonschema.For[T](&jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[Mode]():        {Type: "string", Enum: modes},
		reflect.TypeFor[Confirm]():     {Type: "string", Enum: confirms},
		reflect.TypeFor[Impersonate](): {Type: "string", Enum: impersonates},
		reflect.TypeFor[Kind]():        {Type: "string", Enum: kinds},
		reflect.TypeFor[Type]():        {Type: "string", Enum: types},
		reflect.TypeFor[Style]():       {Type: "string", Enum: styles},
		reflect.TypeFor[Principals]():  {Type: "array", Items: &jsonschema.Schema{Type: "string", Pattern: `^(slack:([UW][A-Z0-9]+|\*)|discord:([0-9]+|\*)|(automation|name):[^*]+)$`}},
		reflect.TypeFor[Duration]():    {Type: "string", Pattern: durationPattern},
	}})
	if err != nil {
		return "", fmt.Errorf("make the configuration's schema: %w", err)
	}
	schema.Schema = "http://json-schema.org/draft-07/schema#"
	schema.Title = title
	raw, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		return "", fmt.Errorf("encode the configuration's schema: %w", err)
	}
	return string(raw), nil
}

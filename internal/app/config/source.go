package config

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ferry-chatops/ferry/internal/blueprint"
	"github.com/ferry-chatops/ferry/internal/github"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/watch"
)

// Source is the source plugin's configuration. That of Botkube's plugin github-events is read as well, but for secrets
// written into it and for events other than those of pull requests.
type Source struct {
	Namespace    string       `json:"namespace,omitempty" jsonschema:"the namespace of the home cluster in which what was seen and told is kept; default: ferry"`
	GitHub       SourceGitHub `json:"github,omitzero" jsonschema:"access to GitHub"`
	Interval     *Duration    `json:"interval,omitempty" jsonschema:"how often each repository is looked at; default 30s"`
	Repositories []Followed   `json:"repositories" jsonschema:"the repositories whose pull requests are followed"`
	Environments []Place      `json:"environments,omitzero" jsonschema:"where environments lie in repositories, so that a message says which of them a pull request touches"`
	Blueprints   string       `json:"blueprints,omitempty" jsonschema:"messages in the place of ferry's own: the absolute path of a folder, git::https://HOST/REPOSITORY.git//FOLDER?ref=COMMIT, or https://HOST/FILE.tar.gz//FOLDER?checksum=sha256:SUM"`
	StateDir     string       `json:"stateDir,omitempty" jsonschema:"an absolute path: where state is kept in the place of the home cluster"`
	CacheDir     string       `json:"cacheDir,omitempty" jsonschema:"an absolute path: where GitHub's answers are kept, so that a restart costs nothing; where absent, beside the state or in the temporary folder"`
	Budget       Budget       `json:"budget,omitzero" jsonschema:"how much GitHub is asked"`
	Metrics      Metrics      `json:"metrics,omitzero" jsonschema:"figures for Prometheus"`

	// Partial says that a fault left something out.
	Partial bool `json:"-"`
}

// SourceGitHub says which GitHub and as whom.
type SourceGitHub struct {
	BaseURL string      `json:"baseURL,omitempty" jsonschema:"root of an Enterprise Server, https://github.example.com; github.com where absent"`
	Auth    Auth        `json:"auth,omitzero" jsonschema:"the credential; never written here itself"`
	Owners  []OwnerAuth `json:"owners,omitzero" jsonschema:"other credentials for the repositories of some owners, as of a GitHub App that is installed in several organisations"`
}

// OwnerAuth is the credential for the repositories of one owner.
type OwnerAuth struct {
	Owner string `json:"owner" jsonschema:"an organisation or a user"`
	Auth  Auth   `json:"auth" jsonschema:"the credential; never written here itself"`
}

// Budget bounds what is asked of GitHub with one credential.
type Budget struct {
	PerMinute int64   `json:"perMinute,omitempty" jsonschema:"requests a minute beyond which quiet repositories are asked less often; default 300"`
	Factor    float64 `json:"factor,omitempty" jsonschema:"divides all times and multiplies all numbers a minute, for trials; default 1"`
}

// Metrics say where figures are served.
type Metrics struct {
	Port int64 `json:"port,omitempty" jsonschema:"serves /metrics on this port; none where absent"`
}

// Followed is one repository.
type Followed struct {
	Name           string    `json:"name" jsonschema:"owner/name"`
	BeforeDuration *Duration `json:"beforeDuration,omitempty" jsonschema:"when the repository is seen for the first time: tell what happened so long before; default 0s, nothing"`
	On             On        `json:"on,omitzero" jsonschema:"what is told of it; every pull request that is opened, closed or merged where absent"`
}

// On are the rules of a repository.
type On struct {
	PullRequests []PullRequestRule `json:"pullRequests" jsonschema:"a pull request is told by the first rule that it fits"`
}

// PullRequestRule says which pull requests are told, and how.
type PullRequestRule struct {
	Types                []Type               `json:"types,omitzero" jsonschema:"open (is or becomes open, once for each head), closed, merged; or opened, reopened, synchronize, ready, labelled, unlabelled, retargeted; open, closed and merged where absent"`
	Base                 []string             `json:"base,omitzero" jsonschema:"the branches that they are meant for; all where absent"`
	Drafts               *bool                `json:"drafts,omitempty" jsonschema:"false: none that is a draft; all where absent"`
	Authors              Patterns             `json:"authors,omitzero" jsonschema:"logins"`
	Paths                Patterns             `json:"paths,omitzero" jsonschema:"files that they change"`
	Labels               Patterns             `json:"labels,omitzero" jsonschema:"labels that they have"`
	NotificationTemplate NotificationTemplate `json:"notificationTemplate,omitzero" jsonschema:"what the message looks like"`
}

// Patterns are regular expressions, each for the whole of a name, or behind "glob:" globs. What is excluded goes before what
// is included; where nothing is included, everything else is.
type Patterns struct {
	Include []string `json:"include,omitzero" jsonschema:"one of these has to fit"`
	Exclude []string `json:"exclude,omitzero" jsonschema:"none of these may fit"`
}

// NotificationTemplate changes the message. In its templates the dot is go-github's PullRequest.
type NotificationTemplate struct {
	Blueprint    string        `json:"blueprint,omitempty" jsonschema:"a file in the place of ferry's blueprint pull: its absolute path"`
	PreviewTpl   Template      `json:"previewTpl,omitempty" jsonschema:"a template of text in the place of the fields of the message"`
	ExtraButtons []ExtraButton `json:"extraButtons,omitzero" jsonschema:"more buttons, with a command or an address each"`
}

// ExtraButton is a button of an operator's.
type ExtraButton struct {
	DisplayName string   `json:"displayName" jsonschema:"what is on it"`
	CommandTpl  Template `json:"commandTpl,omitempty" jsonschema:"a template of a command of any plugin; the button is left out where a value has other characters than letters, digits and ._/:#=+-"`
	URL         Template `json:"url,omitempty" jsonschema:"a template of an https address; it goes before commandTpl"`
	Style       Style    `json:"style,omitempty" jsonschema:"primary or danger"`
}

// A Template is text with Go's template actions, of several lines.
type Template string

// Place is where an environment lies.
type Place struct {
	Name       string          `json:"name" jsonschema:"the name that people type"`
	Repository PlaceRepository `json:"repository" jsonschema:"the directory that Flux applies there"`
}

// PlaceRepository is a directory of a repository.
type PlaceRepository struct {
	Name   string `json:"name" jsonschema:"owner/name"`
	Branch string `json:"branch,omitempty" jsonschema:"the branch that Flux follows; pull requests for others do not touch it. All where absent"`
	Path   string `json:"path" jsonschema:"the directory of the environment's Flux Kustomization"`
}

// Defaults of the source.
const (
	defaultInterval  = 30 * time.Second
	defaultNamespace = "ferry"
	defaultPerMinute = 300
)

// A Type is what happened to a pull request.
type Type string

// A Style is how a button looks.
type Style string

var (
	types  = []any{"open", "opened", "reopened", "synchronize", "ready", "closed", "merged", "labelled", "unlabelled", "retargeted"}
	styles = []any{"primary", "danger"}
)

// What people read above the faults.
const (
	faulty          = "ferry's source has faults in its configuration"
	nothingFollowed = "No repository is followed before they are mended."
)

// A flaw is something wrong at a path.
type flaw struct{ path, text string }

// LoadSource merges documents and keeps what is right: a rule, repository or environment with a fault is left out, and
// everything is where GitHub cannot be reached as configured. The error, a Refusal of code Config, lists all faults; the
// Source holds without what it lists.
func LoadSource(documents [][]byte) (Source, error) {
	merged, err := mergeAll(documents)
	if refusal, ok := errors.AsType[*gitops.Refusal](err); ok {
		refusal.Title, refusal.Reason = faulty, nothingFollowed
	}
	if err != nil {
		return Source{}, err
	}
	if len(merged) == 0 {
		return Source{}, firstSourceSteps()
	}
	var flaws []flaw
	add := func(faults ...string) {
		for _, f := range faults {
			at, _, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(f, "unknown field "), `"`), ": ")
			flaws = append(flaws, flaw{strings.Trim(at, `"`), f})
		}
	}
	add(translate(merged)...)
	add(misfits("", merged, reflect.TypeFor[Source]())...)
	for _, f := range flaws {
		prune(merged, f.path)
	}
	raw, err := json.Marshal(merged)
	if err != nil {
		return Source{}, fmt.Errorf("encode configuration: %w", err)
	}
	var s Source
	if err := json.Unmarshal(raw, &s); err != nil {
		return Source{}, fmt.Errorf("decode configuration: %w", err)
	}
	fine := func(path string) bool {
		return !slices.ContainsFunc(flaws, func(f flaw) bool { return within(f.path, path) })
	}
	known := func(path string) bool {
		return !slices.ContainsFunc(flaws, func(f flaw) bool { return within(path, f.path) })
	}
	s.faults(fine, known, func(path, format string, args ...any) { add(path + ": " + fmt.Sprintf(format, args...)) })
	s.keep(fine)
	s.Namespace = cmp.Or(s.Namespace, defaultNamespace)
	s.Budget.PerMinute = cmp.Or(s.Budget.PerMinute, defaultPerMinute)
	if s.Interval == nil {
		interval := Duration(defaultInterval)
		s.Interval = &interval
	}
	if len(flaws) == 0 {
		return s, nil
	}
	s.Partial = true
	refusal := &gitops.Refusal{Code: gitops.Config, Title: faulty, Reason: "What is right in it works without the rest."}
	if len(s.Repositories) == 0 {
		refusal.Reason = nothingFollowed
	}
	for _, f := range flaws {
		refusal.Details = append(refusal.Details, f.text)
	}
	return s, refusal
}

// within says whether a path is another or lies below it.
func within(path, other string) bool {
	rest, ok := strings.CutPrefix(path, other)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

func firstSourceSteps() error {
	return &gitops.Refusal{Code: gitops.Config, Title: "ferry's source has no configuration yet",
		Reason: "Name the repositories in the plugin's config, in Botkube's values under sources. This is enough to begin:",
		Snippet: `config:
  github:
    auth: {tokenFile: /etc/ferry/github-token}
  repositories:
  - name: acme/fleet`}
}

// translate puts the configuration of Botkube's github-events in ferry's words, and says of what it leaves out.
func translate(merged map[string]any) (faults []string) {
	delete(merged, "log")
	rename(merged, "refreshDuration", "interval")
	if hub, ok := merged["github"].(map[string]any); ok {
		translateGitHub(hub)
	}
	all, _ := merged["repositories"].([]any)
	for i, one := range all {
		repository, ok := one.(map[string]any)
		if !ok {
			continue
		}
		rename(repository, "true", "on") // which YAML 1.1 takes for a truth value
		on, ok := repository["on"].(map[string]any)
		if repository["on"] == nil && !strange(repository) {
			repository["on"] = map[string]any{"pullRequests": []any{map[string]any{}}}
		}
		if !ok {
			continue
		}
		for _, key := range []string{"events", "eventsAPI"} {
			if list, isList := on[key].([]any); on[key] != nil && (!isList || len(list) > 0) {
				faults = append(faults, fmt.Sprintf("repositories[%d].on.%s: ferry follows pull requests alone and passes over other events; the pull requests of this repository are followed if on.pullRequests is there", i, key))
			}
			delete(on, key)
		}
		rules, there := on["pullRequests"]
		if list, isList := rules.([]any); there && (rules == nil || isList && len(list) == 0) { // as they have it: all of them
			on["pullRequests"] = []any{map[string]any{}}
		}
	}
	return faults
}

// strange says whether a repository has keys that there are not. Rules may be among them, by another name or one level too
// far out, so their absence does not mean that everything is to be told.
func strange(repository map[string]any) bool {
	known := keysOf(reflect.TypeFor[Followed]())
	for key := range repository {
		if known[key] == nil {
			return true
		}
	}
	return false
}

func translateGitHub(hub map[string]any) {
	delete(hub, "uploadUrl")
	rename(hub, "baseUrl", "baseURL")
	if base, ok := hub["baseURL"].(string); ok {
		hub["baseURL"] = rootOf(base)
	}
	auth, ok := hub["auth"].(map[string]any)
	if !ok {
		return
	}
	if auth["accessToken"] == "" {
		delete(auth, "accessToken")
	}
	app, ok := auth["app"].(map[string]any)
	if !ok {
		return
	}
	rename(app, "installationId", "installationID")
	for _, key := range []string{"id", "installationID"} {
		if text, ok := app[key].(string); ok {
			if n, err := strconv.ParseInt(text, 10, 53); err == nil {
				app[key] = float64(n)
			}
		}
	}
	maps.DeleteFunc(app, func(_ string, value any) bool { return value == "" })
	if len(app) == 0 {
		delete(auth, "app")
	}
}

// rootOf is GitHub's address for an address of its API.
func rootOf(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return base
	}
	if u.Host == "api.github.com" {
		return ""
	}
	if trimmed, ok := strings.CutSuffix(strings.TrimSuffix(u.Path, "/"), "/api/v3"); ok {
		u.Path = trimmed
		return u.String()
	}
	return base
}

func rename(m map[string]any, from, to string) {
	if value, ok := m[from]; ok {
		if m[to] == nil {
			m[to] = value
		}
		delete(m, from)
	}
}

var step = regexp.MustCompile(`^([^.\[]+)((?:\[[0-9]+\])*)\.?`)

// prune takes what is at a path out of a document, so that the rest of it can be decoded.
func prune(value any, at string) {
	m := step.FindStringSubmatch(at)
	keys, ok := value.(map[string]any)
	if m == nil || !ok {
		return
	}
	rest := at[len(m[0]):]
	if rest == "" && m[2] == "" {
		delete(keys, m[1])
		return
	}
	value = keys[m[1]]
	for index := range strings.SplitSeq(strings.Trim(m[2], "[]"), "][") {
		list, ok := value.([]any)
		n, err := strconv.Atoi(index)
		if !ok || err != nil || n >= len(list) {
			break
		}
		if value = list[n]; rest == "" {
			list[n] = nil
		}
	}
	prune(value, rest)
}

// commandValue is what a pull request may put into a command: nothing that begins an option, ends a word or means
// something to the host.
var commandValue = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/:#=+-]{0,199}$`)

// Parse reads the template of a command.
func (t Template) command() (*blueprint.Text, error) {
	return blueprint.ParseText(string(t), commandValue.MatchString)
}

func (t Template) text() (*blueprint.Text, error) { return blueprint.ParseText(string(t), nil) }

// Templates are those of a rule, read.
type Templates struct {
	Preview *blueprint.Text // nil where there is none
	Buttons []ButtonTemplate
}

// ButtonTemplate is an extra button: Command or URL is there.
type ButtonTemplate struct {
	Name, Style  string
	Command, URL *blueprint.Text
	// Hosts are those that the URL's template writes. The URL leads to one of them, whatever is put into it: a branch that is
	// called evil.example/ leads nowhere else.
	Hosts []Host
	// Own says that it may lead to GitHub, too: the template begins with something that it does not write itself.
	Own bool
}

// A Host is how a host ends, or with Whole all of it.
type Host struct {
	Name  string
	Whole bool
}

var (
	action = regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	scheme = regexp.MustCompile(`(?i)https://`)
	behind = regexp.MustCompile(`(?s)[/?#\s].*`) // the host
)

// hosts are those of an address, as far as the template itself says, and whether the address may begin with something else.
// Where the template does not write a host's end, nothing may be added to what it writes.
func (t Template) hosts() (hosts []Host, other bool) {
	const inPlace = "\x00" // of an action
	parts := scheme.Split(action.ReplaceAllString(strings.TrimSpace(string(t)), inPlace), -1)
	for _, rest := range parts[1:] {
		before, after, _ := strings.Cut(behind.ReplaceAllString(rest, ""), inPlace)
		if after = after[strings.LastIndex(after, inPlace)+1:]; after == "" {
			hosts = append(hosts, Host{before, true})
		} else {
			hosts = append(hosts, Host{after, false})
		}
	}
	return hosts, parts[0] != ""
}

// Templates reads the templates.
func (n NotificationTemplate) Templates() (t Templates, err error) {
	if n.PreviewTpl != "" {
		if t.Preview, err = n.PreviewTpl.text(); err != nil {
			return t, err
		}
	}
	for _, b := range n.ExtraButtons {
		button := ButtonTemplate{Name: b.DisplayName, Style: string(b.Style)}
		if b.URL != "" {
			button.URL, err = b.URL.text()
			button.Hosts, button.Own = b.URL.hosts()
		} else {
			button.Command, err = b.CommandTpl.command()
		}
		if err != nil {
			return t, err
		}
		t.Buttons = append(t.Buttons, button)
	}
	return t, nil
}

// faults finds what the types cannot say. fine says that nothing at a path or below is wrong, known that what is at the path was not left out for
// that.
func (s Source) faults(fine, known func(path string) bool, fault func(path, format string, args ...any)) {
	if s.Namespace != "" && !namespaceName.MatchString(s.Namespace) {
		fault("namespace", "%q is no name of a namespace", s.Namespace)
	}
	if _, err := github.Root(s.GitHub.BaseURL); err != nil {
		fault("github.baseURL", "%v", err)
	}
	s.GitHub.Auth.faults("github.auth", fault)
	for i, o := range s.GitHub.Owners {
		at := fmt.Sprintf("github.owners[%d]", i)
		if owner, _, _ := gitops.SplitRepository(o.Owner + "/x"); known(at+".owner") && owner == "" {
			fault(at+".owner", "write the name of an organisation or a user as on GitHub")
		}
		if o.Auth == (Auth{}) && known(at+".auth") {
			fault(at+".auth", "say where the credential of this owner is")
		}
		o.Auth.faults(at+".auth", fault)
	}
	if s.Interval != nil && *s.Interval == 0 {
		fault("interval", "write more than 0s")
	}
	if s.StateDir != "" && !filepath.IsAbs(s.StateDir) {
		fault("stateDir", "write an absolute path")
	}
	if s.CacheDir != "" && !filepath.IsAbs(s.CacheDir) {
		fault("cacheDir", "write an absolute path")
	}
	if s.Metrics.Port > 65535 {
		fault("metrics.port", "a port is at most 65535")
	}
	if len(s.Repositories) == 0 && known("repositories") {
		fault("repositories", "at least one is needed")
	}
	for _, m := range s.Watch().Mistakes() {
		m.Path = strings.Replace(m.Path, ".base.include[", ".base[", 1)
		if rules, empty := strings.CutSuffix(m.Path, ".pullRequests"); empty && !fine(rules) {
			continue // the reason why there are none is told
		}
		if known(m.Path) && !strings.HasSuffix(m.Path, "].name") {
			fault(m.Path, "%s", m.Text)
		}
	}
	for i, r := range s.Repositories {
		at := fmt.Sprintf("repositories[%d]", i)
		if _, _, ok := gitops.SplitRepository(r.Name); !ok && known(at+".name") { // which may be an address with a password: not shown
			fault(at+".name", "write OWNER/NAME as on GitHub, without the address")
		}
		for j, rule := range r.On.PullRequests {
			rule.faults(fmt.Sprintf("%s.on.pullRequests[%d]", at, j), fault)
		}
	}
	names := map[string]bool{}
	for i, e := range s.Environments {
		at := fmt.Sprintf("environments[%d]", i)
		if !known(at + ".name") {
			continue
		}
		if err := gitops.ValidEnvironment(e.Name); err != nil {
			fault(at+".name", "%v", err)
		} else if names[e.Name] {
			fault(at+".name", "%q is there twice", e.Name)
		}
		names[e.Name] = true
		if _, _, ok := gitops.SplitRepository(e.Repository.Name); !ok {
			fault(at+".repository.name", "write OWNER/NAME as on GitHub, without the address")
		}
		if clean := path.Clean("/" + e.Repository.Path); e.Repository.Path == "" || strings.Contains(e.Repository.Path, "..") {
			fault(at+".repository.path", "write the directory of the environment in the repository, as in clusters/prod, not %q", strings.TrimPrefix(clean, "/"))
		}
	}
}

// inTemplate is what the template package writes before what is wrong: places that are not those of the configuration.
var inTemplate = regexp.MustCompile(`^template: template:[0-9]+(:[0-9]+)?: (executing "template" at )?`)

// noField is how the template package says that there is no such field.
var noField = regexp.MustCompile(`^<(.+)>: can't evaluate field `)

func (r PullRequestRule) faults(at string, fault func(path, format string, args ...any)) {
	at += ".notificationTemplate"
	template := func(path string, t Template, read func(Template) (*blueprint.Text, error)) {
		text, err := read(t)
		if err == nil {
			if _, err = text.Execute(github.SamplePull()); strings.Contains(fmt.Sprint(err), blueprint.ErrValue.Error()) {
				err = nil // which another pull request may have
			}
		}
		if err != nil {
			why := inTemplate.ReplaceAllString(err.Error(), "")
			if m := noField.FindStringSubmatch(why); m != nil {
				why = "a pull request has no " + m[1] + "; it has what go-github's PullRequest has, such as .Number, .Title and .User.Login"
			}
			fault(path, "%s", why)
		}
	}
	if n := r.NotificationTemplate; n.PreviewTpl != "" {
		template(at+".previewTpl", n.PreviewTpl, Template.text)
	}
	for i, b := range r.NotificationTemplate.ExtraButtons {
		at := fmt.Sprintf("%s.extraButtons[%d]", at, i)
		if b.DisplayName == "" {
			fault(at+".displayName", "a button has a name")
		}
		switch {
		case b.URL != "":
			template(at+".url", b.URL, Template.text)
		case b.CommandTpl != "":
			template(at+".commandTpl", b.CommandTpl, Template.command)
		default:
			fault(at, "a button has a commandTpl or a url")
		}
		if b.Style != "" && !slices.Contains(styles, any(string(b.Style))) {
			fault(at+".style", "%q is neither primary nor danger", b.Style)
		}
	}
	if b := r.NotificationTemplate.Blueprint; b != "" && !filepath.IsAbs(b) {
		fault(at+".blueprint", "write the absolute path of a file")
	}
}

// keep leaves out what has faults.
func (s *Source) keep(fine func(path string) bool) {
	reachable := fine("github.baseURL") && fine("github.auth") && fine("github.owners")
	var repositories []Followed
	for i, r := range s.Repositories {
		at := fmt.Sprintf("repositories[%d]", i)
		var rules []PullRequestRule
		for j, rule := range r.On.PullRequests {
			if fine(fmt.Sprintf("%s.on.pullRequests[%d]", at, j)) {
				rules = append(rules, rule)
			}
		}
		r.On.PullRequests = rules
		if reachable && fine(at+".name") && r.Name != "" && len(rules) > 0 {
			repositories = append(repositories, r)
		}
	}
	s.Repositories = repositories
	var places []Place
	for i, e := range s.Environments {
		if fine(fmt.Sprintf("environments[%d]", i)) {
			places = append(places, e)
		}
	}
	s.Environments = places
	for path, reset := range map[string]func(){
		"namespace": func() { s.Namespace = "" }, "interval": func() { s.Interval = nil }, "stateDir": func() { s.StateDir = "" }, "cacheDir": func() { s.CacheDir = "" },
		"metrics": func() { s.Metrics = Metrics{} }, "budget": func() { s.Budget = Budget{} }, "blueprints": func() { s.Blueprints = "" },
	} {
		if !fine(path) {
			reset()
		}
	}
}

// SourceSchema is the JSON schema of the source's configuration, draft-07 as Botkube expects.
func SourceSchema() (string, error) { return schemaOf[Source]("ferry's source") }

// Watch is what is to be watched, its rules at the paths that they have in s.
func (s Source) Watch() watch.Config {
	c := watch.Config{Ceiling: int(s.Budget.PerMinute), Factor: s.Budget.Factor, Files: true, Partial: s.Partial}
	if s.Interval != nil {
		c.Interval = time.Duration(*s.Interval)
	}
	for _, r := range s.Repositories {
		repository := watch.Repository{Name: r.Name, Before: r.BeforeDuration.Or(0)}
		for _, rule := range r.On.PullRequests {
			w := watch.Rule{Base: watch.Filter{Include: rule.Base}, Authors: watch.Filter(rule.Authors), Labels: watch.Filter(rule.Labels),
				Paths: watch.Filter(rule.Paths), Drafts: rule.Drafts}
			for _, t := range rule.Types {
				w.Types = append(w.Types, string(t))
			}
			repository.Rules = append(repository.Rules, w)
		}
		c.Repositories = append(c.Repositories, repository)
	}
	return c
}

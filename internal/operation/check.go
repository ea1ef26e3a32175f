package operation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// Clusters tells what ferry finds and may do in the clusters of environments. Nothing is written.
type Clusters interface {
	// Environments returns the configured names, in configuration order.
	Environments() []string
	// Probe looks at an environment's cluster, and at that of its Flux objects if it is another.
	Probe(ctx context.Context, environment string) []Cluster
	// ProbeHome looks at the home cluster, where the kubeconfigs of some environments may lie.
	ProbeHome(ctx context.Context, environments []string) Cluster
}

// Changes knows where the changes of environments go, and whose they may be.
type Changes interface {
	// Access says who may change an environment.
	Access(environment string) gitops.Access
	// Origins are the repositories and branches that the Kustomizations of an environment follow, each once, and what is
	// wrong with others.
	Origins(ctx context.Context, environment string) ([]Origin, []Finding)
	// Way says whether a change of the environment goes by commit or by pull request.
	Way(ctx context.Context, environment string, origin Origin) Finding
}

// An Origin is a repository, "owner/name", and a branch of it.
type Origin struct{ Repository, Branch string }

// GitHub tells what ferry's credential may do there, without writing. The sections have no titles.
type GitHub interface {
	CheckToken(ctx context.Context) Section
	CheckRepository(ctx context.Context, repository string, branches []string) Section
}

// A Cluster is what one API server says of itself and of ferry.
type Cluster struct {
	Name       string // "its cluster", "the cluster of its Flux objects", "home cluster"
	Err        error  // why it could not be asked, or not all of it
	Kubernetes string // version, "v1.34.2"; empty: it did not answer
	Skew       time.Duration
	APIs       []API
	Subjects   []Subject // what ferry is there, as role bindings name it
	Rights     []Right
}

// An API is a custom resource of Flux.
type API struct {
	Resource, Group string
	Reads           []string // versions that ferry can read
	Serves          []string // versions that the cluster has
	Without         string   // what does not work without it; empty: ferry itself
}

// A Subject is one of a role binding: a User, a Group or a ServiceAccount.
type Subject struct{ Kind, Namespace, Name string }

// A Right is something that ferry asks of an API server, as a role grants it.
type Right struct {
	Verb, Group, Resource string
	Namespace             string // empty: all, or the resource is in none
	Name                  string // of the one object; empty: any
	Without               string // what ferry does without it, a sentence; empty: ferry needs it
	Allowed               bool
}

// A Finding is one thing that check looked at.
type Finding struct {
	State State  `json:"state"`
	Text  string `json:"text"`           // what it is, and what is to be done about it
	Fix   string `json:"fix,omitempty"`  // to copy
	With  string `json:"with,omitempty"` // what the fix is for
	Cause error  `json:"-"`              // for the log alone: what is not worded for people
}

func works(text string) Finding { return Finding{State: Works, Text: text} }

func missing(text, fix, with string) Finding {
	return Finding{State: Missing, Text: text, Fix: fix, With: with}
}

// State says how a Finding stands.
type State string

// The states.
const (
	Works   State = "works"
	Missing State = "missing" // ferry needs it
	Mind    State = "mind"    // it works without, but not as well
	Unknown State = "unknown" // it could not be found out
)

// A Section is what was found out about one thing.
type Section struct {
	Title    string    `json:"title"`
	Facts    []string  `json:"facts,omitempty"` // versions and names, a few words each
	Findings []Finding `json:"findings"`
}

// A Checkup is the answer to check.
type Checkup struct {
	By           string    `json:"by"` // what the asker is to ferry
	Environments []string  `json:"environments"`
	Sections     []Section `json:"sections"`
}

// maxSkew is how far a clock may be from ours before confirmations and waiting times are wrong by what people notice.
const maxSkew = 30 * time.Second

// probeTime is what clusters get of the time for an answer; GitHub needs some after them.
const probeTime = 12 * time.Second

// Check answers check [ENVIRONMENT]: what works and what is missing, of every environment, the home cluster, the
// credential and the repositories. by is who asks.
func Check(ctx context.Context, clusters Clusters, changes Changes, hub GitHub, request gitops.Check, by string) (Checkup, error) {
	environments := clusters.Environments()
	if request.Environment != "" {
		again := func(e string) string { return gitops.Line(gitops.Check{Environment: e}) }
		if err := Known(environments, request.Environment, again); err != nil {
			return Checkup{}, err
		}
		environments = []string{request.Environment}
	}
	n := len(environments)
	all := make([]Section, n, n+2)
	from, wrong := make([][]Origin, n), make([][]Finding, n)
	var home, token Section
	var tasks []func(context.Context)
	for i, e := range environments {
		tasks = append(tasks,
			func(ctx context.Context) { all[i] = Observed(e, clusters.Probe(ctx, e)...) },
			func(ctx context.Context) { from[i], wrong[i] = changes.Origins(ctx, e) })
	}
	tasks = append(tasks,
		func(ctx context.Context) { home = Observed("Home cluster", clusters.ProbeHome(ctx, environments)) },
		func(ctx context.Context) { token = hub.CheckToken(ctx) })
	first, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	if err := sideBySide(first, tasks); err != nil {
		return Checkup{}, err
	}
	for i := range all {
		all[i].Findings = append(all[i].Findings, wrong[i]...)
	}
	token.Title = "GitHub"
	repositories, err := checkRepositories(ctx, changes, hub, environments, from)
	return Checkup{By: by, Environments: environments, Sections: slices.Concat(all, []Section{home, who(changes, environments, by), token}, repositories)}, err
}

func sideBySide(ctx context.Context, tasks []func(context.Context)) error {
	return errors.Join(Together(len(tasks), func(i int) error {
		tasks[i](ctx)
		return nil
	})...)
}

// checkRepositories looks at each repository once, whatever number of environments follow it.
func checkRepositories(ctx context.Context, changes Changes, hub GitHub, environments []string, from [][]Origin) ([]Section, error) {
	branches := map[string][]string{}
	ways := map[string][]*Finding{}
	var names []string
	var tasks []func(context.Context)
	for i, e := range environments {
		for _, o := range from[i] {
			if branches[o.Repository] == nil {
				names = append(names, o.Repository)
			}
			if !slices.Contains(branches[o.Repository], o.Branch) {
				branches[o.Repository] = append(branches[o.Repository], o.Branch)
			}
			way := &Finding{}
			ways[o.Repository] = append(ways[o.Repository], way)
			tasks = append(tasks, func(ctx context.Context) { *way = changes.Way(ctx, e, o) })
		}
	}
	slices.Sort(names)
	sections := make([]Section, len(names))
	for i, name := range names {
		tasks = append(tasks, func(ctx context.Context) { sections[i] = hub.CheckRepository(ctx, name, branches[name]) })
	}
	err := sideBySide(ctx, tasks)
	for i, name := range names {
		sections[i].Title = name
		for _, way := range ways[name] {
			if way.State == Works { // which way it is, is worth to be known
				sections[i].Facts = append(sections[i].Facts, way.Text)
			}
			sections[i].Findings = append(sections[i].Findings, *way)
		}
	}
	return sections, err
}

// Observed words what was found in the clusters of one environment.
func Observed(title string, clusters ...Cluster) Section {
	s := Section{Title: title}
	for _, c := range clusters {
		of := ""
		if len(clusters) > 1 {
			of = " of " + c.Name
		}
		if c.Kubernetes != "" {
			s.Facts = append(s.Facts, "Kubernetes "+c.Kubernetes+of)
			s.Findings = append(s.Findings, works("The API server"+of+" answers."), Clock("the API server"+of, c.Skew))
		}
		if len(c.APIs) > 0 {
			fact, findings := flux(c.APIs)
			s.Facts = append(s.Facts, fact)
			s.Findings = append(s.Findings, findings...)
		}
		s.Findings = append(s.Findings, rights(title, of, c)...)
		if c.Err != nil {
			s.Findings = append(s.Findings, Failure(c.Err))
		}
	}
	return s
}

// Clock compares a clock with ours; skew is what it is ahead.
func Clock(whose string, skew time.Duration) Finding {
	if skew.Abs() <= maxSkew {
		return works("The clock of " + whose + " agrees with ours.")
	}
	word := "ahead of"
	if skew < 0 {
		word = "behind"
	}
	return Finding{State: Mind, Text: fmt.Sprintf("The clock of %s is %s %s ours. One of both is wrong: set them by NTP.", whose, skew.Abs().Round(time.Second), word)}
}

// Failure words an error as something that is missing.
func Failure(err error) Finding {
	f := Finding{State: Missing, Text: reason(err), Cause: Unworded(err)}
	if r := (*gitops.Refusal)(nil); errors.As(err, &r) {
		f.Fix, f.With = cmp.Or(r.Snippet, strings.Join(r.Details, "\n")), withShell
	}
	return f
}

// Unworded is an error of which people are not told everything: one that is no Refusal, or has a cause. Otherwise it is nil.
func Unworded(err error) error {
	if r, ok := errors.AsType[*gitops.Refusal](err); ok && r.Cause == nil {
		return nil
	}
	return err
}

// flux words which versions of Flux's custom resources there are. Flux 2.3 is the first with helm.toolkit v2 and HelmChart
// and HelmRepository in source.toolkit v1; 2.6 the first with OCIRepository v1.
func flux(apis []API) (fact string, findings []Finding) {
	var groups []string
	served := map[string][]string{}
	newest := "2.6 or later"
	older, present := false, false
	for _, a := range apis {
		present = present || len(a.Serves) > 0
		if i := slices.IndexFunc(a.Reads, func(v string) bool { return slices.Contains(a.Serves, v) }); i > 0 {
			newest = "2.3 to 2.5"
		} else if i < 0 {
			newest = ""
			older = older || len(a.Serves) > 0
		}
		if len(a.Serves) > 0 && served[a.Group] == nil {
			groups = append(groups, a.Group)
		}
		for _, v := range a.Serves {
			if !slices.Contains(served[a.Group], v) {
				served[a.Group] = append(served[a.Group], v)
			}
		}
	}
	switch {
	case !present:
		return "no Flux", []Finding{missing("Flux is not installed: the cluster has none of its custom resources.", "flux install", withShell)}
	case older:
		return "an old Flux", []Finding{missing("Flux is older than 2.3, which is the first that ferry works with. Upgrade it.", "flux install", withShell)}
	}
	for _, a := range apis {
		if len(a.Serves) > 0 {
			findings = append(findings, works("The custom resource "+a.Resource+" is there."))
			continue
		}
		f := missing(fmt.Sprintf("The custom resource %s.%s is not there.", a.Resource, a.Group), "flux install", withShell)
		if a.Without != "" {
			f.State, f.Text = Mind, f.Text+" "+a.Without
		}
		findings = append(findings, f)
	}
	var words []string
	for _, g := range groups {
		short, _, _ := strings.Cut(g, ".fluxcd.io")
		words = append(words, short+" "+strings.Join(served[g], ", "))
	}
	if newest != "" {
		newest = " " + newest
	}
	return fmt.Sprintf("Flux%s (%s)", newest, strings.Join(words, "; ")), findings
}

// rights words what ferry may do in a cluster, and writes the roles that grant what it may not.
func rights(title, of string, c Cluster) (findings []Finding) {
	denied := map[string][]Right{} // by what ferry does without them
	var withouts []string
	for _, r := range c.Rights {
		if r.Allowed {
			findings = append(findings, works("ferry may "+r.String()+"."))
			continue
		}
		if denied[r.Without] == nil {
			withouts = append(withouts, r.Without)
		}
		denied[r.Without] = append(denied[r.Without], r)
	}
	slices.Sort(withouts) // what is needed first
	for _, without := range withouts {
		var lines []string
		for _, g := range grants(denied[without]) {
			for _, rule := range g.rules {
				lines = append(lines, rule.words(g.namespaces))
			}
		}
		f := missing(fmt.Sprintf("ferry may not %s%s.", strings.Join(lines, "; "), strings.Replace(of, " of ", ", in ", 1)), roles(title, c.Subjects, denied[without]), withKubectl)
		if without != "" {
			f.State, f.Text, f.Fix = Mind, f.Text+" "+without, "# Optional. "+without+"\n"+f.Fix
		}
		findings = append(findings, f)
	}
	return findings
}

// who says who may change the environments.
func who(changes Changes, environments []string, by string) Section {
	s := Section{Title: "Who may promote"}
	var open, yours []string
	for _, e := range environments {
		access := changes.Access(e)
		if access.Permits(by) {
			yours = append(yours, e)
		}
		if access.Open() {
			open = append(open, e)
			continue
		}
		s.Findings = append(s.Findings, works(fmt.Sprintf("%s in ferry's configuration says who may change %s.", access.Rule, e)))
		unverified := slices.DeleteFunc(slices.Clone(access.Principals), func(p string) bool { return !strings.HasPrefix(p, unverifiedKind) })
		if len(unverified) > 0 {
			s.Findings = append(s.Findings, Finding{State: Mind, Text: fmt.Sprintf("%s lets %s change %s: names that no platform vouches for. Write slack:ID or discord:ID instead where you can.",
				access.Rule, enumerate(unverified), e)})
		}
	}
	s.Facts = []string{"You may change none of these"}
	if len(yours) > 0 {
		s.Facts = []string{"You may change " + enumerate(yours)}
	}
	if len(open) > 0 {
		somebody := by
		if gitops.ValidPrincipal(by) != nil { // whom no rule can name
			somebody = "slack:U024BE7LH"
		}
		s.Findings = append(s.Findings, Finding{State: Mind, Text: fmt.Sprintf("Anybody in a channel with ferry may change %s: its configuration has no access rule.", enumerate(open)),
			Fix: fmt.Sprintf("access:\n  default: [%q]", somebody), With: withConfig})
	}
	return s
}

// unverifiedKind begins principals that people may have chosen themselves.
const unverifiedKind = "name:"

// Failed says whether something is missing that ferry needs.
func (c Checkup) Failed() bool { return c.count(Missing) > 0 }

func (c Checkup) count(state State) (n int) {
	for _, s := range c.Sections {
		for _, f := range s.Findings {
			if f.State == state {
				n++
			}
		}
	}
	return n
}

// Headline says in a few words how it stands.
func (c Checkup) Headline() string {
	switch {
	case c.Failed():
		return "Something is missing"
	case c.count(Mind)+c.count(Unknown) > 0:
		return "Everything that ferry needs is there"
	}
	return "All is fine"
}

// Summary counts, and says who asks.
func (c Checkup) Summary() string {
	parts := []string{}
	for _, p := range []struct {
		state State
		one   string
		many  string
	}{{Works, "thing works", "things work"}, {Missing, "is missing", "are missing"}, {Mind, "to mind", "to mind"}, {Unknown, "not known", "not known"}} {
		switch n := c.count(p.state); {
		case n == 1:
			parts = append(parts, "1 "+p.one)
		case n > 1 || p.state == Works:
			parts = append(parts, fmt.Sprintf("%d %s", n, p.many))
		}
	}
	s := enumerate(parts) + ". To ferry you are " + c.By
	if strings.HasPrefix(c.By, unverifiedKind) {
		s += ", a name that nobody vouches for"
	}
	return s + "."
}

// Fine are the sections where nothing is wrong, a line each.
func (c Checkup) Fine() (lines []string) {
	for _, s := range c.Sections {
		if len(s.Wrong()) == 0 {
			lines = append(lines, strings.TrimSuffix(s.Title+": "+s.About(), ": "))
		}
	}
	return lines
}

// Troubled are the sections where something is.
func (c Checkup) Troubled() []Section {
	return slices.DeleteFunc(slices.Clone(c.Sections), func(s Section) bool { return len(s.Wrong()) == 0 })
}

// About is what the section knows of its subject, in one line.
func (s Section) About() string { return strings.Join(s.Facts, ", ") }

// Wrong are the findings that ask for something, what is missing first.
func (s Section) Wrong() []Finding {
	wrong := slices.DeleteFunc(slices.Clone(s.Findings), func(f Finding) bool { return f.State == Works })
	order := []State{Missing, Mind, Unknown}
	slices.SortStableFunc(wrong, func(a, b Finding) int {
		return cmp.Compare(slices.Index(order, a.State), slices.Index(order, b.State))
	})
	return wrong
}

// Line is the finding with its mark.
func (f Finding) Line() string {
	return map[State]string{Works: "✓ ", Missing: "✗ ", Mind: "! ", Unknown: "? "}[f.State] + f.Text
}

// A Fix is text to copy.
type Fix struct{ Title, Code string }

// Fixes are what mends the findings: for each section one text for kubectl and one for each other use.
func (c Checkup) Fixes() (fixes []Fix) {
	for _, s := range c.Sections {
		for _, f := range s.Wrong() {
			title := s.Title + ": " + f.With
			i := slices.IndexFunc(fixes, func(x Fix) bool { return x.Title == title })
			switch {
			case f.Fix == "" || i >= 0 && strings.Contains(fixes[i].Code, f.Fix):
			case i < 0:
				fixes = append(fixes, Fix{title, f.Fix})
			case f.With == withKubectl:
				fixes[i].Code += "\n---\n" + f.Fix
			default:
				fixes[i].Code += "\n" + f.Fix
			}
		}
	}
	return fixes
}

// What a fix is for.
const (
	withKubectl = "for kubectl apply -f -"
	withConfig  = "for ferry's configuration"
	withShell   = "commands"
)

package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// Counts are how many objects of an environment become what.
type Counts struct {
	Created, Configured, Deleted, Skipped int
	Noise                                 int // differ in what a rule ignores alone
	Drift                                 int // differ from Git in the cluster, and Git does not change
}

// Changed counts what is created, configured or deleted.
func (c Counts) Changed() int { return c.Created + c.Configured + c.Deleted }

// Counts counts the environment's objects.
func (e Environment) Counts() (c Counts) {
	for _, o := range e.Objects {
		switch o.Verdict {
		case Created:
			c.Created++
		case Configured:
			c.Configured++
		case Deleted:
			c.Deleted++
		case Skipped:
			c.Skipped++
		case Unchanged:
			if o.Folded > 0 {
				c.Noise++
			}
		}
	}
	c.Drift = len(e.Drift)
	return c
}

// Headline is what merging does, in a sentence.
func (r Report) Headline() string {
	var all Counts
	var in, failed []string
	for _, e := range r.Environments {
		c := e.Counts()
		if e.Error != "" {
			failed = append(failed, e.Environment)
			continue
		}
		if c.Changed() > 0 {
			in = append(in, e.Environment)
		}
		all.Created, all.Configured, all.Deleted = all.Created+c.Created, all.Configured+c.Configured, all.Deleted+c.Deleted
		all.Skipped, all.Noise = all.Skipped+c.Skipped, all.Noise+c.Noise
	}
	var s string
	switch {
	case all.Changed() > 0:
		s = fmt.Sprintf("Merging this changes %s in %s%s.", plural(all.Changed(), "object"), list(in, 4), all.words())
		if all.Skipped > 0 {
			s += fmt.Sprintf(" What becomes of more is not known: %d skipped.", all.Skipped)
		}
	case len(r.Environments) == 0:
		return "Merging this changes nothing in any environment."
	case len(failed) == len(r.Environments):
		return fmt.Sprintf("What merging this would change is not known: %s could not be compared.", list(failed, 4))
	case all.Skipped > 0:
		s = fmt.Sprintf("Merging this changes nothing that ferry could compare; %s could not be.", plural(all.Skipped, "object"))
	case all.Noise > 0:
		s = fmt.Sprintf("Merging this changes nothing but noise, such as labels with a chart's version, in %s.", plural(all.Noise, "object"))
	default:
		s = "Merging this changes no object."
	}
	if len(failed) > 0 {
		s += fmt.Sprintf(" %s could not be compared.", list(failed, 4))
	}
	return s
}

// words are the counts behind the number of objects; none where they say no more.
func (c Counts) words() string {
	var parts []string
	for _, p := range []struct {
		n    int
		word Verdict
	}{{c.Created, Created}, {c.Configured, Configured}, {c.Deleted, Deleted}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.word))
		}
	}
	if len(parts) == 1 && c.Configured > 0 {
		return ""
	}
	return ": " + strings.Join(parts, ", ")
}

// compared counts the environments that could be.
func (r Report) compared() (n int) {
	for _, e := range r.Environments {
		if e.Error == "" {
			n++
		}
	}
	return n
}

// Table is environments by counts, without a final line end; columns that are nothing but zero are left out. An environment
// that could not be compared has no numbers.
func (r Report) Table() string {
	type column struct {
		title string
		of    func(Counts) int
	}
	columns := slices.DeleteFunc([]column{
		{"created", func(c Counts) int { return c.Created }},
		{"configured", func(c Counts) int { return c.Configured }},
		{"deleted", func(c Counts) int { return c.Deleted }},
		{"skipped", func(c Counts) int { return c.Skipped }},
		{"noise", func(c Counts) int { return c.Noise }},
		{"drift", func(c Counts) int { return c.Drift }},
	}, func(c column) bool {
		return c.title != "configured" && !slices.ContainsFunc(r.Environments, func(e Environment) bool { return c.of(e.Counts()) > 0 })
	})
	if len(r.Environments) == 0 {
		return ""
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { fmt.Fprintln(w, strings.Join(cells, "\t")) }
	titles := []string{"environment"}
	for _, c := range columns {
		titles = append(titles, c.title)
	}
	row(titles...)
	for _, e := range r.Environments {
		cells := []string{oneLine(e.Environment)}
		counts := e.Counts()
		for _, c := range columns {
			cell := fmt.Sprint(c.of(counts))
			if e.Error != "" {
				cell = "?"
			}
			cells = append(cells, cell)
		}
		row(cells...)
	}
	w.Flush() //nolint:gosec // into memory
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// Failures are sentences about environments that could not be compared.
func (r Report) Failures() (all []string) {
	for _, e := range r.Environments {
		if e.Error != "" {
			all = append(all, e.Environment+": "+e.Error)
		}
	}
	return all
}

// maxNamed is how many objects of one risk are named; the others are counted.
const maxNamed = 4

// Risks are sentences about what to look at twice, the worst first. What holds in several environments is said once.
func (r Report) Risks() (all []string) {
	var where = map[string][]string{} // environments by sentence
	for _, risk := range risks {
		var sentences []string
		for _, e := range r.Environments {
			var hit []Object
			for _, o := range e.Objects {
				if slices.Contains(o.Flags, risk.flag) && (risk.verdict == "" || o.Verdict == risk.verdict) {
					hit = append(hit, o)
				}
			}
			for _, s := range risk.say(hit) {
				if where[s] == nil {
					sentences = append(sentences, s)
				}
				where[s] = append(where[s], e.Environment)
			}
		}
		all = append(all, sentences...)
	}
	for i, s := range all {
		switch {
		case len(r.Environments) == 1:
		case len(where[s]) == r.compared() && r.compared() > 2:
			all[i] = "everywhere: " + s
		default:
			all[i] = list(where[s], 4) + ": " + s
		}
	}
	return all
}

// A risk words the objects that have a flag, and a verdict where it names one.
type risk struct {
	flag    Flag
	verdict Verdict
	say     func([]Object) []string
}

var risks = []risk{
	{Namespace, "", each("%s is deleted, with all that is in it.")},
	{Data, "", each("%s is deleted; its data may go with it.")},
	{CRD, Deleted, each("%s is deleted, with all objects of its kind.")},
	{Immutable, "", reasoned("%s cannot be changed like this.")},
	{Replaced, "", each("%s is deleted and made anew.")},
	{Unready, "", reasoned("the API server refuses %s.")},
	{CRD, Configured, reasoned("%s changes.")},
	{CRD, Created, counted("%s is new.", "%d CustomResourceDefinitions are new.")},
	{Secret, "", counted("%s has a secret value that changes.", "%d objects have secret values that change.")},
	{Restart, "", counted("%s restarts.", "%d workloads restart.")},
}

func each(format string) func([]Object) []string {
	return func(objects []Object) (all []string) {
		for i, o := range objects {
			if i == maxNamed && len(objects) > maxNamed+1 {
				return append(all, fmt.Sprintf("… and so for %d more.", len(objects)-i))
			}
			all = append(all, fmt.Sprintf(format, Name(o.Object)))
		}
		return all
	}
}

func reasoned(format string) func([]Object) []string {
	said := each(format)
	return func(objects []Object) []string {
		all := said(objects)
		for i, o := range objects {
			if i < len(all) && !strings.HasPrefix(all[i], "…") && o.Reason != "" {
				all[i] += " " + oneLine(o.Reason)
			}
		}
		return all
	}
}

func counted(one, many string) func([]Object) []string {
	return func(objects []Object) []string {
		switch len(objects) {
		case 0:
			return nil
		case 1:
			return []string{fmt.Sprintf(one, Name(objects[0].Object))}
		}
		return []string{fmt.Sprintf(many, len(objects))}
	}
}

// Name is an object for people: "Deployment shop/web".
func Name(o gitops.Object) string {
	if o.Namespace == "" {
		return oneLine(o.Kind + " " + o.Name)
	}
	return oneLine(o.Kind + " " + o.Namespace + "/" + o.Name)
}

// Sorted are the environment's objects, the most important first: what is deleted, flagged, changed, created, skipped; those
// that do not change are left out.
func (e Environment) Sorted() []Object {
	objects := slices.DeleteFunc(slices.Clone(e.Objects), func(o Object) bool { return o.Verdict == Unchanged })
	slices.SortStableFunc(objects, func(a, b Object) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), strings.Compare(a.String(), b.String()))
	})
	return objects
}

func (o Object) rank() int {
	for i, f := range []Flag{Namespace, Data, Immutable, Unready, Replaced} {
		if slices.Contains(o.Flags, f) {
			return i
		}
	}
	switch {
	case o.Verdict == Deleted:
		return 10
	case slices.Contains(o.Flags, CRD):
		return 11
	case o.Verdict == Configured && slices.Contains(o.Flags, Secret):
		return 12
	case o.Verdict == Configured:
		return 13
	case o.Verdict == Created:
		return 14
	}
	return 15
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// list is names for people: at most n of them.
func list(names []string, n int) string {
	shown := make([]string, 0, n)
	for i, name := range names {
		if i == n && len(names) > n {
			return strings.Join(shown, ", ") + fmt.Sprintf(" and %d more", len(names)-n)
		}
		shown = append(shown, oneLine(name))
	}
	if len(shown) > 1 {
		last := len(shown) - 1
		return strings.Join(shown[:last], ", ") + " and " + shown[last]
	}
	return strings.Join(shown, "")
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

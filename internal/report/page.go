package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// maxPage is how many bytes of details are shown at once, as chat platforms count them: a few messages.
const maxPage = 7000

// maxInFull is how many bytes of details go with the summary, all of them: a post of a text platform holds both.
const maxInFull = 1300

// A Card is a report as it is shown: its summary, or a page of an environment's details.
type Card struct {
	Report
	// Environment is the one whose details are shown; empty: the summary.
	Environment string
	Page        int // 1-based, of the details
	// Brief says that it takes the place of another summary: one message, to which no details belong.
	Brief bool
}

// review is the line that asks for an environment's details, or for the summary. Pages behind the first are of the head that
// the first was of: another head has other pages.
func (c Card) review(environment string, page int) string {
	r := gitops.Review{Number: c.Number, Repository: c.Repository, Environment: environment}
	if c.Number == 0 {
		r.Branch = c.Branch
	}
	if page > 1 {
		r.Page, r.Head = page, c.Head
	}
	return gitops.Line(r)
}

// Again is the line that has the same made anew, of whatever the head is then.
func (c Card) Again() string { return c.review(c.Environment, 1) + " --refresh" }

// Summary is the line that shows the summary.
func (c Card) Summary() string { return c.review("", 1) }

// What says which change this is: "acme/fleet #12", or the branch.
func (c Card) What() string {
	if c.Number != 0 {
		return fmt.Sprintf("%s #%d", c.Repository, c.Number)
	}
	return c.Repository + " " + c.Branch
}

// Basis says what was compared with what, and when.
func (c Card) Basis() string {
	return fmt.Sprintf("Head %.7s, to be merged into %s at %.7s. Compared with the clusters at %s.", c.Head, c.Base, c.BaseCommit, c.Made.UTC().Format("15:04:05 UTC"))
}

// A Button shows an environment's details or another page.
type Button struct{ Name, Command string }

// maxEnvironments is how many environments have buttons of their own; the others are asked for by their names.
const maxEnvironments = 8

// Details are the environments that have any, as buttons.
func (c Card) Details() (all []Button) {
	for _, e := range c.Environments {
		n := e.Counts()
		if len(all) < maxEnvironments && n.Changed()+n.Skipped+n.Noise+n.Drift > 0 {
			all = append(all, Button{"Show " + e.Environment, c.review(e.Environment, 1)})
		}
	}
	return all
}

// More is the line for environments without a button; empty where all have one.
func (c Card) More() string {
	if len(c.Environments) <= maxEnvironments {
		return ""
	}
	return c.review("ENVIRONMENT", 1)
}

// Objects are the first objects in a line each, the most important of each environment; what is alike in several
// environments is told once. There are as many as a card has room for.
func (c Card) Objects() []string {
	const most, long = 6, 110
	var order []string
	ranks, where := map[string]int{}, map[string][]string{}
	for _, e := range c.Environments {
		for _, o := range e.Sorted() {
			s := o.title()
			if o.Verdict == Configured && len(o.Changes) == 1 && o.Changes[0].short() != "" {
				s += ": " + strings.TrimPrefix(o.Changes[0].short(), "spec.template.spec.")
			} else if n := len(o.Changes); o.Verdict == Configured && n > 0 {
				s += ": " + plural(n, "change")
			}
			if utf8.RuneCountInString(s) > long {
				s = string([]rune(s)[:long]) + "…"
			}
			if where[s] == nil {
				order = append(order, s)
				ranks[s] = o.rank()
			}
			if !slices.Contains(where[s], e.Environment) {
				where[s] = append(where[s], e.Environment)
			}
		}
	}
	slices.SortStableFunc(order, func(a, b string) int { return cmp.Compare(ranks[a], ranks[b]) })
	compared := c.compared()
	var out []string
	for i, s := range order {
		if i == most && len(order) > most+1 {
			return append(out, fmt.Sprintf("… and %d more", len(order)-i))
		}
		if len(where[s]) < compared {
			s += " [" + list(where[s], 4) + "]"
		}
		out = append(out, s)
	}
	return out
}

// InFull are the details of all environments where these fit beside the summary: then there is nothing to ask for.
func (c Card) InFull() string {
	if c.Brief {
		return ""
	}
	texts := 0
	for _, e := range c.Environments {
		for _, o := range slices.Concat(e.Objects, e.Drift) {
			for _, change := range o.Changes {
				texts += len(change.Before) + len(change.After)
			}
			if texts++; texts > 50*maxInFull {
				return "" // without a look at the lines of it all
			}
		}
	}
	var b strings.Builder
	for _, e := range c.Environments {
		lines := e.lines()
		if len(lines) == 0 {
			continue
		}
		if len(c.Environments) > 1 {
			b.WriteString(e.Environment + "\n")
		}
		b.WriteString(strings.Join(lines, "\n") + "\n")
		if size(b.String()) > maxInFull {
			return ""
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// shown is the environment whose details are shown.
func (c Card) shown() Environment {
	for _, e := range c.Environments {
		if e.Environment == c.Environment {
			return e
		}
	}
	return Environment{Environment: c.Environment}
}

// alone is a report of the one environment that is shown.
func (c Card) alone() Report {
	r := c.Report
	r.Environments, r.Notes = []Environment{c.shown()}, nil
	return r
}

// Lead is the headline of what is shown.
func (c Card) Lead() string {
	if c.Environment == "" {
		return c.Headline()
	}
	return c.alone().Headline()
}

// Warnings are the risks of what is shown, and what could not be found out.
func (c Card) Warnings() []string {
	r := c.Report
	if c.Environment != "" {
		r = c.alone()
	}
	return slices.Concat(r.Failures(), r.Risks())
}

// Remarks are notes about all of it, or about the environment.
func (c Card) Remarks() []string {
	if c.Environment == "" {
		return c.Notes
	}
	return slices.Concat(c.shown().Notes, c.Notes)
}

// pages are the details of the environment.
func (c Card) pages() (pages []string) {
	var page []string
	used := 0
	flush := func() {
		if len(page) > 0 {
			pages = append(pages, strings.Join(page, "\n"))
		}
		page, used = nil, 0
	}
	for _, l := range c.shown().lines() {
		n := size(l) + 1
		if used > 0 && used+n > maxPage {
			flush()
		}
		page, used = append(page, l), used+n
	}
	flush()
	return pages
}

// size is how many bytes a text has on Slack, which writes three characters as entities.
func size(s string) int {
	return len(s) + 4*strings.Count(s, "&") + 3*strings.Count(s, "<") + 3*strings.Count(s, ">")
}

// Pages is how many pages the details take.
func (c Card) Pages() int { return len(c.pages()) }

// Code is the page that is shown; the last where there are fewer.
func (c Card) Code() string {
	pages := c.pages()
	if len(pages) == 0 {
		return ""
	}
	return pages[c.at(len(pages))-1]
}

func (c Card) at(pages int) int { return max(1, min(c.Page, pages)) }

// Place says which page it is; empty where there is one.
func (c Card) Place() string {
	if n := c.Pages(); n > 1 {
		return fmt.Sprintf("Page %d of %d", c.at(n), n)
	}
	return ""
}

// Turns are the pages before and behind.
func (c Card) Turns() (all []Button) {
	n := c.Pages()
	at := c.at(n)
	if at < n {
		all = append(all, Button{fmt.Sprintf("Show page %d", at+1), c.review(c.Environment, at+1)})
	}
	if at > 1 {
		all = append(all, Button{fmt.Sprintf("Show page %d", at-1), c.review(c.Environment, at-1)})
	}
	return all
}

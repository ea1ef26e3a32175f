package gitops

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Access says who may change an environment. A principal is slack:ID or discord:ID, which the platform vouches for;
// automation:NAME, an action of the host's own configuration; or name:NAME, which people may have chosen themselves.
type Access struct {
	// Rule is the path of the rule in the configuration: "access.default"; empty: there is none, and anybody may.
	Rule string
	// Principals are those who may, "slack:*" and "discord:*" standing for everybody there. None: nobody.
	Principals []string
}

var platformID = map[string]*regexp.Regexp{
	"slack":   regexp.MustCompile(`^[UW][A-Z0-9]+$`),
	"discord": regexp.MustCompile(`^[0-9]+$`),
}

// ValidPrincipal says in a sentence why a rule cannot name somebody so, or nothing where it can.
func ValidPrincipal(principal string) error {
	kind, id, _ := strings.Cut(principal, ":")
	switch kind {
	case "slack", "discord":
		if id != "*" && !platformID[kind].MatchString(id) {
			return fmt.Errorf("%q has no id of %s: write slack:U024BE7LH, discord:80351110224678912, or * for the whole id", principal, kind)
		}
	case "automation", "name":
		switch {
		case id == "":
			return fmt.Errorf("%q names nobody", principal)
		case strings.Contains(id, "*"):
			return fmt.Errorf("%q has a *, which stands for ids of slack and discord only: write the name out", principal)
		case id != strings.TrimSpace(id) || strings.ContainsFunc(id, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }):
			return fmt.Errorf("%q has blanks around the name, or characters in it that cannot be seen", principal)
		}
	default:
		return errors.New("somebody is written as slack:ID, discord:ID, automation:NAME or name:NAME")
	}
	return nil
}

// Open says that no rule is configured, so that anybody may.
func (a Access) Open() bool { return a.Rule == "" }

// Permits says whether somebody may change the environment.
func (a Access) Permits(principal string) bool {
	kind, _, _ := strings.Cut(principal, ":")
	return a.Open() || a.Names(principal) || platformID[kind] != nil && slices.Contains(a.Principals, kind+":*")
}

// Names says whether the rule has somebody written out.
func (a Access) Names(principal string) bool { return slices.Contains(a.Principals, principal) }

// Automation says whether a principal is an action of the host's configuration.
func Automation(principal string) bool { return strings.HasPrefix(principal, "automation:") }

// Refuse is the answer to somebody who may not change an environment: by which rule, and who may.
func (a Access) Refuse(environment, principal string) *Refusal {
	const shown = 15
	r := &Refusal{Code: Denied, Title: "You may not change " + environment}
	you := "you are " + principal
	switch kind, name, _ := strings.Cut(principal, ":"); {
	case kind == "name" && name == "":
		you = "your platform does not tell ferry who you are"
	case kind == "name":
		you += ", which no platform vouches for"
	}
	if len(a.Principals) == 0 {
		r.Reason = fmt.Sprintf("%s in ferry's configuration is an empty list, so nobody may change %s through ferry. To ferry, %s.", a.Rule, environment, you)
		return r
	}
	r.Reason = fmt.Sprintf("%s in ferry's configuration says who may, and %s. These may:", a.Rule, you)
	r.Details = slices.Clone(a.Principals[:min(shown, len(a.Principals))])
	for i, p := range r.Details {
		if kind, all := strings.CutSuffix(p, ":*"); all {
			r.Details[i] = p + " (everybody on " + kind + ")"
		}
	}
	if more := len(a.Principals) - shown; more > 0 {
		r.Details = append(r.Details, fmt.Sprintf("and %d more", more))
	}
	return r
}

package operation

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// Known refuses an environment that is not configured, and names those that are. again gives the user's line with
// another environment in it.
func Known(known []string, environment string, again func(environment string) string) error {
	if slices.Contains(known, environment) {
		return nil
	}
	refusal := &gitops.Refusal{Code: gitops.NotFound, Title: fmt.Sprintf("There is no environment %s", environment),
		Reason: fmt.Sprintf("ferry knows %s.", enumerate(known))}
	if len(known) == 0 {
		refusal.Reason = "No environment is configured."
	}
	if guess := gitops.Closest(strings.ToLower(environment), known); guess != "" {
		refusal.Reason = fmt.Sprintf("Did you mean %s? %s", guess, refusal.Reason)
		refusal.Next = []string{again(guess)}
	}
	return refusal
}

func enumerate(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// Find returns the application that a name means among those of one environment: NAME, NAMESPACE/NAME or
// KIND/NAMESPACE/NAME, or the name of a workload that is part of it; via is that workload's name then. again gives the
// user's line with another name in it: what to type when several are meant.
func Find(apps []gitops.Application, environment, name string, again func(name string) string) (app gitops.Application, via string, err error) {
	var found []gitops.Application
	for _, a := range apps {
		if named(a, name) {
			found = append(found, a)
		}
	}
	if len(found) == 0 {
		for _, a := range apps {
			if slices.Contains(a.Aliases(), name) {
				found, via = append(found, a), name
			}
		}
	}
	switch len(found) {
	case 1:
		return found[0], via, nil
	case 0:
		return gitops.Application{}, "", unknown(apps, []string{environment}, name, again)
	}
	refusal := &gitops.Refusal{Code: gitops.Ambiguous, Reason: fmt.Sprintf("%s means %d applications in %s.", name, len(found), environment)}
	names := qualified(found)
	for i, a := range found {
		version := "no version"
		if v, ok := a.Release(); ok {
			version = cmp.Or(v.Value, v.Desired, version)
		}
		refusal.Details = append(refusal.Details, fmt.Sprintf("%s: %s in namespace %s, at %s", names[i], a.Kind, a.Namespace, version))
		refusal.Next = append(refusal.Next, again(names[i]))
	}
	return gitops.Application{}, "", refusal
}

// qualified gives the shortest names that tell applications of one environment apart.
func qualified(apps []gitops.Application) []string {
	names := make([]string, len(apps))
	for i, a := range apps {
		names[i] = a.Key.String()
		for j, b := range apps {
			if i != j && a.Key.String() == b.Key.String() {
				names[i] = a.Kind + "/" + a.Key.String()
			}
		}
	}
	return names
}

func named(a gitops.Application, name string) bool {
	return name == a.Name || name == a.Key.String() || strings.EqualFold(name, a.Kind+"/"+a.Key.String()) && strings.HasSuffix(name, "/"+a.Key.String())
}

func unknown(apps []gitops.Application, environments []string, name string, again func(name string) string) *gitops.Refusal {
	environment, run := enumerate(environments), "runs"
	if len(environments) > 1 {
		run = "run"
	}
	refusal := &gitops.Refusal{Code: gitops.NotFound, Title: fmt.Sprintf("%s is not in %s", name, environment), Next: []string{"list"}}
	var names []string
	for _, a := range apps {
		if !slices.Contains(names, a.Name) {
			names = append(names, a.Name)
		}
	}
	if guess := gitops.Closest(strings.ToLower(name), names); guess != "" {
		refusal.Next = append([]string{again(guess)}, refusal.Next...)
	}
	const shown = 20
	switch {
	case len(names) == 0:
		refusal.Reason = fmt.Sprintf("Flux runs no application in %s that ferry can see.", environment)
	case len(names) > shown:
		refusal.Reason = fmt.Sprintf("%s %s %s and %d more.", environment, run, strings.Join(names[:shown], ", "), len(names)-shown)
	default:
		refusal.Reason = fmt.Sprintf("%s %s %s.", environment, run, enumerate(names))
	}
	return refusal
}

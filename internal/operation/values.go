// Package operation reads: what runs where, how environments differ, what can be promoted. One file a verb, and the
// interfaces that the verbs need.
package operation

import (
	"context"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// Fleet reads the clusters behind the environments. Errors that a user can act on are *gitops.Refusal; a cluster that
// does not answer is one with code Unreachable, whose reason is short enough for one line.
type Fleet interface {
	// Environments returns the configured names, in configuration order.
	Environments() []string
	// Applications observes all applications of an environment, sorted by gitops.Key. Pods are not looked at.
	Applications(ctx context.Context, environment string) ([]gitops.Application, error)
}

// A Listing is the answer to list: applications in rows, environments in columns.
type Listing struct {
	Application  string       `json:"application,omitempty"` // the filter
	Environments []string     `json:"environments"`          // those that answered, in configuration order
	Rows         []ListRow    `json:"rows"`
	Unreachable  []Unanswered `json:"unreachable,omitempty"`
}

// A ListRow is one application in every environment that answered.
type ListRow struct {
	Name      string `json:"name"` // NAMESPACE/NAME where the name alone is ambiguous
	Namespace string `json:"namespace"`
	Kind      string `json:"kind"`
	Cells     []Cell `json:"cells"` // one for each of Listing.Environments
}

// A Cell is one application in one environment. Present is false where it does not run.
type Cell struct {
	Present   bool               `json:"present"`
	Namespace string             `json:"namespace"`
	Version   string             `json:"version"` // what runs; "-" where nothing has run; "chart 4.0.0, web 1.4.2" where a user has to choose
	Desired   string             `json:"desired"` // only if it differs from Version
	Kind      gitops.VersionKind `json:"kind"`
	Health    gitops.Health      `json:"health"`
	Reason    string             `json:"reason"`  // Flux's or kstatus' word, empty when Ready
	Message   string             `json:"message"` // cut to a line, empty when Ready
}

// Unanswered is an environment that could not be read.
type Unanswered struct {
	Environment string `json:"environment"`
	Reason      string `json:"reason"`
}

// A Difference is the answer to diff: one environment against others.
type Difference struct {
	Environment string       `json:"environment"`
	Comparisons []Comparison `json:"comparisons"`
}

// A Comparison holds only what differs between Difference.Environment and Other.
type Comparison struct {
	Other       string       `json:"other"`
	Unreachable string       `json:"unreachable,omitempty"` // the reason; nothing else is set then
	Rows        []DiffRow    `json:"rows"`
	Same        int          `json:"same"` // applications without a difference
	Suggestions []Suggestion `json:"suggestions,omitempty"`
}

// A DiffRow is one field of one application: "version", "image NAME", "replicas", or "application" where it exists on
// one side only. A missing side is "-".
type DiffRow struct {
	Application string `json:"application"`
	Field       string `json:"field"`
	Here        string `json:"here"`  // in Difference.Environment
	There       string `json:"there"` // in Comparison.Other
}

// A Suggestion is a promotion that would bring the lagging side level.
type Suggestion struct {
	Application string `json:"application"`
	Version     string `json:"version"`
	To          string `json:"to"`
	Command     string `json:"command"` // "promote podinfo@7.0.0 to prod"
}

package gitops

import "time"

// A Request is what a user asked for, read from a line by package command.
type Request interface{ Verb() string }

// List asks for what runs where. Application is a name, NAMESPACE/NAME, or empty for all.
type List struct{ Application string }

// Diff asks how an environment differs from another, or from every other if Other is empty.
type Diff struct{ Environment, Other string }

// Review asks what merging a pull request, or a branch, would do to the environments that it touches.
type Review struct {
	Number      int    // zero where Branch is there
	Branch      string // of the head
	Repository  string // owner/name; empty where only one can be meant
	Host        string // of the link that was typed; empty: none was
	Environment string // empty: all that it touches
	Head        string // the commit that a card showed; empty: whatever it is now
	Page        int    // 1-based; zero: the summary
	Refresh     bool   // made anew, in the place of the message whose button was pressed
}

// Status asks what became of ferry's newest change to an application; both empty: of everything recent.
type Status struct {
	Application, Environment string
	Refresh                  bool // --refresh: the answer takes the place of the message whose button was pressed
}

// Sources asks how ferry's sources do, which follow pull requests.
type Sources struct{}

// Check asks what works and what is missing: permissions, reachability, versions. Environment is empty for all.
type Check struct{ Environment string }

// Help asks how to use a verb, or ferry if Topic is empty.
type Help struct{ Topic string }

// Change is what promote and rollback have in common.
type Change struct {
	Application string
	Environment string // the one that is changed
	Chart       bool   // --chart: the chart's version is meant
	Image       string // --image NAME: this image's tag is meant
	Field       string // --field FILE:PATH: one of several that could be meant
	Override    bool   // --override: in the environment's own files, where others share the bytes
	Pin         bool   // --pin: agreed that a version takes the place of a range
	DropDigest  bool   // --drop-digest: agreed that a digest beside the tag goes
	Reason      string // --reason TEXT
	Shared      bool   // --shared: agreed that other environments change with it
	PullRequest bool   // --pr: a pull request even where a commit is allowed
	Yes         bool   // --yes: no card
	// Confirm is the hash of the plan that the user saw, Until when that expires. Both are zero before the card.
	Confirm string
	Until   time.Time
}

// Promote asks to run Version of an application in an environment. From is the environment whose version is meant
// where Version is empty.
type Promote struct {
	Change
	Version string
	From    string
}

// Rollback asks for the release before the present one, or for To.
type Rollback struct {
	Change
	To string
}

// Verb is the first word of the request's line.
func (List) Verb() string { return "list" }

// Verb is the first word of the request's line.
func (Review) Verb() string { return "diff" }

// Verb is the first word of the request's line.
func (Diff) Verb() string { return "diff" }

// Verb is the first word of the request's line.
func (Status) Verb() string { return "status" }

// Verb is the first word of the request's line.
func (Sources) Verb() string { return "status" }

// Verb is the first word of the request's line.
func (Check) Verb() string { return "check" }

// Verb is the first word of the request's line.
func (Help) Verb() string { return "help" }

// Verb is the first word of the request's line.
func (Promote) Verb() string { return "promote" }

// Verb is the first word of the request's line.
func (Rollback) Verb() string { return "rollback" }

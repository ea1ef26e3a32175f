// Package promotion writes: it plans a change of version, confirms it, commits it or opens a pull request, and proves
// that Flux rolled it out. A rollback is the promotion of an earlier release.
package promotion

import (
	"context"
	"io/fs"
	"time"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// Cluster is the part of the clusters that a change needs. Errors that a user can act on are *gitops.Refusal.
type Cluster interface {
	// Applications observes all applications of an environment, without their pods.
	Applications(ctx context.Context, environment string) ([]gitops.Application, error)
	// Application observes one closely, the problems of its pods included. gitops.NotFound if it is gone.
	Application(ctx context.Context, key gitops.Key) (gitops.Application, error)
	// Kustomizations returns all Flux Kustomizations of an environment.
	Kustomizations(ctx context.Context, environment string) ([]gitops.Kustomization, error)
	// Automations returns the image automations of an environment; none where there are none.
	Automations(ctx context.Context, environment string) ([]gitops.ImageAutomation, error)
	// Reconcile asks Flux to look again at the application's source, Kustomization and HelmRelease now, in this order.
	// Without the right to annotate it returns a Refusal of code Denied.
	Reconcile(ctx context.Context, app gitops.Application) error
	// Home is the UID of the home cluster's kube-system namespace.
	Home(ctx context.Context) (string, error)
}

// Repositories opens repositories by "owner/name".
type Repositories interface {
	Repository(name string) (Repository, error)
}

// Repository is a GitHub repository: a base to plan on, and the one place that ferry writes to.
type Repository interface {
	// Head returns the commit that a branch points to.
	Head(ctx context.Context, branch string) (sha string, err error)
	// Tree returns the files of a commit. Symbolic links, submodules and files over 1 MiB are not in it.
	Tree(ctx context.Context, sha string) (fs.FS, error)
	// File returns one file at a commit or branch. fs.ErrNotExist if it is not there.
	File(ctx context.Context, path, ref string) ([]byte, error)
	// Commits returns the newest commits of a branch that changed path (of all paths if it is empty), newest first.
	Commits(ctx context.Context, branch, path string, limit int) ([]gitops.Commit, error)
	// Contains says whether commit is head or one of its ancestors.
	Contains(ctx context.Context, head, commit string) (bool, error)
	// Viewer is the login of our own credential.
	Viewer(ctx context.Context) (string, error)
	// Direct says whether the branch's rules let us commit to it, and if not, which rule forbids it.
	Direct(ctx context.Context, branch string) (allowed bool, rule string, err error)
	// Commit writes files on top of expected, the branch's head. ErrMoved if the branch points elsewhere by now,
	// ErrOutcomeUnknown if GitHub did not say whether it was written.
	Commit(ctx context.Context, branch, expected, message string, files []gitops.File) (gitops.Commit, error)
	// CreateBranch makes a branch at a commit. It is no error if it exists there already.
	CreateBranch(ctx context.Context, branch, sha string) error
	// DeleteBranch removes one. GitHub closes the pull requests from it.
	DeleteBranch(ctx context.Context, branch string) error
	// OpenPullRequest opens one, or returns the one that is already open for the branch.
	OpenPullRequest(ctx context.Context, branch, base, title, body string) (gitops.PullRequest, error)
	// PullRequests returns pull requests from branches of this repository that begin with prefix, newest first.
	PullRequests(ctx context.Context, prefix string) ([]gitops.PullRequest, error)
}

// Charts reads the sources of charts.
type Charts interface {
	// Versions lists what a chart's source offers, newest first. Any error means: cannot be checked.
	Versions(ctx context.Context, chart gitops.Chart) ([]string, error)
}

// A Card shows a plan and asks for consent.
type Card struct {
	Plan     gitops.Plan
	Rollback bool
	// Basis says where a rollback's target comes from: "Git history of apps/prod/podinfo.yaml and Helm's history".
	Basis     string
	Direction string // upgrade, downgrade, same version, or that it is not known where versions have no order
	Mode      string // "commit to main", "pull request to main, because …"
	// Note says why this is a card though a change was asked for; empty for a plain card.
	Note     string
	Warnings []string
	// Open says that the configuration has no rule for who may confirm it.
	Open  bool
	Until time.Time
	// Confirm is the whole line that does it: "promote podinfo@7.0.0 to prod --confirm … --until …".
	Confirm string
}

// State is how far a change has come.
type State string

// The states of an outcome.
const (
	Committed     State = "Committed" // in Git; whether the cluster followed was not looked at
	Verified      State = "Verified"
	RollingOut    State = "Rolling out"      // not ended within the time an answer may take
	Unconfirmed   State = "Unconfirmed"      // promotion.timeout is over
	RolloutFailed State = "Failed"           // Flux or a pod says that it will not come
	WaitsForMerge State = "Waits for merge"  // a person has to merge the pull request
	NotMerged     State = "Closed unmerged"  // the pull request was closed
	AlreadyThere  State = "Already there"    // nothing to do
	Superseded    State = "Superseded"       // a later commit changed the field again
	Paused        State = "Suspended"        // Flux does not look at it
	NoChange      State = "No change so far" // ferry has changed nothing here
)

// A Step is one link of the chain from the commit to the pods, in order: commit, pull request, source, Kustomization,
// chart, HelmRelease, workload.
type Step struct {
	Name   string `json:"name"`   // "GitRepository flux-system/fleet"
	Done   bool   `json:"done"`   //
	Failed bool   `json:"failed"` //
	Detail string `json:"detail"` // what it says, or what it waits for
}

// An Outcome is what became of a change.
type Outcome struct {
	State       State
	Rollback    bool
	Application gitops.Key
	Kind        gitops.VersionKind
	Of          string // the container or image that the version is of, where that is not the application's own version
	From, To    string
	Shared      []string // other environments that changed with it
	Steps       []Step
	Reason      string // why it failed or what it waits for, a sentence; may be hostile
	Commit      gitops.Commit
	PullRequest gitops.PullRequest // Number is zero where there is none
	RequestedBy string
	Elapsed     time.Duration // from the commit to the end, or until now while it has not ended
	Warnings    []string
	// Next are commands that make sense now, without the bot's name: "status podinfo on prod".
	Next []string
}

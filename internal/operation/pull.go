package operation

import (
	"context"
	"io/fs"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/render"
)

// A Pull is a pull request, or a branch where there is none: Number is zero then.
type Pull struct {
	Repository string // owner/name, of the base
	Number     int
	Title, URL string
	State      string // open, closed, merged
	Draft      bool
	Author     string
	Branch     string // of the head
	Fork       string // owner/name of the head's repository where it is another one; "-": it is gone
	Head       string // commit
	Base       string // branch
	BaseCommit string // that the branch points to now
}

// Pulls reads what is to be merged. Repositories that the configuration does not allow are refused before any request.
// Errors that people can act on are *gitops.Refusal.
type Pulls interface {
	// Pull finds a pull request by its number.
	Pull(ctx context.Context, repository string, number int) (Pull, error)
	// Branch finds the newest open pull request from a branch of the repository, or else the branch itself, to be merged
	// into base; empty: the repository's default branch.
	Branch(ctx context.Context, repository, branch, base string) (Pull, error)
	// MergeBase is the newest commit that both have.
	MergeBase(ctx context.Context, repository, base, head string) (string, error)
	// Tree returns the files of a commit, those of forks included.
	Tree(ctx context.Context, repository, sha string) (fs.FS, error)
	// Merge merges two versions of a file line by line, as git does; false where they conflict.
	Merge(ctx context.Context, ancestor, base, head []byte) (merged []byte, ok bool, err error)
}

// Live is what ferry asks of the clusters of an environment. Nothing is written. Errors that people can act on are
// *gitops.Refusal.
type Live interface {
	// Environments returns the configured names, in configuration order.
	Environments() []string
	// Kustomizations returns all Flux Kustomizations of an environment.
	Kustomizations(ctx context.Context, environment string) ([]gitops.Kustomization, error)
	// Flux returns Flux's own objects of an environment as the cluster has them, status included: Kustomizations,
	// HelmReleases, HelmCharts and sources; and the ConfigMaps that they take values and variables from.
	Flux(ctx context.Context, environment string) ([]render.Object, error)
	// Keys are the names of the values in a Secret beside Flux's objects; never a value. Of one whose value is a YAML
	// document, leaves are the paths of its scalars, "ingress.host", by key. It is false where the Secret may not be read.
	Keys(ctx context.Context, environment, namespace, name string) (keys []string, leaves map[string][]string, known bool, err error)
	// Credential is that of a source's secretRef; nil where it has none.
	Credential(ctx context.Context, environment string, source render.Object) (*render.Credential, error)
	// Serves tells the version of the cluster that releases are installed into and the APIs that it serves.
	Serves(ctx context.Context, environment string, remote bool) (kubernetes string, apis []string, err error)
	// Try finds out what becomes of objects, side by side, each by itself: Tried has one entry for each trial.
	Try(ctx context.Context, environment string, trials []Trial) ([]Tried, error)
}

// A Way is how an object is compared with the cluster.
type Way string

// The ways.
const (
	Applied Way = "apply" // server-side apply by kustomize-controller's field manager, as a dry run
	Patched Way = "patch" // Helm's three-way merge patch of Base, Object and the live object, as a dry run
	Looked  Way = "look"  // it is read alone
)

// A Trial is an object that Flux would apply, or one that it would delete.
type Trial struct {
	Object render.Object  // for Looked, what is to be read
	Base   map[string]any // Patched's: what the release has of it at present; nil: nothing
	Way    Way
	Remote bool // it lies in the environment's own cluster, not in that of its Flux objects: the owner names a kubeconfig
	Force  bool // the owner replaces what cannot be changed
}

// Tried is what was found out. Neither side holds managedFields, nor what the API server and controllers alone write: status,
// uid, resourceVersion, generation, creationTimestamp, counts of revisions; nor, of an object that is made anew, what nobody can
// foresee: addresses, UIDs.
type Tried struct {
	Live  map[string]any // nil: not there
	After map[string]any // nil: not known. It is Live where an annotation keeps Flux from the object, and what Git says laid over it where it is refused
	// Replaced says that Flux deletes the object and makes it anew.
	Replaced bool
	// Immutable says that the API server refuses a change of what cannot be changed; Err words it.
	Immutable bool
	// Without says why there was no dry run, a sentence; After is then what Git says laid over Live. Empty: there was one.
	Without string
	// Err is why this object could not be tried, worded without any value of it.
	Err error
}

// Package report says what a change would do to clusters: two sets of objects, compared object by object and field by field
// for people. It is pure. What is secret is masked in everything that it returns.
package report

import (
	"time"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// A Verdict is what becomes of an object, in the words of Flux's ChangeSet.
type Verdict string

// The verdicts.
const (
	Created    Verdict = "created"
	Configured Verdict = "configured"
	Unchanged  Verdict = "unchanged"
	Deleted    Verdict = "deleted"
	Skipped    Verdict = "skipped" // Flux leaves it alone, or ferry could not find out: Object.Reason says why
)

// A Flag is a reason to look twice.
type Flag string

// The flags.
const (
	CRD       Flag = "crd"       // a CustomResourceDefinition: objects of its kind depend on it
	Immutable Flag = "immutable" // the API server refuses the change as it is
	Replaced  Flag = "replaced"  // the object is deleted and made anew
	Namespace Flag = "namespace" // a namespace is deleted, with all that is in it
	Data      Flag = "data"      // a volume or a claim of one is deleted
	Secret    Flag = "secret"    // a value that is secret changes
	Restart   Flag = "restart"   // pods are started anew
	Unready   Flag = "unready"   // the API server refuses it for another reason
)

// A Report is what merging a pull request would do, or a branch where there is no pull request.
type Report struct {
	Repository   string        `json:"repository"` // owner/name
	Number       int           `json:"number"`     // zero: a branch without a pull request
	Title        string        `json:"title"`
	URL          string        `json:"url"`
	Branch       string        `json:"branch"` // of the head
	Head         string        `json:"head"`   // commit
	Base         string        `json:"base"`   // branch that it is merged into
	BaseCommit   string        `json:"baseCommit"`
	Made         time.Time     `json:"made"`
	Notes        []string      `json:"notes,omitempty"` // sentences about all environments: files that both sides changed, say
	Environments []Environment `json:"environments"`
}

// An Environment is what becomes of one environment. Error alone is set where that could not be found out.
type Environment struct {
	Environment string   `json:"environment"`
	Error       string   `json:"error"`   // a sentence
	Objects     []Object `json:"objects"` // that the change touches
	// Drift are objects whose Git does not change but that differ from it in the cluster.
	Drift []Object `json:"drift,omitempty"`
	// Notes are sentences about what makes this report less than the truth: no dry run, a release that is suspended.
	Notes []string `json:"notes,omitempty"`
}

// An Object is what becomes of one object.
type Object struct {
	gitops.Object
	Source  string   `json:"source"` // what applies it: "Kustomization flux-system/apps", "HelmRelease shop/orders"
	Verdict Verdict  `json:"verdict"`
	Reason  string   `json:"reason,omitempty"` // a sentence, where the verdict needs one
	Flags   []Flag   `json:"flags"`
	Changes []Change `json:"changes"`
	// Folded counts changes that an ignore rule hides: labels with a chart's version, checksums.
	Folded int `json:"folded,omitempty"`
}

// A Change is one field. Path is as in "spec.template.spec.containers[name=web].image"; empty: the whole object, as YAML,
// which came or went. A side that is not there is empty.
type Change struct {
	Path   string `json:"path"`
	Before string `json:"before"`
	After  string `json:"after"`
}

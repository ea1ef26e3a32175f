package operation

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/layout"
)

// Planned is the answer to plan: what would be written, and what it would do.
type Planned struct {
	Application string             `json:"application"`
	Namespace   string             `json:"namespace"`
	Environment string             `json:"environment"`
	Version     string             `json:"version"`
	Previous    string             `json:"previous"`
	Kind        gitops.VersionKind `json:"kind"`
	Hash        string             `json:"hash"`
	Edits       []gitops.Edit      `json:"edits"`       // none where the files state the version already
	Patch       string             `json:"patch"`       // of all files, for git apply
	AlsoFeeds   []string           `json:"alsoFeeds"`   // nil where no other environment is known to look at
	Others      []string           `json:"others"`      // the other environments that are known
	AlsoChanges []string           `json:"alsoChanges"` // what else of the environment itself changes: "HelmRelease/shop/orders"
	Warnings    []string           `json:"warnings"`

	Content []gitops.File     `json:"-"` // the files after the edits
	Before  map[string][]byte `json:"-"` // what they were, by path; without those that are new
}

// Plan works out what would bring a version into what the Flux of a root directory builds, and proves it.
func (r *Repository) Plan(ctx context.Context, root string, request gitops.Promote) (Planned, error) {
	o, err := r.open(ctx, root, request.Environment)
	if err != nil {
		return Planned{}, err
	}
	if err := r.builds(ctx, o.environment, root); err != nil {
		return Planned{}, err
	}
	c := request.Change
	result, err := r.tree.Plan(ctx, o.environment, o.others, layout.Change{Application: c.Application, Version: request.Version, Chart: c.Chart, Image: c.Image,
		Field: c.Field, Shared: c.Shared, Override: c.Override, Pin: c.Pin, DropDigest: c.DropDigest})
	if err != nil {
		return Planned{}, err
	}
	p := Planned{Application: result.Field.Application.Name, Namespace: result.Field.Application.Namespace, Environment: request.Environment, Version: result.To, Previous: result.From,
		Kind: result.Field.Version.Kind, Edits: append([]gitops.Edit{}, result.Edits...), AlsoFeeds: fed(result.AlsoFeeds, o.others), Others: called(o.others), AlsoChanges: append([]string{}, result.AlsoChanges...),
		Warnings: []string{}, Content: result.Files, Before: map[string][]byte{}}
	for _, u := range result.Unchecked {
		p.Warnings = append(p.Warnings, fmt.Sprintf("Whether this feeds %s is not known. %s", u.Environment, problem(u)))
	}
	for _, f := range result.Files {
		before, err := fs.ReadFile(r.files, f.Path)
		if err == nil {
			p.Before[f.Path] = before
		}
		p.Patch += Patch(f.Path, before, f.Content)
	}
	p.Hash = hash(result, p)
	return p, nil
}

// hash is that of the plan without a repository and a branch.
func hash(result layout.Result, p Planned) string {
	plan := gitops.Plan{Application: result.Field.Application, Kind: p.Kind, VersionName: result.Field.Version.Name, From: p.Previous, To: p.Version,
		Edits: p.Edits, Shared: p.AlsoFeeds, Blind: p.Warnings, Elsewhere: map[string][]gitops.Rendered{}, Digests: map[string]string{}}
	for environment, effect := range result.Effects {
		plan.Digests[environment] = effect.Digest
		if environment == p.Environment {
			plan.Rendered = effect.Changes
		} else {
			plan.Elsewhere[environment] = effect.Changes
		}
	}
	return plan.Hash()
}

package render

import (
	"context"
	"io/fs"
)

// A Release is what Flux's helm-controller is asked to install: a HelmRelease, and what it refers to. Each is as it stands
// in a build, or else in the cluster.
type Release struct {
	Object Object // the HelmRelease
	// Chart is the HelmChart that spec.chartRef names; where it names none, the one in the cluster that Flux made of
	// spec.chart. Zero: there is none. Its generation is part of the version where spec.valuesFiles is set.
	Chart Object
	// Source is where the chart comes from: a HelmRepository, OCIRepository or GitRepository.
	Source Object
	// Maps are the ConfigMaps and Secrets that spec.valuesFrom names, as far as they are known. Values of Secrets in it stand
	// for the real ones, which no renderer gets to see.
	Maps []Object
	// Files are those of the commit of a GitRepository, as Artifact shows them; nil for other sources.
	Files fs.FS
	// Credential is for the source's own address and for no other.
	Credential *Credential
	// Installed is the revision of the release that is there, the newest of status.history (version); zero: none. It
	// decides whether this is an upgrade.
	Installed  int
	Kubernetes string   // version of the cluster, "v1.34.2"; empty: a recent one
	APIs       []string // that it serves, "apps/v1" and "apps/v1/Deployment"; empty: Kubernetes' own
}

// A Credential is what a source of charts asks for, as Flux's secretRef holds it. All may be empty.
type Credential struct {
	Username, Password string
	CA, Cert, Key      []byte // PEM
}

// An Expansion is what a release installs.
type Expansion struct {
	Objects []Object // in the order of Helm's manifest, hooks not among them; each has its namespace where it needs one
	Hooks   []Object // run at their time, and belong to no release
	// CRDs are those of the chart's folder crds. Helm creates them, and replaces none unless spec.upgrade.crds says so.
	CRDs    []Object
	Chart   string // its name
	Version string // the one that was found for a range, with the metadata that Flux adds
	// Looks says that the chart looks into the cluster, and found nothing here: what it makes of Secrets there is not known.
	Looks bool
	// Notes are sentences about what makes this less than the truth: a chart that looks into the cluster.
	Notes []string
}

// A ChartRenderer renders what helm-controller would install. Errors that people can act on are *gitops.Refusal.
type ChartRenderer interface {
	Expand(ctx context.Context, release Release) (Expansion, error)
}

// Package gitops holds the words of the domain: applications and their versions, what a user can ask for, plans,
// promotions, and the refusals that answer what cannot be done. It is plain data and pure functions.
package gitops

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Key names an application: one thing with its own version field in one environment.
type Key struct {
	Environment string `json:"environment"`
	Namespace   string `json:"namespace"`
	Kind        string `json:"kind"` // HelmRelease, a workload's, or Kustomization for what is Flux's alone
	Name        string `json:"name"`
}

// String gives NAMESPACE/NAME, the form that is unambiguous in chat for all but kinds.
func (k Key) String() string { return k.Namespace + "/" + k.Name }

// Compare orders keys by name, namespace, kind and environment: what belongs together side by side comes together.
func (k Key) Compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Name, o.Name), cmp.Compare(k.Namespace, o.Namespace),
		cmp.Compare(k.Kind, o.Kind), cmp.Compare(k.Environment, o.Environment))
}

// VersionKind says what a version counts. Kinds are never confused: a chart's version is not an image's tag.
type VersionKind string

// The kinds of version.
const (
	ChartVersion VersionKind = "chart"
	ImageTag     VersionKind = "image"
	Reference    VersionKind = "reference"  // what a GitRepository follows
	Substitute   VersionKind = "substitute" // a variable that ends in none of the others
	Artifact     VersionKind = "artifact"   // what an OCIRepository follows that a Flux Kustomization applies
)

// An Object is a Kubernetes object by kind and name.
type Object struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// String gives KIND/NAMESPACE/NAME.
func (o Object) String() string { return o.Kind + "/" + o.Namespace + "/" + o.Name }

// A Version is one version field of an application as the cluster states it.
type Version struct {
	Kind VersionKind `json:"kind"`
	// Name is the chart's name, or the image without tag and digest.
	Name string `json:"name"`
	// Value is what runs: the chart version that Helm last deployed, or the tag in the workload's template.
	// Empty: nothing has run.
	Value string `json:"value"`
	// Desired is what the live object asks for: a HelmRelease's values of an image. It may be a range, or empty for the
	// newest chart.
	Desired string `json:"desired"`
	// Digest pins an image; "sha256:…" or empty.
	Digest string `json:"digest,omitempty"`
	// Object holds the field: HelmRelease, OCIRepository or a workload.
	Object Object `json:"object"`
	// Container names the container of an image.
	Container string `json:"container,omitempty"`
	// Init says that it is an init container, which stands for an application that has no other.
	Init bool `json:"init,omitempty"`
	// Path is that of the value which states an image of a HelmRelease: "spec.values.image.tag", or in a ConfigMap of
	// valuesFrom `data["values.yaml"]|image.tag`. Empty: it is not known.
	Path string `json:"path,omitempty"`
}

// Health is a status in one word.
type Health string

// The healths, from kstatus and Flux's Ready condition.
const (
	Ready       Health = "Ready"
	Progressing Health = "Progressing"
	Failed      Health = "Failed"
	Suspended   Health = "Suspended"
	Unknown     Health = "Unknown"
)

// A Condition is a Flux object's own word about itself.
type Condition struct {
	// Status is Ready's status: True, False or Unknown; Unknown too when the controller has not looked at the newest
	// generation yet.
	Status    string `json:"status"`
	Reason    string `json:"reason"`
	Message   string `json:"message"`
	Suspended bool   `json:"suspended"`
	// Stalled says that the controller gave up until something changes.
	Stalled bool `json:"stalled"`
}

// A Source is what a Flux Kustomization follows.
type Source struct {
	Object
	URL       string    `json:"url"`
	Branch    string    `json:"branch"`   // of a GitRepository; empty if it follows a tag, commit or range
	Revision  string    `json:"revision"` // of its artifact: "main@sha1:<40 hex>"
	Condition Condition `json:"condition"`
}

// A Kustomization is a Flux Kustomization and the source it follows.
type Kustomization struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Path      string `json:"path"` // in the source, cleaned, without a leading slash or "./"; "." is the root
	// What follows changes what is built from Path; as in the object's spec.
	TargetNamespace         string           `json:"targetNamespace,omitempty"`
	NamePrefix              string           `json:"namePrefix,omitempty"`
	NameSuffix              string           `json:"nameSuffix,omitempty"`
	Components              []string         `json:"components,omitempty"`
	IgnoreMissingComponents bool             `json:"ignoreMissingComponents,omitempty"`
	Images                  []map[string]any `json:"images,omitempty"`
	Patches                 []map[string]any `json:"patches,omitempty"`
	// Substitution is nil where no variables are filled in after the build.
	Substitution *Substitution `json:"substitution,omitempty"`
	// Labels and Annotations are put on every object at last (commonMetadata).
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	// DependsOn are the Kustomizations that it waits for.
	DependsOn []Object `json:"dependsOn,omitempty"`

	Source    Source    `json:"source"`
	Applied   string    `json:"applied"`   // status.lastAppliedRevision
	Attempted string    `json:"attempted"` // status.lastAttemptedRevision
	Condition Condition `json:"condition"`
}

// A Substitution is the postBuild of a Flux Kustomization: variables that are filled in after the build.
type Substitution struct {
	Values map[string]string `json:"values,omitempty"` // they win over those of From
	From   []VariableSource  `json:"from,omitempty"`   // later ones win over earlier ones
	Always bool              `json:"always,omitempty"` // even where there is no variable, for the sake of defaults
}

// A VariableSource is a ConfigMap or Secret in the Kustomization's namespace, each key of it a variable.
type VariableSource struct {
	Kind     string `json:"kind"`
	Name     string `json:"name"`
	Optional bool   `json:"optional,omitempty"`
	// Live is what a ConfigMap holds in the cluster; nil where it was not read, and of a Secret always.
	Live map[string]string `json:"live,omitempty"`
}

// A Chart says where a HelmRelease's chart comes from.
type Chart struct {
	Name string `json:"name"`
	// Source is the HelmRepository, OCIRepository, GitRepository or Bucket.
	Source Object `json:"source"`
	URL    string `json:"url"` // http(s)://… of an index, or oci://…; of an OCIRepository the artifact's own
	// Private says that the source has credentials, which ferry does not read.
	Private   bool      `json:"private,omitempty"`
	Insecure  bool      `json:"insecure,omitempty"` // plain HTTP for an OCI registry
	Condition Condition `json:"condition"`
	// Version is what the HelmChart or OCIRepository offers at this moment.
	Version string `json:"version"`
}

// A HelmDeployment is one entry of a HelmRelease's history.
type HelmDeployment struct {
	Version string `json:"version"` // chart version, without the digest that Flux appends to charts of an OCIRepository
	Status  string `json:"status"`  // Helm's word: deployed, superseded, failed, …
}

// A HelmRelease is the state of one, beside its version.
type HelmRelease struct {
	Chart     Chart            `json:"chart"`
	Attempted string           `json:"attempted"` // status.lastAttemptedRevision, digest cut off
	History   []HelmDeployment `json:"history"`   // newest first
	Condition Condition        `json:"condition"`
}

// A Container is a container of a workload's template.
type Container struct {
	Name  string `json:"name"`
	Image string `json:"image"`
	Init  bool   `json:"init,omitempty"` // it runs before the others
}

// A Workload is a Deployment, StatefulSet or DaemonSet of an application.
type Workload struct {
	Object
	Health     Health      `json:"health"` // by kstatus
	Message    string      `json:"message"`
	Replicas   int32       `json:"replicas"` // wanted
	Ready      int32       `json:"ready"`
	Containers []Container `json:"containers"`
	// Problems are what pods of the newest template wait for: "podinfo-7d…: ImagePullBackOff: Back-off pulling image".
	// Only a single application is observed so closely; in lists it is empty.
	Problems []string `json:"problems,omitempty"`
}

// An Application is everything observed about one, in one environment, at one moment.
type Application struct {
	Key
	// Versions are the candidates, the release's own (see Release) first where there is one. Those of a HelmRelease are its
	// chart and the images that its values name: what else its workloads run, the chart decides.
	Versions  []Version    `json:"versions"`
	Health    Health       `json:"health"`
	Reason    string       `json:"reason"`  // one word, of Flux or kstatus
	Message   string       `json:"message"` // a sentence of theirs; may be long and hostile
	Helm      *HelmRelease `json:"helm,omitempty"`
	Workloads []Workload   `json:"workloads,omitempty"`
	// Owner is the Flux Kustomization that applies it; nil when Flux does not manage it from Git.
	Owner *Kustomization `json:"owner,omitempty"`
}

// Release returns the version that stands for the application: the only one there is, init containers aside; else the
// chart that is named like it, or of a workload the container that is. It is false where a user has to choose.
func (a Application) Release() (Version, bool) {
	candidates := withoutInit(a.Versions)
	if len(candidates) == 1 {
		return candidates[0], true
	}
	for _, v := range candidates {
		if v.Kind == ChartVersion && v.Name == a.Name {
			return v, true
		}
	}
	for _, v := range candidates {
		if a.Helm == nil && v.Container == a.Name {
			return v, true
		}
	}
	return Version{}, false
}

// withoutInit leaves out the versions of init containers, if there are others.
func withoutInit(versions []Version) []Version {
	if others := slices.DeleteFunc(slices.Clone(versions), func(v Version) bool { return v.Init }); len(others) > 0 {
		return others
	}
	return versions
}

// Select returns the version that the options --chart and --image NAME choose, or the release's own without them.
// NAME is a container, an image, the last element of an image, or what a HelmRelease's values call it.
func (a Application) Select(chart bool, image string) (Version, error) {
	var found []Version
	switch {
	case chart:
		for _, v := range a.Versions {
			if v.Kind == ChartVersion {
				found = append(found, v)
			}
		}
	case image != "":
		for _, v := range a.Versions {
			if v.Kind == ImageTag && a.called(v, image) {
				found = append(found, v)
			}
		}
		found = withoutInit(found)
	default:
		if v, ok := a.Release(); ok {
			return v, nil
		}
		found = a.Versions
	}
	if len(found) == 1 {
		return found[0], nil
	}
	refusal := &Refusal{Code: NotFound, Reason: fmt.Sprintf("%s in %s has no such version field.", a.Name, a.Environment)}
	if len(found) > 1 {
		refusal = &Refusal{Code: Ambiguous, Reason: fmt.Sprintf("%s in %s has several version fields. Say which one with --image NAME.", a.Name, a.Environment)}
		if slices.ContainsFunc(found, func(v Version) bool { return v.Kind == ChartVersion }) {
			refusal.Reason = fmt.Sprintf("%s in %s has several version fields. Say which one with --chart or --image NAME.", a.Name, a.Environment)
		}
	}
	for _, v := range a.Versions {
		option := "--chart"
		if v.Kind == ImageTag {
			option = "--image " + a.Option(v)
		}
		refusal.Details = append(refusal.Details, fmt.Sprintf("%s %s is at %s: %s", v.Kind, v.Name, cmp.Or(v.Value, v.Desired, "no version"), option))
	}
	return Version{}, refusal
}

// called says whether --image NAME may mean an image's version.
func (a Application) called(v Version, name string) bool {
	if v.Container == name || v.Name == name || lastElement(v.Name) == name || v.Path != "" && spokenOf(v.Path) == name {
		return true
	}
	// A HelmRelease's version may be that of several containers.
	return a.Helm != nil && slices.ContainsFunc(a.Workloads, func(w Workload) bool {
		return slices.ContainsFunc(w.Containers, func(c Container) bool {
			image, tag, digest := SplitImage(c.Image)
			return c.Name == name && image == v.Name && tag == v.Value && digest == v.Digest
		})
	})
}

// Option is the NAME by which --image means this version alone and people know it.
func (a Application) Option(v Version) string {
	names := []string{v.Container, lastElement(v.Name)}
	if a.Helm != nil { // whose chart names the containers
		names = []string{spokenOf(v.Path), lastElement(v.Name), v.Container}
	}
	for _, name := range names {
		others := 0
		for _, o := range a.Versions {
			if o.Kind == ImageTag && a.called(o, name) {
				others++
			}
		}
		if name != "" && others == 1 {
			return name
		}
	}
	return v.Name
}

// lastElement of an image is what people call it.
func lastElement(image string) string { return image[strings.LastIndexByte(image, '/')+1:] }

// Aliases are the names by which a user may mean the application: its own and those of its parts.
func (a Application) Aliases() []string {
	names := []string{a.Name}
	for _, w := range a.Workloads {
		if !slices.Contains(names, w.Name) {
			names = append(names, w.Name)
		}
	}
	return names
}

// A Located field is one that the configuration names for an application, in the words of where.
type Located struct {
	Application string
	Namespace   string // empty: any
	Kind        VersionKind
	File, Path  string
}

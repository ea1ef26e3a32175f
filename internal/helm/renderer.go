package helm

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"

	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"helm.sh/helm/v3/pkg/chart"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/render"
)

// A Renderer renders what helm-controller would install, with charts from HelmRepositories, OCIRepositories and
// GitRepositories. It reads Release alone, and the address of its source: credentials go to exactly that one, and no
// machine's configuration of Helm or Docker is looked at. Signatures (verify) are not checked. It is safe for concurrent use.
type Renderer struct {
	charts  *Charts
	shelf   *shelf
	workers *workers
}

// NewRenderer makes a Renderer that shares the limits of charts. The program has to call Work first in main.
func NewRenderer(charts *Charts) *Renderer {
	return &Renderer{charts: charts, shelf: newShelf(charts.now), workers: &workers{busy: make(chan struct{}, maxWorkers), limit: renderTimeout}}
}

// Expand renders a release as an upgrade where Release.Installed says that one is there, and else as an installation.
func (r *Renderer) Expand(ctx context.Context, of render.Release) (render.Expansion, error) {
	j, err := r.job(ctx, of)
	if ctx.Err() != nil {
		return render.Expansion{}, ctx.Err()
	}
	if err != nil {
		return render.Expansion{}, refuse(err)
	}
	o, err := r.workers.do(ctx, j)
	if err != nil {
		return render.Expansion{}, fmt.Errorf("expand %s: %w", of.Object, err)
	}
	if o.Refused != "" {
		return render.Expansion{}, refuse(refusal(o.Refused))
	}
	return render.Expansion{
		Objects: objects(o.Objects), Hooks: objects(o.Hooks), CRDs: objects(o.CRDs),
		Chart: o.Chart, Version: o.Version, Looks: o.Looks, Notes: o.Notes,
	}, nil
}

// refuse makes the refusal that people read: sentences about a release that they know already.
func refuse(err error) error {
	reason, ok := err.(refusal) //nolint:errorlint // it is never wrapped
	if !ok {
		return &gitops.Refusal{Code: gitops.Unreachable, Reason: "Its chart cannot be fetched: " + oneLine(err) + ".", Cause: err}
	}
	return &gitops.Refusal{Code: gitops.Layout, Reason: string(reason)}
}

func objects(all []map[string]any) []render.Object {
	var made []render.Object
	for _, fields := range all {
		u := unstructured.Unstructured{Object: fields}
		made = append(made, render.Object{Object: gitops.Object{Kind: u.GetKind(), Namespace: u.GetNamespace(), Name: u.GetName()}, Fields: fields})
	}
	return made
}

// job puts together what a worker is told. Its errors are refusals, or say why the chart could not be fetched.
func (r *Renderer) job(ctx context.Context, of render.Release) (job, error) {
	j := job{Release: named(of.Object), Installed: of.Installed, Kubernetes: of.Kubernetes, APIs: of.APIs}
	for _, m := range of.Maps {
		j.Maps = append(j.Maps, named(m))
	}
	var hr helmv2.HelmRelease
	if err := into(of.Object, &hr); err != nil {
		return job{}, err
	}
	if ref := hr.Spec.ChartRef; ref != nil && ref.Kind == sourcev1.OCIRepositoryKind {
		var source sourcev1.OCIRepository
		if err := into(of.Source, &source); err != nil {
			return job{}, err
		}
		return j, r.artifact(ctx, &j, source.Spec, of.Credential)
	}
	want, generation, err := wanted(of, hr)
	if err != nil {
		return job{}, err
	}
	j.IgnoreMissing = want.IgnoreMissingValuesFiles
	if files := want.ValuesFiles; len(files) != 1 || path.Clean(files[0]) != "values.yaml" {
		j.ValuesFiles = files
	}
	if len(j.ValuesFiles) > 0 {
		j.Build = strconv.FormatInt(generation, 10)
	}
	switch of.Source.Kind {
	case sourcev1.HelmRepositoryKind:
		var source sourcev1.HelmRepository
		if err := into(of.Source, &source); err != nil {
			return job{}, err
		}
		return j, r.published(ctx, &j, source.Spec, want, of.Credential)
	case sourcev1.GitRepositoryKind:
		var source sourcev1.GitRepository
		if err := into(of.Source, &source); err != nil {
			return job{}, err
		}
		if want.ReconcileStrategy == sourcev1.ReconcileStrategyRevision && source.Status.Artifact != nil {
			j.Build = strings.TrimSuffix(commit(source.Status.Artifact.Revision)+"."+j.Build, ".")
		}
		return j, local(&j, of.Files, source.Spec, want)
	}
	return job{}, refusal(fmt.Sprintf("Its chart comes from a %s, which ferry cannot fetch.", cmp.Or(of.Source.Kind, "source that is not there")))
}

// named gives an object's fields with its name and namespace, which a build may have given to it besides.
func named(o render.Object) map[string]any {
	u := unstructured.Unstructured{Object: o.Fields}
	if u.GetNamespace() == o.Namespace && u.GetName() == o.Name {
		return o.Fields
	}
	u = *u.DeepCopy()
	u.SetNamespace(o.Namespace)
	u.SetName(o.Name)
	return u.Object
}

// into reads an object by its type.
func into(o render.Object, typed any) error {
	raw, err := json.Marshal(named(o))
	if err != nil {
		return fmt.Errorf("encode %s: %w", o.Object, err)
	}
	if err := json.Unmarshal(raw, typed); err != nil {
		return refusal(fmt.Sprintf("%s is not as its custom resource wants it: %s.", o.Object, oneLine(err)))
	}
	return nil
}

// wanted is the chart that a release asks for, and which generation its HelmChart then has.
func wanted(of render.Release, hr helmv2.HelmRelease) (sourcev1.HelmChartSpec, int64, error) {
	var there sourcev1.HelmChart
	if of.Chart.Kind != "" {
		if err := into(of.Chart, &there); err != nil {
			return sourcev1.HelmChartSpec{}, 0, err
		}
	}
	generation := max(there.Generation, 1)
	if ref := hr.Spec.ChartRef; ref != nil {
		if ref.Kind != sourcev1.HelmChartKind || of.Chart.Kind == "" {
			return sourcev1.HelmChartSpec{}, 0, refusal(fmt.Sprintf("Its chart comes from %s %s, which ferry cannot fetch.", ref.Kind, ref.Name))
		}
		return there.Spec, generation, nil
	}
	if hr.Spec.Chart == nil {
		return sourcev1.HelmChartSpec{}, 0, refusal("It names no chart.")
	}
	template := hr.Spec.Chart.Spec
	spec := sourcev1.HelmChartSpec{
		Chart: template.Chart, Version: cmp.Or(template.Version, "*"), SourceRef: there.Spec.SourceRef, Interval: there.Spec.Interval,
		ReconcileStrategy: cmp.Or(template.ReconcileStrategy, sourcev1.ReconcileStrategyChartVersion),
		ValuesFiles:       template.ValuesFiles, IgnoreMissingValuesFiles: template.IgnoreMissingValuesFiles, Verify: there.Spec.Verify,
	}
	spec.SourceRef.Kind, spec.SourceRef.Name = template.SourceRef.Kind, template.SourceRef.Name
	if of.Chart.Kind != "" && !equality.Semantic.DeepEqual(spec, there.Spec) {
		generation++
	}
	return spec, generation, nil
}

// commit is what Flux takes of a revision, "main@sha1:…", for a version: 12 digits of the commit.
func commit(revision string) string {
	hash := revision[strings.LastIndex(revision, ":")+1:]
	return hash[:min(len(hash), 12)]
}

// within is a path in a repository; like Flux, it leads out of it nowhere.
func within(parts ...string) string {
	return cmp.Or(strings.TrimPrefix(path.Join(append([]string{"/"}, parts...)...), "/"), ".")
}

// besides are the directories of dependencies of a chart in a directory, seen from there, by repository and name.
func besides(files map[string][]byte) map[string]string {
	found := map[string]string{}
	for _, name := range []string{"Chart.yaml", "requirements.yaml", "Chart.lock", "requirements.lock"} {
		var of struct {
			Dependencies []chart.Dependency `json:"dependencies"`
		}
		if yaml.Unmarshal(files[name], &of) != nil {
			continue // Helm says so
		}
		for _, d := range of.Dependencies {
			switch u, err := url.Parse(d.Repository); {
			case err != nil || u.Scheme != "file" && u.Scheme != "":
			case d.Repository == "":
				found[" "+d.Name] = path.Join("charts", d.Name)
			default: // "file://../common"
				found[d.Repository+" "+d.Name] = path.Join(u.Host, u.Path)
			}
		}
	}
	return found
}

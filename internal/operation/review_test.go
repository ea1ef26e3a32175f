package operation

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/render"
	"github.com/ferry-chatops/ferry/internal/report"
)

// commits are trees by their commits; base and head, and ancestor where the branches went apart.
type commits map[string]fs.FS

func (c commits) Pull(_ context.Context, repository string, number int) (Pull, error) {
	return Pull{Repository: repository, Number: number, Title: "A change", State: "open", Branch: "change", Head: "head", Base: "main", BaseCommit: "base"}, nil
}

func (c commits) Branch(_ context.Context, repository, branch, base string) (Pull, error) {
	return Pull{Repository: repository, Branch: branch, Head: "head", Base: "main", BaseCommit: "base"}, nil
}

func (c commits) MergeBase(context.Context, string, string, string) (string, error) {
	if c["ancestor"] != nil {
		return "ancestor", nil
	}
	return "base", nil
}

func (c commits) Tree(_ context.Context, _, sha string) (fs.FS, error) { return c[sha], nil }

func (c commits) Merge(_ context.Context, ancestor, base, head []byte) ([]byte, bool, error) {
	if strings.Contains(string(base), "conflict") {
		return nil, false, nil
	}
	return slices.Concat(base, []byte("# merged\n"), head[:0]), true, nil
}

// A cluster is what runs in the environment prod.
type cluster struct {
	kustomizations []gitops.Kustomization
	flux           []render.Object
	objects        map[string]map[string]any // by KIND NAMESPACE/NAME
	secrets        map[string][]string
	leaves         map[string]map[string][]string
	refuse         func(Trial) error
	tried          []Trial
	failing        error
}

func (c *cluster) Environments() []string { return []string{"prod"} }

func (c *cluster) Kustomizations(context.Context, string) ([]gitops.Kustomization, error) {
	return c.kustomizations, c.failing
}

func (c *cluster) Flux(context.Context, string) ([]render.Object, error) { return c.flux, nil }

func (c *cluster) Keys(_ context.Context, _, namespace, name string) ([]string, map[string][]string, bool, error) {
	names, known := c.secrets[namespace+"/"+name]
	return names, c.leaves[namespace+"/"+name], known, nil
}

func (c *cluster) Credential(_ context.Context, _ string, source render.Object) (*render.Credential, error) {
	return &render.Credential{Username: source.Name}, nil
}

func (c *cluster) Serves(context.Context, string, bool) (string, []string, error) {
	return "v1.34.2", nil, nil
}

func (c *cluster) Try(_ context.Context, _ string, trials []Trial) ([]Tried, error) {
	var all []Tried
	for _, t := range trials {
		live := c.objects[t.Object.String()]
		one := Tried{Live: live}
		if t.Way != Looked {
			if c.refuse != nil {
				one.Err = c.refuse(t)
			}
			one.After = laid(live, t.Object.Fields)
		}
		all = append(all, one)
	}
	c.tried = append(c.tried, trials...)
	return all, nil
}

// charts install one ConfigMap of a release's values, and another with those of its Secrets.
type charts struct {
	mu    sync.Mutex
	asked []render.Release
	looks bool // into the cluster
}

func (c *charts) Expand(_ context.Context, r render.Release) (render.Expansion, error) {
	spec, _ := r.Object.Fields["spec"].(map[string]any)
	values, err := yaml.Marshal(spec["values"])
	if err != nil {
		return render.Expansion{}, err
	}
	text := string(values)
	if r.Files != nil {
		chart, err := fs.ReadFile(r.Files, "charts/web/templates/map.yaml")
		if err != nil {
			return render.Expansion{}, err
		}
		text += string(chart)
	}
	c.mu.Lock()
	c.asked = append(c.asked, r)
	c.mu.Unlock()
	data := map[string]any{"values": text}
	for _, m := range r.Maps {
		of, _ := m.Fields["data"].(map[string]any)
		for key, v := range of {
			data[m.Name+"-"+key] = v
		}
	}
	return render.Expansion{Looks: c.looks, Objects: []render.Object{parsed(fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: %s}\n", r.Object.Name, r.Object.Namespace), data)}}, nil
}

// parsed reads a manifest, and adds data to it.
func parsed(text string, data map[string]any) render.Object {
	var fields map[string]any
	if err := yaml.Unmarshal([]byte(text), &fields); err != nil {
		panic(err)
	}
	if data != nil {
		fields["data"] = data
	}
	metadata := fields["metadata"].(map[string]any)
	namespace, _ := metadata["namespace"].(string)
	return render.Object{Object: gitops.Object{Kind: fields["kind"].(string), Namespace: namespace, Name: metadata["name"].(string)}, Fields: fields}
}

// A world is a repository and a cluster whose Flux Kustomization flux-system/apps applies the directory apps of it.
type world struct {
	base, head fstest.MapFS
	*cluster
	charts *charts
}

func newWorld() *world {
	source := gitops.Source{Object: gitops.Object{Kind: "GitRepository", Namespace: "flux-system", Name: "fleet"}, URL: "https://github.com/acme/fleet", Branch: "main"}
	return &world{base: fstest.MapFS{}, head: fstest.MapFS{}, charts: &charts{}, cluster: &cluster{
		kustomizations: []gitops.Kustomization{{Namespace: "flux-system", Name: "apps", Path: "apps", Source: source}},
		flux: []render.Object{parsed(`apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: apps, namespace: flux-system}
spec: {path: ./apps, prune: true, sourceRef: {kind: GitRepository, name: fleet}}
`, nil)},
		objects: map[string]map[string]any{}, secrets: map[string][]string{},
	}}
}

// write gives a file on both sides; "" is none.
func (w *world) write(name, base, head string) *world {
	for tree, text := range map[*fstest.MapFS]string{&w.base: base, &w.head: head} {
		if text != "" {
			(*tree)[name] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	return w
}

// runs puts objects into the cluster, as applied by flux-system/apps.
func (w *world) runs(texts ...string) *world {
	for _, text := range texts {
		w = w.applied("flux-system/apps", text)
	}
	return w
}

// applied puts an object into the cluster, and into the inventory of the Kustomization that applied it if that is there.
func (w *world) applied(owner, text string) *world {
	namespace, name, _ := strings.Cut(owner, "/")
	o := labelled(parsed(text, nil), map[string]string{ownerName: name, ownerNamespace: namespace})
	w.objects[o.String()] = o.Fields
	group, version, grouped := strings.Cut(o.Fields["apiVersion"].(string), "/")
	if !grouped {
		group, version = "", group
	}
	entry := map[string]any{"id": o.Namespace + "_" + o.Name + "_" + group + "_" + o.Kind, "v": version}
	i := slices.IndexFunc(w.flux, func(o render.Object) bool { return o.Kind == "Kustomization" && o.Name == name })
	if i < 0 {
		return w
	}
	status, _ := w.flux[i].Fields["status"].(map[string]any)
	inventory, _ := status["inventory"].(map[string]any)
	entries, _ := inventory["entries"].([]any)
	w.flux[i].Fields["status"] = map[string]any{"inventory": map[string]any{"entries": append(entries, entry)}}
	return w
}

func (w *world) review(t *testing.T) report.Environment {
	t.Helper()
	made, err := w.reviews(commits{"base": w.base, "head": w.head}).Review(t.Context(), gitops.Review{Number: 7, Repository: "acme/fleet"})
	if err != nil {
		t.Fatal(err)
	}
	if len(made.Environments) != 1 {
		t.Fatalf("%d environments: %+v", len(made.Environments), made)
	}
	return made.Environments[0]
}

func (w *world) reviews(c commits) *Reviews {
	return &Reviews{Pulls: c, Live: w.cluster, Charts: w.charts, Now: func() time.Time { return time.Unix(0, 0) }, Key: func() string { return "key" }, Log: slog.New(slog.DiscardHandler), Also: []string{"acme/fleet"},
		Follows: func(_ string, s gitops.Source) (string, string, bool) {
			repository, ok := strings.CutPrefix(s.URL, "https://github.com/")
			return repository, s.Branch, ok
		}}
}

// inShort is a report: KIND NAMESPACE/NAME VERDICT, and its changes.
func inShort(objects []report.Object) (all []string) {
	for _, o := range objects {
		line := string(o.Verdict) + " " + strings.Replace(o.String(), "/", " ", 1)
		if o.Reason != "" {
			line += ": " + o.Reason
		}
		all = append(all, line)
		for _, c := range o.Changes {
			if c.Path != "" {
				all = append(all, fmt.Sprintf("  %s: %s -> %s", c.Path, c.Before, c.After))
			}
		}
	}
	return all
}

func mapOf(name, colour string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: shop}\ndata: {colour: %s}\n", name, colour)
}

func nested(name, dir, more string) string {
	return fmt.Sprintf("apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: %s, namespace: flux-system}\nspec: {path: ./%s, prune: true, sourceRef: {kind: GitRepository, name: fleet}%s}\n", name, dir, more)
}

const helmRelease = `apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: web, namespace: shop}
spec: {chart: {spec: {chart: ./charts/web, sourceRef: {kind: %s, name: %s, namespace: flux-system}}}, values: {size: %s}%s}
`

const bundle = "apiVersion: source.toolkit.fluxcd.io/v1\nkind: OCIRepository\nmetadata: {name: bundle, namespace: flux-system}\nspec: {url: oci://ghcr.io/acme/bundle, ref: {tag: %s}}\n"

// untouched is a HelmRelease that its annotation keeps kustomize-controller from.
func untouched(size string) string {
	return strings.Replace(fmt.Sprintf(helmRelease, "HelmRepository", "charts", size, ""), "name: web,", `name: web, annotations: {kustomize.toolkit.fluxcd.io/reconcile: disabled},`, 1)
}

func TestReview(t *testing.T) {
	for name, tc := range map[string]struct {
		world *world
		want  []string
		drift []string
		notes []string
	}{
		"a field": {world: newWorld().write("apps/web.yaml", mapOf("web", "red"), mapOf("web", "blue")).runs(mapOf("web", "red")),
			want: []string{"configured ConfigMap shop/web", "  data.colour: red -> blue"}},
		"a base beside an overlay": {
			world: newWorld().write("base/web.yaml", mapOf("web", "red"), mapOf("web", "blue")).write("base/kustomization.yaml", "resources: [web.yaml]", "resources: [web.yaml]").
				write("apps/kustomization.yaml", "resources: [../base]\nnamespace: store", "resources: [../base]\nnamespace: store"),
			want: []string{"created ConfigMap store/web"}},
		"came and went": {world: newWorld().write("apps/web.yaml", mapOf("web", "red"), "").write("apps/api.yaml", "", mapOf("api", "blue")).runs(mapOf("web", "red")),
			want: []string{"created ConfigMap shop/api", "deleted ConfigMap shop/web"}},
		"gone in Git, never applied": {world: newWorld().write("apps/web.yaml", mapOf("web", "red"), "").write("apps/api.yaml", mapOf("api", "red"), mapOf("api", "blue")).runs(mapOf("api", "red")),
			want: []string{"configured ConfigMap shop/api", "  data.colour: red -> blue"}},
		"what another change deletes": {world: newWorld().write("apps/web.yaml", mapOf("web", "red"), mapOf("web", "blue")).runs(mapOf("web", "red"), mapOf("old", "red")),
			want:  []string{"configured ConfigMap shop/web", "  data.colour: red -> blue"},
			drift: []string{"deleted ConfigMap shop/old"}},
		"kept by its annotation": {world: newWorld().write("apps/web.yaml", mapOf("web", "red"), "").write("apps/api.yaml", mapOf("api", "red"), mapOf("api", "red")).
			runs(strings.Replace(mapOf("web", "red"), "name: web", "name: web, annotations: {kustomize.toolkit.fluxcd.io/prune: Disabled}", 1), mapOf("api", "red")),
			want: []string{"skipped ConfigMap shop/web: An annotation or label of it in the cluster keeps Flux from deleting it."}},
		"drift": {world: newWorld().write("apps/web.yaml", mapOf("web", "red"), mapOf("web", "blue")).write("apps/api.yaml", mapOf("api", "red"), mapOf("api", "red")).
			runs(mapOf("web", "red"), mapOf("api", "green")),
			want:  []string{"configured ConfigMap shop/web", "  data.colour: red -> blue"},
			drift: []string{"configured ConfigMap shop/api", "  data.colour: green -> red"}},
		"a variable": {world: newWorld().write("apps/nested.yaml", nested("web", "web", ", postBuild: {substitute: {colour: red}}"), nested("web", "web", ", postBuild: {substitute: {colour: blue}}")).
			write("web/web.yaml", mapOf("web", `"${colour}"`), mapOf("web", `"${colour}"`)).runs(nested("web", "web", ", postBuild: {substitute: {colour: red}}")).
			applied("flux-system/web", mapOf("web", "red")),
			want: []string{"configured Kustomization flux-system/web", "  spec.postBuild.substitute.colour: red -> blue", "configured ConfigMap shop/web", "  data.colour: red -> blue"}},
		"a new Kustomization": {world: newWorld().write("apps/nested.yaml", "", nested("web", "web", "")).write("apps/x.yaml", mapOf("x", "red"), mapOf("x", "red")).
			write("web/web.yaml", "", mapOf("web", "red")).runs(mapOf("x", "red")),
			want: []string{"created Kustomization flux-system/web", "created ConfigMap shop/web"}},
		"a Kustomization that is removed": {world: newWorld().write("apps/nested.yaml", nested("web", "web", ""), "").write("apps/x.yaml", mapOf("x", "red"), mapOf("x", "red")).
			write("web/web.yaml", mapOf("web", "red"), mapOf("web", "red")).runs(nested("web", "web", ""), mapOf("x", "red")).knows(nested("web", "web", "")).applied("flux-system/web", mapOf("web", "red")),
			want: []string{"deleted Kustomization flux-system/web", "deleted ConfigMap shop/web"}},
		"one that leaves what it applied": {world: newWorld().write("apps/nested.yaml", nested("web", "web", ", deletionPolicy: Orphan"), "").write("apps/x.yaml", mapOf("x", "red"), mapOf("x", "red")).
			write("web/web.yaml", mapOf("web", "red"), "").runs(nested("web", "web", ", deletionPolicy: Orphan"), mapOf("x", "red")).knows(nested("web", "web", "")).applied("flux-system/web", mapOf("web", "red")),
			want: []string{"deleted Kustomization flux-system/web"}, notes: []string{"Kustomization flux-system/web is deleted, and what it has applied stays."}},
		"one that no longer builds": {world: newWorld().write("apps/nested.yaml", nested("web", "web", ""), nested("web", "web", "")).
			write("web/web.yaml", mapOf("web", "red"), mapOf("web", "red")).write("web/kustomization.yaml", "resources: [web.yaml]", "resources: [other.yaml]").
			runs(nested("web", "web", "")).knows(nested("web", "web", "")).applied("flux-system/web", mapOf("web", "red")),
			want: []string{"skipped Kustomization flux-system/web: It does not build with this change. other.yaml in web is not in the repository at this commit, so what Flux builds from it cannot be told from this repository alone."}},
		"a parent that no longer builds": {world: newWorld().write("apps/nested.yaml", nested("web", "web", ""), nested("web", "web", "")).
			write("web/web.yaml", mapOf("web", "red"), mapOf("web", "red")).write("apps/kustomization.yaml", "resources: [nested.yaml]", "resources: [nested.yaml, other.yaml]").
			runs(nested("web", "web", "")).knows(nested("web", "web", "")).applied("flux-system/web", mapOf("web", "red")),
			want: []string{"skipped Kustomization flux-system/apps: It does not build with this change. other.yaml in apps is not in the repository at this commit, so what Flux builds from it cannot be told from this repository alone.",
				"skipped Kustomization flux-system/web: It does not build with this change. other.yaml in apps is not in the repository at this commit, so what Flux builds from it cannot be told from this repository alone."}},
		"a remote base comes": {world: newWorld().write("apps/kustomization.yaml", "resources: [web.yaml]", "resources: [web.yaml, 'https://github.com/acme/bases//db?ref=v1']").
			write("apps/web.yaml", mapOf("web", "red"), mapOf("web", "blue")).runs(mapOf("web", "red")),
			want: []string{"configured ConfigMap shop/web", "  data.colour: red -> blue",
				"skipped Kustomization flux-system/apps: What it takes from outside this repository changes: what that applies and deletes is not known."},
			notes: []string{"apps/kustomization.yaml takes https://github.com/acme/bases//db?ref=v1, which is not in this repository: what it holds is not in this report."}},
		"a remote base moves": {world: newWorld().write("apps/kustomization.yaml", "resources: [web.yaml, 'https://github.com/acme/bases//db?ref=v1']", "resources: [web.yaml, 'https://github.com/acme/bases//db?ref=v2']").
			write("apps/web.yaml", mapOf("web", "red"), mapOf("web", "red")).runs(mapOf("web", "red"), mapOf("db", "red")),
			want: []string{"skipped Kustomization flux-system/apps: What it takes from outside this repository changes: what that applies and deletes is not known."},
			notes: []string{"apps/kustomization.yaml takes https://github.com/acme/bases//db?ref=v2, which is not in this repository: what it holds is not in this report.",
				"apps/kustomization.yaml no longer takes https://github.com/acme/bases//db?ref=v1, which is not in this repository: what that deletes is not in this report."}},
		"a remote base goes": {world: newWorld().write("apps/kustomization.yaml", "resources: [web.yaml, 'https://github.com/acme/bases//db?ref=v1']", "resources: [web.yaml]").
			write("apps/web.yaml", mapOf("web", "red"), mapOf("web", "red")).runs(mapOf("web", "red"), mapOf("db", "red")),
			want:  []string{"deleted ConfigMap shop/db"},
			notes: []string{"apps/kustomization.yaml no longer takes https://github.com/acme/bases//db?ref=v1, which is not in this repository: what it held is known by what is in the cluster alone."}},
		"suspended": {world: newWorld().write("apps/nested.yaml", nested("web", "web", ", suspend: true"), nested("web", "web", ", suspend: true")).
			write("web/web.yaml", mapOf("web", "red"), mapOf("web", "blue")),
			notes: []string{"Kustomization flux-system/web is suspended: nothing that it applies changes until it is resumed."}},
		"of one that is suspended": {world: newWorld().write("apps/nested.yaml", nested("team", "team", ", suspend: true"), nested("team", "team", ", suspend: true")).
			write("team/old.yaml", nested("old", "old", ""), "").write("team/young.yaml", "", nested("young", "old", "")).write("team/web.yaml", nested("web", "web", ""), nested("web", "other", "")).
			write("old/web.yaml", mapOf("old", "red"), mapOf("old", "red")).write("web/web.yaml", mapOf("web", "red"), mapOf("web", "red")).write("other/web.yaml", mapOf("web", "blue"), mapOf("web", "blue")).
			knows(nested("team", "team", "")).knows(nested("old", "old", "")).applied("flux-system/old", mapOf("old", "red")).knows(nested("web", "web", "")).applied("flux-system/web", mapOf("web", "red")),
			notes: []string{"Kustomization flux-system/team is suspended: nothing that it applies changes until it is resumed.",
				"Kustomization flux-system/web stays as it is until Kustomization flux-system/team, which applies it, is resumed. What it would change then is not in this report.",
				"Kustomization flux-system/young stays as it is until Kustomization flux-system/team, which applies it, is resumed. What it would change then is not in this report.",
				"Kustomization flux-system/old is no longer in Git, but nothing deletes it until Kustomization flux-system/team is resumed: what it has applied stays."}},
		"from one Kustomization to another": {world: newWorld().write("apps/nested.yaml", nested("web", "web", ""), nested("web", "web", "")).write("apps/x.yaml", mapOf("x", "red"), "").
			write("web/web.yaml", mapOf("web", "red"), mapOf("web", "red")).write("web/x.yaml", "", mapOf("x", "red")).
			runs(nested("web", "web", ""), mapOf("x", "red")).knows(nested("web", "web", "")).applied("flux-system/web", mapOf("web", "red")),
			want:  []string{"configured ConfigMap shop/x", "  metadata.labels[\"kustomize.toolkit.fluxcd.io/name\"]: apps -> web"},
			notes: []string{"What Kustomization flux-system/apps applies moves to Kustomization flux-system/web: ConfigMap/shop/x. Where Flux gets to the former first, it deletes that and the latter makes it anew; kustomize.toolkit.fluxcd.io/prune: disabled on it, merged before, prevents that."}},
		"a release that Flux is kept from": {world: newWorld().write("apps/web.yaml", untouched("1"), untouched("2")).
			fluxHas("apiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmRepository\nmetadata: {name: charts, namespace: flux-system}\nspec: {url: https://charts.example.com}").
			has("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web, namespace: shop}\ndata: {values: \"size: 1\\n\"}"),
			want: []string{"skipped HelmRelease shop/web: Its annotation or label kustomize.toolkit.fluxcd.io/reconcile: disabled keeps Flux from it."}},
		"a source of something else": {world: newWorld().write("apps/far.yaml", strings.Replace(nested("far", "far", ""), "GitRepository, name: fleet", "OCIRepository, name: bundle", 1), strings.Replace(nested("far", "far", ""), "GitRepository, name: fleet", "OCIRepository, name: bundle", 1)).write("apps/bundle.yaml", fmt.Sprintf(bundle, "1"), fmt.Sprintf(bundle, "2")).
			runs(strings.Replace(nested("far", "far", ""), "GitRepository, name: fleet", "OCIRepository, name: bundle", 1), fmt.Sprintf(bundle, "1")).fluxHas(fmt.Sprintf(bundle, "1")).fluxHas(strings.Replace(nested("far", "far", ""), "GitRepository, name: fleet", "OCIRepository, name: bundle", 1)),
			want: []string{"configured OCIRepository flux-system/bundle", "  spec.ref.tag: 1 -> 2",
				"skipped Kustomization flux-system/far: It is applied from OCIRepository/flux-system/bundle, which ferry does not look into: what it applies and deletes with this change is not known."}},
		"values that are removed": {world: newWorld().write("apps/settings.yaml", mapOf("settings", "red"), "").write("apps/web.yaml", fmt.Sprintf(helmRelease, "HelmRepository", "charts", "1", ", valuesFrom: [{kind: ConfigMap, name: settings}]"), fmt.Sprintf(helmRelease, "HelmRepository", "charts", "1", ", valuesFrom: [{kind: ConfigMap, name: settings}]")).
			fluxHas("apiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmRepository\nmetadata: {name: charts, namespace: flux-system}\nspec: {url: https://charts.example.com}").fluxHas(mapOf("settings", "red")).
			runs(mapOf("settings", "red"), fmt.Sprintf(helmRelease, "HelmRepository", "charts", "1", ", valuesFrom: [{kind: ConfigMap, name: settings}]")).has("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web, namespace: shop}\ndata: {values: \"size: 1\\n\", settings-colour: red}"),
			want: []string{"unchanged ConfigMap shop/web", "deleted ConfigMap shop/settings"}},
		"a chart in this repository, by another source": {world: newWorld().write("apps/web.yaml", fmt.Sprintf(helmRelease, "GitRepository", "charts", "1", ""), fmt.Sprintf(helmRelease, "GitRepository", "charts", "1", "")).
			write("charts/web/templates/map.yaml", "a: 1", "a: 2").fluxHas("apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: fleet, namespace: flux-system}\nspec: {url: https://github.com/acme/fleet, ref: {branch: main}}").
			fluxHas("apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: charts, namespace: flux-system}\nspec: {url: https://github.com/acme/fleet.git, ref: {branch: main}}").
			fluxHas(fmt.Sprintf(helmRelease, "GitRepository", "charts", "1", "")).has("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web, namespace: shop}\ndata: {values: \"size: 1\\na: 1\"}"),
			want: []string{"configured ConfigMap shop/web", "  data.values|a: 1 -> 2"}},
		"a chart in this repository": {world: newWorld().write("apps/web.yaml", fmt.Sprintf(helmRelease, "GitRepository", "fleet", "1", ""), fmt.Sprintf(helmRelease, "GitRepository", "fleet", "1", "")).
			write("charts/web/templates/map.yaml", "a: 1", "a: 2").fluxHas("apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: fleet, namespace: flux-system}\nspec: {url: https://github.com/acme/fleet}").
			fluxHas(fmt.Sprintf(helmRelease, "GitRepository", "fleet", "1", "")).has("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web, namespace: shop}\ndata: {values: \"size: 1\\na: 1\"}"),
			want: []string{"configured ConfigMap shop/web", "  data.values|a: 1 -> 2"}},
		"values of a chart from elsewhere": {world: newWorld().write("apps/web.yaml", fmt.Sprintf(helmRelease, "HelmRepository", "charts", "1", ""), fmt.Sprintf(helmRelease, "HelmRepository", "charts", "2", "")).
			fluxHas("apiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmRepository\nmetadata: {name: charts, namespace: flux-system}\nspec: {url: https://charts.example.com}").
			runs(fmt.Sprintf(helmRelease, "HelmRepository", "charts", "1", "")).has("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web, namespace: shop}\ndata: {values: \"size: 1\\n\"}"),
			want: []string{"configured ConfigMap shop/web", "  data.values|size: 1 -> 2", "configured HelmRelease shop/web", "  spec.values.size: 1 -> 2"}},
		"a chart whose address changes": {world: newWorld().write("apps/web.yaml", fmt.Sprintf(helmRelease, "HelmRepository", "charts", "1", ""), fmt.Sprintf(helmRelease, "HelmRepository", "charts", "1", "")).
			write("apps/charts.yaml", "apiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmRepository\nmetadata: {name: charts, namespace: flux-system}\nspec: {url: https://charts.example.com}",
				"apiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmRepository\nmetadata: {name: charts, namespace: flux-system}\nspec: {url: https://charts.example.org}").
			fluxHas("apiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmRepository\nmetadata: {name: charts, namespace: flux-system}\nspec: {url: https://charts.example.com}").
			runs(fmt.Sprintf(helmRelease, "HelmRepository", "charts", "1", ""), "apiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmRepository\nmetadata: {name: charts, namespace: flux-system}\nspec: {url: https://charts.example.com}"),
			want: []string{"skipped HelmRelease shop/web: What it installs is not known. Its chart is to come from https://charts.example.org, which is not the address that the cluster has it from, and not below one of render.allowedSources.",
				"configured HelmRepository flux-system/charts", "  spec.url: https://charts.example.com -> https://charts.example.org"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := tc.world.review(t)
			for what, pair := range map[string][2][]string{"objects": {tc.want, inShort(got.Objects)}, "drift": {tc.drift, inShort(got.Drift)}, "notes": {tc.notes, got.Notes}} {
				if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", what, diff)
				}
			}
		})
	}
}

// has puts an object into the cluster that no Kustomization applied.
func (w *world) has(text string) *world {
	o := parsed(text, nil)
	w.objects[o.String()] = o.Fields
	return w
}

// knows makes a Kustomization of a manifest a live one.
func (w *world) knows(text string) *world {
	o := parsed(text, nil)
	spec := o.Fields["spec"].(map[string]any)
	w.kustomizations = append(w.kustomizations, gitops.Kustomization{Namespace: o.Namespace, Name: o.Name, Path: strings.TrimPrefix(spec["path"].(string), "./"), Source: w.kustomizations[0].Source})
	return w.fluxHas(text)
}

func (w *world) fluxHas(text string) *world {
	w.flux = append(w.flux, parsed(text, nil))
	return w
}

// TestReviewKeepsSecrets: what comes from a Secret is not told, wherever it ends up, and not sent.
func TestReviewKeepsSecrets(t *testing.T) {
	const text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web, namespace: shop}\ndata: {colour: %s, url: \"https://user:${password}@db/%s\", port: \"${port}\"}\n"
	const from = ", postBuild: {substituteFrom: [{kind: Secret, name: settings}]}"
	w := newWorld().write("apps/nested.yaml", nested("web", "web", from), nested("web", "web", from)).
		write("web/web.yaml", fmt.Sprintf(text, "red", "a"), fmt.Sprintf(text, "blue", "b"))
	w.secrets["flux-system/settings"] = []string{"password", "port"}
	w.applied("flux-system/web", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web, namespace: shop}\ndata: {colour: red, url: https://user:hunter2@db/a, port: \"5432\"}\n")
	got := w.review(t)
	want := []string{"configured ConfigMap shop/web", "  data.colour: red -> blue", "  data.url: *** -> *** (changed)"}
	if diff := cmp.Diff(want, inShort(got.Objects)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, one := range w.tried {
		if data, _ := one.Object.Fields["data"].(map[string]any); one.Object.Kind == "ConfigMap" && !slices.Equal(slices.Sorted(maps.Keys(data)), []string{"colour"}) {
			t.Errorf("sent: %v", data)
		}
	}
	w.tried, w.refuse = nil, func(Trial) error { return errors.New("data.url is required") }
	got = w.review(t)
	if diff := cmp.Diff(want, inShort(got.Objects)); diff != "" || len(got.Notes) != 1 {
		t.Errorf("refused (-want +got):\n%s%q", diff, got.Notes)
	}
}

// TestReviewOfABranchThatLagsBehind: what is judged is the base branch as it is now, with the pull request merged.
func TestReviewOfABranchThatLagsBehind(t *testing.T) {
	w := newWorld().runs(mapOf("web", "red"), mapOf("api", "red"), mapOf("late", "red"))
	ancestor := fstest.MapFS{"apps/web.yaml": {Data: []byte(mapOf("web", "red"))}, "apps/api.yaml": {Data: []byte(mapOf("api", "red"))}}
	w.write("apps/web.yaml", mapOf("web", "red"), mapOf("web", "blue")).write("apps/api.yaml", mapOf("api", "green"), mapOf("api", "red")).write("apps/late.yaml", mapOf("late", "red"), "")
	r := w.reviews(commits{"base": w.base, "head": w.head, "ancestor": ancestor})
	got, err := r.Review(t.Context(), gitops.Review{Branch: "change", Head: "an older one"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"configured ConfigMap shop/web", "  data.colour: red -> blue"}, inShort(got.Environments[0].Objects)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "has moved") {
		t.Errorf("notes: %q", got.Notes)
	}
}

// TestReviewSaysWhichEnvironmentFailed: it does not fail for the others.
func TestReviewSaysWhichEnvironmentFailed(t *testing.T) {
	w := newWorld().write("apps/web.yaml", mapOf("web", "red"), mapOf("web", "blue"))
	w.failing = &gitops.Refusal{Code: gitops.Unreachable, Reason: "prod did not answer."}
	got := w.review(t)
	if got.Error != "prod did not answer." || len(got.Objects) > 0 {
		t.Errorf("%+v", got)
	}
}

// TestAllowedSources: an address is below another by its parts, never by its text.
func TestAllowedSources(t *testing.T) {
	for address, want := range map[string]bool{
		"https://charts.example.com/team":          true,
		"https://charts.example.com/team/web":      true,
		"https://CHARTS.example.com/team/web/":     true,
		"https://charts.example.com/teammate":      false,
		"https://charts.example.com/team/../other": false,
		"https://charts.example.com/team/%2e%2e/x": false,
		"https://charts.example.com.evil.org/team": false,
		"https://charts.example.com@evil.org/team": false,
		"https://user@charts.example.com/team":     false,
		"http://charts.example.com/team":           false,
		"https://charts.example.com:8443/team":     false,
		"oci://charts.example.com/team":            false,
		"https://charts.example.com/team?x=1":      false,
		"":                                         false,
	} {
		if got := under("https://charts.example.com/team/", address); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}

// lacking is a tree without files that are too large.
type lacking struct {
	fs.FS
	large []string
}

func (l lacking) Large() []string { return l.large }

// TestReviewOfAFileThatIsTooLarge: what is in it is not taken for deleted.
func TestReviewOfAFileThatIsTooLarge(t *testing.T) {
	w := newWorld().write("apps/web.yaml", mapOf("web", "red"), "").write("apps/api.yaml", mapOf("api", "red"), mapOf("api", "blue")).runs(mapOf("web", "red"), mapOf("api", "red"))
	got, err := w.reviews(commits{"base": w.base, "head": lacking{w.head, []string{"apps/web.yaml"}}}).Review(t.Context(), gitops.Review{Number: 7, Repository: "acme/fleet"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"configured ConfigMap shop/api", "  data.colour: red -> blue"}, inShort(got.Environments[0].Objects)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(got.Notes) != 1 || !strings.HasPrefix(got.Notes[0], "apps/web.yaml is too large") {
		t.Errorf("notes: %q", got.Notes)
	}
}

// TestReviewOfSOPS: what is encrypted is not sent, and is said to change without a value.
func TestReviewOfSOPS(t *testing.T) {
	const text = "apiVersion: v1\nkind: Secret\nmetadata: {name: web, namespace: shop, labels: {colour: %s}}\nstringData: {password: \"ENC[AES256_GCM,data:%s,type:str]\"}\nsops: {mac: x}\n"
	w := newWorld().write("apps/web.yaml", fmt.Sprintf(text, "red", "aaaa"), fmt.Sprintf(text, "blue", "bbbb")).
		runs("apiVersion: v1\nkind: Secret\nmetadata: {name: web, namespace: shop, labels: {colour: red}}\ndata: {password: aHVudGVyMg==}\n")
	got := w.review(t)
	want := []string{"configured Secret shop/web", "  metadata.labels.colour: red -> blue", "  stringData.password: *** -> *** (changed)"}
	if diff := cmp.Diff(want, inShort(got.Objects)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if sent := w.tried[0].Object.Fields; sent["sops"] != nil || strings.Contains(fmt.Sprint(sent), "ENC[") {
		t.Errorf("sent: %v", sent)
	}
}

// TestReviewOfValuesInSecrets: a chart gets sentinels for them, wherever they are in a document, and what it makes of them is
// not told.
func TestReviewOfValuesInSecrets(t *testing.T) {
	const source = "apiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmRepository\nmetadata: {name: charts, namespace: flux-system}\nspec: {url: https://charts.example.com, secretRef: {name: mine}}"
	from := func(size string) string {
		text := fmt.Sprintf(helmRelease, "HelmRepository", "charts", size, "")
		return strings.Replace(text, "spec: {chart", "spec: {valuesFrom: [{kind: Secret, name: values}, {kind: Secret, name: hidden}], chart", 1)
	}
	another := strings.NewReplacer("name: web", "name: other", "name: hidden", "name: others").Replace(from("1")) // which does not change, and is not asked about
	w := newWorld().write("apps/web.yaml", from("1"), from("2")).write("apps/other.yaml", another, another).runs(from("1"), another).fluxHas(source)
	w.secrets["shop/values"] = []string{"values.yaml"}
	w.leaves = map[string]map[string][]string{"shop/values": {"values.yaml": {"ingress.hosts[1].name", `annotations["example.com/token"]`}}}
	w.has("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web, namespace: shop}\ndata: {values: \"size: 1\\n\", values-values.yaml: hunter2}")
	got := w.review(t)
	want := []string{"configured ConfigMap shop/web", "  data.values|size: 1 -> 2", "configured HelmRelease shop/web", "  spec.values.size: 1 -> 2"}
	if diff := cmp.Diff(want, inShort(got.Objects)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "Secret shop/hidden") {
		t.Errorf("notes: %q", got.Notes)
	}
	asked := w.charts.asked[0]
	data, _ := asked.Maps[0].Fields["data"].(map[string]any)
	raw, err := base64.StdEncoding.DecodeString(data["values.yaml"].(string))
	if err != nil {
		t.Fatal(err)
	}
	var values struct {
		Ingress     struct{ Hosts []struct{ Name string } }
		Annotations map[string]string
	}
	if err := yaml.Unmarshal(raw, &values); err != nil || len(values.Ingress.Hosts) != 2 || values.Ingress.Hosts[1].Name == "" || values.Annotations["example.com/token"] == "" {
		t.Errorf("%v: %s", err, raw)
	}
	if asked.Credential == nil || asked.Credential.Username != "charts" {
		t.Errorf("credential: %+v", asked.Credential)
	}
}

// TestReviewOfReleases: what a release no longer installs is deleted, and of one that is suspended nothing changes.
// TestReviewOfRenamedFiles: what one side does to a file goes where the other side has moved it, as with git.
func TestReviewOfRenamedFiles(t *testing.T) {
	was := fstest.MapFS{"apps/web.yaml": {Data: []byte(mapOf("web", "red"))}, "apps/x.yaml": {Data: []byte(mapOf("x", "red"))}}
	changes := mapOf("web", "green")
	for name, w := range map[string]*world{
		"by the head": newWorld().write("apps/web.yaml", changes, "").write("apps/site.yaml", "", mapOf("web", "red")),
		"by the base": newWorld().write("apps/web.yaml", "", changes).write("apps/site.yaml", mapOf("web", "red"), ""),
	} {
		t.Run(name, func(t *testing.T) {
			w.write("apps/x.yaml", mapOf("x", "red"), mapOf("x", "blue"))
			m, err := w.reviews(commits{"base": w.base, "head": w.head, "ancestor": was}).merge(t.Context(), Pull{BaseCommit: "base", Head: "head"})
			if err != nil {
				t.Fatal(err)
			}
			_, err = fs.Stat(m.head.FS(), "apps/web.yaml")
			if got := string(content(m.head.FS(), "apps/site.yaml")); !strings.HasSuffix(got, "# merged\n") || !errors.Is(err, fs.ErrNotExist) || len(m.notes) > 0 {
				t.Errorf("merged: %q, %v, %q", got, err, m.notes)
			}
			if !slices.Contains(m.changed, "apps/site.yaml") || !slices.IsSorted(m.changed) {
				t.Errorf("changed: %q", m.changed)
			}
		})
	}
	w := newWorld().write("apps/web.yaml", changes, "").write("apps/other.yaml", "", "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: other\n").write("apps/x.yaml", mapOf("x", "red"), mapOf("x", "red"))
	m, err := w.reviews(commits{"base": w.base, "head": w.head, "ancestor": was}).merge(t.Context(), Pull{Base: "main", BaseCommit: "base", Head: "head"})
	if err != nil || len(m.notes) != 1 || !strings.Contains(m.notes[0], "conflict") {
		t.Errorf("deleted, and changed on the base branch: %v, %q", err, m.notes)
	}
}

func TestReviewOfReleases(t *testing.T) {
	source := "apiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmRepository\nmetadata: {name: charts, namespace: flux-system}\nspec: {url: https://charts.example.com}"
	one := fmt.Sprintf(helmRelease, "HelmRepository", "charts", "1", "")
	asleep := func(size string) string {
		return fmt.Sprintf(helmRelease, "HelmRepository", "charts", size, ", suspend: true")
	}
	w := newWorld().write("apps/web.yaml", one, "").write("apps/x.yaml", mapOf("x", "red"), mapOf("x", "red")).fluxHas(source).fluxHas(one).runs(one, mapOf("x", "red")).has(mapOf("web", "red"))
	if diff := cmp.Diff([]string{"deleted ConfigMap shop/web", "deleted HelmRelease shop/web"}, inShort(w.review(t).Objects)); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
	w = newWorld().write("apps/web.yaml", asleep("1"), asleep("2")).fluxHas(source).runs(asleep("1"))
	got := w.review(t)
	if diff := cmp.Diff([]string{"configured HelmRelease shop/web", "  spec.values.size: 1 -> 2"}, inShort(got.Objects)); diff != "" || len(got.Notes) != 1 {
		t.Errorf("suspended (-want +got):\n%s%q", diff, got.Notes)
	}
	w = newWorld().write("apps/web.yaml", one, "").write("apps/kustomization.yaml", "resources: [web.yaml]", "resources: [other.yaml]").fluxHas(source).fluxHas(one).runs(one).has(mapOf("web", "red"))
	if got := inShort(w.review(t).Objects); len(got) != 1 || !strings.HasPrefix(got[0], "skipped Kustomization flux-system/apps") {
		t.Errorf("a build that fails: %q", got)
	}
}

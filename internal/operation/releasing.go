package operation

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/layout"
	"github.com/ferry-chatops/ferry/internal/render"
)

// releases looks into what HelmReleases install, as far as the change makes a difference to one: in the object, in where its
// chart comes from, in its values or in a chart of this repository.
func (e *reviewing) releases(ctx context.Context) error {
	named := map[gitops.Object]bool{}
	for _, objects := range []map[gitops.Object]render.Object{e.live, e.objects[0][0], e.objects[1][0]} {
		for _, o := range objects {
			if fluxIs(o, "HelmRelease") {
				named[o.Object] = true
			}
		}
	}
	all := slices.SortedFunc(maps.Keys(named), func(a, b gitops.Object) int { return strings.Compare(a.String(), b.String()) })
	made := make([]releasing, len(all))
	errs := Together(len(all), func(i int) error {
		made[i] = releasing{reviewing: e, object: all[i]}
		return made[i].expand(ctx)
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for i := range made {
		r := &made[i]
		switch {
		case errs[i] != nil:
			e.skip(all[i], title(all[i]), "What it installs is not known. "+buildReason(errs[i]))
		default:
			r.take()
		}
		for _, n := range r.notes {
			e.note("%s", n)
		}
	}
	return nil
}

// A releasing is one HelmRelease in both trees.
type releasing struct {
	*reviewing
	object gitops.Object
	sides  [2]*install
	anew   bool     // it is uninstalled first
	stale  string   // why a change of its chart does not arrive, a sentence; empty: it does
	notes  []string // its own: releases are looked into side by side
}

// An install is what a HelmRelease installs by one tree.
type install struct {
	release render.Object
	first   render.Expansion
	objects []version
	crds    []version
	tree    int // whose files its chart is of
}

func (r *releasing) tell(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// defined finds the HelmRelease on a side, with both of the sentinels. What is built of neither side is as the cluster has it.
func (r *releasing) defined(side int) (both [2]render.Object, ok bool) {
	for i := range both {
		if both[i], ok = r.objects[side][i][r.object]; !ok {
			break
		}
	}
	if ok {
		return both, true
	}
	_, built := r.objects[1-side][0][r.object]
	live, known := r.live[r.object]
	if known && (!built || side == 0) {
		return [2]render.Object{live, live}, true
	}
	return both, false
}

// expand renders both sides, if they may differ.
func (r *releasing) expand(ctx context.Context) error {
	var asked [2][2]request
	var there [2]bool
	for side := range asked {
		both, ok := r.defined(side)
		if there[side] = ok; !ok {
			continue
		}
		for i, o := range both {
			asked[side][i] = r.request(side, i, o)
			if _, built := r.objects[side][i][o.Object]; !built && r.filled(o) {
				asked[side][i].err = holds(o.Object)
			}
		}
	}
	if there[0] == there[1] && r.equal(asked[0][0], asked[1][0]) {
		return nil
	}
	source := title(r.object)
	now := asked[1][0]
	if !there[1] {
		now = asked[0][0]
	}
	spec, _ := now.Object.Fields["spec"].(map[string]any)
	suspended := spec["suspend"]
	if suspended == nil {
		suspended = r.specOf(render.Object{}, r.object, "suspend")
	}
	if suspended == true {
		if there[1] {
			r.tell("%s is suspended: nothing of what it installs changes until it is resumed.", source)
		} else {
			r.tell("%s is deleted while it is suspended: what it has installed stays.", source)
		}
		return nil
	}
	for side := range asked {
		if !there[side] {
			continue
		}
		made, err := r.render(ctx, side, side, asked[side])
		if err != nil {
			if side == 0 && there[1] {
				return &gitops.Refusal{Code: gitops.Layout, Reason: "It cannot be rendered as it is now. " + buildReason(err), Cause: err}
			}
			return err
		}
		r.sides[side] = made
	}
	if there[0] && there[1] {
		if err := r.keep(ctx, asked); err != nil {
			return err
		}
		return r.uproot(ctx, asked)
	}
	return nil
}

// keep renders the head with the chart of the base where source-controller does not pack a chart of this repository anew: its
// version and what the HelmChart asks for are as before, and the version has no commit in it. See LocalBuilder.Build in
// internal/helm/chart of source-controller, and
// https://fluxcd.io/flux/components/source/helmcharts/#reconcile-strategy
func (r *releasing) keep(ctx context.Context, asked [2][2]request) error {
	was, now := asked[0][0], asked[1][0]
	before, after := was.template(), now.template()
	if !was.ours || !now.ours || !r.packs(was, now) || !reflect.DeepEqual(before, after) || after["reconcileStrategy"] == "Revision" {
		return nil
	}
	old, made := r.sides[0].first, r.sides[1].first
	if old.Version == "" || old.Chart != made.Chart || old.Version != made.Version {
		return nil
	}
	kept, err := r.render(ctx, 0, 1, asked[1])
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(kept.first.Objects, made.Objects) || !reflect.DeepEqual(kept.first.CRDs, made.CRDs) {
		r.stale = fmt.Sprintf("Its chart in %s changes and keeps the version %s, so Flux keeps the chart that it has (reconcileStrategy ChartVersion). It takes a new version for that to arrive.", now.chart, made.Version)
	}
	r.sides[1] = kept
	return nil
}

// uproot renders the head as an installation where helm-controller uninstalls the release first, because what it knows it by
// changes. See ReleaseTargetChanged in internal/action of helm-controller.
func (r *releasing) uproot(ctx context.Context, asked [2][2]request) (err error) {
	if !r.offline && asked[1][0].Installed == 0 {
		return nil
	}
	was, now := target(r.sides[0]), target(r.sides[1])
	i := slices.IndexFunc(was, func(t [2]string) bool { return !slices.Contains(now, t) })
	if i < 0 {
		return nil
	}
	r.anew = true
	r.tell("%s: its %s changes, so Flux uninstalls it, with all that it runs, and installs it anew.", title(r.object), was[i][0])
	for i := range asked[1] {
		asked[1][i].Installed = 0
	}
	r.sides[1], err = r.render(ctx, r.sides[1].tree, 1, asked[1])
	return err
}

// target is what helm-controller knows a release by.
func target(i *install) [][2]string {
	o := i.release
	spec, _ := o.Fields["spec"].(map[string]any)
	name, namespace := o.Name, gitops.ScalarText(spec["targetNamespace"])
	if namespace != "" {
		name = namespace + "-" + name
	}
	return [][2]string{
		{"storage namespace", cmp.Or(gitops.ScalarText(spec["storageNamespace"]), o.Namespace)}, {"namespace", cmp.Or(namespace, o.Namespace)},
		{"release name", cmp.Or(gitops.ScalarText(spec["releaseName"]), name)}, {"chart's name", i.first.Chart},
	}
}

// A request is a release that is to be rendered, without what costs a request to know.
type request struct {
	render.Release
	err    error
	ours   bool     // its chart is in this repository
	chart  string   // the chart's directory there
	beside []string // those of charts that it depends on
	values []string // files there that its values come from, beside the chart

	secrets []gitops.Object // that its values come from, see secret
}

// template is what a HelmChart is asked for.
func (q request) template() map[string]any {
	spec, _ := q.Object.Fields["spec"].(map[string]any)
	if spec["chartRef"] != nil {
		spec, _ = q.Chart.Fields["spec"].(map[string]any)
		return spec
	}
	chart, _ := spec["chart"].(map[string]any)
	spec, _ = chart["spec"].(map[string]any)
	return spec
}

// packs says whether what a chart of this repository is packed of changes.
func (r *releasing) packs(a, b request) bool {
	return slices.ContainsFunc(r.changed, func(f string) bool {
		of := func(q request) bool {
			return within(q.chart, f) || slices.Contains(q.values, f) || slices.ContainsFunc(q.beside, func(dir string) bool { return within(dir, f) })
		}
		return of(a) || of(b)
	})
}

// beside are the directories of the charts of this repository that one depends on.
func (r *releasing) beside(side int, chart string) (dirs []string) {
	for _, name := range []string{"Chart.yaml", "requirements.yaml"} {
		var of struct {
			Dependencies []struct{ Repository string }
		}
		if yaml.Unmarshal(content(r.trees[side].FS(), path.Join(chart, name)), &of) != nil {
			continue // which Helm words
		}
		for _, d := range of.Dependencies {
			if dir, ok := strings.CutPrefix(d.Repository, "file://"); ok {
				dirs = append(dirs, strings.TrimPrefix(path.Join("/", chart, dir), "/"))
			}
		}
	}
	return dirs
}

// equal says that two sides of a release ask for the same.
func (r *releasing) equal(a, b request) bool {
	spec := func(o render.Object) any { return o.Fields["spec"] }
	if !reflect.DeepEqual(spec(a.Object), spec(b.Object)) || !reflect.DeepEqual(spec(a.Chart), spec(b.Chart)) || !reflect.DeepEqual(spec(a.Source), spec(b.Source)) ||
		(a.err == nil) != (b.err == nil) || len(a.Maps) != len(b.Maps) {
		return false
	}
	for i := range a.Maps {
		if a.Maps[i].Object != b.Maps[i].Object || !reflect.DeepEqual(a.Maps[i].Fields["data"], b.Maps[i].Fields["data"]) {
			return false
		}
	}
	for _, o := range a.secrets { // which of them is in spec
		if !reflect.DeepEqual(r.objects[0][0][o].Fields, r.objects[1][0][o].Fields) {
			return false
		}
	}
	return !a.ours && !b.ours || !r.packs(a, b)
}

func within(dir, file string) bool { return dir == "." || strings.HasPrefix(file, dir+"/") }

// lookup finds an object by one side's build, or else in the cluster, unless the change takes it from there.
func (r *releasing) lookup(side, sentinels int, o gitops.Object) (render.Object, bool) {
	if found, ok := r.objects[side][sentinels][o]; ok {
		return found, true
	}
	if _, had := r.objects[0][sentinels][o]; side == 1 && had {
		return render.Object{}, false
	}
	found, ok := r.live[o]
	return found, ok
}

// request resolves what a HelmRelease refers to.
func (r *releasing) request(side, sentinels int, o render.Object) (q request) {
	q.Object = o
	spec, _ := o.Fields["spec"].(map[string]any)
	refer := func(ref map[string]any, namespace string) gitops.Object {
		return gitops.Object{Kind: gitops.ScalarText(ref["kind"]), Namespace: cmp.Or(gitops.ScalarText(ref["namespace"]), namespace), Name: gitops.ScalarText(ref["name"])}
	}
	var source gitops.Object
	template, _ := spec["chart"].(map[string]any)
	chart, _ := template["spec"].(map[string]any)
	if ref, ok := spec["chartRef"].(map[string]any); ok {
		source = refer(ref, o.Namespace)
		if source.Kind == "HelmChart" {
			found, ok := r.lookup(side, sentinels, source)
			if !ok {
				q.err = r.unresolved(source)
				return q
			}
			q.Chart = found
			chart, _ = found.Fields["spec"].(map[string]any)
			ref, _ := chart["sourceRef"].(map[string]any)
			source = refer(ref, found.Namespace)
			source.Namespace = found.Namespace
		}
	} else {
		ref, _ := chart["sourceRef"].(map[string]any)
		source = refer(ref, o.Namespace)
	}
	found, ok := r.lookup(side, sentinels, source)
	if !ok {
		q.err = r.unresolved(source)
		return q
	}
	q.Source = found
	q.Installed = installed(r.live[o.Object])
	if spec["chartRef"] == nil { // of its own HelmChart only what the cluster knows counts
		q.Chart = r.live[gitops.Object{Kind: "HelmChart", Namespace: source.Namespace, Name: o.Namespace + "-" + o.Name}]
	}
	if source.Kind == "GitRepository" {
		q.ours = r.own(side, found)
		q.chart = cmp.Or(strings.TrimPrefix(path.Clean("/"+gitops.ScalarText(chart["chart"])), "/"), ".")
		if q.ours {
			q.beside = r.beside(side, q.chart)
		}
		files, _ := chart["valuesFiles"].([]any)
		for _, f := range files {
			q.values = append(q.values, strings.TrimPrefix(path.Clean("/"+gitops.ScalarText(f)), "/"))
		}
	}
	froms, _ := spec["valuesFrom"].([]any)
	for _, v := range froms {
		from, _ := v.(map[string]any)
		m := gitops.Object{Kind: gitops.ScalarText(from["kind"]), Namespace: o.Namespace, Name: gitops.ScalarText(from["name"])}
		switch found, ok := r.lookup(side, sentinels, m); {
		case slices.Contains(q.secrets, m) || slices.ContainsFunc(q.Maps, func(o render.Object) bool { return o.Object == m }):
		case m.Kind == "Secret":
			q.secrets = append(q.secrets, m)
		case ok:
			if _, built := r.objects[side][sentinels][m]; !built && r.filled(found) {
				q.err = holds(m)
			}
			q.Maps = append(q.Maps, found)
		}
	}
	return q
}

// own says whether a GitRepository is of this repository and branch: one that Kustomizations are applied from, or another like it.
func (r *releasing) own(side int, source render.Object) bool {
	if slices.Contains(r.env.Sources, source.Object) {
		return true
	}
	from := func(o render.Object) (string, any) {
		spec, _ := o.Fields["spec"].(map[string]any)
		return layout.RepositoryURL(gitops.ScalarText(spec["url"])), spec["ref"]
	}
	address, ref := from(source)
	return slices.ContainsFunc(r.env.Sources, func(o gitops.Object) bool {
		one, ok := r.lookup(side, 0, o)
		url, branch := from(one)
		return ok && url == address && reflect.DeepEqual(branch, ref)
	})
}

// installed is the revision of a HelmRelease's newest release; zero: there is none.
func installed(o render.Object) int {
	status, _ := o.Fields["status"].(map[string]any)
	history, _ := status["history"].([]any)
	newest := 0
	for _, h := range history {
		snapshot, _ := h.(map[string]any)
		version, _ := strconv.Atoi(gitops.ScalarText(snapshot["version"])) // zero: it is no release
		newest = max(newest, version)
	}
	return newest
}

func (r *releasing) unresolved(o gitops.Object) error {
	where := "neither in Git nor in the cluster"
	if r.offline {
		where = "in nothing that the files here build"
	}
	return &gitops.Refusal{Code: gitops.NotFound, Reason: fmt.Sprintf("%s is %s, so its chart is not known.", o, where)}
}

// render renders one side of a release with the files of a tree, once with each of the sentinels: what differs then depends on a
// Secret, or on chance.
func (r *releasing) render(ctx context.Context, tree, side int, asked [2]request) (*install, error) {
	var err error
	for i := range asked {
		if asked[i], err = r.allow(ctx, tree, asked[i]); err != nil {
			return nil, err
		}
		for _, o := range asked[i].secrets {
			if found, ok := r.secret(ctx, o, side, i); ok {
				asked[i].Maps = append(asked[i].Maps, found)
			}
		}
	}
	remote := r.remote(asked[0].Object)
	if !r.offline {
		kubernetes, apis, err := r.Live.Serves(ctx, r.name, remote)
		if err != nil {
			return nil, err
		}
		for i := range asked {
			asked[i].Kubernetes, asked[i].APIs = kubernetes, apis
		}
	}
	made := &install{release: asked[0].Object, tree: tree}
	var expanded [2]render.Expansion
	errs := Together(2, func(i int) (err error) {
		expanded[i], err = r.Charts.Expand(ctx, asked[i].Release)
		return err
	})
	if err := errors.Join(errs...); err != nil {
		return nil, cmp.Or(errs[0], errs[1])
	}
	made.first = expanded[0]
	for _, note := range expanded[0].Notes {
		r.tell("%s: %s", title(r.object), note)
	}
	made.objects, made.crds = versions(expanded[0].Objects, expanded[1].Objects), versions(expanded[0].CRDs, expanded[1].CRDs)
	return made, nil
}

// remote says whether a release is installed into another cluster than that of its object.
func (r *releasing) remote(o render.Object) bool {
	spec, _ := o.Fields["spec"].(map[string]any)
	return spec["kubeConfig"] != nil
}

// transport is what of a source's spec says how it is asked, and as whom: as the cluster has it, whatever Git says.
var transport = []string{"secretRef", "certSecretRef", "proxySecretRef", "passCredentials", "insecure", "provider", "serviceAccountName", "type"}

// allow finds out whether and how ferry may fetch a release's chart.
func (r *releasing) allow(ctx context.Context, tree int, q request) (request, error) {
	if q.err != nil {
		return q, q.err
	}
	if q.Source.Kind == "GitRepository" {
		if !q.ours {
			return q, &gitops.Refusal{Code: gitops.Layout, Reason: fmt.Sprintf("Its chart is in another repository, that of %s. ferry does not fetch it.", q.Source.Object)}
		}
		q.Files = r.trees[tree].FS()
		return q, nil
	}
	spec, _ := q.Source.Fields["spec"].(map[string]any)
	address := gitops.ScalarText(spec["url"])
	live, known := r.live[q.Source.Object]
	has, _ := live.Fields["spec"].(map[string]any)
	if known && address != "" && gitops.ScalarText(has["url"]) == address && !r.offline {
		merged := maps.Clone(spec)
		for _, key := range transport {
			if delete(merged, key); has[key] != nil {
				merged[key] = has[key]
			}
		}
		q.Source = render.Object{Object: q.Source.Object, Fields: maps.Clone(q.Source.Fields)}
		q.Source.Fields["spec"] = merged
		var err error
		q.Credential, err = r.Live.Credential(ctx, r.name, live)
		return q, err
	}
	if slices.ContainsFunc(r.Allowed, func(allowed string) bool { return under(allowed, address) }) {
		bare := maps.Clone(spec)
		for _, key := range []string{"secretRef", "certSecretRef", "proxySecretRef", "passCredentials", "serviceAccountName"} {
			delete(bare, key)
		}
		q.Source = render.Object{Object: q.Source.Object, Fields: maps.Clone(q.Source.Fields)}
		q.Source.Fields["spec"] = bare
		return q, nil
	}
	reason := "Its chart is to come from %s, which is not the address that the cluster has it from, and not below one of render.allowedSources."
	if r.offline {
		reason = "Its chart comes from %[1]s. To have it fetched, add --allow %[1]s."
	}
	return q, &gitops.Refusal{Code: gitops.Denied, Reason: fmt.Sprintf(reason, shownURL(address))}
}

// shownURL is an address without what may be secret in it.
func shownURL(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "an address that cannot be read"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// under says whether an address lies below another: the same scheme and host, and a path that goes on from it.
func under(allowed, address string) bool {
	a, err := url.Parse(allowed)
	if err != nil || a.Host == "" {
		return false
	}
	b, err := url.Parse(address)
	if err != nil || b.User != nil || b.RawQuery != "" || b.Fragment != "" || b.Opaque != "" || b.EscapedPath() != b.Path ||
		!strings.EqualFold(a.Scheme, b.Scheme) || !strings.EqualFold(a.Host, b.Host) {
		return false
	}
	steps := func(u *url.URL) []string { return strings.FieldsFunc(u.Path, func(c rune) bool { return c == '/' }) }
	x, y := steps(a), steps(b)
	if slices.ContainsFunc(y, func(s string) bool { return s == "." || s == ".." }) || strings.Contains(b.Path, `\`) {
		return false
	}
	return len(x) <= len(y) && slices.Equal(x, y[:len(x)])
}

// take turns what a release installs into objects to look into.
func (r *releasing) take() {
	base, head := r.sides[0], r.sides[1]
	if base == nil && head == nil {
		return
	}
	source := title(r.object)
	if r.stale != "" {
		r.skip(r.object, source, r.stale)
	}
	var was, now []version
	remote := false
	if base != nil {
		was, remote = base.objects, r.remote(base.release)
	}
	if head != nil {
		now, remote = head.objects, r.remote(head.release)
	}
	owner := map[string]string(nil)
	looks := base != nil && base.first.Looks || head != nil && head.first.Looks
	had, has := byID(was), byID(now)
	for _, v := range now {
		if v.sealed {
			r.note("%s installs a %s whose name depends on a Secret or on chance. It is not in this report.", source, v.Kind)
			continue
		}
		old, there := had[idOf(v.Object)]
		t := task{source: source, head: v.Object, hidden: v.hidden, owner: owner}
		if t.unsure = !there || looks; there {
			t.base, t.hidden = old.Object, union(old.hidden, v.hidden)
			metadata, _ := old.Fields["metadata"].(map[string]any)
			t.anew = r.anew && resourcePolicy(metadata) != "keep"
			t.drift = !t.anew && reflect.DeepEqual(old.Fields, v.Fields)
		}
		t.Trial = Trial{Object: without(v.Object, t.hidden), Way: Patched, Remote: remote, Force: r.forced(head.release)}
		if there {
			t.Base = without(old.Object, t.hidden).Fields
		}
		r.tasks = append(r.tasks, t)
	}
	for _, v := range was {
		if _, stays := has[idOf(v.Object)]; stays || v.sealed {
			continue
		}
		metadata, _ := v.Fields["metadata"].(map[string]any)
		if resourcePolicy(metadata) == "keep" {
			r.skip(v.Object.Object, source, "Its annotation helm.sh/resource-policy: keep keeps Helm from deleting it.")
			continue
		}
		r.tasks = append(r.tasks, task{Trial: Trial{Object: v.Object, Way: Looked, Remote: remote}, source: source, base: v.Object, hidden: v.hidden, unsure: looks})
	}
	if head != nil {
		r.definitions(base, head, remote)
	}
	if base != nil && head != nil && !reflect.DeepEqual(hooks(base), hooks(head)) {
		r.note("%s has other hooks with this change: %s. They run at their time and are not in this report.", source, strings.Join(hookNames(head), ", "))
	}
}

func (r *releasing) forced(o render.Object) bool {
	spec, _ := o.Fields["spec"].(map[string]any)
	upgrade, _ := spec["upgrade"].(map[string]any)
	return upgrade["force"] == true
}

func hooks(i *install) (all []map[string]any) {
	for _, o := range i.first.Hooks {
		all = append(all, o.Fields)
	}
	return all
}

func hookNames(i *install) (all []string) {
	for _, o := range i.first.Hooks {
		all = append(all, o.String())
	}
	return append(all, "none")[:max(1, len(all))]
}

// definitions looks into the CRDs of a chart. helm-controller creates those that are missing, with an upgrade too, and changes
// none that is there unless spec.upgrade.crds says so (internal/action/crds.go of helm-controller 1.4.3; the description of
// the field says otherwise): https://fluxcd.io/flux/components/helm/helmreleases/#controlling-the-lifecycle-of-custom-resource-definitions
func (r *releasing) definitions(base, head *install, remote bool) {
	had := map[id]version{}
	phase, policy := "install", "Create"
	if base != nil {
		had = byID(base.crds)
	}
	if base != nil && !r.anew {
		phase = "upgrade"
	}
	spec, _ := head.release.Fields["spec"].(map[string]any)
	of, _ := spec[phase].(map[string]any)
	policy = cmp.Or(gitops.ScalarText(of["crds"]), policy)
	for _, v := range head.crds {
		old, there := had[idOf(v.Object)]
		if there && reflect.DeepEqual(old.Fields, v.Fields) {
			continue
		}
		if policy == "Skip" || policy == "Create" && there {
			r.skip(v.Object.Object, title(r.object), fmt.Sprintf("The chart has it changed, but Helm leaves it as it is: spec.%s.crds is %s.", phase, policy))
			continue
		}
		t := task{source: title(r.object), head: v.Object, base: old.Object, Trial: Trial{Object: v.Object, Way: Applied, Remote: remote}}
		t.ifMissing = policy == "Create"
		r.tasks = append(r.tasks, t)
	}
}

// secret gives a Secret of values, every value in it a sentinel.
func (r *releasing) secret(ctx context.Context, o gitops.Object, side, sentinels int) (render.Object, bool) {
	names, leaves, known := r.secretKeys(ctx, o)
	if git, ok := r.objects[side][sentinels][o]; ok && !known {
		names, leaves, known = keysOf(git), nil, true
	}
	if !known {
		r.tell("Secret %s/%s, which %s takes values from, may not be read: what it holds is not in this report.", o.Namespace, o.Name, title(r.object))
		return render.Object{}, false
	}
	data := map[string]any{}
	words := r.stand[sentinels]
	if words.Shape == render.Digits {
		words.Shape = render.Octal
	}
	for _, name := range names {
		stand := func(leaf string) string { return words.For(o.Namespace, o.Name, name, leaf) }
		text := stand("")
		switch paths := leaves[name]; {
		case len(paths) > 0 && r.merged(o, name):
			text = document(paths, stand)
		case len(paths) > 0: // keys of what nobody takes for values may be secret themselves
			text = document([]string{stand("key")}, stand)
			r.tell("Nothing takes values from %s of Secret %s/%s without this change. What it holds is not in this report.", name, o.Namespace, o.Name)
		}
		data[name] = base64.StdEncoding.EncodeToString([]byte(text))
	}
	return render.Object{Object: o, Fields: map[string]any{"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
		"metadata": map[string]any{"namespace": o.Namespace, "name": o.Name}, "data": data}}, true
}

func keysOf(o render.Object) (names []string) {
	for _, field := range []string{"data", "stringData"} {
		m, _ := o.Fields[field].(map[string]any)
		names = slices.AppendSeq(names, maps.Keys(m))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// document is a YAML document with sentinels at paths such as ingress.hosts[0]["example.com/name"].
func document(paths []string, stand func(leaf string) string) string {
	var root any = map[string]any{}
	for _, leaf := range paths {
		root = put(root, leaf, stand(leaf))
	}
	raw, err := yaml.Marshal(root)
	if err != nil {
		return ""
	}
	return string(raw)
}

// step is the first of a path: a key, a key in quotes, or a place in a list.
var step = regexp.MustCompile(`^\.?(?:([A-Za-z0-9_-]+)|\[("(?:[^"\\]|\\.)*")\]|\[([0-9]{1,4})\])`)

// put gives a value with a leaf at a path.
func put(v any, path, leaf string) any {
	if path == "" {
		return leaf
	}
	m := step.FindStringSubmatch(path)
	if m == nil {
		return v
	}
	rest := path[len(m[0]):]
	if m[3] != "" {
		i, _ := strconv.Atoi(m[3]) // of digits alone
		list, _ := v.([]any)
		for len(list) <= i {
			list = append(list, nil)
		}
		list[i] = put(list[i], rest, leaf)
		return list
	}
	key := m[1]
	if m[2] != "" {
		var err error
		if key, err = strconv.Unquote(m[2]); err != nil {
			return v
		}
	}
	fields, ok := v.(map[string]any)
	if !ok {
		fields = map[string]any{}
	}
	fields[key] = put(fields[key], rest, leaf)
	return fields
}

package operation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/ferry-chatops/ferry/internal/compare"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/layout"
	"github.com/ferry-chatops/ferry/internal/render"
	"github.com/ferry-chatops/ferry/internal/report"
)

// An id is what Kubernetes tells objects apart by: versions of a kind are the same.
type id struct {
	group string
	gitops.Object
}

func idOf(o render.Object) id {
	version, _ := o.Fields["apiVersion"].(string)
	group, _, grouped := strings.Cut(version, "/")
	if !grouped {
		group = ""
	}
	return id{group, o.Object}
}

func (i id) compare(other id) int {
	return cmp.Or(strings.Compare(i.Object.String(), other.Object.String()), strings.Compare(i.group, other.group))
}

// at is an object of which no more is known, of a version of its kind.
func (i id) at(version string) render.Object {
	metadata := map[string]any{"name": i.Name}
	if i.Namespace != "" {
		metadata["namespace"] = i.Namespace
	}
	return render.Object{Object: i.Object, Fields: map[string]any{"apiVersion": strings.TrimPrefix(i.group+"/"+version, "/"), "kind": i.Kind, "metadata": metadata}}
}

// fluxIs says whether an object is of a kind of Flux's.
func fluxIs(o render.Object, kind string) bool {
	return o.Kind == kind && strings.HasSuffix(idOf(o).group, ".toolkit.fluxcd.io")
}

// A task is an object that is looked into.
type task struct {
	Trial
	source string
	drift  bool
	// base and head are what Git says on both sides, with the first sentinels; zero: nothing.
	base, head render.Object
	hidden     []string          // paths that depend on a Secret, on either side
	owner      map[string]string // labels by which kustomize-controller knows it; nil: Helm applies it
	ifMissing  bool              // it is only created
	anew       bool              // it is deleted first
	unsure     bool              // nobody knows what of the live object depends on a Secret: no build of the base says what it is made of
}

// maxTasks is how many objects of an environment are looked into.
const maxTasks = 10_000

// A reviewing is the review of one environment on its way.
type reviewing struct {
	*Reviews
	name    string
	env     layout.Environment
	live    map[gitops.Object]render.Object // Flux's own, and ConfigMaps
	stand   [2]render.Sentinels
	trees   [2]*layout.Tree // base and head
	changed []string
	offline bool // there is no cluster: the base is what is there

	// objects are those of what was built, by side and then by sentinels.
	objects [2][2]map[gitops.Object]render.Object
	applied map[id]gitops.Object          // what the head has, by the Kustomization that applies it
	moves   map[[2]gitops.Object][]string // objects, by the Kustomizations that no longer apply them and that do so then
	keys    asked

	tasks []task
	found []report.Object
	drift []report.Object
	notes []string

	broken []string // what does not build, a sentence or two each
}

func newReviewing(r *Reviews, name string, env layout.Environment, flux []render.Object) *reviewing {
	e := &reviewing{Reviews: r, name: name, env: env, live: map[gitops.Object]render.Object{}, applied: map[id]gitops.Object{}, moves: map[[2]gitops.Object][]string{}}
	for _, o := range flux {
		e.live[o.Object] = o
	}
	return e
}

func (e *reviewing) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(e.notes, text) {
		e.notes = append(e.notes, text)
	}
}

// skip tells that an object is left alone, or that it could not be found out what becomes of it.
func (e *reviewing) skip(o gitops.Object, source, why string) {
	e.found = append(e.found, report.Object{Object: o, Source: source, Verdict: report.Skipped, Reason: why, Changes: []report.Change{}})
}

// review looks into Flux Kustomizations.
func (e *reviewing) review(pairs []layout.Pair) {
	if e.offline {
		e.env.Sources = sources(pairs)
	}
	e.index(pairs)
	// What a directory that stands for a Kustomization holds is not known where it does not build: nothing of it is gone.
	blind := e.offline && slices.ContainsFunc(pairs, func(p layout.Pair) bool { return p.Base == nil && p.Head != nil && p.Head.Err != nil })
	for _, p := range pairs {
		if p.Head != nil || !blind {
			e.kustomization(p)
		}
	}
	e.foreign(pairs)
	for _, by := range slices.SortedFunc(maps.Keys(e.moves), func(a, b [2]gitops.Object) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }) {
		names := e.moves[by]
		if more := len(names) - maxMoved; more > 1 {
			names = append(names[:maxMoved:maxMoved], fmt.Sprintf("%d others", more))
		}
		e.note("What %s applies moves to %s: %s. Where Flux gets to the former first, it deletes that and the latter makes it anew; kustomize.toolkit.fluxcd.io/prune: disabled on it, merged before, prevents that.",
			title(by[0]), title(by[1]), enumerate(names))
	}
}

// foreign names Flux Kustomizations that are applied from what is not this repository, where they or their source change.
func (e *reviewing) foreign(pairs []layout.Pair) {
	known := map[gitops.Object]bool{}
	for _, p := range pairs {
		known[p.Key()] = true
	}
	spec := func(side int, o gitops.Object) map[string]any {
		found, ok := e.objects[side][0][o]
		if _, built := e.objects[1-side][0][o]; !ok && !built {
			found = e.live[o]
		}
		spec, _ := found.Fields["spec"].(map[string]any)
		return spec
	}
	all := map[gitops.Object]bool{}
	for _, objects := range []map[gitops.Object]render.Object{e.live, e.objects[0][0], e.objects[1][0]} {
		for o, found := range objects {
			all[o] = fluxIs(found, "Kustomization") && !known[o]
		}
	}
	for _, o := range slices.SortedFunc(maps.Keys(all), func(a, b gitops.Object) int { return strings.Compare(a.String(), b.String()) }) {
		was, now := spec(0, o), spec(1, o)
		of := now
		if of == nil {
			of = was
		}
		ref, _ := of["sourceRef"].(map[string]any)
		source := gitops.Object{Kind: gitops.ScalarText(ref["kind"]), Namespace: cmp.Or(gitops.ScalarText(ref["namespace"]), o.Namespace), Name: gitops.ScalarText(ref["name"])}
		if !all[o] || of["suspend"] == true || reflect.DeepEqual(was, now) && reflect.DeepEqual(spec(0, source), spec(1, source)) {
			continue
		}
		e.skip(o, title(o), fmt.Sprintf("It is applied from %s, which ferry does not look into: what it applies and deletes with this change is not known.", source))
	}
}

// maxMoved is how many objects that move are named.
const maxMoved = 5

// taken takes down that another Kustomization applies an object with the change; false: none does.
func (e *reviewing) taken(o id, from gitops.Object) bool {
	to, ok := e.applied[o]
	if there, _ := e.inventory(to); ok && to != from && there[o] == "" {
		e.moves[[2]gitops.Object{from, to}] = append(e.moves[[2]gitops.Object{from, to}], o.String())
	}
	return ok
}

// index takes down what was built. Where nothing changes, whatever Git says, the head is as the base.
func (e *reviewing) index(pairs []layout.Pair) {
	for side := range e.objects {
		e.objects[side] = [2]map[gitops.Object]render.Object{{}, {}}
	}
	for _, p := range pairs {
		sides := [2]*layout.Built{p.Base, p.Head}
		switch {
		case p.Head == nil && p.Base != nil && e.stays(p) != "":
			sides[1] = p.Base
		case p.Head != nil && (p.Head.Err != nil || e.spec(p, "suspend") == true || e.waits(p)):
			sides[1] = p.Base
		case p.Head != nil && p.Base != nil && e.spec(p, "prune") != true:
			e.take(1, p.Base)
		}
		for side, b := range sides {
			e.take(side, b)
		}
	}
}

// take adds to the objects of a side.
func (e *reviewing) take(side int, b *layout.Built) {
	if b == nil {
		return
	}
	by := gitops.Object{Kind: "Kustomization", Namespace: b.Kustomization.Namespace, Name: b.Kustomization.Name}
	for i, objects := range [][]render.Object{b.Objects, b.Again} {
		for _, o := range objects {
			if side == 1 && i == 0 {
				e.applied[idOf(o)] = by
			}
			if side == 1 && (leftAlone(o) || leftAlone(e.live[o.Object])) {
				old, ok := e.objects[0][i][o.Object]
				if !ok {
					continue
				}
				o = old
			}
			e.objects[side][i][o.Object] = o
		}
	}
}

// leftAlone says whether an object's annotations or labels keep Flux from changing it.
func leftAlone(o render.Object) bool {
	return marked(o, "reconcile", "disabled") || marked(o, "ssa", "ignore")
}

// spec is a field of a Kustomization's spec, as the newest side has it, or else the cluster.
func (e *reviewing) spec(p layout.Pair, name string) any {
	b := p.Head
	if b == nil {
		b = p.Base
	}
	if e.offline && b.Defined.Fields == nil && name == "prune" {
		return true // as Flux sets up what it applies a root with
	}
	return e.specOf(b.Defined, p.Key(), name)
}

// stays says why what a Flux Kustomization has applied stays though the head has it no more; empty: it is deleted.
func (e *reviewing) stays(p layout.Pair) string {
	source, parent := title(p.Key()), e.objectsOf(1, p.Base.Parent)
	policy, _ := e.spec(p, "deletionPolicy").(string)
	switch {
	case p.Base.Defined.Fields == nil:
		return fmt.Sprintf("%s is in no file of this repository.", source)
	case e.suspended(p.Base.Parent):
		return fmt.Sprintf("%s is no longer in Git, but nothing deletes it until %s is resumed: what it has applied stays.", source, title(p.Base.Parent))
	case marked(p.Base.Defined, "prune", "disabled") || parent != nil && e.specOf(*parent, p.Base.Parent, "prune") != true:
		return fmt.Sprintf("%s is no longer in Git, but nothing deletes it: what it has applied stays.", source)
	case e.spec(p, "suspend") == true:
		return fmt.Sprintf("%s is deleted while it is suspended: what it has applied stays.", source)
	case policy == "Orphan" || policy != "Delete" && policy != "WaitForTermination" && e.spec(p, "prune") != true:
		return fmt.Sprintf("%s is deleted, and what it has applied stays.", source)
	}
	return ""
}

// suspended says whether a Kustomization that applies others is.
func (e *reviewing) suspended(parent gitops.Object) bool {
	o := e.objectsOf(1, parent)
	return o != nil && e.specOf(*o, parent, "suspend") == true
}

// waits says whether a Kustomization stays as it is because the one that applies it is suspended.
func (e *reviewing) waits(p layout.Pair) bool {
	return p.Head != nil && e.suspended(p.Head.Parent) && (p.Base == nil || !reflect.DeepEqual(p.Base.Defined.Fields, p.Head.Defined.Fields))
}

// specOf is a field of an object's spec, as the head has it, or else as the cluster has it.
func (e *reviewing) specOf(defined render.Object, live gitops.Object, key string) any {
	for _, o := range []render.Object{defined, e.live[live]} {
		spec, _ := o.Fields["spec"].(map[string]any)
		if v, ok := spec[key]; ok {
			return v
		}
	}
	return nil
}

// title names what applies objects.
func title(o gitops.Object) string {
	if o.Namespace == "" {
		return o.Kind + " " + o.Name
	}
	return o.Kind + " " + o.Namespace + "/" + o.Name
}

// kustomization looks into one Flux Kustomization.
func (e *reviewing) kustomization(p layout.Pair) {
	key := p.Key()
	if !p.Touched || p.Base == nil && p.Head == nil {
		return
	}
	source := title(key)
	if key.Name == "" {
		source = "Kustomization " + e.name // a directory that stands for one
	}
	if p.Head == nil {
		e.removed(p)
		return
	}
	head := p.Head
	spec := func(name string) any { return e.spec(p, name) }
	switch {
	case head.Err != nil && p.Base != nil && p.Base.Err != nil && reason(head.Err) == reason(p.Base.Err):
		e.note("%s cannot be built, with this change or without. %s", source, buildReason(head.Err))
		return
	case head.Err != nil:
		e.skip(key, source, "It does not build with this change. "+buildReason(head.Err))
		e.broken = append(e.broken, source+" does not build with this change. "+buildReason(head.Err))
		return
	case e.waits(p):
		e.note("%s stays as it is until %s, which applies it, is resumed. What it would change then is not in this report.", source, title(head.Parent))
		return
	case spec("suspend") == true:
		e.note("%s is suspended: nothing that it applies changes until it is resumed.", source)
		return
	}
	e.remote(p, source)
	k := kustomized{reviewing: e, source: source, remote: spec("kubeConfig") != nil, force: spec("force") == true, prune: spec("prune") == true,
		owner: map[string]string{ownerName: key.Name, ownerNamespace: key.Namespace}}
	var was, wasAgain []render.Object
	if p.Base != nil && p.Base.Err == nil {
		was, wasAgain = p.Base.Objects, p.Base.Again
	} else if p.Base != nil {
		e.note("%s does not build on the base branch. %s What is in the cluster counts in its place.", source, buildReason(p.Base.Err))
	}
	before, after := versions(was, wasAgain), versions(head.Objects, head.Again)
	k.apply(before, after)
	k.gone(p, before, after)
}

// remote tells of what is not in this repository. Where it comes, moves, or goes without a trace, what becomes of its objects
// is not known.
func (e *reviewing) remote(p layout.Pair, source string) {
	var was []render.Remote
	if p.Base != nil {
		was = p.Base.Remote
	}
	unknown := false
	for _, r := range p.Head.Remote {
		e.note("%s takes %s, which is not in this repository: what it holds is not in this report.", r.File, r.Reference)
		unknown = unknown || !slices.Contains(was, r)
	}
	traceless := e.offline || len(p.Head.Remote) > 0 // nothing is pruned then
	what := "what it held is known by what is in the cluster alone"
	if traceless {
		what = "what that deletes is not in this report"
	}
	for _, r := range was {
		if !slices.Contains(p.Head.Remote, r) {
			e.note("%s no longer takes %s, which is not in this repository: %s.", r.File, r.Reference, what)
			unknown = unknown || traceless
		}
	}
	if unknown {
		e.skip(p.Key(), source, "What it takes from outside this repository changes: what that applies and deletes is not known.")
	}
}

const (
	ownerName      = "kustomize.toolkit.fluxcd.io/name"
	ownerNamespace = "kustomize.toolkit.fluxcd.io/namespace"
)

// buildReason is why something does not build, in a sentence or two.
func buildReason(err error) string {
	text := reason(err)
	if r := (*gitops.Refusal)(nil); errors.As(err, &r) && len(r.Details) > 0 {
		text += " " + strings.Join(r.Details, " ")
	}
	return text
}

// A version is an object on one side, with both of the sentinels.
type version struct {
	render.Object
	again  render.Object
	hidden []string
	sealed bool // even its name depends on a Secret
}

// versions pairs the objects of a side by what they are.
func versions(objects, again []render.Object) []version {
	others := make(map[id]render.Object, len(again))
	for _, o := range again {
		others[idOf(o)] = o
	}
	all := make([]version, len(objects))
	for i, o := range objects {
		other, ok := others[idOf(o)]
		all[i] = version{Object: o, again: other, sealed: !ok}
		if ok {
			all[i].hidden = depends(o, other)
		}
	}
	return all
}

// place is that of an item in a list whose items have no names.
var place = regexp.MustCompile(`\[[0-9]+\]`)

// depends are the paths of what two renders of an object do not have alike, of lists whose items have no names the list.
func depends(one, other render.Object) []string {
	paths := append(compare.Depends(one.Fields, other.Fields), encrypted(one)...)
	for i, p := range paths {
		if at := place.FindStringIndex(p); at != nil {
			paths[i] = p[:at[0]]
		}
	}
	if one.Kind == "Secret" {
		for _, p := range paths {
			if rest, ok := strings.CutPrefix(p, "stringData"); ok { // which the API server keeps as data
				paths = append(paths, "data"+rest)
			}
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// encrypted are the paths of what SOPS has encrypted in an object, and of what it says about that: kustomize-controller
// applies what they hold, which nobody else knows.
func encrypted(o render.Object) []string {
	if _, sealed := o.Fields["sops"].(map[string]any); !sealed {
		return nil
	}
	other, _ := scrambled(o.Fields).(map[string]any)
	return append(compare.Depends(o.Fields, other), "sops")
}

func scrambled(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for key, item := range v {
			m[key] = scrambled(item)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, item := range v {
			l[i] = scrambled(item)
		}
		return l
	case string:
		if strings.HasPrefix(v, "ENC[") && strings.HasSuffix(v, "]") {
			return "ENC[]"
		}
	}
	return v
}

// nameless says that the name of an object depends on a Secret: what an inventory has besides may be just that object.
func nameless(all []version) bool {
	return slices.ContainsFunc(all, func(v version) bool { return v.sealed })
}

// unnamed says that names in the inventory of a Kustomization may depend on a Secret which the base, if it builds, has otherwise.
func (e *reviewing) unnamed(p layout.Pair, base []version) bool {
	if p.Base != nil && p.Base.Err == nil {
		return nameless(base)
	}
	spec, _ := e.live[p.Key()].Fields["spec"].(map[string]any)
	build, _ := spec["postBuild"].(map[string]any)
	return fromSecret(build["substituteFrom"])
}

func byID(all []version) map[id]version {
	found := make(map[id]version, len(all))
	for _, v := range all {
		found[idOf(v.Object)] = v
	}
	return found
}

// A kustomized is what a Flux Kustomization applies.
type kustomized struct {
	*reviewing
	source               string
	remote, force, prune bool
	owner                map[string]string
}

// apply looks into what is applied with the change.
func (k *kustomized) apply(base, head []version) {
	was := byID(base)
	for _, v := range head {
		old, had := was[idOf(v.Object)]
		switch {
		case v.sealed:
			k.note("%s applies a %s whose name depends on a Secret. It is not in this report.", k.source, v.Kind)
			continue
		case marked(v.Object, "reconcile", "disabled"):
			if !had || !reflect.DeepEqual(old.Fields, v.Fields) {
				k.skip(v.Object.Object, k.source, "Its annotation or label kustomize.toolkit.fluxcd.io/reconcile: disabled keeps Flux from it.")
			}
			continue
		case marked(v.Object, "ssa", "ignore"):
			if !had || !reflect.DeepEqual(old.Fields, v.Fields) {
				k.skip(v.Object.Object, k.source, "Its annotation or label kustomize.toolkit.fluxcd.io/ssa: Ignore keeps Flux from it.")
			}
			continue
		}
		t := task{source: k.source, head: v.Object, owner: k.owner, ifMissing: marked(v.Object, "ssa", "ifnotpresent"), hidden: v.hidden,
			drift: had && reflect.DeepEqual(old.Fields, v.Fields)}
		if !had {
			old, had = k.elsewhere(v.Object)
		}
		if t.unsure = !had; had {
			t.base, t.hidden = old.Object, union(old.hidden, v.hidden)
		}
		t.Trial = Trial{Object: labelled(without(v.Object, t.hidden), k.owner), Way: Applied, Remote: k.remote, Force: k.force || marked(v.Object, "force", "enabled")}
		k.tasks = append(k.tasks, t)
	}
}

// elsewhere finds an object as another Flux Kustomization of the base applies it.
func (e *reviewing) elsewhere(o render.Object) (version, bool) {
	one, ok := e.objects[0][0][o.Object]
	if !ok || idOf(one) != idOf(o) {
		return version{}, false
	}
	v := versions([]render.Object{one}, []render.Object{e.objects[0][1][o.Object]})[0]
	return v, !v.sealed
}

// gone looks into what Flux deletes: what it has applied and the head has not.
func (k *kustomized) gone(p layout.Pair, base, head []version) {
	applied, known := k.inventory(p.Key())
	was, is := byID(base), byID(head)
	for _, v := range base {
		o := idOf(v.Object)
		_, stays := is[o]
		switch {
		case stays || v.sealed || known && applied[o] == "":
		case !k.prune:
			k.skip(v.Object.Object, k.source, k.source+" does not prune: it stays.")
		case k.taken(o, p.Key()):
		default:
			k.remove(v, false)
		}
	}
	if !k.prune || len(p.Head.Remote) > 0 || nameless(head) || k.unnamed(p, base) {
		return
	}
	built := p.Base != nil && p.Base.Err == nil && len(p.Base.Remote) == 0
	for _, o := range slices.SortedFunc(maps.Keys(applied), id.compare) {
		if _, had := was[o]; !had && !k.taken(o, p.Key()) {
			k.remove(version{Object: o.at(applied[o])}, built) // if so, another change deletes it
		}
	}
}

// remove looks into an object that Flux deletes.
func (k *kustomized) remove(v version, drift bool) {
	if marked(v.Object, "prune", "disabled") {
		if !drift {
			k.skip(v.Object.Object, k.source, "Its annotation or label kustomize.toolkit.fluxcd.io/prune: disabled keeps Flux from deleting it.")
		}
		return
	}
	object := v.Object
	if k.owner != nil {
		object = labelled(object, k.owner) // by which it is found
	}
	k.tasks = append(k.tasks, task{Trial: Trial{Object: object, Way: Looked, Remote: k.remote}, source: k.source, base: v.Object, hidden: v.hidden, drift: drift, owner: k.owner,
		unsure: v.again.Fields == nil})
}

// removed looks into what becomes of a Flux Kustomization that the head has not.
func (e *reviewing) removed(p layout.Pair) {
	source := title(p.Key())
	if why := e.stays(p); why != "" {
		e.note("%s", why)
		return
	}
	key, base := p.Key(), p.Base
	if base.Err != nil {
		e.note("%s does not build on the base branch. %s", source, buildReason(base.Err))
	}
	k := kustomized{reviewing: e, source: source, remote: e.spec(p, "kubeConfig") != nil, prune: true, owner: map[string]string{ownerName: key.Name, ownerNamespace: key.Namespace}}
	applied, known := e.inventory(key)
	was := versions(base.Objects, base.Again)
	for _, v := range was {
		if o := idOf(v.Object); !v.sealed && (!known || applied[o] != "") && !e.taken(o, key) {
			k.remove(v, false)
		}
	}
	if e.unnamed(p, was) {
		return
	}
	had := byID(was)
	for _, o := range slices.SortedFunc(maps.Keys(applied), id.compare) {
		if _, ok := had[o]; !ok && !e.taken(o, key) {
			k.remove(version{Object: o.at(applied[o])}, false)
		}
	}
}

// objectsOf finds a Kustomization as a side builds it, or else as the cluster has it; nil: it is in neither.
func (e *reviewing) objectsOf(side int, o gitops.Object) *render.Object {
	if found, ok := e.objects[side][0][o]; ok && fluxIs(found, o.Kind) {
		return &found
	}
	if found, ok := e.live[o]; ok {
		return &found
	}
	return nil
}

// inventory is what a Kustomization has applied, as its status says, each with the version of its kind. It is false where
// there is none.
func (e *reviewing) inventory(key gitops.Object) (map[id]string, bool) {
	live, ok := e.live[key]
	if !ok || e.offline {
		return nil, false
	}
	status, _ := live.Fields["status"].(map[string]any)
	inventory, _ := status["inventory"].(map[string]any)
	entries, _ := inventory["entries"].([]any)
	all := map[id]string{}
	for _, v := range entries {
		entry, _ := v.(map[string]any)
		text, _ := entry["id"].(string)
		version, _ := entry["v"].(string)
		if o, ok := entryID(text); ok {
			all[o] = version
		}
	}
	return all, true
}

// entryID reads an entry of an inventory: NAMESPACE_NAME_GROUP_KIND, where a colon of the name is two underscores.
func entryID(text string) (o id, ok bool) {
	namespace, rest, ok := strings.Cut(text, "_")
	last := strings.LastIndexByte(rest, '_')
	if !ok || last < 0 {
		return o, false
	}
	kind, rest := rest[last+1:], rest[:last]
	last = strings.LastIndexByte(rest, '_')
	if last < 0 {
		return o, false
	}
	return id{rest[last+1:], gitops.Object{Kind: kind, Namespace: namespace, Name: strings.ReplaceAll(rest[:last], "__", ":")}}, true
}

// marked says whether an object has one of kustomize-controller's annotations or labels with a value, whatever its case.
func marked(o render.Object, name, value string) bool {
	metadata, _ := o.Fields["metadata"].(map[string]any)
	return markedIn(metadata, name, value)
}

func markedIn(metadata map[string]any, name, value string) bool {
	for _, key := range []string{"annotations", "labels"} {
		m, _ := metadata[key].(map[string]any)
		if is, _ := m["kustomize.toolkit.fluxcd.io/"+name].(string); strings.EqualFold(is, value) {
			return true
		}
	}
	return false
}

func labelled(o render.Object, labels map[string]string) render.Object {
	return render.Mark([]render.Object{o}, labels, nil)[0]
}

// without leaves out of an object what depends on a Secret.
func without(o render.Object, hidden []string) render.Object {
	o.Fields = compare.Without(o.Fields, hidden)
	return o
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// variables are the values of a ConfigMap in the cluster, or the names of those of a Secret.
func (e *reviewing) variables(ctx context.Context, o gitops.Object) (map[string]string, bool) {
	if o.Kind == "Secret" {
		names, _, known := e.secretKeys(ctx, o)
		values := make(map[string]string, len(names))
		for _, name := range names {
			values[name] = ""
		}
		return values, known
	}
	m, ok := e.live[o]
	if ok && e.filled(m) {
		return nil, false
	}
	data, _ := m.Fields["data"].(map[string]any)
	values := make(map[string]string, len(data))
	for name, v := range data {
		values[name] = gitops.ScalarText(v)
	}
	return values, ok
}

// asked remembers what Secrets hold, by their names.
type asked struct {
	mu  sync.Mutex
	all map[gitops.Object]secretKeys
}

type secretKeys struct {
	names  []string
	leaves map[string][]string
	known  bool
}

// secretKeys asks once for the names of what a Secret holds. One that cannot be read is not known.
func (e *reviewing) secretKeys(ctx context.Context, o gitops.Object) ([]string, map[string][]string, bool) {
	if e.offline {
		return nil, nil, false
	}
	e.keys.mu.Lock()
	defer e.keys.mu.Unlock()
	k, known := e.keys.all[o]
	if !known {
		var err error
		if k.names, k.leaves, k.known, err = e.Live.Keys(ctx, e.name, o.Namespace, o.Name); err != nil {
			k.known = false
		}
		if e.keys.all == nil {
			e.keys.all = map[gitops.Object]secretKeys{}
		}
		e.keys.all[o] = k
	}
	return k.names, k.leaves, k.known
}

package layout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/manifest"
	"github.com/ferry-chatops/ferry/internal/render"
)

// maxProposals bounds the builds that look for a place that works.
const maxProposals = 12

// alone answers a change whose bytes feed more than it is meant for. With --override it is planned in a file that only
// this environment reads; without, the refusal says where that would be.
func (t *Tree) alone(ctx context.Context, env Environment, others []Environment, f Field, tag, digest string, change Change, result Result, shared error) (Result, error) {
	over, err := t.override(ctx, env, others, f, tag, digest)
	if change.Override {
		return over, withCandidate(err, f)
	}
	r := (*gitops.Refusal)(nil)
	if err != nil || !errors.As(shared, &r) {
		return result, cmp.Or(ctx.Err(), shared)
	}
	offer := *r
	at := over.Edits[0]
	offer.Reason = fmt.Sprintf("%s To change %s in %s alone, add --override: it adds %s in %s line %d.", offer.Reason, f.Application.Name, cmp.Or(env.Name, "this environment"), at.Path, at.File, at.Line)
	result.Override = over.Edits
	return result, &offer
}

// override plans a change in a file that only one environment reads, and leaves the scalar that decides now as it is.
// What can be added, and where, is proposed in order of preference; the first that the builds prove is the plan. Codes:
// Shared (no such file), Unproved (there is, but nothing that can be added to it does it).
func (t *Tree) override(ctx context.Context, env Environment, others []Environment, f Field, tag, digest string) (Result, error) {
	o, err := t.overlayOf(ctx, env, others, f, tag, digest)
	if err != nil {
		return Result{}, err
	}
	f.overridden = true
	refusal := error(nil)
	tried := map[string]bool{}
	for p := range o.proposals {
		content, err := p.add()
		if err == nil && !tried[p.file+"\x00"+string(content)] {
			tried[p.file+"\x00"+string(content)] = true
			var result Result
			if result, err = t.proveAdded(ctx, env, others, f, o, p.file, content); err == nil {
				return result, nil
			}
		}
		if ctx.Err() != nil {
			return Result{}, ctx.Err()
		}
		if err != nil {
			refusal = cmp.Or(refusal, inFile(p.file, err))
		}
		if len(tried) == maxProposals {
			break
		}
	}
	name := cmp.Or(env.Name, "this environment")
	if refusal == nil {
		return Result{}, &gitops.Refusal{Code: gitops.Shared, Title: "There is no place for an override",
			Reason: fmt.Sprintf("All that leads from %s to %s is read by other environments too: no file of %s alone could state another version. To change all of it, use --shared in place of --override.",
				f.File, f.reading.object, name)}
	}
	return Result{}, &gitops.Refusal{Code: gitops.Unproved, Cause: refusal,
		Reason: fmt.Sprintf("Nothing that ferry can add to the files that only %s reads changes %s of %s alone. Write the override by hand.", name, f.reading.path, f.reading.object)}
}

// An overlay is what is known of the place where an override can go.
type overlay struct {
	tree        *Tree
	walk        *walk
	site        *site // that builds what states the version
	object      render.Object
	field       Field
	tag, digest string
	want        string              // the whole scalar that states the version
	own         func(string) bool   // whether only this environment reads a file
	reached     map[string][]string // by kustomization: the files it leads to, sorted
}

func (t *Tree) overlayOf(ctx context.Context, env Environment, others []Environment, f Field, tag, digest string) (*overlay, error) {
	w, err := t.base(ctx, env)
	if err != nil {
		return nil, err
	}
	elsewhere := map[string]bool{}
	for _, other := range others {
		if other.Name == env.Name {
			continue
		}
		read, err := t.walk(ctx, other, view{needed: func([]string) bool { return false }})
		if err != nil {
			return nil, err
		}
		for _, file := range read.files() {
			elsewhere[file] = true
		}
	}
	o := &overlay{tree: t, walk: w, field: f, tag: strings.Trim(tag, `"`), digest: digest, own: func(file string) bool { return !elsewhere[file] }, reached: map[string][]string{}}
	o.want = f.reading.with(f, o.tag, digest)
	for _, s := range w.sites {
		for _, built := range s.objects {
			if s.key() == f.reading.site && built.Object == f.reading.object {
				o.site, o.object = s, built
				return o, nil
			}
		}
	}
	return nil, &gitops.Refusal{Code: gitops.Unproved, Reason: fmt.Sprintf("%s is not built.", f.reading.object)}
}

// A proposal is one way to write an override.
type proposal struct {
	file string
	add  func() ([]byte, error)
}

// proposals are the ways, the most fitting first: the environment's own variable, what is said about the object already,
// then from the kustomization nearest to the shared file to the Flux Kustomization.
func (o *overlay) proposals(yield func(proposal) bool) {
	more := true
	try := func(p proposal) bool {
		more = more && yield(p)
		return more
	}
	o.variables(try)
	trail := trailTo(o.object.Fields, "", o.field.reading.path)
	if trail == nil || !more {
		return // it stands in a text, of which nothing can replace a part
	}
	values := []value{{trail, o.want}}
	if o.field.digest != nil && o.field.reading.digest.path != "" && o.digest != o.field.digest.token() {
		values = append(values, value{trailTo(o.object.Fields, "", o.field.reading.digest.path), o.digest})
	}
	places := o.kustomizations(o.site, o.field.File)
	if o.image() {
		for _, file := range places {
			o.images(file, "images", try)
		}
	}
	o.stated(o.site, o.object.Object, values, try)
	for _, file := range places {
		o.patches(o.site, o.object, file, "patches", values, try)
	}
	for _, d := range o.declared(gitops.Object{Kind: "Kustomization", Namespace: o.site.Namespace, Name: o.site.Name}) {
		if o.image() {
			o.images(d.file, d.prefix+"spec.images", try)
		}
		o.patches(o.site, o.object, d.file, d.prefix+"spec.patches", values, try)
	}
}

// image says whether an images entry can decide the version.
func (o *overlay) image() bool {
	return o.field.Version.Kind == gitops.ImageTag && (slices.Contains(workloads, o.object.Kind) || strings.Contains(o.field.Path, "images["))
}

// A value is what a patch sets, and where.
type value struct {
	trail []any // keys, names of containers (itemName), and indexes of items
	text  string
}

// An itemName is the name of a list's item.
type itemName string

// trailTo finds the way to the scalar that has a reading's path, or nil. It looks into no text.
func trailTo(v any, under, want string) []any {
	switch v := v.(type) {
	case map[string]any:
		for key, c := range v {
			if at := child(under, key); at == want || strings.HasPrefix(want, at) {
				if rest := trailTo(c, at, want); rest != nil {
					return append([]any{key}, rest...)
				}
			}
		}
	case []any:
		for i, c := range v {
			at := step(under, c, i)
			if !strings.HasPrefix(want, at) {
				continue
			}
			if rest := trailTo(c, at, want); rest != nil {
				if strings.HasPrefix(at, under+"[name=") {
					return append([]any{itemName(textAt(c.(map[string]any), "name"))}, rest...)
				}
				return append([]any{i}, rest...)
			}
		}
	default:
		if under == want {
			return []any{}
		}
	}
	return nil
}

// kustomizations are those of a site that only this environment reads and that lead to a file, the nearest to it first.
func (o *overlay) kustomizations(s *site, to string) []string {
	var found []string
	for _, file := range s.files {
		if _, leads := slices.BinarySearch(o.leads(s, file), to); leads && isKustomization(file) && o.own(file) {
			found = append(found, file)
		}
	}
	slices.SortStableFunc(found, func(a, b string) int { return len(o.leads(s, a)) - len(o.leads(s, b)) })
	return found
}

func isKustomization(file string) bool {
	return slices.Contains([]string{"kustomization.yaml", "kustomization.yml", "Kustomization"}, path.Base(file))
}

// leads lists what a kustomization names, what that names, and so on, itself included.
func (o *overlay) leads(s *site, file string) []string {
	if found, known := o.reached[file]; known {
		return found
	}
	seen := map[string]bool{}
	next := []string{file}
	for len(next) > 0 {
		at := next[len(next)-1]
		next = next[:len(next)-1]
		if seen[at] {
			continue
		}
		seen[at] = true
		if !isKustomization(at) {
			continue
		}
		parsed, err := o.tree.parse(at)
		if err != nil {
			continue
		}
		for _, scalar := range parsed.scalars {
			_, name, named := strings.Cut(scalar.Value, "=")
			if !named {
				name = scalar.Value
			}
			if name == "" || len(name) > 1024 || strings.ContainsAny(name, "\n:") {
				continue
			}
			to := path.Join(path.Dir(at), name)
			for _, read := range []string{to, path.Join(to, "kustomization.yaml"), path.Join(to, "kustomization.yml"), path.Join(to, "Kustomization")} {
				if _, found := slices.BinarySearch(s.files, read); found {
					next = append(next, read)
				}
			}
		}
	}
	o.reached[file] = slices.Sorted(maps.Keys(seen))
	return o.reached[file]
}

// A document is one of a file.
type document struct {
	file   string
	prefix string // of the paths in it
}

// documents are those of a site about an object that only this environment reads.
func (o *overlay) documents(s *site, about gitops.Object) (found []document) {
	for _, file := range s.files {
		if !yamlFile(file) || !o.own(file) {
			continue
		}
		parsed, err := o.tree.parse(file)
		if err != nil {
			continue
		}
		for _, scalar := range parsed.scalars {
			prefix, isName := strings.CutSuffix(scalar.Path, "metadata.name")
			if isName && !strings.Contains(prefix, "|") && (prefix == "" || strings.HasSuffix(prefix, ":")) && scalar.Value == about.Name &&
				parsed.file.Text(scalar.Document, "kind") == about.Kind {
				if namespace := parsed.file.Text(scalar.Document, "metadata", "namespace"); namespace == "" || namespace == about.Namespace {
					found = append(found, document{file, prefix})
				}
			}
		}
	}
	return found
}

// declared are the documents about an object in all sites.
func (o *overlay) declared(about gitops.Object) (found []document) {
	if about.Name == "" {
		return nil
	}
	for _, s := range o.walk.sites {
		for _, d := range o.documents(s, about) {
			if !slices.Contains(found, d) {
				found = append(found, d)
			}
		}
	}
	return found
}

// stated proposes to say it where something is said about the object already.
func (o *overlay) stated(s *site, about gitops.Object, values []value, try func(proposal) bool) {
	if slices.ContainsFunc(values, func(v value) bool {
		return slices.ContainsFunc(v.trail, func(step any) bool { _, key := step.(string); return !key })
	}) {
		return
	}
	for _, name := range o.names(s, about) {
		about.Name = name
		for _, d := range o.documents(s, about) {
			try(proposal{d.file, func() ([]byte, error) {
				parsed, err := o.tree.parse(d.file)
				if err != nil {
					return nil, err
				}
				return insert(parsed.file, d.prefix, values)
			}})
		}
		for _, file := range s.files {
			if parsed, err := o.tree.parse(file); err == nil && isKustomization(file) && o.own(file) {
				for _, held := range parsed.scalars {
					if held.Holds {
						o.within(file, parsed, held, about, values, try)
					}
				}
			}
		}
	}
}

// insert adds values to a document.
func insert(file *manifest.File, prefix string, values []value) (content []byte, err error) {
	for _, v := range values {
		at := ""
		for _, key := range v.trail {
			at = child(at, key.(string))
		}
		if content, err = file.Insert(prefix+at, v.text); err != nil {
			return nil, err
		}
		if file, err = manifest.Parse(content); err != nil {
			return nil, err
		}
	}
	return content, nil
}

// within proposes to say it in an inline patch of the object. The lines are put between those of its text, and nothing
// else may read differently then.
func (o *overlay) within(file string, parsed *text, held manifest.Scalar, about gitops.Object, values []value, try func(proposal) bool) {
	patch, err := manifest.Parse([]byte(held.Value))
	if err != nil || patch.Len() != 1 || patch.Text(0, "kind") != about.Kind || patch.Text(0, "metadata", "name") != about.Name {
		return
	}
	byHand := &gitops.Refusal{Code: gitops.Unproved, Reason: fmt.Sprintf("ferry cannot add to the text in line %d; do it by hand", held.Line)}
	try(proposal{file, func() ([]byte, error) {
		grown, err := insert(patch, "", values)
		if err != nil {
			return nil, err
		}
		lines, old, now := strings.SplitAfter(string(parsed.raw), "\n"), strings.SplitAfter(held.Value, "\n"), strings.SplitAfter(string(grown), "\n")
		at, added := 0, len(now)-len(old)
		for at < len(old)-1 && old[at] == now[at] {
			at++
		}
		first := held.Line // the text's first line is below the key's
		if added < 1 || first+at > len(lines) || !slices.Equal(old[at:], now[at+added:]) {
			return nil, byHand
		}
		indent := strings.TrimSuffix(lines[first], old[0])
		if indent == lines[first] || strings.TrimSpace(indent) != "" {
			return nil, byHand
		}
		more := slices.Clone(now[at : at+added])
		for i := range more {
			more[i] = indent + more[i]
		}
		content := []byte(strings.Join(slices.Insert(lines, first+at, more...), ""))
		after, err := manifest.Parse(content)
		if err != nil {
			return nil, byHand
		}
		kept, same := 0, true
		after.Scalars(func(is manifest.Scalar) bool {
			switch {
			case kept < len(parsed.scalars) && is.Path == parsed.scalars[kept].Path:
				was := parsed.scalars[kept]
				same = is.Value == was.Value || is.Path == held.Path && is.Value == string(grown)
				kept++
			default:
				same = strings.HasPrefix(is.Path, held.Path+"|")
			}
			return same
		})
		if !same || kept != len(parsed.scalars) {
			return nil, byHand
		}
		return content, nil
	}})
}

// names are what an object may be called before prefixes and suffixes are put to its name: what files of the site call
// one of its kind. Where one has its very name, that is it.
func (o *overlay) names(s *site, about gitops.Object) []string {
	names := []string{about.Name}
	for _, file := range s.files {
		parsed, err := o.tree.parse(file)
		if !yamlFile(file) || err != nil {
			continue
		}
		for d := range parsed.file.Len() {
			name := parsed.file.Text(d, "metadata", "name")
			switch {
			case parsed.file.Text(d, "kind") != about.Kind || name == "":
			case name == about.Name:
				return []string{name}
			case strings.Contains(about.Name, name) && !slices.Contains(names, name):
				names = append(names, name)
			}
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return len(b) - len(a) })
	return names
}

// images proposes an entry for the image.
func (o *overlay) images(file, list string, try func(proposal) bool) {
	try(proposal{file, func() ([]byte, error) {
		parsed, err := o.tree.parse(file)
		if err != nil {
			return nil, err
		}
		tag, digest, _ := strings.Cut(o.tag, "@")
		if strings.HasPrefix(o.tag, "sha256:") {
			tag, digest = "", o.tag
		}
		if o.field.digest != nil {
			digest = o.digest
		}
		entry := manifest.Map{{Key: "name", Value: o.field.Version.Name}}
		if tag != "" {
			entry = append(entry, manifest.Entry{Key: "newTag", Value: tag})
		}
		if digest != "" {
			entry = append(entry, manifest.Entry{Key: "digest", Value: digest})
		}
		for i := 0; ; i++ {
			item := list + "[" + strconv.Itoa(i) + "]"
			name, err := parsed.file.Find(item + ".name")
			if err != nil {
				return parsed.file.Append(list, entry)
			}
			if renamed, err := parsed.file.Find(item + ".newName"); err == nil {
				name = renamed
			}
			if name.Value == o.field.Version.Name && len(entry) == 2 {
				return parsed.file.Insert(item+"."+entry[1].Key, entry[1].Value)
			}
		}
	}})
}

// patches proposes an inline patch: one that is merged, and where there is a list on the way, one of single operations.
func (o *overlay) patches(s *site, object render.Object, file, list string, values []value, try func(proposal) bool) {
	for _, name := range o.names(s, object.Object) {
		target := manifest.Map{{Key: "kind", Value: object.Kind}, {Key: "name", Value: name}}
		alike := 0
		for _, other := range s.objects {
			if other.Kind == object.Kind && other.Name == object.Name {
				alike++
			}
		}
		if alike > 1 {
			target = append(target, manifest.Entry{Key: "namespace", Value: object.Namespace})
		}
		for _, text := range []string{merging(object, name, values), replacing(values)} {
			if text == "" {
				continue
			}
			try(proposal{file, func() ([]byte, error) {
				parsed, err := o.tree.parse(file)
				if err != nil {
					return nil, err
				}
				return parsed.file.Append(list, manifest.Map{{Key: "patch", Value: text}, {Key: "target", Value: target}})
			}})
		}
	}
}

// merging is a strategic merge patch, or empty where an item of a list has no name.
func merging(object render.Object, name string, values []value) string {
	patch := map[string]any{"apiVersion": object.Fields["apiVersion"], "kind": object.Kind, "metadata": map[string]any{"name": name}}
	for _, v := range values {
		var at any = v.text
		for i, s := range slices.Backward(v.trail) {
			switch s := s.(type) {
			case int:
				return ""
			case itemName:
				fields, ok := at.(map[string]any)
				if !ok {
					return ""
				}
				fields["name"] = string(s)
				at = []any{fields}
			case string:
				if i == 0 {
					merge(patch, s, at)
				} else {
					at = map[string]any{s: at}
				}
			}
		}
	}
	raw, err := yaml.Marshal(patch)
	if err != nil {
		return ""
	}
	return string(raw)
}

// merge puts a value under a key of a map, into the map that is there.
func merge(into map[string]any, key string, v any) {
	have, ok := into[key].(map[string]any)
	more, both := v.(map[string]any)
	if !ok || !both {
		into[key] = v
		return
	}
	for k, c := range more {
		merge(have, k, c)
	}
}

// replacing is a JSON 6902 patch.
func replacing(values []value) string {
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value string `json:"value"`
	}
	var all []operation
	for _, v := range values {
		var pointer strings.Builder
		for _, s := range v.trail {
			switch s := s.(type) {
			case string:
				pointer.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(s))
			case int:
				pointer.WriteString("/" + strconv.Itoa(s))
			default:
				return "" // the place of a named item is not looked up: it is merged by its name
			}
		}
		all = append(all, operation{"replace", pointer.String(), v.text})
	}
	raw, err := yaml.Marshal(all)
	if err != nil {
		return ""
	}
	return string(raw)
}

// variables proposes the variable that brings the version, in the Flux Kustomization that fills it in.
func (o *overlay) variables(try func(proposal) bool) {
	if o.site.Substitution == nil {
		return
	}
	owner := gitops.Object{Kind: "Kustomization", Namespace: o.site.Namespace, Name: o.site.Name}
	from := o.field.origin.scalar.Value
	names := map[string]string{} // what the variable is to be
	for _, use := range variable.FindAllStringSubmatch(from, -1) {
		names[use[1]] = o.tag // a default
	}
	for name, value := range o.site.vars.Values {
		if value == strings.TrimSpace(from) {
			names[name] = strings.TrimSpace(o.field.origin.with(o.tag))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		for _, text := range []string{names[name], `"` + strings.Trim(names[name], `"`) + `"`} { // filling in loses the quotes
			for _, d := range o.declared(owner) {
				try(proposal{d.file, func() ([]byte, error) {
					parsed, err := o.tree.parse(d.file)
					if err != nil {
						return nil, err
					}
					return parsed.file.Insert(d.prefix+child("spec.postBuild.substitute", name), text)
				}})
			}
			for _, s := range o.walk.sites {
				for _, built := range s.objects {
					if built.Object != owner {
						continue
					}
					for _, file := range o.declaring(s, built) {
						for _, place := range o.kustomizations(s, file) {
							o.patches(s, built, place, "patches", []value{{[]any{"spec", "postBuild", "substitute", name}, text}}, try)
						}
					}
				}
			}
		}
	}
}

// declaring are the files of a site, shared ones too, that hold an object.
func (o *overlay) declaring(s *site, object render.Object) (files []string) {
	names := o.names(s, object.Object)
	for _, file := range s.files {
		parsed, err := o.tree.parse(file)
		if !yamlFile(file) || err != nil {
			continue
		}
		for d := range parsed.file.Len() {
			if parsed.file.Text(d, "kind") == object.Kind && slices.Contains(names, parsed.file.Text(d, "metadata", "name")) && !slices.Contains(files, file) {
				files = append(files, file)
			}
		}
	}
	return files
}

// proveAdded builds everything with a file that something was added to.
func (t *Tree) proveAdded(ctx context.Context, env Environment, others []Environment, f Field, o *overlay, file string, content []byte) (Result, error) {
	result := Result{Field: f, From: f.Value, To: o.tag, Effects: map[string]Effect{}, Files: []gitops.File{{Path: file, Content: content}}}
	besides, err := t.effects(ctx, env, others, f, map[string][]byte{file: content}, o.tag, o.digest, &result)
	if err != nil {
		return Result{}, err
	}
	if len(besides)+len(result.AlsoFeeds) > 0 {
		return Result{}, &gitops.Refusal{Code: gitops.Unproved, Reason: "more than the one version would change", Details: besides}
	}
	result.Edits, err = o.edits(file, content)
	return result, err
}

// edits are the scalars that were added to a file and state the version.
func (o *overlay) edits(file string, content []byte) (edits []gitops.Edit, err error) {
	was, err := o.tree.parse(file)
	if err != nil {
		return nil, err
	}
	is, err := manifest.Parse(content)
	if err != nil {
		return nil, inFile(file, err)
	}
	before := map[string]bool{}
	for _, s := range was.scalars {
		before[s.Path] = true
	}
	tag, digest, _ := strings.Cut(o.tag, "@")
	is.Scalars(func(s manifest.Scalar) bool {
		if before[s.Path] || notVersions.MatchString(s.Path) {
			return true
		}
		e := gitops.Edit{File: file, Line: s.Line, Path: s.Path, Kind: o.field.Version.Kind}
		switch text := strings.Trim(s.Value, `"`); {
		case text == o.want || text == o.tag || text == o.field.origin.with(o.tag):
			e.Old, e.New = o.field.Value, o.tag
		case tag != "" && text == tag:
			e.Old, e.New = o.field.Value, tag
		case o.field.digest != nil && text == o.digest:
			e.Old, e.New = o.field.digest.token(), o.digest
		case digest != "" && text == digest:
			e.New = digest
		default:
			return true
		}
		edits = append(edits, e)
		return true
	})
	if len(edits) == 0 {
		return nil, &gitops.Refusal{Code: gitops.Unproved, Reason: fmt.Sprintf("%s would not state the version in a scalar of its own", file)}
	}
	return edits, nil
}

// handsOn matches what of a Flux Kustomization an override may change: what it does to what it builds shows there.
var handsOn = regexp.MustCompile(`^spec\.(patches|images|postBuild)\b`)

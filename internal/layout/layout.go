// Package layout finds where in a repository the version lives that an environment runs. It imitates no kustomize rule:
// it tries. A scalar that could be the one gets an unlikely value in memory, everything is built again, and the
// scalar whose value arrives in the object is the one to edit. The same builds tell what else it feeds.
package layout

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/manifest"
	"github.com/ferry-chatops/ferry/internal/render"
)

// A Site is a Flux Kustomization of an environment whose source is the repository and branch at hand.
type Site struct {
	Environment string
	// Namespaces are the environment's, if it has not the whole cluster: objects elsewhere are another environment's.
	Namespaces []string
	gitops.Kustomization
}

// A Field is the scalar that decides a version in an environment.
type Field struct {
	File  string
	Line  int    // 1-based
	Path  string // "spec.chart.spec.version"
	Value string // the version it states now

	parsed *manifest.File
	scalar manifest.Scalar
	prefix string // of the scalar before the version: the repository of an image and a colon
	names  string // what its document or list item is about: an object's name, or an image

	site    Site
	version gitops.Version
	before  []render.Object // what site builds
}

// trial is a value that nothing has and that every resolver reads as a string. It is a valid version and a valid tag.
const trial = "99.99.99-ferry-trial"

// maxTrials limits how many candidates Locate tries: a build each.
const maxTrials = 50

// Locate finds the field of version v of app. sites are all known ones of the repository and branch, those of other
// environments included. Errors are refusals: NotFound (with the candidates), Layout, Range, Digest, Secret, Unproved
// (too many candidates) and those of package manifest; or the context's.
func Locate(ctx context.Context, tree fs.FS, sites []Site, app gitops.Application, v gitops.Version) (Field, error) {
	site, files, before, err := home(ctx, tree, sites, app, v)
	if err != nil {
		return Field{}, err
	}
	now, err := stated(before, v)
	if err != nil {
		return Field{}, err
	}
	var all, candidates []Field
	var refused error
	for _, file := range files {
		if !slices.Contains([]string{"", ".yaml", ".yml", ".json"}, path.Ext(file)) {
			continue // the content of a ConfigMap
		}
		fields, err := candidatesIn(tree, file, v)
		refused = cmp.Or(refused, err)
		all = append(all, fields...)
	}
	for _, f := range all {
		if f.Value == now { // else it cannot be the one: nothing on the way changes a version
			candidates = append(candidates, f)
		}
	}
	slices.SortStableFunc(candidates, func(a, b Field) int { return a.distance(site, v) - b.distance(site, v) })
	for i, c := range candidates {
		if i == maxTrials {
			return Field{}, &gitops.Refusal{Code: gitops.Unproved,
				Reason: fmt.Sprintf("None of %d fields under %s that state %s decides the %s version of %s, and there are more; ferry tries no more of them.", maxTrials, site.Path, now, v.Kind, app.Name)}
		}
		content, err := c.replace(trial)
		if err != nil {
			refused = cmp.Or(refused, err)
			continue
		}
		after, err := render.Build(ctx, render.With(tree, c.File, content), site.Kustomization)
		if ctx.Err() != nil {
			return Field{}, fmt.Errorf("look for the version of %s: %w", app.Name, ctx.Err())
		}
		if err != nil {
			continue // a value that breaks the build is not this version
		}
		if got, err := stated(after, v); err == nil && got == trial {
			c.site, c.version, c.before = site, v, before
			return c, nil // no other can be: the object has one value, and it came from here
		}
	}
	if refused != nil {
		return Field{}, refused
	}
	refusal := &gitops.Refusal{Code: gitops.NotFound,
		Reason: fmt.Sprintf("No field under %s decides the %s version of %s in %s.", site.Path, v.Kind, app.Name, app.Environment)}
	const shown = 10
	for i, c := range all {
		if i == shown {
			refusal.Details = append(refusal.Details, fmt.Sprintf("… and %d more", len(all)-shown))
			break
		}
		refusal.Details = append(refusal.Details, fmt.Sprintf("%s:%d: %s is %q", c.File, c.Line, c.Path, c.Value))
	}
	return Field{}, refusal
}

// distance orders candidates: those that name the object or its image come first, and then those in the site's own
// directory, where patches are.
func (f Field) distance(site Site, v gitops.Version) int {
	far := 0
	if !slices.Contains([]string{v.Object.Name, v.Name}, f.names) {
		far += 2
	}
	if site.Path != "." && !strings.HasPrefix(f.File, site.Path+"/") {
		far++
	}
	return far
}

// home finds the site that builds the object which holds the version, beginning with the application's owner.
func home(ctx context.Context, tree fs.FS, sites []Site, app gitops.Application, v gitops.Version) (Site, []string, []render.Object, error) {
	own := slices.DeleteFunc(slices.Clone(sites), func(s Site) bool { return s.Environment != app.Environment })
	slices.SortStableFunc(own, func(a, b Site) int {
		isOwner := func(s Site) int {
			if app.Owner != nil && s.Namespace == app.Owner.Namespace && s.Name == app.Owner.Name {
				return 0
			}
			return 1
		}
		return isOwner(a) - isOwner(b)
	})
	var problem error
	for _, site := range own {
		files, err := render.Files(ctx, tree, site.Kustomization)
		if ctx.Err() != nil {
			return Site{}, nil, nil, fmt.Errorf("build %s: %w", site.Path, ctx.Err())
		}
		if err != nil {
			problem = cmp.Or(problem, err)
			continue
		}
		objects, err := render.Build(ctx, tree, site.Kustomization)
		if ctx.Err() != nil {
			return Site{}, nil, nil, fmt.Errorf("build %s: %w", site.Path, ctx.Err())
		}
		if err != nil {
			problem = cmp.Or[error](problem, &gitops.Refusal{Code: gitops.Layout, Cause: err,
				Reason:  fmt.Sprintf("What Flux Kustomization %s/%s builds from %s does not build at this commit.", site.Namespace, site.Name, site.Path),
				Details: []string{firstLine(err)}})
			continue
		}
		if _, ok := object(objects, v.Object); ok {
			return site, files, objects, nil
		}
	}
	return Site{}, nil, nil, cmp.Or[error](problem, &gitops.Refusal{Code: gitops.NotInGit,
		Reason: fmt.Sprintf("No Flux Kustomization of %s builds %s from this repository.", app.Environment, v.Object)})
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// groups of the kinds that Flux acts on: others may have the same name.
var groups = map[string]string{"HelmRelease": "helm.toolkit.fluxcd.io", "OCIRepository": "source.toolkit.fluxcd.io",
	"Deployment": "apps", "StatefulSet": "apps", "DaemonSet": "apps"}

func object(objects []render.Object, want gitops.Object) (render.Object, bool) {
	i := slices.IndexFunc(objects, func(o render.Object) bool {
		group := groups[want.Kind]
		return o.Kind == want.Kind && o.Name == want.Name && (o.Namespace == want.Namespace || o.Namespace == "") &&
			(group == "" || strings.HasPrefix(value(o.Fields, "apiVersion"), group+"/"))
	})
	if i < 0 {
		return render.Object{}, false
	}
	return objects[i], true
}

// stated returns the one version that a build states for v.
func stated(objects []render.Object, v gitops.Version) (string, error) {
	text, err := text(objects, v)
	if err == nil && v.Kind == gitops.ChartVersion && v.Object.Kind != "OCIRepository" && !gitops.ExactVersion(text) {
		return "", &gitops.Refusal{Code: gitops.Range, Reason: fmt.Sprintf("%s follows the range %q; ferry does not replace a range by one version.", v.Object, text)}
	}
	return text, err
}

// text returns what a build states as the version of v.
func text(objects []render.Object, v gitops.Version) (string, error) {
	o, ok := object(objects, v.Object)
	if !ok {
		return "", &gitops.Refusal{Code: gitops.NotInGit, Reason: fmt.Sprintf("%s is not built from this repository.", v.Object)}
	}
	var text string
	switch o.Kind {
	case "HelmRelease":
		text = value(o.Fields, "spec", "chart", "spec", "version")
	case "OCIRepository":
		for _, stronger := range []string{"digest", "semver"} {
			if set := value(o.Fields, "spec", "ref", stronger); set != "" {
				code := map[string]gitops.Code{"digest": gitops.Digest, "semver": gitops.Range}[stronger]
				return "", &gitops.Refusal{Code: code, Reason: fmt.Sprintf("%s follows spec.ref.%s %s, which wins over a tag.", v.Object, stronger, set)}
			}
		}
		text = value(o.Fields, "spec", "ref", "tag")
	default:
		image := container(o.Fields, v.Container)
		if image == "" {
			return "", &gitops.Refusal{Code: gitops.NotFound, Reason: fmt.Sprintf("%s has no container %s.", v.Object, v.Container)}
		}
		_, tag, digest := gitops.SplitImage(image)
		if digest != "" {
			return "", &gitops.Refusal{Code: gitops.Digest, Reason: fmt.Sprintf("The image %s is pinned by its digest; a new tag beside the old digest would change nothing.", image)}
		}
		text = tag
	}
	switch {
	case text == "":
		return "", &gitops.Refusal{Code: gitops.NotFound, Reason: fmt.Sprintf("%s states no version in Git: it runs the newest there is.", v.Object)}
	case strings.Contains(text, "${"):
		return "", &gitops.Refusal{Code: gitops.Layout, Reason: fmt.Sprintf("The version of %s is the variable %s, which Flux fills in after the build.", v.Object, text)}
	}
	return text, nil
}

func value(fields map[string]any, keys ...string) string {
	var v any = fields
	for _, k := range keys {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// container returns the image of a container, by name, of a workload's template.
func container(fields map[string]any, name string) string {
	spec, _ := fields["spec"].(map[string]any)
	template, _ := spec["template"].(map[string]any)
	pod, _ := template["spec"].(map[string]any)
	for _, list := range containerLists {
		containers, _ := pod[list].([]any)
		for _, c := range containers {
			if m, _ := c.(map[string]any); m["name"] == name {
				return value(m, "image")
			}
		}
	}
	return ""
}

var containerLists = []string{"containers", "initContainers"}

// candidatesIn returns the scalars of a file that could hold v. A file that holds none and cannot be read is passed over.
func candidatesIn(tree fs.FS, file string, v gitops.Version) ([]Field, error) {
	raw, err := fs.ReadFile(tree, file)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	parsed, err := manifest.Parse(raw)
	if err != nil {
		return nil, inFile(file, err)
	}
	var fields []Field
	var refused error
	try := func(document int, names string, steps ...manifest.Step) {
		scalar, err := parsed.Scalar(document, steps...)
		if err != nil {
			if r := (*gitops.Refusal)(nil); errors.As(err, &r) && r.Code != gitops.NotFound {
				refused = cmp.Or(refused, inFile(file, err))
			}
			return
		}
		f := Field{File: file, Line: scalar.Line, Path: manifest.Path(steps), Value: scalar.Value, parsed: parsed, scalar: scalar, names: names}
		if steps[len(steps)-1].Key == "image" {
			repository, tag, digest := gitops.SplitImage(scalar.Value)
			if tag == "" || digest != "" {
				return
			}
			f.prefix, f.Value = repository+":", tag
		}
		fields = append(fields, f)
	}
	for d := range parsed.Len() {
		if parsed.Text(d, "sops", "version") != "" {
			return nil, inFile(file, &gitops.Refusal{Code: gitops.Secret, Reason: "the file is encrypted by SOPS"})
		}
		kind, name := parsed.Text(d, "kind"), parsed.Text(d, "metadata", "name")
		switch {
		case v.Object.Kind == "HelmRelease" && kind == "HelmRelease":
			try(d, name, manifest.Key("spec", "chart", "spec", "version")...)
		case v.Object.Kind == "OCIRepository" && kind == "OCIRepository":
			try(d, name, manifest.Key("spec", "ref", "tag")...)
		case v.Kind == gitops.ImageTag && kind == v.Object.Kind:
			for _, list := range containerLists {
				at := manifest.Key("spec", "template", "spec", list)
				try(d, name, append(at, manifest.Step{Name: v.Container}, manifest.Step{Key: "image"})...)
			}
		case v.Kind == gitops.ImageTag && (kind == "Kustomization" || kind == "Component" || kind == ""):
			for i := range parsed.Items(d, manifest.Step{Key: "images"}) {
				item, image := manifest.Step{Index: i}, ""
				if n, err := parsed.Scalar(d, manifest.Step{Key: "images"}, item, manifest.Step{Key: "newName"}); err == nil {
					image = n.Value
				}
				if n, err := parsed.Scalar(d, manifest.Step{Key: "images"}, item, manifest.Step{Key: "name"}); err == nil {
					image = cmp.Or(image, n.Value)
					if _, err := parsed.Scalar(d, manifest.Step{Key: "images"}, manifest.Step{Name: n.Value}, manifest.Step{Key: "name"}); err == nil {
						item = manifest.Step{Name: n.Value} // reads better than an index, where it is unique
					}
				}
				try(d, image, manifest.Step{Key: "images"}, item, manifest.Step{Key: "newTag"})
			}
		}
	}
	return fields, refused
}

// inFile words a refusal of package manifest as one about a file.
func inFile(file string, err error) error {
	r := (*gitops.Refusal)(nil)
	if !errors.As(err, &r) {
		return fmt.Errorf("edit %s: %w", file, err)
	}
	return &gitops.Refusal{Code: r.Code, Reason: fmt.Sprintf("%s cannot be edited safely: %s.", file, strings.TrimSuffix(r.Reason, ".")), Cause: r.Cause}
}

func (f Field) replace(version string) ([]byte, error) {
	content, err := f.parsed.Replace(f.scalar, f.prefix+version)
	if err != nil {
		return nil, inFile(f.File, err)
	}
	return content, nil
}

// Edit states version in the field: the edit, and the file's content after it.
func (f Field) Edit(version string) (gitops.Edit, gitops.File, error) {
	content, err := f.replace(version)
	if err != nil {
		return gitops.Edit{}, gitops.File{}, err
	}
	return gitops.Edit{File: f.File, Line: f.Line, Path: f.Path, Old: f.Value, New: version}, gitops.File{Path: f.File, Content: content}, nil
}

// StatedIn returns the version that the same field states in another revision of its file: same document (by kind,
// namespace and name), same path. It is false where the field is not there.
func (f Field) StatedIn(content []byte) (string, bool) {
	other, err := manifest.Parse(content)
	if err != nil {
		return "", false
	}
	identity := func(p *manifest.File, d int) [3]string {
		return [3]string{p.Text(d, "kind"), p.Text(d, "metadata", "namespace"), p.Text(d, "metadata", "name")}
	}
	for d := range other.Len() {
		if identity(other, d) != identity(f.parsed, f.scalar.Document) {
			continue
		}
		s, err := other.Scalar(d, f.scalar.Steps...)
		if err != nil {
			continue
		}
		if f.prefix == "" {
			return s.Value, s.Value != ""
		}
		_, tag, _ := gitops.SplitImage(s.Value)
		return tag, tag != ""
	}
	return "", false
}

// Prove builds what holds the version once more, with the field's edit as file. It refuses with code Unproved unless the
// version to is then stated, and returns what else changes in the same object: nothing, as a rule.
func (f Field) Prove(ctx context.Context, tree fs.FS, file gitops.File, to string) (besides []gitops.Rendered, err error) {
	after, err := render.Build(ctx, render.With(tree, file.Path, file.Content), f.site.Kustomization)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("build %s: %w", f.site.Path, ctx.Err())
	}
	unproved := &gitops.Refusal{Code: gitops.Unproved, Cause: err}
	if err != nil {
		unproved.Reason = fmt.Sprintf("After the edit, %s would no longer build.", f.site.Path)
		unproved.Details = []string{firstLine(err)}
		return nil, unproved
	}
	got, err := text(after, f.version)
	if err != nil || got != to {
		unproved.Reason = fmt.Sprintf("After the edit, %s would state %s, not %s.", f.version.Object, cmp.Or(got, "no version"), to)
		unproved.Cause = err
		return nil, unproved
	}
	was, _ := object(f.before, f.version.Object)
	is, _ := object(after, f.version.Object)
	changes, _ := render.Changes([]render.Object{was}, []render.Object{is})
	return slices.DeleteFunc(changes, func(c gitops.Rendered) bool {
		switch f.version.Object.Kind {
		case "HelmRelease":
			return c.Path == "spec.chart.spec.version"
		case "OCIRepository":
			return c.Path == "spec.ref.tag"
		}
		repository, _, _ := gitops.SplitImage(c.Old)
		other, _, _ := gitops.SplitImage(c.New)
		return repository == other && slices.ContainsFunc(containerLists, func(list string) bool {
			return c.Path == fmt.Sprintf("spec.template.spec.%s[name=%s].image", list, f.version.Container)
		})
	}), nil
}

// An Effect is what a change does in one environment.
type Effect struct {
	Changes []gitops.Rendered // for people: what is secret is masked
	Digest  string            // of the same changes unmasked
}

// Effects builds every site that reads the file, before and after a change of it, and returns what differs by
// environment. Sites that cannot be built from this repository alone are returned as unchecked. A site that built before
// and does not build after is a refusal of code Unproved.
func Effects(ctx context.Context, tree fs.FS, sites []Site, change gitops.File) (effects map[string]Effect, unchecked []Site, err error) {
	effects = map[string]Effect{}
	after := render.With(tree, change.Path, change.Content)
	for _, site := range sites {
		was, is, err := site.builds(ctx, tree, after, change.Path)
		switch {
		case ctx.Err() != nil:
			return nil, nil, fmt.Errorf("build what %s feeds: %w", change.Path, ctx.Err())
		case errors.Is(err, errUnchecked):
			unchecked = append(unchecked, site)
			continue
		case err != nil:
			return nil, nil, &gitops.Refusal{Code: gitops.Unproved, Cause: err,
				Reason:  fmt.Sprintf("With this change, what %s builds from %s would no longer build.", site.Environment, site.Path),
				Details: []string{firstLine(err)}}
		}
		if changes, digest := render.Changes(site.own(was), site.own(is)); len(changes) > 0 {
			e := effects[site.Environment]
			sum := sha256.Sum256([]byte(e.Digest + digest))
			effects[site.Environment] = Effect{append(e.Changes, changes...), hex.EncodeToString(sum[:])}
		}
	}
	return effects, unchecked, nil
}

var errUnchecked = errors.New("cannot be built from this repository alone")

// builds returns what a site builds from two trees that differ in a file: nothing, if it does not read it.
func (s Site) builds(ctx context.Context, before, after fs.FS, file string) (was, is []render.Object, err error) {
	files, err := render.Files(ctx, before, s.Kustomization)
	if err != nil {
		return nil, nil, errUnchecked
	}
	if !slices.Contains(files, file) {
		return nil, nil, nil
	}
	if was, err = render.Build(ctx, before, s.Kustomization); err != nil {
		return nil, nil, errUnchecked
	}
	is, err = render.Build(ctx, after, s.Kustomization)
	return was, is, err
}

// own leaves out the objects that are certainly another environment's: those in namespaces that are not this one's, as
// its HelmReleases' own or target namespace.
func (s Site) own(objects []render.Object) []render.Object {
	if len(s.Namespaces) == 0 {
		return objects
	}
	return slices.DeleteFunc(slices.Clone(objects), func(o render.Object) bool {
		return o.Namespace != "" && !slices.Contains(s.Namespaces, o.Namespace) &&
			!slices.Contains(s.Namespaces, value(o.Fields, "spec", "targetNamespace"))
	})
}

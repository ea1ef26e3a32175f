package layout

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/manifest"
)

// Locate finds the field of a version that a live application has. Errors are refusals: NotInGit, NotFound and Ambiguous
// (with the candidates), what Survey refuses the field with; or the context's.
func (t *Tree) Locate(ctx context.Context, env Environment, app gitops.Key, v gitops.Version) (Field, error) {
	fields, problems, err := t.Survey(ctx, env, nil, object(app).String())
	if err != nil {
		return Field{}, err
	}
	fields = versions(fields)
	if len(fields) == 0 {
		err := t.missing(ctx, env, object(app).String(), problems)
		if isRefusal(err, gitops.NotFound) && !t.makes(ctx, env, object(app)) {
			return Field{}, &gitops.Refusal{Code: gitops.NotInGit, Reason: fmt.Sprintf("No Flux Kustomization of %s builds %s from this repository.", env.Name, object(app))}
		}
		return Field{}, err
	}
	meant := slices.DeleteFunc(slices.Clone(fields), func(f Field) bool { return !f.Holds(v) })
	if len(distinct(meant)) > 1 {
		for _, is := range []func(f Field) bool{
			func(f Field) bool { return f.Version.Container == v.Container },
			func(f Field) bool { return v.Path != "" && f.reading.path == v.Path },
		} {
			if of := slices.DeleteFunc(slices.Clone(meant), func(f Field) bool { return !is(f) }); len(of) > 0 {
				meant = of
				break
			}
		}
	}
	what := cmp.Or(v.Container, v.Name)
	switch meant = distinct(meant); len(meant) {
	case 0:
		return Field{}, candidates(gitops.NotFound, fmt.Sprintf("No field in Git decides the %s version of %s (%s) in %s.", v.Kind, app.Name, what, env.Name), fields)
	case 1:
		return meant[0], meant[0].Refusal
	default:
		return Field{}, candidates(gitops.Ambiguous, fmt.Sprintf("Several fields in Git may decide the %s version of %s (%s) in %s.", v.Kind, app.Name, what, env.Name), meant)
	}
}

// makes says whether an environment builds an object.
func (t *Tree) makes(ctx context.Context, env Environment, o gitops.Object) bool {
	w, err := t.base(ctx, env)
	if err != nil {
		return false
	}
	for _, s := range w.sites {
		for _, built := range s.objects {
			if built.Kind == o.Kind && built.Name == o.Name && (built.Namespace == o.Namespace || built.Namespace == "") {
				return true
			}
		}
	}
	return false
}

// Holds says whether the field may be that of a version which a live application has. A workload of a HelmRelease is told
// by the value that states its image, or else by the image's name.
func (f Field) Holds(v gitops.Version) bool {
	switch image := f.Version.Kind == gitops.ImageTag; {
	case v.Kind != gitops.ImageTag:
		return !image && f.Version.Kind != gitops.Substitute
	case !image:
		return false
	case v.Object == f.Version.Object:
		return v.Container == f.Version.Container
	default:
		return v.Path != "" && v.Path == f.reading.path || gitops.ImageValue{Image: f.Version.Name}.Names(v.Name)
	}
}

// StatedIn returns the version that the same field states in another revision of its file. It is false where the field
// is not there: list items have to be about the same thing.
func (f Field) StatedIn(content []byte) (string, bool) {
	other, err := manifest.Parse(content)
	if err != nil {
		return "", false
	}
	s, err := other.Find(f.sameItems(other))
	if err != nil {
		return "", false
	}
	if _, version := gitops.SplitVersion(s.Value); version != "" && f.origin.scalar.Value != f.origin.token() && f.origin.end == len(strings.TrimSpace(f.origin.scalar.Value)) {
		return version, true
	}
	before, after := f.origin.scalar.Value[:f.origin.start], f.origin.scalar.Value[f.origin.end:]
	version, ok := strings.CutPrefix(s.Value, before)
	if !ok {
		return "", false
	}
	version, ok = strings.CutSuffix(version, after)
	return version, ok && version != ""
}

var itemStep = regexp.MustCompile(`\[([0-9]+)\]`)

// itemNames are what an item of a list is about.
var itemNames = []string{"name", "path", "target.kind", "target.name"}

// sameItems is the field's path in another revision: where an item of a list is about something else there, that of the
// one that is about the same.
func (f Field) sameItems(other *manifest.File) string {
	about := func(file *manifest.File, list string, i int) string {
		var names []string
		for _, name := range itemNames {
			value := ""
			if s, err := file.Find(list + "[" + strconv.Itoa(i) + "]." + name); err == nil {
				value = s.Value
			}
			names = append(names, value)
		}
		return strings.Join(names, "\n")
	}
	var path strings.Builder // in other
	end := 0
	for _, at := range itemStep.FindAllStringSubmatchIndex(f.Path, -1) {
		path.WriteString(f.Path[end:at[0]])
		end = at[1]
		index, err := strconv.Atoi(f.Path[at[2]:at[3]])
		if err != nil {
			return ""
		}
		wanted := about(f.parsed, f.Path[:at[0]], index)
		if about(other, path.String(), index) != wanted {
			const most = 200
			if index = 0; strings.TrimSpace(wanted) == "" {
				return ""
			}
			for about(other, path.String(), index) != wanted {
				if index++; index == most {
					return ""
				}
			}
		}
		path.WriteString("[" + strconv.Itoa(index) + "]")
	}
	return path.String() + f.Path[end:]
}

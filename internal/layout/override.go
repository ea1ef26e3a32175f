package layout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/manifest"
)

// An addition puts an item at the end of a list of a file.
type addition struct {
	file, list string
	item       manifest.Map
}

// override states a version that others share in the environment's own files: by a patch at the end of the kustomization
// that builds the object, an image there, or a patch in the Flux Kustomization. shared is the refusal to change what
// is shared, which stays where none of these can be shown to change this version alone.
func (t *Tree) override(ctx context.Context, env Environment, others []Environment, f Field, tag, digest string, shared error) (Result, error) {
	w, err := t.base(ctx, env)
	if err != nil {
		return Result{}, err
	}
	for _, a := range t.additions(w, f, f.reading.with(f, tag, digest)) {
		result, err := t.add(ctx, env, others, f, tag, digest, a)
		if ctx.Err() != nil {
			return Result{}, err
		}
		if err == nil {
			return result, nil
		}
	}
	refusal := &gitops.Refusal{Code: gitops.Shared, Reason: fmt.Sprintf("%s line %d is shared, and ferry found no place of %s's own where the version of %s could be stated. To change all who share it, add --shared.",
		f.File, f.Line, env.Name, f.Application.Name)}
	if r := (*gitops.Refusal)(nil); errors.As(shared, &r) {
		refusal.Details, refusal.Title = r.Details, r.Title
	}
	return Result{}, withCandidate(refusal, f)
}

// additions are the places where a version could be stated over what is shared, the nearest to its object first.
func (t *Tree) additions(w *walk, f Field, value string) (all []addition) {
	i := slices.IndexFunc(w.sites, func(s *site) bool { return s.key() == f.reading.site })
	if i < 0 {
		return nil
	}
	s := w.sites[i]
	var file string
	for _, name := range []string{"kustomization.yaml", "kustomization.yml", "Kustomization"} {
		if _, err := fs.Stat(t.files, path.Join(s.Path, name)); err == nil {
			file = path.Join(s.Path, name)
		}
	}
	if pointer, ok := jsonPointer(f.reading.path); ok {
		o := f.reading.object
		patch := manifest.Map{{Key: "target", Value: manifest.Map{{Key: "kind", Value: o.Kind}, {Key: "name", Value: regexp.QuoteMeta(o.Name)}}},
			{Key: "patch", Value: "- op: replace\n  path: " + pointer + "\n  value: " + strconv.Quote(value) + "\n"}}
		if file != "" {
			all = append(all, addition{file, "patches", patch})
		}
		if origin, list := t.declared(w, s); origin != "" {
			all = append(all, addition{origin, list, patch})
		}
	}
	if name, version := splitReference(value); file != "" && version != "" && strings.HasSuffix(f.reading.path, ".image") && !strings.Contains(version, "@") {
		all = append(all, addition{file, "images", manifest.Map{{Key: "name", Value: name}, {Key: "newTag", Value: version}}})
	}
	return all
}

// declared is the file that a site's Flux Kustomization stands in, and the path of its patches there.
func (t *Tree) declared(w *walk, s *site) (file, list string) {
	for _, file := range w.files() {
		if !yamlFile(file) {
			continue
		}
		parsed, err := t.parse(file)
		if err != nil {
			continue
		}
		for d := range parsed.file.Len() {
			if parsed.file.Text(d, "kind") == "Kustomization" && strings.HasPrefix(parsed.file.Text(d, "apiVersion"), "kustomize.toolkit.fluxcd.io/") &&
				parsed.file.Text(d, "metadata", "name") == s.Name {
				prefix := ""
				if parsed.file.Len() > 1 {
					prefix = "Kustomization/" + parsed.file.Text(d, "metadata", "namespace") + "/" + s.Name + ":"
				}
				return file, prefix + "spec.patches"
			}
		}
	}
	return "", ""
}

// add makes an addition and proves that it changes the field's version in its environment, and nothing else.
func (t *Tree) add(ctx context.Context, env Environment, others []Environment, f Field, tag, digest string, a addition) (Result, error) {
	parsed, err := t.parse(a.file)
	if err != nil {
		return Result{}, err
	}
	content, err := parsed.file.Append(a.list, a.item)
	if err != nil {
		return Result{}, inFile(a.file, err)
	}
	edit, err := added(parsed.file, content)
	if err != nil {
		return Result{}, inFile(a.file, err)
	}
	edit.File, edit.Kind, edit.New = a.file, f.Version.Kind, tag
	result := Result{Field: f, From: f.Value, To: tag, Effects: map[string]Effect{}, Edits: []gitops.Edit{edit}, Files: []gitops.File{{Path: a.file, Content: content}}}
	besides, err := t.effects(ctx, env, others, f, map[string][]byte{a.file: content}, tag, digest, &result)
	besides = slices.DeleteFunc(besides, func(line string) bool { // the addition itself, as the object has it
		return strings.HasPrefix(line, fmt.Sprintf("%s: Kustomization/%s spec.patches", env.Name, f.reading.site))
	})
	if err == nil && len(besides) > 0 {
		err = &gitops.Refusal{Code: gitops.Shared, Reason: a.file + " is shared too.", Details: besides}
	}
	return result, err
}

// added finds the scalar that holds the version: the last one that was not there before.
func added(before *manifest.File, content []byte) (gitops.Edit, error) {
	after, err := manifest.Parse(content)
	if err != nil {
		return gitops.Edit{}, err
	}
	known := map[string]bool{}
	before.Scalars(func(s manifest.Scalar) bool {
		known[s.Path] = true
		return true
	})
	var edit gitops.Edit
	after.Scalars(func(s manifest.Scalar) bool {
		if !known[s.Path] && !s.Holds {
			edit.Path, edit.Line = s.Path, s.Line
		}
		return true
	})
	return edit, nil
}

// jsonPointer turns the path of a reading into a JSON pointer, where it leads through maps and by numbers alone.
func jsonPointer(p string) (string, bool) {
	var b strings.Builder
	for p != "" {
		switch {
		case strings.HasPrefix(p, `["`):
			quoted, err := strconv.QuotedPrefix(p[1:])
			if err != nil {
				return "", false
			}
			key, err := strconv.Unquote(quoted)
			if err != nil || !strings.HasPrefix(p[1+len(quoted):], "]") {
				return "", false
			}
			b.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key))
			p = p[len(quoted)+2:]
		case p[0] == '[':
			number, rest, ok := strings.Cut(p[1:], "]")
			if _, err := strconv.Atoi(number); err != nil || !ok {
				return "", false
			}
			b.WriteString("/" + number)
			p = rest
		case p[0] == '.':
			p = p[1:]
		case p[0] == '|':
			return "", false
		default:
			end := strings.IndexAny(p, ".[|")
			if end < 0 {
				end = len(p)
			}
			b.WriteString("/" + p[:end])
			p = p[end:]
		}
	}
	return b.String(), b.Len() > 0
}

package layout

import (
	"cmp"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/render"
)

// An assembly is an artifact that Flux's ArtifactGenerator makes by copying directories of sources. A Flux Kustomization
// that is applied from it has a path of the artifact, not of the repository.
type assembly struct {
	Generator gitops.Object
	Copies    []copied // in order: a later one overwrites what is there
}

// A copied directory is one rule of an assembly.
type copied struct {
	Source gitops.Object
	From   string // directory of the source; "." is its root
	To     string // directory of the artifact
	Partly bool   // not simply all YAML files of the directory: what it copies is not known
}

// assemblies reads an ArtifactGenerator. Its rules are those of
// https://github.com/fluxcd/source-watcher/blob/main/docs/spec/v1beta1/artifactgenerators.md.
func assemblies(o render.Object) map[gitops.Object]assembly {
	sources := map[string]gitops.Object{}
	list, _ := at(o.Fields, "spec", "sources").([]any)
	for _, v := range list {
		s, _ := v.(map[string]any)
		sources[textAt(s, "alias")] = gitops.Object{Kind: textAt(s, "kind"), Namespace: cmp.Or(textAt(s, "namespace"), o.Namespace), Name: textAt(s, "name")}
	}
	all := map[gitops.Object]assembly{}
	list, _ = at(o.Fields, "spec", "artifacts").([]any)
	for _, v := range list {
		artifact, _ := v.(map[string]any)
		made := assembly{Generator: o.Object}
		rules, _ := artifact["copy"].([]any)
		for _, v := range rules {
			rule, _ := v.(map[string]any)
			alias, from, _ := strings.Cut(strings.TrimPrefix(textAt(rule, "from"), "@"), "/")
			to := strings.TrimPrefix(textAt(rule, "to"), "@artifact/")
			c := copied{Source: sources[alias], From: cleanPath(from), To: cleanPath(to), Partly: true}
			for _, all := range []string{"**", "**/*", "**/*.yaml"} {
				if dir, ok := strings.CutSuffix(from, all); ok && (dir == "" || strings.HasSuffix(dir, "/")) && !strings.ContainsAny(dir, `*?[{\`) {
					c.From, c.Partly = cleanPath(dir), !slices.Contains([]string{"", "Overwrite"}, textAt(rule, "strategy"))
					break
				}
			}
			made.Copies = append(made.Copies, c)
		}
		all[gitops.Object{Kind: "ExternalArtifact", Namespace: o.Namespace, Name: textAt(artifact, "name")}] = made
	}
	return all
}

// covering is the rule that a path of the artifact comes from; nil if there is none, or more than one may have written it.
func (a assembly) covering(p string) *copied {
	var found *copied
	for i, c := range a.Copies {
		switch {
		case !within(c.To, p):
		case found == nil || len(c.To) > len(found.To) && found.To != c.To || found.To == "." && c.To != ".":
			found = &a.Copies[i]
		case found.To == c.To:
			return nil
		}
	}
	if found == nil || found.Partly {
		return nil
	}
	return found
}

// inRepository gives the path that a path of the artifact has in the source that it is copied from.
func (c copied) inRepository(p string) string {
	if c.To == "." {
		return path.Join(c.From, p)
	}
	return path.Join(c.From, strings.TrimPrefix(p, c.To))
}

// keeps says whether files of a source lie in the artifact where they lie in the source, seen from a directory of each:
// what is built there is built of the same files then.
func (a assembly) keeps(source gitops.Object, dir, applied string, files []string) bool {
	return !slices.ContainsFunc(files, func(file string) bool {
		return !slices.ContainsFunc(a.Copies, func(c copied) bool {
			p, ok := c.inArtifact(source, file)
			if !ok {
				return false
			}
			here, err := filepath.Rel(dir, file)
			there, err2 := filepath.Rel(applied, p)
			from := a.covering(p)
			return err == nil && err2 == nil && here == there && from != nil && *from == c
		})
	})
}

// inArtifact gives the path that a path of a source has in the artifact.
func (c copied) inArtifact(source gitops.Object, p string) (string, bool) {
	if c.Source != source || c.Partly || !within(c.From, p) {
		return "", false
	}
	if c.From == "." {
		return path.Join(c.To, p), true
	}
	return path.Join(c.To, strings.TrimPrefix(p, c.From)), true
}

// assembled refuses what is applied through an artifact: ferry finds and explains it, and does not change it.
func (w *walk) assembled(r reading) error {
	i := slices.IndexFunc(w.sites, func(s *site) bool { return s.key() == r.site })
	if i < 0 || w.sites[i].Source.Kind != "ExternalArtifact" {
		return nil
	}
	s := w.sites[i]
	return &gitops.Refusal{Code: gitops.Layout, Reason: fmt.Sprintf("Flux Kustomization %s is applied from %s, which %s assembles of this repository's files. ferry does not edit through that.",
		s.key(), s.Source.Object, w.known.assemblies[s.Source.Object].Generator)}
}

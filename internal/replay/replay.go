package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/ferry-chatops/ferry/internal/git"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/operation"
)

// A class says how ferry would have done what people did.
type class int

const (
	same    class = iota // planned to the same bytes at once
	asked                // after it had asked, and was answered what the commit did
	refused              // with a code
	missed               // not found, though a root reads the file
	wrong                // planned to other bytes
	outside              // no root reads the file
	classes
)

func (c class) String() string {
	return [classes]string{"same bytes", "asked", "refused", "missed", "wrong", "outside"}[c]
}

// A verdict is what became of a bump.
type verdict struct {
	bump
	class
	code    gitops.Code   // of the refusal
	answers []gitops.Code // what it asked about
	why     string
}

// A player replays commits of one repository.
type player struct {
	history history
	objects *objects
	roots   []string
}

// play plans each bump of a commit on its parent's files.
func (p *player) play(ctx context.Context, c commit, bumps []bump) ([]verdict, error) {
	files, err := git.Local(ctx, p.history.dir, c.parent)
	if err != nil {
		return nil, err
	}
	repository := operation.Open(files)
	var places []place
	var roots []string
	for _, root := range p.roots {
		if info, err := fs.Stat(files, root); err != nil || !info.IsDir() {
			continue // it came later, or went
		}
		roots = append(roots, root)
		found, err := repository.Where(ctx, root, root, "")
		if r := (*gitops.Refusal)(nil); errors.As(err, &r) {
			continue // it does not build
		}
		if err != nil {
			return nil, fmt.Errorf("survey %s: %w", root, err)
		}
		for _, f := range found.Places {
			places = append(places, place{root, f})
		}
	}
	if len(roots) == 0 {
		return nil, errNoRoot
	}
	after := map[string][]byte{}
	for _, ch := range c.changed {
		if after[ch.file], err = p.objects.read(ch.after); err != nil {
			return nil, err
		}
	}
	var verdicts []verdict
	for _, b := range bumps {
		v := verdict{bump: b}
		i := slices.IndexFunc(places, func(at place) bool { return at.File == b.file && at.Line == b.line && at.holds(b.old) })
		if i < 0 {
			v.unlocated(ctx, repository, roots)
			verdicts = append(verdicts, v)
			continue
		}
		v.plan(ctx, repository, files, places[i], after)
		verdicts = append(verdicts, v)
	}
	return verdicts, nil
}

var errNoRoot = errors.New("none of the roots is there")

type place struct {
	root string
	operation.Place
}

// holds says whether a place is the scalar with this text: the version in it is what a place has as its value.
func (p place) holds(text string) bool {
	return p.Value == text || strings.HasSuffix(text, p.Value) || strings.Contains(text, p.Value)
}

// unlocated judges what no root has among its fields: whether ferry says why, and whether it should have been there.
func (v *verdict) unlocated(ctx context.Context, repository *operation.Repository, roots []string) {
	v.class = outside
	for _, root := range roots {
		if repository.Reads(ctx, root, v.file) {
			v.class = missed
		}
		_, err := repository.Plan(ctx, root, gitops.Promote{Version: v.version(), Change: gitops.Change{Environment: root, Application: v.name, Field: v.file + ":" + v.path}})
		if r := (*gitops.Refusal)(nil); errors.As(err, &r) && (r.Code == gitops.Layout || v.class == missed && strings.HasSuffix(v.kind, "*")) {
			v.class, v.code, v.why = refused, r.Code, r.Reason
			return
		}
	}
}

// otherField stands for a plan of the application's version where the commit changed another one of it.
const otherField gitops.Code = "other-field"

// plan asks as a user would who wants what the commit did, and answers what is asked back.
func (v *verdict) plan(ctx context.Context, repository *operation.Repository, files fs.FS, at place, after map[string][]byte) {
	request := gitops.Promote{Version: v.version(), Change: gitops.Change{Environment: at.root, Application: at.Owner.Kind + "/" + at.Owner.String()}}
	for {
		planned, err := repository.Plan(ctx, at.root, request)
		if err == nil && request.Field == "" && !slices.ContainsFunc(planned.Edits, func(e gitops.Edit) bool { return e.File == v.file && e.Line == v.line }) {
			v.answers = append(v.answers, otherField) // such as the chart's, where the image's was meant
			request.Field = at.File + ":" + at.Path
			continue
		}
		if err == nil {
			v.compare(files, planned, after)
			return
		}
		r := (*gitops.Refusal)(nil)
		if !errors.As(err, &r) {
			v.class, v.why = wrong, err.Error()
			return
		}
		v.class, v.code, v.why = refused, r.Code, r.Reason
		if slices.Contains(v.answers, r.Code) {
			return
		}
		switch r.Code {
		case gitops.Ambiguous, gitops.BadVersion, gitops.NotFound: // of another field, perhaps
			if request.Field != "" {
				return
			}
			request.Field = at.File + ":" + at.Path
		case gitops.Shared:
			request.Shared = true
		case gitops.Range:
			request.Pin = true
		case gitops.Digest:
			request.DropDigest = true
		default:
			return
		}
		v.answers = append(v.answers, r.Code)
	}
}

// compare holds the lines that a plan changes against those of the commit.
func (v *verdict) compare(files fs.FS, planned operation.Planned, after map[string][]byte) {
	v.class, v.code, v.why = same, "", ""
	if len(v.answers) > 0 {
		v.class = asked
	}
	hit := false
	for _, f := range planned.Content {
		before, err := fs.ReadFile(files, f.Path)
		if err != nil {
			v.class, v.why = wrong, err.Error()
			return
		}
		old, mine, theirs := bytes.Split(before, []byte("\n")), bytes.Split(f.Content, []byte("\n")), bytes.Split(after[f.Path], []byte("\n"))
		if len(old) != len(mine) || len(mine) != len(theirs) {
			v.class, v.why = wrong, fmt.Sprintf("%s would have %d lines; the commit made %d of %d", f.Path, len(mine), len(theirs), len(old))
			return
		}
		for i := range mine {
			if bytes.Equal(old[i], mine[i]) {
				continue
			}
			hit = hit || f.Path == v.file && i+1 == v.line
			if !bytes.Equal(mine[i], theirs[i]) {
				v.class, v.why = wrong, fmt.Sprintf("%s:%d: planned %q, the commit made %q", f.Path, i+1, mine[i], theirs[i])
				return
			}
		}
	}
	if !hit {
		v.class, v.why = wrong, fmt.Sprintf("%d other edits are planned", len(planned.Edits))
	}
}

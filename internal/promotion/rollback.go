package promotion

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/layout"
)

// A release is a stretch of a field's history in which it stated one version.
type release struct {
	version  string
	since    gitops.Commit // the commit that brought it
	trailers gitops.Trailers
	ours     bool // the commit is ferry's own: trailer and author
}

// rollback says that the release came by a rollback of ours.
func (r release) rollback() bool { return r.ours && r.trailers.RollbackOf != "" }

// name is what a rollback of it refers to: the promotion, or the commit where it was not ours.
func (r release) name() string {
	if r.ours {
		return r.trailers.Promotion
	}
	return r.since.SHA
}

// farthest is how many commits of a file are read back at most.
const farthest = 100

// Rollback answers rollback APPLICATION on ENVIRONMENT [to VERSION]: the release before the present one by the Git
// history of the field. A release that was rolled away from is passed over, so that a second rollback goes one
// further back and never forward.
func (s *Service) Rollback(ctx context.Context, request gitops.Rollback, by string) (Result, error) {
	line := func(name string) string {
		r := request
		r.Application, r.Confirm, r.Until, r.Yes = name, "", time.Time{}, false
		return gitops.Line(r)
	}
	if err := s.admit(request.Change, line(request.Application), by); err != nil {
		return Result{}, err
	}
	settings, err := s.settings(request.Environment, func(e string) string {
		request.Environment = e
		return line(request.Application)
	})
	if err != nil {
		return Result{}, err
	}
	app, via, err := s.find(ctx, request.Environment, request.Application, line)
	if err != nil {
		return Result{}, err
	}
	version, err := s.version(ctx, app, request.Change, settings, func(c gitops.Change) string {
		r := request
		r.Change, r.Confirm, r.Until, r.Yes = c, "", time.Time{}, false
		return gitops.Line(r)
	})
	if err != nil {
		return Result{}, err
	}
	in := intent{asked: request.Change, rollback: true, app: app, version: version, warnings: via, settings: settings}
	p, err := s.place(ctx, app, settings)
	if err != nil {
		return Result{}, err
	}
	field, err := in.locate(ctx, p)
	if err != nil {
		return Result{}, err
	}
	releases, err := s.releases(ctx, p, app.Key, field, request.To)
	if err != nil {
		return Result{}, err
	}
	target, ok := before(releases)
	if request.To != "" {
		target, ok = request.To, ran(releases, request.To)
	}
	if !ok {
		return Result{}, nothingToReturnTo(in, field, request.To, releases)
	}
	in.to, in.rollbackOf = target, releases[0].name()
	in.basis = fmt.Sprintf("Git history of %s", field.File)
	switch deployed := deployed(app, target); {
	case version.Kind == gitops.ImageTag: // Helm's history is about the chart
	case app.Helm != nil && deployed:
		in.basis += ", confirmed by Helm's history"
	case app.Helm != nil:
		in.basis += "; Helm's history here does not reach back to it"
	}
	return s.change(ctx, in, by)
}

// deployed says whether Helm's history has the version as one that was once running.
func deployed(app gitops.Application, version string) bool {
	return app.Helm != nil && slices.ContainsFunc(app.Helm.History, func(d gitops.HelmDeployment) bool {
		return gitops.SameVersion(d.Version, version) && (d.Status == "superseded" || d.Status == "deployed")
	})
}

// ran says that a version is among releases, the present one aside.
func ran(releases []release, version string) bool {
	return slices.ContainsFunc(releases[1:], func(r release) bool { return r.version == version })
}

// releases reads a field's history from Git, newest first, as far back as the answer needs: to the version asked for, or
// to the one before the present. The present one is always there.
func (s *Service) releases(ctx context.Context, p place, key gitops.Key, field layout.Field, to string) ([]release, error) {
	commits, err := p.repository.Commits(ctx, p.branch, field.File, farthest)
	if err != nil {
		return nil, err
	}
	viewer, err := p.repository.Viewer(ctx)
	if err != nil {
		return nil, err
	}
	requests, err := s.requests(ctx, p, key)
	if err != nil {
		return nil, err
	}
	merged := map[string]gitops.Trailers{} // of our pull requests, since a squash may leave the commit's out
	for _, r := range requests {
		if r.State == "merged" {
			merged[r.MergeCommit] = trailersOf(r)
		}
	}
	var releases []release
	for _, c := range commits {
		content, err := p.repository.File(ctx, field.File, c.SHA)
		if errors.Is(err, fs.ErrNotExist) {
			break // before this commit the file did not exist, or had another name
		}
		if err != nil {
			return nil, err
		}
		version, ok := field.StatedIn(content)
		if !ok {
			// The field came with the commit after this one. Where that was ours, it says what was inherited until then.
			if n := len(releases); n > 0 && releases[n-1].ours && releases[n-1].trailers.From != "" {
				releases = append(releases, release{version: releases[n-1].trailers.From, since: c})
			}
			break
		}
		trailers, ours := s.trailersIn(c, viewer)
		r := release{version: version, since: c, trailers: trailers, ours: ours}
		if t := merged[c.SHA]; !r.ours && t.Promotion != "" {
			r.trailers, r.ours = t, true
		}
		if n := len(releases); n > 0 && releases[n-1].version == version {
			releases[n-1] = r // the same version since an older commit
			continue
		}
		releases = append(releases, r)
		if _, ok := before(releases); ok && to == "" || to != "" && ran(releases, to) {
			break
		}
	}
	if len(releases) == 0 {
		return nil, &gitops.Refusal{Code: gitops.NotFound, Reason: fmt.Sprintf("Git has no history of %s.", field.File)}
	}
	return releases, nil
}

// before returns the version before the present one. Where the present one came by a rollback, that is the one before
// its own first appearance: the releases in between were rolled away from.
func before(releases []release) (string, bool) {
	i := 0
	for i < len(releases) && releases[i].rollback() {
		earlier := slices.IndexFunc(releases[i+1:], func(r release) bool { return r.version == releases[i].version })
		if earlier < 0 {
			return "", false
		}
		i += 1 + earlier
	}
	if i+1 >= len(releases) {
		return "", false
	}
	return releases[i+1].version, true
}

func nothingToReturnTo(in intent, field layout.Field, to string, releases []release) error {
	app := in.app
	refusal := &gitops.Refusal{Code: gitops.NotFound, Title: "No earlier release",
		Reason: fmt.Sprintf("%s in %s has no release before %s left to go back to, by the newest %d commits of %s.", app.Name, app.Environment, field.Value, farthest, field.File),
		Next:   []string{in.list()}}
	if to != "" {
		refusal.Title = fmt.Sprintf("%s never ran %s", app.Environment, to)
		refusal.Reason = fmt.Sprintf("The Git history of %s has no %s. To bring it there for the first time, promote it.", field.File, to)
		in.rollback = false
		refusal.Next = []string{in.line(to)}
	}
	var seen []string
	for _, r := range releases {
		if !slices.Contains(seen, r.version) {
			seen = append(seen, r.version)
			refusal.Details = append(refusal.Details, fmt.Sprintf("%s, since %s by %s", r.version, r.since.When.UTC().Format("2006-01-02 15:04"), cmp.Or(r.since.Author, "somebody")))
		}
	}
	return refusal
}

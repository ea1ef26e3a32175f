package promotion

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/layout"
)

// Recent is the answer to status without an application: ferry's newest change of each application of each environment,
// as Git tells it, newest first. Their state is Committed.
type Recent struct {
	Outcomes    []Outcome
	Unreachable []string // "prod: …"
}

// newestCommits is how many commits of a branch are searched for ferry's own.
const newestCommits = 100

// Status answers status APPLICATION on ENVIRONMENT: it finds ferry's newest change in Git, by trailer and author, and
// looks now how far the cluster has followed.
func (s *Service) Status(ctx context.Context, request gitops.Status) (Outcome, error) {
	settings, err := s.settings(request.Environment)
	if err != nil {
		return Outcome{}, err
	}
	app, err := s.find(ctx, request.Environment, request.Application, func(name string) string {
		return fmt.Sprintf("status %s on %s", name, request.Environment)
	})
	if err != nil {
		return Outcome{}, err
	}
	p, err := s.place(ctx, app, settings)
	if err != nil {
		return Outcome{}, err
	}
	in := intent{name: request.Application, app: app, settings: settings}
	commit, trailers, err := s.newest(ctx, p, app.Key)
	if err != nil {
		return Outcome{}, err
	}
	pr, err := s.newestRequest(ctx, p, app.Key)
	if err != nil {
		return Outcome{}, err
	}
	if pr.Number != 0 && pr.When.After(commit.When) && pr.State != "merged" {
		return in.waiting(pr), nil
	}
	merged, err := s.merged(ctx, p, pr, commit, trailers)
	if err != nil {
		return Outcome{}, err
	}
	if merged.SHA != "" {
		commit, trailers = merged, trailersOf(pr)
	}
	app, err = s.Cluster.Application(ctx, app.Key)
	if err != nil {
		return Outcome{}, err
	}
	if commit.SHA == "" {
		return s.untouched(in, app), nil
	}
	in.app, in.to = app, trailers.To
	outcome := Outcome{State: RollingOut, Rollback: trailers.RollbackOf != "", Application: app.Key, From: trailers.From, To: trailers.To,
		Commit: commit, RequestedBy: trailers.RequestedBy, Elapsed: s.Now().Sub(commit.When)}
	if merged.SHA != "" {
		outcome.PullRequest = pr
	}
	if in.version, err = changed(app, trailers, p); err != nil {
		return Outcome{}, err
	}
	outcome.Kind = in.version.Kind
	field, err := layout.Locate(p.tree, p.sites, app, in.version)
	if err != nil {
		return Outcome{}, err
	}
	if field.Value != trailers.To {
		outcome.State = Superseded
		outcome.Reason = fmt.Sprintf("Git states %s by now: somebody changed %s after this.", field.Value, field.File)
		outcome.Next = []string{"list " + in.name}
		return outcome, nil
	}
	expected := s.expect(ctx, in, p.repository, commit.SHA)
	outcome.State, outcome.Steps, outcome.Reason = expected.verify(app)
	if o := app.Owner; outcome.State == RollingOut && o != nil && !expected.arrived(o.Applied) {
		// A pull request that was merged, or a commit whose request got lost: nobody has told Flux yet.
		if err := s.Cluster.Reconcile(ctx, app); err != nil {
			s.Log.Warn("ask Flux to reconcile", "error", err)
		}
	}
	if outcome.State == RollingOut && outcome.Elapsed > settings.Timeout {
		outcome.State = Unconfirmed
	}
	return in.next(outcome), nil
}

// changed returns the version field that a commit of ours was about: the one whose field in Git states its version,
// or else the release's own.
func changed(app gitops.Application, trailers gitops.Trailers, p place) (gitops.Version, error) {
	for _, v := range app.Versions {
		if field, err := layout.Locate(p.tree, p.sites, app, v); err == nil && field.Value == trailers.To {
			return v, nil
		}
	}
	return app.Select(false, "")
}

// merged returns the commit that the newest pull request left on the branch, if that is the newest change. It counts,
// not the one of the request's own branch: that is as old as the request, and a squash may leave it and its trailers out.
func (s *Service) merged(ctx context.Context, p place, pr gitops.PullRequest, newest gitops.Commit, trailers gitops.Trailers) (gitops.Commit, error) {
	if pr.State != "merged" || trailersOf(pr).Promotion != trailers.Promotion && !pr.When.After(newest.When) {
		return gitops.Commit{}, nil
	}
	here, err := p.repository.Contains(ctx, p.head, pr.MergeCommit)
	if err != nil || !here { // merged into another branch
		return gitops.Commit{}, err
	}
	commits, err := p.repository.Commits(ctx, pr.MergeCommit, "", 1)
	if err != nil || len(commits) == 0 {
		return gitops.Commit{}, err
	}
	return commits[0], nil
}

func (in intent) waiting(r gitops.PullRequest) Outcome {
	t := trailersOf(r)
	o := Outcome{State: WaitsForMerge, Rollback: t.RollbackOf != "", Application: in.app.Key, From: t.From, To: t.To, PullRequest: r,
		RequestedBy: t.RequestedBy, Reason: "It goes on when somebody has merged the pull request.", Next: []string{in.status()}}
	if r.State == "closed" {
		o.State, o.Reason = NotMerged, "The pull request was closed without being merged, so nothing changed."
		o.Next = []string{"list " + in.name}
	}
	return o
}

func trailersOf(r gitops.PullRequest) gitops.Trailers {
	t, _ := gitops.ParseTrailers(r.Body)
	return t
}

// untouched answers for an application that ferry has not changed: how it is.
func (s *Service) untouched(in intent, app gitops.Application) Outcome {
	o := Outcome{State: NoChange, Application: app.Key, Next: []string{"list " + in.name}}
	v, ok := app.Release()
	if ok {
		o.Kind, o.From, o.To = v.Kind, v.Value, v.Value
	}
	o.Reason = fmt.Sprintf("ferry finds no change of its own for it in the newest %d commits. It is %s.", newestCommits, app.Health)
	if app.Health != gitops.Ready && app.Message != "" {
		o.Reason += " " + app.Message
	}
	return o
}

// newest finds ferry's newest commit for an application: the trailers, and our own credential as the author.
func (s *Service) newest(ctx context.Context, p place, key gitops.Key) (gitops.Commit, gitops.Trailers, error) {
	viewer, err := p.repository.Viewer(ctx)
	if err != nil {
		return gitops.Commit{}, gitops.Trailers{}, err
	}
	commits, err := p.repository.Commits(ctx, p.branch, "", newestCommits)
	if err != nil {
		return gitops.Commit{}, gitops.Trailers{}, err
	}
	for _, c := range commits {
		if t, ok := gitops.ParseTrailers(c.Message); ok && c.Author == viewer && t.Application == object(key).String() && t.Environment == key.Environment {
			return c, t, nil
		}
	}
	return gitops.Commit{}, gitops.Trailers{}, nil
}

// newestRequest finds ferry's newest pull request for an application, in the same way.
func (s *Service) newestRequest(ctx context.Context, p place, key gitops.Key) (gitops.PullRequest, error) {
	viewer, err := p.repository.Viewer(ctx)
	if err != nil {
		return gitops.PullRequest{}, err
	}
	requests, err := p.repository.PullRequests(ctx, branchPrefix(key))
	if err != nil {
		return gitops.PullRequest{}, err
	}
	i := slices.IndexFunc(requests, func(r gitops.PullRequest) bool {
		return r.Author == viewer && trailersOf(r).Application == object(key).String()
	})
	if i < 0 {
		return gitops.PullRequest{}, nil
	}
	return requests[i], nil
}

// Recent answers status without an application, from Git alone.
func (s *Service) Recent(ctx context.Context) (Recent, error) {
	type answer struct {
		places []place
		err    error
	}
	answers := make([]answer, len(s.Settings))
	var wg sync.WaitGroup
	for i, settings := range s.Settings {
		wg.Go(func() { answers[i].places, answers[i].err = s.places(ctx, settings) })
	}
	wg.Wait()
	var recent Recent
	read := map[string]bool{}
	seen := map[string]bool{}
	for i, a := range answers {
		if a.err != nil {
			recent.Unreachable = append(recent.Unreachable, s.Settings[i].Environment+": "+unseenReason(a.err))
		}
		for _, p := range a.places {
			at := p.name + "@" + p.branch
			if read[at] {
				continue
			}
			read[at] = true
			viewer, err := p.repository.Viewer(ctx)
			if err != nil {
				return Recent{}, err
			}
			commits, err := p.repository.Commits(ctx, p.branch, "", newestCommits)
			if err != nil {
				return Recent{}, err
			}
			for _, c := range commits {
				t, ok := gitops.ParseTrailers(c.Message)
				if id := t.Environment + " " + t.Application; ok && c.Author == viewer && !seen[id] {
					seen[id] = true
					recent.Outcomes = append(recent.Outcomes, Outcome{State: Committed, Rollback: t.RollbackOf != "", Application: key(t), From: t.From, To: t.To,
						Commit: c, RequestedBy: t.RequestedBy})
				}
			}
		}
	}
	slices.SortStableFunc(recent.Outcomes, func(a, b Outcome) int { return b.Commit.When.Compare(a.Commit.When) })
	return recent, nil
}

// key reads an application's key from a commit's trailers.
func key(t gitops.Trailers) gitops.Key {
	kind, rest, _ := strings.Cut(t.Application, "/")
	namespace, name, _ := strings.Cut(rest, "/")
	return gitops.Key{Environment: t.Environment, Kind: kind, Namespace: namespace, Name: name}
}

func unseenReason(err error) string {
	if r := (*gitops.Refusal)(nil); errors.As(err, &r) {
		return r.Reason
	}
	return "could not be read."
}

// places lists the repositories and branches that an environment's applications come from.
func (s *Service) places(ctx context.Context, settings Settings) ([]place, error) {
	apps, err := s.Cluster.Applications(ctx, settings.Environment)
	if err != nil {
		return nil, err
	}
	var places []place
	for _, a := range apps {
		p, err := s.origin(a, settings)
		if err == nil && !slices.ContainsFunc(places, func(o place) bool { return o.name == p.name && o.branch == p.branch }) {
			places = append(places, p)
		}
	}
	return places, nil
}

package promotion

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/layout"
	"github.com/ferry-chatops/ferry/internal/operation"
)

// Recent is the answer to status without an application: ferry's newest change of each application of each environment,
// newest first. The newest few are verified now; of the others it is said that they are in Git.
type Recent struct {
	Outcomes    []Outcome
	Unreachable []string // "prod: …"
}

// newestCommits is how many commits of a branch are searched for ferry's own.
const newestCommits = 100

// Status answers status APPLICATION on ENVIRONMENT: it finds ferry's newest change in Git, by trailer and author, and
// looks now how far the cluster has followed.
func (s *Service) Status(ctx context.Context, request gitops.Status) (Outcome, error) {
	settings, err := s.settings(request.Environment, func(e string) string {
		return gitops.Line(gitops.Status{Application: request.Application, Environment: e})
	})
	if err != nil {
		return Outcome{}, err
	}
	app, via, err := s.find(ctx, request.Environment, request.Application, func(name string) string {
		return gitops.Line(gitops.Status{Application: name, Environment: request.Environment})
	})
	if err != nil {
		return Outcome{}, err
	}
	p, err := s.place(ctx, app, settings)
	if err != nil {
		return Outcome{}, err
	}
	in := intent{asked: gitops.Change{Application: request.Application, Environment: request.Environment}, app: app, settings: settings}
	commit, trailers, err := s.newest(ctx, p, app.Key)
	if err != nil {
		return Outcome{}, err
	}
	pr, err := s.newestRequest(ctx, p, app.Key)
	if err != nil {
		return Outcome{}, err
	}
	if pr.Number != 0 && pr.When.After(commit.When) && pr.State != "merged" {
		outcome := in.waiting(pr)
		outcome.Warnings = via
		return outcome, nil
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
		outcome := s.untouched(in, app)
		outcome.Warnings = via
		return outcome, nil
	}
	in.app, in.to = app, trailers.To
	outcome := Outcome{State: RollingOut, Rollback: trailers.RollbackOf != "", Application: app.Key, From: trailers.From, To: trailers.To,
		Commit: commit, RequestedBy: trailers.RequestedBy, Elapsed: s.Now().Sub(commit.When), Warnings: via}
	if merged.SHA != "" {
		outcome.PullRequest = pr
	}
	if in.version, err = s.changed(ctx, app, commit, trailers, p, settings); err != nil {
		return Outcome{}, err
	}
	outcome.Kind, outcome.Of = in.version.Kind, in.of()
	field, err := in.locate(ctx, p)
	if err != nil {
		return Outcome{}, err
	}
	if field.Value != trailers.To {
		outcome.State = Superseded
		outcome.Reason = fmt.Sprintf("Git states %s by now: somebody changed %s after this.", field.Value, field.File)
		outcome.Next = []string{in.list()}
		return outcome, nil
	}
	expected := s.expect(ctx, in, p.repository, commit.SHA)
	outcome.State, outcome.Steps, outcome.Reason = expected.verify(app)
	if o := app.Owner; outcome.State == RollingOut && o != nil && (!expected.arrived(o.Applied) || expected.unwatched(app)) {
		// A pull request that was merged, or a commit whose request got lost: nobody has told Flux yet.
		if err := s.Cluster.Reconcile(ctx, app); err != nil {
			s.Log.Warn("ask Flux to reconcile", "error", err)
		}
	}
	switch {
	case outcome.State == RollingOut && outcome.Elapsed > settings.Timeout:
		outcome.State = Unconfirmed
	case outcome.State != RollingOut:
		outcome.Elapsed = 0 // when it ended is not known
	}
	return in.next(outcome), nil
}

// changed returns the version field that a commit of ours was about. A commit's trailers do not name it, so where the
// application has several fields in Git, it is the one that states the commit's version since that commit.
func (s *Service) changed(ctx context.Context, app gitops.Application, commit gitops.Commit, trailers gitops.Trailers, p place, settings Settings) (gitops.Version, error) {
	type candidate struct {
		version gitops.Version
		field   layout.Field
	}
	var candidates []candidate
	for _, v := range app.Versions {
		if field, err := (intent{app: app, version: v, settings: settings}).locate(ctx, p); err == nil {
			candidates = append(candidates, candidate{v, field})
		}
	}
	if len(candidates) == 1 {
		return candidates[0].version, nil
	}
	statedIn := func(f layout.Field, ref string) string {
		content, err := p.repository.File(ctx, f.File, ref)
		if err != nil {
			return ""
		}
		version, _ := f.StatedIn(content)
		return version
	}
	for _, c := range candidates {
		commits, err := p.repository.Commits(ctx, commit.SHA, c.field.File, 2)
		if err != nil || len(commits) < 2 {
			continue
		}
		if statedIn(c.field, commit.SHA) == trailers.To && statedIn(c.field, commits[1].SHA) != trailers.To {
			return c.version, nil
		}
	}
	for _, c := range candidates {
		if c.field.Value == trailers.To {
			return c.version, nil
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
		o.Next = []string{in.list()}
	}
	if in.app.Health != gitops.Ready {
		o.Reason += fmt.Sprintf(" Meanwhile %s is %s in %s.", in.app.Name, in.app.Health, in.app.Environment)
	}
	return o
}

func trailersOf(r gitops.PullRequest) gitops.Trailers {
	t, _ := gitops.ParseTrailers(r.Body)
	return t
}

// untouched answers for an application that ferry has not changed: how it is.
func (s *Service) untouched(in intent, app gitops.Application) Outcome {
	o := Outcome{State: NoChange, Application: app.Key, Next: []string{in.list()}}
	v, ok := app.Release()
	if ok {
		o.Kind, o.From, o.To = v.Kind, v.Value, v.Value
	}
	o.Reason = fmt.Sprintf("ferry finds no change of its own for it in the newest %d commits. It is %s.", newestCommits, app.Health)
	if app.Health != gitops.Ready && app.Message != "" {
		o.Reason += " " + oneLine(app.Message)
	}
	return o
}

// application is what trailers call one, in the grammar of Kubernetes' names.
var application = regexp.MustCompile(`^(HelmRelease|Deployment|StatefulSet|DaemonSet)/[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$`)

// trailersIn reads the trailers of a commit of ours. Anyone who pushes can write trailers, and an author's address too;
// what GitHub has signed for that author, as it does all commits made through its API, they cannot make.
func (s *Service) trailersIn(c gitops.Commit, viewer string) (gitops.Trailers, bool) {
	t, ok := gitops.ParseTrailers(c.Message)
	return t, ok && c.Author == viewer && (c.Signed || !s.Signed)
}

// changedSince says whether ferry has changed the application since a time: whoever pressed a button saw another state.
func (s *Service) changedSince(ctx context.Context, p place, key gitops.Key, since time.Time) (bool, error) {
	commit, _, err := s.newest(ctx, p, key)
	if err != nil || commit.SHA != "" && commit.When.After(since) {
		return err == nil, err
	}
	pr, err := s.newestRequest(ctx, p, key) // whose squash may have left the trailers out
	return pr.State == "merged" && pr.When.After(since), err
}

// newest finds ferry's newest commit for an application: the trailers, and our own credential as the author.
func (s *Service) newest(ctx context.Context, p place, key gitops.Key) (gitops.Commit, gitops.Trailers, error) {
	viewer, err := p.repository.Viewer(ctx)
	if err != nil {
		return gitops.Commit{}, gitops.Trailers{}, err
	}
	commits, err := p.repository.Commits(ctx, p.head, "", newestCommits) // what the tree is of, however the branch moves
	if err != nil {
		return gitops.Commit{}, gitops.Trailers{}, err
	}
	for _, c := range commits {
		if t, ok := s.trailersIn(c, viewer); ok && t.Application == object(key).String() && t.Environment == key.Environment {
			return c, t, nil
		}
	}
	return gitops.Commit{}, gitops.Trailers{}, nil
}

// newestRequest finds ferry's newest pull request for an application, in the same way; its Number is zero if there is none.
func (s *Service) newestRequest(ctx context.Context, p place, key gitops.Key) (gitops.PullRequest, error) {
	requests, err := s.requests(ctx, p, key)
	if err != nil || len(requests) == 0 {
		return gitops.PullRequest{}, err
	}
	return requests[0], nil
}

// requests lists ferry's own pull requests for an application, newest first: by branch, author and trailers.
func (s *Service) requests(ctx context.Context, p place, key gitops.Key) ([]gitops.PullRequest, error) {
	viewer, err := p.repository.Viewer(ctx)
	if err != nil {
		return nil, err
	}
	requests, err := p.repository.PullRequests(ctx, branchPrefix(key))
	return slices.DeleteFunc(requests, func(r gitops.PullRequest) bool {
		return r.Author != viewer || trailersOf(r).Application != object(key).String()
	}), err
}

// Recent answers status without an application, from Git alone.
func (s *Service) Recent(ctx context.Context) (Recent, error) {
	type answer struct {
		places []place
		err    error
	}
	answers := make([]answer, len(s.Settings))
	for i, err := range operation.Together(len(s.Settings), func(i int) (err error) {
		answers[i].places, err = s.places(ctx, s.Settings[i])
		return err
	}) {
		answers[i].err = err
	}
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
			var commits []gitops.Commit
			var requests []gitops.PullRequest
			if err == nil {
				commits, err = p.repository.Commits(ctx, p.branch, "", newestCommits)
			}
			if err == nil {
				requests, err = p.repository.PullRequests(ctx, "ferry/")
			}
			if err != nil {
				recent.Unreachable = append(recent.Unreachable, p.name+": "+unseenReason(err))
				continue
			}
			add := func(t gitops.Trailers, o Outcome) {
				id := t.Environment + " " + t.Application
				if seen[id] || !application.MatchString(t.Application) || !slices.Contains(s.environments(), t.Environment) {
					return
				}
				seen[id] = true
				o.Rollback, o.Application, o.From, o.To, o.RequestedBy = t.RollbackOf != "", key(t), t.From, t.To, t.RequestedBy
				recent.Outcomes = append(recent.Outcomes, o)
			}
			for _, r := range requests {
				if r.State == "open" && r.Author == viewer {
					add(trailersOf(r), Outcome{State: WaitsForMerge, PullRequest: r})
				}
			}
			for _, c := range commits {
				if t, ok := s.trailersIn(c, viewer); ok {
					add(t, Outcome{State: Committed, Commit: c})
				}
			}
		}
	}
	when := func(o Outcome) time.Time {
		if o.PullRequest.Number != 0 {
			return o.PullRequest.When
		}
		return o.Commit.When
	}
	slices.SortStableFunc(recent.Outcomes, func(a, b Outcome) int { return when(b).Compare(when(a)) })
	const verified = 5
	operation.Together(min(verified, len(recent.Outcomes)), func(i int) error {
		o := &recent.Outcomes[i]
		now, err := s.Status(ctx, gitops.Status{Application: object(o.Application).String(), Environment: o.Application.Environment})
		if err == nil {
			*o = now
		}
		return err // it stays what Git says
	})
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

// Failed says that nothing could be read at all.
func (r Recent) Failed() bool { return len(r.Outcomes) == 0 && len(r.Unreachable) > 0 }

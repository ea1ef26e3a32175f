package promotion

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

const (
	cardLife    = 15 * time.Minute // how long a card can be confirmed
	longestLife = 30 * time.Minute // further ahead a confirmation may not reach, whatever it says
	attempts    = 5                // at a branch that moves
)

// Promote answers promote APPLICATION@VERSION to ENVIRONMENT: with a card, or where that is confirmed, with what became
// of it. Nothing is written unless a plan with exactly the confirmed hash can still be made. by is who asks.
func (s *Service) Promote(ctx context.Context, request gitops.Promote, by string) (Result, error) {
	if err := s.admit(request.Change, plainly(request)(request.Application), by); err != nil {
		return Result{}, err
	}
	in, err := s.resolve(ctx, request)
	if err != nil {
		return Result{}, err
	}
	return s.change(ctx, in, by)
}

// admit refuses who may not change the environment, and a confirmation that came too late or would be valid for too long.
// line is what to type instead.
func (s *Service) admit(c gitops.Change, line, by string) error {
	if err := s.permit(by, c.Environment); err != nil || c.Confirm == "" {
		return err
	}
	switch now := s.Now(); {
	case now.After(c.Until):
		return &gitops.Refusal{Code: gitops.Expired, Reason: fmt.Sprintf("It could be confirmed until %s. Ask again to see what it would do now.", c.Until.UTC().Format("15:04 MST")), Next: []string{line}}
	case c.Until.Sub(now) > longestLife:
		return &gitops.Refusal{Code: gitops.Usage, Reason: fmt.Sprintf("--until may be at most %d minutes ahead.", int(longestLife.Minutes())), Next: []string{line}}
	}
	return nil
}

// change plans and, where that is confirmed, writes and verifies.
func (s *Service) change(ctx context.Context, in intent, by string) (Result, error) {
	warning, err := s.checkVersion(ctx, in)
	if err != nil {
		return Result{}, err
	}
	p, err := s.place(ctx, in.app, in.settings)
	if err != nil {
		return Result{}, err
	}
	mode, why, err := s.mode(ctx, p, in.settings, in.asked.PullRequest)
	if err != nil {
		return Result{}, err
	}
	plan, err := in.plan(ctx, p, mode == PullRequest)
	if errors.Is(err, errAlreadyThere) {
		return s.alreadyThere(ctx, in, p)
	}
	if err != nil {
		return Result{}, err
	}
	if err := s.permit(by, plan.Shared...); err != nil {
		return Result{}, err
	}
	rules := s.rules(by, append([]string{in.app.Environment}, plan.Shared...))
	if because := cmp.Or(rules.reviewed, s.unseen(by, plan.Unseen)); because != "" && mode != PullRequest {
		mode, plan.PullRequest, why = PullRequest, true, fmt.Sprintf("pull request to %s, because %s", p.branch, because)
	}
	warnings := append(slices.Clone(in.warnings), plan.Follow...)
	if warning != "" {
		warnings = append(warnings, warning)
	}
	paused := suspended(in.app)
	for _, object := range paused {
		warnings = append(warnings, fmt.Sprintf("%s is suspended: Flux does nothing with this change until it is resumed.", object))
	}
	warnings = append(warnings, s.besides(ctx, p, in, plan)...)
	card := func(note string) Result {
		until := s.Now().Add(cardLife).Truncate(time.Second)
		return Result{Card: &Card{
			Plan: plan, Rollback: in.rollback, Basis: in.basis, Direction: direction(plan.From, plan.To), Mode: why,
			Note: note, Warnings: slices.Concat(plan.Blind, warnings), Open: rules.open, Until: until, Confirm: in.confirm(plan, until),
		}}
	}
	switch asked := in.asked; {
	case asked.Confirm != "" && asked.Confirm != plan.Hash():
		return card("Nothing was written: the plan has changed since it was shown. This is the new one."), nil
	case asked.Confirm != "":
		newer, err := s.changedSince(ctx, p, in.app.Key, asked.Until.Add(-cardLife))
		if err != nil {
			return Result{}, err
		}
		if newer {
			if err := s.refresh(ctx, &p); err != nil {
				return Result{}, err
			}
			plan, err = in.plan(ctx, p, plan.PullRequest)
			if errors.Is(err, errAlreadyThere) { // the same button, pressed twice
				return s.alreadyThere(ctx, in, p)
			}
			if err != nil {
				return Result{}, err
			}
			return card("Nothing was written: ferry has changed it since this was shown. Confirm it again if you still want it."), nil
		}
	case !asked.Yes:
		return card(""), nil
	case rules.required != "":
		return card(fmt.Sprintf("Nothing was written: in %s, --yes does not count and changes have to be confirmed.", rules.required)), nil
	case gitops.Automation(by) && rules.unnamed != "":
		return card(fmt.Sprintf("Nothing was written: --yes of an automation counts only where a rule of access names it, and none for %s does.", rules.unnamed)), nil
	case len(paused) > 0:
		return card("Nothing was written: --yes does not count while something is suspended."), nil
	case len(plan.Blind) > 0:
		return card("Nothing was written: --yes does not count while it is not known what else changes."), nil
	}
	home, err := s.Cluster.Home(ctx)
	if err != nil {
		s.Log.Warn("read the home cluster's identity", "error", err) // a trailer without a value is left out
	}
	w := writer{Service: s, in: in, place: p, plan: plan, mode: mode, trailers: gitops.Trailers{
		Promotion: s.NewID(), Home: home, Application: object(in.app.Key).String(), Environment: in.app.Environment,
		From: plan.From, To: plan.To, RollbackOf: plan.RollbackOf, RequestedBy: by, Reason: in.asked.Reason,
	}}
	outcome, err := w.write(ctx)
	if moved := (*errChanged)(nil); errors.As(err, &moved) {
		plan = moved.plan
		return card("Nothing was written: the branch moved, and the plan changed with it. This is the new one."), nil
	}
	if err != nil {
		return Result{}, err
	}
	outcome.Warnings = slices.Concat(outcome.Warnings, plan.Blind, warnings)
	return Result{Outcome: &outcome}, nil
}

// rules are those of all environments that a change reaches, by the first that has each.
type rules struct {
	open     bool   // one has no rule for who may
	unnamed  string // its rule does not write out who asks
	required string // it requires a card
	reviewed string // that it takes pull requests only
}

// unseen says why a change that perhaps reaches some environments is to be reviewed: one of them takes nothing else, or who
// asks may not change it, and not to see it would be a way around its rule.
func (s *Service) unseen(by string, environments []string) string {
	for _, e := range s.Settings {
		if slices.Contains(environments, e.Environment) && (e.Mode == PullRequest || !e.Access.Permits(by)) {
			return fmt.Sprintf("it may change %s too, whose rules do not let you commit", e.Environment)
		}
	}
	return ""
}

func (s *Service) rules(by string, environments []string) (r rules) {
	for _, e := range s.Settings {
		if !slices.Contains(environments, e.Environment) {
			continue
		}
		r.open = r.open || e.Access.Open()
		if !e.Access.Names(by) {
			r.unnamed = cmp.Or(r.unnamed, e.Environment)
		}
		if !e.ConfirmOptional {
			r.required = cmp.Or(r.required, e.Environment)
		}
		if e.Mode == PullRequest {
			r.reviewed = cmp.Or(r.reviewed, e.Environment+" takes no other change")
		}
	}
	return r
}

func object(k gitops.Key) gitops.Object {
	return gitops.Object{Kind: k.Kind, Namespace: k.Namespace, Name: k.Name}
}

// mode decides between a commit and a pull request, and says why.
func (s *Service) mode(ctx context.Context, p place, settings Settings, asked bool) (Mode, string, error) {
	request, commit := "pull request to "+p.branch, "commit to "+p.branch
	if asked || settings.Mode == PullRequest {
		return PullRequest, request, nil
	}
	if settings.Mode == Commit {
		return Commit, commit, nil
	}
	direct, rule, err := p.repository.Direct(ctx, p.branch)
	if err != nil {
		return "", "", err
	}
	if direct {
		return Auto, commit, nil
	}
	return PullRequest, fmt.Sprintf("%s, because of its rule %s", request, rule), nil
}

func branchPrefix(k gitops.Key) string { return fmt.Sprintf("ferry/%s/%s/", k.Environment, k.Name) }

// errChanged says that a branch moved and that the plan on its new head is another one.
type errChanged struct{ plan gitops.Plan }

func (e *errChanged) Error() string { return "the plan changed to " + e.plan.Hash() }

// A writer carries one confirmed change through.
type writer struct {
	*Service
	in       intent
	place    place
	plan     gitops.Plan
	mode     Mode
	trailers gitops.Trailers
}

func (w *writer) title() string {
	if w.in.rollback {
		return fmt.Sprintf("Roll back %s to %s in %s", w.in.app.Name, w.plan.To, w.in.app.Environment)
	}
	return fmt.Sprintf("Promote %s to %s in %s", w.in.app.Name, w.plan.To, w.in.app.Environment)
}

func (w *writer) outcome(state State) Outcome {
	return Outcome{State: state, Rollback: w.in.rollback, Application: w.in.app.Key, Kind: w.plan.Kind, Of: w.in.of(), Shared: w.plan.Shared,
		From: w.plan.From, To: w.plan.To, RequestedBy: w.trailers.RequestedBy}
}

// write commits and verifies, or opens a pull request.
func (w *writer) write(ctx context.Context) (Outcome, error) {
	outcome, err := w.change(ctx)
	if err != nil || outcome.Commit.SHA == "" {
		return outcome, err
	}
	return w.follow(ctx, outcome, w.in, w.place.repository), nil
}

// change makes the change in Git, one at a time for each application.
func (w *writer) change(ctx context.Context) (Outcome, error) {
	release, err := w.Claims.claim(w.in, w.plan)
	if err != nil {
		return Outcome{}, err
	}
	defer release()
	if w.mode == PullRequest {
		return w.request(ctx)
	}
	commit, err := w.commit(ctx, w.place.branch)
	if errors.Is(err, ErrPullRequestRequired) && w.mode == Auto {
		return w.request(ctx)
	}
	if err != nil {
		return Outcome{}, w.refusal(err)
	}
	w.Log.Info("committed", "application", w.in.app.String(), "environment", w.in.app.Environment, "from", w.plan.From, "to", w.plan.To,
		"commit", commit.SHA, "by", w.trailers.RequestedBy)
	outcome := w.outcome(RollingOut)
	outcome.Commit = commit
	if err := w.Cluster.Reconcile(ctx, w.in.app); err != nil {
		w.Log.Warn("ask Flux to reconcile", "error", err)
		outcome.Warnings = append(outcome.Warnings, "Flux could not be asked to look at it now; it does at its own interval.")
	}
	w.others(ctx, &outcome)
	return outcome, nil
}

// others asks Flux to look in the other environments that the change reaches too. They are not waited for.
func (w *writer) others(ctx context.Context, outcome *Outcome) {
	for _, environment := range w.plan.Shared {
		key := w.in.app.Key
		key.Environment = environment
		app, err := w.Cluster.Application(ctx, key)
		if err == nil {
			err = w.Cluster.Reconcile(ctx, app)
		}
		if err != nil {
			w.Log.Warn("ask Flux to reconcile", "environment", environment, "error", err)
		}
		outcome.Warnings = append(outcome.Warnings, fmt.Sprintf("%s changes with it. How far it has come there is not part of this answer.", environment))
	}
}

// refusal words what the adapter could not.
func (w *writer) refusal(err error) error {
	switch {
	case errors.Is(err, ErrPullRequestRequired):
		return &gitops.Refusal{Code: gitops.Denied, Cause: err, Reason: fmt.Sprintf("%s takes changes through pull requests only. Ask for one with --pr.", w.place.branch)}
	case errors.Is(err, ErrOutcomeUnknown):
		return &gitops.Refusal{Code: gitops.Unreachable, Title: "It is not known whether this was written", Cause: err,
			Reason: "GitHub did not say whether it took the commit, and it could not be found. Look before you repeat it.",
			Next:   []string{w.in.status()}}
	case errors.Is(err, ErrMoved):
		return &gitops.Refusal{Code: gitops.Busy, Cause: err, Reason: fmt.Sprintf("%s moved %d times while this was being written. Nothing was written.", w.place.branch, attempts)}
	}
	return err
}

// commit writes the plan to a branch. Where the branch moved, it plans again; where the outcome is unknown, it looks for
// its own commit before it repeats the write.
func (w *writer) commit(ctx context.Context, branch string) (gitops.Commit, error) {
	message := w.title() + "\n\n" + w.trailers.String()
	var err error
	unknown := false
	for attempt := range attempts {
		var commit gitops.Commit
		commit, err = w.place.repository.Commit(ctx, branch, w.plan.Base, message, w.plan.Content)
		switch {
		case err == nil:
			return commit, nil
		case errors.Is(err, ErrOutcomeUnknown):
			w.Log.Warn("commit", "attempt", attempt+1, "error", err)
			unknown = true
			found, known := w.own(ctx, branch)
			if found.SHA != "" {
				return found, nil
			}
			if !known {
				return gitops.Commit{}, err
			}
		case errors.Is(err, ErrMoved):
			if unknown { // an earlier attempt may have arrived after all
				if found, _ := w.own(ctx, branch); found.SHA != "" {
					return found, nil
				}
			}
			if branch == w.place.branch {
				if err := w.again(ctx); err != nil {
					return gitops.Commit{}, err
				}
			}
		default:
			return gitops.Commit{}, err
		}
	}
	return gitops.Commit{}, err
}

// again plans on the branch's new head. Only the same plan goes on.
func (w *writer) again(ctx context.Context) error {
	if err := w.refresh(ctx, &w.place); err != nil {
		return err
	}
	plan, err := w.in.plan(ctx, w.place, w.plan.PullRequest)
	if errors.Is(err, errAlreadyThere) {
		return &gitops.Refusal{Code: gitops.Changed, Title: "Somebody was faster",
			Reason: fmt.Sprintf("%s states %s %s for %s by now. Nothing was written.", w.place.branch, w.plan.Kind, w.plan.To, w.in.app.Environment),
			Next:   []string{w.in.status()}}
	}
	if err != nil {
		return err
	}
	if plan.Hash() != w.plan.Hash() {
		return &errChanged{plan}
	}
	w.plan = plan
	return nil
}

// own looks for the commit of this very promotion: trailer and author, since anyone can write a trailer. It looks twice,
// because GitHub's replicas lag; known is false where it could not look.
func (w *writer) own(ctx context.Context, branch string) (commit gitops.Commit, known bool) {
	const newest = 20
	lag := cmp.Or(w.lag, 3*time.Second)
	viewer, err := w.place.repository.Viewer(ctx)
	if err != nil {
		return gitops.Commit{}, false
	}
	for look := range 2 {
		if look > 0 && !pause(ctx, lag) {
			return gitops.Commit{}, false
		}
		commits, err := w.place.repository.Commits(ctx, branch, "", newest)
		if err != nil {
			w.Log.Warn("look for our commit", "error", err)
			known = false
			continue
		}
		known = true
		for _, c := range commits {
			// Nobody else knows the id yet, so a signature is not asked for: a commit of ours that GitHub did not sign would
			// be written again.
			if t, ok := gitops.ParseTrailers(c.Message); ok && t.Promotion == w.trailers.Promotion && c.Author == viewer {
				return c, true
			}
		}
	}
	return gitops.Commit{}, known
}

// pause waits, and is false if the context ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// request opens a pull request from a branch of its own. Where one of ours that asks for the same is still open, that is
// the answer: a button can be pressed twice.
func (w *writer) request(ctx context.Context) (Outcome, error) {
	open, err := w.newestRequest(ctx, w.place, w.in.app.Key)
	if err != nil {
		return Outcome{}, err
	}
	if t := trailersOf(open); open.State == "open" && t.From == w.plan.From && t.To == w.plan.To && t.RollbackOf == w.plan.RollbackOf {
		return w.in.waiting(open), nil
	}
	branch := branchPrefix(w.in.app.Key) + w.trailers.Promotion
	if err := w.place.repository.CreateBranch(ctx, branch, w.plan.Base); err != nil {
		return Outcome{}, err
	}
	if _, err := w.commit(ctx, branch); err != nil {
		w.abandon(ctx, branch)
		return Outcome{}, w.refusal(err)
	}
	fence := "```"
	for strings.Contains(w.plan.Diff, fence) {
		fence += "`"
	}
	body := fmt.Sprintf("%s: %s %s → %s\n\n%[5]sdiff\n%[6]s%[5]s\n\n%[7]s", w.title(), w.plan.Kind, w.plan.From, w.plan.To, fence, w.plan.Diff, w.trailers.String())
	pr, err := w.place.repository.OpenPullRequest(ctx, branch, w.place.branch, w.title(), body)
	if err != nil {
		if !errors.Is(err, ErrOutcomeUnknown) { // where it may be open after all, it needs its branch
			w.abandon(ctx, branch)
		}
		return Outcome{}, err
	}
	w.Log.Info("opened pull request", "application", w.in.app.String(), "environment", w.in.app.Environment, "number", pr.Number, "by", w.trailers.RequestedBy)
	outcome := w.outcome(WaitsForMerge)
	outcome.PullRequest = pr
	outcome.Reason = "It goes on when somebody has merged the pull request."
	outcome.Next = []string{w.in.status()}
	return outcome, nil
}

// abandon removes the branch of a pull request that did not come about, even if the time for an answer is over.
func (w *writer) abandon(ctx context.Context, branch string) {
	const limit = 5 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	if err := w.place.repository.DeleteBranch(ctx, branch); err != nil {
		w.Log.Warn("delete the branch of a pull request that was not opened", "branch", branch, "error", err)
	}
}

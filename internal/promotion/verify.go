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

// An expectation is what has to be seen in the cluster.
type expectation struct {
	version gitops.Version // the field; its Object, Kind and Container count
	to      string
	// contains says whether a commit of the branch has the promotion's commit among its ancestors, or is it.
	contains func(sha string) bool
	// known says that some commit has arrived. Without it only versions are compared (a change that is not ours).
	known bool
}

// verify judges one observation of an application: the chain from the source to the pods, and where on it the change is.
// It is pure; what a state means is told in the order of the chain, the first link that is not done gives the reason.
func (e expectation) verify(app gitops.Application) (State, []Step, string) {
	var steps []Step
	state, reason := Verified, ""
	settle := func(s State, why string) {
		if state == Verified || s == RolloutFailed && state == RollingOut {
			state, reason = s, why
		}
	}
	add := func(step Step, paused bool) {
		step.Detail = oneLine(step.Detail)
		steps = append(steps, step)
		switch {
		case step.Done:
		case step.Failed:
			settle(RolloutFailed, step.Name+": "+step.Detail)
		case paused:
			settle(Paused, step.Name+" is suspended.")
		default:
			settle(RollingOut, "Waiting for "+step.Name+cmp.Or(prefixed(": ", step.Detail), "."))
		}
	}
	if o := app.Owner; o != nil && e.known {
		add(e.source(o.Source), o.Source.Condition.Suspended)
		add(e.kustomization(*o), o.Condition.Suspended)
	}
	if app.Helm != nil {
		add(e.helm(app), app.Helm.Condition.Suspended)
	}
	for _, w := range app.Workloads {
		add(e.workload(app, w), false)
	}
	if e.version.Kind == gitops.ImageTag && app.Helm != nil && !slices.ContainsFunc(app.Workloads, e.anywhere) {
		add(Step{Name: "Image " + e.version.Name, Detail: "no workload of the release runs " + e.to + " yet"}, false)
	}
	return state, steps, reason
}

// anywhere says whether a workload runs the image in the version expected.
func (e expectation) anywhere(w gitops.Workload) bool {
	return slices.ContainsFunc(w.Containers, func(c gitops.Container) bool {
		name, _, _ := gitops.SplitImage(c.Image)
		return name == e.version.Name && e.runs(c)
	})
}

// runs says whether a container runs the version expected: its tag, and where that has one its digest.
func (e expectation) runs(c gitops.Container) bool {
	_, tag, digest := gitops.SplitImage(c.Image)
	_, wantTag, wantDigest := gitops.SplitImage(":" + e.to)
	if strings.HasPrefix(e.to, "sha256:") {
		wantTag, wantDigest = "", e.to
	}
	return (wantTag == "" || tag == wantTag) && (wantDigest == "" || digest == wantDigest)
}

// oneLine keeps a stranger's text from beginning lines of its own.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// sha reads the commit from a revision of Flux: "main@sha1:<hex>", or in older ones "main/<hex>".
func sha(revision string) string {
	return revision[strings.LastIndexAny(revision, ":/")+1:]
}

func (e expectation) arrived(revision string) bool {
	commit := sha(revision)
	return commit != "" && e.contains(commit)
}

func (e expectation) source(s gitops.Source) Step {
	step := Step{Name: s.Kind + " " + s.Namespace + "/" + s.Name}
	switch {
	case e.arrived(s.Revision):
		step.Done, step.Detail = true, "has the commit"
	case s.Condition.Stalled:
		step.Failed, step.Detail = true, says(s.Condition)
	case s.Condition.Status == "False":
		step.Detail = says(s.Condition) // it fetches again
	default:
		step.Detail = "has not fetched the commit yet"
	}
	return step
}

// failures of kustomize-controller and helm-controller that they reach only by trying. Others, such as
// DependencyNotReady, are waiting.
var (
	kustomizationFailures = []string{"BuildFailed", "ReconciliationFailed", "PruneFailed", "ArtifactFailed"}
	helmFailures          = []string{"InstallFailed", "UpgradeFailed", "TestFailed", "RollbackSucceeded", "RollbackFailed", "UninstallSucceeded",
		"UninstallFailed", "ArtifactFailed", "RetriesExceeded", "MissingRollbackTarget"}
)

func (e expectation) kustomization(k gitops.Kustomization) Step {
	step := Step{Name: "Kustomization " + k.Namespace + "/" + k.Name}
	switch {
	case e.arrived(k.Applied) && k.Condition.Status == "True":
		step.Done, step.Detail = true, "applied it"
	case e.arrived(k.Attempted) && k.Condition.Status == "False" && k.Condition.Reason == "HealthCheckFailed":
		// Everything was applied; of what is not healthy, the application's own part shows in the links behind.
		step.Done, step.Detail = true, "applied it; "+says(k.Condition)
	case e.arrived(k.Attempted) && k.Condition.Status == "False" && slices.Contains(kustomizationFailures, k.Condition.Reason),
		k.Condition.Stalled && e.arrived(k.Attempted):
		step.Failed, step.Detail = true, says(k.Condition)
	case e.arrived(k.Attempted) || e.arrived(k.Applied):
		step.Detail = cmp.Or(says(k.Condition), "is applying it")
	case k.Condition.Status == "False":
		step.Detail = says(k.Condition)
	default:
		step.Detail = "has not applied the commit yet"
	}
	return step
}

// helm looks for the version that was asked for; where an image was changed instead, for a release that is ready.
func (e expectation) helm(app gitops.Application) Step {
	h := app.Helm
	step := Step{Name: "HelmRelease " + app.Namespace + "/" + app.Name}
	newest := gitops.HelmDeployment{}
	if len(h.History) > 0 {
		newest = h.History[0]
	}
	attempted := e.is(h.Attempted, h.Chart)
	if e.version.Kind == gitops.ImageTag {
		attempted = e.reached(app)
	}
	switch {
	case attempted && h.Condition.Status == "True" && newest.Status == "deployed" && e.is(newest.Version, h.Chart):
		step.Done, step.Detail = true, "deployed "+newest.Version
	case attempted && h.Condition.Stalled:
		step.Failed, step.Detail = true, says(h.Condition)
	case attempted && h.Condition.Status == "False" && slices.Contains(helmFailures, h.Condition.Reason):
		step.Detail = strings.TrimSuffix(says(h.Condition), ".") + ". Flux tries again"
	case !attempted && h.Chart.Condition.Status == "False":
		step.Detail = says(h.Chart.Condition)
	case attempted:
		step.Detail = cmp.Or(says(h.Condition), "is deploying it")
	case e.version.Kind == gitops.ImageTag:
		step.Detail = "has not got the new values yet"
	case h.Condition.Status == "False":
		step.Detail = says(h.Condition)
	default:
		step.Detail = "runs " + cmp.Or(newest.Version, "nothing") + " still"
	}
	if !step.Done {
		step.Detail = withProblems(step.Detail, app.Workloads)
	}
	return step
}

// reached says whether what a HelmRelease says may be about values with the new image, and not about those before.
func (e expectation) reached(app gitops.Application) bool {
	o := app.Owner
	if o == nil || !e.known {
		return true
	}
	checks := o.Condition.Reason == "HealthCheckFailed" || strings.Contains(o.Condition.Message, "health check")
	if !e.arrived(o.Applied) && (!e.arrived(o.Attempted) || !checks) {
		return false
	}
	// Where the HelmRelease itself has changed, it says nothing until its controller has looked at it.
	return strings.HasPrefix(e.version.Path, "spec.") || slices.ContainsFunc(app.Workloads, e.anywhere)
}

// is says whether a version that Helm knows is the one expected. Where an image was changed, any is. The tag of an
// OCIRepository is not what the chart calls itself: v7.0.0 holds 7.0.0, and stable holds whatever the source has fetched.
func (e expectation) is(version string, chart gitops.Chart) bool {
	switch {
	case e.version.Kind != gitops.ChartVersion || version == e.to:
		return true
	case e.version.Object.Kind != "OCIRepository":
		return false
	case gitops.ExactVersion(strings.ReplaceAll(e.to, "_", "+")):
		return gitops.SameVersion(version, e.to)
	default:
		return version != "" && chart.Version == e.to && chart.Condition.Status == "True"
	}
}

func (e expectation) workload(app gitops.Application, w gitops.Workload) Step {
	step := Step{Name: w.Kind + " " + w.Namespace + "/" + w.Name}
	current := true
	if e.version.Kind == gitops.ImageTag && w.Object == e.version.Object {
		i := slices.IndexFunc(w.Containers, func(c gitops.Container) bool { return c.Name == e.version.Container })
		current = i < 0 && app.Helm != nil || i >= 0 && e.runs(w.Containers[i]) // a chart may call its containers anew
	}
	ready := fmt.Sprintf("%d of %d ready", w.Ready, w.Replicas)
	if e.version.Kind == gitops.ImageTag && app.Helm != nil && e.anywhere(w) {
		ready += fmt.Sprintf(" with %s %s", e.version.Name[strings.LastIndexByte(e.version.Name, '/')+1:], e.to)
	}
	switch {
	case !current:
		step.Detail = "has not got the new image yet"
	case w.Health == gitops.Ready:
		step.Done, step.Detail = true, ready
	case w.Health == gitops.Failed && app.Helm == nil:
		step.Failed, step.Detail = true, withProblems(cmp.Or(w.Message, ready), []gitops.Workload{w})
	default: // of a HelmRelease, Helm says when it has failed: the failure seen may be of the release before
		step.Detail = withProblems(ready, []gitops.Workload{w})
	}
	return step
}

func says(c gitops.Condition) string {
	switch {
	case c.Reason == "":
		return c.Message
	case c.Message == "":
		return c.Reason
	}
	return c.Reason + ": " + c.Message
}

func withProblems(detail string, workloads []gitops.Workload) string {
	for _, w := range workloads {
		if len(w.Problems) > 0 {
			return strings.TrimSuffix(detail, ".") + ". " + w.Problems[0]
		}
	}
	return detail
}

// follow observes a committed change until it ends or the answer's time is over. It does not fail: what it could not
// see is in the outcome.
func (s *Service) follow(ctx context.Context, outcome Outcome, in intent, repository Repository) Outcome {
	const (
		look      = 250 * time.Millisecond
		firstLook = 5 * time.Second // it is taken however short the wait
	)
	begin := s.Now()
	wait := in.settings.Wait
	if done, ok := s.Claims.wait(); ok {
		defer done()
	} else {
		wait = 0 // one look, so that the host's workers stay free for others
	}
	outcome.Reason = "Flux has been asked to look; what it does has not been seen yet."
	expected := s.expect(ctx, in, repository, outcome.Commit.SHA)
	ctx, cancel := context.WithTimeout(ctx, max(wait, firstLook))
	defer cancel()
	nudged := false
	for {
		app, err := s.Cluster.Application(ctx, in.app.Key)
		switch {
		case err == nil:
			outcome.State, outcome.Steps, outcome.Reason = expected.verify(app)
			if outcome.State == RollingOut && !nudged && expected.unwatched(app) {
				nudged = true
				if err := s.Cluster.Reconcile(ctx, app); err != nil {
					s.Log.Warn("ask Flux to reconcile", "error", err)
				}
			}
		case ctx.Err() == nil:
			outcome.State, outcome.Reason = RollingOut, unseen(in.app.Key, err)
		}
		outcome.Elapsed = s.Now().Sub(begin)
		if outcome.State != RollingOut || s.Now().Sub(begin) >= wait || !pause(ctx, look) {
			break
		}
	}
	return in.next(outcome)
}

// unwatched says that the commit is applied, but Helm may look at it only at the HelmRelease's own interval: its values are in
// a ConfigMap, and changing that does not change the HelmRelease.
func (e expectation) unwatched(app gitops.Application) bool {
	return e.version.Kind == gitops.ImageTag && app.Helm != nil && !strings.HasPrefix(e.version.Path, "spec.") &&
		app.Owner != nil && e.known && e.arrived(app.Owner.Applied)
}

// unseen says why an application could not be observed.
func unseen(key gitops.Key, err error) string {
	if r := (*gitops.Refusal)(nil); errors.As(err, &r) {
		return r.Reason
	}
	return fmt.Sprintf("%s in %s could not be observed.", key.Name, key.Environment)
}

// next completes an outcome by what makes sense to do about it.
func (in intent) next(o Outcome) Outcome {
	switch o.State {
	case RolloutFailed:
		o.Next = []string{in.back(), in.status()}
	case Unconfirmed, RollingOut:
		o.Next = []string{in.status(), in.back()}
	case Paused:
		o.Next = []string{in.status()}
	case Verified:
		o.Next = []string{in.list()}
		if !o.Rollback {
			o.Next = append(o.Next, in.back())
		}
	}
	return o
}

// expect prepares verification against a commit, or, where that is empty, against versions alone. Whether one commit
// contains another is asked once for each pair.
func (s *Service) expect(ctx context.Context, in intent, repository Repository, commit string) expectation {
	known := map[string]bool{commit: true}
	e := expectation{version: in.version, to: in.to, known: commit != ""}
	e.contains = func(head string) bool {
		yes, ok := known[head]
		if !ok {
			var err error
			if yes, err = repository.Contains(ctx, head, commit); err != nil {
				s.Log.Warn("compare commits", "head", head, "commit", commit, "error", err)
				return false
			}
			known[head] = yes
		}
		return yes
	}
	return e
}

// alreadyThere answers a change that Git needs no edit for: the statement, and whether the cluster agrees.
func (s *Service) alreadyThere(ctx context.Context, in intent, p place) (Result, error) {
	outcome := Outcome{State: AlreadyThere, Warnings: in.warnings, Application: in.app.Key, Kind: in.version.Kind, From: in.to, To: in.to}
	app, err := s.Cluster.Application(ctx, in.app.Key)
	if err != nil {
		return Result{}, err
	}
	state, steps, reason := s.expect(ctx, in, p.repository, "").verify(app)
	outcome.Steps = steps
	outcome.Reason = fmt.Sprintf("Git states %s %s for it, and %s runs it.", in.version.Kind, in.to, in.app.Environment)
	if state != Verified {
		outcome.Reason = fmt.Sprintf("Git states %s %s for it already, but %s does not run it: %s", in.version.Kind, in.to, in.app.Environment, reason)
	}
	outcome.Next = []string{in.status(), in.list()}
	return Result{Outcome: &outcome}, nil
}

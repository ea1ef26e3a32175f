package promotion

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/operation"
)

// besides warns of what else is under way that a change meets: ferry's own earlier changes, Kustomizations that wait for
// it, and robots that would undo it. What cannot be looked at is no reason to refuse.
func (s *Service) besides(ctx context.Context, p place, in intent, plan gitops.Plan) []string {
	ask := []func() []string{
		func() []string { return s.underway(ctx, p, in) },
		func() []string { return dependants(p.after) },
		func() []string { return s.automation(ctx, p, in, plan) },
	}
	answers := make([][]string, len(ask))
	operation.Together(len(ask), func(i int) error {
		answers[i] = ask[i]()
		return nil
	})
	return slices.Concat(answers...)
}

// underway warns of pull requests of ours for the same application that nobody merged yet, and of its newest change
// where Flux has not applied that.
func (s *Service) underway(ctx context.Context, p place, in intent) (warnings []string) {
	requests, err := s.requests(ctx, p, in.app.Key)
	if err != nil {
		s.Log.Warn("list pull requests", "error", err)
	}
	for _, r := range requests {
		if r.State == "open" {
			warnings = append(warnings, fmt.Sprintf("Pull request #%d for it is still open: %s", r.Number, r.URL))
		}
	}
	commit, trailers, err := s.newest(ctx, p, in.app.Key)
	if err == nil && len(requests) > 0 {
		var merged gitops.Commit
		if merged, err = s.merged(ctx, p, requests[0], commit, trailers); merged.SHA != "" {
			commit, trailers = merged, trailersOf(requests[0])
		}
	}
	applied := false
	if at := sha(in.app.Owner.Applied); err == nil && commit.SHA != "" && at != "" {
		applied, err = p.repository.Contains(ctx, at, commit.SHA)
	}
	switch {
	case err != nil:
		s.Log.Warn("look for a change under way", "error", err)
	case commit.SHA != "" && !applied:
		warnings = append(warnings, fmt.Sprintf("Flux has not applied ferry's commit %.7s for it yet (%s → %s): ferry %s tells how far that is.", commit.SHA, cmp.Or(trailers.From, "-"), trailers.To, in.status()))
	}
	return warnings
}

// dependants warns of Kustomizations that Flux holds back until the change is rolled out.
func dependants(waiting []gitops.Object) []string {
	if len(waiting) == 0 {
		return nil
	}
	const shown = 5
	var names []string
	for _, o := range waiting[:min(shown, len(waiting))] {
		names = append(names, o.Namespace+"/"+o.Name)
	}
	text := strings.Join(names, ", ")
	if more := len(waiting) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return []string{fmt.Sprintf("%s: Flux holds back changes there until this one is applied and ready.", count(len(waiting), "Kustomization depends", "Kustomizations depend")+" on what changes here, "+text)}
}

// marker of Flux's image automation at the end of a line: {"$imagepolicy": "NAMESPACE:NAME[:tag|:name|:digest]"}.
var marker = regexp.MustCompile(`#\s*(\{\s*"\$imagepolicy"\s*:\s*"([^":\s]+):([^":\s]+)(?::(tag|name|digest))?"\s*\})\s*$`)

// automation warns of robots of Flux that would write another version into the edited lines. They need not be in the
// cluster that runs the application.
func (s *Service) automation(ctx context.Context, p place, in intent, plan gitops.Plan) (warnings []string) {
	type marked struct {
		gitops.Edit
		policy     gitops.Object
		part, text string
	}
	var lines []marked
	for _, e := range plan.Edits {
		content, err := fs.ReadFile(p.tree.FS(), e.File)
		if err != nil {
			s.Log.Warn("look for a marker of image automation", "error", err)
			continue
		}
		rows := bytes.Split(content, []byte("\n"))
		if e.Line < 1 || e.Line > len(rows) || path.Ext(e.File) == ".json" {
			continue
		}
		if m := marker.FindSubmatch(rows[e.Line-1]); m != nil {
			lines = append(lines, marked{e, gitops.Object{Kind: "ImagePolicy", Namespace: string(m[2]), Name: string(m[3])}, string(m[4]), string(m[1])})
		}
	}
	if len(lines) == 0 {
		return nil
	}
	answers := make([][]gitops.ImageAutomation, len(s.Settings))
	failures := operation.Together(len(s.Settings), func(i int) (err error) {
		answers[i], err = s.Cluster.Automations(ctx, s.Settings[i].Environment)
		return err
	})
	add := func(text string) {
		if !slices.Contains(warnings, text) {
			warnings = append(warnings, text)
		}
	}
	for _, line := range lines {
		known := false
		for i, robots := range answers {
			for _, robot := range robots {
				name, _, ok := s.follows(robot.Source, s.Settings[i])
				n := slices.IndexFunc(robot.Policies, func(policy gitops.ImagePolicy) bool { return policy.Object == line.policy })
				// Of a source that ferry may not read it cannot be told that it is another repository.
				ours := ok && strings.EqualFold(name, p.name) || robot.Source.Condition.Reason == "NotRead"
				if !ours || !robot.Covers(line.File) || n < 0 {
					continue
				}
				known = true
				version, undoes := robot.Policies[n].Writes(line.part, line.New)
				if !undoes || robot.Suspended {
					continue
				}
				does := "would undo this: it writes " + version + " there at its next run"
				if robot.Branch != "" && robot.Branch != p.branch {
					does = fmt.Sprintf("proposes to undo this: it writes %s there on the branch %s", version, robot.Branch)
				}
				add(fmt.Sprintf("%s %s, the newest that %s finds. Suspend it first (flux suspend image update %s -n %s), narrow the policy, or remove the marker %s from %s line %d.",
					robot.Object, does, line.policy, robot.Name, robot.Namespace, line.text, line.File, line.Line))
			}
		}
		for i, err := range failures {
			if err != nil && !known {
				s.Log.Warn("list image automations", "environment", s.Settings[i].Environment, "error", err)
				add(fmt.Sprintf("%s line %d is marked for image automation (%s), and whether that undoes this is not known: %s", line.File, line.Line, line.policy, unlisted(s.Settings[i].Environment, err)))
			}
		}
	}
	return warnings
}

// unlisted says why automations could not be listed.
func unlisted(environment string, err error) string {
	if r := (*gitops.Refusal)(nil); errors.As(err, &r) {
		return r.Reason
	}
	return "those of " + environment + " could not be listed."
}

package promotion

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/ferry-chatops/ferry/internal/compare"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/layout"
)

// An intent is what a change is about, once its words are resolved to an application and a version.
type intent struct {
	asked      gitops.Change // as typed
	rollback   bool
	app        gitops.Application
	version    gitops.Version // the field that is meant
	to         string
	rollbackOf string
	basis      string // of a rollback
	warnings   []string
	settings   Settings
}

// line is what was asked, its options included but no confirmation, with another version in it.
func (in intent) line(version string) string {
	c := in.asked
	c.Confirm, c.Until, c.Yes = "", time.Time{}, false
	return in.write(c, version)
}

// confirm is the line that does it.
func (in intent) confirm(plan gitops.Plan, until time.Time) string {
	c := in.asked
	c.Confirm, c.Until, c.Yes, c.PullRequest = plan.Hash(), until, false, plan.PullRequest
	return in.write(c, in.to)
}

func (in intent) write(c gitops.Change, version string) string {
	if in.rollback {
		return gitops.Line(gitops.Rollback{Change: c, To: version})
	}
	return gitops.Line(gitops.Promote{Change: c, Version: version})
}

// of is what --image takes for a version that does not stand for the application.
func (in intent) of() string {
	if release, ok := in.app.Release(); in.version.Kind != gitops.ImageTag || ok && release == in.version {
		return ""
	}
	return in.app.Option(in.version)
}

// chart says that the line has to say so where the chart is meant.
func (in intent) chart() bool {
	release, ok := in.app.Release()
	return in.version.Kind == gitops.ChartVersion && (!ok || release != in.version)
}

// status, list and back are lines about the same application, and back about the same field, to type next.
func (in intent) status() string {
	return gitops.Line(gitops.Status{Application: in.asked.Application, Environment: in.app.Environment})
}

func (in intent) list() string { return gitops.Line(gitops.List{Application: in.asked.Application}) }

func (in intent) back() string {
	c := gitops.Change{Application: in.asked.Application, Environment: in.app.Environment, Chart: in.asked.Chart || in.chart(), Shared: in.asked.Shared, Field: in.asked.Field, Image: cmp.Or(in.asked.Image, in.of())}
	return gitops.Line(gitops.Rollback{Change: c})
}

// errAlreadyThere ends planning where Git states the wanted version.
var errAlreadyThere = errors.New("git states this version already")

// word is what a version looks like that a line can name, and that a commit of ours can without calling anybody.
var word = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+-]*(@sha256:[0-9a-f]{64})?$|^sha256:[0-9a-f]{64}$`)

// former is what a version that is replaced may look like: a range too.
var former = regexp.MustCompile(`^[A-Za-z0-9_<>=~^*][A-Za-z0-9._+:@<>=~^*|, -]*$`)

// plan works out the edits at a place, and what they do to everything that is built from the branch.
func (in intent) plan(ctx context.Context, p place, request bool) (gitops.Plan, error) {
	field, err := in.locate(ctx, p)
	if err != nil {
		return gitops.Plan{}, err
	}
	if field.Value == in.to {
		return gitops.Plan{}, errAlreadyThere
	}
	own, others := p.environment(in.app.Environment)
	result, err := p.tree.PlanField(ctx, own, others, field, layout.Change{Application: in.app.String(), Version: in.to,
		Shared: in.asked.Shared, Override: in.asked.Override, Pin: in.asked.Pin, DropDigest: in.asked.DropDigest})
	if r := (*gitops.Refusal)(nil); errors.As(err, &r) && r.Code == gitops.Shared {
		again := in
		again.asked.Shared, again.asked.Override = true, false
		r.Next = []string{again.line(in.to)}
		if len(result.Override) > 0 && !in.rollback {
			again.asked.Shared, again.asked.Override = false, true
			r.Next = []string{again.line(in.to), r.Next[0]}
		}
	}
	if err != nil {
		return gitops.Plan{}, err
	}
	if len(result.Edits) == 0 {
		return gitops.Plan{}, errAlreadyThere
	}
	if !word.MatchString(in.to) || !former.MatchString(result.From) {
		return gitops.Plan{}, &gitops.Refusal{Code: gitops.BadVersion,
			Reason: fmt.Sprintf("%s line %d states %q now, and %q is no version to put there. Change it by hand.", field.File, field.Line, result.From, in.to)}
	}
	plan := gitops.Plan{
		Application: in.app.Key, Kind: in.version.Kind, VersionName: in.version.Name,
		Repository: p.name, Branch: p.branch, From: result.From, To: in.to, Edits: result.Edits, Shared: result.AlsoFeeds,
		Rendered: result.Effects[in.app.Environment].Changes, Digests: map[string]string{}, RollbackOf: in.rollbackOf, PullRequest: request,
		Base: p.head, Content: result.Files,
	}
	for _, file := range result.Files {
		before, err := fs.ReadFile(p.tree.FS(), file.Path)
		if err != nil {
			return gitops.Plan{}, fmt.Errorf("read %s: %w", file.Path, err)
		}
		plan.Diff += unified(file.Path, before, file.Content)
		changed, added, removed := compare.CountLines(before, file.Content)
		plan.Lines.Changed += changed
		plan.Lines.Added += added
		plan.Lines.Removed += removed
	}
	for _, other := range p.tree.Followers(ctx, own, field) {
		plan.Follow = append(plan.Follow, "This changes with it. "+other)
	}
	for environment, effect := range result.Effects {
		plan.Digests[environment] = effect.Digest
		if environment != in.app.Environment {
			if plan.Elsewhere == nil {
				plan.Elsewhere = map[string][]gitops.Rendered{}
			}
			plan.Elsewhere[environment] = effect.Changes
		}
	}
	for _, e := range p.unread {
		plan.Unseen = append(plan.Unseen, e)
		plan.Blind = append(plan.Blind, fmt.Sprintf("%s could not be read: whether this file feeds it too is not known.", e))
	}
	for _, u := range result.Unchecked {
		plan.Unseen = append(plan.Unseen, u.Environment)
		plan.Blind = append(plan.Blind, fmt.Sprintf("%s of %s cannot be built from this repository alone: whether this file feeds it too is not known.", u.Path, u.Environment))
	}
	return plan, nil
}

// locate finds the field in Git that is meant: the one that the line names, or the configuration, or the version's own.
func (in intent) locate(ctx context.Context, p place) (layout.Field, error) {
	own, _ := p.environment(in.app.Environment)
	if in.asked.Field != "" {
		field, err := p.tree.Choose(ctx, own, layout.Change{Application: in.app.Kind + "/" + in.app.String(), Field: in.asked.Field})
		if err == nil && (field.Version.Kind == gitops.ImageTag) != (in.version.Kind == gitops.ImageTag) {
			err = &gitops.Refusal{Code: gitops.Ambiguous, Candidates: []gitops.Candidate{field.Candidate()},
				Reason: fmt.Sprintf("%s holds the %s version of %s, and the %s version is meant. Say which with --chart or --image NAME.",
					in.asked.Field, field.Version.Kind, in.app.Name, in.version.Kind)}
		}
		if err != nil {
			return layout.Field{}, err
		}
		return field, field.Refusal
	}
	for _, l := range in.settings.located(in.app.Key) {
		if (l.Kind == gitops.ImageTag) != (in.version.Kind == gitops.ImageTag) {
			continue
		}
		field, err := configured(ctx, p, in.app.Key, l)
		if err != nil {
			return layout.Field{}, err
		}
		if field.Holds(in.version) {
			return field, field.Refusal
		}
	}
	return p.tree.Locate(ctx, own, in.app.Key, in.version)
}

// located are the fields that the configuration names for an application.
func (s Settings) located(key gitops.Key) (fields []gitops.Located) {
	for _, l := range s.Fields {
		if l.Application == key.Name && (l.Namespace == "" || l.Namespace == key.Namespace) {
			fields = append(fields, l)
		}
	}
	return fields
}

// configured finds a field that the configuration names, among those that hold a version of the application.
func configured(ctx context.Context, p place, key gitops.Key, l gitops.Located) (layout.Field, error) {
	own, _ := p.environment(key.Environment)
	field, err := p.tree.Choose(ctx, own, layout.Change{Application: key.Kind + "/" + key.String(), Field: l.File + ":" + l.Path})
	if err == nil && field.Version.Kind != l.Kind {
		err = &gitops.Refusal{Code: gitops.NotFound, Candidates: []gitops.Candidate{field.Candidate()},
			Reason: fmt.Sprintf("%s:%s holds the %s version of %s, not the %s version.", l.File, l.Path, field.Version.Kind, key.Name, l.Kind)}
	}
	if r := (*gitops.Refusal)(nil); errors.As(err, &r) {
		of := *r
		of.Title = "The configuration names another field"
		of.Reason += fmt.Sprintf(" The entry for %s under applications in ferry's configuration says so.", key.Name)
		return layout.Field{}, &of
	}
	return field, err
}

// version returns the one that a line means: by its options, the field that it names, or the configuration, or else the
// application's own. again gives the user's line with other options in it.
func (s *Service) version(ctx context.Context, app gitops.Application, asked gitops.Change, settings Settings, again func(gitops.Change) string) (gitops.Version, error) {
	fields := settings.located(app.Key)
	if asked.Chart || asked.Image != "" || asked.Field == "" && len(fields) != 1 {
		v, err := app.Select(asked.Chart, asked.Image)
		if r := (*gitops.Refusal)(nil); errors.As(err, &r) && !asked.Chart && asked.Image == "" {
			for _, v := range app.Versions {
				c := asked
				if c.Chart, c.Image = v.Kind == gitops.ChartVersion, ""; !c.Chart {
					c.Image = app.Option(v)
				}
				r.Next = append(r.Next, again(c))
			}
		}
		return v, err
	}
	p, err := s.place(ctx, app, settings)
	if err != nil {
		return gitops.Version{}, err
	}
	var field layout.Field
	whose := "which"
	if asked.Field == "" {
		whose = "which ferry's configuration names for " + app.Name + ","
		field, err = configured(ctx, p, app.Key, fields[0])
	} else {
		own, _ := p.environment(app.Environment)
		field, err = p.tree.Choose(ctx, own, layout.Change{Application: app.Kind + "/" + app.String(), Field: asked.Field})
	}
	if err != nil {
		return gitops.Version{}, err
	}
	for _, v := range app.Versions {
		if field.Holds(v) {
			return v, nil
		}
	}
	return gitops.Version{}, &gitops.Refusal{Code: gitops.NotFound, Candidates: []gitops.Candidate{field.Candidate()},
		Reason: fmt.Sprintf("%s:%s, %s holds a version that %s does not run in %s.", field.File, field.Path, whose, app.Name, app.Environment)}
}

// checkVersion asks the chart's source whether it has the version. A source that cannot be read is a warning.
func (s *Service) checkVersion(ctx context.Context, in intent) (warning string, err error) {
	if in.version.Kind == gitops.ImageTag {
		return fmt.Sprintf("Whether the registry has %s:%s is not checked.", in.version.Name, in.to), nil
	}
	if in.app.Helm == nil {
		return "", nil
	}
	chart := in.app.Helm.Chart
	if kind := chart.Source.Kind; kind == "GitRepository" || kind == "Bucket" {
		return "", &gitops.Refusal{Code: gitops.Layout,
			Reason: fmt.Sprintf("The chart of %s comes from %s, where Flux ignores the version field.", in.app.Name, chart.Source)}
	}
	release := in.version.Object.Kind == "HelmRelease"
	bad := &gitops.Refusal{Code: gitops.BadVersion, Reason: fmt.Sprintf("%s is not a chart version: those look like 1.2.3.", in.to)}
	if _, err := semver.NewVersion(in.to); err != nil && release {
		return "", bad
	}
	offered, err := s.Charts.Versions(ctx, chart)
	switch {
	case err != nil && release && !gitops.ExactVersion(in.to):
		return "", bad // Helm would read it as a range
	case err != nil:
		s.Log.Warn("list chart versions", "chart", chart.Name, "source", chart.Source.String(), "error", err)
		return fmt.Sprintf("Whether %s has version %s could not be checked: its source could not be read.", chart.Name, in.to), nil
	case slices.Contains(offered, in.to):
		return "", nil
	}
	const shown = 10
	refusal := &gitops.Refusal{Code: gitops.NoSuchVersion, Title: fmt.Sprintf("%s has no version %s", chart.Name, in.to),
		Reason: fmt.Sprintf("%s has %s.", chart.Source, strings.Join(offered[:min(shown, len(offered))], ", "))}
	if len(offered) > shown {
		refusal.Reason = fmt.Sprintf("The newest that %s has are %s.", chart.Source, strings.Join(offered[:shown], ", "))
	}
	if in.rollback {
		refusal.Reason = "It ran here once, but its source has it no longer. " + refusal.Reason
		refusal.Next = []string{in.list()}
	} else {
		for _, version := range offered[:min(3, len(offered))] {
			if word.MatchString(version) { // a source may offer anything
				refusal.Next = append(refusal.Next, in.line(version))
			}
		}
	}
	if len(offered) == 0 {
		refusal.Reason = fmt.Sprintf("%s has no version of it at all.", chart.Source)
	}
	return "", refusal
}

// unordered is the direction between versions that have none.
const unordered = "newer or older is not known"

// direction compares versions where they have an order; what is said of a digest beside them has none.
func direction(from, to string) string {
	from, _, _ = strings.Cut(from, "@")
	to, _, _ = strings.Cut(to, "@")
	a, errA := semver.NewVersion(from)
	b, errB := semver.NewVersion(to)
	switch {
	case from == to:
		return "same version"
	case errA != nil || errB != nil:
		return unordered
	case a.LessThan(b):
		return "upgrade"
	case b.LessThan(a):
		return "downgrade"
	default:
		return unordered
	}
}

// suspended names what Flux does not look at on the way to the application.
func suspended(app gitops.Application) []string {
	var paused []string
	if o := app.Owner; o != nil {
		if o.Source.Condition.Suspended {
			paused = append(paused, o.Source.String())
		}
		if o.Condition.Suspended {
			paused = append(paused, fmt.Sprintf("Kustomization/%s/%s", o.Namespace, o.Name))
		}
	}
	if h := app.Helm; h != nil {
		if h.Chart.Condition.Suspended {
			paused = append(paused, h.Chart.Source.String())
		}
		if h.Condition.Suspended {
			paused = append(paused, fmt.Sprintf("HelmRelease/%s/%s", app.Namespace, app.Name))
		}
	}
	return paused
}

// resolve turns promote's words into an intent.
func (s *Service) resolve(ctx context.Context, request gitops.Promote) (intent, error) {
	settings, err := s.settings(request.Environment, func(e string) string {
		r := request
		r.Environment = e
		return plainly(r)(r.Application)
	})
	if err != nil {
		return intent{}, err
	}
	if request.From != "" {
		if _, err := s.settings(request.From, func(e string) string {
			r := request
			r.From = e
			return plainly(r)(r.Application)
		}); err != nil {
			return intent{}, err
		}
		if request.From == request.Environment {
			return intent{}, &gitops.Refusal{Code: gitops.Usage, Title: "Nothing to promote", Reason: "Both environments are the same.",
				Next: []string{"diff " + request.Environment}}
		}
	}
	app, via, err := s.find(ctx, request.Environment, request.Application, plainly(request))
	if err != nil {
		return intent{}, err
	}
	version, err := s.version(ctx, app, request.Change, settings, func(c gitops.Change) string {
		r := request
		r.Change = c
		return plainly(r)(r.Application)
	})
	if err != nil {
		return intent{}, err
	}
	in := intent{asked: request.Change, app: app, version: version, to: request.Version, warnings: via, settings: settings}
	if request.From != "" {
		if err := s.versionIn(ctx, request, &in); err != nil {
			return intent{}, err
		}
	}
	return in, nil
}

// plainly gives promote's line with another name in it, without a confirmation.
func plainly(request gitops.Promote) func(name string) string {
	return func(name string) string {
		request.Application, request.Confirm, request.Until, request.Yes = name, "", time.Time{}, false
		return gitops.Line(request)
	}
}

// versionIn takes the version from what the same application runs in the environment promoted from.
func (s *Service) versionIn(ctx context.Context, request gitops.Promote, in *intent) error {
	app, like := in.app, in.version
	name := request.Application
	if !strings.Contains(name, "/") {
		name = app.Name // a workload's name may have meant it
	}
	source, _, err := s.find(ctx, request.From, name, plainly(request))
	if err != nil {
		return err
	}
	if source.Kind != app.Kind {
		return &gitops.Refusal{Code: gitops.Ambiguous,
			Reason: fmt.Sprintf("%s is a %s in %s and a %s in %s: their versions may count different things.", app.Name, source.Kind, request.From, app.Kind, request.Environment)}
	}
	image := cmp.Or(request.Image, like.Container)
	if app.Helm != nil && like.Kind == gitops.ImageTag { // a container's name may be that of several
		image = cmp.Or(request.Image, like.Name[strings.LastIndexByte(like.Name, '/')+1:])
	}
	version, err := source.Select(like.Kind == gitops.ChartVersion, image)
	if err != nil {
		return err
	}
	if version.Value == "" && (version.Kind != gitops.ImageTag || version.Digest == "") {
		return &gitops.Refusal{Code: gitops.NotFound, Reason: fmt.Sprintf("%s runs no version of %s at this moment.", request.From, app.Name), Next: []string{"list " + app.Name}}
	}
	if source.Health != gitops.Ready {
		in.warnings = append(in.warnings, fmt.Sprintf("%s is %s in %s, not Ready.", app.Name, source.Health, request.From))
	}
	in.to = version.Value
	if version.Kind == gitops.ImageTag && version.Digest != "" { // the same bytes
		in.to = strings.TrimPrefix(version.Value+"@"+version.Digest, "@")
		return nil
	}
	if version.Kind != gitops.ImageTag && version.Desired != "" && gitops.SameVersion(version.Desired, version.Value) {
		in.to = version.Desired // a registry's tag, which the chart does not call itself
	}
	return nil
}

package layout

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"reflect"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/Masterminds/semver/v3"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/manifest"
	"github.com/ferry-chatops/ferry/internal/render"
)

// A Change is a version that an application is to get.
type Change struct {
	Application string // NAME, NAMESPACE/NAME or KIND/NAMESPACE/NAME
	// Version is a tag, TAG@sha256:…, sha256:…, a chart version, a commit, or a range where the field holds one.
	Version string

	Chart bool   // the chart's version is meant
	Image string // the version of this container or image is meant
	Field string // FILE:PATH: this field is meant

	Shared     bool // agreed that more changes than the one version
	Override   bool // where more would change, add to a file that only this environment reads
	Pin        bool // agreed that one version replaces a range
	DropDigest bool // agreed that a digest beside the tag goes
}

// An Effect is what a change does in one environment.
type Effect struct {
	Changes []gitops.Rendered // for people: what is secret is masked
	Digest  string            // of the same changes unmasked
}

// A Result is a proved change of files.
type Result struct {
	Field Field
	From  string
	To    string // what the field states afterwards
	// Edits are empty where Git states the version already.
	Edits     []gitops.Edit
	Files     []gitops.File     // whole, after the edits
	Effects   map[string]Effect // by environment, of those that change
	AlsoFeeds []string          // the other environments among them
	// AlsoChanges are the objects of the environment itself that change beside what is meant: "HelmRelease/shop/orders"; or, of the
	// application's own, the places in them.
	AlsoChanges []string
	// Unchecked could not be built: whether the files feed them is not known.
	Unchecked []Problem
	// Override are, with a refusal Shared, the edits that Change.Override would make; none where there is no place for it.
	Override []gitops.Edit

	places []string // ids of what differs in the application's own objects
}

// Plan works out a change of an environment and proves it by building everything that reads the files, before and after.
// Errors are refusals, with the candidates that they speak of.
func (t *Tree) Plan(ctx context.Context, env Environment, others []Environment, change Change) (Result, error) {
	field, err := t.Choose(ctx, env, change)
	if err != nil {
		return Result{}, err
	}
	return t.PlanField(ctx, env, others, field, change)
}

// Choose finds the field that a change means.
func (t *Tree) Choose(ctx context.Context, env Environment, change Change) (Field, error) {
	fields, problems, err := t.Survey(ctx, env, nil, change.Application)
	if err != nil {
		return Field{}, err
	}
	fields = versions(fields)
	if len(fields) == 0 {
		return Field{}, t.missing(ctx, env, change.Application, problems)
	}
	return choose(fields, change)
}

// missing says why an application has no field.
func (t *Tree) missing(ctx context.Context, env Environment, app string, problems []Problem) error {
	w, err := t.base(ctx, env)
	if err != nil {
		return err
	}
	for _, s := range w.sites {
		for _, o := range s.objects {
			key := gitops.Key{Namespace: cmp.Or(o.Namespace, s.TargetNamespace), Kind: o.Kind, Name: o.Name}
			if named(key, app) && (o.Kind == "HelmRelease" || slices.Contains(workloads, o.Kind)) {
				return &gitops.Refusal{Code: gitops.NotFound, Reason: fmt.Sprintf("%s states no version in Git: it runs the newest there is.", o.Object)}
			}
		}
	}
	refusal := &gitops.Refusal{Code: gitops.NotFound, Reason: fmt.Sprintf("Nothing that is built for %s is called %s and has a version.", cmp.Or(env.Name, "this environment"), app)}
	places := mentions(t.files, app)
	var fallen error // of something that should have been built
	for _, p := range problems {
		r := (*gitops.Refusal)(nil)
		if !errors.As(p.Err, &r) {
			continue
		}
		i := slices.IndexFunc(w.sites, func(s *site) bool { return s.title() == p.Kustomization })
		if i >= 0 && w.sites[i].err != nil && t.reachesOn(ctx, w.sites[i]) {
			fallen = cmp.Or(fallen, p.Err)
		}
		if (i < 0 || w.sites[i].err != nil) && slices.ContainsFunc(places, func(file string) bool {
			return within(p.beginning(), file) || i >= 0 && slices.Contains(w.sites[i].files, file)
		}) {
			return p.Err
		}
		refusal.Details = append(refusal.Details, fmt.Sprintf("%s: %s", p.Kustomization, r.Reason))
	}
	if fallen != nil && len(places) > 0 { // it may be in what is not built
		return fallen
	}
	if len(places) > 0 {
		const shown = 3
		files := strings.Join(places[:min(shown, len(places))], ", ")
		if more := len(places) - shown; more > 0 {
			files += fmt.Sprintf(" and %d more files", more)
		}
		refusal.Reason = fmt.Sprintf("%s is defined in %s, but nothing that is built for %s reads that.", app, files, cmp.Or(env.Name, "this environment"))
		return refusal
	}
	for _, file := range mentions(t.all, app) {
		return &gitops.Refusal{Code: gitops.OutsideSource, Reason: fmt.Sprintf("%s is in %s, which is left out of what Flux sees of this repository, by .sourceignore or its defaults.", app, file)}
	}
	return refusal
}

// reachesOn says whether what a site that does not build would read, and lead to, is more than what is known of it.
func (t *Tree) reachesOn(ctx context.Context, s *site) bool {
	files, err := render.Files(ctx, t.files, s.Kustomization)
	return err != nil || slices.ContainsFunc(files, func(file string) bool {
		content, err := t.files.ReadFile(file)
		return err != nil || bytes.Contains(content, []byte(leading[0]))
	})
}

// mentions lists the files of a tree that have a HelmRelease or workload of a name, or that cannot be read and name something so.
func mentions(tree fs.FS, name string) (found []string) {
	name = name[strings.LastIndexByte(name, '/')+1:]
	named := regexp.MustCompile(`\bname:[ \t]*["']?` + regexp.QuoteMeta(name) + `["']?[ \t]*([,}#\r\n]|$)`)
	err := fs.WalkDir(tree, ".", func(file string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || !yamlFile(file) || path.Ext(file) == "" {
			return nil //nolint:nilerr // what cannot be read mentions nothing
		}
		content, err := fs.ReadFile(tree, file)
		if err != nil || !bytes.Contains(content, []byte(name)) {
			return nil //nolint:nilerr // likewise
		}
		parsed, err := manifest.Parse(content)
		if err != nil {
			if named.Match(content) {
				found = append(found, file)
			}
			return nil
		}
		for d := range parsed.Len() {
			kind := parsed.Text(d, "kind")
			if parsed.Text(d, "metadata", "name") == name && (kind == "HelmRelease" || slices.Contains(workloads, kind)) {
				found = append(found, file)
				break
			}
		}
		return nil
	})
	if err != nil {
		return nil
	}
	return found
}

// choose finds it among those of its application.
func choose(fields []Field, change Change) (Field, error) {
	if change.Field != "" {
		line := func(f Field) bool { // as where prints it; none beside it on the line
			return fmt.Sprintf("%s:%d", f.File, f.Line) == change.Field &&
				!slices.ContainsFunc(fields, func(o Field) bool { return o.File == f.File && o.Line == f.Line && o.Path != f.Path })
		}
		for _, f := range fields {
			if f.File+":"+f.Path == change.Field || line(f) || f.digest != nil && f.digest.file+":"+f.digest.scalar.Path == change.Field {
				return f, nil
			}
		}
		return Field{}, candidates(gitops.NotFound, fmt.Sprintf("%s is none of the fields that hold a version of %s.", change.Field, change.Application), fields)
	}
	// A HelmRelease is the application of its name, then a workload, and last what is Flux's alone.
	rank := func(f Field) int {
		switch kind := f.Application.Kind; {
		case kind == "HelmRelease":
			return 0
		case slices.Contains(workloads, kind):
			return 1
		case kind == "Kustomization" || kind == "ResourceSet":
			return 3
		}
		return 2
	}
	best := slices.MinFunc(fields, func(a, b Field) int { return rank(a) - rank(b) })
	all := fields
	fields = slices.DeleteFunc(slices.Clone(fields), func(f Field) bool { return rank(f) > rank(best) })
	if slices.ContainsFunc(fields, func(f Field) bool { return f.Application != fields[0].Application }) {
		return Field{}, candidates(gitops.Ambiguous, fmt.Sprintf("There are several applications called %s. Say which with NAMESPACE/NAME.", change.Application), fields)
	}
	var meant []Field
	switch {
	case change.Chart:
		meant = slices.DeleteFunc(slices.Clone(fields), func(f Field) bool { return f.Version.Kind == gitops.ImageTag || f.Version.Kind == gitops.Substitute })
	case change.Image != "":
		meant = slices.DeleteFunc(slices.Clone(fields), func(f Field) bool {
			return f.Version.Kind != gitops.ImageTag || f.Version.Container != change.Image && f.Version.Name != change.Image && nameOf(f.Version.Name) != change.Image
		})
	default:
		meant = defaults(fields)
		if strings.Contains(change.Version, "sha256:") { // charts have none
			if pinned := slices.DeleteFunc(slices.Clone(fields), func(f Field) bool {
				return f.Version.Kind != gitops.ImageTag && !strings.Contains(f.Value, "sha256:")
			}); len(pinned) > 0 {
				meant = pinned
			}
		}
	}
	meant = distinct(meant)
	switch len(meant) {
	case 0:
		return Field{}, candidates(gitops.NotFound, fmt.Sprintf("%s has no such version field.", change.Application), all)
	case 1:
		return meant[0], nil
	default:
		return Field{}, candidates(gitops.Ambiguous, fmt.Sprintf("%s has several version fields. Say which with --chart, --image NAME or --field FILE:PATH.", change.Application), meant)
	}
}

// candidates is a refusal that lists fields.
func candidates(code gitops.Code, reason string, fields []Field) error {
	r := &gitops.Refusal{Code: code, Reason: reason}
	for _, f := range fields {
		if c := f.Candidate(); f.File != "" && !slices.Contains(r.Candidates, c) {
			r.Candidates = append(r.Candidates, c)
			r.Details = append(r.Details, c.String())
		}
	}
	return r
}

// defaults are the fields that may stand for an application: the only one; the chart that is named like it; the container
// that is, where there is no chart.
func defaults(fields []Field) []Field {
	main := slices.DeleteFunc(slices.Clone(fields), func(f Field) bool { return f.Version.Init })
	if len(main) == 0 {
		main = fields
	}
	if len(distinct(main)) == 1 {
		return main
	}
	for _, f := range main {
		if f.Version.Kind == gitops.ChartVersion && f.Version.Name == f.Application.Name {
			return []Field{f}
		}
	}
	if f := main[0]; f.Application.Kind != "HelmRelease" {
		for _, f := range main {
			if f.Version.Container == f.Application.Name {
				return []Field{f}
			}
		}
	}
	return main
}

// distinct leaves out what is the same scalar again.
func distinct(fields []Field) []Field {
	type id struct{ file, path, value string }
	seen := map[id]bool{}
	return slices.DeleteFunc(slices.Clone(fields), func(f Field) bool {
		id := id{f.File, f.Path, f.Value}
		again := seen[id] && f.File != ""
		seen[id] = true
		return again
	})
}

// PlanField is Plan for a field that is known.
func (t *Tree) PlanField(ctx context.Context, env Environment, others []Environment, f Field, change Change) (Result, error) {
	if f.Refusal != nil {
		return Result{}, withCandidate(f.Refusal, f)
	}
	tag, digest, err := f.next(change)
	if err != nil {
		return Result{}, withCandidate(err, f)
	}
	result := Result{Field: f, From: f.Value, To: tag, Effects: map[string]Effect{}}
	if tag == f.origin.token() && (f.digest == nil || digest == f.digest.token()) {
		return result, nil
	}
	if result, err = t.prove(ctx, env, others, f, result, tag, digest, change); isRefusal(err, gitops.Unproved) && f.substituted(ctx, t, env) {
		// Filling in loses the quotes: those within the value stay.
		quoted, quotedErr := t.prove(ctx, env, others, f, Result{Field: f, From: f.Value, To: tag, Effects: map[string]Effect{}}, `"`+tag+`"`, digest, change)
		if quotedErr == nil || isRefusal(quotedErr, gitops.Shared) {
			result, err = quoted, quotedErr
		}
	}
	if isRefusal(err, gitops.Shared) {
		return t.alone(ctx, env, others, f, tag, digest, change, result, err)
	}
	return result, err
}

func withCandidate(err error, f Field) error {
	r := (*gitops.Refusal)(nil)
	if !errors.As(err, &r) || f.File == "" || len(r.Candidates) > 0 {
		return err
	}
	with := *r
	with.Candidates = []gitops.Candidate{f.Candidate()}
	return &with
}

// substituted says whether a field's version comes through a variable.
func (f Field) substituted(ctx context.Context, t *Tree, env Environment) bool {
	w, err := t.base(ctx, env)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(w.sites, func(s *site) bool {
		if s.Substitution == nil || s.key() != f.reading.site {
			return false
		}
		for _, value := range s.vars.Values {
			if value == f.origin.scalar.Value {
				return true
			}
		}
		return false
	})
}

var (
	tagPattern    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	chartPattern  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}$`)
	digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	commitPattern = regexp.MustCompile(`^[0-9a-f]{7,64}$`)
)

// next works out what the field's scalar is to state as the version, and the scalar of its digest.
func (f Field) next(change Change) (tag, digest string, err error) {
	refuse := func(code gitops.Code, format string, args ...any) (string, string, error) {
		return "", "", &gitops.Refusal{Code: code, Reason: fmt.Sprintf(format, args...)}
	}
	asked, now := change.Version, f.origin.token()
	whole := f.reading.token
	if pre, post, part := strings.Cut(whole, now); part && whole != now && !strings.Contains(whole, "@") { // v${VERSION}
		if rest, ok := strings.CutPrefix(asked, pre); ok {
			if rest, ok = strings.CutSuffix(rest, post); ok && rest != "" {
				asked = rest
			}
		}
	}
	path := f.reading.path
	ranged := f.Version.Kind != gitops.ImageTag && (strings.HasSuffix(path, "spec.version") || strings.HasSuffix(path, "ref.semver"))
	askedTag, askedDigest, _ := strings.Cut(asked, "@")
	if strings.HasPrefix(asked, "sha256:") {
		askedTag, askedDigest = "", asked
	}
	if askedDigest != "" && !digestPattern.MatchString(askedDigest) {
		return refuse(gitops.BadVersion, "%s is no version: a digest is sha256: and 64 hexadecimal digits.", change.Version)
	}
	switch {
	case ranged:
		_, parse := semver.NewConstraint(asked)
		switch exact := gitops.ExactVersion(asked); {
		case askedDigest != "" || parse != nil || len(asked) > 128:
			return refuse(gitops.BadVersion, "%s is no chart version: those look like 1.2.3.", change.Version)
		case gitops.ExactVersion(now) && !exact:
			return refuse(gitops.BadVersion, "%s is no chart version: those look like 1.2.3. The field holds %s, not a range.", change.Version, now)
		case !gitops.ExactVersion(now) && exact && !change.Pin:
			return refuse(gitops.Range, "%s follows the range %q. To replace it by %s alone, add --pin.", f.Application.Name, now, asked)
		}
		return asked, "", nil
	case strings.HasSuffix(path, "ref.commit"):
		if !commitPattern.MatchString(asked) {
			return refuse(gitops.BadVersion, "%s is no commit.", change.Version)
		}
		return asked, "", nil
	case askedTag != "" && !tagPattern.MatchString(askedTag) && (!chartPattern.MatchString(askedTag) || f.Version.Kind == gitops.ImageTag):
		return refuse(gitops.BadVersion, "%s is no version that a tag can be.", change.Version)
	}
	nowTag, nowDigest, pinned := strings.Cut(now, "@")
	if strings.HasPrefix(now, "sha256:") {
		nowTag, nowDigest, pinned = "", now, true
	}
	switch {
	case nowTag == "": // a digest alone
		if askedTag != "" {
			return refuse(gitops.Digest, "%s is pinned by its digest alone; a new tag would change nothing. Give the digest: sha256:….", f.Application.Name)
		}
		return askedDigest, "", nil
	case f.digest != nil:
		switch {
		case askedDigest != "":
			return cmp.Or(askedTag, nowTag), askedDigest, nil
		case change.DropDigest:
			return askedTag, "", nil
		case askedTag == nowTag:
			return nowTag, f.digest.token(), nil
		}
	case pinned:
		switch {
		case askedTag == "":
			return nowTag + "@" + askedDigest, "", nil
		case askedDigest != "" || change.DropDigest:
			return asked, "", nil
		}
	case askedDigest != "" && f.Version.Kind != gitops.ImageTag:
		return refuse(gitops.Digest, "The field holds a tag, and there is none for a digest beside it.")
	case askedTag == "":
		return nowTag + "@" + askedDigest, "", nil
	default:
		return asked, "", nil
	}
	return refuse(gitops.Digest, "%s is pinned by its digest too, %s, which would win over a new tag. Give both as TAG@sha256:…, or drop the digest with --drop-digest.",
		f.Application.Name, cmp.Or(nowDigest, f.digestToken()))
}

func (f Field) digestToken() string {
	if f.digest == nil {
		return ""
	}
	return f.digest.token()
}

// prove makes the edits and builds what reads the files.
func (t *Tree) prove(ctx context.Context, env Environment, others []Environment, f Field, result Result, tag, digest string, change Change) (Result, error) {
	type value struct {
		origin
		new string
	}
	edits := []value{{f.origin, tag}}
	if f.digest != nil && digest != f.digest.token() {
		edits = append(edits, value{*f.digest, digest})
	}
	byFile := map[string][]manifest.Replacement{}
	for _, e := range edits {
		if e.new == e.token() {
			continue
		}
		byFile[e.file] = append(byFile[e.file], manifest.Replacement{Scalar: e.scalar, Value: e.with(e.new)})
		result.Edits = append(result.Edits, gitops.Edit{File: e.file, Line: e.scalar.Line, Path: e.scalar.Path, Kind: f.Version.Kind, Old: e.token(), New: e.new})
	}
	var anchored error // why the scalar cannot be changed alone
	changed := map[string][]byte{}
	for _, e := range result.Edits {
		if changed[e.File] != nil {
			continue
		}
		parsed, err := t.parse(e.File)
		if err != nil {
			return Result{}, err
		}
		content, err := parsed.file.ReplaceAll(byFile[e.File])
		if isRefusal(err, gitops.Alias) {
			anchored = err
			content, err = replaceAnchored(parsed, byFile[e.File])
		}
		if err != nil {
			return Result{}, withCandidate(inFile(e.File, err), f)
		}
		changed[e.File] = content
		result.Files = append(result.Files, gitops.File{Path: e.File, Content: content})
	}
	besides, err := t.effects(ctx, env, others, f, changed, tag, digest, &result)
	if err != nil {
		return Result{}, err
	}
	if anchored != nil && !change.Shared && (len(besides) > 0 || !t.onlyVersions(ctx, env, f, result)) {
		return result, withCandidate(inFile(f.File, anchored), f)
	}
	if len(besides) > 0 && !change.Shared {
		edit := result.Edits[0]
		fed := result.AlsoFeeds
		if len(fed) == 0 {
			fed = some(result.AlsoChanges)
		}
		reason := fmt.Sprintf("%s line %d also feeds %s. To change all of it, add --shared.", edit.File, edit.Line, strings.Join(fed, ", "))
		return result, withCandidate(&gitops.Refusal{Code: gitops.Shared, Title: fmt.Sprintf("This would change more than %s in %s", f.Application.Name, env.Name), Reason: reason, Details: besides,
			AlsoFeeds: result.AlsoFeeds, AlsoChanges: result.AlsoChanges}, f)
	}
	return result, nil
}

// fedWith names what a field's scalar feeds in its own environment besides it, from the lines that tell of it: other objects,
// or places of the same.
func (f Field) fedWith(besides []string) (fed []string) {
	for _, line := range besides {
		object, rest, _ := strings.Cut(line, " ")
		if object == f.reading.object.String() {
			object, _, _ = strings.Cut(rest, " ")
		}
		if !slices.Contains(fed, object) {
			fed = append(fed, object)
		}
	}
	return fed
}

// some are as many names as a sentence takes.
func some(names []string) []string {
	const shown = 3
	if more := len(names) - shown; more > 0 {
		return append(names[:shown:shown], fmt.Sprintf("and %d more", more))
	}
	return names
}

// effects builds every environment before and after, and returns what differs beside what is meant.
func (t *Tree) effects(ctx context.Context, env Environment, others []Environment, f Field, changed map[string][]byte, tag, digest string, result *Result) (besides []string, err error) {
	all := append([]Environment{env}, others...)
	outcomes, errs := make([]outcome, len(all)), make([]error, len(all))
	sideBySide(len(all), func(i int) {
		outcomes[i], errs[i] = t.effect(ctx, all[i], i == 0, f, changed, tag, digest)
	})
	for i, o := range outcomes {
		if errs[i] != nil {
			return nil, errs[i]
		}
		result.Unchecked = append(result.Unchecked, o.unchecked...)
		result.places = append(result.places, o.places...)
		if o.Digest == "" {
			continue
		}
		result.Effects[all[i].Name] = o.Effect
		if i > 0 {
			result.AlsoFeeds = append(result.AlsoFeeds, all[i].Name)
		} else {
			result.AlsoChanges = f.fedWith(o.besides)
		}
		besides = append(besides, o.besides...)
	}
	slices.Sort(result.AlsoFeeds)
	return besides, nil
}

// sideBySide calls do for all numbers below n, as many at a time as there are processors. A panic in one of them is the
// caller's, who may catch it, when all are done.
func sideBySide(n int, do func(i int)) {
	var group sync.WaitGroup
	next := make(chan int)
	var panicked atomic.Value
	one := func(i int) {
		defer func() {
			if cause := recover(); cause != nil {
				panicked.Store(fmt.Sprintf("%v\n%s", cause, debug.Stack()))
			}
		}()
		do(i)
	}
	for range min(n, runtime.GOMAXPROCS(0)) {
		group.Go(func() {
			for i := range next {
				one(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	group.Wait()
	if cause := panicked.Load(); cause != nil {
		panic(cause)
	}
}

// replaceAnchored changes a scalar with its aliases, and proves that nothing else differs.
func replaceAnchored(parsed *text, all []manifest.Replacement) ([]byte, error) {
	content, err := parsed.file.Trial(all)
	if err != nil {
		return nil, err
	}
	after, err := manifest.Parse(content)
	if err != nil {
		return nil, &gitops.Refusal{Code: gitops.Unproved, Reason: "the file would no longer parse", Cause: err}
	}
	i := 0
	unproved := &gitops.Refusal{Code: gitops.Unproved, Reason: "more than the one value and its aliases would change"}
	same := true
	after.Scalars(func(now manifest.Scalar) bool {
		if i >= len(parsed.scalars) || now.Path != parsed.scalars[i].Path {
			same = false
			return false
		}
		was := parsed.scalars[i]
		i++
		if now.Value != was.Value {
			same = slices.ContainsFunc(all, func(r manifest.Replacement) bool {
				return now.Value == r.Value && (was.Path == r.Scalar.Path || was.Value == r.Scalar.Value && isRefusal(was.Refusal(), gitops.Alias))
			})
		}
		return same
	})
	if !same || i != len(parsed.scalars) || bytes.Count(content, []byte("\n")) != bytes.Count(parsed.raw, []byte("\n")) {
		return nil, unproved
	}
	return content, nil
}

// onlyVersions says that everything that a change makes differ in its application is a version of it.
func (t *Tree) onlyVersions(ctx context.Context, env Environment, f Field, result Result) bool {
	w, err := t.base(ctx, env)
	if err != nil {
		return false
	}
	versions := map[string]bool{}
	for _, r := range w.readings() {
		if r.app == f.Application {
			versions[r.id()], versions[r.digest.id()] = true, true
		}
	}
	for _, place := range result.places {
		if !versions[place] {
			return false
		}
	}
	return true
}

// An outcome is what a change does in one environment, and what else there is to know of it.
type outcome struct {
	Effect
	besides   []string // what of it is not meant
	places    []string // ids of what differs in the application's own objects
	unchecked []Problem
}

// effect builds an environment before and after.
func (t *Tree) effect(ctx context.Context, env Environment, own bool, f Field, changed map[string][]byte, tag, digest string) (o outcome, err error) {
	var before *walk
	after := view{edition: edit(changed)}
	if own || len(env.Namespaces) > 0 { // what fills or states a version of the environment's may lie in another's namespaces
		before, err = t.base(ctx, env)
	} else {
		after.needed = after.touches
		before, err = t.walk(ctx, env, view{needed: after.touches})
	}
	if err != nil {
		return outcome{}, err
	}
	for _, s := range before.sites {
		if s.err != nil && !isRefusal(s.err, gitops.NotInGit) {
			o.unchecked = append(o.unchecked, Problem{env.Name, s.title(), s.Path, s.err})
		}
	}
	if !after.touches(before.files()) {
		return o, nil
	}
	then, err := t.walk(ctx, env, after)
	if err != nil {
		return outcome{}, err
	}
	if broken := before.broken(then); len(broken) > 0 {
		for _, s := range before.sites {
			if !broken[s.key()] {
				continue
			}
			refusal := &gitops.Refusal{Code: gitops.Unproved, Reason: fmt.Sprintf("With this change, what %s builds from %s would no longer build.", env.Name, s.Path)}
			for _, a := range then.sites {
				if a.key() == s.key() && a.err != nil {
					refusal.Cause = a.err
					if r := (*gitops.Refusal)(nil); errors.As(a.err, &r) {
						refusal.Details = append(slices.Clone(r.Details), r.Reason)
					}
				}
			}
			return outcome{}, refusal
		}
	}
	byKey := map[string]*site{}
	for _, s := range then.sites {
		byKey[s.key()] = s
	}
	sum := sha256.New()
	carriers := before.carriers(f)
	concerns := before.concerns()
	only := func(objects []render.Object) []render.Object {
		return slices.DeleteFunc(slices.Clone(objects), func(o render.Object) bool { return !concerns(o) })
	}
	shown := false
	for _, s := range before.sites {
		is := byKey[s.key()]
		if is == nil || s.err != nil {
			continue
		}
		changes, unmasked := render.Changes(only(s.objects), only(is.objects))
		if len(changes) == 0 {
			continue
		}
		o.Changes = append(o.Changes, changes...)
		sum.Write([]byte(unmasked))
		for i, was := range s.objects {
			if i >= len(is.objects) || !concerns(was) {
				continue
			}
			differences(was.Fields, is.objects[i].Fields, "", func(path, old, now string) {
				at := place{site: s.key(), object: was.Object, path: path}
				if contentHash.MatchString(old) && contentHash.MatchString(now) && unhashed(old) == unhashed(now) {
					return // the name of something generated
				}
				if own && !carriers[was.Object] {
					o.places = append(o.places, at.id())
				}
				switch {
				case own && at.id() == f.reading.id():
					shown = true
					if want := f.reading.with(f, tag, digest); now != want {
						err = cmp.Or[error](err, &gitops.Refusal{Code: gitops.Unproved,
							Reason: fmt.Sprintf("After the edit, %s would state %s, not %s.", was.Object, cmp.Or(now, "no version"), want)})
					}
				case own && f.reading.digest.path != "" && at.id() == f.reading.digest.id():
					shown = shown || tag == f.origin.token() && now == digest
				case own && carriers[was.Object] && (follows(old, now, f, tag) || f.overridden && handsOn.MatchString(path)):
				case own && was.Object == f.reading.object && follows(old, now, f, tag):
				default:
					line := render.Masked(was.Object, path, old, now)
					beside := fmt.Sprintf("%s %s from %s to %s", was.Object, path, line.Old, line.New)
					if !own {
						beside = env.Name + ": " + beside
					}
					o.besides = append(o.besides, beside)
				}
			})
		}
	}
	if own {
		o.besides = append(o.besides, before.others(f)...)
	}
	if own && !shown && err == nil {
		err = &gitops.Refusal{Code: gitops.Unproved, Reason: fmt.Sprintf("After the edit, %s would state what it states now.", f.reading.object)}
	}
	if err != nil {
		return outcome{}, err
	}
	if len(o.Changes) == 0 {
		return o, nil
	}
	o.Digest = hex.EncodeToString(sum.Sum(nil))
	return o, nil
}

// with is the text of a reading once the field's scalar states another version.
func (r reading) with(f Field, tag, digest string) string {
	token := r.token
	if nowTag, nowDigest, both := strings.Cut(token, "@"); both && f.digest != nil {
		token = strings.Replace(nowTag, f.origin.token(), tag, 1)
		if digest != "" {
			token += "@" + digest
		} else if f.digest == nil {
			token += "@" + nowDigest
		}
	} else {
		token = strings.Replace(token, f.origin.token(), tag, 1)
	}
	i := strings.LastIndex(r.text, r.token)
	return strings.Trim(r.text[:i]+token+r.text[i+len(r.token):], `"`)
}

// follows says that a text changed by the version in it alone.
func follows(old, now string, f Field, tag string) bool {
	return strings.Contains(old, f.origin.token()) &&
		(strings.ReplaceAll(old, f.origin.token(), tag) == now || strings.ReplaceAll(old, f.origin.token(), strings.Trim(tag, `"`)) == now)
}

// carriers are the objects that hand a version on: the Flux Kustomizations on the way to what states it, and the
// ConfigMaps that these fill in.
func (w *walk) carriers(f Field) map[gitops.Object]bool {
	carriers := map[gitops.Object]bool{}
	byKey := map[string]*site{}
	above := map[string]string{}
	for _, s := range w.sites {
		byKey[s.key()] = s
		for _, o := range s.objects {
			if k, ok := kustomization(o); ok {
				if key := k.Namespace + "/" + k.Name; above[key] == "" {
					above[key] = s.key()
				}
			}
		}
	}
	for key := f.reading.site; byKey[key] != nil && len(carriers) < maxSites; key = above[key] {
		s := byKey[key]
		id := gitops.Object{Kind: "Kustomization", Namespace: s.Namespace, Name: s.Name}
		if carriers[id] {
			break
		}
		carriers[id] = true
		if s.Substitution != nil {
			for _, from := range s.Substitution.From {
				carriers[gitops.Object{Kind: from.Kind, Namespace: s.Namespace, Name: from.Name}] = true
			}
		}
	}
	return carriers
}

// others are the other applications that follow the object which states the version: several HelmReleases may install
// one chart source.
func (w *walk) others(f Field) (lines []string) {
	if f.reading.object == object(f.Application) {
		return nil
	}
	for _, r := range w.readings() {
		if r.id() == f.reading.id() && r.app != f.Application && r.app.Kind != "Kustomization" {
			lines = append(lines, fmt.Sprintf("%s follows %s", object(r.app), r.object))
		}
	}
	return lines
}

// Followers are the other applications of an environment whose version a field states too, a line each.
func (t *Tree) Followers(ctx context.Context, env Environment, f Field) []string {
	w, err := t.base(ctx, env)
	if err != nil {
		return nil
	}
	return w.others(f)
}

// concerns says which objects an environment is about: its own, and those that state a version of its applications.
func (w *walk) concerns() func(o render.Object) bool {
	stated := map[gitops.Object]bool{}
	for _, r := range w.readings() {
		if r.version.Kind != gitops.Substitute {
			stated[r.object] = true
		}
	}
	return func(o render.Object) bool { return w.environment.owns(o) || stated[o.Object] }
}

// differences calls visit for every scalar that differs between two values, those of YAML within a text too.
func differences(a, b any, under string, visit func(path, old, now string)) {
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok {
			if reflect.ValueOf(x).Pointer() == reflect.ValueOf(y).Pointer() {
				return // the same one
			}
			keys := sortedKeys(x)
			for k := range y {
				if _, both := x[k]; !both {
					keys = append(keys, k)
				}
			}
			slices.Sort(keys)
			for _, k := range keys {
				differences(x[k], y[k], child(under, k), visit)
			}
			return
		}
	case []any:
		if y, ok := b.([]any); ok && len(x) == len(y) {
			for i := range x {
				differences(x[i], y[i], step(under, x[i], i), visit)
			}
			return
		}
	case string:
		if y, ok := b.(string); ok && x != y && strings.Contains(x, ":") {
			var was, is map[string]any
			if yaml.Unmarshal([]byte(x), &was) == nil && yaml.Unmarshal([]byte(y), &is) == nil && was != nil && is != nil {
				differences(was, is, under+"|", visit)
				return
			}
		}
	}
	if old, now := whole(a), whole(b); old != now {
		visit(under, old, now)
	}
}

// whole writes any value: texts as they are, what is none so that it is not mistaken for one.
func whole(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		raw, err := yaml.Marshal(v)
		if err != nil {
			return ""
		}
		return "\x00" + string(raw)
	}
}

package layout

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/manifest"
)

// A Field is the scalar in Git that decides a version of an application in an environment.
type Field struct {
	Application gitops.Key
	Version     gitops.Version // Kind, Name, Object and Container
	File        string
	Line        int    // 1-based
	Path        string // unique in its file, as package manifest writes it
	Value       string // the version that it states
	// AlsoFeeds are the other environments that the same bytes feed, sorted; known only if they were given.
	AlsoFeeds []string
	// Proved says that a build has shown it: another value here arrives in the application.
	Proved bool
	// Refusal says why it cannot be changed; nil if it can.
	Refusal error

	reading reading
	parsed  *manifest.File // of File
	origin  origin
	digest  *origin // of the digest that stands beside it in a scalar of its own
	number  int     // of its dye

	digestNumber int  // of the dye of digest
	beside       bool // it is the digest of another field

	overridden bool // something else is to decide
}

// Name is what --image takes: the container, or else the image.
func (f Field) Name() string { return cmp.Or(f.Version.Container, f.Version.Name) }

// Candidate is the field as a refusal lists it.
func (f Field) Candidate() gitops.Candidate {
	return gitops.Candidate{File: f.File, Line: f.Line, Path: f.Path, Kind: f.Version.Kind, Value: f.Value}
}

// Survey lists the version fields of an environment: of all applications, or of the one that app names by NAME,
// NAMESPACE/NAME or KIND/NAMESPACE/NAME. others are the environments that AlsoFeeds is about. Problems are parts of the
// environment that could not be built; fields in them are not known; or roots of others, which the fields may feed. A digest beside a tag has a field of its own.
func (t *Tree) Survey(ctx context.Context, env Environment, others []Environment, app string) ([]Field, []Problem, error) {
	w, err := t.base(ctx, env)
	if err != nil {
		return nil, nil, err
	}
	located, err := t.locate(ctx, []Environment{env}, []*walk{w})
	if err != nil {
		return nil, nil, err
	}
	fields, problems := t.surveyed(w, located[0], app), w.problems
	if len(others) > 0 {
		blind, err := t.feeds(ctx, others, located[0].origins, fields)
		if err != nil {
			return nil, nil, err
		}
		problems = append(slices.Clip(problems), blind...)
	}
	return fields, problems, nil
}

// Surveyed is what is found in one environment.
type Surveyed struct {
	Fields   []Field
	Problems []Problem
}

// Surveys is Survey for several environments, AlsoFeeds being about each other.
func (t *Tree) Surveys(ctx context.Context, environments []Environment, app string) ([]Surveyed, error) {
	walks, errs := make([]*walk, len(environments)), make([]error, len(environments))
	sideBySide(len(environments), func(i int) { walks[i], errs[i] = t.base(ctx, environments[i]) })
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	located, err := t.locate(ctx, environments, walks)
	if err != nil {
		return nil, err
	}
	all := make([]Surveyed, len(environments))
	for i, w := range walks {
		all[i] = Surveyed{t.surveyed(w, located[i], app), w.problems}
		for at := range all[i].Fields {
			f := &all[i].Fields[at]
			for j, other := range located {
				if i != j && f.number >= 0 && other.arrived[f.number] {
					f.AlsoFeeds = append(f.AlsoFeeds, environments[j].Name)
				}
			}
			slices.Sort(f.AlsoFeeds)
		}
	}
	return all, nil
}

// besides is the digest beside a tag as a field of its own: people look for it, but it is no version to choose.
func (f Field) besides() Field {
	f.origin, f.number, f.beside, f.digest = *f.digest, f.digestNumber, true, nil
	f.File, f.Line, f.Path, f.Value = f.origin.file, f.origin.scalar.Line, f.origin.scalar.Path, f.origin.token()
	return f
}

// Beside says that the field is the digest beside another field's tag.
func (f Field) Beside() bool { return f.beside }

// versions leaves out the digests beside tags, which change with them.
func versions(fields []Field) []Field {
	return slices.DeleteFunc(fields, func(f Field) bool { return f.beside })
}

// surveyed are the located fields of an application, or of all, in order.
func (t *Tree) surveyed(w *walk, found *finds, app string) []Field {
	fields := slices.DeleteFunc(slices.Clone(found.fields), func(f Field) bool { return app != "" && !named(f.Application, app) })
	fields = append(fields, t.remotes(w, app)...)
	for _, f := range fields {
		if f.digest != nil {
			fields = append(fields, f.besides())
		}
	}
	slices.SortFunc(fields, func(a, b Field) int {
		return cmp.Or(a.Application.Compare(b.Application), strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), strings.Compare(a.Path, b.Path))
	})
	return once(fields)
}

// once leaves out what is the same scalar for the same application again: an alias, a variable.
func once(fields []Field) []Field {
	type id struct {
		app        gitops.Key
		file, path string
	}
	best := map[id]int{}
	var all []Field
	for _, f := range fields {
		id := id{f.Application, f.File, f.Path}
		i, again := best[id]
		switch {
		case !again || f.File == "":
			best[id] = len(all)
			all = append(all, f)
		case strings.HasSuffix(f.Path, f.reading.path) && !strings.HasSuffix(all[i].Path, all[i].reading.path):
			all[i] = f
		}
	}
	return all
}

// named says whether a name means an application.
func named(k gitops.Key, name string) bool {
	return name == k.Name || name == k.Namespace+"/"+k.Name || name == k.Kind+"/"+k.Namespace+"/"+k.Name
}

// finds are what is found of a walk, together with others: numbers mean the same in all of these.
type finds struct {
	fields   []Field
	origins  []origin
	arrived  map[int]bool // the numbers of the origins that arrive anywhere
	together []*walk
}

// locate finds the scalars that the readings of environments come from, with the same dyes in all of them: once for one
// environment, and once for several together.
func (t *Tree) locate(ctx context.Context, environments []Environment, walks []*walk) ([]*finds, error) {
	t.locating.Lock()
	defer t.locating.Unlock()
	known := make([]*finds, len(walks))
	for i, w := range walks {
		known[i] = w.finds
	}
	if !slices.ContainsFunc(known, func(l *finds) bool { return l == nil || len(walks) > 1 && !slices.Equal(l.together, walks) }) {
		return known, nil
	}
	var files []string
	var readings []reading
	for _, w := range walks {
		files, readings = append(files, w.files()...), append(readings, w.readings()...)
	}
	slices.Sort(files)
	files = slices.Compact(files)
	tokens := tokensOf(readings)
	// A variable that nobody knows the value of in one environment is filled in in another.
	maps.DeleteFunc(tokens, func(token string, _ bool) bool { return strings.Contains(token, "${") })
	origins := t.origins(files, tokens, false)
	found, err := t.traces(ctx, environments, walks, origins)
	if err != nil {
		return nil, err
	}
	arrived := make([]map[int]bool, len(walks))
	for i := range walks {
		arrived[i] = found[i].numbers(0)
	}
	// What was not found may be put together from parts, or such a variable.
	var rest []reading
	for i, w := range walks {
		for _, r := range w.readings() {
			if len(found[i][r.id()]) == 0 {
				rest = append(rest, r)
			}
		}
	}
	if tokens = tokensOf(rest); len(tokens) > 0 {
		type scalar struct{ file, path string }
		had := map[scalar]bool{}
		for _, o := range origins {
			had[scalar{o.file, o.scalar.Path}] = true
		}
		more := slices.DeleteFunc(t.origins(files, tokens, true), func(o origin) bool { return had[scalar{o.file, o.scalar.Path}] })
		parts, err := t.traces(ctx, environments, walks, more)
		if err != nil {
			return nil, err
		}
		for i := range walks {
			maps.Copy(arrived[i], parts[i].numbers(len(origins)))
			for id, numbers := range parts[i] {
				if len(found[i][id]) > 0 {
					continue
				}
				for _, n := range numbers {
					found[i][id] = append(found[i][id], n+len(origins))
				}
			}
		}
		origins = append(origins, more...)
	}
	for i, w := range walks {
		known[i] = &finds{t.fields(w, found[i], origins), origins, arrived[i], walks}
		w.finds = known[i]
	}
	return known, nil
}

// traces is trace for several environments.
func (t *Tree) traces(ctx context.Context, environments []Environment, walks []*walk, origins []origin) ([]arrivals, error) {
	found, errs := make([]arrivals, len(walks)), make([]error, len(walks))
	dyed := t.dyed(origins, nil)
	sideBySide(len(walks), func(i int) { found[i], errs[i] = t.trace(ctx, environments[i], walks[i], origins, dyed, nil) })
	return found, errors.Join(errs...)
}

// fields makes fields of an environment's readings and the dyes that arrived in them.
func (t *Tree) fields(w *walk, found arrivals, origins []origin) []Field {
	fields := []Field{}
	ends := map[int]bool{} // dyes that end in a version which is more than a variable's
	for _, r := range w.readings() {
		if r.version.Kind != gitops.Substitute {
			for _, n := range found[r.id()] {
				ends[n] = true
			}
		}
	}
	for _, r := range w.readings() {
		numbers := found[r.id()]
		if r.version.Kind == gitops.Substitute && (len(numbers) != 1 || ends[numbers[0]]) {
			continue
		}
		fields = append(fields, t.field(w, r, numbers, found[r.digest.id()], origins))
	}
	return fields
}

func tokensOf(readings []reading) map[string]bool {
	tokens := map[string]bool{}
	for _, r := range readings {
		for _, token := range []string{r.token, r.digest.token} {
			if token == "" {
				continue
			}
			tokens[token] = true
			if tag, digest, both := strings.Cut(token, "@"); both {
				tokens[tag], tokens[digest] = true, true
			}
		}
	}
	return tokens
}

// files are all that a walk reads.
func (w *walk) files() []string {
	var all []string
	for _, s := range w.sites {
		all = append(all, s.files...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Reads says whether anything that is built of an environment reads a file.
func (t *Tree) Reads(ctx context.Context, env Environment, file string) bool {
	w, err := t.base(ctx, env)
	if err != nil {
		return false
	}
	_, found := slices.BinarySearch(w.files(), file)
	return found
}

// field makes a field of a reading and the dyes that arrived in it.
func (t *Tree) field(w *walk, r reading, numbers, digests []int, origins []origin) Field {
	f := Field{Application: r.app, Version: r.version, Value: r.token, Refusal: r.refusal, reading: r, number: -1}
	refuse := func(code gitops.Code, format string, args ...any) {
		if f.Refusal == nil {
			f.Refusal = &gitops.Refusal{Code: code, Reason: fmt.Sprintf(format, args...)}
		}
	}
	if f.Refusal == nil {
		f.Refusal = w.assembled(r)
	}
	if f.Refusal == nil {
		f.Refusal = w.hidden(r)
	}
	var tag, digest []int
	for _, n := range numbers {
		if strings.HasPrefix(origins[n].token(), "sha256:") && strings.Contains(r.token, "@") {
			digest = append(digest, n)
		} else {
			tag = append(tag, n)
		}
	}
	digest = append(digest, digests...)
	if len(tag) == 0 && len(digest) > 0 {
		tag, digest = digest, nil
	}
	switch {
	case len(tag) == 0:
		if f.Refusal == nil {
			f.Refusal = t.unread(w, r)
		}
		refuse(gitops.Unproved, "No scalar in Git was found that decides the %s version of %s, %s.", r.version.Kind, r.app.Name, r.token)
		f.guess(t, w)
		return f
	case len(tag) > 1:
		refuse(gitops.Ambiguous, "The %s version of %s is put together from %d values.", r.version.Kind, r.app.Name, len(tag))
	}
	f.number = tag[0]
	f.origin = origins[f.number]
	if parsed, err := t.parse(f.origin.file); err == nil {
		f.parsed = parsed.file
	}
	f.File, f.Line, f.Path, f.Value, f.Proved = f.origin.file, f.origin.scalar.Line, f.origin.scalar.Path, f.origin.token(), true
	if len(digest) == 1 {
		f.digest, f.digestNumber = &origins[digest[0]], digest[0]
	} else if len(digest) > 1 {
		refuse(gitops.Ambiguous, "The digest of %s is put together from %d values.", r.app.Name, len(digest))
	}
	for _, o := range []*origin{&f.origin, f.digest} {
		if o == nil {
			continue
		}
		if err := o.scalar.Refusal(); err != nil && f.Refusal == nil && !isRefusal(err, gitops.Alias) {
			f.Refusal = inFile(o.file, err)
		}
	}
	return f
}

// unread says which file of a reading's site states its version and cannot be edited; nil if there is none.
func (t *Tree) unread(w *walk, r reading) error {
	for _, s := range w.sites {
		for _, file := range s.files {
			if s.key() != r.site || !yamlFile(file) {
				continue
			}
			if _, err := t.parse(file); err != nil {
				if content, unreadable := t.files.ReadFile(file); unreadable == nil && bytes.Contains(content, []byte(r.token)) {
					return err
				}
			}
		}
	}
	return nil
}

// remoteVersion is the version in an address: of a release, a branch or a tag.
var remoteVersion = regexp.MustCompile(`[?&](?:ref|version)=([A-Za-z0-9._+-]+)|/(?:releases/download|download|tree|blob|raw|archive|[^/]+/[^/]+)/(v?[0-9]+\.[0-9A-Za-z._+-]*[0-9A-Za-z])(?:/|$)`)

// remotes are the versions of resources that are not in the repository. They are told, and not changed.
func (t *Tree) remotes(w *walk, app string) (fields []Field) {
	for _, s := range w.sites {
		key := gitops.Key{Environment: w.environment.Name, Namespace: s.Namespace, Kind: "Kustomization", Name: cmp.Or(s.Name, nameOf(s.Path))}
		if app != "" && !named(key, app) {
			continue
		}
		for _, r := range s.remote {
			m := remoteVersion.FindStringSubmatch(r.Reference)
			parsed, err := t.parse(r.File)
			if m == nil || err != nil {
				continue
			}
			for _, scalar := range parsed.scalars {
				if !strings.HasSuffix(scalar.Value, r.Reference) {
					continue
				}
				fields = append(fields, Field{Application: key, Version: gitops.Version{Kind: gitops.Reference, Name: r.Reference, Object: object(key)},
					File: r.File, Line: scalar.Line, Path: scalar.Path, Value: cmp.Or(m[1], m[2]), number: -1,
					Refusal: &gitops.Refusal{Code: gitops.Layout, Reason: fmt.Sprintf("%s takes %s, which is not in this repository: what it would build cannot be shown.", r.File, r.Reference)}})
				break
			}
		}
		if len(s.remote) > 0 {
			fields = append(fields, t.retagged(w, s, key)...)
		}
	}
	return fields
}

// retagged are the entries under images of a site's kustomizations for what is not in the repository.
func (t *Tree) retagged(w *walk, s *site, app gitops.Key) (fields []Field) {
	built := map[string]bool{}
	for _, r := range w.readings() {
		built[r.version.Name] = built[r.version.Name] || r.site == s.key()
	}
	for _, file := range s.files {
		parsed, err := t.parse(file)
		if err != nil || !strings.Contains(path.Base(file), "ustomization") {
			continue
		}
		for _, scalar := range parsed.scalars {
			if !imageEntry.MatchString(scalar.Path) {
				continue
			}
			entry := scalar.Path[:strings.LastIndexByte(scalar.Path, '.')+1]
			image := ""
			for _, key := range []string{"name", "newName"} {
				if named, err := parsed.file.Find(entry + key); err == nil {
					image = named.Value
				}
			}
			if built[image] {
				continue
			}
			fields = append(fields, Field{Application: app, Version: gitops.Version{Kind: gitops.ImageTag, Name: image, Object: object(app)},
				File: file, Line: scalar.Line, Path: scalar.Path, Value: scalar.Value, number: -1,
				Refusal: &gitops.Refusal{Code: gitops.Layout, Reason: fmt.Sprintf("Nothing in this repository has the image %s; it may be in %s, which lies elsewhere: what this would change cannot be shown.", image, s.remote[0].Reference)}})
		}
	}
	return fields
}

// imageEntry is the place of an image's version in a kustomization.
var imageEntry = regexp.MustCompile(`^(.*:)?images\[[0-9]+\]\.(newTag|digest)$`)

var variable = regexp.MustCompile(`\$\{([_A-Za-z][_A-Za-z0-9]*)`)

// hidden refuses a reading whose version is a variable that no file fills in, and says what does; nil if it is none.
func (w *walk) hidden(r reading) error {
	m := variable.FindStringSubmatch(r.token)
	if m == nil {
		return nil
	}
	i := slices.IndexFunc(w.sites, func(s *site) bool { return s.key() == r.site })
	var absent []string // ConfigMaps that are in no file and were not read
	secret := i < 0 || w.sites[i].Substitution == nil
	if !secret {
		for _, from := range slices.Backward(w.sites[i].Substitution.From) {
			object := gitops.Object{Kind: from.Kind, Namespace: w.sites[i].Namespace, Name: from.Name}
			live := w.known.live[object]
			_, stated := w.known.maps[object]
			switch _, has := live[m[1]]; {
			case from.Kind != "ConfigMap":
				secret = true
			case stated:
			case has:
				return &gitops.Refusal{Code: gitops.NotInGit, Reason: fmt.Sprintf("The version of %s is the variable %s of ConfigMap %s/%s, which is in the cluster and in no file of this repository.",
					r.app.Name, m[1], object.Namespace, object.Name)}
			case live == nil:
				absent = append(absent, object.Namespace+"/"+object.Name)
			}
		}
	}
	if secret || len(absent) == 0 {
		return &gitops.Refusal{Code: gitops.Secret, Reason: fmt.Sprintf("The version of %s is the variable %s, whose value is not in Git or is secret.", r.app.Name, m[1])}
	}
	slices.Reverse(absent)
	return &gitops.Refusal{Code: gitops.Unproved, Reason: fmt.Sprintf("The version of %s is the variable %s, which no file of this repository states. ConfigMap %s may, which is not in it either: what it is cannot be proved from here.",
		r.app.Name, m[1], strings.Join(absent, " or "))}
}

// guess gives a field that no build has led to the place of the object that states it, for people to look at.
func (f *Field) guess(t *Tree, w *walk) {
	for _, s := range w.sites {
		if s.key() != f.reading.site {
			continue
		}
		for _, o := range t.origins(s.files, map[string]bool{f.reading.token: true, f.reading.text: true}, false) {
			f.origin, f.File, f.Line, f.Path = o, o.file, o.scalar.Line, o.scalar.Path
			return
		}
	}
}

// feeds fills in which other environments the fields' scalars feed, and gives the roots that do not build.
func (t *Tree) feeds(ctx context.Context, others []Environment, origins []origin, fields []Field) (blind []Problem, err error) {
	var some []origin
	var numbers []int
	for _, f := range fields {
		for _, o := range []*origin{&f.origin, f.digest} {
			if o == nil || f.number < 0 {
				continue
			}
			n := slices.IndexFunc(origins, func(c origin) bool { return c.file == o.file && c.scalar.Path == o.scalar.Path })
			if n >= 0 && !slices.Contains(numbers, n) {
				numbers, some = append(numbers, n), append(some, origins[n])
			}
		}
	}
	feeds, broken, errs := make([]map[int]bool, len(others)), make([]error, len(others)), make([]error, len(others))
	dyed := t.dyed(some, nil)
	sideBySide(len(others), func(i int) { feeds[i], broken[i], errs[i] = t.fed(ctx, others[i], some, numbers, dyed) })
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for at, other := range others {
		fed := feeds[at]
		if broken[at] != nil {
			blind = append(blind, Problem{other.Name, other.Sites[0].Path, other.Sites[0].Path, broken[at]})
		}
		for i := range fields {
			if n := fields[i].number; n >= 0 && fed[n] && !slices.Contains(fields[i].AlsoFeeds, other.Name) {
				fields[i].AlsoFeeds = append(fields[i].AlsoFeeds, other.Name)
			}
		}
	}
	for i := range fields {
		slices.Sort(fields[i].AlsoFeeds)
	}
	return blind, nil
}

// fed says which origins arrive anywhere in what an environment builds, and why its root does not build, if it does not.
func (t *Tree) fed(ctx context.Context, env Environment, origins []origin, numbers []int, dyed map[string][]byte) (fed map[int]bool, broken, err error) {
	needed := edit(dyed).touches
	// What does not lead to anything is built with the dyes alone: that it builds without them is looked at if it does not.
	before, err := t.walk(ctx, env, view{needed: func([]string) bool { return false }})
	if err != nil {
		return nil, nil, err
	}
	broken = before.sites[0].err
	fed = map[int]bool{}
	if !needed(before.files()) {
		return fed, broken, nil
	}
	found, err := t.trace(ctx, env, before, origins, dyed, needed)
	if err != nil {
		return nil, nil, err
	}
	for _, dyes := range found {
		for _, n := range dyes {
			fed[numbers[n]] = true
		}
	}
	return fed, broken, nil
}

// isRefusal says whether an error is a refusal of a code.
func isRefusal(err error, code gitops.Code) bool {
	r := (*gitops.Refusal)(nil)
	return errors.As(err, &r) && r.Code == code
}

package layout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/manifest"
	"github.com/ferry-chatops/ferry/internal/render"
)

// text is a YAML file, parsed.
type text struct {
	raw     []byte
	file    *manifest.File
	scalars []manifest.Scalar
	syncs   []string // spec.path of the Flux Kustomizations in it whose source is a GitRepository
	err     error    // why it cannot be read

	instances []string // the paths that a FluxInstance or the values of its chart sync
}

// instanceSync is where a FluxInstance, or the values of the chart flux-instance, say what Flux syncs:
// https://fluxoperator.dev/docs/instance/sync
var instanceSync = regexp.MustCompile(`(^|[.:|])(spec|instance)\.sync$`)

// parse reads a file once.
func (t *Tree) parse(file string) (*text, error) {
	t.mu.Lock()
	known := t.parsed[file]
	t.mu.Unlock()
	if known != nil {
		return known, known.err
	}
	content, err := fs.ReadFile(t.files, file)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	parsed := &text{raw: content}
	if parsed.file, parsed.err = manifest.Parse(content); parsed.err != nil {
		parsed.err = inFile(file, parsed.err)
	} else {
		parsed.file.Scalars(func(s manifest.Scalar) bool {
			parsed.scalars = append(parsed.scalars, s)
			if sync, ok := strings.CutSuffix(s.Path, ".path"); ok && instanceSync.MatchString(sync) {
				if _, err := parsed.file.Find(sync + ".url"); err == nil {
					parsed.instances = append(parsed.instances, s.Value)
				}
			}
			return true
		})
		for d := range parsed.file.Len() {
			if parsed.file.Text(d, "kind") == "Kustomization" && strings.HasPrefix(parsed.file.Text(d, "apiVersion"), "kustomize.toolkit.fluxcd.io/") &&
				parsed.file.Text(d, "spec", "sourceRef", "kind") == "GitRepository" {
				parsed.syncs = append(parsed.syncs, parsed.file.Text(d, "spec", "path"))
			}
		}
	}
	t.mu.Lock()
	t.parsed[file] = parsed
	t.mu.Unlock()
	return parsed, parsed.err
}

// inFile words a refusal of package manifest as one about a file.
func inFile(file string, err error) error {
	r := (*gitops.Refusal)(nil)
	if !errors.As(err, &r) {
		return fmt.Errorf("edit %s: %w", file, err)
	}
	if r.Code == gitops.NotYAML {
		code := gitops.NotYAML
		if strings.Contains(r.Reason, "{{") {
			code = gitops.Template
		}
		return &gitops.Refusal{Code: code, Reason: fmt.Sprintf("%s: %s.", file, strings.TrimSuffix(r.Reason, ".")), Cause: r.Cause}
	}
	return &gitops.Refusal{Code: r.Code, Reason: fmt.Sprintf("%s cannot be edited safely: %s.", file, strings.TrimSuffix(r.Reason, ".")), Cause: r.Cause}
}

// reasonOf is the sentence of a refusal, without its end.
func reasonOf(err error) string {
	if r := (*gitops.Refusal)(nil); errors.As(err, &r) {
		return strings.TrimSuffix(r.Reason, ".")
	}
	return err.Error()
}

// An origin is a scalar of a file that may be the source of a version, with the part of it that is the version.
type origin struct {
	file   string
	scalar manifest.Scalar
	start  int // of the version in the scalar's value
	end    int
}

func (o origin) token() string { return o.scalar.Value[o.start:o.end] }

// with is the scalar's value with another version in it.
func (o origin) with(version string) string {
	return o.scalar.Value[:o.start] + version + o.scalar.Value[o.end:]
}

// Dyes are versions that nothing has, that every resolver reads as a string, and that are valid wherever a version is;
// digests and commits have ones of their own shape.
const (
	dyePrefix = "99.99."
	dyeSuffix = "-ferry"
	hexDye    = "fe44fe44"
)

var (
	dyePattern = regexp.MustCompile(`99\.99\.([0-9]+)-ferry|fe44fe44([0-9]{10})`)
	hexToken   = regexp.MustCompile(`^(sha256:)?([0-9a-f]{24,64})$`)
)

// dye is the value of its own of the nth origin.
func (o origin) dye(n int) string {
	if m := hexToken.FindStringSubmatch(o.token()); m != nil {
		dye := fmt.Sprintf("%s%010d", hexDye, n)
		return m[1] + dye + strings.Repeat("0", len(m[2])-len(dye))
	}
	return dyePrefix + strconv.Itoa(n) + dyeSuffix
}

// dyesIn lists the numbers of the dyes in a text.
func dyesIn(text string) (found []int) {
	for _, m := range dyePattern.FindAllStringSubmatch(text, -1) {
		if n, err := strconv.Atoi(m[1] + m[2]); err == nil && !slices.Contains(found, n) {
			found = append(found, n)
		}
	}
	return found
}

// notVersions are keys whose values name things, so that they are no versions even if they look like one.
var notVersions = regexp.MustCompile(`(^|[.:|\]])(apiVersion|kind|name|namespace)$`)

// pieces splits a text at the characters that stand around versions.
var pieces = regexp.MustCompile(`[^\s"'` + "`" + `{}()\[\]<>=,;:/@|$&?!#*]+`)

// origins lists the scalars of files that state one of the tokens, by themselves or as a part. With within, also those that
// are a part of a token.
func (t *Tree) origins(files []string, tokens map[string]bool, within bool) []origin {
	var all []origin
	part := map[string]bool{} // whether a text is a part of a token, once looked
	for _, file := range files {
		if !yamlFile(file) {
			continue
		}
		parsed, err := t.parse(file)
		if err != nil {
			continue // what it holds can be built, but not changed
		}
		for _, s := range parsed.scalars {
			if s.Value == "" || s.Holds || len(s.Value) > 4096 || notVersions.MatchString(s.Path) {
				continue
			}
			if start, end, ok := tokenIn(s.Value, tokens); ok {
				all = append(all, origin{file, s, start, end})
				continue
			}
			if !within || len(s.Value) > 64 || !strings.ContainsAny(s.Value, "0123456789") {
				continue
			}
			is, looked := part[s.Value]
			if !looked {
				for token := range tokens {
					if strings.Contains(token, s.Value) && (len(s.Value) > 2 || strings.TrimLeft(token, "v") == s.Value) {
						is = true
						break
					}
				}
				part[s.Value] = is
			}
			if is {
				all = append(all, origin{file, s, 0, len(s.Value)})
			}
		}
	}
	return all
}

// tokenIn finds a token in a text: all of it, or the last part that is one, the longest if they begin alike.
func tokenIn(text string, tokens map[string]bool) (start, end int, ok bool) {
	trimmed := strings.TrimSpace(text)
	if tokens[trimmed] {
		start = strings.Index(text, trimmed)
		return start, start + len(trimmed), true
	}
	if name, version := gitops.SplitVersion(trimmed); version != "" && tokens[version] && !strings.ContainsAny(trimmed, " \n${}") {
		start = strings.Index(text, trimmed) + len(name) + 1
		return start, start + len(version), true
	}
	for _, at := range pieces.FindAllStringIndex(text, -1) {
		piece := text[at[0]:at[1]]
		if lead := len(piece) - len(strings.TrimLeft(piece, "-+~^")); lead > 0 { // ${VERSION:-1.2.3}
			at[0] += lead
			piece = piece[lead:]
		}
		if digest := regexpDigest.FindString(text[at[1]:]); digest != "" && tokens[piece+digest] {
			start, end, ok = at[0], at[1]+len(digest), true
			continue
		}
		if strings.HasPrefix(piece, "sha256") && at[1] < len(text) && text[at[1]] == ':' {
			if whole := wholeDigest.FindString(text[at[0]:]); whole != "" && tokens[whole] && !ok {
				start, end, ok = at[0], at[0]+len(whole), true
			}
		}
		if tokens[piece] {
			start, end, ok = at[0], at[1], true
		}
	}
	return start, end, ok
}

var (
	regexpDigest = regexp.MustCompile(`^@sha256:[0-9a-f]{64}`)
	wholeDigest  = regexp.MustCompile(`^sha256:[0-9a-f]{64}`)
)

// dyed returns the files with every origin dyed. Their numbers are their places in the list, or what numbers says.
func (t *Tree) dyed(origins []origin, numbers []int) map[string][]byte {
	byFile := map[string][]manifest.Replacement{}
	for i, o := range origins {
		n := i
		if numbers != nil {
			n = numbers[i]
		}
		byFile[o.file] = append(byFile[o.file], manifest.Replacement{Scalar: o.scalar, Value: o.with(o.dye(n))})
	}
	changed := map[string][]byte{}
	for file, replacements := range byFile {
		parsed, err := t.parse(file)
		if err != nil {
			continue
		}
		if content, err := parsed.file.Trial(replacements); err == nil {
			changed[file] = content
		}
	}
	return changed
}

// An arrival is where dyes came out: for each place of a built object, their numbers.
type arrivals map[string][]int

// trace finds out which origins, dyed in some files, arrive at readings. It builds with all dyes in, and where that fails or builds something
// else, with halves of those that are read there.
func (t *Tree) trace(ctx context.Context, env Environment, before *walk, origins []origin, dyed map[string][]byte, needed func(files []string) bool) (arrivals, error) {
	found := arrivals{}
	numbers := make([]int, len(origins))
	for i := range numbers {
		numbers[i] = i
	}
	budget := maxTrials
	var try func(numbers []int, only map[string]bool) error
	try = func(numbers []int, only map[string]bool) error {
		if budget--; budget < 0 || len(numbers) == 0 {
			return nil
		}
		files := dyed
		if len(numbers) < len(origins) {
			some := make([]origin, len(numbers))
			for i, n := range numbers {
				some[i] = origins[n]
			}
			files = t.dyed(some, numbers)
		}
		after, err := t.walk(ctx, env, view{edition: edit(files), needed: needed})
		if err != nil {
			return err
		}
		if before.unclear(after) {
			if before, err = t.walk(ctx, env, view{needed: needed}); err != nil {
				return err
			}
		}
		broken := before.broken(after)
		found.take(after, broken, only)
		if only != nil {
			maps.DeleteFunc(broken, func(key string, _ bool) bool { return !only[key] })
		}
		if len(broken) == 0 || len(numbers) == 1 {
			return nil
		}
		read := map[string]bool{} // what may be at fault: all that a broken site reads, or a site above it
		for _, s := range before.sites {
			if broken[s.key()] || before.above(s, broken) {
				for _, f := range s.files {
					read[f] = true
				}
			}
		}
		numbers = slices.DeleteFunc(slices.Clone(numbers), func(n int) bool { return !read[origins[n].file] })
		half := len(numbers) / 2
		if err := try(numbers[:half], broken); err != nil {
			return err
		}
		return try(numbers[half:], broken)
	}
	return found, try(numbers, nil)
}

// maxTrials bounds the builds that look for a dye that breaks others.
const maxTrials = 60

// broken are the keys of the sites that do not build, or not from the same place, in another walk.
func (w *walk) broken(after *walk) map[string]bool {
	byKey := map[string]*site{}
	for _, s := range after.sites {
		byKey[s.key()] = s
	}
	broken := map[string]bool{}
	for _, s := range w.sites {
		other := byKey[s.key()]
		if s.err == nil && !s.left && (other == nil || other.err != nil || other.Path != s.Path || len(other.objects) != len(s.objects)) {
			broken[s.key()] = true
		}
	}
	return broken
}

// unclear says that another walk does not build what this one did not try to.
func (w *walk) unclear(after *walk) bool {
	failed := map[string]bool{}
	for _, s := range after.sites {
		failed[s.key()] = s.err != nil
	}
	return slices.ContainsFunc(w.sites, func(s *site) bool { return s.left && failed[s.key()] })
}

// above says whether a site builds one of others.
func (w *walk) above(s *site, others map[string]bool) bool {
	for _, o := range s.objects {
		if k, ok := kustomization(o); ok && others[k.Namespace+"/"+k.Name] {
			return true
		}
	}
	return false
}

// take notes the dyes of a walk, but for those of sites that are left out.
func (a arrivals) take(w *walk, without, only map[string]bool) {
	for _, s := range w.sites {
		if without[s.key()] || only != nil && !only[s.key()] {
			continue
		}
		for _, o := range s.objects {
			a.object(s.key(), o)
		}
	}
}

// numbers are those that arrived anywhere, each with an offset.
func (a arrivals) numbers(offset int) map[int]bool {
	all := map[int]bool{}
	for _, numbers := range a {
		for _, n := range numbers {
			all[n+offset] = true
		}
	}
	return all
}

func (a arrivals) object(site string, o render.Object) {
	leaves(o.Fields, "", func(path, text string) {
		if strings.Contains(text, dyeSuffix) || strings.Contains(text, hexDye) {
			id := place{site: site, object: o.Object, path: path}.id()
			for _, n := range dyesIn(text) {
				if !slices.Contains(a[id], n) {
					a[id] = append(a[id], n)
				}
			}
		}
	})
}

// leaves calls visit for every text in a value, those of YAML within a text too, with the path that a reading has.
func leaves(v any, under string, visit func(path, text string)) {
	switch v := v.(type) {
	case map[string]any:
		for k, c := range v {
			leaves(c, child(under, k), visit)
		}
	case []any:
		for i, c := range v {
			leaves(c, step(under, c, i), visit)
		}
	case string:
		visit(under, v)
		var inner any
		if strings.ContainsAny(v, "\n:") && len(dyesIn(v)) > 0 && yaml.Unmarshal([]byte(v), &inner) == nil {
			if _, isText := inner.(string); !isText {
				leaves(inner, under+"|", visit)
			}
		}
	}
}

package render

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing/fstest"
	"unicode"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/utils"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// Limits on one build. What is read twice counts twice, as kustomize does its work twice.
const (
	maxFiles     = 5000      // read
	maxBytes     = 16 << 20  // read
	maxNodes     = 200_000   // YAML nodes, with every alias replaced by what it stands for
	maxDepth     = 100       // of a YAML document; package manifest's
	maxDocuments = 1500      // objects to build, patches and the like
	maxVisits    = 500       // of kustomizations
	maxNest      = 50        // of kustomizations within one another
	maxSpread    = 128 << 20 // bytes of a kustomization and its patches, times the documents they may be applied to
	maxRules     = 200       // of a kustomization's configurations
	maxCopied    = 1 << 30   // bytes that replacements and variables may put into objects, if all of them meet
	maxDoublings = 20        // of a value that replacements add to, each time as much as it has
	maxAdded     = 256 << 20 // bytes that they may add
	maxSteps     = 250_000   // images, patches and the like, times the documents that are looked through for each
)

// A walker follows the references of kustomizations as kustomize will, and takes along what they name. It is where
// hostile trees are found out: kustomize fetches addresses, runs git with what a reference says, and does not survive
// documents that contain themselves.
type walker struct {
	ctx   context.Context
	tree  fs.FS
	files fstest.MapFS // by path: all that kustomize gets to see

	remote []Remote            // resources that are left out
	lists  map[string][]string // of directories that list resources and do nothing else: the files and directories that they come to
	graph  graph
	only   *selection // nil: all

	reads, bytes, nodes, documents, visits, spread, steps int

	sources   [][]string // field paths of replacements
	targets   []target
	visit     *visit // the kustomization that is read
	largest   int    // bytes of the largest value that could be copied
	longest   int    // bytes of the longest text
	affixes   int    // bytes of all prefixes and suffixes of names
	variables int    // uses of variables of kustomize's own: $(NAME)
	vars      bool
}

// A target is where a replacement puts its value.
type target struct {
	path   []string
	beside bool // what is there stays, beside the value
}

// A visit is of a kustomization: what it does to the objects that its resources, and then its components, leave behind.
type visit struct {
	component bool
	targets   []target // of its replacements
	below     []*visit // its resources and components that are kustomizations
}

func outside(what, why string) error {
	return &gitops.Refusal{Code: gitops.Layout, Reason: fmt.Sprintf("%s %s, so what Flux builds from it cannot be told from this repository alone.", what, why)}
}

func tooMuch(what, why string) error {
	return &gitops.Refusal{Code: gitops.Layout, Reason: fmt.Sprintf("%s %s: ferry does not build that.", what, why)}
}

func unreadable(file, as string, err error) error {
	return &gitops.Refusal{Code: gitops.NotYAML, Reason: fmt.Sprintf("%s cannot be read as %s: %s.", file, as, strings.SplitN(strings.TrimPrefix(err.Error(), "yaml: "), "\n", 2)[0]), Cause: err}
}

// load reads the files of the build of a Kustomization, its own spec added to the kustomization at its path; with only, no
// more than what leads to some of them.
func load(ctx context.Context, tree fs.FS, k gitops.Kustomization, only *selection) (*walker, error) {
	w := &walker{ctx: ctx, tree: tree, files: fstest.MapFS{}}
	if !fs.ValidPath(k.Path) || !isDir(tree, k.Path) {
		return w, &gitops.Refusal{Code: gitops.NotInGit, Reason: fmt.Sprintf("The repository has no directory %s at this commit.", k.Path)}
	}
	file, raw, err := w.root(k)
	if err != nil {
		return w, err
	}
	w = &walker{ctx: ctx, tree: With(tree, map[string][]byte{file: raw}), files: fstest.MapFS{}, only: only, graph: newGraph(), lists: map[string][]string{}}
	if err := w.directory(k.Path, nil, false, 0); err != nil {
		return w, err
	}
	w.graph.copies = w.graph.copies || len(w.targets) > 0 || w.vars
	return w, w.copies()
}

// names returns the files that were read, but for the kustomization that is made where a directory has none.
func (w *walker) names(tree fs.FS) []string {
	files := slices.DeleteFunc(slices.Collect(maps.Keys(w.files)), func(f string) bool {
		_, err := fs.Stat(tree, f)
		return err != nil
	})
	slices.Sort(files)
	return files
}

// root returns the kustomization that a build starts from, made if there is none.
func (w *walker) root(k gitops.Kustomization) (file string, raw []byte, err error) {
	kustomization := types.Kustomization{TypeMeta: types.TypeMeta{APIVersion: types.KustomizationVersion, Kind: types.KustomizationKind}}
	if file = kustomizationFile(w.tree, k.Path); file == "" {
		if err := ignored(w.tree, path.Join(k.Path, "kustomization.yaml")); err != nil {
			return "", nil, err
		}
		file = path.Join(k.Path, "kustomization.yaml")
		found, err := manifests(w.tree, k.Path)
		if err != nil {
			return "", nil, fmt.Errorf("list %s: %w", k.Path, err)
		}
		for _, f := range found {
			kustomization.Resources = append(kustomization.Resources, strings.TrimPrefix(f, k.Path+"/"))
		}
	} else {
		raw, err := w.read(file)
		if err != nil {
			return "", nil, err
		}
		if err := w.weigh(file, raw); err != nil {
			return "", nil, err
		}
		if err := sigsyaml.Unmarshal(raw, &kustomization); err != nil { // not strictly: as Flux does it, here alone
			return "", nil, unreadable(file, "a kustomization", err)
		}
	}
	if err := add(w.tree, &kustomization, k); err != nil {
		return "", nil, fmt.Errorf("read the spec of Kustomization %s/%s: %w", k.Namespace, k.Name, err)
	}
	raw, err = sigsyaml.Marshal(kustomization)
	if err != nil {
		return "", nil, fmt.Errorf("encode %s: %w", file, err)
	}
	return file, raw, nil
}

// read takes a file along.
func (w *walker) read(file string) ([]byte, error) {
	if err := w.ctx.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	info, err := fs.Stat(w.tree, file)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	w.reads++
	w.bytes += int(min(info.Size(), maxBytes+1)) // before it is in memory
	if w.reads > maxFiles || w.bytes > maxBytes {
		return nil, tooMuch(file, fmt.Sprintf("is beyond %d files or %d MiB of one build", maxFiles, maxBytes>>20))
	}
	if f, ok := w.files[file]; ok {
		return f.Data, nil
	}
	raw, err := fs.ReadFile(w.tree, file)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	w.files[file] = &fstest.MapFile{Data: raw, Mode: 0o644}
	return raw, nil
}

// take reads the file that a reference from a directory means.
func (w *walker) take(dir, ref string) (at string, raw []byte, err error) {
	if at, err = w.resolve(dir, ref); err == nil {
		w.graph.other[at] = true
		raw, err = w.read(at)
	}
	return at, raw, err
}

// directory visits a kustomization. parents are those on the way to it; a component is applied to the documents that
// came before it too, of which above is the number when its parent began.
func (w *walker) directory(dir string, parents []string, component bool, above int) error {
	if slices.Contains(parents, dir) {
		return tooMuch(dir, "is a kustomization that contains itself")
	}
	if w.visits++; w.visits > maxVisits || len(parents) > maxNest {
		return tooMuch(dir, fmt.Sprintf("is one of more than %d kustomizations, or more than %d within one another, of one build", maxVisits, maxNest))
	}
	file := kustomizationFile(w.tree, dir)
	if file == "" {
		if err := ignored(w.tree, path.Join(dir, "kustomization.yaml")); err != nil {
			return err
		}
		return outside(dir, "has no kustomization")
	}
	for _, other := range konfig.RecognizedKustomizationFileNames() {
		if info, err := fs.Stat(w.tree, path.Join(dir, other)); err == nil && !info.IsDir() && path.Join(dir, other) != file {
			return tooMuch(dir, "has more than one kustomization")
		}
	}
	raw, err := w.read(file)
	if err != nil {
		return err
	}
	w.graph.other[file] = true
	if err := w.weigh(file, raw); err != nil {
		return err
	}
	k, err := w.kustomization(file, raw)
	if err != nil {
		return err
	}
	if err := supported(file, k); err != nil {
		return err
	}
	if !component {
		above = w.documents
	}
	parents = append(slices.Clone(parents), dir)
	defer w.enter(component)()
	var resources []string // all of them, with those of lists in the place of these
	lists := false
	for _, ref := range k.Resources {
		at, err := w.resolve(dir, ref)
		if err != nil {
			return err
		}
		w.graph.parents[at] = append(w.graph.parents[at], dir)
		if isDir(w.tree, at) {
			if err := w.directory(at, parents, false, 0); err != nil {
				return err
			}
			if listed := w.lists[at]; len(listed) > 0 {
				resources, lists = append(resources, listed...), true
			} else {
				resources = append(resources, at)
			}
			continue
		}
		resources = append(resources, at)
		objects, err := w.read(at)
		if err != nil {
			return err
		}
		if w.only == namesAlone {
			continue
		}
		if err := w.weigh(at, objects); err != nil {
			return err
		}
	}
	if len(parents) > 1 && isList(k) {
		w.lists[dir] = resources
	} else if lists {
		if err := w.list(dir, file, resources); err != nil {
			return err
		}
	}
	if err := w.generated(dir, k); err != nil {
		return err
	}
	rules, err := w.configurations(dir, k)
	if err != nil {
		return err
	}
	more, err := w.transformers(dir, file, k)
	if err != nil {
		return err
	}
	rules += more
	patches, err := w.patches(dir, file, k)
	if err != nil {
		return err
	}
	if len(w.remote) > 0 || w.only.part() {
		if err := w.lenient(dir, file); err != nil {
			return err
		}
	}
	w.vars = w.vars || len(k.Vars) > 0
	w.graph.renames = w.graph.renames || k.NamePrefix+k.NameSuffix != "" || slices.ContainsFunc(k.Labels, func(l types.Label) bool {
		return slices.ContainsFunc(l.FieldSpecs, func(s types.FieldSpec) bool { return identity(s.Path) })
	})
	w.affixes += len(k.NamePrefix) + len(k.NameSuffix)
	targets := len(w.targets)
	replacements, err := w.replacements(dir, k)
	if err != nil {
		return err
	}
	for _, ref := range k.Components {
		at, err := w.resolve(dir, ref)
		if err != nil {
			return err
		}
		w.graph.parents[at] = append(w.graph.parents[at], dir)
		if err := w.directory(at, parents, true, above); err != nil {
			return err
		}
	}
	documents := w.documents - above
	w.spread += (len(raw) + patches + replacements) * documents
	w.steps += (2*len(k.Images) + len(k.Replicas) + len(k.Patches) + len(k.PatchesJson6902) + len(k.PatchesStrategicMerge) +
		len(k.Labels) + len(k.Vars) + rules + len(w.targets) - targets) * (documents + 10) // each costs something to set up
	if w.spread > maxSpread || w.steps > maxSteps {
		return tooMuch(file, "applies too much to too many objects")
	}
	return nil
}

// isList says that a kustomization has resources and nothing else.
func isList(k types.Kustomization) bool {
	list := types.Kustomization{TypeMeta: types.TypeMeta{APIVersion: types.KustomizationVersion, Kind: types.KustomizationKind}, Resources: k.Resources}
	return len(k.Resources) > 0 && reflect.DeepEqual(k, list)
}

// list gives a kustomization the files of those of its resources that are lists, in the place of these: the same objects
// in the same order, and kustomize takes a third less time.
func (w *walker) list(dir, file string, resources []string) error {
	var fields map[string]any
	if err := sigsyaml.Unmarshal(w.files[file].Data, &fields); err != nil {
		return unreadable(file, "a kustomization", err)
	}
	delete(fields, "bases")
	refs := make([]any, len(resources))
	for i, at := range resources {
		ref, err := filepath.Rel(filepath.FromSlash(dir), filepath.FromSlash(at))
		if err != nil {
			return fmt.Errorf("refer to %s from %s: %w", at, dir, err)
		}
		refs[i] = filepath.ToSlash(ref)
	}
	fields["resources"] = refs
	raw, err := sigsyaml.Marshal(fields)
	if err != nil {
		return fmt.Errorf("encode %s: %w", file, err)
	}
	w.files[file] = &fstest.MapFile{Data: raw, Mode: 0o644}
	return nil
}

// kustomization reads one as kustomize reads it, so that nothing is there for it alone. Resources and files of generators
// that lie elsewhere are left out of what kustomize gets to see.
func (w *walker) kustomization(file string, raw []byte) (types.Kustomization, error) {
	var k types.Kustomization
	read := func(raw []byte) error {
		k = types.Kustomization{}
		if err := k.Unmarshal(raw); err != nil {
			return unreadable(file, "a kustomization", err)
		}
		k.FixKustomization()
		return nil
	}
	if err := read(raw); err != nil || !w.only.part() && !mayBeElsewhere(raw) {
		return k, err
	}
	var fields map[string]any
	if err := sigsyaml.Unmarshal(raw, &fields); err != nil {
		return k, unreadable(file, "a kustomization", err)
	}
	before := len(w.remote)
	w.strip(file, fields, "resources")
	w.strip(file, fields, "bases")
	if len(k.Resources) > 0 && len(w.remote) > before && isEmpty(fields["resources"]) && isEmpty(fields["bases"]) {
		fields["buildMetadata"] = []any{"originAnnotations"} // an empty one does not build
	}
	for _, key := range []string{"configMapGenerator", "secretGenerator"} {
		generators, _ := fields[key].([]any)
		for _, g := range generators {
			if g, ok := g.(map[string]any); ok {
				w.strip(file, g, "files")
				w.strip(file, g, "envs")
			}
		}
	}
	if len(w.remote) == before && !w.only.part() {
		return k, nil
	}
	if w.only.part() {
		if err := w.only.prune(path.Dir(file), fields); err != nil {
			return k, err
		}
	}
	raw, err := sigsyaml.Marshal(fields)
	if err != nil {
		return k, fmt.Errorf("encode %s: %w", file, err)
	}
	w.files[file] = &fstest.MapFile{Data: raw, Mode: 0o644}
	return k, read(raw)
}

// mayBeElsewhere says whether something in a kustomization may be an address. One that is written so that this does not see
// it is refused for what it is.
func mayBeElsewhere(raw []byte) bool {
	return slices.ContainsFunc([]string{"://", "git@", "github.com"}, func(part string) bool { return bytes.Contains(raw, []byte(part)) })
}

func isEmpty(v any) bool {
	list, _ := v.([]any)
	return len(list) == 0
}

// strip leaves addresses out of a list. Of the files of a generator, an address may stand behind the name of its key.
func (w *walker) strip(file string, fields map[string]any, key string) {
	list, ok := fields[key].([]any)
	if !ok {
		return
	}
	fields[key] = slices.DeleteFunc(list, func(v any) bool {
		entry, _ := v.(string)
		ref := entry
		if name, after, keyed := strings.Cut(entry, "="); keyed && key == "files" && !strings.Contains(name, "/") {
			ref = after
		}
		if plain(ref) || !address.MatchString(ref) {
			return false
		}
		if at := path.Join(path.Dir(file), ref); fs.ValidPath(at) {
			if _, err := fs.Stat(w.tree, at); !errors.Is(err, fs.ErrNotExist) {
				return false // it is in the tree, whatever it looks like
			}
		}
		w.remote = append(w.remote, Remote{file, ref})
		return true
	})
}

var address = regexp.MustCompile(`^(git::)?(https?://|ssh://|git@|github\.com[/:])[^\s]+$`)

// supported refuses what renders by other means than kustomize's own, and what changes how kustomize reads objects: it
// keeps schemas in variables of the process, and follows those that refer to themselves until it dies.
func supported(file string, k types.Kustomization) error {
	switch {
	case len(k.HelmCharts) > 0 || k.HelmGlobals != nil:
		return outside(file, "renders Helm charts")
	case len(k.Generators)+len(k.Validators) > 0:
		return outside(file, "uses generators or validators of its own")
	case len(k.Crds) > 0:
		return tooMuch(file, "has crds, schemas of its own for kustomize")
	case len(k.OpenAPI) > 0:
		return tooMuch(file, "has openapi, a schema of its own for kustomize")
	}
	return nil
}

// resolve gives the path in the tree that a reference from a directory means.
func (w *walker) resolve(dir, ref string) (string, error) {
	if !plain(ref) {
		return "", outside(fmt.Sprintf("%q in %s", ref, dir), "is not a plain relative path")
	}
	at := path.Join(dir, ref)
	if !fs.ValidPath(at) {
		return "", outside(fmt.Sprintf("%s in %s", ref, dir), "is not in the repository at this commit")
	}
	if err := ignored(w.tree, at); err != nil {
		return "", err
	}
	if _, err := fs.Stat(w.tree, at); errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return "", outside(fmt.Sprintf("%s in %s", ref, dir), "is not in the repository at this commit")
	} else if err != nil {
		return "", fmt.Errorf("look at %s: %w", at, err)
	}
	return at, nil
}

// plain says that kustomize can take a reference for nothing but a path: not for a URL, which it would fetch, nor for a
// Git repository, for which it would run git with what the reference says as arguments.
func plain(ref string) bool {
	return ref != "" && !path.IsAbs(ref) && !strings.Contains(ref, "//") &&
		!strings.ContainsFunc(ref, func(r rune) bool { return unicode.IsControl(r) || strings.ContainsRune(`:?#@%\`, r) }) &&
		!slices.ContainsFunc(strings.Split(ref, "/"), func(s string) bool { return strings.EqualFold(strings.TrimSpace(s), "github.com") })
}

// generated reads the files of ConfigMaps and Secrets, which may hold anything.
func (w *walker) generated(dir string, k types.Kustomization) error {
	var args []types.GeneratorArgs
	for _, g := range k.ConfigMapGenerator {
		args = append(args, g.GeneratorArgs)
	}
	for _, g := range k.SecretGenerator {
		args = append(args, g.GeneratorArgs)
	}
	w.documents += len(args)
	for _, g := range args {
		refs := slices.Clone(g.EnvSources)
		for _, f := range g.FileSources {
			_, after, keyed := strings.Cut(f, "=")
			if !keyed {
				after = f
			}
			refs = append(refs, after)
		}
		for _, ref := range refs {
			_, raw, err := w.take(dir, ref)
			if err != nil {
				return err
			}
			w.largest, w.longest = max(w.largest, len(raw)), max(w.longest, len(raw))
			w.variables += strings.Count(string(raw), "$(")
		}
	}
	for _, g := range k.SecretGenerator {
		for _, ref := range g.EnvSources {
			w.decrypt(path.Join(dir, ref))
		}
	}
	return nil
}

// encrypted are the lines that SOPS adds to an environment file. kustomize-controller decrypts the files of Secrets before
// it builds, and two with the same keys do not build.
var encrypted = regexp.MustCompile(`(?m)^sops_[a-z_0-9]+=.*(\n|$)`)

// decrypt takes away what decrypting would; the values stay as they are.
func (w *walker) decrypt(file string) {
	if f := w.files[file]; f != nil && encrypted.Match(f.Data) {
		w.files[file] = &fstest.MapFile{Data: encrypted.ReplaceAll(f.Data, nil), Mode: f.Mode}
	}
}

// configurations reads a kustomization's own rules of where names, images and the like stand, and returns how many there
// are. Rules for variables are refused.
func (w *walker) configurations(dir string, k types.Kustomization) (rules int, err error) {
	for _, ref := range k.Configurations {
		at, raw, err := w.take(dir, ref)
		if err != nil {
			return 0, err
		}
		if err := w.weigh(at, raw); err != nil {
			return 0, err
		}
		var lists map[string][]struct {
			Path       string
			FieldSpecs []struct{ Path string }
		}
		if err := sigsyaml.Unmarshal(raw, &lists); err != nil {
			return 0, unreadable(at, "a configuration of kustomize", err)
		}
		for key, list := range lists {
			if !slices.Contains([]string{"nameReference", "images", "namespace", "commonLabels", "commonAnnotations", "namePrefix", "nameSuffix", "replicas"}, key) {
				return 0, tooMuch(at, "has rules of its own for kustomize under "+key)
			}
			for _, rule := range list {
				rules += 1 + len(rule.FieldSpecs)
				w.graph.renames = w.graph.renames || rule.Path != "" && identity(rule.Path)
				for _, spec := range rule.FieldSpecs { // of references: any text may be a name there
					w.graph.copies = w.graph.copies || !strings.HasSuffix(strings.ToLower(spec.Path), "name")
				}
			}
		}
	}
	if rules > maxRules {
		return 0, tooMuch(dir, fmt.Sprintf("has more than %d rules of its own for kustomize", maxRules))
	}
	return rules, nil
}

// builtin are the transformers of kustomize's own that read no files.
var builtin = []string{"NamespaceTransformer", "PrefixTransformer", "SuffixTransformer", "LabelTransformer", "AnnotationsTransformer",
	"ImageTagTransformer", "ReplicaCountTransformer"}

// transformers reads those of kustomize's own that are configured like objects, inline, in files or in directories with a
// kustomization that lists files, and returns how many rules they have. All others are refused.
func (w *walker) transformers(dir, file string, k types.Kustomization) (rules int, err error) {
	for _, entry := range k.Transformers {
		var n int
		if strings.Contains(entry, "\n") {
			n, err = w.transformer(file, []byte(entry))
		} else {
			n, err = w.transformersAt(dir, entry, nil)
		}
		if err != nil {
			return 0, err
		}
		rules += n
	}
	if rules > maxRules {
		return 0, tooMuch(dir, fmt.Sprintf("has more than %d rules of its own for kustomize", maxRules))
	}
	return rules, nil
}

// transformersAt reads those of a file or directory. parents are the directories on the way to it.
func (w *walker) transformersAt(dir, ref string, parents []string) (rules int, err error) {
	at, err := w.resolve(dir, ref)
	if err != nil {
		return 0, err
	}
	directory := isDir(w.tree, at)
	file := at
	if directory {
		if w.visits++; w.visits > maxVisits || len(parents) > maxNest || slices.Contains(parents, at) {
			return 0, tooMuch(at, "is a kustomization of transformers that contains itself, or too many others")
		}
		if file = kustomizationFile(w.tree, at); file == "" {
			return 0, outside(at, "has no kustomization")
		}
	}
	raw, err := w.read(file)
	if err != nil {
		return 0, err
	}
	w.graph.other[file] = true
	if !directory {
		return w.transformer(file, raw)
	}
	if err := w.weigh(file, raw); err != nil {
		return 0, err
	}
	var fields map[string]any
	var k types.Kustomization
	if err := errors.Join(sigsyaml.Unmarshal(raw, &fields), k.Unmarshal(raw)); err != nil {
		return 0, unreadable(file, "a kustomization", err)
	}
	for key := range fields {
		if !slices.Contains([]string{"apiVersion", "kind", "metadata", "resources"}, key) {
			return 0, outside(file, "makes transformers of its own")
		}
	}
	for _, resource := range k.Resources {
		n, err := w.transformersAt(at, resource, append(slices.Clone(parents), at))
		if err != nil {
			return 0, err
		}
		rules += n
	}
	return rules, nil
}

// transformer reads the transformers of a text.
func (w *walker) transformer(file string, raw []byte) (rules int, err error) {
	if err := w.weigh(file, raw); err != nil {
		return 0, err
	}
	for _, piece := range separator.Split("\n"+string(raw), -1) {
		var one map[string]any
		if err := sigsyaml.Unmarshal([]byte(piece), &one); err != nil {
			return 0, unreadable(file, "a transformer", err)
		}
		if len(one) == 0 {
			continue
		}
		if kind, _ := one["kind"].(string); one["apiVersion"] != "builtin" || !slices.Contains(builtin, kind) {
			return 0, outside(file, "uses transformers of its own")
		}
		w.graph.renames = w.graph.renames || one["kind"] == "PrefixTransformer" || one["kind"] == "SuffixTransformer"
		specs, _ := one["fieldSpecs"].([]any)
		for _, s := range specs {
			spec, _ := s.(map[string]any)
			w.graph.renames = w.graph.renames || identity(spec["path"])
		}
		rules += 1 + len(specs)
	}
	return rules, nil
}

// patches reads patches, and returns how long they are in their files.
func (w *walker) patches(dir, file string, k types.Kustomization) (size int, err error) {
	var refs []string
	for _, p := range slices.Concat(k.Patches, k.PatchesJson6902) {
		if p.Path != "" {
			refs = append(refs, p.Path)
		}
		w.graph.renames = w.graph.renames || p.Options != nil
		if err := w.patch(file, []byte(p.Patch)); err != nil {
			return 0, err
		}
	}
	for _, p := range k.PatchesStrategicMerge {
		if plain(string(p)) {
			refs = append(refs, string(p))
			continue
		}
		// Kustomize takes it for a patch if it can, and else for an address.
		if u, err := url.Parse(string(p)); err == nil && u.Scheme != "" {
			return 0, outside(fmt.Sprintf("%q in %s", p, dir), "is neither a plain relative path nor a patch")
		}
		if err := w.weigh(file, []byte(p)); err != nil {
			return 0, err
		}
	}
	for _, ref := range refs {
		at, raw, err := w.take(dir, ref)
		if err != nil {
			return 0, err
		}
		if err := w.patch(at, raw); err != nil {
			return 0, err
		}
		size += len(raw)
	}
	return size, nil
}

// patch weighs a patch. One of JSON that copies parts of an object into one another doubles it with every line.
func (w *walker) patch(file string, raw []byte) error {
	if err := w.weigh(file, raw); err != nil {
		return err
	}
	for _, decode := range []func([]byte, any) error{json.Unmarshal, func(raw []byte, v any) error { return sigsyaml.Unmarshal(raw, v) }} {
		var operations []map[string]any
		if err := decode(raw, &operations); err != nil {
			continue // it is no JSON patch
		}
		if slices.ContainsFunc(operations, func(o map[string]any) bool { return o["op"] == "copy" }) {
			return tooMuch(file, "has a patch that copies one part of an object into another")
		}
		w.graph.renames = w.graph.renames || slices.ContainsFunc(operations, func(o map[string]any) bool { return identity(o["path"]) || identity(o["from"]) })
	}
	return nil
}

// identity says whether a path leads to what an object is known by.
func identity(p any) bool {
	at, given := p.(string)
	first, rest, _ := strings.Cut(strings.TrimPrefix(at, "/"), "/")
	return given && (first == "" || first == "kind" || first == "apiVersion" ||
		first == "metadata" && !strings.HasPrefix(rest, "labels") && !strings.HasPrefix(rest, "annotations"))
}

// replacements reads where replacements take values from and where they put them, and how long they are in their files.
func (w *walker) replacements(dir string, k types.Kustomization) (size int, err error) {
	note := func(r types.Replacement) {
		if r.Source != nil {
			w.sources = append(w.sources, split(r.Source.FieldPath))
		}
		for _, t := range r.Targets {
			if t == nil {
				continue
			}
			for _, p := range append(slices.Clone(t.FieldPaths), "")[:max(1, len(t.FieldPaths))] {
				w.targets = append(w.targets, target{split(p), t.Options != nil && t.Options.Delimiter != ""})
				w.visit.targets = append(w.visit.targets, w.targets[len(w.targets)-1])
			}
		}
	}
	for _, r := range k.Replacements {
		if r.Path == "" {
			note(r.Replacement)
			continue
		}
		at, raw, err := w.take(dir, r.Path)
		if err != nil {
			return 0, err
		}
		if err := w.weigh(at, raw); err != nil {
			return 0, err
		}
		size += len(raw)
		var list []types.Replacement
		if err := sigsyaml.Unmarshal(raw, &list); err != nil {
			var one types.Replacement
			if err := sigsyaml.Unmarshal(raw, &one); err != nil {
				return 0, unreadable(at, "replacements", err)
			}
			list = []types.Replacement{one}
		}
		for _, r := range list {
			note(r)
		}
	}
	return size, nil
}

func split(fieldPath string) []string {
	return utils.SmarterPathSplitter(cmp.Or(fieldPath, types.DefaultReplacementFieldPath), ".")
}

// enter begins a visit, and gives what ends it.
func (w *walker) enter(component bool) (leave func()) {
	above := w.visit
	w.visit = &visit{component: component}
	if above == nil {
		return func() {}
	}
	above.below = append(above.below, w.visit)
	return func() { w.visit = above }
}

// doublings is how many of some targets may be applied to one object, one after another.
func (v *visit) doublings(of func(target) bool) int {
	n, most := 0, 0
	for _, t := range v.targets {
		if of(t) {
			n++
		}
	}
	for _, b := range v.below {
		if d := b.doublings(of); b.component {
			n += d
		} else {
			most = max(most, d)
		}
	}
	return n + most
}

// copies refuses replacements that may put a value inside itself, and those that may add to it too often: a few dozen of
// them fill any memory. It refuses as well what copies large values to many places. Which objects they mean is not looked at.
func (w *walker) copies() error {
	places := len(w.targets) * w.documents
	if w.vars {
		places += w.variables
	}
	if places*w.largest > maxCopied {
		return tooMuch("A replacement or variable", "may copy a large value to many places")
	}
	adds := 0 // targets that add to what replacements take
	for _, t := range w.targets {
		if i := slices.IndexFunc(w.sources, func(source []string) bool { return overlap(source, t.path) && len(t.path) > len(source) }); i >= 0 {
			return tooMuch("A replacement", fmt.Sprintf("takes its value from %s, which one changes at %s", strings.Join(w.sources[i], "."), strings.Join(t.path, ".")))
		}
		if w.adds(t) {
			adds++
		}
	}
	if adds == 0 {
		return nil
	}
	if doublings := w.visit.doublings(w.adds); doublings > maxDoublings || (w.longest+w.affixes)*adds*w.documents > maxAdded>>doublings {
		return tooMuch("A replacement", fmt.Sprintf("may add a value to itself, again and again: %d times", doublings))
	}
	return nil
}

// adds says whether a target adds to what some replacement takes.
func (w *walker) adds(t target) bool {
	return t.beside && slices.ContainsFunc(w.sources, func(source []string) bool { return overlap(source, t.path) })
}

// overlap says that two paths may lead to the same node, or one inside the other's.
func overlap(a, b []string) bool {
	for i := range min(len(a), len(b)) {
		if !strings.ContainsAny(a[i]+b[i], "*[]=-") && a[i] != b[i] {
			return false
		}
	}
	return true
}

// separator is where kustomize cuts a file into documents.
var separator = regexp.MustCompile(`\n---.*\n`)

// weigh parses the documents of a YAML text, cut as kustomize cuts it, and counts what they will cost.
func (w *walker) weigh(file string, raw []byte) error {
	w.variables += strings.Count(string(raw), "$(")
	pieces := separator.Split(strings.ReplaceAll(string(raw), "\r\n", "\n"), -1)
	for i, piece := range pieces {
		if i < len(pieces)-1 { // as kustomize does it; behind UTF-16 a line end of one byte would be half a character
			piece += "\n"
		}
		decoder := yaml.NewDecoder(strings.NewReader(piece))
		for {
			var doc yaml.Node
			err := decoder.Decode(&doc)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return unreadable(file, "YAML", err)
			}
			before := w.nodes
			if err := w.count(file, &doc, 0, map[*yaml.Node]bool{}); err != nil {
				return err
			}
			const node = 100 // bytes, about
			w.largest = max(w.largest, node*(w.nodes-before))
			if w.documents += objects(&doc); w.documents > maxDocuments {
				return tooMuch(file, fmt.Sprintf("is beyond %d objects of one build", maxDocuments))
			}
		}
	}
	return nil
}

// count counts the nodes below one, following aliases. within are the anchored nodes on the way to it.
func (w *walker) count(file string, n *yaml.Node, depth int, within map[*yaml.Node]bool) error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	w.largest, w.longest = max(w.largest, len(n.Value)), max(w.longest, len(n.Value))
	if w.nodes++; w.nodes > maxNodes {
		return tooMuch(file, fmt.Sprintf("is beyond %d YAML values of one build, aliases counted in full", maxNodes))
	}
	if within[n] {
		return tooMuch(file, fmt.Sprintf("contains itself by the alias %q", n.Anchor))
	}
	if depth > maxDepth {
		return tooMuch(file, fmt.Sprintf("is nested deeper than %d levels", maxDepth))
	}
	if n.Anchor != "" {
		within[n] = true
		defer delete(within, n)
	}
	for _, c := range n.Content {
		if err := w.count(file, c, depth+1, within); err != nil {
			return err
		}
	}
	return nil
}

// objects counts the objects of a document that count has accepted: the items of a list are objects of their own, and so
// are those of a list in a list. It counts too many rather than too few.
func objects(n *yaml.Node) int {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	total := 0
	switch n.Kind {
	case yaml.DocumentNode, yaml.SequenceNode:
		for _, c := range n.Content {
			total += objects(c)
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind == yaml.AliasNode {
				key = key.Alias
			}
			if key.Value == "items" || key.Value == "<<" || key.Tag == "!!binary" {
				total += objects(n.Content[i+1])
			}
		}
		total = max(total, 1)
	}
	return total
}

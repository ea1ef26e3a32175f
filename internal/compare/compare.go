// Package compare says in what two Kubernetes objects, or two texts, differ. It is pure. What is secret in them it knows by
// kind, field and name, and by forms that secrets have in texts, and it keeps that out of whatever it words for people.
package compare

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// A Difference is one field that two versions of an object do not have alike. A side that is nil is not there.
type Difference struct {
	// Path is as in spec.template.spec.containers[name=web].image or metadata.annotations["checksum/config"]; "|" leads
	// into a text of YAML or JSON. Empty: the whole object, which came or went.
	Path          string
	Before, After any
	Secret        bool // nobody is to read either side

	at place
	in *comparison
}

// Options say how objects are compared.
type Options struct {
	// Loose takes for equal what the API server stores alike: quantities such as "1000m" and 1, empty lists and none. It is
	// for sides that the server has not both written.
	Loose bool
	// Sealed tells even what SOPS encrypts anew with every change, and what is encrypted on one side alone.
	Sealed bool
	// Hidden are paths, as Depends gives them, of fields that depend on a Secret.
	Hidden []string
}

// Text gives both sides for people, with what is secret masked; one that is not there is empty. Maps and lists are YAML if
// block says so, or else JSON. Two sides that look alike masked differ in a remark.
func (d Difference) Text(block bool) (before, after string) {
	if d.Secret {
		switch {
		case d.Before == nil:
			return "", Masked
		case d.After == nil:
			return Masked, ""
		}
		return Masked, Changed
	}
	if x, ok := d.Before.(string); ok {
		if y, ok := d.After.(string); ok {
			return Texts(x, y)
		}
	}
	show := func(v any) string {
		v = (&masker{*d.in}).mask(d.at, v)
		switch v.(type) {
		case map[string]any, []any:
			if block {
				return Block(v)
			}
		}
		return text(v)
	}
	before, after = show(d.Before), show(d.After)
	if before == after && d.Before != nil && d.After != nil {
		after += remark
	}
	return before, after
}

const remark = " (changed)"

// Texts gives two texts that differ with what is secret masked. Where lines look alike then, the later ones say that they
// are changed.
func Texts(x, y string) (before, after string) {
	a, b := strings.SplitAfter(x, "\n"), strings.SplitAfter(y, "\n")
	if len(a) == 1 && len(b) == 1 {
		before, after = Text(x), Text(y)
		if before == after {
			after += remark
		}
		return before, after
	}
	was, is := Lines(a), Lines(b)
	for _, s := range align(a, b) {
		for i := s.fromB; i < s.toB; i++ {
			if is[i] != b[i] && slices.Contains(was[s.fromA:min(s.toA, s.fromA+100)], is[i]) {
				end := is[i][len(strings.TrimRight(is[i], "\r\n")):]
				is[i] = strings.TrimSuffix(is[i], end) + remark + end
			}
		}
	}
	return strings.Join(was, ""), strings.Join(is, "")
}

// Block writes a value as YAML, without a final line end.
func Block(v any) string {
	raw, err := yaml.Marshal(v)
	if err != nil {
		return encode(v)
	}
	return strings.TrimSuffix(string(raw), "\n")
}

// An order is that of a list's items, by their keys.
type order []string

// Limits, so that hostile objects cost no more than they are worth.
const (
	maxWithin   = 3         // documents within texts of documents
	maxDocument = 256 << 10 // bytes of a text that is read as a document
	maxDepth    = 200       // of an object; what lies deeper is compared as a whole
	maxCells    = 1 << 20   // that aligning two lists may take
)

// Objects compares two versions of an object, whose kind says what is secret in them. The order is that of the paths. A nil
// object is one that is not there: it is a difference without a path.
func Objects(kind string, before, after map[string]any, options Options) []Difference {
	c := comparison{kind: kind, options: options, sealed: sealed(before) || sealed(after)}
	switch {
	case before == nil && after == nil:
	case before == nil:
		c.add(place{}, nil, after)
	case after == nil:
		c.add(place{}, before, nil)
	default:
		c.fields(place{}, before, after)
	}
	slices.SortStableFunc(c.found, func(a, b Difference) int { return strings.Compare(a.Path, b.Path) })
	return c.found
}

// Depends compares two renders of an object that differ in what stands for secrets, and gives the paths of what depends on
// them. Where the keys of a map or the items of a list do, it is the map or the list.
func Depends(one, other map[string]any) (paths []string) {
	c := comparison{whole: true}
	c.fields(place{}, one, other)
	for _, d := range c.found {
		paths = append(paths, d.Path)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

type comparison struct {
	kind    string
	options Options
	sealed  bool // SOPS encrypts it
	whole   bool // a map or list that has not the same keys on both sides differs as a whole
	found   []Difference
}

// A place is where a comparison stands.
type place struct {
	path   string
	key    string // the last key of a map on the way
	secret bool
	depth  int
	within int // how many texts it is in
}

func (p place) under(key string, secret bool) place {
	p.path, p.key, p.secret, p.depth = gitops.PathKey(p.path, key), key, p.secret || secret, p.depth+1
	return p
}

func (p place) item(id string) place {
	p.path, p.depth = p.path+"["+id+"]", p.depth+1
	return p
}

func (c *comparison) add(at place, before, after any) {
	at.secret = at.secret || at.path != "" && (c.hidden(at.path) || c.hiddenWithin(at.path))
	c.found = append(c.found, Difference{at.path, before, after, at.secret, at, c})
}

func (c *comparison) values(at place, a, b any) {
	a, b = c.stored(at, a), c.stored(at, b)
	if at.depth < maxDepth {
		switch x := a.(type) {
		case map[string]any:
			if y, ok := b.(map[string]any); ok {
				c.fields(at, x, y)
				return
			}
		case []any:
			if y, ok := b.([]any); ok {
				c.items(at, x, y)
				return
			}
		case string:
			if y, ok := b.(string); ok && x != y {
				c.texts(at, x, y)
				return
			}
		}
	}
	if c.equal(at, a, b) {
		return
	}
	c.add(at, a, b)
}

func (c *comparison) fields(at place, x, y map[string]any) {
	if reflect.ValueOf(x).Pointer() == reflect.ValueOf(y).Pointer() {
		return // the same one
	}
	if c.whole && !slices.Equal(slices.Sorted(maps.Keys(x)), slices.Sorted(maps.Keys(y))) {
		c.add(at, x, y)
		return
	}
	keys := maps.Clone(x)
	if keys == nil {
		keys = map[string]any{}
	}
	maps.Copy(keys, y)
	for key := range keys {
		if at.path == "" && key == "sops" && c.sealed && !c.options.Sealed {
			continue // its time and its seal
		}
		c.values(at.under(key, c.secretField(at, key, x) || c.secretField(at, key, y)), x[key], y[key])
	}
}

// texts compares two texts that are not the same.
func (c *comparison) texts(at place, x, y string) {
	if encrypted(x) != encrypted(y) && !c.options.Sealed {
		return // one is the other encrypted, as far as anybody knows
	}
	if c.equal(at, x, y) {
		return
	}
	if at.within < maxWithin && !at.secret && !c.hidden(at.path) {
		if a, b := document(x), document(y); a != nil && b != nil {
			before := len(c.found)
			inner := at
			inner.path, inner.key, inner.within = at.path+"|", "", at.within+1
			if c.fields(inner, a, b); len(c.found) > before { // else only its spelling differs
				return
			}
		}
	}
	c.add(at, x, y)
}

// hidden says that a path is one that depends on a Secret, or lies below one.
func (c *comparison) hidden(path string) bool {
	return slices.ContainsFunc(c.options.Hidden, func(h string) bool { return Below(path, h) })
}

// hiddenWithin says that something in a text depends on a Secret.
func (c *comparison) hiddenWithin(path string) bool {
	return slices.ContainsFunc(c.options.Hidden, func(h string) bool { return strings.HasPrefix(h, path+"|") })
}

// Below says that a path is another or leads further than it.
func Below(path, root string) bool {
	rest, ok := strings.CutPrefix(path, root)
	return ok && (rest == "" || root == "" || strings.ContainsAny(rest[:1], ".[|") || strings.HasSuffix(root, "|"))
}

// equal says that two values mean the same.
func (c *comparison) equal(at place, a, b any) bool {
	if encode(a) == encode(b) {
		return true
	}
	if !c.options.Loose || !quantities.MatchString(at.path) {
		return false
	}
	x, err := resource.ParseQuantity(text(a))
	if err != nil {
		return false
	}
	y, err := resource.ParseQuantity(text(b))
	return err == nil && x.Cmp(y) == 0
}

// stored is a value as the API server stores it: it keeps no empty lists, and no empty maps of texts.
func (c *comparison) stored(at place, v any) any {
	if !c.options.Loose {
		return v
	}
	switch x := v.(type) {
	case []any:
		if len(x) == 0 {
			return nil
		}
	case map[string]any:
		if len(x) == 0 && textMaps[at.key] {
			return nil
		}
	case string:
		if x == "" && at.key == "value" && strings.HasSuffix(at.path, "].value") {
			return nil // of a variable
		}
	}
	return v
}

// textMaps are fields that are maps of texts or of quantities; another empty map may mean more than none.
var textMaps = map[string]bool{
	"labels": true, "annotations": true, "data": true, "stringData": true, "binaryData": true, "nodeSelector": true,
	"matchLabels": true, "limits": true, "requests": true, "parameters": true,
}

// document reads YAML or JSON within a text; nil where there is none.
func document(text string) map[string]any {
	if !strings.Contains(text, "\n") && !strings.HasPrefix(strings.TrimSpace(text), "{") || len(text) > maxDocument {
		return nil
	}
	var m map[string]any
	if err := yaml.Unmarshal([]byte(text), &m); err != nil {
		return nil
	}
	return m
}

// text gives a value for people: a string as it is, and other things as JSON.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case order:
		return "order: " + strings.Join(v, ", ")
	}
	return encode(v)
}

func encode(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case bool:
		return strconv.FormatBool(v)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err)) // it was decoded from JSON: cannot fail
	}
	return string(raw)
}

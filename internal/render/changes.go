package render

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// masked stands for a value that nobody is to read: only that it changed is told.
const masked = "***"

// Changes compares two builds of the same Kustomization, field by field, sorted by object and path. An object that came
// or went is one change without a path, to "created" or "deleted". Values of Secrets, and those below names that speak of
// secrets, are masked.
//
// The digest is SHA-256 in hex over the same changes unmasked, and empty if there are none: equal digests, equal changes.
func Changes(before, after []Object) (changes []gitops.Rendered, digest string) {
	var c comparison
	type identity struct { // as Kubernetes knows it: the same kind may be of two groups
		gitops.Object
		group string
	}
	identify := func(o Object) identity {
		version, _ := o.Fields["apiVersion"].(string)
		group, _, _ := strings.Cut(version, "/")
		return identity{o.Object, group}
	}
	gone := map[identity]Object{}
	for _, o := range before {
		gone[identify(o)] = o
	}
	var came []Object
	for _, o := range after {
		if was, ok := gone[identify(o)]; ok {
			c.compare(o.Object, "", was.Fields, o.Fields, false)
			delete(gone, identify(o))
		} else {
			came = append(came, o)
		}
	}
	for _, o := range came {
		renamed := slices.IndexFunc(before, func(was Object) bool {
			_, went := gone[identify(was)]
			return went && was.Kind == o.Kind && was.Namespace == o.Namespace && generated(was) != "" && generated(was) == generated(o)
		})
		if renamed < 0 {
			c.add(gitops.Rendered{Object: o.Object, New: "created"}, nil, o.Fields)
			continue
		}
		c.compare(o.Object, "", before[renamed].Fields, o.Fields, false)
		delete(gone, identify(before[renamed]))
	}
	for _, o := range gone {
		c.add(gitops.Rendered{Object: o.Object, New: "deleted"}, o.Fields, nil)
	}
	if len(c) == 0 {
		return nil, ""
	}
	slices.SortFunc(c, func(a, b change) int {
		return cmp.Or(strings.Compare(a.shown.Object.String(), b.shown.Object.String()), strings.Compare(a.shown.Path, b.shown.Path), strings.Compare(a.values, b.values))
	})
	sum := sha256.New()
	for _, one := range c {
		changes = append(changes, one.shown)
		fmt.Fprintf(sum, "%q %q %q\n", one.shown.Object, one.shown.Path, one.values)
	}
	return changes, hex.EncodeToString(sum.Sum(nil))
}

// hash of its content that kustomize ends the name of a generated ConfigMap or Secret with.
var hash = regexp.MustCompile(`-[bcdfghkmt2456789]{10}$`)

// generated is the name of a generated object without the hash of its content; empty for others.
func generated(o Object) string {
	at := hash.FindStringIndex(o.Name)
	if at == nil || o.Kind != "ConfigMap" && o.Kind != "Secret" {
		return ""
	}
	return o.Name[:at[0]]
}

// A change is one as it is shown, and its values before and after as they are.
type change struct {
	shown  gitops.Rendered
	values string
}

type comparison []change

func (c *comparison) add(shown gitops.Rendered, before, after any) {
	*c = append(*c, change{shown, encode(before) + "\n" + encode(after)})
}

// compare adds the changes below one path. secret says that the path's values are masked.
func (c *comparison) compare(object gitops.Object, at string, a, b any, secret bool) {
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok {
			if reflect.ValueOf(x).Pointer() == reflect.ValueOf(y).Pointer() {
				return // the same one
			}
			keys := maps.Clone(x)
			maps.Copy(keys, y)
			secret = secret || secretItem(x) || secretItem(y)
			for k := range keys {
				under := secret || secretName(k) || at == "" && object.Kind == "Secret" && slices.Contains(secretFields, k)
				path := at + "." + k
				if at == "" || strings.HasSuffix(at, "|") {
					path = at + k
				}
				c.compare(object, path, x[k], y[k], under)
			}
			return
		}
	case []any:
		if y, ok := b.([]any); ok && len(x) == len(y) {
			for i := range x {
				c.compare(object, at+item(x[i], i), x[i], y[i], secret)
			}
			return
		}
	}
	if encode(a) == encode(b) {
		return
	}
	if x, y := document(a), document(b); x != nil && y != nil && !secret {
		var within comparison
		if within.compare(object, at+"|", x, y, false); len(within) > 0 { // else only its spelling differs
			*c = append(*c, within...)
			return
		}
	}
	show := func(v any) string {
		if secret && v != nil {
			return masked
		}
		return text(mask(v))
	}
	c.add(gitops.Rendered{Object: object, Path: at, Old: show(a), New: show(b)}, a, b)
}

// document reads YAML within a text of several lines; nil where there is none.
func document(v any) map[string]any {
	text, ok := v.(string)
	if !ok || !strings.Contains(text, "\n") {
		return nil
	}
	var m map[string]any
	if err := yaml.Unmarshal([]byte(text), &m); err != nil {
		return nil
	}
	return m
}

// secretFields of a Secret hold what is secret, below whatever names.
var secretFields = []string{"data", "stringData", "binaryData"}

var secretWords = regexp.MustCompile(`(?i)passw(or)?d|secret|token|api[-_.]?key|credential|private[-_.]?key`)

// references end the names of fields that say where a secret is, not what it is.
var references = regexp.MustCompile(`(?i)(name|ref|refs)$`)

// secretName says that a field of this name may hold a secret.
func secretName(name string) bool {
	return secretWords.MatchString(name) && !references.MatchString(name)
}

// secretItem says that a list item, such as an environment variable, is named like a secret.
func secretItem(v map[string]any) bool {
	name, _ := v["name"].(string)
	_, valued := v["value"]
	return valued && secretWords.MatchString(name)
}

// mask replaces what is secret in a value that is shown as a whole.
func mask(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := maps.Clone(v)
		for k, inner := range v {
			if m[k] = mask(inner); secretName(k) || k == "value" && secretItem(v) {
				m[k] = masked
			}
		}
		return m
	case []any:
		l := slices.Clone(v)
		for i := range l {
			l[i] = mask(l[i])
		}
		return l
	}
	return v
}

// item names a list item by its name where it has one.
func item(v any, i int) string {
	if m, ok := v.(map[string]any); ok {
		if n, ok := m["name"].(string); ok {
			return "[name=" + n + "]"
		}
	}
	return fmt.Sprintf("[%d]", i)
}

// text gives a value for people: a string as it is, and other things as JSON.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	return encode(v)
}

func encode(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err)) // it was decoded from JSON: cannot fail
	}
	return string(raw)
}

// Masked is the change of one field of an object as it may be shown.
func Masked(object gitops.Object, path, old, now string) gitops.Rendered {
	r := gitops.Rendered{Object: object, Path: path, Old: old, New: now}
	secret := object.Kind == "Secret"
	for part := range strings.SplitSeq(path, ".") {
		secret = secret || secretName(part)
	}
	if secret {
		r.Old, r.New = masked, masked
	}
	return r
}

package render

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/ferry-chatops/ferry/internal/compare"
	"github.com/ferry-chatops/ferry/internal/gitops"
)

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
			c.compare(o.Object, was.Fields, o.Fields)
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
		c.compare(o.Object, before[renamed].Fields, o.Fields)
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

func (c *comparison) compare(object gitops.Object, before, after map[string]any) {
	for _, d := range compare.Objects(object.Kind, before, after, compare.Options{Sealed: true}) {
		old, now := d.Text(false)
		c.add(gitops.Rendered{Object: object, Path: d.Path, Old: old, New: now}, d.Before, d.After)
	}
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
		secret = secret || compare.SecretName(part)
	}
	if secret {
		r.Old, r.New = compare.Masked, compare.Changed
	} else {
		r.Old, r.New = compare.Texts(old, now)
	}
	return r
}

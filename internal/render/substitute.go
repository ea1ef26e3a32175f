package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/envsubst"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// Variables are what a Flux Kustomization fills into what it built.
type Variables struct {
	Values map[string]string
	// Hidden are those whose value is not to be read or not known: they stay ${NAME}. Values of the same name win.
	Hidden map[string]bool
	// Open says that there are more, of unknown names: what has no value and no default stays ${NAME}.
	Open bool
	// Unknown are in the place of ${NAME} for what is Open; nil: it stays.
	Unknown *Sentinels
}

// Limits on the filling in of variables.
const (
	maxVariable = 64 << 10  // bytes of a value
	maxWithin   = 20        // variables within one another
	maxFilled   = 256 << 20 // bytes that all variables of an object could become
	maxEscaped  = 4 << 30   // bytes that are copied for all $$: envsubst copies the whole text for each
)

const substituteKey = "kustomize.toolkit.fluxcd.io/substitute"

// variableName is the pattern of a variable's name; kustomize-controller takes no other.
var variableName = regexp.MustCompile(`^[_[:alpha:]][_[:alpha:][:digit:]]*$`)

// Substitute fills variables into objects, each by itself, as kustomize-controller does: quotes are lost before, so that a
// text may become a number. Objects with the annotation or label kustomize.toolkit.fluxcd.io/substitute: disabled stay as
// they are. What is not changed is returned as it is.
func Substitute(objects []Object, v Variables, always bool) ([]Object, error) {
	if len(v.Values)+len(v.Hidden) == 0 && !v.Open && !always {
		return objects, nil
	}
	longest := 0
	for name, value := range v.Values {
		if !variableName.MatchString(name) {
			return nil, &gitops.Refusal{Code: gitops.Layout, Reason: fmt.Sprintf("%q is no name of a variable, so Flux builds nothing.", name)}
		}
		if longest = max(longest, len(value)); longest > maxVariable {
			return nil, tooMuch("The variable "+name, fmt.Sprintf("is longer than %d KiB", maxVariable>>10))
		}
	}
	filled := make([]Object, 0, len(objects))
	copied := 0
	for _, o := range objects {
		if !disabled(o.Fields) {
			var err error
			if o, err = v.fill(o, longest, &copied); err != nil {
				return nil, fmt.Errorf("fill variables into %s: %w", o.Object, err)
			}
		}
		if !dropped(o) {
			filled = append(filled, o)
		}
	}
	return filled, nil
}

// bare matches a variable without anything to do to it, and one that is escaped.
var bare = regexp.MustCompile(`\$?\$\{[_A-Za-z][_A-Za-z0-9]*\}`)

func disabled(fields map[string]any) bool {
	metadata, _ := fields["metadata"].(map[string]any)
	for _, key := range []string{"labels", "annotations"} {
		if m, _ := metadata[key].(map[string]any); m[substituteKey] == "disabled" {
			return true
		}
	}
	return false
}

// dollar says whether there is a $ in a key or value.
func dollar(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for key, item := range v {
			if strings.ContainsRune(key, '$') || dollar(item) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, dollar)
	case string:
		return strings.ContainsRune(v, '$')
	}
	return false
}

func (v Variables) fill(o Object, longest int, copied *int) (Object, error) {
	if !dollar(o.Fields) {
		return o, nil
	}
	raw, err := json.Marshal(o.Fields)
	if err != nil {
		return o, err
	}
	text, err := sigsyaml.JSONToYAML(raw)
	if err != nil {
		return o, err
	}
	if err := bounded(string(text), longest); err != nil {
		return o, err
	}
	written := string(text)
	if v.Open {
		text = bare.ReplaceAllFunc(text, func(use []byte) []byte {
			name := string(use[2 : len(use)-1])
			if _, known := v.Values[name]; known || use[1] == '$' || v.Hidden[name] {
				return use
			}
			if v.Unknown != nil {
				return []byte(v.Unknown.For(name))
			}
			return append([]byte("$"), use...)
		})
	}
	if *copied += bytes.Count(text, []byte("$$")) * len(text); *copied > maxEscaped {
		return o, tooMuch("A text with variables", "has too many of them that are not to be filled in")
	}
	output, err := envsubst.Eval(string(text), func(name string) (string, bool) {
		value, known := v.Values[name]
		if !known && v.Hidden[name] {
			return "${" + name + "}", true
		}
		return strings.ReplaceAll(value, "\n", ""), true
	})
	if err != nil {
		return o, err
	}
	if output == written {
		return o, nil
	}
	var fields map[string]any
	if err := sigsyaml.Unmarshal([]byte(output), &fields); err != nil {
		return o, err
	}
	return newObject(fields), nil
}

// bounded refuses a text whose variables could fill the memory: one may be put in the place of every character of another,
// and they stand within one another.
func bounded(text string, longest int) error {
	uses, within, deepest, replaces := 0, 0, 0, false
	for i := range len(text) {
		switch {
		case strings.HasPrefix(text[i:], "${"):
			uses++
			within++
			deepest = max(deepest, within)
		case text[i] == '}':
			within = max(0, within-1)
		case text[i] == '/' && within > 0:
			replaces = true
		}
	}
	size := float64(uses) * float64(longest)
	if replaces {
		size *= math.Pow(float64(longest), float64(deepest))
	}
	if deepest > maxWithin || size > maxFilled {
		return tooMuch("A text with variables", "may become too large once they are filled in")
	}
	return nil
}

func newObject(fields map[string]any) Object {
	metadata, _ := fields["metadata"].(map[string]any)
	text := func(v any) string { s, _ := v.(string); return s }
	return Object{gitops.Object{Kind: text(fields["kind"]), Namespace: text(metadata["namespace"]), Name: text(metadata["name"])}, fields}
}

// Mark puts labels and annotations on objects, over their own, as kustomize-controller does with spec.commonMetadata after
// all else. The objects that it is given stay as they are.
func Mark(objects []Object, labels, annotations map[string]string) []Object {
	if len(labels)+len(annotations) == 0 {
		return objects
	}
	marked := make([]Object, len(objects))
	for i, o := range objects {
		metadata, _ := o.Fields["metadata"].(map[string]any)
		metadata = maps.Clone(metadata)
		for key, add := range map[string]map[string]string{"labels": labels, "annotations": annotations} {
			if len(add) == 0 {
				continue
			}
			own, _ := metadata[key].(map[string]any)
			own = maps.Collect(maps.All(own))
			for name, value := range add {
				own[name] = value
			}
			metadata[key] = own
		}
		marked[i] = Object{o.Object, maps.Clone(o.Fields)}
		marked[i].Fields["metadata"] = metadata
	}
	return marked
}

package render

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

func configMap(name, key, text string) Object {
	return Object{Object: gitops.Object{Kind: "ConfigMap", Namespace: "shop", Name: name},
		Fields: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name}, "data": map[string]any{key: text}}}
}

func lines(changes []gitops.Rendered) (all []string) {
	for _, c := range changes {
		all = append(all, strings.Join([]string{c.Object.Name, c.Path, c.Old, c.New}, " "))
	}
	return all
}

func TestChangesWithinATextOfYAML(t *testing.T) {
	for name, tc := range map[string]struct {
		before, after string
		want          []string
	}{
		"a value":        {"image:\n  tag: 1.0.0\nreplicas: 2\n", "image:\n  tag: 1.1.0\nreplicas: 2\n", []string{`orders data["values.yaml"]|image.tag 1.0.0 1.1.0`}},
		"a secret in it": {"db:\n  password: canary-1\n", "db:\n  password: canary-2\n", []string{`orders data["values.yaml"]|db.password *** *** (changed)`}},
		"a comment":      {"a: 1\n", "a: 1 # one\n", []string{"orders data[\"values.yaml\"] a: 1\n a: 1 # one\n"}},
		"no YAML":        {"one\ntwo: :\n", "one\nthree: :\n", []string{"orders data[\"values.yaml\"] one\ntwo: :\n one\nthree: :\n"}},
		"a single line":  {"a: 1", "a: 2", []string{`orders data["values.yaml"] a: 1 a: 2`}},
	} {
		t.Run(name, func(t *testing.T) {
			changes, digest := Changes([]Object{configMap("orders", "values.yaml", tc.before)}, []Object{configMap("orders", "values.yaml", tc.after)})
			if diff := cmp.Diff(tc.want, lines(changes)); diff != "" || digest == "" {
				t.Errorf("%q %s", digest, diff)
			}
		})
	}
}

func TestChangesOfGeneratedObjects(t *testing.T) {
	before := []Object{configMap("orders-5f8mt2gkah", "TAG", "1.0.0"), configMap("orders-5f8mt2gk4h", "TAG", "1.0.0"), configMap("other", "TAG", "1")}
	after := []Object{configMap("orders-bbbbbggggg", "TAG", "1.1.0"), configMap("another", "TAG", "1")}
	changes, _ := Changes(before[1:], after)
	if diff := cmp.Diff([]string{"another   created", "orders-bbbbbggggg data.TAG 1.0.0 1.1.0", "orders-bbbbbggggg metadata.name orders-5f8mt2gk4h orders-bbbbbggggg", "other   deleted"}, lines(changes)); diff != "" {
		t.Error(diff)
	}
	// A name that only looks alike is another object: a is no letter of a hash.
	changes, _ = Changes(before[:1], after[:1])
	if diff := cmp.Diff([]string{"orders-5f8mt2gkah   deleted", "orders-bbbbbggggg   created"}, lines(changes)); diff != "" {
		t.Error(diff)
	}
}

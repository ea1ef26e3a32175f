package render

import (
	"encoding/json"
	"slices"
	"unicode/utf8"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// decoded reads an object that kustomize built. The result is what json.Unmarshal makes of its JSON, without writing and
// reading it as YAML and JSON on the way, which costs as much as a third of the build.
func decoded(n *yaml.RNode) (map[string]any, error) {
	var all map[string]any
	if n := n.YNode(); !quirky(n, false) && n.Decode(&all) == nil {
		if like, ok := likeJSON(all); ok {
			return like.(map[string]any), nil
		}
	}
	raw, err := n.MarshalJSON()
	if err != nil {
		return nil, err
	}
	all = nil
	return all, json.Unmarshal(raw, &all)
}

// quirky says that writing YAML and reading it may change something: nothing within {} or [] becomes an empty text, and keys
// that are no texts become some.
func quirky(n *yaml.Node, flow bool) bool {
	flow = flow || n.Style&yaml.FlowStyle != 0
	if n.Kind == yaml.ScalarNode {
		return flow && n.Value == ""
	}
	for i := 0; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
		if key := n.Content[i]; key.Kind != yaml.ScalarNode || key.ShortTag() != yaml.NodeTagString {
			return true
		}
	}
	return slices.ContainsFunc(n.Content, func(c *yaml.Node) bool { return quirky(c, flow) })
}

// likeJSON turns decoded YAML, in place, into what decoded JSON looks like. It is not ok for what JSON has another form for.
func likeJSON(v any) (like any, ok bool) {
	switch v := v.(type) {
	case nil, bool:
		return v, true
	case string:
		return v, utf8.ValidString(v)
	case int:
		return float64(v), true
	case float64:
		_, err := json.Marshal(v) // infinities
		return v, err == nil
	case []any:
		for i, item := range v {
			if v[i], ok = likeJSON(item); !ok {
				return nil, false
			}
		}
		return v, true
	case map[string]any:
		for key, item := range v {
			if v[key], ok = likeJSON(item); !ok || !utf8.ValidString(key) {
				return nil, false
			}
		}
		return v, true
	default:
		return nil, false
	}
}

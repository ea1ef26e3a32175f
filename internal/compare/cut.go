package compare

import (
	"maps"
	"slices"
	"strings"
)

// Without gives an object without what stands at paths, as Depends gives them; of a text that something depends on a Secret
// in, nothing is left. The object stays as it is.
func Without(object map[string]any, paths []string) map[string]any {
	if len(paths) == 0 || object == nil {
		return object
	}
	c := comparison{options: Options{Hidden: paths}}
	cut, _ := c.cut(place{}, object, nil, false).(map[string]any)
	return cut
}

// Graft puts texts of which a part stands at one of the paths into an object, as they are in another. The object stays as it
// is.
func Graft(object, from map[string]any, paths []string) map[string]any {
	inner := slices.DeleteFunc(slices.Clone(paths), func(p string) bool { return !strings.Contains(p, "|") })
	if len(inner) == 0 || object == nil || from == nil {
		return object
	}
	c := comparison{options: Options{Hidden: inner}}
	grafted, _ := c.cut(place{}, object, from, true).(map[string]any)
	return grafted
}

// leads says that something below a path is hidden.
func (c *comparison) leads(path string) bool {
	return path == "" || slices.ContainsFunc(c.options.Hidden, func(h string) bool { return Below(h, path) })
}

// namedAlike says that the items of a list are called as in the paths of what is hidden in it.
func (c *comparison) namedAlike(path string, names []string, keyed bool) bool {
	return keyed && !slices.ContainsFunc(c.options.Hidden, func(h string) bool {
		rest, below := strings.CutPrefix(h, path+"[")
		key, _, _ := strings.Cut(rest, "=")
		return below && len(names) > 0 && !strings.HasPrefix(names[0], key+"=")
	})
}

func (c *comparison) cut(at place, v, from any, graft bool) any {
	if !c.leads(at.path) {
		return v
	}
	switch v := v.(type) {
	case map[string]any:
		out := maps.Clone(v)
		other, _ := from.(map[string]any)
		for key, item := range v {
			p := at.under(key, false)
			if c.hidden(p.path) || c.hiddenWithin(p.path) {
				delete(out, key)
				continue
			}
			was, _ := item.(map[string]any)
			if out[key] = c.cut(p, item, other[key], graft); out[key] == nil && item != nil {
				delete(out, key)
			} else if len(was) > 0 && !graft {
				if is, _ := out[key].(map[string]any); len(is) == 0 {
					delete(out, key) // nothing is left of it
				}
			}
		}
		for key, item := range other {
			if p := at.under(key, false); graft && (c.hidden(p.path) || c.hiddenWithin(p.path)) {
				out[key] = item
			}
		}
		return out
	case []any:
		others, _ := from.([]any)
		names, theirs, keyed := identities(at.key, v, others)
		switch {
		case graft && !keyed:
			return v
		case !graft && !c.namedAlike(at.path, names, keyed):
			return nil // what is hidden in it cannot be found
		}
		out := make([]any, 0, len(v))
		for i, item := range v {
			p := at.item(names[i])
			if c.hidden(p.path) {
				continue
			}
			var other any
			if j := slices.Index(theirs, names[i]); j >= 0 {
				other = others[j]
			}
			out = append(out, c.cut(p, item, other, graft))
		}
		return out
	}
	return v
}

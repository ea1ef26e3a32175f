package compare

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// quantities are the paths of fields that hold one.
var quantities = regexp.MustCompile(`(^|\.)(limits|requests|capacity|hard|allocatable|overhead|default|defaultRequest|max|min)[.\[][^.]*$|\.(sizeLimit|averageValue|value|divisor)$`)

// mergeKeys are the fields that Kubernetes tells the items of a list apart by, from the patch and list-map keys of its API;
// the first whose fields all items have, and that no two share, is taken.
var mergeKeys = map[string][][]string{
	"ports":                     {{"containerPort", "protocol"}, {"port", "protocol"}, {"name"}},
	"volumeMounts":              {{"mountPath"}},
	"volumeDevices":             {{"devicePath"}},
	"hostAliases":               {{"ip"}},
	"topologySpreadConstraints": {{"topologyKey", "whenUnsatisfiable"}},
	"tolerations":               {{"key", "operator", "value", "effect"}},
	"conditions":                {{"type"}},
	"ownerReferences":           {{"uid"}, {"kind", "name"}},
	"subjects":                  {{"kind", "namespace", "name"}},
	"paths":                     {{"path", "pathType"}},
	"tls":                       {{"secretName"}, {"hosts"}},
	"rules":                     {{"host"}, {"alert"}, {"record"}, {"apiGroups", "resources", "resourceNames", "nonResourceURLs"}},
	"envFrom":                   {{"prefix", "configMapRef", "secretRef"}},
	"taints":                    {{"key", "effect"}},
	"sources":                   {{"name"}, {"configMap", "secret", "serviceAccountToken", "downwardAPI"}},
	"items":                     {{"key"}, {"path"}, {"name"}},
	"valuesFrom":                {{"kind", "name", "valuesKey", "targetPath"}},
	"dependsOn":                 {{"namespace", "name"}},
	"metrics":                   {{"type", "resource", "pods", "object", "external"}},
}

var otherKeys = [][]string{{"name"}, {"id"}, {"key"}}

// defaults are what a key is where it is not given.
var defaults = map[string]string{"protocol": "TCP"}

// identities name the items of a list on both sides; false where they have no keys.
func identities(key string, x, y []any) (a, b []string, ok bool) {
	for _, keys := range slices.Concat(mergeKeys[key], otherKeys) {
		a, ok := named(keys, x)
		if !ok {
			continue
		}
		if b, ok := named(keys, y); ok {
			return a, b, true
		}
	}
	return nil, nil, false
}

// named gives the items' names by keys, of which each item has at least one; false where two have the same.
func named(keys []string, items []any) ([]string, bool) {
	names := make([]string, len(items))
	seen := make(map[string]bool, len(items))
	for i, item := range items {
		m, ok := item.(map[string]any)
		if !ok {
			return nil, false
		}
		var parts []string
		given := false
		for j, key := range keys {
			v, ok := m[key]
			given = given || ok && v != nil
			switch {
			case ok && v != nil && (len(keys) == 1 || text(v) != defaults[key]):
				s := text(v)
				if j > 0 && len(s) > 80 {
					s = s[:80]
				}
				parts = append(parts, key+"="+s)
			case j == 0 && len(keys) <= 2 && !ok:
				return nil, false // the first one is what counts
			}
		}
		name := strings.Join(parts, ",")
		if !given || seen[name] || len(name) > 300 {
			return nil, false
		}
		seen[name] = true
		names[i] = name
	}
	return names, true
}

// items compares two lists: item by item where these have keys, or else by what is the same on both sides.
func (c *comparison) items(at place, x, y []any) {
	var a, b []string
	ok := false
	if !at.secret { // else a key could be what is secret
		a, b, ok = identities(at.key, x, y)
	}
	switch {
	case ok && c.whole && !slices.Equal(a, b):
		c.add(at, x, y)
	case ok:
		c.keyed(at, x, y, a, b)
	case c.whole && len(x) != len(y):
		c.add(at, x, y)
	default:
		c.aligned(at, x, y)
	}
}

func (c *comparison) keyed(at place, x, y []any, a, b []string) {
	there := make(map[string]any, len(y))
	for i, name := range b {
		there[name] = y[i]
	}
	both := make(map[string]bool, len(x))
	for i, name := range a {
		item, ok := there[name]
		c.values(at.item(name), x[i], item)
		both[name] = ok
	}
	for i, name := range b {
		if _, ok := both[name]; !ok {
			c.values(at.item(name), nil, y[i])
		}
	}
	kept := func(names []string) (o order) {
		for _, name := range names {
			if both[name] {
				o = append(o, name[strings.IndexByte(name, '=')+1:])
			}
		}
		return o
	}
	if was, is := kept(a), kept(b); !slices.Equal(was, is) && !unordered[at.key] {
		c.add(at, was, is)
	}
}

// unordered are lists that Kubernetes reads as sets.
var unordered = map[string]bool{
	"ports": true, "volumes": true, "volumeMounts": true, "imagePullSecrets": true, "tolerations": true, "subjects": true,
	"ownerReferences": true, "conditions": true, "hostAliases": true, "accessModes": true, "finalizers": true, "verbs": true,
	"apiGroups": true, "resources": true, "topologySpreadConstraints": true, "policyTypes": true, "taints": true,
	"secrets": true, "shortNames": true, "categories": true, "dependsOn": true, "metrics": true,
}

// aligned compares lists without keys. Items between two that are the same are paired by their place.
func (c *comparison) aligned(at place, x, y []any) {
	a, b := make([]string, len(x)), make([]string, len(y))
	for i := range x {
		a[i] = encode(x[i])
	}
	for i := range y {
		b[i] = encode(y[i])
	}
	if slices.Equal(a, b) {
		return
	}
	if p, q := slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)); slices.Equal(p, q) {
		if !unordered[at.key] {
			c.add(at, x, y)
		}
		return
	}
	if unordered[at.key] {
		slices.Sort(a)
		slices.Sort(b)
		x, y = sorted(x), sorted(y)
	}
	place := func(i int, list []any) place {
		p := at.item(strconv.Itoa(i))
		if _, ok := list[i].(string); ok && unordered[at.key] {
			p.path = at.path // its place says nothing
		}
		p.secret = p.secret || c.secretItem(list, i)
		return p
	}
	for _, s := range align(a, b) {
		n := min(s.toA-s.fromA, s.toB-s.fromB)
		for i := range n {
			p := place(s.fromB+i, y)
			p.secret = p.secret || c.secretItem(x, s.fromA+i)
			c.values(p, x[s.fromA+i], y[s.fromB+i])
		}
		for i := s.fromA + n; i < s.toA; i++ {
			c.values(place(i, x), x[i], nil)
		}
		for i := s.fromB + n; i < s.toB; i++ {
			c.values(place(i, y), nil, y[i])
		}
	}
}

func sorted(list []any) []any {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b any) int { return strings.Compare(encode(a), encode(b)) })
	return list
}

// A span is a run of items, in a and in b, that differs.
type span struct{ fromA, toA, fromB, toB int }

// align finds what two lists have in common, as much as there is, and gives the spans between. Lists that differ too much
// for their length are one span from the first to the last difference.
func align[T comparable](a, b []T) (spans []span) {
	head, tail := 0, 0
	for head < min(len(a), len(b)) && a[head] == b[head] {
		head++
	}
	for tail < min(len(a), len(b))-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	x, y := a[head:len(a)-tail], b[head:len(b)-tail]
	switch {
	case len(x) == 0 && len(y) == 0:
		return nil
	case len(x) == 0 || len(y) == 0:
		return []span{{head, head + len(x), head, head + len(y)}}
	}
	path, ok := common(x, y)
	if !ok {
		return []span{{head, head + len(x), head, head + len(y)}}
	}
	// path has the pairs that are kept, in order.
	i, j := 0, 0
	for _, p := range append(path, [2]int{len(x), len(y)}) {
		if p[0] > i || p[1] > j {
			spans = append(spans, span{head + i, head + p[0], head + j, head + p[1]})
		}
		i, j = p[0]+1, p[1]+1
	}
	return spans
}

// common finds the pairs of equal items that are kept; false where that takes too much. What one side alone has is no
// match for anything: it is left out of the search.
func common[T comparable](a, b []T) (kept [][2]int, ok bool) {
	in := func(list []T) map[T]bool {
		m := make(map[T]bool, len(list))
		for _, item := range list {
			m[item] = true
		}
		return m
	}
	both := func(list []T, other map[T]bool) (items []T, at []int) {
		for i, item := range list {
			if other[item] {
				items, at = append(items, item), append(at, i)
			}
		}
		return items, at
	}
	x, atX := both(a, in(b))
	y, atY := both(b, in(a))
	if len(x) == 0 {
		return nil, true
	}
	if kept = shortest(x, y); kept == nil {
		return nil, false
	}
	for i, k := range kept {
		kept[i] = [2]int{atX[k[0]], atY[k[1]]}
	}
	return kept, true
}

// shortest finds the pairs of equal items that the shortest way from a to b keeps, after Myers, "An O(ND) Difference
// Algorithm" (1986); nil where that takes too much.
func shortest[T comparable](a, b []T) [][2]int {
	n, m := len(a), len(b)
	zero := n + m + 1              // of diagonal 0 in reach
	reach := make([]int, 2*zero+1) // the furthest x on each diagonal x-y
	var trace [][]int              // of each step d, the diagonals -d-1 to d+1 before it
	for d, cells := 0, 0; ; d++ {
		if cells += 2*d + 3; cells > maxCells {
			return nil
		}
		trace = append(trace, slices.Clone(reach[zero-d-1:zero+d+2]))
		for k := -d; k <= d; k += 2 {
			x := reach[zero+k-1] + 1
			if k == -d || k != d && reach[zero+k-1] < reach[zero+k+1] {
				x = reach[zero+k+1]
			}
			for x < n && x-k < m && a[x] == b[x-k] {
				x++
			}
			reach[zero+k] = x
			if x >= n && x-k >= m {
				return backtrack(trace, n, m)
			}
		}
	}
}

func backtrack(trace [][]int, x, y int) (kept [][2]int) {
	for d := len(trace) - 1; d > 0; d-- {
		before := func(k int) int { return trace[d][k+d+1] }
		k := x - y
		from, startX := k-1, 0
		if k == -d || k != d && before(k-1) < before(k+1) {
			from = k + 1
			startX = before(from)
		} else {
			startX = before(from) + 1
		}
		for x > startX {
			x, y = x-1, y-1
			kept = append(kept, [2]int{x, y})
		}
		x = before(from)
		y = x - from
	}
	for x > 0 {
		x--
		kept = append(kept, [2]int{x, x})
	}
	slices.Reverse(kept)
	return kept
}

package operation

import (
	"fmt"
	"hash/fnv"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// String words a right: "list deployments.apps in namespace shop".
func (r Right) String() string {
	return rule{[]string{r.Group}, []string{r.Resource}, []string{r.Verb}, names(r.Name)}.words(names(r.Namespace))
}

// names is a list of one name, or of none.
func names(name string) []string {
	if name == "" {
		return nil
	}
	return []string{name}
}

// A rule is one of a role. Its lists are sorted.
type rule struct{ groups, resources, verbs, names []string }

// words says what the rule allows in the namespaces; none: in all.
func (r rule) words(namespaces []string) string {
	s := strings.Join(r.verbs, ", ") + " " + strings.Join(r.resources, ", ")
	if r.groups[0] != "" {
		s += " (" + r.groups[0] + ")"
	}
	if len(r.names) > 0 {
		s += " " + strings.Join(r.names, ", ")
	}
	switch len(namespaces) {
	case 0:
		return s
	case 1:
		return s + " in namespace " + namespaces[0]
	}
	return s + " in namespaces " + strings.Join(namespaces, ", ")
}

// A grant is what one role allows: in the whole cluster where it names no namespaces.
type grant struct {
	namespaces []string
	rules      []rule
}

// grants puts rights together: one rule for the resources of a group that need the same verbs, and one role for the
// namespaces that need the same rules.
func grants(rights []Right) []grant {
	type target struct{ group, resource, name string }
	verbs := map[string]map[target][]string{} // by namespace
	for _, r := range rights {
		if verbs[r.Namespace] == nil {
			verbs[r.Namespace] = map[target][]string{}
		}
		t := target{r.Group, r.Resource, r.Name}
		verbs[r.Namespace][t] = append(verbs[r.Namespace][t], r.Verb)
	}
	var all []grant
	for _, namespace := range slices.Sorted(maps.Keys(verbs)) {
		type shape struct{ group, name, verbs string }
		resources := map[shape][]string{}
		for t, v := range verbs[namespace] {
			slices.Sort(v)
			s := shape{t.group, t.name, strings.Join(slices.Compact(v), " ")}
			resources[s] = append(resources[s], t.resource)
		}
		var rules []rule
		for s, r := range resources {
			slices.Sort(r)
			rules = append(rules, rule{[]string{s.group}, slices.Compact(r), strings.Fields(s.verbs), names(s.name)})
		}
		slices.SortFunc(rules, func(a, b rule) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		same := slices.IndexFunc(all, func(g grant) bool { return len(g.namespaces) > 0 && fmt.Sprint(g.rules) == fmt.Sprint(rules) })
		switch {
		case namespace == "":
			all = append(all, grant{nil, rules})
		case same >= 0:
			all[same].namespaces = append(all[same].namespaces, namespace)
		default:
			all = append(all, grant{[]string{namespace}, rules})
		}
	}
	return all
}

// roles writes the roles and bindings that give rights to subjects, for kubectl apply. Their names tell what is in them,
// so that they add to what there is and never replace other roles.
func roles(whose string, subjects []Subject, rights []Right) string {
	var documents []string
	for _, g := range grants(rights) {
		sum := fnv.New32a()
		fmt.Fprint(sum, subjects, g)
		name := fmt.Sprintf("ferry-%s-%08x", strings.ReplaceAll(strings.ToLower(whose), " ", "-"), sum.Sum32())
		kind, at := "ClusterRole", ""
		if len(g.namespaces) == 1 {
			kind, at = "Role", ", namespace: "+quoted(g.namespaces[0])
		}
		document := fmt.Sprintf("apiVersion: rbac.authorization.k8s.io/v1\nkind: %s\nmetadata: {name: %s%s}\nrules:", kind, quoted(name), at)
		for _, r := range g.rules {
			document += fmt.Sprintf("\n- {apiGroups: %s, resources: %s", list(r.groups), list(r.resources))
			if len(r.names) > 0 {
				document += ", resourceNames: " + list(r.names)
			}
			document += fmt.Sprintf(", verbs: %s}", list(r.verbs))
		}
		documents = append(documents, document)
		bind := func(binding, at string) {
			document := fmt.Sprintf("apiVersion: rbac.authorization.k8s.io/v1\nkind: %s\nmetadata: {name: %s%s}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: %s, name: %s}\nsubjects:",
				binding, quoted(name), at, kind, quoted(name))
			for _, s := range subjects {
				document += "\n- " + s.yaml()
			}
			documents = append(documents, document)
		}
		if len(g.namespaces) == 0 {
			bind("ClusterRoleBinding", "")
		}
		for _, namespace := range g.namespaces {
			bind("RoleBinding", ", namespace: "+quoted(namespace))
		}
	}
	return strings.Join(documents, "\n---\n")
}

func (s Subject) yaml() string {
	if s.Kind == "ServiceAccount" {
		return fmt.Sprintf("{kind: ServiceAccount, namespace: %s, name: %s}", quoted(s.Namespace), quoted(s.Name))
	}
	return fmt.Sprintf("{apiGroup: rbac.authorization.k8s.io, kind: %s, name: %s}", s.Kind, quoted(s.Name))
}

func list(words []string) string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = quoted(w)
	}
	return "[" + strings.Join(all, ", ") + "]"
}

var plainWord = regexp.MustCompile(`^[a-z][a-z0-9.-]*$`)

// quoted writes a word as YAML. Names of users may hold anything: what a chat platform could change is escaped, so that
// what is copied from there is the same.
func quoted(word string) string {
	if plainWord.MatchString(word) && !slices.Contains([]string{"y", "n", "yes", "no", "on", "off", "true", "false", "null"}, word) {
		return word
	}
	var b strings.Builder
	for _, r := range word {
		if r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r)) || strings.ContainsRune("-.:/ ", r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\U%08X`, r)
		}
	}
	return `"` + b.String() + `"`
}

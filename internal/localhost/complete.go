package localhost

import (
	"regexp"
	"slices"
	"strings"
)

// A Usage is one form of a command. Words of its line in small letters are typed as they are; APP, VERSION, ENV, VERB and
// NUMBER|URL|BRANCH stand for names; what is in brackets may be left out, as may the rest of the line then: "rollback APP on ENV [to VERSION]".
type Usage struct {
	Line    string
	Options []string // "--pr", or "--reason TEXT" if it takes a value
}

// A Grammar is all that can be typed, for completion.
type Grammar []Usage

// pattern are the words of a usage, without brackets.
func (u Usage) pattern() []string {
	return strings.Fields(strings.NewReplacer("[", "", "]", "").Replace(u.Line))
}

// beforeEnvironment are the words that mean the same there.
var beforeEnvironment = []string{"to", "on", "in"}

// bind reads words by a pattern, from the left, and gives what each name in it stands for, as many as there are. The
// words may end before the pattern does.
func bind(pattern, words []string) (names []binding, ok bool) {
	if len(words) > len(pattern) {
		return nil, false
	}
	for i, word := range words {
		switch want := pattern[i]; want {
		case "APP@VERSION":
			app, version, found := strings.Cut(word, "@")
			if !found {
				return nil, false
			}
			names = append(names, binding{"APP", app}, binding{"VERSION", version})
		case "NUMBER|URL|BRANCH":
		case "APP", "VERSION", "ENV", "VERB":
			if strings.Contains(word, "@") || want == "ENV" && word == "pr" { // what no environment is called
				return nil, false
			}
			names = append(names, binding{want, word})
		default:
			alike := i+1 < len(pattern) && pattern[i+1] == "ENV" && slices.Contains(beforeEnvironment, want)
			if word != want && (!alike || !slices.Contains(beforeEnvironment, word)) {
				return nil, false
			}
		}
	}
	return names, true
}

type binding struct{ kind, name string }

// takesValue says whether the word after an option belongs to it.
func (g Grammar) takesValue(option string) bool {
	for _, usage := range g {
		if slices.ContainsFunc(usage.Options, func(o string) bool { return strings.HasPrefix(o, option+" ") }) {
			return true
		}
	}
	return false
}

// words splits a line and takes the plugin's name and the options out. open says that its end is a value still being
// written: of an option or within quotes.
func (g Grammar) words(line string) (words []string, open bool) {
	var word strings.Builder
	var quote rune
	value := false // the next word belongs to an option
	end := func() {
		s := word.String()
		word.Reset()
		switch {
		case s == "":
		case value:
			value = false
		case strings.HasPrefix(s, "-"):
			value = g.takesValue(s)
		default:
			words = append(words, s)
		}
	}
	for _, c := range line {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
			word.WriteRune(c)
		case c == '"', c == '\'':
			quote = c
			word.WriteRune(c)
		case c == ' ', c == '\t':
			end()
		default:
			word.WriteRune(c)
		}
	}
	end()
	if len(words) > 0 && words[0] == pluginName {
		words = words[1:]
	}
	return words, quote != 0 || value
}

// verbs are the first words of all usages.
func (g Grammar) verbs() []string {
	var verbs []string
	for _, usage := range g {
		verbs = add(verbs, usage.pattern()[0])
	}
	return verbs
}

// usages are the forms of the verb that a line begins with.
func (g Grammar) usages(line string) []string {
	words, _ := g.words(line)
	var found []string
	for _, usage := range g {
		if len(words) > 0 && usage.pattern()[0] == words[0] {
			found = append(found, usage.Line)
		}
	}
	return found
}

// complete gives what the last word of a line can be, and the part of it that is there already. Nothing is offered that
// the grammar or an answer does not have.
func (g Grammar) complete(line string, known *names) (candidates []string, partial string) {
	partial = line[strings.LastIndexAny(line, " \t")+1:]
	words, open := g.words(strings.TrimSuffix(line, partial))
	if open {
		return nil, partial
	}
	add := func(found ...string) {
		for _, s := range found {
			if strings.HasPrefix(s, partial) && !slices.Contains(candidates, s) {
				candidates = append(candidates, s)
			}
		}
	}
	for _, usage := range g {
		pattern := usage.pattern()
		bound, ok := bind(pattern, words)
		switch {
		case !ok:
		case strings.HasPrefix(partial, "-") && len(words) > 0:
			for _, option := range usage.Options {
				option, _, _ = strings.Cut(option, " ")
				if !slices.Contains(strings.Fields(line), option) {
					add(option)
				}
			}
		case len(words) == len(pattern):
		default:
			add(g.next(pattern[len(words)], bound, partial, known)...)
		}
	}
	return candidates, partial
}

// next is what can stand in a place of a pattern, behind the names before it.
func (g Grammar) next(place string, bound []binding, partial string, known *names) []string {
	var app string
	var environments []string
	for _, b := range bound {
		switch b.kind {
		case "APP":
			app = b.name
		case "ENV":
			environments = append(environments, b.name)
		}
	}
	switch place {
	case "APP":
		return known.applications
	case "APP@VERSION":
		matching := slices.DeleteFunc(slices.Clone(known.applications), func(a string) bool {
			name, _, _ := strings.Cut(partial, "@")
			return !strings.HasPrefix(a, name)
		})
		var out []string
		for _, a := range matching {
			if len(matching) > 1 && !strings.HasPrefix(partial, a+"@") {
				out = append(out, a+"@")
				continue
			}
			for _, version := range known.versions[a] {
				out = append(out, a+"@"+version)
			}
		}
		return out
	case "VERSION":
		return known.versions[app]
	case "ENV":
		return slices.DeleteFunc(slices.Clone(known.environments), func(e string) bool { return slices.Contains(environments, e) })
	case "VERB":
		return g.verbs()
	case "NUMBER|URL|BRANCH":
		return nil
	default:
		return []string{place}
	}
}

// names are those seen in answers, each kind in the order in which it was seen.
type names struct {
	applications []string
	environments []string
	versions     map[string][]string // by application
}

const (
	maxNames    = 1000 // of one kind; more are not learned
	maxVersions = 20   // of an application; the first seen go
)

// name is what may be one: a stranger's text that is anything else is not offered for typing.
var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/+-]{0,127}$`)

func add(to []string, s string) []string {
	if !name.MatchString(s) || slices.Contains(to, s) || len(to) >= maxNames {
		return to
	}
	return append(to, s)
}

func (n *names) addVersion(app, version string) {
	if !slices.Contains(n.applications, app) || !name.MatchString(version) || slices.Contains(n.versions[app], version) {
		return
	}
	if n.versions == nil {
		n.versions = map[string][]string{}
	}
	n.versions[app] = append(n.versions[app], version)
	n.versions[app] = n.versions[app][max(0, len(n.versions[app])-maxVersions):]
}

// learn takes the names out of an answer: from the lines of its buttons and selects, and from its tables.
func (n *names) learn(g Grammar, v view) {
	for _, block := range v.blocks {
		n.learnTable(block)
	}
	for _, c := range v.choices {
		n.learnLine(g, c.line)
		for _, option := range c.options {
			n.learnLine(g, option.line)
		}
	}
}

// learnLine takes the names out of a command.
func (n *names) learnLine(g Grammar, line string) {
	words, _ := g.words(line)
	if len(words) == 0 {
		return
	}
	for _, usage := range g {
		bound, ok := bind(usage.pattern(), words)
		if !ok {
			continue
		}
		app := ""
		for _, b := range bound {
			switch b.kind {
			case "APP":
				app = b.name
				n.applications = add(n.applications, app)
			case "ENV":
				n.environments = add(n.environments, b.name)
			case "VERSION":
				n.addVersion(app, b.name)
			}
		}
		return
	}
}

// learnTable reads the tables of list and diff: applications in the first column, environments in those whose names are
// not in capitals, and in these an application's versions, in rows that are about the version.
func (n *names) learnTable(block string) {
	t, ok := parseTable(block)
	if !ok || t.rows[0][0] != "APPLICATION" {
		return
	}
	heads := t.rows[0]
	field := slices.Index(heads, "FIELD")
	for i, head := range heads {
		if i > 0 && head != strings.ToUpper(head) {
			n.environments = add(n.environments, head)
		}
	}
	for _, row := range t.rows[1:] {
		n.applications = add(n.applications, row[0])
		if field >= 0 && row[field] != "version" {
			continue
		}
		for i, cell := range row {
			if i == 0 || heads[i] == strings.ToUpper(heads[i]) {
				continue
			}
			for word := range strings.FieldsSeq(cell) {
				if strings.ContainsAny(word, "0123456789") {
					n.addVersion(row[0], word)
				}
			}
		}
	}
}

// commonPrefix is what all candidates begin with.
func commonPrefix(candidates []string) string {
	prefix := candidates[0]
	for _, s := range candidates[1:] {
		for !strings.HasPrefix(s, prefix) {
			prefix = prefix[:len(prefix)-1]
		}
	}
	return prefix
}

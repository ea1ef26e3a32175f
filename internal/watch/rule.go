package watch

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// A Rule says which pull requests people are told of. A pull request's event is told by the first rule that matches it.
type Rule struct {
	// Types are kinds of events: opened, reopened, synchronize, ready, closed, merged, labelled, unlabelled, retargeted;
	// GitHub's labeled and unlabeled are read too. Closed is without being merged. "open" means that it is or becomes open:
	// every opened, reopened and synchronize, and whatever makes the other filters match, once per head. None means open,
	// closed and merged.
	Types   []string
	Base    Filter // its base branch
	Authors Filter // logins
	Labels  Filter // any of its labels
	// Paths are of the files that it changes. A renamed file counts by both names.
	Paths Filter
	// Drafts, if false, leaves drafts out.
	Drafts *bool
}

// A Filter lets through what matches one of Include, or anything where that is empty, unless something matches one of
// Exclude: one label, or one file, that is excluded keeps out the whole pull request.
//
// A pattern is a regular expression (RE2) that has to match all of a text, or, behind "glob:", a glob: * and ? stand for
// characters other than a slash, ** for any, {a,b} for one of several, [a-z] for one of a range. A pattern that is the text
// itself always matches.
type Filter struct{ Include, Exclude []string }

// A Mistake is one of a configuration, and where it is.
type Mistake struct {
	Path string // repositories[0].on.pullRequests[1].paths.include[0]
	Text string
}

// String is the path and what is wrong there.
func (m Mistake) String() string { return m.Path + ": " + m.Text }

// A rule is a Rule that is compiled.
type rule struct {
	path                         string
	kinds                        []Kind
	open                         bool
	drafts                       bool
	base, authors, labels, paths filter
}

type filter struct{ include, exclude []pattern }

type pattern struct {
	text string
	all  *regexp.Regexp
}

// words are what Types may hold, besides open.
var words = map[string]Kind{
	"opened": Opened, "reopened": Reopened, "synchronize": Synchronize, "ready": Ready, "closed": Closed, "merged": Merged,
	"labelled": Labelled, "unlabelled": Unlabelled, "retargeted": Retargeted, "labeled": Labelled, "unlabeled": Unlabelled,
}

// maxPattern is the length of a pattern in bytes beyond which it is refused: the largest regular expression is what costs
// most here.
const maxPattern = 1000

// compile reads a rule that stands at a path of the configuration. With mistakes, the rule must not be used: without one of
// its filters it would tell of what nobody asked for.
func (r Rule) compile(path string) (*rule, []Mistake) {
	c := &rule{path: path, drafts: r.Drafts == nil || *r.Drafts}
	var mistakes []Mistake
	types := r.Types
	if len(types) == 0 {
		types = []string{"open", "closed", "merged"}
	}
	for i, t := range types {
		kind, known := words[t]
		switch {
		case t == "open":
			c.open = true
		case known:
			c.kinds = append(c.kinds, kind)
		default:
			all := []string{"open"}
			for w := range words {
				all = append(all, w)
			}
			slices.Sort(all)
			text := fmt.Sprintf("%q is none of %s", short(t), strings.Join(all, ", "))
			if near := gitops.Closest(t, all); near != "" {
				text = fmt.Sprintf("%q is no type; did you mean %s?", short(t), near)
			}
			mistakes = append(mistakes, Mistake{fmt.Sprintf("%s.types[%d]", path, i), text})
		}
	}
	for _, f := range []struct {
		to   *filter
		from Filter
		name string
	}{{&c.base, r.Base, "base"}, {&c.authors, r.Authors, "authors"}, {&c.labels, r.Labels, "labels"}, {&c.paths, r.Paths, "paths"}} {
		var more []Mistake
		f.to.include, more = patterns(f.from.Include, path+"."+f.name+".include")
		mistakes = append(mistakes, more...)
		f.to.exclude, more = patterns(f.from.Exclude, path+"."+f.name+".exclude")
		mistakes = append(mistakes, more...)
	}
	return c, mistakes
}

func short(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:60], "") + "…"
	}
	return s
}

func patterns(texts []string, path string) ([]pattern, []Mistake) {
	var compiled []pattern
	var mistakes []Mistake
	for i, text := range texts {
		p, err := compilePattern(text)
		if err != nil {
			mistakes = append(mistakes, Mistake{fmt.Sprintf("%s[%d]", path, i), err.Error()})
			continue
		}
		compiled = append(compiled, p)
	}
	return compiled, mistakes
}

func compilePattern(text string) (pattern, error) {
	expression := text
	glob, isGlob := strings.CutPrefix(text, "glob:")
	switch {
	case text == "" || isGlob && glob == "":
		return pattern{}, fmt.Errorf("is empty")
	case len(text) > maxPattern:
		return pattern{}, fmt.Errorf("is longer than %d bytes", maxPattern)
	case isGlob:
		var err error
		if expression, err = fromGlob(glob); err != nil {
			return pattern{}, fmt.Errorf("%q is no glob: %w", short(glob), err)
		}
	}
	// By itself first: "a)|(b" would be one together with what is around it.
	if _, err := regexp.Compile(expression); err != nil {
		return pattern{}, notRegexp(text, err)
	}
	all, err := regexp.Compile(`\A(?s:` + expression + `)\z`)
	if err != nil {
		return pattern{}, notRegexp(text, err)
	}
	return pattern{text: text, all: all}, nil
}

// notRegexp says what is wrong with a pattern. One with a star too many is most likely meant as a glob.
func notRegexp(text string, err error) error {
	fault, ok := errors.AsType[*syntax.Error](err)
	if !ok {
		return fmt.Errorf("%q is no regular expression: %w", short(text), err)
	}
	hint := ""
	if glob := !strings.HasPrefix(text, "glob:"); glob && (fault.Code == syntax.ErrMissingRepeatArgument || fault.Code == syntax.ErrInvalidRepeatOp) {
		hint = "; for a glob, write glob: before it"
	}
	return fmt.Errorf("%q is no regular expression: %s%s", short(text), fault.Code, hint)
}

// fromGlob writes a glob as a regular expression.
func fromGlob(glob string) (string, error) {
	var b strings.Builder
	depth := 0
	for i := 0; i < len(glob); {
		rest := glob[i:]
		switch c := glob[i]; {
		case strings.HasPrefix(rest, "**/"): // no directory as well
			b.WriteString(`(?:.*/)?`)
			i += 3
			continue
		case strings.HasPrefix(rest, "**"):
			b.WriteString(`.*`)
			i += 2
			continue
		case c == '*':
			b.WriteString(`[^/]*`)
		case c == '?':
			b.WriteString(`[^/]`)
		case c == '{':
			depth++
			b.WriteString(`(?:`)
		case c == '}' && depth > 0:
			depth--
			b.WriteByte(')')
		case c == ',' && depth > 0:
			b.WriteByte('|')
		case c == '[':
			end := strings.IndexByte(rest[1:], ']')
			if end < 1 {
				return "", fmt.Errorf("a [ without its ]")
			}
			set := rest[1 : 1+end]
			b.WriteByte('[')
			if set[0] == '!' && len(set) > 1 {
				b.WriteByte('^')
				set = set[1:]
			}
			b.WriteString(strings.NewReplacer(`\`, `\\`, `[`, `\[`, `^`, `\^`).Replace(set))
			b.WriteByte(']')
			i += end + 2
			continue
		case c == '\\' && len(rest) > 1:
			b.WriteString(regexp.QuoteMeta(rest[1:2]))
			i += 2
			continue
		default:
			b.WriteString(regexp.QuoteMeta(rest[:1]))
		}
		i++
	}
	if depth > 0 {
		return "", fmt.Errorf("a { without its }")
	}
	return b.String(), nil
}

func (p pattern) match(text string) bool { return text == p.text || p.all.MatchString(text) }

// match says whether texts, the alternatives that one thing has, get through.
func (f filter) match(texts ...string) bool {
	hit := func(patterns []pattern) bool {
		return slices.ContainsFunc(patterns, func(p pattern) bool { return slices.ContainsFunc(texts, p.match) })
	}
	return !hit(f.exclude) && (len(f.include) == 0 || hit(f.include))
}

func (f filter) none() bool { return len(f.include) == 0 && len(f.exclude) == 0 }

// cheap says whether a pull request gets through all filters but that of paths, which costs a request.
func (r *rule) cheap(author, base string, draft bool, labels []string) bool {
	return (r.drafts || !draft) && r.base.match(base) && r.authors.match(author) && r.labels.match(labels...)
}

// touches says whether the files of a pull request get through. Those beyond GitHub's maximum, where these are not all, could
// be what Include asks for, so they count as that.
func (r *rule) touches(files []File, all bool) bool {
	names := make([]string, 0, len(files))
	for _, f := range files {
		names = append(names, f.Name)
		if f.Previous != "" {
			names = append(names, f.Previous)
		}
	}
	if all {
		return r.paths.match(names...)
	}
	return filter{exclude: r.paths.exclude}.match(names...)
}

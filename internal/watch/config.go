package watch

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// A Config says what is watched.
type Config struct {
	Repositories []Repository
	// Interval is how long after a look the next one follows, where a repository has none of its own. Zero is 30 s.
	Interval time.Duration
	// Ceiling is how many requests a minute all looks together may need. Beyond it, repositories that are quiet are looked at
	// less often. Zero is 300.
	Ceiling int
	// Partial says that there may be more repositories, which could not be read: what is known of others is not forgotten.
	Partial bool
	// Files asks for the files of every event's pull request, not only where a rule needs them.
	Files bool
	// Factor is what all times here, and all that watch has of its own, are divided by, and numbers a minute multiplied: for
	// measuring within minutes what takes hours. What is compared with GitHub's times stays as it is, since the clock of a
	// GitHub that is measured against runs faster. Zero is 1.
	Factor float64
}

// A Repository is one that is watched.
type Repository struct {
	Name     string // owner/name
	Interval time.Duration
	// Before replays, when the repository is seen for the first time, the open pull requests that changed within it.
	Before time.Duration
	Rules  []Rule
}

// limits of what a configuration may ask for.
const (
	minInterval = 5 * time.Second
	maxInterval = 24 * time.Hour
)

// A source is a Repository of the configuration, or several of the same name.
type source struct {
	name     string
	interval time.Duration
	before   time.Duration
	rules    []*rule
}

// Mistakes are all that is wrong with a configuration.
func (c Config) Mistakes() []Mistake {
	_, _, mistakes := c.compile()
	return mistakes
}

// compile reads a Config: what can be watched of it, and all that is wrong with the rest.
func (c Config) compile() (Config, []*source, []Mistake) {
	c.Interval = cmp.Or(max(c.Interval, 0), 30*time.Second)
	c.Ceiling = cmp.Or(max(c.Ceiling, 0), 300)
	if c.Factor <= 0 {
		c.Factor = 1
	}
	var sources []*source
	var mistakes []Mistake
	for i, r := range c.Repositories {
		path := fmt.Sprintf("repositories[%d]", i)
		if _, _, ok := gitops.SplitRepository(r.Name); !ok {
			mistakes = append(mistakes, Mistake{path + ".name", fmt.Sprintf("%q is no repository; write OWNER/NAME", short(r.Name))})
			continue
		}
		if len(r.Rules) == 0 {
			mistakes = append(mistakes, Mistake{path + ".on.pullRequests", "is empty, so nothing would be told of " + r.Name})
			continue
		}
		s := &source{name: r.Name, interval: min(max(cmp.Or(r.Interval, c.Interval), minInterval), maxInterval), before: max(r.Before, 0)}
		for j, configured := range r.Rules {
			compiled, wrong := configured.compile(fmt.Sprintf("%s.on.pullRequests[%d]", path, j))
			if mistakes = append(mistakes, wrong...); len(wrong) == 0 {
				s.rules = append(s.rules, compiled)
			}
		}
		// The same repository twice is how several teams write their rules side by side.
		if k := slices.IndexFunc(sources, func(o *source) bool { return strings.EqualFold(o.name, s.name) }); k >= 0 {
			twin := sources[k]
			twin.interval, twin.before = min(twin.interval, s.interval), max(twin.before, s.before)
			twin.rules = append(twin.rules, s.rules...)
			continue
		}
		sources = append(sources, s)
	}
	return c, sources, mistakes
}

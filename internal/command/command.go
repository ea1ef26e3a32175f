// Package command reads what people type in chat as typed requests, and writes requests back as lines. It never
// guesses: a line that it does not understand as a whole is refused, with the closest usage.
package command

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

const (
	maxVersion = 128 // an image tag's limit in the OCI distribution specification
	maxName    = 253 // a Kubernetes name's
	maxReason  = 300 // bytes; percent-encoded it has to fit into a button's value, 2,000 characters in Slack
	maxField   = 300 // likewise
	maxWord    = 80  // characters of a user's word that an answer repeats
)

var (
	name    = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)
	version = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+-]*$`)
	image   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._/:-]*[A-Za-z0-9])?$`)
	digest  = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	hash    = regexp.MustCompile(`^[0-9a-f]{32}$`)

	kinds = []string{"HelmRelease", "Deployment", "StatefulSet", "DaemonSet"}
	// before are the words that may stand before an environment; between, those between the two of diff.
	before  = []string{"to", "on", "in"}
	between = []string{"to", "with", "and", "against"}
)

// Parse reads a line as the host hands it over, with or without the bot's and the plugin's name before it:
//
//	list [APP]
//	diff ENV [OTHER]
//	diff pr NUMBER|URL|BRANCH [--repo OWNER/NAME] [--env ENV]
//	promote APP@VERSION to ENV      promote APP from ENV to ENV
//	rollback APP on ENV [to VERSION]
//	status [APP on ENV] [--refresh]
//	status source
//	check [ENV]
//	help [VERB], VERB --help
//
// An empty line asks for help. Every error is a *gitops.Refusal of code Usage.
func Parse(line string) (gitops.Request, error) {
	words, err := tokens(line)
	if err != nil {
		return nil, err
	}
	words, err = withoutHostFlags(words)
	if err != nil {
		return nil, err
	}
	words = withoutAddress(words)
	if len(words) == 0 {
		return gitops.Help{}, nil
	}
	first := words[0].text
	if isHelpFlag(words[0]) {
		return gitops.Help{}, nil
	}
	verb := strings.ToLower(first)
	if !slices.Contains(verbs(), verb) {
		return nil, unknownVerb(words)
	}
	if slices.ContainsFunc(words[1:], isHelpFlag) {
		return gitops.Help{Topic: verb}, nil
	}
	p := &parser{verb: verb}
	var change gitops.Change
	var review gitops.Review
	switch rest := words[1:]; {
	case verb == "promote", verb == "rollback":
		change, err = p.change(rest)
	case verb == "diff" && len(rest) > 0 && strings.EqualFold(rest[0].text, "pr"):
		p.reviews = true
		err = p.split(rest[1:], reviewOptions, func(option, value string) error { return p.setReview(&review, option, value) })
	case verb == "status":
		err = p.split(rest, []Option{{Name: refresh}}, func(string, string) error {
			p.refresh = true
			return nil
		})
	default:
		err = p.split(rest, nil, nil)
	}
	if err != nil {
		return nil, err
	}
	switch verb {
	case "list":
		return p.list()
	case "diff":
		if p.reviews {
			return p.review(review)
		}
		return p.diff()
	case "promote":
		return p.promote(change)
	case "rollback":
		return p.rollback(change)
	case "status":
		return p.status()
	case "check":
		return p.check()
	default:
		return p.help()
	}
}

// A parser holds the words of one line that are not options and not read yet.
type parser struct {
	verb        string
	words       []string
	application string // once read, for the example in a refusal
	environment string
	reviews     bool // diff pr
	refresh     bool // status was given --refresh
	reason      bool // --reason was given, perhaps without the quotes that several words need
}

func (p *parser) list() (gitops.Request, error) {
	if len(p.words) == 0 {
		return gitops.List{}, nil
	}
	app, err := p.app(p.next())
	if err != nil {
		return nil, err
	}
	return gitops.List{Application: app}, p.end()
}

// diff reads:  ENV | ENV [to|with|and|against] OTHER, with or without a preposition before them.
func (p *parser) diff() (gitops.Request, error) {
	if len(p.words) > 1 && isOne(p.words[0], before) {
		p.next()
	}
	if len(p.words) == 0 {
		return nil, p.refuse("The environment is missing.")
	}
	if meant := (gitops.Review{}); pullLink.MatchString(p.words[0]) && len(p.words) == 1 && p.subject(&meant, p.words[0]) == nil {
		return nil, p.refuseFor(meant, "Before a pull request a %q is missing.", "pr")
	}
	env, err := p.env(p.next())
	if err != nil {
		return nil, err
	}
	if len(p.words) == 0 {
		return gitops.Diff{Environment: env}, nil
	}
	if isOne(p.words[0], between) {
		word := p.next()
		if len(p.words) == 0 {
			return nil, p.refuse("After %q the other environment is missing.", word)
		}
	}
	other, err := p.env(p.next())
	if err != nil {
		return nil, err
	}
	if other == env {
		return nil, p.refuse("%s is compared with itself: name two environments, or one to see it against all others.", env)
	}
	return gitops.Diff{Environment: env, Other: other}, p.end()
}

// promote reads:  APP@VERSION to ENV | APP from ENV to ENV, the last two also the other way round.
func (p *parser) promote(change gitops.Change) (gitops.Request, error) {
	r := gitops.Promote{Change: change}
	if len(p.words) == 0 {
		return nil, p.refuse("The application, its version and the environment are missing.")
	}
	app, v, hasVersion := strings.Cut(p.next(), "@")
	var err error
	if r.Application, err = p.app(app); err != nil {
		return nil, err
	}
	if hasVersion {
		if r.Version, err = p.version(v); err != nil {
			return nil, err
		}
	}
	for len(p.words) > 0 {
		word := p.next()
		switch {
		case isOne(word, before) && r.Environment == "":
			if r.Environment, err = p.envAfter(word); err != nil {
				return nil, err
			}
		case strings.EqualFold(word, "from") && r.From == "":
			if hasVersion {
				return nil, p.refuse("The version is given twice: as %s and by %q. Write one of them.", r.Version, "from")
			}
			if r.From, err = p.envAfter(word); err != nil {
				return nil, err
			}
		case r.Environment == "" && r.From == "" && !hasVersion && version.MatchString(word):
			return nil, p.refuse("A version follows the application after an @: %s@%s.", short(r.Application), short(word))
		case r.Environment == "" && len(p.words) == 0 && gitops.ValidEnvironment(word) == nil:
			r.Environment = word
			return nil, p.missing(`a "to"`, r, word)
		default:
			return nil, p.tooMuch(word)
		}
	}
	switch {
	case r.Environment == "" && !hasVersion && r.From == "":
		return nil, p.refuse("The version and the environment are missing.")
	case r.Environment == "":
		return nil, p.refuse("The environment to promote to is missing.")
	case !hasVersion && r.From == "":
		return nil, p.refuse("The version is missing: write it as %s@VERSION, or name the environment that runs it with %q.", short(r.Application), "from")
	case r.From == r.Environment:
		return nil, p.refuse("%s cannot be promoted from %s to itself.", short(r.Application), r.From)
	}
	return r, nil
}

// rollback reads:  APP on ENV [to VERSION].
func (p *parser) rollback(change gitops.Change) (gitops.Request, error) {
	r := gitops.Rollback{Change: change}
	if len(p.words) == 0 {
		return nil, p.refuse("The application and the environment are missing.")
	}
	var err error
	if r.Application, err = p.app(p.next()); err != nil {
		return nil, err
	}
	r.Environment, err = p.preposition(func(env string) gitops.Request {
		r.Environment = env
		return r
	})
	if err != nil {
		return nil, err
	}
	if len(p.words) > 0 && strings.EqualFold(p.words[0], "to") {
		p.next()
		if len(p.words) == 0 {
			return nil, p.refuse("After %q the version is missing.", "to")
		}
		if r.To, err = p.version(p.next()); err != nil {
			return nil, err
		}
	}
	return r, p.end()
}

// status reads:  nothing | APP on ENV | source. Only buttons are meant to write its option --refresh, so no usage shows it.
func (p *parser) status() (gitops.Request, error) {
	if len(p.words) == 0 {
		return gitops.Status{Refresh: p.refresh}, nil
	}
	if len(p.words) == 1 && p.words[0] == "source" && !p.refresh {
		return gitops.Sources{}, nil
	}
	app, err := p.app(p.next())
	if err != nil {
		return nil, err
	}
	env, err := p.preposition(func(env string) gitops.Request { return gitops.Status{Application: app, Environment: env} })
	if err != nil {
		return nil, err
	}
	return gitops.Status{Application: app, Environment: env, Refresh: p.refresh}, p.end()
}

// check reads:  nothing | ENV, with or without a preposition before it.
func (p *parser) check() (gitops.Request, error) {
	if len(p.words) > 1 && isOne(p.words[0], before) {
		p.next()
	}
	if len(p.words) == 0 {
		return gitops.Check{}, nil
	}
	env, err := p.env(p.next())
	if err != nil {
		return nil, err
	}
	return gitops.Check{Environment: env}, p.end()
}

func (p *parser) help() (gitops.Request, error) {
	if len(p.words) == 0 {
		return gitops.Help{}, nil
	}
	topic := strings.ToLower(p.words[0])
	if _, err := Usage(topic); err != nil {
		return nil, err
	}
	p.next()
	return gitops.Help{Topic: topic}, p.end()
}

// preposition reads the last two words of "APP on ENV". Where the first of them is missing, it offers the request that
// meant makes of an environment.
func (p *parser) preposition(meant func(env string) gitops.Request) (string, error) {
	if len(p.words) == 0 {
		return "", p.refuse("The environment is missing.")
	}
	word := p.next()
	if !isOne(word, before) && len(p.words) == 0 && gitops.ValidEnvironment(word) == nil {
		return "", p.missing(`an "on"`, meant(word), word)
	}
	if !isOne(word, before) {
		return "", p.refuse("After the application come %q and an environment, not %q.", "on", short(word))
	}
	return p.envAfter(word)
}

func (p *parser) envAfter(word string) (string, error) {
	if len(p.words) == 0 {
		return "", p.refuse("After %q the environment is missing.", word)
	}
	env, err := p.env(p.next())
	if err == nil && !strings.EqualFold(word, "from") {
		p.environment = env
	}
	return env, err
}

func (p *parser) next() string {
	word := p.words[0]
	p.words = p.words[1:]
	return word
}

func (p *parser) end() error {
	if len(p.words) > 0 {
		return p.tooMuch(p.words[0])
	}
	return nil
}

// missing offers the whole line to one who left out the word before the environment.
func (p *parser) missing(preposition string, meant gitops.Request, environment string) error {
	p.environment = environment
	return p.refuseFor(meant, "Before %s %s is missing.", environment, preposition)
}

func (p *parser) tooMuch(word string) error {
	if p.reason {
		return p.refuse("I do not know what %q means here. If it belongs to the reason, put all of that in double quotes, with none inside.", short(word))
	}
	return p.refuse("I do not know what %q means here.", short(word))
}

// app checks NAME, NAMESPACE/NAME or KIND/NAMESPACE/NAME and gives the kind its own spelling.
func (p *parser) app(word string) (string, error) {
	if word == "" {
		return "", p.refuse("The application is missing.")
	}
	parts := strings.Split(word, "/")
	if len(parts) > 3 || slices.ContainsFunc(parts, func(part string) bool { return !isName(part) }) {
		return "", p.refuse("%q is not an application: write NAME, NAMESPACE/NAME or KIND/NAMESPACE/NAME.", short(word))
	}
	if len(parts) == 3 {
		i := slices.IndexFunc(kinds, func(kind string) bool { return strings.EqualFold(kind, parts[0]) })
		if i < 0 {
			return "", p.refuse("%q is not a kind of application: ferry knows %s.", short(parts[0]), strings.Join(kinds, ", "))
		}
		parts[0] = kinds[i]
	}
	if word == "source" {
		return "", p.refuse("An application cannot be called %q: that is a word of ferry's own. Write NAMESPACE/source.", word)
	}
	p.application = strings.Join(parts, "/")
	return p.application, nil
}

func (p *parser) env(word string) (string, error) {
	if err := gitops.ValidEnvironment(word); err != nil {
		return "", p.refuse("%s.", sentence(err))
	}
	return word, nil
}

func (p *parser) version(word string) (string, error) {
	switch {
	case word == "":
		return "", p.refuse("The version after the @ is missing.")
	case strings.HasPrefix(word, "sha256:") || strings.Contains(word, "@"):
		tag, sum, both := strings.Cut(word, "@")
		if !both {
			tag, sum = "", word
		}
		if !digest.MatchString(sum) || both && (len(tag) > maxVersion || !version.MatchString(tag)) {
			return "", p.refuse("%q is not an image's digest: that is sha256: and 64 digits of 0-9 and a-f, alone or as TAG@sha256:….", short(word))
		}
	case len(word) > maxVersion:
		return "", p.refuse("The version is %d characters long: %d are the limit.", utf8.RuneCountInString(word), maxVersion)
	case !version.MatchString(word):
		return "", p.refuse("%q is not a version: letters, digits, dots, dashes, underscores and plus signs are.", short(word))
	}
	return word, nil
}

// offline are options that only the terminal program has: they read and write files of the machine that it runs on.
var offline = []string{"--tree", "--path", "--write"}

// split sorts out the options that there are, which may stand anywhere, and keeps the other words.
func (p *parser) split(words []token, options []Option, set func(option, value string) error) error {
	seen := map[string]bool{}
	for i := 0; i < len(words); i++ {
		w := words[i]
		if w.quoted || !strings.HasPrefix(w.text, "-") {
			p.words = append(p.words, w.text)
			continue
		}
		option, value, hasValue := strings.Cut(w.text, "=")
		at := slices.IndexFunc(options, func(o Option) bool { return o.word() == option })
		switch {
		case slices.Contains(offline, option):
			return p.refuse("%s works on a directory of the machine where you type: only the program ferry in a terminal has it.", option)
		case p.verb == "diff" && !p.reviews && slices.ContainsFunc(reviewOptions, func(o Option) bool { return o.word() == option }):
			return p.refuse("%s belongs to a pull request: diff pr NUMBER.", option)
		case at < 0 && (len(options) == 0 || p.verb == "status"):
			return p.refuse("%s takes no options; %s is one.", p.verb, short(option))
		case at < 0:
			return p.refuse("There is no option %s.%s", short(option), didYouMean(option, optionWords(options)))
		case seen[option]:
			return p.refuse("The option %s is given twice.", option)
		}
		seen[option] = true
		if options[at].takesValue() {
			if !hasValue && i+1 < len(words) && (words[i+1].quoted || !strings.HasPrefix(words[i+1].text, "-")) {
				i++
				value, hasValue = words[i].text, true
			}
			if !hasValue || strings.TrimSpace(value) == "" {
				return p.refuse("The option %s needs a value.", option)
			}
		} else if hasValue {
			return p.refuse("The option %s takes no value.", option)
		}
		if err := set(option, value); err != nil {
			return err
		}
	}
	return nil
}

// change reads the options of promote and rollback.
func (p *parser) change(words []token) (gitops.Change, error) {
	var c gitops.Change
	if err := p.split(words, changeOptions, func(option, value string) error { return p.set(&c, option, value) }); err != nil {
		return c, err
	}
	switch {
	case c.Chart && c.Image != "":
		return c, p.refuse("--chart and --image exclude each other: one version is changed at a time.")
	case c.Shared && c.Override:
		return c, p.refuse("--shared and --override exclude each other: the change is for all who share the file, or for one.")
	case c.Confirm != "" && c.Until.IsZero():
		return c, p.refuse("--confirm needs --until, the time when the confirmation expires.")
	case c.Confirm == "" && !c.Until.IsZero():
		return c, p.refuse("--until needs --confirm, the hash of what is confirmed.")
	}
	return c, nil
}

func (p *parser) set(c *gitops.Change, option, value string) error {
	switch option {
	case "--chart":
		c.Chart = true
	case "--shared":
		c.Shared = true
	case "--override":
		c.Override = true
	case "--pin":
		c.Pin = true
	case "--drop-digest":
		c.DropDigest = true
	case "--pr":
		c.PullRequest = true
	case "--yes":
		c.Yes = true
	case "--image":
		if len(value) > maxName || !image.MatchString(value) {
			return p.refuse("%q is not the name of a container or an image.", short(value))
		}
		c.Image = value
	case "--field":
		field, ok := decodeField(value)
		if !ok {
			return p.refuse("%q is not a field: write FILE:PATH as the answer lists it.", short(value))
		}
		c.Field = field
	case "--reason":
		reason, err := decodeReason(value)
		if err != nil {
			return p.refuse("%s.", sentence(err))
		}
		c.Reason, p.reason = reason, true
	case "--confirm":
		if !hash.MatchString(value) {
			return p.refuse("%q is not the hash of a plan: it has 32 digits of 0-9 and a-f.", short(value))
		}
		c.Confirm = value
	case "--until":
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds <= 0 || seconds > 1<<40 || value[0] == '+' || value[0] == '0' {
			return p.refuse("%q is not a time in seconds since 1970.", short(value))
		}
		c.Until = time.Unix(seconds, 0).UTC()
	}
	return nil
}

// refuse gives the reason, the verb's usage, and an example with what could be read so far.
func (p *parser) refuse(format string, args ...any) error { return p.refuseFor(nil, format, args...) }

// refuseFor puts the line of the request that was meant first among what can be done next.
func (p *parser) refuseFor(meant gitops.Request, format string, args ...any) error {
	r := &gitops.Refusal{Code: gitops.Usage, Title: "I cannot read this " + p.verb, Reason: fmt.Sprintf(format, args...)}
	manual, err := Usage(p.verb)
	if err != nil {
		return err
	}
	entry := manual.Verbs[0]
	example := entry.Examples[0]
	if p.reviews {
		entry.Usage, example = []string{reviewUsage}, reviewExample
	}
	for _, usage := range entry.Usage {
		r.Details = append(r.Details, "Usage: "+usage)
	}
	r.Details = append(r.Details, "Example: "+p.example(example))
	if meant != nil {
		r.Next = append(r.Next, gitops.Line(meant))
	}
	r.Next = append(r.Next, helpLine(p.verb))
	return r
}

// example puts the application and the environment that were read into the verb's first example.
func (p *parser) example(line string) string {
	if p.application != "" {
		line = strings.Replace(line, "podinfo", p.application, 1)
	}
	if p.environment != "" {
		line = strings.Replace(line, " prod", " "+p.environment, 1)
	}
	return line
}

// unknownVerb offers the line with the closest verb if that is a command, or the closest verb's usage.
func unknownVerb(words []token) error {
	typed := words[0].text
	r := &gitops.Refusal{Code: gitops.Usage, Reason: fmt.Sprintf("%q is not one of ferry's commands.", short(typed))}
	guess := gitops.Closest(strings.ToLower(typed), verbs())
	if strings.EqualFold(typed, "pr") {
		guess, words = "diff", append([]token{{}}, words...)
	}
	if guess == "" {
		for _, v := range manualVerbs {
			r.Details = append(r.Details, v.Usage...)
		}
		r.Next = []string{helpLine("")}
		return r
	}
	r.Reason += fmt.Sprintf(" Did you mean %s?", guess)
	manual, err := Usage(guess)
	if err != nil {
		return err
	}
	for _, usage := range manual.Verbs[0].Usage {
		r.Details = append(r.Details, "Usage: "+usage)
	}
	r.Details = append(r.Details, "Example: "+manual.Verbs[0].Examples[0])
	words[0].text = guess
	if request, err := Parse(join(words)); err == nil {
		r.Next = append(r.Next, gitops.Line(request))
	}
	r.Next = append(r.Next, helpLine(guess))
	return r
}

// helpLine asks for help in the form that reaches ferry. Botkube 1.14 answers "ferry help VERB" by itself, with the
// general help, and never passes the verb on.
func helpLine(verb string) string {
	if verb == "" || verb == "help" {
		return "--help"
	}
	return verb + " --help"
}

// sentence begins an error's text with a capital letter.
func sentence(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}

func isHelpFlag(t token) bool { return !t.quoted && (t.text == "--help" || t.text == "-h") }

func isOne(word string, of []string) bool {
	return slices.ContainsFunc(of, func(s string) bool { return strings.EqualFold(s, word) })
}

func isName(s string) bool { return len(s) <= maxName && name.MatchString(s) }

// short cuts a user's word to a length that an answer can repeat.
func short(s string) string {
	runes := []rune(s)
	if len(runes) > maxWord {
		runes = append(runes[:maxWord], '…')
	}
	for i, r := range runes {
		if !unicode.IsGraphic(r) {
			runes[i] = ' '
		}
	}
	return string(runes)
}

// didYouMean is a sentence with a leading blank, or nothing.
func didYouMean(word string, among []string) string {
	if guess := gitops.Closest(word, among); guess != "" {
		return " Did you mean " + guess + "?"
	}
	return ""
}

package command

import (
	"fmt"
	"html"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

const maxLine = 64 << 10

// A token is a word of the line. Quoted ones are never options.
type token struct {
	text   string
	quoted bool
}

var (
	// Slack writes links as <url>, <url|label>, <mailto:address|label>, and channels as <#C1|name>.
	links   = regexp.MustCompile(`<([A-Za-z][A-Za-z0-9+.-]*:[^<>|\s]*|#[A-Z0-9]+)(?:\|([^<>]*))?>`)
	mention = regexp.MustCompile(`^\s*<@[A-Z0-9]+(\|[^<>]*)?>`) // of the bot, in Slack
	quotes  = strings.NewReplacer("“", `"`, "”", `"`, "„", `"`, "‘", "'", "’", "'")
)

// literal stands for an apostrophe that groups nothing. No line holds this character: it is refused before.
const literal = '\x00'

// tokens cuts a line into words. It undoes what chat platforms do to a line: links, entities, curly quotes, long
// dashes, invisible characters. Quotes group words; there is no escape character, and nothing is a shell.
func tokens(line string) ([]token, error) {
	if len(line) > maxLine {
		return nil, usage("The line is longer than 64 KB.")
	}
	if !utf8.ValidString(line) {
		return nil, usage("The line is not valid UTF-8 text.")
	}
	line = mention.ReplaceAllString(line, "")
	line = links.ReplaceAllStringFunc(line, unlink)
	line = html.UnescapeString(line)
	line = strings.Map(visible, line)
	if i := strings.IndexFunc(line, isForbidden); i >= 0 {
		r, _ := utf8.DecodeRuneInString(line[i:])
		return nil, usage(fmt.Sprintf("The line holds the control character %U, which could hide what it says.", r))
	}
	line = quotes.Replace(apostrophes(single(line)))

	var (
		words  []token
		word   strings.Builder
		begun  bool // a word has begun, though it may be empty: ""
		quoted bool // it began with a quote
		quote  rune // that is open
		last   rune
	)
	flush := func() {
		if begun {
			words = append(words, token{word.String(), quoted})
		}
		word.Reset()
		begun, quoted = false, false
	}
	for i, r := range line {
		switch {
		case r == literal:
			begun = true
			word.WriteRune('\'')
		case quote != 0:
			if r == quote {
				quote = 0
			} else {
				word.WriteRune(r)
			}
		case unicode.IsSpace(r):
			flush()
		case r == '"', r == '\'' && (!begun || last == '='):
			quote = r
			quoted = quoted || !begun
			begun = true
		case strings.ContainsRune(";&()", r) && anyLink.MatchString(word.String()): // which may have a query
			word.WriteRune(r)
		case strings.ContainsRune(";&|<>`()", r):
			return nil, usage(fmt.Sprintf("The character %c has no meaning here: ferry is not a shell. Put text that needs it in quotes.", r))
		case !begun && strings.ContainsRune("—–", r) && startsWithLetter(line[i+utf8.RuneLen(r):]):
			begun = true
			word.WriteString("--") // editors turn two dashes into one long one
		default:
			begun = true
			word.WriteRune(r)
		}
		last = r
	}
	if quote != 0 {
		return nil, usage(fmt.Sprintf("A quote %c is opened and never closed.", quote))
	}
	flush()
	return words, nil
}

func startsWithLetter(text string) bool {
	r, _ := utf8.DecodeRuneInString(text)
	return unicode.IsLetter(r)
}

// single takes back what Botkube does to a line with an odd number of apostrophes: it doubles the first.
func single(line string) string {
	if first := strings.IndexByte(line, '\''); first >= 0 && strings.HasPrefix(line[first:], "''") {
		return line[:first] + line[first+1:]
	}
	return line
}

// apostrophes marks any quote between letters as one; elsewhere it groups words. Botkube makes a double quote of a curly
// apostrophe, as telephones write it: it’s arrives as it"s.
func apostrophes(line string) string {
	runes := []rune(line)
	for i := 1; i < len(runes)-1; i++ {
		if strings.ContainsRune(`'"‘’`, runes[i]) && unicode.IsLetter(runes[i-1]) && unicode.IsLetter(runes[i+1]) {
			runes[i] = literal
		}
	}
	return string(runes)
}

// unlink gives a link's text back: the label where the platform made the link of plain text, else the address. An address
// with another label stays a mailto, which is no application: people saw one text and would have got another.
func unlink(link string) string {
	m := links.FindStringSubmatch(link)
	address, label := m[1], m[2]
	if strings.HasPrefix(address, "#") {
		return "#" + label
	}
	if rest, ok := strings.CutPrefix(address, "mailto:"); ok {
		switch {
		case label == "":
			return rest
		case strings.EqualFold(label, rest):
			return label
		}
		return address
	}
	_, bare, _ := strings.Cut(address, "://")
	if label != "" && strings.TrimSuffix(bare, "/") == strings.TrimSuffix(label, "/") {
		return label
	}
	return address
}

// visible drops characters of no width.
func visible(r rune) rune {
	switch r {
	case '\u00ad', '\u200b', '\u200c', '\u200d', '\u2060', '\ufeff':
		return -1
	}
	return r
}

// isForbidden finds control characters, and those that change the direction of the text around them.
func isForbidden(r rune) bool {
	switch {
	case r == '\t', r == '\n', r == '\r':
		return false
	case r == '\u061c', r == '\u200e', r == '\u200f', r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069':
		return true
	}
	return unicode.IsControl(r)
}

// withoutHostFlags drops the flags that Botkube takes for itself but leaves in where it could not read the line. One whose
// value is a word of its own counts only at the line's end: elsewhere that word could be anything's.
func withoutHostFlags(words []token) ([]token, error) {
	var kept []token
	last := "" // flag with a value of its own
	for i := 0; i < len(words); i++ {
		w := words[i]
		flag, _, hasValue := strings.Cut(w.text, "=")
		switch {
		case !w.quoted && flag == "--all-clusters":
		case !w.quoted && slices.Contains([]string{"--cluster-name", "--filter", "--bk-cmd-header"}, flag):
			if hasValue {
				continue
			}
			last = flag
			if i+1 < len(words) && (words[i+1].quoted || !strings.HasPrefix(words[i+1].text, "-")) {
				i++
			}
		case last != "":
			return nil, usage(fmt.Sprintf("%s is a flag of Botkube's own. Write it at the end of the line, or as %s=VALUE.", last, last))
		default:
			kept = append(kept, w)
		}
	}
	return kept, nil
}

// withoutAddress drops a mention of the bot and the plugin's name before the verb.
func withoutAddress(words []token) []token {
	if len(words) > 0 && strings.HasPrefix(words[0].text, "@") {
		words = words[1:]
	}
	if len(words) > 0 && words[0].text == "ferry" {
		words = words[1:]
	}
	return words
}

func usage(reason string) *gitops.Refusal {
	return &gitops.Refusal{Code: gitops.Usage, Title: "I cannot read this line", Reason: reason, Next: []string{helpLine("")}}
}

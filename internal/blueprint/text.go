package blueprint

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kubeshop/botkube/pkg/api"
)

var (
	entities = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	// A name after an @ that begins a word could call people: @everyone, @here, @all, @alice. Mattermost takes the dots, dashes
	// and underscores off that a word begins with, and cuts it at those within.
	mention = regexp.MustCompile(`(^|[^\pL\pN])@(\pL)`)
	// These call everybody, wherever they stand.
	everybody = regexp.MustCompile(`(?i)@(everyone|here|channel|all)`)
	// Discord and Slack write mentions as <@U1>, <!channel>, <#C1>, <:emoji:1>.
	angle = regexp.MustCompile(`<([@!#:])`)
	// The host replaces its placeholder wherever it stands.
	placeholder = strings.NewReplacer(api.MessageBotNamePlaceholder, "{{\u200bBotName}}")
	fences      = regexp.MustCompile("`{3,}")
)

// harmless breaks whatever would call people, open or end a code block, or be replaced by the host.
func harmless(s string) string {
	s = fences.ReplaceAllStringFunc(s, func(run string) string { return strings.Repeat("ˋ", len(run)) })
	s = everybody.ReplaceAllString(s, "@\u200b$1")
	return placeholder.Replace(mention.ReplaceAllString(s, "$1@\u200b$2"))
}

// escape writes text for Slack's mrkdwn.
func escape(s string) string { return entities.Replace(harmless(s)) }

// format protects text from the renderer's Sprintf.
func format(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// quiet writes text for the Markdown of other platforms, which has no escape for mentions, and would load images.
func quiet(s string) string {
	return strings.ReplaceAll(angle.ReplaceAllString(harmless(s), "<\u200b$1"), "](", "]\u200b(")
}

// code makes text safe inside a code block, beside harmless. The renderers trim it and show a single line between single
// back-quotes.
func code(s string) string {
	if !strings.Contains(s, "\n") {
		s = strings.ReplaceAll(s, "`", "ˋ")
	}
	if r, _ := utf8.DecodeRuneInString(s); unicode.IsSpace(r) {
		s = "\u200b" + s
	}
	return s
}

// cut shortens text to n characters and ends it with an ellipsis. A back-quote that lost its partner is closed.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	s = string([]rune(s)[:max(n-2, 0)])
	if strings.Count(s, "`")%2 == 1 {
		s += "`"
	}
	return s + "…"
}

// cutBytes shortens text to at most n bytes at a line end, or else between characters.
func cutBytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	if kept := cutLines(s, n-4); kept != "" {
		return closeFence(kept) + "\n…"
	}
	for n -= 4; !utf8.RuneStart(s[n]); n-- {
	}
	return s[:n] + "…"
}

// cutFile shortens text that becomes a file.
func cutFile(s string) string {
	if len(s) <= maxFile {
		return s
	}
	s = strings.ToValidUTF8(s[:maxFile-100], "")
	if strings.Count(s, "```")%2 == 1 {
		s += "\n```"
	}
	return s + "\n… the rest is left out."
}

func closeFence(s string) string {
	if strings.Count(s, "```")%2 == 0 {
		return s
	}
	return s[:strings.LastIndex(s, "```")]
}

// cutLines keeps as many first lines as fit into n bytes.
func cutLines(s string, n int) string {
	if len(s) <= n {
		return s
	}
	if n <= 0 {
		return ""
	}
	return s[:max(strings.LastIndexByte(s[:n+1], '\n'), 0)]
}

// wrap cuts text into lines, and lines that are too long between characters.
func wrap(s string) []string {
	var lines []string
	for l := range strings.SplitSeq(s, "\n") {
		runes := []rune(l)
		for len(runes) > maxLine/2 {
			lines = append(lines, string(runes[:maxLine/2]))
			runes = runes[maxLine/2:]
		}
		lines = append(lines, string(runes))
	}
	return lines
}

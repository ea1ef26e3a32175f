package blueprint

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/kubeshop/botkube/pkg/api"
)

const (
	// Slack turns a message of 3,001 bytes or more of Markdown into a file and drops its buttons. The host puts the
	// line that was typed before each message of an answer; the difference is left for it.
	maxMessage = 2600
	// Botkube sends at most 15 messages in answer to a command.
	maxMessages = 15
	// Discord refuses posts that are longer than 2,000 characters with the line that was typed.
	maxText = 1700
	// Text up to this size is cut to maxText. Longer text is left whole: Discord gets it as a file, which loses
	// nothing, where cutting would lose most of it.
	maxCutText = 2500
	// Platforms refuse files of a few megabytes, some by their configuration.
	maxFile = 1 << 20

	// Slack's own limits.
	maxBlocks  = 50
	maxFields  = 10
	maxButtons = 25
	maxOptions = 100
	maxName    = 75
	maxCommand = 2000
	maxURL     = 3000

	maxLine = 600 // characters of one line of text, before anything else is cut
)

// blocks writes the answer for Slack.
func (a answer) blocks(p Platform) []api.Message {
	sections, details := a.sections, a.details
	hidden := max(len(sections)-maxBlocks, 0) // sections that are not shown
	sections = sections[:len(sections)-hidden]
	for i := range sections {
		sections[i] = sections[i].usable()
	}
	typed := true
	for {
		summary := api.Message{Sections: encode(sections, p.Plugin, typed), ReplaceOriginal: p.Replaces != ""}
		if last := len(summary.Sections) - 1; hidden > 0 && last >= 0 {
			summary.Sections[last].Context = append(summary.Sections[last].Context, api.ContextItem{Text: fmt.Sprintf("… and %d more, not shown here", hidden)})
		}
		alone := p.Replaces != ""
		if last := len(summary.Sections) - 1; alone && len(details) > 0 && last >= 0 {
			summary.Sections[last].Context = append(summary.Sections[last].Context, api.ContextItem{Text: "… the details are left out. `" + typedLine(p.Plugin, p.Replaces) + "` shows them."})
		}
		if size(summary) <= maxMessage && count(summary) <= maxBlocks {
			messages := []api.Message{summary}
			if alone || p.Unasked {
				return messages
			}
			for i, d := range details {
				left := maxMessages - len(messages) - (len(details) - i - 1)
				messages = append(messages, d.pages(max(left, 1))...)
			}
			return messages[:min(len(messages), maxMessages)]
		}
		// Give way in the order of what is missed least.
		switch {
		case typed:
			typed = false
		case p.Unasked && halveCode(sections):
		case moveCode(sections, &details):
		case dropSelect(sections):
		case count(summary) > maxBlocks:
			hidden++
			sections = sections[:len(sections)-1]
		case shorten(sections):
		default:
			dropButton(sections)
		}
	}
}

// usable drops what a platform would refuse, and cuts lines.
func (s section) usable() section {
	s.header = cut(s.header, 150)
	s.description = cut(s.description, 3*maxLine)
	s.fields = slices.Clone(s.fields[:min(len(s.fields), maxFields)])
	s.bulletTitle = cut(s.bulletTitle, 150)
	if len(s.context) > 8 {
		s.context = append(slices.Clone(s.context[:7]), fmt.Sprintf("… and %d more", len(s.context)-7))
	}
	var buttons []button
	seen := map[string]bool{}
	for _, b := range s.buttons {
		target := b.command + b.url
		if seen[target] || len(b.command) > maxCommand-100 || changed(b.command) || b.foreign && b.command != "" && !Passes(b.command) || b.url != "" && !isLink(b.url) || len(buttons) == maxButtons || b.name == "" || target == "" {
			continue
		}
		seen[target] = true
		b.name = cut(b.name, maxName)
		buttons = append(buttons, b)
	}
	s.buttons = buttons
	var selects []choice
	for _, c := range s.selects {
		c.options = slices.DeleteFunc(slices.Clone(c.options), func(o field) bool {
			return o.key == "" || o.value == "" || len(o.value) > maxName || strings.ContainsAny(o.value, ` "`) || changed(o.value)
		})
		for i := range c.options {
			c.options[i].key = cut(c.options[i].key, maxName)
		}
		// A list that is not complete misleads: every choice can be typed.
		if len(c.options) > 0 && len(c.options) <= maxOptions {
			selects = append(selects, c)
		}
	}
	s.selects = selects
	return s
}

// changed says whether the host would hand out another command than this, or none: it cuts lines at a shell's operators,
// refuses parentheses, doubles apostrophes, straightens curly quotes and fills in names.
func changed(command string) bool {
	return strings.ContainsAny(command, "()`;&|<>\\'“”‘’{}") || strings.Count(command, `"`)%2 == 1
}

// plugged begins with the name of a plugin, as Botkube takes one.
var plugged = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]* [^ ]`)

// Passes says whether the host hands out a line, of any plugin, as it is.
func Passes(line string) bool {
	return plugged.MatchString(line) && !changed(line) && len(line) <= maxCommand-100
}

func isLink(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && len(s) <= maxURL && !strings.ContainsAny(s, " <>\"|`")
}

// halveCode cuts the longest code of the sections.
func halveCode(sections []section) bool {
	longest := -1
	for i, s := range sections {
		if len(s.code) > 40 && (longest < 0 || len(s.code) > len(sections[longest].code)) {
			longest = i
		}
	}
	if longest >= 0 {
		sections[longest].code = cutBytes(sections[longest].code, len(sections[longest].code)/2)
	}
	return longest >= 0
}

// moveCode makes the longest code of the sections a detail.
func moveCode(sections []section, details *[]detail) bool {
	longest := -1
	for i, s := range sections {
		if len(s.code) > 0 && (longest < 0 || len(s.code) > len(sections[longest].code)) {
			longest = i
		}
	}
	if longest < 0 {
		return false
	}
	s := &sections[longest]
	*details = append([]detail{{title: s.header, code: s.code, head: s.head, more: s.more}}, *details...)
	s.code = ""
	return true
}

func dropSelect(sections []section) bool {
	for i := range sections {
		if len(sections[i].selects) > 0 {
			sections[i].selects = nil
			return true
		}
	}
	return false
}

// shorten halves the longest list of bullets or small print, or else the longest text.
func shorten(sections []section) bool {
	var list *[]string
	var text *string
	for i := range sections {
		s := &sections[i]
		for _, l := range []*[]string{&s.bullets, &s.context} {
			if len(*l) > 4 && (list == nil || len(*l) > len(*list)) {
				list = l
			}
		}
		texts := []*string{&s.header, &s.description, &s.bulletTitle}
		for j := range s.fields {
			texts = append(texts, &s.fields[j].value, &s.fields[j].key)
		}
		for _, l := range [][]string{s.bullets, s.context} {
			for j := range l {
				texts = append(texts, &l[j])
			}
		}
		for _, t := range texts {
			if len(*t) > 40 && (text == nil || len(*t) > len(*text)) {
				text = t
			}
		}
	}
	switch {
	case list != nil:
		*list = halve(*list)
	case text != nil:
		*text = cut(*text, utf8.RuneCountInString(*text)/2)
	default:
		return false
	}
	return true
}

var leftOut = regexp.MustCompile(`^… and (\d+) more\b`)

// halve keeps the first half of a list and says how many it left out, those of an earlier halving included.
func halve(list []string) []string {
	n, more := len(list), 0
	if m := leftOut.FindStringSubmatch(list[n-1]); m != nil {
		more, _ = strconv.Atoi(m[1]) // the pattern has digits only; more of them than an int holds count as none
		n--
	}
	keep := n / 2
	return append(slices.Clone(list[:keep]), fmt.Sprintf("… and %d more", more+n-keep))
}

// dropButton drops the longest command: it is the last thing that can be too long.
func dropButton(sections []section) {
	at, longest := -1, -1
	for i, s := range sections {
		for j, b := range s.buttons {
			if at < 0 || len(b.command)+len(b.url) > len(sections[at].buttons[longest].command)+len(sections[at].buttons[longest].url) {
				at, longest = i, j
			}
		}
	}
	if at >= 0 {
		sections[at].buttons = slices.Delete(slices.Clone(sections[at].buttons), longest, longest+1)
		return
	}
	// Nothing but very many sections is left.
	for i := range sections[len(sections)/2:] {
		sections[len(sections)/2+i] = section{}
	}
}

// encode escapes the sections for Slack and completes their commands.
func encode(sections []section, plugin string, typed bool) []api.Section {
	var out []api.Section
	ids := map[string]bool{} // of buttons, in the whole message
	for i, s := range sections {
		if s.empty() {
			continue
		}
		e := api.Section{
			// Slack's renderer passes description, code and bullets through a Sprintf, the others not.
			Base: api.Base{Header: escape(s.header), Description: format(escape(s.description))},
		}
		if s.code != "" {
			e.Body.CodeBlock = format(escape(code(s.code)))
		}
		for _, f := range s.fields {
			e.TextFields = append(e.TextFields, api.TextField{Key: escape(f.key), Value: escape(f.value)})
		}
		switch {
		case len(s.bullets) > 0 && s.bulletTitle == "":
			// The renderer would show the missing title as two asterisks.
			e.Body.Plaintext = format(escape("• " + strings.Join(s.bullets, "\n• ")))
		case len(s.bullets) > 0:
			list := api.BulletList{Title: format(escape(s.bulletTitle))}
			for _, b := range s.bullets {
				list.Items = append(list.Items, format(escape(b)))
			}
			e.BulletLists = api.BulletLists{list}
		}
		for _, b := range s.buttons {
			e.Buttons = append(e.Buttons, b.encode(plugin, ids))
		}
		if len(s.selects) > 0 {
			e.Selects = api.Selects{ID: fmt.Sprintf("%s-%d", plugin, i)}
			for _, c := range s.selects {
				one := api.Select{Type: api.StaticSelect, Name: cut(c.name, maxName), Command: address(plugin, c.name) + c.command}
				group := api.OptionGroup{Name: cut(c.name, maxName)}
				for _, o := range c.options {
					group.Options = append(group.Options, api.OptionItem{Name: o.key, Value: o.value})
				}
				one.OptionGroups = []api.OptionGroup{group}
				e.Selects.Items = append(e.Selects.Items, one)
			}
		}
		context := s.context
		if typed {
			for _, b := range s.buttons {
				if b.style == string(api.ButtonStylePrimary) && b.command != "" {
					context = append([]string{"Or type `" + b.typed(plugin) + "`"}, context...)
				}
			}
		}
		for _, c := range context {
			e.Context = append(e.Context, api.ContextItem{Text: escape(c)})
		}
		out = append(out, e)
	}
	return out
}

// encode completes a button. Slack's renderer makes its id of the first 250 characters of the command, which must
// differ within a message; the short header with the button's name is among them.
func (b button) encode(plugin string, ids map[string]bool) api.Button {
	out := api.Button{Name: b.name, URL: b.url, Style: api.ButtonStyle(b.style)}
	if b.command == "" {
		return out
	}
	if b.replace {
		b.command = strings.TrimSuffix(b.command, " --refresh") + " --refresh"
	}
	for n := 1; ; n++ {
		name := b.name
		if n > 1 {
			name = fmt.Sprintf("%s %d", b.name, n)
		}
		plugin, command := b.words(plugin)
		out.Command = address(plugin, name) + command
		if id := out.Command[:min(len(out.Command), 200)]; !ids[id] {
			ids[id] = true
			return out
		}
	}
}

var notInHeader = regexp.MustCompile(`[^\pL\pN .,:@/+_-]+`)

// address is what stands before a command: the bot, the plugin, and the title that the host shows instead of the line.
// The host reads the title with a regular expression, so only harmless characters are in it.
func address(plugin, name string) string {
	title := strings.TrimSpace(strings.TrimLeft(notInHeader.ReplaceAllString(name, ""), "- "))
	if title == "" {
		title = plugin
	}
	return fmt.Sprintf("%s %s --bk-cmd-header='%s' ", api.MessageBotNamePlaceholder, plugin, strings.TrimSuffix(cut(title, 40), "…"))
}

// pages splits a detail into messages without sections, whose text no Sprintf touches. The first lines are repeated
// on each, and the last says what is left out.
func (d detail) pages(limit int) []api.Message {
	lines := wrap(d.code)
	head := lines[:min(d.head, len(lines))]
	lines = lines[len(head):]
	var pages [][]string
	title := cut(d.title, 100)
	free := maxMessage - len(escape(title)) - len(escape(d.more)) - 100 // the fence, the page's number, the note
	room := free - len(escape(strings.Join(head, "\n")))
	if room < maxMessage/2 {
		head, lines, room = nil, wrap(d.code), free
	}
	page, used := slices.Clone(head), 0
	for i, l := range lines {
		n := len(escape(l)) + 1
		if used > 0 && used+n > room {
			pages = append(pages, page)
			page, used = slices.Clone(head), 0
			if len(pages) == limit {
				note := fmt.Sprintf("… %d more lines are left out.", len(lines)-i)
				pages[limit-1] = append(pages[limit-1], strings.TrimSpace(note+" "+d.more))
				break
			}
		}
		page, used = append(page, l), used+n
	}
	if len(pages) < limit {
		pages = append(pages, page)
	}
	var messages []api.Message
	for i, p := range pages {
		title := title
		if len(pages) > 1 {
			title = strings.TrimSpace(fmt.Sprintf("%s (%d of %d)", title, i+1, len(pages)))
		}
		m := api.Message{BaseBody: api.Body{CodeBlock: escape(code(strings.Join(p, "\n")))}}
		if title != "" {
			m.BaseBody.Plaintext = escape(title) + "\n"
		}
		messages = append(messages, m)
	}
	return messages
}

// text writes the answer as one message for platforms without buttons.
func (a answer) text(p Platform) api.Message {
	var summary strings.Builder
	line := func(s string) { summary.WriteString(s + "\n") }
	var codes []detail
	for i, s := range a.sections {
		if i > 0 {
			line("")
		}
		if s.header != "" {
			line("**" + quiet(cut(s.header, 150)) + "**")
		}
		if s.description != "" {
			line(quiet(s.description))
		}
		for _, f := range s.fields {
			line(quiet(strings.TrimSpace(f.key + ": " + f.value)))
		}
		if s.code != "" {
			if len(s.code) > maxText/2 {
				codes = append(codes, detail{code: s.code, more: s.more})
			} else {
				line(fence(s.code))
			}
		}
		if len(s.bullets) > 0 {
			if s.bulletTitle != "" {
				line(quiet(s.bulletTitle))
			}
			for _, b := range s.bullets {
				line("• " + quiet(b))
			}
		}
		for _, b := range s.buttons {
			switch {
			case b.foreign && b.command != "" && !Passes(b.command): // somebody else's words are in it
			case b.command == "" && isLink(b.url):
				line(quiet(b.name) + ": " + b.url)
			case b.foreign && b.command != "":
				line(quiet(b.name) + ": `" + b.typed(p.Plugin) + "`")
			case b.command != "" && b.name == label(b.command):
				line("• `" + b.typed(p.Plugin) + "`")
			case b.command != "":
				r, n := utf8.DecodeRuneInString(b.name)
				line("To " + strings.ToLower(string(r)) + quiet(b.name[n:]) + ": `" + b.typed(p.Plugin) + "`")
			}
		}
		for _, c := range s.context {
			line(quiet(c))
		}
	}
	out := strings.TrimSpace(summary.String())
	details := slices.Concat(codes, a.details)
	for _, d := range details {
		if d.title != "" {
			out += "\n\n" + quiet(d.title)
		}
		out += "\n" + fence(d.code)
	}
	if len(out) > maxText && (len(out) <= maxCutText || p.Unasked) {
		out = a.cutText(strings.TrimSpace(summary.String()), details)
	}
	return api.Message{BaseBody: api.Body{Plaintext: cutFile(out)}}
}

// cutText fits the details, and if need be the summary, into maxText.
func (a answer) cutText(out string, details []detail) string {
	if len(out) > maxText-100 && len(details) == 0 {
		return cutBytes(out, maxText)
	}
	out = cutBytes(out, maxText-100)
	for _, d := range details {
		title, body := quiet(d.title), quiet(code(d.code))
		note := strings.TrimSpace("… the rest is left out. " + quiet(d.more))
		kept := cutLines(body, maxText-len(out)-len(title)-len(note)-20)
		if kept == "" {
			return out + "\n… details are left out."
		}
		if title != "" {
			out += "\n\n" + title
		}
		out += "\n```\n" + kept + "\n```"
		if kept != body {
			return out + "\n" + note
		}
	}
	return out
}

// words are the name of the plugin that the command is for, and the command without it.
func (b button) words(plugin string) (string, string) {
	if b.foreign {
		plugin, command, _ := strings.Cut(b.command, " ")
		return plugin, command
	}
	return plugin, b.command
}

func (b button) typed(plugin string) string { return typedLine(b.words(plugin)) }

func typedLine(plugin, command string) string {
	return plugin + " " + harmless(strings.ReplaceAll(command, "`", "ˋ"))
}

func fence(s string) string { return "```\n" + quiet(code(s)) + "\n```" }

// count is how many blocks Slack's renderer makes of a message.
func count(m api.Message) int {
	n := 0
	for _, s := range m.Sections {
		n += 7 + len(s.Context) // at most: divider, header, description, fields, code, bullets, one row of buttons and selects
	}
	return n
}

// size is how many bytes Slack's renderer makes of a message, as Botkube measures it; the bot's name counted longer
// than its placeholder.
func size(m api.Message) int {
	n := 0
	add := func(parts ...string) {
		for _, p := range parts {
			n += len(p) + 4*strings.Count(p, api.MessageBotNamePlaceholder)
		}
		n++ // line end
	}
	add(m.BaseBody.Plaintext)
	add(m.BaseBody.CodeBlock, "```\n\n```")
	for _, s := range m.Sections {
		add()
		add(s.Header, "**")
		add("*Fields*")
		for _, f := range s.TextFields {
			add(" • *: *", f.Key, f.Value)
		}
		add()
		add(s.Description)
		add(s.Body.Plaintext)
		add(s.Body.CodeBlock, "```\n\n```")
		for _, l := range s.BulletLists {
			add()
			add(l.Title, "**")
			for _, i := range l.Items {
				add(" • ", i)
			}
		}
		if len(s.Selects.Items) > 0 {
			add()
			add("*Available options*")
		}
		for _, c := range s.Selects.Items {
			add(c.Command) // not rendered, but Slack counts it too
			for _, g := range c.OptionGroups {
				add(" • ", g.Name)
				for _, o := range g.Options {
					add("    • ``", o.Name, o.Value)
				}
			}
		}
		for _, b := range s.Buttons {
			add("  • ``", b.Name, b.Command, b.URL)
		}
		for _, c := range s.Context {
			add(c.Text)
		}
	}
	return n
}

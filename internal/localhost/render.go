package localhost

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"

	"charm.land/lipgloss/v2"
	"github.com/kubeshop/botkube/pkg/api"
)

// An Answer is what the plugin says to one line: at least one message.
type Answer struct {
	Messages []api.Message
	TextOnly bool // written for platforms without buttons
}

// Text is an answer of one plain sentence.
func Text(text string) Answer {
	return Answer{Messages: []api.Message{api.NewPlaintextMessage(text, false)}}
}

// refused is the type of a first message that says no. Botkube's renderers know only their own types and show any other
// like a plain message, so nobody sees it in chat.
const refused api.MessageType = "ferry/refused"

// Refused says whether nothing was done: ferry refused or failed.
func (a Answer) Refused() bool { return a.Messages[0].Type == refused }

// WriteJSON writes the messages as the host gets them.
func (a Answer) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(a.Messages)
}

// Render shows the answer as text. Buttons and options of selects are numbered; choices holds the lines that they stand
// for, as they would be typed ("ferry list"), the one numbered 1 first. Styled text has escape sequences for a terminal;
// plain text has none, and shows beside each choice what to type instead. Nothing that a message holds reaches the
// terminal as a control character.
func (a Answer) Render(styled bool) (text string, choices []string) {
	r := renderer{styled: styled, slack: !a.TextOnly, typed: !styled}
	r.messages(a.Messages)
	for _, c := range r.choices {
		choices = append(choices, c.line)
	}
	return r.text(), choices
}

// Page shows the answer like Render, with no line wider than the terminal and what to type beside every choice, for those
// who ask once and choose later.
func (a Answer) Page(styled bool, width int) string {
	r := renderer{styled: styled, slack: !a.TextOnly, width: width, refused: a.Refused(), typed: true}
	r.messages(a.Messages)
	return r.text()
}

// unasked shows what nobody asked for like Page. Numbers are those of the last answer, so its choices have none.
func (a Answer) unasked(styled bool, width int) string {
	r := renderer{styled: styled, slack: !a.TextOnly, width: width, typed: true, unasked: true}
	r.messages(a.Messages)
	return r.text()
}

// A choice is what a number stands for: a line as it would be typed, or a select with the options that it has.
type choice struct {
	name    string
	line    string
	options []choice
}

// A view is an answer on a terminal of a certain width.
type view struct {
	text    string
	choices []choice // a select is one of them
	blocks  []string // code, as it is in the messages
}

// fit shows the answer like Render, with no line wider than the terminal, buttons side by side and selects closed.
func (a Answer) fit(styled bool, width int) view {
	r := renderer{styled: styled, slack: !a.TextOnly, width: width, refused: a.Refused(), beside: true}
	r.messages(a.Messages)
	return view{text: r.text(), choices: r.choices, blocks: r.blocks}
}

type renderer struct {
	styled  bool
	slack   bool // texts are written for Slack
	width   int  // of the terminal; 0 for text that may have lines of any length
	refused bool
	beside  bool // buttons are side by side and selects closed
	typed   bool // what to type is beside each choice
	unasked bool // choices have no numbers

	out     strings.Builder
	choices []choice
	row     []string // buttons that wait to be laid side by side
	blocks  []string
}

var (
	headerStyle  = lipgloss.NewStyle().Bold(true)
	keyStyle     = lipgloss.NewStyle().Foreground(lipgloss.BrightBlack)
	faintStyle   = lipgloss.NewStyle().Faint(true)
	numberStyle  = lipgloss.NewStyle().Foreground(lipgloss.Cyan).Bold(true)
	refusedStyle = lipgloss.NewStyle().Bold(true).Foreground(lipgloss.Red)
	primaryStyle = lipgloss.NewStyle().Bold(true)
	dangerStyle  = lipgloss.NewStyle().Foreground(lipgloss.Red)
	addedStyle   = lipgloss.NewStyle().Foreground(lipgloss.Green)
	removedStyle = lipgloss.NewStyle().Foreground(lipgloss.Red)
	noteStyle    = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
	spanStyle    = lipgloss.NewStyle().Foreground(lipgloss.Cyan)
)

// signs are those of a status, with their colours.
var signs = map[string]lipgloss.Style{
	"✓": lipgloss.NewStyle().Foreground(lipgloss.Green),
	"✗": lipgloss.NewStyle().Foreground(lipgloss.Red).Bold(true),
	"…": lipgloss.NewStyle().Foreground(lipgloss.Yellow),
	"‖": lipgloss.NewStyle().Foreground(lipgloss.Yellow),
	"?": lipgloss.NewStyle().Foreground(lipgloss.Yellow),
	"!": lipgloss.NewStyle().Foreground(lipgloss.Yellow),
	"→": lipgloss.NewStyle().Foreground(lipgloss.Cyan),
}

func (r *renderer) messages(messages []api.Message) {
	for i, message := range messages {
		if i > 0 {
			r.gap()
		}
		r.message(message)
	}
}

// text is what was written so far, one line at least.
func (r *renderer) text() string { return strings.TrimRight(r.out.String(), "\n") + "\n" }

func (r *renderer) message(m api.Message) {
	formatted := m.HasSections() || m.HasInputs() // then Botkube formats the base body too
	r.body(m.BaseBody, formatted)
	for _, section := range m.Sections {
		r.gap()
		r.section(section)
	}
	r.inputs(m.PlaintextInputs)
	if !m.Timestamp.IsZero() {
		r.line(faintStyle, m.Timestamp.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
}

// section follows the order of Botkube's renderer for Slack.
func (r *renderer) section(s api.Section) {
	if s.Header != "" {
		style := headerStyle
		if r.refused {
			style = refusedStyle
		}
		r.line(style, r.read(s.Header, false))
	}
	r.plain(r.read(s.Description, true))
	r.fields(s.TextFields)
	r.body(s.Body, true)
	r.inputs(s.PlaintextInputs)
	for _, list := range s.BulletLists {
		if list.Title != "" {
			r.line(headerStyle, r.read(list.Title, true))
		}
		for _, item := range list.Items {
			r.prose(r.mark(r.read(item, true)), 2)
		}
	}
	if r.beside && len(s.Buttons)+len(s.Selects.Items) > 0 {
		r.gap()
	}
	r.buttons(s.Buttons)
	r.selects(s.Selects)
	r.multiSelect(s.MultiSelect)
	r.closeRow()
	for _, item := range s.Context {
		r.line(faintStyle, r.read(item.Text, false))
	}
}

func (r *renderer) fields(fields api.TextFields) {
	width := 0
	for _, field := range fields {
		width = max(width, lipgloss.Width(r.read(field.Key, false)))
	}
	for _, field := range fields {
		if field.IsEmpty() {
			continue
		}
		key, value := r.read(field.Key, false), r.read(field.Value, false)
		indent := width + 2
		if r.width > 0 && r.width < 2*indent { // no room for columns
			r.prose(key+": "+value, 2)
			continue
		}
		key += ":" + strings.Repeat(" ", width-lipgloss.Width(key)+1)
		if r.width > 0 {
			value = strings.Join(fill(value, r.width-indent, 0, ""), "\n"+strings.Repeat(" ", indent))
		}
		r.write(r.style(keyStyle, key) + r.spans(value) + "\n")
	}
}

func (r *renderer) body(b api.Body, formatted bool) {
	r.plain(r.read(b.Plaintext, formatted))
	r.code(r.read(b.CodeBlock, formatted))
}

// code shows a block as it is: the lines of a diff in their colours, and on a terminal a table narrow enough for it.
func (r *renderer) code(block string) {
	if block == "" {
		return
	}
	r.blocks = append(r.blocks, block)
	if (r.styled || r.width > 0) && r.table(block) {
		return
	}
	isDiff := strings.HasPrefix(block, "--- ") || strings.Contains(block, "@@ -")
	for line := range strings.SplitSeq(strings.TrimRight(block, "\n"), "\n") {
		style := lipgloss.NewStyle()
		switch {
		case isDiff && (strings.HasPrefix(line, "--- ") || strings.HasPrefix(line, "+++ ") || strings.HasPrefix(line, "@@ ")):
			style = faintStyle
		case isDiff && strings.HasPrefix(line, "+"):
			style = addedStyle
		case isDiff && strings.HasPrefix(line, "-"):
			style = removedStyle
		}
		for _, piece := range fill(line, r.width, continued, "/,;") {
			r.write(r.style(style, piece) + "\n")
		}
	}
}

// continued is the indent of what goes on from a line of code that was too long.
const continued = 6

// table says whether the block is a table that can be shown.
func (r *renderer) table(block string) bool {
	t, ok := parseTable(block)
	parts := []table{t}
	if ok && r.width > 0 {
		parts, ok = t.fit(r.width)
	}
	if !ok {
		return false
	}
	for i, part := range parts {
		if i > 0 {
			r.gap()
		}
		for i, row := range part.rows {
			for _, line := range part.lines(row) {
				r.write(r.tableLine(line, i == 0) + "\n")
			}
		}
	}
	return true
}

func (r *renderer) tableLine(line string, head bool) string {
	if head {
		return r.style(keyStyle, line)
	}
	return sign.ReplaceAllStringFunc(line, func(s string) string {
		mark := strings.TrimSpace(s)
		return strings.Replace(s, mark, r.style(signs[mark], mark), 1)
	})
}

// sign is the sign before a cell's text.
var sign = regexp.MustCompile(`(?:^| )[✓✗…‖?→](?: |$)`)

func (r *renderer) buttons(buttons api.Buttons) {
	for _, button := range buttons {
		name := label(button.Name)
		// A description that only repeats the command says nothing new here.
		if description := strings.TrimSpace(r.read(button.Description, false)); description != "" && description != typed(button.Command) {
			name += " – " + description
		}
		switch {
		case button.URL != "":
			r.plain(r.untab(name + ": " + clean(button.URL)))
		case button.Command != "":
			style := lipgloss.NewStyle()
			switch button.Style {
			case api.ButtonStyleDanger:
				style = dangerStyle
			case api.ButtonStylePrimary:
				style = primaryStyle
			}
			r.choice(style, choice{name: name, line: typed(button.Command)})
		}
	}
}

func (r *renderer) selects(selects api.Selects) {
	for _, item := range selects.Items {
		var options []choice
		for _, group := range item.OptionGroups {
			for _, option := range group.Options {
				name := option.Name
				if group.Name != item.Name {
					name = group.Name + ": " + name
				}
				options = append(options, choice{name: label(name), line: typed(item.Command + " " + option.Value)})
			}
		}
		r.options(label(item.Name), api.Body{}, options)
	}
}

func (r *renderer) multiSelect(multi api.MultiSelect) {
	var options []choice
	for _, option := range multi.Options {
		options = append(options, choice{name: label(option.Name), line: typed(multi.Command + " " + option.Value)})
	}
	if len(options) > 0 {
		r.options(label(multi.Name), multi.Description, options)
	}
}

// options shows a select: closed, or with all that can be chosen.
func (r *renderer) options(name string, description api.Body, options []choice) {
	if r.beside {
		r.body(description, false)
		r.choice(lipgloss.NewStyle(), choice{name: name, options: options})
		return
	}
	r.line(keyStyle, name+":")
	r.body(description, false)
	for _, option := range options {
		r.choice(lipgloss.NewStyle(), option)
	}
}

func (r *renderer) inputs(inputs api.LabelInputs) {
	for _, input := range inputs {
		r.plain(label(input.Text) + ": type " + typed(input.Command) + "…")
	}
}

func (r *renderer) choice(style lipgloss.Style, c choice) {
	r.choices = append(r.choices, c)
	number := fmt.Sprintf("[%d]", len(r.choices))
	if r.unasked {
		number = strings.TrimSpace(bullet)
	}
	switch {
	case r.beside:
		name := oneLine(c.name)
		if len(c.options) > 0 {
			name += " ▾"
		}
		r.button(number, style, name)
	case r.typed:
		line := strings.Join(fill(number+" "+r.untab(c.name)+"   "+c.line, r.width, len(number)+1, ""), "\n")
		r.write(r.style(numberStyle, number) + strings.TrimPrefix(line, number) + "\n")
	default:
		r.write(r.style(numberStyle, number) + " " + r.style(style, c.name) + "\n")
	}
}

// buttonGap is the space between buttons of a row, in cells.
const buttonGap = 3

// button puts a button into the row, or into a new one if it would be too long.
func (r *renderer) button(number string, style lipgloss.Style, name string) {
	room := r.width - len(number) - 1
	if short := head(name, room); short != name {
		name = head(name, room-1) + "…"
	}
	button := r.style(numberStyle, number) + " " + r.style(style, name)
	width := lipgloss.Width(button)
	for _, other := range r.row {
		width += lipgloss.Width(other) + buttonGap
	}
	if width > r.width {
		r.closeRow()
	}
	r.row = append(r.row, button)
}

func (r *renderer) closeRow() {
	if row := r.row; len(row) > 0 {
		r.row = nil
		r.write(strings.Join(row, strings.Repeat(" ", buttonGap)) + "\n")
	}
}

// bullet is before each item of a list.
const bullet = "• "

// mark puts a bullet before an item that does not begin with a sign: on a terminal, that is mark enough.
func (r *renderer) mark(item string) string {
	mark, _, _ := strings.Cut(item, " ")
	if _, ok := signs[mark]; ok && r.width > 0 {
		return item
	}
	return bullet + item
}

func (r *renderer) plain(s string) { r.prose(s, 0) }

// prose is text for reading; what goes on from a line is indented by so many blanks, below the text of a list's item.
func (r *renderer) prose(s string, indent int) {
	if s = strings.TrimRight(s, "\n"); s == "" {
		return
	}
	for line := range strings.SplitSeq(s, "\n") {
		indent := indent
		if strings.HasPrefix(line, bullet) {
			indent = len([]rune(bullet))
			line = r.mark(strings.TrimPrefix(line, bullet))
		}
		r.write(r.spans(r.signed(strings.Join(fill(line, r.width, indent, ""), "\n"))) + "\n")
	}
}

func (r *renderer) line(style lipgloss.Style, s string) {
	if s == "" {
		return
	}
	s = strings.Join(fill(strings.TrimSuffix(s, "\n"), r.width, 0, ""), "\n")
	if r.styled {
		s = span.ReplaceAllString(s, "$1")
	}
	for line := range strings.SplitSeq(s, "\n") {
		r.write(r.style(style, line) + "\n")
	}
}

func (r *renderer) style(style lipgloss.Style, s string) string {
	if !r.styled || s == "" {
		return s
	}
	return style.TabWidth(lipgloss.NoTabConversion).Render(s)
}

// signed colours the sign that a line, or a list's item, begins with.
func (r *renderer) signed(line string) string {
	text, listed := strings.CutPrefix(line, bullet)
	mark, after, ok := strings.Cut(text, " ")
	style, is := signs[mark]
	if !ok || !is {
		return line
	}
	before := ""
	if listed {
		before = bullet
	}
	return before + r.style(style, mark) + " " + after
}

// span is how Slack writes code within text.
var span = regexp.MustCompile("`([^`]+)`")

// spans gives code within text a colour in place of its marks.
func (r *renderer) spans(s string) string {
	if !r.styled {
		return s
	}
	return span.ReplaceAllStringFunc(s, func(whole string) string {
		lines := strings.Split(strings.Trim(whole, "`"), "\n")
		for i, line := range lines {
			text := strings.TrimLeft(line, " ")
			lines[i] = line[:len(line)-len(text)] + r.style(spanStyle, text)
		}
		return strings.Join(lines, "\n")
	})
}

func (r *renderer) write(s string) { r.out.WriteString(s) }

// gap is one empty line between what is there and what follows.
func (r *renderer) gap() {
	if s := r.out.String(); s != "" && !strings.HasSuffix(s, "\n\n") {
		r.write("\n")
	}
}

// link is how Slack writes a link: <URL> or <URL|label>.
var link = regexp.MustCompile(`<((?:https?|mailto):[^<>|\s]+)(?:\|([^<>]*))?>`)

// entities are the three characters that Slack's text has as entities.
var entities = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")

// read is what a reader sees of a message's text. That of interactive messages is written for Slack: links and entities
// are undone. formatted says that Botkube's renderer for Slack formats it once more, where %% becomes %.
func (r *renderer) read(s string, formatted bool) string {
	if r.slack {
		s = link.ReplaceAllStringFunc(s, unlink)
		s = entities.Replace(s)
		if formatted {
			s = strings.ReplaceAll(s, "%%", "%")
		}
	}
	return r.untab(label(s))
}

// oneLine is text that has to fit beside other text.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// untab: a terminal's tab stops are not where the width of a line is known.
func (r *renderer) untab(s string) string {
	if r.width == 0 {
		return s
	}
	return strings.ReplaceAll(s, "\t", "    ")
}

// unlink writes a link as its label and address.
func unlink(whole string) string {
	parts := link.FindStringSubmatch(whole)
	if parts[2] == "" || parts[2] == parts[1] {
		return parts[1]
	}
	return parts[2] + " (" + parts[1] + ")"
}

// label is text without markup, as names of buttons are.
func label(s string) string {
	s = strings.ReplaceAll(s, api.MessageBotNamePlaceholder+" "+pluginName, pluginName) // here, the plugin alone is spoken to
	return clean(strings.ReplaceAll(s, api.MessageBotNamePlaceholder, pluginName))
}

// clean leaves out what a terminal would obey rather than show: control characters, and the invisible ones that turn or
// hide text.
func clean(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\n', c == '\t':
			return c
		case unicode.IsControl(c), unicode.Is(unicode.Cf, c), c == unicode.ReplacementChar, c == '\u2028', c == '\u2029':
			return -1
		default:
			return c
		}
	}, s)
}

// hostFlags are options of a command that the host takes out before the plugin sees it.
var hostFlags = regexp.MustCompile(`\s+--(?:bk-cmd-header|cluster-name|filter)(?:=|\s+)(?:'[^']*'|"[^"]*"|\S+)`)

// typed is a button's command as a user types it: without the bot's name and the host's options.
func typed(command string) string {
	command = strings.TrimPrefix(strings.TrimSpace(command), api.MessageBotNamePlaceholder)
	command = hostFlags.ReplaceAllString(command, "")
	return strings.TrimSpace(strings.ReplaceAll(clean(command), "\n", " "))
}

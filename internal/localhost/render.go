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
	r := renderer{styled: styled, slack: !a.TextOnly}
	for i, message := range a.Messages {
		if i > 0 {
			r.gap()
		}
		r.message(message)
	}
	return strings.TrimRight(r.out.String(), "\n") + "\n", r.choices
}

type renderer struct {
	styled  bool
	slack   bool // texts are written for Slack
	out     strings.Builder
	choices []string
}

var (
	headerStyle  = lipgloss.NewStyle().Bold(true)
	keyStyle     = lipgloss.NewStyle().Foreground(lipgloss.BrightBlack)
	faintStyle   = lipgloss.NewStyle().Faint(true)
	numberStyle  = lipgloss.NewStyle().Foreground(lipgloss.Cyan).Bold(true)
	dangerStyle  = lipgloss.NewStyle().Foreground(lipgloss.Red)
	addedStyle   = lipgloss.NewStyle().Foreground(lipgloss.Green)
	removedStyle = lipgloss.NewStyle().Foreground(lipgloss.Red)
)

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
		r.line(headerStyle, r.text(s.Header, false))
	}
	r.plain(r.text(s.Description, true))
	width := 0
	for _, field := range s.TextFields {
		width = max(width, lipgloss.Width(r.text(field.Key, false)))
	}
	for _, field := range s.TextFields {
		if !field.IsEmpty() {
			key := r.text(field.Key, false)
			r.write(r.style(keyStyle, key+":"+strings.Repeat(" ", width-lipgloss.Width(key))) + " " + r.text(field.Value, false) + "\n")
		}
	}
	r.body(s.Body, true)
	r.inputs(s.PlaintextInputs)
	for _, list := range s.BulletLists {
		if list.Title != "" {
			r.line(headerStyle, r.text(list.Title, true))
		}
		for _, item := range list.Items {
			r.plain("• " + r.text(item, true))
		}
	}
	r.buttons(s.Buttons)
	r.selects(s.Selects)
	r.multiSelect(s.MultiSelect)
	for _, item := range s.Context {
		r.line(faintStyle, r.text(item.Text, false))
	}
}

func (r *renderer) body(b api.Body, formatted bool) {
	r.plain(r.text(b.Plaintext, formatted))
	r.code(r.text(b.CodeBlock, formatted))
}

// code shows a block as it is, and the lines of a diff in their colours.
func (r *renderer) code(block string) {
	if block == "" {
		return
	}
	isDiff := strings.HasPrefix(block, "--- ") || strings.Contains(block, "@@ -")
	for line := range strings.SplitSeq(strings.TrimRight(block, "\n"), "\n") {
		switch {
		case isDiff && (strings.HasPrefix(line, "--- ") || strings.HasPrefix(line, "+++ ") || strings.HasPrefix(line, "@@ ")):
			r.line(faintStyle, line)
		case isDiff && strings.HasPrefix(line, "+"):
			r.line(addedStyle, line)
		case isDiff && strings.HasPrefix(line, "-"):
			r.line(removedStyle, line)
		default:
			r.write(line + "\n")
		}
	}
}

func (r *renderer) buttons(buttons api.Buttons) {
	for _, button := range buttons {
		name := label(button.Name)
		// A description that only repeats the command says nothing new here.
		if description := strings.TrimSpace(r.text(button.Description, false)); description != "" && description != typed(button.Command) {
			name += " – " + description
		}
		switch {
		case button.URL != "":
			r.plain(name + ": " + clean(button.URL))
		case button.Command != "":
			style := lipgloss.NewStyle()
			if button.Style == api.ButtonStyleDanger {
				style = dangerStyle
			}
			r.choice(style, name, button.Command)
		}
	}
}

func (r *renderer) selects(selects api.Selects) {
	for _, item := range selects.Items {
		r.line(keyStyle, label(item.Name)+":")
		for _, group := range item.OptionGroups {
			for _, option := range group.Options {
				name := option.Name
				if group.Name != item.Name {
					name = group.Name + ": " + name
				}
				r.choice(lipgloss.NewStyle(), label(name), item.Command+" "+option.Value)
			}
		}
	}
}

func (r *renderer) multiSelect(multi api.MultiSelect) {
	if len(multi.Options) == 0 {
		return
	}
	r.line(keyStyle, label(multi.Name)+":")
	r.body(multi.Description, false)
	for _, option := range multi.Options {
		r.choice(lipgloss.NewStyle(), label(option.Name), multi.Command+" "+option.Value)
	}
}

func (r *renderer) inputs(inputs api.LabelInputs) {
	for _, input := range inputs {
		r.plain(label(input.Text) + ": type " + typed(input.Command) + "…")
	}
}

func (r *renderer) choice(style lipgloss.Style, name, command string) {
	line := typed(command)
	r.choices = append(r.choices, line)
	number := fmt.Sprintf("[%d]", len(r.choices))
	if r.styled {
		r.write(numberStyle.Render(number) + " " + r.style(style, name) + "\n")
		return
	}
	r.write(number + " " + name + "   " + line + "\n")
}

func (r *renderer) plain(s string) {
	if s = strings.TrimRight(s, "\n"); s != "" {
		r.write(s + "\n")
	}
}

func (r *renderer) line(style lipgloss.Style, s string) {
	for line := range strings.Lines(s) {
		r.write(r.style(style, strings.TrimSuffix(line, "\n")) + "\n")
	}
}

func (r *renderer) style(style lipgloss.Style, s string) string {
	if !r.styled || s == "" {
		return s
	}
	return style.TabWidth(lipgloss.NoTabConversion).Render(s)
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

// text is what a reader sees of a message's text. That of interactive messages is written for Slack: links and entities
// are undone. formatted says that Botkube's renderer for Slack formats it once more, where %% becomes %.
func (r *renderer) text(s string, formatted bool) string {
	if r.slack {
		s = link.ReplaceAllStringFunc(s, unlink)
		s = entities.Replace(s)
		if formatted {
			s = strings.ReplaceAll(s, "%%", "%")
		}
	}
	return label(s)
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

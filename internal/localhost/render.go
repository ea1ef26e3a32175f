package localhost

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"charm.land/lipgloss/v2"
	"github.com/kubeshop/botkube/pkg/api"
)

// A Choice is a button or an option of a select: the line that it stands for.
type Choice struct {
	Name string
	Line string // as it would be typed: "ferry list"
}

// Render shows the messages of one answer as text and gives the choices in it, the one numbered 1 first. Styled text has
// escape sequences for a terminal; plain text has none, and shows beside each choice what to type instead. Nothing that
// a message holds reaches the terminal as a control character.
//
// Messages are those for Slack: its links and entities are undone, and so are doubled percent signs where Botkube's
// renderer formats the text once more.
func Render(messages []api.Message, styled bool) (string, []Choice) {
	r := renderer{styled: styled}
	for i, message := range messages {
		if i > 0 {
			r.gap()
		}
		r.message(message)
	}
	return strings.TrimRight(r.out.String(), "\n") + "\n", r.choices
}

type renderer struct {
	styled  bool
	out     strings.Builder
	choices []Choice
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
		r.line(headerStyle, text(s.Header, false))
	}
	r.plain(text(s.Description, true))
	width := 0
	for _, field := range s.TextFields {
		width = max(width, lipgloss.Width(text(field.Key, false)))
	}
	for _, field := range s.TextFields {
		if !field.IsEmpty() {
			key := text(field.Key, false)
			r.write(r.style(keyStyle, key+":"+strings.Repeat(" ", width-lipgloss.Width(key))) + " " + text(field.Value, false) + "\n")
		}
	}
	r.body(s.Body, true)
	r.inputs(s.PlaintextInputs)
	for _, list := range s.BulletLists {
		if list.Title != "" {
			r.line(headerStyle, text(list.Title, true))
		}
		for _, item := range list.Items {
			r.plain("• " + text(item, true))
		}
	}
	r.buttons(s.Buttons)
	r.selects(s.Selects)
	r.multiSelect(s.MultiSelect)
	for _, item := range s.Context {
		r.line(faintStyle, text(item.Text, false))
	}
}

func (r *renderer) body(b api.Body, formatted bool) {
	r.plain(text(b.Plaintext, formatted))
	r.code(text(b.CodeBlock, formatted))
}

// code shows a block as it is, and the changed lines of a diff in their colours.
func (r *renderer) code(block string) {
	if block == "" {
		return
	}
	for line := range strings.Lines(strings.TrimRight(block, "\n") + "\n") {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "+"):
			r.line(addedStyle, line)
		case strings.HasPrefix(line, "-"):
			r.line(removedStyle, line)
		default:
			r.write(line + "\n")
		}
	}
}

func (r *renderer) buttons(buttons api.Buttons) {
	for _, button := range buttons {
		label := text(button.Name, false)
		// A description that only repeats the command says nothing new here.
		if description := strings.TrimSpace(text(button.Description, false)); description != "" && description != typed(button.Command) {
			label += " – " + description
		}
		switch {
		case button.URL != "":
			r.plain(label + ": " + clean(button.URL))
		case button.Command != "":
			style := lipgloss.NewStyle()
			if button.Style == api.ButtonStyleDanger {
				style = dangerStyle
			}
			r.choice(style, label, button.Command)
		}
	}
}

func (r *renderer) selects(selects api.Selects) {
	for _, item := range selects.Items {
		r.line(keyStyle, text(item.Name, false)+":")
		for _, group := range item.OptionGroups {
			for _, option := range group.Options {
				label := text(option.Name, false)
				if group.Name != "" && group.Name != item.Name {
					label = text(group.Name, false) + ": " + label
				}
				r.choice(lipgloss.NewStyle(), label, item.Command+" "+option.Value)
			}
		}
	}
}

func (r *renderer) multiSelect(multi api.MultiSelect) {
	if len(multi.Options) == 0 {
		return
	}
	r.line(keyStyle, text(multi.Name, false)+":")
	r.body(multi.Description, false)
	for _, option := range multi.Options {
		r.choice(lipgloss.NewStyle(), text(option.Name, false), multi.Command+" "+option.Value)
	}
}

func (r *renderer) inputs(inputs api.LabelInputs) {
	for _, input := range inputs {
		r.plain(text(input.Text, false) + ": type " + typed(input.Command) + "…")
	}
}

func (r *renderer) choice(style lipgloss.Style, label, command string) {
	line := typed(command)
	r.choices = append(r.choices, Choice{Name: label, Line: line})
	number := fmt.Sprintf("[%d]", len(r.choices))
	if r.styled {
		r.write(numberStyle.Render(number) + " " + r.style(style, label) + "\n")
		return
	}
	r.write(number + " " + label + "   " + line + "\n")
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

// text is a message's text for a terminal. formatted says that Botkube formats it once more, where %% becomes %.
func text(s string, formatted bool) string {
	s = link.ReplaceAllStringFunc(s, func(whole string) string {
		if parts := link.FindStringSubmatch(whole); parts[2] != "" && parts[2] != parts[1] {
			return parts[2] + " (" + parts[1] + ")"
		} else {
			return parts[1]
		}
	})
	s = entities.Replace(s)
	if formatted {
		s = strings.ReplaceAll(s, "%%", "%")
	}
	s = strings.ReplaceAll(s, api.MessageBotNamePlaceholder+" ", "")
	return clean(strings.ReplaceAll(s, api.MessageBotNamePlaceholder, name))
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
	return strings.Join(slices.Collect(strings.SplitSeq(strings.TrimSpace(clean(command)), "\n")), " ")
}

package localhost

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
)

// A Chat is a conversation on a terminal, until "quit", "exit", Ctrl-D or Ctrl-C twice. The newest answer stays editable:
// its buttons can be chosen from, and an answer that replaces it does so in place, as in Slack.
type Chat struct {
	// Execute answers a line that begins with the plugin's name. An error is shown, and the conversation goes on. After
	// the end of its context nobody waits for it.
	Execute func(ctx context.Context, line string) (Answer, error)

	In  io.Reader // a terminal's
	Out io.Writer // a terminal's

	Styled  bool    // with colours
	Grammar Grammar // what Tab completes
	Welcome string  // a line executed in the beginning to learn names from its answer, which is not shown; none if empty
	History string  // the file with the lines typed; none are kept if empty
}

// Run converses. It returns ctx's error when that ends it.
func (c Chat) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := newModel(ctx, c)
	options := []tea.ProgramOption{tea.WithContext(ctx), tea.WithInput(c.In), tea.WithOutput(c.Out), tea.WithoutSignalHandler()}
	if !c.Styled {
		options = append(options, tea.WithColorProfile(colorprofile.Ascii))
	}
	for !m.quit {
		_, err := tea.NewProgram(m, options...).Run()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("show the conversation: %w", err)
		}
		if err := m.write(c.Out); err != nil {
			return fmt.Errorf("write an answer: %w", err)
		}
	}
	return nil
}

// An exchange is a line and its answer, as they stand on the screen.
type exchange struct {
	command string // as typed: without the plugin's name
	answer  Answer // that of an earlier line if there is a problem: its buttons remain
	problem string // why there is no answer
}

// A wait is for an answer.
type wait struct {
	number  int // of the question
	command string
	chosen  bool // from the answer on the screen
	since   time.Time
	now     time.Time
	cancel  context.CancelFunc
	result  chan result // takes one
}

type result struct {
	answer Answer
	err    error
}

// model is the state of a conversation: what Bubble Tea calls one. What is said and done leaves its view for good by
// ending Bubble Tea's program, whose view is empty then, writing the text, and starting another program on the same model.
// Bubble Tea's own way of printing above a view loses lines where view and text are higher than the screen. Answers wait
// in channels, so that they reach whichever program runs.
type model struct {
	chat    Chat
	ctx     context.Context
	clock   func() time.Time
	history *history
	known   names
	learned chan Answer // takes the one to the first line

	width, height int
	ready         bool // the terminal's size is known
	input         editor
	last          exchange // the newest
	live          bool     // last is in the view; otherwise it was printed
	shown         view     // of last's answer; its choices are those that numbers stand for
	waiting       *wait
	asked         int
	menu          *menu
	note          string // below the prompt, until the next key
	leaving       bool   // Ctrl-C was pressed at an empty prompt
	quit          bool
	begun         bool   // the first program did
	leaves        string // text that is to be written for good; the view is empty meanwhile
	tall          int    // lines of the highest view of this program
	browsing      *browse
}

func newModel(ctx context.Context, c Chat) *model {
	m := &model{chat: c, ctx: ctx, clock: time.Now, learned: make(chan Answer, 1), width: 80, height: 24}
	var err error
	if m.history, err = openHistory(c.History); err != nil {
		m.note = err.Error()
	}
	return m
}

// Messages to the model.
type (
	arrived struct{} // an answer waits
	tick    struct {
		number int
		now    time.Time
	}
)

const frame = 100 * time.Millisecond

// Init begins a program: the first asks for the names.
func (m *model) Init() tea.Cmd {
	switch {
	case m.waiting != nil:
		return m.tick()
	case m.begun || m.chat.Welcome == "":
		return nil
	}
	m.begun = true
	return func() tea.Msg {
		answer, err := m.chat.Execute(m.ctx, Command(m.chat.Welcome))
		if err != nil {
			return nil // names are then learned from what the user asks
		}
		m.learned <- answer
		return arrived{}
	}
}

// Update takes a message.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	var cmd tea.Cmd
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height, m.ready = max(20, msg.Width), max(5, msg.Height), true
		m.show()
		cmd = m.leave("")
	case tea.KeyPressMsg:
		cmd = m.key(msg)
	case tea.PasteMsg:
		m.note, m.leaving, m.menu = "", false, nil
		if !m.input.insert(typedLine(msg.Content)) {
			m.note = fmt.Sprintf("A line has at most %d characters; nothing was pasted.", maxTyped)
		}
	case tick:
		if m.waiting != nil && m.waiting.number == msg.number {
			m.waiting.now = msg.now
			cmd = m.tick()
		}
	}
	return m, tea.Batch(cmd, m.collect())
}

// collect takes the answers that have arrived.
func (m *model) collect() tea.Cmd {
	select {
	case answer := <-m.learned:
		m.known.learn(m.chat.Grammar, answer.fit(false, m.width))
	default:
	}
	if m.waiting == nil {
		return nil
	}
	select {
	case r := <-m.waiting.result:
		return m.receive(r)
	default:
		return nil
	}
}

func (m *model) tick() tea.Cmd {
	number := m.waiting.number
	return tea.Tick(frame, func(now time.Time) tea.Msg { return tick{number, now} })
}

// submit does what a typed line says.
func (m *model) submit(line string) tea.Cmd {
	m.input.set("")
	switch line = typedLine(line); line {
	case "":
		return nil
	case "quit", "exit":
		return m.end()
	}
	number, isNumber, err := choose(line, len(m.shown.choices))
	switch {
	case err != nil:
		m.note = err.Error()
		return nil
	case isNumber:
		return m.take(m.shown.choices[number-1])
	}
	if err := m.history.add(line); err != nil {
		m.note = err.Error()
	}
	return m.ask(line, false)
}

// take runs a choice, or opens it if it is a select.
func (m *model) take(c choice) tea.Cmd {
	if len(c.options) > 0 {
		m.menu = selectMenu(c)
		return nil
	}
	m.menu = nil
	return m.ask(c.line, true)
}

// ask executes a line.
func (m *model) ask(line string, chosen bool) tea.Cmd {
	ctx, cancel := context.WithCancel(m.ctx)
	m.asked++
	now := m.clock()
	command := Command(line)
	w := &wait{
		number: m.asked, command: typedCommand(command), chosen: chosen, since: now, now: now, cancel: cancel, result: make(chan result, 1),
	}
	m.waiting = w
	return tea.Batch(m.tick(), func() tea.Msg {
		answer, err := m.chat.Execute(ctx, command)
		w.result <- result{answer, err}
		return arrived{}
	})
}

// typedCommand is a command as one types it here.
func typedCommand(command string) string {
	if short := strings.TrimPrefix(command, pluginName+" "); short != "" {
		return short
	}
	return command
}

// receive shows an answer. The one before leaves the view for good, unless it is replaced.
func (m *model) receive(r result) tea.Cmd {
	w := m.waiting
	w.cancel()
	m.waiting = nil
	if r.err != nil {
		return m.tell(w.command, r.err.Error())
	}
	var text string
	if replaces := w.chosen && r.answer.Messages[0].ReplaceOriginal; m.live && !replaces {
		text = m.exchangeText() + "\n"
	}
	m.last, m.live = exchange{command: w.command, answer: r.answer}, true
	m.show()
	m.known.learn(m.chat.Grammar, m.shown)
	if !r.answer.Refused() {
		m.known.learnLine(m.chat.Grammar, w.command)
	}
	return m.leave(text)
}

// tell shows why there is no answer to a command.
func (m *model) tell(command, problem string) tea.Cmd {
	var text string
	if m.live {
		text = m.exchangeText() + "\n"
	}
	m.last, m.live = exchange{command: command, answer: m.last.answer, problem: oneLine(clean(problem))}, true
	return m.leave(text)
}

// stop ends the wait for an answer.
func (m *model) stop() tea.Cmd {
	w := m.waiting
	w.cancel()
	m.waiting = nil
	return m.tell(w.command, fmt.Sprintf(
		"Stopped waiting after %s. If a change was asked for, it may go on: see status.", seconds(w.now.Sub(w.since))))
}

// seconds is a duration as people say it, without parts of seconds: "3s", "2m5s".
func seconds(d time.Duration) string { return d.Truncate(time.Second).String() }

// show lays the newest answer out for the present width.
func (m *model) show() {
	if len(m.last.answer.Messages) > 0 {
		m.shown = m.last.answer.fit(m.chat.Styled, m.width)
	}
}

// room is how many lines are kept for the prompt and what is below it.
const room = 6

// leave lets a text leave the view for good, and with it the newest exchange if it does not fit above the prompt.
func (m *model) leave(text string) tea.Cmd {
	if m.live {
		if newest := m.exchangeText(); m.quit || strings.Count(newest, "\n") > m.height-room {
			text += newest + "\n"
			m.live = false
		}
	}
	m.leaves += text
	if m.leaves == "" && !m.quit {
		return nil
	}
	return tea.Quit
}

// write writes what leaves the view, in its place: Bubble Tea ended with the cursor in the last line of it.
func (m *model) write(out io.Writer) error {
	text := m.leaves
	if m.quit {
		text = strings.TrimSuffix(text, "\n")
	}
	if m.tall > 1 {
		text = fmt.Sprintf("\x1b[%dA\x1b[J", m.tall-1) + text // up, and all below is erased
	}
	m.leaves, m.tall = "", 0
	_, err := io.WriteString(out, text)
	return err
}

// end leaves the conversation on the screen and quits.
func (m *model) end() tea.Cmd {
	m.quit = true
	if m.waiting != nil {
		m.waiting.cancel()
		m.waiting = nil
	}
	return m.leave("")
}

func (m *model) style() renderer { return renderer{styled: m.chat.Styled, width: m.width} }

// key does what a key is for.
func (m *model) key(k tea.KeyPressMsg) tea.Cmd {
	name := k.String()
	leaving := m.leaving
	m.note, m.leaving = "", false
	switch {
	case m.quit:
		return nil
	case m.waiting != nil:
		return m.keyWhileWaiting(name, k.Text)
	}
	if m.menu != nil {
		if cmd, done := m.keyInMenu(name, k.Text); done {
			return cmd
		}
		m.menu = nil
	}
	browsing := m.browsing
	m.browsing = nil
	switch name {
	case "ctrl+c":
		switch {
		case len(m.input.text) > 0:
			m.input.set("")
		case leaving:
			return m.end()
		default:
			m.leaving, m.note = true, "Ctrl-C again or Ctrl-D leaves."
		}
	case "ctrl+d":
		if len(m.input.text) == 0 {
			return m.end()
		}
		m.edit(name, "")
	case "enter", "ctrl+j":
		return m.submit(m.input.String())
	case "tab":
		m.complete()
	case "up", "ctrl+p":
		m.recall(browsing, m.history.before)
	case "down", "ctrl+n":
		if browsing == nil && len(m.input.text) == 0 && len(m.shown.choices) > 0 {
			m.menu = &menu{kind: choicesMenu, all: m.shown.choices}
			return nil
		}
		m.recall(browsing, m.history.after)
	case "esc":
	default:
		m.edit(name, k.Text)
	}
	return nil
}

func (m *model) edit(key, text string) {
	if !m.input.key(key, text) {
		m.note = fmt.Sprintf("A line has at most %d characters.", maxTyped)
	}
}

// keyWhileWaiting edits the next line, which is sent after the answer at the earliest.
func (m *model) keyWhileWaiting(name, text string) tea.Cmd {
	switch name {
	case "ctrl+c":
		return m.stop()
	case "enter", "tab", "up", "down", "esc", "ctrl+j", "ctrl+p", "ctrl+n", "ctrl+d":
	default:
		m.edit(name, text)
	}
	return nil
}

// A browse is a walk through the history.
type browse struct {
	at     int    // the line shown
	prefix string // what was typed before; only lines that begin so are shown
}

// recall shows another line of the history. after, at the newest end, gives back what was typed.
func (m *model) recall(b *browse, step func(at int, prefix string) (string, int)) {
	if b == nil {
		b = &browse{at: len(m.history.lines), prefix: m.input.String()}
	}
	m.browsing = b
	if line, at := step(b.at, b.prefix); at >= 0 {
		b.at = at
		m.input.set(line)
	}
}

// complete writes what the word before the cursor can only be, or opens a menu of what it can be.
func (m *model) complete() {
	left := m.input.left()
	candidates, partial := m.chat.Grammar.complete(left, &m.known)
	if len(candidates) == 0 {
		return
	}
	before := strings.TrimSuffix(left, partial)
	if len(candidates) == 1 {
		m.input.setLeft(before + completed(candidates[0]))
		return
	}
	m.input.setLeft(before + commonPrefix(candidates))
	words := &menu{kind: wordsMenu, at: -1, typed: before}
	for _, c := range candidates {
		item := choice{name: c}
		if strings.TrimSpace(before) == "" {
			item.line = strings.Join(m.chat.Grammar.usages(c), ", ")
		}
		words.all = append(words.all, item)
	}
	m.menu = words
}

// completed is a word with what follows it.
func completed(word string) string {
	if strings.HasSuffix(word, "@") {
		return word
	}
	return word + " "
}

// keyInMenu says whether the key was for the menu.
func (m *model) keyInMenu(name, text string) (cmd tea.Cmd, done bool) {
	menu := m.menu
	switch name {
	case "up", "shift+tab", "ctrl+p":
		menu.move(-1)
	case "down", "tab", "ctrl+n":
		menu.move(1)
	case "enter":
		item, ok := menu.chosen()
		switch {
		case menu.kind == wordsMenu && !ok:
			return nil, false
		case !ok:
		case menu.kind == wordsMenu:
			m.input.setLeft(menu.typed + completed(item.name))
			m.menu = nil
		default:
			return m.take(item), true
		}
		return nil, true
	case "esc", "ctrl+c":
		m.menu = nil
		return nil, true
	case "backspace":
		if menu.kind == optionsMenu {
			typed := []rune(menu.typed)
			menu.typed, menu.at = string(typed[:max(0, len(typed)-1)]), 0
			return nil, true
		}
		return nil, false
	default:
		if menu.kind == optionsMenu && text != "" {
			menu.typed, menu.at = shorten(menu.typed+clean(text), m.width/2), 0
			return nil, true
		}
		return nil, false
	}
	if item, ok := menu.chosen(); ok && menu.kind == wordsMenu {
		m.input.setLeft(menu.typed + item.name)
	}
	return nil, true
}

const prompt = pluginName + "> "

// exchangeText is the newest exchange as it stands on the screen, with a newline at its end.
func (m *model) exchangeText() string {
	r := m.style()
	text := m.echo(m.last.command)
	if m.last.problem == "" {
		return text + m.shown.text
	}
	r.line(dangerStyle, m.last.problem)
	return text + r.text()
}

// echo is a line as it was typed, behind the prompt.
func (m *model) echo(command string) string {
	r := m.style()
	lines := wrap(oneLine(clean(command)), m.width-len(prompt), m.width-len(prompt), "")
	for i, line := range lines {
		lines[i] = strings.Repeat(" ", len(prompt)) + r.style(headerStyle, line)
		if i == 0 {
			lines[i] = r.style(numberStyle, prompt) + r.style(headerStyle, line)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

var spinner = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

// View draws what can still change: the newest exchange, the prompt and what is below it. It never gets lower while a
// program runs: Bubble Tea would lose its place.
func (m *model) View() tea.View {
	lines, cursor := m.lines()
	cut := max(0, len(lines)-m.height)
	lines = lines[cut:]
	m.tall = min(max(m.tall, len(lines)), m.height)
	v := tea.NewView(strings.Join(lines, "\n") + strings.Repeat("\n", m.tall-len(lines)))
	if v.Cursor = cursor; cursor != nil {
		cursor.Y -= cut
	}
	return v
}

// lines are those of the view, one at least.
func (m *model) lines() ([]string, *tea.Cursor) {
	if m.leaves != "" || m.quit || !m.ready {
		return []string{""}, nil
	}
	r := m.style()
	var lines []string
	if m.live {
		lines = strings.Split(m.exchangeText(), "\n")
	}
	if w := m.waiting; w != nil {
		passed := w.now.Sub(w.since)
		lines = append(lines, strings.Split(strings.TrimSuffix(m.echo(w.command), "\n"), "\n")...)
		sign := string(spinner[int(passed/frame)%len(spinner)])
		text := fmt.Sprintf("waiting for the answer… %s, Ctrl-C to stop waiting", seconds(passed))
		lines = append(lines, r.style(numberStyle, sign)+" "+r.style(faintStyle, shorten(text, m.width-2)))
		if len(m.input.text) == 0 {
			return lines, nil
		}
	}
	typed, x, y := m.prompt(r)
	cursor := tea.NewCursor(x, y+len(lines))
	lines = append(lines, typed...)
	if m.menu != nil {
		lines = append(lines, m.menu.lines(r, min(8, m.height-len(lines)-2))...)
	}
	if m.waiting == nil {
		style := faintStyle
		if m.note != "" {
			style = noteStyle
		}
		lines = append(lines, r.style(style, shorten(m.hint(), m.width)))
	}
	return lines, cursor
}

// prompt is the line being typed, or as much of a very long one as is around the cursor.
func (m *model) prompt(r renderer) (lines []string, x, y int) {
	input, start := &m.input, prompt
	if m.menu != nil && m.menu.kind == optionsMenu {
		input, start = &editor{}, shorten(oneLine(m.menu.title), m.width/2)+"> "
		input.set(m.menu.typed)
	}
	lines, x, y = input.lines(start, m.width)
	rows := max(1, m.height/4)
	first := max(0, min(y-rows/2, len(lines)-rows))
	lines = lines[first:min(len(lines), first+rows)]
	if first == 0 {
		lines[0] = r.style(numberStyle, start) + strings.TrimPrefix(lines[0], start)
	}
	return lines, x, y - first
}

// hint is what can be done now.
func (m *model) hint() string {
	switch {
	case m.note != "":
		return oneLine(clean(m.note))
	case m.menu != nil && m.menu.kind == choicesMenu:
		return "↑ ↓ move · Enter runs it · Esc goes back"
	case m.menu != nil && m.menu.kind == optionsMenu:
		return "↑ ↓ move · type to narrow · Enter runs it · Esc goes back"
	case m.menu != nil:
		return "Tab or ↑ ↓ choose · Enter takes it · Esc closes"
	case len(m.input.text) > 0:
		return strings.Join(m.chat.Grammar.usages(m.input.left()), " · ")
	}
	hints := []string{"Tab completes", "Ctrl-D leaves"}
	if len(m.history.lines) > 0 {
		hints = append([]string{"↑ earlier lines"}, hints...)
	}
	if len(m.shown.choices) > 0 {
		hints = append([]string{"↓ or a number chooses"}, hints...)
	}
	return strings.Join(hints, " · ")
}

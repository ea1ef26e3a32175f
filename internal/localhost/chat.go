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

	// Events are shown as they come; nil: there are none.
	Events <-chan Answer

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

	arrived chan struct{} // closed when the rest is there
	answer  Answer
	err     error
}

// model is the state of a conversation: what Bubble Tea calls one. What is said and done leaves its view for good by
// ending Bubble Tea's program, whose view is empty then, writing the text, and starting another program on the same model.
// Bubble Tea's own way of printing above a view loses lines where view and text are higher than the screen. Answers wait
// in the model, so that they reach whichever program runs.
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
	listen  struct{} // it is time to look for events
	tick    struct {
		number int
		now    time.Time
	}
)

const (
	frame = 100 * time.Millisecond
	heed  = 250 * time.Millisecond // between looks for events
)

// Init begins a program: the first asks for the names.
func (m *model) Init() tea.Cmd {
	switch {
	case m.waiting != nil:
		return tea.Batch(m.listen(), m.tick())
	case m.begun || m.chat.Welcome == "":
		return m.listen()
	}
	m.begun = true
	return tea.Batch(m.listen(), func() tea.Msg {
		answer, err := m.chat.Execute(m.ctx, Command(m.chat.Welcome))
		if err != nil {
			return nil // names are then learned from what the user asks
		}
		m.learned <- answer
		return arrived{}
	})
}

// listen looks for events after a while. It does not wait for one: a program that has ended would take it along.
func (m *model) listen() tea.Cmd {
	if m.chat.Events == nil {
		return nil
	}
	return tea.Tick(heed, func(time.Time) tea.Msg { return listen{} })
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
	case listen:
		cmd = tea.Batch(m.overhear(), m.listen())
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
	case <-m.waiting.arrived:
		return m.receive()
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
		number: m.asked, command: typedCommand(command), chosen: chosen, since: now, now: now, cancel: cancel,
		arrived: make(chan struct{}),
	}
	m.waiting = w
	go func() { // not as a command of a program, which can end before it gets to it
		defer close(w.arrived)
		w.answer, w.err = m.chat.Execute(ctx, command)
	}()
	return tea.Batch(m.tick(), func() tea.Msg {
		<-w.arrived
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
func (m *model) receive() tea.Cmd {
	w := m.waiting
	w.cancel()
	m.waiting = nil
	if w.err != nil {
		return m.tell(w.command, w.err.Error())
	}
	var text string
	if replaces := w.chosen && w.answer.Messages[0].ReplaceOriginal; m.live && !replaces {
		text = m.exchangeText() + "\n"
	}
	m.last, m.live = exchange{command: w.command, answer: w.answer}, true
	m.show()
	m.known.learn(m.chat.Grammar, m.shown)
	if !w.answer.Refused() {
		m.known.learnLine(m.chat.Grammar, w.command)
	}
	return m.leave(text)
}

// overhear shows the event that has come, if one has.
func (m *model) overhear() tea.Cmd {
	select {
	case event := <-m.chat.Events:
		var text string
		if m.live {
			text = m.exchangeText() + "\n"
			m.live = false
		}
		return m.leave(text + event.unasked(m.chat.Styled, m.width) + "\n")
	default:
		return nil
	}
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

package localhost

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// A Session is a conversation: lines in, answers out, until "quit", "exit" or the end of input.
type Session struct {
	// Execute answers a line that begins with the plugin's name. An error is shown, and the conversation goes on.
	Execute func(ctx context.Context, line string) (Answer, error)

	// Events are shown as they come; nil: there are none.
	Events <-chan Answer

	In  io.Reader
	Out io.Writer // answers
	Err io.Writer // everything else

	Prompt   bool // ask for lines: input comes from a terminal
	Styled   bool // Out is a terminal that shows styles
	Progress bool // Err is a terminal: show there that an answer is awaited
}

// maxLine is how long a typed line may be, in bytes.
const maxLine = 1 << 20

// Run converses. It returns ctx's error when that ends it; otherwise, in the end, an error if lines could not be answered.
// An answer is never an error, be it a refusal.
func (s *Session) Run(ctx context.Context) error {
	lines, failed := s.lines(ctx)
	var choices []string // of the last answer
	unanswered := 0
	for {
		if s.Prompt {
			fmt.Fprint(s.Out, "ferry> ")
		}
		select {
		case <-ctx.Done():
			s.leave()
			return ctx.Err()
		case event := <-s.Events:
			if s.Prompt {
				fmt.Fprintln(s.Out)
			}
			fmt.Fprintln(s.Out, event.unasked(s.Styled, 0))
		case line, ok := <-lines:
			line = strings.TrimSpace(line)
			switch {
			case !ok:
				s.leave()
				return errors.Join(*failed, count(unanswered))
			case line == "quit", line == "exit":
				return count(unanswered)
			case line == "":
				continue
			}
			command, err := pick(line, choices)
			if err != nil {
				fmt.Fprintln(s.Err, err)
				continue
			}
			// Neither the lines of a file nor what a number stands for have been seen yet.
			if !s.Prompt || command != Command(line) {
				fmt.Fprintln(s.Out, "> "+clean(command))
			}
			answer, err := s.await(ctx, command)
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				fmt.Fprintln(s.Err, clean(err.Error()))
				unanswered++
				continue
			}
			var text string
			text, choices = answer.Render(s.Styled)
			fmt.Fprintln(s.Out, text)
		}
	}
}

func count(unanswered int) error {
	if unanswered == 0 {
		return nil
	}
	return fmt.Errorf("lines without an answer: %d", unanswered)
}

// leave ends the line of the prompt.
func (s *Session) leave() {
	if s.Prompt {
		fmt.Fprintln(s.Out)
	}
}

// lines reads the input beside the conversation, so that the end of ctx ends it while it waits. The error is the input's,
// to be read once the channel is closed.
func (s *Session) lines(ctx context.Context) (<-chan string, *error) {
	lines, failed := make(chan string), new(error)
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(s.In)
		scanner.Buffer(nil, maxLine)
		for scanner.Scan() {
			select {
			case lines <- scanner.Text():
			case <-ctx.Done():
				return
			}
		}
		if err := scanner.Err(); err != nil {
			*failed = fmt.Errorf("read a line: %w", err)
		}
	}()
	return lines, failed
}

// pick is the command that a line stands for: a choice's where the line is its number, else the line itself, with the
// plugin's name before it.
func pick(line string, choices []string) (string, error) {
	number, ok, err := choose(line, len(choices))
	switch {
	case err != nil:
		return "", err
	case ok:
		return Command(choices[number-1]), nil
	default:
		return Command(line), nil
	}
}

// choose reads a line as the number of a choice, and says whether it is one.
func choose(line string, choices int) (number int, ok bool, err error) {
	number, err = strconv.Atoi(line)
	switch {
	case err != nil:
		return 0, false, nil
	case number >= 1 && number <= choices:
		return number, true, nil
	case choices == 0:
		return 0, false, errors.New("the last answer has nothing to choose from; type a command, for example: list")
	default:
		return 0, false, fmt.Errorf("choose a number from 1 to %d, or type a command", choices)
	}
}

// Command is the line with the plugin's name before it, as a host passes it on.
func Command(line string) string {
	line = strings.TrimSpace(hostFlags.ReplaceAllString(line, ""))
	if first, _, _ := strings.Cut(line, " "); first == pluginName {
		return line
	}
	return strings.TrimSpace(pluginName + " " + line)
}

// await shows on Err how long the answer takes.
func (s *Session) await(ctx context.Context, command string) (Answer, error) {
	if s.Progress {
		ctx, done := context.WithCancel(ctx)
		shown := make(chan struct{})
		go func() {
			defer close(shown)
			s.progress(ctx)
		}()
		defer func() {
			done()
			<-shown
		}()
	}
	return s.Execute(ctx, command)
}

func (s *Session) progress(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for seconds := 1; ; seconds++ {
		select {
		case <-ctx.Done():
			if seconds > 1 {
				fmt.Fprint(s.Err, "\r\x1b[K")
			}
			return
		case <-tick.C:
			fmt.Fprintf(s.Err, "\rferry is working … %d s", seconds)
		}
	}
}

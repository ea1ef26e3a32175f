package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	columns = 100
	tall    = 400 // rows: the whole conversation
	patient = time.Minute
)

// converse has the conversation of the pictures with the demo, and draws it.
func converse() (map[string][]byte, error) {
	state, err := os.MkdirTemp("", "ferry-pictures-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the demo: %w", err)
	}
	defer os.RemoveAll(state)
	cmd := exec.Command("bin/ferry", "demo", "--dir", filepath.Join(state, "demo"))
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "XDG_STATE_HOME="+state)
	end, err := terminalOf(cmd, columns, tall)
	if err != nil {
		return nil, err
	}
	defer end.Close()
	t := &talk{screen: screen{columns: columns}}
	go t.listen(end)

	said := func() error {
		for _, turn := range []struct{ typed, answer string }{
			{"", "Ctrl-D leaves"},
			{"list", "applications in"}, {"diff stage", "stage and prod"}, {"promote podinfo@7.0.0 to prod", "Promote podinfo on prod?"}, {"1", ": Verified"},
		} {
			if turn.typed != "" {
				if _, err := end.WriteString(turn.typed + "\r"); err != nil {
					return fmt.Errorf("type: %w", err)
				}
			}
			if err := t.await(turn.answer); err != nil {
				return err
			}
		}
		return nil
	}()
	rows := t.copy()
	_, _ = end.Write([]byte{4}) // Ctrl-D
	if err := errors.Join(said, cmd.Wait()); err != nil {
		return nil, fmt.Errorf("talk to the demo: %w", err)
	}
	card := slices.IndexFunc(rows, func(row []glyph) bool { return strings.HasPrefix(text(row), "ferry> promote") })
	if card < 0 {
		return nil, errors.New("the conversation has no card")
	}
	return map[string][]byte{
		"terminal-look.svg":    drawTerminal(rows[:card], "ferry in a terminal: list and diff"),
		"terminal-promote.svg": drawTerminal(rows[card:], "ferry in a terminal: a promotion, confirmed and verified"),
	}, nil
}

// A talk is a screen that fills while it is looked at.
type talk struct {
	mu     sync.Mutex
	screen screen
}

func (t *talk) listen(from *os.File) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		t.mu.Lock()
		_, _ = t.screen.Write(buffer[:n]) // never fails
		t.mu.Unlock()
		if err != nil { // the program ended
			return
		}
	}
}

// copy is the screen as it is, without empty rows at its end.
func (t *talk) copy() [][]glyph {
	t.mu.Lock()
	defer t.mu.Unlock()
	var rows [][]glyph
	for _, row := range t.screen.rows {
		rows = append(rows, slices.Clone(row))
	}
	for len(rows) > 0 && text(rows[len(rows)-1]) == "" {
		rows = rows[:len(rows)-1]
	}
	return rows
}

// await waits until the last row offers to type again and the newest exchange has the answer.
func (t *talk) await(answer string) error {
	for begin := time.Now(); time.Since(begin) < patient; time.Sleep(50 * time.Millisecond) {
		rows := t.copy()
		if len(rows) == 0 || !strings.Contains(text(rows[len(rows)-1]), "Ctrl-D leaves") {
			continue
		}
		if slices.ContainsFunc(rows, func(row []glyph) bool { return strings.Contains(text(row), answer) }) {
			return nil
		}
	}
	var shown strings.Builder
	for _, row := range t.copy() {
		shown.WriteString("\n" + text(row))
	}
	return fmt.Errorf("no %q within %s:%s", answer, patient, &shown)
}

// Sizes of the terminal's picture, in pixels.
const (
	fontSize = 13
	advance  = fontSize * 0.602
	step     = 19
	bar      = 34
	border   = 18
)

// palette are the colours of ECMA-48 on a dark screen.
var palette = map[int]string{
	0: "#d8dee9", 31: "#f07178", 32: "#8fce7a", 33: "#e5c07b", 36: "#5fc7d6", 90: "#8f9bb3",
}

func drawTerminal(rows [][]glyph, title string) []byte {
	for len(rows) > 0 && text(rows[len(rows)-1]) == "" {
		rows = rows[:len(rows)-1]
	}
	s := &svg{}
	for i, fill := range []string{"#f0645a", "#f2bd42", "#57c24f"} {
		s.box(border+float64(i)*20, 11, 12, 12, 6, fill, "")
	}
	s.words((columns*advance+2*border)/2, 22, "middle", []run{{text: "ferry demo", size: 13, fill: "#8f9bb3"}})
	for y, row := range rows {
		for x := 0; x < len(row); {
			to := x
			for to < len(row) && row[to].look == row[x].look {
				to++
			}
			l := row[x].look
			fill, ok := palette[l.colour]
			if !ok {
				fill = palette[0]
			}
			s.grid(border+float64(x)*advance, bar+border+float64(y)*step, fontSize, advance, text(row[x:to]), cell{fill: fill, bold: l.bold, faint: l.faint})
			x = to
		}
	}
	return s.file(columns*advance+2*border, bar+float64(len(rows))*step+border, title, "#1d2330", "#3a4356")
}

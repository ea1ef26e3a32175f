package localhost

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	maxHistory     = 500     // lines kept
	maxHistoryFile = 1 << 20 // bytes read; what is before them is forgotten
)

// A history holds the lines typed, the newest last, and keeps them in a file.
type history struct {
	file  string // empty: they are forgotten in the end
	lines []string
}

// openHistory reads the lines of earlier sessions. A file longer than it should be is cut.
func openHistory(file string) (*history, error) {
	h := &history{file: file}
	if file == "" {
		return h, nil
	}
	content, err := readTail(file, maxHistoryFile)
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		h.file = ""
		return h, fmt.Errorf("read history: %w", err)
	}
	for line := range strings.Lines(content) {
		h.remember(typedLine(line))
	}
	if len(h.lines) <= maxHistory {
		return h, nil
	}
	h.lines = h.lines[len(h.lines)-maxHistory:]
	if err := h.rewrite(); err != nil {
		return h, fmt.Errorf("shorten history: %w", err)
	}
	return h, nil
}

// readTail is the end of a file, from the beginning of a line.
func readTail(file string, size int64) (string, error) {
	stat, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	if !stat.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no file", file)
	}
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	offset := max(0, stat.Size()-size)
	content := make([]byte, stat.Size()-offset)
	n, err := f.ReadAt(content, offset)
	if n < len(content) && err != nil {
		return "", err
	}
	text := string(content)
	if offset > 0 {
		_, text, _ = strings.Cut(text, "\n")
	}
	return text, nil
}

// remember keeps a line unless it is the one before. It says whether it did.
func (h *history) remember(line string) bool {
	if line == "" || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return false
	}
	h.lines = append(h.lines, line)
	return true
}

// add keeps a line, in the file too. Several sessions may append to one file.
func (h *history) add(line string) error {
	if !h.remember(line) || h.file == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(h.file), 0o700); err != nil {
		return fmt.Errorf("keep history: %w", err)
	}
	f, err := os.OpenFile(h.file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("keep history: %w", err)
	}
	_, err = f.WriteString(line + "\n")
	if err := errors.Join(err, f.Chmod(0o600), f.Close()); err != nil {
		return fmt.Errorf("keep history: %w", err)
	}
	return nil
}

// rewrite replaces the file by the lines at hand.
func (h *history) rewrite() error {
	f, err := os.CreateTemp(filepath.Dir(h.file), ".history-") // of mode 0600
	if err != nil {
		return err
	}
	_, err = f.WriteString(strings.Join(h.lines, "\n") + "\n")
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), h.file)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// before is the newest line older than at that begins so, and its index; at is the number of lines for the newest of
// all. There is none if the index is negative.
func (h *history) before(at int, prefix string) (string, int) {
	for i := at - 1; i >= 0; i-- {
		if strings.HasPrefix(h.lines[i], prefix) {
			return h.lines[i], i
		}
	}
	return "", -1
}

// after is the oldest line newer than at that begins so, and its index: the number of lines if there is none.
func (h *history) after(at int, prefix string) (string, int) {
	for i := at + 1; i < len(h.lines); i++ {
		if strings.HasPrefix(h.lines[i], prefix) {
			return h.lines[i], i
		}
	}
	return prefix, len(h.lines)
}

// lineEnds are those of all systems; terminals paste them as returns.
var lineEnds = strings.NewReplacer("\r\n", " ", "\r", " ", "\n", " ", "\t", " ")

// typedLine is one line of what was typed or pasted, with nothing in it that a terminal would obey.
func typedLine(s string) string {
	return strings.TrimSpace(clean(lineEnds.Replace(s)))
}

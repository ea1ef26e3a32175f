// Package hostlog writes a plugin's log in the form that Botkube's host reads from a plugin's standard error: a line of
// hclog JSON for each record. Lines in any other form are all shown as errors.
package hostlog

import (
	"io"
	"log/slog"
)

// timestamp is the only layout that hashicorp/go-plugin parses; a line with another one loses its level.
const timestamp = "2006-01-02T15:04:05.000000Z07:00"

// maxValue caps a text value, in bytes. go-plugin reads lines of up to 64 KiB; a longer one falls into pieces.
const maxValue = 16 << 10

// New is a logger whose records reach w as the host reads them. w is the process's standard error as it was before the
// plugin is served: go-plugin replaces os.Stderr then.
func New(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: replace}))
}

func replace(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 {
		switch a.Key {
		case slog.TimeKey:
			return slog.String("@timestamp", a.Value.Time().Format(timestamp))
		case slog.LevelKey:
			level, _ := a.Value.Any().(slog.Level)
			return slog.String("@level", levelName(level))
		case slog.MessageKey:
			a.Key = "@message"
		}
	}
	if a.Value.Kind() == slog.KindString && len(a.Value.String()) > maxValue {
		a.Value = slog.StringValue(a.Value.String()[:maxValue] + " …")
	}
	return a
}

// levelName is hclog's word for a level; it knows none between.
func levelName(level slog.Level) string {
	switch {
	case level < slog.LevelInfo:
		return "debug"
	case level < slog.LevelWarn:
		return "info"
	case level < slog.LevelError:
		return "warn"
	default:
		return "error"
	}
}

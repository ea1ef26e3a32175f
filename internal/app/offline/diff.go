package offline

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ferry-chatops/ferry/internal/operation"
	"github.com/ferry-chatops/ferry/internal/report"
)

// ErrDiffers is two trees in which something that Flux applies is not the same, ErrUnknown two of which that could not be
// found out for all; what could was shown.
var (
	ErrDiffers = errors.New("the trees differ")
	ErrUnknown = errors.New("not everything could be compared")
)

// A Comparison is what diff has beyond a question, whose Tree is the head.
type Comparison struct {
	Base   string   // a directory, or a source to fetch
	Allow  []string // addresses below which charts may be fetched
	Charts operation.Charts
}

// Diff answers diff: what differs between two trees for an environment, or for all.
func Diff(ctx context.Context, q Question, c Comparison) error {
	root, also, err := q.roots()
	if err != nil {
		return err
	}
	for _, allowed := range c.Allow {
		if u, err := url.Parse(allowed); err != nil || u.Host == "" || !slices.Contains([]string{"https", "http", "oci"}, u.Scheme) {
			return usage("--allow %q is no address such as https://charts.example.com or oci://ghcr.io/acme", allowed)
		}
	}
	ignore, err := report.Compile(report.Defaults)
	if err != nil {
		return err
	}
	from := q
	from.Tree = c.Base
	return from.open(ctx, "--base", func(base fs.FS) error {
		return q.open(ctx, "--tree", func(head fs.FS) error {
			reviews := operation.Reviews{Charts: c.Charts, Allowed: c.Allow, Ignore: ignore, Now: time.Now, Key: rand.Text, Log: slog.New(slog.DiscardHandler)}
			found, err := reviews.Trees(ctx, base, head, root, also...)
			if err != nil {
				if err = q.refuse(err); errors.Is(err, ErrRefused) {
					return ErrUnknown // 1 is for trees that differ
				}
				return err
			}
			return q.compared(found)
		})
	})
}

// compared writes the answer.
func (q Question) compared(found []report.Environment) error {
	made := report.Report{Environments: found}
	var text string
	switch q.Output {
	case "json":
		raw, err := report.JSON(made)
		if err != nil {
			return err
		}
		text = string(raw)
	case "markdown":
		text = strings.Join(report.Markdown(made), "\n")
	default:
		text = report.Text(made)
	}
	if _, err := io.WriteString(q.Out, text); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	differs := false
	for _, e := range found {
		if e.Error != "" {
			return ErrUnknown
		}
		for _, o := range e.Objects {
			differs = differs || o.Verdict != report.Unchanged
		}
	}
	if differs {
		return ErrDiffers
	}
	return nil
}

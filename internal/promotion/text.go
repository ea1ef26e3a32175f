package promotion

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// Verb is what the card offers: "Promote" or "Roll back".
func (c Card) Verb() string {
	if c.Rollback {
		return "Roll back"
	}
	return "Promote"
}

// Blast says in a sentence what the change reaches.
func (c Card) Blast() string {
	files := map[string]bool{}
	for _, e := range c.Plan.Edits {
		files[e.File] = true
	}
	text := fmt.Sprintf("%s in %s", touched(c.Plan.Lines), count(len(files), "file", "files"))
	if n := objects(c.Plan.Rendered); n > 1 {
		text += fmt.Sprintf(", and %d objects in %s", n, c.Plan.Application.Environment)
	}
	if len(c.Plan.Shared) > 0 {
		var others []string
		for _, environment := range c.Plan.Shared {
			others = append(others, fmt.Sprintf("%s (%s)", environment, count(objects(c.Plan.Elsewhere[environment]), "object", "objects")))
		}
		return text + ". It also reaches " + strings.Join(others, ", ") + "."
	}
	if len(c.Plan.Blind) > 0 {
		return text + "; what else it feeds could not all be read."
	}
	return text + "; only " + c.Plan.Application.Environment + " is fed by it."
}

// touched counts lines in words: "1 line changes and 3 are added".
func touched(l gitops.Lines) string {
	var parts []string
	for _, p := range []struct {
		n         int
		one, many string
	}{{l.Changed, "changes", "change"}, {l.Added, "is added", "are added"}, {l.Removed, "is removed", "are removed"}} {
		switch {
		case p.n > 0 && len(parts) == 0:
			parts = append(parts, count(p.n, "line "+p.one, "lines "+p.many))
		case p.n > 0:
			parts = append(parts, count(p.n, p.one, p.many))
		}
	}
	switch len(parts) {
	case 0:
		return "No line changes"
	case 3:
		return parts[0] + ", " + parts[1] + " and " + parts[2]
	}
	return strings.Join(parts, " and ")
}

// objects counts those that change.
func objects(changes []gitops.Rendered) int {
	seen := map[gitops.Object]bool{}
	for _, r := range changes {
		seen[r.Object] = true
	}
	return len(seen)
}

// Changes are the rendered changes, a line each.
func (c Card) Changes() []string {
	var lines []string
	add := func(prefix string, changes []gitops.Rendered) {
		for _, r := range changes {
			lines = append(lines, fmt.Sprintf("%s%s %s: %s → %s", prefix, r.Object, r.Path, cmp.Or(r.Old, "-"), cmp.Or(r.New, "-")))
		}
	}
	add("", c.Plan.Rendered)
	for _, environment := range c.Plan.Shared {
		add(environment+": ", c.Plan.Elsewhere[environment])
	}
	return lines
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Failed says that the change did not come, or that it cannot be told.
func (o Outcome) Failed() bool {
	return o.State == RolloutFailed || o.State == Unconfirmed || o.State == NotMerged
}

// Mark is one character for the state.
func (o Outcome) Mark() string {
	switch o.State {
	case AlreadyThere:
		if slices.ContainsFunc(o.Steps, func(s Step) bool { return !s.Done }) {
			return "?" // in Git only
		}
		return "✓"
	case Verified:
		return "✓"
	case RolloutFailed, NotMerged:
		return "✗"
	case RollingOut, WaitsForMerge:
		return "…"
	case Paused:
		return "‖"
	case Unconfirmed:
		return "?"
	}
	return "·"
}

// Headline is the outcome in a line: "podinfo 7.0.0 on prod: Verified".
func (o Outcome) Headline() string {
	version := ""
	if o.To != "" {
		version = " " + o.To
	}
	return fmt.Sprintf("%s %s%s on %s: %s", o.Mark(), o.subject(), version, o.Application.Environment, o.State)
}

// subject names the application, and the image where it is one of several.
func (o Outcome) subject() string {
	if o.Of != "" {
		return fmt.Sprintf("%s (%s %s)", o.Application.Name, o.Kind, o.Of)
	}
	return o.Application.Name
}

// Change says from which version to which, and of which kind it is; empty where nothing was changed.
func (o Outcome) Change() string {
	if o.To == "" {
		return ""
	}
	text := cmp.Or(o.From, "-") + " → " + o.To
	if o.From == o.To || o.From == "" {
		text = o.To
	}
	if o.Kind != "" {
		text += " (" + string(o.Kind) + ")"
	}
	if o.Rollback {
		text += ", rolled back"
	}
	return text
}

// Line is the outcome among others: "✓ apps/podinfo on prod: 6.9.4 → 7.0.0 (chart), Verified".
func (o Outcome) Line() string {
	line := fmt.Sprintf("%s %s on %s: ", o.Mark(), o.Application, o.Application.Environment)
	if change := o.Change(); change != "" {
		line += change + ", "
	}
	line += string(o.State)
	if o.Commit.SHA != "" {
		line += ", commit " + o.Commit.SHA[:min(len(o.Commit.SHA), 7)]
	}
	return line
}

// Text is the step in a line, its mark first.
func (s Step) Text() string {
	mark := "…"
	switch {
	case s.Failed:
		mark = "✗"
	case s.Done:
		mark = "✓"
	}
	if s.Detail == "" {
		return mark + " " + s.Name
	}
	return mark + " " + s.Name + ": " + s.Detail
}

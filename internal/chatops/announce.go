package chatops

import (
	"fmt"
	"strings"
	"time"

	"github.com/kubeshop/botkube/pkg/api"

	"github.com/ferry-chatops/ferry/internal/blueprint"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/watch"
)

// A Pull is what happened to a pull request, as people are told of it.
type Pull struct {
	watch.Event
	Preview string   // text of an operator's in the place of the fields; empty: none
	Buttons []Button // of an operator's
	// Followed says that an environment follows the branch that it is meant for.
	Followed bool
	Touched  // zero where it could not be found out
}

// A Button is one of an operator's: Command is a line of any plugin's, or URL is there.
type Button struct{ Name, Style, Command, URL string }

// Touched are the environments that a pull request changes, and the applications in them.
type Touched struct{ Environments, Applications []string }

// How long a message that nobody asked for may be in its parts, in characters: together they stay below what a text
// platform takes in one post.
const (
	maxTitle   = 200
	maxBranch  = 80
	maxNames   = 160
	maxPreview = 700
	maxNote    = 160
	maxNotes   = 3
)

// happened is the words for the kinds of events.
var happened = map[watch.Kind]string{
	watch.Opened: "opened", watch.Reopened: "reopened", watch.Retargeted: "retargeted", watch.Synchronize: "updated",
	watch.Ready: "ready for review", watch.Labelled: "labelled", watch.Unlabelled: "unlabelled", watch.Closed: "closed", watch.Merged: "merged",
}

// Headline says which pull request, and what happened to it.
func (p Pull) Headline() string {
	return fmt.Sprintf("%s #%d %s", p.Repository, p.PullRequest.Number, happened[p.Kind])
}

// Title is the author's.
func (p Pull) Title() string { return cut(p.PullRequest.Title, maxTitle) }

// Change says what differs, for the kinds of events where that is more than their name; empty for others.
func (p Pull) Change() string {
	switch p.Kind {
	case watch.Synchronize:
		verb := "pushed"
		if p.Forced {
			verb = "force-pushed"
		}
		return fmt.Sprintf("%s: %s → %s", verb, short(p.Before), short(p.PullRequest.Head.SHA))
	case watch.Retargeted:
		return fmt.Sprintf("from %s to %s", cut(p.Before, maxBranch), cut(p.PullRequest.Base.Ref, maxBranch))
	case watch.Labelled, watch.Unlabelled:
		var all []string
		for _, l := range p.Added {
			all = append(all, "+"+l)
		}
		for _, l := range p.Removed {
			all = append(all, "−"+l)
		}
		return names(all)
	}
	return ""
}

// Branches are where its commits are and where they are meant for.
func (p Pull) Branches() string {
	head := p.PullRequest.Head
	from := head.Ref
	if owner, _, ok := strings.Cut(head.Repository, "/"); !ok {
		from += " of a fork that is gone"
	} else if !strings.EqualFold(head.Repository, p.PullRequest.Base.Repository) {
		from = owner + ":" + from
	}
	return cut(from, maxBranch) + " → " + cut(p.PullRequest.Base.Ref, maxBranch)
}

// Author is whose it is.
func (p Pull) Author() string {
	if p.PullRequest.Author == "" {
		return "an account that is gone"
	}
	return cut(p.PullRequest.Author, maxBranch)
}

// State is what it is at present.
func (p Pull) State() string {
	switch r := p.PullRequest; {
	case !r.Merged.IsZero():
		return "merged"
	case r.State != "closed" && r.Draft:
		return "draft"
	default:
		return r.State
	}
}

// Labels are its labels, as many as there is room for.
func (p Pull) Labels() string { return names(p.PullRequest.Labels) }

// In are the environments that it touches, as many as there is room for.
func (p Pull) In() string { return names(p.Environments) }

// Of are the applications that it touches, as many as there is room for.
func (p Pull) Of() string { return names(p.Applications) }

// Text is the preview, as much of it as there is room for.
func (p Pull) Text() string { return cut(strings.TrimSpace(p.Preview), maxPreview) }

// Review is the line that reports what merging it would do; empty where no environment follows the branch, or it is closed.
func (p Pull) Review() string {
	if !p.Followed || p.PullRequest.State != "open" {
		return ""
	}
	return gitops.Line(gitops.Review{Number: p.PullRequest.Number, Repository: p.Repository, Head: p.PullRequest.Head.SHA})
}

// Remarks are sentences about what could not be found out or shown.
func (p Pull) Remarks() (all []string) {
	for i, note := range p.Notes {
		if i == maxNotes {
			return append(all, fmt.Sprintf("… and %d more", len(p.Notes)-i))
		}
		all = append(all, cut(note, maxNote))
	}
	return all
}

// Commands are the buttons that run one.
func (p Pull) Commands() (all []Button) {
	for _, b := range p.Buttons {
		if b.URL == "" {
			all = append(all, b)
		}
	}
	return all
}

// Links are the buttons that open an address.
func (p Pull) Links() (all []Button) {
	for _, b := range p.Buttons {
		if b.URL != "" {
			all = append(all, b)
		}
	}
	return all
}

// A Trouble is something that keeps ferry from seeing what happens, or the end of it.
type Trouble struct{ watch.Event }

// Solved says whether it has ended.
func (t Trouble) Solved() bool { return t.Kind == watch.Solved }

// Headline says what the trouble is about.
func (t Trouble) Headline() string {
	where := "GitHub"
	if all := t.Problem.Repositories; len(all) > 0 {
		where = names(all)
	}
	if t.Solved() {
		return where + " can be followed again"
	}
	return "ferry cannot follow " + where
}

// Reason is a sentence.
func (t Trouble) Reason() string { return cut(t.Problem.Reason, 2*maxTitle) }

// Lasted is how long it was there.
func (t Trouble) Lasted() time.Duration {
	if t.Problem.Since.IsZero() {
		return 0
	}
	return t.Found.Sub(t.Problem.Since)
}

// Announce shows what happened as one message. A blueprint of theirs that does not fit is put right with ferry's own.
func (c *Chat) Announce(theirs *blueprint.Set, data any, interactive bool) api.Message {
	name := "refusal"
	switch data.(type) {
	case Pull:
		name = "pull"
	case Trouble:
		name = "trouble"
	}
	platform := blueprint.Platform{Interactive: interactive, Plugin: "ferry", Unasked: true}
	var err error
	for _, set := range []*blueprint.Set{theirs, c.Blueprints} {
		if set == nil {
			continue
		}
		var messages []api.Message
		if messages, err = set.Messages(name, data, platform); err == nil {
			if set == theirs {
				err = c.agreed(messages[:1], name, data, platform)
			}
			if err == nil {
				messages[0].Type = api.DefaultMessage // nobody was refused anything
				return messages[0]
			}
		}
		c.Log.Warn("blueprint does not fit", "blueprint", name, "error", err)
	}
	text := "Something happened that ferry cannot show. Its log has the details."
	if p, ok := data.(Pull); ok {
		text = fmt.Sprintf("Pull request %d changed. ferry cannot show it; its log has the details.", p.PullRequest.Number)
	}
	return api.NewPlaintextMessage(text, false)
}

// names joins names, as many as there is room for.
func names(all []string) string {
	text := ""
	for i, name := range all {
		name = cut(name, maxBranch)
		if i > 0 {
			name = ", " + name
		}
		if len(text)+len(name) > maxNames {
			return fmt.Sprintf("%s … and %d more", strings.TrimSuffix(text, ","), len(all)-i)
		}
		text += name
	}
	return text
}

func short(sha string) string { return sha[:min(len(sha), 7)] }

// cut shortens text to n characters.
func cut(s string, n int) string {
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return s
}

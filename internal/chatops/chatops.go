// Package chatops answers chat lines: it reads a line as a request, has it done, and shows the result by a blueprint. The
// switch in answer is the table of contents of what ferry can do.
package chatops

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubeshop/botkube/pkg/api"

	"github.com/ferry-chatops/ferry/internal/blueprint"
	"github.com/ferry-chatops/ferry/internal/command"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/operation"
	"github.com/ferry-chatops/ferry/internal/promotion"
	"github.com/ferry-chatops/ferry/internal/report"
)

// A Core does what is asked, for one configuration and one identity.
type Core struct {
	Fleet      operation.Fleet
	Promotions *promotion.Service
	Clusters   operation.Clusters
	GitHub     operation.GitHub
	Sources    operation.Reports
	Reviews    *operation.Desk
	Blueprints func(context.Context) *blueprint.Set // the operator's; nil where there are none
}

// A Chat answers lines. It is safe for concurrent use.
type Chat struct {
	Blueprints *blueprint.Set // ferry's own
	Log        *slog.Logger
	Now        func() time.Time
}

// A Question is a line and who asks it where.
type Question struct {
	Line        string
	Interactive bool   // the platform has buttons and takes several messages
	Mention     string // as the platform mentions the user: "<@U024BE7LH>"; may be empty
	DisplayName string
	// Core opens what the configuration of the channel describes.
	Core func() (Core, error)
}

// Deadlines, because the host has none and a hung command keeps one of its ten workers.
const (
	readTime   = 30 * time.Second
	reviewTime = 30 * time.Second // beside the time that the answer waits for the report
	writeTime  = 60 * time.Second // beside the time that a change's answer waits for its end
)

// Respond answers a question, always with at least one message.
func (c *Chat) Respond(ctx context.Context, q Question) []api.Message {
	begin := c.Now()
	request, err := command.Parse(q.Line)
	var blueprint string
	var data any
	if err == nil {
		blueprint, data, err = answer(ctx, request, Principal(q.Mention, q.DisplayName, q.Interactive), q.Core, c.Now)
	}
	verb := "none"
	if request != nil {
		verb = request.Verb()
	}
	if err != nil {
		blueprint, data = "refusal", c.refusal(ctx, err, verb)
	}
	replaces := ""
	switch r := request.(type) { // a refusal leaves what was known
	case gitops.Status:
		if err == nil && r.Refresh {
			r.Refresh = false
			replaces = gitops.Line(r)
		}
	case gitops.Review:
		if err == nil && r.Refresh && r.Environment == "" {
			r.Refresh = false
			replaces = gitops.Line(r)
			if card, ok := data.(report.Card); ok && q.Interactive {
				card.Brief = true
				data = card
			}
		}
	}
	if found, ok := data.(operation.Checkup); ok {
		c.unworded(found, verb)
	}
	messages := c.show(ctx, blueprint, data, q, replaces)
	c.Log.Debug("answered", "verb", verb, "blueprint", blueprint, "messages", len(messages), "took", c.Now().Sub(begin))
	return messages
}

// answer has a request done and names the blueprint that shows the result.
func answer(ctx context.Context, request gitops.Request, by string, open func() (Core, error), now func() time.Time) (name string, data any, err error) {
	if help, ok := request.(gitops.Help); ok { // the one that works without a configuration
		manual, err := command.Usage(help.Topic)
		return "help", manual, err
	}
	core, err := open()
	if err != nil {
		return "", nil, err
	}
	deadline := readTime
	switch r := request.(type) {
	case gitops.Promote:
		deadline = writeTime + core.Promotions.Wait(r.Environment)
	case gitops.Rollback:
		deadline = writeTime + core.Promotions.Wait(r.Environment)
	case gitops.Review:
		deadline = reviewTime + core.Reviews.Wait
	}
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	switch r := request.(type) {
	case gitops.List:
		data, err = operation.List(ctx, core.Fleet, r)
		return "list", data, err
	case gitops.Diff:
		data, err = operation.Diff(ctx, core.Fleet, r)
		return "diff", data, err
	case gitops.Promote:
		return result(core.Promotions.Promote(ctx, r, by))
	case gitops.Rollback:
		return result(core.Promotions.Rollback(ctx, r, by))
	case gitops.Status:
		if r.Application == "" {
			data, err = core.Promotions.Recent(ctx)
			return "recent", data, err
		}
		data, err = core.Promotions.Status(ctx, r)
		return "outcome", data, err
	case gitops.Sources:
		data, err = operation.Sources(ctx, core.Sources, now())
		return "sources", data, err
	case gitops.Review:
		return reviewed(core.Reviews.Answer(ctx, r))
	case gitops.Check:
		data, err = operation.Check(ctx, core.Clusters, core.Promotions, core.GitHub, r, by)
		return "check", data, err
	default:
		return "", nil, fmt.Errorf("no answer to %T", request)
	}
}

func result(r promotion.Result, err error) (string, any, error) {
	switch {
	case err != nil:
		return "", nil, err
	case r.Card != nil:
		return "card", *r.Card, nil
	default:
		return "outcome", *r.Outcome, nil
	}
}

func reviewed(a operation.Answered, err error) (string, any, error) {
	switch {
	case err != nil:
		return "", nil, err
	case a.Making != nil:
		return "making", *a.Making, nil
	case a.Card.Environment != "":
		return "details", *a.Card, nil
	default:
		return "report", *a.Card, nil
	}
}

// refusal turns any error into one that can be shown. What is not worded for people goes to the log, once, here.
func (c *Chat) refusal(ctx context.Context, err error, verb string) *gitops.Refusal {
	if r := (*gitops.Refusal)(nil); errors.As(err, &r) {
		if r.Cause != nil {
			c.Log.Warn("refused", "verb", verb, "code", r.Code, "error", err)
		}
		return r
	}
	c.Log.Error("failed", "verb", verb, "error", err)
	if errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return &gitops.Refusal{Code: gitops.Unreachable, Title: "This took too long",
			Reason: "Something that ferry asked did not answer in time. Look what was done before you repeat a change.", Next: []string{"status"}}
	}
	return &gitops.Refusal{Code: gitops.Internal, Reason: "Something went wrong that ferry has no word for. Its log has the details.", Next: []string{"list"}}
}

// unworded logs why something could not be found out where the answer does not say so, each cause once.
func (c *Chat) unworded(found operation.Checkup, verb string) {
	logged := map[string]bool{}
	for _, s := range found.Sections {
		for _, f := range s.Findings {
			if f.Cause == nil || logged[f.Cause.Error()] {
				continue
			}
			logged[f.Cause.Error()] = true
			c.Log.Warn("not found out", "verb", verb, "section", s.Title, "error", f.Cause)
		}
	}
}

// show renders data by a blueprint. replaces is blueprint.Platform's.
func (c *Chat) show(ctx context.Context, name string, data any, q Question, replaces string) []api.Message {
	platform := blueprint.Platform{Interactive: q.Interactive, Plugin: "ferry", Replaces: replaces}
	if core, err := q.Core(); err == nil && core.Blueprints != nil { // a fault of the configuration was told, or was not asked about
		messages, err := core.Blueprints(ctx).Messages(name, data, platform)
		if err == nil {
			err = c.agreed(messages, name, data, platform)
		}
		if err == nil {
			return messages
		}
		c.Log.Warn("blueprint does not fit, ferry's own is used", "blueprint", name, "error", err)
	}
	messages, err := c.Blueprints.Messages(name, data, platform)
	if err != nil {
		c.Log.Error("render", "blueprint", name, "error", err)
		platform.Replaces = ""
		fault := &gitops.Refusal{Code: gitops.Internal, Reason: "The answer could not be shown. If you asked for a change, look whether it was made.", Next: []string{"status"}}
		if messages, err = c.Blueprints.Messages("refusal", fault, platform); err != nil {
			return []api.Message{api.NewPlaintextMessage(fault.Reason, false)}
		}
	}
	return messages
}

// agreed refuses buttons that would write without a card and are not ferry's own: what they do could be another thing than
// what they are called.
func (c *Chat) agreed(messages []api.Message, name string, data any, platform blueprint.Platform) error {
	theirs := confirmations(messages)
	if len(theirs) == 0 {
		return nil
	}
	messages, err := c.Blueprints.Messages(name, data, platform)
	if err != nil {
		return err
	}
	ours := confirmations(messages)
	for _, r := range theirs {
		if !slices.Contains(ours, r) {
			return fmt.Errorf("a button would confirm a change that was not asked for: %s", gitops.Line(r))
		}
	}
	return nil
}

// confirmations are what the buttons and lists of messages would have written at once.
func confirmations(messages []api.Message) (all []gitops.Request) {
	add := func(line string) {
		request, err := command.Parse(strings.TrimPrefix(line, api.MessageBotNamePlaceholder))
		var change gitops.Change
		switch r := request.(type) {
		case gitops.Promote:
			change = r.Change
		case gitops.Rollback:
			change = r.Change
		}
		if err == nil && (change.Yes || change.Confirm != "") {
			all = append(all, request)
		}
	}
	for _, m := range messages {
		for _, s := range m.Sections {
			for _, b := range s.Buttons {
				add(b.Command)
			}
			for _, l := range s.Selects.Items {
				for _, g := range l.OptionGroups {
					for _, o := range g.Options {
						add(l.Command + " " + o.Value)
					}
				}
			}
		}
	}
	return all
}

var (
	mention    = regexp.MustCompile(`^<@!?([UW][A-Z0-9]+|[0-9]+)>$`)
	automation = regexp.MustCompile(`^Automation (".+")$`)
)

// Principal names who asks: slack:ID, discord:ID, automation:NAME, or name:NAME where the platform vouches for no id.
// The shapes of mentions are those that Botkube 1.14 passes on: Slack's and Discord's have an id, Mattermost's are empty,
// and an automation's are the same as its display name, with the name as Go quotes it. So are those on Teams, where
// people choose them; that platform has buttons and no automation has.
func Principal(mentioned, displayName string, interactive bool) string {
	if m := mention.FindStringSubmatch(mentioned); m != nil && mentioned != displayName {
		if m[1][0] == 'U' || m[1][0] == 'W' {
			return "slack:" + m[1]
		}
		return "discord:" + m[1]
	}
	if m := automation.FindStringSubmatch(mentioned); m != nil && mentioned == displayName && !interactive {
		if name, err := strconv.Unquote(m[1]); err == nil && name != "" {
			return "automation:" + name
		}
	}
	return "name:" + displayName
}

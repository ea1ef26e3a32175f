package source

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/ferry-chatops/ferry/internal/app/config"
	"github.com/ferry-chatops/ferry/internal/blueprint"
	"github.com/ferry-chatops/ferry/internal/chatops"
	"github.com/ferry-chatops/ferry/internal/github"
	"github.com/ferry-chatops/ferry/internal/gitops"
	plugin "github.com/ferry-chatops/ferry/internal/plugin/source"
	"github.com/ferry-chatops/ferry/internal/watch"
)

// event shows what happened. Whatever is wrong with it, there is a message: the next event waits behind it.
func (s *Sources) event(ctx context.Context, w *watching, e watch.Event, interactive bool) plugin.Event {
	out := plugin.Event{Raw: rawEvent(e)}
	panicked := guarded(s.log, func() {
		var theirs *blueprint.Set
		if w.shown != nil {
			theirs = w.shown(ctx)
		}
		if e.PullRequest == nil {
			out.Message = s.chat.Announce(theirs, chatops.Trouble{Event: e}, interactive)
			return
		}
		rule := w.rules[e.Rule]
		out.Message = s.chat.Announce(cmp.Or(rule.shown, theirs), s.pull(ctx, w, rule, e), interactive)
	})
	if panicked {
		out.Message = s.chat.Announce(nil, &gitops.Refusal{Code: gitops.Internal, Reason: "Something happened that ferry cannot show. Its log has the details."}, interactive)
	}
	return out
}

// pull makes what is shown of an event of a pull request.
func (s *Sources) pull(ctx context.Context, w *watching, r rule, e watch.Event) chatops.Pull {
	p := chatops.Pull{Event: e, Touched: s.touched(ctx, w, e), Followed: len(w.reacher.roots(e)) > 0}
	note := func(format string, args ...any) { p.Notes = append(p.Notes, fmt.Sprintf(format, args...)) }
	if r.Preview == nil && len(r.Buttons) == 0 {
		return p
	}
	dot, err := github.PullDot(e.PullRequest.Raw)
	if err != nil {
		s.log.Warn("templates cannot be filled in", "event", e.Key, "error", err)
		note("Templates of the configuration could not be filled in.")
		return p
	}
	if r.Preview != nil {
		if p.Preview, err = r.Preview.Execute(dot); err != nil {
			s.log.Warn("previewTpl cannot be filled in", "event", e.Key, "rule", e.Rule, "error", err)
			note("The configured preview does not fit this pull request.")
		}
	}
	for _, b := range r.Buttons {
		button := chatops.Button{Name: b.Name, Style: b.Style}
		if b.URL != nil {
			button.URL, err = b.URL.Execute(dot)
			if err == nil && !leads(button.URL, b, dot.GetHTMLURL(), dot.GetURL()) {
				note("The button %s is left out: what comes of its template is no address with https, or has another host.", b.Name)
				continue
			}
		} else {
			button.Command, err = b.Command.Execute(dot)
			if button.Command = strings.TrimSpace(button.Command); err == nil && !blueprint.Passes(button.Command) {
				err = errors.New("the host would change this command")
			}
		}
		switch {
		case errors.Is(err, blueprint.ErrValue):
			note("The button %s is left out: what this pull request would put into its command is not safe there.", b.Name)
		case err != nil:
			s.log.Warn("button left out", "event", e.Key, "rule", e.Rule, "button", b.Name, "error", err)
			note("The button %s is left out: its template does not fit this pull request.", b.Name)
		default:
			p.Buttons = append(p.Buttons, button)
		}
	}
	return p
}

// leads says whether an address is one of https that leads where a button's template says, or as far as it leaves that open to
// the host of one of GitHub's own.
func leads(address string, to config.ButtonTemplate, own ...string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.ContainsAny(address, " <>\"|`\\") {
		return false
	}
	return slices.ContainsFunc(to.Hosts, func(h config.Host) bool {
		return u.Host == h.Name || !h.Whole && strings.HasSuffix(u.Host, h.Name)
	}) || to.Own && slices.ContainsFunc(own, func(o string) bool {
		at, err := url.Parse(o)
		return err == nil && u.Host == at.Host
	})
}

// levels are what PagerDuty's sink reads: whatever has none is an alert there.
func level(e watch.Event) string {
	if e.Kind == watch.Problem {
		return "error"
	}
	return "info"
}

// rawEvent is an event as data, for automations and sinks: what GitHub says of the pull request, and beside it what ferry
// found.
func rawEvent(e watch.Event) json.RawMessage {
	all := map[string]any{}
	if e.PullRequest != nil {
		_ = json.Unmarshal(e.PullRequest.Raw, &all) // without it the rest is told
	}
	if all == nil {
		all = map[string]any{}
	}
	all["Level"], all["Kind"], all["Key"], all["Repository"], all["Rule"], all["TimeStamp"] = level(e), e.Kind, e.Key, e.Repository, e.Rule, e.Found
	for name, value := range map[string]string{"Before": e.Before} {
		if value != "" {
			all[name] = value
		}
	}
	if len(e.Added)+len(e.Removed) > 0 {
		all["Added"], all["Removed"] = e.Added, e.Removed
	}
	if e.Forced {
		all["Forced"] = true
	}
	if e.Problem != nil {
		all["Problem"] = e.Problem
	}
	raw, err := json.Marshal(all)
	if err != nil {
		return nil
	}
	return raw
}

// raw is a notice as data.
func raw(kind watch.Kind, r *gitops.Refusal) json.RawMessage {
	out, err := json.Marshal(map[string]any{"Level": level(watch.Event{Kind: kind}), "Kind": kind, "Title": r.Headline(), "Reason": r.Reason, "Details": r.Details})
	if err != nil {
		return nil
	}
	return out
}

// Package source serves what ferry has to say of itself as a Botkube source plugin (protocol 3 of Botkube v1.14.0). It
// knows the host and its defects; what is said comes from a Feed.
package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/kubeshop/botkube/pkg/api"
	botkube "github.com/kubeshop/botkube/pkg/api/source"
)

// A Feed has events for streams. Its methods are called side by side.
type Feed interface {
	// Follow gives a stream's events to send, one after another, until ctx ends. One that returns or panics before is
	// called again.
	Follow(ctx context.Context, in Input, send Send)
	// Hint takes the body of a webhook. The error, a sentence, is what its sender is told; it must not wait for anything.
	Hint(in Input, body []byte) error
}

// Send hands an event to the host: it has left this process. It is false where the stream ended first: the event may not have
// been handed over then.
type Send func(ctx context.Context, event Event) bool

// Input is what the host says about a stream or a webhook.
type Input struct {
	Source      string   // the configuration group: its name is in the webhook's address
	Interactive bool     // the platforms show buttons
	Kubeconfig  []byte   // empty when the plugin's configuration has no context.rbac, and for webhooks
	Configs     [][]byte // YAML documents; the host sends one
}

// An Event is a message, and the same as data for automations and sinks.
type Event struct {
	Message api.Message
	Raw     json.RawMessage // null where empty
}

// About is what the plugin says of itself; the plugin index is made of it.
type About struct {
	Version          string // semantic version, "v1.2.3"
	Description      string // one line
	DocumentationURL string
	Schema           string // JSON schema (draft-07) of the configuration
	PayloadSchema    string // JSON schema (draft-07) of a webhook's body
}

// maxHint is how large a webhook's body may be, in bytes: GitHub's own limit.
const maxHint = 25 << 20

// Between two calls of Feed.Follow for one stream.
const (
	firstPause = time.Second
	maxPause   = time.Minute
)

// Source is a Botkube source over a Feed. A stream never ends by itself, neither with an error nor by closing its channel:
// the host would silently drop the source until it is restarted itself.
type Source struct {
	feed  Feed
	about About
	log   *slog.Logger
}

var _ botkube.Source = (*Source)(nil)

// New is a source that says what feed has.
func New(feed Feed, about About, log *slog.Logger) *Source {
	return &Source{feed: feed, about: about, log: log}
}

// Stream opens a stream of events until ctx ends. The error is always nil. The host opens one for platforms with buttons
// and one for those without.
func (s *Source) Stream(ctx context.Context, in botkube.StreamInput) (botkube.StreamOutput, error) {
	input := input(in.Context.CommonSourceContext, in.Configs...)
	input.Kubeconfig = in.Context.KubeConfig
	events := make(chan botkube.Event)
	left, _ := ctx.Value(sentKey{}).(sent) // nil without gRPC
	send := func(ctx context.Context, event Event) bool {
		out := botkube.Event{Message: sendable(event.Message)}
		if len(event.Raw) > 0 && json.Valid(event.Raw) { // anything else would end the stream
			out.RawObject = event.Raw
		}
		select {
		case <-left: // nobody waited for it
		default:
		}
		select {
		case events <- out:
		case <-ctx.Done():
			return false
		}
		if left == nil {
			return true
		}
		select {
		case <-left:
			return true
		case <-ctx.Done():
			return false
		}
	}
	go s.follow(ctx, input, send)
	return botkube.StreamOutput{Event: events}, nil
}

func (s *Source) follow(ctx context.Context, in Input, send Send) {
	for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, maxPause) {
		s.guard("follow", func() { s.feed.Follow(ctx, in, send) })
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// HandleExternalRequest takes a webhook. There is never an event in its answer: what it hints at arrives in the streams.
func (s *Source) HandleExternalRequest(_ context.Context, in botkube.ExternalRequestInput) (botkube.ExternalRequestOutput, error) {
	if len(in.Payload) > maxHint {
		return botkube.ExternalRequestOutput{}, fmt.Errorf("the body has more than %d MB", maxHint>>20)
	}
	err := errors.New("ferry made a mistake; its log has the details")
	s.guard("webhook", func() { err = s.feed.Hint(input(in.Context.CommonSourceContext, in.Config), in.Payload) })
	return botkube.ExternalRequestOutput{}, err
}

// guard logs a panic.
func (s *Source) guard(what string, do func()) {
	defer func() {
		if cause := recover(); cause != nil {
			s.log.Error("panic", "in", what, "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
		}
	}()
	do()
}

// Metadata describes the plugin.
func (s *Source) Metadata(context.Context) (api.MetadataOutput, error) {
	return api.MetadataOutput{
		Version:          s.about.Version,
		Description:      s.about.Description,
		DocumentationURL: s.about.DocumentationURL,
		JSONSchema:       api.JSONSchema{Value: s.about.Schema},
		ExternalRequest:  api.ExternalRequestMetadata{Payload: api.ExternalRequestPayload{JSONSchema: api.JSONSchema{Value: s.about.PayloadSchema}}},
	}, nil
}

// sendable takes out of a message what has no meaning in one that nobody asked for: Slack answers a private message without
// a user with an error, and nothing can be replaced.
func sendable(m api.Message) api.Message {
	m.OnlyVisibleForYou, m.ReplaceOriginal = false, false
	return m
}

// input leaves out groups without a document; the host sends them as missing or as empty ones.
func input(from botkube.CommonSourceContext, configs ...*botkube.Config) Input {
	in := Input{Source: from.SourceName, Interactive: from.IsInteractivitySupported}
	for _, c := range configs {
		if raw := c.GetRawYAML(); len(raw) > 0 {
			in.Configs = append(in.Configs, raw)
		}
	}
	return in
}

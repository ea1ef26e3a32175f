// Package executor serves ferry's answers as a Botkube executor plugin (protocol 3 of Botkube v1.14.0). It knows the
// host and its defects; what is answered comes from a Responder.
package executor

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/kubeshop/botkube/pkg/api"
	botkube "github.com/kubeshop/botkube/pkg/api/executor"
)

// refused is the type of an answer that failed here, the one that blueprints give to refusals too.
const refused api.MessageType = "ferry/refused"

// maxMessages is how many messages the host takes beside the first; it drops the rest without a word.
const maxMessages = 15

// maxWait ends an answer that takes too long. The host sets no deadline, and ten commands that hang stop its bot.
const maxWait = 10 * time.Minute

// A Responder answers one line. The first message is the answer, any further ones are its details; how many reach the
// user depends on the platform. It ends when ctx does.
type Responder interface {
	Respond(ctx context.Context, in Input) Messages
}

// Messages are an answer as the host takes it.
type Messages = []api.Message

// Input is what the host says about one line.
type Input struct {
	Line        string   // as typed, from the plugin's name on: "ferry list"
	Interactive bool     // the platform shows buttons and more than one message
	Mention     string   // who asks, in the platform's words: "<@U024BE7LH>"; empty on Mattermost
	DisplayName string   // who asks, in words that the user may have chosen
	Kubeconfig  []byte   // empty when the plugin's configuration has no context.rbac
	Configs     [][]byte // a YAML document for each configuration group bound to the channel, in order; a later one wins
}

// About is what the plugin says of itself; the plugin index is made of it.
type About struct {
	Version          string // semantic version, "v1.2.3"
	Description      string // one line
	DocumentationURL string
	Schema           string // JSON schema (draft-07) of the configuration
}

// Executor is a Botkube executor over a Responder. It never returns an error for what a user did: the host would show it
// through fmt.Sprintf, where "80% reached" becomes "80%!r(MISSING)eached".
type Executor struct {
	responder Responder
	about     About
	log       *slog.Logger
}

var _ botkube.Executor = (*Executor)(nil)

// New is an executor that answers with responder.
func New(responder Responder, about About, log *slog.Logger) *Executor {
	return &Executor{responder: responder, about: about, log: log}
}

// Execute answers the line of in. The error is always nil.
func (e *Executor) Execute(ctx context.Context, in botkube.ExecuteInput) (botkube.ExecuteOutput, error) {
	messages := e.respond(ctx, Input{
		Line:        in.Command,
		Interactive: in.Context.IsInteractivitySupported,
		Mention:     in.Context.Message.User.Mention,
		DisplayName: in.Context.Message.User.DisplayName,
		Kubeconfig:  in.Context.KubeConfig,
		Configs:     configs(in.Configs),
	})
	if !in.Context.IsInteractivitySupported {
		// Text platforms show the first message alone, and nothing at all when it is empty.
		return botkube.ExecuteOutput{Message: messages[0]}, nil
	}
	return botkube.ExecuteOutput{Message: messages[0], Messages: limit(messages[1:])}, nil
}

// Help answers "NAME help". The host does not say for which platform, so the answer is one of text.
func (e *Executor) Help(ctx context.Context) (api.Message, error) {
	return e.respond(ctx, Input{Line: "ferry help"})[0], nil
}

// Metadata describes the plugin.
func (e *Executor) Metadata(context.Context) (api.MetadataOutput, error) {
	return api.MetadataOutput{
		Version:          e.about.Version,
		Description:      e.about.Description,
		DocumentationURL: e.about.DocumentationURL,
		JSONSchema:       api.JSONSchema{Value: e.about.Schema},
	}, nil
}

// respond gives at least one message, and no empty one: the host shows a joke in its place.
func (e *Executor) respond(ctx context.Context, in Input) (messages []api.Message) {
	defer func() {
		if cause := recover(); cause != nil {
			e.log.Error("panic while answering", "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
			messages = []api.Message{fault("ferry made a mistake and stopped answering this line. Its log has the details.")}
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	for _, message := range e.responder.Respond(ctx, in) {
		if !message.IsEmpty() {
			messages = append(messages, message)
		}
	}
	if len(messages) == 0 {
		e.log.Error("no answer to a line", "bytes", len(in.Line))
		messages = []api.Message{fault("ferry found nothing to say to this line. That is a mistake of ferry's.")}
	}
	return messages
}

// fault is an answer without percent signs or markup, so that every platform shows it as it is.
func fault(reason string) api.Message {
	return api.Message{Type: refused, BaseBody: api.Body{Plaintext: reason +
		" If the line was a promotion or a rollback, look with \"ferry list\" whether it was carried out before repeating it."}}
}

// limit keeps what the host would keep of messages and says what is left out.
func limit(messages []api.Message) []api.Message {
	if len(messages) <= maxMessages {
		return messages
	}
	kept := append([]api.Message(nil), messages[:maxMessages-1]...)
	return append(kept, api.NewPlaintextMessage(fmt.Sprintf("%d more messages are left out.", len(messages)-len(kept)), false))
}

// configs leaves out groups without a document; the host sends them as missing or as empty ones.
func configs(groups []*botkube.Config) [][]byte {
	var out [][]byte
	for _, group := range groups {
		if raw := group.GetRawYAML(); len(raw) > 0 {
			out = append(out, raw)
		}
	}
	return out
}

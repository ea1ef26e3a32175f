// Package blueprint turns a value into chat messages. A blueprint is a YAML file that describes one message; it is
// parsed first, and then each of its strings is executed as a template of its own, so no value can add structure.
//
// The package knows Botkube's renderers and the limits of the chat platforms, and nothing of what it shows.
package blueprint

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/kubeshop/botkube/pkg/api"
	"sigs.k8s.io/yaml"
)

// A Blueprint is one answer: a summary of sections, and details that follow it as messages of their own.
//
// Strings are Go templates over the blueprint's data, or over the present item below a forEach; $root is the
// blueprint's data there, and $index the item's number from zero. when and forEach are template expressions without
// braces: "when: .Rollback", "forEach: .Plan.Shared". Where both are given, when is asked for each item.
type Blueprint struct {
	// Refused marks the message as the answer to something that was refused or that failed.
	Refused  string    `json:"refused,omitempty" jsonschema:"expression: mark the message as refused or failed where it is true"`
	Sections []Section `json:"sections" jsonschema:"the summary, in one message"`
	Details  []Detail  `json:"details,omitempty" jsonschema:"what follows the summary, in messages of its own"`
}

// A Section is a part of the summary, shown in the order of its fields.
type Section struct {
	When        string   `json:"when,omitempty" jsonschema:"expression: show it only where this is true"`
	ForEach     string   `json:"forEach,omitempty" jsonschema:"expression: show it once for each item"`
	Header      string   `json:"header,omitempty" jsonschema:"one bold line"`
	Description string   `json:"description,omitempty" jsonschema:"text"`
	TextFields  []Field  `json:"textFields,omitempty" jsonschema:"keys and values, at most 10"`
	Code        string   `json:"code,omitempty" jsonschema:"preformatted text; it moves into messages of its own where it is too long"`
	Head        int      `json:"head,omitempty" jsonschema:"how many first lines of code are repeated in every message that it takes"`
	More        string   `json:"more,omitempty" jsonschema:"where the rest of code is found if not everything can be shown"`
	BulletList  *Bullets `json:"bulletList,omitempty" jsonschema:"a list with a title"`
	Buttons     []Button `json:"buttons,omitempty" jsonschema:"commands and links"`
	Selects     []Select `json:"selects,omitempty" jsonschema:"drop-down lists of commands"`
	Context     []Line   `json:"context,omitempty" jsonschema:"small print"`
}

// A Field is a key and its value. It is left out where the value is empty.
type Field struct {
	When    string `json:"when,omitempty"`
	ForEach string `json:"forEach,omitempty"`
	Key     string `json:"key"`
	Value   string `json:"value"`
}

// Bullets are a list. It is left out where no item is shown.
type Bullets struct {
	Title string `json:"title,omitempty"`
	Items []Line `json:"items"`
}

// A Line is a line of text. It is left out where the text is empty.
type Line struct {
	When    string `json:"when,omitempty"`
	ForEach string `json:"forEach,omitempty"`
	Text    string `json:"text"`
}

// A Button runs a command or opens an address. Where there are no buttons, it is written out.
type Button struct {
	When    string `json:"when,omitempty"`
	ForEach string `json:"forEach,omitempty"`
	Name    string `json:"name" jsonschema:"a verb and what it acts on; at most 75 characters"`
	Command string `json:"command,omitempty" jsonschema:"without the names of the bot and the plugin"`
	URL     string `json:"url,omitempty"`
	Style   string `json:"style,omitempty" jsonschema:"primary or danger"`
	Foreign bool   `json:"foreign,omitempty" jsonschema:"the command begins with the name of its plugin, which may be any"`
	Replace string `json:"replace,omitempty" jsonschema:"expression: the answer takes the place of this message; for commands of status"`
}

// A Select runs its command followed by the value of the option that is chosen.
type Select struct {
	When    string   `json:"when,omitempty"`
	Name    string   `json:"name"`
	Command string   `json:"command" jsonschema:"without the names of the bot and the plugin, and without the option"`
	Options []Option `json:"options"`
}

// An Option is a choice of a Select.
type Option struct {
	When    string `json:"when,omitempty"`
	ForEach string `json:"forEach,omitempty"`
	Name    string `json:"name"`
	Value   string `json:"value" jsonschema:"one word of the command"`
}

// A Detail is preformatted text that may be long: it is split at line ends into as many messages as it takes.
type Detail struct {
	When    string `json:"when,omitempty"`
	ForEach string `json:"forEach,omitempty"`
	Title   string `json:"title,omitempty"`
	Code    string `json:"code"`
	Head    int    `json:"head,omitempty" jsonschema:"how many first lines of code are repeated in every message that it takes"`
	More    string `json:"more,omitempty" jsonschema:"where the rest is found if not everything can be shown"`
}

// Refused is the type of a message that answers what was refused or has failed. No platform knows the type, so all
// show it as any other message; a program that runs ferry reads it as failure.
const Refused api.MessageType = "ferry/refused"

// A Platform is what a message is written for.
type Platform struct {
	// Interactive platforms have buttons and take several messages; others get one message of text.
	Interactive bool
	// Plugin is the first word of every command: "ferry".
	Plugin string
	// Replaces, if not empty, has the answer take the place of the message whose button was pressed, on an interactive
	// platform. It is one message then: the posts behind that one stay, and more would be added with every press. This is
	// the command that shows what is left out.
	Replaces string
	// Unasked messages answer nobody: there is one, cut to what fits into a post.
	Unasked bool
}

// A Set holds blueprints by name.
type Set struct{ byName map[string]*template }

// Load reads all *.yaml files at the root of a file system; a blueprint's name is its file's without ".yaml". Unknown
// keys, templates and expressions that do not parse, and buttons that do nothing are errors that name their place.
func Load(files fs.FS) (*Set, error) {
	names, err := fs.Glob(files, "*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list blueprints: %w", err)
	}
	s := &Set{byName: map[string]*template{}}
	var errs []error
	for _, name := range names {
		t, err := load(files, name)
		if err != nil {
			errs = append(errs, fmt.Errorf("blueprint %s: %w", name, err))
			continue
		}
		s.byName[strings.TrimSuffix(path.Base(name), ".yaml")] = t
	}
	return s, errors.Join(errs...)
}

func load(files fs.FS, name string) (*template, error) {
	raw, err := fs.ReadFile(files, name)
	if err != nil {
		return nil, err
	}
	return decode(raw)
}

// With gives the set with another blueprint of a name that it has. Its faults are those of Load; s stays as it is.
func (s *Set) With(name string, raw []byte) (*Set, error) {
	if s.byName[name] == nil {
		return nil, fmt.Errorf("there is no blueprint of that name: there are %s", strings.Join(s.Names(), ", "))
	}
	t, err := decode(raw)
	if err != nil {
		return nil, err
	}
	with := &Set{byName: maps.Clone(s.byName)}
	with.byName[name] = t
	return with, nil
}

// Names are those of the blueprints, sorted.
func (s *Set) Names() []string { return slices.Sorted(maps.Keys(s.byName)) }

func decode(raw []byte) (*template, error) {
	var b Blueprint
	if err := yaml.UnmarshalStrict(raw, &b); err != nil {
		return nil, err
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	return compile(b)
}

var styles = []string{string(api.ButtonStyleDefault), string(api.ButtonStylePrimary), string(api.ButtonStyleDanger)}

// check finds what no schema can say.
func (b Blueprint) check() error {
	if len(b.Sections) == 0 {
		return errors.New("sections: at least one is needed")
	}
	for i, s := range b.Sections {
		if len(s.TextFields) > maxFields {
			return fmt.Errorf("sections[%d].textFields: %d, where %d are the limit", i, len(s.TextFields), maxFields)
		}
		for j, button := range s.Buttons {
			if (button.Command == "") == (button.URL == "") {
				return fmt.Errorf("sections[%d].buttons[%d]: either command or url", i, j)
			}
			if !strings.Contains(button.Style, "{{") && !slices.Contains(styles, button.Style) {
				return fmt.Errorf("sections[%d].buttons[%d].style: %q is neither primary nor danger", i, j, button.Style)
			}
		}
	}
	return nil
}

// Messages shows data by the blueprint of that name: on an interactive platform the summary and then the details, at
// most 15 messages, each within the platform's limit; elsewhere exactly one message. An error means that the
// blueprint does not fit its data.
func (s *Set) Messages(name string, data any, p Platform) ([]api.Message, error) {
	t, ok := s.byName[name]
	if !ok {
		return nil, fmt.Errorf("there is no blueprint %q", name)
	}
	a, err := t.execute(data)
	if err != nil {
		return nil, fmt.Errorf("blueprint %s: %w", name, err)
	}
	var messages []api.Message
	if p.Interactive {
		messages = a.blocks(p)
	} else {
		messages = []api.Message{a.text(p)}
	}
	if a.refused {
		messages[0].Type = Refused
	}
	return messages, nil
}

package hosttest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/kubeshop/botkube/pkg/bot"
	"github.com/kubeshop/botkube/pkg/bot/interactive"
)

// A post is what Botkube sends to Slack for one message.
type post struct {
	Text   string          `json:"text,omitempty"`
	Blocks json.RawMessage `json:"blocks,omitempty"`
}

// slackPosts are those of an answer. The first has the line that Botkube puts before an answer.
func slackPosts(t *testing.T, a answer, echo string) (posts []post) {
	t.Helper()
	for i, m := range a.Messages {
		sent := asSent(t, m)
		sent.Description = ""
		if i == 0 {
			sent.Description = echo
		}
		values := slackValues(t, sent)
		if blocks := values["blocks"]; blocks != "" {
			posts = append(posts, post{Blocks: json.RawMessage(blocks)})
		} else {
			posts = append(posts, post{Text: values["text"]})
		}
	}
	return posts
}

// textPosts are an answer on Mattermost and Discord, or the file that Botkube makes of what is too long for them.
func textPosts(t *testing.T, a answer) string {
	t.Helper()
	sent := asSent(t, a.Messages[0])
	plain := interactive.MessageToPlaintext(sent, interactive.NewlineFormatter)
	var all strings.Builder
	for _, platform := range []struct {
		name     string
		most     int // bytes of plain text in a post
		renderer interface {
			MessageToMarkdown(interactive.CoreMessage) string
		}
	}{{"Mattermost", 3990, bot.NewMattermostRenderer()}, {"Discord", 2000, bot.NewDiscordRenderer()}} {
		if len(plain) < platform.most {
			fmt.Fprintf(&all, "-- %s --\n%s\n", platform.name, platform.renderer.MessageToMarkdown(sent))
		} else {
			fmt.Fprintf(&all, "-- %s --\n%s\n-- a file --\n%s\n", platform.name, sent.Description, plain)
		}
	}
	return all.String()
}

// readable is the JSON of posts as YAML, with what is short in one line.
func readable(t *testing.T, posts []post) string {
	t.Helper()
	raw, err := json.Marshal(posts)
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node // JSON is YAML, and a node keeps the order of keys
	if err := yaml.Unmarshal(raw, &document); err != nil {
		t.Fatal(err)
	}
	var restyle func(n *yaml.Node) (short bool)
	restyle = func(n *yaml.Node) bool {
		n.Style = 0
		short := len(n.Value) < 100 && !strings.Contains(n.Value, "\n") && n.Kind != yaml.SequenceNode
		for _, c := range n.Content {
			short = restyle(c) && c.Kind == yaml.ScalarNode && short
		}
		if short && n.Kind == yaml.MappingNode {
			n.Style = yaml.FlowStyle
		}
		return short
	}
	restyle(&document)
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&document); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// sample is the name of an answer, and none of those that are made of a sample by putting something strange into one field.
var sample = regexp.MustCompile(`^[a-z]+-[a-z]*$`)

// longest is what a golden file may have, in bytes: nobody reads more. What is longer is held by the limits alone.
const longest = 12_000

// TestGolden holds what Botkube makes of every sample of a blueprint, for Slack, Mattermost and Discord.
func TestGolden(t *testing.T) {
	stale := map[string]bool{}
	files, err := filepath.Glob("testdata/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		stale[file] = true
	}
	for _, a := range answers(t) {
		if !sample.MatchString(a.Name) {
			continue
		}
		var got, file string
		if a.Interactive {
			file, got = filepath.Join("testdata", a.Name+".slack.yaml"), readable(t, slackPosts(t, a, echo))
		} else {
			file, got = filepath.Join("testdata", a.Name+".text"), textPosts(t, a)
		}
		if len(got) > longest {
			continue
		}
		delete(stale, file)
		if *update {
			if err := os.MkdirAll("testdata", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(file); err != nil || string(want) != got {
			t.Errorf("%s is not what Botkube makes of the present message (%v): make generate, and look at the difference", file, err)
		}
	}
	for file := range stale {
		if !*update {
			t.Errorf("%s: no sample has it any more: make generate", file)
		} else if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

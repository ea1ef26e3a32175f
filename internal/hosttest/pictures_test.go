package hosttest

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/kubeshop/botkube/pkg/bot/interactive"
)

var update = flag.Bool("update", false, "write what the pictures are drawn from anew")

// pictured are the messages that the README shows in Slack, each with the line that Botkube puts before it.
var pictured = map[string]string{
	"list-small":      "`ferry list` on `demo`",
	"diff-small":      "`ferry diff stage` on `demo`",
	"card-small":      "`ferry promote podinfo@7.0.0 to prod` on `demo`",
	"outcome-waiting": "`Promote` on `demo` by <@U024BE7LH>",
	"outcome-small":   "`Refresh` on `demo` by <@U024BE7LH>",
	"check-small":     "`ferry check` on `demo`",
	"refusal-small":   "`ferry list podinfo` on `demo`",
}

// TestPictures holds what the pictures are drawn from to what Botkube makes of the present messages.
func TestPictures(t *testing.T) {
	type post struct {
		Text   string          `json:"text,omitempty"`
		Blocks json.RawMessage `json:"blocks,omitempty"`
	}
	left := len(pictured)
	for _, a := range answers(t) {
		echo, ok := pictured[a.Name]
		if !ok || !a.Interactive {
			continue
		}
		left--
		var posts []post
		for i, m := range a.Messages {
			sent := asSent(t, m)
			sent.Description = ""
			if i == 0 {
				sent.Description = echo
			}
			values := slackValues(t, interactive.CoreMessage(sent))
			if blocks := values["blocks"]; blocks != "" {
				posts = append(posts, post{Blocks: json.RawMessage(blocks)})
			} else {
				posts = append(posts, post{Text: values["text"]})
			}
		}
		var got bytes.Buffer
		encoder := json.NewEncoder(&got)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", " ")
		if err := encoder.Encode(posts); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("..", "pictures", "testdata", a.Name+".json")
		if *update {
			if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(file); err != nil || !bytes.Equal(want, got.Bytes()) {
			t.Errorf("%s is not what Botkube makes of the present message (%v): make pictures", file, err)
		}
	}
	if left > 0 {
		t.Errorf("%d messages are missing", left)
	}
}

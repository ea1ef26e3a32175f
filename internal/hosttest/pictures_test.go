package hosttest

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files and what the pictures are drawn from anew")

// pictured are the messages that the README shows in Slack, each with the line that Botkube puts before it.
var pictured = map[string]string{
	"list-small":      "`ferry list` on `demo`",
	"diff-small":      "`ferry diff stage` on `demo`",
	"card-small":      "`ferry promote podinfo@7.0.0 to prod` on `demo`",
	"report-usual":    "`Diff report` on `demo` by <@U024BE7LH>",
	"outcome-waiting": "`Promote` on `demo` by <@U024BE7LH>",
	"outcome-small":   "`Refresh` on `demo` by <@U024BE7LH>",
	"check-small":     "`ferry check` on `demo`",
	"refusal-small":   "`ferry list podinfo` on `demo`",
}

// TestPictures holds what the pictures are drawn from to what Botkube makes of the present messages.
func TestPictures(t *testing.T) {
	left := len(pictured)
	for _, a := range answers(t) {
		echo, ok := pictured[a.Name]
		if !ok || !a.Interactive {
			continue
		}
		left--
		var got bytes.Buffer
		encoder := json.NewEncoder(&got)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", " ")
		if err := encoder.Encode(slackPosts(t, a, echo)); err != nil {
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

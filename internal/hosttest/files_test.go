package hosttest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/kubeshop/botkube/pkg/api"
	"github.com/kubeshop/botkube/pkg/plugin"
)

// needed is the path of a file or directory that a build leaves behind. Where it is missing the test is skipped, and fails
// where nobody would notice.
func needed(t *testing.T, path, remedy string) string {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%v: run %s first", err, remedy)
		}
		t.Skipf("%v: run %s first", err, remedy)
	}
	return path
}

// plugins is the directory of the built plugins and their index.
func plugins(t *testing.T) string {
	t.Helper()
	dir := cmp.Or(os.Getenv("FERRY_PLUGINS"), filepath.Join("..", "..", "bin"))
	needed(t, filepath.Join(dir, fmt.Sprintf("executor_ferry_%s_%s", runtime.GOOS, runtime.GOARCH)), "make build")
	needed(t, filepath.Join(dir, "index.yaml"), "make build")
	return dir
}

// readIndex reads the built index as the host does.
func readIndex(t *testing.T) plugin.Index {
	t.Helper()
	document, err := os.ReadFile(filepath.Join(plugins(t), "index.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var index plugin.Index
	if err := yaml.Unmarshal(document, &index); err != nil {
		t.Fatal(err)
	}
	return index
}

// An answer is what ferry says to one line, as its own tests write it.
type answer struct {
	Name        string        `json:"name"`
	Interactive bool          `json:"interactive"` // built for a platform with buttons
	Messages    []api.Message `json:"messages"`
	// Commands are those of the messages' buttons, selects and inputs, a select's once for each option with its value
	// behind. Each has the words that ferry wrote into it, from the plugin's name on, without the host's own options.
	Commands []command `json:"commands"`
}

type command struct {
	Command string   `json:"command"`
	Tokens  []string `json:"tokens"`
	Arrives string   `json:"arrives"` // what ferry expects to be handed when it is clicked
}

// read reads the JSON files of a folder that ferry's tests have written.
func read[T any](t *testing.T, folder string) []T {
	t.Helper()
	dir := needed(t, cmp.Or(os.Getenv("FERRY_MESSAGES"), filepath.Join("..", "..", "bin", "messages")), "go test ./blueprints")
	files, err := filepath.Glob(filepath.Join(dir, folder, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatalf("no files in %s", filepath.Join(dir, folder))
	}
	all := make([]T, len(files))
	for i, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(content, &all[i]); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	return all
}

// answers are all that ferry's tests have written.
func answers(t *testing.T) []answer {
	t.Helper()
	all := read[answer](t, ".")
	for _, one := range all {
		if one.Name == "" || len(one.Messages) == 0 {
			t.Fatal("an answer without a name or without messages")
		}
	}
	return all
}

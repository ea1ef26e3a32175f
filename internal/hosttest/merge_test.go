package hosttest

import (
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/kubeshop/botkube/pkg/api/executor"
	"github.com/kubeshop/botkube/pkg/plugin"
)

// merged is what Botkube makes of a plugin's configuration documents, in JSON's types.
func merged(t *testing.T, documents ...string) map[string]any {
	t.Helper()
	var configs []*executor.Config
	for _, d := range documents {
		configs = append(configs, &executor.Config{RawYAML: []byte(d)})
	}
	var made, plain map[string]any
	if err := plugin.MergeExecutorConfigs(configs, &made); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(made)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &plain); err != nil {
		t.Fatal(err)
	}
	return plain
}

// TestConfigurationsAreMergedAsByBotkube: what ferry makes of several documents is what users of Botkube's own plugins know.
func TestConfigurationsAreMergedAsByBotkube(t *testing.T) {
	dir := needed(t, cmp.Or(os.Getenv("FERRY_CONFIGS"), filepath.Join("..", "..", "bin", "configs")), "the root module's tests")
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files in %s: %v", len(files), dir, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var ferry struct {
				Documents []string       `json:"documents"`
				Merged    map[string]any `json:"merged"`
			}
			if err := json.Unmarshal(content, &ferry); err != nil || len(ferry.Documents) == 0 {
				t.Fatalf("%d documents: %v", len(ferry.Documents), err)
			}
			if botkube := merged(t, ferry.Documents...); !reflect.DeepEqual(botkube, ferry.Merged) {
				t.Errorf("Botkube makes %v\nferry makes   %v", botkube, ferry.Merged)
			}
		})
	}
}

// TestWhereBotkubeReadsOtherwise: yes, no, on and off are texts there and truth values in Kubernetes' own reading of YAML,
// which is ferry's. ferry says so where a text belongs, and does not guess.
func TestWhereBotkubeReadsOtherwise(t *testing.T) {
	want := map[string]any{"github": map[string]any{"baseURL": "no"}}
	if got := merged(t, "github: {baseURL: no}"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

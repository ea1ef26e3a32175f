package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// merges are documents and what they are together, each as YAML. The module of internal/hosttest holds them to what
// Botkube itself makes of the documents.
var merges = map[string]struct {
	documents []string
	want      string
}{
	"one":                      {[]string{"environments: [{name: a}]"}, "environments: [{name: a}]"},
	"other keys":               {[]string{"environments: [{name: a}]", "access: {default: [slack:U1]}"}, "{environments: [{name: a}], access: {default: [slack:U1]}}"},
	"the same key":             {[]string{"repository: {name: acme/a}", "repository: {name: acme/b}"}, "repository: {name: acme/b}"},
	"keys of a map":            {[]string{"github: {baseURL: https://a, auth: {tokenFile: /a}}", "github: {auth: {tokenEnv: B}}"}, "github: {baseURL: https://a, auth: {tokenFile: /a, tokenEnv: B}}"},
	"lists are replaced":       {[]string{"environments: [{name: a, namespaces: [x]}, {name: b}]", "environments: [{name: a}]"}, "environments: [{name: a}]"},
	"a shorter list":           {[]string{"access: {default: [slack:U1, slack:U2]}", "access: {default: [slack:U3]}"}, "access: {default: [slack:U3]}"},
	"an empty list":            {[]string{"access: {default: [slack:U1]}", "access: {default: []}"}, "access: {default: []}"},
	"an empty map":             {[]string{"github: {baseURL: https://a}", "github: {}"}, "github: {baseURL: https://a}"},
	"nothing for a text":       {[]string{"github: {baseURL: https://a}", "github: {baseURL: null}"}, "github: {baseURL: null}"},
	"nothing for a map":        {[]string{"github: {baseURL: https://a}", "github: null"}, "github: null"},
	"a map for nothing":        {[]string{"github: null", "github: {baseURL: https://a}"}, "github: {baseURL: https://a}"},
	"a text for a map":         {[]string{"github: {baseURL: https://a}", "github: token"}, "github: token"},
	"a map for a text":         {[]string{"github: token", "github: {baseURL: https://a}"}, "github: {baseURL: https://a}"},
	"a list for a map":         {[]string{"access: {default: [slack:U1]}", "access: [slack:U1]"}, "access: [slack:U1]"},
	"a map for a list":         {[]string{"access: [slack:U1]", "access: {default: [slack:U1]}"}, "access: {default: [slack:U1]}"},
	"another type":             {[]string{"github: {auth: {app: {id: 1, installationID: 2}}}", "github: {auth: {app: {id: '3'}}}"}, "github: {auth: {app: {id: '3', installationID: 2}}}"},
	"three":                    {[]string{"repository: {name: acme/a, branch: main}", "repository: {name: acme/b}", "repository: {name: acme/c}"}, "repository: {name: acme/c, branch: main}"},
	"no document between":      {[]string{"repository: {name: acme/a}", "", "{}", "repository: {branch: main}"}, "repository: {name: acme/a, branch: main}"},
	"keys that differ in case": {[]string{"repository: {name: acme/a}", "Repository: {name: acme/b}"}, "{repository: {name: acme/a}, Repository: {name: acme/b}}"},
	"an alias":                 {[]string{"repository: &r {name: acme/a}\naccess: *r", "repository: {name: acme/b}"}, "{repository: {name: acme/b}, access: {name: acme/a}}"},
}

func TestMerge(t *testing.T) {
	dir := os.Getenv("FERRY_CONFIGS_OUT")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "bin", "configs")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, tc := range merges {
		t.Run(name, func(t *testing.T) {
			got, err := mergeAll(documents(tc.documents...))
			if err != nil {
				t.Fatal(err)
			}
			var want map[string]any
			if err := yaml.Unmarshal([]byte(tc.want), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			raw, err := json.MarshalIndent(map[string]any{"documents": tc.documents, "merged": got}, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name+".json"), raw, 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

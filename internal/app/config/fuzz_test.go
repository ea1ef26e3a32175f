package config

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// FuzzLoad: whatever the documents are, the answer is faults for people or a configuration. One that is written out is
// valid by the schema and loads to the same.
func FuzzLoad(f *testing.F) {
	f.Add(whole)
	for _, tc := range bad {
		f.Add(tc.document)
	}
	for _, tc := range merges {
		f.Add(strings.Join(tc.documents, "\n---\n"))
	}
	schema := resolve(f)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Load(documents(strings.Split(text, "\n---\n")...))
		if err != nil {
			refusal, ok := errors.AsType[*gitops.Refusal](err)
			if !ok || refusal.Code != gitops.Config || len(refusal.Details) == 0 && refusal.Snippet == "" {
				t.Fatalf("not for people: %v", err)
			}
			return
		}
		for i := range c.Environments {
			c.Rule(i)
		}
		written, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Load([][]byte{written})
		if diff := cmp.Diff(c, again); diff != "" || err != nil {
			t.Errorf("%s\nloads otherwise: %v\n%s", written, err, diff)
		}
		var plain any
		if err := json.Unmarshal(written, &plain); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(plain); err != nil {
			t.Errorf("%s\n%v", written, err)
		}
	})
}

package contract

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// events are those whose payloads are kept.
var events = []string{"issue_comment", "ping", "pull_request", "push"}

// WebhooksFile says where the payloads of webhooks are kept.
func WebhooksFile() (string, error) {
	dir, err := cache()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "webhooks-"+Webhooks.Version+".json"), nil
}

// CutWebhooks keeps the payloads of some events: lists of payloads by event.
func CutWebhooks(raw []byte) ([]byte, error) {
	var all []struct {
		Name     string
		Examples []json.RawMessage
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("read examples of webhooks: %w", err)
	}
	kept := map[string][]json.RawMessage{}
	for _, e := range all {
		if slices.Contains(events, e.Name) {
			kept[e.Name] = e.Examples
		}
	}
	if len(kept) != len(events) {
		return nil, fmt.Errorf("of %d events there are %d", len(events), len(kept))
	}
	return json.Marshal(kept)
}

// Payloads are GitHub's examples of what a webhook brings for an event: 29 for pull_request. Without them the test is skipped;
// with CI=true it fails.
func Payloads(t testing.TB, event string) []json.RawMessage {
	t.Helper()
	file, err := WebhooksFile()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		missing(t, err)
		t.SkipNow()
	}
	var all map[string][]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatalf("read %s: %v", file, err)
	}
	return all[event]
}

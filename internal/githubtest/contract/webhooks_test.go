package contract_test

import (
	"encoding/json"
	"testing"

	"github.com/ferry-chatops/ferry/internal/githubtest/contract"
)

func TestPayloads(t *testing.T) {
	for event, want := range map[string]int{"pull_request": 29, "push": 7, "nothing": 0} {
		payloads := contract.Payloads(t, event)
		if len(payloads) != want {
			t.Errorf("%s: %d payloads, want %d", event, len(payloads), want)
		}
		for _, raw := range payloads {
			var payload struct {
				Repository struct {
					FullName string `json:"full_name"`
				}
			}
			if err := json.Unmarshal(raw, &payload); err != nil || payload.Repository.FullName == "" {
				t.Errorf("%s: %.80s: %v", event, raw, err)
			}
		}
	}
}

func TestCutWebhooks(t *testing.T) {
	for raw, want := range map[string]string{
		`[{"name":"push","examples":[{}]}]`: "of 4 events there are 1",
		`{}`:                                "read examples of webhooks",
	} {
		if _, err := contract.CutWebhooks([]byte(raw)); err == nil || err.Error()[:len(want)] != want {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

package operation

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// written are reports on record.
type written struct {
	all []string
	err error
}

func (w written) Reports(context.Context) (all [][]byte, err error) {
	for _, text := range w.all {
		all = append(all, []byte(text))
	}
	return all, w.err
}

func TestSources(t *testing.T) {
	now := time.Date(2026, 1, 2, 15, 0, 0, 0, time.UTC)
	o, err := Sources(t.Context(), written{all: []string{
		`{"source": "b", "written": "2026-01-02T14:59:50Z", "repositories": [{"name": "acme/a", "success": "2026-01-02T14:59:30Z", "interval": 30000000000},
			{"name": "acme/b", "interval": 30000000000, "failures": 2, "error": "gone\nfor good", "outbox": 3}],
			"accounts": [{"name": "token", "state": "paused", "reason": "a limit", "until": "2026-01-02T15:01:00Z", "remaining": 7, "limit": 5000, "reset": "2026-01-02T15:30:00Z", "points": 4, "unchanged": 9}]}`,
		`{"source": "a", "written": "2026-01-02T14:00:00Z", "stretched": true, "trouble": "no right"}`,
		`{`, `{"source": 7}`, `{}`,
	}}, now)
	if err != nil || len(o.Sources) != 2 || o.Broken != 3 || o.Failed() {
		t.Fatalf("%+v, %v", o, err)
	}
	silent, fine := o.Sources[0], o.Sources[1]
	want := "It has written nothing for 1h0m0s: it may not run. It tells nothing at present: no right It follows no repository. " +
		"They are more than the budget allows at their interval, so quiet ones are looked at less often."
	if got := o.Summary(silent); got != want {
		t.Errorf("%q", got)
	}
	if got := o.Summary(fine); got != "It follows 2 repositories; 1 cannot be read." {
		t.Errorf("%q", got)
	}
	one := SourceReport{Written: now, Repositories: fine.Repositories[1:]}
	if got := o.Summary(one); got != "It cannot read the one repository that it follows." {
		t.Errorf("%q", got)
	}
	want = "REPOSITORY  SUCCESS  INTERVAL  WAITING  LAST ERROR\n" +
		"acme/b      -        30s       3        gone for good (2 in a row)\n" +
		"acme/a      30s ago  30s       0        -"
	if got := o.Table(fine); got != want || o.Table(silent) != "" {
		t.Errorf("%s", got)
	}
	want = "token: 7 of 5000 points left until 15:30 UTC, 4 spent since the start; 9 answers cost nothing; paused: a limit until 15:01:00 UTC"
	if got := strings.Join(o.Budgets(fine), "\n"); got != want {
		t.Errorf("%s", got)
	}
	if o, err = Sources(t.Context(), written{all: []string{"x"}}, now); err != nil || !o.Failed() {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err = Sources(t.Context(), written{err: errors.New("no")}, now); err == nil {
		t.Error("an error is lost")
	}
}

package operation

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Reports are what ferry's sources wrote about themselves, each a SourceReport as JSON.
type Reports interface {
	Reports(ctx context.Context) ([][]byte, error)
}

// A SourceReport is how a source does, as it wrote it itself.
type SourceReport struct {
	Source       string             `json:"source"`
	Version      string             `json:"version"`
	Written      time.Time          `json:"written"`
	Stretched    bool               `json:"stretched,omitempty"` // intervals are longer than configured: there are too many repositories
	Trouble      string             `json:"trouble,omitempty"`   // why nothing is told at present, a sentence
	Faults       []string           `json:"faults,omitempty"`    // of its configuration
	Accounts     []SourceAccount    `json:"accounts,omitempty"`
	Repositories []SourceRepository `json:"repositories,omitempty"`
}

// A SourceAccount is one of GitHub's, with what is left of its budget.
type SourceAccount struct {
	Name      string    `json:"name"`
	State     string    `json:"state"`
	Reason    string    `json:"reason,omitempty"`
	Until     time.Time `json:"until,omitzero"`
	Remaining int       `json:"remaining"`
	Limit     int       `json:"limit"` // zero: GitHub does not say
	Reset     time.Time `json:"reset,omitzero"`
	Points    int64     `json:"points"`    // answers that count, since the start
	Unchanged int64     `json:"unchanged"` // those that cost nothing
}

// A SourceRepository is one that is followed.
type SourceRepository struct {
	Name     string        `json:"name"`
	Success  time.Time     `json:"success,omitzero"` // when it was looked at last; zero: not since the start
	Interval time.Duration `json:"interval"`
	Failures int           `json:"failures,omitempty"` // in a row
	Error    string        `json:"error,omitempty"`    // the last of those
	Outbox   int           `json:"outbox,omitempty"`   // events that a channel has not got yet
}

// An Overview is the answer to status source.
type Overview struct {
	Now     time.Time
	Sources []SourceReport // sorted by name
	Broken  int            // reports that cannot be read
}

// Limits of what is read of a report: it lies where others may write.
const (
	maxSources   = 20
	maxSourceRow = 200
)

// Sources answers status source.
func Sources(ctx context.Context, from Reports, now time.Time) (Overview, error) {
	all, err := from.Reports(ctx)
	if err != nil {
		return Overview{}, err
	}
	o := Overview{Now: now}
	for _, raw := range all {
		var r SourceReport
		if err := json.Unmarshal(raw, &r); err != nil || r.Source == "" {
			o.Broken++
			continue
		}
		o.Sources = append(o.Sources, r)
	}
	slices.SortFunc(o.Sources, func(a, b SourceReport) int { return cmp.Compare(a.Source, b.Source) })
	o.Sources = o.Sources[:min(len(o.Sources), maxSources)]
	return o, nil
}

// silence is how long a source may write nothing; it writes twice a minute.
const silence = 3 * time.Minute

// Failed says that nothing was found out.
func (o Overview) Failed() bool { return len(o.Sources) == 0 && o.Broken > 0 }

// Summary says in a sentence how a source does.
func (o Overview) Summary(r SourceReport) string {
	var said []string
	if ago := o.Now.Sub(r.Written); ago > silence {
		said = append(said, fmt.Sprintf("It has written nothing for %s: it may not run.", ago.Round(time.Second)))
	}
	if r.Trouble != "" {
		said = append(said, "It tells nothing at present: "+r.Trouble)
	}
	failing := 0
	for _, one := range r.Repositories {
		if one.Failures > 0 {
			failing++
		}
	}
	switch n := len(r.Repositories); {
	case n == 0:
		said = append(said, "It follows no repository.")
	case n == 1 && failing > 0:
		said = append(said, "It cannot read the one repository that it follows.")
	case failing > 0:
		said = append(said, fmt.Sprintf("It follows %d repositories; %d cannot be read.", n, failing))
	case n == 1:
		said = append(said, "It follows one repository.")
	default:
		said = append(said, fmt.Sprintf("It follows %d repositories.", n))
	}
	if r.Stretched {
		said = append(said, "They are more than the budget allows at their interval, so quiet ones are looked at less often.")
	}
	return strings.Join(said, " ")
}

// Table shows the repositories, those in trouble first.
func (o Overview) Table(r SourceReport) string {
	if len(r.Repositories) == 0 {
		return ""
	}
	all := slices.Clone(r.Repositories)
	slices.SortStableFunc(all, func(a, b SourceRepository) int { return cmp.Compare(b.Failures, a.Failures) })
	rows := [][]string{{"REPOSITORY", "SUCCESS", "INTERVAL", "WAITING", "LAST ERROR"}}
	for i, one := range all {
		if i == maxSourceRow {
			rows = append(rows, []string{fmt.Sprintf("… and %d more", len(all)-i)})
			break
		}
		success, trouble := "-", "-"
		if !one.Success.IsZero() {
			success = o.Now.Sub(one.Success).Round(time.Second).String() + " ago"
		}
		if one.Failures > 0 {
			trouble = fmt.Sprintf("%s (%d in a row)", one.Error, one.Failures)
		}
		rows = append(rows, []string{one.Name, success, one.Interval.Round(time.Second).String(), fmt.Sprint(one.Outbox), trouble})
	}
	return table(rows)
}

// Budgets say what is left of each account.
func (o Overview) Budgets(r SourceReport) (all []string) {
	for _, a := range r.Accounts {
		text := a.Name + ": "
		if a.Limit > 0 {
			text += fmt.Sprintf("%d of %d points left until %s", a.Remaining, a.Limit, a.Reset.UTC().Format("15:04 UTC"))
		} else {
			text += "GitHub names no limit"
		}
		text += fmt.Sprintf(", %d spent since the start; %d answers cost nothing", a.Points, a.Unchanged)
		if a.State != "good" {
			text += fmt.Sprintf("; %s: %s", a.State, a.Reason)
			if !a.Until.IsZero() {
				text += " until " + a.Until.UTC().Format("15:04:05 UTC")
			}
		}
		all = append(all, text)
	}
	return all
}

package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ferry-chatops/ferry/internal/github"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/operation"
	"github.com/ferry-chatops/ferry/internal/watch"
)

// reportEvery is how often a source writes how it does.
const reportEvery = 30 * time.Second

// maxError is how much of an error goes into a report, in bytes.
const maxError = 300

// report is how a source does.
func (s *Sources) report(w *watching, source string) operation.SourceReport {
	r := operation.SourceReport{Source: source, Version: s.version, Written: s.now()}
	for _, n := range w.notices {
		r.Faults = append(r.Faults, n.Details...)
	}
	status := w.present().Status()
	r.Stretched = status.Stretched
	if status.State != nil {
		r.Trouble = said(status.State)
	}
	for _, one := range status.Repositories {
		out := operation.SourceRepository{Name: one.Name, Success: one.LastSuccess, Interval: one.Interval, Failures: one.Failures, Outbox: one.Outbox}
		if one.LastError != nil {
			out.Error = said(one.LastError)
		}
		r.Repositories = append(r.Repositories, out)
	}
	for _, a := range w.hub.Status().Accounts {
		out := operation.SourceAccount{Name: a.Name, State: string(a.State), Reason: a.Reason, Until: a.Until, Points: a.Counts.OK + a.Counts.Refused, Unchanged: a.Counts.Unchanged}
		if i := slices.IndexFunc(a.Budgets, func(b github.Budget) bool { return b.Resource == "core" }); i >= 0 {
			out.Remaining, out.Limit, out.Reset = a.Budgets[i].Remaining, a.Budgets[i].Limit, a.Budgets[i].Reset
		}
		r.Accounts = append(r.Accounts, out)
	}
	return r
}

// said is an error in a sentence: that for people where there is one, or what it says itself.
func said(err error) string {
	text := err.Error()
	if fault, ok := errors.AsType[*watch.Fault](err); ok {
		text = fault.Reason
	} else if refusal, ok := errors.AsType[*gitops.Refusal](err); ok {
		text = refusal.Reason
	}
	return strings.ToValidUTF8(text[:min(len(text), maxError)], "")
}

// reporting writes the report until ctx ends.
func (s *Sources) reporting(ctx context.Context, w *watching, source string) {
	ticks := time.NewTicker(reportEvery)
	defer ticks.Stop()
	soon := time.NewTimer(2 * time.Second) // after the first looks
	defer soon.Stop()
	failed := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-soon.C:
		case <-ticks.C:
		}
		raw, err := json.Marshal(s.report(w, source))
		if err == nil {
			err = w.state.records.Write(ctx, reportName, raw)
		}
		was := failed
		if failed = ""; err != nil {
			failed = err.Error()
		}
		if failed != "" && failed != was && ctx.Err() == nil { // the same again says nothing new
			s.log.Warn("the source's report cannot be written", "source", source, "error", err)
		}
	}
}

// serving answers Prometheus on a port until ctx ends. A port that is taken costs the figures alone.
func (s *Sources) serving(ctx context.Context, w *watching, source string) {
	listener, err := net.Listen("tcp", net.JoinHostPort("", strconv.FormatInt(w.config.Metrics.Port, 10)))
	if err != nil {
		s.log.Error("no figures are served", "source", source, "error", err)
		<-ctx.Done()
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		var b bytes.Buffer
		metrics(&b, s.report(w, source), w.hub.Status())
		if _, err := out.Write(b.Bytes()); err != nil {
			s.log.Debug("figures were not taken", "error", err)
		}
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stopped()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		s.log.Error("figures are served no longer", "source", source, "error", err)
	}
}

// metrics writes figures in Prometheus's text format,
// https://prometheus.io/docs/instrumenting/exposition_formats.
func metrics(out io.Writer, r operation.SourceReport, hub github.Status) {
	write := func(name, kind, help string, rows func(row func(value float64, labels ...string))) {
		fmt.Fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
		rows(func(value float64, labels ...string) {
			text := `source=` + quoted(r.Source)
			for i := 0; i+1 < len(labels); i += 2 {
				text += "," + labels[i] + "=" + quoted(labels[i+1])
			}
			fmt.Fprintf(out, "%s{%s} %s\n", name, text, strconv.FormatFloat(value, 'f', -1, 64))
		})
	}
	type row = func(value float64, labels ...string)
	repositories := func(value func(operation.SourceRepository) float64) func(row) {
		return func(row row) {
			for _, one := range r.Repositories {
				row(value(one), "repository", one.Name)
			}
		}
	}
	write("ferry_source_repository_last_success_timestamp_seconds", "gauge", "When a repository was looked at last, 0 for never.", repositories(func(o operation.SourceRepository) float64 {
		if o.Success.IsZero() {
			return 0
		}
		return float64(o.Success.Unix())
	}))
	write("ferry_source_repository_interval_seconds", "gauge", "How often a repository is looked at.", repositories(func(o operation.SourceRepository) float64 { return o.Interval.Seconds() }))
	write("ferry_source_repository_failures", "gauge", "Looks that failed in a row.", repositories(func(o operation.SourceRepository) float64 { return float64(o.Failures) }))
	write("ferry_source_repository_outbox", "gauge", "Events that wait for a stream.", repositories(func(o operation.SourceRepository) float64 { return float64(o.Outbox) }))
	write("ferry_source_telling", "gauge", "1 while state can be kept, without which nothing is told.", func(row row) {
		row(map[bool]float64{true: 1}[r.Trouble == ""])
	})
	write("ferry_github_budget_remaining", "gauge", "Points left of GitHub's budget.", func(row row) {
		for _, a := range hub.Accounts {
			for _, b := range a.Budgets {
				row(float64(b.Remaining), "account", a.Name, "resource", b.Resource)
			}
		}
	})
	write("ferry_github_budget_limit", "gauge", "Points of GitHub's budget in all.", func(row row) {
		for _, a := range hub.Accounts {
			for _, b := range a.Budgets {
				row(float64(b.Limit), "account", a.Name, "resource", b.Resource)
			}
		}
	})
	write("ferry_github_account_state", "gauge", "1 for the state that a credential is in.", func(row row) {
		for _, a := range hub.Accounts {
			row(1, "account", a.Name, "state", string(a.State))
		}
	})
	write("ferry_github_responses_total", "counter", "Answers of GitHub by kind.", func(row row) {
		for _, a := range hub.Accounts {
			for _, c := range []struct {
				kind  string
				value int64
			}{{"ok", a.Counts.OK}, {"unchanged", a.Counts.Unchanged}, {"refused", a.Counts.Refused}, {"failed", a.Counts.Failed}, {"broken", a.Counts.Broken}} {
				row(float64(c.value), "account", a.Name, "kind", c.kind)
			}
		}
	})
	write("ferry_github_received_bytes_total", "counter", "Bytes of answers, unpacked.", func(row row) {
		for _, a := range hub.Accounts {
			row(float64(a.Counts.Bytes), "account", a.Name)
		}
	})
	write("ferry_github_cache_bytes", "gauge", "Bytes of answers that are kept.", func(row row) {
		row(float64(hub.Memory), "place", "memory")
		row(float64(hub.Disk), "place", "disk")
	})
	write("ferry_github_etag_computed", "gauge", "1 while GitHub's ETags are those that ferry computes.", func(row row) {
		row(map[bool]float64{true: 1}[hub.Computing])
	})
}

var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func quoted(value string) string { return `"` + labelEscapes.Replace(value) + `"` }

package promotion

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// A film shows an application over time: each frame from its moment on, since the first look.
type film struct {
	Cluster
	begin  time.Time
	frames []frame
	looks  atomic.Int64
}

type frame struct {
	from time.Duration
	app  gitops.Application
	err  error
}

func (f *film) Application(context.Context, gitops.Key) (gitops.Application, error) {
	f.looks.Add(1)
	now := f.frames[0]
	for _, next := range f.frames {
		if time.Since(f.begin) >= next.from {
			now = next
		}
	}
	return now.app, now.err
}

// descends says that after is a descendant of ours, and counts how often it is asked.
type descends struct {
	Repository
	asked int
	err   error
}

func (d *descends) Contains(_ context.Context, head, commit string) (bool, error) {
	d.asked++
	return head == after && commit == ours, d.err
}

func TestFollow(t *testing.T) {
	const wait = time.Minute
	failed := upgrading()
	failed.Helm.Condition = stalled("UpgradeFailed", "timed out")
	paused := applied()
	paused.Helm.Condition.Suspended = true
	later := released()
	later.Owner.Source.Revision, later.Owner.Applied, later.Owner.Attempted = "main@sha1:"+after, "main@sha1:"+after, "main@sha1:"+after
	for name, tc := range map[string]struct {
		frames []frame
		state  State
		reason string
		after  time.Duration
		next   string // the first
	}{
		"at once":           {[]frame{{app: released()}}, Verified, "", 0, "list podinfo"},
		"step by step":      {[]frame{{app: pending()}, {5 * time.Second, applied(), nil}, {9 * time.Second, upgrading(), nil}, {20 * time.Second, released(), nil}}, Verified, "", 20 * time.Second, "list podinfo"},
		"by a later commit": {[]frame{{app: pending()}, {5 * time.Second, later, nil}}, Verified, "", 5 * time.Second, "list podinfo"},
		"fails":             {[]frame{{app: upgrading()}, {7 * time.Second, failed, nil}, {8 * time.Second, released(), nil}}, RolloutFailed, "HelmRelease apps/podinfo: UpgradeFailed: timed out", 7 * time.Second, "rollback podinfo on prod"},
		"suspended":         {[]frame{{app: paused}}, Paused, "HelmRelease apps/podinfo is suspended.", 0, "status podinfo on prod"},
		"does not end":      {[]frame{{app: upgrading()}}, RollingOut, "Waiting for HelmRelease apps/podinfo: Progressing: Running 'upgrade' action", wait, "status podinfo on prod"},
		"unseen for a while": {[]frame{{err: errors.New("connection refused")}, {3 * time.Second, gitops.Application{}, errors.New("again")}, {10 * time.Second, released(), nil}},
			Verified, "", 10 * time.Second, "list podinfo"},
		"never seen": {[]frame{{err: errors.New("connection refused")}}, RollingOut, "podinfo in prod could not be observed.", wait, "status podinfo on prod"},
		"never answered": {[]frame{{err: &gitops.Refusal{Code: gitops.Unreachable, Reason: "prod did not answer."}}}, RollingOut, "prod did not answer.", wait,
			"status podinfo on prod"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster, repository := &film{begin: time.Now(), frames: tc.frames}, &descends{}
				s := &Service{Claims: &Claims{}, Cluster: cluster, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
				app := released()
				in := intent{asked: gitops.Change{Application: "podinfo"}, app: app, version: app.Versions[0], to: "7.0.0", settings: Settings{Environment: "prod", Wait: wait}}
				o := s.follow(t.Context(), Outcome{State: RollingOut, Commit: gitops.Commit{SHA: ours}}, in, repository)
				if o.State != tc.state || o.Reason != tc.reason {
					t.Errorf("%s: %q", o.State, o.Reason)
				}
				const look = time.Second
				if took := time.Since(cluster.begin); took < tc.after || took > tc.after+look || o.Elapsed > took || o.Elapsed < took-look {
					t.Errorf("after %s, it says %s", took, o.Elapsed)
				}
				if len(o.Next) == 0 || o.Next[0] != tc.next {
					t.Errorf("next: %q", o.Next)
				}
				if most := int64(4*tc.after/time.Second) + 2; cluster.looks.Load() > most { // every quarter of a second
					t.Errorf("%d looks", cluster.looks.Load())
				}
				if repository.asked > 2 {
					t.Errorf("GitHub is asked %d times about two commits", repository.asked)
				}
			})
		})
	}
}

// An answer that is not wanted any more ends its looking.
func TestFollowEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := &film{begin: time.Now(), frames: []frame{{app: upgrading()}}}
		s := &Service{Claims: &Claims{}, Cluster: cluster, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
		app := released()
		in := intent{asked: gitops.Change{Application: "podinfo"}, app: app, version: app.Versions[0], to: "7.0.0", settings: Settings{Wait: time.Hour}}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		o := s.follow(ctx, Outcome{State: RollingOut, Commit: gitops.Commit{SHA: ours}}, in, &descends{})
		if took := time.Since(cluster.begin); took != 10*time.Second || o.State != RollingOut {
			t.Errorf("%s after %s", o.State, took)
		}
	})
}

// Where GitHub cannot compare commits, nothing is claimed, and it is asked again.
func TestFollowWithoutComparison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		later := released()
		later.Owner.Source.Revision = "main@sha1:" + after
		cluster, repository := &film{begin: time.Now(), frames: []frame{{app: later}}}, &descends{err: errors.New("502")}
		s := &Service{Claims: &Claims{}, Cluster: cluster, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
		in := intent{asked: gitops.Change{Application: "podinfo"}, app: later, version: later.Versions[0], to: "7.0.0", settings: Settings{Wait: 5 * time.Second}}
		o := s.follow(t.Context(), Outcome{State: RollingOut, Commit: gitops.Commit{SHA: ours}}, in, repository)
		if o.State != RollingOut || repository.asked < 2 {
			t.Errorf("%s, asked %d times", o.State, repository.asked)
		}
	})
}

// The host has ten workers for all plugins: a fourth answer does not wait, and offers to look again.
func TestFourthAnswerDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const wait = time.Minute
		cluster := &film{begin: time.Now(), frames: []frame{{app: upgrading()}}}
		s := &Service{Claims: &Claims{}, Cluster: cluster, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
		app := released()
		in := intent{asked: gitops.Change{Application: "podinfo"}, app: app, version: app.Versions[0], to: "7.0.0", settings: Settings{Environment: "prod", Wait: wait}}
		follow := func() (Outcome, time.Duration) {
			begin := time.Now()
			return s.follow(t.Context(), Outcome{State: RollingOut, Commit: gitops.Commit{SHA: ours}}, in, &descends{}), time.Since(begin)
		}
		var waiting sync.WaitGroup
		for range maxWaiting {
			waiting.Go(func() {
				if o, took := follow(); took < wait || o.State != RollingOut {
					t.Errorf("%s after %s", o.State, took)
				}
			})
		}
		synctest.Wait()
		o, took := follow()
		if took != 0 || o.State != RollingOut || o.Next[0] != "status podinfo on prod" || o.Reason == "" {
			t.Errorf("the fourth: %s after %s: %q, next %q", o.State, took, o.Reason, o.Next)
		}
		waiting.Wait()
		if _, took := follow(); took < wait {
			t.Errorf("when the others are done, it waits %s", took)
		}
	})
}

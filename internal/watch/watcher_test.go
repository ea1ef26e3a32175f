package watch

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFirstSightIsSilentAndWhatHappensThenIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.github.change("acme/a", 1, func(*PullRequest) {})
		time.Sleep(time.Hour)
		w.start("slack")
		time.Sleep(time.Minute)
		w.github.change("acme/a", 2, func(*PullRequest) {})
		w.github.change("acme/a", 1, func(p *PullRequest) { p.Head.SHA = sha(100) })
		time.Sleep(time.Minute)
		w.github.change("acme/a", 2, mergeIt)
		time.Sleep(time.Minute)
		w.stop()
		if diff := cmp.Diff([]string{"1 synchronize", "2 opened", "2 merged"}, w.told("slack")); diff != "" {
			t.Error(diff)
		}
	})
}

package github

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// A clock is how ferry waits for GitHub. Its own times are divided by a factor, so that hours can be tried in minutes;
// what GitHub says is taken as it is.
type clock struct {
	now    func() time.Time
	sleep  func(context.Context, time.Duration) error
	factor float64 // 1 but for trials
}

func newClock(factor float64) *clock {
	if factor <= 0 {
		factor = 1
	}
	return &clock{now: time.Now, sleep: sleep, factor: factor}
}

// own is one of ferry's own times.
func (c *clock) own(d time.Duration) time.Duration { return time.Duration(float64(d) / c.factor) }

// pause sleeps one of ferry's own times.
func (c *clock) pause(ctx context.Context, d time.Duration) error { return c.sleep(ctx, c.own(d)) }

// upTo is a random part of one of ferry's own times.
func (c *clock) upTo(d time.Duration) time.Duration {
	return time.Duration(rand.Int64N(int64(c.own(d)) + 1))
}

var backoff = []time.Duration{time.Second, 3 * time.Second}

// again repeats a read where its fault may pass.
func (c *clock) again(ctx context.Context, log *slog.Logger, what string, read func() error, passing func(error) bool) error {
	for try := 0; ; try++ {
		err := read()
		if err == nil || ctx.Err() != nil || try == len(backoff) || !passing(err) {
			return err
		}
		log.Debug("read GitHub again", "what", what, "after", c.own(backoff[try]), "error", err)
		if c.pause(ctx, backoff[try]) != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

package helm

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// A shelf keeps charts for a while, up to maxShelf bytes. Those who want the same at the same time share one fetch.
type shelf struct {
	now   func() time.Time
	under singleflight.Group

	mu   sync.Mutex
	kept map[[sha256.Size]byte]item
	size int // of all archives, bytes
}

type item struct {
	found
	until time.Time
}

func newShelf(now func() time.Time) *shelf {
	return &shelf{now: now, kept: map[[sha256.Size]byte]item{}}
}

// get gives what is kept under parts, or what load finds. What is under way goes on when ctx ends, since others may wait
// for it, up to fetchTimeout.
func (s *shelf) get(ctx context.Context, keep time.Duration, load func(context.Context) (found, error), parts ...any) (found, error) {
	at := key(parts...)
	s.mu.Lock()
	one, ok := s.kept[at]
	s.mu.Unlock()
	if ok && s.now().Before(one.until) {
		return one.found, nil
	}
	running := s.under.DoChan(string(at[:]), func() (f any, err error) {
		defer func() {
			if p := recover(); p != nil { // a stranger's bytes; nobody else would catch it here
				f, err = nil, fmt.Errorf("panic: %v", p)
			}
		}()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		one, err := load(ctx)
		if err == nil {
			s.put(at, item{one, s.now().Add(keep)})
		}
		return one, err
	})
	select {
	case result := <-running:
		if result.Err != nil {
			return found{}, result.Err
		}
		return result.Val.(found), nil
	case <-ctx.Done():
		return found{}, ctx.Err()
	}
}

// put keeps an item; those that end first go where there is no room.
func (s *shelf) put(at [sha256.Size]byte, one item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	drop := func(at [sha256.Size]byte) {
		s.size -= len(s.kept[at].archive)
		delete(s.kept, at)
	}
	drop(at)
	s.kept[at], s.size = one, s.size+len(one.archive)
	for key, other := range s.kept {
		if !s.now().Before(other.until) {
			drop(key)
		}
	}
	for s.size > maxShelf {
		first := at
		for key, other := range s.kept {
			if other.until.Before(s.kept[first].until) {
				first = key
			}
		}
		drop(first)
	}
}

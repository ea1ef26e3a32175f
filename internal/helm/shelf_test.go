package helm

import (
	"context"
	"crypto/sha256"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestChartsAreFetchedOnce for all who want them at the same time, and their archives not again while they are kept.
func TestChartsAreFetchedOnce(t *testing.T) {
	s := openShop(t)
	s.publish(t, "web", "1.0.0", packed(t, "web", web))
	var mu sync.Mutex
	asked := map[string]int{}
	handler := s.Config.Handler
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[strings.TrimPrefix(r.URL.Path, "/charts/")]++
		mu.Unlock()
		handler.ServeHTTP(w, r)
	})
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	r := NewRenderer(New(func() time.Time { return now }))
	expand := func() {
		t.Helper()
		got, err := r.Expand(t.Context(), fromHTTP(t, s.HTTP, nil))
		if err != nil || len(got.Objects) != 1 {
			t.Errorf("%v, %v", got.Objects, err)
		}
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(expand)
	}
	wg.Wait()
	expand()
	if diff := cmp.Diff(map[string]int{"index.yaml": 1, "web-1.0.0.tgz": 1}, asked); diff != "" {
		t.Error(diff)
	}
	now = now.Add(resolvedFor)
	expand()
	if diff := cmp.Diff(map[string]int{"index.yaml": 2, "web-1.0.0.tgz": 1}, asked); diff != "" {
		t.Error(diff)
	}
}

// TestShelfIsBounded: what ends first goes first.
func TestShelfIsBounded(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	s := newShelf(func() time.Time { return now })
	names := map[[sha256.Size]byte]string{}
	for i, name := range []string{"b", "c", "a", "d"} {
		names[key(name)] = name
		keep := time.Duration(name[0]) * time.Second
		if _, err := s.get(t.Context(), keep, func(context.Context) (found, error) { return found{archive: make([]byte, maxShelf/3)}, nil }, name); err != nil {
			t.Fatal(i, err)
		}
	}
	var kept []string
	for at := range maps.Keys(s.kept) {
		kept = append(kept, names[at])
	}
	slices.Sort(kept)
	if diff := cmp.Diff([]string{"b", "c", "d"}, kept); diff != "" || s.size != maxShelf/3*3 {
		t.Errorf("%d bytes: %s", s.size, diff)
	}
	now = now.Add('c' * time.Second)
	if _, err := s.get(t.Context(), time.Hour, func(context.Context) (found, error) { return found{}, nil }, "e"); err != nil {
		t.Fatal(err)
	}
	if len(s.kept) != 2 || s.size != maxShelf/3 {
		t.Errorf("%d items, %d bytes", len(s.kept), s.size)
	}
}

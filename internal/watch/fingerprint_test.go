package watch

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestChanged(t *testing.T) {
	day := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	open := fingerprint{Number: 1, State: stateOpen, Head: "1", Base: "main", Labels: []string{"a"}}
	with := func(change func(f *fingerprint)) fingerprint {
		f := open
		change(&f)
		return f
	}
	draft := with(func(f *fingerprint) { f.Draft = true })
	closed := with(func(f *fingerprint) { f.State = stateClosed })
	merged := with(func(f *fingerprint) { f.State = stateMerged })
	for _, test := range []struct {
		name    string
		before  *fingerprint
		now     fingerprint
		created time.Time
		want    []Kind
	}{
		{"nothing", &open, open, day, nil},
		{"new", nil, open, day, []Kind{Opened}},
		{"new and merged already", nil, merged, day, []Kind{Merged}},
		{"new and closed already", nil, closed, day, []Kind{Closed}},
		{"old and open", nil, open, day.Add(-48 * time.Hour), []Kind{Reopened}},
		{"old and closed", nil, closed, day.Add(-48 * time.Hour), nil},
		{"old and merged", nil, merged, day.Add(-48 * time.Hour), nil},
		{"closed", &open, closed, day, []Kind{Closed}},
		{"merged", &open, merged, day, []Kind{Merged}},
		{"reopened", &closed, open, day, []Kind{Reopened}},
		{"reopened and merged", &closed, merged, day, []Kind{Merged}},
		{"pushed", &open, with(func(f *fingerprint) { f.Head = "2" }), day, []Kind{Synchronize}},
		{"ready", &draft, open, day, []Kind{Ready}},
		{"a draft again", &open, draft, day, nil},
		{"labelled", &open, with(func(f *fingerprint) { f.Labels = []string{"a", "b"} }), day, []Kind{Labelled}},
		{"unlabelled", &open, with(func(f *fingerprint) { f.Labels = nil }), day, []Kind{Unlabelled}},
		{"another label", &open, with(func(f *fingerprint) { f.Labels = []string{"b"} }), day, []Kind{Labelled, Unlabelled}},
		{"retargeted", &open, with(func(f *fingerprint) { f.Base = "next" }), day, []Kind{Retargeted}},
		{"pushed and merged", &open, with(func(f *fingerprint) { f.Head, f.State = "2", stateMerged }), day, []Kind{Synchronize, Merged}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, changed(test.before, test.now, test.created, day.Add(-time.Hour))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestChangedTellsTheNetTransition lets random things happen to a pull request, looks now and then, and holds what is told
// against a model that counts: labels by how often they were put on and off, everything else by what it was and is.
func TestChangedTellsTheNetTransition(t *testing.T) {
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 0))
		p := &PullRequest{Number: 1, State: "open", Head: Side{SHA: "0"}, Base: Side{Ref: "main"}}
		before := printOf(p)
		flipped := map[string]bool{}
		was := *p
		for range 60 {
			switch random.IntN(7) {
			case 0:
				p.Head.SHA = fmt.Sprint(random.IntN(4)) // also back to a former one
			case 1:
				p.Base.Ref = []string{"main", "next"}[random.IntN(2)]
			case 2:
				p.Draft = !p.Draft
			case 3, 4:
				l := fmt.Sprint("label", random.IntN(3))
				flipped[l] = !flipped[l]
				if i := slices.Index(p.Labels, l); i >= 0 {
					p.Labels = slices.Delete(slices.Clone(p.Labels), i, i+1)
				} else {
					p.Labels = append(slices.Clone(p.Labels), l)
				}
			case 5:
				if p.Merged.IsZero() {
					p.State = map[string]string{"open": "closed", "closed": "open"}[p.State]
				}
			case 6:
				if p.State == "open" && random.IntN(10) == 0 {
					p.State, p.Merged = "closed", time.Now()
				}
			}
			if random.IntN(3) > 0 {
				continue
			}
			now := printOf(p)
			want := map[Kind]bool{
				Synchronize: p.Head.SHA != was.Head.SHA,
				Retargeted:  p.Base.Ref != was.Base.Ref,
				Ready:       was.Draft && !p.Draft,
				Reopened:    was.State == "closed" && p.State == "open",
				Merged:      was.Merged.IsZero() && !p.Merged.IsZero(),
				Closed:      was.State == "open" && p.State == "closed" && p.Merged.IsZero(),
			}
			for l, odd := range flipped {
				if odd {
					want[Labelled] = want[Labelled] || slices.Contains(p.Labels, l)
					want[Unlabelled] = want[Unlabelled] || !slices.Contains(p.Labels, l)
				}
			}
			got := changed(&before, now, time.Time{}, time.Time{})
			for kind := range map[Kind]bool{Opened: true, Synchronize: true, Retargeted: true, Ready: true, Reopened: true, Merged: true, Closed: true, Labelled: true, Unlabelled: true} {
				if slices.Contains(got, kind) != want[kind] {
					t.Fatalf("seed %d: %s: told %t, happened %t: from %+v to %+v", seed, kind, slices.Contains(got, kind), want[kind], before, now)
				}
			}
			if len(got) > 0 && before.same(now) {
				t.Fatalf("seed %d: %v of what is the same", seed, got)
			}
			before, was = now, *p
			clear(flipped)
		}
	}
}

func TestKeySaysWhatAnEventIsAbout(t *testing.T) {
	p := &PullRequest{Number: 7, Head: Side{SHA: "abc"}, Base: Side{Ref: "main"}, Labels: []string{"b", "a"}}
	same := *p
	same.Labels = []string{"a", "b"}
	for kind, want := range map[Kind]string{
		Opened:     "5#7:opened:abc",
		Labelled:   "5#7:labelled:7e18f737311b", // printf 'a\nb' | sha256sum
		Retargeted: "5#7:retargeted:0d6e4079e367",
	} {
		if got := key(5, p, kind); got != want || got != key(5, &same, kind) {
			t.Errorf("%s: %s", kind, got)
		}
	}
}

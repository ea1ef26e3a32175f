package github

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/watch"
)

// TestWhatATokensChangeCosts polls twice, changes the token, polls twice, and changes the list.
func TestWhatATokensChangeCosts(t *testing.T) {
	for name, want := range map[string][]int{
		"computable":            {200, 304, 304, 304, 200},
		"weak":                  {200, 304, 304, 304, 200},
		"random for each token": {200, 304, 200, 304, 200},
		"of the body alone":     {200, 304, 304, 304, 200},
		"none":                  {200, 200, 200, 200, 200},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				title := "one"
				o := &origin{etag: etags[name], answer: func(w http.ResponseWriter, r *http.Request) { say(200, "["+item(1, title)+"]")(w, r) }}
				key := &turning{value: "first"}
				r := readerOf(t, o, Account{Token: key.token})
				if page := pulls(t, r, "acme/fleet"); len(page.Pulls) != 1 {
					t.Errorf("first: %v", page)
				}
				for i := range 3 {
					if i == 1 {
						key.set("second")
					}
					if page := pulls(t, r, "acme/fleet"); !page.Unchanged {
						t.Errorf("%d: told again: %v", i, page)
					}
				}
				title = "two"
				if page := pulls(t, r, "acme/fleet"); len(page.Pulls) != 1 || page.Pulls[0].Title != "two" {
					t.Errorf("changed: %v", page)
				}
				if diff := cmp.Diff(want, o.seen()); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			})
		})
	}
}

// TestAnEmptyListIsFree even the first time, where the ETag can be computed.
func TestAnEmptyListIsFree(t *testing.T) {
	for name, want := range map[string][]int{"computable": {304, 200, 304}, "random for each token": {200, 200, 304}, "none": {200, 200, 200}} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				o := &origin{etag: etags[name], answer: func(w http.ResponseWriter, r *http.Request) {
					if strings.HasSuffix(r.URL.Path, "/pulls") {
						say(200, "[]")(w, r)
					} else {
						say(200, `{"id": 7, "full_name": "acme/Fleet"}`)(w, r)
					}
				}}
				r := readerOf(t, o, Account{Token: (&turning{value: token}).token})
				if diff := cmp.Diff(watch.Page{Repository: 7, Name: "acme/Fleet"}, pulls(t, r, "acme/fleet")); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				if !pulls(t, r, "acme/fleet").Unchanged {
					t.Error("told again")
				}
				if diff := cmp.Diff(want, o.seen()); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			})
		})
	}
}

// TestBodiesOfTwoAccountsDoNotMix where each sees something else, or one of them nothing.
func TestBodiesOfTwoAccountsDoNotMix(t *testing.T) {
	for name := range etags {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				o := &origin{etag: etags[name], answer: func(w http.ResponseWriter, r *http.Request) {
					switch r.Header.Get("Authorization") {
					case "Bearer blind":
						say(404, message("Not Found"))(w, r)
					default:
						say(200, fmt.Sprintf(`[%s]`, item(1, "for "+r.Header.Get("Authorization"))))(w, r)
					}
				}}
				c := newConditional(newStore(pollCache, nil), newClock(1), slog.New(slog.DiscardHandler))
				clients := []*http.Client{through(c, o, "anna"), through(c, o, "berta"), through(c, o, "blind")}
				var wg sync.WaitGroup
				for range 5 {
					for i, client := range clients {
						wg.Go(func() {
							status, body := get(t, client, "https://api.github.com/repos/acme/fleet/pulls")
							if i == 2 && (status != 404 || strings.Contains(body, "for")) || i < 2 && !strings.Contains(body, []string{"for Bearer anna", "for Bearer berta"}[i]) {
								t.Errorf("account %d got %d %s", i, status, body)
							}
						})
					}
					wg.Wait()
				}
			})
		})
	}
}

package github

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/watch"
)

func TestAPageOfPullRequests(t *testing.T) {
	virtual(t, func(t *testing.T) {
		o := &origin{etag: etags["computable"], answer: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", `<https://api.github.com/repositories/42/pulls?page=2>; rel="next", <https://api.github.com/repositories/42/pulls?page=9>; rel="last"`)
			w.Header().Set("X-Poll-Interval", "60")
			say(200, "["+item(7, "seven")+","+item(6, "six")+"]")(w, r)
		}}
		key := &turning{value: token}
		r := readerOf(t, o, Account{Name: "one", Token: key.token})
		page := pulls(t, r, "acme/fleet")
		raw := string(page.Pulls[0].Raw)
		page.Pulls[0].Raw, page.Pulls[1].Raw = nil, nil
		at := time.Date(2026, 11, 20, 7, 0, 0, 0, time.UTC)
		pr := watch.PullRequest{Repository: "acme/fleet", Number: 7, URL: "https://github.com/acme/fleet/pull/7", Title: "seven", Author: "ada", State: "open",
			Labels: []string{"a", "b"}, Head: watch.Side{Ref: "topic", SHA: sha}, Base: watch.Side{Repository: "acme/fleet", Ref: "main", SHA: other},
			Created: at, Updated: at.Add(time.Hour)}
		second := pr
		second.Number, second.URL, second.Title = 6, "https://github.com/acme/fleet/pull/6", "six"
		want := watch.Page{Repository: 42, Name: "acme/fleet", Interval: time.Minute, Pulls: []watch.PullRequest{pr, second},
			Next: "https://api.github.com/repositories/42/pulls?page=2"}
		if diff := cmp.Diff(want, page); diff != "" || raw != item(7, "seven") {
			t.Errorf("-want +got:\n%s\n%s", diff, raw)
		}
		if diff := cmp.Diff(watch.Page{Unchanged: true, Interval: time.Minute}, pulls(t, r, "acme/fleet")); diff != "" {
			t.Errorf("again: -want +got:\n%s", diff)
		}
		fresh, err := r.Pulls(t.Context(), watch.Request{Repository: "acme/fleet", Fresh: true})
		if err != nil || len(fresh.Pulls) != 2 || fresh.Next != want.Next {
			t.Errorf("asked for all the same: %v, %v", fresh, err)
		}
		if diff := cmp.Diff([]int{200, 304, 304}, o.seen()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

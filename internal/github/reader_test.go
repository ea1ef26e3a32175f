package github

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

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
		if diff := gocmp.Diff(want, page); diff != "" || raw != item(7, "seven") {
			t.Errorf("-want +got:\n%s\n%s", diff, raw)
		}
		if diff := gocmp.Diff(watch.Page{Unchanged: true, Interval: time.Minute}, pulls(t, r, "acme/fleet")); diff != "" {
			t.Errorf("again: -want +got:\n%s", diff)
		}
		fresh, err := r.Pulls(t.Context(), watch.Request{Repository: "acme/fleet", Fresh: true})
		if err != nil || len(fresh.Pulls) != 2 || fresh.Next != want.Next {
			t.Errorf("asked for all the same: %v, %v", fresh, err)
		}
		if diff := gocmp.Diff([]int{200, 304, 304}, o.seen()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// TestARejectedCredential stops polls and is told once, until another token is there or it is time to look again.
func TestARejectedCredential(t *testing.T) {
	virtual(t, func(t *testing.T) {
		o := &origin{answer: func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "Bearer good" {
				say(200, "["+item(1, "one")+"]")(w, r)
				return
			}
			say(401, message("Bad credentials"))(w, r)
		}}
		var log bytes.Buffer
		key := &turning{value: token}
		r, err := newReader(ReaderConfig{Accounts: []Account{{Name: "one", Token: key.token}}}, o, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			if f := faultOf(t, r, fmt.Sprintf("acme/r%d", i)); f.Trouble != watch.Unauthorised || !strings.Contains(f.Reason, "rejects ferry's credential for GitHub (one)") {
				t.Errorf("%+v", f)
			}
		}
		if n, said := len(o.seen()), strings.Count(log.String(), "does not take"); n != 1 || said != 1 || r.Status().Accounts[0].State != Dead {
			t.Errorf("%d requests, %+v, log:\n%s", n, r.Status().Accounts[0], &log)
		}
		time.Sleep(lookAgain)
		for range 2 {
			if f := faultOf(t, r, "acme/fleet"); f.Trouble != watch.Unauthorised {
				t.Errorf("%+v", f)
			}
		}
		if n, said := len(o.seen()), strings.Count(log.String(), "does not take"); n != 1 || said != 1 {
			t.Errorf("%d requests when it is time to look again, told %d times", n, said)
		}
		key.set("good")
		pulls(t, r, "acme/fleet")
		if r.Status().Accounts[0].State != Good || !strings.Contains(log.String(), "takes ferry's credential again") || strings.Contains(log.String(), token) {
			t.Errorf("%+v, log:\n%s", r.Status().Accounts[0], &log)
		}
		time.Sleep(holdToken)
		key.set("old") // until it is read again
		reads := 0
		r.accounts[0].token = func(ctx context.Context) (string, error) {
			if reads++; reads > 1 {
				key.set("good")
			}
			return key.token(ctx)
		}
		pulls(t, r, "acme/another")
		time.Sleep(holdToken)
		key.set("")
		r.accounts[0].token = key.token
		if f := faultOf(t, r, "acme/fleet"); f.Trouble != watch.Unauthorised || !strings.Contains(f.Reason, "empty or malformed") {
			t.Errorf("%+v", f)
		}
	})
}

// TestAnotherCredential is used while the first cannot be, where it is for the owner and sees the repository.
func TestAnotherCredential(t *testing.T) {
	virtual(t, func(t *testing.T) {
		var limited string
		o := &origin{etag: etags["weak"], answer: func(w http.ResponseWriter, r *http.Request) {
			who := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
			switch {
			case who == limited:
				say(403, message("You have exceeded a secondary rate limit."), "Retry-After", "120")(w, r)
			case strings.Contains(r.URL.Path, "secret") && who != "acme":
				say(404, message("Not Found"))(w, r)
			default:
				say(200, "["+item(1, "one")+"]")(w, r)
			}
		}}
		account := func(name string, owners ...string) Account {
			return Account{Name: name, Owners: owners, Token: (&turning{value: name}).token}
		}
		r := readerOf(t, o, account("all"), account("other", "Other"), account("acme", "acme"))
		who := func(want ...string) {
			t.Helper()
			var got []string
			for _, e := range o.log {
				got = append(got, strings.TrimPrefix(e.auth, "Bearer "))
			}
			o.seen()
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}
		pulls(t, r, "ACME/fleet")
		pulls(t, r, "other/x")
		pulls(t, r, "third/x")
		who("acme", "other", "all")

		limited = "acme"
		if f := faultOf(t, r, "acme/fleet"); f.Trouble != watch.Limited {
			t.Errorf("%+v", f)
		}
		pulls(t, r, "acme/fleet")
		pulls(t, r, "acme/other")
		for range 2 { // what "all" does not see is not gone
			if f := faultOf(t, r, "acme/secret"); f.Trouble != watch.Limited {
				t.Errorf("%+v", f)
			}
		}
		who("acme", "all", "all", "all")
		time.Sleep(2 * time.Minute)
		limited = ""
		pulls(t, r, "acme/secret")
		pulls(t, r, "acme/fleet")
		who("acme", "acme")
		only := readerOf(t, o, account("acme", "acme"))
		if f := faultOf(t, only, "other/x"); f.Trouble != watch.Forbidden || !strings.Contains(f.Reason, "no credential for the repositories of other") {
			t.Errorf("%+v", f)
		}
	})
}

// TestARenamedRepository costs one point in an hour to find, and its number stays.
func TestARenamedRepository(t *testing.T) {
	virtual(t, func(t *testing.T) {
		o := &origin{etag: etags["weak"], answer: func(w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasPrefix(r.URL.Path, "/repos/acme/old/pulls"):
				say(301, message("Moved Permanently"), "Location", strings.Replace("https://api.github.com"+r.URL.RequestURI(), "/repos/acme/old", "/repositories/42", 1))(w, r)
			case r.URL.Path == "/repositories/42/pulls" && r.URL.Query().Get("state") == "all":
				say(200, "["+item(1, "one")+"]")(w, r)
			case r.URL.Path == "/repositories/42/pulls/1/files":
				say(200, `[{"filename": "a"}]`)(w, r)
			default:
				say(404, message("Not Found"))(w, r)
			}
		}}
		r := readerOf(t, o, Account{Token: (&turning{value: token}).token})
		if page := pulls(t, r, "acme/old"); page.Repository != 42 || page.Name != "acme/fleet" {
			t.Errorf("%+v", page)
		}
		pulls(t, r, "acme/old")
		if _, _, err := r.Files(t.Context(), "acme/old", 1); err != nil {
			t.Error(err)
		}
		time.Sleep(keepMoved)
		pulls(t, r, "acme/old")
		if diff := gocmp.Diff([]int{301, 200, 304, 200, 301, 304}, o.seen()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// TestOtherHosts are never asked, whoever names them.
func TestOtherHosts(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"redirect":             say(301, "", "Location", "https://evil.example/repos/acme/fleet/pulls"),
		"temporary redirect":   say(307, "", "Location", "//evil.example/x"),
		"without encryption":   say(301, "", "Location", "http://api.github.com/x"),
		"nowhere":              say(302, ""),
		"next page":            say(200, "["+item(1, "one")+"]", "Link", `<https://evil.example/x?page=2>; rel="next"`),
		"next page, by a user": say(200, "["+item(1, "one")+"]", "Link", `<https://api.github.com@evil.example/x>; rel="next"`),
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				o := &origin{answer: answer}
				r := readerOf(t, o, Account{Token: (&turning{value: token}).token})
				if f := faultOf(t, r, "acme/fleet"); f.Trouble != watch.Failing || !strings.Contains(f.Reason, "another host") {
					t.Errorf("%+v", f)
				}
				if n := len(o.seen()); n != 1 {
					t.Errorf("%d requests", n)
				}
			})
		})
	}
	virtual(t, func(t *testing.T) {
		o := &origin{answer: say(301, "", "Location", "https://api.github.com/circle")}
		r := readerOf(t, o, Account{Token: (&turning{value: token}).token})
		for _, next := range []string{"https://evil.example/x", "https://api.github.com.evil.example/", "file:///etc/passwd", "https://u:p@api.github.com/"} {
			_, err := r.Pulls(t.Context(), watch.Request{Repository: "acme/fleet", Next: next})
			if f, ok := errors.AsType[*watch.Fault](err); !ok || f.Trouble != watch.Failing {
				t.Errorf("%s: %v", next, err)
			}
		}
		if n := len(o.seen()); n != 0 {
			t.Errorf("%d requests", n)
		}
		if f := faultOf(t, r, "acme/fleet"); f.Trouble != watch.Failing || len(o.seen()) > 10 {
			t.Errorf("in circles: %+v", f)
		}
	})
}

// TestTroubles: each has its kind and a sentence.
func TestTroubles(t *testing.T) {
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		kind   watch.Trouble
		says   string
	}{
		"gone":            {say(404, message("Not Found")), watch.Gone, "acme/fleet is not there"},
		"deleted":         {say(410, message("Gone")), watch.Gone, "acme/fleet is not there"},
		"permission":      {say(403, message("Resource not accessible by integration"), "X-Accepted-GitHub-Permissions", "pull_requests=read"), watch.Forbidden, "pull_requests=read"},
		"single sign-on":  {say(403, message("SAML"), "X-GitHub-SSO", "required"), watch.Forbidden, "single sign-on"},
		"blocked":         {say(451, message("Repository access blocked")), watch.Forbidden, "legal"},
		"fault":           {say(502, "<html>"), watch.Failing, "(502)"},
		"maintenance":     {say(503, "", "Retry-After", "600"), watch.Failing, "(503)"},
		"validation":      {say(422, message("Validation Failed")), watch.Failing, "Validation Failed."},
		"no JSON":         {say(200, "<html>"), watch.Failing, "broken"},
		"an object":       {say(200, `{"a": 1}`), watch.Failing, "broken"},
		"null":            {say(200, `[null]`), watch.Failing, "broken"},
		"without its own": {say(200, `[{"number": 1, "base": {}}]`), watch.Failing, "broken"},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				o := &origin{etag: etags["weak"], answer: test.answer}
				r := readerOf(t, o, Account{Token: (&turning{value: token}).token})
				f := faultOf(t, r, "acme/fleet")
				if f.Trouble != test.kind || !strings.Contains(f.Reason, test.says) {
					t.Errorf("%s: %s", f.Trouble, f.Reason)
				}
				if wait := time.Until(f.Until); (name == "maintenance") != (wait == 10*time.Minute) {
					t.Errorf("until %s", f.Until)
				}
				// Once it works again it is read, whatever was kept.
				o.answer = say(200, "["+item(1, "one")+"]")
				if page := pulls(t, r, "acme/fleet"); len(page.Pulls) != 1 {
					t.Errorf("afterwards: %+v", page)
				}
			})
		})
	}
	virtual(t, func(t *testing.T) {
		r := readerOf(t, &origin{answer: say(500, "")}, Account{Token: (&turning{value: token}).token})
		for _, name := range []string{"", "acme", "acme/fleet/x", "../x", "acme/..", "acme/a?b"} {
			if f := faultOf(t, r, name); f.Trouble != watch.Gone {
				t.Errorf("%+v", f)
			}
		}
		if n := r.Status().Accounts[0].Counts; n != (Counts{}) {
			t.Errorf("asked: %+v", n)
		}
	})
}

// TestFiles reads all pages and both names, up to GitHub's own bound.
func TestFiles(t *testing.T) {
	virtual(t, func(t *testing.T) {
		count := 250
		o := &origin{etag: etags["weak"], answer: func(w http.ResponseWriter, r *http.Request) {
			page, _ := strconv.Atoi(cmp.Or(r.URL.Query().Get("page"), "1"))
			var files []string
			for i := (page - 1) * 100; i < min(page*100, count, maxFiles); i++ {
				files = append(files, fmt.Sprintf(`{"filename": "f%d", "status": "renamed", "previous_filename": "g%[1]d", "patch": "@@"}`, i))
			}
			if page*100 < min(count, maxFiles) {
				w.Header().Set("Link", fmt.Sprintf(`<https://api.github.com/repositories/42/pulls/7/files?per_page=100&page=1>; rel="prev", <https://api.github.com/repositories/42/pulls/7/files?per_page=100&page=%d>; rel="next"`, page+1))
			}
			say(200, "["+strings.Join(files, ",")+"]")(w, r)
		}}
		r := readerOf(t, o, Account{Token: (&turning{value: token}).token})
		files, all, err := r.Files(t.Context(), "acme/fleet", 7)
		if err != nil || !all || len(files) != 250 || files[249] != (watch.File{Name: "f249", Previous: "g249"}) {
			t.Errorf("%d, all: %v, %v", len(files), all, err)
		}
		if entries, _, _ := r.cache.store.size(); entries != 0 {
			t.Errorf("%d pages of files are kept", entries)
		}
		count = 5000
		files, all, err = r.Files(t.Context(), "acme/fleet", 7)
		if err != nil || all || len(files) != maxFiles {
			t.Errorf("%d, all: %v, %v", len(files), all, err)
		}
		count = 0
		files, all, err = r.Files(t.Context(), "acme/fleet", 7)
		if err != nil || !all || len(files) != 0 {
			t.Errorf("%d, all: %v, %v", len(files), all, err)
		}
		for _, body := range []string{`{"message": "x"}`, `[{"filename": "a"}`, `[{"filename": 1}]`, ``, `[`} {
			o.answer = say(200, body)
			if files, _, err := r.Files(t.Context(), "acme/fleet", 7); err == nil {
				t.Errorf("%s: %v", body, files)
			} else if f, ok := errors.AsType[*watch.Fault](err); !ok || f.Trouble != watch.Failing {
				t.Errorf("%s: %v", body, err)
			}
		}
	})
}

func TestDiverged(t *testing.T) {
	for answer, want := range map[string]bool{"diverged": true, "behind": true, "ahead": false, "identical": false} {
		virtual(t, func(t *testing.T) {
			o := &origin{answer: say(200, fmt.Sprintf(`{"status": %q}`, answer))}
			r := readerOf(t, o, Account{Token: (&turning{value: token}).token})
			if got, err := r.Diverged(t.Context(), "acme/fleet", sha, other); err != nil || got != want {
				t.Errorf("%s: %v, %v", answer, got, err)
			}
			if want := "/repos/acme/fleet/compare/" + sha + "..." + other + "?per_page=1"; o.log[0].path != want {
				t.Errorf("asked %s", o.log[0].path)
			}
			o.answer = say(404, message("No common ancestor between a and b."))
			if got, err := r.Diverged(t.Context(), "acme/fleet", sha, other); err != nil || !got {
				t.Errorf("%v, %v", got, err)
			}
			if _, err := r.Diverged(t.Context(), "acme/fleet", "main", other); err == nil {
				t.Error("a branch")
			}
		})
	}
}

// TestAFaultThatPasses is not told.
func TestAFaultThatPasses(t *testing.T) {
	virtual(t, func(t *testing.T) {
		tries := 0
		o := &origin{answer: func(w http.ResponseWriter, r *http.Request) {
			if tries++; tries%3 != 0 {
				say(502, "")(w, r)
				return
			}
			say(200, "["+item(1, "one")+"]")(w, r)
		}}
		r := readerOf(t, o, Account{Token: (&turning{value: token}).token})
		pulls(t, r, "acme/fleet")
		o.answer = say(502, "")
		o.seen()
		for range 2 * concurrent {
			if f := faultOf(t, r, "acme/fleet"); f.Trouble != watch.Failing {
				t.Errorf("%+v", f)
			}
		}
		if n := len(o.seen()); n > 2*concurrent+16 {
			t.Errorf("%d requests where GitHub answers nobody", n)
		}
	})
}

// TestTheFactor divides ferry's own times, and leaves what GitHub says.
func TestTheFactor(t *testing.T) {
	virtual(t, func(t *testing.T) {
		o := &origin{answer: say(429, message("slow"))}
		r, err := newReader(ReaderConfig{Factor: 60, Accounts: []Account{{Token: (&turning{value: token}).token}}}, o, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if f := faultOf(t, r, "acme/fleet"); time.Until(f.Until) != time.Second {
			t.Errorf("until in %s", time.Until(f.Until))
		}
		time.Sleep(time.Second)
		o.answer = say(429, message("slow"), "Retry-After", "60")
		if f := faultOf(t, r, "acme/fleet"); time.Until(f.Until) != time.Minute {
			t.Errorf("until in %s", time.Until(f.Until))
		}
	})
}

// TestNothingShowsAToken: not the log, no error, no status, and no file.
func TestNothingShowsAToken(t *testing.T) {
	virtual(t, func(t *testing.T) {
		folder := t.TempDir()
		var told bytes.Buffer
		log := slog.New(slog.NewJSONHandler(&told, &slog.HandlerOptions{Level: slog.LevelDebug}))
		o := &origin{etag: etags["computable"]}
		for i, answer := range []http.HandlerFunc{
			say(200, "["+item(1, "one")+"]"), say(200, "[]"), say(200, "nothing"), say(301, "", "Location", "https://evil.example/"), say(302, ""),
			say(401, message("Bad credentials")), say(403, message("no")), say(403, message("no"), "Retry-After", "1"), say(404, message("no")),
			say(429, message("no")), say(500, ""), say(503, "", "Retry-After", "1"),
		} {
			key := &turning{value: token}
			r, err := newReader(ReaderConfig{Disk: diskOf(t, folder), Accounts: []Account{{Name: "one", Token: key.token}, {Name: "two", Token: key.token}}}, o, log)
			if err != nil {
				t.Fatal(err)
			}
			o.answer = answer
			repository := fmt.Sprintf("acme/r%d", i)
			_, first := r.Pulls(t.Context(), watch.Request{Repository: repository})
			_, _, second := r.Files(t.Context(), repository, 1)
			_, third := r.Diverged(t.Context(), repository, sha, other)
			key.set("canary-token-1234\n with a second line")
			_, fourth := r.Pulls(t.Context(), watch.Request{Repository: repository, Fresh: true})
			for _, err := range []error{first, second, third, fourth} {
				log.Error("fault", "error", err)
				for ; err != nil; err = errors.Unwrap(err) {
					fmt.Fprintf(&told, "%v %+v %#v\n", err, err, err.Error())
				}
			}
			fmt.Fprintf(&told, "%+v\n", r.Status())
		}
		files, err := filepath.Glob(filepath.Join(folder, "*", "*"))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			told.Write(content)
		}
		if i := bytes.Index(told.Bytes(), []byte("canary")); i >= 0 {
			t.Errorf("shown: %s", told.Bytes()[max(0, i-500):i+20])
		}
	})
}

// TestATokenIsNotAskedForByEachPoll: it may be in a Secret, which is a request to the cluster.
func TestATokenIsNotAskedForByEachPoll(t *testing.T) {
	virtual(t, func(t *testing.T) {
		asked, key := 0, &turning{value: token}
		o := &origin{answer: func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "Bearer revoked" {
				say(401, message("Bad credentials"))(w, r)
				return
			}
			say(200, "["+item(1, "one")+"]")(w, r)
		}}
		r := readerOf(t, o, Account{Token: func(ctx context.Context) (string, error) {
			asked++
			return key.token(ctx)
		}})
		for range 10 {
			pulls(t, r, "acme/fleet")
		}
		if asked != 1 {
			t.Errorf("asked %d times for 10 polls", asked)
		}
		r.accounts[0].held.value = "revoked" // and replaced where it is kept
		pulls(t, r, "acme/fleet")
		if after := o.seen()[10:]; !slices.Equal(after, []int{401, 200}) || asked != 2 {
			t.Errorf("asked %d times, answers %v", asked, after)
		}
	})
}

// TestMoreFilesThanGitHubLists are not kept, however many an answer has.
func TestMoreFilesThanGitHubLists(t *testing.T) {
	virtual(t, func(t *testing.T) {
		o := &origin{answer: say(200, "[{}"+strings.Repeat(`,{"filename":"f"}`, 10*maxFiles)+"]")}
		files, all, err := readerOf(t, o, Account{Token: (&turning{value: token}).token}).Files(t.Context(), "acme/fleet", 7)
		if len(files) != maxFiles || all || err != nil {
			t.Errorf("%d files, all %v, %v", len(files), all, err)
		}
	})
}

// TestLongHeadersAreRefused, since some of them are kept.
func TestLongHeadersAreRefused(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"`+strings.Repeat("e", 2*maxHeader)+`"`)
		_, _ = w.Write([]byte("[]"))
	}))
	defer server.Close()
	resp, err := (&http.Client{Transport: network()}).Get(server.URL)
	if err == nil {
		_ = resp.Body.Close()
		t.Error("the header was read")
	}
}

// TestLongDescriptionsKeepNobodyFromLooking: a page of what strangers have written as much about as they may is below the bound.
func TestLongDescriptionsKeepNobodyFromLooking(t *testing.T) {
	long := `{"body": "` + strings.Repeat(`\u2028`, 65536) + `", ` + item(1, "one")[1:]
	for _, open := range []bool{false, true} {
		o := &origin{answer: func(w http.ResponseWriter, r *http.Request) {
			size, err := strconv.Atoi(r.URL.Query().Get("per_page"))
			if err != nil {
				t.Error(err)
			}
			say(200, "["+strings.Repeat(long+",", size-1)+long+"]")(w, r)
		}}
		r, err := newReader(ReaderConfig{Accounts: []Account{{Token: (&turning{value: token}).token}}}, bounded{o}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if page, err := r.Pulls(t.Context(), watch.Request{Repository: "acme/fleet", Open: open}); err != nil || len(page.Pulls) < 10 {
			t.Errorf("open %t: %d pull requests, %v", open, len(page.Pulls), err)
		}
	}
}

package github

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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
						time.Sleep(holdToken)
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
				c := newConditional(newStore(pollCache, pollCache, nil), newClock(1), slog.New(slog.DiscardHandler))
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

// TestOnlyWholeAnswersAreKept: the next request for another one is without a condition.
func TestOnlyWholeAnswersAreKept(t *testing.T) {
	page := "[" + item(1, "one") + "]"
	half := page[:len(page)/2]
	hijack := func(w http.ResponseWriter, header, body string) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Type: application/json\r\n%s\r\n%s", header, body)
	}
	for name, test := range map[string]struct {
		answer func(w http.ResponseWriter)
		kept   bool
	}{
		"with its length": {func(w http.ResponseWriter) { hijack(w, fmt.Sprintf("Content-Length: %d\r\n", len(page)), page) }, true},
		"in chunks": {func(w http.ResponseWriter) {
			hijack(w, "Transfer-Encoding: chunked\r\n", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(page), page))
		}, true},
		"packed":             {func(w http.ResponseWriter) { hijack(w, "Content-Encoding: gzip\r\n", gzipped(page)) }, true},
		"to the end":         {func(w http.ResponseWriter) { hijack(w, "Connection: close\r\n", page) }, false},
		"half of its length": {func(w http.ResponseWriter) { hijack(w, fmt.Sprintf("Content-Length: %d\r\n", len(page)), half) }, false},
		"half in chunks": {func(w http.ResponseWriter) {
			hijack(w, "Transfer-Encoding: chunked\r\n", fmt.Sprintf("%x\r\n%s\r\n", len(half), half))
		}, false},
		"half, as if whole": {func(w http.ResponseWriter) {
			hijack(w, "Transfer-Encoding: chunked\r\n", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(half), half))
		}, false},
		"packed, but for its end": {func(w http.ResponseWriter) {
			all := gzipped(page)
			hijack(w, "Content-Encoding: gzip\r\nConnection: close\r\n", all[:len(all)-4])
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var asked []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.Header.Get("If-None-Match"))
				test.answer(w)
			}))
			t.Cleanup(server.Close)
			r, err := NewReader(ReaderConfig{BaseURL: server.URL, Factor: 1e6, Accounts: []Account{{Token: (&turning{value: token}).token}}}, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			r.cache.guard.off = true // no guess of an empty list
			for range 2 {
				got, err := r.Pulls(t.Context(), watch.Request{Repository: "acme/fleet"})
				fault, ok := errors.AsType[*watch.Fault](err)
				if whole := test.kept || name == "to the end"; whole != (err == nil) || err != nil && (!ok || fault.Trouble != watch.Failing) {
					t.Fatalf("%+v, %v", got, err)
				}
			}
			want := []string{"", ""}
			if test.kept {
				want[1] = `"e"`
			} else if name != "to the end" { // tried three times
				want = []string{"", "", "", "", "", ""}
			}
			if diff := cmp.Diff(want, asked); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func gzipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text)) // to memory
	_ = w.Close()
	return b.String()
}

// TestNothingHasChangedOfNothing: GitHub says so without having been asked, or of what is lost here.
func TestNothingHasChangedOfNothing(t *testing.T) {
	virtual(t, func(t *testing.T) {
		always := false
		o := &origin{etag: etags["random for each token"], answer: func(w http.ResponseWriter, r *http.Request) {
			if always {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			say(200, `{"a": 1}`)(w, r)
		}}
		c := newConditional(newStore(pollCache, pollCache, nil), newClock(1), slog.New(slog.DiscardHandler))
		client := through(c, o, token)
		get(t, client, "https://api.github.com/x")
		for _, at := range c.store.entries {
			at.entry.packed = []byte("spoilt")
		}
		if status, body := get(t, client, "https://api.github.com/x"); status != 200 || body != `{"a": 1}` {
			t.Errorf("%d %s", status, body)
		}
		if diff := cmp.Diff([]int{200, 304, 200}, o.seen()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		always = true
		c.guard.off = true
		if resp, err := through(c, o, "stranger").Get("https://api.github.com/x"); err == nil {
			resp.Body.Close()
			t.Errorf("another account got %s", resp.Status)
		}
		o.seen()
		if resp, err := client.Get("https://api.github.com/y"); err == nil {
			resp.Body.Close()
			t.Errorf("got %s", resp.Status)
		}
		if n := len(o.seen()); n != 2 {
			t.Errorf("%d requests", n)
		}
	})
}

// TestOthersSeeAnOrdinaryAnswer with the header of the answer that confirmed it.
func TestOthersSeeAnOrdinaryAnswer(t *testing.T) {
	virtual(t, func(t *testing.T) {
		remaining := 10
		o := &origin{etag: etags["weak"], answer: func(w http.ResponseWriter, r *http.Request) {
			remaining--
			w.Header().Set("X-RateLimit-Remaining", fmt.Sprint(remaining))
			if r.Header.Get("If-None-Match") == "" {
				w.Header().Set("Link", `<https://api.github.com/x?page=2>; rel="next"`)
			}
			say(200, `[1, 2]`)(w, r)
		}}
		c := newConditional(newStore(pollCache, pollCache, nil), newClock(1), slog.New(slog.DiscardHandler))
		client := through(c, o, token)
		for left := 9; left > 6; left-- {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.github.com/x", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("If-None-Match", "*") // not ours
			req.Header.Set("If-Modified-Since", "Fri, 20 Nov 2026 07:00:00 GMT")
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != 200 || resp.Status != "200 OK" || string(raw) != "[1, 2]" || resp.ContentLength != 6 ||
				resp.Header.Get("X-RateLimit-Remaining") != fmt.Sprint(left) || resp.Header.Get("Link") == "" || resp.Header.Get("Content-Type") == "" {
				t.Errorf("%s %v %q %v", resp.Status, resp.Header, raw, err)
			}
		}
		if diff := cmp.Diff([]int{200, 304, 304}, o.seen()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// TestDifferentRequestsAreKeptApart: by query, by Accept, line by line, and by the version of the API.
func TestDifferentRequestsAreKeptApart(t *testing.T) {
	seen := map[digest]string{}
	for _, request := range []struct {
		url     string
		accept  []string
		version string
	}{
		{"https://api.github.com/x", nil, ""}, {"https://api.github.com/x?a=1", nil, ""}, {"https://api.github.com/x", []string{"a"}, ""},
		{"https://api.github.com/x", []string{"a", "b"}, ""}, {"https://api.github.com/x", []string{"ab"}, ""}, {"https://api.github.com/x", []string{"a"}, "b"},
		{"https://api.github.com/x", nil, "a"}, {"https://ghe.example/x", nil, ""},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, request.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header["Accept"] = request.accept
		if request.version != "" {
			req.Header.Set("X-GitHub-Api-Version", request.version)
		}
		name := fmt.Sprint(request)
		if before, ok := seen[keyOf(req)]; ok {
			t.Errorf("%s is kept as %s", name, before)
		}
		seen[keyOf(req)] = name
	}
}

// TestPollsForTheSameAtTheSameTimeAreOneRequest, unless whoever asked went away. A command asks by itself.
func TestPollsForTheSameAtTheSameTimeAreOneRequest(t *testing.T) {
	virtual(t, func(t *testing.T) {
		o := &origin{etag: etags["weak"], delay: time.Second, answer: say(200, `[1]`)}
		c := newConditional(newStore(pollCache, pollCache, nil), newClock(1), slog.New(slog.DiscardHandler))
		client, stranger := through(c, o, token), through(c, o, "another")
		var wg sync.WaitGroup
		poll := func(ctx context.Context, client *http.Client, fails bool) {
			wg.Go(func() {
				req, err := http.NewRequestWithContext(with(ctx, manner{poll: true}), http.MethodGet, "https://api.github.com/x", nil)
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := client.Do(req)
				if (err != nil) != fails {
					t.Errorf("failed: %v", err)
				}
				if err == nil {
					resp.Body.Close()
				}
			})
		}
		for range 10 {
			poll(t.Context(), client, false)
		}
		poll(t.Context(), stranger, false)
		wg.Wait()
		if n := len(o.seen()); n != 2 {
			t.Errorf("%d requests of two accounts", n)
		}

		for range 3 {
			wg.Go(func() {
				if status, body := get(t, client, "https://api.github.com/x"); status != 200 || body != "[1]" {
					t.Errorf("%d %s", status, body)
				}
			})
		}
		wg.Wait()
		if n := len(o.seen()); n != 3 {
			t.Errorf("%d requests of three commands", n)
		}

		first, cancel := context.WithCancel(t.Context())
		poll(first, client, true)
		synctest.Wait()
		poll(t.Context(), client, false)
		poll(t.Context(), client, false)
		synctest.Wait()
		cancel()
		wg.Wait()
		if n := len(o.seen()); n != 1 {
			t.Errorf("%d requests after the first was cancelled", n)
		}
	})
}

// TestAlgorithmThatChanges is noticed, and noticed when it is the old one again.
func TestAlgorithmThatChanges(t *testing.T) {
	virtual(t, func(t *testing.T) {
		number := 0
		o := &origin{etag: etags["computable"], answer: func(w http.ResponseWriter, r *http.Request) { say(200, fmt.Sprintf("[%d]", number))(w, r) }}
		c := newConditional(newStore(pollCache, pollCache, nil), newClock(1), slog.New(slog.DiscardHandler))
		client := through(c, o, token)
		changed := func() {
			number++
			get(t, client, "https://api.github.com/x")
		}
		computing := func(want bool) {
			t.Helper()
			if may, _ := c.guard.may(); may != want {
				t.Errorf("computing: %v, after %d", may, number)
			}
		}
		changed()
		computing(true)
		o.etag = etags["random for each token"]
		for range 49 {
			changed() // not looked at
		}
		computing(true)
		changed()
		changed()
		computing(true)
		changed()
		computing(false)
		o.etag = etags["weak"]
		time.Sleep(23 * time.Hour)
		changed()
		computing(false)
		time.Sleep(2 * time.Hour)
		changed()
		computing(true)
	})
}

func TestMemoryIsBounded(t *testing.T) {
	virtual(t, func(t *testing.T) {
		o := &origin{etag: etags["random for each token"], answer: func(w http.ResponseWriter, r *http.Request) {
			say(200, fmt.Sprintf("%q", hexSum([]byte(r.URL.Path))))(w, r)
		}}
		const limit = 50_000
		c := newConditional(newStore(limit, limit, nil), newClock(1), slog.New(slog.DiscardHandler))
		client := through(c, o, token)
		for i := range 200 {
			get(t, client, "https://api.github.com/"+fmt.Sprint(i))
			get(t, client, "https://api.github.com/0")
		}
		if entries, memory, _ := c.store.size(); memory > limit || entries < 20 || entries > limit/overhead {
			t.Errorf("%d entries with %d bytes", entries, memory)
		}
		o.seen()
		get(t, client, "https://api.github.com/0")
		get(t, client, "https://api.github.com/1")
		if diff := cmp.Diff([]int{304, 200}, o.seen()); diff != "" {
			t.Errorf("the latest stays, the oldest goes: -want +got:\n%s", diff)
		}
	})
}

// TestHeadersCountToo: a server that is none of GitHub's may send long ones.
func TestHeadersCountToo(t *testing.T) {
	virtual(t, func(t *testing.T) {
		long := strings.Repeat("x", 10_000)
		o := &origin{etag: func(r *http.Request, _ []byte) (string, string) { return `"` + long + r.URL.Path + `"`, "Accept" }, answer: say(200, "[]")}
		const limit = 100_000
		c := newConditional(newStore(limit, limit, nil), newClock(1), slog.New(slog.DiscardHandler))
		client := through(c, o, token)
		for i := range 100 {
			get(t, client, "https://api.github.com/"+fmt.Sprint(i))
		}
		if entries, memory, _ := c.store.size(); memory > limit || entries > 10 || entries < 5 {
			t.Errorf("%d entries with %d bytes", entries, memory)
		}
	})
}

// TestBodiesGoFirst: without room for them, polls are as cheap as ever until the token changes.
func TestBodiesGoFirst(t *testing.T) {
	virtual(t, func(t *testing.T) {
		o := &origin{etag: etags["computable"], answer: func(w http.ResponseWriter, r *http.Request) {
			say(200, "["+item(1, strings.Repeat(hexSum([]byte(r.URL.Path)), 50))+"]")(w, r)
		}}
		key := &turning{value: token}
		r := readerOf(t, o, Account{Token: key.token})
		const repositories = 50
		r.cache.store.limit = repositories * (overhead + 200)
		count := func() (full int) {
			for i := range repositories {
				pulls(t, r, fmt.Sprintf("acme/r%d", i))
			}
			for _, status := range o.seen() {
				if status == 200 {
					full++
				}
			}
			return full
		}
		if n := count(); n != repositories {
			t.Errorf("%d full answers at first", n)
		}
		if n := count(); n != 0 {
			t.Errorf("%d full answers though nothing has changed", n)
		}
		if entries, memory, _ := r.cache.store.size(); entries != repositories || memory > r.cache.store.limit || r.cache.store.bodies.Len() == 0 {
			t.Errorf("%d entries with %d bytes, %d bodies", entries, memory, r.cache.store.bodies.Len())
		}
		key.set("another")
		time.Sleep(holdToken)
		if n := count(); n == 0 {
			t.Error("another token costs nothing, without bodies")
		}
		if n := count(); n != 0 {
			t.Errorf("%d full answers though nothing has changed since", n)
		}
	})
}

func diskOf(t testing.TB, folder string) *Disk {
	t.Helper()
	d, err := OpenDisk(folder)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestAnswersOutliveTheProcess, but for those that are spoilt.
func TestAnswersOutliveTheProcess(t *testing.T) {
	virtual(t, func(t *testing.T) {
		folder := filepath.Join(t.TempDir(), "not", "there", "yet")
		o := &origin{etag: etags["computable"], answer: func(w http.ResponseWriter, r *http.Request) {
			say(200, "["+item(1, r.URL.Path)+"]")(w, r)
		}}
		start := func(value string) *Reader {
			r, err := newReader(ReaderConfig{Disk: diskOf(t, folder), Accounts: []Account{{Token: (&turning{value: value}).token}}}, o, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		look := func(r *Reader, want ...int) {
			t.Helper()
			for _, name := range []string{"acme/a", "acme/b", "acme/c"} {
				if page := pulls(t, r, name); len(page.Pulls) != 1 || page.Pulls[0].Title != "/repos/"+name+"/pulls" {
					t.Errorf("%s: %+v", name, page)
				}
			}
			if diff := cmp.Diff(want, o.seen()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}
		first := start("one")
		look(first, 200, 200, 200)
		if _, memory, files := first.cache.store.size(); memory > 4*overhead || files == 0 {
			t.Errorf("%d bytes in memory, %d on disk", memory, files)
		}
		look(start("one"), 304, 304, 304)
		look(start("two"), 304, 304, 304)
		look(start("two"), 304, 304, 304)

		files, err := filepath.Glob(filepath.Join(folder, diskName, "*"))
		if err != nil || len(files) != 3 {
			t.Fatal(files, err)
		}
		for i, spoil := range []func([]byte) []byte{
			func(b []byte) []byte { return b[:len(b)/2] },
			func(b []byte) []byte { b[len(b)-9]++; return b },
			func([]byte) []byte { return nil },
		} {
			about, err := os.Stat(files[i])
			if err != nil || about.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v", about, err)
			}
			content, err := os.ReadFile(files[i])
			if err != nil || bytes.Contains(content, []byte("two")) {
				t.Errorf("%s, %v", content, err)
			}
			if err := os.WriteFile(files[i], spoil(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(files[0]+".PART", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		look(start("two"), 200, 200, 200)
		if left, err := filepath.Glob(filepath.Join(folder, diskName, "*.PART")); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	})
}

func TestDiskIsBounded(t *testing.T) {
	folder := t.TempDir()
	d := diskOf(t, folder)
	d.limit = 4000
	s := newStore(pollCache, pollCache, d)
	keep := func(s *store, from, to int) {
		for i := from; i < to; i++ {
			raw := []byte(rand.Text())
			s.keep(sha256.Sum256([]byte{byte(i)}), entry{etag: `"e"`, sum: sha256.Sum256(raw)}, raw, true)
		}
	}
	size := func() (n int64) {
		files, err := os.ReadDir(filepath.Join(folder, diskName))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			about, err := f.Info()
			if err != nil {
				t.Fatal(err)
			}
			n += about.Size()
		}
		return n
	}
	keep(s, 0, 50)
	if n := size(); n > 4000 || n < 2000 {
		t.Errorf("%d bytes", n)
	}
	again := newStore(pollCache, pollCache, d)
	if e := again.find(sha256.Sum256([]byte{49})); e == nil {
		t.Error("the newest is not there any more")
	} else if _, err := again.body(e); err != nil {
		t.Error(err)
	}
	keep(again, 50, 60)
	if n := size(); n > 4000 {
		t.Errorf("%d bytes", n)
	}
}

// TestOldAnswersGo when a folder is opened: nobody may ask for them any more.
func TestOldAnswersGo(t *testing.T) {
	folder := t.TempDir()
	for i, age := range []time.Duration{time.Hour, diskAge + time.Hour} {
		s := newStore(pollCache, pollCache, diskOf(t, folder))
		key := sha256.Sum256([]byte{byte(i)})
		s.keep(key, entry{etag: `"e"`}, []byte("one"), true)
		when := time.Now().Add(-age)
		if err := os.Chtimes(filepath.Join(folder, diskName, fileName(key)), when, when); err != nil {
			t.Fatal(err)
		}
	}
	if files := diskOf(t, folder).list(); len(files) != 1 || files[0].key != sha256.Sum256([]byte{0}) {
		t.Errorf("%v", files)
	}
}

// TestAFolderThatIsOpenToOthers is not used: what is in it counts as GitHub's word.
func TestAFolderThatIsOpenToOthers(t *testing.T) {
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, diskName), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(folder, diskName), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDisk(folder); err == nil {
		t.Error("open to all")
	}
	elsewhere := t.TempDir()
	if err := os.Symlink(t.TempDir(), filepath.Join(elsewhere, diskName)); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDisk(elsewhere); err == nil {
		t.Error("a link")
	}
}

// TestBodiesThatAreOfNoUse are not kept: where ETags cannot be computed, or do not depend on the token.
func TestBodiesThatAreOfNoUse(t *testing.T) {
	for name, whole := range map[string]bool{"computable": true, "random for each token": false, "of the body alone": false} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				text := strings.Repeat("text ", 10)
				o := &origin{etag: etags[name], answer: func(w http.ResponseWriter, r *http.Request) { say(200, "["+item(1, text+r.URL.Path)+"]")(w, r) }}
				r := readerOf(t, o, Account{Token: (&turning{value: token}).token})
				for i := range 10 {
					pulls(t, r, fmt.Sprintf("acme/r%d", i))
				}
				o.seen()
				last := r.cache.store.recent.Front().Value.(*place).entry
				if last.whole() != whole {
					t.Errorf("kept: %v", last.whole())
				}
				if !pulls(t, r, "acme/r9").Unchanged {
					t.Error("told again")
				}
				page, err := r.Pulls(t.Context(), watch.Request{Repository: "acme/r9", Fresh: true})
				if err != nil || len(page.Pulls) != 1 {
					t.Errorf("%+v, %v", page, err)
				}
				want := []int{304, 200}
				if whole {
					want = []int{304, 304}
				}
				if diff := cmp.Diff(want, o.seen()); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			})
		})
	}
}

package github

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/ferry-chatops/ferry/internal/watch"
)

// A realistic page has all that go-github knows of an item, which makes about 20 KB each, with text as people write it.
func realisticPage(repository string, items int) []byte {
	random := rand.New(rand.NewPCG(1, uint64(len(repository))+uint64(sha256.Sum256([]byte(repository))[0])))
	at := "https://api.github.com/repos/" + repository
	users := make([]*github.User, 5)
	for i := range users {
		users[i] = new(github.User)
		fill(random, reflect.ValueOf(users[i]).Elem(), "https://api.github.com/users/"+words(random, 1), 3)
	}
	repo, fork := new(github.Repository), new(github.Repository)
	fill(random, reflect.ValueOf(repo).Elem(), at, 2)
	fill(random, reflect.ValueOf(fork).Elem(), "https://api.github.com/repos/someone/fork", 2)
	repo.FullName = &repository
	var page []*github.PullRequest
	for i := range items {
		p := new(github.PullRequest)
		fill(random, reflect.ValueOf(p).Elem(), fmt.Sprintf("%s/pulls/%d", at, 1000-i), 0)
		p.Number, p.State = new(1000-i), new("open")
		p.Title, p.Body = new(words(random, 8)), new(words(random, 150))
		p.User, p.Assignee, p.Head.User, p.Base.User = users[random.IntN(5)], users[random.IntN(5)], users[0], users[0]
		p.Head.Repo, p.Base.Repo = repo, repo
		if i%4 == 3 {
			p.Head.Repo, p.Head.User = fork, users[1]
		}
		page = append(page, p)
	}
	raw, err := json.Marshal(page)
	if err != nil {
		panic(err)
	}
	return raw
}

// fill sets all fields that tell something in a list.
func fill(random *rand.Rand, v reflect.Value, at string, depth int) {
	for i := range v.NumField() {
		field, name := v.Field(i), v.Type().Field(i).Name
		if field.Kind() != reflect.Pointer || !field.CanSet() {
			continue
		}
		one := reflect.New(field.Type().Elem())
		switch value := one.Interface().(type) {
		case *string:
			switch {
			case strings.HasSuffix(name, "URL"):
				*value = fmt.Sprintf("%s/%s{/%d}", at, strings.ToLower(strings.TrimSuffix(name, "URL")), depth)
			case name == "SHA" || name == "NodeID":
				*value = hex.EncodeToString(binary(random, 20))
			default:
				*value = words(random, 1)
			}
		case *int:
			*value = random.IntN(1000)
		case *int64:
			*value = random.Int64N(1 << 31)
		case *github.Timestamp:
			value.Time = time.Unix(1_700_000_000+random.Int64N(1<<24), 0).UTC()
		case *github.User, *github.PullRequestBranch, *github.Repository:
			if depth < 3 && !strings.HasPrefix(name, "Merged") && name != "Parent" && name != "Source" && name != "TemplateRepository" && name != "Organization" {
				fill(random, one.Elem(), at+"/"+strings.ToLower(name), depth+1)
			}
		case *bool:
			*value = random.IntN(2) == 0
		default:
			continue
		}
		field.Set(one)
	}
}

func binary(random *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

// words are n of a language that nobody speaks, each used about as often as in one that somebody does.
func words(random *rand.Rand, n int) string {
	var all []string
	for range n {
		rank := min(int(random.ExpFloat64()*300), 4000)
		seed := rand.New(rand.NewPCG(7, uint64(rank)))
		word := make([]byte, 2+seed.IntN(9))
		for i := range word {
			word[i] = "etaoinshrdlucmfwypvbgkjqxz"[min(int(seed.ExpFloat64()*7), 25)]
		}
		all = append(all, string(word))
	}
	return strings.Join(all, " ")
}

// TestHubOfBenchmarks is a GitHub in a process of its own, so that a benchmark counts the client's time alone.
func TestHubOfBenchmarks(t *testing.T) {
	if os.Getenv("FERRY_BENCHMARK_HUB") == "" {
		t.Skip("serves benchmarks")
	}
	var mu sync.Mutex
	etags := map[string]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.URL.Path + r.Header.Get("Authorization")
		mu.Lock()
		etag := etags[key]
		mu.Unlock()
		name := strings.Join(strings.Split(r.URL.Path, "/")[4:6], "/")
		if etag == "" {
			mac := hmac.New(sha256.New, []byte(r.Header.Get("Authorization")))
			mac.Write(realisticPage(name, 10))
			etag = `W/"` + hex.EncodeToString(mac.Sum(nil)) + `"`
			mu.Lock()
			etags[key] = etag
			mu.Unlock()
		}
		for k, v := range map[string]string{"ETag": etag, "Vary": "Accept, Authorization, Cookie", "Cache-Control": "private, max-age=60, s-maxage=60",
			"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "4999", "X-RateLimit-Reset": "1795000000", "X-RateLimit-Resource": "core", "X-RateLimit-Used": "1",
			"X-GitHub-Media-Type": "github.v3; format=json", "Access-Control-Allow-Origin": "*", "X-GitHub-Request-Id": "0123:4567:89ab:cdef"} {
			w.Header().Set(k, v)
		}
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		page := realisticPage(name, 10)
		w.Header().Set("Content-Length", fmt.Sprint(len(page)))
		_, _ = w.Write(page)
	}))
	fmt.Println("\nhub " + server.URL)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // until the benchmark ends
	server.CloseClientConnections()
	server.Close()
}

// benchmarkHub starts one.
func benchmarkHub(b *testing.B) string {
	b.Helper()
	hub := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^TestHubOfBenchmarks$")
	hub.Env = append(os.Environ(), "FERRY_BENCHMARK_HUB=1")
	if _, err := hub.StdinPipe(); err != nil {
		b.Fatal(err)
	}
	out, err := hub.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := hub.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = hub.Process.Kill()
		_ = hub.Wait()
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if address, ok := strings.CutPrefix(lines.Text(), "hub "); ok {
			return address
		}
	}
	b.Fatal("no hub")
	return ""
}

func cpu() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used) // no other way to fail than a wrong argument
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// BenchmarkUnchangedPoll reads a list that has not changed: the processor's time of this process, with the network's.
func BenchmarkUnchangedPoll(b *testing.B) {
	r, err := NewReader(ReaderConfig{BaseURL: benchmarkHub(b), Factor: 1e6, // no waiting
		Accounts: []Account{{Token: func(context.Context) (string, error) { return token, nil }}}}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	const repositories = 100
	poll := func(i int) watch.Page {
		page, err := r.Pulls(b.Context(), watch.Request{Repository: fmt.Sprintf("acme/fleet-%d", i%repositories)})
		if err != nil {
			b.Fatal(errors.Unwrap(err))
		}
		return page
	}
	for i := range repositories {
		if page := poll(i); len(page.Pulls) != 10 {
			b.Fatal(page)
		}
	}
	runtime.GC()
	b.ReportAllocs()
	begin, i := cpu(), 0
	for b.Loop() {
		if !poll(i).Unchanged {
			b.Fatal("changed")
		}
		i++
	}
	b.ReportMetric(float64((cpu()-begin).Microseconds())/float64(b.N), "cpu-µs/op")
}

// BenchmarkThousandRepositories is the memory that a thousand lists take, after three rounds.
func BenchmarkThousandRepositories(b *testing.B) {
	for name, folder := range map[string]string{"memory": "", "disk": b.TempDir()} {
		b.Run(name, func(b *testing.B) {
			address := benchmarkHub(b)
			for b.Loop() {
				before := resident(b)
				var disk *Disk
				if folder != "" {
					disk = diskOf(b, folder)
				}
				r, err := NewReader(ReaderConfig{BaseURL: address, Factor: 1e6, Disk: disk,
					Accounts: []Account{{Token: func(context.Context) (string, error) { return token, nil }}}}, slog.New(slog.DiscardHandler))
				if err != nil {
					b.Fatal(err)
				}
				for range 3 {
					for i := range 1000 {
						if _, err := r.Pulls(b.Context(), watch.Request{Repository: fmt.Sprintf("acme/fleet-%d", i)}); err != nil {
							b.Fatal(errors.Unwrap(err))
						}
					}
				}
				s := r.Status()
				b.ReportMetric(float64(resident(b)-before)/(1<<20), "MB-RSS")
				b.ReportMetric(float64(s.Memory)/(1<<20), "MB-kept")
				b.ReportMetric(float64(s.Disk)/(1<<20), "MB-disk")
				runtime.KeepAlive(r)
			}
		})
	}
}

// resident is the most memory that this process had so far.
func resident(b *testing.B) int64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("no /proc")
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	var kb int64
	if _, err := fmt.Sscan(after, &kb); err != nil {
		b.Fatal(err)
	}
	return kb << 10
}

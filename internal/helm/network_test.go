package helm

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

func ociRepository(url string) gitops.Chart {
	return gitops.Chart{Name: "podinfo", URL: url, Insecure: true, Source: gitops.Object{Kind: "OCIRepository"}}
}

// TestASourceLeadsNowhereInside: who may set the address of a chart's source would read the network around ferry.
func TestASourceLeadsNowhereInside(t *testing.T) {
	var reached atomic.Int32
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reached.Add(1)
		fmt.Fprint(w, `{"token": "x"}`)
	}))
	defer inside.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/redirect/", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, inside.URL+"/latest/meta-data?signature=canary", http.StatusFound)
	})
	mux.HandleFunc("/v2/realm/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+inside.URL+`/delete?signature=canary",service="s"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	mux.HandleFunc("/v2/link/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "<"+inside.URL+`/more?signature=canary>; rel="next"`)
		fmt.Fprint(w, `{"name": "link/podinfo", "tags": ["1.0.0"]}`)
	})
	mux.HandleFunc("/malformed/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "http://%zz/?signature=canary")
		w.WriteHeader(http.StatusFound)
	})
	mux.HandleFunc("/v2/missing/", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"errors": [{"code": "NAME_UNKNOWN", "message": "canary"}]}`)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	oci := "oci://" + strings.TrimPrefix(server.URL, "http://")
	for name, test := range map[string]struct {
		chart gitops.Chart
		want  string
	}{
		"redirect":          {helmRepository(server.URL+"/redirect", "podinfo"), "leads to an address that is not public"},
		"realm":             {ociRepository(oci + "/realm/podinfo"), "leads to an address that is not public"},
		"next page":         {ociRepository(oci + "/link/podinfo"), "not the same origin"},
		"clouds' metadata":  {helmRepository("http://169.254.169.254/latest", "podinfo"), "leads to an address that is not public"},
		"malformed address": {helmRepository(server.URL+"/malformed", "podinfo"), "Location"},
		"own query":         {helmRepository("http://127.0.0.1:1/c?signature=canary", "podinfo"), "connection refused"},
		"registry's words":  {ociRepository(oci + "/missing/podinfo"), "the registry answers 404 Not Found"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := New(time.Now).Versions(t.Context(), test.chart)
			if err == nil {
				t.Fatalf("got %q", got)
			}
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "169.254") {
				t.Errorf("error %q, want one with %q", err, test.want)
			}
		})
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("%d requests went inside", n)
	}
}

func TestRedirects(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/old/index.yaml", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/new/index.yaml?signature=canary", http.StatusFound)
	})
	mux.HandleFunc("/new/index.yaml", func(w http.ResponseWriter, r *http.Request) {
		if r.Referer() != "" {
			t.Errorf("told where it came from: %s", r.Referer())
		}
		fmt.Fprint(w, index)
	})
	mux.HandleFunc("/round/index.yaml", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/round/index.yaml", http.StatusFound)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	if _, err := New(time.Now).Versions(t.Context(), helmRepository(server.URL+"/old", "podinfo")); err != nil {
		t.Errorf("on the same host: %v", err)
	}
	_, err := New(time.Now).Versions(t.Context(), helmRepository(server.URL+"/round", "podinfo"))
	if err == nil || !strings.Contains(err.Error(), "more than 5 redirects") {
		t.Errorf("round and round: %v", err)
	}
	secure, err := client("https", "example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := secure.Get(server.URL + "/new/index.yaml")
	if err == nil {
		response.Body.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "without TLS") {
		t.Errorf("https to http: %v", err)
	}
}

func TestWhichAddressesAreInside(t *testing.T) {
	for address, want := range map[string]struct{ own, others bool }{
		"140.82.121.3":           {true, true},
		"2606:50c0:8000::153":    {true, true},
		"10.1.2.3":               {true, false},
		"172.16.0.1":             {true, false},
		"192.168.1.1":            {true, false},
		"100.100.100.200":        {true, false},
		"127.0.0.1":              {true, false},
		"::1":                    {true, false},
		"::ffff:10.1.2.3":        {true, false},
		"64:ff9b::a01:203":       {true, false},
		"2002:a01:203::1":        {true, false},
		"fd00::1":                {true, false},
		"fd00:ec2::254":          {true, false},
		"240.0.0.1":              {true, false},
		"169.254.169.254":        {false, false},
		"::ffff:169.254.169.254": {false, false},
		"fe80::1":                {false, false},
		"0.0.0.0":                {false, false},
		"::":                     {false, false},
		"224.0.0.1":              {false, false},
	} {
		a := netip.MustParseAddr(address)
		if own, others := check(a, true) == nil, check(a, false) == nil; own != want.own || others != want.others {
			t.Errorf("%s: as its own host %v, as another %v", address, own, others)
		}
	}
}

// TestBehindAProxy: the proxy may be anywhere, but what it is asked for may not.
func TestBehindAProxy(t *testing.T) {
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = append(asked, r.URL.String()) }))
	defer proxy.Close()
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	client, err := client("http", "10.1.2.3", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	client.Transport.(*checked).surrounding.through = http.ProxyURL(at)
	for address, allowed := range map[string]bool{
		"http://10.1.2.3/index.yaml": true, "http://10.1.2.4/index.yaml": false, "http://10.1.2.3:8080/": false,
		"http://127.0.0.1:1/": false, "http://140.82.121.3/": true,
	} {
		asked = nil
		response, err := client.Get(address)
		if err == nil {
			response.Body.Close()
		}
		if want := len(asked) == 1 && asked[0] == address; (err == nil) != allowed || want != allowed {
			t.Errorf("%s: asked %q, %v", address, asked, err)
		}
	}
}

// TestOneFetchForAllWhoWait, which ends when the last of them has gone.
func TestOneFetchForAllWhoWait(t *testing.T) {
	var requests atomic.Int32
	arrived, answer, gone := make(chan struct{}, 8), make(chan struct{}), make(chan struct{}, 8)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		arrived <- struct{}{}
		select {
		case <-answer:
			fmt.Fprint(w, index)
		case <-r.Context().Done():
			gone <- struct{}{}
		}
	}))
	defer server.Close()
	charts := New(time.Now)
	at := address{"HelmRepository", server.URL, "podinfo", false}
	waiting := func(n int) {
		t.Helper()
		for {
			charts.mu.Lock()
			f := charts.running[at]
			is := f != nil && f.waiting == n
			charts.mu.Unlock()
			if is {
				return
			}
			if t.Context().Err() != nil {
				t.Fatal("nobody waits")
			}
			runtime.Gosched()
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var early, late sync.WaitGroup
	ask := func(wg *sync.WaitGroup, ctx context.Context, succeeds bool) {
		wg.Go(func() {
			got, err := charts.Versions(ctx, helmRepository(server.URL, "podinfo"))
			if (err == nil) != succeeds || succeeds && cmp.Diff("16.5.3", got[0]) != "" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	for range 3 {
		ask(&early, ctx, false)
	}
	for range 3 {
		ask(&late, t.Context(), true)
	}
	waiting(6)
	cancel()
	early.Wait()
	waiting(3)
	close(answer)
	late.Wait()
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests for six at once", n)
	}

	charts, answer = New(time.Now), nil
	<-arrived
	ctx, cancel = context.WithCancel(t.Context())
	ask(&early, ctx, false)
	<-arrived
	cancel()
	early.Wait()
	<-gone
}

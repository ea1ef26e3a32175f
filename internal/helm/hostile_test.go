package helm

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/render"
)

// refused gives the sentence of a refusal.
func refused(t testing.TB, err error) string {
	t.Helper()
	r, ok := errors.AsType[*gitops.Refusal](err)
	if !ok {
		t.Fatalf("no refusal: %v", err)
	}
	return r.Reason
}

func rendered(t testing.TB, r *Renderer, templates map[string]string) (render.Expansion, error) {
	return r.Expand(t.Context(), render.Release{Object: object(t, fromGit), Source: object(t, gitRepository), Files: files(chartOf(templates))})
}

// TestTemplatesAreBounded: whatever a template does, it ends with a sentence, and what comes after it is rendered.
func TestTemplatesAreBounded(t *testing.T) {
	r := NewRenderer(New(time.Now))
	cm := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
	for name, test := range map[string]struct{ template, want string }{
		"one large value":   {`{{ repeat 4000000000 "x" }}`, "384 MB of memory"},
		"a large list":      {`{{ range until 2000000000 }}{{ end }}`, "384 MB of memory"},
		"doubling":          {`{{ $x := "xxxxxxxx" }}{{ range until 40 }}{{ $x = printf "%s%s" $x $x }}{{ end }}`, "384 MB of memory"},
		"indent":            {`{{ "a" | nindent 2000000000 }}`, "384 MB of memory"},
		"much output":       {`{{ range until 300 }}{{ repeat 100000 "x" }}` + "\n{{ end }}", "16 MB"},
		"a loop":            {`{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}`, "longer than 1s"},
		"itself":            {`{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}`, "exceeded maximum template depth"},
		"itself by include": {`{{ define "a" }}{{ include "a" . }}{{ end }}{{ include "a" . }}`, "error calling include"},
		"itself by tpl":     {`{{ define "a" }}{{ tpl "{{ include \"a\" . }}" . }}{{ end }}{{ include "a" . }}`, ""},
		"many objects":      {`{{ range until 6000 }}` + "\n---\n" + strings.ReplaceAll(cm, "name: a", "name: a{{ . }}") + `{{ end }}`, "more than 3000 objects"},
		"aliases":           {"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n" + cm, ""},
		"the environment":   {`{{ env "HOME" }}`, `function "env" not defined`},
		"variables of it":   {`{{ expandenv "$HOME" }}`, `function "expandenv" not defined`},
		"fails":             {`{{ fail "by its author" }}`, "by its author"},
	} {
		t.Run(name, func(t *testing.T) {
			r.workers.limit = renderTimeout
			if name == "a loop" {
				r.workers.limit = time.Second
			}
			began := time.Now()
			_, err := rendered(t, r, map[string]string{"a.yaml": test.template})
			if err == nil {
				t.Fatal("rendered")
			}
			if got := refused(t, err); !strings.Contains(got, test.want) {
				t.Errorf("%s", got)
			}
			if took := time.Since(began); took > 2*renderTimeout {
				t.Errorf("took %s", took)
			}
		})
	}
	all := chartOf(nil)
	all["charts/web/crds/a.yaml"] = cm + "data: [" + strings.Repeat("1,", maxValues) + "1]\n"
	_, err := r.Expand(t.Context(), render.Release{Object: object(t, fromGit), Source: object(t, gitRepository), Files: files(all)})
	if got := refused(t, err); !strings.Contains(got, "more than 500000 values") {
		t.Errorf("many values: %s", got)
	}
	if got, err := rendered(t, r, map[string]string{"a.yaml": cm}); err != nil || len(got.Objects) != 1 {
		t.Errorf("afterwards: %v, %v", got, err)
	}
}

func TestTemplatesSeeNeitherClusterNorNetwork(t *testing.T) {
	got, err := rendered(t, NewRenderer(New(time.Now)), map[string]string{"a.yaml": `apiVersion: v1
kind: ConfigMap
metadata: {name: a}
data:
  one: {{ lookup "v1" "Secret" "kube-system" "token" | toJson | quote }}
  all: {{ lookup "v1" "Namespace" "" "" | toJson | quote }}
  host: {{ getHostByName "localhost" | quote }}
`})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"one": "{}", "all": "{}", "host": ""}, got.Objects[0].Fields["data"]); diff != "" {
		t.Error(diff)
	}
	if !got.Looks || len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "lookup") {
		t.Errorf("notes %q", got.Notes)
	}
}

// A canary must not be connected to.
func canary(t *testing.T) (address string, connected *atomic.Int32) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	connected = &atomic.Int32{}
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			connected.Add(1)
			c.Close()
		}
	}()
	return listener.Addr().String(), connected
}

// TestSchemasReachNothing: Helm's library would follow what a schema refers to.
func TestSchemasReachNothing(t *testing.T) {
	at, connected := canary(t)
	secret := filepath.Join(t.TempDir(), "secret.json")
	if err := os.WriteFile(secret, []byte(`{"type": "string"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	all := chartOf(map[string]string{"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"})
	for _, schema := range []string{
		`{"$ref": "http://` + at + `/x"}`, `{"$ref": "file://` + secret + `"}`, `{"$schema": "http://` + at + `/x"}`,
		`{"$id": "http://` + at + `/", "properties": {"a": {"$ref": "x"}}}`, `{"allOf": [{"$dynamicRef": "http://` + at + `/x"}]}`,
	} {
		all["charts/web/values.schema.json"] = schema
		got, err := NewRenderer(New(time.Now)).Expand(t.Context(), render.Release{Object: object(t, fromGit), Source: object(t, gitRepository), Files: files(all)})
		if err != nil || len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "schema") {
			t.Errorf("%s: %q, %v", schema, got.Notes, err)
		}
	}
	if connected.Load() > 0 {
		t.Error("connected to the canary")
	}
	all["charts/web/values.schema.json"] = `{"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"replicas": {"$ref": "#/definitions/a"}}, "definitions": {"a": {"type": "string"}}}`
	_, err := NewRenderer(New(time.Now)).Expand(t.Context(), render.Release{Object: object(t, fromGit), Source: object(t, gitRepository), Files: files(all)})
	if got := refused(t, err); !strings.Contains(got, "schema") || !strings.Contains(got, "replicas") {
		t.Errorf("not held against the schema: %s", got)
	}
}

// fromHTTP is a release of the newest chart "web" in a repository.
func fromHTTP(t testing.TB, url string, credential *render.Credential) render.Release {
	return render.Release{
		Object:     object(t, "{apiVersion: helm.toolkit.fluxcd.io/v2, kind: HelmRelease, metadata: {name: web, namespace: shop}, spec: {chart: {spec: {chart: web, sourceRef: {kind: HelmRepository, name: charts}}}}}"),
		Source:     object(t, `{apiVersion: source.toolkit.fluxcd.io/v1, kind: HelmRepository, metadata: {name: charts, namespace: shop}, spec: {passCredentials: true, url: "`+url+`"}}`),
		Credential: credential,
	}
}

var web = map[string]string{"Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n", "templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"}

// TestChartsFromElsewhere: neither an index nor a redirect nor a name leads ferry inside, and no credential goes elsewhere.
func TestChartsFromElsewhere(t *testing.T) {
	at, connected := canary(t)
	_, port, err := net.SplitHostPort(at)
	if err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{
		"address in the index": "http://" + at + "/web.tgz", "name of a loopback address": "http://localhost:" + port + "/web.tgz",
		"IPv6": "http://[::ffff:127.0.0.1]:" + port + "/web.tgz", "metadata": "http://169.254.169.254/latest", "file": "file:///etc/passwd",
		"private": "http://10.0.0.1:" + port + "/", "redirect": "redirect",
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "index.yaml") {
					fmt.Fprintf(w, "apiVersion: v1\nentries: {web: [{version: 1.0.0, urls: [%q]}]}", to)
					return
				}
				http.Redirect(w, r, "http://"+at+"/?token=s3cret", http.StatusFound)
			}))
			defer server.Close()
			_, err := NewRenderer(New(time.Now)).Expand(t.Context(), fromHTTP(t, server.URL, &render.Credential{Username: "u", Password: "s3cret"}))
			if got := refused(t, err); strings.Contains(got, "s3cret") || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%v", err)
			}
		})
	}
	if connected.Load() > 0 {
		t.Error("connected to the canary")
	}
}

// TestCredentialsGoToTheSourceAlone, whatever its HelmRepository says (passCredentials).
func TestCredentialsGoToTheSourceAlone(t *testing.T) {
	var mu sync.Mutex
	asked := map[string]string{}
	archive := packed(t, "web", web)
	var own, other *httptest.Server
	note := func(name string, r *http.Request) {
		user, password, _ := r.BasicAuth()
		mu.Lock()
		defer mu.Unlock()
		asked[name+r.URL.Path] = user + ":" + password
	}
	other = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		note("other", r)
		_, _ = w.Write(archive)
	}))
	defer other.Close()
	own = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		note("own", r)
		if r.URL.Path == "/web.tgz" {
			http.Redirect(w, r, other.URL+"/web.tgz", http.StatusFound)
			return
		}
		fmt.Fprint(w, "apiVersion: v1\nentries: {web: [{version: 1.0.0, urls: [web.tgz]}]}")
	}))
	defer own.Close()
	credential := &render.Credential{Username: "u", Password: "p"}
	c, err := client("http", strings.TrimPrefix(own.URL, "http://"), credential)
	if err != nil {
		t.Fatal(err)
	}
	// The other host is on the loopback interface too, which only its own source may be: here it may.
	c.Transport.(*checked).surrounding.own[strings.TrimPrefix(other.URL, "http://")] = true
	for _, address := range []string{own.URL + "/index.yaml", own.URL + "/web.tgz"} {
		if _, err := get(t.Context(), c, address, maxArchive); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"own/index.yaml": "u:p", "own/web.tgz": "u:p", "other/web.tgz": ":"}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}
}

// TestARegistrysCredential is sent to the registry, and not to whom it names for tokens.
func TestARegistrysCredential(t *testing.T) {
	at, connected := canary(t)
	for name, challenge := range map[string]string{"basic": `Basic realm="charts"`, "elsewhere": `Bearer realm="http://` + at + `/token",service="charts"`} {
		t.Run(name, func(t *testing.T) {
			var sent atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if user, password, _ := r.BasicAuth(); user == "u" && password == "s3cret" {
					sent.Add(1)
				}
				w.Header().Set("WWW-Authenticate", challenge)
				w.WriteHeader(http.StatusUnauthorized)
			}))
			defer server.Close()
			_, err := NewRenderer(New(time.Now)).Expand(t.Context(), render.Release{
				Object:     object(t, "{apiVersion: helm.toolkit.fluxcd.io/v2, kind: HelmRelease, metadata: {name: web, namespace: shop}, spec: {chartRef: {kind: OCIRepository, name: web}}}"),
				Source:     object(t, `{apiVersion: source.toolkit.fluxcd.io/v1, kind: OCIRepository, metadata: {name: web, namespace: shop}, spec: {insecure: true, url: "`+strings.Replace(server.URL, "http", "oci", 1)+`/web"}}`),
				Credential: &render.Credential{Username: "u", Password: "s3cret"},
			})
			if got := refused(t, err); strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%s", got)
			}
			if (sent.Load() > 0) != (name == "basic") {
				t.Errorf("sent %d times", sent.Load())
			}
		})
	}
	if connected.Load() > 0 {
		t.Error("connected to the canary")
	}
}

// archives are what no chart is.
func archives(t *testing.T) map[string][]byte {
	pack := func(write func(*tar.Writer)) []byte {
		var out bytes.Buffer
		zip := gzip.NewWriter(&out)
		archive := tar.NewWriter(zip)
		write(archive)
		if err := archive.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := zip.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	header := func(archive *tar.Writer, h tar.Header) {
		if err := archive.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	zeros := make([]byte, 1<<20)
	return map[string][]byte{
		"no archive": []byte("hello"), "nothing in it": pack(func(*tar.Writer) {}),
		"one large file": pack(func(a *tar.Writer) {
			header(a, tar.Header{Name: "web/files/zero", Mode: 0o644, Size: 50 << 20})
			for range 50 {
				_, _ = a.Write(zeros)
			}
		}),
		"many files": pack(func(a *tar.Writer) {
			for i := range 100 {
				header(a, tar.Header{Name: fmt.Sprintf("web/files/%d", i), Mode: 0o644, Size: 4 << 20})
				for range 4 {
					_, _ = a.Write(zeros)
				}
			}
		}),
		"empty files without end": pack(func(a *tar.Writer) {
			for i := range 300_000 {
				header(a, tar.Header{Name: fmt.Sprintf("web/files/%d", i), Mode: 0o644})
			}
		}),
		"a path outside":   pack(func(a *tar.Writer) { header(a, tar.Header{Name: "web/../../etc/passwd", Mode: 0o644}) }),
		"an absolute path": pack(func(a *tar.Writer) { header(a, tar.Header{Name: "/etc/passwd", Mode: 0o644}) }),
		"a link": pack(func(a *tar.Writer) {
			header(a, tar.Header{Name: "web/Chart.yaml", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"})
		}),
		"too large": bytes.Repeat([]byte{0x1f, 0x8b, 8, 0}, maxArchive/4+1),
	}
}

func TestHostileArchives(t *testing.T) {
	renderer := NewRenderer(New(time.Now))
	for name, archive := range archives(t) {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "index.yaml") {
					fmt.Fprint(w, "apiVersion: v1\nentries: {web: [{version: 1.0.0, urls: [web.tgz]}]}")
					return
				}
				_, _ = w.Write(archive)
			}))
			defer server.Close()
			_, err := renderer.Expand(t.Context(), fromHTTP(t, server.URL, nil))
			if err == nil {
				t.Fatal("rendered")
			}
			t.Log(refused(t, err))
		})
	}
}

func TestRenderingEndsWithItsContext(t *testing.T) {
	r := NewRenderer(New(time.Now))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := r.Expand(ctx, render.Release{Object: object(t, fromGit), Source: object(t, gitRepository),
			Files: files(chartOf(map[string]string{"a.yaml": `{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}`}))})
		done <- err
	}()
	for len(r.workers.busy) == 0 {
		select {
		case err := <-done:
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestAWorkerThatIsGone is replaced: a system short of memory ends such processes.
func TestAWorkerThatIsGone(t *testing.T) {
	r := NewRenderer(New(time.Now))
	cm := map[string]string{"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"}
	for i := range 2 {
		if got, err := rendered(t, r, cm); err != nil || len(got.Objects) != 1 {
			t.Fatalf("%d: %v, %v", i, got, err)
		}
		if len(r.workers.idle) != 1 {
			t.Fatalf("%d idle", len(r.workers.idle))
		}
		if err := r.workers.idle[0].process.Process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCertificatesOfASource: its CA is trusted for it, and its client certificate shown to it.
func TestCertificatesOfASource(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "apiVersion: v1\nentries: {}")
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	private, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	for name, test := range map[string]struct {
		credential *render.Credential
		want       string
	}{
		"none":        {nil, "certificate"},
		"CA alone":    {&render.Credential{CA: cert}, "certificate required"},
		"both":        {&render.Credential{CA: cert, Cert: cert, Key: key}, "does not have this chart"},
		"another CA":  {&render.Credential{CA: []byte("s3cret")}, "CA certificate cannot be read"},
		"another key": {&render.Credential{CA: cert, Cert: cert, Key: []byte("s3cret")}, "certificate and key cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewRenderer(New(time.Now)).Expand(t.Context(), fromHTTP(t, server.URL, test.credential))
			if got := refused(t, err); !strings.Contains(got, test.want) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%q, want it to say %q", got, test.want)
			}
		})
	}
}

package helm

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/promotion"
)

var _ promotion.Charts = (*Charts)(nil)

const index = `apiVersion: v1
entries:
  podinfo:
  - {name: podinfo, version: 6.9.4, urls: [podinfo-6.9.4.tgz]}
  - {name: podinfo, version: 7.0.0}
  - {name: podinfo, version: 16.5.3}
  - {name: podinfo, version: 7.0.0-rc.1}
  - {name: podinfo, version: 7.0.0+build.2}
  - {name: podinfo, version: v6.10.0}
  - {name: podinfo, version: latest}
  - {name: podinfo, version: "7.0"}
  - {name: podinfo, version: 7.0.0}
  other:
  - {name: other, version: 99.0.0}
`

func helmRepository(url, chart string) gitops.Chart {
	return gitops.Chart{Name: chart, URL: url, Source: gitops.Object{Kind: "HelmRepository", Namespace: "flux-system", Name: "charts"}}
}

func TestVersionsOfAnIndexAreSorted(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/charts/index.yaml" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, index)
	}))
	defer server.Close()
	for _, url := range []string{server.URL + "/charts", server.URL + "/charts/"} {
		got, err := New(time.Now).Versions(t.Context(), helmRepository(url, "podinfo"))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"16.5.3", "7.0.0+build.2", "7.0.0", "7.0.0-rc.1", "v6.10.0", "6.9.4"}, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestVersionsCannotBeChecked(t *testing.T) {
	responses := map[string]string{"/empty": "", "/broken": "entries: [", "/other": "entries: {other: []}", "/scalar": "entries: 3"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := responses[strings.TrimSuffix(r.URL.Path, "/index.yaml")]
		if !ok {
			http.Error(w, "secret-detail", http.StatusForbidden)
			return
		}
		fmt.Fprint(w, body)
	}))
	defer server.Close()
	private := helmRepository(server.URL, "podinfo")
	private.Private = true
	git := helmRepository("https://example.com/charts", "podinfo")
	git.Source.Kind = "GitRepository"
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()

	for name, test := range map[string]struct {
		chart gitops.Chart
		want  string
	}{
		"forbidden": {helmRepository(server.URL, "podinfo"), "403 Forbidden"},
		"empty":     {helmRepository(server.URL+"/empty", "podinfo"), "does not have this chart"},
		"broken":    {helmRepository(server.URL+"/broken", "podinfo"), "read index"},
		"other":     {helmRepository(server.URL+"/other", "podinfo"), "does not have this chart"},
		"scalar":    {helmRepository(server.URL+"/scalar", "podinfo"), "read index"},
		"private":   {private, "needs credentials"},
		"git":       {git, "a GitRepository has no list of versions"},
		"no source": {gitops.Chart{Name: "podinfo"}, "a chart without a source has no list"},
		"file":      {helmRepository("file:///etc", "podinfo"), "neither http:// nor https://"},
		"no answer": {helmRepository(gone.URL, "podinfo"), "connection refused"},
		"bad name":  {helmRepository("oci://", "UP PER"), "read address"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := New(time.Now).Versions(t.Context(), test.chart)
			if err == nil {
				t.Fatalf("got %q, want an error", got)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q, want one with %q", err, test.want)
			}
			if strings.Contains(err.Error(), "secret-detail") {
				t.Errorf("error %q shows what the server wrote", err)
			}
		})
	}
}

func TestAnIndexMayNotBeEndless(t *testing.T) {
	chunk := []byte("#" + strings.Repeat(" ", 1<<20-2) + "\n")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	_, err := New(time.Now).Versions(t.Context(), helmRepository(server.URL, "podinfo"))
	if err == nil || !strings.Contains(err.Error(), "larger than 24 MB") {
		t.Errorf("error %v, want one that names the limit", err)
	}
}

func TestVersionsEndWithTheirContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	defer server.Close()
	if got, err := New(time.Now).Versions(ctx, helmRepository(server.URL, "podinfo")); err == nil {
		t.Errorf("got %q from a cancelled request", got)
	}
}

// TestVersionsAreKeptForTwoSeconds: no longer, or a version that was just published would not exist.
func TestVersionsAreKeptForTwoSeconds(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		fmt.Fprintf(w, "entries: {podinfo: [{version: %d.0.0}], other: [{version: 0.1.0}]}", asked)
	}))
	defer server.Close()
	charts := New(func() time.Time { return now })
	for _, step := range []struct {
		after time.Duration
		chart string
		want  string
	}{
		{0, "podinfo", "1.0.0"},
		{2*time.Second - 1, "podinfo", "1.0.0"},
		{0, "other", "0.1.0"},
		{1, "podinfo", "3.0.0"},
	} {
		now = now.Add(step.after)
		got, err := charts.Versions(t.Context(), helmRepository(server.URL, step.chart))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{step.want}, got); diff != "" {
			t.Errorf("%s after %s: %s", step.chart, step.after, diff)
		}
		got[0] = "changed by the caller"
	}
}

// TestVersionsOfARegistry reads a registry with the tags that people find in real ones.
func TestVersionsOfARegistry(t *testing.T) {
	server := httptest.NewServer(registry.New())
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	for _, tag := range []string{"6.9.4", "7.0.0", "16.5.3", "7.1.0_build.5", "latest", "sha256-1234.sig"} {
		ref, err := name.NewTag(host+"/charts/podinfo:"+tag, name.Insecure)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(ref, empty.Image); err != nil {
			t.Fatal(err)
		}
	}
	helm := helmRepository("oci://"+host+"/charts/", "podinfo")
	helm.Insecure = true
	oci := gitops.Chart{Name: "podinfo", URL: "oci://" + host + "/charts/podinfo", Insecure: true, Source: gitops.Object{Kind: "OCIRepository"}}

	charts := New(time.Now)
	for _, test := range []struct {
		chart gitops.Chart
		want  []string
	}{
		{helm, []string{"16.5.3", "7.1.0+build.5", "7.0.0", "6.9.4"}},
		{oci, []string{"16.5.3", "7.1.0_build.5", "7.0.0", "6.9.4"}},
	} {
		got, err := charts.Versions(t.Context(), test.chart)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", test.chart.Source.Kind, diff)
		}
	}
	oci.URL += "-missing"
	if got, err := charts.Versions(t.Context(), oci); err == nil {
		t.Errorf("got %q from a repository that is not there", got)
	}
}

// TestNoCredentialsAreSent shows that a Docker configuration on the machine is not read.
func TestNoCredentialsAreSent(t *testing.T) {
	var sent []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent = append(sent, r.Header.Get("Authorization"))
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	config := fmt.Sprintf(`{"auths": {%q: {"auth": "dXNlcjpwYXNzd29yZA=="}}}`, host)
	if err := os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	chart := gitops.Chart{Name: "podinfo", URL: "oci://" + host + "/podinfo", Insecure: true, Source: gitops.Object{Kind: "OCIRepository"}}
	if got, err := New(time.Now).Versions(t.Context(), chart); err == nil {
		t.Errorf("got %q without credentials", got)
	}
	for _, s := range sent {
		if s != "" {
			t.Errorf("sent Authorization %q", s)
		}
	}
	if len(sent) == 0 {
		t.Error("the registry was not asked")
	}
}

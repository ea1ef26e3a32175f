package charts

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/registry"
)

// The media types of a chart in a registry, from Helm's pkg/registry/constants.go.
const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.cncf.helm.config.v1+json"
	contentType  = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
)

// Server serves charts in both forms on one port, in plain HTTP: Flux's HelmRepository of type oci and OCIRepository
// need `insecure: true`.
type Server struct {
	HTTPURL string // of the chart repository, http://127.0.0.1:PORT/charts
	OCIURL  string // below which each chart is a repository, oci://127.0.0.1:PORT/charts

	server http.Server
	fail   atomic.Int64
}

// Serve publishes the charts and serves them until Close.
func Serve(charts ...Chart) (*Server, error) {
	// an entry of index.yaml
	type entry struct {
		APIVersion string   `json:"apiVersion"`
		Name       string   `json:"name"`
		Version    string   `json:"version"`
		AppVersion string   `json:"appVersion"`
		Created    string   `json:"created"`
		Digest     string   `json:"digest"`
		URLs       []string `json:"urls"`
	}
	entries := map[string][]entry{}
	files := map[string][]byte{}
	for _, c := range charts {
		archive, err := c.Package()
		if err != nil {
			return nil, err
		}
		files[c.file()] = archive
		entries[c.Name] = append(entries[c.Name], entry{
			APIVersion: "v2", Name: c.Name, Version: c.Version, AppVersion: c.appVersion(),
			Created: "2026-01-01T00:00:00Z", Digest: strings.TrimPrefix(digest(archive), "sha256:"), URLs: []string{c.file()},
		})
	}
	index, err := json.Marshal(map[string]any{"apiVersion": "v1", "generated": "2026-01-01T00:00:00Z", "entries": entries})
	if err != nil {
		return nil, fmt.Errorf("encode index.yaml: %w", err)
	}
	files["index.yaml"] = index // JSON is YAML

	mux := http.NewServeMux()
	mux.Handle("/v2/", registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	mux.HandleFunc("GET /charts/{file}", func(w http.ResponseWriter, r *http.Request) {
		content, ok := files[r.PathValue("file")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(content) // a client that went away is no concern of ours
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	host := listener.Addr().String()
	s := &Server{HTTPURL: "http://" + host + "/charts", OCIURL: "oci://" + host + "/charts"}
	s.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status := int(s.fail.Load()); status != 0 {
			http.Error(w, http.StatusText(status), status)
			return
		}
		mux.ServeHTTP(w, r)
	})
	go func() { _ = s.server.Serve(listener) }() // ends with Close
	for _, c := range charts {
		if err := push("http://"+host, c, files[c.file()]); err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

// Fail makes the server answer every request with that status; 0 makes it well again.
func (s *Server) Fail(status int) { s.fail.Store(int64(status)) }

// Close stops serving; requests after it are refused.
func (s *Server) Close() { _ = s.server.Close() } // it only closes sockets

// push uploads a chart as Helm does: its metadata is the config, its archive the only layer, its version the tag, with
// "_" for the "+" that a tag must not have.
func push(url string, c Chart, archive []byte) error {
	config, err := c.metadata()
	if err != nil {
		return fmt.Errorf("encode the metadata of %s: %w", c.Name, err)
	}
	type descriptor struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
		Size      int    `json:"size"`
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": manifestType,
		"config": descriptor{configType, digest(config), len(config)},
		"layers": []descriptor{{contentType, digest(archive), len(archive)}},
		"annotations": map[string]string{
			"org.opencontainers.image.title": c.Name, "org.opencontainers.image.version": c.Version,
			"org.opencontainers.image.created": "2026-01-01T00:00:00Z",
		},
	})
	if err != nil {
		return fmt.Errorf("encode the manifest of %s: %w", c.Name, err)
	}
	repository := url + "/v2/charts/" + c.Name
	for _, upload := range []struct {
		method, url, contentType string
		content                  []byte
	}{
		{http.MethodPost, repository + "/blobs/uploads/?digest=" + digest(config), "application/octet-stream", config},
		{http.MethodPost, repository + "/blobs/uploads/?digest=" + digest(archive), "application/octet-stream", archive},
		{http.MethodPut, repository + "/manifests/" + strings.ReplaceAll(c.Version, "+", "_"), manifestType, manifest},
	} {
		request, err := http.NewRequest(upload.method, upload.url, bytes.NewReader(upload.content))
		if err != nil {
			return fmt.Errorf("push %s %s: %w", c.Name, c.Version, err)
		}
		request.Header.Set("Content-Type", upload.contentType)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return fmt.Errorf("push %s %s: %w", c.Name, c.Version, err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusCreated {
			return fmt.Errorf("push %s %s: %s", c.Name, c.Version, response.Status)
		}
	}
	return nil
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

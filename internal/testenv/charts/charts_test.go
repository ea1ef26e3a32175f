package charts_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/testenv/charts"
)

func TestPackage(t *testing.T) {
	for _, tc := range []struct {
		chart    charts.Chart
		kind     string // of the workload's template
		app      string // Chart.yaml's appVersion
		tag      string
		deadline float64
	}{
		{charts.Chart{Name: "podinfo", Version: "6.9.0"}, "templates/deployment.yaml", "6.9.0", "", 60},
		{charts.Chart{Name: "podinfo", Version: "1.0.0+build", AppVersion: "6.9.0"}, "templates/deployment.yaml", "6.9.0", "", 60},
		{charts.Chart{Name: "podinfo", Version: "7.2.0", Tag: "bad-7.2.0"}, "templates/deployment.yaml", "7.2.0", "bad-7.2.0", 3},
		{charts.Chart{Name: "podinfo", Version: "7.3.0", Tag: "7.1.0"}, "templates/deployment.yaml", "7.3.0", "7.1.0", 60},
		{charts.Chart{Name: "redis", Version: "20.1.0", AppVersion: "7.4.1"}, "templates/statefulset.yaml", "7.4.1", "", 0},
	} {
		t.Run(tc.chart.Name+" "+tc.chart.Version, func(t *testing.T) {
			archive, err := tc.chart.Package()
			if err != nil {
				t.Fatal(err)
			}
			again, err := tc.chart.Package()
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(archive, again) {
				t.Error("two packages of one chart differ")
			}
			files := unpack(t, archive)
			var metadata struct{ APIVersion, Name, Version, AppVersion string }
			var values struct {
				Image                   struct{ Tag string }
				ProgressDeadlineSeconds float64
			}
			for name, into := range map[string]any{"Chart.yaml": &metadata, "values.yaml": &values} {
				if err := yaml.Unmarshal(files[tc.chart.Name+"/"+name], into); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			if metadata.APIVersion != "v2" || metadata.Name != tc.chart.Name || metadata.Version != tc.chart.Version || metadata.AppVersion != tc.app {
				t.Errorf("Chart.yaml: %+v", metadata)
			}
			if values.Image.Tag != tc.tag || values.ProgressDeadlineSeconds != tc.deadline {
				t.Errorf("values.yaml: %+v", values)
			}
			if files[tc.chart.Name+"/"+tc.kind] == nil {
				t.Errorf("no %s in the archive", tc.kind)
			}
		})
	}
}

func TestPackageOfAnUnknownChart(t *testing.T) {
	if _, err := (charts.Chart{Name: "nginx", Version: "1.0.0"}).Package(); err == nil {
		t.Error("packaged a chart that there is no folder for")
	}
}

func TestServe(t *testing.T) {
	server, err := charts.Serve(
		charts.Chart{Name: "podinfo", Version: "6.9.0"},
		charts.Chart{Name: "podinfo", Version: "7.0.0+ferry"},
		charts.Chart{Name: "redis", Version: "20.1.0"},
	)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()

	var index struct {
		Entries map[string][]struct {
			Version string
			URLs    []string
		}
	}
	if err := yaml.Unmarshal(get(t, server.HTTPURL+"/index.yaml"), &index); err != nil {
		t.Fatal(err)
	}
	if len(index.Entries["podinfo"]) != 2 || len(index.Entries["redis"]) != 1 {
		t.Fatalf("index.yaml: %+v", index.Entries)
	}
	archive := get(t, server.HTTPURL+"/"+index.Entries["podinfo"][0].URLs[0])
	if unpack(t, archive)["podinfo/Chart.yaml"] == nil {
		t.Error("the HTTP repository's archive has no Chart.yaml")
	}

	registry := "http" + strings.TrimPrefix(strings.Replace(server.OCIURL, "/charts", "/v2/charts", 1), "oci") + "/podinfo"
	var tags struct{ Tags []string }
	if err := json.Unmarshal(get(t, registry+"/tags/list"), &tags); err != nil {
		t.Fatal(err)
	}
	if strings.Join(tags.Tags, " ") != "6.9.0 7.0.0_ferry" {
		t.Errorf("tags: %v", tags.Tags)
	}
	var manifest struct{ Layers []struct{ Digest string } }
	if err := json.Unmarshal(get(t, registry+"/manifests/6.9.0"), &manifest); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(get(t, registry+"/blobs/"+manifest.Layers[0].Digest), archive) {
		t.Error("the registry's archive is not the HTTP repository's")
	}

	server.Fail(http.StatusServiceUnavailable)
	for _, url := range []string{server.HTTPURL + "/index.yaml", registry + "/tags/list"} {
		if got := status(t, url); got != http.StatusServiceUnavailable {
			t.Errorf("failing, %s answers %d", url, got)
		}
	}
	server.Fail(0)
	if got := status(t, server.HTTPURL+"/index.yaml"); got != http.StatusOK {
		t.Errorf("well again, it answers %d", got)
	}
	if got := status(t, server.HTTPURL+"/podinfo-9.9.9.tgz"); got != http.StatusNotFound {
		t.Errorf("a chart that there is not: %d", got)
	}
}

func unpack(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for r := tar.NewReader(zip); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func get(t *testing.T, url string) []byte {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", url, response.Status)
	}
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func status(t *testing.T, url string) int {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

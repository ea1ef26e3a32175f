// Package charts makes small Helm charts in any version and serves them on the loopback interface, from an HTTP chart
// repository and from an OCI registry, as a release that was published to both.
package charts

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"
)

//go:embed podinfo redis
var sources embed.FS

// A Chart is one version of one chart.
type Chart struct {
	Name       string // podinfo (Deployment, Service) or redis (StatefulSet, ConfigMap, Service)
	Version    string // of the chart, semantic
	AppVersion string // empty: Version
	// Tag of the image; empty: AppVersion. Pods with a tag that starts with "bad" never become ready, so the Deployment
	// of such a podinfo gives up after 3 seconds instead of 60, unless the values say otherwise.
	Tag string
}

func (c Chart) appVersion() string {
	if c.AppVersion == "" {
		return c.Version
	}
	return c.AppVersion
}

// file is the archive's name in a chart repository.
func (c Chart) file() string { return c.Name + "-" + c.Version + ".tgz" }

// metadata is Chart.yaml, in its JSON form (which is YAML) because the OCI artifact's config is the same object.
func (c Chart) metadata() ([]byte, error) {
	return json.Marshal(map[string]string{
		"apiVersion": "v2", "name": c.Name, "version": c.Version, "appVersion": c.appVersion(),
		"description": "A chart of ferry's tests", "type": "application",
	})
}

// Package is the chart's archive (.tgz), the same bytes for the same chart.
func (c Chart) Package() ([]byte, error) {
	metadata, err := c.metadata()
	if err != nil {
		return nil, fmt.Errorf("package %s: %w", c.Name, err)
	}
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	archive := tar.NewWriter(zip)
	add := func(name string, content []byte) error {
		header := &tar.Header{Name: path.Join(c.Name, name), Mode: 0o644, Size: int64(len(content)), ModTime: time.Unix(0, 0)}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err := archive.Write(content)
		return err
	}
	if err := add("Chart.yaml", metadata); err != nil {
		return nil, fmt.Errorf("package %s: %w", c.Name, err)
	}
	err = fs.WalkDir(sources, c.Name, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := sources.ReadFile(file)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(file, c.Name+"/")
		if name == "values.yaml" {
			content = c.values(content)
		}
		return add(name, content)
	})
	if err != nil {
		return nil, fmt.Errorf("package %s: %w", c.Name, err)
	}
	if err := archive.Close(); err != nil {
		return nil, fmt.Errorf("package %s: %w", c.Name, err)
	}
	if err := zip.Close(); err != nil {
		return nil, fmt.Errorf("package %s: %w", c.Name, err)
	}
	return out.Bytes(), nil
}

// values puts the tag into the chart's values.
func (c Chart) values(values []byte) []byte {
	if c.Tag == "" {
		return values
	}
	values = bytes.Replace(values, []byte(`tag: ""`), fmt.Appendf(nil, "tag: %q", c.Tag), 1)
	if strings.HasPrefix(c.Tag, "bad") {
		values = bytes.Replace(values, []byte("progressDeadlineSeconds: 60"), []byte("progressDeadlineSeconds: 3"), 1)
	}
	return values
}

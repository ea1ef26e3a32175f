package localhost

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/kubeshop/botkube/pkg/api"
	"sigs.k8s.io/yaml"
)

// An Index is the document in which Botkube v1.14.0 looks plugins up.
type Index struct {
	Entries []Entry `json:"entries"`
}

// An Entry is one plugin of an index.
type Entry struct {
	Name             string           `json:"name"` // the first word of its commands
	Type             string           `json:"type"` // executor or source
	Version          string           `json:"version"`
	Description      string           `json:"description"`
	DocumentationURL string           `json:"documentationUrl,omitempty"`
	Recommended      bool             `json:"recommended"`
	JSONSchema       Schema           `json:"jsonSchema"`
	ExternalRequest  *ExternalRequest `json:"externalRequest,omitempty"`
	URLs             []Binary         `json:"urls"`
}

// A Schema is a JSON schema or where to find one.
type Schema struct {
	Value  string `json:"value,omitempty"`
	RefURL string `json:"refURL,omitempty"`
}

// An ExternalRequest describes the webhooks that a source takes.
type ExternalRequest struct {
	Payload struct {
		JSONSchema Schema `json:"jsonSchema"`
	} `json:"payload"`
}

// A Binary is a plugin for one platform.
type Binary struct {
	URL          string                `json:"url"`
	Checksum     string                `json:"checksum"` // SHA-256 in hexadecimal
	Platform     Platform              `json:"platform"`
	Dependencies map[string]Dependency `json:"dependencies,omitempty"`
}

// A Platform is an operating system and a processor, in Go's words.
type Platform struct {
	OS   string `json:"os"`
	Arch string `json:"architecture"`
}

// A Dependency is a file that the host puts beside a plugin.
type Dependency struct {
	URL string `json:"url"`
}

var thisPlatform = Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}

// WriteIndex writes the index of the plugin binaries in dir to file. Binaries are named
// executor_NAME_OS_ARCH or source_NAME_OS_ARCH and will be found under urlBase. The one of this platform is started to
// ask what it is; the others are taken to be the same. The document depends on the binaries alone.
func WriteIndex(ctx context.Context, dir, urlBase, file string) error {
	index, err := buildIndex(ctx, dir, urlBase)
	if err != nil {
		return err
	}
	document, err := yaml.Marshal(index)
	if err != nil {
		return fmt.Errorf("encode plugin index: %w", err)
	}
	if err := os.WriteFile(file, document, 0o644); err != nil {
		return fmt.Errorf("write plugin index: %w", err)
	}
	return nil
}

func buildIndex(ctx context.Context, dir, urlBase string) (Index, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return Index{}, fmt.Errorf("read plugin binaries: %w", err)
	}
	var index Index
	for _, file := range files { // sorted by name, so those of one plugin follow one another
		kind, _, _ := strings.Cut(file.Name(), "_")
		if file.IsDir() || kind != executorType && kind != sourceType {
			continue
		}
		parts := strings.Split(file.Name(), "_")
		if len(parts) != 4 || slices.Contains(parts, "") {
			return Index{}, fmt.Errorf("%s is not named TYPE_NAME_OS_ARCH", file.Name())
		}
		checksum, err := hashFile(filepath.Join(dir, file.Name()))
		if err != nil {
			return Index{}, err
		}
		at := slices.IndexFunc(index.Entries, func(e Entry) bool { return e.Type == kind && e.Name == parts[1] })
		if at < 0 {
			at = len(index.Entries)
			index.Entries = append(index.Entries, Entry{Type: kind, Name: parts[1]})
		}
		index.Entries[at].URLs = append(index.Entries[at].URLs, Binary{
			URL:      strings.TrimSuffix(urlBase, "/") + "/" + file.Name(),
			Checksum: checksum,
			Platform: Platform{OS: parts[2], Arch: parts[3]},
		})
	}
	if len(index.Entries) == 0 {
		return Index{}, fmt.Errorf("no plugin binaries in %s", dir)
	}
	for i := range index.Entries {
		if err := describe(ctx, &index.Entries[i], dir); err != nil {
			return Index{}, err
		}
	}
	return index, nil
}

// describe completes an entry with what its binary for this platform says of itself.
func describe(ctx context.Context, entry *Entry, dir string) error {
	file := strings.Join([]string{entry.Type, entry.Name, thisPlatform.OS, thisPlatform.Arch}, "_")
	about, err := metadata(ctx, entry.Type, filepath.Join(dir, file))
	if err != nil {
		return fmt.Errorf("ask %s what it is: %w", file, err)
	}
	if err := about.Validate(); err != nil {
		return fmt.Errorf("metadata of %s: %w", file, err)
	}
	entry.Version, entry.Description, entry.DocumentationURL, entry.Recommended =
		about.Version, about.Description, about.DocumentationURL, about.Recommended
	entry.JSONSchema = Schema(about.JSONSchema)
	if payload := about.ExternalRequest.Payload.JSONSchema; payload != (api.JSONSchema{}) {
		entry.ExternalRequest = &ExternalRequest{}
		entry.ExternalRequest.Payload.JSONSchema = Schema(payload)
	}
	for i, binary := range entry.URLs {
		for name, dependency := range about.Dependencies {
			if address, ok := dependency.URLs.For(binary.Platform.OS, binary.Platform.Arch); ok {
				if entry.URLs[i].Dependencies == nil {
					entry.URLs[i].Dependencies = map[string]Dependency{}
				}
				entry.URLs[i].Dependencies[name] = Dependency{URL: address}
			}
		}
	}
	return nil
}

func hashFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("open plugin binary: %w", err)
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", fmt.Errorf("read plugin binary: %w", err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// Limits of what is read from an index's address and a binary's, in bytes.
const (
	maxIndex  = 8 << 20
	maxBinary = 512 << 20
)

// readIndex reads the index at location: a path, or a file or HTTP URL.
func readIndex(ctx context.Context, location string) (Index, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	from, err := open(ctx, location)
	if err != nil {
		return Index{}, fmt.Errorf("read plugin index: %w", err)
	}
	defer from.Close()
	document, err := readLimited(from, maxIndex)
	if err != nil {
		return Index{}, fmt.Errorf("read plugin index %s: %w", location, err)
	}
	var index Index
	if err := yaml.Unmarshal(document, &index); err != nil {
		return Index{}, fmt.Errorf("read plugin index %s: %w", location, err)
	}
	return index, nil
}

// binary finds the plugin of a type that is called name, for this platform. Of several versions an index should hold one only: Botkube
// mixes them up.
func (index Index) binary(kind, name string) (Binary, error) {
	for _, entry := range index.Entries {
		if entry.Type != kind || entry.Name != name {
			continue
		}
		for _, binary := range entry.URLs {
			if binary.Platform == thisPlatform {
				return binary, nil
			}
		}
		return Binary{}, fmt.Errorf("the index has no %s %s for %s/%s", kind, name, thisPlatform.OS, thisPlatform.Arch)
	}
	return Binary{}, fmt.Errorf("the index has no %s %s", kind, name)
}

// fetch gives the path of a binary whose checksum is the one of the index. One beside a local index goes before its URL;
// one from the network is written to cache.
func fetch(ctx context.Context, location string, binary Binary, cache string) (string, error) {
	path := localPath(binary.URL)
	if index := localPath(location); index != "" {
		if beside := filepath.Join(filepath.Dir(index), fileName(binary.URL)); exists(beside) {
			path = beside
		}
	}
	if path == "" {
		path = filepath.Join(cache, fileName(binary.URL))
		if err := download(ctx, binary.URL, path); err != nil {
			return "", err
		}
	}
	checksum, err := hashFile(path)
	if err != nil {
		return "", err
	}
	if !strings.EqualFold(checksum, binary.Checksum) {
		return "", fmt.Errorf("%s is not the file that the index %s speaks of: its SHA-256 is %s, not %s; write the index anew with: ferry index build",
			path, location, checksum, cmp.Or(binary.Checksum, "given"))
	}
	return path, nil
}

func download(ctx context.Context, address, path string) error {
	from, err := open(ctx, address)
	if err != nil {
		return fmt.Errorf("download plugin: %w", err)
	}
	defer from.Close()
	to, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o700)
	if err != nil {
		return fmt.Errorf("download plugin: %w", err)
	}
	n, err := io.Copy(to, io.LimitReader(from, maxBinary+1))
	if err == nil && n > maxBinary {
		err = fmt.Errorf("more than %d bytes", maxBinary)
	}
	if err := errors.Join(err, to.Close()); err != nil {
		return fmt.Errorf("download plugin from %s: %w", address, err)
	}
	return nil
}

// open reads a path, a file URL or an HTTP URL.
func open(ctx context.Context, location string) (io.ReadCloser, error) {
	if path := localPath(location); path != "" {
		return os.Open(path)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, location, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("%s answered %s", location, response.Status)
	}
	return response.Body, nil
}

func readLimited(from io.Reader, limit int64) ([]byte, error) {
	var out bytes.Buffer
	n, err := io.Copy(&out, io.LimitReader(from, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	return out.Bytes(), err
}

// localPath is the path that a location names, or empty for one in the network.
func localPath(location string) string {
	switch u, err := url.Parse(location); {
	case err != nil, u.Scheme == "":
		return location
	case u.Scheme == "file":
		return u.Path
	default:
		return ""
	}
}

// fileName is the last part of a URL's path.
func fileName(address string) string {
	if u, err := url.Parse(address); err == nil {
		return filepath.Base(u.Path)
	}
	return filepath.Base(address)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

package contract

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A Source is a file of an npm package that holds a description of GitHub's API.
type Source struct {
	Package, Version string
	Member           string // of the package's archive
	SHA256           string // of that member
}

// OpenAPI describes REST, SDL GraphQL; Webhooks has examples of what webhooks bring. The packages are published by GitHub
// under the MIT licence.
var (
	OpenAPI = Source{
		Package: "@octokit/openapi", Version: "23.0.2", Member: "package/generated/api.github.com.json",
		SHA256: "829b4bebb19a53133289f7b0bc819f4f1118115821db2ca9f25e9ee995a7da2a",
	}
	Webhooks = Source{
		Package: "@octokit/webhooks-examples", Version: "7.6.1", Member: "package/api.github.com/index.json",
		SHA256: "09d8f0c617876ae9dad22e26fea5510bfcaad50ee7e602659f6db25b87b25815",
	}
	SDL = Source{
		Package: "@octokit/graphql-schema", Version: "15.26.1", Member: "package/schema.graphql",
		SHA256: "3c62d0526d133cee53221c89de9b455ade24db78b9e7ad56d642c4c15bce2654",
	}
)

// operations are what is kept of the OpenAPI description: all that the stand-in serves.
var operations = []string{
	"GET /user",
	"POST /app/installations/{installation_id}/access_tokens",
	"GET /repos/{owner}/{repo}",
	"GET /repos/{owner}/{repo}/branches/{branch}",
	"GET /repos/{owner}/{repo}/rules/branches/{branch}",
	"GET /repos/{owner}/{repo}/contents/{path}",
	"PUT /repos/{owner}/{repo}/contents/{path}",
	"GET /repos/{owner}/{repo}/commits",
	"GET /repos/{owner}/{repo}/commits/{ref}",
	"GET /repos/{owner}/{repo}/compare/{basehead}",
	"GET /repos/{owner}/{repo}/git/ref/{ref}",
	"GET /repos/{owner}/{repo}/git/matching-refs/{ref}",
	"POST /repos/{owner}/{repo}/git/refs",
	"PATCH /repos/{owner}/{repo}/git/refs/{ref}",
	"DELETE /repos/{owner}/{repo}/git/refs/{ref}",
	"GET /repos/{owner}/{repo}/git/commits/{commit_sha}",
	"POST /repos/{owner}/{repo}/git/commits",
	"GET /repos/{owner}/{repo}/git/trees/{tree_sha}",
	"POST /repos/{owner}/{repo}/git/trees",
	"GET /repos/{owner}/{repo}/git/blobs/{file_sha}",
	"POST /repos/{owner}/{repo}/git/blobs",
	"GET /repos/{owner}/{repo}/pulls",
	"POST /repos/{owner}/{repo}/pulls",
	"GET /repos/{owner}/{repo}/pulls/{pull_number}",
	"PATCH /repos/{owner}/{repo}/pulls/{pull_number}",
	"GET /repos/{owner}/{repo}/pulls/{pull_number}/files",
	"GET /repos/{owner}/{repo}/pulls/{pull_number}/merge",
	"PUT /repos/{owner}/{repo}/pulls/{pull_number}/merge",
}

// generic are schemas that no operation needs to name: error answers are mostly undeclared.
var generic = []string{"basic-error", "validation-error"}

// cache is where the files are kept: under $FERRY_TESTENV_CACHE, else ferry-testenv in the user's cache directory.
func cache() (string, error) {
	dir := os.Getenv("FERRY_TESTENV_CACHE")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find the cache directory: %w", err)
		}
		dir = filepath.Join(user, "ferry-testenv")
	}
	return filepath.Join(dir, "github"), nil
}

// Files says where the descriptions are kept. The name of the first changes with what is kept of it.
func Files() (openAPI, sdl string, err error) {
	dir, err := cache()
	if err != nil {
		return "", "", err
	}
	sum := sha256.Sum256([]byte(strings.Join(append(operations, generic...), "\n") + OpenAPI.SHA256))
	return filepath.Join(dir, "openapi-"+OpenAPI.Version+"-"+hex.EncodeToString(sum[:6])+".json"), filepath.Join(dir, "schema-"+SDL.Version+".graphql"), nil
}

// object is a JSON object.
type object = map[string]any

// Cut reduces GitHub's OpenAPI description (13 MB) to the operations used and what they refer to.
func Cut(raw []byte) ([]byte, error) {
	var doc struct {
		OpenAPI    string
		Info       object
		Paths      map[string]object
		Components map[string]object
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("read OpenAPI description: %w", err)
	}
	paths, kept := map[string]object{}, map[string]object{}
	for _, operation := range operations {
		method, path, _ := strings.Cut(operation, " ")
		found := doc.Paths[path][strings.ToLower(method)]
		if found == nil {
			return nil, fmt.Errorf("%s is not in the OpenAPI description", operation)
		}
		if paths[path] == nil {
			paths[path] = object{}
			if common := doc.Paths[path]["parameters"]; common != nil {
				paths[path]["parameters"] = common
				follow(doc.Components, kept, common)
			}
		}
		paths[path][strings.ToLower(method)] = found
		follow(doc.Components, kept, found)
	}
	for _, name := range generic {
		follow(doc.Components, kept, object{"$ref": "#/components/schemas/" + name})
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(object{"openapi": doc.OpenAPI, "info": doc.Info, "paths": paths, "components": kept})
	return out.Bytes(), err
}

// follow copies every component that v refers to, and what those refer to.
func follow(from, to map[string]object, v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			follow(from, to, e)
		}
	case object:
		for _, e := range v {
			follow(from, to, e)
		}
		ref, _ := v["$ref"].(string)
		kind, name, ok := strings.Cut(strings.TrimPrefix(ref, "#/components/"), "/")
		if !ok || to[kind][name] != nil {
			return
		}
		if to[kind] == nil {
			to[kind] = object{}
		}
		to[kind][name] = from[kind][name]
		follow(from, to, to[kind][name])
	}
}

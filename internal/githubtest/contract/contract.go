// Package contract holds what passes between ferry and the GitHub stand-in to GitHub's own descriptions of its API:
// REST requests and answers to the OpenAPI description, GraphQL documents, variables and answers to the schema.
// Whatever deviates, and is not on the allow-list in this package, fails the test.
//
// The descriptions are not in the repository: `make testenv` takes them from npm once.
package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/ferry-chatops/ferry/internal/githubtest"
)

// A Contract checks HTTP exchanges.
type Contract struct {
	openAPI *openapi3.T
	router  routers.Router
	schema  *ast.Schema
}

// shared is loaded once for a test binary.
var shared = sync.OnceValues(func() (*Contract, error) {
	openAPI, sdl, err := Files()
	if err != nil {
		return nil, err
	}
	return Load(openAPI, sdl)
})

// Check is the option of githubtest.Start that checks every exchange. Without the descriptions it says so in the log
// and checks nothing; with CI=true the test fails instead.
func Check(t testing.TB) githubtest.Option {
	t.Helper()
	c, err := shared()
	if err != nil {
		missing(t, err)
		return githubtest.Wrap(func(next http.Handler) http.Handler { return next })
	}
	var mu sync.Mutex
	ended := false
	t.Cleanup(func() { // the server's own clean-up came before; what it left may not report any more
		mu.Lock()
		defer mu.Unlock()
		ended = true
	})
	return githubtest.Wrap(func(next http.Handler) http.Handler {
		return c.Handler(next, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			if !ended {
				t.Errorf("not as GitHub's API is described: %v", err)
			}
		})
	})
}

// missing says that the descriptions cannot be had.
func missing(t testing.TB, err error) {
	t.Helper()
	message := fmt.Sprintf("GitHub's API descriptions are not here, so nothing is held to them; make testenv fetches them: %v", err)
	if os.Getenv("CI") == "true" || !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(message)
	}
	t.Log(message)
}

// Load reads descriptions: what Cut made, and GitHub's GraphQL schema.
func Load(openAPI, sdl string) (*Contract, error) {
	for _, file := range []string{openAPI, sdl} {
		if _, err := os.Stat(file); err != nil {
			return nil, err
		}
	}
	doc, err := openapi3.NewLoader().LoadFromFile(openAPI)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", openAPI, err)
	}
	doc.Servers = nil // any host and no base path
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, fmt.Errorf("route %s: %w", openAPI, err)
	}
	schema, err := loadSchema(sdl)
	if err != nil {
		return nil, err
	}
	return &Contract{openAPI: doc, router: router, schema: schema}, nil
}

// checkAnswer says what is wrong with an answer.
type checkAnswer func(*httptest.ResponseRecorder) []error

// Handler passes requests to next and reports every request and every answer that breaks the contract. Git's own
// protocol, and answers that a githubtest.Fault made, are not GitHub's API and pass unchecked.
func (c *Contract) Handler(next http.Handler, report func(error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, isREST := strings.CutPrefix(r.URL.EscapedPath(), "/api/v3")
		isGraphQL := r.URL.Path == "/api/graphql"
		if !isREST && !isGraphQL {
			next.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			report(fmt.Errorf("%s %s: read body: %w", r.Method, r.URL, err))
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		check := c.rest
		if isGraphQL {
			check = c.graphQL
		}
		operation, problems, checkAnswer := check(r, path, body)
		tell := func(problems []error) {
			for _, p := range problems {
				if !allowed(operation, p) {
					report(fmt.Errorf("%s %s (%s): %w", r.Method, r.URL, operation, p))
				}
			}
		}
		tell(problems)
		held := httptest.NewRecorder()
		next.ServeHTTP(held, r) // panics where the connection is to be dropped
		if checkAnswer != nil && held.Header().Get(githubtest.FaultHeader) == "" {
			tell(checkAnswer(held))
		}
		maps.Copy(w.Header(), held.Header())
		w.WriteHeader(held.Code)
		_, _ = w.Write(held.Body.Bytes()) // a client that went away
	})
}

// slashed finds names that may hold slashes. The description's {ref}, {branch} and {path} match one segment, so such
// names are checked in their %2F form.
var slashed = regexp.MustCompile(`^(/repos/[^/]+/[^/]+/(?:contents|commits|compare|branches|rules/branches|git/ref|git/refs|git/matching-refs|git/trees)/)(.+)$`)

// byID is the form that Link headers use; the description does not know it.
var byID = regexp.MustCompile(`^/repositories/\d+`)

// described turns a path into one that the description has.
func described(path string) string {
	path = byID.ReplaceAllString(path, "/repos/owner/name")
	if m := slashed.FindStringSubmatch(path); m != nil {
		return m[1] + strings.ReplaceAll(m[2], "/", "%2F")
	}
	if strings.HasSuffix(path, "/contents/") {
		return path + "%2F" // the root
	}
	return path
}

// rest checks a REST request, says which operation of the description it is, and how to check the answer.
func (c *Contract) rest(r *http.Request, path string, body []byte) (operation string, problems []error, answer checkAnswer) {
	escaped := described(path)
	plain, err := url.PathUnescape(escaped)
	if err != nil {
		return "", []error{fmt.Errorf("request: %w", err)}, nil
	}
	checked := r.Clone(r.Context())
	checked.URL = &url.URL{Scheme: "http", Host: "api.github.com", Path: plain, RawPath: escaped, RawQuery: r.URL.RawQuery}
	checked.Body = io.NopCloser(bytes.NewReader(body))
	checked.ContentLength = int64(len(body))
	route, params, err := c.router.FindRoute(checked)
	if err != nil {
		return "", []error{fmt.Errorf("request: %w: if GitHub has it, add it to the operations of package contract", err)}, nil
	}
	in := &openapi3filter.RequestValidationInput{
		Request: checked, Route: route, PathParams: params,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, SkipSettingDefaults: true},
	}
	if err := openapi3filter.ValidateRequest(r.Context(), in); err != nil {
		problems = append(problems, fmt.Errorf("request: %w", err))
	}
	problems = append(problems, undeclared(route, checked.URL.Query(), body)...)
	return route.Method + " " + route.Path, problems, func(held *httptest.ResponseRecorder) []error {
		var problems []error
		for _, err := range each(c.restAnswer(in, held)) {
			problems = append(problems, fmt.Errorf("answer %d: %w", held.Code, err))
		}
		return problems
	}
}

// each takes the problems of one answer apart, so that one which is allowed hides no other.
func each(err error) []error {
	if many, ok := errors.AsType[openapi3.MultiError](err); ok {
		var all []error
		for _, one := range many {
			all = append(all, each(one)...)
		}
		return all
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// undeclared finds query parameters and body properties that GitHub would silently ignore; JSON schema allows them.
func undeclared(route *routers.Route, query url.Values, body []byte) []error {
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if route.Operation.Parameters.GetByInAndName("query", name) == nil && route.PathItem.Parameters.GetByInAndName("query", name) == nil {
			problems = append(problems, fmt.Errorf("request: query parameter %q is not declared", name))
		}
	}
	if route.Operation.RequestBody == nil || len(body) == 0 {
		return problems
	}
	media := route.Operation.RequestBody.Value.Content.Get("application/json")
	var sent object
	if media == nil || json.Unmarshal(body, &sent) != nil {
		return problems // reported already
	}
	for _, name := range slices.Sorted(maps.Keys(sent)) {
		if media.Schema.Value.Properties[name] == nil {
			problems = append(problems, fmt.Errorf("request: property %q of the body is not declared", name))
		}
	}
	return problems
}

func (c *Contract) restAnswer(in *openapi3filter.RequestValidationInput, answer *httptest.ResponseRecorder) error {
	if answer.Code == http.StatusNotModified {
		if answer.Body.Len() > 0 {
			return errors.New("status 304 has a body")
		}
		return nil
	}
	if answer.Code >= 400 || answer.Code == http.StatusMovedPermanently { // to where a repository has gone, declared for few
		return c.failure(answer.Body.Bytes())
	}
	return openapi3filter.ValidateResponse(in.Request.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: answer.Code, Header: answer.Header(), Body: io.NopCloser(bytes.NewReader(answer.Body.Bytes())),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	})
}

// failure checks the body of an error answer against the schemas that GitHub's errors share.
func (c *Contract) failure(raw []byte) error {
	var body object
	if err := json.Unmarshal(raw, &body); err != nil {
		return fmt.Errorf("error body: %w", err)
	}
	if message, _ := body["message"].(string); message == "" {
		return errors.New("error body has no message")
	}
	schema := "basic-error"
	if body["errors"] != nil {
		schema = "validation-error"
	}
	return c.openAPI.Components.Schemas[schema].Value.VisitJSON(body)
}

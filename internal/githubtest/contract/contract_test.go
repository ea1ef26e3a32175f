package contract_test

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"

	"github.com/ferry-chatops/ferry/internal/githubtest/contract"
)

// load reads the descriptions, or skips by their name; with CI=true it fails.
func load(t *testing.T) *contract.Contract {
	t.Helper()
	openAPI, sdl, err := contract.Files()
	if err != nil {
		t.Fatal(err)
	}
	c, err := contract.Load(openAPI, sdl)
	if errors.Is(err, fs.ErrNotExist) && os.Getenv("CI") != "true" {
		t.Skipf("make testenv fetches GitHub's API descriptions: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const goodRef = `{"ref":"refs/heads/a/b","node_id":"x","url":"http://x/y","object":{"type":"commit","sha":"aa218f56b14c9653891f9e74264a383fa43fefbd","url":"http://x/y"}}`

func TestDeviationsAreReported(t *testing.T) {
	c := load(t)
	const sha = "aa218f56b14c9653891f9e74264a383fa43fefbd"
	const document = `"query":"{ viewer { login id } }"`
	for name, tc := range map[string]struct {
		request string // method, path and body
		status  int
		answer  string
		want    string // empty: nothing is reported
	}{
		"good":                      {"GET /api/v3/repos/o/r/git/ref/heads/a/b", 200, goodRef, ""},
		"encoded slash":             {"GET /api/v3/repos/o/r/git/ref/heads%2Fa%2Fb", 200, goodRef, ""},
		"answer: wrong type":        {"GET /api/v3/repos/o/r/git/ref/heads/a/b", 200, strings.Replace(goodRef, `"x"`, `1`, 1), "value must be a string"},
		"answer: property missing":  {"GET /api/v3/repos/o/r/git/ref/heads/a/b", 200, strings.Replace(goodRef, `"node_id":"x",`, ``, 1), `property "node_id" is missing`},
		"answer: unknown status":    {"GET /api/v3/repos/o/r/git/ref/heads/a/b", 202, goodRef, "status is not supported"},
		"answer: error, no message": {"GET /api/v3/repos/o/r/git/ref/heads/a/b", 404, `{"status":"404"}`, "has no message"},
		"answer: error, no JSON":    {"GET /api/v3/repos/o/r/git/ref/heads/a/b", 502, `<html>`, "error body"},
		"answer: error, bad errors": {"GET /api/v3/repos/o/r/git/ref/heads/a/b", 422, `{"message":"x","documentation_url":"x","errors":{}}`, "value must be an array"},
		"answer: error":             {"GET /api/v3/repos/o/r/git/ref/heads/a/b", 422, `{"message":"x","documentation_url":"x","errors":[{"code":"x"}]}`, ""},
		"answer: moved":             {"GET /api/v3/repos/o/r/pulls", 301, `{"message":"Moved Permanently","url":"http://x/y","documentation_url":"http://x/y"}`, ""},
		"answer: gone fork, and more": {"GET /api/v3/repos/o/r/pulls", 200, `[{"head":{"label":null,"ref":"x","sha":"x","user":null,"repo":null}}]`,
			`Error at "/0/title": property "title" is missing`},
		"request: unknown path":  {"GET /api/v3/repos/o/r/nothing", 200, `{}`, "no matching operation was found"},
		"request: wrong query":   {"GET /api/v3/repos/o/r/pulls?state=closing", 200, `[]`, "value is not one of the allowed values"},
		"request: unknown query": {"GET /api/v3/repos/o/r/pulls?stat=open", 200, `[]`, `query parameter "stat" is not declared`},
		"request: link":          {"GET /api/v3/repositories/17/pulls?page=2", 200, `[]`, ""},
		"request: body missing":  {`POST /api/v3/repos/o/r/git/refs {"ref":"refs/heads/a/b"}`, 201, goodRef, `property "sha" is missing`},
		"request: body misspelt": {`POST /api/v3/repos/o/r/git/refs {"ref":"refs/heads/a/b","sha":"` + sha + `","forced":true}`, 201, goodRef, `property "forced" of the body`},
		"request: body":          {`POST /api/v3/repos/o/r/git/refs {"ref":"refs/heads/a/b","sha":"` + sha + `"}`, 201, goodRef, ""},
		"graphql: good":          {`POST /api/graphql {` + document + `}`, 200, `{"data":{"viewer":{"login":"a","id":"b"}}}`, ""},
		"graphql: unknown field": {`POST /api/graphql {"query":"{ viewer { nothing } }"}`, 200, `{}`, `Cannot query field "nothing" on type "User"`},
		"graphql: unknown key":   {`POST /api/graphql {` + document + `,"vars":{}}`, 200, `{}`, `unknown field "vars"`},
		"graphql: bad variable": {`POST /api/graphql {"query":"query($n:String!){ user(login:$n) { login } }","variables":{"n":1}}`, 200,
			`{"data":{"user":null}}`, "cannot use"},
		"graphql: answer missing": {`POST /api/graphql {` + document + `}`, 200, `{"data":{"viewer":{"login":"a"}}}`, "data.viewer.id is missing"},
		"graphql: answer extra":   {`POST /api/graphql {` + document + `}`, 200, `{"data":{"viewer":{"login":"a","id":"b","x":1}}}`, "data.viewer.x was not asked for"},
		"graphql: answer null":    {`POST /api/graphql {` + document + `}`, 200, `{"data":{"viewer":{"login":null,"id":"b"}}}`, "data.viewer.login is null"},
		"graphql: answer type":    {`POST /api/graphql {` + document + `}`, 200, `{"data":{"viewer":{"login":3,"id":"b"}}}`, "data.viewer.login is 3"},
		"graphql: nothing":        {`POST /api/graphql {` + document + `}`, 200, `{}`, "neither data nor errors"},
		"graphql: error":          {`POST /api/graphql {` + document + `}`, 200, `{"data":null,"errors":[{"message":"x","type":"NOT_FOUND","path":["viewer"],"locations":[{"line":1,"column":2}]}]}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			answered := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json; charset=utf-8")
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.answer)
			})
			method, rest, _ := strings.Cut(tc.request, " ")
			path, body, _ := strings.Cut(rest, " ")
			request := httptest.NewRequest(method, path, strings.NewReader(body))
			if body != "" {
				request.Header.Set("Content-Type", "application/json")
			}
			answer := httptest.NewRecorder()
			c.Handler(answered, func(err error) { got = append(got, err.Error()) }).ServeHTTP(answer, request)
			if all := strings.Join(got, "\n"); tc.want == "" && all != "" || !strings.Contains(all, tc.want) {
				t.Errorf("reported %q, want %q", all, tc.want)
			}
			if answer.Code != tc.status || answer.Body.String() != tc.answer {
				t.Errorf("the answer was changed to %d %s", answer.Code, answer.Body)
			}
		})
	}
}

// TestServedSchemaIsGitHubs holds the stand-in's part of the GraphQL schema to the whole one: same fields, arguments
// and types.
func TestServedSchemaIsGitHubs(t *testing.T) {
	load(t)
	_, sdl, err := contract.Files()
	if err != nil {
		t.Fatal(err)
	}
	published := parse(t, sdl)
	for _, part := range parse(t, filepath.Join("..", "schema.graphql")).Definitions {
		whole := published.Definitions.ForName(part.Name)
		if whole == nil || whole.Kind != part.Kind {
			t.Errorf("%s %s is not GitHub's", part.Kind, part.Name)
			continue
		}
		for _, field := range part.Fields {
			real := whole.Fields.ForName(field.Name)
			if real == nil || real.Type.String() != field.Type.String() {
				t.Errorf("%s.%s is not GitHub's", part.Name, field.Name)
				continue
			}
			for _, argument := range field.Arguments {
				if a := real.Arguments.ForName(argument.Name); a == nil || a.Type.String() != argument.Type.String() {
					t.Errorf("%s.%s(%s) is not GitHub's", part.Name, field.Name, argument.Name)
				}
			}
		}
	}
}

func parse(t *testing.T, file string) *ast.SchemaDocument {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := parser.ParseSchema(&ast.Source{Name: file, Input: string(raw)})
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestCut cuts what is cut already, which leaves nothing more to cut, and something that lacks an operation.
func TestCut(t *testing.T) {
	load(t)
	openAPI, _, err := contract.Files()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := contract.Cut(raw); err != nil || string(again) != string(raw) {
		t.Errorf("cut again: %d bytes of %d, %v", len(again), len(raw), err)
	}
	if _, err := contract.Cut([]byte(`{"paths":{"/user":{"put":{}}}}`)); err == nil || !strings.Contains(err.Error(), "GET /user is not in") {
		t.Errorf("without an operation: %v", err)
	}
}

// A verdict is a testing.TB that notes how a test ended.
type verdict struct {
	testing.TB
	failed, logged string
}

func (v *verdict) Helper()           {}
func (v *verdict) Fatal(args ...any) { v.failed = args[0].(string) }
func (v *verdict) Log(args ...any)   { v.logged = args[0].(string) }

func TestMissingDescriptionsFailInCIOnly(t *testing.T) {
	t.Setenv("FERRY_TESTENV_CACHE", t.TempDir())
	for _, ci := range []string{"", "true"} {
		t.Setenv("CI", ci)
		v := &verdict{TB: t}
		contract.Check(v)
		if said := v.failed + v.logged; (v.failed != "") != (ci == "true") || !strings.Contains(said, "make testenv") {
			t.Errorf("CI=%q: failed %q, logged %q", ci, v.failed, v.logged)
		}
	}
}

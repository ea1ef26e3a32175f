package githubtest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
)

// maxBody bounds what one request may bring: GitHub takes about 40 MB.
const maxBody = 64 << 20

// A Request is one line of the access log.
type Request struct {
	Time   time.Time     // of its arrival
	Took   time.Duration // until it was answered
	Method string
	Path   string // decoded, "/api/v3" included
	Query  string // as sent
	// Fields are the top-level fields of a GraphQL document: "createCommitOnBranch".
	Fields []string
	Login  string // whose token it was; empty without a known one
	// Status is zero where the connection was dropped without an answer.
	Status int
}

// String gives "METHOD PATH[?QUERY] [FIELDS] STATUS".
func (r Request) String() string {
	s := r.Method + " " + r.Path
	if r.Query != "" {
		s += "?" + r.Query
	}
	if len(r.Fields) > 0 {
		s += " " + strings.Join(r.Fields, ",")
	}
	return s + " " + strconv.Itoa(r.Status)
}

// Requests returns the access log: every request that was answered or dropped so far, in the order of their ends.
func (s *Server) Requests() []Request {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	return slices.Clone(s.requests)
}

// A recorder notes the status of an answer on its way.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

type fieldsKey struct{}

// logged is the outermost handler: it reads the whole body, so that a client that goes away is noticed, and keeps the
// access log.
func (s *Server) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.running.TryRLock() { // closed in the meantime
			panic(http.ErrAbortHandler)
		}
		defer s.running.RUnlock()
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, "body cannot be read or is too large", http.StatusRequestEntityTooLarge)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.ContentLength, r.TransferEncoding = int64(len(body)), nil // CGI knows no chunks
		entry := Request{Time: time.Now(), Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery}
		if r.URL.Path == graphQLPath {
			entry.Fields = topFields(body)
			r = r.WithContext(context.WithValue(r.Context(), fieldsKey{}, entry.Fields))
		}
		if t, ok := s.token(r); ok {
			entry.Login = t.login
		}
		rec := &recorder{ResponseWriter: w}
		defer func() {
			entry.Status, entry.Took = rec.status, time.Since(entry.Time)
			s.logMu.Lock()
			defer s.logMu.Unlock()
			s.requests = append(s.requests, entry)
		}()
		next.ServeHTTP(rec, r)
	})
}

// topFields are the fields that the operations of a GraphQL request begin with.
func topFields(body []byte) []string {
	var request struct{ Query string }
	if json.Unmarshal(body, &request) != nil {
		return nil
	}
	doc, err := parser.ParseQuery(&ast.Source{Input: request.Query})
	if err != nil {
		return nil
	}
	var fields []string
	for _, o := range doc.Operations {
		for _, selection := range o.SelectionSet {
			if f, ok := selection.(*ast.Field); ok {
				fields = append(fields, f.Name)
			}
		}
	}
	return fields
}

// token finds the credential of a request: "Bearer T", "token T", or Basic with T as the password.
func (s *Server) token(r *http.Request) (token, bool) {
	secret := ""
	if scheme, rest, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok {
		switch {
		case strings.EqualFold(scheme, "bearer"), strings.EqualFold(scheme, "token"):
			secret = rest
		case strings.EqualFold(scheme, "basic"):
			_, secret, _ = r.BasicAuth()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tokens[secret]
	return t, ok && secret != "" && (t.until.IsZero() || time.Now().Before(t.until))
}

// A failure is an answer above 399.
type failure struct {
	status   int
	message  string
	errors   []object
	accepted string // the permission that GitHub would have accepted, "contents=write"
}

func (f *failure) Error() string { return f.message }

func fail(status int, format string, args ...any) error {
	return &failure{status: status, message: fmt.Sprintf(format, args...)}
}

var notFound = &failure{status: http.StatusNotFound, message: "Not Found"}

// invalid is GitHub's 422 with one entry in errors.
func invalid(resource, field, code, message string) error {
	e := object{"resource": resource, "code": code}
	if field != "" {
		e["field"] = field
	}
	if message != "" {
		e["message"] = message
	}
	return &failure{status: http.StatusUnprocessableEntity, message: "Validation Failed", errors: []object{e}}
}

// A call is an API request on its way through a handler.
type call struct {
	*http.Request
	s      *Server
	login  string
	token  token
	repo   *repository // nil where the path names none
	answer http.Header
}

// decode reads the JSON body.
func (c *call) decode(into any) error {
	if err := json.NewDecoder(c.Body).Decode(into); err != nil {
		return fail(http.StatusBadRequest, "Problems parsing JSON")
	}
	return nil
}

// page cuts a list to the page that the query asks for and sets Link, in the form /repositories/{id}/… that GitHub
// uses and that clients are to follow as it is.
func page[T any](c *call, all []T) []T {
	size := c.number("per_page", 30, 100)
	number := c.number("page", 1, 1<<20)
	last := max(1, (len(all)+size-1)/size)
	link := func(n int, rel string) string {
		q := c.URL.Query()
		q.Set("page", strconv.Itoa(n))
		q.Set("per_page", strconv.Itoa(size))
		prefix := "/api/v3/repos/" + c.repo.fullName()
		path := fmt.Sprintf("/api/v3/repositories/%d%s", c.repo.id, strings.TrimPrefix(c.URL.EscapedPath(), prefix))
		return fmt.Sprintf("<%s%s?%s>; rel=%q", c.s.url, path, q.Encode(), rel)
	}
	var links []string
	if number > 1 {
		links = append(links, link(number-1, "prev"), link(1, "first"))
	}
	if number < last {
		links = append(links, link(number+1, "next"), link(last, "last"))
	}
	if len(links) > 0 {
		c.answer.Set("Link", strings.Join(links, ", "))
	}
	from := min((number-1)*size, len(all))
	return all[from:min(from+size, len(all))]
}

func (c *call) number(name string, normal, most int) int {
	n, err := strconv.Atoi(c.URL.Query().Get(name))
	if err != nil || n < 1 {
		return normal
	}
	return min(n, most)
}

// A handler answers a call with a status and a body: an object, an array, a []byte as it is, or nil for none.
type handler func(c *call) (status int, body any, err error)

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	api := func(pattern string, h handler) {
		method, path, _ := strings.Cut(pattern, " ")
		mux.Handle(method+" /api/v3"+path, s.api(h))
	}
	api("GET /user", (*call).user)
	api("GET /repos/{owner}/{repo}", (*call).repository)
	api("GET /repos/{owner}/{repo}/branches/{branch...}", (*call).branch)
	api("GET /repos/{owner}/{repo}/rules/branches/{branch...}", (*call).rules)
	api("GET /repos/{owner}/{repo}/contents/{path...}", (*call).contents)
	api("PUT /repos/{owner}/{repo}/contents/{path...}", (*call).putContents)
	api("GET /repos/{owner}/{repo}/commits", (*call).commits)
	api("GET /repos/{owner}/{repo}/commits/{ref...}", (*call).commit)
	api("GET /repos/{owner}/{repo}/compare/{basehead...}", (*call).compare)
	api("GET /repos/{owner}/{repo}/git/ref/{ref...}", (*call).ref)
	api("GET /repos/{owner}/{repo}/git/matching-refs/{ref...}", (*call).matchingRefs)
	api("POST /repos/{owner}/{repo}/git/refs", (*call).createRef)
	api("PATCH /repos/{owner}/{repo}/git/refs/{ref...}", (*call).updateRef)
	api("DELETE /repos/{owner}/{repo}/git/refs/{ref...}", (*call).deleteRef)
	api("GET /repos/{owner}/{repo}/git/commits/{sha}", (*call).gitCommit)
	api("POST /repos/{owner}/{repo}/git/commits", (*call).createCommit)
	api("GET /repos/{owner}/{repo}/git/trees/{sha...}", (*call).tree)
	api("POST /repos/{owner}/{repo}/git/trees", (*call).createTree)
	api("GET /repos/{owner}/{repo}/git/blobs/{sha}", (*call).blob)
	api("POST /repos/{owner}/{repo}/git/blobs", (*call).createBlob)
	api("GET /repos/{owner}/{repo}/pulls", (*call).pulls)
	api("POST /repos/{owner}/{repo}/pulls", (*call).createPull)
	api("GET /repos/{owner}/{repo}/pulls/{number}", (*call).pull)
	api("PATCH /repos/{owner}/{repo}/pulls/{number}", (*call).updatePull)
	api("GET /repos/{owner}/{repo}/pulls/{number}/merge", (*call).pullMerged)
	api("PUT /repos/{owner}/{repo}/pulls/{number}/merge", (*call).mergePull)
	mux.HandleFunc("POST /api/v3/app/installations/{installation}/access_tokens", s.installationToken)
	mux.Handle("/api/v3/repositories/{id}/{rest...}", s.byID(mux))
	mux.Handle("POST "+graphQLPath, s.api((*call).graphQL))
	mux.Handle("/api/", s.api(func(c *call) (int, any, error) {
		return 0, nil, fail(http.StatusNotImplemented, "the GitHub stand-in does not serve %s %s", c.Method, c.URL.Path)
	}))
	web := http.NewServeMux() // of its own: a repository may belong to an owner "api", for all that a mux knows
	s.pages(web)
	web.HandleFunc("/", s.smartHTTP)
	mux.Handle("/", web)
	return mux
}

// byID serves /repositories/{id}/…, the form that Link headers use.
func (s *Server) byID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := "-/-" // does not exist
		s.mu.Lock()
		for _, repo := range s.repositories {
			if strconv.FormatInt(repo.id, 10) == r.PathValue("id") {
				name = repo.fullName()
			}
		}
		s.mu.Unlock()
		prefix := "/api/v3/repositories/" + r.PathValue("id")
		r = r.Clone(r.Context())
		escaped := "/api/v3/repos/" + name + strings.TrimPrefix(r.URL.EscapedPath(), prefix)
		path, err := url.PathUnescape(escaped)
		if err != nil {
			writeError(w, notFound)
			return
		}
		r.URL.Path, r.URL.RawPath = path, escaped
		next.ServeHTTP(w, r)
	})
}

// api authenticates, finds the repository, and answers one request at a time.
func (s *Server) api(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("X-GitHub-Media-Type", "github.v3; format=json")
		header.Set("X-RateLimit-Limit", "5000")
		header.Set("X-RateLimit-Remaining", "4999")
		header.Set("X-RateLimit-Used", "1")
		header.Set("X-RateLimit-Reset", strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10))
		header.Set("X-RateLimit-Resource", "core")
		header.Set("Cache-Control", "private, max-age=60, s-maxage=60")
		header.Set("Vary", "Accept, Authorization, Cookie")
		t, ok := s.token(r)
		switch {
		case r.Header.Get("Authorization") == "":
			writeError(w, fail(http.StatusUnauthorized, "Requires authentication"))
			return
		case !ok:
			writeError(w, fail(http.StatusUnauthorized, "Bad credentials"))
			return
		}
		if t.rights.Scopes != nil {
			header.Set("X-OAuth-Scopes", strings.Join(t.rights.Scopes, ", "))
		}
		status, body, err := s.serve(h, &call{Request: r, s: s, login: t.login, token: t, answer: header})
		if err != nil {
			writeError(w, err)
			return
		}
		write(w, status, body)
	})
}

// serve runs a handler on the repository that the path names, if it names one.
func (s *Server) serve(h handler, c *call) (status int, body any, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if owner := c.PathValue("owner"); owner != "" {
		name := owner + "/" + c.PathValue("repo")
		c.repo = s.repositories[name]
		if c.repo == nil || !c.token.sees(name) {
			return 0, nil, notFound
		}
		permission, level := needs(c.Request)
		if f := c.token.forbids(permission, level); f != nil {
			return 0, nil, f
		}
		if c.repo.archived && level == "write" {
			return 0, nil, fail(http.StatusForbidden, "Repository was archived so is read-only.")
		}
		c.repo.sync()
	}
	return h(c)
}

func write(w http.ResponseWriter, status int, body any) {
	if body == nil {
		w.WriteHeader(status)
		return
	}
	raw, ok := body.([]byte)
	if !ok {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		var err error
		if raw, err = json.Marshal(body); err != nil {
			http.Error(w, "the GitHub stand-in cannot encode its answer: "+err.Error(), http.StatusInternalServerError)
			return
		}
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	w.WriteHeader(status)
	_, _ = w.Write(raw) // a client that went away
}

func writeError(w http.ResponseWriter, err error) {
	f := &failure{status: http.StatusInternalServerError, message: "the GitHub stand-in failed: " + err.Error()}
	errors.As(err, &f)
	body := object{"message": f.message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(f.status)}
	if f.errors != nil {
		body["errors"] = f.errors
	}
	if f.accepted != "" {
		w.Header().Set("X-Accepted-GitHub-Permissions", f.accepted)
	}
	write(w, f.status, body)
}

// smartHTTP serves clone, fetch and push by git's own git-http-backend. Only its three requests get through, and only
// to repositories that exist here.
func (s *Server) smartHTTP(w http.ResponseWriter, r *http.Request) {
	path, rest, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), ".git/")
	service := r.URL.Query().Get("service")
	if rest != "info/refs" {
		service = rest
	}
	if !ok || service != "git-upload-pack" && service != "git-receive-pack" {
		http.NotFound(w, r)
		return
	}
	t, known := s.token(r)
	if !known && (service == "git-receive-pack" || !s.anonymousGit || r.Header.Get("Authorization") != "") {
		w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
		http.Error(w, "Invalid username or token.", http.StatusUnauthorized)
		return
	}
	s.mu.Lock()
	repo := s.repositories[path]
	s.mu.Unlock()
	level := "read"
	if service == "git-receive-pack" {
		level = "write"
	}
	if repo == nil || known && (!t.sees(path) || t.forbids("contents", level) != nil) {
		http.Error(w, "Repository not found.", http.StatusNotFound)
		return
	}
	backend := *s.git
	backend.Env = append(slices.Clone(backend.Env), "REMOTE_USER="+t.login)
	backend.ServeHTTP(w, r)
}

func encode64(b []byte) string {
	var out strings.Builder
	for s := base64.StdEncoding.EncodeToString(b); s != ""; {
		n := min(60, len(s)) // GitHub wraps at 60
		out.WriteString(s[:n] + "\n")
		s = s[n:]
	}
	return out.String()
}

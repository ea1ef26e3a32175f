package githubtest

import (
	"bytes"
	"cmp"
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
	Bytes  int // of the body, as it travelled
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
	status, bytes int
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
	r.bytes += len(b)
	return r.ResponseWriter.Write(b)
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// An exchange is what the handlers of one request tell one another.
type exchange struct {
	fields                []string // of a GraphQL document
	wire                  Wire
	perMinute, concurrent int // requests of the API, this one included
	ended                 bool
}

type exchangeKey struct{}

// exchanged is that of a request.
func exchanged(r *http.Request) *exchange {
	if e, ok := r.Context().Value(exchangeKey{}).(*exchange); ok {
		return e
	}
	return &exchange{}
}

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
		}
		state := &exchange{fields: entry.Fields}
		r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, state))
		if t, ok := s.token(r); ok {
			entry.Login = t.login
		}
		rec := &recorder{ResponseWriter: w}
		isAPI := strings.HasPrefix(r.URL.Path, "/api/")
		if isAPI {
			state.perMinute, state.concurrent = s.begin()
		}
		defer func() {
			if isAPI {
				s.end(state, rec.status)
			}
			entry.Status, entry.Bytes, entry.Took = rec.status, rec.bytes, time.Since(entry.Time)
			s.logMu.Lock()
			defer s.logMu.Unlock()
			if s.log == nil {
				s.requests = append(s.requests, entry)
				return
			}
			_, _ = fmt.Fprintf(s.log, "%s %s %s %d bytes in %s\n", entry.Time.UTC().Format(time.RFC3339Nano), cmp.Or(entry.Login, "-"), entry, entry.Bytes,
				entry.Took.Round(time.Microsecond)) // evidence, not a part of the answer
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
	if ok && !t.until.IsZero() {
		now := s.clock.now()
		ok = now.Before(t.until) && now.Sub(t.from) >= s.behaviour.Fresh
	}
	return t, ok && secret != ""
}

// A failure is an answer that is no success: above 399, or a redirect.
type failure struct {
	status   int
	message  string
	errors   []object
	accepted string // the permission that GitHub would have accepted, "contents=write"
	location string // of a redirect
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

// A handler answers a call with a status and a body: an object, an array, a *document that is JSON, a []byte as it is, or
// nil for none.
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
	api("GET /repos/{owner}/{repo}/pulls/{number}/files", (*call).pullFiles)
	api("GET /repos/{owner}/{repo}/pulls/{number}/merge", (*call).pullMerged)
	api("PUT /repos/{owner}/{repo}/pulls/{number}/merge", (*call).mergePull)
	mux.HandleFunc("POST /api/v3/app/installations/{installation}/access_tokens", s.installationToken)
	mux.Handle("/api/v3/repositories/{id}", s.byID(mux))
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
		name := "-/-"                                        // does not exist
		id, _ := strconv.ParseInt(r.PathValue("id"), 10, 64) // 0 is none
		s.mu.Lock()
		if repo := s.ids[id]; repo != nil {
			name = repo.fullName()
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

// api authenticates, holds to limits, finds the repository, and answers one request at a time.
func (s *Server) api(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := s.Behaviour()
		if b.Latency > 0 {
			select {
			case <-time.After(b.Latency):
			case <-r.Context().Done(): // the client went away
				panic(http.ErrAbortHandler)
			}
		}
		header := w.Header()
		header.Set("X-GitHub-Media-Type", "github.v3; format=json")
		if b.Skew != 0 {
			header.Set("Date", time.Now().Add(b.Skew).UTC().Format(http.TimeFormat))
		}
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
		resource := "core"
		if r.URL.Path == graphQLPath {
			resource = "graphql"
		}
		if !s.charge(header, t.login, resource, 0, b) {
			writeError(w, fail(http.StatusForbidden, "API rate limit exceeded for user ID %d.", number("user "+t.login)))
			return
		}
		if e := exchanged(r); b.Limits.exceeded(e) {
			if b.Limits.RetryAfter > 0 {
				header.Set("Retry-After", strconv.Itoa(s.clock.seconds(b.Limits.RetryAfter)))
			}
			writeError(w, fail(cmp.Or(b.Limits.Status, http.StatusForbidden), secondaryMessage))
			return
		}
		status, body, err := s.serve(h, &call{Request: r, s: s, login: t.login, token: t, answer: header}, b)
		if status != http.StatusNotModified {
			s.charge(header, t.login, resource, 1, b)
		}
		if err != nil {
			writeError(w, err)
			return
		}
		write(w, status, body)
	})
}

// serve runs a handler on the repository that the path names, if it names one, and answers 304 where nothing changed.
func (s *Server) serve(h handler, c *call, b Behaviour) (status int, body any, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if owner := c.PathValue("owner"); owner != "" {
		if err := c.find(owner + "/" + c.PathValue("repo")); err != nil {
			return 0, nil, err
		}
	}
	if status, body, err = h(c); err != nil || c.Method != http.MethodGet || status != http.StatusOK {
		return status, body, err
	}
	doc, isJSON := body.(*document)
	if raw, ok := body.([]byte); ok {
		doc = newDocument(raw)
	} else if !isJSON {
		raw, err := json.Marshal(body)
		if err != nil {
			return 0, nil, fmt.Errorf("encode answer: %w", err)
		}
		doc, body = newDocument(raw), json.RawMessage(raw)
	}
	c.answer.Set("Cache-Control", "private, max-age=60, s-maxage=60")
	c.answer.Set("Vary", vary)
	if b.ETag == Body {
		c.answer.Set("Vary", varyPublic)
	}
	if etag := s.etag(c.Request, b.ETag, doc); etag != "" {
		quoted := `"` + etag + `"`
		if b.Weak {
			quoted = "W/" + quoted
		}
		c.answer.Set("ETag", quoted)
		if known(c.Request, etag) {
			return http.StatusNotModified, nil, nil
		}
	}
	if isJSON {
		body = json.RawMessage(doc.body())
	}
	if raw, ok := body.(json.RawMessage); ok && pretty(c.Request) {
		var lines bytes.Buffer
		if err := json.Indent(&lines, raw, "", "  "); err != nil {
			return 0, nil, fmt.Errorf("indent answer: %w", err)
		}
		body = json.RawMessage(lines.Bytes())
	}
	return status, body, nil
}

// find sets the repository of a call, as far as its token reaches.
func (c *call) find(name string) error {
	c.repo = c.s.repositories[name]
	if moved := c.s.moved[name]; c.repo == nil && moved != nil && c.token.sees(moved.fullName()) {
		rest := strings.TrimPrefix(c.URL.EscapedPath(), "/api/v3/repos/"+name)
		to := fmt.Sprintf("%s/api/v3/repositories/%d%s", c.s.url, moved.id, rest)
		if c.URL.RawQuery != "" {
			to += "?" + c.URL.RawQuery
		}
		return &failure{status: http.StatusMovedPermanently, message: "Moved Permanently", location: to}
	}
	if c.repo == nil || !c.token.sees(name) {
		return notFound
	}
	if c.repo.gone != 0 {
		return fail(c.repo.gone, "%s", cmp.Or(goneMessages[c.repo.gone], "Not Found"))
	}
	permission, level := needs(c.Request)
	if f := c.token.forbids(permission, level); f != nil {
		return f
	}
	if c.repo.archived && level == "write" {
		return fail(http.StatusForbidden, "Repository was archived so is read-only.")
	}
	if _, path, _ := strings.Cut(c.Pattern, "/repos/{owner}/{repo}"); c.repo.madeUp() && (c.Method != http.MethodGet || !slices.Contains(servedMadeUp, path)) {
		return fail(http.StatusNotImplemented, "the GitHub stand-in does not serve %s %s of a made-up repository", c.Method, path)
	}
	c.s.catchUp()
	c.repo.sync()
	return nil
}

// servedMadeUp is what can be read of repositories without Git.
var servedMadeUp = []string{"", "/pulls", "/pulls/{number}", "/pulls/{number}/files", "/pulls/{number}/merge", "/compare/{basehead...}"}

// goneMessages are what GitHub says of repositories that it does not show.
var goneMessages = map[int]string{
	http.StatusForbidden:                  "Repository access blocked",
	http.StatusUnavailableForLegalReasons: "Repository access blocked",
}

func write(w http.ResponseWriter, status int, body any) {
	if body == nil {
		w.WriteHeader(status)
		return
	}
	raw, ok := body.([]byte)
	if !ok {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		raw, ok = body.(json.RawMessage)
	}
	if !ok {
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
	if f.location != "" {
		body["url"] = f.location
		w.Header().Set("Location", f.location)
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
	repo, moved := s.repositories[path], s.moved[path]
	s.mu.Unlock()
	if repo == nil && moved != nil && (!known || t.sees(moved.fullName())) {
		http.Redirect(w, r, s.GitURL(moved.fullName())+"/"+rest+"?"+r.URL.RawQuery, http.StatusMovedPermanently)
		return
	}
	level := "read"
	if service == "git-receive-pack" {
		level = "write"
	}
	if repo == nil || repo.madeUp() || repo.gone != 0 || known && (!t.sees(path) || t.forbids("contents", level) != nil) {
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

// Package githubtest is a GitHub stand-in over real bare Git repositories: REST under /api/v3/, GraphQL at
// /api/graphql, as GitHub Enterprise Server has them, and clone, fetch and push under /OWNER/NAME.git.
//
// It serves the operations that ferry uses, with GitHub's status codes and wording; what it does not serve it answers
// with 501 and says so. Git does the work: objects and refs are in the repositories, so a push and an API call see
// the same branch. Pull requests, rules and tokens live in memory.
//
// A test starts one with Start, and hands it contract.Check (package contract) to hold every exchange to GitHub's own
// description of its API:
//
//	hub := githubtest.Start(t, contract.Check(t))
//	hub.AddToken("t0ken", "ferry-bot")
//	sha, err := hub.CreateRepository("acme/fleet", map[string]string{"apps/podinfo.yaml": "…"})
//	client, err := github.NewClient(nil).WithAuthToken("t0ken").WithEnterpriseURLs(hub.APIURL(), hub.APIURL())
//
// A program starts one with Serve.
package githubtest

import (
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Server is a running stand-in. Its methods may be called from several goroutines.
type Server struct {
	url     string
	dir     string
	handler http.Handler
	git     *cgi.Handler
	http    *http.Server
	done    chan struct{} // closed when nothing is accepted any more
	// running is held for reading by every request, and taken by Close.
	running sync.RWMutex

	anonymousGit bool
	wrap         func(http.Handler) http.Handler

	mu           sync.Mutex // held while an API request is answered, so that each is atomic
	repositories map[string]*repository
	tokens       map[string]token
	ids          map[int64]*repository
	moved        map[string]*repository // by names that they had
	apps         map[int64]app          // by installation
	behaviour    Behaviour
	secret       []byte // behind ETags that cannot be foreseen

	clock clock

	// Of made-up repositories; guarded by mu.
	script     []Change // that are to come
	impossible int      // changes of it that could not be
	happened   func(Change)
	replicas   [2]time.Time // how far each knows
	turn       int
	items      map[itemKey][]byte
	itemBytes  int
	documents  map[string]*document

	logMu    sync.Mutex
	requests []Request
	log      io.Writer // of the requests; nil: they are kept
	faults   []*Fault
	random   *rand.Rand // decides about faults
	load     meter
}

// A token is a credential: whose it is and what it sees.
type token struct {
	login        string
	repositories []string  // empty: all
	from, until  time.Time // of an installation, on the stand-in's clock; zero: for good
	rights       Rights
}

func (t token) sees(repository string) bool {
	return len(t.repositories) == 0 || slices.Contains(t.repositories, repository)
}

// An Option changes how a Server is set up.
type Option func(*Server)

// AnonymousGit lets everyone clone and fetch without a credential, as from public repositories. Pushes and the API
// still need a token.
func AnonymousGit() Option { return func(s *Server) { s.anonymousGit = true } }

// Seed makes what happens by chance repeatable: which requests a Fault with a Probability hits.
func Seed(seed uint64) Option {
	return func(s *Server) { s.random = rand.New(rand.NewPCG(seed, seed)) }
}

// LogTo writes the access log, a line for each request, and keeps none in memory.
func LogTo(w io.Writer) Option { return func(s *Server) { s.log = w } }

// OnChange is told everything that happens to made-up repositories and by Apply, while nothing else goes on: it must
// return soon and ask nothing of the stand-in.
func OnChange(f func(Change)) Option { return func(s *Server) { s.happened = f } }

// Wrap puts a handler around the stand-in, which sees all requests and answers: package contract checks them so.
// Answers of a Fault carry the header FaultHeader.
func Wrap(f func(http.Handler) http.Handler) Option { return func(s *Server) { s.wrap = f } }

// Serve starts a stand-in that keeps its repositories under dir as OWNER/NAME.git. addr is "127.0.0.1:0" for any free
// port; only loopback addresses are accepted.
func Serve(dir, addr string, options ...Option) (*Server, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("address of the GitHub stand-in: %w", err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("address of the GitHub stand-in: %s is not a loopback address", addr)
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("directory of the GitHub stand-in: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("directory of the GitHub stand-in: %w", err)
	}
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return nil, fmt.Errorf("ask git for its programs: %w", err)
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("start the GitHub stand-in: %w", err)
	}
	s := &Server{
		url: "http://" + listener.Addr().String(), dir: dir, done: make(chan struct{}),
		repositories: map[string]*repository{}, ids: map[int64]*repository{}, moved: map[string]*repository{},
		tokens: map[string]token{}, apps: map[int64]app{},
		secret: []byte(crand.Text()), random: rand.New(rand.NewPCG(1, 1)), clock: clock{began: time.Now(), base: time.Now().UTC(), origin: time.Now().UTC(), factor: 1},
		git: &cgi.Handler{
			Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
			Env:  append(gitEnvironment(), "GIT_PROJECT_ROOT="+dir, "GIT_HTTP_EXPORT_ALL=1"),
		},
	}
	s.forget()
	for _, o := range options {
		o(s)
	}
	s.handler = s.faulty(s.routes())
	if s.wrap != nil {
		s.handler = s.wrap(s.handler)
	}
	s.handler = s.wired(s.handler)
	s.http = &http.Server{Handler: s.logged(s.handler), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(listener) // ends with http.ErrServerClosed when closed
	}()
	return s, nil
}

// TB is the part of testing.TB that Start needs. It is spelt out so that programs do not link package testing.
type TB interface {
	Helper()
	Cleanup(func())
	TempDir() string
	Fatalf(format string, args ...any)
}

// Start starts a stand-in on a free port, which ends with the test.
func Start(t TB, options ...Option) *Server {
	t.Helper()
	s, err := Serve(t.TempDir(), "127.0.0.1:0", options...)
	if err != nil {
		t.Fatalf("start GitHub stand-in: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// Close ends the stand-in, drops the connections that are left and waits for their handlers, git's included. The
// repositories stay. It is called once.
func (s *Server) Close() {
	_ = s.http.Close() // only says that the listener is closed already
	<-s.done
	s.running.Lock()
}

// APIURL is the root of the REST interface, with a slash at the end; github.Client.WithEnterpriseURLs takes it.
func (s *Server) APIURL() string { return s.url + "/api/v3/" }

// GitURL is where to clone "owner/name" from.
func (s *Server) GitURL(repository string) string { return s.url + "/" + repository + ".git" }

// AddToken makes a token known. What it does is done by login. With repositories ("owner/name") it sees only these;
// others do not exist for it.
func (s *Server) AddToken(secret, login string, repositories ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[secret] = token{login: login, repositories: repositories}
}

var repositoryName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9_][A-Za-z0-9._-]*$`)

// CreateRepository makes "owner/name" with one commit of files on its default branch, main, and returns that commit.
func (s *Server) CreateRepository(name string, files map[string]string) (sha string, err error) {
	if !repositoryName.MatchString(name) || strings.HasSuffix(name, ".git") {
		return "", fmt.Errorf("create repository %q: name is not OWNER/NAME", name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.repositories[name] != nil {
		return "", fmt.Errorf("create repository %s: it exists", name)
	}
	owner, short, _ := strings.Cut(name, "/")
	r := &repository{
		id: int64(1000 + len(s.ids)), owner: owner, name: short, dir: filepath.Join(s.dir, owner, short+".git"),
		created: now(), rules: map[string][]Rule{}, signed: map[string]bool{},
	}
	if err := r.init(); err != nil {
		return "", fmt.Errorf("create repository %s: %w", name, err)
	}
	s.repositories[name], s.ids[r.id] = r, r
	return r.commitFiles("main", "", person(owner), "Initial commit", files)
}

// Commit adds a commit to a branch as somebody else would push it, past all rules: to move a branch under a client.
// The author is a login. Files replace those of the same path; nil files make an empty commit. A branch that does not
// exist begins at the default branch. It returns the commit.
func (s *Server) Commit(repository, branch, author, message string, files map[string]string) (sha string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.repository(repository)
	if err != nil {
		return "", err
	}
	parent, err := r.branch(branch)
	if errors.Is(err, errNoRef) {
		parent, err = r.branch(defaultBranch)
	}
	if err != nil {
		return "", err
	}
	return r.commitFiles(branch, parent, person(author), message, files)
}

// SetRules replaces the rules of a branch, given by its exact name; it need not exist.
func (s *Server) SetRules(repository, branch string, rules ...Rule) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.repository(repository)
	if err != nil {
		return err
	}
	r.rules[branch] = rules
	return r.writeRules()
}

// MergePullRequest merges as a person would on the web page: required reviews do not hold it up, conflicts do. Method
// is merge, squash or rebase. It returns the commit on the base branch.
func (s *Server) MergePullRequest(repository string, number int, login, method string) (sha string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.repository(repository)
	if err != nil {
		return "", err
	}
	p := r.pull(number)
	if p == nil {
		return "", fmt.Errorf("merge: %s has no pull request %d", repository, number)
	}
	if err := r.merge(p, login, method, "", ""); err != nil {
		return "", fmt.Errorf("merge %s#%d: %w", repository, number, err)
	}
	return p.mergeCommit, nil
}

// repository finds one by "owner/name"; s.mu is held.
func (s *Server) repository(name string) (*repository, error) {
	if r := s.repositories[name]; r != nil {
		return r, nil
	}
	return nil, fmt.Errorf("the GitHub stand-in has no repository %q", name)
}

func now() time.Time { return time.Now().UTC().Truncate(time.Second) }

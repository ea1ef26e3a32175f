package github

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/promotion"
)

const (
	token = "canary-token-1234"
	sha   = "0123456789012345678901234567890123456789"
	other = "9876543210987654321098765432109876543210"
)

// A script answers requests one after another, and keeps what was asked. After the last answer it repeats that one.
type script struct {
	t       *testing.T
	answers []http.HandlerFunc
	token   string // that it expects, and that ferry has

	mu    sync.Mutex
	asked []string // "GET /api/v3/…?query"
	slept []time.Duration
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := r.Header.Get("Authorization"); got != "Bearer "+s.token {
		s.t.Errorf("Authorization %q", got)
	}
	s.asked = append(s.asked, r.Method+" "+r.URL.RequestURI())
	answer := s.answers[min(len(s.asked), len(s.answers))-1]
	w.Header().Set("Content-Type", "application/json")
	answer(w, r)
}

// requests are those that were asked so far. A connection that was dropped is no sign that its handler has ended.
func (s *script) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// say answers with a status, a body, and headers as names and values in turn.
func say(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

func drop(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func message(text string) string { return fmt.Sprintf(`{"message": %q}`, text) }

// open returns a repository of a scripted GitHub.
func open(t *testing.T, answers ...http.HandlerFunc) (promotion.Repository, *script) {
	t.Helper()
	s := &script{t: t, answers: answers, token: token}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	client, err := New(Config{
		BaseURL: server.URL,
		Token:   func(context.Context) (string, error) { return s.token + "\n", nil },
		Allowed: func(name string) bool { return name == "acme/fleet" },
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	client.sleep = func(_ context.Context, d time.Duration) error {
		s.slept = append(s.slept, d)
		return nil
	}
	r, err := client.Repository("acme/fleet")
	if err != nil {
		t.Fatal(err)
	}
	return r, s
}

func refusalOf(t *testing.T, err error) *gitops.Refusal {
	t.Helper()
	refusal, ok := errors.AsType[*gitops.Refusal](err)
	if !ok {
		t.Fatalf("not a refusal: %v", err)
	}
	if strings.Contains(err.Error(), token) {
		t.Errorf("the error shows the token: %v", err)
	}
	return refusal
}

func TestAnswersThatRefuseARead(t *testing.T) {
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		code   gitops.Code
		says   string
		tries  int
	}{
		"token rejected":     {say(401, message("Bad credentials")), gitops.Denied, "github.auth", 1},
		"second factor":      {say(401, message("Must specify two-factor authentication OTP code."), "X-GitHub-OTP", "required; app"), gitops.Denied, "github.auth", 1},
		"permission":         {say(403, message("Resource not accessible by personal access token"), "X-Accepted-GitHub-Permissions", "contents=read"), gitops.Denied, "contents=read", 1},
		"single sign-on":     {say(403, message("Resource protected by organization SAML enforcement."), "X-GitHub-SSO", "required; url=https://example.com"), gitops.Denied, "single sign-on", 1},
		"absent":             {say(404, message("Not Found")), gitops.NotFound, "may not see", 1},
		"empty":              {say(409, message("Git Repository is empty.")), gitops.NotFound, "first commit", 1},
		"blocked":            {say(451, message("Repository access blocked")), gitops.Denied, "legal", 1},
		"primary limit":      {say(403, message("API rate limit exceeded for user ID 1."), "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "1790000000"), gitops.Unreachable, "after 14:13:20 UTC", 1},
		"primary limit, 429": {say(429, message("API rate limit exceeded"), "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "1790000000"), gitops.Unreachable, "after 14:13:20 UTC", 1},
		"secondary limit":    {say(403, message("You have exceeded a secondary rate limit."), "Retry-After", "60", "Date", "Fri, 20 Nov 2026 07:00:00 GMT"), gitops.Unreachable, "after 07:01:00 UTC", 1},
		"limit without time": {say(429, message("Slow down")), gitops.Unreachable, "some minutes", 1},
		"server fault":       {say(502, "<html>"), gitops.Unreachable, "(502)", 3},
		"dropped connection": {drop, gitops.Unreachable, "did not answer", 3},
		"half an answer":     {say(200, `{"object": {"sha": "01`), gitops.Unreachable, "did not answer", 3},
		"validation":         {say(422, `{"message": "Validation Failed", "errors": [{"field": "x", "code": "invalid"}]}`), gitops.Denied, "Validation Failed: x is invalid.", 1},
		"line breaks":        {say(422, `{"message": "one\nFerry-Promotion: two"}`), gitops.Denied, "one Ferry-Promotion: two.", 1},
		"too much": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"x": "%s"}`, strings.Repeat("x", maxBody))
		}, gitops.Unreachable, "did not answer", 1},
	} {
		t.Run(name, func(t *testing.T) {
			r, script := open(t, test.answer)
			_, err := r.Head(t.Context(), "main")
			refusal := refusalOf(t, err)
			if refusal.Code != test.code || !strings.Contains(refusal.Reason, test.says) {
				t.Errorf("got %s: %s\nwant %s with %q", refusal.Code, refusal.Reason, test.code, test.says)
			}
			if len(script.requests()) != test.tries {
				t.Errorf("%d requests, want %d", len(script.requests()), test.tries)
			}
		})
	}
}

func TestAReadIsTriedAgain(t *testing.T) {
	r, script := open(t, say(503, "busy"), say(500, ""), say(200, `{"object": {"sha": "`+sha+`"}}`))
	head, err := r.Head(t.Context(), "main")
	if err != nil || head != sha {
		t.Errorf("got %s, %v", head, err)
	}
	if diff := cmp.Diff([]time.Duration{time.Second, 3 * time.Second}, script.slept); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestAnswersThatRefuseAWrite(t *testing.T) {
	fault := func(kind, text string) http.HandlerFunc {
		return say(200, fmt.Sprintf(`{"data": {"createCommitOnBranch": null}, "errors": [{"type": %q, "message": %q}]}`, kind, text))
	}
	stale := "Expected branch to point to \"" + sha + "\" but it did not. Pull and try again."
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		is     error // of promotion; nil: none of them
		code   gitops.Code
		says   string
	}{
		"stale":              {fault("STALE_DATA", stale), promotion.ErrMoved, gitops.Changed, "nothing was written"},
		"stale, other type":  {fault("UNPROCESSABLE", stale), promotion.ErrMoved, gitops.Changed, "nothing was written"},
		"conflict":           {say(409, message("Reference update failed")), promotion.ErrMoved, gitops.Changed, "nothing was written"},
		"not fast-forward":   {say(422, message("Update is not a fast forward")), promotion.ErrMoved, gitops.Changed, "nothing was written"},
		"pull request rule":  {fault("UNPROCESSABLE", "Repository rule violations found\n\nChanges must be made through a pull request.\n\n"), promotion.ErrPullRequestRequired, gitops.Denied, "Changes must be made through a pull request."},
		"classic protection": {fault("FORBIDDEN", "Protected branch update failed for refs/heads/main."), promotion.ErrPullRequestRequired, gitops.Denied, "Protected branch update failed"},
		"no permission":      {fault("FORBIDDEN", "Resource not accessible by integration"), nil, gitops.Denied, "write access"},
		"no repository":      {fault("NOT_FOUND", "Could not resolve to a Repository"), nil, gitops.NotFound, "Could not resolve"},
		"limited":            {fault("RATE_LIMITED", "API rate limit exceeded"), nil, gitops.Unreachable, "rate limit"},
		"bad path":           {fault("UNPROCESSABLE", "A path contains a malformed component"), nil, gitops.Denied, "malformed component"},
		"token rejected":     {say(401, message("Bad credentials")), nil, gitops.Denied, "github.auth"},
		"secondary limit":    {say(403, message("You have exceeded a secondary rate limit."), "Retry-After", "60"), nil, gitops.Unreachable, "rate limit"},
		"too quickly":        {say(422, message("Validation Failed: was submitted too quickly")), nil, gitops.Unreachable, "rate limit"},
		"server fault":       {say(502, ""), promotion.ErrOutcomeUnknown, gitops.Unreachable, "did not say"},
		"timeout inside":     {fault("", "Something went wrong while executing your query. This may be the result of a timeout."), promotion.ErrOutcomeUnknown, gitops.Unreachable, "did not say"},
		"dropped":            {drop, promotion.ErrOutcomeUnknown, gitops.Unreachable, "did not say"},
		"half an answer":     {say(200, `{"data": {"createComm`), promotion.ErrOutcomeUnknown, gitops.Unreachable, "did not say"},
		"empty answer":       {say(200, ``), promotion.ErrOutcomeUnknown, gitops.Unreachable, "did not say"},
		"nothing":            {say(200, `{"data": {"createCommitOnBranch": null}}`), promotion.ErrOutcomeUnknown, gitops.Unreachable, "did not say"},
		"redirect":           {say(307, "", "Location", "/elsewhere"), nil, gitops.Config, "new name"},
	} {
		t.Run(name, func(t *testing.T) {
			r, script := open(t, test.answer)
			_, err := r.Commit(t.Context(), "main", sha, "message", []gitops.File{{Path: "a.yaml", Content: []byte("a")}})
			refusal := refusalOf(t, err)
			if refusal.Code != test.code || !strings.Contains(refusal.Reason, test.says) {
				t.Errorf("got %s: %s\nwant %s with %q", refusal.Code, refusal.Reason, test.code, test.says)
			}
			for _, kind := range []error{promotion.ErrMoved, promotion.ErrOutcomeUnknown, promotion.ErrPullRequestRequired} {
				if errors.Is(err, kind) != errors.Is(test.is, kind) {
					t.Errorf("is %q: %v", kind, errors.Is(err, kind))
				}
			}
			if len(script.requests()) != 1 {
				t.Errorf("a write was made %d times: %v", len(script.requests()), script.requests())
			}
		})
	}
}

func TestAWriteThatReachesNobodyIsNotUnknown(t *testing.T) {
	client, err := New(Config{
		BaseURL: "http://127.0.0.1:1",
		Token:   func(context.Context) (string, error) { return token, nil },
		Allowed: func(string) bool { return true },
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r, err := client.Repository("acme/fleet")
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Commit(t.Context(), "main", sha, "message", nil)
	if refusal := refusalOf(t, err); refusal.Code != gitops.Unreachable || errors.Is(err, promotion.ErrOutcomeUnknown) {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsNotAsked(t *testing.T) {
	r, script := open(t, say(500, ""))
	ctx := t.Context()
	for _, branch := range []string{"", "-x", "/x", "x/", "a..b", "a//b", "a b", "a\nb", "a~1", "a^", "a:b", "a?b", "a*", "a[", `a\b`, "@", "a@{1}", ".a", "a/.b", "a.lock", "a.", strings.Repeat("a", 201)} {
		if _, err := r.Head(ctx, branch); err == nil {
			t.Errorf("branch %q is taken", branch)
		}
	}
	for _, path := range []string{"", ".", "/etc/passwd", "../x", "a/../b", "a//b"} {
		if _, err := r.File(ctx, path, "main"); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("file %q: %v", path, err)
		}
	}
	if _, err := r.Commit(ctx, "main", "main", "m", nil); err == nil {
		t.Error("a branch is taken for a commit")
	}
	if _, err := r.Contains(ctx, "main", "a b"); err == nil {
		t.Error("a bad commit is compared")
	}
	if len(script.requests()) > 0 {
		t.Errorf("asked %v", script.requests())
	}
}

func TestRepositoriesThatAreNotOpened(t *testing.T) {
	client, err := New(Config{Allowed: func(name string) bool { return name == "acme/fleet" }}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for name, code := range map[string]gitops.Code{
		"acme/other": gitops.Denied, "acme": gitops.Config, "acme/..": gitops.Config, "acme/fleet/x": gitops.Config,
		"../fleet": gitops.Config, "acme/fl eet": gitops.Config, "acme/fleet\n": gitops.Config, "-acme/fleet": gitops.Config, "": gitops.Config,
	} {
		if _, err := client.Repository(name); refusalOf(t, err).Code != code {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestBaseURL(t *testing.T) {
	for base, want := range map[string][3]string{
		"":                          {"https://api.github.com/", "https://api.github.com/graphql", "https://github.com"},
		"https://github.com/":       {"https://api.github.com/", "https://api.github.com/graphql", "https://github.com"},
		"https://git.example.com":   {"https://git.example.com/api/v3/", "https://git.example.com/api/graphql", "https://git.example.com"},
		"https://git.example.com/x": {"https://git.example.com/x/api/v3/", "https://git.example.com/x/api/graphql", "https://git.example.com/x"},
		"http://127.0.0.1:8080":     {"http://127.0.0.1:8080/api/v3/", "http://127.0.0.1:8080/api/graphql", "http://127.0.0.1:8080"},
	} {
		c, err := New(Config{BaseURL: base}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Errorf("%q: %v", base, err)
			continue
		}
		if got := [3]string{c.api.BaseURL.String(), c.graphql, c.root}; got != want {
			t.Errorf("%q: got %v, want %v", base, got, want)
		}
	}
	for _, base := range []string{"http://git.example.com", "ftp://x", "github.com", "https://user:pass@x", "https://x?y", "https://"} {
		if _, err := New(Config{BaseURL: base}, slog.New(slog.DiscardHandler)); err == nil || strings.Contains(err.Error(), "pass@") {
			t.Errorf("%q: %v", base, err)
		}
	}
}

func TestTokens(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	t.Cleanup(server.Close)
	for name, read := range map[string]func(context.Context) (string, error){
		"unreadable": func(context.Context) (string, error) { return "", fs.ErrPermission },
		"empty":      func(context.Context) (string, error) { return " \n", nil },
		"two lines":  func(context.Context) (string, error) { return "one\ntwo", nil },
		"injection":  func(context.Context) (string, error) { return "one\r\nHost: x", nil },
	} {
		client, err := New(Config{BaseURL: server.URL, Token: read, Allowed: func(string) bool { return true }}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		r, err := client.Repository("acme/fleet")
		if err != nil {
			t.Fatal(err)
		}
		_, head := r.Head(t.Context(), "main")
		_, tree := r.Tree(t.Context(), sha)
		_, commit := r.Commit(t.Context(), "main", sha, "m", nil)
		for _, err := range []error{head, tree, commit} {
			if refusal := refusalOf(t, err); refusal.Code != gitops.Config || errors.Is(err, promotion.ErrOutcomeUnknown) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if asked > 0 {
		t.Errorf("%d requests without a token", asked)
	}
}

func TestRedirects(t *testing.T) {
	foreign := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("another host was asked, with %q", r.Header.Get("Authorization"))
	}))
	t.Cleanup(foreign.Close)
	r, _ := open(t, say(301, "", "Location", foreign.URL+"/x"))
	if _, err := r.Head(t.Context(), "main"); refusalOf(t, err).Code != gitops.Config {
		t.Errorf("to another host: %v", err)
	}
	r, script := open(t, say(301, "", "Location", "/api/v3/repositories/1/git/ref/heads%2Fmain"), say(200, `{"object": {"sha": "`+sha+`"}}`))
	if head, err := r.Head(t.Context(), "main"); err != nil || head != sha {
		t.Errorf("renamed: %s %v, asked %v", head, err, script.requests())
	}
}

func TestTreeIsFetchedWithTheTokenAsPassword(t *testing.T) {
	var got []string
	want := fstest.MapFS{}
	client, err := New(Config{
		Token:   func(context.Context) (string, error) { return "t0ken", nil },
		Allowed: func(string) bool { return true },
		Tree: func(_ context.Context, remote, header, sha string) (fs.FS, error) {
			got = []string{remote, header, sha}
			return want, nil
		},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r, err := client.Repository("acme/fleet")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Tree(t.Context(), sha); err != nil {
		t.Fatal(err)
	}
	// printf x-access-token:t0ken | base64
	if !slices.Equal(got, []string{"https://github.com/acme/fleet.git", "Authorization: Basic eC1hY2Nlc3MtdG9rZW46dDBrZW4=", sha}) {
		t.Errorf("got %q", got)
	}
}

func TestDirect(t *testing.T) {
	rules := func(types ...string) http.HandlerFunc {
		var all []string
		for _, kind := range types {
			all = append(all, fmt.Sprintf(`{"type": %q, "parameters": {"x": 1}, "ruleset_id": 1}`, kind))
		}
		return say(200, "["+strings.Join(all, ",")+"]")
	}
	// classic is what GitHub says of a branch: protected by whatever, and by classic protection.
	branch := func(protected, classic bool) http.HandlerFunc {
		return say(200, fmt.Sprintf(`{"name": "main", "protected": %v, "protection": {"enabled": %v}}`, protected, classic))
	}
	unprotected := branch(false, false)
	for name, test := range map[string]struct {
		rules, branch http.HandlerFunc
		rule          string // empty: allowed
	}{
		"no rules":            {rules(), unprotected, ""},
		"harmless":            {rules("deletion", "non_fast_forward", "required_signatures", "creation", "required_linear_history"), branch(true, false), ""},
		"pull request":        {rules("deletion", "pull_request"), branch(true, false), "pull_request"},
		"status checks":       {rules("required_status_checks"), unprotected, "required_status_checks"},
		"merge queue":         {rules("merge_queue"), unprotected, "merge_queue"},
		"update":              {rules("update"), unprotected, "update"},
		"message":             {rules("commit_message_pattern"), unprotected, "commit_message_pattern"},
		"unknown":             {rules("phase_of_the_moon"), unprotected, "phase_of_the_moon"},
		"classic":             {rules(), branch(true, true), "branch protection"},
		"no rule explains it": {rules(), branch(true, false), "branch protection"},
		"classic and a rule":  {rules("deletion"), branch(true, true), "branch protection"},
		"rule without reason": {rules("deletion"), say(200, `{"name": "main", "protected": true}`), "branch protection"},
		"classic and a plan":  {say(403, message("Upgrade to GitHub Pro or make this repository public to enable this feature.")), branch(true, true), "branch protection"},
		"free plan":           {say(403, message("Upgrade to GitHub Pro or make this repository public to enable this feature.")), unprotected, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, script := open(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "/rules/") {
					test.rules(w, r)
				} else {
					test.branch(w, r)
				}
			})
			allowed, rule, err := r.Direct(t.Context(), "release/7")
			if err != nil {
				t.Fatal(err)
			}
			if allowed != (test.rule == "") || rule != test.rule {
				t.Errorf("got %v %q, want %q", allowed, rule, test.rule)
			}
			want := []string{"GET /api/v3/repos/acme/fleet/branches/release%2F7", "GET /api/v3/repos/acme/fleet/rules/branches/release%2F7?page=1&per_page=100"}
			if diff := cmp.Diff(want, slices.Sorted(slices.Values(script.requests()))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestContains(t *testing.T) {
	for status, want := range map[string]bool{"ahead": true, "identical": true, "behind": false, "diverged": false} {
		r, script := open(t, say(200, fmt.Sprintf(`{"status": %q}`, status)))
		got, err := r.Contains(t.Context(), sha, other)
		if err != nil || got != want {
			t.Errorf("%s: %v %v", status, got, err)
		}
		if want := "GET /api/v3/repos/acme/fleet/compare/" + other + "..." + sha + "?per_page=1"; script.requests()[0] != want {
			t.Errorf("asked %s", script.requests()[0])
		}
	}
	r, _ := open(t, say(404, message("No common ancestor between x and y.")))
	if got, err := r.Contains(t.Context(), sha, other); err != nil || got {
		t.Errorf("unrelated: %v %v", got, err)
	}
	r, _ = open(t, say(404, message("Not Found")))
	if _, err := r.Contains(t.Context(), sha, other); refusalOf(t, err).Code != gitops.NotFound {
		t.Errorf("absent: %v", err)
	}
}

func TestPullRequestsOfForksAndOthersAreLeftOut(t *testing.T) {
	pull := func(number int, ref, repository, more string) string {
		return fmt.Sprintf(`{"number": %d, "state": "closed", "merge_commit_sha": %q, "created_at": "2026-11-20T07:00:00Z",
			"head": {"ref": %q, "repo": %s}, "user": {"login": "ferry-bot"}%s}`, number, sha, ref, repository, more)
	}
	own, fork := `{"full_name": "Acme/fleet"}`, `{"full_name": "mallory/fleet"}`
	r, script := open(t, say(200, "["+strings.Join([]string{
		pull(6, "ferry/prod/podinfo/x", own, `, "merged_at": "2026-11-20T08:00:00Z"`),
		pull(5, "ferry/prod/podinfo/y", own, ``),
		pull(4, "ferry/prod/podinfo/x", fork, ``),
		pull(3, "ferry/prod/podinfo/x", `null`, ``),
		pull(2, "ferry/stage/podinfo/x", own, ``),
	}, ",")+"]"), say(200, `[]`))
	got, err := r.PullRequests(t.Context(), "ferry/prod/podinfo/")
	if err != nil {
		t.Fatal(err)
	}
	when := time.Date(2026, 11, 20, 7, 0, 0, 0, time.UTC)
	want := []gitops.PullRequest{
		{Number: 6, Branch: "ferry/prod/podinfo/x", Author: "ferry-bot", State: "merged", MergeCommit: sha, When: when},
		{Number: 5, Branch: "ferry/prod/podinfo/y", Author: "ferry-bot", State: "closed", When: when},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	asked := []string{"GET /api/v3/repos/acme/fleet/pulls?direction=desc&per_page=100&sort=created&state=all",
		"GET /api/v3/repos/acme/fleet/git/matching-refs/heads%2Fferry%2Fprod%2Fpodinfo%2F"}
	if diff := cmp.Diff(asked, script.requests()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestManyPullRequestsAreNotPagedThrough: but those of a branch that is still there are found, however old they are.
func TestManyPullRequestsAreNotPagedThrough(t *testing.T) {
	pull := func(number int, branch string) string {
		return fmt.Sprintf(`{"number": %d, "state": "open", "head": {"ref": %q, "repo": {"full_name": "acme/fleet"}}}`, number, branch)
	}
	var newest, refs []string
	for i := range perPage {
		newest = append(newest, pull(1000-i, "renovate/x"))
	}
	newest[0] = pull(1000, "ferry/prod/a/new")
	for i := range maxOlder + 5 {
		refs = append(refs, fmt.Sprintf(`{"ref": "refs/heads/ferry/prod/a/%d"}`, i))
	}
	answers := []http.HandlerFunc{
		say(200, "["+strings.Join(newest, ",")+"]"),
		say(200, `[{"ref": "refs/heads/ferry/prod/a/new"},`+strings.Join(refs, ",")+"]"),
	}
	for i := range maxOlder {
		answers = append(answers, say(200, "["+pull(i+1, fmt.Sprintf("ferry/prod/a/%d", i))+"]"))
	}
	r, script := open(t, append(answers, say(500, ""))...)
	got, err := r.PullRequests(t.Context(), "ferry/prod/a/")
	if err != nil || len(got) != 1+maxOlder || got[0].Number != 1000 || got[1].Number != maxOlder || got[maxOlder].Number != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if len(script.requests()) != 2+maxOlder || script.requests()[2] != "GET /api/v3/repos/acme/fleet/pulls?direction=desc&head=acme%3Aferry%2Fprod%2Fa%2F0&per_page=100&sort=created&state=all" {
		t.Errorf("asked %q", script.requests())
	}
}

func TestWhoseATokenIs(t *testing.T) {
	const bot = `{"data": {"viewer": {"login": "ferry-bot"}}}`
	fault := say(200, `{"errors": [{"message": "Something went wrong while executing your query."}]}`)
	r, script := open(t, say(502, ""), fault, say(200, bot), say(401, message("Bad credentials")), say(200, `{"data": {"viewer": {"login": ""}}}`), say(200, bot))
	now := time.Date(2026, 11, 20, 7, 0, 0, 0, time.UTC)
	r.(*repository).c.now = func() time.Time { return now }
	for _, step := range []struct {
		after time.Duration
		want  string
		asked int // so far
	}{
		{0, "ferry-bot", 3}, // as other reads, it is tried again
		{keepViewer - time.Second, "ferry-bot", 3},
		{time.Second, "", 4}, // no fault is kept
		{0, "", 5},
		{0, "ferry-bot", 6},
		{0, "ferry-bot", 6},
	} {
		now = now.Add(step.after)
		got, err := r.Viewer(t.Context())
		if got != step.want || (err == nil) != (step.want != "") || len(script.requests()) != step.asked {
			t.Errorf("%q, %v after %d requests; want %q after %d", got, err, len(script.requests()), step.want, step.asked)
		}
	}
	script.answers = []http.HandlerFunc{say(200, `{"data": {"viewer": {"login": "other-bot"}}}`)}
	script.token = "rotated"
	if got, err := r.Viewer(t.Context()); got != "other-bot" || err != nil {
		t.Errorf("another token: %q, %v", got, err)
	}
}

// TestOnlyGitHubsSignatureCounts: a signature proves the committer, and whoever has a key of their own can name any
// author beside it.
func TestOnlyGitHubsSignatureCounts(t *testing.T) {
	for name, test := range map[string]struct {
		verification, committer string
		want                    bool
	}{
		"by GitHub":             {`{"verified": true, "reason": "valid"}`, `{"login": "web-flow"}`, true},
		"pushed as GitHub":      {`{"verified": false, "reason": "unsigned"}`, `{"login": "web-flow"}`, false},
		"with another's key":    {`{"verified": true, "reason": "valid"}`, `{"login": "mallory"}`, false},
		"by nobody's address":   {`{"verified": true, "reason": "valid"}`, `null`, false},
		"nothing said about it": {`null`, `{"login": "web-flow"}`, false},
	} {
		r, _ := open(t, say(200, fmt.Sprintf(`[{"sha": %q, "author": {"login": "ferry-bot"}, "committer": %s, "commit": {"message": "m", "verification": %s}}]`,
			sha, test.committer, test.verification)))
		commits, err := r.Commits(t.Context(), "main", "", 1)
		if err != nil || len(commits) != 1 || commits[0].Signed != test.want || commits[0].Author != "ferry-bot" {
			t.Errorf("%s: %+v, %v", name, commits, err)
		}
		signature := fmt.Sprintf(`{"isValid": true, "wasSignedByGitHub": %v}`, test.want)
		r, _ = open(t, say(200, fmt.Sprintf(`{"data": {"createCommitOnBranch": {"commit": {"oid": %q, "signature": %s}}}}`, sha, signature)))
		written, err := r.Commit(t.Context(), "main", other, "m", nil)
		if err != nil || written.Signed != test.want {
			t.Errorf("%s: %+v, %v", name, written, err)
		}
	}
}

func TestListsAreBounded(t *testing.T) {
	page := "[" + strings.Repeat(`{"sha": "`+sha+`", "commit": {"message": "m"}},`, perPage-1) + `{"sha": "` + sha + `"}]`
	r, script := open(t, say(200, page))
	commits, err := r.Commits(t.Context(), "main", "", 150)
	if err != nil || len(commits) != 150 || len(script.requests()) != 2 {
		t.Errorf("%d commits in %d requests: %v", len(commits), len(script.requests()), err)
	}
	commits, err = r.Commits(t.Context(), "main", "", 1_000_000)
	if err != nil || len(commits) != perPage*maxPages {
		t.Errorf("%d commits: %v", len(commits), err)
	}
}

func TestFile(t *testing.T) {
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		want   string
		is     error
	}{
		"file":      {say(200, `{"type": "file", "encoding": "base64", "content": "YTog\nMQ0K\n"}`), "a: 1\r\n", nil},
		"empty":     {say(200, `{"type": "file", "encoding": "base64", "content": ""}`), "", nil},
		"absent":    {say(404, message("Not Found")), "", fs.ErrNotExist},
		"directory": {say(200, `[{"type": "file"}]`), "", fs.ErrNotExist},
		"link":      {say(200, `{"type": "symlink", "target": "/etc/passwd"}`), "", fs.ErrNotExist},
	} {
		r, script := open(t, test.answer)
		got, err := r.File(t.Context(), "apps/prod/a b#?.yaml", "release/7")
		if string(got) != test.want || !errors.Is(err, test.is) {
			t.Errorf("%s: %q %v", name, got, err)
		}
		if want := "GET /api/v3/repos/acme/fleet/contents/apps%2Fprod%2Fa%20b%23%3F.yaml?ref=release%2F7"; script.requests()[0] != want {
			t.Errorf("asked %s", script.requests()[0])
		}
	}
	r, _ := open(t, say(200, `{"type": "file", "encoding": "none", "content": ""}`))
	if _, err := r.File(t.Context(), "a.yaml", "main"); refusalOf(t, err).Code != gitops.Layout {
		t.Errorf("large: %v", err)
	}
}

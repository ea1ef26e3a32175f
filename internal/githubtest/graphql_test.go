package githubtest_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ferry-chatops/ferry/internal/githubtest"
)

const commitDocument = `mutation($input: CreateCommitOnBranchInput!) {
  createCommitOnBranch(input: $input) { clientMutationId commit { oid url author { user { login } } } }
}`

func input(branch, expected, headline string, additions map[string]string, deletions ...string) map[string]any {
	added, deleted := []any{}, []any{}
	for path, content := range additions {
		added = append(added, map[string]any{"path": path, "contents": base64.StdEncoding.EncodeToString([]byte(content))})
	}
	for _, path := range deletions {
		deleted = append(deleted, map[string]any{"path": path})
	}
	return map[string]any{"input": map[string]any{
		"branch":          map[string]any{"repositoryNameWithOwner": "acme/fleet", "branchName": branch},
		"expectedHeadOid": expected, "message": map[string]any{"headline": headline, "body": "Ferry-Promotion: p1"},
		"fileChanges": map[string]any{"additions": added, "deletions": deleted}, "clientMutationId": "m1",
	}}
}

func TestCreateCommitOnBranch(t *testing.T) {
	r := start(t)
	answer := r.query(t.Context(), commitDocument, input("main", r.sha, "Promote", map[string]string{podinfo: "version: 7.0.0\n"}, "README.md"))
	head := r.head("main")
	if head == r.sha || !strings.Contains(answer, `"oid":"`+head+`"`) || !strings.Contains(answer, `"clientMutationId":"m1"`) {
		t.Fatalf("head %s, answer %s", head, answer)
	}
	c, _, err := r.gh.Repositories.GetCommit(t.Context(), "acme", "fleet", head, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.GetAuthor().GetLogin() != "bot" || c.GetCommitter().GetLogin() != "web-flow" || !c.GetCommit().GetVerification().GetVerified() ||
		c.GetCommit().GetMessage() != "Promote\n\nFerry-Promotion: p1" || len(c.Files) != 2 || c.Parents[0].GetSHA() != r.sha {
		t.Errorf("commit %v", c)
	}

	stale := r.query(t.Context(), commitDocument, input("main", r.sha, "Promote", map[string]string{podinfo: "version: 8.0.0\n"}))
	want := fmt.Sprintf(`{"data":{"createCommitOnBranch":null},"errors":[{"locations":[{"column":3,"line":2}],`+
		`"message":"Expected branch to point to \"%s\" but it did not.  Pull and try again.","path":["createCommitOnBranch"],"type":"STALE_DATA"}]}`, r.sha)
	if diff := cmp.Diff(want, stale); diff != "" {
		t.Errorf("stale (-want +got):\n%s", diff)
	}
	for name, in := range map[string]map[string]any{
		"does not exist as of commit": input("main", head, "x", nil, "gone"),
		"is malformed":                input("main", head, "x", map[string]string{"../x": ""}),
		"Could not resolve to a Ref":  input("gone", head, "x", nil),
		"message is required":         input("main", head, " ", nil),
	} {
		if answer := r.query(t.Context(), commitDocument, in); !strings.Contains(answer, name) {
			t.Errorf("got %s, want it to say %q", answer, name)
		}
	}
	if err := r.hub.SetRules("acme/fleet", "main", githubtest.Rule{Type: "pull_request"}); err != nil {
		t.Fatal(err)
	}
	answer = r.query(t.Context(), commitDocument, input("main", head, "x", map[string]string{"a": "1"}))
	if !strings.Contains(answer, `Repository rule violations found\n\nChanges must be made through a pull request.`) || r.head("main") != head {
		t.Errorf("against the rules: %s", answer)
	}
}

func TestGraphQLDocuments(t *testing.T) {
	r := start(t)
	answer := r.query(t.Context(), `query Q($name: String!, $no: Boolean!) {
		me: viewer { login ...more }
		repository(owner: "acme", name: $name) {
			main: defaultBranchRef { name target { __typename oid ... on Commit { messageHeadline author { user { login } } } } }
			gone: ref(qualifiedName: "refs/heads/gone") { name }
			url @include(if: $no)
		}
	}
	fragment more on User { handle: login }`, map[string]any{"name": "fleet", "no": false})
	var got, want any
	if err := json.Unmarshal([]byte(answer), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(fmt.Appendf(nil, `{"data": {"me": {"login": "bot", "handle": "bot"}, "repository": {
		"main": {"name": "main", "target": {"__typename": "Commit", "oid": %q, "messageHeadline": "Initial commit", "author": {"user": {"login": "acme"}}}},
		"gone": null}}}`, r.sha), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	if answer := r.query(t.Context(), `{ repository(owner: "acme", name: "gone") { id } }`, nil); !strings.Contains(answer, `"type":"NOT_FOUND"`) {
		t.Errorf("unknown repository: %s", answer)
	}
}

func TestUnservedGraphQLIsRefusedBeforeAnythingIsDone(t *testing.T) {
	r := start(t)
	in := input("main", r.sha, "x", map[string]string{"a": "1"})
	answer := r.query(t.Context(), `mutation($input: CreateCommitOnBranchInput!) { createCommitOnBranch(input: $input) { commit { changedFilesIfAvailable } } }`, in)
	if !strings.Contains(answer, `not served by the GitHub stand-in: Cannot query field \"changedFilesIfAvailable\" on type \"Commit\"`) {
		t.Errorf("got %s", answer)
	}
	if r.head("main") != r.sha {
		t.Error("the refused mutation was applied")
	}
}

func TestOfManyCommitsOnOneHeadOneWins(t *testing.T) {
	r := start(t)
	answers := make([]string, 8)
	var wg sync.WaitGroup
	for i := range answers {
		in := input("main", r.sha, "Promote", map[string]string{podinfo: fmt.Sprintf("version: 7.0.%d\n", i)})
		wg.Go(func() { answers[i] = r.query(t.Context(), commitDocument, in) })
	}
	wg.Wait()
	head, won, stale := r.head("main"), 0, 0
	for i, answer := range answers {
		switch {
		case strings.Contains(answer, "STALE_DATA"):
			stale++
		case strings.Contains(answer, head):
			won++
			if got, want := r.file("main", podinfo), fmt.Sprintf("version: 7.0.%d\n", i); got != want {
				t.Errorf("content %q, want %q", got, want)
			}
		}
	}
	if won != 1 || stale != len(answers)-1 {
		t.Errorf("%d won, %d were stale", won, stale)
	}
}

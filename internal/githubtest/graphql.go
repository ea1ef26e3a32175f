package githubtest

import (
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"
)

const graphQLPath = "/api/graphql"

//go:embed schema.graphql
var servedSDL string

// served is the part of GitHub's schema that the stand-in serves. A document outside it is refused before any of it
// is done.
var served = sync.OnceValue(func() *ast.Schema {
	return gqlparser.MustLoadSchema(&ast.Source{Name: "schema.graphql", Input: servedSDL})
})

// A problem is an error of one field, with GitHub's type.
type problem struct{ kind, message string }

func (p *problem) Error() string { return p.message }

func (c *call) graphQL() (int, any, error) {
	c.answer.Set("X-RateLimit-Resource", "graphql")
	var in struct {
		Query         string
		Variables     map[string]any
		OperationName string
	}
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	doc, problems := gqlparser.LoadQueryWithRules(served(), in.Query, rules.NewDefaultRules())
	if problems != nil {
		return refuse(problems...)
	}
	operation := doc.Operations.ForName(in.OperationName)
	if operation == nil {
		return refuse(gqlerror.Errorf("No operation named %q", in.OperationName))
	}
	variables, err := validator.VariableValues(served(), operation, in.Variables)
	if err != nil {
		return refuse(gqlerror.Wrap(err))
	}
	e := &execution{variables: variables}
	root := c.query()
	if operation.Operation == ast.Mutation {
		root = c.mutation()
	}
	data, _ := e.object(operation.SelectionSet, root, nil)
	answer := object{"data": data}
	if len(e.errors) > 0 {
		answer["errors"] = e.errors
	}
	return http.StatusOK, answer, nil
}

// refuse answers a document that the served part of the schema does not allow: status 200 without data, as GitHub.
func refuse(problems ...*gqlerror.Error) (int, any, error) {
	var list []object
	for _, p := range problems {
		list = append(list, object{"message": "not served by the GitHub stand-in: " + p.Message, "locations": p.Locations})
	}
	return http.StatusOK, object{"errors": list}, nil
}

// A resolver gives the value of a field from its arguments: a scalar, a node, a resolver's error.
type resolver func(args map[string]any) (any, error)

// A node is a value of an object type: its fields by name, each a value or a resolver, and its type as __typename.
type node map[string]any

// An execution answers the selections of one operation. Fields run in order, as mutations must.
type execution struct {
	variables map[string]any
	errors    []object
}

// object answers a selection on a node. It is false where a field that may not be null has failed.
func (e *execution) object(selections ast.SelectionSet, n node, path []any) (object, bool) {
	answer := object{}
	for _, selection := range selections {
		switch s := selection.(type) {
		case *ast.Field:
			if !e.included(s.Directives) {
				continue
			}
			value, ok := e.field(s, n, append(path[:len(path):len(path)], s.Alias))
			if !ok && s.Definition.Type.NonNull {
				return nil, false
			}
			if fields, both := value.(object); both {
				if before, twice := answer[s.Alias].(object); twice {
					for k, v := range before {
						fields[k] = v
					}
				}
			}
			answer[s.Alias] = value
		case *ast.InlineFragment:
			if e.included(s.Directives) && applies(s.TypeCondition, n) {
				if !e.into(answer, s.SelectionSet, n, path) {
					return nil, false
				}
			}
		case *ast.FragmentSpread:
			if e.included(s.Directives) && applies(s.Definition.TypeCondition, n) {
				if !e.into(answer, s.Definition.SelectionSet, n, path) {
					return nil, false
				}
			}
		}
	}
	return answer, true
}

func (e *execution) into(answer object, selections ast.SelectionSet, n node, path []any) bool {
	more, ok := e.object(selections, n, path)
	for k, v := range more {
		answer[k] = v
	}
	return ok
}

func (e *execution) field(f *ast.Field, n node, path []any) (any, bool) {
	value := n[f.Name]
	if resolve, ok := value.(resolver); ok {
		var err error
		if value, err = resolve(f.ArgumentMap(e.variables)); err != nil {
			p := &problem{kind: "INTERNAL", message: err.Error()}
			errors.As(err, &p)
			e.errors = append(e.errors, object{"type": p.kind, "message": p.message, "path": path,
				"locations": []object{{"line": f.Position.Line, "column": f.Position.Column}}})
			return nil, false
		}
	}
	if child, ok := value.(node); ok {
		if child == nil {
			return nil, true
		}
		answer, ok := e.object(f.SelectionSet, child, path)
		if !ok {
			return nil, false
		}
		return answer, true
	}
	return value, true
}

// included obeys @skip and @include.
func (e *execution) included(directives ast.DirectiveList) bool {
	for _, d := range directives {
		if on, _ := d.ArgumentMap(e.variables)["if"].(bool); d.Name == "skip" && on || d.Name == "include" && !on {
			return false
		}
	}
	return true
}

// applies says whether a fragment's type condition holds for a node.
func applies(condition string, n node) bool {
	name, _ := n["__typename"].(string)
	if condition == "" || condition == name {
		return true
	}
	for _, i := range served().Types[name].Interfaces {
		if i == condition {
			return true
		}
	}
	return false
}

func (c *call) query() node {
	return node{
		"__typename": "Query",
		"viewer":     c.userNode(c.login),
		"repository": resolver(func(args map[string]any) (any, error) {
			r, err := c.visible(fmt.Sprintf("%v/%v", args["owner"], args["name"]))
			if err != nil {
				return nil, err
			}
			return c.repositoryNode(r), nil
		}),
	}
}

func (c *call) mutation() node {
	return node{"__typename": "Mutation", "createCommitOnBranch": resolver(func(args map[string]any) (any, error) {
		raw, err := json.Marshal(args["input"])
		if err != nil {
			return nil, err
		}
		var in commitInput
		if err := json.Unmarshal(raw, &in); err != nil {
			return nil, &problem{"UNPROCESSABLE", err.Error()}
		}
		return c.createCommitOnBranch(in)
	})}
}

// visible finds a repository that the token sees.
func (c *call) visible(name string) (*repository, error) {
	r := c.s.repositories[name]
	if r == nil || !c.token.sees(name) {
		return nil, &problem{"NOT_FOUND", fmt.Sprintf("Could not resolve to a Repository with the name '%s'.", name)}
	}
	return r, nil
}

func (c *call) userNode(login string) node {
	if login == "" {
		return nil
	}
	return node{"__typename": "User", "id": nodeID("user " + login), "login": login, "url": c.s.url + "/" + login}
}

func (c *call) repositoryNode(r *repository) node {
	return node{
		"__typename": "Repository", "id": nodeID("repository " + r.fullName()), "name": r.name, "nameWithOwner": r.fullName(),
		"isPrivate": !c.s.anonymousGit, "url": c.s.webURL(r),
		"defaultBranchRef": resolver(func(map[string]any) (any, error) { return c.refNode(r, "refs/heads/"+defaultBranch), nil }),
		"ref": resolver(func(args map[string]any) (any, error) {
			name := fmt.Sprint(args["qualifiedName"])
			if !strings.HasPrefix(name, "refs/") {
				name = "refs/heads/" + name
			}
			return c.refNode(r, name), nil
		}),
		"object": resolver(func(args map[string]any) (any, error) {
			name, _ := args["expression"].(string)
			if oid, ok := args["oid"].(string); ok {
				name = oid
			}
			sha, err := r.resolve(name)
			if err != nil {
				return nil, nil
			}
			return c.commitNode(r, sha)
		}),
	}
}

// refNode is nil for a ref that does not exist.
func (c *call) refNode(r *repository, name string) node {
	sha, err := r.ref(name)
	if err != nil {
		return nil
	}
	cut := strings.LastIndex(name, "/") + 1
	for _, prefix := range []string{"refs/heads/", "refs/tags/"} {
		if strings.HasPrefix(name, prefix) {
			cut = len(prefix)
		}
	}
	return node{
		"__typename": "Ref", "id": nodeID(r.fullName() + ":" + name), "name": name[cut:], "prefix": name[:cut],
		"target": resolver(func(map[string]any) (any, error) { return c.commitNode(r, sha) }),
	}
}

func (c *call) commitNode(r *repository, sha string) (any, error) {
	at, err := r.commit(sha)
	if err != nil {
		return nil, err
	}
	headline, body, _ := strings.Cut(at.message, "\n")
	actor := func(s signature) node {
		return node{"__typename": "GitActor", "name": s.name, "email": s.email, "date": stamp(s.when), "user": c.userNode(s.login())}
	}
	var signed node
	if at.verification()["verified"] == true {
		signed = node{"__typename": "GpgSignature", "email": gitHub.email, "isValid": true, "wasSignedByGitHub": true}
	}
	web := c.s.webURL(r) + "/commit/" + sha
	return node{
		"__typename": "Commit", "id": nodeID("commit " + sha), "oid": sha, "abbreviatedOid": sha[:7], "url": web, "commitUrl": web,
		"message": at.message, "messageHeadline": headline, "messageBody": strings.TrimPrefix(body, "\n"),
		"author": actor(at.author), "committer": actor(at.committer),
		"authoredDate": stamp(at.author.when), "committedDate": stamp(at.committer.when), "signature": signed,
	}, nil
}

// commitInput is CreateCommitOnBranchInput.
type commitInput struct {
	Branch struct {
		ID                      string
		BranchName              string
		RepositoryNameWithOwner string
	}
	ClientMutationID *string
	ExpectedHeadOid  string
	FileChanges      struct {
		Additions []struct{ Path, Contents string }
		Deletions []struct{ Path string }
	}
	Message struct{ Headline, Body string }
}

func (c *call) createCommitOnBranch(in commitInput) (any, error) {
	if in.Branch.ID != "" {
		return nil, &problem{"UNPROCESSABLE", "the GitHub stand-in takes branches by repositoryNameWithOwner and branchName only"}
	}
	r, err := c.visible(in.Branch.RepositoryNameWithOwner)
	if err != nil {
		return nil, err
	}
	if f := c.token.forbids("contents", "write"); f != nil || r.archived {
		return nil, &problem{"FORBIDDEN", "Resource not accessible by personal access token"}
	}
	name := strings.TrimPrefix(in.Branch.BranchName, "refs/heads/")
	head, err := r.branch(name)
	if err != nil {
		return nil, &problem{"NOT_FOUND", fmt.Sprintf("Could not resolve to a Ref with the name '%s'.", name)}
	}
	stale := &problem{"STALE_DATA", fmt.Sprintf("Expected branch to point to %q but it did not.  Pull and try again.", in.ExpectedHeadOid)}
	if head != in.ExpectedHeadOid {
		return nil, stale
	}
	if strings.TrimSpace(in.Message.Headline) == "" {
		return nil, &problem{"UNPROCESSABLE", "A commit message is required"}
	}
	if reason := r.violation(name, update); reason != "" {
		return nil, &problem{"UNPROCESSABLE", violationMessage(reason)}
	}
	var changes []change
	for _, d := range in.FileChanges.Deletions {
		if _, err := r.at(head, d.Path); err != nil {
			return nil, &problem{"UNPROCESSABLE", fmt.Sprintf("A path was requested for deletion which does not exist as of commit oid `%s`", head)}
		}
		changes = append(changes, change{path: d.Path})
	}
	for _, a := range in.FileChanges.Additions {
		raw, err := base64.StdEncoding.DecodeString(a.Contents)
		if err != nil || !goodPath(a.Path) {
			return nil, &problem{"UNPROCESSABLE", fmt.Sprintf("Addition of %q is malformed", a.Path)}
		}
		blob, err := r.blob(raw)
		if err != nil {
			return nil, err
		}
		mode := "100644"
		if old, err := r.at(head, a.Path); err == nil && old.mode == "100755" {
			mode = old.mode
		}
		changes = append(changes, change{a.Path, mode, blob})
	}
	tree, err := r.tree(head, changes)
	if err != nil {
		return nil, err
	}
	message := in.Message.Headline
	if in.Message.Body != "" {
		message += "\n\n" + in.Message.Body
	}
	sha, err := r.writeSigned(tree, []string{head}, person(c.login), message)
	if err != nil {
		return nil, err
	}
	switch err := r.setRef("refs/heads/"+name, sha, head); {
	case errors.Is(err, errMoved):
		return nil, stale
	case err != nil:
		return nil, err
	}
	commit, err := c.commitNode(r, sha)
	if err != nil {
		return nil, err
	}
	return node{"__typename": "CreateCommitOnBranchPayload", "clientMutationId": in.ClientMutationID, "commit": commit,
		"ref": c.refNode(r, "refs/heads/"+name)}, nil
}

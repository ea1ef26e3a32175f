package githubtest

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

func (c *call) user() (int, any, error) {
	if strings.HasSuffix(c.login, botSuffix) {
		return 0, nil, fail(http.StatusForbidden, "Resource not accessible by integration")
	}
	u := c.s.userObject(c.login)
	for _, k := range []string{"bio", "blog", "company", "email", "hireable", "location", "name"} {
		u[k] = nil
	}
	for _, k := range []string{"followers", "following", "public_gists", "public_repos", "collaborators", "disk_usage",
		"owned_private_repos", "private_gists", "total_private_repos"} {
		u[k] = 0
	}
	u["two_factor_authentication"], u["user_view_type"] = true, "private"
	u["created_at"], u["updated_at"] = "2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z"
	return http.StatusOK, u, nil
}

func (c *call) repository() (int, any, error) {
	o := c.s.repositoryObject(c.repo)
	if c.token.rights.ReadOnly {
		o["permissions"] = object{"admin": false, "maintain": false, "push": false, "triage": false, "pull": true}
	}
	return http.StatusOK, o, nil
}

func (c *call) branch() (int, any, error) {
	name := c.PathValue("branch")
	sha, err := c.repo.branch(name)
	if err != nil {
		return 0, nil, fail(http.StatusNotFound, "Branch not found")
	}
	at, err := c.repo.commit(sha)
	if err != nil {
		return 0, nil, err
	}
	self := c.s.repoURL(c.repo) + "/branches/" + escape(name)
	protected := len(c.repo.rules[name]) > 0
	return http.StatusOK, object{
		"name": name, "commit": c.s.commitObject(c.repo, at), "protected": protected, "protection_url": self + "/protection",
		"_links": object{"self": self, "html": c.s.webURL(c.repo) + "/tree/" + escape(name)},
		"protection": object{"enabled": false, "required_status_checks": object{
			"enforcement_level": "off", "contexts": []string{}, "checks": []object{}}},
	}, nil
}

func (c *call) rules() (int, any, error) {
	list := []object{}
	for i, rule := range c.repo.rules[c.PathValue("branch")] {
		o := object{"type": rule.Type, "ruleset_source_type": "Repository", "ruleset_source": c.repo.fullName(), "ruleset_id": i + 1}
		if p := rule.parameters(); p != nil {
			o["parameters"] = p
		}
		list = append(list, o)
	}
	return http.StatusOK, page(c, list), nil
}

// tooLarge is the size up to which contents come in JSON; larger files have the encoding "none".
const tooLarge = 1 << 20

func (c *call) contents() (int, any, error) {
	ref := c.URL.Query().Get("ref")
	sha, err := c.repo.resolve(ref)
	if err != nil {
		return 0, nil, fail(http.StatusNotFound, "No commit found for the ref %s", ref)
	}
	ref = cmp.Or(ref, defaultBranch)
	path, tree := strings.Trim(c.PathValue("path"), "/"), sha
	if path != "" {
		e, err := c.repo.at(sha, path)
		if errors.Is(err, errNoRef) {
			return 0, nil, notFound
		}
		if err != nil {
			return 0, nil, err
		}
		if e.kind == "blob" {
			return c.file(e, ref)
		}
		tree = e.sha
	}
	entries, err := c.repo.entries(tree)
	if err != nil {
		return 0, nil, err
	}
	list := []object{}
	for _, e := range entries {
		if path != "" {
			e.path = path + "/" + e.path
		}
		list = append(list, c.s.contentObject(c.repo, e, ref))
	}
	return http.StatusOK, list, nil
}

func (c *call) file(e entry, ref string) (int, any, error) {
	raw, err := c.repo.content(e.sha)
	if err != nil {
		return 0, nil, err
	}
	if accept := c.Header.Get("Accept"); strings.Contains(accept, "raw") {
		c.answer.Set("Content-Type", "application/vnd.github.raw+json; charset=utf-8")
		return http.StatusOK, raw, nil
	}
	o := c.s.contentObject(c.repo, e, ref)
	switch {
	case o["type"] == "symlink":
		o["target"] = string(raw)
	case e.size > tooLarge:
		o["content"], o["encoding"] = "", "none"
	default:
		o["content"], o["encoding"] = encode64(raw), "base64"
	}
	return http.StatusOK, o, nil
}

// A named is an author or committer as a client sends it.
type named struct {
	Name  string     `json:"name"`
	Email string     `json:"email"`
	Date  *time.Time `json:"date"`
}

// or gives the signature, or that of the token's owner.
func (n *named) or(other signature) signature {
	if n == nil {
		return other
	}
	s := signature{name: n.Name, email: n.Email}
	if n.Date != nil {
		s.when = *n.Date
	}
	return s
}

func (c *call) putContents() (int, any, error) {
	var in struct {
		Message           string
		Content           []byte // base64 in JSON
		SHA               string
		Branch            string
		Author, Committer *named
	}
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	path, branch := c.PathValue("path"), cmp.Or(in.Branch, defaultBranch)
	head, err := c.repo.branch(branch)
	if err != nil {
		return 0, nil, fail(http.StatusNotFound, "Branch %s not found", branch)
	}
	if !goodPath(path) {
		return 0, nil, fail(http.StatusUnprocessableEntity, "path is malformed")
	}
	if reason := c.repo.violation(branch, update); reason != "" {
		return 0, nil, fail(http.StatusConflict, "%s", violationMessage(reason))
	}
	status, mode := http.StatusCreated, "100644"
	switch old, err := c.repo.at(head, path); {
	case err == nil && in.SHA == "":
		return 0, nil, fail(http.StatusUnprocessableEntity, "Invalid request.\n\n\"sha\" wasn't supplied.")
	case err == nil && in.SHA != old.sha:
		return 0, nil, fail(http.StatusConflict, "%s does not match %s", path, in.SHA)
	case err == nil:
		status, mode = http.StatusOK, old.mode
	case !errors.Is(err, errNoRef):
		return 0, nil, err
	}
	blob, err := c.repo.blob(in.Content)
	if err != nil {
		return 0, nil, err
	}
	tree, err := c.repo.tree(head, []change{{path, mode, blob}})
	if err != nil {
		return 0, nil, err
	}
	write := func() (string, error) {
		return c.repo.writeCommit(tree, []string{head}, in.Author.or(person(c.login)), in.Committer.or(gitHub), in.Message)
	}
	if in.Author == nil && in.Committer == nil { // GitHub signs for nobody but the one who asks
		write = func() (string, error) { return c.repo.writeSigned(tree, []string{head}, person(c.login), in.Message) }
	}
	sha, err := write()
	if err != nil {
		return 0, nil, err
	}
	if err := c.repo.setRef("refs/heads/"+branch, sha, head); err != nil {
		return 0, nil, fail(http.StatusConflict, "is at %s but expected %s", head, sha)
	}
	at, err := c.repo.commit(sha)
	if err != nil {
		return 0, nil, err
	}
	return status, object{
		"content": c.s.contentObject(c.repo, entry{mode: mode, kind: "blob", sha: blob, size: int64(len(in.Content)), path: path}, branch),
		"commit":  c.s.gitCommitObject(c.repo, at),
	}, nil
}

func (c *call) commits() (int, any, error) {
	q := c.URL.Query()
	sha, err := c.repo.resolve(q.Get("sha"))
	if err != nil {
		return 0, nil, notFound
	}
	args := []string{sha}
	for _, name := range []string{"since", "until"} {
		if t, err := time.Parse(time.RFC3339, q.Get(name)); err == nil {
			args = append([]string{"--" + name + "=" + t.Format(time.RFC3339)}, args...)
		}
	}
	if path := strings.Trim(q.Get("path"), "/"); path != "" {
		args = append(args, "--", path)
	}
	commits, err := c.repo.log(args...)
	if err != nil {
		return 0, nil, err
	}
	if author := q.Get("author"); author != "" {
		commits = slices.DeleteFunc(commits, func(one commit) bool { return author != one.author.login() && author != one.author.email })
	}
	list := []object{}
	for _, one := range page(c, commits) {
		list = append(list, c.s.commitObject(c.repo, one))
	}
	return http.StatusOK, list, nil
}

func (c *call) commit() (int, any, error) {
	ref := c.PathValue("ref")
	sha, err := c.repo.resolve(ref)
	if err != nil {
		return 0, nil, fail(http.StatusUnprocessableEntity, "No commit found for SHA: %s", ref)
	}
	if strings.Contains(c.Header.Get("Accept"), "vnd.github.sha") || strings.Contains(c.Header.Get("Accept"), "vnd.github.v3.sha") {
		c.answer.Set("Content-Type", "application/vnd.github.sha; charset=utf-8")
		return http.StatusOK, []byte(sha), nil
	}
	at, err := c.repo.commit(sha)
	if err != nil {
		return 0, nil, err
	}
	parent := ""
	if len(at.parents) > 0 {
		parent = at.parents[0]
	}
	o := c.s.commitObject(c.repo, at)
	files, err := c.repo.diff(parent, sha)
	if err != nil {
		return 0, nil, err
	}
	additions, deletions := lines(files)
	o["stats"], o["files"] = object{"additions": additions, "deletions": deletions, "total": additions + deletions}, c.s.fileObjects(c.repo, files)
	return http.StatusOK, o, nil
}

func (c *call) compare() (int, any, error) {
	base, head, ok := strings.Cut(c.PathValue("basehead"), "...")
	if !ok {
		return 0, nil, notFound
	}
	made := c.gitCompare
	if c.repo.madeUp() {
		made = c.madeUpCompare
	}
	owner := c.repo.owner + ":"
	is, err := made(strings.TrimPrefix(base, owner), strings.TrimPrefix(head, owner))
	if err != nil {
		return 0, nil, err
	}
	status := "identical"
	switch {
	case len(is.ahead) > 0 && is.behind > 0:
		status = "diverged"
	case len(is.ahead) > 0:
		status = "ahead"
	case is.behind > 0:
		status = "behind"
	}
	commits := []object{}
	for _, one := range page(c, is.ahead) {
		commits = append(commits, c.s.commitObject(c.repo, one))
	}
	web := c.s.webURL(c.repo) + "/compare/" + escape(c.PathValue("basehead"))
	return http.StatusOK, object{
		"url": c.s.repoURL(c.repo) + "/compare/" + escape(c.PathValue("basehead")), "html_url": web, "permalink_url": web,
		"diff_url": web + ".diff", "patch_url": web + ".patch", "status": status, "ahead_by": len(is.ahead), "behind_by": is.behind,
		"total_commits": len(is.ahead), "commits": commits, "files": c.s.fileObjects(c.repo, is.files),
		"base_commit": c.s.commitObject(c.repo, is.from), "merge_base_commit": c.s.commitObject(c.repo, is.common),
	}, nil
}

// A comparison is one commit held against another.
type comparison struct {
	from, common commit
	ahead        []commit // oldest first
	behind       int
	files        []changed
}

func (c *call) gitCompare(base, head string) (comparison, error) {
	from, err := c.repo.resolve(base)
	if err != nil {
		return comparison{}, notFound
	}
	to, err := c.repo.resolve(head)
	if err != nil {
		return comparison{}, notFound
	}
	common, err := c.repo.line("merge-base", from, to)
	if err != nil {
		return comparison{}, fail(http.StatusNotFound, "No common ancestor between %s and %s.", base, head)
	}
	ahead, err := c.repo.log("--reverse", from+".."+to)
	if err != nil {
		return comparison{}, err
	}
	behind, err := c.repo.log(to + ".." + from)
	if err != nil {
		return comparison{}, err
	}
	first, err := c.repo.commit(from)
	if err != nil {
		return comparison{}, err
	}
	shared, err := c.repo.commit(common)
	if err != nil {
		return comparison{}, err
	}
	files, err := c.repo.diff(common, to)
	return comparison{from: first, common: shared, ahead: ahead, behind: len(behind), files: files}, err
}

func (c *call) ref() (int, any, error) {
	name := "refs/" + c.PathValue("ref")
	sha, err := c.repo.ref(name)
	if err != nil {
		return 0, nil, notFound
	}
	return http.StatusOK, c.s.refObject(c.repo, name, sha), nil
}

func (c *call) matchingRefs() (int, any, error) {
	out, err := c.repo.git("for-each-ref", "--format=%(objectname) %(refname)")
	if err != nil {
		return 0, nil, err
	}
	list := []object{}
	for line := range strings.Lines(out) {
		sha, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if strings.HasPrefix(name, "refs/"+c.PathValue("ref")) {
			list = append(list, c.s.refObject(c.repo, name, sha))
		}
	}
	return http.StatusOK, list, nil
}

func (c *call) createRef() (int, any, error) {
	var in struct{ Ref, SHA string }
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	branch, isBranch := strings.CutPrefix(in.Ref, "refs/heads/")
	if strings.Count(in.Ref, "/") < 2 || !strings.HasPrefix(in.Ref, "refs/") || badRef.MatchString(in.Ref) {
		return 0, nil, fail(http.StatusUnprocessableEntity, "Reference name is invalid: %s", in.Ref)
	}
	if _, err := c.repo.object(in.SHA, "commit"); err != nil {
		return 0, nil, fail(http.StatusUnprocessableEntity, "Object does not exist")
	}
	if _, err := c.repo.ref(in.Ref); err == nil {
		return 0, nil, fail(http.StatusUnprocessableEntity, "Reference already exists")
	}
	if reason := c.repo.violation(branch, create); isBranch && reason != "" {
		return 0, nil, fail(http.StatusUnprocessableEntity, "%s", violationMessage(reason))
	}
	if err := c.repo.setRef(in.Ref, in.SHA, zero); err != nil {
		return 0, nil, fail(http.StatusUnprocessableEntity, "Reference cannot be created") // a and a/b exclude each other
	}
	return http.StatusCreated, c.s.refObject(c.repo, in.Ref, in.SHA), nil
}

func (c *call) updateRef() (int, any, error) {
	var in struct {
		SHA   string
		Force bool
	}
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	name := "refs/" + c.PathValue("ref")
	old, err := c.repo.ref(name)
	if err != nil {
		return 0, nil, fail(http.StatusUnprocessableEntity, "Reference does not exist")
	}
	if _, err := c.repo.object(in.SHA, "commit"); err != nil {
		return 0, nil, fail(http.StatusUnprocessableEntity, "Object does not exist")
	}
	forward := c.repo.isAncestor(old, in.SHA)
	if !forward && !in.Force {
		return 0, nil, fail(http.StatusUnprocessableEntity, "Update is not a fast forward")
	}
	writes := []effect{update}
	if !forward {
		writes = append(writes, force)
	}
	if at, err := c.repo.commit(in.SHA); err == nil && at.verification()["verified"] == false {
		writes = append(writes, unsigned)
	}
	if branch, ok := strings.CutPrefix(name, "refs/heads/"); ok {
		if reason := c.repo.violation(branch, writes...); reason != "" {
			return 0, nil, fail(http.StatusUnprocessableEntity, "%s", violationMessage(reason))
		}
	}
	if err := c.repo.setRef(name, in.SHA, old); err != nil {
		return 0, nil, fail(http.StatusConflict, "Reference cannot be updated")
	}
	return http.StatusOK, c.s.refObject(c.repo, name, in.SHA), nil
}

func (c *call) deleteRef() (int, any, error) {
	name := "refs/" + c.PathValue("ref")
	branch, isBranch := strings.CutPrefix(name, "refs/heads/")
	old, err := c.repo.ref(name)
	if err != nil {
		return 0, nil, fail(http.StatusUnprocessableEntity, "Reference does not exist")
	}
	if branch == defaultBranch {
		return 0, nil, fail(http.StatusUnprocessableEntity, "Cannot delete the default branch")
	}
	if reason := c.repo.violation(branch, remove); isBranch && reason != "" {
		return 0, nil, fail(http.StatusUnprocessableEntity, "%s", violationMessage(reason))
	}
	if err := c.repo.setRef(name, zero, old); err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, nil
}

func (c *call) gitCommit() (int, any, error) {
	sha, err := c.repo.object(c.PathValue("sha"), "commit")
	if err != nil {
		return 0, nil, notFound
	}
	at, err := c.repo.commit(sha)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, c.s.gitCommitObject(c.repo, at), nil
}

func (c *call) createCommit() (int, any, error) {
	var in struct {
		Message, Tree     string
		Parents           []string
		Author, Committer *named
	}
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	if _, err := c.repo.object(in.Tree, "tree"); err != nil {
		return 0, nil, fail(http.StatusUnprocessableEntity, "Tree SHA does not exist")
	}
	for _, p := range in.Parents {
		if _, err := c.repo.object(p, "commit"); err != nil {
			return 0, nil, fail(http.StatusUnprocessableEntity, "Parent SHA does not exist or is not a commit object")
		}
	}
	author := in.Author.or(person(c.login))
	sha, err := c.repo.writeCommit(in.Tree, in.Parents, author, in.Committer.or(author), in.Message)
	if err != nil {
		return 0, nil, err
	}
	at, err := c.repo.commit(sha)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, c.s.gitCommitObject(c.repo, at), nil
}

func (c *call) treeObject(tree string, recursive bool) (object, error) {
	var args []string
	if recursive {
		args = []string{"-r", "-t"}
	}
	entries, err := c.repo.entries(tree, args...)
	if err != nil {
		return nil, err
	}
	list := []object{}
	for _, e := range entries {
		list = append(list, c.s.treeEntry(c.repo, e))
	}
	return object{"sha": tree, "url": c.s.repoURL(c.repo) + "/git/trees/" + tree, "tree": list, "truncated": false}, nil
}

func (c *call) tree() (int, any, error) {
	ref := c.PathValue("sha")
	if commit, err := c.repo.resolve(ref); err == nil {
		ref = commit
	}
	tree, err := c.repo.object(ref, "tree")
	if err != nil {
		return 0, nil, notFound
	}
	o, err := c.treeObject(tree, c.URL.Query().Has("recursive")) // any value means yes, 0 and false too
	return http.StatusOK, o, err
}

func (c *call) createTree() (int, any, error) {
	var in struct {
		BaseTree string `json:"base_tree"`
		Tree     []struct {
			Path, Mode, Type string
			SHA              json.RawMessage // null deletes, absent means content
			Content          *string
		}
	}
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	if in.BaseTree != "" {
		if _, err := c.repo.object(in.BaseTree, "tree"); err != nil {
			return 0, nil, fail(http.StatusUnprocessableEntity, "base_tree is not a valid tree oid")
		}
	}
	var changes []change
	for _, t := range in.Tree {
		next := change{path: t.Path, mode: cmp.Or(t.Mode, "100644")}
		switch {
		case !goodPath(t.Path):
			return 0, nil, fail(http.StatusUnprocessableEntity, "tree.path contains a malformed path component")
		case !slices.Contains([]string{"100644", "100755", "120000", "160000"}, next.mode):
			return 0, nil, fail(http.StatusUnprocessableEntity, "Must supply a valid tree.mode") // whole trees are not taken here
		case string(t.SHA) == "null":
			next.mode = ""
		case t.SHA != nil:
			if err := json.Unmarshal(t.SHA, &next.sha); err != nil || !fullSHA.MatchString(next.sha) {
				return 0, nil, fail(http.StatusUnprocessableEntity, "tree.sha %s is not a valid sha", t.SHA)
			}
		case t.Content != nil:
			sha, err := c.repo.blob([]byte(*t.Content))
			if err != nil {
				return 0, nil, err
			}
			next.sha = sha
		default:
			return 0, nil, fail(http.StatusUnprocessableEntity, "Must supply either tree.sha or tree.content")
		}
		changes = append(changes, next)
	}
	tree, err := c.repo.tree(in.BaseTree, changes)
	if err != nil {
		return 0, nil, fail(http.StatusUnprocessableEntity, "tree cannot be written")
	}
	o, err := c.treeObject(tree, false)
	return http.StatusCreated, o, err
}

func (c *call) blob() (int, any, error) {
	sha, err := c.repo.object(c.PathValue("sha"), "blob")
	if err != nil {
		return 0, nil, notFound
	}
	raw, err := c.repo.content(sha)
	if err != nil {
		return 0, nil, err
	}
	if strings.Contains(c.Header.Get("Accept"), "raw") {
		c.answer.Set("Content-Type", "application/vnd.github.raw+json; charset=utf-8")
		return http.StatusOK, raw, nil
	}
	return http.StatusOK, object{"sha": sha, "node_id": nodeID("blob " + sha), "url": c.s.repoURL(c.repo) + "/git/blobs/" + sha,
		"size": len(raw), "content": encode64(raw), "encoding": "base64"}, nil
}

func (c *call) createBlob() (int, any, error) {
	var in struct{ Content, Encoding string }
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	raw := []byte(in.Content)
	if in.Encoding == "base64" {
		var err error
		if raw, err = base64.StdEncoding.DecodeString(strings.ReplaceAll(in.Content, "\n", "")); err != nil {
			return 0, nil, fail(http.StatusUnprocessableEntity, "content is not valid Base64")
		}
	}
	sha, err := c.repo.blob(raw)
	if err != nil {
		return 0, nil, fmt.Errorf("write blob: %w", err)
	}
	return http.StatusCreated, object{"sha": sha, "url": c.s.repoURL(c.repo) + "/git/blobs/" + sha}, nil
}

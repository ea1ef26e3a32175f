package githubtest

import (
	"encoding/base64"
	"hash/fnv"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// An object is a JSON object of GitHub's, with all fields that its description requires.
type object = map[string]any

// number gives a thing the same id each time.
func number(thing string) int64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(thing))
	return int64(h.Sum32())
}

func nodeID(thing string) string { return base64.StdEncoding.EncodeToString([]byte(thing)) }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// maybeStamp is null for the zero time.
func maybeStamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return stamp(t)
}

// maybe is null for the empty string.
func maybe(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func escape(path string) string { return strings.ReplaceAll(url.PathEscape(path), "%2F", "/") }

// userObject is schema simple-user.
func (s *Server) userObject(login string) object {
	api := s.url + "/api/v3/users/" + login
	return object{
		"login": login, "id": number("user " + login), "node_id": nodeID("user " + login), "type": "User", "site_admin": false,
		"gravatar_id": "", "avatar_url": s.url + "/avatars/" + login, "html_url": s.url + "/" + login, "url": api,
		"events_url": api + "/events{/privacy}", "followers_url": api + "/followers", "following_url": api + "/following{/other_user}",
		"gists_url": api + "/gists{/gist_id}", "organizations_url": api + "/orgs", "received_events_url": api + "/received_events",
		"repos_url": api + "/repos", "starred_url": api + "/starred{/owner}{/repo}", "subscriptions_url": api + "/subscriptions",
	}
}

// maybeUser is null where an e-mail address belongs to no account.
func (s *Server) maybeUser(login string) any {
	if login == "" {
		return nil
	}
	return s.userObject(login)
}

// repositoryURLs are the links of schema repository below its own.
var repositoryURLs = map[string]string{
	"archive": "/{archive_format}{/ref}", "assignees": "/assignees{/user}", "blobs": "/git/blobs{/sha}", "branches": "/branches{/branch}",
	"collaborators": "/collaborators{/collaborator}", "comments": "/comments{/number}", "commits": "/commits{/sha}",
	"compare": "/compare/{base}...{head}", "contents": "/contents/{+path}", "contributors": "/contributors",
	"deployments": "/deployments", "downloads": "/downloads", "events": "/events", "forks": "/forks",
	"git_commits": "/git/commits{/sha}", "git_refs": "/git/refs{/sha}", "git_tags": "/git/tags{/sha}", "hooks": "/hooks",
	"issue_comment": "/issues/comments{/number}", "issue_events": "/issues/events{/number}", "issues": "/issues{/number}",
	"keys": "/keys{/key_id}", "labels": "/labels{/name}", "languages": "/languages", "merges": "/merges",
	"milestones": "/milestones{/number}", "notifications": "/notifications{?since,all,participating}", "pulls": "/pulls{/number}",
	"releases": "/releases{/id}", "stargazers": "/stargazers", "statuses": "/statuses/{sha}", "subscribers": "/subscribers",
	"subscription": "/subscription", "tags": "/tags", "teams": "/teams", "trees": "/git/trees{/sha}",
}

func (s *Server) repoURL(r *repository) string { return s.url + "/api/v3/repos/" + r.fullName() }

func (s *Server) webURL(r *repository) string { return s.url + "/" + r.fullName() }

// repositoryObject is schema full-repository, which contains schema repository.
func (s *Server) repositoryObject(r *repository) object {
	api, web := s.repoURL(r), s.webURL(r)
	pushed := r.created
	if r.pushed != 0 {
		pushed = time.Unix(r.pushed, 0)
	}
	o := object{
		"id": r.id, "node_id": nodeID("repository " + r.fullName()), "name": r.name, "full_name": r.fullName(), "owner": s.userObject(r.owner),
		"private": !s.anonymousGit, "visibility": map[bool]string{true: "public", false: "private"}[s.anonymousGit],
		"description": nil, "fork": r.parent != nil, "default_branch": defaultBranch, "homepage": nil, "language": nil, "license": nil, "mirror_url": nil,
		"archived": r.archived, "disabled": false, "has_issues": true, "has_projects": false, "has_wiki": false, "has_pages": false,
		"has_discussions": false, "has_downloads": false, "forks": 0, "forks_count": 0, "open_issues": r.open, "open_issues_count": r.open,
		"stargazers_count": r.stars, "watchers": r.stars, "watchers_count": r.stars, "network_count": 0, "subscribers_count": 0, "size": 1,
		"created_at": stamp(r.created), "updated_at": stamp(r.created), "pushed_at": stamp(pushed),
		"permissions": object{"admin": false, "maintain": false, "push": true, "triage": true, "pull": true},
		"url":         api, "html_url": web, "clone_url": web + ".git", "git_url": "git://" + strings.TrimPrefix(web, "http://") + ".git",
		"ssh_url": "git@127.0.0.1:" + r.fullName() + ".git", "svn_url": web,
	}
	for name, path := range repositoryURLs {
		o[name+"_url"] = api + path
	}
	return o
}

func (s signature) object() object {
	return object{"name": s.name, "email": s.email, "date": stamp(s.when)}
}

// verification says of a commit whether GitHub signed it: it does so for createCommitOnBranch and on its pages, but for
// "rebase and merge". A pushed commit is unsigned, whoever it names as its committer.
func (c commit) verification() object {
	if c.signed {
		return object{"verified": true, "reason": "valid", "signature": "-----BEGIN PGP SIGNATURE-----", "payload": "tree " + c.tree,
			"verified_at": stamp(c.committer.when)}
	}
	return object{"verified": false, "reason": "unsigned", "signature": nil, "payload": nil, "verified_at": nil}
}

func (s *Server) parents(r *repository, c commit, kind string) []object {
	parents := []object{}
	for _, p := range c.parents {
		parents = append(parents, object{"sha": p, "url": s.repoURL(r) + kind + p, "html_url": s.webURL(r) + "/commit/" + p})
	}
	return parents
}

// commitObject is schema commit, without files.
func (s *Server) commitObject(r *repository, c commit) object {
	api := s.repoURL(r)
	return object{
		"sha": c.sha, "node_id": nodeID("commit " + c.sha), "url": api + "/commits/" + c.sha, "html_url": s.webURL(r) + "/commit/" + c.sha,
		"comments_url": api + "/commits/" + c.sha + "/comments",
		"author":       s.maybeUser(c.author.login()), "committer": s.maybeUser(c.committer.login()), "parents": s.parents(r, c, "/commits/"),
		"commit": object{
			"author": c.author.object(), "committer": c.committer.object(), "message": c.message, "comment_count": 0,
			"tree": object{"sha": c.tree, "url": api + "/git/trees/" + c.tree},
			"url":  api + "/git/commits/" + c.sha, "verification": c.verification(),
		},
	}
}

// gitCommitObject is schema git-commit, and serves as the commit of schema file-commit.
func (s *Server) gitCommitObject(r *repository, c commit) object {
	api := s.repoURL(r)
	return object{
		"sha": c.sha, "node_id": nodeID("commit " + c.sha), "url": api + "/git/commits/" + c.sha, "html_url": s.webURL(r) + "/commit/" + c.sha,
		"author": c.author.object(), "committer": c.committer.object(), "message": c.message,
		"tree":    object{"sha": c.tree, "url": api + "/git/trees/" + c.tree},
		"parents": s.parents(r, c, "/git/commits/"), "verification": c.verification(),
	}
}

// refObject is schema git-ref.
func (s *Server) refObject(r *repository, name, sha string) object {
	kind, err := r.line("cat-file", "-t", sha)
	if err != nil {
		kind = "commit"
	}
	return object{
		"ref": name, "node_id": nodeID(r.fullName() + ":" + name), "url": s.repoURL(r) + "/git/" + escape(name),
		"object": object{"type": kind, "sha": sha, "url": s.repoURL(r) + "/git/" + kind + "s/" + sha},
	}
}

// contentObject is the common part of the schemas content-file and content-directory.
func (s *Server) contentObject(r *repository, e entry, ref string) object {
	kind, web, git := "file", "blob", "blobs"
	switch {
	case e.kind == "tree":
		kind, web, git = "dir", "tree", "trees"
	case e.kind == "commit":
		kind, web, git = "submodule", "tree", "trees"
	case e.mode == "120000":
		kind = "symlink"
	}
	self := s.repoURL(r) + "/contents/" + escape(e.path) + "?ref=" + url.QueryEscape(ref)
	html := s.webURL(r) + "/" + web + "/" + escape(ref) + "/" + escape(e.path)
	blob := s.repoURL(r) + "/git/" + git + "/" + e.sha
	o := object{
		"type": kind, "name": e.path[strings.LastIndex(e.path, "/")+1:], "path": e.path, "sha": e.sha, "size": e.size,
		"url": self, "html_url": html, "git_url": blob, "download_url": nil, "_links": object{"self": self, "html": html, "git": blob},
	}
	if e.kind == "blob" {
		o["download_url"] = s.webURL(r) + "/raw/" + escape(ref) + "/" + escape(e.path) // not served, as all links for people
	}
	return o
}

// treeEntry is an entry of schema git-tree.
func (s *Server) treeEntry(r *repository, e entry) object {
	o := object{"path": e.path, "mode": e.mode, "type": e.kind, "sha": e.sha}
	switch e.kind {
	case "blob":
		o["size"], o["url"] = e.size, s.repoURL(r)+"/git/blobs/"+e.sha
	case "tree":
		o["url"] = s.repoURL(r) + "/git/trees/" + e.sha
	}
	return o
}

// pullObject is schema pull-request-simple.
func (s *Server) pullObject(r *repository, p *pull) object {
	api, web := s.repoURL(r)+"/pulls/"+strconv.Itoa(p.number), s.webURL(r)+"/pull/"+strconv.Itoa(p.number)
	issue := s.repoURL(r) + "/issues/" + strconv.Itoa(p.number)
	statuses := s.repoURL(r) + "/statuses/" + p.headSHA
	side := func(r *repository, branch, sha string) object {
		if r == nil { // the fork is gone, and what was known by it
			return object{"label": nil, "ref": branch, "sha": sha, "repo": nil, "user": nil}
		}
		return object{"label": r.owner + ":" + branch, "ref": branch, "sha": sha, "repo": s.repositoryObject(r), "user": s.userObject(r.owner)}
	}
	association := "COLLABORATOR"
	if p.source != r {
		association = "CONTRIBUTOR"
	}
	labels := []object{}
	for _, name := range p.labels {
		labels = append(labels, s.labelObject(r, name))
	}
	href := func(u string) object { return object{"href": u} }
	o := object{
		"id": number(web), "node_id": nodeID(web), "number": p.number, "state": p.state, "locked": false, "draft": p.draft, "title": p.title,
		"body": maybe(p.body), "user": s.userObject(p.author), "labels": labels, "milestone": nil, "assignee": nil, "assignees": []object{},
		"requested_reviewers": []object{}, "requested_teams": []object{}, "author_association": association, "auto_merge": nil,
		"active_lock_reason": nil, "created_at": stamp(p.created), "updated_at": stamp(p.updated), "closed_at": maybeStamp(p.closed),
		"merged_at": maybeStamp(p.merged), "merge_commit_sha": maybe(p.mergeCommit),
		"head": side(p.source, p.head, p.headSHA), "base": side(r, p.base, p.baseSHA),
		"url": api, "html_url": web, "diff_url": web + ".diff", "patch_url": web + ".patch", "issue_url": issue, "commits_url": api + "/commits",
		"review_comments_url": api + "/comments", "review_comment_url": s.repoURL(r) + "/pulls/comments{/number}",
		"comments_url": issue + "/comments", "statuses_url": statuses,
		"_links": object{
			"self": href(api), "html": href(web), "issue": href(issue), "comments": href(issue + "/comments"),
			"review_comments": href(api + "/comments"), "review_comment": href(s.repoURL(r) + "/pulls/comments{/number}"),
			"commits": href(api + "/commits"), "statuses": href(statuses),
		},
	}
	return o
}

// wholeObject is schema pull-request.
func (s *Server) wholeObject(r *repository, p *pull) (object, error) {
	o := s.pullObject(r, p)
	mergeable, state, commits := any(nil), "unknown", 1
	switch {
	case r.madeUp():
		if p.state == "open" {
			mergeable, state = true, "clean"
		}
	case p.state == "open":
		_, clean := r.mergedTree(p.base, p.headSHA)
		mergeable, state = clean, map[bool]string{true: "clean", false: "dirty"}[clean]
		if clean && p.reviewsMissing(r) != "" {
			state = "blocked"
		}
	}
	files, err := p.diff(r)
	if err != nil {
		return nil, err
	}
	if !r.madeUp() {
		count, err := r.line("rev-list", "--count", p.baseSHA+".."+p.headSHA)
		if err != nil {
			return nil, err
		}
		commits, _ = strconv.Atoi(count) // printed by git
	}
	additions, deletions := lines(files)
	o["merged"], o["merged_by"], o["mergeable"], o["mergeable_state"], o["rebaseable"] = !p.merged.IsZero(), s.maybeUser(p.mergedBy), mergeable, state, mergeable
	o["comments"], o["review_comments"], o["commits"], o["maintainer_can_modify"] = 0, 0, commits, false
	o["additions"], o["deletions"], o["changed_files"] = additions, deletions, len(files)
	return o, nil
}

// diff is what a pull request changes, all of it.
func (p *pull) diff(r *repository) ([]changed, error) {
	if r.madeUp() {
		return p.changes(), nil
	}
	return r.diff(p.mergeBase(r), p.headSHA)
}

// mergeBase is where a pull request's own changes begin.
func (p *pull) mergeBase(r *repository) string {
	if from, err := r.line("merge-base", p.baseSHA, p.headSHA); err == nil {
		return from
	}
	return p.baseSHA // histories without a common commit
}

// labelObject is schema label.
func (s *Server) labelObject(r *repository, name string) object {
	thing := r.fullName() + " label " + name
	return object{"id": number(thing), "node_id": nodeID(thing), "url": s.repoURL(r) + "/labels/" + url.PathEscape(name), "name": name,
		"description": "", "color": "ededed", "default": false}
}

// A changed file is one between two commits.
type changed struct {
	name, previous string // previous: of a renamed file
	status         string // GitHub's word
	sha            string // of the blob, of the old one where the file is removed
	commit         string // that has it
	patch          string // from its first @@; empty for binary content
	plus, minus    int
}

// lines sums what was added and deleted.
func lines(files []changed) (additions, deletions int) {
	for _, f := range files {
		additions, deletions = additions+f.plus, deletions+f.minus
	}
	return additions, deletions
}

// fileObject is schema diff-entry.
func (s *Server) fileObject(r *repository, f changed) object {
	o := object{
		"filename": f.name, "status": f.status, "sha": f.sha, "blob_url": s.webURL(r) + "/blob/" + f.commit + "/" + escape(f.name),
		"raw_url":      s.webURL(r) + "/raw/" + f.commit + "/" + escape(f.name),
		"contents_url": s.repoURL(r) + "/contents/" + escape(f.name) + "?ref=" + f.commit,
		"additions":    f.plus, "deletions": f.minus, "changes": f.plus + f.minus,
	}
	if f.previous != "" {
		o["previous_filename"] = f.previous
	}
	if f.patch != "" {
		o["patch"] = f.patch
	}
	return o
}

func (s *Server) fileObjects(r *repository, files []changed) []object {
	list := []object{}
	for _, f := range files {
		list = append(list, s.fileObject(r, f))
	}
	return list
}

// diff compares two commits, or the empty tree where from is empty.
func (r *repository) diff(from, to string) ([]changed, error) {
	if from == "" {
		from = emptyTree
	}
	if r.compared.from == from && r.compared.to == to { // page after page
		return r.compared.files, nil
	}
	files, err := r.diffAnew(from, to)
	if err == nil {
		r.compared = compared{from, to, files}
	}
	return files, err
}

func (r *repository) diffAnew(from, to string) ([]changed, error) {
	out, err := r.git("diff", "-M", "--raw", "-z", "--no-abbrev", from, to)
	if err != nil {
		return nil, err
	}
	var files []changed
	fields := strings.Split(out, "\x00")
	for i := 0; i+1 < len(fields); {
		meta := strings.Fields(fields[i]) // :100644 100644 OLD NEW M
		if len(meta) != 5 {
			break
		}
		f := changed{name: fields[i+1], sha: meta[3], commit: to}
		i += 2
		switch meta[4][0] {
		case 'A':
			f.status = "added"
		case 'D':
			f.status, f.sha, f.commit = "removed", meta[2], from
		case 'R':
			f.status, f.previous, f.name = "renamed", f.name, fields[i]
			i++
		default:
			f.status = "modified"
		}
		files = append(files, f)
	}
	text, err := r.git("diff", "-M", from, to)
	if err != nil {
		return nil, err
	}
	sections := strings.Split("\n"+text, "\ndiff --git ")[1:]
	if len(sections) != len(files) { // a file became a link or the like, which Git tells in two sections
		return files, nil
	}
	for i, section := range sections {
		_, patch, ok := strings.Cut(section, "\n@@ ")
		if !ok {
			continue
		}
		f := &files[i]
		f.patch = "@@ " + strings.TrimSuffix(patch, "\n")
		for line := range strings.SplitSeq(f.patch, "\n") {
			switch {
			case strings.HasPrefix(line, "+"):
				f.plus++
			case strings.HasPrefix(line, "-"):
				f.minus++
			}
		}
	}
	return files, nil
}

// emptyTree is Git's name of a tree without entries.
const emptyTree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

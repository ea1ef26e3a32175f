package githubtest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	defaultBranch = "main"
	zero          = "0000000000000000000000000000000000000000"
	// mailDomain makes e-mail addresses that belong to accounts: LOGIN@users.noreply.github.test.
	mailDomain = "@users.noreply.github.test"
)

var (
	errNoRef = errors.New("no such ref")
	// errMoved says that a ref is no longer where the update expected it.
	errMoved = errors.New("ref has moved")
)

// A repository is a bare Git repository and what GitHub knows about it beside Git.
type repository struct {
	id          int64
	owner, name string
	dir         string
	created     time.Time
	archived    bool
	gone        int         // the status of all its answers; zero: it is there
	parent      *repository // of a fork
	made        *made       // of one that is made up, without Git
	repositoryState
	pulls  []*pull
	rules  map[string][]Rule // by branch
	signed map[string]bool   // commits that the stand-in made as GitHub makes them, with a signature

	compared compared
}

// compared is what was compared last.
type compared struct {
	from, to string
	files    []changed
}

func (r *repository) fullName() string { return r.owner + "/" + r.name }

func (r *repository) madeUp() bool { return r.made != nil }

// A signature is the author or committer of a commit.
type signature struct {
	name, email string
	when        time.Time // zero: now
}

// person is the signature of an account.
func person(login string) signature { return signature{name: login, email: login + mailDomain} }

// gitHub is the committer of what GitHub writes on its pages and by createCommitOnBranch.
var gitHub = signature{name: "GitHub", email: "noreply@github.com"}

// gitEnvironment is all that git sees of ours: no configuration of the machine or the user takes part.
func gitEnvironment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null"}
}

// git runs a command of git in the repository and returns what it prints.
func (r *repository) git(args ...string) (string, error) { return r.gitWith(nil, nil, args...) }

func (r *repository) gitWith(stdin []byte, env []string, args ...string) (string, error) {
	cmd := exec.Command("git", append([]string{"--literal-pathspecs"}, args...)...)
	cmd.Dir = r.dir
	cmd.Env = append(append(gitEnvironment(), "GIT_DIR="+r.dir), env...)
	cmd.Stdin = bytes.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// line runs git for one line of output.
func (r *repository) line(args ...string) (string, error) {
	out, err := r.git(args...)
	return strings.TrimSuffix(out, "\n"), err
}

// configuration of the bare repositories: any commit can be fetched, without blobs too, and pushes are taken. Nothing
// goes on in the background when a request has ended.
const configuration = `[core]
	repositoryFormatVersion = 0
	bare = true
[gc]
	auto = 0
[http]
	receivePack = true
[receive]
	autoGC = false
[uploadpack]
	allowAnySHA1InWant = true
	allowFilter = true
`

func (r *repository) init() error {
	if err := os.MkdirAll(filepath.Dir(r.dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(r.dir, 0o755); err != nil {
		return err
	}
	if _, err := r.git("init", "--quiet", "--bare", "--template=", "--initial-branch="+defaultBranch, r.dir); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(r.dir, "config"), []byte(configuration), 0o644); err != nil {
		return err
	}
	if err := r.writeRules(); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(r.dir, "hooks"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.dir, "hooks", "pre-receive"), []byte(preReceive), 0o755)
}

// badRef finds what git forbids in ref names, and what would make a revision expression of one (git-check-ref-format).
var badRef = regexp.MustCompile(`[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|^\.|^/|^-|/$|\.$|\.lock(/|$)|^@$|^$`)

// ref returns the object that a full ref name points to, or errNoRef.
func (r *repository) ref(name string) (string, error) {
	if badRef.MatchString(name) || !strings.HasPrefix(name, "refs/") {
		return "", errNoRef
	}
	sha, err := r.line("rev-parse", "--verify", "--quiet", "--end-of-options", name)
	if err != nil {
		return "", errNoRef
	}
	return sha, nil
}

func (r *repository) branch(name string) (string, error) { return r.ref("refs/heads/" + name) }

var fullSHA = regexp.MustCompile(`^[0-9a-f]{40}$`)

// resolve returns the commit that a client means by a branch, a tag, a ref or a full SHA, or errNoRef. Empty is the
// default branch.
func (r *repository) resolve(name string) (string, error) {
	if name == "" || name == "HEAD" {
		name = defaultBranch
	}
	for _, full := range []string{"refs/heads/" + name, "refs/tags/" + name, "refs/" + name, name} {
		if sha, err := r.ref(full); err == nil {
			return r.object(sha, "commit")
		}
	}
	return r.object(name, "commit")
}

// object returns the object of that kind that a full SHA names, tags followed, or errNoRef.
func (r *repository) object(sha, kind string) (string, error) {
	if !fullSHA.MatchString(sha) {
		return "", errNoRef
	}
	out, err := r.line("rev-parse", "--verify", "--quiet", sha+"^{"+kind+"}")
	if err != nil {
		return "", errNoRef
	}
	return out, nil
}

// setRef moves a full ref from old to sha, or returns errMoved. Zero as old: it must not exist; as sha: it is deleted.
func (r *repository) setRef(name, sha, old string) error {
	if badRef.MatchString(name) || !strings.HasPrefix(name, "refs/") {
		return fmt.Errorf("%q is not a ref", name)
	}
	if _, err := r.git("update-ref", name, sha, old); err != nil {
		if at, _ := r.ref(name); at != old && (at != "" || old != zero) {
			return errMoved
		}
		return err
	}
	return nil
}

// A change is one path of a new tree. A nil mode deletes it.
type change struct{ path, mode, sha string }

// tree writes a tree: base (may be empty) with changes. A change without mode deletes the path.
func (r *repository) tree(base string, changes []change) (string, error) {
	temp, err := os.MkdirTemp("", "githubtest-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	index := []string{"GIT_INDEX_FILE=" + filepath.Join(temp, "index")}
	if base != "" {
		if _, err := r.gitWith(nil, index, "read-tree", base); err != nil {
			return "", err
		}
	}
	var lines bytes.Buffer
	for _, c := range changes {
		if !goodPath(c.path) {
			return "", fmt.Errorf("path %q is not allowed in a tree", c.path)
		}
		if c.mode == "" {
			c.mode, c.sha = "0", zero
		}
		fmt.Fprintf(&lines, "%s %s\t%s\x00", c.mode, c.sha, c.path)
	}
	if _, err := r.gitWith(lines.Bytes(), index, "update-index", "--add", "--replace", "-z", "--index-info"); err != nil {
		return "", err
	}
	out, err := r.gitWith(nil, index, "write-tree")
	return strings.TrimSuffix(out, "\n"), err
}

// goodPath holds paths to what Git accepts in a tree.
func goodPath(p string) bool {
	return p != "" && p == path.Clean(p) && !path.IsAbs(p) && !strings.Contains(p, "\x00") &&
		!slices.ContainsFunc(strings.Split(p, "/"), func(s string) bool { return s == "." || s == ".." || strings.EqualFold(s, ".git") })
}

func (r *repository) blob(content []byte) (string, error) {
	out, err := r.gitWith(content, nil, "hash-object", "-w", "--stdin")
	return strings.TrimSuffix(out, "\n"), err
}

// writeCommit writes a commit object; no ref points to it yet.
func (r *repository) writeCommit(tree string, parents []string, author, committer signature, message string) (string, error) {
	args := []string{"commit-tree", tree}
	for _, p := range parents {
		args = append(args, "-p", p)
	}
	stamp := func(t time.Time) string {
		if t.IsZero() {
			t = now()
		}
		return t.Format(time.RFC3339)
	}
	out, err := r.gitWith([]byte(message), []string{
		"GIT_AUTHOR_NAME=" + author.name, "GIT_AUTHOR_EMAIL=" + author.email, "GIT_AUTHOR_DATE=" + stamp(author.when),
		"GIT_COMMITTER_NAME=" + committer.name, "GIT_COMMITTER_EMAIL=" + committer.email, "GIT_COMMITTER_DATE=" + stamp(committer.when),
	}, append(args, "-F", "-")...)
	return strings.TrimSuffix(out, "\n"), err
}

// writeSigned is writeCommit by GitHub, which signs what it commits.
func (r *repository) writeSigned(tree string, parents []string, author signature, message string) (string, error) {
	sha, err := r.writeCommit(tree, parents, author, gitHub, message)
	if err == nil {
		r.signed[sha] = true
	}
	return sha, err
}

// commitFiles commits whole files to a branch on top of parent, or as its first commit.
func (r *repository) commitFiles(branch, parent string, who signature, message string, files map[string]string) (string, error) {
	var changes []change
	for _, name := range slices.Sorted(maps.Keys(files)) {
		sha, err := r.blob([]byte(files[name]))
		if err != nil {
			return "", err
		}
		changes = append(changes, change{name, "100644", sha})
	}
	var parents []string
	if parent != "" {
		parents = []string{parent}
	}
	tree, err := r.tree(parent, changes)
	if err != nil {
		return "", err
	}
	sha, err := r.writeCommit(tree, parents, who, who, message)
	if err != nil {
		return "", err
	}
	old, err := r.branch(branch)
	if err != nil {
		old = zero
	}
	return sha, r.setRef("refs/heads/"+branch, sha, old)
}

// A commit is one as Git has it.
type commit struct {
	sha, tree         string
	parents           []string
	author, committer signature
	message           string
	signed            bool // by GitHub
}

// login is the account that an e-mail address belongs to, or empty.
func (s signature) login() string {
	if s == gitHub || s.email == gitHub.email {
		return "web-flow"
	}
	if login, ok := strings.CutSuffix(s.email, mailDomain); ok {
		return login
	}
	return ""
}

// log lists commits as git log does with these arguments, newest first.
func (r *repository) log(args ...string) ([]commit, error) {
	out, err := r.git(append([]string{"log", "-z", "--format=%H%x1f%T%x1f%P%x1f%an%x1f%ae%x1f%at%x1f%cn%x1f%ce%x1f%ct%x1f%B"}, args...)...)
	if err != nil {
		return nil, err
	}
	var commits []commit
	for record := range strings.SplitSeq(out, "\x00") {
		f := strings.SplitN(record, "\x1f", 10)
		if len(f) != 10 {
			continue // the end
		}
		at := func(s string) time.Time {
			seconds, _ := strconv.ParseInt(s, 10, 64) // printed by git
			return time.Unix(seconds, 0).UTC()
		}
		commits = append(commits, commit{
			sha: f[0], tree: f[1], parents: strings.Fields(f[2]),
			author: signature{f[3], f[4], at(f[5])}, committer: signature{f[6], f[7], at(f[8])},
			message: strings.TrimRight(f[9], "\n"), signed: r.signed[f[0]],
		})
	}
	return commits, nil
}

func (r *repository) commit(sha string) (commit, error) {
	commits, err := r.log("--max-count=1", sha)
	if err != nil {
		return commit{}, err
	}
	return commits[0], nil
}

func (r *repository) isAncestor(old, young string) bool {
	_, err := r.git("merge-base", "--is-ancestor", old, young)
	return err == nil
}

// An entry is one path of a tree.
type entry struct {
	mode, kind, sha string
	size            int64
	path            string // from the root of the listing
}

// entries lists a tree; of a path in it where args name one.
func (r *repository) entries(tree string, args ...string) ([]entry, error) {
	out, err := r.git(append([]string{"ls-tree", "-z", "-l", "--full-tree", tree}, args...)...)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for record := range strings.SplitSeq(out, "\x00") {
		meta, name, ok := strings.Cut(record, "\t")
		if f := strings.Fields(meta); ok && len(f) == 4 {
			size, _ := strconv.ParseInt(f[3], 10, 64) // "-" for trees
			entries = append(entries, entry{mode: f[0], kind: f[1], sha: f[2], size: size, path: name})
		}
	}
	return entries, nil
}

// at returns the entry of one path, or errNoRef.
func (r *repository) at(tree, file string) (entry, error) {
	if !goodPath(file) {
		return entry{}, errNoRef
	}
	entries, err := r.entries(tree, "--", file)
	if err != nil {
		return entry{}, err
	}
	if len(entries) != 1 || entries[0].path != file {
		return entry{}, errNoRef
	}
	return entries[0], nil
}

func (r *repository) content(blob string) ([]byte, error) {
	out, err := r.git("cat-file", "blob", blob)
	return []byte(out), err
}

package githubtest

import (
	"cmp"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// An Action is something that happens to a pull request, or to its repository.
type Action string

// What happens. Those after Merge change nothing that a watcher tells, but some of the bytes that it reads.
const (
	Open      Action = "open"
	Push      Action = "push"
	ForcePush Action = "force-push"
	Ready     Action = "ready"
	Draft     Action = "draft" // back to a draft
	Label     Action = "label"
	Unlabel   Action = "unlabel"
	Retarget  Action = "retarget"
	Close     Action = "close"
	Reopen    Action = "reopen"
	Merge     Action = "merge"

	Retitle    Action = "title"
	Comment    Action = "comment"
	Star       Action = "star"
	PushAside  Action = "push-aside"  // to a branch without a pull request
	TestMerge  Action = "test-merge"  // another merge_commit_sha
	DeleteFork Action = "delete-fork" // of the pull request's head
)

// A Change is one thing that happens.
type Change struct {
	At         time.Time // on the stand-in's clock; zero: now
	Repository string    // owner/name
	Do         Action
	Number     int // of the pull request; not for Open, Star and PushAside

	Label string // to add or remove
	Base  string // to open against, default main, or to retarget to
	Title string

	// Of a pull request that is opened.
	Author string
	Fork   bool // of the author's
	Draft  bool
	Labels []string
	// Files are what Open, Push and ForcePush leave as changed. Where there are none, names are made up; FileCount is then
	// how many, default 1.
	Files     []File
	FileCount int
}

// A File is one that a pull request changes.
type File struct{ Name, Previous string }

// made is what a repository without Git has in its place: facts that follow one another.
type made struct {
	facts   []fact
	moments [][]moment             // of each pull request
	parents map[string]string      // of commits; empty for the first of a branch
	heads   map[string]string      // commits of branches
	forks   map[string]*repository // by owner
}

// A fact is the state of a repository from a time on.
type fact struct {
	at time.Time
	repositoryState
}

// repositoryState is what of a repository is in each of its pull requests.
type repositoryState struct {
	stars, open int
	pushed      int64 // Unix time
}

// A moment is the state of a pull request from a fact on.
type moment struct {
	fact int
	pull pull
}

// MakeUp makes "owner/name" known, without Git: its pull requests are changed by Apply and Play, thousands of such
// repositories take little. Only its pull requests are served, and itself.
func (s *Server) MakeUp(name string) error {
	if !repositoryName.MatchString(name) {
		return fmt.Errorf("make up repository %q: name is not OWNER/NAME", name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.repositories[name] != nil {
		return fmt.Errorf("make up repository %s: it exists", name)
	}
	owner, short, _ := strings.Cut(name, "/")
	r := &repository{
		id: int64(1000 + len(s.ids)), owner: owner, name: short, created: s.clock.shown(s.clock.now()),
		made: &made{parents: map[string]string{}, heads: map[string]string{}, forks: map[string]*repository{}},
	}
	s.repositories[name], s.ids[r.id] = r, r
	return nil
}

// Fork copies a repository that is not made up, with all its branches, to another owner. Pull requests come from it by
// the head OWNER:BRANCH.
func (s *Server) Fork(of, owner string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	parent, err := s.repository(of)
	if err != nil {
		return err
	}
	name := owner + "/" + parent.name
	if s.repositories[name] != nil || parent.madeUp() || !repositoryName.MatchString(name) {
		return fmt.Errorf("fork %s: %s cannot be made", of, name)
	}
	r := &repository{
		id: int64(1000 + len(s.ids)), owner: owner, name: parent.name, dir: filepath.Join(s.dir, owner, parent.name+".git"),
		created: now(), rules: map[string][]Rule{}, signed: map[string]bool{}, parent: parent,
	}
	if err := r.init(); err != nil {
		return fmt.Errorf("fork %s: %w", of, err)
	}
	if _, err := r.git("fetch", "--quiet", parent.dir, "refs/heads/*:refs/heads/*"); err != nil {
		return fmt.Errorf("fork %s: %w", of, err)
	}
	s.repositories[name], s.ids[r.id] = r, r
	return nil
}

// Delete removes a repository. Pull requests from a fork stay where they are, without their origin.
func (s *Server) Delete(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.repository(name)
	if err != nil {
		return err
	}
	delete(s.repositories, name)
	r.gone = http.StatusNotFound // by its id
	if r.parent != nil {
		for _, p := range r.parent.pulls {
			if p.source == r {
				p.source, p.updated = nil, now()
			}
		}
	}
	if r.madeUp() {
		return nil
	}
	return os.RemoveAll(r.dir)
}

// Rename gives a repository another name in the same account. The old one leads to it.
func (s *Server) Rename(repository, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.repository(repository)
	if err != nil {
		return err
	}
	full := r.owner + "/" + name
	if s.repositories[full] != nil || !repositoryName.MatchString(full) {
		return fmt.Errorf("rename %s: %s cannot be made", repository, full)
	}
	if !r.madeUp() {
		dir := filepath.Join(s.dir, r.owner, name+".git")
		if err := os.Rename(r.dir, dir); err != nil {
			return fmt.Errorf("rename %s: %w", repository, err)
		}
		r.dir = dir
	}
	delete(s.repositories, repository)
	delete(s.moved, full)
	r.name = name
	s.repositories[full], s.moved[repository] = r, r
	s.forget()
	return nil
}

// Hide makes all answers about a repository a status: 403, 404, 410 or 451. Zero shows it again.
func (s *Server) Hide(repository string, status int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.repository(repository)
	if err != nil {
		return err
	}
	r.gone = status
	return nil
}

// Apply lets something happen. In a repository over Git it takes what needs no Git: not Open, Push, ForcePush and Merge,
// for which there are Commit, MergePullRequest and the API.
func (s *Server) Apply(c Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.catchUp()
	return s.apply(c)
}

// Play lets changes happen at their times, which are in order.
func (s *Server) Play(changes []Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = changes
	s.catchUp()
}

// Tick lets happen what is due, and returns when something is next; zero: nothing is.
func (s *Server) Tick() (next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.catchUp()
	if len(s.script) == 0 {
		return time.Time{}
	}
	return s.script[0].At
}

// Impossible is how many changes of scripts were left out, since others had made them impossible.
func (s *Server) Impossible() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.impossible
}

// catchUp lets happen what is due; s.mu is held. What has become impossible by an Apply is left out.
func (s *Server) catchUp() {
	now := s.clock.now()
	for len(s.script) > 0 && !s.script[0].At.After(now) {
		if err := s.apply(s.script[0]); err != nil {
			s.impossible++
		}
		s.script = s.script[1:]
	}
}

// apply lets something happen; s.mu is held.
func (s *Server) apply(c Change) error {
	r, err := s.repository(c.Repository)
	if err != nil {
		return err
	}
	if c.At.IsZero() {
		c.At = s.clock.now()
	}
	at := s.clock.shown(c.At)
	p := pull{}
	switch c.Do {
	case Open:
		if !r.madeUp() {
			return fmt.Errorf("open a pull request in %s: it is not made up", c.Repository)
		}
		p = s.opened(r, c, at)
	case Star, PushAside:
	default:
		if c.Number < 1 || c.Number > len(r.pulls) {
			return fmt.Errorf("%s: %s has no pull request %d", c.Do, c.Repository, c.Number)
		}
		p = *r.pulls[c.Number-1]
	}
	wasOpen := p.isOpen()
	if c.Do == Open {
		wasOpen = 0
	}
	touched, err := s.change(r, &p, c, at)
	if err != nil {
		return fmt.Errorf("%s %s#%d: %w", c.Do, c.Repository, c.Number, err)
	}
	if touched {
		p.updated = at
	}
	if r.madeUp() {
		r.open += p.isOpen() - wasOpen
	}
	if p.number > len(r.pulls) {
		r.pulls = append(r.pulls, &p)
	} else if p.number > 0 {
		*r.pulls[p.number-1] = p
	}
	if r.madeUp() {
		r.made.note(c.At, r.repositoryState, p)
	}
	if s.happened != nil {
		c.Number = p.number
		s.happened(c)
	}
	return nil
}

// isOpen is 1 for an open pull request, else 0.
func (p *pull) isOpen() int {
	if p.state == "open" {
		return 1
	}
	return 0
}

// note remembers a new state. Time does not run backwards.
func (m *made) note(at time.Time, state repositoryState, p pull) {
	if n := len(m.facts); n > 0 && at.Before(m.facts[n-1].at) {
		at = m.facts[n-1].at
	}
	m.facts = append(m.facts, fact{at, state})
	if p.number == 0 {
		return
	}
	if p.number > len(m.moments) {
		m.moments = append(m.moments, nil)
	}
	m.moments[p.number-1] = append(m.moments[p.number-1], moment{len(m.facts) - 1, p})
}

// opened is a new pull request of a made-up repository.
func (s *Server) opened(r *repository, c Change, at time.Time) pull {
	p := pull{
		number: len(r.pulls) + 1, author: cmp.Or(c.Author, "alice"), base: cmp.Or(c.Base, defaultBranch), source: r, state: "open",
		draft: c.Draft, labels: slices.Sorted(slices.Values(c.Labels)), created: at, updated: at,
	}
	p.title = cmp.Or(c.Title, fmt.Sprintf("Change number %d", p.number))
	p.body = prose(rand.New(rand.NewPCG(uint64(r.id), uint64(p.number))))
	p.head = fmt.Sprintf("change/%d", p.number)
	if c.Fork {
		fork := r.made.forks[p.author]
		if fork == nil {
			fork = &repository{id: number("fork " + r.fullName() + " " + p.author), owner: p.author, name: r.name, created: at, parent: r, made: &made{}}
			r.made.forks[p.author] = fork
		}
		p.source = fork
	}
	return p
}

// change does one to a copy of a pull request, and says whether updated_at moves. Not everything is possible always.
func (s *Server) change(r *repository, p *pull, c Change, at time.Time) (touched bool, err error) {
	impossible := fmt.Errorf("it is %s, draft: %t", p.state, p.draft)
	isOpen := p.state == "open"
	switch c.Do {
	case Open, Push, ForcePush:
		if !r.madeUp() || !isOpen || p.source == nil {
			return false, impossible
		}
		before := p.headSHA
		p.pushes++
		p.headSHA, p.baseSHA = r.made.sha(r, "commit", p.number, p.pushes), r.made.head(r, p.base)
		r.made.parents[p.headSHA] = p.baseSHA
		if c.Do == Push {
			r.made.parents[p.headSHA] = before
		}
		p.files, p.fileCount = c.Files, max(c.FileCount, 1)
		p.mergeCommit, p.tested = r.made.sha(r, "test", p.number, p.pushes), p.baseSHA
		if p.source == r {
			r.pushed = at.Unix()
		}
	case Ready, Draft:
		if !isOpen || p.draft != (c.Do == Ready) {
			return false, impossible
		}
		p.draft = !p.draft
	case Label, Unlabel:
		i, has := slices.BinarySearch(p.labels, c.Label)
		if has != (c.Do == Unlabel) {
			return false, fmt.Errorf("label %q is there: %t", c.Label, has)
		}
		if has {
			p.labels = slices.Delete(slices.Clone(p.labels), i, i+1)
		} else {
			p.labels = slices.Insert(slices.Clone(p.labels), i, c.Label)
		}
	case Retarget:
		if !isOpen || c.Base == p.base || c.Base == "" {
			return false, impossible
		}
		p.base = c.Base
		if r.madeUp() {
			p.baseSHA = r.made.head(r, p.base)
		} else if p.baseSHA, err = r.branch(p.base); err != nil {
			return false, err
		}
	case Close, Merge:
		if !isOpen || c.Do == Merge && (p.draft || !r.madeUp()) {
			return false, impossible
		}
		p.state, p.closed = "closed", at
		if c.Do == Merge {
			p.merged, p.mergedBy, p.mergeCommit = at, "maintainer", r.made.sha(r, "merge", p.number, p.pushes)
			r.made.parents[p.mergeCommit], r.made.heads[p.base] = r.made.head(r, p.base), p.mergeCommit
			r.pushed = at.Unix()
		}
	case Reopen:
		if isOpen || !p.merged.IsZero() || p.source == nil {
			return false, impossible
		}
		p.state, p.closed = "open", time.Time{}
	case Retitle:
		p.title = c.Title
	case Comment:
	case Star:
		r.stars++
		return false, nil
	case PushAside:
		r.pushed = at.Unix()
		return false, nil
	case TestMerge:
		if !r.madeUp() || !isOpen {
			return false, impossible
		}
		p.pushes++ // so that it is another
		p.mergeCommit, p.tested = r.made.sha(r, "test", p.number, p.pushes), r.made.head(r, p.base)
		return false, nil
	case DeleteFork:
		if p.source == nil || p.source == r {
			return false, impossible
		}
		p.source = nil
	default:
		return false, fmt.Errorf("%q is no action", c.Do)
	}
	return true, nil
}

// sha makes up the name of a Git object.
func (m *made) sha(r *repository, kind string, number, count int) string {
	sum := sha1.Sum(fmt.Appendf(nil, "%d %s %d %d", r.id, kind, number, count))
	return hex.EncodeToString(sum[:])
}

// head is the commit of a branch, which begins when it is first asked for.
func (m *made) head(r *repository, branch string) string {
	if m.heads[branch] == "" {
		sum := sha1.Sum([]byte(r.fullName() + " " + branch))
		m.heads[branch] = hex.EncodeToString(sum[:])
		m.parents[m.heads[branch]] = ""
	}
	return m.heads[branch]
}

// line is a commit and all before it, the youngest first; empty where it is not known.
func (m *made) line(sha string) []string {
	var all []string
	for parent, ok := m.parents[sha]; ok; parent, ok = m.parents[sha] {
		all = append(all, sha)
		sha = parent
	}
	return all
}

// changes are the files of a made-up pull request.
func (p *pull) changes() []changed {
	files := p.files
	if len(files) == 0 {
		for i := range p.fileCount {
			f := File{Name: fmt.Sprintf("apps/app-%04d/values.yaml", (p.number*7+i)%10000)}
			if i%5 == 4 {
				f.Previous = fmt.Sprintf("old/app-%04d/values.yaml", i)
			}
			files = append(files, f)
		}
	}
	var all []changed
	for _, f := range files {
		status, patch := "modified", "@@ -1 +1 @@\n-version: 6.0.0\n+version: 6.1.0"
		if f.Previous != "" {
			status = "renamed"
		}
		sum := sha1.Sum([]byte(f.Name + p.headSHA))
		all = append(all, changed{name: f.Name, previous: f.Previous, status: status, sha: hex.EncodeToString(sum[:]), commit: p.headSHA, patch: patch, plus: 1, minus: 1})
	}
	return all
}

// A view is a made-up repository as one of GitHub's replicas knows it: the first so many of its facts.
type view struct {
	facts   int
	replica int
}

// view picks the replica that answers: each in turn, and each as far behind as it likes.
func (s *Server) view(r *repository) view {
	at := s.clock.now()
	v := view{}
	if lag := s.behaviour.Lag; lag > 0 {
		s.turn++
		v.replica = s.turn % len(s.replicas)
		h := fnv.New64a()
		_, _ = fmt.Fprint(h, v.replica, at.Unix()/15)
		behind := at.Add(-time.Duration(float64(lag) * float64(h.Sum64()%1000) / 1000))
		if behind.After(s.replicas[v.replica]) {
			s.replicas[v.replica] = behind // none forgets what it knew
		}
		at = s.replicas[v.replica]
	}
	facts := r.made.facts
	v.facts = sort.Search(len(facts), func(i int) bool { return facts[i].at.After(at) })
	return v
}

// state is that of the repository in a view.
func (m *made) state(v view) repositoryState {
	if v.facts == 0 {
		return repositoryState{}
	}
	return m.facts[v.facts-1].repositoryState
}

// moment finds the state of a pull request in a view; nil where it is not there yet.
func (m *made) moment(v view, number int) *moment {
	if number < 1 || number > len(m.moments) {
		return nil
	}
	all := m.moments[number-1]
	n := sort.Search(len(all), func(i int) bool { return all[i].fact >= v.facts })
	if n == 0 {
		return nil
	}
	return &all[n-1]
}

// itemKey is all that an item of the list depends on.
type itemKey struct {
	repository   int64
	number, fact int
	state        repositoryState
}

// Of rendered items so many bytes are kept, and of pages the digests of so many.
const (
	mostItems     = 64 << 20
	mostDocuments = 20_000
)

// forget drops all that was rendered.
func (s *Server) forget() {
	s.items, s.itemBytes, s.documents = map[itemKey][]byte{}, 0, map[string]*document{}
}

// item renders a pull request of a list.
func (s *Server) item(r *repository, m *moment, state repositoryState) []byte {
	key := itemKey{r.id, m.pull.number, m.fact, state}
	if raw := s.items[key]; raw != nil {
		return raw
	}
	at, p := r.as(state), m.pull
	if p.source == r {
		p.source = at
	}
	raw, err := json.Marshal(s.pullObject(at, &p))
	if err != nil {
		panic(fmt.Sprintf("render a pull request: %v", err)) // texts and numbers only
	}
	if s.itemBytes += len(raw); s.itemBytes > mostItems {
		clear(s.items)
		s.itemBytes = len(raw)
	}
	s.items[key] = raw
	return raw
}

// as is a repository with another state.
func (r *repository) as(state repositoryState) *repository {
	at := *r
	at.repositoryState = state
	return &at
}

// madeUpPulls lists pull requests of a made-up repository. Each replica has its own order of what changed in one second.
func (c *call) madeUpPulls(matches func(*pull) bool, order func(a, b *pull, ties int) int) (int, any, error) {
	m, v := c.repo.made, c.s.view(c.repo)
	var found []*moment
	for n := range m.moments {
		if at := m.moment(v, n+1); at != nil && matches(&at.pull) {
			found = append(found, at)
		}
	}
	slices.SortFunc(found, func(a, b *moment) int { return order(&a.pull, &b.pull, 1-2*v.replica) })
	found = page(c, found)
	s, r, state := c.s, c.repo, m.state(v)
	key := fmt.Sprintf("%d %d %d %s", r.id, v.facts, v.replica, c.URL.RawQuery)
	if doc := s.documents[key]; doc != nil {
		return http.StatusOK, doc, nil
	}
	render := func() []byte {
		body := []byte("[")
		for i, at := range found {
			if i > 0 {
				body = append(body, ',')
			}
			body = append(body, s.item(r, at, state)...)
		}
		return append(body, ']')
	}
	doc := newDocument(render())
	doc.body = render // by which it takes no memory
	if len(s.documents) > mostDocuments {
		clear(s.documents)
	}
	s.documents[key] = doc
	return http.StatusOK, doc, nil
}

// madeUpPull is one, as a replica knows it. That somebody looks makes GitHub try anew whether it merges.
func (c *call) madeUpPull() (int, any, error) {
	n, _ := strconv.Atoi(c.PathValue("number")) // 0 is none
	v := c.s.view(c.repo)
	at := c.repo.made.moment(v, n)
	if at == nil {
		return 0, nil, notFound
	}
	state, p := c.repo.made.state(v), at.pull
	if now := c.repo.pulls[n-1]; now.state == "open" && now.tested != c.repo.made.head(c.repo, now.base) {
		if err := c.s.apply(Change{Repository: c.repo.fullName(), Do: TestMerge, Number: n}); err != nil {
			return 0, nil, err
		}
	}
	r := c.repo.as(state)
	if p.source == c.repo {
		p.source = r
	}
	o, err := c.s.wholeObject(r, &p)
	return http.StatusOK, o, err
}

// madeUpCompare compares two commits of a made-up repository.
func (c *call) madeUpCompare(base, head string) (comparison, error) {
	m := c.repo.made
	resolve := func(name string) string {
		if _, ok := m.parents[name]; !ok {
			name = m.heads[name]
		}
		return name
	}
	from, to := m.line(resolve(base)), m.line(resolve(head))
	if len(from) == 0 || len(to) == 0 {
		return comparison{}, notFound
	}
	in := func(line []string) func(string) bool {
		return func(sha string) bool { return slices.Contains(line, sha) }
	}
	i, j := slices.IndexFunc(to, in(from)), slices.IndexFunc(from, in(to))
	if i < 0 {
		return comparison{}, fail(http.StatusNotFound, "No common ancestor between %s and %s.", base, head)
	}
	var ahead []commit
	for _, sha := range to[:i] {
		ahead = append(ahead, m.commit(c.repo, sha))
	}
	slices.Reverse(ahead)
	return comparison{from: m.commit(c.repo, from[0]), common: m.commit(c.repo, to[i]), ahead: ahead, behind: j}, nil
}

// commit makes one up.
func (m *made) commit(r *repository, sha string) commit {
	who := person(r.owner)
	who.when = r.created
	var parents []string
	if parent := m.parents[sha]; parent != "" {
		parents = []string{parent}
	}
	return commit{sha: sha, tree: sha, parents: parents, author: who, committer: who, message: "Commit " + sha[:7]}
}

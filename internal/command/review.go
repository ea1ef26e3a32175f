package command

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

const (
	maxNumber = 1<<31 - 1 // GitHub's are 32 bits wide
	maxPage   = 999
)

var (
	pullNumber = regexp.MustCompile(`^#?([0-9]+)$`)
	// A link to a pull request, with whatever GitHub shows below it, or to a branch. The scheme may be missing: Botkube makes a
	// link's label of some links, which has none. The part after # and ? says nothing about what is meant.
	pullLink   = regexp.MustCompile(`^(?i:https?://)?([A-Za-z0-9.-]*[.:][A-Za-z0-9.:-]+|(?i:localhost))/([^/]+/[^/]+)/(?i:pull)/([0-9]+)(?:[/?#].*)?$`)
	branchLink = regexp.MustCompile(`^(?i:https?://)?([A-Za-z0-9.-]*[.:][A-Za-z0-9.:-]+|(?i:localhost))/([^/]+/[^/]+)/tree/([^?#]+)(?:[?#].*)?$`)
	anyLink    = regexp.MustCompile(`^(?i:https?)://`)
)

// review reads:  NUMBER | URL | BRANCH, with --repo, --env and what buttons write in r already. The environment may
// also follow on, in or to.
func (p *parser) review(r gitops.Review) (gitops.Request, error) {
	if len(p.words) == 0 {
		return nil, p.refuse("The pull request is missing: its number, its link or its branch.")
	}
	if err := p.subject(&r, p.next()); err != nil {
		return nil, err
	}
	if len(p.words) > 1 && isOne(p.words[0], before) && r.Environment == "" {
		var err error
		if r.Environment, err = p.envAfter(p.next()); err != nil {
			return nil, err
		}
	}
	if len(p.words) == 1 && r.Environment == "" && gitops.ValidEnvironment(p.words[0]) == nil {
		r.Environment = p.words[0]
		return nil, p.refuseFor(r, "Before the environment %s an --env is missing.", r.Environment)
	}
	return r, p.end()
}

// subject reads the number, the link or the branch.
func (p *parser) subject(r *gitops.Review, word string) (err error) {
	number := func(digits string) error {
		if r.Number, err = strconv.Atoi(digits); err != nil || r.Number < 1 || r.Number > maxNumber {
			return p.refuse("%q is not the number of a pull request.", short(word))
		}
		return nil
	}
	link := func(host, repository string) error {
		owner, name, ok := gitops.SplitRepository(strings.TrimSuffix(repository, ".git"))
		if !ok {
			return p.refuse("This is not a link to a pull request.")
		}
		linked := owner + "/" + name
		if r.Repository != "" && !strings.EqualFold(r.Repository, linked) {
			return p.refuse("The link is of %s, and --repo names %s: leave --repo out.", linked, r.Repository)
		}
		r.Host, r.Repository = strings.ToLower(host), linked
		return nil
	}
	if m := pullNumber.FindStringSubmatch(word); m != nil {
		return number(m[1])
	}
	if m := pullLink.FindStringSubmatch(word); m != nil {
		if err := link(m[1], m[2]); err != nil {
			return err
		}
		return number(m[3])
	}
	m := branchLink.FindStringSubmatch(word)
	if m != nil {
		if err := link(m[1], m[2]); err != nil {
			return err
		}
		word = strings.TrimSuffix(m[3], "/")
	}
	if m == nil && anyLink.MatchString(word) { // which may hold a password
		return p.refuse("This is not a link to a pull request: those end like OWNER/NAME/pull/7.")
	}
	if decoded, err := url.PathUnescape(word); err == nil {
		word = decoded
	}
	if !gitops.ValidBranch(word) {
		return p.refuse("%q is not a pull request: write its number, its link or its branch.", short(word))
	}
	r.Branch = word
	return nil
}

// setReview reads an option of a review.
func (p *parser) setReview(r *gitops.Review, option, value string) (err error) {
	switch option {
	case "--repo":
		if _, _, ok := gitops.SplitRepository(value); !ok {
			return p.refuse("%q is not a repository: write OWNER/NAME.", short(value))
		}
		r.Repository = value
	case "--env":
		r.Environment, err = p.env(value)
	case "--head":
		if !gitops.ValidCommit(value) {
			return p.refuse("%q is not a whole commit id.", short(value))
		}
		r.Head = value
	case "--page":
		page, err := strconv.Atoi(value)
		if err != nil || page < 1 || page > maxPage || value[0] == '0' || value[0] == '+' {
			return p.refuse("%q is not the number of a page.", short(value))
		}
		r.Page = page
	case "--refresh":
		r.Refresh = true
	}
	return err
}

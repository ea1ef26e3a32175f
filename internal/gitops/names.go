package gitops

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// maxEnvironment is the length of an environment's name: the names of branches and trailers hold it.
const maxEnvironment = 63

var environmentName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)

// reserved are the words that commands read as something else where an environment may stand.
var reserved = []string{"to", "on", "in", "from", "with", "and", "against", "pr"}

// ValidEnvironment says in a sentence why an environment cannot have a name, or nothing where it can: commands have to
// be able to address it.
func ValidEnvironment(name string) error {
	switch {
	case name == "":
		return errors.New("a name is needed")
	case len(name) > maxEnvironment:
		return fmt.Errorf("the name is %d characters long: %d are the limit", len(name), maxEnvironment)
	case !environmentName.MatchString(name):
		return fmt.Errorf("%q is not a name that commands can address: letters, digits, dots, dashes and underscores are, "+
			"with a letter or digit at both ends", name)
	}
	for _, word := range reserved {
		if strings.EqualFold(name, word) {
			return fmt.Errorf("%q is a word of ferry's own, so no environment can be called that", name)
		}
	}
	return nil
}

// Logins have letters, digits and hyphens; those of managed users an underscore too.
var repositoryName = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9_-]{0,99})/([A-Za-z0-9._-]{1,100})$`)

// SplitRepository reads OWNER/NAME of a GitHub repository. It is false for anything else.
func SplitRepository(repository string) (owner, name string, ok bool) {
	m := repositoryName.FindStringSubmatch(repository)
	if m == nil || m[2] == "." || m[2] == ".." {
		return "", "", false
	}
	return m[1], m[2], true
}

// maxBranch is longer than what people name branches; a button's line has to hold it, percent-encoded.
const maxBranch = 200

// Git's rules for names of branches, see git help check-ref-format.
var badBranch = regexp.MustCompile(`[\x00-\x20\x7f~^:?*\[\\]|\.\.|//|@\{|^[-/]|^@$|[/.]$|(^|/)\.|\.lock(/|$)`)

// ValidBranch says whether Git takes a name for a branch.
func ValidBranch(name string) bool {
	return name != "" && len(name) <= maxBranch && utf8.ValidString(name) && !badBranch.MatchString(name)
}

var commitID = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// ValidCommit says whether a text is a whole commit id.
func ValidCommit(sha string) bool { return commitID.MatchString(sha) }

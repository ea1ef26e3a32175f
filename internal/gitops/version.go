package gitops

import (
	"strings"

	"github.com/Masterminds/semver/v3"
)

// ExactVersion says whether a text is one semantic version, all three numbers of it; a leading v is allowed. Anything
// else that Helm takes in a version field is a range: 7, 7.0, 7.x, >=7.0.0.
func ExactVersion(v string) bool {
	_, err := semver.StrictNewVersion(strings.TrimPrefix(v, "v"))
	return err == nil
}

// SameVersion compares what a field asks for with what a chart calls itself. A tag of a registry may have a leading v,
// and "_" for "+"; behind "+" Flux writes the digest. Texts that are no versions are the same if they are equal.
func SameVersion(a, b string) bool {
	x, errX := semver.NewVersion(strings.ReplaceAll(a, "_", "+"))
	y, errY := semver.NewVersion(strings.ReplaceAll(b, "_", "+"))
	return a == b || errX == nil && errY == nil && x.Equal(y)
}

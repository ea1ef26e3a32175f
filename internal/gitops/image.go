package gitops

import (
	"regexp"
	"strings"
)

// tagPattern is that of the OCI distribution specification 1.1.
var tagPattern = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

// SplitImage reads an image reference:
//
//	[REGISTRY[:PORT]/]PATH[:TAG][@DIGEST]
//
// The name stays as it is written, since that is how Git and kustomize know it: neither a registry nor "library/" is
// added. A colon before the last slash is a port's.
func SplitImage(reference string) (name, tag, digest string) {
	name, digest, _ = strings.Cut(reference, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') && tagPattern.MatchString(name[i+1:]) {
		name, tag = name[:i], name[i+1:]
	}
	return name, tag, digest
}

package gitops

import "strings"

// An ImageAutomation is an ImageUpdateAutomation of Flux: a robot that writes the newest images into lines of Git that
// have a marker.
type ImageAutomation struct {
	Object
	Source    Source // whose files it changes
	Branch    string // that it pushes to
	Path      string // the directory it looks into, cleaned; "." is the root
	Suspended bool
	Policies  []ImagePolicy // whose markers it follows
}

// An ImagePolicy is one of Flux and the newest image that it found. Tag is empty while it found none.
type ImagePolicy struct {
	Object
	Image, Tag, Digest string
}

// Covers says whether the robot looks into a file.
func (a ImageAutomation) Covers(file string) bool {
	return a.Path == "." || file == a.Path || strings.HasPrefix(file, a.Path+"/")
}

// Writes says what the policy has a robot write where a marker asks for a part of the image (tag, digest, or the whole
// image where it is empty), if that is not the version which is there. That there is no newest image yet is none.
func (p ImagePolicy) Writes(part, version string) (string, bool) {
	tag, digest, _ := strings.Cut(version, "@")
	if strings.HasPrefix(version, "sha256:") {
		tag, digest = "", version
	}
	switch {
	case p.Tag == "" || part == "name":
		return "", false
	case part == "digest":
		return p.Digest, p.Digest != "" && p.Digest != digest
	case tag != p.Tag:
		return p.Tag, true
	case part == "" && digest != "" && p.Digest != "" && digest != p.Digest:
		return p.Tag + "@" + p.Digest, true
	}
	return "", false
}

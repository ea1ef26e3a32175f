package gitops

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// An ImageValue is an image that a chart's values name, with the scalar that states its version.
type ImageValue struct {
	// Image is as it is written, without tag and digest: it may lack the registry, and is empty where the chart knows it.
	// Beside a tag that stands by itself it is what the key says: web of webTag.
	Image string
	// Of is the controller or container that the values speak of: the part of the path before the image; may be empty.
	Of      string
	Path    string // of the scalar: "app.image.tag"
	Text    string // the scalar, whole
	Version string // in it: TAG, TAG@DIGEST or DIGEST
	// DigestPath is that of a scalar beside it which states the digest alone, and Digest is what it states; may be empty.
	DigestPath, Digest string
}

// Names says whether it is the image that a container runs, which has a registry where values may have none.
func (v ImageValue) Names(live string) bool {
	return v.Image == live || v.Image != "" && strings.HasSuffix(live, "/"+v.Image)
}

var (
	// reference is an image of a registry, in full.
	reference = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+(:[0-9]+)?(/[a-z0-9._-]+)+(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(@sha256:[0-9a-f]{64})?$`)
	// imageKey names fields that hold an image, and tagKey those that hold its tag.
	imageKey = regexp.MustCompile(`(?i)^image(name)?$|[a-z]Image$|_image$`)
	tagKey   = regexp.MustCompile(`(?i)image_?tag$|[a-z]Tag$`)
	// tagWords are what a tag's key ends in.
	tagWords    = regexp.MustCompile(`(?i)_?(image)?_?tag$`)
	digestValue = regexp.MustCompile(`^(sha256:)?[0-9a-f]{64}$`)
	versionLike = regexp.MustCompile(`^v?[0-9]+\.[0-9]+(\.[0-9]+)*([-+._][0-9A-Za-z.+_-]+)?(@sha256:[0-9a-f]{64})?$|^sha256:[0-9a-f]{64}$`)
)

// LooksLikeVersion says whether a text is nothing but a version: 1.2, v1.2.3-rc.1, a tag with its digest, a digest.
func LooksLikeVersion(text string) bool { return versionLike.MatchString(text) }

// ImageValues finds the images that values name, by the keys and forms that charts use: image: {repository, tag, digest},
// {registry, image, tag}, image: NAME:TAG, webImage, imageTag, webTag, and any text that is a whole reference of a
// registry. under is the path that leads to the values, and key the last key of it.
func ImageValues(values any, under, key string) (found []ImageValue) {
	switch values := values.(type) {
	case map[string]any:
		pair, paired := imagePair(values, under, key)
		if paired && pair.Version != "" {
			found = append(found, pair)
		}
		for _, key := range slices.Sorted(maps.Keys(values)) {
			path := PathKey(under, key)
			text, isText := values[key].(string)
			switch {
			case !isText:
				if number := ScalarText(values[key]); tagKey.MatchString(key) && strings.ContainsAny(number, "0123456789") && !paired {
					found = append(found, lone(key, path, number))
				}
				found = append(found, ImageValues(values[key], path, key)...)
			case paired && (path == pair.Path || path == pair.DigestPath):
			case imageKey.MatchString(key) || reference.MatchString(text):
				if image, version := SplitVersion(text); version != "" && !strings.ContainsAny(text, " \n") {
					found = append(found, ImageValue{Image: image, Of: spokenOf(path), Path: path, Text: text, Version: version})
				}
			case tagKey.MatchString(key) && LooksLikeVersion(text):
				found = append(found, lone(key, path, text))
			}
		}
	case []any:
		for i, item := range values {
			path := PathItem(under, item, i)
			if text, ok := item.(string); ok && reference.MatchString(text) {
				if image, version := SplitVersion(text); version != "" {
					found = append(found, ImageValue{Image: image, Path: path, Text: text, Version: version})
				}
				continue
			}
			found = append(found, ImageValues(item, path, key)...)
		}
	}
	return found
}

// ReleaseImages finds the images that a HelmRelease, as it is decoded, names in its own values and post-renderers.
func ReleaseImages(release map[string]any) []ImageValue {
	spec, _ := release["spec"].(map[string]any)
	found := ImageValues(spec["values"], "spec.values", "values")
	renderers, _ := spec["postRenderers"].([]any)
	for i, v := range renderers {
		renderer, _ := v.(map[string]any)
		kustomize, _ := renderer["kustomize"].(map[string]any)
		images, _ := kustomize["images"].([]any)
		for j, v := range images {
			image, _ := v.(map[string]any)
			text := func(key string) string { return ScalarText(image[key]) }
			v := tagged(fmt.Sprintf("spec.postRenderers[%d].kustomize.images[%d]", i, j), "newTag", text("newTag"), "digest", text("digest"))
			if v.Image = cmp.Or(text("newName"), text("name")); v.Version != "" {
				found = append(found, v)
			}
		}
	}
	return found
}

// imagePair reads a map that holds an image's name, tag and digest each by itself. It is false where the map is about
// no image; Version is empty where it states none.
func imagePair(fields map[string]any, under, key string) (ImageValue, bool) {
	text := func(key string) string { return ScalarText(fields[key]) }
	image := text("repository")
	if _, version := SplitVersion(text("image")); image == "" && version == "" {
		image = text("image")
	}
	if image == "" && imageKey.MatchString(key) {
		image = text("name")
	}
	if registry := text("registry"); registry != "" && image != "" {
		image = registry + "/" + image
	}
	if image == "" && !imageKey.MatchString(key) {
		return ImageValue{}, false
	}
	digest, digestKey := text("digest"), "digest"
	if digest == "" && digestValue.MatchString(text("sha")) {
		digest, digestKey = text("sha"), "sha"
	}
	v := tagged(under, "tag", text("tag"), digestKey, digest)
	v.Image = image
	return v, true
}

// tagged is an image whose tag and digest have keys of their own.
func tagged(under, tagKey, tag, digestKey, digest string) ImageValue {
	v := ImageValue{Of: spokenOf(under), Path: PathKey(under, tagKey), Text: tag, Version: tag}
	if tag == "" {
		v.Path, v.Text, v.Version = PathKey(under, digestKey), digest, digest
	} else if digest != "" {
		v.DigestPath, v.Digest = PathKey(under, digestKey), digest
	}
	return v
}

// lone is a tag that stands by itself, under a key that says so.
func lone(key, path, text string) ImageValue {
	return ImageValue{Image: tagWords.ReplaceAllString(key, ""), Of: spokenOf(path), Path: path, Text: text, Version: text}
}

// spokenOf names the controller or container that values speak of: the part of a path before the image.
func spokenOf(path string) string {
	if i := strings.LastIndexByte(path, '|'); i >= 0 {
		path = "values." + path[i+1:]
	}
	parts := strings.Split(path, ".")
	for i := len(parts) - 1; i >= 0; i-- {
		switch p := parts[i]; {
		case p == "tag" || imageKey.MatchString(p) || tagKey.MatchString(p):
		case p == "values" || p == "spec":
			return ""
		default:
			if m := namedItem.FindStringSubmatch(p); m != nil {
				return m[1]
			}
			if !bareKey.MatchString(p) {
				return "" // a place in a list, or a key with other characters
			}
			return p
		}
	}
	return ""
}

// SplitVersion reads an image reference into its name and its version: TAG, TAG@DIGEST or DIGEST.
func SplitVersion(reference string) (name, version string) {
	name, tag, digest := SplitImage(reference)
	switch {
	case digest == "":
		return name, tag
	case tag == "":
		return name, digest
	default:
		return name, tag + "@" + digest
	}
}

// ScalarText is a value as people write it; empty for what is none.
func ScalarText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case nil, map[string]any, []any:
		return ""
	default:
		raw, err := json.Marshal(v)
		if err != nil {
			return ""
		}
		return string(raw)
	}
}

var (
	bareKey       = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	namedItem     = regexp.MustCompile(`\[name=([^\]]+)\]$`)
	containerList = regexp.MustCompile(`(^|\.)(containers|initContainers)$`)
)

// PathKey is the path of a map's value in a decoded object: keys joined by ".", others than words as ["values.yaml"], and
// a step into a text of YAML "|".
func PathKey(under, key string) string {
	switch {
	case !bareKey.MatchString(key):
		return under + "[" + strconv.Quote(key) + "]"
	case under == "" || strings.HasSuffix(under, "|"):
		return under + key
	default:
		return under + "." + key
	}
}

// PathItem is the path of a list's item: containers go by their name, others by their place.
func PathItem(under string, item any, i int) string {
	if containerList.MatchString(under) {
		fields, _ := item.(map[string]any)
		if name := ScalarText(fields["name"]); name != "" {
			return under + "[name=" + name + "]"
		}
	}
	return under + "[" + strconv.Itoa(i) + "]"
}

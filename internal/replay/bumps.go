package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// A bump is one version scalar that a commit changed and nothing else of its node.
type bump struct {
	file string
	line int // 1-based, the same before and after
	path string
	keys []string
	old  string
	new  string
	kind string // of field, for the table
	name string // of the object whose document it is in
	// beside is the digest or tag that changed with it in the same map.
	beside *bump
}

// version is what one would have typed behind the @ to get the new scalar.
func (b bump) version() string {
	if b.beside != nil {
		tag, digest := b.new, b.beside.new
		if b.keys[len(b.keys)-1] == "digest" {
			tag, digest = digest, tag
		}
		return tag + "@" + digest
	}
	if strings.HasPrefix(b.new, "sha256:") || !strings.ContainsAny(b.new, ":@") {
		return b.new
	}
	repository, tag, digest := gitops.SplitImage(b.new)
	if repository == b.new || tag == "" && digest == "" {
		return b.new
	}
	if last := strings.ToLower(b.keys[len(b.keys)-1]); strings.HasSuffix(last, "tag") { // TAG@DIGEST
		return b.new
	}
	version := tag
	if digest != "" {
		version = strings.TrimPrefix(version+"@"+digest, "@")
	}
	return version
}

// errOther says that a commit changed more than versions.
var errOther = errors.New("more than versions changed")

// bumps compares a file before and after a commit. It is errOther where anything differs but scalars that look like
// versions before and after. The parser is not the one under test.
func bumps(file string, before, after []byte) ([]bump, error) {
	if bytes.Count(before, []byte("\n")) != bytes.Count(after, []byte("\n")) {
		return nil, errOther
	}
	a, err := documents(before)
	if err != nil {
		return nil, err
	}
	b, err := documents(after)
	if err != nil {
		return nil, err
	}
	if len(a) != len(b) {
		return nil, errOther
	}
	c := comparer{file: file}
	for i := range a {
		c.kind, c.name = text(a[i], "kind"), text(a[i], "metadata", "name")
		c.group, _, _ = strings.Cut(text(a[i], "apiVersion"), "/")
		if err := c.compare(a[i], b[i], nil, 0); err != nil {
			return nil, err
		}
	}
	for i := range c.found {
		c.found[i].beside = sibling(c.found, i)
	}
	return c.found, nil
}

// sibling finds the digest that changed with a tag, or the tag with a digest.
func sibling(all []bump, i int) *bump {
	last := len(all[i].keys) - 1
	other := map[string][]string{"tag": {"digest"}, "newTag": {"digest"}, "digest": {"tag", "newTag"}}[all[i].keys[last]]
	for j := range all {
		k := all[j].keys
		if j != i && len(k) == last+1 && slices.Equal(k[:last], all[i].keys[:last]) && slices.Contains(other, k[last]) &&
			max(all[i].line, all[j].line)-min(all[i].line, all[j].line) < 10 {
			copied := all[j]
			return &copied
		}
	}
	return nil
}

func documents(data []byte) ([]*yaml.Node, error) {
	var all []*yaml.Node
	for d := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var n yaml.Node
		err := d.Decode(&n)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read YAML: %w", err)
		}
		all = append(all, &n)
	}
}

func text(n *yaml.Node, keys ...string) string {
	if n.Kind == yaml.DocumentNode && len(n.Content) == 1 {
		n = n.Content[0]
	}
	for _, key := range keys {
		var next *yaml.Node
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				next = n.Content[i+1]
			}
		}
		if next == nil {
			return ""
		}
		n = next
	}
	return n.Value
}

type comparer struct {
	file, group, kind, name string // of the document
	nested                  bool   // in YAML within a scalar
	found                   []bump
}

func (c *comparer) compare(a, b *yaml.Node, keys []string, line int) error {
	if a.Kind != b.Kind || a.Anchor != b.Anchor || len(a.Content) != len(b.Content) ||
		a.HeadComment != b.HeadComment || a.LineComment != b.LineComment || a.FootComment != b.FootComment {
		return errOther
	}
	switch a.Kind {
	case yaml.AliasNode:
		if a.Value != b.Value {
			return errOther
		}
		return nil
	case yaml.MappingNode:
		for i := 0; i < len(a.Content); i += 2 {
			if a.Content[i].Value != b.Content[i].Value {
				return errOther
			}
			if err := c.compare(a.Content[i+1], b.Content[i+1], append(slices.Clone(keys), a.Content[i].Value), line); err != nil {
				return err
			}
		}
		return nil
	case yaml.ScalarNode:
		if a.Value == b.Value {
			return nil
		}
		return c.scalar(a, b, keys, line)
	default:
		for i := range a.Content {
			next := keys
			if a.Kind == yaml.SequenceNode {
				next = append(slices.Clone(keys), fmt.Sprintf("[%d]", i))
			}
			if err := c.compare(a.Content[i], b.Content[i], next, line); err != nil {
				return err
			}
		}
		return nil
	}
}

// scalar takes two that differ: versions, or texts with YAML in them whose versions do.
func (c *comparer) scalar(a, b *yaml.Node, keys []string, line int) error {
	if a.Style&yaml.LiteralStyle != 0 && b.Style&yaml.LiteralStyle != 0 && strings.Contains(a.Value, "\n") {
		within, err := documents([]byte(a.Value))
		if err != nil {
			return errOther
		}
		withinB, err := documents([]byte(b.Value))
		if err != nil || len(within) != len(withinB) {
			return errOther
		}
		before := c.nested
		defer func() { c.nested = before }()
		c.nested = true
		for i := range within {
			if err := c.compare(within[i], withinB[i], append(slices.Clone(keys), "|"), line+a.Line); err != nil {
				return err
			}
		}
		return nil
	}
	const quotes = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle
	if a.Line != b.Line || a.Style&quotes != b.Style&quotes || b.ShortTag() != "!!str" || // a number, which ferry puts in quotes
		!isVersion(keys, a.Value) || !isVersion(keys, b.Value) || imageName(a.Value) != imageName(b.Value) {
		return errOther
	}
	c.found = append(c.found, bump{file: c.file, line: line + a.Line, path: strings.Join(keys, "."), keys: keys, old: a.Value, new: b.Value, kind: c.field(keys, a.Value), name: c.name})
	return nil
}

// imageName is the name in a whole image reference, which a version does not have.
func imageName(value string) string {
	if location.MatchString(value) || !strings.Contains(value, "/") {
		return ""
	}
	name, _, _ := gitops.SplitImage(value)
	return name
}

var (
	versionKey = regexp.MustCompile(`(?i)version|tag$|image|digest|revision|semver|commit|^ref$`)
	// exact is a semantic version, or what has three numbers and something behind; not an address of four.
	exact     = regexp.MustCompile(`^[vV]?\d+\.\d+\.\d+([-+._][0-9A-Za-z.+_-]+)?(@sha256:[0-9a-f]{64})?$`)
	address   = regexp.MustCompile(`^\d+\.\d+\.\d+\.\d+(/\d+)?$`)
	tag       = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}(@sha256:[0-9a-f]{64})?$`)
	digest    = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	limits    = regexp.MustCompile(`^[~^<>=!*xX0-9v., |-]+$`)
	reference = regexp.MustCompile(`^[a-z0-9][A-Za-z0-9._/-]*(:[0-9]+/[A-Za-z0-9._/-]+)?(:[A-Za-z0-9_][A-Za-z0-9._-]*)?(@sha256:[0-9a-f]{64})?$`)
	location  = regexp.MustCompile(`^(https?|git|oci)://|^(git@|github\.com/)`)
	number    = regexp.MustCompile(`\d`)
)

// isVersion says whether a scalar looks like a version, in the place it has.
func isVersion(keys []string, value string) bool {
	key := ""
	for _, k := range slices.Backward(keys) {
		if k != "|" && !strings.HasPrefix(k, "[") {
			key = k
			break
		}
	}
	if value == "" || !number.MatchString(value) || key == "apiVersion" || address.MatchString(value) {
		return false
	}
	isKey := versionKey.MatchString(key) && !strings.Contains(key, ".yaml")
	switch {
	case digest.MatchString(value), exact.MatchString(value), location.MatchString(value):
		return true
	case strings.ContainsAny(value, ":@/"):
		return reference.MatchString(value) && strings.ContainsAny(value, ":@") && (isKey || strings.Contains(value, "/"))
	case key == "value" || strings.HasPrefix(key, "default"): // of a JSON patch, a parameter
		return tag.MatchString(value) && strings.Contains(value, ".")
	}
	return isKey && (tag.MatchString(value) || limits.MatchString(value))
}

// field names the kind of field that a scalar is, as the table has it. Names with a star are none that ferry edits.
func (c *comparer) field(keys []string, value string) string {
	last := keys[len(keys)-1]
	joined := strings.Join(keys, ".")
	in := func(prefix string) bool { return strings.HasPrefix(joined, prefix) }
	isKustomization := strings.HasPrefix(path.Base(c.file), "kustomization.y") || strings.HasPrefix(c.group, "kustomize.config")
	switch {
	case location.MatchString(value):
		return "address*"
	case slices.Contains(keys, "labels") || slices.Contains(keys, "annotations"):
		return "label*"
	case isKustomization && in("images"):
		return "images " + last
	case isKustomization && in("helmCharts"):
		return "helmCharts*"
	case isKustomization && in("resources"):
		return "address*"
	case c.kind == "Kustomization" && in("spec.postBuild"):
		return "substitute"
	case c.kind == "Kustomization" && in("spec.images"):
		return "Flux images"
	case c.nested && (c.kind == "Kustomization" || c.kind == "Component" || isKustomization):
		return "inline patch"
	case isKustomization && in("patches"):
		return "inline patch"
	case c.kind == "HelmRelease" && joined == "spec.chart.spec.version":
		return "chart"
	case c.kind == "HelmRelease" && in("spec.postRenderers"):
		return "postRenderers"
	case c.kind == "HelmRelease" && in("spec.values"):
		if last == "tag" || last == "image" || last == "digest" {
			return "values " + last
		}
		return "values other*"
	case c.kind == "OCIRepository", c.kind == "GitRepository", c.kind == "HelmChart":
		return c.kind + " " + last
	case slices.Contains([]string{"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"}, c.kind) && last == "image":
		return "workload image"
	case c.kind == "ConfigMap":
		return "ConfigMap"
	case c.kind == "":
		return "values file"
	default:
		return "other*"
	}
}

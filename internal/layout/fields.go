package layout

import (
	"cmp"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/render"
)

// A reading is one version as a built object states it.
type reading struct {
	app     gitops.Key
	version gitops.Version // Kind, Name, Object and Container
	place                  // of the version, or of the tag where a digest stands beside it
	digest  place          // of the digest beside the tag; no path: none
	refusal error          // why it cannot be changed, whatever its source
}

// A place is a scalar of a built object.
type place struct {
	site   string        // key of the site that builds the object
	object gitops.Object // as built
	path   string        // unique in the object
	text   string        // the whole scalar
	token  string        // the version in it: a chart's, a tag, TAG@DIGEST, …
}

// id names a place in every build: the hash of what a generator makes is left out.
func (p place) id() string { return p.site + " " + unhashed(p.object.String()) + " " + p.path }

// contentHash is what kustomize appends to the names of generated ConfigMaps and Secrets.
var contentHash = regexp.MustCompile(`-[2456789bcdfghkmt]{10}$`)

func unhashed(name string) string { return contentHash.ReplaceAllString(name, "") }

// catalogue are the objects of a walk by what refers to them.
type catalogue struct {
	w       *walk
	objects map[gitops.Object]located
	all     []reading
	read    map[string]bool // ids, with the application
}

type located struct {
	site   *site
	object render.Object
}

// read reads all versions off a walk.
func (w *walk) read() []reading {
	c := &catalogue{w: w, objects: map[gitops.Object]located{}, read: map[string]bool{}}
	for _, s := range w.sites {
		for _, o := range s.objects {
			id := o.Object
			id.Namespace = cmp.Or(id.Namespace, s.TargetNamespace)
			if _, twice := c.objects[id]; !twice {
				c.objects[id] = located{s, o}
			}
		}
	}
	for _, s := range w.sites {
		for _, o := range s.objects {
			if !w.environment.owns(o) {
				continue
			}
			c.object(s, o)
		}
	}
	for _, s := range w.sites {
		c.variables(s)
	}
	return c.all
}

// owns leaves out the objects that are certainly another environment's: those in namespaces that are not this one's, as
// their own or as that of what they install.
func (e Environment) owns(o render.Object) bool {
	return len(e.Namespaces) == 0 || o.Namespace == "" || slices.Contains(e.Namespaces, o.Namespace) ||
		slices.Contains(e.Namespaces, textAt(o.Fields, "spec", "targetNamespace"))
}

func (c *catalogue) add(r reading) {
	id := r.id() + " " + r.app.Kind + "/" + r.app.String()
	if r.token != "" && !c.read[id] {
		c.read[id] = true
		c.all = append(c.all, r)
	}
}

// elsewhere are kinds whose images are no versions of theirs, or that are read in their own way.
var otherwise = []string{"Secret", "ConfigMap", "CustomResourceDefinition", "HelmRelease", "Kustomization", "GitRepository", "OCIRepository",
	"HelmRepository", "HelmChart", "Bucket", "ResourceSet", "ImagePolicy", "ImageRepository", "ImageUpdateAutomation", "FluxInstance"}

var workloads = []string{"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Pod"}

func (c *catalogue) object(s *site, o render.Object) {
	app := gitops.Key{Environment: c.w.environment.Name, Namespace: cmp.Or(o.Namespace, s.TargetNamespace), Kind: o.Kind, Name: o.Name}
	switch {
	case o.Kind == "HelmRelease" && group(o) == "helm.toolkit.fluxcd.io":
		c.release(app, s, o)
	case o.Kind == "Kustomization" && group(o) == "kustomize.toolkit.fluxcd.io":
		c.followed(app, o)
	case o.Kind == "ResourceSet":
		c.inputs(app, s, o)
	case slices.Contains(workloads, o.Kind):
		c.containers(app, s, o)
	case !slices.Contains(otherwise, o.Kind):
		spec, _ := o.Fields["spec"].(map[string]any)
		c.images(app, s, o, spec, "spec", "spec")
	}
}

// release reads a HelmRelease: its chart, and the images in its values and post-renderers.
func (c *catalogue) release(app gitops.Key, s *site, o render.Object) {
	chart := gitops.Version{Kind: gitops.ChartVersion, Name: nameOf(textAt(o.Fields, "spec", "chart", "spec", "chart")), Object: object(app)}
	if ref, _ := at(o.Fields, "spec", "chartRef").(map[string]any); ref != nil {
		source := gitops.Object{Kind: textAt(ref, "kind"), Namespace: cmp.Or(textAt(ref, "namespace"), app.Namespace), Name: textAt(ref, "name")}
		c.source(app, gitops.ChartVersion, source, "")
	} else if kind := textAt(o.Fields, "spec", "chart", "spec", "sourceRef", "kind"); kind == "GitRepository" {
		source := gitops.Object{Kind: kind, Namespace: cmp.Or(textAt(o.Fields, "spec", "chart", "spec", "sourceRef", "namespace"), app.Namespace),
			Name: textAt(o.Fields, "spec", "chart", "spec", "sourceRef", "name")}
		c.source(app, gitops.Reference, source, chart.Name)
	} else if text := textAt(o.Fields, "spec", "chart", "spec", "version"); text != "" {
		r := reading{app: app, version: chart, place: place{s.key(), o.Object, "spec.chart.spec.version", text, text}, digest: place{}}
		if kind == "Bucket" {
			r.refusal = &gitops.Refusal{Code: gitops.Layout, Reason: fmt.Sprintf("The chart of %s comes from a Bucket, where Flux ignores the version field.", app.Name)}
		}
		c.add(r)
	}
	for _, image := range gitops.ReleaseImages(o.Fields) {
		c.image(app, s, o, image)
	}
	from, _ := at(o.Fields, "spec", "valuesFrom").([]any)
	for _, v := range from {
		ref, _ := v.(map[string]any)
		if textAt(ref, "kind") != "ConfigMap" {
			continue
		}
		found, ok := c.objects[gitops.Object{Kind: "ConfigMap", Namespace: app.Namespace, Name: textAt(ref, "name")}]
		if !ok {
			continue
		}
		key := cmp.Or(textAt(ref, "valuesKey"), "values.yaml")
		text := textAt(found.object.Fields, "data", key)
		var values map[string]any
		if textAt(ref, "targetPath") == "" && yaml.Unmarshal([]byte(text), &values) == nil {
			c.images(app, found.site, found.object, values, child("data", key)+"|", "values")
		}
	}
}

func object(k gitops.Key) gitops.Object {
	return gitops.Object{Kind: k.Kind, Namespace: k.Namespace, Name: k.Name}
}

// nameOf is the last element of a path, a reference or an address.
func nameOf(p string) string {
	p = strings.TrimSuffix(strings.TrimRight(p, "/"), ".git")
	return p[strings.LastIndexByte(p, '/')+1:]
}

// precedence is which field of a source's spec.ref counts, by Flux's documentation.
var precedence = map[string][]string{
	"OCIRepository": {"digest", "semver", "tag"},
	"GitRepository": {"commit", "name", "semver", "tag", "branch"},
}

// source reads what a source follows, for an application.
func (c *catalogue) source(app gitops.Key, kind gitops.VersionKind, source gitops.Object, name string) {
	found, ok := c.objects[source]
	if !ok {
		return
	}
	o := found.object
	r := reading{app: app, version: gitops.Version{Kind: kind, Name: cmp.Or(name, nameOf(textAt(o.Fields, "spec", "url"))), Object: source}}
	r.site, r.object = found.site.key(), o.Object
	if source.Kind == "HelmChart" {
		r.version.Name = nameOf(textAt(o.Fields, "spec", "chart"))
		r.path, r.text = "spec.version", textAt(o.Fields, "spec", "version")
	}
	for _, key := range precedence[source.Kind] {
		if text := textAt(o.Fields, "spec", "ref", key); text != "" {
			r.path, r.text = "spec.ref."+key, text
			if key == "branch" || key == "name" && strings.HasPrefix(text, "refs/heads/") {
				r.refusal = &gitops.Refusal{Code: gitops.BranchOnly, Reason: fmt.Sprintf("%s follows the branch %s: its version is whatever is merged there.", source, text)}
			}
			if tag := textAt(o.Fields, "spec", "ref", "tag"); key == "digest" && tag != "" {
				r.digest = place{r.site, r.object, r.path, text, text}
				r.path, r.text = "spec.ref.tag", tag
			}
			break
		}
	}
	r.token = r.text
	if name, ok := strings.CutPrefix(r.text, "refs/tags/"); ok {
		r.token = name
	}
	c.add(r)
}

// followed reads what a Flux Kustomization is applied from, where that is not this repository.
func (c *catalogue) followed(app gitops.Key, o render.Object) {
	k, ok := kustomization(o)
	if !ok {
		return
	}
	switch k.Source.Kind {
	case "OCIRepository":
		c.source(app, gitops.Artifact, k.Source.Object, "")
	case "GitRepository":
		if !slices.ContainsFunc(c.w.sites, func(s *site) bool { return s.Source.Object == k.Source.Object }) {
			c.source(app, gitops.Reference, k.Source.Object, "")
		}
	}
}

// inputs reads a ResourceSet, which is not changed.
func (c *catalogue) inputs(app gitops.Key, s *site, o render.Object) {
	inputs, _ := at(o.Fields, "spec", "inputs").([]any)
	for i, v := range inputs {
		input, _ := v.(map[string]any)
		for _, key := range sortedKeys(input) {
			if text := textAt(input, key); gitops.LooksLikeVersion(text) {
				c.add(reading{app: app, version: gitops.Version{Kind: gitops.Substitute, Name: key, Object: object(app)},
					place:   place{s.key(), o.Object, child(fmt.Sprintf("spec.inputs[%d]", i), key), text, text},
					refusal: &gitops.Refusal{Code: gitops.Layout, Reason: fmt.Sprintf("%s is an input of a ResourceSet: which of its objects follow it is not known.", key)}})
			}
		}
	}
}

// templates leads from a workload to its pod template.
func podSpec(o render.Object) (map[string]any, string) {
	keys := []string{"spec", "template", "spec"}
	switch o.Kind {
	case "CronJob":
		keys = []string{"spec", "jobTemplate", "spec", "template", "spec"}
	case "Pod":
		keys = []string{"spec"}
	}
	pod, _ := at(o.Fields, keys...).(map[string]any)
	return pod, strings.Join(keys, ".")
}

// unfilled is an image whose version is a variable of unknown value.
var unfilled = regexp.MustCompile(`^([^$]+)[:@]([^:@/$]*\$\{[_A-Za-z][^/]*)$`)

func (c *catalogue) containers(app gitops.Key, s *site, o render.Object) {
	pod, under := podSpec(o)
	for _, list := range []string{"containers", "initContainers"} {
		containers, _ := pod[list].([]any)
		for i, v := range containers {
			container, _ := v.(map[string]any)
			image := textAt(container, "image")
			name, version := gitops.SplitVersion(image)
			if m := unfilled.FindStringSubmatch(image); version == "" && m != nil {
				name, version = m[1], m[2]
			}
			if version == "" {
				continue
			}
			c.add(reading{app: app, version: gitops.Version{Kind: gitops.ImageTag, Name: name, Object: object(app), Container: textAt(container, "name"), Init: list == "initContainers"},
				place: place{s.key(), o.Object, step(under+"."+list, container, i) + ".image", image, version}})
		}
	}
}

// images reads the images that a value names. named is the key that leads to it.
func (c *catalogue) images(app gitops.Key, s *site, o render.Object, v any, under, named string) {
	for _, image := range gitops.ImageValues(v, under, named) {
		c.image(app, s, o, image)
	}
}

func (c *catalogue) image(app gitops.Key, s *site, o render.Object, image gitops.ImageValue) {
	r := reading{app: app, version: gitops.Version{Kind: gitops.ImageTag, Name: image.Image, Object: object(app), Container: image.Of},
		place: place{s.key(), o.Object, image.Path, image.Text, image.Version}}
	if image.Digest != "" {
		r.digest = place{s.key(), o.Object, image.DigestPath, image.Digest, image.Digest}
	}
	c.add(r)
}

// child and step are the paths of a map's value and of a list's item.
func child(under, key string) string { return gitops.PathKey(under, key) }

func step(under string, item any, i int) string { return gitops.PathItem(under, item, i) }

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// variables reads what a Flux Kustomization fills in and what looks like a version. Where it ends in another field, that
// one counts.
func (c *catalogue) variables(s *site) {
	if s.Substitution == nil {
		return
	}
	app := gitops.Key{Environment: c.w.environment.Name, Namespace: s.Namespace, Kind: "Kustomization", Name: s.Name}
	add := func(found located, ok bool, name, path, text string) {
		if address := net.ParseIP(text) != nil; ok && !address && gitops.LooksLikeVersion(text) {
			c.add(reading{app: app, version: gitops.Version{Kind: gitops.Substitute, Name: name, Object: found.object.Object},
				place: place{found.site.key(), found.object.Object, path, text, text}})
		}
	}
	own, ok := c.objects[gitops.Object{Kind: "Kustomization", Namespace: s.Namespace, Name: s.Name}]
	for _, name := range sortedNames(s.Substitution.Values) {
		add(own, ok, name, child("spec.postBuild.substitute", name), s.Substitution.Values[name])
	}
	for _, from := range s.Substitution.From {
		found, ok := c.objects[gitops.Object{Kind: "ConfigMap", Namespace: s.Namespace, Name: from.Name}]
		if !ok || from.Kind != "ConfigMap" {
			continue
		}
		data, _ := found.object.Fields["data"].(map[string]any)
		for _, name := range sortedKeys(data) {
			add(found, ok, name, child("data", name), scalar(data[name]))
		}
	}
}

func sortedNames(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

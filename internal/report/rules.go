package report

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// A Rule names fields whose changes are noise. In each, * stands for any text, and an empty one for everything.
type Rule struct {
	Kind      string `json:"kind,omitempty" jsonschema:"of the objects; * stands for any text"`
	Namespace string `json:"namespace,omitempty" jsonschema:"of the objects; * stands for any text"`
	Name      string `json:"name,omitempty" jsonschema:"of the objects; * stands for any text"`
	// Path is as reports write it, metadata.annotations["checksum/*"]; what lies below it is ignored too.
	Path string `json:"path" jsonschema:"of the field, as reports write it: metadata.annotations[\"checksum/*\"]; what lies below it is ignored too"`
}

// Defaults are the rules that hold without any configuration: what charts and tools write anew with every version, and what
// Flux itself writes.
var Defaults = []Rule{
	{Path: `*labels["helm.sh/chart"]`},
	{Path: `*labels["app.kubernetes.io/version"]`},
	{Path: `*labels.chart`},
	{Path: `*annotations["checksum/*"]`},
	{Path: `*annotations["kubectl.kubernetes.io/restartedAt"]`},
	{Path: `metadata.annotations["kubectl.kubernetes.io/last-applied-configuration"]`},
	{Path: `metadata.annotations["deployment.kubernetes.io/revision"]`},
	{Path: `metadata.annotations["meta.helm.sh/*"]`},
	{Path: `metadata.annotations["reconcile.fluxcd.io/*"]`},
	{Path: `metadata.labels["kustomize.toolkit.fluxcd.io/*"]`},
	{Path: `metadata.labels["helm.toolkit.fluxcd.io/*"]`},
	{Path: `metadata.annotations["kustomize.toolkit.fluxcd.io/checksum"]`},
	{Path: `*.caBundle`},
	{Path: `sops`},
}

// Rules are compiled.
type Rules []rule

type rule struct{ kind, namespace, name, path *regexp.Regexp }

// Compile reads rules. A rule without a path is an error: it would hide all changes of an object.
func Compile(rules []Rule) (Rules, error) {
	var all Rules
	for i, r := range rules {
		if strings.Trim(r.Path, "*. ") == "" {
			return nil, fmt.Errorf("[%d].path: a field is needed, such as metadata.labels.chart", i)
		}
		all = append(all, rule{glob(r.Kind, "$"), glob(r.Namespace, "$"), glob(r.Name, "$"), glob(r.Path, `($|[.\[|])`)})
	}
	return all, nil
}

// glob is nil for what matches everything.
func glob(pattern, end string) *regexp.Regexp {
	if pattern == "" || pattern == "*" {
		return nil
	}
	return regexp.MustCompile(`(?s)^` + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`) + end)
}

func (r Rules) match(o gitops.Object, path string) bool {
	is := func(pattern *regexp.Regexp, text string) bool { return pattern == nil || pattern.MatchString(text) }
	for _, one := range r {
		if is(one.kind, o.Kind) && is(one.namespace, o.Namespace) && is(one.name, o.Name) && is(one.path, path) {
			return true
		}
	}
	return false
}

package operation

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/render"
)

// owners are the kinds of Flux's that put values of Secrets into what they apply, by the labels that they put on it.
var owners = []struct{ kind, name, namespace string }{
	{"Kustomization", ownerName, ownerNamespace},
	{"HelmRelease", "helm.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/namespace"},
}

// filled says that values of Secrets may be among those of a live object: what applied it fills in some, or decrypts. Such an
// object is no part of a render of what a pull request says.
func (e *reviewing) filled(o render.Object) bool {
	metadata, _ := o.Fields["metadata"].(map[string]any)
	labels, _ := metadata["labels"].(map[string]any)
	for _, owner := range owners {
		applied, ok := e.live[gitops.Object{Kind: owner.kind, Namespace: gitops.ScalarText(labels[owner.namespace]), Name: gitops.ScalarText(labels[owner.name])}]
		if !ok {
			continue
		}
		spec, _ := applied.Fields["spec"].(map[string]any)
		build, _ := spec["postBuild"].(map[string]any)
		if spec["decryption"] != nil || fromSecret(build["substituteFrom"]) || fromSecret(spec["valuesFrom"]) {
			return true
		}
	}
	return false
}

func fromSecret(v any) bool {
	list, _ := v.([]any)
	return slices.ContainsFunc(list, func(v any) bool {
		from, _ := v.(map[string]any)
		return from["kind"] == "Secret"
	})
}

func holds(o gitops.Object) error {
	return &gitops.Refusal{Code: gitops.Secret, Reason: fmt.Sprintf("%s is as the cluster has it, where values of Secrets may have been filled in, so it is not rendered.", o)}
}

// unsealed are live Kustomizations as far as no values of Secrets are in them. The others are found in Git where this
// repository has them, with what stands for those values.
func (e *reviewing) unsealed(sites []gitops.Kustomization) (all []gitops.Kustomization) {
	for _, k := range sites {
		object, known := e.live[gitops.Object{Kind: "Kustomization", Namespace: k.Namespace, Name: k.Name}]
		if known && k.Substitution != nil && len(k.Substitution.Values) > 0 && e.filled(object) {
			if !e.builds(object, sites) {
				e.note("%s is applied from elsewhere, with values of Secrets filled in. What it applies is not in this report.", title(object.Object))
			}
			continue
		}
		if k.Substitution != nil {
			s := *k.Substitution
			s.Values, s.From = maps.Clone(s.Values), slices.Clone(s.From)
			for i, from := range s.From {
				if o, ok := e.live[gitops.Object{Kind: from.Kind, Namespace: k.Namespace, Name: from.Name}]; ok && e.filled(o) {
					s.From[i].Live = nil
				}
			}
			k.Substitution = &s
		}
		all = append(all, k)
	}
	return all
}

// builds says that one of some Kustomizations applied an object.
func (e *reviewing) builds(o render.Object, sites []gitops.Kustomization) bool {
	metadata, _ := o.Fields["metadata"].(map[string]any)
	labels, _ := metadata["labels"].(map[string]any)
	return slices.ContainsFunc(sites, func(k gitops.Kustomization) bool {
		return labels[ownerName] == k.Name && labels[ownerNamespace] == k.Namespace
	})
}

// merged says that a release, in the cluster or on the base branch, takes a key of a Secret for a document of values: its keys
// are names of values then.
func (e *reviewing) merged(secret gitops.Object, key string) bool {
	return takes(e.live, secret, key) || takes(e.objects[0][0], secret, key)
}

func takes(objects map[gitops.Object]render.Object, secret gitops.Object, key string) bool {
	for _, o := range objects {
		if !fluxIs(o, "HelmRelease") || o.Namespace != secret.Namespace {
			continue
		}
		spec, _ := o.Fields["spec"].(map[string]any)
		froms, _ := spec["valuesFrom"].([]any)
		for _, v := range froms {
			from, _ := v.(map[string]any)
			if from["kind"] == "Secret" && from["name"] == secret.Name && gitops.ScalarText(from["targetPath"]) == "" &&
				cmp.Or(gitops.ScalarText(from["valuesKey"]), "values.yaml") == key {
				return true
			}
		}
	}
	return false
}

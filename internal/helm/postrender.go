package helm

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	"sigs.k8s.io/kustomize/api/builtins" //nolint:staticcheck // deprecated, and what helm-controller uses
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/provider"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// releaseName shortens a name as helm-controller does: Helm takes 53 characters.
func releaseName(name string) string {
	const most, hash = 53, 12
	if len(name) <= most {
		return name
	}
	return fmt.Sprintf("%s-%x", name[:most-hash-1], sha256.Sum256([]byte(name)))[:most]
}

// postRender applies spec.postRenderers, spec.commonMetadata and the labels of the origin, in helm-controller's order.
func postRender(manifest []byte, hr *helmv2.HelmRelease) ([]byte, error) {
	var err error
	for _, r := range hr.Spec.PostRenderers {
		if r.Kustomize == nil {
			continue
		}
		if manifest, err = kustomized(manifest, r.Kustomize); err != nil {
			return nil, fmt.Errorf("post-render: %w", err)
		}
	}
	var transformers []resmap.Transformer
	if m := hr.Spec.CommonMetadata; m != nil {
		if m.Labels != nil {
			transformers = append(transformers, labels(m.Labels))
		}
		if m.Annotations != nil {
			transformers = append(transformers, &builtins.AnnotationsTransformerPlugin{Annotations: m.Annotations, FieldSpecs: metadata("annotations")})
		}
	}
	// Last: of a label that both set, the origin's stays.
	transformers = append(transformers, labels(map[string]string{
		helmv2.GroupVersion.Group + "/name": hr.Name, helmv2.GroupVersion.Group + "/namespace": hr.Namespace,
	}))
	all, err := resmap.NewFactory(provider.NewDefaultDepProvider().GetResourceFactory()).NewResMapFromBytes(manifest)
	if err != nil {
		return nil, fmt.Errorf("post-render: %w", err)
	}
	for _, t := range transformers {
		if err := t.Transform(all); err != nil {
			return nil, fmt.Errorf("post-render: %w", err)
		}
	}
	return all.AsYaml()
}

func labels(labels map[string]string) resmap.Transformer {
	return &builtins.LabelTransformerPlugin{Labels: labels, FieldSpecs: metadata("labels")}
}

func metadata(field string) []types.FieldSpec {
	return []types.FieldSpec{{Path: "metadata/" + field, CreateIfNotPresent: true}}
}

// kustomized applies patches and images. All that kustomize can read is the manifest.
func kustomized(manifest []byte, k *helmv2.Kustomize) ([]byte, error) {
	kustomization := types.Kustomization{
		TypeMeta:  types.TypeMeta{APIVersion: types.KustomizationVersion, Kind: types.KustomizationKind},
		Resources: []string{"helm-output.yaml"},
	}
	for _, i := range k.Images {
		kustomization.Images = append(kustomization.Images, types.Image{Name: i.Name, NewName: i.NewName, NewTag: i.NewTag, Digest: i.Digest})
	}
	for _, p := range k.Patches {
		patch := types.Patch{Patch: p.Patch}
		if t := p.Target; t != nil {
			patch.Target = &types.Selector{LabelSelector: t.LabelSelector, AnnotationSelector: t.AnnotationSelector}
			patch.Target.Group, patch.Target.Version, patch.Target.Kind = t.Group, t.Version, t.Kind
			patch.Target.Name, patch.Target.Namespace = t.Name, t.Namespace
		}
		kustomization.Patches = append(kustomization.Patches, patch)
	}
	raw, err := json.Marshal(kustomization)
	if err != nil {
		return nil, err
	}
	disk := filesys.MakeFsInMemory()
	if err := disk.WriteFile("kustomization.yaml", raw); err != nil {
		return nil, err
	}
	if err := disk.WriteFile("helm-output.yaml", bytes.Clone(manifest)); err != nil {
		return nil, err
	}
	built, err := krusty.MakeKustomizer(&krusty.Options{LoadRestrictions: types.LoadRestrictionsNone, PluginConfig: types.DisabledPluginConfig()}).Run(disk, ".")
	if err != nil {
		return nil, err
	}
	return built.AsYaml()
}

package render

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"
	"testing/fstest"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/kyaml/resid"
	sigsyaml "sigs.k8s.io/yaml"
)

// lenient gives every strategic merge patch of a kustomization that names its object by itself a target that says the same.
// Kustomize ignores a patch whose target is not there, and fails at one without a target: and where resources are left
// out, because they lie elsewhere, so may be what is patched.
func (w *walker) lenient(dir, file string) error {
	var fields map[string]any
	if err := sigsyaml.Unmarshal(w.files[file].Data, &fields); err != nil {
		return unreadable(file, "a kustomization", err)
	}
	var all []any // in the order in which kustomize applies them
	merges, _ := fields["patchesStrategicMerge"].([]any)
	for _, m := range merges {
		text, _ := m.(string)
		if _, ok := w.files[path.Join(dir, text)]; ok && plain(text) {
			all = append(all, map[string]any{"path": text})
		} else {
			all = append(all, map[string]any{"patch": text})
		}
	}
	patches, _ := fields["patches"].([]any)
	all = append(all, patches...)
	var targeted []any
	for _, p := range all {
		entry, _ := p.(map[string]any)
		if entry == nil || entry["target"] != nil {
			targeted = append(targeted, p)
			continue
		}
		text, _ := entry["patch"].(string)
		if at, _ := entry["path"].(string); at != "" && w.files[path.Join(dir, at)] != nil {
			text = string(w.files[path.Join(dir, at)].Data)
		}
		objects, ok := documents(text)
		if !ok {
			targeted = append(targeted, p)
			continue
		}
		for _, o := range objects {
			if w.only.part() {
				if named, err := w.only.patched(o); err != nil {
					return err
				} else if !named {
					continue
				}
			}
			part, err := sigsyaml.Marshal(o)
			if err != nil {
				return fmt.Errorf("encode a patch of %s: %w", file, err)
			}
			one := map[string]any{"patch": string(part), "target": selector(o)}
			if options := entry["options"]; options != nil {
				one["options"] = options
			}
			targeted = append(targeted, one)
		}
	}
	if len(all) == 0 {
		return nil
	}
	delete(fields, "patchesStrategicMerge")
	fields["patches"] = targeted
	if w.only.part() {
		w.only.fill(fields)
	}
	raw, err := sigsyaml.Marshal(fields)
	if err != nil {
		return fmt.Errorf("encode %s: %w", file, err)
	}
	w.files[file] = &fstest.MapFile{Data: raw, Mode: 0o644}
	return nil
}

// documents are those of a patch, if each of them names an object.
func documents(text string) (objects []map[string]any, ok bool) {
	for d := yaml.NewDecoder(bytes.NewReader([]byte(text))); ; {
		var o map[string]any
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			return objects, len(objects) > 0
		}
		metadata, _ := o["metadata"].(map[string]any)
		if name, _ := metadata["name"].(string); err != nil || name == "" || o["kind"] == nil {
			return nil, false
		}
		objects = append(objects, o)
	}
}

// selector is the target that stands for what a patch says of its object: no namespace stands for the default one, and no
// group for that of the core, where a target means any.
func selector(o map[string]any) map[string]any {
	metadata, _ := o["metadata"].(map[string]any)
	namespace, _ := metadata["namespace"].(string)
	version, _ := o["apiVersion"].(string)
	group, after, grouped := strings.Cut(version, "/")
	if grouped {
		group, version = regexp.QuoteMeta(group), after
	} else {
		group = "^$"
	}
	return map[string]any{"group": group, "version": regexp.QuoteMeta(version), "kind": o["kind"], "name": regexp.QuoteMeta(fmt.Sprint(metadata["name"])),
		"namespace": regexp.QuoteMeta(cmp.Or(namespace, resid.DefaultNamespace)) + "|" + resid.TotallyNotANamespace}
}

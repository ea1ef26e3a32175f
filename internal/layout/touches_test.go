package layout

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestTouches(t *testing.T) {
	files := fstest.MapFS{}
	for name, content := range map[string]string{
		"clusters/prod/apps.yaml": `apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: apps, namespace: flux-system}
spec: {path: ./apps/prod, prune: true, interval: 1m, sourceRef: {kind: GitRepository, name: flux-system}}
`,
		"clusters/stage/apps.yaml": `apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: apps, namespace: flux-system}
spec: {path: ./apps/stage, prune: true, interval: 1m, sourceRef: {kind: GitRepository, name: flux-system}}
`,
		"apps/prod/kustomization.yaml":  "resources: [../base, podinfo.yaml]\n",
		"apps/prod/podinfo.yaml":        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: podinfo, namespace: podinfo}\n",
		"apps/prod/unused.yaml":         "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: unused}\n",
		"apps/stage/kustomization.yaml": "resources: [../base]\nimages: [{name: web, newTag: 1.0.0}]\n",
		"apps/base/kustomization.yaml":  "resources: [web.yaml, config.yaml]\n",
		"apps/base/web.yaml":            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: web}\n---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: queue, namespace: web}\n",
		"apps/base/config.yaml":         "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web, namespace: web}\n",
		"README.md":                     "# fleet\n",
	} {
		files[name] = &fstest.MapFile{Data: []byte(content)}
	}
	tree := Open(files)
	for changed, want := range map[string]string{
		"apps/base/web.yaml":                        "prod: queue web, stage: queue web",
		"apps/base/config.yaml":                     "prod: queue web, stage: queue web",
		"apps/prod/podinfo.yaml":                    "prod: podinfo",
		"apps/prod/kustomization.yaml":              "prod: podinfo",
		"apps/prod/podinfo.yaml apps/base/web.yaml": "prod: podinfo queue web, stage: queue web",
		"apps/prod/unused.yaml":                     "",
		"apps/prod/new.yaml":                        "",
		"apps/stage/kustomization.yaml":             "stage: queue web",
		"clusters/prod/apps.yaml":                   "prod:",
		"clusters/prod/new.yaml":                    "prod:",
		"README.md":                                 "",
		"../../etc/passwd":                          "",
		"":                                          "",
	} {
		var got []string
		for _, name := range []string{"prod", "stage"} {
			env, err := tree.Root(t.Context(), "clusters/"+name, name)
			if err != nil {
				t.Fatal(err)
			}
			applications, touched, err := tree.Touches(t.Context(), env, strings.Split(changed, " "))
			if err != nil {
				t.Fatal(err)
			}
			if touched {
				got = append(got, strings.TrimSpace(name+": "+strings.Join(applications, " ")))
			} else if len(applications) > 0 {
				t.Errorf("%s: %q without being touched", changed, applications)
			}
		}
		if got := strings.Join(got, ", "); got != want {
			t.Errorf("%s: %q, want %q", changed, got, want)
		}
	}
}

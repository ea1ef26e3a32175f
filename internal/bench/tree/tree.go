// Package tree makes up a large repository with Flux: what the measures of locating and planning run on. It has every
// form that ferry edits, in the proportions of real repositories.
package tree

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"strings"
	"testing/fstest"
)

// How much there is of what.
const (
	Roots    = 15
	own      = 36 // HelmReleases of each root alone
	shared   = 60 // HelmReleases that every root has from the same base
	groups   = 5  // directories of applications
	overlaid = 14 // shared HelmReleases that a root patches with a version of its own
)

// Dir is the directory that a root's Flux syncs.
func Dir(root int) string { return path.Join("clusters", name(root)) }

func name(root int) string { return fmt.Sprintf("cluster-%02d", root) }

// Make gives the files of the repository that belongs to a seed: the same seed, the same bytes.
func Make(seed uint64) fs.FS {
	g := &generator{random: rand.New(rand.NewPCG(seed, 0)), files: fstest.MapFS{}}
	g.platform()
	for root := range Roots {
		g.cluster(root)
		g.overlay(root)
		g.applications(root)
	}
	return g.files
}

type generator struct {
	random *rand.Rand
	files  fstest.MapFS
}

// write puts a file; format takes the dashes that begin YAML as they are.
func (g *generator) write(file, format string, args ...any) {
	text := fmt.Sprintf(strings.TrimPrefix(format, "\n"), args...)
	g.files[file] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
}

func (g *generator) version() string {
	return fmt.Sprintf("%d.%d.%d", g.random.IntN(9)+1, g.random.IntN(30), g.random.IntN(20))
}

func (g *generator) digest() string {
	var b strings.Builder
	b.WriteString("sha256:")
	for range 8 {
		fmt.Fprintf(&b, "%08x", g.random.Uint32())
	}
	return b.String()
}

const release = `apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata:
  name: %[1]s
  namespace: %[2]s
spec:
  interval: 30m
`

const chart = release + `  chart:
    spec:
      chart: %[1]s
      version: %[3]s
      sourceRef: {kind: HelmRepository, name: charts, namespace: flux-system}
`

// filler makes files as long as those of people.
const filler = `    resources:
      requests: {cpu: 100m, memory: 128Mi}
      limits: {memory: 256Mi}
    ingress:
      enabled: true
      annotations:
        cert-manager.io/cluster-issuer: letsencrypt # of the cluster
      hosts:
      - host: %[1]s.example.com
        paths: [{path: /, pathType: Prefix}]
    podSecurityContext: {runAsNonRoot: true, runAsUser: 65534}
    nodeSelector:
      kubernetes.io/os: linux
`

func kustomization(kind string, lists ...any) string {
	version := map[string]string{"Kustomization": "v1beta1", "Component": "v1alpha1"}[kind]
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: kustomize.config.k8s.io/%s\nkind: %s\n", version, kind)
	for i := 0; i < len(lists); i += 2 {
		fmt.Fprintf(&b, "%s:\n", lists[i])
		for _, item := range lists[i+1].([]string) {
			fmt.Fprintf(&b, "- %s\n", strings.ReplaceAll(strings.TrimSuffix(item, "\n"), "\n", "\n  "))
		}
	}
	return b.String()
}

// platform is what all roots share.
func (g *generator) platform() {
	for _, component := range []string{"alerts", "limits", "network", "retries"} {
		dir := "components/" + component
		g.write(dir+"/kustomization.yaml", "%s", kustomization("Component", "patches",
			[]string{"path: remediation.yaml\ntarget: {kind: HelmRelease}"}))
		g.write(dir+"/remediation.yaml", `
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: any}
spec:
  install:
    remediation: {retries: %d}
  driftDetection: {mode: warn} # by %s
`, g.random.IntN(5)+1, component)
	}
	var all []string
	for group := range groups {
		dir := fmt.Sprintf("platform/base/group-%d", group)
		var apps []string
		for i := group; i < shared; i += groups {
			app := fmt.Sprintf("service-%02d", i)
			apps = append(apps, app)
			g.service(path.Join(dir, app), app, i/groups)
		}
		g.write(dir+"/kustomization.yaml", "%s", kustomization("Kustomization", "resources", apps))
		g.write(dir+"/namespace.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: platform-%d}\n", group)
		all = append(all, fmt.Sprintf("group-%d", group))
	}
	g.write("platform/base/kustomization.yaml", "%s", kustomization("Kustomization", "resources", all))
	g.write("platform/sources/charts.yaml", `
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
metadata: {name: charts, namespace: flux-system}
spec: {interval: 1h, url: "https://charts.example.com"}
`)
}

// service is an application of the base, in one of several forms.
func (g *generator) service(dir, app string, form int) {
	resources := []string{"helmrelease.yaml", "source.yaml"}
	g.write(dir+"/source.yaml", `
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {name: %[1]s, namespace: platform}
spec:
  interval: 1h
  url: oci://registry.example.com/charts/%[1]s
  ref:
    tag: %[2]s
`, app, g.version())
	switch form % 4 {
	case 0:
		g.write(dir+"/helmrelease.yaml", chart+"  values:\n    replicaCount: 2\n"+filler, app, "platform", g.version())
	case 1:
		g.write(dir+"/helmrelease.yaml", release+"  chartRef: {kind: OCIRepository, name: %[1]s}\n  values:\n    image:\n      repository: registry.example.com/%[1]s\n      tag: %[3]q # renovate: docker\n"+filler, app, "platform", g.version())
	case 2:
		g.write(dir+"/helmrelease.yaml", chart+"  values:\n    cluster: ${CLUSTER_NAME}\n"+filler, app, "platform", fmt.Sprintf("${%s:=%s}", variable(app), g.version()))
	default:
		g.write(dir+"/helmrelease.yaml", chart+"  values:\n    cluster: ${CLUSTER_NAME}\n    image: registry.example.com/%[1]s:%[4]s\n"+filler, app, "platform", fmt.Sprintf("%q", g.version()), g.version())
	}
	g.write(dir+"/kustomization.yaml", "%s", kustomization("Kustomization", "resources", resources))
}

func variable(app string) string {
	return strings.ToUpper(strings.ReplaceAll(app, "-", "_")) + "_VERSION"
}

// cluster is what a root's Flux syncs.
func (g *generator) cluster(root int) {
	dir := Dir(root)
	g.write(dir+"/flux-system/gotk-sync.yaml", `
# made by flux bootstrap
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: flux-system, namespace: flux-system}
spec:
  interval: 1m0s
  ref: {branch: main}
  url: https://git.example.com/acme/fleet
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: flux-system, namespace: flux-system}
spec:
  interval: 10m0s
  path: ./%s
  prune: true
  sourceRef: {kind: GitRepository, name: flux-system}
`, dir)
	g.write(dir+"/flux-system/kustomization.yaml", "%s", kustomization("Kustomization", "resources", []string{"gotk-sync.yaml"}))
	g.write(dir+"/vars.yaml", `
apiVersion: v1
kind: ConfigMap
metadata: {name: cluster-vars, namespace: flux-system}
data:
  CLUSTER_NAME: %s
  %s: %q
`, name(root), variable("service-10"), g.version())
	follow := `
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: %s, namespace: flux-system}
spec:
  interval: 30m
  path: ./%s
  prune: true
  sourceRef: {kind: GitRepository, name: flux-system}
`
	g.write(dir+"/platform.yaml", follow+`  postBuild:
    substituteFrom: [{kind: ConfigMap, name: cluster-vars}]
  patches:
  - target: {kind: HelmRelease}
    patch: |
      - {op: add, path: /metadata/labels, value: {cluster: %s}}
`, "platform", "platform/overlays/"+name(root), name(root))
	substitute := ""
	for i := range own {
		if form(i) == formVariable {
			substitute += fmt.Sprintf("      %s: %s\n", variable(appName(root, i)), g.version())
		}
	}
	g.write(dir+"/apps.yaml", follow+"  postBuild:\n    substituteFrom: [{kind: ConfigMap, name: cluster-vars}]\n    substitute:\n%s", "apps", "apps/"+name(root), substitute)
}

// overlay is a root's own part of the platform: patches by file and inline.
func (g *generator) overlay(root int) {
	dir := "platform/overlays/" + name(root)
	var patches []string
	for i := range overlaid {
		app := fmt.Sprintf("service-%02d", (root+i*groups/2)%shared)
		if i%4 == 3 {
			patches = append(patches, fmt.Sprintf("target: {kind: OCIRepository, name: %s}\npatch: |\n  - op: replace\n    path: /spec/ref/tag\n    value: %s", app, g.version()))
			continue
		}
		file := app + ".yaml"
		patches = append(patches, "path: "+file)
		g.write(dir+"/"+file, release+"  chart:\n    spec:\n      version: %[3]s # of this cluster\n", app, "platform", g.version())
	}
	g.write(dir+"/kustomization.yaml", "%s", kustomization("Kustomization",
		"resources", []string{"../../base", "../../sources/charts.yaml"},
		"components", []string{"../../../components/retries", "../../../components/" + []string{"alerts", "limits", "network"}[root%3]},
		"patches", patches))
}

// The forms of a root's own applications.
const (
	formPlain = iota
	formQuoted
	formChartRef
	formImage
	formReference
	formDigest
	formVariable
	formInline
	formJSON
	formValuesFile
	forms
)

func form(i int) int { return i % forms }

func appName(root, i int) string { return fmt.Sprintf("app-%02d-%02d", root, i) }

// applications are what one root alone has, three kustomizations deep.
func (g *generator) applications(root int) {
	top := "apps/" + name(root)
	var dirs []string
	for group := range groups {
		dir := fmt.Sprintf("%s/group-%d", top, group)
		dirs = append(dirs, path.Base(dir))
		var apps, patches []string
		for i := group; i < own; i += groups {
			app := appName(root, i)
			apps = append(apps, app)
			patches = append(patches, g.application(path.Join(dir, app), app, form(i))...)
		}
		lists := []any{"resources", apps}
		if len(patches) > 0 {
			lists = append(lists, "patches", patches)
		}
		g.write(dir+"/kustomization.yaml", "%s", kustomization("Kustomization", lists...))
	}
	g.write(top+"/worker/deployment.yaml", `
apiVersion: apps/v1
kind: Deployment
metadata: {name: worker, namespace: apps}
spec:
  selector: {matchLabels: {app: worker}}
  template:
    metadata: {labels: {app: worker}}
    spec:
      containers:
      - name: worker
        image: registry.example.com/worker:0.0.0
`)
	g.write(top+"/worker/kustomization.yaml", "%s", kustomization("Kustomization", "resources", []string{"deployment.yaml"},
		"images", []string{fmt.Sprintf("name: registry.example.com/worker\nnewTag: %q", g.version())}))
	g.write(top+"/kustomization.yaml", "%s", kustomization("Kustomization", "resources", append(dirs, "worker"), "components", []string{"../../components/limits"}))
}

// application writes one and gives the patches that its group needs for it.
func (g *generator) application(dir, app string, form int) (patches []string) {
	file, lists := dir+"/helmrelease.yaml", []any{"resources", []string{"helmrelease.yaml"}}
	switch form {
	case formPlain:
		g.write(file, chart+"  values:\n    replicaCount: 1\n"+filler, app, "apps", g.version())
	case formQuoted:
		g.write(file, "---\n"+chart+"  values:\n    replicaCount: 1\n"+filler, app, "apps", "'"+g.version()+"' # keep the quotes")
	case formChartRef:
		g.write(file, release+"  chartRef: {kind: OCIRepository, name: %[1]s}\n  values:\n    replicaCount: 1\n"+filler+`---
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {name: %[1]s, namespace: apps}
spec:
  interval: 1h
  url: oci://registry.example.com/charts/%[1]s
  ref: {tag: "%[3]s"}
`, app, "apps", g.version())
	case formImage:
		g.write(file, chart+"  values:\n    image:\n      repository: registry.example.com/%[1]s\n      tag: v%[4]s\n"+filler, app, "apps", g.version(), g.version())
	case formReference:
		g.write(file, chart+"  values:\n    java:\n      image: registry.example.com/%[1]s:prod-%[4]s # {\"$imagepolicy\": \"flux-system:%[1]s\"}\n"+filler, app, "apps", g.version(), g.version())
	case formDigest:
		g.write(file, chart+"  values:\n    controllers:\n      main:\n        containers:\n          app:\n            image:\n              repository: registry.example.com/%[1]s\n              tag: %[4]s@%[5]s\n"+filler, app, "apps", g.version(), g.version(), g.digest())
	case formVariable:
		g.write(file, chart+"  values:\n    replicaCount: 1\n"+filler, app, "apps", "${"+variable(app)+"}")
	case formInline, formJSON:
		g.write(file, chart+"  values:\n    replicaCount: 1\n"+filler, app, "apps", g.version())
		patch := fmt.Sprintf("apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: %s, namespace: apps}\nspec:\n  chart:\n    spec:\n      version: %s", app, g.version())
		if form == formJSON {
			patch = "- op: replace\n  path: /spec/chart/spec/version\n  value: " + g.version()
		}
		patches = []string{fmt.Sprintf("target: {kind: HelmRelease, name: %s}\npatch: |\n  %s", app, strings.ReplaceAll(patch, "\n", "\n  "))}
	case formValuesFile:
		g.write(file, chart+"  valuesFrom: [{kind: ConfigMap, name: %[1]s-values}]\n", app, "apps", g.version())
		g.write(dir+"/values.yaml", "image:\n  repository: registry.example.com/%s\n  tag: %q\nreplicaCount: 1\n", app, g.version())
		lists = append(lists, "configMapGenerator", []string{"name: " + app + "-values\nnamespace: apps\nfiles: [values.yaml]\noptions: {disableNameSuffixHash: true}"})
	}
	g.write(dir+"/kustomization.yaml", "%s", kustomization("Kustomization", lists...))
	return patches
}

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// twoEnvironments is a checkout with two environments over one base, each with a version of its own for one application.
func twoEnvironments(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"apps/base/orders.yaml": `apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: orders, namespace: shop}
spec:
  chart: {spec: {chart: service, sourceRef: {kind: HelmRepository, name: charts}}}
  values:
    image: {repository: ghcr.io/acme/orders, tag: v1}
`,
		"apps/base/podinfo.yaml": `apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: podinfo, namespace: shop}
spec:
  chart:
    spec:
      chart: podinfo
      version: ">=6.0.0 <7.0.0"
      sourceRef: {kind: HelmRepository, name: charts}
`,
		"apps/base/kustomization.yaml": "resources: [orders.yaml, podinfo.yaml]\n",
	}
	for _, env := range []string{"staging", "production"} {
		files["clusters/"+env+"/apps.yaml"] = `apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: apps, namespace: flux-system}
spec: {interval: 10m, path: ./apps/` + env + `, prune: true, sourceRef: {kind: GitRepository, name: flux-system}}
`
		files["apps/"+env+"/kustomization.yaml"] = "resources: [../base]\npatches:\n- path: orders.yaml\n"
		files["apps/"+env+"/orders.yaml"] = `apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata:
  name: orders
  namespace: shop
spec:
  chart:
    spec:
      version: "2.4.1" # keep the quotes
`
	}
	for name, content := range files {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWhereAsJSON(t *testing.T) {
	dir := twoEnvironments(t)
	code, out, log := ferry(t, "", "where", "--tree", dir, "--path", "clusters/production", "-o", "json")
	if code != 0 || log != "" {
		t.Fatalf("code %d, %s", code, log)
	}
	var got any
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	place := func(kind, file string, line float64, path, value string, also ...any) any {
		return map[string]any{"application": "orders", "namespace": "shop", "kind": kind, "file": file, "line": line, "path": path,
			"value": value, "alsoFeeds": append([]any{}, also...), "proved": true}
	}
	podinfo := place("chart", "apps/base/podinfo.yaml", 8, "spec.chart.spec.version", ">=6.0.0 <7.0.0", "clusters/staging")
	podinfo.(map[string]any)["application"] = "podinfo"
	want := []any{
		place("image", "apps/base/orders.yaml", 7, "spec.values.image.tag", "v1", "clusters/staging"),
		place("chart", "apps/production/orders.yaml", 9, "spec.chart.spec.version", "2.4.1"),
		podinfo,
	}
	if diff := cmp.Diff(any(want), got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestPlanAsJSON(t *testing.T) {
	dir := twoEnvironments(t)
	ask := func(args ...string) (int, map[string]any) {
		t.Helper()
		code, out, log := ferry(t, "", append([]string{"plan", "--tree", dir, "--path", "clusters/production", "-o", "json"}, args...)...)
		var got map[string]any
		if err := json.Unmarshal([]byte(out), &got); err != nil || log != "" {
			t.Fatalf("code %d, %v: %s%s", code, err, out, log)
		}
		return code, got
	}
	code, got := ask("orders@2.5.0", "to", "prod", "--chart")
	hash, _ := got["hash"].(string)
	if len(hash) != 32 {
		t.Errorf("hash %q", hash)
	}
	want := map[string]any{"application": "orders", "environment": "prod", "version": "2.5.0", "previous": "2.4.1", "kind": "chart", "hash": hash,
		"edits": []any{map[string]any{"file": "apps/production/orders.yaml", "line": 9.0, "path": "spec.chart.spec.version", "kind": "chart", "old": "2.4.1", "new": "2.5.0"}},
		"patch": "diff --git a/apps/production/orders.yaml b/apps/production/orders.yaml\n--- a/apps/production/orders.yaml\n+++ b/apps/production/orders.yaml\n" +
			"@@ -6,4 +6,4 @@\n spec:\n   chart:\n     spec:\n-      version: \"2.4.1\" # keep the quotes\n+      version: \"2.5.0\" # keep the quotes\n",
		"alsoFeeds": []any{}, "alsoChanges": []any{}, "namespace": "shop", "others": []any{"clusters/staging"}, "warnings": []any{}}
	if diff := cmp.Diff(want, got); code != 0 || diff != "" {
		t.Errorf("code %d -want +got:\n%s", code, diff)
	}
	if code, got := ask("orders@2.4.1", "to", "prod", "--chart"); code != 0 || got["patch"] != "" || !cmp.Equal(got["edits"], []any{}) {
		t.Errorf("already there: code %d, %v", code, got)
	}

	chart := map[string]any{"file": "apps/production/orders.yaml", "line": 9.0, "path": "spec.chart.spec.version", "kind": "chart", "value": "2.4.1"}
	image := map[string]any{"file": "apps/base/orders.yaml", "line": 7.0, "path": "spec.values.image.tag", "kind": "image", "value": "v1"}
	for _, test := range []struct {
		args       []string
		code       string
		candidates []any
	}{
		{[]string{"orders@2.5.0", "to", "prod"}, "ambiguous", []any{image, chart}},
		{[]string{"orders@v2", "to", "prod", "--image", "orders"}, "shared", []any{image}},
		{[]string{"podinfo@7.0.0", "to", "prod"}, "range", nil},
		{[]string{"podinfo@not/a/version", "to", "prod"}, "bad-version", nil},
		{[]string{"payments@1.0.0", "to", "prod"}, "not-found", nil},
		{[]string{"orders@2.5.0", "to", "prod", "--field", "apps/base/orders.yaml:metadata.name"}, "not-found", nil},
	} {
		code, got := ask(test.args...)
		refused, _ := got["refused"].(map[string]any)
		candidates, isList := refused["candidates"].([]any)
		if code != 1 || len(got) != 1 || refused["code"] != test.code || refused["reason"] == "" || !isList {
			t.Errorf("%v: code %d, %v", test.args, code, got)
		}
		if diff := cmp.Diff(test.candidates, candidates); test.candidates != nil && diff != "" {
			t.Errorf("%v: -want +got:\n%s", test.args, diff)
		}
	}
}

func TestWhereOfNothing(t *testing.T) {
	code, out, log := ferry(t, "", "where", "payments", "--tree", twoEnvironments(t), "--path", "clusters/production", "-o", "json")
	if code != 1 || log != "" || !strings.Contains(out, `"code": "not-found"`) {
		t.Errorf("code %d, %s%s", code, out, log)
	}
}

func TestPlanWritesWhatItShows(t *testing.T) {
	dir := twoEnvironments(t)
	file := filepath.Join(dir, "apps/production/orders.yaml")
	before := read(t, file)
	args := []string{"plan", "orders@2.5.0", "to", "prod", "--chart", "--tree", dir, "--path", "clusters/production"}
	code, patch, log := ferry(t, "", append(args, "-o", "diff")...)
	if code != 0 || log != "" || read(t, file) != before {
		t.Fatalf("code %d, %s", code, log)
	}
	copied := twoEnvironments(t)
	git := exec.Command("git", "apply", "-")
	git.Dir, git.Stdin = copied, strings.NewReader(patch)
	git.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + copied, "GIT_CONFIG_NOSYSTEM=1", "GIT_CEILING_DIRECTORIES=" + filepath.Dir(copied)}
	if out, err := git.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	code, out, log := ferry(t, "", append(args, "--write")...)
	if code != 0 || log != "" || !strings.Contains(out, "Written: apps/production/orders.yaml.") {
		t.Errorf("code %d, %s%s", code, out, log)
	}
	want := strings.Replace(before, `"2.4.1"`, `"2.5.0"`, 1)
	if got := read(t, file); got != want || read(t, filepath.Join(copied, "apps/production/orders.yaml")) != want {
		t.Errorf("wrote\n%s", got)
	}
	if code, out, _ := ferry(t, "", "plan", "podinfo@6.9.9", "to", "prod", "--tree", dir, "--path", "clusters/production", "--write"); code != 1 || !strings.Contains(out, "(range)") {
		t.Errorf("a range: code %d, %s", code, out)
	}
	status := exec.Command("git", "diff", "--no-index", "--stat", copied, dir)
	if out, err := status.CombinedOutput(); err != nil {
		t.Errorf("more was written: %s", out)
	}
}

// Without a root, where is about all environments that the tree tells of.
func TestWhereEverywhere(t *testing.T) {
	dir := twoEnvironments(t)
	for _, root := range []string{"clusters/production", "clusters/staging"} {
		sync := fmt.Sprintf("apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: flux-system, namespace: flux-system}\n"+
			"spec: {path: ./%s, sourceRef: {kind: GitRepository, name: flux-system}}\n", root)
		if err := os.WriteFile(filepath.Join(dir, root, "gotk-sync.yaml"), []byte(sync), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, out, log := ferry(t, "", "where", "orders", "--tree", dir, "-o", "json")
	var got []map[string]any
	if err := json.Unmarshal([]byte(out), &got); code != 0 || log != "" || err != nil {
		t.Fatalf("code %d, %s%s", code, out, log)
	}
	var lines []string
	for _, p := range got {
		lines = append(lines, fmt.Sprint(p["environment"], " ", p["file"], " ", p["path"], " ", p["value"], " ", p["alsoFeeds"]))
	}
	want := []string{
		"clusters/production apps/base/orders.yaml spec.values.image.tag v1 [clusters/staging]",
		"clusters/production apps/production/orders.yaml spec.chart.spec.version 2.4.1 []",
		"clusters/staging apps/base/orders.yaml spec.values.image.tag v1 [clusters/production]",
		"clusters/staging apps/staging/orders.yaml spec.chart.spec.version 2.4.1 []",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if code, out, _ := ferry(t, "", "where", "orders", "--tree", dir); code != 0 || strings.Count(out, "2 versions of 1 application in clusters/") != 2 {
		t.Errorf("code %d\n%s", code, out)
	}
	if code, out, _ := ferry(t, "", "where", "payments", "--tree", dir); code != 1 || !strings.Contains(out, "(not-found)") {
		t.Errorf("code %d\n%s", code, out)
	}
	if code, out, _ := ferry(t, "", "where", "--tree", t.TempDir()); code != 1 || !strings.Contains(out, "--path") {
		t.Errorf("code %d\n%s", code, out)
	}
}

func TestOfflineUsage(t *testing.T) {
	dir := twoEnvironments(t)
	for name, test := range map[string]struct {
		args []string
		log  string
	}{
		"no root":                 {[]string{"plan", "orders@2.5.0", "to", "prod", "--tree", dir}, "--path"},
		"a name for all roots":    {[]string{"where", "in", "prod", "--tree", dir}, "--path"},
		"two applications":        {[]string{"where", "a", "b", "--tree", dir, "--path", "clusters/production"}, "one application"},
		"a bad environment":       {[]string{"where", "in", "a b", "--tree", dir, "--path", "clusters/production"}, "not a name"},
		"no version":              {[]string{"plan", "orders", "to", "prod", "--tree", dir, "--path", "clusters/production"}, "APP@VERSION"},
		"no environment":          {[]string{"plan", "orders@1.0.0", "--tree", dir, "--path", "clusters/production"}, "APP@VERSION to ENV"},
		"chart and image":         {[]string{"plan", "orders@1", "to", "prod", "--chart", "--image", "x", "--tree", dir, "--path", "clusters/production"}, "--chart"},
		"a root out of the tree":  {[]string{"where", "--tree", dir, "--path", "../elsewhere"}, "--path"},
		"no such tree":            {[]string{"where", "--tree", filepath.Join(dir, "absent"), "--path", "x"}, "--tree: there is no directory"},
		"no such base":            {[]string{"diff", "--tree", dir, "--base", filepath.Join(dir, "HEAD~1")}, "--base: there is no directory"},
		"no address":              {[]string{"diff", "--tree", dir, "--base", dir, "--allow", "https://charts.example.com,charts.example.com"}, "--allow"},
		"a base without pin":      {[]string{"diff", "--tree", dir, "--base", "git::https://example.com/x.git?ref=main"}, "--base: "},
		"a source without pin":    {[]string{"where", "--tree", "git::https://example.com/x.git?ref=main", "--path", "x"}, "not pinned"},
		"a source of other kinds": {[]string{"where", "--tree", "s3::https://example.com/x.zip", "--path", "x"}, "--tree"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, output := range []string{"text", "json"} {
				code, out, log := ferry(t, "", append(test.args, "-o", output)...)
				if code != exitUsage || out != "" || !strings.Contains(log, test.log) {
					t.Errorf("%s: code %d, %q, %q", output, code, out, log)
				}
			}
		})
	}
}

func TestWhereForPeople(t *testing.T) {
	code, out, _ := ferry(t, "", "where", "orders", "in", "prod", "--tree", twoEnvironments(t), "--path", "./clusters/production/")
	want := `2 versions of 1 application in prod
APPLICATION  KIND          VERSION  FILE                           PATH                     NOTE
shop/orders  image orders  v1       apps/base/orders.yaml:7        spec.values.image.tag    also feeds clusters/staging
             chart         2.4.1    apps/production/orders.yaml:9  spec.chart.spec.version
`
	if diff := cmp.Diff(want, trimmed(out)); code != 0 || diff != "" {
		t.Errorf("code %d -want +got:\n%s", code, diff)
	}
}

// trimmed takes the blanks off the ends of lines.
func trimmed(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// TestADigestBesideATagHasARow, and is no second version to choose from.
func TestADigestBesideATagHasARow(t *testing.T) {
	dir := twoEnvironments(t)
	const digest = "sha256:5f1390bc43fe5f1390bc43fe5f1390bc43fe5f1390bc43fe5f1390bc43fe5f13"
	if err := os.WriteFile(filepath.Join(dir, "apps/base/worker.yaml"), []byte(`apiVersion: apps/v1
kind: Deployment
metadata: {name: worker, namespace: shop}
spec: {template: {spec: {containers: [{name: worker, image: "ghcr.io/acme/worker:1"}]}}}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "apps/production/kustomization.yaml"), []byte(`resources: [../base, ../base/worker.yaml]
patches:
- path: orders.yaml
images:
- name: ghcr.io/acme/worker
  newTag: 1.2.3
  digest: `+digest+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, log := ferry(t, "", "where", "worker", "--tree", dir, "--path", "clusters/production", "-o", "json")
	var got []map[string]any
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 || log != "" {
		t.Fatalf("code %d, %v: %s%s", code, err, out, log)
	}
	row := func(line float64, path, value string) map[string]any {
		return map[string]any{"application": "worker", "namespace": "shop", "kind": "image", "file": "apps/production/kustomization.yaml", "line": line,
			"path": path, "value": value, "alsoFeeds": []any{}, "proved": true}
	}
	if diff := cmp.Diff([]map[string]any{row(6, "images[0].newTag", "1.2.3"), row(7, "images[0].digest", digest)}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if _, out, _ := ferry(t, "", "where", "worker", "--tree", dir, "--path", "clusters/production"); !strings.Contains(out, "1 version of 1 application") ||
		!strings.Contains(out, "digest beside the tag") {
		t.Errorf("as text:\n%s", out)
	}
	for _, args := range [][]string{{"--drop-digest"}, {"--drop-digest", "--field", "apps/production/kustomization.yaml:images[0].digest"}} {
		code, out, _ := ferry(t, "", append([]string{"plan", "worker@1.2.4", "to", "prod", "--tree", dir, "--path", "clusters/production", "-o", "json"}, args...)...)
		if code != 0 || !strings.Contains(out, `"new": "1.2.4"`) {
			t.Errorf("%v: code %d\n%s", args, code, out)
		}
	}
	if _, out, _ := ferry(t, "", "plan", "worker@1.2.4", "to", "prod", "--tree", dir, "--path", "clusters/production", "-o", "json"); !strings.Contains(out, `"code": "digest"`) ||
		strings.Count(out, `"path"`) != 1 {
		t.Errorf("without an agreement:\n%s", out)
	}
}

// Where no file tells of another environment, it is not said that none is fed.
func TestOtherEnvironmentsAreNotKnown(t *testing.T) {
	dir := twoEnvironments(t)
	if err := os.MkdirAll(filepath.Join(dir, "elsewhere"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "clusters/staging"), filepath.Join(dir, "elsewhere/staging")); err != nil {
		t.Fatal(err)
	}
	// Nothing leads from there to what is shared but what Terraform, say, applies.
	if err := os.Remove(filepath.Join(dir, "elsewhere/staging/apps.yaml")); err != nil {
		t.Fatal(err)
	}
	at := []string{"--tree", dir, "--path", "clusters/production"}
	ask := func(args ...string) (code int, out string) {
		t.Helper()
		code, out, log := ferry(t, "", append(args, at...)...)
		if log != "" {
			t.Errorf("%v: %s", args, log)
		}
		return code, out
	}
	plan := []string{"plan", "orders@v2", "to", "prod", "--image", "orders"}
	if code, out := ask(plan...); code != 0 || !strings.Contains(out, "is not known") || strings.Contains(out, "none of") {
		t.Errorf("code %d\n%s", code, out)
	}
	if _, out := ask(append(plan, "-o", "json")...); !strings.Contains(out, `"alsoFeeds": null`) || !strings.Contains(out, `"others": []`) {
		t.Error(out)
	}
	if _, out := ask("where"); !strings.Contains(strings.SplitN(out, "\n", 2)[0], "is not known") {
		t.Error(out)
	}
	if _, out := ask("where", "-o", "json"); strings.Count(out, `"alsoFeeds": null`) != 3 {
		t.Error(out)
	}

	also := []string{"--also", "apps/staging"}
	if code, out := ask(append(plan, also...)...); code != 1 || !strings.Contains(out, "also feeds apps/staging") {
		t.Errorf("code %d\n%s", code, out)
	}
	chart := append([]string{"plan", "orders@2.5.0", "to", "prod", "--chart"}, also...)
	if code, out := ask(chart...); code != 0 || !strings.Contains(out, "apps/staging, the other environment that is known, is not fed by it") {
		t.Errorf("code %d\n%s", code, out)
	}
	if _, out := ask(append(chart, "-o", "json")...); !strings.Contains(out, `"alsoFeeds": []`) {
		t.Error(out)
	}
	if code, out := ask(append(plan, "--also", "apps/absent")...); code != 1 || !strings.Contains(out, "There is no directory apps/absent.") {
		t.Errorf("code %d\n%s", code, out)
	}
	all := []string{"where", "orders", "--tree", dir, "--also", "apps/staging", "--also", "apps/production", "-o", "json"}
	if code, out, _ := ferry(t, "", all...); code != 0 || !strings.Contains(out, `"environment": "apps/staging"`) || !strings.Contains(out, `"environment": "apps/production"`) {
		t.Errorf("code %d\n%s", code, out)
	}
}

// A root may be written as on this machine.
func TestRootsOfThisMachine(t *testing.T) {
	dir := twoEnvironments(t)
	code, out, _ := ferry(t, "", "where", "orders", "--tree", dir, "--path", filepath.Join(dir, "clusters/production"))
	if code != 0 || !strings.Contains(out, "in clusters/production") {
		t.Errorf("code %d\n%s", code, out)
	}
	for _, root := range []string{t.TempDir(), filepath.Dir(dir), "/clusters/production"} {
		code, out, log := ferry(t, "", "where", "--tree", dir, "--path", root)
		if code != exitUsage || out != "" || !strings.Contains(log, "no directory within --tree") {
			t.Errorf("%s: code %d\n%s%s", root, code, out, log)
		}
	}
}

// A root that does not build has no answer, however it is asked about.
func TestARootThatDoesNotBuild(t *testing.T) {
	dir := twoEnvironments(t)
	for file, content := range map[string]string{
		"clusters/production/kustomization.yaml": "resources: [apps.yaml, absent.yaml]\n",
		"clusters/production/gotk-sync.yaml": "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: flux-system, namespace: flux-system}\n" +
			"spec: {path: ./clusters/production, sourceRef: {kind: GitRepository, name: flux-system}}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"where", "--path", "clusters/production"},
		{"where", "orders", "in", "prod", "--path", "clusters/production"},
		{"plan", "orders@2.5.0", "to", "prod", "--chart", "--path", "clusters/production"},
	} {
		code, out, log := ferry(t, "", append(args, "--tree", dir)...)
		if code != exitRefused || log != "" || !strings.Contains(out, "clusters/production does not build") || !strings.Contains(out, "absent.yaml") {
			t.Errorf("%v: code %d\n%s%s", args, code, out, log)
		}
		code, out, log = ferry(t, "", append(args, "--tree", dir, "-o", "json")...)
		var got struct {
			Refused struct{ Code, Reason string }
		}
		if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitRefused || log != "" || got.Refused.Code != "layout" || !strings.Contains(got.Refused.Reason, "absent.yaml") {
			t.Errorf("%v: code %d, %v\n%s%s", args, code, err, out, log)
		}
	}
	// Of several, the others are answered, and of the one it is said.
	if code, _, log := ferry(t, "", "where", "--tree", dir, "--path", "clusters/staging", "-o", "json"); code != exitDone || !strings.Contains(log, "Whether any of these feeds clusters/production is not known. ") {
		t.Errorf("code %d\n%s", code, log)
	}
	code, out, log := ferry(t, "", "where", "--tree", dir)
	if code != exitDone || !strings.Contains(out, "in clusters/staging") || !strings.Contains(log, "ferry: clusters/production: absent.yaml") {
		t.Errorf("code %d\n%s%s", code, out, log)
	}
	if err := os.RemoveAll(filepath.Join(dir, "clusters/staging")); err != nil {
		t.Fatal(err)
	}
	if code, out, log := ferry(t, "", "where", "--tree", dir, "-o", "json"); code != exitRefused || log != "" || !strings.Contains(out, `"code": "layout"`) {
		t.Errorf("code %d\n%s%s", code, out, log)
	}
}

// Where one environment holds several applications with a line in common, the answer names them.
func TestPlanNamesWhatElseOfItsEnvironmentChanges(t *testing.T) {
	dir := twoEnvironments(t)
	if err := os.WriteFile(filepath.Join(dir, "clusters/hub.yaml"), []byte(`apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: production, namespace: production}
spec: {path: ./apps/production, targetNamespace: production, sourceRef: {kind: GitRepository, name: flux-system, namespace: flux-system}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: staging, namespace: staging}
spec: {path: ./apps/staging, targetNamespace: staging, sourceRef: {kind: GitRepository, name: flux-system, namespace: flux-system}}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, env := range []string{"production", "staging"} {
		if err := os.RemoveAll(filepath.Join(dir, "clusters", env)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "hub"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "clusters/hub.yaml"), filepath.Join(dir, "hub/all.yaml")); err != nil {
		t.Fatal(err)
	}
	args := []string{"plan", "production/orders@v2", "to", "stage", "--image", "orders", "--tree", dir, "--path", "hub"}
	code, out, log := ferry(t, "", append(args, "-o", "json")...)
	if code != exitRefused || log != "" || !strings.Contains(out, `"alsoChanges": [
      "HelmRelease/staging/orders"
    ]`) || strings.Contains(out, "stage: ") {
		t.Errorf("code %d\n%s%s", code, out, log)
	}
	code, out, _ = ferry(t, "", append(args, "--shared")...)
	if code != exitDone || !strings.Contains(out, "it also changes HelmRelease/staging/orders in stage") {
		t.Errorf("code %d\n%s", code, out)
	}
	if _, out, _ = ferry(t, "", append(args, "--shared", "-o", "json")...); !strings.Contains(out, `"HelmRelease/staging/orders"`) || !strings.Contains(out, `"namespace": "production"`) {
		t.Error(out)
	}
}

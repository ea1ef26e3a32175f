package helm

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/render"
)

// TestWhatIsWrongWithAChartInGit is told by a sentence.
func TestWhatIsWrongWithAChartInGit(t *testing.T) {
	r := NewRenderer(New(time.Now))
	large := map[string]string{}
	for _, name := range strings.Split("abcdefg", "") {
		large["charts/web/files/"+name] = strings.Repeat("x", maxFile)
	}
	for name, test := range map[string]struct {
		spec    string // of the chart
		ignore  string // of the GitRepository
		more    map[string]string
		without bool // files
		want    string
	}{
		"no files":             {"{chart: charts/web}", "", nil, true, "not at hand"},
		"no directory":         {"{chart: charts/other}", "", nil, false, "The directory charts/other"},
		"outside":              {"{chart: ../../../etc}", "", nil, false, "The directory etc "},
		"ignored":              {"{chart: charts/web}", "/*", nil, false, "cannot be read"},
		"no chart":             {"{chart: charts}", "", nil, false, "cannot be read"},
		"bad values":           {"{chart: charts/web}", "", map[string]string{"charts/web/values.yaml": "a: ["}, false, "values.yaml"},
		"a large file":         {"{chart: charts/web}", "", map[string]string{"charts/web/files/a": strings.Repeat("x", maxFile+1)}, false, "larger than 5 MB"},
		"a large chart":        {"{chart: charts/web}", "", large, false, "larger than 32 MB"},
		"no values file":       {"{chart: charts/web, valuesFiles: [values/a.yaml]}", "", nil, false, "The file values/a.yaml"},
		"a values file inside": {"{chart: charts/web, valuesFiles: [values-a.yaml]}", "", map[string]string{"charts/web/values-a.yaml": "a: 1"}, false, "The file values-a.yaml"}, // Flux looks from the repository's root
		"a dependency":         {"{chart: charts/web}", "", map[string]string{"charts/web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies: [{name: db, version: 1.x, repository: \"https://example.com\"}]"}, false, "depends on db of https://example.com"},
		"another version of it": {"{chart: charts/web}", "", map[string]string{
			"charts/web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies: [{name: db, version: 1.x, repository: \"file://../db\"}]",
			"charts/db/Chart.yaml":  "apiVersion: v2\nname: db\nversion: 2.0.0\n",
		}, false, "depends on db 1.x, and its repository has 2.0.0"},
		"a cluster that is too old": {"{chart: charts/web}", "", map[string]string{"charts/web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\nkubeVersion: \">=1.99.0\"\n"}, false, "wants Kubernetes >=1.99.0"},
	} {
		t.Run(name, func(t *testing.T) {
			all := chartOf(map[string]string{"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"})
			for file, text := range test.more {
				all[file] = text
			}
			release := render.Release{
				Object: object(t, "{apiVersion: helm.toolkit.fluxcd.io/v2, kind: HelmRelease, metadata: {name: web, namespace: shop}, spec: {chart: {spec: "+strings.Replace(test.spec, "{", "{sourceRef: {kind: GitRepository, name: fleet}, ", 1)+"}}}"),
				Source: object(t, gitRepository),
			}
			if test.ignore != "" {
				release.Source.Fields["spec"].(map[string]any)["ignore"] = test.ignore
			}
			if !test.without {
				release.Files = files(all)
			}
			_, err := r.Expand(t.Context(), release)
			if got := refused(t, err); !strings.Contains(got, test.want) {
				t.Errorf("%q, want it to say %q", got, test.want)
			}
		})
	}
}

// TestWhatIsWrongWithValues is told, and no value with it.
func TestWhatIsWrongWithValues(t *testing.T) {
	r := NewRenderer(New(time.Now))
	for name, test := range map[string]struct{ spec, want string }{
		"not there":    {"valuesFrom: [{kind: Secret, name: gone}]", "could not resolve Secret chart values reference 'shop/gone'"},
		"no such key":  {"valuesFrom: [{kind: Secret, name: keys, valuesKey: gone}]", "key not found"},
		"another kind": {"valuesFrom: [{kind: Pod, name: keys}]", "unsupported"},
		"not YAML":     {"valuesFrom: [{kind: Secret, name: keys, valuesKey: broken}]", "The values cannot be put together"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.Expand(t.Context(), render.Release{
				Object: object(t, fromGit+"  "+test.spec+"\n"), Source: object(t, gitRepository), Files: files(chartOf(nil)),
				Maps: []render.Object{object(t, `{apiVersion: v1, kind: Secret, metadata: {name: keys, namespace: shop}, stringData: {broken: "s3cret: ["}}`)},
			})
			if got := refused(t, err); !strings.Contains(got, test.want) || strings.Contains(got, "s3cret") {
				t.Errorf("%q, want it to say %q", got, test.want)
			}
		})
	}
}

func TestAnOCIRepository(t *testing.T) {
	s := openShop(t)
	digests := map[string]string{}
	for _, version := range []string{"1.0.0", "1.1.0", "1.2.0-rc.1", "2.0.0"} {
		all := map[string]string{"Chart.yaml": "apiVersion: v2\nname: web\nversion: " + version + "\n", "templates/a.yaml": web["templates/a.yaml"]}
		digests[version] = s.publish(t, "web", version, packed(t, "web", all)).String()
	}
	r := NewRenderer(New(time.Now))
	for ref, want := range map[string]string{
		"{tag: 1.0.0}": "1.0.0", "{semver: 1.x, tag: 2.0.0}": "1.1.0", `{semver: ">=1.0.0-0 <2"}`: "1.2.0-rc.1", `{semver: "*", semverFilter: "^1"}`: "1.1.0",
		`{digest: "` + digests["1.0.0"] + `", semver: 2.x}`: "1.0.0", "{tag: gone}": "", "{semver: 9.x}": "", `{semver: "*", semverFilter: "("}`: "",
	} {
		for _, selector := range []string{"{}", "{mediaType: " + chartTypes[0] + ", operation: copy}", "{mediaType: other}"} {
			got, err := r.Expand(t.Context(), render.Release{
				Object: object(t, "{apiVersion: helm.toolkit.fluxcd.io/v2, kind: HelmRelease, metadata: {name: web, namespace: shop}, spec: {chartRef: {kind: OCIRepository, name: web}}}"),
				Source: object(t, "{apiVersion: source.toolkit.fluxcd.io/v1, kind: OCIRepository, metadata: {name: web, namespace: shop}, spec: {insecure: true, url: \""+s.OCI+"/web\", ref: "+ref+", layerSelector: "+selector+"}}"),
			})
			expected := ""
			if want != "" && !strings.Contains(selector, "other") {
				expected = want + "+" + strings.TrimPrefix(digests[want], "sha256:")[:12]
			}
			if _, ok := errors.AsType[*gitops.Refusal](err); got.Version != expected || (expected == "") != ok {
				t.Errorf("%s %s: version %q, want %q (%v)", ref, selector, got.Version, expected, err)
			}
		}
	}
}

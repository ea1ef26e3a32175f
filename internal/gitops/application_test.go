package gitops

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	chart = Version{Kind: ChartVersion, Name: "podinfo", Value: "6.9.2"}
	main  = Version{Kind: ImageTag, Name: "registry.example.com:5000/acme/podinfo", Value: "6.9.2", Container: "podinfo"}
	proxy = Version{Kind: ImageTag, Name: "example/proxy", Value: "1", Container: "sidecar"}
	other = Version{Kind: ImageTag, Name: "other/proxy", Container: "second"}
	setup = Version{Kind: ImageTag, Name: "example/podinfo", Container: "migrate", Init: true}
)

func podinfo(versions ...Version) Application {
	return Application{Key: Key{Environment: "prod", Namespace: "apps", Kind: "Deployment", Name: "podinfo"}, Versions: versions}
}

// released is podinfo as a HelmRelease whose workloads run images.
func released(versions []Version, images ...string) Application {
	app := podinfo(versions...)
	app.Kind, app.Helm = "HelmRelease", &HelmRelease{}
	for _, image := range images {
		name, _, _ := SplitImage(image)
		app.Workloads = append(app.Workloads, Workload{Containers: []Container{{Name: lastElement(name) + "-run", Image: image}}})
	}
	return app
}

func TestRelease(t *testing.T) {
	generic := Version{Kind: ChartVersion, Name: "app-template", Value: "4.0.0"}
	for name, tc := range map[string]struct {
		app  Application
		want *Version
	}{
		"the only one":                              {podinfo(proxy), &proxy},
		"the chart before images":                   {podinfo(main, chart), &chart},
		"the container of that name":                {podinfo(proxy, main), &main},
		"several others":                            {podinfo(proxy, other), nil},
		"beside an init container":                  {podinfo(setup, proxy), &proxy},
		"only an init container":                    {podinfo(setup), &setup},
		"none":                                      {podinfo(), nil},
		"of a HelmRelease, the chart of that name":  {released([]Version{chart, proxy}), &chart},
		"of a HelmRelease, its only chart":          {released([]Version{generic}), &generic},
		"of a HelmRelease, its only image":          {released([]Version{proxy}), &proxy},
		"of a HelmRelease, another chart and image": {released([]Version{generic, main}), nil},
		"of a HelmRelease, several images":          {released([]Version{main, proxy}), nil},
	} {
		got, ok := tc.app.Release()
		if ok != (tc.want != nil) {
			t.Errorf("%s: %v", name, ok)
		}
		if tc.want != nil && got != *tc.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestSelect(t *testing.T) {
	all := podinfo(chart, main, proxy, other)
	named := Version{Kind: ImageTag, Name: "example/api", Value: "3", Container: "app", Path: "spec.values.backend.image.tag"}
	for name, tc := range map[string]struct {
		app   Application
		chart bool
		image string
		want  Version
		code  Code
	}{
		"release":                      {app: all, want: chart},
		"chart":                        {app: all, chart: true, want: chart},
		"container":                    {app: all, image: "sidecar", want: proxy},
		"image":                        {app: all, image: "example/proxy", want: proxy},
		"image with a registry":        {app: all, image: "registry.example.com:5000/acme/podinfo", want: main},
		"last element":                 {app: all, image: "podinfo", want: main},
		"an init container":            {app: podinfo(main, setup), image: "migrate", want: setup},
		"an image of both":             {app: podinfo(main, setup), image: "podinfo", want: main},
		"last element of two":          {app: all, image: "proxy", code: Ambiguous},
		"part of an element":           {app: all, image: "prox", code: NotFound},
		"middle element":               {app: all, image: "acme", code: NotFound},
		"a chart where there is none":  {app: podinfo(main), chart: true, code: NotFound},
		"a chart is no image":          {app: podinfo(chart), image: "podinfo", code: NotFound},
		"several, none chosen":         {app: podinfo(proxy, other), code: Ambiguous},
		"nothing at all":               {app: podinfo(), code: NotFound},
		"what values call it":          {app: released([]Version{chart, named}), image: "backend", want: named},
		"a container of another image": {app: released([]Version{chart, proxy}, "other/proxy:2"), image: "proxy-run", code: NotFound},
		"another container of it":      {app: released([]Version{chart, named}, "other/proxy:2", "example/api:3"), image: "api-run", want: named},
	} {
		got, err := tc.app.Select(tc.chart, tc.image)
		if tc.code == "" {
			if err != nil || got != tc.want {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
			continue
		}
		refusal, ok := errors.AsType[*Refusal](err)
		if !ok || refusal.Code != tc.code {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(refusal.Details) != len(tc.app.Versions) {
			t.Errorf("%s: the choice is %q", name, refusal.Details)
		}
	}
	_, err := podinfo(proxy, other).Select(false, "")
	want := []string{"image example/proxy is at 1: --image sidecar", "image other/proxy is at no version: --image second"}
	if refusal, _ := errors.AsType[*Refusal](err); refusal == nil || cmp.Diff(want, refusal.Details) != "" {
		t.Errorf("the choice is %v", err)
	}
}

func TestAliasesAreTheNamesOfItsParts(t *testing.T) {
	app := podinfo(main)
	for _, name := range []string{"podinfo", "worker", "worker"} {
		app.Workloads = append(app.Workloads, Workload{Object: Object{Kind: "Deployment", Name: name}})
	}
	if diff := cmp.Diff([]string{"podinfo", "worker"}, app.Aliases()); diff != "" {
		t.Error(diff)
	}
}

func TestKeysBesideOneAnother(t *testing.T) {
	a := Key{"stage", "apps", "HelmRelease", "api"}
	for _, b := range []Key{{"prod", "apps", "HelmRelease", "podinfo"}, {"prod", "live", "HelmRelease", "api"}, {"stage", "apps", "StatefulSet", "api"}, {"test", "apps", "HelmRelease", "api"}} {
		if a.Compare(b) >= 0 || b.Compare(a) <= 0 {
			t.Errorf("%v is not before %v", a, b)
		}
	}
}

func TestRefusalSpeaksToPeopleAndToTheLog(t *testing.T) {
	cause := errors.New("dial tcp: refused")
	r := &Refusal{Code: Unreachable, Reason: "prod did not answer.", Details: []string{"a", "b"}, Cause: cause}
	if got := r.Error(); got != "unreachable: prod did not answer. (a; b): dial tcp: refused" {
		t.Error(got)
	}
	if !errors.Is(r, cause) {
		t.Error("the cause is lost")
	}
	if (&Refusal{Code: Shared, Title: "Mine"}).Headline() != "Mine" {
		t.Error("the title is lost")
	}
	for _, code := range []Code{NotFound, Ambiguous, Shared, BadVersion, NoSuchVersion, Range, Digest, Alias, DuplicateKey, Secret, NotYAML, Layout, NotInGit,
		NotWritable, OutsideSource, BranchOnly, Template, Unproved, Usage, Unreachable, Denied, Changed, Expired, Config, Busy, Internal} {
		if h := (&Refusal{Code: code}).Headline(); h == "" || strings.HasSuffix(h, ".") {
			t.Errorf("%s has the headline %q", code, h)
		}
	}
}

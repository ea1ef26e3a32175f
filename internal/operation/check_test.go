package operation_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/operation"
)

// apis are Flux's custom resources as a cluster serves them, in the order of kustomize, helm, source and OCI.
func apis(kustomize, helm, source, oci string) []operation.API {
	api := func(resource, group, serves, without string, reads ...string) operation.API {
		return operation.API{Resource: resource, Group: group + ".toolkit.fluxcd.io", Reads: reads, Serves: strings.Fields(serves), Without: without}
	}
	return []operation.API{
		api("kustomizations", "kustomize", kustomize, "", "v1"), api("helmreleases", "helm", helm, "No Helm.", "v2"),
		api("gitrepositories", "source", source, "", "v1"), api("ocirepositories", "source", oci, "No OCI.", "v1", "v1beta2"),
	}
}

func TestWhichFluxThereIs(t *testing.T) {
	for name, test := range map[string]struct {
		apis []operation.API
		fact string
		want []string // wrong, a line each begins so
	}{
		"2.7":                 {apis("v1 v1beta2", "v2", "v1", "v1 v1beta2"), "Flux 2.6 or later (kustomize.toolkit v1, v1beta2; helm.toolkit v2; source.toolkit v1, v1beta2)", nil},
		"2.3":                 {apis("v1", "v2 v2beta2", "v1", "v1beta2"), "Flux 2.3 to 2.5 (", nil},
		"2.2":                 {apis("v1", "v2beta2", "v1", "v1beta2"), "an old Flux", []string{"✗ Flux is older than 2.3"}},
		"none":                {apis("", "", "", ""), "no Flux", []string{"✗ Flux is not installed"}},
		"no helm-controller":  {apis("v1", "", "v1", "v1"), "Flux (", []string{"! The custom resource helmreleases.helm.toolkit.fluxcd.io is not there. No Helm."}},
		"no kustomize either": {apis("", "", "v1", "v1"), "Flux (", []string{"✗ The custom resource kustomizations.", "! The custom resource helmreleases."}},
	} {
		s := operation.Observed("prod", operation.Cluster{APIs: test.apis})
		if !strings.HasPrefix(s.About(), test.fact) {
			t.Errorf("%s: %q, want %q", name, s.About(), test.fact)
		}
		wrong := s.Wrong()
		if len(wrong) != len(test.want) {
			t.Fatalf("%s: %+v", name, wrong)
		}
		for i, want := range test.want {
			if !strings.HasPrefix(wrong[i].Line(), want) || wrong[i].Fix != "flux install" {
				t.Errorf("%s: %+v, want %q", name, wrong[i], want)
			}
		}
	}
}

func TestClocks(t *testing.T) {
	for skew, want := range map[time.Duration]string{
		30 * time.Second:  "✓ ",
		-30 * time.Second: "✓ ",
		31 * time.Second:  "! The clock of GitHub is 31s ahead of ours.",
		-2 * time.Minute:  "! The clock of GitHub is 2m0s behind ours.",
	} {
		if got := operation.Clock("GitHub", skew).Line(); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", skew, got, want)
		}
	}
}

// TestRolesNameAnybody: what is copied from a chat is the role that was meant, whatever users are called.
func TestRolesNameAnybody(t *testing.T) {
	for _, name := range []string{"ferry", "jane@example.com", "no", "1e3", "a: b", `"quoted"`, `back\slash`, "<!channel>", "```", "{{ . }}", "Jänner 😀", "line\nbreak", "*", "system:nodes"} {
		c := operation.Cluster{Subjects: []operation.Subject{{Kind: "User", Name: name}}, Rights: []operation.Right{{Verb: "impersonate", Resource: "users", Name: name}}}
		fix := operation.Observed("Home cluster", c).Wrong()[0].Fix
		role, binding, _ := strings.Cut(fix, "\n---\n")
		var read struct {
			Rules    []struct{ ResourceNames []string }
			Subjects []struct{ Name string }
		}
		for _, document := range []string{role, binding} {
			if err := yaml.Unmarshal([]byte(document), &read); err != nil {
				t.Errorf("%q: %v\n%s", name, err, fix)
			}
		}
		if len(read.Rules) != 1 || len(read.Rules[0].ResourceNames) != 1 || read.Rules[0].ResourceNames[0] != name || len(read.Subjects) != 1 || read.Subjects[0].Name != name {
			t.Errorf("%q is read as %+v from\n%s", name, read, fix)
		}
	}
}

// deserted has one environment, which nothing is known of, and no rule for who may change it.
type deserted struct{}

func (deserted) Environments() []string                                { return []string{"prod"} }
func (deserted) Probe(context.Context, string) []operation.Cluster     { return nil }
func (deserted) ProbeHome(context.Context, []string) operation.Cluster { return operation.Cluster{} }
func (deserted) Access(string) gitops.Access                           { return gitops.Access{} }
func (deserted) Origins(context.Context, string) ([]operation.Origin, []operation.Finding) {
	return nil, nil
}
func (deserted) Way(context.Context, string, operation.Origin) operation.Finding {
	return operation.Finding{}
}
func (deserted) CheckToken(context.Context) operation.Section { return operation.Section{} }
func (deserted) CheckRepository(context.Context, string, []string) operation.Section {
	return operation.Section{}
}

// TestRuleToWrite: what is printed for the configuration is one that it takes, also for who has no name.
func TestRuleToWrite(t *testing.T) {
	for by, want := range map[string]string{"slack:U1": "slack:U1", `name:Jane "J" Doe`: `name:Jane "J" Doe`, "name:": "slack:U024BE7LH", "name:a\nb": "slack:U024BE7LH"} {
		found, err := operation.Check(t.Context(), deserted{}, deserted{}, deserted{}, gitops.Check{}, by)
		if err != nil || len(found.Fixes()) != 1 {
			t.Fatalf("%q: %v, %+v", by, err, found)
		}
		var config struct{ Access struct{ Default []string } }
		if err := yaml.Unmarshal([]byte(found.Fixes()[0].Code), &config); err != nil || len(config.Access.Default) != 1 || config.Access.Default[0] != want {
			t.Errorf("%q: %v in %s (%v)", by, config, found.Fixes()[0].Code, err)
		}
	}
}

package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/operation"
)

var protobuf = serializer.NewCodecFactory(scheme).UniversalDeserializer()

// broken is a resource whose rights the server of reviews cannot tell.
const broken = "broken"

// reviews is an API server of the account flux-system/ferry, which says who somebody is and what he may. Where hidden,
// nobody whom it impersonates may ask that. It gives a file with a kubeconfig of the account.
func reviews(t *testing.T, hidden bool, may func(authorizationv1.ResourceAttributes) bool) (file string) {
	t.Helper()
	return reviewing(t, hidden, false, may)
}

// reviewing is reviews of a cluster that may have image automation.
func reviewing(t *testing.T, hidden, automated bool, may func(authorizationv1.ResourceAttributes) bool) (file string) {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/version":
			fmt.Fprint(w, `{"gitVersion": "v1.34.2"}`)
		case "/apis/authentication.k8s.io/v1/selfsubjectreviews":
			as := r.Header.Get("Impersonate-User")
			if as != "" && hidden {
				w.WriteHeader(http.StatusForbidden)
				fmt.Fprint(w, `{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403}`)
				return
			}
			var review authenticationv1.SelfSubjectReview
			review.APIVersion, review.Kind = "authentication.k8s.io/v1", "SelfSubjectReview"
			if review.Status.UserInfo.Username = as; as == "" {
				review.Status.UserInfo.Username = "system:serviceaccount:flux-system:ferry"
			}
			_ = json.NewEncoder(w).Encode(review)
		case "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews":
			var review authorizationv1.SelfSubjectAccessReview
			raw, err := io.ReadAll(r.Body)
			if err == nil {
				_, _, err = protobuf.Decode(raw, nil, &review)
			}
			if err != nil {
				t.Errorf("%q: %v", raw, err)
				return
			}
			review.APIVersion, review.Kind = "authorization.k8s.io/v1", "SelfSubjectAccessReview"
			if review.Status.Allowed = may(*review.Spec.ResourceAttributes); review.Spec.ResourceAttributes.Resource == broken {
				w.WriteHeader(http.StatusInternalServerError)
			}
			_ = json.NewEncoder(w).Encode(review)
		case "/apis/" + imageGroup:
			if !automated {
				http.NotFound(w, r)
				return
			}
			fmt.Fprint(w, `{"kind": "APIGroup", "apiVersion": "v1", "name": "image.toolkit.fluxcd.io"}`)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	file = filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, kubeconfig(server.URL, `"token": "t"`), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// lacks are the rights that are not there, in order.
func lacks(c operation.Cluster) (words []string) {
	for _, r := range c.Rights {
		if !r.Allowed {
			words = append(words, r.String())
		}
	}
	slices.Sort(words)
	return words
}

// TestWhoMayNotBeImpersonated: the account itself lacks that right, so a role binds it.
func TestWhoMayNotBeImpersonated(t *testing.T) {
	for as, want := range map[string][]string{
		`"as": "ferry", "as-groups": ["deployers"]`:   {"impersonate groups deployers", "impersonate users ferry"},
		`"as": "system:serviceaccount:chatops:ferry"`: {"impersonate serviceaccounts ferry in namespace chatops"},
	} {
		file := reviews(t, true, func(a authorizationv1.ResourceAttributes) bool { return a.Verb != "impersonate" })
		f := newFleet(t, kubeconfig("https://127.0.0.1:1", as+`, "token": "t"`), Environment{Name: "prod", Cluster: Access{KubeconfigFile: file}, Flux: Access{KubeconfigFile: file}})
		found := f.Probe(t.Context(), "prod")[0]
		if diff := cmp.Diff(want, lacks(found)); diff != "" || found.Err != nil {
			t.Errorf("%v: %s", found.Err, diff)
		}
		if want := []operation.Subject{{Kind: "ServiceAccount", Namespace: "flux-system", Name: "ferry"}}; !slices.Equal(found.Subjects, want) {
			t.Errorf("subjects %v", found.Subjects)
		}
	}
}

// TestNothingIsFineThatWasNotLookedAt: somebody who may not even ask what he may.
func TestNothingIsFineThatWasNotLookedAt(t *testing.T) {
	file := reviews(t, true, func(authorizationv1.ResourceAttributes) bool { return true })
	f := newFleet(t, kubeconfig("https://127.0.0.1:1", `"as": "ferry", "token": "t"`), Environment{Name: "prod", Cluster: Access{KubeconfigFile: file}, Flux: Access{KubeconfigFile: file}})
	if r := refused(t, f.Probe(t.Context(), "prod")[0].Err, gitops.Denied); !strings.Contains(r.Reason, "selfsubjectreviews") {
		t.Error(r.Reason)
	}
}

// TestRightsToImageAutomation: they are asked for where there is some, with what to grant.
func TestRightsToImageAutomation(t *testing.T) {
	for automated, want := range map[bool][]string{false: nil, true: {"list imagepolicies (image.toolkit.fluxcd.io)", "list imageupdateautomations (image.toolkit.fluxcd.io)"}} {
		file := reviewing(t, false, automated, func(a authorizationv1.ResourceAttributes) bool { return a.Group != imageGroup })
		f := newFleet(t, kubeconfig("https://127.0.0.1:1", `"token": "t"`), Environment{Name: "prod", Cluster: Access{KubeconfigFile: file}, Flux: Access{KubeconfigFile: file}})
		found := f.Probe(t.Context(), "prod")[0]
		if diff := cmp.Diff(want, lacks(found)); diff != "" || found.Err != nil {
			t.Fatalf("with automation %t: %v: %s", automated, found.Err, diff)
		}
		var told []operation.Finding
		for _, finding := range operation.Observed("prod", found).Findings {
			if strings.Contains(finding.Text, "imagepolicies") {
				told = append(told, finding)
			}
		}
		switch {
		case !automated && len(told) > 0:
			t.Errorf("without automation: %+v", told)
		case automated && (len(told) != 1 || told[0].State != operation.Mind || !strings.Contains(told[0].Text, "whether image automation would undo a change") ||
			!strings.Contains(told[0].Fix, `resources: [imagepolicies, imageupdateautomations], verbs: [list]`)):
			t.Errorf("%+v", told)
		}
	}
}

// TestWhatCouldNotBeAskedIsNotMissing: a role would not mend it.
func TestWhatCouldNotBeAskedIsNotMissing(t *testing.T) {
	file := reviews(t, false, func(authorizationv1.ResourceAttributes) bool { return true })
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	f := newFleet(t, raw)
	found := f.probe(t.Context(), "prod", "its cluster", Access{}, func(ctx context.Context, p *prober) error {
		return p.ask(ctx, []operation.Right{{Verb: "list", Resource: broken}}, nil)
	})
	refused(t, found.Err, gitops.Unreachable)
	if missing := lacks(found); len(missing) > 0 {
		t.Errorf("missing: %q", missing)
	}
}

// TestTwoClustersAreProbedApart: workloads in the one, Flux's objects in the other, and Secrets at home.
func TestTwoClustersAreProbedApart(t *testing.T) {
	nothing := func(authorizationv1.ResourceAttributes) bool { return false }
	pods, flux, home := reviews(t, false, nothing), reviews(t, false, nothing), reviews(t, false, nothing)
	raw, err := os.ReadFile(home)
	if err != nil {
		t.Fatal(err)
	}
	secret := SecretRef{"ferry", "prod", "kubeconfig"}
	f, err := New(raw, []Environment{
		{Name: "hub", Cluster: Access{KubeconfigFile: pods}, Flux: Access{KubeconfigFile: flux}, Namespaces: []string{"shop"}},
		{Name: "prod", Cluster: Access{Secret: &secret}, Flux: Access{Secret: &secret}},
	}, SecretRef{"ferry", "github", "token"})
	if err != nil {
		t.Fatal(err)
	}
	found := f.Probe(t.Context(), "hub")
	if len(found) != 2 || found[0].Err != nil || found[1].Err != nil {
		t.Fatalf("%+v", found)
	}
	for i, want := range []string{"apps", "toolkit"} {
		missing := lacks(found[i])
		if len(missing) == 0 || slices.ContainsFunc(missing, func(r string) bool {
			return !strings.Contains(r, want) && !strings.Contains(r, "pods in namespace shop") && (i == 0 || r != "get configmaps" && r != "get secrets")
		}) {
			t.Errorf("%s: %q", found[i].Name, missing)
		}
	}
	for environment, want := range map[string][]string{
		"hub":  {"get namespaces kube-system", "get secrets github in namespace ferry"},
		"prod": {"get namespaces kube-system", "get secrets github in namespace ferry", "get secrets prod in namespace ferry"},
	} {
		if diff := cmp.Diff(want, lacks(f.ProbeHome(t.Context(), []string{environment}))); diff != "" {
			t.Errorf("%s: %s", environment, diff)
		}
	}
	own := []string{"get namespaces kube-system", "get secrets github in namespace ferry"}
	const kept = "create configmaps in namespace chatops; delete configmaps in namespace chatops; get configmaps in namespace chatops; " +
		"list configmaps in namespace chatops; update configmaps in namespace chatops"
	want := append(strings.Split(kept, "; "), own...)
	slices.Sort(want)
	for source, apart := range map[bool][]string{
		false: {"ferry may not create, delete, get, list, update configmaps in namespace chatops. " + withoutKept},
		true:  {"ferry may not create, get, list, update configmaps in namespace chatops. " + withoutState, "ferry may not delete configmaps in namespace chatops. " + withoutKept},
	} {
		f.Expect("chatops", source)
		home := f.ProbeHome(t.Context(), nil)
		if diff := cmp.Diff(want, lacks(home)); diff != "" {
			t.Errorf("with a source %t: %s", source, diff)
		}
		findings := operation.Observed("Home cluster", home).Findings
		for _, text := range apart {
			if !slices.ContainsFunc(findings, func(f operation.Finding) bool { return f.State == operation.Mind && f.Text == text }) {
				t.Errorf("with a source %t, nothing says %q: %+v", source, text, findings)
			}
		}
	}
}

// TestAnAPIServerSendsNobodyElsewhere: what it says is taken from itself alone.
func TestAnAPIServerSendsNobodyElsewhere(t *testing.T) {
	asked := make(chan string, 100)
	inside := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.Method + " " + r.URL.Path }))
	defer inside.Close()
	for _, code := range []int{http.StatusFound, http.StatusTemporaryRedirect} {
		server := httptest.NewServer(http.RedirectHandler(inside.URL+"/latest/meta-data", code))
		defer server.Close()
		f := newFleet(t, kubeconfig(server.URL, ""), Environment{Name: "prod"})
		if c := f.Probe(t.Context(), "prod"); c[0].Err == nil {
			t.Errorf("%d: %+v", code, c)
		}
		if _, err := f.Applications(t.Context(), "prod"); err == nil {
			t.Errorf("%d: no error", code)
		}
	}
	if len(asked) > 0 {
		t.Errorf("asked elsewhere: %s", <-asked)
	}
}

func TestAnAnswerWithoutAnEnd(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for page := make([]byte, 1<<20); ; {
			if _, err := w.Write(page); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	config, err := restConfig(kubeconfig(server.URL, ""), Access{})
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if n, err := io.Copy(io.Discard, io.LimitReader(response.Body, 2*maxAnswer)); n > maxAnswer || err == nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// TestRightsAreForSomebody: a role for those without a credential would be one for everybody.
func TestRightsAreForSomebody(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/version" {
			fmt.Fprint(w, `{"gitVersion": "v1.34.2"}`)
			return
		}
		if r.Header.Get("Impersonate-User") != "" {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403}`)
			return
		}
		fmt.Fprint(w, `{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "status": {"userInfo": {"username": "system:anonymous"}}}`)
	}))
	defer server.Close()
	for _, user := range []string{"", `"as": "ferry"`} { // itself, and where it may not be whom it impersonates
		c := newFleet(t, kubeconfig(server.URL, user), Environment{Name: "prod"}).Probe(t.Context(), "prod")[0]
		if r := refused(t, c.Err, gitops.Denied); r.Reason != "prod does not know who ferry is. Put the token of a service account into its kubeconfig." || len(c.Subjects)+len(c.Rights) > 0 {
			t.Errorf("{%s}: %+v: %v", user, c, r)
		}
	}
}

// TestVersionsOfAnAPI: names that are none, and very many, are not looked at.
func TestVersionsOfAnAPI(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		if strings.Count(r.URL.Path, "/") > 2 {
			fmt.Fprint(w, `{"resources": [{"name": "kustomizations"}, {"name": "kustomizations"}]}`)
			return
		}
		fmt.Fprintf(w, `{"versions": [{"version": "v1"}, {"version": "../../api/v1/secrets"}, {"version": "<!channel>"} %s]}`, strings.Repeat(`, {"version": "v2"}`, 1000))
	}))
	defer server.Close()
	config, err := restConfig(kubeconfig(server.URL, ""), Access{})
	if err != nil {
		t.Fatal(err)
	}
	p := &prober{found: &operation.Cluster{}}
	if p.plain, err = newEndpoint(config); err != nil {
		t.Fatal(err)
	}
	if err := p.apis(t.Context()); err != nil || len(asked) > 3*(1+maxVersions) {
		t.Errorf("%d requests, %v", len(asked), err)
	}
	for _, api := range p.found.APIs {
		if api.Resource == "kustomizations" && !slices.Equal(api.Serves, []string{"v1", "v2"}) {
			t.Errorf("serves %q", api.Serves)
		}
	}
}

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/rest"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/operation"
)

// What ferry does without a right or a custom resource that it can spare.
const (
	withoutPatch = "Without that ferry waits for Flux's own interval."
	withoutHome  = "Without that commits do not say which home cluster they come from."
	withoutHelm  = "Without it there are no HelmReleases to promote."
	withoutOCI   = "Without it nothing comes from OCI repositories."
	withoutMaps  = "Without that ferry knows neither the values nor the variables that ConfigMaps hold."
	withoutKeys  = "Without that reports on pull requests know neither which values Secrets hold nor how sources of charts sign in, and leave out what needs that."
	withoutState = "Without that ferry's source tells nothing, if it is the same user there, and reports on pull requests are not kept, but made again each time."
	withoutKept  = "Without that reports on pull requests are not kept, but made again each time."
	withoutDry   = "Without that, and the same for what else Flux applies, reports on pull requests lay Git over the live objects: Kubernetes lets only those do dry runs who may write."
	withoutRobot = "Without that no card can say whether image automation would undo a change."
)

// Probe looks at an environment's cluster, and at that of its Flux objects if it is another. Nothing is written: reviews
// of access are answered and forgotten.
func (f *Fleet) Probe(ctx context.Context, environment string) []operation.Cluster {
	i := slices.IndexFunc(f.environments, func(e Environment) bool { return e.Name == environment })
	if i < 0 {
		return nil
	}
	e := f.environments[i]
	workloads := func(ctx context.Context, p *prober) error { return p.ask(ctx, workloadRights(), e.Namespaces) }
	flux := func(ctx context.Context, p *prober) error { return p.flux(ctx, e.FluxNamespaces) }
	if e.Cluster.identity() == e.Flux.identity() {
		return []operation.Cluster{f.probe(ctx, environment, "its cluster", e.Cluster, workloads, flux)}
	}
	var clusters [2]operation.Cluster
	var wg sync.WaitGroup
	wg.Go(func() { clusters[0] = f.probe(ctx, environment, "its cluster", e.Cluster, workloads) })
	wg.Go(func() { clusters[1] = f.probe(ctx, environment, "the cluster of its Flux objects", e.Flux, flux) })
	wg.Wait()
	return clusters[:]
}

// ProbeHome looks at the home cluster, where the kubeconfigs of some environments may lie.
func (f *Fleet) ProbeHome(ctx context.Context, environments []string) operation.Cluster {
	rights := []operation.Right{{Verb: "get", Resource: "namespaces", Name: "kube-system", Without: withoutHome}}
	secrets := slices.Clone(f.secrets)
	for _, e := range f.environments {
		for _, access := range []Access{e.Cluster, e.Flux} {
			if access.Secret != nil && slices.Contains(environments, e.Name) {
				secrets = append(secrets, *access.Secret)
			}
		}
	}
	for _, ref := range secrets {
		right := operation.Right{Verb: "get", Resource: "secrets", Namespace: ref.Namespace, Name: ref.Name}
		if !slices.Contains(rights, right) {
			rights = append(rights, right)
		}
	}
	if f.kept != "" {
		for _, verb := range keptVerbs {
			right := right(configMaps, verb)
			right.Namespace, right.Without = f.kept, withoutKept
			if f.source && slices.Contains(stateVerbs, verb) {
				right.Without = withoutState
			}
			rights = append(rights, right)
		}
	}
	const home = "the home cluster"
	return f.probe(ctx, home, home, Access{}, func(ctx context.Context, p *prober) error { return p.ask(ctx, rights, nil) })
}

// workloadRights are what ferry needs where pods run: lists for what runs and why it does not, to look at one closely, and
// dry runs of it, where workloads stand for all that Flux applies.
func workloadRights() (rights []operation.Right) {
	for _, k := range workloadKinds {
		rights = append(rights, right(k, "list"), right(k, "get"))
		for _, verb := range []string{"patch", "create"} { // dry runs
			r := right(k, verb)
			r.Without = withoutDry
			rights = append(rights, r)
		}
	}
	return append(rights, operation.Right{Verb: "list", Group: "apps", Resource: "replicasets"}, operation.Right{Verb: "list", Resource: "pods"})
}

// fluxRights are what ferry needs where Flux's objects are. Charts are read, but it is their repositories that are asked
// to look again.
func fluxRights() (rights []operation.Right) {
	for _, k := range fluxKinds {
		rights = append(rights, right(k, "list"), right(k, "get"))
		if k.name != helmCharts.name {
			rights = append(rights, patchRight(k))
		}
	}
	maps := right(configMaps, "get")
	maps.Without = withoutMaps
	return append(rights, maps, operation.Right{Verb: "get", Resource: "secrets", Without: withoutKeys})
}

// imageRights are what ferry needs where there is image automation.
func imageRights() (rights []operation.Right) {
	for _, k := range imageKinds {
		rights = append(rights, operation.Right{Verb: "list", Group: imageGroup, Resource: k.resource, Without: withoutRobot})
	}
	return rights
}

func right(k kind, verb string) operation.Right {
	return operation.Right{Verb: verb, Group: k.version.Group, Resource: k.resource}
}

func patchRight(k kind) operation.Right {
	r := right(k, "patch")
	r.Without = withoutPatch
	return r
}

// A prober collects what one cluster says.
type prober struct {
	reader
	found *operation.Cluster
	mu    sync.Mutex
	plain endpoint
}

// probe connects, and has steps done side by side. What fails is in the result.
func (f *Fleet) probe(ctx context.Context, environment, name string, access Access, steps ...func(context.Context, *prober) error) operation.Cluster {
	found := operation.Cluster{Name: name}
	found.Err = func() error {
		client, config, err := f.connected(ctx, environment, access)
		if err != nil {
			return err
		}
		p := &prober{reader: client, found: &found}
		if p.plain, err = newEndpoint(config); err != nil {
			return unusable(access, "has certificates or addresses that cannot be used", err)
		}
		if err := p.reach(ctx); err != nil {
			return err
		}
		if known, err := p.identify(ctx, f, config); err != nil || !known {
			return err
		}
		group, ctx := together(ctx)
		for _, step := range steps {
			group.Go(func() error { return step(ctx, p) })
		}
		return group.Wait()
	}()
	return found
}

// reach asks for the version and the time.
func (p *prober) reach(ctx context.Context) error {
	begin := time.Now()
	var info version.Info
	header, err := p.plain.get(ctx, "version", &info)
	if err != nil {
		return refusal(ctx, p.environment, "get", "the version", "", err)
	}
	p.found.Kubernetes = info.GitVersion
	p.found.Skew = gitops.Skew(header.Get("Date"), begin, time.Now())
	return nil
}

// identify finds out as whom the cluster knows ferry. It is false where ferry may not be whom it impersonates: then the
// rights that it lacks for that are all that can be told.
func (p *prober) identify(ctx context.Context, f *Fleet, config *rest.Config) (bool, error) {
	var review authenticationv1.SelfSubjectReview
	err := p.Create(ctx, &review)
	as := config.Impersonate
	switch {
	case err == nil && len(as.Groups) > 0:
		for _, g := range as.Groups {
			p.found.Subjects = append(p.found.Subjects, operation.Subject{Kind: "Group", Name: g})
		}
		return true, nil
	case err == nil:
		err := p.known(review)
		return err == nil, err
	case !apierrors.IsForbidden(err) || as.UserName == "":
		return false, refusal(ctx, p.environment, "create", "selfsubjectreviews", "", err)
	}
	hidden := refusal(ctx, p.environment, "create", "selfsubjectreviews", "", err)
	own := rest.CopyConfig(config)
	own.Impersonate = rest.ImpersonationConfig{}
	if p.Client, err = f.open(own); err != nil {
		return false, fmt.Errorf("open a client of %s: %w", p.environment, err)
	}
	review = authenticationv1.SelfSubjectReview{}
	if err := p.Create(ctx, &review); err != nil {
		return false, refusal(ctx, p.environment, "create", "selfsubjectreviews", "", err)
	}
	if err := p.known(review); err != nil {
		return false, err
	}
	rights := []operation.Right{{Verb: "impersonate", Resource: "users", Name: as.UserName}}
	if s := subject(as.UserName); s.Kind == "ServiceAccount" {
		rights = []operation.Right{{Verb: "impersonate", Resource: "serviceaccounts", Namespace: s.Namespace, Name: s.Name}}
	}
	for _, g := range as.Groups {
		rights = append(rights, operation.Right{Verb: "impersonate", Resource: "groups", Name: g})
	}
	err = p.ask(ctx, rights, nil)
	if err == nil && !slices.ContainsFunc(p.found.Rights, func(r operation.Right) bool { return !r.Allowed }) {
		err = hidden // it is not for impersonating
	}
	return false, err
}

// known takes the reviewed user for whom roles are. It refuses one without a credential, whose rights would be everybody's.
func (p *prober) known(review authenticationv1.SelfSubjectReview) error {
	user := review.Status.UserInfo.Username
	if user == "" || user == anonymous {
		return &gitops.Refusal{Code: gitops.Denied, Reason: fmt.Sprintf("%s does not know who ferry is. Put the token of a service account into its kubeconfig.", p.environment)}
	}
	p.found.Subjects = []operation.Subject{subject(user)}
	return nil
}

// anonymous is whom API servers call those without a credential.
const anonymous = "system:anonymous"

// subject names a user as a role binding does.
func subject(user string) operation.Subject {
	if account, ok := strings.CutPrefix(user, "system:serviceaccount:"); ok {
		if namespace, name, ok := strings.Cut(account, ":"); ok {
			return operation.Subject{Kind: "ServiceAccount", Namespace: namespace, Name: name}
		}
	}
	return operation.Subject{Kind: "User", Name: user}
}

// ask finds out which rights ferry has: in the whole cluster, or else in each of the namespaces if there are any.
func (p *prober) ask(ctx context.Context, rights []operation.Right, namespaces []string) error {
	answers := make([][]operation.Right, len(rights))
	group, ctx := together(ctx)
	for i, r := range rights {
		group.Go(func() (err error) {
			if r.Allowed, err = p.may(ctx, r); err != nil {
				return err
			}
			if r.Allowed || len(namespaces) == 0 {
				answers[i] = []operation.Right{r}
				return nil
			}
			for _, r.Namespace = range namespaces {
				if r.Allowed, err = p.may(ctx, r); err != nil {
					return err
				}
				answers[i] = append(answers[i], r)
			}
			return nil
		})
	}
	err := group.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.found.Rights = append(p.found.Rights, slices.Concat(answers...)...)
	return err
}

// may asks about one right.
func (p *prober) may(ctx context.Context, r operation.Right) (bool, error) {
	review := authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
		Namespace: r.Namespace, Verb: r.Verb, Group: r.Group, Resource: r.Resource, Name: r.Name,
	}}}
	if err := p.Create(ctx, &review); err != nil {
		return false, refusal(ctx, p.environment, "create", "selfsubjectaccessreviews", "", err)
	}
	return review.Status.Allowed, nil
}

// flux looks for Flux's custom resources and asks for the rights to them: in its namespaces, and for sources that are
// named from there also where they are.
func (p *prober) flux(ctx context.Context, namespaces []string) error {
	if err := p.apis(ctx); err != nil {
		return err
	}
	rights := fluxRights()
	var images metav1.APIGroup
	switch _, err := p.plain.get(ctx, "apis/"+imageGroup, &images); {
	case err == nil:
		rights = append(rights, imageRights()...)
	case !absent(err):
		return refusal(ctx, p.environment, "get", "the versions of "+imageGroup, "", err)
	}
	if err := p.ask(ctx, rights, namespaces); err != nil || len(namespaces) == 0 {
		return err
	}
	named, err := p.named(ctx, namespaces)
	if err != nil {
		return err
	}
	for _, o := range named {
		k := sourceKinds[slices.IndexFunc(sourceKinds, func(k kind) bool { return k.name == o.Kind })]
		rights := []operation.Right{right(k, "get"), patchRight(k)}
		if k.name == helmCharts.name {
			rights = rights[:1]
		}
		if err := p.ask(ctx, rights, []string{o.Namespace}); err != nil {
			return err
		}
	}
	return nil
}

// named are the kinds of sources and the namespaces outside the given ones that Flux's objects name. What may not be
// listed names none.
func (p *prober) named(ctx context.Context, namespaces []string) ([]gitops.Object, error) {
	seen := newSnapshot()
	r := p.reader
	r.namespaces = namespaces
	for _, k := range []kind{kustomizations, helmReleases} {
		group, ctx := together(ctx)
		r.list(ctx, group, seen, k)
		if err := group.Wait(); err != nil && !denied(err) {
			return nil, err
		}
	}
	if err := r.follow(ctx, seen, true); err != nil {
		return nil, err
	}
	var named []gitops.Object
	add := func(o gitops.Object) {
		o.Name = ""
		source := slices.ContainsFunc(sourceKinds, func(k kind) bool { return k.name == o.Kind })
		if source && o.Namespace != "" && !slices.Contains(namespaces, o.Namespace) && !slices.Contains(named, o) {
			named = append(named, o)
		}
	}
	for o := range seen.objects {
		add(o)
	}
	for o := range seen.unread {
		add(o)
	}
	slices.SortFunc(named, func(a, b gitops.Object) int { return strings.Compare(a.String(), b.String()) })
	return named, nil
}

func denied(err error) bool {
	r, ok := errors.AsType[*gitops.Refusal](err)
	return ok && r.Code == gitops.Denied
}

// maxVersions of an API group are looked at; Flux has four at most.
const maxVersions = 10

// apiVersion is what Kubernetes calls one.
var apiVersion = regexp.MustCompile(`^v[0-9]{1,3}((alpha|beta)[0-9]{1,3})?$`)

// apis finds out in which versions the cluster serves Flux's custom resources.
func (p *prober) apis(ctx context.Context) error {
	serves := map[schema.GroupResource][]string{}
	for _, k := range []kind{kustomizations, helmReleases, gitRepositories} { // one of each group
		var group metav1.APIGroup
		_, err := p.plain.get(ctx, "apis/"+k.version.Group, &group)
		if absent(err) {
			continue
		}
		if err != nil {
			return refusal(ctx, p.environment, "get", "the versions of "+k.version.Group, "", err)
		}
		for _, v := range group.Versions[:min(len(group.Versions), maxVersions)] {
			if !apiVersion.MatchString(v.Version) {
				continue
			}
			var list metav1.APIResourceList
			if _, err := p.plain.get(ctx, "apis/"+k.version.Group+"/"+v.Version, &list); err != nil {
				return refusal(ctx, p.environment, "get", "the resources of "+v.GroupVersion, "", err)
			}
			for _, r := range list.APIResources {
				name := schema.GroupResource{Group: k.version.Group, Resource: r.Name}
				if !slices.Contains(serves[name], v.Version) {
					serves[name] = append(serves[name], v.Version)
				}
			}
		}
	}
	for _, k := range fluxKinds {
		api := operation.API{Resource: k.resource, Group: k.version.Group, Reads: []string{k.version.Version},
			Serves: serves[schema.GroupResource{Group: k.version.Group, Resource: k.resource}]}
		switch k.name {
		case helmReleases.name, helmRepositories.name, helmCharts.name:
			api.Without = withoutHelm
		case ociRepositories.name:
			api.Reads, api.Without = append(api.Reads, olderOCI.Version), withoutOCI
		}
		p.found.APIs = append(p.found.APIs, api)
	}
	return nil
}

// An endpoint is an API server, asked as the owner of the kubeconfig, who need not be allowed anything.
type endpoint struct {
	client *http.Client
	config *rest.Config
}

func newEndpoint(config *rest.Config) (endpoint, error) {
	own := rest.CopyConfig(config)
	own.Impersonate = rest.ImpersonationConfig{}
	client, err := rest.HTTPClientFor(own)
	return endpoint{client, own}, err
}

// maxDocument bounds what an API server may answer about itself, in bytes.
const maxDocument = 4 << 20

// get reads a document about the API itself.
func (e endpoint) get(ctx context.Context, path string, into any) (http.Header, error) {
	base, _, err := rest.DefaultServerUrlFor(e.config)
	if err != nil {
		return nil, fmt.Errorf("read the server's address: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath(path).String(), nil)
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	request.Header.Set("Accept", "application/json")
	response, err := e.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, apierrors.NewGenericServerResponse(response.StatusCode, "get", schema.GroupResource{}, path, "", 0, false)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxDocument)).Decode(into); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return response.Header, nil
}

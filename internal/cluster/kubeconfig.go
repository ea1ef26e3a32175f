package cluster

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// requestTimeout bounds one request, dialling included, so that a dead cluster is told fast.
const requestTimeout = 10 * time.Second

// An opened client, what it was made from, and the digest of the kubeconfig.
type opened struct {
	content [sha256.Size]byte
	client  client.Client
	config  *rest.Config
	api     *api // nil until it is asked for
}

// client returns a reader for access, the same client for as long as the kubeconfig's content is the same.
func (f *Fleet) client(ctx context.Context, environment string, access Access) (reader, error) {
	r, _, err := f.connected(ctx, environment, access)
	return r, err
}

// connected returns a reader for access, and what its client was made from.
func (f *Fleet) connected(ctx context.Context, environment string, access Access) (reader, *rest.Config, error) {
	raw, err := f.kubeconfig(ctx, environment, access)
	if err != nil {
		return reader{}, nil, err
	}
	content := sha256.Sum256(raw)
	f.mu.Lock()
	defer f.mu.Unlock()
	if known, ok := f.clients[access.identity()]; ok && known.content == content {
		return reader{Client: known.client, environment: environment}, known.config, nil
	}
	config, err := restConfig(raw, access)
	if err != nil {
		return reader{}, nil, err
	}
	if f.impersonate.UserName != "" && !access.AsItself {
		config.Impersonate = f.impersonate
	}
	c, err := f.open(config)
	if err != nil {
		return reader{}, nil, unusable(access, "has certificates or addresses that cannot be used", err)
	}
	f.clients[access.identity()] = opened{content: content, client: c, config: config}
	return reader{Client: c, environment: environment}, config, nil
}

// kubeconfig reads the bytes behind access.
func (f *Fleet) kubeconfig(ctx context.Context, environment string, access Access) ([]byte, error) {
	switch {
	case access.KubeconfigFile != "":
		raw, err := os.ReadFile(access.KubeconfigFile)
		if err != nil {
			return nil, unusable(access, "cannot be read", err)
		}
		return raw, nil
	case access.Secret != nil:
		return f.Secret(ctx, *access.Secret, "the kubeconfig of "+environment)
	default:
		return f.home, nil
	}
}

// restConfig reads the context of a kubeconfig that access means. Entries that run programs are refused. A kubeconfig
// from a Secret must carry all it needs, or whoever writes the Secret could have ferry send its own files to a server; and
// it may not have ferry talk to, or through, anybody who cannot prove to be that cluster. Files are the operator's.
func restConfig(raw []byte, access Access) (*rest.Config, error) {
	config, err := clientcmd.Load(raw)
	if err != nil {
		return nil, unusable(access, "is not a kubeconfig", nil) // the parser's error quotes the content
	}
	name := cmp.Or(access.Context, config.CurrentContext)
	chosen, ok := config.Contexts[name]
	if !ok {
		return nil, unusable(access, fmt.Sprintf("has no context %q", name), nil)
	}
	cluster, user := config.Clusters[chosen.Cluster], config.AuthInfos[chosen.AuthInfo]
	if cluster == nil || user == nil {
		return nil, unusable(access, fmt.Sprintf("has a context %q whose cluster or user is missing", name), nil)
	}
	if user.Exec != nil || user.AuthProvider != nil {
		return nil, staticToken(access)
	}
	if access.Secret != nil && slices.ContainsFunc([]string{cluster.CertificateAuthority, user.TokenFile, user.ClientCertificate, user.ClientKey},
		func(path string) bool { return path != "" }) {
		return nil, unusable(access, "points to files; put token and certificates into it (certificate-authority-data, token)", nil)
	}
	if access.Secret != nil && cluster.ProxyURL != "" {
		return nil, unusable(access, "names a proxy-url; only a kubeconfig in a file may (kubeconfigFile)", nil)
	}
	if access.Secret != nil && cluster.InsecureSkipTLSVerify {
		return nil, unusable(access, "has insecure-skip-tls-verify; put the cluster's certificate into it instead (certificate-authority-data)", nil)
	}
	for _, c := range config.Clusters {
		c.LocationOfOrigin = access.KubeconfigFile
	}
	for _, a := range config.AuthInfos {
		a.LocationOfOrigin = access.KubeconfigFile
	}
	if access.KubeconfigFile != "" {
		if err := clientcmd.ResolveLocalPaths(config); err != nil {
			return nil, unusable(access, "has paths that cannot be resolved", err)
		}
	}
	only := *clientcmdapi.NewConfig() // entries that are not used need not be valid
	only.Clusters[chosen.Cluster], only.AuthInfos[chosen.AuthInfo], only.Contexts[name] = cluster, user, chosen
	result, err := clientcmd.NewNonInteractiveClientConfig(only, name, &clientcmd.ConfigOverrides{}, nil).ClientConfig()
	if err != nil {
		return nil, unusable(access, "is not usable", err)
	}
	result.Timeout = requestTimeout
	result.QPS = -1 // API servers share their capacity out themselves; a client that waits only looks slow
	result.WarningHandler = rest.NoWarnings{}
	result.UserAgent = "ferry"
	result.Wrap(func(next http.RoundTripper) http.RoundTripper { return wary{next} })
	return result, nil
}

// maxAnswer bounds one answer of an API server, unpacked, in bytes: all pods of a large cluster have a quarter of it.
const maxAnswer = 256 << 20

// wary takes neither answers without an end from an API server, nor directions to other servers, which would be asked from
// where ferry is.
type wary struct{ next http.RoundTripper }

func (w wary) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := w.next.RoundTrip(request)
	if err == nil {
		response.Header.Del("Location") // without it, no client follows
		response.Body = http.MaxBytesReader(nil, response.Body, maxAnswer)
	}
	return response, err
}

func unusable(access Access, what string, cause error) error {
	return &gitops.Refusal{
		Code:   gitops.Config,
		Reason: fmt.Sprintf("This access cannot be used: %s %s.", access, what),
		Cause:  cause,
	}
}

func staticToken(access Access) error {
	return &gitops.Refusal{
		Code:   gitops.Config,
		Reason: fmt.Sprintf("ferry runs no credential programs, but one is named in %s. Use the token of a service account instead:", access),
		Details: []string{
			"kubectl create serviceaccount ferry --namespace ferry",
			"kubectl create token ferry --namespace ferry --duration 8760h",
			"kubectl config set-credentials ferry --token TOKEN --kubeconfig FILE",
		},
	}
}

var scheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		authenticationv1.AddToScheme, authorizationv1.AddToScheme, corev1.AddToScheme, appsv1.AddToScheme, helmv2.AddToScheme, kustomizev1.AddToScheme, sourcev1.AddToScheme,
	} {
		utilruntime.Must(add(s))
	}
	return s
}()

// open makes a client that knows the resources it reads, so that it needs no discovery: a new client costs nothing, and a
// cluster without Flux answers 404 to a list.
func open(config *rest.Config) (client.Client, error) {
	mapper := apimeta.NewDefaultRESTMapper(nil)
	for _, k := range slices.Concat(fluxKinds, workloadKinds, []kind{configMaps}) {
		mapper.Add(k.version.WithKind(k.name), apimeta.RESTScopeNamespace)
	}
	mapper.Add(appsv1.SchemeGroupVersion.WithKind("ReplicaSet"), apimeta.RESTScopeNamespace)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Pod"), apimeta.RESTScopeNamespace)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Secret"), apimeta.RESTScopeNamespace)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("ConfigMap"), apimeta.RESTScopeNamespace)
	mapper.Add(olderOCI.WithKind(ociRepositories.name), apimeta.RESTScopeNamespace)
	for _, version := range imageVersions {
		for _, k := range imageKinds {
			mapper.Add(schema.GroupVersionKind{Group: imageGroup, Version: version, Kind: k.name}, apimeta.RESTScopeNamespace)
		}
	}
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), apimeta.RESTScopeRoot)
	mapper.Add(authenticationv1.SchemeGroupVersion.WithKind("SelfSubjectReview"), apimeta.RESTScopeRoot)
	mapper.Add(authorizationv1.SchemeGroupVersion.WithKind("SelfSubjectAccessReview"), apimeta.RESTScopeRoot)
	return client.New(config, client.Options{Scheme: scheme, Mapper: mapper})
}

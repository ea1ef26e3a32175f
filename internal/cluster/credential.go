package cluster

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/render"
)

// Credential reads what a source's secretRef and certSecretRef name, as source-controller does (internal/helm/getter and
// github.com/fluxcd/pkg/runtime/secrets): user name and password, or a Docker configuration for the registry, and certificates.
// It is nil where the source names none. A HelmRepository's passCredentials is not read: credentials go to its own address.
// What only Flux can use, a cloud's identity or a token of GitHub's, is a Refusal.
func (f *Fleet) Credential(ctx context.Context, environment string, source render.Object) (*render.Credential, error) {
	spec, _ := source.Fields["spec"].(map[string]any)
	text := func(path ...string) string {
		s, _, err := unstructured.NestedString(spec, path...)
		if err != nil {
			return ""
		}
		return s
	}
	refuse := func(format string, args ...any) error {
		return &gitops.Refusal{Code: gitops.Secret, Reason: fmt.Sprintf("%s %s/%s %s.", source.Kind, source.Namespace, source.Name, fmt.Sprintf(format, args...))}
	}
	auth, cert := text("secretRef", "name"), text("certSecretRef", "name")
	provider := text("provider")
	oci := strings.HasPrefix(text("url"), "oci://")
	switch {
	case text("serviceAccountName") != "":
		return nil, refuse("signs in with a service account, as which ferry cannot act")
	case text("proxySecretRef", "name") != "":
		return nil, refuse("is behind a proxy that only Flux knows")
	case !generic(provider) && (auth == "" || source.Kind != helmRepositories.name):
		return nil, refuse("signs in to %s with the cluster's identity, which ferry does not have", provider)
	case auth == "" && cert == "":
		return nil, nil
	}
	_, _, flux, err := f.connect(ctx, environment)
	if err != nil {
		return nil, err
	}
	var result render.Credential
	for _, name := range []string{auth, cert} {
		if name == "" {
			continue
		}
		secret, err := flux.secret(ctx, source.Namespace, name)
		if err != nil {
			return nil, err
		}
		if len(secret.Data) == 0 {
			return nil, refuse("names Secret %s, which is not there or empty", name)
		}
		if name == auth {
			if len(secret.Data["identity"])+len(secret.Data["bearerToken"])+len(secret.Data["githubAppID"]) > 0 {
				return nil, refuse("signs in to Git with what Secret %s holds, which ferry does not use", name)
			}
			result.Username, result.Password = string(secret.Data["username"]), string(secret.Data["password"])
			if oci || source.Kind == ociRepositories.name {
				if user, password, ok := docker(secret, text("url")); ok {
					result.Username, result.Password = user, password
				}
			}
		}
		pick(&result.CA, secret, "ca.crt", "caFile")
		pick(&result.Cert, secret, corev1.TLSCertKey, "certFile")
		pick(&result.Key, secret, corev1.TLSPrivateKeyKey, "keyFile")
	}
	return &result, nil
}

// pick takes the first of the keys that a Secret has.
func pick(into *[]byte, secret corev1.Secret, keys ...string) {
	for _, key := range keys {
		if value := secret.Data[key]; len(value) > 0 {
			*into = value
			return
		}
	}
}

// docker finds the registry of an address in a Secret's Docker configuration.
func docker(secret corev1.Secret, address string) (user, password string, ok bool) {
	var config struct {
		Auths map[string]struct{ Username, Password, Auth string }
	}
	u, err := url.Parse(address)
	if err != nil || json.Unmarshal(secret.Data[corev1.DockerConfigJsonKey], &config) != nil {
		return "", "", false
	}
	for name, entry := range config.Auths {
		host := name
		if at, err := url.Parse(name); err == nil && at.Host != "" && strings.Contains(name, "://") {
			host = at.Host
		}
		host, _, _ = strings.Cut(host, "/")
		if host != u.Host {
			continue
		}
		if entry.Username != "" {
			return entry.Username, entry.Password, true
		}
		raw, err := base64.StdEncoding.DecodeString(entry.Auth)
		if user, password, ok := strings.Cut(string(raw), ":"); err == nil && ok {
			return user, password, true
		}
	}
	return "", "", false
}

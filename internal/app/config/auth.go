package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// Auth says where the credential is: in one of these places, or where all are empty in the environment variable
// GITHUB_TOKEN or GH_TOKEN.
type Auth struct {
	TokenFile   string     `json:"tokenFile,omitempty" jsonschema:"a mounted file with a token, read for every request"`
	TokenEnv    string     `json:"tokenEnv,omitempty" jsonschema:"name of an environment variable with a token"`
	TokenSecret *SecretKey `json:"tokenSecret,omitempty" jsonschema:"a token in a Secret of the home cluster, read for every request"`
	App         *App       `json:"app,omitempty" jsonschema:"a GitHub App, whose installation tokens ferry makes itself"`
}

// App is a GitHub App in one of its installations. The key is in one of both places.
type App struct {
	ID             int64      `json:"id" jsonschema:"the App's id, from its settings"`
	InstallationID int64      `json:"installationID" jsonschema:"the number at the end of the installation's address"`
	KeyFile        string     `json:"keyFile,omitempty" jsonschema:"a mounted file with the App's private key, as GitHub gives it"`
	KeySecret      *SecretKey `json:"keySecret,omitempty" jsonschema:"the private key in a Secret of the home cluster"`
}

// SecretKey is a key of a Secret in the home cluster.
type SecretKey struct {
	Namespace string `json:"namespace" jsonschema:"of the Secret"`
	Name      string `json:"name" jsonschema:"of the Secret"`
	Key       string `json:"key" jsonschema:"in the Secret"`
}

// secret is what tokens of GitHub and private keys begin with.
var secret = regexp.MustCompile(`^\s*(gh[pousr]_[A-Za-z0-9]{20}|github_pat_|-----BEGIN|eyJhbGciOi)`)

const elsewhere = "secrets are never written here: name the file, the environment variable or the Secret that holds it"

// inline are keys under which others, Botkube's own plugins among them, take a secret.
var inline = []string{"token", "accessToken", "personalAccessToken", "password", "privateKey", "key", "kubeconfig"}

var inEnvironment = regexp.MustCompile(`^environments\[[0-9]+\](\.cluster|\.flux)?$`)

// instead is what to write for a secret that was found at a path: in an environment and its clusters it is one of a
// cluster, elsewhere one of GitHub's.
func instead(path, key string) string {
	switch m := inEnvironment.FindStringSubmatch(path); {
	case m != nil && m[1] == ".flux":
		return "flux: {kubeconfigFile: /etc/ferry/prod}"
	case m != nil || key == "kubeconfig":
		return "cluster: {kubeconfigFile: /etc/ferry/prod}"
	case key == "key" || key == "privateKey":
		return "github: {auth: {app: {id: 1, installationID: 2, keyFile: /etc/ferry/app.pem}}}"
	}
	return "github: {auth: {tokenFile: /etc/ferry/github-token}}"
}

// unknown is the fault of a key that is none of those known.
func unknown(path, key string, known iter.Seq[string]) string {
	at := strings.TrimPrefix(path+"."+key, ".")
	if slices.Contains(inline, key) {
		return fmt.Sprintf("%s: secrets are never written here; put it into a file and write %s", at, instead(path, key))
	}
	if at == "config" {
		return `unknown field "config": write what stands below it, without it`
	}
	all := slices.Sorted(known)
	near := gitops.Closest(key, all)
	if i := slices.IndexFunc(all, func(k string) bool { return strings.EqualFold(k, key) }); i >= 0 {
		near = all[i]
	}
	if near != "" {
		return fmt.Sprintf("unknown field %q: did you mean %s?", at, near)
	}
	return fmt.Sprintf("unknown field %q", at)
}

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// faults finds what is wrong with a credential at a path.
func (a Auth) faults(at string, fault func(path, format string, args ...any)) {
	complete := func(path string, s *SecretKey) {
		if s != nil && (s.Namespace == "" || s.Name == "" || s.Key == "") {
			fault(path, "namespace, name and key are needed")
		}
	}
	if count(a.TokenFile != "", a.TokenEnv != "", a.TokenSecret != nil, a.App != nil) > 1 {
		fault(at, "tokenFile, tokenEnv, tokenSecret and app exclude each other")
	}
	if a.TokenEnv != "" && !variable.MatchString(a.TokenEnv) { // it may be a token: not shown
		fault(at+".tokenEnv", "the name of an environment variable belongs here: letters, digits and underscores")
	}
	complete(at+".tokenSecret", a.TokenSecret)
	if a.App == nil {
		return
	}
	if a.App.ID == 0 || a.App.InstallationID == 0 {
		fault(at+".app", "id and installationID are needed")
	}
	if count(a.App.KeyFile != "", a.App.KeySecret != nil) != 1 {
		fault(at+".app", "the private key is needed, as keyFile or as keySecret")
	}
	complete(at+".app.keySecret", a.App.KeySecret)
}

func count(conditions ...bool) (n int) {
	for _, c := range conditions {
		if c {
			n++
		}
	}
	return n
}

// ReadSecret reads a key of a Secret in the home cluster. Its errors are worded for people.
type ReadSecret func(ctx context.Context, key SecretKey) ([]byte, error)

// Token reads the token from where the configuration says, without the white space around it. It is not for an App.
func (a Auth) Token(ctx context.Context, read ReadSecret) (string, error) {
	token, where := "", ""
	switch {
	case a.TokenFile != "":
		where = "the file of github.auth.tokenFile"
		raw, err := os.ReadFile(a.TokenFile)
		if err != nil {
			return "", unreadable("tokenFile", err)
		}
		token = string(raw)
	case a.TokenSecret != nil:
		where = "the Secret of github.auth.tokenSecret"
		raw, err := read(ctx, *a.TokenSecret)
		if err != nil {
			return "", err
		}
		token = string(raw)
	case a.TokenEnv != "":
		where = "the environment variable of github.auth.tokenEnv"
		token = os.Getenv(a.TokenEnv)
	default:
		where = "the environment variable GITHUB_TOKEN; name another place with github.auth.tokenFile, tokenEnv, tokenSecret or app"
		token = cmp.Or(os.Getenv("GITHUB_TOKEN"), os.Getenv("GH_TOKEN"))
	}
	token = strings.TrimSpace(token)
	if token == "" {
		return "", noToken(fmt.Sprintf("There is no GitHub token in %s.", where), nil)
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", noToken(fmt.Sprintf("What is in %s is not a token.", where), errors.New("blank or control character"))
	}
	return token, nil
}

// Key reads the App's private key.
func (a App) Key(ctx context.Context, read ReadSecret) ([]byte, error) {
	if a.KeySecret != nil {
		return read(ctx, *a.KeySecret)
	}
	raw, err := os.ReadFile(a.KeyFile)
	if err != nil {
		return nil, unreadable("app.keyFile", err)
	}
	return raw, nil
}

// unreadable leaves out the path of a file: where one belongs, somebody may have written the secret itself.
func unreadable(key string, err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err
	}
	return noToken(fmt.Sprintf("The file of github.auth.%s cannot be read where ferry runs: %v.", key, err), nil)
}

func noToken(reason string, cause error) error {
	return &gitops.Refusal{Code: gitops.Config, Title: "ferry has no GitHub token", Reason: reason, Cause: cause}
}

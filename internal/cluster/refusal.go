package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// absent says that an object, or its whole kind, is not in the cluster.
func absent(err error) bool { return apierrors.IsNotFound(err) || apimeta.IsNoMatchError(err) }

// refusal words the failure of a request for people. What they cannot act on stays an error. Addresses and credentials
// are in none of the reasons.
func refusal(ctx context.Context, environment, verb, resource, namespace string, err error) error {
	where := " in all namespaces"
	if namespace != "" {
		where = " in namespace " + namespace
	} else if verb != "list" { // of an object that is in no namespace
		where = ""
	}
	var status apierrors.APIStatus
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("%s %s of %s: %w", verb, resource, environment, ctx.Err())
	case apierrors.IsForbidden(err):
		return &gitops.Refusal{
			Code:   gitops.Denied,
			Reason: fmt.Sprintf("ferry may not %s %s%s (%s). Grant it with a role, or narrow the environment's namespaces.", verb, resource, where, environment),
			Cause:  err,
		}
	case apierrors.IsUnauthorized(err):
		return &gitops.Refusal{Code: gitops.Denied, Reason: fmt.Sprintf("%s does not accept the credentials of its kubeconfig.", environment), Cause: err}
	case apierrors.IsServiceUnavailable(err), apierrors.IsTooManyRequests(err), apierrors.IsTimeout(err), apierrors.IsServerTimeout(err),
		apierrors.IsInternalError(err), errors.As(err, &status) && status.Status().Code >= 500:
		return unreachable(environment, fmt.Sprintf("its API server says %s", apierrors.ReasonForError(err)), err)
	}
	if why := network(err); why != "" {
		return unreachable(environment, why, err)
	}
	return fmt.Errorf("%s %s of %s: %w", verb, resource, environment, err)
}

func unreachable(environment, why string, cause error) error {
	return &gitops.Refusal{Code: gitops.Unreachable, Reason: fmt.Sprintf("%s does not answer: %s.", environment, why), Cause: cause}
}

// network puts the cause of a failed connection in a few words; empty: it is another kind of failure.
func network(err error) string {
	var (
		timeout     net.Error
		name        *net.DNSError
		authority   x509.UnknownAuthorityError
		host        x509.HostnameError
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		request     *url.Error
	)
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no response in time"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.As(err, &name):
		return "its host name is not known"
	case errors.As(err, &authority), errors.As(err, &host), errors.As(err, &certificate):
		return "its certificate is not trusted"
	case errors.As(err, &record):
		return "it does not speak TLS"
	case errors.As(err, &request), errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection failed"
	}
	return ""
}

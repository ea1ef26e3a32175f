package executor

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"

	goplugin "github.com/hashicorp/go-plugin"
	"github.com/kubeshop/botkube/pkg/api"
	botkube "github.com/kubeshop/botkube/pkg/api/executor"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxRequest is how large a request from the host may be, in bytes; gRPC's own limit is 4 MiB.
const maxRequest = 32 << 20

// Serve answers the host until it ends the process. Without a host it prints a hint and exits with code 1. Botkube's own
// executor.Serve will not do: it dies from a request without a context, and from any panic.
func Serve(e *Executor) { goplugin.Serve(serveConfig(e)) }

func serveConfig(e *Executor) *goplugin.ServeConfig {
	return &goplugin.ServeConfig{
		Plugins: goplugin.PluginSet{"executor": &botkube.Plugin{Executor: e}},
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion:  botkube.ProtocolVersion,
			MagicCookieKey:   api.HandshakeConfig.MagicCookieKey,
			MagicCookieValue: api.HandshakeConfig.MagicCookieValue,
		},
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(options, grpc.MaxRecvMsgSize(maxRequest), grpc.ChainUnaryInterceptor(survive(e.log), hush(), complete))...)
		},
	}
}

// survive turns a panic into an error of that one call. The text has no percent sign: the host formats it.
func survive(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (response any, err error) {
		defer func() {
			if cause := recover(); cause != nil {
				log.Error("panic in a call", "method", info.FullMethod, "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
				response, err = nil, status.Error(codes.Internal, "ferry made a mistake; its log has the details")
			}
		}()
		return handler(ctx, request)
	}
}

// hush drops, from the first call on, what libraries write for people: kustomize warns on standard error of fields that a
// repository had better not use, and the host logs each such line as an error. Sooner it cannot be done, since go-plugin
// sets os.Stderr itself when it starts to serve.
func hush() grpc.UnaryServerInterceptor {
	once := sync.OnceFunc(func() {
		if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
			os.Stderr = null
		}
	})
	return func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		once()
		return handler(ctx, request)
	}
}

// complete fills what Botkube's adapter reads without looking whether it is there, and drops the state of Slack's form
// elements: ferry has no use for it, and a malformed one would fail the call.
func complete(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if execute, ok := request.(*botkube.ExecuteRequest); ok {
		if execute.Context == nil {
			execute.Context = &botkube.ExecuteContext{}
		}
		if execute.Context.IncomingWebhook == nil {
			execute.Context.IncomingWebhook = &botkube.IncomingWebhookContext{}
		}
		execute.Context.SlackState = nil
	}
	return handler(ctx, request)
}

package executor

import (
	"context"

	goplugin "github.com/hashicorp/go-plugin"
	"github.com/kubeshop/botkube/pkg/api"
	botkube "github.com/kubeshop/botkube/pkg/api/executor"
	"google.golang.org/grpc"

	"github.com/ferry-chatops/ferry/internal/plugin/guard"
)

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
			return grpc.NewServer(append(options, grpc.MaxRecvMsgSize(guard.MaxRequest), grpc.ChainUnaryInterceptor(guard.Unary(e.log), guard.Hush(), complete))...)
		},
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

package source

import (
	"context"

	goplugin "github.com/hashicorp/go-plugin"
	"github.com/kubeshop/botkube/pkg/api"
	botkube "github.com/kubeshop/botkube/pkg/api/source"
	"google.golang.org/grpc"

	"github.com/ferry-chatops/ferry/internal/plugin/guard"
)

// Serve answers the host until it ends the process. Without a host it prints a hint and exits with code 1. Botkube's own
// source.Serve will not do: it dies from a request without a context, and from any panic.
func Serve(s *Source) { goplugin.Serve(serveConfig(s)) }

func serveConfig(s *Source) *goplugin.ServeConfig {
	return &goplugin.ServeConfig{
		Plugins: goplugin.PluginSet{"source": &botkube.Plugin{Source: s}},
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion:  botkube.ProtocolVersion,
			MagicCookieKey:   api.HandshakeConfig.MagicCookieKey,
			MagicCookieValue: api.HandshakeConfig.MagicCookieValue,
		},
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			// What the host wants of the connection, TLS, goes before what ferry does.
			return grpc.NewServer(append(append([]grpc.ServerOption{newLines()}, options...), grpc.MaxRecvMsgSize(guard.MaxRequest),
				grpc.ChainUnaryInterceptor(guard.Unary(s.log), guard.Hush(), completeCall),
				grpc.ChainStreamInterceptor(guard.Stream(s.log), completeStream, follow))...)
		},
	}
}

// complete fills what Botkube's adapter reads without looking whether it is there.
func complete(request any) {
	switch r := request.(type) {
	case *botkube.StreamRequest:
		if r.Context == nil {
			r.Context = &botkube.StreamContext{}
		}
	case *botkube.ExternalRequest:
		if r.Context == nil {
			r.Context = &botkube.ExternalRequestContext{}
		}
	}
}

func completeCall(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	complete(request)
	return handler(ctx, request)
}

func completeStream(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return handler(server, completed{stream})
}

// completed is a stream whose request is complete.
type completed struct{ grpc.ServerStream }

// RecvMsg reads the request.
func (c completed) RecvMsg(message any) error {
	err := c.ServerStream.RecvMsg(message)
	complete(message)
	return err
}

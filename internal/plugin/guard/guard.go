// Package guard keeps a plugin's process alive: what Botkube's own way of serving lets end it.
package guard

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// MaxRequest is how large a request from the host may be, in bytes; gRPC's own limit is 4 MiB.
const MaxRequest = 32 << 20

// Unary turns a panic into an error of that one call. The text has no percent sign: the host formats it.
func Unary(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (response any, err error) {
		defer func() {
			if cause := recover(); cause != nil {
				response, err = nil, mistake(log, info.FullMethod, cause)
			}
		}()
		return handler(ctx, request)
	}
}

// Stream turns a panic into the end of that one stream.
func Stream(log *slog.Logger) grpc.StreamServerInterceptor {
	return func(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
		defer func() {
			if cause := recover(); cause != nil {
				err = mistake(log, info.FullMethod, cause)
			}
		}()
		return handler(server, stream)
	}
}

func mistake(log *slog.Logger, method string, cause any) error {
	log.Error("panic in a call", "method", method, "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
	return status.Error(codes.Internal, "ferry made a mistake; its log has the details")
}

// Hush drops, from the first call on, what libraries write for people: kustomize warns on standard error of fields that a
// repository had better not use, and the host logs each such line as an error. Sooner it cannot be done, since go-plugin
// sets os.Stderr itself when it starts to serve.
func Hush() grpc.UnaryServerInterceptor {
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

package source

import (
	"context"
	"net"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"

	botkube "github.com/kubeshop/botkube/pkg/api/source"
)

// taken is a stream that takes messages and leaves writing them for later, as gRPC's does.
type taken struct {
	grpc.ServerStream
	ctx context.Context
}

func (t taken) Context() context.Context { return t.ctx }
func (taken) SendMsg(any) error          { return nil }

func TestMessageIsHandedOverWhenItHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer here.Close()
		conn, info, err := lines{}.ServerHandshake(here)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for b := make([]byte, 100); ; {
				if _, err := there.Read(b); err != nil {
					return
				}
			}
		}()
		ctx, cancel := context.WithCancel(peer.NewContext(t.Context(), &peer.Peer{AuthInfo: info}))
		defer cancel()
		message := &botkube.StreamResponse{Event: make([]byte, 1000)}
		handed := make(chan error, 1)
		var left sent
		var stream grpc.ServerStream
		if err := follow(nil, taken{ctx: ctx}, nil, func(_ any, s grpc.ServerStream) error {
			stream = s
			left, _ = s.Context().Value(sentKey{}).(sent)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		write := func(n int) {
			t.Helper()
			if _, err := conn.Write(make([]byte, n)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		go func() { handed <- stream.SendMsg(message) }()
		synctest.Wait()
		write(proto.Size(message) - 1)
		if len(handed) > 0 || len(left) > 0 {
			t.Fatal("handed over, though a byte is still here")
		}
		write(1)
		if len(handed) != 1 || <-handed != nil || len(left) != 1 {
			t.Fatal("not handed over, though all of it has left")
		}
		go func() { handed <- stream.SendMsg(message) }()
		synctest.Wait()
		cancel()
		if err := <-handed; err == nil {
			t.Error("handed over to a stream that has ended")
		}
	})
}

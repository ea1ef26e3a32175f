package source

import (
	"context"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"
)

// gRPC takes a message long before it is written: a process that is killed then has told nobody. So that only what has left
// the process counts as handed over, each message is followed onto the connection.

// A line is the connection to the host, of which it is known how much was written.
type line struct {
	net.Conn

	mu      sync.Mutex
	written int64
	more    chan struct{} // closed by the next write
}

func (l *line) Write(b []byte) (int, error) {
	n, err := l.Conn.Write(b)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.written += int64(n)
	close(l.more)
	l.more = make(chan struct{})
	return n, err
}

func (l *line) state() (written int64, more <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.written, l.more
}

// AuthType makes a line what gRPC hands on to its calls.
func (*line) AuthType() string { return "insecure" }

// lines is how connections are taken: as they are, but followed.
type lines struct {
	credentials.TransportCredentials
}

func newLines() grpc.ServerOption { return grpc.Creds(lines{insecure.NewCredentials()}) }

func (lines) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	l := &line{Conn: conn, more: make(chan struct{})}
	return l, l, nil
}

// Clone is asked for by gRPC.
func (l lines) Clone() credentials.TransportCredentials { return l }

// sent tells who fills a stream of each message that has left.
type sent chan struct{}

type sentKey struct{}

// A followed stream says when a message has left the process.
type followed struct {
	grpc.ServerStream
	ctx  context.Context
	sent sent
}

func follow(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	done := make(sent, 1)
	return next(server, &followed{stream, context.WithValue(stream.Context(), sentKey{}, done), done})
}

// Context carries to Source.Stream what it waits for.
func (f *followed) Context() context.Context { return f.ctx }

// SendMsg returns when as many bytes were written as the message has. They may be another stream's, of which there are two at
// most; neither waits for the other, whose host may not read.
func (f *followed) SendMsg(message any) error {
	var l *line
	if p, ok := peer.FromContext(f.ctx); ok {
		l, _ = p.AuthInfo.(*line) // another where the host wants TLS
	}
	content, ok := message.(proto.Message)
	if l == nil || !ok {
		return f.tell(f.ServerStream.SendMsg(message))
	}
	before, _ := l.state()
	if err := f.ServerStream.SendMsg(message); err != nil {
		return err
	}
	for {
		written, more := l.state()
		if written-before >= int64(proto.Size(content)) {
			return f.tell(nil)
		}
		select {
		case <-more:
		case <-f.ctx.Done():
			return f.ctx.Err()
		}
	}
}

func (f *followed) tell(err error) error {
	if err == nil {
		select {
		case f.sent <- struct{}{}:
		default: // nobody waits
		}
	}
	return err
}

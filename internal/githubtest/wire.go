package githubtest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
)

// Wire is the way a body travels.
type Wire string

// The ways, besides the usual one with a Content-Length.
const (
	Gzip    Wire = "gzip"    // for clients that accept it, its ETag weak then, as GitHub's
	Chunked Wire = "chunked" // without a length
	// Truncated announces the whole length, sends half and drops the connection.
	Truncated        Wire = "truncated"
	TruncatedChunked Wire = "truncated chunked"
	// Halved sends half of the body as if it were whole: in chunks with a proper end.
	Halved Wire = "halved"
)

// wired sends the API's answers on their way, whatever became of them before: the contract sees them whole.
func (s *Server) wired(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/api/") {
			next.ServeHTTP(w, r)
			return
		}
		held := &buffer{header: http.Header{}}
		next.ServeHTTP(held, r) // panics where the connection is to be dropped
		s.end(exchanged(r), held.status)
		wire := exchanged(r).wire
		if wire == "" {
			wire = s.Behaviour().Wire
		}
		header, body := w.Header(), held.body.Bytes()
		maps.Copy(header, held.header)
		if held.status == http.StatusNotModified || len(body) == 0 {
			w.WriteHeader(held.status)
			return
		}
		send := len(body)
		switch wire {
		case Gzip:
			if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
				body = zipped(body)
				send = len(body)
				header.Set("Content-Encoding", "gzip")
				header.Set("Content-Length", strconv.Itoa(send))
				if etag := header.Get("ETag"); strings.HasPrefix(etag, `"`) {
					header.Set("ETag", "W/"+etag)
				}
			}
		case Truncated:
			send /= 2
		case Chunked:
			header.Del("Content-Length")
		case TruncatedChunked, Halved:
			header.Del("Content-Length")
			send /= 2
		}
		w.WriteHeader(held.status)
		_, _ = w.Write(body[:send]) // a client that went away
		if wire != "" && wire != Gzip {
			_ = http.NewResponseController(w).Flush() // so that no length is added
		}
		if wire == Truncated || wire == TruncatedChunked {
			panic(http.ErrAbortHandler)
		}
	})
}

func zipped(body []byte) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err == nil {
		_, err = w.Write(body)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(fmt.Sprintf("zip into memory: %v", err)) // impossible
	}
	return out.Bytes()
}

package registrytest

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
)

// errCut is the error that a client in memory gets for a closed connection.
var errCut = errors.New("registrytest: connection closed")

// RoundTripper returns a transport that serves requests from the registry without a socket, whatever host they name. It
// is for tests in a bubble of testing/synctest, where tokens expire and limits end by the bubble's clock.
//
// The host names of the URLs select the part of the registry; see [Registry.ServeHTTP]. https and http differ only in
// the scheme. Close the bodies of the responses: until then, a goroutine of the registry may block.
func (r *Registry) RoundTripper() http.RoundTripper { return NewRoundTripper(r) }

// NewRoundTripper returns a transport like [Registry.RoundTripper] for any handler, such as a cloud in memory, or a
// handler that dispatches by host. The handler gets the request as a server would: with the host of the URL, and with
// TLS if its scheme is https.
func NewRoundTripper(h http.Handler) http.RoundTripper { return memory{h} }

type memory struct{ handler http.Handler }

func (m memory) RoundTrip(req *http.Request) (*http.Response, error) {
	body := req.Body
	if body == nil {
		body = http.NoBody
	}
	if err := context.Cause(req.Context()); err != nil {
		_ = body.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	in := asServed(req.Clone(ctx))
	in.Body = body
	reader, writer := io.Pipe()
	w := &memoryWriter{header: make(http.Header), body: writer, started: make(chan struct{})}
	go func() {
		err := w.run(m.handler, in)
		_ = body.Close()
		_ = writer.CloseWithError(err) // A nil error is the end of the body.
	}()
	// A client that gives up must not block the handler.
	stop := context.AfterFunc(ctx, func() { _ = reader.CloseWithError(context.Cause(ctx)) })
	select {
	case <-w.started:
	case <-ctx.Done():
		err := context.Cause(ctx)
		cancel(err)
		return nil, err
	}
	end := func() { stop(); cancel(errCut) }
	if w.status == 0 {
		end()
		return nil, errCut
	}
	res := &http.Response{
		Status: strconv.Itoa(w.status) + " " + http.StatusText(w.status), StatusCode: w.status,
		Proto: in.Proto, ProtoMajor: in.ProtoMajor, ProtoMinor: in.ProtoMinor,
		Header: w.sent, ContentLength: -1, Request: req,
		Body: &memoryBody{reader, end},
	}
	if n, err := strconv.ParseInt(w.sent.Get("Content-Length"), 10, 64); err == nil {
		res.ContentLength = n
	}
	if req.Method == http.MethodHead {
		_ = res.Body.Close()
		res.Body = http.NoBody
	}
	return res, nil
}

// asServed converts a client's request to the request that a server receives.
func asServed(in *http.Request) *http.Request {
	in.RequestURI = in.URL.RequestURI()
	in.Proto, in.ProtoMajor, in.ProtoMinor = "HTTP/1.1", 1, 1
	in.RemoteAddr = "192.0.2.1:49152" // An address for documentation, RFC 5737.
	in.Close = false
	if in.Host == "" {
		in.Host = in.URL.Host
	}
	if in.URL.Scheme == "https" {
		in.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, ServerName: in.URL.Hostname()}
	}
	return in
}

// A memoryBody ends the response when it is closed.
type memoryBody struct {
	*io.PipeReader
	end func()
}

func (b *memoryBody) Close() error {
	b.end()
	return b.PipeReader.Close()
}

type memoryWriter struct {
	header http.Header
	body   *io.PipeWriter

	once    sync.Once
	started chan struct{}
	status  int // These two are set before started is closed. Zero means that there is no response.
	sent    http.Header
}

// run calls the handler. It returns the error with which the body ends.
func (w *memoryWriter) run(h http.Handler, req *http.Request) (err error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			err = io.ErrUnexpectedEOF
			w.once.Do(func() { close(w.started) })
		default:
			panic(p)
		}
	}()
	h.ServeHTTP(w, req)
	w.WriteHeader(http.StatusOK)
	return nil
}

func (w *memoryWriter) Header() http.Header { return w.header }

func (w *memoryWriter) WriteHeader(status int) {
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.started)
	})
}

func (w *memoryWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

// Flush does nothing, because nothing is buffered.
func (w *memoryWriter) Flush() {}

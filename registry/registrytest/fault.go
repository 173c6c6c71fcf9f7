package registrytest

import (
	"context"
	"net"
	"net/http"
	"slices"
	"time"
)

// A Fault makes requests fail. Its effects can be combined, such as a delay before a response that is cut.
type Fault struct {
	// Match selects the requests. Their Status and Account are not known yet. If nil, all requests match.
	Match func(Request) bool
	// Times is the number of matching requests that fail. Zero means all.
	Times int

	// Delay is the delay of a request before any other effect.
	Delay time.Duration
	// Hang sends no response until the client gives up.
	Hang bool
	// Cut closes the connection without a response. A Go client retries on its own if it had used the connection before.
	Cut bool
	// Answer replaces the registry's response. Zero means the registry's own response.
	Answer Answer
	// Header is set in the response, whether it is Answer or the registry's own. An empty value removes a header. Keys are
	// in their canonical form.
	Header map[string]string
	// Padding is the number of bytes that follow the body. They are spaces, so that JSON remains valid.
	Padding int64
	// CutAfter ends the response after this number of bytes of the body. Zero means that the whole body is sent.
	CutAfter int64
}

type fault struct {
	Fault
	left int // Negative means unlimited.
}

// Inject makes the registry fail, until the returned function is called. If several faults match a request, the one
// that was injected first and is not used up applies.
func (r *Registry) Inject(f Fault) (remove func()) {
	state := &fault{f, f.Times}
	if f.Times == 0 {
		state.left = -1
	}
	r.locked(func() { r.faults = append(r.faults, state) })
	return func() {
		r.locked(func() { r.faults = slices.DeleteFunc(r.faults, func(other *fault) bool { return other == state }) })
	}
}

// take returns the fault that applies to a request.
func (r *Registry) take(q Request) (f Fault, ok bool) {
	var faults []*fault
	r.locked(func() { faults = slices.Clone(r.faults) })
	for _, state := range faults {
		if state.Match != nil && !state.Match(q) { // Not under the lock, because it may call the registry.
			continue
		}
		r.locked(func() {
			if ok = state.left != 0; ok && state.left > 0 {
				state.left--
			}
		})
		if ok {
			return state.Fault, true
		}
	}
	return Fault{}, false
}

// withFaults responds to the request, with the fault that applies to it.
func (c *call) withFaults(answer func()) {
	f, ok := c.reg.take(*c.seen)
	if !ok {
		answer()
		return
	}
	ctx := c.req.Context()
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			cut(c.req)
		}
	}
	if f.Hang {
		<-ctx.Done()
		cut(c.req)
	}
	if f.Cut {
		cut(c.req)
	}
	c.w.ResponseWriter = &faultWriter{ResponseWriter: c.w.ResponseWriter, fault: f}
	if f.Answer.isZero() {
		answer()
	} else {
		c.answer(f.Answer)
	}
	if f.Padding > 0 && c.req.Method != http.MethodHead {
		c.pad(f.Padding)
	}
}

func (c *call) pad(n int64) {
	chunk := make([]byte, min(n, 32<<10))
	for i := range chunk {
		chunk[i] = ' '
	}
	for n > 0 {
		wrote, err := c.w.Write(chunk[:min(n, int64(len(chunk)))])
		if err != nil {
			return
		}
		n -= int64(wrote)
	}
}

// A faultWriter changes the header of a response, and cuts its body.
type faultWriter struct {
	http.ResponseWriter
	fault   Fault
	written int64
}

func (w *faultWriter) WriteHeader(status int) {
	h := w.Header()
	if w.fault.Padding > 0 {
		h.Del("Content-Length")
	}
	for key, value := range w.fault.Header {
		if value == "" {
			h.Del(key)
		} else {
			h.Set(key, value)
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *faultWriter) Write(b []byte) (int, error) {
	limit := w.fault.CutAfter
	if limit > 0 && w.written+int64(len(b)) >= limit {
		_, _ = w.ResponseWriter.Write(b[:limit-w.written])
		_ = http.NewResponseController(w.ResponseWriter).Flush()
		// Not the connection: with HTTP/2, it could be closed before these bytes are sent.
		panic(http.ErrAbortHandler)
	}
	n, err := w.ResponseWriter.Write(b)
	w.written += int64(n)
	return n, err
}

func (w *faultWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// connKey is the context key of a request's connection, under [Start].
type connKey struct{}

// cut ends the response, and closes the connection if there is one. It does not return.
func cut(req *http.Request) {
	if conn, ok := req.Context().Value(connKey{}).(net.Conn); ok {
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}

func withConn(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

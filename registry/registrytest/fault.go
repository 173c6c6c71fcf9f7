package registrytest

import (
	"context"
	"net"
	"net/http"
	"slices"
	"time"
)

// A Fault is something that goes wrong with requests. Its parts may be combined: a delay before an answer that is cut.
type Fault struct {
	// Match picks the requests; their Status is not known yet, nor is their Account. Nil means all.
	Match func(Request) bool
	// Times is how many of them. Zero means all.
	Times int

	// Delay is how long they wait before anything else.
	Delay time.Duration
	// Hang leaves them without an answer until the client gives up.
	Hang bool
	// Cut closes the connection without an answer. A Go client asks again on its own if it had used the connection
	// before.
	Cut bool
	// Answer is sent instead of the registry's own. Zero means the registry's own.
	Answer Answer
	// Header is set in the answer, whichever it is; an empty value takes a header out. Keys are in their canonical
	// form.
	Header map[string]string
	// Padding is how many bytes follow the body. They are spaces, so that JSON stays JSON.
	Padding int64
	// CutAfter ends the answer after so many bytes of the body, without the rest. Zero means that the body is whole.
	CutAfter int64
}

type fault struct {
	Fault
	left int // Negative means for ever.
}

// Inject makes the registry fail, until the returned function is called. Of several faults that match a request, the
// one that was injected first and has times left is taken.
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

// take returns the fault that a request meets.
func (r *Registry) take(q Request) (f Fault, ok bool) {
	var faults []*fault
	r.locked(func() { faults = slices.Clone(r.faults) })
	for _, state := range faults {
		if state.Match != nil && !state.Match(q) { // Not under the lock: it may ask the registry.
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

// withFaults answers the request, or lets it fail.
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

// A faultWriter changes the header of an answer, and cuts its body.
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
		// Not the connection: with HTTP/2, it could be closed before these bytes are on their way.
		panic(http.ErrAbortHandler)
	}
	n, err := w.ResponseWriter.Write(b)
	w.written += int64(n)
	return n, err
}

func (w *faultWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// connKey is the context key of the connection that a request came on, under [Start].
type connKey struct{}

// cut ends the answer, and the connection with it where there is one. It does not return.
func cut(req *http.Request) {
	if conn, ok := req.Context().Value(connKey{}).(net.Conn); ok {
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}

func withConn(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

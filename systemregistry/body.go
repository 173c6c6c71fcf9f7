package systemregistry

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// stalled is the longest pause of a client in the middle of a request. It is generous, because distribution may be slow
	// to read the body.
	stalled = time.Minute
	// slowest is the rate, in bytes per second, below which a client is cut off once it has used up [stalled]. A layer may
	// take hours over a slow line, but a client that sends a byte now and then does not hold a connection.
	slowest = 1 << 10
	// smallBody is the time limit for a form or a JSON body of at most 64 KiB.
	smallBody = 10 * time.Second
)

// errSealed reports a read from a body whose sender is not authorized yet.
var errSealed = errors.New("the sender is not authorized to send a body")

// body is the body of a request. It is sealed at first: nothing reads it before the sender is identified and
// authorized, whatever the handlers of others do. Each Read has a time limit of its own.
//
// One goroutine at a time reads it; the server may look at it meanwhile.
type body struct {
	io.ReadCloser
	control *http.ResponseController
	pace    pace
	open    bool
	// limit is the number of bytes that may still be read. Negative means any number.
	limit int64

	ended atomic.Bool // All of it was read.
	err   error       // Why reading failed. Nil if it did not.
}

// pace is the time that a client has for a transfer. Only the time spent waiting for the client counts.
type pace struct {
	moved  int64
	waited time.Duration
	most   time.Duration // In all. Zero means that it depends on how much is moved.
}

func (p *pace) next() time.Duration {
	if p.most > 0 {
		return p.most - p.waited
	}
	return min(stalled, stalled+time.Duration(p.moved)*(time.Second/slowest)-p.waited)
}

func (p *pace) add(n int, waited time.Duration) {
	p.moved += int64(n)
	p.waited += waited
}

// seal replaces the body of the request by one that is sealed, and returns it. It returns nil where there is no body.
func seal(w http.ResponseWriter, r *http.Request) *body {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	b := &body{ReadCloser: r.Body, control: http.NewResponseController(w), limit: -1}
	r.Body = b
	return b
}

// unseal lets the body be read, at most limit bytes and for at most d, where these are not negative and not zero. A body
// that is announced to be longer stays sealed.
func unseal(r *http.Request, limit int64, d time.Duration) {
	if b, ok := r.Body.(*body); ok && (limit < 0 || r.ContentLength <= limit) {
		b.open, b.limit, b.pace.most = true, limit, d
	}
}

func (b *body) Read(p []byte) (int, error) {
	if !b.open {
		return 0, errSealed
	}
	if b.limit >= 0 && int64(len(p)) > b.limit+1 { // One more, to find out whether there is more.
		p = p[:b.limit+1]
	}
	began := time.Now()
	_ = b.control.SetReadDeadline(began.Add(b.pace.next())) // A test recorder has no deadlines.
	n, err := b.ReadCloser.Read(p)
	b.pace.add(n, time.Since(began))
	if err != nil {
		// The deadline must not outlive the body: the server waits for the next request on the same connection.
		_ = b.control.SetReadDeadline(time.Time{})
	}
	if err == io.EOF { //nolint:errorlint // Readers return it as it is.
		b.ended.Store(true)
	}
	if b.limit >= 0 {
		if b.limit -= int64(n); b.limit < 0 {
			n, err = n-1, &http.MaxBytesError{}
			b.limit = 0
		}
	}
	if err != nil && err != io.EOF { //nolint:errorlint // As above.
		b.err = err
	}
	return n, err
}

// unread reports whether the client may be sending still.
func (b *body) unread() bool { return b != nil && !b.ended.Load() }

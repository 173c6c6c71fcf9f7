package systemregistry

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// stalled is the longest pause of a client within a request. It is generous, because distribution may read the body
	// slowly.
	stalled = time.Minute
	// slowest is the lowest permitted transfer rate, in bytes per second. A client that is slower on average is
	// disconnected once it has used up [stalled]. A layer may take hours over a slow line, but a client that sends a
	// byte now and then cannot hold a connection.
	slowest = 1 << 10
	// smallBody is the time limit for a form or a JSON body of at most 64 KiB.
	smallBody = 10 * time.Second
)

// errSealed reports that the body was read before its sender was authorized.
var errSealed = errors.New("the sender is not authorized to send a body")

// body is the body of a request. It is sealed at first, so that no handler, including distribution's, can read it
// before the sender is identified and authorized. Each Read has its own time limit.
//
// One goroutine at a time may read it. The server may inspect it concurrently.
type body struct {
	io.ReadCloser
	control *http.ResponseController
	pace    pace
	open    bool
	// limit is the number of bytes that may still be read. If negative, there is no limit.
	limit int64

	ended atomic.Bool // The body was read to its end.
	err   error       // The error that ended reading. Nil if reading did not fail.
}

// pace is the time limit of a transfer. Only the time spent waiting for the client counts.
type pace struct {
	moved  int64
	waited time.Duration
	most   time.Duration // In total. If zero, the limit depends on the number of bytes.
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

// seal replaces the body of the request with a sealed one, and returns it. It returns nil if the request has no body.
func seal(w http.ResponseWriter, r *http.Request) *body {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	b := &body{ReadCloser: r.Body, control: http.NewResponseController(w), limit: -1}
	r.Body = b
	return b
}

// unseal allows reading the body. If limit is not negative, it is the largest number of bytes that can be read. If d is
// not zero, it is the longest total time to wait for the client. A body whose announced length exceeds the limit stays
// sealed.
func unseal(r *http.Request, limit int64, d time.Duration) {
	if b, ok := r.Body.(*body); ok && (limit < 0 || r.ContentLength <= limit) {
		b.open, b.limit, b.pace.most = true, limit, d
	}
}

func (b *body) Read(p []byte) (int, error) {
	if !b.open {
		return 0, errSealed
	}
	if b.limit >= 0 && int64(len(p)) > b.limit+1 { // One more byte, to detect a longer body.
		p = p[:b.limit+1]
	}
	began := time.Now()
	_ = b.control.SetReadDeadline(began.Add(b.pace.next())) // Fails with a test recorder, which has no deadlines.
	n, err := b.ReadCloser.Read(p)
	b.pace.add(n, time.Since(began))
	if err != nil {
		// Reset the deadline, because the server waits for the next request on the same connection.
		_ = b.control.SetReadDeadline(time.Time{})
	}
	if err == io.EOF { //nolint:errorlint // Readers return io.EOF unwrapped.
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

// unread reports whether the client may still be sending the body.
func (b *body) unread() bool { return b != nil && !b.ended.Load() }

package systemregistry

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/distribution/distribution/v3/registry/api/errcode"

	"github.com/regcred/regcred/systemregistry/internal/gate"
)

// answer is a ResponseWriter that records the response, and can replace an error response of distribution with a more
// precise one.
type answer struct {
	http.ResponseWriter
	note gate.Note
	// refusal, if not nil, is sent instead of distribution's error response. It is ignored once the header has been
	// sent.
	refusal error
	// hide returns the error to send in place of a server error. If it returns nil, the server error is sent unchanged.
	hide func(*answer) error
	// tell receives the errors that are hidden from the client; see failed.
	tell func(error)
	// body is the body of the request. It is nil if the request has none.
	body    *body
	control *http.ResponseController
	pace    pace

	began    time.Time
	status   int
	sent     int64
	replaced bool
	hidden   bool
}

// maxTold is the number of bytes of a hidden error that are passed to tell.
const maxTold = 1000

// Unwrap implements the interface that [http.ResponseController] uses.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) WriteHeader(status int) {
	if a.replaced || a.status != 0 && a.status >= 200 {
		return
	}
	if a.note.Err != nil && a.refusal == nil {
		a.refusal = errcode.ErrorCodeUnavailable.WithMessage("accounts cannot be read")
		a.failed(a.note.Err)
	}
	a.leave()
	if status >= 500 && a.refusal == nil && a.hide != nil {
		a.refusal, a.hidden = a.hide(a), true
	}
	if status >= 400 && a.refusal != nil {
		a.replaced = true
		a.status = a.serve(a.refusal)
		return
	}
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// failed reports an error that is hidden from the client, unless the client has disconnected, which ends its calls.
func (a *answer) failed(err error) {
	if !errors.Is(err, context.Canceled) {
		a.tell(err)
	}
}

// leave closes the connection after this response if the client may still be sending an unread body. Otherwise, the
// server would read the body, at the client's pace, to find the next request after it.
func (a *answer) leave() {
	if a.body.unread() {
		a.Header().Set("Connection", "close")
	}
}

// serve writes the refusal directly to the underlying ResponseWriter, and returns its status.
func (a *answer) serve(refusal error) int {
	h := a.Header()
	for _, name := range []string{"Content-Length", "Docker-Content-Digest", "Www-Authenticate"} {
		h.Del(name)
	}
	status := http.StatusInternalServerError
	if coder, ok := refusal.(errcode.ErrorCoder); ok { //nolint:errorlint // This package created the error, unwrapped.
		status = coder.ErrorCode().Descriptor().HTTPStatusCode
	}
	if status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "5")
	}
	_ = errcode.ServeJSON(a.ResponseWriter, refusal) // Writing fails only if the client has disconnected.
	return status
}

func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if a.replaced {
		if a.hidden {
			a.tell(errors.New("registry: " + strings.TrimSpace(string(p[:min(len(p), maxTold)]))))
		}
		return len(p), nil
	}
	began := time.Now()
	// This fails with a test recorder, which has no deadlines.
	_ = a.control.SetWriteDeadline(began.Add(a.pace.next()))
	n, err := a.ResponseWriter.Write(p)
	a.pace.add(n, time.Since(began))
	a.sent += int64(n)
	return n, err
}

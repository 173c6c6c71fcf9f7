package systemregistry

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/distribution/distribution/v3/registry/api/errcode"

	"github.com/regcred/regcred/systemregistry/internal/gate"
)

// answer is a response that is watched, and whose refusal can be put into better words than distribution has for it.
type answer struct {
	http.ResponseWriter
	note gate.Note
	// refusal stands in for an answer of distribution that says that something failed. It is not read once the header
	// is out.
	refusal error
	// hide returns what to say in place of an error of the server. Nil means that it is said as it is.
	hide func(*answer) error
	// tell is told what was not said.
	tell func(error)
	// body is the request's. Nil means that it has none.
	body    *body
	control *http.ResponseController
	pace    pace

	began    time.Time
	status   int
	sent     int64
	replaced bool
	hidden   bool
}

// maxTold is how much of an error is told that is not said.
const maxTold = 1000

// Unwrap is for [http.ResponseController].
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) WriteHeader(status int) {
	if a.replaced || a.status != 0 && a.status >= 200 {
		return
	}
	if a.note.Err != nil && a.refusal == nil {
		a.refusal = errcode.ErrorCodeUnavailable.WithMessage("accounts cannot be read")
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

// leave closes the connection after this answer if the client may be sending a body that nobody read: the server would
// read it, at the client's pace, to find the next request behind it.
func (a *answer) leave() {
	if a.body.unread() {
		a.Header().Set("Connection", "close")
	}
}

// serve writes the refusal past this answer, and returns its status.
func (a *answer) serve(refusal error) int {
	h := a.Header()
	for _, name := range []string{"Content-Length", "Docker-Content-Digest", "Www-Authenticate"} {
		h.Del(name)
	}
	status := http.StatusInternalServerError
	if coder, ok := refusal.(errcode.ErrorCoder); ok { //nolint:errorlint // Made here.
		status = coder.ErrorCode().Descriptor().HTTPStatusCode
	}
	if status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "5")
	}
	_ = errcode.ServeJSON(a.ResponseWriter, refusal) // The client has left if this fails.
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
	// A test recorder has no deadlines.
	_ = a.control.SetWriteDeadline(began.Add(a.pace.next()))
	n, err := a.ResponseWriter.Write(p)
	a.pace.add(n, time.Since(began))
	a.sent += int64(n)
	return n, err
}

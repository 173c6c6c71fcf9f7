package systemregistry

import (
	"io"
	"net/http"
	"time"
)

// stalled is how long a client may send or take nothing in the middle of a request. It is generous: distribution itself
// may be slow to take what is sent.
const stalled = time.Minute

// progress gives each step of a request its own time limit, so that a layer may take hours, and a client that stands
// still does not hold a connection.
func progress(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = &slowBody{r.Body, control}
		}
		next.ServeHTTP(&slowWriter{w, control}, r)
	})
}

type slowBody struct {
	io.ReadCloser
	control *http.ResponseController
}

func (b *slowBody) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(stalled)) // A test recorder has no deadlines.
	return b.ReadCloser.Read(p)
}

type slowWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

// Unwrap is for [http.ResponseController].
func (w *slowWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *slowWriter) Write(p []byte) (int, error) {
	_ = w.control.SetWriteDeadline(time.Now().Add(stalled))
	return w.ResponseWriter.Write(p)
}

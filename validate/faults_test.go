package validate_test

import (
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/regcred/regcred/registry"
)

// A fault is something that goes wrong with a request for the ping, for a token, or for the manifest.
type fault struct {
	do   func(w http.ResponseWriter, req *http.Request, next http.Handler)
	once bool // Only the first such request.

	want     registry.Code            // "" means success.
	wantAt   map[string]registry.Code // Steps with another code.
	wait     time.Duration            // The minimum of the error's Wait.
	requests int                      // The maximum number of requests at that step.
	maxAlloc uint64                   // Bytes; zero means 16 MiB.
	atLeast  time.Duration            // The minimum duration.
	timeout  time.Duration            // Of the Checker; zero means 10 seconds.
}

func answerWith(status int, body string, headers ...string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const manifestType = "application/vnd.oci.image.manifest.v1+json"

// noPing is the result of a fault at the ping, which containerd does not send.
var noPing = map[string]registry.Code{"ping": ""}

var everywhere = []string{"ping", "token", "manifest"}

var faults = map[string]fault{
	"cut": {
		do:   func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) },
		want: registry.ErrUnreachable, requests: 6, // net/http itself sends some of them, for an idle connection.
	},
	"cut once": {
		do:   func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) },
		once: true, requests: 3,
	},
	"cut in the body": {
		do: func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"token":`)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		want: registry.ErrUnreachable, requests: 3,
		wantAt: map[string]registry.Code{"ping": ""}, // Its body is not needed.
	},
	"hang in the header": {
		do:   func(_ http.ResponseWriter, req *http.Request, _ http.Handler) { <-req.Context().Done() },
		want: registry.ErrTimeout, requests: 1, timeout: 300 * time.Millisecond,
	},
	"hang in the body": {
		do: func(w http.ResponseWriter, req *http.Request, _ http.Handler) {
			_, _ = io.WriteString(w, `{"token":`)
			_ = http.NewResponseController(w).Flush()
			<-req.Context().Done()
		},
		want: registry.ErrTimeout, requests: 1, timeout: 300 * time.Millisecond,
	},
	"a byte at a time": {
		do: func(w http.ResponseWriter, req *http.Request, _ http.Handler) {
			for req.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(10 * time.Millisecond)
			}
		},
		want: registry.ErrTimeout, requests: 1, timeout: 300 * time.Millisecond,
	},
	// A token is requested by POST and by GET, each three times. containerd does not send the ping.
	"500":      {do: answerWith(500, "sorry"), want: registry.ErrUnavailable, requests: 6, wantAt: noPing},
	"500 once": {do: answerWith(500, "sorry"), once: true, requests: 2},
	"502 page": {
		do: answerWith(502, "<html>", "Content-Type", "text/html"), want: registry.ErrUnavailable, requests: 6, wantAt: noPing,
	},
	"429": {do: answerWith(429, "slow down"), want: registry.ErrRateLimited, requests: 1, wantAt: noPing},
	"429 for a second, once": {
		do:   answerWith(429, "slow down", "Retry-After", "1"),
		once: true, requests: 2, atLeast: time.Second,
	},
	"429 for an hour": {
		do:   answerWith(429, "slow down", "Retry-After", "3600"),
		want: registry.ErrRateLimited, wait: 59 * time.Minute, requests: 1, wantAt: noPing,
	},
	"429 until a date": {
		do: func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Retry-After", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
			w.WriteHeader(429)
		},
		want: registry.ErrRateLimited, wait: 59 * time.Minute, requests: 1, wantAt: noPing,
	},
	"429 until the end of days": {
		do:   answerWith(429, "slow down", "Retry-After", "99999999999999999"),
		want: registry.ErrRateLimited, wait: time.Hour, requests: 1, wantAt: noPing,
	},
	"1 GiB of body": {
		do:   func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { pour(w, 1<<30) },
		want: registry.ErrTooLarge, requests: 1, maxAlloc: 64 << 20,
		wantAt: map[string]registry.Code{"ping": ""},
	},
	"1 GiB of error": {
		do: func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.WriteHeader(404)
			pour(w, 1<<30)
		},
		want: registry.ErrDigestHeader, requests: 2,
		wantAt: map[string]registry.Code{"ping": "", "token": registry.ErrUnavailable},
	},
	"10 MiB of header": {
		do:   answerWith(200, "", "X-Long", strings.Repeat("x", 10<<20)),
		want: registry.ErrTooLarge, requests: 1, maxAlloc: 128 << 20, // The server allocates most of it.
	},
	"redirects without end": {
		do: func(w http.ResponseWriter, req *http.Request, _ http.Handler) {
			http.Redirect(w, req, req.URL.Path+"x", http.StatusTemporaryRedirect)
		},
		want: registry.ErrUnavailable, requests: 6,
		wantAt: map[string]registry.Code{"token": registry.ErrInsecure}, // Its body holds the password.
	},
	"garbage": {
		do:   answerWith(200, `{"tok`, "Content-Type", "application/json"),
		want: registry.ErrNotRegistry, requests: 1,
		wantAt: map[string]registry.Code{"ping": "", "token": registry.ErrTokenResponse},
	},
	"a page": {
		do:   answerWith(200, "<!DOCTYPE html><html><title>Sign in</title>", "Content-Type", "text/html"),
		want: registry.ErrNotRegistry, requests: 1,
		wantAt: map[string]registry.Code{"ping": "", "token": registry.ErrTokenResponse},
	},
	"wrong content type": {
		do: func(w http.ResponseWriter, req *http.Request, next http.Handler) {
			next.ServeHTTP(&headerWriter{w, "Content-Type", "text/plain"}, req)
		},
		requests: 1,
	},
	"no digest": {
		do: func(w http.ResponseWriter, req *http.Request, next http.Handler) {
			next.ServeHTTP(&headerWriter{w, "Docker-Content-Digest", ""}, req)
		},
		requests: 1,
	},
	"another manifest": {
		do: answerWith(200, `{"schemaVersion":2}`,
			"Content-Type", manifestType, "Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64)),
		want: registry.ErrUnavailable, requests: 1,
		wantAt: map[string]registry.Code{"ping": "", "token": registry.ErrTokenResponse},
	},
	"401 without end": {
		do:   challenging(func() string { return "registry" }),
		want: registry.ErrUnauthorized, requests: 10, // With a login, and without.
		wantAt: map[string]registry.Code{"ping": ""},
	},
	"401 for another service each time": {
		do:   challenging(func() string { return time.Now().String() }),
		want: registry.ErrUnauthorized, requests: 10,
		wantAt: map[string]registry.Code{"ping": ""},
	},
}

func challenging(service func() string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, req *http.Request, _ http.Handler) {
		w.Header().Set("WWW-Authenticate",
			`Bearer realm="https://`+req.Host+`/auth/token",service="`+service()+`",error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
}

func pour(w io.Writer, n int) {
	for chunk := []byte(strings.Repeat(" ", 64<<10)); n > 0; n -= len(chunk) {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

// A headerWriter changes a header, or leaves it out.
type headerWriter struct {
	http.ResponseWriter
	name, value string
}

func (w *headerWriter) WriteHeader(status int) {
	if w.value == "" {
		w.Header().Del(w.name)
	} else {
		w.Header().Set(w.name, w.value)
	}
	w.ResponseWriter.WriteHeader(status)
}

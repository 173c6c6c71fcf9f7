// Package cloud has the code that the providers of clouds share: time limits of calls, errors of one form, and the
// cleaning of text from others for errors.
package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/regcred/regcred/internal/option"
	"github.com/regcred/regcred/registry"
)

// DefaultTimeout limits one call of a provider with all its steps.
const DefaultTimeout = 30 * time.Second

// WithTimeout bounds ctx by d, or by [DefaultTimeout] if d is not positive.
func WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	d = option.OrDefault(d, DefaultTimeout)
	return context.WithTimeoutCause(ctx, d, timeoutError(d))
}

// A timeoutError is the cause of a context that [WithTimeout] ended.
type timeoutError time.Duration

func (e timeoutError) Error() string { return fmt.Sprintf("no answer within %s", time.Duration(e)) }

// EndCode returns the code for the end of ctx, which must be over: [registry.ErrTimeout] if the limit of [WithTimeout]
// passed, otherwise [registry.ErrCanceled], because the caller gave up.
func EndCode(ctx context.Context) registry.Code {
	if _, ours := errors.AsType[timeoutError](context.Cause(ctx)); ours {
		return registry.ErrTimeout
	}
	return registry.ErrCanceled
}

// Error returns an error in the common form of all providers. Its Wait is the longer of wait and the wait that err
// requests, such as the error of an API server that issues subjects' tokens.
func Error(p registry.Profile, code registry.Code, hint string, wait time.Duration, err error) error {
	e := &registry.Error{Op: "get credential", Ref: fmt.Sprintf("for profile %q", p.Name), Code: code, Hint: hint, Wait: wait, Err: err}
	e.Wait = e.RetryAfter()
	return e
}

// Client returns a client for calls with a profile's login. It uses the profile's transport and follows no redirect,
// because a login must be sent only to the server that it is for. If rt is not nil, the client uses it instead of the
// profile's transport. If transports is nil, no connection is kept, and done closes the client's connections.
func Client(rt http.RoundTripper, transports *registry.Transports, t registry.TransportConfig) (client *http.Client, done func(), err error) {
	done = func() {}
	if rt == nil {
		if transports == nil {
			transports = new(registry.Transports)
			done = transports.CloseIdleConnections
		}
		if rt, err = transports.For(t); err != nil {
			return nil, nil, err
		}
	}
	return &http.Client{
		Transport:     rt,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, done, nil
}

// MaxWait is the longest wait that a response can request. An invalid response, which any proxy that a profile names
// can send, must not stop renewal for long.
const MaxWait = 15 * time.Minute

// RetryAfter returns the wait that the response requests, at most [MaxWait]. It returns zero if the response requests
// none.
func RetryAfter(h http.Header) (wait time.Duration) {
	if s, err := strconv.Atoi(h.Get("Retry-After")); err == nil {
		wait = min(time.Duration(s), MaxWait/time.Second) * time.Second
	} else if at, err := http.ParseTime(h.Get("Retry-After")); err == nil {
		wait = time.Until(at)
	}
	return min(max(wait, 0), MaxWait)
}

// AllowsSubject reports whether a profile may use the file or URL with a token that it names. The program must list
// the name in its provider, in exactly the same spelling, and the profile's egress policy must not forbid all.
// Otherwise a profile could read the files of the process, because their text is sent to the server that the profile's
// proxy and certificate authority select.
func AllowsSubject(p registry.Profile, listed []string, name string) bool {
	if e := p.Transport.Egress; e != nil && !e.AllowFiles {
		return false
	}
	return slices.Contains(listed, name)
}

// IsToken reports whether text from a server or a source can be a token: one line of printable ASCII without spaces.
// Other text could end the header or the line of a file that it is written into.
func IsToken(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// maxToken is far larger than any token in a file: AWS accepts up to 20,000 characters.
const maxToken = 64 << 10

// ReadToken reads a file with a token.
func ReadToken(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	if err == nil && len(text) > maxToken {
		err = fmt.Errorf("%s is too long for a token", path)
	}
	return text, err
}

const (
	maxText = 600
	// maxWord is longer than any name of AWS or Google. Access tokens, session tokens and assertions are longer still.
	maxWord = 300
)

// Clean makes text from others suitable for an error. It returns the first line, without the secrets and without words
// that could be a token. In later lines, AWS quotes the request whose signature is wrong, including its session token.
func Clean(text string, secrets ...string) string {
	text, _, _ = strings.Cut(text, "\n")
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, redacted)
		}
	}
	words := strings.Fields(text)
	for i, word := range words {
		if len(word) > maxWord || strings.Contains(word, "ya29.") || strings.Contains(word, "eyJ") {
			words[i] = redacted
		}
	}
	text = strings.Join(words, " ")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "..."
	}
	return text
}

const redacted = "[redacted]"

// Package cloud is what the providers of clouds have in common: bounded calls, errors of one form, and texts of others
// that are fit to be shown.
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

// DefaultTimeout is for one call of a provider with all its steps.
const DefaultTimeout = 30 * time.Second

// WithTimeout bounds ctx by d, or by [DefaultTimeout] if d is not positive.
func WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	d = option.OrDefault(d, DefaultTimeout)
	return context.WithTimeoutCause(ctx, d, timeoutError(d))
}

// A timeoutError is the cause of a context that [WithTimeout] ended.
type timeoutError time.Duration

func (e timeoutError) Error() string { return fmt.Sprintf("no answer within %s", time.Duration(e)) }

// EndCode says why ctx, which is over, ended: [registry.ErrTimeout] if its [WithTimeout] was over, else
// [registry.ErrCanceled], for the caller left.
func EndCode(ctx context.Context) registry.Code {
	if _, ours := errors.AsType[timeoutError](context.Cause(ctx)); ours {
		return registry.ErrTimeout
	}
	return registry.ErrCanceled
}

// Error returns the one form of a provider's errors.
func Error(p registry.Profile, code registry.Code, hint string, wait time.Duration, err error) error {
	return &registry.Error{Op: "get credential", Ref: fmt.Sprintf("for profile %q", p.Name), Code: code, Hint: hint, Wait: wait, Err: err}
}

// Client returns a client for calls with a profile's login: it goes the way of the profile's transport, and follows no
// redirect, because a login goes to the server that it is for and nowhere else. The round tripper, if not nil, replaces
// the way; without transports to keep connections, done closes them.
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

// MaxWait keeps a strange answer, which comes through whatever proxy a profile names, from stopping renewal for long.
const MaxWait = 15 * time.Minute

// RetryAfter returns how long the answer wants its sender to be left alone, [MaxWait] at most; zero if it does not say.
func RetryAfter(h http.Header) (wait time.Duration) {
	if s, err := strconv.Atoi(h.Get("Retry-After")); err == nil {
		wait = min(time.Duration(s), MaxWait/time.Second) * time.Second
	} else if at, err := http.ParseTime(h.Get("Retry-After")); err == nil {
		wait = time.Until(at)
	}
	return min(max(wait, 0), MaxWait)
}

// AllowsSubject reports whether a profile may use the file or URL with a token that it names: only one that the program
// lists in its provider, letter by letter, and none where the profile's egress policy forbids all. Everything else would
// let a profile read the files of the process: their text goes to wherever the profile's proxy and certificate authority
// lead.
func AllowsSubject(p registry.Profile, listed []string, name string) bool {
	if e := p.Transport.Egress; e != nil && !e.AllowFiles {
		return false
	}
	return slices.Contains(listed, name)
}

// IsToken reports whether a server's or a source's text can be a token: one line of printable ASCII without spaces. Other
// text could end a header or a line of a file that it is written into.
func IsToken(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// maxToken is far above any token that a file holds: AWS takes 20,000 characters.
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
	// maxWord is longer than any name of AWS or Google; access tokens, session tokens and assertions are longer still.
	maxWord = 300
)

// Clean makes text of others fit for an error: its first line, without the secrets, and without what could be a token.
// Later lines are where AWS quotes the request whose signature is wrong, session token and all.
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

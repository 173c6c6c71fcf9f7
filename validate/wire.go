package validate

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/panics"
	"github.com/regcred/regcred/registry"
)

// An apiRequest is one request to send.
type apiRequest struct {
	step       Step
	method     string
	path       string   // Of the registry's API.
	url        *url.URL // Of another server; nil with a path.
	displayURL string   // The URL for the evidence; empty with a path.
	auth       authorization
	elsewhere  redirectLogin // The login for targets of redirects. See redirectRule.
	accept     string
	form       url.Values // Of a POST.
	firstByte  bool       // Only the first byte is needed.
	limit      int64      // For the body of a successful response, which is kept. Zero means that it is not needed.
	truncate   bool       // Read a successful response's body up to the limit.
}

// An authorization is the login or token that is sent with a request. It is never printed.
type authorization struct {
	scheme   string // "Basic", "Bearer"; empty for none.
	value    credentials.Secret
	password credentials.Secret // The password behind the value.
}

func (a authorization) header() string { return a.scheme + " " + a.value.Reveal() }

const (
	maxRedirects = 5
	maxRetries   = 2
	firstBackoff = 200 * time.Millisecond
)

// do sends a request and returns the response, whatever its status; an error means that there was no response. It waits
// for a free slot, honors Retry-After, and retries where that may help.
func (o *origin) do(ctx context.Context, t *trace, q apiRequest) (*response, *registry.Error) {
	retries := maxRetries
	if q.method == http.MethodHead {
		retries = 1 // As containerd 2 does; if a HEAD fails, GET returns the reason.
	}
	for try := 0; ; try++ {
		if ctx.Err() != nil {
			return nil, canceled(ctx)
		}
		if err := t.spend(); err != nil {
			return nil, err
		}
		if err := o.acquire(ctx); err != nil {
			return nil, err
		}
		a, err := o.doOnce(ctx, t, q)
		o.release()
		if try == retries || !o.shouldRetry(ctx, a, err, try) {
			return a, err
		}
		if a != nil && q.step == StepManifest {
			t.retry(a.status)
		}
	}
}

// acquire blocks until the request may be sent.
func (o *origin) acquire(ctx context.Context) *registry.Error {
	for {
		o.mu.Lock()
		wait := time.Until(o.pause)
		o.mu.Unlock()
		if wait <= 0 {
			break
		}
		if !sleep(ctx, wait) {
			return canceled(ctx)
		}
	}
	for _, slots := range []chan struct{}{o.slots, o.s.slots} {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			if slots == o.s.slots {
				<-o.slots
			}
			return canceled(ctx)
		}
	}
	return nil
}

func (o *origin) release() {
	<-o.s.slots
	<-o.slots
}

// shouldRetry reports whether the request is worth a retry, and blocks until it is due.
func (o *origin) shouldRetry(ctx context.Context, a *response, err *registry.Error, try int) bool {
	if err != nil {
		return retryable(err) && sleep(ctx, backoff(try))
	}
	switch a.status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		wait := retryAfter(a.header, time.Now())
		if wait > 0 && wait <= o.s.c.maxWait() {
			// All requests to the registry wait, not just this one.
			o.mu.Lock()
			if until := time.Now().Add(wait); until.After(o.pause) {
				o.pause = until
			}
			o.mu.Unlock()
			return true
		}
		return wait == 0 && a.status == http.StatusServiceUnavailable && sleep(ctx, backoff(try))
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
		return sleep(ctx, backoff(try))
	}
	return false
}

// backoff returns up to 200 and then up to 800 milliseconds. Half of it is random jitter, so that many requests are not
// repeated at once.
func backoff(try int) time.Duration {
	d := firstBackoff << (2 * try)
	return d/2 + rand.N(d/2)
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func canceled(ctx context.Context) *registry.Error {
	return &registry.Error{Code: registry.ErrCanceled, Err: context.Cause(ctx)}
}

// doOnce sends the request, follows redirects, reads the response and adds it to the trace.
func (o *origin) doOnce(outer context.Context, t *trace, q apiRequest) (*response, *registry.Error) {
	ctx, cancel := context.WithTimeoutCause(outer, o.s.c.timeout(), errTimeLimit)
	defer cancel()
	if q.url == nil {
		q.url = &url.URL{Scheme: o.base.Scheme, Host: o.base.Host}
		q.url.Path, q.url.RawQuery, _ = strings.Cut(q.path, "?")
		q.displayURL = o.prefix + q.path
	}
	if q.auth.scheme != "" {
		t.noteSent(q.auth)
	}
	start := time.Now()
	a := &response{step: q.step, method: q.method, sent: q.auth}
	a.ex = Exchange{Step: q.step, Method: q.method, URL: q.displayURL, Auth: q.auth.scheme}
	err := o.follow(ctx, t, q, a)
	a.ex.Duration = time.Since(start)
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx) // When a connection is torn down, a truncated body can look complete.
	}
	if err != nil {
		if _, decided := errors.AsType[*registry.Error](err); !decided && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		failed := netError(outer, err)
		a.ex.Err = failed.Code.Error()
		failed.Err = &exchangeError{a.ex, failed.Err}
		t.add(a.ex)
		return nil, failed
	}
	t.add(a.ex)
	t.received(len(a.body))
	limit := readRateLimit(a.header)
	limit.Source = a.without(limit.Source)
	t.setRateLimit(limit)
	return a, nil
}

// follow sends the request and follows its redirects. The login is sent only within the registry's own host, and to
// one target of a redirect that q.elsewhere permits.
func (o *origin) follow(ctx context.Context, t *trace, q apiRequest, a *response) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = panics.Error("Checker.RoundTripper", value)
			err = &registry.Error{Code: registry.CodeOf(err), Hint: hintPanic, Err: err}
		}
	}()
	u, dropped := q.url, false
	for hop := 0; ; hop++ {
		var res *http.Response
		login := q.elsewhere.logsInAtOnce(t, u)
		if !login {
			if res, err = o.send(ctx, q, u); err != nil {
				return err
			}
			if login = q.elsewhere.logsInAfter(u, res); login {
				drain(res.Body)
			}
		}
		if login {
			t.logInAt(u.Host)
			target := q.elsewhere
			q.elsewhere = redirectLogin{} // The login is sent to one target. That target may redirect further.
			q.auth, dropped = target.basicAuth(), false
			a.ex.Auth, a.sentElsewhere = q.auth.scheme, q.auth
			if res, err = target.sendTo(ctx, q, u); err != nil {
				return err
			}
		}
		if location := res.Header.Get("Location"); location != "" && isRedirect(res.StatusCode) {
			drain(res.Body)
			next, err := o.checkRedirect(u, location, q)
			if err == nil && hop == maxRedirects {
				err = errorf(registry.ErrUnavailable, "the registry redirects without end")
			}
			if err != nil {
				return err
			}
			if !sameOrigin(u, next) && q.auth.scheme != "" {
				q.auth, dropped = authorization{}, true
			}
			a.ex.URL = a.without(showURL(next))
			u = next
			continue
		}
		if dropped && res.StatusCode == http.StatusUnauthorized {
			drain(res.Body)
			return o.leftBehind(u, res.StatusCode, q)
		}
		a.status, a.header, a.host, a.path = res.StatusCode, res.Header, u.Hostname(), u.Path
		a.ex.Status = res.StatusCode
		return a.read(res, q)
	}
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

func (o *origin) send(ctx context.Context, q apiRequest, u *url.URL) (*http.Response, error) {
	req := (&http.Request{
		Method: q.method, URL: u, Host: u.Host, Header: make(http.Header, 4),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	values := make([]string, 0, 4) // One array for all values, as in net/http.
	set := func(name, value string) {
		values = append(values, value)
		req.Header[name] = slices.Clip(values[len(values)-1:])
	}
	set("User-Agent", o.s.c.userAgent())
	if q.accept != "" {
		set("Accept", q.accept)
	}
	if q.auth.scheme != "" {
		set("Authorization", q.auth.header())
	}
	if q.firstByte {
		set("Range", "bytes=0-0")
	}
	if q.form != nil {
		body := q.form.Encode()
		set("Content-Type", "application/x-www-form-urlencoded")
		req.ContentLength = int64(len(body))
		req.Body = io.NopCloser(strings.NewReader(body))
	}
	if err := o.egress.CheckURL(u); err != nil {
		return nil, err // A RoundTripper does not apply the policy.
	}
	if q.step == StepPing && u.Host == o.base.Host {
		req = o.traceAddress(req)
	}
	return o.roundTripper(req).RoundTrip(req)
}

// showURL returns a URL without its query, because the query of a storage URL has its signature.
func showURL(u *url.URL) string {
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	if u.RawQuery != "" {
		shown.RawQuery = "..."
	}
	return cleanLine(shown.String(), 300)
}

// read reads the needed parts of a response, within limits.
func (a *response) read(res *http.Response, q apiRequest) error {
	defer res.Body.Close()
	a.challenges, a.length, a.received = parseChallenges(res.Header), res.ContentLength, time.Now()
	if !a.ok() {
		body, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
		if err != nil && res.StatusCode/100 == 5 {
			return err
		}
		a.readErrorBody(body) // The status counts, even if the body was truncated.
		return nil
	}
	if q.limit == 0 || q.method == http.MethodHead {
		drain(res.Body)
		return nil
	}
	// The initial size is bounded, because the claimed length may be a lie.
	buffer := bytes.NewBuffer(make([]byte, 0, min(max(res.ContentLength, 512)+bytes.MinRead, 64<<10)))
	n, err := buffer.ReadFrom(io.LimitReader(res.Body, q.limit+1))
	if n > q.limit && !q.truncate {
		return errorf(registry.ErrTooLarge, "the response is longer than %d bytes", q.limit)
	}
	if err != nil {
		return err
	}
	a.body = buffer.Bytes()[:min(n, q.limit)]
	return nil
}

// drain reads the small rest of a body, so that the connection can be used again, and closes it.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 4<<10)
	_ = body.Close()
}

// An exchangeError is an exchange as the cause of an error.
type exchangeError struct {
	ex  Exchange
	err error
}

func (e *exchangeError) Error() string {
	ex := e.ex
	if e.err != nil {
		ex.Err = e.err.Error()
	}
	return ex.String()
}

func (e *exchangeError) Unwrap() error { return e.err }

// errTimeLimit is the cause of a context that ended by the time limit of one request.
var errTimeLimit = errors.New("no response within the time limit of one request")

// netError returns the reason why there was no response. outer is the caller's context, which distinguishes a canceled
// call from a request that took too long.
func netError(outer context.Context, err error) *registry.Error {
	if outer.Err() != nil {
		return canceled(outer)
	}
	if e, ok := errors.AsType[*registry.Error](err); ok {
		return e
	}
	e := &registry.Error{Code: registry.NetworkCode(err), Err: shortError{err}}
	switch {
	case errors.Is(err, errTimeLimit):
		e.Code = registry.ErrTimeout
	case errors.Is(err, errForbiddenAddress):
		e.Code, e.Err = registry.ErrInsecure, errForbiddenAddress
	case isHeaderTooLarge(err):
		e.Code = registry.ErrTooLarge
	}
	e.Hint = netHint(e.Code, err)
	return e
}

// errorf returns an error with the code for something that a registry did.
func errorf(code registry.Code, format string, args ...any) *registry.Error {
	return &registry.Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// netHint returns the fix for a missing response, if there is a more specific one than the code's hint.
func netHint(code registry.Code, err error) string {
	switch code {
	case registry.ErrInsecure:
		return "nothing was sent; if that server belongs to the registry, add its host to Checker.Realms"
	case registry.ErrTLSUnknownIssuer:
		if authority, ok := errors.AsType[x509.UnknownAuthorityError](err); ok && authority.Cert != nil {
			issuer := cleanLine(authority.Cert.Issuer.String(), 120)
			return fmt.Sprintf("add the certificate of %q, which signed the registry's, to the profile's transport.caBundle; the nodes "+
				"must be configured to trust it, too", issuer)
		}
	case registry.ErrTLS:
		if errors.Is(err, http.ErrSchemeMismatch) {
			return "the registry uses plain HTTP: give it a certificate, or set plainHTTP in the profile's transport if the " +
				"login may be read on the network; configure the nodes for plain HTTP, too"
		}
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
			return "the registry rejects the connection: it may require a client certificate (clientCertificate and clientKey " +
				"in the profile's transport), or another version of TLS"
		}
	case registry.ErrUnreachable:
		if errors.Is(err, syscall.ECONNREFUSED) {
			return "nothing listens at that address and port: check the endpoint, and that the registry runs"
		}
	}
	return ""
}

// isHeaderTooLarge reports whether a response header exceeded the limit of the transport. It compares texts because
// net/http returns these errors without a type. HTTP/2 returns COMPRESSION_ERROR if a single field exceeds the limit.
func isHeaderTooLarge(err error) bool {
	s := err.Error()
	return strings.Contains(s, "server response headers exceeded") ||
		strings.Contains(s, "response header list larger than advertised limit") ||
		strings.Contains(s, "connection error: COMPRESSION_ERROR")
}

// retryable reports whether the same request may succeed in a moment: the connection was cut, and not intentionally.
func retryable(err *registry.Error) bool {
	if err.Code != registry.ErrUnreachable {
		return false
	}
	_, stream := errors.AsType[streamError](err)
	return stream || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// A streamError is HTTP/2's error for one stream that is cut, where HTTP/1 cuts the connection. The error of net/http,
// whose type is not exported, converts to any type with these fields.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (streamError) Error() string { return "stream error" }

// A shortError keeps errors short in a log: net/http quotes data that a server sent in place of HTTP.
type shortError struct{ err error }

func (e shortError) Error() string { return cleanLine(e.err.Error(), 300) }
func (e shortError) Unwrap() error { return e.err }

package validate

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/regcred/regcred/registry"
)

// errTimeLimit is the cause of a context that the limit of one request has ended.
var errTimeLimit = errors.New("no answer within the time limit of one request")

// netError says why there was no answer. outer is the caller's context, which tells a caller that left from a request
// that took too long.
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
	case errors.Is(err, errPlace):
		e.Code, e.Err = registry.ErrInsecure, errPlace
	case isHeaderTooLarge(err):
		e.Code = registry.ErrTooLarge
	}
	e.Hint = netHint(e.Code, err)
	return e
}

// wrong is what a registry did, in an error with the code.
func wrong(code registry.Code, format string, args ...any) *registry.Error {
	return &registry.Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// netHint is what to do about a lack of an answer, where more can be said than for the code in general.
func netHint(code registry.Code, err error) string {
	switch code {
	case registry.ErrInsecure:
		return "nothing was sent; if that server belongs to the registry, add its host to Checker.Realms"
	case registry.ErrTLSUnknownIssuer:
		if authority, ok := errors.AsType[x509.UnknownAuthorityError](err); ok && authority.Cert != nil {
			issuer := cleanLine(authority.Cert.Issuer.String(), 120)
			return fmt.Sprintf("put the certificate of %q, which signed the registry's, into the profile's caBundle; the nodes "+
				"must trust it too, which no pull secret can do", issuer)
		}
	case registry.ErrTLS:
		if errors.Is(err, http.ErrSchemeMismatch) {
			return "the registry speaks plain HTTP: give it a certificate, or say plainHTTP in the profile's transport if the " +
				"login may be read on the way; the nodes must be told so too"
		}
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
			return "the registry refuses the connection: it may want a client certificate (clientCertificate and clientKey " +
				"in the profile's transport), or another version of TLS"
		}
	case registry.ErrUnreachable:
		if errors.Is(err, syscall.ECONNREFUSED) {
			return "nothing listens at that address and port: check the endpoint, and that the registry runs"
		}
	}
	return ""
}

// isHeaderTooLarge knows errors of net/http that have no type. The last is what HTTP/2 says of one header field that is
// beyond the limit for all.
func isHeaderTooLarge(err error) bool {
	s := err.Error()
	return strings.Contains(s, "server response headers exceeded") ||
		strings.Contains(s, "response header list larger than advertised limit") ||
		strings.Contains(s, "connection error: COMPRESSION_ERROR")
}

// retryable reports whether the same request may get through in a moment: the connection was cut, and by nobody's
// decision.
func retryable(err *registry.Error) bool {
	if err.Code != registry.ErrUnreachable {
		return false
	}
	_, stream := errors.AsType[streamError](err)
	return stream || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// A streamError is what HTTP/2 has in place of a connection that is cut. The error of net/http, whose type is not
// exported, becomes any type with these fields.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (streamError) Error() string { return "stream error" }

// A shortError keeps what a server sent in place of HTTP, which net/http quotes, from filling a log.
type shortError struct{ err error }

func (e shortError) Error() string { return cleanLine(e.err.Error(), 300) }
func (e shortError) Unwrap() error { return e.err }

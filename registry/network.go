package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"

	"github.com/regcred/regcred/egress"
)

// NetworkCode returns the code of an error of package net/http that prevented a response. It returns "" for nil, and
// [ErrUnreachable] if the cause is unknown.
//
// It cannot distinguish the caller's context from another one: callers check their own context first.
func NetworkCode(err error) Code {
	if err == nil {
		return ""
	}
	if code, ok := errors.AsType[Code](err); ok {
		return code
	}
	if errors.Is(err, egress.ErrForbidden) {
		return ErrEgressDenied
	}
	if code := tlsCode(err); code != "" {
		return code
	}
	if errors.Is(err, context.Canceled) {
		return ErrCanceled
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && (op.Op == "proxyconnect" || op.Op == "socks connect") ||
		errors.Is(err, egress.ErrEnvironmentProxy) {
		return ErrProxy
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return ErrHostNotFound
	}
	if timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err); ok && timeout.Timeout() {
		return ErrTimeout
	}
	return ErrUnreachable
}

// tlsCode returns the code of a TLS error, or "" for any other error.
func tlsCode(err error) Code {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return ErrTLSExpired
	}
	// This is an alert that one side sends before it ends the handshake. Its type is not exported by crypto/tls.
	if op, ok := errors.AsType[*net.OpError](err); ok && (op.Op == "remote error" || op.Op == "local error") {
		return ErrTLS
	}
	switch {
	case is[x509.UnknownAuthorityError](err):
		return ErrTLSUnknownIssuer
	case is[x509.HostnameError](err):
		return ErrTLSWrongName
	case is[*tls.CertificateVerificationError](err), is[tls.RecordHeaderError](err), is[tls.AlertError](err),
		errors.Is(err, http.ErrSchemeMismatch):
		return ErrTLS
	}
	return ""
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

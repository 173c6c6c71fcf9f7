package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/regcred/regcred/internal/option"
)

// A Dialer connects to the addresses that a policy allows. The zero Dialer connects to any address. Set the fields
// before the first use; a Dialer is then safe for concurrent use.
type Dialer struct {
	// Policy is evaluated for each address before a connection to it is made. If nil, all addresses are allowed.
	Policy *Policy
	// Check is called after Policy, with each address before a connection to it is made. If it returns an error, no
	// connection is made. If nil, it is not called.
	Check func(netip.AddrPort) error
	// Timeout limits one connection with its lookup. The zero value is 10 seconds.
	Timeout time.Duration
}

const defaultTimeout = 10 * time.Second

// DialContext connects to an address such as "registry.example.com:443". If the policy denies all addresses of the
// host, or the host does not exist, the error wraps [ErrForbidden] and names no address. Under a policy, a host name is
// looked up as an absolute name, and the error of a failed lookup does not name the name server.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: option.OrDefault(d.Timeout, defaultTimeout)}
	host, port, err := net.SplitHostPort(address)
	if d.Policy != nil || d.Check != nil {
		dialer.ControlContext = d.control(host)
	}
	if d.Policy == nil {
		return dialer.DialContext(ctx, network, address)
	}
	if err != nil {
		return nil, ErrForbidden
	}
	if _, err := netip.ParseAddr(host); err != nil && !strings.HasSuffix(host, ".") {
		address = net.JoinHostPort(host+".", port)
	}
	dialer.Resolver = d.Policy.Resolver
	conn, err := dialer.DialContext(ctx, network, address)
	return conn, hide(err)
}

// control returns the function that is called with each address of the host after every lookup, just before the
// connection is made.
func (d *Dialer) control(host string) func(context.Context, string, string, syscall.RawConn) error {
	return func(_ context.Context, _, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return ErrForbidden
		}
		if err := d.Policy.check(host, to); err != nil {
			return err
		}
		if d.Check != nil {
			return d.Check(to)
		}
		return nil
	}
}

// hide removes the address from the error of a forbidden connection, and replaces the error for a host that does not
// exist with the same error. Otherwise a user could explore the names of the platform's own network. Of a lookup that
// fails otherwise, it returns the name and the kind of the failure, because the error of package net has the addresses
// of the platform's name servers in its fields and its text.
func hide(err error) error {
	if err == nil {
		return nil
	}
	if denied, ok := errors.AsType[*net.OpError](err); ok && errors.Is(denied.Err, ErrForbidden) {
		return denied.Err
	}
	dns, ok := errors.AsType[*net.DNSError](err)
	switch {
	case !ok:
		return err
	case dns.IsNotFound:
		return ErrForbidden
	}
	shown := &net.DNSError{
		Err: "the name servers did not resolve the name", Name: dns.Name, IsTimeout: dns.IsTimeout, IsTemporary: dns.IsTemporary,
	}
	if dns.IsTimeout {
		shown.Err = "the name servers did not respond in time"
	}
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(dns, cause) {
			shown.UnwrapErr = cause
		}
	}
	return shown
}
